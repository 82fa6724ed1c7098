/* The vector type of one instruction set and dtype. FA_VECTOR_BYTES is the register's size; 0 where the compiler has no
 * vector extension (then a "vector" is one element and the compiler vectorises what it can). */
#if FA_VECTOR_BYTES
typedef real FA(vec) __attribute__((vector_size(FA_VECTOR_BYTES)));
/* The same, readable at any element's address. */
typedef FA(vec) FA(vec_at) __attribute__((aligned(sizeof(real)), may_alias));
typedef FA_INT FA(lanes) __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef FA(lanes) FA(lanes_at) __attribute__((aligned(sizeof(real)), may_alias));
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

#if FA_VECTOR_BYTES && !defined(__clang__)
/* What step h of an in-register transpose takes from two vectors a, b: their blocks of h lanes, a's even ones and b's even
 * ones side by side ("low"), or the odd ones ("high"). */
#if FA_VECTOR_BYTES / FA_REAL_BYTES == 16
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif FA_VECTOR_BYTES / FA_REAL_BYTES == 8
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7}
#elif FA_VECTOR_BYTES / FA_REAL_BYTES == 4
#define IOTA {0, 1, 2, 3}
#else
#define IOTA {0, 1}
#endif
FA_INLINE vec FA(low_blocks)(vec a, vec b, const int h) {
    const FA(lanes) lane = IOTA, odd = (lane & (FA_INT)h) != 0;
    return __builtin_shuffle(a, b, lane + (odd & (FA_INT)(VL - h)));
}

FA_INLINE vec FA(high_blocks)(vec a, vec b, const int h) {
    const FA(lanes) lane = IOTA, odd = (lane & (FA_INT)h) != 0;
    return __builtin_shuffle(a, b, lane + ((odd & (FA_INT)VL) | (~odd & (FA_INT)h)));
}

/* Two vectors in one, each with the halves of its blocks of 2 h lanes added: a's sums in the lower, b's in the upper. */
FA_INLINE vec FA(fold_pair)(vec a, vec b, const int h) {
    const FA(lanes) lane = IOTA, upper = (lane & (FA_INT)h) != 0;
    const vec stay = __builtin_shuffle(a, b, lane + (upper & (FA_INT)VL));
    return stay + __builtin_shuffle(a, b, (lane ^ (FA_INT)h) + (upper & (FA_INT)VL));
}
#undef IOTA
#endif

/* The lane sums of `rows` accumulators, in t[0]: lane l gets row l. At step h two accumulators meet in one, each with the
 * halves of its blocks of 2 h lanes added. Accumulators of more lanes than rows keep a sum for each `rows` lanes. */
FA_INLINE void FA(fold)(const int rows, vec *t) {
#if FA_VECTOR_BYTES && !defined(__clang__)
    FA_UNROLL for (int h = rows / 2; h; h /= 2)
        FA_UNROLL for (int i = 0; i < h; i++) t[i] = FA(fold_pair)(t[i], t[i + h], h);
#else
    (void)rows, (void)t;
#endif
}

FA_INLINE vec FA(absolute)(vec r) {
#if FA_VECTOR_BYTES
    return (vec)((r < 0) & (FA(lanes))(-r)) + (vec)((r >= 0) & (FA(lanes))r);
#else
    return r < 0 ? -r : r;
#endif
}

/* v where r > floor, else 0 */
FA_INLINE vec FA(where_above)(vec r, real floor, vec v) {
#if FA_VECTOR_BYTES
    return (vec)((r > floor) & (FA(lanes))v);
#else
    return r > floor ? v : 0;
#endif
}
