"""The models: items like those one had, what similar users had."""

from __future__ import annotations

from typing import Any

from .._fitted import stored
from .._topn import ItemLists
from .base import Neighbours


@stored
class ItemKNN(Neighbours):
    """Item-based collaborative filtering: items like those that the user had.

    Two items are as similar as the cosine of their columns, ``s_ij = r_i.r_j / (|r_i| |r_j| + shrinkage)`` [3]_. Each
    item keeps its K most similar others with s > 0, N(i). The score of an item is

    * implicit [1]_: ``sum_{j in the user's history, i in N(j)} r_uj s_ij``, of which r_uj too is a logarithm with the
      default weighting
    * explicit [2]_: ``m_i + sum_{j in N(i) and rated} s_ij (r_uj - m_j) / sum_j s_ij``, m the items' mean ratings,
      which are subtracted before the cosine too; m_i where the user has rated no neighbour.

    Lists hold the items that have a score, of which a history with few neighbours gives few.

    Parameters
    ----------
    neighbors : int, default 50
        K.
    feedback : {"implicit", "explicit"}, default "implicit"
        What values are: counts, of which more is more, or ratings.
    similarity : {"cosine", "dot"}, default "cosine"
        "dot" leaves the norms out.
    shrinkage : float, default 0
        Takes similarity from items that few users have had.
    weighting : {"auto", "logidf", "tfidf", "bm25"} or None, default "auto"
        What stands for a count r in the similarity, users being the terms of an item. "logidf": ``log(1 + r) ln(1 +
        n_items / the user's items)``, a value below 0 keeping its sign; scores then take ``log(1 + r)`` for r. "tfidf":
        ``sqrt(r) idf``. "bm25": ``r (k1 + 1) / (k1 (1 - b + b l / mean of l) + r) idf`` with l the item's sum, k1 =
        1.2, b = 0.75; with similarity="dot" it is what `implicit` calls BM25Recommender. Both have ``idf = ln(n_items /
        (1 + the user's items))``. None: r itself, of which a few large counts outweigh all others. "auto" is "logidf"
        for counts, and None for ratings.
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_items, n_items), float32
        Row i holds N(i).
    settings_ : dict
        The ``weighting`` that "auto" stood for.
    users_, items_ : array or None
        Labels, where the data had labels.
    state_ : NeighbourState
        All that the last ``fit`` made, one immutable object: another one with each fit.

    References
    ----------
    .. [1] M. Deshpande, G. Karypis. Item-based top-N recommendation algorithms. ACM TOIS 22(1), 2004.
    .. [2] B. Sarwar, G. Karypis, J. Konstan, J. Riedl. Item-based collaborative filtering recommendation algorithms.
       WWW 2001.
    .. [3] M. Ferrari Dacrema, P. Cremonesi, D. Jannach. Are we really making much progress? RecSys 2019.

    Examples
    --------
    >>> import fastals
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.ItemKNN().fit((users, items))
    >>> model.recommend("ann", n=2).items
    array(['folk', None], dtype=object)
    >>> model.similar_items("folk", n=1).items
    array(['jazz'], dtype=object)
    """

    _axis = "items"

    def _queries_of_histories(self, state: Any, histories: Any, threads: int) -> tuple[Any, ItemLists]:
        return self._histories(state, histories)


@stored
class UserKNN(Neighbours):
    """User-based collaborative filtering: what users had who are like this one.

    Two users are as similar as the cosine of their rows, shrunk: ``s_uv = r_u.r_v / (|r_u| |r_v| + shrinkage)``. Each
    user keeps their K most similar others with s > 0, N(u). The score of an item is

    * implicit: ``sum_{v in N(u)} s_uv r_vi``
    * explicit [1]_: ``m_u + sum_{v in N(u) who rated i} s_uv (r_vi - m_v) / sum_v s_uv``, m the users' mean ratings,
      which are subtracted before the cosine too; m_u where no neighbour has rated the item.

    Parameters, attributes
        As :class:`ItemKNN`, with users and items exchanged.

    References
    ----------
    .. [1] P. Resnick, N. Iacovou, M. Suchak, P. Bergstrom, J. Riedl. GroupLens: an open architecture for collaborative
       filtering of netnews. CSCW 1994.

    Examples
    --------
    >>> import fastals
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.UserKNN().fit((users, items))
    >>> model.recommend("ann", n=2).items
    array(['folk', None], dtype=object)
    >>> model.similar_users("eve", n=1).users
    array(['ann'], dtype=object)
    """

    _axis = "users"
