/* Exact top-N: many pairs are ruled out cheaply, the few that may win are scored.
 *
 * With x = sx p + dx and y = sy c + dy, p and c the codes of codes.inc.c,
 *
 *     x'y <= sx sy p'c + ||dx|| ||y|| + ||sx p|| ||dy||
 *
 * so a pair can only beat the query's N-th best score so far if the integer p'c is above a bar, one for a query and a
 * panel. Panels come by descending norm: a query is done when ||x|| ||y|| (Cauchy-Schwarz) cannot reach its N-th best.
 * Both bounds carry more than their own rounding and that of the score, so that the result is the one of scoring every
 * pair; being ordered by (score, item), it does not depend on the order of work either.
 *
 * A boost never changes the order of one column's scores. So a boosted score to reach is turned back into one of x'y, with
 * the largest weight of the panel, for which it is the least. */

/* Relative slack of bounds that are computed in double. */
#define SLACK (1 + 1e-9)
/* Entries for which a list of n has room, and how many more than n may stay when it is pruned. */
#define ROOM(n) (((n) + (n) / 2 + 12 + 15) / 16 * 16)
#define SPARE(n) ((n) / 8 + 2)
/* Lists up to here are sorted by counting. */
#define RANKED 192
#define QUERIES_PADDED(m) (((m) + FA_MR - 1) / FA_MR * FA_MR)

/* x'y is summed as one partial sum for each element of a cache line, then a tree over those: neither zeros behind the
 * k-th factor nor the length of the registers nor the place in a batch make a difference. */

/* The partial sums of one pair, folded to one register. whole: k is a multiple of LINE. */
FA_INLINE vec FA(partial_sums)(const int whole, ptrdiff_t k, const real *x, const real *y) {
    const int vectors = (int)(LINE / VL);
    vec sum[LINE / VL];
    FA_UNROLL for (int v = 0; v < vectors; v++) sum[v] = (vec){0};
    real x_end[LINE], y_end[LINE];
    for (ptrdiff_t p = 0; p < k; p += LINE) {
        const real *xp = x + p, *yp = y + p;
        if (!whole && k - p < LINE) {
            /* the same multiply-adds as for a whole line, since the compiler may or may not fuse others */
            for (ptrdiff_t i = 0; i < LINE; i++) {
                x_end[i] = i < k - p ? xp[i] : 0;
                y_end[i] = i < k - p ? yp[i] : 0;
            }
            xp = x_end, yp = y_end;
        }
        FA_UNROLL for (int v = 0; v < vectors; v++) sum[v] += LOAD(xp + v * VL) * LOAD(yp + v * VL);
    }
    FA_UNROLL for (int h = vectors / 2; h; h /= 2)
        FA_UNROLL for (int v = 0; v < h; v++) sum[v] += sum[v + h];
    return sum[0];
}

/* The sums of VL registers, side by side: elements half a register apart are added, then those a quarter apart, .. */
FA_INLINE vec FA(lane_sums)(vec t[]) {
#if FA_VECTOR_BYTES && !defined(__clang__)
    FA(fold)((int)VL, t);
    return t[0];
#elif FA_VECTOR_BYTES
    vec sums;
    for (int i = 0; i < (int)VL; i++) {
        for (int h = (int)VL / 2; h; h /= 2)
            for (int c = 0; c < h; c++) t[i][c] += t[i][c + h];
        sums[i] = t[i][0];
    }
    return sums;
#else
    return t[0];
#endif
}

/* The scores of up to VL pairs; writes VL elements. */
FA_INLINE void FA(products)(const int whole, ptrdiff_t k, ptrdiff_t count, const real *const x[], const real *const y[], real *scores) {
    vec t[VL];
    for (ptrdiff_t i = 0; i < count; i++) t[i] = FA(partial_sums)(whole, k, x[i], y[i]);
    for (ptrdiff_t i = count; i < VL; i++) t[i] = (vec){0};
    STORE(scores, FA(lane_sums)(t));
}

static void FA(pad_row)(ptrdiff_t k, ptrdiff_t ld, const real *row, real *out) {
    for (ptrdiff_t p = 0; p < k; p++) out[p] = row[p];
    for (ptrdiff_t p = k; p < ld; p++) out[p] = 0;
}

static real FA(largest)(ptrdiff_t ld, const real *x) {
    real largest = 0;
    for (ptrdiff_t p = 0; p < ld; p++) {
        const real size = x[p] < 0 ? -x[p] : x[p];
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* ||x|| of a padded row whose largest element is known, not too small; scaled, so that no square is lost. */
static double FA(norm)(ptrdiff_t ld, const real *x, real largest) {
    double sums[8] = {0}, sum = 0;
    if (!(largest > 0)) return 0;
    for (ptrdiff_t p = 0; p < ld; p += 8)
        for (int i = 0; i < 8; i++) {
            const double t = (double)x[p + i] / (double)largest;
            sums[i] += t * t;
        }
    for (int i = 0; i < 8; i++) sum += sums[i];
    return (double)largest * sqrt(sum) * SLACK;
}

/* The value of one unit of a code, for rows whose largest element this is; 0: such rows have the code 0 throughout. */
static double FA(code_step)(real largest) { return largest >= FA_TINY ? (double)largest / 127 : 0; }

/* Codes of two quads of a row; adds the squared differences, in units of the step. */
FA_INLINE void FA(encode)(const real *x, double inverse_step, int8_t codes[8], double sums[8]) {
    for (int i = 0; i < 8; i++) {
        const double t = (double)x[i] * inverse_step;
        const int32_t code = (int32_t)(t + (t < 0 ? -0.5 : 0.5));
        codes[i] = (int8_t)code;
        sums[i] += (t - code) * (t - code);
    }
}

FA_INLINE double FA(code_error)(const double sums[8], double step, double norm) {
    double sum = 0;
    for (int i = 0; i < 8; i++) sum += sums[i];
    return step > 0 ? step * sqrt(sum) * SLACK : norm;
}

static void FA(pack_panel)(ptrdiff_t k, const real *Y, const int32_t *items, real *rows, uint8_t *codes,
                           fa_panel *bounds) {
    const ptrdiff_t ld = FA(padded)(k), quads = (k + 3) / 4;
    const real nothing = 0;
    real largest = 0;
    bounds->norm = bounds->error = 0;
    for (ptrdiff_t c = 0; c < FA_PANEL; c++) {
        real *row = rows + c * ld;
        if (items[c] < 0) FA(pad_row)(0, ld, &nothing, row);
        else FA(pad_row)(k, ld, Y + items[c] * k, row);
        const real of_row = FA(largest)(ld, row);
        const double norm = FA(norm)(ld, row, of_row);
        if (norm > bounds->norm) bounds->norm = norm;
        if (of_row > largest) largest = of_row;
    }
    /* rows of one panel are of like size, so that one step serves them all */
    bounds->step = FA(code_step)(largest);
    const double inverse = bounds->step > 0 ? 1 / bounds->step : 0;
    for (ptrdiff_t c = 0; c < FA_PANEL; c++) {
        double sums[8] = {0};
        for (ptrdiff_t q = 0; q < quads; q += 2) {
            int8_t pair[8];
            FA(encode)(rows + c * ld + 4 * q, inverse, pair, sums);
            for (int i = 0; i < 8 && q + i / 4 < quads; i++)
                codes[4 * ((q + i / 4) * FA_PANEL + c) + i % 4] = (uint8_t)(pair[i] + 128);
        }
        const double error = FA(code_error)(sums, bounds->step, bounds->norm);
        if (error > bounds->error) bounds->error = error;
    }
}

/* The best of one query so far: an unordered list with room for more than n. Of two entries one always beats the other. */

FA_INLINE int FA(beats)(real score, int32_t item, real than_score, int32_t than_item) {
    return (score > than_score) | ((score == than_score) & (item < than_item));
}

FA_INLINE void FA(swap)(real *scores, int32_t *items, ptrdiff_t i, ptrdiff_t j) {
    const real score = scores[i];
    const int32_t item = items[i];
    scores[i] = scores[j];
    items[i] = items[j];
    scores[j] = score;
    items[j] = item;
}

/* Moves the n best of `count` > n entries to the front (quickselect). The pivots' places are scattered, so that no order
 * of entries is a bad one but by design. */
static void FA(select)(real *scores, int32_t *items, ptrdiff_t count, ptrdiff_t n) {
    ptrdiff_t first = 0, last = count;
    for (uint32_t random = 1; first < last;) {
        random = random * 1664525 + 1013904223;
        FA(swap)(scores, items, first + (ptrdiff_t)((uint64_t)random * (uint64_t)(last - first) >> 32), last - 1);
        const real score = scores[last - 1];
        const int32_t item = items[last - 1];
        ptrdiff_t at = first;
        for (ptrdiff_t j = first; j < last - 1; j++) {
            const int better = FA(beats)(scores[j], items[j], score, item);
            FA(swap)(scores, items, at, j);
            at += better;
        }
        FA(swap)(scores, items, at, last - 1);
        if (at == n) return;
        if (at < n) first = at + 1;
        else last = at;
    }
}

/* Drops entries of a list of `count` > n that n others beat, leaving at most n + SPARE(n), and raises *floor, a score that
 * at least n entries reach. Where to cut is found by halving: counting is much cheaper than moving, and a list that need
 * not be exact takes a few steps. */
static ptrdiff_t FA(prune)(real *scores, int32_t *items, ptrdiff_t count, ptrdiff_t n, real *floor) {
    real low = scores[0], high = scores[0];
    for (ptrdiff_t i = 1; i < count; i++) {
        low = scores[i] < low ? scores[i] : low;
        high = scores[i] > high ? scores[i] : high;
    }
    for (int step = 0; step < 32; step++) {
        const real middle = low / 2 + high / 2;
        FA_INT above = 0;
        for (ptrdiff_t i = 0; i < count; i++) above += scores[i] >= middle;
        if (above < n) high = middle;
        else low = middle;
        if (above < n || above > n + SPARE(n)) continue;
        ptrdiff_t kept = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            const real score = scores[i];
            const int32_t item = items[i];
            scores[kept] = score;
            items[kept] = item;
            kept += score >= middle;
        }
        *floor = middle;
        return kept;
    }
    /* too many equal scores, or too near each other */
    FA(select)(scores, items, count, n);
    *floor = scores[0];
    for (ptrdiff_t i = 1; i < n; i++) *floor = scores[i] < *floor ? scores[i] : *floor;
    return n;
}

/* How many of `count` entries, a whole number of registers, beat this one. */
FA_INLINE FA_INT FA(beaten_by)(ptrdiff_t count, const real *scores, const FA_INT *items, real score, FA_INT item) {
#if FA_VECTOR_BYTES
    FA(lanes) ranks = {0};
    FA_INT rank = 0;
    for (ptrdiff_t j = 0; j < count; j += VL) {
        const vec s = LOAD(scores + j);
        const FA(lanes) i = *(const FA(lanes_at) *)(items + j);
        ranks -= (s > score) | ((s == score) & (i < item));
    }
    FA_UNROLL for (int l = 0; l < (int)VL; l++) rank += ranks[l];
    return rank;
#else
    FA_INT rank = 0;
    for (ptrdiff_t j = 0; j < count; j++) rank += (scores[j] > score) | ((scores[j] == score) & (items[j] < item));
    return rank;
#endif
}

/* Writes the n <= count best entries in order: of a short list by counting for each how many beat it, a long one is cut. */
static void FA(sort)(real *scores, int32_t *items, ptrdiff_t count, ptrdiff_t n, real *out_scores, int32_t *out_items) {
    while (count > RANKED) {
        const ptrdiff_t cut = n < count ? n : count / 2 / LINE * LINE;
        FA(select)(scores, items, count, cut);
        if (cut == n) {
            count = n;
            continue;
        }
        FA(sort)(scores, items, cut, cut, out_scores, out_items);
        scores += cut, items += cut, out_scores += cut, out_items += cut;
        count -= cut, n -= cut;
    }
    /* entries that beat nothing make whole registers of the list; only behind its end, as the cuts are whole lines */
    const ptrdiff_t padded = (count + LINE - 1) / LINE * LINE;
    FA_INT wide[RANKED];
    for (ptrdiff_t i = 0; i < count; i++) wide[i] = items[i];
    for (ptrdiff_t i = count; i < padded; i++) {
        scores[i] = (real)-INFINITY;
        wide[i] = INT32_MAX;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        const FA_INT rank = FA(beaten_by)(padded, scores, wide, scores[i], wide[i]);
        if (rank < n) {
            out_scores[rank] = scores[i];
            out_items[rank] = items[i];
        }
    }
}

/* The queries of one call that are not done stand side by side in `live` places, FA_MR to a block of codes. */
typedef struct {
    ptrdiff_t live;
    int32_t *query;                           /* (places) which one it is */
    real *floor;                              /* (queries) score that n of its entries reach, or -inf */
    double *goal, *norm, *error, *inverse_step; /* (places) score to reach; bounds of it and its codes */
    int32_t *shift, *bar;                     /* (places) 128 times the sum of its codes; see panel_above */
    int32_t *words;                           /* (blocks, quads, QUERY_WORDS, FA_MR) */
    real *x;                                  /* (queries, padded) */
    ptrdiff_t *count;                         /* (queries) entries of its list */
    real *best;                               /* (queries, room) the lists */
    int32_t *best_item;
    uint64_t *blocked;                        /* (panels, queries) columns that the query must not get */
    int32_t *pending;                         /* places and columns of a panel that may win, 64 place + column */
    real *score;                              /* their scores */
} FA(search);

static char *FA(carve)(char **at, ptrdiff_t bytes) {
    char *start = *at;
    *at += (bytes + FA_ALIGN - 1) / FA_ALIGN * FA_ALIGN;
    return start;
}

/* Lays the workspace out and returns its size. */
static size_t FA(lay_out)(ptrdiff_t k, ptrdiff_t panels, ptrdiff_t m, ptrdiff_t n, char *work, FA(search) * s) {
    const ptrdiff_t places = QUERIES_PADDED(m), quads = (k + 3) / 4;
    char *at = work;
    s->goal = (double *)(void *)FA(carve)(&at, places * 8);
    s->norm = (double *)(void *)FA(carve)(&at, places * 8);
    s->error = (double *)(void *)FA(carve)(&at, places * 8);
    s->inverse_step = (double *)(void *)FA(carve)(&at, places * 8);
    s->query = (int32_t *)(void *)FA(carve)(&at, places * 4);
    s->shift = (int32_t *)(void *)FA(carve)(&at, places * 4);
    s->bar = (int32_t *)(void *)FA(carve)(&at, places * 4);
    s->words = (int32_t *)(void *)FA(carve)(&at, places * quads * QUERY_WORDS * 4);
    s->x = (real *)(void *)FA(carve)(&at, m * FA(padded)(k) * (ptrdiff_t)sizeof(real));
    s->count = (ptrdiff_t *)(void *)FA(carve)(&at, m * (ptrdiff_t)sizeof(ptrdiff_t));
    s->pending = (int32_t *)(void *)FA(carve)(&at, m * FA_PANEL * 4);
    s->score = (real *)(void *)FA(carve)(&at, (m * FA_PANEL + VL) * (ptrdiff_t)sizeof(real));
    s->best = (real *)(void *)FA(carve)(&at, m * ROOM(n) * (ptrdiff_t)sizeof(real));
    s->best_item = (int32_t *)(void *)FA(carve)(&at, m * ROOM(n) * 4);
    s->floor = (real *)(void *)FA(carve)(&at, m * (ptrdiff_t)sizeof(real));
    s->blocked = (uint64_t *)(void *)FA(carve)(&at, panels * m * 8);
    return (size_t)(at - work);
}

static size_t FA(top_n_workspace)(ptrdiff_t k, ptrdiff_t panels, ptrdiff_t m, ptrdiff_t n) {
    FA(search) unused;
    return FA(lay_out)(k, panels, m, n, 0, &unused);
}

FA_INLINE int32_t *FA(words_of)(const FA(search) * s, ptrdiff_t quads, ptrdiff_t place) {
    return s->words + place / FA_MR * quads * QUERY_WORDS * FA_MR + place % FA_MR;
}

/* blocked (panels, m), of one query; 1 where an item or a column is none of the table */
static int FA(block_list)(const FA_S(fa_items) * table, ptrdiff_t m, ptrdiff_t q, const fa_lists *lists,
                          uint64_t *blocked) {
    if (!lists->first) return 0;
    for (int64_t j = lists->first[q]; j < lists->last[q]; j++) {
        const int32_t item = lists->items[j];
        if (item < 0 || item >= table->n_items) return 1;
        const int32_t column = table->columns[item];
        if (column < 0) continue;
        if (column / FA_PANEL >= table->panels) return 1;
        blocked[column / FA_PANEL * m] |= (uint64_t)1 << column % FA_PANEL;
    }
    return 0;
}

/* A query of zeros scores 0 everywhere: the first items that it may get. Returns their number, -1 as block_list its 1. */
static ptrdiff_t FA(first_items)(const FA_S(fa_items) * table, ptrdiff_t m, ptrdiff_t n, const uint64_t *blocked,
                                 int32_t *items, real *scores) {
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < table->n_items && count < n; i++) {
        const int32_t column = table->columns[i];
        if (column < 0) continue;
        const ptrdiff_t panel = column / FA_PANEL;
        if (panel >= table->panels) return -1;
        if (!((table->open[panel] & ~blocked[panel * m]) >> column % FA_PANEL & 1)) continue;
        items[count] = (int32_t)i;
        scores[count++] = 0;
    }
    return count;
}

/* Gives query q the next place. */
static void FA(enter)(FA(search) * s, ptrdiff_t quads, ptrdiff_t ld, ptrdiff_t q, real largest) {
    const ptrdiff_t place = s->live++;
    const real *x = s->x + q * ld;
    const double step = FA(code_step)(largest), inverse = step > 0 ? 1 / step : 0;
    int32_t *words = FA(words_of)(s, quads, place), sum = 0;
    double sums[8] = {0};
    for (ptrdiff_t p = 0; p < quads; p += 2) {
        int8_t codes[8];
        FA(encode)(x + 4 * p, inverse, codes, sums);
        for (int i = 0; i < 8; i++) sum += codes[i];
        FA_I(put_quad)(words + p * QUERY_WORDS * FA_MR, codes);
        if (p + 1 < quads) FA_I(put_quad)(words + (p + 1) * QUERY_WORDS * FA_MR, codes + 4);
    }
    s->query[place] = (int32_t)q;
    s->goal[place] = -INFINITY;
    s->norm[place] = FA(norm)(ld, x, largest);
    s->error[place] = FA(code_error)(sums, step, s->norm[place]);
    s->inverse_step[place] = step > 0 ? inverse : 1;
    s->shift[place] = 128 * sum;
}

/* Moves the last live query to the place of one that is done. */
static void FA(leave)(FA(search) * s, ptrdiff_t quads, ptrdiff_t place) {
    const ptrdiff_t last = --s->live;
    int32_t *to = FA(words_of)(s, quads, place);
    const int32_t *from = FA(words_of)(s, quads, last);
    for (ptrdiff_t w = 0; w < quads * QUERY_WORDS; w++) to[w * FA_MR] = from[w * FA_MR];
    s->query[place] = s->query[last];
    s->goal[place] = s->goal[last];
    s->norm[place] = s->norm[last];
    s->error[place] = s->error[last];
    s->inverse_step[place] = s->inverse_step[last];
    s->shift[place] = s->shift[last];
}

/* Lets those leave whose N-th best score no later item can reach. */
static void FA(retire)(FA(search) * s, ptrdiff_t quads, double reach, double least) {
    for (ptrdiff_t i = 0; i < s->live;) {
        if (s->norm[i] * reach + least < s->goal[i]) FA(leave)(s, quads, i);
        else i++;
    }
}

/* What a score counts as. */
FA_INLINE real FA(boosted)(real score, double weight) {
    return (real)(score < 0 ? (double)score / weight : (double)score * weight);
}

/* The least number that rounding may have raised to a boosted score. */
FA_INLINE double FA(unrounded)(real score) {
    return (double)score - fabs((double)score) * (double)(4 * FA_EPS) - (double)FA_MIN;
}

/* The bar of each place: what the integer product must exceed to be worth a look. Returns whether there is one that may.
 * weighted: `weight` is the largest of the panel. */
FA_INLINE int FA(set_bars)(const int weighted, FA(search) * s, const fa_panel *panel, double weight, double rounding,
                           double least) {
    const double inverse_step = panel->step > 0 ? 1 / panel->step : 1;
    const double by_error = (panel->norm + panel->error) * SLACK, by_norm = (panel->error + rounding * panel->norm) * SLACK;
    const double reach = panel->norm * (1 + rounding) * SLACK;
    int any = 0;
    for (ptrdiff_t i = 0; i < s->live; i++) {
        const double bound = s->error[i] * by_error + s->norm[i] * by_norm + least;
        double goal = s->goal[i];
        if (weighted) goal = goal < 0 ? goal * weight : goal / weight;
        any |= !(s->norm[i] * reach + least < goal);
        double bar = (goal - bound) * (s->inverse_step[i] * inverse_step) - 2;
        /* also where it is not a number: then everything is worth a look */
        bar = bar > -1e9 ? bar : -1e9;
        bar = bar < 1e9 ? bar : 1e9;
        s->bar[i] = (int32_t)bar + s->shift[i];
    }
    for (ptrdiff_t i = s->live; i < QUERIES_PADDED(s->live); i++) s->bar[i] = INT32_MAX;
    return any;
}

static ptrdiff_t FA(filter)(const FA_S(fa_items) * table, ptrdiff_t panel, ptrdiff_t m, const FA(search) * s) {
    const ptrdiff_t quads = (table->k + 3) / 4;
    const uint8_t *codes = table->codes + panel * quads * 4 * FA_PANEL;
    const uint64_t open = table->open[panel], *blocked = s->blocked + panel * m;
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < s->live; i += FA_MR) {
        uint64_t above[FA_MR];
        FA_I(panel_above)(quads, FA(words_of)(s, quads, i), codes, s->bar + i, above);
        for (ptrdiff_t r = 0; r < FA_MR; r++) {
            if (!(above[r] &= open)) continue;
            for (above[r] &= ~blocked[s->query[i + r]]; above[r]; above[r] &= above[r] - 1)
                s->pending[count++] = (int32_t)(64 * (i + r)) + FA_LOWEST_BIT(above[r]);
        }
    }
    return count;
}

static void FA(score_pending)(const FA(search) * s, ptrdiff_t pending, ptrdiff_t ld, const real *Y) {
    for (ptrdiff_t j = 0; j < pending; j += VL) {
        const ptrdiff_t count = pending - j < VL ? pending - j : VL;
        const real *x[VL], *y[VL];
        for (ptrdiff_t i = 0; i < count; i++) {
            x[i] = s->x + s->query[s->pending[j + i] / 64] * ld;
            y[i] = Y + s->pending[j + i] % 64 * ld;
        }
        FA(products)(1, ld, count, x, y, s->score + j);
    }
}

/* Enters an item into the list of the query at this place, if it may be one of its N best. */
FA_INLINE void FA(offer)(const int weighted, FA(search) * s, ptrdiff_t place, ptrdiff_t n, real score, int32_t item) {
    const ptrdiff_t q = s->query[place];
    s->best[q * ROOM(n) + s->count[q]] = score;
    s->best_item[q * ROOM(n) + s->count[q]] = item;
    /* most are good enough, but hardly predictably so; what has overflowed to NaN never is */
    s->count[q] += score >= s->floor[q];
    if (s->count[q] < ROOM(n)) return;
    s->count[q] = FA(prune)(s->best + q * ROOM(n), s->best_item + q * ROOM(n), ROOM(n), n, s->floor + q);
    s->goal[place] = weighted ? FA(unrounded)(s->floor[q]) : (double)s->floor[q];
}

FA_INLINE void FA(search_panels)(const int weighted, const FA_S(fa_items) * table, ptrdiff_t m, ptrdiff_t n,
                                 FA(search) * s) {
    const ptrdiff_t k = table->k, ld = FA(padded)(k), quads = (k + 3) / 4;
    /* of a float score, relative to ||x|| ||y||, and below the normal numbers */
    const double rounding = (double)(2 * k + 16) * (double)FA_EPS, least = (double)k * (double)FA_MIN;
    const fa_boost *boost = table->boost;
    for (ptrdiff_t panel = 0; panel < table->panels; panel++) {
        if (!table->open[panel]) continue;
        const fa_panel *bounds = table->bounds + panel;
        const double reach = weighted ? boost->reach[panel] : bounds->rest;
        FA(retire)(s, quads, reach * (1 + rounding) * SLACK, weighted ? boost->most * least : least);
        if (!s->live) break;
        const ptrdiff_t row = weighted ? boost->rows[panel] : 0;
        if (!FA(set_bars)(weighted, s, bounds, weighted ? boost->largest[row] : 1, rounding, least)) continue;
        const ptrdiff_t pending = FA(filter)(table, panel, m, s);
        FA(score_pending)(s, pending, ld, table->Y + panel * FA_PANEL * ld);
        for (ptrdiff_t j = 0; j < pending; j++) {
            const ptrdiff_t c = s->pending[j] % 64;
            real score = s->score[j];
            if (weighted) score = FA(boosted)(score, boost->weights[row * FA_PANEL + c]);
            FA(offer)(weighted, s, s->pending[j] / 64, n, score, table->items[panel * FA_PANEL + c]);
        }
    }
}

static void FA(finish)(const FA(search) * s, ptrdiff_t q, ptrdiff_t n, int32_t *items, real *scores) {
    real *best = s->best + q * ROOM(n);
    int32_t *best_item = s->best_item + q * ROOM(n);
    ptrdiff_t count = s->count[q];
    if (count > n + SPARE(n)) count = FA(prune)(best, best_item, count, n, s->floor + q);
    FA(sort)(best, best_item, count, count < n ? count : n, scores, items);
    for (ptrdiff_t i = count; i < n; i++) {
        scores[i] = (real)-INFINITY;
        items[i] = -1;
    }
}

static int FA(top_n)(const FA_S(fa_items) * table, ptrdiff_t first, ptrdiff_t m, const real *X, ptrdiff_t n,
                     const fa_lists *seen, const fa_lists *excluded, int32_t *items, real *scores, void *work) {
    const ptrdiff_t k = table->k, ld = FA(padded)(k), quads = (k + 3) / 4;
    items += first * n;
    scores += first * n;
    FA(search) s;
    FA(lay_out)(k, table->panels, m, n, work, &s);
    memset(s.blocked, 0, (size_t)(table->panels * m) * sizeof *s.blocked);
    s.live = 0;
    for (ptrdiff_t q = 0; q < m; q++) {
        if (FA(block_list)(table, m, first + q, seen, s.blocked + q)) return 1;
        if (FA(block_list)(table, m, first + q, excluded, s.blocked + q)) return 1;
        FA(pad_row)(k, ld, X + (first + q) * k, s.x + q * ld);
        const real largest = FA(largest)(ld, s.x + q * ld);
        if (largest > 0) FA(enter)(&s, quads, ld, q, largest);
        s.floor[q] = (real)-INFINITY;
        s.count[q] = largest > 0 ? 0
                                 : FA(first_items)(table, m, n, s.blocked + q, s.best_item + q * ROOM(n),
                                                   s.best + q * ROOM(n));
        if (s.count[q] < 0) return 1;
    }
    if (table->boost) FA(search_panels)(1, table, m, n, &s);
    else FA(search_panels)(0, table, m, n, &s);
    for (ptrdiff_t q = 0; q < m; q++) FA(finish)(&s, q, n, items + q * n, scores + q * n);
    return 0;
}

static void FA(pair_scores)(ptrdiff_t count, ptrdiff_t k, const real *X, const real *Y, const int32_t *users,
                            const int32_t *items, real *scores) {
    for (ptrdiff_t j = 0; j < count; j += VL) {
        const ptrdiff_t size = count - j < VL ? count - j : VL;
        const real *x[VL], *y[VL];
        real out[VL];
        for (ptrdiff_t i = 0; i < size; i++) {
            x[i] = X + (users[j + i] < 0 ? 0 : users[j + i]) * k;
            y[i] = Y + (items[j + i] < 0 ? 0 : items[j + i]) * k;
        }
        FA(products)(0, k, size, x, y, out);
        for (ptrdiff_t i = 0; i < size; i++) scores[j + i] = users[j + i] < 0 || items[j + i] < 0 ? (real)NAN : out[i];
    }
}
