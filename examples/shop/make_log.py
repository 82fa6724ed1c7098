"""Write the log of a small shop: events with types, a catalogue, titles, a blocklist.

    python make_log.py DIR

DIR then holds log/dt=2025-03-01/events.csv and so on, three weeks of them, and what new/ has of three days more, which
come one after the other as a shop's days do (see days.sh). An event says when (milliseconds), who, what, and which type
it is of: view, cart, purchase, return. Visitors have a taste for two departments; a robot looks at everything.
"""

import csv
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

FIRST, DAYS, NEW_DAYS = date(2025, 3, 1), 21, 3
TYPES = ("view", "cart", "purchase", "return")
NEXT = (1.0, 0.3, 0.5, 0.08)
"""How likely an event of each type is after one of the type before it."""

DEPARTMENTS = {
    "garden": "Spade Rake Hose Planter Trowel Shears Gloves Barrow Trellis Sprinkler",
    "kitchen": "Skillet Whisk Ladle Grater Kettle Teapot Sieve Apron Mortar Casserole",
    "music": "Capo Metronome Strings Drumsticks Tuner Stand Plectrum Mute Reed Rosin",
    "climbing": "Harness Carabiner Chalk Rope Helmet Quickdraw Sling Belay Crashpad Brush",
    "bicycle": "Saddle Pump Bell Fender Pedal Chain Lamp Basket Lock Bottle",
    "painting": "Easel Gouache Palette Canvas Charcoal Pastel Varnish Fixative Primer Sketchbook",
}
MAKES = ("Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord")


class Article(NamedTuple):
    """What is sold."""

    sku: str
    title: str
    department: str


def articles() -> list[Article]:
    """All that the shop has ever sold."""
    made = [(make, thing, name) for name, things in DEPARTMENTS.items() for thing in things.split() for make in MAKES]
    return [Article(f"{7 * i:05d}", f"{make} {thing}", name) for i, (make, thing, name) in enumerate(made, 1)]


def events(rng: np.random.Generator, day: date, n_visitors: int, goods: list[Article]) -> list[tuple[object, ...]]:
    """Time, visitor, article and type of a day's events, in the order of time."""
    departments = list(DEPARTMENTS)
    by_department = {name: [one.sku for one in goods if one.department == name] for name in departments}
    midnight = (day - date(1970, 1, 1)).days * 86_400_000
    log: list[tuple[object, ...]] = []
    for visitor in rng.choice(n_visitors, n_visitors // 3, replace=False).tolist():
        tastes = np.random.default_rng(visitor).choice(departments, 2, replace=False)
        at = midnight + int(rng.integers(7 * 3_600_000, 22 * 3_600_000))
        for _ in range(rng.integers(1, 9)):
            shelf = by_department[tastes[int(rng.random() < 0.3)] if rng.random() < 0.85 else rng.choice(departments)]
            article = shelf[int(len(shelf) * rng.random() ** 2)]
            for type_, likely in zip(TYPES, NEXT, strict=True):
                if rng.random() >= likely:
                    break
                log.append((at, f"v-{visitor:04d}", article, type_))
                at += int(rng.integers(5_000, 400_000))
    robot = rng.choice([one.sku for one in goods], 200)
    log += [(midnight + 60_000 * i, "-crawler-1", str(number), "view") for i, number in enumerate(robot)]
    return sorted(log, key=lambda event: event[:2])


def write(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main(directory: Path, n_visitors: int = 600) -> None:
    """Write all of it."""
    goods, rng = articles(), np.random.default_rng(0)
    write(directory / "titles.csv", ("sku", "title"), [(one.sku, one.title) for one in goods])
    write(directory / "catalogue.csv", ("sku",), [(one.sku,) for i, one in enumerate(goods) if i % 15])  # not sold out
    recalled = [f"{one.sku}\n" for one in goods if "Varnish" in one.title]
    (directory / "blocklist.txt").write_text("".join(recalled), "utf-8")
    for i in range(DAYS + NEW_DAYS):
        day = FIRST + timedelta(i)
        place = directory / ("log" if i < DAYS else "new") / f"dt={day}" / "events.csv"
        write(place, ("ms", "visitor", "sku", "event"), events(rng, day, n_visitors, goods))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
