"""Specifications of scores: what :mod:`fastals.scoring` does with raw events, as data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import FastalsError, ParameterError, check_bool, check_choice, check_int, check_path, check_real
from .._files import IDS, Times, is_span, read_settings_file, span_seconds

AGGREGATES = ("sum", "mean", "max", "last")
TRANSFORMS = ("linear", "log1p", "saturate", "above", "below")
KINDS: dict[str, Any] = {
    "text": str,
    "truth values": (bool, np.bool_),
    "numbers": (int, float, np.integer, np.floating),
}
"""What the values of a column of types may be; a truth value is no number."""

EACH_EVENT = "*"
"""The column that is one in every event."""


@dataclass(frozen=True)
class Signal:
    """What one column adds to the score of an event.

    Parameters
    ----------
    column : str, optional
        By the signal's own name if not given; "*": one for each event, whatever is in it. A missing value counts 0.
    weight : float, default 1
        Negative for what tells against the item.
    per : str, optional
        Column by which the value is divided: duration for a share played. Where it is 0 or missing, the value is 0.
    clip : (low, high), optional
        Bounds of the value; None: no bound.
    transform : {"linear", "log1p", "saturate", "above", "below"}
        Of the clipped value x: x; sign(x) log(1 + abs(x)); x / (abs(x) + at), which is half at ``at``; 1 if x >= at;
        1 if x < at.
    at : float, default 1
        Where "saturate" is half, and "above" and "below" change.
    equals : str, number, bool or a list of such, optional
        The value is 1 where the column holds this, or one of these, and 0 elsewhere: for a column that tells the type
        of an event. Several signals may read one column. Leaves nothing to ``per``, ``clip`` and ``transform``. Where
        all signals have it, events of other types are none: they do not even make their pairs known.
    optional : bool, default False
        Where there is no such column, in all of the data or in some of the files, the value is 0.

    Examples
    --------
    >>> from fastals.scoring import Signal
    >>> Signal("played", per="duration", clip=(0, 1), weight=0.5).per
    'duration'
    >>> Signal("event", equals=["transaction", "order"], weight=5).equals
    ('transaction', 'order')
    """

    column: str = ""
    weight: float = 1.0
    per: str | None = None
    clip: tuple[float | None, float | None] = (None, None)
    transform: str = "linear"
    at: float = 1.0
    equals: Any = None
    optional: bool = False

    def __post_init__(self) -> None:
        check_real("weight", self.weight)
        for name, value in (("column", self.column), ("per", self.per or "")):
            if not isinstance(value, str):
                raise ParameterError(f"{name} must be the name of a column, got {value!r}")
        check_choice("transform", self.transform, TRANSFORMS)
        check_real("at", self.at, low=0, low_open=self.transform == "saturate")
        object.__setattr__(self, "clip", _check_clip(self.clip))
        check_bool("optional", self.optional)
        if self.equals is not None:
            object.__setattr__(self, "equals", _check_equals(self.equals))
            for name in ("per", "clip", "transform", "at"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise ParameterError(f"equals gives 1 or 0: leave out {name}={getattr(self, name)!r}")
            if self.column == EACH_EVENT:
                raise ParameterError(f"equals needs a column whose values it is compared with, got {EACH_EVENT!r}")


def types_of(signal: Signal) -> tuple[Any, ...]:
    """Return the values of ``equals``, however many."""
    return signal.equals if isinstance(signal.equals, tuple) else () if signal.equals is None else (signal.equals,)


def kind_of_types(values: Sequence[Any]) -> str:
    """Return which of KINDS the values are; "" if they are of several, or none."""
    kinds = {next((kind for kind, types in KINDS.items() if isinstance(value, types)), "") for value in values}
    return kinds.pop() if len(kinds) == 1 else ""


def _check_equals(equals: Any) -> Any:
    values = tuple(equals) if isinstance(equals, (list, tuple)) else (equals,)
    kind = kind_of_types(values)
    if not kind or "" in values:
        raise ParameterError(f"equals must be text, a number, True or False, or a list of one kind, got {equals!r}")
    if kind == "numbers":
        for value in values:
            check_real("equals", value)
    values = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if len(set(values)) < len(values):
        raise ParameterError(f"equals must not name a value twice, got {equals!r}")
    return values if isinstance(equals, (list, tuple)) else values[0]


def value_of(signal: Signal, x: NDArray[np.float64], per: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return what a signal says of each event: its column ``x`` over ``per``, clipped and transformed."""
    if per is not None:
        x = np.divide(x, per, out=np.zeros_like(x), where=per != 0)
    low, high = signal.clip
    if low is not None or high is not None:
        x = np.clip(x, low, high)
    return transform(x, signal.transform, signal.at)


def _check_clip(clip: Any) -> tuple[float | None, float | None]:
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise ParameterError(f"clip must be a pair (low, high), either perhaps None, got {clip!r}")
    low, high = (None if bound is None or bound == "" else check_real("clip", bound) for bound in clip)
    if low is not None and high is not None and low > high:
        raise ParameterError(f"clip must be (low, high) with low <= high, got {clip!r}")
    return low, high


def transform(x: NDArray[np.float64], name: str, at: float) -> NDArray[np.float64]:
    if name == "log1p":
        return np.copysign(np.log1p(np.abs(x)), x)
    if name == "saturate":
        return x / (np.abs(x) + at)
    if name == "above":
        return (x >= at).astype(np.float64)
    if name == "below":
        return (x < at).astype(np.float64)
    return x


@dataclass(frozen=True)
class ScoreSpec:
    """How raw events become one score for each user and item: see the head of :mod:`fastals.scoring`.

    Parameters
    ----------
    signals : mapping of str to Signal, or to a mapping of Signal's parameters
        By name. At least one.
    user, item : str, optional
        Columns; None: one called user, userId or user_id; item, itemId or item_id.
    timestamp : str, optional
        Column of times: dates and times in any form, or numbers since 1970. Needed by ``half_life``, ``since``,
        ``until`` and ``aggregate="last"``.
    half_life : float or str, optional
        Seconds, or such as "30 days", after which an event counts half. None: events do not age.
    now : float, str or datetime, optional
        The time that ages are counted to: seconds since 1970, or such as "2025-04-01T12:00:00"; "now": the clock. None:
        the time of the newest event that is neither later than the clock nor than ``until``.
    aggregate : {"sum", "mean", "max", "last"}
        Of the scores of one user's events with one item; "last": that of the latest ``timestamp``.
    total : {"linear", "log1p", "saturate"}
        Transform of the aggregate, as in :class:`Signal`.
    at : float, default 1
        Where "saturate" is half.
    minimum : float, optional
        Pairs below it are left out. None: all stay, those below 0 too.
    unit : {"s", "ms", "us", "ns"}, optional
        Of times that are numbers. None: seconds; numbers that as seconds lie before 1990, or more than a year after the
        clock, are then an error if they are to be compared with a date.
    format : str or list of str, optional
        Of times as text or digits, as :meth:`datetime.datetime.strptime` has it: "%d/%m/%Y %H:%M", "%Y%m%d"; of
        several the first that fits. None: ISO 8601, also with "Z", an offset or " UTC" behind it.
    timezone : str, default "UTC"
        Name of the zone ("Europe/Berlin") of times that tell none, those of ``now``, ``since`` and ``until`` too. A
        local time that comes twice is taken for the first, one that clocks leave out for as much later.
    since, until : float, str or datetime, optional
        Events before ``since``, and from ``until`` on, do not count: as ``now``, or such as "90 days" before it. A user
        and an item with events before ``since`` alone stay :attr:`~fastals.Interactions.known`.
    later : {"count", "error"}
        What becomes of events later than ``now``: they have age 0 and are counted (:attr:`Scores.n_later`), or the
        first is an error.
    min_user_events, min_item_events, max_user_events : int, optional
        Users with more than ``max_user_events`` events are left out with all that they did (robots); then items with
        fewer than ``min_item_events`` of the events that are left; then users with fewer than ``min_user_events`` of
        those. Once, in this order: each user that stays has that many events, items may have lost some with the last
        step. Only events between ``since`` and ``until`` count, whatever their score. What items and users that are
        too rare had stays :attr:`~fastals.Interactions.known`; of robots nothing does.
    ids : {"auto", "text", "integer"}
        What users and items are. "auto": what their columns hold; of text files integers where the first id is one.

    Examples
    --------
    >>> from fastals.scoring import ScoreSpec, Signal, score
    >>> spec = ScoreSpec({"played": Signal(per="length", clip=(0, 1)), "liked": Signal(weight=3)})
    >>> events = {"user": ["ann", "ann"], "item": ["x", "x"], "played": [30, 240], "length": 2 * [120], "liked": [0, 1]}
    >>> score(events, spec).interactions().matrix.toarray()
    array([[4.25]], dtype=float32)
    """

    signals: Mapping[str, Signal]
    user: str | None = None
    item: str | None = None
    timestamp: str | None = None
    half_life: float | str | None = None
    now: float | str | None = None
    aggregate: str = "sum"
    total: str = "linear"
    at: float = 1.0
    minimum: float | None = None
    unit: str | None = None
    format: str | Sequence[str] | None = None
    timezone: str | tzinfo = "UTC"
    since: float | str | None = None
    until: float | str | None = None
    later: str = "count"
    min_user_events: int | None = None
    min_item_events: int | None = None
    max_user_events: int | None = None
    ids: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.signals, Mapping) or not self.signals:
            raise ParameterError(f"signals must be a mapping of at least one name to a Signal, got {self.signals!r}")
        signals = {name: _signal(name, given) for name, given in self.signals.items()}
        object.__setattr__(self, "signals", signals)
        for name in ("user", "item", "timestamp"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ParameterError(f"{name} must be the name of a column, got {value!r}")
        if self.half_life is not None:
            span_seconds("half_life", self.half_life)
        self._check_times()
        self._check_types()
        check_choice("aggregate", self.aggregate, AGGREGATES)
        check_choice("total", self.total, TRANSFORMS[:3])
        check_real("at", self.at, low=0, low_open=True)
        if self.minimum is not None:
            check_real("minimum", self.minimum)
        check_choice("later", self.later, ("count", "error"))
        check_choice("ids", self.ids, IDS)
        bounds = [getattr(self, name) for name in ("min_user_events", "min_item_events", "max_user_events")]
        for name, bound in zip(("min_user_events", "min_item_events", "max_user_events"), bounds, strict=True):
            if bound is not None:
                check_int(name, bound, low=1)
        if bounds[0] is not None and bounds[2] is not None and bounds[0] > bounds[2]:
            raise ParameterError(f"min_user_events={bounds[0]} must not be above max_user_events={bounds[2]}")
        if self.timestamp is None:
            needed = {name: getattr(self, name) is not None for name in ("half_life", "since", "until")}
            needed |= {"aggregate='last'": self.aggregate == "last", "later='error'": self.later == "error"}
            for what, needs in needed.items():
                if needs:
                    raise ParameterError(f"{what} needs timestamp: the column of the events' times")

    def _check_times(self) -> None:
        """Check how times are written, and write dates as text, which every file of settings holds."""
        times = times_of(self)
        object.__setattr__(self, "format", times.format)
        object.__setattr__(self, "timezone", times.timezone)
        for name in ("now", "since", "until"):
            value = getattr(self, name)
            if isinstance(value, (date, np.datetime64)):
                object.__setattr__(self, name, value.isoformat() if isinstance(value, date) else str(value))
        first, last = moment(self, "since"), moment(self, "until")
        moment(self, "now")
        spans = [span_seconds(name, getattr(self, name)) for name in ("since", "until") if is_span(getattr(self, name))]
        if (first is not None and last is not None and first >= last) or (len(spans) == 2 and spans[0] <= spans[1]):
            raise ParameterError(f"since={self.since!r} must be before until={self.until!r}")

    def _check_types(self) -> None:
        """Check that all who read a column take it for the same."""
        known: dict[str, tuple[str, str]] = {}
        for name, signal in self.signals.items():
            if signal.equals is not None:
                first, kind = known.setdefault(signal.column, (name, kind_of_types(types_of(signal))))
                if kind != kind_of_types(types_of(signal)):
                    raise ParameterError(
                        f"signals {first!r} and {name!r} compare column {signal.column!r} with two kinds"
                    )
        for name, signal in self.signals.items():
            for column in (signal.column, signal.per) if signal.equals is None else ():
                if column in known and known[column][1] == "text":
                    raise ParameterError(
                        f"signal {name!r} takes column {column!r} for numbers, but {known[column][0]!r} for text"
                    )

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> ScoreSpec:
        """Make a specification of plain mappings, as TOML, YAML and JSON give them.

        Raises
        ------
        ParameterError
            A name that means nothing, or a value that breaks its rule.

        Examples
        --------
        >>> from fastals.scoring import ScoreSpec
        >>> ScoreSpec.from_dict({"signals": {"liked": {"weight": 3}}}).signals["liked"].weight
        3
        """
        if not isinstance(given, Mapping):
            raise ParameterError(f"a specification must be a table of names, got {type(given).__name__}")
        _check_names("the specification", given, cls)
        return cls(**given)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ScoreSpec:
        r"""Read a specification from a .toml, .yaml or .json file.

        Raises
        ------
        FileFormatError, ParameterError, MissingDependencyError

        Examples
        --------
        >>> import os, tempfile
        >>> from fastals.scoring import ScoreSpec
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "score.toml")
        ...     with open(path, "w") as file:
        ...         _ = file.write("[signals.liked]\nweight = 3")
        ...     ScoreSpec.load(path).signals["liked"].weight
        3
        """
        name = check_path("path", path)
        given = read_settings_file(name)
        try:
            return cls.from_dict(given)
        except FastalsError as error:
            raise type(error)(f"{name}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain mappings without what is at its default: what :meth:`from_dict` reads.

        Examples
        --------
        >>> from fastals.scoring import ScoreSpec, Signal
        >>> ScoreSpec({"liked": Signal(weight=3)}, minimum=1).to_dict()
        {'minimum': 1, 'signals': {'liked': {'weight': 3}}}
        """
        plain = {key: value for key, value in _changed(self).items() if key != "signals"}
        signals: dict[str, Any] = {}
        for name, signal in self.signals.items():
            signals[name] = {key: value for key, value in _changed(signal).items() if (key, value) != ("column", name)}
        return plain | {"signals": signals}


def times_of(spec: ScoreSpec) -> Times:
    """Return how the times of the events are written."""
    return Times(spec.unit, spec.format, spec.timezone)


def moment(spec: ScoreSpec, name: str) -> int | None:
    """Return ``now``, ``since`` or ``until`` in nanoseconds since 1970; None where they depend on events or clock."""
    value = getattr(spec, name)
    if value is None or (value == "now" if name == "now" else is_span(value)):
        return None
    return times_of(spec).moment(name, value)


def _changed(instance: Any) -> dict[str, Any]:
    """Return what is not at its default, pairs as lists: as JSON has them."""
    values = {f.name: getattr(instance, f.name) for f in fields(instance) if getattr(instance, f.name) != f.default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _signal(name: str, given: Any) -> Signal:
    try:
        if isinstance(given, Mapping):
            _check_names("a signal", given, Signal)
            given = Signal(**given)
        if not isinstance(given, Signal):
            raise ParameterError(f"must be a Signal or a table of its parameters, got {given!r}")
    except FastalsError as error:
        raise type(error)(f"signal {name!r}: {error}") from None
    return given if given.column else Signal(name, *(getattr(given, f.name) for f in fields(Signal)[1:]))


def _check_names(what: str, given: Mapping[str, Any], cls: type) -> None:
    known = [f.name for f in fields(cls)]
    for name in given:
        if name not in known:
            raise ParameterError(f"{what} has no {name!r}; it may have {', '.join(known)}")
