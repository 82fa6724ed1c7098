"""Cells that are read run by run: all that is asked of them has the bits that it has in memory, whole fits too."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions
from fastals._data.lines import ArrayLines
from fastals._equation import RowEquation
from fastals._equation import lines as lines_module
from fastals._equation.lines import StoredRows, ahead
from fastals._equation.presets import EXPLICIT, IMPLICIT
from fastals._equation.rows import BUFFER, CHUNK, CellWeights, Rows, RowSource, cuts
from fastals._equation.settings import (
    Cells,
    _largest_singular_value,
    _right_hand,
    explicit_regularization,
    implicit_regularization,
    spread,
)

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
EVENTS = CellWeights(0.3, a0=0.0, a1=2.0, b0=1.0, b1=2.0, positive_only=True)


class BufferedLines:
    """Lines that are read into room that is used again, by any of two threads; what was there before is ruined."""

    def __init__(self, indptr: Any, indices: Any, values: Any, n_others: int) -> None:
        self.indptr, self.indices, self.values, self.n_others = indptr, indices, values, n_others
        self.dtype, self.weighted = values.dtype, False
        self.readers: set[int] = set()

    def read(self, first: int, last: int, out: Any = None) -> Any:
        self.readers.add(threading.get_ident())
        part = slice(self.indptr[first], self.indptr[last])
        n = part.stop - part.start
        indices, values, _ = out
        indices[:], values[:] = -1, np.nan
        indices[:n], values[:n] = self.indices[part], self.values[part]
        return indices[:n], values[:n], None


def random_rows(n: int, n_others: int, dtype: Any, *, repeats: bool, weighted: bool, seed: int, low: int = -1) -> Rows:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 7, n) * (rng.random(n) < 0.7)
    lengths[n // 2] = 3 * n_others if repeats else n_others
    indices = [np.sort(rng.choice(n_others, size, replace=repeats)) for size in lengths]
    values = rng.integers(low, 6, int(lengths.sum())) * np.pi
    scale = rng.integers(0, 4, len(values)) / 3 if weighted else None
    return Rows(
        np.append(0, lengths.cumsum()),
        np.concatenate(indices).astype(np.int32),
        values.astype(dtype),
        None if scale is None else scale.astype(dtype),
    )


def transposed(rows: Rows, n_others: int) -> Rows:
    order = np.argsort(rows.indices, kind="stable")
    indptr = np.append(0, np.bincount(rows.indices, minlength=n_others).cumsum())
    scale = None if rows.scale is None else rows.scale[order]
    return Rows(indptr, rows.lines()[order].astype(np.int32), rows.values[order], scale)


def random_cut(n: int, blocks: int, seed: int) -> list[tuple[int, int]]:
    bounds = np.sort(np.random.default_rng(seed).choice(np.arange(1, n), blocks - 1, replace=False))
    return list(zip([0, *bounds.tolist()], [*bounds.tolist(), n], strict=True))


def stored(rows: Rows, n_others: int, blocks: int, seed: int = 0) -> StoredRows:
    weights = None
    if rows.scale is not None:
        weights = BufferedLines(rows.indptr, rows.indices, rows.scale, n_others)
    lines = BufferedLines(rows.indptr, rows.indices, rows.values, n_others)
    return StoredRows(lines, weights, runs=random_cut(len(rows), blocks, seed))


def bits(found: Any) -> Any:
    return (found.dtype, found.tobytes()) if isinstance(found, np.ndarray) else found


# ---------------------------------------------------------------------------------------------------------------------
# what is asked of all cells


def asked(rows: RowSource, columns: RowSource, own: Any, others: Any) -> dict[str, Any]:
    """Everything."""
    found: dict[str, Any] = {
        "counts": rows.counts(False),
        "positive": rows.counts(True),
        "extremes": rows.extremes(),
        "repeats": rows.have_repeats(),
        "mean": rows.mean(),
        "damped": rows.damped_means(2.5),
        "lightest": CellWeights(0.2, -3.0, 1.0, 0.0, 1.0, True).lightest(rows),
        "spread": (spread(rows, True), spread(rows, False)),
        "cells": (Cells.of(rows, columns, True), Cells.of(rows, columns, False)),
    }
    for less in (rows.less(0.3), rows.less(0.3, others=others), rows.less(0.3, own, others)):
        found[f"less {len(found)}"] = less.whole().values
        found[f"less {len(found)}"] = less.less(1.1, own).damped_means(0.5)
    cells = found["cells"][0]
    found["rules"] = (
        explicit_regularization(rows, columns, 0.3, centered=True),
        implicit_regularization(rows, columns, cells, EVENTS, 0.7),
        *(_right_hand(rows, EVENTS, repeats) for repeats in (False, True)),
        _largest_singular_value(rows, columns, EVENTS, 7.0, np.inf),
    )
    return {name: bits(value) for name, value in found.items()}


@DTYPES
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 100, CHUNK])
def test_every_pass_has_the_bits_that_it_has_in_memory(
    chunk: int, repeats: bool, weighted: bool, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastals._equation.rows.CHUNK", chunk)
    n, n_others = 150, 40
    rng = np.random.default_rng(1)
    own, others = rng.random(n).astype(dtype), rng.random(n_others).astype(dtype)
    rows = random_rows(n, n_others, dtype, repeats=repeats, weighted=weighted, seed=2)
    columns = transposed(rows, n_others)
    expected = asked(rows, columns, own, others)
    assert expected["repeats"] == repeats
    assert expected["lightest"] is not None
    for blocks in (1, 2, 7, 39):
        found = asked(stored(rows, n_others, blocks), stored(columns, n, blocks, 3), own, others)
        assert found == expected, blocks


@DTYPES
@pytest.mark.parametrize("n", [1, 127, BUFFER, BUFFER + 1, CHUNK, CHUNK + 1, 200_003, 1_000_001])
def test_the_mean_is_that_of_numpy(n: int, dtype: Any) -> None:
    """To the bit, in chunks, which begin anywhere in the runs."""
    rng = np.random.default_rng(n)
    values, scale = (rng.standard_normal(n) * 10 ** rng.uniform(-4, 4, n)).astype(dtype), rng.random(n).astype(dtype)
    indices = np.zeros(n, np.int32)
    indptr = np.unique(np.concatenate(([0], rng.integers(0, n + 1, 30), [n])))
    plain, weighted = Rows(indptr, indices, values), Rows(indptr, indices, values, scale)
    mean = float(np.mean(values, dtype=np.float64))
    total = float(np.einsum("i,i->", values, scale, dtype=np.float64) / np.sum(scale, dtype=np.float64))
    assert plain.mean() == mean
    assert weighted.mean() == total
    for blocks in {min(4, len(plain)), len(plain)}:
        assert stored(plain, 1, blocks).mean() == mean
        assert stored(weighted, 1, blocks).mean() == total


@DTYPES
@pytest.mark.parametrize("repeats", [False, True])
def test_columns_have_the_products_of_the_transposed_matrix(repeats: bool, dtype: Any) -> None:
    """The power iteration, once more by scipy's product with the transposed matrix."""
    n, n_others = 90, 50
    rows = random_rows(n, n_others - 7, dtype, repeats=repeats, weighted=True, seed=4, low=1)
    columns = transposed(rows, n_others)
    b = (EVENTS.of(rows.values, rows.scale)[1] / 3.0).astype(dtype)
    size = int(rows.indices.max()) + 1
    matrix = sparse.csr_array((b, rows.indices, rows.indptr), shape=(n, size))
    x, bound, before = np.full(size, 1 / np.sqrt(size), dtype), 0.0, 0.0
    for _ in range(50):
        for product in (matrix, matrix.T):
            x = product @ x
            bound = float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))
            x /= x.dtype.type(bound)
        if bound <= before * (1 + 1e-4):
            break
        before = bound
    assert _largest_singular_value(rows, columns, EVENTS, 3.0, np.inf) == bound


def test_runs_are_cut_by_their_cells() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        lengths = rng.integers(0, 20, rng.integers(1, 30)) * (rng.random() < 0.9)
        indptr, most = np.append(0, lengths.cumsum()), int(rng.integers(1, 60))
        runs = cuts(indptr, most)
        assert [0, *(last for _, last in runs)] == [*(first for first, _ in runs), len(lengths)]
        for at, (first, last) in enumerate(runs):
            assert lengths[first:last].sum() <= most or last == first + 1
            # the next row would have been too much
            assert at + 1 == len(runs) or lengths[first : last + 1].sum() > most


# ---------------------------------------------------------------------------------------------------------------------
# reading


def test_what_is_read_ahead() -> None:
    read: list[int] = []

    def reading(number: int) -> int:
        read.append(number)
        return number

    for n in range(6):
        read.clear()
        seen = []
        for number in ahead(reading, n):
            assert len(read) <= number + 2
            seen.append(number)
        assert seen == read == list(range(n))


def test_one_thread_reads_and_is_gone_afterwards() -> None:
    rows = random_rows(100, 30, np.float32, repeats=False, weighted=False, seed=0)
    source = stored(rows, 30, 10)
    whole = source.whole()
    assert np.array_equal(whole.values, rows.values)
    assert np.array_equal(whole.indices, rows.indices)
    assert len(source.lines.readers) == 1  # type: ignore[attr-defined]
    assert threading.get_ident() not in source.lines.readers  # type: ignore[attr-defined]
    runs = source.runs()
    next(runs)
    runs.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastals-read")]
    # the first run is read before it is asked for
    readers = source.lines.readers  # type: ignore[attr-defined]
    readers.clear()
    before = set(threading.enumerate())
    runs = source.runs()
    (reader,) = set(threading.enumerate()) - before
    del runs
    reader.join(10)
    assert not reader.is_alive()
    assert readers == {reader.ident}
    alone = stored(rows, 30, 1)
    alone.whole()
    assert alone.lines.readers == {threading.get_ident()}  # type: ignore[attr-defined]


def test_an_error_of_the_reader_reaches_who_asked() -> None:
    def read(number: int) -> int:
        if number == 2:
            raise fastals.FileFormatError("damaged")
        return number

    numbers = ahead(read, 5)
    assert [next(numbers), next(numbers)] == [0, 1]
    with pytest.raises(fastals.FileFormatError, match="damaged"):
        next(numbers)


def test_values_are_changed_as_they_are_read() -> None:
    rows = random_rows(60, 30, np.float32, repeats=False, weighted=True, seed=0)
    source = stored(rows, 30, 5).transformed(lambda values: values * 2)
    assert source.weighted
    assert source.dtype == np.float32
    own = np.arange(60, dtype=np.float32)
    expected = rows.values * 2 - np.float32(0.5) - own[rows.lines()]
    assert np.array_equal(source.less(0.5, own).whole().values, expected)
    assert np.array_equal(source.less(0.5, own).whole().scale, rows.scale)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# fits


@pytest.fixture
def in_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Fits read their cells run by run, also where these are in memory and have weights."""
    original = RowEquation.rows
    numbers: list[int] = []

    def rows(self: RowEquation, axis: Any, data: Any, twin: Any, dtype: Any, threads: Any) -> RowSource:
        lines, *weights = (part.lines(axis, dtype) for part in (data, twin) if part is not None)
        n = len(lines.indptr) - 1
        numbers.append(min(n, 2 + len(numbers) % 9))
        source = StoredRows(lines, *weights, runs=random_cut(n, numbers[-1], len(numbers)))
        return source.transformed(self.transform)

    monkeypatch.setattr(RowEquation, "rows", rows)
    yield numbers
    monkeypatch.setattr(RowEquation, "rows", original)


def data_of(seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    dense = (rng.random((90, 70)) < 0.2) * rng.integers(1, 6, (90, 70))
    dense[3], dense[:, 9], dense[40], dense[:, 50] = 2, 3, 0, 0
    return sparse.csr_array(dense.astype(np.float32))


def outcome(model: Any) -> Any:
    biases = getattr(model, "user_biases_", None), getattr(model, "item_biases_", None)
    arrays = [array for array in (model.user_factors_, model.item_factors_, *biases) if array is not None]
    told = model.loss_history_, model.settings_, model.n_repeated_, getattr(model, "global_mean_", None)
    return [array.tobytes() for array in arrays], repr(told), model.metrics_history_


MODELS: dict[str, Any] = {
    **{f"implicit {name}": (ImplicitALS, {"preset": name, **IMPLICIT[name].parameters}) for name in IMPLICIT},
    **{f"explicit {name}": (ExplicitALS, {"preset": name, **EXPLICIT[name].parameters}) for name in EXPLICIT},
    "nonnegative": (ImplicitALS, {"nonnegative": True}),
    "nonnegative biases": (ExplicitALS, {"nonnegative": True}),
    "no biases": (ExplicitALS, {"biases": False, "regularization_scaling": "count"}),
    "no lambda": (ExplicitALS, {"regularization": 0.0, "solver": "cholesky"}),
    "signed": (ImplicitALS, {"confidence": "log", "epsilon": 0.3, "unobserved_weight": 0.5}),
}


@DTYPES
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "lapack"])
@pytest.mark.parametrize("kind", MODELS)
def test_fits_have_the_bits_of_memory(kind: str, solver: str, dtype: Any, request: pytest.FixtureRequest) -> None:
    cls, parameters = MODELS[kind]
    if parameters.get("nonnegative") and solver in ("cg", "lapack"):
        solver = "cholesky"
    options = {**parameters, "solver": parameters.get("solver", solver), "dtype": dtype, "iterations": 5}
    matrix, held_out = data_of(), data_of(1)
    if kind == "signed":
        matrix.data[::7] *= -1
    weights = np.random.default_rng(2).integers(1, 4, matrix.nnz) / 2
    fits = [
        ({}, {"factors": 33}),
        ({"sample_weight": weights}, {"factors": 4}),
        ({"validation": held_out}, {"factors": 33, "tol": None}),
    ]
    make = lambda extra: cls(**{**options, "random_state": 0, "num_threads": 1, **extra})  # noqa: E731
    expected = [outcome(make(extra).fit(matrix, **arguments)) for arguments, extra in fits]
    numbers = request.getfixturevalue("in_runs")
    found = [outcome(make(extra).fit(matrix, **arguments)) for arguments, extra in fits]
    assert numbers
    assert found == expected


@BOTH
@DTYPES
@pytest.mark.parametrize("run_bytes", [1, 1000, 1 << 26])
def test_fits_on_disk_have_the_bits_of_memory(
    model: Any, dtype: Any, run_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "RUN_BYTES", run_bytes)
    matrix = data_of()
    data = Interactions.from_matrix(matrix, on_disk=tmp_path / "store")
    for options in ({"factors": 5}, {"factors": 34}, {"factors": 34, "regularization": 0.3}):
        make = lambda: model(**options, dtype=dtype, iterations=4, random_state=0)  # noqa: B023, E731
        assert outcome(make().fit(data)) == outcome(make().fit(matrix))


def test_lines_in_memory_are_not_copied() -> None:
    data = Interactions.from_matrix(data_of())
    equation = ImplicitALS(factors=3, confidence="linear", random_state=0).fit(data).state_.equation
    for axis in ("users", "items"):
        rows, lines = equation.rows(axis, data, None, "float32", None), data.lines(axis)
        assert isinstance(rows, Rows)
        assert isinstance(lines, ArrayLines)
        assert np.shares_memory(rows.values, lines.values)
        assert np.shares_memory(rows.indices, lines.indices)
        assert rows.indptr is lines.indptr
