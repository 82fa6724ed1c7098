"""The life of a fit: validation, early stopping, checkpoints, and what an interruption leaves."""

import json
import os
import signal
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals.evaluation import evaluate

BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])


def split(seed: int = 0, n_users: int = 60, n_items: int = 40) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Ratings of two tastes, a quarter held out."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 2, n_users)[:, None] == rng.integers(0, 2, n_items)[None, :]
    dense = (rng.random((n_users, n_items)) < np.where(taste, 0.5, 0.1)) * rng.integers(1, 6, (n_users, n_items))
    held_out = rng.random(dense.shape) < 0.25
    return sparse.csr_array((dense * ~held_out).astype(np.float32)), sparse.csr_array((dense * held_out).astype(float))


def assert_same(one: Any, other: Any) -> None:
    """The same bits."""
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    np.testing.assert_array_equal(one.item_factors_, other.item_factors_)
    for name in ("loss_history_", "metrics_history_", "n_iter_", "best_iteration_"):
        assert getattr(one, name) == getattr(other, name), name


# ---------------------------------------------------------------------------------------------------------------------
# validation


def test_metrics_are_those_of_evaluate() -> None:
    train, test = split()
    for iterations in (1, 2, 3):
        model = ImplicitALS(factors=4, iterations=iterations, random_state=0)
        model.fit(train, validation=test, validation_metric="ndcg@5")
        plain = ImplicitALS(factors=4, iterations=iterations, random_state=0).fit(train)
        expected = evaluate(plain, train, test, k=5)
        assert set(model.metrics_history_[-1]) == {"ndcg@5", "recall@5"}
        for name, value in model.metrics_history_[-1].items():
            assert value == pytest.approx(expected[name], abs=1e-12)
        ratings = ExplicitALS(factors=4, iterations=iterations, random_state=0).fit(train, validation=test)
        plain = ExplicitALS(factors=4, iterations=iterations, random_state=0).fit(train)
        expected = evaluate(plain, train, test)
        assert ratings.metrics_history_[-1] == {"rmse": pytest.approx(expected["rmse"], rel=1e-6)}


@BOTH
def test_the_best_iteration_is_kept(model: Any) -> None:
    train, test = split()
    make = lambda iterations: model(  # noqa: E731
        factors=3, iterations=iterations, regularization=0.1, solver="cholesky", random_state=0
    )
    fitted = make(25).fit(train, validation=test)
    values = [next(iter(metrics.values())) for metrics in fitted.metrics_history_]
    best = int(np.argmin(values) if model is ExplicitALS else np.argmax(values)) + 1
    assert fitted.n_iter_ == len(values) == len(fitted.loss_history_) == 25
    assert fitted.best_iteration_ == best < 25
    stopped = make(best).fit(train)
    np.testing.assert_array_equal(fitted.user_factors_, stopped.user_factors_)
    np.testing.assert_array_equal(fitted.item_factors_, stopped.item_factors_)
    assert stopped.best_iteration_ is None
    assert make(0).fit(train, validation=test).best_iteration_ is None
    assert stopped.metrics_history_ == []


@BOTH
@pytest.mark.parametrize("patience", [1, 3])
def test_patience(model: Any, patience: int) -> None:
    train, test = split()
    estimator = model(factors=3, iterations=60, regularization=0.1, random_state=0)
    fitted = estimator.fit(train, validation=test, patience=patience)
    assert fitted.n_iter_ == fitted.best_iteration_ + patience < 60


def test_the_callback_gets_the_metrics() -> None:
    train, test = split()
    seen: list[Any] = []
    model = ImplicitALS(factors=3, iterations=4, random_state=0)
    model.fit(train, validation=test, callback=lambda *arguments: seen.append(arguments))
    assert [iteration for iteration, *_ in seen] == [1, 2, 3, 4]
    assert [metrics for _, _, metrics, _ in seen] == model.metrics_history_
    # the model is that of the best iteration, and so is the loss that closes the history
    assert [loss for _, loss, _, _ in seen[:-1]] == model.loss_history_[:-1]
    assert model.loss_history_[-1] == pytest.approx(seen[model.best_iteration_ - 1][1], rel=1e-3)


def test_validation_takes_any_form_and_passes_over_what_is_unknown() -> None:
    users, items = ["u", "u", "v", "w"], ["a", "b", "b", "c"]
    held_out = (["u", "v", "new", "w"], ["c", "a", "a", "new"])
    model = ImplicitALS(factors=2, iterations=2, random_state=0)
    by_tuple = model.fit((users, items), validation=held_out, validation_metric="recall@2").metrics_history_
    frame = {"user": held_out[0][:2], "item": held_out[1][:2]}
    data = fastals.Interactions.from_frame(frame)
    assert model.fit((users, items), validation=data, validation_metric="recall@2").metrics_history_ == by_tuple


def test_lists_are_not_judged_by_training_cells() -> None:
    train, test = split()
    both = sparse.csr_array(train + test)
    model = ImplicitALS(factors=4, iterations=3, random_state=0)
    assert model.fit(train, validation=both).metrics_history_ == model.fit(train, validation=test).metrics_history_
    with pytest.raises(fastals.DataError, match="validation must have a cell above 0 that the training data do not"):
        model.fit(train, validation=train)


@BOTH
def test_bad_validation(model: Any) -> None:
    train, test = split()
    estimator = model(factors=2)
    for arguments, message in (
        ({"patience": 3}, "need validation"),
        ({"validation_metric": "ndcg@10"}, "need validation"),
        ({"validation": test, "patience": 0}, "patience must be >= 1"),
        ({"validation": test, "patience": 1.5}, "patience must be an integer"),
        ({"validation": test, "validation_metric": "auc"}, "'ndcg@k'.*'auc'"),
        ({"validation": test, "validation_metric": "ndcg@0"}, "validation_metric"),
        ({"validation": test, "validation_metric": "ndcg@"}, "validation_metric"),
        ({"validation": test, "validation_metric": "rmse@3"}, "validation_metric"),
        ({"validation": test, "validation_metric": 10}, "validation_metric"),
        ({"validation": sparse.csr_array(test.T)}, "items x users"),
        ({"validation": "held out"}, "data must be"),
        ({"callback": 3}, "callback must be callable, got 3"),
        ({"validation": (["x"], ["y"])}, "index|indices|integers"),
    ):
        with pytest.raises(fastals.FastalsError, match=message):
            estimator.fit(train, **arguments)
    if model is ImplicitALS:
        with pytest.raises(fastals.ParameterError, match="'rmse'"):
            estimator.fit(train, validation=test, validation_metric="rmse")
    else:
        assert set(estimator.fit(train, validation=test, validation_metric="ndcg@3").metrics_history_[0]) == {
            "ndcg@3",
            "recall@3",
        }


# ---------------------------------------------------------------------------------------------------------------------
# checkpoints


def stop_after(n: int) -> Any:
    return lambda iteration, *_: iteration == n


@BOTH
@pytest.mark.parametrize("solver", ["auto", "cg"])
@pytest.mark.parametrize("seed", [0, "generator", "factors"])
def test_a_resumed_fit_ends_with_the_same_bits(tmp_path: Path, model: Any, solver: Any, seed: Any) -> None:
    train, test = split()
    rng = np.random.default_rng(5)
    start = (rng.standard_normal((60, 40)), rng.standard_normal((40, 40))) if seed == "factors" else None

    def make() -> Any:
        state = np.random.default_rng(3) if seed == "generator" else 0
        return model(factors=40, iterations=9, regularization=0.05, solver=solver, random_state=state)

    arguments: dict[str, Any] = {"initial_factors": start, "validation": test, "patience": 8}
    whole = make().fit(train, **arguments)
    arguments |= {"checkpoint": tmp_path / "point", "checkpoint_every": 2}
    for stop in (3, 4, 6):
        make().fit(train, **arguments, callback=stop_after(stop))
    resumed = make()
    state = resumed.random_state
    assert_same(resumed.fit(train, **arguments), whole)
    if seed == "generator":  # it was drawn from all the same
        other = np.random.default_rng(3)
        model(factors=40, iterations=0, random_state=other).fit(train)
        assert state.random() == other.random()
    # when training has ended, there is nothing left to do
    again = make().fit(train, **arguments, callback=lambda *_: pytest.fail("there is nothing left to do"))
    assert_same(again, whole)


VARIANTS: dict[str, Any] = {
    "biases": lambda **kw: ExplicitALS(biases=True, **kw),
    "lenskit": lambda **kw: ExplicitALS.from_preset("lenskit", **kw),
    "spark": lambda **kw: ImplicitALS.from_preset("spark", solver="auto", **kw),
    "two lambdas": lambda **kw: ImplicitALS(regularization=(0.1, 0.2), confidence="log", **kw),
    "nonnegative": lambda **kw: ImplicitALS(nonnegative=True, **kw),
    "nonnegative biases": lambda **kw: ExplicitALS(nonnegative=True, biases=True, **kw),
}


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_can_be_resumed(tmp_path: Path, variant: str, weights: bool) -> None:
    train, test = split()
    sample_weight = np.random.default_rng(1).random(train.nnz) if weights else None
    make = lambda: VARIANTS[variant](factors=33, iterations=7, random_state=0)  # noqa: E731
    arguments: dict[str, Any] = {"validation": test, "sample_weight": sample_weight}
    whole = make().fit(train, **arguments)
    for stop in (2, 3, 5):
        make().fit(train, **arguments, checkpoint=tmp_path / "point", checkpoint_every=1, callback=stop_after(stop))
    resumed = make().fit(train, **arguments, checkpoint=tmp_path / "point")
    assert_same(resumed, whole)
    np.testing.assert_array_equal(resumed.predict([3, 4], [5, 6]), whole.predict([3, 4], [5, 6]))
    if weights:
        with pytest.raises(fastals.ParameterError, match="other sample_weight"):
            make().fit(train, validation=test, checkpoint=tmp_path / "point")


def test_unseeded_training_goes_on_too(tmp_path: Path) -> None:
    train, _ = split()
    path = tmp_path / "point"
    model = ImplicitALS(factors=3, iterations=6, tol=None)
    model.fit(train, checkpoint=path, checkpoint_every=1, callback=stop_after(4))
    calls: list[int] = []
    model.fit(train, checkpoint=path, callback=lambda i, *_: calls.append(i))
    assert calls == [5, 6]


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    train, test = split()
    path = tmp_path / "point"
    model = ImplicitALS(factors=3, iterations=4, random_state=0)
    model.fit(train, checkpoint=path)
    before = path.read_bytes()
    other = train.copy()
    other.data[7] += 1
    labelled = fastals.Interactions.from_matrix(train, users=[f"u{u}" for u in range(60)])
    for estimator, data, arguments, message in (
        (ImplicitALS(factors=4, iterations=4, random_state=0), train, {}, "factors=3, not 4"),
        (ImplicitALS(factors=3, iterations=5, random_state=0), train, {}, "iterations=4, not 5"),
        (ImplicitALS(factors=3, iterations=4, alpha=2.0, random_state=0), train, {}, "alpha=1.0, not 2.0"),
        (ExplicitALS(factors=3, iterations=4, random_state=0), train, {}, "ImplicitALS"),
        (ImplicitALS(factors=3, iterations=4, random_state=1), train, {}, "random_state"),
        (model, train, {"initial_factors": (np.ones((60, 3)), np.ones((40, 3)))}, "initial factors"),
        (model, other, {}, "other data"),
        (model, labelled, {}, "other data"),
        (model, train, {"validation": test}, "other validation"),
    ):
        with pytest.raises(fastals.ParameterError, match=f"belongs to another fit.*{message}.*delete it"):
            estimator.fit(data, checkpoint=path, **arguments)
    assert path.read_bytes() == before
    model.set_params(num_threads=2).fit(train, checkpoint=path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train, test = split()
    path = tmp_path / "point"
    model = ImplicitALS(factors=3, iterations=4, random_state=0)
    model.fit(train, checkpoint=path, validation=test)
    good = path.read_bytes()
    for broken in (b"", good[:100], good[:-1], good[:-5] + b"\0" + good[-4:], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(fastals.FileFormatError, match="not a usable checkpoint"):
            model.fit(train, checkpoint=path, validation=test)
    path.write_bytes(good)
    model.save(tmp_path / "model")
    with pytest.raises(fastals.FileFormatError, match="not a fastals checkpoint"):
        model.fit(train, checkpoint=tmp_path / "model", validation=test)
    with pytest.raises(fastals.FileFormatError, match="not a fastals model"):
        fastals.load(path)
    for bad, message in (({"checkpoint": 5}, "checkpoint must be"), ({"checkpoint_every": 0}, "checkpoint_every")):
        with pytest.raises(fastals.FastalsError, match=message):
            model.fit(train, **{"checkpoint": path, **bad})


def test_every_tensor_of_a_checkpoint_is_checked(tmp_path: Path) -> None:
    train, test = split()
    path, other = tmp_path / "point", tmp_path / "other"
    model = ImplicitALS(factors=3, iterations=4, random_state=0)
    model.fit(train, checkpoint=path, validation=test)
    wide = ImplicitALS(factors=5, iterations=4, random_state=0)
    wide.fit(train, checkpoint=other, validation=test)
    header = path.read_bytes()
    metadata = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    # the narrow checkpoint's words with the wide one's numbers, checksums as they should be
    wide_header = other.read_bytes()
    content = json.loads(metadata["content"])
    content["crc32"] = json.loads(
        json.loads(wide_header[8 : 8 + int.from_bytes(wide_header[:8], "little")])["__metadata__"]["content"]
    )["crc32"]
    metadata["content"] = json.dumps(content)
    metadata["content_crc32"] = str(zlib.crc32(metadata["content"].encode()))
    save_file(load_file(other), path, metadata)
    with pytest.raises(fastals.FileFormatError, match="tensor 'user_factors' is missing, or not of shape"):
        model.fit(train, checkpoint=path, validation=test)


KILLER = """
import os, random, signal, sys, time
import numpy as np
from safetensors import safe_open
from scipy import sparse
import fastals

# No kernel runs in this process, so that its forks are whole.
directory, wanted = sys.argv[1], int(sys.argv[2])
path, result = os.path.join(directory, "point"), os.path.join(directory, "result")
rng = np.random.default_rng(0)
matrix = sparse.csr_array(rng.poisson(0.15, (300, 200)).astype(np.float32))
held_out = sparse.csr_array(rng.poisson(0.02, (300, 200)).astype(np.float32))

def child(**arguments):
    pid = os.fork()
    if pid:
        return pid
    model = fastals.ImplicitALS(factors=40, iterations=30, tol=None, num_threads=1, random_state=0)
    model.fit(matrix, validation=held_out, **arguments)
    model.save(result)
    os._exit(0)

def outcome():
    with safe_open(result, "numpy") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}
        return tensors, file.metadata()["content"]

start = time.perf_counter()
assert os.waitpid(child(), 0)[1] == 0
duration = time.perf_counter() - start
expected = outcome()
random.seed(0)
kills = finished = 0
while kills < wanted or not finished or os.path.exists(path):
    pid = child(checkpoint=path, checkpoint_every=1)
    if kills < wanted:
        time.sleep(random.uniform(0, duration / 3))
        os.kill(pid, signal.SIGKILL)
    if os.waitpid(pid, 0)[1] == 0:
        assert outcome() == expected, "other bits"
        os.unlink(path)
        finished += 1
    else:
        kills += 1
print(kills, finished)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and kills")
def test_killed_at_fifty_random_moments_and_resumed(tmp_path: Path) -> None:
    """As hard as it gets: no handler runs, whatever was under way."""
    result = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), "50"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    kills, finished = map(int, result.stdout.split())
    assert kills == 50
    assert finished >= 1
    # nothing but the outcome is left, though some were killed while they wrote the checkpoint
    assert [path.name for path in tmp_path.iterdir() if "point" in path.name] == []


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C; of what calls fit: tests/models/test_interrupts.py


@pytest.fixture
def listening() -> Iterator[None]:
    """Python's own handler of SIGINT, which a process in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@BOTH
def test_ctrl_c_leaves_a_usable_model(model: Any) -> None:
    train, test = split()

    def press(iteration: int, *_: Any) -> None:
        if iteration == 3:
            signal.raise_signal(signal.SIGINT)

    for arguments in ({}, {"validation": test}):
        with pytest.warns(UserWarning, match="after 3 of 50 iterations"):
            fitted = model(factors=4, iterations=50, random_state=0).fit(train, callback=press, **arguments)
        assert fitted.n_iter_ == len(fitted.loss_history_) == 3
        assert fitted.recommend([0, 1], n=3).items.shape == (2, 3)
        # validation's best, else as it stood; what is asked to stop also solves the items once more
        stopped = model(factors=4, iterations=50, random_state=0, solver="cholesky")
        pressed = model(factors=4, iterations=50, random_state=0, solver="cholesky")
        with pytest.warns(UserWarning, match="after 3 of 50 iterations"):
            pressed.fit(train, callback=press, **arguments)
        stopped.fit(train, callback=stop_after(3), **arguments)
        np.testing.assert_array_equal(pressed.user_factors_, stopped.user_factors_)
        np.testing.assert_array_equal(pressed.item_factors_, stopped.item_factors_)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_ctrl_c_at_any_moment() -> None:
    train, test = split(n_users=400, n_items=200)

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    caught = 0
    try:
        for delay in np.random.default_rng(0).uniform(0.03, 0.3, 12):
            model = ImplicitALS(factors=8, iterations=1_000_000, tol=None, random_state=0)
            signal.setitimer(signal.ITIMER_REAL, delay)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                try:
                    model.fit(train, validation=test)
                except KeyboardInterrupt:  # before the loop: nothing has been fitted
                    assert not hasattr(model, "user_factors_")
                    continue
            caught += 1
            assert len(model.loss_history_) == len(model.metrics_history_) == model.n_iter_
            assert model.recommend(0, n=3).items.shape == (3,)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught


@pytest.mark.usefixtures("listening")
def test_an_interrupted_fit_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    train, _ = split()

    def press(iteration: int, *_: Any) -> None:
        if iteration == 5:
            signal.raise_signal(signal.SIGINT)

    make = lambda: ImplicitALS(factors=4, iterations=9, random_state=0)  # noqa: E731
    with pytest.warns(UserWarning, match="after 5 of 9"):
        make().fit(train, checkpoint=tmp_path / "point", checkpoint_every=2, callback=press)
    assert_same(make().fit(train, checkpoint=tmp_path / "point"), make().fit(train))
