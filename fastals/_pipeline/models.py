"""Models wherever they are, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import serving
from .._files import fetched, is_remote, replacing
from .._models import ALS
from .._models import load as _load

NONE = ("none", "None")
"""What says None where files and command lines have no word for it."""


def save(model: ALS, path: str) -> None:
    """Save a model, wherever the path leads."""
    if is_remote(path):
        with replacing(path) as temporary:
            model.save(temporary)
    else:
        model.save(path)


def load(path: str, *, mmap: bool = True) -> Any:
    """Load a model, wherever it is."""
    with fetched(path) as local:
        return _load(local, mmap=mmap and not is_remote(path))


def loss(model: ALS) -> str:
    """Return the last loss as text."""
    return f"{model.loss_history_[-1]:.6g}" if model.loss_history_ else "not computed"


def told_publication(published: serving.Published) -> str:
    """Return a publication as text."""
    return f"published {published}"


def print_metrics(name: str, metrics: Mapping[str, float], baseline: Mapping[str, float]) -> None:
    """Print metrics beside those of the popularity baseline."""
    print(f"{'':14}{name:>12}{'most popular':>14}")
    for metric, value in metrics.items():
        if metric.startswith("n_"):
            print(f"{metric:14}{value:>12,}")
        else:
            print(f"{metric:14}{value:12.4f}" + (f"{baseline[metric]:14.4f}" if metric in baseline else ""))


def model_facts(model: ALS) -> dict[str, Any]:
    """Return what a summary says of a model."""
    return {
        "kind": type(model).__name__,
        "parameters": model.get_params(),
        "settings": dict(model.state_.settings),
        "users": len(model.state_.users),
        "items": len(model.state_.items),
        "cells": model.state_.pairs.nnz,
        "iterations": model.n_iter_,
        "loss": model.loss_history_[-1] if model.loss_history_ else None,
    }
