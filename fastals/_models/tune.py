"""Search for the best setting of a model on held-out interactions, each fit from where a neighbouring one ended."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np

from .._core import (
    ArgumentTypeError,
    DataError,
    ParameterError,
    check_bool,
    check_choice,
    check_int,
    check_random_state,
)
from .._data import Interactions
from .._equation import interruptible
from .als import ALS
from .estimator import Estimator

AnyModel = TypeVar("AnyModel", bound=Estimator)

ERRORS = ("rmse", "mae")
"""Metrics of which less is better."""
RATINGS = (*ERRORS, "r2")
LISTS = ("ndcg", "recall", "precision", "map", "mrr", "hit_rate", "coverage", "novelty")


class InterruptedTuning(KeyboardInterrupt):
    """Ctrl-C has ended a search.

    Attributes
    ----------
    tuning : Tuning or None
        What had been found by then; None: nothing yet.
    """

    def __init__(self, tuning: Tuning[Any] | None, n_settings: int) -> None:
        n = 0 if tuning is None else len(tuning.rows)
        super().__init__(f"after {n} of {n_settings} settings" + ("; they are in this exception's tuning" if n else ""))
        self.tuning = tuning


class Tuning(Generic[AnyModel]):
    """What a search has found: a table, printed best first.

    Attributes
    ----------
    rows : list of dict
        One for each setting, best first: ``params``; all that :func:`fastals.evaluation.evaluate` measures; ``seconds``
        of the fit; ``iterations`` of the fit and ``warm_start``, the params of the setting that it went on from, or
        None (None both for models without iterations).
    metric : str
        What the best is told by.
    best_params : dict
    best_score : float
        On the held-out interactions.
    best_model : the model
        Fitted, with ``best_params``, and numbers wherever the data decided settings.

    Examples
    --------
    >>> import fastals
    >>> from scipy.sparse import random_array
    >>> plays = random_array((60, 40), density=0.2, rng=0)
    >>> found = fastals.tune(fastals.ItemKNN(), plays, {"neighbors": [1, 20]}, metric="recall@5", random_state=0)
    >>> sorted(row["params"]["neighbors"] for row in found.rows)
    [1, 20]
    >>> found.best_score == found.rows[0]["recall@5"]
    True
    """

    def __init__(self, rows: list[dict[str, Any]], metric: str, best_model: AnyModel) -> None:
        self.rows = rows
        self.metric = metric
        self.best_params: dict[str, Any] = rows[0]["params"]
        self.best_score: float = rows[0][metric]
        self.best_model = best_model

    def __str__(self) -> str:
        names = list(self.best_params)
        lines = [[*names, self.metric, "seconds"]]
        for row in self.rows:
            lines.append([*(f"{row['params'][n]}" for n in names), f"{row[self.metric]:.4f}", f"{row['seconds']:.2f}"])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines)

    def __repr__(self) -> str:
        return f"<Tuning: {len(self.rows)} settings, best {self.metric} {self.best_score:.4g} with {self.best_params}>"


def tune(
    model: AnyModel,
    data: Any,
    grid: Mapping[str, Any],
    *,
    metric: str | None = None,
    validation: Any = None,
    n_samples: int = 20,
    warm_start: bool = True,
    refit: bool = True,
    random_state: Any = None,
) -> Tuning[AnyModel]:
    """Try settings on held-out interactions; the data are read once, and ALS goes on from a neighbouring setting.

    Settings are tried in order of their number of factors. The first is trained from random factors, each further one
    from those of the nearest setting so far that has no more factors, new columns being small random ones, for a third
    of the iterations: a neighbour's factors, and its biases, are most of the way already.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS, EASE, ItemKNN or UserKNN
        The parameters that are not searched; it is not changed. Where its ``regularization`` is "auto", all that this
        decides is resolved once, on what is trained on, and the grid's values take the place of some of it:
        ``{"regularization": [0.003, 0.01, 0.03]}`` varies lambda alone. An "auto" in the grid stands for what the rule
        gives then: ``{"regularization_scaling": ["auto", 0.5]}`` varies the scaling alone.
    data : Interactions, or what :meth:`ImplicitALS.fit` takes
    grid : mapping of parameter names to lists or distributions
        All combinations of the lists. If any is a distribution (an object with ``rvs(random_state=…)``, as
        ``scipy.stats.loguniform(0.001, 1)``), `n_samples` settings are drawn, from lists evenly.
    metric : str, optional
        "ndcg@k", "recall@k", "precision@k", "map@k", "mrr@k", "hit_rate@k", "coverage@k", "novelty@k" with a number k;
        for models of ratings also "rmse", "mae" and "r2". Default "ndcg@10", for models of ratings "rmse".
    validation : as `data`, optional
        Held-out interactions; by default a random tenth of `data`, which is not trained on meanwhile.
    n_samples : int, default 20
        Settings to draw, with distributions.
    warm_start : bool, default True
        False: train every setting from random factors, in full. So it is too when ``iterations`` is searched.
    refit : bool, default True
        Train the best setting once more, from scratch and in full, on all of `data`. False: ``best_model`` is as it was
        measured.
    random_state : int or Generator, optional
        Where the random tenth and the draws come from.

    Returns
    -------
    Tuning

    Raises
    ------
    ParameterError, ArgumentTypeError, DataError
        Among others: a name that is no parameter of the model, or a value that breaks its rule, before any work.
    KeyboardInterrupt
        Ctrl-C. Its attribute ``tuning`` is the Tuning of all settings that had been measured by then, with the best
        model as it was measured, or None: ``except KeyboardInterrupt as stop: stop.tuning``; in an interactive session
        ``sys.last_value.tuning``.

    Examples
    --------
    >>> import fastals
    >>> from scipy.sparse import random_array
    >>> plays = random_array((60, 40), density=0.2, rng=0)
    >>> model = fastals.ImplicitALS(iterations=6, random_state=0)
    >>> found = fastals.tune(model, plays, {"factors": [2, 8], "regularization": [0.1, 10.0]}, random_state=0)
    >>> len(found.rows), found.metric
    (4, 'ndcg@10')
    >>> found.best_model.get_params()["factors"] == found.best_params["factors"]
    True
    """
    from ..evaluation import evaluate, held_out, train_test_split  # not every program tunes

    if not isinstance(model, Estimator):
        raise ArgumentTypeError(f"model must be a model of fastals, got {type(model).__name__}")
    rng = check_random_state(random_state)
    settings = _settings(grid, check_int("n_samples", n_samples, low=1), rng)
    metric, k = _check_metric(metric, [_with(model, setting) for setting in settings])
    warm = check_bool("warm_start", warm_start) and "iterations" not in grid
    check_bool("refit", refit)
    ratings, duplicates = model._predicts_ratings, model._duplicates
    interactions = held_out(data, ratings, duplicates)
    training = interactions
    if validation is None:
        training, validation = train_test_split(interactions, 0.1, random_state=rng)
    else:
        validation = held_out(validation, ratings, duplicates)

    base = _settled(model, training)
    by_rule = _by_rule(model, settings, training)
    models = [_settled(_with(base, {**setting, **_asked(setting, by_rule)}), training) for setting in settings]
    sign = 1 if metric in ERRORS else -1
    rows: list[dict[str, Any]] = []
    done: list[tuple[dict[str, Any], ALS]] = []
    best: tuple[float, AnyModel] | None = None

    def found() -> Tuning[AnyModel] | None:
        return None if best is None else Tuning(sorted(rows, key=lambda row: sign * row[metric]), metric, best[1])

    order = sorted(range(len(settings)), key=lambda j: getattr(models[j], "factors", 0))
    try:
        with interruptible():
            for j in order:
                candidate, setting = models[j], settings[j]
                start = time.perf_counter()
                before = _nearest(setting, candidate, done) if warm and isinstance(candidate, ALS) else None
                _fit(candidate, training, before[1] if before else None)
                seconds = time.perf_counter() - start
                metrics = evaluate(candidate, training, validation, k)
                if math.isnan(metrics[metric]):
                    raise DataError(f"{metric} cannot be measured: validation holds nothing for it")
                row = {
                    "params": setting,
                    **metrics,
                    "seconds": seconds,
                    "iterations": getattr(candidate, "n_iter_", None),
                    "warm_start": before[0] if before else None,
                }
                if isinstance(candidate, ALS):
                    done.append((setting, candidate))
                measured = sign * metrics[metric], candidate
                # at once, as Ctrl-C may come at any time
                rows, best = [*rows, row], measured if best is None or measured[0] < best[0] else best
            tuning = found()
            assert tuning is not None
            if refit:
                tuning.best_model = type(model)(**tuning.best_model.get_params())
                _fit(tuning.best_model, interactions, None)
    except KeyboardInterrupt:
        raise InterruptedTuning(found(), len(settings)) from None
    return tuning


def _settings(grid: Mapping[str, Any], n_samples: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    if not isinstance(grid, Mapping):
        raise ArgumentTypeError(f"grid must map names of parameters to lists or distributions, got {grid!r}")
    drawn = [name for name, values in grid.items() if hasattr(values, "rvs")]
    for name, values in grid.items():
        if name in drawn:
            continue
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise ArgumentTypeError(f"grid[{name!r}] must be a list or a distribution with rvs(), got {values!r}")
        if not len(values):
            raise ParameterError(f"grid[{name!r}] must not be empty")
    if not drawn:
        return [dict(zip(grid, map(_plain, values), strict=True)) for values in product(*grid.values())]
    return [
        {
            name: _plain(values.rvs(random_state=rng) if name in drawn else values[rng.integers(len(values))])
            for name, values in grid.items()
        }
        for _ in range(n_samples)
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _with(model: AnyModel, setting: dict[str, Any]) -> AnyModel:
    """Make a new model of the same class."""
    known = model.get_params()
    for name in setting:
        check_choice("parameter name in grid", name, tuple(known))
    return type(model)(**{**known, **setting})


def _settled(model: AnyModel, data: Interactions) -> AnyModel:
    """A model whose settings are numbers, where the data were to decide them."""
    return model._settled(data) if isinstance(model, ALS) else model


def _by_rule(model: Estimator, settings: Sequence[dict[str, Any]], data: Interactions) -> dict[str, Any]:
    """Return what "auto" in the grid stands for beside a ``regularization`` that is "auto" in the model.

    A settled model has a number there, with which an "auto" would no longer ask the rule.
    """
    if not isinstance(model, ALS) or not _is_auto(model.regularization):
        return {}
    # tol does not follow lambda; "auto" for lambda itself asks the rule wherever it stands
    names = set(model._setting_names) - {"regularization", "tol"}
    asked = sorted({name for setting in settings for name in _asked(setting, dict.fromkeys(names))})
    settled = _settled(_with(model, dict.fromkeys(asked, "auto")), data) if asked else model
    return {name: getattr(settled, name) for name in asked}


def _asked(setting: Mapping[str, Any], by_rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the rule's values that a setting asks for."""
    return {name: by_rule[name] for name, value in setting.items() if name in by_rule and _is_auto(value)}


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _check_metric(metric: str | None, models: Sequence[Estimator]) -> tuple[str, int]:
    """Return the metric as `evaluate` calls it, and the length of the lists."""
    ratings = all(model._predicts_ratings for model in models)
    if metric is None:
        return ("rmse", 10) if ratings else ("ndcg@10", 10)
    name, _, k = metric.partition("@") if isinstance(metric, str) else ("", "", "")
    if name in LISTS and k.isdecimal() and int(k) >= 1:
        return f"{name}@{int(k)}", int(k)
    if ratings and metric in RATINGS:
        return metric, 10
    rule = ", ".join(f"'{name}@k'" for name in LISTS) + (f", {', '.join(map(repr, RATINGS))}" if ratings else "")
    raise ParameterError(f"metric must be one of {rule} (k: a number) for these models, got {metric!r}")


def _nearest(
    setting: dict[str, Any], model: ALS, done: list[tuple[dict[str, Any], ALS]]
) -> tuple[dict[str, Any], ALS] | None:
    """The setting whose factors are likely to be nearest: numbers are compared by their ratio."""

    def distance(other: dict[str, Any]) -> float:
        total = 0.0
        for name, value in setting.items():
            a, b = value, other[name]
            if all(isinstance(x, int | float) and not isinstance(x, bool) and x > 0 for x in (a, b)):
                total += abs(math.log(a / b))
            else:
                total += 1.0 * (a != b)
        return total

    possible = [pair for pair in done if pair[1].factors <= model.factors]
    return min(possible, key=lambda pair: distance(pair[0]), default=None)


def _fit(model: Estimator, data: Interactions, before: ALS | None) -> None:
    """Train, from random factors or in a third of the iterations from those of ``before``."""
    if not isinstance(model, ALS):
        model.fit(data)
    elif before is None:
        model.fit(data, progress=False)
    else:
        factors = model._beginning().drawn(data.shape)
        state = before.state_
        for grown, trained in zip(factors, (before.user_factors_, before.item_factors_), strict=True):
            grown[:, : trained.shape[1]] = trained
        if model._beginning().biased and state.equation.joint_biases and state.biases is not None:
            # the mean starts from that of the data: what it has moved by goes to the side that the first solve is given
            biases = [own.copy() for own in state.biases]
            biases[model._preset.last == "items"] += state.mean - float(np.mean(data.values, dtype=np.float64))
            X, Y = (np.column_stack(parts) for parts in zip(factors, biases, strict=True))
            factors = X, Y
        full, model.iterations = model.iterations, -(-model.iterations // 3)
        model.fit(data, initial_factors=factors, progress=False)
        model.iterations = full
        model._state = replace(model.state_, parameters=model.get_params())
