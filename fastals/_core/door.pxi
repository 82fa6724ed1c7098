# What both extensions take from Python in the same way.

cdef extern from "core/fastals.h" nogil:
    enum: FA_ALIGN

    ctypedef struct fa_lists:
        const int64_t *first
        const int64_t *last
        const int32_t *items


cdef fa_lists item_lists(tuple lists) except *:
    """The caller keeps the arrays alive."""
    cdef const int64_t[::1] first, last
    cdef const int32_t[::1] items
    if lists is None:
        return fa_lists(NULL, NULL, NULL)
    first, last, items = lists
    cdef const int32_t *start = &items[0] if items.shape[0] else NULL
    return fa_lists(&first[0], &last[0], start)
