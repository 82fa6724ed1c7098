"""A pipeline that cannot be run: a clear error, what was there before still is, nothing is half-published."""

import json
import os
import subprocess
import sys

import pytest
from pipelines import SPEC, TRAIN, fails, write
from servers import Redis

from fastals.__main__ import main
from fastals._core import files
from fastals._files import batches


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[trian]\n", "'trian'"),
        ("[train]\nfaktors = 3\n", "[train] has no 'faktors'; it may have alpha, "),
        ("[train]\nfactors = 0\n", "factors must be >= 1"),
        ('[train]\nkind = "magic"\n', "kind must be one of 'implicit', 'explicit'"),
        ("[evaluate]\nfraction = 3\n", "[evaluate] has no 'fraction'"),
        ('[publish]\nto = "lists.txt"\n', "lists.txt"),
        ('[publish]\nto = "nowhere/lists.csv"\n', "nowhere"),
        ('[publish]\nto = "redis://127.0.0.1:1"\n', "redis://127.0.0.1:1 cannot be reached"),
        ("[publish]\nttll = 3\n", "[publish] has no 'ttll'"),
        ("[publish]\nn = 0\n", "[publish] n must be >= 1"),
        ('[publish]\nprefix = "a b"\n', "[publish] prefix must be"),
        ('[publish]\nscore_dtype = "float8"\n', "[publish] score_dtype must be one of"),
        ('[publish]\nwhat = "similar_items"\npopular = true\n', "[publish] popular has no meaning for similar_items"),
        ('[publish]\nwhat = "everything"\n', "[publish] what must be one of"),
        ('[report]\nout = "nowhere/r.html"\n', "nowhere"),
        ("publish = 3\n", "[publish] must be a table"),
        ("[", "pipeline.toml"),
    ],
)
def test_a_bad_pipeline_is_refused_before_the_work(directory, capfd, monkeypatch, text, reason):
    def never(*arguments, **options):
        raise AssertionError("the work has begun")

    monkeypatch.setattr(batches.Source, "batches", never)
    path = write(directory, text) if text.startswith("[") else directory / "pipeline.toml"
    if text == "publish = 3\n":
        path.write_text(text + '[events]\npath = "events"\n[score]\nspec = "score.toml"\n')
    assert reason in fails(capfd, "run", path)


@pytest.mark.parametrize("section", ["events", "score"])
def test_sections_that_must_be_there(directory, capfd, section):
    path = directory / "p.json"
    settings = {"events": {"path": "events"}, "score": {"spec": "score.toml"}}
    del settings[section]
    path.write_text(json.dumps(settings))
    assert f"section [{section}]" in fails(capfd, "run", path)


def test_an_unknown_signal(directory, capfd):
    (directory / "score.toml").write_text(SPEC + "[signals.loved]\n")
    err = fails(capfd, "run", write(directory, TRAIN))
    assert "signal 'loved'" in err
    assert "'plays'" in err
    assert not (directory / "model").exists()


def test_an_unreadable_partition_leaves_the_old_results(directory, capfd):
    pipeline = write(directory, TRAIN + '[publish]\nto = "lists.csv"\n')
    assert main(["run", pipeline, "--quiet"]) == 0
    before = {name: (directory / name).read_bytes() for name in ("model", "lists.csv")}
    part = directory / "events" / "day=1" / "part.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    assert "day=1/part.parquet" in fails(capfd, "run", pipeline)
    assert {name: (directory / name).read_bytes() for name in before} == before


def test_a_full_disk_leaves_the_old_model(directory, capfd, monkeypatch):
    pipeline = write(directory, TRAIN)
    assert main(["run", pipeline, "--quiet"]) == 0
    before = (directory / "model").read_bytes()
    real = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert "No space left on device" in fails(capfd, "run", pipeline)
    monkeypatch.setattr(files.os, "fsync", real)
    assert (directory / "model").read_bytes() == before
    assert not [name for name in os.listdir(directory) if name.endswith(".tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_disk_that_is_full_at_any_step(directory):
    """No file may grow beyond a limit: what each command was to write is as it was, and nothing is left behind."""
    before = directory / "model"
    assert main(["run", write(directory, TRAIN), "--quiet"]) == 0
    (directory / "old").write_text("old")
    events, spec, model = str(directory / "events"), str(directory / "score.toml"), str(before)
    commands = [
        ["score", events, "--spec", spec, "--out", "s.parquet"],
        ["score", events, "--spec", spec, "--out", "s.csv"],
        ["train", events, "--user", "who", "--item", "what", "--implicit", "--factors", "4", "--out", "m"],
        *(["publish", model, "--to", f"lists.{suffix}"] for suffix in ("parquet", "csv", "jsonl", "resp")),
        ["report", model, "--out", "r.html"],
    ]
    code = (
        "import json, resource, signal, sys\n"
        "from fastals.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "print([main([*command, '--quiet']) for command in json.loads(sys.argv[1])])\n"
    )
    work = directory / "work"
    work.mkdir()
    for command in commands:
        (work / command[-1]).write_text("old")
    names = sorted(os.listdir(work))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    run = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=work, env=environment, check=True)
    assert done.stdout == f"{[1] * len(commands)}\n"
    errors = done.stderr.splitlines()
    assert len(errors) == len(commands)
    for command, error in zip(commands, errors, strict=True):
        assert command[-1] in error
        assert "File too large" in error
        assert (work / command[-1]).read_text() == "old"
    assert sorted(os.listdir(work)) == names


def test_a_server_that_refuses_the_password(directory, tmp_path, capfd):
    server = Redis(tmp_path / "redis", "--requirepass", "secret")
    try:
        pipeline = write(directory, TRAIN + f'[publish]\nto = "{server.url}"\n')
        assert "refuses the user and password" in fails(capfd, "run", pipeline)
        assert not (directory / "model").exists()
    finally:
        server.stop()


def test_directories_of_mixed_formats(directory, capfd):
    (directory / "events" / "notes.csv").touch()
    err = fails(capfd, "run", write(directory, TRAIN))
    assert "notes.csv" in err or "part.parquet" in err
    assert "all alike" in err
