"""``fastals run``: from raw events to served lists, as one file says; see settings.py for what it may say."""

from __future__ import annotations

import argparse

from .settings import MANUAL, Pipeline
from .steps import run

HELP = "do all that a pipeline file says: score, train, evaluate, publish, report"
EPILOG = MANUAL


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("pipeline", metavar="FILE", help="pipeline.toml, .yaml or .json")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a value instead of the file's, as in train.factors=64, or a parameter: date=2025-05-01; may be repeated",
    )
    parser.add_argument(
        "--from",
        dest="first",
        choices=("score", "publish"),
        default="score",
        help="begin with this step; publish: with the model that an earlier run has left (default: %(default)s)",
    )
    parser.add_argument(
        "--until",
        dest="last",
        choices=("train", "publish"),
        default="publish",
        help="end with this step; train: nothing is published nor reported yet (default: %(default)s)",
    )


def command(arguments: argparse.Namespace) -> None:
    """Do all that a pipeline file says."""
    arguments.facts["pipeline"] = arguments.pipeline
    pipeline = Pipeline.load(arguments.pipeline, arguments.set)
    run(pipeline, quiet=arguments.quiet, facts=arguments.facts, first=arguments.first, last=arguments.last)
