# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=False, freethreading_compatible=True
"""The only compiled module: parallel loops over rows, workspaces, LAPACK bindings, a status per row.

Everything that arrives here has passed the gate (``_validation``): contiguous, of the right dtype and shape, indices in
range. Nothing is checked again. One ``prange`` per call; what a row computes depends on that row alone, and sums over
rows are made of blocks fixed by the data, so every number of threads gives the same bits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

ctypedef fused real:
    float
    double

# ---------------------------------------------------------------------------------------------------------------------
# the C side (src_c/core/fastals.h is the manual)

cdef extern from "core/fastals.h" nogil:
    enum: FA_ISAS, FA_ALIGN, FA_TASK_ROWS, FA_GROUP_ROWS, FA_PART_CELLS, FA_CG_CELLS, FA_PANEL, FA_QUERIES

    ctypedef struct fa_panel:
        double norm, rest, step, error

    ctypedef struct fa_lists:
        const int64_t *first
        const int64_t *last
        const int32_t *items

    ctypedef struct fa_side_f32:
        Py_ssize_t k, ld, n_other
        const float *Z
        const float *base
        Py_ssize_t ridged
        float a0, a1, b0, b1
        int positive_only
        Py_ssize_t short_limit
        Py_ssize_t cg_above
        int cg_steps
        const int32_t *end
        const float *values
        const float *scale
        const float *common
        Py_ssize_t bounded
        const float *system
        const double *wide

    ctypedef struct fa_side_f64:
        Py_ssize_t k, ld, n_other
        const double *Z
        const double *base
        Py_ssize_t ridged
        double a0, a1, b0, b1
        int positive_only
        Py_ssize_t short_limit
        Py_ssize_t cg_above
        int cg_steps
        const int32_t *end
        const double *values
        const double *scale
        const double *common
        Py_ssize_t bounded
        const double *system
        const double *wide

    ctypedef int (*fa_row_solver_f32)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, float *,
                                      double *, void *) noexcept nogil
    ctypedef int (*fa_row_solver_f64)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double,
                                      double *, double *, void *) noexcept nogil

    ctypedef struct fa_items_f32:
        Py_ssize_t k, n_items, panels
        const float *Y
        const unsigned char *codes
        const fa_panel *bounds
        const int32_t *items
        const int32_t *columns
        const uint64_t *open

    ctypedef struct fa_kernels_f32:
        const char *isa
        int vector_length
        Py_ssize_t (*padded)(Py_ssize_t) noexcept nogil
        size_t (*workspace)(Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_ld)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_rows)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*short_limit)(Py_ssize_t) noexcept nogil
        void (*gram)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, double *, void *) noexcept nogil
        void (*rotate)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, float *) noexcept nogil
        void (*row_gram)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, float *, float *,
                         void *) noexcept nogil
        void (*add_system)(Py_ssize_t, const float *, const float *, float *, float *) noexcept nogil
        void (*row_system)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, double *,
                           double *) noexcept nogil
        double (*row_decrease)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, const float *,
                               double *) noexcept nogil
        int (*posv)(Py_ssize_t, float *, float *, float *) noexcept nogil
        int (*refine)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, const float *, float *, double,
                      double *, void *) noexcept nogil
        fa_row_solver_f32 solve_row
        fa_row_solver_f32 solve_row_given
        fa_row_solver_f32 solve_row_cg
        int (*nnls)(Py_ssize_t, Py_ssize_t, const float *, const float *, float *, void *) noexcept nogil
        fa_row_solver_f32 solve_row_nnls
        Py_ssize_t (*cg_block)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*cg_group)(Py_ssize_t) noexcept nogil
        void (*solve_rows)(const fa_side_f32 *, fa_row_solver_f32, int, Py_ssize_t, const int32_t *, const int64_t *,
                           const int32_t *, const float *, const float *, const float *, const float *, const float *,
                           float, float *, double *, int32_t *, void *) noexcept nogil
        void (*pack_panel)(Py_ssize_t, const float *, const int32_t *, float *, unsigned char *, fa_panel *) noexcept nogil
        void (*top_n)(const fa_items_f32 *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const fa_lists *,
                      const fa_lists *, int32_t *, float *, void *) noexcept nogil
        size_t (*top_n_workspace)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pair_scores)(Py_ssize_t, Py_ssize_t, const float *, const float *, const int32_t *, const int32_t *,
                            float *) noexcept nogil

    ctypedef struct fa_items_f64:
        Py_ssize_t k, n_items, panels
        const double *Y
        const unsigned char *codes
        const fa_panel *bounds
        const int32_t *items
        const int32_t *columns
        const uint64_t *open

    ctypedef struct fa_kernels_f64:
        const char *isa
        int vector_length
        Py_ssize_t (*padded)(Py_ssize_t) noexcept nogil
        size_t (*workspace)(Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_ld)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_rows)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*short_limit)(Py_ssize_t) noexcept nogil
        void (*gram)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, void *) noexcept nogil
        void (*rotate)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, double *) noexcept nogil
        void (*row_gram)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double, double *, double *,
                         void *) noexcept nogil
        void (*add_system)(Py_ssize_t, const double *, const double *, double *, double *) noexcept nogil
        void (*row_system)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double, double *,
                           double *) noexcept nogil
        double (*row_decrease)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double, const double *,
                               double *) noexcept nogil
        int (*posv)(Py_ssize_t, double *, double *, double *) noexcept nogil
        int (*refine)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double, const double *, double *, double,
                      double *, void *) noexcept nogil
        fa_row_solver_f64 solve_row
        fa_row_solver_f64 solve_row_given
        fa_row_solver_f64 solve_row_cg
        int (*nnls)(Py_ssize_t, Py_ssize_t, const double *, const double *, double *, void *) noexcept nogil
        fa_row_solver_f64 solve_row_nnls
        Py_ssize_t (*cg_block)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*cg_group)(Py_ssize_t) noexcept nogil
        void (*solve_rows)(const fa_side_f64 *, fa_row_solver_f64, int, Py_ssize_t, const int32_t *, const int64_t *,
                           const int32_t *, const double *, const double *, const double *, const double *,
                           const double *, double, double *, double *, int32_t *, void *) noexcept nogil
        void (*pack_panel)(Py_ssize_t, const double *, const int32_t *, double *, unsigned char *, fa_panel *) noexcept nogil
        void (*top_n)(const fa_items_f64 *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const fa_lists *,
                      const fa_lists *, int32_t *, double *, void *) noexcept nogil
        size_t (*top_n_workspace)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pair_scores)(Py_ssize_t, Py_ssize_t, const double *, const double *, const int32_t *, const int32_t *,
                            double *) noexcept nogil

    int fa_isa_available(int)
    const char *fa_isa_name(int)
    const fa_kernels_f32 *fa_kernels_for_f32(int)
    const fa_kernels_f64 *fa_kernels_for_f64(int)


TASK_ROWS = FA_TASK_ROWS
PART_CELLS = FA_PART_CELLS
CG_CELLS = FA_CG_CELLS
PANEL = FA_PANEL
QUERIES = FA_QUERIES

# ---------------------------------------------------------------------------------------------------------------------
# instruction sets

cdef const fa_kernels_f32 *K32 = NULL
cdef const fa_kernels_f64 *K64 = NULL


def available_isas():
    """Names of the instruction sets that this build holds and this machine can run, slowest first."""
    return [fa_isa_name(i).decode() for i in range(FA_ISAS) if fa_isa_available(i)]


def use_isa(str name):
    """Switch every kernel to this instruction set; not while another thread is inside one. False: not available."""
    global K32, K64
    for i in range(FA_ISAS):
        if fa_isa_available(i) and fa_isa_name(i).decode() == name:
            K32, K64 = fa_kernels_for_f32(i), fa_kernels_for_f64(i)
            return True
    return False


def active_isa():
    """Name of the instruction set in use."""
    return K32.isa.decode()


use_isa(available_isas().pop())

# ---------------------------------------------------------------------------------------------------------------------
# memory


def aligned_empty(shape, dtype):
    """An uninitialised C-contiguous array that starts on a cache line."""
    dtype = np.dtype(dtype)
    n = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(n + FA_ALIGN, np.uint8)
    start = -raw.ctypes.data % FA_ALIGN
    return raw[start : start + n].view(dtype).reshape(shape)


def padded(dtype, Py_ssize_t k):
    """Elements between the padded rows of k factors."""
    return K32.padded(k) if dtype == np.float32 else K64.padded(k)


def cg_group(dtype, Py_ssize_t k):
    """Rows that one group for conjugate gradients may hold."""
    return K32.cg_group(k) if dtype == np.float32 else K64.cg_group(k)


def cg_block(dtype, Py_ssize_t k):
    """Rows of the other side that stay in the cache together."""
    return K32.cg_block(k) if dtype == np.float32 else K64.cg_block(k)


def short_limit(dtype, Py_ssize_t k):
    """The longest row for which the n x n form costs less than the k x k form."""
    return K32.short_limit(k) if dtype == np.float32 else K64.short_limit(k)


cdef size_t thread_bytes(bint single, Py_ssize_t k, Py_ssize_t group=0) noexcept:
    return K32.workspace(k, group) if single else K64.workspace(k, group)


# ---------------------------------------------------------------------------------------------------------------------
# a whole side: Gram matrix and rotation

PART_ROWS = 4096
"""Sums over rows are made of parts of so many consecutive rows, which are added in order: whoever sums a part, and
wherever its rows are, the total is the same to the bit."""

DEF ROWS = 4096
DEF PARTS_AT_ONCE = 64  # of which each holds a k x k matrix
DEF WIDENED = 128  # rows of float32 that are copied to float64 at once


def gram(const real[:, ::1] Y, int num_threads, bint wide=False):
    """Y'Y (k, k) in float64, in parts of PART_ROWS rows; with ``wide`` every sum is in float64, not only that of parts."""
    cdef Py_ssize_t n = Y.shape[0], k = Y.shape[1], t, i, c, first, begin, last, tid
    cdef Py_ssize_t parts = (n + ROWS - 1) // ROWS if k else 0, count
    cdef double[:, :, ::1] partial = np.empty((min(parts, PARTS_AT_ONCE), k, k))
    cdef size_t stride = max(thread_bytes(False, k), thread_bytes(True, k))
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    cdef double[:, :, ::1] rooms = np.empty((num_threads, WIDENED, k)) if real is float and wide else np.empty((1, 1, 1))
    cdef double[:, ::1] G = np.zeros((k, k))
    for begin in range(0, parts, PARTS_AT_ONCE):
        count = min(parts - begin, PARTS_AT_ONCE)
        for t in prange(count, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            tid = threadid()
            first = (begin + t) * ROWS
            last = first + ROWS if first + ROWS < n else n
            memset(&partial[t, 0, 0], 0, <size_t>(k * k) * sizeof(double))
            if real is float and not wide:
                K32.gram(last - first, k, &Y[first, 0], k, &partial[t, 0, 0], &work[tid * stride])
            elif real is float:
                while first < last:
                    for i in range(min(WIDENED, last - first)):
                        for c in range(k):
                            rooms[tid, i, c] = <double>Y[first + i, c]
                    K64.gram(min(WIDENED, last - first), k, &rooms[tid, 0, 0], k, &partial[t, 0, 0], &work[tid * stride])
                    first = first + WIDENED
            else:
                K64.gram(last - first, k, &Y[first, 0], k, &partial[t, 0, 0], &work[tid * stride])
        for t in range(count):
            total = np.asarray(G)
            total += partial[t]
    total = np.asarray(G)
    return np.triu(total) + np.triu(total, 1).T


cdef double in_order(const double[::1] parts) noexcept:
    cdef double total = 0
    cdef Py_ssize_t t
    for t in range(parts.shape[0]):
        total += parts[t]
    return total


def sum_rows(const double[::1] values):
    """The sum of one number a row, in parts of PART_ROWS rows."""
    cdef Py_ssize_t n = values.shape[0], t, i
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    for t in range(parts.shape[0]):
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            parts[t] += values[i]
    return in_order(parts)


def penalty(const real[:, ::1] X, const real[::1] lam, Py_ssize_t ridged, double own, int num_threads):
    """Sum of lam_u |x_u|^2 over the first ``ridged`` columns, and of own x^2 over the others; in parts of rows."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], t, i, c
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    cdef double part, row, x
    for t in prange(parts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        part = 0
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            row = 0
            for c in range(ridged):
                x = <double>X[i, c]
                row = row + x * x
            part = part + <double>lam[i] * row
            for c in range(ridged, k):
                x = <double>X[i, c]
                part = part + own * x * x
        parts[t] = part
    return in_order(parts)


def constant(tuple weights, double unobserved, const int64_t[::1] indptr, const real[::1] values,
             const real[::1] scale, int num_threads):
    """Sum of b^2 / (w0 + a) over the stored cells, in float64 and in parts of rows; ``weights`` as for half_sweep."""
    cdef double a0 = weights[0], a1 = weights[1], b0 = weights[2], b1 = weights[3]
    cdef bint positive_only = weights[4], weighted = scale is not None
    cdef Py_ssize_t n = indptr.shape[0] - 1, t, i
    cdef int64_t j
    cdef double[::1] parts = np.zeros(max(0, n + ROWS - 1) // ROWS)
    cdef double part, row, a, b, r, s
    for t in prange(parts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        part = 0
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            row = 0
            for j in range(indptr[i], indptr[i + 1]):
                r = <double>values[j]
                s = <double>scale[j] if weighted else 1.0
                a = unobserved + s * (a0 + a1 * (r if r > 0 else -r))
                b = 0 if positive_only and not r > 0 else s * (b0 + b1 * r)
                if a > 0:
                    row = row + b * b / a
            part = part + row
        parts[t] = part
    return in_order(parts)


def decrease_of_cells(const real[:, ::1] X, const real[:, ::1] Z, tuple weights, const int64_t[::1] indptr,
                      const int32_t[::1] indices, const real[::1] values, const real[::1] scale, int num_threads):
    """Sum of 2 b s - a s^2 over the stored cells, s = x.z their scores, in float64 and in parts of rows.

    Z (n_others, padded) as from ``rotate``; ``weights`` as for half_sweep.
    """
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], ld = Z.shape[1], t, i, tid
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    dtype = np.float32 if real is float else np.float64
    cdef real[::1] base = np.zeros(ld, dtype)
    cdef real[:, ::1] rows = np.zeros((num_threads, ld + FA_ALIGN), dtype)
    cdef double part
    cdef const int32_t *cells = &indices[0] if indices.shape[0] else NULL
    cdef const real *cell_values = &values[0] if values.shape[0] else NULL
    cdef const real *cell_scale = NULL
    if scale is not None and scale.shape[0]:
        cell_scale = &scale[0]
    cdef const real *z = &Z[0, 0] if Z.shape[0] else NULL
    cdef fa_side_f32 side32
    cdef fa_side_f64 side64
    if real is float:
        side32 = fa_side_f32(k, ld, Z.shape[0], z, &base[0], 0, weights[0], weights[1], weights[2], weights[3], weights[4],
                             0, 0, 1, cells + indices.shape[0], cell_values, cell_scale, NULL, 0, NULL, NULL)
    else:
        side64 = fa_side_f64(k, ld, Z.shape[0], z, &base[0], 0, weights[0], weights[1], weights[2], weights[3], weights[4],
                             0, 0, 1, cells + indices.shape[0], cell_values, cell_scale, NULL, 0, NULL, NULL)
    for t in prange(parts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        part = 0
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            memcpy(&rows[tid, 0], &X[i, 0], <size_t>k * sizeof(real))
            if real is float:
                part = part + K32.row_decrease(&side32, indptr[i + 1] - indptr[i], cells + indptr[i],
                                               cell_values + indptr[i], 0, &rows[tid, 0], NULL)
            else:
                part = part + K64.row_decrease(&side64, indptr[i + 1] - indptr[i], cells + indptr[i],
                                               cell_values + indptr[i], 0, &rows[tid, 0], NULL)
        parts[t] = part
    return in_order(parts)


def rotate(const real[:, ::1] Y, real[:, ::1] Q, int num_threads):
    """Padded, aligned Z = Y Q; Q (k, padded) or None for a padded copy."""
    cdef Py_ssize_t n = Y.shape[0], k = Y.shape[1], t, first, count
    cdef Py_ssize_t ld = padded(np.float32 if real is float else np.float64, k)
    out = aligned_empty((n, ld), np.float32 if real is float else np.float64)
    cdef real[:, ::1] Z = out
    cdef const real *q = NULL if Q is None else &Q[0, 0]
    for t in prange((n + 255) // 256, nogil=True, schedule="static", num_threads=num_threads):
        first = t * 256
        count = 256 if first + 256 < n else n - first
        if real is float:
            K32.rotate(count, k, &Y[first, 0], k, q, &Z[first, 0])
        else:
            K64.rotate(count, k, &Y[first, 0], k, q, &Z[first, 0])
    return out


def turn(const real[:, ::1] X, real[:, ::1] C, real[:, ::1] out, int num_threads):
    """``out`` (n, k), which may be X, = X C; C (k, padded). What a row becomes depends on it alone."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], ld = C.shape[1], t, i, first, count, tid
    cdef real[:, :, ::1] rooms = aligned_empty((num_threads, 256, ld), np.float32 if real is float else np.float64)
    for t in prange((n + 255) // 256, nogil=True, schedule="static", num_threads=num_threads):
        tid = threadid()
        first = t * 256
        count = 256 if first + 256 < n else n - first
        if real is float:
            K32.rotate(count, k, &X[first, 0], k, &C[0, 0], &rooms[tid, 0, 0])
        else:
            K64.rotate(count, k, &X[first, 0], k, &C[0, 0], &rooms[tid, 0, 0])
        for i in range(count):
            memcpy(&out[first + i, 0], &rooms[tid, i, 0], <size_t>k * sizeof(real))


# ---------------------------------------------------------------------------------------------------------------------
# LAPACK, bound when first needed: `import scipy.linalg` takes longer than all of fastals

ctypedef void (*sposv_t)(char *, int *, int *, float *, int *, float *, int *, int *) noexcept nogil
ctypedef void (*dposv_t)(char *, int *, int *, double *, int *, double *, int *, int *) noexcept nogil
ctypedef void (*dgelsd_t)(int *, int *, int *, double *, int *, double *, int *, double *, double *, int *, double *,
                          int *, int *, int *) noexcept nogil
cdef sposv_t sposv = NULL
cdef dposv_t dposv = NULL
cdef dgelsd_t dgelsd = NULL


cdef void *lapack_function(dict api, str name) except NULL:
    return PyCapsule_GetPointer(api[name], PyCapsule_GetName(api[name]))


def bind_lapack():
    """Load LAPACK, as the solvers "lapack" and "rescue" need; before its threads are limited, or they would not be."""
    global sposv, dposv, dgelsd
    if dgelsd == NULL:
        from scipy.linalg import cython_lapack

        sposv = <sposv_t>lapack_function(cython_lapack.__pyx_capi__, "sposv")
        dposv = <dposv_t>lapack_function(cython_lapack.__pyx_capi__, "dposv")
        dgelsd = <dgelsd_t>lapack_function(cython_lapack.__pyx_capi__, "dgelsd")


# ---------------------------------------------------------------------------------------------------------------------
# row solvers beside the one in C. After row_gram the workspace holds A, its right-hand side behind it, then row_gram's
# own part; the upper triangle by rows is LAPACK's lower triangle by columns.


cdef inline int posv_row(Py_ssize_t k, Py_ssize_t ld, real *A, const real *rhs, real *x, real *diagonal) noexcept nogil:
    """The slow twin: LAPACK ?posv, and the kernels' own rule for a pivot that is rounding (LAPACK takes NaN as well)."""
    cdef int n = <int>k, lda = <int>ld, one = 1, info = 0
    cdef real null = 4 * (1.1920929e-07 if real is float else 2.220446049250313e-16)
    cdef Py_ssize_t p
    for p in range(k):
        x[p] = rhs[p]
        diagonal[p] = A[p * (ld + 1)]
    if real is float:
        sposv(b"L", &n, &one, A, &lda, x, &n, &info)
    else:
        dposv(b"L", &n, &one, A, &lda, x, &n, &info)
    for p in range(k):
        if not A[p * (ld + 1)] * A[p * (ld + 1)] > null * diagonal[p]:
            info = 1
    if info:
        memset(x, 0, <size_t>k * sizeof(real))
    return info


cdef inline Py_ssize_t gelsd_doubles(Py_ssize_t k) noexcept nogil:
    """lwork for k x k: LAPACK's formula with SMLSIZ = 25 and 20 levels of subdivision, far more than can occur."""
    return (12 + 2 * 25 + 8 * 20 + 1 + 64) * k + 26 * 26


cdef inline Py_ssize_t rescue_bytes(Py_ssize_t k) noexcept nogil:
    return 8 * (2 * k * k + 4 * k + gelsd_doubles(k)) + 4 * (3 * 20 + 11) * k


cdef inline double decrease_at(Py_ssize_t k, const double *A, const double *rhs, const real *x) noexcept nogil:
    """2 x'rhs - x'Ax."""
    cdef double total = 0, right
    cdef Py_ssize_t p, c
    for p in range(k):
        right = 2 * rhs[p]
        for c in range(k):
            right -= A[p * k + c] * <double>x[c]
        total += <double>x[p] * right
    return total


cdef inline double sum_of(Py_ssize_t k, const double *y, const double *rhs) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t p
    for p in range(k):
        total += y[p] * rhs[p]
    return total


cdef inline void add_wide(Py_ssize_t k, const double *wide, double *A) noexcept nogil:
    """The common term that row_system leaves out where nothing is turned."""
    cdef Py_ssize_t p
    if wide != NULL:
        for p in range(k * k):
            A[p] += wide[p]


cdef inline int least_norm(Py_ssize_t k, Py_ssize_t ridged, const double *A, const double *rhs, double null, double *y,
                           double *U, double *singular) noexcept nogil:
    """y of minimum norm where A has directions below ``null`` of its largest; U, singular: room. Biases, behind the first
    ``ridged`` coordinates, are brought to the scale of these: their column of ones has none in common with factors."""
    cdef int n = <int>k, one = 1, rank = 0, info = 0, lwork = <int>gelsd_doubles(k)
    cdef double *rest = singular + k
    cdef double largest = 0, scale = 1
    cdef Py_ssize_t p, c
    memcpy(U, A, <size_t>(k * k) * sizeof(double))
    memcpy(y, rhs, <size_t>k * sizeof(double))
    for p in range(ridged):
        largest = max(largest, A[p * (k + 1)])
    for p in range(ridged, k):
        if largest > 0 and A[p * (k + 1)] > 0:
            scale = sqrt(largest / A[p * (k + 1)])
            for c in range(k):
                U[p * k + c] *= scale
            for c in range(k):
                U[c * k + p] *= scale
            y[p] *= scale
    dgelsd(&n, &n, &one, U, &n, y, &n, singular, &null, &rank, rest, &lwork, <int *>(rest + lwork), &info)
    if ridged < k:
        y[k - 1] *= scale
    return info


cdef inline int rescue_row(Py_ssize_t k, Py_ssize_t ridged, double *work, real lam, real *x,
                           double *decrease) noexcept nogil:
    """The way out: the system of row_system, which stands in front of work, by ?posv in float64; where that breaks down
    too, or nothing regularizes the row, the solution of minimum norm, whatever the rank and the signs. Directions below
    k eps are null: without regularization the eps of the dtype, since the factors themselves are known no better.

    A solution whose entries are far larger than what they sum to may be ruined by rounding it to float32: then the one
    without its flattest directions is taken where that is better, and -2 returned where the better one, too, has lost a
    thousandth of the decrease."""
    cdef int n = <int>k, one = 1, info = 0
    cdef double *A = work
    cdef double *rhs = A + k * k
    cdef double *U = rhs + k
    cdef double *y = U + k * k
    cdef double *z = y + k
    cdef double *singular = z + k
    cdef double null = k * 2.220446049250313e-16, eps = 1.1920928955078125e-07, best, largest = 0
    cdef Py_ssize_t p
    if real is float and lam == 0:
        null = 8 * k * eps
    for p in range(k):
        if not isfinite(A[p * (k + 1)]) or not isfinite(rhs[p]):
            return -1
        if p < ridged:
            largest = max(largest, A[p * (k + 1)])
    memcpy(U, A, <size_t>(k * k) * sizeof(double))
    memcpy(y, rhs, <size_t>k * sizeof(double))
    dposv(b"L", &n, &one, U, &n, y, &n, &info)
    for p in range(k):
        if lam == 0 or info or not U[p * (k + 1)] * U[p * (k + 1)] > null * (largest if p < ridged else A[p * (k + 1)]):
            info = least_norm(k, ridged, A, rhs, null, y, U, singular)
            break
    if info:
        return info
    best = sum_of(k, y, rhs)
    if best < 0:
        return 1  # x'Ax < 0: there is no minimum
    for p in range(k):
        x[p] = <real>y[p]
    decrease[0] = decrease_at(k, A, rhs, x)
    if real is float and not decrease[0] >= best * (1 - 1e-6):
        if least_norm(k, ridged, A, rhs, max(100 * k * eps * eps, null), z, U, singular):
            return 1
        for p in range(k):
            x[p] = <real>z[p]
        best = decrease_at(k, A, rhs, x)
        if best > decrease[0]:
            decrease[0] = best
        else:
            for p in range(k):
                x[p] = <real>y[p]
    if not decrease[0] >= 0.999 * sum_of(k, y, rhs):
        decrease[0] = 0
        return -2
    return 0


cdef int lapack_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, float lam, float *x,
                    double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K32.system_ld(side.k), p
    cdef float *A = <float *>work
    cdef float *rhs = A + K32.system_rows(side.ld) * ld
    cdef int info
    cdef double right = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0:
        return 0
    K32.row_gram(side, n, idx, val, lam, A, rhs, rhs + 2 * ld)
    info = posv_row(side.k, ld, A, rhs, x, rhs + ld)
    decrease[0] = 0
    for p in range(side.k):
        decrease[0] += <double>x[p] * rhs[p]
        right += <double>rhs[p] * rhs[p]
    if info == 0:
        info = K32.refine(side, n, idx, val, lam, A, x, right, decrease, rhs + 2 * ld)
    if info:
        decrease[0] = 0
        memset(x, 0, <size_t>side.ld * sizeof(float))
    return info


cdef int lapack_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, double lam, double *x,
                    double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K64.system_ld(side.k), p
    cdef double *A = <double *>work
    cdef double *rhs = A + K64.system_rows(side.ld) * ld
    cdef int info
    cdef double right = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0:
        return 0
    K64.row_gram(side, n, idx, val, lam, A, rhs, rhs + 2 * ld)
    info = posv_row(side.k, ld, A, rhs, x, rhs + ld)
    decrease[0] = 0
    for p in range(side.k):
        decrease[0] += <double>x[p] * rhs[p]
        right += <double>rhs[p] * rhs[p]
    if info == 0:
        info = K64.refine(side, n, idx, val, lam, A, x, right, decrease, rhs + 2 * ld)
    if info:
        decrease[0] = 0
        memset(x, 0, <size_t>side.ld * sizeof(double))
    return info


cdef int rescue_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, float lam, float *x,
                    double *decrease, void *work) noexcept nogil:
    memset(x, 0, <size_t>side.ld * sizeof(float))
    K32.row_system(side, n, idx, val, lam, <double *>work, <double *>work + side.k * side.k)
    add_wide(side.k, side.wide, <double *>work)
    return rescue_row(side.k, side.ridged, <double *>work, lam, x, decrease)


cdef int rescue_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, double lam, double *x,
                    double *decrease, void *work) noexcept nogil:
    memset(x, 0, <size_t>side.ld * sizeof(double))
    K64.row_system(side, n, idx, val, lam, <double *>work, <double *>work + side.k * side.k)
    add_wide(side.k, side.wide, <double *>work)
    return rescue_row(side.k, side.ridged, <double *>work, lam, x, decrease)


cdef inline Py_ssize_t rescue_nnls_bytes(Py_ssize_t k) noexcept nogil:
    return 8 * ((2 * K64.system_rows(k) + 10) * K64.system_ld(k) + k * k + k)


cdef inline int rescue_nnls_row(Py_ssize_t k, Py_ssize_t bounded, double *system, double *work, real *x,
                                double *decrease) noexcept nogil:
    """The way out of rows that are singular to the dtype's precision: the system of row_system by ``nnls`` in float64,
    and where that finds no way either, with the least ridge that makes it definite."""
    cdef Py_ssize_t ld = K64.system_ld(k), p, c, step
    cdef double *A = work
    cdef double *rhs = A + K64.system_rows(k) * ld
    cdef double *y = rhs + ld
    cdef double ridge = 0, largest = 0
    for p in range(k):
        for c in range(k):
            if not isfinite(system[p * k + c]):
                return -1
        if not isfinite(system[k * k + p]):
            return -1
        largest = max(largest, system[p * (k + 1)])
    for step in range(4):
        memset(A, 0, <size_t>(K64.system_rows(k) * ld) * sizeof(double))
        for p in range(ld):
            rhs[p] = system[k * k + p] if p < k else 0
            y[p] = 0
        for p in range(k):
            memcpy(A + p * ld, system + p * k, <size_t>k * sizeof(double))
            A[p * (ld + 1)] += ridge * largest
        if K64.nnls(k, bounded, A, rhs, y, y + ld) == 0:
            for p in range(k):
                x[p] = <real>y[p]
            decrease[0] = decrease_at(k, system, system + k * k, x)
            return 0
        ridge = 1e-14 if ridge == 0 else 100 * ridge
    return 1


cdef int rescue_nnls_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, float lam, float *x,
                         double *decrease, void *work) noexcept nogil:
    cdef double *system = <double *>work + (2 * K64.system_rows(side.k) + 10) * K64.system_ld(side.k)
    memset(x, 0, <size_t>side.ld * sizeof(float))
    K32.row_system(side, n, idx, val, lam, system, system + side.k * side.k)
    add_wide(side.k, side.wide, system)
    return rescue_nnls_row[float](side.k, side.bounded, system, <double *>work, x, decrease)


cdef int rescue_nnls_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, double lam,
                         double *x, double *decrease, void *work) noexcept nogil:
    cdef double *system = <double *>work + (2 * K64.system_rows(side.k) + 10) * K64.system_ld(side.k)
    memset(x, 0, <size_t>side.ld * sizeof(double))
    K64.row_system(side, n, idx, val, lam, system, system + side.k * side.k)
    add_wide(side.k, side.wide, system)
    return rescue_nnls_row[double](side.k, side.bounded, system, <double *>work, x, decrease)


# ---------------------------------------------------------------------------------------------------------------------
# the half-sweep

SOLVERS = {"cholesky": 0, "lapack": 1, "rescue": 2, "cg": 3, "nnls": 4, "rescue nnls": 5}


def half_sweep(str solver, real[:, ::1] Z, real[::1] base, Py_ssize_t ridged, tuple weights, Py_ssize_t short_limit,
               Py_ssize_t cg_above, int cg_steps, const int32_t[::1] order, const int64_t[::1] tasks,
               Py_ssize_t n_groups, const int32_t[::1] split, const int64_t[::1] indptr, const int32_t[::1] indices,
               const real[::1] values, const real[::1] scale, const real[::1] lam, real[:, ::1] common,
               double[:, ::1] wide, Py_ssize_t bounded, real[:, ::1] Q, real[:, ::1] QT, const real[:, ::1] start, double relaxation,
               real[:, ::1] X, double[::1] decrease, int32_t[::1] status, int num_threads):
    """Solve the rows ``order``, task t being ``order[tasks[t]:tasks[t + 1]]``, into X.

    The first ``n_groups`` tasks are groups of up to cg_group long rows for "cg", the others hold up to TASK_ROWS rows. The
    rows ``split`` are solved before them, and exactly: each one's parts are shared out to all threads.

    Z, base and ridged describe the other side as ``fa_side`` does, weights are its (a0, a1, b0, b1, positive_only); scale
    holds the cells' own weights, or is None. QT is the transposed rotation with padded rows, Q the rotation, or None. With
    ``start``, which may be X, the rows start from what it holds, and go beyond their solution by relaxation times the
    step. decrease[row] gets by how much a row lowers the objective, beside zeros; status[row] is 0 for a solved row; others
    hold zeros in X. common (k, padded) or None and bounded are for "nnls", wide (k, k) or None for "rescue" and "rescue
    nnls", as in ``fa_side``.
    """
    cdef Py_ssize_t k = X.shape[1], n_tasks = tasks.shape[0] - 1, t, tid
    cdef Py_ssize_t group = max([tasks[t + 1] - tasks[t] for t in range(n_groups)], default=0)
    cdef size_t stride = thread_bytes(real is float, k, group)
    cdef int which = SOLVERS[solver]
    if which in (1, 2):
        bind_lapack()
    if which == 2:
        stride = (stride + rescue_bytes(k) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    if which == 5:
        stride = (stride + rescue_nnls_bytes(k) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    # a side without rows or a matrix without cells has no first element to point at
    if n_tasks == 0 and split.shape[0] == 0:
        return
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    cdef const real *shared = NULL if common is None else &common[0, 0]
    cdef const real *q = NULL if Q is None else &Q[0, 0]
    cdef const real *qt = NULL if QT is None else &QT[0, 0]
    cdef const double *wide_term = NULL if wide is None else &wide[0, 0]
    cdef const real *begin = NULL
    if start is not None:
        begin = &start[0, 0]
    cdef const int32_t *cells = &indices[0] if indices.shape[0] else NULL
    cdef const real *cell_values = &values[0] if values.shape[0] else NULL
    cdef const real *cell_scale = NULL
    if scale is not None and scale.shape[0]:
        cell_scale = &scale[0]
    cdef const real *z = &Z[0, 0] if Z.shape[0] else NULL
    cdef fa_side_f32 side32
    cdef fa_side_f64 side64
    cdef fa_row_solver_f32 solve32
    cdef fa_row_solver_f64 solve64
    if real is float:
        side32 = fa_side_f32(k, Z.shape[1], Z.shape[0], z, &base[0], ridged, weights[0], weights[1], weights[2], weights[3],
                             weights[4], short_limit, cg_above, cg_steps, cells + indices.shape[0], cell_values, cell_scale,
                             shared, bounded, NULL, wide_term)
        solve32 = (K32.solve_row if which == 0 else lapack_f32 if which == 1 else rescue_f32 if which == 2 else
                   K32.solve_row_cg if which == 3 else K32.solve_row_nnls if which == 4 else rescue_nnls_f32)
    else:
        side64 = fa_side_f64(k, Z.shape[1], Z.shape[0], z, &base[0], ridged, weights[0], weights[1], weights[2], weights[3],
                             weights[4], short_limit, cg_above, cg_steps, cells + indices.shape[0], cell_values, cell_scale,
                             shared, bounded, NULL, wide_term)
        solve64 = (K64.solve_row if which == 0 else lapack_f64 if which == 1 else rescue_f64 if which == 2 else
                   K64.solve_row_cg if which == 3 else K64.solve_row_nnls if which == 4 else rescue_nnls_f64)
    # the parts of a row behind the first leave the diagonal out
    cdef fa_side_f32 bare32
    cdef fa_side_f64 bare64
    cdef Py_ssize_t s, first, size, parts, at, some
    cdef Py_ssize_t rhs_at = (K32.system_rows(k) * K32.system_ld(k) if real is float else
                              K64.system_rows(k) * K64.system_ld(k))
    cdef Py_ssize_t at_once = 2 * num_threads
    dtype = np.float32 if real is float else np.float64
    cdef real[::1] nothing = np.zeros(k, dtype)
    cdef real[:, ::1] systems
    if split.shape[0]:
        systems = aligned_empty((1 + at_once, (rhs_at + Z.shape[1] + 15) // 16 * 16), dtype)
        if real is float:
            bare32 = side32
            bare32.base = &nothing[0]
            side32.system = &systems[0, 0]
        else:
            bare64 = side64
            bare64.base = &nothing[0]
            side64.system = &systems[0, 0]
    for s in range(split.shape[0]):
        first = indptr[split[s]]
        size = indptr[split[s] + 1] - first
        parts = (size + FA_PART_CELLS - 1) // FA_PART_CELLS
        for at in range(0, parts, at_once):
            some = min(at_once, parts - at)
            for t in prange(some, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
                tid = threadid()
                if real is float:
                    K32.row_gram(&bare32 if at + t else &side32, min(FA_PART_CELLS, size - (at + t) * FA_PART_CELLS),
                                 cells + first + (at + t) * FA_PART_CELLS, cell_values + first + (at + t) * FA_PART_CELLS,
                                 0 if at + t else lam[split[s]], &systems[1 + t, 0], &systems[1 + t, rhs_at],
                                 &work[tid * stride])
                else:
                    K64.row_gram(&bare64 if at + t else &side64, min(FA_PART_CELLS, size - (at + t) * FA_PART_CELLS),
                                 cells + first + (at + t) * FA_PART_CELLS, cell_values + first + (at + t) * FA_PART_CELLS,
                                 0 if at + t else lam[split[s]], &systems[1 + t, 0], &systems[1 + t, rhs_at],
                                 &work[tid * stride])
            for t in range(some):
                if at + t == 0:
                    memcpy(&systems[0, 0], &systems[1, 0], <size_t>systems.shape[1] * sizeof(real))
                elif real is float:
                    K32.add_system(k, &systems[1 + t, 0], &systems[1 + t, rhs_at], &systems[0, 0], &systems[0, rhs_at])
                else:
                    K64.add_system(k, &systems[1 + t, 0], &systems[1 + t, rhs_at], &systems[0, 0], &systems[0, rhs_at])
        if real is float:
            K32.solve_rows(&side32, K32.solve_row_given, 0, 1, &split[s], &indptr[0], cells, cell_values, &lam[0], q, qt,
                           begin, relaxation, &X[0, 0], &decrease[0], &status[0], &work[0])
        else:
            K64.solve_rows(&side64, K64.solve_row_given, 0, 1, &split[s], &indptr[0], cells, cell_values, &lam[0], q, qt,
                           begin, relaxation, &X[0, 0], &decrease[0], &status[0], &work[0])
    for t in prange(n_tasks, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        if real is float:
            K32.solve_rows(&side32, solve32, t < n_groups, tasks[t + 1] - tasks[t], &order[tasks[t]], &indptr[0], cells,
                           cell_values, &lam[0], q, qt, begin, relaxation, &X[0, 0], &decrease[0], &status[0],
                           &work[tid * stride])
        else:
            K64.solve_rows(&side64, solve64, t < n_groups, tasks[t + 1] - tasks[t], &order[tasks[t]], &indptr[0], cells,
                           cell_values, &lam[0], q, qt, begin, relaxation, &X[0, 0], &decrease[0], &status[0],
                           &work[tid * stride])


def row_system(real[:, ::1] Z, real[::1] base, tuple weights, const int32_t[::1] idx, const real[::1] val,
               const real[::1] scale, real lam):
    """A (k, k) and rhs (k,) of one row, as the kernels build them: for tests and diagnosis."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = base.shape[0], n = idx.shape[0]
    cdef Py_ssize_t ld = K32.system_ld(k) if real is float else K64.system_ld(k)
    cdef Py_ssize_t rows = K32.system_rows(k) if real is float else K64.system_rows(k)
    A = aligned_empty((rows, ld), dtype)
    rhs = aligned_empty((ld,), dtype)
    cdef real[:, ::1] a = A
    cdef real[::1] r = rhs
    cdef unsigned char[::1] work = aligned_empty(thread_bytes(real is float, k), np.uint8)
    cdef const int32_t *cells = &idx[0] if n else NULL
    cdef const real *cell_values = &val[0] if n else NULL
    cdef const real *cell_scale = NULL
    if scale is not None and n:
        cell_scale = &scale[0]
    cdef fa_side_f32 side32
    cdef fa_side_f64 side64
    if real is float:
        side32 = fa_side_f32(k, Z.shape[1], Z.shape[0], &Z[0, 0], &base[0], k, weights[0], weights[1], weights[2], weights[3],
                             weights[4], 0, 0, 1, cells + n, cell_values, cell_scale, NULL, 0, NULL, NULL)
        K32.row_gram(&side32, n, cells, cell_values, lam, &a[0, 0], &r[0], &work[0])
    else:
        side64 = fa_side_f64(k, Z.shape[1], Z.shape[0], &Z[0, 0], &base[0], k, weights[0], weights[1], weights[2], weights[3],
                             weights[4], 0, 0, 1, cells + n, cell_values, cell_scale, NULL, 0, NULL, NULL)
        K64.row_gram(&side64, n, cells, cell_values, lam, &a[0, 0], &r[0], &work[0])
    return np.triu(A[:k, :k]) + np.triu(A[:k, :k], 1).T, rhs[:k].copy()


def posv(real[:, ::1] A, real[::1] rhs):
    """x of A x = rhs for a symmetric positive definite A (k, k), and the status: for tests."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = A.shape[0]
    cdef Py_ssize_t ld = K32.system_ld(k) if real is float else K64.system_ld(k)
    cdef Py_ssize_t rows = K32.system_rows(k) if real is float else K64.system_rows(k)
    system, right, out = aligned_empty((rows, ld), dtype), aligned_empty((ld,), dtype), aligned_empty((ld,), dtype)
    system[:] = np.eye(rows, ld)
    system[:k, :k] = A
    right[:] = 0
    right[:k] = rhs
    out[:] = 0
    cdef real[:, ::1] a = system
    cdef real[::1] r = right
    cdef real[::1] x = out
    cdef int status
    if real is float:
        status = K32.posv(k, &a[0, 0], &r[0], &x[0])
    else:
        status = K64.posv(k, &a[0, 0], &r[0], &x[0])
    return out[:k].copy(), status


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
    void fa_merge_rows(int64_t, int64_t, const int64_t *, const int32_t *, int, const void *, int, const int64_t *,
                       int32_t *, int, void *)


OUT_OF_RANGE, UNSORTED, REPEATED = FA_OUT_OF_RANGE, FA_UNSORTED, FA_REPEATED
NOT_FINITE, INEXACT, HUGE = FA_NOT_FINITE, FA_INEXACT, FA_HUGE
MERGE_POLICIES = {"sum": FA_SUM, "last": FA_LAST, "max": FA_MAX, "mean": FA_MEAN}

cdef dict VALUE_TYPES = {"b1": FA_U8, "i1": FA_I8, "u1": FA_U8, "i2": FA_I16, "u2": FA_U16, "i4": FA_I32,
                         "u4": FA_U32, "i8": FA_I64, "u8": FA_U64, "f4": FA_F32, "f8": FA_F64}

# Cells below which a second thread costs more than it brings.
DEF PART_CELLS = 1 << 15


cdef class Values:
    """A contiguous array of any real dtype for the C side; None is all ones, which are not stored."""
    cdef object array
    cdef int type
    cdef void *data

    def __cinit__(self, array):
        self.array = array
        self.type = FA_F32 if array is None else VALUE_TYPES[array.dtype.str[1:]]
        self.data = NULL if array is None else <void *><uintptr_t>array.ctypes.data


def can_read(dtype):
    """Whether values of this dtype are read as they are."""
    dtype = np.dtype(dtype)
    return dtype.isnative and dtype.str[1:] in VALUE_TYPES


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
    cdef Values values = Values(array)
    cdef int64_t[::1] bounds = even_parts(len(array), 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t
    cdef int[::1] flags = np.zeros(parts, np.intc)
    for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
        flags[t] = fa_check_values(values.type, values.data, bounds[t], bounds[t + 1])
    return int(np.bitwise_or.reduce(flags))


def copy_values(array, dtype, int num_threads):
    """A copy as float32 or float64."""
    result = np.empty(len(array), dtype)
    cdef Values values = Values(array), out = Values(result)
    cdef int64_t[::1] bounds = even_parts(len(array), 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t
    for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
        fa_copy_values(values.type, values.data, bounds[t], bounds[t + 1], out.type, out.data)
    return result


ctypedef fused index_t:
    int32_t
    int64_t


def check_rows(const int64_t[::1] indptr, const index_t[::1] indices, Py_ssize_t size, int32_t[::1] out,
               int num_threads):
    """Flags OUT_OF_RANGE, UNSORTED, REPEATED of the indices, which are copied to ``out`` unless that is None.

    ``indptr`` has been checked: it starts at 0, never falls and ends within ``indices``.
    """
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


def bucket(const int32_t[::1] keys, const int32_t[::1] others, array, Py_ssize_t n_keys, dtype, int num_threads):
    """CSR (indptr, indices, values) of a list of cells, in the list's order within each row.

    ``keys`` are in range(n_keys). values is None where ``array`` is.
    """
    cdef Py_ssize_t n = keys.shape[0], t
    cdef int64_t[::1] bounds = even_parts(n, n_keys, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int64_t[:, ::1] places = np.zeros((parts, n_keys), np.int64)
    indices_out, values_out = np.empty(n, np.int32), None if array is None else np.empty(n, dtype)
    cdef Values values = Values(array), out = Values(values_out)
    cdef int32_t[::1] indices = indices_out
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_count(bounds[t], bounds[t + 1], &keys[0], &places[t, 0])
    indptr = first_places(places)
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_scatter_cells(bounds[t], bounds[t + 1], &keys[0], &others[0], values.type, values.data, &places[t, 0],
                             &indices[0], out.type, out.data)
    return indptr, indices_out, values_out


def transpose(const int64_t[::1] indptr, const int32_t[::1] keys, array, Py_ssize_t n_keys, dtype, int num_threads):
    """The transposed matrix (indptr, indices, values): its indices ascend, equal cells keep their order."""
    cdef Py_ssize_t n = indptr[indptr.shape[0] - 1], t
    cdef int64_t[::1] bounds = row_parts(indptr, n_keys, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int64_t[:, ::1] places = np.zeros((parts, n_keys), np.int64)
    indices_out, values_out = np.empty(n, np.int32), None if array is None else np.empty(n, dtype)
    cdef Values values = Values(array), out = Values(values_out)
    cdef int32_t[::1] indices = indices_out
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_count(indptr[bounds[t]], indptr[bounds[t + 1]], &keys[0], &places[t, 0])
    out_indptr = first_places(places)
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_scatter_rows(bounds[t], bounds[t + 1], &indptr[0], &keys[0], values.type, values.data, &places[t, 0],
                            &indices[0], out.type, out.data)
    return out_indptr, indices_out, values_out


def count_distinct(const int64_t[::1] indptr, const int32_t[::1] indices, array, str policy, int num_threads):
    """indptr of the merged matrix, and the flags of its values; the indices of a row ascend, with repeats."""
    cdef Py_ssize_t rows = indptr.shape[0] - 1, t
    cdef int64_t[::1] bounds = row_parts(indptr, 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1
    cdef int[::1] flags = np.zeros(parts, np.intc)
    cdef Values values = Values(array)
    cdef int which = MERGE_POLICIES[policy]
    result = np.zeros(rows + 1, np.int64)
    cdef int64_t[::1] counts = result
    if indices.shape[0]:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            flags[t] = fa_count_distinct(bounds[t], bounds[t + 1], &indptr[0], &indices[0], values.type, values.data,
                                         which, &counts[1])
    np.cumsum(result, out=result)
    return result, int(np.bitwise_or.reduce(flags))


def merge_rows(const int64_t[::1] indptr, const int32_t[::1] indices, array, str policy,
               const int64_t[::1] out_indptr, dtype, int num_threads):
    """Indices and values of the matrix whose indptr count_distinct gave."""
    cdef int64_t[::1] bounds = row_parts(indptr, 0, num_threads)
    cdef Py_ssize_t parts = bounds.shape[0] - 1, t, n = out_indptr[out_indptr.shape[0] - 1]
    indices_out, values_out = np.empty(n, np.int32), np.empty(n, dtype)
    cdef Values values = Values(array), out = Values(values_out)
    cdef int32_t[::1] merged = indices_out
    cdef int which = MERGE_POLICIES[policy]
    if n:
        for t in prange(parts, nogil=True, schedule="static", chunksize=1, num_threads=num_threads):
            fa_merge_rows(bounds[t], bounds[t + 1], &indptr[0], &indices[0], values.type, values.data, which,
                          &out_indptr[0], &merged[0], out.type, out.data)
    return indices_out, values_out



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


cdef void *address(array):
    return <void *><uintptr_t>array.ctypes.data


cdef class Interner:
    """Codes for strings that arrive in chunks, each chunk shared out to as many tables as there are threads.

    ``keys`` joins the tables, the caller ranks the keys, and ``indices`` turns codes into ranks.
    """
    cdef fa_interner *tables
    cdef int num_threads
    cdef list memory, chunks, joined

    def __cinit__(self, int num_threads):
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
        cdef fa_strings source = fa_strings(FA_FIXED, array.itemsize, 0, <unsigned char *>address(array), NULL, NULL)
        self.add(&source, len(array))

    def add_offsets(self, data, offsets):
        """Strings as Arrow keeps them; returns the first row whose offsets are broken, -1 if there is none."""
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
        start = 0
        for chunk in self.chunks:
            bounds = np.asarray(even_parts(len(chunk), 0, self.num_threads))
            for part_rank, first, last in zip(ranks, bounds, bounds[1:]):
                relabel(part_rank, chunk[first:last], result[start + first : start + last], self.num_threads)
            start += len(chunk)
        return result


def relabel(const int32_t[::1] labels, const int32_t[::1] codes, int32_t[::1] out, int num_threads):
    """out[j] = labels[codes[j]]."""
    cdef Py_ssize_t n = codes.shape[0], j
    cdef int useful = <int>min(<Py_ssize_t>num_threads, 1 + n // PART_CELLS)
    for j in prange(n, nogil=True, schedule="static", num_threads=useful):
        out[j] = labels[codes[j]]


def factorize_table(const index_t[::1] ids, int64_t low, int64_t high, int num_threads):
    """(indices, labels) of integer ids, all in low..high, through a table of that many entries."""
    cdef Py_ssize_t n = ids.shape[0], j
    table_out, result = np.zeros(high - low + 1, np.int32), np.empty(n, np.int32)
    cdef int32_t[::1] table = table_out, indices = result
    for j in range(n):
        table[ids[j] - low] = 1
    present = np.flatnonzero(table_out)
    table_out[present] = np.arange(len(present), dtype=np.int32)
    for j in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        indices[j] = table[ids[j] - low]
    return result, present + low


# ---------------------------------------------------------------------------------------------------------------------
# top-N (src_c/topn/topk.inc.c)


def pack_panels(const real[:, ::1] Y, const int32_t[::1] items, int num_threads):
    """Rows (columns, padded), codes (panels, bytes) and bounds (panels, 4) of the items of each column, -1 for none."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = Y.shape[1], panels = items.shape[0] // FA_PANEL, p
    cdef Py_ssize_t ld = padded(dtype, k), bytes_each = (k + 3) // 4 * 4 * FA_PANEL
    rows, codes = aligned_empty((panels * FA_PANEL, ld), dtype), aligned_empty((panels, bytes_each), np.uint8)
    bounds = np.empty((panels, sizeof(fa_panel) // sizeof(double)))
    cdef real[:, ::1] r = rows
    cdef unsigned char[:, ::1] c = codes
    cdef double[:, ::1] b = bounds
    cdef const real *y = &Y[0, 0] if Y.shape[0] else NULL
    num_threads = min(num_threads, (panels + 63) // 64)
    for p in prange(panels, nogil=True, schedule="dynamic", chunksize=16, num_threads=num_threads):
        if real is float:
            K32.pack_panel(k, y, &items[p * FA_PANEL], &r[p * FA_PANEL, 0], &c[p, 0], <fa_panel *>&b[p, 0])
        else:
            K64.pack_panel(k, y, &items[p * FA_PANEL], &r[p * FA_PANEL, 0], &c[p, 0], <fa_panel *>&b[p, 0])
    return rows, codes, bounds


def top_n(const real[:, ::1] rows, const unsigned char[:, ::1] codes, const double[:, ::1] bounds,
          const int32_t[::1] items, const int32_t[::1] columns, const uint64_t[::1] open_columns,
          const real[:, ::1] X, Py_ssize_t n, tuple seen, tuple excluded, Py_ssize_t group, int num_threads):
    """The n best items (m, n) of each query X (m, k), and their scores; see ``fa_kernels.top_n``.

    ``seen`` and ``excluded`` are None or (first, last, items), one list of items for each query. ``group`` queries are
    searched together, at most FA_QUERIES. There is at least one panel.
    """
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t m = X.shape[0], k = X.shape[1], panels = codes.shape[0], t, count, tid
    cdef Py_ssize_t groups = (m + group - 1) // group
    found, scores = np.empty((m, n), np.int32), np.empty((m, n), dtype)
    cdef int32_t[:, ::1] f = found
    cdef real[:, ::1] s = scores
    if m == 0:
        return found, scores
    # a thread without a group would only be waited for
    num_threads = min(num_threads, groups)
    cdef size_t stride = (K32.top_n_workspace(k, panels, group, n) if real is float
                          else K64.top_n_workspace(k, panels, group, n))
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    cdef fa_lists not_seen = item_lists(seen), not_excluded = item_lists(excluded)
    cdef fa_items_f32 table32
    cdef fa_items_f64 table64
    if real is float:
        table32 = fa_items_f32(k, columns.shape[0], panels, &rows[0, 0], &codes[0, 0], <const fa_panel *>&bounds[0, 0],
                               &items[0], &columns[0], &open_columns[0])
    else:
        table64 = fa_items_f64(k, columns.shape[0], panels, &rows[0, 0], &codes[0, 0], <const fa_panel *>&bounds[0, 0],
                               &items[0], &columns[0], &open_columns[0])
    for t in prange(groups, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        count = group if (t + 1) * group < m else m - t * group
        if real is float:
            K32.top_n(&table32, t * group, count, &X[0, 0], n, &not_seen, &not_excluded, &f[0, 0], &s[0, 0],
                      &work[tid * stride])
        else:
            K64.top_n(&table64, t * group, count, &X[0, 0], n, &not_seen, &not_excluded, &f[0, 0], &s[0, 0],
                      &work[tid * stride])
    return found, scores


cdef fa_lists item_lists(tuple lists) except *:
    """The caller keeps the arrays alive."""
    cdef const int64_t[::1] first, last
    cdef const int32_t[::1] items
    if lists is None:
        return fa_lists(NULL, NULL, NULL)
    first, last, items = lists
    cdef const int32_t *start = &items[0] if items.shape[0] else NULL
    return fa_lists(&first[0], &last[0], start)


DEF PAIR_BLOCK = 4096


def pair_scores(const real[:, ::1] X, const real[:, ::1] Y, const int32_t[::1] users, const int32_t[::1] items,
                int num_threads):
    """x'y of the rows users[j] of X and items[j] of Y, in the bits that ``top_n`` gives; NaN where an index is -1."""
    cdef Py_ssize_t n = users.shape[0], k = X.shape[1], t, count, blocks = (n + PAIR_BLOCK - 1) // PAIR_BLOCK
    scores = np.empty(n, np.float32 if real is float else np.float64)
    cdef real[::1] s = scores
    cdef const real *x = &X[0, 0] if X.shape[0] else NULL
    cdef const real *y = &Y[0, 0] if Y.shape[0] else NULL
    num_threads = min(num_threads, max(1, blocks))
    for t in prange(blocks, nogil=True, schedule="static", num_threads=num_threads):
        count = PAIR_BLOCK if (t + 1) * PAIR_BLOCK < n else n - t * PAIR_BLOCK
        if real is float:
            K32.pair_scores(count, k, x, y, &users[t * PAIR_BLOCK], &items[t * PAIR_BLOCK], &s[t * PAIR_BLOCK])
        else:
            K64.pair_scores(count, k, x, y, &users[t * PAIR_BLOCK], &items[t * PAIR_BLOCK], &s[t * PAIR_BLOCK])
    return scores


# ---------------------------------------------------------------------------------------------------------------------
# rows of sparse products (src_c/neighbours/product.h is the manual)

cdef extern from "neighbours/product.h" nogil:
    enum: FA_SUM_ONLY, FA_BY_ROW, FA_BY_MATRIX

    ctypedef struct fa_product:
        int64_t n_columns
        const int64_t *indptr
        const int32_t *indices
        const float *values
        int weighting
        const double *base
        const double *norms
        double shrinkage
        const unsigned char *open

    size_t fa_product_workspace(const fa_product *, int64_t)
    void fa_product_best(const fa_product *, int64_t, const int32_t *, const float *, double, int64_t, const int32_t *,
                         int64_t, int32_t *, float *, void *)
    void fa_product_at(const fa_product *, int64_t, const int32_t *, const float *, int64_t, const int32_t *, float *,
                       void *)

WEIGHTINGS = {None: FA_SUM_ONLY, "row": FA_BY_ROW, "matrix": FA_BY_MATRIX}


cdef fa_product sparse_product(Py_ssize_t n_columns, tuple matrix, weighting, const double[::1] base,
                               const double[::1] norms, double shrinkage, const unsigned char[::1] open) except *:
    """The caller keeps the arrays alive."""
    cdef const int64_t[::1] indptr
    cdef const int32_t[::1] indices
    cdef const float[::1] values
    indptr, indices, values = matrix
    cdef fa_product product
    product.n_columns, product.weighting, product.shrinkage = n_columns, WEIGHTINGS[weighting], shrinkage
    product.indptr = &indptr[0]
    product.indices = &indices[0] if indices.shape[0] else NULL
    product.values = &values[0] if values.shape[0] else NULL
    product.base = product.norms = NULL
    product.open = NULL
    if base is not None:
        product.base = &base[0]
    if norms is not None:
        product.norms = &norms[0]
    if open is not None:
        product.open = &open[0]
    return product


def product_best(tuple rows, const float[::1] values, tuple matrix, Py_ssize_t n_columns, Py_ssize_t n, int num_threads,
                 *, weighting=None, base=None, row_norms=None, norms=None, double shrinkage=0, tuple hidden=None,
                 open=None):
    """The n best columns (m, n) of rows of a product, and their scores; see ``fa_product_best``.

    ``rows``, the left factor, and ``hidden`` (or None) are lists (first, last, items), the cells of row r
    ``items[first[r]:last[r]]`` with ``values`` beside them; ``matrix`` is (indptr, indices, values).
    """
    cdef Py_ssize_t m = len(rows[0]), r
    found, scores = np.empty((m, n), np.int32), np.empty((m, n), np.float32)
    if m == 0:
        return found, scores
    cdef fa_product product = sparse_product(n_columns, matrix, weighting, base, norms, shrinkage, open)
    cdef fa_lists left = item_lists(rows), hide = item_lists(hidden)
    cdef const double[::1] norm_of = row_norms
    cdef bint with_norms = row_norms is not None
    cdef const float *w = &values[0] if values.shape[0] else NULL
    cdef int32_t[:, ::1] f = found
    cdef float[:, ::1] s = scores
    cdef size_t stride = (fa_product_workspace(&product, n) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    workspace = aligned_empty(num_threads * stride, np.uint8)
    workspace[:] = 0
    cdef unsigned char[::1] work = workspace
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=8, num_threads=num_threads):
        fa_product_best(&product, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
                        norm_of[r] if with_norms else 0, hide.last[r] - hide.first[r] if hide.first != NULL else 0,
                        hide.items + hide.first[r] if hide.first != NULL else NULL, n, &f[r, 0], &s[r, 0],
                        &work[threadid() * stride])
    return found, scores


def product_at(tuple rows, const float[::1] values, tuple matrix, Py_ssize_t n_columns, tuple at, int num_threads, *,
               weighting=None, base=None):
    """Scores of the columns ``at``, lists (first, last, columns) for each of the ``rows``; see ``fa_product_at``."""
    cdef Py_ssize_t m = len(rows[0]), r
    scores = np.empty(len(at[2]), np.float32)
    if m == 0:
        return scores
    cdef fa_product product = sparse_product(n_columns, matrix, weighting, base, None, 0, None)
    cdef fa_lists left = item_lists(rows), columns = item_lists(at)
    cdef const float *w = &values[0] if values.shape[0] else NULL
    cdef float[::1] s = scores
    cdef float *out = &s[0] if s.shape[0] else NULL
    cdef size_t stride = (fa_product_workspace(&product, 1) + FA_ALIGN - 1) // FA_ALIGN * FA_ALIGN
    workspace = aligned_empty(num_threads * stride, np.uint8)
    workspace[:] = 0
    cdef unsigned char[::1] work = workspace
    for r in prange(m, nogil=True, schedule="dynamic", chunksize=8, num_threads=num_threads):
        fa_product_at(&product, left.last[r] - left.first[r], left.items + left.first[r], w + left.first[r],
                      columns.last[r] - columns.first[r], columns.items + columns.first[r], out + columns.first[r],
                      &work[threadid() * stride])
    return scores
