"""What models are asked for, computed once for readers: lists and vectors in Redis or in files, in bounded memory.

:func:`publish` sends every user's best items, every item's most similar ones, or the items' factors;
:class:`RedisRecommendations` reads lists back, :func:`forget` removes a user's. :func:`item_vectors` gives the items'
factors to an index for approximate search (faiss, hnswlib).

The layout in Redis, for readers in any language, for a prefix P and a version V:

===============  =======================================================================================================
``P:current``    V, the version that is served; setting it is the switch from the old lists to the new
``P:V:USER``     one user's list: n int32 items, then n float16 scores, little-endian: 6 n bytes
``P:popular:V``  the list for users without one, in the same form
``P:items:V``    hash: number of a block of 65,536 items -> JSON list of their labels; absent where the labels are
                 integers of 32 bits, which then stand in the lists themselves (not where there are titles)
``P:titles:V``   hash: the same of their titles, null where an item has none; absent where none were given
``P:meta:V``     hash: format, scores ("<f2" or "<f4"), items (kind of labels), n, n_items, n_users; done: of how many
                 users or items the lists are there, below 0 before any is
``P:versions``   set of the versions that may have keys; ``P:going``: of those that are being removed
``P:lock``       the version that is being published, and by which process; expires a minute after the last sign of
                 life. ``P:publisher``: the process that took it last
===============  =======================================================================================================

In a cluster, versions, going, lock and publisher begin with ``{P:current}:``, so that scripts see them together.

Each item's most similar ones stand in the same way under the prefix ``P:similar``, each under ``P:similar:V:ITEM``,
without popular items. The items' vectors stand under the prefix ``P:vectors``:

=====================  =================================================================================================
``P:vectors:current``  V, the version that is served
``P:vectors:V``        a vector set of the items, where the server has those (Redis 8) and the metric is "cosine": ask
                       ``VSIM P:vectors:V FP32 query``; also the name of the index of Redis search, where the server has
                       that and there is no vector set: ``FT.SEARCH P:vectors:V``
``P:vectors:V:ITEM``   without a vector set: hash with the field vector, float32, little-endian
``P:vectors:meta:V``   hash: format, form ("vectorset" or "hash"), metric, dim, n_items, done
=====================  =================================================================================================
"""

# for the rest of the package
from .._core import show_as as _show_as
from ._address import told_target as told_target
from ._files import TEXT as TEXT
from ._files import labelled as labelled
from ._files import open_text as open_text
from ._files import rows as rows
from ._files import text as text
from ._forget import forget
from ._items import parse_label as parse_label
from ._items import titles_of as titles_of
from ._lists import Lists as Lists
from ._publish import BATCH_SIZE as BATCH_SIZE
from ._publish import (
    Published,
    publish,
)
from ._publish import check_publication as check_publication
from ._reader import (
    RedisRecommendations,
    ServedList,
)
from ._resp import SCORES as SCORES
from ._vectors import item_vectors, user_vectors

__all__ = [
    "Published",
    "RedisRecommendations",
    "ServedList",
    "forget",
    "item_vectors",
    "publish",
    "user_vectors",
]

_show_as(__name__, __all__, globals())
