/* x86-64-v4: AVX-512, 32 registers of 64 bytes. */
typedef int fa_not_empty_x86_v4;
#if defined(__x86_64__) && defined(__GNUC__)
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")
#endif

#define FA_ISA x86_v4
#define FA_VECTOR_BYTES 64
#define FA_MR 8
#include "isa/kernels.inc.c"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
