"""The command line: ``fastals COMMAND …`` or ``python -m fastals COMMAND …``.

Results go to standard output or to a file, progress and errors to standard error. Exit codes: 0 done, 1 an error, told
in one line, 2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of standard output has gone.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ._core import FastalsError, __version__
from ._data import DUPLICATES
from ._models import ExplicitALS, ImplicitALS
from .cli import PARAMETERS, WRITERS, _commands
from .serving import SCORES

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Wrong usage raises SystemExit(2), as argparse does."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # `fastals recommend … | head`: what is still buffered must not raise again when Python shuts down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("fastals: interrupted", file=sys.stderr)
        return 130
    except (FastalsError, OSError, ImportError, MemoryError, UnicodeEncodeError) as error:
        print(f"fastals: error: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error)
    return " ".join(text.split())


# --- usage -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastals", description="Recommendations by Alternating Least Squares.")
    parser.add_argument("--version", action="version", version=f"fastals {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run, parser=added)
        return added

    score = command("score", _commands.score, "turn raw events into one score for each user and item")
    score.add_argument("events", metavar="PATH", nargs="+", help="files or a directory: CSV, JSON lines or Parquet")
    score.add_argument("--spec", required=True, metavar="FILE", help="the specification, .toml, .yaml or .json")
    score.add_argument("--out", required=True, metavar="FILE", help="file to write, .parquet or .csv")
    score.add_argument("--threads", type=int, metavar="N", help=PARAMETERS["num_threads"][2])
    _add_format_options(score)
    _add_quiet(score)

    train = command("train", _commands.train, "train a model on a file of interactions and save it")
    _add_data_options(train, "CSV, JSON lines or Parquet: a file or a directory")
    kind = train.add_mutually_exclusive_group(required=True)
    kind.add_argument("--explicit", action="store_true", help="ratings: only the observed cells count")
    kind.add_argument("--implicit", action="store_true", help="counts, plays, clicks: every cell counts")
    for name, (option, read, text) in PARAMETERS.items():
        metavar = "N" if read is int else "NAME" if read is str else "X"
        help_ = text + _default(name)
        train.add_argument(option, dest=name, type=read, metavar=metavar, default=argparse.SUPPRESS, help=help_)
    train.add_argument("--out", required=True, metavar="MODEL", help="file to write")
    _add_quiet(train)

    recommend = command("recommend", _commands.recommend, "list the best items for users")
    recommend.add_argument("model", metavar="MODEL", help="file that train wrote")
    users = recommend.add_mutually_exclusive_group(required=True)
    users.add_argument("--user", nargs="+", help="one or more users")
    users.add_argument("--all", action="store_true", help="all users of the model")
    recommend.add_argument("--n", type=int, default=10, help="items in a list (default: %(default)s)")
    recommend.add_argument("--with-seen", action="store_true", help="also list what a user had in the training data")
    recommend.add_argument(
        "--out",
        metavar="FILE",
        help="file to write, .csv, .jsonl, with --all also .parquet (default: CSV to standard output)",
    )
    recommend.add_argument("--format", choices=tuple(WRITERS), help="where the name of the file does not say it")
    _add_quiet(recommend)

    evaluate = command("evaluate", _commands.evaluate, "measure a model against a file of held-out interactions")
    evaluate.add_argument("model", metavar="MODEL", help="file that train wrote")
    _add_data_options(evaluate, "CSV, JSON lines or Parquet: what was held out")
    evaluate.add_argument("--k", type=int, default=10, help="length of the lists (default: %(default)s)")

    publish = command("publish", _commands.publish, "send all users' lists to Redis or to a file")
    publish.add_argument("model", metavar="MODEL", help="file that train wrote")
    publish.add_argument(
        "--to", required=True, metavar="TARGET", help="redis://… address, or .parquet, .csv, .jsonl or .resp file"
    )
    publish.add_argument("--n", type=int, default=20, help="items in a list (default: %(default)s)")
    publish.add_argument("--with-seen", action="store_true", help="also list what a user had in the training data")
    publish.add_argument("--prefix", default="fastals", help="what keys in Redis begin with (default: %(default)s)")
    publish.add_argument("--ttl", type=int, metavar="SECONDS", help="when lists in Redis expire (default: never)")
    publish.add_argument(
        "--score-dtype", choices=tuple(SCORES), default="float16", help="in Redis (default: %(default)s)"
    )
    _add_quiet(publish)

    run = command("run", _commands.run, "do all that a pipeline file says: score, train, evaluate, publish, report")
    run.add_argument("pipeline", metavar="FILE", help="pipeline.toml, .yaml or .json")
    _add_quiet(run)

    report = command("report", _commands.report, "write an HTML report on a model")
    report.add_argument("model", metavar="MODEL", help="file that train wrote")
    report.add_argument("--out", required=True, metavar="FILE", help="file to write")
    _add_data_options(report, "CSV, JSON lines or Parquet: what was held out (default: no quality)", nargs="?")
    _add_quiet(report)

    info = command("info", _commands.info, "tell what a model file holds")
    info.add_argument("model", metavar="MODEL", help="file that train wrote")
    info.add_argument("--verify", action="store_true", help="read all of it and compare the checksums")

    demo = command("demo", _commands.demo, "run the pipeline on a generated listening log, and show recommendations")
    demo.add_argument("--seed", type=int, default=0, help="of the log and of the model (default: %(default)s)")
    demo.add_argument("--keep", metavar="DIR", help="write the files there and keep them")
    _add_quiet(demo)
    return parser


def _add_data_options(parser: argparse.ArgumentParser, text: str, **options: Any) -> None:
    parser.add_argument("data", metavar="FILE", help=text, **options)
    for name, default in (
        ("user", "user, userId or user_id"),
        ("item", "item, itemId or item_id"),
        ("rating", "value, rating, count or score, else all ones"),
    ):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"column of the {name}s (default: {default})")
    _add_format_options(parser)
    parser.add_argument(
        "--duplicates",
        choices=DUPLICATES,
        default="sum",
        help="what becomes of several lines with the same user and item (default: %(default)s)",
    )


def _add_format_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("csv", "json", "parquet"), help="where the names of files do not say it")
    parser.add_argument("--delimiter", metavar="C", help="between the columns of CSV (default: ',', in .tsv a tab)")
    parser.add_argument("--columns", metavar="A,B,…", help="names of all columns of CSV without a header line")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")


def _default(name: str) -> str:
    """Word the default of a parameter, which is written in the constructors only."""
    defaults: dict[Any, list[str]] = {}
    for cls, kind in ((ExplicitALS, "explicit"), (ImplicitALS, "implicit")):
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter and parameter.default is not None:
            defaults.setdefault(parameter.default, []).append(kind)
    if not defaults:
        return ""
    if len(defaults) == 1:
        return f" (default: {next(iter(defaults))})"
    return " (default: " + ", ".join(f"{kinds[0]} {value}" for value, kinds in defaults.items()) + ")"


if __name__ == "__main__":
    sys.exit(main())
