/* One row, solved exactly by the cheaper of two forms. */

/* In-register transpose of a VL x VL block: at step h the off-diagonal h x h blocks change places. */
FA_INLINE void FA(transpose)(vec t[]) {
#if FA_VECTOR_BYTES && !defined(__clang__)
    FA_UNROLL for (int h = (int)VL / 2; h; h /= 2)
        FA_UNROLL for (int i = 0; i < (int)VL; i++)
            if (!(i & h)) {
                const vec a = t[i], b = t[i + h];
                t[i] = FA(low_blocks)(a, b, h);
                t[i + h] = FA(high_blocks)(a, b, h);
            }
#elif FA_VECTOR_BYTES
    for (int i = 0; i < (int)VL; i++)
        for (int c = 0; c < i; c++) {
            const real s = t[i][c];
            t[i][c] = t[c][i];
            t[c][i] = s;
        }
#else
    (void)t;
#endif
}

/* Wt (k, ldw) = (diag(s) Z diag(d))' for the n gathered rows of Z; columns n .. packed(n) - 1 are zero. */
static void FA(gather_transposed)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *s,
                                  const real *d, real *Wt, ptrdiff_t ldw) {
    const ptrdiff_t ahead = FA(prefetch_cells)(side);
    for (ptrdiff_t j = 0; j < FA(packed)(n); j += VL) {
        const ptrdiff_t m = n - j < 0 ? 0 : n - j < VL ? n - j : VL;
        for (ptrdiff_t i = 0; i < m; i++) FA(prefetch)(side, idx + j + i, ahead);
        const vec scale = LOAD(s + j);
        for (ptrdiff_t c = 0; c < side->k; c += VL) {
            vec t[VL];
            for (ptrdiff_t i = 0; i < m; i++) t[i] = LOAD(side->Z + idx[j + i] * side->ld + c);
            for (ptrdiff_t i = m; i < VL; i++) t[i] = (vec){0};
            FA(transpose)(t);
            FA_UNROLL for (ptrdiff_t i = 0; i < VL; i++) STORE(Wt + (c + i) * ldw + j, t[i] * (scale * d[c + i]));
        }
    }
}

/* x = sum_j c_j z_j scaled by D^-1, straight from the rows of Z, which the gather has just brought into the cache. */
static void FA(combine)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *c, const real *d,
                        real *x) {
    const ptrdiff_t kp = FA(round_up)(side->k, VL);
    for (ptrdiff_t p = 0; p < kp; p += VL) {
        vec s = (vec){0};
        for (ptrdiff_t j = 0; j < n; j++) s += c[j] * LOAD(side->Z + idx[j] * side->ld + p);
        STORE(x + p, s * LOAD(d + p) * LOAD(d + p));
    }
}

FA_INLINE real FA(max_abs)(ptrdiff_t n, const real *v, ptrdiff_t stride) {
    real largest = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        const real size = v[j * stride] < 0 ? -v[j * stride] : v[j * stride];
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* How many times the targets' own rounding may the n x n form lose in x. e is what the row's fit leaves of its targets
 * g. Where it stays large although W W' is (cells that contradict each other: near-duplicate z, more cells than factors),
 * x = D^-1 Z' A^1/2 e is a difference of large numbers; the k x k form has no such step. */
#define SHORT_LOSS ((real)100)

/* 2 g'v - v'v - y'y of n and k elements (whole vectors, zero behind them); of a row that is drawn to y0 and 2 y0'y. */
FA_INLINE double FA(short_decrease)(ptrdiff_t n, const real *g, const real *v, ptrdiff_t k, const real *y,
                                    const real *y0) {
    vec gain = (vec){0}, own = (vec){0};
    for (ptrdiff_t j = 0; j < n; j += VL) gain += LOAD(v + j) * (2 * LOAD(g + j) - LOAD(v + j));
    if (y0)
        for (ptrdiff_t p = 0; p < k; p += VL) own += LOAD(y + p) * (LOAD(y + p) - 2 * LOAD(y0 + p));
    else
        for (ptrdiff_t p = 0; p < k; p += VL) own += LOAD(y + p) * LOAD(y + p);
    return (double)FA(lane_sum)(gain) - (double)FA(lane_sum)(own);
}

/* v (n) = W y of the transposed Wt (k, ldw). */
FA_INLINE void FA(short_scores)(ptrdiff_t n, ptrdiff_t k, const real *Wt, ptrdiff_t ldw, const real *y, real *v) {
    ptrdiff_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL) {
        vec s[4] = {(vec){0}, (vec){0}, (vec){0}, (vec){0}};
        for (ptrdiff_t p = 0; p < k; p++)
            FA_UNROLL for (int i = 0; i < 4; i++) s[i] += y[p] * LOAD(Wt + p * ldw + j + i * VL);
        FA_UNROLL for (int i = 0; i < 4; i++) STORE(v + j + i * VL, s[i]);
    }
    for (; j < n; j += VL) {
        vec s = (vec){0};
        for (ptrdiff_t p = 0; p < k; p++) s += y[p] * LOAD(Wt + p * ldw + j);
        STORE(v + j, s);
    }
}

/* Turning Z puts this part of its length into coordinates that are zero: where these are flat, a little right-hand side
 * goes a long way there. */
#define TURN_NOISE ((double)(30 * FA_EPS))

/* What the noise may seem to gain, as a part of what the row gains; a right-hand side of this squared length, a coordinate
 * of this curvature. Nothing is turned where all are alike. */
FA_INLINE int FA(flat_is_sound)(double right, double curvature, double gain) {
    return TURN_NOISE * TURN_NOISE * right <= (FA_REAL_BYTES == 4 ? 1e-3 : 1e-12) * curvature * gain;
}
#define FLAT_FROM ((real)1e-4)

/* Sum of |b_j| |z_j|, from which a right-hand side is made. */
static double FA(short_right)(ptrdiff_t n, ptrdiff_t k, const real *Wt, ptrdiff_t ldw, const real *d, const real *g) {
    double right = 0;
    for (ptrdiff_t j = 0; j < n; j += VL) {
        vec size = (vec){0};
        for (ptrdiff_t p = 0; p < k; p++) {
            const vec w = LOAD(Wt + p * ldw + j) * (1 / d[p]);
            size += w * w;
        }
        real sizes[VL];
        STORE(sizes, size);
        for (ptrdiff_t i = 0; i < VL; i++) right += fabs((double)g[j + i]) * sqrt((double)sizes[i]);
    }
    return right;
}

/* The n x n form (Woodbury), for n < k, all a > 0 and D > 0. With W = A^1/2 Z D^-1/2 and g = A^-1/2 b:
 *     (I + W W') e = g,      y = W'e,      x = D^-1/2 y,      2 x'rhs - x'Ax = 2 g'v - v'v - y'y with v = W y.
 * Every eigenvalue of I + W W' is at least 1, so this cannot break down. Returns 0 if the row is not of that kind,
 * or its cells contradict each other. A row that is drawn starts from y0 = D^-1/2 pull, the solution without cells:
 *     (I + W W') e = g - W y0,      y = y0 + W'e. */
static int FA(solve_short)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                           const FA_S(fa_own) * own, real *x, double *decrease, real *work) {
    const ptrdiff_t k = side->k, kp = side->ld, ld = FA(system_ld)(k), ldw = FA(system_ld)(n);
    const ptrdiff_t np = FA(round_up)(n, VL);
    real *A = work, *Wt = A + FA(system_rows)(kp) * ld, *s = Wt + kp * ld, *g = s + ld, *e = g + ld, *d = e + ld,
         *rhs = d + ld, *y = rhs + ld, *y0 = own->pull ? y + ld : NULL, *t = y0 ? y0 + ld : g;
    if (!(own->lambda > 0) || !FA(weights)(side, n, val, s, g)) return 0;
    real flattest = FA_HUGE, steepest = 0;
    for (ptrdiff_t p = 0; p < kp; p++) {
        const real D = p < k ? FA(diagonal)(side, p, own) : 1;
        if (!(D >= FA_TINY)) return 0;
        d[p] = 1 / FA_SQRT(D);
        if (p < k && D < flattest) flattest = D;
        if (p < k && D > steepest) steepest = D;
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        s[j] = FA_SQRT(s[j]);
        g[j] /= s[j];
        rhs[j] = g[j];
    }
    for (ptrdiff_t j = n; j < FA(round_up)(np, MR); j++) s[j] = g[j] = rhs[j] = 0;
    for (ptrdiff_t i = 0; i < FA(system_rows)(n); i++) {
        for (ptrdiff_t c = 0; c < ldw; c++) A[i * ldw + c] = 0;
        A[i * ldw + i] = 1;
    }
    FA(gather_transposed)(side, n, idx, s, d, Wt, ldw);
    if (y0) {
        for (ptrdiff_t p = 0; p < kp; p++) y0[p] = d[p] * own->pull[p];
        FA(short_scores)(np, k, Wt, ldw, y0, t);
        for (ptrdiff_t j = 0; j < np; j++) rhs[j] = t[j] = g[j] - t[j];
    }
    FA(syrk)(k, n, Wt, Wt, ldw, A, ldw);
    const real largest = FA(max_abs)(n, A, ldw + 1);
    if (FA(potrs)(n, A, ldw, rhs, e)) return 0;
    if (!(largest * FA(max_abs)(n, e, 1) <= SHORT_LOSS * FA(max_abs)(n, t, 1))) return 0;
    for (ptrdiff_t j = 0; j < n; j++) e[j] *= s[j];
    FA(combine)(side, n, idx, e, d, x);
    for (ptrdiff_t p = 0; y0 && p < kp; p += VL) STORE(x + p, LOAD(x + p) + LOAD(d + p) * LOAD(y0 + p));
    for (ptrdiff_t p = 0; p < FA(round_up)(k, VL); p += VL) STORE(y + p, LOAD(x + p) / LOAD(d + p));
    FA(short_scores)(np, k, Wt, ldw, y, rhs);
    *decrease = FA(short_decrease)(np, g, rhs, k, y, y0);
    if (!(*decrease >= 0 && *decrease <= (double)FA_HUGE)) return 0;
    if (flattest >= FLAT_FROM * steepest) return 1;
    const double right = FA(short_right)(np, k, Wt, ldw, d, t);
    return FA(flat_is_sound)(right * right, (double)flattest, *decrease);
}

static double FA(row_decrease)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                               const FA_S(fa_own) * own, const real *x, double *residual) {
    enum { PARTS = 8 };
    const ptrdiff_t ld = side->ld, ahead = FA(prefetch_cells)(side);
    double decrease = 0;
    for (ptrdiff_t c = 0; c < side->k; c++) {
        const double D = FA(wide_diagonal)(side, c, own), pull = own->pull ? (double)own->pull[c] : 0;
        decrease += (2 * pull - D * (double)x[c]) * (double)x[c];
        if (residual) residual[c] = pull - D * (double)x[c];
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        const real *z = side->Z + idx[j] * ld;
        double a, b, s[PARTS] = {0};
        FA(prefetch)(side, idx + j, ahead);
        FA(wide_weights)(side, val + j, &a, &b);
        /* the padding of z and x is zero and whole cache lines long */
        for (ptrdiff_t c = 0; c < ld; c += PARTS)
            for (int i = 0; i < PARTS; i++) s[i] += (double)z[c + i] * (double)x[c + i];
        const double score = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
        decrease += score * (2 * b - a * score);
        if (residual) {
            const double t = b - a * score;
            for (ptrdiff_t c = 0; c < side->k; c++) residual[c] += t * (double)z[c];
        }
    }
    return decrease;
}

/* A solution has lost digits where the smallest pivot has lost most of the diagonal entry it came from. Those rows are
 * refined: the residual in double, straight from the cells, the correction through the factor at hand. The few factors of
 * a toy model in float32, where digits are compared by eye, always are. */
#define REFINE_BELOW(k) ((real)(FA_REAL_BYTES == 8 ? 1e-3 : (k) <= 4 ? 1.1 : 0.1))
#define REFINE_STEPS 5

/* A direction this flat beside the steepest is known by rounding alone, that of the rotation and of the common term. */
#define FLAT ((real)(FA_REAL_BYTES == 4 ? 1e-9 : 1e-15))

/* What refinement may leave to be gained, as a part of what the row gains in all. */
#define REFINED ((double)(FA_REAL_BYTES == 4 ? 1e-8 : 1e-14))

/* A pivot this small beside the largest diagonal entry is rounding where no regularization stands behind it. */
#define NULL_PIVOT(k) ((real)(8 * (k)) * FA_EPS)

/* d = inverse(U'U) r */
static void FA(correction)(ptrdiff_t k, const real *U, ptrdiff_t ld, const double *r, real *d) {
    for (ptrdiff_t c = 0; c < k; c++) d[c] = (real)r[c];
    for (ptrdiff_t i = 0; i < k; i++) {
        d[i] /= U[i * ld + i];
        for (ptrdiff_t c = i + 1; c < k; c++) d[c] -= U[i * ld + c] * d[i];
    }
    for (ptrdiff_t i = k - 1; i >= 0; i--) {
        for (ptrdiff_t c = i + 1; c < k; c++) d[i] -= U[i * ld + c] * d[c];
        d[i] /= U[i * ld + i];
    }
}

/* See core/api.inc.h; squares[c] is the squared length of column c of U, which is A[c][c]. */
static int FA(refine)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                      const FA_S(fa_own) * own, const real *U, real *x, double right, double *decrease, void *work) {
    const ptrdiff_t k = side->k, kp = FA(round_up)(k, VL), ld = FA(system_ld)(k);
    double *r = work;
    real *d = (real *)(r + ld), *kept = d + ld, *squares = d;
    for (ptrdiff_t c = 0; c < kp; c++) squares[c] = 0;
    real ratio = 1, pivot = FA_HUGE, largest = 0, bias = 1;
    for (ptrdiff_t i = 0; i < k; i++) {
        for (ptrdiff_t c = i / VL * VL; c < kp; c += VL)
            STORE(squares + c, LOAD(squares + c) + LOAD(U + i * ld + c) * LOAD(U + i * ld + c));
        const real square = U[i * ld + i] * U[i * ld + i];
        if (square < ratio * squares[i]) ratio = square / squares[i];
        if (i >= side->ridged) { /* a bias, whose column of ones has a scale of its own */
            if (square < bias * squares[i]) bias = square / squares[i];
            continue;
        }
        if (square < pivot) pivot = square;
        if (squares[i] > largest) largest = squares[i];
    }
    const real least = own->lambda > 0 ? FLAT : NULL_PIVOT(k);
    if (!(pivot > least * largest && bias > least)) return 1;
    if (!(pivot >= FLAT_FROM * largest) && !FA(flat_is_sound)(right, (double)pivot, *decrease)) return 1;
    if (ratio >= REFINE_BELOW(k)) return 0;
    /* what a step of correction d promises is d'r; how much it brought, the next round tells */
    double best = 0, promise = 0;
    for (int step = 0;; step++) {
        const double now = FA(row_decrease)(side, n, idx, val, own, x, r);
        if (!(now >= best - REFINED * best)) {
            if (step == 0) return 1;
            for (ptrdiff_t c = 0; c < k; c++) x[c] = kept[c];
            break;
        }
        best = now;
        FA(correction)(k, U, ld, r, d);
        promise = 0;
        for (ptrdiff_t c = 0; c < k; c++) promise += (double)d[c] * r[c];
        if (step == REFINE_STEPS) break;
        for (ptrdiff_t c = 0; c < k; c++) {
            kept[c] = x[c];
            x[c] += d[c];
        }
        if (!(FA(max_abs)(k, d, 1) > FA_EPS * FA(max_abs)(k, x, 1))) break; /* too small to look again */
    }
    *decrease = best;
    return !(best <= (double)FA_HUGE && promise <= REFINED * best);
}

/* x and *decrease of the system A, rhs of these cells; A and rhs are destroyed. work: the rest of the workspace, behind
 * rhs. */
static int FA(solve_system)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                            const FA_S(fa_own) * own, real *A, real *rhs, real *x, double *decrease, real *work) {
    const ptrdiff_t k = side->k, ld = FA(system_ld)(k);
    real *b = work;
    for (ptrdiff_t p = 0; p < side->ld; p++) b[p] = rhs[p];
    int bad = FA(posv)(k, A, rhs, x);
    /* of the solution 2 x'rhs - x'Ax is x'rhs */
    double gain = 0, right = 0;
    for (ptrdiff_t p = 0; p < k && !bad; p++) {
        gain += (double)x[p] * (double)b[p];
        right += (double)b[p] * (double)b[p];
    }
    if (!bad) bad = FA(refine)(side, n, idx, val, own, A, x, right, &gain, b + ld);
    if (bad)
        for (ptrdiff_t p = 0; p < side->ld; p++) x[p] = 0;
    *decrease = bad ? 0 : gain;
    return bad;
}

/* A row without cells: x = D^-1 pull. */
static int FA(solve_empty)(const FA_S(fa_side) * side, const FA_S(fa_own) * own, real *x, double *decrease) {
    for (ptrdiff_t c = 0; own->pull && c < side->k; c++) {
        const real pull = own->pull[c];
        x[c] = pull == 0 ? 0 : pull / FA(diagonal)(side, c, own);
        *decrease += (double)x[c] * (double)pull;
    }
    return 0;
}

static int FA(solve_row)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                         const FA_S(fa_own) * own, real *x, double *decrease, void *work) {
    const ptrdiff_t k = side->k, ld = FA(system_ld)(k);
    *decrease = 0;
    for (ptrdiff_t p = 0; p < side->ld; p++) x[p] = 0;
    if (n == 0) return FA(solve_empty)(side, own, x, decrease);
    if (n <= side->short_limit && FA(solve_short)(side, n, idx, val, own, x, decrease, work)) return 0;
    real *A = work, *rhs = A + FA(system_rows)(side->ld) * ld;
    FA(row_gram)(side, n, idx, val, own, A, rhs, rhs + ld);
    return FA(solve_system)(side, n, idx, val, own, A, rhs, x, decrease, rhs + ld);
}

static int FA(solve_row_given)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                               const FA_S(fa_own) * own, real *x, double *decrease, void *work) {
    const ptrdiff_t ld = FA(system_ld)(side->k), size = FA(system_rows)(side->k) * ld;
    real *A = work, *rhs = A + FA(system_rows)(side->ld) * ld;
    for (ptrdiff_t p = 0; p < size; p++) A[p] = side->system[p];
    for (ptrdiff_t p = 0; p < side->ld; p++) rhs[p] = side->system[size + p];
    FA(add_pull)(side, own, rhs);
    return FA(solve_system)(side, n, idx, val, own, A, rhs, x, decrease, rhs + ld);
}

/* Multiply-adds of an m x m upper triangle as the tile computes it, in vectors. */
static double FA(triangle)(ptrdiff_t m) {
    double vectors = 0;
    for (ptrdiff_t i = 0; i < m; i += MR) vectors += (double)MR * (double)((FA(round_up)(m, VL) - i / VL * VL) / VL);
    return vectors;
}

/* Cost of the factorization and solve, in the same unit: its flop, and per row the latency of pivots and sums. */
static double FA(factor_cost)(ptrdiff_t m) { return (double)m * (FA(triangle)(m) / 3 / (double)MR + 40); }

static ptrdiff_t FA(short_limit)(ptrdiff_t k) {
    ptrdiff_t best = 0;
    for (ptrdiff_t n = 1; n < FA(padded)(k); n++) {
        const double full = (double)n * FA(triangle)(k) + FA(factor_cost)(k);
        const double small = (double)k * FA(triangle)(n) + FA(factor_cost)(n) + 2 * (double)(n * k) / (double)VL;
        if (small < full) best = n;
    }
    return best;
}
