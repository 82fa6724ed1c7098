"""A fitted model's health, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import kernels, single_threaded_blas
from .._equation import LEAST_ERROR, ArraySide, roots, spread, told
from .._fitted import FittedState
from .explain import row_system

if TYPE_CHECKING:
    from .._equation import RowSource
    from .comparison import Check

SYSTEMS = 32
"""Rows of either side whose condition number is computed."""
LISTS = 1000
"""Users whose lists are looked at."""
PAIRS = 50_000
"""Pairs that are scored for each side, all of whose rows occur where it has no more."""
TARGETS = 3
"""A score of so many times the largest target is no answer to any data."""


def are_alike(rows: RowSource, mean: float) -> bool:
    """Whether ratings leave nothing to explain: they are the mean that the model starts from, beside their size."""
    return spread(rows, centered=bool(mean)) <= LEAST_ERROR * spread(rows, centered=False)


def conditions(side: ArraySide, mean: float) -> NDArray[np.float64]:
    """Condition numbers of some rows' systems, evenly spread over those that have cells."""
    others = side.inputs()
    k = others.shape[1]
    gram = kernels.gram(others, 1, False, roots(side.other_share)) if side.weights.unobserved else np.zeros((k, k))
    held = np.flatnonzero(np.diff(side.rows.indptr))
    chosen = held[np.linspace(0, len(held) - 1, min(SYSTEMS, len(held))).astype(np.intp)]
    found = []
    for first, run in side.targets(mean).runs():
        for row in chosen[(chosen >= first) & (chosen < first + len(run))] - first:
            one = run.between(row, row + 1)
            share = 1.0 if side.share is None else float(side.share[first + row])
            system = row_system(one, others, side.weights, side.ridge(first + row), share * gram)[0]
            eigenvalues = np.linalg.eigvalsh(system)
            found.append(eigenvalues[-1] / eigenvalues[0] if eigenvalues[0] > 0 else np.inf)
    return np.array(found)


def one_more(side: ArraySide, solver: str, mean: float) -> tuple[float, int]:
    """How far exact solutions are from the factors, relative to them, and how many systems were singular."""
    before = side.factors
    side.factors = before.copy()
    with single_threaded_blas():
        side.solve(solver, mean=mean)
    norm = float(np.linalg.norm(before))
    step, rescued = float(np.linalg.norm(side.factors - before)), len(side.rescued)
    side.factors = before
    return (step / norm if norm else step), rescued


def describe(model: Any, state: FittedState, threads: int, compared: Check) -> str:
    """Write the report of :meth:`fastals.ImplicitALS.diagnose`."""
    X, Y = state.user_factors, state.item_factors
    fitted = type(model)(**{**state.parameters, "num_threads": model.num_threads})
    lines = [f"{fitted!r}: {len(X):,} users x {len(Y):,} items, {state.pairs.nnz:,} cells"]
    lines.append(f"settings: {told(state.settings)}")
    worries: list[str] = []
    counts = state.cells_of_users(), state.cells_of_items()
    if not state.has_history:
        lines.append("saved without its history: nothing to say about loss, singular rows and condition numbers")
        lines.append(compared.text)
    else:
        sides = state.trained_sides(threads)
        lines += _fit(state, sides, worries, threads)
    for name, factors, cells in zip(("users", "items"), (X, Y), counts, strict=True):
        norms = np.linalg.norm(factors.astype(np.float64), axis=1)
        lines.append(
            f"{name}: {np.sum(cells == 0):,} without cells, {np.sum((norms == 0) & (cells > 0)):,} with cells but of "
            f"zeros; norms {norms.min():.3g} to {norms.max():.3g}, median {np.median(norms):.3g}"
        )
        if np.mean(cells == 0) > 0.5:
            worries.append(f"more than half of the {name} have no cells: is the matrix turned, or its shape too large?")
    lines.append(_popularity(state, counts[1], threads))
    if state.has_history:
        worries += _far_off(state, sides, counts, threads)
        lines.append(compared.text)
        worries += [compared.worry] if compared.worry else []
    return "\n".join(lines + [f"! {worry}" for worry in worries])


def _fit(state: FittedState, sides: tuple[ArraySide, ArraySide], worries: list[str], threads: int) -> list[str]:
    """Loss, singular rows and condition numbers."""
    mean, solver = state.mean, state.equation.exact_solver
    lines = []
    loss, at_zero = sides[0].loss(mean), sides[0].constant(mean)
    penalties = [side.penalty() for side in sides]
    lines.append(
        f"loss {loss + sum(penalties):.6g}: cells {loss:.6g}, users' penalty {penalties[0]:.6g}, "
        f"items' penalty {penalties[1]:.6g}; {at_zero:.6g} without factors"
    )
    alike = state.ratings and are_alike(state.rows("users", threads), mean)
    if loss > 0.99 * at_zero and not alike:
        worries.append("the factors explain next to nothing: regularization outweighs the data, try much less of it")
    history, kept = state.loss_history, state.best_iteration
    if kept and kept < state.n_iter:
        # the last loss is that of the iteration kept
        lines.append(f"after {state.n_iter} iterations; kept was number {kept}, the best by what was held out")
    elif len(history) > 1:
        change = (history[-2] - history[-1]) / abs(history[-2]) if history[-2] else 0.0
        lowered = f"lowered the loss by {change:.2%}" if change >= 0 else "changed it by rounding"
        lines.append(f"after {state.n_iter} iterations; the last one {lowered}")
        if change > 0.01 and not alike:
            worries.append("the loss is still falling: more iterations would lower it")
    if state.n_repeated:
        lines.append(f"{state.n_repeated} iterations were led up by rounding, and made once more exactly or taken back")
        worries.append(
            f"{sides[0].factors.dtype} is at its limit here: more regularization or dtype='float64' would help"
        )
    for name, side in zip(("users", "items"), sides, strict=True):
        step, rescued = one_more(side, solver, mean)
        numbers = conditions(side, mean)
        lines.append(
            f"{name}' systems: exact solutions are {step:.2%} away, {rescued:,} are singular or nearly, and were "
            "solved in float64, by the minimum norm where nothing else is determined; condition numbers of "
            f"{len(numbers)}: median {np.median(numbers):.2g}, largest {numbers.max():.2g}"
        )
        if rescued:
            worries.append(f"{rescued:,} {name} have singular systems, or nearly: a little regularization would help")
    return lines


def _popularity(state: FittedState, counts: NDArray[np.int64], threads: int) -> str:
    """How much of the lists the most popular items take up."""
    n_users, n_items = len(state.users), len(state.items)
    rows = np.unique(np.linspace(0, n_users - 1, min(LISTS, n_users)).astype(np.int32))
    n = min(10, n_items)
    listed = state.top_items(rows, n, True, threads)[0]
    listed = listed[listed >= 0]
    top = np.argsort(-counts, kind="stable")[: max(1, n_items // 100)]
    share, cells = np.isin(listed, top).mean() if len(listed) else 0.0, counts[top].sum() / max(1, counts.sum())
    return (
        f"lists of {n} for {len(rows):,} users: the {len(top):,} most popular items (1 %) fill {share:.0%} of the "
        f"places, and {cells:.0%} of the cells; {len(np.unique(listed)):,} items occur"
    )


def _far_off(
    state: FittedState,
    sides: tuple[ArraySide, ArraySide],
    counts: tuple[NDArray[np.int64], NDArray[np.int64]],
    threads: int,
) -> list[str]:
    """Whether some scores are far from all that the data could mean, or no numbers."""
    rng = np.random.default_rng(0)
    held = [np.flatnonzero(each) for each in counts]
    if not all(map(len, held)):
        return []
    all_rows = [rows[np.linspace(0, len(rows) - 1, PAIRS).astype(np.intp)] for rows in held]
    any_rows = [rows[rng.integers(0, len(rows), PAIRS)] for rows in held]
    users, items = np.append(all_rows[0], any_rows[0]), np.append(any_rows[1], all_rows[1])
    scores = state.pair_scores(users.astype(np.int32), items.astype(np.int32), threads).astype(np.float64)
    if state.ratings:
        least, most, _, _ = state.rows("users", threads).extremes()
        # ratings that are all alike have no range
        width = (most - least) or abs(most) or 1.0
        low, high = least - width, most + width
        limits = f"{low:.4g} to {high:.4g}, the range of the ratings and as much again on either side"
    else:
        high = TARGETS * _largest_target(sides[0])
        low = -high
        limits = f"{low:.4g} to {high:.4g}, {TARGETS} times the largest value that a cell asks for"
    worries = []
    if wrong := np.count_nonzero(~np.isfinite(scores)):
        worries.append(f"{wrong:,} of {len(scores):,} scores are not finite")
    scores = scores[np.isfinite(scores)]
    if outside := np.count_nonzero((scores < low) | (scores > high)):
        farthest = scores[np.argmax(np.maximum(low - scores, scores - high))]
        worries.append(
            f"{outside:,} of {2 * PAIRS:,} scores, the farthest {farthest:.4g}, are outside {limits}: "
            "too little regularization, or a fit that failed"
        )
    return worries


def _largest_target(side: ArraySide) -> float:
    """The largest |b| / (w0 + a) of a stored cell."""
    largest = 0.0
    for _, _, values, scale in side.rows.chunks():
        a, b = side.weights.of(values, scale)
        a += side.weights.unobserved
        largest = max(largest, float(np.max(np.divide(np.abs(b), a, out=np.zeros_like(a), where=a > 0), initial=0)))
    return largest
