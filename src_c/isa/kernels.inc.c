/* All kernels of one instruction set, for both dtypes. Included once by each <isa>.c, which has set
 * FA_ISA (its name), FA_VECTOR_BYTES, FA_MR and the compiler's target. */
#include "core/compiler.h"
#include "core/fastals.h"

#define FA_PASTE(a, b, c) a##_##b##_##c
#define FA_NAME(a, b, c) FA_PASTE(a, b, c)
#define FA_QUOTE(a) #a
#define FA_STRING(a) FA_QUOTE(a)
#define FA_PASTE_ISA(a, b) a##_##b
#define FA_NAME_ISA(a, b) FA_PASTE_ISA(a, b)
#define FA_I(name) FA_NAME_ISA(name, FA_ISA)

#include "topn/codes.inc.c"

#define real float
#define FA(name) FA_NAME(name, f32, FA_ISA)
#define FA_S(name) name##_f32
#define FA_INT int32_t
#define FA_REAL_BYTES 4
#define FA_EPS FLT_EPSILON
#define FA_TINY ((real)1e-30)
#define FA_HUGE FLT_MAX
#define FA_ABS fabsf
#define FA_MIN FLT_MIN
#define FA_SQRT sqrtf
#include "isa/dtype.inc.c"

#define real double
#define FA(name) FA_NAME(name, f64, FA_ISA)
#define FA_S(name) name##_f64
#define FA_INT int64_t
#define FA_REAL_BYTES 8
#define FA_EPS DBL_EPSILON
#define FA_TINY ((real)1e-280)
#define FA_HUGE DBL_MAX
#define FA_ABS fabs
#define FA_MIN DBL_MIN
#define FA_SQRT sqrt
#include "isa/dtype.inc.c"
