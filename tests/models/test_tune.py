"""The search of settings."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse, stats

import fastals
from fastals import evaluation
from fastals._equation.settings import TOLERANCE
from fastals._models.tune import _fit


@pytest.fixture(scope="module")
def planted():
    """Four tastes: factors=4 is enough, and 1 is not."""
    rng = np.random.default_rng(0)
    likes = rng.random((120, 80)) < 0.5 * (np.arange(120)[:, None] % 4 == np.arange(80) % 4) + 0.02
    return sparse.csr_array(likes.astype(np.float32))


MODEL = fastals.ImplicitALS(regularization=0.01, iterations=9, tol=None, random_state=0)


def test_the_table_is_what_fits_measure(planted):
    train, held_out = evaluation.train_test_split(planted, 0.2, random_state=1)
    grid = {"factors": [1, 4], "regularization": [0.1, 1.0]}
    found = fastals.tune(MODEL, train, grid, validation=held_out, metric="recall@5", warm_start=False, refit=False)
    assert [row["recall@5"] for row in found.rows] == sorted((row["recall@5"] for row in found.rows), reverse=True)
    assert {tuple(row["params"].values()) for row in found.rows} == {(k, x) for k in (1, 4) for x in (0.1, 1.0)}
    for row in found.rows:
        model = fastals.ImplicitALS(**{**MODEL.get_params(), **row["params"]}).fit(train)
        for name, value in evaluation.evaluate(model, train, held_out, 5).items():
            assert row[name] == value
        assert (row["iterations"], row["warm_start"]) == (9, None)
    assert found.best_params == found.rows[0]["params"]
    assert found.best_params["factors"] == 4
    assert found.best_score == found.rows[0]["recall@5"]
    best = fastals.ImplicitALS(**{**MODEL.get_params(), **found.best_params}).fit(train)
    assert_array_equal(found.best_model.item_factors_, best.item_factors_)


def test_warm_starts_come_from_the_nearest_with_no_more_factors(planted):
    grid = {"regularization": [0.1, 10.0, 0.12], "factors": [4, 2]}
    found = fastals.tune(MODEL, planted, grid, random_state=0)
    origin = {tuple(row["params"].values()): row for row in found.rows}
    assert origin[0.1, 2]["warm_start"] is None
    assert origin[0.1, 2]["iterations"] == 9
    assert origin[10.0, 2]["warm_start"] == {"regularization": 0.1, "factors": 2}
    assert origin[0.12, 2]["warm_start"] == {"regularization": 0.1, "factors": 2}
    assert origin[0.1, 4]["warm_start"] == {"regularization": 0.1, "factors": 2}
    assert origin[0.12, 4]["warm_start"] == {"regularization": 0.1, "factors": 4}
    assert all(row["iterations"] == 3 for key, row in origin.items() if key != (0.1, 2))


def test_a_warm_start_ends_where_a_whole_fit_does(planted):
    """Growing the factors by padding loses nothing: the objective comes within a percent of the full fit's."""
    train, held_out = evaluation.train_test_split(planted, 0.2, random_state=1)
    model = fastals.ImplicitALS(iterations=30, random_state=0, solver="cholesky")
    grid = {"factors": [4, 8]}
    warm = fastals.tune(model, train, grid, validation=held_out, refit=False, metric="ndcg@10")
    cold = fastals.tune(model, train, grid, validation=held_out, refit=False, metric="ndcg@10", warm_start=False)
    for found, row in ((warm, warm.rows), (cold, cold.rows)):
        assert len(row) == 2, found
    for w in warm.rows:
        c = next(row for row in cold.rows if row["params"] == w["params"])
        assert w["ndcg@10"] == pytest.approx(c["ndcg@10"], abs=0.03)


@pytest.mark.parametrize("preset", [None, "cmfrec"])
def test_warm_starts_hand_biases_on(preset):
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 50)) < 0.3)
    values = 50 + 10 * rng.normal(size=60)[users] + 5 * rng.normal(size=50)[items] + rng.normal(size=len(users))
    data = fastals.Interactions.from_arrays(users, items, values)
    model = fastals.ExplicitALS(
        factors=4, regularization=1.0, biases=True, tol=None, dtype="float64", random_state=0, preset=preset
    )
    before = type(model)(**{**model.get_params(), "iterations": 40}).fit(data)
    _fit(model, data, before)
    assert model.n_iter_ == 5
    # the first iteration goes on from where the neighbour was
    assert model.loss_history_[0] <= before.loss_history_[-1] * (1 + 1e-9)
    assert model.loss_history_[0] == pytest.approx(before.loss_history_[-1], rel=1e-2)


def test_auto_in_the_grid_is_what_the_rule_gives(planted):
    train, held_out = evaluation.train_test_split(planted, 0.2, random_state=1)
    implicit, explicit = fastals.ImplicitALS(factors=4, random_state=0), fastals.ExplicitALS(factors=4, random_state=0)
    for base, names, others in (
        (implicit, ("regularization_scaling", "unobserved_weight", "confidence"), {"confidence": "linear"}),
        (explicit, ("regularization_scaling", "bias_regularization", "biases"), {"bias_regularization": 9.0}),
    ):
        settled = base._settled(train).get_params()
        for name in names:
            # whatever the model itself has there, the rule has its own
            for model in (base, type(base)(**{**base.get_params(), name: others.get(name, "auto")})):
                found = fastals.tune(model, train, {name: ["auto"]}, validation=held_out, refit=False)
                assert found.rows[0]["params"] == {name: "auto"}
                assert found.best_model.get_params()[name] == settled[name]
        found = fastals.tune(base, planted, {"regularization": ["auto"], "regularization_scaling": ["auto"]})
        assert found.best_model.regularization_scaling == settled["regularization_scaling"]
    found = fastals.tune(MODEL, planted, {"regularization_scaling": ["auto"]}, random_state=0)
    assert found.best_model.settings_["regularization_scaling"] == "constant"
    found = fastals.tune(implicit, planted, {"tol": ["auto"]}, random_state=0)
    assert found.best_model.settings_["tol"] == TOLERANCE


def test_refit_is_from_scratch_and_on_all_data(planted):
    found = fastals.tune(MODEL, planted, {"factors": [2, 4]}, random_state=0)
    whole = fastals.ImplicitALS(**{**MODEL.get_params(), **found.best_params}).fit(planted)
    assert_array_equal(found.best_model.item_factors_, whole.item_factors_)
    assert found.best_model.n_iter_ == 9


def test_a_warm_start_leaves_no_trace_in_the_file(planted, tmp_path):
    """It does a third of the iterations, which is no parameter of the model."""
    model = fastals.ImplicitALS(iterations=9, random_state=0)
    found = fastals.tune(model, planted, {"factors": [2, 4], "regularization": [0.1, 5.0]}, refit=False, random_state=0)
    assert any(row["warm_start"] for row in found.rows if row["params"] == found.best_params)
    found.best_model.save(tmp_path / "model")
    assert fastals.load(tmp_path / "model").get_params() == found.best_model.get_params()


def test_distributions(planted):
    grid = {"regularization": stats.loguniform(1e-3, 1e2), "factors": [2, 4], "solver": ["cholesky", "cg"]}
    one, two, three = (
        fastals.tune(MODEL, planted, grid, n_samples=5, random_state=seed, refit=False) for seed in (0, 0, 1)
    )
    assert len(one.rows) == 5
    assert [row["params"] for row in one.rows] == [row["params"] for row in two.rows]
    assert [row["params"] for row in one.rows] != [row["params"] for row in three.rows]
    assert all(1e-3 <= row["params"]["regularization"] <= 1e2 for row in one.rows)
    assert all(type(row["params"]["regularization"]) is float for row in one.rows)


def test_ratings_are_told_by_rmse():
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 30)) < 0.5)
    values = (1 + rng.random(40))[users] * (1 + rng.random(30))[items]
    for model, grid in (
        (fastals.ExplicitALS(random_state=0, regularization=1e-3), {"factors": [1, 2], "regularization": [1e-3, 10.0]}),
        (fastals.ItemKNN(feedback="explicit"), {"neighbors": [1, 20]}),
    ):
        found = fastals.tune(model, (users, items, values), grid, random_state=0)
        assert found.metric == "rmse"
        assert found.best_score == min(row["rmse"] for row in found.rows)
        assert found.best_score < 0.5
        by_r2 = fastals.tune(model, (users, items, values), grid, random_state=0, metric="r2")
        assert by_r2.best_score == max(row["r2"] for row in by_r2.rows)


def test_it_prints_a_table(planted):
    found = fastals.tune(fastals.UserKNN(), planted, {"neighbors": [1, 30]}, metric="recall@5", random_state=0)
    lines = str(found).splitlines()
    assert lines[0].split() == ["neighbors", "recall@5", "seconds"]
    assert lines[1].split()[:2] == [str(found.best_params["neighbors"]), f"{found.best_score:.4f}"]
    assert "best recall@5" in repr(found)
    assert found.rows[0]["iterations"] is None


def test_iterations_that_are_searched_are_done(planted):
    found = fastals.tune(MODEL, planted, {"iterations": [1, 6]}, random_state=0)
    assert {row["iterations"] for row in found.rows} == {1, 6}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": {"factor": [1]}}, "parameter name in grid must be one of .*'factors'.* got 'factor'"),
        ({"grid": {"factors": [0]}}, "factors must be >= 1, got 0"),
        ({"grid": {"factors": []}}, r"grid\['factors'\] must not be empty"),
        ({"grid": {"factors": 3}}, r"grid\['factors'\] must be a list or a distribution"),
        ({"grid": {"solver": "cg"}}, r"grid\['solver'\] must be a list or a distribution"),
        ({"grid": [1]}, "grid must map"),
        ({"metric": "ndcg"}, "metric must be one of 'ndcg@k'.* got 'ndcg'"),
        ({"metric": "rmse"}, "metric must be one of .* got 'rmse'"),
        ({"metric": "ndcg@0"}, "got 'ndcg@0'"),
        ({"metric": 5}, "got 5"),
        ({"n_samples": 0}, "n_samples must be >= 1"),
        ({"warm_start": 1}, "warm_start must be True or False"),
        ({"model": "als"}, "model must be a model of fastals, got str"),
    ],
)
def test_bad_arguments(planted, arguments, message):
    with pytest.raises(fastals.FastalsError, match=message):
        fastals.tune(**{"model": MODEL, "data": planted, "grid": {"factors": [2]}, **arguments})
    assert not hasattr(MODEL, "item_factors_")
