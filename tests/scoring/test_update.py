"""New events for a model of scores: what it then holds is what all events scored together are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastals
from fastals.scoring import ScoreSpec, score, update

DAY = 86_400.0
START = 1_700_000_000.0

SPEC: dict[str, Any] = {
    "signals": {"played": {"clip": [0, 1], "weight": 2}, "liked": {"weight": 3}},
    "timestamp": "time",
    "half_life": "2 days",
}


def log(n: int, seed: int, days: tuple[float, float], n_users: int = 20, n_items: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": [f"u{i:02d}" for i in rng.integers(0, n_users, n)],
            "item": rng.integers(0, n_items, n),
            "played": rng.random(n) * 1.5,
            "liked": rng.integers(0, 2, n),
            "time": START + DAY * (days[0] + (days[1] - days[0]) * rng.random(n)),
        }
    )


def oracle(events: pd.DataFrame, spec: ScoreSpec, now: float) -> dict[tuple[str, int], float]:
    """All events scored by pandas."""
    s = 2 * events.played.clip(0, 1) + 3 * events.liked
    if spec.half_life is not None:
        s = s * 2 ** (-(now - events.time).clip(lower=0) / (2 * DAY))
    sums = s.groupby([events.user, events.item]).agg(spec.aggregate)
    if spec.total == "log1p":
        sums = np.log1p(sums)
    if spec.total == "saturate":
        sums = sums / (sums + spec.at)
    return sums.to_dict()


def cells(model: Any) -> dict[tuple[Any, Any], float]:
    pairs = model.state_.pairs
    rows = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
    users, items = pairs.user_labels.decode(rows), pairs.item_labels.decode(pairs.indices)
    return dict(zip(zip(users.tolist(), items.tolist(), strict=True), pairs.values.tolist(), strict=True))


def fitted(events: Any, spec: Any, **parameters: Any) -> fastals.ImplicitALS:
    model = fastals.ImplicitALS(factors=3, random_state=0, **{"dtype": "float64", **parameters})
    return model.fit(score(events, spec).interactions())


@pytest.mark.parametrize("aggregate", ["sum", "max"])
@pytest.mark.parametrize("total", ["linear", "log1p", "saturate"])
@pytest.mark.parametrize("half_life", ["2 days", None])
def test_the_scores_are_those_of_all_events(aggregate: str, total: str, half_life: str | None) -> None:
    spec = ScoreSpec.from_dict(SPEC | {"aggregate": aggregate, "total": total, "half_life": half_life, "at": 2.0})
    parts = [log(300, 0, (0, 10)), log(80, 1, (10, 11), 25, 15), log(50, 2, (9, 12)), log(40, 3, (2, 5))]
    model = fitted(parts[0], spec)
    for count, part in enumerate(parts[1:], 1):
        known = set(model.users_), set(model.items_.tolist())
        told = update(model, part)
        assert told.n_events == len(part)
        assert told.n_scores == part.groupby(["user", "item"]).ngroups
        assert told.n_users == len(set(part.user) - known[0])
        assert told.n_items == len(set(part["item"]) - known[1])
        assert told.n_updates == count == model.n_updates_
    events = pd.concat(parts)
    expected, found = oracle(events, spec, events.time.max()), cells(model)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[pair] for pair in expected], list(expected.values()), rtol=2e-6)
    # the specification inside is that of a scoring of all events
    scoring = score(events, spec).interactions().scoring
    assert model.scoring_ == scoring
    assert model.fold_in(([0], [1], [1.0])).shape == (1, 3)


def test_ages_are_told() -> None:
    model = fitted(log(100, 0, (0, 10)), SPEC)
    before = model.scoring_["now"]
    events = log(10, 1, (12, 12))
    told = update(model, events)
    assert told.decay == pytest.approx(2 ** -((events.time.max() - before) / (2 * DAY)))
    older = update(model, log(10, 2, (3, 4)))
    assert older.decay == 1
    assert model.scoring_["now"] == events.time.max()
    later = update(model, log(10, 3, (3, 4)), now=events.time.max() + 2 * DAY)
    assert later.decay == pytest.approx(0.5)


def test_what_falls_below_the_minimum_is_left_out() -> None:
    spec = ScoreSpec.from_dict(SPEC | {"minimum": 1.0, "half_life": "1 day"})
    first = pd.DataFrame({"user": ["a", "a", "b"], "item": [1, 2, 2], "played": 0.5, "liked": [0, 1, 1], "time": START})
    model = fitted(first, spec)
    assert cells(model) == {("a", 1): 1.0, ("a", 2): 4.0, ("b", 2): 4.0}
    later = pd.DataFrame({"user": ["c", "b"], "item": [2, 1], "played": [0.5, 0.4], "liked": 0, "time": START + DAY})
    update(model, later)
    assert cells(model) == {("a", 2): 2.0, ("b", 2): 2.0, ("c", 2): 1.0}
    assert not model.item_factors_[0].any()  # nothing of it is left
    with pytest.raises(fastals.DataError, match="no cell would be left"):
        update(model, later.assign(time=START + 9 * DAY, played=0.1))


def test_rows_that_are_solved_again_are_exact() -> None:
    model = fitted(log(300, 0, (0, 10)), SPEC)
    X, Y = model.user_factors_.copy(), model.item_factors_.copy()
    part = log(6, 1, (10, 11))
    update(model, part)
    users, items = (
        model.state_.users.encode(sorted(set(part.user))),
        model.state_.items.encode(sorted(set(part["item"]))),
    )
    folded = model.fold_in_items(model.state_.pairs)
    np.testing.assert_allclose(folded[items], model.item_factors_[items], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.delete(model.user_factors_, users, 0), np.delete(X, users, 0))
    np.testing.assert_array_equal(np.delete(model.item_factors_, items, 0), np.delete(Y, items, 0))


def test_how_much_is_new_is_kept_in_the_file(tmp_path: Path) -> None:
    model = fitted(log(300, 0, (0, 10)), SPEC)
    assert (model.n_updates_, model.updated_) == (0, 0.0)
    model.save(tmp_path / "model")
    assert b"updates" not in (tmp_path / "model").read_bytes()
    fresh = 1.0
    for seed in (1, 2, 3):
        part = log(5, seed, (10 + seed, 10 + seed))
        told = update(model, part)
        fresh *= told.decay * (1 - part.groupby(["user", "item"]).ngroups / model.state_.pairs.nnz)
        assert model.updated_ == pytest.approx(1 - fresh) == told.updated
        assert told.due == (told.updated >= 0.5)
        model.save(tmp_path / "model")
        model = fastals.load(tmp_path / "model")
        assert model.n_updates_ == seed
    assert told.due
    model.fit(model.state_.pairs)
    assert (model.n_updates_, model.updated_) == (0, 0.0)


def test_files_are_read_as_score_reads_them(tmp_path: Path) -> None:
    one, other = (fitted(log(100, 0, (0, 10)), SPEC) for _ in range(2))
    part = log(30, 1, (10, 12))
    part.to_csv(tmp_path / "new.txt", sep=";", index=False)
    update(one, part.assign(item=part["item"]))
    update(other, [tmp_path / "new.txt"], format="csv", delimiter=";")
    assert cells(one).keys() == cells(other).keys()
    np.testing.assert_allclose(one.user_factors_, other.user_factors_, rtol=1e-12)


@pytest.mark.parametrize("aggregate", ["mean", "last"])
def test_what_cannot_be_known_is_refused(aggregate: str) -> None:
    model = fitted(log(100, 0, (0, 10)), SPEC | {"aggregate": aggregate})
    state = model.state_
    with pytest.raises(fastals.ParameterError, match=f"aggregate='{aggregate}' needs all events of a pair"):
        update(model, log(10, 1, (10, 11)))
    assert model.state_ is state


def test_models_that_cannot_be_updated(tmp_path: Path) -> None:
    part = log(10, 1, (10, 11))
    plain = fastals.ImplicitALS(factors=2).fit((["a"], [1]))
    with pytest.raises(fastals.ParameterError, match="not trained on scores"):
        update(plain, part)
    with pytest.raises(fastals.ParameterError, match="ItemKNN was not trained on scores"):
        update(fastals.ItemKNN().fit((["a", "b"], [1, 1])), part)
    model = fitted(log(100, 0, (0, 10)), SPEC)
    model.save(tmp_path / "lean", history=False)
    with pytest.raises(fastals.NotFittedError, match="history=True"):
        update(fastals.load(tmp_path / "lean"), part)
    state = model.state_
    for events, rule in (
        (part[:0], "no new events|empty"),
        (part.assign(item="x"), "items must be integers"),
        (part.drop(columns="liked"), "liked"),
        (part.assign(played=np.inf), "finite"),
    ):
        with pytest.raises(fastals.FastalsError, match=rule):
            update(model, events)
        assert model.state_ is state
    # float32 holds no more: nothing says of which sum it is
    full = fitted(log(100, 0, (0, 10)), SPEC | {"total": "saturate", "at": 1e-9}, dtype="float32")
    with pytest.raises(fastals.DataError, match="too large to be added to"):
        update(full, part)


def test_decay_of_plain_events() -> None:
    model = fastals.ImplicitALS(factors=2, random_state=0).fit((["a", "a", "b"], ["x", "y", "y"], [4, 2, 1]))
    model.partial_fit((["a"], ["x"], [3]), decay=0.5)
    assert model.state_.pairs.values.tolist() == [5, 1, 0.5]
    assert model.updated_ == pytest.approx(1 - 0.5 * 2 / 3)
    for decay in (0, 1.5, -1, np.nan, "1 day", True):
        with pytest.raises(fastals.FastalsError, match="decay"):
            model.partial_fit((["a"], ["x"]), decay=decay)
    ratings = fastals.ExplicitALS(factors=2, random_state=0).fit((["a", "b"], ["x", "y"], [4, 2]))
    with pytest.raises(fastals.ParameterError, match="decay must be 1 for a model of ratings"):
        ratings.partial_fit((["a"], ["y"], [3]), decay=0.5)


def test_what_was_below_the_minimum_is_known(tmp_path: Path) -> None:
    """Nobody is given it; new events bring it back only where it cannot have been anything."""
    signals = {"liked": {"weight": 3}, "disliked": {"weight": -3}, "played": {}}
    first = pd.DataFrame(
        {"user": ["a", "a", "b", "b", "c"], "item": ["x", "y", "x", "z", "y"], "liked": [1, 0, 1, 1, 1]}
    ).assign(disliked=[0, 1, 0, 0, 0], played=0.0, time=START)
    spec = {"signals": signals, "timestamp": "time", "half_life": "1 day", "minimum": 1.0}
    later = pd.DataFrame({"user": ["a", "b"], "item": ["y", "y"], "liked": 0, "disliked": 0, "played": 2.0})
    later["time"] = START + DAY
    model = fitted(first, spec)
    model.save(tmp_path / "model")
    model = fastals.load(tmp_path / "model")
    assert model.recommend("a", n=3).items.tolist() == ["z", None, None]
    told = update(model, later)
    assert (told.n_scores, told.n_dropped) == (2, 1)
    assert cells(model) == {("a", "x"): 1.5, ("b", "x"): 1.5, ("b", "y"): 2, ("b", "z"): 1.5, ("c", "y"): 1.5}
    assert model.recommend("a", n=3).items.tolist() == ["z", None, None]
    # a day later all that was is below the minimum: known, and never listed
    update(model, later.assign(time=START + 2 * DAY, user=["c", "b"], item="y", played=5.0))
    assert cells(model) == {("c", "y"): 5.75, ("b", "y"): 6}
    for user, left in (("a", {"z"}), ("b", set()), ("c", {"x", "z"})):
        assert set(model.recommend(user, n=3).items.tolist()) - {None} <= left
    # without a weight below 0 what was dropped was next to nothing
    spec["signals"] = {"liked": {"weight": 3}, "played": {}}
    plays = fitted(first, spec)
    told = update(plays, later)
    assert told.n_dropped == 0
    assert cells(plays)["a", "y"] == 2


def test_items_of_known_pairs_only_are_known_too() -> None:
    signals = {"liked": {"weight": 3}, "disliked": {"weight": -3}}
    first = pd.DataFrame(
        {"user": ["a", "a", "b"], "item": ["x", "bad", "x"], "liked": [1, 0, 1], "disliked": [0, 1, 0]}
    )
    model = fitted(first, {"signals": signals, "minimum": 1.0})
    later = pd.DataFrame({"user": ["a", "b"], "item": ["bad", "bad"], "liked": 1, "disliked": 0})
    assert update(model, later).n_dropped == 1
    assert cells(model) == {("a", "x"): 3, ("b", "x"): 3, ("b", "bad"): 3}
    assert model.recommend("a", n=2).items.tolist() == [None, None]


def test_what_goes_by_all_events() -> None:
    """Filters by numbers of events are for whole scorings; a period that moves with time cannot be kept to."""
    spec = SPEC | {"min_user_events": 2, "min_item_events": 2, "max_user_events": 200}
    model = fitted(log(300, 0, (0, 10)), spec)
    assert update(model, log(3, 1, (10, 11)).assign(user=["new", "newer", "newest"])).n_users == 3
    assert {"new", "newer", "newest"} <= set(model.users_)
    assert model.scoring_["min_user_events"] == 2
    for name in ("since", "until"):
        moving = fitted(log(300, 0, (0, 10)), SPEC | {name: "5 days"})
        with pytest.raises(fastals.ParameterError, match=f"{name}='5 days' moves with time"):
            update(moving, log(3, 1, (10, 11)))


def test_a_period_that_stands_is_kept_to() -> None:
    since, until = START + 3 * DAY, START + 10.5 * DAY
    spec = ScoreSpec.from_dict(SPEC | {"since": since, "until": until, "half_life": "2 days"})
    parts = [log(300, 0, (0, 10)), log(80, 1, (9, 12)), log(20, 2, (1, 4))]
    model = fitted(parts[0], spec)
    for part in parts[1:]:
        update(model, part)
    events = pd.concat(parts)
    events = events[(events.time >= since) & (events.time < until)]
    expected, found = oracle(events, spec, events.time.max()), cells(model)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[pair] for pair in expected], list(expected.values()), rtol=2e-6)


def test_types_of_events_and_times_as_text() -> None:
    signals = {name: {"column": "event", "equals": name, "weight": w} for name, w in (("view", 1), ("buy", 5))}
    spec = {"signals": signals, "timestamp": "time", "half_life": "1 day"}
    first = {"user": ["a", "b"], "item": ["x", "y"], "event": ["view", "buy"], "time": 2 * ["2024-05-01T00:00:00Z"]}
    model = fitted(first, spec)
    later = {"user": ["a", "a"], "item": ["x", "y"], "event": ["buy", "view"], "time": 2 * ["2024-05-02 02:00+02:00"]}
    assert update(model, later).decay == 0.5
    assert cells(model) == {("a", "x"): 5.5, ("a", "y"): 1, ("b", "y"): 2.5}


def test_ids_of_files_are_of_the_models_kind(tmp_path: Path) -> None:
    model = fitted({"user": ["7", "x"], "item": ["8", "y"]}, {"signals": {"*": {}}})
    (tmp_path / "new.csv").write_text("user,item\n7,8\n7,9\n")
    update(model, tmp_path / "new.csv")
    assert cells(model) == {("7", "8"): 2, ("7", "9"): 1, ("x", "y"): 1}
    numbers = fitted({"user": [7, 8], "item": [1, 2]}, {"signals": {"*": {}}})
    (tmp_path / "new.csv").write_text("user,item\n7,1\nguest,1\n")
    with pytest.raises(fastals.FastalsError, match=r"guest|integers"):
        update(numbers, tmp_path / "new.csv")
