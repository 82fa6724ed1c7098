# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=False, freethreading_compatible=True
"""Cells and ids: compressed rows, duplicates, codes of strings, rows of sparse products. No instruction sets here: memory
and not arithmetic is what these functions wait for.

What arrays hold has passed the gate and is trusted: indices of cells in range, codes that exist. That they fit each other
is checked at the door (``door.pxi``): a mismatch is a ValueError or an IndexError, never a read or a write outside. Every
number of threads gives the same bits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memchr, memset
from libc.stdlib cimport calloc, free

import numpy as np

include "door.pxi"

# ---------------------------------------------------------------------------------------------------------------------
# sparse: COO -> CSR, transpose, duplicates (src_c/data/sparse.h)

cdef extern from "data/sparse.h" nogil:
    enum: FA_I8, FA_U8, FA_I16, FA_U16, FA_I32, FA_U32, FA_I64, FA_U64, FA_F32, FA_F64
    enum: FA_OUT_OF_RANGE, FA_UNSORTED, FA_REPEATED, FA_NOT_FINITE, FA_INEXACT, FA_HUGE
    enum: FA_SUM, FA_LAST, FA_MAX, FA_MEAN
    int fa_check_values(int, const void *, int64_t, int64_t)
    void fa_copy_values(int, const void *, int64_t, int64_t, int, void *)
    int fa_check_rows_i32(int64_t, int64_t, const int64_t *, const int32_t *, int64_t, int32_t *)
    int fa_check_rows_i64(int64_t, int64_t, const int64_t *, const int64_t *, int64_t, int32_t *)
    void fa_count(int64_t, int64_t, const int32_t *, int64_t *)
    void fa_scatter_cells(int64_t, int64_t, const int32_t *, const int32_t *, int, const void *, int64_t *, int32_t *,
                          int, void *)
    void fa_scatter_rows(int64_t, int64_t, const int64_t *, const int32_t *, int, const void *, int64_t *, int32_t *,
                         int, void *)
    int fa_count_distinct(int64_t, int64_t, const int64_t *, const int32_t *, int, const void *, int, int64_t *)
    int fa_merge_rows(int64_t, int64_t, const int64_t *, const int32_t *, int, const void *, int, const int64_t *,
                      int32_t *, int, void *)


OUT_OF_RANGE, UNSORTED, REPEATED = FA_OUT_OF_RANGE, FA_UNSORTED, FA_REPEATED
NOT_FINITE, INEXACT, HUGE = FA_NOT_FINITE, FA_INEXACT, FA_HUGE
MERGE_POLICIES = {"sum": FA_SUM, "last": FA_LAST, "max": FA_MAX, "mean": FA_MEAN}

cdef dict VALUE_TYPES = {"b1": FA_U8, "i1": FA_I8, "u1": FA_U8, "i2": FA_I16, "u2": FA_U16, "i4": FA_I32,
                         "u4": FA_U32, "i8": FA_I64, "u8": FA_U64, "f4": FA_F32, "f8": FA_F64}

# Cells below which a second thread costs more than it brings.
DEF PART_CELLS = 1 << 15


cdef void *address(array):
    return <void *><uintptr_t>array.ctypes.data


cdef int check_contiguous(str what, array) except -1:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or not array.flags.c_contiguous or not array.dtype.isnative:
        raise ValueError(f"{what} must be a contiguous array of one axis in this machine's byte order")
    return 0


cdef class Values:
    """A contiguous array of any real dtype for the C side; None is all ones, which are not stored."""
    cdef object array
    cdef int type
    cdef void *data

    def __cinit__(self, array):
        if array is not None:
            check_contiguous("values", array)
        self.array = array
        self.type = FA_F32 if array is None else VALUE_TYPES[array.dtype.str[1:]]
        self.data = NULL if array is None else address(array)


def can_read(dtype):
    """Whether values of this dtype are read as they are."""
    dtype = np.dtype(dtype)
    return dtype.isnative and dtype.str[1:] in VALUE_TYPES


cdef Values values_of(array, Py_ssize_t n):
    """The values of n cells, or None."""
    if array is not None:
        within("number of values", len(array), n, n)
    return Values(array)


cdef Values room_for(Py_ssize_t n, dtype, bint wanted=True):
    """Room for n values in one of the two dtypes that the C side writes, or None."""
    cdef Values room = Values(np.empty(n, dtype) if wanted else None)
    if room.type not in (FA_F32, FA_F64):
        raise ValueError(f"values are written as float32 or float64, not as {np.dtype(dtype)}")
    return room


cdef Values real_values(array, Py_ssize_t n):
    """The values of n cells, as merging reads them."""
    cdef Values values = values_of(array, n)
    if array is None or values.type not in (FA_F32, FA_F64):
        raise ValueError("values of equal cells must be float32 or float64")
    return values


cdef Py_ssize_t check_indptr(str what, const int64_t[::1] indptr, int64_t cells) except -1:
    """The rows of a matrix of so many cells, or with -1 of any number."""
    cdef Py_ssize_t rows = indptr.shape[0] - 1
    within(f"rows of {what}", rows, 0, MOST)
    spans(what, rows, &indptr[0], &indptr[1], indptr[rows] if cells < 0 else cells)
    return rows


cdef int64_t[::1] even_parts(Py_ssize_t n, Py_ssize_t keys, int num_threads):
    """Bounds of a list's parts, one a thread, but so few that their counts per key stay below 2 bytes a cell."""
    parts = max(1, min(num_threads, n // PART_CELLS, n // max(1, 4 * keys)))
    return np.arange(parts + 1) * n // parts


cdef int64_t[::1] row_parts(const int64_t[::1] indptr, Py_ssize_t keys, int num_threads):
    """Bounds of a matrix' parts: whole rows, about as many cells each."""
    cdef Py_ssize_t rows = indptr.shape[0] - 1
    bounds = np.searchsorted(indptr, even_parts(indptr[rows], keys, num_threads)).astype(np.int64)
    bounds[0], bounds[bounds.shape[0] - 1] = 0, rows
    return bounds


def check_values(array, int num_threads):
    """Flags NOT_FINITE, INEXACT, HUGE of an array of a dtype that can be read."""
    within("num_threads", num_threads, 1, MOST)
    cdef Values values = Values(array)
    cdef int64_t[::1] bounds = even_parts(len(array), 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t
    cdef int[::1] flags = np.zeros(parts, np.intc)
    for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
        flags[t] = fa_check_values(values.type, values.data, bounds[t], bounds[t + 1])
    return int(np.bitwise_or.reduce(flags))


def copy_values(array, dtype, int num_threads):
    """A copy as float32 or float64."""
    within("num_threads", num_threads, 1, MOST)
    cdef Values values = Values(array), out = room_for(len(array), dtype)
    cdef int64_t[::1] bounds = even_parts(len(array), 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t
    for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
        fa_copy_values(values.type, values.data, bounds[t], bounds[t + 1], out.type, out.data)
    return out.array


ctypedef fused index_t:
    int32_t
    int64_t


def check_rows(const int64_t[::1] indptr not None, const index_t[::1] indices not None, Py_ssize_t size,
               int32_t[::1] out, int num_threads):
    """Flags OUT_OF_RANGE, UNSORTED, REPEATED of the indices, which are copied to ``out`` unless that is None."""
    check_indptr("indptr", indptr, indices.shape[0])
    if out is not None:
        fits("out", out.shape, indices.shape[0])
    within("num_threads", num_threads, 1, MOST)
    if indptr[indptr.shape[0] - 1] == 0:
        return 0
    cdef int64_t[::1] bounds = row_parts(indptr, 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t
    cdef int[::1] flags = np.zeros(parts, np.intc)
    cdef int32_t *copy = NULL if out is None else &out[0]
    for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
        if index_t is int32_t:
            flags[t] = fa_check_rows_i32(bounds[t], bounds[t + 1], &indptr[0], &indices[0], size, copy)
        else:
            flags[t] = fa_check_rows_i64(bounds[t], bounds[t + 1], &indptr[0], &indices[0], size, copy)
    return int(np.bitwise_or.reduce(flags))


cdef object first_places(int64_t[:, ::1] counts):
    """indptr of the counts (parts, keys), each of which becomes the first place of its part in its key's row."""
    cdef Py_ssize_t parts = counts.shape[0], keys = counts.shape[1], t, key
    cdef int64_t total = 0, count
    result = np.empty(keys + 1, np.int64)
    cdef int64_t[::1] indptr = result
    with nogil:
        for key in range(keys):
            indptr[key] = total
            for t in range(parts):
                count = counts[t, key]
                counts[t, key] = total
                total += count
        indptr[keys] = total
    return result


def bucket(const int32_t[::1] keys not None, const int32_t[::1] others not None, array, Py_ssize_t n_keys, dtype,
           int num_threads):
    """CSR (indptr, indices, values) of a list of cells, in the list's order within each row.

    ``keys`` are in range(n_keys). values is None where ``array`` is.
    """
    cdef Py_ssize_t n = keys.shape[0], t
    fits("others", others.shape, n)
    within("num_threads", num_threads, 1, MOST)
    cdef Values values = values_of(array, n), out = room_for(n, dtype, array is not None)
    cdef int64_t[::1] bounds = even_parts(n, n_keys, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int64_t[:, ::1] places = np.zeros((parts, n_keys), np.int64)
    indices_out = np.empty(n, np.int32)
    cdef int32_t[::1] indices = indices_out
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_count(bounds[t], bounds[t + 1], &keys[0], &places[t, 0])
    indptr = first_places(places)
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_scatter_cells(bounds[t], bounds[t + 1], &keys[0], &others[0], values.type, values.data, &places[t, 0],
                             &indices[0], out.type, out.data)
    return indptr, indices_out, out.array


def transpose(const int64_t[::1] indptr not None, const int32_t[::1] keys not None, array, Py_ssize_t n_keys, dtype,
              int num_threads):
    """The transposed matrix (indptr, indices, values): its indices ascend, equal cells keep their order."""
    within("num_threads", num_threads, 1, MOST)
    cdef Py_ssize_t n = indptr[check_indptr("indptr", indptr, keys.shape[0])], t
    cdef Values values = values_of(array, keys.shape[0]), out = room_for(n, dtype, array is not None)
    cdef int64_t[::1] bounds = row_parts(indptr, n_keys, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int64_t[:, ::1] places = np.zeros((parts, n_keys), np.int64)
    indices_out = np.empty(n, np.int32)
    cdef int32_t[::1] indices = indices_out
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_count(indptr[bounds[t]], indptr[bounds[t + 1]], &keys[0], &places[t, 0])
    out_indptr = first_places(places)
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_scatter_rows(bounds[t], bounds[t + 1], &indptr[0], &keys[0], values.type, values.data, &places[t, 0],
                            &indices[0], out.type, out.data)
    return out_indptr, indices_out, out.array


def count_distinct(const int64_t[::1] indptr not None, const int32_t[::1] indices not None, array,
                   str policy not None, int num_threads):
    """indptr of the merged matrix, and the flags of its values; the indices of a row ascend, with repeats."""
    cdef Py_ssize_t rows = check_indptr("indptr", indptr, indices.shape[0]), t
    within("num_threads", num_threads, 1, MOST)
    cdef int64_t[::1] bounds = row_parts(indptr, 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int[::1] flags = np.zeros(parts, np.intc)
    cdef Values values = real_values(array, indices.shape[0])
    cdef int which = MERGE_POLICIES[policy]
    result = np.zeros(rows + 1, np.int64)
    cdef int64_t[::1] counts = result
    if indices.shape[0]:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            flags[t] = fa_count_distinct(bounds[t], bounds[t + 1], &indptr[0], &indices[0], values.type, values.data,
                                         which, &counts[1])
    np.cumsum(result, out=result)
    return result, int(np.bitwise_or.reduce(flags))


def merge_rows(const int64_t[::1] indptr not None, const int32_t[::1] indices not None, array, str policy not None,
               const int64_t[::1] out_indptr not None, dtype, int num_threads):
    """Indices and values of the matrix whose indptr count_distinct gave."""
    cdef Py_ssize_t rows = check_indptr("indptr", indptr, indices.shape[0])
    fits("out_indptr", out_indptr.shape, rows + 1)
    check_indptr("out_indptr", out_indptr, -1)
    within("num_threads", num_threads, 1, MOST)
    cdef int64_t[::1] bounds = row_parts(indptr, 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t, n = out_indptr[rows]
    cdef Values values = real_values(array, indices.shape[0]), out = room_for(n, dtype)
    cdef int[::1] flags = np.zeros(parts, np.intc)
    indices_out = np.empty(n, np.int32)
    cdef int32_t[::1] merged = indices_out
    cdef int which = MERGE_POLICIES[policy]
    if indices.shape[0]:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            flags[t] = fa_merge_rows(bounds[t], bounds[t + 1], &indptr[0], &indices[0], values.type, values.data,
                                     which, &out_indptr[0], &merged[0], out.type, out.data)
    if np.any(flags):
        raise IndexError("a row has more distinct indices than out_indptr has room for")
    return indices_out, out.array


# ---------------------------------------------------------------------------------------------------------------------
# ids (src_c/data/ids.h)

cdef extern from "data/ids.h" nogil:
    enum: FA_FIXED, FA_OFFSETS32, FA_OFFSETS64, FA_POINTERS

    ctypedef struct fa_strings:
        int layout
        int64_t width, size
        const unsigned char *data
        const void *offsets
        const unsigned char *const *pointers

    ctypedef struct fa_interner:
        int64_t capacity
        uint64_t *slots
        int64_t count
        int64_t *offsets
        int64_t size
        unsigned char *keys

    int64_t fa_intern(fa_interner *, const fa_strings *, int64_t, int64_t, int32_t *)
    void fa_reinsert(fa_interner *)
    void fa_prefetch(const void *)


cdef extern from "Python.h":
    void *PyList_GET_ITEM(object, Py_ssize_t)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)


# Rows between two looks at whether a table is full.
DEF ROUND_ROWS = 1 << 20

# Python strings that are held at a time.
DEF HELD_OBJECTS = 1 << 18


cdef class Interner:
    """Codes for strings that arrive in chunks, each chunk shared out to as many tables as there are threads.

    ``keys`` joins the tables, the caller ranks the keys, and ``indices`` turns codes into ranks.
    """
    cdef fa_interner *tables
    cdef int num_threads
    cdef list memory, chunks, joined

    def __cinit__(self, int num_threads):
        within("num_threads", num_threads, 1, MOST)
        self.num_threads = num_threads
        self.memory, self.chunks = [None] * num_threads, []
        self.tables = <fa_interner *>calloc(num_threads, sizeof(fa_interner))
        if self.tables == NULL:
            raise MemoryError
        for t in range(num_threads):
            self.grow(t, 1024, 1 << 14)

    def __dealloc__(self):
        free(self.tables)

    cdef grow(self, Py_ssize_t t, int64_t capacity, int64_t size):
        cdef fa_interner *table = &self.tables[t]
        slots, offsets, keys = self.memory[t] or (None, np.zeros(1, np.int64), np.empty(0, np.uint8))
        if capacity > table.capacity:
            slots, used = np.zeros(capacity, np.uint64), offsets[: table.count + 1]
            offsets = np.empty(capacity // 2 + 1, np.int64)
            offsets[: table.count + 1] = used
        if size > table.size:
            keys = np.concatenate([keys[: offsets[table.count]], np.empty(size - offsets[table.count], np.uint8)])
        self.memory[t] = slots, offsets, keys
        rehash = capacity > table.capacity
        table.capacity, table.slots, table.offsets = capacity, <uint64_t *>address(slots), <int64_t *>address(offsets)
        table.size, table.keys = size, <unsigned char *>address(keys)
        if rehash:
            fa_reinsert(table)

    cdef int64_t add(self, const fa_strings *source, Py_ssize_t n) except -2:
        """Encode n rows; -1, or the first row that is broken."""
        codes_out = np.empty(n, np.int32)
        cdef int32_t *codes = <int32_t *>address(codes_out)
        cdef int64_t[::1] bounds = even_parts(n, 0, self.num_threads)
        cdef int64_t[::1] next = bounds.copy(), stop = bounds.copy(), last = bounds[1:]
        cdef Py_ssize_t parts = last.shape[0], t
        cdef bint done = n == 0
        while not done:
            for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=<int>parts):
                stop[t] = fa_intern(&self.tables[t], source, next[t],
                                    next[t] + ROUND_ROWS if next[t] + ROUND_ROWS < last[t] else last[t], codes)
            done = True
            for t in range(parts):
                if stop[t] < 0:
                    return -1 - stop[t]
                if stop[t] < next[t] + ROUND_ROWS and stop[t] < last[t]:
                    table = &self.tables[t]
                    if table.count == table.capacity // 2:
                        self.grow(t, 2 * table.capacity, table.size)
                    else:
                        self.grow(t, table.capacity, 2 * table.size)
                next[t] = stop[t]
                done = done and stop[t] == last[t]
        self.chunks.append(codes_out)
        return -1

    def add_fixed(self, array):
        """A contiguous array whose elements are the strings, byte by byte."""
        check_contiguous("strings", array)
        cdef fa_strings source = fa_strings(FA_FIXED, array.itemsize, 0, <unsigned char *>address(array), NULL, NULL)
        self.add(&source, len(array))

    def add_offsets(self, data, offsets):
        """Strings as Arrow keeps them; returns the first row whose offsets are broken, -1 if there is none."""
        check_contiguous("bytes", data)
        check_contiguous("offsets", offsets)
        if data.itemsize != 1 or offsets.dtype.str[1:] not in ("i4", "i8") or len(offsets) == 0:
            raise ValueError("bytes must be of one byte each, offsets int32 or int64, one more than rows")
        cdef int layout = FA_OFFSETS32 if offsets.itemsize == 4 else FA_OFFSETS64
        cdef fa_strings source = fa_strings(layout, 0, len(data), <unsigned char *>address(data), address(offsets), NULL)
        return self.add(&source, len(offsets) - 1)

    def add_objects(self, objects, type kind):
        """An array of str or bytes (``kind``); returns the first element that is neither, -1 if there is none."""
        cdef Py_ssize_t rows = min(HELD_OBJECTS, len(objects)), first, i
        cdef uintptr_t[::1] pointers = np.empty(max(1, rows), np.uintp)
        cdef int64_t[::1] lengths = np.empty(max(1, rows), np.int64)
        cdef fa_strings source = fa_strings(FA_POINTERS, 0, 0, NULL, &lengths[0],
                                            <const unsigned char *const *>&pointers[0])
        cdef bint is_str = kind is str
        cdef list block
        for first in range(0, len(objects), HELD_OBJECTS):
            # the list holds the strings while the kernel looks at them without the interpreter's lock
            block = objects[first : first + HELD_OBJECTS].tolist()
            for i in range(len(block)):
                if i + 16 < len(block):
                    fa_prefetch(<void *>PyList_GET_ITEM(block, i + 16))
                x = block[i]
                if not (isinstance(x, str) if is_str else isinstance(x, bytes)):
                    return first + i
                if is_str and PyUnicode_IS_COMPACT_ASCII(x):
                    pointers[i] = <uintptr_t>PyUnicode_DATA(x)
                    lengths[i] = PyUnicode_GET_LENGTH(x)
                    continue
                if is_str:
                    x = block[i] = (<str>x).encode("utf-8", "surrogatepass")
                pointers[i] = <uintptr_t>PyBytes_AS_STRING(x)
                lengths[i] = PyBytes_GET_SIZE(x)
            self.add(&source, len(block))
        return -1

    def take(self):
        """Codes of the rows since the last call, which are forgotten: positions in ``keys``, with a single thread."""
        codes, self.chunks = np.concatenate(self.chunks), []
        return codes

    def keys(self):
        """(keys, offsets) of all tables together, in no order that means something."""
        joined = self
        if self.num_threads > 1:
            joined = Interner(1)
            for t, (slots, offsets, keys) in enumerate(self.memory):
                count = self.tables[<Py_ssize_t>t].count
                joined.add_offsets(keys[: offsets[count]], offsets[: count + 1])
            self.joined = joined.chunks
        return (<Interner>joined).own_keys()

    cdef own_keys(self):
        slots, offsets, keys = self.memory[0]
        offsets = offsets[: self.tables[0].count + 1]
        return keys[: offsets[self.tables[0].count]], offsets

    def indices(self, rank):
        """``rank[c]`` for each row, c being the row's key as ``keys`` gave it."""
        result = np.empty(sum(map(len, self.chunks)), np.int32)
        ranks = [rank[codes] for codes in self.joined] if self.num_threads > 1 else [rank]
        for t, part_rank in enumerate(ranks):
            within("ranks of keys", len(part_rank), self.tables[<Py_ssize_t>t].count, self.tables[<Py_ssize_t>t].count)
        start = 0
        for chunk in self.chunks:
            bounds = np.asarray(even_parts(len(chunk), 0, self.num_threads))
            for part_rank, first, last in zip(ranks, bounds, bounds[1:]):
                relabel(part_rank, chunk[first:last], result[start + first : start + last], self.num_threads)
            start += len(chunk)
        return result


def relabel(const int32_t[::1] labels not None, const int32_t[::1] codes not None, int32_t[::1] out not None,
            int num_threads):
    """out[j] = labels[codes[j]]."""
    cdef Py_ssize_t n = codes.shape[0], j
    fits("out", out.shape, n)
    within("num_threads", num_threads, 1, MOST)
    cdef int useful = <int>min(<Py_ssize_t>num_threads, 1 + n // PART_CELLS)
    for j in prange(n, nogil=True, schedule="static", num_threads=useful):
        out[j] = labels[codes[j]]


def factorize_table(const index_t[::1] ids not None, int64_t low, int64_t high, int num_threads):
    """(indices, labels) of integer ids, all in low..high, through a table of that many entries."""
    cdef Py_ssize_t n = ids.shape[0], j
    within("num_threads", num_threads, 1, MOST)
    table_out, result = np.zeros(high - low + 1, np.int32), np.empty(n, np.int32)
    cdef int32_t[::1] table = table_out, indices = result
    for j in range(n):
        if not low <= ids[j] <= high:
            within("ids", ids[j], low, high)
        table[ids[j] - low] = 1
    present = np.flatnonzero(table_out)
    table_out[present] = np.arange(len(present), dtype=np.int32)
    for j in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        indices[j] = table[ids[j] - low]
    return result, present + low


# ---------------------------------------------------------------------------------------------------------------------
# text: where records end, which strings are integers

cdef enum: END, OPEN, HALF, BAD, COMMENT
cdef enum: FIELD, PLAIN, QUOTED, CLOSED
RECORDS_END, RECORDS_OPEN, RECORDS_HALF, RECORDS_BAD, RECORDS_COMMENT = END, OPEN, HALF, BAD, COMMENT


cdef tuple quoted_records(const unsigned char[::1] data, Py_ssize_t start, int delimiter, int quote):
    """What scan_records gives where nothing but quotes is special: it looks at these, and for lines' ends backwards."""
    cdef Py_ssize_t n = data.shape[0], i = start, j, record = start, first = start
    cdef const unsigned char *text = &data[0] if n else NULL
    cdef const void *found
    cdef int status = END
    with nogil:
        while True:
            # plain text from first on; i: where a quote may open, if it is the first of its field
            found = memchr(text + i, quote, n - i) if i < n else NULL
            j = <const unsigned char *>found - text if found != NULL else n
            if found != NULL and j > first and text[j - 1] != delimiter and text[j - 1] != 10 and text[j - 1] != 13:
                i = j + 1
                continue
            i = j
            while i > first:
                if text[i - 1] == 10 or text[i - 1] == 13:
                    record = i
                    break
                i -= 1
            if found == NULL:
                break
            i = j + 1
            while True:
                found = memchr(text + i, quote, n - i) if i < n else NULL
                if found == NULL:
                    status = OPEN
                    break
                i = <const unsigned char *>found - text + 1
                if i < n and text[i] == quote:
                    i += 1
                    continue
                break
            if status == OPEN:
                break
            first = i
            if i < n and text[i] != delimiter and text[i] != 10 and text[i] != 13:
                status = BAD
                break
    return record, status


def scan_records(const unsigned char[::1] data not None, Py_ssize_t start, int delimiter, int quote, int escape,
                 const unsigned char[::1] comment not None):
    """(place, what) of the end of the last whole record of CSV behind ``start``, where a record begins, or of a stop.

    RECORDS_END: a record that the data do not end begins there, or it is their end. RECORDS_OPEN: likewise, and the
    data end between quotes; RECORDS_HALF: or with an escape that nothing follows. RECORDS_BAD: a record begins there
    with text behind a closing quote. RECORDS_COMMENT: a line that begins with ``comment`` (may be empty) begins there.
    ``quote`` and ``escape``: -1 for none. Lines end with \\n, \\r or both.
    """
    cdef Py_ssize_t n = data.shape[0], length = comment.shape[0], i, j, record = start
    within("start", start, 0, n)
    cdef int c, status = END
    cdef int state = FIELD
    if not length and escape < 0 <= quote:
        return quoted_records(data, start, delimiter, quote)
    with nogil:
        i = start
        while i < n:
            if i == record and 0 < length <= n - i:
                j = 0
                while j < length and data[i + j] == comment[j]:
                    j += 1
                if j == length:
                    status = COMMENT
                    break
            c = data[i]
            if state == QUOTED:
                if c == escape:
                    i += 1
                elif c == quote:
                    state = CLOSED
            elif c == 10 or c == 13:
                if c == 13 and i + 1 < n and data[i + 1] == 10:
                    i += 1
                state, record = FIELD, i + 1
            elif c == delimiter:
                state = FIELD
            elif state == CLOSED:
                if c != quote:
                    status = BAD
                    break
                state = QUOTED
            elif c == escape:
                state = PLAIN
                i += 1
            elif state == FIELD:
                state = QUOTED if c == quote else PLAIN
            i += 1
            while state == PLAIN and i < n:  # most bytes
                c = data[i]
                if c == delimiter or c == 10 or c == 13 or c == escape:
                    break
                i += 1
            while state == QUOTED and i < n and data[i] != quote and data[i] != escape:
                i += 1
    if status == END and record < n:
        status = HALF if i > n else OPEN if state == QUOTED else END
    return record, status


ctypedef fused offset_t:
    int32_t
    int64_t


def first_no_integer(const unsigned char[::1] data not None, const offset_t[::1] offsets not None, Py_ssize_t start):
    """The first string from ``start`` on that is not the usual decimal form of an int64; their number if all are.

    Strings in Arrow's layout: string i is ``data[offsets[i]:offsets[i + 1]]``.
    """
    cdef Py_ssize_t n = offsets.shape[0] - 1, i
    cdef int64_t first, last
    cdef bint broken = False
    cdef const unsigned char *text = &data[0] if data.shape[0] else NULL
    within("number of offsets", n, 0, n if n >= 0 else 0)
    within("start", start, 0, n)
    with nogil:
        for i in range(start, n):
            first, last = offsets[i], offsets[i + 1]
            broken = first < 0 or first > last or last > data.shape[0]
            if broken or not is_integer(text, first, last):
                break
        else:
            i = n
    if broken:
        within("offsets", first, 0, last)
        within("offsets", last, 0, data.shape[0])
    return i


cdef bint is_integer(const unsigned char *data, int64_t first, int64_t last) noexcept nogil:
    cdef bint negative = first < last and data[first] == 45
    cdef uint64_t value = 0, beyond = <uint64_t>1 << 63
    cdef int64_t i
    first += negative
    if first == last or last - first > 19:
        return False
    if data[first] == 48:
        return last - first == 1 and not negative
    for i in range(first, last):
        if <unsigned char>(data[i] - 48) > 9:
            return False
    if last - first < 19:
        return True
    for i in range(first, last):
        value = value * 10 + (data[i] - 48)
    return value < beyond + negative


# ---------------------------------------------------------------------------------------------------------------------
# rows of sparse products (src_c/neighbours/product.h is the manual)

cdef extern from "neighbours/product.h" nogil:
    enum: FA_SUM_ONLY, FA_BY_ROW, FA_BY_MATRIX

    ctypedef struct fa_product:
        int64_t n_rows, n_cells, n_columns
        const int64_t *indptr
        const int32_t *indices
        const float *values
        int weighting
        const double *base
        const double *norms
        double shrinkage
        const unsigned char *open

    size_t fa_product_workspace(const fa_product *, int64_t)
    int fa_product_best(const fa_product *, int64_t, const int32_t *, const float *, double, int64_t, const int32_t *,
                        int64_t, int32_t *, float *, void *)
    int fa_product_at(const fa_product *, int64_t, const int32_t *, const float *, int64_t, const int32_t *, float *,
                      void *)

WEIGHTINGS = {None: FA_SUM_ONLY, "row": FA_BY_ROW, "matrix": FA_BY_MATRIX}


cdef fa_product sparse_product(Py_ssize_t n_columns, tuple matrix, weighting, const double[::1] base,
                               const double[::1] norms, double shrinkage, const unsigned char[::1] open) except *:
    """The caller keeps the arrays alive."""
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const float[::1] values
    indptr, indices, values = matrix
    within("rows of indptr", indptr.shape[0] - 1, 0, MOST)
    fits("values", values.shape, indices.shape[0])
    within("n_columns", n_columns, 0, MOST)
    cdef fa_product product
    product.n_rows, product.n_cells = indptr.shape[0] - 1, indices.shape[0]
    product.n_columns, product.weighting, product.shrinkage = n_columns, WEIGHTINGS[weighting], shrinkage
    product.indptr = &indptr[0]
    product.indices = &indices[0] if indices.shape[0] else NULL
    product.values = &values[0] if values.shape[0] else NULL
    product.base = product.norms = NULL
    product.open = NULL
    if base is not None:
        fits("base", base.shape, n_columns)
        product.base = &base[0]
    if norms is not None:
        fits("norms", norms.shape, n_columns)
        product.norms = &norms[0]
    if open is not None:
        fits("open", open.shape, n_columns)
        product.open = &open[0]
    return product


cdef Py_ssize_t n_lists(tuple lists) except -1:
    first, _, _ = lists
    return len(first)


def product_best(tuple rows not None, const float[::1] values not None, tuple matrix not None, Py_ssize_t n_columns,
                 Py_ssize_t n, int num_threads, *, weighting=None, base=None, row_norms=None, norms=None, double shrinkage=0, tuple hidden=None,
                 open=None):
    """The n best columns (m, n) of rows of a product, and their scores; see ``fa_product_best``.

    ``rows``, the left factor, and ``hidden`` (or None) are lists (first, last, items), the cells of row r
    ``items[first[r]:last[r]]`` with ``values`` beside them; ``matrix`` is (indptr, indices, values).
    """
    cdef Py_ssize_t m = n_lists(rows), r
    within("n", n, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    cdef fa_product product = sparse_product(n_columns, matrix, weighting, base, norms, shrinkage, open)
    cdef fa_lists left = item_lists("rows", rows, m), hide = item_lists("hidden", hidden, m)
    fits("values", values.shape, len(rows[2]))
    found, scores = np.empty((m, n), np.int32), np.empty((m, n), np.float32)
    if m == 0:
        return found, scores
    cdef int stray = 0
    cdef const double[::1] norm_of = row_norms
    if row_norms is not None:
        fits("row_norms", norm_of.shape, m)
    cdef bint with_norms = row_norms is not None
    cdef const float *w = &values[0] if values.shape[0] else NULL
    cdef int32_t[:, ::1] f = found
    cdef float[:, ::1] s = scores
    cdef size_t stride = (fa_product_workspace(&product, n) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    cdef unsigned char[::1] work = np.zeros(num_threads * stride, np.uint8)
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=8, num_threads=num_threads):
        stray |= fa_product_best(
            &product, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
            norm_of[r] if with_norms else 0, hide.last[r] - hide.first[r] if hide.first != NULL else 0,
            hide.items + hide.first[r] if hide.first != NULL else NULL, n, &f[r, 0], &s[r, 0],
            &work[threadid() * stride])
    check_product(stray, product)
    return found, scores


cdef int check_product(int stray, const fa_product product) except -1:
    if stray:
        raise IndexError(f"rows must be in 0..{product.n_rows - 1} and columns in 0..{product.n_columns - 1}, "
                         f"and indptr bound cells of 0..{product.n_cells}")
    return 0


def product_at(tuple rows not None, const float[::1] values not None, tuple matrix not None, Py_ssize_t n_columns,
               tuple at not None, int num_threads, *, weighting=None, base=None):
    """Scores of the columns ``at``, lists (first, last, columns) for each of the ``rows``; see ``fa_product_at``."""
    cdef Py_ssize_t m = n_lists(rows), r
    within("num_threads", num_threads, 1, MOST)
    cdef fa_product product = sparse_product(n_columns, matrix, weighting, base, None, 0, None)
    cdef fa_lists left = item_lists("rows", rows, m), columns = item_lists("at", at, m)
    fits("values", values.shape, len(rows[2]))
    scores = np.empty(len(at[2]), np.float32)
    if m == 0:
        return scores
    cdef int stray = 0
    cdef const float *w = &values[0] if values.shape[0] else NULL
    cdef float[::1] s = scores
    cdef float *out = &s[0] if s.shape[0] else NULL
    cdef size_t stride = (fa_product_workspace(&product, 1) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    cdef unsigned char[::1] work = np.zeros(num_threads * stride, np.uint8)
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=8, num_threads=num_threads):
        stray |= fa_product_at(&product, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
                               columns.last[r] - columns.first[r], columns.items + columns.first[r],
                               out + columns.first[r], &work[threadid() * stride])
    check_product(stray, product)
    return scores


# ---------------------------------------------------------------------------------------------------------------------
# linear item models (src_c/neighbours/linear.h is the manual)

cdef extern from "neighbours/linear.h" nogil:
    void fa_add_rows_f32(int64_t, const float *, int64_t, const int32_t *, const float *, double *)
    void fa_add_rows_f64(int64_t, const double *, int64_t, const int32_t *, const double *, double *)
    double fa_dot_cells_f32(const float *, int64_t, int64_t, const int32_t *, const float *)
    double fa_dot_cells_f64(const double *, int64_t, int64_t, const int32_t *, const double *)
    void fa_gram_row_f32(int64_t, const int32_t *, const float *, const int64_t *, const int32_t *, const float *, int64_t,
                         double *, float *)
    void fa_gram_row_f64(int64_t, const int32_t *, const double *, const int64_t *, const int32_t *, const double *,
                         int64_t, double *, double *)
    void fa_dot_rows_f32(const double *, int64_t, const int64_t *, const int32_t *, const float *, float *)
    void fa_dot_rows_f64(const double *, int64_t, const int64_t *, const int32_t *, const double *, double *)
    void fa_best_of_f32(int64_t, double *, int64_t, const int32_t *, const unsigned char *, int64_t, int32_t *, float *,
                        void *)
    void fa_best_of_f64(int64_t, double *, int64_t, const int32_t *, const unsigned char *, int64_t, int32_t *, double *,
                        void *)

ctypedef fused real:
    float
    double

DEF MIRRORED = 64  # rows and columns of a block that is mirrored while it is in the cache


cdef bint is_outside(const int32_t *indices, int64_t n, int64_t size) noexcept nogil:
    """Whether one of the indices is not in 0..size - 1."""
    cdef int32_t least = 0, most = -1
    cdef int64_t i
    for i in range(n):
        least = min(least, indices[i])
        most = max(most, indices[i])
    return least < 0 or most >= size


cdef int check_lists(str what, const fa_lists lists, Py_ssize_t m, int64_t size) except -1:
    """IndexError unless all that m lists (or none) hold is in 0..size - 1."""
    cdef Py_ssize_t q
    for q in range(m if lists.first != NULL else 0):
        if is_outside(lists.items + lists.first[q], lists.last[q] - lists.first[q], size):
            raise IndexError(f"{what} must be in 0..{size - 1}, those of list {q} are not")
    return 0


cdef int check_columns(const int32_t[::1] indices, Py_ssize_t size) except -1:
    """IndexError unless the columns of some cells are in 0..size - 1."""
    if is_outside(&indices[0], indices.shape[0], size):
        raise IndexError(f"columns of lines must be in 0..{size - 1}, got {np.min(indices)}..{np.max(indices)}")
    return 0


def gram_rows(tuple lines not None, tuple others not None, real[:, ::1] A not None, double ridge, Py_ssize_t first,
              Py_ssize_t last, int num_threads):
    """Rows ``first`` to ``last`` - 1 of the lower triangle of A = X X' + ridge I.

    ``lines`` are X (n, m) and ``others`` X' as (indptr, indices, values), indices ascending. A row is summed in double,
    in the order of its cells. A diagonal element of 0 becomes 1: its line has no cells.
    """
    cdef const int64_t[::1] indptr, other_indptr
    cdef const int32_t[::1] indices, other_indices
    cdef const real[::1] values, other_values
    indptr, indices, values = lines
    other_indptr, other_indices, other_values = others
    cdef Py_ssize_t n = check_indptr("lines", indptr, indices.shape[0]), i
    cdef Py_ssize_t m = check_indptr("others", other_indptr, other_indices.shape[0])
    fits("values of lines", values.shape, indices.shape[0])
    fits("values of others", other_values.shape, other_indices.shape[0])
    fits("A", A.shape, n, n)
    within("last", last, 0, n)
    within("first", first, 0, last)
    within("num_threads", num_threads, 1, MOST)
    if first == last or indices.shape[0] == 0 or other_indices.shape[0] == 0:
        for i in range(first, last):
            A[i, : i + 1] = 0
            A[i, i] = ridge or 1
        return
    check_columns(indices, m)
    cdef double[:, ::1] sums = np.zeros((num_threads, n))
    for i in prange(first, last, nogil=True, schedule="dynamic", chunksize=16, num_threads=num_threads):
        if real is float:
            fa_gram_row_f32(indptr[i + 1] - indptr[i], &indices[0] + indptr[i], &values[0] + indptr[i], &other_indptr[0],
                            &other_indices[0], &other_values[0], i + 1, &sums[threadid(), 0], &A[i, 0])
        else:
            fa_gram_row_f64(indptr[i + 1] - indptr[i], &indices[0] + indptr[i], &values[0] + indptr[i], &other_indptr[0],
                            &other_indices[0], &other_values[0], i + 1, &sums[threadid(), 0], &A[i, 0])
        A[i, i] = <real>(A[i, i] + ridge)
        if A[i, i] == 0:
            A[i, i] = 1


def hat_rows(tuple lines not None, const real[:, ::1] K not None, real[:, ::1] A not None, Py_ssize_t first,
             Py_ssize_t last, int num_threads):
    """Rows ``first`` to ``last`` - 1 of the lower triangle of A = X K X', for X (n, m) ``lines`` and symmetric K (m, m)."""
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const real[::1] values
    indptr, indices, values = lines
    cdef Py_ssize_t n = check_indptr("lines", indptr, indices.shape[0]), m = K.shape[0], i, tid
    fits("values of lines", values.shape, indices.shape[0])
    fits("K", K.shape, m, m)
    fits("A", A.shape, n, n)
    within("last", last, 0, n)
    within("first", first, 0, last)
    within("num_threads", num_threads, 1, MOST)
    if first == last or indices.shape[0] == 0:
        for i in range(first, last):
            A[i, : i + 1] = 0
        return
    check_columns(indices, m)
    cdef double[:, ::1] rooms = np.empty((num_threads, m))
    for i in prange(first, last, nogil=True, schedule="dynamic", chunksize=4, num_threads=num_threads):
        tid = threadid()
        memset(&rooms[tid, 0], 0, <size_t>m * sizeof(double))
        if real is float:
            fa_add_rows_f32(m, &K[0, 0], indptr[i + 1] - indptr[i], &indices[0] + indptr[i], &values[0] + indptr[i],
                            &rooms[tid, 0])
            fa_dot_rows_f32(&rooms[tid, 0], i + 1, &indptr[0], &indices[0], &values[0], &A[i, 0])
        else:
            fa_add_rows_f64(m, &K[0, 0], indptr[i + 1] - indptr[i], &indices[0] + indptr[i], &values[0] + indptr[i],
                            &rooms[tid, 0])
            fa_dot_rows_f64(&rooms[tid, 0], i + 1, &indptr[0], &indices[0], &values[0], &A[i, 0])


def mirror(real[:, ::1] A not None, const double[::1] scale, Py_ssize_t first, Py_ssize_t last, int num_threads):
    """Make of rows ``first`` to ``last`` - 1 of a lower triangle a symmetric matrix; or, with ``scale``, one whose columns
    are scaled, with a diagonal of zeros. The rows of all calls together must be all rows, each once."""
    cdef Py_ssize_t n = A.shape[0], block, i, j, j0, i0, i1
    cdef bint scaled = scale is not None
    fits("A", A.shape, n, n)
    if scaled:
        fits("scale", scale.shape, n)
    within("last", last, 0, n)
    within("first", first, 0, last)
    within("num_threads", num_threads, 1, MOST)
    for block in prange((last - first + MIRRORED - 1) // MIRRORED, nogil=True, schedule="dynamic", chunksize=1,
                        num_threads=num_threads):
        i0 = first + block * MIRRORED
        i1 = min(i0 + MIRRORED, last)
        j0 = 0
        while j0 < i1:
            for i in range(max(i0, j0), i1):
                for j in range(j0, min(j0 + MIRRORED, i)):
                    A[j, i] = <real>(A[i, j] * scale[i]) if scaled else A[i, j]
                    if scaled:
                        A[i, j] = <real>(A[i, j] * scale[j])
            j0 = j0 + MIRRORED
        for i in range(i0 if scaled else i1, i1):
            A[i, i] = 0


cdef size_t list_bytes(Py_ssize_t n) noexcept:
    """Room for a list of n while it is made, a whole number of cache lines."""
    return (<size_t>n * (sizeof(double) + sizeof(int32_t)) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN


cdef const unsigned char *open_or_null(const unsigned char[::1] open, Py_ssize_t n_columns) except? NULL:
    if open is None or n_columns == 0:
        return NULL
    fits("open", open.shape, n_columns)
    return &open[0]


def linear_best(tuple rows not None, const real[::1] values not None, const real[:, ::1] B not None, Py_ssize_t n,
                int num_threads, tuple hidden=None, open=None):
    """The n best columns (m, n) of rows of a sparse matrix times B (n_rows, n_columns), and their scores.

    ``rows`` and ``hidden`` (or None) are lists (first, last, items), the cells of row r ``items[first[r]:last[r]]`` with
    ``values`` beside them. All columns that are ``open`` and not hidden are candidates.
    """
    cdef Py_ssize_t m = n_lists(rows), columns = B.shape[1], r, tid
    within("n", n, 1, MOST)
    within("columns of B", columns, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    cdef fa_lists left = item_lists("rows", rows, m), hide = item_lists("hidden", hidden, m)
    fits("values", values.shape, len(rows[2]))
    check_lists("rows", left, m, B.shape[0])
    check_lists("hidden", hide, m, columns)
    cdef const unsigned char *is_open = open_or_null(open, columns)
    found, scores = np.empty((m, n), np.int32), np.empty((m, n), np.float32 if real is float else np.float64)
    if m == 0:
        return found, scores
    cdef const real *w = &values[0] if values.shape[0] else NULL
    cdef const real *b = &B[0, 0] if B.shape[0] else NULL
    cdef int32_t[:, ::1] f = found
    cdef real[:, ::1] s = scores
    cdef double[:, ::1] sums = np.empty((num_threads, columns))
    cdef unsigned char[:, ::1] work = np.empty((num_threads, list_bytes(n)), np.uint8)
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=4, num_threads=num_threads):
        tid = threadid()
        memset(&sums[tid, 0], 0, <size_t>columns * sizeof(double))
        if real is float:
            fa_add_rows_f32(columns, b, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
                            &sums[tid, 0])
            fa_best_of_f32(columns, &sums[tid, 0], hide.last[r] - hide.first[r] if hide.first != NULL else 0,
                           hide.items + hide.first[r] if hide.first != NULL else NULL, is_open, n, &f[r, 0], &s[r, 0],
                           &work[tid, 0])
        else:
            fa_add_rows_f64(columns, b, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
                            &sums[tid, 0])
            fa_best_of_f64(columns, &sums[tid, 0], hide.last[r] - hide.first[r] if hide.first != NULL else 0,
                           hide.items + hide.first[r] if hide.first != NULL else NULL, is_open, n, &f[r, 0], &s[r, 0],
                           &work[tid, 0])
    return found, scores


def linear_at(tuple rows not None, const real[::1] values not None, const real[:, ::1] B not None, tuple at not None,
              int num_threads):
    """Scores of the columns ``at``, lists (first, last, columns) for each of the ``rows``, in the bits of ``linear_best``."""
    cdef Py_ssize_t m = n_lists(rows), columns = B.shape[1], r, tid
    cdef int64_t j
    within("num_threads", num_threads, 1, MOST)
    cdef fa_lists left = item_lists("rows", rows, m), wanted = item_lists("at", at, m)
    fits("values", values.shape, len(rows[2]))
    check_lists("rows", left, m, B.shape[0])
    check_lists("at", wanted, m, columns)
    scores = np.empty(len(at[2]), np.float32 if real is float else np.float64)
    if m == 0 or len(scores) == 0:
        return scores
    cdef const real *w = &values[0] if values.shape[0] else NULL
    cdef const real *b = &B[0, 0] if B.shape[0] else NULL
    cdef real[::1] s = scores
    # of many columns the whole row costs less, which reads B as it lies
    cdef Py_ssize_t many = max(<Py_ssize_t>16, columns // 16)
    cdef bint any_many = np.any(np.subtract(at[1], at[0]) >= many)
    cdef double[:, ::1] sums = np.empty((num_threads, columns if any_many else 1))
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=8, num_threads=num_threads):
        if wanted.last[r] - wanted.first[r] >= many:
            tid = threadid()
            memset(&sums[tid, 0], 0, <size_t>columns * sizeof(double))
            if real is float:
                fa_add_rows_f32(columns, b, left.last[r] - left.first[r], left.items + left.first[r],
                                w + left.first[r], &sums[tid, 0])
            else:
                fa_add_rows_f64(columns, b, left.last[r] - left.first[r], left.items + left.first[r],
                                w + left.first[r], &sums[tid, 0])
            for j in range(wanted.first[r], wanted.last[r]):
                s[j] = <real>sums[tid, wanted.items[j]]
            continue
        for j in range(wanted.first[r], wanted.last[r]):
            if real is float:
                s[j] = <real>fa_dot_cells_f32(b + wanted.items[j], columns, left.last[r] - left.first[r],
                                              left.items + left.first[r], w + left.first[r])
            else:
                s[j] = <real>fa_dot_cells_f64(b + wanted.items[j], columns, left.last[r] - left.first[r],
                                              left.items + left.first[r], w + left.first[r])
    return scores


def row_dots(tuple lines not None, const real[:, ::1] columns not None, int num_threads):
    """Scores (m, n) in float64 of n compressed rows times each of ``columns`` (m, size), which are rows here: in the bits
    of ``linear_best``, before these become ``real``; -inf for rows without cells."""
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const real[::1] values
    indptr, indices, values = lines
    cdef Py_ssize_t n = check_indptr("lines", indptr, indices.shape[0]), m = columns.shape[0], u, q
    fits("values of lines", values.shape, indices.shape[0])
    within("num_threads", num_threads, 1, MOST)
    scores = np.full((m, n), -np.inf)
    if m == 0 or indices.shape[0] == 0:
        return scores
    check_columns(indices, columns.shape[1])
    cdef double[:, ::1] s = scores
    for u in prange(n, nogil=True, schedule="dynamic", chunksize=64, num_threads=num_threads):
        for q in range(m if indptr[u] < indptr[u + 1] else 0):
            if real is float:
                s[q, u] = fa_dot_cells_f32(&columns[q, 0], 1, indptr[u + 1] - indptr[u], &indices[0] + indptr[u],
                                           &values[0] + indptr[u])
            else:
                s[q, u] = fa_dot_cells_f64(&columns[q, 0], 1, indptr[u + 1] - indptr[u], &indices[0] + indptr[u],
                                           &values[0] + indptr[u])
    return scores


def best_of(double[:, ::1] scores not None, Py_ssize_t n, dtype, int num_threads, *, tuple hidden=None, open=None):
    """The n best columns (m, n) of each row of scores, those above -inf, and their scores in ``dtype``; hidden scores are
    lost. ``hidden`` and ``open`` as for ``linear_best``."""
    cdef Py_ssize_t m = scores.shape[0], columns = scores.shape[1], r
    within("n", n, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    cdef fa_lists hide = item_lists("hidden", hidden, m)
    check_lists("hidden", hide, m, columns)
    cdef const unsigned char *is_open = open_or_null(open, columns)
    cdef Values room = room_for(m * n, dtype)
    found = np.empty((m, n), np.int32)
    if m == 0 or columns == 0:
        found[:] = -1
        room.array[:] = -np.inf
        return found, room.array.reshape(m, n)
    cdef int32_t[:, ::1] f = found
    cdef unsigned char[:, ::1] work = np.empty((num_threads, list_bytes(n)), np.uint8)
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=4, num_threads=num_threads):
        if room.type == FA_F32:
            fa_best_of_f32(columns, &scores[r, 0], hide.last[r] - hide.first[r] if hide.first != NULL else 0,
                           hide.items + hide.first[r] if hide.first != NULL else NULL, is_open, n, &f[r, 0],
                           <float *>room.data + r * n, &work[threadid(), 0])
        else:
            fa_best_of_f64(columns, &scores[r, 0], hide.last[r] - hide.first[r] if hide.first != NULL else 0,
                           hide.items + hide.first[r] if hide.first != NULL else NULL, is_open, n, &f[r, 0],
                           <double *>room.data + r * n, &work[threadid(), 0])
    return found, room.array.reshape(m, n)
