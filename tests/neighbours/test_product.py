"""The kernels of src_c/neighbours/product.h against dense float64 products: shapes, weightings, lists and threads."""

import numpy as np
import pytest
from scipy import sparse

from fastals._core import tables

SHAPES = [(1, 1, 1), (7, 5, 9), (40, 30, 64), (30, 50, 1000), (9, 200, 3)]
DENSITIES = [0.0, 0.02, 0.4]


def random_matrix(n_rows, n_columns, density, seed, low=-1.0):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((n_rows, n_columns), density=density, rng=rng, format="csr", dtype=np.float32)
    matrix.data = rng.uniform(low, 1, matrix.nnz).astype(np.float32)
    matrix.sort_indices()
    return matrix


def csr(matrix):
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data


def lists(matrix):
    indptr, indices, _ = csr(matrix)
    return indptr[:-1].copy(), indptr[1:].copy(), indices


def expected(W, B, weighting, base, row_norms, norms, shrinkage):
    """Scores, and which are candidates."""
    w, b = W.toarray().astype(np.float64), B.toarray().astype(np.float64)
    sums = w @ b
    if weighting is None:
        scores = sums / (row_norms[:, None] * norms + shrinkage) if norms is not None else sums
        return scores, sums > 0
    weights = w @ (b != 0) if weighting == "row" else (w != 0).astype(float) @ b
    with np.errstate(divide="ignore", invalid="ignore"):
        return base + sums / weights, weights > 0


def best(scores, allowed, n):
    items, found = np.full((len(scores), n), -1), np.full((len(scores), n), -np.inf)
    for r, (row, mask) in enumerate(zip(scores, allowed, strict=True)):
        columns = np.flatnonzero(mask)
        columns = columns[np.argsort(-row[columns], kind="stable")][:n]
        items[r, : len(columns)], found[r, : len(columns)] = columns, row[columns]
    return items, found


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("weighting", [None, "row", "matrix", "norms"])
@pytest.mark.parametrize("n", [1, 4, 70])
def test_best_matches_dense_products(shape, density, weighting, n):
    n_rows, n_inner, n_columns = shape
    rng = np.random.default_rng(n)
    # what serves as the weight is positive
    W = random_matrix(n_rows, n_inner, max(density, 0.1), 1, low=0.1 if weighting == "row" else -1)
    B = random_matrix(n_inner, n_columns, density, 2, low=0.1 if weighting == "matrix" else -1)
    hidden = random_matrix(n_rows, n_columns, 0.2, 3)
    mask = (rng.random(n_columns) < 0.8).astype(np.uint8)
    with_norms = weighting == "norms"
    base = rng.uniform(1, 5, n_columns) if weighting in ("row", "matrix") else None
    row_norms, norms = (rng.uniform(0.5, 2, m) if with_norms else None for m in (n_rows, n_columns))
    weighting = None if with_norms else weighting
    scores, candidates = expected(W, B, weighting, base, row_norms, norms, 0.3)
    for hide, is_open in ((None, None), (hidden, None), (hidden, mask)):
        allowed = candidates.copy()
        if hide is not None:
            allowed &= hide.toarray() == 0
        if is_open is not None:
            allowed &= is_open > 0
        for threads in (1, 3):
            items, found = tables.product_best(
                lists(W),
                W.data,
                csr(B),
                n_columns,
                n,
                threads,
                weighting=weighting,
                base=base,
                row_norms=row_norms,
                norms=norms,
                shrinkage=0.3,
                hidden=None if hide is None else lists(hide),
                open=is_open,
            )
            want_items, want = best(scores, allowed, n)
            np.testing.assert_array_equal(items, want_items)
            np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("weighting", [None, "row", "matrix"])
def test_scores_at_columns(shape, density, weighting):
    n_rows, n_inner, n_columns = shape
    W = random_matrix(n_rows, n_inner, max(density, 0.1), 1, low=0.1 if weighting == "row" else -1)
    B = random_matrix(n_inner, n_columns, density, 2, low=0.1 if weighting == "matrix" else -1)
    at = random_matrix(n_rows, n_columns, 0.5, 3)
    base = np.random.default_rng(0).uniform(1, 5, n_columns) if weighting else None
    scores, candidates = expected(W, B, weighting, base, None, None, 0)
    scores = np.where(candidates, scores, 0 if base is None else base)[at.toarray() != 0]
    for threads in (1, 3):
        found = tables.product_at(
            lists(W), W.data, csr(B), n_columns, lists(at), threads, weighting=weighting, base=base
        )
        np.testing.assert_allclose(found, scores, rtol=1e-6)


def test_equal_scores_by_ascending_column_whether_columns_are_listed_or_not():
    for n_columns in (20, 2000):  # many products a column, and few
        B = sparse.csr_array((np.ones(18, np.float32), ([0] * 9 + [1] * 9, [8, 7, 6, 5, 4, 3, 2, 1, 0] * 2)))
        B.resize((2, n_columns))
        W = sparse.csr_array(np.array([[1, 1]], np.float32))
        items, scores = tables.product_best(lists(W), W.data, csr(B), n_columns, 4, 1)
        assert items.tolist() == [[0, 1, 2, 3]]
        assert scores.tolist() == [[2, 2, 2, 2]]


def test_a_sum_that_returns_to_zero_is_listed_once():
    B = sparse.csr_array(np.array([[1], [-1], [2]], np.float32))
    B.resize((3, 100))
    W = sparse.csr_array(np.ones((1, 3), np.float32))
    items, scores = tables.product_best(lists(W), W.data, csr(B), 100, 2, 1)
    assert items.tolist() == [[0, -1]]
    assert scores.tolist() == [[2, -np.inf]]
