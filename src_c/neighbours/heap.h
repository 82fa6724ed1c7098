/* A list of the best while it is made: a heap whose root is the worst of them; equal scores rank by ascending column. */
#ifndef FASTALS_HEAP_H
#define FASTALS_HEAP_H

#include <stdint.h>

typedef struct fa_heap {
    double *score;
    int32_t *column;
} fa_heap;

static inline int fa_worse(double score, int32_t column, double than, int32_t other) {
    return score < than || (score == than && column > other);
}

/* Put an element where the root was. */
static inline void fa_sift_down(fa_heap h, int64_t size, double score, int32_t column) {
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && fa_worse(h.score[child + 1], h.column[child + 1], h.score[child], h.column[child]))
            child++;
        if (!fa_worse(h.score[child], h.column[child], score, column)) break;
        h.score[at] = h.score[child];
        h.column[at] = h.column[child];
    }
    h.score[at] = score;
    h.column[at] = column;
}

static inline void fa_sift_up(fa_heap h, int64_t at, double score, int32_t column) {
    while (at) {
        const int64_t parent = (at - 1) / 2;
        if (!fa_worse(score, column, h.score[parent], h.column[parent])) break;
        h.score[at] = h.score[parent];
        h.column[at] = h.column[parent];
        at = parent;
    }
    h.score[at] = score;
    h.column[at] = column;
}

/* Keep an element if it is among the n best; returns how many there are now. */
static inline int64_t fa_offer(fa_heap h, int64_t size, int64_t n, double score, int32_t column) {
    if (size < n) fa_sift_up(h, size++, score, column);
    else if (fa_worse(h.score[0], h.column[0], score, column)) fa_sift_down(h, n, score, column);
    return size;
}

/* Sort the heap, best first. */
static inline void fa_sort(fa_heap h, int64_t size) {
    while (size-- > 1) {
        const double score = h.score[size];
        const int32_t column = h.column[size];
        h.score[size] = h.score[0];
        h.column[size] = h.column[0];
        fa_sift_down(h, size, score, column);
    }
}

#endif
