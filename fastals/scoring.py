"""Raw events to one implicit score for each user and item.

An event is a row of a log: who, what, perhaps when, and any number of signals (seconds played, finished, liked, …).
Its score is the weighted sum of its signals,

    s = sum over signals of  weight * transform(clip(value / per)),

older events count less, by half for each ``half_life`` before ``now``,

    s' = s * 2 ** -((now - time) / half_life),

and the events of one user with one item are put together (``aggregate``), transformed once more (``total``) and left
out below ``minimum``. Scores do not depend on how the rows come in batches, nor on the number of threads: the events of
a pair are added in their order, in float64.

A specification is made in Python or read from TOML, YAML or JSON, and travels with the scores and inside the model::

    user = "user"
    item = "song"
    timestamp = "time"
    half_life = "30 days"
    minimum = 0.05
    [signals.share]
    column = "played_seconds"
    per = "song_seconds"
    clip = [0, 1]
    weight = 0.5
    [signals.liked]
    weight = 3
    [signals.skipped]
    column = "played_seconds"
    per = "song_seconds"
    transform = "below"
    at = 0.25
    weight = -1
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ._batches import BATCH_ROWS, FORMATS, Batch, Source
from ._exceptions import ArgumentTypeError, DataError, FastalsError, FileFormatError, ParameterError
from ._ids import Coded, StreamEncoder
from ._interactions import SCORING, Interactions, as_interactions
from ._readers import arrow_ids, choose_columns, has_pyarrow, is_frame
from ._storage import is_single_file, need, open_file, replacing, suffix_of
from ._threads import resolve_num_threads
from ._validation import check_choice, check_int, check_path, check_real, check_same_length, check_vector

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ScoreSpec", "Scores", "Signal", "score"]

AGGREGATES = ("sum", "mean", "max", "last")
TRANSFORMS = ("linear", "log1p", "saturate", "above", "below")
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "year": 31_557_600.0}

EACH_EVENT = "*"
"""The column that is one in every event."""

WRITTEN: dict[Any, Any] = {"": 0, "true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0, "FALSE": 0}
"""What text stands for that is no number, as Arrow reads it too."""

MEMORY_BYTES = 1 << 29
"""Events held in memory before they go to temporary files."""

PARTS = 64
"""Temporary files; each is put together by itself."""


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

    def _value(self, x: NDArray[np.float64], per: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if per is not None:
            x = np.divide(x, per, out=np.zeros_like(x), where=per != 0)
        low, high = self.clip
        if low is not None or high is not None:
            x = np.clip(x, low, high)
        return _transform(x, self.transform, self.at)


def _check_clip(clip: Any) -> tuple[float | None, float | None]:
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise ParameterError(f"clip must be a pair (low, high), either perhaps None, got {clip!r}")
    low, high = (None if bound is None or bound == "" else check_real("clip", bound) for bound in clip)
    if low is not None and high is not None and low > high:
        raise ParameterError(f"clip must be (low, high) with low <= high, got {clip!r}")
    return low, high


def _transform(x: NDArray[np.float64], name: str, at: float) -> NDArray[np.float64]:
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
            _seconds(self.half_life)
        if self.now is not None:
            _time(self.now)
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
        given = read_settings(name)
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


def _seconds(value: float | str) -> float:
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


def _time(value: Any) -> float:
    """Return seconds since 1970 of a number, a date or an ISO 8601 string."""
    try:
        return float(np.datetime64(value).astype("datetime64[us]").astype(np.int64)) / 1e6
    except (ValueError, TypeError):
        pass
    if isinstance(value, str):
        raise ParameterError(f"now must be seconds, or a date and time as 2025-04-01T12:00:00, got {value!r}")
    return check_real("now", value)


def read_settings(name: str) -> Any:
    """Return what a TOML, YAML or JSON file says."""
    kind = suffix_of(name)[0]
    if kind not in (".toml", ".yaml", ".yml", ".json"):
        raise FileFormatError(f"{name}: settings are read from .toml, .yaml and .json files")
    try:
        with open_file(name) as file:
            text = file.read().decode("utf-8")
        if kind == ".json":
            return json.loads(text)
        if kind == ".toml":
            if sys.version_info >= (3, 11):
                import tomllib
            else:
                need("cli", "tomli", "reading TOML")
                import tomli as tomllib
            return tomllib.loads(text)
        need("cli", "yaml", "reading YAML")
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error
    except ValueError as error:
        if isinstance(error, FastalsError):
            raise
        raise FileFormatError(f"{name}: cannot be read as {kind[1:]}: {error}") from error
    except OSError as error:
        raise FileFormatError(f"{name}: {error.strerror or error}") from error


# ----------------------------------------------------------------------------------------------------------------------
# from events to scores


def score(
    events: Any,
    spec: ScoreSpec | Mapping[str, Any],
    *,
    format: str | None = None,
    delimiter: str | None = None,
    columns: Sequence[str] | None = None,
    memory: int = MEMORY_BYTES,
    num_threads: int | None = None,
    progress: bool | None = None,
) -> Scores:
    """Score raw events, however many, in bounded memory.

    Parameters
    ----------
    events : path, list of paths, or data frame
        CSV, JSON lines or Parquet: files, directories (hive-partitioned too), local or as hdfs://, s3://, gs://; or a
        pandas, polars or Arrow table, or a mapping of column names to arrays.
    spec : ScoreSpec, or a mapping as :meth:`ScoreSpec.from_dict` reads it
    format, delimiter, columns : optional
        "csv", "json" or "parquet" where the names of files do not tell; the character between columns of CSV; the
        names of the columns of CSV without a header line.
    memory : int, default 512 MB
        Bytes of scored events that are held before they go to temporary files. The distinct users and items are held
        besides.
    num_threads : int, optional
        Default: all allowed cores.
    progress : bool, optional
        Show a count of the rows; by default where standard error is a terminal.

    Returns
    -------
    Scores

    Notes
    -----
    Without pyarrow (``pip install 'fastals[io]'``) only mappings and one local CSV file are read, in memory.

    Raises
    ------
    DataError
        A column that is missing, an empty id, a value that is no number: names file, row and column.
    FileFormatError, ParameterError, MissingDependencyError

    Examples
    --------
    >>> from fastals.scoring import score
    >>> events = {"user": ["ann", "bob", "ann"], "item": ["x", "x", "x"], "plays": [1, 2, 5]}
    >>> score(events, {"signals": {"plays": {"transform": "log1p"}}}).n_events
    3
    """
    spec = spec if isinstance(spec, ScoreSpec) else ScoreSpec.from_dict(spec)
    check_int("memory", memory, low=1)
    from tqdm import tqdm

    name = "events"
    if isinstance(events, (str, os.PathLike)) and not has_pyarrow() and is_single_file(events):
        name = check_path("events", events)
        events = _read_plain_csv(name, delimiter or ",")
    text_ids = name != "events"
    batches: Iterator[Batch]
    if isinstance(events, (str, os.PathLike, list, tuple)):
        source = Source(events, format=format, delimiter=delimiter, columns=columns)
        text_ids = source.format == "csv"
        plan = _Plan(spec, source.schema.names, source.schema, source.files[0], text_ids=text_ids)
        batches = source.batches(plan.types)
    elif hasattr(events, "__arrow_c_stream__") and has_pyarrow():
        table = _arrow_table(events)
        plan = _Plan(spec, table.column_names, table.schema, name)
        batches = _table_batches(table, plan.types)
    else:
        arrays = _arrays(events)
        plan = _Plan(spec, list(arrays), None, name, text_ids=text_ids)
        batches = iter([Batch(name, 1, _Plain({column: arrays[column] for column in plan.types}))])
    collected = _Events(text_ids, memory, resolve_num_threads(num_threads), spec.timestamp is not None)
    try:
        with tqdm(desc="score", unit="row", unit_scale=True, disable=None if progress is None else not progress) as bar:
            for scored in _in_parallel(plan, collected, batches):
                collected.add(scored)
                bar.update(len(scored))
    except BaseException:
        collected.close()
        raise
    return Scores(spec, plan, collected)


class _Plan:
    """Which columns are read, as what, and how a batch of them is scored."""

    types: dict[str, Any]
    """What each column is read as: an Arrow type, None where there is no Arrow."""

    def __init__(
        self, spec: ScoreSpec, names: Sequence[str], schema: pa.Schema | None, file: str, *, text_ids: bool = False
    ) -> None:
        self.spec = spec
        try:
            self.user, self.item, _ = choose_columns(names, spec.user, spec.item, "")
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        read = [(f"signal {name!r}", column) for name, s in spec.signals.items() for column in (s.column, s.per)]
        self.signals = {column: what for what, column in read if column and column != EACH_EVENT}
        wanted = [*self.signals.items(), *([(spec.timestamp, "the timestamp")] if spec.timestamp else [])]
        for column, what in wanted:
            if column in (self.user, self.item):
                raise ParameterError(f"{what} reads column {column!r}, which holds ids")
            if column not in names:
                raise DataError(
                    f"{file}: {what} of the specification reads column {column!r}, which is not there; the columns are "
                    + ", ".join(map(repr, names))
                )
        if schema is None:
            self.types = dict.fromkeys((self.user, self.item, *(column for column, _ in wanted)))
        else:
            self.types = self._arrow_types(schema, text_ids)

    def _arrow_types(self, schema: pa.Schema, text_ids: bool) -> dict[str, Any]:
        import pyarrow as pa

        def kind(name: str) -> Any:
            found = schema.field(name).type
            return found.value_type if pa.types.is_dictionary(found) else found

        types = {name: pa.string() if text_ids else kind(name) for name in (self.user, self.item)}
        for name in self.signals:
            types[name] = pa.bool_() if pa.types.is_boolean(kind(name)) else pa.float64()
        if (time := self.spec.timestamp) is not None:
            number = pa.types.is_integer(kind(time)) or pa.types.is_floating(kind(time))
            types[time] = pa.float64() if number else pa.timestamp("us")
        return types

    def score(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the scores of the events, not aged yet, and their times."""
        values = {name: self._numbers(batch, name) for name in self.signals}
        total = np.zeros(len(batch.rows))
        for signal in self.spec.signals.values():
            x = np.ones(len(batch.rows)) if signal.column == EACH_EVENT else values[signal.column]
            total += signal.weight * signal._value(x, values[signal.per] if signal.per else None)
        if not np.isfinite(total).all():
            self._refuse(batch, "the signals", int(np.argmin(np.isfinite(total))), "the score overflows float64")
        return total, None if self.spec.timestamp is None else self._times(batch, self.spec.timestamp)

    def _numbers(self, batch: Batch, name: str) -> NDArray[np.float64]:
        column = batch.rows.column(name)
        if isinstance(column, np.ndarray):
            return self._finite(batch, name, self._plain_numbers(batch, name, column))
        if str(column.type) == "bool":
            column = column.cast("uint8")
        if column.null_count:
            column = column.fill_null(0)
        return self._finite(batch, name, column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))

    def _plain_numbers(self, batch: Batch, name: str, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers, of text too."""
        try:
            if column.dtype.kind in "OU":
                column = np.array([WRITTEN.get(value, value) for value in column.tolist()], dtype=object)
            numbers: NDArray[np.float64] = column.astype(np.float64)
            return numbers
        except (ValueError, TypeError):
            for at, value in enumerate(column.tolist()):
                try:
                    float(WRITTEN.get(value, value))
                except (ValueError, TypeError):
                    self._refuse(batch, f"column {name!r}", at, f"{value!r} is no number")
            raise

    def _finite(self, batch: Batch, name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        finite = np.isfinite(numbers)
        if not finite.all():
            at = int(np.argmin(finite))
            self._refuse(batch, f"column {name!r}", at, f"{numbers[at]} is no finite number")
        return numbers

    def _times(self, batch: Batch, name: str) -> NDArray[np.float64]:
        column = batch.rows.column(name)
        if isinstance(column, np.ndarray):
            missing = (
                np.isnat(column)
                if column.dtype.kind == "M"
                else np.array([value in ("", None) for value in column.tolist()])
            )
        else:
            missing = np.asarray(column.is_null())
        if missing.any():
            self._refuse(batch, f"column {name!r}", int(np.argmax(missing)), "the time is missing")
        if not isinstance(column, np.ndarray):
            if str(column.type).startswith("timestamp"):
                return _seconds_of(np.asarray(column.cast("int64")))
            return self._numbers(batch, name)
        if column.dtype.kind in "OU":
            try:
                column = column.astype("datetime64[us]")
            except (ValueError, TypeError):
                return self._numbers(batch, name)
        if column.dtype.kind == "M":
            return _seconds_of(column.astype("datetime64[us]").astype(np.int64))
        return self._numbers(batch, name)

    def ids(self, batch: Batch, name: str) -> Any:
        """Return a column of ids none of which is missing or empty, as StreamEncoder takes it."""
        column, ids = batch.rows.column(name), None
        if isinstance(column, np.ndarray):
            missing, ids = column == "" if column.dtype.kind in "OUS" else np.zeros(1, bool), column
        else:
            missing = np.asarray(column.is_null() if column.null_count else _empty(column))
            ids = None if missing.any() else arrow_ids(f"column {name!r}", _chunked(column))
        if np.any(missing):
            self._refuse(batch, f"column {name!r}", int(np.argmax(missing)), "the id is missing")
        return ids

    def _refuse(self, batch: Batch, column: str, at: int, what: str) -> None:
        raise DataError(f"{batch.file}: row {batch.first + at}, {column}: {what}")


def _seconds_of(microseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    seconds: NDArray[np.float64] = microseconds / 1e6
    return seconds


def _empty(column: pa.Array) -> Any:
    """Return where text is empty; nowhere in a column of other things."""
    from pyarrow import compute

    if str(column.type) not in ("string", "large_string") or compute.min(compute.binary_length(column)).as_py() != 0:
        return np.zeros(1, bool)
    return compute.equal(column, "")


def _chunked(column: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([column])


class _Plain:
    """Columns as NumPy arrays, where there is no Arrow."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> NDArray[Any]:
        return self.columns[name]


def _arrays(frame: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a mapping, or of a frame that knows no Arrow, as vectors of one length."""
    if not is_frame(frame):
        raise ArgumentTypeError(
            f"events must be a path, a list of paths, a data frame or a mapping of arrays, got {type(frame).__name__}"
        )
    names = list(frame if isinstance(frame, Mapping) else frame.columns)
    arrays = {name: check_vector(f"column {name!r}", frame[name]) for name in names}
    check_same_length({f"column {name!r}": array for name, array in arrays.items()})
    return arrays


def _arrow_table(frame: Any) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"events: cannot be read as a table: {' '.join(str(error).split())}") from error


def _table_batches(table: pa.Table, types: Mapping[str, Any]) -> Iterator[Batch]:
    """Yield the columns of a table in memory as those of a file."""
    import pyarrow as pa

    columns = []
    for name, kind in types.items():
        try:
            columns.append(table[name].cast(kind))
        except pa.ArrowException as error:
            raise DataError(f"events: column {name!r}: {' '.join(str(error).split())}") from error
    first = 1
    for rows in pa.table(columns, names=list(types)).to_batches(max_chunksize=BATCH_ROWS):
        yield Batch("events", first, rows)
        first += len(rows)


def _read_plain_csv(name: str, delimiter: str) -> dict[str, NDArray[Any]]:
    """Return the columns of a CSV file as text, all of it in memory: what is done without pyarrow."""
    if FORMATS.get(suffix_of(name)[0]) != "csv":
        need("io", "pyarrow", "reading anything but CSV")
    try:
        with open_file(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, delimiter=delimiter)
            header = next(filter(None, rows), None)
            if header is None:
                raise FileFormatError(f"{name}: the file is empty")
            columns: list[list[str]] = [[] for _ in header]
            for row in filter(None, rows):
                if len(row) != len(header):
                    raise FileFormatError(
                        f"{name}: line {rows.line_num} has {len(row)} fields, but the header {len(header)}"
                    )
                for column, text in zip(columns, row, strict=True):
                    column.append(text)
    except FastalsError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise FileFormatError(f"{name}: cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from error
    return {name: np.array(column, dtype=object) for name, column in zip(header, columns, strict=True)}


def _in_parallel(plan: _Plan, collected: _Events, batches: Iterator[Batch]) -> Iterator[NDArray[np.void]]:
    """Score and encode: a batch's users, items and signals at the same time, and a few batches at once, in order.

    Each of the two tables of ids sees the batches in their order, so that codes do not depend on the threads.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    ahead: deque[tuple[Future[Any], ...]] = deque()

    def finish() -> NDArray[np.void]:
        users, items, signals = ahead.popleft()
        scores, times = signals.result()  # first: its errors name the row
        records = np.empty(len(scores), collected.record)
        records["user"], records["item"], records["score"] = users.result(), items.result(), scores
        if times is not None:
            records["time"] = times
        return records

    def encode(encoder: StreamEncoder, column: str, batch: Batch) -> NDArray[np.int32]:
        return encoder.encode(plan.ids(batch, column))

    with ThreadPoolExecutor(1) as users, ThreadPoolExecutor(1) as items, ThreadPoolExecutor(collected.threads) as pool:
        try:
            for batch in batches:
                ahead.append(
                    (
                        users.submit(encode, collected.users, plan.user, batch),
                        items.submit(encode, collected.items, plan.item, batch),
                        pool.submit(plan.score, batch),
                    )
                )
                if len(ahead) > collected.threads:
                    yield finish()
            while ahead:
                yield finish()
        except BaseException:
            for task in ahead:
                for future in task:
                    future.cancel()
            raise


class _Events:
    """Scored events in the order in which they came, in memory or in temporary files by user."""

    def __init__(self, numeric: bool, memory: int, threads: int, timed: bool) -> None:
        self.users, self.items = StreamEncoder("user ids", numeric), StreamEncoder("item ids", numeric)
        self.memory, self.threads = memory, threads
        self.record = np.dtype(
            [("user", np.int32), ("item", np.int32), ("score", np.float64)] + [("time", np.float64)] * timed
        )
        self.held: list[NDArray[np.void]] = []
        self.count = 0
        self.newest, self.closed = -np.inf, False
        self.directory: tempfile.TemporaryDirectory[str] | None = None

    def add(self, records: NDArray[np.void]) -> None:
        if not len(records):
            return
        self.held.append(records)
        self.count += len(records)
        if "time" in (self.record.names or ()):
            self.newest = max(self.newest, float(records["time"].max()))
        if sum(held.nbytes for held in self.held) > self.memory:
            self._spill()

    def _spill(self) -> None:
        """Append what is held to the files: events of a user always to the same one."""
        if self.directory is None:
            self.directory = tempfile.TemporaryDirectory(prefix="fastals-score-")
        parts = [(records["user"] % PARTS).astype(np.uint8) for records in self.held]
        pieces = [
            np.split(records[np.argsort(part, kind="stable")], np.bincount(part, minlength=PARTS).cumsum()[:-1])
            for records, part in zip(self.held, parts, strict=True)
        ]
        self.held = []
        for number, some in enumerate(zip(*pieces, strict=True)):
            if any(map(len, some)):
                with open(self._file(number), "ab") as file:
                    np.concatenate(some).tofile(file)

    def _file(self, number: int) -> str:
        assert self.directory is not None
        return os.path.join(self.directory.name, str(number))

    def parts(self) -> Iterator[NDArray[np.void]]:
        """Yield the events, all of a user's in one part, in their order."""
        if self.closed:
            raise ParameterError("these scores are closed: their events are gone")
        if self.directory is None:
            if self.held:
                self.held = [np.concatenate(self.held)]
                yield self.held[0]
            return
        self._spill()
        for number in range(PARTS):
            if os.path.exists(self._file(number)):
                yield np.fromfile(self._file(number), self.record)

    def close(self) -> None:
        self.held, self.closed = [], True
        if self.directory is not None:
            self.directory.cleanup()


def _arrow_labels(labels: NDArray[Any], *, text: bool) -> pa.Array:
    """Return labels as an Arrow array; ``text``: UUIDs in their usual form."""
    import pyarrow as pa

    if len(labels) and isinstance(labels[0], UUID):
        if text:
            return pa.array([str(label) for label in labels.tolist()])
        return pa.array([label.bytes for label in labels.tolist()], pa.uuid())
    return pa.array(labels)


class Scores:
    """One score for each user and item that have one; made by :func:`score`.

    Attributes
    ----------
    spec : ScoreSpec
        With ``now`` filled in where events age.
    n_events : int
    n_users, n_items : int
        Distinct ones among the events.

    Examples
    --------
    >>> from fastals.scoring import score
    >>> score({"user": ["ann", "bob", "ann"], "item": ["x", "x", "x"]}, {"signals": {"*": {}}})
    <Scores: 3 events of 2 users with 1 items>
    """

    def __init__(self, spec: ScoreSpec, plan: _Plan, events: _Events) -> None:
        self._plan, self._events = plan, events
        self._now = 0.0
        if spec.half_life is not None:
            self._now = events.newest if spec.now is None else _time(spec.now)
            if events.count:
                spec = ScoreSpec(**{f.name: getattr(spec, f.name) for f in fields(spec)} | {"now": self._now})
        self.spec = spec
        self._users, self._items = events.users.labels(), events.items.labels()
        self.n_events, self.n_users, self.n_items = events.count, len(self._users), len(self._items)

    def __repr__(self) -> str:
        return f"<Scores: {self.n_events} events of {self.n_users} users with {self.n_items} items>"

    def __enter__(self) -> Scores:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files, if there are any; they also go when the object does.

        Examples
        --------
        >>> from fastals.scoring import score
        >>> with score({"user": [1], "item": [2]}, {"signals": {"*": {}}}) as scores:
        ...     print(scores)
        <Scores: 1 events of 1 users with 1 items>
        """
        self._events.close()

    def _parts(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]]:
        """Yield codes of users and items with their score, the users of a part in no other."""
        for part in self._events.parts():
            users, items, values = self._aggregate(part)
            values = _transform(values, self.spec.total, self.spec.at)
            if self.spec.minimum is not None:
                kept = values >= self.spec.minimum
                users, items, values = users[kept], items[kept], values[kept]
            with np.errstate(over="ignore"):
                short = values.astype(np.float32)
            if not np.isfinite(short).all():
                raise DataError("a score is beyond float32's range, 3.4e38: make the weights smaller")
            yield users, items, short

    def _aggregate(self, events: NDArray[np.void]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        spec, values = self.spec, events["score"]
        if spec.half_life is not None:
            age = np.maximum(self._now - events["time"], 0)
            values = values * np.exp2(-age / _seconds(spec.half_life))
        columns = [np.ascontiguousarray(column) for column in (events["user"], events["item"], values)]
        if spec.aggregate == "last":
            order = np.argsort(events["time"], kind="stable")
            columns = [column[order] for column in columns]
        cells = as_interactions(
            tuple(columns), duplicates=spec.aggregate, dtype="float64", num_threads=self._events.threads
        )
        assert cells.users is not None
        assert cells.items is not None
        rows = np.repeat(cells.users.astype(np.int32), np.diff(cells.indptr))
        return rows, cells.items.astype(np.int32)[cells.indices], cells.values

    def interactions(self) -> Interactions:
        """Return the scores in the form that models are trained on; they must fit into memory, 12 bytes each.

        Raises
        ------
        DataError
            No score is left.

        Examples
        --------
        >>> from fastals.scoring import score
        >>> events = {"user": ["ann", "bob", "ann"], "item": ["x", "x", "x"], "plays": [1, 2, 5]}
        >>> score(events, {"signals": {"plays": {}}}).interactions()
        <Interactions: 2 users x 1 items, 2 cells, float32>
        """
        parts = list(self._parts())
        if not sum(len(part[2]) for part in parts):
            raise DataError(
                f"no score is left of {self.n_events} events"
                + ("" if self.spec.minimum is None else f": none is at least minimum={self.spec.minimum}")
            )
        users, items, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        parts.clear()
        data = as_interactions((Coded(users, self._users), Coded(items, self._items), values), duplicates="error")
        data.scoring = self.spec.to_dict()
        return data

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write the scores to a Parquet or CSV file, with the specification inside (Parquet); returns their number.

        Columns: the users' and the items' as in the events, and "score". In bounded memory.

        Raises
        ------
        OSError
            The file cannot be written; nothing is left behind then.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastals.scoring import score
        >>> events = {"user": ["ann", "bob", "ann"], "item": ["x", "x", "x"], "plays": [1, 2, 5]}
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     score(events, {"signals": {"plays": {}}}).write(os.path.join(directory, "scores.parquet"))
        2
        """
        import pyarrow as pa
        from pyarrow import csv, parquet

        name = check_path("path", path)
        kind = suffix_of(name)
        if kind not in ((".parquet", ""), (".csv", "")):
            raise ParameterError(f"path must end in .parquet or .csv, got {name!r}")
        users, items = (_arrow_labels(labels, text=kind[0] == ".csv") for labels in (self._users, self._items))
        schema = pa.schema(
            [(self._plan.user, users.type), (self._plan.item, items.type), ("score", pa.float32())],
            metadata={SCORING: json.dumps(self.spec.to_dict()).encode()},
        )
        n = 0
        with replacing(name) as temporary:
            writers = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}
            with writers[kind[0]](temporary, schema) as writer:
                for user_codes, item_codes, values in self._parts():
                    columns = [users.take(pa.array(user_codes)), items.take(pa.array(item_codes)), pa.array(values)]
                    writer.write_table(pa.table(columns, schema=schema))
                    n += len(values)
        return n
