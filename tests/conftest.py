"""What tests of several folders are tried with."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from fastals._core import kernels


@pytest.fixture(params=kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the machine has."""
    before = kernels.active_isa()
    assert kernels.use_isa(request.param)
    yield request.param
    kernels.use_isa(before)


@pytest.fixture(scope="module")
def serial_blas() -> Iterator[None]:
    """LAPACK inside the parallel loop must not start threads of its own; nor need the twins' small products."""
    kernels.bind_lapack()
    with threadpool_limits(1, user_api="blas"):
        yield
