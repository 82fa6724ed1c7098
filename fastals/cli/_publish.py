"""``fastals publish``: all users' lists, or what else a model knows, go to where they are served from."""

from __future__ import annotations

import argparse

from .. import serving
from ..serving import SCORES
from ._common import add_list_options, add_model, add_title_options, load, told_publication

HELP = "send all users' lists, similar items or vectors to Redis or to a file"
OPTIONS = (
    *("what", "n", "catalogue", "blocklist", "titles", "item_column", "title_column", "popular", "metric"),
    *("prefix", "ttl", "score_dtype"),
)
"""Of publish, as the command line has them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    parser.add_argument(
        "--to", required=True, metavar="TARGET", help="redis://… address, or .parquet, .csv, .jsonl or .resp file"
    )
    what = parser.add_mutually_exclusive_group()
    for option, value, text in (
        ("--similar-items", "similar_items", "each item's most similar items instead of each user's best"),
        ("--vectors", "item_vectors", "each item's vector instead, to Redis or Parquet"),
    ):
        what.add_argument(option, dest="what", action="store_const", const=value, help=text)
    parser.set_defaults(what="recommendations")
    add_list_options(parser, n=20)
    parser.add_argument(
        "--catalogue", metavar="FILE", help="ids of the only items to list: .csv, .parquet, .jsonl, .txt"
    )
    parser.add_argument("--blocklist", metavar="FILE", help="ids of items not to list")
    add_title_options(parser, also="catalogue, blocklist and ")
    parser.add_argument(
        "--popular", action="store_true", help="begin a file with the list for those who have none, of an empty user"
    )
    parser.add_argument(
        "--metric",
        choices=("inner_product", "l2", "cosine"),
        help="of vectors (default: cosine in Redis, inner_product in files)",
    )
    parser.add_argument("--prefix", default="fastals", help="what keys in Redis begin with (default: %(default)s)")
    parser.add_argument("--ttl", type=int, metavar="SECONDS", help="when lists in Redis expire (default: never)")
    parser.add_argument(
        "--score-dtype", choices=tuple(SCORES), default="float16", help="in Redis (default: %(default)s)"
    )


def command(arguments: argparse.Namespace) -> None:
    """Send all users' lists, similar items or vectors to Redis or to a file."""
    options = {name: getattr(arguments, name) for name in OPTIONS} | {"exclude_seen": not arguments.with_seen}
    serving.check_publication(arguments.to, connect=True, **options)
    progress = False if arguments.quiet else None
    published = serving.publish(load(arguments.model), arguments.to, progress=progress, **options)
    if not arguments.quiet:
        print(told_publication(published))
