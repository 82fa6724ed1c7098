/* Rows of a product of sparse matrices, and the best columns of each: C11, serial, no allocation, no Python, one version
 * for every machine, since scattered additions and not arithmetic are what these functions wait for.
 *
 * A row of W is n cells (rows[j], w[j]); B has compressed rows. For a column c that any of the rows rows[j] of B holds,
 *
 *     sum = sum_j w[j] B[rows[j], c]                                 in double, in order
 *     score = sum                                                    weighting FA_SUM_ONLY, norms NULL
 *     score = sum / (norm norms[c] + shrinkage)                      norms not NULL; norm is the row's
 *     score = base[c] + sum / weight                                 weight = sum_j w[j]             FA_BY_ROW
 *                                                                    weight = sum_j B[rows[j], c]    FA_BY_MATRIX
 *
 * A column is a candidate where the sum is > 0, with a weighting where the weight is. A row is made in a dense scratch of
 * which only the columns that were touched are looked through and cleaned, so that a row costs its products and no more,
 * and memory is one row a thread. */
#ifndef FASTALS_PRODUCT_H
#define FASTALS_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

enum { FA_SUM_ONLY, FA_BY_ROW, FA_BY_MATRIX };

typedef struct fa_product {
    int64_t n_rows, n_cells, n_columns;
    const int64_t *indptr; /* B (n_rows, n_columns) of n_cells */
    const int32_t *indices;
    const float *values;
    int weighting;
    const double *base; /* (n_columns), NULL: 0 */
    const double *norms; /* (n_columns) or NULL */
    double shrinkage;
    const uint8_t *open; /* (n_columns), 0: not a candidate; NULL: all are */
} fa_product;

/* Bytes of a workspace for lists of n; it is all zeros before the first call, and left for the next. */
size_t fa_product_workspace(const fa_product *product, int64_t n);

/* The n >= 1 candidates of highest score, best first, equal scores by ascending column, hidden columns left out; what is
 * left of the list is filled with -1 and -inf. Returns 0, or 1 where one of the rows or of the hidden
 * columns is none of B, or indptr leads out of B's cells: the result is then arbitrary, the workspace as before. */
int fa_product_best(const fa_product *product, int64_t n_cells, const int32_t *rows, const float *w, double norm,
                    int64_t n_hidden, const int32_t *hidden, int64_t n, int32_t *columns, float *scores, void *work);

/* scores[j] of columns[j], in the bits that fa_product_best gives; base, or 0, where the column is no candidate. norms
 * must be NULL. Returns as fa_product_best. */
int fa_product_at(const fa_product *product, int64_t n_cells, const int32_t *rows, const float *w, int64_t n,
                  const int32_t *columns, float *scores, void *work);

#endif
