"""Ctrl-C on the command line: nothing is written over, and the exit code is 130."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupting import COMMAND, interrupted

import fastals
from fastals.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    users, items, plays = rng.integers(0, 200, 3000), rng.integers(0, 80, 3000), rng.integers(1, 6, 3000)
    rows = (f"u{user},{item},{count}" for user, item, count in zip(users, items, plays, strict=True))
    (tmp_path / "events.csv").write_text("\n".join(["user,item,plays", *rows, ""]))
    return tmp_path


@pytest.mark.parametrize("number", [3, 8], ids=["measured", "trained"])
def test_a_pipeline_leaves_model_and_lists(events: Path, number: int) -> None:
    pipeline = events / "pipeline.toml"
    text = """
        events = {path = "events.csv"}
        evaluate = {}
        score = {signals = {plays = {}}}
        train = {out = "model", factors = 4, iterations = 5, tol = "none", random_state = SEED}
        publish = {to = "lists.csv"}
    """
    pipeline.write_text(text.replace("SEED", "0"))
    assert main(["run", str(pipeline), "--quiet"]) == 0
    before = {name: (events / name).read_bytes() for name in ("model", "lists.csv")}
    pipeline.write_text(text.replace("SEED", "1"))
    code, out, err = interrupted(COMMAND, number, "run", pipeline)
    assert code == 130
    assert f"fastals: interrupted after {2 if number < 6 else number - 6} of 5 iterations" in err
    assert "trained" not in out
    assert "published" not in out
    assert before == {name: (events / name).read_bytes() for name in before}
    assert {path.name for path in events.iterdir()} == {"events.csv", "pipeline.toml", "model", "lists.csv"}


def test_a_scheduler_may_stop_a_run(events: Path) -> None:
    """By SIGTERM, as by Ctrl-C: no half of a file is left, and the summary says what has happened."""
    command: Any = ["train", events / "events.csv", "--implicit", "--rating", "plays", "--out", events / "model"]
    code, _, err = interrupted(COMMAND, 3, *command, "--summary", events / "s.json", by=signal.SIGTERM)
    assert (code, err) == (130, "fastals: interrupted after 2 of 15 iterations\n")
    assert json.loads((events / "s.json").read_text())["status"] == "interrupted"
    assert {path.name for path in events.iterdir()} == {"events.csv", "s.json"}


def test_signals_are_the_callers_again(events: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["info", str(events / "no model")]) == 1
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("kind", ["--explicit", "--implicit"])
def test_train_leaves_the_model_and_goes_on_from_a_checkpoint(events: Path, kind: str) -> None:
    model, point = events / "model", events / "point"
    command: Any = ["train", events / "events.csv", kind, "--rating", "plays", "--factors", 4, "--iterations", 9]
    command = [*map(str, [*command, "--tol", "none", "--out", model]), "--quiet"]
    assert main([*command, "--seed", "0"]) == 0
    before = model.read_bytes()
    code, _, err = interrupted(COMMAND, 4, *command, "--seed", "1")
    assert (code, err) == (130, "fastals: interrupted after 3 of 9 iterations\n")
    assert model.read_bytes() == before
    code, _, err = interrupted(COMMAND, 8, *command, "--seed", "1", "--checkpoint", point)
    assert code == 130
    assert err.startswith("fastals: interrupted after 7 of 9 iterations; the same call goes on from checkpoint")
    assert model.read_bytes() == before
    assert main([*command, "--seed", "1", "--checkpoint", str(point)]) == 0
    went_on = fastals.load(model)
    assert main([*command, "--seed", "1"]) == 0
    np.testing.assert_array_equal(went_on.item_factors_, fastals.load(model).item_factors_)


def test_an_evaluation_of_a_trained_model_is_no_fit_of_it(events: Path) -> None:
    """The comparison that train ends with is a fit of another model: the first one is written already."""
    model = events / "model"
    command: Any = [
        "train",
        events / "events.csv",
        "--implicit",
        "--rating",
        "plays",
        "--iterations",
        3,
        "--out",
        model,
    ]
    code, out, _ = interrupted(COMMAND, 5, *command, "--tol", "none", "--factors", 4)
    assert code == 130
    assert "wrote" in out
    assert fastals.load(model).n_iter_ == 3
