"""What the commands of the command line do, one function each; fastals.__main__ has their options."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import IO, Any
from uuid import UUID

from numpy.typing import NDArray

from .. import evaluation, scoring, serving
from .._core import UnknownLabelError
from .._data import Interactions, check_target, replacing, suffix_of
from .._equation import told
from .._inspect import check
from .._models import ALS, ExplicitALS, ImplicitALS
from ..serving import Lists
from . import _pipeline

__all__ = [
    "PARAMETERS",
    "WRITERS",
    "demo",
    "evaluate",
    "info",
    "publish",
    "recommend",
    "report",
    "run",
    "score",
    "train",
]


def _reader(rule: str, words: Mapping[str, Any], *, numbers: bool = True, pairs: bool = False) -> Callable[[str], Any]:
    """Return a function that reads an option: one of some words, a number, or a pair; ``rule`` is what it then says."""

    def read(text: str) -> Any:
        if text in words:
            return words[text]
        try:
            if not numbers:
                raise ValueError(text)
            users, comma, items = text.partition(",")
            return (float(users), float(items)) if pairs and comma else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r}") from None

    return read


_AUTO = {"auto": "auto"}
_number = _reader("'auto' or a number", _AUTO)
_number_or_pair = _reader("'auto', a number or a pair USERS,ITEMS such as 0.1,0.2", _AUTO, pairs=True)
_number_or_none = _reader("'auto', 'none' or a number", _AUTO | dict.fromkeys(_pipeline.NONE))
_scaling = _reader("'auto', 'constant', 'count' or a number", _AUTO | {"constant": "constant", "count": "count"})
_flag = _reader("'auto', 'true' or 'false'", _AUTO | {"true": True, "false": False}, numbers=False)


PARAMETERS: dict[str, tuple[str, Any, str]] = {
    "factors": ("--factors", int, "length of the vectors"),
    "regularization": ("--regularization", _number_or_pair, "lambda, or USERS,ITEMS with one for each side, or 'auto'"),
    "regularization_scaling": ("--regularization-scaling", _scaling, "'auto', 'constant', 'count' or an exponent"),
    "biases": ("--biases", _flag, "a mean and a bias for each user and item: 'auto', 'true' or 'false'"),
    "bias_regularization": ("--bias-regularization", _number_or_pair, "lambda of the biases, likewise, or 'auto'"),
    "alpha": ("--alpha", float, "how fast confidence grows with the value"),
    "confidence": ("--confidence", str, "'auto', 'linear' or 'log'"),
    "unobserved_weight": ("--unobserved-weight", _number, "weight of the cells without an interaction, or 'auto'"),
    "iterations": ("--iterations", int, "passes over both sides, at most"),
    "tol": ("--tol", _number_or_none, "end when an iteration gains less than this share: 'auto', 'none' or a number"),
    "solver": ("--solver", str, "'auto', 'cholesky', 'cg' or 'lapack'"),
    "dtype": ("--dtype", str, "'float32' or 'float64'"),
    "num_threads": ("--threads", int, "the result does not depend on it (default: all allowed cores)"),
    "random_state": ("--seed", int, "of the initial factors (default: another one each time)"),
}
"""Constructor parameters: option, type, help. Their defaults are written in the constructors only."""

WRITERS = {"csv": serving.write_csv, "jsonl": serving.write_jsonl}
"""Lists as text, to standard output or a file."""


# --- score and train -------------------------------------------------------------------------------------------------


def score(arguments: argparse.Namespace) -> None:
    """Turn raw events into scores."""
    spec = scoring.ScoreSpec.load(arguments.spec)
    check_target(arguments.out)
    start = time.perf_counter()
    with scoring.score(
        arguments.events,
        spec,
        **source_options(arguments),
        num_threads=arguments.threads,
        progress=False if arguments.quiet else None,
    ) as scores:
        n = scores.write(arguments.out)
        if not arguments.quiet:
            who = f"{scores.n_users:,} users with {scores.n_items:,} items"
            print(f"read     {', '.join(arguments.events)}: {scores.n_events:,} events of {who}")
            print(f"wrote    {arguments.out}: {n:,} scores in {time.perf_counter() - start:.1f} s")


def source_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how files are to be read."""
    columns = None if arguments.columns is None else arguments.columns.split(",")
    return {"format": arguments.format, "delimiter": arguments.delimiter, "columns": columns}


def train(arguments: argparse.Namespace) -> None:
    """Train a model and save it."""
    cls = ExplicitALS if arguments.explicit else ImplicitALS
    given = {name: getattr(arguments, name) for name in PARAMETERS if hasattr(arguments, name)}
    for name in given.keys() - inspect.signature(cls).parameters.keys():
        kind = "--explicit" if arguments.explicit else "--implicit"
        arguments.parser.error(f"{PARAMETERS[name][0]} has no meaning with {kind}")
    if arguments.explicit and arguments.rating is None:
        arguments.parser.error("--explicit needs --rating: the column of the ratings")
    model = cls(**given)
    check_target(arguments.out)  # before the work, not after it
    data = read(arguments)
    start = time.perf_counter()
    model.fit(data, progress=False if arguments.quiet else None)
    seconds = time.perf_counter() - start
    _pipeline.save(model, arguments.out)
    if not arguments.quiet:
        print(f"read     {arguments.data}: {_pipeline.count(data)}")
        print(f"trained  {model}: {model.n_iter_} iterations in {seconds:.1f} s, loss {_pipeline.loss(model)}")
        print(f"settings {told(model.settings_)}")
        print(f"wrote    {arguments.out}{size(arguments.out)}", flush=True)
        compared = check(model)
        for line in compared.lines() if compared.measured else ():
            print(line, file=sys.stderr)


def read(arguments: argparse.Namespace) -> Interactions:
    """Read interactions from whatever file it is."""
    columns = {name: getattr(arguments, name) for name in ("user", "item")} | {"value": arguments.rating}
    return _pipeline.read_interactions(
        arguments.data, **source_options(arguments), **columns, duplicates=arguments.duplicates
    )


def size(path: str) -> str:
    """Return the size of a local file as text."""
    if not os.path.exists(path):
        return ""
    n = os.path.getsize(path)
    return f": {n / 1e6:,.1f} MB" if n >= 100_000 else f": {n:,} bytes"


# --- lists -----------------------------------------------------------------------------------------------------------


def recommend(arguments: argparse.Namespace) -> None:
    """List the best items of some users, or of all."""
    suffix = suffix_of(arguments.out)[0].removeprefix(".") if arguments.out else "csv"
    chosen = arguments.format or suffix
    if chosen not in WRITERS and not (arguments.all and chosen == "parquet"):
        arguments.parser.error(f"--out must end in .csv or .jsonl, or --format must say which; got {arguments.out!r}")
    if arguments.out:
        check_target(arguments.out)  # before the work, not after it
    model = _pipeline.load(arguments.model)
    options = {"n": arguments.n, "exclude_seen": not arguments.with_seen}
    if arguments.all and arguments.out and chosen == suffix:
        serving.publish(model, arguments.out, **options, progress=False if arguments.quiet else None)
        return
    if arguments.all:
        lists = serving.rows(source := Lists(model, **options, batch_size=serving.BATCH_SIZE), source.batches())
    else:
        users = [parse_label("user", model.users_, text) for text in arguments.user]
        found = model.recommend(users, **options)
        lists = serving.labelled(users, found.items, found.scores)
    with ExitStack() as stack:
        file: IO[str] = sys.stdout
        if arguments.out:
            temporary = stack.enter_context(replacing(arguments.out))
            # backslashreplace: a label may hold what UTF-8 cannot, half a surrogate pair
            file = stack.enter_context(open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline=""))
        WRITERS[chosen](lists, file)


def parse_label(name: str, labels: NDArray[Any] | None, text: str) -> Any:
    """Read what was typed as a label of the kind that the model knows."""
    kind = int if labels is None or labels.dtype.kind == "i" else type(labels[0])
    try:
        return os.fsencode(text) if kind is bytes else kind(text)
    except ValueError:
        known = {int: "a whole number", UUID: "a UUID"}[kind]
        raise UnknownLabelError(f"{name} must be {known}, as the model's labels are, got {text!r}") from None


def publish(arguments: argparse.Namespace) -> None:
    """Send all users' lists to Redis or to a file."""
    serving.check_target_of_lists(arguments.to)
    options = {name: getattr(arguments, name) for name in ("n", "prefix", "ttl", "score_dtype")}
    published = serving.publish(
        _pipeline.load(arguments.model),
        arguments.to,
        exclude_seen=not arguments.with_seen,
        progress=False if arguments.quiet else None,
        **options,
    )
    if not arguments.quiet:
        print(_pipeline.told(published))


# --- evaluate, info, run, demo ---------------------------------------------------------------------------------------


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure a model against held-out interactions."""
    model = _pipeline.load(arguments.model)
    test = read(arguments)
    metrics = evaluation.evaluate(model, None, test, arguments.k)
    baseline = evaluation.popularity_baseline(model, None, test, arguments.k)
    _pipeline.print_metrics(type(model).__name__, metrics, baseline)


def info(arguments: argparse.Namespace) -> None:
    """Tell what a model file holds."""
    model = _pipeline.load(arguments.model, mmap=not arguments.verify)
    parameters = ", ".join(f"{name}={value!r}" for name, value in model.get_params().items())
    lines = {
        "model": type(model).__name__,
        "parameters": parameters,
        "users": _describe(model.users_, len(model._users)),
        "items": _describe(model.items_, len(model._items)),
    }
    trained = f"{len(model._seen[1]):,} interactions"
    if isinstance(model, ALS):
        lines["settings"] = told(model.settings_)
        lines["factors"] = f"{model.user_factors_.shape[1]}, {model.user_factors_.dtype}"
        trained += f", {model.n_iter_} iterations, loss {_pipeline.loss(model)}"
    else:
        lines["neighbours"] = f"{model.similarity_.nnz:,}"
    lines |= {
        "trained on": trained,
        "file": size(arguments.model)[2:] + (", checksums agree" if arguments.verify else ""),
    }
    if isinstance(model, ALS) and model.scoring_:
        lines["scores"] = ", ".join(f"{name} {value}" for name, value in model.scoring_.items())
    for name, text in lines.items():
        print(f"{name:12}{text}")


def _describe(labels: NDArray[Any] | None, size: int) -> str:
    if labels is None:
        return f"{size:,}, by index"
    return f"{size:,}, {serving.text(labels[0])} … {serving.text(labels[-1])}"


def run(arguments: argparse.Namespace) -> None:
    """Do all that a pipeline file says."""
    _pipeline.run(_pipeline.Pipeline.load(arguments.pipeline), quiet=arguments.quiet)


def report(arguments: argparse.Namespace) -> None:
    """Write an HTML report on a model."""
    from .. import report as report_

    check_target(arguments.out)
    test = read(arguments) if arguments.data else None
    report_.write_report(_pipeline.load(arguments.model), arguments.out, test=test)
    if not arguments.quiet:
        print(f"wrote    {arguments.out}{size(arguments.out)}")


def demo(arguments: argparse.Namespace) -> None:
    """Run the pipeline on a generated log."""
    from ._demo import run

    run(seed=arguments.seed, keep=arguments.keep, quiet=arguments.quiet)
