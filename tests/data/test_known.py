"""Pairs that are known beside the cells: sets of pairs are the oracle."""

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from scipy import sparse

import fastals
from fastals import ArgumentTypeError, DataError, FileFormatError, Interactions
from fastals._data import Labels, append, external, frames, known_of, left_known
from fastals._data.readers import SCORING
from fastals.evaluation import leave_last_out, leave_random_out, split_users, train_test_split

Pair = tuple[Any, Any]
KINDS = {
    "strings": (lambda n: f"u{n:02}", lambda n: f"i{n:02}"),
    "integers": (lambda n: 3 * n - 20, lambda n: 10**12 + n),
    "uuids": (lambda n: UUID(int=n), lambda n: f"i{n:02}".encode()),
}


def pairs_of(data: Interactions | None) -> set[Pair]:
    """The cells, by label."""
    if data is None:
        return set()
    lines = data.in_memory()
    users, items = lines.matrix.nonzero()
    return set(zip(data.user_labels.decode(users).tolist(), data.item_labels.decode(items).tolist(), strict=True))


def elsewhere(data: Interactions) -> set[Pair]:
    return pairs_of(known_of(data).elsewhere)


def assert_known(data: Interactions, cells: set[Pair], known: set[Pair], *, waiting: bool = True) -> None:
    """What is known is what is no cell; what is about a user or an item without a cell waits."""
    users, items = ({pair[side] for pair in cells} for side in (0, 1))
    beside = {(user, item) for user, item in known - cells if user in users and item in items}
    assert pairs_of(data) == cells
    assert pairs_of(data.known) == beside
    assert elsewhere(data) == (known - cells - beside if waiting else set())
    if data.known is None:
        return
    assert data.known.shape == data.shape
    assert data.known.known is None
    for axis in ("users", "items"):
        lines = data.known.lines(axis)
        _, values, _ = lines.read(0, len(lines.indptr) - 1)
        assert (values == 1).all()
    by_item = data.known.lines("items")
    lists = by_item.lists(np.arange(data.n_items))
    where, found = lists.pairs()
    labels = data.user_labels.decode(found).tolist(), data.item_labels.decode(where).tolist()
    assert set(zip(*labels, strict=True)) == beside


def drawn(kind: str = "strings", seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Events with repeats, and known pairs with repeats: some are events too, some of users and items without any."""
    rng = np.random.default_rng(seed)
    of_user, of_item = KINDS[kind]
    events = [(of_user(u), of_item(i)) for u, i in rng.integers((0, 3), (20, 15), (150, 2)).tolist()]
    known = [(of_user(u), of_item(i)) for u, i in rng.integers(0, (24, 15), (200, 2)).tolist()]
    return events, known


def columns(pairs: list[Pair]) -> tuple[list[Any], list[Any]]:
    return [user for user, _ in pairs], [item for _, item in pairs]


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are sorted in buckets, and read in chunks, of a few cells."""
    monkeypatch.setattr(external, "BUCKET_CELLS", 7)
    monkeypatch.setattr(external, "CHUNK_CELLS", 30)
    monkeypatch.setattr(frames, "SLICE_ROWS", 30)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_known_but_for_cells(kind: str, seed: int) -> None:
    events, known = drawn(kind, seed)
    data = Interactions.from_arrays(*columns(events), known=columns(known))
    assert_known(data, set(events), set(known))
    plain = Interactions.from_arrays(*columns(events))
    assert plain.known is None
    for one, other in zip((*data.arrays(), data.users, data.items), (*plain.arrays(), plain.users, plain.items)):  # noqa: B905
        np.testing.assert_array_equal(one, other)
    for other in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data), data.in_memory()):
        assert_known(other, set(events), set(known))
    again = Interactions.from_arrays(*columns(events[:90]), known=data)
    assert_known(again, set(events[:90]), set(events) | set(known))


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_on_disk_is_known_what_is_in_memory(kind: str, seed: int, tmp_path: Path) -> None:
    events, known = drawn(kind, seed)
    stored = Interactions.from_arrays(*columns(events), known=columns(known), on_disk=tmp_path / "there")
    for data in (stored, Interactions.open(tmp_path / "there"), stored.in_memory(), pickle.loads(pickle.dumps(stored))):
        assert_known(data, set(events), set(known), waiting=False)
    here = Interactions.from_arrays(*columns(events), known=columns(known))
    assert stored.known is not None
    assert here.known is not None
    for axis in ("users", "items"):
        one, other = (data.known.lines(axis) for data in (stored, here))
        for array, twin in zip(one.read(0, len(one.indptr) - 1), other.read(0, len(other.indptr) - 1), strict=True):
            np.testing.assert_array_equal(array, twin)
        np.testing.assert_array_equal(one.indptr, other.indptr)
    one = pickle.loads(pickle.dumps(stored.known))
    assert pairs_of(one) == pairs_of(here.known)
    assert repr(stored) == repr(here)
    names = {"interactions.safetensors", "items.indices", "items.values", "users.indices", "users.values"}
    assert set(os.listdir(tmp_path / "there")) == names | {"known.items.indices", "known.users.indices"}


@pytest.mark.usefixtures("_tiny")
def test_on_disk_costs_nothing_where_nothing_is_known(tmp_path: Path) -> None:
    for name, known in (("none", None), ("empty", ([], [])), ("cells", (["a"], ["x"])), ("others", (["z"], ["x"]))):
        data = Interactions.from_arrays(["a", "b", "b"], ["x", "x", "y"], known=known, on_disk=tmp_path / name)
        assert data.known is None
        assert sorted(os.listdir(tmp_path / name)) == ["interactions.safetensors", "items.indices", "users.indices"]
    for name in ("none", "empty", "cells", "others"):
        manifest = (tmp_path / name / "interactions.safetensors").read_bytes()
        assert b'"version":"1"' in manifest
        assert b"known" not in manifest


def test_damage_of_known_files_is_found(tmp_path: Path) -> None:
    path = tmp_path / "there"
    Interactions.from_arrays(["a", "b", "b"], ["x", "x", "y"], known=(["a"], ["y"]), on_disk=path)
    indices = path / "known.users.indices"
    original = indices.read_bytes()
    indices.write_bytes(np.array([0], "<i4").tobytes())
    with pytest.raises(FileFormatError, match=r"known\.users\.indices is damaged: its checksum differs"):
        Interactions.open(path).in_memory()
    indices.write_bytes(np.array([9], "<i4").tobytes())
    known = Interactions.open(path).known
    assert known is not None
    with pytest.raises(FileFormatError, match="not within"):
        known.lines("users").lists([0])
    indices.write_bytes(original * 2)
    with pytest.raises(FileFormatError, match="bytes"):
        Interactions.open(path)
    indices.unlink()
    with pytest.raises(FileFormatError, match=r"known\.users\.indices"):
        Interactions.open(path)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_of_matrices(labelled: bool, on_disk: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells, known = (sparse.random_array((12, 9), density=density, rng=rng, format="csr") for density in (0.4, 0.3))
    users = [f"u{n}" for n in rng.permutation(12)] if labelled else None
    items = rng.permutation(9) - 4 if labelled else None
    options: dict[str, Any] = {"users": users, "items": items}
    where = {"on_disk": tmp_path / "there"} if on_disk else {}
    data = Interactions.from_matrix(cells, **options, known=known, **where)
    both = [np.asarray(dense.toarray() != 0) for dense in (cells, known)]
    expected = [(u, i) for u, i in np.argwhere(both[1] & ~both[0]).tolist()]
    if users is not None and items is not None:
        expected = [(users[u], items[i]) for u, i in expected]
    assert pairs_of(data.known) == set(expected)
    by_pairs = Interactions.from_matrix(cells, **options, known=columns(expected))
    assert pairs_of(by_pairs.known) == set(expected)
    for other in (known[:5], known.T):
        with pytest.raises(DataError, match="known must have the matrix' shape"):
            Interactions.from_matrix(cells, **options, known=other)


def test_of_frames() -> None:
    events, known = drawn()
    frame = pd.DataFrame(events, columns=["who", "what"]).assign(stars=3)
    others = pd.DataFrame(known, columns=["who", "what"]).assign(stars=np.nan)
    for given in (
        others,
        pa.Table.from_pandas(others),
        columns(known),
        {"who": columns(known)[0], "what": columns(known)[1]},
    ):
        data = Interactions.from_frame(frame, user="who", item="what", value="stars", known=given)
        assert_known(data, set(events), set(known))
    recognised = {"user_id": columns(known)[0], "item_id": columns(known)[1]}
    assert_known(Interactions.from_arrays(*columns(events), known=recognised), set(events), set(known))


def test_it_is_shown() -> None:
    data = Interactions.from_arrays(["a", "b", "b"], ["x", "x", "y"], known=(["a"], ["y"]))
    assert repr(data) == "<Interactions: 2 users x 2 items, 3 cells and 1 known pair, float32>"
    data = Interactions.from_arrays(["a", "b"], ["x", "y"], known=(["a", "b"], ["y", "x"]))
    assert repr(data) == "<Interactions: 2 users x 2 items, 2 cells and 2 known pairs, float32>"
    assert repr(data.known) == "<Interactions: 2 users x 2 items, 2 cells, float32>"


@pytest.mark.parametrize(
    ("known", "error", "message"),
    [
        (([1], ["x"]), DataError, "known users must be strings, as those of the cells, not integers"),
        ((["a"], [b"x"]), DataError, "known items must be strings, as those of the cells, not bytes"),
        ((["a", "b"], ["x"]), DataError, "known users"),
        (
            (["a"], ["x"], [1.0]),
            ArgumentTypeError,
            r"known must be a pair of arrays \(users, items\), got a tuple of 3",
        ),
        ("a", ArgumentTypeError, "known must be a pair"),
        (({1.5: 1}, ["x"]), DataError, "known users must be one-dimensional"),
        ((["a", None], ["x", "x"]), DataError, "known users must not be missing, got None at position 1"),
    ],
)
def test_what_cannot_be_matched_is_refused(known: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        Interactions.from_arrays(["a", "b"], ["x", "y"], known=known)
    with pytest.raises(error, match=message):
        Interactions.from_arrays(["a", "b"], ["x", "y"], known=known, on_disk=tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_matrix_beside_labels_must_fit() -> None:
    with pytest.raises(DataError, match="known users: the matrix must have 2 of them, as the cells, got 3"):
        Interactions.from_arrays(["a", "b"], ["x", "y"], known=sparse.csr_array(np.ones((3, 2))))


# ---------------------------------------------------------------------------------------------------------------------
# handed on


def test_splits_keep_it_with_what_is_trained_on() -> None:
    events, known = drawn()
    data = Interactions.from_arrays(*columns(events), known=columns(known))
    of_known = pairs_of(data.known)
    for train, test in (train_test_split(data, 0.3, random_state=0), leave_random_out(data, 2, random_state=0)):
        assert pairs_of(train.known) == of_known
        assert elsewhere(train) == elsewhere(data)
        assert test.known is None
        assert not pairs_of(test) & (pairs_of(train) | of_known)
    train, test = leave_last_out(columns(events), np.arange(len(events)))
    assert train.known is None
    assert test.known is None


def test_a_split_by_users_keeps_what_is_known_of_each() -> None:
    events, known = drawn()
    for data in (
        Interactions.from_arrays(*columns(events), known=columns(known)),
        Interactions.from_matrix(sparse.csr_array(np.eye(6)), known=([0, 0, 5, 3, 3], [1, 2, 4, 0, 5])),
    ):
        parts = split_users(data, 0.3, random_state=1)
        labels = [set(part.users.tolist()) for part in parts if part.users is not None]
        assert not labels[0] & labels[1]
        for part, users, others in zip(parts, labels, labels[::-1], strict=True):
            assert pairs_of(part) == {pair for pair in pairs_of(data) if pair[0] in users}
            assert pairs_of(part.known) == {pair for pair in pairs_of(data.known) if pair[0] in users}
            assert elsewhere(part) == {pair for pair in elsewhere(data) if pair[0] not in others}


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_known_when_some_leave(seed: int, moved: bool) -> None:
    events, known = drawn(seed=seed)
    data = Interactions.from_arrays(*columns(events), known=columns(known))
    rng = np.random.default_rng(seed)
    users, items = rng.random(data.n_users) < 0.7, rng.random(data.n_items) < 0.7
    assert data.users is not None
    assert data.items is not None
    gone = set(data.users[~users]), set(data.items[~items])
    labels = data.user_labels, data.item_labels
    if moved:
        labels = Labels(data.users[users], int(users.sum())), Labels(data.items[items], int(items.sum()))
    left = left_known(data, users, items, labels)

    def staying(pairs: set[Pair]) -> set[Pair]:
        return {pair for pair in pairs if pair[0] not in gone[0] and pair[1] not in gone[1]}

    assert left.beside is not None
    assert left.beside.shape == tuple(map(len, labels))
    assert pairs_of(left.beside) == staying(pairs_of(data.known))  # type: ignore[arg-type]
    assert pairs_of(left.elsewhere) == staying(elsewhere(data))  # type: ignore[arg-type]
    nobody = np.zeros(data.n_users, bool)
    assert left_known(data, nobody, items, labels).beside is None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_appending_finds_what_has_waited(kind: str, seed: int) -> None:
    events, known = drawn(kind, seed)
    later, known_later = drawn(kind, seed + 100)
    parts = [
        Interactions.from_arrays(*columns(events[:25]), known=columns(known[:60])),
        Interactions.from_arrays(*columns(later[:25]), known=columns(known_later[:60])),
    ]
    users, items = (
        getattr(parts[0], f"{axis}_labels").grown(axis, getattr(parts[1], f"{axis}_labels"))
        for axis in ("user", "item")
    )
    merged = append(*parts, users, items, "sum")
    assert_known(merged, set(events[:25]) | set(later[:25]), set(known[:60]) | set(known_later[:60]))


def test_other_numbers_keep_it() -> None:
    events, known = drawn()
    data = Interactions.from_arrays(*columns(events), known=columns(known))
    assert data.users is not None
    numbered = fastals.with_ids(data, users=fastals.Ids(data.users[::-1].copy()))
    assert_known(numbered, set(events), set(known))
    fewer = fastals.with_ids(data, users=fastals.Ids(data.users[:9], unseen="skip"))
    left = set(data.users[:9])
    assert {pair for pair in pairs_of(fewer.known) | elsewhere(fewer) if pair[0] in left} == {
        pair for pair in set(known) - set(events) if pair[0] in left
    }


# ---------------------------------------------------------------------------------------------------------------------
# files of scores


SCORES = {
    "who": ["ann", "ann", "bob", "bob", "zoe"],
    "what": ["x", "y", "y", "z", "x"],
    "score": [1.5, None, 2.0, None, None],
}


def write_parquet(path: Path, scores: Any = None, *, signed: bool = True) -> Path:
    table = pa.table(scores or SCORES)
    if signed:
        table = table.replace_schema_metadata({SCORING: json.dumps({"signals": {"*": {}}}).encode()})
    parquet.write_table(table, path)
    return path


def write_csv(path: Path, scores: Any = None, *, signed: bool = True) -> Path:
    table = pa.table(scores or SCORES)
    if signed:
        table = table.append_column("known", table["score"].is_null())
    csv.write_csv(table, path)
    return path


WRITE = {"csv": write_csv, "parquet": write_parquet}


def read(path: Any, kind: str, **options: Any) -> Interactions:
    make = {"csv": Interactions.from_csv, "parquet": Interactions.from_parquet}[kind]
    return make(path, user="who", item="what", **options)


WAYS = [(kind, way) for kind in WRITE for way in ("file", "list", "directory", "disk")] + [
    ("csv", "gz"),
    ("csv", "slow"),
]


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_files_of_scores_hold_it(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path: Any = WRITE[kind](tmp_path / f"scores.{kind}")
    options: dict[str, Any] = {}
    if way == "slow":
        monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    elif way == "gz":
        import gzip

        path = tmp_path / "scores.csv.gz"
        path.write_bytes(gzip.compress((tmp_path / "scores.csv").read_bytes()))
    elif way == "list":
        path = [path]
    elif way == "directory":
        (tmp_path / "all").mkdir()
        os.rename(path, tmp_path / "all" / f"part-0.{kind}")
        path = tmp_path / "all"
    elif way == "disk":
        options["on_disk"] = tmp_path / "there"
    data = read(path, kind, **options)
    cells, known = {("ann", "x"), ("bob", "y")}, {("ann", "y"), ("bob", "z"), ("zoe", "x")}
    assert_known(data, cells, known, waiting=way != "disk")
    assert data.in_memory().values.tolist() == [1.5, 2.0]
    assert data.users is not None
    assert data.users.tolist() == ["ann", "bob"]


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_many_files_are_read_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    events, known = drawn()
    rows = [(*pair, 1.0) for pair in dict.fromkeys(events)] + [(*pair, None) for pair in dict.fromkeys(known)]
    np.random.default_rng(0).shuffle(rows)
    for part in range(3):
        who, what, score = zip(*rows[part::3], strict=True)
        WRITE[kind](
            tmp_path / f"part-{part}.{kind}", {"who": who, "what": what, "score": pa.array(score, pa.float32())}
        )
    for options in ({}, {"on_disk": tmp_path / "there"}):
        data = read(sorted(tmp_path.glob(f"*.{kind}")), kind, **options)
        assert_known(data, set(events), set(known), waiting=not options)
    assert_known(read(sorted(tmp_path.glob(f"*.{kind}")), kind, duplicates="error"), set(events), set(known))


@pytest.mark.parametrize("disk", [False, True])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_value_that_is_missing_elsewhere_is_an_error(kind: str, disk: bool, tmp_path: Path) -> None:
    options = {"on_disk": tmp_path / "there"} if disk else {}
    unsigned = WRITE[kind](tmp_path / f"unsigned.{kind}", signed=False)
    signed = WRITE[kind](tmp_path / f"signed.{kind}")
    for path in (unsigned, [signed, unsigned], [unsigned, signed]):
        with pytest.raises(DataError, match=r"the number is missing|column 'known' is missing"):
            read(path, kind, **options)
    renamed = WRITE[kind](tmp_path / f"renamed.{kind}", {**SCORES, "stars": SCORES["score"]})
    with pytest.raises(DataError, match="the number is missing"):
        read(renamed, kind, value="stars", **options)


def test_no_number_is_no_missing_one(tmp_path: Path) -> None:
    bad = {**SCORES, "score": [1.5, float("nan"), 2.0, None, None]}
    with pytest.raises(DataError, match=r"bad.parquet: row 2, column 'score': nan is no finite number"):
        read(write_parquet(tmp_path / "bad.parquet", bad), "parquet")
    with pytest.raises(DataError, match=r"bad.parquet: row 2, column 'score': nan is no finite number"):
        read(tmp_path / "bad.parquet", "parquet", on_disk=tmp_path / "there")
    path = tmp_path / "bad.csv"
    path.write_text("who,what,score,known\nann,x,1,false\nann,y,nan,true\n")
    for way in (path, [path]):
        with pytest.raises(DataError, match="line 3, column 'score': nan is no finite number"):
            read(way, "csv")
    for row in ("ann,y,,false", "ann,y,2,true"):
        path.write_text(f"who,what,score,known\nann,x,1,false\n{row}\n")
        for way in (path, [path]):
            with pytest.raises(
                DataError, match=r"line 3, column 'score': a row has either a score or true in .*'known'"
            ):
                read(way, "csv")


def test_scores_all_of_which_are_missing_are_none(tmp_path: Path) -> None:
    for kind in WRITE:
        path = WRITE[kind](tmp_path / f"none.{kind}", {**SCORES, "score": pa.array([None] * 5, pa.float32())})
        for options in ({}, {"on_disk": tmp_path / "there"}):
            with pytest.raises(DataError, match="the data are empty"):
                read(path, kind, **options)
