"""What "auto" stands for: the rule once more, by hand, and that nothing that was given is ever changed."""

import json
import pickle
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import real_data
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.base import clone

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._equation.presets import EXPLICIT, IMPLICIT
from fastals._equation.rows import CellWeights, Rows
from fastals._equation.settings import TOLERANCE

QUICK = {"factors": 3, "iterations": 2, "random_state": 0}
BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])


@pytest.fixture(scope="module")
def plays():
    """Events of which a fifth are a no; a user and an item have none, two others none that counts."""
    rng = np.random.default_rng(0)
    dense = (rng.random((80, 50)) < 0.25 * rng.random(50)) * rng.integers(1, 20, (80, 50))
    dense = np.where(rng.random(dense.shape) < 0.2, -dense, dense).astype(float)
    dense[3] = dense[:, 7] = 0
    dense[4], dense[:, 8] = -np.abs(dense[4]), -np.abs(dense[:, 8])
    return sparse.csr_array(dense)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(1)
    dense = (rng.random((60, 40)) < 0.2) * rng.integers(1, 6, (60, 40))
    return sparse.csr_array(dense.astype(float))


def size(scaling, count, w0, n_other):
    return {"constant": 1.0, "count": count}.get(scaling) or (count + w0 * n_other) ** scaling


def implicit_rule(matrix, right_hand=lambda r: 1 + np.log1p(r), w0=None, scaling=1.0, weights=None):
    """lambda and w0 in float64, as the rule's formula reads."""
    cells = sparse.coo_array(matrix)
    s = np.ones(cells.nnz) if weights is None else weights
    keep = (cells.data > 0) & (s > 0)
    (users, items), r, s = (index[keep] for index in cells.coords), cells.data[keep].astype(float), s[keep]
    pairs, of_cells = np.unique(users.astype(np.int64) * matrix.shape[1] + items, return_inverse=True)
    b = np.bincount(of_cells, s * right_hand(r))
    users, items = np.divmod(pairs, matrix.shape[1])
    z, m, n = len(pairs), len(np.unique(users)), len(np.unique(items))
    if w0 is None:
        w0 = min(1.0, 5 * np.sum(np.bincount(items).astype(float) ** 2) / (z * m))
    edge = np.sqrt(np.mean(b**2)) * (np.sqrt(z / m) + np.sqrt(z / n))
    if np.prod(matrix.shape) < 1e6:
        dense = np.zeros(matrix.shape)
        np.add.at(dense, (users, items), b)
        edge = min(edge, np.linalg.norm(dense, 2))
    typical = size(scaling, s.sum() / m, w0, matrix.shape[1]) * size(scaling, s.sum() / n, w0, matrix.shape[0])
    return edge / 2 / np.sqrt(typical), w0


def settings_of(model, data, **options):
    return model.fit(data, **options).settings_


# ---------------------------------------------------------------------------------------------------------------------
# the rule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_implicit_feedback_by_hand(plays, dtype):
    settings = settings_of(ImplicitALS(**QUICK, dtype=dtype), plays)
    lam, w0 = implicit_rule(plays)
    assert settings == {
        "regularization": pytest.approx(lam, rel=1e-6),
        "regularization_scaling": 1.0,
        "unobserved_weight": pytest.approx(w0, rel=1e-12),
        "confidence": "log",
        "tol": TOLERANCE,
    }
    assert 0 < w0 < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ratings_by_hand(ratings, dtype):
    settings = settings_of(ExplicitALS(**QUICK, dtype=dtype), ratings)
    assert settings == {
        "regularization": pytest.approx(1.2 * np.std(ratings.data), rel=1e-6),
        "regularization_scaling": 0.5,
        "biases": True,
        "bias_regularization": 3.0,
        "tol": TOLERANCE,
    }
    without = settings_of(ExplicitALS(**QUICK, biases=False, dtype=dtype), ratings)
    assert without["regularization"] == pytest.approx(1.2 * np.sqrt(np.mean(ratings.data**2)), rel=1e-6)
    assert without["biases"] is False


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e12])
def test_lambda_of_ratings_has_their_unit(ratings, unit):
    one, other = (settings_of(ExplicitALS(**QUICK), ratings * factor)["regularization"] for factor in (1.0, unit))
    assert other == pytest.approx(unit * one, rel=1e-6)


@pytest.mark.parametrize(("value", "biases", "lam"), [(3.3, True, 1.2), (3.3, False, 3.96), (0.0, False, 1.2)])
def test_ratings_that_are_all_the_same(value, biases, lam):
    cells = ([0, 0, 1], [0, 1, 1], [value] * 3)
    assert settings_of(ExplicitALS(**QUICK, biases=biases), cells)["regularization"] == pytest.approx(lam, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "right_hand"),
    [
        ({"alpha": 3.0}, lambda r: 1 + 3 * np.log1p(r)),
        ({"epsilon": 0.1}, lambda r: 1 + np.log1p(r / 0.1)),
        ({"confidence": "linear"}, lambda r: 1 + r),
        ({"preset": "implicit", "alpha": 2.0, "confidence": "linear"}, lambda r: 2 * r),
        ({"preset": "lenskit"}, lambda r: np.full(len(r), 2.0)),
        ({"unobserved_weight": 0.0}, None),
        ({"regularization_scaling": "constant"}, None),
        ({"regularization_scaling": "count"}, None),
        ({"regularization_scaling": 0.3, "unobserved_weight": 2}, None),
    ],
    ids=str,
)
def test_lambda_is_of_the_equation_that_is_solved(plays, given, right_hand):
    """By the model's own weights, and the same for an average user and item whatever the scaling."""
    rule = partial(implicit_rule, np.abs(plays))
    rule = rule if right_hand is None else partial(rule, right_hand)
    lam, w0 = rule(w0=given.get("unobserved_weight"), scaling=given.get("regularization_scaling", 1.0))
    settings = settings_of(ImplicitALS(**QUICK, **given), np.abs(plays))
    assert settings["regularization"] == pytest.approx(lam, rel=1e-5)
    assert settings["unobserved_weight"] == pytest.approx(w0)


@pytest.mark.parametrize("scaling", ["constant", "count", 0.5, 1.3])
def test_another_scaling_of_ratings(ratings, scaling):
    z = ratings.nnz
    users, items = (z / np.count_nonzero(ratings.sum(axis=axis)) for axis in (1, 0))
    typical = size(scaling, users, 0, 40) * size(scaling, items, 0, 60)
    lam = 1.2 * np.std(ratings.data) * np.sqrt(np.sqrt(users * items) / typical)
    settings = settings_of(ExplicitALS(**QUICK, regularization_scaling=scaling), ratings)
    assert settings["regularization"] == pytest.approx(lam, rel=1e-6)
    assert settings["regularization_scaling"] == scaling


def test_sample_weights(plays, ratings):
    rng = np.random.default_rng(2)
    for matrix in (plays, ratings):
        weights = rng.integers(0, 4, matrix.nnz).astype(float)
        settings = settings_of(ImplicitALS(**QUICK), matrix, sample_weight=weights)
        lam, w0 = implicit_rule(matrix, weights=weights)
        assert settings["regularization"] == pytest.approx(lam, rel=1e-5)
        assert settings["unobserved_weight"] == pytest.approx(w0)
    repeated = np.repeat(ratings.data, weights.astype(int))
    settings = settings_of(ExplicitALS(**QUICK), ratings, sample_weight=weights)
    assert settings["regularization"] == pytest.approx(1.2 * np.std(repeated), rel=1e-6)


CHUNKS = pytest.mark.parametrize("chunk", [1, 2, 7, 100, 65_536])


@CHUNKS
@BOTH
def test_weight_two_is_the_cell_twice(model, chunk, plays, monkeypatch):
    monkeypatch.setattr("fastals._equation.rows.CHUNK", chunk)
    cells = plays.tocoo()
    times = np.random.default_rng(3).integers(0, 4, plays.nnz)
    repeated = (*(np.repeat(index, times) for index in cells.coords), np.repeat(cells.data, times))
    matrix = sparse.coo_array((repeated[2], repeated[:2]), shape=plays.shape)
    scaling = {"regularization_scaling": 0.3}
    for given in ({}, scaling):
        weighted = settings_of(model(**QUICK, **given), plays, sample_weight=times.astype(float))
        for ones in (None, np.ones(times.sum())):
            data = fastals.Interactions.from_matrix(matrix, duplicates="keep")
            found = settings_of(model(**QUICK, **given), data, sample_weight=ones)
            assert found == {**weighted, "regularization": pytest.approx(weighted["regularization"], rel=1e-6)}
    if model is ImplicitALS:
        lam, w0 = implicit_rule(matrix, scaling=0.3)
        assert (lam, w0) == (pytest.approx(found["regularization"]), pytest.approx(found["unobserved_weight"]))


@CHUNKS
def test_the_rule_sums_over_repeats_of_any_value(chunk, monkeypatch):
    monkeypatch.setattr("fastals._equation.rows.CHUNK", chunk)
    rng = np.random.default_rng(4)
    users, items, values = rng.integers(0, 30, 500), rng.integers(0, 12, 500), rng.integers(-2, 9, 500).astype(float)
    matrix = sparse.coo_array((values, (users, items)), shape=(30, 12))
    weights = rng.integers(0, 3, 500).astype(float)
    for s in (None, weights):
        data = fastals.Interactions.from_arrays(users, items, values, duplicates="keep") if s is None else matrix
        settings = settings_of(ImplicitALS(**QUICK), data, sample_weight=s)
        lam, w0 = implicit_rule(matrix, weights=s)
        assert settings["regularization"] == pytest.approx(lam, rel=1e-5)
        assert settings["unobserved_weight"] == pytest.approx(w0)


@CHUNKS
def test_what_is_read_in_chunks(chunk, monkeypatch):
    monkeypatch.setattr("fastals._equation.rows.CHUNK", chunk)
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 9, 40) * (rng.random(40) < 0.7)
    lines = np.repeat(np.arange(40), lengths)
    values = rng.integers(-2, 4, len(lines)).astype(np.float32)
    indices = np.concatenate([np.sort(rng.permutation(20)[:n]) for n in lengths]).astype(np.int32)
    indptr = np.append(0, lengths.cumsum())
    scale = rng.random(len(lines)).astype(np.float32)
    own, others = rng.random(40).astype(np.float32), rng.random(20).astype(np.float32)
    for s in (None, scale):
        rows = Rows(indptr, indices, values, s)
        weight = np.ones(len(lines)) if s is None else scale.astype(float)
        assert_array_equal(rows.counts(False), np.bincount(lines, weight, 40))
        assert_array_equal(rows.counts(True), np.bincount(lines, weight * (values > 0), 40))
        sums = np.bincount(lines, values if s is None else values * scale, 40)
        assert_array_equal(rows.damped_means(2.0), (sums / (rows.counts(False) + 2)).astype(np.float32))
        assert_array_equal(rows.less(0.5).values, values - np.float32(0.5))
        assert_array_equal(
            rows.less(0.5, own, others).values, values - (others + np.float32(0.5))[indices] - own[lines]
        )
        assert not rows.have_repeats()
    twice = indices.copy()
    cell = int(indptr[np.argmax(lengths)])
    twice[cell + 1] = twice[cell]
    assert Rows(indptr, twice, values).have_repeats()


def test_weights_of_nothing_are_cells_that_are_not_there(plays):
    weights = (np.arange(plays.nnz) % 3 > 0).astype(float)
    some = plays.tocoo()
    some = sparse.csr_array((some.data[weights > 0], tuple(i[weights > 0] for i in some.coords)), shape=plays.shape)
    for model in (ExplicitALS, ImplicitALS):
        one, other = settings_of(model(**QUICK), plays, sample_weight=weights), settings_of(model(**QUICK), some)
        assert one == {**other, "regularization": pytest.approx(other["regularization"], rel=1e-6)}
    nothing = settings_of(ExplicitALS(**QUICK), plays, sample_weight=np.zeros(plays.nnz))
    assert nothing["regularization"] == 1.2


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_threads_change_nothing(plays, threads):
    for matrix in (plays, sparse.csr_array(np.eye(300))):
        for model in (ExplicitALS, ImplicitALS):
            alone = settings_of(model(**QUICK, num_threads=1), matrix)
            assert settings_of(model(**QUICK, num_threads=threads), matrix) == alone


@pytest.mark.parametrize(
    "dense",
    [
        [[1]],
        [[1e6, 0], [0, 0]],
        np.eye(40),
        np.diag(np.arange(1.0, 30)),
        np.ones((1, 50)),
        np.ones((50, 1)),
        np.ones((6, 5)),
        np.kron(np.eye(5), np.ones((2, 3))),
        [[1, 1, 0], [0, 1, 1], [0, 0, 1]],
    ],
    ids=lambda dense: str(np.shape(dense)),
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_toy_data_are_not_all_noise(dense, dtype):
    matrix = sparse.csr_array(np.asarray(dense, float))
    model = ImplicitALS(factors=4, iterations=60, tol=None, dtype=dtype, random_state=0).fit(matrix)
    # where there is less than noise, a lower bound of that is all that is wanted
    assert model.settings_["regularization"] == pytest.approx(implicit_rule(matrix)[0], rel=5e-3)
    users, items = matrix.nonzero()
    scores = model.user_factors_ @ model.item_factors_.T
    assert scores.max() > 0.1
    best = int(np.argmax(matrix.data))
    assert scores[users[best], items[best]] > 0.1


RATINGS = ["ml-100k", "ml-1m", "ml-latest-small", "movietweetings-100k"]
EVENTS = [("lastfm-hetrec2k", "count"), ("completejourney", "count"), ("citeulike-t", None), ("gowalla", None)]


@pytest.mark.parametrize("name", RATINGS)
def test_real_ratings(name):
    matrix = real_data.matrix(real_data.table(name), "rating")
    settings = settings_of(ExplicitALS(factors=2, iterations=1), matrix)
    assert settings["regularization"] == pytest.approx(1.2 * np.std(matrix.data, dtype=np.float64), rel=1e-9)


@pytest.mark.parametrize(("name", "value"), [*EVENTS, *((name, "rating") for name in RATINGS)])
def test_real_events(name, value):
    matrix = real_data.matrix(real_data.table(name), value)
    settings = settings_of(ImplicitALS(factors=2, iterations=1), matrix)
    lam, w0 = implicit_rule(matrix)
    assert settings["regularization"] == pytest.approx(lam, rel=1e-6)
    assert settings["unobserved_weight"] == pytest.approx(w0, rel=1e-12)


def test_it_finds_the_published_lambda():
    """Rendle et al. (RecSys 2022) give .007 for ml-1m, by a search over 64 factors and more."""
    matrix = real_data.matrix(real_data.table("ml-1m"), None)
    assert round(settings_of(ImplicitALS(factors=2, iterations=1), matrix)["regularization"], 4) == 0.0073


# ---------------------------------------------------------------------------------------------------------------------
# what is given


@BOTH
def test_a_number_means_what_it_meant(model, ratings):
    for lam in (0, 0.5, (0.1, 2)):
        settings = settings_of(model(**QUICK, regularization=lam), ratings)
        assert settings["regularization"] == lam
        assert type(settings["regularization"]) in (float, tuple)
        assert settings["regularization_scaling"] == "constant"
        if model is ImplicitALS:
            assert (settings["unobserved_weight"], settings["confidence"]) == (1.0, "linear")
        else:
            assert (settings["biases"], settings["bias_regularization"]) == (True, lam)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (ImplicitALS, {"unobserved_weight": 0.25}),
        (ImplicitALS, {"unobserved_weight": 0}),
        (ImplicitALS, {"confidence": "linear"}),
        (ImplicitALS, {"confidence": "log", "regularization": 0.5}),
        (ImplicitALS, {"regularization_scaling": "count"}),
        (ImplicitALS, {"regularization_scaling": 0.0}),
        (ImplicitALS, {"tol": None}),
        (ImplicitALS, {"tol": 0.5}),
        (ExplicitALS, {"biases": False}),
        (ExplicitALS, {"bias_regularization": 0}),
        (ExplicitALS, {"bias_regularization": (1.0, 7.0)}),
        (ExplicitALS, {"bias_regularization": 2.0, "regularization": (1.0, 3.0), "regularization_scaling": "count"}),
        (ExplicitALS, {"tol": 0, "solver": "cholesky"}),
    ],
    ids=str,
)
def test_what_is_given_is_never_changed(model, given, ratings):
    fitted = model(**QUICK, **given)
    settings = settings_of(fitted, ratings)
    assert {name: settings[name] for name in given.keys() & settings.keys()} == {
        name: value for name, value in given.items() if name in settings
    }
    assert fitted.get_params() == model(**QUICK, **given).get_params()
    assert "auto" not in settings.values()


def test_a_pair_is_of_users_and_items(ratings):
    model = ExplicitALS(**QUICK, bias_regularization=(1.0, 7.0)).fit(ratings)
    assert model.state_.equation.bias_regularization == (1.0, 7.0)
    model = ExplicitALS(**QUICK, regularization=(0.5, 2.0)).fit(ratings)
    assert model.state_.equation.bias_regularization == (0.5, 2.0)


@BOTH
def test_tol_is_of_the_default_solver_alone(model, ratings):
    assert settings_of(model(**QUICK), ratings)["tol"] == TOLERANCE
    for solver in ("cholesky", "cg", "lapack"):
        assert settings_of(model(**QUICK, solver=solver), ratings)["tol"] is None
    assert settings_of(model(**QUICK, preset="spark"), ratings)["tol"] is None


@BOTH
@pytest.mark.parametrize(
    ("name", "bad", "rule"),
    [
        ("regularization", "log", "'auto' or a number, or a pair"),
        ("regularization", None, "must be a number"),
        ("regularization", (1, 2, 3), "a number or a pair"),
        ("regularization_scaling", "sqrt", "'auto', 'constant', 'count' or a number"),
        ("tol", "none", "'auto' or a number, or None"),
        ("tol", -1e-3, ">= 0"),
        ("tol", True, "a number"),
    ],
)
def test_bad_settings(model, name, bad, rule):
    with pytest.raises(fastals.FastalsError, match=f"{name}.*{rule}") as error:
        model(**{name: bad})
    assert isinstance(error.value, ValueError | TypeError)


@pytest.mark.parametrize(
    ("model", "name", "bad", "rule"),
    [
        (ImplicitALS, "unobserved_weight", "none", "'auto' or a number"),
        (ImplicitALS, "unobserved_weight", (1, 2), "a number"),
        (ImplicitALS, "confidence", "sqrt", "'auto', 'linear', 'log'"),
        (ImplicitALS, "confidence", 1.0, "'auto', 'linear', 'log'"),
        (ExplicitALS, "biases", "yes", "'auto' or True or False"),
        (ExplicitALS, "biases", 1, "True or False"),
        (ExplicitALS, "bias_regularization", -1, ">= 0"),
        (ExplicitALS, "bias_regularization", (1, -1), "items must be >= 0"),
    ],
)
def test_bad_settings_of_their_own(model, name, bad, rule):
    with pytest.raises(fastals.FastalsError, match=f"{name}.*{rule}"):
        model(**{name: bad})


@BOTH
def test_the_constructors_values_stay(model, ratings):
    fitted = model(**QUICK).fit(ratings)
    for one in (fitted, clone(fitted), pickle.loads(pickle.dumps(fitted))):
        params = one.get_params()
        assert all(params[name] == "auto" for name in fitted.settings_)
        assert repr(one) == f"{model.__name__}(factors=3, iterations=2, random_state=0)"
    assert not hasattr(clone(fitted), "settings_")
    assert fitted.set_params(regularization=0.5).regularization == 0.5
    assert fitted.set_params(regularization="auto").regularization == "auto"


@BOTH
def test_the_model_keeps_to_the_settings_of_its_fit(model, ratings):
    fitted = model(**QUICK).fit(ratings)
    settings, before = dict(fitted.settings_), fitted.fold_in(ratings)
    why = fitted.explain(0, 1)
    changes = {"regularization": 100.0, "regularization_scaling": "constant"}
    changes |= {"biases": False} if model is ExplicitALS else {"confidence": "linear", "unobserved_weight": 0.0}
    fitted.set_params(**changes)
    assert_array_equal(fitted.fold_in(ratings), before)
    assert fitted.explain(0, 1).score == why.score
    fitted.partial_fit(([0, 1, 60], [0, 1, 2], [50.0, 50.0, 50.0]))
    assert fitted.settings_ == settings
    with pytest.raises(fastals.DataError, match="empty"):
        fitted.fit(sparse.csr_array((3, 3)))
    assert fitted.settings_ == settings
    assert fitted.fit(ratings).settings_["regularization"] == 100.0


def test_a_fit_that_fails_late_leaves_the_settings(ratings, tmp_path):
    model = ImplicitALS(**QUICK).fit(ratings)
    state, settings = model.state_, model.settings_
    (tmp_path / "checkpoint").write_bytes(b"none")
    with pytest.raises(fastals.FileFormatError):
        model.fit(ratings * 100, checkpoint=tmp_path / "checkpoint")
    assert model.state_ is state
    assert model.settings_ == settings


def test_a_fit_with_validation_measures_with_its_own_settings(ratings):
    held_out = (np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([3.0, 4.0, 5.0]))
    data = fastals.Interactions.from_matrix(ratings)
    model = ExplicitALS(**QUICK, regularization=0.5, biases=False).fit(data)
    model.set_params(biases="auto", regularization="auto").fit(ratings, validation=held_out)
    assert model.user_biases_ is not None
    assert model.metrics_history_[-1]["rmse"] < 3


@BOTH
def test_checkpoints(model, ratings, tmp_path):
    whole = model(factors=40, iterations=6, random_state=0, tol=None).fit(ratings)
    part = model(factors=40, iterations=6, random_state=0, tol=None)
    path = tmp_path / "checkpoint"
    part.fit(ratings, checkpoint=path, checkpoint_every=1, callback=lambda iteration, *_: iteration == 3)
    again = part.fit(ratings, checkpoint=path)
    assert_array_equal(again.item_factors_, whole.item_factors_)
    assert again.settings_ == whole.settings_
    with pytest.raises(fastals.ParameterError, match=r"regularization='auto', not 0\.5"):
        part.set_params(regularization=0.5).fit(ratings, checkpoint=path)


@BOTH
def test_memory_is_that_of_the_next_fit(model, ratings):
    """The discrete settings, which the data do not change, are what needs memory."""
    size = (10_000, 5_000, 10**6)
    auto, plain = model().estimate_memory(*size), model(regularization=0.1).estimate_memory(*size)
    if model is ExplicitALS:
        assert model(regularization=0.1, biases=False).estimate_memory(*size).total < auto.total == plain.total
    else:
        assert auto.cells - plain.cells == 8 * 10**6
    fitted = model(**QUICK).fit(ratings).set_params(**model(regularization=0.1).get_params())
    assert fitted.estimate_memory(*size) == plain


# ---------------------------------------------------------------------------------------------------------------------
# presets

SPARK = {"factors": 10, "iterations": 10, "regularization": 0.1, "regularization_scaling": "count"}
IRSPACK = {"factors": 20, "iterations": 16, "regularization": 1e-3, "regularization_scaling": 1.0}
LENSKIT = {"factors": 64, "iterations": 10, "regularization": 0.1}
PUBLISHED = {
    (ExplicitALS, "spark"): SPARK,
    (ExplicitALS, "cmfrec"): {"factors": 40, "iterations": 10, "regularization": 10.0, "biases": True},
    (ExplicitALS, "lenskit"): {**LENSKIT, "regularization_scaling": "count", "biases": True},
    (ImplicitALS, "spark"): {**SPARK, "alpha": 1.0},
    (ImplicitALS, "implicit"): {"factors": 100, "iterations": 15, "regularization": 0.01, "alpha": 1.0},
    (ImplicitALS, "cmfrec"): {"factors": 50, "iterations": 10, "regularization": 1.0, "alpha": 1.0},
    (ImplicitALS, "irspack"): IRSPACK,
    (ImplicitALS, "irspack-original"): IRSPACK,
    (ImplicitALS, "lenskit"): {**LENSKIT, "alpha": 40.0},
    (ImplicitALS, "lenskit-ratings"): {**LENSKIT, "alpha": 40.0},
    (ImplicitALS, "buffalo"): {"factors": 20, "iterations": 10, "regularization": 0.1, "alpha": 8.0},
}
"""The libraries' defaults, in the parameters that these models always had."""
ALWAYS = {
    ExplicitALS: {"regularization_scaling": "constant", "biases": False, "tol": None},
    ImplicitALS: {
        "regularization_scaling": "constant",
        "unobserved_weight": 1.0,
        "confidence": "linear",
        "alpha": 1.0,
        "epsilon": 1.0,
        "tol": None,
    },
}
"""What those parameters were by default before there was a rule."""


def test_every_preset_is_compared():
    of = {ExplicitALS: EXPLICIT, ImplicitALS: IMPLICIT}
    assert {(cls, name) for cls, presets in of.items() for name in presets if name} == set(PUBLISHED)
    for cls, name in PUBLISHED:
        assert set(of[cls][name].parameters) >= set(cls._setting_names), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("cls", "name"), PUBLISHED)
def test_presets_are_what_they_were(cls, name, dtype, ratings):
    """The same bits as with every number written out."""
    for overrides in ({}, {"factors": 36, "solver": "auto"}, {"regularization": (0.5, 2.0), "factors": 4}):
        numbers = {**ALWAYS[cls], **PUBLISHED[cls, name], "solver": "cholesky", **overrides}
        if cls is ExplicitALS:
            numbers["bias_regularization"] = numbers["regularization"]
        plain = cls(**numbers, preset=name, dtype=dtype, random_state=0).fit(ratings)
        preset = cls.from_preset(name, **overrides, dtype=dtype, random_state=0).fit(ratings)
        assert preset.settings_ == plain.settings_
        assert preset.settings_ == {setting: numbers[setting] for setting in cls._setting_names}
        assert preset.loss_history_ == plain.loss_history_
        for attribute in ("user_factors_", "item_factors_"):
            assert getattr(preset, attribute).tobytes() == getattr(plain, attribute).tobytes()
        assert preset.fold_in(ratings).tobytes() == plain.fold_in(ratings).tobytes()


def test_biases_of_cmfrec_follow_its_lambda(ratings):
    for lam in (10.0, 3.0, (1.0, 2.0)):
        overrides = {} if lam == 10.0 else {"regularization": lam}
        model = ExplicitALS.from_preset("cmfrec", **overrides, factors=2, iterations=1).fit(ratings)
        assert model.settings_["bias_regularization"] == lam


def test_a_preset_may_ask_for_the_rule(plays):
    model = ImplicitALS.from_preset("irspack", regularization="auto", factors=2, iterations=1).fit(np.abs(plays))
    lam, _ = implicit_rule(np.abs(plays), lambda r: r, w0=1.0)
    assert model.settings_["regularization"] == pytest.approx(lam, rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# files


def edit(path, **content):
    """Change entries of a model file's content; None: take away."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    whole = {**json.loads(metadata["content"]), **content}
    text = json.dumps({name: value for name, value in whole.items() if value is not None})
    metadata |= {"content": text, "content_crc32": str(zlib.crc32(text.encode()))}
    save_file(load_file(path), path, metadata)


@BOTH
@pytest.mark.parametrize("lam", ["auto", 0.25, (0.25, 1.5)])
def test_a_file_holds_both(model, lam, ratings, tmp_path):
    fitted = model(**QUICK, regularization=lam).fit(ratings)
    fitted.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    assert loaded.settings_ == fitted.settings_
    assert list(map(type, loaded.settings_.values())) == list(map(type, fitted.settings_.values()))
    assert loaded.get_params() == fitted.get_params()
    assert_array_equal(loaded.fold_in(ratings), fitted.fold_in(ratings))
    assert loaded.partial_fit(ratings).settings_ == fitted.settings_


def as_before(model, path):
    """Write a file as versions without settings did, whose parameters are all numbers."""
    model.save(path)
    parameters = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in model.get_params().items()
        if name not in ("tol", "bias_regularization")
    }
    edit(path, settings=None, parameters=parameters)


@pytest.mark.parametrize("biases", [True, False])
def test_an_older_file_of_ratings(biases, ratings, tmp_path):
    model = ExplicitALS(**QUICK, regularization=(0.5, 2.0), regularization_scaling="count", biases=biases).fit(ratings)
    as_before(model, tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    # all iterations were done then
    assert loaded.settings_ == {**model.settings_, "tol": None}
    assert loaded.tol is None
    assert_array_equal(loaded.fold_in(ratings), model.fold_in(ratings))
    # the parameter was changed after the fit, and the file has biases nevertheless
    as_before(model.set_params(biases=not biases), tmp_path / "model")
    assert fastals.load(tmp_path / "model").settings_["biases"] is biases


def test_an_older_file_of_events(plays, tmp_path):
    numbers = {"regularization": 0.01, "regularization_scaling": "constant", "unobserved_weight": 0.5}
    model = ImplicitALS(**QUICK, **numbers, confidence="log").fit(plays)
    as_before(model, tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    assert loaded.settings_ == {**model.settings_, "tol": None}
    assert loaded.tol is None
    assert_array_equal(loaded.fold_in(plays), model.fold_in(plays))


def test_settings_of_a_file_are_checked(ratings, tmp_path):
    path = tmp_path / "model"
    explicit, implicit = ExplicitALS(**QUICK).fit(ratings), ImplicitALS(**QUICK).fit(ratings)
    for model, name, bad in (
        (implicit, "regularization", "auto"),
        (implicit, "regularization", None),
        (implicit, "regularization", float("nan")),
        (implicit, "regularization", [1.0, 2.0, 3.0]),
        (implicit, "regularization", {"users": 1.0}),
        (implicit, "regularization_scaling", "auto"),
        (implicit, "regularization_scaling", [1.0, 1.0]),
        (implicit, "unobserved_weight", -1.0),
        (implicit, "unobserved_weight", "auto"),
        (implicit, "confidence", "auto"),
        (implicit, "confidence", 1),
        (implicit, "tol", "auto"),
        (implicit, "tol", True),
        (implicit, "biases", True),
        (explicit, "biases", "auto"),
        (explicit, "biases", 1),
        (explicit, "biases", False),
        (explicit, "bias_regularization", "auto"),
        (explicit, "bias_regularization", -1),
    ):
        model.save(path)
        edit(path, settings={**model.settings_, name: bad})
        with pytest.raises(fastals.FileFormatError, match=f"{path}.*(settings|{name})"):
            fastals.load(path)
    for settings in ([], "auto", {"regularization": 0.1}):
        explicit.save(path)
        edit(path, settings=settings)
        with pytest.raises(fastals.FileFormatError, match="settings"):
            fastals.load(path)
    explicit.save(path)
    edit(path, settings={})  # as of a model that Spark has saved: nobody knows
    silent = fastals.load(path)
    np.testing.assert_array_equal(silent.user_factors_, explicit.user_factors_)
    with pytest.raises(fastals.NotFittedError, match="does not say by which equation"):
        silent.fold_in(ratings)
    explicit.save(path)
    edit(path, settings=None)  # "auto" alone says nothing
    with pytest.raises(fastals.FileFormatError, match="'settings' is missing"):
        fastals.load(path)


# ---------------------------------------------------------------------------------------------------------------------
# a search


def test_a_search_varies_numbers_within_the_rule(plays):
    data = fastals.Interactions.from_matrix(np.abs(plays))
    train, held_out = fastals.evaluation.train_test_split(data, 0.3, random_state=0)
    model = ImplicitALS(**QUICK)
    rule = settings_of(clone(model), train)
    grid = {"regularization": [0.02, "auto", 0.5]}
    for refit in (True, False):
        found = fastals.tune(model, train, grid, validation=held_out, warm_start=False, refit=refit)
        assert sorted(str(row["params"]["regularization"]) for row in found.rows) == ["0.02", "0.5", "auto"]
        assert found.best_params == found.rows[0]["params"]
        best = found.best_model
        assert {**best.settings_, "regularization": 0} == {**rule, "regularization": 0}
        wanted = found.best_params["regularization"]
        assert best.regularization == (rule["regularization"] if wanted == "auto" else wanted)
        for name in ("regularization_scaling", "unobserved_weight", "confidence"):
            assert getattr(best, name) == rule[name]
        for row in found.rows:
            lam = row["params"]["regularization"]
            numbers = {**rule, "regularization": rule["regularization"] if lam == "auto" else lam}
            alone = ImplicitALS(**QUICK, **numbers).fit(train)
            assert row["ndcg@10"] == fastals.evaluation.evaluate(alone, train, held_out, 10)["ndcg@10"]
    assert all(model.get_params()[name] == "auto" for name in rule)
    assert not hasattr(model, "settings_")


def test_a_search_resolves_once_and_on_what_is_trained_on(ratings):
    data = fastals.Interactions.from_matrix(ratings)
    found = fastals.tune(ExplicitALS(**QUICK), data, {"factors": [2, 3]}, random_state=0)
    train, _ = fastals.evaluation.train_test_split(data, 0.1, random_state=np.random.default_rng(0))
    rule = settings_of(ExplicitALS(**QUICK), train)
    assert found.best_model.settings_ == rule
    assert found.best_model.settings_ != settings_of(ExplicitALS(**QUICK), data)
    assert found.best_model.get_params()["regularization"] == rule["regularization"]
    assert found.best_model.tol == "auto"


def test_a_search_with_a_number_asks_no_rule(ratings):
    found = fastals.tune(ImplicitALS(**QUICK, regularization=0.5), ratings, {"factors": [2]}, random_state=0)
    assert found.best_model.settings_["regularization_scaling"] == "constant"
    assert found.best_model.regularization_scaling == "auto"


# ---------------------------------------------------------------------------------------------------------------------
# what has no minimum, or none but zero


def test_events_that_are_all_against(plays):
    message = "ImplicitALS needs at least one value above 0, .* none of the 1?[0-9]+ is.* ExplicitALS"
    for lam in ("auto", 0.1):
        model = ImplicitALS(**QUICK, regularization=lam)
        for data in (-np.abs(plays), ([0, 1], [0, 1], [0.0, -1.0])):
            with pytest.raises(fastals.DataError, match=message):
                model.fit(data)
        with pytest.raises(fastals.DataError, match=message):
            model.fit(([0, 1], [0, 1], [3.0, -1.0]), sample_weight=[0.0, 1.0])
        assert not hasattr(model, "settings_")
    # where the library takes a stored zero for an observation, it is one
    ImplicitALS.from_preset("cmfrec", factors=2).fit(([0, 1], [0, 1], [0.0, 0.0]))


def test_pairs_that_weigh_less_than_nothing():
    """Confidence alpha |r| alone, beside w0 for every cell: small values make a pair repel its own score."""
    make = partial(ImplicitALS.from_preset, "implicit", factors=2, iterations=2, random_state=0)
    good = (["ann", "ann", "bob"], ["x", "y", "y"], [3.0, 0.4, 1.0])
    message = "user 'ann' and item 'y' weigh .* = -0.3 in all, which must be >= 0.* raise alpha or unobserved_weight"
    with pytest.raises(fastals.DataError, match=message):
        make(unobserved_weight=0.3).fit(good)
    make(unobserved_weight=0.6).fit(good)  # 0 but for rounding
    model = make().fit(good)
    repeated = (["ann", "eve", "eve", "eve"], ["x", "y", "y", "y"], [1.0, 0.4, 0.4, 0.4])
    with pytest.raises(fastals.DataError, match=r"user 'eve' and item 'y' weigh .* = -0\.8 in all"):
        make().fit(repeated)
    before = model.user_factors_.copy()
    new_item = (["ann", "bob", "bob", "bob"], ["x", "new", "new", "new"], repeated[2])
    for call, pair in (
        (partial(model.fold_in, repeated), "user 'eve' and item 'y'"),
        (partial(model.fold_in_items, new_item), "user 'bob' and item 'new'"),
        (partial(model.partial_fit, repeated, duplicates="keep"), "user 'eve' and item 'y'"),
    ):
        with pytest.raises(fastals.DataError, match=f"{pair} weigh .* = -0.8"):
            call()
    with pytest.raises(fastals.DataError, match="user 'eve' and item 'y' weigh"):
        model.explain(None, "x", history=(["eve"] * 3, ["y"] * 3, [0.4] * 3))
    assert_array_equal(model.user_factors_, before)
    with pytest.raises(fastals.DataError, match=r"user 1 and item 1 weigh .* = -0\.5"):
        make().fit(([0, 0, 1], [0, 1, 1], [3.0, 2.0, 0.25]), sample_weight=[1.0, 1.0, 2.0])
    # together with what else the pair has it is enough
    make().fit((["ann"] * 2, ["x"] * 2, [0.1, 5.0]))
    make(alpha=10.0).fit(repeated)


def test_the_lightest_pair_is_found():
    rng = np.random.default_rng(0)
    weights = CellWeights(0.5, a0=-1.0, a1=1.0, b0=0.0, b1=1.0, positive_only=True)
    for _ in range(200):
        counts = rng.integers(0, 5, 6)
        indptr = np.concatenate(([0], counts.cumsum()))
        indices = np.concatenate([np.sort(rng.integers(0, 3, n)) for n in counts]).astype(np.int32)
        values, scale = rng.normal(0, 1, len(indices)), rng.integers(0, 3, len(indices)).astype(float)
        sums = {}
        for row in range(6):
            for cell in range(indptr[row], indptr[row + 1]):
                pair = row, int(indices[cell])
                sums[pair] = sums.get(pair, 0.5) + scale[cell] * (abs(values[cell]) - 1)
        found = weights.lightest(Rows(indptr, indices, values, scale))
        if not sums or min(sums.values()) >= 0:
            assert found is None
        else:
            assert found[:2] == min(sums, key=sums.get)
            assert found[2] == pytest.approx(min(sums.values()))
    assert replace(weights, a0=0.0).lightest(Rows(indptr, indices, values, scale)) is None


# ---------------------------------------------------------------------------------------------------------------------
# shown


@BOTH
def test_diagnose_tells_them(model, ratings):
    line = model(**QUICK).fit(ratings).diagnose().splitlines()[1]
    assert line.startswith("settings: regularization=")
    assert f"tol={TOLERANCE:.6g}" in line
    assert "auto" not in line
