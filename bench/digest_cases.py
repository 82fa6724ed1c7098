"""The cases of digests.py: data of every shape, fits by every setting, and all that a model answers."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

import bits  # before NumPy: it says how threads wait
import numpy as np
import sets
from safetensors import safe_open
from scipy import sparse

import fastals
from fastals import Interactions
from fastals.evaluation import evaluate, train_test_split

Bits = dict[str, str]
Case = tuple[str, Callable[[], Bits]]

DTYPES = ("float32", "float64")
FACTORS = (1, 3, 8, 16, 31, 32, 33, 64, 65, 128)
SOLVERS = (*bits.SOLVERS, "lapack")
SHARE = 12  # of the cases, one in so many for all instruction sets but the fastest
SHAPES = {
    "tiny": (6, 5, 0.5),
    "tall": (300, 20, 0.2),
    "high": (5000, 60, 0.1),  # sums over rows that are made in parts
    "wide": (20, 300, 0.2),
    "gaps": (90, 70, 0.1),  # users and items without cells
    "repeated": (60, 50, 0.15),  # cells that are stored several times
    "signed": (70, 60, 0.15),  # values below zero, stored zeros
    "ones": (70, 60, 0.15),
    "wild": (80, 60, 0.2),  # values of nine orders of magnitude: iterations that rounding leads up
    "long": (24, 9000, 0.4),  # rows of more cells than the rows of a block of conjugate gradients
    "parts": (30, 400, 0.2),  # a row that is summed in parts
    "vast": (30, 400, 0.2),  # a row that is too long for conjugate gradients
}
EVENTS = {"parts": 150_000, "vast": 1_100_000}  # of the first user, besides
REAL = {f"real:{name}": ("implicit", "explicit") if name in sets.RATINGS else ("implicit",) for name in sets.LISTS}
WAYS = (
    *("validated", "weighted", "recall@5", "stopped", "started"),
    *("resumed", "resumed weighted", "resumed validated"),
)
IMPLICIT_PRESETS = (
    "spark",
    "implicit",
    "cmfrec",
    "irspack",
    "irspack-original",
    "lenskit",
    "lenskit-ratings",
    "buffalo",
)
PRESETS = {"implicit": IMPLICIT_PRESETS, "explicit": ("spark", "cmfrec", "lenskit")}
COMMON: list[dict[str, Any]] = [
    {"regularization": 0.0},
    {"regularization": 0.05},
    {"regularization": (0.3, 2.0)},
    {"regularization": 1e4},
    {"regularization": 0.02, "regularization_scaling": "count"},
    {"regularization_scaling": "count"},
    {"regularization_scaling": "constant"},
    {"regularization_scaling": 0.7},
    {"tol": 0.05, "iterations": 8},
    {"tol": None, "iterations": 7},
    {"iterations": 0},
    {"iterations": 1},
    {"nonnegative": True},
    {"nonnegative": True, "regularization": 0.1},
    {"nonnegative": True, "solver": "cg"},
]
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "implicit": [
        *COMMON,
        {"alpha": 20.0},
        {"alpha": 0.0, "regularization": 0.5},
        {"confidence": "linear"},
        {"confidence": "log", "regularization": 0.5, "epsilon": 0.1},
        {"unobserved_weight": 1.0},
        {"unobserved_weight": 0.01},
        {"unobserved_weight": 0.0, "regularization": 0.5},
        {"preset": "irspack", "unobserved_weight": 0.1, "regularization": "auto"},
        {"preset": "implicit", "alpha": 0.1, "solver": "auto"},
    ],
    "explicit": [
        *COMMON,
        {"biases": False},
        {"biases": True, "regularization": 0.5},
        {"biases": True, "regularization": 0.0},
        {"bias_regularization": 0.0},
        {"bias_regularization": (1.0, 20.0)},
        {"biases": True, "nonnegative": True, "regularization": 0.5},
        {"preset": "cmfrec", "biases": False},
        {"preset": "lenskit", "biases": False},
        {"preset": "lenskit", "nonnegative": True},
    ],
}


def number(name: str) -> int:
    """One that a name always has, by which things are dealt out."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


def called(*words: Any, **settings: Any) -> str:
    """A case's name; what is empty has no place in it."""
    return " ".join([str(word) for word in words if word != ""] + [f"{key}={value}" for key, value in settings.items()])


def digest(*found: Any) -> str:
    """Eight digits for arrays and for what else repr() tells exactly."""
    arrays = []
    for part in found:
        if not isinstance(part, np.ndarray) or part.dtype == object:
            text = repr(part.tolist() if isinstance(part, np.ndarray) else part)
            part = np.frombuffer(text.encode(), np.uint8)
        arrays.append(part)
    return bits.digest(*arrays)[:8]


def some(size: int, n: int) -> np.ndarray:
    """Evenly spread indices, n at most."""
    return np.unique(np.linspace(0, size - 1, n).astype(int))


# ---------------------------------------------------------------------------------------------------------------------
# data


class Data(NamedTuple):
    """Cells as they came, one weight each, and the same as Interactions in which repeated cells stay."""

    cells: Any
    weights: np.ndarray
    kept: Interactions


@cache
def made(name: str, feedback: str) -> Data:
    if name in REAL:
        file = name.removeprefix("real:")
        known = sets.counts(file) if feedback == "implicit" else sets.matrix(sets.ratings(file))
        return Data(known.tocoo(), np.ones(known.nnz), Interactions.from_matrix(known))
    m, n, share = SHAPES[name]
    rng = np.random.default_rng(number(name))
    reach = np.outer(np.linspace(0.2, 1.8, m), rng.permutation(np.linspace(0.2, 1.8, n)))
    held = rng.random((m, n)) < share * reach
    if name == "gaps":
        held[[0, 41, m - 1]] = False
        held[:, [3, 40, n - 2, n - 1]] = False
    users, items = np.nonzero(held)
    if name == "repeated":
        order = rng.permutation(np.repeat(np.arange(len(users)), rng.integers(1, 4, len(users))))
        users, items = users[order], items[order]
    more = EVENTS.get(name, 0)
    users, items = np.append(users, np.zeros(more, int)), np.append(items, rng.integers(0, n, more))
    tastes = np.sum(rng.standard_normal((m, 3))[users] * rng.standard_normal((n, 3))[items], axis=1)
    if feedback == "implicit":
        values = rng.geometric(0.3, len(users)) * (1.0 + 9 * (tastes > 1))
    else:
        values = np.clip(np.round(6 + tastes + rng.standard_normal(len(users))), 1, 10) / 2
    if name == "signed":
        values[::5] *= -1
        values[::7] = 0
    if name == "ones":
        values[:] = 1
    if name == "wild":
        values *= 10.0 ** rng.integers(-3, 6, len(users))
    weights = rng.integers(0, 4, len(users)) * 0.75
    cells = sparse.coo_array((values, (users, items)), shape=(m, n))
    return Data(cells, weights, Interactions.from_matrix(cells, duplicates="keep"))


def labelled(data: Data, kind: str) -> Any:
    """The events by names or numbers; who has none is not there."""
    users, items = data.cells.coords
    if kind == "numbered":
        return {"user": users * 3 - 50, "item": items * 2 + 10**12, "rating": data.cells.data}
    return [f"u{i}" for i in users], [f"i{i}" for i in items], data.cells.data


# ---------------------------------------------------------------------------------------------------------------------
# training


def make(name: str, feedback: str, k: int, dtype: str, settings: Mapping[str, Any]) -> Any:
    """A model; how many threads its name says, since no bit depends on it."""
    common = {"factors": k, "dtype": dtype, "iterations": 3, "random_state": 0, "num_threads": 1 + number(name) % 2}
    preset, settings = settings.get("preset"), common | {key: v for key, v in settings.items() if key != "preset"}
    return bits.MODELS[feedback].from_preset(preset, **settings) if preset else bits.MODELS[feedback](**settings)


def train(model: Any, data: Data, way: str) -> Any:
    """Fit in one of WAYS, or on the cells with what the preset says of repeats ("raw"), or plainly."""
    given, how = data.kept, {}
    if "weighted" in way:
        given, how["sample_weight"] = data.cells, data.weights
    if way == "raw":
        given = data.cells
    if "validated" in way or "@" in way:
        given, how["validation"] = train_test_split(data.kept, 0.2, random_state=1)
        how |= {"patience": 1, "validation_metric": way if "@" in way else None}
        model.set_params(iterations=8, tol=None)
    if way == "stopped":
        how["callback"] = lambda iteration, *_: iteration == 2
    if way == "started":
        rng = np.random.default_rng(5)
        how["initial_factors"] = tuple(rng.random((n, model.factors)).astype(model.dtype) for n in data.cells.shape)
    if "resumed" not in way:
        return model.fit(given, progress=False, **how)

    def kill(*_: Any) -> None:
        raise bits.KilledError

    with tempfile.TemporaryDirectory() as folder:
        how |= {"checkpoint": Path(folder) / "checkpoint", "checkpoint_every": 1, "progress": False}
        with suppress(bits.KilledError):
            model.fit(given, callback=kill, **how)
        return model.set_params(num_threads=3 - model.num_threads).fit(given, **how)


def of_fit(model: Any, data: Data) -> Bits:
    """What training made, and a little of what it is for."""
    told = model.settings_, model.n_iter_, model.n_repeated_, model.best_iteration_, model.metrics_history_
    m, n = data.kept.shape
    new = model.fold_in(data.kept.matrix[some(m, 5)]), model.fold_in_items(data.kept.matrix[:, some(n, 5)])
    lists = model.recommend(some(m, 30), n=5)
    found = {side: value[:8] for side, value in bits.trained(model).items()}
    return found | {"told": digest(told), "new": digest(*new), "lists": digest(*lists)}


def fit_case(feedback: str, data: str, k: int, dtype: str, way: str = "", /, **settings: Any) -> Case:
    name = called("fit", feedback, data, k, dtype, way, **settings)

    def run() -> Bits:
        one = made(data, feedback)
        return of_fit(train(make(name, feedback, k, dtype, settings), one, way), one)

    return name, run


def fits() -> Iterator[Case]:
    small = ((5, "float32"), (33, "float32"), (33, "float64"))
    large = ((16, "float32"), (64, "float32"), (128, "float32"), (64, "float64"))
    for data, feedbacks in REAL.items():
        for feedback, (k, dtype) in product(feedbacks, large):
            yield fit_case(feedback, data, k, dtype, iterations=6)
    for feedback in bits.MODELS:
        for data, k, dtype, solver in product(("gaps", "repeated", "signed"), FACTORS, DTYPES, SOLVERS):
            yield fit_case(feedback, data, k, dtype, solver=solver)
        for data, k, dtype, solver in product(("tiny", "tall", "wide"), (1, 8, 33, 128), DTYPES, SOLVERS):
            yield fit_case(feedback, data, k, dtype, solver=solver)
        for data, k, dtype, solver in product(("ones", "wild"), (8, 33, 64), DTYPES, SOLVERS):
            yield fit_case(feedback, data, k, dtype, solver=solver, iterations=8, tol=None)
        for settings in SETTINGS[feedback]:
            yield fit_case(feedback, "wild", 33, "float32", **{"iterations": 8, "tol": None, **settings})
        for data, k, dtype, solver in product(("high", "long"), (3, 8, 32, 64, 128), DTYPES, bits.SOLVERS):
            yield fit_case(feedback, data, k, dtype, solver=solver)
        for data, k, dtype, solver in product(("parts", "vast"), (3, 33), DTYPES, ("cholesky", "cg")):
            yield fit_case(feedback, data, k, dtype, solver=solver)
        for data, way, (k, dtype) in product(("high", "long", "parts"), ("weighted", "validated"), small):
            yield fit_case(feedback, data, k, dtype, way)
        for data, (k, dtype), settings in product(("gaps", "repeated", "signed"), small, SETTINGS[feedback]):
            yield fit_case(feedback, data, k, dtype, **settings)
        for preset, way, (k, dtype) in product(PRESETS[feedback], ("raw", *WAYS[:2], *WAYS[-2:]), small):
            yield fit_case(feedback, "gaps", k, dtype, way, preset=preset)
        for preset, data, dtype in product(PRESETS[feedback], ("tiny", "repeated", "signed"), DTYPES):
            yield fit_case(feedback, data, 33, dtype, "raw", preset=preset, solver="cg")
            yield fit_case(feedback, data, 33, dtype, "raw", preset=preset, solver="auto")
        for data, way, (k, dtype), solver in product(("gaps", "signed"), WAYS, small, ("auto", "cg")):
            yield fit_case(feedback, data, k, dtype, way, solver=solver)
        for way, (k, dtype) in product(WAYS, small):
            yield fit_case(feedback, "gaps", k, dtype, way, nonnegative=True)


# ---------------------------------------------------------------------------------------------------------------------
# answers


class Asker:
    """Digests of what a model answers; an error is an answer."""

    def __init__(self) -> None:
        self.found: dict[str, list[Any]] = {}

    def __call__(self, part: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        try:
            answer = call(*arguments, **named)
        except fastals.FastalsError as error:
            answer = repr(error)
        self.found.setdefault(part, []).append(digest(*answer) if isinstance(answer, tuple) else digest(answer))

    def bits(self) -> Bits:
        return {part: digest(*answers) for part, answers in self.found.items()}


def ask(model: Any, data: Data) -> Asker:
    """What any model answers: lists for users and items, scores."""
    asked = Asker()
    users, items = ids(model, data)
    few, kinds = users[some(len(users), 12)], items[some(len(items), 9)]
    asked("lists", model.recommend, few, n=7)
    asked("lists", model.recommend, few[1], n=len(items) + 3)
    asked("lists", model.recommend, users, n=3, exclude_seen=False)
    asked("lists", lambda: tuple(chain(*model.recommend_all(n=4, batch_size=32))))
    own = [kinds[: 1 + i % 4] for i in range(len(few))]
    boost = dict(zip(kinds.tolist(), (0.0, 0.5, 2.0, 10.0), strict=False))
    odd = np.arange(len(items)) % 2 == 1
    known = [*few, stranger(users)]
    asked("asked for", model.recommend, few, n=4, items=kinds)
    asked("asked for", model.recommend, few, n=4, items=own, exclude=kinds[:1])
    asked("asked for", model.recommend, few, n=4, items=odd, exclude=own)
    asked("asked for", model.recommend, few, n=4, exclude=odd, exclude_seen=False)
    asked("boosted", model.recommend, few, n=9, boost=boost)
    asked("boosted", model.recommend, few, n=9, boost=np.sqrt(np.arange(len(items))), exclude=kinds)
    asked("asked for", model.recommend, known, n=4, unknown="popular")
    asked("asked for", model.recommend, known, n=4, unknown="empty", items=kinds)
    asked("asked for", model.recommend, known)
    asked("users", model.recommend_users, kinds, n=6)
    asked("users", model.recommend_users, kinds, n=6, exclude_seen=True, users=few)
    asked("similar", model.similar_items, kinds, n=6)
    asked("similar", model.similar_items, kinds, n=3, candidates=items[::2], exclude=kinds[:2])
    asked("similar", model.similar_users, few, n=6)
    for unknown in ("nan", "mean", "error"):
        asked("predict", model.predict, known, kinds[2], unknown=unknown)
        asked("predict", model.predict, few[2], [*kinds, stranger(items)], unknown=unknown)
    rows, columns = users[some(len(users), 100)], items[some(len(items), 100)]
    asked("predict", model.predict, np.repeat(rows, len(columns)), np.tile(columns, len(rows)))
    history = ([stranger(users)] * 3, kinds[:3], [2.0, 1.0, 5.0])
    asked("new", model.recommend, histories=history, n=5)
    held = (np.repeat(few, len(kinds)), np.tile(kinds, len(few)), np.arange(len(few) * len(kinds)) % 5 + 1)
    asked("score", evaluate, model, None, held, k=5)
    asked("score", model.score, held)
    asked("score", lambda: model.score(np.column_stack(held[:2]), held[2]))
    return asked


def ids(model: Any, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """All users and items, as the model calls them."""
    known = zip((model.users_, model.items_), data.cells.shape, strict=True)
    users, items = (np.arange(n) if labels is None else labels for labels, n in known)
    return users, items


def stranger(known: np.ndarray) -> Any:
    """One who would be next behind those known."""
    return "zoe" if known.dtype == object else int(known[-1]) + 1


def stored(path: Path) -> tuple[Any, ...]:
    """What a model's file holds, but for who wrote it on how many threads; its arrays stand in no order."""
    with safe_open(path, "numpy") as file:
        names = sorted(file.keys())
        arrays, content = [file.get_tensor(name) for name in names], json.loads(file.metadata()["content"])
    content["parameters"].pop("num_threads", None)
    content.pop("written_by", None)
    return names, *arrays, json.dumps(content, sort_keys=True)


def answers(model: Any, data: Data) -> Bits:
    """What a model with factors answers, before and after it was saved and learnt from new events."""
    asked = ask(model, data)
    users, items = ids(model, data)
    one, other, few = users[-2], items[-3], items[some(len(items), 4)]
    new_user, new_item = stranger(users), stranger(items)
    history = ([new_user] * 4, few, [2.0, 1.0, 5.0, 3.0])
    asked("new", model.fold_in, history)
    asked("new", model.fold_in, history, sample_weight=[0.5, 1.0, 2.0, 0.0])
    asked("new", lambda: model.recommend(user_factors=model.fold_in(history), n=5))
    asked("new", model.fold_in_items, (users[:3], [new_item] * 3, [1.0, 4.0, 2.0]))
    asked("explain", model.explain, one, other)
    asked("explain", model.explain, None, other, 2, history=history)
    asked("explain", model.explain, new_user, other)
    asked("diagnose", model.diagnose)
    later = ([one, one, new_user, new_user], [few[1], new_item, few[0], few[2]], [3.0, 1.0, 4.0, 2.0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path, history=False)
        asked("file", stored, path)
        bare = fastals.load(path)
        model.save(path)
        asked("file", stored, path)
        models = {"bare": bare, "loaded": fastals.load(path), "grown": fastals.load(path, mmap=False), "more": model}
    for part, each in models.items():
        if part != "loaded":
            last = {"duplicates": "max", "passes": 1} if part == "grown" else {}
            asked(part, lambda each, last: each.partial_fit(later, **last) is each, each, last)
        if part == "more":
            weights = {"sample_weight": [0.5, 2.0, 1.0, 3.0]}
            asked(part, lambda each, weights: each.partial_fit(later, **weights) is each, each, weights)
        asked(part, lambda each: tuple(bits.trained(each).values()), each)
        asked(part, each.recommend, [one], n=5)
        asked(part, each.explain, one, other)
        asked(part, lambda each: (each.settings_, each.n_iter_, each.n_repeated_, each.metrics_history_), each)
    return asked.bits()


def asks() -> Iterator[Case]:
    plain: list[tuple[str, str, str, dict[str, Any]]] = [
        ("implicit", "gaps", "", {}),
        ("implicit", "signed", "", {"regularization": 0.5}),
        ("implicit", "repeated", "", {}),
        ("implicit", "gaps", "weighted", {}),
        ("implicit", "gaps", "named", {}),
        ("implicit", "signed", "numbered", {"regularization": 0.5}),
        ("implicit", "gaps", "validated", {"nonnegative": True}),
        ("implicit", "high", "", {}),
        ("explicit", "high", "", {}),
        ("explicit", "gaps", "", {}),
        ("explicit", "signed", "", {"biases": False}),
        ("explicit", "repeated", "", {}),
        ("explicit", "gaps", "weighted", {}),
        ("explicit", "gaps", "named", {}),
        ("explicit", "gaps", "pairs", {}),
        ("explicit", "gaps", "", {"preset": "cmfrec", "biases": False}),
        ("explicit", "gaps", "validated", {"nonnegative": True}),
    ]
    presets = [(f, "gaps", "raw", {"preset": preset}) for f, names in PRESETS.items() for preset in names]
    factors = {False: (1, 3, 16, 33, 64), True: (3, 33)}
    for feedback, data, way, settings in [*plain, *presets]:
        for k, dtype in product(factors["preset" in settings], DTYPES):
            name = called("ask", feedback, data, k, dtype, way, **settings)
            yield name, partial(ask_case, name, feedback, data, k, dtype, way, settings)


def ask_case(name: str, feedback: str, data: str, k: int, dtype: str, way: str, settings: dict[str, Any]) -> Bits:
    model, one = make(name, feedback, k, dtype, settings), made(data, feedback)
    if way in ("named", "numbered"):
        model.fit(labelled(one, way), progress=False)
    elif way == "pairs":
        model.fit(np.column_stack(one.cells.coords), one.cells.data, progress=False)
    else:
        train(model, one, way)
    return answers(model, one)


# ---------------------------------------------------------------------------------------------------------------------
# neighbours, searches


def neighbours() -> Iterator[Case]:
    similarities = [{}, {"similarity": "dot"}, {"shrinkage": 7.0}]
    counts: list[dict[str, Any]] = [
        {**similarity, "weighting": weighting}
        for similarity, weighting in product(similarities, ("auto", "tfidf", "bm25", None))
    ]
    ratings: list[dict[str, Any]] = [{**similarity, "feedback": "explicit"} for similarity in similarities]
    tried = [*product(("gaps", "named", "repeated", "signed", "wide"), (3,)), ("gaps", 50), ("high", 50)]
    grid = [*product(("ItemKNN", "UserKNN"), tried, [*counts, *ratings])]
    for data, feedbacks in REAL.items():
        grid += product(("ItemKNN", "UserKNN"), [(data, 20)], [{"feedback": feedback} for feedback in feedbacks])
    for kind, (data, neighbors), settings in grid:
        name = called("knn", kind, data, neighbors, **settings)
        yield name, partial(neighbours_case, name, kind, data, {"neighbors": neighbors, **settings})


def neighbours_case(name: str, kind: str, data: str, settings: dict[str, Any]) -> Bits:
    one = made("gaps" if data == "named" else data, settings.get("feedback", "implicit"))
    model = getattr(fastals, kind)(**settings, num_threads=1 + number(name) % 2)
    model.fit(labelled(one, data) if data == "named" else one.kept)
    asked = ask(model, one)
    S = model.similarity_
    asked("fitted", lambda: (S.indptr, S.indices, S.data, model.settings_))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        asked("file", stored, path)
        loaded = fastals.load(path)
    asked("loaded", lambda: (*loaded.recommend(ids(model, one)[0], n=5), loaded.similarity_.data, loaded.settings_))
    return asked.bits()


def searches() -> Iterator[Case]:
    factors = {"factors": [4, 33], "regularization_scaling": ["auto", "count"]}
    lengths = {"neighbors": [3, 20], "shrinkage": [0.0, 7.0]}
    for data, model, warm in product(("gaps", "repeated"), ("implicit", "explicit"), (True, False)):
        for dtype, metric in zip(DTYPES, (None, "recall@3"), strict=True):
            name = f"tune {model} {data} {dtype} {metric} {warm}"
            yield name, partial(search_case, make(name, model, 8, dtype, {}), data, model, factors, metric, warm)
    for data, kind, feedback in product(("gaps", "repeated"), ("ItemKNN", "UserKNN"), bits.MODELS):
        model = getattr(fastals, kind)(feedback=feedback, num_threads=1)
        yield f"tune {kind} {data} {feedback}", partial(search_case, model, data, feedback, lengths, None, False)


def search_case(
    model: Any, data: str, feedback: str, grid: dict[str, list[Any]], metric: str | None, warm: bool
) -> Bits:
    kept = made(data, feedback).kept
    found = fastals.tune(model, kept, grid, metric=metric, warm_start=warm, random_state=2)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in found.rows]
    lists = found.best_model.recommend(np.arange(kept.n_users), n=5)
    return {"rows": digest(rows, found.metric), "lists": digest(*lists)}
