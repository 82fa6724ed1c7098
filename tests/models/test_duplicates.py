"""Several values for one user and item: what ``fit`` makes of them is what pandas makes of them beforehand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from scipy import sparse

import fastals
from fastals import EASE, ExplicitALS, ImplicitALS, Interactions, ItemKNN, UserKNN, evaluation

OPTIONS: Any = {"factors": 3, "iterations": 3, "random_state": 0}
MODELS: dict[str, Any] = {
    f"{cls.__name__} {solver}": lambda cls=cls, solver=solver: cls(**OPTIONS, solver=solver)
    for cls in (ExplicitALS, ImplicitALS)
    for solver in ("auto", "cholesky", "cg", "lapack")
} | {
    "ExplicitALS nonnegative": lambda: ExplicitALS(**OPTIONS, nonnegative=True),
    "ExplicitALS unbiased": lambda: ExplicitALS(**OPTIONS, biases=False),
    "ratings of items": lambda: ItemKNN(feedback="explicit"),
    "ratings of users": lambda: UserKNN(feedback="explicit"),
    "plays of items": ItemKNN,
    "plays of users": UserKNN,
    "plays": EASE,
}
POLICIES = ("sum", "last", "max", "mean")
CONTAINERS = ("tuple", "pandas", "coo", "csr", "csc")


def events() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(0, 20, 400), "item": rng.integers(0, 15, 400), "value": rng.integers(1, 6, 400)}
    return pandas.DataFrame(rows)


def contained(rows: pandas.DataFrame, container: str) -> Any:
    if container == "pandas":
        return rows
    columns = rows.user.to_numpy(), rows.item.to_numpy(), rows.value.to_numpy(float)
    if container == "tuple":
        return columns
    if container == "coo":
        return sparse.coo_array((columns[2], columns[:2]), shape=(20, 15))
    line, other, shape = (0, 1, (20, 15)) if container == "csr" else (1, 0, (15, 20))
    order = np.argsort(columns[line], kind="stable")
    indptr = np.searchsorted(columns[line][order], np.arange(shape[0] + 1))
    kind = sparse.csr_array if container == "csr" else sparse.csc_array
    return kind((columns[2][order], columns[other][order], indptr), shape=(20, 15))


def numbers(model: Any) -> Any:
    if isinstance(model, EASE):
        return model.weights_
    if hasattr(model, "similarity_"):
        return model.similarity_.toarray()
    return np.concatenate((model.user_factors_, model.item_factors_))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("policy", [*POLICIES, None])
def test_fit_merges_as_pandas(name: str, policy: str | None) -> None:
    rows, model = events(), MODELS[name]()
    ratings = model._predicts_ratings
    merged = rows.groupby(["user", "item"], as_index=False).value.agg(policy or ("last" if ratings else "sum"))
    expected = numbers(MODELS[name]().fit(merged))
    for container in CONTAINERS:
        fitted = model.fit(contained(rows, container), duplicates=policy)
        np.testing.assert_array_equal(numbers(fitted), expected, err_msg=container)


@pytest.mark.parametrize("name", MODELS)
def test_repeats_are_kept_or_refused_where_that_is_asked_for(name: str) -> None:
    model = MODELS[name]()
    with pytest.raises(fastals.DataError, match="duplicates='error'"):
        model.fit(events(), duplicates="error")
    if isinstance(model, EASE | ItemKNN | UserKNN):
        with pytest.raises(fastals.ParameterError, match=r"duplicates must be one of .*'sum', 'last'"):
            model.fit(events(), duplicates="keep")
        return
    kept = model.fit(events(), duplicates="keep")
    weighted = MODELS[name]().fit(events(), sample_weight=np.ones(400))
    np.testing.assert_array_equal(kept.item_factors_, weighted.item_factors_)


@pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS])
def test_what_cannot_be_merged_is_said(cls: Any) -> None:
    model = cls(**OPTIONS)
    with pytest.raises(fastals.ParameterError, match=r"duplicates must be (one of )?'keep'"):
        model.fit(events(), sample_weight=np.ones(400), duplicates="last")
    with pytest.raises(fastals.ParameterError, match="no meaning with Interactions, whose cells were merged when"):
        model.fit(Interactions.from_frame(events(), duplicates="last"), duplicates="max")
    with pytest.raises(fastals.ParameterError, match="duplicates must be"):
        model.fit(events(), duplicates="first")


@pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS])
@pytest.mark.parametrize("preset", ["spark", "cmfrec", "lenskit"])
def test_presets_keep_theirs(cls: Any, preset: str) -> None:
    model = cls.from_preset(preset, **OPTIONS)
    if preset == "lenskit":
        with pytest.raises(fastals.DataError, match="duplicates='error'"):
            model.fit(events())
        model.fit(events(), duplicates="last")
    else:
        kept = model.fit(events()).item_factors_
        again = cls.from_preset(preset, **OPTIONS).fit(events(), duplicates="keep")
        np.testing.assert_array_equal(kept, again.item_factors_)


@pytest.mark.parametrize("policy", [None, "max", "keep"])
@pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS, ItemKNN])
def test_histories_are_merged_as_in_the_fit_also_after_a_file(cls: Any, policy: str | None, tmp_path: Path) -> None:
    if cls is ItemKNN and policy == "keep":
        return
    made = {"feedback": "explicit"} if cls is ItemKNN else OPTIONS
    model = cls(**made).fit(events(), duplicates=policy)
    model.save(tmp_path / "model")
    rows = pandas.DataFrame({"user": [1, 1, 1], "item": [4, 4, 5], "value": [5, 3, 2]})
    history = {"last": [3, 2], "sum": [8, 2], "max": [5, 2]}.get(policy or ("sum" if cls is ImplicitALS else "last"))
    for each in (model, fastals.load(tmp_path / "model")):
        got = each.recommend(histories=rows, n=5)
        if history is not None:
            expected = each.recommend(histories=([1, 1], [4, 5], history), n=5)
            np.testing.assert_array_equal(got.items, expected.items)
            np.testing.assert_array_equal(got.scores, expected.scores)
        if cls is not ItemKNN and policy == "keep":
            kept = each.fold_in(Interactions.from_frame(rows, duplicates="keep"))
            np.testing.assert_array_equal(each.fold_in(rows), kept)


def test_a_rating_is_what_it_is() -> None:
    """A film rated 5 and then 4 was predicted 9."""
    model = ExplicitALS(factors=2, regularization=1e-6, random_state=0)
    fitted = model.fit((list("aabb"), list("xxxy"), [5, 4, 3, 2]))
    assert fitted.predict("a", "x") == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("make", [lambda: ExplicitALS(**OPTIONS), lambda: ItemKNN(feedback="explicit")])
def test_held_out_ratings_are_not_added_either(make: Any) -> None:
    rows = events()
    train, test = rows[:300], rows[300:]
    merged = test.groupby(["user", "item"], as_index=False).value.agg("last")
    model = make().fit(train)
    got, expected = (evaluation.evaluate(model, None, each) for each in (test, merged))
    assert got == pytest.approx(expected, nan_ok=True)
    if isinstance(model, ExplicitALS):
        both = [make().fit(train, validation=each) for each in (test, merged)]
        assert both[0].metrics_history_ == both[1].metrics_history_
    tuned = [fastals.tune(make(), train, {}, validation=each, refit=False) for each in (test, merged)]
    assert tuned[0].best_score == tuned[1].best_score


@pytest.mark.parametrize("stored", [0.0, 2.0])
def test_a_stored_zero_is_a_rating(stored: float) -> None:
    """It comes last, and so it counts."""
    cells = sparse.coo_array(([5.0, stored, 3.0], ([0, 0, 1], [0, 0, 1])))
    model = ExplicitALS(**OPTIONS).fit(cells)
    assert model.state_.pairs.matrix[0, 0] == stored
