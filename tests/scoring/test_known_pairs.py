"""What scoring knows of pairs that it gives no score: plain loops over the events are the oracle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from real_data import table

import fastals
from fastals import Interactions
from fastals._data import known_of
from fastals.cli import main
from fastals.scoring import ScoreSpec, score

Pairs = set[tuple[Any, Any]]

SPEC: dict[str, Any] = {
    "timestamp": "time",
    "half_life": "30 days",
    "minimum": 0.05,
    "signals": {
        "share": {"column": "played_seconds", "per": "song_seconds", "clip": [0, 1], "weight": 0.5},
        "liked": {"weight": 3},
        "disliked": {"weight": -3},
    },
}
"""The specification that docs/logs.md shows."""


def songs(n: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Two tastes, of 60 users and 40 songs; what is not to one's taste is disliked now and then."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 60, n), (40 * rng.random(n) ** 2).astype(int)
    to_taste = (users + items) % 2 == 0
    length = rng.integers(120, 400, n)
    return pd.DataFrame(
        {
            "user": [f"u{user:02}" for user in users],
            "item": [f"i{item:02}" for item in items],
            "played_seconds": np.where(to_taste, length, length // 50),
            "song_seconds": length,
            "liked": (to_taste & (rng.random(n) < 0.1)).astype(int),
            "disliked": (~to_taste & (rng.random(n) < 0.3)).astype(int),
            "time": 1.7e9 + rng.integers(0, 60 * 86_400, n),
        }
    )


def scored(events: pd.DataFrame, spec: dict[str, Any]) -> dict[tuple[Any, Any], float]:
    """A score for each pair of the log, by formula."""
    age = (events["time"].max() - events["time"]) / 86_400
    share = (events["played_seconds"] / events["song_seconds"]).clip(0, 1)
    value = (0.5 * share + 3 * events["liked"] - 3 * events["disliked"]) * 2.0 ** (-age / 30)
    totals: dict[tuple[Any, Any], float] = value.groupby([events["user"], events["item"]]).sum().to_dict()
    return totals


def pairs_of(data: Interactions | None) -> Pairs:
    if data is None:
        return set()
    users, items = data.matrix.nonzero()
    return set(zip(data.user_labels.decode(users).tolist(), data.item_labels.decode(items).tolist(), strict=True))


def all_known(data: Interactions) -> Pairs:
    return pairs_of(data.known) | pairs_of(known_of(data).elsewhere)


@pytest.mark.parametrize("memory", [1 << 29, 10_000])
def test_every_pair_of_the_log_has_a_score_or_is_known(memory: int) -> None:
    events = songs()
    totals = scored(events, SPEC)
    with score(events, SPEC, memory=memory) as scores:
        data = scores.interactions()
    cells = {pair for pair, total in totals.items() if total >= 0.05}
    assert pairs_of(data) == cells
    assert all_known(data) == totals.keys() - cells
    assert data.known is not None
    assert {user for user, _ in pairs_of(data.known)} <= {user for user, _ in cells}
    plain = score(events, {**SPEC, "minimum": None}).interactions()
    assert plain.known is None
    assert pairs_of(plain) | {pair for pair, total in totals.items() if total == 0} == set(totals)


def test_what_is_disliked_is_never_listed_with_the_settings_of_the_page() -> None:
    events = songs()
    text = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
    for line in ("minimum = 0.05", "weight = -3", 'half_life = "30 days"'):
        assert line in text  # these settings
    data = score(events, SPEC).interactions()
    model = fastals.ImplicitALS(factors=8, random_state=0).fit(data)
    forgetful = fastals.ImplicitALS(factors=8, random_state=0).fit(data.matrix)
    had, disliked = (
        set(zip(some["user"], some["item"], strict=True)) for some in (events, events[events["disliked"] == 1])
    )
    assert data.users is not None
    assert data.items is not None
    listed: dict[str, Pairs] = {}
    for name, each, users, items in (
        ("model", model, None, None),
        ("forgetful", forgetful, data.users, data.items),
    ):
        for batch, found, _ in each.recommend_all(n=10):
            batch = batch if users is None else users[batch]
            found = found if items is None else np.where(found < 0, None, items[found])
            pairs = {(u, i) for u, row in zip(batch, found, strict=True) for i in row if i is not None}
            listed.setdefault(name, set()).update(pairs)
    assert listed["forgetful"] & disliked  # or this test would show nothing
    assert not listed["model"] & had
    assert not listed["model"] & disliked


def test_a_disliked_item_of_one_user_does_not_come_first() -> None:
    """The smallest case: all others like what the user does not."""
    users = [f"u{n}" for n in range(20)] * 2 + ["ann", "ann"]
    items = ["x"] * 20 + ["y"] * 20 + ["y", "x"]
    events = {"user": users, "item": items, "liked": [1] * 41 + [0], "disliked": [0] * 41 + [1]}
    spec = {"minimum": 0.05, "signals": {"liked": {"weight": 3}, "disliked": {"weight": -3}}}
    model = fastals.ImplicitALS(factors=2, random_state=0).fit(score(events, spec).interactions())
    assert model.recommend("ann", n=1).items.tolist() == [None]
    assert model.recommend("ann", n=1, exclude_seen=False).items.tolist() != [None]


def test_no_published_item_of_movielens_had_been_rated(tmp_path: Path) -> None:
    """Signal "rating above 4": what else users rated was unknown, and a quarter of all that was published was that."""
    ratings = table("ml-latest-small")
    spec = {"minimum": 0.5, "signals": {"rating": {"transform": "above", "at": 4}}}
    events = {name: ratings[name] for name in ("user", "item", "rating")}
    score(events, spec).write(tmp_path / "scores.parquet")
    data = Interactions.from_parquet(tmp_path / "scores.parquet")
    rated = set(zip(ratings["user"].tolist(), ratings["item"].tolist(), strict=True))
    high = ratings["rating"] >= 4
    cells = set(zip(ratings["user"][high].tolist(), ratings["item"][high].tolist(), strict=True))
    assert pairs_of(data) == cells
    assert all_known(data) == rated - cells
    model = fastals.ImplicitALS(factors=16, iterations=5, random_state=0).fit(data)
    model.save(tmp_path / "model")
    fastals.serving.publish(fastals.load(tmp_path / "model"), tmp_path / "lists.parquet", n=10)
    rows = parquet.read_table(tmp_path / "lists.parquet").to_pylist()
    published = {(row["user"], item) for row in rows for item in row["items"]}
    assert len(published) == 6100  # one user has rated nothing that high, and gets what is popular and not rated
    assert not published & rated


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_of_scores_hold_every_pair(kind: str, tmp_path: Path) -> None:
    events = songs()
    with score(events, SPEC) as scores:
        n = scores.write(tmp_path / f"scores.{kind}")
        data = scores.interactions()
    assert n == data.nnz
    frame = (pd.read_csv if kind == "csv" else pd.read_parquet)(tmp_path / f"scores.{kind}")
    assert len(frame) == len(events[["user", "item"]].drop_duplicates())
    assert list(frame.columns) == ["user", "item", "score"] + ["known"] * (kind == "csv")
    assert frame["score"].notna().sum() == n
    if kind == "csv":
        assert (frame["known"] == frame["score"].isna()).all()
    read = Interactions.from_csv if kind == "csv" else Interactions.from_parquet
    for options in ({}, {"on_disk": tmp_path / "there"}):
        again = read(tmp_path / f"scores.{kind}", **options).in_memory()
        for one, other in zip(again.arrays(), data.arrays(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)  # CSV holds decimals
        assert pairs_of(again.known) == pairs_of(data.known)
        assert all_known(again) == (pairs_of(data.known) if options else all_known(data))


def test_files_without_a_minimum_are_as_they_were(tmp_path: Path) -> None:
    spec = {"signals": {"liked": {"weight": 3}}}
    score(songs(), spec).write(tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == '"user","item","score"'
    assert Interactions.from_csv(tmp_path / "scores.csv").known is None


@pytest.mark.parametrize("memory", [1 << 29, 10_000])
def test_events_before_since_are_known(memory: int, tmp_path: Path) -> None:
    """They make no scores, and yet have been; those from ``until`` on are not known yet."""
    events = songs()
    start, end = 1.7e9 + 20 * 86_400, 1.7e9 + 50 * 86_400
    old, later = ((events["time"] < start).to_numpy(), (events["time"] >= end).to_numpy())
    assert old.any()
    spec = {"signals": {"liked": {"weight": 3}, "played_seconds": {}}}
    expected = score(events[~old & ~later], spec).interactions()
    spec |= {"timestamp": "time", "since": start, "until": end}
    with score(events, spec, memory=memory) as scores:
        data = scores.interactions()
        scores.write(tmp_path / "scores.csv")
    assert pairs_of(data) == pairs_of(expected)
    np.testing.assert_array_equal(data.values, expected.values)
    before = events[~later]
    assert all_known(data) == set(zip(before["user"], before["item"], strict=True)) - pairs_of(data)
    assert all_known(Interactions.from_csv(tmp_path / "scores.csv")) == all_known(data)
    spec |= {"since": "2025-01-01", "until": None}
    with score(events, spec, memory=memory) as scores, pytest.raises(fastals.DataError, match="no score is left"):
        scores.interactions()


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_commands_hand_it_on(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = songs()
    events.to_csv(tmp_path / "events.csv", index=False)
    (tmp_path / "spec.json").write_text(json.dumps(ScoreSpec.from_dict(SPEC).to_dict()))
    scores, model = tmp_path / f"scores.{kind}", tmp_path / "model"
    main(["score", str(tmp_path / "events.csv"), "--spec", str(tmp_path / "spec.json"), "--out", str(scores)])
    options = ["--implicit", "--factors", "4", "--seed", "0", "--out", str(model)]
    main(["train", str(scores), *options])
    assert "known pairs" in capsys.readouterr().out
    main(["info", str(model)])
    assert "known pairs" in capsys.readouterr().out
    main(["publish", str(model), "--to", str(tmp_path / "lists.parquet"), "--n", "10"])
    rows = parquet.read_table(tmp_path / "lists.parquet").to_pylist()
    published = {(row["user"], item) for row in rows for item in row["items"]}
    assert published
    assert not published & set(zip(events["user"], events["item"], strict=True))


def test_a_pipeline_hands_it_on(tmp_path: Path) -> None:
    """The pipeline of the SPEC, twice: the second run numbers users and items as the first did."""
    events = songs()
    events.to_csv(tmp_path / "events.csv", index=False)
    signals = "".join(
        f"[score.signals.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in signal.items())
        for name, signal in SPEC["signals"].items()
    )
    (tmp_path / "pipeline.toml").write_text(
        '[events]\npath = "events.csv"\n'
        '[score]\ntimestamp = "time"\nhalf_life = "30 days"\nminimum = 0.05\nout = "scores.parquet"\n'
        f"{signals}"
        '[train]\nfactors = 4\nrandom_state = 0\nkeep_ids = true\nout = "model"\n'
        "[evaluate]\ntest_fraction = 0.1\n"
        '[publish]\nto = "lists.parquet"\nn = 10\n'
    )
    had = set(zip(events["user"], events["item"], strict=True))
    for _ in range(2):
        main(["run", str(tmp_path / "pipeline.toml"), "--quiet"])
        rows = parquet.read_table(tmp_path / "lists.parquet").to_pylist()
        published = {(row["user"], item) for row in rows for item in row["items"]}
        assert published
        assert not published & had


def test_what_is_too_rare_is_still_known() -> None:
    """Least events drop users and items from training, not from memory; of robots nothing stays."""
    events = {
        "user": ["ann", "ann", "bob", "bob", "cid", *["bot"] * 5],
        "item": ["x", "y", "x", "rare", "y", "x", "y", "x", "y", "rare"],
    }
    spec = {"signals": {"*": {}}, "max_user_events": 4, "min_item_events": 2, "min_user_events": 2}
    data = score(events, spec).interactions()
    assert pairs_of(data) == {("ann", "x"), ("ann", "y")}
    assert all_known(data) == {("bob", "x"), ("bob", "rare"), ("cid", "y")}
