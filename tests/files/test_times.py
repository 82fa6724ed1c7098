"""Times: every container, every form, declared or not, against Python's datetime and pandas."""

import datetime as dt
import decimal
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastals
from fastals._files import Times, civil, is_span, iso, numerals, plain, seconds_of, span_seconds, time_columns

UTC, BERLIN = dt.timezone.utc, zoneinfo.ZoneInfo("Europe/Berlin")
MOMENTS = [
    dt.datetime(2024, 5, 1, 10, 0, tzinfo=UTC),
    dt.datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    dt.datetime(2024, 2, 29, 0, 0, 1, tzinfo=UTC),
]
EXPECTED = [round(moment.timestamp()) * 10**9 for moment in MOMENTS]


@pytest.fixture(params=["pyarrow", "no pyarrow"])
def _with_and_without(request, monkeypatch):
    if request.param == "no pyarrow":
        monkeypatch.setattr(time_columns, "has_pyarrow", lambda: False)


def frames(values):
    """The same values in every container that holds them as they are."""
    yield "list", values
    yield "tuple", tuple(values)
    yield "objects", np.array([*values, None], dtype=object)[:-1]
    yield "pandas", pd.Series(values)
    yield "polars", pl.Series(values)
    yield "arrow", pa.array(values)
    yield "chunks", pa.chunked_array([pa.array(values[:1]), pa.array(values[1:])])


TEXTS = {
    "Z": [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in MOMENTS],
    "lower case": [moment.strftime("%Y-%m-%dt%H:%M:%Sz") for moment in MOMENTS],
    "space": [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in MOMENTS],
    "UTC": [moment.strftime("%Y-%m-%d %H:%M:%S UTC") for moment in MOMENTS],
    "+00:00": [moment.isoformat() for moment in MOMENTS],
    "+02:00": [moment.astimezone(BERLIN).isoformat() for moment in MOMENTS],
    "+0200": [moment.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S%z") for moment in MOMENTS],
    " -05": [
        moment.astimezone(dt.timezone(-dt.timedelta(hours=5))).strftime("%Y-%m-%dT%H:%M:%S -05") for moment in MOMENTS
    ],
    "basic": [moment.strftime("%Y%m%dT%H%M%SZ") for moment in MOMENTS],
    "digits": [str(second // 10**9) for second in EXPECTED],
    "decimals": [f"{second // 10**9}.0" for second in EXPECTED],
    **{f"fraction {n}": [m.strftime("%Y-%m-%dT%H:%M:%S.") + "0" * n + "Z" for m in MOMENTS] for n in range(1, 10)},
}
TEXTS["all at once"] = [texts[i % 3] for i, texts in enumerate(TEXTS.values())]


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize("form", TEXTS)
def test_text_of_every_form_in_every_container(form):
    expected = [EXPECTED[i % 3] for i in range(len(TEXTS[form]))]
    kinds = [np.array(TEXTS[form]), pd.Categorical(TEXTS[form]), pa.array(TEXTS[form]).dictionary_encode()]
    kinds += [pa.array(TEXTS[form], pa.large_string()), pl.Series(TEXTS[form], dtype=pl.Categorical)]
    for name, column in [*frames(TEXTS[form]), *enumerate(kinds)]:
        if time_columns.has_pyarrow() or not str(type(column)).startswith("<class 'pyarrow"):
            assert Times().nanoseconds("t", column).tolist() == expected, name


NAIVE = [moment.replace(tzinfo=None) for moment in MOMENTS]


@pytest.mark.usefixtures("_with_and_without")
def test_dates_of_every_library():
    columns = [
        *frames(NAIVE),
        *frames(MOMENTS),
        *((unit, np.array(NAIVE, f"M8[{unit}]")) for unit in ("s", "ms", "us", "ns")),
        *((unit, pa.array(NAIVE, pa.timestamp(unit))) for unit in ("s", "ms", "us", "ns")),
        *((zone, pa.array(MOMENTS, pa.timestamp("us", zone))) for zone in ("UTC", "Asia/Tokyo", "-03:00")),
        ("berlin", pd.Series(MOMENTS).dt.tz_convert("Europe/Berlin")),
        ("index", pd.DatetimeIndex(MOMENTS).tz_convert("Asia/Tokyo")),
        ("polars", pl.Series(NAIVE).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")),
        ("timestamps", [pd.Timestamp(moment) for moment in MOMENTS]),
        ("zoned timestamps", [pd.Timestamp(moment).tz_convert("Asia/Tokyo") for moment in MOMENTS]),
        ("datetime64", [np.datetime64(moment) for moment in NAIVE]),
        ("units", [np.datetime64(NAIVE[0], "s"), np.datetime64(NAIVE[1], "ms"), np.datetime64(NAIVE[2], "ns")]),
    ]
    for name, column in columns:
        if time_columns.has_pyarrow() or not str(type(column)).startswith("<class 'pyarrow"):
            assert Times().nanoseconds("t", column).tolist() == EXPECTED, name


def test_days():
    days = [moment.date() for moment in MOMENTS]
    expected = [round(dt.datetime(*day.timetuple()[:3], tzinfo=UTC).timestamp()) * 10**9 for day in days]
    columns = [*frames(days), *enumerate([pa.array(days, pa.date64()), np.array(days, "M8[D]"), [*map(str, days)]])]
    for name, column in columns:
        assert Times().nanoseconds("t", column).tolist() == expected, name
    assert Times().nanoseconds("t", [days[0], NAIVE[0]]).tolist() == [expected[0], EXPECTED[0]]
    months, years = np.array(["2024-05", "1999-01"], "M8[M]"), np.array(["2024", "1999"], "M8[Y]")
    assert [iso(t) for t in Times().nanoseconds("t", months).tolist()] == [
        "2024-05-01T00:00:00Z",
        "1999-01-01T00:00:00Z",
    ]
    assert [iso(t) for t in Times().nanoseconds("t", years).tolist()] == [
        "2024-01-01T00:00:00Z",
        "1999-01-01T00:00:00Z",
    ]


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_declared_unit_is_obeyed(unit):
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    numbers = [t // factor for t in EXPECTED] + [-5, 0]
    expected = [*EXPECTED, -5 * factor, 0]
    columns = [*frames(numbers), *frames([*map(str, numbers)]), ("int64", np.array(numbers))]
    columns += [("decimal", pa.array(numbers).cast(pa.decimal128(30, 0)))]
    if unit != "ns":  # a float64 holds no nanoseconds of today
        columns += [*frames([*map(float, numbers)]), ("decimals", [*map(decimal.Decimal, numbers)])]
    for name, column in columns:
        if time_columns.has_pyarrow() or not str(type(column)).startswith("<class 'pyarrow"):
            assert Times(unit).nanoseconds("t", column).tolist() == expected, name


def test_fractions_of_numbers():
    assert Times("ms").nanoseconds("t", [1714557600000.5]).tolist() == [1714557600000500000]
    assert Times("s").nanoseconds("t", [-0.25, 0.75]).tolist() == [-250_000_000, 750_000_000]
    assert Times().nanoseconds("t", ["1714557600.25"]).tolist() == [1714557600250000000]


@given(st.lists(st.floats(631_152_000, 1_700_000_000), min_size=1))
def test_seconds_come_back_to_the_bit(numbers):
    assert seconds_of(Times().nanoseconds("t", np.array(numbers))).tolist() == numbers


@given(st.lists(st.datetimes(dt.datetime(1680, 1, 1), dt.datetime(2260, 1, 1)), min_size=1, max_size=5))
def test_any_moment_in_any_form(moments):
    expected = pd.Series(moments, dtype="datetime64[us]").astype("datetime64[ns]").astype("int64").tolist()
    texts = [moment.isoformat() for moment in moments]
    format = "%d.%m.%Y %H:%M:%S.%f"
    written = [f"{m.day}.{m.month}.{m.year} {m.hour}:{m.minute}:{m.second}.{m.microsecond:06}" for m in moments]
    for rules, column in ((Times(), moments), (Times(), texts), (Times(format=format), written)):
        assert rules.nanoseconds("t", column).tolist() == expected
        if column is not moments:
            assert rules.nanoseconds("t", pa.array(column)).tolist() == expected
            for pattern in rules.patterns or civil.ISO[:1]:
                for some in (column, pa.array(column)):
                    found = civil.read(pattern, some, "UTC")
                    assert found[1].all()
                    assert found[0].tolist() == expected


# --- formats ---------------------------------------------------------------------------------------------------------


FORMATS = [
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%y %I:%M:%S %p",
    "%Y%m%d%H%M%S",
    "%d%m%y %H%M%S",
    "%a %b %d %H:%M:%S %z %Y",
    "%A, %d %B %Y %H:%M:%S",
    "%d-%b-%Y %H.%M.%S,%f",
    "[%d/%b/%Y:%H:%M:%S %z]",
    "100%% %Y-%m-%dT%H:%M:%S",
]


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize("format", FORMATS)
def test_formats_are_those_of_strptime(format):
    texts = [moment.strftime(format) for moment in MOMENTS]
    for name, column in frames(texts):
        if time_columns.has_pyarrow() or not str(type(column)).startswith("<class 'pyarrow"):
            assert Times(format=format).nanoseconds("t", column).tolist() == EXPECTED, name
    parsed = [dt.datetime.strptime(text, format) for text in texts]
    assert [round(p.replace(tzinfo=p.tzinfo or UTC).timestamp()) * 10**9 for p in parsed] == EXPECTED


def test_numbers_are_dates_where_a_format_says_so():
    for column in (
        [20240131],
        np.array([20240131]),
        [20240131.0],
        ["20240131"],
        pa.array([20240131]),
        pl.Series([20240131]),
    ):
        assert [iso(t) for t in Times(format="%Y%m%d").nanoseconds("t", column).tolist()] == ["2024-01-31T00:00:00Z"]
    with pytest.raises(fastals.DataError, match="'1052024' is no time of format='%d%m%Y'"):
        Times(format="%d%m%Y").nanoseconds("t", [1052024])
    with pytest.raises(fastals.DataError, match=r"20240131\.5 is no whole number"):
        Times(format="%Y%m%d").nanoseconds("t", [20240131.5])


def test_several_formats():
    rules = Times(format=["%d/%m/%Y %H:%M", "%Y-%m-%d"])
    for texts in (["01/02/2024 8:05", "2024-02-01"], pa.array(["01/02/2024 8:05", "2024-02-01"])):
        found = rules.nanoseconds("t", texts)
        assert [iso(t) for t in found.tolist()] == ["2024-02-01T08:05:00Z", "2024-02-01T00:00:00Z"]


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("%d/%m/%Y", "31/02/2024"),
        ("%d/%m/%Y", "1/2/24"),
        ("%d/%m/%Y", "29/02/2023"),
        ("%d/%m/%Y", "00/02/2023"),
        ("%d/%m/%Y", "1/13/2023"),
        ("%d/%m/%Y %H:%M", "1/1/2023 24:00"),
        ("%d/%m/%Y %I:%M %p", "1/1/2023 13:00 pm"),
        ("%d/%m/%Y %z", "1/1/2023 +25:00"),
        ("%d/%m/%Y", "01/02/2024 "[:-1] + "x"),
        (None, "2024-02-30"),
        (None, "2024-13-01"),
        (None, "2024-01-01T25:00:00"),
        (None, "2024-01-01T10:61:00"),
        (None, "2024-01-01T10:00:61"),
        (None, "2024-01-01T10:00:00.0000000001"),
        (None, "2024-01-01T10:00:00+99:00"),
        (None, "9999-12-31"),
        (None, "1600-01-01"),
        (None, "2024"),
        (None, "2024-05"),
        (None, "01/05/2024"),
        (None, "yesterday"),
        (None, "\u0662\u0660\u0662\u0664-\u0660\u0661-\u0660\u0661"),
        (None, "2024-01-01T10:00:00\n2024-01-01T10:00:00"),
    ],
)
def test_what_is_no_time(format, text):
    for column in ([text], ["2024-01-01" if format is None else "01/01/2024", text]):
        for values in (column, np.array(column), pd.Series(column)):
            with pytest.raises(fastals.DataError, match="position"):
                Times(format=format).nanoseconds("t", values)


def test_a_leap_second_is_the_next_minutes_first():
    found = Times().nanoseconds("t", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00Z"])
    assert (found - found[2]).tolist() == [0, 500_000_000, 0]


# --- zones -----------------------------------------------------------------------------------------------------------


ZONES = [
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Africa/Monrovia",
]


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_are_those_of_zoneinfo(zone):
    """Among them each second about each change of the clocks, where only the first of two is meant."""
    info, rng = zoneinfo.ZoneInfo(zone), np.random.default_rng(0)
    start = dt.datetime(1970, 1, 1)
    local = [start + dt.timedelta(seconds=int(s)) for s in rng.integers(0, 60 * 31_556_952, 2000)]
    days = [start + dt.timedelta(days=d) for d in range(60 * 365)]
    changes = [
        day
        for day in days
        if day.replace(tzinfo=info).utcoffset() != (day + dt.timedelta(1)).replace(tzinfo=info).utcoffset()
    ]
    local += [day + dt.timedelta(seconds=int(s)) for day in changes[:40] for s in rng.integers(0, 86_400, 100)]
    expected = [round((m - start - m.replace(tzinfo=info).utcoffset()).total_seconds()) * 10**9 for m in local]
    for column in (local, [str(m) for m in local], pa.array(local), np.array(local, "M8[s]")):
        assert Times(timezone=zone).nanoseconds("t", column).tolist() == expected


def test_hours_that_come_twice_or_not_at_all():
    found = Times(timezone="Europe/Berlin").nanoseconds(
        "t", ["2024-10-27 02:30", "2024-03-31 02:30", "2024-03-31 03:30"]
    )
    assert [iso(t) for t in found.tolist()] == ["2024-10-27T00:30:00Z", "2024-03-31T01:30:00Z", "2024-03-31T01:30:00Z"]
    told = Times(timezone=BERLIN).nanoseconds(
        "t", ["2024-10-27T02:30+01:00", "2024-10-27T02:30+02:00", "2024-10-27T02:30Z"]
    )
    assert [iso(t) for t in told.tolist()] == ["2024-10-27T01:30:00Z", "2024-10-27T00:30:00Z", "2024-10-27T02:30:00Z"]


def test_what_tells_its_zone_needs_none():
    for column in (
        MOMENTS,
        pd.Series(MOMENTS),
        pl.Series(MOMENTS),
        pa.array(MOMENTS, pa.timestamp("s", "UTC")),
        EXPECTED,
    ):
        assert (
            Times("ns" if column is EXPECTED else None, timezone="Asia/Tokyo").nanoseconds("t", column).tolist()
            == EXPECTED
        )


# --- what nobody has declared ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_with_and_without")
@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (1714557600000, "fits unit='ms'"),
        (1714557600000000, "fits unit='us'"),
        (1714557600000000000, "fits unit='ns'"),
        (1714557600000.5, "fits unit='ms'"),
        (20240131, "fits format='%Y%m%d'"),
        (202401311200, "fits format='%Y%m%d%H%M'"),
        (20240131120000, "fits format='%Y%m%d%H%M%S'"),
        (20241331, "would be in the year 1970 .* say unit="),
        (0, "would be in the year 1970"),
        (-1, "would be in the year 1969"),
        (4_102_444_800, "would be in the year 2100"),
        (1e300, "would be in no year"),
    ],
)
def test_numbers_that_are_no_seconds(number, hint):
    for column in ([number], [str(number)], np.array([number]), pd.Series([number]), pl.Series([number])):
        with pytest.raises(fastals.DataError, match=f"t, position 0: .*{hint}"):
            Times().nanoseconds("t", column)
    with pytest.raises(fastals.ParameterError, match="now must be a date and time"):
        Times().moment("now", number)
    assert Times().ordered("t", [number, number]).tolist() == [number, number]


def test_contradictions():
    for unit_or_format in ({"unit": "ms"}, {"format": "%Y"[:2] + "-%m-%d"}):
        for column in (pd.Series(NAIVE), pa.array(NAIVE), NAIVE, np.array(NAIVE, "M8[s]")):
            with pytest.raises(fastals.ParameterError, match="t holds dates and times already: leave out"):
                Times(**unit_or_format).nanoseconds("t", column)
    with pytest.raises(fastals.DataError, match="'2024-01-01' is no number"):
        Times("ms").nanoseconds("t", ["2024-01-01"])
    with pytest.raises(fastals.ParameterError, match="leave out one"):
        Times("ms", "%Y-%m-%d")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"unit": "m"}, "unit must be one of 's'"),
        ({"format": 3}, "format must be a pattern"),
        ({"format": []}, "format must be a pattern"),
        ({"format": "%Y"}, "year, month and day"),
        ({"format": "%d/%m"}, "year, month and day"),
        ({"format": "%Y-%m-%d %Q"}, "not '%Q'"),
        ({"format": "%Y-%m-%d %"}, "not '%'"),
        ({"format": "%Y-%m-%d %m"}, "once"),
        ({"format": "%Y-%m-%d %I"}, "%I and %p together"),
        ({"timezone": "Berlin"}, "IANA name"),
        ({"timezone": ""}, "IANA name"),
        ({"timezone": 2}, "IANA name"),
        ({"timezone": "../etc/passwd"}, "IANA name"),
    ],
)
def test_rules_that_are_none(rules, reason):
    with pytest.raises(fastals.FastalsError, match=reason):
        Times(**rules)


# --- what is missing, or no time at all ------------------------------------------------------------------------------


@pytest.mark.usefixtures("_with_and_without")
def test_missing_times():
    first = {"text": "2024-01-01", "number": 1.7e9, "date": NAIVE[0], "zoned": MOMENTS[0]}
    nothing = [None, float("nan"), pd.NaT, pd.NA, np.datetime64("NaT"), ""]
    columns = [[value, missing] for value in first.values() for missing in nothing]
    columns += [
        np.array(["2024-01-01", "NaT"], "M8[D]"),
        np.array([1.7e9, np.nan]),
        ["2024-01-01", None],
    ]
    columns += [pd.Series([NAIVE[0], None]), pd.Series([1_700_000_000, None], dtype="Int64"), pl.Series([1.7e9, None])]
    for column in columns:
        with pytest.raises(fastals.DataError, match="t, position 1: the time is missing"):
            Times().nanoseconds("t", column)
        told = []
        found = Times().nanoseconds("t", column, lambda at, what, told=told: told.append((at, what)))
        assert told == [(1, "the time is missing")]
        assert found[1] == 0 < found[0]


def test_all_bad_ones_are_told_and_the_others_are_read():
    texts = ["2024-05-01T10:00:00Z", "", "later", "1714557600000", "1714557600", "2024-05-01 12:00+02:00", None]
    for column in (texts, pa.array(texts)):
        told = {}
        found = Times().nanoseconds("t", column, told.__setitem__)
        assert found.tolist() == [EXPECTED[0], 0, 0, 0, EXPECTED[0], EXPECTED[0], 0]
        assert sorted(told) == [1, 2, 3, 6]
        assert "missing" in told[1]
        assert "'later' is no time" in told[2]
        assert "unit='ms'" in told[3]


@pytest.mark.parametrize(
    "column",
    [
        [True, False],
        np.array([True]),
        pa.array([True]),
        pl.Series([True]),
        pd.Series([True]),
        [b"2024-01-01"],
        pa.array([b"2024-01-01"]),
        [["2024-01-01"]],
        [1.5, True],
        ["2024-01-01", 3],
        [NAIVE[0], "2024-01-01"],
        [NAIVE[0], MOMENTS[0]],
        pd.Series(pd.period_range("2024", periods=2, freq="D")),
        [dt.time(10)],
        pa.array([dt.time(10)]),
        [1j],
        [dt.timedelta(days=1)],
        pa.array([dt.timedelta(days=1)]),
        pd.Series([pd.Timedelta("1 day")]),
    ],
)
def test_what_holds_no_times(column):
    with pytest.raises(fastals.ArgumentTypeError, match=r"^t must (be|all)"):
        Times().nanoseconds("t", column)


def test_beyond_64_bits():
    for column in (
        ["2262-06-01"],
        np.array(["3000-01-01"], "M8[D]"),
        [dt.datetime(9999, 12, 31)],
        [dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-3)))],
        [dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=3)))],
        pa.array([dt.date(1500, 1, 1)]),
    ):
        with pytest.raises(fastals.DataError, match="1678 to 2261"):
            Times().nanoseconds("t", column)
    for unit, number in (("s", 10**10), ("ms", -(10**13)), ("us", 1e17), ("ns", 2**63 - 1), ("s", 2.0**70)):
        with pytest.raises(fastals.DataError, match="1678 to 2261"):
            Times(unit).nanoseconds("t", [number])
    with pytest.raises(fastals.DataError, match="64 bits"):
        Times().ordered("t", [2**70])


# --- an order is all that is wanted ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_with_and_without")
def test_an_order_keeps_full_precision():
    near = [1714557600000000001, 1714557600000000000, 1714557600000000002]
    for column in (
        near,
        [*map(str, near)],
        np.array(near),
        np.array(near, "M8[ns]"),
        np.array(near, "m8[ns]"),
        np.array(near, np.uint64),
    ):
        assert np.argsort(Times().ordered("t", column)).tolist() == [1, 0, 2]
    assert Times().ordered("t", [0.5, -2]).tolist() == [0.5, -2]
    assert Times().ordered("t", np.array([1.5, 0.5], np.float32)).tolist() == [1.5, 0.5]
    with pytest.raises(fastals.DataError, match="inf is no finite number"):
        Times().ordered("t", [1.0, np.inf])


def test_numbers_of_one_dtype():
    told = {}
    assert Times().numbers("t", ["3", "1.5", "x"], np.int64, told.__setitem__).tolist() == [3, 0, 0]
    assert sorted(told) == [1, 2]
    with pytest.raises(fastals.ArgumentTypeError, match="numbers"):
        Times().numbers("t", NAIVE, np.int64, told.__setitem__)
    assert numerals(["1", "a", "2"])[0].tolist() == [1, 0, 2]


# --- one moment, a span ----------------------------------------------------------------------------------------------


def test_moments():
    for value in (
        "2024-05-01T10:00:00Z",
        "2024-05-01 12:00+02:00",
        MOMENTS[0],
        NAIVE[0],
        np.datetime64(NAIVE[0]),
        1714557600,
    ):
        assert Times().moment("now", value) == EXPECTED[0]
    assert Times(timezone="Europe/Berlin").moment("now", "2024-05-01T12:00") == EXPECTED[0]
    for value in ("20240504", " 2024 ", "1714557600", True, None, "soon", [1], float("nan")):
        with pytest.raises(fastals.FastalsError, match="now must"):
            Times().moment("now", value)


def test_spans():
    assert span_seconds("half_life", "1.5 days") == 129_600
    assert is_span("90 days")
    assert not is_span("2024-01-01")
    for value in ("3 moons", "days", 0, -1, "0 days", None, True):
        with pytest.raises(fastals.FastalsError, match="half_life must"):
            span_seconds("half_life", value)


def test_what_settings_hold_can_be_read_again():
    for t in (*EXPECTED, 5, EXPECTED[0] + 1, -1, 4_102_444_800 * 10**9):
        assert Times().moment("now", iso(t)) == t
        assert abs(Times(timezone="Asia/Tokyo").moment("now", plain(t)) - t) < 240
