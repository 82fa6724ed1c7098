/* Gather and the symmetric rank-n update. */

/* Cells gathered into one packed block: small enough to stay in the first-level cache, long enough to amortise the
 * load and store of the accumulators. */
#define BLOCK_BYTES 32768
/* How far ahead of their use factor rows are fetched: about two blocks, so that the latency passes during the rank
 * update of the block before. Cells of the next row follow those of this one. */
#define PREFETCH_BYTES 65536

FA_INLINE ptrdiff_t FA(round_up)(ptrdiff_t n, ptrdiff_t to) { return (n + to - 1) / to * to; }

/* Rows are whole cache lines, so that a gathered row touches no more lines than it must. */
static ptrdiff_t FA(padded)(ptrdiff_t k) { return FA(round_up)(k, LINE); }

/* An odd number of lines: strides of a power of two would map a column of the matrix to a few cache sets. */
static ptrdiff_t FA(system_ld)(ptrdiff_t k) {
    ptrdiff_t lines = FA(round_up)(k, LINE) / LINE;
    return (lines | 1) * LINE;
}

static ptrdiff_t FA(system_rows)(ptrdiff_t k) { return FA(round_up)(k, MR); }

static ptrdiff_t FA(block_cells)(ptrdiff_t k) {
    ptrdiff_t cells = (ptrdiff_t)(BLOCK_BYTES / sizeof(real)) / FA(system_ld)(k);
    return cells < 32 ? 32 : cells > 256 ? 256 : cells;
}

/* Columns of a packed row that syrk reads: whole vectors of it, and whole blocks of MR rows of A. */
static ptrdiff_t FA(packed)(ptrdiff_t k) { return FA(round_up)(k, VL > MR ? VL : MR); }

/* A upper triangle += P'Q, P and Q (n, ld): the rank-n update, n FMAs a vector. */
static void FA(syrk)(ptrdiff_t n, ptrdiff_t k, const real *P, const real *Q, ptrdiff_t ld, real *A, ptrdiff_t lda) {
    const ptrdiff_t kp = FA(round_up)(k, VL);
    for (ptrdiff_t i = 0; i < k; i += MR) {
        const ptrdiff_t j = i / VL * VL;
        FA(strip_update)(i - j, kp - j, n, P + i, ld, 1, Q + j, ld, 0, A + i * lda + j, lda);
    }
}

/* rhs (k) += sum_j b_j Q_j, Q (n, ld) */
static void FA(gemv)(ptrdiff_t n, ptrdiff_t k, const real *Q, ptrdiff_t ld, const real *b, real *rhs) {
    const ptrdiff_t kp = FA(round_up)(k, VL);
    ptrdiff_t j = 0;
    for (; j + 4 * VL <= kp; j += 4 * VL) {
        vec s[4];
        FA_UNROLL for (int v = 0; v < 4; v++) s[v] = LOAD(rhs + j + v * VL);
        for (ptrdiff_t p = 0; p < n; p++)
            FA_UNROLL for (int v = 0; v < 4; v++) s[v] += b[p] * LOAD(Q + p * ld + j + v * VL);
        FA_UNROLL for (int v = 0; v < 4; v++) STORE(rhs + j + v * VL, s[v]);
    }
    for (; j < kp; j += VL) {
        vec s = LOAD(rhs + j);
        for (ptrdiff_t p = 0; p < n; p++) s += b[p] * LOAD(Q + p * ld + j);
        STORE(rhs + j, s);
    }
}

FA_INLINE void FA(prefetch)(const FA_S(fa_side) * side, const int32_t *cell, ptrdiff_t ahead) {
    if (side->end - cell <= ahead) return;
    const real *z = side->Z + cell[ahead] * side->ld;
    for (ptrdiff_t j = 0; j < side->ld; j += LINE) FA_PREFETCH(z + j);
}

static ptrdiff_t FA(prefetch_cells)(const FA_S(fa_side) * side) {
    return (ptrdiff_t)(PREFETCH_BYTES / sizeof(real)) / side->ld;
}

/* What the stored values say: a and b of VL cells of weight 1. */
FA_INLINE void FA(weigh)(const FA_S(fa_side) * side, vec r, vec *a, vec *b) {
    *a = side->a0 + side->a1 * FA(absolute)(r);
    *b = FA(where_above)(r, side->positive_only ? 0 : -FA_HUGE, side->b0 + side->b1 * r);
}

/* The weights s of the cells from val on, NULL where all are 1. */
FA_INLINE const real *FA(scale_of)(const FA_S(fa_side) * side, const real *val) {
    return side->scale ? side->scale + (val - side->values) : NULL;
}

/* a and b of n cells; returns 1 if every a is positive. */
static int FA(weights)(const FA_S(fa_side) * side, ptrdiff_t n, const real *val, real *a, real *b) {
    int positive = 1;
    ptrdiff_t j = 0;
    vec va, vb;
    for (; j + VL <= n; j += VL) {
        FA(weigh)(side, LOAD(val + j), &va, &vb);
        STORE(a + j, va);
        STORE(b + j, vb);
    }
    if (j < n) {
        real r[VL], p[VL], q[VL];
        for (ptrdiff_t i = 0; i < VL; i++) r[i] = j + i < n ? val[j + i] : 0;
        FA(weigh)(side, LOAD(r), &va, &vb);
        STORE(p, va);
        STORE(q, vb);
        for (ptrdiff_t i = 0; i < n - j; i++) {
            a[j + i] = p[i];
            b[j + i] = q[i];
        }
    }
    const real *s = FA(scale_of)(side, val);
    if (s)
        for (j = 0; j < n; j++) {
            a[j] *= s[j];
            b[j] *= s[j];
        }
    for (j = 0; j < n; j++) positive &= a[j] >= FA_TINY;
    return positive;
}

/* a and b of one cell in double: where a0 + a1 |r| cancels, float32 keeps little of it. */
FA_INLINE void FA(wide_weights)(const FA_S(fa_side) * side, const real *val, double *a, double *b) {
    const double r = (double)*val, s = side->scale ? (double)*FA(scale_of)(side, val) : 1;
    *a = s * ((double)side->a0 + (double)side->a1 * fabs(r));
    *b = side->positive_only && !(r > 0) ? 0 : s * ((double)side->b0 + (double)side->b1 * r);
}

/* Gathers n cells into rows of length ld: Q_j = s_j z_j (s NULL: z_j), zero padding kept. */
static void FA(gather)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *s, real *Q,
                       ptrdiff_t ld) {
    const ptrdiff_t kp = FA(packed)(side->k), ahead = FA(prefetch_cells)(side);
    for (ptrdiff_t j = 0; j < n; j++) {
        FA(prefetch)(side, idx + j, ahead);
        const real *z = side->Z + idx[j] * side->ld;
        if (s)
            for (ptrdiff_t c = 0; c < kp; c += VL) STORE(Q + j * ld + c, s[j] * LOAD(z + c));
        else
            for (ptrdiff_t c = 0; c < kp; c += VL) STORE(Q + j * ld + c, LOAD(z + c));
    }
}

/* D of one coordinate: what stands on the diagonal of a row's system before its cells. */
FA_INLINE real FA(diagonal)(const FA_S(fa_side) * side, ptrdiff_t p, const FA_S(fa_own) * own) {
    return p < side->ridged ? own->share * side->base[p] + own->lambda : side->base[p] + own->last;
}

/* The same in double. */
FA_INLINE double FA(wide_diagonal)(const FA_S(fa_side) * side, ptrdiff_t p, const FA_S(fa_own) * own) {
    const double base = (double)side->base[p];
    return p < side->ridged ? (double)own->share * base + (double)own->lambda : base + (double)own->last;
}

/* rhs += pull, the last of its terms, whoever has summed the others. */
FA_INLINE void FA(add_pull)(const FA_S(fa_side) * side, const FA_S(fa_own) * own, real *rhs) {
    for (ptrdiff_t c = 0; own->pull && c < side->k; c++) rhs[c] += own->pull[c];
}

static void FA(add_system)(ptrdiff_t k, const real *B, const real *more, real *A, real *rhs) {
    const ptrdiff_t ld = FA(system_ld)(k), size = FA(system_rows)(k) * ld;
    for (ptrdiff_t c = 0; c < size; c++) A[c] += B[c];
    for (ptrdiff_t c = 0; c < FA(padded)(k); c++) rhs[c] += more[c];
}

/* Elements of the workspace of one part of row_gram. */
FA_INLINE ptrdiff_t FA(part_room)(ptrdiff_t k) {
    return 2 * FA(block_cells)(k) + 2 * FA(block_cells)(k) * FA(system_ld)(k);
}

/* A and rhs of at most FA_PART_CELLS cells; on the diagonal D if `whole`, else 0. */
static void FA(part_gram)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                          const FA_S(fa_own) * own, const int whole, real *A, real *rhs, real *work) {
    const ptrdiff_t k = side->k, ld = FA(system_ld)(k), block = FA(block_cells)(k);
    real *a = work, *b = a + block, *P = b + block, *Q = P + block * ld;
    const int unit = side->a0 == 1 && side->a1 == 0 && !side->scale; /* a = 1 throughout: plain ratings */
    for (ptrdiff_t i = 0; i < FA(system_rows)(k); i++) {
        for (ptrdiff_t c = 0; c < ld; c++) A[i * ld + c] = 0;
        A[i * ld + i] = i >= k ? 1 : whole ? FA(diagonal)(side, i, own) : 0;
    }
    for (ptrdiff_t c = 0; c < FA(padded)(k); c++) rhs[c] = 0;
    for (ptrdiff_t j = 0; j < n; j += block) {
        const ptrdiff_t m = n - j < block ? n - j : block;
        if (FA(weights)(side, m, val + j, a, b)) {
            /* sum a z z' = sum (sqrt(a) z)(sqrt(a) z)': one packed copy serves both factors of the product */
            if (!unit)
                for (ptrdiff_t p = 0; p < m; p++) {
                    a[p] = FA_SQRT(a[p]);
                    b[p] /= a[p];
                }
            FA(gather)(side, m, idx + j, unit ? NULL : a, Q, ld);
            FA(syrk)(m, k, Q, Q, ld, A, ld);
        } else {
            FA(gather)(side, m, idx + j, a, P, ld);
            FA(gather)(side, m, idx + j, NULL, Q, ld);
            FA(syrk)(m, k, P, Q, ld, A, ld);
        }
        FA(gemv)(m, k, Q, ld, b, rhs);
    }
}

/* A and rhs of one row; see row_gram. */
static void FA(row_gram)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                         const FA_S(fa_own) * own, real *A, real *rhs, void *work) {
    real *room = work, *B = room + FA(part_room)(side->k);
    real *more = B + FA(system_rows)(side->ld) * FA(system_ld)(side->k);
    FA(part_gram)(side, n < FA_PART_CELLS ? n : FA_PART_CELLS, idx, val, own, 1, A, rhs, room);
    for (ptrdiff_t j = FA_PART_CELLS; j < n; j += FA_PART_CELLS) {
        const ptrdiff_t m = n - j < FA_PART_CELLS ? n - j : FA_PART_CELLS;
        FA(part_gram)(side, m, idx + j, val + j, own, 0, B, more, room);
        FA(add_system)(side->k, B, more, A, rhs);
    }
    FA(add_pull)(side, own, rhs);
}

/* The twin of row_gram; see row_system. */
static void FA(row_system)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                           const FA_S(fa_own) * own, double *A, double *rhs) {
    const ptrdiff_t k = side->k;
    for (ptrdiff_t i = 0; i < k; i++) {
        for (ptrdiff_t c = 0; c < k; c++) A[i * k + c] = 0;
        A[i * k + i] = FA(wide_diagonal)(side, i, own);
        rhs[i] = own->pull ? (double)own->pull[i] : 0;
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        const real *z = side->Z + idx[j] * side->ld;
        double a, b;
        FA(wide_weights)(side, val + j, &a, &b);
        for (ptrdiff_t i = 0; i < k; i++) {
            const double az = a * (double)z[i];
            for (ptrdiff_t c = i; c < k; c++) A[i * k + c] += az * (double)z[c];
            rhs[i] += b * (double)z[i];
        }
    }
    for (ptrdiff_t i = 0; i < k; i++)
        for (ptrdiff_t c = 0; c < i; c++) A[i * k + c] = A[c * k + i];
}
