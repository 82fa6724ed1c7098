"""The health report tells the truth, and the estimate of memory what is measured."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._inspect.diagnose import _far_off, conditions
from fastals._models.validation import Validation


def random_matrix(n_users: int = 60, n_items: int = 40, density: float = 0.2) -> sparse.csr_array:
    rng = np.random.default_rng(0)
    dense = (rng.random((n_users, n_items)) < density) * rng.integers(1, 6, (n_users, n_items))
    return sparse.csr_array(dense.astype(np.float64))


VARIANTS: dict[str, Any] = {
    "default ratings": lambda **kw: ExplicitALS(**kw),
    "default events": lambda **kw: ImplicitALS(**kw),
    "explicit": lambda **kw: ExplicitALS(biases=False, **kw),
    "biases": lambda **kw: ExplicitALS(biases=True, **kw),
    "lenskit": lambda **kw: ExplicitALS.from_preset("lenskit", **kw),
    "cmfrec": lambda **kw: ExplicitALS.from_preset("cmfrec", **kw),
    "implicit": lambda **kw: ImplicitALS(alpha=2.0, **kw),
    "weighted": lambda **kw: ImplicitALS(unobserved_weight=0.2, regularization_scaling=0.5, confidence="log", **kw),
    "nonnegative": lambda **kw: ImplicitALS(nonnegative=True, **kw),
    "nonnegative biases": lambda **kw: ExplicitALS(nonnegative=True, biases=True, **kw),
    "spark": lambda **kw: ImplicitALS.from_preset("spark", **kw),
}


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_is_the_one_that_fit_reports(variant: str, weights: bool) -> None:
    matrix = random_matrix()
    sample_weight = np.random.default_rng(1).random(matrix.nnz) if weights else None
    model = VARIANTS[variant](factors=4, iterations=5, dtype="float64", random_state=0)
    model.fit(matrix, sample_weight=sample_weight)
    sides = model.state_.trained_sides(2)
    for side in sides:
        loss, at_zero = side.loss(model.state_.mean), side.constant(model.state_.mean)
        assert loss + sides[0].penalty() + sides[1].penalty() == pytest.approx(model.loss_history_[-1], rel=1e-9)
        assert loss < at_zero
    said = re.search(r"^loss (\S+): cells (\S+), users' penalty (\S+), items' penalty (\S+);", model.diagnose(), re.M)
    assert said
    total, *parts = map(float, said.groups())
    assert total == pytest.approx(model.loss_history_[-1], rel=1e-5)
    assert sum(parts) == pytest.approx(total, rel=1e-5)


def test_condition_numbers_are_those_of_the_rows_systems() -> None:
    matrix = random_matrix(20, 15)
    model = ImplicitALS(factors=4, regularization=0.01, alpha=2.0, dtype="float64", random_state=0).fit(matrix)
    users, _ = model.state_.trained_sides(2)
    Y = model.item_factors_
    expected = []
    for row in matrix:
        A, _ = reference.row_system(reference.gram(Y), Y[row.indices], 2 * row.data, 1 + 2 * row.data, 0.01)
        expected.append(np.linalg.cond(A))
    np.testing.assert_allclose(conditions(users, 0.0), expected, rtol=1e-8)


def test_a_healthy_model_has_no_worries() -> None:
    model = ImplicitALS(factors=4, iterations=40, random_state=0).fit(random_matrix())
    report = model.diagnose()
    assert "!" not in report
    assert "60 users x 40 items" in report
    assert "users: 0 without cells, 0 with cells but of zeros" in report
    assert "items' systems: exact solutions are 0.00% away, 0 are singular" in report
    assert "lists of 10 for 60 users" in report
    before = model.user_factors_.copy()
    model.diagnose()
    np.testing.assert_array_equal(model.user_factors_, before)


def test_what_is_wrong_is_said() -> None:
    matrix = random_matrix()
    # implicit with lambda = 500 has factors of 1e-15 and recommends all the same
    report = ImplicitALS(factors=4, regularization=5e4, random_state=0).fit(matrix).diagnose()
    assert "! the factors explain next to nothing: regularization outweighs the data" in report
    report = ExplicitALS(factors=30, regularization=0, random_state=0).fit(matrix).diagnose()
    assert re.search(r"! \d+ users have singular systems, or nearly: a little regularization", report)
    report = ExplicitALS(factors=8, iterations=2, random_state=0).fit(matrix).diagnose()
    assert "! the loss is still falling" in report
    wide = sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(60, 400))
    report = ImplicitALS(factors=4, iterations=20, random_state=0).fit(wide).diagnose()
    assert "items: 360 without cells" in report
    assert "! more than half of the items have no cells" in report
    negative = sparse.csr_array(np.where(np.arange(60)[:, None] < 20, -matrix.toarray(), matrix.toarray()))
    report = ImplicitALS(factors=4, iterations=20, random_state=0).fit(negative).diagnose()
    assert "users: 0 without cells, 20 with cells but of zeros" in report


def test_scores_far_outside_the_data_are_told() -> None:
    matrix = random_matrix()
    model = ExplicitALS(factors=4, regularization=1.0, biases=True, random_state=0).fit(matrix)
    assert "are outside" not in model.diagnose()
    factors = model.user_factors_.copy()
    factors[7] *= 1000
    model.user_factors_ = factors
    said = re.search(
        r"! ([\d,]+) of 100,000 scores, the farthest (\S+), are outside -3 to 9, the range", model.diagnose()
    )
    assert said
    scores = model.predict(np.full(40, 7), np.arange(40))
    assert float(said[2]) == pytest.approx(scores[np.argmax(np.abs(scores - 3))], rel=1e-3)
    share = int(said[1].replace(",", "")) / 100_000
    assert 0.5 / 60 < share < 1.5 / 60
    factors[7] = np.nan
    state = replace(model.state_, user_factors=factors)
    wrong = _far_off(state, state.trained_sides(2), (np.ones(60, int), np.ones(40, int)), 2)
    assert len(wrong) == 1
    assert re.match(r"1,\d\d\d of 100,000 scores are not finite", wrong[0])

    model = ImplicitALS(
        factors=4, regularization=5.0, alpha=1.0, unobserved_weight=1.0, confidence="linear", random_state=0
    ).fit(matrix)
    assert "are outside" not in model.diagnose()
    factors = model.item_factors_.copy()
    factors[3] *= -1000
    model.item_factors_ = factors
    # the largest target is (1 + r) / (1 + r)
    assert re.search(r"! [\d,]+ of 100,000 scores, the farthest -\S+, are outside -3 to 3, 3 times", model.diagnose())


def test_ratings_that_are_all_alike_have_a_range() -> None:
    matrix = random_matrix()
    matrix.data[:] = 4
    model = ExplicitALS(factors=2, regularization=1.0, biases=True, random_state=0).fit(matrix)
    assert "are outside" not in model.diagnose()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1e-3, 3.3, 4.0, 1e6])
@pytest.mark.parametrize("parameters", [{}, {"regularization": 0.1}, {"preset": "lenskit"}, {"iterations": 2}], ids=str)
def test_ratings_that_are_all_alike_are_no_worry(parameters: dict[str, Any], value: float, dtype: str) -> None:
    matrix = random_matrix()
    matrix.data[:] = value
    model = ExplicitALS(**{"factors": 8, "dtype": dtype, "random_state": 0, **parameters}).fit(matrix)
    report = model.diagnose()
    assert "asked for them: RMSE" in report
    assert "!" not in report
    # but a model without a mean has them to explain
    model = ExplicitALS(factors=8, dtype=dtype, random_state=0, biases=False, regularization=1e4 * value).fit(matrix)
    assert "! the factors explain next to nothing" in model.diagnose()


def test_the_iteration_that_was_kept_is_named() -> None:
    matrix = random_matrix()
    held_out = sparse.csr_array((np.random.default_rng(1).random(matrix.shape) < 0.2).astype(float))
    model = ImplicitALS(factors=8, regularization=0.01, tol=None, random_state=0)
    model.fit(matrix, validation=held_out, patience=2)
    best, done = model.best_iteration_, model.n_iter_
    assert best is not None
    assert best < done
    report = model.diagnose()
    assert f"after {done} iterations; kept was number {best}, the best by what was held out" in report
    assert "the last one" not in report
    assert "still falling" not in report
    assert "the last one" in model.fit(matrix).diagnose()


def test_any_model_can_be_asked(tmp_path: Path) -> None:
    matrix = random_matrix()
    model = ImplicitALS(factors=3, iterations=1, random_state=0).fit(matrix)
    model.save(tmp_path / "lean", history=False)
    lean = fastals.load(tmp_path / "lean").diagnose()
    assert "saved without its history" in lean
    assert "lists of 10" in lean
    model.save(tmp_path / "model")
    assert fastals.load(tmp_path / "model").diagnose() == model.diagnose()
    assert "1 users x 1 items" in ImplicitALS(factors=3, iterations=0).fit(([0], [0])).diagnose()
    assert "lists" in model.partial_fit(random_matrix(70, 50)).diagnose()
    with pytest.raises(fastals.NotFittedError):
        ImplicitALS().diagnose()


# ---------------------------------------------------------------------------------------------------------------------
# memory


SHAPES = {"cells": (4000, 1000, 150), "users": (40_000, 500, 10), "items": (400, 30_000, 200)}
FITS: dict[str, Any] = {
    "implicit": (ImplicitALS, {}, {}),
    "exact": (ImplicitALS, {"solver": "cholesky"}, {}),
    "float64": (ImplicitALS, {"dtype": "float64", "factors": 64}, {}),
    "log": (ImplicitALS, {"confidence": "log"}, {}),
    "explicit": (ExplicitALS, {}, {}),
    "biases": (ExplicitALS, {"biases": True}, {}),
    "weights": (ImplicitALS, {}, {"sample_weight": True}),
    "validated": (ImplicitALS, {}, {"validation": True}),
    "validated ratings": (ExplicitALS, {}, {"validation": True}),
    "users last": (ExplicitALS, {"preset": "cmfrec", "regularization": 10.0, "solver": "auto"}, {}),
    "users last validated": (ImplicitALS, {"preset": "cmfrec", "solver": "auto"}, {"validation": True}),
    "fixed biases": (ExplicitALS, {"preset": "lenskit", "biases": True}, {}),
    "negative": (ImplicitALS, {}, {"negative": True}),
    "negative, no rule": (ImplicitALS, {"regularization": 0.1}, {"negative": True}),
    "repeated": (ImplicitALS, {"preset": "spark", "solver": "auto"}, {"repeated": True}),
    "weighted ratings": (ExplicitALS, {}, {"sample_weight": True}),
}


@pytest.mark.parametrize(
    ("shape", "kind"),
    [("cells", kind) for kind in FITS]
    + [
        (shape, kind)
        for shape in ("users", "items")
        for kind in ("implicit", "biases", "validated", "validated ratings", "users last", "users last validated")
    ],
)
def test_the_estimate_is_what_is_measured(shape: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # where the first iteration is the best, its factors stay beside those of two others
    monkeypatch.setattr(Validation, "is_better", lambda self, metrics, training: not training.best)
    n_users, n_items, per_user = SHAPES[shape]
    rng = np.random.default_rng(0)
    indices = np.concatenate([np.sort(rng.permutation(n_items)[:per_user]) for _ in range(n_users)]).astype(np.int32)
    indptr = np.arange(0, len(indices) + 1, per_user)
    values = rng.integers(1, 6, len(indices)).astype(np.float32)
    cls, parameters, extra = FITS[kind]
    if "negative" in extra:
        values[rng.random(len(values)) < 0.9] *= -1
    matrix: Any = sparse.csr_array((values, indices, indptr), shape=(n_users, n_items))
    if "repeated" in extra:
        matrix.indices[1::2] = matrix.indices[::2]
    model = cls(**{"factors": 32, "iterations": 4, "num_threads": 2, "random_state": 0, **parameters})
    arguments = {
        "sample_weight": np.ones(matrix.nnz, np.float32) if "sample_weight" in extra else None,
        "validation": sparse.csr_array(matrix[::-1]) if "validation" in extra else None,
    }
    model.fit(random_matrix())  # what is loaded once
    tracemalloc.start()
    model.fit(matrix, **arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    need = model.estimate_memory(
        n_users,
        n_items,
        matrix.nnz,
        sample_weight="sample_weight" in extra,
        validation=matrix.nnz if "validation" in extra else 0,
    )
    assert need.total == need.cells + need.factors + need.work
    assert peak <= need.total <= 1.35 * peak, (need, peak)


def test_the_estimate_checks_its_arguments() -> None:
    for arguments in ((0, 5, 5), (5, 0, 5), (5, 5, 0), (5, 5, 2.5)):
        with pytest.raises(fastals.FastalsError):
            ImplicitALS().estimate_memory(*arguments)
