"""Contributions sum to the score, and each is what the score would lose."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS


def random_matrix(signed: bool = False) -> sparse.csr_array:
    rng = np.random.default_rng(0)
    dense = (rng.random((40, 30)) < 0.25) * rng.integers(1, 6, (40, 30))
    if signed:
        dense *= np.where(rng.random(dense.shape) < 0.3, -1, 1)
    return sparse.csr_array(dense.astype(np.float64))


VARIANTS: dict[str, Any] = {
    "default ratings": lambda **kw: ExplicitALS(**kw),
    "default events": lambda **kw: ImplicitALS(**kw),
    "explicit": lambda **kw: ExplicitALS(biases=False, **kw),
    "explicit, count": lambda **kw: ExplicitALS(biases=False, regularization_scaling="count", **kw),
    "biases": lambda **kw: ExplicitALS(biases=True, **kw),
    "cmfrec": lambda **kw: ExplicitALS.from_preset("cmfrec", **kw),
    "lenskit": lambda **kw: ExplicitALS.from_preset("lenskit", **kw),
    "implicit": lambda **kw: ImplicitALS(alpha=3.0, **kw),
    "weighted": lambda **kw: ImplicitALS(unobserved_weight=0.2, regularization_scaling=0.5, **kw),
    "log": lambda **kw: ImplicitALS(confidence="log", **kw),
    "irspack": lambda **kw: ImplicitALS.from_preset("irspack", **kw),
    "spark": lambda **kw: ImplicitALS.from_preset("spark", **kw),
    "nonnegative": lambda **kw: ImplicitALS(nonnegative=True, **kw),
    "nonnegative biases": lambda **kw: ExplicitALS(nonnegative=True, biases=True, **kw),
    "buffalo": lambda **kw: ImplicitALS.from_preset("buffalo", **kw),
}


def scores_of(model: Any, matrix: Any, sample_weight: Any = None) -> NDArray[np.float64]:
    """Every score of folded-in users, by the public attributes."""
    factors = model.fold_in(matrix, sample_weight=sample_weight)
    k = model.item_factors_.shape[1]
    scores = factors[:, :k] @ model.item_factors_.T
    if isinstance(model, ExplicitALS):
        scores = scores + model.global_mean_
        if model.item_biases_ is not None:
            scores = scores + factors[:, k:] + model.item_biases_
    return np.asarray(scores)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_contributions_sum_to_the_score(variant: str, weights: bool) -> None:
    matrix = random_matrix()
    sample_weight = np.random.default_rng(1).random(matrix.nnz) if weights else None
    model = VARIANTS[variant](factors=5, iterations=3, dtype="float64", random_state=0)
    model.fit(matrix, sample_weight=sample_weight)
    scores = scores_of(model, matrix, sample_weight)
    for user, item in ((0, 0), (7, 3), (12, 29), (39, 11)):
        why = model.explain(user, item, n=100)
        assert sorted(why.items.tolist()) == matrix[[user]].indices.tolist()
        assert (np.diff(why.contributions) <= 0).all()
        assert why.contributions.sum() + why.base == pytest.approx(why.score, abs=1e-12)
        assert why.score == pytest.approx(scores[user, item], rel=1e-8, abs=1e-10)
        best = model.explain(user, item, n=2)
        assert (best.score, best.base) == (why.score, why.base)
        np.testing.assert_array_equal(best.items, why.items[:2])
        np.testing.assert_array_equal(best.contributions, why.contributions[:2])


def test_a_contribution_is_linear_in_the_rating() -> None:
    """Explicit: a rating of one more moves the score by contribution / rating, the others stay."""
    matrix = random_matrix()
    model = ExplicitALS(factors=4, biases=False, dtype="float64", random_state=0).fit(matrix)
    row = matrix[[5]]
    before = model.explain(None, 3, n=50, history=row)
    more = row.copy()
    more.data[2] += 1
    after = model.explain(None, 3, n=50, history=more)
    at = before.items.tolist().index(row.indices[2])
    share = before.contributions[at] / row.data[2]
    assert after.score - before.score == pytest.approx(share, rel=1e-9)
    parts = dict(zip(before.items.tolist(), before.contributions, strict=True))
    for item, part in zip(after.items.tolist(), after.contributions, strict=True):
        assert part == pytest.approx(parts[item] + (share if item == row.indices[2] else 0), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_histories_explain_as_users_do(variant: str) -> None:
    matrix = random_matrix()
    model = VARIANTS[variant](factors=5, iterations=3, dtype="float64", random_state=0).fit(matrix)
    for user in (0, 8):
        one, other = model.explain(user, 4), model.explain(None, 4, history=matrix[[user]])
        assert one.score == pytest.approx(other.score, rel=1e-9)
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_allclose(one.contributions, other.contributions, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
def test_with_users_solved_last_it_is_what_predict_says(model: Any) -> None:
    matrix = random_matrix()
    fitted = model.from_preset("spark", factors=5, dtype="float64", random_state=0).fit(matrix)
    for user, item in ((0, 0), (7, 3), (12, 29)):
        assert fitted.explain(user, item).score == pytest.approx(fitted.predict(user, item), rel=1e-9)


def test_implicits_test_explain() -> None:
    """Contributions sum to the score, fall, and name the items of the history."""
    counter = sparse.csr_array(
        np.array([[1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0], [1, 4, 1, 0, 7, 0], [1, 1, 0, 0, 0, 0], [9, 0, 4, 1, 0, 1]])
    )
    model = ImplicitALS(factors=4, regularization=20, iterations=20, random_state=0).fit(counter)
    for user in range(5):
        folded = model.fold_in(counter)[user] @ model.item_factors_.T
        for item in range(6):
            why = model.explain(user, item)
            assert why.score == pytest.approx(folded[item], abs=1e-5)
            assert why.base == 0
            assert why.contributions.sum() == pytest.approx(why.score, abs=1e-9)
            assert set(why.items) == set(counter[[user]].indices)
        # the stronger a cell, the more of it there is
    assert model.explain(2, 4).items[0] == 4


def test_signs_singular_systems_and_no_history() -> None:
    signed = random_matrix(signed=True)
    model = ImplicitALS(factors=4, dtype="float64", random_state=0).fit(signed)
    why = model.explain(0, 1, n=50)
    assert why.score == pytest.approx((model.fold_in(signed)[0] @ model.item_factors_[1]), rel=1e-8)
    negative = [item for item in why.items if signed[0, item] < 0]
    assert negative
    assert all(why.contributions[why.items.tolist().index(item)] == 0 for item in negative)
    free = ExplicitALS(factors=20, regularization=0, biases=False, dtype="float64", random_state=0).fit(random_matrix())
    why = free.explain(0, 1)
    assert why.score == pytest.approx(free.fold_in(random_matrix())[0] @ free.item_factors_[1], rel=1e-6, abs=1e-8)
    lonely = sparse.csr_array(np.array([[1.0, 2.0], [0, 0]]))
    why = ImplicitALS(factors=2, random_state=0).fit(lonely).explain(1, 0)
    assert why.items.shape == why.contributions.shape == (0,)
    assert why.score == 0


def test_labels_and_errors(tmp_path: Path) -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["u", "u", "v"], ["a", "b", "b"]))
    assert sorted(model.explain("u", "b").items) == ["a", "b"]
    assert model.explain(None, "b", history=(["new"], ["a"])).items.tolist() == ["a"]
    for arguments, error in (
        (("w", "b"), fastals.UnknownLabelError),
        (("u", "z"), fastals.UnknownLabelError),
        ((None, "a"), fastals.ParameterError),
        (("u", "a", 0), fastals.ParameterError),
    ):
        with pytest.raises(error):
            model.explain(*arguments)
    with pytest.raises(fastals.ParameterError, match="one of user and history"):
        model.explain("u", "a", history=(["new"], ["a"]))
    with pytest.raises(fastals.DataError, match="of one user, got 2"):
        model.explain(None, "a", history=(["new", "newer"], ["a", "a"]))
    with pytest.raises(fastals.NotFittedError):
        ImplicitALS().explain(0, 0)
    model.save(tmp_path / "lean", history=False)
    lean = fastals.load(tmp_path / "lean")
    with pytest.raises(fastals.NotFittedError, match="history"):
        lean.explain("u", "a")
    assert lean.explain(None, "a", history=(["u", "u"], ["a", "b"])).score == pytest.approx(
        model.explain("u", "a").score
    )
