"""``fastals score``: raw events become scores."""

from __future__ import annotations

import argparse
import time

from .. import scoring
from .._core import told_address
from .._files import check_target
from ._common import THREADS, add_format_options, event_facts, format_options, score, told_events

HELP = "turn raw events into one score for each user and item"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("events", metavar="PATH", nargs="*", help="files or a directory: CSV, JSON lines or Parquet")
    parser.add_argument(
        "--query", metavar="SQL", help="instead of files: \"SELECT … FROM read_parquet('dt=*/*.parquet')\""
    )
    parser.add_argument("--spec", required=True, metavar="FILE", help="the specification, .toml, .yaml or .json")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, .parquet or .csv")
    parser.add_argument("--threads", type=int, metavar="N", help=THREADS)
    add_format_options(parser)


def command(arguments: argparse.Namespace) -> None:
    """Turn raw events into scores."""
    if bool(arguments.events) == (arguments.query is not None):
        arguments.parser.error("either files of events, or --query")
    spec = scoring.ScoreSpec.load(arguments.spec)
    check_target(arguments.out)
    start = time.perf_counter()
    with score(
        arguments.events or scoring.SQL(arguments.query),
        spec,
        **format_options(arguments),
        num_threads=arguments.threads,
        progress=False if arguments.quiet else None,
    ) as scores:
        n = scores.write(arguments.out)
        arguments.facts |= {"events": event_facts(scores, n), "out": arguments.out}
        if not arguments.quiet:
            name = ", ".join(map(told_address, arguments.events)) or "the query"
            print(f"read     {name}: {told_events(scores)}")
            print(f"wrote    {told_address(arguments.out)}: {n:,} scores in {time.perf_counter() - start:.1f} s")
