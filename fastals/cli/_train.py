"""``fastals train``: a file of interactions becomes a model."""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._core import LOGGER, NOTE, told_address
from .._data import is_stored
from .._equation import told
from .._files import check_target
from .._inspect import check
from .._models import ExplicitALS, ImplicitALS
from ._common import NONE, THREADS, add_data_options, count, load, loss, model_facts, read, save, size

HELP = "train a model on a file of interactions and save it"


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
_strength = _reader("a number or a pair USERS,ITEMS such as 0.5,2", {}, pairs=True)
_number_or_none = _reader("'auto', 'none' or a number", _AUTO | dict.fromkeys(NONE))
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
    "unobserved_exponent": (
        "--unobserved-exponent",
        float,
        "by which power of its popularity an item's absence weighs",
    ),
    "iterations": ("--iterations", int, "passes over both sides, at most"),
    "tol": ("--tol", _number_or_none, "end when an iteration gains less than this share: 'auto', 'none' or a number"),
    "solver": ("--solver", str, "'auto', 'cholesky', 'cg' or 'lapack'"),
    "dtype": ("--dtype", str, "'float32' or 'float64'"),
    "num_threads": ("--threads", int, THREADS),
    "random_state": ("--seed", int, "of the initial factors (default: another one each time)"),
}
"""Constructor parameters: option, type, help. Their defaults are written in the constructors only."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_data_options(parser, "CSV, JSON lines or Parquet: a file or a directory, or what --on-disk made")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--explicit", action="store_true", help="ratings: only the observed cells count")
    kind.add_argument("--implicit", action="store_true", help="counts, plays, clicks: every cell counts")
    for name, (option, read_, text) in PARAMETERS.items():
        metavar = "N" if read_ is int else "NAME" if read_ is str else "X"
        help_ = text + _default(name)
        parser.add_argument(option, dest=name, type=read_, metavar=metavar, default=argparse.SUPPRESS, help=help_)
    text = "make the interactions in this new directory instead of in memory; give DIR as FILE next time"
    parser.add_argument("--on-disk", metavar="DIR", help=text)
    text = "where the state of training is kept, and taken up again where it was interrupted; delete it to start afresh"
    parser.add_argument("--checkpoint", metavar="FILE", help=text)
    text = "the model of the day before: vectors are drawn to those that it has, by label, and start from there"
    parser.add_argument("--prior", metavar="MODEL", help=text)
    text = "how strongly, in units of lambda, or USERS,ITEMS with one for each side (default: 1)"
    parser.add_argument("--prior-strength", type=_strength, metavar="X", help=text)
    parser.add_argument("--out", required=True, metavar="MODEL", help="file to write")


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


def command(arguments: argparse.Namespace) -> None:
    """Train a model and save it."""
    cls = ExplicitALS if arguments.explicit else ImplicitALS
    given = {name: getattr(arguments, name) for name in PARAMETERS if hasattr(arguments, name)}
    for name in given.keys() - inspect.signature(cls).parameters.keys():
        kind = "--explicit" if arguments.explicit else "--implicit"
        arguments.parser.error(f"{PARAMETERS[name][0]} has no meaning with {kind}")
    if arguments.explicit and arguments.rating is None and not is_stored(arguments.data):
        arguments.parser.error("--explicit needs --rating: the column of the ratings")
    model = cls(**given)
    check_target(arguments.out)  # before the work, not after it
    data = read(arguments, ratings=arguments.explicit)
    start = time.perf_counter()
    model.fit(
        data,
        prior=None if arguments.prior is None else load(arguments.prior),
        prior_strength=arguments.prior_strength,
        checkpoint=arguments.checkpoint,
        progress=False if arguments.quiet else None,
    )
    seconds = time.perf_counter() - start
    save(model, arguments.out)
    arguments.facts["model"] = model_facts(model) | {"out": arguments.out}
    if not arguments.quiet:
        print(f"read     {told_address(arguments.data)}: {count(data)}")
        print(f"trained  {model}: {model.n_iter_} iterations in {seconds:.1f} s, loss {loss(model)}")
        print(f"settings {told(model.state_.settings)}")
        print(f"wrote    {told_address(arguments.out)}{size(arguments.out)}", flush=True)
        compared = check(model)
        for line in compared.lines() if compared.measured else ():
            LOGGER.log(NOTE, "%s", line)
