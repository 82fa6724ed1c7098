"""Types of the compiled module; what each function does stands in ``kernels.pyx`` and ``topn.pxi``."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

_Reals: TypeAlias = NDArray[Any]
"""float32 or float64, the same for all arguments of a call."""

_Lists: TypeAlias = tuple[Any, ...]
"""(first, last, items)"""

_Weights: TypeAlias = tuple[float, float, float, float, bool]
"""(a0, a1, b0, b1, positive_only)"""

TASK_ROWS: int
PART_CELLS: int
CG_CELLS: int
PART_ROWS: int
PANEL: int
QUERIES: int
TILE: int
SOLVERS: dict[str, int]

def available_isas() -> list[str]: ...
def use_isa(name: str) -> bool: ...
def active_isa() -> str: ...
def aligned_empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...
def padded(dtype: DTypeLike, k: int) -> int: ...
def cg_group(dtype: DTypeLike, k: int) -> int: ...
def cg_block(dtype: DTypeLike, k: int) -> int: ...
def short_limit(dtype: DTypeLike, k: int) -> int: ...
def gram(
    Y: _Reals,
    num_threads: int,
    wide: bool = False,
    scale: _Reals | None = None,
    ones: bool = False,
    before: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]: ...
def less(values: _Reals, indices: NDArray[np.int32], offsets: _Reals, out: _Reals, num_threads: int) -> None: ...
def go_beyond(before: _Reals, X: _Reals, relaxation: float, num_threads: int) -> None: ...
def last_column(X: _Reals, held: NDArray[np.bool_], num_threads: int) -> NDArray[np.float64]: ...
def shift_last_column(X: _Reals, held: NDArray[np.bool_], by: float, num_threads: int) -> None: ...
def rotate(Y: _Reals, Q: _Reals | None, num_threads: int, ones: bool = False) -> _Reals: ...
def sum_rows(values: NDArray[np.float64]) -> float: ...
def penalty(
    X: _Reals,
    lam: _Reals,
    ridged: int,
    own: float,
    num_threads: int,
    means: _Reals | None = None,
    strength: _Reals | None = None,
    last: _Reals | None = None,
) -> float: ...
def constant(
    weights: _Weights,
    unobserved: float,
    indptr: NDArray[np.int64],
    values: _Reals,
    scale: _Reals | None,
    num_threads: int,
    of_rows: NDArray[np.float64] | None = None,
    indices: NDArray[np.int32] | None = None,
    share: _Reals | None = None,
    other_share: _Reals | None = None,
) -> float: ...
def decrease_of_cells(
    X: _Reals,
    Z: _Reals,
    weights: _Weights,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: _Reals,
    scale: _Reals | None,
    num_threads: int,
    of_rows: NDArray[np.float64] | None = None,
) -> float: ...
def turn(X: _Reals, C: _Reals, out: _Reals, num_threads: int) -> None: ...
def bind_lapack() -> None: ...
def half_sweep(
    solver: str,
    Z: _Reals,
    base: _Reals,
    ridged: int,
    weights: _Weights,
    short_limit: int,
    cg_above: int,
    cg_steps: int,
    order: NDArray[np.int32],
    tasks: NDArray[np.int64],
    n_groups: int,
    split: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: _Reals,
    scale: _Reals | None,
    lam: _Reals,
    common: _Reals | None,
    wide: NDArray[np.float64] | None,
    bounded: int,
    Q: _Reals | None,
    QT: _Reals | None,
    start: _Reals | None,
    relaxation: float,
    X: _Reals,
    decrease: NDArray[np.float64],
    status: NDArray[np.int32],
    num_threads: int,
    n_other: int = -1,
    cuts: NDArray[np.int32] | None = None,
    share: _Reals | None = None,
    means: _Reals | None = None,
    strength: _Reals | None = None,
    last: _Reals | None = None,
) -> None: ...
def row_system(
    Z: _Reals,
    base: _Reals,
    weights: _Weights,
    idx: NDArray[np.int32],
    val: _Reals,
    scale: _Reals | None,
    lam: float,
) -> tuple[_Reals, _Reals]: ...
def posv(A: _Reals, rhs: _Reals) -> tuple[_Reals, int]: ...
def bind_blas() -> None: ...
def invert(A: _Reals, num_threads: int) -> int: ...
def pack_panels(
    Y: _Reals, items: NDArray[np.int32], num_threads: int
) -> tuple[_Reals, NDArray[np.uint8], NDArray[np.float64]]: ...
def top_n(
    rows: _Reals,
    codes: NDArray[np.uint8],
    bounds: NDArray[np.float64],
    items: NDArray[np.int32],
    columns: NDArray[np.int32],
    open_columns: NDArray[np.uint64],
    boost: tuple[Any, ...] | None,
    X: _Reals,
    n: int,
    seen: _Lists | None,
    excluded: _Lists | None,
    group: int,
    num_threads: int,
) -> tuple[NDArray[np.int32], _Reals]: ...
def pair_scores(
    X: _Reals, Y: _Reals, users: NDArray[np.int32], items: NDArray[np.int32], num_threads: int
) -> _Reals: ...
