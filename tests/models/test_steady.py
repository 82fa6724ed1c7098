"""Fits that are drawn to another model: their objective, what is carried on, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from test_model import VARIANTS, Objective, check_nothing_is_lower
from test_model import events as cells

import fastals
from fastals import ExplicitALS, ImplicitALS

CHOSEN = (
    *("explicit, nu", "biases, weights, count, pair", "biases of their own", "nonnegative, biases"),
    *("implicit, weights", "implicit, nonnegative", "implicit, w0, nu", "implicit, log, count, pair"),
)
"""Of each kind some."""

BOTH = pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS])


def log(n: int = 4000, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 200, n), (rng.random(n) ** 2 * 90).astype(int)
    return np.char.add("u", users.astype(str)), np.char.add("i", items.astype(str)), rng.integers(1, 6, n)


def first(events: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    return tuple(column[:n] for column in events)


def pair(cls: Any, strength: Any = 1.0, **parameters: Any) -> tuple[Any, Any]:
    """Yesterday's model, and today's, which knows more users and items."""
    events = log()
    parameters = {"factors": 8, "random_state": 0, **parameters}
    before = cls(**parameters).fit(first(events, 600))
    return before, cls(**parameters).fit(events, prior=before, prior_strength=strength)


def cosine(before: Any, after: Any) -> float:
    places = [after.items_.tolist().index(label) for label in before.items_]
    old, new = before.item_factors_, after.item_factors_[places]
    lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
    return float(np.mean(np.sum(old * new, axis=1)[lengths > 0] / lengths[lengths > 0]))


# ---------------------------------------------------------------------------------------------------------------------
# the objective


class Drawn(Objective):
    """With mu |x - m|^2 of users and items, mu and m by label from the other model."""

    def __init__(self, model: Any, prior: Any, strength: tuple[float, float], *data: Any) -> None:
        super().__init__(model, *data)
        self.mu, self.means = list[Any](), list[Any]()
        for axis, own in enumerate(self.own):
            labels, old = ((m.users_, m.items_)[axis].tolist() for m in (model, prior))
            factors = (prior.user_factors_, prior.item_factors_)[axis]
            lam = np.repeat(self.lam[axis][:, np.newaxis], factors.shape[1], axis=1)
            if self.biased:
                factors = np.column_stack((factors, (prior.user_biases_, prior.item_biases_)[axis]))
                lam = np.column_stack((lam, np.full(len(lam), own)))
            known = np.array([label in old for label in labels])
            means = np.zeros((len(labels), factors.shape[1]))
            means[known] = factors[[old.index(label) for label in labels if label in old]]
            self.means.append(means)
            self.mu.append(strength[axis] * lam * known[:, np.newaxis])
            assert known.any()
            assert not known.all()

    def __call__(self, p: Any) -> tuple[float, Any]:
        value, gradient = super().__call__(p)
        X, Y, _ = self.split(p)
        away = [F - means for F, means in zip((X, Y), self.means, strict=True)]
        value += sum(float(np.sum(mu * d * d)) for mu, d in zip(self.mu, away, strict=True))
        more = [2 * (mu * d).ravel() for mu, d in zip(self.mu, away, strict=True)]
        return value, gradient + np.concatenate([*more, [0.0]])


@pytest.mark.parametrize("name", CHOSEN)
def test_scipy_finds_no_lower_value_than_a_converged_fit(name: str) -> None:
    strength = 0.3, 4.0
    cls, parameters, weighted = VARIANTS[name]
    users, items, values = cells()
    if cls is ImplicitALS:
        values[::6] *= -1
    weights = np.random.default_rng(5).uniform(0.2, 3, len(users)) if weighted else None
    model = cls(**{
        **{"factors": 4, "iterations": 1500, "dtype": "float64", "random_state": 0, "solver": "cholesky"},
        **{"regularization": 1.5, **parameters},
    })  # fmt: skip
    labels = (
        np.char.add("u", np.char.zfill(users.astype(str), 3)),
        np.char.add("i", np.char.zfill(items.astype(str), 3)),
    )
    seen = (users % 4 > 0) & (items % 5 > 0)
    prior = type(model)(**model.get_params()).set_params(iterations=3)
    prior.fit(tuple(column[seen] for column in (*labels, values)))
    model.fit((*labels, values), sample_weight=weights, prior=prior, prior_strength=strength)
    assert model.prior_strength_ == strength
    cls(**model.settings_)  # how much was drawn is no parameter
    objective = Drawn(model, prior, strength, users, items, values, weights)
    check_nothing_is_lower(model, objective, 300)


# ---------------------------------------------------------------------------------------------------------------------
# what it does


@BOTH
@pytest.mark.parametrize("parameters", [{}, {"factors": 40}, {"nonnegative": True}, {"solver": "cg", "factors": 33}])
def test_vectors_are_steadier_the_stronger_they_are_drawn(cls: Any, parameters: Any) -> None:
    found = [cosine(*pair(cls, strength, **parameters)) for strength in (0.0, 1.0, 30.0)]
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.85  # of nonnegative ratings many vectors are next to nothing


@BOTH
def test_a_very_strong_prior_is_the_model_of_yesterday(cls: Any) -> None:
    before, after = pair(cls, 1e7, dtype="float64")
    users = np.isin(after.users_, before.users_)
    np.testing.assert_allclose(after.user_factors_[users], before.user_factors_, rtol=1e-3, atol=1e-5)
    assert np.abs(after.user_factors_[~users]).max() > 1e-3


@BOTH
def test_the_same_bits_for_any_number_of_threads(cls: Any) -> None:
    models = [pair(cls, num_threads=threads, factors=34)[1] for threads in (1, 2, 4)]
    for other in models[1:]:
        assert np.array_equal(models[0].user_factors_, other.user_factors_)
        assert np.array_equal(models[0].item_factors_, other.item_factors_)
        assert models[0].loss_history_ == other.loss_history_


@BOTH
def test_it_starts_from_there_or_from_where_it_is_told_to(cls: Any) -> None:
    events = log()
    before = cls(factors=8, random_state=0).fit(first(events, 600))
    made = cls(factors=8, iterations=0).fit(events, prior=before)
    known = np.isin(made.users_, before.users_)
    assert np.array_equal(made.user_factors_[known], before.user_factors_)
    assert not made.user_factors_[~known].any()
    # strength 0: nothing but the start
    warm = cls(factors=8).fit(events, prior=before, prior_strength=0)
    assert warm.state_.priors == (None, None)
    assert warm.prior_strength_ == (0, 0)
    given = np.ones((len(made.users_), 8)), np.ones((len(made.items_), 8))
    told = cls(factors=8, iterations=0).fit(events, prior=before, initial_factors=given)
    assert (told.user_factors_ == 1).all()
    # one side alone
    side = cls(factors=8).fit(events, prior=before, prior_strength=(0, 2))
    assert side.state_.priors[0] is None
    assert side.state_.priors[1] is not None


@BOTH
@pytest.mark.parametrize("scaling", ["constant", "count"])
def test_a_user_without_events_stays_where_he_was(cls: Any, scaling: Any) -> None:
    """Of ratings: (lambda + mu)^-1 mu m; lambda of no cells is 0 where it grows with them."""
    matrix = sparse.random_array((40, 30), density=0.3, rng=np.random.default_rng(0), format="lil")
    before = cls(factors=3, regularization=0.5, regularization_scaling=scaling, random_state=0).fit(matrix.tocsr())
    matrix[7] = 0
    after = cls(factors=3, regularization=0.5, regularization_scaling=scaling, iterations=200, tol=None)
    after.fit(matrix.tocsr(), prior=before)
    x, m = after.user_factors_[7], before.user_factors_[7]
    assert x.any()
    if cls is ExplicitALS:
        np.testing.assert_allclose(x, m / (2 if scaling == "constant" else 1), rtol=1e-5)
    else:  # he is asked for nothing by all items
        Y = after.item_factors_
        lam = 0.5 * (scaling == "constant")
        np.testing.assert_allclose(x, np.linalg.solve(Y.T @ Y + (lam + 0.5) * np.eye(3), 0.5 * m), rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# what knows it


@BOTH
@pytest.mark.parametrize("history", [True, False])
def test_files_hold_it(cls: Any, history: bool, tmp_path: Path) -> None:
    _, model = pair(cls)
    model.save(tmp_path / "model", history=history)
    loaded = fastals.load(tmp_path / "model")
    assert loaded.settings_ == model.settings_
    if not history:
        assert loaded.state_.priors == (None, None)
        return
    for one, other in zip(model.state_.priors, loaded.state_.priors, strict=True):
        assert all(np.array_equal(*arrays) for arrays in zip(one, other, strict=True))
    assert loaded.diagnose() == model.diagnose()
    for each in (model, loaded):
        each.partial_fit((["u1", "new"], ["i2", "i2"], [5, 4]))
    assert np.array_equal(loaded.user_factors_, model.user_factors_)
    # and another day comes
    assert cls(factors=8).fit(log(), prior=loaded).n_iter_ > 0


@BOTH
def test_rows_stay_drawn_when_new_events_come(cls: Any) -> None:
    before, model = pair(cls, 1e6, regularization=0.1)
    assert "u1" in before.users_
    old = model.user_factors_[model.users_.tolist().index("u1")].copy()
    model.partial_fit((["u1", "stranger"], ["i2", "i2"], [5, 4]))
    labels = model.users_.tolist()
    np.testing.assert_allclose(model.user_factors_[labels.index("u1")], old, rtol=1e-2, atol=1e-4)
    assert model.user_factors_[labels.index("stranger")].any()
    assert not model.state_.priors[0].draws[labels.index("stranger")]
    # who is folded in is drawn to nothing
    folded = model.fold_in((["u1"], ["i2"], [5]))
    assert not np.allclose(folded[0, :8], old, rtol=1e-2, atol=1e-4)


@BOTH
def test_forgetting_forgets_what_rows_are_drawn_to(cls: Any) -> None:
    _, model = pair(cls)
    labels = model.users_.tolist()
    kept = [place for place, label in enumerate(labels) if label not in ("u1", "u5")]
    expected = [array[kept].copy() for array in model.state_.priors[0]]
    model.forget(users=["u1", "u5"])
    assert all(np.array_equal(*arrays) for arrays in zip(expected, model.state_.priors[0], strict=True))


@BOTH
@pytest.mark.parametrize("nonnegative", [False, True])
def test_explanations_add_up(cls: Any, nonnegative: bool) -> None:
    """What the user is drawn to is no part of the history."""
    _, model = pair(cls, 2.0, nonnegative=nonnegative, dtype="float64", iterations=400, tol=None)
    for user, item in (("u1", "i3"), ("u7", "i0"), ("u100", "i11")):
        told = model.explain(user, item, n=10_000)
        assert told.score == pytest.approx(model.predict([user], [item])[0], rel=1e-5, abs=1e-7)
        assert told.score == pytest.approx(told.base + told.contributions.sum(), rel=1e-9)
        if cls is ImplicitALS:
            assert told.base != 0


@BOTH
def test_the_report_knows_it(cls: Any) -> None:
    _, model = pair(cls, iterations=60, tol=None)
    text = model.diagnose()
    assert "prior_strength=(1, 1)" in text
    assert f"loss {model.loss_history_[-1]:.6g}" in text
    assert "0.00% away" in text


@BOTH
def test_a_checkpoint_is_of_one_prior(cls: Any, tmp_path: Path) -> None:
    events = log()
    before = cls(factors=8, random_state=0).fit(first(events, 600))
    other = cls(factors=8, random_state=1).fit(first(events, 600))

    def fit(prior: Any, **options: Any) -> Any:
        model = cls(factors=8, iterations=6, tol=None)
        return model.fit(events, prior=prior, checkpoint=tmp_path / "point", checkpoint_every=1, **options)

    whole = cls(factors=8, iterations=6, tol=None).fit(events, prior=before)
    fit(before, callback=lambda iteration, *_: iteration == 3)
    for wrong, options in ((other, {}), (before, {"prior_strength": 2}), (None, {})):
        with pytest.raises(fastals.ParameterError, match="belongs to another fit, with prior="):
            fit(wrong, **options)
    resumed = fit(before)
    assert resumed.loss_history_ == whole.loss_history_
    assert np.array_equal(resumed.item_factors_, whole.item_factors_)


# ---------------------------------------------------------------------------------------------------------------------
# what is refused


def test_what_is_no_prior_of_this_fit_is_refused() -> None:
    events = log()
    small = first(events, 600)
    model, before = ImplicitALS(factors=8), ImplicitALS(factors=8, random_state=0).fit(small)
    numbers = np.arange(600) % 50, np.arange(600) % 20
    for prior, error, message in (
        (ExplicitALS(factors=8).fit(small), fastals.ArgumentTypeError, "prior must be a fitted ImplicitALS, got Exp"),
        ("yesterday.fals", fastals.ArgumentTypeError, "prior must be a fitted ImplicitALS, got str"),
        (ImplicitALS(factors=8), fastals.NotFittedError, "fit"),
        (ImplicitALS(factors=9).fit(small), fastals.ParameterError, "the same factors.*got 9, not 8"),
        (ImplicitALS(factors=8, dtype="float64").fit(small), fastals.ParameterError, "same dtype.*'float64', not 'fl"),
        (ImplicitALS(factors=8, nonnegative=True).fit(small), fastals.ParameterError, "same nonnegative"),
        (ImplicitALS(factors=8).fit(numbers), fastals.DataError, "prior must know users by the same kind.*integers"),
        (ImplicitALS(factors=8).fit((["x", "y"], ["v", "w"])), fastals.DataError, "prior must know some user"),
    ):
        with pytest.raises(error, match=message):
            model.fit(events, prior=prior)
    for strength in (-1, np.nan, "much", (1, 2, 3), (1, -1)):
        with pytest.raises((fastals.ParameterError, fastals.ArgumentTypeError), match="prior_strength"):
            model.fit(events, prior=before, prior_strength=strength)
    with pytest.raises(fastals.ParameterError, match="prior_strength needs prior="):
        model.fit(events, prior_strength=2)
    with pytest.raises(fastals.ParameterError, match="prior_strength counts in lambda, which is 0 for users"):
        ImplicitALS(factors=8, regularization=0).fit(events, prior=before)
    with pytest.raises(fastals.ParameterError, match=r"biases that are trained.*got True, not False"):
        ExplicitALS(factors=8, biases=False).fit(events, prior=ExplicitALS(factors=8).fit(small))
    matrix = sparse.random_array((40, 30), density=0.3, rng=np.random.default_rng(0))
    with pytest.raises(fastals.DataError, match="strings, not indices"):
        model.fit(matrix, prior=before)
    assert not hasattr(model, "user_factors_")


def test_a_model_may_be_its_own_prior() -> None:
    events = log()
    model = ImplicitALS(factors=8, random_state=0).fit(first(events, 600))
    expected = ImplicitALS(factors=8).fit(events, prior=model)
    assert np.array_equal(model.fit(events, prior=model).item_factors_, expected.item_factors_)
