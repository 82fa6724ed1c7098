"""``fastals forget``: users or items leave a model, its file, the interactions on disk it was trained on, and Redis."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import serving
from .._core import ParameterError, remove_leftovers, told_address
from .._data import Labels
from .._files import check_target, is_remote, open_file
from .._fitted import move_in, place_for
from ._common import id_, load, save, size

HELP = "remove users or items from a model and from what it was trained on"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="file that train wrote")
    for side, what in (("users", "users"), ("items", "items")):
        group = parser.add_mutually_exclusive_group()
        group.add_argument(f"--{side}", nargs="+", action="extend", type=id_, metavar="ID", help=f"one or more {what}")
        group.add_argument(f"--{side}-from", metavar="FILE", help=f"a text file with one of the {what} on each line")
    parser.add_argument(
        "--unknown",
        choices=("error", "ignore"),
        default="error",
        help="what becomes of ids that the model does not know (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="MODEL", help="file to write (default: in the place of the model)")
    parser.add_argument(
        "--on-disk",
        metavar="DIR",
        help="with --out, of a model trained on interactions on disk: a new directory for those that stay; else they "
        "take the place of the old ones, which other models then do not find any more",
    )
    parser.add_argument(
        "--from",
        dest="served",
        action="append",
        default=[],
        metavar="URL",
        help="also remove the users' lists that were published to redis://…; without MODEL, only these",
    )
    parser.add_argument("--prefix", default="fastals", help="what keys in Redis begin with (default: %(default)s)")


def command(arguments: argparse.Namespace) -> None:
    """Remove users or items from a model."""
    named = {side: _typed(arguments, side) for side in ("users", "items")}
    if not any(named.values()):
        arguments.parser.error("--users, --users-from, --items or --items-from must name whom or what to forget")
    if arguments.served and not named["users"]:
        arguments.parser.error("--from needs users: Redis holds lists of users")
    if arguments.model is None and not arguments.served:
        arguments.parser.error("MODEL, or --from, must say where to forget them")
    for url in arguments.served:  # once the model has forgotten them, the same command knows nobody
        serving.check_publication(url, connect=True, prefix=arguments.prefix)
    users: list[Any] | None = named["users"]
    if arguments.model is not None:
        users = _forget(arguments, named)
    for url in arguments.served:  # the model comes first, or the next publication would bring them back
        removed = serving.forget(url, users or (), prefix=arguments.prefix)
        arguments.facts.setdefault("removed", {})[serving.told_target(url)] = removed
        if not arguments.quiet:
            print(f"removed  {removed:,} lists from {serving.told_target(url)}")


def _forget(arguments: argparse.Namespace, named: dict[str, list[str] | None]) -> list[Any] | None:
    """Let a model forget, and write it; returns the users' labels."""
    out = arguments.out or arguments.model
    check_target(out)
    model = load(arguments.model)
    on_disk = model.state_.pairs.on_disk
    if on_disk and arguments.out is None:
        if arguments.on_disk is not None:
            raise ParameterError("--on-disk needs --out: what is not written elsewhere takes the old directory's place")
        move_in(model.state_.pairs)  # which an earlier run may not have come to
        model = load(arguments.model)
        where = place_for(model.state_.pairs)
    else:
        if on_disk and arguments.on_disk is None:
            raise ParameterError(f"with --out, --on-disk must name a new directory for what stays of {on_disk!r}")
        where = arguments.on_disk
    labels = {"users": model.state_.users, "items": model.state_.items}
    ids = {side: _labels(side, labels[side], some) for side, some in named.items()}
    told = model.forget(**ids, unknown=arguments.unknown, on_disk=where)
    save(model, out)
    counts = {name: getattr(told, name) for name in type(told).__annotations__}
    arguments.facts |= {"out": out, "forgotten": counts}
    if on_disk and arguments.out is None:
        move_in(model.state_.pairs)
    if not is_remote(out):
        remove_leftovers(out)  # of killed writers, who knew them
    if not arguments.quiet:
        unknown = f"; {told.unknown:,} unknown to the model" if told.unknown else ""
        print(f"forgot   {told.users:,} users, {told.items:,} items, {told.cells:,} interactions{unknown}")
        print(f"wrote    {told_address(out)}{size(out)}")
    return ids["users"]


def _typed(arguments: argparse.Namespace, side: str) -> list[str] | None:
    """Return the ids of an option, or of the lines of a file; a line without any is passed over."""
    path = getattr(arguments, f"{side}_from")
    if path is None:
        found: list[str] | None = getattr(arguments, side)
        return found
    if path == "-":
        text = sys.stdin.read()
    else:
        with open_file(path) as file:
            text = file.read().decode("utf-8-sig", "surrogateescape")
    ids = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if not ids:
        raise ParameterError(f"--{side}-from {path}: there is no id in it")
    return ids


def _labels(side: str, labels: Labels, typed: list[str] | None) -> list[Any] | None:
    return None if typed is None else [serving.parse_label(side, labels, text) for text in typed]
