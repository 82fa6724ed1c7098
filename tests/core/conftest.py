"""What every kernel is tried with: instruction sets, dtypes and numbers of factors."""

from collections.abc import Iterator
from typing import Any

import pytest
from half_sweeps import DTYPES, FACTORS

from fastals._core import kernels


@pytest.fixture(params=kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.active_isa()
    assert kernels.use_isa(request.param)
    yield request.param
    kernels.use_isa(before)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=FACTORS, ids=lambda k: f"k{k}")
def k(request: pytest.FixtureRequest) -> int:
    return int(request.param)
