"""What one gets without choosing anything: the defaults of fastals beside trivial baselines, peers' defaults, a search.

    python bench/defaults.py                     # needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/defaults.py --data ml-100k lastfm-hetrec2k --seeds 1
    python bench/defaults.py --only lists        # or ratings
    python bench/defaults.py --held 5            # items of each user; --random: not the last ones, any
    python bench/defaults.py --rule explicit     # the rule's numbers computed here and given, whatever the defaults are
    python bench/defaults.py --quick             # two small sets, one seed; nothing recorded

**Ranked lists**, every set of `sets.py`, ratings taken as counts as they are: each user's last item is held out where
all events have a time, else a random one (gowalla: as published), all items that the user does not have are ranked, and
nothing is chosen: NDCG@10 and recall@20, means over the seeds (of the split where it is random, and of the model). One
item of 600 users says little: where a contestant is ahead, the summary tells by how many standard errors of the users'
differences.

**Ratings**, every set that has some: a random tenth is held out (ml-100k: the official folds), RMSE over all held-out
pairs. Each library predicts as it does by default: for users and items without training cells too, Surprise clips.

The yardstick is a search of twelve settings around the rule, each set by itself, on a validation part split from the
training part in the same way; the chosen one trains on the whole training part.

The rule, for z stored cells of positive value in m users and n items that have any, d_i of them those of item i:

    lists     confidence log, scaling 1, w0 = min(1, 5 sum d_i^2 / (z m)),
              lambda = b / 2 (sqrt(z / m) + sqrt(z / n)) / sqrt((z / m + w0 items) (z / n + w0 users)), b the root mean
              square of 1 + log1p r; lambda sqrt(..)(..) no more than half the largest singular value of these weights
    ratings   biases, scaling 0.5, lambda = 1.2 x the standard deviation (without biases: the root mean square)
"""

from __future__ import annotations

import argparse
import inspect
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit calls BLAS from threads of its own

import numpy as np
import ranking
import report
import sets
from ranking import LENGTH
from scipy import sparse
from scipy.sparse.linalg import svds

import fastals
from fastals import evaluation

Setting = dict[str, Any]
Run = dict[str, Any]
Wanted = Callable[[str], bool]
# before the rule, and without regularization="auto" still: one lambda for all data, every value as it is
PLAIN: dict[str, Setting] = {"lists": {"regularization": 0.01}, "ratings": {"regularization": 0.1}}
PARTS = {"lists": ("lambda", "w0", "log"), "ratings": ("lambda", "biases")}
DAMPING = 5.0


# ---------------------------------------------------------------------------------------------------------------------
# the rule, in float64


def list_setting(A: sparse.csr_array, parts: Iterable[str] = PARTS["lists"], times: float = 1.0) -> Setting:
    """Parameters of ImplicitALS by some parts of the rule, the others as before it; lambda `times` as much."""
    cells = sparse.coo_array(A)
    positive = cells.data > 0
    users, items = (index[positive] for index in cells.coords)
    values = cells.data[positive].astype(np.float64)
    by_user, by_item = np.bincount(users), np.bincount(items)
    z, m, n = len(values), np.count_nonzero(by_user), np.count_nonzero(by_item)
    confidence = "log" if "log" in parts else "linear"
    w0 = min(1.0, float(5 * np.sum(by_item.astype(np.float64) ** 2) / (z * m))) if "w0" in parts else 1.0
    setting = {"confidence": confidence, "unobserved_weight": w0}
    if "lambda" not in parts:
        return {**setting, **PLAIN["lists"], "regularization_scaling": "constant"}
    weights = 1 + (np.log1p(values) if confidence == "log" else values)
    edge = math.sqrt(np.mean(weights**2)) * (math.sqrt(z / m) + math.sqrt(z / n))
    B = sparse.csr_array((weights, (users, items)), shape=A.shape)
    largest = svds(B, k=1, v0=np.ones(min(B.shape)), return_singular_vectors=False)[0]
    lengths = math.sqrt((z / m + w0 * A.shape[1]) * (z / n + w0 * A.shape[0]))
    return {
        **setting,
        "regularization": times * min(edge, float(largest)) / 2 / lengths,
        "regularization_scaling": 1.0,
    }


def rating_setting(
    A: sparse.csr_array, parts: Iterable[str] = PARTS["ratings"], times: float = 1.0, power: float = 0.5
) -> Setting:
    """Parameters of ExplicitALS likewise; with another power, rows of sqrt(z/m z/n) cells keep their lambda."""
    values = A.data.astype(np.float64)
    biases = "biases" in parts
    if "lambda" not in parts:
        return {**PLAIN["ratings"], "regularization_scaling": "constant", "biases": biases}
    spread = float(values.std() if biases else math.sqrt(np.mean(values**2))) or 1.0
    lengths = (np.count_nonzero(np.diff(A.indptr)), np.count_nonzero(np.bincount(A.indices)))
    typical = A.nnz / math.sqrt(lengths[0] * lengths[1])
    scaled = times * 1.2 * spread * typical ** (0.5 - power)
    return {"regularization": scaled, "regularization_scaling": power, "biases": biases}


def has_rule(model: type) -> bool:
    """Whether this version resolves its defaults from the data."""
    return bool(inspect.signature(model).parameters["regularization"].default == "auto")


# ---------------------------------------------------------------------------------------------------------------------
# ranked lists: a contestant makes lists for all users, and says by what settings where they are not its defaults

Lists = Callable[[sets.Split, int], tuple[np.ndarray, Setting | None]]


def als_lists(A: sparse.csr_array, seed: int, setting: Setting) -> np.ndarray:
    model = fastals.ImplicitALS(**setting, random_state=seed).fit(A, progress=False)
    return model.recommend(np.arange(A.shape[0]), n=LENGTH).items


def als(parts: Iterable[str]) -> Lists:
    def fit(split: sets.Split, seed: int) -> tuple[np.ndarray, Setting]:
        setting = list_setting(split.train, parts)
        return als_lists(split.train, seed, setting), setting

    return fit


def popularity(split: sets.Split, seed: int) -> tuple[np.ndarray, None]:
    return evaluation.most_popular(split.train, LENGTH), None


def default_lists(split: sets.Split, seed: int) -> tuple[np.ndarray, Setting | None]:
    model = fastals.ImplicitALS(random_state=seed).fit(split.train, progress=False)
    return model.recommend(np.arange(split.train.shape[0]), n=LENGTH).items, resolved(model)


def resolved(model: Any) -> Setting | None:
    """What "auto" became, where this version tells."""
    settings = getattr(model, "settings_", None)
    plain = (str, int, float, type(None))
    return settings and {name: x if isinstance(x, plain) else str(x) for name, x in dict(settings).items()}


def neighbours(model: Any) -> Lists:
    def fit(split: sets.Split, seed: int) -> tuple[np.ndarray, None]:
        return model().fit(split.train).recommend(np.arange(split.train.shape[0]), n=LENGTH).items, None

    return fit


def implicit(split: sets.Split, seed: int) -> tuple[np.ndarray, None]:
    from implicit.cpu.als import AlternatingLeastSquares

    data = sparse.csr_matrix(split.train)
    model = AlternatingLeastSquares(random_state=seed)
    model.fit(data, show_progress=False)
    return model.recommend(np.arange(data.shape[0]), data, N=LENGTH)[0], None


def irspack(split: sets.Split, seed: int) -> tuple[np.ndarray, None]:
    from irspack.recommenders.ials import IALSRecommender

    model = IALSRecommender(sparse.csr_matrix(split.train.astype(np.float64)), random_seed=seed)
    model.learn()
    return ranking.irspack_lists(model, split.train.shape[0]), None


def list_grid(A: sparse.csr_array) -> list[Setting]:
    """Twelve settings around the rule."""
    settings = []
    for parts, times, share in product((PARTS["lists"], ("lambda", "w0")), (1 / 3, 1, 3), (1 / 3, 1)):
        setting = list_setting(A, parts, times)
        settings.append({**setting, "unobserved_weight": share * setting["unobserved_weight"]})
    return settings


def tuned_lists(split: sets.Split, seed: int) -> tuple[np.ndarray, Setting]:
    """By the validation part's NDCG@10; the same multiples of the rule then, made anew from the whole training part."""
    scores = [
        evaluation.ndcg_at_k(als_lists(split.inner, seed, setting), split.validation, 10)
        for setting in list_grid(split.inner)
    ]
    chosen = list_grid(split.train)[int(np.argmax(scores))]
    return als_lists(split.train, seed, chosen), chosen


def list_contestants(rule: str) -> dict[str, Lists]:
    return {
        "popularity": popularity,
        "implicit": implicit,
        "irspack": irspack,
        "ItemKNN": neighbours(fastals.ItemKNN),
        "UserKNN": neighbours(fastals.UserKNN),
        "plain": als(()),
        **{f"only {part}": als((part,)) for part in PARTS["lists"]},
        "default": als(PARTS["lists"]) if rule == "explicit" else default_lists,
        "tuned": tuned_lists,
    }


def ndcg_by_user(lists: np.ndarray, test: sparse.csr_array, k: int = 10) -> np.ndarray:
    """NaN for users without a relevant item; the mean is that of `evaluation`."""
    users = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr))
    relevant = test.data > 0
    cells = (users * test.shape[1] + test.indices)[relevant]
    listed = np.where(lists[:, :k] < 0, -1, np.arange(len(lists))[:, None] * test.shape[1] + lists[:, :k])
    gain = 1 / np.log2(np.arange(k) + 2)
    best = np.concatenate([[np.nan], gain.cumsum()])[np.minimum(np.bincount(users[relevant], minlength=len(lists)), k)]
    found = np.isin(listed, cells) @ gain / best
    if abs(np.nanmean(found) - evaluation.ndcg_at_k(lists, test, k)) > 1e-9:
        raise AssertionError("not the NDCG of fastals.evaluation")
    return found


def lists(options: argparse.Namespace, wanted: Wanted) -> list[Run]:
    runs: list[Run] = []
    by_user: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for name, seed in product(options.data, range(options.seeds)):
        split = sets.split_lists(name, seed, options.held, by_time=not options.random)
        for contestant, fit in list_contestants(options.rule).items():
            if not wanted(contestant):
                continue
            begin = time.perf_counter()
            found, setting = fit(split, seed)
            by_user[name, contestant].append(ndcg_by_user(found, split.test))
            run = {
                "data": name,
                "contestant": contestant,
                "seed": seed,
                "ndcg@10": evaluation.ndcg_at_k(found, split.test, 10),
                "recall@20": evaluation.recall_at_k(found, split.test, 20),
            }
            runs.append(told({**run, "setting": setting, "seconds": round(time.perf_counter() - begin, 2)}))
    for run in runs:
        pair = (np.mean(by_user[run["data"], who], axis=0) for who in (run["contestant"], "default"))
        ahead = np.subtract(*pair)
        ahead = ahead[~np.isnan(ahead)]
        error = ahead.std() / math.sqrt(len(ahead))
        run["standard errors ahead"] = float(ahead.mean() / error) if error else 0.0
    return runs


def told(run: Run) -> Run:
    print(run, flush=True)
    return run


# ---------------------------------------------------------------------------------------------------------------------
# ratings: a contestant returns the RMSE over the held-out cells

Part = fastals.Interactions
Error = Callable[[Part, Part, int], tuple[float, Setting | None]]


def cells_of(part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cells = part.matrix.tocoo()
    return *cells.coords, cells.data.astype(np.float64)


def als_error(train: Part, test: Part, seed: int, setting: Setting) -> float:
    model = fastals.ExplicitALS(**setting, random_state=seed).fit(train, progress=False)
    measured = evaluation.evaluate(model, train, test)
    if measured["n_ratings"] != test.nnz:
        raise AssertionError(f"only {measured['n_ratings']} of {test.nnz} ratings were predicted")
    return measured["rmse"]


def explicit_als(parts: Iterable[str]) -> Error:
    def error(train: Part, test: Part, seed: int) -> tuple[float, Setting]:
        setting = rating_setting(train.matrix, parts)
        return als_error(train, test, seed, setting), setting

    return error


def default_error(train: Part, test: Part, seed: int) -> tuple[float, None]:
    return als_error(train, test, seed, {}), None


def global_mean(train: Part, test: Part, seed: int) -> tuple[float, None]:
    values = cells_of(test)[2]
    return evaluation.rmse(values, np.full(len(values), cells_of(train)[2].mean())), None


def damped_biases(train: Part, test: Part, seed: int) -> tuple[float, None]:
    """Items' mean deviations from the mean, then users' from both, each as if five more were zero."""
    users, items, values = cells_of(train)
    mean = values.mean()
    item_bias, user_bias = (np.zeros(n) for n in train.shape[::-1])
    for bias, index in ((item_bias, items), (user_bias, users)):
        left = values - mean - item_bias[items]
        bias[:] = np.bincount(index, left, len(bias)) / (np.bincount(index, minlength=len(bias)) + DAMPING)
    users, items, values = cells_of(test)
    return evaluation.rmse(values, mean + user_bias[users] + item_bias[items]), None


def surprise(train: Part, test: Part, seed: int) -> tuple[float, None]:
    import pandas
    from surprise import SVD, Dataset, Reader

    columns = ("user", "item", "rating")
    known, asked = (dict(zip(columns, cells_of(part), strict=True)) for part in (train, test))
    scale = tuple(float(pick(pick(known["rating"]), pick(asked["rating"]))) for pick in (min, max))
    data = Dataset.load_from_df(pandas.DataFrame(known), Reader(rating_scale=scale)).build_full_trainset()
    model = SVD(random_state=seed).fit(data)
    pairs = zip(*(asked[c].tolist() for c in columns), strict=True)
    return evaluation.rmse(asked["rating"], np.array([found.est for found in model.test(pairs)])), None


def rating_grid(A: sparse.csr_array) -> list[Setting]:
    """Twelve settings around the rule."""
    return [rating_setting(A, times=t, power=p) for p, t in product((0.3, 0.5, 0.75), (0.5, 0.75, 1, 1.5))]


def tuned_error(train: Part, test: Part, seed: int) -> tuple[float, Setting]:
    inner, validation = evaluation.train_test_split(train, 0.1, random_state=seed + 1)
    errors = [als_error(inner, validation, seed, setting) for setting in rating_grid(inner.matrix)]
    chosen = rating_grid(train.matrix)[int(np.argmin(errors))]
    return als_error(train, test, seed, chosen), chosen


def rating_contestants(rule: str) -> dict[str, Error]:
    return {
        "global mean": global_mean,
        "damped biases": damped_biases,
        "Surprise SVD": surprise,
        "plain": explicit_als(()),
        **{f"only {part}": explicit_als((part,)) for part in PARTS["ratings"]},
        "default": explicit_als(PARTS["ratings"]) if rule == "explicit" else default_error,
        "tuned": tuned_error,
    }


def ratings(options: argparse.Namespace, wanted: Wanted) -> list[Run]:
    runs: list[Run] = []
    for name in (name for name in options.data if name in sets.RATINGS):
        for seed, train, test in sets.split_ratings(name, options.seeds):
            for contestant, error in rating_contestants(options.rule).items():
                if not wanted(contestant):
                    continue
                begin = time.perf_counter()
                rmse, setting = error(train, test, seed)
                run = {"data": name, "contestant": contestant, "seed": seed, "rmse": rmse, "setting": setting}
                runs.append(told({**run, "seconds": round(time.perf_counter() - begin, 2)}))
    return runs


# ---------------------------------------------------------------------------------------------------------------------
# tables


def means(runs: list[Run], metric: str) -> dict[str, dict[str, float]]:
    """By data set and contestant."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        values[run["data"]][run["contestant"]].append(run[metric])
    return {name: {who: statistics.mean(x) for who, x in of.items()} for name, of in values.items()}


def results(title: str, runs: list[Run], metric: str) -> report.Table:
    found = means(runs, metric)
    contestants = list(dict.fromkeys(run["contestant"] for run in runs))
    rows = [[name, *(f"{of[who]:.4f}" for who in contestants)] for name, of in found.items()]
    return report.table(title, ["data", *contestants], rows)


def summary(title: str, runs: list[Run], metric: str, sign: int) -> report.Table:
    """The default beside each other contestant; `sign`: 1 where more is better, else -1."""
    found = means(runs, metric)
    rows = []
    for who in dict.fromkeys(run["contestant"] for run in runs):
        if who == "default":
            continue
        ratios = {name: of["default"] / of[who] for name, of in found.items() if of[who]}
        ahead = [
            f"{run['data']} {abs(1 / ratios[run['data']] - 1):.1%}"
            + (f" ({run['standard errors ahead']:.1f})" if "standard errors ahead" in run else "")
            for run in {run["data"]: run for run in runs if run["contestant"] == who}.values()
            if run["data"] in ratios and sign * (ratios[run["data"]] - 1) < 0
        ]
        figures = [f"{statistics.geometric_mean(ratios.values()):.3f}"] if ratios else [None]
        figures += [f"{(min if sign > 0 else max)(ratios.values()):.3f}"] if ratios else [None]
        rows.append([who, *figures, ", ".join(ahead) or "-"])
    ahead_by = "ahead of the default, by" + (" (standard errors)" if sign > 0 else "")
    return report.table(title, ["contestant", "default / contestant, geometric mean", "worst", ahead_by], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=sets.LISTS, default=list(sets.LISTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held", type=int, default=1, metavar="N", help="items of each user, for lists")
    parser.add_argument("--random", action="store_true", help="any items, also where there are times")
    parser.add_argument("--only", choices=["lists", "ratings"])
    parser.add_argument(
        "--rule", choices=["auto", "explicit"], default="auto" if has_rule(fastals.ImplicitALS) else "explicit"
    )
    parser.add_argument("--contestants", nargs="+", metavar="NAME", help="these and the default only; not recorded")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(data=list(sets.QUICK), seeds=1)
        options = parser.parse_args()
    machine = report.machine()
    runs: list[Run] = []
    tables = []

    def wanted(contestant: str) -> bool:
        return not options.contestants or contestant in ("default", *options.contestants)

    if options.only != "ratings":
        found = lists(options, wanted)
        title = f"Ranked lists, 64 factors, {options.seeds} seeds"
        tables += [
            results(f"{title}: {metric.replace('ndcg', 'NDCG')}", found, metric) for metric in ("ndcg@10", "recall@20")
        ]
        tables.append(summary("NDCG@10 of ImplicitALS()", found, "ndcg@10", 1))
        runs += found
    if options.only != "lists" and set(options.data) & set(sets.RATINGS):
        found = ratings(options, wanted)
        tables.append(results("Ratings, 64 factors: RMSE on held-out pairs", found, "rmse"))
        tables.append(summary("RMSE of ExplicitALS()", found, "rmse", -1))
        runs += found
    chosen = options.only or options.contestants or options.random or options.held != 1
    whole = set(options.data) == set(sets.LISTS) and not chosen
    report.save("defaults", machine, tables, runs, quick=options.quick or not whole)


if __name__ == "__main__":
    main()
