/* Strings to codes; ids.h is the manual. */
#include "data/ids.h"

#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)(p))
#endif

/* Rows whose cache misses are waited for together. */
enum { BATCH = 32 };

static inline uint64_t word(const uint8_t *key, int64_t n) {
    uint64_t w = 0;
    memcpy(&w, key, (size_t)n);
    return w;
}

static inline uint64_t mix(uint64_t h, uint64_t w) {
    h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 32;
}

/* Words of 8 bytes, the last one overlapping; the multiplications make every bit depend on all before it. */
static inline uint64_t hash(const uint8_t *key, int64_t length) {
    uint64_t h = (uint64_t)length;
    if (length >= 8) {
        for (int64_t i = 0; i < length - 8; i += 8) h = mix(h, word(key + i, 8));
        h = mix(h, word(key + length - 8, 8));
    } else if (length >= 4) h = mix(h, word(key, 4) | word(key + length - 4, 4) << 32);
    else if (length > 0) h = mix(h, (uint64_t)key[0] | (uint64_t)key[length / 2] << 8 | (uint64_t)key[length - 1] << 16);
    return mix(mix(h, h >> 29), h);
}

/* Row j of the source; 0 if its offsets are broken. */
static inline int row(const fa_strings *source, int64_t j, const uint8_t **key, int64_t *length) {
    int64_t begin, end;
    switch (source->layout) {
        case FA_FIXED: *key = source->data + j * source->width, *length = source->width; return 1;
        case FA_POINTERS: *key = source->pointers[j], *length = ((const int64_t *)source->offsets)[j]; return 1;
        case FA_OFFSETS32:
            begin = ((const int32_t *)source->offsets)[j], end = ((const int32_t *)source->offsets)[j + 1];
            break;
        default: begin = ((const int64_t *)source->offsets)[j], end = ((const int64_t *)source->offsets)[j + 1];
    }
    if (begin < 0 || begin > end || end > source->size) return 0;
    *key = source->data + begin, *length = end - begin;
    return 1;
}

/* The code of a key, -1 if there is no room for it. */
static inline int64_t intern(fa_interner *t, const uint8_t *key, int64_t length, uint64_t h) {
    const uint64_t mask = (uint64_t)t->capacity - 1;
    for (uint64_t place = h & mask;; place = (place + 1) & mask) {
        const uint64_t slot = t->slots[place];
        if (!slot) {
            const int64_t c = t->count, begin = t->offsets[c];
            if (c == t->capacity / 2 || length > t->size - begin) return -1;
            memcpy(t->keys + begin, key, (size_t)length);
            t->offsets[c + 1] = begin + length;
            t->slots[place] = (h & UINT64_C(0xffffffff00000000)) | (uint64_t)(c + 1);
            return t->count++;
        }
        if ((slot ^ h) >> 32) continue;
        const int64_t c = (int64_t)(uint32_t)slot - 1, begin = t->offsets[c];
        if (t->offsets[c + 1] - begin == length && !memcmp(t->keys + begin, key, (size_t)length)) return c;
    }
}

int64_t fa_intern(fa_interner *t, const fa_strings *source, int64_t first, int64_t last, int32_t *codes) {
    const uint8_t *keys[BATCH];
    int64_t lengths[BATCH];
    uint64_t hashes[BATCH];
    const uint64_t mask = (uint64_t)t->capacity - 1;
    for (int64_t j = first; j < last; j += BATCH) {
        int64_t n = last - j < BATCH ? last - j : BATCH;
        for (int64_t i = 0; i < n; i++) {
            if (!row(source, j + i, &keys[i], &lengths[i])) return -1 - (j + i);
            hashes[i] = hash(keys[i], lengths[i]);
            PREFETCH(&t->slots[hashes[i] & mask]);
        }
        for (int64_t i = 0; i < n; i++) PREFETCH(&t->offsets[(uint32_t)t->slots[hashes[i] & mask]]);
        for (int64_t i = 0; i < n; i++) {
            const int64_t c = intern(t, keys[i], lengths[i], hashes[i]);
            if (c < 0) return j + i;
            codes[j + i] = (int32_t)c;
        }
    }
    return last;
}

void fa_reinsert(fa_interner *t) {
    const uint64_t mask = (uint64_t)t->capacity - 1;
    for (int64_t c = 0; c < t->count; c++) {
        const uint64_t h = hash(t->keys + t->offsets[c], t->offsets[c + 1] - t->offsets[c]);
        uint64_t place = h & mask;
        while (t->slots[place]) place = (place + 1) & mask;
        t->slots[place] = (h & UINT64_C(0xffffffff00000000)) | (uint64_t)(c + 1);
    }
}
