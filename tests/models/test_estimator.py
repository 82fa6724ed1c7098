"""The estimators in scikit-learn's own hands."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import fastals
from fastals import evaluation

ESTIMATORS = [
    fastals.ExplicitALS(factors=3, regularization=0.1, random_state=0),
    fastals.ImplicitALS(factors=3, alpha=2.0),
    fastals.ImplicitALS.from_preset("spark", factors=4),
    fastals.ItemKNN(neighbors=5, feedback="explicit"),
    fastals.UserKNN(shrinkage=2.0),
    fastals.EASE(regularization=2.0),
]


@pytest.fixture(scope="module")
def ratings():
    """X of labels, y of rank 1."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 30)) < 0.5)
    y = (1 + rng.random(40))[users] * (1 + rng.random(30))[items]
    X = np.column_stack([np.char.mod("u%02d", users), np.char.mod("i%02d", items)])
    order = rng.permutation(len(y))
    return X[order], y[order]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_clone(estimator, ratings):
    fitted = clone(estimator).fit(*ratings)
    again = clone(fitted)
    assert again.get_params() == estimator.get_params()
    assert type(again) is type(estimator)
    with pytest.raises(fastals.NotFittedError):
        again.predict(ratings[0])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_pairs_are_what_tuples_are(estimator, ratings):
    X, y = ratings
    one, two = clone(estimator), clone(estimator)
    for model in (one, two):
        model.set_params(num_threads=1)
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
    one.fit(X, y)
    two.fit((X[:, 0], X[:, 1], y))
    assert_array_equal(one.predict(X), two.predict(X[:, 0], X[:, 1]))


def test_frames_of_pairs(ratings):
    pandas = pytest.importorskip("pandas")
    X, y = ratings
    frame = pandas.DataFrame({"item": [int(label[1:]) for label in X[:, 1]], "userId": X[:, 0]})
    model = clone(ESTIMATORS[0]).fit(frame, pandas.Series(y))
    assert model.items_.dtype == np.int64
    assert_allclose(model.predict(frame), clone(ESTIMATORS[0]).fit(X, y).predict(X), rtol=1e-4)
    assert model.score(frame, y) > 0.95
    with pytest.raises(fastals.DataError, match=r"data go by the names of columns, .*: item column not recognised"):
        model.score(frame.rename(columns={"item": "what"}), y)


def test_score(ratings):
    X, y = ratings
    model = clone(ESTIMATORS[0]).fit(X[:500], y[:500])
    assert model.score(X[500:], y[500:]) == pytest.approx(evaluation.r2(y[500:], model.predict(X[500:])))
    assert model.score((X[500:, 0], X[500:, 1], y[500:])) == model.score(X[500:], y[500:])
    implicit = fastals.ImplicitALS(factors=3, random_state=0).fit(X[:500], y[:500])
    held_out = (X[500:, 0], X[500:, 1], y[500:])
    assert implicit.score(X[500:], y[500:]) == evaluation.evaluate(implicit, None, held_out)["ndcg@10"]


def test_strangers_are_predicted_by_the_mean(ratings):
    """Spark's CrossValidator picks nonsense, as its RMSE over unknown ids is NaN."""
    X, y = ratings
    for estimator in ESTIMATORS[:1] + ESTIMATORS[3:4]:
        model = clone(estimator).fit(X, y)
        predicted = model.predict(np.array([["zoe", "i00"], ["u00", "i99"], ["zoe", "i99"]]))
        assert np.isfinite(predicted).all()
        assert (predicted > 0).all()
        assert np.isfinite(model.score(np.array([["zoe", "i00"], ["u00", "i01"]]), [1.0, 2.0]))
        assert np.isnan(model.predict(["zoe"], ["i00"])).all()
        assert np.isnan(model.predict(np.array([["zoe", "i00"]]), unknown="nan")).all()


def test_grid_search(ratings):
    search = GridSearchCV(
        fastals.ExplicitALS(random_state=0),
        {"factors": [1, 4], "regularization": [0.05, 100.0]},
        scoring="neg_root_mean_squared_error",
        cv=KFold(3),
    )
    search.fit(*ratings)
    assert search.best_params_["regularization"] == 0.05
    assert search.best_score_ > -0.3
    assert search.best_estimator_.predict(ratings[0]).shape == ratings[1].shape
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=str)
def test_searches_by_the_estimators_own_score(estimator, ratings):
    name = next(name for name in ("neighbors", "factors", "regularization") if name in estimator.get_params())
    search = GridSearchCV(estimator, {name: [2, 3]}, cv=2).fit(*ratings)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_[name] in (2, 3)


def test_search_in_other_processes(ratings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of joblib, about its own workers
        search = RandomizedSearchCV(
            fastals.ExplicitALS(factors=1, random_state=0),
            {"regularization": [0.001, 0.01, 0.1]},
            n_iter=2,
            n_jobs=2,
            random_state=0,
            cv=2,
        ).fit(*ratings)
    assert search.best_score_ > 0.9


def test_pipeline(ratings):
    X, y = ratings
    pipeline = Pipeline([("strip", FunctionTransformer(np.char.strip)), ("als", fastals.ExplicitALS(random_state=0))])
    pipeline.set_params(als__factors=1, als__regularization=1e-4).fit(np.char.add(X, "  "), y)
    assert pipeline["als"].users_[0] == "u00"
    assert pipeline.score(X, y) > 0.99
    search = GridSearchCV(pipeline, {"als__factors": [1, 2]}, cv=2).fit(X, y)
    assert search.best_params_["als__factors"] in (1, 2)


def test_cross_validation(ratings):
    model = fastals.ExplicitALS(factors=2, regularization=0.05, random_state=0)
    assert (cross_val_score(model, *ratings, cv=3) > 0.8).all()
    assert evaluation.r2(ratings[1], cross_val_predict(model, *ratings, cv=3)) > 0.8


def test_what_is_no_array_of_pairs(ratings):
    X, y = ratings
    for wrong in (X[:, 0], np.column_stack([X, X]), X.T):
        with pytest.raises(fastals.DataError, match="a user and an item in each row"):
            fastals.ExplicitALS().fit(wrong, y)
    with pytest.raises(fastals.DataError, match="lengths"):
        fastals.ExplicitALS().fit(X, y[:-1])
    with pytest.raises(fastals.ArgumentTypeError, match="dense array"):
        fastals.ExplicitALS().fit(X)
    model = fastals.ExplicitALS(factors=2).fit(X, y)
    with pytest.raises(fastals.DataError, match="a user and an item in each row"):
        model.predict(X[:, 0])
