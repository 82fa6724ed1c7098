"""Scores of whole logs: batches of events read, scored and put together."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import LOGGER, DataError, ParameterError, check_int, check_path, resolve_num_threads
from .._data import (
    KNOWN,
    SCORE,
    SCORING,
    SUMMED,
    Coded,
    Interactions,
    arrow_columns,
    as_interactions,
    contains,
    distinct,
)
from .._files import (
    OF_ALL_EVENTS,
    Batch,
    Plain,
    Source,
    bad_rows_of,
    is_stream,
    open_stream,
    plain,
    replacing,
    seconds_of,
    span_seconds,
    suffix_of,
)
from ._events import Events, arrays_of, in_parallel, stream_batches
from ._kept import Kept
from ._plan import Plan
from ._spec import ScoreSpec, transform
from ._summary import later_events, notes_of, odd_notes, summary_of
from ._update import Updated, check_updatable, take_in

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Unpack

    from .._files import Reading

MEMORY_BYTES = 1 << 29
"""Events held in memory before they go to temporary files."""


def score(
    events: Any,
    spec: ScoreSpec | Mapping[str, Any],
    *,
    format: str | None = None,
    memory: int = MEMORY_BYTES,
    num_threads: int | None = None,
    progress: bool | None = None,
    **reading: Unpack[Reading],
) -> Scores:
    """Score raw events, however many, in bounded memory.

    Parameters
    ----------
    events : path, list of paths, SQL, or data frame
        CSV, JSON lines or Parquet: files, directories (hive-partitioned too), local or as hdfs://, s3://, gs://; or an
        :class:`SQL` query over files; or a pandas, polars (lazy, too) or Arrow table, or whatever else gives a stream
        of Arrow (``__arrow_c_stream__``: a DuckDB relation, a reader of batches), which is read once, batch by batch;
        or a mapping of column names to arrays.
    spec : ScoreSpec, or a mapping as :meth:`ScoreSpec.from_dict` reads it
    format : {"csv", "json", "parquet"}, optional
        Where the names of files do not tell.
    memory : int, default 512 MB
        Bytes of scored events that are held before they go to temporary files. The distinct users and items are held
        besides.
    num_threads : int, optional
        Default: all allowed cores.
    progress : bool, optional
        Show a count of the rows; by default where standard error is a terminal.
    delimiter, columns, quoting, escape, encoding, decimal, nulls, comment : optional
        How text files are written, as in :meth:`fastals.Interactions.from_csv`.
    ids, on_bad_rows, max_bad_rows : optional
        As there; ``ids`` in place of the specification's. Rows whose times or signals cannot be read are bad too.

    Returns
    -------
    Scores

    Notes
    -----
    Without pyarrow (``pip install 'fastals[io]'``) only mappings and one local CSV file are read.

    Raises
    ------
    DataError
        A column that is missing, an empty id, a value that is no number or no time: names file, row and column.
    FileFormatError, ParameterError, MissingDependencyError

    Warns
    -----
    UserWarning
        Events are later than the clock, or a value that a signal looks for (``equals``) never occurs.

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

    bad_rows = bad_rows_of(reading)
    if reading.get("ids") is not None:
        spec = replace(spec, ids=reading["ids"])
    batches: Iterator[Batch]
    if isinstance(events, (str, os.PathLike, list, tuple)):
        source = Source(events, format=format, bad_rows=bad_rows, **(reading | {"ids": spec.ids}))
        plan = Plan.of_files(spec, source)
        batches = source.batches(plan.types, ids=(plan.user, plan.item), optional=plan.optional)
    else:
        for name in reading.keys() - {*OF_ALL_EVENTS}:
            if reading[name] is not None:  # type: ignore[literal-required]
                raise ParameterError(f"{name} has a meaning for files alone, got {type(events).__name__}")
        if is_stream(events):
            stream = open_stream(arrow_columns(events), num_threads)
            plan = Plan(spec, stream.schema.names, stream.schema, stream.name, bad_rows)
            batches = stream_batches(stream, plan.types, bad_rows)
        else:
            arrays = arrays_of(events)
            plan = Plan(spec, list(arrays), None, "events", bad_rows, arrays=arrays)
            batches = iter([Batch("events", 1, Plain({column: arrays[column] for column in plan.types}))])
        batches = bad_rows.counted(batches)
    LOGGER.info("scoring %s: columns %s", plan.file, ", ".join(plan.types))
    collected = Events(plan, memory, resolve_num_threads(num_threads))
    try:
        with tqdm(desc="score", unit="row", unit_scale=True, disable=None if progress is None else not progress) as bar:
            for scored in in_parallel(plan, collected, batches):
                collected.add(scored)
                bar.update(len(scored))
        bad_rows.end()
    except BaseException:
        collected.close()
        raise
    scores = Scores(spec, plan, collected)
    for note in [*odd_notes(scores.summary(), spec), *([str(bad_rows)] if bad_rows.count else [])]:
        warnings.warn(note, stacklevel=2)
    return scores


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
        With ``now`` filled in where times are compared with it.
    n_events : int
    n_users, n_items : int
        Distinct ones among the events.
    n_later : int
        Events later than ``now``, which have age 0.
    bad_rows : BadRows or None
        What was passed over, with ``on_bad_rows="skip"``.

    Examples
    --------
    >>> from fastals.scoring import score
    >>> score({"user": ["ann", "bob", "ann"], "item": ["x", "x", "x"]}, {"signals": {"*": {}}})
    <Scores: 3 events of 2 users with 1 items>
    """

    def __init__(self, spec: ScoreSpec, plan: Plan, events: Events) -> None:
        self._plan, self._events = plan, events
        self._users, self._items = events.users.labels(), events.items.labels()
        self._summed = False
        self.n_events, self.n_users, self.n_items = events.count, len(self._users), len(self._items)
        self.bad_rows = plan.bad_rows if plan.bad_rows.skip else None
        self.spec, self.n_later = spec, later_events(events)
        if plan.period.dated and events.count:
            self.spec = replace(spec, now=plain(plan.period.now))
        try:
            self._kept = Kept(plan.period, events.parts, (self.n_users, self.n_items))
        except BaseException:
            events.close()
            raise

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

    def summary(self) -> dict[str, Any]:
        """Return what was read and what was passed over, as JSON has it.

        Returns
        -------
        dict
            "events", "users", "items": read. "now": that ages are counted to, None where nothing is compared with it.
            "later_events": counted, with age 0. Left out: "events_before_since", "events_from_until_on",
            "events_of_no_signal" (where all signals have ``equals``), "users_above_max_user_events",
            "items_below_min_item_events", "users_below_min_user_events"; "bad_rows": "count", of "rows", by "kinds".
            "types": by column, for each value (None: it is missing) "value", "events" and the names of its "signals".
            "types_never_met": by column, what signals look for in vain.

        Examples
        --------
        >>> from fastals.scoring import score
        >>> log = {"user": ["ann", "ann", "bob"], "item": ["x", "x", "y"], "event": ["view", "buy", "view"]}
        >>> summary = score(log, {"signals": {"buy": {"column": "event", "equals": "buy"}}}).summary()
        >>> summary["events"], summary["events_of_no_signal"]
        (3, 2)
        """
        return summary_of(self._events, self._kept, (self.n_users, self.n_items))

    def notes(self) -> list[str]:
        """Return a line of text for each thing of the summary that one should know.

        Examples
        --------
        >>> from fastals.scoring import score
        >>> log = {"user": ["ann", "ann", "bob"], "item": ["x", "x", "y"], "event": ["view", "buy", "view"]}
        >>> score(log, {"signals": {"buy": {"column": "event", "equals": "buy"}}}).notes()[1]
        "column 'event': no signal names 'view' (2)"
        """
        bad = self._events.bad_rows
        return [*([str(bad)] if bad.count else []), *notes_of(self.summary(), self.spec)]

    def _parts(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]]:
        """Yield codes of users and items with their score, the users of a part in no other.

        A score of NaN is none: the pair has met, and that is all there is to know.
        """
        for events in self._events.parts():
            part, been = self._kept.of(events)
            users, items, values = part["user"], part["item"], part["score"]
            if len(part):
                users, items, values = self._aggregate(part)
            values = transform(values, self.spec.total, self.spec.at)
            with np.errstate(over="ignore"):
                short = values.astype(np.float32)
            if self.spec.minimum is not None:
                short[values < self.spec.minimum] = np.nan
            if np.isinf(short).any():
                raise DataError("a score is beyond float32's range, 3.4e38: make the weights smaller")
            yield users, items, short
            if len(been):
                yield self._unscored(been, users, items)

    def _unscored(
        self, events: NDArray[np.void], users: NDArray[np.int32], items: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """Return the pairs of events that have no score, without those given, as :meth:`_parts` yields them."""
        numbers, given = (
            np.sort(rows * np.int64(self.n_items) + columns)
            for rows, columns in ((events["user"], events["item"]), (users, items))
        )
        numbers = distinct(numbers)
        rows, columns = np.divmod(numbers[~contains(given, numbers)], self.n_items)
        return rows.astype(np.int32), columns.astype(np.int32), np.full(len(rows), np.nan, np.float32)

    def _aggregate(self, events: NDArray[np.void]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        spec, values = self.spec, events["score"]
        if spec.half_life is not None:
            age = np.maximum(seconds_of(self._plan.period.now) - seconds_of(events["time"]), 0)
            values = values * np.exp2(-age / span_seconds("half_life", spec.half_life))
        columns = [np.ascontiguousarray(column) for column in (events["user"], events["item"], values)]
        if spec.aggregate == "last":
            order = np.argsort(events["time"], kind="stable")
            columns = [column[order] for column in columns]
        cells = as_interactions(
            tuple(columns), duplicates=spec.aggregate, dtype="float64", num_threads=self._events.threads
        )
        self._summed = self._summed or cells.summed
        assert cells.users is not None
        assert cells.items is not None
        rows = np.repeat(cells.users.astype(np.int32), np.diff(cells.indptr))
        return rows, cells.items.astype(np.int32)[cells.indices], cells.values

    def interactions(self) -> Interactions:
        """Return the scores in the form that models are trained on; they must fit into memory, 12 bytes each.

        A pair of a user and an item that has events and no score (it is below ``minimum``) is
        :attr:`~fastals.Interactions.known`: models are not trained on it, and their lists leave it out, so that nobody
        is recommended what they had or disliked. Users and items are those of the scores.

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
        if all(np.isnan(part[2]).all() for part in parts):
            least = self.spec.minimum
            reasons = [] if least is None else [f"none is at least minimum={least}"]
            why = "; ".join([*reasons, *self.notes()[:3]])
            raise DataError(f"no score is left of {self.n_events} events{why and ': '}{why}")
        users, items, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        parts.clear()
        columns = Coded(users, self._users), Coded(items, self._items), values
        data = as_interactions(columns, duplicates="error", unscored=True)
        data.scoring, data.summed = self.spec.to_dict(), self._summed
        return data

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write the scores to a Parquet or CSV file; returns their number.

        Parquet holds the specification besides, and whether several of a user's events with an item were added:
        models of ratings refuse such scores.

        Columns: the users' and the items' as in the events, and "score". A pair that has events and no score (it is
        below ``minimum``) has a row too: null in Parquet; empty in CSV, which then has one more column, "known": true
        in these rows, false in others. :meth:`Interactions.from_parquet` and :meth:`Interactions.from_csv` read such
        rows as :attr:`~fastals.Interactions.known`. In bounded memory.

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
        flagged = kind[0] == ".csv" and (self.spec.minimum is not None or self._kept.drops)
        schema = pa.schema(
            [
                (self._plan.user, users.type),
                (self._plan.item, items.type),
                (SCORE, pa.float32()),
                *([(KNOWN, pa.bool_())] if flagged else []),
            ],
            metadata={SCORING: json.dumps(self.spec.to_dict()).encode()},
        )
        n = 0
        with replacing(name) as temporary:
            writers = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}
            with writers[kind[0]](temporary, schema) as writer:
                for user_codes, item_codes, values in self._parts():
                    missing = np.isnan(values)
                    columns = [users.take(pa.array(user_codes)), items.take(pa.array(item_codes))]
                    columns += [pa.array(values, mask=missing), *([pa.array(missing)] if flagged else [])]
                    writer.write_table(pa.table(columns, schema=schema))
                    n += len(values) - int(missing.sum())
                if self._summed and kind[0] == ".parquet":
                    writer.add_key_value_metadata({SUMMED: b"true"})
        return n


def update(model: Any, events: Any, *, now: float | str | None = None, passes: int = 2, **reading: Any) -> Updated:
    """Take new raw events into a model that was trained on scores, by the specification it holds.

    The new events are scored as those before, at a later ``now``; the history's scores are aged to that time, by half
    for each half-life; both are put together, and the rows that have changed are solved again, as
    :meth:`ImplicitALS.partial_fit` does. The scores are then those of all events scored together (but for rounding)
    where no event lay behind the ``now`` of its scoring, since its age had been 0, and where there is no ``minimum``.
    Of a pair that had been below it the score is not known any more: when new events come to it, it counts as 0; where
    a signal has a weight below 0, so that it may have been anything, the pair stays out, known only, until the next
    whole fit, and is counted. Pairs that fall below the minimum now become known pairs.

    Rows without a new event keep their factors, which were made of younger scores: that is for the next whole fit, as
    is all that ``updated`` measures.

    Parameters
    ----------
    model : ImplicitALS or ExplicitALS
        With its history. It is changed in place, or stays as it was where an error is raised.
    events : path, list of paths, or data frame
        New events only, as :func:`score` takes them.
    now : float or str, optional
        The time that ages are counted to; None: that of the newest event, or of the model's scores if that is later.
    passes : int, default 2
        As for :meth:`ImplicitALS.partial_fit`.
    **reading
        What else :func:`score` takes, as ``format`` or ``delimiter``.

    Returns
    -------
    Updated

    Raises
    ------
    ParameterError
        The model was not trained on scores; or what more events make of them cannot be known: an ``aggregate`` of
        "mean" or "last", which need all events. ``now`` lies before that of the model's scores.
    DataError, NotFittedError, FileFormatError

    Examples
    --------
    >>> import fastals
    >>> from fastals.scoring import score, update
    >>> spec = {"signals": {"*": {}}, "timestamp": "time", "half_life": "1 day"}
    >>> events = {"user": ["ann", "bob"], "item": ["x", "y"], "time": ["2025-04-01", "2025-04-01"]}
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(score(events, spec).interactions())
    >>> later = {"user": ["ann", "eve"], "item": ["x", "x"], "time": ["2025-04-02", "2025-04-02"]}
    >>> update(model, later).decay
    0.5
    >>> model.state_.pairs.matrix.toarray()
    array([[1.5, 0. ],
           [0. , 0.5],
           [1. , 0. ]], dtype=float32)
    """
    from_files = isinstance(events, (str, os.PathLike, list, tuple))
    spec, new = check_updatable(model, now, from_files=from_files)
    with score(events, new, **{"num_threads": model.num_threads, **reading}) as scores:
        if not scores.n_events:
            raise DataError("there are no new events")
        return take_in(model, spec, scores, passes)
