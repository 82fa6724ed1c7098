"""Dialects of CSV: every way to write a table is read back, against plain loops and Python's csv module."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastals
from fastals._files import blocks
from fastals._files.batches import Source
from fastals._files.dialect import Dialect

pa = pytest.importorskip("pyarrow")

Row = list[str]

FIELDS = ["plain", 'say "hi"', "a,b", "a;b", "x::y", ":", "tab\there", "back\\slash", "# no comment", "two\nlines", "é"]
ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "utf-16", "cp1252"]
DELIMITERS = [",", ";", "\t", "|", "::", "§", " ", "<sep>"]


def written(
    rows: list[Row], delimiter: str, quoting: bool, escape: str | None, line_end: str, comment: str | None
) -> str:
    """The rows as text, with a comment between any two of them; a field that cannot be written is 'x'."""
    lines = []
    for row in rows:
        lines.append(delimiter.join(field_of(field, delimiter, quoting, escape) for field in row))
    between = line_end if comment is None else f"{line_end}{comment} it's \"x{delimiter}{line_end}"
    return between.join(lines) + line_end


def field_of(field: str, delimiter: str, quoting: bool, escape: str | None) -> str:
    special = any(mark in field for mark in (delimiter[0], '"', "\n", "\r", "#")) or (
        escape is not None and escape in field
    )
    if not special:
        return field
    if quoting and escape is None:
        return '"' + field.replace('"', '""') + '"'
    if quoting:
        return '"' + field.replace(str(escape), str(escape) * 2).replace('"', f'{escape}"') + '"'
    if escape is None:
        return field if not any(mark in field for mark in (delimiter[0], "\n", "\r")) and field[0] != "#" else "x"
    return "".join(escape * (c in f'{delimiter[0]}"\n\\#' or c == escape) + c for c in field)


def expected_of(rows: list[Row], delimiter: str, quoting: bool, escape: str | None) -> list[Row]:
    lost = [[field_of(field, delimiter, quoting, escape) == "x" for field in row] for row in rows]
    return [
        ["x" if gone else field for gone, field in zip(*pair, strict=True)] for pair in zip(lost, rows, strict=True)
    ]


def rows_of(path: Path, names: Row, **reading: Any) -> list[list[str | None]]:
    """What a source reads, column by column."""
    source = Source(path, format="csv", **reading)
    types = dict.fromkeys(names, pa.string() if source.with_arrow else None)
    columns: list[list[str | None]] = [[] for _ in names]
    for batch in source.batches(types):
        for column, name in zip(columns, names, strict=True):
            column += batch.rows.column(name).tolist() if not source.with_arrow else batch.rows.column(name).to_pylist()
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.fixture(params=["pyarrow", "base install"])
def base(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "pyarrow":
        monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("quoting", [True, False])
@pytest.mark.parametrize("escape", [None, "\\"])
@pytest.mark.parametrize("comment", [None, "#"])
@pytest.mark.usefixtures("base")
def test_every_dialect(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    delimiter: str,
    quoting: bool,
    escape: str | None,
    comment: str | None,
) -> None:
    rows = [[a, b, c] for a, b, c in zip(FIELDS, FIELDS[3:] + FIELDS[:3], FIELDS[5:] + FIELDS[:5], strict=True)]
    names = ["one", "two", "three"]
    for encoding, line_end, header, block in itertools.product(
        ENCODINGS, ["\n", "\r\n", "\r"], [True, False], [1 << 23, 256]
    ):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
        table = [names, *rows] if header else rows
        if line_end != "\n":
            table = [[field.replace("\n", "") for field in row] for row in table]
        text = written(table, delimiter, quoting, escape, line_end, comment)
        (tmp_path / "x.csv").write_bytes(text.encode(encoding))
        reading: dict[str, Any] = {"delimiter": delimiter, "quoting": quoting, "escape": escape, "comment": comment}
        reading["encoding"] = None if encoding.startswith("utf-8") else encoding
        found = rows_of(tmp_path / "x.csv", names, columns=None if header else names, **reading)
        assert found == expected_of(table[header:], delimiter, quoting, escape), (encoding, line_end, header, block)


# ---------------------------------------------------------------------------------------------------------------------
# against Python's csv module, on any text at all


def records(text: str, quoting: bool, escape: str | None) -> Iterator[tuple[int, Row | None]]:
    """Line, and the record that begins there; None: there is none, since its quotes are wrong."""
    lines = list(io.StringIO(text, newline=""))
    at = 0
    while at < len(lines):
        reader = csv.reader(
            lines[at:],
            delimiter=",",
            strict=True,
            escapechar=escape,
            quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        )
        try:
            row = next(reader)
        except csv.Error:
            yield at + 1, None
            at += 1
            continue
        if row:
            yield at + reader.line_num, row
        at += reader.line_num


TEXT = st.lists(
    st.lists(st.text('ab7",\\é \n\r', max_size=4), min_size=1, max_size=3).map(",".join), max_size=6
).flatmap(lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(lines) + end * (len(lines) % 2)))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, st.booleans(), st.sampled_from([None, "\\"]), st.sampled_from([1 << 23, 64]), st.booleans())
def test_any_text_is_read_as_by_the_csv_module(
    tmp_path: Path, text: str, quoting: bool, escape: str | None, block: int, arrow: bool
) -> None:
    if escape and (re.search(r"\\(\r|$)", text) or (not quoting and "\\\n" in text)):
        return  # an escaped line end is half a line end to some, and nothing stands behind the last escape
    (tmp_path / "x.csv").write_bytes(text.encode())
    expected = list(records(text, quoting, escape))
    good = [[field or None for field in row] for _, row in expected if row is not None and len(row) == 2]
    bad = [line for line, row in expected if row is None or len(row) != 2]
    reading: dict[str, Any] = {"columns": ["one", "two"], "quoting": quoting, "escape": escape}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block)
        if not arrow:
            patch.setattr("fastals._core.checks.find_spec", lambda name: None)
        if not text:
            with pytest.raises(fastals.FileFormatError, match="the file is empty"):
                rows_of(tmp_path / "x.csv", ["one", "two"], **reading)
            return
        assert rows_of(tmp_path / "x.csv", ["one", "two"], on_bad_rows="skip", **reading) == good
        if bad:
            with pytest.raises(fastals.FileFormatError) as error:
                rows_of(tmp_path / "x.csv", ["one", "two"], **reading)
            lines = [int(line) for line in re.findall(r": line (\d+): ", str(error.value))]
            assert lines[0] in bad
            if all(row is not None for _, row in expected):
                assert lines == bad[:1]
        else:
            assert rows_of(tmp_path / "x.csv", ["one", "two"], **reading) == good


# ---------------------------------------------------------------------------------------------------------------------
# what files of the world are like


def made(tmp_path: Path, name: str, text: str, **reading: Any) -> dict[tuple[Any, Any], float]:
    path = tmp_path / name
    path.write_bytes(text.encode(reading.get("encoding", "utf-8")))
    data = fastals.Interactions.from_csv(path, **reading)
    matrix = data.matrix.tocoo()
    users, items = data.users[matrix.coords[0]].tolist(), data.items[matrix.coords[1]].tolist()
    return dict(zip(zip(users, items, strict=True), matrix.data.tolist(), strict=True))


@pytest.mark.usefixtures("base")
def test_formats_of_the_world(tmp_path: Path) -> None:
    columns = ["user", "item", "rating", "time"]
    assert made(
        tmp_path, "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n", delimiter="::", columns=columns
    ) == {
        (1, 1193): 5,
        (1, 661): 3,
    }
    assert made(tmp_path, "u.data", "196\t242\t3\t881250949\n", delimiter="\\t", columns=columns) == {(196, 242): 3}
    books = '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"Müller \\"x\\"; y";"5"\n'
    given = {"user": "User-ID", "item": "ISBN", "value": "Book-Rating", "delimiter": ";"}
    found = made(tmp_path, "books.csv", books, encoding="latin-1", escape="\\", **given)
    assert found == {(276725, "034545104X"): 0, (276726, 'Müller "x"; y'): 5}
    plays = 'user\tartist\tplays\nx1\t"heroes\t3\nx1\tmum"\t4\nx2\t"weird al" yankovic\t5\n'
    expected = {("x1", '"heroes'): 3, ("x1", 'mum"'): 4, ("x2", '"weird al" yankovic'): 5}
    assert made(tmp_path, "plays.tsv", plays, item="artist", value="plays") == expected
    german = "user;item;rating\n1;a;4,5\n1;b;.5\n"
    with pytest.raises(fastals.DataError, match=r"line 3, column 'rating': '.5' is no number"):
        made(tmp_path, "german.csv", german, delimiter=";", decimal=",")
    assert made(tmp_path, "german.csv", german.replace(".", ","), delimiter=";", decimal=",") == {
        (1, "a"): 4.5,
        (1, "b"): 0.5,
    }
    table = "user,item,rating\n1,\\N,3\n2,a\\,b,4\n"
    with pytest.raises(fastals.DataError, match="line 2, column 'item': the id is missing"):
        made(tmp_path, "mysql.csv", table, escape="\\", nulls=["\\N"])
    with pytest.warns(
        UserWarning, match=r"1 of 2 rows passed over: 1 missing id in column 'item' \(first: .*csv, line 2"
    ):
        skipped = made(tmp_path, "mysql.csv", table, escape="\\", nulls="\\N", on_bad_rows="skip", max_bad_rows=0.5)
    assert skipped == {(2, "a,b"): 4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": ""}, "delimiter must be one or more characters and no line end, got ''"),
        ({"delimiter": "a\nb"}, "delimiter must be one or more characters and no line end"),
        ({"delimiter": 7}, "delimiter must be a string, got 7"),
        ({"delimiter": '"'}, "delimiter '\"' must not hold the quote '\"'"),
        ({"delimiter": ";", "escape": ";"}, "delimiter ';' must not hold the escape ';'"),
        ({"delimiter": "#", "comment": "#"}, "must not hold the"),
        ({"escape": "ab"}, "escape must be one ASCII character, got 'ab'"),
        ({"escape": "é"}, "escape must be one ASCII character, got 'é'"),
        ({"escape": '"'}, "must not hold the quote"),
        ({"comment": ""}, "comment must be one or more characters"),
        ({"encoding": "latin-17"}, "encoding must be one that Python knows, as 'latin-1' or 'utf-16', got 'latin-17'"),
        ({"encoding": "base64"}, "encoding must be one that Python knows"),
        ({"encoding": 8}, "encoding must be one that Python knows"),
        ({"decimal": ";"}, "decimal must be one of '.', ','"),
        ({"quoting": "on"}, "quoting must be true or false, got 'on'"),
        ({"nulls": 7}, "nulls must be a list of strings, got 7"),
        ({"columns": "user,item"}, "columns must be a list of strings, got 'user,item'"),
        ({"columns": []}, "columns must name at least one column, got none"),
        ({"ids": "int"}, "ids must be one of 'auto', 'text', 'integer', got 'int'"),
        ({"on_bad_rows": "warn"}, "on_bad_rows must be one of 'error', 'skip', got 'warn'"),
        ({"max_bad_rows": -1}, "max_bad_rows must be >= 0"),
        ({"max_bad_rows": 1.5}, "max_bad_rows must be a whole number, or a share below 1, got 1.5"),
        ({"max_bad_rows": "1%"}, "max_bad_rows must be a number"),
        ({"seperator": ";"}, "'seperator' says nothing about files; what does is delimiter, columns, quoting,"),
    ],
    ids=str,
)
def test_what_no_dialect_is(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    (tmp_path / "x.csv").write_text("user,item\na,b\n")
    with pytest.raises(fastals.FastalsError) as error:
        fastals.Interactions.from_csv(tmp_path / "x.csv", **given)
    assert message in str(error.value)


def test_defaults_by_suffix() -> None:
    assert Dialect().for_files(".tsv") == Dialect("\t", quoting=False)
    assert Dialect().for_files(".csv") == Dialect(",", quoting=True)
    assert Dialect(quoting=True).for_files(".tsv") == Dialect("\t", quoting=True)
    assert Dialect(";").for_files(".tsv") == Dialect(";", quoting=False)
    assert Dialect.of({"delimiter": "\\t", "nulls": "NULL", "encoding": None}) == Dialect("\t", nulls=("NULL",))
    assert (
        Dialect(encoding="UTF8-SIG".replace("UTF8", "utf-8")).encoding == Dialect(encoding="utf8").encoding == "utf-8"
    )


@pytest.mark.usefixtures("base")
def test_what_an_encoding_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("user,item,größe\nmüller,b,1\n".encode("latin-1"))
    with pytest.raises(fastals.FileFormatError, match=r"line 1: the header is no UTF-8: say encoding='latin-1'"):
        fastals.Interactions.from_csv(path)
    assert fastals.Interactions.from_csv(path, encoding="latin-1", value="größe").users.tolist() == ["müller"]
    path.write_bytes("user,item,rating\na,b,1\nmüller,b,1\n".encode("latin-1"))
    with pytest.raises(fastals.DataError, match=r"line 3, column 'user': 'müller' is no UTF-8: say encoding='latin-1'"):
        fastals.Interactions.from_csv(path)
    path.write_bytes("user,item\na,b\n".encode("utf-16"))
    with pytest.raises(
        fastals.FileFormatError, match="is no UTF-8 but UTF-16, by its first bytes: say encoding='utf-16'"
    ):
        fastals.Interactions.from_csv(path)
    path.write_bytes("user,item\na,b\n".encode("utf-16-le"))
    with pytest.raises(fastals.FileFormatError, match=r"line 1: a zero byte is no text: say encoding='utf-16'"):
        fastals.Interactions.from_csv(path)
    path.write_bytes(b"user,item\na,b\n\xff,b\n")
    with pytest.raises(
        fastals.FileFormatError, match=r"x.csv: behind line 1: cannot be read in its encoding: 'ascii' codec"
    ):
        fastals.Interactions.from_csv(path, encoding="ascii")
