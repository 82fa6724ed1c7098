"""What commands share: options, reading, what they print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from .._core import ParameterError, without_addresses
from .._data import DUPLICATES, Interactions, is_stored
from .._files import MAX_BAD_ROWS, Source, format_of
from .._fitted import DUE
from .._pipeline import NONE as NONE
from .._pipeline import event_facts as event_facts
from .._pipeline import load as load
from .._pipeline import loss as loss
from .._pipeline import model_facts as model_facts
from .._pipeline import print_metrics as print_metrics
from .._pipeline import save as save
from .._pipeline import score as score
from .._pipeline import told_events as told_events
from .._pipeline import told_publication as told_publication
from .._pipeline import update as update

THREADS = "the result does not depend on it (default: all allowed cores)"


def _words(text: str) -> list[str]:
    return text.split(",")


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"must be 'on' or 'off', got {text!r}")
    return text == "on"


READERS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "delimiter": (str, "C", "between the columns of CSV, as ';' or '::' or '\\t' (default: ',', in .tsv a tab)"),
    "columns": (_words, "A,B,…", "names of all columns of CSV without a header line"),
    "quoting": (_switch, "on|off", "whether values of CSV may stand in double quotes (default: on, in .tsv off)"),
    "escape": (str, "C", "the character that makes the next one text"),
    "encoding": (str, "NAME", "of text (default: UTF-8, with or without a byte order mark)"),
    "decimal": (str, "C", "the decimal point of CSV, '.' or ',' (default: '.')"),
    "nulls": (_words, "A,B,…", "words of CSV that stand for nothing, as NULL"),
    "comment": (str, "C", "what lines of CSV begin with that are passed over"),
    "ids": (str, "KIND", "of the ids: auto, text or integer (default: auto, as the first of a column is)"),
    "on_bad_rows": (str, "WHAT", "error, or skip: pass over rows that cannot be read (default: error)"),
    "max_bad_rows": (float, "N", f"how many of them at most, or which share, below 1 (default: {MAX_BAD_ROWS})"),
}
"""What is said about reading files: how an option is read, what it is called, help. The rules are in fastals._files."""


_ID = "\0"
"""What stands before an id that begins with "-", until argparse has taken it for no option."""


def id_(text: str) -> str:
    """Read an id: the ``type`` of an option that takes ids, which may begin with "-"."""
    return text.removeprefix(_ID)


def words(given: Iterable[str]) -> list[str]:
    """Return the arguments of a command, and the values behind the = of options."""
    return [word for text in given for word in (text, text.partition("=")[2])]


class Parser(argparse.ArgumentParser):
    """Takes what follows an option of ids for an id unless it is an option; --user=-v is one in any case."""

    _actions: list[argparse.Action]  # argparse's own: all options, those of groups too
    _given: list[str] = []  # noqa: RUF012

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Mark ids that begin with "-", and parse."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._marked(self._given), namespace)

    def error(self, message: str) -> NoReturn:
        """Tell wrong usage, without the secrets of addresses."""
        super().error(without_addresses(message, words(self._given)))

    def _marked(self, args: list[str]) -> list[str]:
        ids = {name for action in self._actions if action.type is id_ for name in action.option_strings}
        marked, within = [], False
        for text in args:
            name, equals, value = text.partition("=")
            if name in ids and equals:
                text, within = f"{name}={_ID}{value}", False
            elif self._is_option(text):
                within = text in ids
            elif within and text.startswith("-"):
                text = _ID + text
            marked.append(text)
        return marked

    def _is_option(self, text: str) -> bool:
        """Whether this is one of the options, perhaps shortened, with its value, or several of one letter."""
        known = [name for action in self._actions for name in action.option_strings]
        if text.startswith("--"):
            return text == "--" or any(name.startswith(text.partition("=")[0]) for name in known)
        return text[:2] in known


# --- options ---------------------------------------------------------------------------------------------------------


def add_model(parser: argparse.ArgumentParser) -> None:
    """Take a model file."""
    parser.add_argument("model", metavar="MODEL", help="file that train wrote")


def add_data_options(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    """Take a file of interactions; ``text`` says which."""
    parser.add_argument("data", metavar="FILE", help=text, **options)
    for name, default in (
        ("user", "user, userId or user_id"),
        ("item", "item, itemId or item_id"),
        ("rating", "value, rating, count or score, else all ones"),
    ):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"column of the {name}s (default: {default})")
    add_format_options(parser)
    parser.add_argument(
        "--duplicates",
        choices=DUPLICATES,
        help="what becomes of several lines with the same user and item (default: sum; of ratings: last)",
    )


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Take how files are to be read."""
    group = parser.add_argument_group("reading files")
    group.add_argument("--format", choices=("csv", "json", "parquet"), help="where the names of files do not say it")
    for name, (read, metavar, text) in READERS.items():
        group.add_argument(_option(name), type=read, metavar=metavar, help=text)


def add_list_options(parser: argparse.ArgumentParser, *, n: int) -> None:
    """Take what lists are made of."""
    parser.add_argument("--n", type=int, default=n, help="items in a list (default: %(default)s)")
    parser.add_argument("--with-seen", action="store_true", help="also list what a user had in the training data")


def add_title_options(parser: argparse.ArgumentParser, *, also: str = "") -> None:
    """Take what items are called; ``also``: what else is about items."""
    parser.add_argument("--titles", metavar="FILE", help="what items are called: .csv, .jsonl or .parquet")
    parser.add_argument(
        "--item-column",
        metavar="COLUMN",
        help=f"of the ids in the files of {also}titles (default: item, itemId or item_id, else the first)",
    )
    parser.add_argument(
        "--title-column", metavar="COLUMN", help="of the titles (default: title or name, else the second)"
    )


def title_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what items are called."""
    return {name: getattr(arguments, name) for name in ("titles", "item_column", "title_column")}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def format_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how files are to be read."""
    return {name: getattr(arguments, name) for name in ("format", *READERS)}


# --- reading ---------------------------------------------------------------------------------------------------------


def read(arguments: argparse.Namespace, *, ratings: bool) -> Interactions:
    """Read the interactions that the options of :func:`add_data_options` name, or open what --on-disk made."""
    if is_stored(arguments.data):
        for name in ("user", "item", "rating", "format", *READERS, "duplicates", "on_disk"):
            if getattr(arguments, name, None) is not None:
                option = _option(name)
                where = f"where interactions are made already, as in {arguments.data!r}"
                raise ParameterError(f"{option} has no meaning {where}: leave it out")
        return Interactions.open(arguments.data)
    columns = {name: getattr(arguments, name) for name in ("user", "item")} | {"value": arguments.rating}
    options = format_options(arguments) | columns | {"on_disk": getattr(arguments, "on_disk", None)}
    duplicates = arguments.duplicates or ("last" if ratings else "sum")
    return read_interactions(arguments.data, **options, duplicates=duplicates)


def read_interactions(
    path: Any,
    *,
    format: str | None = None,
    **options: Any,
) -> Interactions:
    """Read interactions from files of any format; a directory is of that of its files, several of that of the first."""
    if format is None:
        format = (format_of(path) if isinstance(path, str) else None) or (
            "csv" if isinstance(path, str) and os.path.isfile(path) else Source(path).format
        )
    if format == "parquet":
        return Interactions.from_parquet(path, **options)
    if format == "json":
        return Interactions.from_json(path, **options)
    if format != "csv":
        raise ParameterError(f"format must be 'csv', 'json' or 'parquet', got {format!r}")
    return Interactions.from_csv(path, **options)


# --- what is printed -------------------------------------------------------------------------------------------------


def size(path: str) -> str:
    """Return the size of a local file as text."""
    if not os.path.exists(path):
        return ""
    n = os.path.getsize(path)
    return f": {n / 1e6:,.1f} MB" if n >= 100_000 else f": {n:,} bytes"


def count(data: Interactions) -> str:
    """Return the size of data as text."""
    known = "" if data.known is None else f", {data.known.nnz:,} known pairs"
    return f"{data.nnz:,} interactions of {data.n_users:,} users with {data.n_items:,} items{known}"


def told_updates(n_updates: int, updated: float) -> str:
    """Return what a model has taken in since its last whole fit as text."""
    text = f"{n_updates:,} since the last whole fit; {updated:.0%} of the data are newer than that"
    return f"{text}: another one is due" if updated >= DUE else text
