"""Ranked lists on real data, one page: every model of fastals beside implicit, irspack and published figures.

    python bench/ranking.py                  # needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/ranking.py --quick          # small grids, one number of factors
    python bench/ranking.py --data gowalla   # one of the two
    python bench/ranking.py --only ratings   # those contestants on ml-1m whose names have the word; not recorded

**ml-1m, the last item of each user left out** (the test part of the NCF protocol): all items that the user has not
rated are ranked, of which one is right, so recall@20 is the hit rate. Models of ratings also predict that item's
rating: RMSE, clipped to 1..5. **gowalla**, the split that LightGCN published; others' figures are those of the BARS
leaderboard gowalla_m1.

All settings are chosen on a validation part of the training part, each contestant among its own: on ml-1m one random
item of each user, by NDCG@10 (models of ratings: RMSE); on gowalla a tenth of the cells, by NDCG@20, which also tells
when to stop. Then the best trains on the whole training part. Splits, lists' lengths and metrics are the same code for
all: `fastals.evaluation`. The objective of `irspack` has b = 1 where ours has b = 2: its lambda is half of ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import peers
import pyarrow.parquet
import report
from scipy import sparse

import fastals
from fastals import evaluation
from fastals.evaluation import most_popular, ndcg_at_k, recall_at_k

LENGTH = 20
Setting = dict[str, Any]
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Fitted(NamedTuple):
    """Lists of all users, and ratings for pairs where the model predicts them."""

    lists: np.ndarray
    predict: Predict | None = None


Fit = Callable[[sparse.csr_array, Setting], Fitted]


def columns_of(name: str) -> dict[str, np.ndarray]:
    table = pyarrow.parquet.read_table(peers.REAL_DATA / f"{name}.parquet")
    return {column: table[column].to_numpy() for column in table.column_names if column != "negatives"}


def ones(A: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((np.ones_like(A.data), A.indices, A.indptr), shape=A.shape)


def grid(**values: list[Any]) -> list[Setting]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


# ---------------------------------------------------------------------------------------------------------------------
# contestants


def popularity(A: sparse.csr_array, setting: Setting) -> Fitted:
    return Fitted(most_popular(A, LENGTH))


def ours(model: Any) -> Fit:
    """A fitted model of fastals; ratings are kept for a model of ratings only."""

    def fit(A: sparse.csr_array, setting: Setting) -> Fitted:
        fitted = type(model)(**{**model.get_params(), **setting})
        fitted.fit(A if fitted._predicts_ratings else ones(A))
        lists = fitted.recommend(np.arange(A.shape[0]), n=LENGTH).items
        return Fitted(lists, fitted.predict if fitted._predicts_ratings else None)

    return fit


def implicit(A: sparse.csr_array, setting: Setting) -> Fitted:
    from implicit.cpu.als import AlternatingLeastSquares

    data = sparse.csr_matrix(ones(A))
    model = AlternatingLeastSquares(**setting, iterations=15, random_state=0)
    model.fit(data, show_progress=False)
    return Fitted(model.recommend(np.arange(A.shape[0]), data, N=LENGTH)[0])


def implicit_neighbours(name: str) -> Fit:
    def fit(A: sparse.csr_array, setting: Setting) -> Fitted:
        from implicit import nearest_neighbours

        data = sparse.csr_matrix(ones(A))
        model = getattr(nearest_neighbours, name)(**setting)
        model.fit(data, show_progress=False)
        return Fitted(model.recommend(np.arange(A.shape[0]), data, N=LENGTH)[0])

    return fit


def irspack(A: sparse.csr_array, setting: Setting) -> Fitted:
    from irspack.recommenders.ials import IALSRecommender

    model = IALSRecommender(sparse.csr_matrix(ones(A).astype(np.float64)), **setting, random_seed=0)
    model.learn()
    return Fitted(irspack_lists(model, A.shape[0]))


def irspack_lists(model: Any, n_users: int) -> np.ndarray:
    """Lists of all users, without what they have, padded with -1."""
    from irspack.utils.id_mapping import retrieve_recommend_from_score

    rows = []
    for begin in range(0, n_users, 1000):
        scores = model.get_score_remove_seen_block(begin, min(begin + 1000, n_users))
        rows += retrieve_recommend_from_score(scores, [], LENGTH, 1)
    return np.array([[item for item, _ in row] + [-1] * (LENGTH - len(row)) for row in rows])


# ---------------------------------------------------------------------------------------------------------------------
# ml-1m


def ml_1m(quick: bool, only: str = "") -> tuple[list[list[Any]], list[dict[str, Any]]]:
    ratings, last = columns_of("ml-1m"), columns_of("ml-1m.ncf-test")
    shape = (int(ratings["user"].max()) + 1, int(ratings["item"].max()) + 1)
    A, test = (
        sparse.csr_array((c["rating"].astype(np.float32), (c["user"], c["item"])), shape=shape) for c in (ratings, last)
    )
    A[last["user"], last["item"]] = 0
    A.eliminate_zeros()
    training, validation = (part.matrix for part in evaluation.leave_random_out(A, random_state=1))

    def score(fitted: Fitted, held_out: sparse.csr_array) -> dict[str, float | None]:
        cells = held_out.tocoo()
        rmse = None
        if fitted.predict:
            predicted = np.clip(np.nan_to_num(fitted.predict(*cells.coords), nan=A.data.mean()), 1, 5)
            rmse = evaluation.rmse(cells.data, predicted)
        return {
            "ndcg@10": ndcg_at_k(fitted.lists, held_out, 10),
            "recall@20": recall_at_k(fitted.lists, held_out, 20),
            "rmse": rmse,
        }

    als, explicit = (
        fastals.ImplicitALS(iterations=12, random_state=0),
        fastals.ExplicitALS(biases=False, random_state=0),
    )
    weights = [0.3] if quick else [0.1, 0.3, 1.0]
    contestants: list[tuple[str, Fit, list[Setting]]] = [
        ("popularity", popularity, [{}]),
        ("fastals UserKNN", ours(fastals.UserKNN()), grid(neighbors=[100, 300, 600], shrinkage=[0.0, 20.0])),
        (
            "fastals ItemKNN",
            ours(fastals.ItemKNN()),
            grid(neighbors=[50, 200, 1000], shrinkage=[0.0, 20.0])
            + grid(neighbors=[50, 200, 1000], weighting=["tfidf", "bm25"]),
        ),
        ("implicit CosineRecommender", implicit_neighbours("CosineRecommender"), grid(K=[50, 200, 1000])),
        ("implicit BM25Recommender", implicit_neighbours("BM25Recommender"), grid(K=[50, 200, 1000])),
        (
            "fastals ImplicitALS, 64 factors",
            ours(als),
            grid(regularization_scaling=[1.0], unobserved_weight=weights, regularization=[0.007, 0.015, 0.03]),
        ),
        (
            "fastals ImplicitALS, 64 factors, constant lambda",
            ours(als),
            grid(unobserved_weight=weights, regularization=[1.0, 10.0, 30.0]),
        ),
        (
            "implicit ALS, 64 factors",
            implicit,
            grid(factors=[64], alpha=[2.0, 5.0, 20.0], regularization=[1.0, 10.0, 50.0]),
        ),
        (
            "irspack iALS, 64 factors",
            irspack,
            grid(n_components=[64], train_epochs=[12], alpha0=weights, reg=[0.0035, 0.007, 0.015]),
        ),
        (
            "fastals ImplicitALS, 192 factors",
            ours(als),
            grid(
                factors=[192],
                regularization_scaling=[1.0],
                unobserved_weight=weights[:2],
                regularization=[0.007, 0.015, 0.03],
            ),
        ),
        (
            "fastals ExplicitALS",
            ours(explicit),
            grid(factors=[16, 64, 128], regularization_scaling=["count"], regularization=[0.04, 0.055, 0.07])
            + grid(factors=[64, 128], regularization_scaling=[0.75], regularization=[0.15, 0.2, 0.3]),
        ),
        (
            "fastals ExplicitALS, biases",
            ours(fastals.ExplicitALS(biases=True, random_state=0)),
            grid(factors=[16, 64], regularization_scaling=["count"], regularization=[0.04, 0.055, 0.07]),
        ),
        (
            "fastals ItemKNN, ratings",
            ours(fastals.ItemKNN(feedback="explicit")),
            grid(neighbors=[20, 50, 100], shrinkage=[0.0, 20.0, 100.0]),
        ),
        (
            "fastals UserKNN, ratings",
            ours(fastals.UserKNN(feedback="explicit")),
            grid(neighbors=[50, 200, 500], shrinkage=[0.0, 5.0, 20.0]),
        ),
    ]
    rows, runs = [], []
    for name, fit, settings in contestants:
        if only not in name:
            continue
        tried = []
        for setting in settings[:2] if quick else settings:
            found = score(fit(training, setting), validation)
            tried.append((found["rmse"] if found["rmse"] is not None else -found["ndcg@10"], setting))
        chosen = min(tried, key=lambda pair: pair[0])[1]
        start = time.perf_counter()
        fitted = fit(A, chosen)
        seconds = time.perf_counter() - start
        metrics = score(fitted, test)
        runs.append({"data": "ml-1m", "contestant": name, "setting": chosen, "seconds": seconds, **metrics})
        print(runs[-1], flush=True)
        figures = [None if metrics[m] is None else f"{metrics[m]:.4f}" for m in ("ndcg@10", "recall@20", "rmse")]
        rows.append([name, *figures, spelled(chosen)])
    return rows, runs


def spelled(setting: Setting) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or "-"


# ---------------------------------------------------------------------------------------------------------------------
# gowalla

PUBLISHED = {
    "ItemCF": (0.1570, 0.1214),
    "MF-BPR": (0.1627, 0.1378),
    "EASE": (0.1765, 0.1467),
    "LightGCN": (0.1820, 0.1547),
    "SimpleX": (0.1872, 0.1557),
}


def gowalla(quick: bool) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    columns = columns_of("gowalla")
    shape = (int(columns["user"].max()) + 1, int(columns["item"].max()) + 1)

    def matrix(mask: np.ndarray) -> sparse.csr_array:
        cells = columns["user"][mask], columns["item"][mask]
        return sparse.csr_array((np.ones(int(mask.sum()), np.float32), cells), shape=shape)

    A, test = matrix(columns["split"] == 0), matrix(columns["split"] == 1)
    training, validation = evaluation.train_test_split(A, 0.1, random_state=0)
    counts = A.nnz / shape[0], A.nnz / shape[1]
    runs: list[dict[str, Any]] = []

    def measured(name: str, lists: np.ndarray, setting: Setting) -> None:
        metrics = {"recall@20": recall_at_k(lists, test, 20), "ndcg@20": ndcg_at_k(lists, test, 20)}
        runs.append({"data": "gowalla", "contestant": name, "setting": setting, **metrics})
        print(runs[-1], flush=True)

    measured("popularity", most_popular(A, LENGTH), {})
    for cls in (fastals.ItemKNN, fastals.UserKNN):
        tried = []
        for setting in grid(neighbors=[50, 200] if quick else [50, 100, 200, 500], shrinkage=[0.0, 5.0]):
            lists = cls(**setting).fit(training).recommend(np.arange(shape[0]), n=LENGTH).items
            tried.append((ndcg_at_k(lists, validation, 20), setting))
        chosen = max(tried, key=lambda pair: pair[0])[1]
        lists = cls(**chosen).fit(A).recommend(np.arange(shape[0]), n=LENGTH).items
        measured(f"fastals {cls.__name__}", lists, chosen)

    def tuned(settings: list[Setting]) -> Setting:
        """The best setting, and after how many iterations."""
        tried = []
        for setting in settings:
            model = fastals.ImplicitALS(**setting, iterations=25, random_state=0)
            model.fit(training, validation=validation, validation_metric="ndcg@20", patience=2)
            best = max(metrics["ndcg@20"] for metrics in model.metrics_history_)
            tried.append((best, {**setting, "iterations": model.best_iteration_}))
            runs.append({"data": "gowalla", "validation": best, "setting": tried[-1][1]})
            print(runs[-1], flush=True)
        return max(tried, key=lambda pair: pair[0])[1]

    def settings(factors: int, weights: list[float], exponents: list[float], sizes: list[float]) -> list[Setting]:
        """lambda_u = `size` for a typical user, whatever the exponent."""
        return [
            {
                "factors": factors,
                "unobserved_weight": w0,
                "regularization_scaling": nu,
                "regularization": round(size / (counts[0] + w0 * shape[1]) ** nu, 5),
            }
            for w0, nu, size in product(weights, exponents, sizes)
        ]

    for factors in [64] if quick else [64, 128, 256, 512]:
        if factors == 64:
            found = tuned(
                settings(64, [0.01], [1.0], [2.0])
                if quick
                else settings(64, [0.005, 0.01, 0.02], [1.0, 0.5], [1.0, 3.0])
            )
        else:
            w0, nu = found["unobserved_weight"], found["regularization_scaling"]
            found = tuned(settings(factors, [w0], [nu], [1.0, 2.5]))
        start = time.perf_counter()
        model = fastals.ImplicitALS(**found, random_state=0).fit(A, progress=False)
        found["seconds"] = round(time.perf_counter() - start, 1)
        measured(f"fastals ImplicitALS, {factors} factors", model.recommend(np.arange(shape[0]), n=LENGTH).items, found)
        del found["seconds"]
    rows: list[list[Any]] = [
        [run["contestant"], f"{run['recall@20']:.4f}", f"{run['ndcg@20']:.4f}", spelled(run["setting"])]
        for run in runs
        if "contestant" in run
    ]
    rows += [[f"{name} (published)", f"{r:.4f}", f"{n:.4f}", "-"] for name, (r, n) in PUBLISHED.items()]
    rows.sort(key=lambda row: row[2])
    return rows, runs


MEASURE = {
    "ml-1m": (ml_1m, "ml-1m, last item of each user left out, all others ranked", ["NDCG@10", "recall@20", "RMSE"]),
    "gowalla": (gowalla, "gowalla, published split", ["recall@20", "NDCG@20"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", choices=MEASURE, default=list(MEASURE))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="WORD")
    options = parser.parse_args()
    if options.only:
        ml_1m(options.quick, options.only)
        return
    for data in options.data:
        machine = report.machine()
        measure, title, columns = MEASURE[data]
        rows, runs = measure(options.quick)
        table = report.table(title, ["contestant", *columns, "settings chosen"], rows)
        report.save(f"ranking-{data}", machine, [table], runs, quick=options.quick)


if __name__ == "__main__":
    main()
