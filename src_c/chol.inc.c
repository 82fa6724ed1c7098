/* Cholesky A = U'U of the upper triangle, row-major, left-looking over blocks of MR rows, with the right-hand side
 * carried along (y = U'^-1 rhs), and the back substitution U x = y. */

/* A pivot that has lost all but this part of the diagonal entry it came from is rounding, not mathematics. */
#define PIVOT_LOSS ((real)4 * FA_EPS)

/* The MR x MR diagonal block at D, unblocked: U[q][r], 1 / U[r][r] and y = U'^-1 rhs. Returns 0 or 1 + a bad pivot. */
static int FA(factor_diagonal)(const real *D, ptrdiff_t ld, const real *original, const real *rhs, real U[MR][MR],
                               real inverse[MR], real y[MR]) {
    for (ptrdiff_t r = 0; r < MR; r++) {
        real s[MR];
        for (ptrdiff_t c = r; c < MR; c++) s[c] = D[r * ld + c];
        real t = rhs[r];
        for (ptrdiff_t q = 0; q < r; q++) {
            for (ptrdiff_t c = r; c < MR; c++) s[c] -= U[q][r] * U[q][c];
            t -= U[q][r] * y[q];
        }
        if (!(s[r] > PIVOT_LOSS * original[r])) return 1 + (int)r;
        inverse[r] = 1 / FA_SQRT(s[r]);
        for (ptrdiff_t c = r; c < MR; c++) U[r][c] = s[c] * inverse[r];
        y[r] = t * inverse[r];
    }
    return 0;
}

FA_INLINE real FA(lane_sum)(vec v) {
#if FA_VECTOR_BYTES
    real t[FA_VECTOR_BYTES / sizeof(real)];
    STORE(t, v);
    for (ptrdiff_t h = VL / 2; h; h /= 2)
        for (ptrdiff_t i = 0; i < h; i++) t[i] += t[i + h];
    return t[0];
#else
    return v;
#endif
}

/* A and x have system_ld, system_rows of a system of size n; n need not be the model's k. */
static int FA(potrs)(ptrdiff_t n, real *A, ptrdiff_t ld, real *rhs, real *x) {
    const ptrdiff_t np = FA(round_up)(n, VL), rows = FA(system_rows)(n);
    for (ptrdiff_t i = 0; i < rows; i += MR) {
        const ptrdiff_t j = i / VL * VL;
        real *row = A + i * ld;
        real U[MR][MR], inverse[MR], y[MR], original[MR];
        for (ptrdiff_t r = 0; r < MR; r++) original[r] = row[r * ld + i + r];
        FA(strip_update)(i - j, np - j, i, A + i, ld, 1, A + j, ld, 1, row + j, ld);
        const int bad = FA(factor_diagonal)(row + i, ld, original, rhs + i, U, inverse, y);
        if (bad) return (int)i + bad;
        /* each further vector of columns: forward substitution through the block, then its part of the right side */
        for (ptrdiff_t c = j; c < np; c += VL) {
            vec u[MR], t = LOAD(rhs + c);
            FA_UNROLL for (int r = 0; r < FA_MR; r++) {
                u[r] = LOAD(row + r * ld + c);
                FA_UNROLL for (int q = 0; q < r; q++) u[r] -= U[q][r] * u[q];
                u[r] *= inverse[r];
                t -= y[r] * u[r];
                STORE(row + r * ld + c, u[r]);
            }
            STORE(rhs + c, t);
        }
        for (ptrdiff_t r = 0; r < MR; r++) x[i + r] = y[r];
    }
    /* Back substitution. rhs becomes x from the bottom up: zero where not yet known, so that whole vectors may be read. */
    for (ptrdiff_t c = 0; c < np; c++) rhs[c] = 0;
    for (ptrdiff_t i = rows - MR; i >= 0; i -= MR) {
        const real *row = A + i * ld;
        vec s[MR];
        FA_UNROLL for (int r = 0; r < FA_MR; r++) s[r] = (vec){0};
        for (ptrdiff_t c = i / VL * VL; c < np; c += VL) {
            const vec t = LOAD(rhs + c);
            FA_UNROLL for (int r = 0; r < FA_MR; r++) s[r] += LOAD(row + r * ld + c) * t;
        }
        for (ptrdiff_t r = MR - 1; r >= 0; r--) {
            real t = x[i + r] - FA(lane_sum)(s[r]);
            for (ptrdiff_t q = r + 1; q < MR; q++) t -= row[r * ld + i + q] * rhs[i + q];
            rhs[i + r] = t / row[r * ld + i + r];
        }
    }
    for (ptrdiff_t c = 0; c < np; c++) x[c] = c < n ? rhs[c] : 0;
    return 0;
}

static int FA(posv)(ptrdiff_t k, real *A, real *rhs, real *x) { return FA(potrs)(k, A, FA(system_ld)(k), rhs, x); }
