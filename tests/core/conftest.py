"""What every kernel is tried with: instruction sets, dtypes and numbers of factors."""

from typing import Any

import pytest
from half_sweeps import DTYPES, FACTORS


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=FACTORS, ids=lambda k: f"k{k}")
def k(request: pytest.FixtureRequest) -> int:
    return int(request.param)
