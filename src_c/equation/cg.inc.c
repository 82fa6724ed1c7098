/* Rows by a few steps of preconditioned conjugate gradients (Hestenes & Stiefel 1952), from the row's previous value. A is
 * never formed: A p = D p + sum_j a_j (z_j'p) z_j, VL cells at a time, straight from the rows of Z.
 *
 * A row whose cells fit the second-level cache runs through all its passes alone: the first brings them in. Longer rows
 * (a popular item) would fetch everything again in every pass; a group of them walks through Z together, pass by pass, in
 * blocks of Z that stay in the cache while every row of the group uses them. A long row is cut at the blocks' ends even
 * where it walks alone, a short one nowhere, so that its sums are the same in any company. */

#define CG_BLOCK_BYTES 524288

/* What the rows of a group hold in all: as much again streams through the cache for each block. */
#define CG_GROUP_BYTES 2097152

/* Rows of Z in one block, and cells of the longest row that runs alone. */
static ptrdiff_t FA(cg_block)(ptrdiff_t k) {
    return (ptrdiff_t)(CG_BLOCK_BYTES / sizeof(real)) / FA(padded)(k);
}

/* Rows that one group may hold. */
static ptrdiff_t FA(cg_group)(ptrdiff_t k) {
    const ptrdiff_t rows = (ptrdiff_t)(CG_GROUP_BYTES / sizeof(real)) / (8 * FA(padded)(k));
    return rows < FA_TASK_ROWS ? FA_TASK_ROWS : rows > FA_GROUP_ROWS ? FA_GROUP_ROWS : rows;
}

/* Whether a row pays for walking through Z block by block: with 32 cells or more in each. */
FA_INLINE int FA(cg_long)(ptrdiff_t k, ptrdiff_t n_other, ptrdiff_t n) {
    const ptrdiff_t block = FA(cg_block)(k);
    return n > block && n / 32 > n_other / block;
}

/* Steps along a direction that the cells do not reach are steps in rounding, which over-relaxation makes grow. So rows
 * that cannot reach all (fewer cells than factors) need at least this part of a coordinate's curvature from D. */
#define CG_LEAST ((real)1000 * FA_EPS)

/* What is left of a row's gradient when it is nothing but rounding, beside the terms that it is the difference of. */
#define CG_NOISE ((double)(4 * FA_EPS) * (double)(4 * FA_EPS))

typedef struct {
    ptrdiff_t n, next; /* cells; the first that this pass has not seen */
    int is_long;
    const int32_t *idx;
    const real *val;
    real *x, *r, *p, *q, *D, *M; /* solution, residual, direction, A p, diagonal term, diagonal of A and then its inverse */
    const real *pull;
    double rho, curvature, gain; /* r'M^-1 r, p'A p, what the steps so far have taken off the objective */
    double noise;                /* rho below this is rounding */
} FA(cg_row);

enum { FA(CG_START), FA(CG_STEP), FA(CG_LAST) };

/* Rows whose accumulators and addresses fit the registers together. */
#define DOT_ROWS ((int)VL < 8 ? (int)VL : 8)

/* d[i] = z_i'p for VL rows of nv vectors. */
FA_INLINE void FA(dots_of)(const ptrdiff_t nv, const real *const *z, const real *p, real *d) {
    vec t[2][DOT_ROWS];
    FA_UNROLL for (int g = 0; g < (int)VL / DOT_ROWS; g++) {
        const real *const *rows = z + g * DOT_ROWS;
        vec q = LOAD(p);
        FA_UNROLL for (int i = 0; i < DOT_ROWS; i++) t[g][i] = LOAD(rows[i]) * q;
        for (ptrdiff_t v = 1; v < nv; v++) {
            q = LOAD(p + v * VL);
            FA_UNROLL for (int i = 0; i < DOT_ROWS; i++) t[g][i] += LOAD(rows[i] + v * VL) * q;
        }
        FA(fold)(DOT_ROWS, t[g]);
    }
#if FA_VECTOR_BYTES && !defined(__clang__)
    STORE(d, (int)VL > DOT_ROWS ? FA(fold_pair)(t[0][0], t[1][0], DOT_ROWS) : t[0][0]);
#else
    for (int i = 0; i < (int)VL; i++) d[i] = FA(lane_sum)(t[i / DOT_ROWS][i % DOT_ROWS]);
#endif
}

FA_NOINLINE void FA(dots)(ptrdiff_t kp, const real *const *z, const real *p, real *d) {
    switch (kp / VL) {
    case 1: FA(dots_of)(1, z, p, d); break;
    case 2: FA(dots_of)(2, z, p, d); break;
    case 4: FA(dots_of)(4, z, p, d); break;
    default: FA(dots_of)(kp / VL, z, p, d);
    }
}

/* The VL cells that come next; idx NULL: none. Their rows are brought close while the rows of these are still used, which
 * wait for no memory any more: one kind of work hides the other. */
typedef struct {
    const real *Z;
    ptrdiff_t ld;
    const int32_t *idx;
} FA(ahead);

/* Where VL rows are larger than this, the next ones would push them out of the first-level cache. */
#define CLOSE_BYTES 8192

/* y += sum_i c_i z_i over VL rows, nv vectors of columns from `column`; with M, M += sum_i a_i z_i z_i as well. */
FA_INLINE void FA(axpy_columns)(const int nv, const real *const *z, ptrdiff_t column, const real *c, real *y,
                                const real *a, real *M, const FA(ahead) next) {
    vec s[4], t[4];
    FA_UNROLL for (int v = 0; v < nv; v++) {
        s[v] = LOAD(y + column + v * VL);
        t[v] = M ? LOAD(M + column + v * VL) : s[v];
    }
    for (int i = 0; i < (int)VL; i++) {
        const real *row = z[i] + column;
        if (next.idx) {
            const real *soon = next.Z + next.idx[i] * next.ld + column;
            FA_UNROLL for (int l = 0; l < nv * (int)VL; l += (int)LINE) FA_PREFETCH_CLOSE(soon + l);
        }
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

FA_INLINE void FA(axpy_rows)(ptrdiff_t kp, const real *const *z, const real *c, real *y, const real *a, real *M,
                             const FA(ahead) next) {
    ptrdiff_t column = 0;
    for (; column + 4 * VL <= kp; column += 4 * VL) FA(axpy_columns)(4, z, column, c, y, a, M, next);
    for (; column + 2 * VL <= kp; column += 2 * VL) FA(axpy_columns)(2, z, column, c, y, a, M, next);
    if (column < kp) FA(axpy_columns)(1, z, column, c, y, a, M, next);
}

FA_NOINLINE void FA(axpys)(ptrdiff_t kp, const real *const *z, const real *c, real *y, const FA(ahead) next) {
    FA(axpy_rows)(kp, z, c, y, NULL, NULL, next);
}

FA_NOINLINE void FA(axpys_and_diagonal)(ptrdiff_t kp, const real *const *z, const real *c, real *y, const real *a,
                                        real *M, const FA(ahead) next) {
    FA(axpy_rows)(kp, z, c, y, a, M, next);
}

/* VL cells of one row, at z with values r and weights s (NULL: 1); returns what each adds to x'rhs or p'A p. */
FA_INLINE vec FA(cg_cells)(const FA_S(fa_side) * side, FA(cg_row) * row, const int kind, const real *const *z,
                           const vec r, const real *s, const FA(ahead) next) {
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
        FA(axpys_and_diagonal)(kp, z, c, row->r, diagonal, row->M, next);
        return b * LOAD(d);
    }
    if (kind == FA(CG_STEP)) {
        STORE(c, ad);
        FA(axpys)(kp, z, c, row->q, next);
    }
    return ad * LOAD(d);
}

/* One pass of one row over its cells up to row `end` of Z; `alone`: no others bring that part of Z close. */
FA_INLINE void FA(cg_pass)(const FA_S(fa_side) * side, FA(cg_row) * row, ptrdiff_t end, const int kind, const int alone,
                           const real *zeros) {
    const ptrdiff_t ahead = FA(prefetch_cells)(side);
    const int32_t *idx = row->idx;
    const int close = side->ld * VL * (ptrdiff_t)sizeof(real) <= CLOSE_BYTES;
    const real *z[VL], *s = FA(scale_of)(side, row->val);
    ptrdiff_t j = row->next, n = row->n;
    vec sum = (vec){0};
    for (; j + VL <= n && idx[j + VL - 1] < end; j += VL) {
        const FA(ahead) next = {side->Z, side->ld, close && j + 2 * VL <= n ? idx + j + VL : NULL};
        FA_UNROLL for (int i = 0; i < (int)VL; i++) {
            z[i] = side->Z + idx[j + i] * side->ld;
            if (alone && kind == FA(CG_START)) FA(prefetch)(side, idx + j + i, ahead);
        }
        sum += FA(cg_cells)(side, row, kind, z, LOAD(row->val + j), s ? s + j : NULL, next);
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
        sum += FA(cg_cells)(side, row, kind, z, LOAD(r), s ? t : NULL, (FA(ahead)){0});
    }
    row->next = j;
    if (kind == FA(CG_START)) row->gain += (double)FA(lane_sum)(sum);
    else row->curvature += (double)FA(lane_sum)(sum);
}

/* The same pass for `count` rows, block of Z by block where there is a long one. */
static void FA(cg_passes)(const FA_S(fa_side) * side, FA(cg_row) * rows, ptrdiff_t count, const int kind,
                          const real *zeros) {
    int blocks = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        rows[i].next = 0;
        blocks |= rows[i].is_long;
    }
    const ptrdiff_t block = blocks ? FA(cg_block)(side->k) : side->n_other;
    ptrdiff_t from = 0;
    for (ptrdiff_t first = 0, b = 0; first < side->n_other; first += block, b++) {
        ptrdiff_t last = first + block < side->n_other ? first + block : side->n_other;
        if (blocks && side->cuts) last = side->cuts[b];
        if (count > 1 && (blocks || !side->cuts))
            for (ptrdiff_t c = from * side->ld; c < last * side->ld; c += LINE) FA_PREFETCH(side->Z + c);
        from = last;
        for (ptrdiff_t i = 0; i < count; i++) {
            const ptrdiff_t end = rows[i].is_long ? last : side->n_other;
            if (kind == FA(CG_START)) {
                if (count == 1) FA(cg_pass)(side, rows + i, end, FA(CG_START), 1, zeros);
                else FA(cg_pass)(side, rows + i, end, FA(CG_START), 0, zeros);
            } else if (rows[i].rho > 0) {
                if (kind == FA(CG_STEP)) FA(cg_pass)(side, rows + i, end, FA(CG_STEP), 0, zeros);
                else FA(cg_pass)(side, rows + i, end, FA(CG_LAST), 0, zeros);
            }
        }
    }
}

/* r += pull */
FA_NOINLINE void FA(cg_pull)(FA(cg_row) * row, ptrdiff_t kp) {
    vec gain = (vec){0};
    for (ptrdiff_t c = 0; c < kp; c += VL) {
        const vec pull = LOAD(row->pull + c);
        STORE(row->r + c, LOAD(row->r + c) + pull);
        gain += LOAD(row->x + c) * pull;
    }
    row->gain += (double)FA(lane_sum)(gain);
}

/* Before the first pass: r = pull - D x, M = D. */
FA_INLINE void FA(cg_begin)(FA(cg_row) * row, ptrdiff_t kp) {
    for (ptrdiff_t c = 0; c < kp; c += VL) {
        const vec D = LOAD(row->D + c);
        STORE(row->M + c, D);
        STORE(row->r + c, -D * LOAD(row->x + c));
    }
    row->gain = 0;
    if (row->pull) FA(cg_pull)(row, kp);
}

/* After it r and M are whole: the first direction, p = M^-1 r. rho < 0 marks a row that is not one for this solver. */
FA_INLINE void FA(cg_direct)(const FA_S(fa_side) * side, FA(cg_row) * row, ptrdiff_t kp) {
    const int partial = row->n < side->k || side->n_other < side->k;
    const real least = partial ? CG_LEAST : 0;
    vec rho = (vec){0}, gain = (vec){0}, size = (vec){0};
    const real steepest = FA(max_abs)(side->k, row->M, 1), flat = FLAT * steepest;
    vec right = (vec){0};
    real flattest = FA_HUGE;
    int sound = 1;
    for (ptrdiff_t c = 0; c < kp; c++) sound &= row->M[c] > 0 && row->D[c] >= least * row->M[c];
    for (ptrdiff_t c = 0; c < side->k; c++) {
        sound &= row->D[c] >= flat;
        if (row->M[c] < flattest) flattest = row->M[c];
    }
    for (ptrdiff_t c = 0; c < kp; c += VL) {
        const vec r = LOAD(row->r + c), inverse = 1 / LOAD(row->M + c), p = r * inverse, x = LOAD(row->x + c);
        const vec ax = x * LOAD(row->M + c);
        size += x * ax;
        right += ax * ax + r * r;
        STORE(row->M + c, inverse);
        STORE(row->p + c, p);
        rho += r * p;
        gain += x * r;
    }
    row->rho = (double)FA(lane_sum)(rho);
    row->noise = CG_NOISE * ((double)FA(lane_sum)(size) + row->rho);
    if (!sound || !(row->rho <= (double)FA_HUGE && row->noise <= (double)FA_HUGE)) row->rho = -1;
    else if (row->rho <= row->noise) row->rho = 0;
    /* gain holds x'rhs; what x has already taken off the objective is x'rhs + x'r */
    row->gain += (double)FA(lane_sum)(gain);
    if (row->rho > 0 && !(flattest >= FLAT_FROM * steepest) &&
        !FA(flat_is_sound)((double)FA(lane_sum)(right), (double)flattest, fabs(row->gain) + row->rho))
        row->rho = -1;
}

/* Before a step's pass: q = D p, and its part of p'A p. */
FA_INLINE void FA(cg_aim)(FA(cg_row) * row, ptrdiff_t kp) {
    vec curvature = (vec){0};
    for (ptrdiff_t c = 0; c < kp; c += VL) {
        const vec p = LOAD(row->p + c), q = LOAD(row->D + c) * p;
        STORE(row->q + c, q);
        curvature += p * q;
    }
    row->curvature = (double)FA(lane_sum)(curvature);
}

/* After it: the step, and unless it was the last, the next direction. rho < 0 marks a row along whose direction A is not
 * positive, 0 one that has arrived. */
FA_INLINE void FA(cg_step)(FA(cg_row) * row, ptrdiff_t kp, int last) {
    if (row->rho <= 0) return;
    if (!(row->curvature > 0 && row->curvature <= (double)FA_HUGE)) {
        row->rho = -1;
        return;
    }
    const double step = row->rho / row->curvature;
    const real alpha = (real)step;
    vec slope = (vec){0};
    for (ptrdiff_t c = 0; c < kp; c += VL) slope += LOAD(row->p + c) * LOAD(row->r + c);
    const double gain = step * (2 * (double)FA(lane_sum)(slope) - step * row->curvature);
    if (!(gain > 0)) {
        row->rho = 0;
        return;
    }
    row->gain += gain;
    for (ptrdiff_t c = 0; c < kp; c += VL) STORE(row->x + c, LOAD(row->x + c) + alpha * LOAD(row->p + c));
    if (last) return;
    vec sum = (vec){0};
    for (ptrdiff_t c = 0; c < kp; c += VL) {
        const vec r = LOAD(row->r + c) - alpha * LOAD(row->q + c);
        STORE(row->r + c, r);
        sum += r * (r * LOAD(row->M + c));
    }
    const double rho = (double)FA(lane_sum)(sum);
    const real beta = (real)(rho / row->rho);
    row->rho = rho > row->noise ? rho : 0;
    for (ptrdiff_t c = 0; c < kp; c += VL)
        STORE(row->p + c, LOAD(row->r + c) * LOAD(row->M + c) + beta * LOAD(row->p + c));
}

/* Runs `count` rows, whose x and D are set, side by side. */
static void FA(cg_solve)(const FA_S(fa_side) * side, FA(cg_row) * rows, ptrdiff_t count, const real *zeros) {
    const ptrdiff_t kp = FA(round_up)(side->k, VL);
    for (ptrdiff_t i = 0; i < count; i++) FA(cg_begin)(rows + i, kp);
    FA(cg_passes)(side, rows, count, FA(CG_START), zeros);
    for (ptrdiff_t i = 0; i < count; i++) FA(cg_direct)(side, rows + i, kp);
    for (int step = 1; step <= side->cg_steps; step++) {
        const int last = step == side->cg_steps; /* needs p'A p, not A p */
        for (ptrdiff_t i = 0; i < count; i++) FA(cg_aim)(rows + i, kp);
        FA(cg_passes)(side, rows, count, last ? FA(CG_LAST) : FA(CG_STEP), zeros);
        for (ptrdiff_t i = 0; i < count; i++) FA(cg_step)(rows + i, kp, last);
    }
}

/* The six vectors of a row stand one after another, x first. */
FA_INLINE void FA(cg_row_at)(FA(cg_row) * row, const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx,
                             const real *val, const FA_S(fa_own) * own, real *x, real *vectors) {
    const ptrdiff_t k = side->k, ld = side->ld;
    *row = (FA(cg_row)){.n = n, .idx = idx, .val = val, .x = x, .r = vectors, .p = vectors + ld, .q = vectors + 2 * ld,
                        .D = vectors + 3 * ld, .M = vectors + 4 * ld, .pull = own->pull};
    row->is_long = FA(cg_long)(k, side->n_other, n);
    for (ptrdiff_t c = 0; c < ld; c++) row->D[c] = c < k ? FA(diagonal)(side, c, own) : 1;
}

static int FA(solve_row_cg)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                            const FA_S(fa_own) * own, real *x, double *decrease, void *work) {
    if (n > side->cg_above && n <= FA_CG_CELLS && own->lambda > 0) {
        FA(cg_row) row;
        real *zeros = work;
        for (ptrdiff_t c = 0; c < side->ld; c++) zeros[c] = 0;
        FA(cg_row_at)(&row, side, n, idx, val, own, x, zeros + side->ld);
        FA(cg_solve)(side, &row, 1, zeros);
        *decrease = row.gain;
        if (row.rho >= 0) return 0;
    }
    return FA(solve_row)(side, n, idx, val, own, x, decrease, work);
}

static ptrdiff_t FA(cg_rows_bytes)(ptrdiff_t count) {
    return FA(round_up)(count * (ptrdiff_t)sizeof(FA(cg_row)), FA_ALIGN);
}

/* What is a row's own; pull (padded): where its part of rhs stands, if there are means. */
FA_INLINE FA_S(fa_own) FA(own_of)(const FA_S(fa_owns) * owns, ptrdiff_t row, const real *pull) {
    FA_S(fa_own) own = {.lambda = owns->lambda[row], .share = owns->share ? owns->share[row] : 1};
    if (owns->means) {
        own.lambda += owns->strength[row];
        own.last = owns->last[row];
        own.pull = owns->strength[row] > 0 || own.last > 0 ? pull : NULL;
    }
    return own;
}

/* pulls (count, ld): the strength of each row's prior times its mean, turned by Q; room: likewise. */
static void FA(pulls)(const FA_S(fa_side) * side, const FA_S(fa_owns) * owns, ptrdiff_t count, const int32_t *rows,
                      const real *Q, real *room, real *pulls) {
    const ptrdiff_t k = side->k, ld = side->ld;
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t c = 0; c < ld; c++) {
            const real *strength = c < side->ridged ? owns->strength : owns->last;
            room[i * ld + c] = c < k ? strength[rows[i]] * owns->means[rows[i] * k + c] : 0;
        }
    FA(rotate)(count, k, room, ld, Q, pulls);
}

/* A group of long rows. x (count, ld) holds what they start from and takes the solutions. */
static void FA(solve_group_cg)(const FA_S(fa_side) * side, ptrdiff_t count, const int32_t *rows, const int64_t *indptr,
                               const int32_t *indices, const real *values, const FA_S(fa_owns) * owns,
                               const real *pulls, real *x, double *decrease, int32_t *status, void *work) {
    const ptrdiff_t ld = side->ld;
    FA(cg_row) *group = work;
    work = (char *)work + FA(cg_rows_bytes)(count);
    real *zeros = work, *vectors = zeros + ld;
    for (ptrdiff_t c = 0; c < ld; c++) zeros[c] = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int64_t first = indptr[rows[i]], last = indptr[rows[i] + 1];
        const FA_S(fa_own) own = FA(own_of)(owns, rows[i], pulls + i * ld);
        FA(cg_row_at)(group + i, side, (ptrdiff_t)(last - first), indices + first, values + first, &own, x + i * ld,
                      vectors + 5 * i * ld);
    }
    FA(cg_solve)(side, group, count, zeros);
    for (ptrdiff_t i = 0; i < count; i++) {
        const int32_t row = rows[i];
        const FA_S(fa_own) own = FA(own_of)(owns, row, pulls + i * ld);
        decrease[row] = group[i].gain;
        status[row] = 0;
        if (group[i].rho < 0 || !(own.lambda > 0))
            status[row] = FA(solve_row)(side, group[i].n, group[i].idx, group[i].val, &own, x + i * ld,
                                        decrease + row, work);
    }
}

/* The task's own part of the workspace stands in front: what its rows start from and their solutions, as many turned
 * back, and as many means, turned, where there are any. */
static void FA(solve_rows)(const FA_S(fa_side) * side, FA_S(fa_row_solver) solve, int group, ptrdiff_t count,
                             const int32_t *rows, const int64_t *indptr, const int32_t *indices, const real *values,
                             const FA_S(fa_owns) * owns, const real *Q, const real *QT, const real *from,
                             real relaxation, real *X, double *decrease, int32_t *status, void *work) {
    const ptrdiff_t k = side->k, ld = side->ld;
    real *x = work, *back = x + count * ld;
    real *pulls = back + count * ld;
    void *row_work = owns->means ? pulls + count * ld : pulls;
    if (owns->means) FA(pulls)(side, owns, count, rows, Q, back, pulls);
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t c = 0; c < ld; c++) back[i * ld + c] = from && c < k ? from[rows[i] * k + c] : 0;
    FA(rotate)(count, k, back, ld, from ? Q : NULL, x);
    if (group)
        FA(solve_group_cg)(side, count, rows, indptr, indices, values, owns, pulls, x, decrease, status, row_work);
    else
        for (ptrdiff_t i = 0; i < count; i++) {
            const int64_t first = indptr[rows[i]], last = indptr[rows[i] + 1];
            const FA_S(fa_own) own = FA(own_of)(owns, rows[i], pulls + i * ld);
            status[rows[i]] = solve(side, (ptrdiff_t)(last - first), indices + first, values + first, &own, x + i * ld,
                                    decrease + rows[i], row_work);
        }
    if (QT) FA(rotate)(count, k, x, ld, QT, back);
    else back = x;
    for (ptrdiff_t i = 0; i < count; i++) {
        real *written = X + rows[i] * k;
        const real *before = from ? from + rows[i] * k : NULL;
        const real beyond = from && !status[rows[i]] ? relaxation : 0;
        if (beyond > 0)
            for (ptrdiff_t c = 0; c < k; c++) written[c] = back[i * ld + c] + beyond * (back[i * ld + c] - before[c]);
        else
            for (ptrdiff_t c = 0; c < k; c++) written[c] = back[i * ld + c];
    }
}

static size_t FA(workspace)(ptrdiff_t k, ptrdiff_t group) {
    const ptrdiff_t kp = FA(padded)(k), ld = FA(system_ld)(k), system = FA(system_rows)(kp) * ld;
    const ptrdiff_t gram = FA(part_room)(k) + system + ld;
    const ptrdiff_t exact = system + (kp * ld > gram ? kp * ld : gram) + 9 * ld;
    const ptrdiff_t task = 3 * FA_TASK_ROWS * kp + exact;
    const ptrdiff_t grouped = group * 3 * kp + (exact > (group + 1) * 5 * kp ? exact : (group + 1) * 5 * kp);
    return (size_t)(FA(cg_rows_bytes)(group) +
                    FA(round_up)((task > grouped ? task : grouped) * (ptrdiff_t)sizeof(real), FA_ALIGN));
}
