"""Interactions on disk: what is in memory is the oracle, to the bit."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import DataError, FastalsError, FileFormatError, Interactions, ParameterError
from fastals._core import read_tensors, write_tensors
from fastals._data import external, frames
from fastals._data.builder import DUPLICATES

AXES = ("users", "items")
MANIFEST = "interactions.safetensors"


def cells_of(data, axis, dtype=None):
    lines = data.lines(axis, dtype)
    return (lines.indptr, *lines.read(0, len(lines.indptr) - 1)[:2])


def assert_same(there, here):
    """The same shape, labels, cells and bits, in both orientations."""
    assert (there.shape, there.nnz, there.scoring) == (here.shape, here.nnz, here.scoring)
    for axis in AXES:
        labels = [getattr(data, axis) for data in (there, here)]
        assert all(values is None for values in labels) or (
            labels[0].dtype == labels[1].dtype and labels[0].tolist() == labels[1].tolist()
        )
        for one, other in zip(cells_of(there, axis), cells_of(here, axis), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.fixture
def tiny(monkeypatch):
    """Files are sorted in buckets, and read in chunks, of so few cells."""

    def set_sizes(bucket, chunk):
        monkeypatch.setattr(external, "BUCKET_CELLS", bucket)
        monkeypatch.setattr(external, "CHUNK_CELLS", chunk)
        monkeypatch.setattr(frames, "SLICE_ROWS", chunk)

    set_sizes(7, 30)
    return set_sizes


def events(n=300, seed=0, kind=int):
    """Users, one of whom has a third of all events; items; values with repeats that add up inexactly."""
    rng = np.random.default_rng(seed)
    users = np.where(rng.random(n) < 1 / 3, 5, rng.integers(-3, 12, n))
    items = rng.integers(0, 20, n) * 10**12
    ids = [
        np.array([kind(x) for x in some.tolist()], object if kind is not int else np.int64) for some in (users, items)
    ]
    return *ids, rng.random(n).astype(np.float32).astype(np.float64)


# ----------------------------------------------------------------------------------------------------------------------
# the same as in memory


@pytest.mark.parametrize("duplicates", [policy for policy in DUPLICATES if policy != "error"])
@pytest.mark.parametrize(("bucket", "chunk"), [(1, 17), (40, 1000), (10**6, 10**6)])
def test_every_policy_and_size_of_bucket(tmp_path, tiny, duplicates, bucket, chunk):
    tiny(bucket, chunk)
    users, items, values = events()
    kinds = {
        "none": None,
        "ones": np.ones(len(users), np.int8),
        "integers": (values * 5).astype(np.int16),
        "exact": values,
        "inexact": values + 1e-12,
        "inexact at last": np.append(np.ones(len(users) - 1), 0.1),
        "inexact, and merged away": np.where(np.arange(len(users)) == 3, -0.1, 1),
    }
    for name, given in kinds.items():
        data = Interactions.from_arrays(users, items, given, duplicates=duplicates)
        stored = Interactions.from_arrays(users, items, given, duplicates=duplicates, on_disk=tmp_path / name)
        assert_same(stored, data)
        assert_same(stored.in_memory(), data)
        assert_same(Interactions.open(tmp_path / name), data)
        assert os.path.exists(tmp_path / name / "items.values") == bool((data.values != 1).any())
        assert {path.name for path in (tmp_path / name).iterdir()} <= {
            MANIFEST, *(f"{axis}.{what}" for axis in AXES for what in ("indices", "values"))
        }  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [str, lambda x: f"{x} ä\ud800", lambda x: str(x).encode(), lambda x: UUID(int=x + 3), float],
    ids=["strings", "surrogates", "bytes", "uuids", "whole floats"],
)
def test_every_kind_of_label(tmp_path, tiny, kind):
    users, items, values = events(kind=kind)
    stored = Interactions.from_arrays(users, items, values, on_disk=tmp_path / "store")
    assert_same(stored, Interactions.from_arrays(users, items, values))
    assert_same(stored.in_memory(), Interactions.from_arrays(users, items, values))


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u8", ">i8", "f4", "U5", "S5"])
def test_arrays_of_ids(tmp_path, tiny, dtype):
    users, items, values = (np.arange(100) % 7).astype(dtype), (np.arange(100) % 11).astype(dtype), np.arange(100)
    stored = Interactions.from_arrays(users, items, values, on_disk=tmp_path / "store")
    assert_same(stored, Interactions.from_arrays(users, items, values))


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("format", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
def test_matrices(tmp_path, tiny, format, labelled):
    rng = np.random.default_rng(1)
    dense = rng.integers(1, 6, (9, 7)) * (rng.random((9, 7)) < 0.4)
    dense[2] = dense[:, 5] = 0
    matrix = getattr(sparse, f"{format}_array")(sparse.coo_array(dense))
    labels = {"users": list("ihgfedcba"), "items": np.arange(7)[::-1] * 10} if labelled else {}
    stored = Interactions.from_matrix(matrix, on_disk=tmp_path / "store", **labels)
    assert_same(stored, Interactions.from_matrix(matrix, **labels))


@pytest.mark.parametrize("duplicates", [policy for policy in DUPLICATES if policy != "error"])
@pytest.mark.parametrize("format", ["coo", "csc", "csr"])
def test_unsorted_matrices_with_repeats(tmp_path, tiny, format, duplicates):
    rng = np.random.default_rng(2)
    lengths, values = rng.integers(0, 9, 12), rng.random(200)
    indptr = np.append(0, np.cumsum(lengths))
    indices, values = rng.integers(0, 5, indptr[-1]).astype(np.int64), values[: indptr[-1]]
    if format == "coo":
        matrix = sparse.coo_array((values, (np.repeat(np.arange(12), lengths), indices)), shape=(12, 5))
    else:
        shape = (12, 5) if format == "csr" else (5, 12)
        matrix = getattr(sparse, f"{format}_array")((values, indices, indptr), shape=shape)
    stored = Interactions.from_matrix(matrix, duplicates=duplicates, on_disk=tmp_path / "store")
    assert_same(stored, Interactions.from_matrix(matrix, duplicates=duplicates))


def test_frames(tmp_path, tiny):
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    users, items, values = events(kind=str)
    columns = {"user": users.tolist(), "item": items.tolist(), "rating": values.tolist()}
    frame = pd.DataFrame(columns)
    categories = frame.astype(
        {"user": pd.CategoricalDtype(["unused", *sorted(set(users.tolist()))]), "item": "category"}
    )
    table = pa.table(columns)
    coded = table.set_column(0, "user", table["user"].dictionary_encode())
    chunked = pa.concat_tables([table.slice(0, 100), table.slice(100, 1), table.slice(101)])
    frames = [columns, frame, categories, pl.DataFrame(columns), table, coded, chunked]
    for number, some in enumerate(frames):
        stored = Interactions.from_frame(some, on_disk=tmp_path / str(number))
        assert_same(stored, Interactions.from_frame(some))


def test_files(tmp_path, tiny):
    pa, parquet, arrow_csv = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet", "pyarrow.csv"))
    users, items, values = events()
    scoring = b'{"signals": {"plays": {}}}'
    table = pa.table({"user": users, "item": items, "rating": values}).replace_schema_metadata(
        {b"fastals.scoring": scoring}
    )
    coded = table.set_column(0, "user", pa.array(users.astype(str)).dictionary_encode())
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=37)
    parquet.write_table(coded, tmp_path / "coded.parquet", row_group_size=37)
    arrow_csv.write_csv(table, tmp_path / "a.csv")
    texts = table.set_column(1, "item", pa.array([f"0{item}" for item in items]))
    arrow_csv.write_csv(texts, tmp_path / "b.csv")
    lines = [f'{{"user": {u}, "item": "{i}", "rating": {v}}}' for u, i, v in zip(users, items, values, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for name, made, given in [
        ("1", Interactions.from_parquet, tmp_path / "a.parquet"),
        ("2", Interactions.from_parquet, tmp_path / "coded.parquet"),
        ("3", Interactions.from_csv, tmp_path / "a.csv"),
        ("4", Interactions.from_csv, tmp_path / "b.csv"),
        ("5", Interactions.from_csv, [tmp_path / "a.csv", tmp_path / "a.csv"]),
        ("6", Interactions.from_json, tmp_path / "a.jsonl"),
    ]:
        stored = made(given, on_disk=tmp_path / name, duplicates="mean")
        assert_same(stored, made(given, duplicates="mean"))
        assert_same(stored.in_memory(), made(given, duplicates="mean"))
        assert (stored.scoring is None) == (made != Interactions.from_parquet)


def test_mapped_files_are_given_back_and_stay_as_they_are(tmp_path, tiny):
    users, items, values = (np.arange(5000) % n for n in (83, 31, 5))
    for name, array in (("users", users), ("items", items), ("values", values)):
        array.tofile(tmp_path / name)
    for mode in ("r", "c"):
        mapped = [np.memmap(tmp_path / name, np.int64, mode) for name in ("users", "items", "values")]
        if mode == "c":
            mapped[2][:] = values = values + 1  # in this process only: not to be lost
        stored = Interactions.from_arrays(*mapped, on_disk=tmp_path / mode)
        assert_same(stored, Interactions.from_arrays(users, items, values))


def test_fuzz(tmp_path, tiny):
    rng = np.random.default_rng(5)
    for case in range(60):
        tiny(int(rng.integers(1, 60)), int(rng.integers(1, 60)))
        n = int(rng.integers(1, 120))
        users, items = rng.integers(0, rng.integers(1, 40), n), rng.integers(0, rng.integers(1, 40), n)
        values = [None, rng.integers(1, 3, n), rng.random(n)][rng.integers(3)]
        options = {"duplicates": str(rng.choice([policy for policy in DUPLICATES if policy != "error"]))}
        if rng.random() < 0.5:
            values = np.ones(n) if values is None else values
            given, make = (sparse.coo_array((values, (users, items)), shape=(40, 40)),), Interactions.from_matrix
        else:
            given, make = (users, items, values), Interactions.from_arrays
        path = tmp_path / str(case)
        assert_same(make(*given, on_disk=path, **options), make(*given, **options))
        shutil.rmtree(path)


# ----------------------------------------------------------------------------------------------------------------------
# reading


@pytest.fixture
def stored(tmp_path, tiny):
    return Interactions.from_arrays(*events(), on_disk=tmp_path / "store")


def test_what_is_shown(stored, tmp_path):
    data = Interactions.from_arrays(*events())
    assert repr(stored) == repr(data)
    assert stored.on_disk == str(tmp_path / "store")
    assert data.on_disk is None
    assert data.in_memory() is data
    np.testing.assert_array_equal(stored.indptr, data.indptr)
    assert not stored.indptr.flags.writeable
    assert not stored.in_memory().values.flags.writeable


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("axis", AXES)
def test_lines_one_after_the_other(stored, axis, dtype):
    data = stored.in_memory()
    here, there = data.lines(axis, dtype), stored.lines(axis, dtype)
    assert (there.n_others, there.dtype, there.weighted) == (here.n_others, here.dtype, False)
    n = len(here.indptr) - 1
    out = np.empty(stored.nnz + 3, np.int32), np.empty(stored.nnz, there.dtype), None
    for first in range(n + 1):
        for last in range(first, n + 1):
            some, own = there.read(first, last, out), here.read(first, last)
            assert some[0].base is out[0]
            assert own[2] is some[2] is None
            np.testing.assert_array_equal(some[0], own[0])
            np.testing.assert_array_equal(some[1], own[1])
    assert np.shares_memory(here.read(0, n)[1], here.values)
    with pytest.raises(ValueError, match="room"):
        there.read(0, n, (out[0][:3], *out[1:]))


def test_values_that_are_ones_are_made(tmp_path):
    stored = Interactions.from_arrays([3, 1, 3], [1, 1, 2], on_disk=tmp_path / "store")
    out = np.empty(3, np.int32), np.full(3, np.nan), None
    np.testing.assert_array_equal(stored.lines("users", "float64").read(0, 2, out)[1], np.ones(3))


@pytest.mark.parametrize("axis", AXES)
def test_lists(stored, axis):
    here, there = stored.in_memory().lines(axis), stored.lines(axis)
    n = len(here.indptr) - 1
    rng = np.random.default_rng(0)
    questions = [
        *(slice(None), slice(2, 5), slice(3, 3), np.array([], int), np.array([4]), np.array([-1, 0, 0, 1, 2, 5])),
        *(np.arange(n) % 3 == 0, rng.integers(0, n, 50)),
    ]
    for lines in questions:
        (first, last, others), (own_first, own_last, own) = there.lists(lines), here.lists(lines)
        assert len(others) == (last - first).sum()
        assert own is here.indices
        assert len(first) == len(own_first)
        for a, b, c, d in zip(first, last, own_first, own_last, strict=True):
            np.testing.assert_array_equal(others[a:b], own[c:d])


def test_threads_read_at_once(stored):
    expected = cells_of(stored.in_memory(), "users")
    lines, wrong = stored.lines("users"), []

    def read(seed):
        rng = np.random.default_rng(seed)
        out = np.empty(stored.nnz, np.int32), np.empty(stored.nnz, lines.dtype), None
        for _ in range(100):
            first, last = np.sort(rng.integers(0, stored.n_users + 1, 2))
            part = slice(expected[0][first], expected[0][last])
            some = lines.read(first, last, out)
            if not (np.array_equal(some[0], expected[1][part]) and np.array_equal(some[1], expected[2][part])):
                wrong.append((first, last))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_values_beyond_float32_are_refused_where_they_are_read(tmp_path):
    stored = Interactions.from_arrays([1, 2], [1, 1], [1.0, 1e300], on_disk=tmp_path / "store")
    assert stored.lines("users").dtype == np.float64
    with pytest.raises(DataError, match="float32's range"):
        stored.lines("users", "float32").read(0, 2)


@pytest.mark.parametrize(
    "wants",
    [
        lambda data: data.matrix,
        lambda data: data.values,
        lambda data: data.indices,
        lambda data: data.arrays(),
        lambda data: data.transpose_arrays("float64"),
        lambda data: fastals.evaluation.train_test_split(data, random_state=0),
        lambda data: fastals.with_ids(data, fastals.Ids(data.users)),
        lambda data: fastals.ItemKNN().fit(data),
        lambda data: fastals.EASE().fit(data),
    ],
    ids=["matrix", "values", "indices", "arrays", "transposed", "split", "ids", "neighbours", "linear"],
)
def test_what_needs_memory_says_so(stored, wants):
    with pytest.raises(DataError, match=r"on disk, in '.*', .* in_memory\(\) loads them"):
        wants(stored)
    wants(stored.in_memory())


def test_pickle_is_the_path(stored):
    for made in (pickle.loads(pickle.dumps(stored)), copy.copy(stored), copy.deepcopy(stored)):
        assert_same(made, stored)
        assert made.on_disk == stored.on_disk
    lines = pickle.loads(pickle.dumps(stored.lines("items")))
    np.testing.assert_array_equal(lines.read(0, 3)[0], stored.lines("items").read(0, 3)[0])
    assert not lines.indptr.flags.writeable
    pickled = pickle.dumps(stored)
    assert len(pickled) < 500
    shutil.rmtree(stored.on_disk)
    with pytest.raises(FileFormatError, match="no interactions"):
        pickle.loads(pickled)
    Interactions.from_arrays([1], [1], on_disk=stored.on_disk)
    with pytest.raises(FileFormatError, match="other interactions than those that were pickled"):
        pickle.loads(pickled)


def test_files_that_are_replaced_are_noticed(stored):
    path = Path(stored.on_disk) / "users.indices"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    for read in (lambda: stored.lines("users").read(0, 1), lambda: stored.lines("users").lists([0])):
        with pytest.raises(FileFormatError, match=r"users.indices.* changed"):
            read()
    stored.lines("items").read(0, 1)
    path.unlink()
    with pytest.raises(FileFormatError, match=r"users.indices cannot be read"):
        stored.lines("users").read(0, 1)


# ----------------------------------------------------------------------------------------------------------------------
# damage


def rewrite(directory, change):
    """Write the manifest anew, with right checksums and a wrong content."""
    path = str(directory / MANIFEST)
    content, tensors = read_tensors(path, "interactions", "1", mmap=False)
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    change(content, tensors)
    write_tensors(path, "interactions", "1", content, tensors)


def resize(name, by):
    def change(directory):
        data = (directory / name).read_bytes()
        (directory / name).write_bytes(data[:by] if by < 0 else data + bytes(by))

    return change


def poke(name, dtype, at, value):
    def change(directory):
        numbers = np.fromfile(directory / name, dtype)
        numbers[at] = value
        numbers.tofile(directory / name)

    return change


def flip(at):
    def change(directory):
        data = bytearray((directory / MANIFEST).read_bytes())
        data[at] ^= 0x10
        (directory / MANIFEST).write_bytes(data)

    return change


def entry(name, value):
    return lambda directory: rewrite(directory, lambda content, _: content.update({name: value}))


def tensor(name, value):
    def change(content, tensors):
        tensors[name] = value(tensors[name])

    return lambda directory: rewrite(directory, change)


def raised(indptr):
    indptr[3], indptr[4] = indptr[4] + 1, indptr[3]
    return indptr


DAMAGE = {
    **{f"{name} {by:+}": resize(name, by) for by in (-1, -4, 1, 4) for name in ("users.indices", "items.values")},
    **{f"{MANIFEST} {by:+}": resize(MANIFEST, by) for by in (-1, -100, -5000, 1)},
    **{f"{MANIFEST} byte {at}": flip(at) for at in (0, 7, 8, 20, 200, 700, -1, -300)},
    **{f"without {name}": lambda d, name=name: os.unlink(d / name) for name in ("users.values", "items.indices")},
    **{
        f"{axis}.indices[{at}] = {value}": poke(f"{axis}.indices", np.int32, at, value)
        for axis in AXES
        for at in (0, 7, -1)
        for value in (-1, 2**31 - 1, -(2**31), 15 if axis == "items" else 20)
    },
    "unsorted": poke("users.indices", np.int32, slice(None), 0),
    "not a number": poke("users.values", np.float64, 3, np.nan),
    "infinite": poke("items.values", np.float64, 3, -np.inf),
    "n_users + 1": entry("n_users", 16),
    "n_users huge": entry("n_users", 2**40),
    "n_items - 1": entry("n_items", 19),
    "n_items 0": entry("n_items", 0),
    "n_items no integer": entry("n_items", 20.0),
    "n_items true": entry("n_items", True),
    "n_cells + 1": entry("n_cells", 10**9),
    "n_cells negative": entry("n_cells", -1),
    "other dtype": entry("dtype", "float32"),
    "no dtype": entry("dtype", "int8"),
    "no list": entry("files_crc32", None),
    "scoring no object": entry("scoring", []),
    "no kinds": entry("labels", {}),
    "other kinds": entry("labels", {"users": "string", "items": "int64"}),
    "unknown kinds": entry("labels", {"users": "pickle", "items": "int64"}),
    "labels that are not taken": entry("labels", {"users": "index", "items": "int64"}),
    "ones, with values": entry("ones", None),
    "repeats": entry("repeats", "no"),
    "indptr falls": tensor("users_indptr", raised),
    "indptr begins": tensor("items_indptr", lambda indptr: indptr + 1),
    "indptr ends": tensor("items_indptr", lambda indptr: np.append(indptr[:-1], 10**12)),
    "indptr shorter": tensor("items_indptr", lambda indptr: np.append(indptr[:-2], indptr[-1])),
    "indptr of another type": tensor("items_indptr", lambda indptr: indptr.astype(np.int32)),
    "labels of another length": tensor("items", lambda labels: labels[:-1]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_an_error_and_never_a_crash(stored, damage):
    directory = Path(stored.on_disk)
    del stored
    DAMAGE[damage](directory)

    def read():
        data = Interactions.open(directory)
        for axis in AXES:
            lines = data.lines(axis)
            lines.lists(slice(None))
            lines.read(0, len(lines.indptr) - 1)

    with pytest.raises(FileFormatError) as error:
        read()
    assert str(directory) in str(error.value)


def test_damage_within_the_rules_is_found_by_checksum(stored):
    for name in ("users.values", "users.indices"):
        copied = f"{stored.on_disk}-{name}"
        shutil.copytree(stored.on_disk, copied)
        numbers = np.fromfile(f"{copied}/{name}", np.float64 if "values" in name else np.int32)
        if "values" in name:
            numbers[5] += 1
        else:
            gap = np.flatnonzero(np.diff(numbers) > 1)[0]
            numbers[gap] += 1
        numbers.tofile(f"{copied}/{name}")
        with pytest.raises(FileFormatError, match=f"{name} is damaged: its checksum differs"):
            Interactions.open(copied).in_memory()


def test_no_interactions(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileFormatError, match=r"holds no interactions; from_arrays\(\.\.\., on_disk=.* makes them"):
            Interactions.open(path)
    (tmp_path / "building").touch()
    with pytest.raises(FileFormatError, match="was interrupted"):
        Interactions.open(tmp_path)


# ----------------------------------------------------------------------------------------------------------------------
# making


def test_what_is_there_is_not_overwritten(stored, tmp_path):
    before = sorted((path.name, path.read_bytes()) for path in Path(stored.on_disk).iterdir())
    with pytest.raises(ParameterError, match=r"on_disk='.*' holds interactions already: Interactions.open"):
        Interactions.from_arrays([1], [1], on_disk=stored.on_disk)
    assert before == sorted((path.name, path.read_bytes()) for path in Path(stored.on_disk).iterdir())
    other = tmp_path / "other"
    other.mkdir()
    (other / "users.indices").write_text("mine")
    for name in ("users.indices", "letter"):
        with pytest.raises(
            ParameterError, match=f"must be a new or an empty directory, but '.*other' holds .*{name!r}"
        ):
            Interactions.from_arrays([1], [1], on_disk=other)
        (other / name).rename(other / "letter")
    (other / "building").touch()
    with pytest.raises(ParameterError, match="holds other files, as 'letter'"):
        Interactions.from_arrays([1], [1], on_disk=other)
    assert (other / "letter").read_text() == "mine"


def test_where_nothing_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    for path, error in [
        (tmp_path / "no" / "where", FileNotFoundError),
        (tmp_path / "file", FileExistsError),
        (3, fastals.ArgumentTypeError),
    ]:
        with pytest.raises(error):
            Interactions.from_arrays([1], [1], on_disk=path)


@pytest.mark.skipif(sys.platform == "win32", reason="locks files by fcntl")
def test_two_builders_do_not_meet(tmp_path):
    import fcntl

    (tmp_path / "store").mkdir()
    with open(tmp_path / "store" / "building", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ParameterError, match="another process is building interactions there"):
            Interactions.from_arrays([1], [1], on_disk=tmp_path / "store")
    assert_same(Interactions.from_arrays([1], [1], on_disk=tmp_path / "store"), Interactions.from_arrays([1], [1]))


GOOD = np.arange(100) % 9
REFUSED = {
    "missing": (np.where(GOOD == 8, None, GOOD), GOOD, None),
    "no id": (np.where(GOOD == 8, 0.5, GOOD), GOOD, None),
    "mixed kinds": ([*GOOD[:50].tolist(), *map(str, GOOD[:50])], GOOD, None),
    "not finite": (GOOD, GOOD, np.where(np.arange(100) == 77, np.nan, 1)),
    "no number": (GOOD, GOOD, np.array(["1"] * 100)),
    "lengths": (GOOD, GOOD[1:], None),
    "no vector": (GOOD, GOOD.reshape(10, 10), None),
    "empty": ([], [], None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing(tmp_path, tiny, case):
    with pytest.raises(FastalsError) as here:
        Interactions.from_arrays(*REFUSED[case])
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(FastalsError) as there:
            Interactions.from_arrays(*REFUSED[case], on_disk=tmp_path / name)
        assert here.type in (there.type, fastals.ArgumentTypeError)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_value_that_is_refused_is_found(tmp_path, tiny):
    values = np.where(np.arange(100) == 77, np.inf, 1)
    with pytest.raises(DataError, match="values must be finite, got inf at position 17, counted from 60 on"):
        Interactions.from_arrays(GOOD, GOOD, values, on_disk=tmp_path / "store")


@pytest.mark.parametrize("labels", [int, str])
def test_repeats_are_refused_by_name(tmp_path, tiny, labels):
    matrix = sparse.coo_array((np.ones(31), (np.append(np.arange(30), 25), np.append(np.arange(30) % 7, 4))), (30, 7))
    given = {} if labels is int else {"users": np.arange(30).astype(str)}
    with pytest.raises(DataError, match=r"user '?25'? and item 4 occur together") as here:
        Interactions.from_matrix(matrix, duplicates="error", **given)
    with pytest.raises(DataError) as there:
        Interactions.from_matrix(matrix, duplicates="error", on_disk=tmp_path / "store", **given)
    assert str(here.value) == str(there.value)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
def test_broken_matrices_are_refused_as_in_memory(tmp_path, tiny, format):
    def broken(what, value):
        matrix = getattr(sparse, f"{format}_array")(sparse.coo_array(np.arange(1, 31.0).reshape(5, 6)))
        array = matrix.data if what == "data" else matrix.coords[0] if format == "coo" else matrix.indices
        array[20] = value
        return matrix

    for what, value in [("data", np.nan), ("index", -1), ("index", 77)]:
        with pytest.raises(DataError) as here:
            Interactions.from_matrix(broken(what, value))
        with pytest.raises(DataError) as there:
            Interactions.from_matrix(broken(what, value), on_disk=tmp_path / "store")
        if format != "coo" or what == "data":
            assert str(here.value) == str(there.value)
    with pytest.raises(DataError, match="empty"):
        Interactions.from_matrix(getattr(sparse, f"{format}_array")((5, 6)), on_disk=tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_missing_ids_of_csv_are_found(tmp_path, tiny):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv").write_text("user,item\nann,1\n,2\n")
    with pytest.raises(DataError, match=r"a.csv: line 3, column 'user': the id is missing"):
        Interactions.from_csv(tmp_path / "a.csv", on_disk=tmp_path / "store")


def test_files_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for module in ("_core.checks", "_files.storage"):
        monkeypatch.setattr(f"fastals.{module}.find_spec", lambda name: None)
    (tmp_path / "a.csv").write_text("user,item\nann,1\n")
    stored = Interactions.from_csv(tmp_path / "a.csv", on_disk=tmp_path / "store")
    assert (stored.users.tolist(), stored.items.tolist(), stored.nnz) == (["ann"], [1], 1)
    with pytest.raises(fastals.MissingDependencyError, match=r"pip install 'fastals\[io\]'"):
        Interactions.from_csv(tmp_path, on_disk=tmp_path / "other")


# ----------------------------------------------------------------------------------------------------------------------
# in another process


KILLED = """
import os, shutil, signal, sys
import numpy as np
import fastals
from fastals._core import files
from fastals._data import external, frames, store
from fastals._data.lines import MARKER

external.BUCKET_CELLS = external.CHUNK_CELLS = frames.SLICE_ROWS = 60
directory, points = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
data = rng.integers(0, 12, 200), rng.integers(0, 9, 200), np.append(np.ones(150), rng.random(50))
made = [0, 0]  # file operations, and the one that kills


def count():
    made[0] += 1
    if made[0] == made[1]:
        os.kill(os.getpid(), signal.SIGKILL)


def hook(event, arguments):
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir", "fcntl.flock"):
        if directory in map(str, arguments) or any(str(x).startswith(directory + os.sep) for x in arguments):
            count()


def write_half(file, data, write_all=external.write_all):
    write_all(file, data[: len(data) // 2])
    count()
    write_all(file, data[len(data) // 2 :])


def build(kill_at=0):
    made[:] = 0, kill_at
    return fastals.Interactions.from_arrays(*data, on_disk=directory)._store.digest


def in_a_child(work):
    child = os.fork()
    if not child:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def opens():
    try:
        return 0 if fastals.Interactions.open(directory)._store.digest == right else 3
    except fastals.FileFormatError:
        return 1


def sets_right():
    return 0 if build() == right else 3


sys.addaudithook(hook)
external.write_all = write_half
right = build()
total = made[0]
shutil.rmtree(directory)
assert total > 60, total
killed = finished = 0
for at in np.unique(np.linspace(1, total, points).astype(int)).tolist():
    assert in_a_child(lambda: build(at)) == -signal.SIGKILL, at
    killed += 1
    there = in_a_child(opens)
    assert there in (0, 1), (at, there)
    finished += there == 0
    if there == 1:
        assert in_a_child(sets_right) == 0, at
        assert in_a_child(opens) == 0, at
        assert MARKER not in os.listdir(directory)
        assert len(os.listdir(directory)) == 5, os.listdir(directory)
    shutil.rmtree(directory)
print(killed, finished, total)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_anywhere_the_next_run_is_right(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "store"), "60"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    killed, finished, _ = map(int, result.stdout.split())
    assert killed >= 30
    assert finished <= 3  # killed when all was there: while the marker went


def test_interrupted_it_leaves_nothing(tmp_path, tiny, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastals._data.store.write_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Interactions.from_arrays(*events(), on_disk=tmp_path / "store")
    assert not list(tmp_path.iterdir())


MEMORY = """
import sys
import numpy as np
import fastals
from fastals._data import external, frames

external.BUCKET_CELLS = external.CHUNK_CELLS = frames.SLICE_ROWS = 1 << 18
rng = np.random.default_rng(0)
with open(sys.argv[1] + ".users", "wb") as users, open(sys.argv[1] + ".items", "wb") as items:
    for _ in range(40):
        rng.integers(0, 20_000, 200_000).tofile(users)
        rng.integers(0, 5_000, 200_000).tofile(items)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


fastals.Interactions.from_arrays([1, 2], [1, 2], on_disk=sys.argv[1] + "-small")
before = peak()
mapped = [np.memmap(sys.argv[1] + name, np.int64, "r") for name in (".users", ".items")]
made = fastals.Interactions.from_arrays(*mapped, on_disk=sys.argv[1] + "-large")
lines, out = made.lines("items"), (np.empty(1 << 18, np.int32), np.empty(1 << 18, np.float32), None)
for line in range(0, made.n_items, 100):
    lines.read(line, min(line + 100, made.n_items), out)
print(peak() - before, made.nnz)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded(tmp_path):
    """8 M events, 128 MB of ids: sorted in memory they would take 16 bytes each besides, mapped files not counted."""
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "data")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    megabytes, cells = map(float, result.stdout.split())
    assert cells > 7e6
    assert megabytes < 48


def test_labels_of_last_rows_without_cells(tmp_path):
    for cells in ([[1, 2, 0], [0, 3, 0], [0, 0, 0]], [[1, 2, 0], [0, 0, 0], [0, 0, 0]]):
        matrix = sparse.csr_array(np.array(cells, np.float32))
        path = tmp_path / str(len(os.listdir(tmp_path)))
        data = Interactions.from_matrix(matrix, users=["a", "b", "c"], on_disk=path)
        assert data.users.tolist() == ["a", "b", "c"]
        assert data.in_memory().matrix.toarray().tolist() == cells
