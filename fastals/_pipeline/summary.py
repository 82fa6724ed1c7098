"""``--summary FILE``: what a command did, as one JSON object, for programs; also where it has failed.

=================  =====================================================================================================
``schema``         1
``command``        "run", "score", "train", …
``status``         "done", "failed", "not passed" (a gate), "interrupted"
``exit_code``      0 done, 1 failed, 3 not passed, 130 interrupted
``error``          null, or {"type": "DataError", "message": …}
``started``        time in UTC, as 2025-05-01T06:00:00Z
``seconds``        of all
``versions``       {"fastals": …, "python": …, "numpy": …}
=================  =====================================================================================================

What a command adds as far as it has come:

=================  =====================================================================================================
``pipeline``       run: the file
``parameters``     run: names and values, but those that the environment gave
``steps``          run: seconds of each step
``events``         run, score, update: what fastals.scoring.Scores.summary says, "scores": their number, "notes":
                   what is told; run: "known_pairs": of pairs that are not trained on, but are known
``metrics``        run: of a model trained on a part, by name; a figure that is none is null
``baseline``       run: the same of the most popular items
``model``          run, train, update: {"out", "kind", "parameters", "settings", "users", "items", "cells",
                   "iterations", "loss"}; update: "updates", "unseen_by_fit"
``published``      run: a list of {"to", "n_users", "version", "seconds", …}
``report``         run: the file
``out``            score, forget: the file
``forgotten``      forget: {"users", "items", "cells", "unknown"}; ``removed``: lists that have left Redis, by address
``comparison``     compare: what --json prints
=================  =====================================================================================================
"""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .._core import __version__, told_address
from .._files import check_target, replacing

SCHEMA = 1
STATUS = {0: "done", 3: "not passed", 130: "interrupted"}


class Summary:
    """What a command did; ``facts`` is what it adds itself.

    Parameters
    ----------
    command : str
    path : str or None
        Where it is written to; "-": standard output; None: nowhere.
    """

    def __init__(self, command: str, path: str | None) -> None:
        self.command, self.path = command, path
        self.facts: dict[str, Any] = {}
        self.start, self.started = time.perf_counter(), datetime.now(timezone.utc)

    def check(self) -> None:
        """Refuse what it cannot be written to, before the work."""
        if self.path not in (None, "-"):
            check_target(str(self.path))

    def write(self, code: int, error: BaseException | None, message: str) -> None:
        """Write it, where it is wanted; ``message`` is the error's in one line."""
        if self.path is None:
            return
        kind = None if error is None else type(error).__name__
        whole = {
            "schema": SCHEMA,
            "command": self.command,
            "status": STATUS.get(code, "failed"),
            "exit_code": code,
            "error": None if error is None else {"type": kind, "message": message},
            "started": self.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": round(time.perf_counter() - self.start, 3),
            "versions": {"fastals": __version__, "python": platform.python_version(), "numpy": np.__version__},
        }
        text = json.dumps(plain(whole | self.facts), ensure_ascii=False, indent=2) + "\n"
        if self.path == "-":
            sys.stdout.write(text)
            return
        with (
            replacing(self.path) as temporary,
            open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(text)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: no figure that is none, no type of NumPy's, text for all else."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return told_address(value)  # that of a file, which may hold a key
    return value if value is None or isinstance(value, (bool, int)) else str(value)
