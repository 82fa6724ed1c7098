"""``fastals score``: raw events become scores."""

from __future__ import annotations

import argparse
import time

from .. import scoring
from .._files import check_target
from ._common import THREADS, add_format_options, add_quiet, format_options

HELP = "turn raw events into one score for each user and item"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("events", metavar="PATH", nargs="+", help="files or a directory: CSV, JSON lines or Parquet")
    parser.add_argument("--spec", required=True, metavar="FILE", help="the specification, .toml, .yaml or .json")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, .parquet or .csv")
    parser.add_argument("--threads", type=int, metavar="N", help=THREADS)
    add_format_options(parser)
    add_quiet(parser)


def command(arguments: argparse.Namespace) -> None:
    """Turn raw events into scores."""
    spec = scoring.ScoreSpec.load(arguments.spec)
    check_target(arguments.out)
    start = time.perf_counter()
    with scoring.score(
        arguments.events,
        spec,
        **format_options(arguments),
        num_threads=arguments.threads,
        progress=False if arguments.quiet else None,
    ) as scores:
        n = scores.write(arguments.out)
        if not arguments.quiet:
            who = f"{scores.n_users:,} users with {scores.n_items:,} items"
            print(f"read     {', '.join(arguments.events)}: {scores.n_events:,} events of {who}")
            print(f"wrote    {arguments.out}: {n:,} scores in {time.perf_counter() - start:.1f} s")
