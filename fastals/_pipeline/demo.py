"""``fastals demo``: the pipeline on a raw listening log with planted tastes."""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from .._data import Interactions
from .._files import has_pyarrow
from .._models import ALS
from .settings import Pipeline
from .steps import run as run_pipeline

HELP = "run the pipeline on a generated listening log, and show recommendations"

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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--seed", type=int, default=0, help="of the log and of the model (default: %(default)s)")
    parser.add_argument("--keep", metavar="DIR", help="write the files there and keep them")


def command(arguments: argparse.Namespace) -> None:
    """Run the pipeline on a generated log."""
    run(seed=arguments.seed, keep=arguments.keep, quiet=arguments.quiet)


def settings(log: str, *, seed: int, to: str, out: str) -> dict[str, Any]:
    """The demo's pipeline: what its pipeline.toml says."""
    return {
        "events": {"path": log},
        "score": {
            "user": "user",
            "item": "song",
            "timestamp": "time",
            "half_life": "60 days",
            "signals": {
                "share": {"column": "played_seconds", "per": "song_seconds", "clip": [0, 1], "weight": 0.5},
                "finished": {"weight": 1.0},
                "liked": {"weight": 3.0},
                "skipped": {
                    "column": "played_seconds",
                    "per": "song_seconds",
                    "transform": "below",
                    "at": 0.25,
                    "weight": -1.0,
                },
            },
        },
        "train": {
            "factors": 32,
            "regularization": "auto",
            "random_state": seed,
            "out": out,
        },
        "evaluate": {"test_fraction": 0.1, "random_state": seed},
        "publish": {"to": to, "n": 10},
    }


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

        def tell(text: str) -> None:
            if not quiet:
                print(text, flush=True)

        genre_of = write_events(os.path.join(directory, "events.csv"), n_users=n_users, n_events=n_events, seed=seed)
        tell(f"Wrote {n_events:,} plays of {len(genre_of):,} songs by {n_users:,} users to {directory}/events.csv.")
        arrow = has_pyarrow()
        if not arrow:
            tell("pyarrow is not installed (pip install 'fastals[cli]'): lists are written as JSON lines, not Parquet.")
        lists = f"recommendations.{'parquet' if arrow else 'jsonl'}"
        chosen = settings("events.csv", seed=seed, to=lists, out="model")
        with open(os.path.join(directory, "pipeline.toml"), "w", encoding="utf-8") as file:
            file.write(_toml(chosen))
        tell("Running what `fastals run pipeline.toml` would run:\n")
        result = run_pipeline(Pipeline.from_dict(chosen, directory), quiet=quiet, keep_measured=True)
        assert result.metrics is not None
        assert result.baseline is not None
        assert result.measured is not None
        tell("")
        _print_quality(result.metrics, result.baseline)
        _print_lists(*result.measured, genre_of, seed)
        if keep is not None:
            assert result.model.users_ is not None
            model, user = os.path.join(keep, "model"), result.model.users_[0]
            tell(f"\nThe files stay in {keep}. Try: fastals recommend {model} --user {user}")


def _toml(settings: Mapping[str, Any], path: str = "") -> str:
    """Return tables of numbers, text, lists and tables as TOML."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    tables = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    head = f"[{path}]\n" if path and plain else ""
    text = head + "".join(f"{name} = {json.dumps(value)}\n" for name, value in plain.items())
    return text + "".join(_toml(table, f"{path}.{name}" if path else name) for name, table in tables.items())


def _print_quality(model: dict[str, float], baseline: dict[str, float]) -> None:
    print(f"The held-out songs in 10 recommendations to each of {model['n_users']:,} users\n")
    print(f"{'':16}{'fastals':>10}{'most popular':>16}")
    for name in ("precision@10", "recall@10", "ndcg@10", "hit_rate@10"):
        print(f"  {name:14}{model[name]:10.3f}{baseline[name]:16.3f}")


def _print_lists(model: ALS, train: Interactions, test: Interactions, genre_of: dict[str, str], seed: int) -> None:
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
    print("\n  * was held out: the user has it, and this model was not told")


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
