"""Steady vectors: how far lists and vectors move from one day's training to the next, with and without `prior=`.

    python bench/steady.py                  # needs ml-latest-small: $FASTALS_DATA, else ../shared/data

A tenth of the events, at random, is held out. Yesterday's model has seen the first nine tenths of the others by time,
today's all of them; the settings are the rule's, and every training has a seed of its own, as in a shop where nobody
thinks of it. Told, each the mean of several such splits:

* overlap: the share of yesterday's ten items that are among today's, over the users of both days; nobody's list holds
  what they had by the end of either day, so that no item leaves a list because it was bought;
* cosine, of the vectors of the items that both models have seen, each as it is;
* NDCG@10 of today's model on the events held out, which both kinds of training are to reach alike;
* iterations that `tol` has left.

"the same seed" and "from yesterday's" say what a common start alone brings: a descent that begins where the last one
ended stays near it while it lasts, but nothing holds it there.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import report
import sets

import fastals
from fastals import evaluation

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
SPLITS = 5
Row = list[float]


class Days:
    """Two days' training cells, and events held out."""

    def __init__(self, seed: int) -> None:
        events, rng = sets.read("ml-latest-small"), np.random.default_rng(seed)
        held_out = rng.random(len(events.users)) < 0.1
        train = events.take(~held_out)
        order = np.argsort(train.times, kind="stable")
        first = train.take(order[: len(order) * 9 // 10])
        self.yesterday, self.today, self.test = (
            sets.matrix(part, events.shape) for part in (first, train, events.take(held_out))
        )
        self.users = np.flatnonzero(np.diff(self.yesterday.indptr))
        self.items = np.flatnonzero(np.bincount(self.yesterday.indices, minlength=events.shape[1]))

    def compare(self, before: Any, after: Any) -> Row:
        """Overlap, cosine, NDCG@10 and iterations."""
        rows = self.today[self.users]
        seen = np.split(rows.indices, rows.indptr[1:-1])
        lists = [model.recommend(self.users, n=10, exclude=seen).items for model in (before, after)]
        shared = [len(np.intersect1d(*pair)) / 10 for pair in zip(*lists, strict=True)]
        old, new = (model.item_factors_[self.items].astype(np.float64) for model in (before, after))
        lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        cosines = np.sum(old * new, axis=1)[lengths > 0] / lengths[lengths > 0]
        every = np.arange(self.test.shape[0])
        ndcg = evaluation.ndcg_at_k(after.recommend(every, n=10).items, self.test, 10)
        return [float(np.mean(shared)), float(np.mean(cosines)), ndcg, after.n_iter_]


def trainings(days: Days, factors: int, seed: int) -> dict[str, Row]:
    """Each way to train today's model, compared with yesterday's."""

    def model(seed: int) -> Any:
        return fastals.ImplicitALS(factors=factors, random_state=seed)

    before = model(seed).fit(days.yesterday, progress=False)
    rows = {
        "another seed": days.compare(before, model(seed + 100).fit(days.today, progress=False)),
        "the same seed": days.compare(before, model(seed).fit(days.today, progress=False)),
    }
    start = before.user_factors_, before.item_factors_
    rows["from yesterday's factors"] = days.compare(before, model(seed).fit(days.today, initial_factors=start))
    for strength in (0.0, *STRENGTHS):
        after = model(seed + 100).fit(days.today, prior=before, prior_strength=strength, progress=False)
        rows[f"prior_strength={strength:g}"] = days.compare(before, after)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    machine = report.machine()
    tables, runs = [], []
    for factors in options.factors:
        all_rows: dict[str, list[Row]] = {}
        for seed in range(1 if options.quick else options.splits):
            for name, row in trainings(Days(seed), factors, seed).items():
                all_rows.setdefault(name, []).append(row)
                runs.append([factors, seed, name, *row])
        plain = np.mean(all_rows["another seed"], axis=0)
        rows = []
        for name, each in all_rows.items():
            overlap, cosine, ndcg, iterations = np.mean(each, axis=0).tolist()
            change = f"{100 * (ndcg / plain[2] - 1):+.1f} %"
            rows.append([name, overlap, cosine, ndcg, change, iterations])
        columns = [
            "today's training",
            "overlap of lists",
            "cosine of items",
            "NDCG@10",
            "beside no prior",
            "iterations",
        ]
        tables.append(report.table(f"ml-latest-small, {factors} factors, beside yesterday's model", columns, rows))
    report.save("steady", machine, tables, runs, quick=options.quick)


if __name__ == "__main__":
    main()
