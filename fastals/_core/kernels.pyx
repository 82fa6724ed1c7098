# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=False, freethreading_compatible=True
"""Rows and lists: the row equation, whole sides, top-N. Parallel loops, workspaces, LAPACK bindings, a status per row.

What arrays hold has passed the gate and is trusted: finite values, indices of cells in range. That they fit each other is
checked at the door (``door.pxi``): a mismatch is a ValueError or an IndexError, never a read outside. One ``prange`` per
call; what a row computes depends on that row alone, and sums over rows are made of blocks fixed by the data, so every
number of threads gives the same bits.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython.parallel cimport prange, threadid
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

include "door.pxi"

ctypedef fused real:
    float
    double

# ---------------------------------------------------------------------------------------------------------------------
# the C side (src_c/core/fastals.h is the manual)

cdef extern from "core/fastals.h" nogil:
    enum: FA_ISAS, FA_TASK_ROWS, FA_GROUP_ROWS, FA_PART_CELLS, FA_CG_CELLS, FA_PANEL, FA_QUERIES

    ctypedef struct fa_panel:
        double norm, rest, step, error

    ctypedef struct fa_boost:
        const int32_t *rows
        const double *weights
        const double *largest
        const double *reach
        double most

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
        const int32_t *cuts

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
        const int32_t *cuts

    ctypedef struct fa_own_f32:
        float lambda_ "lambda"
        float last, share
        const float *pull

    ctypedef struct fa_own_f64:
        double lambda_ "lambda"
        double last, share
        const double *pull

    ctypedef struct fa_owns_f32:
        const float *lambda_ "lambda"
        const float *share
        const float *means
        const float *strength
        const float *last

    ctypedef struct fa_owns_f64:
        const double *lambda_ "lambda"
        const double *share
        const double *means
        const double *strength
        const double *last

    ctypedef int (*fa_row_solver_f32)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *,
                                      const fa_own_f32 *, float *, double *, void *) noexcept nogil
    ctypedef int (*fa_row_solver_f64)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *,
                                      const fa_own_f64 *, double *, double *, void *) noexcept nogil

    ctypedef struct fa_items_f32:
        Py_ssize_t k, n_items, panels
        const float *Y
        const unsigned char *codes
        const fa_panel *bounds
        const int32_t *items
        const int32_t *columns
        const uint64_t *open
        const fa_boost *boost

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
        void (*row_gram)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, const fa_own_f32 *, float *,
                         float *, void *) noexcept nogil
        void (*add_system)(Py_ssize_t, const float *, const float *, float *, float *) noexcept nogil
        void (*row_system)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, const fa_own_f32 *, double *,
                           double *) noexcept nogil
        double (*row_decrease)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, const fa_own_f32 *,
                               const float *, double *) noexcept nogil
        int (*posv)(Py_ssize_t, float *, float *, float *) noexcept nogil
        int (*refine)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, const fa_own_f32 *, const float *,
                      float *, double, double *, void *) noexcept nogil
        fa_row_solver_f32 solve_row
        fa_row_solver_f32 solve_row_given
        fa_row_solver_f32 solve_row_cg
        int (*nnls)(Py_ssize_t, Py_ssize_t, const float *, const float *, float *, void *) noexcept nogil
        fa_row_solver_f32 solve_row_nnls
        Py_ssize_t (*cg_block)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*cg_group)(Py_ssize_t) noexcept nogil
        void (*solve_rows)(const fa_side_f32 *, fa_row_solver_f32, int, Py_ssize_t, const int32_t *, const int64_t *,
                           const int32_t *, const float *, const fa_owns_f32 *, const float *, const float *,
                           const float *, float, float *, double *, int32_t *, void *) noexcept nogil
        void (*pack_panel)(Py_ssize_t, const float *, const int32_t *, float *, unsigned char *, fa_panel *) noexcept nogil
        int (*top_n)(const fa_items_f32 *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const fa_lists *,
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
        const fa_boost *boost

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
        void (*row_gram)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, const fa_own_f64 *, double *,
                         double *, void *) noexcept nogil
        void (*add_system)(Py_ssize_t, const double *, const double *, double *, double *) noexcept nogil
        void (*row_system)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, const fa_own_f64 *, double *,
                           double *) noexcept nogil
        double (*row_decrease)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, const fa_own_f64 *,
                               const double *, double *) noexcept nogil
        int (*posv)(Py_ssize_t, double *, double *, double *) noexcept nogil
        int (*refine)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, const fa_own_f64 *, const double *,
                      double *, double, double *, void *) noexcept nogil
        fa_row_solver_f64 solve_row
        fa_row_solver_f64 solve_row_given
        fa_row_solver_f64 solve_row_cg
        int (*nnls)(Py_ssize_t, Py_ssize_t, const double *, const double *, double *, void *) noexcept nogil
        fa_row_solver_f64 solve_row_nnls
        Py_ssize_t (*cg_block)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*cg_group)(Py_ssize_t) noexcept nogil
        void (*solve_rows)(const fa_side_f64 *, fa_row_solver_f64, int, Py_ssize_t, const int32_t *, const int64_t *,
                           const int32_t *, const double *, const fa_owns_f64 *, const double *, const double *,
                           const double *, double, double *, double *, int32_t *, void *) noexcept nogil
        void (*pack_panel)(Py_ssize_t, const double *, const int32_t *, double *, unsigned char *, fa_panel *) noexcept nogil
        int (*top_n)(const fa_items_f64 *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const fa_lists *,
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
    within("k", k, 0, MOST)
    return K32.padded(k) if dtype == np.float32 else K64.padded(k)


def cg_group(dtype, Py_ssize_t k):
    """Rows that one group for conjugate gradients may hold."""
    within("k", k, 1, MOST)
    return K32.cg_group(k) if dtype == np.float32 else K64.cg_group(k)


def cg_block(dtype, Py_ssize_t k):
    """Rows of the other side that stay in the cache together."""
    within("k", k, 1, MOST)
    return K32.cg_block(k) if dtype == np.float32 else K64.cg_block(k)


def short_limit(dtype, Py_ssize_t k):
    """The longest row for which the n x n form costs less than the k x k form."""
    within("k", k, 1, MOST)
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
DEF WIDENED = 128  # rows that are copied at once, to float64 or by their scale


cdef bint any_outside(Py_ssize_t n, const int32_t *indices, Py_ssize_t low, Py_ssize_t size) noexcept nogil:
    cdef int32_t least = 0, most = -1
    cdef Py_ssize_t i
    for i in range(n):
        least = min(least, indices[i])
        most = max(most, indices[i])
    return least < low or most >= size


cdef int indices_within(str what, const int32_t[::1] indices, Py_ssize_t low, Py_ssize_t size) except -1:
    """IndexError unless low <= index < size."""
    if indices.shape[0] and any_outside(indices.shape[0], &indices[0], low, size):
        raise IndexError(f"{what} must be in {low}..{size - 1}, got {np.min(indices)}..{np.max(indices)}")
    return 0


cdef int check_weights(tuple weights) except -1:
    """(a0, a1, b0, b1, positive_only)"""
    return within("length of weights", len(weights), 5, 5)


cdef const real *matrix_or_null(str what, const real[:, ::1] A, Py_ssize_t rows, Py_ssize_t columns) except? NULL:
    """Where a matrix of this shape, which may be None, begins."""
    if A is None:
        return NULL
    fits(what, A.shape, rows, columns)
    return &A[0, 0]


cdef int check_cells(Py_ssize_t n, const int64_t[::1] indptr, Py_ssize_t cells, const real[::1] values,
                     const real[::1] scale) except -1:
    """n rows of ``cells`` stored cells."""
    fits("indptr", indptr.shape, n + 1)
    spans("indptr", n, &indptr[0], &indptr[1], cells)
    fits("values", values.shape, cells)
    if scale is not None:
        fits("scale", scale.shape, cells)
    return 0


cdef inline void copied(const real *Y, Py_ssize_t n, Py_ssize_t k, const real *scale, bint ones, real *out) noexcept nogil:
    """n rows, each times its scale (NULL: 1), after their last column was made one of ones where ``ones``."""
    cdef Py_ssize_t i, c
    for i in range(n):
        for c in range(k):
            out[i * k + c] = Y[i * k + c]
        if ones:
            out[i * k + k - 1] = 1
        if scale != NULL:
            for c in range(k):
                out[i * k + c] = out[i * k + c] * scale[i]


def gram(const real[:, ::1] Y not None, int num_threads, bint wide=False, const real[::1] scale=None, bint ones=False,
         before=None):
    """Y'Y (k, k) in float64, in parts of PART_ROWS rows; with ``wide`` every sum is in float64, not only that of parts.

    Each row is taken times its ``scale``; with ``ones`` the last column is one of ones, whatever it holds. The sum goes
    on from ``before``, which is that of the rows before these: of whole parts.
    """
    within("num_threads", num_threads, 1, MOST)
    if scale is not None:
        fits("scale", scale.shape, Y.shape[0])
    cdef Py_ssize_t n = Y.shape[0], k = Y.shape[1], t, i, c, first, begin, last, some, tid
    cdef Py_ssize_t parts = (n + ROWS - 1) // ROWS if k else 0, count
    cdef double[:, :, ::1] partial = np.empty((min(parts, PARTS_AT_ONCE), k, k))
    cdef size_t stride = max(thread_bytes(False, k), thread_bytes(True, k))
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    cdef double[:, :, ::1] rooms = np.empty((num_threads, WIDENED, k)) if real is float and wide else np.empty((1, 1, 1))
    cdef bint copies = ones or scale is not None
    cdef real[:, :, ::1] taken = np.empty((num_threads if copies else 0, WIDENED, k),
                                          np.float32 if real is float else np.float64)
    cdef const real *weight = NULL
    cdef const real *rows
    if scale is not None and scale.shape[0]:
        weight = &scale[0]
    cdef double[:, ::1] G = np.zeros((k, k)) if before is None else np.array(before)
    fits("before", G.shape, k, k)
    for begin in range(0, parts, PARTS_AT_ONCE):
        count = min(parts - begin, PARTS_AT_ONCE)
        for t in prange(count, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            tid = threadid()
            first = (begin + t) * ROWS
            last = first + ROWS if first + ROWS < n else n
            memset(&partial[t, 0, 0], 0, <size_t>(k * k) * sizeof(double))
            # the kernel, too, sums WIDENED rows before it goes on
            while first < last:
                some = min(WIDENED, last - first) if copies or wide else last - first
                rows = &Y[first, 0]
                if copies:
                    copied(rows, some, k, weight + first if weight != NULL else NULL, ones, &taken[tid, 0, 0])
                    rows = &taken[tid, 0, 0]
                if real is float and not wide:
                    K32.gram(some, k, rows, k, &partial[t, 0, 0], &work[tid * stride])
                elif real is float:
                    for i in range(some):
                        for c in range(k):
                            rooms[tid, i, c] = <double>rows[i * k + c]
                    K64.gram(some, k, &rooms[tid, 0, 0], k, &partial[t, 0, 0], &work[tid * stride])
                else:
                    K64.gram(some, k, rows, k, &partial[t, 0, 0], &work[tid * stride])
                first = first + some
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


def sum_rows(const double[::1] values not None):
    """The sum of one number a row, in parts of PART_ROWS rows."""
    cdef Py_ssize_t n = values.shape[0], t, i
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    for t in range(parts.shape[0]):
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            parts[t] += values[i]
    return in_order(parts)


cdef int check_prior(const real[:, ::1] means, const real[::1] strength, const real[::1] last, Py_ssize_t n,
                     Py_ssize_t k) except -1:
    """Means (n, k), strength (n,) and last (n,), or all None."""
    if means is None and strength is None and last is None:
        return 0
    if means is None or strength is None or last is None:
        raise ValueError("means, strength and last go together")
    fits("means", means.shape, n, k)
    fits("strength", strength.shape, n)
    fits("last", last.shape, n)
    return 0


def penalty(const real[:, ::1] X not None, const real[::1] lam not None, Py_ssize_t ridged, double own,
            int num_threads, const real[:, ::1] means=None, const real[::1] strength=None, const real[::1] last=None):
    """Sum of lam_u |x_u|^2 over the first ``ridged`` columns, and of own x^2 over the others; in parts of rows.

    With means (n, k) also of strength_u |x_u - m_u|^2 over the first ``ridged`` columns, of last_u (x - m)^2 over the
    others.
    """
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], t, i, c
    cdef bint drawn = means is not None
    check_prior(means, strength, last, n, k)
    fits("lam", lam.shape, n)
    within("ridged", ridged, 0, k)
    within("num_threads", num_threads, 1, MOST)
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
            if drawn:
                row = 0
                for c in range(ridged):
                    x = <double>X[i, c] - <double>means[i, c]
                    row = row + x * x
                part = part + <double>strength[i] * row
                for c in range(ridged, k):
                    x = <double>X[i, c] - <double>means[i, c]
                    part = part + <double>last[i] * x * x
        parts[t] = part
    return in_order(parts)


def constant(tuple weights not None, double unobserved, const int64_t[::1] indptr not None,
             const real[::1] values not None, const real[::1] scale, int num_threads, double[::1] of_rows=None,
             const int32_t[::1] indices=None, const real[::1] share=None, const real[::1] other_share=None):
    """Sum of b^2 / (w0 + a) over the stored cells, in float64 and in parts of rows; ``weights`` as for half_sweep.

    Each row's own sum goes to ``of_rows``: that of all rows, whichever calls they were in, is ``sum_rows`` of these.
    w0 is ``unobserved`` times the shares of the row and, by ``indices``, of the other; None: 1.
    """
    check_weights(weights)
    within("rows of indptr", indptr.shape[0] - 1, 0, MOST)
    check_cells(indptr.shape[0] - 1, indptr, values.shape[0], values, scale)
    within("num_threads", num_threads, 1, MOST)
    if of_rows is not None:
        fits("of_rows", of_rows.shape, indptr.shape[0] - 1)
    if share is not None:
        fits("share", share.shape, indptr.shape[0] - 1)
    if other_share is not None:
        if indices is None:
            raise ValueError("other_share goes with indices")
        fits("indices", indices.shape, values.shape[0])
        indices_within("indices", indices, 0, other_share.shape[0])
    cdef double a0 = weights[0], a1 = weights[1], b0 = weights[2], b1 = weights[3]
    cdef bint positive_only = weights[4], weighted = scale is not None, told = of_rows is not None
    cdef bint shared = share is not None, other_shared = other_share is not None
    cdef Py_ssize_t n = indptr.shape[0] - 1, t, i
    cdef int64_t j
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    cdef double part, row, a, b, r, s, w0, w
    for t in prange(parts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        part = 0
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            row = 0
            w0 = unobserved * <double>share[i] if shared else unobserved
            for j in range(indptr[i], indptr[i + 1]):
                r = <double>values[j]
                s = <double>scale[j] if weighted else 1.0
                w = w0 * <double>other_share[indices[j]] if other_shared else w0
                a = w + s * (a0 + a1 * (r if r > 0 else -r))
                b = 0 if positive_only and not r > 0 else s * (b0 + b1 * r)
                if a > 0:
                    row = row + b * b / a
            part = part + row
            if told:
                of_rows[i] = row
        parts[t] = part
    return in_order(parts)


def decrease_of_cells(const real[:, ::1] X not None, const real[:, ::1] Z not None, tuple weights not None,
                      const int64_t[::1] indptr not None, const int32_t[::1] indices not None,
                      const real[::1] values not None, const real[::1] scale, int num_threads,
                      double[::1] of_rows=None):
    """Sum of 2 b s - a s^2 over the stored cells, s = x.z their scores, in float64 and in parts of rows.

    Z (n_others, padded) as from ``rotate``; ``weights`` as for half_sweep, ``of_rows`` as for constant.
    """
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], ld = Z.shape[1], t, i, tid
    cdef double[::1] parts = np.zeros((n + ROWS - 1) // ROWS)
    dtype = np.float32 if real is float else np.float64
    fits("Z", Z.shape, Z.shape[0], padded(dtype, k))
    check_weights(weights)
    check_cells(n, indptr, indices.shape[0], values, scale)
    within("num_threads", num_threads, 1, MOST)
    if of_rows is not None:
        fits("of_rows", of_rows.shape, n)
    cdef real[::1] base = np.zeros(ld, dtype)
    cdef real[:, ::1] rows = np.zeros((num_threads, ld + FA_ALIGN), dtype)
    cdef double part, row
    cdef bint told = of_rows is not None
    cdef const int32_t *cells = &indices[0] if indices.shape[0] else NULL
    cdef const real *cell_values = &values[0] if values.shape[0] else NULL
    cdef const real *cell_scale = NULL
    if scale is not None and scale.shape[0]:
        cell_scale = &scale[0]
    cdef const real *z = &Z[0, 0] if Z.shape[0] else NULL
    cdef fa_side_f32 side32
    cdef fa_side_f64 side64
    cdef fa_own_f32 own32 = fa_own_f32(0, 0, 0, NULL)
    cdef fa_own_f64 own64 = fa_own_f64(0, 0, 0, NULL)
    if real is float:
        side32 = fa_side_f32(k, ld, Z.shape[0], z, &base[0], 0, weights[0], weights[1], weights[2], weights[3], weights[4],
                             0, 0, 1, cells + indices.shape[0], cell_values, cell_scale, NULL, 0, NULL, NULL, NULL)
    else:
        side64 = fa_side_f64(k, ld, Z.shape[0], z, &base[0], 0, weights[0], weights[1], weights[2], weights[3], weights[4],
                             0, 0, 1, cells + indices.shape[0], cell_values, cell_scale, NULL, 0, NULL, NULL, NULL)
    for t in prange(parts.shape[0], nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        part = 0
        for i in range(t * ROWS, min((t + 1) * ROWS, n)):
            memcpy(&rows[tid, 0], &X[i, 0], <size_t>k * sizeof(real))
            if real is float:
                row = K32.row_decrease(&side32, indptr[i + 1] - indptr[i], cells + indptr[i], cell_values + indptr[i],
                                       &own32, &rows[tid, 0], NULL)
            else:
                row = K64.row_decrease(&side64, indptr[i + 1] - indptr[i], cells + indptr[i], cell_values + indptr[i],
                                       &own64, &rows[tid, 0], NULL)
            part = part + row
            if told:
                of_rows[i] = row
        parts[t] = part
    return in_order(parts)


def less(const real[::1] values not None, const int32_t[::1] indices not None, const real[::1] offsets not None,
         real[::1] out not None, int num_threads):
    """out[j] = values[j] - offsets[indices[j]]; ``out`` may be ``values``."""
    cdef Py_ssize_t n = values.shape[0], j
    fits("indices", indices.shape, n)
    fits("out", out.shape, n)
    within("num_threads", num_threads, 1, MOST)
    for j in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        out[j] = values[j] - offsets[indices[j]]


def go_beyond(real[:, ::1] before not None, const real[:, ::1] X not None, double relaxation, int num_threads):
    """before = X + relaxation (X - before): as far again, or so much of it, as the last step led."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], i, c
    fits("before", before.shape, n, k)
    within("num_threads", num_threads, 1, MOST)
    cdef real step = <real>-relaxation
    for i in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        for c in range(k):
            before[i, c] = (before[i, c] - X[i, c]) * step + X[i, c]


def last_column(const real[:, ::1] X not None, const unsigned char[::1] held not None, int num_threads):
    """The last column in float64, with zeros in rows that are not ``held``."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], i
    fits("held", held.shape, n)
    within("factors", k, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    column = np.empty(n)
    cdef double[::1] out = column
    for i in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        out[i] = <double>X[i, k - 1] if held[i] else 0
    return column


def shift_last_column(real[:, ::1] X not None, const unsigned char[::1] held not None, double by, int num_threads):
    """Add a number to the last column of the rows ``held``."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], i
    cdef real step = <real>by
    fits("held", held.shape, n)
    within("factors", k, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    for i in prange(n, nogil=True, schedule="static", num_threads=num_threads):
        if held[i]:
            X[i, k - 1] = X[i, k - 1] + step


def rotate(const real[:, ::1] Y not None, const real[:, ::1] Q, int num_threads, bint ones=False):
    """Padded, aligned Z = Y Q; Q (k, padded) or None for a padded copy. ``ones`` as for gram."""
    cdef Py_ssize_t n = Y.shape[0], k = Y.shape[1], t, first, count, tid
    cdef Py_ssize_t ld = padded(np.float32 if real is float else np.float64, k)
    cdef const real *q = matrix_or_null("Q", Q, k, ld)
    within("num_threads", num_threads, 1, MOST)
    out = aligned_empty((n, ld), np.float32 if real is float else np.float64)
    cdef real[:, ::1] Z = out
    cdef real[:, :, ::1] taken = np.empty((num_threads if ones else 0, 256, k),
                                          np.float32 if real is float else np.float64)
    cdef const real *rows
    for t in prange((n + 255) // 256, nogil=True, schedule="static", num_threads=num_threads):
        tid = threadid()
        first = t * 256
        count = 256 if first + 256 < n else n - first
        rows = &Y[first, 0]
        if ones:
            copied(rows, count, k, NULL, True, &taken[tid, 0, 0])
            rows = &taken[tid, 0, 0]
        if real is float:
            K32.rotate(count, k, rows, k, q, &Z[first, 0])
        else:
            K64.rotate(count, k, rows, k, q, &Z[first, 0])
    return out


def turn(const real[:, ::1] X not None, const real[:, ::1] C not None, real[:, ::1] out not None, int num_threads):
    """``out`` (n, k), which may be X, = X C; C (k, padded). What a row becomes depends on it alone."""
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], ld = C.shape[1], t, i, first, count, tid
    fits("C", C.shape, k, padded(np.float32 if real is float else np.float64, k))
    fits("out", out.shape, n, k)
    within("num_threads", num_threads, 1, MOST)
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


cdef inline void add_wide(Py_ssize_t k, const double *wide, double share, double *A) noexcept nogil:
    """A row's share of the common term, which row_system leaves out where nothing is turned."""
    cdef Py_ssize_t p
    if wide != NULL:
        for p in range(k * k):
            A[p] += share * wide[p]


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


cdef int lapack_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, const fa_own_f32 *own,
                    float *x, double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K32.system_ld(side.k), p
    cdef float *A = <float *>work
    cdef float *rhs = A + K32.system_rows(side.ld) * ld
    cdef int info
    cdef double right = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0 and own.pull == NULL:
        return 0
    K32.row_gram(side, n, idx, val, own, A, rhs, rhs + 2 * ld)
    info = posv_row(side.k, ld, A, rhs, x, rhs + ld)
    decrease[0] = 0
    for p in range(side.k):
        decrease[0] += <double>x[p] * rhs[p]
        right += <double>rhs[p] * rhs[p]
    if info == 0:
        info = K32.refine(side, n, idx, val, own, A, x, right, decrease, rhs + 2 * ld)
    if info:
        decrease[0] = 0
        memset(x, 0, <size_t>side.ld * sizeof(float))
    return info


cdef int lapack_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, const fa_own_f64 *own,
                    double *x, double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K64.system_ld(side.k), p
    cdef double *A = <double *>work
    cdef double *rhs = A + K64.system_rows(side.ld) * ld
    cdef int info
    cdef double right = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0 and own.pull == NULL:
        return 0
    K64.row_gram(side, n, idx, val, own, A, rhs, rhs + 2 * ld)
    info = posv_row(side.k, ld, A, rhs, x, rhs + ld)
    decrease[0] = 0
    for p in range(side.k):
        decrease[0] += <double>x[p] * rhs[p]
        right += <double>rhs[p] * rhs[p]
    if info == 0:
        info = K64.refine(side, n, idx, val, own, A, x, right, decrease, rhs + 2 * ld)
    if info:
        decrease[0] = 0
        memset(x, 0, <size_t>side.ld * sizeof(double))
    return info


cdef int rescue_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, const fa_own_f32 *own,
                    float *x, double *decrease, void *work) noexcept nogil:
    memset(x, 0, <size_t>side.ld * sizeof(float))
    K32.row_system(side, n, idx, val, own, <double *>work, <double *>work + side.k * side.k)
    add_wide(side.k, side.wide, own.share, <double *>work)
    return rescue_row(side.k, side.ridged, <double *>work, own.lambda_, x, decrease)


cdef int rescue_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, const fa_own_f64 *own,
                    double *x, double *decrease, void *work) noexcept nogil:
    memset(x, 0, <size_t>side.ld * sizeof(double))
    K64.row_system(side, n, idx, val, own, <double *>work, <double *>work + side.k * side.k)
    add_wide(side.k, side.wide, own.share, <double *>work)
    return rescue_row(side.k, side.ridged, <double *>work, own.lambda_, x, decrease)


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


cdef int rescue_nnls_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, const fa_own_f32 *own,
                         float *x, double *decrease, void *work) noexcept nogil:
    cdef double *system = <double *>work + (2 * K64.system_rows(side.k) + 10) * K64.system_ld(side.k)
    memset(x, 0, <size_t>side.ld * sizeof(float))
    K32.row_system(side, n, idx, val, own, system, system + side.k * side.k)
    add_wide(side.k, side.wide, own.share, system)
    return rescue_nnls_row[float](side.k, side.bounded, system, <double *>work, x, decrease)


cdef int rescue_nnls_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, const fa_own_f64 *own,
                         double *x, double *decrease, void *work) noexcept nogil:
    cdef double *system = <double *>work + (2 * K64.system_rows(side.k) + 10) * K64.system_ld(side.k)
    memset(x, 0, <size_t>side.ld * sizeof(double))
    K64.row_system(side, n, idx, val, own, system, system + side.k * side.k)
    add_wide(side.k, side.wide, own.share, system)
    return rescue_nnls_row[double](side.k, side.bounded, system, <double *>work, x, decrease)


# ---------------------------------------------------------------------------------------------------------------------
# the half-sweep

SOLVERS = {"cholesky": 0, "lapack": 1, "rescue": 2, "cg": 3, "nnls": 4, "rescue nnls": 5}


cdef Py_ssize_t check_tasks(const int32_t[::1] order, const int64_t[::1] tasks, Py_ssize_t n_groups,
                            Py_ssize_t most_of_group, Py_ssize_t n) except -1:
    """The rows of the largest group; ``tasks`` divide ``order``, which names rows of n."""
    cdef Py_ssize_t n_tasks = tasks.shape[0] - 1, largest = 0, t
    within("tasks", n_tasks, 0, MOST)
    within("n_groups", n_groups, 0, n_tasks)
    indices_within("order", order, 0, n)
    spans("tasks", n_tasks, &tasks[0], &tasks[1], order.shape[0])
    for t in range(n_groups):
        largest = max(largest, tasks[t + 1] - tasks[t])
    within("rows of a group", largest, 0, most_of_group)
    for t in range(n_groups, n_tasks):
        if tasks[t + 1] - tasks[t] > FA_TASK_ROWS:
            within("rows of a task", tasks[t + 1] - tasks[t], 0, FA_TASK_ROWS)
    return largest


def half_sweep(str solver not None, const real[:, ::1] Z not None, const real[::1] base not None, Py_ssize_t ridged,
               tuple weights not None, Py_ssize_t short_limit, Py_ssize_t cg_above, int cg_steps,
               const int32_t[::1] order not None, const int64_t[::1] tasks not None, Py_ssize_t n_groups,
               const int32_t[::1] split not None, const int64_t[::1] indptr not None,
               const int32_t[::1] indices not None, const real[::1] values not None, const real[::1] scale,
               const real[::1] lam not None, const real[:, ::1] common, const double[:, ::1] wide, Py_ssize_t bounded,
               const real[:, ::1] Q, const real[:, ::1] QT, const real[:, ::1] start, double relaxation,
               real[:, ::1] X not None, double[::1] decrease not None, int32_t[::1] status not None, int num_threads,
               Py_ssize_t n_other=-1, const int32_t[::1] cuts=None, const real[::1] share=None,
               const real[:, ::1] means=None, const real[::1] strength=None, const real[::1] last=None):
    """Solve the rows ``order``, task t being ``order[tasks[t]:tasks[t + 1]]``, into X.

    The first ``n_groups`` tasks are groups of up to cg_group long rows for "cg", the others hold up to TASK_ROWS rows. The
    rows ``split`` are solved before them, and exactly: each one's parts are shared out to all threads.

    Z, base and ridged describe the other side as ``fa_side`` does, weights are its (a0, a1, b0, b1, positive_only); scale
    holds the cells' own weights, or is None. QT is the transposed rotation with padded rows, Q the rotation, or None. With
    ``start``, which may be X, the rows start from what it holds, and go beyond their solution by relaxation times the
    step. decrease[row] gets by how much a row lowers the objective, beside zeros; status[row] is 0 for a solved row; others
    hold zeros in X. common (k, padded) or None and bounded are for "nnls", wide (k, k) or None for "rescue" and "rescue
    nnls", as in ``fa_side``.

    Where Z holds but some rows of the other side, ascending, n_other is how many that has, and cuts as in ``fa_side``.

    share (n,) is that of ``fa_owns``, likewise means (n, k), strength (n,) and last (n,), or all three are None.
    """
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t n = X.shape[0], k = X.shape[1], ld = padded(dtype, k), n_tasks = tasks.shape[0] - 1, t, tid
    within("factors", k, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    fits("Z", Z.shape, Z.shape[0], ld)
    fits("base", base.shape, k)
    within("ridged", ridged, 0, k)
    within("bounded", bounded, 0, k)
    within("short_limit", short_limit, 0, ld)
    within("cg_steps", cg_steps, 1, MOST)
    check_weights(weights)
    check_cells(n, indptr, indices.shape[0], values, scale)
    fits("lam", lam.shape, n)
    within("rows of decrease", decrease.shape[0], n, MOST)
    fits("status", status.shape, n)
    if share is not None:
        fits("share", share.shape, n)
    check_prior(means, strength, last, n, k)
    cdef Py_ssize_t group = check_tasks(order, tasks, n_groups, cg_group(dtype, k), n)
    indices_within("split", split, 0, n)
    if n_other < 0:
        n_other = Z.shape[0]
    cdef Py_ssize_t cut_every = cg_block(dtype, k)
    if cuts is not None:
        fits("cuts", cuts.shape, (n_other + cut_every - 1) // cut_every)
        indices_within("cuts", cuts, 0, Z.shape[0] + 1)
    else:
        fits("Z", Z.shape, n_other, ld)
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
    cdef const real *shared = matrix_or_null("common", common, k, ld)
    cdef const real *q = matrix_or_null("Q", Q, k, ld)
    cdef const real *qt = matrix_or_null("QT", QT, k, ld)
    cdef const real *begin = matrix_or_null("start", start, n, k)
    cdef const double *wide_term = matrix_or_null("wide", wide, k, k)
    cdef const int32_t *cells = &indices[0] if indices.shape[0] else NULL
    cdef const real *cell_values = &values[0] if values.shape[0] else NULL
    cdef const real *cell_scale = NULL
    if scale is not None and scale.shape[0]:
        cell_scale = &scale[0]
    cdef const real *z = &Z[0, 0] if Z.shape[0] else NULL
    cdef const int32_t *cut = NULL
    if cuts is not None and cuts.shape[0]:
        cut = &cuts[0]
    cdef fa_side_f32 side32
    cdef fa_side_f64 side64
    cdef fa_row_solver_f32 solve32
    cdef fa_row_solver_f64 solve64
    cdef const real *shares = &share[0] if share is not None else NULL
    cdef bint drawn = means is not None
    cdef const real *to = &means[0, 0] if drawn else NULL
    cdef const real *by = &strength[0] if drawn else NULL
    cdef const real *own_by = &last[0] if drawn else NULL
    cdef fa_owns_f32 owns32
    cdef fa_owns_f64 owns64
    if real is float:
        owns32 = fa_owns_f32(&lam[0], shares, to, by, own_by)
        side32 = fa_side_f32(k, Z.shape[1], n_other, z, &base[0], ridged, weights[0], weights[1], weights[2], weights[3],
                             weights[4], short_limit, cg_above, cg_steps, cells + indices.shape[0], cell_values, cell_scale,
                             shared, bounded, NULL, wide_term, cut)
        solve32 = (K32.solve_row if which == 0 else lapack_f32 if which == 1 else rescue_f32 if which == 2 else
                   K32.solve_row_cg if which == 3 else K32.solve_row_nnls if which == 4 else rescue_nnls_f32)
    else:
        owns64 = fa_owns_f64(&lam[0], shares, to, by, own_by)
        side64 = fa_side_f64(k, Z.shape[1], n_other, z, &base[0], ridged, weights[0], weights[1], weights[2], weights[3],
                             weights[4], short_limit, cg_above, cg_steps, cells + indices.shape[0], cell_values, cell_scale,
                             shared, bounded, NULL, wide_term, cut)
        solve64 = (K64.solve_row if which == 0 else lapack_f64 if which == 1 else rescue_f64 if which == 2 else
                   K64.solve_row_cg if which == 3 else K64.solve_row_nnls if which == 4 else rescue_nnls_f64)
    # the parts of a row behind the first leave the diagonal out; a prior is added to their sum
    cdef fa_side_f32 bare32
    cdef fa_side_f64 bare64
    cdef fa_own_f32 own32, none32 = fa_own_f32(0, 0, 0, NULL)
    cdef fa_own_f64 own64, none64 = fa_own_f64(0, 0, 0, NULL)
    cdef real ridge, rest, part
    cdef Py_ssize_t s, first, size, parts, at, some
    cdef Py_ssize_t rhs_at = (K32.system_rows(k) * K32.system_ld(k) if real is float else
                              K64.system_rows(k) * K64.system_ld(k))
    cdef Py_ssize_t at_once = 2 * num_threads
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
        ridge = lam[split[s]] + (strength[split[s]] if drawn else 0)
        rest = last[split[s]] if drawn else 0
        part = shares[split[s]] if shares != NULL else 1
        if real is float:
            own32 = fa_own_f32(ridge, rest, part, NULL)
        else:
            own64 = fa_own_f64(ridge, rest, part, NULL)
        parts = (size + FA_PART_CELLS - 1) // FA_PART_CELLS
        for at in range(0, parts, at_once):
            some = min(at_once, parts - at)
            for t in prange(some, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
                tid = threadid()
                if real is float:
                    K32.row_gram(&bare32 if at + t else &side32, min(FA_PART_CELLS, size - (at + t) * FA_PART_CELLS),
                                 cells + first + (at + t) * FA_PART_CELLS, cell_values + first + (at + t) * FA_PART_CELLS,
                                 &none32 if at + t else &own32, &systems[1 + t, 0], &systems[1 + t, rhs_at],
                                 &work[tid * stride])
                else:
                    K64.row_gram(&bare64 if at + t else &side64, min(FA_PART_CELLS, size - (at + t) * FA_PART_CELLS),
                                 cells + first + (at + t) * FA_PART_CELLS, cell_values + first + (at + t) * FA_PART_CELLS,
                                 &none64 if at + t else &own64, &systems[1 + t, 0], &systems[1 + t, rhs_at],
                                 &work[tid * stride])
            for t in range(some):
                if at + t == 0:
                    memcpy(&systems[0, 0], &systems[1, 0], <size_t>systems.shape[1] * sizeof(real))
                elif real is float:
                    K32.add_system(k, &systems[1 + t, 0], &systems[1 + t, rhs_at], &systems[0, 0], &systems[0, rhs_at])
                else:
                    K64.add_system(k, &systems[1 + t, 0], &systems[1 + t, rhs_at], &systems[0, 0], &systems[0, rhs_at])
        if real is float:
            K32.solve_rows(&side32, K32.solve_row_given, 0, 1, &split[s], &indptr[0], cells, cell_values, &owns32, q, qt,
                           begin, relaxation, &X[0, 0], &decrease[0], &status[0], &work[0])
        else:
            K64.solve_rows(&side64, K64.solve_row_given, 0, 1, &split[s], &indptr[0], cells, cell_values, &owns64, q, qt,
                           begin, relaxation, &X[0, 0], &decrease[0], &status[0], &work[0])
    for t in prange(n_tasks, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        if real is float:
            K32.solve_rows(&side32, solve32, t < n_groups, tasks[t + 1] - tasks[t], &order[tasks[t]], &indptr[0], cells,
                           cell_values, &owns32, q, qt, begin, relaxation, &X[0, 0], &decrease[0], &status[0],
                           &work[tid * stride])
        else:
            K64.solve_rows(&side64, solve64, t < n_groups, tasks[t + 1] - tasks[t], &order[tasks[t]], &indptr[0], cells,
                           cell_values, &owns64, q, qt, begin, relaxation, &X[0, 0], &decrease[0], &status[0],
                           &work[tid * stride])


def row_system(const real[:, ::1] Z not None, const real[::1] base not None, tuple weights not None,
               const int32_t[::1] idx not None, const real[::1] val not None, const real[::1] scale, real lam):
    """A (k, k) and rhs (k,) of one row, as the kernels build them: for tests and diagnosis."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = base.shape[0], n = idx.shape[0]
    within("factors", k, 1, MOST)
    fits("Z", Z.shape, Z.shape[0], padded(dtype, k))
    check_weights(weights)
    indices_within("idx", idx, 0, Z.shape[0])
    fits("val", val.shape, n)
    if scale is not None:
        fits("scale", scale.shape, n)
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
    cdef fa_own_f32 own32
    cdef fa_own_f64 own64
    if real is float:
        side32 = fa_side_f32(k, Z.shape[1], Z.shape[0], &Z[0, 0], &base[0], k, weights[0], weights[1], weights[2], weights[3],
                             weights[4], 0, 0, 1, cells + n, cell_values, cell_scale, NULL, 0, NULL, NULL, NULL)
        own32 = fa_own_f32(lam, 0, 1, NULL)
        K32.row_gram(&side32, n, cells, cell_values, &own32, &a[0, 0], &r[0], &work[0])
    else:
        side64 = fa_side_f64(k, Z.shape[1], Z.shape[0], &Z[0, 0], &base[0], k, weights[0], weights[1], weights[2], weights[3],
                             weights[4], 0, 0, 1, cells + n, cell_values, cell_scale, NULL, 0, NULL, NULL, NULL)
        own64 = fa_own_f64(lam, 0, 1, NULL)
        K64.row_gram(&side64, n, cells, cell_values, &own64, &a[0, 0], &r[0], &work[0])
    return np.triu(A[:k, :k]) + np.triu(A[:k, :k], 1).T, rhs[:k].copy()


def posv(const real[:, ::1] A not None, const real[::1] rhs not None):
    """x of A x = rhs for a symmetric positive definite A (k, k), and the status: for tests."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = A.shape[0]
    within("factors", k, 1, MOST)
    fits("A", A.shape, k, k)
    fits("rhs", rhs.shape, k)
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
# the inverse of a large symmetric positive definite matrix, in place: tiles of BLAS calls on one thread each
#
# Row-major throughout, so that BLAS, which counts by columns, sees each tile transposed. The lower triangle holds
# A = L L', then L; the upper one V = inverse(L)', whose tiles depend on their row of V and on L alone; the lower one at
# last A^-1 = V V'. All of it is the one product C -= A B' of rows, as long as there are tiles to sum over: what OpenBLAS
# is best at. Offsets are of 64 bits, a tile's sizes and the leading dimension fit into BLAS' 32.

TILE = 512
"""Rows and columns of a tile. Its triangle of ?potrf and ?trtri costs a third of its products, of which there are few."""

DEF TILE_ROWS = 512
DEF CALL_FLOPS = 4e10  # of a thread, between two looks for Ctrl-C

ctypedef void (*sgemm_t)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *,
                         int *) noexcept nogil
ctypedef void (*dgemm_t)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *, double *,
                         double *, int *) noexcept nogil
ctypedef void (*ssyrk_t)(char *, char *, int *, int *, float *, float *, int *, float *, float *, int *) noexcept nogil
ctypedef void (*dsyrk_t)(char *, char *, int *, int *, double *, double *, int *, double *, double *, int *) noexcept nogil
ctypedef void (*strsm_t)(char *, char *, char *, char *, int *, int *, float *, float *, int *, float *, int *) noexcept nogil
ctypedef void (*dtrsm_t)(char *, char *, char *, char *, int *, int *, double *, double *, int *, double *, int *) noexcept nogil
ctypedef void (*spotrf_t)(char *, int *, float *, int *, int *) noexcept nogil
ctypedef void (*dpotrf_t)(char *, int *, double *, int *, int *) noexcept nogil
ctypedef void (*strtri_t)(char *, char *, int *, float *, int *, int *) noexcept nogil
ctypedef void (*dtrtri_t)(char *, char *, int *, double *, int *, int *) noexcept nogil

cdef struct tile_calls:
    sgemm_t sgemm
    dgemm_t dgemm
    ssyrk_t ssyrk
    dsyrk_t dsyrk
    strsm_t strsm, strmm
    dtrsm_t dtrsm, dtrmm
    spotrf_t spotrf
    dpotrf_t dpotrf
    strtri_t strtri
    dtrtri_t dtrtri

cdef tile_calls T  # all NULL until they are needed


def bind_blas():
    """Load what ``invert`` calls; before BLAS' threads are limited, or they would not be."""
    if T.dtrtri != NULL:
        return
    from scipy.linalg import cython_blas, cython_lapack

    blas, lapack = cython_blas.__pyx_capi__, cython_lapack.__pyx_capi__
    T.sgemm, T.dgemm = <sgemm_t>lapack_function(blas, "sgemm"), <dgemm_t>lapack_function(blas, "dgemm")
    T.ssyrk, T.dsyrk = <ssyrk_t>lapack_function(blas, "ssyrk"), <dsyrk_t>lapack_function(blas, "dsyrk")
    T.strsm, T.dtrsm = <strsm_t>lapack_function(blas, "strsm"), <dtrsm_t>lapack_function(blas, "dtrsm")
    T.strmm, T.dtrmm = <strsm_t>lapack_function(blas, "strmm"), <dtrsm_t>lapack_function(blas, "dtrmm")
    T.spotrf, T.dpotrf = <spotrf_t>lapack_function(lapack, "spotrf"), <dpotrf_t>lapack_function(lapack, "dpotrf")
    T.strtri = <strtri_t>lapack_function(lapack, "strtri")
    T.dtrtri = <dtrtri_t>lapack_function(lapack, "dtrtri")


cdef inline void add_product(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t k, real alpha, const real *A, const real *B,
                             real beta, real *C, Py_ssize_t ld) noexcept nogil:
    """C (rows, columns) = beta C + alpha A B' for A (rows, k), B (columns, k)."""
    cdef int m = <int>columns, n = <int>rows, depth = <int>k, lda = <int>ld
    if real is float:
        T.sgemm(b"T", b"N", &m, &n, &depth, &alpha, <float *>B, &lda, <float *>A, &lda, &beta, C, &lda)
    else:
        T.dgemm(b"T", b"N", &m, &n, &depth, &alpha, <double *>B, &lda, <double *>A, &lda, &beta, C, &lda)


cdef inline void add_square(Py_ssize_t rows, Py_ssize_t k, real alpha, const real *A, Py_ssize_t ld, real beta, real *C,
                            Py_ssize_t ldc) noexcept nogil:
    """The lower triangle of C (rows, rows) = beta C + alpha A A' for A (rows, k)."""
    cdef int n = <int>rows, depth = <int>k, lda = <int>ld, ld_out = <int>ldc
    if real is float:
        T.ssyrk(b"U", b"T", &n, &depth, &alpha, <float *>A, &lda, &beta, C, &ld_out)
    else:
        T.dsyrk(b"U", b"T", &n, &depth, &alpha, <double *>A, &lda, &beta, C, &ld_out)


cdef inline int factor_tile(Py_ssize_t rows, real *A, Py_ssize_t ld) noexcept nogil:
    """A = L of a tile on the diagonal; 0, or 1 + the pivot that is not positive."""
    cdef int n = <int>rows, lda = <int>ld, info = 0
    if real is float:
        T.spotrf(b"U", &n, A, &lda, &info)
    else:
        T.dpotrf(b"U", &n, A, &lda, &info)
    return info


cdef inline void solve_tile(Py_ssize_t rows, Py_ssize_t columns, const real *L, real *A, Py_ssize_t ld) noexcept nogil:
    """A (rows, columns) = A inverse(L)'."""
    cdef int m = <int>columns, n = <int>rows, lda = <int>ld
    cdef real one = 1
    if real is float:
        T.strsm(b"L", b"U", b"T", b"N", &m, &n, &one, <float *>L, &lda, A, &lda)
    else:
        T.dtrsm(b"L", b"U", b"T", b"N", &m, &n, &one, <double *>L, &lda, A, &lda)


cdef inline void multiply_tile(Py_ssize_t rows, Py_ssize_t columns, const real *V, real *A, Py_ssize_t ld) noexcept nogil:
    """A (rows, columns) = -A V for upper triangular V."""
    cdef int m = <int>columns, n = <int>rows, lda = <int>ld
    cdef real minus = -1
    if real is float:
        T.strmm(b"L", b"L", b"N", b"N", &m, &n, &minus, <float *>V, &lda, A, &lda)
    else:
        T.dtrmm(b"L", b"L", b"N", b"N", &m, &n, &minus, <double *>V, &lda, A, &lda)


cdef inline void invert_tile(Py_ssize_t rows, real *A, Py_ssize_t ld) noexcept nogil:
    """Make V = inverse(L)', zeros below its diagonal, of a tile L."""
    cdef int n = <int>rows, lda = <int>ld, info = 0
    cdef Py_ssize_t i, j
    if real is float:
        T.strtri(b"U", b"N", &n, A, &lda, &info)
    else:
        T.dtrtri(b"U", b"N", &n, A, &lda, &info)
    for i in range(rows):
        for j in range(i):
            A[j * ld + i] = A[i * ld + j]
            A[i * ld + j] = 0


cdef inline Py_ssize_t size_of(Py_ssize_t tile, Py_ssize_t n) noexcept nogil:
    return min(<Py_ssize_t>TILE_ROWS, n - tile * TILE_ROWS)


cdef Py_ssize_t at_once(Py_ssize_t k, int num_threads) noexcept:
    """Products of this depth between two looks for Ctrl-C: as many for each thread."""
    return num_threads * max(<Py_ssize_t>1, <Py_ssize_t>(CALL_FLOPS / (2.0 * TILE_ROWS * TILE_ROWS * max(k, <Py_ssize_t>1))))


def invert(real[:, ::1] A not None, int num_threads):
    """The lower triangle of A becomes that of its inverse, the upper one is lost; 0, or 1 + the row of a pivot that is not
    positive. Costs n^3 flop. BLAS must be limited to one thread, after ``bind_blas``.

    Each tile is computed by one thread, in an order that its place alone decides: the same bits with any number of them.
    """
    cdef Py_ssize_t n = A.shape[0], tiles = (n + TILE_ROWS - 1) // TILE_ROWS, ld = n, i, j, first, last, k, tid, step
    fits("A", A.shape, n, n)
    within("rows of A", n, 1, MOST)
    within("num_threads", num_threads, 1, MOST)
    if T.dtrtri == NULL:
        raise RuntimeError("bind_blas must be called first")
    cdef int info
    cdef real *a = &A[0, 0]
    # A = L L', column by column of tiles. The products for the next diagonal tile are made along with those of a column,
    # since all other threads wait for it.
    for j in range(tiles):
        k = j * TILE_ROWS
        if j > 0:
            add_square(size_of(j, n), TILE_ROWS, -1, a + k * ld + k - TILE_ROWS, ld, 1, a + k * ld + k, ld)
        info = factor_tile(size_of(j, n), a + k * ld + k, ld)
        if info:
            return int(k + info)
        first, step = j, at_once(k, num_threads)
        while first < tiles:
            last = min(first + step, tiles)
            for i in prange(first, last, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
                if i > j:
                    if j > 0:
                        add_product(size_of(i, n), size_of(j, n), k, -1, a + i * TILE_ROWS * ld, a + k * ld, 1,
                                    a + i * TILE_ROWS * ld + k, ld)
                    solve_tile(size_of(i, n), size_of(j, n), a + k * ld + k, a + i * TILE_ROWS * ld + k, ld)
                elif 0 < j < tiles - 1:
                    add_square(size_of(j + 1, n), k, -1, a + (k + TILE_ROWS) * ld, ld, 1,
                               a + (k + TILE_ROWS) * (ld + 1), ld)
            first = last
            PyErr_CheckSignals()
    for i in prange(tiles, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        invert_tile(size_of(i, n), a + i * TILE_ROWS * (ld + 1), ld)
    # V, column by column: V_ji = -(sum_{j <= k < i} V_jk L_ik') V_ii
    for i in range(1, tiles):
        first, step = 0, at_once(i * TILE_ROWS, num_threads)
        while first < i:
            last = min(first + step, i)
            for j in prange(first, last, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
                add_product(TILE_ROWS, size_of(i, n), (i - j) * TILE_ROWS, 1, a + j * TILE_ROWS * (ld + 1),
                            a + i * TILE_ROWS * ld + j * TILE_ROWS, 0, a + j * TILE_ROWS * ld + i * TILE_ROWS, ld)
                multiply_tile(TILE_ROWS, size_of(i, n), a + i * TILE_ROWS * (ld + 1),
                              a + j * TILE_ROWS * ld + i * TILE_ROWS, ld)
            first = last
            PyErr_CheckSignals()
    # V V' = sum_{k >= i} V_ik V_jk', row by row of tiles; those on the diagonal, which the others read, at last
    for i in range(1, tiles):
        k = i * TILE_ROWS
        first, step = 0, at_once(n - k, num_threads)
        while first < i:
            last = min(first + step, i)
            for j in prange(first, last, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
                add_product(size_of(i, n), TILE_ROWS, n - k, 1, a + k * (ld + 1), a + j * TILE_ROWS * ld + k, 0,
                            a + k * ld + j * TILE_ROWS, ld)
            first = last
            PyErr_CheckSignals()
    cdef real[:, :, ::1] rooms = np.empty((num_threads, TILE_ROWS, TILE_ROWS), np.float32 if real is float else np.float64)
    first, step = 0, at_once(n, num_threads)
    while first < tiles:
        last = min(first + step, tiles)
        for i in prange(first, last, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            tid = threadid()
            add_square(size_of(i, n), n - i * TILE_ROWS, 1, a + i * TILE_ROWS * (ld + 1), ld, 0, &rooms[tid, 0, 0],
                       TILE_ROWS)
            for k in range(size_of(i, n)):
                memcpy(a + (i * TILE_ROWS + k) * ld + i * TILE_ROWS, &rooms[tid, k, 0], <size_t>(k + 1) * sizeof(real))
        first = last
        PyErr_CheckSignals()
    return 0


include "topn.pxi"
