"""``fastals run``: from raw events to served lists, as one file says.

A pipeline file, TOML, YAML or JSON, with paths relative to itself::

    [events]                   # what fastals.scoring.score takes
    path = "events/"
    [score]                    # a file, or the specification itself
    spec = "score.toml"
    out = "scores.parquet"     # optional
    [train]                    # the constructor's parameters; regularization = "auto" says that the defaults are meant
    kind = "implicit"
    factors = 64
    out = "model"
    tol = "none"               # optional: no early end; TOML has no null
    keep_ids = true            # optional: indices of the model that `out` holds already stay what they are
    [evaluate]                 # optional: first train on the rest and measure
    test_fraction = 0.1
    k = 10
    random_state = 0
    [publish]                  # what fastals.serving.publish takes; [[publish]] for several
    to = "redis://localhost"   # default: recommendations.parquet
    n = 20
    [report]                   # optional
    out = "report.html"
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import evaluation, scoring, serving
from .._core import FastalsError, ParameterError, check_choice, check_path
from .._data import Ids, Interactions, with_ids
from .._equation import told
from .._files import check_target, is_remote, locate, read_settings_file
from .._models import ALS, ExplicitALS, ImplicitALS
from ._common import NONE, add_quiet, load, loss, print_metrics, save, told_publication

HELP = "do all that a pipeline file says: score, train, evaluate, publish, report"

SECTIONS = ("events", "score", "train", "evaluate", "publish", "report")
KINDS: dict[str, type[ALS]] = {"implicit": ImplicitALS, "explicit": ExplicitALS}
FLAGS: dict[str, tuple[str, ...]] = {"biases": ("auto",), "nonnegative": (), "keep_ids": ()}
"""Booleans of [train], and what they may be beside true and false."""
EMBEDDED = "recommendations.parquet"
"""Where the lists go when nothing else is said: no server is needed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("pipeline", metavar="FILE", help="pipeline.toml, .yaml or .json")
    add_quiet(parser)


def command(arguments: argparse.Namespace) -> None:
    """Do all that a pipeline file says."""
    run(Pipeline.load(arguments.pipeline), quiet=arguments.quiet)


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
    by_default: bool
    """Nothing is said about lambda: not even that it is "auto"."""
    evaluate: dict[str, Any] | None
    publish: list[dict[str, Any]]
    report: str | None

    @classmethod
    def load(cls, path: str) -> Pipeline:
        """Read a pipeline file."""
        name = check_path("path", path)
        try:
            return cls.from_dict(read_settings_file(name), "" if is_remote(name) else os.path.dirname(name))
        except FastalsError as error:
            if name in str(error):
                raise
            raise type(error)(f"{name}: {error}") from None

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], directory: str = "") -> Pipeline:
        """Make a pipeline of plain mappings; relative paths are from ``directory``."""
        if not isinstance(settings, Mapping):
            raise ParameterError(f"a pipeline must be a table of {', '.join(SECTIONS)}, got {type(settings).__name__}")
        for name, section in settings.items():
            check_choice("section", name, SECTIONS)
            if not isinstance(section, Mapping) and not (name == "publish" and isinstance(section, list)):
                raise ParameterError(f"[{name}] must be a table, got {section!r}")
        for name in ("events", "score"):
            if name not in settings:
                raise ParameterError(f"a pipeline must have a section [{name}]")

        def at(path: Any) -> str:
            path = check_path("path", path)
            return path if "://" in path else os.path.join(directory, path)

        events = _options("events", settings["events"], {"path"}, set(_READING))
        if "path" not in events:
            raise ParameterError("[events] must say path: the files or the directory of the events")
        path = events.pop("path")
        score = dict(settings["score"])
        scores = score.pop("out", None)
        if isinstance(score.get("spec"), str):
            _options("score", score, {"spec"}, set())
            spec = scoring.ScoreSpec.load(at(score["spec"]))
        else:
            spec = scoring.ScoreSpec.from_dict(score)
        train = dict(settings.get("train", {}))
        kind = check_choice("kind", train.pop("kind", "implicit"), tuple(KINDS))
        out, keep_ids = train.pop("out", "model"), train.pop("keep_ids", False)
        parameters = inspect.signature(KINDS[kind]).parameters
        _options("train", train, {"kind", "out", "keep_ids"}, set(parameters))
        for name, value in {**train, "keep_ids": keep_ids}.items():
            _check_flag(name, value)
        if train.get("tol") is False or train.get("tol") in NONE:
            train["tol"] = None
        evaluated = settings.get("evaluate")
        if evaluated is not None:
            evaluated = {"test_fraction": 0.1, "k": 10, "random_state": 0} | _options(
                "evaluate", evaluated, set(), {"test_fraction", "k", "random_state"}
            )
        sections = settings.get("publish", {})
        targets = []
        for section in sections if isinstance(sections, list) else [sections]:
            known = set(inspect.signature(serving.publish).parameters) - {"model", "progress"}
            target = {"to": EMBEDDED} | _options("publish", section, set(), known)
            targets.append(target | {"to": at(target["to"])})
        report = None
        if "report" in settings:
            report = at(_options("report", settings["report"], set(), {"out"}).get("out", "report.html"))
        return cls(
            [at(one) for one in path] if isinstance(path, list) else at(path),
            events,
            spec,
            None if scores is None else at(scores),
            KINDS[kind](**train),
            at(out),
            keep_ids,
            "regularization" not in train,
            evaluated,
            targets,
            report,
        )


def _check_flag(name: str, value: Any) -> None:
    """Refuse what is no boolean, a string above all, where [train] wants one."""
    if name in FLAGS and not isinstance(value, bool) and value not in FLAGS[name]:
        rule = "true or false without quotes" + "".join(f', or "{word}"' for word in FLAGS[name])
        raise ParameterError(f"[train] {name} must be {rule}, got {value!r}")


_READING = ("format", "delimiter", "columns", "memory", "num_threads")


def _options(section: str, given: Any, own: set[str], others: set[str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ParameterError(f"[{section}] must be a table, got {given!r}")
    for name in given:
        if name not in own | others:
            raise ParameterError(f"[{section}] has no {name!r}; it may have {', '.join(sorted(own | others))}")
    return dict(given)


@dataclass
class Result:
    """What a run made: the model, how another one measured (model, train, test), and the seconds of each step."""

    model: ALS
    metrics: dict[str, float] | None = None
    baseline: dict[str, float] | None = None
    measured: tuple[ALS, Interactions, Interactions] | None = None
    published: list[serving.Published] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run(pipeline: Pipeline, *, quiet: bool = False, keep_measured: bool = False) -> Result:
    """Do all of it; what can be known to fail is refused before the work."""
    result = Result(pipeline.model)
    progress = False if quiet else None

    def tell(step: str, start: float, text: str) -> None:
        result.seconds[step] = time.perf_counter() - start
        if not quiet:
            print(f"{step:9} {text}  ({result.seconds[step]:.1f} s)", flush=True)

    for target in pipeline.publish:
        serving.check_target_of_lists(target["to"], connect=True)
    for path in (pipeline.scores, pipeline.out, pipeline.report):
        if path is not None:
            check_target(path)

    start = time.perf_counter()
    with scoring.score(pipeline.events, pipeline.spec, progress=progress, **pipeline.reading) as scores:
        if pipeline.scores is not None:
            scores.write(pipeline.scores)
        data = scores.interactions()
        who = f"{scores.n_users:,} users with {scores.n_items:,} items"
        tell("scored", start, f"{scores.n_events:,} events of {who}: {data.nnz:,} scores")
    del scores
    if pipeline.keep_ids and _exists(pipeline.out):
        old = load(pipeline.out)
        data = with_ids(data, Ids(old.users_, unseen="keep"), Ids(old.items_, unseen="keep"))
        del old

    if pipeline.evaluate is not None:
        start = time.perf_counter()
        options = dict(pipeline.evaluate)
        k = options.pop("k")
        train, test = evaluation.train_test_split(data, **options)
        # one of the same parameters, so that what is measured is what will be served
        trial = type(pipeline.model)(**pipeline.model.get_params()).fit(train, progress=progress)
        result.metrics = evaluation.evaluate(trial, train, test, k)
        result.baseline = evaluation.popularity_baseline(trial, train, test, k)
        if keep_measured:
            result.measured = (trial, train, test)
        tell("measured", start, f"{test.nnz:,} scores held out")
        if not quiet:
            print_metrics(type(trial).__name__, result.metrics, result.baseline)
        del trial, train, test

    start = time.perf_counter()
    model = pipeline.model.fit(data, progress=progress)
    model.scoring_ = pipeline.spec.to_dict() if data.scoring is None else data.scoring
    save(model, pipeline.out)
    tell("trained", start, f"{model}: {model.n_iter_} iterations, loss {loss(model)}, {pipeline.out}")
    if not quiet:
        settings = told(model.settings_)
        print(f"{'settings':9} {settings}", flush=True)
        if pipeline.by_default:
            print(
                f"fastals: note: the default settings are new in this version, and are {settings} here; say "
                'regularization = "auto" in [train] if that is meant, else a number',
                file=sys.stderr,
            )
    del data

    for target in pipeline.publish:
        start = time.perf_counter()
        result.published.append(serving.publish(model, progress=progress, **target))
        tell("published", start, told_publication(result.published[-1]).removeprefix("published "))
    if pipeline.report is not None:
        from .. import report

        start = time.perf_counter()
        report.write_report(model, pipeline.report, metrics=result.metrics, baseline=result.baseline)
        tell("reported", start, pipeline.report)
    if not quiet:
        print(f"done in {sum(result.seconds.values()):.1f} s")
    return result


def _exists(path: str) -> bool:
    if not is_remote(path):
        return os.path.exists(path)
    from pyarrow import fs

    place = locate(path)
    return bool(place.filesystem.get_file_info(place.path).type == fs.FileType.File)
