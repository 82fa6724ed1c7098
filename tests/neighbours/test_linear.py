"""The kernels of src_c/neighbours/linear.h, and of the matrices that they are asked with, against dense float64."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastals._core import tables

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
THREADS = (1, 3)
SHAPES = [(1, 1), (5, 9), (30, 70), (70, 30), (150, 1100)]
"""Of X."""


def matrix(shape: tuple[int, int], dtype: Any, density: float = 0.3, seed: int = 0) -> Any:
    """Values of both signs; an empty row and an empty column where there are several."""
    rng = np.random.default_rng(seed)
    dense = rng.uniform(-1, 1, shape) * (rng.random(shape) < density)
    if min(shape) > 3:
        dense[2] = dense[:, 3] = 0
    return dense.astype(dtype)


def compressed(dense: Any) -> Any:
    X = sparse.csr_array(dense)
    return X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data.astype(dense.dtype)


def lists(dense: Any) -> Any:
    indptr, indices, _ = compressed(dense)
    return indptr[:-1].copy(), indptr[1:].copy(), indices


def close(found: Any, expected: Any) -> None:
    eps = np.finfo(found.dtype).eps
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=64 * eps, atol=64 * eps)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ridge", [0.0, 2.5])
def test_gram_matrices(shape: tuple[int, int], ridge: float, dtype: Any) -> None:
    X, n = matrix(shape, dtype), shape[0]
    expected = X.astype(np.float64) @ X.T + ridge * np.eye(n)
    expected[np.diag_indices(n)] = np.where(expected.diagonal() == 0, 1, expected.diagonal())
    for threads in THREADS:
        A = np.full((n, n), np.nan, dtype)
        for first in range(0, n, 17):
            tables.gram_rows(compressed(X), compressed(X.T), A, ridge, first, min(first + 17, n), threads)
        close(np.tril(np.nan_to_num(A)), np.tril(expected))
        assert np.isnan(A[np.triu_indices(n, 1)]).all()


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_hat_matrices(shape: tuple[int, int], dtype: Any) -> None:
    X, (n, m) = matrix(shape, dtype), shape
    K = np.random.default_rng(1).uniform(-1, 1, (m, m))
    K = (K + K.T).astype(dtype)
    expected = X.astype(np.float64) @ K @ X.T
    for threads in THREADS:
        A = np.full((n, n), np.nan, dtype)
        for first in range(0, n, 17):
            tables.hat_rows(compressed(X), K, A, first, min(first + 17, n), threads)
        np.testing.assert_allclose(np.tril(np.nan_to_num(A)), np.tril(expected), rtol=1e-5, atol=4e-5)
        assert np.isnan(A[np.triu_indices(n, 1)]).all()


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200])
def test_mirrors(n: int, dtype: Any) -> None:
    lower = np.tril(np.random.default_rng(0).uniform(1, 2, (n, n))).astype(dtype)
    scale = np.random.default_rng(1).uniform(1, 2, n)
    whole = lower + np.tril(lower, -1).T
    scaled = whole * scale
    scaled[np.diag_indices(n)] = 0
    for threads in THREADS:
        for step in (40, 1000):
            plain, weighed = (lower + np.triu(np.full((n, n), np.nan, dtype), 1) for _ in range(2))
            for first in range(0, n, step):
                tables.mirror(plain, None, first, min(first + step, n), threads)
                tables.mirror(weighed, scale, first, min(first + step, n), threads)
            np.testing.assert_array_equal(plain, whole)
            np.testing.assert_array_equal(weighed, scaled.astype(dtype))


def best(scores: Any, n: int) -> tuple[Any, Any]:
    """The n best finite of each row, the first of equal ones first."""
    items, found = np.full((len(scores), n), -1), np.full((len(scores), n), -np.inf)
    for r, row in enumerate(scores):
        columns = np.argsort(-row, kind="stable")[:n]
        columns = columns[np.isfinite(row[columns])]
        items[r, : len(columns)], found[r, : len(columns)] = columns, row[columns]
    return items, found


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n", [1, 4, 70])
def test_lists_and_scores(shape: tuple[int, int], n: int, dtype: Any) -> None:
    X, columns = matrix(shape, dtype), 90
    rng = np.random.default_rng(2)
    B = rng.integers(-4, 5, (shape[1], columns)).astype(dtype)  # equal scores, too
    X = np.sign(X)
    hidden, is_open = rng.random((shape[0], columns)) < 0.2, rng.random(columns) < 0.8
    scores = X.astype(np.float64) @ B
    for hide, open_ in ((False, None), (True, None), (True, is_open)):
        left = np.where(hidden & hide, -np.inf, scores)
        if open_ is not None:
            left = np.where(open_, left, -np.inf)
        options: Any = {
            "hidden": lists(hidden) if hide else None,
            "open": None if open_ is None else open_.astype(np.uint8),
        }
        for threads in THREADS:
            items, found = tables.linear_best(lists(X), compressed(X)[2], B, n, threads, **options)
            again, same = tables.best_of(scores.copy(), n, dtype, threads, **options)
            expected_items, expected = best(left, n)
            for each in (items, again):
                np.testing.assert_array_equal(each, expected_items)
            for each in (found, same):
                assert each.dtype == dtype
                np.testing.assert_array_equal(each, expected)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_score_has_the_same_bits_wherever_it_is_made(shape: tuple[int, int], dtype: Any) -> None:
    X, columns = matrix(shape, dtype), 90
    B = np.random.default_rng(3).uniform(-1, 1, (shape[1], columns)).astype(dtype)
    indptr, _, values = compressed(X)
    items, scores = tables.linear_best(lists(X), values, B, columns, 2)
    whole = np.take_along_axis(scores, np.argsort(items, axis=1), 1)
    close(whole, X.astype(np.float64) @ B)
    dots = tables.row_dots(compressed(X), np.ascontiguousarray(B.T), 2)
    with_cells = np.diff(indptr) > 0
    np.testing.assert_array_equal(dots.T[with_cells].astype(dtype), whole[with_cells])
    assert (dots[:, ~with_cells] == -np.inf).all()
    for length in (1, 5, 15, 16, 40, columns):  # few columns of a row are summed one by one
        some = np.sort(np.random.default_rng(length).permutation(columns)[:length]).astype(np.int32)
        ends = np.arange(shape[0] + 1) * length
        at = (ends[:-1], ends[1:], np.tile(some, shape[0]))
        for threads in THREADS:
            found = tables.linear_at(lists(X), values, B, at, threads)
            np.testing.assert_array_equal(found, whole[:, some].ravel())


@DTYPES
def test_nothing_gives_nothing(dtype: Any) -> None:
    none = np.empty(0, np.int32)
    ends = np.zeros(3, np.int64)
    nobody = (ends[:2], ends[1:], none)
    B = np.ones((4, 6), dtype)
    items, scores = tables.linear_best(nobody, np.empty(0, dtype), B, 2, 2)
    assert items.tolist() == [[0, 1], [0, 1]]
    assert not scores.any()
    assert tables.linear_at(nobody, np.empty(0, dtype), B, nobody, 2).shape == (0,)
    items, scores = tables.best_of(np.empty((2, 0)), 2, dtype, 1)
    assert (items == -1).all()
    assert (scores == -np.inf).all()
    A = np.full((2, 2), 7, dtype)
    empty = (ends, none, np.empty(0, dtype))
    tables.gram_rows(empty, empty, A, 0.0, 0, 2, 1)
    tables.hat_rows(empty, np.ones((2, 2), dtype), A, 1, 2, 1)
    assert A.tolist() == [[1, 7], [0, 0]]
