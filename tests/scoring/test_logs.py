"""Logs as they are: types of events in a column, periods, robots, clocks that are wrong; pandas is the oracle."""

import datetime as dt
import json
import math
import tempfile
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

import fastals
from fastals.scoring import ScoreSpec, Signal, score

WEIGHTS = {"view": 1, "addtocart": 3, "transaction": 5}
TYPES = {name: {"column": "event", "equals": name, "weight": weight} for name, weight in WEIGHTS.items()}
NOW = pd.Timestamp("2024-06-01T12:00:00Z")


def log(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": [f"u{i}" for i in (60 * rng.random(n) ** 2).astype(int)],
            "item": [f"i{i}" for i in (40 * rng.random(n) ** 2).astype(int)],
            "event": rng.choice(["view", "addtocart", "transaction", "search"], n, p=[0.7, 0.15, 0.1, 0.05]),
            "t": NOW - pd.to_timedelta(rng.integers(0, 200 * 86_400, n), unit="s"),
        }
    )


def cells(scores):
    data = scores.interactions()
    users = np.repeat(data.users, np.diff(data.indptr))
    return dict(zip(zip(users, data.items[data.indices], strict=True), data.values.tolist(), strict=True))


def expected(frame, column="score"):
    return frame.groupby(["user", "item"])[column].sum().to_dict()


def ways(frame, directory):
    """The same log in every container and file; in files twice, so that there are several batches."""
    yield "pandas", frame
    yield "polars", pl.from_pandas(frame)
    yield "arrow", pa.Table.from_pandas(frame)
    yield "mapping", {name: frame[name].tolist() for name in frame}
    yield "arrays", {name: frame[name].to_numpy() for name in frame}
    yield "categories", frame.assign(event=frame.event.astype("category"))
    parts = [frame.iloc[: len(frame) // 2], frame.iloc[len(frame) // 2 :]]
    for kind in ("csv", "jsonl", "parquet"):
        (directory / kind).mkdir(parents=True, exist_ok=True)
    for i, part in enumerate(parts):
        part.to_csv(directory / "csv" / f"{i}.csv", index=False)
        part.to_parquet(directory / "parquet" / f"{i}.parquet", index=False)
        rows = [
            {k: v.isoformat() if isinstance(v, pd.Timestamp) else None if v != v else v for k, v in row.items()}
            for row in part.to_dict("records")
        ]
        (directory / "jsonl" / f"{i}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("csv", "jsonl", "parquet"):
        yield kind, directory / kind


# --- types of events -------------------------------------------------------------------------------------------------


def test_types_of_events_have_weights(tmp_path):
    frame = log()
    known = frame[frame.event.isin(WEIGHTS)]
    wanted = expected(known.assign(score=known.event.map(WEIGHTS)))
    for name, events in ways(frame, tmp_path):
        for memory in (1 << 29, 1):
            with score(events, {"signals": TYPES}, memory=memory) as scores:
                assert cells(scores) == pytest.approx(wanted), name
                summary = scores.summary()
                assert summary["events"] == 4000
                assert summary["events_of_no_signal"] == 4000 - len(known)
                found = {row["value"]: (row["events"], row["signals"]) for row in summary["types"]["event"]}
                counts = frame.event.value_counts().to_dict()
                assert found == {v: (n, [v] if v in WEIGHTS else []) for v, n in counts.items()}
                assert f"column 'event': no signal names 'search' ({counts['search']})" in scores.notes()


def test_types_without_pyarrow(tmp_path, monkeypatch):
    frame = log(500)
    frame.to_csv(tmp_path / "log.csv", index=False)
    spec = {"signals": TYPES, "timestamp": "t", "half_life": "30 days"}
    wanted = cells(score(frame, spec))
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    monkeypatch.setattr("fastals._files.time_columns.has_pyarrow", lambda: False)
    assert cells(score(tmp_path / "log.csv", spec)) == wanted
    assert cells(score({name: frame[name].tolist() for name in frame}, spec)) == wanted


def test_several_values_and_other_signals(tmp_path):
    frame = log(800).assign(liked=np.arange(800) % 7 == 0)
    signals = {"bought": Signal("event", equals=["addtocart", "transaction"], weight=2), "liked": Signal(weight=3)}
    wanted = expected(frame.assign(score=2 * frame.event.isin(["addtocart", "transaction"]) + 3 * frame.liked))
    for name, events in ways(frame, tmp_path):
        scores = score(events, {"signals": signals})
        assert cells(scores) == pytest.approx(wanted), name
        assert scores.summary()["events_of_no_signal"] == 0  # each may still be liked


@pytest.mark.parametrize(
    ("values", "equals"),
    [([1, 2, 3], 2), ([1.5, 2.5, 2.5], 2.5), ([True, False, False], False), ([1, 2, 3], [1, 3]), ([0, 1, 1], 1)],
)
def test_types_that_are_no_text(tmp_path, values, equals):
    frame = pd.DataFrame({"user": ["a"] * 30, "item": ["x", "y", "z"] * 10, "event": values * 10, "t": [NOW] * 30})
    wanted = [v in (equals if isinstance(equals, list) else [equals]) for v in values]
    for name, events in ways(frame, tmp_path):
        scores = score(events, {"signals": {"s": {"column": "event", "equals": equals}}})
        assert cells(scores) == {("a", item): 10.0 for item, met in zip("xyz", wanted, strict=True) if met}, name
        assert scores.summary()["events_of_no_signal"] == 10 * wanted.count(False)


def test_digits_of_csv_may_be_text_or_numbers(tmp_path):
    (tmp_path / "e.csv").write_text("user,item,type\na,x,1\na,y,2\na,z,01\n")
    for equals, wanted in (("1", {("a", "x"): 1.0}), (1, {("a", "x"): 1.0, ("a", "z"): 1.0})):
        assert cells(score(tmp_path / "e.csv", {"signals": {"s": {"column": "type", "equals": equals}}})) == wanted


def test_missing_types_are_none(tmp_path):
    frame = pd.DataFrame({"user": ["a"] * 3, "item": ["x", "y", "z"], "event": ["view", None, ""], "t": [NOW] * 3})
    for name, events in ways(frame, tmp_path):
        scores = score(events, {"signals": {"view": TYPES["view"]}})
        assert cells(scores) == {("a", "x"): 1.0}, name
        assert {row["value"]: row["events"] for row in scores.summary()["types"]["event"]} == {"view": 1, None: 2}


def test_a_value_that_never_occurs_is_told(tmp_path):
    frame = log(300)
    spec = {"signals": {**TYPES, "typo": {"column": "event", "equals": ["transacton", "buy"]}}}
    for _, events in ways(frame, tmp_path):
        with pytest.warns(
            UserWarning, match=r"column 'event' never holds 'transacton', 'buy'; it holds 'view' \(\d+\)"
        ):
            scores = score(events, spec)
        assert scores.summary()["types_never_met"] == {"event": ["transacton", "buy"]}


def test_many_values_are_not_all_remembered():
    frame = {"user": np.arange(5000), "item": np.zeros(5000, int), "event": [f"e{i}" for i in range(4999)] + ["buy"]}
    summary = score(frame, {"signals": {"buy": {"column": "event", "equals": "buy"}}}).summary()
    assert summary["types"]["event"][-1]["value"] == "…" or summary["types"]["event"][0]["value"] == "…"
    assert sum(row["events"] for row in summary["types"]["event"]) == 5000
    assert len(summary["types"]["event"]) < 1100
    assert summary["types_never_met"] == {}


def refused(events, spec, *reasons):
    with pytest.raises(fastals.FastalsError) as caught:
        score(events, spec)
    for reason in reasons:
        assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def first_of(name):
    """How messages name the first row."""
    return {"csv": "line 2", "jsonl": "line 1"}.get(name, "row 1")


def test_a_column_of_text_needs_equals(tmp_path):
    for name, events in ways(log(20), tmp_path):
        if name not in ("parquet", "csv", "jsonl"):
            refused(events, {"signals": {"event": {}}}, "row 1, column 'event'", "is no number", "equals=")
        else:
            place = f"0.{name}: {first_of(name)}, column 'event'"
            refused(events, {"signals": {"event": {}}}, place, "is no number", "equals=")


def test_types_of_another_kind_are_refused(tmp_path):
    frame = log(20).assign(n=1, b=True)
    for name, events in ways(frame, tmp_path):
        if name == "csv":
            continue  # whose text is what it is compared with
        for column, equals in (("event", 3), ("event", True), ("n", "1"), ("b", "True"), ("n", True), ("b", 1)):
            refused(events, {"signals": {"s": {"column": column, "equals": equals}}}, f"column {column!r}", "compares")


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        ({"equals": None, "clip": 3}, "clip must be"),
        ({"equals": "a", "per": "x"}, "leave out per='x'"),
        ({"equals": "a", "clip": [0, 1]}, "leave out clip"),
        ({"equals": "a", "transform": "log1p"}, "leave out transform"),
        ({"equals": "a", "at": 2}, "leave out at=2"),
        ({"equals": []}, "equals must be"),
        ({"equals": ""}, "equals must be"),
        ({"equals": ["a", 1]}, "of one kind"),
        ({"equals": [1, True]}, "of one kind"),
        ({"equals": {"a": 1}}, "equals must be"),
        ({"equals": math.nan}, "finite"),
        ({"equals": ["a", "a"]}, "twice"),
        ({"equals": 1, "column": "*"}, "needs a column"),
        ({"optional": 1}, "optional must be True or False"),
    ],
)
def test_a_bad_signal_is_refused(signal, reason):
    with pytest.raises(fastals.FastalsError, match=reason):
        ScoreSpec.from_dict({"signals": {"s": signal}})


def test_signals_that_contradict_each_other():
    for other in ({"column": "event"}, {"column": "n", "per": "event"}, {"column": "event", "equals": 1}):
        with pytest.raises(fastals.ParameterError, match="column 'event'"):
            ScoreSpec.from_dict({"signals": {"view": TYPES["view"], "other": other}})
    ScoreSpec.from_dict({"signals": {"five": {"column": "stars", "equals": 5}, "stars": {}}})


def test_a_column_that_may_be_absent():
    frame = {"user": ["a", "b"], "item": ["x", "y"], "n": [1, 2]}
    signals = {"n": {}, "liked": {"optional": True}, "share": {"column": "n", "per": "length", "optional": True}}
    signals["bought"] = {"column": "event", "equals": "buy", "optional": True}
    for events in (frame, pd.DataFrame(frame), pa.table(frame)):
        with pytest.warns(UserWarning, match="never holds 'buy'; it holds nothing"):
            assert cells(score(events, {"signals": signals})) == {("a", "x"): 1.0, ("b", "y"): 2.0}
    refused(frame, {"signals": {"n": {}, "liked": {}}}, "column 'liked', which is not there")


def test_a_column_that_some_files_lack(tmp_path):
    """In older files, or in newer ones; in none of them all count 0."""
    old, new = (
        pd.DataFrame({"user": ["a"], "item": ["x"]}),
        pd.DataFrame({"user": ["b"], "item": ["x"], "n": [3], "e": "buy"}),
    )
    signals = {"*": {}, "n": {"optional": True, "weight": 2}, "e": {"equals": "buy", "optional": True, "weight": 0.5}}
    for first, last in ((old, new), (new, old)):
        for kind, write in (
            ("csv", lambda frame, path: frame.to_csv(path, index=False)),
            ("parquet", lambda frame, path: frame.to_parquet(path)),
            ("jsonl", lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        ):
            directory = tmp_path / kind
            directory.mkdir(exist_ok=True)
            write(first, directory / f"1.{kind}")
            write(last, directory / f"2.{kind}")
            assert cells(score(directory, {"signals": signals})) == {("a", "x"): 1.0, ("b", "x"): 7.5}
            if kind != "jsonl":
                refused(
                    directory, {"signals": {"*": {}, "n": {}}}, "column 'n'", "missing" if first is new else "not there"
                )
            if first is old:
                with pytest.warns(UserWarning, match="never holds"):
                    assert cells(score(directory / f"1.{kind}", {"signals": signals})) == {("a", "x"): 1.0}


@pytest.mark.parametrize("none", [None, np.nan, pd.NA, pd.NaT, ""])
def test_a_type_that_is_missing_is_none_of_the_values(none):
    events = {"user": [1, 2, 3], "item": [1, 2, 3], "event": np.array(["buy", none, "view"], object)}
    found = score(events, {"signals": {"b": {"column": "event", "equals": "buy"}}}).summary()
    assert {row["value"]: row["events"] for row in found["types"]["event"]} == {"buy": 1, None: 1, "view": 1}
    numbers = pl.DataFrame({"user": [1, 2], "item": [1, 2], "event": [1.0, np.nan]})
    found = score(numbers, {"signals": {"b": {"column": "event", "equals": 1}}}).summary()
    assert {row["value"]: row["events"] for row in found["types"]["event"]} == {1: 1, None: 1}


def test_what_is_neither_a_number_nor_a_type_is_refused():
    value, types = {"signals": {"n": {}}}, {"signals": {"b": {"column": "n", "equals": "buy"}}}
    ids = {"user": [1], "item": [1]}
    for column, rule in (
        (np.array(["2024-01-01"], "M8[ns]"), "must hold numbers, got datetime64[ns]"),
        (np.array([5], "m8[s]"), "must hold numbers, got timedelta64[s]"),
        (np.array([1j]), "must hold numbers, got complex128"),
        ([10**310], "is no number"),
    ):
        refused(ids | {"n": column}, value, "column 'n'", rule)
    for column in ([["buy"]], [{"buy": 1}]):
        refused(ids | {"n": column}, types, "column 'n' with text, but it holds lists or the like")
    lists = pl.DataFrame(ids | {"n": [["buy"]]})
    refused(lists, types, "column 'n' with text, but it holds values", "large_list")
    rows = np.rec.fromarrays([[1, 2], [7, 8]], names="user,item")
    assert cells(score(rows, {"signals": {"*": {}}})) == {(1, 7): 1.0, (2, 8): 1.0}


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_are_what_they_are_said_to_be(tmp_path):
    numbers = pd.DataFrame({"user": [1, 2, 1], "item": [7, 7, 8], "event": ["buy"] * 3, "t": [NOW] * 3})
    texts = numbers.assign(user=numbers.user.astype(str), item=numbers.item.astype(str))
    for frame in (numbers, texts):
        for name, events in ways(frame, tmp_path):
            for ids, users, items in (("text", ["1", "2"], ["7", "8"]), ("integer", [1, 2], [7, 8])):
                data = score(events, {"signals": {"*": {}}, "ids": ids}).interactions()
                assert (data.users.tolist(), data.items.tolist()) == (users, items), name
    guest = texts.assign(user=["1", "2", "guest-7"])
    for _, events in ways(guest, tmp_path):
        refused(
            events, {"signals": {"*": {}}, "ids": "integer"}, "column 'user'", "'guest-7' is no integer", "ids='text'"
        )


@pytest.mark.parametrize("big", [1234567890123456789, 2**64 - 1])
def test_integers_of_any_size_are_integers(big):
    for column in ([str(big), "5"], np.array([big, 5], np.uint64), pa.array([str(big), "5"])):
        for events in ({"user": column, "item": [1, 2]}, pa.table({"user": pa.array(column), "item": [1, 2]})):
            data = score(events, {"signals": {"*": {}}, "ids": "integer"}).interactions()
            assert data.users.tolist() == [5, big]
    refused({"user": [str(2**64)], "item": [1]}, {"signals": {"*": {}}, "ids": "integer"}, f"'{2**64}' is no integer")


@pytest.mark.parametrize("ids", ["text", "integer"])
def test_ids_that_cannot_be_what_they_are_said_to_be(ids):
    for column in ([uuid.UUID(int=1)], [b"ann"]):
        with pytest.raises(fastals.ArgumentTypeError, match=f"column 'user' must be strings or whole .* ids='{ids}'"):
            score({"user": column, "item": [1]}, {"signals": {"*": {}}, "ids": ids})


@pytest.mark.parametrize("ids", ["auto", "text", "integer"])
def test_no_container_holds_empty_or_missing_ids(ids):
    """Views of strings, in which polars hands its own on, too."""
    columns = [
        *(np.array(["1", none], object) for none in ("", None, np.nan, pd.NA, b"")),
        np.array(["1", ""]),
        np.array([b"1", b""]),
        np.array([1, np.nan]),
        pd.Series(["1", None]),
        pd.Series(["1", ""], dtype="category"),
        pl.Series(["1", ""]),
        pl.Series(["1", ""], dtype=pl.Categorical),
        pa.array(["1", ""], pa.string_view()),
        pa.array([b"1", b""]),
        pa.array([1, None]),
    ]
    for column in columns:
        frame = {"user": column, "item": [1, 2]}
        whole = frame
        if isinstance(column, pl.Series):
            whole = pl.DataFrame(frame)
        elif isinstance(column, pa.Array):
            whole = pa.table(frame)
        elif isinstance(column, pd.Series):
            whole = pd.DataFrame(frame)
        refused(whole, {"signals": {"*": {}}, "ids": ids}, "row 2, column 'user': the id is missing")


# --- periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [1 << 29, 20_000])
@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2024-03-01", None),
        (None, "2024-05-01T06:30:00"),
        ("90 days", None),
        (None, "7 days"),
        ("90 days", "7 days"),
        (dt.date(2024, 2, 1), pd.Timestamp("2024-05-01")),
        (1_709_251_200, None),
    ],
)
def test_a_period(since, until, memory, tmp_path):
    frame = log()
    now = (
        frame.t.max()
        if not isinstance(until, (str, dt.date)) or "days" in str(until)
        else frame.t[frame.t < pd.Timestamp(until, tz="UTC")].max()
    )

    def bound(value):
        if isinstance(value, str) and value.endswith("days"):
            return now - pd.Timedelta(value)
        return pd.Timestamp(value, tz="UTC", unit="s" if isinstance(value, int) else None)

    kept = pd.Series(True, frame.index)
    kept &= True if since is None else frame.t >= bound(since)
    kept &= True if until is None else frame.t < bound(until)
    ages = (now - frame.t).dt.total_seconds().clip(lower=0)
    frame["score"] = frame.event.map(WEIGHTS) * 0.5 ** (ages / (30 * 86_400))
    wanted = expected(frame[kept & frame.event.isin(WEIGHTS)])
    spec = ScoreSpec(TYPES, timestamp="t", half_life="30 days", since=since, until=until)
    for name, events in ways(frame.drop(columns="score"), tmp_path):
        with score(events, spec, memory=memory) as scores:
            found = cells(scores)
        assert found.keys() == wanted.keys(), name
        np.testing.assert_allclose([found[pair] for pair in wanted], list(wanted.values()), rtol=1e-6)
        summary = scores.summary()
        named = frame[frame.event.isin(WEIGHTS)]
        assert summary["events_before_since"] == (0 if since is None else (named.t < bound(since)).sum())
        assert summary["events_from_until_on"] == (0 if until is None else (named.t >= bound(until)).sum())
        again = ScoreSpec.from_dict(json.loads(json.dumps(scores.spec.to_dict())))
        assert again == scores.spec
        with score(events, again, memory=memory) as scores:
            assert cells(scores) == found


def test_training_and_test_periods_meet_and_do_not_overlap():
    frame = log()
    spec = {"signals": {"*": {}}, "timestamp": "t"}
    parts = [cells(score(frame, spec | part)) for part in ({"until": "2024-05-01"}, {"since": "2024-05-01"})]
    whole = cells(score(frame, spec))
    assert {pair: parts[0].get(pair, 0) + parts[1].get(pair, 0) for pair in whole} == whole


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_an_event_of_the_future_ages_nothing():
    days = pd.date_range("2024-05-01", periods=3, tz="UTC")
    frame = pd.DataFrame(
        {"user": ["a", "b", "c"], "item": ["x"] * 3, "t": [*days[:2], pd.Timestamp("2099-01-01", tz="UTC")]}
    )
    spec = {"signals": {"*": {}}, "timestamp": "t", "half_life": "1 day"}
    with pytest.warns(UserWarning, match="1 events are later than now and have age 0"):
        scores = score(frame, spec)
    assert cells(scores) == {("a", "x"): 0.5, ("b", "x"): 1.0, ("c", "x"): 1.0}
    assert scores.n_later == scores.summary()["later_events"] == 1
    assert scores.summary()["now"] == "2024-05-02T00:00:00Z"
    assert scores.spec.now == days[1].timestamp()
    refused(frame, spec | {"later": "error"}, "events: row 3, column 't': 2099-01-01T00:00:00Z is later than now")
    given = score(frame, spec | {"now": "2024-05-01"})  # what is asked for is no reason to warn
    assert given.n_later == 2
    assert set(cells(given).values()) == {1.0}
    refused(frame, spec | {"now": "2024-05-01", "later": "error"}, "row 2", "later than now, 2024-05-01T00:00:00Z")
    cut = score(frame, spec | {"until": "2024-05-03"})
    assert cut.n_later == 0
    assert cells(cut) == {("a", "x"): 0.5, ("b", "x"): 1.0}


def test_all_events_may_be_later():
    frame = {"user": ["a"], "item": ["x"], "t": ["2099-01-01"]}
    with pytest.warns(UserWarning, match="later than now"):
        assert cells(score(frame, {"signals": {"*": {}}, "timestamp": "t", "half_life": 1})) == {("a", "x"): 1.0}


def test_now_may_be_the_clock(monkeypatch):
    monkeypatch.setattr("fastals.scoring._kept.clock", lambda: NOW.value)
    frame = {"user": ["a"], "item": ["x"], "t": [NOW - pd.Timedelta("2 days")]}
    spec = {"signals": {"*": {}}, "timestamp": "t", "half_life": "1 day"}
    assert cells(score(frame, spec | {"now": "now"})) == {("a", "x"): 0.25}
    assert cells(score(frame, spec)) == {("a", "x"): 1.0}
    assert score(frame, spec | {"now": "now"}).spec.now == NOW.timestamp()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_numbers(unit, tmp_path):
    frame = log(200)
    wanted = cells(score(frame, {"signals": TYPES, "timestamp": "t", "half_life": "30 days"}))
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    numbers = frame.assign(t=frame.t.astype("datetime64[ns, UTC]").astype("int64") // factor)
    spec = {"signals": TYPES, "timestamp": "t", "half_life": "30 days"}
    for name, events in ways(numbers, tmp_path):
        assert cells(score(events, spec | {"unit": unit})) == wanted, name
        if unit != "s":
            refused(events, spec, f"{first_of(name)}, column 't'", f"fits unit='{unit}'")
    for name, events in ways(frame, tmp_path):
        refused(
            events, spec | {"unit": unit}, "column 't'", "unit" if name != "csv" and name != "jsonl" else "is no number"
        )


def test_formats_and_zones_of_times(tmp_path):
    frame = log(200)
    local = frame.assign(t=frame.t.dt.tz_convert("America/New_York").dt.strftime("%d/%m/%Y %H:%M:%S"))
    spec = {"signals": TYPES, "timestamp": "t", "half_life": "30 days"}
    wanted = cells(score(frame, spec))
    options = {"format": "%d/%m/%Y %H:%M:%S", "timezone": "America/New_York"}
    for name, events in ways(local, tmp_path):
        assert cells(score(events, spec | options)) == wanted, name
        refused(events, spec, f"{first_of(name)}, column 't'", "is no time")
    days = frame.assign(t=frame.t.dt.strftime("%Y%m%d").astype(int))
    for name, events in ways(days, tmp_path):
        assert cells(score(events, spec | {"format": "%Y%m%d"})) == cells(
            score(frame.assign(t=frame.t.dt.normalize()), spec)
        ), name
        refused(events, spec, f"{first_of(name)}, column 't'", "fits format='%Y%m%d'")


def test_the_last_event_is_found_among_numbers_of_any_unit(tmp_path):
    near = [1714557600000000001, 1714557600000000003, 1714557600000000002]
    for times in (near, [3, 9, 4], [0.25, 0.75, 0.5], [-3, 0, -1], ["2024-01-01", "2024-01-03", "2024-01-02"]):
        frame = pd.DataFrame({"user": ["a"] * 3, "item": ["x"] * 3, "event": [1.0, 2.0, 3.0], "t": times})
        for name, events in ways(frame, tmp_path):
            found = score(events, {"signals": {"event": {}}, "timestamp": "t", "aggregate": "last"})
            assert cells(found) == {("a", "x"): 2.0}, (name, times)
    (tmp_path / "mixed.csv").write_text("user,item,t\na,x,3\na,x,1.5\n")
    assert cells(score(tmp_path / "mixed.csv", {"signals": {"*": {}}, "timestamp": "t", "aggregate": "last"}))


# --- robots, and who has too little ----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [1 << 29, 20_000])
@pytest.mark.parametrize(
    "bounds",
    [
        {"max_user_events": 150},
        {"min_item_events": 60},
        {"min_user_events": 30},
        {"min_user_events": 30, "min_item_events": 60},
        {"min_user_events": 30, "min_item_events": 60, "max_user_events": 150},
        {"min_user_events": 10, "min_item_events": 60, "max_user_events": 150, "since": "2024-03-01"},
        {"min_item_events": 60, "max_user_events": 150, "until": "20 days"},
    ],
)
def test_events_of_users_and_items(bounds, memory, tmp_path):
    frame = log()
    kept = frame[frame.event.isin(WEIGHTS)]
    if "since" in bounds:
        kept = kept[kept.t >= pd.Timestamp(bounds["since"], tz="UTC")]
    if "until" in bounds:
        kept = kept[kept.t < kept.t.max() - pd.Timedelta(bounds["until"])]

    def size(column):
        return kept.groupby(column)[column].transform("size")

    robots = kept.user[size("user") > bounds.get("max_user_events", math.inf)].nunique()
    kept = kept[size("user") <= bounds.get("max_user_events", math.inf)]
    rare_items = kept.item[size("item") < bounds.get("min_item_events", 0)].nunique()
    users_before = kept.user.nunique()
    kept = kept[size("item") >= bounds.get("min_item_events", 0)]
    kept = kept[size("user") >= bounds.get("min_user_events", 0)]
    wanted = expected(kept.assign(score=kept.event.map(WEIGHTS)))
    assert 0 < len(wanted) < len(expected(log().assign(score=1)))
    for name, events in ways(frame, tmp_path):
        with score(events, {"signals": TYPES, "timestamp": "t"} | bounds, memory=memory) as scores:
            assert cells(scores) == pytest.approx(wanted), name
            summary = scores.summary()
        assert summary["users_above_max_user_events"] == robots
        assert summary["items_below_min_item_events"] == rare_items
        assert summary["users_below_min_user_events"] == (users_before - kept.user.nunique()) * (
            "min_user_events" in bounds
        )


def test_temporary_files_go_where_counting_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("fastals.scoring._kept.Kept.within", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score(log(), {"signals": TYPES, "min_item_events": 2}, memory=1000)
    assert list(tmp_path.iterdir()) == []


def test_nothing_may_be_left():
    scores = score(log(), {"signals": TYPES, "min_user_events": 10**6})
    with pytest.raises(
        fastals.DataError, match=r"no score is left of 4000 events: .* users with fewer than 1000000 events"
    ):
        scores.interactions()


# --- the specification -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"unit": "m"}, "unit must be one of"),
        ({"unit": "ms", "format": "%Y-%m-%d"}, "leave out one of them"),
        ({"format": "%d/%m"}, "year, month and day"),
        ({"timezone": "Mars/Olympus"}, "timezone must be an IANA name"),
        ({"now": "20240504"}, "now must be a date and time"),
        ({"now": 20240504}, "now must be a date and time"),
        ({"now": 1714557600000}, "fits unit='ms'"),
        ({"now": True}, "now must be"),
        ({"now": "3 days"}, "now must be"),
        ({"since": "now"}, "since must be"),
        ({"since": "last week"}, "since must be"),
        ({"since": "3 moons"}, "since must be"),
        ({"until": "0 days"}, "until must be > 0"),
        ({"since": "2024-02-01", "until": "2024-01-01"}, "since='2024-02-01' must be before until='2024-01-01'"),
        ({"since": "7 days", "until": "30 days"}, "must be before"),
        ({"later": "ignore"}, "later must be one of 'count', 'error'"),
        ({"min_user_events": 0}, "min_user_events must be >= 1"),
        ({"min_item_events": 1.5}, "min_item_events must be an integer"),
        ({"min_user_events": 5, "max_user_events": 4}, "must not be above"),
        ({"ids": "string"}, "ids must be one of 'auto'"),
        ({"since": "2024-01-01", "timestamp": None}, "since needs timestamp"),
        ({"until": "2024-01-01", "timestamp": None}, "until needs timestamp"),
        ({"later": "error", "timestamp": None}, "later='error' needs timestamp"),
    ],
)
def test_a_bad_specification_is_refused(given, reason):
    with pytest.raises(fastals.FastalsError, match=reason):
        ScoreSpec.from_dict({"signals": TYPES, "timestamp": "t"} | given)


def test_dates_of_settings_come_and_go_as_text(tmp_path):
    pytest.importorskip("tomllib")
    (tmp_path / "s.toml").write_text(
        'timestamp = "t"\nnow = 2024-06-01T12:00:00Z\nsince = 2024-01-01\nuntil = 2024-05-01T10:00:00\nunit = "ms"\n'
        'timezone = "Europe/Berlin"\nmin_item_events = 3\nids = "text"\n'
        '[signals.buy]\ncolumn = "event"\nequals = ["buy", "order"]\noptional = true\n'
    )
    spec = ScoreSpec.load(tmp_path / "s.toml")
    plain = spec.to_dict()
    assert plain["now"] == "2024-06-01T12:00:00+00:00"
    assert plain["since"] == "2024-01-01"
    assert plain["signals"] == {"buy": {"column": "event", "equals": ["buy", "order"], "optional": True}}
    assert ScoreSpec.from_dict(json.loads(json.dumps(plain))) == spec
    assert ScoreSpec.from_dict({"signals": {"a": {}}}).to_dict() == {"signals": {"a": {}}}


def test_a_zone_is_that_of_the_bounds_too():
    frame = {"user": ["a", "b"], "item": ["x", "x"], "t": ["2024-05-01T21:59:00Z", "2024-05-01T22:00:00Z"]}
    spec = {"signals": {"*": {}}, "timestamp": "t", "since": "2024-05-02", "timezone": "Europe/Berlin"}
    assert cells(score(frame, spec)) == {("b", "x"): 1.0}


def test_a_log_of_nothing():
    scores = score({"user": [], "item": [], "event": [], "t": []}, {"signals": TYPES, "timestamp": "t", "half_life": 1})
    assert scores.summary()["events"] == 0
    assert scores.notes() == []
