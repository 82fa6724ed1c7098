/* The kernels of one dtype; included by driver.c once for float, once for double. */

/* max|A x - rhs| / (|A|_inf max|x| + max|rhs|) */
static double T(residual)(ptrdiff_t k, const double *A, const double *rhs, const real *x) {
    double worst = 0, norm = 0, size = 0, right = 0;
    for (ptrdiff_t i = 0; i < k; i++) {
        double sum = -rhs[i], row = 0;
        for (ptrdiff_t c = 0; c < k; c++) {
            sum += A[i * k + c] * (double)x[c];
            row += fabs(A[i * k + c]);
        }
        /* not largest(): NaN must come through */
        if (!(fabs(sum) <= worst)) worst = fabs(sum);
        norm = largest(norm, row);
        size = largest(size, fabs((double)x[i]));
        right = largest(right, fabs(rhs[i]));
    }
    return norm * size + right > 0 ? worst / (norm * size + right) : worst;
}

static void T(check_products)(const T(fa_kernels) * K, ptrdiff_t k) {
    const ptrdiff_t ld = K->padded(k);
    static const ptrdiff_t ROWS[] = {0, 1, 2, 9, 130};
    for (size_t s = 0; s < sizeof ROWS / sizeof *ROWS; s++) {
        const ptrdiff_t n = ROWS[s];
        const ptrdiff_t ldy = k + n % 3;
        real *Y = poisoned((size_t)(n ? (n - 1) * ldy + k : 0) * sizeof(real)),
             *Z = poisoned((size_t)(n * ld) * sizeof(real));
        real *Q = poisoned((size_t)(k * ld) * sizeof(real));
        double *G = calloc((size_t)(k * k), sizeof *G);
        void *work = poisoned(K->workspace(k, 0));
        for (ptrdiff_t i = 0; i < n; i++)
            for (ptrdiff_t c = 0; c < k; c++) Y[i * ldy + c] = (real)uniform();
        for (ptrdiff_t i = 0; i < k; i++)
            for (ptrdiff_t c = 0; c < ld; c++) Q[i * ld + c] = c < k ? (real)uniform() : 0;
        K->gram(n, k, Y, ldy, G, work);
        for (ptrdiff_t i = 0; i < k; i++)
            for (ptrdiff_t c = i; c < k; c++) {
                double sum = 0;
                for (ptrdiff_t j = 0; j < n; j++) sum += (double)Y[j * ldy + i] * (double)Y[j * ldy + c];
                REQUIRE(fabs(G[i * k + c] - sum) <= BOUND * (double)(n + 1), "%s gram k %td n %td", K->isa, k, n);
            }
        for (int turned = 0; turned < 2; turned++) {
            K->rotate(n, k, Y, ldy, turned ? Q : NULL, Z);
            for (ptrdiff_t i = 0; i < n; i++)
                for (ptrdiff_t c = 0; c < ld; c++) {
                    double sum = 0;
                    for (ptrdiff_t p = 0; p < k && c < k; p++)
                        sum += (double)Y[i * ldy + p] * (turned ? (double)Q[p * ld + c] : p == c);
                    REQUIRE(fabs((double)Z[i * ld + c] - sum) <= BOUND * (double)k, "%s rotate k %td n %td", K->isa, k,
                            n);
                }
        }
        free(Y), free(Z), free(Q), free(G), free(work);
    }
}

/* Rows of every kind, each solver; rotated (by a reflection, which is its own inverse) and not. */
static void T(check_rows)(const T(fa_kernels) * K, ptrdiff_t k, real a0, real a1, int positive_only) {
    enum { N_OTHER = 90, ROWS = 12 };
    const ptrdiff_t ld = K->padded(k), lengths[ROWS] = {0, 1, 2, k / 2, k - 1, k, k + 1, 2 * k + 3, 331, 5, 0, 17};
    int64_t indptr[ROWS + 1] = {0};
    for (int u = 0; u < ROWS; u++) indptr[u + 1] = indptr[u] + lengths[u];
    const size_t cells = (size_t)indptr[ROWS];
    int32_t *indices = poisoned(cells * sizeof *indices), *order = poisoned(ROWS * sizeof *order);
    int32_t *status = poisoned(ROWS * sizeof *status);
    real *values = poisoned(cells * sizeof(real)), *lambda = poisoned(ROWS * sizeof(real));
    real *Z = poisoned((size_t)(N_OTHER * ld) * sizeof(real)), *Q = poisoned((size_t)(k * ld) * sizeof(real));
    real *base = poisoned((size_t)k * sizeof(real)), *X = poisoned((size_t)(ROWS * k) * sizeof(real));
    real *A = poisoned((size_t)(K->system_rows(k) * K->system_ld(k)) * sizeof(real)),
         *x = poisoned((size_t)ld * sizeof(real));
    real *rhs = poisoned((size_t)K->system_ld(k) * sizeof(real));
    real *strength = poisoned(ROWS * sizeof(real)), *last = poisoned(ROWS * sizeof(real));
    real *share = poisoned(ROWS * sizeof(real)), *means = poisoned((size_t)(ROWS * k) * sizeof(real));
    double *right = poisoned((size_t)k * sizeof *right);
    double *systems = poisoned((size_t)(ROWS * k * k) * sizeof *systems),
           *sides = poisoned((size_t)(ROWS * k) * sizeof *sides);
    for (int u = 0; u < ROWS; u++) {
        order[u] = ROWS - 1 - u;
        lambda[u] = (real)(0.2 + fabs(uniform()));
        strength[u] = last[u] = (real)(u % 3 ? fabs(uniform()) : 0); /* some rows are drawn to a mean, empty ones too */
        share[u] = (real)(u % 2 ? 1 : 0.5);
        for (ptrdiff_t c = 0; c < k; c++) means[u * k + c] = (real)uniform();
        for (int64_t j = indptr[u]; j < indptr[u + 1]; j++)
            indices[j] = (int32_t)((j - indptr[u]) * N_OTHER / lengths[u]); /* ascending, some twice */
    }
    for (size_t j = 0; j < cells; j++) values[j] = (real)(1 + below(5));
    double square = 0;
    for (ptrdiff_t i = 0; i < N_OTHER; i++)
        for (ptrdiff_t c = 0; c < ld; c++) Z[i * ld + c] = c < k ? (real)(uniform() / sqrt((double)k)) : 0;
    /* negative weights leave A positive definite only over a common term */
    for (ptrdiff_t c = 0; c < k; c++) {
        base[c] = (real)(a0 < 0 ? 400 : fabs(uniform()));
        square += (double)(c + 1) * (double)(c + 1);
    }
    for (ptrdiff_t i = 0; i < k; i++)
        for (ptrdiff_t c = 0; c < ld; c++)
            Q[i * ld + c] = c < k ? (real)((i == c) - 2 * (double)(i + 1) * (double)(c + 1) / square) : 0;

    T(fa_side)
    side = {.k = k,
            .ld = ld,
            .n_other = N_OTHER,
            .Z = Z,
            .base = base,
            .ridged = k,
            .a0 = a0,
            .a1 = a1,
            .b0 = 0,
            .b1 = 1,
            .positive_only = positive_only,
            .short_limit = 0,
            .cg_above = 0,
            .cg_steps = 3,
            .end = indices + cells};
    for (int u = 0; u < ROWS; u++) {
        void *work = poisoned(K->workspace(k, 0));
        double *M = systems + u * k * k, *r = sides + u * k;
        const int32_t *idx = indices + indptr[u];
        const T(fa_own) own = {.lambda = lambda[u] + strength[u], .last = last[u], .share = share[u]};
        K->row_system(&side, lengths[u], idx, values + indptr[u], &own, M, r);
        K->row_gram(&side, lengths[u], idx, values + indptr[u], &own, A, rhs, work);
        for (ptrdiff_t i = 0; i < k; i++)
            for (ptrdiff_t c = i; c < k; c++)
                REQUIRE(fabs((double)A[i * K->system_ld(k) + c] - M[i * k + c]) <=
                            BOUND * (1 + fabs(M[i * k + c])) * 50,
                        "%s row_gram k %td n %td", K->isa, k, lengths[u]);
        memset(x, 0, (size_t)ld * sizeof(real));
        REQUIRE(K->posv(k, A, rhs, x) == 0, "%s posv k %td", K->isa, k);
        REQUIRE(T(residual)(k, M, r, x) <= BOUND, "%s posv k %td n %td", K->isa, k, lengths[u]);
        for (ptrdiff_t c = k; c < ld; c++) REQUIRE(x[c] == 0, "%s posv k %td", K->isa, k);
        free(work);
    }
    const T(fa_owns) owns = {.lambda = lambda, .share = share, .means = means, .strength = strength, .last = last};
    const ptrdiff_t limits[] = {0, K->short_limit(k), k};
    for (int kind = 0; kind < 24; kind++) {
        const int turned = kind & 1, warm = kind >> 1 & 1, solver = kind >> 2; /* 3 limits, cg, cg in a group, both */
        const int group = solver == 4, cg = solver >= 3, tasks = group ? 1 : 3;
        double total = 0, expected = 0, decreases[ROWS];
        side.short_limit = limits[solver % 3];
        side.cg_above = solver == 5 ? k : 0;
        for (ptrdiff_t j = 0; j < ROWS * k; j++) X[j] = warm ? (real)uniform() : (real)NAN;
        for (int t = 0; t < tasks; t++) {
            void *work = poisoned(K->workspace(k, group ? ROWS : 0));
            K->solve_rows(&side, cg ? K->solve_row_cg : K->solve_row, group, ROWS / tasks,
                                   order + t * (ROWS / tasks), indptr, indices, values, &owns, turned ? Q : NULL,
                                   turned ? Q : NULL, warm ? X : NULL, 0, X, decreases, status, work);
            free(work);
        }
        for (int u = 0; u < ROWS; u++) {
            total += decreases[u];
            const double *M = systems + u * k * k, *r = right;
            for (ptrdiff_t c = 0; c < k; c++) { /* back into the basis of Z, the mean as well */
                double sum = 0, mean = 0;
                for (ptrdiff_t p = 0; p < k; p++) {
                    sum += (double)X[u * k + p] * (turned ? (double)Q[p * ld + c] : p == c);
                    mean += (double)means[u * k + p] * (turned ? (double)Q[p * ld + c] : p == c);
                }
                x[c] = (real)sum;
                right[c] = sides[u * k + c] + (double)strength[u] * mean;
                REQUIRE(isfinite(sum), "%s solver %d k %td n %td", K->isa, solver, k, lengths[u]);
            }
            for (ptrdiff_t c = 0; c < k; c++) {
                double sum = 0;
                for (ptrdiff_t p = 0; p < k; p++) sum += M[c * k + p] * (double)x[p];
                expected += (double)x[c] * (2 * r[c] - sum);
            }
            REQUIRE(status[u] == 0, "%s solver %d k %td n %td", K->isa, solver, k, lengths[u]);
            if (!cg)
                REQUIRE(T(residual)(k, M, r, x) <= BOUND, "%s solver %d k %td n %td", K->isa, solver, k, lengths[u]);
        }
        REQUIRE(fabs(total - expected) <= (cg ? 1e-2 : 1e-4) * fabs(expected), "%s solver %d k %td: %g, %g", K->isa,
                solver, k, total, expected);
    }
    /* nonnegative rows, the last coordinate free: g = M x - r is zero where x is positive or free, else not negative */
    real *common = poisoned((size_t)(k * ld) * sizeof(real));
    for (ptrdiff_t i = 0; i < k * ld; i++) common[i] = 0;
    side.common = common;
    side.bounded = k - 1;
    for (int warm = 0; warm < 2; warm++) {
        double decreases[ROWS];
        void *work = poisoned(K->workspace(k, 0));
        for (ptrdiff_t j = 0; j < ROWS * k; j++) X[j] = warm ? (real)uniform() : (real)NAN;
        K->solve_rows(&side, K->solve_row_nnls, 0, ROWS, order, indptr, indices, values, &owns, NULL, NULL, warm ? X : NULL, 0,
                      X, decreases, status, work);
        for (int u = 0; u < ROWS; u++) {
            const double *M = systems + u * k * k;
            REQUIRE(status[u] == 0, "%s nnls k %td n %td", K->isa, k, lengths[u]);
            for (ptrdiff_t c = 0; c < k && (lengths[u] || strength[u] > 0); c++) {
                const double r = sides[u * k + c] + (double)strength[u] * (double)means[u * k + c];
                double g = -r, scale = fabs(r);
                for (ptrdiff_t p = 0; p < k; p++) {
                    g += M[c * k + p] * (double)X[u * k + p];
                    scale += fabs(M[c * k + p] * (double)X[u * k + p]);
                }
                const int is_free = c == k - 1 || X[u * k + c] > 0;
                REQUIRE(c == k - 1 || X[u * k + c] >= 0, "%s nnls k %td n %td", K->isa, k, lengths[u]);
                REQUIRE((is_free ? fabs(g) : -g) <= 200 * BOUND * (1 + scale), "%s nnls k %td n %td: %g", K->isa, k,
                        lengths[u], g);
            }
        }
        free(work);
    }
    free(common);
    free(indices), free(order), free(status), free(values), free(lambda), free(Z), free(Q), free(base), free(X),
        free(A);
    free(x), free(rhs), free(systems), free(sides), free(strength), free(last), free(share), free(means), free(right);
}

static const real *T(norms);

static int T(by_norm)(const void *a, const void *b) {
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    return T(norms)[i] < T(norms)[j] ? 1 : T(norms)[i] > T(norms)[j] ? -1 : (i > j) - (i < j);
}

/* The best items of each query against all scores, sorted; boosted: some count twice, some half. */
static void T(check_top_n)(const T(fa_kernels) * K, ptrdiff_t k, ptrdiff_t n_items, ptrdiff_t m, ptrdiff_t n, int boosted) {
    const ptrdiff_t ld = K->padded(k), panels = n_items / FA_PANEL + 1, columns = panels * FA_PANEL;
    real *Y = poisoned((size_t)(n_items * k) * sizeof(real)), *X = poisoned((size_t)(m * k) * sizeof(real));
    real *norm = poisoned((size_t)n_items * sizeof(real)), *rows = poisoned((size_t)(columns * ld) * sizeof(real));
    const ptrdiff_t bytes = (k + 3) / 4 * 4 * FA_PANEL;
    uint8_t *codes = poisoned((size_t)(panels * bytes));
    fa_panel *bounds = poisoned((size_t)panels * sizeof *bounds);
    int32_t *items = poisoned((size_t)columns * sizeof *items), *column = poisoned((size_t)n_items * sizeof *column);
    uint64_t *open = poisoned((size_t)panels * sizeof *open);
    for (ptrdiff_t i = 0; i < m * k; i++) X[i] = (real)(i < k ? 0 : uniform()); /* the first query is zero */
    for (ptrdiff_t i = 0; i < n_items; i++) {
        double sum = 0;
        for (ptrdiff_t c = 0; c < k; c++) {
            Y[i * k + c] = (real)(i % 5 ? uniform() : 0.5); /* and many items are equal */
            sum += (double)Y[i * k + c] * (double)Y[i * k + c];
        }
        norm[i] = (real)sqrt(sum);
        items[i] = (int32_t)i;
    }
    T(norms) = norm;
    qsort(items, (size_t)n_items, sizeof *items, T(by_norm));
    for (ptrdiff_t c = 0; c < n_items; c++) column[items[c]] = (int32_t)c;
    for (ptrdiff_t p = 0; p < panels; p++) {
        K->pack_panel(k, Y, items + p * FA_PANEL, rows + p * FA_PANEL * ld, codes + p * bytes, bounds + p);
        const ptrdiff_t here = n_items - p * FA_PANEL;
        open[p] = ((uint64_t)1 << (here < FA_PANEL ? here : FA_PANEL)) - 1;
    }
    for (ptrdiff_t p = panels - 1; p >= 0; p--)
        bounds[p].rest = largest(bounds[p].norm, p + 1 < panels ? bounds[p + 1].rest : 0);

    int32_t *weight_rows = poisoned((size_t)panels * sizeof *weight_rows);
    double *weights = poisoned((size_t)columns * sizeof *weights), *reach = poisoned((size_t)panels * sizeof *reach);
    double *most = poisoned((size_t)panels * sizeof *most);
    for (ptrdiff_t p = panels - 1; p >= 0; p--) {
        weight_rows[p] = (int32_t)p;
        most[p] = 2;
        reach[p] = 2 * bounds[p].rest;
        for (ptrdiff_t c = p * FA_PANEL; c < (p + 1) * FA_PANEL; c++)
            weights[c] = c >= n_items || items[c] % 3 == 0 ? 1 : items[c] % 3 == 1 ? 2 : 0.5;
    }
    const fa_boost boost = {weight_rows, weights, most, reach, 2};

    /* every query has seen the items that leave its own remainder by 7 */
    int64_t *first = poisoned((size_t)m * sizeof *first), *last = poisoned((size_t)m * sizeof *last);
    int32_t *seen_items = poisoned((size_t)(m * n_items) * sizeof *seen_items);
    int64_t cells = 0;
    for (ptrdiff_t q = 0; q < m; q++) {
        first[q] = cells;
        for (ptrdiff_t i = 0; i < n_items; i++)
            if (i % 7 == q % 7) seen_items[cells++] = (int32_t)i;
        last[q] = cells;
    }
    const fa_lists seen = {first, last, seen_items}, none = {0};
    const T(fa_items) table = {.k = k,
                               .n_items = n_items,
                               .panels = panels,
                               .Y = rows,
                               .codes = codes,
                               .bounds = bounds,
                               .items = items,
                               .columns = column,
                               .open = open,
                               .boost = boosted ? &boost : 0};
    int32_t *found = poisoned((size_t)(m * n) * sizeof *found), *pairs = poisoned((size_t)n_items * sizeof *pairs);
    int32_t *user = poisoned((size_t)n_items * sizeof *user);
    real *scores = poisoned((size_t)(m * n) * sizeof(real)), *all = poisoned((size_t)n_items * sizeof(real));
    const ptrdiff_t half = (m + 1) / 2;
    for (ptrdiff_t q = 0; q < m; q += half) {
        const ptrdiff_t count = m - q < half ? m - q : half;
        void *work = poisoned(K->top_n_workspace(k, panels, count, n));
        for (int32_t stray = -1; stray <= n_items; stray += (int32_t)n_items + 1) {
            const int64_t from = 0, to = 1;
            const fa_lists outside = {&from, &to, &stray};
            REQUIRE(K->top_n(&table, 0, 1, X, n, &none, &outside, found, scores, work), "%s item %d", K->isa, stray);
        }
        REQUIRE(!K->top_n(&table, q, count, X, n, &seen, &none, found, scores, work), "%s top_n", K->isa);
        free(work);
    }
    for (ptrdiff_t q = 0; q < m; q++) {
        for (ptrdiff_t i = 0; i < n_items; i++) {
            pairs[i] = (int32_t)i;
            user[i] = (int32_t)q;
        }
        K->pair_scores(n_items, k, X, Y, user, pairs, all);
        for (ptrdiff_t i = 0; i < n_items; i++) {
            double sum = 0;
            for (ptrdiff_t c = 0; c < k; c++) sum += (double)X[q * k + c] * (double)Y[i * k + c];
            REQUIRE(fabs((double)all[i] - sum) <= BOUND * (double)k, "%s pair_scores k %td", K->isa, k);
            if (boosted && i % 3) all[i] *= (i % 3 == 1) == (all[i] >= 0) ? 2 : (real)0.5;
            if (i % 7 == q % 7) all[i] = -(real)INFINITY;
        }
        for (ptrdiff_t place = 0; place < n; place++) {
            ptrdiff_t best = -1;
            for (ptrdiff_t i = 0; i < n_items; i++)
                if (all[i] > -(real)INFINITY && (best < 0 || all[i] > all[best])) best = i;
            const int32_t item = found[q * n + place];
            const real score = best < 0 ? -(real)INFINITY : all[best];
            REQUIRE(item == best && scores[q * n + place] == score,
                    "%s top_n k %td items %td query %td place %td: %d, not %td", K->isa, k, n_items, q, place,
                    (int)item, best);
            if (best >= 0) all[best] = -(real)INFINITY;
        }
    }
    int32_t nobody = -1;
    real nothing = 0;
    K->pair_scores(1, k, X, Y, &nobody, &nobody, &nothing);
    REQUIRE(isnan(nothing), "%s pair_scores", K->isa);
    free(Y), free(X), free(norm), free(rows), free(codes), free(bounds), free(items), free(column), free(open),
        free(first);
    free(last), free(seen_items), free(found), free(pairs), free(user), free(scores), free(all);
    free(weight_rows), free(weights), free(reach), free(most);
}

static void T(check_kernels)(const T(fa_kernels) * K, ptrdiff_t k) {
    T(check_products)(K, k);
    T(check_rows)(K, k, 1, 0, 0);
    T(check_rows)(K, k, 0, 2, 0);
    T(check_rows)(K, k, -1, (real)0.5, 1);
    for (int boosted = 0; boosted < 2; boosted++) {
        T(check_top_n)(K, k, 1, 1, 1, boosted);
        T(check_top_n)(K, k, 47, 3, 60, boosted);
        T(check_top_n)(K, k, 200, 9, 10, boosted);
    }
}
