"""The iterations of a fit: each is lower than the one before, and its loss is what it is told to be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import reference
from scipy import sparse
from threadpoolctl import threadpool_limits

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._core import kernels
from fastals._data.interactions import Interactions
from fastals._equation import descent
from fastals._equation.descent import OF_ZERO, RELATIVE, Descent
from fastals._equation.side import ArraySide
from fastals._equation.sweep import Groups
from fastals._equation.training import Training, train
from fastals._models.fitting import prepare
from fastals._models.validation import Validation

BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True)
def _serial(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """BLAS as in a fit; and toy data want no threads, but where their number is given."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with threadpool_limits(1, user_api="blas"):
        yield


def ratings(n_users: int = 120, n_items: int = 80, density: float = 0.15, seed: int = 0) -> sparse.csr_array:
    """Ratings of two tastes."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 2, n_users)[:, None] == rng.integers(0, 2, n_items)[None, :]
    dense = (rng.random((n_users, n_items)) < density) * (rng.integers(1, 4, taste.shape) + 2 * taste)
    return sparse.csr_array(dense.astype(np.float32))


def descent_of(model: Any, matrix: Any, factors: Any = None) -> tuple[Descent, Training]:
    """What ``fit`` iterates with, from the factors drawn or from these, bias columns among them."""
    training = model._beginning().of(matrix.shape, None) if factors is None else Training(*factors)
    before, data = model._equation(model._chosen()[0]), Interactions.from_matrix(matrix)
    *_, made = prepare(before, model._resolve, model._equation, data, None, training, model._threads())
    return made, training


def sides(descent: Descent) -> tuple[Any, Any]:
    return (descent.second, descent.first) if descent.users_last else (descent.first, descent.second)


def objective(descent: Descent, X: Any, Y: Any, mean: float) -> float:
    """In float64 NumPy, of these factors."""
    users, items = sides(descent)
    k, (X, Y) = users.n_ridged, (reference.float64(F) for F in (X, Y))
    lam_users, lam_items = reference.float64(users.lam), reference.float64(items.lam)
    rows = np.repeat(np.arange(len(X)), np.diff(users.rows.indptr))
    columns, r = users.rows.indices, reference.float64(users.rows.values)
    penalty = float(lam_users @ np.sum(X[:, :k] ** 2, axis=1) + lam_items @ np.sum(Y[:, :k] ** 2, axis=1))
    if users.biased:
        r = r - mean - X[rows, k] - Y[columns, k]
        penalty += users.bias_regularization * float(np.sum(X[:, k] ** 2))  # type: ignore[operator]
        penalty += items.bias_regularization * float(np.sum(Y[:, k] ** 2))  # type: ignore[operator]
    w0 = users.weights.unobserved
    a, b = reference.cell_weights(r, users.weights.of_cells, users.rows.scale)
    p = np.einsum("ij,ij->i", X[rows, :k], Y[columns, :k])
    weight = w0 + a
    target = np.divide(b, weight, out=np.zeros_like(b), where=weight > 0)
    cells = float(np.sum(weight * (target - p) ** 2 - w0 * p * p))
    return cells + w0 * float(np.sum(reference.gram(X[:, :k]) * reference.gram(Y[:, :k]))) + penalty


def objective_of(model: Any, matrix: Any) -> float:
    """The same of a fitted model."""
    X, Y, biased = model.user_factors_, model.item_factors_, model.state_.equation.joint_biases
    if biased:
        X, Y = np.column_stack((X, model.user_biases_)), np.column_stack((Y, model.item_biases_))
    descent, training = descent_of(model, matrix, (X, Y))
    return objective(descent, X, Y, model.global_mean_ if biased else training.mean)


def off(descent: Descent, loss: float) -> float:
    """What a loss may be off by."""
    size = descent.training.X.dtype.itemsize
    return RELATIVE[size] * abs(loss) + OF_ZERO[size] * descent.zero


def check_told(model: Any, matrix: Any) -> None:
    size = np.dtype(model.dtype).itemsize
    descent, _ = descent_of(model, matrix)
    exact = objective_of(model, matrix)
    assert abs(model.loss_history_[-1] - exact) <= RELATIVE[size] * exact + OF_ZERO[size] * descent.zero
    assert len(model.loss_history_) == model.n_iter_


def check_never_rising(model: Any, matrix: Any) -> None:
    descent, _ = descent_of(model, matrix)
    for before, after in zip(model.loss_history_, model.loss_history_[1:], strict=False):
        assert after <= before + off(descent, before)


def assert_same(one: Any, other: Any) -> None:
    """The same bits."""
    assert np.array_equal(one.user_factors_, other.user_factors_)
    assert np.array_equal(one.item_factors_, other.item_factors_)
    assert one.loss_history_ == other.loss_history_


def stop_after(n: int) -> Any:
    return lambda iteration, *_: iteration == n


# ---------------------------------------------------------------------------------------------------------------------
# the watchdog


class Ruined:
    """``ArraySide.solve`` that ruins rows in its n-th call, and in others, and writes down what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: Any, factor: float = 1e3) -> None:
        self.asked: list[tuple[str, float]] = []
        original = ArraySide.solve

        def solve(side: ArraySide, solver: str, relaxation: float = 0.0, *args: Any, **kw: Any) -> float:
            self.asked.append((solver, relaxation))
            decrease = original(side, solver, relaxation, *args, **kw)
            if len(self.asked) in calls:
                side.factors[::2] *= side.factors.dtype.type(factor)
                # what rows tell is of the rows as they are
                return decrease * -factor
            return decrease

        monkeypatch.setattr(ArraySide, "solve", solve)


VARIANTS: dict[str, Any] = {
    "explicit": lambda **kw: ExplicitALS(**kw),
    "explicit, no biases": lambda **kw: ExplicitALS(regularization=0.1, biases=False, **kw),
    "implicit": lambda **kw: ImplicitALS(**kw),
    "users last": lambda **kw: ImplicitALS.from_preset("spark", **{"solver": "auto", **kw}),
    "centered, users last": lambda **kw: ExplicitALS.from_preset("cmfrec", **{"solver": "auto", **kw}),
}


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("iteration", [1, 2, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_ruined_iteration_is_repeated_exactly(
    monkeypatch: pytest.MonkeyPatch, variant: str, iteration: int, half: int
) -> None:
    matrix = ratings()
    model = VARIANTS[variant](factors=34, random_state=0)
    descent, training = descent_of(model, matrix)
    ruined = Ruined(monkeypatch, {2 * iteration - 1 + half})
    for _ in range(iteration - 1):
        training.record(descent.iterate(last=False), {}, False)  # type: ignore[arg-type]
    X, Y, mean = training.X, training.Y, training.mean
    kept = X.copy(), Y.copy()
    loss = descent.iterate(last=False)
    assert loss is not None
    assert training.n_repeated == 1
    assert [solver for solver, _ in ruined.asked[-4:]] == ["cg", "cg", "cholesky", "cholesky"]
    assert [relaxation for _, relaxation in ruined.asked[-2:]] == [0, 0]
    # what the iteration started from is as it was
    assert np.array_equal(X, kept[0])
    assert np.array_equal(Y, kept[1])
    assert training.before is None
    # and it is one iteration of exact solves from there
    exact = VARIANTS[variant](factors=34, random_state=0, solver="cholesky")
    again, expected = descent_of(exact, matrix, kept)
    expected.mean = mean
    assert again.iterate(last=False) == loss
    assert np.array_equal(training.X, expected.X)
    assert np.array_equal(training.Y, expected.Y)
    assert training.mean == expected.mean
    assert abs(loss - objective(descent, training.X, training.Y, training.mean)) <= off(descent, loss)
    # it goes on from there
    training.record(loss, {}, False)
    after = descent.iterate(last=False)
    assert after is not None
    assert after <= loss + off(descent, loss)
    assert training.n_repeated == 1


@BOTH
@DTYPES
def test_the_history_of_a_ruined_fit_never_rises(monkeypatch: pytest.MonkeyPatch, model: Any, dtype: Any) -> None:
    matrix = ratings()
    rng = np.random.default_rng(0)
    start = rng.standard_normal((120, 33)).astype(dtype), rng.standard_normal((80, 33)).astype(dtype)
    kept = start[0].copy(), start[1].copy()
    with monkeypatch.context() as patch:
        Ruined(patch, {5})
        fitted = model(factors=33, iterations=7, tol=None, dtype=dtype).fit(matrix, initial_factors=start)
    assert fitted.n_repeated_ == 1
    assert fitted.n_iter_ == 7
    check_never_rising(fitted, matrix)
    check_told(fitted, matrix)
    # the caller's arrays serve as nobody's room
    assert np.array_equal(start[0], kept[0])
    assert np.array_equal(start[1], kept[1])


@BOTH
def test_steps_too_far_are_taken_back(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    matrix = ratings()
    plain = descent.relaxation
    monkeypatch.setattr(descent, "relaxation", lambda iteration: 50.0 if iteration == 4 else plain(iteration))
    fitted = model(factors=33, iterations=8, tol=None, random_state=0).fit(matrix)
    assert fitted.n_repeated_ >= 1
    assert fitted.n_iter_ == 8
    check_never_rising(fitted, matrix)
    check_told(fitted, matrix)


@BOTH
@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
def test_where_exact_solves_fail_too_the_fit_ends(monkeypatch: pytest.MonkeyPatch, model: Any, solver: Any) -> None:
    matrix = ratings()
    make = lambda: model(factors=33, iterations=7, tol=None, solver=solver, random_state=0)  # noqa: E731
    with monkeypatch.context() as patch:
        Ruined(patch, {5, 7})
        fitted = make().fit(matrix)
    assert fitted.n_repeated_ == 1
    assert fitted.n_iter_ == len(fitted.loss_history_) == 2
    assert_same(fitted, make().fit(matrix, callback=stop_after(2)))
    check_told(fitted, matrix)
    # the last solve of all may fail as well, and is not kept then
    with monkeypatch.context() as patch:
        Ruined(patch, {5, 7, 9})
        again = make().fit(matrix)
    check_told(again, matrix)
    assert again.n_iter_ == 2
    assert again.loss_history_[0] == fitted.loss_history_[0]
    assert again.loss_history_[1] >= fitted.loss_history_[1]


@BOTH
@pytest.mark.parametrize("solver", ["auto", "cholesky"])
def test_a_first_iteration_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, model: Any, solver: Any) -> None:
    estimator = model(factors=33, iterations=7, solver=solver, random_state=0)
    with monkeypatch.context() as patch:
        Ruined(patch, {1, 3})
        with pytest.raises(fastals.NumericalError, match=r"float64.*more regularization"):
            estimator.fit(ratings())
    assert not hasattr(estimator, "user_factors_")


# ---------------------------------------------------------------------------------------------------------------------
# the arrays, and the loss of each iteration

ALL: dict[str, Any] = {
    **VARIANTS,
    "explicit, spark": lambda **kw: ExplicitALS.from_preset("spark", **{"solver": "auto", **kw}),
    "implicit, cmfrec": lambda **kw: ImplicitALS.from_preset("cmfrec", **{"solver": "auto", **kw}),
    "nonnegative": lambda **kw: ImplicitALS(nonnegative=True, **kw),
    "nonnegative biases": lambda **kw: ExplicitALS(nonnegative=True, **kw),
    "cholesky": lambda **kw: ExplicitALS(solver="cholesky", **kw),
    "cg": lambda **kw: ImplicitALS(solver="cg", **kw),
}


@DTYPES
@pytest.mark.parametrize("factors", [5, 34])
@pytest.mark.parametrize("variant", ALL)
def test_each_loss_is_that_of_the_factors(variant: str, factors: int, dtype: Any) -> None:
    """As many users as items: arrays of one shape, none of which may stand in for another."""
    matrix = ratings(90, 90)
    descent, training = descent_of(ALL[variant](factors=factors, dtype=dtype, random_state=0), matrix)
    for iteration in range(1, 9):
        X, Y = training.X, training.Y
        kept = X.copy(), Y.copy()
        loss = descent.iterate(last=iteration == 8)
        assert loss is not None
        assert np.array_equal(X, kept[0])
        assert np.array_equal(Y, kept[1])
        arrays = [training.X, training.Y, training.before]
        for at, one in enumerate(arrays):
            assert all(one is None or other is None or not np.shares_memory(one, other) for other in arrays[:at])
        exact = objective(descent, training.X, training.Y, training.mean)
        assert abs(loss - exact) <= off(descent, exact), iteration
        if training.history:
            assert loss <= training.history[-1][0] + off(descent, loss), iteration
        training.record(loss, {}, False)
    assert training.n_repeated == 0


@pytest.mark.parametrize("shape", [(90, 90), (120, 80), (80, 120)])
@pytest.mark.parametrize("variant", ALL)
def test_the_callers_arrays_are_nobodys_room(variant: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    start = tuple(np.abs(rng.standard_normal((n, 34), np.float32)) for n in shape)
    kept = tuple(factors.copy() for factors in start)
    ALL[variant](factors=34, iterations=5, tol=None).fit(ratings(*shape), initial_factors=start)
    assert np.array_equal(start[0], kept[0])
    assert np.array_equal(start[1], kept[1])


@DTYPES
@pytest.mark.parametrize("factors", [5, 34])
@pytest.mark.parametrize("variant", ALL)
def test_the_last_loss_is_that_of_the_model_however_it_ended(variant: str, factors: int, dtype: Any) -> None:
    matrix, held_out = ratings(), ratings(seed=1)
    make = lambda **kw: ALL[variant](factors=factors, dtype=dtype, num_threads=1, random_state=0, **kw)  # noqa: E731
    whole = make(iterations=6, tol=None).fit(matrix)
    assert whole.n_iter_ == 6
    check_told(whole, matrix)
    check_never_rising(whole, matrix)
    settled = make(iterations=60, tol=0.05).fit(matrix)
    assert settled.n_iter_ < 60
    check_told(settled, matrix)
    stopped = make(iterations=6, tol=None).fit(matrix, callback=stop_after(3))
    assert stopped.n_iter_ == 3
    check_told(stopped, matrix)
    patient = make(iterations=60, tol=None).fit(matrix, validation=held_out, patience=1)
    assert patient.n_iter_ == patient.best_iteration_ + 1 or patient.n_iter_ == 60
    check_told(patient, matrix)


# ---------------------------------------------------------------------------------------------------------------------
# sides elsewhere


class Elsewhere:
    """A side whose factors are known by a number alone, as where they are spread over a cluster."""

    arrays: ClassVar[list[Any]] = []

    def __init__(self, side: ArraySide) -> None:
        self.side, self.factors, self.before = side, self.number(side.factors), None

    @classmethod
    def number(cls, array: Any) -> int | None:
        if array is None:
            return None
        same = [at for at, other in enumerate(cls.arrays) if other is array]
        cls.arrays += [] if same else [array]
        return same[0] if same else len(cls.arrays) - 1

    def take(self, factors: Any, before: Any, held: Any) -> None:
        of = lambda number: None if number is None else self.arrays[number]  # noqa: E731
        self.side.take(of(factors), of(before), [of(number) for number in held])
        self.factors, self.before = factors, before

    def look_at(self, other: "Elsewhere") -> None:
        self.side.look_at(other.side)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.side, name)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            result = value(*args, **options)
            self.factors, self.before = self.number(self.side.factors), self.number(self.side.before)
            return result

        return call


@pytest.mark.parametrize("stop", [3, 8])
@pytest.mark.parametrize("factors", [5, 34])
@pytest.mark.parametrize("variant", ALL)
def test_a_descent_looks_into_no_factors(
    variant: str, factors: int, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Elsewhere, "arrays", [])
    matrix, model = ratings(90, 90), ALL[variant](factors=factors, random_state=0)
    here, training = descent_of(model, matrix)
    twin, expected = descent_of(model, matrix)
    sides_elsewhere = [Elsewhere(side) for side in sides(here)]
    there = Training(*(side.factors for side in sides_elsewhere), mean=training.mean)  # type: ignore[arg-type]
    options = {name: getattr(here, name) for name in ("users_last", "sweep", "exact", "automatic", "signed", "leveled")}
    descent = Descent(there, *sides_elsewhere, **options)
    for one, its in ((descent, there), (twin, expected)):
        train(one, its, iterations=8, callback=stop_after(stop), progress=False)
    assert there.history == expected.history
    assert there.mean == expected.mean
    for number, array in ((there.X, expected.X), (there.Y, expected.Y)):
        assert np.array_equal(Elsewhere.arrays[number], array)


@BOTH
def test_the_best_iteration_is_never_written_to(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no copy."""
    monkeypatch.setattr(Validation, "is_better", lambda self, metrics, training: len(training.history) == 1)
    matrix = ratings()
    for factors in (5, 34):
        options = {"factors": factors, "tol": None, "random_state": 0}
        fitted = model(iterations=9, **options).fit(matrix, validation=ratings(seed=1))
        assert fitted.best_iteration_ == 2
        stopped = model(iterations=9, **options).fit(matrix, callback=stop_after(2))
        assert np.array_equal(fitted.user_factors_, stopped.user_factors_)
        assert np.array_equal(fitted.item_factors_, stopped.item_factors_)


# ---------------------------------------------------------------------------------------------------------------------
# tol


@BOTH
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg"])
def test_tol_ends_a_fit_when_an_iteration_lowers_by_less(model: Any, solver: Any) -> None:
    matrix = ratings()
    make = lambda **kw: model(factors=34, iterations=25, solver=solver, random_state=0, **kw)  # noqa: E731
    whole = np.array(make(tol=None).fit(matrix).loss_history_)
    shares = (whole[:-1] - whole[1:]) / whole[:-1]
    for tol in (0.5, 0.05, 0.01, 1e-3):
        small = np.flatnonzero(shares < tol)
        expected = int(small[0]) + 2 if len(small) else 25
        fitted = make(tol=tol).fit(matrix)
        assert fitted.n_iter_ == len(fitted.loss_history_) == expected
        if expected < 25:
            # but for the closing solve, the same fit
            assert fitted.loss_history_[:-1] == whole[: expected - 1].tolist()
            assert fitted.loss_history_[-1] <= whole[expected - 1] * (1 + 1e-6)
    assert make(tol=1.0).fit(matrix).n_iter_ == 2


@BOTH
@pytest.mark.parametrize(
    "tol",
    [None, 0],
)
@pytest.mark.parametrize("solver", ["auto", "cholesky"])
def test_without_a_tolerance_all_iterations_are_done(model: Any, tol: Any, solver: Any) -> None:
    """Also long after rounding is all that an iteration changes."""
    matrix = ratings(20, 15, 0.4)
    options = {"factors": 3, "iterations": 150, "regularization": 1.0, "solver": solver, "random_state": 0}
    assert model(**options, tol=tol).fit(matrix).n_iter_ == 150


def test_what_tol_resolves_to() -> None:
    matrix = ratings(20, 15, 0.4)
    for model in (ExplicitALS, ImplicitALS):
        fit = lambda model, **kw: model(factors=2, iterations=1, **kw).fit(matrix).settings_["tol"]  # noqa: E731
        assert 0 < fit(model) < 0.05
        assert fit(model, solver="cholesky") is None
        assert fit(model, solver="cg") is None
        assert fit(model, tol=None) is None
        assert fit(model, tol=0.25) == 0.25
        assert fit(model, solver="cholesky", tol=0.25) == 0.25
        for preset in model._presets:
            if preset is not None:
                for solver in ("cholesky", "auto"):
                    assert fit(model.from_preset, name=preset, solver=solver) is None


# ---------------------------------------------------------------------------------------------------------------------
# numbers that are hard to sum


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg"])
@pytest.mark.parametrize("factors", [8, 40])
@pytest.mark.parametrize("regularization", [0.01, "auto"])
def test_the_loss_of_tiny_values(solver: Any, factors: int, regularization: Any) -> None:
    """What ageing leaves: a row takes next to nothing off the objective, or all of it."""
    matrix = ratings(density=0.1)
    matrix.data = (matrix.data * np.float32(1e-9)).astype(np.float32)
    model = ImplicitALS(
        factors=factors, regularization=regularization, solver=solver, iterations=6, tol=None, random_state=0
    )
    fitted = model.fit(matrix)
    assert fitted.loss_history_[-1] == pytest.approx(objective_of(fitted, matrix), rel=1e-5)
    check_never_rising(fitted, matrix)


@pytest.mark.parametrize("solver", ["cholesky", "auto", "cg"])
def test_next_to_no_regularization(solver: Any) -> None:
    rng = np.random.default_rng(0)
    cells = rng.choice(3_000_000, 60_000, replace=False)
    values = rng.integers(1, 6, len(cells)).astype(np.float32)
    matrix = sparse.csr_array((values, (cells // 1000, cells % 1000)), shape=(3000, 1000))
    model = ExplicitALS(
        factors=64, biases=False, regularization=1e-5, solver=solver, iterations=5, tol=None, random_state=0
    )
    fitted = model.fit(matrix)
    assert max(np.abs(fitted.user_factors_).max(), np.abs(fitted.item_factors_).max()) <= 100
    check_told(fitted, matrix)
    check_never_rising(fitted, matrix)


# ---------------------------------------------------------------------------------------------------------------------
# the same bits


def with_long_rows() -> sparse.csr_array:
    """Users and items whose rows walk through blocks of the other side, among many of a few cells."""
    rng = np.random.default_rng(0)
    n_users, n_items = 2500, 6000
    cells = [rng.choice(n_users * n_items, 9000, replace=False)]
    for user, n in zip((3, 40, 41, 900, 2499), (6000, 3000, 1100, 4000, 700), strict=True):
        cells.append(user * n_items + rng.choice(n_items, n, replace=False))
    for item, n in zip((0, 7, 8, 3000, 5999), (2500, 2000, 1300, 1030, 600), strict=True):
        cells.append(item + n_items * rng.choice(n_users, n, replace=False))
    flat = np.unique(np.concatenate(cells))
    values = rng.integers(1, 6, len(flat)).astype(np.float32)
    return sparse.csr_array((values, (flat // n_items, flat % n_items)), shape=(n_users, n_items))


def test_the_data_have_rows_that_are_grouped() -> None:
    matrix = with_long_rows()
    for one, n_other in ((matrix, 6000), (sparse.csr_array(matrix.T), 2500)):
        for dtype in (np.float32, np.float64):
            block, rows = kernels.cg_block(dtype, 128), kernels.cg_group(dtype, 128)
            long = Groups(block, n_other, rows, 1).long(np.diff(one.indptr))
            assert 3 <= long.sum() <= 10


@BOTH
@DTYPES
@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
def test_the_same_bits_for_any_number_of_threads(model: Any, dtype: Any, solver: Any) -> None:
    matrix = with_long_rows()
    options = {"factors": 128, "solver": solver, "dtype": dtype, "iterations": 2, "tol": None, "random_state": 0}
    fits = [model(**options, num_threads=threads).fit(matrix) for threads in (1, 2, 3, 4, 7)]
    assert fits[0].settings_.get("biases", True)
    for other in fits[1:]:
        assert_same(fits[0], other)


@BOTH
@pytest.mark.parametrize("solver", ["auto", "cg"])
def test_a_checkpoint_may_be_resumed_with_other_threads(tmp_path: Path, model: Any, solver: Any) -> None:
    matrix = with_long_rows()
    options = {"factors": 128, "solver": solver, "iterations": 4, "tol": None, "random_state": 0}
    whole = model(**options, num_threads=1).fit(matrix)
    for threads, stop in ((3, 1), (2, 3)):
        model(**options, num_threads=threads).fit(
            matrix, checkpoint=tmp_path / "point", checkpoint_every=1, callback=stop_after(stop)
        )
    resumed = model(**options, num_threads=7).fit(matrix, checkpoint=tmp_path / "point")
    assert_same(resumed, whole)
