/* The one register tile. Gram matrices, Cholesky updates, products and scores are all made of it:
 *
 *     C[r][:] (+|-)= sum_p P[p ps + r rs] Q[p ldq + :]       r < MR, nv vectors of columns, p < n
 *
 * nv, ps or rs are constants where it is called, so each call becomes a straight loop of FMAs on registers. */

FA_INLINE void FA(tile_sum)(const int nv, ptrdiff_t n, const real *FA_RESTRICT P, ptrdiff_t ps, ptrdiff_t rs,
                            const real *FA_RESTRICT Q, ptrdiff_t ldq, const int negative, vec acc[MR][NV]) {
    for (ptrdiff_t p = 0; p < n; p++) {
        vec q[NV];
        FA_UNROLL for (int v = 0; v < nv; v++) q[v] = LOAD(Q + p * ldq + v * VL);
        FA_UNROLL for (int r = 0; r < FA_MR; r++) {
            const real c = P[p * ps + r * rs];
            FA_UNROLL for (int v = 0; v < nv; v++) {
                if (negative) acc[r][v] -= c * q[v];
                else acc[r][v] += c * q[v];
            }
        }
    }
}

FA_INLINE void FA(tile_update)(const int nv, ptrdiff_t n, const real *P, ptrdiff_t ps, ptrdiff_t rs, const real *Q,
                               ptrdiff_t ldq, const int negative, real *C, ptrdiff_t ldc) {
    vec acc[MR][NV];
    FA_UNROLL for (int r = 0; r < FA_MR; r++)
        FA_UNROLL for (int v = 0; v < nv; v++) acc[r][v] = LOAD(C + r * ldc + v * VL);
    FA(tile_sum)(nv, n, P, ps, rs, Q, ldq, negative, acc);
    FA_UNROLL for (int r = 0; r < FA_MR; r++)
        FA_UNROLL for (int v = 0; v < nv; v++) STORE(C + r * ldc + v * VL, acc[r][v]);
}

/* One block of MR rows times `columns` (a multiple of VL) columns. */
FA_INLINE void FA(strip_update)(ptrdiff_t columns, ptrdiff_t n, const real *P, ptrdiff_t ps, ptrdiff_t rs, const real *Q,
                                ptrdiff_t ldq, const int negative, real *C, ptrdiff_t ldc) {
    ptrdiff_t vectors = columns / VL, j = 0;
    /* 4 = 2 + 2 keeps more accumulators busy than 3 + 1 */
    for (; vectors >= 3 && vectors != 4; vectors -= 3, j += 3 * VL)
        FA(tile_update)(3, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
    for (; vectors >= 2; vectors -= 2, j += 2 * VL)
        FA(tile_update)(2, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
    if (vectors) FA(tile_update)(1, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
}
