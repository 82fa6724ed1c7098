"""Balancing the sides: no prediction changes, and no other axes and scales have smaller penalties."""

import warnings
from typing import Any

import numpy as np
import pytest
import reference
from scipy.optimize import minimize

from fastals._equation.balance import FLOOR, balance, weighted_gram
from fastals._equation.balance import turned as turned_by

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
FACTORS = pytest.mark.parametrize("k", [1, 2, 5, 17, 40])


def sides(k: int, dtype: Any, seed: int = 0, biases: int = 0) -> tuple[Any, Any, Any, Any]:
    """X, Y and their lambdas; one side far longer than the other, their axes unlike."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((k, k)))
    X = 30 * rng.standard_normal((90, k)) * np.geomspace(1, 0.3, k) @ axes
    Y = 0.1 * rng.standard_normal((70, k)) * np.geomspace(1, 0.3, k)
    X, Y = (np.column_stack((F, rng.standard_normal((len(F), biases)))) for F in (X, Y))
    lam = rng.uniform(0.1, 3, 90), rng.uniform(0.1, 3, 70)
    return X.astype(dtype), Y.astype(dtype), lam[0].astype(dtype), lam[1].astype(dtype)


def penalty(F: Any, lam: Any, k: int) -> float:
    return float(reference.float64(lam) @ np.sum(reference.float64(F)[:, :k] ** 2, axis=1))


def turn_of(X: Any, Y: Any, lx: Any, ly: Any, k: int, **options: Any) -> Any:
    return balance(weighted_gram(X, lx, k, 1), weighted_gram(Y, ly, k, 1), **options)


def turned(turn: Any, X: Any, Y: Any, num_threads: int = 1) -> tuple[Any, Any]:
    out = np.full_like(X, np.nan), np.full_like(Y, np.nan)
    for factors, matrix, written in zip((X, Y), (turn.forth, turn.back), out, strict=True):
        turned_by(factors, matrix, written, num_threads)
    return out


def gram_of(values: Any, seed: int = 0) -> Any:
    """A Gram matrix of these eigenvalues."""
    values = np.asarray(values, np.float64)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (Q * values) @ Q.T


def penalties(Gx: Any, Gy: Any, C: Any) -> float:
    """Of X C and Y C^-T."""
    back = np.linalg.inv(C)
    return float(np.trace(C.T @ Gx @ C) + np.trace(back @ Gy @ back.T))


# ---------------------------------------------------------------------------------------------------------------------
# any signs


@DTYPES
@FACTORS
def test_the_gram_matrix_is_weighed_and_leaves_biases_out(k: int, dtype: Any) -> None:
    X, _, lam, _ = sides(k, dtype, biases=1)
    F = reference.float64(X)[:, :k]
    G = weighted_gram(X, lam, k, 2)
    assert G.dtype == np.float64
    np.testing.assert_allclose(G, (F.T * reference.float64(lam)) @ F, rtol=1e-5, atol=1e-6 * np.abs(G).max())


@DTYPES
@FACTORS
@pytest.mark.parametrize("biases", [0, 1])
@pytest.mark.parametrize("signed", [True, False])
def test_predictions_stay_and_the_penalties_fall_by_the_gain(k: int, dtype: Any, biases: int, signed: bool) -> None:
    eps = float(np.finfo(dtype).eps)
    X, Y, lx, ly = sides(k, dtype, biases=biases)
    kept = X.copy(), Y.copy()
    turn = turn_of(X, Y, lx, ly, k, signed=signed)
    assert turn.gain > 0
    np.testing.assert_allclose(turn.forth @ turn.back, np.eye(k), atol=1e-9)
    XC, YC = turned(turn, X, Y)
    assert np.array_equal(X, kept[0])
    assert np.array_equal(Y, kept[1])
    before, after = (reference.float64(A)[:, :k] @ reference.float64(B)[:, :k].T for A, B in ((X, Y), (XC, YC)))
    size = np.linalg.norm(X, axis=1)[:, np.newaxis] * np.linalg.norm(Y, axis=1)
    stretch = np.linalg.cond(turn.forth)
    assert np.all(np.abs(before - after) <= 20 * eps * stretch * size)
    was = penalty(X, lx, k) + penalty(Y, ly, k)
    now = penalty(XC, lx, k) + penalty(YC, ly, k)
    assert was - now == pytest.approx(turn.gain, abs=50 * eps * was)
    # biases are no factors
    assert np.array_equal(XC[:, k:], X[:, k:])
    assert np.array_equal(YC[:, k:], Y[:, k:])
    for num_threads in (2, 7):
        again = turned(turn, X, Y, num_threads)
        assert np.array_equal(again[0], XC)
        assert np.array_equal(again[1], YC)


def test_it_may_be_written_where_it_is_read() -> None:
    X, Y, lx, ly = sides(7, np.float32)
    turn = turn_of(X, Y, lx, ly, 7)
    expected = turned(turn, X, Y)
    turned_by(X, turn.forth, X, 2)
    turned_by(Y, turn.back, Y, 2)
    assert np.array_equal(X, expected[0])
    assert np.array_equal(Y, expected[1])


@FACTORS
def test_no_other_turn_has_smaller_penalties(k: int) -> None:
    rng = np.random.default_rng(k)
    X, Y, lx, ly = sides(k, np.float64, seed=k)
    Gx, Gy = weighted_gram(X, lx, k, 1), weighted_gram(Y, ly, k, 1)
    turn = balance(Gx, Gy)
    assert turn is not None
    least = penalties(Gx, Gy, turn.forth)
    assert least == pytest.approx(np.trace(Gx) + np.trace(Gy) - turn.gain, rel=1e-9)
    # the sum of square roots of the eigenvalues of Gx Gy, twice: what the geometric mean makes of it
    values = np.linalg.eigvals(Gx @ Gy).real
    assert least == pytest.approx(2 * np.sqrt(np.maximum(values, 0)).sum(), rel=1e-6)
    for size in (1e-4, 1e-2, 0.3, 1.0):
        for _ in range(20):
            C = turn.forth @ (np.eye(k) + size * rng.standard_normal((k, k)) / np.sqrt(k))
            assert penalties(Gx, Gy, C) >= least * (1 - 1e-12)
            assert penalties(Gx, Gy, C - turn.forth) >= least * (1 - 1e-12)  # any C at all


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_descent_finds_nothing_lower(k: int) -> None:
    X, Y, lx, ly = sides(k, np.float64, seed=3)
    Gx, Gy = weighted_gram(X, lx, k, 1), weighted_gram(Y, ly, k, 1)
    turn = balance(Gx, Gy)
    assert turn is not None
    least = penalties(Gx, Gy, turn.forth)

    def of(C: Any) -> tuple[float, Any]:
        C = C.reshape(k, k)
        back = np.linalg.inv(C)
        gradient = 2 * Gx @ C - 2 * back.T @ (back @ Gy @ back.T)
        return penalties(Gx, Gy, C), gradient.ravel()

    gradient = of(turn.forth.ravel())[1].reshape(k, k)
    assert np.abs(gradient @ turn.forth.T).max() <= 1e-8 * least  # no direction leads down
    for start in (turn.forth, np.eye(k) * np.sqrt(np.sqrt(np.trace(Gy) / np.trace(Gx)))):
        found = minimize(of, start.ravel(), jac=True, method="BFGS", options={"maxiter": 300})
        assert found.fun >= least * (1 - 1e-9)
    assert found.fun == pytest.approx(least, rel=1e-4)  # and from elsewhere it comes here


@DTYPES
@FACTORS
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_balanced_stays(k: int, dtype: Any, signed: bool) -> None:
    X, Y, lx, ly = sides(k, dtype)
    XC, YC = turned(turn_of(X, Y, lx, ly, k, signed=signed), X, Y)
    size = penalty(XC, lx, k) + penalty(YC, ly, k)
    again = turn_of(XC, YC, lx, ly, k, signed=signed)
    assert abs(again.gain) <= (1e-5 if dtype == np.float32 else 1e-11) * size
    if signed:
        Gx, Gy = weighted_gram(XC, lx, k, 1), weighted_gram(YC, ly, k, 1)
        np.testing.assert_allclose(Gx, Gy, atol=(2e-3 if dtype == np.float32 else 1e-7) * np.abs(Gx).max())


def test_swapped_sides_turn_the_other_way() -> None:
    Gx, Gy = gram_of(np.geomspace(1, 1e-3, 6)), gram_of(np.geomspace(1e4, 1, 6), seed=1)
    one, other = balance(Gx, Gy), balance(Gy, Gx)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.forth, other.back, rtol=1e-7, atol=1e-9 * np.abs(one.forth).max())
    assert one.gain == pytest.approx(other.gain, rel=1e-9)


def test_scales_alone_are_balanced_by_scale() -> None:
    turn = balance(np.eye(3) * 16, np.eye(3))
    assert turn is not None
    np.testing.assert_allclose(turn.forth, np.eye(3) / 2, atol=1e-14)
    assert turn.gain == pytest.approx(3 * (4 - 1) ** 2)


# ---------------------------------------------------------------------------------------------------------------------
# sides that lack something


@pytest.mark.parametrize("rank", [1, 3, 7])
@pytest.mark.parametrize("which", ["users", "items", "both", "both, the same"])
def test_sides_that_do_not_fill_the_space(rank: int, which: str) -> None:
    """Directions that a side lacks may be stretched at will; predictions stay, nothing is lost."""
    k, (X, Y, lx, ly) = 8, sides(8, np.float64)
    rng = np.random.default_rng(rank)
    P, Q = (rng.standard_normal((k, rank)) @ rng.standard_normal((rank, k)) for _ in range(2))
    X = X @ P if which != "items" else X
    Y = Y @ (P.T if which == "both, the same" else Q) if which != "users" else Y
    turn = turn_of(X, Y, lx, ly, k)
    if turn is None:
        return
    assert np.isfinite(turn.gain)
    XC, YC = turned(turn, X, Y)
    size = np.linalg.norm(X, axis=1)[:, np.newaxis] * np.linalg.norm(Y, axis=1)
    assert np.all(np.abs(XC @ YC.T - X @ Y.T) <= 1e-9 * np.linalg.cond(turn.forth) * size)
    was, now = penalty(X, lx, k) + penalty(Y, ly, k), penalty(XC, lx, k) + penalty(YC, ly, k)
    assert was - now == pytest.approx(turn.gain, abs=1e-9 * was)


@pytest.mark.parametrize("signed", [True, False])
def test_nothing_to_balance(signed: bool) -> None:
    G = gram_of([1.0, 2.0, 3.0])
    nothing = np.zeros((3, 3))
    for pair in ((nothing, G), (G, nothing), (nothing, nothing)):
        assert balance(*pair, signed=signed) is None
    for value in (np.nan, np.inf):
        bad = G.copy()
        bad[1, 1] = value
        assert balance(bad, G, signed=signed) is None
        assert balance(G, bad, signed=signed) is None


# ---------------------------------------------------------------------------------------------------------------------
# signs that stay


@DTYPES
@FACTORS
def test_unsigned_sides_have_the_closed_form(k: int, dtype: Any) -> None:
    X, Y, lx, ly = sides(k, dtype)
    X, Y = np.maximum(X, 0), np.maximum(Y, 0)
    Gx, Gy = weighted_gram(X, lx, k, 1), weighted_gram(Y, ly, k, 1)
    turn = balance(Gx, Gy, signed=False)
    assert turn is not None
    x, y = np.diag(Gx), np.diag(Gy)
    np.testing.assert_allclose(turn.forth, np.diag((y / x) ** 0.25), rtol=1e-12)
    np.testing.assert_allclose(turn.back, np.diag((x / y) ** 0.25), rtol=1e-12)
    assert turn.gain == pytest.approx(np.sum((np.sqrt(x) - np.sqrt(y)) ** 2), rel=1e-12)
    XC, YC = turned(turn, X, Y)
    for before, after in ((X, XC), (Y, YC)):
        assert (after >= 0).all()
        assert np.array_equal(before == 0, after == 0)
    # of both columns then the same
    gram = [np.diag(weighted_gram(F, lam, k, 1)) for F, lam in ((XC, lx), (YC, ly))]
    np.testing.assert_allclose(*gram, rtol=1e-4 if dtype == np.float32 else 1e-12)


def test_columns_that_a_side_lacks_are_left_as_they_are() -> None:
    turn = balance(np.diag([16.0, 0, 4, 0]), np.diag([1.0, 3, 0, 0]), signed=False)
    assert turn is not None
    np.testing.assert_allclose(turn.forth, np.diag([0.5, 1, 1, 1]))
    np.testing.assert_allclose(turn.back, np.diag([2.0, 1, 1, 1]))
    assert turn.gain == pytest.approx(9)


# ---------------------------------------------------------------------------------------------------------------------
# numbers of any size


SCALES = [1e-120, 1e-60, 1e-30, 1e-9, 1.0, 1e9, 1e30, 1e60, 1e120]
EXTREME = [1e-300, 1e-150, 1.0, 1e150, 1e300]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-12, 1e-50])
@pytest.mark.parametrize(
    "scales",
    [
        pytest.param(SCALES, id="wild"),
        pytest.param(EXTREME, id="extreme"),
    ],
)
def test_wild_scales_give_finite_turns_or_none(scales: list[float], spread: float, signed: bool) -> None:
    shape = np.geomspace(1, spread, 5)
    for x in scales:
        for y in scales:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                turn = balance(gram_of(shape * x), gram_of(shape[::-1] * y, seed=1), signed=signed)
            if turn is None:
                continue
            assert np.isfinite(turn.forth).all(), (x, y)
            assert np.isfinite(turn.back).all(), (x, y)
            assert turn.gain >= -1e-9 * 5 * (x + y), (x, y)


def test_moderate_scales_are_always_balanced() -> None:
    for ratio in (1e-12, 1e-6, 1.0, 1e6, 1e12):
        turn = balance(gram_of(np.geomspace(1, 10 * FLOOR, 6)), ratio * gram_of(np.geomspace(1, 0.1, 6), seed=1))
        assert turn is not None, ratio
        assert turn.gain > 0, ratio


@DTYPES
def test_factors_of_wild_lengths(dtype: Any) -> None:
    """What is written is finite, or nothing is."""
    top = 1e15 if dtype == np.float32 else 1e70
    for a in (1 / top, 1e-6, 1.0, top):
        for b in (1 / top, 1.0, 1e6, top):
            X, Y, lx, ly = sides(6, np.float64)
            X, Y = (X / 100 * a).astype(dtype), (Y * b).astype(dtype)
            turn = turn_of(X, Y, lx.astype(dtype), ly.astype(dtype), 6)
            if turn is None:
                continue
            for F in turned(turn, X, Y):
                assert np.isfinite(F).all(), (a, b)
