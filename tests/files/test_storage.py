"""Files that are empty, compressed, damaged, or of types that are no ids: read, or refused in one line."""

import bz2
import gzip
import lzma
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import fastals
from fastals._files import blocks
from fastals.scoring import score

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

Interactions = fastals.Interactions
EACH = {"signals": {"*": {}}}


def refused(read: Any, *reasons: str) -> None:
    with pytest.raises(fastals.FastalsError) as error:
        read()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    for reason in reasons:
        assert reason in str(error.value)


def test_empty_files(tmp_path: Path) -> None:
    empty = {
        "a.csv": b"",
        "b.csv": b"\n\r\n",
        "c.csv.gz": b"",
        "d.csv.gz": gzip.compress(b""),
        "e.CSV.XZ": lzma.compress(b"\n"),
    }
    for name, data in empty.items():
        (tmp_path / name).write_bytes(data)
        refused(lambda name=name: Interactions.from_csv(tmp_path / name), f"{name}: the file is empty")
        refused(lambda name=name: score(tmp_path / name, EACH), f"{name}: the file is empty")
    files = [tmp_path / name for name in empty]
    refused(lambda: Interactions.from_csv(files), "the files are empty")
    (tmp_path / "z.csv").write_bytes(b"user,item\n1,2\n")
    for made in (Interactions.from_csv(tmp_path), Interactions.from_csv([*files, tmp_path / "z.csv"])):
        assert (made.users.tolist(), made.items.tolist()) == ([1], [2])
    assert score(tmp_path, EACH).n_events == 1
    for name, read in (("x.jsonl", Interactions.from_json), ("x.parquet", Interactions.from_parquet)):
        (tmp_path / name).touch()
        refused(lambda name=name, read=read: read(tmp_path / name), "the file is empty")


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "user,item\n1,2\n")
    assert Interactions.from_csv(path).nnz == 1
    refused(lambda: score(path, EACH), "the format is not clear from the name")
    assert score(path, EACH, format="csv").n_events == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", "user,item\n")
    refused(lambda: Interactions.from_csv(path), "x.zip: the archive must hold one file, got a.csv, b.csv: unpack it")
    with zipfile.ZipFile(path, "w"):
        pass
    refused(lambda: Interactions.from_csv(path), "x.zip: the archive must hold one file, got none")


@pytest.mark.parametrize("arrow", [True, False])
@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, arrow: bool) -> None:
    rows = b"user,item\n" + b"".join(b"%d,%d\n" % (x, x * x) for x in range(5000))
    compress: dict[str, Any] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
        "zip": lambda data: data,
    }
    whole = compress[suffix](rows)
    if not arrow:
        if suffix == "zst":
            monkeypatch.setattr("fastals._files.storage.find_spec", lambda name: None)
        monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    path = tmp_path / f"x.csv.{suffix}"
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    for data in (whole[: len(whole) // 2], rows[:200], bytes(damaged)):
        path.write_bytes(data)
        refused(
            lambda: Interactions.from_csv(path), "fastals[io]" if not arrow and suffix == "zst" else f"x.csv.{suffix}"
        )


def test_what_decompresses_to_one_endless_line_is_read_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 16)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n1," + b"x" * (50 << 20)))
    tracemalloc.start()
    refused(lambda: Interactions.from_csv(path), "x.csv.gz: line 2: no line may be longer than 0.0625 MB")
    refused(lambda: Interactions.from_csv(path, on_bad_rows="skip"), "line 2: no line may be longer")
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1], [2]], "column 'user' holds lists or structs (list<"),
        ([{"a": 1}, {"a": 2}], "column 'user' holds lists or structs (struct<"),
        ([True, False], "column 'user' holds truth values (bool), which are no ids"),
        (pa.array([1, 2], pa.timestamp("us")), "column 'user' holds times (timestamp["),
        ([1.0, 2.5], "row 2, column 'user': 2.5 is no whole number"),
    ],
)
def test_types_that_are_no_ids(tmp_path: Path, ids: Any, message: str) -> None:
    table = pa.table({"user": ids, "item": ["a", "b"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    refused(lambda: Interactions.from_parquet(tmp_path / "x.parquet"), "x.parquet", message)
    refused(lambda: score(tmp_path / "x.parquet", EACH), "x.parquet", message)


def test_types_that_are_ids_and_values(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": pa.array([Decimal(7), Decimal(-3)], pa.decimal128(12, 0)),
            "item": pa.array([2**63 + 1, 5], pa.uint64()),
            "rating": [True, False],
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet")
    for data in (
        Interactions.from_parquet(tmp_path / "x.parquet"),
        score(tmp_path / "x.parquet", {"signals": {"rating": {}}}).interactions(),
    ):
        assert data.users.tolist() == [-3, 7]
        assert data.items.tolist() == [5, 2**63 + 1]
        assert data.matrix.toarray().tolist() == [[0, 0], [0, 1]]


def test_kinds_of_ids_do_not_change_from_file_to_file(tmp_path: Path) -> None:
    for name, users in (("a", [1, 2]), ("b", ["1", "x"])):
        parquet.write_table(pa.table({"user": users, "item": ["i", "j"]}), tmp_path / f"{name}.parquet")
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    refused(lambda: Interactions.from_parquet([a, b]), "b.parquet: column 'user' holds text, but integers in the first")
    refused(lambda: Interactions.from_parquet([b, a]), "a.parquet: column 'user' holds integers, but text in the first")
    assert Interactions.from_parquet([a, b], ids="text").users.tolist() == ["1", "2", "x"]


def test_scores_know_their_columns(tmp_path: Path) -> None:
    spec = {"user": "count", "item": "song", "signals": {"plays": {}}}
    with score({"count": ["ann"], "song": ["x"], "plays": [3]}, spec) as scores:
        scores.write(tmp_path / "scores.parquet")
    data = Interactions.from_parquet(tmp_path / "scores.parquet")
    assert (data.users.tolist(), data.items.tolist(), data.values.tolist()) == (["ann"], ["x"], [3.0])
    data = Interactions.from_parquet(tmp_path / "scores.parquet", value="")
    assert data.values.tolist() == [1.0]
