/* Cholesky A = U'U of the upper triangle, row-major, left-looking over blocks of MR rows, with the right-hand side
 * carried along (y = U'^-1 rhs), and the back substitution U x = y. */

/* A pivot that has lost all but this part of the diagonal entry it came from is rounding, not mathematics. */
#define PIVOT_LOSS ((real)4 * FA_EPS)

/* The MR x MR diagonal block at D: U[q][r] (q > r: arbitrary), 1 / U[r][r] and y = U'^-1 rhs. Row by row, each at once
 * taken off those below: what a pivot waits for is the row before, and nothing else. Returns 0 or 1 + a bad pivot. */
static int FA(factor_diagonal)(const real *D, ptrdiff_t ld, const real *original, const real *rhs, real U[MR][MR],
                               real inverse[MR], real y[MR]) {
    real s[FA_MR][FA_MR], t[FA_MR];
    for (int r = 0; r < FA_MR; r++) {
        t[r] = rhs[r];
        for (int c = 0; c < FA_MR; c++) s[r][c] = D[r * ld + c];
    }
    FA_UNROLL for (int r = 0; r < FA_MR; r++) {
        if (!(s[r][r] > PIVOT_LOSS * original[r])) return 1 + r;
        inverse[r] = 1 / FA_SQRT(s[r][r]);
        y[r] = t[r] * inverse[r];
        for (int c = 0; c < FA_MR; c++) {
            U[r][c] = s[r][c] * inverse[r];
            t[c] -= y[r] * U[r][c];
        }
        FA_UNROLL for (int i = r + 1; i < FA_MR; i++)
            for (int c = 0; c < FA_MR; c++) s[i][c] -= U[r][i] * U[r][c];
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

/* sums[r] = the lane sum of s[r], which is destroyed. */
FA_INLINE void FA(lane_sums_of_block)(vec s[MR], real sums[MR]) {
#if FA_VECTOR_BYTES && !defined(__clang__)
    if (VL >= MR) {
        real parts[VL];
        FA(fold)(FA_MR, s);
        STORE(parts, s[0]);
        for (ptrdiff_t r = 0; r < MR; r++) {
            sums[r] = parts[r];
            for (ptrdiff_t c = r + MR; c < VL; c += MR) sums[r] += parts[c];
        }
        return;
    }
#endif
    for (ptrdiff_t r = 0; r < MR; r++) sums[r] = FA(lane_sum)(s[r]);
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
        real t[MR], inverse[MR];
        FA(lane_sums_of_block)(s, t);
        for (ptrdiff_t r = 0; r < MR; r++) {
            t[r] = x[i + r] - t[r];
            inverse[r] = 1 / row[r * ld + i + r];
        }
        FA_UNROLL for (int r = FA_MR - 1; r >= 0; r--) {
            rhs[i + r] = t[r] * inverse[r];
            FA_UNROLL for (int q = 0; q < r; q++) t[q] -= row[q * ld + i + r] * rhs[i + r];
        }
    }
    for (ptrdiff_t c = 0; c < np; c++) x[c] = c < n ? rhs[c] : 0;
    return 0;
}

static int FA(posv)(ptrdiff_t k, real *A, real *rhs, real *x) { return FA(potrs)(k, A, FA(system_ld)(k), rhs, x); }
