"""The command line: ``fastals COMMAND …`` or ``python -m fastals COMMAND …``.

Results go to standard output or to a file, progress and errors to standard error. Exit codes: 0 done, 1 an error, told
in one line, 2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of standard output has gone.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import count, repeat
from typing import IO, Any, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from . import evaluation
from ._als import ALS, ExplicitALS, ImplicitALS
from ._exceptions import FastalsError, UnknownLabelError
from ._files import check_target, replacing
from ._interactions import DUPLICATES, Interactions
from ._load import load
from ._version import __version__

__all__ = ["main"]

Batches: TypeAlias = Iterable[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]
"""(users, items, scores): of some users, one list a row."""

Lists: TypeAlias = Iterable[tuple[Any, list[Any], list[float]]]
"""(user, items, scores), one list."""


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


# --- train -----------------------------------------------------------------------------------------------------------


def _scaling(text: str) -> str | float:
    return text if text in ("constant", "count") else float(text)


_PARAMETERS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "factors": ("--factors", int, "length of the vectors"),
    "regularization": ("--regularization", float, "lambda"),
    "regularization_scaling": ("--regularization-scaling", _scaling, "'constant', 'count' or an exponent"),
    "alpha": ("--alpha", float, "how fast confidence grows with the value"),
    "unobserved_weight": ("--unobserved-weight", float, "weight of the cells without an interaction"),
    "iterations": ("--iterations", int, "passes over both sides"),
    "solver": ("--solver", str, "'auto', 'cholesky', 'cg' or 'lapack'"),
    "dtype": ("--dtype", str, "'float32' or 'float64'"),
    "num_threads": ("--threads", int, "the result does not depend on it (default: all allowed cores)"),
    "random_state": ("--seed", int, "of the initial factors (default: another one each time)"),
}
"""Constructor parameters: option, type, help. Their defaults are written in the constructors only."""


def _train(arguments: argparse.Namespace) -> None:
    cls = ExplicitALS if arguments.explicit else ImplicitALS
    given = {name: getattr(arguments, name) for name in _PARAMETERS if hasattr(arguments, name)}
    for name in given.keys() - inspect.signature(cls).parameters.keys():
        arguments.parser.error(f"{_PARAMETERS[name][0]} has no meaning with --explicit")
    if arguments.explicit and arguments.rating is None:
        arguments.parser.error("--explicit needs --rating: the column of the ratings")
    model = cls(**given)
    check_target(arguments.out)  # before the work, not after it
    data = _read(arguments)
    start = time.perf_counter()
    model.fit(data, progress=False if arguments.quiet else None)
    seconds = time.perf_counter() - start
    model.save(arguments.out)
    if not arguments.quiet:
        print(f"read     {arguments.data}: {_count(data)}")
        print(f"trained  {model}: {model.n_iter_} iterations in {seconds:.1f} s, loss {_loss(model)}")
        print(f"wrote    {arguments.out}: {_size(arguments.out)}")


def _read(arguments: argparse.Namespace) -> Interactions:
    options = {name: getattr(arguments, name) for name in ("user", "item", "duplicates")} | {"value": arguments.rating}
    if arguments.data.lower().endswith(".parquet"):
        return Interactions.from_parquet(arguments.data, **options)
    return Interactions.from_csv(arguments.data, delimiter=arguments.delimiter, **options)


def _count(data: Interactions) -> str:
    return f"{data.nnz:,} interactions of {data.n_users:,} users with {data.n_items:,} items"


def _loss(model: ALS) -> str:
    return f"{model.loss_history_[-1]:.6g}" if model.loss_history_ else "not computed"


def _size(path: str) -> str:
    size = os.path.getsize(path)
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"


# --- recommend -------------------------------------------------------------------------------------------------------


def _recommend(arguments: argparse.Namespace) -> None:
    suffix = os.path.splitext(arguments.out)[1].lower().removeprefix(".") if arguments.out else "csv"
    chosen = arguments.format or suffix
    if chosen not in _WRITERS:
        arguments.parser.error(f"--out must end in .csv or .jsonl, or --format must say which; got {arguments.out!r}")
    if arguments.out:
        check_target(arguments.out)  # before the work, not after it
    model = load(arguments.model)
    options = {"n": arguments.n, "exclude_seen": not arguments.with_seen}
    batches: Batches
    if arguments.all:
        batches = _with_progress(model.recommend_all(**options), len(model.user_factors_), arguments.quiet)
    else:
        users = [_parse_label("user", model.users_, text) for text in arguments.user]
        batches = [(np.array(users, dtype=object), *model.recommend(users, **options))]
    with ExitStack() as stack:
        file: IO[str] = sys.stdout
        if arguments.out:
            temporary = stack.enter_context(replacing(arguments.out))
            # backslashreplace: a label may hold what UTF-8 cannot, half a surrogate pair
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline=""))
        _WRITERS[chosen](_lists(batches), file)


def _with_progress(batches: Batches, n_users: int, quiet: bool) -> Batches:
    from tqdm import tqdm

    with tqdm(total=n_users, unit="user", desc="recommend", disable=True if quiet else None) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch[0]))


def _lists(batches: Batches) -> Lists:
    """One (user, items, scores) at a time, labels as numbers or text, without the padding of short lists."""
    for users, items, scores in batches:
        for user, row, row_scores in zip(users.tolist(), items, scores, strict=True):
            listed = np.isfinite(row_scores)
            names = [_text(label) for label in row[listed].tolist()]
            yield _text(user), names, [float(f"{score:.6g}") for score in row_scores[listed].tolist()]


def _text(label: Any) -> Any:
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return label if isinstance(label, int | str) else str(label)


def _write_csv(lists: Lists, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("user", "rank", "item", "score"))
    for user, items, scores in lists:
        writer.writerows(zip(repeat(user), count(1), items, scores))


def _write_jsonl(lists: Lists, file: IO[str]) -> None:
    for user, items, scores in lists:
        file.write(json.dumps({"user": user, "items": items, "scores": scores}, ensure_ascii=False) + "\n")


_WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl}


def _parse_label(name: str, labels: NDArray[Any] | None, text: str) -> Any:
    """Read what was typed as a label of the kind that the model knows."""
    kind = int if labels is None or labels.dtype.kind == "i" else type(labels[0])
    try:
        return os.fsencode(text) if kind is bytes else kind(text)
    except ValueError:
        known = {int: "a whole number", UUID: "a UUID"}[kind]
        raise UnknownLabelError(f"{name} must be {known}, as the model's labels are, got {text!r}") from None


# --- evaluate, info, demo --------------------------------------------------------------------------------------------


def _evaluate(arguments: argparse.Namespace) -> None:
    model = load(arguments.model)
    test = _read(arguments)
    metrics = evaluation.evaluate(model, None, test, arguments.k)
    baseline = evaluation.popularity_baseline(model, None, test, arguments.k)
    print(f"{'':14}{type(model).__name__:>12}{'most popular':>14}")
    for name, value in metrics.items():
        if name.startswith("n_"):
            print(f"{name:14}{value:>12,}")
        else:
            print(f"{name:14}{value:12.4f}" + (f"{baseline[name]:14.4f}" if name in baseline else ""))


def _info(arguments: argparse.Namespace) -> None:
    model = load(arguments.model, mmap=not arguments.verify)
    parameters = ", ".join(f"{name}={value!r}" for name, value in model.get_params().items())
    lines = {
        "model": type(model).__name__,
        "parameters": parameters,
        "users": _describe(model.users_, len(model._users)),
        "items": _describe(model.items_, len(model._items)),
    }
    trained = f"{len(model._seen[1]):,} interactions"
    if isinstance(model, ALS):
        lines["factors"] = f"{model.user_factors_.shape[1]}, {model.user_factors_.dtype}"
        trained += f", {model.n_iter_} iterations, loss {_loss(model)}"
    else:
        lines["neighbours"] = f"{model.similarity_.nnz:,}"
    lines |= {
        "trained on": trained,
        "file": _size(arguments.model) + (", checksums agree" if arguments.verify else ""),
    }
    for name, text in lines.items():
        print(f"{name:12}{text}")


def _describe(labels: NDArray[Any] | None, size: int) -> str:
    if labels is None:
        return f"{size:,}, by index"
    return f"{size:,}, {_text(labels[0])} … {_text(labels[-1])}"


def _demo(arguments: argparse.Namespace) -> None:
    from ._demo import run

    run(seed=arguments.seed, keep=arguments.keep, quiet=arguments.quiet)


# --- usage -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastals", description="Recommendations by Alternating Least Squares.")
    parser.add_argument("--version", action="version", version=f"fastals {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run, parser=added)
        return added

    train = command("train", _train, "train a model on a file of interactions and save it")
    _add_data_options(train, "CSV file with a header line, or Parquet file")
    kind = train.add_mutually_exclusive_group(required=True)
    kind.add_argument("--explicit", action="store_true", help="ratings: only the observed cells count")
    kind.add_argument("--implicit", action="store_true", help="counts, plays, clicks: every cell counts")
    for name, (option, read, text) in _PARAMETERS.items():
        metavar = "N" if read is int else "X" if read is float else "NAME"
        help_ = text + _default(name)
        train.add_argument(option, dest=name, type=read, metavar=metavar, default=argparse.SUPPRESS, help=help_)
    train.add_argument("--out", required=True, metavar="MODEL", help="file to write")
    _add_quiet(train)

    recommend = command("recommend", _recommend, "list the best items for users")
    recommend.add_argument("model", metavar="MODEL", help="file that train wrote")
    users = recommend.add_mutually_exclusive_group(required=True)
    users.add_argument("--user", nargs="+", help="one or more users")
    users.add_argument("--all", action="store_true", help="all users of the model")
    recommend.add_argument("--n", type=int, default=10, help="items in a list (default: %(default)s)")
    recommend.add_argument("--with-seen", action="store_true", help="also list what a user had in the training data")
    recommend.add_argument(
        "--out", metavar="FILE", help="file to write, .csv or .jsonl (default: CSV to standard output)"
    )
    recommend.add_argument("--format", choices=tuple(_WRITERS), help="where the name of the file does not say it")
    _add_quiet(recommend)

    evaluate = command("evaluate", _evaluate, "measure a model against a file of held-out interactions")
    evaluate.add_argument("model", metavar="MODEL", help="file that train wrote")
    _add_data_options(evaluate, "CSV or Parquet file of what was held out")
    evaluate.add_argument("--k", type=int, default=10, help="length of the lists (default: %(default)s)")

    info = command("info", _info, "tell what a model file holds")
    info.add_argument("model", metavar="MODEL", help="file that train wrote")
    info.add_argument("--verify", action="store_true", help="read all of it and compare the checksums")

    demo = command("demo", _demo, "generate a listening log, train on it, evaluate, and show recommendations")
    demo.add_argument("--seed", type=int, default=0, help="of the log and of the model (default: %(default)s)")
    demo.add_argument("--keep", metavar="DIR", help="write the files there and keep them")
    _add_quiet(demo)
    return parser


def _add_data_options(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("data", metavar="FILE", help=text)
    for name, default in (
        ("user", "user, userId or user_id"),
        ("item", "item, itemId or item_id"),
        ("rating", "value, rating, count or score, else all ones"),
    ):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"column of the {name}s (default: {default})")
    parser.add_argument(
        "--delimiter", default=",", metavar="C", help="between the columns of CSV (default: %(default)s)"
    )
    parser.add_argument(
        "--duplicates",
        choices=DUPLICATES,
        default="sum",
        help="what becomes of several lines with the same user and item (default: %(default)s)",
    )


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
