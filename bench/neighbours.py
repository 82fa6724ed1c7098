"""Neighbourhood models beside implicit's, and the time that measuring a model takes.

    python bench/neighbours.py                # needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/neighbours.py --quick        # ml-1m alone, one round

Neighbours: cosine and BM25 between items, 20 neighbours. implicit counts an item among its own neighbours and so gets
21. Timed in turn: finding them, and the best 10 for all users, known items left out, users in calls of 10,000.
"difference" is the largest, relative, between the 20 best similarities that the two libraries find for an item.

Evaluation: every metric of `fastals.evaluation.evaluate` for all users of ml-1m, a tenth of the cells held out, and AUC
over all items; beside what implicit takes for its four (precision, MAP, NDCG, truncated AUC). 64 factors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import report
from ranking import columns_of
from scipy import sparse

import fastals
from fastals import evaluation

NEIGHBORS, LENGTH, CALL = 20, 10, 10_000
KINDS = {
    "cosine": ({"weighting": None}, "CosineRecommender"),
    "bm25": ({"weighting": "bm25", "similarity": "dot"}, "BM25Recommender"),
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def all_lists(recommend: Callable[[np.ndarray], Any], n_users: int) -> None:
    for at in range(0, n_users, CALL):
        recommend(np.arange(at, min(at + CALL, n_users)))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest relative difference of scores, where both have one."""
    both = np.isfinite(ours) & (theirs > 0)
    return float(np.max(np.abs(ours - theirs)[both] / theirs[both]))


def neighbours(data: str, A: sparse.csr_array, threads: int, rounds: int) -> list[dict[str, Any]]:
    from implicit import nearest_neighbours

    runs = []
    seen, data_matrix = sparse.csr_matrix(A), fastals.Interactions.from_matrix(A)
    for kind, (parameters, name) in KINDS.items():
        times: dict[str, list[float]] = {"fit": [], "implicit fit": [], "lists": [], "implicit lists": []}
        for _ in range(rounds + 1):
            model = fastals.ItemKNN(neighbors=NEIGHBORS, num_threads=threads, **parameters)
            seconds, _ = timed(lambda model=model: model.fit(data_matrix))
            times["fit"].append(seconds)
            seconds, _ = timed(lambda model=model: all_lists(lambda users: model.recommend(users, LENGTH), A.shape[0]))
            times["lists"].append(seconds)
            peer = getattr(nearest_neighbours, name)(K=NEIGHBORS + 1, num_threads=threads)
            seconds, _ = timed(lambda peer=peer: peer.fit(seen, show_progress=False))
            times["implicit fit"].append(seconds)
            seconds, _ = timed(
                lambda peer=peer: all_lists(lambda users: peer.recommend(users, seen[users], N=LENGTH), A.shape[0])
            )
            times["implicit lists"].append(seconds)
        ours = np.sort(model.similarity_.toarray() if A.shape[1] < 10_000 else model.similarity_[:5000].toarray())
        theirs = peer.similarity[: len(ours)].toarray()
        np.fill_diagonal(theirs, 0)
        theirs = np.sort(theirs)
        run = {key: statistics.median(values[1:]) for key, values in times.items()}  # the first pays for the caches
        run["difference"] = difference(ours[:, -NEIGHBORS:], theirs[:, -NEIGHBORS:])
        runs.append({"data": data, "kind": kind, "threads": threads, **run})
        print(runs[-1], flush=True)
    return runs


def measuring(A: sparse.csr_array, threads: int, rounds: int) -> list[dict[str, Any]]:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    train, test = evaluation.train_test_split(A, 0.1, random_state=0)
    model = fastals.ImplicitALS(regularization=0.01, iterations=5, num_threads=threads, random_state=0)
    model.fit(train, progress=False)
    peer = AlternatingLeastSquares(factors=64, num_threads=threads)
    peer.user_factors, peer.item_factors = model.user_factors_, model.item_factors_
    # implicit reads int32 only
    parts = [
        sparse.csr_matrix((p.values, p.indices.astype(np.int32), p.indptr.astype(np.int32)), shape=p.shape)
        for p in (train, test)
    ]
    work = {
        "fastals evaluate, 8 metrics": lambda: evaluation.evaluate(model, train, test),
        "fastals auc": lambda: evaluation.auc(model, train, test),
        "implicit ranking_metrics_at_k, 4 metrics": lambda: ranking_metrics_at_k(
            peer, *parts, K=10, show_progress=False, num_threads=threads
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, call in work.items():
            times[name].append(timed(call)[0])
    return [{"what": name, "threads": threads, "seconds": statistics.median(t[1:])} for name, t in times.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    machine = report.machine()
    runs, ml_1m = [], None
    for name in ["ml-1m"] if options.quick else ["ml-1m", "gowalla"]:
        columns = columns_of(name)
        keep = columns.get("split", np.zeros(len(columns["user"]))) == 0
        cells = columns["user"][keep], columns["item"][keep]
        A = sparse.csr_array((np.ones(int(keep.sum()), np.float32), cells))
        ml_1m = A if name == "ml-1m" else ml_1m
        runs += neighbours(name, A, options.threads, rounds)
    measured = measuring(ml_1m, options.threads, rounds)
    columns = [
        "data, similarity",
        "s to fit",
        "implicit",
        "ratio",
        "s for all lists",
        "implicit",
        "ratio",
        "difference",
    ]
    rows = [
        [
            f"{run['data']}, {run['kind']}",
            *(run["fit"], run["implicit fit"], run["implicit fit"] / run["fit"]),
            *(run["lists"], run["implicit lists"], run["implicit lists"] / run["lists"]),
            f"{run['difference']:.0e}",
        ]
        for run in runs
    ]
    tables = [
        report.table(f"Item neighbours, {NEIGHBORS}, {options.threads} threads", columns, rows),
        report.table("Measuring a model, ml-1m", ["what", "s"], [[run["what"], run["seconds"]] for run in measured]),
    ]
    report.save("neighbours", machine, tables, runs + measured, quick=options.quick)


if __name__ == "__main__":
    main()
