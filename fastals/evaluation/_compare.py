"""Two models side by side: what their lists have in common, where they lean, and what they hit."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .._core import DataError, check_int, resolve_num_threads
from .._data import Labels
from ._evaluate import new_to_users, refuse_nothing, seen_by
from ._metrics import RANKING, gini, judge, spread, users_of_items
from ._splits import held_out

if TYPE_CHECKING:
    from .._topn import Fitted, Recommender

PERSISTENCE = 0.9
"""How much each place of a list counts in rank-biased overlap, of the place before it."""
QUANTILE = 1.959963984540054
"""95 % of a normal distribution are within so many deviations."""
BATCH_USERS, BATCH_PAIRS = 8192, 1 << 22
"""Users, and pairs of places of their lists, that are looked at at once."""


@dataclass(frozen=True)
class Known:
    """How many users, or items, two models know.

    Attributes
    ----------
    old, new : int
    common : int
        Known to both.
    gone, added : int
        Known to the old model only, to the new one only.
    """

    old: int
    new: int
    common: int
    gone: int
    added: int

    @classmethod
    def of(cls, found: NDArray[np.int64], n_new: int) -> Known:
        """Count what :func:`matched` has found."""
        common = int((found >= 0).sum())
        return cls(len(found), n_new, common, len(found) - common, n_new - common)


@dataclass(frozen=True)
class Change:
    """A figure of both models."""

    old: float
    new: float


@dataclass(frozen=True)
class Difference:
    """A metric of both models on the same users.

    Attributes
    ----------
    old, new : float
    difference : float
        new - old.
    low, high : float
        95 % confidence interval of the difference, of users as a sample: paired, which is much narrower than those of
        the two means; NaN for a single user.
    """

    old: float
    new: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` has found.

    Attributes
    ----------
    n : int
        Length of the lists.
    users, items : Known
    n_lists : int
        Users who have cells in both models, whose lists are compared.
    overlap : dict of str to float
        Means over these users; 1: the same lists. "common": items of both lists over the length of the longer one;
        "jaccard": over all that either holds; "rbo": rank-biased overlap, which looks at the heads of the lists first;
        "same": share of the users whose lists are equal, in their order too.
    lists : dict of str to Change
        Of the same users' lists. "coverage": share of the model's items in any list; "gini": how unevenly they come,
        from 0 to 1; "novelty": bits, as :func:`novelty_at_k`; "popularity": mean share of the model's users who have
        the listed item; "popularity_rank": mean place of the listed item among all by that, from 0, the most popular,
        to 1; "score" and "score_spread": mean and standard deviation of the scores; "length": items in a list.
    metrics : dict of str to Difference
        By the names of :func:`evaluate`; empty where nothing was held out.
    n_test_users : int
        Users that the ranking metrics are the means over.

    Examples
    --------
    >>> import fastals
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((["ann", "bob"], ["x", "y"]))
    >>> fastals.evaluation.compare(model, model).lists["coverage"]
    Change(old=1.0, new=1.0)
    """

    n: int
    users: Known
    items: Known
    n_lists: int
    overlap: dict[str, float]
    lists: dict[str, Change]
    metrics: dict[str, Difference]
    n_test_users: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and dicts, as JSON has them: None for NaN.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((["ann", "bob"], ["x", "y"]))
        >>> fastals.evaluation.compare(model, model).to_dict()["overlap"]["jaccard"]
        1.0
        """

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: plain(inner) for name, inner in value.items()}
            return None if value != value else value

        found: dict[str, Any] = plain(asdict(self))
        return found


def compare(old: Recommender, new: Recommender, test: Any = None, n: int = 10) -> Comparison:
    """Compare two models, as one that is served and one that is to take its place.

    Users and items are matched by their labels, or by index where the models know no labels. Lists are those of
    ``recommend(users, n)``; of all users whom both know by cells of their own, batch by batch, so that memory is
    bounded.

    Parameters
    ----------
    old, new : ExplicitALS, ImplicitALS, EASE, ItemKNN or UserKNN
        Fitted.
    test : Interactions, or what :meth:`ImplicitALS.fit` takes, optional
        Held-out interactions, by which both are measured on the same users and cells: those that neither has in its
        training cells, of users whom both know. For two models of ratings also by their errors, on the cells whose user
        and item both know.
    n : int, default 10
        Length of the lists.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        Their labels are of different kinds, they have no user in common, or nothing of ``test`` can be judged.
    NotFittedError, ParameterError, ArgumentTypeError

    Notes
    -----
    Rank-biased overlap [1]_ is the mean of ``|A_d and B_d| / max(|A_d|, |B_d|)`` over the depths d down to the end of
    the longer list, weighted by 0.9^(d-1): what A and B have in common among their first d. The confidence interval of
    a ranking metric is that of a mean of differences; of ``rmse`` and ``mae``, linearized, with each user's errors
    summed first, since they are not independent.

    References
    ----------
    .. [1] W. Webber, A. Moffat, J. Zobel. A similarity measure for indefinite rankings. ACM TOIS 28(4), 2010.

    Examples
    --------
    >>> import fastals
    >>> from fastals.evaluation import compare
    >>> from scipy.sparse import csr_array
    >>> plays = csr_array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]])
    >>> held_out = csr_array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    >>> small, large = (fastals.ImplicitALS(factors=k, random_state=0).fit(plays) for k in (1, 2))
    >>> found = compare(small, large, held_out, n=1)
    >>> found.users
    Known(old=4, new=4, common=4, gone=0, added=0)
    >>> found.metrics["ndcg@1"].new
    1.0
    """
    old, new = copy(old), copy(new)  # which keep to their states, whatever is fitted meanwhile
    n = check_int("n", n, low=1)
    before, after = old.state_, new.state_
    users, items = (matched(axis, getattr(before, axis), getattr(after, axis)) for axis in ("users", "items"))
    both = np.flatnonzero(users >= 0)
    both = both[(before.cells_of_users()[both] > 0) & (after.cells_of_users()[users[both]] > 0)]
    if not len(both):
        raise DataError("the models have no user in common, so that there is nothing to compare")
    overlap = Overlap()
    sides = Lists(before, old.num_threads), Lists(after, new.num_threads)
    foreign = np.where(items < 0, len(after.items) + np.arange(len(items)), items)  # an item that only the old one has
    for run in _runs(both, n):
        mine, others = sides[0].add(run, n), sides[1].add(users[run], n)
        overlap.add(np.where(mine < 0, -1, foreign[mine]), np.where(others < 0, -2, others))
    told = [side.told() for side in sides]
    metrics, n_test_users = ({}, 0) if test is None else measured(old, new, test, n)
    sizes = (Known.of(users, len(after.users)), Known.of(items, len(after.items)))
    lists = {name: Change(told[0][name], told[1][name]) for name in LISTS}
    return Comparison(n, *sizes, len(both), overlap.told(), lists, metrics, n_test_users)


def matched(name: str, old: Labels, new: Labels) -> NDArray[np.int64]:
    """Return for each of the old labels its index among the new ones, -1 where there is none."""
    if old.kind != new.kind:
        raise DataError(
            f"the {name} of the two models are {old.kind} and {new.kind}, which cannot be matched: train both on ids "
            "of one kind"
        )
    if old.values is None:
        indices = np.arange(len(old))
        return np.where(indices < len(new), indices, -1)
    return new.encode(old.values, name).astype(np.int64)


def _runs(users: NDArray[np.intp], n: int) -> Iterator[NDArray[np.intp]]:
    size = max(1, min(BATCH_USERS, BATCH_PAIRS // (n * n)))
    for first in range(0, len(users), size):
        yield users[first : first + size]


class Lists:
    """The lists of one model, summed up as they come."""

    def __init__(self, state: Fitted, num_threads: int | None) -> None:
        self.state, self.threads = state, resolve_num_threads(num_threads)
        having = users_of_items(state.pairs)
        self.share = having / len(state.users)
        self.bits = np.log2(len(state.users) / np.maximum(having, 1))
        rank = np.empty(len(having))
        rank[np.argsort(-having, kind="stable")] = np.arange(len(having)) / max(1, len(having) - 1)
        self.rank = rank
        self.exposure = np.zeros(len(having), np.int64)
        self.n_lists = self.n_filled = 0
        self.novelty = self.score = self.score_squares = 0.0

    def add(self, users: NDArray[np.intp], n: int) -> NDArray[np.int32]:
        """Return the lists of some users, as indices of items, -1 behind their ends."""
        found, scores = self.state.top_items(users.astype(np.int32), n, True, self.threads)
        filled = found >= 0
        lengths = filled.sum(axis=1)
        self.exposure += np.bincount(found[filled], minlength=len(self.exposure))
        bits = np.where(filled, self.bits[found], 0).sum(axis=1)
        self.novelty += float((bits[lengths > 0] / lengths[lengths > 0]).sum())
        self.n_lists, self.n_filled = self.n_lists + len(users), self.n_filled + int((lengths > 0).sum())
        numbers = scores[filled].astype(np.float64)
        self.score += float(numbers.sum())
        self.score_squares += float(numbers @ numbers)
        return found

    def told(self) -> dict[str, float]:
        """Return the figures of :attr:`Comparison.lists`; NaN where all lists are empty."""
        places = int(self.exposure.sum())
        if not places:
            return dict.fromkeys(LISTS, np.nan) | {"coverage": 0.0, "length": 0.0}
        mean = self.score / places
        figures = (
            float((self.exposure > 0).mean()),
            gini(self.exposure),
            self.novelty / self.n_filled,
            float(self.share @ self.exposure / places),
            float(self.rank @ self.exposure / places),
            mean,
            float(np.sqrt(max(0.0, self.score_squares / places - mean**2))),
            places / self.n_lists,
        )
        return dict(zip(LISTS, figures, strict=True))


LISTS = ("coverage", "gini", "novelty", "popularity", "popularity_rank", "score", "score_spread", "length")


class Overlap:
    """What two models' lists of the same users have in common, summed up as they come."""

    def __init__(self) -> None:
        self.n = 0
        self.sums = np.zeros(4)

    def add(self, a: NDArray[Any], b: NDArray[Any]) -> None:
        """Take lists whose items are the same where they are equal; below 0 behind their ends."""
        m, n = a.shape
        lengths = (a >= 0).sum(axis=1), (b >= 0).sum(axis=1)
        longer = np.maximum(*lengths)
        user, place, other = np.nonzero(a[:, :, np.newaxis] == b[:, np.newaxis, :])
        # an item of both is in common from the depth on where the later of its places is
        common = np.bincount(user * n + np.maximum(place, other), minlength=m * n).reshape(m, n).cumsum(axis=1)
        shared = common[:, -1]
        depths = np.arange(1, n + 1)
        weights = np.where(depths <= longer[:, np.newaxis], PERSISTENCE ** (depths - 1.0), 0)
        agreed = (common / depths * weights).sum(axis=1)
        said = longer > 0  # two empty lists say nothing
        same = np.bincount(user[place == other], minlength=m) == longer
        figures = (
            shared[said] / longer[said],
            shared[said] / (lengths[0] + lengths[1] - shared)[said],
            agreed[said] / weights[said].sum(axis=1),
            same[said],
        )
        self.n += int(said.sum())
        self.sums += [figure.sum() for figure in figures]

    def told(self) -> dict[str, float]:
        """Return the figures of :attr:`Comparison.overlap`."""
        means = self.sums / self.n if self.n else np.full(4, np.nan)
        return dict(zip(("common", "jaccard", "rbo", "same"), means.tolist(), strict=True))


# -- what was held out ------------------------------------------------------------------------------------------------


def measured(old: Recommender, new: Recommender, test: Any, n: int) -> tuple[dict[str, Difference], int]:
    """Judge both models on the same cells."""
    before, after = old.state_, new.state_
    if before.users.values is None:
        users, items, values = _events(before, test)
        known = users < min(len(before.users), len(after.users))  # a matrix fits one of them only
        test = users[known], items[known], values[known]
    elif issparse(test):
        raise DataError("test must have labels, as the models have: a matrix would be in the order of one of them")
    new_to_old = new_to_users(before, seen_by(before, None), test)
    cells = new_to_users(after, seen_by(after, None), _events(before, new_to_old))
    if not (cells.values > 0).any():
        refuse_nothing()
    users = np.flatnonzero(np.diff(cells.indptr))
    labels = cells.user_labels.decode(users)
    each = []
    for model in (old, new):
        lists = model.recommend(labels, n=n).items
        each.append(judge(spread(lists, users, cells.n_users), cells, n))
    metrics = {}
    for name, metric in RANKING.items():
        a, b = (metric(*judged).astype(np.float64) for judged in each)
        metrics[f"{name}@{n}"] = difference(float(a.mean()), float(b.mean()), b - a)
    if before.ratings and after.ratings:
        metrics |= errors(old, new, test)
    return metrics, len(each[0][1])


def _events(state: Fitted, test: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """User, item and value of each cell, repeated ones merged as in the fit."""
    cells = held_out(test, state.ratings, state.duplicates)
    rows = np.repeat(np.arange(cells.n_users), np.diff(cells.indptr))
    return cells.user_labels.decode(rows), cells.item_labels.decode(cells.indices), cells.values


def difference(old: float, new: float, influence: NDArray[np.float64]) -> Difference:
    """A difference that is the mean of ``influence`` over users, or differs from it by a constant only."""
    deviation = float(influence.std(ddof=1) / np.sqrt(len(influence))) if len(influence) > 1 else np.nan
    half = QUANTILE * deviation
    return Difference(old, new, new - old, new - old - half, new - old + half)


def errors(old: Recommender, new: Recommender, test: Any) -> dict[str, Difference]:
    """Errors of two models of ratings, on the cells whose user and item both know."""
    users, items, values = _events(old.state_, test)
    predicted = [model.predict(users, items).astype(np.float64) for model in (old, new)]
    both = np.isfinite(predicted[0]) & np.isfinite(predicted[1])
    if not both.any():
        return {}
    _, group = np.unique(users[both], return_inverse=True)
    sizes = np.abs(predicted[0] - values)[both], np.abs(predicted[1] - values)[both]
    found = {}
    for name, power in (("rmse", 2), ("mae", 1)):
        means = [float((size**power).mean()) for size in sizes]
        figures = [mean ** (1 / power) for mean in means]
        # of each cell's error what it adds to the figure, to first order
        parts = [
            (size**power - mean) / (power * figure ** (power - 1)) if figure else np.zeros(len(size))
            for size, mean, figure in zip(sizes, means, figures, strict=True)
        ]
        by_user = np.bincount(group, parts[1] - parts[0]).astype(np.float64)
        found[name] = difference(figures[0], figures[1], by_user * (len(by_user) / len(group)))
    return found
