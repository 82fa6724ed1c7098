"""The kernels of src_c/data/sparse.h against NumPy, over dtypes, shapes and numbers of threads."""

import numpy as np
import pytest

from fastals._core import tables

DTYPES = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "f", "d"]
SIZES = [(0, 1, 1), (1, 1, 1), (513, 7, 5), (200_000, 300, 100), (70_000, 3, 60_000)]


def cells(n, n_keys, n_others, dtype="f", seed=0):
    rng = np.random.default_rng(seed)
    keys, others = (rng.integers(0, size, n, dtype=np.int32) for size in (n_keys, n_others))
    return keys, others, rng.integers(0, 2 if dtype == "?" else 100, n).astype(dtype)


def expected_rows(keys, others, values, n_keys):
    order = np.argsort(keys, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=n_keys))])
    return indptr, others[order], None if values is None else values[order]


def assert_rows_equal(found, expected, dtype):
    assert [a.dtype for a in found[:2]] == [np.int64, np.int32]
    for a, b in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert (found[2] is None) == (expected[2] is None)
    if found[2] is not None:
        assert found[2].dtype == dtype
        np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("with_values", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bucket_and_transpose(size, with_values, dtype, num_threads):
    _, n_keys, n_others = size
    keys, others, values = cells(*size)
    values = values if with_values else None
    rows = tables.bucket(keys, others, values, n_keys, dtype, num_threads)
    assert_rows_equal(rows, expected_rows(keys, others, values, n_keys), dtype)
    turned = tables.transpose(*rows, n_others, dtype, num_threads)
    lines = np.repeat(np.arange(n_keys, dtype=np.int32), np.diff(rows[0]))
    assert_rows_equal(turned, expected_rows(rows[1], lines, rows[2], n_others), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", [np.float32, np.float64])
def test_values_of_every_dtype(dtype, out):
    keys, others, values = cells(1500, 11, 9, dtype)
    assert tables.can_read(dtype)
    np.testing.assert_array_equal(tables.copy_values(values, out, 2), values.astype(out))
    rows = tables.bucket(keys, others, values, 11, out, 2)
    assert_rows_equal(rows, expected_rows(keys, others, values.astype(out), 11), out)
    assert tables.check_values(values, 2) == 0


def test_dtypes_that_are_not_read():
    assert not any(map(tables.can_read, ["e", "g", "F", ">f4", ">i8", "U3", "O"]))


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (0.0, 0),
        (-0.5, 0),
        (0.1, tables.INEXACT),
        (float("nan"), tables.NOT_FINITE),
        (-float("inf"), tables.NOT_FINITE),
        (3.4028234663852886e38, 0),
        (3.5e38, tables.INEXACT | tables.HUGE),
        (1e-46, tables.INEXACT),
    ],
)
@pytest.mark.parametrize("at", [0, 511, 512, 99_999])
def test_check_values(value, flags, at):
    values = np.ones(100_000)
    values[at] = value
    assert tables.check_values(values, 3) == flags


def test_check_values_of_wide_integers():
    assert tables.check_values(np.array([2**24, -(2**24)]), 1) == 0
    assert tables.check_values(np.array([2**24 + 1]), 1) == tables.INEXACT
    assert tables.check_values(np.array([2**64 - 1], np.uint64), 1) == 0  # rounds to 2^64, as float64 does


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("rows", "flags"),
    [
        ([[0, 1, 4], [], [2]], 0),
        ([[4], [0]], 0),
        ([[1, 0]], tables.UNSORTED),
        ([[1, 1]], tables.REPEATED),
        ([[0], [2, 2, 1]], tables.UNSORTED | tables.REPEATED),
        ([[0], [5]], tables.OUT_OF_RANGE),
        ([[-1, 0]], tables.OUT_OF_RANGE),
        ([[], []], 0),
    ],
)
def test_check_rows(rows, flags, dtype):
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([index for row in rows for index in row], dtype)
    copy = np.full(len(indices), -9, np.int32)
    assert tables.check_rows(indptr, indices, 5, copy, 2) == flags
    assert tables.check_rows(indptr, indices, 5, None, 2) == flags
    assert ((copy == indices) | (copy == 0)).all()


def test_check_rows_of_indices_beyond_int32():
    copy = np.empty(1, np.int32)
    assert tables.check_rows(np.array([0, 1]), np.array([2**32]), 5, copy, 1) == tables.OUT_OF_RANGE
    assert copy[0] == 0


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("policy", ["sum", "last", "max", "mean"])
@pytest.mark.parametrize(("dtype", "out"), [("f", "f"), ("f", "d"), ("d", "d"), ("d", "f")])
def test_merge(policy, dtype, out, num_threads):
    keys, others, values = cells(120_000, 200, 150, dtype)
    indptr, indices, values = tables.transpose(
        *tables.bucket(others, keys, values, 150, dtype, num_threads), 200, dtype, num_threads
    )
    runs = {}
    for key, index, value in zip(np.repeat(np.arange(200), np.diff(indptr)), indices, values, strict=True):
        runs.setdefault((int(key), int(index)), []).append(float(value))
    merge = {"sum": sum, "last": lambda run: run[-1], "max": max, "mean": np.mean}[policy]
    distinct, flags = tables.count_distinct(indptr, indices, values, policy, num_threads)
    np.testing.assert_array_equal(np.diff(distinct), np.bincount([key for key, _ in runs], minlength=200))
    assert flags == (tables.INEXACT if policy == "mean" else 0)
    merged, merged_values = tables.merge_rows(indptr, indices, values, policy, distinct, out, num_threads)
    assert merged.tolist() == [index for _, index in runs]
    np.testing.assert_array_equal(merged_values, np.array([merge(run) for run in runs.values()], out))


def test_matrix_without_cells():
    empty = np.zeros(4, np.int64), np.empty(0, np.int32)
    assert tables.count_distinct(*empty, np.empty(0), "sum", 2)[0].tolist() == [0, 0, 0, 0]
    indices, values = tables.merge_rows(*empty, np.empty(0), "sum", np.zeros(4, np.int64), np.float32, 2)
    assert len(indices) == len(values) == 0
    assert tables.transpose(*empty, None, 2, np.float32, 2)[0].tolist() == [0, 0, 0]
