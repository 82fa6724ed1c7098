"""Rows drawn to means, which may have shares of the common term: every solver against float64, in the full product."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import reference
from half_sweeps import (
    EXPLICIT,
    IMPLICIT,
    PROBLEMS,
    RESIDUAL,
    Problem,
    biased_problem,
    drop,
    make_problem,
    nonnegative_problem,
    problem,
    sweep,
)

from fastals._core import kernels

pytestmark = pytest.mark.usefixtures("serial_blas")


def drawn(p: Problem, k: int, *, biased: bool = False, least: float = 0) -> tuple[Problem, tuple[Any, ...]]:
    """Rows that are drawn to means, but for some, and have shares of the common term; and what the kernel takes."""
    rng, dtype = np.random.default_rng(k), p.Z.dtype
    means = rng.standard_normal((p.n_rows, k)).astype(dtype)
    strength, last = (rng.uniform(0.05, 3, p.n_rows).astype(dtype) for _ in range(2))
    strength[::3] = last[::3] = 0
    share = None
    if p.weights[0] >= 0:  # else a share below 1 may leave no minimum
        share = rng.choice([least, 0.5, 1, 2], p.n_rows).astype(dtype)
        share[::6] = 1
    systems = []
    for u, (A, rhs) in enumerate(p.systems):
        mu = np.full(k, float(strength[u]))
        mu[k - biased :] = last[u]
        more = 0.0 if share is None else float(share[u]) - 1
        systems.append((A + more * p.G + np.diag(mu), rhs + mu * reference.float64(means[u])))
    return p._replace(systems=systems), (share, means, strength, last)


def check_own(p: Problem, X: Any, plain: Any, own: tuple[Any, ...]) -> None:
    """Every row solves its system; one that is drawn to nothing, and has all of the common term, is what it was."""
    residuals = [reference.residual(*system, x) for system, x in zip(p.systems, X, strict=True)]
    worst = int(np.argmax(residuals))
    assert residuals[worst] <= RESIDUAL[X.dtype.type], f"row {worst} of {p.lengths[worst]} cells"
    as_before = (own[2] == 0) & ((own[0] == 1) if own[0] is not None else True)
    assert as_before.any()
    assert np.array_equal(X[as_before], plain[as_before])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", PROBLEMS)
def test_rows_drawn_to_means(dtype: Any, k: int, name: str) -> None:
    plain = problem(name, dtype, k)
    p, own = drawn(plain, k)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for solver, short_limit in (
        *(("cholesky", limit) for limit in (0, k, kernels.short_limit(dtype, k))),
        *((("lapack", 0), ("rescue", 0)) if name != "tiny lambda" else ()),
    ):
        X, status, decrease = sweep(p, solver, short_limit, own=own)
        assert not status.any()
        check_own(p, X, sweep(plain, solver, short_limit)[0], own)
        assert decrease == pytest.approx(drop(p, X), rel=tolerance)
        again, _, same_decrease = sweep(p, solver, short_limit, own=own, num_threads=3)
        assert np.array_equal(X, again)
        assert decrease == same_decrease
    without = sweep(plain, "cholesky", k)[0]
    nothing = (None, own[1], np.zeros_like(own[2]), np.zeros_like(own[2]))
    assert np.array_equal(sweep(plain, "cholesky", k, own=nothing)[0], without)
    assert np.array_equal(sweep(plain, "cholesky", k, own=(np.ones_like(own[2]), None, None, None))[0], without)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["explicit", "implicit", "signed", "weighted"])
def test_cg_of_rows_drawn_to_means(dtype: Any, k: int, name: str) -> None:
    """Without a common term a row of few cells loses its directions sooner."""
    p, own = drawn(problem(name, dtype, k), k, least=0.5)
    start = (np.random.default_rng(k).standard_normal((p.n_rows, k)) / np.sqrt(k)).astype(dtype)
    Q = np.eye(k) if p.Q is None else reference.float64(p.Q[:, :k])
    for groups, steps in product((False, True), (1, 3)):
        X, status, decrease = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups, own=own)
        assert not status.any()
        for u in np.flatnonzero(p.lengths):
            A, rhs = p.systems[u]
            exact = Q @ reference.conjugate_gradients(Q.T @ A @ Q, Q.T @ rhs, Q.T @ start[u], steps)
            error = np.abs(X[u] - exact).max() / max(np.abs(exact).max(), np.abs(start[u]).max())
            assert error <= (1e-4 if dtype == np.float32 else 1e-11), f"row of {p.lengths[u]} cells, {steps} steps"
        if not groups:  # of long rows; rows without cells are solved exactly
            empty = p.lengths == 0
            exact = np.array([reference.solve(*system) for system in p.systems])
            np.testing.assert_allclose(X[empty], exact[empty], rtol=0, atol=RESIDUAL[dtype] * 100)
        assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
        again = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups, num_threads=3, own=own)
        assert np.array_equal(X, again[0])
        assert decrease == again[2]
        beyond = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups, relaxation=0.75, own=own)[0]
        np.testing.assert_allclose(beyond, X + dtype(0.75) * (X - start), rtol=1e-6, atol=1e-5)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("factors", [1, 17, 40])
def test_very_long_rows_drawn_to_means(dtype: Any, factors: int) -> None:
    """A prior is added to the sum of a row's parts, whoever has made them."""
    rng, n_other, part = np.random.default_rng(factors), 500, kernels.PART_CELLS
    Y = (rng.standard_normal((n_other, factors)) / np.sqrt(factors)).astype(dtype)
    rows = [np.sort(rng.integers(0, n_other, n)) for n in (5, 2 * part + 1, part, part + 1, 40, 0)]
    values = rng.integers(1, 6, sum(len(row) for row in rows))
    plain = make_problem(Y, rows, values / 9, 0.5 * np.ones(len(rows)), IMPLICIT, 1.0)
    p, own = drawn(plain, factors)
    X, status, decrease = sweep(p, "cholesky", 0, own=own)
    assert not status.any()
    for system, x in zip(p.systems, X, strict=True):
        assert reference.residual(*system, x) <= (1e-4 if dtype == np.float32 else 1e-12)
    assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
    for split in ([1], [1, 3], [1, 2, 3]):
        for num_threads in (1, 3):
            again = sweep(p, "cholesky", 0, split=split, num_threads=num_threads, own=own)
            assert np.array_equal(X, again[0])
            assert decrease == again[2]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("strength", [1e-6, 1e3, 1e8])
def test_a_prior_of_any_strength(dtype: Any, strength: float) -> None:
    """A strong one is met, also by rows of fewer cells than factors; a weak one changes next to nothing."""
    k = 33
    plain = problem("implicit", dtype, k)
    p, (_, means, mu, last) = drawn(plain, k)
    mu[:] = last[:] = strength
    systems = [
        (A + strength * np.eye(k), rhs + strength * reference.float64(m))
        for (A, rhs), m in zip(plain.systems, means, strict=True)
    ]
    p = plain._replace(systems=systems)
    for solver, short_limit in (("cholesky", 0), ("cholesky", k), ("lapack", 0), ("rescue", 0)):
        X, status, _ = sweep(p, solver, short_limit, own=(None, means, mu, last))
        assert not status.any()
        check = [reference.residual(*system, x) for system, x in zip(systems, X, strict=True)]
        assert max(check) <= RESIDUAL[dtype], solver
        if strength > 1e6:
            np.testing.assert_allclose(X, means, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("isa")
def test_a_prior_regularizes_where_nothing_else_does(dtype: Any, k: int) -> None:
    """lambda = 0, and fewer cells than factors."""
    rng = np.random.default_rng(k)
    Y = rng.standard_normal((70, k)).astype(dtype)
    rows = [np.sort(rng.choice(70, n, replace=False)) for n in (0, 1, k // 8 + 1, k // 4 + 1, 20)]
    plain = make_problem(Y, rows, rng.integers(1, 6, sum(len(row) for row in rows)), 0.0, EXPLICIT)
    means = rng.standard_normal((5, k)).astype(dtype)
    mu = np.full(5, 0.5, dtype)
    systems = [
        (A + 0.5 * np.eye(k), rhs + 0.5 * reference.float64(m))
        for (A, rhs), m in zip(plain.systems, means, strict=True)
    ]
    p = plain._replace(systems=systems)
    for solver in ("cholesky", "lapack", "rescue"):
        X, status, _ = sweep(p, solver, k, own=(None, means, mu, mu))
        assert not status.any()
        assert max(reference.residual(*system, x) for system, x in zip(systems, X, strict=True)) <= RESIDUAL[dtype]
        np.testing.assert_allclose(X[0], means[0], rtol=RESIDUAL[dtype])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["explicit", "implicit"])
def test_nonnegative_rows_drawn_to_means(dtype: Any, k: int, name: str) -> None:
    """Also to means of entries below zero, and rows without cells."""
    plain, common = nonnegative_problem(name, dtype, k)
    p, own = drawn(plain, k)
    limit = 1e-5 if dtype == np.float32 else 1e-10
    start = np.random.default_rng(1).standard_normal((p.n_rows, k)).astype(dtype)
    for bounded in (k, k - 1):
        for solver in ("nnls", "rescue nnls"):
            X, status, decrease = sweep(p, solver, 0, start=start, common=common, bounded=bounded, own=own)
            assert not status.any()
            assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
            for system, x, n in zip(p.systems, X, p.lengths, strict=True):
                assert reference.kkt_residual(*system, x, bounded) <= limit, f"row of {n} cells"
            again = sweep(p, solver, 0, start=start, common=common, bounded=bounded, own=own, num_threads=3)
            assert np.array_equal(X, again[0])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("turned", [False, True])
def test_a_bias_is_drawn_with_a_strength_of_its_own(dtype: Any, k: int, turned: bool) -> None:
    p, own = drawn(biased_problem(dtype, k, EXPLICIT, 3.0, turned, turned), k, biased=True)
    options: dict[str, Any] = {"ridged": k - 1, "own": own}
    for solver, limit in (("cholesky", 0), ("cholesky", k), ("lapack", 0), *(() if turned else (("rescue", 0),))):
        X, status, decrease = sweep(p, solver, limit, **options)
        assert not status.any()
        assert max(reference.residual(*system, x) for system, x in zip(p.systems, X, strict=True)) <= RESIDUAL[dtype]
        assert decrease == pytest.approx(drop(p, X), rel=1e-5 if dtype == np.float32 else 1e-12)
    start = (np.random.default_rng(k).standard_normal((p.n_rows, k)) / np.sqrt(k)).astype(dtype)
    X, status, decrease = sweep(p, "cg", 0, start=start, cg_steps=3, **options)
    assert not status.any()
    assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
    if not turned:
        X, status, _ = sweep(p, "nnls", 0, start=start, bounded=k - 1, **options)
        assert not status.any()
        for system, x in zip(p.systems, X, strict=True):
            assert reference.kkt_residual(*system, x, k - 1) <= (1e-5 if dtype == np.float32 else 1e-10)
