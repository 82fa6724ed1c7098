/* Nonnegative rows: the least x'Ax / 2 - rhs'x over x_c >= 0, c < bounded, the other coordinates free. */

/* What is nothing but rounding: in a coordinate beside the largest, in a gradient beside the terms it is made of. */
#define NNLS_SLACK ((real)16 * FA_EPS)
#define NNLS_PIVOT ((real)1e-5)

/* A guess at which coordinates are not at their bound, and the solution for those. */
typedef struct {
    ptrdiff_t k, ld, m;  /* m coordinates are free */
    const real *A, *rhs;
    real *B, *b, *y, *g; /* their system, destroyed; their solution; the gradient A x - rhs of all */
    real *slack;         /* what of each gradient, or where free of y, is rounding */
    int32_t *columns;    /* which they are */
    int32_t *state;      /* of each coordinate: 1 free, 0 at its bound, -1 at its bound and to be left there */
} FA(guess);

/* The solution where all others are zero. Returns 0, or not where there is none that is finite. */
static int FA(solve_free)(FA(guess) * s) {
    s->m = 0;
    for (ptrdiff_t c = 0; c < s->k; c++)
        if (s->state[c] > 0) s->columns[s->m++] = (int32_t)c;
    for (ptrdiff_t i = 0; i < FA(system_rows)(s->m); i++) {
        real *row = s->B + i * s->ld;
        for (ptrdiff_t c = 0; c < s->ld; c++) row[c] = 0;
        if (i >= s->m) row[i] = 1;
        else
            for (ptrdiff_t c = 0; c < s->m; c++) row[c] = s->A[s->columns[i] * s->ld + s->columns[c]];
    }
    for (ptrdiff_t i = 0; i < s->ld; i++) s->b[i] = i < s->m ? s->rhs[s->columns[i]] : 0;
    const int bad = s->m ? FA(potrs)(s->m, s->B, s->ld, s->b, s->y) : 0;
    for (ptrdiff_t i = 0; i < s->m && !bad; i++)
        if (!(FA_ABS(s->y[i]) <= FA_HUGE)) return 1;
    return bad;
}

/* g = A y - rhs, and the slack of each coordinate. */
static void FA(gradient)(FA(guess) * s) {
    real longest = 0;
    for (ptrdiff_t c = 0; c < s->ld; c++) {
        s->g[c] = c < s->k ? -s->rhs[c] : 0;
        s->slack[c] = FA_ABS(s->g[c]);
    }
    for (ptrdiff_t i = 0; i < s->m; i++) {
        const real *row = s->A + s->columns[i] * s->ld, length = FA_ABS(s->y[i]) * FA_SQRT(row[s->columns[i]]);
        if (length > longest) longest = length;
        for (ptrdiff_t c = 0; c < s->k; c += VL) {
            const vec term = s->y[i] * LOAD(row + c);
            STORE(s->g + c, LOAD(s->g + c) + term);
            STORE(s->slack + c, LOAD(s->slack + c) + FA(absolute)(term));
        }
    }
    for (ptrdiff_t i = 0; i < s->m; i++) {
        const ptrdiff_t c = s->columns[i];
        s->slack[c] = longest / FA_SQRT(s->A[c * (s->ld + 1)]);
    }
    for (ptrdiff_t c = 0; c < s->k; c++) s->slack[c] *= NNLS_SLACK;
}

/* Block principal pivoting (Portugal, Judice & Vicente 1994; Kim & Park 2011): solve for the free coordinates, and
 * exchange every one that shows the guess wrong; where that has not reduced their number for three rounds, exchange the
 * last one alone until it does (Murty 1974). From the support of a good start a few rounds are enough. */
static int FA(block_pivoting)(FA(guess) * s, ptrdiff_t bounded, real *x) {
    ptrdiff_t support = 0, fewest = s->k + 1;
    int patience = 3;
    for (ptrdiff_t c = 0; c < s->k; c++) support += x[c] > 0;
    for (ptrdiff_t c = 0; c < s->k; c++) s->state[c] = support == 0 || c >= bounded || x[c] > 0;
    for (ptrdiff_t round = 0; round < s->k + 20; round++) {
        if (FA(solve_free)(s)) return 1;
        FA(gradient)(s);
        /* a free coordinate takes the place of its gradient: what must not be negative is all in one vector */
        for (ptrdiff_t i = 0; i < s->m; i++) s->g[s->columns[i]] = s->y[i];
        ptrdiff_t wrong = 0, last = 0;
        for (ptrdiff_t c = 0; c < bounded; c++)
            if (s->g[c] < -s->slack[c]) {
                wrong++;
                last = c;
            }
        if (wrong == 0) {
            for (ptrdiff_t c = 0; c < s->k; c++) x[c] = s->state[c] && (c >= bounded || s->g[c] > 0) ? s->g[c] : 0;
            return 0;
        }
        patience = wrong < fewest ? 3 : patience - 1;
        if (wrong < fewest) fewest = wrong;
        if (patience < 0) s->state[last] = !s->state[last];
        else
            for (ptrdiff_t c = 0; c < bounded; c++)
                if (s->g[c] < -s->slack[c]) s->state[c] = !s->state[c];
    }
    return 1;
}

/* Lawson & Hanson's active set method (1974): one coordinate a round, no step that raises the objective. Slower, and
 * sure to end also where signs are a matter of rounding. */
static int FA(active_set)(FA(guess) * s, ptrdiff_t bounded, real *x) {
    ptrdiff_t entering = -1;
    for (ptrdiff_t c = 0; c < s->k; c++) {
        x[c] = 0;
        s->state[c] = c >= bounded;
    }
    for (ptrdiff_t round = 0; round < 10 * s->k + 100; round++) {
        if (FA(solve_free)(s)) return 1;
        real step = 1;
        ptrdiff_t leaving = -1;
        for (ptrdiff_t i = 0; i < s->m; i++) {
            const ptrdiff_t c = s->columns[i];
            if (c >= bounded || s->y[i] > 0) continue;
            const real t = x[c] > 0 ? x[c] / (x[c] - s->y[i]) : 0;
            if (leaving < 0 || t < step) {
                step = t;
                leaving = c;
            }
        }
        for (ptrdiff_t i = 0; i < s->m; i++) {
            const ptrdiff_t c = s->columns[i];
            x[c] += step * (s->y[i] - x[c]);
            if (c < bounded && !(x[c] > 0)) x[c] = 0;
        }
        if (leaving >= 0) {
            x[leaving] = 0;
            /* what leaves as soon as it has entered had a gradient of rounding only */
            s->state[leaving] = leaving == entering ? -1 : 0;
            continue;
        }
        FA(gradient)(s);
        entering = -1;
        for (ptrdiff_t c = 0; c < bounded; c++)
            if (s->state[c] == 0 && s->g[c] < -s->slack[c] && (entering < 0 || s->g[c] < s->g[entering])) entering = c;
        if (entering < 0) return 0;
        s->state[entering] = 1;
    }
    return 1;
}

static int FA(nnls)(ptrdiff_t k, ptrdiff_t bounded, const real *A, const real *rhs, real *x, void *work) {
    const ptrdiff_t ld = FA(system_ld)(k);
    FA(guess) s = {.k = k, .ld = ld, .A = A, .rhs = rhs, .B = work};
    s.b = s.B + FA(system_rows)(k) * ld;
    s.y = s.b + ld;
    s.g = s.y + ld;
    s.slack = s.g + ld;
    s.columns = (int32_t *)(s.slack + ld);
    s.state = s.columns + ld;
    if (FA(block_pivoting)(&s, bounded, x) && FA(active_set)(&s, bounded, x)) return 1;
    if (FA_REAL_BYTES == 8) return 0;
    /* B holds the factor of the free coordinates' system: pivots that have lost this much want float64 */
    for (ptrdiff_t i = 0; i < s.m; i++) {
        const real pivot = s.B[i * (ld + 1)];
        if (!(pivot * pivot >= NNLS_PIVOT * A[s.columns[i] * (ld + 1)])) return 1;
    }
    return 0;
}

/* 2 x'rhs - x'Ax of a system whose both triangles are set. */
static double FA(system_decrease)(ptrdiff_t k, const real *A, const real *rhs, const real *x) {
    const ptrdiff_t ld = FA(system_ld)(k);
    double gain = 0;
    for (ptrdiff_t i = 0; i < k; i++) {
        double right = 2 * (double)rhs[i];
        for (ptrdiff_t c = 0; c < k; c++) right -= (double)A[i * ld + c] * (double)x[c];
        gain += (double)x[i] * right;
    }
    return gain;
}

static int FA(solve_row_nnls)(const FA_S(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                              const FA_S(fa_own) * own, real *x, double *decrease, void *work) {
    const ptrdiff_t k = side->k, ld = FA(system_ld)(k);
    *decrease = 0;
    int bad = 0;
    if (n > 0 || own->pull) {
        real *A = work, *rhs = A + FA(system_rows)(side->ld) * ld, *row_work = rhs + ld;
        FA(row_gram)(side, n, idx, val, own, A, rhs, row_work);
        const real *common = side->common, share = own->share;
        for (ptrdiff_t i = 0; i < k; i++)
            for (ptrdiff_t c = i; c < k; c++) {
                if (common) A[i * ld + c] += share * common[i * side->ld + c];
                A[c * ld + i] = A[i * ld + c];
            }
        real least = 0;
        for (ptrdiff_t c = 0; c < side->bounded; c++) least = x[c] < least ? x[c] : least;
        const double before = least < 0 ? 0 : FA(system_decrease)(k, A, rhs, x);
        bad = FA(nnls)(k, side->bounded, A, rhs, x, row_work);
        *decrease = bad ? 0 : FA(system_decrease)(k, A, rhs, x);
        if (!(*decrease >= 0 && *decrease >= before - 1e-6 * fabs(before))) bad = 1; /* worse than it was, or than zeros */
    }
    if ((n == 0 && !own->pull) || bad)
        for (ptrdiff_t c = 0; c < side->ld; c++) x[c] = 0;
    return bad;
}
