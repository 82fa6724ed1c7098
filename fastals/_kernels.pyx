# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: embedsignature=False, freethreading_compatible=True
"""The only compiled module: parallel loops over rows, workspaces, LAPACK bindings, a status per row.

Everything that arrives here has passed the gate (``_validation``): contiguous, of the right dtype and shape, indices in
range. Nothing is checked again. One ``prange`` per call; what a row computes depends on that row alone, and sums over
rows are made of blocks fixed by the data, so every number of threads gives the same bits.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t, uintptr_t
from scipy.linalg.cython_lapack cimport dgelsd, dposv, sposv

import numpy as np

ctypedef fused real:
    float
    double

# ---------------------------------------------------------------------------------------------------------------------
# the C side (src_c/fastals.h is the manual)

cdef extern from "fastals.h" nogil:
    enum: FA_ISAS, FA_ALIGN, FA_TASK_ROWS

    ctypedef struct fa_side_f32:
        Py_ssize_t k, ld
        const float *Z
        const float *base
        float a0, a1, b0, b1
        int positive_only
        Py_ssize_t short_limit

    ctypedef struct fa_side_f64:
        Py_ssize_t k, ld
        const double *Z
        const double *base
        double a0, a1, b0, b1
        int positive_only
        Py_ssize_t short_limit

    ctypedef int (*fa_row_solver_f32)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, float *,
                                      double *, void *) noexcept nogil
    ctypedef int (*fa_row_solver_f64)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double,
                                      double *, double *, void *) noexcept nogil

    ctypedef struct fa_kernels_f32:
        const char *isa
        int vector_length
        Py_ssize_t (*padded)(Py_ssize_t) noexcept nogil
        size_t (*workspace)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_ld)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_rows)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*short_limit)(Py_ssize_t) noexcept nogil
        void (*gram)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, double *, void *) noexcept nogil
        void (*rotate)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, float *) noexcept nogil
        void (*row_gram)(const fa_side_f32 *, Py_ssize_t, const int32_t *, const float *, float, float *, float *,
                         void *) noexcept nogil
        int (*posv)(Py_ssize_t, float *, float *, float *) noexcept nogil
        fa_row_solver_f32 solve_row
        double (*solve_rows)(const fa_side_f32 *, fa_row_solver_f32, Py_ssize_t, const int32_t *, const int64_t *,
                             const int32_t *, const float *, const float *, const float *, float *, int32_t *,
                             void *) noexcept nogil

    ctypedef struct fa_kernels_f64:
        const char *isa
        int vector_length
        Py_ssize_t (*padded)(Py_ssize_t) noexcept nogil
        size_t (*workspace)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_ld)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*system_rows)(Py_ssize_t) noexcept nogil
        Py_ssize_t (*short_limit)(Py_ssize_t) noexcept nogil
        void (*gram)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, void *) noexcept nogil
        void (*rotate)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, double *) noexcept nogil
        void (*row_gram)(const fa_side_f64 *, Py_ssize_t, const int32_t *, const double *, double, double *, double *,
                         void *) noexcept nogil
        int (*posv)(Py_ssize_t, double *, double *, double *) noexcept nogil
        fa_row_solver_f64 solve_row
        double (*solve_rows)(const fa_side_f64 *, fa_row_solver_f64, Py_ssize_t, const int32_t *, const int64_t *,
                             const int32_t *, const double *, const double *, const double *, double *, int32_t *,
                             void *) noexcept nogil

    int fa_isa_available(int)
    const char *fa_isa_name(int)
    const fa_kernels_f32 *fa_kernels_for_f32(int)
    const fa_kernels_f64 *fa_kernels_for_f64(int)


TASK_ROWS = FA_TASK_ROWS

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


use_isa(available_isas()[-1])

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


def short_limit(dtype, Py_ssize_t k):
    """The longest row for which the n x n form costs less than the k x k form."""
    return K32.short_limit(k) if dtype == np.float32 else K64.short_limit(k)


cdef size_t thread_bytes(bint single, Py_ssize_t k) noexcept:
    return K32.workspace(k) if single else K64.workspace(k)


# ---------------------------------------------------------------------------------------------------------------------
# a whole side: Gram matrix and rotation

DEF GRAM_BLOCKS = 32


def gram(real[:, ::1] Y, int num_threads):
    """Y'Y (k, k) in float64: 32 fixed blocks of rows, added in order."""
    cdef Py_ssize_t n = Y.shape[0], k = Y.shape[1], t, first, last, tid
    cdef Py_ssize_t rows = ((n + GRAM_BLOCKS - 1) // GRAM_BLOCKS + 127) // 128 * 128
    cdef Py_ssize_t blocks = (n + rows - 1) // rows if n else 0
    cdef double[:, :, ::1] partial = np.zeros((blocks, k, k))
    cdef size_t stride = thread_bytes(real is float, k)
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    if n and k:
        for t in prange(blocks, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
            tid = threadid()
            first = t * rows
            last = first + rows if first + rows < n else n
            if real is float:
                K32.gram(last - first, k, &Y[first, 0], k, &partial[t, 0, 0], &work[tid * stride])
            else:
                K64.gram(last - first, k, &Y[first, 0], k, &partial[t, 0, 0], &work[tid * stride])
    G = np.zeros((k, k))
    for t in range(blocks):
        G += partial[t]
    return np.triu(G) + np.triu(G, 1).T


def rotate(real[:, ::1] Y, real[:, ::1] Q, int num_threads):
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


# ---------------------------------------------------------------------------------------------------------------------
# rows: the slow twin through LAPACK, and the way out when a factorization breaks down


cdef int lapack_f32(const fa_side_f32 *side, Py_ssize_t n, const int32_t *idx, const float *val, float lam, float *x,
                    double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K32.system_ld(side.k), p
    cdef float *A = <float *>work
    cdef float *rhs = A + K32.system_rows(side.ld) * ld
    cdef int k = <int>side.k, lda = <int>ld, one = 1, info = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0:
        return 0
    K32.row_gram(side, n, idx, val, lam, A, rhs, rhs + 2 * ld)
    for p in range(side.k):
        x[p] = rhs[p]
    # the upper triangle by rows is LAPACK's lower triangle by columns
    sposv(b"L", &k, &one, A, &lda, x, &k, &info)
    for p in range(side.k):
        if info:
            x[p] = 0
        decrease[0] += <double>x[p] * rhs[p]
    return info


cdef int lapack_f64(const fa_side_f64 *side, Py_ssize_t n, const int32_t *idx, const double *val, double lam, double *x,
                    double *decrease, void *work) noexcept nogil:
    cdef Py_ssize_t ld = K64.system_ld(side.k), p
    cdef double *A = <double *>work
    cdef double *rhs = A + K64.system_rows(side.ld) * ld
    cdef int k = <int>side.k, lda = <int>ld, one = 1, info = 0
    for p in range(side.ld):
        x[p] = 0
    if n == 0:
        return 0
    K64.row_gram(side, n, idx, val, lam, A, rhs, rhs + 2 * ld)
    for p in range(side.k):
        x[p] = rhs[p]
    dposv(b"L", &k, &one, A, &lda, x, &k, &info)
    for p in range(side.k):
        if info:
            x[p] = 0
        decrease[0] += x[p] * rhs[p]
    return info
