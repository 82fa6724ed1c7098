"""The inverse by tiles: against float64, at sizes around the tile, whatever the threads; what is no inverse is told."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from interrupting import LISTEN, interrupted

from fastals._core import kernels, single_threaded_blas

SIZES = [1, 2, 7, 100, 511, 512, 513, 1023, 1024, 1025, 1300]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def system(n: int, seed: int = 0) -> Any:
    """A positive definite matrix of condition below 1e3."""
    X = np.random.default_rng(seed).standard_normal((n + 20, n))
    return X.T @ X + 0.02 * n * np.eye(n)


def inverse(A: Any, dtype: Any, threads: int) -> Any:
    """The lower triangle; of the upper one nothing is read."""
    kernels.bind_blas()
    B = np.full_like(A, np.nan, dtype)
    below = np.tril_indices(len(A))
    B[below] = A[below]
    with single_threaded_blas():
        assert kernels.invert(B, threads) == 0
    return np.tril(B)


@DTYPES
@pytest.mark.parametrize("n", SIZES)
def test_it_is_the_inverse(n: int, dtype: Any) -> None:
    A = system(n)
    lower = inverse(A, dtype, 2)
    P = lower + np.tril(lower, -1).T
    eps = np.finfo(dtype).eps
    condition = np.linalg.cond(A)
    assert np.linalg.norm(A @ P.astype(np.float64) - np.eye(n)) <= 2 * eps * condition * np.sqrt(n)
    exact = np.linalg.inv(A)
    assert np.linalg.norm(P - exact) <= 2 * eps * condition * np.linalg.norm(exact)


@DTYPES
@pytest.mark.parametrize("n", [512, 1025, 1600])
def test_any_number_of_threads_gives_the_same_bits(n: int, dtype: Any) -> None:
    A = system(n, seed=1)
    first = inverse(A, dtype, 1)
    for threads in (2, 3, 5):
        np.testing.assert_array_equal(inverse(A, dtype, threads), first)


@DTYPES
@pytest.mark.parametrize("row", [0, 5, 511, 512, 1199])
def test_a_pivot_that_is_not_positive_is_named(row: int, dtype: Any) -> None:
    A = np.eye(1200, dtype=dtype)
    A[row, row] = -1
    kernels.bind_blas()
    with single_threaded_blas():
        assert kernels.invert(A, 2) == row + 1
        A = np.eye(1200, dtype=dtype)
        A[row, row] = np.nan
        assert kernels.invert(A, 2) != 0 or not np.isfinite(A[row, row])


def test_threads_of_python_do_not_disturb_each_other() -> None:
    A = system(700)
    expected, found = inverse(A, np.float32, 1), [None, None]

    def work(at: int) -> None:
        found[at] = inverse(A, np.float32, 2)

    workers = [threading.Thread(target=work, args=(at,)) for at in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for one in found:
        np.testing.assert_array_equal(one, expected)


PROGRAM = (
    LISTEN
    + """
import threading, time
import numpy as np
from fastals._core import kernels, single_threaded_blas

kernels.bind_blas()
A = np.eye(12_000, dtype=np.float32)
print("ready", flush=True)
threading.Timer(0.3, lambda: print("now", flush=True)).start()
begun = time.monotonic()
try:
    with single_threaded_blas():
        kernels.invert(A, 2)
except KeyboardInterrupt:
    print("interrupted")
"""
)


def test_ctrl_c_is_heard_long_before_the_end() -> None:
    begun = time.monotonic()
    code, out, err = interrupted(PROGRAM)
    assert "interrupted" in out, (code, err)
    assert time.monotonic() - begun < 60  # and not when the inverse is there
