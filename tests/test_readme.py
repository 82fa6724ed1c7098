"""What README.md shows is what happens."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from fastals._pipeline.settings import Pipeline
from fastals.cli._main import parser
from fastals.scoring import ScoreSpec

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ fastals (.*)$", README, re.MULTILINE)


def test_there_is_something_to_test():
    assert len(EXAMPLES) == README.count("```python") == 2
    assert len(COMMANDS) == 10


@pytest.mark.parametrize(("code", "output"), EXAMPLES, ids=["twelve lines", "classic"])
def test_example(code, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == output


def test_the_example_has_twelve_lines():
    assert len([line for line in EXAMPLES[0][0].splitlines() if line]) <= 12


def test_the_pipeline_is_understood(tmp_path):
    (tmp_path / "pipeline.toml").write_text(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0])
    pipeline = Pipeline.load(str(tmp_path / "pipeline.toml"))
    assert list(pipeline.spec.signals) == ["share", "liked", "disliked"]
    assert pipeline.keep_ids
    assert [target["to"] for target in pipeline.publish] == [str(tmp_path / "recommendations.parquet")]


def test_the_specification_may_be_a_file_of_its_own(tmp_path):
    section = re.findall(r"^\[score\]\n(.*?)^\[train\]", README, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "score.toml").write_text(section.replace("[score.", "["))
    assert list(ScoreSpec.load(tmp_path / "score.toml").signals) == ["share", "liked", "disliked"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command):
    parser().parse_args(shlex.split(command))
