"""What README.md shows is what happens."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastals.__main__ import main
from fastals._pipeline.settings import Pipeline
from fastals.cli._main import parser
from fastals.scoring import ScoreSpec

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ fastals (.*)$", README, re.MULTILINE)


def test_there_is_something_to_test():
    assert len(EXAMPLES) == README.count("```python") == 2
    assert len(COMMANDS) == 14
    assert README.count("```py\n") == 1


@pytest.mark.parametrize(("code", "output"), EXAMPLES, ids=["twelve lines", "classic"])
def test_example(code, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == output


def test_the_example_has_twelve_lines():
    assert len([line for line in EXAMPLES[0][0].splitlines() if line]) <= 12


def test_from_a_csv_in_five_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [(u, i, rng.integers(1, 6)) for u in range(40, 60) for i in rng.permutation(30)[:12].tolist()]
    Path("ratings.csv").write_text("userId,itemId,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    code = re.findall(r"```py\n(.*?)```", README, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(code, {})
    listed = set(map(int, re.findall(r"\d+", capsys.readouterr().out)))
    assert len(listed) == 10
    assert not listed & {i for u, i, _ in rows if u == 42}


def test_the_pipeline_runs(tmp_path):
    """On a log with events as it says: the catalogue is kept to, what was had or sent back is in no list."""
    (tmp_path / "pipeline.toml").write_text(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0])
    pipeline = Pipeline.load(str(tmp_path / "pipeline.toml"))
    assert list(pipeline.spec.signals) == ["view", "purchase", "return"]
    rng = np.random.default_rng(1)
    log = pd.DataFrame({"user": rng.integers(0, 60, 3000), "item": (40 * rng.random(3000) ** 2).astype(int)})
    log["item"] = (log["item"] + log["user"] % 2 * 40).map("sku-{}".format)
    log["event"] = rng.choice(["view", "purchase", "return"], 3000, p=[0.8, 0.15, 0.05])
    log["time"] = pd.Timestamp("2025-04-01") - pd.to_timedelta(rng.random(3000) * 40, "D")
    (tmp_path / "events").mkdir()
    log.to_csv(tmp_path / "events" / "log.csv", index=False)
    catalogue = [f"sku-{i}" for i in range(0, 80, 2)]
    (tmp_path / "catalogue.csv").write_text("item\n" + "\n".join(catalogue) + "\n")
    (tmp_path / "titles.csv").write_text("item,title\n" + "".join(f"{item},the {item}\n" for item in catalogue))
    assert main(["run", str(tmp_path / "pipeline.toml"), "--set", "train.factors=4", "--quiet"]) == 0
    lists = pd.read_parquet(tmp_path / "recommendations.parquet").explode(["items", "titles"]).dropna()
    assert len(lists) > 100
    assert set(lists["items"]) <= set(catalogue)
    assert (lists["titles"] == "the " + lists["items"]).all()
    assert not set(zip(lists["user"], lists["items"], strict=True)) & set(zip(log["user"], log["item"], strict=True))
    assert "sku-" in (tmp_path / "report.html").read_text("utf-8")


def test_the_specification_may_be_a_file_of_its_own(tmp_path):
    section = re.findall(r"^\[score\]\n(.*?)^\[train\]", README, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "score.toml").write_text(section.replace("[score.", "["))
    assert list(ScoreSpec.load(tmp_path / "score.toml").signals) == ["view", "purchase", "return"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    parser().parse_args(shlex.split(command))
