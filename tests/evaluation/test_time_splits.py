"""Splits by time: every form of times, against pandas."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

import fastals
from fastals.evaluation import leave_last_out, split_at_time

USERS, ITEMS = ["a", "a", "b", "b", "a"], ["x", "y", "x", "y", "x"]
DAYS = pd.date_range("2024-01-01", periods=5)

FORMS = {
    "numpy": DAYS.to_numpy(),
    "index": DAYS,
    "series": pd.Series(DAYS),
    "zoned": pd.Series(DAYS.tz_localize("UTC")),
    "polars": pl.Series(DAYS.to_numpy()),
    "arrow": pa.array(DAYS),
    "datetimes": list(DAYS.to_pydatetime()),
    "dates": list(DAYS.date),
    "date32": pa.array(list(DAYS.date)),
    "text": list(DAYS.strftime("%Y-%m-%d")),
    "text with Z": list(DAYS.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "seconds": [int(day.timestamp()) for day in DAYS],
    "text of seconds": [str(int(day.timestamp())) for day in DAYS],
    "floats": np.array([day.timestamp() for day in DAYS]),
}


def dense(parts):
    return [part.matrix.toarray().tolist() for part in parts]


@pytest.mark.parametrize("form", FORMS)
def test_times_of_every_form(form):
    times = FORMS[form]
    assert dense(leave_last_out((USERS, ITEMS), times)) == [[[2, 0], [1, 0]], [[0, 1], [0, 1]]]
    for at in ("2024-01-03", dt.date(2024, 1, 3), dt.datetime(2024, 1, 3), DAYS[2], DAYS[2].to_datetime64(), "2 days"):
        expected = [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]
        assert dense(split_at_time((USERS, ITEMS), times, at)) == expected
        frame = pd.DataFrame({"user": USERS, "item": ITEMS, "value": [1.0] * 5})
        assert dense(split_at_time(frame, times, at)) == expected
    frame = {"user": USERS, "item": ITEMS, "when": times}
    assert dense(split_at_time(frame, "when", "2024-01-03")) == expected
    assert dense(leave_last_out(frame, "when")) == dense(leave_last_out((USERS, ITEMS), times))


@pytest.mark.parametrize("duplicates", ["sum", "last", "max", "mean"])
def test_a_split_at_a_time_is_that_of_pandas(duplicates):
    rng = np.random.default_rng(0)
    n = 400
    log = pd.DataFrame(
        {
            "user": [f"u{i}" for i in rng.integers(0, 20, n)],
            "item": rng.integers(0, 15, n),
            "value": rng.integers(1, 6, n).astype(float),
            "t": rng.integers(0, 1000, n),
        }
    )
    train, test = split_at_time((log.user, log.item, log.value), log.t, 600, duplicates=duplicates)
    before, after = log[log.t < 600], log[log.t >= 600]
    known = set(zip(before.user, before.item, strict=True))
    after = after[[pair not in known for pair in zip(after.user, after.item, strict=True)]]
    for part, events in ((train, before), (test, after)):
        wanted = events.groupby(["user", "item"]).value.agg(duplicates)
        users = np.repeat(part.users, np.diff(part.indptr))
        found = dict(zip(zip(users, part.items[part.indices], strict=True), part.values.tolist(), strict=True))
        assert found == pytest.approx(wanted.to_dict())
        assert part.users.tolist() == sorted(set(log.user))
        assert part.items.tolist() == sorted(set(log.item))


def test_nanoseconds_and_big_integers_keep_their_order():
    near = np.array([1714557600000000001, 1714557600000000002, 1714557600000000003])
    users, items = ["a"] * 3, ["x", "y", "z"]
    for times in (near, near.tolist(), near.astype("M8[ns]"), near.astype(np.uint64), pa.array(near.astype("M8[ns]"))):
        assert leave_last_out((users, items), times)[1].matrix.toarray().tolist() == [[0, 0, 1]]
        assert leave_last_out((users, items[::-1]), times)[1].matrix.toarray().tolist() == [[1, 0, 0]]
    assert split_at_time((users, items), near, 1714557600000000002)[0].matrix.toarray().tolist() == [[1, 0, 0]]


def test_units_formats_and_zones():
    ms = [1704067200000, 1704153600000]
    for options in ({"unit": "ms"}, {"unit": "ms", "timezone": "Asia/Tokyo"}):
        assert dense(split_at_time((["a", "a"], ["x", "y"]), ms, "2024-01-01T12:00Z", **options)) == [
            [[1, 0]],
            [[0, 1]],
        ]
    assert dense(split_at_time((["a", "a"], ["x", "y"]), ms, 1704100000000, unit="ms")) == [[[1, 0]], [[0, 1]]]
    local = ["01.02.2024 00:30", "31.01.2024 23:30"]
    assert dense(leave_last_out((["a", "a"], ["x", "y"]), local, format="%d.%m.%Y %H:%M")) == [[[0, 1]], [[1, 0]]]
    zoned = split_at_time(
        (["a", "a"], ["x", "y"]), local, "2024-02-01", format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"
    )
    assert dense(zoned) == [[[0, 1]], [[1, 0]]]


def test_what_is_refused():
    pair = ["a", "a"], ["x", "y"]
    for call in (lambda t: leave_last_out(pair, t), lambda t: split_at_time(pair, t, "2024-01-01")):
        for times, reason in (
            ([True, False], r"timestamps must be times.*True \(bool\) at position 0"),
            (["2024-01-01", None], "timestamps, position 1: the time is missing"),
            (["2024-01-01", "soon"], "timestamps, position 1: 'soon' is no time"),
            (["2024-01-01"], "lengths must be equal"),
            ([[1], [2]], "timestamps must be"),
        ):
            with pytest.raises(fastals.FastalsError, match=reason):
                call(times)
    for times, at, reason in (
        ([1704067200000, 1704153600000], "2024-01-01", "fits unit='ms'"),
        ([20240101, 20240102], "2024-01-02", "fits format='%Y%m%d'"),
        (["2024-01-01", "2024-01-02"], "99999999999 years", "no event is before '99999999999 years'"),
        ([1704067200, 1704153600], "20240101", "at must be a date and time"),
        (["2024-01-01", "2024-01-02"], 20240102, "at must be a date and time"),
        (["2024-01-01", "2024-01-02"], "2024-01-01", "no event is before '2024-01-01'"),
        (["2024-01-01", "2024-01-02"], "2025-01-01", "no event is at or after '2025-01-01'"),
        (["2024-01-01", "2024-01-02"], True, "at must be"),
        (["2024-01-01", "2024-01-02"], "3 moons", "at must be"),
        (np.array([1, 2], "m8[D]"), 1, "durations"),
        ([1.0, 2.0], float("nan"), "the time is missing"),
    ):
        with pytest.raises(fastals.FastalsError, match=reason):
            split_at_time(pair, times, at)
    with pytest.raises(fastals.DataError, match="new to them"):
        split_at_time((["a", "a"], ["x", "x"]), [1, 2], 2)
    for data in (fastals.Interactions.from_arrays(*pair), [pair], pair[0]):
        with pytest.raises(fastals.ArgumentTypeError, match="data must be a tuple"):
            split_at_time(data, [1, 2], 2)
    with pytest.raises(fastals.DataError, match="'when' is not there; the columns are 'user', 'item'"):
        split_at_time(pd.DataFrame({"user": ["a"], "item": ["x"]}), "when", 2)
    with pytest.raises(fastals.FastalsError, match="duplicates"):
        split_at_time(pair, [1, 2], 2, duplicates="keep")


def test_repeats_are_refused_within_a_part():
    again = ["a", "a", "a"], ["x", "x", "y"]
    assert_array_equal(split_at_time(again, [1, 3, 3], 2, duplicates="error")[0].matrix.toarray(), [[1, 0]])
    with pytest.raises(fastals.DataError):
        split_at_time(again, [1, 1, 3], 2, duplicates="error")


def test_parts_remember_that_repeats_were_added():
    """And explicit models refuse those."""
    train, test = split_at_time((["a", "a", "a"], ["x", "x", "y"], [5, 4, 3]), [1, 1, 3], 2)
    assert (train.summed, test.summed) == (True, False)
