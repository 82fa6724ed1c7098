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

/* The second half of one vector of columns: where a vector is twice as wide as a tile is high, every other diagonal tile
 * of a triangle needs no more. */
FA_INLINE void FA(half_tile_update)(ptrdiff_t n, const real *P, ptrdiff_t ps, ptrdiff_t rs, const real *Q, ptrdiff_t ldq,
                                    const int negative, real *C, ptrdiff_t ldc) {
#if FA_VECTOR_BYTES == 64
    typedef real half __attribute__((vector_size(32)));
    typedef half half_at __attribute__((aligned(sizeof(real)), may_alias));
    half acc[MR];
    FA_UNROLL for (int r = 0; r < FA_MR; r++) acc[r] = *(const half_at *)(C + r * ldc + VL / 2);
    for (ptrdiff_t p = 0; p < n; p++) {
        const half q = *(const half_at *)(Q + p * ldq + VL / 2);
        FA_UNROLL for (int r = 0; r < FA_MR; r++) {
            if (negative) acc[r] -= P[p * ps + r * rs] * q;
            else acc[r] += P[p * ps + r * rs] * q;
        }
    }
    FA_UNROLL for (int r = 0; r < FA_MR; r++) *(half_at *)(C + r * ldc + VL / 2) = acc[r];
#else
    FA(tile_update)(1, n, P, ps, rs, Q, ldq, negative, C, ldc);
#endif
}

/* One block of MR rows times `columns` (a multiple of VL) columns, of which the first `skip` < VL may keep any value. */
FA_INLINE void FA(strip_update)(ptrdiff_t skip, ptrdiff_t columns, ptrdiff_t n, const real *P, ptrdiff_t ps,
                                ptrdiff_t rs, const real *Q, ptrdiff_t ldq, const int negative, real *C, ptrdiff_t ldc) {
    ptrdiff_t vectors = columns / VL, j = 0;
    if (FA_VECTOR_BYTES == 64 && skip == VL / 2) {
        FA(half_tile_update)(n, P, ps, rs, Q, ldq, negative, C, ldc);
        vectors--;
        j += VL;
    }
    /* 4 = 2 + 2 keeps more accumulators busy than 3 + 1 */
    for (; vectors >= 3 && vectors != 4; vectors -= 3, j += 3 * VL)
        FA(tile_update)(3, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
    for (; vectors >= 2; vectors -= 2, j += 2 * VL)
        FA(tile_update)(2, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
    if (vectors) FA(tile_update)(1, n, P, ps, rs, Q + j, ldq, negative, C + j, ldc);
}
