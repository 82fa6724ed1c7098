/* Rows of a product of sparse matrices; product.h is the manual. */
#include "neighbours/product.h"

#include <math.h>

#include "core/compiler.h"
#include "neighbours/heap.h"

/* What a workspace consists of: the row, the columns that it touches, and the list. */
typedef struct scratch {
    double *sum, *weight;
    int32_t *touched;
    fa_heap best;
    int64_t n_touched; /* -1: many, they are not listed */
} scratch;

/* A row of so many products is looked through from end to end, which spares it the list. */
static int64_t many(const fa_product *p) { return p->n_columns / 4 + 1; }

size_t fa_product_workspace(const fa_product *p, int64_t n) {
    const size_t doubles = (size_t)(p->weighting == FA_SUM_ONLY ? 1 : 2) * (size_t)p->n_columns + (size_t)n;
    return doubles * sizeof(double) + (size_t)(n + many(p)) * sizeof(int32_t);
}

static scratch divide(const fa_product *p, int64_t n, void *work) {
    scratch s = {.sum = work};
    s.weight = p->weighting == FA_SUM_ONLY ? NULL : s.sum + p->n_columns;
    s.best.score = s.sum + (s.weight ? 2 : 1) * p->n_columns;
    s.best.column = (int32_t *)(s.best.score + n);
    s.touched = s.best.column + n;
    return s;
}

/* A column is listed whenever it was 0 before: one that returns to 0 is listed again, and found 0 the second time. */
FA_INLINE int64_t add_cells(const fa_product *p, scratch s, int64_t n_cells, const int32_t *rows, const float *w,
                            int weighting, int list) {
    int64_t listed = 0;
    for (int64_t j = 0; j < n_cells; j++) {
        if (j + 1 < n_cells) {
            FA_PREFETCH(p->indices + p->indptr[rows[j + 1]]);
            FA_PREFETCH(p->values + p->indptr[rows[j + 1]]);
        }
        const double wj = (double)w[j];
        const int64_t end = p->indptr[rows[j] + 1];
        for (int64_t q = p->indptr[rows[j]]; q < end; q++) {
            const int32_t c = p->indices[q];
            const double b = (double)p->values[q];
            if (list) {
                s.touched[listed] = c;
                listed += (weighting == FA_SUM_ONLY ? s.sum : s.weight)[c] == 0;
            }
            s.sum[c] += wj * b;
            if (weighting != FA_SUM_ONLY) s.weight[c] += weighting == FA_BY_ROW ? wj : b;
        }
    }
    return list ? listed : -1;
}

/* Whether all of these are rows of B with cells of B. */
static int are_rows(const fa_product *p, int64_t n, const int32_t *rows, int64_t *products) {
    for (int64_t j = 0; j < n; j++) {
        if (rows[j] < 0 || rows[j] >= p->n_rows) return 0;
        const int64_t first = p->indptr[rows[j]], last = p->indptr[rows[j] + 1];
        if (first < 0 || first > last || last > p->n_cells) return 0;
        *products += last - first;
    }
    return 1;
}

static int are_columns(const fa_product *p, int64_t n, const int32_t *columns) {
    for (int64_t j = 0; j < n; j++)
        if (columns[j] < 0 || columns[j] >= p->n_columns) return 0;
    return 1;
}

static int64_t add(const fa_product *p, scratch s, int64_t n_cells, const int32_t *rows, const float *w,
                   int64_t products) {
    const int list = products < many(p);
    switch (p->weighting) {
        case FA_BY_ROW:
            return list ? add_cells(p, s, n_cells, rows, w, FA_BY_ROW, 1)
                        : add_cells(p, s, n_cells, rows, w, FA_BY_ROW, 0);
        case FA_BY_MATRIX:
            return list ? add_cells(p, s, n_cells, rows, w, FA_BY_MATRIX, 1)
                        : add_cells(p, s, n_cells, rows, w, FA_BY_MATRIX, 0);
        default:
            return list ? add_cells(p, s, n_cells, rows, w, FA_SUM_ONLY, 1)
                        : add_cells(p, s, n_cells, rows, w, FA_SUM_ONLY, 0);
    }
}

static inline void clean(scratch s, int64_t c) {
    s.sum[c] = 0;
    if (s.weight) s.weight[c] = 0;
}

static inline int64_t n_touched(const fa_product *p, scratch s) { return s.n_touched < 0 ? p->n_columns : s.n_touched; }
static inline int64_t touched(scratch s, int64_t j) { return s.n_touched < 0 ? j : s.touched[j]; }

static inline int candidate(scratch s, int64_t c) { return s.weight ? s.weight[c] > 0 : s.sum[c] > 0; }

static inline double score_of(const fa_product *p, scratch s, int64_t c, double norm) {
    double score = s.sum[c];
    if (p->norms) score /= norm * p->norms[c] + p->shrinkage;
    if (s.weight) score /= s.weight[c];
    return p->base ? p->base[c] + score : score;
}

int fa_product_best(const fa_product *p, int64_t n_cells, const int32_t *rows, const float *w, double norm,
                    int64_t n_hidden, const int32_t *hidden, int64_t n, int32_t *columns, float *scores, void *work) {
    int64_t products = 0;
    if (!are_rows(p, n_cells, rows, &products) || !are_columns(p, n_hidden, hidden)) return 1;
    scratch s = divide(p, n, work);
    s.n_touched = add(p, s, n_cells, rows, w, products);
    for (int64_t j = 0; j < n_hidden; j++) *(s.weight ? &s.weight[hidden[j]] : &s.sum[hidden[j]]) = 0;
    int64_t size = 0;
    for (int64_t j = 0; j < n_touched(p, s); j++) {
        const int64_t c = touched(s, j);
        if (candidate(s, c) && !(p->open && !p->open[c]))
            size = fa_offer(s.best, size, n, score_of(p, s, c, norm), (int32_t)c);
        clean(s, c);
    }
    fa_sort(s.best, size);
    for (int64_t j = 0; j < n; j++) {
        columns[j] = j < size ? s.best.column[j] : -1;
        scores[j] = j < size ? (float)s.best.score[j] : -INFINITY;
    }
    return 0;
}

int fa_product_at(const fa_product *p, int64_t n_cells, const int32_t *rows, const float *w, int64_t n,
                  const int32_t *columns, float *scores, void *work) {
    int64_t products = 0;
    if (!are_rows(p, n_cells, rows, &products) || !are_columns(p, n, columns)) return 1;
    scratch s = divide(p, 1, work);
    s.n_touched = add(p, s, n_cells, rows, w, products);
    for (int64_t j = 0; j < n; j++)
        scores[j] = (float)(candidate(s, columns[j]) ? score_of(p, s, columns[j], 0)
                            : p->base                ? p->base[columns[j]]
                                                     : 0);
    for (int64_t j = 0; j < n_touched(p, s); j++) clean(s, touched(s, j));
    return 0;
}
