"""Diversity: lists whose items are not all alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, ParameterError, check_int, check_real
from .fitted import FactorFitted, unit_rows
from .recommender import Recommender
from .requests import Recommendations

CHUNK = 1 << 24
"""Numbers of the candidates' vectors that are held at a time."""


def mmr(model: Recommender, recommended: Recommendations, n: int = 10, *, trade_off: float = 0.5) -> Recommendations:
    """Choose from lists by maximal marginal relevance: good items that are unlike those chosen before them [1]_.

    Chosen next is, of the items that are left, the one of the largest

        ``trade_off score(i) / best - (1 - trade_off) max_j cos(i, j)``       j over the items chosen already,

    where best is the largest absolute score of the list, and cos that of the items' factors, 0 for an item without.

    Parameters
    ----------
    model : ExplicitALS or ImplicitALS
        Whose items these are.
    recommended : Recommendations
        What ``model.recommend`` gave, one list or several: longer ones than wanted, such as ``10 * n``.
    n : int, default 10
    trade_off : float in [0, 1], default 0.5
        1: the list as it is; 0: after the first, only unlikeness counts.

    Returns
    -------
    Recommendations
        Of shape (n,) or (m, n), in the order of choice, with the scores as they were; padded as ``recommended`` is.

    Raises
    ------
    DataError, UnknownLabelError, ParameterError, ArgumentTypeError, NotFittedError

    References
    ----------
    .. [1] J. Carbonell, J. Goldstein. The use of MMR, diversity-based reranking for reordering documents and producing
       summaries. SIGIR 1998.

    Examples
    --------
    >>> import fastals
    >>> from scipy.sparse import csr_array
    >>> plays = csr_array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [1, 0, 0, 1, 0]])
    >>> model = fastals.ImplicitALS(factors=2, regularization=0.01, random_state=0).fit(plays)
    >>> lists = model.recommend(3, n=5, exclude_seen=False)
    >>> lists.items
    array([3, 0, 4, 1, 2], dtype=int32)
    >>> fastals.mmr(model, lists, n=3, trade_off=0.3).items
    array([3, 2, 0], dtype=int32)
    """
    state = model.state_
    n, trade_off = check_int("n", n, low=1), check_real("trade_off", trade_off, low=0, high=1)
    if not isinstance(state, FactorFitted):
        raise ParameterError(f"{type(model).__name__} has no factors, by which mmr compares items")
    if not isinstance(recommended, tuple) or len(recommended) != 2:
        got = type(recommended).__name__
        raise ArgumentTypeError(f"recommended must be what recommend gave, lists of items and their scores, got {got}")
    ids, scores = (np.atleast_2d(np.asarray(part)) for part in recommended)
    if ids.ndim != 2 or ids.shape != scores.shape:
        raise DataError(f"items and scores must have the same shape (n,) or (m, n), got {ids.shape} and {scores.shape}")
    present = ids != (None if ids.dtype == object else -1)
    items = np.zeros(ids.shape, np.int32)
    items[present] = state.items.encode_known("recommended items", ids[present])
    best = np.abs(np.where(present, scores, 0)).max(axis=1, keepdims=True, initial=0)
    relevance = np.where(present, np.where(present, scores, 0) / np.where(best > 0, best, 1), -np.inf)
    units = state.derive("unit rows of items", lambda: unit_rows(state.item_factors))
    chosen = np.zeros((len(ids), n), np.intp)
    step = max(1, CHUNK // max(1, ids.shape[1] * units.shape[1]))
    for first in range(0, len(ids), step):
        part = slice(first, first + step)
        chosen[part] = _choose(units[items[part]], relevance[part], trade_off, n)
    short = chosen < 0
    new_ids, new_scores = (np.take_along_axis(part, np.maximum(chosen, 0), axis=1) for part in (ids, scores))
    new_ids[short], new_scores[short] = None if ids.dtype == object else -1, -np.inf
    one = np.ndim(recommended[0]) == 1
    return Recommendations(new_ids[0], new_scores[0]) if one else Recommendations(new_ids, new_scores)


def _choose(vectors: NDArray[Any], relevance: NDArray[Any], trade_off: float, n: int) -> NDArray[np.intp]:
    """Places of the n chosen of each list, -1 behind its end; vectors (m, c, k), relevance (m, c), -inf for no item."""
    m, c, _ = vectors.shape
    chosen, lists = np.full((m, n), -1, np.intp), np.arange(m)
    left, likeness = np.isfinite(relevance), np.full((m, c), -np.inf)
    good = trade_off * np.where(left, relevance, 0)
    for place in range(min(n, c)):
        gain = good - (1 - trade_off) * likeness if place else relevance
        pick = np.where(left, gain, -np.inf).argmax(axis=1)
        chosen[:, place] = np.where(left[lists, pick], pick, -1)
        left[lists, pick] = False
        np.maximum(likeness, np.einsum("mck,mk->mc", vectors, vectors[lists, pick]), out=likeness)
    return chosen
