"""``fastals evaluate``: a model against what was held out."""

from __future__ import annotations

import argparse

from .. import evaluation
from ._common import add_data_options, add_model, load, print_metrics, read

HELP = "measure a model against a file of held-out interactions"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    add_data_options(parser, "CSV, JSON lines or Parquet: what was held out")
    parser.add_argument("--k", type=int, default=10, help="length of the lists (default: %(default)s)")


def command(arguments: argparse.Namespace) -> None:
    """Measure a model against held-out interactions."""
    model = load(arguments.model)
    test = read(arguments, ratings=model.state_.ratings)
    metrics = evaluation.evaluate(model, None, test, arguments.k)
    baseline = evaluation.popularity_baseline(model, None, test, arguments.k)
    print_metrics(type(model).__name__, metrics, baseline)
