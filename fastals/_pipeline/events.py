"""Events that become scores, and what is said of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from .. import scoring
from .._core import LOGGER, NOTE
from .._data import Interactions
from .._files import is_span, iso, span_seconds

Made = TypeVar("Made")


def score(events: Any, spec: scoring.ScoreSpec, **options: Any) -> scoring.Scores:
    """Score events; what one should know of them is logged, each thing once."""
    scores, odd = _with_warnings(partial(scoring.score, events, spec, **options))
    _log(odd, scores.notes())
    return scores


def update(model: Any, events: Any, **options: Any) -> scoring.Updated:
    """Take new events into a model; likewise."""
    told, odd = _with_warnings(partial(scoring.update, model, events, **options))
    _log(odd, told.notes)
    return told


def _with_warnings(work: Callable[[], Made]) -> tuple[Made, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = work()
    return made, [str(warning.message) for warning in caught]


def _log(odd: Sequence[str], notes: Sequence[str]) -> None:
    for text in odd:
        LOGGER.warning("%s", text)
    for text in notes:
        if text not in odd:
            LOGGER.log(NOTE, "%s", text)


def told_events(scores: scoring.Scores) -> str:
    """Return how many events there were as text."""
    return f"{scores.n_events:,} events of {scores.n_users:,} users with {scores.n_items:,} items"


def event_facts(scores: scoring.Scores, n_scores: int) -> dict[str, Any]:
    """Return what a summary says of events."""
    return scores.summary() | {"scores": n_scores, "notes": scores.notes()}


def told_scores(data: Interactions) -> str:
    """Return how many scores there are as text, and of how many pairs nothing but that they are known."""
    known = "" if data.known is None else f", {data.known.nnz:,} known pairs"
    return f"{data.nnz:,} scores{known}"


def split_at(spec: scoring.ScoreSpec, at: Any, now: str | None) -> tuple[scoring.ScoreSpec, scoring.ScoreSpec]:
    """Return the specifications of the scores of what was before a time, as they were then, and of what came after.

    Parameters
    ----------
    spec : ScoreSpec
        Of all scores, with ``now`` filled in.
    at : str, float or date
        A time, or how long before ``now`` it was.
    now : str or None
        As the summary of the scores has it: None where no time is compared with another.
    """
    if is_span(at) and now is not None:
        newest = np.datetime64(now.removesuffix("Z"), "ns").astype(np.int64)
        at = iso(int(newest) - round(span_seconds("at", at) * 1e9))
    # a span is left where scores have no time of their own: it is counted from the newest event, for both alike
    before = replace(spec, until=at) if is_span(at) else replace(spec, until=at, now=at)
    after = replace(spec, since=at, min_user_events=None, min_item_events=None, max_user_events=None)
    return before, after
