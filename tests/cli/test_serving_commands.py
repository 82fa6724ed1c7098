"""``fastals publish`` and ``fastals recommend``: catalogue, blocklist, titles, similar items, vectors."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest
from servers import Redis

import fastals
from fastals.cli._main import main
from fastals.serving import RedisRecommendations

ITEMS = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a model, and what is said of its items."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    users = np.array([f"-u{j}" for j in range(20)])[np.repeat(np.arange(20), 3)]
    model = fastals.ImplicitALS(factors=3, random_state=0).fit((users, np.array(ITEMS)[rng.integers(0, 6, 60)]))
    model.save("model")
    (tmp_path / "titles.csv").write_text('sku,name,price\na,"Ant, big",1\nb,A bee,2\nzebra,Zebra,9\n')
    (tmp_path / "catalogue.txt").write_text("a\nb\nc\nzebra\n")
    (tmp_path / "blocked.csv").write_text("sku\nc\n")
    return tmp_path


def ran(capfd, *argv):
    assert main([str(one) for one in argv]) == 0
    return capfd.readouterr().out


def test_publish_with_all_that_is_said_of_items(here, capfd):
    options = ["--catalogue", "catalogue.txt", "--blocklist", "blocked.csv", "--titles", "titles.csv"]
    told = ran(capfd, "publish", "model", "--to", "r.csv", "--n", 2, "--with-seen", "--popular", *options)
    assert "published lists of 20 users to r.csv, chosen from 2 items, unknown ids: 1 of the catalogue: " in told
    with open("r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["user"] for row in rows[:2]] == ["", ""]
    assert {(row["item"], row["title"]) for row in rows} == {("a", "Ant, big"), ("b", "A bee")}
    assert len(rows) == 2 * 21


def test_publish_similar_items_and_vectors(here, capfd):
    told = ran(capfd, "publish", "model", "--to", "s.jsonl", "--similar-items", "--n", 3, "--titles", "titles.csv")
    assert "published similar items to s.jsonl, items without a title: 4: " in told
    lines = [json.loads(line) for line in (here / "s.jsonl").read_text().splitlines()]
    model = fastals.load("model")
    assert {line["item"]: line["items"] for line in lines} == {
        item: model.similar_items(item, 3).items.tolist() for item in ITEMS
    }
    told = ran(
        capfd, "publish", "model", "--to", "v.parquet", "--vectors", "--metric", "l2", "--blocklist", "blocked.csv"
    )
    assert "published vectors of 5 items to v.parquet" in told
    table = pyarrow.parquet.read_table("v.parquet")
    assert table["item"].to_pylist() == ["a", "b", "d", "e", "f"]
    assert len(table["vector"][0]) == 4
    with pytest.raises(SystemExit):
        main(["publish", "model", "--to", "v.parquet", "--vectors", "--similar-items"])
    assert main(["publish", "model", "--to", "v.parquet", "--vectors", "--n", "3"]) == 1
    assert "n has no meaning for item_vectors" in capfd.readouterr().err
    assert main(["publish", "model", "--to", "v.csv", "--vectors"]) == 1


def test_publish_to_redis(here, capfd):
    pytest.importorskip("redis")
    server = Redis(here / "redis")
    try:
        for what in ((), ("--similar-items",), ("--vectors",)):
            told = ran(capfd, "publish", "model", "--to", server.url, "--prefix", "p", *what)
            assert f" to {server.url}, version " in told
        reader, model = RedisRecommendations(server.url, prefix="p"), fastals.load("model")
        assert reader.get("-u3", 2).items == [i for i in model.recommend("-u3", 2).items.tolist() if i]
        assert reader.similar("c", 2).items == model.similar_items("c", 2).items.tolist()
    finally:
        server.stop()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_recommend_with_titles(here, capfd, form):
    titles = {"a": "Ant, big", "b": "A bee"}
    for who in (["--user=-u3", "--user=-u4"], ["--all"]):
        out = ran(capfd, "recommend", "model", *who, "--titles", "titles.csv", "--n", 3, "--format", form)
        if form == "csv":
            pairs = [(row["item"], row["title"] or None) for row in csv.DictReader(out.splitlines())]
        else:
            lines = list(map(json.loads, out.splitlines()))
            pairs = [pair for line in lines for pair in zip(line["items"], line["titles"], strict=True)]
        assert pairs
        assert all(title == titles.get(item) for item, title in pairs)
    ran(capfd, "recommend", "model", "--all", "--titles", "titles.csv", "--title-column", "name", "--out", f"r.{form}")
    assert "A bee" in (here / f"r.{form}").read_text()
    assert main(["recommend", "model", "--all", "--titles", "titles.csv", "--title-column", "x"]) == 1
    assert "title column: 'x' is not there" in capfd.readouterr().err


def test_ids_that_begin_with_a_dash(here, capfd):
    out = ran(capfd, "recommend", "model", "--user=-u3", "--user=-u4", "--n", 1)
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["-u3", "-u4"]


def test_numbers_are_written_as_they_are(here, capfd):
    fastals.ImplicitALS(factors=2, random_state=0).fit(([-5, -5, 7], [1, 2, 1])).save("numbers")
    assert ran(capfd, "recommend", "numbers", "--user", -5, 7, "--n", 1, "--with-seen").count("\n") == 3
    assert main(["recommend", "numbers", "--user", "007"]) == 1
    assert "user must be a whole number" in capfd.readouterr().err


def test_report_with_titles(here, capfd):
    pytest.importorskip("matplotlib")
    ran(capfd, "report", "model", "--out", "r.html", "--titles", "titles.csv")
    page = (here / "r.html").read_text()
    assert "Ant, big" in page or "A bee" in page
    ran(capfd, "report", "model", "--out", "r.html")
    assert "A bee" not in (here / "r.html").read_text()
