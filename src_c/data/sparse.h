/* From cells to compressed rows: C11, serial, no allocation, no Python, one version for every machine, since memory
 * and not arithmetic is what these functions wait for.
 *
 * A list is n cells (key, other, value) in the caller's order. A compressed matrix is indptr (rows + 1) and, for the
 * cells indptr[r]..indptr[r + 1] - 1 of row r, indices and values. Values are read from any FA_I8..FA_F64 array and
 * written as FA_F32 or FA_F64; NULL values are read as nothing and written nowhere (every value is one).
 * Arrays that are written must not overlap any other. */
#ifndef FASTALS_SPARSE_H
#define FASTALS_SPARSE_H

#include <stdint.h>

enum { FA_I8, FA_U8, FA_I16, FA_U16, FA_I32, FA_U32, FA_I64, FA_U64, FA_F32, FA_F64 };

/* What checks report, or-ed. OUT_OF_RANGE: an index below 0 or >= size. UNSORTED, REPEATED: a row's indices fall, or
 * stand still, somewhere. NOT_FINITE: NaN or inf. INEXACT: float32 would round a value. HUGE: float32 would be inf. */
enum {
    FA_OUT_OF_RANGE = 1,
    FA_UNSORTED = 2,
    FA_REPEATED = 4,
    FA_NOT_FINITE = 8,
    FA_INEXACT = 16,
    FA_HUGE = 32
};

/* What becomes of equal cells. */
enum { FA_SUM, FA_LAST, FA_MAX, FA_MEAN };

/* Flags of the values first..last - 1. */
int fa_check_values(int type, const void *values, int64_t first, int64_t last);
/* out[j] = values[j], first <= j < last; out_type is FA_F32 or FA_F64, as everywhere below. */
void fa_copy_values(int type, const void *values, int64_t first, int64_t last, int out_type, void *out);

/* Flags of the indices of rows first..last - 1, which are copied to out, where out is not NULL, as int32. What is out
 * of range is copied as 0. */
int fa_check_rows_i32(int64_t first, int64_t last, const int64_t *indptr, const int32_t *indices, int64_t size,
                      int32_t *out);
int fa_check_rows_i64(int64_t first, int64_t last, const int64_t *indptr, const int64_t *indices, int64_t size,
                      int32_t *out);

/* counts[keys[j]] += 1, first <= j < last. */
void fa_count(int64_t first, int64_t last, const int32_t *keys, int64_t *counts);

/* Cells first..last - 1 of a list, in order, each to the next free place of its key:
 *     p = next[keys[j]]++,   indices[p] = others[j],   out[p] = values[j] */
void fa_scatter_cells(int64_t first, int64_t last, const int32_t *keys, const int32_t *others, int type,
                      const void *values, int64_t *next, int32_t *indices, int out_type, void *out);
/* The same for rows first..last - 1 of a compressed matrix; a cell's key is its index and the other its row. */
void fa_scatter_rows(int64_t first, int64_t last, const int64_t *indptr, const int32_t *keys, int type,
                     const void *values, int64_t *next, int32_t *indices, int out_type, void *out);

/* counts[r] = distinct indices of row r, first <= r < last, whose indices ascend; flags of the merged values. Here and
 * below values are not NULL and type is FA_F32 or FA_F64. */
int fa_count_distinct(int64_t first, int64_t last, const int64_t *indptr, const int32_t *indices, int type,
                      const void *values, int policy, int64_t *counts);
/* Rows first..last - 1 with equal cells made one, to out_indptr[r].. of out_indices and out; out_indptr is what the
 * counts of fa_count_distinct sum up to. Sums are made in double, in order. Returns 0, or 1 where a row has more distinct
 * indices than out_indptr has room for. */
int fa_merge_rows(int64_t first, int64_t last, const int64_t *indptr, const int32_t *indices, int type,
                  const void *values, int policy, const int64_t *out_indptr, int32_t *out_indices, int out_type,
                  void *out);

#endif
