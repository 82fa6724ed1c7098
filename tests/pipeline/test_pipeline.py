"""`fastals run`, and the commands it is made of: on local files, on a real HDFS, on S3, to a real Redis."""

import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from pipelines import TRAIN, fails, log, write
from servers import S3, Hdfs, Redis

import fastals
from fastals.__main__ import main
from fastals._equation.settings import TOLERANCE
from fastals._files.storage import locate
from fastals._pipeline import settings as _pipeline
from fastals.serving import RedisRecommendations


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
        ("prior = 1", "[train] prior must be true or false without quotes, or the path of a model, got 1"),
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


def test_vectors_are_drawn_to_those_of_the_night_before(directory, capfd):
    pipeline = write(directory, TRAIN + 'out = "model"\nprior = true\n[evaluate]\nk = 5\n')
    assert main(["run", pipeline]) == 0
    assert "vectors are drawn to none" in capfd.readouterr().err
    old = fastals.load(directory / "model", mmap=False)
    assert old.prior_strength_ is None
    pa.parquet.write_table(log(seed=1, prefix="a"), directory / "events" / "day=1" / "more.parquet")
    assert main(["run", pipeline, "--set", "train.prior_strength=[2.0, 3.0]"]) == 0
    assert "prior_strength=(2, 3)" in capfd.readouterr().out
    new = fastals.load(directory / "model", mmap=False)
    assert new.prior_strength_ == (2, 3)
    known = np.isin(new.users_, old.users_)
    assert 0 < known.sum() < len(known)
    np.testing.assert_array_equal(new.state_.priors[0].means[known], old.user_factors_)
    # a file of its own; and a night without
    (directory / "model").rename(directory / "first")
    assert main(["run", pipeline, "--quiet", "--set", 'train.prior="first"']) == 0
    assert fastals.load(directory / "model").prior_strength_ == (1, 1)
    assert main(["run", pipeline, "--quiet", "--set", "train.prior=false", "--set", "train.prior_strength=2"]) == 0
    assert fastals.load(directory / "model").prior_strength_ is None
    assert "[train] prior must be a model of the same factors" in fails(
        capfd, "run", pipeline, "--quiet", "--set", "train.factors=5"
    )
    assert fastals.load(directory / "model").factors == 4
    without = write(directory, TRAIN + "prior_strength = 2\n")
    assert "[train] prior_strength needs prior" in fails(capfd, "run", without)


def test_pipelines_are_found_in_every_format(directory):
    yaml = "events: {path: events}\nscore: {spec: score.toml}\ntrain: {factors: 3}\n"
    (directory / "p.yaml").write_text(yaml)
    (directory / "p.json").write_text(json.dumps({"events": {"path": "events"}, "score": {"spec": "score.toml"}}))
    assert _pipeline.Pipeline.load(str(directory / "p.yaml")).model.factors == 3
    assert _pipeline.Pipeline.load(str(directory / "p.json")).out == str(directory / "model")


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
