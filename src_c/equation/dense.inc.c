/* Products over all rows of a side: its Gram matrix and its rotation. */

#define GRAM_ROWS 128

static void FA(gram)(ptrdiff_t n, ptrdiff_t k, const real *Y, ptrdiff_t ldy, double *G, void *work) {
    const ptrdiff_t ld = FA(system_ld)(k), kp = FA(packed)(k), block = FA(block_cells)(k);
    real *A = work, *Q = A + FA(system_rows)(FA(padded)(k)) * ld;
    for (ptrdiff_t first = 0; first < n; first += GRAM_ROWS) {
        const ptrdiff_t last = first + GRAM_ROWS < n ? first + GRAM_ROWS : n;
        for (ptrdiff_t c = 0; c < FA(system_rows)(k) * ld; c++) A[c] = 0;
        for (ptrdiff_t j = first; j < last; j += block) {
            const ptrdiff_t m = last - j < block ? last - j : block;
            for (ptrdiff_t p = 0; p < m; p++) {
                for (ptrdiff_t c = 0; c < k; c++) Q[p * ld + c] = Y[(j + p) * ldy + c];
                for (ptrdiff_t c = k; c < kp; c++) Q[p * ld + c] = 0;
            }
            FA(syrk)(m, k, Q, Q, ld, A, ld);
        }
        for (ptrdiff_t i = 0; i < k; i++)
            for (ptrdiff_t c = i; c < k; c++) G[i * k + c] += (double)A[i * ld + c];
    }
}

static void FA(rotate)(ptrdiff_t n, ptrdiff_t k, const real *Y, ptrdiff_t ldy, const real *Q, real *Z) {
    const ptrdiff_t ld = FA(padded)(k), kp = FA(round_up)(k, VL);
    for (ptrdiff_t i = 0; i < n; i++) {
        real *z = Z + i * ld;
        for (ptrdiff_t c = 0; c < k; c++) z[c] = Q ? 0 : Y[i * ldy + c];
        for (ptrdiff_t c = k; c < ld; c++) z[c] = 0;
    }
    if (!Q) return;
    ptrdiff_t i = 0;
    for (; i + MR <= n; i += MR) FA(strip_update)(0, kp, k, Y + i * ldy, 1, ldy, Q, ld, 0, Z + i * ld, ld);
    for (; i < n; i++)
        for (ptrdiff_t p = 0; p < k; p++)
            for (ptrdiff_t c = 0; c < kp; c += VL)
                STORE(Z + i * ld + c, LOAD(Z + i * ld + c) + Y[i * ldy + p] * LOAD(Q + p * ld + c));
}
