"""What the pages in docs/ show is what happens, and where they point, there is something."""

import doctest
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastals.__main__ import main
from fastals.cli._main import parser

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def check_examples(page, **names):
    """All blocks of a page, in order, as one session."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert all(">>>" in block for block in blocks)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), names, page.name, str(page), 0)
    assert len(test.examples) == text.count(">>> ")
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "spark"], ids=lambda page: page.stem)
def test_examples(page):
    check_examples(page)  # tests/spark has the session that the page left out needs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page):
    for line in re.findall(r"^\$ (fastals .*)$", page.read_text("utf-8"), re.MULTILINE):
        for command in line.split(" && "):
            if command.startswith("fastals "):
                parser().parse_args(shlex.split(command)[1:])


def test_the_pipeline_of_each_night(tmp_path, capfd):
    """Production's, as it stands there: run, compared, published."""
    text = (DOCS / "production.md").read_text("utf-8")
    (tmp_path / "pipeline.toml").write_text(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0], "utf-8")
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user": rng.integers(0, 60, 3000), "item": (40 * rng.random(3000) ** 2).astype(int)})
    log["item"] = (log["item"] + log["user"] % 2 * 40).map("sku-{}".format)
    log["event"] = rng.choice(["view", "purchase"], 3000)
    log["time"] = 1_743_465_600_000 - rng.integers(0, 40 * 86_400_000, 3000)
    (tmp_path / "log").mkdir()
    log.to_csv(tmp_path / "log" / "1.csv", index=False)
    (tmp_path / "catalogue.csv").write_text("item\n" + "".join(f"sku-{i}\n" for i in range(70)))
    (tmp_path / "blocklist.txt").write_text("sku-3\n")
    (tmp_path / "titles.csv").write_text("item,title\n" + "".join(f"sku-{i},no. {i}\n" for i in range(80)))
    run, model, fresh = ["run", str(tmp_path / "pipeline.toml")], tmp_path / "model", tmp_path / "fresh"
    assert main(run) == 0
    assert main([*run, "--set", "train.out=fresh", "--until", "train"]) == 0
    assert main(["compare", str(model), str(fresh), "--min-overlap", "0.3"]) == 0
    fresh.rename(model)
    assert main([*run, "--from", "publish", "--set", "to=lists.csv"]) == 0
    assert capfd.readouterr().err == ""
    lists = pd.read_csv(tmp_path / "lists.csv")
    assert set(lists["item"]) <= {f"sku-{i}" for i in range(70)} - {"sku-3"}
    assert not set(zip(lists["user"], lists["item"], strict=True)) & set(zip(log["user"], log["item"], strict=True))


def test_most_pages_have_examples():
    assert sum(">>>" in page.read_text("utf-8") for page in PAGES) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (DOCS / target).exists(), target
