"""Scoring: the arithmetic against a plain loop, the same bits however the rows come, and what is refused."""

import csv
import gzip
import json
import math
import tempfile
import uuid
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import fastals
from fastals.scoring import ScoreSpec, Signal, _spec, score

SPEC = {
    "timestamp": "time",
    "half_life": "2 days",
    "signals": {
        "share": {"column": "played", "per": "length", "clip": [0, 1], "weight": 0.5},
        "log": {"column": "played", "transform": "log1p", "weight": 0.25},
        "much": {"column": "played", "transform": "saturate", "at": 90},
        "finished": {"weight": 1.5},
        "liked": {"weight": 3},
        "shared": {"clip": [None, 2]},
        "disliked": {"weight": -4.0},
        "skipped": {"column": "played", "per": "length", "transform": "below", "at": 0.25, "weight": -1},
        "long": {"column": "length", "transform": "above", "at": 300, "weight": 0.1},
        "any": {"column": "*", "weight": 0.01},
    },
}


def log(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "user": [f"u{i}" for i in rng.integers(0, 40, n)],
        "item": [f"i{i}" for i in rng.integers(0, 30, n)],
        "played": rng.integers(0, 400, n).tolist(),
        "length": rng.choice([0, 60, 240, 300, 400], n).tolist(),
        "finished": rng.integers(0, 2, n).tolist(),
        "liked": rng.integers(0, 2, n).tolist(),
        "shared": rng.integers(0, 5, n).tolist(),
        "disliked": (rng.random(n) < 0.1).tolist(),
        "time": (1.7e9 + rng.integers(0, 10 * 86400, n)).tolist(),
    }


def twin(events, spec):
    """What the head of fastals/scoring.py says, event by event."""
    spec = ScoreSpec.from_dict(spec)
    half_life = None if spec.half_life is None else _spec.span_seconds("half_life", spec.half_life)
    now = max(events["time"]) if spec.now is None else spec.now
    pairs = {}
    for row in (dict(zip(events, values, strict=True)) for values in zip(*events.values(), strict=True)):
        total = 0.0
        for signal in spec.signals.values():
            x = 1.0 if signal.column == "*" else float(row[signal.column])
            if signal.per:
                x = x / row[signal.per] if row[signal.per] else 0.0
            low, high = signal.clip
            x = x if low is None else max(x, low)
            x = x if high is None else min(x, high)
            total += signal.weight * {
                "linear": lambda x: x,
                "log1p": lambda x: math.copysign(math.log1p(abs(x)), x),
                "saturate": lambda x, at=signal.at: x / (abs(x) + at),
                "above": lambda x, at=signal.at: float(x >= at),
                "below": lambda x, at=signal.at: float(x < at),
            }[signal.transform](x)
        if half_life is not None:
            total *= 2 ** -(max(now - row["time"], 0) / half_life)
        pairs.setdefault((row["user"], row["item"]), []).append((row["time"], total))
    result = {}
    for pair, scored in pairs.items():
        values = [value for _, value in scored]
        value = {
            "sum": lambda v: sum(v),
            "mean": lambda v: sum(v) / len(v),
            "max": max,
            "last": lambda v, s=scored: sorted(s, key=itemgetter(0))[-1][1],
        }[spec.aggregate](values)
        if spec.total == "log1p":
            value = math.copysign(math.log1p(abs(value)), value)
        elif spec.total == "saturate":
            value = value / (abs(value) + spec.at)
        if spec.minimum is None or value >= spec.minimum:
            result[pair] = value
    return result


def cells(scores):
    data = scores.interactions()
    users = np.repeat(data.users, np.diff(data.indptr))
    return dict(zip(zip(users, data.items[data.indices], strict=True), data.values.tolist(), strict=True))


@pytest.fixture
def directory(tmp_path):
    """The log in three files."""
    events = log()
    folder = tmp_path / "events"
    folder.mkdir()
    rows = list(zip(*events.values(), strict=True))
    for name, first, last in (("a", 0, 1000), ("b", 1000, 1001), ("c", 1001, 3000)):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([events.keys(), *rows[first:last]])
    return folder


# --- the arithmetic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", ["sum", "mean", "max", "last"])
@pytest.mark.parametrize("total", ["linear", "log1p", "saturate"])
@pytest.mark.parametrize("extra", [{}, {"half_life": None}, {"now": 1.7e9 + 3 * 86400}, {"minimum": 0.3}])
def test_scores_are_those_of_a_plain_loop(aggregate, total, extra):
    events, spec = log(), SPEC | {"aggregate": aggregate, "total": total, "at": 2.5} | extra
    expected, found = twin(events, spec), cells(score(events, spec))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[pair] for pair in expected], list(expected.values()), rtol=2e-6, atol=1e-7)


def test_the_log_is_not_trivial():
    expected = twin(log(), SPEC)
    assert 500 < len(expected) < 3000
    assert min(expected.values()) < 0 < max(expected.values())


@pytest.mark.parametrize("options", [{"memory": 1}, {"memory": 20_000}, {"num_threads": 1}, {"num_threads": 3}])
def test_the_same_bits_however_the_rows_come(directory, monkeypatch, options):
    expected = score(log(), SPEC).interactions()
    for module_value in (64, 1 << 17):
        monkeypatch.setattr("fastals._files.blocks.BLOCK_BYTES", module_value * 16)
        for events in (log(), directory):
            with score(events, SPEC, **options) as scores:
                found = scores.interactions()
                assert scores.n_events == 3000
            assert found.users.tolist() == expected.users.tolist()
            assert found.items.tolist() == expected.items.tolist()
            for name in ("indptr", "indices", "values"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_spilled_events_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with score(log(), SPEC, memory=1000) as scores:
        assert len(list(tmp_path.iterdir())) == 1
        scores.interactions()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(fastals.DataError, match="row 3000"):
        score(log() | {"liked": [0] * 2999 + [math.inf]}, SPEC, memory=1000)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_signal_counts_nothing():
    events = pa.table({"user": ["a", "b"], "item": ["x", "x"], "n": [None, 2.0]})
    assert cells(score(events, {"signals": {"n": {}}})) == {("a", "x"): 0.0, ("b", "x"): 2.0}


def test_times_may_be_numbers_or_dates(tmp_path):
    stamps = np.array(["2025-01-01T00:00:00", "2025-01-02T12:00:00"], "datetime64[s]")
    spec = {"signals": {"*": {}}, "timestamp": "t", "half_life": 86400}
    expected = {("a", "x"): 2**-1.5, ("b", "x"): 1.0}
    for times in (stamps, stamps.astype("datetime64[ns]"), stamps.astype(np.int64), stamps.astype(float)):
        scores = score({"user": ["a", "b"], "item": ["x", "x"], "t": times}, spec)
        assert cells(scores) == pytest.approx(expected)
        assert scores.spec.now == stamps[1].astype(np.int64)
    (tmp_path / "e.csv").write_text("user,item,t\na,x,2025-01-01T00:00:00\nb,x,2025-01-02 12:00:00\n")
    assert cells(score(tmp_path / "e.csv", spec)) == pytest.approx(expected)
    later = score({"user": ["a"], "item": ["x"], "t": stamps[:1]}, spec | {"now": "2025-01-03"})
    assert cells(later) == {("a", "x"): 0.25}


def test_the_same_without_pyarrow(directory, tmp_path, monkeypatch):
    rows = [(directory / f"{name}.csv").read_text().split("\n", 1)[1] for name in "abc"]
    (tmp_path / "log.csv").write_text((directory / "a.csv").read_text().split("\n", 1)[0] + "\n" + "".join(rows))
    (tmp_path / "bad.csv").write_text("user,item,n\na,x,1\na,x,much\n")
    (tmp_path / "empty.csv").write_text("user,item,n\na,x,\n,x,1\n")
    expected = score(tmp_path / "log.csv", SPEC).interactions()
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    found = score(tmp_path / "log.csv", SPEC).interactions()
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.users.tolist() == expected.users.tolist()
    refused(tmp_path / "bad.csv", {"signals": {"n": {}}}, "bad.csv: line 3, column 'n': 'much' is no number")
    refused(tmp_path / "empty.csv", {"signals": {"n": {}}}, "empty.csv: line 3, column 'user': the id is missing")
    (tmp_path / "dates.csv").write_text("user,item,t\n7,x,2025-01-01T00:00:00\n8,x,2025-01-02 00:00:00\n")
    spec = {"signals": {"*": {}}, "timestamp": "t", "half_life": "1 day"}
    assert cells(score(tmp_path / "dates.csv", spec)) == {(7, "x"): 0.5, (8, "x"): 1.0}


# --- formats ---------------------------------------------------------------------------------------------------------


def test_every_format_gives_the_same(tmp_path, directory):
    table = pa.table(log())
    pa.parquet.write_table(table, tmp_path / "one.parquet", row_group_size=500)
    pa.dataset.write_dataset(
        table.append_column("day", pa.array(np.arange(3000) // 1000)),
        tmp_path / "hive",
        format="parquet",
        partitioning=pa.dataset.partitioning(pa.schema([("day", pa.int64())]), flavor="hive"),
    )
    (tmp_path / "hive" / "_SUCCESS").touch()
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    (tmp_path / "log.jsonl").write_text(lines)
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(lines.encode()))
    whole = (directory / "a.csv").read_text() + "".join(
        (directory / name).read_text().split("\n", 1)[1] for name in ("b.csv", "c.csv")
    )
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(whole.encode()))
    (tmp_path / "log.tsv").write_text(whole.replace(",", "\t"))
    (tmp_path / "semicolon.csv").write_text(whole.replace(",", ";"))
    (tmp_path / "bare.csv").write_text(whole.split("\n", 1)[1])
    (tmp_path / "noname").write_text(whole)
    expected = score(log(), SPEC).interactions()
    sources = [
        (directory, {}),
        (f"file://{directory}", {}),
        ([directory / "a.csv", directory / "b.csv", directory / "c.csv"], {}),
        *(
            (tmp_path / name, {})
            for name in ("one.parquet", "hive", "log.jsonl", "log.json.gz", "log.csv.gz", "log.tsv")
        ),
        (tmp_path / "semicolon.csv", {"delimiter": ";"}),
        (tmp_path / "bare.csv", {"columns": list(log())}),
        (tmp_path / "noname", {"format": "csv"}),
    ]
    for source, options in sources:
        found = score(source, SPEC, **options).interactions()
        np.testing.assert_array_equal(found.values, expected.values, err_msg=str(source))
        assert found.users.tolist() == expected.users.tolist()


def test_a_column_of_directory_names_is_a_column(tmp_path):
    for day, user in ((1, "a"), (2, "b")):
        (tmp_path / f"day={day}").mkdir()
        pa.parquet.write_table(pa.table({"user": [user], "item": ["x"]}), tmp_path / f"day={day}" / "0.parquet")
    assert cells(score(tmp_path, {"signals": {"day": {}}})) == {("a", "x"): 1.0, ("b", "x"): 2.0}


UUIDS = [uuid.UUID(int=i) for i in (5, 2**127, 7)]


@pytest.mark.parametrize(
    "labels",
    [
        ["Ä", "日本", "🎵"],
        [" ", "null", "NaN"],
        ["x" * 100_000, "x" * 99_999, "y"],
        ["007", "7", "1e3"],
        [-5, 2**40, 0],
    ],
    ids=["unicode", "empty-looking", "long", "numeric-looking", "integers"],
)
def test_labels_come_through_any_file(tmp_path, labels):
    table = pa.table({"user": labels, "item": labels[::-1], "n": [1.0, 2.0, 3.0]})
    pa.parquet.write_table(table, tmp_path / "e.parquet")
    with open(tmp_path / "e.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
            [table.column_names, *([*row.values()] for row in table.to_pylist())]
        )
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    expected = dict(zip(zip(labels, labels[::-1], strict=True), [1.0, 2.0, 3.0], strict=True))
    for name in ("e.parquet", "e.csv", "e.jsonl"):
        scores = score(tmp_path / name, {"signals": {"n": {}}})
        assert cells(scores) == expected
        for kind in ("s.parquet", "s.csv"):
            scores.write(tmp_path / kind)
            reader = fastals.Interactions.from_parquet if kind == "s.parquet" else fastals.Interactions.from_csv
            assert reader(tmp_path / kind).users.tolist() == sorted(labels)


def test_a_table_of_categories_or_uuids():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": pandas.Categorical(["b", "a", "b"]), "item": UUIDS, "n": [1, 2, 3]})
    frame["item"] = frame["item"].map(str)
    assert cells(score(frame, {"signals": {"n": {}}}))["b", str(UUIDS[2])] == 3


def test_uuids_come_through_files(tmp_path):
    table = pa.table({"user": pa.array([label.bytes for label in UUIDS], pa.uuid()), "item": ["x", "y", "z"]})
    pa.parquet.write_table(table, tmp_path / "e.parquet")
    for events in (table, tmp_path / "e.parquet", {"user": UUIDS, "item": ["x", "y", "z"]}):
        scores = score(events, {"signals": {"*": {}}})
        assert scores.interactions().users.tolist() == sorted(UUIDS)
        scores.write(tmp_path / "s.parquet")
        assert fastals.Interactions.from_parquet(tmp_path / "s.parquet").users.tolist() == sorted(UUIDS)
        scores.write(tmp_path / "s.csv")
        assert fastals.Interactions.from_csv(tmp_path / "s.csv").users.tolist() == sorted(map(str, UUIDS))


def test_scores_carry_their_specification(tmp_path):
    scores = score(log(), SPEC)
    assert scores.write(tmp_path / "s.parquet") == len(twin(log(), SPEC))
    data = fastals.Interactions.from_parquet(tmp_path / "s.parquet")
    again = ScoreSpec.from_dict(data.scoring)
    assert again == scores.spec == ScoreSpec.from_dict(scores.interactions().scoring)
    assert again.now == max(log()["time"])
    model = fastals.ImplicitALS(factors=2, iterations=1).fit(data)
    model.save(tmp_path / "model")
    assert ScoreSpec.from_dict(fastals.load(tmp_path / "model").scoring_) == again
    np.testing.assert_array_equal(data.values, scores.interactions().values)


# --- the specification -----------------------------------------------------------------------------------------------


def test_a_specification_in_every_form(tmp_path):
    expected = ScoreSpec(
        {"liked": Signal(weight=3), "share": Signal("played", per="length", clip=(0, 1))}, user="who", minimum=0.5
    )
    toml = 'user = "who"\nminimum = 0.5\n[signals.liked]\nweight = 3\n'
    toml += '[signals.share]\ncolumn = "played"\nper = "length"\nclip = [0, 1]\n'
    yaml = "user: who\nminimum: 0.5\nsignals:\n  liked: {weight: 3}\n"
    yaml += "  share: {column: played, per: length, clip: [0, 1]}\n"
    for name, text in (("s.toml", toml), ("s.yaml", yaml), ("s.json", json.dumps(expected.to_dict()))):
        (tmp_path / name).write_text(text)
        assert ScoreSpec.load(tmp_path / name) == expected
    assert ScoreSpec.from_dict(expected.to_dict()) == expected


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "signals"),
        ({"signals": {}}, "at least one"),
        ({"signals": {"a": {"wieght": 1}}}, "signal 'a': a signal has no 'wieght'; it may have column, weight"),
        ({"signals": {"a": {}}, "halflife": 3}, "no 'halflife'"),
        ({"signals": {"a": {"weight": "3"}}}, "signal 'a': weight must be a number"),
        ({"signals": {"a": {"weight": math.nan}}}, "weight must be finite"),
        ({"signals": {"a": {"transform": "log"}}}, "transform must be one of 'linear'"),
        ({"signals": {"a": {"transform": "saturate", "at": 0}}}, "at must be > 0"),
        ({"signals": {"a": {"clip": [1, 0]}}}, "low <= high"),
        ({"signals": {"a": {"clip": 1}}}, "pair"),
        ({"signals": {"a": {"column": 3}}}, "name of a column"),
        ({"signals": {"a": 3}}, "signal 'a'"),
        ({"signals": {"a": {}}, "half_life": 3}, "half_life needs timestamp"),
        ({"signals": {"a": {}}, "aggregate": "last"}, "needs timestamp"),
        ({"signals": {"a": {}}, "half_life": "3 moons", "timestamp": "t"}, "'30 days'"),
        ({"signals": {"a": {}}, "half_life": 0, "timestamp": "t"}, "half_life must be > 0"),
        ({"signals": {"a": {}}, "now": "yesterday"}, "now must be"),
        ({"signals": {"a": {}}, "aggregate": "median"}, "aggregate must be"),
        ({"signals": {"a": {}}, "minimum": "low"}, "minimum must be a number"),
        ({"signals": {"a": {}}, "user": 3}, "user must be"),
        (["signals"], "table of names"),
    ],
)
def test_a_bad_specification_is_refused(spec, reason, tmp_path):
    if spec == {}:
        with pytest.raises(TypeError, match=reason):
            ScoreSpec.from_dict(spec)
        return
    with pytest.raises(fastals.FastalsError, match=reason):
        ScoreSpec.from_dict(spec)
    (tmp_path / "s.json").write_text(json.dumps(spec))
    with pytest.raises(fastals.FastalsError, match=r"s\.json"):
        ScoreSpec.load(tmp_path / "s.json")


@pytest.mark.parametrize(("name", "text"), [("s.toml", "a = "), ("s.yaml", "a: ["), ("s.json", "{"), ("s.ini", "")])
def test_an_unreadable_specification(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(fastals.FileFormatError, match=name):
        ScoreSpec.load(tmp_path / name)
    with pytest.raises(fastals.FileFormatError, match=r"nowhere|read from"):
        ScoreSpec.load(tmp_path / ("nowhere" + name[-5:]))


# --- bad input -------------------------------------------------------------------------------------------------------


def refused(events, spec, *reasons):
    with pytest.raises(fastals.FastalsError) as caught:
        score(events, spec)
    for reason in reasons:
        assert reason in str(caught.value)


def test_a_column_that_is_not_there(directory):
    refused(directory, SPEC | {"user": "who"}, "a.csv", "'who'", "'played'")
    refused(directory, {"signals": {"loved": {}}}, "a.csv", "signal 'loved'", "column 'loved'", "'liked'")
    refused(directory, {"signals": {"liked": {"per": "beats"}}}, "signal 'liked'", "'beats'")
    refused(directory, {"signals": {"item": {}}}, "holds ids")
    refused(directory, SPEC | {"timestamp": "when"}, "timestamp", "'when'")


def test_a_file_in_the_middle_that_lacks_a_column(tmp_path, directory):
    (directory / "b.csv").write_text("user,item\na,x\n")
    refused(directory, SPEC, "b.csv", "played")
    for name, columns in (("a", {"liked": [1]}), ("b", {}), ("c", {"liked": [1]})):
        pa.parquet.write_table(pa.table({"user": ["u"], "item": ["i"]} | columns), tmp_path / f"{name}.parquet")
    files = [tmp_path / f"{name}.parquet" for name in "abc"]
    refused(files, {"signals": {"liked": {}}}, "b.parquet", "column 'liked' is missing", "'item', 'user'")


def test_a_wrong_type_names_file_row_and_column(tmp_path, directory):
    rows = (directory / "c.csv").read_text().splitlines()
    cells = rows[1500].split(",")
    cells[2] = "often"
    (directory / "c.csv").write_text("\n".join([*rows[:1500], ",".join(cells), *rows[1501:]]))
    refused(directory, SPEC, "c.csv: line 1501, column 'played': 'often' is no number")
    (tmp_path / "e.jsonl").write_text('{"user": "a", "item": "x", "n": 1}\n{"user": "a", "item": "x", "n": "two"}\n')
    refused(tmp_path / "e.jsonl", {"signals": {"n": {}}}, "e.jsonl: line 2, column 'n': 'two' is no number")
    (tmp_path / "f.jsonl").write_text('{"user": "a", "item": "x", "n": 1}\n' * 3 + '{"user": "a", "item"\n')
    refused(tmp_path / "f.jsonl", {"signals": {"n": {}}}, "f.jsonl: line 4: cannot be read as JSON lines")
    pa.parquet.write_table(pa.table({"user": ["a"] * 2, "item": ["x"] * 2, "n": ["1", "two"]}), tmp_path / "e.parquet")
    refused(tmp_path / "e.parquet", {"signals": {"n": {}}}, "e.parquet: row 2, column 'n': 'two' is no number")


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_a_number_that_is_none(tmp_path, bad):
    (tmp_path / "e.csv").write_text(f"user,item,n\na,x,1\na,y,{bad}\n")
    refused(tmp_path / "e.csv", {"signals": {"n": {}}}, "e.csv: line 3, column 'n'", bad)


def test_a_missing_id(tmp_path):
    (tmp_path / "e.csv").write_text("user,item,n\na,x,1\na,,1\n")
    refused(tmp_path / "e.csv", {"signals": {"n": {}}}, "e.csv: line 3, column 'item'", "missing")
    pa.parquet.write_table(pa.table({"user": ["a", "b", None], "item": ["x"] * 3}), tmp_path / "e.parquet")
    refused(tmp_path / "e.parquet", {"signals": {"*": {}}}, "e.parquet: row 3, column 'user'", "missing")


def test_a_missing_time(tmp_path):
    (tmp_path / "e.csv").write_text("user,item,t\na,x,1\na,x,\n")
    refused(
        tmp_path / "e.csv", {"signals": {"*": {}}, "timestamp": "t", "half_life": 1}, "line 3, column 't'", "missing"
    )


def test_an_unreadable_file_in_the_middle(tmp_path, directory):
    (directory / "b.csv").write_bytes(b"user,item,played\n\xff\xfe,x,1\n")
    refused(directory, SPEC, "b.csv")
    table = pa.table(log())
    for name in "abc":
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    whole = (tmp_path / "b.parquet").read_bytes()
    files = [tmp_path / f"{name}.parquet" for name in "abc"]
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    refused(files, SPEC, "b.parquet", "cannot be read")
    damaged = bytearray(whole)
    damaged[4:2000] = bytes(1996)
    (tmp_path / "b.parquet").write_bytes(damaged)
    refused(files, SPEC, "b.parquet")


def test_formats_that_are_not_clear(tmp_path, directory):
    (directory / "readme.md").touch()
    refused(directory, SPEC, "readme.md", "format")
    refused(tmp_path / "nowhere.csv", SPEC, "nowhere.csv")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", SPEC, "holds no data files")
    refused([], SPEC, "at least one file")
    refused(3, SPEC, "events must be a path")
    with pytest.raises(fastals.ParameterError, match="delimiter"):
        score(directory / "a.csv", SPEC, delimiter="a\n")
    with pytest.raises(fastals.ParameterError, match="format"):
        score(directory / "a.csv", SPEC, format="xml")


def test_no_score_is_left():
    with pytest.raises(fastals.DataError, match="no score is left of 3000 events: none is at least minimum"):
        score(log(), SPEC | {"minimum": 1e9}).interactions()


def test_writing(tmp_path):
    scores = score(log(), SPEC)
    with pytest.raises(fastals.ParameterError, match="must end in"):
        scores.write(tmp_path / "s.txt")
    with pytest.raises(FileNotFoundError):
        scores.write(tmp_path / "nowhere" / "s.parquet")


def test_ids_of_two_kinds(tmp_path):
    pa.parquet.write_table(pa.table({"user": [1], "item": ["x"]}), tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"user": ["a"], "item": ["x"]}), tmp_path / "b.parquet")
    refused([tmp_path / "a.parquet", tmp_path / "b.parquet"], {"signals": {"*": {}}}, "b.parquet", "user")


def test_more_objects_than_are_looked_at_at_once():
    n = 200_000
    rng = np.random.default_rng(0)
    users = np.array([f"u{i}" for i in range(500)], dtype=object)[rng.integers(0, 500, n)]
    events = {"user": users, "item": rng.integers(0, 50, n), "n": np.ones(n)}
    found = score(events, {"signals": {"n": {}}}).interactions()
    expected = fastals.Interactions.from_arrays(users, events["item"])
    assert found.users.tolist() == expected.users.tolist()
    assert (found.matrix != expected.matrix).nnz == 0


def test_closed_scores(tmp_path):
    with score(log(), SPEC) as scores:
        pass
    with pytest.raises(fastals.ParameterError, match="closed"):
        scores.interactions()
