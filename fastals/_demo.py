"""``fastals demo``: a raw listening log with planted tastes, from events to recommendations."""

from __future__ import annotations

import csv
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import evaluation
from ._als import ImplicitALS
from ._interactions import Interactions

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
_NAMES = "ada amir anna boris chloe dana emil farah greta hugo ines jonas kira leo maya nils nora omar pia ravi".split()

_DAYS, _HELD_OUT_DAYS = 100, 20
_FIRST_SECOND = 1_735_689_600  # 2025-01-01, UTC
_WEIGHTS = {"share of the song played": 0.5, "finished": 1.0, "liked": 3.0}
_COLUMNS = ("time", "user", "song", "played_seconds", "song_seconds", "finished", "liked")


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
    users = [f"{_NAMES[u % len(_NAMES)]}-{u:04d}" for u in range(n_users)]

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
