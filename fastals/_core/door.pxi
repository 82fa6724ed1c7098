# The door, the same for both extensions. What an array holds has been checked at the gate and is trusted; that arrays
# fit each other is checked here, for each call: in O(1), or in one look at the bounds of rows and at indices of queries.

cdef extern from "core/fastals.h" nogil:
    enum: FA_ALIGN

    ctypedef struct fa_lists:
        const int64_t *first
        const int64_t *last
        const int32_t *items


cdef int fits(str what, const Py_ssize_t *shape, Py_ssize_t rows, Py_ssize_t columns=-1) except -1:
    """ValueError unless an array has the shape that the others ask for."""
    if shape[0] != rows or (columns >= 0 and shape[1] != columns):
        wanted, found = (rows, columns), (shape[0], shape[1])
        axes = 1 if columns < 0 else 2
        raise ValueError(f"{what} must have the shape {wanted[:axes]} beside the other arguments, got {found[:axes]}")
    return 0


cdef int within(str what, int64_t value, int64_t low, int64_t high) except -1:
    """IndexError unless low <= value <= high."""
    if not low <= value <= high:
        raise IndexError(f"{what} must be in {low}..{high} beside the other arguments, got {value}")
    return 0


cdef int spans(str what, Py_ssize_t n, const int64_t *first, const int64_t *last, int64_t size) except -1:
    """IndexError unless each first[i]..last[i] - 1 lies within ``size`` cells; of indptr, last is first + 1."""
    cdef int64_t signs = 0  # negative where any of these is
    cdef Py_ssize_t i
    for i in range(n):
        signs |= first[i] | last[i] | (last[i] - first[i]) | (size - last[i])
    for i in range(n if signs < 0 else 0):
        if first[i] < 0 or first[i] > last[i] or last[i] > size:
            raise IndexError(f"{what} must bound cells of 0..{size}, got {first[i]}..{last[i]} at {i}")
    return 0


cdef int64_t MOST = 2**31 - 1  # of what has no bound beside other arguments


cdef fa_lists item_lists(str what, tuple lists, Py_ssize_t m) except *:
    """(first, last, items) of m queries, or None; the items are the kernel's to look at. The caller keeps them alive."""
    cdef const int64_t[::1] first, last
    cdef const int32_t[::1] items
    if lists is None:
        return fa_lists(NULL, NULL, NULL)
    first, last, items = lists
    fits(what, first.shape, m)
    fits(what, last.shape, m)
    if m == 0:
        return fa_lists(NULL, NULL, NULL)
    spans(what, m, &first[0], &last[0], items.shape[0])
    cdef const int32_t *start = &items[0] if items.shape[0] else NULL
    return fa_lists(&first[0], &last[0], start)
