/* The kernels' speed, beside what the machine can do; compiled and read by kernels.py.
 *
 *     kernels THREADS K...        a line of JSON for each measurement: {"what", "isa", "dtype", "k", "threads", "rate"}
 *
 * rate: GFLOP/s of the flop that the mathematics needs (a triangle, not the tiles that cover it), the best of several
 * repeats; for what ends in "rows", millions of factor rows a second. Only "rows" leave the second-level cache.
 * This file includes itself once for each dtype. */
#ifndef real

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/fastals.h"

enum { REPEATS = 7, MAX_THREADS = 64, FMA_STEPS = 1000, AHEAD = 16 };
/* Seconds of one repeat. */
static const double LONG_ENOUGH = 0.02;

/* The thread's own processor time: whoever else is running costs cache and bandwidth, but not time. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *aligned(ptrdiff_t bytes) {
    void *p = aligned_alloc(FA_ALIGN, ((size_t)bytes + FA_ALIGN - 1) / FA_ALIGN * FA_ALIGN);
    if (!p) abort();
    return memset(p, 0, (size_t)bytes);
}

/* In [0, 1), the same in every run. */
static double uniform(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

/* Seconds of one call of work(argument): the fastest of several repeats of many calls. */
static double seconds(void (*work)(void *), void *argument) {
    double best = 1e300;
    long calls = 1;
    for (int repeat = 0; repeat < REPEATS;) {
        const double start = now();
        for (long i = 0; i < calls; i++) work(argument);
        const double took = now() - start;
        if (took < LONG_ENOUGH) {
            calls *= 2;
            continue;
        }
        if (took / (double)calls < best) best = took / (double)calls;
        repeat++;
    }
    return best;
}

typedef struct {
    void (*work)(void *);
    void *argument;
    double seconds;
} task;

static void *run_task(void *argument) {
    task *t = argument;
    t->seconds = seconds(t->work, t->argument);
    return NULL;
}

/* Seconds of one call on each of `threads` threads at once, argument i for thread i. */
static double seconds_of_all(int threads, void (*work)(void *), void **arguments) {
    pthread_t id[MAX_THREADS];
    task tasks[MAX_THREADS];
    double slowest = 0;
    for (int i = 0; i < threads; i++) {
        tasks[i] = (task){work, arguments[i], 0};
        if (pthread_create(&id[i], NULL, run_task, &tasks[i])) abort();
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        if (tasks[i].seconds > slowest) slowest = tasks[i].seconds;
    }
    return slowest;
}

static void report(const char *what, const char *isa, const char *dtype, ptrdiff_t k, int threads, double rate) {
    printf("{\"what\": \"%s\", \"isa\": \"%s\", \"dtype\": \"%s\", ", what, isa, dtype);
    printf("\"k\": %td, \"threads\": %d, \"rate\": %.4g}\n", k, threads, rate);
    fflush(stdout);
}

#define V3 __attribute__((target("avx2,fma")))
#define V4 __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")))

#define real float
#define FA_T(name) name##_f32
#define DTYPE "float32"
#include "kernels.c"
#undef real
#undef FA_T
#undef DTYPE
#define real double
#define FA_T(name) name##_f64
#define DTYPE "float64"
#include "kernels.c"

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MAX_THREADS) return 2;
    for (int isa = 0; isa < FA_ISAS; isa++) {
        /* a set without probes differs from another only in the top-N kernels */
        if (!fa_isa_available(isa) || !probes_f32[isa].fma) continue;
        measure_f32(isa, threads, argc - 2, argv + 2);
        measure_f64(isa, threads, argc - 2, argv + 2);
    }
    return 0;
}

#else /* once for each dtype */

/* The machine: multiply-adds on registers, and rows of a table read in random order. */

typedef struct {
    const real *table;
    const int32_t *idx;
    ptrdiff_t n, ld;
    volatile real result;
} FA_T(probe);

/* CHAINS independent accumulators fill the pipelines and fit the registers; each tends to a constant. */
#define PROBES(isa, TARGET, BYTES, CHAINS) \
    TARGET static void FA_T(fma_##isa)(void *argument) { \
        typedef real vec __attribute__((vector_size(BYTES))); \
        FA_T(probe) *probe = argument; \
        const real start = probe->result; \
        const vec half = (vec){0} + (real)0.5, one = (vec){0} + start; \
        vec s[CHAINS]; \
        for (int i = 0; i < CHAINS; i++) s[i] = one * (real)i; \
        for (int step = 0; step < FMA_STEPS; step++) \
            _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++) s[i] = s[i] * half + one; \
        for (int i = 1; i < CHAINS; i++) s[0] += s[i]; \
        probe->result = s[0][0] > 0 ? 1 : 0; \
    } \
    TARGET static void FA_T(fetch_##isa)(void *argument) { \
        typedef real vec __attribute__((vector_size(BYTES))); \
        FA_T(probe) *probe = argument; \
        const ptrdiff_t line = 64 / sizeof(real), length = BYTES / sizeof(real); \
        vec s[4] = {{0}}; \
        for (ptrdiff_t j = 0; j < probe->n; j++) { \
            const real *row = probe->table + probe->idx[j] * probe->ld; \
            const real *ahead = probe->table + probe->idx[j + AHEAD] * probe->ld; \
            for (ptrdiff_t c = 0; c < probe->ld; c += line) { \
                __builtin_prefetch(ahead + c); \
                _Pragma("GCC unroll 4") for (ptrdiff_t v = 0; v < line / length; v++) \
                    s[v] += *(const vec *)(row + c + v * length); \
            } \
        } \
        probe->result = (s[0] + s[1] + s[2] + s[3])[0]; \
    }

#define FMA_FLOP(BYTES, CHAINS) (2.0 * FMA_STEPS * (CHAINS) * (BYTES) / sizeof(real))

PROBES(generic, , 16, 12)
#if defined(__x86_64__)
PROBES(x86_v3, V3, 32, 12)
PROBES(x86_v4, V4, 64, 24)
#endif

static const struct {
    void (*fma)(void *);
    double fma_flop;
    void (*fetch)(void *);
} FA_T(probes)[FA_ISAS] = {
    [FA_GENERIC] = {FA_T(fma_generic), FMA_FLOP(16, 12), FA_T(fetch_generic)},
#if defined(__x86_64__)
    [FA_X86_V3] = {FA_T(fma_x86_v3), FMA_FLOP(32, 12), FA_T(fetch_x86_v3)},
    [FA_X86_V4] = {FA_T(fma_x86_v4), FMA_FLOP(64, 24), FA_T(fetch_x86_v4)},
#else
    /* AArch64's 128-bit vectors are generic's; every build for it has FMA */
    [FA_NEON] = {FA_T(fma_generic), FMA_FLOP(16, 12), FA_T(fetch_generic)},
#endif
};

/* The kernels on one row of n cells, whose factor rows lie anywhere in a table. */

typedef struct {
    const FA_T(fa_kernels) * K;
    FA_T(fa_side) side;
    FA_T(fa_own) own;
    ptrdiff_t n, rows, at;
    const int32_t *idx; /* `rows` rows of n cells */
    real *val, *Q, *Z, *A, *system, *rhs, *x;
    double *G;
    void *work;
} FA_T(bench);

static void FA_T(gram)(void *argument) {
    FA_T(bench) *b = argument;
    b->K->gram(b->n, b->side.k, b->side.Z, b->side.ld, b->G, b->work);
}

static void FA_T(rotate)(void *argument) {
    FA_T(bench) *b = argument;
    b->K->rotate(b->n, b->side.k, b->side.Z, b->side.ld, b->Q, b->Z);
}

static void FA_T(row_gram)(void *argument) {
    FA_T(bench) *b = argument;
    b->K->row_gram(&b->side, b->n, b->idx, b->val, &b->own, b->A, b->rhs, b->work);
}

/* posv destroys its system: the copy that it needs, and posv with it. */
static void FA_T(copy_system)(void *argument) {
    FA_T(bench) *b = argument;
    memcpy(b->A, b->system, (size_t)(b->K->system_rows(b->side.k) * b->K->system_ld(b->side.k)) * sizeof(real));
    __asm__ volatile("" ::"r"(b->A) : "memory");
}

static void FA_T(copy_posv)(void *argument) {
    FA_T(bench) *b = argument;
    FA_T(copy_system)(b);
    for (ptrdiff_t i = 0; i < b->side.ld; i++) b->rhs[i] = 1;
    if (b->K->posv(b->side.k, b->A, b->rhs, b->x)) abort();
}

static void FA_T(solve_next)(FA_T(bench) * b, FA_T(fa_row_solver) solve) {
    double decrease;
    if (solve(&b->side, b->n, b->idx + b->at * b->n, b->val, &b->own, b->x, &decrease, b->work)) abort();
    b->at = (b->at + 1) % b->rows;
}

static void FA_T(solve)(void *argument) {
    FA_T(bench) *b = argument;
    FA_T(solve_next)(b, b->K->solve_row);
}

static void FA_T(solve_cg)(void *argument) {
    FA_T(bench) *b = argument;
    for (ptrdiff_t i = 0; i < b->side.ld; i++) b->x[i] = 0;
    FA_T(solve_next)(b, b->K->solve_row_cg);
}

static void FA_T(solve_nnls)(void *argument) {
    FA_T(bench) *b = argument;
    for (ptrdiff_t i = 0; i < b->side.ld; i++) b->x[i] = 0;
    FA_T(solve_next)(b, b->K->solve_row_nnls);
}

/* Rows of n cells each out of a table of n_other factor rows. */
static FA_T(bench) FA_T(set_up)(const FA_T(fa_kernels) * K, ptrdiff_t k, ptrdiff_t n, ptrdiff_t rows,
                               ptrdiff_t n_other) {
    FA_T(bench) b = {.K = K, .own = {.lambda = 1, .share = 1}, .n = n, .rows = rows};
    const ptrdiff_t ld = K->padded(k), matrix = K->system_rows(ld) * K->system_ld(k) * (ptrdiff_t)sizeof(real);
    const ptrdiff_t most = n_other > n ? n_other : n, vector = K->system_ld(k) * (ptrdiff_t)sizeof(real);
    real *Z = aligned(most * ld * (ptrdiff_t)sizeof(real)), *base = aligned(vector);
    for (ptrdiff_t i = 0; i < most; i++)
        for (ptrdiff_t c = 0; c < k; c++) Z[i * ld + c] = (real)(uniform() - 0.5);
    for (ptrdiff_t c = 0; c < k; c++) base[c] = (real)(1 + uniform());
    int32_t *idx = aligned((n * rows + AHEAD) * 4);
    for (ptrdiff_t j = 0; j < n * rows + AHEAD; j++) idx[j] = (int32_t)(uniform() * (double)n_other);
    b.idx = idx;
    b.val = aligned((n + FA_ALIGN) * (ptrdiff_t)sizeof(real));
    for (ptrdiff_t j = 0; j < n; j++) b.val[j] = (real)(1 + uniform());
    b.side = (FA_T(fa_side)){.k = k,
                             .ld = ld,
                             .n_other = n_other,
                             .Z = Z,
                             .base = base,
                             .ridged = k,
                             .a1 = 1,
                             .b0 = 1,
                             .b1 = 1,
                             .positive_only = 1,
                             .short_limit = K->short_limit(k),
                             .cg_steps = 3,
                             .bounded = k,
                             .end = idx + n * rows};
    b.A = aligned(matrix), b.system = aligned(matrix), b.Q = aligned(k * ld * (ptrdiff_t)sizeof(real));
    b.rhs = aligned(vector), b.x = aligned(vector), b.Z = aligned(n * ld * (ptrdiff_t)sizeof(real));
    b.G = aligned(k * k * 8), b.work = aligned((ptrdiff_t)K->workspace(k, 0));
    K->row_gram(&b.side, n, idx, b.val, &b.own, b.system, b.rhs, b.work);
    return b;
}

static void FA_T(tear_down)(FA_T(bench) b) {
    void *all[] = {(void *)b.side.Z, (void *)b.side.base, (void *)b.idx, b.val, b.Q, b.Z,
                   b.A,              b.system,            b.rhs,         b.x,   b.G, b.work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void FA_T(measure)(int isa, int threads, int n_k, char **ks) {
    const FA_T(fa_kernels) *K = FA_T(fa_kernels_for)(isa);
    for (int i = 0; i < n_k; i++) {
        const ptrdiff_t k = atoi(ks[i]);
        const double d = (double)k, triangle = d * (d + 1), factor = d * d * d / 3 + 2 * d * d;
        const ptrdiff_t ld = K->padded(k), cached = 262144 / (ld * (ptrdiff_t)sizeof(real));

        FA_T(probe) chains = {.result = 1};
        report("fma", K->isa, DTYPE, k, 1, FA_T(probes)[isa].fma_flop / seconds(FA_T(probes)[isa].fma, &chains) / 1e9);

        /* a long row, as many cells as the cached table has rows, twice over */
        FA_T(bench) b = FA_T(set_up)(K, k, 2 * cached, 1, cached);
        double n = (double)b.n;
        report("gram", K->isa, DTYPE, k, 1, n * triangle / seconds(FA_T(gram), &b) / 1e9);
        report("rotate", K->isa, DTYPE, k, 1, 2 * n * d * d / seconds(FA_T(rotate), &b) / 1e9);
        report("row_gram", K->isa, DTYPE, k, 1, n * (triangle + 2 * d) / seconds(FA_T(row_gram), &b) / 1e9);
        const double copy = seconds(FA_T(copy_system), &b);
        report("posv", K->isa, DTYPE, k, 1, factor / (seconds(FA_T(copy_posv), &b) - copy) / 1e9);
        FA_T(tear_down)(b);

        /* whole rows: of 2 k cells by the k x k system, of k / 4 by the n x n system, of 2 k by conjugate gradients */
        b = FA_T(set_up)(K, k, 2 * k, 64, cached);
        n = (double)b.n;
        report("long row", K->isa, DTYPE, k, 1, (n * (triangle + 2 * d) + factor) / seconds(FA_T(solve), &b) / 1e9);
        const double cg_flop = (4.0 * b.side.cg_steps + 6) * n * d;
        report("cg row", K->isa, DTYPE, k, 1, cg_flop / seconds(FA_T(solve_cg), &b) / 1e9);
        /* counted as one exact solve: its share of a long row's figure tells how many of those it costs */
        report("nnls row", K->isa, DTYPE, k, 1, (n * (triangle + 2 * d) + factor) / seconds(FA_T(solve_nnls), &b) / 1e9);
        FA_T(tear_down)(b);
        if (k >= 8) {
            b = FA_T(set_up)(K, k, k / 4, 64, cached);
            n = (double)b.n;
            const double flop = n * (n + 1) * d + n * n * n / 3 + 2 * n * n + 2 * n * d;
            report("short row", K->isa, DTYPE, k, 1, flop / seconds(FA_T(solve), &b) / 1e9);
            FA_T(tear_down)(b);
        }

        /* rows of 144 cells, the mean of MovieLens-20M, from tables as long as its items and users: fetched only, then
         * solved by conjugate gradients, on all threads */
        const ptrdiff_t tables[] = {26744, 138493};
        for (int t = 0; t < 2; t++) {
            FA_T(bench) each[MAX_THREADS];
            FA_T(probe) fetch[MAX_THREADS];
            void *benches[MAX_THREADS], *probes[MAX_THREADS];
            for (int j = 0; j < threads; j++) {
                each[j] = FA_T(set_up)(K, k, 144, 4096, tables[t]);
                if (j) { /* one table for all */
                    free((void *)each[j].side.Z);
                    each[j].side.Z = each[0].side.Z;
                }
                fetch[j] = (FA_T(probe)){each[0].side.Z, each[j].idx, 144 * 4096, each[j].side.ld, 0};
                benches[j] = &each[j], probes[j] = &fetch[j];
            }
            char what[2][32];
            snprintf(what[0], sizeof what[0], "fetch, %td rows", tables[t]);
            snprintf(what[1], sizeof what[1], "cg, %td rows", tables[t]);
            const double cells = (double)threads / 1e6;
            const double fetched = seconds_of_all(threads, FA_T(probes)[isa].fetch, probes);
            report(what[0], K->isa, DTYPE, k, threads, cells * 144 * 4096 / fetched);
            const double solved = seconds_of_all(threads, FA_T(solve_cg), benches);
            report(what[1], K->isa, DTYPE, k, threads, cells * 144 / solved);
            for (int j = threads - 1; j >= 0; j--) {
                if (j) each[j].side.Z = NULL;
                FA_T(tear_down)(each[j]);
            }
        }
    }
}

#undef PROBES
#undef FMA_FLOP
#endif
