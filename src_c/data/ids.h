/* Strings to codes 0, 1, 2, … in order of first appearance: an open-addressing hash table that owns its keys. C11,
 * serial, no allocation: the caller grows the table when fa_intern stops because it is full. */
#ifndef FASTALS_IDS_H
#define FASTALS_IDS_H

#include <stdint.h>

enum { FA_FIXED, FA_OFFSETS32, FA_OFFSETS64, FA_POINTERS };

/* Row j of a source of strings, which are any bytes:
 *     FA_FIXED        data[j * width .. (j + 1) * width - 1]
 *     FA_OFFSETS32    data[offsets[j] .. offsets[j + 1] - 1], offsets (rows + 1) int32; data has size bytes
 *     FA_OFFSETS64    the same with int64
 *     FA_POINTERS     pointers[j][0 .. lengths[j] - 1], lengths int64 in place of offsets */
typedef struct {
    int layout;
    int64_t width, size;
    const uint8_t *data;
    const void *offsets;
    const uint8_t *const *pointers;
} fa_strings;

typedef struct {
    int64_t capacity;  /* slots, a power of two; at most half of them are used */
    uint64_t *slots;   /* 0: empty; else 32 bits of the hash, 32 bits of code + 1 */
    int64_t count;     /* keys */
    int64_t *offsets;  /* capacity / 2 + 1: key c is keys[offsets[c] .. offsets[c + 1] - 1] */
    int64_t size;      /* bytes that keys has room for */
    uint8_t *keys;
} fa_interner;

/* codes[j] = code of row j, first <= j < last. Returns last; or the first row for which the table has no room; or
 * -1 - j for the first row whose offsets are not within the data. */
int64_t fa_intern(fa_interner *table, const fa_strings *source, int64_t first, int64_t last, int32_t *codes);
/* Fill empty slots, after they have become more, with the keys that are there. */
void fa_reinsert(fa_interner *table);

/* Bring the two cache lines at p nearer: a short Python string is as long as that. */
static inline void fa_prefetch(const void *p) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(p);
    __builtin_prefetch((const char *)p + 64);
#else
    (void)p;
#endif
}

#endif
