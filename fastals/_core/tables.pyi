"""Types of the compiled module; what each function does stands in ``tables.pyx``."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Self

_Lists: TypeAlias = tuple[Any, ...]
"""(first, last, items)"""
_Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], Any]
"""(indptr, indices, values)"""

_Bytes: TypeAlias = bytes | bytearray | NDArray[np.uint8]

RECORDS_END: int
RECORDS_OPEN: int
RECORDS_HALF: int
RECORDS_BAD: int
RECORDS_COMMENT: int
MERGE_POLICIES: dict[str, int]
OUT_OF_RANGE: int
UNSORTED: int
REPEATED: int
NOT_FINITE: int
INEXACT: int
HUGE: int
WEIGHTINGS: dict[str | None, int]

def can_read(dtype: DTypeLike) -> bool: ...
def check_values(array: NDArray[Any] | None, num_threads: int) -> int: ...
def copy_values(array: NDArray[Any], dtype: DTypeLike, num_threads: int) -> NDArray[Any]: ...
def check_rows(
    indptr: NDArray[np.int64], indices: NDArray[Any], size: int, out: NDArray[np.int32] | None, num_threads: int
) -> int: ...
def bucket(
    keys: NDArray[np.int32],
    others: NDArray[np.int32],
    array: NDArray[Any] | None,
    n_keys: int,
    dtype: DTypeLike,
    num_threads: int,
) -> _Rows: ...
def transpose(
    indptr: NDArray[np.int64],
    keys: NDArray[np.int32],
    array: NDArray[Any] | None,
    n_keys: int,
    dtype: DTypeLike,
    num_threads: int,
) -> _Rows: ...
def count_distinct(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], array: NDArray[Any] | None, policy: str, num_threads: int
) -> tuple[NDArray[np.int64], int]: ...
def merge_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    array: NDArray[Any] | None,
    policy: str,
    out_indptr: NDArray[np.int64],
    dtype: DTypeLike,
    num_threads: int,
) -> tuple[NDArray[np.int32], NDArray[Any]]: ...

class Values:
    def __new__(cls, array: NDArray[Any] | None) -> Self: ...

class Interner:
    def __new__(cls, num_threads: int) -> Self: ...
    def add_fixed(self, array: NDArray[Any]) -> None: ...
    def add_offsets(self, data: NDArray[np.uint8], offsets: NDArray[Any]) -> int: ...
    def add_objects(self, objects: NDArray[np.object_], kind: type) -> int: ...
    def take(self) -> NDArray[np.int32]: ...
    def keys(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...
    def indices(self, rank: NDArray[np.int32]) -> NDArray[np.int32]: ...

def relabel(labels: NDArray[np.int32], codes: NDArray[np.int32], out: NDArray[np.int32], num_threads: int) -> None: ...
def factorize_table(
    ids: NDArray[Any], low: int, high: int, num_threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def scan_records(
    data: _Bytes, start: int, delimiter: int, quote: int, escape: int, comment: _Bytes
) -> tuple[int, int]: ...
def first_no_integer(data: NDArray[np.uint8], offsets: NDArray[Any], start: int) -> int: ...
def product_best(
    rows: _Lists,
    values: NDArray[np.float32],
    matrix: _Rows,
    n_columns: int,
    n: int,
    num_threads: int,
    *,
    weighting: str | None = None,
    base: NDArray[np.float64] | None = None,
    row_norms: NDArray[np.float64] | None = None,
    norms: NDArray[np.float64] | None = None,
    shrinkage: float = 0.0,
    hidden: _Lists | None = None,
    open: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def product_at(
    rows: _Lists,
    values: NDArray[np.float32],
    matrix: _Rows,
    n_columns: int,
    at: _Lists,
    num_threads: int,
    *,
    weighting: str | None = None,
    base: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]: ...
def gram_rows(
    lines: _Rows, others: _Rows, A: NDArray[Any], ridge: float, first: int, last: int, num_threads: int
) -> None: ...
def hat_rows(lines: _Rows, K: NDArray[Any], A: NDArray[Any], first: int, last: int, num_threads: int) -> None: ...
def mirror(A: NDArray[Any], scale: NDArray[np.float64] | None, first: int, last: int, num_threads: int) -> None: ...
def linear_best(
    rows: _Lists,
    values: NDArray[Any],
    B: NDArray[Any],
    n: int,
    num_threads: int,
    hidden: _Lists | None = None,
    open: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.int32], NDArray[Any]]: ...
def linear_at(rows: _Lists, values: NDArray[Any], B: NDArray[Any], at: _Lists, num_threads: int) -> NDArray[Any]: ...
def row_dots(lines: _Rows, columns: NDArray[Any], num_threads: int) -> NDArray[np.float64]: ...
def best_of(
    scores: NDArray[np.float64],
    n: int,
    dtype: DTypeLike,
    num_threads: int,
    *,
    hidden: _Lists | None = None,
    open: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.int32], NDArray[Any]]: ...
