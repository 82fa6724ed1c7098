"""Half-sweeps over blocks: how rows are cut, where they are solved, and what is kept of the others changes no bit."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import fastals
from fastals._core import kernels
from fastals._data.lines import ArrayLines
from fastals._equation import sweep
from fastals._equation.lines import StoredRows
from fastals._equation.rows import CellWeights, Rows
from fastals._equation.settings import row_regularization
from fastals._equation.side import ArraySide
from fastals._equation.sweep import Basis, Block, Common, Plan, Summary, WideSumsNeeded, half_sweep, schedule

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
RATINGS = CellWeights(0.0, a0=1.0, a1=0.0, b0=0.0, b1=1.0, positive_only=False)
EVENTS = CellWeights(0.2, a0=0.0, a1=2.0, b0=1.0, b1=2.0, positive_only=True)
K = 40
N_OTHERS = 6000


pytestmark = pytest.mark.usefixtures("serial_blas")


def rows_of(n: int, dtype: Any, *, weighted: bool = False, n_others: int = N_OTHERS, seed: int = 0) -> Rows:
    """Rows of a few cells, of none, and two that walk through the other side block by block."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, n) * (rng.random(n) < 0.8)
    lengths[n // 3], lengths[n // 2] = n_others, n_others // 2 + 500
    indices = np.concatenate([np.sort(rng.choice(n_others, size, replace=False)) for size in lengths])
    values = rng.integers(-1, 6, len(indices)).astype(dtype)
    scale = rng.integers(0, 3, len(indices)).astype(dtype) if weighted else None
    return Rows(np.append(0, lengths.cumsum()), indices.astype(np.int32), values, scale)


def lines_of(rows: Rows, n_others: int, *, scale: bool = False) -> ArrayLines:
    values = rows.scale if scale else rows.values
    assert values is not None
    return ArrayLines((rows.indptr.copy(), rows.indices.copy(), values.copy()), n_others)


def stored(rows: Rows, runs: Any, n_others: int = N_OTHERS) -> StoredRows:
    weights = None if rows.scale is None else lines_of(rows, n_others, scale=True)
    return StoredRows(lines_of(rows, n_others), weights, runs=runs)


def cut(n: int, blocks: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Any runs of rows, some of them empty of cells."""
    bounds = np.concatenate(([0], np.sort(rng.choice(np.arange(1, n), blocks - 1, replace=False)), [n]))
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def factors_of(n: int, k: int, dtype: Any, seed: int) -> Any:
    return (np.random.default_rng(seed).standard_normal((n, k)) / 3).astype(dtype)


def side_of(
    rows: Any, weights: CellWeights, dtype: Any, *, own: float | None = None, k: int = K, **kw: Any
) -> ArraySide:
    """A side of these rows, whose factors have a column of biases where ``own`` is their lambda."""
    columns = k + (own is not None)
    X, Y = factors_of(len(rows), columns, dtype, 1), factors_of(N_OTHERS, columns, dtype, 2)
    counts = np.random.default_rng(3).integers(1, 50, N_OTHERS)

    def lam(counts: Any, n_others: int) -> Any:
        return row_regularization(0.3, 0.5, weights.unobserved, counts, n_others)

    return ArraySide(rows, X, Y, weights, lam, counts, bias_regularization=own, **kw)


def told(side: ArraySide, solver: str, relaxation: float) -> list[Any]:
    """All that a side tells about a half-sweep."""
    mean = 0.25 if side.biased else 0.0
    zero = side.at_zero(mean), side.constant(mean), side.penalty(), side.loss(mean)
    decrease = side.solve(solver, relaxation, mean, keep=0.0, constant=True)
    assert side.constant(mean) == zero[1]
    assert side.constant(mean + 1) != zero[1] or not side.biased
    after = side.penalty(), side.loss(mean), decrease, side.spread, side.rescued.tolist(), side.level()
    assert np.isfinite(side.factors).all()
    return [*zero, *after, side.factors.tobytes(), side.before.tobytes()]  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------------------------
# the kernels' sums over parts of a side


@DTYPES
@pytest.mark.parametrize("k", [1, 3, 17, 64, 100])
def test_rows_are_weighed_and_lose_their_biases_on_the_way(k: int, dtype: Any) -> None:
    """The bits of a copy."""
    rng = np.random.default_rng(k)
    Q = np.zeros((k, kernels.padded(dtype, k)), dtype)
    Q[:, :k] = rng.standard_normal((k, k))
    for n in (0, 1, 127, 128, 129, 300, 4096, 4097, 9000):
        Y, scale = rng.standard_normal((n, k)).astype(dtype), rng.random(n).astype(dtype)
        with_ones = Y.copy()
        with_ones[:, -1] = 1
        for threads in (1, 3):
            for wide in (False, True):
                gram = lambda Y, *rest: kernels.gram(Y, threads, wide, *rest)  # noqa: B023, E731
                assert np.array_equal(gram(Y * scale[:, np.newaxis]), gram(Y, scale))
                assert np.array_equal(gram(with_ones), gram(Y, None, True))
                assert np.array_equal(gram(with_ones * scale[:, np.newaxis]), gram(Y, scale, True))
            for turned in (None, Q):
                expected = kernels.rotate(with_ones, turned, threads)
                assert np.array_equal(expected, kernels.rotate(Y, turned, threads, True))


@DTYPES
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("ones", [False, True])
def test_a_summary_of_runs_of_whole_parts_is_that_of_the_side(dtype: Any, wide: bool, ones: bool) -> None:
    n, k, part = 9 * 4096 + 100, 5, kernels.PART_ROWS
    rng = np.random.default_rng(0)
    factors = (rng.standard_normal((n, k)) * 10 ** rng.uniform(-3, 3, (n, 1))).astype(dtype)
    scale = rng.random(n).astype(dtype)
    for weights in (None, scale):
        nothing = Summary(np.zeros((k, k)), wide)
        whole = nothing.extended(factors, 2, scale=weights, ones=ones)
        assert np.array_equal(whole.gram, whole.gram.T)
        for blocks in (2, 3, 10):
            runs = [(a * part, b * part) for a, b in cut(10, blocks, rng)]
            summary = folded = nothing
            for first, last in runs:
                here = slice(first, last)
                of_run = None if weights is None else weights[here]
                summary = summary.extended(factors[here], 3, scale=of_run, ones=ones)
                parts = Summary.parts(factors[here], 1, wide, scale=of_run, ones=ones)
                assert parts.shape == (-(-len(factors[here]) // part), k, k)
                folded = folded.followed_by(pickle.loads(pickle.dumps(parts)))
            assert np.array_equal(summary.gram, whole.gram)
            assert np.array_equal(folded.gram, whole.gram)


@DTYPES
def test_going_beyond_and_taking_off(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    before, X = (rng.standard_normal((301, 7)).astype(dtype) for _ in range(2))
    expected = before - X
    expected *= -0.37
    expected += X
    kernels.go_beyond(before, X, 0.37, 2)
    assert np.array_equal(before, expected)
    values, offsets = rng.standard_normal(5000).astype(dtype), rng.standard_normal(90).astype(dtype)
    indices = rng.integers(0, 90, 5000, dtype=np.int32)
    out = np.empty_like(values)
    kernels.less(values, indices, offsets, out, 3)
    assert np.array_equal(out, values - offsets[indices])


# ---------------------------------------------------------------------------------------------------------------------
# blocks

SIDES: dict[str, Any] = {
    "ratings": (RATINGS, None, False),
    "biases": (RATINGS, 2.0, False),
    "weighted biases": (RATINGS, 2.0, True),
    "events": (EVENTS, None, False),
    "weighted events": (EVENTS, None, True),
}


@DTYPES
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack", "nnls"])
@pytest.mark.parametrize("kind", SIDES)
def test_any_cut_gives_the_same_bits(kind: str, solver: str, dtype: Any) -> None:
    weights, own, weighted = SIDES[kind]
    n, rng = 300, np.random.default_rng(0)
    rows = rows_of(n, dtype, weighted=weighted)
    assert kernels.cg_block(dtype, K) < N_OTHERS // 2 + 500
    relaxation = 0.4 if solver == "cg" else 0.0
    expected = told(side_of(rows, weights, dtype, own=own), solver, relaxation)
    for blocks in (1, 2, 7, 64):
        for threads in (1, 3):
            side = side_of(stored(rows, cut(n, blocks, rng)), weights, dtype, own=own, num_threads=threads)
            assert told(side, solver, relaxation) == expected, (blocks, threads)


@pytest.mark.parametrize("weights", [RATINGS, EVENTS], ids=["ratings", "events"])
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_runs_of_whole_parts_give_the_same_bits(weights: CellWeights, solver: str) -> None:
    n = 64 * kernels.PART_ROWS - 1000
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 3, n)
    indices = rng.integers(0, N_OTHERS, int(lengths.sum()), dtype=np.int32)
    rows = Rows(np.append(0, lengths.cumsum()), indices, rng.integers(1, 6, len(indices)).astype(np.float32))
    expected = told(side_of(rows, weights, np.float32, k=3), solver, 0.0)
    for blocks in (1, 2, 7, 64):
        runs = [(a * kernels.PART_ROWS, min(n, b * kernels.PART_ROWS)) for a, b in cut(64, blocks, rng)]
        side = side_of(stored(rows, runs), weights, np.float32, k=3, num_threads=2)
        assert told(side, solver, 0.0) == expected, blocks


@DTYPES
def test_rows_that_are_rescued_are_so_in_any_block(dtype: Any) -> None:
    """Without regularization rows of fewer cells than factors are singular."""
    rows = rows_of(200, dtype)
    for weights in (RATINGS, replace(EVENTS, unobserved=1e-9)):
        results = []
        for cells in (rows, stored(rows, cut(200, 9, np.random.default_rng(0)))):
            side = side_of(cells, weights, dtype)
            side.lam[:] = 0
            results.append(told(side, "cholesky", 0.0))
        assert results[0] == results[1]
        assert len(results[0][8]) > 100 or (dtype == np.float64 and weights.unobserved)


def test_a_row_that_cannot_be_solved_is_named_by_its_own_number() -> None:
    rows = rows_of(200, np.float64)
    rows.values[rows.indptr[100] : rows.indptr[101]] = 1e200
    weights = CellWeights(0.0, a0=0.0, a1=1.0, b0=0.0, b1=1.0, positive_only=False)
    messages = []
    for cells in (rows, stored(rows, [(0, 90), (90, 140), (140, 200)])):
        side = side_of(cells, weights, np.float64)
        side.others *= 1e60
        with pytest.raises(fastals.NumericalError) as error:
            side.solve("cholesky")
        messages.append(str(error.value))
    assert "row 100" in messages[0]
    assert messages[0] == messages[1]


def test_only_some_rows_of_blocks() -> None:
    rows, only = rows_of(300, np.float32), np.array([250, 3, 299, 0, 151, 100])
    results = []
    for cells in (rows, stored(rows, cut(300, 7, np.random.default_rng(1)))):
        side = side_of(cells, EVENTS, np.float32)
        start = side.factors.copy()
        side.solve("cholesky", only=only)
        others = np.setdiff1d(np.arange(300), only)
        others = others[~np.isin(others, side.nothing)]
        assert np.array_equal(side.factors[others], start[others])
        results.append(side.factors)
    assert np.array_equal(*results)


# ---------------------------------------------------------------------------------------------------------------------
# what is needed of the others


def pieces(
    side: ArraySide, solver: str, first: int, last: int, *, wide: bool = False
) -> tuple[Block, Any, Any, Common]:
    """What a task gets that solves some rows elsewhere: of the other side, k x k numbers and the rows that it names."""
    run = side.targets(0.25).whole().between(first, last)
    places = np.unique(run.indices)
    local = replace(run, indices=np.searchsorted(places, run.indices).astype(np.int32))
    block = Block(first, local, side.lam[first:last], schedule(local.indptr))
    return block, side.inputs()[places], places, side.common(solver, wide)


def solved(parts: Any, weights: CellWeights, start: Any, solver: str, n_free: int, groups: bool = False) -> Any:
    block, others, places, common = parts
    basis = Basis(common, others, 1, places=places, n_others=N_OTHERS)
    if groups:
        heavy = np.argsort(-np.diff(block.rows.indptr), kind="stable").astype(np.int32)
        block = block._replace(plan=Plan(heavy, np.array([0, 2, *range(10, len(heavy), 8), len(heavy)]), 1))
    out, decrease = start.copy(), np.zeros(len(start))
    options: dict[str, Any] = {"relaxation": 0.4 if solver == "cg" else 0.0, "n_free": n_free, "decrease": decrease}
    half_sweep(block, basis, weights, out, solver=solver, num_threads=1, **options)
    return out, decrease


@DTYPES
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack", "nnls"])
@pytest.mark.parametrize("kind", SIDES)
def test_the_rows_that_cells_name_are_enough(kind: str, solver: str, dtype: Any) -> None:
    weights, own, weighted = SIDES[kind]
    # the longest row leaves out some others, and so does the whole run
    rows = rows_of(300, dtype, weighted=weighted, n_others=N_OTHERS - 1500)
    rows = replace(rows, indices=(rows.indices + rows.indices // 1700 * 300).astype(np.int32))
    side = side_of(rows, weights, dtype, own=own)
    start, first, last = side.factors.copy(), 90, 171
    parts = pieces(side, solver, first, last)
    assert kernels.cg_block(dtype, K + 1) < np.diff(rows.indptr)[first:last].max() < N_OTHERS
    found, decrease = solved(parts, weights, start[first:last], solver, side.biased)
    grouped = solved(parts, weights, start[first:last], solver, side.biased, groups=solver == "cg")
    side.solve(solver, 0.4 if solver == "cg" else 0.0, 0.25)
    held = ~np.isin(np.arange(first, last), side.nothing)
    assert np.array_equal(found[held], side.factors[first:last][held])
    assert np.array_equal(grouped[0], found)
    assert np.array_equal(grouped[1], decrease)


ELSEWHERE = """
import pickle, sys
sys.path[:0] = {paths!r}
from threadpoolctl import threadpool_limits
from test_sweep import solved
with open(sys.argv[1], "rb") as file:
    tasks = pickle.load(file)
with threadpool_limits(1, user_api="blas"):
    results = [solved(*task) for task in tasks]
with open(sys.argv[2], "wb") as file:
    pickle.dump(results, file)
"""


def test_blocks_are_solved_in_another_process(tmp_path: Path) -> None:
    """What is sent is plain, and small but for the cells and the rows that they name."""
    tasks, expected = [], []
    for dtype in (np.float32, np.float64):
        for weights, own, weighted in SIDES.values():
            for solver in ("cholesky", "cg", "lapack", "nnls"):
                side = side_of(rows_of(300, dtype, weighted=weighted), weights, dtype, own=own)
                start = side.factors[60:].copy()
                parts = pieces(side, solver, 60, 300)
                assert len(pickle.dumps(parts[3])) < 4 * 8 * (K + 1) ** 2
                tasks.append((parts, weights, start, solver, int(side.biased)))
                side.solve(solver, 0.4 if solver == "cg" else 0.0, 0.25)
                expected.append((side.factors[60:], side.nothing))
    sent, answered = tmp_path / "tasks", tmp_path / "results"
    sent.write_bytes(pickle.dumps(tasks))
    here = Path(__file__).parent
    program = ELSEWHERE.format(paths=[str(here), str(here.parent)])
    subprocess.run([sys.executable, "-c", program, str(sent), str(answered)], check=True)
    for (found, _), (factors, nothing) in zip(pickle.loads(answered.read_bytes()), expected, strict=True):
        held = ~np.isin(np.arange(60, 300), nothing)
        assert np.array_equal(found[held], factors[held])


@DTYPES
@pytest.mark.parametrize("solver", ["cholesky", "lapack", "nnls"])
def test_a_side_of_few_others_and_what_is_kept_of_all(solver: str, dtype: Any) -> None:
    indices = np.array([7, 20, 2000, 3999, 5, 7], np.int32)
    rows = Rows(np.array([0, 4, 4, 6]), indices, np.array([1, 2, 3, 4, 5, 6], dtype))
    places, local = np.unique(indices, return_inverse=True)
    few = replace(rows, indices=local.astype(np.int32))
    for weights, own in ((EVENTS, None), (RATINGS, 2.0)):
        side = side_of(rows, weights, dtype, own=own)
        made, asked, others = side.common(solver), list[bool](), side.others[places]
        decrease = side.solve(solver, mean=0.25)

        def common(wide: bool, made: Common = made, asked: list[bool] = asked) -> Common:
            asked.append(wide)
            return made

        again = side_of(few, weights, dtype, own=own, common=common)
        again.others, again.lam = others, side.lam
        assert again.solve(solver, mean=0.25) == decrease
        assert np.array_equal(again.factors, side.factors)
        assert asked == [False]


def test_sums_are_wide_where_lambda_would_not_hide_their_rounding() -> None:
    """The common term of almost parallel rows, beside next to no lambda."""
    rng = np.random.default_rng(0)
    Y = (rng.standard_normal((3000, 1)) @ np.ones((1, 8)) + 1e-3 * rng.standard_normal((3000, 8))).astype(np.float32)
    exact = reference.gram(Y)
    narrow, wide = (
        Common.of(Summary(np.zeros((8, 8)), wide).extended(Y, 1), 1.0, np.float32, 8) for wide in (False, True)
    )
    assert narrow.wide is None
    assert wide.wide is not None
    np.testing.assert_allclose(wide.wide, exact, rtol=1e-12)
    assert wide.bears(0.0)
    assert not narrow.bears(1e-6)
    assert narrow.bears(1e3)
    Q, base = np.linalg.eigh(exact)[::-1]
    np.testing.assert_allclose(wide.base, base, rtol=1e-5)
    assert wide.Q is not None
    np.testing.assert_allclose(np.abs(np.sum(wide.Q * Q, axis=0)), 1, rtol=1e-4)


def test_a_block_asks_for_wide_sums_where_it_needs_them() -> None:
    """Nobody else has the other side: who sent the block has to make them."""
    rows = rows_of(60, np.float32)
    weights = replace(EVENTS, unobserved=1e-12)
    side = side_of(rows, weights, np.float32)
    side.lam[:] = 0
    start = side.factors.copy()
    with pytest.raises(WideSumsNeeded):
        solved(pieces(side, "cholesky", 0, 60), weights, start, "cholesky", 0)
    common = side.common("cholesky", wide=True)
    narrow = side.common("cholesky")
    block, others, places, _ = pieces(side, "cholesky", 0, 60)
    found, _ = solved((block, others, places, narrow._replace(wide=common.wide)), weights, start, "cholesky", 0)
    basis = Basis(narrow, side.others, 1)
    again = start.copy()
    plan = side.plan("cholesky", 0, rows)
    rescued = half_sweep(
        Block(0, rows, side.lam, plan),
        basis,
        weights,
        again,
        solver="cholesky",
        num_threads=1,
        wide=lambda: common.wide,
    )
    assert len(rescued) > 30
    assert np.array_equal(found, again)


def test_the_order_of_rows_is_that_of_the_whole_side_alone_where_they_are_shared_out() -> None:
    lengths = np.array([5, 200_000, 70_000, 3, 0, 2_000_000])
    indptr = np.append(0, lengths.cumsum())
    assert schedule(indptr).split.tolist() == []
    assert schedule(indptr, split=sweep.split_above("cholesky", indptr[-1])).split.tolist() == [1, 2, 5]
    assert schedule(indptr, split=sweep.split_above("cholesky", 100 * indptr[-1])).split.tolist() == [5]
    assert schedule(indptr, split=sweep.split_above("cg", indptr[-1])).split.tolist() == [5]
    assert schedule(indptr, split=sweep.split_above("nnls", indptr[-1])).split.tolist() == []
