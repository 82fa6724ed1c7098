import copy
import math
import pickle
import tracemalloc
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals._core.errors import ArgumentTypeError, DataError, FastalsError, ParameterError, UnknownLabelError
from fastals._data.builder import DUPLICATES
from fastals._data.interactions import Interactions, as_interactions
from fastals._data.labels import Labels

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
VALUE_DTYPES = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g", ">f4", ">i8"]


def oracle(users, items, values, duplicates):
    """{(user, item): [values]} in float64, by the definition of the policies."""
    cells = {}
    for cell, value in zip(zip(users, items, strict=True), map(float, values), strict=True):
        cells.setdefault(cell, []).append(value)
    merge = {"sum": sum, "last": lambda x: x[-1], "max": max, "mean": lambda x: sum(x) / len(x)}.get(duplicates)
    return {cell: [merge(x)] if merge else x for cell, x in cells.items()}


def cells_of(interactions):
    """The same of interactions, by their labels; checks the canonical form on the way."""
    indptr, indices, values = interactions.arrays()
    assert indptr.dtype == np.int64
    assert indices.dtype == np.int32
    assert values.dtype in (np.float32, np.float64)
    assert indptr[0] == 0
    assert indptr[-1] == len(indices) == len(values) == interactions.nnz
    users = np.arange(interactions.n_users) if interactions.users is None else interactions.users
    items = np.arange(interactions.n_items) if interactions.items is None else interactions.items
    assert all(list(labels) == sorted(set(labels)) for labels in (users, items))
    cells = {}
    for u in range(interactions.n_users):
        row = indices[indptr[u] : indptr[u + 1]]
        assert (np.diff(row) >= 0).all()
        for i, value in zip(row, values[indptr[u] : indptr[u + 1]], strict=True):
            cells.setdefault((users[u], items[i]), []).append(float(value))
    turned = interactions.transpose_arrays()
    stable = sorted(range(len(indices)), key=lambda j: indices[j])
    rows = np.repeat(np.arange(interactions.n_users), np.diff(indptr))
    np.testing.assert_array_equal(turned[1], rows[stable])
    np.testing.assert_array_equal(turned[2], values[stable])
    np.testing.assert_array_equal(np.diff(turned[0]), np.bincount(indices, minlength=interactions.n_items))
    return cells


def small_matrix(seed=0, shape=(9, 7), density=0.4):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 6, shape) * (rng.random(shape) < density)
    dense[2] = 0
    return dense


# ----------------------------------------------------------------------------------------------------------------------
# matrices


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format(format, kind):
    matrix = getattr(sparse, f"{format}_{kind}")(sparse.coo_array(small_matrix()))
    interactions = as_interactions(matrix)
    np.testing.assert_array_equal(interactions.matrix.toarray(), small_matrix())
    assert interactions.users is None
    assert interactions.items is None
    assert interactions.values.dtype == np.float32
    assert interactions.nnz == np.count_nonzero(small_matrix())
    cells_of(interactions)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", VALUE_DTYPES)
def test_every_dtype(format, dtype):
    dense = small_matrix() != 0 if dtype == "?" else small_matrix()
    matrix = sparse.coo_array(dense).asformat(format)
    matrix.data = matrix.data.astype(dtype)
    np.testing.assert_array_equal(as_interactions(matrix).matrix.toarray(), dense)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize(("indptr_dtype", "index_dtype"), [("i4", "i4"), ("i8", "i4"), ("i8", "i8"), ("i4", "u2")])
def test_every_index_dtype(format, indptr_dtype, index_dtype):
    matrix = sparse.coo_array(small_matrix()).asformat(format)
    if format == "coo":
        matrix.coords = tuple(x.astype(index_dtype) for x in matrix.coords)
    else:
        matrix.indptr, matrix.indices = matrix.indptr.astype(indptr_dtype), matrix.indices.astype(index_dtype)
    np.testing.assert_array_equal(as_interactions(matrix).matrix.toarray(), small_matrix())


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("n_cells", [1, 50, 400])
def test_unsorted_and_repeated_cells(format, duplicates, n_cells):
    rng = np.random.default_rng(n_cells)
    users, items, values = rng.integers(0, 11, n_cells), rng.integers(0, 13, n_cells), rng.random(n_cells)
    matrix = sparse.coo_array((values, (users, items)), shape=(11, 13))
    if format != "coo":
        order = np.argsort(users if format == "csr" else items, kind="stable")
        users, items, values = users[order], items[order], values[order]
        lines, indices = (users, items) if format == "csr" else (items, users)
        n_lines = 11 if format == "csr" else 13
        indptr = np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=n_lines))])
        matrix = getattr(sparse, f"{format}_array")((values, indices, indptr), shape=(11, 13))
    if duplicates == "error" and len(set(zip(users, items, strict=True))) < n_cells:
        with pytest.raises(DataError, match=r"duplicates='error', but user \d+ and item \d+ occur together more"):
            as_interactions(matrix, duplicates=duplicates)
        return
    interactions = as_interactions(matrix, duplicates=duplicates)
    expected = oracle(users, items, values, duplicates)
    found = cells_of(interactions)
    assert found.keys() == expected.keys()
    for cell, x in expected.items():
        np.testing.assert_allclose(found[cell], x, rtol=1e-15)


def test_stored_zeros_are_cells_except_where_they_are_padding():
    matrix = sparse.csr_array(([0.0, 2.0], [1, 0], [0, 1, 2]), shape=(2, 2))
    assert as_interactions(matrix).nnz == 2
    assert as_interactions(matrix.tocsc()).nnz == 2
    assert as_interactions(matrix.tocoo()).nnz == 2
    assert as_interactions(sparse.bsr_array(np.eye(4), blocksize=(2, 2))).nnz == 4
    assert as_interactions(sparse.dia_array(([[1, 0, 3]], [0]), shape=(3, 3))).nnz == 2


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_canonical_input_is_copied(format):
    matrix = sparse.csr_array(small_matrix().astype(np.float32)).asformat(format)
    interactions = as_interactions(matrix)
    matrix.data[:] = 7
    matrix.indices[:] = 0
    np.testing.assert_array_equal(interactions.matrix.toarray(), small_matrix())


def test_what_is_handed_out_is_read_only():
    interactions = Interactions.from_arrays([0, 1], [1, 0])
    arrays = [*interactions.arrays(), *interactions.transpose_arrays("float64"), interactions.matrix.data]
    assert not any(array.flags.writeable for array in arrays)


def out_of_band(data):
    """Pickled with buffers that stay with us; they are written over once it is unpickled."""
    buffers = []
    pickled = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    held = [bytearray(buffer.raw()) for buffer in buffers]
    made = pickle.loads(pickled, buffers=held)
    for buffer in held:
        buffer[:] = b"\xff" * len(buffer)
    return made


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "out of band": out_of_band,
    **{
        f"pickle {protocol}": lambda data, protocol=protocol: pickle.loads(pickle.dumps(data, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("n", [4, 5000])
def test_copies_are_read_only_too(how, kind, n):
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 900, n).astype(kind).astype(object if kind is str else int) for _ in range(2)]
    data = Interactions.from_arrays(*ids, rng.random(n))
    data.scoring = {"signals": {}}
    data.transpose_arrays("float32")
    made = COPIES[how](data)
    assert made.scoring == data.scoring
    kept = (*made.arrays(), *made.arrays("float32"), *made.transpose_arrays(), *made.transpose_arrays("float32"))
    for array in (*kept, made.users, made.items, made.matrix.data):
        assert not array.flags.writeable
    for one, other in zip(
        (*made.arrays(), *made.transpose_arrays("float32"), made.users, made.items),
        (*data.arrays(), *data.transpose_arrays("float32"), data.users, data.items),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    lines = COPIES[how](data.lines("items"))
    np.testing.assert_array_equal(lines.read(0, 3)[0], data.lines("items").read(0, 3)[0])
    assert not lines.indices.flags.writeable


@pytest.mark.parametrize("how", COPIES)
def test_labels_are_read_only(how):
    ids = fastals.Ids([30, 10, *range(1000, 2000)])
    labels = [ids, COPIES[how](ids), ids.extend([7]), fastals.Ids.fit(["b", "a"])]
    for some in labels:
        assert not some.labels.flags.writeable
    np.testing.assert_array_equal(labels[1].encode([10, 1500]), [1, 502])
    given = np.array([3, 1])
    fastals.Ids(given)
    given[:] = 0  # stays the caller's


def test_matrix_with_longer_arrays_than_indptr_says():
    matrix = sparse.csr_array(([1.0, 2.0, 3.0], [0, 1, 9], [0, 1, 3]), shape=(2, 10))
    matrix.indptr = np.array([0, 1, 2])
    assert as_interactions(matrix).nnz == 2


@pytest.mark.parametrize("format", FORMATS)
def test_labels_of_a_matrix_put_it_in_order(format):
    matrix = sparse.coo_array(small_matrix()).asformat(format)
    users, items = [f"u{9 - u}" for u in range(9)], np.arange(7)[::-1] * 10
    interactions = Interactions.from_matrix(matrix, users=users, items=items)
    np.testing.assert_array_equal(interactions.matrix.toarray(), small_matrix()[::-1, ::-1])
    assert list(interactions.users) == sorted(users)
    np.testing.assert_array_equal(interactions.items, np.arange(7) * 10)
    only_items = Interactions.from_matrix(matrix, items=items)
    assert only_items.users is None
    np.testing.assert_array_equal(only_items.matrix.toarray(), small_matrix()[:, ::-1])


@pytest.mark.parametrize("num_threads", [2, 3, 7])
def test_same_bits_for_any_number_of_threads(num_threads):
    rng = np.random.default_rng(3)
    n = 300_000
    data = rng.integers(0, 500, n), rng.integers(0, 300, n), rng.random(n)
    one, many = (as_interactions(data, num_threads=t) for t in (1, num_threads))
    for a, b in zip(one.arrays() + one.transpose_arrays(), many.arrays() + many.transpose_arrays(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert one.nnz == len(set(zip(*(x.tolist() for x in data[:2]), strict=True)))


def backwards(matrix):
    """The rows in reverse order, and each row from its end."""
    data, indices = matrix.data[::-1].copy(), matrix.indices[::-1].copy()
    return sparse.csr_array((data, indices, matrix.nnz - matrix.indptr[::-1]), matrix.shape)


@pytest.mark.parametrize("kind", ["csr", "csc", "unsorted csr", "repeated csr", "coo", "arrays", "ones"])
def test_memory_beyond_the_callers(kind):
    """16 bytes a cell, whatever the way; 1 more here for what grows with users and items."""
    rng = np.random.default_rng(0)
    n = 1_000_000
    users, items, values = rng.integers(0, 4000, n), rng.integers(0, 3000, n), rng.integers(1, 6, n) / 2
    data = {
        "csr": lambda: sparse.coo_array((values, (users, items))).tocsr(),
        "csc": lambda: sparse.coo_array((values, (users, items))).tocsc(),
        "unsorted csr": lambda: backwards(sparse.coo_array((values, (users, items))).tocsr()),
        "repeated csr": lambda: csr(values, np.sort(items)[::-1], np.arange(4001) * (n // 4000), (4000, 3000)),
        "coo": lambda: sparse.coo_array((values, (users.astype("i4"), items.astype("i4")))),
        "arrays": lambda: (users, items, values),
        "ones": lambda: (users, items),
    }[kind]()
    cells = len(data[0]) if isinstance(data, tuple) else len(data.data)
    tracemalloc.start()
    try:
        interactions = as_interactions(data, dtype="float32", num_threads=2)
        interactions.transpose_arrays()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 17 * cells


# ----------------------------------------------------------------------------------------------------------------------
# values


def test_no_values_are_ones():
    data = ["b", "a", "b"], [3, 3, 3]
    assert cells_of(as_interactions(data)) == {("a", 3): [1.0], ("b", 3): [2.0]}
    assert cells_of(as_interactions(data, duplicates="last"))["b", 3] == [1.0]
    assert cells_of(as_interactions(data, duplicates="keep"))["b", 3] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([3.5, 1.0], "float32"),
        ([1, 2**24], "float32"),
        ([1, 2**24 + 1], "float64"),
        ([0.1, 1.0], "float64"),
        (np.array([0.1, 1.0], np.float32), "float32"),
        ([1e300, 1.0], "float64"),
        ([5e-324, 1.0], "float64"),
    ],
)
def test_float32_where_it_loses_nothing(values, dtype):
    interactions = as_interactions(([0, 1], [0, 1], values))
    assert interactions.values.dtype == dtype
    np.testing.assert_array_equal(interactions.values, values)


def test_sums_that_float32_would_round_are_kept_in_float64():
    values = np.array([1, 1e-6], np.float32)
    interactions = as_interactions(([0, 0], [0, 0], values))
    assert interactions.values.dtype == np.float64
    assert interactions.values[0] == float(values[0]) + float(values[1])
    assert as_interactions(([0, 0], [0, 0], values), dtype="float32").values.dtype == np.float32


def test_sums_that_float32_holds_are_kept_in_float32():
    assert as_interactions(([0, 0], [0, 0], [0.1, -0.1])).values.dtype == np.float32


def test_conversion_is_made_once_and_bounded():
    data = [0, 1], [1, 0], [0.1, 1e300]
    with pytest.raises(DataError, match="values must be within float32's range"):
        as_interactions(data).arrays("float32")
    with pytest.raises(DataError, match="values must be within float32's range"):
        as_interactions(data, dtype="float32")
    interactions = as_interactions(([0, 1], [1, 0], [0.1, 2]))
    assert interactions.transpose_arrays("float32")[2].dtype == np.float32
    assert interactions.transpose_arrays("float32")[2] is interactions.transpose_arrays("float32")[2]
    assert interactions.arrays("float64")[2] is interactions.values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stored_dtype_on_request(dtype):
    assert as_interactions(([0], [0], [0.1]), dtype=dtype).values.dtype == dtype
    assert as_interactions(([0], [0]), dtype=dtype).values.dtype == dtype


# ----------------------------------------------------------------------------------------------------------------------
# labels


def test_ids_that_are_indices_keep_their_number():
    interactions = as_interactions((np.array([2, 0, 1]), np.array([0, 0, 1])))
    np.testing.assert_array_equal(interactions.users, [0, 1, 2])
    np.testing.assert_array_equal(interactions.matrix.toarray(), [[1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize(
    "ids",
    [
        np.array([-5, 2**62, 0]),
        np.array([5, -128, 0], np.int8),
        np.array([5, 2**63 - 1, 0], np.uint64),
        np.array([5.0, -2.0, 0.0]),
        np.array([3, 1, 2], ">i8"),
        [3, 1, 2],
        ["zoë", "Zoe", ""],
        ["a\0", "a", "b"],
        np.array(["b", "abc", "a"]),
        np.array(["b", "abc", "a"], ">U5"),
        np.array(["b", "abc", "a"], object),
        np.array(["b", "abc", "a"], np.dtypes.StringDType()),
        np.array([b"b", b"abc", b"a"]),
        [b"b", b"a\0", b"a"],
        [UUID(int=x) for x in (7, 2**127, 3)],
    ],
    ids=repr,
)
def test_kinds_of_ids(ids):
    interactions = as_interactions((ids, [0, 0, 0], [1, 2, 3]))
    labels = list(np.asarray(ids).tolist()) if isinstance(ids, np.ndarray) else ids
    assert interactions.users.tolist() == sorted(labels)
    assert cells_of(interactions) == {(label, 0): [v] for label, v in zip(labels, [1.0, 2.0, 3.0], strict=True)}


# ----------------------------------------------------------------------------------------------------------------------
# in terms of a model's labels

ITEMS = Labels(np.array(["a", "b", "c"], object), 3)


def test_events_of_unknown_items_are_left_out():
    interactions = as_interactions(([9, 9, 4, 5], ["c", "x", "a", "x"], [1, 2, 3, 4]), items=ITEMS)
    np.testing.assert_array_equal(interactions.matrix.toarray(), [[3, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert interactions.item_labels is ITEMS
    assert as_interactions((["u"], ["x"]), items=ITEMS).shape == (1, 3)


def test_interactions_in_terms_of_known_items():
    data = as_interactions(([9, 9, 4], ["c", "x", "a"], [1, 2, 3]))
    np.testing.assert_array_equal(as_interactions(data, items=ITEMS).matrix.toarray(), [[3, 0, 0], [0, 0, 1]])
    plain = as_interactions(sparse.csr_array([[0, 5, 0]]))
    np.testing.assert_array_equal(as_interactions(plain, items=ITEMS).matrix.toarray(), [[0, 5, 0]])
    with pytest.raises(DataError, match="the matrix has 3 columns but the model knows 4 items"):
        as_interactions(plain, items=Labels(None, 4))


def test_matrix_of_a_model():
    histories = as_interactions(sparse.csr_array((2, 3)), items=ITEMS)
    assert histories.shape == (2, 3)
    assert histories.item_labels is ITEMS
    with pytest.raises(DataError, match=r"the matrix has 2 columns but the model knows 3 items: was it passed items x"):
        as_interactions(sparse.csr_array((3, 2)), items=ITEMS)
    with pytest.raises(
        DataError, match=r"the matrix has 6040 rows but the model knows 3706 users: was it passed items"
    ):
        as_interactions(sparse.csr_array((6040, 3706)), users=Labels(None, 3706))


def test_unknown_indices_are_an_error():
    with pytest.raises(UnknownLabelError, match="items must be indices from 0 to 2, got 3 at position 1"):
        as_interactions(([0, 1], [2, 3]), items=Labels(None, 3))


# ----------------------------------------------------------------------------------------------------------------------
# bad input


def compressed(kind, data, indices, indptr, shape):
    """A matrix with arrays that SciPy's constructor would refuse."""
    matrix = kind(shape)
    matrix.data, matrix.indices, matrix.indptr = np.array(data), np.array(indices), np.array(indptr)
    return matrix


def csr(*arguments):
    return compressed(sparse.csr_array, *arguments)


def csc(*arguments):
    return compressed(sparse.csc_array, *arguments)


def coo(data, users, items, shape):
    matrix = sparse.coo_array(shape)
    matrix.data, matrix.coords = np.array(data), (np.array(users), np.array(items))
    return matrix


def lil(row, data, shape):
    matrix = sparse.lil_array(shape)
    matrix.rows[0], matrix.data[0] = row, data
    return matrix


def dok(cells, shape):
    matrix = sparse.dok_array(shape)
    matrix._dict = cells
    return matrix


nan, inf = math.nan, math.inf
DATE = np.array(["2020"], "M8[Y]")
ONE_KIND = "users must be integers, strings, bytes or UUIDs, all of one kind, got"
BAD = {
    "nan": (csr([1, nan], [0, 1], [0, 0, 2], (2, 2)), "values must be finite, got nan at row 1, column 1"),
    "inf csc": (csc([1, inf], [0, 1], [0, 0, 2], (2, 2)), "values must be finite, got inf at row 1, column 1"),
    "nan coo": (coo([1, nan], [0, 1], [1, 0], (2, 2)), "values must be finite, got nan at row 1, column 0"),
    "nan lil": (lil([1], [nan], (2, 2)), "values must be finite, got nan at row 0, column 1"),
    "nan dia": (sparse.dia_array(([[1, nan]], [0]), shape=(2, 2)), "values must be finite, got nan at row 1, column 1"),
    "column": (csr([1, 1], [0, 90], [0, 1, 1, 1, 2], (4, 40)), "item index 90 in row 3 is out of range for 40 items"),
    "negative": (csr([1, 1], [0, -1], [0, 1, 2], (2, 4)), "item index -1 in row 1 is out of range for 4 items"),
    "row": (csc([1, 1], [0, 7], [0, 1, 2], (4, 2)), "user index 7 in column 1 is out of range for 4 users"),
    "coo row": (coo([1], [4], [0], (4, 3)), "user index 4 of cell 0 is out of range for 4 users"),
    "coo column": (coo([1], [0], [-2], (4, 3)), "item index -2 of cell 0 is out of range for 3 items"),
    "lil column": (lil([5], [1], (2, 2)), "item index 5 of cell 0 is out of range for 2 items"),
    "lil lengths": (lil([0], [1, 2, 3], (2, 2)), "rows and data of the lil matrix must have the same lengths"),
    "dok": (dok({(7, 9): 1.0}, (2, 2)), "the dok matrix is broken"),
    "dok keys": (dok({"a": 1.0}, (2, 2)), "the dok matrix is broken"),
    "fractional": (csr([1], [0.5], [0, 1], (1, 2)), "indices must be integers, got float64"),
    "bool indices": (csr([1], [True], [0, 1], (1, 2)), "indices must be integers, got bool"),
    "indptr falls": (csr([1, 1], [0, 1], [0, 2, 1], (2, 2)), "indptr must not fall, got 1 after 2 at position 2"),
    "indptr short": (csr([1], [0], [0, 1], (2, 2)), "indptr must have 3 elements for 2 rows or columns, got 2"),
    "indptr long": (csr([1], [0], [0, 1, 1, 1], (2, 2)), "indptr must have 3 elements for 2 rows or columns, got 4"),
    "indptr start": (csr([1], [0], [1, 1, 1], (2, 2)), "indptr must start with 0, got 1"),
    "indptr end": (csr([1], [0], [0, 1, 9], (2, 2)), "indptr must end within indices, got 9 for 1 elements"),
    "indptr huge": (csr([1], [0], [0, 2**62, 1], (2, 2)), "indptr must not fall"),
    "data short": (csr([1], [0, 1], [0, 1, 2], (2, 2)), "indptr must end within data, got 2 for 1 elements"),
    "complex": (csr([1j], [0], [0, 1], (1, 1)), "values must be real numbers, got complex128"),
    "objects": (csr(np.array(["a"], object), [0], [0, 1], (1, 1)), "values must be numbers, all of one kind, got 'a'"),
    "lengths": (coo([1, 2], [0], [0], (1, 1)), "lengths must be equal, got 1 row indices, 1 column indices, 2 values"),
    "no cells": (sparse.csr_array((3, 4)), "the data are empty: 3 users, 4 items, 0 interactions"),
    "no rows": (sparse.csr_array((0, 4)), "the data are empty: 0 users, 4 items, 0 interactions"),
    "no columns": (sparse.csc_array((4, 0)), "the data are empty: 4 users, 0 items, 0 interactions"),
    "no cells coo": (sparse.coo_array((3, 4)), "the data are empty: 3 users, 4 items, 0 interactions"),
    "no cells lil": (sparse.lil_array((3, 4)), "the data are empty: 3 users, 4 items, 0 interactions"),
    "one-dimensional": (
        sparse.coo_array(np.arange(3)),
        "interactions must be a matrix of users x items, got shape (3,)",
    ),
    "too wide": (sparse.coo_array(([1], ([0], [0])), shape=(1, 2**31)), "at most 2147483647 users and items"),
    "dense": (np.eye(4), "got a dense array of shape (4, 4): where zeros mean 'no cell', pass scipy.sparse.csr_array("),
    "dense of three items": (np.eye(3), "csr_array(data), where they are values of rows, (users, items, values)"),
    "none": (None, "data must be fastals.Interactions, a scipy.sparse matrix (rows are users), a tuple of arrays"),
    "one array": (([1],), "got a tuple of 1"),
    "no events": (([], []), "the data are empty: 0 users, 0 items, 0 interactions"),
    "unequal": (([1, 2], [1]), "lengths must be equal, got 2 users, 1 items"),
    "unequal values": (([1], [1], [1, 2]), "lengths must be equal, got 1 users, 1 items, 2 values"),
    "value nan": (([1, 2], [1, 2], [1, nan]), "values must be finite, got nan at position 1"),
    "value -inf": (([1, 2], [1, 2], [-inf, 1]), "values must be finite, got -inf at position 0"),
    "value bool": (([1], [1], np.array([True])), "values must be numbers, got bool"),
    "value bool object": (([1], [1], [True]), "values must be numbers, all of one kind, got True (bool) at position 0"),
    "value string": (([1], [1], ["4.5"]), "values must be numbers, all of one kind, got '4.5' (str) at position 0"),
    "value strings": (([1], [1], np.array(["4.5"])), "values must be real numbers, got <U3"),
    "value none": (([1, 2], [1, 2], [1.0, None]), "values must not be missing, got None at position 1"),
    "value complex": (([1], [1], [1j]), "values must be numbers, all of one kind, got 1j (complex) at position 0"),
    "value date": (([1], [1], DATE), "values must be real numbers, got datetime64[Y]"),
    "value masked": (([1], [1], np.ma.array([1.0], mask=[True])), "values must have no masked elements"),
    "value 2-d": (([1], [1], np.ones((1, 1))), "values must be one-dimensional, got shape (1, 1)"),
    "value huge int": (([1], [1], [10**400]), "values must be within float64's range, 1.8e308"),
    "id fractional": (([1.0, 2.5], [1, 2]), "users must be whole numbers or strings, got 2.5 at position 1"),
    "id inf": (([1, 2], [1.0, inf]), "items must be whole numbers or strings, got inf at position 1"),
    "id nan": (([1, 2], [1.0, nan]), "items must not be missing, got nan at position 1"),
    "id huge": (([2.0**60], [1]), "users must be whole numbers or strings, got 1.15"),
    "id big int": (([1, 2**70], [1, 2]), "users must fit in int64 or, all of them, in uint64, got 11805916207174113"),
    "id below int64": (([1, -(2**63) - 1], [1, 2]), "in uint64, got -9223372036854775809 at position 1"),
    "id both": (([2**63, -1], [1, 2]), "in uint64, got 9223372036854775808 at position 0"),
    "id decimal": (([Decimal("1.5")], [1]), "users must be whole numbers or strings, got 1.5 at position 0"),
    "id decimals": (
        ([Decimal(1), Decimal("nan")], [1, 2]),
        "users must not be missing, got NaN at position 1",
    ),
    "id float32": ((np.float32([2**25]), [1]), "users must be whole numbers or strings, got 33554432.0 at position 0"),
    "id set": (({1, 2}, [1, 2]), "users must be in an order, as in an array or a list, got a set"),
    "id generator": ((iter([1]), [1]), "users must be one-dimensional, an array or a list of ids, got <list_iterator"),
    "id bool": ((np.array([True]), [1]), "users must be integers, strings, bytes or UUIDs, got bool"),
    "id bools": (([1, True], [1, 2]), f"{ONE_KIND} True (bool) at position 1"),
    "id mixed": ((["a", 1], [1, 2]), f"{ONE_KIND} 1 (int) at position 1"),
    "id none": (([1, 2], ["a", None]), "items must not be missing, got None at position 1"),
    "id first none": (([1, 2], [None, "a"]), "items must not be missing, got None at position 0"),
    "id list": (([[1], [2]], [1, 2]), f"{ONE_KIND} [1] (list) at position 0"),
    "id date": ((DATE, [1]), "users must be integers, strings, bytes or UUIDs, got datetime64[Y]"),
    "id complex": ((np.array([1j]), [1]), "users must be integers, strings, bytes or UUIDs, got complex128"),
    "id 2-d": ((np.ones((2, 2)), [1]), "users must be one-dimensional, got shape (2, 2)"),
    "id scalar": ((1, 2), "users must be one-dimensional, an array or a list of ids, got 1"),
    "ragged rows": ([("a", "x", 1), ("a", "y")], "data must have rows of one length, got ('a', 'y') at position 1"),
    "list of lists": ([["a", "b"], ["x", "y"]], "a tuple of arrays (users, items) or (users, items, values), an array"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    data, message = BAD[case]
    with pytest.raises(FastalsError) as error:
        as_interactions(data)
    assert message in str(error.value)


def test_sums_beyond_float64():
    with pytest.raises(DataError, match="the sum of the values of one user and item is beyond float64's range"):
        as_interactions(([0, 0], [0, 0], [1e308, 1e308]))


def test_labels_of_a_matrix_must_fit():
    matrix = sparse.csr_array(np.eye(3))
    with pytest.raises(DataError, match="users must have one id for each of the matrix' 3 users, got 2"):
        Interactions.from_matrix(matrix, users=["a", "b"])
    with pytest.raises(DataError, match="items must be distinct, got 2 different ids for 3 items"):
        Interactions.from_matrix(matrix, items=["a", "b", "a"])
    with pytest.raises(ArgumentTypeError, match=r"matrix must be a scipy\.sparse matrix or array, got ndarray"):
        Interactions.from_matrix(np.eye(3))


def test_bad_parameters():
    with pytest.raises(ParameterError, match="duplicates must be one of 'sum', 'last', 'max', 'mean', 'error', 'keep'"):
        as_interactions(([0], [0]), duplicates="first")
    with pytest.raises(ParameterError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        as_interactions(([0], [0]), dtype="float16")
    with pytest.raises(ParameterError, match="num_threads must be >= 1, got 0"):
        as_interactions(([0], [0]), num_threads=0)
    with pytest.raises(TypeError, match="make Interactions with"):
        Interactions()


@pytest.mark.parametrize("format", FORMATS)
def test_matrix_without_cells_where_that_is_allowed(format):
    interactions = as_interactions(sparse.coo_array((3, 4)).asformat(format), items=Labels(None, 4))
    assert interactions.shape == (3, 4)
    assert cells_of(interactions) == {}


def test_interactions_pass_through():
    interactions = as_interactions(([0], [0]))
    assert as_interactions(interactions, duplicates="error") is interactions


# ----------------------------------------------------------------------------------------------------------------------
# fuzz: a result equal to the oracle's, or a FastalsError; never anything else

WILD = [0.0, 1.0, -1.5, 0.1, 1e300, 1e-300, 2.0**24 + 1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_fuzz_arrays(data):
    n = data.draw(st.integers(0, 30))
    ids = st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
        st.lists(st.integers(-3, 3), min_size=1, max_size=5),
        st.lists(st.text(max_size=3), min_size=1, max_size=5),
        st.lists(st.binary(max_size=3), min_size=1, max_size=5),
    )
    users, items = ([data.draw(st.sampled_from(pool)) for _ in range(n)] for pool in (data.draw(ids), data.draw(ids)))
    values = [data.draw(st.sampled_from(WILD)) for _ in range(n)]
    duplicates = data.draw(st.sampled_from(DUPLICATES))
    try:
        interactions = as_interactions((users, items, values), duplicates=duplicates)
    except FastalsError:
        assert n == 0 or duplicates == "error"
        return
    expected = oracle(users, items, values, duplicates)
    found = cells_of(interactions)
    assert found.keys() == expected.keys()
    for cell, x in expected.items():
        np.testing.assert_allclose(found[cell], x, rtol=1e-14)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_fuzz_broken_matrices(data):
    """Any arrays at all where a CSR or CSC matrix keeps its own."""
    integers = st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, -1, 2**31, 2**40, -(2**63)]), max_size=6)
    dtypes = st.sampled_from(["i4", "i8", "u8", "i1", "f8"])
    matrix = data.draw(st.sampled_from([sparse.csr_array, sparse.csc_array]))((4, 3))
    matrix.indices = np.array(data.draw(integers), "i8").astype(data.draw(dtypes))
    if data.draw(st.booleans()):
        matrix.indptr = np.array(data.draw(integers), "i8").astype(data.draw(dtypes))
    else:
        n = max(matrix._swap((4, 3)))
        matrix.indptr = np.array([0, *sorted(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))])
    matrix.data = np.array(data.draw(st.lists(st.sampled_from([*WILD, nan, inf]), max_size=6)))
    try:
        interactions = Interactions.from_matrix(matrix, users=data.draw(st.sampled_from([None, ["d", "c", "b", "a"]])))
    except FastalsError:
        return
    cells_of(interactions)


@pytest.mark.parametrize("duplicates", ["sum", "last", "max", "mean", "keep"])
def test_a_few_cells_of_many_items_are_sorted_as_many_are(duplicates):
    rng = np.random.default_rng(0)
    items = Labels(None, 1000)
    for n in (1, 2, 7, 40):
        users, columns, values = rng.integers(0, 5, n), rng.integers(0, 1000, n), rng.normal(size=n).astype(np.float32)
        columns[n // 2 :] = columns[: n - n // 2]  # some of them repeated
        few = as_interactions((users, columns, values), items=items, duplicates=duplicates)
        more = np.append(users, [7] * 500), np.append(columns, np.arange(500)), np.append(values, np.ones(500))
        many = as_interactions((*more[:2], more[2].astype(np.float32)), items=items, duplicates=duplicates)
        np.testing.assert_array_equal(few.indices, many.indices[: few.nnz])
        np.testing.assert_array_equal(few.values, many.values[: few.nnz])
