/* linear.c for one dtype. */

void NAME(fa_add_rows)(int64_t n_columns, const real *B, int64_t n_cells, const int32_t *rows, const real *w,
                       double *sum) {
    for (int64_t first = 0; first < n_columns; first += COLUMNS) {
        const int64_t n = n_columns - first < COLUMNS ? n_columns - first : COLUMNS;
        double *FA_RESTRICT s = sum + first;
        int64_t j = 0;
        /* four rows at a time, in order: a sum is loaded and stored once for four of its terms */
        for (; j + 4 <= n_cells; j += 4) {
            const real *b0 = B + rows[j] * n_columns + first, *b1 = B + rows[j + 1] * n_columns + first;
            const real *b2 = B + rows[j + 2] * n_columns + first, *b3 = B + rows[j + 3] * n_columns + first;
            const double w0 = (double)w[j], w1 = (double)w[j + 1], w2 = (double)w[j + 2], w3 = (double)w[j + 3];
            for (int64_t c = 0; c < n; c++)
                s[c] = (((s[c] + w0 * (double)b0[c]) + w1 * (double)b1[c]) + w2 * (double)b2[c]) + w3 * (double)b3[c];
        }
        for (; j < n_cells; j++) {
            const real *b = B + rows[j] * n_columns + first;
            const double wj = (double)w[j];
            for (int64_t c = 0; c < n; c++) s[c] += wj * (double)b[c];
        }
    }
}

double NAME(fa_dot_cells)(const real *b, int64_t stride, int64_t n_cells, const int32_t *rows, const real *w) {
    double sum = 0;
    for (int64_t j = 0; j < n_cells; j++) sum += (double)w[j] * (double)b[rows[j] * stride];
    return sum;
}

void NAME(fa_gram_row)(int64_t n_cells, const int32_t *rows, const real *w, const int64_t *indptr,
                       const int32_t *indices, const real *values, int64_t n, double *sum, real *out) {
    for (int64_t j = 0; j < n_cells; j++) {
        const double wj = (double)w[j];
        const int64_t end = indptr[rows[j] + 1];
        for (int64_t q = indptr[rows[j]]; q < end && indices[q] < n; q++) sum[indices[q]] += wj * (double)values[q];
    }
    for (int64_t c = 0; c < n; c++) {
        out[c] = (real)sum[c];
        sum[c] = 0;
    }
}

void NAME(fa_dot_rows)(const double *t, int64_t n, const int64_t *indptr, const int32_t *rows, const real *w,
                       real *out) {
    for (int64_t c = 0; c < n; c++) {
        double sum = 0;
        for (int64_t q = indptr[c]; q < indptr[c + 1]; q++) sum += (double)w[q] * t[rows[q]];
        out[c] = (real)sum;
    }
}

void NAME(fa_best_of)(int64_t n_columns, double *score, int64_t n_hidden, const int32_t *hidden, const uint8_t *open,
                      int64_t n, int32_t *columns, real *scores, void *work) {
    const fa_heap best = {work, (int32_t *)((double *)work + n)};
    int64_t size = 0;
    for (int64_t j = 0; j < n_hidden; j++) score[hidden[j]] = -INFINITY;
    for (int64_t c = 0; c < n_columns; c++)
        if (score[c] > (size < n ? -INFINITY : best.score[0]) && !(open && !open[c]))
            size = fa_offer(best, size, n, score[c], (int32_t)c);
    fa_sort(best, size);
    for (int64_t j = 0; j < n; j++) {
        columns[j] = j < size ? best.column[j] : -1;
        scores[j] = j < size ? (real)best.score[j] : -(real)INFINITY;
    }
}
