"""``fastals recommend``: lists of some users, or of all, as text or as a file."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import IO, Any
from uuid import UUID

from numpy.typing import NDArray

from .. import serving
from .._core import UnknownLabelError
from .._files import check_target, replacing, suffix_of
from ..serving import Lists
from ._common import add_list_options, add_model, add_quiet, load

HELP = "list the best items for users"
WRITERS = {"csv": serving.write_csv, "jsonl": serving.write_jsonl}
"""Lists as text, to standard output or a file."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_model(parser)
    users = parser.add_mutually_exclusive_group(required=True)
    users.add_argument("--user", nargs="+", help="one or more users")
    users.add_argument("--all", action="store_true", help="all users of the model")
    add_list_options(parser, n=10)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="file to write, .csv, .jsonl, with --all also .parquet (default: CSV to standard output)",
    )
    parser.add_argument("--format", choices=tuple(WRITERS), help="where the name of the file does not say it")
    add_quiet(parser)


def command(arguments: argparse.Namespace) -> None:
    """List the best items of some users, or of all."""
    suffix = suffix_of(arguments.out)[0].removeprefix(".") if arguments.out else "csv"
    chosen = arguments.format or suffix
    if chosen not in WRITERS and not (arguments.all and chosen == "parquet"):
        arguments.parser.error(f"--out must end in .csv or .jsonl, or --format must say which; got {arguments.out!r}")
    if arguments.out:
        check_target(arguments.out)  # before the work, not after it
    model = load(arguments.model)
    options = {"n": arguments.n, "exclude_seen": not arguments.with_seen}
    if arguments.all and arguments.out and chosen == suffix:
        serving.publish(model, arguments.out, **options, progress=False if arguments.quiet else None)
        return
    if arguments.all:
        lists = serving.rows(source := Lists(model, **options, batch_size=serving.BATCH_SIZE), source.batches())
    else:
        users = [_parse_label("user", model.users_, text) for text in arguments.user]
        found = model.recommend(users, **options)
        lists = serving.labelled(users, found.items, found.scores)
    with ExitStack() as stack:
        file: IO[str] = sys.stdout
        if arguments.out:
            temporary = stack.enter_context(replacing(arguments.out))
            # backslashreplace: a label may hold what UTF-8 cannot, half a surrogate pair
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline=""))
        WRITERS[chosen](lists, file)


def _parse_label(name: str, labels: NDArray[Any] | None, text: str) -> Any:
    """Read what was typed as a label of the kind that the model knows."""
    kind = int if labels is None or labels.dtype.kind == "i" else type(labels[0])
    try:
        return os.fsencode(text) if kind is bytes else kind(text)
    except ValueError:
        known = {int: "a whole number", UUID: "a UUID"}[kind]
        raise UnknownLabelError(f"{name} must be {known}, as the model's labels are, got {text!r}") from None
