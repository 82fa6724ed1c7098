/* Rows by a few steps of preconditioned conjugate gradients (Hestenes & Stiefel 1952), from the row's previous value. A is
 * never formed: A p = D p + sum_j a_j (z_j'p) z_j, VL cells at a time, straight from the rows of Z.
 *
 * A row whose cells fit the second-level cache runs through all its passes alone: the first brings them in. Longer rows
 * (a popular item) would fetch everything again in every pass; a group of them walks through Z together, pass by pass, in
 * blocks of Z that stay in the cache while every row of the group uses them. */

#define CG_BLOCK_BYTES 524288

/* Rows of Z in one block, and cells of the longest row that runs alone. */
static ptrdiff_t FA(cg_block)(ptrdiff_t k) {
    return (ptrdiff_t)(CG_BLOCK_BYTES / sizeof(real)) / FA(padded)(k);
}

typedef struct {
    ptrdiff_t n, next; /* cells; the first that this pass has not seen */
    const int32_t *idx;
    const real *val;
    real *x, *r, *p, *q, *D, *M; /* solution, residual, direction, A p, diagonal term, diagonal of A */
    double rho, curvature, gain; /* r'M^-1 r, p'A p, what the steps so far have taken off the objective */
} FA(cg_row);

enum { FA(CG_START), FA(CG_STEP), FA(CG_LAST) };

/* d[i] = z_i'p for VL rows. The lane sums of VL accumulators are folded into one vector: at step h the halves of two
 * accumulators meet in one. Eight rows at a time, or their addresses would not fit the registers. */
FA_NOINLINE void FA(dots)(ptrdiff_t kp, const real *const *z, const real *p, real *d) {
    enum { ROWS = VL < 8 ? VL : 8 };
    vec t[VL];
    FA_UNROLL for (int first = 0; first < (int)VL; first += ROWS) {
        vec q = LOAD(p);
        FA_UNROLL for (int i = 0; i < ROWS; i++) t[first + i] = LOAD(z[first + i]) * q;
        for (ptrdiff_t c = VL; c < kp; c += VL) {
            q = LOAD(p + c);
            FA_UNROLL for (int i = 0; i < ROWS; i++) t[first + i] += LOAD(z[first + i] + c) * q;
        }
    }
#if FA_VECTOR_BYTES && !defined(__clang__)
    FA_UNROLL for (int h = (int)VL / 2; h; h /= 2)
        FA_UNROLL for (int i = 0; i < h; i++)
            t[i] = FA(low_blocks)(t[i], t[i + h], h) + FA(high_blocks)(t[i], t[i + h], h);
    STORE(d, t[0]);
#else
    for (int i = 0; i < (int)VL; i++) d[i] = FA(lane_sum)(t[i]);
#endif
}

/* y += sum_i c_i z_i over VL rows, nv vectors of columns from `column`; with M, M += sum_i a_i z_i z_i as well. */
FA_INLINE void FA(axpy_columns)(const int nv, const real *const *z, ptrdiff_t column, const real *c, real *y,
                                const real *a, real *M) {
    vec s[4], t[4];
    FA_UNROLL for (int v = 0; v < nv; v++) {
        s[v] = LOAD(y + column + v * VL);
        t[v] = M ? LOAD(M + column + v * VL) : s[v];
    }
    for (int i = 0; i < (int)VL; i++) {
        const real *row = z[i] + column;
        FA_UNROLL for (int v = 0; v < nv; v++) {
            const vec q = LOAD(row + v * VL);
            s[v] += c[i] * q;
            if (M) t[v] += a[i] * (q * q);
        }
    }
    FA_UNROLL for (int v = 0; v < nv; v++) {
        STORE(y + column + v * VL, s[v]);
        if (M) STORE(M + column + v * VL, t[v]);
    }
}

FA_INLINE void FA(axpy_rows)(ptrdiff_t kp, const real *const *z, const real *c, real *y, const real *a, real *M) {
    ptrdiff_t column = 0;
    for (; column + 4 * VL <= kp; column += 4 * VL) FA(axpy_columns)(4, z, column, c, y, a, M);
    for (; column + 2 * VL <= kp; column += 2 * VL) FA(axpy_columns)(2, z, column, c, y, a, M);
    if (column < kp) FA(axpy_columns)(1, z, column, c, y, a, M);
}

FA_NOINLINE void FA(axpys)(ptrdiff_t kp, const real *const *z, const real *c, real *y) {
    FA(axpy_rows)(kp, z, c, y, NULL, NULL);
}

FA_NOINLINE void FA(axpys_and_diagonal)(ptrdiff_t kp, const real *const *z, const real *c, real *y, const real *a,
                                        real *M) {
    FA(axpy_rows)(kp, z, c, y, a, M);
}

/* VL cells of one row, at z with values r and weights s (NULL: 1). */
FA_INLINE double FA(cg_cells)(const FA_S(fa_side) * side, FA(cg_row) * row, const int kind, const real *const *z,
                              const vec r, const real *s) {
    const ptrdiff_t kp = FA(round_up)(side->k, VL);
    real d[VL], c[VL], diagonal[VL];
    vec a, b;
    FA(weigh)(side, r, &a, &b);
    if (s) {
        a *= LOAD(s);
        b *= LOAD(s);
    }
    FA(dots)(kp, z, kind == FA(CG_START) ? row->x : row->p, d);
    const vec ad = a * LOAD(d);
    if (kind == FA(CG_START)) {
        STORE(c, b - ad);
        STORE(diagonal, a);
        FA(axpys_and_diagonal)(kp, z, c, row->r, diagonal, row->M);
        return (double)FA(lane_sum)(b * LOAD(d));
    }
    if (kind == FA(CG_STEP)) {
        STORE(c, ad);
        FA(axpys)(kp, z, c, row->q);
    }
    return (double)FA(lane_sum)(ad * LOAD(d));
}

/* One pass of one row over its cells up to row `end` of Z. */
FA_INLINE void FA(cg_pass)(const FA_S(fa_side) * side, FA(cg_row) * row, ptrdiff_t end, const int kind, const int alone,
                           const real *zeros) {
    const ptrdiff_t ahead = FA(prefetch_cells)(side);
    const int32_t *idx = row->idx;
    const real *z[VL], *s = FA(scale_of)(side, row->val);
    ptrdiff_t j = row->next, n = row->n;
    double sum = 0;
    for (; j + VL <= n && idx[j + VL - 1] < end; j += VL) {
        FA_UNROLL for (int i = 0; i < (int)VL; i++) {
            z[i] = side->Z + idx[j + i] * side->ld;
            if (alone && kind == FA(CG_START)) FA(prefetch)(side, idx + j + i, ahead);
        }
        sum += FA(cg_cells)(side, row, kind, z, LOAD(row->val + j), s ? s + j : NULL);
    }
    if (j < n && idx[j] < end) {
        /* a missing cell: value 0 on a row of zeros adds nothing anywhere */
        real r[VL], t[VL];
        for (ptrdiff_t i = 0; i < VL; i++) {
            const int there = j < n && idx[j] < end;
            z[i] = there ? side->Z + idx[j] * side->ld : zeros;
            r[i] = there ? row->val[j] : 0;
            t[i] = there && s ? s[j] : 0;
            j += there;
        }
        sum += FA(cg_cells)(side, row, kind, z, LOAD(r), s ? t : NULL);
    }
    row->next = j;
    if (kind == FA(CG_START)) row->gain += sum;
    else row->curvature += sum;
}

/* The same pass for a group of rows, block of Z by block. */
static void FA(cg_passes)(const FA_S(fa_side) * side, FA(cg_row) * rows, ptrdiff_t count, const int kind,
                          const real *zeros) {
    const ptrdiff_t block = count > 1 ? FA(cg_block)(side->k) : side->n_other;
    for (ptrdiff_t i = 0; i < count; i++) rows[i].next = 0;
    for (ptrdiff_t first = 0; first < side->n_other; first += block) {
        const ptrdiff_t last = first + block < side->n_other ? first + block : side->n_other;
        if (count > 1)
            for (ptrdiff_t c = first * side->ld; c < last * side->ld; c += LINE) FA_PREFETCH(side->Z + c);
        for (ptrdiff_t i = 0; i < count; i++) {
            if (kind == FA(CG_START)) {
                if (count == 1) FA(cg_pass)(side, rows + i, last, FA(CG_START), 1, zeros);
                else FA(cg_pass)(side, rows + i, last, FA(CG_START), 0, zeros);
            } else if (rows[i].rho > 0) {
                if (kind == FA(CG_STEP)) FA(cg_pass)(side, rows + i, last, FA(CG_STEP), 0, zeros);
                else FA(cg_pass)(side, rows + i, last, FA(CG_LAST), 0, zeros);
            }
        }
    }
}

/* Runs `count` rows, whose x and D are set, side by side; rho < 0 marks a row along whose direction A is not positive. */
static void FA(cg_solve)(const FA_S(fa_side) * side, FA(cg_row) * rows, ptrdiff_t count, const real *zeros) {
    const ptrdiff_t kp = FA(round_up)(side->k, VL);
    for (ptrdiff_t i = 0; i < count; i++) {
        FA(cg_row) *row = rows + i;
        row->gain = 0;
        for (ptrdiff_t c = 0; c < kp; c++) {
            row->M[c] = row->D[c];
            row->r[c] = -row->D[c] * row->x[c];
        }
    }
    FA(cg_passes)(side, rows, count, FA(CG_START), zeros);
    for (ptrdiff_t i = 0; i < count; i++) {
        FA(cg_row) *row = rows + i;
        row->rho = 0;
        for (ptrdiff_t c = 0; c < kp; c++) {
            /* gain holds x'rhs; what x has already taken off the objective is x'rhs + x'r */
            row->gain += (double)row->x[c] * (double)row->r[c];
            row->p[c] = row->r[c] / row->M[c];
            row->rho += (double)row->r[c] * (double)row->p[c];
        }
        for (ptrdiff_t c = 0; c < kp; c++)
            if (!(row->M[c] > 0)) row->rho = -1;
    }
    for (int step = 1; step <= side->cg_steps; step++) {
        const int last = step == side->cg_steps; /* needs p'A p, not A p */
        for (ptrdiff_t i = 0; i < count; i++) {
            FA(cg_row) *row = rows + i;
            row->curvature = 0;
            for (ptrdiff_t c = 0; c < kp; c++) {
                row->q[c] = row->D[c] * row->p[c];
                row->curvature += (double)row->p[c] * (double)row->q[c];
            }
        }
        FA(cg_passes)(side, rows, count, last ? FA(CG_LAST) : FA(CG_STEP), zeros);
        for (ptrdiff_t i = 0; i < count; i++) {
            FA(cg_row) *row = rows + i;
            if (row->rho <= 0) continue;
            if (!(row->curvature > 0)) {
                row->rho = -1;
                continue;
            }
            const double alpha = row->rho / row->curvature;
            double rho = 0;
            row->gain += alpha * row->rho;
            for (ptrdiff_t c = 0; c < kp; c++) {
                row->x[c] += (real)alpha * row->p[c];
                row->r[c] -= (real)alpha * row->q[c];
                rho += (double)row->r[c] * (double)(row->r[c] / row->M[c]);
            }
            const real beta = (real)(rho / row->rho);
            for (ptrdiff_t c = 0; c < kp; c++) row->p[c] = row->r[c] / row->M[c] + beta * row->p[c];
            row->rho = rho;
        }
    }
}

/* The six vectors of a row stand one after another, x first. */
FA_INLINE void FA(cg_row_at)(FA(cg_row) * row, const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx,
                             const real *val, real lambda, real *x, real *vectors) {
    const ptrdiff_t k = side->k, ld = side->ld;
    *row = (FA(cg_row)){.n = n, .idx = idx, .val = val, .x = x, .r = vectors, .p = vectors + ld, .q = vectors + 2 * ld,
                        .D = vectors + 3 * ld, .M = vectors + 4 * ld};
    for (ptrdiff_t c = 0; c < ld; c++) row->D[c] = c < k ? side->base[c] + lambda : 1;
}

static int FA(solve_row_cg)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val, real lambda,
                            real *x, double *decrease, void *work) {
    if (n > side->cg_above) {
        FA(cg_row) row;
        real *zeros = work;
        for (ptrdiff_t c = 0; c < side->ld; c++) zeros[c] = 0;
        FA(cg_row_at)(&row, side, n, idx, val, lambda, x, zeros + side->ld);
        FA(cg_solve)(side, &row, 1, zeros);
        *decrease = row.gain;
        if (row.rho >= 0) return 0;
    }
    return FA(solve_row)(side, n, idx, val, lambda, x, decrease, work);
}

/* A group of long rows. x (count, ld) holds what they start from and takes the solutions. */
static void FA(solve_group_cg)(const FA_S(fa_side) * side, ptrdiff_t count, const int32_t *rows, const int64_t *indptr,
                               const int32_t *indices, const real *values, const real *lambda, real *x,
                               double *decrease, int32_t *status, void *work) {
    FA(cg_row) group[FA_GROUP_ROWS];
    const ptrdiff_t ld = side->ld;
    real *zeros = work, *vectors = zeros + ld;
    for (ptrdiff_t c = 0; c < ld; c++) zeros[c] = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int64_t first = indptr[rows[i]], last = indptr[rows[i] + 1];
        FA(cg_row_at)(group + i, side, (ptrdiff_t)(last - first), indices + first, values + first, lambda[rows[i]],
                      x + i * ld, vectors + 5 * i * ld);
    }
    FA(cg_solve)(side, group, count, zeros);
    for (ptrdiff_t i = 0; i < count; i++) {
        decrease[i] = group[i].gain;
        status[i] = 0;
        if (group[i].rho < 0)
            status[i] = FA(solve_row)(side, group[i].n, group[i].idx, group[i].val, lambda[rows[i]], x + i * ld,
                                      decrease + i, work);
    }
}

/* The task's own part of the workspace stands in front: what its rows start from and their solutions, and as many turned
 * back. */
static double FA(solve_rows)(const FA_S(fa_side) * side, FA_S(fa_row_solver) solve, int group, ptrdiff_t count,
                             const int32_t *rows, const int64_t *indptr, const int32_t *indices, const real *values,
                             const real *lambda, const real *Q, const real *QT, int warm, real relaxation, real *X,
                             int32_t *status, void *work) {
    const ptrdiff_t k = side->k, ld = side->ld;
    real *x = work, *back = x + count * ld;
    void *row_work = back + count * ld;
    double total = 0, decrease[FA_GROUP_ROWS] = {0};
    int32_t state[FA_GROUP_ROWS];
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t c = 0; c < ld; c++) back[i * ld + c] = warm && c < k ? X[rows[i] * k + c] : 0;
    FA(rotate)(count, k, back, ld, warm ? Q : NULL, x);
    if (group) FA(solve_group_cg)(side, count, rows, indptr, indices, values, lambda, x, decrease, state, row_work);
    else
        for (ptrdiff_t i = 0; i < count; i++) {
            const int64_t first = indptr[rows[i]], last = indptr[rows[i] + 1];
            state[i] = solve(side, (ptrdiff_t)(last - first), indices + first, values + first, lambda[rows[i]],
                             x + i * ld, decrease + i, row_work);
        }
    if (QT) FA(rotate)(count, k, x, ld, QT, back);
    else back = x;
    for (ptrdiff_t i = 0; i < count; i++) {
        real *written = X + rows[i] * k;
        const real beyond = warm && !state[i] ? relaxation : 0;
        if (beyond > 0)
            for (ptrdiff_t c = 0; c < k; c++) written[c] = back[i * ld + c] + beyond * (back[i * ld + c] - written[c]);
        else
            for (ptrdiff_t c = 0; c < k; c++) written[c] = back[i * ld + c];
        status[rows[i]] = state[i];
        total += decrease[i];
    }
    return total;
}

static size_t FA(workspace)(ptrdiff_t k) {
    const ptrdiff_t kp = FA(padded)(k), ld = FA(system_ld)(k), block = FA(block_cells)(k);
    const ptrdiff_t gram = 2 * block + 2 * block * ld;
    const ptrdiff_t exact = FA(system_rows)(kp) * ld + (kp * ld > gram ? kp * ld : gram) + 8 * ld;
    const ptrdiff_t task = 2 * FA_TASK_ROWS * kp + exact;
    const ptrdiff_t group = FA_GROUP_ROWS * 2 * kp + (exact > FA_GROUP_ROWS * 6 * kp ? exact : FA_GROUP_ROWS * 6 * kp);
    return (size_t)FA(round_up)((task > group ? task : group) * (ptrdiff_t)sizeof(real), FA_ALIGN);
}
