"""``fastals publish``: all users' lists go to where they are served from."""

from __future__ import annotations

import argparse

from .. import serving
from ..serving import SCORES
from ._common import add_list_options, add_model, add_quiet, load, told_publication

HELP = "send all users' lists to Redis or to a file"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument(
        "--to", required=True, metavar="TARGET", help="redis://… address, or .parquet, .csv, .jsonl or .resp file"
    )
    add_list_options(parser, n=20)
    parser.add_argument("--prefix", default="fastals", help="what keys in Redis begin with (default: %(default)s)")
    parser.add_argument("--ttl", type=int, metavar="SECONDS", help="when lists in Redis expire (default: never)")
    parser.add_argument(
        "--score-dtype", choices=tuple(SCORES), default="float16", help="in Redis (default: %(default)s)"
    )
    add_quiet(parser)


def command(arguments: argparse.Namespace) -> None:
    """Send all users' lists to Redis or to a file."""
    serving.check_target_of_lists(arguments.to)
    options = {name: getattr(arguments, name) for name in ("n", "prefix", "ttl", "score_dtype")}
    published = serving.publish(
        load(arguments.model),
        arguments.to,
        exclude_seen=not arguments.with_seen,
        progress=False if arguments.quiet else None,
        **options,
    )
    if not arguments.quiet:
        print(told_publication(published))
