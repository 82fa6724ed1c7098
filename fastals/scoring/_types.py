"""Columns that tell the type of an event: which signals a value is for, and how often each occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._files import is_missing
from ._spec import ScoreSpec, types_of

MOST_TOLD = 1000
"""Different values of a column that are counted by themselves, beside those that signals name."""

Counts: TypeAlias = dict[str, Counter[Any]]
"""By column, how often each value occurs."""


class Distinct(NamedTuple):
    """The values of a column in some events: ``values[codes[j]]``, nothing where the code is -1."""

    codes: NDArray[np.int64]
    values: list[Any]

    def among(self, wanted: tuple[Any, ...]) -> NDArray[np.bool_]:
        """Return where the value is one of these."""
        hits = np.array([value in wanted for value in self.values] + [False])
        found: NDArray[np.bool_] = hits[self.codes]
        return found

    def counts(self) -> Counter[Any]:
        """Return how often each value occurs; of None, how often it is missing."""
        counts = np.bincount(self.codes + 1, minlength=len(self.values) + 1).tolist()
        return Counter({value: n for value, n in zip([None, *self.values], counts, strict=True) if n})


def distinct(column: Any) -> Distinct:
    """Return a column with each value once."""
    if not isinstance(column, np.ndarray):
        column = column.dictionary_encode()
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        told = column.dictionary.to_pylist()
        for place in [place for place, value in enumerate(told) if is_missing(value)]:
            codes[codes == place] = -1
        return Distinct(codes, told)
    places: dict[Any, int] = {}
    values: list[Any] = []
    codes = np.empty(len(column), np.int64)
    for at, value in enumerate(column.tolist()):
        if value not in places:
            places[value] = -1 if is_missing(value) else len(values)
            values += [] if places[value] < 0 else [value]
        codes[at] = places[value]
    return Distinct(codes, values)


class Types:
    """How often each value of the columns of types has occurred."""

    def __init__(self, spec: ScoreSpec) -> None:
        self.wanted: dict[str, dict[Any, list[str]]] = {}
        """By column, the signals that each value is for."""
        for name, signal in spec.signals.items():
            for value in types_of(signal):
                self.wanted.setdefault(signal.column, {}).setdefault(value, []).append(name)
        self.counts: Counts = {column: Counter() for column in self.wanted}
        self.others = dict.fromkeys(self.wanted, 0)
        """Events of values that are too many to be counted by themselves."""

    def add(self, counts: Mapping[str, Counter[Any]]) -> None:
        """Count what some events hold."""
        for column, some in counts.items():
            known, wanted = self.counts[column], self.wanted[column]
            for value, n in some.items():
                if value in known or value in wanted or len(known) < MOST_TOLD:
                    known[value] += n
                else:
                    self.others[column] += n

    def never(self) -> dict[str, list[Any]]:
        """Return the values that signals name and no event has, by column."""
        unmet = {column: [v for v in wanted if not self.counts[column][v]] for column, wanted in self.wanted.items()}
        return {column: values for column, values in unmet.items() if values}
