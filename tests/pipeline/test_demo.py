"""The demo: small, quick, and better than the charts."""

import csv
import re

import pytest

import fastals
from fastals.__main__ import main
from fastals._pipeline import demo as _demo

SMALL = {"n_users": 300, "n_events": 15_000}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(_demo.run, "__kwdefaults__", _demo.run.__kwdefaults__ | SMALL)


def test_the_log(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        genre_of = _demo.write_events(str(tmp_path / name), seed=seed, **SMALL)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    rows = list(csv.DictReader((tmp_path / "a").read_text("utf-8").splitlines()))
    assert len(rows) == SMALL["n_events"]
    assert {row["song"] for row in rows} <= genre_of.keys()
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert all(0 <= int(row["played_seconds"]) <= int(row["song_seconds"]) for row in rows)
    assert len(genre_of) == 1200


def test_the_demo_finds_the_planted_tastes(small, tmp_path, capfd):
    assert main(["demo", "--quiet", "--keep", str(tmp_path / "kept")]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    figures = {m[1]: (float(m[2]), float(m[3])) for m in re.finditer(r"(\S+@10) +([\d.]+) +([\d.]+)", out)}
    assert set(figures) == {"precision@10", "recall@10", "ndcg@10", "hit_rate@10"}
    for ours, popular in figures.values():
        assert ours > 1.5 * popular
    assert out.count("loves") == 3
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "events.csv",
        "model",
        "pipeline.toml",
        "recommendations.parquet",
    ]
    assert fastals.load(tmp_path / "kept" / "model").factors == 32


def test_the_demo_tells_what_it_does(small, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(_demo.tempfile, "tempdir", None)
    assert main(["demo", "--seed", "3"]) == 0
    out, err = capfd.readouterr()
    assert "Wrote 15,000 plays" in out
    assert "trained   ImplicitALS" in out
    assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be(capfd, tmp_path):
    (tmp_path / "file").touch()
    assert main(["demo", "--keep", str(tmp_path / "file")]) == 1
    assert "file" in capfd.readouterr().err


def test_the_pipeline_file_is_what_was_run(small, tmp_path, capfd):
    assert main(["demo", "--quiet", "--keep", str(tmp_path)]) == 0
    factors = fastals.load(tmp_path / "model", mmap=False).user_factors_
    lists = (tmp_path / "recommendations.parquet").read_bytes()
    (tmp_path / "model").unlink()
    (tmp_path / "recommendations.parquet").unlink()
    capfd.readouterr()
    assert main(["run", str(tmp_path / "pipeline.toml")]) == 0
    told = [line.split()[0] for line in capfd.readouterr().out.splitlines() if line.rstrip().endswith("s)")]
    assert told == ["scored", "measured", "trained", "published"]
    assert (fastals.load(tmp_path / "model").user_factors_ == factors).all()
    assert (tmp_path / "recommendations.parquet").read_bytes() == lists


def test_the_demo_without_pyarrow(small, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("fastals._core.checks.find_spec", lambda name: None)
    assert main(["demo", "--keep", str(tmp_path)]) == 0
    assert "lists are written as JSON lines" in capfd.readouterr().out
    assert (tmp_path / "recommendations.jsonl").read_text().count("\n") > 200
