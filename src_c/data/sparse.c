/* Cells to compressed rows; sparse.h is the manual. */
#include "data/sparse.h"

#include <float.h>
#include <math.h>

/* Values that are converted at a time: one type switch per block, and the block stays in the first cache. */
enum { BLOCK = 512 };

#define LOAD(TAG, TYPE)                                                                                              \
    case TAG:                                                                                                        \
        for (int64_t j = 0; j < n; j++) out[j] = (double)((const TYPE *)values)[first + j];                          \
        break;

static void load(int type, const void *values, int64_t first, int64_t n, double *out) {
    switch (type) {
        LOAD(FA_I8, int8_t)
        LOAD(FA_U8, uint8_t)
        LOAD(FA_I16, int16_t)
        LOAD(FA_U16, uint16_t)
        LOAD(FA_I32, int32_t)
        LOAD(FA_U32, uint32_t)
        LOAD(FA_I64, int64_t)
        LOAD(FA_U64, uint64_t)
        LOAD(FA_F32, float)
        LOAD(FA_F64, double)
    }
}

static inline void store(int out_type, void *out, int64_t j, double value) {
    if (out_type == FA_F32) ((float *)out)[j] = (float)value;
    else ((double *)out)[j] = value;
}

static inline int check(double value) {
    if (!isfinite(value)) return FA_NOT_FINITE;
    if (fabs(value) > FLT_MAX) return FA_INEXACT | FA_HUGE;
    return (double)(float)value == value ? 0 : FA_INEXACT;
}

int fa_check_values(int type, const void *values, int64_t first, int64_t last) {
    double block[BLOCK];
    int flags = 0;
    for (int64_t j = first; j < last; j += BLOCK) {
        const int64_t n = last - j < BLOCK ? last - j : BLOCK;
        load(type, values, j, n, block);
        for (int64_t i = 0; i < n; i++) flags |= check(block[i]);
    }
    return flags;
}

void fa_copy_values(int type, const void *values, int64_t first, int64_t last, int out_type, void *out) {
    double block[BLOCK];
    for (int64_t j = first; j < last; j += BLOCK) {
        const int64_t n = last - j < BLOCK ? last - j : BLOCK;
        load(type, values, j, n, block);
        for (int64_t i = 0; i < n; i++) store(out_type, out, j + i, block[i]);
    }
}

/* Each cell beside the one before it, rather than carried along: so the loop has no order, and compilers take many at once. */
#define CHECK_ROWS(NAME, TYPE, LARGEST)                                                                              \
    int NAME(int64_t first, int64_t last, const int64_t *indptr, const TYPE *indices, int64_t size, int32_t *out) {  \
        const TYPE most = size - 1 < LARGEST ? (TYPE)(size - 1) : LARGEST;                                           \
        int outside = 0, unsorted = 0, repeated = 0;                                                                 \
        for (int64_t r = first; r < last; r++) {                                                                     \
            const int64_t begin = indptr[r], end = indptr[r + 1];                                                    \
            for (int64_t j = begin; j < end; j++) outside |= (indices[j] < 0) | (indices[j] > most);                 \
            for (int64_t j = begin + 1; j < end; j++) {                                                              \
                unsorted |= indices[j] < indices[j - 1];                                                             \
                repeated |= indices[j] == indices[j - 1];                                                            \
            }                                                                                                        \
            if (out)                                                                                                 \
                for (int64_t j = begin; j < end; j++)                                                                \
                    out[j] = indices[j] < 0 || indices[j] > most ? 0 : (int32_t)indices[j];                          \
        }                                                                                                            \
        return (outside ? FA_OUT_OF_RANGE : 0) | (unsorted ? FA_UNSORTED : 0) | (repeated ? FA_REPEATED : 0);        \
    }

CHECK_ROWS(fa_check_rows_i32, int32_t, INT32_MAX)
CHECK_ROWS(fa_check_rows_i64, int64_t, INT64_MAX)

void fa_count(int64_t first, int64_t last, const int32_t *keys, int64_t *counts) {
    for (int64_t j = first; j < last; j++) counts[keys[j]]++;
}

void fa_scatter_cells(int64_t first, int64_t last, const int32_t *keys, const int32_t *others, int type,
                      const void *values, int64_t *next, int32_t *indices, int out_type, void *out) {
    double block[BLOCK];
    for (int64_t j = first; j < last; j += BLOCK) {
        const int64_t n = last - j < BLOCK ? last - j : BLOCK;
        if (values) load(type, values, j, n, block);
        for (int64_t i = 0; i < n; i++) {
            const int64_t p = next[keys[j + i]]++;
            indices[p] = others[j + i];
            if (values) store(out_type, out, p, block[i]);
        }
    }
}

void fa_scatter_rows(int64_t first, int64_t last, const int64_t *indptr, const int32_t *keys, int type,
                     const void *values, int64_t *next, int32_t *indices, int out_type, void *out) {
    double block[BLOCK];
    for (int64_t r = first; r < last; r++)
        for (int64_t j = indptr[r]; j < indptr[r + 1]; j += BLOCK) {
            const int64_t n = indptr[r + 1] - j < BLOCK ? indptr[r + 1] - j : BLOCK;
            if (values) load(type, values, j, n, block);
            for (int64_t i = 0; i < n; i++) {
                const int64_t p = next[keys[j + i]]++;
                indices[p] = (int32_t)r;
                if (values) store(out_type, out, p, block[i]);
            }
        }
}

static inline double at(int type, const void *values, int64_t j) {
    return type == FA_F32 ? (double)((const float *)values)[j] : ((const double *)values)[j];
}

/* The one value of equal cells first..last - 1. */
static double merge(int policy, int type, const void *values, int64_t first, int64_t last) {
    if (policy == FA_LAST) return at(type, values, last - 1);
    double result = at(type, values, first);
    for (int64_t j = first + 1; j < last; j++) {
        const double value = at(type, values, j);
        result = policy != FA_MAX ? result + value : value > result ? value : result;
    }
    return policy == FA_MEAN ? result / (double)(last - first) : result;
}

static inline int64_t end_of_run(const int32_t *indices, int64_t j, int64_t last) {
    const int32_t i = indices[j];
    while (++j < last && indices[j] == i) {
    }
    return j;
}

int fa_count_distinct(int64_t first, int64_t last, const int64_t *indptr, const int32_t *indices, int type,
                      const void *values, int policy, int64_t *counts) {
    int flags = 0;
    for (int64_t r = first; r < last; r++) {
        counts[r] = 0;
        for (int64_t j = indptr[r], end; j < indptr[r + 1]; j = end) {
            end = end_of_run(indices, j, indptr[r + 1]);
            flags |= check(merge(policy, type, values, j, end));
            counts[r]++;
        }
    }
    return flags;
}

int fa_merge_rows(int64_t first, int64_t last, const int64_t *indptr, const int32_t *indices, int type,
                  const void *values, int policy, const int64_t *out_indptr, int32_t *out_indices, int out_type,
                  void *out) {
    for (int64_t r = first; r < last; r++) {
        int64_t p = out_indptr[r];
        for (int64_t j = indptr[r], end; j < indptr[r + 1]; j = end, p++) {
            if (p >= out_indptr[r + 1]) return 1;
            end = end_of_run(indices, j, indptr[r + 1]);
            out_indices[p] = indices[j];
            store(out_type, out, p, merge(policy, type, values, j, end));
        }
    }
    return 0;
}
