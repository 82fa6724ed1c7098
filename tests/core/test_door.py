"""What the kernels' door refuses: arguments that do not fit each other, which would be read or written outside.

Each public function has a call that works here, and each way to break it must be an exception. `.ci/sanitize` runs this
file over an AddressSanitizer build as well, where a read outside that goes unseen here does not.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from fastals._core import kernels, tables

N, K, OTHERS = 40, 9, 30  # rows, factors, rows of the other side
QUERIES, ITEMS = 5, 100
HUGE = 2**31 - 1
WEIGHTS = (1.0, 0.5, 0.0, 1.0, False)


class Call(NamedTuple):
    """A call that works; what is wrong when it stands in place of an argument; arrays whose length is free."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    wrong: Mapping[str, list[Any]] = MappingProxyType({})
    free: tuple[str, ...] = ()


def cells(rng: np.random.Generator, rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """indptr and indices of rows that hold 0, 1, 2, 3, 0, … cells."""
    lengths = np.arange(rows) % 4
    indices = np.concatenate([np.sort(rng.choice(columns, n, replace=False)) for n in lengths])
    return np.concatenate(([0], lengths.cumsum())), indices.astype(np.int32)


def broken(indptr: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """indptr that begins too early, falls, or ends too late."""
    result = [indptr.copy() for _ in range(3)]
    result[0][0], result[1][3], result[2][-1] = -1, indptr[-1], indptr[-1] + 1
    return result


def with_last(indices: NDArray[Any], *values: int) -> list[NDArray[Any]]:
    """The indices, the last of them another."""
    return [np.append(indices[:-1], np.array([value], indices.dtype)) for value in values]


def lists_of(rng: np.random.Generator, rows: int, columns: int) -> tuple[NDArray[Any], ...]:
    """(first, last, items), whose last list holds the last column."""
    indptr, items = cells(rng, rows, columns)
    items[:-1] %= columns - 1
    items[-1] = columns - 1
    first, last = indptr[:-1].copy(), indptr[1:].copy()
    first[-1], last[-1] = len(items) - 1, len(items)
    return first, last, items


def broken_lists(lists: tuple[NDArray[Any], ...], columns: int) -> list[Any]:
    first, last, items = lists
    lengths = [(first[1:], last[1:], items), (first, last[1:], items), (first, last, items[:-1]), (first, last), ()]
    bounds = [(with_last(first, -1)[0], last, items), (with_last(first, last[-1] + 1)[0], last, items)]
    outside = [(first, last, wrong) for wrong in with_last(items, -1, columns, HUGE)]
    return [*lengths, *bounds, *outside, (first, last, None), (None, None, None)]


COUNT = [-1, -HUGE]
THREADS = [0, *COUNT]
TUPLE = [None, (), WEIGHTS[:4], (*WEIGHTS, 0)]


def kernel_calls(dtype: type) -> Iterator[Call]:
    rng = np.random.default_rng(0)

    def real(*shape: int) -> NDArray[Any]:
        return rng.uniform(0.5, 1.5, shape).astype(dtype)

    ld = kernels.padded(dtype, K)
    for sized in (kernels.padded, kernels.cg_group, kernels.cg_block, kernels.short_limit):
        yield Call(sized, {"dtype": dtype, "k": K}, {"k": COUNT})
    Y, Z = real(OTHERS, K), kernels.rotate(real(OTHERS, K), None, 1)
    square = np.zeros((K, ld), dtype)
    square[:, :K] = np.eye(K)
    indptr, indices = cells(rng, N, OTHERS)
    values, scale, lam = real(len(indices)), real(len(indices)), real(N)
    yield Call(kernels.gram, {"Y": Y, "num_threads": 2}, {"num_threads": THREADS, "Y": [None, Y[0]]}, ("Y",))
    summed = {"Y": Y, "num_threads": 2, "wide": True, "scale": real(OTHERS), "ones": True, "before": np.eye(K)}
    yield Call(kernels.gram, summed, {"num_threads": THREADS, "Y": [None, Y[0]], "before": [np.eye(K)[0]]})
    yield Call(kernels.rotate, {"Y": Y, "Q": square, "num_threads": 2}, {"num_threads": THREADS}, ("Y.0",))
    beyond = {"before": real(OTHERS, K), "X": Y, "relaxation": 0.5, "num_threads": 2}
    column = {"X": Y, "held": np.ones(OTHERS, np.uint8), "num_threads": 2}
    missing: dict[str, list[Any]] = {"num_threads": THREADS, "X": [None, Y[:, :0].copy()], "held": [None]}
    yield Call(kernels.last_column, column, missing, ("X.1",))
    yield Call(kernels.shift_last_column, {**column, "by": 0.5}, missing, ("X.1",))
    yield Call(kernels.go_beyond, beyond, {"num_threads": THREADS, "X": [None], "before": [None]})
    turned = {"X": Y, "C": square, "out": real(OTHERS, K), "num_threads": 2}
    yield Call(kernels.turn, turned, {"num_threads": THREADS, "C": [None], "out": [None]})
    yield Call(kernels.sum_rows, {"values": np.ones(9)}, {"values": [None]}, ("values",))
    penalty = {"X": real(N, K), "lam": lam, "ridged": K - 1, "own": 1.0, "num_threads": 2}
    yield Call(kernels.penalty, penalty, {"ridged": [K + 1, *COUNT], "num_threads": THREADS}, ("X.1",))
    own = {"means": real(N, K), "strength": real(N), "last": real(N)}
    parted: dict[str, list[Any]] = {name: [None] for name in own}
    yield Call(kernels.penalty, penalty | own, parted)
    offset = {
        "values": values,
        "indices": np.minimum(indices, OTHERS - 2),
        "offsets": real(OTHERS),
        "out": real(len(values)),
        "num_threads": 2,
    }
    yield Call(kernels.less, offset, {"num_threads": THREADS, "out": [None]}, ("offsets.grown", "offsets.cut"))
    of_cells = {"indptr": indptr, "values": values, "scale": scale, "num_threads": 2}
    wrong: dict[str, list[Any]] = {"indptr": broken(indptr), "weights": TUPLE, "num_threads": THREADS}
    yield Call(
        kernels.constant,
        {"weights": WEIGHTS, "unobserved": 1.0, **of_cells},
        {**wrong, "indptr": [*wrong["indptr"], indptr[:0]]},
        ("indptr",),
    )
    told = {"of_rows": np.zeros(N)}
    yield Call(kernels.constant, {"weights": WEIGHTS, "unobserved": 1.0, **of_cells, **told}, wrong)
    shares = {"indices": indices, "share": real(N), "other_share": real(OTHERS)}
    yield Call(
        kernels.constant,
        {"weights": WEIGHTS, "unobserved": 1.0, **of_cells, **shares},
        {**wrong, "indices": [None, *with_last(indices, -1, OTHERS, HUGE)]},
        ("other_share.grown",),
    )
    scored = {"X": real(N, K), "Z": Z, "weights": WEIGHTS, "indices": indices, **of_cells}
    yield Call(kernels.decrease_of_cells, scored, wrong, ("Z.0", "X.1"))
    yield Call(kernels.decrease_of_cells, scored | told, wrong, ("Z.0", "X.1"))
    one = {"Z": Z, "base": real(K), "weights": WEIGHTS, "idx": indices, "val": values, "scale": scale, "lam": 1.0}
    outside = {"idx": with_last(indices, -1, OTHERS, HUGE), "weights": TUPLE, "base": [None, lam[:0]]}
    yield Call(kernels.row_system, one, outside, ("Z.grown", "base"))
    yield Call(
        kernels.posv, {"A": np.eye(K, dtype=dtype), "rhs": real(K)}, {"rhs": [None], "A": [np.empty((0, 0), dtype)]}
    )

    group = kernels.cg_group(dtype, K)
    order = np.arange(N, dtype=np.int32)
    tasks = np.array([0, 20, 30, N])
    for solver in kernels.SOLVERS:
        sweep = {
            **{"solver": solver, "Z": Z, "base": real(K), "ridged": K - 1, "weights": WEIGHTS, "short_limit": 3},
            **{"cg_above": 1, "cg_steps": 2, "order": order, "tasks": tasks, "n_groups": 1},
            **{"split": order[:1].copy(), "indices": indices, **of_cells, "lam": lam, "common": square},
            **{"wide": np.eye(K), "bounded": K, "Q": None, "QT": None, "start": real(N, K), "relaxation": 0.0},
            **{"X": real(N, K), "decrease": np.zeros(N), "status": np.zeros(N, np.int32)},
            **({"share": real(N), **own} if solver != "lapack" else {}),
        }
        yield Call(
            kernels.half_sweep,
            sweep | ({"Q": square, "QT": square} if "nnls" not in solver else {}),
            {
                **wrong,
                **parted,
                "tasks": [tasks[:0], tasks + 1, tasks - 1, np.array([0, 20, 10, N]), np.array([0, 20, 20 + 17, N])],
                "n_groups": [4, 0, *COUNT],
                "order": with_last(order, -1, N, HUGE),
                "split": with_last(order[:1], -1, N, HUGE),
                **{"ridged": [K + 1, *COUNT], "bounded": [K + 1, *COUNT], "short_limit": [ld + 1, *COUNT]},
                **{"cg_steps": [0, *COUNT], "X": [None, real(N, 0)], "solver": [None, "no such"]},
            },
            ("Z.0", "split", "decrease.grown", "tasks", "order.grown"),
        )
    block = kernels.cg_block(dtype, K)
    cuts = np.array([OTHERS - 1, OTHERS], np.int32)
    yield Call(
        kernels.half_sweep,
        sweep | {"solver": "cg", "n_other": block + 1, "cuts": cuts},
        {"cuts": with_last(cuts, -1, OTHERS + 1, HUGE), "n_other": [1, block, 2 * block + 1]},
        tuple(sweep),
    )
    many = np.zeros(group + 1, np.int32)
    yield Call(
        kernels.half_sweep,
        sweep | {"solver": "cg", "order": many, "tasks": np.array([0, group])},
        {"tasks": [np.array([0, group + 1])]},
        tuple(sweep),
    )


def top_n_calls(dtype: type) -> Iterator[Call]:
    rng = np.random.default_rng(1)
    Y, X = (rng.normal(size=(rows, K)).astype(dtype) for rows in (ITEMS, QUERIES))
    X[0] = 0  # looks for the first items that it may get
    panels = -(-ITEMS // kernels.PANEL)
    items = np.full(panels * kernels.PANEL, -1, np.int32)
    items[:ITEMS] = columns = np.arange(ITEMS, dtype=np.int32)
    packed = {"Y": Y, "items": items, "num_threads": 2}
    outside = with_last(items, -2, ITEMS, HUGE)
    empty = np.empty((ITEMS, 0), dtype)
    wrong = {"items": outside, "num_threads": THREADS, "Y": [None, empty, np.ones((1, 2**15), dtype), Y[:-1]]}
    yield Call(kernels.pack_panels, packed, wrong, ("Y",))
    rows, codes, bounds = kernels.pack_panels(**packed)
    bounds[:, 1] = np.maximum.accumulate(bounds[::-1, 0])[::-1]
    lists = lists_of(rng, QUERIES, ITEMS)
    weights = np.zeros(panels, np.int32), np.full((1, kernels.PANEL), 2.0), np.full(1, 2.0), np.full(panels, 9.0), 2.0
    ill_sized = [
        (*weights[:place], changed, *weights[place + 1 :])
        for place, changed in (
            *((0, weights[0][:-1]), (0, np.full(panels, 1, np.int32)), (0, np.full(panels, -1, np.int32))),
            *((1, np.ones((2, kernels.PANEL))), (1, np.ones((1, kernels.PANEL - 1))), (2, np.empty(0))),
            (3, weights[3][:-1]),
        )
    ]
    yield Call(
        kernels.top_n,
        {
            **{"rows": rows, "codes": codes, "bounds": bounds, "items": items, "columns": columns},
            **{"open_columns": np.full(panels, 2**48 - 1, np.uint64), "X": X, "n": 3, "seen": lists},
            **{"boost": weights, "excluded": lists, "group": 2, "num_threads": 2},
        },
        {
            "columns": [np.full(ITEMS, len(items), np.int32), np.full(ITEMS, HUGE, np.int32)],
            **{"seen": broken_lists(lists, ITEMS), "excluded": broken_lists(lists, ITEMS), "n": [0, *COUNT]},
            **{"group": [0, kernels.QUERIES + 1, *COUNT], "num_threads": THREADS, "X": [None, X[:, :0]]},
            "boost": ill_sized,
        },
        ("columns.grown", "X.1"),
    )
    pairs = {"X": X, "Y": Y, "users": np.zeros(9, np.int32), "items": np.arange(9, dtype=np.int32), "num_threads": 2}
    yield Call(
        kernels.pair_scores,
        pairs,
        {
            **{"users": with_last(pairs["users"], -2, QUERIES, HUGE), "Y": [None, Y[:8], Y[:0]]},
            **{"items": with_last(pairs["items"], -2, ITEMS, HUGE), "X": [None, X[:0]], "num_threads": THREADS},
        },
        ("X.0", "Y.0"),
    )


def table_calls(dtype: type) -> Iterator[Call]:
    rng = np.random.default_rng(2)
    indptr, indices = cells(rng, N, OTHERS)
    indices[5] = indices[4]  # equal cells
    values = np.ones(len(indices), dtype)
    strided = np.ones((len(indices), 2), dtype)[:, 0]
    no_dtype = [np.int32, np.float16]
    wrong_values = [strided, values.astype(">f8"), values.astype("U1"), values.tolist(), values[:, None]]
    threads = {"num_threads": 2}
    yield Call(tables.can_read, {"dtype": dtype})
    yield Call(tables.check_values, {"array": values, **threads}, {"array": [None, *wrong_values]}, ("array",))
    copied = {"array": values, "dtype": dtype, **threads}
    yield Call(tables.copy_values, copied, {"array": [None, *wrong_values], "dtype": no_dtype}, ("array",))
    compressed = {"indptr": indptr, "indices": indices}
    wrong = {"indptr": [*broken(indptr), indptr[:0], None], "num_threads": THREADS}
    yield Call(
        tables.check_rows,
        {**compressed, "size": OTHERS, "out": np.empty_like(indices), **threads},
        wrong,
        ("indptr",),
    )
    by_key = {"array": values, "n_keys": OTHERS, "dtype": dtype, **threads}
    more = {"array": wrong_values, "dtype": no_dtype, "n_keys": COUNT, "num_threads": THREADS}
    yield Call(tables.bucket, {"keys": indices, "others": indices, **by_key}, more)
    yield Call(tables.transpose, {"indptr": indptr, "keys": indices, **by_key}, {**more, **wrong}, ("indptr",))
    merged = {**compressed, "array": values, "policy": "sum", **threads}
    wrong["array"], wrong["policy"] = [None, values.astype(np.int32), *wrong_values], [None, "no such"]
    yield Call(tables.count_distinct, merged, wrong, ("indptr",))
    distinct, _ = tables.count_distinct(**merged)
    narrow = np.maximum(distinct - 1, 0)
    wrong |= {"dtype": no_dtype, "out_indptr": [-distinct, distinct[::-1].copy(), narrow, distinct * 0]}
    yield Call(tables.merge_rows, {**merged, "out_indptr": distinct, "dtype": dtype}, wrong)
    codes = np.arange(9, dtype=np.int32)
    yield Call(
        tables.relabel,
        {"labels": codes, "codes": codes, "out": codes.copy(), **threads},
        {},
        ("labels.grown", "labels.0"),
    )
    yield Call(
        tables.factorize_table,
        {"ids": codes, "low": 0, "high": 8, **threads},
        {"ids": with_last(codes, -1, 9), "low": [1, 10], "high": [7, -2], "num_threads": THREADS},
        ("ids",),
    )
    data, bounds = np.frombuffer(b"onetwo", np.uint8), np.array([0, 3, 6])
    scanned = {"data": data, "start": 6, "delimiter": 44, "quote": 34, "escape": -1, "comment": data[:1]}
    yield Call(tables.scan_records, scanned, {"start": [-1, 7]}, ("data.grown", "comment"))
    for dtype in (np.int32, np.int64):
        strings = {"data": data, "offsets": bounds.astype(dtype), "start": 0}
        wrong_bounds = [np.array(wrong, dtype) for wrong in ([], [-1, 3, 6], [4, 3, 6], [0, 7, 7])]
        yield Call(tables.first_no_integer, strings, {"offsets": wrong_bounds, "start": [-1, 3]}, ("data", "offsets"))
    yield Call(tables.Values, {"array": values}, {"array": wrong_values}, ("array",))
    lists, hidden = lists_of(rng, N, OTHERS), lists_of(rng, N, ITEMS)
    norms = np.ones(N)
    B_indptr, B_indices = cells(rng, OTHERS, ITEMS)
    matrix = (B_indptr, B_indices, np.ones(len(B_indices), np.float32))
    wrong_matrix: list[Any] = [
        *((bad, *matrix[1:]) for bad in [*broken(B_indptr)[1:], B_indptr[:-1], B_indptr[:0]]),
        *((B_indptr, bad, matrix[2]) for bad in (B_indices[:-1], B_indices[:0])),
        *((B_indptr, B_indices, bad) for bad in (matrix[2][:-1], None)),
        *(matrix[:2], None),
    ]
    product = {"rows": lists, "values": np.ones(len(lists[2]), np.float32), "matrix": matrix, "n_columns": ITEMS}
    columns = np.ones(ITEMS)
    bad = {
        "rows": [*broken_lists(lists, OTHERS), None],
        "matrix": wrong_matrix,
        "num_threads": THREADS,
        "n_columns": COUNT,
    }
    yield Call(
        tables.product_best,
        {
            **{**product, "n": 3, **threads, "weighting": None, "base": columns, "norms": columns},
            **{"row_norms": norms, "shrinkage": 1.0, "hidden": hidden, "open": np.ones(ITEMS, np.uint8)},
        },
        {**bad, "n": [0, *COUNT], "hidden": broken_lists(hidden, ITEMS), "weighting": ["no such"]},
    )
    yield Call(
        tables.product_at,
        {**product, "at": hidden, **threads, "weighting": "row", "base": columns},
        {**bad, "at": [*broken_lists(hidden, ITEMS), None]},
    )


def linear_calls(dtype: type) -> Iterator[Call]:
    rng = np.random.default_rng(3)
    lists, hidden = lists_of(rng, N, OTHERS), lists_of(rng, N, ITEMS)
    indptr, indices = cells(rng, N, OTHERS)
    indices[0] = OTHERS - 1
    values = np.ones(len(indices), dtype)
    others = tables.transpose(indptr, indices, values, OTHERS, dtype, 1)
    lines = (indptr, indices, values)
    wrong_lines: list[Any] = [
        *((bad, indices, values) for bad in [*broken(indptr), indptr[:-1], indptr[:0]]),
        *((indptr, bad, values) for bad in (indices[:-1], indices[:0], None)),
        *((indptr, indices, bad) for bad in (values[:-1], values.astype(np.int8), None)),
        *(lines[:2], None),
    ]
    run = {"first": 3, "last": N, "num_threads": 2}
    wrong_run: dict[str, list[Any]] = {"first": [-1, N + 1], "last": [2, N + 1, *COUNT], "num_threads": THREADS}
    strays = [(indptr, bad, values) for bad in with_last(indices, -1, OTHERS, HUGE)]
    yield Call(
        tables.gram_rows,
        {"lines": lines, "others": others, "A": np.ones((N, N), dtype), "ridge": 1.0, **run},
        {
            "lines": [*wrong_lines, *strays],
            "others": [
                (others[0][:-1], *others[1:]),
                (others[0], others[1][:-1], others[2]),
                (*others[:2], None),
                None,
            ],
            "A": [None],
            **wrong_run,
        },
    )
    yield Call(
        tables.hat_rows,
        {"lines": lines, "K": np.ones((OTHERS, OTHERS), dtype), "A": np.ones((N, N), dtype), **run},
        {
            "lines": [*wrong_lines, *strays],
            "K": [None, np.ones((OTHERS - 1, OTHERS - 1), dtype)],
            "A": [None],
            **wrong_run,
        },
    )
    yield Call(tables.mirror, {"A": np.ones((N, N), dtype), "scale": np.ones(N), **run}, {"A": [None], **wrong_run})
    B = np.ones((OTHERS, ITEMS), dtype)
    row = {"rows": lists, "values": np.ones(len(lists[2]), dtype), "B": B, "num_threads": 2}
    wrong_row = {"rows": broken_lists(lists, OTHERS), "values": [None], "B": [None, B[:, :0]], "num_threads": THREADS}
    searched = {"n": 3, "hidden": hidden, "open": np.ones(ITEMS, np.uint8)}
    wrong_search: dict[str, list[Any]] = {
        "n": [0, *COUNT],
        "hidden": [bad for bad in broken_lists(hidden, ITEMS) if bad],
    }
    yield Call(tables.linear_best, {**row, **searched}, {**wrong_row, **wrong_search}, ("B.grown",))
    yield Call(tables.linear_at, {**row, "at": hidden}, {**wrong_row, "at": broken_lists(hidden, ITEMS)}, ("B.grown",))
    yield Call(
        tables.row_dots,
        {"lines": lines, "columns": np.ones((QUERIES, OTHERS), dtype), "num_threads": 2},
        {"lines": [*wrong_lines[:3], *wrong_lines[4:], *strays], "columns": [None], "num_threads": THREADS},
        ("columns.0", "columns.grown"),
    )
    yield Call(
        tables.best_of,
        {"scores": np.ones((N, ITEMS)), "dtype": dtype, "num_threads": 2, **searched},
        {"scores": [None], "dtype": [np.int32, np.float16], "num_threads": THREADS, **wrong_search},
    )
    kernels.bind_blas()
    yield Call(kernels.invert, {"A": np.eye(N, dtype=dtype), "num_threads": 2}, {"A": [None], "num_threads": THREADS})


CALLS = [
    call
    for dtype in (np.float32, np.float64)
    for make in (kernel_calls, top_n_calls, table_calls, linear_calls)
    for call in make(dtype)
]
OTHERWISE = {"Interner", "active_isa", "aligned_empty", "available_isas", "bind_blas", "bind_lapack", "use_isa"}
"""What takes no arrays, and what has tests of its own below."""


def changes(name: str, array: NDArray[Any], free: Collection[str]) -> Iterator[tuple[bool, NDArray[Any]]]:
    """The array one shorter and one longer along each axis, and whether it may be so."""
    for axis in range(array.ndim):
        end = np.take(array, [-1], axis)
        for kind, changed in (
            ("cut", array[(slice(None),) * axis + (slice(-1),)]),
            ("grown", np.append(array, end, axis)),
        ):
            yield not {name, f"{name}.{axis}", f"{name}.{kind}"}.isdisjoint(free), np.ascontiguousarray(changed)


def mismatches() -> Iterator[Any]:
    for number, call in enumerate(CALLS):
        for name, value in call.arguments.items():
            wrong = list(call.wrong.get(name, ()))
            if isinstance(value, np.ndarray):
                wrong += (changed for is_free, changed in changes(name, value, call.free) if not is_free)
                if name != "array":
                    wrong.append(value.astype(np.int8 if value.dtype.kind == "f" else np.float32))
            for i, bad in enumerate(wrong):
                identity = f"{number}-{call.function.__name__}-{name}-{i}"
                yield pytest.param(call, name, bad, id=identity)


@pytest.mark.parametrize("call", CALLS, ids=[f"{i}-{call.function.__name__}" for i, call in enumerate(CALLS)])
def test_what_fits_passes(call: Call) -> None:
    call.function(**call.arguments)


@pytest.mark.parametrize("call", CALLS, ids=[f"{i}-{call.function.__name__}" for i, call in enumerate(CALLS)])
def test_what_is_free_is_read_to_its_end(call: Call) -> None:
    for name, value in call.arguments.items():
        for is_free, changed in changes(name, value, call.free) if isinstance(value, np.ndarray) else ():
            if is_free:  # together with the others it may well be refused
                with suppress(ValueError, IndexError):
                    call.function(**call.arguments | {name: changed})


@pytest.mark.parametrize(("call", "name", "wrong"), list(mismatches()))
def test_what_does_not_fit_is_refused(call: Call, name: str, wrong: Any) -> None:
    with pytest.raises((ValueError, IndexError, TypeError, KeyError, OverflowError)):
        call.function(**call.arguments | {name: wrong})


@pytest.mark.parametrize("extension", [kernels, tables], ids=lambda extension: extension.__name__)
def test_every_function_is_tried(extension: ModuleType) -> None:
    names = {name for name, value in vars(extension).items() if callable(value) and not name.startswith("_")}
    assert names - OTHERWISE <= {call.function.__name__ for call in CALLS}


def test_interner_refuses_what_it_cannot_read() -> None:
    strings = np.array([b"one", b"two", b"one"])
    data, offsets = np.frombuffer(b"onetwo", np.uint8), np.array([0, 3, 6], np.int32)
    for threads in THREADS:
        with pytest.raises(IndexError):
            tables.Interner(threads)
    for num_threads in (1, 2):
        interner = tables.Interner(num_threads)
        for array in (np.array([strings, strings]), np.array([strings, strings]).T[0], strings.tolist(), None):
            with pytest.raises((ValueError, AttributeError)):
                interner.add_fixed(array)  # type: ignore[arg-type]
        for wrong in (
            (data, offsets[:0]),
            (data.astype(np.int64), offsets),
            (data, offsets.astype(np.int16)),
            (data[::2], offsets),
        ):
            with pytest.raises(ValueError):
                interner.add_offsets(*wrong)
        assert interner.add_offsets(data, np.array([0, 3, 7])) == 1
        assert interner.add_offsets(data, offsets) == -1
        interner.add_fixed(strings)
        keys, ends = interner.keys()
        ranks = np.arange(len(ends) - 1, dtype=np.int32)
        assert keys.tobytes() == b"onetwo"
        for bad in (ranks[:-1], ranks[:0], ranks.astype(np.int64)):
            with pytest.raises((ValueError, IndexError)):
                interner.indices(bad)
        assert interner.indices(ranks).tolist()[-3:] == [0, 1, 0]
