/* Runs every C kernel over odd sizes, for the address and undefined-behaviour sanitizers to watch: each array is
 * allocated with exactly the size that the headers promise, workspaces and results are full of NaN before each call, and
 * results are compared with plain loops in double, so that neither a byte too far nor one never written goes unseen. */
#include "core/fastals.h"
#include "data/ids.h"
#include "neighbours/product.h"
#include "data/sparse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            exit(1); \
        } \
    } while (0)

/* So many bytes and not one more, on a cache line, every element NaN (or -1). */
static void *poisoned(size_t bytes) {
    void *p = NULL;
    REQUIRE(!posix_memalign(&p, FA_ALIGN, bytes ? bytes : 1), "out of memory");
    memset(p, 0xff, bytes);
    return p;
}

static uint64_t state = 1;

static uint64_t bits(void) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 33;
}
static ptrdiff_t below(ptrdiff_t n) { return (ptrdiff_t)(bits() % (uint64_t)n); }
static double uniform(void) { return (double)bits() / (double)(UINT64_C(1) << 31) * 2 - 1; }
static double largest(double a, double b) { return a > b ? a : b; }

/* Factors around the lengths of registers, tiles and cache lines. */
static const ptrdiff_t FACTORS[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100};

#define real float
#define T(name) name##_f32
#define BOUND 2e-5
#include "driver.inc.c"
#undef real
#undef T
#undef BOUND

#define real double
#define T(name) name##_f64
#define BOUND 1e-12
#include "driver.inc.c"
#undef real
#undef T
#undef BOUND

/* From a list of cells to rows and back; every type of values. */
static void check_sparse(void) {
    enum { N = 257, ROWS = 13, COLUMNS = 29 };
    static const int SIZES[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    int32_t *keys = poisoned(N * sizeof *keys), *others = poisoned(N * sizeof *others);
    for (ptrdiff_t j = 0; j < N; j++) {
        keys[j] = (int32_t)below(ROWS);
        others[j] = (int32_t)below(COLUMNS);
    }
    for (int type = FA_I8; type <= FA_F64; type++) {
        void *values = poisoned((size_t)(N * SIZES[type]));
        double *expected = poisoned(N * sizeof *expected), *out = poisoned(N * sizeof *out);
        memset(values, 0, (size_t)(N * SIZES[type]));
        if (type == FA_F32)
            for (ptrdiff_t j = 0; j < N; j++) ((float *)values)[j] = (float)below(100);
        else if (type == FA_F64)
            for (ptrdiff_t j = 0; j < N; j++) ((double *)values)[j] = (double)below(100);
        else
            for (ptrdiff_t j = 0; j < N; j++) ((uint8_t *)values)[j * SIZES[type]] = (uint8_t)below(100);
        REQUIRE(fa_check_values(type, values, 0, N) == 0, "type %d", type);
        fa_copy_values(type, values, 0, N, FA_F64, expected);
        int64_t *indptr = poisoned((ROWS + 1) * sizeof *indptr), *next = poisoned(ROWS * sizeof *next);
        int64_t *counts = calloc(ROWS, sizeof *counts);
        fa_count(0, N, keys, counts);
        indptr[0] = 0;
        for (ptrdiff_t r = 0; r < ROWS; r++) indptr[r + 1] = indptr[r] + counts[r];
        memcpy(next, indptr, ROWS * sizeof *next);
        int32_t *indices = poisoned(N * sizeof *indices);
        fa_scatter_cells(0, N, keys, others, type, values, next, indices, FA_F64, out);
        REQUIRE(next[ROWS - 1] == N && fa_check_rows_i32(0, ROWS, indptr, indices, COLUMNS, NULL) & FA_UNSORTED,
                "scatter");
        double sum = 0, total = 0;
        for (ptrdiff_t j = 0; j < N; j++) sum += expected[j], total += out[j];
        REQUIRE(sum == total, "type %d", type);

        /* twice transposed, rows are sorted */
        int64_t *across = poisoned((COLUMNS + 1) * sizeof *across), *place = calloc(COLUMNS, sizeof *place);
        int32_t *rows = poisoned(N * sizeof *rows);
        double *turned = poisoned(N * sizeof *turned);
        fa_count(0, N, indices, place);
        across[0] = 0;
        for (ptrdiff_t c = 0; c < COLUMNS; c++) across[c + 1] = across[c] + place[c];
        memcpy(place, across, COLUMNS * sizeof *place);
        fa_scatter_rows(0, ROWS, indptr, indices, FA_F64, out, place, rows, FA_F64, turned);
        memcpy(next, indptr, ROWS * sizeof *next);
        fa_scatter_rows(0, COLUMNS, across, rows, FA_F64, turned, next, indices, FA_F64, out);
        REQUIRE(fa_check_rows_i32(0, ROWS, indptr, indices, COLUMNS, NULL) == FA_REPEATED, "transpose");

        for (int policy = FA_SUM; policy <= FA_MEAN; policy++) {
            fa_count_distinct(0, ROWS, indptr, indices, FA_F64, out, policy, counts);
            int64_t *merged = poisoned((ROWS + 1) * sizeof *merged);
            merged[0] = 0;
            for (ptrdiff_t r = 0; r < ROWS; r++) merged[r + 1] = merged[r] + counts[r];
            int32_t *to = poisoned((size_t)merged[ROWS] * sizeof *to);
            float *kept = poisoned((size_t)merged[ROWS] * sizeof *kept);
            REQUIRE(!fa_merge_rows(0, ROWS, indptr, indices, FA_F64, out, policy, merged, to, FA_F32, kept), "merge");
            REQUIRE(fa_check_rows_i32(0, ROWS, merged, to, COLUMNS, NULL) == 0, "merge");
            REQUIRE(fa_check_values(FA_F32, kept, 0, merged[ROWS]) == 0, "merge");
            free(merged), free(to), free(kept);
        }
        free(values), free(expected), free(out), free(indptr), free(next), free(counts), free(indices);
        free(across), free(place), free(rows), free(turned);
    }
    free(keys), free(others);
}

/* Codes in order of first appearance, the table grown whenever it is full; strings of 0 to 12 bytes, few of them equal. */
static void check_ids(void) {
    enum { N = 500, LONGEST = 12 };
    int64_t *offsets = poisoned((N + 1) * sizeof *offsets), *lengths = poisoned(N * sizeof *lengths);
    int32_t *narrow = poisoned((N + 1) * sizeof *narrow), *codes = poisoned(N * sizeof *codes);
    const uint8_t **pointers = poisoned(N * sizeof *pointers);
    offsets[0] = narrow[0] = 0;
    for (ptrdiff_t j = 0; j < N; j++) {
        lengths[j] = below(LONGEST + 1);
        offsets[j + 1] = offsets[j] + lengths[j];
        narrow[j + 1] = (int32_t)offsets[j + 1];
    }
    uint8_t *data = poisoned((size_t)offsets[N]);
    for (int64_t j = 0; j < offsets[N]; j++) data[j] = (uint8_t)('a' + below(3));
    for (ptrdiff_t j = 0; j < N; j++) pointers[j] = data + offsets[j];
    for (int layout = FA_FIXED; layout <= FA_POINTERS; layout++) {
        const int64_t width = 3, rows = layout == FA_FIXED ? offsets[N] / width : N;
        const fa_strings source = {.layout = layout,
                                   .width = width,
                                   .size = offsets[N],
                                   .data = data,
                                   .pointers = pointers,
                                   .offsets = layout == FA_OFFSETS32   ? (const void *)narrow
                                              : layout == FA_OFFSETS64 ? (const void *)offsets
                                                                       : (const void *)lengths};
        fa_interner table = {.capacity = 2, .size = 1};
        table.slots = calloc(2, sizeof *table.slots);
        table.offsets = calloc(2, sizeof *table.offsets);
        table.keys = malloc(1);
        codes = realloc(codes, (size_t)rows * sizeof *codes);
        for (int64_t done = 0; (done = fa_intern(&table, &source, done, rows, codes)) < rows;) {
            REQUIRE(done >= 0, "row %lld", (long long)done);
            table.capacity *= 2;
            table.size = 2 * table.size + LONGEST;
            free(table.slots);
            table.slots = calloc((size_t)table.capacity, sizeof *table.slots);
            table.offsets = realloc(table.offsets, (size_t)(table.capacity / 2 + 1) * sizeof *table.offsets);
            table.keys = realloc(table.keys, (size_t)table.size);
            fa_reinsert(&table);
        }
        for (int64_t j = 0, seen = 0; j < rows; j++) {
            const uint8_t *key = layout == FA_FIXED ? data + j * width : pointers[j];
            const int64_t length = layout == FA_FIXED ? width : lengths[j], c = codes[j];
            REQUIRE(c <= seen && c < table.count, "row %lld", (long long)j);
            seen += c == seen;
            REQUIRE(table.offsets[c + 1] - table.offsets[c] == length, "row %lld", (long long)j);
            REQUIRE(!memcmp(table.keys + table.offsets[c], key, (size_t)length), "row %lld", (long long)j);
        }
        free(table.slots), free(table.offsets), free(table.keys);
    }
    free(offsets), free(lengths), free(narrow), free(codes), free(pointers), free(data);
}

/* Lists of rows with few and with many products, one workspace for all; the best must be what a plain search finds. */
static void check_product(void) {
    enum { INNER = 6, N = 5, CELLS = 4 };
    static const int64_t COLUMNS[] = {1, 2, 7, 40, 1000};
    for (size_t i = 0; i < sizeof COLUMNS / sizeof *COLUMNS; i++)
        for (int weighting = FA_SUM_ONLY; weighting <= FA_BY_MATRIX; weighting++) {
            const int64_t columns = COLUMNS[i], step = columns > 40 ? columns / 7 : 1;
            int64_t *indptr = poisoned((INNER + 1) * sizeof *indptr);
            indptr[0] = 0;
            for (int r = 0; r < INNER; r++) indptr[r + 1] = indptr[r] + (r == 2 ? 0 : (columns + step - 1) / step);
            int32_t *indices = poisoned((size_t)indptr[INNER] * sizeof *indices);
            float *values = poisoned((size_t)indptr[INNER] * sizeof *values);
            for (int r = 0; r < INNER; r++)
                for (int64_t q = indptr[r]; q < indptr[r + 1]; q++) {
                    indices[q] = (int32_t)((q - indptr[r]) * step);
                    values[q] = (float)(1 + below(4));
                }
            double *base = poisoned((size_t)columns * sizeof *base);
            uint8_t *open = poisoned((size_t)columns);
            for (int64_t c = 0; c < columns; c++) base[c] = (double)below(3), open[c] = (uint8_t)(below(4) > 0);
            const fa_product p = {.n_rows = INNER,
                                  .n_cells = indptr[INNER],
                                  .n_columns = columns,
                                  .indptr = indptr,
                                  .indices = indices,
                                  .values = values,
                                  .weighting = weighting,
                                  .base = weighting ? base : NULL,
                                  .open = open};
            void *work = calloc(1, fa_product_workspace(&p, N)), *work_at = calloc(1, fa_product_workspace(&p, 1));
            for (int32_t stray = -1; stray <= INNER; stray += INNER + 1) {
                const int32_t beside[] = {0, stray}, outside = stray < 0 ? -1 : (int32_t)columns;
                const float one[] = {1, 1};
                REQUIRE(fa_product_at(&p, 2, beside, one, 0, NULL, NULL, work_at), "row %d", stray);
                REQUIRE(fa_product_at(&p, 1, beside, one, 1, &outside, NULL, work_at), "column %d", outside);
                REQUIRE(fa_product_best(&p, 1, beside, one, 0, 1, &outside, N, NULL, NULL, work), "hidden %d", outside);
            }
            for (int n_cells = 0; n_cells <= CELLS; n_cells++) {
                int32_t *rows = poisoned((size_t)n_cells * sizeof *rows), *hidden = poisoned(sizeof *hidden);
                float *w = poisoned((size_t)n_cells * sizeof *w), *at = poisoned((size_t)columns * sizeof *at);
                int32_t *all = poisoned((size_t)columns * sizeof *all), *found = poisoned(N * sizeof *found);
                float *scores = poisoned(N * sizeof *scores);
                for (int j = 0; j < n_cells; j++) rows[j] = j, w[j] = (float)(1 + below(4));
                for (int64_t c = 0; c < columns; c++) all[c] = (int32_t)c;
                *hidden = (int32_t)below(columns);
                REQUIRE(!fa_product_at(&p, n_cells, rows, w, columns, all, at, work_at), "at");
                REQUIRE(!fa_product_best(&p, n_cells, rows, w, 0, 1, hidden, N, found, scores, work), "best");
                for (int j = 0; j < N; j++) {
                    int64_t first = -1; /* the best that is left, of those that any row holds */
                    for (int64_t c = 0; n_cells && c < columns; c += step) {
                        int taken = c == *hidden || !open[c];
                        for (int before = 0; before < j; before++) taken |= found[before] == c;
                        if (!taken && (first < 0 || at[c] > at[first])) first = c;
                    }
                    REQUIRE(found[j] == first && (first < 0 ? scores[j] == -INFINITY : scores[j] == at[first]),
                            "columns %td, place %d: %d", (ptrdiff_t)columns, j, found[j]);
                }
                free(rows), free(hidden), free(w), free(at), free(all), free(found), free(scores);
            }
            free(indptr), free(indices), free(values), free(base), free(open), free(work), free(work_at);
        }
}

int main(void) {
    REQUIRE(!fa_isa_name(-1) && !fa_isa_name(FA_ISAS) && !fa_kernels_for_f32(-1) && !fa_kernels_for_f64(FA_ISAS),
            "names");
    for (int isa = 0; isa < FA_ISAS; isa++) {
        if (!fa_isa_available(isa)) {
            printf("%s: not on this machine\n", fa_isa_name(isa));
            continue;
        }
        for (size_t i = 0; i < sizeof FACTORS / sizeof *FACTORS; i++) {
            check_kernels_f32(fa_kernels_for_f32(isa), FACTORS[i]);
            check_kernels_f64(fa_kernels_for_f64(isa), FACTORS[i]);
        }
        printf("%s: ok\n", fa_isa_name(isa));
    }
    check_sparse();
    check_ids();
    check_product();
    return 0;
}
