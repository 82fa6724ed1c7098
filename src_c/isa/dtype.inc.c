/* The kernels of one dtype and instruction set, each file standing on those before it, and their table. */
#include "core/vec.inc.h"
#include "core/tile.inc.c"
#include "equation/gram.inc.c"
#include "equation/chol.inc.c"
#include "equation/dense.inc.c"
#include "equation/row.inc.c"
#include "equation/nnls.inc.c"
#include "equation/cg.inc.c"
#include "topn/topk.inc.c"

extern const FA_S(fa_kernels) FA(fa_kernels);
const FA_S(fa_kernels) FA(fa_kernels) = {
    .isa = FA_STRING(FA_ISA),
    .vector_length = (int)VL,
    .padded = FA(padded),
    .workspace = FA(workspace),
    .system_ld = FA(system_ld),
    .system_rows = FA(system_rows),
    .short_limit = FA(short_limit),
    .gram = FA(gram),
    .rotate = FA(rotate),
    .row_gram = FA(row_gram),
    .add_system = FA(add_system),
    .row_system = FA(row_system),
    .row_decrease = FA(row_decrease),
    .posv = FA(posv),
    .refine = FA(refine),
    .solve_row = FA(solve_row),
    .solve_row_cg = FA(solve_row_cg),
    .solve_row_given = FA(solve_row_given),
    .nnls = FA(nnls),
    .solve_row_nnls = FA(solve_row_nnls),
    .cg_block = FA(cg_block),
    .cg_group = FA(cg_group),
    .solve_rows = FA(solve_rows),
    .pack_panel = FA(pack_panel),
    .top_n = FA(top_n),
    .top_n_workspace = FA(top_n_workspace),
    .pair_scores = FA(pair_scores),
};

#undef real
#undef FA
#undef FA_S
#undef FA_INT
#undef FA_REAL_BYTES
#undef FA_EPS
#undef FA_TINY
#undef FA_HUGE
#undef FA_ABS
#undef FA_MIN
#undef FA_SQRT
#undef vec
#undef VL
#undef LOAD
#undef STORE
#undef MR
#undef NV
#undef LINE
#undef BLOCK_BYTES
#undef PREFETCH_BYTES
#undef PIVOT_LOSS
#undef NULL_PIVOT
#undef REFINE_BELOW
#undef REFINE_STEPS
#undef REFINED
#undef CG_LEAST
#undef CG_NOISE
#undef CG_BLOCK_BYTES
#undef CG_GROUP_BYTES
#undef DOT_ROWS
#undef CLOSE_BYTES
#undef GRAM_ROWS
#undef SHORT_LOSS
#undef TURN_NOISE
#undef FLAT_FROM
#undef FLAT
#undef NNLS_SLACK
#undef NNLS_PIVOT
#undef SLACK
#undef RANKED
#undef ROOM
#undef SPARE
#undef QUERIES_PADDED
