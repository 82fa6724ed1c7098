"""The fit loop: iterations, early stopping, and what an interruption leaves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .._core import LOGGER, ArgumentTypeError, FactorArray, single_threaded_blas

Callback = Callable[[int, float, Mapping[str, float], float], "bool | np.bool_ | None"]


@dataclass(eq=False, repr=False)
class Training:
    """A fit under way: whatever decides how it goes on, and so what a checkpoint holds.

    What its arrays hold is never changed: an iteration makes others. A descent looks into none of them, and where its
    sides have no arrays, they are whatever these call their factors.

    Parameters
    ----------
    X, Y : arrays of shape (n_users, k), (n_items, k)
        The factors after the last iteration.
    """

    X: FactorArray
    Y: FactorArray
    history: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    """Loss and metrics after each iteration."""
    before: FactorArray | None = None
    """The side that is solved last, as it was before, where the next iteration is to go beyond the solution."""
    mean: float = 0.0
    """The global mean, of a model that has one."""
    biases: tuple[FactorArray, FactorArray] | None = None
    """Of users and items, where they follow from the data; where they are trained, they are columns of X and Y."""
    best: tuple[int, FactorArray, FactorArray, float] | None = None
    """The iteration of the best metric so far, its factors and mean."""
    n_repeated: int = 0
    """Iterations that had to be made once more, exactly, since rounding had led them up."""

    @property
    def best_iteration(self) -> int:
        """Counted from 1; 0: there is none."""
        return self.best[0] if self.best else 0

    def held(self) -> list[FactorArray]:
        """The arrays that nobody may write to."""
        arrays = (self.X, self.Y, self.before, *(self.best[1:3] if self.best else ()))
        return [array for array in arrays if array is not None]

    def record(self, loss: float, metrics: Mapping[str, float], better: bool) -> None:
        """Take an iteration down; each step alone leaves a state to go on from, as Ctrl-C may come between."""
        self.history.append((loss, metrics))
        if better:
            self.best = len(self.history), self.X, self.Y, self.mean

    def restore_best(self) -> None:
        """Go back to the best iteration, if there is one."""
        if self.best:
            _, self.X, self.Y, self.mean = self.best
            self.before = None


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C

_WITHIN: ContextVar[bool] = ContextVar("within", default=False)
"""Whether a fit is a step of something larger. A thread that is started meanwhile knows nothing of it, and needs not:
Python interrupts the main thread alone."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end all that is done within, not only the fit under way: for whatever calls ``fit`` itself."""
    token = _WITHIN.set(True)
    try:
        yield
    finally:
        _WITHIN.reset(token)


# ---------------------------------------------------------------------------------------------------------------------
# the loop


def train(
    descent: Iterations,
    training: Training,
    *,
    iterations: int,
    tol: float | None = None,
    validation: Validation | None = None,
    callback: Callback | None = None,
    checkpoint: Savable | None = None,
    progress: bool | None = None,
    keep: bool = True,
) -> None:
    """Iterate until one of these ends it: ``iterations`` are done, ``tol``, patience, the callback, or Ctrl-C.

    Parameters
    ----------
    descent : Iterations
        Works on the factors of ``training``.
    training : Training
        Goes on from what it holds, and holds the outcome: with validation, the factors of the best iteration, and
        unless Ctrl-C ended it, with the side that is solved last solved exactly. The last loss is that of the outcome.
    tol : float, optional
        The least part of itself by which an iteration must lower the objective for another to follow.
    validation : Validation, optional
        Measures the present factors after each iteration.
    keep : bool
        What Ctrl-C has left of training is an outcome, but for within :func:`interruptible`.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C, before the first iteration was whole or where its outcome is not kept; or a second one, at any time.
    ArgumentTypeError
        The callback returned what says neither to stop nor to go on.

    Warns
    -----
    UserWarning
        Ctrl-C ended training. The factors are then those of the last whole iteration.
    """

    def finished() -> bool:
        losses = [loss for loss, _ in training.history[-2:]]
        settled = bool(tol) and len(losses) == 2 and losses[0] - losses[1] < (tol or 0) * abs(losses[0])
        exhausted = validation is not None and validation.exhausted(training)
        return settled or exhausted or len(training.history) >= iterations

    try:
        with single_threaded_blas():
            with _progress_bar(iterations, len(training.history), progress) as bar:
                while not finished():
                    start = time.perf_counter()
                    loss = descent.iterate(len(training.history) + 1 == iterations)
                    seconds = time.perf_counter() - start
                    if loss is None:
                        break
                    metrics: dict[str, float] = {}
                    better = False
                    if validation is not None:
                        descent.check()
                        metrics = validation.measure(training)
                        better = validation.is_better(metrics, training)
                    training.record(loss, metrics, better)
                    shown = {"loss": f"{loss:.6g}", **{n: f"{v:.4g}" for n, v in metrics.items()}}
                    bar.set_postfix(shown, refresh=False)
                    bar.update()
                    done = len(training.history)
                    LOGGER.debug("iteration %d of %d: %s, %.3g s", done, iterations, shown, seconds)
                    if checkpoint and (done % checkpoint.every == 0 or finished()):
                        checkpoint.save(training)
                    if callback and _stops(callback(done, loss, metrics, seconds)):
                        break
            _close(descent, training, iterations)
    except KeyboardInterrupt:
        how_far = f"after {len(training.history)} of {iterations} iterations"
        if checkpoint and checkpoint.done:
            how_far += f"; the same call goes on from checkpoint {checkpoint.path!r}, which holds {checkpoint.done}"
        if not keep or _WITHIN.get() or not training.history:
            raise KeyboardInterrupt(how_far) from None
        warnings.warn(f"interrupted: the model stands as it was {how_far}", stacklevel=3)
        kept = training.best_iteration
        training.restore_best()
        if kept:
            training.history[-1] = training.history[kept - 1][0], training.history[-1][1]
    descent.check()


class Validation(Protocol):
    """What the loop needs of that which measures the factors."""

    def measure(self, training: Training) -> dict[str, float]:
        """Every metric by its name."""

    def is_better(self, metrics: Mapping[str, float], training: Training) -> bool:
        """Whether an iteration of these metrics is the best so far."""

    def exhausted(self, training: Training) -> bool:
        """Whether patience has run out."""


class Savable(Protocol):
    """What the loop needs of a checkpoint: where it is, and how many iterations are between writings and in it."""

    path: str
    every: int
    done: int

    def save(self, training: Training) -> None:
        """Write the state, atomically."""


class Iterations(Protocol):
    """What the loop needs of a descent."""

    def iterate(self, last: bool) -> float | None:
        """One iteration, ``last`` if no other follows; returns the loss, or None where there is no way down."""

    def finish(self, loss: float) -> float:
        """Solve the side that is solved last exactly, once more; takes and returns the loss of the factors."""

    def check(self) -> None:
        """Refuse factors that are no numbers."""


def _stops(answer: object) -> bool:
    """Whether a callback's answer is to stop."""
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise ArgumentTypeError(f"callback must return True to stop training, False or None to go on, got {answer!r}")


def _close(descent: Iterations, training: Training, iterations: int) -> None:
    """Make the best iteration's factors, or else the last one's, the outcome."""
    done = len(training.history)
    kept = training.best_iteration or done
    training.restore_best()
    if kept and kept != iterations:
        # the last of all iterations has ended exactly already
        loss = descent.finish(training.history[kept - 1][0])
        training.history[-1] = loss, training.history[-1][1]
    elif kept:
        training.history[-1] = training.history[kept - 1][0], training.history[-1][1]


def _progress_bar(total: int, done: int, progress: bool | None) -> Any:
    from tqdm import tqdm

    disable = None if progress is None else not progress
    return tqdm(total=total, initial=done, desc="ALS", unit="iteration", disable=disable)
