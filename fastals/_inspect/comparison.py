"""A model's settings beside what needs no model: lists of what is popular, ratings guessed from means.

No cell is taken from the model's own training for it: a second model of the same settings is trained without some of
the cells and asked for them. To solve but the rows of those cells anew would be cheaper, and blind: factors that fit
noise hold the hidden cells in all other rows, and give them back (ExplicitALS(regularization=0.1) on ml-100k: RMSE 0.76
on cells hidden so, 1.54 on cells never seen).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import FastalsError, resolve_num_threads
from .._data import Interactions, Known, Labels, contains, distinct, known_of, left_known, trusted
from .._equation import LEAST_ERROR, interruptible
from .._fitted import FittedState
from ..evaluation import evaluate, popularity_baseline

USERS, FEWEST_USERS = 300, 20
"""Users who are asked, and how few are too few for a verdict."""
CELLS, HIDDEN = 5, 5
"""A user of so many cells can be asked; of so many cells one is hidden."""
DAMPING = 5.0
"""How many ratings of the overall mean a user's and an item's mean is damped by."""
LENGTH = 10
"""Of the lists."""
MAX_CELLS = 1 << 20
"""Of more cells only those of some users are taken, about so many."""
SEED = 0


class Check(NamedTuple):
    """What came out."""

    text: str
    """The figures, or why there are none."""
    worry: str | None = None
    """That the model loses."""
    measured: bool = False
    """Whether there are figures."""

    def lines(self) -> list[str]:
        """The text, and the worry marked as one."""
        return [self.text] + ([] if self.worry is None else [f"! {self.worry}"])


class Cells(NamedTuple):
    """Stored cells, by user."""

    users: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[Any]
    weights: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Cells:
        """Some of them."""
        return Cells(self.users[chosen], self.items[chosen], self.values[chosen], self.weights[chosen])

    def matrix(self, shape: tuple[int, int], known: Known) -> Interactions:
        """As interactions without labels, beside which some pairs are known."""
        indptr = np.searchsorted(self.users, np.arange(shape[0] + 1))
        users, items = (Labels(None, n) for n in shape)
        return trusted((indptr, self.items, self.values), None, users, items, known=known)


def check(model: Any) -> Check:
    """Train a model of the same settings without some cells, and ask it for them beside what needs no model.

    Costs a fit of at most about ``MAX_CELLS`` cells. The same for any number of threads.

    Examples
    --------
    >>> import fastals
    >>> from fastals._inspect.comparison import check
    >>> plays = [(user, item) for user in range(40) for item in range(40) if user % 4 == item % 4]
    >>> model = fastals.ImplicitALS(factors=4, regularization=0.1, random_state=0).fit(tuple(zip(*plays)))
    >>> check(model).text
    'fitted again without 80 cells of 40 users, and asked for them: NDCG@10 1.0000, popularity 0.0400'
    """
    state: FittedState = model.state_
    ratings, threads = state.ratings, resolve_num_threads(model.num_threads)
    name = f"biases damped by {DAMPING:g} ratings" if ratings else "popularity"
    if not state.has_history:
        return Check(f"saved without its history, which a comparison with {name} needs: save(..., history=True)")
    cells, shape, share, known = _cells(state)
    hidden, n_users = _hide(cells, shape, ratings)
    if n_users < FEWEST_USERS:
        return Check(
            f"not compared with {name}: {n_users:,} users have {CELLS} cells or more, {FEWEST_USERS} are needed"
        )
    left, asked = cells.where(~hidden), cells.where(hidden)
    train = left.matrix(shape, known)
    weights = None if state.weights is None else left.weights
    try:
        other = type(model)(**_parameters(state, share), num_threads=threads)
        with interruptible():
            other.fit(train, sample_weight=weights, progress=False)
    except FastalsError as error:  # a check must not keep a model from its owner
        return Check(f"not compared with {name}: {error}")
    if ratings:
        guesses = (
            other.state_.pair_scores(asked.users.astype(np.int32), asked.items, threads),
            _biases(left, asked, shape),
        )
        errors = [
            float(np.sqrt(np.average((each - asked.values.astype(np.float64)) ** 2, weights=asked.weights)))
            for each in guesses
        ]
        figures = f"RMSE {errors[0]:.4g}, {name} {errors[1]:.4g}"
        size_of_ratings = float(np.sqrt(np.mean(np.square(asked.values, dtype=np.float64))))
        loses = not errors[0] <= errors[1] + LEAST_ERROR * size_of_ratings
        worry = "means of users and items predict unseen ratings better than a model of these settings"
    else:
        test, metric = asked.matrix(shape, Known()), f"ndcg@{LENGTH}"
        gains = [measure(other, None, test, LENGTH)[metric] for measure in (evaluate, popularity_baseline)]
        figures = f"{metric.upper()} {gains[0]:.4f}, {name} {gains[1]:.4f}"
        loses = gains[0] < gains[1]
        worry = "lists of what is popular are better than those of a model of these settings"
    size = "" if share == 1 else f" on {shape[0]:,} of {len(state.users):,} users"
    text = f"fitted again{size} without {len(asked.users):,} cells of {n_users:,} users, and asked for them: {figures}"
    return Check(text, f"{worry}: {figures}" if loses else None, True)


def _cells(state: FittedState) -> tuple[Cells, tuple[int, int], float, Known]:
    """Return the cells to work on, how many users and items they have, the share of the users, and what is known."""
    data, twin = state.history()
    lengths = np.diff(data.indptr)
    users, shape, share, besides = np.arange(data.n_users), data.shape, 1.0, known_of(data)
    if data.nnz > MAX_CELLS:
        order = np.random.default_rng(SEED).permutation(data.n_users)
        order = order[lengths[order] <= MAX_CELLS // FEWEST_USERS]  # no single user is to be the sample
        users = np.sort(order[lengths[order].cumsum() <= MAX_CELLS])
        share = len(users) / data.n_users
    rows, items = data.lines("users").lists(users).pairs()
    if share < 1:
        known, places = np.unique(items, return_inverse=True)
        items, shape = places.astype(np.int32), (len(users), len(known))
        of_users, of_items = np.zeros(data.n_users, np.bool_), np.zeros(data.n_items, np.bool_)
        of_users[users] = of_items[known] = True
        besides = left_known(data, of_users, of_items, (Labels(None, shape[0]), Labels(None, shape[1])))
    weights = np.ones(len(items)) if twin is None else _values(twin, users).astype(np.float64)
    return Cells(rows, items, _values(data, users), weights), shape, share, besides


def _values(data: Interactions, users: NDArray[np.intp]) -> NDArray[Any]:
    """The values of the cells of some users."""
    lines = data.lines("users")
    first = np.flatnonzero(np.diff(users, prepend=-2) != 1)  # those that follow each other are read at once
    last = np.append(first[1:], len(users))[: len(first)]
    parts = (lines.read(users[a], users[b - 1] + 1)[1] for a, b in zip(first, last, strict=True))
    return np.concatenate([np.empty(0, lines.dtype), *parts])


def _hide(cells: Cells, shape: tuple[int, int], ratings: bool) -> tuple[NDArray[np.bool_], int]:
    """Return which cells to hide, those of a random fifth of the pairs of some users, and how many users that are.

    Hidden are pairs that a rating is known of, or a positive value; a cell of weight 0 is as good as not stored.
    """
    numbers = cells.users * shape[1] + cells.items
    able = cells.weights > 0 if ratings else (cells.weights > 0) & (cells.values > 0)
    pairs = distinct(numbers[able])
    counts = np.bincount(pairs // shape[1], minlength=shape[0])
    users = np.flatnonzero(counts >= CELLS)
    users = users[np.linspace(0, len(users) - 1, min(USERS, len(users))).astype(np.intp)]
    pairs = pairs[np.isin(pairs // shape[1], users)]
    counts = counts[users]
    order = np.lexsort((np.random.default_rng(SEED).random(len(pairs)), pairs // shape[1]))
    rank = np.arange(len(pairs)) - np.repeat(counts.cumsum() - counts, counts)
    hidden = np.sort(pairs[order[rank < np.repeat(counts // HIDDEN, counts)]])
    return contains(hidden, numbers), len(users)


def _parameters(state: FittedState, share: float) -> dict[str, Any]:
    """Return the parameters of the other fit.

    Of a share of the users the objective has that share of its terms, but for the items' penalty: that is given it.
    """
    parameters = dict(state.parameters)
    del parameters["num_threads"]
    parameters["random_state"] = SEED
    if "prior_strength" not in state.settings:  # a fit that starts from another model is soon done
        parameters["iterations"] = state.best_iteration or state.n_iter
    regularization = parameters["regularization"]
    if share < 1 and not isinstance(regularization, str):
        of_users, of_items = regularization if isinstance(regularization, tuple) else (regularization, regularization)
        scaling = parameters["regularization_scaling"]
        power = {"constant": 0.0, "auto": 0.0, "count": 1.0}[scaling] if isinstance(scaling, str) else float(scaling)
        parameters["regularization"] = of_users, of_items * share ** (1 - power)
    return dict(parameters)


def _biases(left: Cells, asked: Cells, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Predict by the mean, damped means of the items, and of what these leave, damped means of the users."""

    def damped(lines: NDArray[Any], rest: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        sums = np.bincount(lines, left.weights * rest, n), np.bincount(lines, left.weights, n)
        means: NDArray[np.float64] = sums[0] / (sums[1] + DAMPING)
        return means

    mean = np.average(left.values, weights=left.weights)
    items = damped(left.items, left.values - mean, shape[1])
    users = damped(left.users, left.values - mean - items[left.items], shape[0])
    predicted: NDArray[np.float64] = mean + items[asked.items] + users[asked.users]
    return predicted
