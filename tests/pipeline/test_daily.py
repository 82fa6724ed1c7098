"""`fastals run` as a scheduler starts it: parameters, what it leaves as JSON, exit codes, what it tells, gates."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest

import fastals
from fastals.evaluation import evaluate, train_test_split
from fastals.scoring import SQL, ScoreSpec, score

PIPELINE = """
[parameters]
region = "eu"
factors = 4
[events]
path = "~/events/${region}/${date-1:%Y-%m-%d}.csv"
[score]
minimum = 0.5
[score.signals.plays]
[train]
factors = "${factors}"
iterations = 3
regularization = "auto"
random_state = 0
out = "model-${region}"
[evaluate]
test_fraction = 0.2
k = 5
[publish]
to = "lists-${date}.jsonl"
n = 5
"""


def log(seed=0, n=3000):
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 5, 100)
    user = rng.integers(0, 100, n)
    item = 5 * rng.integers(0, 8, n) + taste[user]
    return pd.DataFrame(
        {"user": [f"u{u}" for u in user], "item": [f"-x{i}" for i in item], "plays": rng.integers(0, 5, n)}
    )


@pytest.fixture
def directory(tmp_path):
    os.makedirs(tmp_path / "home" / "events" / "eu")
    log().to_csv(tmp_path / "home" / "events" / "eu" / "2025-02-28.csv", index=False)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pipeline.toml").write_text(PIPELINE)
    return tmp_path


def run(directory, *options, command="run", file="p/pipeline.toml", **environment):
    """In a process of its own, from another directory."""
    home = {"HOME": str(directory / "home"), "PYTHONPATH": os.getcwd()} if os.name != "nt" else {}
    words = [sys.executable, "-m", "fastals", command, *([file] if file else []), *map(str, options)]
    env = os.environ | home | environment
    return subprocess.run(words, capture_output=True, text=True, cwd=directory, env=env, timeout=300)


def refused(done, code=1):
    """One line on standard error; returns it."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("fastals: error: "), done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


# --- parameters ------------------------------------------------------------------------------------------------------


def test_a_day_of_its_own(directory):
    done = run(
        directory, "--set", "date=2025-03-01", "--set", "factors=6", "--set", "publish.n=3", "--summary", "s.json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    model = fastals.load(directory / "p" / "model-eu")
    assert model.factors == 6
    lists = [json.loads(line) for line in (directory / "p" / "lists-2025-03-01.jsonl").read_text().splitlines()]
    assert {row["user"]: row["items"] for row in lists}["u7"] == model.recommend("u7", n=3).items.tolist()
    summary = json.loads((directory / "s.json").read_text())
    assert summary["parameters"] == {"region": "eu", "factors": 6, "date": "2025-03-01"}


def test_a_model_is_made_and_published_later(directory):
    """Between the two, a scheduler may compare it with the one that is served."""
    day = ("--set", "date=2025-03-01")
    done = run(directory, *day, "--until", "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "trained" in done.stdout
    lists = directory / "p" / "lists-2025-03-01.jsonl"
    assert not lists.exists()
    assert "nothing is left to do" in refused(run(directory, *day, "--from", "publish", "--until", "train"))
    assert run(directory, *day, "--from", "publish").returncode == 0
    assert lists.exists()


def test_what_is_popular_may_do_better(directory):
    rng = np.random.default_rng(0)
    noise = {"user": rng.integers(0, 200, 4000), "item": (60 * rng.random(4000) ** 3).astype(int), "plays": 1}
    pd.DataFrame(noise).to_csv(directory / "noise.csv", index=False)
    options = ("--set", "date=2025-03-01", "--set", "events.path=../noise.csv", "--set", "train.regularization=0.01")
    done = run(directory, *options, "--set", "factors=40", "--until", "train", "--summary", "s.json")
    assert done.returncode == 0
    assert done.stderr.startswith("fastals: note: lists of what is popular are better than those of a model")
    summary = json.loads((directory / "s.json").read_text())
    assert summary["metrics"]["ndcg@5"] < summary["baseline"]["ndcg@5"]


def test_passwords_are_told_nowhere(directory):
    """Whoever sets an address on the command line may have its logs and summaries in other hands."""
    (directory / "p" / "pipeline.toml").write_text(PIPELINE.replace("[parameters]", '[parameters]\nto = "lists.csv"'))
    day = ("--set", "date=2025-03-01", "--summary", "s.json")
    address = "redis://:s3cret@127.0.0.1:1/0"
    for options in (
        ("--set", f"to={address}", "--until", "train"),
        ("--set", "publish.to='redis://127.0.0.1:1?password=s3cret"),
        ("--set", "tto=redis://127.0.0.1:1?password=s3cret"),
        ("--set", f"publish={address}"),
        ("--set", f"publish.to=['{address}']"),
        ("--set", f"publish.to.url='{address}'"),
        ("--set", f"publish.n='{address}'"),
        ("--set", f"train.out='{address}'"),
        ("--set", f"publish.to={address}"),
        ("--set", f"tto={address}"),
        ("--set", f"to=[{address}"),
        ("--set", f"publish.7.to={address}"),
    ):
        done = run(directory, *day, *options)
        told = (directory / "s.json").read_text()
        assert "s3cret" not in done.stdout + done.stderr + told, options
        assert "redis://***@127.0.0.1:1" in done.stderr + told or not options[1].startswith(("to=", "tto=redis://:"))


def test_a_parameter_that_is_a_password_is_not_told(directory):
    text = PIPELINE.replace("[parameters]", '[parameters]\npass = "s3cret"\nhost = "127.0.0.1:1"')
    text = text.replace("lists-${date}.jsonl", "redis://:${pass}@${host}/0")
    (directory / "p" / "pipeline.toml").write_text(text)
    done = run(directory, "--set", "date=2025-03-01", "--until", "train", "--summary", "s.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((directory / "s.json").read_text())["parameters"]
    assert told["host"] == "127.0.0.1:1"
    assert told["pass"] == "***"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "publish:\n  to: redis://:s3cret@h/0: x\n"),
        ("p.yaml", 'publish: {to: "redis://:s3cret@h/0\n'),
        ("p.toml", "[publish]\nto = redis://:s3cret@h/0\n"),
        ("p.json", '{"publish": {"to": "redis://:s3cret@h/0" "x"}}'),
        ("p.json", '{"publish": "redis://:s3cret@h/0"}'),
        ("p.json", '{"redis://:s3cret@h/0": {}}'),
        ("p.json", '{"parameters": {"a": ["redis://:s3cret@h/0"]}}'),
    ],
)
def test_a_file_that_cannot_be_read_is_not_repeated(directory, name, text):
    (directory / "p" / name).write_text(text)
    done = run(directory, "--summary", "s.json", file=f"p/{name}")
    assert done.returncode == 1
    assert "s3cret" not in done.stdout + done.stderr + (directory / "s.json").read_text()


def test_what_cannot_be_set_is_told(directory):
    assert "--set regoin=us: regoin is no parameter" in refused(run(directory, "--set", "regoin=us"))
    assert "'trian'" in refused(run(directory, "--set", "trian.factors=6"))
    assert "[train] has no 'faktors'" in refused(run(directory, "--set", "train.faktors=6"))
    assert "[train] factors must be" in refused(run(directory, "--set", "factors=many"))
    assert "2019-12-31.csv" in refused(run(directory, "--set", "date=2020-01-01"))


def test_the_environment(directory):
    out = "train.out=${env:FASTALS_TEST_OUT}"
    day = ("--set", "date=2025-03-01", "--set", out)
    assert "the environment has no 'FASTALS_TEST_OUT'" in refused(run(directory, *day))
    assert run(directory, *day, "--quiet", FASTALS_TEST_OUT="other").returncode == 0
    assert (directory / "p" / "other").exists()


# --- the summary -----------------------------------------------------------------------------------------------------


def test_the_summary_of_a_run(directory):
    day = ("--set", "date=2025-03-01")
    done = run(directory, *day, "--summary", "-")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    data = score(log(), {"signals": {"plays": {}}, "minimum": 0.5}).interactions()
    assert (summary["schema"], summary["command"], summary["status"], summary["exit_code"]) == (1, "run", "done", 0)
    assert summary["error"] is None
    assert summary["events"].items() >= {"events": 3000, "users": 100, "items": 40, "scores": data.nnz}.items()
    train, test = train_test_split(data, 0.1 * 2, random_state=0)
    model = fastals.ImplicitALS(factors=4, iterations=3, random_state=0)
    wanted = evaluate(model.fit(train), train, test, 5)
    assert summary["metrics"] == pytest.approx(wanted)
    assert summary["baseline"]["ndcg@5"] < summary["metrics"]["ndcg@5"]
    assert summary["model"]["out"].endswith("model-eu")
    assert summary["model"]["parameters"]["factors"] == 4
    assert summary["model"]["settings"] == pytest.approx(dict(model.fit(data).settings_))
    assert summary["model"]["cells"] == data.nnz
    assert [target["n_users"] for target in summary["published"]] == [100]
    assert set(summary["steps"]) == {"scored", "measured", "trained", "published"}
    assert summary["seconds"] >= sum(summary["steps"].values())
    assert datetime.strptime(summary["started"], "%Y-%m-%dT%H:%M:%S%z") <= datetime.now(timezone.utc)
    assert summary["versions"]["fastals"] == fastals.__version__


def test_the_summary_of_a_failure(directory):
    broken = log()
    broken.loc[7, "user"] = ""
    path = directory / "home" / "events" / "eu" / "2025-02-28.csv"
    broken.to_csv(path, index=False)
    done = run(directory, "--set", "date=2025-03-01", "--summary", "s.json")
    message = refused(done).removeprefix("fastals: error: ").rstrip("\n")
    summary = json.loads((directory / "s.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("failed", 1)
    assert summary["error"] == {"type": "DataError", "message": message}
    assert "2025-02-28.csv" in message
    assert "model" not in summary
    assert summary["parameters"]["region"] == "eu"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_summary_of_an_interrupted_run(directory):
    endless = (
        "SELECT range AS user, range AS item, 1 AS plays FROM range(100_000_000_000) WHERE hash(range) % 9_999 = 1"
    )
    settings = {"events": {"query": endless}, "score": {"signals": {"plays": {}}}}
    (directory / "p.json").write_text(json.dumps(settings))
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fastals.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", code, "run", str(directory / "p.json"), "-v", "--summary", str(directory / "s.json")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert "DuckDB" in process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert err.splitlines()[-1] == "fastals: interrupted"
    summary = json.loads((directory / "s.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", 130)
    assert summary["error"]["type"] == "KeyboardInterrupt"


def test_a_summary_that_cannot_be_written_is_refused_before_the_work(directory):
    told = refused(run(directory, "--set", "date=2025-03-01", "--summary", "nowhere/s.json"))
    assert "nowhere" in told
    assert not (directory / "p" / "model-eu").exists()


def test_the_summary_of_other_commands(directory, tmp_path):
    events = str(directory / "home" / "events" / "eu" / "2025-02-28.csv")
    (directory / "spec.toml").write_text("[signals.plays]\n")
    spec = ("--spec", "spec.toml", "--out", "scores.parquet", "--summary", "-")
    done = run(directory, events, *spec, command="score", file=None)
    assert json.loads(done.stdout).items() >= {"command": "score", "out": "scores.parquet", "status": "done"}.items()
    fit = ("--implicit", "--out", "m", "--factors", "2", "--summary", "-")
    summary = json.loads(run(directory, "scores.parquet", *fit, command="train", file=None).stdout)
    assert summary["model"]["kind"] == "ImplicitALS"
    run(directory, "gone", "--summary", "s.json", command="info", file=None)
    assert json.loads((directory / "s.json").read_text())["status"] == "failed"
    done = run(directory, "gone", "--summary", "-", command="info", file=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--summary must be a file" in done.stderr


# --- a split by time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aged", [True, False])
def test_measured_on_the_last_days(directory, aged):
    frame = log(n=6000).assign(time=lambda f: pd.Timestamp("2025-01-01") + pd.to_timedelta(f.index * 7, unit="min"))
    frame.to_csv(directory / "p" / "events.csv", index=False)
    spec = {"signals": {"plays": {}}, "timestamp": "time"} | ({"half_life": "5 days", "minimum": 1e-6} if aged else {})
    cut = frame["time"].max() - pd.Timedelta(days=7)
    train = score(frame[frame["time"] < cut], spec | ({"now": str(cut)} if aged else {})).interactions()
    test = score(frame[frame["time"] >= cut], spec).interactions()
    model = fastals.ImplicitALS(factors=4, random_state=0).fit(train)
    wanted = evaluate(model, train, test, 10)
    settings = {
        "events": {"path": "events.csv"},
        "score": spec,
        "train": {"factors": 4, "random_state": 0, "regularization": "auto"},
        "evaluate": {"at": "7 days"},
    }
    (directory / "p" / "p.json").write_text(json.dumps(settings))
    for at in ("7 days", "168 hours", str(cut)):
        done = run(directory, "--set", f"evaluate.at='{at}'", "--summary", "-", file="p/p.json")
        assert (done.returncode, done.stderr) == (0, "")
        summary = json.loads(done.stdout)
        assert summary["metrics"] == pytest.approx(wanted)
        assert summary["model"]["cells"] > train.nnz
    done = run(directory, "--set", "score.min_item_events=100", "--summary", "-", file="p/p.json")
    assert json.loads(done.stdout)["metrics"] != pytest.approx(wanted)  # in training, not in what is held out


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["evaluate={at = '7 days', test_fraction = 0.1}"], "[evaluate] test_fraction has no meaning with at"),
        (["evaluate={at = '7 days'}"], "[evaluate] at needs timestamp in [score]"),
        (["evaluate={at = '7 daze'}", "score.timestamp=plays"], "[evaluate] at = '7 daze': until must be"),
        (["evaluate={at = 2020-01-01}", "score.timestamp=plays", "score.since=2021-01-01"], "[evaluate] at = "),
    ],
)
def test_splits_that_mean_nothing(directory, values, told):
    text = PIPELINE.replace("[evaluate]\ntest_fraction = 0.2\nk = 5\n", "")
    (directory / "p" / "pipeline.toml").write_text(text)
    assert told in refused(run(directory, *(word for value in values for word in ("--set", value))))


# --- gates -----------------------------------------------------------------------------------------------------------


def test_a_gate(directory):
    (directory / "p" / "model-eu").write_text("old")
    gate = ("--set", "date=2025-03-01", "--set", "evaluate.at_least.'ndcg@5'=0.99", "--summary", "s.json")
    told = refused(run(directory, *gate, "--quiet"), code=3)
    assert re.search(r"\[evaluate\] at_least asks for ndcg@5 0\.99, got 0\.\d{4}", told)
    assert (directory / "p" / "model-eu").read_text() == "old"
    assert not (directory / "p" / "lists-2025-03-01.jsonl").exists()
    summary = json.loads((directory / "s.json").read_text())
    assert (summary["status"], summary["exit_code"], summary["error"]["type"]) == ("not passed", 3, "GateError")
    assert summary["metrics"]["ndcg@5"] < 0.99
    passed = ("--set", "date=2025-03-01", "--set", "evaluate.at_least={'ndcg@5' = 0.01, 'recall@5' = 0.01}", "--quiet")
    assert run(directory, *passed).returncode == 0


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("3", "[evaluate] at_least must be a table of metrics"),
        ("{'ndcg@10' = 0.1}", "[evaluate] at_least 'ndcg@10' is no metric of lists of this length, as 'ndcg@5' is"),
        ("{ndgc = 0.1}", "at_least 'ndgc' is no metric"),
        ("{'ndcg@5' = 'much'}", "[evaluate] at_least ndcg@5 must be"),
    ],
)
def test_gates_are_looked_at_before_the_work(directory, gate, told):
    assert told in refused(run(directory, "--set", f"evaluate.at_least={gate}"))


# --- once more from the publication ----------------------------------------------------------------------------------


def test_from_publish(directory):
    day = ("--set", "date=2025-03-01")
    assert run(directory, *day, "--quiet").returncode == 0
    lists, model = directory / "p" / "lists-2025-03-01.jsonl", directory / "p" / "model-eu"
    before, when = lists.read_text(), model.stat().st_mtime_ns
    lists.unlink()
    done = run(directory, *day, "--from", "publish")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["loaded", "published", "done"]
    assert lists.read_text() == before
    assert model.stat().st_mtime_ns == when
    model.unlink()
    assert "model-eu" in refused(run(directory, *day, "--from", "publish"))


# --- events by SQL ---------------------------------------------------------------------------------------------------


def test_events_by_a_query(directory):
    columns = "* REPLACE (plays::INT AS plays), plays::INT * 2 AS twice"
    query = f"SELECT {columns} FROM read_csv('events.csv', all_varchar = true) WHERE plays::INT > ${{least}}"
    log().to_csv(directory / "p" / "events.csv", index=False)
    text = re.sub(r'path = ".*"', f'query = "{query}"\nmemory_limit = "1GB"', PIPELINE)
    text = text.replace('region = "eu"', 'region = "eu"\nleast = 2').replace("signals.plays", "signals.twice")
    (directory / "p" / "pipeline.toml").write_text(text)
    day = ("--set", "date=2025-03-01")
    assert run(directory, *day, "--quiet").returncode == 0
    kept = log().query("plays > 2").assign(twice=lambda frame: 2 * frame["plays"])
    data = score(kept, {"signals": {"twice": {}}, "minimum": 0.5}).interactions()
    model = fastals.load(directory / "p" / "model-eu")
    wanted = fastals.ImplicitALS(factors=4, iterations=3, random_state=0).fit(data)
    assert (model.user_factors_ == wanted.user_factors_).all()
    done = run(directory, *day, "--set", "events.query=SELECT nope FROM 'events.csv'")
    assert 'query: Binder Error: Referenced column "nope" not found' in refused(done)
    assert "[events] query must be one SELECT" in refused(run(directory, *day, "--set", "events.query=DROP TABLE x"))
    both = refused(run(directory, *day, "--set", "events.path=events.csv"))
    assert "[events] must say either path, the files or the directory of the events, or query" in both
    assert "[events] delimiter has no meaning with query" in refused(run(directory, "--set", "events.delimiter=';'"))
    (directory / "p" / "pipeline.toml").write_text(PIPELINE)
    assert "memory_limit has no meaning with path" in refused(run(directory, "--set", "events.memory_limit=1GB"))


def test_score_by_a_query(directory):
    (directory / "spec.toml").write_text("[signals.plays]\n")
    events = "home/events/eu/2025-02-28.csv"
    options = ("--spec", "spec.toml", "--out", "scores.parquet")
    query = f"SELECT * FROM '{events}' WHERE plays > 1"
    done = run(directory, *options, "--query", query, command="score", file=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert "events of 100 users with 40 items" in done.stdout
    spec = ScoreSpec.load(directory / "spec.toml")
    found = score(SQL(query, directory=directory), spec).interactions()
    table = pd.read_parquet(directory / "scores.parquet")
    assert table.sort_values(["user", "item"])["score"].tolist() == found.values.tolist()
    for words in ((), (events, "--query", query)):
        done = run(directory, *options, *words, command="score", file=None)
        assert done.returncode == 2
        assert "either files of events, or --query" in done.stderr


# --- what is told ----------------------------------------------------------------------------------------------------


def test_what_is_told(directory):
    (directory / "p" / "pipeline.toml").write_text(PIPELINE.replace('regularization = "auto"\n', ""))
    day = ("--set", "date=2025-03-01")
    quiet, plain, more, most = (run(directory, *day, *options) for options in (("--quiet",), (), ("-v",), ("-vv",)))
    assert [done.returncode for done in (quiet, plain, more, most)] == [0, 0, 0, 0]
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert plain.stderr.startswith("fastals: note: the default settings are new in this version")
    assert plain.stderr.count("\n") == 1
    assert "fastals: scoring " in more.stderr
    assert "iteration 1 of 3" not in more.stderr
    assert most.stderr.count("fastals: iteration 1 of 3: {'loss': ") == 2
    assert re.sub(r"[\d.,]+", "0", more.stdout) == re.sub(r"[\d.,]+", "0", plain.stdout)
    done = run(directory, *day, "-v", "--quiet")
    assert done.returncode == 2


def test_warnings_have_the_same_look(directory):
    code = (
        "import sys, warnings\n"
        "from fastals.cli import _info\n"
        "from fastals.__main__ import main\n"
        "_info.command = lambda arguments: warnings.warn('careful\\nnow', stacklevel=1)\n"
        "sys.exit(main(['info', 'x', *sys.argv[1:]]))\n"
    )
    for options in ((), ("--quiet",)):
        words = [sys.executable, "-c", code, *options]
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "fastals: warning: careful now\n")


def test_help_tells_the_exit_codes(directory):
    for words in ((), ("run",)):
        done = subprocess.run([sys.executable, "-m", "fastals", *words, "--help"], capture_output=True, text=True)
        assert "3 a gate is not passed" in re.sub(r"\s+", " ", done.stdout)
    assert "${date-1}" in done.stdout
    assert "[evaluate]" in done.stdout
