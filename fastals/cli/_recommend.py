"""``fastals recommend``: lists of some users, or of all, as text or as a file."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import IO

import numpy as np

from .. import serving
from .._files import check_target, replacing, suffix_of
from ..serving import TEXT, Lists
from ._common import add_list_options, add_model, add_title_options, id_, load, title_options

HELP = "list the best items for users"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    users = parser.add_mutually_exclusive_group(required=True)
    users.add_argument(
        "--user", nargs="+", action="extend", type=id_, help="one or more users; of one that is an option, --user=-v"
    )
    users.add_argument("--all", action="store_true", help="all users of the model")
    add_list_options(parser, n=10)
    add_title_options(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file to write, .csv, .jsonl, with --all also .parquet (default: CSV to standard output)",
    )
    parser.add_argument("--format", choices=tuple(TEXT), help="where the name of the file does not say it")


def command(arguments: argparse.Namespace) -> None:
    """List the best items of some users, or of all."""
    suffix = suffix_of(arguments.out)[0].removeprefix(".") if arguments.out else "csv"
    chosen = arguments.format or suffix
    if chosen not in TEXT and not (arguments.all and chosen == "parquet"):
        arguments.parser.error(f"--out must end in .csv or .jsonl, or --format must say which; got {arguments.out!r}")
    if arguments.out:
        check_target(arguments.out)  # before the work, not after it
    model = load(arguments.model)
    options = {"n": arguments.n, "exclude_seen": not arguments.with_seen}
    about = title_options(arguments)
    if arguments.all and arguments.out and chosen == suffix:
        serving.publish(model, arguments.out, **options, **about, progress=False if arguments.quiet else None)
        return
    items = model.state_.items
    titles = serving.titles_of(items, **about)
    if arguments.all:
        source = Lists(model, **options, batch_size=serving.BATCH_SIZE, titles=titles)
        lists = serving.rows(source, source.batches())
    else:
        users = [serving.parse_label("user", model.state_.users, text) for text in arguments.user]
        found = model.recommend(users, **options)
        called = None
        if titles is not None:
            of = dict(zip(items.decode(np.arange(len(items))).tolist(), titles.tolist(), strict=True))
            called = np.array([[of.get(label) for label in row] for row in found.items.tolist()], object)
        lists = serving.labelled(users, found.items, found.scores, called)
    with ExitStack() as stack:
        file: IO[str] = sys.stdout
        if arguments.out:
            file = stack.enter_context(serving.open_text(stack.enter_context(replacing(arguments.out))))
        TEXT[chosen](lists, file, titled=titles is not None)
