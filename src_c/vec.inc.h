/* The vector type of one instruction set and dtype. FA_VECTOR_BYTES is the register's size; 0 where the compiler has no
 * vector extension (then a "vector" is one element and the compiler vectorises what it can). */
#ifndef FA_VEC_H
#define FA_VEC_H
#if defined(__GNUC__) || defined(__clang__)
#define FA_INLINE static inline __attribute__((always_inline))
#define FA_RESTRICT __restrict__
/* into the second-level cache: what is fetched ahead must not push out what is being worked on */
#define FA_PREFETCH(p) __builtin_prefetch(p, 0, 2)
#if defined(__clang__)
#define FA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FA_UNROLL _Pragma("GCC unroll 16")
#endif
#else
#define FA_INLINE static inline
#define FA_RESTRICT
#define FA_PREFETCH(p) ((void)(p))
#define FA_UNROLL
#endif
#endif

#if FA_VECTOR_BYTES
typedef real FA(vec) __attribute__((vector_size(FA_VECTOR_BYTES)));
/* The same, readable at any element's address. */
typedef FA(vec) FA(vec_at) __attribute__((aligned(sizeof(real)), may_alias));
#define VL ((ptrdiff_t)(FA_VECTOR_BYTES / sizeof(real)))
#else
typedef real FA(vec);
typedef real FA(vec_at);
#define VL ((ptrdiff_t)1)
#endif
#define vec FA(vec)
#define LOAD(p) ((vec) * (const FA(vec_at) *)(p))
#define STORE(p, v) (*(FA(vec_at) *)(p) = (v))

/* Rows and vectors of one register tile: FA_MR * NV accumulators, NV vectors and a broadcast must fit the registers. */
#define MR ((ptrdiff_t)FA_MR)
#define NV ((ptrdiff_t)3)
/* Elements of one cache line. */
#define LINE ((ptrdiff_t)(64 / sizeof(real)))
