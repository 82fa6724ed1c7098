"""New raw events for a model that was trained on scores."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import ParameterError
from .._data import Compressed, Interactions, known_of, trusted
from .._files import is_span, iso, seconds_of, span_seconds
from .._fitted import DUE, Ageing, FittedState
from ._spec import ScoreSpec, moment, transform

if TYPE_CHECKING:
    from ._scores import Scores

COUNTED = ("min_user_events", "min_item_events", "max_user_events")
"""What goes by the number of all events of a user or an item, of which only the new ones are there: not done."""

ADDABLE = ("sum", "max")
"""Aggregates that more events can be taken into when only the aggregate is known."""


class Updated(NamedTuple):
    """What :func:`update` has done.

    Attributes
    ----------
    n_events : int
        New events.
    n_scores : int
        Pairs of a user and an item that they are about.
    n_users, n_items : int
        Users and items that the model did not know.
    decay : float
        What one of the history's scores has become, before the new events came to it.
    n_updates : int
        Updates since the last whole fit.
    updated : float
        How much of the data that fit has not seen as it is now, from 0 to 1.
    due : bool
        Whether another one should be made.
    n_dropped : int
        Pairs among the scores that stay out, since it is not known how far below ``minimum`` they had been.
    summary : dict
        Of the new events, as :meth:`Scores.summary` gives it.
    notes : tuple of str
        What should be known of them, as :meth:`Scores.notes`; also that none of them is later than what was taken in
        before, as when an update is made twice.
    """

    n_events: int
    n_scores: int
    n_users: int
    n_items: int
    decay: float
    n_updates: int
    updated: float
    due: bool
    n_dropped: int = 0
    summary: dict[str, Any] = {}  # noqa: RUF012
    notes: tuple[str, ...] = ()


def check_updatable(model: Any, now: Any, *, from_files: bool) -> tuple[ScoreSpec, ScoreSpec]:
    """Return how the model's scores were made, and how new events are to be scored that are added to them."""
    state = model.state_
    if not isinstance(state, FittedState) or state.scoring is None:
        raise ParameterError(
            f"this {type(model).__name__} was not trained on scores of raw events: fit it on them, or give the events "
            "to partial_fit as they are"
        )
    state.history()
    spec = _addable(ScoreSpec.from_dict(state.scoring))
    changed: dict[str, Any] = dict.fromkeys(COUNTED)
    kinds = {state.users.kind, state.items.kind}
    if spec.ids == "auto" and from_files and kinds in ({"strings"}, {"integers"}):
        # not by the first id, which may look like a number among names
        changed["ids"] = "text" if kinds == {"strings"} else "integer"
    new = replace(spec, total="linear", minimum=None, now=now, **changed)
    before, after = moment(spec, "now"), moment(new, "now")
    if before is not None and after is not None and seconds_of(after) < seconds_of(before):
        raise ParameterError(f"now must not lie before that of the model's scores, {_second(before)}, got {now!r}")
    return spec, new


def _second(moment: int) -> str:
    """Return a time as text without what its float cannot hold."""
    return iso(moment // 10**9 * 10**9)


def take_in(model: Any, spec: ScoreSpec, scores: Scores, passes: int) -> Updated:
    """Take new scores into a model, which ages to the time that they are of."""
    state, data, reached = model.state_, scores.interactions(), scores.spec.now
    decay, before, after = 1.0, moment(spec, "now"), moment(replace(spec, now=reached), "now")
    notes = tuple(scores.notes())
    if before is not None and after is not None:
        gap = float(seconds_of(after) - seconds_of(before))
        if gap > 0:
            spec = replace(spec, now=reached)
        else:
            notes += (
                f"the model's scores stay those of {_second(before)}: events that it had taken in already count twice",
            )
        if spec.half_life is not None:
            aged = float(np.exp2(-abs(gap) / span_seconds("half_life", spec.half_life)))
            if gap > 0:
                decay = aged
            else:  # all are older than what the model knows already
                cells = data.indptr, data.indices, (data.values * aged).astype(data.values.dtype)
                data = _of_cells(data, cells)
    n_scores, dropped = data.nnz, _unknown_sums(spec, state.pairs, data)
    if dropped.any():
        kept = ~dropped
        cells = np.append(0, kept.cumsum())[data.indptr], data.indices[kept], data.values[kept]
        data = _of_cells(data, cells)
    ageing = Ageing(decay, minimum=spec.minimum, scoring=spec.to_dict())
    if spec.total != "linear":
        summed = partial(_sums_of, total=spec.total, at=spec.at)
        ageing = replace(ageing, told=partial(transform, name=spec.total, at=spec.at), summed=summed)
    made = model.partial_fit(data, duplicates=spec.aggregate, decay=ageing, passes=passes).state_
    new = len(made.users) - len(state.users), len(made.items) - len(state.items)
    updated = 1 - made.fresh
    facts = scores.n_events, n_scores, *new, decay, made.n_updates, updated, updated >= DUE, int(dropped.sum())
    return Updated(*facts, scores.summary(), notes)


def _of_cells(data: Interactions, cells: Compressed) -> Interactions:
    """Whatever data are but for their cells, which are these."""
    made = trusted(cells, None, data.user_labels, data.item_labels, known=known_of(data))
    made.summed = data.summed
    return made


def _addable(spec: ScoreSpec) -> ScoreSpec:
    """Refuse a specification whose scores more events cannot be taken into."""
    if spec.aggregate not in ADDABLE:
        raise ParameterError(
            f"aggregate={spec.aggregate!r} needs all events of a pair, of which the model holds the score only: score "
            "all events together and fit again"
        )
    for name in ("since", "until"):
        if is_span(getattr(spec, name)):
            raise ParameterError(
                f"{name}={getattr(spec, name)!r} moves with time, and the model does not hold which of its events are "
                "left out now: score all events together and fit again"
            )
    return spec


def _unknown_sums(spec: ScoreSpec, history: Interactions, new: Interactions) -> NDArray[np.bool_]:
    """For each of the new cells, whether its pair was dropped, from how far below the minimum nobody knows."""
    if spec.minimum is None or spec.aggregate != "sum" or all(s.weight >= 0 for s in spec.signals.values()):
        return np.zeros(new.nnz, np.bool_)
    return known_of(history).hold(new)


def _sums_of(values: NDArray[np.float64], total: str, at: float) -> NDArray[np.float64]:
    """The aggregates that a total has made these values of."""
    size = np.abs(values)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.copysign(np.expm1(size) if total == "log1p" else at * size / (1 - size), values)
