"""The fit loop: iterations, validation and early stopping, checkpoints, and what an interruption leaves."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._core import kernels
from .._core.checks import check_finite_factors, check_int, check_path
from .._core.container import field as json_field
from .._core.container import read_tensors, reading, write_tensors
from .._core.errors import DataError, ParameterError
from .._core.files import remove_leftovers
from .._core.threads import single_threaded_blas
from .._data.interactions import Interactions, as_interactions
from .._topn.recommender import Recommender
from ..evaluation import _metrics
from .sweep import FactorArray

Callback = Callable[[int, float, Mapping[str, float], float], object]

CHECKPOINT_VERSION = "2"


@dataclass
class Training:
    """A fit under way: whatever decides how it goes on, and so what a checkpoint holds.

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
    """The iteration of the best metric so far, and copies of its factors and mean."""
    n_repeated: int = 0
    """Iterations that had to be made once more, exactly, since rounding had led them up."""

    @property
    def best_iteration(self) -> int:
        """Counted from 1; 0: there is none."""
        return self.best[0] if self.best else 0

    def record(self, loss: float, metrics: Mapping[str, float], better: bool) -> None:
        """Take an iteration down; each step alone leaves a state to go on from, as Ctrl-C may come between."""
        self.history.append((loss, metrics))
        if better:
            self.best = len(self.history), self.X.copy(), self.Y.copy(), self.mean

    def restore_best(self) -> None:
        """Go back to the best iteration, if there is one."""
        if self.best:
            _, self.X, self.Y, self.mean = self.best
            self.before = None


# ---------------------------------------------------------------------------------------------------------------------
# validation


class Validation:
    """Held-out cells, and how well a model under training meets them.

    Parameters
    ----------
    data : whatever ``fit`` accepts
        Cells of users and items that the training data do not have are passed over.
    metric : {"rmse", "ndcg@k", "recall@k"}
        What decides which iteration is the best. "rmse" is measured alone, the other two together.
    patience : int, optional
        Iterations without a better value after which training ends.
    train : Interactions
        The training data, whose cells no list holds and nobody is judged by.

    Raises
    ------
    DataError
        Nothing is left to measure.
    """

    def __init__(self, data: Any, metric: str, patience: int | None, train: Interactions) -> None:
        self.metric = metric
        self.patience = None if patience is None else check_int("patience", patience, low=1)
        name, _, k = metric.partition("@")
        self.k = int(k or 0)
        self.sign = -1 if name == "rmse" else 1
        held_out = as_interactions(data, users=train.user_labels, items=train.item_labels)
        rows = np.repeat(np.arange(held_out.n_users, dtype=np.int32), np.diff(held_out.indptr))
        cells = _metrics.cell_numbers(held_out.indptr, held_out.indices, held_out.n_items)
        keep = np.ones(len(cells), bool)
        if self.k:
            keep = held_out.values > 0
            keep &= np.diff(cells, prepend=-1) > 0
            keep &= ~_metrics.contains(_metrics.cell_numbers(train.indptr, train.indices, train.n_items), cells)
        self.rows, self.columns, self.cells = rows[keep], held_out.indices[keep], cells[keep]
        self.values = held_out.values[keep].astype(np.float64)
        if not len(self.cells):
            new = "above 0 that the training data do not hold, " if self.k else ""
            raise DataError(f"validation must have a cell {new}of users and items that the training data hold")
        self.users, relevant = np.unique(self.rows, return_counts=True)
        self.relevant = relevant.astype(np.int64)

    def measure(self, model: Recommender) -> dict[str, float]:
        """Return every metric by its name."""
        if not self.k:
            X, Y = model._scoring_factors()
            scores = kernels.pair_scores(X, Y, self.rows, self.columns, model._threads())
            return {self.metric: _metrics.rmse(self.values, scores)}
        lists, _ = model._top_items(self.users, self.k, True)
        found = np.where(lists < 0, -1, lists + self.users[:, np.newaxis].astype(np.int64) * len(model._items))
        hits = _metrics.contains(self.cells, found.ravel()).reshape(found.shape)
        return {
            f"{name}@{self.k}": float(_metrics.RANKING[name](hits, self.relevant, self.k).mean())
            for name in ("ndcg", "recall")
        }

    def is_better(self, metrics: Mapping[str, float], training: Training) -> bool:
        """Whether an iteration of these metrics is the best so far."""
        if not training.best:
            return True
        best = training.history[training.best_iteration - 1][1][self.metric]
        return self.sign * metrics[self.metric] > self.sign * best

    def digest(self) -> str:
        """Return a fingerprint of all that decides when training ends, and which iteration is kept."""
        return digest(self.metric, self.patience, self.cells, self.values)

    def exhausted(self, training: Training) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and len(training.history) - training.best_iteration >= self.patience


def check_validation_metric(metric: Any, default: str) -> str:
    """Return "rmse", or "ndcg@k" or "recall@k" with a number k; "rmse" is no metric where it is not the default."""
    if metric is None:
        return default
    names = ("rmse", "ndcg@k", "recall@k") if default == "rmse" else ("ndcg@k", "recall@k")
    name, _, k = metric.partition("@") if isinstance(metric, str) else ("", "", "")
    if not (f"{name}@k" in names and k.isdecimal() and int(k)) and not (metric == "rmse" == default):
        raise ParameterError(
            f"validation_metric must be one of {', '.join(map(repr, names))}, k a number such as 10, got {metric!r}"
        )
    return str(metric)


# ---------------------------------------------------------------------------------------------------------------------
# checkpoints


class Checkpoint:
    """A file from which a fit goes on.

    Parameters
    ----------
    path : str or path-like
    every : int
        Iterations from one writing to the next.
    parameters : mapping
        Plain values; a checkpoint of others is refused.
    digests : mapping
        What :func:`digest` makes of everything else that decides the outcome, each under the name by which a difference
        is told.
    """

    def __init__(self, path: Any, every: int, parameters: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        self.path = check_path("checkpoint", path)
        self.every = check_int("checkpoint_every", every, low=1)
        self.parameters, self.digests = dict(parameters), dict(digests)

    def save(self, training: Training) -> None:
        """Write the state, atomically."""
        tensors = {
            "user_factors": training.X,
            "item_factors": training.Y,
            "loss_history": np.array([loss for loss, _ in training.history], np.float64),
        }
        best_mean = 0.0
        if training.before is not None:
            tensors["factors_before"] = training.before
        if training.best:
            _, tensors["best_user_factors"], tensors["best_item_factors"], best_mean = training.best
        content = {
            "parameters": self.parameters,
            "digests": self.digests,
            "mean": training.mean,
            "best": training.best_iteration,
            "n_repeated": training.n_repeated,
            "best_mean": best_mean,
            "metrics_history": [dict(metrics) for _, metrics in training.history],
        }
        write_tensors(self.path, "checkpoint", CHECKPOINT_VERSION, content, tensors)

    def restore(self, training: Training) -> None:
        """Go on from the file, where there is one; clear away what killed writers of it have left.

        Raises
        ------
        FileFormatError
            It is damaged, or no checkpoint.
        ParameterError
            It belongs to another fit.
        """
        remove_leftovers(self.path)
        if not os.path.lexists(self.path):
            return
        with reading(self.path, "checkpoint"):
            content, tensors = read_tensors(self.path, "checkpoint", CHECKPOINT_VERSION, mmap=False)
            parameters, digests = (json_field(content, name, dict) for name in ("parameters", "digests"))
            best, metrics = json_field(content, "best", int), json_field(content, "metrics_history", list)
        for name in {**self.parameters, **parameters}:
            there, here = parameters.get(name), self.parameters.get(name)
            if there != here:
                self._refuse(f"{name}={there!r}, not {here!r}")
        for name in self.digests:
            if digests.get(name) != self.digests[name]:
                self._refuse(f"other {name}")
        with reading(self.path, "checkpoint"):
            losses = _take(tensors, "loss_history", (len(metrics),)).tolist()
            training.history = list(zip(losses, metrics, strict=True))
            training.X[:] = _take(tensors, "user_factors", training.X.shape)
            training.Y[:] = _take(tensors, "item_factors", training.Y.shape)
            training.mean = json_field(content, "mean", float)
            training.n_repeated = json_field(content, "n_repeated", int)
            if "factors_before" in tensors:
                training.before = _take(tensors, "factors_before", training.X.shape, training.Y.shape)
            if best:
                best_X = _take(tensors, "best_user_factors", training.X.shape)
                best_Y = _take(tensors, "best_item_factors", training.Y.shape)
                training.best = best, best_X, best_Y, json_field(content, "best_mean", float)

    def _refuse(self, difference: str) -> None:
        raise ParameterError(
            f"checkpoint {self.path!r} belongs to another fit, with {difference}: delete it, or give another path"
        )


def _take(tensors: Mapping[str, NDArray[Any]], name: str, *shapes: tuple[int, ...]) -> NDArray[Any]:
    if name not in tensors or tensors[name].shape not in shapes:
        raise ValueError(f"tensor {name!r} is missing, or not of shape {' or '.join(map(str, shapes))}")
    return tensors[name]


def digest(*parts: Any) -> str:
    """Return a fingerprint of arrays, labels and numbers: equal for equal ones."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object:
            total.update(f"{part.dtype} {part.shape}".encode())
            total.update(np.ascontiguousarray(part).data)
        elif isinstance(part, np.ndarray):
            total.update(repr(part.tolist()).encode())
        else:
            total.update(repr(part).encode())
    return total.hexdigest()


def digest_of(data: Interactions) -> str:
    """Return the fingerprint of interactions, labels included."""
    return digest(data.indptr, data.indices, data.values, data.shape, data.users, data.items)


# ---------------------------------------------------------------------------------------------------------------------
# the loop


def train(
    descent: Iterations,
    training: Training,
    *,
    iterations: int,
    tol: float | None = None,
    validation: Validation | None = None,
    measured: Callable[[], Recommender] | None = None,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool | None = None,
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
    measured : callable
        Gives the model of the present factors; for ``validation``.

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
                    if validation is not None and measured is not None:
                        check_finite_factors(training.X, training.Y)
                        metrics = validation.measure(measured())
                    training.record(loss, metrics, validation is not None and validation.is_better(metrics, training))
                    shown = {"loss": f"{loss:.6g}", **{n: f"{v:.4g}" for n, v in metrics.items()}}
                    bar.set_postfix(shown, refresh=False)
                    bar.update()
                    done = len(training.history)
                    if checkpoint and (done % checkpoint.every == 0 or finished()):
                        checkpoint.save(training)
                    if callback and callback(done, loss, metrics, seconds) is True:
                        break
            _close(descent, training, iterations)
    except KeyboardInterrupt:
        warnings.warn(
            f"interrupted: the model stands as it was after {len(training.history)} of {iterations} iterations",
            stacklevel=3,
        )
        kept = training.best_iteration
        training.restore_best()
        if kept:
            training.history[-1] = training.history[kept - 1][0], training.history[-1][1]
    check_finite_factors(training.X, training.Y)


class Iterations(Protocol):
    """What the loop needs of a descent."""

    def iterate(self, last: bool) -> float | None:
        """One iteration, ``last`` if no other follows; returns the loss, or None where there is no way down."""

    def finish(self, loss: float) -> float:
        """Solve the side that is solved last exactly, once more; takes and returns the loss of the factors."""


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
