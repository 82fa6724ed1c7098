"""The steps of a pipeline: score, measure, train, publish, report."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import evaluation, scoring, serving
from .._core import LOGGER, NOTE, DataError, FileFormatError, GateError, ParameterError, told_address
from .._data import Ids, Interactions, with_ids
from .._equation import told
from .._files import check_target, is_remote, locate
from .events import event_facts, score, split_at, told_events, told_scores
from .models import load, loss, model_facts, print_metrics, save, told_publication
from .parameters import named

if TYPE_CHECKING:
    from .._models import ALS
    from .settings import Pipeline


@dataclass
class Result:
    """What a run made: the model, how another one measured (model, train, test), and the seconds of each step."""

    model: ALS
    metrics: dict[str, float] | None = None
    baseline: dict[str, float] | None = None
    measured: tuple[ALS, Interactions, Interactions] | None = None
    published: list[serving.Published] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    pipeline: Pipeline,
    *,
    quiet: bool = False,
    keep_measured: bool = False,
    first: str = "score",
    last: str = "publish",
    facts: dict[str, Any] | None = None,
) -> Result:
    """Do all of it; what can be known to fail is refused before the work.

    ``first`` is "score" or "publish", ``last`` "train" or "publish": where to begin, and what comes last.
    ``facts`` takes what has come about, step by step: what --summary writes, also of a run that fails.
    """
    return _Run(pipeline, quiet, {} if facts is None else facts).run(keep_measured, first, last)


class _Run:
    """One run of a pipeline."""

    def __init__(self, pipeline: Pipeline, quiet: bool, facts: dict[str, Any]) -> None:
        self.pipeline, self.quiet, self.facts = pipeline, quiet, facts
        self.progress = False if quiet else None
        self.result, self.spec = Result(pipeline.model), pipeline.spec
        targets = [str(target["to"]) for target in pipeline.publish]
        shown = {name: _told(value, targets) for name, value in pipeline.parameters.items()}
        facts |= {"parameters": shown, "steps": self.result.seconds}

    def run(self, keep_measured: bool, first: str, last: str) -> Result:
        """Do all of it, or from one step, or to one."""
        if (first, last) == ("publish", "train"):
            raise ParameterError("--from publish --until train: nothing is left to do")
        pipeline = self.pipeline if last == "publish" else replace(self.pipeline, publish=[], report=None)
        self.pipeline = pipeline
        self._check_targets(first == "publish")
        if first == "publish":
            start = time.perf_counter()
            self.result.model = load(pipeline.out)
            self._tell("loaded", start, f"{self.result.model}: {told_address(pipeline.out)}")
        else:
            data = self._score()
            if pipeline.evaluate is not None:
                self._measure(data, keep_measured)
            self._train(data)
            del data
        for target in pipeline.publish:
            self._publish(target)
        if pipeline.report is not None:
            self._report(pipeline.report)
        if not self.quiet:
            print(f"done in {sum(self.result.seconds.values()):.1f} s")
        return self.result

    def _tell(self, step: str, start: float, text: str) -> None:
        seconds = time.perf_counter() - start
        self.result.seconds[step] = round(self.result.seconds.get(step, 0) + seconds, 3)
        if not self.quiet:
            print(f"{step:9} {text}  ({seconds:.1f} s)", flush=True)

    def _check_targets(self, only_publish: bool) -> None:
        for target in self.pipeline.publish:
            with named("publish"):
                serving.check_publication(**target, connect=True)
        for name, read in self.pipeline.inputs:
            if not _exists(read):
                raise FileFormatError(f"{name}: {read}: No such file")
        written = [] if only_publish else [self.pipeline.scores, self.pipeline.out]
        for path in (*written, (self.pipeline.report or {}).get("out")):
            if path is not None:
                check_target(path)

    def _score(self) -> Interactions:
        pipeline, start = self.pipeline, time.perf_counter()
        with score(pipeline.events, pipeline.spec, progress=self.progress, **pipeline.reading) as scores:
            if pipeline.scores is not None:
                scores.write(pipeline.scores)
            data = scores.interactions()
            self.facts["events"] = event_facts(scores, data.nnz)
            self.spec = scores.spec
            self.facts["events"]["known_pairs"] = 0 if data.known is None else data.known.nnz
            self._tell("scored", start, f"{told_events(scores)}: {told_scores(data)}")
        if pipeline.keep_ids and _exists(pipeline.out):
            old = load(pipeline.out)
            data = with_ids(data, Ids(old.users_, unseen="keep"), Ids(old.items_, unseen="keep"))
        return data

    def _measure(self, data: Interactions, keep: bool) -> None:
        """Train on a part, measure on the rest, and refuse to go on where a gate says so."""
        assert self.pipeline.evaluate is not None
        start, result, model = time.perf_counter(), self.result, self.pipeline.model
        options = dict(self.pipeline.evaluate)
        k, gates = options.pop("k"), options.pop("at_least")
        if "at" in options:
            train, test = self._parts_at(options["at"])
        else:
            train, test = evaluation.train_test_split(data, **options)
        # one of the same parameters, so that what is measured is what will be served
        trial = type(model)(**model.get_params()).fit(train, progress=self.progress)
        with named("evaluate"):
            result.metrics = evaluation.evaluate(trial, train, test, k)
        result.baseline = evaluation.popularity_baseline(trial, train, test, k)
        self.facts |= {"metrics": result.metrics, "baseline": result.baseline}
        if keep:
            result.measured = (trial, train, test)
        self._tell("measured", start, f"{test.nnz:,} scores held out")
        if not self.quiet:
            print_metrics(type(trial).__name__, result.metrics, result.baseline)
        name = f"ndcg@{k}"
        if result.metrics[name] < result.baseline[name]:
            figures = f"{name} {result.metrics[name]:.4f}, of the most popular items {result.baseline[name]:.4f}"
            LOGGER.log(NOTE, "lists of what is popular are better than those of a model of these settings: %s", figures)
        for name, least in gates.items():
            if not result.metrics[name] >= least:  # nor where it is NaN
                raise GateError(
                    f"[evaluate] at_least asks for {name} {least}, got {result.metrics[name]:.4f}: no model is made"
                )

    def _parts_at(self, at: Any) -> tuple[Interactions, Interactions]:
        """Score what was before a time, as on that day, and what came after."""
        parts, pipeline = [], self.pipeline
        for spec in split_at(self.spec, at, self.facts["events"]["now"]):
            try:
                with scoring.score(pipeline.events, spec, progress=self.progress, **pipeline.reading) as scores:
                    parts.append(scores.interactions())
            except DataError as error:
                raise DataError(f"[evaluate] at = {at!r}: {error}") from None
        return parts[0], parts[1]

    def _train(self, data: Interactions) -> None:
        pipeline, start = self.pipeline, time.perf_counter()
        prior = self._prior()
        strength = None if prior is None else pipeline.prior_strength
        with named("train"):
            model = pipeline.model.fit(data, prior=prior, prior_strength=strength, progress=self.progress)
        model.scoring_ = pipeline.spec.to_dict() if data.scoring is None else data.scoring
        save(model, pipeline.out)
        self._tell(
            "trained", start, f"{model}: {model.n_iter_} iterations, loss {loss(model)}, {told_address(pipeline.out)}"
        )
        self.facts["model"] = model_facts(model) | {"out": pipeline.out}
        settings = told(model.state_.settings)
        if not self.quiet:
            print(f"{'settings':9} {settings}", flush=True)
        if pipeline.by_default:
            LOGGER.log(
                NOTE,
                'the default settings are new in this version, and are %s here; say regularization = "auto" in [train] '
                "if that is meant, else a number",
                settings,
            )

    def _prior(self) -> Any:
        """The model that vectors are drawn to; on the first night there is none."""
        path = self.pipeline.prior
        if path is None:
            return None
        if not _exists(path):
            LOGGER.log(NOTE, "[train] prior: there is no model in %s yet, and vectors are drawn to none", path)
            return None
        return load(path)

    def _publish(self, target: dict[str, Any]) -> None:
        start = time.perf_counter()
        published = serving.publish(self.result.model, progress=self.progress, **target)
        self.result.published.append(published)
        self._tell("published", start, told_publication(published).removeprefix("published "))
        self.facts.setdefault("published", []).append(
            {name: getattr(published, name) for name in serving.Published.__annotations__}
        )

    def _report(self, options: dict[str, Any]) -> None:
        from .. import report

        start, result = time.perf_counter(), self.result
        options = dict(options)
        out = options.pop("out")
        report.write_report(result.model, out, metrics=result.metrics, baseline=result.baseline, **options)
        self._tell("reported", start, told_address(out))
        self.facts["report"] = out


def _told(value: Any, targets: list[str]) -> Any:
    """Return a parameter as it may be told: not what stands in an address where nothing is told of it."""
    text = str(value)
    if "://" in text:
        return serving.told_target(text)
    return "***" if text and any(to.count(text) > serving.told_target(to).count(text) for to in targets) else value


def _exists(path: str) -> bool:
    if not is_remote(path):
        return os.path.exists(path)
    from pyarrow import fs

    place = locate(path)
    return bool(place.filesystem.get_file_info(place.path).type == fs.FileType.File)
