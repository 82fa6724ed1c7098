"""``fastals update``: new events are taken into a model, which ages what it holds."""

from __future__ import annotations

import argparse
import time
from typing import Any

from .._core import ParameterError, told_address
from .._files import check_target
from .._models import ALS
from ._common import (
    add_data_options,
    add_model,
    count,
    format_options,
    load,
    model_facts,
    read,
    save,
    size,
    told_updates,
    update,
)

HELP = "take new events into a model, between two whole fits"

PLAIN = ("user", "item", "rating", "duplicates", "decay")
"""Options for models that know no specification of scores; others find all that in it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    add_data_options(parser, "the new events only, as score or train would read them", nargs="+")
    parser.add_argument(
        "--decay",
        type=float,
        metavar="X",
        help="what the model's values are multiplied by as they get older; a model of scores knows it (default: 1)",
    )
    parser.add_argument("--now", metavar="TIME", help="what scores are aged to (default: the newest event's time)")
    parser.add_argument("--passes", type=int, default=2, metavar="N", help="solves of what changes (default: 2)")
    parser.add_argument("--out", metavar="MODEL", help="file to write (default: in the place of the model)")


def command(arguments: argparse.Namespace) -> None:
    """Take new events into a model."""
    out = arguments.out or arguments.model
    check_target(out)  # before the work, not after it
    start = time.perf_counter()
    model = load(arguments.model)
    if not isinstance(model, ALS):
        raise ParameterError(f"{type(model).__name__} cannot be updated: fit it again on all events")
    names = ", ".join(map(told_address, arguments.data))
    known = len(model.state_.users), len(model.state_.items)
    told = _scored(model, arguments) if model.scoring_ else _plain(model, arguments)
    save(model, out)
    updates = {"updates": model.n_updates_, "unseen_by_fit": model.updated_}
    arguments.facts["model"] = model_facts(model) | {"out": out, **updates}
    if not arguments.quiet:
        new = len(model.state_.users) - known[0], len(model.state_.items) - known[1]
        print(f"read     {names}: {told}")
        print(f"updated  {new[0]:,} new users and {new[1]:,} new items in {time.perf_counter() - start:.1f} s")
        print(f"updates  {told_updates(model.n_updates_, model.updated_)}")
        print(f"wrote    {told_address(out)}{size(out)}")


def _scored(model: ALS, arguments: argparse.Namespace) -> str:
    """Take in raw events; returns what they were as text."""
    for name in PLAIN:
        if getattr(arguments, name) is not None:
            raise ParameterError(f"--{name} has no meaning here: the model holds how its scores are made; leave it out")
    options: dict[str, Any] = {**format_options(arguments), "progress": False if arguments.quiet else None}
    told = update(model, arguments.data, now=_number(arguments.now), passes=arguments.passes, **options)
    arguments.facts["events"] = told.summary | {"scores": told.n_scores, "notes": list(told.notes)}
    out = f", {told.n_dropped:,} of pairs that had been below the minimum, which stay out" if told.n_dropped else ""
    before = f"older ones count {told.decay:.6g} of what they did"
    return f"{told.n_events:,} events, {told.n_scores:,} scores{out}; {before}"


def _plain(model: ALS, arguments: argparse.Namespace) -> str:
    """Take in interactions; returns what they were as text."""
    if arguments.now is not None:
        raise ParameterError("--now has no meaning here: the model was not trained on scores that age; --decay ages it")
    duplicates = arguments.duplicates
    arguments.duplicates = "keep"  # they are merged with the history, in their order
    if len(arguments.data) == 1:
        (arguments.data,) = arguments.data
    data = read(arguments, ratings=model.state_.ratings)
    decay = 1.0 if arguments.decay is None else arguments.decay
    model.partial_fit(data, duplicates=duplicates, decay=decay, passes=arguments.passes)
    return count(data)


def _number(text: str | None) -> float | str | None:
    """Read seconds, or a date and time as text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
