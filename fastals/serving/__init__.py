"""Lists for readers: every user's best items in Redis or in a file, computed and sent in bounded memory.

:func:`publish` sends them, :class:`RedisRecommendations` reads them back, :func:`item_vectors` gives the items' factors
to an index for approximate search (faiss, hnswlib).

The layout in Redis, for readers in any language, for a prefix P and a version V:

===============  =======================================================================================================
``P:current``    V, the version that is served; setting it is the switch from the old lists to the new
``P:V:USER``     one user's list: n int32 items, then n float16 scores, little-endian: 6 n bytes
``P:popular:V``  the list for users without one, in the same form
``P:items:V``    hash: number of a block of 65,536 items -> JSON list of their labels; absent where the labels are
                 integers of 32 bits, which then stand in the lists themselves
``P:meta:V``     hash: format, scores ("<f2" or "<f4"), items (kind of labels), n, n_users, done
``P:versions``   set of the versions that may have keys
``P:lock``       the version that is being published; expires a minute after the last sign of life
===============  =======================================================================================================
"""

# for the rest of the package
from .._core import show_as as _show_as
from ._lists import Lists as Lists
from ._publish import BATCH_SIZE as BATCH_SIZE
from ._publish import (
    Published,
    item_vectors,
    publish,
    user_vectors,
)
from ._publish import check_target_of_lists as check_target_of_lists
from ._publish import labelled as labelled
from ._publish import rows as rows
from ._publish import text as text
from ._publish import write_csv as write_csv
from ._publish import write_jsonl as write_jsonl
from ._reader import (
    RedisRecommendations,
    ServedList,
)
from ._resp import SCORES as SCORES

__all__ = [
    "Published",
    "RedisRecommendations",
    "ServedList",
    "item_vectors",
    "publish",
    "user_vectors",
]

_show_as(__name__, __all__, globals())
