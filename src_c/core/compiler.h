/* What compilers name differently. */
#ifndef FA_COMPILER_H
#define FA_COMPILER_H
#if defined(__GNUC__) || defined(__clang__)
#define FA_INLINE static inline __attribute__((always_inline))
/* for loops that need the registers to themselves */
#define FA_NOINLINE static __attribute__((noinline))
#define FA_RESTRICT __restrict__
/* into the second-level cache: what is fetched ahead must not push out what is being worked on */
#define FA_PREFETCH(p) __builtin_prefetch(p, 0, 2)
/* into the first: what comes next */
#define FA_PREFETCH_CLOSE(p) __builtin_prefetch(p, 0, 3)
#if defined(__clang__)
#define FA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FA_UNROLL _Pragma("GCC unroll 16")
#endif
#define FA_LOWEST_BIT(word) __builtin_ctzll(word)
#else
#include <intrin.h>
#define FA_INLINE static inline
#define FA_NOINLINE static
#define FA_RESTRICT
#define FA_PREFETCH(p) ((void)(p))
#define FA_PREFETCH_CLOSE(p) ((void)(p))
#define FA_UNROLL
FA_INLINE int FA_LOWEST_BIT(unsigned long long word) {
    unsigned long bit;
    _BitScanForward64(&bit, word);
    return (int)bit;
}
#endif
#endif
