/* fastals: the compiled core. C11, serial, no allocation, no Python.
 *
 * One row of a half-sweep is the k x k system of
 *
 *     ( D_u + sum_j a_j z_j z_j' ) x = sum_j b_j z_j          j over the stored cells of row u
 *
 * with D_u = base + lambda_u diagonal: the common term w0 Y'Y has been rotated into its eigenbasis by the caller
 * (z = Q'y, base = its eigenvalues; explicit feedback: Q = I, base = 0). The kernels know a, b, D and nothing else.
 *
 * Everything below exists once per dtype (suffix _f32, _f64) and once per instruction set; fa_kernels_* is the table
 * of one (dtype, instruction set), fa_kernels_for the only way to reach it.
 *
 * Layout, everywhere: row-major; "padded" rows have ld = padded(k) elements, start on 64 bytes, and hold zeros behind
 * the k-th element, which stay zeros. Workspaces are the caller's, 64-byte aligned, one per thread, of workspace(k, ..)
 * bytes, with arbitrary contents. */
#ifndef FASTALS_H
#define FASTALS_H

#include <stddef.h>
#include <stdint.h>

enum { FA_GENERIC, FA_X86_V3, FA_X86_V4, FA_X86_V4_VNNI, FA_NEON, FA_ISAS };

/* FA_ALIGN: bytes, of every workspace and padded matrix. FA_TASK_ROWS, FA_GROUP_ROWS: the most rows that one call of
 * solve_rows takes, one by one or, for any k, as a group. */
enum { FA_ALIGN = 64, FA_TASK_ROWS = 16, FA_GROUP_ROWS = 1024 };

/* FA_PART_CELLS: a longer row's system is summed in parts of so many cells, whoever sums them. FA_CG_CELLS: a longer row is
 * solved exactly, since its parts can be shared out to threads and the steps of conjugate gradients cannot. */
enum { FA_PART_CELLS = 65536, FA_CG_CELLS = 1 << 20 };

/* FA_PANEL: items of one panel of a top-N search. FA_QUERIES: queries that are searched together, at most. */
enum { FA_PANEL = 48, FA_QUERIES = 128 };

/* Bounds of a panel: no column's Euclidean norm exceeds `norm`, none of this and all later panels exceeds `rest`; a
 * column is `step` times its signed code, up to a difference of norm <= `error`. */
typedef struct {
    double norm, rest, step, error;
} fa_panel;

/* Weights of the columns of a top-N search: a score s counts as w s, or as s / w where it is below 0, so that a weight
 * above 1 is never a loss. rows[panel] is the row of `weights` (., FA_PANEL) that a panel has; a column of weight 0 is
 * not open. No weight in a row exceeds its `largest`, none at all `most`; no column of this and all later panels has a
 * larger product of weight and norm than `reach`. */
typedef struct {
    const int32_t *rows;
    const double *weights, *largest, *reach;
    double most;
} fa_boost;

/* A list of items for each query q: items[first[q]] .. items[last[q] - 1]. first NULL: every list is empty. */
typedef struct {
    const int64_t *first, *last;
    const int32_t *items;
} fa_lists;

#define real float
#define FA_T(name) name##_f32
#include "core/api.inc.h"
#undef real
#undef FA_T

#define real double
#define FA_T(name) name##_f64
#include "core/api.inc.h"
#undef real
#undef FA_T

/* 1 if this build holds the instruction set and this processor and operating system can run it. */
int fa_isa_available(int isa);
/* The psABI-style name ("generic", "x86_v3", "x86_v4", "x86_v4_vnni", "neon"), NULL outside 0..FA_ISAS-1. */
const char *fa_isa_name(int isa);
/* The table of an available instruction set, else NULL. */
const fa_kernels_f32 *fa_kernels_for_f32(int isa);
const fa_kernels_f64 *fa_kernels_for_f64(int isa);

#endif
