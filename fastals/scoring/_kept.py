"""Which events count: those of a period, of users and items who have enough of them, and of no robots."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .._files import clock, is_span, span_seconds
from ._spec import ScoreSpec, moment

SECOND = 10**9


class Period:
    """From when until when events count, and the time that their ages are counted to; in nanoseconds since 1970.

    What is given relative to the newest event is known when all have been seen.
    """

    def __init__(self, spec: ScoreSpec) -> None:
        self.spec = spec
        self.dated = spec.later == "error" or any((spec.half_life, spec.since, spec.until))
        """Whether times are compared with dates, or only put in order."""
        given = moment(spec, "now") if self.dated else None
        self.until = moment(spec, "until")
        self.limit = clock() if given is None else given
        """Events that lie behind are later."""
        self.newest: int | None = None if spec.now is None else self.limit
        self.n_later = 0

    def see(self, times: NDArray[np.int64]) -> None:
        """Look at the times of some events."""
        newest = int(times.max())
        if self.until is not None and newest >= self.until:
            times = times[times < self.until]
            newest = int(times.max(initial=np.iinfo(np.int64).min))
        if newest > self.limit:
            within = times <= self.limit
            self.n_later += len(times) - int(within.sum())
            times = times[within]
            newest = int(times.max(initial=np.iinfo(np.int64).min))
        if self.spec.now is None and len(times):
            self.newest = newest if self.newest is None else max(newest, self.newest)

    @property
    def now(self) -> int:
        """What ages are counted to."""
        return self.limit if self.newest is None else self.newest

    def later(self, times: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the places of times that are later than now."""
        later = times > self.limit
        if self.until is not None:
            later &= times < self.until
        return np.flatnonzero(later)

    def bound(self, name: str) -> int | None:
        """Return ``since`` or ``until``."""
        value = getattr(self.spec, name)
        if is_span(value):
            return self.now - round(span_seconds(name, value) * SECOND)
        return moment(self.spec, name)


class Kept:
    """The events that count; what they are is found in at most two rounds over all of them.

    Attributes
    ----------
    since, until : int or None
        Nanoseconds since 1970.
    n_early, n_late : int
        Events before ``since``, and from ``until`` on.
    n_robots, n_rare_items, n_rare_users : int
        Users with more than ``max_user_events``; items, then users, with too few events.
    """

    def __init__(self, period: Period, parts: Callable[[], Iterator[NDArray[np.void]]], shape: tuple[int, int]) -> None:
        spec = period.spec
        self.since, self.until = period.bound("since"), period.bound("until")
        self.n_early = self.n_late = self.n_robots = self.n_rare_items = self.n_rare_users = 0
        self.users: NDArray[np.bool_] | None = None
        self.items: NDArray[np.bool_] | None = None
        self.robots: NDArray[np.bool_] | None = None
        bounds = spec.max_user_events, spec.min_item_events, spec.min_user_events
        if (self.since, self.until, *bounds) != (None,) * 5:
            self._count(parts, shape, *bounds)

    def _count(
        self,
        parts: Callable[[], Iterator[NDArray[np.void]]],
        shape: tuple[int, int],
        most: int | None,
        least_item: int | None,
        least_user: int | None,
    ) -> None:
        of_users, of_items = (np.zeros(size, np.int64) for size in shape)
        for part in parts():
            if self.since is not None:
                self.n_early += int((part["time"] < self.since).sum())
            if self.until is not None:
                self.n_late += int((part["time"] >= self.until).sum())
            events = part[self.within(part)]
            np.add.at(of_users, events["user"], 1)
            if least_item is not None:  # of a user all events are in one part
                items = events["item"] if most is None else events["item"][of_users[events["user"]] <= most]
                np.add.at(of_items, items, 1)
        if (most, least_item, least_user) == (None, None, None):
            return
        self.users = of_users > 0
        if most is not None:
            self.robots = of_users > most
            self.users &= ~self.robots
            self.n_robots = int(self.robots.sum())
        if least_item is not None:
            self.items = of_items >= least_item
            self.n_rare_items = int(((of_items > 0) & ~self.items).sum())
        if least_user is not None:
            if self.items is not None:
                of_users[:] = 0
                for part in parts():
                    np.add.at(of_users, part["user"][self.within(part) & self.among(part)], 1)
            enough = of_users >= least_user
            self.n_rare_users = int((self.users & ~enough).sum())
            self.users &= enough

    @property
    def drops(self) -> bool:
        """Whether there may be pairs that are known without a score."""
        return self.since is not None or self.users is not None

    def within(self, events: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which events lie between ``since`` and ``until``."""
        found = np.ones(len(events), bool)
        if self.since is not None:
            found &= events["time"] >= self.since
        if self.until is not None:
            found &= events["time"] < self.until
        return found

    def among(self, events: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which events are of users and items that stay."""
        found = np.ones(len(events), bool)
        if self.users is not None:
            found &= self.users[events["user"]]
        if self.items is not None:
            found &= self.items[events["item"]]
        return found

    def of(self, events: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return the events that count, and those that do not but have been: neither robots' nor late ones."""
        counting = self.within(events) & self.among(events)
        if counting.all():
            return events, events[:0]
        been = ~counting
        if self.until is not None:
            been &= events["time"] < self.until
        if self.robots is not None:
            been &= ~self.robots[events["user"]]
        return events[counting], events[been]
