"""What a pipeline file says.

TOML, YAML or JSON, with paths relative to the file, ``~`` the home directory::

    [parameters]               # optional: what --set and ${...} change, see parameters.py
    day = "${date-1}"
    [events]                   # what fastals.scoring.score takes
    path = "events/"           # or query = "SELECT ... FROM read_parquet('events/dt=*/*.parquet')", by DuckDB
    [score]                    # a file, or the specification itself
    spec = "score.toml"
    out = "scores.parquet"     # optional
    [train]                    # the constructor's parameters; regularization = "auto" says that the defaults are meant
    kind = "implicit"
    factors = 64
    out = "model"
    tol = "none"               # optional: no early end; TOML has no null
    keep_ids = true            # optional: indices of the model that `out` holds already stay what they are
    prior = true               # optional: vectors are drawn to those of that model, or of the one in this file
    prior_strength = 1.0       # how strongly, see ImplicitALS.fit
    [evaluate]                 # optional: first train on the rest and measure
    test_fraction = 0.1        # or at = "7 days": train on the events before that, test on those after
    k = 10
    random_state = 0
    at_least = { "ndcg@10" = 0.05 }  # optional: else nothing is trained nor published, exit code 3
    [publish]                  # what fastals.serving.publish takes; [[publish]] for several
    to = "redis://localhost"   # default: recommendations.parquet
    n = 20
    [report]                   # optional
    out = "report.html"
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import evaluation, scoring, serving
from .._core import FastalsError, ParameterError, check_choice, check_path, check_real, without_addresses
from .._files import OF_ALL_EVENTS, READING, is_remote, read_settings_file
from .._models import ALS, ExplicitALS, ImplicitALS
from .models import NONE
from .parameters import MANUAL as OF_PARAMETERS
from .parameters import named, resolve

MANUAL = f"{__doc__}\n{OF_PARAMETERS}"

SECTIONS = ("parameters", "events", "score", "train", "evaluate", "publish", "report")
KINDS: dict[str, type[ALS]] = {"implicit": ImplicitALS, "explicit": ExplicitALS}
FLAGS: dict[str, tuple[str, ...]] = {"biases": ("auto",), "nonnegative": (), "keep_ids": ()}
"""Booleans of [train], and what they may be beside true and false."""
OF_FIT = ("prior", "prior_strength")
"""Of [train]: arguments of ``fit``; the first may also be a path."""
PATHS, OR_VALUES = ("path", "spec", "out", "to"), ("catalogue", "blocklist", "titles", "prior")
"""What is a path, relative to the pipeline file: always, or where it is text."""
EMBEDDED = "recommendations.parquet"
"""Where the lists go when nothing else is said: no server is needed."""
SPLIT = {"test_fraction": 0.1, "k": 10, "random_state": 0}
"""Defaults of [evaluate]."""


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline file says, checked."""

    events: Any
    reading: dict[str, Any]
    spec: scoring.ScoreSpec
    scores: str | None
    model: ALS
    out: str
    keep_ids: bool
    prior: str | None
    """The file of the model that vectors are drawn to."""
    prior_strength: Any
    by_default: bool
    """Nothing is said about lambda: not even that it is "auto"."""
    evaluate: dict[str, Any] | None
    publish: list[dict[str, Any]]
    report: dict[str, Any] | None
    parameters: dict[str, Any]
    """Those that may be shown."""

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Names and paths of files that are read late."""
        sections = [("publish", target) for target in self.publish] + [("report", self.report or {})]
        return [
            (f"[{section}] {name}", options[name])
            for section, options in sections
            for name in OR_VALUES
            if isinstance(options.get(name), str)
        ]

    @classmethod
    def load(cls, path: str, assignments: Sequence[str] = ()) -> Pipeline:
        """Read a pipeline file; ``assignments`` are those of --set."""
        name = check_path("path", path)
        try:
            return cls.from_dict(
                read_settings_file(name), "" if is_remote(name) else os.path.dirname(name), assignments
            )
        except FastalsError as error:
            if name in str(error):
                raise
            raise type(error)(f"{name}: {error}") from None

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], directory: str = "", assignments: Sequence[str] = ()) -> Pipeline:
        """Make a pipeline of plain mappings; relative paths are from ``directory``."""
        if not isinstance(settings, Mapping):
            raise ParameterError(f"a pipeline must be a table of {', '.join(SECTIONS)}, got {type(settings).__name__}")
        resolved: Any = {}
        try:
            resolved, parameters = resolve(settings, assignments)
            return cls._of(resolved, parameters.shown, directory)
        except FastalsError as error:  # which repeats what is wrong, be it an address
            texts = {*_texts([settings, resolved]), *(text.partition("=")[2] for text in assignments)}
            raise type(error)(without_addresses(str(error), texts)) from None

    @classmethod
    def _of(cls, settings: dict[str, Any], shown: dict[str, Any], directory: str) -> Pipeline:
        for name, section in settings.items():
            check_choice("section", name, SECTIONS)
            if not isinstance(section, Mapping) and not (name == "publish" and isinstance(section, list)):
                raise ParameterError(f"[{name}] must be a table, got {section!r}")
        for name in ("events", "score"):
            if name not in settings:
                raise ParameterError(f"a pipeline must have a section [{name}]")
        sections = {name: _located(name, section, directory) for name, section in settings.items()}
        targets = sections.get("publish", {})
        with named("events"):
            events, reading = _events(sections["events"], directory)
        with named("score"):
            score = dict(sections["score"])
            scores = score.pop("out", None)
            spec = _spec(score)
        with named("train"):
            train = dict(sections.get("train", {}))
            out, keep_ids = train.pop("out", os.path.join(directory, "model")), train.pop("keep_ids", False)
            _check_flag("keep_ids", keep_ids)
            prior, strength = (train.pop(name, None) for name in OF_FIT)
            if prior is None or prior is False:
                if strength is not None and prior is None:
                    raise ParameterError("prior_strength needs prior: true, or the file of a model")
                prior = strength = None
            elif prior is True:
                prior = out
            elif not isinstance(prior, str):
                raise ParameterError(
                    f"prior must be true or false without quotes, or the path of a model, got {prior!r}"
                )
            model = _model(train)
        with named("evaluate"):
            evaluated = _evaluation(sections["evaluate"], spec) if "evaluate" in sections else None
        with named("publish"):
            embedded = {"to": os.path.join(directory, EMBEDDED)}
            known = _parameters_of(serving.publish, "model", "progress")
            publish = [
                embedded | _options(target, known) for target in (targets if isinstance(targets, list) else [targets])
            ]
        with named("report"):
            report = None
            if "report" in sections:
                from ..report import write_report

                known = {"out"} | _parameters_of(write_report, "model", "path", "test", "metrics", "baseline")
                report = {"out": os.path.join(directory, "report.html")} | _options(sections["report"], known)
        by_default = "regularization" not in train
        return cls(
            events,
            reading,
            spec,
            scores,
            model,
            out,
            keep_ids,
            prior,
            strength,
            by_default,
            evaluated,
            publish,
            report,
            shown,
        )


def _texts(settings: Any) -> Iterator[str]:
    """Yield all keys and values that are text."""
    rest, seen = [settings], set()
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, (Mapping, list)) and id(one) not in seen:
            seen.add(id(one))
            rest += [*one, *one.values()] if isinstance(one, Mapping) else one


def _located(section: str, given: Any, directory: str) -> Any:
    """Return a section with its paths made relative to the working directory, or absolute."""
    if isinstance(given, list):
        return [_located(section, one, directory) for one in given]
    if not isinstance(given, Mapping):
        return given

    def at(name: str, path: Any) -> str:
        with named(section):
            path = os.path.expanduser(check_path(name, path))
        return path if "://" in path else os.path.join(directory, path)

    located = dict(given)
    for name, value in given.items():
        if name == "path" and isinstance(value, list):
            located[name] = [at(name, one) for one in value]
        elif name in PATHS or (name in OR_VALUES and isinstance(value, str)):
            located[name] = at(name, value)
    return located


def _options(given: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ParameterError(f"must be a table, got {given!r}")
    for name in given:
        if name not in known:
            raise ParameterError(f"has no {name!r}; it may have {', '.join(sorted(known))}")
    return dict(given)


def _parameters_of(function: Callable[..., Any], *without: str) -> set[str]:
    return set(inspect.signature(function).parameters) - set(without)


def _events(section: Mapping[str, Any], directory: str) -> tuple[Any, dict[str, Any]]:
    """Return what is scored, and how it is read."""
    of_queries = _parameters_of(scoring.SQL, "directory")
    of_files = {"path", "format", *READING} - {*OF_ALL_EVENTS}
    of_scoring = _parameters_of(scoring.score, "events", "spec", "progress", "reading")
    reading = _options(section, of_queries | of_files | of_scoring | {*OF_ALL_EVENTS})
    kind = "query" if "query" in section else "path"
    if {"query", "path"} <= set(section) or kind not in section:
        raise ParameterError("must say either path, the files or the directory of the events, or query")
    for name in sorted(set(section) & (of_files if kind == "query" else of_queries)):
        raise ParameterError(f"{name} has no meaning with {kind}: leave it out")
    if kind == "path":
        return reading.pop("path"), reading
    query = {name: reading.pop(name) for name in of_queries if name in reading}
    return scoring.SQL(**query, directory=directory or None), reading


def _spec(section: Mapping[str, Any]) -> scoring.ScoreSpec:
    if isinstance(section.get("spec"), str):
        return scoring.ScoreSpec.load(_options(section, {"spec", "out"})["spec"])
    return scoring.ScoreSpec.from_dict(section)


def _model(section: Mapping[str, Any]) -> ALS:
    train = dict(section)
    kind = check_choice("kind", train.pop("kind", "implicit"), tuple(KINDS))
    known = _parameters_of(KINDS[kind])
    _options(train, known | {"kind", "out", "keep_ids", *OF_FIT})
    for name, value in train.items():
        _check_flag(name, value)
    if train.get("tol") is False or train.get("tol") in NONE:
        train["tol"] = None
    return KINDS[kind](**train)


def _check_flag(name: str, value: Any) -> None:
    """Refuse what is no boolean, a string above all, where [train] wants one."""
    if name in FLAGS and not isinstance(value, bool) and value not in FLAGS[name]:
        rule = "true or false without quotes" + "".join(f', or "{word}"' for word in FLAGS[name])
        raise ParameterError(f"{name} must be {rule}, got {value!r}")


def _evaluation(section: Mapping[str, Any], spec: scoring.ScoreSpec) -> dict[str, Any]:
    """Return how the model is measured, with all defaults: a split by chance, or ``at`` a time."""
    evaluate = _options(section, {*SPLIT, "at", "at_least"})
    if "at" in evaluate:
        for name in ("test_fraction", "random_state"):
            if name in evaluate:
                raise ParameterError(f"{name} has no meaning with at, which splits by time: leave it out")
        if spec.timestamp is None:
            raise ParameterError("at needs timestamp in [score]: the column of the events' times")
        evaluate = {"k": SPLIT["k"]} | evaluate
        try:
            evaluate["at"] = replace(spec, until=evaluate["at"]).until
        except FastalsError as error:
            raise type(error)(f"at = {evaluate['at']!r}: {error}") from None
    else:
        evaluate = SPLIT | evaluate
    gates = evaluate.setdefault("at_least", {})
    if not isinstance(gates, Mapping):
        raise ParameterError(f"at_least must be a table of metrics, as {{ 'ndcg@10' = 0.05 }}, got {gates!r}")
    for name, value in gates.items():
        check_real(f"at_least {name}", value)
        kind, at, k = name.partition("@")
        if not (at and hasattr(evaluation, f"{kind}_at_k") and k == str(evaluate["k"])):
            example = f"ndcg@{evaluate['k']}"
            raise ParameterError(f"at_least {name!r} is no metric of lists of this length, as {example!r} is")
    return evaluate
