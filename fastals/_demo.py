"""``fastals demo``: a raw listening log with planted tastes, from events to recommendations."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from ._als import ImplicitALS
from ._interactions import Interactions
from .evaluation import evaluate, leave_last_out, popularity_baseline

__all__ = ["run", "write_events"]

# A song is a first word and a second word of its genre.
_GENRES = {
    "ambient": (
        "Drifting Pale Slow Weightless Distant Hollow Glass Quiet Polar Fading",
        "Signal Tide Horizon Orbit Dust Aurora Chamber Mist Glacier Echo",
    ),
    "blues": (
        "Muddy Lonesome Broken Dusty Crossroad Worried Rusty Empty Barrelhouse Cold",
        "River Train Bottle Heart Guitar Highway Morning Mule Levee Preacher",
    ),
    "classical": (
        "First Second Third Grand Little Winter Spring Solemn Late Unfinished",
        "Sonata Fugue Nocturne Prelude Requiem Quartet Minuet Overture Cantata Waltz",
    ),
    "country": (
        "Whiskey Tennessee Pickup Front-Porch Wildflower Honky-Tonk Gravel Sunday Tailgate Cowboy",
        "Road Radio Rodeo Boots Moon Goodbye Fences Prayer Cornfield Sweetheart",
    ),
    "disco": (
        "Mirrorball Saturday Velvet Boogie Strobe Satin Glitter Roller Champagne Studio",
        "Fever Nights Lovers Hustle Inferno Groove Paradise Heat Ecstasy Machine",
    ),
    "folk": (
        "Barley Heather Miller's Sailor's Harvest Thistle Weaver's Hollow-Tree Shepherd's Winter's",
        "Daughter Lament Wedding Ballad Fair Hill Lantern Crossing Wren Garland",
    ),
    "hip-hop": (
        "Concrete Golden Boom-Bap Rooftop Midtown Vinyl Street Lyrical Cipher Backseat",
        "Kings Gospel Blocks Verses Hustler Avenue Cadence Mic Chronicles Dreams",
    ),
    "jazz": (
        "Blue Midnight Smoky Bebop Autumn Uptown Round Swinging Mellow Harlem",
        "Swing Standards Trane Walk Brushes Basement Stride Changes Monk Serenade",
    ),
    "metal": (
        "Iron Crimson Burning Black Frostbitten Savage Doom Razor Unholy Thunder",
        "Oath Forge Throne Legion Wolves Abyss Hammer Wrath Cathedral Serpent",
    ),
    "reggae": (
        "Island Rootsy Kingston Sunshine Lion Jah's Easy One-Drop Natty Trenchtown",
        "Riddim Skank Roots Dub Zion Harvest Vibration Rockers Love Exodus",
    ),
    "salsa": (
        "Caliente Havana Mambo Barrio Ritmo Bongo Noche Tropical Corazon Fuego",
        "Descarga Sabor Rumba Guajira Montuno Baile Clave Timbales Amor Carnaval",
    ),
    "techno": (
        "Acid Warehouse Modular Strobing Binary Detroit Analog Carbon Pulse Subterranean",
        "Circuit Sequence Loop Grid Reactor Protocol Voltage Phase Engine Dawn",
    ),
}
_NAMES = "Ada Amir Anna Boris Chloe Dana Emil Farah Greta Hugo Ines Jonas Kira Leo Maya Nils Nora Omar Pia Ravi"

_DAYS = 100
_FIRST_SECOND = 1_735_689_600  # 2025-01-01, UTC
_COLUMNS = ("time", "user", "song", "played_seconds", "song_seconds", "finished", "liked")


class Events(NamedTuple):
    """One element of each per play."""

    users: list[str]
    songs: list[str]
    scores: list[float]
    times: list[str]


def run(
    *, seed: int = 0, keep: str | None = None, quiet: bool = False, n_users: int = 4_000, n_events: int = 300_000
) -> None:
    """Print what each step does (but not if `quiet`) and what comes out; with `keep`, leave the files there."""
    with ExitStack() as stack:
        if keep is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastals-demo-"))
        else:
            os.makedirs(keep, exist_ok=True)
            directory = keep
        log, model_file = os.path.join(directory, "events.csv"), os.path.join(directory, "model")

        def tell(text: str) -> None:
            if not quiet:
                print(text, flush=True)

        genre_of = write_events(log, n_users=n_users, n_events=n_events, seed=seed)
        tell(f"Wrote {n_events:,} plays of {len(genre_of):,} songs by {n_users:,} users to {log}.")

        events = read_events(log)
        train, test = leave_last_out(events[:3], np.array(events.times, dtype="datetime64[s]"), n=5)
        tell(
            "Scored each play: 0.5 x share played + 1 x finished + 3 x liked - 1 x skipped, and added up.\n"
            f"Held out the songs that each user came to last, up to 5: {test.nnz:,}. {train.nnz:,} scores are left."
        )

        model = ImplicitALS(
            factors=32,
            alpha=2.0,
            regularization=0.1,
            regularization_scaling=1.0,
            unobserved_weight=0.1,
            random_state=seed,
        )
        start = time.perf_counter()
        model.fit(train, progress=False if quiet else None)
        tell(f"Trained {model} in {time.perf_counter() - start:.2f} s.\n")
        model.save(model_file)

        _print_quality(evaluate(model, train, test), popularity_baseline(model, train, test))
        _print_lists(model, train, test, genre_of, seed)
        if keep is not None:
            tell(f"\nThe files stay in {keep}. Try: fastals recommend {model_file} --user {events.users[0]}")


def read_events(path: str) -> Events:
    """Read the log and score each play."""
    users, songs, scores, times = events = Events([], [], [], [])
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            share = float(row["played_seconds"]) / float(row["song_seconds"])
            users.append(row["user"])
            songs.append(row["song"])
            scores.append(
                0.5 * share + 1.0 * (row["finished"] == "1") + 3.0 * (row["liked"] == "1") - 1.0 * (share < 0.25)
            )
            times.append(row["time"])
    return events


def _print_quality(model: dict[str, float], baseline: dict[str, float]) -> None:
    print(f"The held-out songs in 10 recommendations to each of {model['n_users']:,} users\n")
    print(f"{'':16}{'fastals':>10}{'most popular':>16}")
    for name in ("precision@10", "recall@10", "ndcg@10", "hit_rate@10"):
        print(f"  {name:14}{model[name]:10.3f}{baseline[name]:16.3f}")


def _print_lists(
    model: ImplicitALS, train: Interactions, test: Interactions, genre_of: dict[str, str], seed: int
) -> None:
    """Show what three users of different tastes love, beside what the model recommends to them."""
    assert train.users is not None
    assert train.items is not None
    n = 6
    genres: set[str] = set()
    for u in np.random.default_rng(seed).permutation(train.n_users):
        user, row = train.users[u], slice(*train.indptr[u : u + 2])
        if not 20 <= row.stop - row.start <= 60:  # enough to judge by, not so much that all is loved
            continue
        loved = train.items[train.indices[row][np.argsort(-train.values[row], kind="stable")[:n]]].tolist()
        if genre_of[loved[0]] in genres:
            continue
        genres.add(genre_of[loved[0]])
        held_out = train.items[test.indices[slice(*test.indptr[u : u + 2])]].tolist()
        print(f"\n  {user + ' loves':44}and should hear next")
        for before, after in zip(loved, model.recommend(user, n=n).items.tolist(), strict=True):
            mark = " *" if after in held_out else ""
            print(f"    {before:28}{genre_of[before]:14}{after:28}{genre_of[after]}{mark}")
        if len(genres) == 3:
            break
    print("\n  * was held out: the user did come to it later")


def write_events(path: str, *, n_users: int = 4_000, n_events: int = 300_000, seed: int = 0) -> dict[str, str]:
    """Write a log of plays as CSV, in the order of time; returns each song's genre, which the log does not tell.

    Planted: a user has a taste for a few genres, meets their songs more often and plays them longer; one play in six
    follows the charts instead.
    """
    rng = np.random.default_rng(seed)
    genre_of = {
        f"{first} {second}": genre
        for genre, (firsts, seconds) in _GENRES.items()
        for first in firsts.split()
        for second in seconds.split()
    }
    songs, n_genres, per_genre = list(genre_of), len(_GENRES), len(genre_of) // len(_GENRES)
    names = _NAMES.split()
    users = [f"{names[u % len(names)]}-{u:04d}" for u in range(n_users)]

    taste = rng.dirichlet(np.full(n_genres, 0.12), n_users)
    popularity = np.stack([rng.permutation(1 / np.arange(3.0, 3 + per_genre)) for _ in range(n_genres)])
    charts = rng.dirichlet(np.full(n_genres, 5.0))[:, None] * popularity / popularity.sum(axis=1, keepdims=True)
    activity = rng.lognormal(0, 0.9, n_users)

    user = rng.choice(n_users, n_events, p=activity / activity.sum())
    genre = (rng.random(n_events)[:, None] > taste.cumsum(axis=1)[user]).sum(axis=1).clip(max=n_genres - 1)
    within = (popularity / popularity.sum(axis=1, keepdims=True)).cumsum(axis=1) + np.arange(n_genres)[:, None]
    song = np.searchsorted(within.ravel(), genre + rng.random(n_events)).clip(max=len(songs) - 1)
    by_charts = rng.random(n_events) < 1 / 6
    song[by_charts] = rng.choice(len(songs), by_charts.sum(), p=charts.ravel())

    fondness = np.sqrt(taste[user, song // per_genre])
    length = rng.integers(120, 420, len(songs))[song]
    finished = rng.random(n_events) < 0.15 + 0.75 * fondness
    liked = rng.random(n_events) < 0.25 * fondness * finished
    share = np.where(finished, 1.0, rng.beta(1 + 2 * fondness, 3))
    seconds = np.sort(rng.integers(0, _DAYS * 86_400, n_events)) + _FIRST_SECOND
    stamps = np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()
    columns = (
        stamps,
        [users[u] for u in user],
        [songs[s] for s in song],
        (share * length).astype(int).tolist(),
        length.tolist(),
        finished.astype(int).tolist(),
        liked.astype(int).tolist(),
    )
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(zip(*columns, strict=True))
    return genre_of
