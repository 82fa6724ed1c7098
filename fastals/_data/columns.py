"""Columns as they come out of frames and files: strings where they lie, categories, some rows of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

NAMES = ("users", "items", "values")
"""What messages call the columns of events that have no names of their own."""

Rows: TypeAlias = tuple[str, Any, Any, Any]
"""Users, items and values (or None) of some rows, behind where these are, for the end of a message."""


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """Strings in Arrow's layout, in chunks: (bytes, offsets), offsets int32 or int64, one more than strings.

    ``numeric``: they are integers if every one of them is the usual decimal form of an int64; "007" is not.
    """

    chunks: Sequence[tuple[NDArray[np.uint8], NDArray[Any]]]
    numeric: bool = False

    def __len__(self) -> int:
        return sum(len(offsets) - 1 for _, offsets in self.chunks)

    def __getitem__(self, rows: slice) -> Text:
        first, last, _ = rows.indices(len(self))
        chunks, start = [], 0
        for data, offsets in self.chunks:
            stop = start + len(offsets) - 1
            if max(start, first) < min(stop, last):
                chunks.append((data, offsets[max(start, first) - start : min(stop, last) - start + 1]))
            start = stop
        return Text(chunks, self.numeric)

    def first_empty(self) -> int | None:
        """Return the place of the first string without a character."""
        start = 0
        for _, offsets in self.chunks:
            empty = offsets[1:] == offsets[:-1]
            if empty.any():
                return start + int(np.argmax(empty))
            start += len(empty)
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Coded:
    """Categories: ids ``values[codes[j]]``, codes in range."""

    codes: NDArray[Any]
    values: Any

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice) -> Coded:
        return Coded(self.codes[rows], self.values)
