/* The ABI's floor: SSE2 on x86-64, whatever 128-bit vectors mean elsewhere, plain C without vector extensions. */
#include <float.h>
#include <math.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <emmintrin.h>
#endif

#define FA_ISA generic
#if defined(__GNUC__)
#define FA_VECTOR_BYTES 16
#else
#define FA_VECTOR_BYTES 0
#endif
#define FA_MR 4
#include "isa/kernels.inc.c"
