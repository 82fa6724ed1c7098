"""What a fitted model is: one immutable object, swapped whole, from which all questions are answered."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Axis, DataError, FactorArray, check_factors, kernels, tables
from .._data import cell_arrays, known_of
from .boost import narrowed
from .panels import ItemLists, Panels, by_norm
from .search import Wanted

if TYPE_CHECKING:
    from .._data import Interactions, Labels

Found = tuple[NDArray[np.int32], FactorArray]
"""Indices and scores of lists, each of shape (m, n)."""

Made = TypeVar("Made")


class Fitted(ABC):
    """What ``fit`` has made, and all that is derived from it: read-only, and safe to ask from several threads.

    Attributes
    ----------
    users, items : Labels
        Of the rows of either side.
    pairs : Interactions
        The cells of the training and what is known beside them; lists leave out both.
    ratings : bool
        Whether scores are ratings.
    duplicates : str
        What becomes of repeated cells in the data of a question.
    parameters, settings : mappings
        The constructor's parameters of the fit, and what those that may be "auto" stood for; read-only.
    """

    users: Labels
    items: Labels
    pairs: Interactions
    ratings: bool
    duplicates: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]

    _kept: ClassVar[tuple[str, ...]] = ("_derived", "_lock")
    """What is not part of the state."""

    def __post_init__(self) -> None:
        """Make room for what is derived; the constructor's and unpickling's last step."""
        for name in ("parameters", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        object.__setattr__(self, "_derived", {})
        object.__setattr__(self, "_lock", threading.RLock())

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in self._kept}
        return {**state, "parameters": dict(self.parameters), "settings": dict(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def derive(self, key: str, make: Callable[[], Made]) -> Made:
        """Make once what depends on the state alone; it lives and dies with it, and is as read-only."""
        derived: dict[str, Any] = self.__dict__["_derived"]
        if key not in derived:
            with self.__dict__["_lock"]:
                if key not in derived:
                    found = make()
                    for array in found if isinstance(found, tuple) else (found,):
                        if isinstance(array, np.ndarray):
                            array.flags.writeable = False
                    derived[key] = found
        made: Made = derived[key]
        return made

    # -- the training cells -------------------------------------------------------------------------------------------

    def seen(self, rows: NDArray[Any] | slice) -> ItemLists:
        """The items of some users in the training cells."""
        return ItemLists(*self.pairs.lines("users").lists(rows))

    def known(self, rows: NDArray[Any] | slice) -> ItemLists | None:
        """The items that some users are known to have met beside; None: nothing is known of anybody."""
        known = self.pairs.known
        return None if known is None else ItemLists(*known.lines("users").lists(rows))

    def known_to(self, rows: NDArray[np.int32], elsewhere: NDArray[np.int32]) -> ItemLists | None:
        """As :meth:`known`, of users some of whom are not in the model (-1).

        ``elsewhere`` are their places among the users of whom pairs are known that the model has not; -1 likewise.
        """
        lists, others = self.known(rows), known_of(self.pairs).elsewhere
        if lists is not None:
            lists = lists._replace(last=np.where(rows < 0, lists.first, lists.last))
        if others is not None:
            places = self.derive("items elsewhere", lambda: self.items.places("known items", others.item_labels))
            found = others.lines("users").lists(elsewhere)
            queries, items = found._replace(last=np.where(elsewhere < 0, found.first, found.last)).pairs()
            items = places[items]
            last = np.cumsum(np.bincount(queries[items >= 0], minlength=len(rows)))
            more = ItemLists(np.append(0, last[:-1]), last, items[items >= 0])
            lists = more if lists is None else lists.joined(more)
        return lists

    def known_by_item(self, items: NDArray[np.int32], threads: int) -> ItemLists | None:
        """The users of some items who are known to have met them beside."""
        known = self.pairs.known
        return None if known is None else ItemLists(*known.lines("items", num_threads=threads).lists(items))

    def seen_by_item(self, items: NDArray[np.int32], threads: int) -> ItemLists:
        """The users of some items in the training cells."""
        if self.pairs.on_disk:
            return ItemLists(*self.pairs.lines("items").lists(items))
        indptr, indices = self.derive(
            "seen by item",
            lambda: tables.transpose(self.pairs.indptr, self.pairs.indices, None, len(self.items), np.float32, threads)[
                :2
            ],
        )
        return ItemLists.of_rows(indptr, indices, items)

    def cells_of_users(self) -> NDArray[np.int64]:
        """How many training cells each user has."""
        return np.diff(self.pairs.indptr)

    def cells_of_items(self) -> NDArray[np.int64]:
        """How many training cells each item has."""
        if self.pairs.on_disk:
            return np.diff(self.pairs.lines("items").indptr)
        return self.derive("cells of items", lambda: np.bincount(self.pairs.indices, minlength=len(self.items)))

    @abstractmethod
    def numbers(self) -> list[NDArray[Any]]:
        """All that decides lists and scores, but for the labels."""

    # -- lists and scores ---------------------------------------------------------------------------------------------

    @abstractmethod
    def queries(self, axis: Axis, rows: NDArray[Any] | slice) -> Any:
        """What :meth:`search` takes for known users or items."""

    @abstractmethod
    def queries_of_factors(self, user_factors: Any) -> Any:
        """What :meth:`search` takes for users' factors as they come from folding in."""

    @abstractmethod
    def blank(self, axis: Axis, queries: Any) -> NDArray[np.bool_]:
        """Of which users or items nothing is known: all would score alike for them."""

    def strangers(self, rows: NDArray[Any] | slice) -> NDArray[np.bool_]:
        """Of which users nothing is known: those without a training cell above all. They have no list."""
        return self.blank("users", self.queries("users", rows))

    @abstractmethod
    def search(self, table: str, queries: Any, n: int, seen: ItemLists | None, wanted: Wanted, threads: int) -> Found:
        """Find the n best for each query in the table of "users", "items" or what else the model keeps."""

    @abstractmethod
    def similar(self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted, threads: int) -> Found:
        """Find the n most like each of these users or items."""

    @abstractmethod
    def pair_scores(self, users: NDArray[np.int32], items: NDArray[np.int32], threads: int) -> FactorArray:
        """Score pairs; NaN where either is -1."""

    @abstractmethod
    def all_scores(self, users: NDArray[np.intp], threads: int) -> FactorArray:
        """Score all items for some users."""

    @abstractmethod
    def mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> FactorArray:
        """Score pairs, -1 being the mean user or item."""

    def top_items(
        self, users: NDArray[np.int32] | slice, n: int, exclude_seen: bool, threads: int, wanted: Wanted | None = None
    ) -> Found:
        """The n best items of some users."""
        seen, queries, wanted = None, self.queries("users", users), wanted or Wanted()
        if exclude_seen:
            seen, wanted = self.seen(users), wanted.without(self.known(users))
        return self.best_items(queries, self.blank("users", queries), n, seen, wanted, threads)

    def best_items(
        self,
        queries: Any,
        strange: NDArray[np.bool_],
        n: int,
        seen: ItemLists | None,
        wanted: Wanted,
        threads: int,
        unknown: str = "empty",
    ) -> Found:
        """The n best items for each query, and for the strangers among them what :meth:`top_unknown` gives."""
        if not strange.any():
            return self.search("items", queries, n, seen, wanted, threads)
        known, strangers = np.flatnonzero(~strange), np.flatnonzero(strange)
        of_known, of_strangers = (None if seen is None else seen.of(some) for some in (known, strangers))
        best, scores = self.search("items", queries[known], n, of_known, wanted.part(known), threads)
        found = np.empty((len(strange), n), np.int32), np.empty((len(strange), n), scores.dtype)
        found[0][known], found[1][known] = best, scores
        others, counts = self.top_unknown(unknown, n, len(strangers), of_strangers, wanted.part(strangers), threads)
        found[0][strangers], found[1][strangers] = others, narrowed(counts, scores.dtype)
        return found

    def top_users(
        self, items: NDArray[np.int32], n: int, exclude_seen: bool, threads: int, wanted: Wanted | None = None
    ) -> Found:
        """The n best users of some items; none where nothing is known of an item."""
        seen, queries, wanted = None, self.queries("items", items), wanted or Wanted()
        if exclude_seen:
            seen, wanted = self.seen_by_item(items, threads), wanted.without(self.known_by_item(items, threads))
        found = self.search("users", queries, n, seen, wanted, threads)
        blank = self.blank("items", queries)
        found[0][blank], found[1][blank] = -1, -np.inf
        return found

    def top_unknown(self, unknown: str, n: int, m: int, seen: ItemLists | None, wanted: Wanted, threads: int) -> Found:
        """Lists for m users of whom nothing is known: the items of most cells ("popular"), or none."""
        if unknown != "popular":
            return np.full((m, n), -1, np.int32), np.full((m, n), -np.inf)

        def make() -> Panels:
            counts: FactorArray = np.zeros((len(self.items), 1), np.float64)
            counts[:, 0] = self.cells_of_items()
            return Panels(counts, threads, candidates=by_norm(counts, counts[:, 0] > 0))

        panels = self.derive("popularity", make)
        return wanted.search("popularity", panels, np.ones((m, 1)), n, seen=seen, num_threads=threads)


class FactorFitted(Fitted):
    """A model whose score is ``mean + b_u + b_i + x_u.y_i``.

    Attributes
    ----------
    user_factors, item_factors : arrays of shape (n_users, k), (n_items, k)
    mean : float
    biases : (array of shape (n_users,), array of shape (n_items,)) or None
    """

    user_factors: FactorArray
    item_factors: FactorArray
    mean: float
    biases: tuple[FactorArray, FactorArray] | None

    @property
    def scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        """Rows of users and of items whose product is the score: [x, mean + b_u, 1] and [y, 1, b_i]."""

        def make() -> tuple[FactorArray, FactorArray]:
            X, Y = self.user_factors, self.item_factors
            if self.biases is None and not self.mean:
                return X, Y
            users, items = self.biases or (np.zeros(len(factors), X.dtype) for factors in (X, Y))
            return self._scoring_rows(X, users), np.column_stack((Y, np.ones(len(Y), Y.dtype), items))

        return self.derive("scoring factors", make)

    def numbers(self) -> list[NDArray[Any]]:
        """All that decides lists and scores, but for the labels."""
        parts = [self.user_factors, self.item_factors, np.array([self.mean]), *(self.biases or ())]
        return [*parts, *cell_arrays(self.pairs)]

    def _scoring_rows(self, X: FactorArray, biases: FactorArray) -> FactorArray:
        return np.column_stack((X, biases + X.dtype.type(self.mean), np.ones(len(X), X.dtype)))

    def queries(self, axis: Axis, rows: NDArray[Any] | slice) -> FactorArray:
        """Rows of the scoring factors."""
        return self.scoring_factors[axis == "items"][rows]

    def queries_of_factors(self, user_factors: Any) -> FactorArray:
        """The same for factors as they come from folding in, behind which stands the bias where there is one."""
        k, dtype = self.user_factors.shape[1], self.user_factors.dtype
        rows: FactorArray = check_query_factors(user_factors, k + (self.biases is not None), dtype)
        if self.biases is None and not self.mean:
            return rows
        return self._scoring_rows(rows[:, :k], rows[:, k:].sum(axis=1))

    def blank(self, axis: Axis, queries: FactorArray) -> NDArray[np.bool_]:
        """Which rows are zero, and so is their bias."""
        k = self.user_factors.shape[1]
        zero: NDArray[np.bool_] = np.logical_not(queries[:, :k].any(axis=1))
        if self.biases is not None:
            column, none = (k + 1, 0.0) if axis == "items" else (k, self.mean)
            zero &= queries[:, column] == queries.dtype.type(none)
        return zero

    def _panels(self, table: str, threads: int) -> Panels:
        """A packed table: "users" or "items", or their "unit" rows; none of whom nothing is known."""

        def make() -> Panels:
            kind, _, side = table.rpartition(" ")
            axis: Axis = "items" if side == "items" else "users"
            if not kind:
                rows = self.scoring_factors[axis == "items"]
                return Panels(rows, threads, candidates=by_norm(rows, ~self.blank(axis, rows)))
            factors = unit_rows(self.user_factors if axis == "users" else self.item_factors)
            return Panels(factors, threads, candidates=np.flatnonzero(factors.any(axis=1)).astype(np.int32))

        return self.derive(table, make)

    def search(self, table: str, queries: Any, n: int, seen: ItemLists | None, wanted: Wanted, threads: int) -> Found:
        """Search one of the tables of :meth:`_panels`."""
        return wanted.search(table, self._panels(table, threads), queries, n, seen=seen, num_threads=threads)

    def similar(self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted, threads: int) -> Found:
        """By the cosine of the factors."""
        table = f"unit {axis}"
        places = np.arange(len(rows) + 1)
        itself = ItemLists(places[:-1], places[1:], rows)
        queries = self._panels(table, threads).factors[rows]
        found, scores = self.search(table, queries, n, itself, wanted, threads)
        zero = ~queries.any(axis=1)
        found[zero], scores[zero] = -1, -np.inf
        return found, np.minimum(scores, 1, out=scores)

    def pair_scores(self, users: NDArray[np.int32], items: NDArray[np.int32], threads: int) -> FactorArray:
        """Score pairs; NaN where either is -1."""
        scores: FactorArray = kernels.pair_scores(*self.scoring_factors, users, items, threads)
        return scores

    def all_scores(self, users: NDArray[np.intp], threads: int) -> FactorArray:
        """Score all items for some users."""
        X, Y = self.scoring_factors
        scores: FactorArray = X[users] @ Y.T
        return scores

    def mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> FactorArray:
        """Score pairs, -1 being the mean user or item."""
        X, Y = self.scoring_factors
        x = np.where(users[:, np.newaxis] < 0, self._mean_row("users"), X[users])
        y = np.where(items[:, np.newaxis] < 0, self._mean_row("items"), Y[items])
        scores: FactorArray = np.einsum("ij,ij->i", x, y)
        return scores

    def _mean_row(self, axis: Axis) -> FactorArray:
        """The mean of the scoring rows of users or items whose factors are not zero."""

        def mean() -> FactorArray:
            rows = self.scoring_factors[axis == "items"]
            known = (self.item_factors if axis == "items" else self.user_factors).any(axis=1)
            total: FactorArray = (known.astype(np.float64) @ rows / max(1, known.sum())).astype(rows.dtype)
            return total

        return self.derive(f"mean of {axis}", mean)


def unit_rows(factors: FactorArray) -> FactorArray:
    """Rows divided by their norm; scaled first, so that no square overflows. Rows of zeros stay."""
    largest = np.abs(factors).max(axis=1, keepdims=True)
    rows = factors / np.where(largest > 0, largest, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None].astype(factors.dtype)
    rows /= np.where(norms > 0, norms, 1)
    out: FactorArray = rows
    return out


def check_query_factors(factors: Any, k: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return users' factors as rows in ``dtype``; one row may be given alone."""
    array = np.asarray(factors)
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != k:
        raise DataError(f"user_factors must have shape ({k},) or (m, {k}), got {np.shape(factors)}")
    rows: FactorArray = check_factors("user_factors", array, array.shape, dtype)
    return rows
