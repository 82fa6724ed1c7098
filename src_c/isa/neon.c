/* AArch64: 32 registers of 16 bytes; NEON and FMA belong to the ABI, so no target switch is needed. */
typedef int fa_not_empty_neon;
#if defined(__aarch64__) && defined(__GNUC__)
#include <float.h>
#include <math.h>
#include <string.h>

#define FA_ISA neon
#define FA_VECTOR_BYTES 16
#define FA_MR 8
#include "isa/kernels.inc.c"
#endif
