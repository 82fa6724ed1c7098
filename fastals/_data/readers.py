"""Columns of users, items and values out of files; pyarrow, where it is installed, makes CSV fast."""

from __future__ import annotations

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataError
from .._files import NUMBERS, Batch, Source
from .columns import Coded, Rows, Text
from .frames import Columns, arrow_ids, choose_columns, is_numeric, unread_columns

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .._files import BadRows, Reading

SCORING, SUMMED = b"fastals.scoring", b"fastals.summed"
"""Where a Parquet file of scores keeps the specification they were made by."""

SCORE, KNOWN = "score", "known"
"""Columns of files of scores. A pair that is merely known has no score there. In CSV, where an empty field may be
anything, a column behind all others says so; in Parquet the specification of the scores does, which others lack."""


class Files:
    """Files of one format, and which of their columns are read.

    Parameters
    ----------
    path, format, reading
        As Source takes them.
    user, item, value : str, optional
        As choose_columns takes them; those of scores, that their specification names, where nothing is said.
    """

    def __init__(
        self,
        path: Any,
        user: str | None,
        item: str | None,
        value: str | None,
        *,
        format: str,
        **reading: Unpack[Reading],
    ) -> None:
        self.source = source = Source(path, format=format, **reading)
        metadata = source.schema.metadata if source.with_arrow else None
        self.scoring = json.loads((metadata or {}).get(SCORING, b"null"))
        if self.scoring is not None:
            user, item = user or self.scoring.get("user"), item or self.scoring.get("item")
            value = SCORE if value is None and SCORE in source.names else value
        try:
            self.chosen = choose_columns(source.names, user, item, value, self._may_be_value())
        except DataError as error:
            raise DataError(f"{source.name}: {error}") from None
        self.unread = unread_columns(dict.fromkeys(source.names), user, item, value)
        """Columns that are not read although none is recognised as the value's."""
        self.names = [f"{source.name}, column {column!r}" for column in self.chosen]
        self.unscored = self.chosen[2] == SCORE and self._has_scores()
        """Whether they are scores as fastals.scoring writes them, where a row without one is a known pair."""

    def _may_be_value(self) -> Callable[[str], bool] | None:
        """Return what tells whether a column may be one of values, where columns have types; None: there are none."""
        if self.source.format == "csv":
            return None
        schema = self.source.schema
        return lambda name: is_numeric(schema.field(name))

    def _has_scores(self) -> bool:
        if self.source.format == "csv":
            return self.source.names[-2:] == [SCORE, KNOWN]
        return self.scoring is not None and self.source.all_have(SCORING)

    @property
    def summed(self) -> bool:
        """Whether they are scores some of which are sums of several."""
        return self.scoring is not None and self.source.any_has(SUMMED)

    def read(self) -> Columns:
        """Return the columns of all rows."""
        parts = [batch.rows for batch in self._batches(coded=True)]
        if self.source.with_arrow and parts:
            import pyarrow as pa

            alike = [pa.record_batch(rows.columns, rows.schema.names) for rows in parts]
            return self._columns(pa.Table.from_batches(alike)), self.names
        columns = list(zip(*map(self._columns, parts), strict=True))
        if not columns:
            return (Text([]), Text([]), np.empty(0)), self.names
        return (_joined(columns[0]), _joined(columns[1]), _joined(columns[2])), self.names

    def rows(self) -> Iterator[Rows]:
        """Yield the columns of some rows after the other."""
        for batch in self._batches():
            yield f", in {batch.file}, counted from {batch.place(0)} on", *self._columns(batch.rows)

    def _batches(self, *, coded: bool = False) -> Iterator[Batch]:
        """Yield the rows, where they are scores those that say themselves whether they are known or scored."""
        user, item, value = self.chosen
        types: dict[str, Any] = {name: self.source.type_of_ids(name, coded=coded) for name in (user, item)}
        values = () if value is None else (value,)
        types.update((name, self._number_type(name)) for name in values)
        marked = self.unscored and self.source.format == "csv"
        if marked:
            types[KNOWN] = types[SCORE]
        required = () if self.unscored else values
        for batch in self.source.batches(types, ids=(user, item), required=required, finite=values):
            yield self._agreeing(batch) if marked else batch

    def _agreeing(self, batch: Batch) -> Batch:
        """Leave out, or refuse, rows that are scored and marked as known, or neither."""
        scores, marks = (batch.rows.column(name) for name in (SCORE, KNOWN))
        if self.source.with_arrow:
            wrong = np.asarray(scores.is_null()) != (marks.fill_null(0).to_numpy(zero_copy_only=False) == 1)
        else:
            wrong = np.array([score is None for score in scores], bool) != (marks == 1)
        bad = self.source.bad_rows
        said = f"a row has either a score or true in column {KNOWN!r}"
        bad.refuse(batch, wrong.astype(bool), "bad score", SCORE, lambda at: said)
        bad.settle(batch.found)
        return batch.compact()

    def _number_type(self, name: str) -> Any:
        """Return a type of numbers: that of Parquet itself, where it is one."""
        if not self.source.with_arrow:
            return NUMBERS
        import pyarrow as pa

        own = self.source.type_of(name)
        is_number = pa.types.is_integer(own) or pa.types.is_floating(own)
        return own if self.source.format == "parquet" and is_number else pa.float64()

    def _columns(self, rows: Any) -> tuple[Any, Any, Any]:
        """Return the columns of a table or a batch; text may be numbers."""
        user, item, value = self.chosen
        values = None if value is None else rows.column(value)
        if values is not None and self.source.with_arrow:
            values = values.to_numpy() if hasattr(values, "chunks") else values.to_numpy(zero_copy_only=False)
        return self._ids(rows, user), self._ids(rows, item), values

    def _ids(self, rows: Any, name: str) -> Any:
        column = rows.column(name)
        if not self.source.with_arrow:
            return Text([_text(column.tolist())], self.source.is_integer(name))
        import pyarrow as pa

        ids = arrow_ids(f"column {name!r}", column if hasattr(column, "chunks") else pa.chunked_array([column]))
        return as_numeric(ids) if self.source.is_integer(name) else ids


def as_numeric(ids: Any) -> Any:
    """Return ids whose text stands for integers."""
    if isinstance(ids, Coded):
        return Coded(ids.codes, as_numeric(ids.values))
    return replace(ids, numeric=True) if isinstance(ids, Text) else ids


def _text(strings: list[str]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return strings in Arrow's layout."""
    encoded = [string.encode() for string in strings]
    offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def _joined(parts: Any) -> Any:
    """Return columns of some rows each as one."""
    if parts[0] is None:
        return None
    if isinstance(parts[0], Text):
        return Text([chunk for part in parts for chunk in part.chunks], parts[0].numeric)
    return np.concatenate(parts).astype(np.float64)


class FromFiles(ABC):
    """How interactions are made of files."""

    bad_rows: BadRows | None = None
    scoring: dict[str, Any] | None
    summed: bool
    _unread: tuple[str, ...]

    @classmethod
    @abstractmethod
    def _of_columns(cls, columns: Columns, duplicates: str, *, unscored: bool) -> Self:
        """Make interactions of columns in memory."""

    @classmethod
    @abstractmethod
    def _of_rows(
        cls,
        rows: Iterator[Rows],
        names: Sequence[str],
        duplicates: str,
        on_disk: Any,
        *,
        scoring: Any,
        unscored: bool,
        summed: bool,
    ) -> Self:
        """Make interactions on disk."""

    @classmethod
    def _of_files(cls, files: Files, duplicates: str, on_disk: Any) -> Self:
        if on_disk is None:
            data = cls._of_columns(files.read(), duplicates, unscored=files.unscored)
            data.scoring, data.summed = files.scoring, data.summed or files.summed
        else:
            told = {"scoring": files.scoring, "unscored": files.unscored, "summed": files.summed}
            data = cls._of_rows(files.rows(), files.names, duplicates, on_disk, **told)
        data._unread = files.unread
        bad = files.source.bad_rows
        if bad.skip:
            data.bad_rows = bad
        if bad.count:
            warnings.warn(str(bad), stacklevel=3)
        return data

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
        **reading: Unpack[Reading],
    ) -> Self:
        r"""Make interactions of CSV with one line per event.

        Parameters
        ----------
        path : str or path-like, or a list of them
            Decompressed if the name ends in ".gz", ".bz2", ".xz", ".zip" (of one file) or, with pyarrow, ".zst". With
            pyarrow also a directory of files, empty ones passed over, or an address as hdfs://, s3:// or gs://.
        user, item, value : str, optional
            Names of the columns, as in :meth:`from_frame`. Of ratings, true is 1 and false 0.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.
        on_disk : path, optional
            A new or empty directory, where they are made instead of in memory: see :meth:`open`.
        delimiter : str, optional
            One character or several, as "::"; default: a tab in .tsv files, else a comma.
        columns : sequence of str, optional
            Names of all columns where there is no header line.
        quoting : bool, optional
            Whether values may stand in double quotes; by default not in .tsv files, where a quote is text.
        escape : str, optional
            The character that makes the next one text.
        encoding : str, optional
            Default: UTF-8, with or without a byte order mark.
        decimal : {".", ","}, optional
        nulls : list of str, optional
            Words that mean nothing, as "NULL"; nothing at all always does.
        comment : str, optional
            What lines begin with that are passed over.
        ids : {"auto", "text", "integer"}, optional
            Kind of the ids. "auto": integers where the first of the column is one in its usual form, else text. An id
            that is no integer among integers is an error then; "007" and "7" differ as text.
        on_bad_rows : {"error", "skip"}, optional
            "skip": pass over rows that cannot be read; ``bad_rows`` tells how many, and why.
        max_bad_rows : int or float, optional
            How many at most, or which share of all, below 1; default 1000.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError
            The file is missing, or no CSV in its encoding.
        DataError
            Names the columns there are if one is missing, and the line of the first id or number that is none.

        Notes
        -----
        pyarrow (``pip install 'fastals[io]'``) makes this many times faster, and changes nothing else.

        Examples
        --------
        >>> import fastals, tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("userId,itemId,rating\nann,7,4.5\nbob,9,3", file=file, flush=True)
        ...     fastals.Interactions.from_csv(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        return cls._of_files(Files(path, user, item, value, format="csv", **reading), duplicates, on_disk)

    @classmethod
    def from_parquet(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
        **reading: Unpack[Reading],
    ) -> Self:
        """Make interactions of Parquet with one row per event; needs ``pip install 'fastals[io]'``.

        Parameters
        ----------
        path : str or path-like, or a list of them
            A file or a directory (hive-partitioned too), local or an address as hdfs://, s3:// or gs://.
        user, item, value : str, optional
            Names of the columns, as in :meth:`from_frame`; those of scores are known.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.
        on_disk : path, optional
            A new or empty directory, where they are made instead of in memory: see :meth:`open`.
        ids, on_bad_rows, max_bad_rows : optional
            As in :meth:`from_csv`.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError, DataError, MissingDependencyError

        Examples
        --------
        >>> import fastals, pyarrow, pyarrow.parquet, tempfile
        >>> table = pyarrow.table({"user": ["ann", "bob"], "item": [7, 9]})
        >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        ...     pyarrow.parquet.write_table(table, file.name)
        ...     fastals.Interactions.from_parquet(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        return cls._of_files(Files(path, user, item, value, format="parquet", **reading), duplicates, on_disk)

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
        **reading: Unpack[Reading],
    ) -> Self:
        r"""Make interactions of JSON lines, one object per event; needs ``pip install 'fastals[io]'``.

        Parameters
        ----------
        path : str or path-like, or a list of them
            A file (compressed if its name says so) or a directory, local or an address as hdfs://, s3:// or gs://.
        user, item, value : str, optional
            Names of the fields, as in :meth:`from_frame`.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.
        on_disk : path, optional
            A new or empty directory, where they are made instead of in memory: see :meth:`open`.
        ids, on_bad_rows, max_bad_rows, encoding : optional
            As in :meth:`from_csv`.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError, DataError, MissingDependencyError

        Examples
        --------
        >>> import fastals, tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"user": "ann", "item": 7}\n{"user": "bob", "item": 9}', file=file, flush=True)
        ...     fastals.Interactions.from_json(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        return cls._of_files(Files(path, user, item, value, format="json", **reading), duplicates, on_disk)
