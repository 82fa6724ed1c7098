"""How many threads: what the caller says, else OMP_NUM_THREADS, else what this process may use."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .checks import check_int

MAX_THREADS = 1024
"""Beyond any machine; without a bound a slip of the pen would ask for that many workspaces."""

_CGROUPS = Path("/sys/fs/cgroup")


def resolve_num_threads(num_threads: int | None = None) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    num_threads : int or None
        None: ``OMP_NUM_THREADS`` where that is set, else the processors that this process may run on, but no more
        than its container's quota of processor time.

    Raises
    ------
    ParameterError, ArgumentTypeError
        Unless None or an integer in 1..1024.
    """
    if num_threads is not None:
        return check_int("num_threads", num_threads, low=1, high=MAX_THREADS)
    # "4,2" is OpenMP's way to give nested levels; what is no number, OpenMP ignores as well
    environment = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if environment.isdecimal() and int(environment) >= 1:
        return min(int(environment), MAX_THREADS)
    return processors()


def processors() -> int:
    """Return what this process may use: processors that it may run on, within its container's quota of their time."""
    return max(1, min(_processors(), _quota(), MAX_THREADS))


class _Blas:
    """The libraries that are limited to one thread, for all the threads of this process that want it so.

    Most of them know but one number for the process: it stays 1 until the last thread is done, and is then what the
    first one found. Those that run on OpenMP have a number for each thread.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.before: dict[str, tuple[Any, int]] = {}

    def enter(self) -> list[tuple[Any, int]]:
        """Limit all; returns what this thread alone is to set back."""
        from threadpoolctl import ThreadpoolController

        with self.lock:
            libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            own = []
            for library in libraries:
                if getattr(library, "threading_layer", None) == "openmp":
                    own.append((library, library.num_threads))
                else:
                    self.before.setdefault(library.filepath, (library, library.num_threads))
            self._set((library, 1) for library in libraries)
            self.inside += 1
        return own

    def leave(self, own: list[tuple[Any, int]]) -> None:
        """Set back."""
        with self.lock:
            self.inside -= 1
            self._set(own)
            if not self.inside:
                self._set(self.before.values())
                self.before.clear()

    @staticmethod
    def _set(numbers: Iterable[tuple[Any, int]]) -> None:
        for library, number in numbers:
            library.set_num_threads(number)
            # threadpoolctl 3.8 lets the thread that was first set it, and nobody else, until that lets go
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread()


_blas = _Blas()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS and LAPACK to one thread for a while: their sums then have one order, and no two levels of threads."""
    own = _blas.enter()
    try:
        yield
    finally:
        _blas.leave(own)


def _processors() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: Path = _CGROUPS) -> int:
    """Processors that the control group's quota pays for, rounded up; MAX_THREADS where there is no quota."""
    version_2 = _read(root / "cpu.max").split()
    version_1 = [_read(root / "cpu" / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    for words in (version_2, version_1):
        if len(words) == 2 and all(word.isdecimal() and int(word) for word in words):
            return -(-int(words[0]) // int(words[1]))
    return MAX_THREADS


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
