"""--set, and ${…} in pipeline files."""

from datetime import date, datetime, timedelta, timezone

import pytest

import fastals
from fastals._pipeline.parameters import resolve

SETTINGS = {
    "parameters": {"region": "eu", "factors": 8, "path": "log/${region}/dt=${date-1:%Y%m%d}", "flag": True},
    "events": {"path": ["${path}", "old"]},
    "score": {"since": "${date-30}", "signals": {"plays": {"weight": 2}}},
    "train": {"factors": "${factors}", "nonnegative": "${flag}", "out": "model-${region}-${factors}"},
    "publish": [{"to": "a.csv"}, {"to": "b.csv"}],
}


def test_values_and_texts():
    found, parameters = resolve(SETTINGS, ["date=2025-03-01"])
    assert found == {
        "events": {"path": ["log/eu/dt=20250228", "old"]},
        "score": {"since": "2025-01-30", "signals": {"plays": {"weight": 2}}},
        "train": {"factors": 8, "nonnegative": True, "out": "model-eu-8"},
        "publish": [{"to": "a.csv"}, {"to": "b.csv"}],
    }
    shown = {"region": "eu", "factors": 8, "path": "log/eu/dt=20250228", "flag": True, "date": "2025-03-01"}
    assert parameters.shown == shown
    assert SETTINGS["parameters"]["region"] == "eu"


def test_today_is_that_of_utc():
    before = datetime.now(timezone.utc).date()
    found, _ = resolve({"a": {"x": "${date}", "y": "${date+1}"}})
    assert found["a"]["x"] in {(before + timedelta(days)).isoformat() for days in (0, 1)}
    assert date.fromisoformat(found["a"]["y"]) - date.fromisoformat(found["a"]["x"]) == timedelta(1)


@pytest.mark.parametrize(
    ("assignments", "path", "value"),
    [
        (["train.factors=3"], ("train", "factors"), 3),
        (["train.factors = 3"], ("train", "factors"), 3),
        (["factors=3"], ("train", "factors"), 3),
        (["region=us"], ("train", "out"), "model-us-8"),
        (["region='us'"], ("train", "out"), "model-us-8"),
        (["train.tol=none"], ("train", "tol"), "none"),
        (["train.tol=0.5", "train.tol=0.25"], ("train", "tol"), 0.25),
        (["train.biases=true"], ("train", "biases"), True),
        (["events.path=log/2025-01-01/part=1.csv"], ("events", "path"), "log/2025-01-01/part=1.csv"),
        (["events.path=['a', 'b']"], ("events", "path"), ["a", "b"]),
        (["score.signals.plays.weight=5"], ("score", "signals", "plays"), {"weight": 5}),
        (['score.signals."*".weight=5'], ("score", "signals", "*"), {"weight": 5}),
        (["publish.1.to=c.csv"], ("publish", 1), {"to": "c.csv"}),
        (["publish={to = 'c.csv'}"], ("publish",), None),
        (["report={}"], ("report",), {}),
        (["publish=[{to = 'c.csv'}]"], ("publish",), [{"to": "c.csv"}]),
        (["train.out=${region}.model"], ("train", "out"), "eu.model"),
        (["train.out=$${region}"], ("train", "out"), "${region}"),
        (["train.out=007"], ("train", "out"), "007"),
    ],
)
def test_assignments(assignments, path, value):
    if value is None:
        with pytest.raises(fastals.ParameterError, match="to is none of the 2 sections"):
            resolve(SETTINGS, assignments)
        return
    found, _ = resolve(SETTINGS, assignments)
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("settings", "assignments", "told"),
    [
        (
            {},
            ["regoin=us"],
            "--set regoin=us: regoin is no parameter; [parameters], where it belongs, has date, factors, flag, path",
        ),
        ({}, ["factors"], "--set factors: must be KEY=VALUE"),
        ({}, ["=3"], "--set =3: must be KEY=VALUE"),
        ({}, ["train.factors=[1"], "--set train.factors=[1: must be KEY=VALUE"),
        ({}, ["train.factors='1"], "must be KEY=VALUE"),
        ({}, ["date=yesterday"], "[parameters]: date must be a date as 2025-05-01, got 'yesterday'"),
        ({}, ["publish.2.to=x"], "--set publish.2.to=x: 2 is none of the 2 sections, counted from 0"),
        (
            {"train": {"out": "${regoin}"}},
            [],
            "[train] out: ${regoin} is no parameter; [parameters], where it belongs, has date, factors",
        ),
        ({"score": {"signals": {"a": {"at": "${}"}}}}, [], "[score] signals.a.at: ${} is no parameter"),
        ({"train": {"out": "${region-1}"}}, [], "[train] out: region must be a date as 2025-05-01, got 'eu'"),
        ({"train": {"out": "${factors:%Y}"}}, [], "[train] out: factors must be a date"),
        ({"train": {"out": "${env:FASTALS_NO}"}}, [], "[train] out: ${env:FASTALS_NO}: the environment has no"),
        ({"parameters": {"a": "${b}", "b": 1}}, [], "[parameters] a: ${b} is no parameter"),
        ({"parameters": {"a-b": 1}}, [], "[parameters] 'a-b' must be a name of letters, digits and _"),
        ({"parameters": {"env": 1}}, [], "[parameters] 'env' must be a name"),
        ({"parameters": {"a": [1]}}, [], "[parameters] a must be a number, text, a date or a boolean, got [1]"),
        ({"parameters": 3}, [], "[parameters] must be a table, got 3"),
        ({"parameters": 3}, ["a=3"], "[parameters] must be a table, got 3"),
    ],
)
def test_what_is_refused(settings, assignments, told):
    with pytest.raises(fastals.ParameterError) as caught:
        resolve(SETTINGS | settings, assignments)
    assert told in str(caught.value)


def test_the_environment_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("FASTALS_SECRET", "p${region}")
    settings = {
        "parameters": {"password": "${env:FASTALS_SECRET}", "url": "redis://:${password}@host", "open": "a${date}"},
        "publish": {"to": "${url}"},
    }
    found, parameters = resolve(settings, ["date=2025-01-01"])
    assert found["publish"]["to"] == "redis://:p${region}@host"
    assert parameters.shown == {"open": "a2025-01-01", "date": "2025-01-01"}


@pytest.mark.parametrize("value", ["2025-01-31", date(2025, 1, 31)])
def test_a_date_of_the_file_is_one(value):
    found, parameters = resolve(
        {"parameters": {"end": "${date-1}", "date": value}, "a": {"x": "${end-1} ${date:%d.%m.}"}}
    )
    assert found["a"]["x"] == "2025-01-29 31.01."
    assert parameters.shown["date"] == "2025-01-31"


def test_what_looks_like_none():
    found, _ = resolve({"a": {"x": "$HOME {date} $date $${date} $$ 5$"}})
    assert found["a"]["x"] == "$HOME {date} $date ${date} $$ 5$"
