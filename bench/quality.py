"""Held-out quality on real data: fastals beside the peers, settings chosen on a validation part, each peer its own.

    python bench/quality.py                  # needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/quality.py --quick          # without Spark, one fold, one seed

Explicit, without biases. ml-100k over its five official folds, ml-1m 90/10. A tenth of the training part is for
validation: each contestant tries its settings there, the best one trains on the whole training part and predicts the
test part, from several random starts. For all: predictions are clipped to the scale, and are the mean where the user or
the item has no training cell. (Plain lambda, and subtracting the mean first, were worse for both fastals and cmfrec.)

Implicit. The NCF protocol on ml-1m: each user's held-out item is ranked among it and 99 given negatives, HR@10 and
NDCG@10. Rendle et al. (RecSys 2022) publish 0.722 and 0.445 for iALS with 64 factors. Theirs is

    sum_stored (p - 1)^2 + w0 sum_all p^2 + lambda sum (n + w0 |other side|)^nu |row|^2        a = b = 1

and ours has b = 1 + alpha r = 2: with both sides' factors sqrt(2) longer it is theirs twice, with lambda twice theirs.
Their 0.007 stands here as ours, so it regularizes half as much as theirs; twice as much ranks a little worse.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from contextlib import ExitStack
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import on_spark
import peers
import pyarrow.parquet
import report
from scipy import sparse
from threadpoolctl import threadpool_limits

Setting = dict[str, Any]
ITERATIONS = 30


class Ratings(NamedTuple):
    """Cells, by index; `shape` counts users and items that have none here, too."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def take(self, mask: np.ndarray) -> Ratings:
        return Ratings(self.users[mask], self.items[mask], self.values[mask], self.shape)


def read(name: str, *extra: str) -> tuple[Ratings, list[np.ndarray]]:
    columns = ["user", "item", "rating", *extra]
    table = pyarrow.parquet.read_table(peers.REAL_DATA / f"{name}.parquet", columns=columns)
    users, items, values, *rest = (table[c].to_numpy() for c in columns)
    return Ratings(users, items, values.astype(np.float32), (int(users.max()) + 1, int(items.max()) + 1)), rest


# ---------------------------------------------------------------------------------------------------------------------
# explicit ratings


def grid(contestant: str, factors: tuple[int, ...]) -> list[Setting]:
    """What a contestant tries: lambda n everywhere; fastals also a lambda that grows more slowly with n."""
    scalings: list[Setting] = [{"scaling": "count", "regularization": x} for x in (0.04, 0.055, 0.07, 0.09, 0.12, 0.15)]
    if contestant == "fastals":
        scalings += [{"scaling": 0.75, "regularization": x} for x in (0.15, 0.2, 0.3, 0.45)]
    return [{**scaling, "factors": k} for scaling, k in product(scalings, factors)]


def train(
    contestant: str, A: sparse.csr_array, setting: Setting, seed: int, session: Any
) -> tuple[np.ndarray, np.ndarray]:
    problem = peers.Problem(contestant, "", iterations=ITERATIONS, feedback="explicit", seed=seed, **setting)
    if contestant == "cmfrec":
        model, _ = peers.cmfrec_fit(problem, A, ITERATIONS)
        return model.A_, model.B_
    if contestant == "spark":
        with tempfile.TemporaryDirectory() as folder:
            frame = on_spark.frame(session, A, folder)
            factors = on_spark.factors(peers.spark_als(problem, ITERATIONS).fit(frame), A.shape, setting["factors"])
            frame.unpersist()
        return factors
    import fastals

    model = fastals.ExplicitALS(
        factors=setting["factors"],
        regularization=setting["regularization"],
        regularization_scaling=setting["scaling"],
        biases=False,
        iterations=ITERATIONS,
        random_state=seed,
    ).fit(A, progress=False)
    return model.user_factors_, model.item_factors_


def rmse(contestant: str, training: Ratings, test: Ratings, setting: Setting, seed: int, session: Any) -> float:
    A = sparse.csr_array((training.values, (training.users, training.items)), shape=training.shape)
    X, Y = train(contestant, A, setting, seed, session)
    p = np.einsum("ij,ij->i", X[test.users], Y[test.items]).astype(np.float64)
    users, items = (counts > 0 for counts in peers.row_counts(A))
    p[~(users[test.users] & items[test.items])] = training.values.mean(dtype=np.float64)
    p = np.clip(p, training.values.min(), training.values.max())
    return math.sqrt(np.mean((p - test.values) ** 2))


def choose(contestant: str, training: Ratings, factors: tuple[int, ...], session: Any) -> tuple[float, Setting]:
    """The best setting on a tenth of the training part, and its RMSE there."""
    held = np.random.default_rng(1).random(len(training.users)) < 0.1
    fit, validation = training.take(~held), training.take(held)
    tried = [(rmse(contestant, fit, validation, setting, 0, session), setting) for setting in grid(contestant, factors)]
    return min(tried, key=lambda pair: pair[0])


def explicit(
    contestants: list[str], seeds: int, quick: bool, session: Any
) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    ratings, (fold,) = read("ml-100k", "fold")
    parts = [("ml-100k, official folds", ratings, fold == f, (8, 64)) for f in ([1] if quick else range(1, 6))]
    if not quick:
        ratings, _ = read("ml-1m")
        parts.append(("ml-1m, 90/10", ratings, np.random.default_rng(0).random(len(ratings.users)) < 0.1, (32, 128)))
    runs: list[dict[str, Any]] = []
    for contestant, (name, ratings, tested, factors) in product(contestants, parts):
        training, test = ratings.take(~tested), ratings.take(tested)
        validation, setting = choose(contestant, training, factors, session)
        scores = [rmse(contestant, training, test, setting, seed, session) for seed in range(seeds)]
        runs.append({"data": name, "contestant": contestant, **setting, "validation": validation, "rmse": scores})
        print(runs[-1], flush=True)
    rows = []
    for name, contestant in product(dict.fromkeys(run["data"] for run in runs), contestants):
        of = [run for run in runs if (run["data"], run["contestant"]) == (name, contestant)]
        by_seed = [statistics.mean(scores) for scores in zip(*(run["rmse"] for run in of), strict=True)]
        chosen = dict.fromkeys("{scaling} {regularization}, {factors} factors".format(**run) for run in of)
        figures = [f"{pick(by_seed):.4f}" for pick in (statistics.mean, min, max)]
        rows.append([name, contestant, *figures, "; ".join(chosen)])
    return rows, runs


# ---------------------------------------------------------------------------------------------------------------------
# implicit feedback: the NCF protocol


def ncf(seeds: int) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    import fastals

    ratings, _ = read("ml-1m")
    table = pyarrow.parquet.read_table(peers.REAL_DATA / "ml-1m.ncf-test.parquet")
    users, held_out = table["user"].to_numpy(), table["item"].to_numpy()
    negatives = np.array(table["negatives"].to_pylist())
    A = sparse.csr_array((np.ones_like(ratings.values), ratings[:2]), shape=ratings.shape)
    A[users, held_out] = 0
    A.eliminate_zeros()
    runs = []
    for seed in range(seeds):
        model = fastals.ImplicitALS(
            factors=64,
            regularization=0.007,
            regularization_scaling=1.0,
            unobserved_weight=0.3,
            iterations=12,
            random_state=seed,
        ).fit(A, progress=False)
        candidates = np.column_stack([held_out, negatives])
        scores = np.einsum("uk,uck->uc", model.user_factors_[users], model.item_factors_[candidates])
        place = (scores[:, 1:] >= scores[:, :1]).sum(1)  # 0 is the first
        hit = place < 10
        ndcg = np.where(hit, 1 / np.log2(place + 2), 0)
        runs.append(
            {"data": "ml-1m, NCF", "seed": seed, "cells": A.nnz, "hr": float(hit.mean()), "ndcg": float(ndcg.mean())}
        )
        print(runs[-1], flush=True)
    hr, ndcg = ([run[m] for run in runs] for m in ("hr", "ndcg"))
    rows: list[list[Any]] = [["iALS, Rendle et al. 2022 (published)", "0.722", "0.445"]]
    for name, pick in (("mean", statistics.mean), ("lowest", min)):
        rows.append([f"fastals, {name} of {seeds} seeds", f"{pick(hr):.4f}", f"{pick(ndcg):.4f}"])
    return rows, runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=["cmfrec", "spark"], choices=["cmfrec", "spark"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(peers=["cmfrec"], seeds=1)
        options = parser.parse_args()
    machine = report.machine()
    implicit_rows, implicit_runs = ncf(options.seeds)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, "blas"))  # cmfrec calls BLAS from threads of its own
        session = stack.enter_context(on_spark.session(2, folder)) if "spark" in options.peers else None
        explicit_rows, explicit_runs = explicit(["fastals", *options.peers], options.seeds, options.quick, session)
    columns = ["data", "contestant", "RMSE", "best seed", "worst seed", "settings chosen (lambda n^v: count is v = 1)"]
    tables = [
        report.table("Explicit ratings, RMSE on the test part", columns, explicit_rows),
        report.table("NCF protocol, ml-1m, 64 factors", ["contestant", "HR@10", "NDCG@10"], implicit_rows),
    ]
    report.save("quality", machine, tables, explicit_runs + implicit_runs, quick=options.quick)


if __name__ == "__main__":
    main()
