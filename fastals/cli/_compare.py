"""``fastals compare``: two models side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from .. import evaluation
from .._core import GateError, ParameterError
from ._common import add_data_options, load, read

HELP = "compare two models: their lists, where they lean, what they hit"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("old", metavar="OLD", help="file of a model, as the one that is served")
    parser.add_argument("new", metavar="NEW", help="file of a model, as the one that is to take its place")
    add_data_options(parser, "CSV, JSON lines or Parquet: what was held out (default: no metrics)", nargs="?")
    parser.add_argument("--n", type=int, default=10, help="items in a list (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument(
        "--min-overlap",
        type=float,
        metavar="X",
        help='end with exit code 3 where lists have less in common, of 1 ("common" in the output)',
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="X",
        help='end with exit code 3 where "ndcg" (of ratings: the rise of "rmse") is worse by more than X, even at the '
        "near end of its interval",
    )


def command(arguments: argparse.Namespace) -> None:
    """Compare two models."""
    if arguments.min_overlap is not None and not 0 <= arguments.min_overlap <= 1:
        raise ParameterError(f"--min-overlap must be from 0 to 1, got {arguments.min_overlap}")
    if arguments.max_drop is not None and arguments.data is None:
        raise ParameterError("--max-drop needs a file of what was held out")
    old, new = load(arguments.old), load(arguments.new)
    test = read(arguments, ratings=old.state_.ratings) if arguments.data else None
    found = evaluation.compare(old, new, test, arguments.n)
    arguments.facts["comparison"] = found.to_dict()
    if arguments.json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        for line in lines(found):
            print(line)
    common = found.overlap["common"]
    if arguments.min_overlap is not None and not common >= arguments.min_overlap:
        raise GateError(f"the lists have {common:.4f} in common, less than --min-overlap {arguments.min_overlap}")
    if arguments.max_drop is not None:
        _check_drop(found, arguments.max_drop)


def _check_drop(found: evaluation.Comparison, bound: float) -> None:
    """Refuse a model that is worse, and not only by chance."""
    name = "rmse" if "rmse" in found.metrics else f"ndcg@{found.n}"
    metric = found.metrics[name]
    loss, least = (metric.difference, metric.low) if name == "rmse" else (-metric.difference, -metric.high)
    # one user has no interval
    if max(loss, least) > bound if least != least else least > bound:
        raise GateError(f"{name} is worse by {loss:.4f} (at least {least:.4f}), more than --max-drop {bound}")


def lines(found: evaluation.Comparison) -> Iterator[str]:
    """Word a comparison."""
    yield f"{'':18}{'old':>12}{'new':>12}{'common':>12}{'gone':>12}{'added':>12}"
    for name, known in (("users", found.users), ("items", found.items)):
        yield f"{name:18}{known.old:>12,}{known.new:>12,}{known.common:>12,}{known.gone:>12,}{known.added:>12,}"
    yield ""
    yield f"overlap of the lists of {found.n_lists:,} users, {found.n} items each"
    for name, value in found.overlap.items():
        yield f"{name:18}{value:12.4f}"
    yield ""
    yield f"{'lists':18}{'old':>12}{'new':>12}{'difference':>12}"
    for name, change in found.lists.items():
        yield f"{name:18}{change.old:12.4f}{change.new:12.4f}{change.new - change.old:+12.4f}"
    if found.metrics:
        yield ""
        yield f"{'held out':18}{'old':>12}{'new':>12}{'difference':>12}{'95 % from':>12}{'to':>12}"
        for name, metric in found.metrics.items():
            ends = f"{metric.difference:+12.4f}{metric.low:+12.4f}{metric.high:+12.4f}"
            yield f"{name:18}{metric.old:12.4f}{metric.new:12.4f}{ends}"
        yield f"{'n_users':18}{found.n_test_users:>12,}"
