/* x86-64-v3: AVX2 and FMA, 16 registers of 32 bytes. */
typedef int fa_not_empty_x86_v3;
#if defined(__x86_64__) && defined(__GNUC__)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define FA_ISA x86_v3
#define FA_VECTOR_BYTES 32
#define FA_MR 4
#include "isa/kernels.inc.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
