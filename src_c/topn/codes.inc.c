/* The integer register tile: eight-bit codes of factors and their products, four factors to an instruction. Included
 * once by each instruction set, before the dtypes; FA_I(name) is name_<isa>.
 *
 * An item's code is unsigned, 128 standing for zero; a query's is signed, -127..127. So the sum of products is that of
 * the signed codes plus 128 times the sum of the query's codes, a constant of the query. Factors go in quads: a panel is
 * (quads, FA_PANEL, 4) item codes, a block of queries (quads, QUERY_WORDS, FA_MR) words of 32 bits. */
#if FA_VECTOR_BYTES
typedef int32_t FA_I(ints) __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef FA_I(ints) FA_I(ints_at) __attribute__((aligned(1), may_alias));
#define LANES (FA_VECTOR_BYTES / 4)
#else
typedef int32_t FA_I(ints);
typedef int32_t FA_I(ints_at);
#define LANES 1
#endif
#define ints FA_I(ints)

/* Bit i: lane i of a is above t. */
FA_INLINE uint64_t FA_I(lanes_above)(ints a, int32_t t) {
#if FA_VECTOR_BYTES == 64 && defined(__x86_64__)
    return _mm512_cmpgt_epi32_mask((__m512i)a, _mm512_set1_epi32(t));
#elif FA_VECTOR_BYTES == 32 && defined(__x86_64__)
    return (uint64_t)_mm256_movemask_ps((__m256)_mm256_cmpgt_epi32((__m256i)a, _mm256_set1_epi32(t)));
#elif FA_VECTOR_BYTES == 16 && defined(__x86_64__)
    return (uint64_t)_mm_movemask_ps((__m128)_mm_cmpgt_epi32((__m128i)a, _mm_set1_epi32(t)));
#elif FA_VECTOR_BYTES
    uint64_t bits = 0;
    FA_UNROLL for (int i = 0; i < LANES; i++) bits |= (uint64_t)(a[i] > t) << i;
    return bits;
#else
    return a > t;
#endif
}

#if FA_VNNI
#define QUERY_WORDS 1

FA_INLINE void FA_I(put_quad)(int32_t *words, const int8_t *codes) { memcpy(words, codes, 4); }

/* acc[r][:] += the products of one quad of FA_MR queries and 3 vectors of items. */
FA_INLINE void FA_I(quad_products)(const int32_t *words, const ints items[3], ints acc[FA_MR][3]) {
    FA_UNROLL for (int r = 0; r < FA_MR; r++) {
        const __m512i word = _mm512_set1_epi32(words[r]);
        FA_UNROLL for (int v = 0; v < 3; v++)
            acc[r][v] = (ints)_mm512_dpbusd_epi32((__m512i)acc[r][v], (__m512i)items[v], word);
    }
}
#else
/* Two words of 16-bit codes, (0, 2) and (1, 3) of the quad, for the multiply-add of pairs. */
#define QUERY_WORDS 2

FA_INLINE void FA_I(put_quad)(int32_t *words, const int8_t *codes) {
    words[0] = (int32_t)((uint32_t)(uint16_t)codes[0] | (uint32_t)(uint16_t)codes[2] << 16);
    words[FA_MR] = (int32_t)((uint32_t)(uint16_t)codes[1] | (uint32_t)(uint16_t)codes[3] << 16);
}

/* Lane by lane the two products of 16-bit halves, added; a's are never negative. */
FA_INLINE ints FA_I(pair_products)(ints a, int32_t b) {
#if FA_VECTOR_BYTES == 64 && defined(__x86_64__)
    return (ints)_mm512_madd_epi16((__m512i)a, _mm512_set1_epi32(b));
#elif FA_VECTOR_BYTES == 32 && defined(__x86_64__)
    return (ints)_mm256_madd_epi16((__m256i)a, _mm256_set1_epi32(b));
#elif FA_VECTOR_BYTES == 16 && defined(__x86_64__)
    return (ints)_mm_madd_epi16((__m128i)a, _mm_set1_epi32(b));
#else
    return (a & 0xffff) * (int32_t)(int16_t)b + (a >> 16) * (b >> 16);
#endif
}

FA_INLINE void FA_I(quad_products)(const int32_t *words, const ints items[3], ints acc[FA_MR][3]) {
    FA_UNROLL for (int v = 0; v < 3; v++) {
        const ints even = items[v] & 0x00ff00ff, odd = (items[v] >> 8) & 0x00ff00ff;
        FA_UNROLL for (int r = 0; r < FA_MR; r++)
            acc[r][v] += FA_I(pair_products)(even, words[r]) + FA_I(pair_products)(odd, words[FA_MR + r]);
    }
}
#endif

/* above[r], bit c: the products of query r of the block and column c of the panel sum to more than bar[r]. */
static void FA_I(panel_above)(ptrdiff_t quads, const int32_t *block, const uint8_t *panel, const int32_t *bar,
                              uint64_t above[FA_MR]) {
    for (int r = 0; r < FA_MR; r++) above[r] = 0;
    for (int column = 0; column < FA_PANEL; column += 3 * LANES) {
        ints acc[FA_MR][3];
        FA_UNROLL for (int r = 0; r < FA_MR; r++)
            FA_UNROLL for (int v = 0; v < 3; v++) acc[r][v] = (ints){0};
        for (ptrdiff_t q = 0; q < quads; q++) {
            const uint8_t *codes = panel + 4 * (q * FA_PANEL + column);
            ints items[3];
            FA_UNROLL for (int v = 0; v < 3; v++) items[v] = *(const FA_I(ints_at) *)(const void *)(codes + 4 * v * LANES);
            FA_I(quad_products)(block + q * QUERY_WORDS * FA_MR, items, acc);
        }
        FA_UNROLL for (int r = 0; r < FA_MR; r++)
            FA_UNROLL for (int v = 0; v < 3; v++)
                above[r] |= FA_I(lanes_above)(acc[r][v], bar[r]) << (column + v * LANES);
    }
}
