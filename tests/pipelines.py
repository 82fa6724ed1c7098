"""A small log, and pipelines that score it: what the tests of pipelines share."""

import numpy as np
import pyarrow as pa

from fastals.__main__ import main

SPEC = 'user = "who"\nitem = "what"\n[signals.plays]\ntransform = "log1p"\n[signals.liked]\nweight = 3\n'
TRAIN = "[train]\nfactors = 4\niterations = 2\nrandom_state = 0\n"


def log(n=4000, seed=0, prefix="user"):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "who": [f"{prefix}-{u}" for u in rng.integers(0, 200, n)],
            "what": [f"item {i}" for i in (50 * rng.random(n) ** 2).astype(int)],
            "plays": rng.integers(1, 9, n),
            "liked": rng.random(n) < 0.1,
        }
    )


def write(directory, text):
    path = directory / "pipeline.toml"
    path.write_text('[events]\npath = "events"\n[score]\nspec = "score.toml"\n' + text)
    return str(path)


def fails(capfd, *argv):
    assert main([str(a) for a in argv]) == 1
    err = capfd.readouterr().err
    assert err.startswith("fastals: error: ")
    assert err.count("\n") == 1
    return err
