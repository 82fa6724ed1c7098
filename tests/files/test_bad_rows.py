"""Rows that cannot be read: passed over where one says so, counted by kind, and an error beyond the limit."""

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastals
from fastals._files import blocks
from fastals.scoring import score

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

Interactions = fastals.Interactions

GOOD = {(7, "a"): 1.0, (8, "b"): 2.0, (9, "c"): 3.0}
BAD = [
    ("guest,x,1", "id of another kind in column 'user'"),
    (",x,1", "missing id in column 'user'"),
    ("7,,1", "missing id in column 'item'"),
    ("7,x,many", "bad number in column 'rating'"),
    ("7,x,", "bad number in column 'rating'"),
    ("7,x,nan", "bad number in column 'rating'"),
    ("7,x", "wrong number of fields"),
    ("7,x,1,2", "wrong number of fields"),
    ("user,item,rating", "header line again"),
    ('"7"x,x,1', "bad quotes"),
    ('7,"x,1', "bad quotes"),
]
"""Lines, and the kinds that they are; the last one is never closed."""


def cells(data: Any) -> dict[tuple[Any, Any], float]:
    matrix = data.matrix.tocoo()
    users, items = data.users[matrix.coords[0]].tolist(), data.items[matrix.coords[1]].tolist()
    return dict(zip(zip(users, items, strict=True), matrix.data.tolist(), strict=True))


def quietly(read: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = read()
    assert [str(warning.message) for warning in caught] == ([str(data.bad_rows)] if data.bad_rows.count else [])
    return data


@pytest.mark.parametrize("arrow", [True, False], ids=["pyarrow", "base install"])
@pytest.mark.parametrize("block", [1 << 23, 48])
def test_every_kind_of_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool, block: int) -> None:
    if not arrow:
        monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    good = iter([f"{user},{item},{rating:g}" for (user, item), rating in GOOD.items()])
    lines = [
        "user,item,rating",
        next(good),
        *(line for line, _ in BAD[:6]),
        next(good),
        "",
        *(line for line, _ in BAD[6:-1]),
    ]
    lines += [next(good), BAD[-1][0]]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines) + "\n")
    data = quietly(lambda: Interactions.from_csv(path, on_bad_rows="skip"))
    assert cells(data) == GOOD
    expected: dict[str, dict[str, Any]] = {}
    for line, kind in BAD:
        first = f"{path}, line {lines.index(line) + (1 if line != lines[0] else 16)}"
        expected.setdefault(kind, {"count": 0, "first": first})["count"] += 1
    expected["header line again"]["first"] = f"{path}, line {lines.index(lines[0], 1) + 1}"
    assert data.bad_rows.to_dict() == {"count": len(BAD), "rows": len(BAD) + len(GOOD), "kinds": expected}
    text = str(data.bad_rows)
    assert text.startswith("11 of 14 rows passed over: ")
    assert f"3 bad number in column 'rating' (first: {path}, line {lines.index(BAD[3][0]) + 1})" in text
    for line, _ in BAD:
        path.write_text("\n".join(["user,item,rating", "7,a,1", line, "8,b,2", "9,c,3"]) + "\n")
        with pytest.raises(fastals.FastalsError, match=r"x\.csv: line 3[:,]"):
            Interactions.from_csv(path)
        if line != '7,"x,1':
            assert cells(quietly(lambda: Interactions.from_csv(path, on_bad_rows="skip"))) == GOOD


def test_quotes_that_are_text_lose_their_own_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = ['1,"heroes,1', "2,b,1", '3,"villains,1', "4,d,1", '5,"x,1', "6,f,1"]
    path.write_text("user,item,rating\n" + "\n".join(rows) + "\n")
    data = quietly(lambda: Interactions.from_csv(path, on_bad_rows="skip"))
    assert cells(data) == {(2, "b"): 1, (4, "d"): 1, (6, "f"): 1}
    assert data.bad_rows.to_dict()["kinds"] == {"bad quotes": {"count": 3, "first": f"{path}, line 2"}}
    assert len(cells(Interactions.from_csv(path, quoting=False))) == 6


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 0.3, 0.5, 0.51, 1000])
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_limit(tmp_path: Path, limit: float, on_disk: bool) -> None:
    lines = "".join(f"{x},a,1\n{x},a,no\n" for x in range(5))
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("user,item,rating\n")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"user,item,rating\n" + lines.encode()))
    options: dict[str, Any] = {"on_bad_rows": "skip", "max_bad_rows": limit}
    if on_disk:
        options["on_disk"] = tmp_path / "store"
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv.gz")]
    if limit >= 5 or 0.5 <= limit < 1:
        assert quietly(lambda: Interactions.from_csv(files, **options)).nnz == 5
    else:
        with pytest.raises(fastals.DataError) as error:
            Interactions.from_csv(files, **options)
        assert f"5 of 10 rows passed over: 5 bad number in column 'rating' (first: {files[2]}, line 3)" in str(
            error.value
        )
        assert str(error.value).endswith(f"; max_bad_rows={limit:g} allows no more")
        assert not (tmp_path / "store").exists()


def test_no_limit_is_checked_where_nothing_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user,item\n1,2\n")
    data = Interactions.from_csv(tmp_path / "x.csv", on_bad_rows="skip", max_bad_rows=0)
    assert repr(data.bad_rows) == "<BadRows: 0 of 1 rows passed over>"
    assert Interactions.from_csv(tmp_path / "x.csv").bad_rows is None
    assert Interactions.from_arrays([1], [2]).bad_rows is None


def test_bad_rows_of_json(tmp_path: Path) -> None:
    lines = ['{"user": 1, "item": "a", "rating": 1}', '{"user": 1, "item": "a", "rating": "x"}', "nonsense", "[1]", ""]
    lines += ['{"user": "x", "item": "a"}', '{"item": "a"}', '{"user": 2, "item": "", "rating": 1}', '{"user": true}']
    lines += [
        '{"user": 2, "item": "b", "rating": true}',
        '{"user": 2, "item": 7, "rating": 1}',
        '{"user": 2, "item": "c"}',
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines))
    data = quietly(lambda: Interactions.from_json(path, on_bad_rows="skip"))
    assert cells(data) == {(1, "a"): 1, (2, "b"): 1}
    assert {kind: told["count"] for kind, told in data.bad_rows.to_dict()["kinds"].items()} == {
        "bad number in column 'rating'": 2,
        "no JSON object": 2,
        "id of another kind in column 'user'": 2,
        "missing id in column 'user'": 1,
        "missing id in column 'item'": 1,
        "id of another kind in column 'item'": 1,
    }
    first = {kind: told["first"] for kind, told in data.bad_rows.to_dict()["kinds"].items()}
    assert first["no JSON object"] == f"{path}, line 3"
    assert first["missing id in column 'user'"] == f"{path}, line 7"


@pytest.mark.parametrize("rows", [1 << 17, 2])
def test_bad_rows_of_parquet(tmp_path: Path, rows: int) -> None:
    users = pa.array(["1", None, "3", "", "5", "x", "7"])
    ratings = pa.array(["1", "2", "three", "4", "5", "6", "nan"])
    parquet.write_table(
        pa.table({"user": users, "item": users.fill_null("i"), "rating": ratings}),
        tmp_path / "b.parquet",
        row_group_size=rows,
    )
    for name in ("a", "c"):
        table = pa.table({"user": ["11"], "item": ["12"], "rating": ["3"]})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    data = quietly(lambda: Interactions.from_parquet(tmp_path, on_bad_rows="skip", ids="integer"))
    assert cells(data) == {(1, 1): 1, (5, 5): 5, (11, 12): 6}
    told = data.bad_rows.to_dict()
    assert (told["count"], told["rows"]) == (5, 9)
    assert told["kinds"]["bad number in column 'rating'"] == {"count": 2, "first": f"{tmp_path}/b.parquet, row 3"}
    assert told["kinds"]["missing id in column 'user'"] == {"count": 2, "first": f"{tmp_path}/b.parquet, row 2"}
    assert told["kinds"]["id of another kind in column 'user'"] == {"count": 1, "first": f"{tmp_path}/b.parquet, row 6"}
    with pytest.raises(fastals.DataError, match=r"b\.parquet: row 2, column 'user': the id is missing"):
        Interactions.from_parquet(tmp_path, ids="integer")


# ---------------------------------------------------------------------------------------------------------------------
# events

LOG = [
    ("1", "a", "2", "2024-05-01"),
    ("x", "a", "2", "2024-05-01"),  # id of another kind
    ("1", "", "2", "2024-05-01"),  # missing id
    ("1", "a", "many", "2024-05-01"),  # no number
    ("1", "a", "inf", "2024-05-01"),  # no finite number
    ("1", "a", "2", "someday"),  # no time
    ("1", "a", "2", ""),  # no time at all
    ("2", "b", "", "2024-05-02"),
    ("2", "b", "3", "2024-05-02"),
]
SPEC = {"signals": {"plays": {}}, "timestamp": "time", "half_life": "1 day"}
GOOD_EVENTS = {(1, "a"): 1.0, (2, "b"): 3.0}


def log_files(tmp_path: Path) -> dict[str, Any]:
    """The log in many forms."""
    names = ("user", "item", "plays", "time")
    text = "".join(",".join(row) + "\n" for row in [names, *LOG])
    (tmp_path / "log.csv").write_text(text)
    (tmp_path / "parts").mkdir()
    for at in range(3):
        rows = [names, *LOG[3 * at : 3 * at + 3]]
        (tmp_path / "parts" / f"{at}.csv.gz").write_bytes(
            gzip.compress("".join(",".join(row) + "\n" for row in rows).encode())
        )
    objects = [dict(zip(names, row, strict=True)) for row in LOG]
    for row in objects:
        row["user"] = int(row["user"]) if row["user"].isdigit() else row["user"]
        row["plays"] = (
            {"many": "many", "": None, "inf": float("inf")}.get(row["plays"])
            if not row["plays"].isdigit()
            else int(row["plays"])
        )
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    table = pa.table(dict(zip(names, map(list, zip(*LOG, strict=True)), strict=True)))
    parquet.write_table(table, tmp_path / "log.parquet", row_group_size=4)
    return {
        "one": tmp_path / "log.csv",
        "directory": tmp_path / "parts",
        "json": tmp_path / "log.jsonl",
        "parquet": tmp_path / "log.parquet",
        "table": table,
        "arrays": {name: table[name].to_numpy() for name in names},
    }


@pytest.mark.parametrize("way", ["one", "directory", "json", "parquet", "table", "arrays", "base install"])
@pytest.mark.parametrize("block", [1 << 23, 64])
def test_bad_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, block: int) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    events = log_files(tmp_path)["one" if way == "base install" else way]
    if way == "base install":
        monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    ids = {"ids": "integer"} if way in ("parquet", "table", "arrays") else {}
    if ids:
        pytest.importorskip("pyarrow")
    spec = SPEC | ({"item": "item"} if way != "x" else {})
    if ids:  # which items are not
        log = events if not isinstance(events, Path) else parquet.read_table(events)
        columns = {
            name: list(log[name].tolist() if way == "arrays" else log[name].to_pylist()) for name in ("user", "item")
        }
        items = [{"a": "11", "b": "12"}.get(item, item) for item in columns["item"]]
        if way == "arrays":
            events["item"] = np.array(items, object)
        else:
            events = log.set_column(1, "item", pa.array(items))
            if way == "parquet":
                parquet.write_table(events, tmp_path / "log.parquet", row_group_size=4)
                events = tmp_path / "log.parquet"
    with pytest.warns(UserWarning, match="6 of 9 rows passed over"):
        scores = score(events, spec, on_bad_rows="skip", **ids)
    expected = {
        (user, {"a": 11, "b": 12}[item]) if ids else (user, item): value for (user, item), value in GOOD_EVENTS.items()
    }
    assert cells(scores.interactions()) == expected
    assert scores.n_events == 3
    told = scores.bad_rows.to_dict()
    assert (told["count"], told["rows"]) == (6, 9)
    assert {kind: found["count"] for kind, found in told["kinds"].items()} == {
        "id of another kind in column 'user'": 1,
        "missing id in column 'item'": 1,
        "bad number in column 'plays'": 2,
        "bad time in column 'time'": 2,
    }
    assert scores.summary()["bad_rows"] == told
    assert scores.notes()[0] == str(scores.bad_rows)
    for limit in (5, 0.5):
        with pytest.raises(fastals.DataError, match=f"rows passed over.*max_bad_rows={limit} allows no more"):
            score(events, spec, on_bad_rows="skip", max_bad_rows=limit, **ids)
    first = "events: row" if way in ("table", "arrays") else "column 'user': .*'x'"
    with pytest.raises(fastals.DataError, match=first):
        score(events, spec, **ids)


def test_options_of_files_say_nothing_of_frames() -> None:
    events = {"user": [1], "item": [2]}
    with pytest.raises(fastals.ParameterError, match="delimiter has a meaning for files alone, got dict"):
        score(events, {"signals": {"*": {}}}, delimiter=";")
    assert score(events, {"signals": {"*": {}}}, ids="text").interactions().users.tolist() == ["1"]


def test_bad_times_do_not_count_as_the_newest(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user,item,plays,time\n1,a,1,2024-05-01\n1,b,x,2024-06-01\n")
    with pytest.warns(UserWarning, match="1 of 2 rows passed over"):
        scores = score(tmp_path / "x.csv", SPEC, on_bad_rows="skip")
    assert cells(scores.interactions()) == {(1, "a"): 1.0}
