"""A fit's state in a file: what it goes on from, with the same bits, after whatever has ended it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import (
    ParameterError,
    check_int,
    check_path,
    read_tensors,
    reading,
    remove_leftovers,
    write_tensors,
)
from .._core import field as json_field
from .._data import Interactions, cell_arrays
from .training import Training

CHECKPOINT_VERSION = "2"


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
        self.done = 0
        """Iterations that the file holds."""

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
        self.done = len(training.history)

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
            content, tensors = read_tensors(self.path, "checkpoint", (CHECKPOINT_VERSION,), mmap=False)
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
        self.done = len(losses)

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
    return digest(*cell_arrays(data, values=True), data.shape, data.users, data.items)
