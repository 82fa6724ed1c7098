"""What a fit will need, before it is tried."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._core import DataError, kernels
from .._equation import CHUNK, RowEquation


class MemoryEstimate(NamedTuple):
    """Bytes, beside what the caller holds.

    Attributes
    ----------
    cells : int
        The interactions, by user and by item, and the pairs known beside them.
    factors : int
        The factors, those of the iteration before, and with validation those of the best one.
    work : int
        What comes and goes: the other side's factors in another basis, the order of the rows, workspaces.
    total : int
    """

    cells: int
    factors: int
    work: int
    total: int

    def check(self, rule: str) -> None:
        """Refuse what needs more than is free; ``rule`` names the argument, and what of it needs so much."""
        free = free_memory()
        if free is not None and self.total > free:
            raise DataError(
                f"{rule} need {self.total / 1e9:.1f} GB, {self.factors / 1e9:.1f} GB of them to stay, and "
                f"{free / 1e9:.1f} GB of memory are free: leave out rare ones, or use another model"
            )


CELL = 8
"""An index in either orientation."""
WEIGHTED_CELL, HELD_OUT_CELL, HELD_OUT_READ = 20, 24, 20
"""What one more array of weights takes, and a held-out cell; how much more that takes while it is read."""
RULE_CELL = 48
"""Of the cells that the rule reads at once."""
LISTED = 400
"""A user's list while it is measured."""
ROW = 96
"""Offsets, counts, lambda and the order of the rows."""


def estimate(
    equation: RowEquation,
    shape: tuple[int, int],
    n_cells: int,
    *,
    dtype: Any,
    num_threads: int,
    weighted: bool,
    centered: bool,
    held_out: int,
    ranked: bool,
    known: int = 0,
    prior: bool = False,
) -> MemoryEstimate:
    """Add up what the steps of a fit allocate.

    Parameters
    ----------
    equation : RowEquation
        As far as it is known before the data are.
    weighted : bool
        The cells have weights.
    centered : bool
        Scores are made of more than the factors: of a mean, or of biases.
    held_out : int
        Cells for validation; ``ranked``: lists are made for them.
    known : int
        Pairs known beside the cells.
    prior : bool
        The fit is drawn to another model.
    """
    n_users, n_items = shape
    biased, copies = equation.joint_biases, equation.value_copies
    k = equation.factors + biased
    size, wide = np.dtype(dtype).itemsize, max(n_users, n_items)
    padded = kernels.padded(dtype, k)
    cells = n_cells * (CELL + 2 * size + copies * size + (WEIGHTED_CELL if weighted else 0)) + 8 * (n_users + n_items)
    if known:
        cells += 4 * known + 8 * n_users
    factors = size * k * (n_users + n_items) * ((3 if held_out else 2) + prior)
    held = ROW * wide + held_out * HELD_OUT_CELL
    if equation.solver == "auto" and equation.sweep_solver == "cg":
        # over-relaxed: the side that is solved last is kept as it was before that
        held += size * k * (n_users if equation.last == "users" else n_items)
    sweep = size * padded * wide + num_threads * (10 * size * padded * padded)
    if biased:
        sweep += size * k * wide
    # at that time there is one pair of factors yet
    rule = min(n_cells, CHUNK) * RULE_CELL - size * k * (n_users + n_items)
    reading = held_out * HELD_OUT_READ
    measuring = 0
    if held_out:
        # biases leave the factors by a copy, and a mean comes to them by another; the best are copied before they
        # take the place of the former
        measuring = size * (n_users + n_items) * max(k, k * biased + (k + 2) * centered)
    if ranked and held_out:
        measuring += n_items * (size * padded + padded + 16) + min(n_users, held_out) * LISTED
    work = held + max(sweep, rule, reading, measuring)
    return MemoryEstimate(cells, factors, work, cells + factors + work)


def free_memory() -> int | None:
    """Return what this process may take without anything being swapped out or killed; None: nobody says."""
    if sys.platform != "linux":
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    told = [_entry(Path("/proc/meminfo"), "MemAvailable:")]
    free = [1024 * kib for kib in told if kib is not None]
    for limit, used, statistics in _GROUPS:
        most, now = _number(limit), _number(used)
        if most is not None and now is not None:
            # files that were read count as used, but make room
            free.append(max(0, most - now + (_entry(statistics, "inactive_file") or 0)))
    return min(free) if free else None


_CGROUPS = Path("/sys/fs/cgroup")
_GROUPS = [
    (_CGROUPS / "memory.max", _CGROUPS / "memory.current", _CGROUPS / "memory.stat"),
    *[tuple(_CGROUPS / "memory" / f"memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat"))],
]
"""Limit, use and statistics of control groups, versions 2 and 1."""


def _number(path: Path) -> int | None:
    """What a file says; None: nothing, or "max"."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _entry(path: Path, name: str) -> int | None:
    """The number behind a name in a file of lines of both."""
    for line in _text(path).splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
