"""Raw events to one implicit score for each user and item.

An event is a row of a log: who, what, perhaps when, and any number of signals (seconds played, finished, liked, …).
Its score is the weighted sum of its signals,

    s = sum over signals of  weight * transform(clip(value / per)),

older events count less, by half for each ``half_life`` before ``now``,

    s' = s * 2 ** -((now - time) / half_life),

and the events of one user with one item are put together (``aggregate``), transformed once more (``total``) and left
out below ``minimum``: who serves knows of such a pair all the same, so that nobody is recommended what they had or
disliked (:attr:`fastals.Interactions.known`). Scores do not depend on how the rows come in batches, nor on the number
of threads: the events of a pair are added in their order, in float64.

Which events count: those between ``since`` and ``until``; where all signals have ``equals``, those of a type that one
of them names; then neither those of users with too many events, nor those of items and users with too few. What was
passed over is told by :meth:`Scores.summary`.

A specification is made in Python or read from TOML, YAML or JSON, and travels with the scores and inside the model.
Events with a type, the form that most shops' logs have::

    user = "visitor"
    item = "product"
    timestamp = "time"
    unit = "ms"
    half_life = "30 days"
    since = "365 days"
    max_user_events = 10000
    [signals.view]
    column = "event"
    equals = "view"
    weight = 1
    [signals.purchase]
    column = "event"
    equals = ["transaction", "order"]
    weight = 5

Events with a column for each signal::

    user = "user"
    item = "song"
    timestamp = "time"
    half_life = "30 days"
    minimum = 0.05
    [signals.share]
    column = "played_seconds"
    per = "song_seconds"
    clip = [0, 1]
    weight = 0.5
    [signals.liked]
    weight = 3
    [signals.skipped]
    column = "played_seconds"
    per = "song_seconds"
    transform = "below"
    at = 0.25
    weight = -1
"""

from .._core import show_as as _show_as
from .._files import SQL
from ._scores import (
    Scores,
    score,
    update,
)
from ._spec import (
    ScoreSpec,
    Signal,
)
from ._update import (
    Updated,
)

__all__ = [
    "SQL",
    "ScoreSpec",
    "Scores",
    "Signal",
    "Updated",
    "score",
    "update",
]

_show_as(__name__, __all__, globals())
