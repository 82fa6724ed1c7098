"""Rows that cannot be read: an error, or passed over, counted by kind and up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FileFormatError

MAX_BAD_ROWS = 1000
"""Rows that are passed over, at most, where they may be at all and nothing else is said."""


class Batch:
    """Some rows of one file, an Arrow record batch or plain columns, and which of them are bad.

    Parameters
    ----------
    file : str
    first : int
        Number of the first row, from 1 and without a header; of text, of its first line.
    rows : Arrow record batch, or Plain
    lines : function, optional
        Of text: the line, counted from the first one, of a row.
    """

    def __init__(self, file: str, first: int, rows: Any, lines: Callable[[int], int] | None = None) -> None:
        self.file, self.first, self.rows, self.lines = file, first, rows, lines
        self.unit = "row" if lines is None else "line"
        self.bad: NDArray[np.bool_] | None = None
        self.found: list[Finding] = []

    def place(self, at: int) -> str:
        """Name a row, for messages."""
        return f"{self.unit} {self.first + (at if self.lines is None else self.lines(at))}"

    def compact(self) -> Batch:
        """Return the rows that are not bad, with what was found in the others."""
        if self.bad is None:
            return self
        kept = np.flatnonzero(~self.bad)
        place = self.lines or int
        batch = Batch(self.file, self.first, self.rows.take(kept), None)
        batch.lines, batch.unit = lambda at: place(int(kept[at])), self.unit
        batch.found = self.found
        return batch

    @property
    def kept(self) -> NDArray[np.bool_] | None:
        """Which rows are not bad; None: all."""
        return None if self.bad is None else ~self.bad


class Finding(NamedTuple):
    """So many rows that are bad in the same way, and where the first of them is."""

    kind: str
    column: str | None
    n: int
    place: Callable[[], str]


class BadRows:
    r"""Rows that could not be read and were passed over, by kind.

    Attributes
    ----------
    count : int
        Rows passed over.
    n_rows : int
        Rows read, these among them.
    kinds : dict
        How many there are of each kind, "bad number in column 'x'", and the first of them, "log.csv, line 81".

    Examples
    --------
    >>> import fastals, tempfile, warnings
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     print("user,item,rating\nann,7,4.5\nbob,9,many", file=file, flush=True)
    ...     with warnings.catch_warnings():
    ...         warnings.simplefilter("ignore")
    ...         plays = fastals.Interactions.from_csv(file.name, on_bad_rows="skip")
    >>> plays.bad_rows.count, plays.bad_rows.n_rows
    (1, 2)
    """

    def __init__(self, skip: bool = False, limit: float = MAX_BAD_ROWS) -> None:
        self.skip, self.limit = skip, limit
        self.count = self.n_rows = 0
        self.kinds: dict[str, tuple[int, str]] = {}

    def __str__(self) -> str:
        """Say how many rows were passed over, and why."""
        kinds = ", ".join(f"{count:,} {kind} (first: {place})" for kind, (count, place) in self.kinds.items())
        return f"{self.count:,} of {self.n_rows:,} rows passed over" + (f": {kinds}" if kinds else "")

    def __repr__(self) -> str:
        return f"<BadRows: {self}>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        kinds = {kind: {"count": count, "first": place} for kind, (count, place) in self.kinds.items()}
        return {"count": self.count, "rows": self.n_rows, "kinds": kinds}

    # -- finding ------------------------------------------------------------------------------------------------------

    def report(self, found: list[Finding], file: str, place: str, kind: str, column: str | None, what: str) -> None:
        """Raise for a bad row, or note it in ``found``."""
        if not self.skip:
            error = FileFormatError if column is None else DataError
            raise error(f"{file}: {place}{'' if column is None else f', column {column!r}'}: {what}")
        found.append(Finding(kind, column, 1, lambda: f"{file}, {place}"))

    def refuse(
        self, batch: Batch, bad: NDArray[np.bool_], kind: str, column: str | None, what: Callable[[int], str]
    ) -> None:
        """Raise for the first row of a batch that is bad, or mark them all."""
        if batch.bad is not None:
            bad = bad & ~batch.bad
        if not bad.any():
            return
        at = int(np.argmax(bad))
        if not self.skip:
            self.report([], batch.file, batch.place(at), kind, column, what(at))
        batch.bad = bad if batch.bad is None else batch.bad | bad
        batch.found.append(
            Finding(kind, column, int(np.count_nonzero(bad)), lambda: f"{batch.file}, {batch.place(at)}")
        )

    def refuse_row(self, batch: Batch, at: int, kind: str, column: str, what: str) -> None:
        """Raise for a row of a batch, or mark it."""
        if not self.skip:
            raise DataError(f"{batch.file}: {batch.place(at)}, {column}: {what}")
        if batch.bad is None:
            batch.bad = np.zeros(len(batch.rows), bool)
        if not batch.bad[at]:
            batch.bad[at] = True
            batch.found.append(Finding(f"{kind} in {column}", None, 1, lambda: f"{batch.file}, {batch.place(at)}"))

    # -- counting -----------------------------------------------------------------------------------------------------

    def settle(self, found: list[Finding], n_rows: int = 0) -> None:
        """Count what was found, batch after batch in their order, and ``n_rows`` more rows that were read.

        Raises
        ------
        DataError
            There are more bad rows than the limit.
        """
        self.n_rows += n_rows
        for kind, column, n, place in found:
            name = kind if column is None else f"{kind} in column {column!r}"
            before, first = self.kinds.get(name, (0, ""))
            self.kinds[name] = (before + n, first or place())
            self.count += n
        found.clear()
        if self.count > self.limit >= 1 or self.count > self.limit == 0:
            self._stop()

    def counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Count the rows of batches that no file is read for."""
        for batch in batches:
            self.n_rows += len(batch.rows)
            yield batch

    def end(self) -> None:
        """Judge the share of bad rows, when all are read."""
        if self.limit < 1 and self.count > self.limit * self.n_rows:
            self._stop()

    def _stop(self) -> None:
        raise DataError(f"{self}; max_bad_rows={self.limit:g} allows no more")
