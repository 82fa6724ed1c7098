"""EASE: the published figures of gowalla, what "auto" is worth, and how fast tiles are inverted.

    python bench/ease.py                # needs the data sets: $FASTALS_DATA, else ../shared/data; half an hour, 11 GB
    python bench/ease.py --quick        # ml-1m alone, nothing recorded

gowalla: the published split, all items ranked for each user, those of the training left out; `published` are the
figures of the BARS leaderboard (gowalla_m1). "GB" is what fit allocated at its peak, beside what `estimate_memory` had
said. "of items": the matrix of items inverted, as it would be with more users than items.

What "auto" is worth: a fifth of the cells held out at random, NDCG@20 with "auto" and with multiples of its lambda.

float32: the share of the places of all users' 20 best whose item is that of float64, and the error that the model
itself estimates.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import report
from ranking import PUBLISHED, columns_of
from scipy import sparse

import fastals
from fastals import evaluation
from fastals._core import kernels, single_threaded_blas
from fastals._neighbours import closed_form

Part = tuple[report.Table, list[dict[str, Any]]]

LENGTH = 20
SETS = ["ml-100k", "ml-latest-small", "ml-1m", "lastfm-hetrec2k", "movietweetings-100k", "citeulike-t"]
TIMES = [0.25, 0.5, 1.0, 2.0, 4.0]


def cells(name: str, split: int | None = None) -> sparse.csr_array:
    """Users x items, with the values that there are."""
    columns = columns_of(name)
    shape = int(columns["user"].max()) + 1, int(columns["item"].max()) + 1
    keep = np.ones(len(columns["user"]), bool) if split is None else columns["split"] == split
    value = next((columns[name] for name in ("rating", "count") if name in columns), np.ones(len(keep)))
    A = sparse.csr_array((value[keep].astype(np.float32), (columns["user"][keep], columns["item"][keep])), shape=shape)
    A.eliminate_zeros()
    return A


def fitted(model: fastals.EASE, data: Any, shape: tuple[int, int], nnz: int) -> dict[str, Any]:
    """Seconds and memory of a fit."""
    need = model.estimate_memory(*shape, nnz)
    tracemalloc.start()
    start = time.perf_counter()
    model.fit(data)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = {"estimate_gb": need.total / 1e9, "error": model.state_.error, **model.settings_}
    return {"seconds": seconds, "peak_gb": peak / 1e9, **said}


def gowalla(lambdas: list[Any], sides: list[str], threads: int) -> list[dict[str, Any]]:
    A, test = cells("gowalla", 0), cells("gowalla", 1)
    test.resize(A.shape)
    runs, choose = [], closed_form.by_users
    for regularization, side in product(lambdas, sides):
        closed_form.by_users = lambda n_users, n_items, side=side: side == "users"
        model = fastals.EASE(regularization=regularization, num_threads=threads)
        run = fitted(model, A, A.shape, A.nnz)
        closed_form.by_users = choose
        start = time.perf_counter()
        lists = model.recommend(np.arange(A.shape[0]), n=LENGTH).items
        run |= {"data": "gowalla", "inverted": side, "threads": threads, "lists": time.perf_counter() - start}
        run["recall@20"] = evaluation.recall_at_k(lists, test, LENGTH)
        run["ndcg@20"] = evaluation.ndcg_at_k(lists, test, LENGTH)
        runs.append(run)
        print(run, flush=True)
    return runs


def automatic(name: str, threads: int) -> list[dict[str, Any]]:
    train, test = evaluation.train_test_split(cells(name), 0.2, random_state=0)
    runs = []
    for weighting in ("log", "binary", None) if np.ptp(train.values) else ("log",):
        meant = fastals.EASE(weighting=weighting, num_threads=threads).fit(train).settings_["regularization"]
        for times in TIMES:
            model = fastals.EASE(weighting=weighting, regularization=times * meant, num_threads=threads).fit(train)
            ndcg = evaluation.evaluate(model, train, test, k=LENGTH)["ndcg@20"]
            runs.append({"data": name, "weighting": weighting, "auto": meant, "times": times, "ndcg@20": float(ndcg)})
        print(runs[-len(TIMES) :], flush=True)
    return runs


def narrow(name: str, threads: int) -> dict[str, Any]:
    A = cells(name)
    models = [fastals.EASE(dtype=dtype, num_threads=threads).fit(A) for dtype in ("float32", "float64")]
    lists = [model.recommend(np.arange(A.shape[0]), n=LENGTH).items for model in models]
    run = {"data": name, "same": float((lists[0] == lists[1]).mean()), "error": models[0].state_.error}
    print(run, flush=True)
    return run


def inverses(n: int, threads: int, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    A = rng.random((n, n), np.float32)
    A += A.T + 2 * n * np.eye(n, dtype=np.float32)
    kernels.bind_blas()
    seconds = []
    for _ in range(rounds):
        B, start = A.copy(), time.perf_counter()
        with single_threaded_blas():
            assert kernels.invert(B, threads) == 0
        seconds.append(time.perf_counter() - start)
    run = {"n": n, "threads": threads, "seconds": min(seconds), "gflops": n**3 / min(seconds) / 1e9}
    print(run, flush=True)
    return run


def of_gowalla(options: argparse.Namespace) -> Part:
    lambdas = [text if text == "auto" else float(text) for text in options.regularization]
    runs = gowalla(lambdas, options.sides, options.threads)
    rows = [
        [
            *(f"lambda {r['regularization']:.4g}, of {r['inverted']}", f"{r['recall@20']:.4f}"),
            *(f"{r['ndcg@20']:.4f}", r["seconds"], r["lists"], r["peak_gb"], r["estimate_gb"], f"{r['error']:.0e}"),
        ]
        for r in runs
    ]
    rows.append(["EASE (published)", *(f"{value:.4f}" for value in PUBLISHED["EASE"]), *[None] * 5])
    columns = ["settings", "recall@20", "NDCG@20", "s to fit", "s for all lists", "GB", "GB said", "error"]
    return report.table(f"gowalla, published split, {options.threads} threads", columns, rows), runs


def of_auto(options: argparse.Namespace) -> Part:
    rows, runs = [], []
    for name in ["ml-1m"] if options.quick else SETS:
        found = automatic(name, options.threads)
        for at in range(0, len(found), len(TIMES)):
            part = found[at : at + len(TIMES)]
            named = f"{name}, {part[0]['weighting']}"
            rows.append([named, part[0]["auto"], *(f"{r['ndcg@20']:.4f}" for r in part)])
        runs += found
    columns = ["data, weighting", "lambda", *(f"times {times:g}" for times in TIMES)]
    return report.table("NDCG@20 at multiples of the lambda that is automatic", columns, rows), runs


def of_float32(options: argparse.Namespace) -> Part:
    runs = [narrow(name, options.threads) for name in SETS[2 : 3 if options.quick else 4]]
    rows = [[run["data"], f"{run['same']:.5f}", f"{run['error']:.0e}"] for run in runs]
    return report.table("float32 beside float64", ["data", "same places", "error"], rows), runs


def of_tiles(options: argparse.Namespace) -> Part:
    sizes = [4096] if options.quick else [4096, 8192]
    runs = [inverses(n, threads, 3) for n in sizes for threads in (1, options.threads)]
    rows = [[run["n"], run["threads"], run["seconds"], run["gflops"]] for run in runs]
    return report.table("Inverse, float32", ["n", "threads", "s", "GFLOP/s"], rows), runs


PARTS = {"gowalla": of_gowalla, "auto": of_auto, "float32": of_float32, "tiles": of_tiles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--regularization", nargs="+", default=["auto"], help="of gowalla")
    parser.add_argument("--sides", nargs="+", default=["users"], choices=["users", "items"], help="what is inverted")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.only in (None, name) and not (options.quick and name == "gowalla"):
            machine = report.machine()
            table, runs = part(options)
            report.save(f"ease-{name}", machine, [table], runs, quick=options.quick)


if __name__ == "__main__":
    main()
