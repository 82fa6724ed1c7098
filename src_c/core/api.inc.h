/* The kernels of one dtype; included by fastals.h once for float, once for double. */

/* The other side of a half-sweep, and what a stored value r of weight s becomes:
 *     a = s (a0 + a1 |r|)        b = s (b0 + b1 r), but 0 where positive_only and r <= 0 */
typedef struct {
    ptrdiff_t k;           /* factors, >= 1 */
    ptrdiff_t ld;          /* padded(k) */
    ptrdiff_t n_other;     /* rows of the other side */
    const real *Z;         /* (n_other, ld) padded: the rotated factors of the other side; see cuts */
    const real *base;      /* (k) eigenvalues of the common term, >= 0 up to rounding */
    ptrdiff_t ridged;      /* lambda is added to the first so many; the others, biases, have their own in base */
    real a0, a1, b0, b1;
    int positive_only;
    ptrdiff_t short_limit; /* rows of at most so many cells may be solved by the n x n form */
    ptrdiff_t cg_above;    /* solve_row_cg: rows of at most so many cells are solved exactly */
    int cg_steps;          /* solve_row_cg: steps, >= 1 */
    const int32_t *end;    /* behind the last stored cell of the last row: rows are prefetched up to here */
    const real *values;    /* of the first stored cell: where a row's val stands from here, its weights stand in scale */
    const real *scale;     /* s >= 0 of each stored cell; NULL: all are 1 */
    const real *common;    /* solve_row_nnls: (k, padded) the common term, upper triangle; NULL: there is none */
    ptrdiff_t bounded;     /* solve_row_nnls: the first so many of the k coordinates must not be negative */
    const real *system;    /* solve_row_given: A (system_rows, system_ld) and behind it rhs (padded), as of row_gram */
    const double *wide;    /* (k, k) the common term in float64, for rows that are solved there: Z is not turned then */
    const int32_t *cuts;   /* NULL: Z holds all rows. Else it holds some, in order, indices count these, and this is how
                            * many of the first cg_block, 2 cg_block, … rows are among them, the last entry being all. */
} FA_T(fa_side);

/* What a row's equation has beside its cells: D, a diagonal, and a part of its right-hand side. D is share base + lambda
 * in the first `ridged` coordinates and base + last in the others. */
typedef struct {
    real lambda;      /* the ridge, and the strength mu of a prior where there is one */
    real last;        /* the strength of the prior of biases */
    real share;       /* >= 0, of the common term: 1, or the weight of the row */
    const real *pull; /* (padded) the prior's mean times its strength, in the basis of Z; NULL: no prior */
} FA_T(fa_own);

/* The same of all rows, as solve_rows reads it: row u has the ridge lambda[u], and the prior mean m_u of strength mu_u,
 * which adds mu_u |x_u - m_u|^2 to the objective. */
typedef struct {
    const real *lambda;   /* >= 0 */
    const real *share;    /* NULL: all are 1 */
    const real *means;    /* (., k), not turned; NULL: no row has a prior, and the rest is not read */
    const real *strength; /* mu >= 0 of the first `ridged` coordinates; where it and `last` are 0, there is no prior */
    const real *last;     /* mu >= 0 of the other coordinates */
} FA_T(fa_owns);

/* Solves one row: x (padded) in the rotated basis. *decrease gets 2 x'rhs - x'Ax of the x that is returned: by so much the
 * row's part of the objective lies below that of x = 0. Returns 0, or a non-zero status: x is then zero and the caller's
 * to mend. x holds the row's previous value on entry, for solvers that start from it, and zeros in its padding.
 * What comes out depends on the row and Z alone: not on the other rows of a call, nor on who solves it. */
typedef int (*FA_T(fa_row_solver))(const FA_T(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                                   const FA_T(fa_own) * own, real *x, double *decrease, void *work);

/* The items of a top-N search, in columns by descending norm, FA_PANEL to a panel; the last panel is filled up with
 * zeros. */
typedef struct {
    ptrdiff_t k, n_items, panels;
    const real *Y;           /* (columns, padded) */
    const uint8_t *codes;    /* (panels, quads(k), FA_PANEL, 4) */
    const fa_panel *bounds;  /* (panels) */
    const int32_t *items;    /* (columns) the item of a column, -1: none */
    const int32_t *columns;  /* (n_items) the column of an item, -1: it is not among these */
    const uint64_t *open;    /* (panels) bit c: the panel's column c may be returned */
    const fa_boost *boost;   /* NULL: scores count as they are */
} FA_T(fa_items);

typedef struct {
    const char *isa;
    int vector_length; /* elements of one register */

    /* Elements between padded rows of k factors. */
    ptrdiff_t (*padded)(ptrdiff_t k);
    /* Bytes of one thread's workspace; `group`: the rows of the largest group that solve_rows will take, 0 if none. */
    size_t (*workspace)(ptrdiff_t k, ptrdiff_t group);
    /* Elements between the rows of a (k, k) system matrix A; A itself has system_rows(k) of them, 64-byte aligned. */
    ptrdiff_t (*system_ld)(ptrdiff_t k);
    ptrdiff_t (*system_rows)(ptrdiff_t k);
    /* The longest row for which the n x n form costs less than the k x k form; at least 0, at most padded(k). */
    ptrdiff_t (*short_limit)(ptrdiff_t k);

    /* G (k, k) float64 += Y'Y, upper triangle, Y (n, ldy) with no alignment or padding needed.
     * Sums of 128 rows are made in the dtype, then added in double. n k(k+1) flop. */
    void (*gram)(ptrdiff_t n, ptrdiff_t k, const real *Y, ptrdiff_t ldy, double *G, void *work);

    /* Z (n, padded) = Y (n, ldy) Q, Q (k, k) row-major with padded rows; Q NULL: a padded copy. 2 n k^2 flop. */
    void (*rotate)(ptrdiff_t n, ptrdiff_t k, const real *Y, ptrdiff_t ldy, const real *Q, real *Z);

    /* A (system_rows, system_ld), upper triangle = diag(D) + sum_j a_j z_j z_j', rhs (padded) = sum_j b_j z_j for the n
     * stored cells (idx, val) of a row, and pull; D as fa_own says, 1 on the padding. A (lower triangle: arbitrary,
     * finite) and rhs must not overlap Z. More than FA_PART_CELLS cells are summed in parts of so many, which add_system adds in order.
     * n k(k+1) + 2 n k flop; reads each z_j once. */
    void (*row_gram)(const FA_T(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                     const FA_T(fa_own) * own, real *A, real *rhs, void *work);

    /* A += B and rhs += more, systems of row_gram, B with D = 0 and no pull. */
    void (*add_system)(ptrdiff_t k, const real *B, const real *more, real *A, real *rhs);

    /* The same system in float64 whatever the dtype: A (k, k) whole, rhs (k), neither padded. For rows whose matrix is
     * singular to the dtype's precision; not fast. */
    void (*row_system)(const FA_T(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                       const FA_T(fa_own) * own, double *A, double *rhs);

    /* Solves A x = rhs by Cholesky, A as row_gram leaves it. A: the factor U (A = U'U); rhs: destroyed; x (padded).
     * Returns 0, or 1 + the first pivot that is not safely positive; x is then arbitrary. k^3/3 + 2 k^2 flop. */
    int (*posv)(ptrdiff_t k, real *A, real *rhs, real *x);

    /* 2 x'rhs - x'Ax of any x (padded), summed in double from the cells, and if residual (padded) is not NULL
     * rhs - A x, likewise. 4 n k flop. */
    double (*row_decrease)(const FA_T(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                           const FA_T(fa_own) * own, const real *x, double *residual);

    /* Looks at the factor U (A = U'U, as posv or LAPACK leaves it); `right` is the squared length of rhs. Where the pivots show that digits were lost, improves
     * x (padded) as long as a step lowers the objective, and corrects *decrease: 4 n k + 2 k^2 flop a step, residuals in
     * double. Returns 1 where that leaves more to gain than rounding, or where some pivot is nothing but rounding, or so
     * small that the rounding of Z shows in x: the row then wants float64, or the solution of minimum norm. */
    int (*refine)(const FA_T(fa_side) * side, ptrdiff_t n, const int32_t *idx, const real *val,
                  const FA_T(fa_own) * own, const real *U, real *x, double right, double *decrease, void *work);

    /* The exact solver: k x k or n x n form, whichever costs less. Status: 1 + a pivot that is not safely positive. An
     * empty row gives D^-1 pull. */
    FA_T(fa_row_solver) solve_row;

    /* The same from side->system, which lacks the pull: of a very long row, whose parts several threads have summed.
     * k^3/3 + 2 k^2 flop. */
    FA_T(fa_row_solver) solve_row_given;

    /* cg_steps steps of conjugate gradients from the row's previous value, preconditioned by the diagonal of A; each is
     * made only if it lowers the objective by more than rounding. Status as solve_row, to which it turns for rows of
     * cg_above cells or fewer, or more than FA_CG_CELLS, where lambda is nothing beside A (see CG_LEAST), and where A is
     * not positive along a direction. (4 cg_steps + 6) n k flop. */
    FA_T(fa_row_solver) solve_row_cg;

    /* The least x'Ax / 2 - rhs'x over x_c >= 0 for c < bounded, the other coordinates free: exact but for rounding. A as
     * row_gram leaves it, but both triangles set; A and rhs are kept. x (padded) starts from the support of what it holds
     * (none: from all), and has zeros at its bounds. work: that of a row. Returns 0, or 1 where A is not safely positive
     * definite; x is then arbitrary. A few (k^3/3 + 2 k^2) flop. */
    int (*nnls)(ptrdiff_t k, ptrdiff_t bounded, const real *A, const real *rhs, real *x, void *work);

    /* Rows whose first `bounded` coordinates are not negative. There is no rotation that keeps signs: base must be zero,
     * and the common term stands in `common`. Starts from the row's previous value. Status as nnls. */
    FA_T(fa_row_solver) solve_row_nnls;

    /* Rows of Z that stay in the cache together: longer rows are better solved in groups. */
    ptrdiff_t (*cg_block)(ptrdiff_t k);
    /* The most rows of such a group; at least FA_TASK_ROWS, at most FA_GROUP_ROWS. */
    ptrdiff_t (*cg_group)(ptrdiff_t k);

    /* Solves `count` <= FA_TASK_ROWS rows with `solve`, turns them back (x = Q x', QT (k, padded) = Q' with padded rows,
     * NULL: Q = I) and writes them to X (., k), row by row as `rows` says. With `from` (., k), which may be X, they start
     * from what it holds, turned by Q (as QT), else from zero; what is written then goes beyond the solution by
     * `relaxation` times the step taken.
     * With `group` up to cg_group(k) long rows are solved side by side by conjugate gradients, whatever `solve` is.
     * status[row] and decrease[row] get what the solver returned. */
    void (*solve_rows)(const FA_T(fa_side) * side, FA_T(fa_row_solver) solve, int group, ptrdiff_t count,
                         const int32_t *rows, const int64_t *indptr, const int32_t *indices, const real *values,
                         const FA_T(fa_owns) * owns, const real *Q, const real *QT, const real *from, real relaxation,
                         real *X, double *decrease, int32_t *status, void *work);

    /* One panel of a top-N search from the rows items[0..FA_PANEL-1] of Y (., k), -1 for an empty column: rows
     * (FA_PANEL, padded), codes (ceil(k / 4), FA_PANEL, 4), and bounds but for `rest`. k < 2^15. */
    void (*pack_panel)(ptrdiff_t k, const real *Y, const int32_t *items, real *rows, uint8_t *codes, fa_panel *bounds);

    /* The n items of highest score x'y for the queries first .. first + m - 1 (m <= FA_QUERIES) of X (., k), best first,
     * equal scores by ascending item; none that is not open or stands in one of the query's lists. Fewer than n: filled
     * up with -1 and -inf. items, scores (., n). The scores are those of pair_scores, to the bit, in any group; with a
     * boost they are what it makes of those in double, rounded once more, infinite where that is out of range. Returns 0,
     * or 1 where a list names an item, or `columns` a column, that the table does not have; the result is then arbitrary.
     * n_items k products of bytes for a query where nothing is cut off, and k FMAs for each pair that may still win. */
    int (*top_n)(const FA_T(fa_items) * table, ptrdiff_t first, ptrdiff_t m, const real *X, ptrdiff_t n,
                 const fa_lists *seen, const fa_lists *excluded, int32_t *items, real *scores, void *work);
    size_t (*top_n_workspace)(ptrdiff_t k, ptrdiff_t panels, ptrdiff_t m, ptrdiff_t n);

    /* scores[j] = x'y of the rows users[j] of X (., k) and items[j] of Y (., k), summed in a fixed order; an index of -1
     * gives NaN. */
    void (*pair_scores)(ptrdiff_t count, ptrdiff_t k, const real *X, const real *Y, const int32_t *users,
                        const int32_t *items, real *scores);
} FA_T(fa_kernels);
