"""Do the presets compute what the libraries compute?  python bench/parity.py

For each preset and library the largest difference of a factor, relative to the largest factor of its side, after
ITERATIONS from the same initial factors, both sides exact. Where a library takes no start (cmfrec), its own fit gives
the items' factors, and the users' rows, which it solves last, are compared with the preset's solution for them.
Spark's start is its model after no iterations. A library that is not installed for this interpreter is said to be
missing; one that wants an environment of its own has it in bench/.venv-<library>.

Ends with an error where a difference exceeds LIMIT.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import on_spark
import peers
import report
from scipy import sparse

ITERATIONS, FACTORS, LIMIT = 3, 8, 1e-4

Arrays = dict[str, np.ndarray]


class Case(NamedTuple):
    library: str
    feedback: str
    preset: str
    parameters: dict[str, Any]


CASES = [
    Case("pyspark", "explicit", "spark", {"regularization": 0.1}),
    Case("pyspark", "implicit", "spark", {"regularization": 0.1, "alpha": 2.0}),
    Case("implicit", "implicit", "implicit", {"regularization": 0.5, "alpha": 2.0}),
    Case("cmfrec", "explicit", "cmfrec", {"regularization": 2.0, "biases": False}),
    Case("cmfrec", "explicit", "cmfrec", {"regularization": 2.0, "biases": True}),
    Case("cmfrec", "implicit", "cmfrec", {"regularization": 2.0, "alpha": 3.0}),
    Case("irspack", "implicit", "irspack", {"regularization": 0.01, "unobserved_weight": 0.3}),
    Case("irspack", "implicit", "irspack-original", {"regularization": 0.01, "unobserved_weight": 0.3}),
    Case("lenskit", "explicit", "lenskit", {"regularization": 0.1}),
    Case("lenskit", "implicit", "lenskit", {"regularization": 0.5, "alpha": 10.0}),
    Case("lenskit", "implicit", "lenskit-ratings", {"regularization": 0.5, "alpha": 2.0}),
    Case("buffalo", "implicit", "buffalo", {"regularization": 0.5, "alpha": 2.0}),
]


def ratings() -> sparse.csr_array:
    """Users and items of very different numbers of ratings, each at least one."""
    rng = np.random.default_rng(0)
    n_users, n_items = 300, 120
    chance = np.outer(rng.lognormal(size=n_users), rng.lognormal(size=n_items)) / 15
    stored = rng.random((n_users, n_items)) < chance
    stored[np.arange(n_users), np.arange(n_users) % n_items] = True
    return sparse.csr_array((stored * rng.integers(1, 6, stored.shape)).astype(np.float32))


def start(A: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X, Y = (rng.standard_normal((n, FACTORS), np.float32) / np.float32(FACTORS**0.5) for n in A.shape)
    return X, Y


# ---------------------------------------------------------------------------------------------------------------------
# the libraries: factors X and Y after ITERATIONS, and the start X0 and Y0 where it was their own; or, of those that
# take no start, the users' rows X and what they are a function of


def implicit(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    from implicit.cpu.als import AlternatingLeastSquares

    p = case.parameters
    model = AlternatingLeastSquares(
        factors=FACTORS,
        regularization=p["regularization"],
        alpha=p["alpha"],
        use_cg=False,
        iterations=ITERATIONS,
        num_threads=1,
    )
    model.user_factors, model.item_factors = X, Y
    model.fit(sparse.csr_matrix(A), show_progress=False)
    return {"X": model.user_factors, "Y": model.item_factors}


def irspack(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

    trainer = IALSTrainer(
        sparse.csr_matrix(A),
        n_components=FACTORS,
        alpha0=case.parameters["unobserved_weight"],
        reg=case.parameters["regularization"],
        nu=1.0,
        init_std=0.1,
        solver_type=SolverType.CHOLESKY,
        max_cg_steps=3,
        ialspp_subspace_dimension=64,
        loss_type=LossType.ORIGINAL if case.preset == "irspack-original" else LossType.IALSPP,
        random_seed=0,
        n_threads=1,
        prediction_time_max_cg_steps=5,
        prediction_time_ialspp_iteration=7,
    )
    core = trainer.core_trainer
    core.user, core.item = X, Y
    for _ in range(ITERATIONS):
        trainer.run_epoch()
    return {"X": core.user, "Y": core.item}


def cmfrec(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    import cmfrec

    common: dict[str, Any] = {"k": FACTORS, "lambda_": case.parameters["regularization"], "niter": ITERATIONS}
    common |= {"use_cg": False, "precompute_for_predictions": False, "verbose": False, "nthreads": 1, "use_float": True}
    if case.feedback == "implicit":
        model = cmfrec.CMF_implicit(alpha=case.parameters["alpha"], **common)
    else:
        biases = case.parameters["biases"]
        model = cmfrec.CMF(user_bias=biases, item_bias=biases, center=True, **common)
    model.fit(sparse.coo_matrix(A))
    found = {"X": model.A_, "others": model.B_}
    if case.feedback == "explicit":
        found["mean"] = np.array(float(model.glob_mean_))
        if biases:
            found |= {"X": np.column_stack((model.A_, model.user_bias_)), "other_biases": model.item_bias_}
    return found


def lenskit(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    import pandas
    from lenskit.als import BiasedMFScorer, ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    cells = A.tocoo()
    data = from_interactions_df(pandas.DataFrame({"user_id": cells.row, "item_id": cells.col, "rating": cells.data}))
    common = {"embedding_size": FACTORS, "epochs": ITERATIONS, "regularization": case.parameters["regularization"]}
    if case.feedback == "explicit":
        scorer: Any = BiasedMFScorer(**common)
    else:
        scorer = ImplicitMFScorer(
            weight=case.parameters["alpha"], use_ratings=case.preset == "lenskit-ratings", **common
        )
    trainer = scorer.create_trainer(data, TrainingOptions(rng=0))
    trainer.load_parameters({"user_embeddings": X, "item_embeddings": Y})
    for _ in range(ITERATIONS):
        trainer.train_epoch()
    return {"X": scorer.user_embeddings, "Y": scorer.item_embeddings}


def buffalo(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    found: Arrays = {}

    def after(seconds: float, P: np.ndarray | None = None, Q: np.ndarray | None = None) -> None:
        if P is not None and Q is not None:
            found.update(X=P.copy(), Y=Q.copy())

    problem = peers.Problem(
        "buffalo",
        "",
        FACTORS,
        ITERATIONS,
        threads=1,
        regularization=case.parameters["regularization"],
        alpha=case.parameters["alpha"],
    )
    peers.buffalo(problem, A, X, Y, after)
    return found


def pyspark(case: Case, A: sparse.csr_array, X: np.ndarray, Y: np.ndarray) -> Arrays:
    problem = peers.Problem(
        "spark",
        "",
        FACTORS,
        ITERATIONS,
        feedback=case.feedback,
        regularization=case.parameters["regularization"],
        alpha=case.parameters.get("alpha", 1.0),
    )
    found: Arrays = {}
    with tempfile.TemporaryDirectory() as folder, on_spark.session(1, folder) as session:
        frame = on_spark.frame(session, A, folder)
        for names, iterations in ((("X0", "Y0"), 0), (("X", "Y"), ITERATIONS)):
            model = peers.spark_als(problem, iterations).fit(frame)
            found |= dict(zip(names, on_spark.factors(model, A.shape, FACTORS), strict=True))
    return found


LIBRARIES: dict[str, Callable[[Case, sparse.csr_array, np.ndarray, np.ndarray], Arrays]] = {
    f.__name__: f for f in (implicit, irspack, cmfrec, lenskit, buffalo, pyspark)
}

# ---------------------------------------------------------------------------------------------------------------------
# the comparison


def ask(case: Case) -> Arrays | None:
    """The library's answer, from a process of its own; None where it is not installed."""
    python = peers.interpreter(case.library)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.npz"
        done = subprocess.run(
            [python, __file__, json.dumps(case), str(path)], env=environment, capture_output=True, text=True
        )
        if path.exists():
            with np.load(path) as answer:
                return dict(answer)
    if done.returncode:
        raise RuntimeError(f"{case}\n{done.stderr[-3000:]}")
    return None


def answer(case: Case, path: str) -> None:
    """What the process of one library does: writes its answer, or nothing where it is not installed."""
    if importlib.util.find_spec(case.library) is not None:
        A = ratings()
        np.savez(path, **LIBRARIES[case.library](case, A, *start(A)))


def difference(case: Case, found: Arrays) -> float:
    import fastals

    A, kind = ratings(), fastals.ExplicitALS if case.feedback == "explicit" else fastals.ImplicitALS
    model = kind.from_preset(case.preset, factors=FACTORS, iterations=ITERATIONS, num_threads=1, **case.parameters)
    if "others" in found:
        biases = None
        if "other_biases" in found:
            biases = np.zeros(A.shape[0], np.float32), found["other_biases"].astype(np.float32)
        model.set_params(iterations=0).fit(A)
        given = {"item_factors": found["others"], "mean": float(found.get("mean", 0)), "biases": biases}
        model._state = replace(model.state_, **given)
        return largest(model.fold_in(A), found["X"])
    model.fit(A, initial_factors=(found["X0"], found["Y0"]) if "X0" in found else start(A))
    return max(largest(model.user_factors_, found["X"]), largest(model.item_factors_, found["Y"]))


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def library_version(name: str) -> str:
    """As its own interpreter sees it."""
    program = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    done = subprocess.run([peers.interpreter(name), "-c", program], capture_output=True, text=True, check=True)
    return f"{name} {done.stdout.strip()}"


def main() -> None:
    machine, rows, worst = report.machine(), [], 0.0
    for case in CASES:
        found = ask(case)
        feedback = case.feedback + ", with biases" * case.parameters.get("biases", False)
        if found is None:
            rows.append([case.preset, feedback, f"{case.library}: not installed", None])
            continue
        one = difference(case, found)
        worst = max(worst, one)
        rows.append([case.preset, feedback, library_version(case.library), one])
    title = f"Largest relative difference of a factor after {ITERATIONS} iterations from the same start, float32"
    columns = ["preset", "feedback", "library", "difference"]
    runs = [case._asdict() for case in CASES]
    report.save("parity", machine, [report.table(title, columns, rows)], runs, quick="--quick" in sys.argv)
    if worst > LIMIT:
        raise SystemExit(f"a difference of {worst:.1e} exceeds {LIMIT}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        answer(Case(*json.loads(sys.argv[1])), sys.argv[2])
    else:
        main()
