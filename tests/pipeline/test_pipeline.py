"""`fastals run`, and the commands it is made of: on local files, on a real HDFS, on S3, to a real Redis."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from servers import S3, Hdfs, Redis

import fastals
from fastals.__main__ import main
from fastals._core import files
from fastals._equation.settings import TOLERANCE
from fastals._files import batches
from fastals._files.storage import locate
from fastals._pipeline import settings as _pipeline
from fastals.serving import RedisRecommendations

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


@pytest.fixture
def directory(tmp_path):
    events = tmp_path / "events"
    for day, part in enumerate((log().slice(0, 2500), log().slice(2500))):
        (events / f"day={day}").mkdir(parents=True)
        pa.parquet.write_table(part, events / f"day={day}" / "part.parquet")
    (tmp_path / "score.toml").write_text(SPEC)
    return tmp_path


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


def lists_of(path, filesystem=None):
    table = pa.parquet.read_table(path, filesystem=filesystem)
    return dict(zip(table["user"].to_pylist(), table["items"].to_pylist(), strict=True))


def expected(model, n):
    return {
        user: items[np.isfinite(scores)].tolist()
        for users, all_items, all_scores in model.recommend_all(n)
        for user, items, scores in zip(users, all_items, all_scores, strict=True)
    }


# --- the whole ------------------------------------------------------------------------------------------------------


def test_without_a_server_it_writes_parquet(directory, capfd):
    assert main(["run", write(directory, TRAIN + "[evaluate]\nk = 5\n[report]\n")]) == 0
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("fastals: note: the default settings are new in this version, and are regularization=0.0")
    assert f"unobserved_weight=1, confidence='log', tol={TOLERANCE:.6g}" in err
    assert "confidence='log'" in out
    for step in ("scored    4,000 events of 200 users with 50 items", "measured", "trained   ImplicitALS(factors=4"):
        assert step in out
    assert re.search(r"published lists of 200 users to .*recommendations\.parquet: [\d,]+ users/s", out)
    model = fastals.load(directory / "model")
    assert lists_of(directory / "recommendations.parquet") == expected(model, 20)
    assert model.scoring_["signals"]["liked"] == {"weight": 3}
    page = (directory / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 3
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)


def test_settings_that_are_stated_need_no_note(directory, capfd):
    for value in ('"auto"', "0.1"):
        assert main(["run", write(directory, TRAIN + f"regularization = {value}\n")]) == 0
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("value", "tol"), [('"none"', None), ('"None"', None), ("false", None), ("0", 0), ("0.5", 0.5)]
)
def test_tol_of_none(directory, value, tol):
    model = _pipeline.Pipeline.load(write(directory, TRAIN + f"tol = {value}\n")).model
    assert model.tol == tol
    assert type(model.tol) is type(tol)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('kind = "explicit"\nbiases = "true"', '[train] biases must be true or false without quotes, or "auto", got'),
        ('nonnegative = "false"', "[train] nonnegative must be true or false without quotes, got 'false'"),
        ('keep_ids = "no"', "[train] keep_ids must be true or false without quotes, got 'no'"),
        ("keep_ids = 1", "[train] keep_ids must be true or false without quotes, got 1"),
    ],
)
def test_booleans_have_no_quotes(directory, line, rule):
    with pytest.raises(fastals.ParameterError, match=re.escape(rule)):
        _pipeline.Pipeline.load(write(directory, TRAIN + line + "\n"))


def test_the_commands_one_by_one_give_the_same(directory, capfd):
    assert main(["run", write(directory, TRAIN + '[publish]\nto = "lists.jsonl"\nn = 5\n'), "--quiet"]) == 0
    scores, model = directory / "scores.parquet", directory / "model2"
    spec = str(directory / "score.toml")
    fit = ["--implicit", "--factors", "4", "--iterations", "2", "--seed", "0", "--quiet", "--out"]
    commands = [
        ["score", str(directory / "events"), "--spec", spec, "--out", str(scores), "--quiet"],
        ["train", str(scores), "--user", "who", "--item", "what", *fit, str(model)],
        ["publish", str(model), "--to", str(directory / "lists2.jsonl"), "--n", "5", "--quiet"],
        ["recommend", str(model), "--all", "--n", "5", "--out", str(directory / "lists3.jsonl"), "--quiet"],
    ]
    for command in commands:
        assert main(command) == 0
    assert capfd.readouterr() == ("", "")
    one, other = fastals.load(model), fastals.load(directory / "model")
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    assert one.scoring_ == other.scoring_
    for name in ("lists2.jsonl", "lists3.jsonl"):
        assert (directory / name).read_text() == (directory / "lists.jsonl").read_text()
    held_out = directory / "held_out.parquet"
    pa.parquet.write_table(log(400, seed=9), held_out)
    assert main(["evaluate", str(model), str(held_out), "--user", "who", "--item", "what"]) == 0
    assert main(["info", str(model)]) == 0
    assert "'liked': {'weight': 3}" in capfd.readouterr().out
    report = str(directory / "r.html")
    assert main(["report", str(model), str(held_out), "--user", "who", "--item", "what", "--out", report]) == 0
    assert "ndcg@10" in (directory / "r.html").read_text()
    assert main(["report", str(model), "--out", report, "--quiet"]) == 0
    assert "Not measured" in (directory / "r.html").read_text()


def test_events_as_csv_without_a_header_and_as_json(directory, capfd):
    table = log()
    rows = table.to_pylist()
    (directory / "log.txt").write_text("".join(f"{r['who']}|{r['what']}|{r['plays']}|{r['liked']}\n" for r in rows))
    (directory / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = ["--spec", str(directory / "score.toml"), "--quiet", "--out"]
    assert main(["score", str(directory / "events"), *spec, str(directory / "a.parquet")]) == 0
    assert main(["score", str(directory / "log.jsonl"), *spec, str(directory / "b.parquet")]) == 0
    options = ["--delimiter", "|", "--columns", "who,what,plays,liked", "--format", "csv"]
    assert main(["score", str(directory / "log.txt"), *spec, str(directory / "c.parquet"), *options]) == 0
    a, b, c = (pa.parquet.read_table(directory / f"{name}.parquet") for name in "abc")
    assert a.equals(b)
    assert a.equals(c)


def test_to_redis_and_a_file_at_once(directory, tmp_path, capfd):
    server = Redis(tmp_path / "redis")
    try:
        publish = f'[[publish]]\nto = "{server.url}"\nn = 7\nprefix = "songs"\n[[publish]]\nto = "lists.csv"\n'
        assert main(["run", write(directory, TRAIN + publish)]) == 0
        wanted = expected(fastals.load(directory / "model"), 7)
        reader = RedisRecommendations(server.url, prefix="songs")
        assert {user: reader.get(user).items for user in wanted} == wanted
        assert (directory / "lists.csv").exists()
        assert f"version {reader.version}" in capfd.readouterr().out
    finally:
        server.stop()


def test_ids_keep_their_place(directory, capfd):
    pipeline = write(directory, TRAIN + 'keep_ids = true\nout = "model"\n')
    assert main(["run", pipeline, "--quiet"]) == 0
    old = fastals.load(directory / "model", mmap=False)
    pa.parquet.write_table(log(seed=1, prefix="a"), directory / "events" / "day=1" / "more.parquet")
    assert main(["run", pipeline, "--quiet"]) == 0
    new = fastals.load(directory / "model")
    assert new.users_[: len(old.users_)].tolist() == old.users_.tolist()
    assert len(new.users_) == 400
    assert new.users_[-1].startswith("a-")
    assert lists_of(directory / "recommendations.parquet") == expected(new, 20)


# --- string labels, through a new process ---------------------------------------------------------------------------

LABELS = {
    "unicode": ["Ä", "日本", "🎵", "e\u0301", "é"],
    "empty-looking": [" ", "null", "NaN", "None", "\u200b"],
    "long": ["x" * 70_000 + str(i) for i in range(5)],
    "numeric-looking": ["007", "7", "7.0", "1e3", "-0"],
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_round_trip_through_processes(tmp_path, kind):
    labels = LABELS[kind]
    users, items = labels * 2, labels + labels[1:] + labels[:1]
    pa.parquet.write_table(pa.table({"user": users, "item": items}), tmp_path / "events.parquet")
    (tmp_path / "pipeline.toml").write_text(
        '[events]\npath = "events.parquet"\n[score.signals."*"]\n[train]\nfactors = 2\nrandom_state = 0\n'
    )
    run = [sys.executable, "-m", "fastals"]
    subprocess.run([*run, "run", str(tmp_path / "pipeline.toml"), "--quiet"], check=True)
    code = (
        "import fastals, json, sys\n"
        "model = fastals.load(sys.argv[1])\n"
        "every = json.load(open(sys.argv[2]))\n"
        "print(json.dumps([model.users_.tolist(), model.items_.tolist(),"
        " model.recommend(every, 5, exclude_seen=False).items.tolist()]))\n"
    )
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    command = [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "labels.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found_users, found_items, lists = json.loads(done.stdout)
    assert found_users == found_items == sorted(labels)
    assert all(sorted(row) == sorted(labels) for row in lists)
    assert lists_of(tmp_path / "recommendations.parquet").keys() == set(labels)


# --- other file systems ---------------------------------------------------------------------------------------------


def everything_at(root, directory, capfd):
    """Run the pipeline with all files at `root`; the results are those of local files."""
    assert main(["run", write(directory, TRAIN), "--quiet"]) == 0
    place = locate(f"{root}/events")
    for day in (0, 1):
        place.filesystem.create_dir(f"{place.path}/day={day}", recursive=True)
        with place.filesystem.open_output_stream(f"{place.path}/day={day}/part.parquet") as file:
            file.write((directory / "events" / f"day={day}" / "part.parquet").read_bytes())
    (directory / "remote.toml").write_text(
        f'[events]\npath = "{root}/events"\n[score]\nspec = "score.toml"\nout = "{root}/scores.parquet"\n'
        + TRAIN
        + f'out = "{root}/model"\nkeep_ids = true\n[publish]\nto = "{root}/out/lists.parquet"\n'
    )
    for _ in range(2):  # the second time over the files of the first
        assert main(["run", str(directory / "remote.toml"), "--quiet"]) == 0
    out = locate(f"{root}/out")
    assert lists_of(f"{out.path}/lists.parquet", out.filesystem) == lists_of(directory / "recommendations.parquet")
    names = out.filesystem.get_file_info(pa.fs.FileSelector(out.path))
    assert [info.base_name for info in names] == ["lists.parquet"]
    data = fastals.Interactions.from_parquet(f"{root}/scores.parquet", user="who", item="what")
    assert data.n_users == 200
    assert main(["info", f"{root}/model"]) == 0
    assert "200, user-0" in capfd.readouterr().out
    assert "nowhere" in fails(capfd, "info", f"{root}/nowhere")
    with pytest.raises(fastals.FileFormatError, match="nowhere"):
        fastals.Interactions.from_parquet(f"{root}/nowhere.parquet")


def test_s3(directory, monkeypatch, capfd):
    server = S3(monkeypatch)
    try:
        everything_at(f"s3://{server.bucket}/songs", directory, capfd)
    finally:
        server.stop()


def test_hdfs(directory, tmp_path, capfd):
    server = Hdfs(tmp_path / "hdfs")
    try:
        everything_at(f"{server.url}/songs", directory, capfd)
    finally:
        server.stop()


# --- bad input: a clear error, nothing half-published ---------------------------------------------------------------


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


def test_pipelines_are_found_in_every_format(directory):
    yaml = "events: {path: events}\nscore: {spec: score.toml}\ntrain: {factors: 3}\n"
    (directory / "p.yaml").write_text(yaml)
    (directory / "p.json").write_text(json.dumps({"events": {"path": "events"}, "score": {"spec": "score.toml"}}))
    assert _pipeline.Pipeline.load(str(directory / "p.yaml")).model.factors == 3
    assert _pipeline.Pipeline.load(str(directory / "p.json")).out == str(directory / "model")
