"""What "auto" stands for: the settings of a fit, from what the user gave and what the data are like.

With ``regularization="auto"`` a rule made on public data sets decides them all; with a number all have the values that
make the number lambda itself. What the user gives is never changed: the rule then fits lambda to it.

The rule starts from what noise alone would give. A matrix of z independent cells of root mean square b, in m rows and n
columns, has no singular value beyond about b (sqrt(z/m) + sqrt(z/n)), the edge (Bandeira & van Handel 2016); ALS keeps
a direction whose singular value is above sqrt(lambda_u lambda_i), and shrinks it by that, since both penalties together
are a trace norm (Srebro, Rennie & Jaakkola 2004, lemma 1). So half the edge, between a typical user and a typical item,
is the lambda of implicit feedback; that of ratings is proportional to their standard deviation, the unit that factors
come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import check_bool, check_choice, check_pair_or_real, check_real
from .refusals import check_finite_factors
from .rows import CHUNK, CellWeights, RowSource

Settings: TypeAlias = dict[str, Any]
"""By the names of the constructor's parameters; a pair of numbers is one for users, one for items."""

DEVIATIONS, EXPLICIT_SCALING = 1.2, 0.5
"""Of ratings: lambda in standard deviations, and its scaling."""

BIAS_REGULARIZATION = 3.0
"""A number of ratings: what a bias explains and what it costs are both proportional to the square of the ratings."""

EDGE_SHARE, IMPLICIT_SCALING = 0.5, 1.0
"""Of implicit feedback: sqrt(lambda_u lambda_i) as a share of the edge, and lambda's scaling."""

POPULARITY_WEIGHT = 5.0
"""w0 as a multiple of the popularity of a typical event's item, which is a share of the users."""

TOLERANCE = 2e-4
"""An iteration that lowers the objective by less than this share is the last."""

POWER_STEPS, POWER_TOLERANCE = 50, 1e-4
"""Of the power iteration, which toy data alone need to the end: any lower bound will do."""


# ---------------------------------------------------------------------------------------------------------------------
# one setting

WORDS: Mapping[str, tuple[str, ...]] = {
    "regularization_scaling": ("constant", "count"),
    "confidence": ("linear", "log"),
}
OTHERWISE: Mapping[str, str] = {
    "regularization": "or a number, or a pair (users, items)",
    "regularization_scaling": "or a number",
    "unobserved_weight": "or a number",
    "biases": "or True or False",
    "bias_regularization": "or a number, or a pair (users, items)",
    "tol": "or a number, or None",
}


def check_setting(name: str, value: Any, *, auto: bool = True) -> Any:
    """Return a setting as what it stands for in plain Python; "auto" only where ``auto`` says so."""
    words = (("auto",) if auto else ()) + WORDS.get(name, ())
    if name == "confidence" or (words and isinstance(value, str)):
        return check_choice(name, value, words, OTHERWISE.get(name, ""))
    if name == "biases":
        return check_bool(name, value)
    if name in ("regularization", "bias_regularization", "prior_strength"):
        users, items = check_pair_or_real(name, value, low=0)
        return (users, items) if isinstance(value, tuple | list) else users
    if name == "tol" and value is None:
        return None
    return check_real(name, value, low=0)


def chosen(
    given: Mapping[str, Any], *, scaling: float, preset: str | None = None, solver: str = "auto"
) -> tuple[Settings, set[str]]:
    """Return the settings as far as they do not depend on the data, and the names of those that do.

    The latter, of which there are none where ``regularization`` is a number, are 1 for the time being.

    Parameters
    ----------
    given : mapping
        The constructor's parameters that may be "auto".
    scaling : float
        The rule's ``regularization_scaling``.
    """
    checked = {name: check_setting(name, value) for name, value in given.items()}
    by_rule = checked["regularization"] == "auto"
    meant = {
        "regularization": 1.0,
        "regularization_scaling": scaling if by_rule else "constant",
        "unobserved_weight": 1.0,
        "confidence": "log" if by_rule else "linear",
        "biases": preset is None,
        "bias_regularization": BIAS_REGULARIZATION if by_rule else checked["regularization"],
        "tol": TOLERANCE if solver == "auto" and preset is None else None,
    }
    auto = {name for name, value in checked.items() if value == "auto"}
    of_data = auto & {"regularization", "unobserved_weight"} if by_rule else set()
    return {name: meant[name] if name in auto else value for name, value in checked.items()}, of_data


def read_settings(found: Any, names: Sequence[str]) -> Settings:
    """Return the settings that a file holds, each checked: they may come from strangers.

    Beside these names there is that of the strength of a prior, where the fit had one.
    """
    if found.keys() - {"prior_strength"} != set(names):
        raise ValueError(f"settings must be {', '.join(names)}, got {', '.join(map(str, found))}")
    return {name: check_setting(name, found[name], auto=False) for name in found}


def told(settings: Mapping[str, Any]) -> str:
    """Return settings as text."""

    def text(value: Any) -> str:
        if isinstance(value, tuple):
            return f"({', '.join(map(text, value))})"
        return f"{value:.6g}" if isinstance(value, float) else repr(value)

    return ", ".join(f"{name}={text(value)}" for name, value in settings.items())


# ---------------------------------------------------------------------------------------------------------------------
# lambda


def sizes(scaling: str | float, counts: Any, unobserved: Any, n_other: float) -> NDArray[np.float64]:
    """Return lambda_u / lambda of rows with ``counts`` cells, by weight."""
    if scaling == "constant":
        return np.ones(np.shape(counts))
    if scaling == "count":
        return np.asarray(counts, np.float64)
    return np.asarray(np.power(counts + unobserved * n_other, float(scaling), dtype=np.float64))


class Cells(NamedTuple):
    """What the rule asks of the cells that count, which are those of positive value for implicit feedback.

    Repeated cells are one pair: a cell of weight 2 is the cell twice, and one of weight 0 is none.

    Attributes
    ----------
    z : int
        How many pairs of user and item they are of.
    weight : float
        The sum of their sample weights, without these the number of cells: as lambda counts them.
    users, items : int
        m and n: those that have any.
    squares : float
        Sum_i d_i^2, d_i being the pairs of item i.
    shape : (int, int)
        All users and items.
    repeats : bool
        There are more cells than pairs.
    """

    z: int
    weight: float
    users: int
    items: int
    squares: float
    shape: tuple[int, int]
    repeats: bool

    @classmethod
    def of(cls, rows: RowSource, columns: RowSource, positive_only: bool) -> Cells:
        """Count the cells in both orientations; those of weight 0 are not there."""
        repeats = rows.have_repeats()
        d_users, d_items = (_pairs(part, positive_only, repeats) for part in (rows, columns))
        z = int(d_users.sum())
        weight = float(np.sum(rows.counts(positive_only))) if rows.weighted or repeats else z
        return cls(
            z,
            weight,
            int(np.count_nonzero(d_users)),
            int(np.count_nonzero(d_items)),
            float(np.sum(np.square(d_items, dtype=np.float64))),
            (len(d_users), len(d_items)),
            repeats,
        )


def _pairs(rows: RowSource, positive_only: bool, repeats: bool) -> NDArray[Any]:
    """Return the pairs of each row of which a cell counts."""
    if not rows.weighted and not repeats:
        return rows.counts(positive_only)
    pairs = np.zeros(len(rows), np.int64)
    last = -1, -1
    for part, others, values, scale in rows.chunks():
        lines = rows.lines_of(part)
        present = np.ones(len(lines), bool) if scale is None else scale > 0
        if positive_only:
            present &= values > 0
        lines, others = lines[present], others[present]
        if len(lines):
            np.add.at(pairs, lines[_starts(lines, others, last)], 1)
            last = int(lines[-1]), int(others[-1])
    return pairs


def _starts(lines: NDArray[Any], others: NDArray[Any], before: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which cells are the first of their pair; ``before`` is the pair of the cell before these."""
    starts = np.ones(len(lines), bool)
    starts[0] = (lines[0], others[0]) != before
    starts[1:] = (lines[1:] != lines[:-1]) | (others[1:] != others[:-1])
    return starts


def row_regularization(
    regularization: float, scaling: str | float, unobserved: Any, counts: NDArray[Any], n_others: float
) -> NDArray[np.float64]:
    """Return lambda_u of rows with ``counts`` cells, the other side having ``n_others`` rows in all, both by weight."""
    return regularization * sizes(scaling, counts, unobserved, n_others)


def _typical(scaling: str | float, cells: Cells, unobserved: float) -> float:
    """Return sqrt(lambda_u lambda_i) / lambda of an average user and an average item."""
    n_users, n_items = cells.shape
    user = sizes(scaling, cells.weight / cells.users, unobserved, n_items)
    item = sizes(scaling, cells.weight / cells.items, unobserved, n_users)
    return float(np.sqrt(user) * np.sqrt(item))


def explicit_regularization(rows: RowSource, columns: RowSource, scaling: str | float, *, centered: bool) -> float:
    """Return lambda of ratings: 1.2 standard deviations with the rule's scaling.

    Parameters
    ----------
    scaling : str or float
        With another scaling than the rule's, the lambda of an average user and an average item is as with that.
    centered : bool
        Whether the model has a global mean; without, the root mean square is what the factors have to explain.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lam = DEVIATIONS * (spread(rows, centered) or 1.0)
    if scaling != EXPLICIT_SCALING:
        cells = Cells.of(rows, columns, positive_only=False)
        if cells.z:
            lam *= _typical(EXPLICIT_SCALING, cells, 0.0) / _typical(scaling, cells, 0.0)
    return _finite(lam, rows)


def unobserved_weight(cells: Cells) -> float:
    """Return w0 of implicit feedback: five times the share of the users that a typical event's item has, at most 1.

    The fewer users know even the popular items, the less does it mean that there was no event.
    """
    return min(1.0, POPULARITY_WEIGHT * cells.squares / (cells.z * cells.users))


def implicit_regularization(
    rows: RowSource, columns: RowSource, cells: Cells, weights: CellWeights, scaling: str | float
) -> float:
    """Return lambda of implicit feedback: half the edge of what noise alone gives, or half of what there is, if less.

    Toy data reach the edge exactly: a single cell, or users who have an item each. Half of their largest singular value
    leaves something of that.
    """
    unit, total, squares = _right_hand(rows, weights, cells.repeats)
    if not squares:
        return 0.0
    per_user, per_item = cells.z / cells.users, cells.z / cells.items
    edge = np.sqrt(squares / cells.z) * (np.sqrt(per_user) + np.sqrt(per_item))
    # the mean over the users and items that there are is the least that the largest singular value can be
    largest = total / np.sqrt(cells.users * cells.items)
    if largest < edge:
        largest = _largest_singular_value(rows, columns, weights, unit, edge)
    lam = EDGE_SHARE * unit * min(edge, largest) / _typical(scaling, cells, weights.unobserved)
    return _finite(lam, rows)


def _finite(lam: float, rows: RowSource) -> float:
    with np.errstate(over="ignore"):
        check_finite_factors(np.array([lam]).astype(rows.dtype))
    return float(lam)


LEAST_ERROR = 1e-5
"""Of the size of ratings: nobody minds a smaller one."""


def spread(rows: RowSource, centered: bool) -> float:
    """Return the standard deviation of the values, or their root mean square, by weight."""
    low, high = np.inf, -np.inf
    for _, _, values, scale in rows.chunks():
        held = True if scale is None else scale > 0
        low = float(np.min(values, initial=low, where=held))
        high = float(np.max(values, initial=high, where=held))
    if low > high or (centered and low == high):
        return 0.0
    mean = rows.mean() if centered else 0.0
    unit = max(abs(low - mean), abs(high - mean))  # squares of the values themselves may be out of range
    if not unit:
        return 0.0
    total = weight = 0.0
    for _, _, values, scale in rows.chunks():
        d = (values.astype(np.float64) - mean) / unit
        s = np.ones_like(d) if scale is None else scale.astype(np.float64)
        total += float(np.sum(s * d * d))
        weight += float(np.sum(s))
    return unit * float(np.sqrt(total / weight))


def _right_hand(rows: RowSource, weights: CellWeights, repeats: bool) -> tuple[float, float, float]:
    """Return a unit of b, which is not below any cell's, and in it the sum of b and of its squares, pair by pair."""
    extremes = rows.extremes()
    top = extremes.heaviest * (weights.b0 + weights.b1 * extremes.high)
    if not 0 < top < np.inf:
        return _finite(top, rows), 0.0, 0.0
    total = squares = under_way = 0.0
    last = -1, -1
    for part, others, values, scale in rows.chunks():
        b = weights.of(values, scale)[1] / top
        total += float(np.sum(b))
        if repeats:
            # the last pair may go on in the next chunk
            lines = rows.lines_of(part)
            starts = np.flatnonzero(_starts(lines, others, last))
            last = int(lines[-1]), int(others[-1])
            under_way += float(np.sum(b[: starts[0] if len(starts) else len(b)]))
            if not len(starts):
                continue
            squares += under_way**2
            b = np.add.reduceat(b, starts)
            b, under_way = b[:-1], float(b[-1])
        squares += float(np.sum(b * b))
    return top, total, squares + under_way**2


def _largest_singular_value(
    rows: RowSource, columns: RowSource, weights: CellWeights, unit: float, enough: float
) -> float:
    """Return the largest singular value of the matrix of b / unit; less, but not less than ``enough``, if that is more.

    By power iteration, whose every step gives a lower bound. Each cell is worth 0 or more, so that from a start of ones
    it finds no smaller one.
    """
    # those behind the last one that has cells add nothing
    n_items = int(np.flatnonzero(np.diff(columns.indptr))[-1]) + 1
    x: NDArray[Any] = np.full(n_items, 1 / np.sqrt(n_items), rows.dtype)
    bound = before = 0.0
    for _ in range(POWER_STEPS):
        for side, n in ((rows, len(rows)), (columns, n_items)):
            x = _product(side, weights, unit, x)[:n]
            # no BLAS: its sums depend on the number of threads
            bound = float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))
            if bound >= enough:
                return bound
            x /= x.dtype.type(bound)
        if bound <= before * (1 + POWER_TOLERANCE):
            break
        before = bound
    return bound


def _product(rows: RowSource, weights: CellWeights, unit: float, x: NDArray[Any]) -> NDArray[Any]:
    """Return the matrix of b / unit times a vector: each row's sum in the order of its cells."""
    product = np.empty(len(rows), rows.dtype)
    for first, run in rows.runs():
        b = np.empty_like(run.values)
        for start in range(0, len(b), CHUNK):
            part = run.cells(slice(start, start + CHUNK))
            b[start : start + CHUNK] = weights.of(part.values, part.scale)[1] / unit
        matrix = sparse.csr_array((b, run.indices, run.indptr), shape=(len(run), len(x)), copy=False)
        product[first : first + len(run)] = matrix @ x
    return product
