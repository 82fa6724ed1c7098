# top-N (src_c/topn/topk.inc.c)

DEF MOST_FACTORS = (1 << 15) - 1


cdef Py_ssize_t code_bytes(Py_ssize_t k) noexcept nogil:
    """Of one panel."""
    return (k + 3) // 4 * 4 * FA_PANEL


def pack_panels(const real[:, ::1] Y not None, const int32_t[::1] items not None, int num_threads):
    """Rows (columns, padded), codes (panels, bytes) and bounds (panels, 4) of the items of each column, -1 for none."""
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t k = Y.shape[1], panels = items.shape[0] // FA_PANEL, p
    cdef Py_ssize_t ld = padded(dtype, k), bytes_each = code_bytes(k)
    within("factors", k, 1, MOST_FACTORS)
    fits("items", items.shape, panels * FA_PANEL)
    indices_within("items", items, -1, Y.shape[0])
    within("num_threads", num_threads, 1, MOST)
    rows, codes = aligned_empty((panels * FA_PANEL, ld), dtype), aligned_empty((panels, bytes_each), np.uint8)
    bounds = np.empty((panels, sizeof(fa_panel) // sizeof(double)))
    cdef real[:, ::1] r = rows
    cdef unsigned char[:, ::1] c = codes
    cdef double[:, ::1] b = bounds
    cdef const real *y = &Y[0, 0] if Y.shape[0] else NULL
    num_threads = max(1, min(num_threads, (panels + 63) // 64))
    for p in prange(panels, nogil=True, schedule="dynamic", chunksize=16, num_threads=num_threads):
        if real is float:
            K32.pack_panel(k, y, &items[p * FA_PANEL], &r[p * FA_PANEL, 0], &c[p, 0], <fa_panel *>&b[p, 0])
        else:
            K64.pack_panel(k, y, &items[p * FA_PANEL], &r[p * FA_PANEL, 0], &c[p, 0], <fa_panel *>&b[p, 0])
    return rows, codes, bounds


def top_n(const real[:, ::1] rows not None, const unsigned char[:, ::1] codes not None,
          const double[:, ::1] bounds not None, const int32_t[::1] items not None,
          const int32_t[::1] columns not None, const uint64_t[::1] open_columns not None, tuple boost,
          const real[:, ::1] X not None, Py_ssize_t n, tuple seen, tuple excluded, Py_ssize_t group, int num_threads):
    """The n best items (m, n) of each query X (m, k), and their scores; see ``fa_kernels.top_n``.

    ``seen`` and ``excluded`` are None or (first, last, items), one list of items for each query. ``group`` queries are
    searched together, at most FA_QUERIES. There is at least one panel. ``boost`` is None or (rows, weights, largest,
    reach, most), see ``fa_boost``.
    """
    dtype = np.float32 if real is float else np.float64
    cdef Py_ssize_t m = X.shape[0], k = X.shape[1], panels = codes.shape[0], t, count, tid
    within("factors", k, 1, MOST_FACTORS)
    within("panels", panels, 1, MOST)
    fits("rows", rows.shape, panels * FA_PANEL, padded(dtype, k))
    fits("codes", codes.shape, panels, code_bytes(k))
    fits("bounds", bounds.shape, panels, sizeof(fa_panel) // sizeof(double))
    fits("items", items.shape, panels * FA_PANEL)
    fits("open_columns", open_columns.shape, panels)
    within("n", n, 1, MOST)
    within("group", group, 1, FA_QUERIES)
    within("num_threads", num_threads, 1, MOST)
    cdef fa_lists not_seen = item_lists("seen", seen, m), not_excluded = item_lists("excluded", excluded, m)
    cdef Py_ssize_t groups = (m + group - 1) // group
    found, scores = np.empty((m, n), np.int32), np.empty((m, n), dtype)
    cdef int32_t[:, ::1] f = found
    cdef real[:, ::1] s = scores
    if m == 0:
        return found, scores
    # a thread without a group would only be waited for
    num_threads = min(num_threads, groups)
    cdef size_t stride = (K32.top_n_workspace(k, panels, group, n) if real is float
                          else K64.top_n_workspace(k, panels, group, n))
    cdef unsigned char[::1] work = aligned_empty(num_threads * stride, np.uint8)
    cdef fa_boost weights = column_weights(boost, panels)
    cdef const fa_boost *weighted = NULL if boost is None else &weights
    cdef int stray = 0
    cdef fa_items_f32 table32
    cdef fa_items_f64 table64
    if real is float:
        table32 = fa_items_f32(k, columns.shape[0], panels, &rows[0, 0], &codes[0, 0], <const fa_panel *>&bounds[0, 0],
                               &items[0], &columns[0], &open_columns[0], weighted)
    else:
        table64 = fa_items_f64(k, columns.shape[0], panels, &rows[0, 0], &codes[0, 0], <const fa_panel *>&bounds[0, 0],
                               &items[0], &columns[0], &open_columns[0], weighted)
    for t in prange(groups, nogil=True, schedule="dynamic", chunksize=1, num_threads=num_threads):
        tid = threadid()
        count = group if (t + 1) * group < m else m - t * group
        if real is float:
            stray |= K32.top_n(&table32, t * group, count, &X[0, 0], n, &not_seen, &not_excluded, &f[0, 0], &s[0, 0],
                               &work[tid * stride])
        else:
            stray |= K64.top_n(&table64, t * group, count, &X[0, 0], n, &not_seen, &not_excluded, &f[0, 0], &s[0, 0],
                               &work[tid * stride])
    if stray:
        raise IndexError(f"items of seen and excluded must be in 0..{columns.shape[0] - 1}, columns below {items.shape[0]}")
    return found, scores


cdef fa_boost column_weights(tuple boost, Py_ssize_t panels) except *:
    """Of so many panels, or None; the caller keeps the arrays alive."""
    cdef const int32_t[::1] rows
    cdef const double[:, ::1] weights
    cdef const double[::1] largest, reach
    if boost is None:
        return fa_boost(NULL, NULL, NULL, NULL, 0)
    rows, weights, largest, reach, most = boost
    fits("rows of weights", rows.shape, panels)
    fits("weights", weights.shape, largest.shape[0], FA_PANEL)
    within("rows of weights", largest.shape[0], 1, MOST)
    indices_within("rows of weights", rows, 0, largest.shape[0])
    fits("reach", reach.shape, panels)
    return fa_boost(&rows[0], &weights[0, 0], &largest[0], &reach[0], most)


DEF PAIR_BLOCK = 4096


def pair_scores(const real[:, ::1] X not None, const real[:, ::1] Y not None, const int32_t[::1] users not None,
                const int32_t[::1] items not None, int num_threads):
    """x'y of the rows users[j] of X and items[j] of Y, in the bits that ``top_n`` gives; NaN where an index is -1."""
    cdef Py_ssize_t n = users.shape[0], k = X.shape[1], t, count, blocks = (n + PAIR_BLOCK - 1) // PAIR_BLOCK
    fits("Y", Y.shape, Y.shape[0], k)
    fits("items", items.shape, n)
    within("num_threads", num_threads, 1, MOST)
    scores = np.empty(n, np.float32 if real is float else np.float64)
    cdef real[::1] s = scores
    cdef bint stray = False
    if X.shape[0] == 0 or Y.shape[0] == 0:  # the kernel looks at row 0 for -1
        indices_within("users", users, -1, X.shape[0])
        indices_within("items", items, -1, Y.shape[0])
        scores[:] = np.nan
        return scores
    cdef const real *x = &X[0, 0]
    cdef const real *y = &Y[0, 0]
    num_threads = min(num_threads, max(1, blocks))
    for t in prange(blocks, nogil=True, schedule="static", num_threads=num_threads):
        count = PAIR_BLOCK if (t + 1) * PAIR_BLOCK < n else n - t * PAIR_BLOCK
        if (any_outside(count, &users[t * PAIR_BLOCK], -1, X.shape[0])
                or any_outside(count, &items[t * PAIR_BLOCK], -1, Y.shape[0])):
            stray |= True
        elif real is float:
            K32.pair_scores(count, k, x, y, &users[t * PAIR_BLOCK], &items[t * PAIR_BLOCK], &s[t * PAIR_BLOCK])
        else:
            K64.pair_scores(count, k, x, y, &users[t * PAIR_BLOCK], &items[t * PAIR_BLOCK], &s[t * PAIR_BLOCK])
    if stray:
        indices_within("users", users, -1, X.shape[0])
        indices_within("items", items, -1, Y.shape[0])
    return scores
