"""Weights of whole users and items, and of the absence of events: their objective, and what knows them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from test_model import ITEMS, USERS, VARIANTS, Objective, check_nothing_is_lower, events

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._equation.rows import RowWeights

CHOSEN = (
    *("explicit, nu", "biases, weights, count, pair", "biases of their own", "nonnegative, biases"),
    *("implicit, weights", "implicit, nonnegative", "implicit, w0, nu", "implicit, log, count, pair"),
)
"""Of each kind some."""

BOTH = pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS])


def weights_of(n: int, seed: int) -> Any:
    """Some zeros among them."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 3, n) * (rng.random(n) < 0.9)


def labelled(users: Any, items: Any, *values: Any) -> tuple[Any, ...]:
    names = [np.char.zfill(column.astype(str), 3) for column in (users, items)]
    return np.char.add("u", names[0]), np.char.add("i", names[1]), *values


# ---------------------------------------------------------------------------------------------------------------------
# the objective


class Weighed(Objective):
    """With p_u q_i before all that a pair adds, and c_i before what it adds without an event."""

    def __init__(self, model: Any, p: Any, q: Any, c: Any, users: Any, items: Any, values: Any, weights: Any) -> None:
        product = p[users] * q[items] * (1 if weights is None else weights)
        super().__init__(model, users, items, values, product)
        unobserved = self.w0 * np.outer(p, q * c)
        self.w0, self.a = 0.0, self.a + unobserved
        self.constant = np.sum(np.divide(self.b**2, self.a, out=np.zeros_like(self.a), where=self.a > 0))
        settings = model.settings_
        scaling, lam = settings["regularization_scaling"], np.broadcast_to(settings["regularization"], 2)
        if not isinstance(scaling, str):
            for axis in (0, 1):
                counted = np.zeros((USERS, ITEMS))
                counted[users, items] = product * ((values > 0) if not self.explicit else 1)
                mass = counted.sum(axis=1 - axis) + unobserved.sum(axis=1 - axis)
                self.lam[axis] = lam[axis] * mass**scaling


@pytest.mark.parametrize("name", CHOSEN)
def test_scipy_finds_no_lower_value_than_a_converged_fit(name: str) -> None:
    cls, parameters, weighted = VARIANTS[name]
    users, items, values = events()
    if cls is ImplicitALS:
        values[::6] *= -1
    weights = np.random.default_rng(5).uniform(0.2, 3, len(users)) if weighted else None
    p, q, c = weights_of(USERS, 1), weights_of(ITEMS, 2), np.ones(ITEMS)
    more: dict[str, Any] = {"user_weight": p, "item_weight": q}
    if cls is ImplicitALS:
        c = weights_of(ITEMS, 3)
        more["item_unobserved_weight"] = c
    model = cls(**{
        **{"factors": 4, "iterations": 1500, "dtype": "float64", "random_state": 0, "solver": "cholesky"},
        **{"regularization": 1.5, **parameters},
    })  # fmt: skip
    model.fit((users, items, values), sample_weight=weights, **more)
    objective = Weighed(model, p, q, c, users, items, values, weights)
    check_nothing_is_lower(model, objective, 300)


@BOTH
@pytest.mark.parametrize("parameters", [{}, {"factors": 40}, {"nonnegative": True}, {"dtype": "float64"}])
def test_losses_are_those_of_the_factors_and_never_rise(cls: Any, parameters: Any) -> None:
    users, items, values = events()
    parameters = {"factors": 4, "random_state": 0, **parameters}
    more: dict[str, Any] = {"item_unobserved_weight": weights_of(ITEMS, 3)} if cls is ImplicitALS else {}
    fits = []
    for threads in (1, 3):
        model = cls(**parameters, num_threads=threads)
        model.fit((users, items, values), user_weight=weights_of(USERS, 1), item_weight=weights_of(ITEMS, 2), **more)
        fits.append(model)
    assert np.array_equal(fits[0].item_factors_, fits[1].item_factors_)
    assert fits[0].loss_history_ == fits[1].loss_history_
    history = np.array(model.loss_history_)
    assert (np.diff(history) <= 1e-5 * history[:-1]).all()
    sides = model.state_.trained_sides(2)
    for side in sides:
        told = side.loss(model.state_.mean) + sum(each.penalty() for each in sides)
        assert told == pytest.approx(history[-1], rel=1e-5)


@BOTH
@pytest.mark.parametrize("parameters", [{}, {"factors": 40, "solver": "cg"}])
def test_weight_one_is_none_and_weight_zero_is_nobody(cls: Any, parameters: Any) -> None:
    users, items, values = events()
    model = cls(**{"factors": 4, "random_state": 0, "regularization": 0.3, "iterations": 4, **parameters})
    plain = model.fit((users, items, values)).item_factors_.copy()
    ones = model.fit((users, items, values), user_weight=np.ones(USERS), item_weight=np.ones(ITEMS)).item_factors_
    np.testing.assert_allclose(ones, plain, rtol=1e-3, atol=1e-4)
    if cls is ImplicitALS:
        # users who weigh nothing are as good as not there
        some = users % 3 > 0
        start = np.zeros((USERS, model.factors), np.float32), plain
        weight = (np.arange(USERS) % 3 > 0).astype(float)
        model.fit((users, items, values), user_weight=weight, initial_factors=start)
        left = model.item_factors_.copy()
        model.fit(sparse.csr_array((values[some], (users[some], items[some])), (USERS, ITEMS)), initial_factors=start)
        np.testing.assert_allclose(left, model.item_factors_, rtol=1e-3, atol=1e-4)
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(left, plain, rtol=1e-3, atol=1e-4)


def test_popular_items_weigh_more_where_there_is_no_event() -> None:
    """c_i = n f_i^e / sum f^e: what the array says outright."""
    users, items, values = events()
    f = np.bincount(items, minlength=ITEMS).astype(float)
    c = np.sqrt(f) * ITEMS / np.sqrt(f).sum()
    options: dict[str, Any] = {"factors": 4, "random_state": 0, "unobserved_weight": 0.4, "regularization": 0.3}
    by_power = ImplicitALS(**options, unobserved_exponent=0.5).fit((users, items, values))
    by_array = ImplicitALS(**options).fit((users, items, values), item_unobserved_weight=c)
    np.testing.assert_allclose(by_power.item_factors_, by_array.item_factors_, rtol=1e-3, atol=1e-5)
    assert by_power.state_.equation.row_weights.unobserved is not None
    np.testing.assert_allclose(by_power.state_.equation.row_weights.unobserved, c, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# how they are given


@BOTH
def test_ways_to_say_the_same(cls: Any) -> None:
    data = labelled(*events())
    plain = cls(factors=3, random_state=0)
    labels = plain.fit(data).users_
    weights = np.arange(len(labels)) % 4 + 0.5
    named = dict(zip(labels.tolist(), weights.tolist(), strict=True))
    ways = (weights, weights.tolist(), named, named | {"nobody": 7.0}, pd.Series(weights, index=labels))
    fits = [cls(factors=3, random_state=0).fit(data, user_weight=way).item_factors_ for way in ways]
    for other in fits[1:]:
        assert np.array_equal(fits[0], other)
    few = cls(factors=3).fit(data, item_weight={data[1][0]: 2}).state_.equation.row_weights.items
    assert sorted(few.tolist()) == [1.0] * (len(few) - 1) + [2.0]


def test_what_is_no_weight_is_refused() -> None:
    data = labelled(*events())
    model = ImplicitALS(factors=3)
    for name in ("user_weight", "item_weight", "item_unobserved_weight"):
        axis = name.split("_", maxsplit=1)[0]
        for bad, error, message in (
            ([1.0, 2.0], fastals.DataError, f"{name} must have one number for each of"),
            ({data[axis == "item"][0]: -1}, fastals.ParameterError, f"{name} must be >= 0"),
            ({data[axis == "item"][0]: "2"}, fastals.ArgumentTypeError, f"{name} must be numbers"),
            ({data[axis == "item"][0]: np.nan}, fastals.DataError, f"{name} must be finite"),
            ({3: 1.0}, fastals.ArgumentTypeError, name),
            (2.0, fastals.DataError, f"{name} must be a mapping of {axis}s to numbers or an array"),
        ):
            with pytest.raises(error, match=message):
                model.fit(data, **{name: bad})
    with pytest.raises(fastals.DataError, match="user_weight must be above 0 for some of the users"):
        model.fit(data, user_weight=np.zeros(len(np.unique(data[0]))))
    with pytest.raises(fastals.ParameterError, match="item_unobserved_weight has no meaning for ratings"):
        ExplicitALS(factors=3).fit(data, item_unobserved_weight={})
    with pytest.raises(fastals.ParameterError, match="unobserved_exponent"):
        ImplicitALS(unobserved_exponent=-1)
    with pytest.raises(fastals.ParameterError, match="no meaning with this preset"):
        ImplicitALS.from_preset("implicit", factors=3).fit(data, user_weight={data[0][0]: 2})


# ---------------------------------------------------------------------------------------------------------------------
# what knows them


def pair(cls: Any, **parameters: Any) -> tuple[Any, Any]:
    users, items, values = events()
    more: dict[str, Any] = {"item_unobserved_weight": weights_of(ITEMS, 3) + 0.1} if cls is ImplicitALS else {}
    weights = weights_of(USERS, 1) + 0.1, weights_of(ITEMS, 2) + 0.1
    model = cls(**{"factors": 4, "random_state": 0, "regularization": 0.4, "dtype": "float64", **parameters})
    data = labelled(users, items, values)
    return model.fit(data, user_weight=weights[0], item_weight=weights[1], **more), data


@BOTH
@pytest.mark.parametrize("history", [True, False])
def test_files_hold_them(cls: Any, history: bool, tmp_path: Path) -> None:
    model, data = pair(cls)
    model.save(tmp_path / "model", history=history)
    loaded = fastals.load(tmp_path / "model")
    for one, other in zip(*(m.state_.equation.row_weights for m in (model, loaded)), strict=True):
        assert (one is None and other is None) or np.array_equal(one, other)
    new = (["x"] * 3, data[1][:3], [5, 4, 3])
    np.testing.assert_array_equal(loaded.fold_in(new), model.fold_in(new))
    if history:
        assert loaded.diagnose() == model.diagnose()


@BOTH
def test_new_rows_see_the_weights_of_the_others(cls: Any) -> None:
    """A user who is folded in with weights of his own has the vector of one who was trained."""
    model, data = pair(cls, iterations=400, tol=None, solver="cholesky")
    weights = model.state_.equation.row_weights
    user = data[0][0]
    row = model.users_.tolist().index(user)
    again = data[0] == user
    scale = np.full(int(again.sum()), weights.users[row])
    folded = model.fold_in(tuple(column[again] for column in data), sample_weight=scale)
    if cls is ExplicitALS:
        np.testing.assert_allclose(folded[0, :4], model.user_factors_[row], rtol=1e-3, atol=1e-4)
    Y = model.item_factors_
    if cls is ImplicitALS:  # whose unobserved cells weigh 1 now, not his weight
        places = [model.items_.tolist().index(item) for item in data[1][again]]
        r = data[2][again]
        V = weights.items * weights.unobserved
        s = scale * weights.items[places]
        A = (Y.T * V) @ Y + (Y[places].T * (s * r)) @ Y[places] + 0.4 * np.eye(4)
        np.testing.assert_allclose(folded[0], np.linalg.solve(A, Y[places].T @ (s * (1 + r))), rtol=1e-8)


@BOTH
def test_events_that_come_later(cls: Any) -> None:
    model, data = pair(cls, iterations=300, tol=None, solver="cholesky")
    before = model.user_factors_.copy(), model.item_factors_.copy()
    user, item = data[0][0], data[1][0]
    # the same rating again changes nothing; of events, nothing changes who was not asked
    model.partial_fit(([user], [item], [data[2][0]]), duplicates="last")
    if cls is ExplicitALS:
        np.testing.assert_allclose(model.item_factors_, before[1], rtol=1e-3, atol=1e-5)
    assert np.isfinite(model.user_factors_).all()
    model.partial_fit((["stranger"], [item], [4]))
    assert model.state_.equation.row_weights.users[-1] == 1
    assert len(model.state_.equation.row_weights.users) == len(model.users_)
    labels = model.users_.tolist()
    kept = np.delete(model.state_.equation.row_weights.users, [labels.index(user)])
    model.forget(users=[user])
    assert np.array_equal(model.state_.equation.row_weights.users, kept)


@BOTH
def test_explanations_add_up(cls: Any) -> None:
    model, data = pair(cls, iterations=400, tol=None, solver="cholesky")
    for place in (0, 7, 30):
        told = model.explain(data[0][place], data[1][-place], n=1000)
        assert told.score == pytest.approx(model.predict([data[0][place]], [data[1][-place]])[0], rel=1e-3)
    text = model.diagnose()
    assert f"loss {model.loss_history_[-1]:.6g}" in text
    assert "0.00% away" in text


@BOTH
def test_data_on_disk_are_weighed_likewise(cls: Any, tmp_path: Path) -> None:
    users, items, values = events()
    data = fastals.Interactions.from_arrays(users, items, values)
    stored = data.store(tmp_path / "cells") if hasattr(data, "store") else None
    if stored is None:
        stored = fastals.Interactions.from_arrays(users, items, values, on_disk=tmp_path / "cells")
    options = {"user_weight": weights_of(USERS, 1), "item_weight": weights_of(ITEMS, 2)}
    one, other = (cls(factors=4, random_state=0).fit(each, **options) for each in (data, stored))
    assert np.array_equal(one.item_factors_, other.item_factors_)
    assert one.loss_history_ == other.loss_history_


@BOTH
def test_a_checkpoint_is_of_these_weights(cls: Any, tmp_path: Path) -> None:
    data = events()
    model = cls(factors=3, random_state=0, iterations=4, tol=None)
    options: dict[str, Any] = {"checkpoint": tmp_path / "point", "checkpoint_every": 1}
    model.fit(data, user_weight=weights_of(USERS, 1), callback=lambda i, *_: i == 2, **options)
    for wrong in ({}, {"user_weight": weights_of(USERS, 9)}):
        with pytest.raises(fastals.ParameterError, match="belongs to another fit, with weights of rows="):
            model.fit(data, **wrong, **options)
    resumed = model.fit(data, user_weight=weights_of(USERS, 1), **options).item_factors_.copy()
    assert np.array_equal(resumed, model.fit(data, user_weight=weights_of(USERS, 1)).item_factors_)


def test_row_weights_of_parts() -> None:
    weights = RowWeights(np.array([1.0, 2, 3]), np.array([4.0, 5]), np.array([0.5, 1]))
    assert weights.share("users").tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert weights.share("items").tolist() == [2, 5]  # type: ignore[union-attr]
    assert weights.at("users", None).users is None
    assert weights.at("items", [1]).items.tolist() == [5]  # type: ignore[union-attr]
    assert RowWeights().share("items") is None
