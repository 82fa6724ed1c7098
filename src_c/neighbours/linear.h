/* Linear item models: rows of a sparse matrix times a dense one, and the best of many scores. C11, serial, no allocation,
 * no Python, one version for every machine: memory is what these functions wait for.
 *
 * Sums are in double, and their terms are added in the order of the cells, whatever function adds them: the score of a
 * user and an item has the same bits alone, in a list of items, and in a list of users. Each function is there for
 * float (_f32) and for double (_f64), which `real` stands for. */
#ifndef FASTALS_LINEAR_H
#define FASTALS_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#define FA_LINEAR(real, suffix)                                                                                        \
    /* sum (n_columns) += sum_j w[j] B[rows[j], :], B (., n_columns) */                                                \
    void fa_add_rows##suffix(int64_t n_columns, const real *B, int64_t n_cells, const int32_t *rows, const real *w,    \
                             double *sum);                                                                             \
    /* sum_j w[j] b[rows[j] * stride] */                                                                               \
    double fa_dot_cells##suffix(const real *b, int64_t stride, int64_t n_cells, const int32_t *rows, const real *w);   \
    /* out (n) = the first n columns of sum_j w[j] X[rows[j], :]; X has compressed rows, its columns ascend. sum (n)   \
     * is zero before and after. */                                                                                    \
    void fa_gram_row##suffix(int64_t n_cells, const int32_t *rows, const real *w, const int64_t *indptr,               \
                             const int32_t *indices, const real *values, int64_t n, double *sum, real *out);           \
    /* out[c] = sum_j w[j] t[rows[j]] for each of n compressed rows c of cells (rows, w) */                            \
    void fa_dot_rows##suffix(const double *t, int64_t n, const int64_t *indptr, const int32_t *rows, const real *w,    \
                             real *out);                                                                               \
    /* The n best of the scores above -inf, best first, equal ones by ascending column; hidden columns, and those that \
     * are not open (NULL: all are), left out; the rest of the list is -1 and -inf. The scores of hidden columns are   \
     * lost. work: n doubles, then n int32_t. */                                                                       \
    void fa_best_of##suffix(int64_t n_columns, double *score, int64_t n_hidden, const int32_t *hidden,                 \
                            const uint8_t *open, int64_t n, int32_t *columns, real *scores, void *work);

FA_LINEAR(float, _f32)
FA_LINEAR(double, _f64)
#undef FA_LINEAR

#endif
