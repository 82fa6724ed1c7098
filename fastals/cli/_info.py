"""``fastals info``: what a model file holds."""

from __future__ import annotations

import argparse
from typing import Any

from numpy.typing import NDArray

from .. import serving
from .._equation import told
from .._files import iso
from .._models import ALS
from ._common import add_model, load, loss, size, told_updates

HELP = "tell what a model file holds"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument("--verify", action="store_true", help="read all of it and compare the checksums")


def command(arguments: argparse.Namespace) -> None:
    """Tell what a model file holds."""
    model = load(arguments.model, mmap=not arguments.verify)
    parameters = ", ".join(f"{name}={value!r}" for name, value in model.get_params().items())
    lines = {
        "model": type(model).__name__,
        "parameters": parameters,
        "users": _describe(model.users_, len(model.state_.users)),
        "items": _describe(model.items_, len(model.state_.items)),
    }
    pairs = model.state_.pairs
    trained = f"{pairs.nnz:,} interactions" + ("" if pairs.known is None else f", {pairs.known.nnz:,} known pairs")
    if isinstance(model, ALS):
        lines["settings"] = told(model.state_.settings)
        lines["factors"] = f"{model.user_factors_.shape[1]}, {model.user_factors_.dtype}"
        trained += f", {model.n_iter_} iterations, loss {loss(model)}"
        if model.n_updates_:
            lines["updates"] = told_updates(model.n_updates_, model.updated_)
    else:
        lines["neighbours"] = f"{model.similarity_.nnz:,}"
    lines |= {
        "trained on": trained,
        "file": size(arguments.model)[2:] + (", checksums agree" if arguments.verify else ""),
    }
    if model.state_.pairs.on_disk:
        lines["data"] = f"in {model.state_.pairs.on_disk}"
    if isinstance(model, ALS) and model.scoring_:
        lines["scores"] = ", ".join(f"{name} {_told(name, value)}" for name, value in model.scoring_.items())
    for name, text in lines.items():
        print(f"{name:12}{text}")


def _told(name: str, value: Any) -> str:
    """Return a part of a specification as text: a time that scoring has found as one that people read."""
    return iso(int(value) * 10**9) if name == "now" and isinstance(value, float) else str(value)


def _describe(labels: NDArray[Any] | None, size: int) -> str:
    if labels is None:
        return f"{size:,}, by index"
    return f"{size:,}, {serving.text(labels[0])} … {serving.text(labels[-1])}"
