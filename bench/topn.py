"""The best items for all users, those they have seen left out: fastals beside the peers.

    python bench/topn.py                   # 138 k users x 27 k items, 64 and 128 factors, lists of 10 and 100
    python bench/topn.py --quick           # 6 k users x 4 k items

Everyone ranks the same factors, trained by fastals. Every run is a process of its own that loads them, answers for a
few users to warm up, then for all of them: that is timed, with whatever the contestant prepares from the factors. The
contestants run in turn; ratios are medians over the rounds.

    fastals    recommend_all
    no stop    the same, but every user looks at all items: what Cauchy-Schwarz saves
    implicit   recommend, 10 000 users a call (one call for all is no faster), as many threads; BLAS on one, as it asks
    irspack    scores of 1 000 users a call, then its own selection in C++; BLAS on as many threads
    NumPy      product, seen items to -inf, argpartition and sort, 1 000 users a call; BLAS on as many threads

cmfrec and lenskit answer for one user at a time; buffalo and Spark cannot leave out what was seen.

Before anything is said about time, the lists of a sample of users are held against float64: a list passes if every
score in it is that of the float64 list at the same place to 1e-6, relative to the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
from scipy import sparse

TIE = 1e-6
SAMPLE = 300
WARM_UP = 256
BLAS_THREADS_OF_THEIR_OWN = ("irspack", "numpy")
Lists = tuple[np.ndarray, np.ndarray]
Answer = Callable[[slice], Lists]


# ---------------------------------------------------------------------------------------------------------------------
# one function a contestant: prepares, and returns what answers for a slice of users


def fastals(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, n: int, threads: int, stop: bool = True) -> Answer:
    from fastals._topn.panels import ItemLists, Panels
    from fastals._topn.search import top_n

    panels = Panels(Y, threads)
    if not stop:
        panels.bounds[:, 1] = np.inf
    indptr, indices = A.indptr.astype(np.int64), A.indices

    def answer(users: slice) -> Lists:
        return top_n(X[users], panels, n, seen=ItemLists.of_rows(indptr, indices, users), num_threads=threads)

    return answer


def no_stop(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, n: int, threads: int) -> Answer:
    return fastals(X, Y, A, n, threads, stop=False)


def implicit(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, n: int, threads: int) -> Answer:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=X.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = X, Y
    seen = sparse.csr_matrix(A)
    return lambda users: model.recommend(np.arange(users.start, users.stop), seen[users], N=n)


def irspack(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, n: int, threads: int) -> Answer:
    from irspack.utils.id_mapping import retrieve_recommend_from_score

    def answer(users: slice) -> Lists:
        found = retrieve_recommend_from_score(unseen_scores(X, Y, A, users), [], n, threads)
        pairs = np.array([row + [(-1, -np.inf)] * (n - len(row)) for row in found])
        return pairs[:, :, 0].astype(np.int32), pairs[:, :, 1].astype(np.float32)

    return answer


def numpy(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, n: int, threads: int) -> Answer:
    def answer(users: slice) -> Lists:
        scores = unseen_scores(X, Y, A, users)
        items = np.argpartition(scores, -n, axis=1)[:, -n:]
        best = np.take_along_axis(scores, items, axis=1)
        order = np.argsort(-best, axis=1)
        return np.take_along_axis(items, order, axis=1), np.take_along_axis(best, order, axis=1)

    return answer


def unseen_scores(X: np.ndarray, Y: np.ndarray, A: sparse.csr_array, users: slice) -> np.ndarray:
    scores = X[users] @ Y.T
    row = np.repeat(np.arange(len(scores)), np.diff(A.indptr[users.start : users.stop + 1]))
    scores[row, A.indices[A.indptr[users.start] : A.indptr[users.stop]]] = -np.inf
    return scores


CONTESTANTS = {"fastals": fastals, "no stop": no_stop, "implicit": implicit, "irspack": irspack, "numpy": numpy}
USERS_A_CALL = {"fastals": 8192, "no stop": 8192, "implicit": 10_000, "irspack": 1000, "numpy": 1000}


# ---------------------------------------------------------------------------------------------------------------------
# one run


def work(folder: Path, contestant: str, n: int, threads: int) -> float:
    """Seconds for all users; leaves the lists of the sample in the folder."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    X, Y = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    A = sparse.load_npz(folder / "seen.npz")
    sample, size = np.load(folder / "sample.npy"), USERS_A_CALL[contestant]
    CONTESTANTS[contestant](X, Y, A, n, threads)(slice(0, min(WARM_UP, len(X))))
    items, scores = [], []
    start = time.perf_counter()
    answer = CONTESTANTS[contestant](X, Y, A, n, threads)
    for first in range(0, len(X), size):
        users = slice(first, min(first + size, len(X)))
        found = answer(users)
        own = sample[(users.start <= sample) & (sample < users.stop)] - users.start
        items.append(found[0][own])
        scores.append(found[1][own])
    seconds = time.perf_counter() - start
    np.savez(folder / "found.npz", items=np.concatenate(items), scores=np.concatenate(scores))
    return seconds


def run(folder: Path, contestant: str, n: int, threads: int) -> float:
    """Seconds of one run, its lists checked."""
    blas = threads if contestant in BLAS_THREADS_OF_THEIR_OWN else 1
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(blas), "OMP_NUM_THREADS": str(threads)}
    arguments = json.dumps([str(folder), contestant, n, threads])
    done = subprocess.run(
        [sys.executable, __file__, "--run", arguments], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{contestant}\n{done.stderr[-3000:]}")
    check(folder, contestant, n)
    seconds = float(done.stdout.split()[-1])
    print(f"{contestant}, top {n}: {seconds:.3g} s", file=sys.stderr)
    return seconds


def check(folder: Path, contestant: str, n: int) -> None:
    """Hold the sample's lists against scoring everything in float64."""
    sample, found = np.load(folder / "sample.npy"), np.load(folder / "found.npz")
    X, Y = (np.load(folder / f"{side}.npy").astype(np.float64) for side in ("users", "items"))
    A = sparse.load_npz(folder / "seen.npz")
    for user, items in zip(sample, found["items"], strict=True):
        scores = Y @ X[user]
        scores[A.indices[A.indptr[user] : A.indptr[user + 1]]] = -np.inf
        best = np.sort(scores)[::-1][:n]
        if len(set(items)) < n or not np.allclose(scores[items], best, rtol=0, atol=TIE * np.abs(best).max()):
            raise AssertionError(f"{contestant}: the top {n} of user {user} are not those of float64")


# ---------------------------------------------------------------------------------------------------------------------
# all runs


def prepare(folder: Path, data: str, factors: int, threads: int) -> tuple[int, int]:
    """Train, and leave in the folder what a run needs."""
    import generate

    from fastals import ImplicitALS

    A = sparse.csr_array(generate.load(data, "counts"), copy=True)
    model = ImplicitALS(factors=factors, regularization=0.01, tol=None, random_state=0, num_threads=threads)
    model.fit(A, progress=False)
    np.save(folder / "users.npy", model.user_factors_)
    np.save(folder / "items.npy", model.item_factors_)
    np.save(folder / "sample.npy", np.sort(np.random.default_rng(0).choice(len(model.user_factors_), SAMPLE, False)))
    sparse.save_npz(folder / "seen.npz", A, compressed=False)
    return len(model.user_factors_), len(model.item_factors_)


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        folder, contestant, n, threads = json.loads(sys.argv[2])
        print(work(Path(folder), contestant, n, threads))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="20m", help="a shape of generate.py")
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--n", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS)[1:], choices=list(CONTESTANTS)[1:])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    if parser.parse_args().quick:
        parser.set_defaults(data="1m", factors=[64], rounds=1)
    options = parser.parse_args()
    machine = report.machine()
    rows: list[list[Any]] = []
    runs: list[dict[str, Any]] = []
    contestants = ["fastals", *options.contestants]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k in options.factors:
            n_users, n_items = prepare(folder, options.data, k, options.threads)
            for n in options.n:
                rounds = [[run(folder, who, n, options.threads) for who in contestants] for _ in range(options.rounds)]
                for who, times in zip(contestants, zip(*rounds, strict=True), strict=True):
                    seconds = statistics.median(times)
                    ratio = statistics.median(t / r[0] for t, r in zip(times, rounds, strict=True))
                    scored = 2e-9 * n_users * n_items * k / seconds  # as if every pair had been
                    rows.append([k, n, who, seconds, f"{n_users / seconds:,.0f}", scored, ratio])
                    runs.append({"factors": k, "n": n, "contestant": who, "seconds": times})
    title = f"Top n for {n_users:,} users of {n_items:,} items, seen items left out, {options.threads} threads"
    columns = ["factors", "n", "contestant", "s", "users/s", "GFLOP/s of scoring all", "x fastals"]
    report.save("topn", machine, [report.table(title, columns, rows)], runs, quick=options.quick)


if __name__ == "__main__":
    main()
