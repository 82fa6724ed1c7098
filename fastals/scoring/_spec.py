"""Specifications of scores: what :mod:`fastals.scoring` does with raw events, as data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import FastalsError, ParameterError, check_choice, check_path, check_real
from .._files import read_settings_file

AGGREGATES = ("sum", "mean", "max", "last")
TRANSFORMS = ("linear", "log1p", "saturate", "above", "below")
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "year": 31_557_600.0}

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

    Examples
    --------
    >>> from fastals.scoring import Signal
    >>> Signal("played", per="duration", clip=(0, 1), weight=0.5).per
    'duration'
    """

    column: str = ""
    weight: float = 1.0
    per: str | None = None
    clip: tuple[float | None, float | None] = (None, None)
    transform: str = "linear"
    at: float = 1.0

    def __post_init__(self) -> None:
        check_real("weight", self.weight)
        for name, value in (("column", self.column), ("per", self.per or "")):
            if not isinstance(value, str):
                raise ParameterError(f"{name} must be the name of a column, got {value!r}")
        check_choice("transform", self.transform, TRANSFORMS)
        check_real("at", self.at, low=0, low_open=self.transform == "saturate")
        object.__setattr__(self, "clip", _check_clip(self.clip))


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
        Column of times: dates and times, or numbers, which are seconds. Needed by ``half_life`` and by
        ``aggregate="last"``.
    half_life : float or str, optional
        Seconds, or such as "30 days", after which an event counts half. None: events do not age.
    now : float or str, optional
        The time that ages are counted to: seconds since 1970, or such as "2025-04-01T12:00:00" in UTC. None: the time
        of the newest event. Events that lie behind it have age 0.
    aggregate : {"sum", "mean", "max", "last"}
        Of the scores of one user's events with one item; "last": that of the latest ``timestamp``.
    total : {"linear", "log1p", "saturate"}
        Transform of the aggregate, as in :class:`Signal`.
    at : float, default 1
        Where "saturate" is half.
    minimum : float, optional
        Pairs below it are left out. None: all stay, those below 0 too.

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
            seconds(self.half_life)
        if self.now is not None:
            seconds_since_1970(self.now)
        check_choice("aggregate", self.aggregate, AGGREGATES)
        check_choice("total", self.total, TRANSFORMS[:3])
        check_real("at", self.at, low=0, low_open=True)
        if self.minimum is not None:
            check_real("minimum", self.minimum)
        for what in ("half_life",) * (self.half_life is not None) + ("aggregate='last'",) * (self.aggregate == "last"):
            if self.timestamp is None:
                raise ParameterError(f"{what} needs timestamp: the column of the events' times")

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
        ...     ScoreSpec.load(path).signals
        {'liked': Signal(column='liked', weight=3, per=None, clip=(None, None), transform='linear', at=1.0)}
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
            if "clip" in signals[name]:
                signals[name]["clip"] = list(signals[name]["clip"])
        return plain | {"signals": signals}


def _changed(instance: Any) -> dict[str, Any]:
    return {f.name: getattr(instance, f.name) for f in fields(instance) if getattr(instance, f.name) != f.default}


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


def seconds(value: float | str) -> float:
    """Return the seconds of a number, or of such as "30 days"."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-z]+?)s?\s*", value)
        try:
            assert found is not None
            value = float(found[1]) * UNITS[found[2]]
        except (AssertionError, ValueError, KeyError):
            raise ParameterError(
                f"half_life must be seconds, or such as '30 days' ({', '.join(UNITS)}), got {value!r}"
            ) from None
    return check_real("half_life", value, low=0, low_open=True)


def seconds_since_1970(value: Any) -> float:
    """Return seconds since 1970 of a number, a date or an ISO 8601 string."""
    try:
        return float(np.datetime64(value).astype("datetime64[us]").astype(np.int64)) / 1e6
    except (ValueError, TypeError):
        pass
    if isinstance(value, str):
        raise ParameterError(f"now must be seconds, or a date and time as 2025-04-01T12:00:00, got {value!r}")
    return check_real("now", value)
