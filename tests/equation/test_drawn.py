"""Rows drawn to means: what a side says and solves, and the iterations of a fit."""

from typing import Any

import numpy as np
import pytest
import reference
from test_descent import ALL, DTYPES, descent_of, objective, off, ratings, sides
from test_sweep import EVENTS, N_OTHERS, RATINGS, SIDES, K, cut, factors_of, rows_of, side_of, stored, told

from fastals._equation.descent import Descent
from fastals._equation.rows import Prior
from fastals._equation.side import ArraySide
from fastals._inspect.explain import contributions, row_system

pytestmark = pytest.mark.usefixtures("serial_blas")


def prior_of(n: int, columns: int, dtype: Any, seed: int = 4) -> Prior:
    """Means for two rows of three."""
    rng = np.random.default_rng(seed)
    strength, last = (rng.uniform(0.1, 3, n) * (np.arange(n) % 3 > 0) for _ in range(2))
    return Prior(factors_of(n, columns, dtype, seed), strength.astype(dtype), last.astype(dtype))


# ---------------------------------------------------------------------------------------------------------------------
# a side


@DTYPES
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack", "nnls"])
@pytest.mark.parametrize("kind", SIDES)
def test_any_cut_gives_the_same_bits(kind: str, solver: str, dtype: str) -> None:
    weights, own, weighted = SIDES[kind]
    n, rng = 300, np.random.default_rng(0)
    rows, prior = rows_of(n, np.dtype(dtype), weighted=weighted), prior_of(n, K + (own is not None), dtype)
    relaxation = 0.4 if solver == "cg" else 0.0
    expected = told(side_of(rows, weights, dtype, own=own, prior=prior), solver, relaxation)
    assert expected != told(side_of(rows, weights, dtype, own=own), solver, relaxation)
    for blocks in (1, 2, 7, 64):
        for threads in (1, 3):
            side = side_of(stored(rows, cut(n, blocks, rng)), weights, dtype, own=own, num_threads=threads, prior=prior)
            assert told(side, solver, relaxation) == expected, (blocks, threads)


@DTYPES
@pytest.mark.parametrize("kind", ["ratings", "biases", "weighted events"])
def test_every_row_solves_its_equation(kind: str, dtype: str) -> None:
    weights, own, weighted = SIDES[kind]
    rows = rows_of(300, np.dtype(dtype), weighted=weighted)
    biased = own is not None
    prior = prior_of(300, K + biased, dtype)
    side = side_of(rows, weights, dtype, own=own, prior=prior)
    mean = 0.25 if biased else 0.0
    targets, others = side.targets(mean).whole(), side.inputs()
    gram = reference.gram(others)
    side.solve("cholesky", mean=mean)
    lam = reference.float64(side.lam)
    for u in range(300):
        one = targets.between(u, u + 1)
        a, b = reference.cell_weights(one.values, weights.of_cells, one.scale)
        ridge, mu = np.full(K + biased, lam[u]), np.full(K + biased, float(prior.strength[u]))
        if biased:
            ridge[-1], mu[-1] = own, prior.last[u]
        drawn = prior.means[u], mu
        A, rhs = reference.row_system(weights.unobserved * gram, others[one.indices], a, b, 0.0, prior=drawn)
        A += np.diag(ridge)
        x = side.factors[u]
        if u not in side.nothing:
            assert reference.residual(A, rhs, x) < (1e-5 if dtype == "float32" else 1e-12), u
        # what is told of the row, and its parts in a score
        mine = row_system(one, others, weights, side.ridge(u), gram)
        np.testing.assert_allclose(mine[0], A, rtol=1e-10)
        y, terms = reference.float64(others[7]), (np.vstack((mine[1], side.pull(u))), np.append(mine[2], 1.0))
        assert contributions(mine[0], *terms, y).sum() == pytest.approx(y @ np.linalg.solve(A, rhs), rel=1e-6, abs=1e-9)


@DTYPES
def test_a_row_of_nothing_that_counts_holds_what_it_is_drawn_to(dtype: str) -> None:
    """Without cells, or with such alone as say nothing: lambda, which grows with the count, is 0 then."""
    rows = rows_of(300, np.dtype(dtype))
    prior = prior_of(300, K, dtype)
    side = ArraySide(
        rows,
        factors_of(300, K, dtype, 1),
        factors_of(N_OTHERS, K, dtype, 2),
        RATINGS,
        lambda counts, _: 0.5 * counts,
        prior=prior,
    )
    side.solve("cholesky")
    empty = np.diff(rows.indptr) == 0
    drawn = prior.draws
    assert (empty & drawn).any()
    np.testing.assert_allclose(side.factors[empty & drawn], prior.means[empty & drawn], rtol=1e-6)
    assert not side.factors[empty & ~drawn].any()
    # (lambda + mu)^-1 mu m, where lambda does not grow
    side = side_of(rows, RATINGS, dtype, prior=prior)
    side.lam[:] = 0.5
    side.solve("cholesky")
    expected = prior.means * (prior.strength / (0.5 + prior.strength))[:, None]
    np.testing.assert_allclose(side.factors[empty], expected[empty], rtol=1e-5, atol=1e-7)
    # cells that weigh something and say nothing: a > 0, b = 0
    values = -np.abs(rows.values) - 1
    side = side_of(type(rows)(rows.indptr, rows.indices, values), EVENTS, dtype, prior=prior)
    side.solve("cholesky")
    assert set(side.nothing) == set(np.flatnonzero(~empty & ~drawn))
    assert not side.factors[~drawn].any()
    assert np.abs(side.factors[drawn]).max(axis=1).all()


@DTYPES
def test_biases_are_levelled_to_where_the_penalty_is_least(dtype: str) -> None:
    rows = rows_of(300, np.dtype(dtype))
    for own in (0.0, 2.0):
        side = side_of(rows, RATINGS, dtype, own=own, prior=prior_of(300, K + 1, dtype))
        before, held = side.factors.copy(), np.diff(rows.indptr) > 0
        share = side.level()
        assert share != 0
        np.testing.assert_allclose(side.factors[held, -1], before[held, -1] - share, rtol=1e-5, atol=1e-6)
        assert np.array_equal(side.factors[~held], before[~held])
        least = side.penalty()
        for step in (-1e-2, 1e-2):
            side.factors[held, -1] += np.asarray(step, dtype)
            assert side.penalty() > least
            side.factors[held, -1] -= np.asarray(step, dtype)
        assert abs(side.level()) < 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# a descent


def drawn_descent(variant: str, matrix: Any, *, strength: float = 1.0, **kw: Any) -> tuple[Descent, Any]:
    """A descent whose sides are drawn to means."""
    descent, training = descent_of(ALL[variant](random_state=0, **kw), matrix)
    for seed, side in enumerate(sides(descent)):
        prior = prior_of(side.n_rows, side.factors.shape[1], side.dtype, seed)
        side.prior = Prior(prior.means, *(side.dtype.type(strength) * mu for mu in prior[1:]))
    return Descent(
        training,
        *sides(descent),
        users_last=descent.users_last,
        sweep=descent.sweep,
        exact=descent.exact,
        automatic=descent.automatic,
        signed=descent.signed,
        leveled=descent.leveled,
    ), training


def whole_objective(descent: Descent, X: Any, Y: Any, mean: float) -> float:
    total = objective(descent, X, Y, mean)
    for side, F in zip(sides(descent), (X, Y), strict=True):
        k = side.n_ridged
        away = (reference.float64(F) - reference.float64(side.prior.means)) ** 2
        total += float(reference.float64(side.prior.strength) @ away[:, :k].sum(axis=1))
        total += float(reference.float64(side.prior.last) @ away[:, k:].sum(axis=1))
    return total


@DTYPES
@pytest.mark.parametrize("factors", [5, 34])
@pytest.mark.parametrize("strength", [0.3, 300.0])
@pytest.mark.parametrize("variant", ALL)
def test_each_loss_is_that_of_the_factors(variant: str, factors: int, strength: float, dtype: str) -> None:
    matrix = ratings(90, 90)
    descent, training = drawn_descent(variant, matrix, strength=strength, factors=factors, dtype=dtype)
    for iteration in range(1, 9):
        loss = descent.iterate(last=iteration == 8)
        assert loss is not None
        exact = whole_objective(descent, training.X, training.Y, training.mean)
        assert abs(loss - exact) <= off(descent, exact), iteration
        if training.history:
            assert loss <= training.history[-1][0] + off(descent, loss), iteration
        training.record(loss, {}, False)
    assert training.n_repeated <= 1  # a step too far may be taken back
    last = descent.finish(loss)
    assert last <= loss + off(descent, loss)


def test_nothing_is_balanced_beside_a_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """The means say how the axes lie, though one side alone has any."""
    turns = list[Any]()
    monkeypatch.setattr(ArraySide, "turn", lambda side, matrix: turns.append(matrix))
    for drawn in (0, 1):
        descent, training = descent_of(ALL["implicit"](factors=34, random_state=0), ratings())
        side = sides(descent)[drawn]
        side.prior = prior_of(side.n_rows, 34, side.dtype)
        for _ in range(5):
            training.record(descent.iterate(last=False), {}, False)  # type: ignore[arg-type]
    assert not turns
