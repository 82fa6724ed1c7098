"""Files of strangers: records cut anywhere, links, tables of other tools, ids that are no longer what they were."""

import bz2
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastals
from fastals._core import tables, told_address
from fastals._files import Source, blocks
from fastals.scoring import score

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

Interactions = fastals.Interactions

both = pytest.mark.parametrize("arrow", [True, False], ids=["pyarrow", "base install"])


def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)


def refused(read: Callable[[], Any], *reasons: str) -> None:
    with pytest.raises(fastals.FastalsError) as error:
        read()
    assert "\n" not in str(error.value)
    for reason in reasons:
        assert reason in str(error.value)


def pairs(data: Any) -> list[tuple[Any, Any]]:
    coo = data.matrix.tocoo()
    return sorted(zip(data.users[coo.row].tolist(), data.items[coo.col].tolist(), strict=True), key=repr)


# ---------------------------------------------------------------------------------------------------------------------
# text


@both
def test_the_rest_of_a_bad_record_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool) -> None:
    """Wherever a block ends: with 8 MB it is once in 8 MB that the rest could pass for a row."""
    if not arrow:
        without_pyarrow(monkeypatch)
    path = tmp_path / "x.csv"
    path.write_text('user,item,rating\nann,x,1\n"a"b c d e f g h i j,k,9\nbob,y,2\n')
    for size in range(32, 80):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        with pytest.warns(UserWarning, match="1 of 3 rows passed over"):
            data = Interactions.from_csv(path, on_bad_rows="skip")
        assert pairs(data) == [("ann", "x"), ("bob", "y")]


@both
def test_an_escape_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool) -> None:
    if not arrow:
        without_pyarrow(monkeypatch)
    path = tmp_path / "x.csv"
    for size in (32, 1 << 23):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        for end in ("bob,y\\", '"bob\\'):
            path.write_text(f"user,item\nann,x\n{end}")
            refused(lambda: Interactions.from_csv(path, escape="\\"), "line 3: nothing follows the escape")
        path.write_text("user,item\nann,x\nbob,y\\\n")
        assert pairs(Interactions.from_csv(path, escape="\\")) == [("ann", "x"), ("bob", "y\n")]


def test_lines_are_counted_where_lines_end_in_two_ways(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"user,item\r\r#\n#\r#\r\n\n#\r#\nann,x\n7\n")
    refused(lambda: Interactions.from_csv(path, comment="#"), "line 10: 1 fields")


def test_many_bad_records_take_no_longer_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(blocks, "count_lines", lambda data: counted.append(len(data)) or data.count(b"\n"))
    path = tmp_path / "x.csv"
    path.write_text("user,item\nann,x\n" + '"a"b,x\n' * 5000)
    with pytest.warns(UserWarning, match="5,000 of 5,001"):
        Interactions.from_csv(path, on_bad_rows="skip", max_bad_rows=5000)
    assert sum(counted) < 10 * path.stat().st_size


def test_scanning_stays_within_its_bytes() -> None:
    """Whatever stands at the end: the place is one of the data's, and the next scan goes on from it."""
    for end in (b"", b"\\", b'"', b'"\\', b'"a"', b"\r", b"a\\\r", b"#", b"##"):
        for start in (b"", b"a,b\n", b'"a\n"\r'):
            data = start + end
            at, what = tables.scan_records(data, 0, 44, 34, 92, b"##")
            assert 0 <= at <= len(data)
            assert (what == tables.RECORDS_HALF) == (end in (b"\\", b'"\\'))
            assert (what == tables.RECORDS_OPEN) == (end == b'"')


def test_encodings_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item\nann,x\n")
    for encoding in ("undefined", "utf-8\0", "hex", ""):
        refused(lambda encoding=encoding: Interactions.from_csv(path, encoding=encoding), "encoding must be one")
    refused(lambda: Interactions.from_csv(path, encoding="punycode"), "cannot be read in its encoding")


def test_a_header_in_mid_file_is_found_by_its_numbers_or_by_itself(tmp_path: Path) -> None:
    """Looking for it costs time only where it could pass for a row."""
    path = tmp_path / "x.csv"
    for names, nulls in ((["user", "item", "rating"], []), (["user", "item", "1"], []), (["user", "item", "n"], ["n"])):
        path.write_text("\n".join([",".join(names), "ann,x,2", ",".join(names), "bob,y,3"]))
        reading = {"value": names[2], "nulls": nulls}
        refused(lambda reading=reading: Interactions.from_csv(path, **reading), "line 3: the header line again")


# ---------------------------------------------------------------------------------------------------------------------
# JSON lines


def test_ids_of_json(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"

    def read(*users: str, **reading: Any) -> Any:
        path.write_text("".join(f'{{"user": {user}, "item": 1}}\n' for user in users))
        return Interactions.from_json(path, **reading)

    # float64 would make them one
    refused(lambda: read("7.0", "9007199254740993", "9007199254740992"), "line 2, column 'user'")
    refused(lambda: read("9007199254740993.0"), "line 1, column 'user'", "too large to be sure")
    refused(lambda: read('"ann"', '"\\udc00"'), "line 2, column 'user'", "half a surrogate pair")
    refused(lambda: read('"\\udc00"'), "line 1, column 'user'", "half a surrogate pair")
    assert read("7.0", "9007199254740993", ids="integer").users.tolist() == [7, 2**53 + 1]
    # what looks like a date is text, as in CSV
    for reading in ({}, {"ids": "text"}):
        assert read('"2024-05-01"', '"2024-05-02"', **reading).users.tolist() == ["2024-05-01", "2024-05-02"]


def test_broken_text_in_json_has_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes('{"user": "a", "item": 1}\n{"user": "\xe4", "item": 1}\n'.encode("latin-1"))
    refused(lambda: Interactions.from_json(path), "line 2: cannot be read as JSON lines")
    with pytest.warns(UserWarning, match="1 of 2 rows passed over"):
        assert Interactions.from_json(path, on_bad_rows="skip").users.tolist() == ["a"]


# ---------------------------------------------------------------------------------------------------------------------
# Parquet


@pytest.mark.parametrize(
    ("first", "other", "holds"),
    [
        (["7"], [True], "holds bool, but text"),
        (["7"], [1.5], "holds numbers, but text"),
        (["7"], [b"7"], "holds binary, but text"),
        ([7], ["07"], "holds text, but integers"),
        ([1], [True], "holds bool, but integers"),
        ([7], pa.array([7], pa.timestamp("us")), "holds timestamp[us], but integers"),
    ],
)
def test_ids_of_another_kind_in_another_file(tmp_path: Path, first: Any, other: Any, holds: str) -> None:
    """Arrow casts them all: true becomes 1, "07" becomes 7."""
    for name, users in (("a", first), ("b", other)):
        parquet.write_table(pa.table({"user": users, "item": ["x"]}), tmp_path / f"{name}.parquet")
    refused(lambda: Interactions.from_parquet(tmp_path), "b.parquet: column 'user'", holds)
    refused(lambda: score(tmp_path, {"signals": {"*": {}}}), holds)


def test_kinds_of_ids_that_are_one(tmp_path: Path) -> None:
    parts = [[7], [8.0], pa.array([9], pa.int8()), pa.array([7]).dictionary_encode()]
    for at, users in enumerate(parts):
        parquet.write_table(pa.table({"user": users, "item": ["x"]}), tmp_path / f"{at}.parquet")
    assert Interactions.from_parquet(tmp_path).users.tolist() == [7, 8, 9]


# ---------------------------------------------------------------------------------------------------------------------
# where files are


@both
@pytest.mark.parametrize("suffix", [".bz2", ".xz"])
def test_nothing_may_stand_behind_what_is_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, arrow: bool
) -> None:
    """Python's own readers pass over it in silence: half a file could be lost."""
    if not arrow:
        without_pyarrow(monkeypatch)
    compress = {".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    rows = b"user,item\n" + b"".join(b"u%d,i\n" % at for at in range(100_000))
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(compress(rows) + compress(b"ann,x\n"))
    assert Interactions.from_csv(path).nnz == 100_001
    for behind in (b"u,i\n", compress(b"ann,x\n")[:-3]):
        path.write_bytes(compress(rows) + behind)
        refused(lambda: Interactions.from_csv(path), f"x.csv{suffix}: cannot be read")


def test_links(tmp_path: Path) -> None:
    day = tmp_path / "log" / "day=1"
    day.mkdir(parents=True)
    (day / "a.csv").write_text("user,item\nann,x\n")
    (tmp_path / "elsewhere.csv").write_text("user,item\nbob,y\n")
    log = day.parent
    (log / "b.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert pairs(Interactions.from_csv(log)) == [("ann", "x"), ("bob", "y")]
    (log / "latest").symlink_to(day)
    refused(lambda: Interactions.from_csv(log), "latest/a.csv: is", "once more, by a link")
    (log / "latest").unlink()
    (log / "gone.csv").symlink_to("nowhere")
    refused(lambda: Interactions.from_csv(log), "gone.csv: is a link to nothing")
    (log / "gone.csv").rename(log / "_gone.csv")
    assert Interactions.from_csv(log).nnz == 2


@both
def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    refused(lambda: Interactions.from_csv(tmp_path), "pipe.csv: is neither a file nor a directory")
    if not arrow:
        without_pyarrow(monkeypatch)
    refused(lambda: Interactions.from_csv(tmp_path / "pipe.csv"), "pipe.csv: is ")


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("_delta_log/00000000000000000000.json", "Delta Lake, whose files hold deleted rows too: read it as [events]"),
        ("metadata/v1.metadata.json", "iceberg_scan"),
        (".hoodie/hoodie.properties", "Hudi"),
    ],
)
def test_tables_of_other_tools(tmp_path: Path, mark: str, said: str) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"user": ["ann"], "item": ["x"]})
    parquet.write_table(table, tmp_path / "data" / "1.parquet")
    assert Interactions.from_parquet(tmp_path).nnz == 1
    (tmp_path / mark).parent.mkdir()
    (tmp_path / mark).write_text("{}")
    refused(lambda: Interactions.from_parquet(tmp_path), said)
    refused(lambda: Source(tmp_path), said)


def test_directory_names_that_are_no_integers(tmp_path: Path) -> None:
    for name in ("1_0", "9" * 30):
        directory = tmp_path / name / f"day={name}"
        directory.mkdir(parents=True)
        (directory / "a.csv").write_text("user,count\nann,1\n")
        assert Interactions.from_csv(tmp_path / name, item="day", value="count").items.tolist() == [name]


def test_no_message_has_a_password() -> None:
    assert told_address("s3://id:key/+@bucket/a?endpoint=x") == "s3://***@bucket/a"
    assert told_address("/data/a@b/c?.csv") == "/data/a@b/c?.csv"
    for address in (
        "s3://ann:pass%2Fword@bucket/x.csv?nonsense=secret",
        "s3://ann:pass%2Fword@[/x.csv",
        "nofs://ann:pass%2Fword@host/x.csv?token=secret",
        "sftp://ann:pass%2Fword@127.0.0.1:1/x.csv",
    ):
        with pytest.raises(fastals.FastalsError) as error:
            Interactions.from_csv(address)
        told = "".join(map(str, (error.value, error.value.__cause__)))
        assert not any(secret in told for secret in ("pass%2Fword", "pass/word", "secret"))
