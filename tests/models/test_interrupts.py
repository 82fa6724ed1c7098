"""Ctrl-C: a fit by hand keeps what it has, whatever calls fit ends; and what a callback may answer."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from interrupting import LISTEN, interrupted
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._equation import Descent

BOTH = pytest.mark.parametrize("cls", [ExplicitALS, ImplicitALS])
SOLVERS = pytest.mark.parametrize(
    "parameters",
    [{"solver": solver} for solver in ("auto", "cholesky", "cg", "lapack")] + [{"nonnegative": True}, {"factors": 40}],
    ids=str,
)
OPTIONS: Any = {"factors": 4, "iterations": 9, "tol": None, "random_state": 0}


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """Python's own handler of SIGINT, which a process in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def press_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press Ctrl-C within the iteration of this number, counted over all fits."""
    whole = Descent.iterate

    def arm(number: int) -> None:
        begun = []

        def iterate(self: Descent, last: bool) -> float | None:
            begun.append(last)
            if len(begun) == number:
                signal.raise_signal(signal.SIGINT)
            return whole(self, last)

        monkeypatch.setattr(Descent, "iterate", iterate)

    return arm


def plays() -> sparse.csr_array:
    return sparse.csr_array(sparse.random_array((60, 40), density=0.2, rng=np.random.default_rng(0)))


def pairs() -> tuple[Any, Any]:
    cells = plays().tocoo()
    order = np.random.default_rng(0).permutation(cells.nnz)
    return np.column_stack(cells.coords)[order], 1 + cells.data[order]


@BOTH
@SOLVERS
@pytest.mark.parametrize("validated", [False, True])
def test_a_fit_by_hand_keeps_its_model(cls: Any, parameters: Any, validated: bool, press_at: Any) -> None:
    held_out = {"validation": plays()[:, ::-1]} if validated else {}
    whole = cls(**{**OPTIONS, "iterations": 3, **parameters}).fit(plays())
    press_at(4)
    model = cls(**{**OPTIONS, **parameters})
    with pytest.warns(UserWarning, match=r"interrupted: the model stands as it was after 3 of 9 iterations$"):
        model.fit(plays(), **held_out)
    assert model.n_iter_ == len(model.loss_history_) == 3
    assert model.recommend(0, n=3).items.shape == (3,)
    if parameters.get("solver") in ("cholesky", "lapack") and not validated:
        np.testing.assert_array_equal(model.item_factors_, whole.item_factors_)


@BOTH
def test_before_the_first_iteration_there_is_nothing_to_keep(cls: Any, press_at: Any) -> None:
    model = cls(**OPTIONS).fit(plays())
    state = model.state_
    press_at(1)
    with pytest.raises(KeyboardInterrupt, match="after 0 of 9 iterations"):
        model.fit(plays())
    assert model.state_ is state


@BOTH
def test_a_second_press_ends_the_fit(cls: Any, press_at: Any, monkeypatch: Any) -> None:
    model = cls(**OPTIONS).fit(plays())
    state = model.state_
    press_at(4)
    monkeypatch.setattr(Descent, "check", lambda self: signal.raise_signal(signal.SIGINT))
    with pytest.warns(UserWarning, match="after 3 of 9"), pytest.raises(KeyboardInterrupt):
        model.fit(plays())
    assert model.state_ is state


@BOTH
def test_in_another_thread_a_fit_is_stopped_by_its_callback(cls: Any) -> None:
    waiting, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def callback(iteration: int, *_: Any) -> bool:
        if iteration == 2:
            waiting.wait(30)
            os.kill(os.getpid(), signal.SIGINT)
            return stop.wait(30)
        return False

    def work() -> None:
        model.fit(plays(), callback=callback)
        ended.set()

    model = cls(**OPTIONS)
    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        waiting.set()
        ended.wait(30)
    stop.set()
    assert ended.wait(30)
    thread.join()
    assert model.n_iter_ == 2


@BOTH
def test_a_checkpoint_is_named(cls: Any, press_at: Any, tmp_path: Any) -> None:
    press_at(8)
    model, path = cls(**OPTIONS), tmp_path / "point"
    with pytest.warns(
        UserWarning, match=r"after 7 of 9 iterations; the same call goes on from .*point', which holds 5"
    ):
        model.fit(plays(), checkpoint=path)
    before = clone(model).fit(plays())
    np.testing.assert_array_equal(model.fit(plays(), checkpoint=path).item_factors_, before.item_factors_)


# ---------------------------------------------------------------------------------------------------------------------
# what calls fit


@BOTH
def test_clones_are_not_kept_until_they_have_been_fitted(cls: Any, press_at: Any) -> None:
    model = clone(cls(**OPTIONS))
    press_at(4)
    with pytest.raises(KeyboardInterrupt, match="after 3 of 9"):
        model.fit(plays())
    assert not model.__sklearn_is_fitted__()
    model.fit(plays())
    press_at(4)
    with pytest.warns(UserWarning, match="after 3 of 9"):
        model.fit(plays())


@BOTH
@pytest.mark.parametrize(
    "search",
    [
        lambda model: GridSearchCV(model, {"factors": [2, 3]}, cv=2).fit(*pairs()),
        lambda model: GridSearchCV(model, {"factors": [2]}, cv=2).fit(*pairs()),
        lambda model: RandomizedSearchCV(model, {"factors": [2, 3]}, n_iter=1, cv=2).fit(*pairs()),
        lambda model: cross_val_score(model, *pairs(), cv=3),
    ],
    ids=["grid", "grid of one", "random", "cross-validation"],
)
@pytest.mark.parametrize("number", [4, 12, 22])  # also of the last fit, on all data
def test_searches_of_scikit_learn_end(cls: Any, search: Any, number: int, press_at: Any) -> None:
    press_at(number)
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        search(cls(**OPTIONS))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_searches_in_other_processes_end() -> None:
    program = """
import os, sys, warnings
import numpy as np
from sklearn.model_selection import GridSearchCV
import fastals

def callback(iteration, *_):
    if iteration == 3:
        os.write(1, b"now\\n")

X = np.column_stack(np.nonzero(np.random.default_rng(0).random((40, 30)) < 0.5))
model = fastals.ExplicitALS(factors=2, iterations=1_000_000, tol=None, solver="cholesky")
try:
    GridSearchCV(model, {"factors": [1, 2]}, cv=2, n_jobs=2).fit(X, np.ones(len(X)), callback=callback)
except KeyboardInterrupt:
    print("ended")
"""
    # the workers hold standard output open: as long as one of them goes on, there is no end
    _, out, _ = interrupted(LISTEN + program, group=True)
    assert out.endswith("ended\n")


@BOTH
def test_tune_ends_and_gives_what_it_has(cls: Any, press_at: Any) -> None:
    model, grid = cls(**OPTIONS), {"regularization": [0.01, 0.1, 1.0]}
    options: Any = {"warm_start": False, "random_state": 0, "refit": False}
    whole = fastals.tune(model, plays(), grid, **options)
    press_at(22)
    with pytest.raises(KeyboardInterrupt, match="after 2 of 3 settings") as caught:
        fastals.tune(model, plays(), grid, **options)
    found = caught.value.tuning
    rows = [row for row in whole.rows if row["params"] != {"regularization": 1.0}]
    assert [row["params"] for row in found.rows] == [row["params"] for row in rows]
    assert [row[whole.metric] for row in found.rows] == [row[whole.metric] for row in rows]
    assert found.best_model.get_params()["regularization"] == found.best_params["regularization"]
    assert found.best_model.__sklearn_is_fitted__()
    press_at(3)
    with pytest.raises(KeyboardInterrupt, match=r"after 0 of 3 settings$") as caught:
        fastals.tune(model, plays(), grid, **options)
    assert caught.value.tuning is None
    press_at(30)  # when the best is trained once more
    with pytest.raises(KeyboardInterrupt, match="after 3 of 3 settings") as caught:
        fastals.tune(model, plays(), grid, **{**options, "refit": True})
    assert caught.value.tuning.best_score == whole.best_score


@BOTH
def test_a_report_ends(cls: Any, press_at: Any) -> None:
    model = cls(**OPTIONS).fit(sparse.csr_array(np.ones((60, 40))))
    press_at(3)
    with pytest.raises(KeyboardInterrupt):
        model.diagnose()


@BOTH
def test_partial_fit_leaves_the_model(cls: Any, monkeypatch: Any) -> None:
    model = cls(**OPTIONS).fit(plays())
    state = model.state_
    room = sys.modules["fastals._fitted.fold_in"]
    monkeypatch.setattr(room, "check_finite_factors", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(plays())
    assert model.state_ is state


# ---------------------------------------------------------------------------------------------------------------------
# callbacks


@BOTH
@SOLVERS
@pytest.mark.parametrize("answer", [True, np.True_, np.isclose(1, 1)])
def test_a_callback_stops(cls: Any, parameters: Any, answer: Any) -> None:
    assert cls(**{**OPTIONS, **parameters}).fit(plays(), callback=lambda *_: answer).n_iter_ == 1


@BOTH
@pytest.mark.parametrize("answer", [None, False, np.False_])
def test_a_callback_goes_on(cls: Any, answer: Any) -> None:
    assert cls(**OPTIONS).fit(plays(), callback=lambda *_: answer).n_iter_ == 9


@BOTH
@pytest.mark.parametrize("answer", [1, 0, 0.5, "no", np.array(True), [True]], ids=repr)
def test_a_callback_says_yes_or_no(cls: Any, answer: Any) -> None:
    model = cls(**OPTIONS)
    with pytest.raises(fastals.ArgumentTypeError, match="callback must return True to stop training, False or None"):
        model.fit(plays(), callback=lambda *_: answer)
    assert not model.__sklearn_is_fitted__()
