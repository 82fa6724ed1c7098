"""EASE against its closed form and the gradient of its objective in float64; the surface; what it refuses."""

import contextlib
import pickle
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_data
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import fastals
from fastals import evaluation
from fastals._inspect import memory
from fastals._neighbours import closed_form

SHAPES = [(60, 40), (40, 60), (900, 600), (500, 700)]
"""Of which the matrix of items is inverted, of users; of one tile, of several."""

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
weightings = pytest.mark.parametrize("weighting", ["binary", "log", None])


def plays(shape: tuple[int, int] = (60, 40), seed: int = 0, signs: bool = False) -> sparse.csr_array:
    """Counts with an empty row and an empty column."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, 9, shape) * (rng.random(shape) < 0.15)
    if signs:
        matrix *= rng.choice([-1, 1, 1], shape)
    matrix[3] = matrix[:, 5] = 0
    return sparse.csr_array(matrix.astype(np.float64))


def entered(R: Any, weighting: str | None) -> Any:
    """X, from the docstring."""
    R = R.toarray()
    return {"binary": np.sign(R), "log": np.sign(R) * np.log2(1 + np.abs(R)), None: R}[weighting]


def twin(X: Any, regularization: float) -> Any:
    P = np.linalg.inv(X.T @ X + regularization * np.eye(X.shape[1]))
    return np.eye(len(P)) - P / P.diagonal()


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@shapes
@dtypes
@weightings
def test_weights_are_the_closed_form(shape: Any, dtype: Any, weighting: Any) -> None:
    R = plays(shape, signs=True)
    model = fastals.EASE(regularization=30.0, weighting=weighting, dtype=dtype).fit(R)
    exact, eps = twin(entered(R, weighting), 30.0), np.finfo(dtype).eps
    assert model.weights_.dtype == dtype
    assert not model.weights_.diagonal().any()
    assert relative(model.weights_, exact) < 1000 * eps
    # and it says so itself
    assert model.state_.error < 1000 * eps


@shapes
@dtypes
def test_the_gradient_is_zero(shape: Any, dtype: Any) -> None:
    """|X - X B|^2 + lambda |B|^2 off the diagonal; and P is an inverse: P = (I - B) diag(1 / diag(A (I - B)))."""
    X, lam = entered(plays(shape), "log"), 20.0
    B = fastals.EASE(regularization=lam, dtype=dtype).fit(plays(shape)).weights_.astype(np.float64)
    A = X.T @ X + lam * np.eye(shape[1])
    gradient = A @ (np.eye(shape[1]) - B)
    off = gradient - np.diag(gradient.diagonal())
    eps, scale = np.finfo(dtype).eps, np.linalg.norm(A) * np.linalg.norm(np.eye(shape[1]) - B)
    assert np.linalg.norm(off) < 20 * eps * scale
    P = (np.eye(shape[1]) - B) / gradient.diagonal()
    assert np.linalg.norm(A @ P - np.eye(shape[1])) < 20 * eps * scale / lam
    assert_allclose(P, P.T, atol=100 * eps / lam)


def test_both_ways_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    R = plays((300, 400))
    assert closed_form.by_users(*R.shape)
    of_users = fastals.EASE(dtype="float64").fit(R).weights_
    monkeypatch.setattr(closed_form, "by_users", lambda n_users, n_items: False)
    assert relative(fastals.EASE(dtype="float64").fit(R).weights_, of_users) < 1e-12


@shapes
@dtypes
def test_any_number_of_threads_gives_the_same_bits(shape: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "CALL", 5e4)  # many calls
    R = plays(shape)
    one, two, five = (fastals.EASE(num_threads=threads, dtype=dtype).fit(R) for threads in (1, 2, 5))
    users, items = np.arange(shape[0]), np.arange(shape[1])
    for other in (two, five):
        assert_array_equal(other.weights_, one.weights_)
        assert other.state_.error == one.state_.error
        for ask in (
            lambda model: model.recommend(users),
            lambda model: model.recommend_users(items),
            lambda model: model.similar_items(items),
        ):
            for a, b in zip(ask(other), ask(one), strict=True):
                assert_array_equal(a, b)


@shapes
@dtypes
@weightings
def test_lists_and_scores(shape: Any, dtype: Any, weighting: Any) -> None:
    R = plays(shape)
    model = fastals.EASE(weighting=weighting, dtype=dtype).fit(R)
    scores = entered(R, weighting) @ model.weights_.astype(np.float64)
    users, items = map(np.ravel, np.indices(R.shape))
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    found = model.predict(users, items)
    assert found.dtype == dtype
    assert_allclose(found.reshape(shape), scores, **tolerance)
    exact = found.reshape(shape).astype(np.float64)
    known = (R.toarray() != 0).any(0)
    for exclude_seen in (True, False):
        lists = model.recommend(np.arange(shape[0]), n=6, exclude_seen=exclude_seen)
        left = np.where(((R.toarray() != 0) & exclude_seen) | ~known, -np.inf, exact)
        left[3] = -np.inf
        expected = np.sort(left)[:, ::-1][:, :6]
        assert_array_equal(lists.scores, expected.astype(dtype))
        at = np.take_along_axis(left, np.maximum(lists.items, 0), 1)
        assert_array_equal(np.where(lists.items < 0, -np.inf, at), expected)
        people = model.recommend_users(np.arange(shape[1]), n=4, exclude_seen=exclude_seen)
        columns = np.where((R.toarray() != 0) & exclude_seen, -np.inf, exact).T.copy()
        columns[:, 3] = columns[~known] = -np.inf
        assert_array_equal(people.scores, np.sort(columns)[:, ::-1][:, :4].astype(dtype))
    assert (model.recommend(3, exclude_seen=False).items == -1).all()
    batches = list(model.recommend_all(n=6, batch_size=7))
    assert_array_equal(np.concatenate([b[1] for b in batches]), model.recommend(np.arange(shape[0]), n=6).items)


def test_candidates_and_exclusions() -> None:
    R = plays()
    model = fastals.EASE().fit(R)
    whole = model.recommend([4, 7, 9], n=40)
    candidates, exclude = [[1, 2, 3, 10], [], [0, 16, 17]], [[2], [1], [5, 17]]
    for arguments, left in (
        ({"items": [1, 2, 3, 7]}, [{1, 2, 3, 7}] * 3),
        ({"items": candidates}, [set(c) for c in candidates]),
        ({"exclude": exclude}, [set(range(40)) - set(e) for e in exclude]),
        ({"items": candidates, "exclude": [1, 16]}, [set(c) - {1, 16} for c in candidates]),
    ):
        found = model.recommend([4, 7, 9], n=40, **arguments)
        for q in range(3):
            wanted = [item for item in whole.items[q].tolist() if item in left[q]]
            assert found.items[q].tolist() == wanted + [-1] * (40 - len(wanted))
    assert model.recommend([], n=2, items=[]).items.shape == (0, 2)
    assert (model.recommend(4, items=[]).items == -1).all()
    with pytest.raises(fastals.ParameterError, match="EASE has no factors"):
        model.recommend(user_factors=np.ones(3))
    with pytest.raises(fastals.ParameterError, match="EASE takes no boost"):
        model.recommend(0, boost={0: 2.0})


@weightings
@dtypes
def test_histories_are_answered_as_rows_are(weighting: Any, dtype: Any) -> None:
    R = plays()
    model = fastals.EASE(weighting=weighting, dtype=dtype).fit(R)
    for exclude_seen in (True, False):
        known = model.recommend(np.arange(60), n=6, exclude_seen=exclude_seen)
        new = model.recommend(histories=R, n=6, exclude_seen=exclude_seen)
        assert_array_equal(new.items, known.items)
        assert_array_equal(new.scores, known.scores)


@shapes
def test_similar_items_are_those_of_the_partial_correlations(shape: Any) -> None:
    R = plays(shape)
    model = fastals.EASE(regularization=5.0, dtype="float64").fit(R)
    X = entered(R, "log")
    P = np.linalg.inv(X.T @ X + 5 * np.eye(shape[1]))
    correlations = -P / np.sqrt(np.outer(P.diagonal(), P.diagonal()))
    np.fill_diagonal(correlations, 0)
    found = model.similar_items(np.arange(shape[1]), n=4)
    expected = np.sort(correlations)[:, ::-1][:, :4]
    assert_allclose(found.scores, np.where(expected > 1e-12, expected, -np.inf), rtol=1e-8)
    assert (found.items[5] == -1).all()
    some = model.similar_items(0, n=3, candidates=[1, 2, 8], exclude=[8])
    assert set(some.items) <= {1, 2, -1}
    with pytest.raises(fastals.ParameterError, match="EASE knows similarities of items only"):
        model.similar_users(0)


def test_labels_pickles_and_files(tmp_path: Path) -> None:
    events = (["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"], [3, 1, 2, 2, 5])
    model = fastals.EASE(regularization=0.5, weighting="log", dtype="float64").fit(events)
    model.save(tmp_path / "model")
    loaded = [fastals.load(tmp_path / "model", mmap=mmap) for mmap in (True, False)]
    for known in (model, pickle.loads(pickle.dumps(model)), *loaded):
        assert type(known) is fastals.EASE
        assert known.recommend(["ann", "bob"], n=1).items.tolist() == [["folk"], ["rock"]]
        assert np.isnan(known.predict("ann", ["opera"])).all()
        assert known.predict(["zoe"], ["jazz"], unknown="mean").tolist() == [0]
        assert known.settings_ == {"regularization": 0.5, "weighting": "log"}
        assert known.get_params() == model.get_params()
        assert_array_equal(known.weights_, model.weights_)
        assert known.state_.error == model.state_.error
        assert not known.weights_.flags.writeable
    with pytest.raises(fastals.UnknownLabelError):
        model.recommend("zoe")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    fastals.EASE().fit(plays((25, 18))).save(path)
    whole = path.read_bytes()
    for rest in (b"", whole[:100], whole[:-1], whole + b"x"):
        path.write_bytes(rest)
        with pytest.raises(fastals.FileFormatError):
            fastals.load(path)
    for old, new in ((b'"float32', b'"float64'), (b'"log\\"', b'"lin\\"'), (b'\\"error\\"', b'\\"terror\\"')):
        path.write_bytes(whole.replace(old, new, 1))
        with pytest.raises(fastals.FileFormatError):
            fastals.load(path)
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 200):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
        with pytest.raises(fastals.FileFormatError):
            fastals.load(path, mmap=False)
        with contextlib.suppress(fastals.FastalsError):  # without checksums it may be read, but must not crash
            fastals.load(path).recommend(np.arange(25))


def test_items_are_forgotten() -> None:
    R, gone = plays(), [0, 7, 8]
    left = np.setdiff1d(np.arange(40), gone)
    names = [f"i{item:02d}" for item in range(40)]
    for labels in (names, None):
        model = fastals.EASE().fit(fastals.Interactions.from_matrix(R, items=labels))
        before = model.weights_
        model.forget(items=[names[i] for i in gone] if labels else gone)
        if labels:
            assert_array_equal(model.weights_, before[np.ix_(left, left)])
        else:
            assert_array_equal(model.weights_[np.ix_(left, left)], before[np.ix_(left, left)])
            assert not model.weights_[gone].any()
            assert not model.weights_[:, gone].any()
        scores = entered(R, "log")[:, left] @ before[np.ix_(left, left)].astype(np.float64)
        found = model.predict(np.repeat(np.arange(60), 37), [*np.array(names)[left]] * 60 if labels else [*left] * 60)
        assert_allclose(found.reshape(60, 37), scores, atol=1e-6)


# --- what auto stands for ---------------------------------------------------------------------------------------------


def test_auto_is_one_of_the_others(tmp_path: Path) -> None:
    model = fastals.EASE().fit(plays())
    settings = model.settings_
    told = fastals.EASE(**settings).fit(plays())
    assert_array_equal(told.weights_, model.weights_)
    assert told.settings_ == settings
    model.save(tmp_path / "model")
    assert fastals.load(tmp_path / "model").settings_ == settings
    assert fastals.load(tmp_path / "model").regularization == "auto"


def test_auto_comes_in_the_unit_of_the_values() -> None:
    """Ten times the values are the same model."""
    R = plays()
    one, ten = (fastals.EASE(weighting=None, dtype="float64").fit(c * R) for c in (1, 10))
    assert ten.settings_["regularization"] == pytest.approx(100 * one.settings_["regularization"])
    assert_allclose(ten.weights_, one.weights_, atol=1e-12)


# --- what cannot be solved --------------------------------------------------------------------------------------------


@dtypes
def test_singular_matrices_are_refused(dtype: Any) -> None:
    twins = sparse.csr_array(np.column_stack([plays().toarray()[:, :3]] * 2))  # two items that nobody tells apart
    model = fastals.EASE(dtype=dtype).fit(plays())
    state = model.state_
    for data in (twins, plays((40, 60))):
        with pytest.raises(fastals.NumericalError, match="regularization=0 is too little for these data") as caught:
            model.set_params(regularization=0).fit(data)
        assert ("or dtype='float64'" in str(caught.value)) == (dtype == "float32")
        assert model.state_ is state


def test_a_dtype_that_is_too_narrow_is_told() -> None:
    """Values whose squares differ by more than float32 has digits: the factorization goes through, scores are off."""
    R = plays((50, 70))
    R.data *= 1e4
    options: Any = {"regularization": 1e-3, "weighting": None}
    with pytest.raises(fastals.NumericalError, match="too little for these data in float32"):
        fastals.EASE(**options).fit(R)
    exact = fastals.EASE(**options, dtype="float64").fit(R)
    assert exact.state_.error < 1e-4
    assert np.isfinite(exact.weights_).all()


@dtypes
@pytest.mark.parametrize("regularization", [1e-2, 1.0, 1e3, 1e6, 1e12])
@shapes
def test_what_it_says_of_its_error_is_so(shape: Any, regularization: float, dtype: Any) -> None:
    R = plays(shape)
    model = fastals.EASE(regularization=regularization, dtype=dtype, weighting="log").fit(R)
    exact = fastals.EASE(regularization=regularization, dtype="float64", weighting="log").fit(R).weights_
    assert np.isfinite(model.weights_).all()
    assert relative(model.weights_, exact) <= 10 * model.state_.error + 100 * np.finfo(dtype).eps


def test_without_regularization_items_without_cells_have_no_weights() -> None:
    rng = np.random.default_rng(0)
    X = np.where(rng.random((200, 20)) < 0.5, 1.0, 0)
    X[:, 7] = 0
    B = fastals.EASE(regularization=0, dtype="float64").fit(sparse.csr_array(X)).weights_
    rest = np.arange(20) != 7
    assert not B[7].any()
    assert not B[:, 7].any()
    assert_allclose(B[np.ix_(rest, rest)], twin(X[:, rest], 0), atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"regularization": -1}, fastals.ParameterError, "regularization must be >= 0, got -1"),
        ({"regularization": "all"}, fastals.ArgumentTypeError, "regularization must be a number, got 'all'"),
        ({"regularization": np.inf}, fastals.ParameterError, "regularization must be finite"),
        ({"weighting": "bm25"}, fastals.ParameterError, "weighting must be one of 'auto', 'binary', 'log' or None"),
        ({"dtype": "float16"}, fastals.ParameterError, "dtype must be 'float32' or 'float64'"),
        ({"num_threads": 0}, fastals.ParameterError, "num_threads must be >= 1"),
    ],
)
def test_parameters_are_checked(parameters: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        fastals.EASE(**parameters)
    with pytest.raises(error, match=re.escape(message)):
        fastals.EASE().set_params(**parameters)


def test_errors() -> None:
    with pytest.raises(fastals.NotFittedError):
        fastals.EASE().recommend(0)
    with pytest.raises(fastals.NotFittedError):
        fastals.EASE().save("model")
    model = fastals.EASE().fit(plays())
    with pytest.raises(fastals.DataError):
        model.fit(([], []))
    assert len(model.recommend(0).items) == 10  # as it was
    assert repr(fastals.EASE(regularization=3.0)) == "EASE(regularization=3.0)"
    one = fastals.EASE().fit(sparse.csr_array([[1.0]]))
    assert one.weights_.tolist() == [[0]]
    assert one.recommend(0).items.tolist() == [-1] * 10


# --- memory -----------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("shape", [(1500, 900), (900, 1500)], ids=str)
def test_memory_is_estimated(shape: Any, dtype: Any) -> None:
    R = sparse.csr_array(sparse.random_array(shape, density=0.1, rng=0))
    model = fastals.EASE(num_threads=2, dtype=dtype)
    model.fit(R)  # what is imported at the first
    need = model.estimate_memory(*shape, R.nnz)
    assert need.factors == shape[1] ** 2 * np.dtype(dtype).itemsize
    model = fastals.EASE(num_threads=2, dtype=dtype)
    tracemalloc.start()
    model.fit(R)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.75 * need.total < peak < 1.05 * need.total


def test_more_than_the_machine_has_is_refused() -> None:
    events = np.arange(300_000), np.arange(300_000)
    with pytest.raises(fastals.DataError, match=r"n_items must be less than 300,000, .* need \d+\.\d GB, .* are free"):
        fastals.EASE().fit(events)


def test_what_is_free_is_the_least_that_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = memory.free_memory()
    assert free is None or 0 < free < 1 << 50
    files = [tmp_path / name for name in ("max", "current", "stat")]
    for file, text in zip(files, ("3000\n", "2500\n", "anon 7\ninactive_file 100\n"), strict=True):
        file.write_text(text)
    monkeypatch.setattr(memory, "_GROUPS", [tuple(files)])
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert memory.free_memory() == 600
    files[0].write_text("max\n")
    assert memory.free_memory() != 600


# --- real data --------------------------------------------------------------------------------------------------------


def test_ml_100k() -> None:
    """It is ahead of its neighbours."""
    data = real_data.matrix(real_data.table("ml-100k"), None)
    train, test = evaluation.train_test_split(data, 0.2, random_state=0)
    model = fastals.EASE().fit(train)
    metrics, others = (evaluation.evaluate(m, train, test) for m in (model, fastals.ItemKNN(neighbors=100).fit(train)))
    assert metrics["ndcg@10"] > 1.1 * others["ndcg@10"]
    assert evaluation.auc(model, train, test) > 0.9


def test_float32_lists_are_those_of_float64() -> None:
    data = real_data.matrix(real_data.table("ml-1m"), None)
    lists = [fastals.EASE(dtype=dtype).fit(data).recommend(np.arange(6040)).items for dtype in ("float32", "float64")]
    assert (lists[0] == lists[1]).mean() > 0.999


def test_it_is_tuned_as_others_are() -> None:
    data = real_data.matrix(real_data.table("ml-100k"), None)
    found = fastals.tune(fastals.EASE(), data, {"regularization": [1.0, 200.0, 1e5]}, random_state=0)
    assert found.best_model.settings_["regularization"] == 200
