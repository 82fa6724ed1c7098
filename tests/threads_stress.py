"""Eight threads ask models while a ninth fits them again and again: every answer must come from one fitted state.

    python tests/threads_stress.py --seconds 30        # exit code 0: nothing crashed, and no answer was mixed

A fit gives the same bits whenever it is made, so each answer is known beforehand: for each of the settings that take
turns, with other numbers of factors and other users and items, a model that nobody else touches is asked the same
questions. What comes out under way, an array or a documented error, must be to the bit what one of these said.
`.ci/sanitize-threads` runs this over builds with the address and the thread sanitizer.
"""

import argparse
import collections
import dataclasses
import faulthandler
import hashlib
import os
import pickle
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would be most of the time

import fastals
from fastals import ExplicitALS, ImplicitALS

ASKING = 8
MODELS = {"explicit": ExplicitALS, "implicit": ImplicitALS}
SETTINGS = [(8, 120, 90), (24, 120, 90), (40, 70, 60), (16, 90, 300)]
"""Factors, users and items of the fits that take turns."""


def cells(n_users: int, n_items: int) -> tuple[Any, Any, Any]:
    """Users, items and ratings of some twelve cells a user, with labels that all data share the first of."""
    rng = np.random.default_rng(n_users + n_items)
    users, items = np.repeat(np.arange(n_users), 12), rng.integers(0, n_items, 12 * n_users)
    users, items = np.divmod(np.unique(users * n_items + items), n_items)
    return np.char.add("u", users.astype(str)), items, rng.integers(1, 6, len(items)).astype(np.float32)


DATA = [fastals.Interactions.from_arrays(*cells(*size)) for _, *size in SETTINGS]
DIRECTORY = tempfile.TemporaryDirectory()
DATA[-1] = fastals.Interactions.from_arrays(*cells(*SETTINGS[-1][1:]), on_disk=Path(DIRECTORY.name) / "events")
"""The last ones are on disk."""
USERS, ITEMS = ["u0", "u1", "u5", "u69"], [0, 7, 31, 59]
HISTORY = (["new", "new", "newer"], [3, 8, 40], [5.0, 1.0, 4.0])
FACTORS = np.random.default_rng(0).normal(size=(3, SETTINGS[0][0] + 1)).astype(np.float32)
"""Of the first setting: an explicit model has the biases as one more; to the others they are an error."""


def saved(model: Any, path: Path) -> Any:
    model.save(path)
    return fastals.load(path, mmap=False).recommend(USERS, n=5)


QUESTIONS: dict[str, Callable[[Any, Path], Any]] = {
    "recommend": lambda model, _: model.recommend(USERS, n=7),
    "one user": lambda model, _: model.recommend("u1", n=200),
    "boost": lambda model, _: model.recommend(USERS, n=5, boost={3: 2.0, 7: 0.5}),
    "items": lambda model, _: model.recommend(USERS, n=5, items=np.arange(0, 60, 2), exclude=[4]),
    "own items": lambda model, _: model.recommend(USERS, n=3, items=[[1, 2], [3, 4, 5], [6], [7, 8]]),
    "histories": lambda model, _: model.recommend(histories=HISTORY, n=5),
    "user_factors": lambda model, _: model.recommend(user_factors=FACTORS[:, isinstance(model, ImplicitALS) :], n=5),
    "recommend_users": lambda model, _: model.recommend_users(ITEMS, n=5, exclude_seen=True),
    "recommend_all": lambda model, _: list(model.recommend_all(n=5, batch_size=16)),
    "similar_items": lambda model, _: model.similar_items(ITEMS, n=5),
    "similar_users": lambda model, _: model.similar_users(USERS, n=5),
    "predict": lambda model, _: model.predict(USERS, ITEMS),
    "predict unknown": lambda model, _: model.predict(["u0", "u119"], [299, 0], unknown="nan"),
    "explain": lambda model, _: model.explain("u1", 31, n=3),
    "fold_in": lambda model, _: model.fold_in(HISTORY),
    "fold_in_items": lambda model, _: model.fold_in_items((["u1", "u2"], ["new", "new"], [4.0, 2.0])),
    "factors": lambda model, _: model.item_factors_,
    "save": saved,
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)).recommend(USERS, n=5),
}


def flat(value: Any) -> bytes:
    """Whatever was answered, to the bit."""
    if isinstance(value, np.ndarray):
        cells = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
        return repr((value.dtype.str, value.shape)).encode() + cells
    if dataclasses.is_dataclass(value):
        return flat(list(vars(value).values()))
    return b"".join(map(flat, value)) if isinstance(value, tuple | list) else repr(value).encode()


def outcome(question: str, model: Any, path: Path) -> str:
    """The answer's digest, or the documented error that was raised."""
    try:
        return hashlib.sha256(flat(QUESTIONS[question](model, path))).hexdigest()
    except fastals.FastalsError as error:
        return f"{type(error).__name__}: {error}"


def fit(kind: str, setting: int, model: Any = None) -> Any:
    """A model at one of the settings: a new one, or this one again."""
    model = model or MODELS[kind](iterations=3, num_threads=2, random_state=1)
    return model.set_params(factors=SETTINGS[setting][0]).fit(DATA[setting])


class Stress:
    """The models, what they may answer, and what has gone wrong."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.stopped = directory, threading.Event()
        self.failures: list[str] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.expected: dict[tuple[str, str], set[str]] = {}
        for kind in MODELS:
            alone = [fit(kind, setting) for setting in range(len(SETTINGS))]
            for question in QUESTIONS:
                outcomes = [outcome(question, model, directory / "alone") for model in alone]
                assert len(set(outcomes)) > 1, f"{question} does not tell states apart"
                self.expected[kind, question] = set(outcomes)
        self.models = {kind: fit(kind, 0) for kind in MODELS}

    def until_stopped(self, what: Callable[[random.Random], None], seed: int) -> None:
        rng = random.Random(seed)
        try:
            while not self.stopped.is_set():
                what(rng)
        except BaseException:
            self.failures.append(traceback.format_exc())
        self.stopped.set()

    def fit(self, rng: random.Random) -> None:
        for kind, model in self.models.items():
            fit(kind, rng.randrange(len(SETTINGS)), model)
        self.counts["fits"] += len(self.models)

    def ask(self, rng: random.Random) -> None:
        kind, question = rng.choice(list(MODELS)), rng.choice(list(QUESTIONS))
        answer = outcome(question, self.models[kind], self.directory / threading.current_thread().name)
        if answer not in self.expected[kind, question]:
            self.failures.append(f"{kind}, {question}: {answer[:200]} is the answer of no fitted state")
            self.stopped.set()
        self.counts[question] += 1

    def run(self, seconds: float, seed: int) -> None:
        tasks = [(self.fit, seed), *((self.ask, seed + 1 + i) for i in range(ASKING))]
        threads = [threading.Thread(target=self.until_stopped, args=task, daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        self.stopped.wait(seconds)
        self.stopped.set()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                self.failures.append(f"{thread.name} hangs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    sys.setswitchinterval(1e-4)  # more chances to be interrupted at a bad moment
    with tempfile.TemporaryDirectory() as directory:
        stress = Stress(Path(directory))
        start = time.monotonic()
        stress.run(options.seconds, options.seed)
        print(f"{time.monotonic() - start:.0f} s:", ", ".join(f"{n} {name}" for name, n in stress.counts.most_common()))
        print(*stress.failures[:3], sep="\n")
    return bool(stress.failures)


if __name__ == "__main__":
    sys.exit(main())
