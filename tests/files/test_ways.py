"""Every input through every way of reading: the same cells, or the same words about the same row."""

import argparse
import bz2
import gzip
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastals
from fastals.cli import _common
from fastals.scoring import score

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

Interactions = fastals.Interactions

Cells = dict[tuple[Any, Any], float]


class Table(NamedTuple):
    """Lines of CSV below "user,item,rating", and what they are: cells, or what is said of a line."""

    lines: list[str]
    expected: Cells | str
    reading: Mapping[str, Any] = MappingProxyType({})
    typed: list[tuple[Any, Any, Any]] | None = None
    """The rows for formats that have types; None: there are none."""
    scored: bool = True
    """Whether scoring, for which a missing number is 0, says the same."""


NO_INTEGER = "{!r} is no integer, as the ids of this column are: say "
NULL = NO_INTEGER + "nulls=[{!r}] if it stands for nothing, or on_bad_rows='skip'"
NO_INTEGER += "ids='text' if they are text, or on_bad_rows='skip'"

TABLES = {
    "integers": Table(
        ["7,1,2", "-3,1,2.5", "7,2,1"], {(7, 1): 2, (-3, 1): 2.5, (7, 2): 1}, {}, [(7, 1, 2), (-3, 1, 2.5), (7, 2, 1)]
    ),
    "text": Table(
        ["ann,007,2", "bob,7,3"], {("ann", "007"): 2, ("bob", "7"): 3}, {}, [("ann", "007", 2), ("bob", "7", 3)]
    ),
    "text first": Table(
        ["guest-7,1,1", "7,1,2"], {("guest-7", 1): 1, ("7", 1): 2}, {}, [("guest-7", 1, 1), ("7", 1, 2)]
    ),
    "text by wish": Table(
        ["7,1,1", "guest,1,2"], {("7", "1"): 1, ("guest", "1"): 2}, {"ids": "text"}, [("7", 1, 1), ("guest", 1, 2)]
    ),
    "integers by wish": Table(
        ["7,1,1", "8,1,2"], {(7, 1): 1, (8, 1): 2}, {"ids": "integer"}, [("7", "1", 1), ("8", "1", 2)]
    ),
    "quoted": Table(
        ['"a ""b"", c",x,1', '"l\nm",x,"2"'],
        {('a "b", c', "x"): 1, ("l\nm", "x"): 2},
        {},
        [('a "b", c', "x", 1), ("l\nm", "x", 2)],
    ),
    "a quote within": Table(['a"b,x,1'], {('a"b', "x"): 1}, {}, [('a"b', "x", 1)]),
    "unicode": Table(
        ["Ä,日本,1", "🎵, ,2"], {("Ä", "日本"): 1, ("🎵", " "): 2}, {}, [("Ä", "日本", 1), ("🎵", " ", 2)]
    ),
    "added": Table(["7,1,2", "7,1,3"], {(7, 1): 5}, {}, [(7, 1, 2), (7, 1, 3)]),
    "truth": Table(
        ["7,1,True", "7,2,FALSE", "8,1,true"],
        {(7, 1): 1, (7, 2): 0, (8, 1): 1},
        {},
        [(7, 1, True), (7, 2, False), (8, 1, True)],
    ),
    "truth in any case": Table(["7,1,tRuE", "7,2,0.5"], {(7, 1): 1, (7, 2): 0.5}),
    "empty lines": Table(["", "7,1,2", "", "", "8,1,3", ""], {(7, 1): 2, (8, 1): 3}),
    "carriage returns": Table(["7,1,2\r", "8,1,3\r"], {(7, 1): 2, (8, 1): 3}),
    "nulls": Table(
        ["7,1,2", "8,1,NULL"], "line 3, column 'rating': the number is missing", {"nulls": ["NULL"]}, scored=False
    ),
    "words": Table(
        ["NULL,1,2", "nan,NA,3"],
        {("NULL", "1"): 2, ("nan", "NA"): 3},
        {"ids": "text"},
        [("NULL", "1", 2), ("nan", "NA", 3)],
    ),
    "numbers in many forms": Table(
        ["7,1, 3", "7,2,+4", "7,3,1e-1", "7,4,.5"], {(7, 1): 3, (7, 2): 4, (7, 3): 0.1, (7, 4): 0.5}
    ),
    "largest": Table(
        [f"{2**63 - 1},1,1", f"{-(2**63)},1,2"],
        {(2**63 - 1, 1): 1, (-(2**63), 1): 2},
        {},
        [(2**63 - 1, 1, 1), (-(2**63), 1, 2)],
    ),
    # what is refused
    "empty user": Table(["7,1,2", ",1,3"], "line 3, column 'user': the id is missing", {}, [(7, 1, 2), (None, 1, 3)]),
    "empty item of text": Table(
        ["7,x,2", "8,,3"], "line 3, column 'item': the id is missing", {}, [(7, "x", 2), (8, "", 3)]
    ),
    "quoted empty id": Table(
        ["7,x,2", '8,"",3'], "line 3, column 'item': the id is missing", {}, [(7, "x", 2), (8, None, 3)]
    ),
    "a null word that is missing": Table(
        ["7,x,2", "8,\\N,3"], "line 3, column 'item': the id is missing", {"nulls": "\\N"}
    ),
    "NULL": Table(["1,x,1", "NULL,y,1", "2,x,1"], "line 3, column 'user': " + NULL.format("NULL", "NULL")),
    "NULL first": Table(["NULL,y,1", "1,x,1", "2,x,1"], "line 2, column 'user': " + NULL.format("NULL", "NULL")),
    "\\N": Table(["1,x,1", "\\N,y,1"], "line 3, column 'user': " + NULL.format("\\N", "\\N")),
    "nan": Table(["1,5,1", "2,nan,1"], "line 3, column 'item': " + NULL.format("nan", "nan")),
    "guest": Table(["7,1,2", "guest-7,1,3"], "line 3, column 'user': " + NO_INTEGER.format("guest-7")),
    "zeros in front": Table(["7,1,2", "007,1,3"], "line 3, column 'user': " + NO_INTEGER.format("007")),
    "whole number": Table(["7,1,2", "7.0,1,3"], "line 3, column 'user': " + NO_INTEGER.format("7.0")),
    "too large": Table(["7,1,2", f"{2**63},1,3"], "line 3, column 'user': " + NO_INTEGER.format(str(2**63))),
    "no integer by wish": Table(
        ["a,1,2"], "line 2, column 'user': " + NO_INTEGER.format("a"), {"ids": "integer"}, [("a", 1, 2)]
    ),
    "header again": Table(
        ["ann,x,1", "user,item,rating", "bob,x,1"],
        "line 3: the header line again: say on_bad_rows='skip' to pass over such",
    ),
    "too few": Table(["7,1,2", "8,1"], "line 3: 2 fields, but the header has 3"),
    "too many": Table(["7,1,2", "8,1,2,3"], "line 3: 4 fields, but the header has 3"),
    "no number": Table(["7,1,2", "8,1,many"], "line 3, column 'rating': 'many' is no number"),
    "decimal comma": Table(["7,1,2", '8,1,"2,5"'], "line 3, column 'rating': '2,5' is no number"),
    "underscore": Table(["7,1,2", "8,1,1_0"], "line 3, column 'rating': '1_0' is no number"),
    "missing number": Table(
        ["7,1,2", "8,1,"], "line 3, column 'rating': the number is missing", {}, [(7, 1, 2), (8, 1, None)], scored=False
    ),
    "infinite": Table(
        ["7,1,2", "8,1,inf"], "line 3, column 'rating': inf is no finite number", {}, [(7, 1, 2), (8, 1, float("inf"))]
    ),
    "not a number": Table(
        ["7,1,2", "8,1,nan"], "line 3, column 'rating': nan is no finite number", {}, [(7, 1, 2), (8, 1, float("nan"))]
    ),
    "behind a quote": Table(
        ["ann,x,1", '"a"b,x,1', "bob,x,2"],
        "line 3: text stands behind a closing quote: say quoting=False if quotes are text",
    ),
    "open quote": Table(
        ["ann,x,1", '"bob,x,1', "eve,x,2"],
        "line 3: a quote is opened and never closed: say quoting=False if quotes are text",
    ),
    "first of all": Table(["7,1,2", "8,1,many", ",1,3"], "line 3, column 'rating': 'many' is no number"),
}

COMPRESSED: dict[str, Callable[[Path, bytes], Any]] = {
    ".csv": lambda path, data: path.write_bytes(data),
    ".csv.gz": lambda path, data: path.write_bytes(gzip.compress(data)),
    ".CSV.GZ": lambda path, data: path.write_bytes(gzip.compress(data[:9]) + gzip.compress(data[9:])),
    ".csv.bz2": lambda path, data: path.write_bytes(bz2.compress(data)),
    ".Csv.Xz": lambda path, data: path.write_bytes(lzma.compress(data)),
    ".csv.zst": lambda path, data: path.write_bytes(pa.Codec("zstd").compress(data, asbytes=True)),
    ".csv.zip": lambda path, data: zipped(path, data),
}


def zipped(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("__MACOSX/._x.csv", b"x")
        archive.writestr("folder/x.csv", data)


def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)


def cells(data: Any) -> Cells:
    users = np.repeat(data.users, np.diff(data.indptr)).tolist()
    return dict(zip(zip(users, data.items[data.indices].tolist(), strict=True), data.values.tolist(), strict=True))


def read_by_command(path: Path, **reading: Any) -> Any:
    """What `fastals train FILE` reads."""
    parser = argparse.ArgumentParser()
    _common.add_data_options(parser, "")
    words = []
    for name, value in reading.items():
        text = ",".join(value) if isinstance(value, (list, tuple)) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return _common.read(parser.parse_args([str(path), *words]), ratings=False)


def scored(path: Any, **reading: Any) -> Any:
    return score(path, {"signals": {"rating": {}}}, **reading).interactions()


def ways(tmp_path: Path, table: Table) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Name, lines in front of the rows beyond one, and how it is read."""
    rows = "\n".join(table.lines) + "\n"
    data, reading = f"user,item,rating\n{rows}".encode(), table.reading
    for suffix, write in COMPRESSED.items():
        write(tmp_path / f"x{suffix}", data)
        yield suffix, 0, lambda path=tmp_path / f"x{suffix}": Interactions.from_csv(path, **reading)
    one = tmp_path / "x.csv"
    yield "train", 0, lambda: read_by_command(one, **reading)
    yield "on disk", 0, lambda: Interactions.from_csv(one, on_disk=tmp_path / "store", **reading).in_memory()
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("_SUCCESS", ".x.csv.crc", "a.csv", "c.csv"):
        (parts / name).touch()
    (parts / "b.csv").write_bytes(data)
    (parts / "d.csv").write_bytes(b"user,item,rating\n")
    yield "directory", 0, lambda: Interactions.from_csv(parts, **reading)
    yield "list", 0, lambda: Interactions.from_csv([parts / "a.csv", one], **reading)
    bare = tmp_path / "bare.csv"
    bare.write_text(rows, newline="")
    columns = ["user", "item", "rating"]
    if "header" not in str(table.expected):
        yield "no header", -1, lambda: Interactions.from_csv(bare, columns=columns, **reading)
    bom = tmp_path / "bom.csv"
    bom.write_bytes(b"\xef\xbb\xbf" + data)
    yield "byte order mark", 0, lambda: Interactions.from_csv(bom, **reading)
    utf16 = tmp_path / "utf16.csv"
    utf16.write_bytes(data.decode().encode("utf-16"))
    yield "utf-16", 0, lambda: Interactions.from_csv(utf16, encoding="utf-16", **reading)
    double = tmp_path / "double.csv"
    double.write_bytes(b"# c\n" + data)
    yield "a comment", 1, lambda: Interactions.from_csv(double, comment="#", **reading)
    if table.scored:
        yield "score", 0, lambda: scored(one, **reading)
        yield "score, directory", 0, lambda: scored(parts, **reading)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("arrow", [True, False], ids=["pyarrow", "base install"])
def test_every_way_of_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, arrow: bool) -> None:
    table = TABLES[name]
    todo = list(ways(tmp_path, table))
    if not arrow:
        without_pyarrow(monkeypatch)
        todo = [way for way in todo if way[0] not in (".csv.zst", "directory", "list", "score, directory")]
    for way, shift, read in todo:
        judge(way, table, shift, read)


def judge(way: str, table: Table, shift: int, read: Callable[[], Any], unit: str = "line") -> None:
    if not isinstance(table.expected, str):
        found = cells(read())
        assert found == pytest.approx(table.expected), way
        assert {tuple(map(type, pair)) for pair in found} == {tuple(map(type, pair)) for pair in table.expected}, way
        return
    with pytest.raises(fastals.FastalsError) as error:
        read()
    place, _ = table.expected.split(",", 1) if ", column" in table.expected else table.expected.split(":", 1)
    number = int(place.split()[1]) + shift
    expected = f"{unit} {number}{table.expected[len(place) :]}"
    said = str(error.value).removesuffix("; values that are types of events take equals=" if "score" in way else "")
    assert said.endswith(expected), (way, said)
    assert said[: -len(expected)].rsplit(os.sep, 1)[-1].partition(".")[0] in (
        "x",
        "b",
        "bare",
        "bom",
        "utf16",
        "double",
    )


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.typed])
def test_every_way_of_formats_with_types(tmp_path: Path, name: str) -> None:
    table = TABLES[name]
    assert table.typed is not None
    rows = [dict(zip(("user", "item", "rating"), row, strict=True)) for row in table.typed]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(lines)
    (tmp_path / "x.JSON.gz").write_bytes(gzip.compress(lines.encode()))
    lacking = [{key: value for key, value in row.items() if value is not None} for row in rows]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lacking))
    reading = table.reading
    for way, path in (("json", "x.jsonl"), ("gz", "x.JSON.gz"), ("lacking", "b.jsonl")):
        judge(way, table, -1, lambda path=path: Interactions.from_json(tmp_path / path, **reading))
        judge(way, table, -1, lambda path=path: read_by_command(tmp_path / path, **reading))
        store = tmp_path / f"store of {way}"
        judge(
            way,
            table,
            -1,
            lambda path=path, store=store: Interactions.from_json(
                tmp_path / path, on_disk=store, **reading
            ).in_memory(),
        )
        if table.scored:
            judge(f"score {way}", table, -1, lambda path=path: scored(tmp_path / path, **reading))
    columns = list(zip(*table.typed, strict=True))
    if len({type(value) for value in columns[0] if value is not None}) > 1:
        return  # Parquet has one type a column
    written = pa.table(dict(zip(("user", "item", "rating"), map(list, columns), strict=True)))
    parquet.write_table(written, tmp_path / "x.parquet")
    coded = [pa.array(list(column)).dictionary_encode() for column in columns[:2]]
    parquet.write_table(pa.table([*coded, written["rating"]], ["user", "item", "rating"]), tmp_path / "b.parquet")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.parquet").touch()
    parquet.write_table(written, tmp_path / "parts" / "b.parquet")
    for at, path in enumerate(("x.parquet", "b.parquet", "parts")):
        judge(path, table, -1, lambda path=path: Interactions.from_parquet(tmp_path / path, **reading), "row")
        store = tmp_path / f"store {at}"
        judge(
            path,
            table,
            -1,
            lambda path=path, store=store: Interactions.from_parquet(
                tmp_path / path, on_disk=store, **reading
            ).in_memory(),
            "row",
        )
        if table.scored:
            judge(f"score {path}", table, -1, lambda path=path: scored(tmp_path / path, **reading), "row")
