"""The command line: what it writes, where, and how it fails."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastals
from fastals.__main__ import main
from fastals._inspect.comparison import check
from fastals.cli._common import read_interactions
from fastals.cli._main import COMMANDS

USERS, ITEMS = ("ann", "bob", "cid"), ("jazz", "rock", "folk", 'Ä, "q"')


@pytest.fixture
def ratings(tmp_path):
    path = tmp_path / "ratings.csv"
    rows = [("ann", "jazz", 5), ("ann", "rock", 1), ("bob", "rock", 4), ("bob", "folk", 2), ("cid", 'Ä, "q"', 3)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("userId", "itemId", "rating"), *rows])
    return path


@pytest.fixture
def numbers(tmp_path):
    """Users and items are numbers; -1 is one of them."""
    path = tmp_path / "numbers.csv"
    path.write_text("user,item\n42,7\n42,8\n-1,7\n-1,9\n")
    return path


def train(data, out, *options):
    columns = ("--user", "userId", "--item", "itemId", "--rating", "rating")
    return main(["train", str(data), *columns, "--factors", "2", "--seed", "0", "--out", str(out), *options])


@pytest.fixture
def model(ratings, tmp_path, capfd):
    path = tmp_path / "model"
    assert train(ratings, path, "--implicit") == 0
    capfd.readouterr()
    return path


@pytest.fixture
def number_model(numbers, tmp_path, capfd):
    path = tmp_path / "number_model"
    assert main(["train", str(numbers), "--implicit", "--factors", "2", "--out", str(path), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    return path


def fails(capfd, *argv):
    """One line on standard error, exit code 1; returns the line."""
    assert main([str(a) for a in argv]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("fastals: error: ")
    assert err.count("\n") == 1
    return err


def misused(capfd, *argv):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in argv])
    assert caught.value.code == 2
    return capfd.readouterr().err


# --- train -----------------------------------------------------------------------------------------------------------


def test_train_is_fit(ratings, tmp_path, capfd):
    out = tmp_path / "model"
    options = ("--explicit", "--regularization", "0.5", "--regularization-scaling", "count", "--iterations", "3")
    assert train(ratings, out, *options, "--dtype", "float64", "--solver", "lapack", "--threads", "1") == 0
    model = fastals.load(out)
    expected = fastals.ExplicitALS(
        factors=2,
        regularization=0.5,
        regularization_scaling="count",
        iterations=3,
        dtype="float64",
        solver="lapack",
        num_threads=1,
        random_state=0,
    )
    # how many threads there are is the reader's matter
    assert model.get_params() == {**expected.get_params(), "num_threads": None}
    rows = list(csv.reader(ratings.read_text("utf-8").splitlines()))[1:]
    users, items, values = zip(*rows, strict=True)
    expected.fit((users, items, [float(v) for v in values]))
    np.testing.assert_array_equal(model.user_factors_, expected.user_factors_)
    out, err = capfd.readouterr()
    assert "5 interactions of 3 users with 4 items" in out
    assert "3 iterations" in out
    assert err == ""


def test_train_is_drawn_to_a_model(ratings, tmp_path, capfd):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(ratings, first, "--implicit") == 0
    assert train(ratings, second, "--implicit", "--prior", str(first), "--prior-strength", "0.5,2") == 0
    assert "prior_strength=(0.5, 2)" in capfd.readouterr().out
    old, new = fastals.load(first), fastals.load(second)
    np.testing.assert_array_equal(new.state_.priors[1].means, old.item_factors_)
    assert main(["info", str(second)]) == 0
    assert "prior_strength=(0.5, 2)" in capfd.readouterr().out
    again = [*map(str, ("train", ratings)), "--factors", "3", "--implicit", "--out", str(second), "--prior", str(first)]
    assert "prior must be a model of the same factors" in fails(capfd, *again)
    assert "--prior-strength" in misused(capfd, *again, "--prior-strength", "much")
    assert "prior_strength needs prior=" in fails(capfd, *again[:-2], "--prior-strength", "2")


def test_train_makes_interactions_on_disk(ratings, tmp_path, capfd, monkeypatch):
    seen = []
    monkeypatch.setattr(fastals.ImplicitALS, "fit", lambda self, data, **options: seen.append(data) or sys.exit(0))
    store = tmp_path / "store"
    for options in ((ratings, "--user", "userId", "--item", "itemId", "--on-disk", store), (store,)):
        with pytest.raises(SystemExit):
            main(["train", *map(str, options), "--implicit", "--out", str(tmp_path / "model")])
    for data in seen:
        assert data.on_disk == str(store)
        assert data.in_memory().matrix.sum() == 15
    again = fails(capfd, "train", ratings, "--implicit", "--on-disk", store, "--out", tmp_path / "model")
    assert "holds interactions already" in again
    for option in ("--user", "--rating", "--on-disk"):
        refused = fails(capfd, "train", store, "--implicit", option, "x", "--out", tmp_path / "model")
        assert f"{option} has no meaning where interactions are made already" in refused


def test_ratings_on_disk_are_trained_on_again(ratings, tmp_path, capfd):
    store, models = str(tmp_path / "store"), [tmp_path / "one", tmp_path / "other"]
    columns = ("--user", "userId", "--item", "itemId", "--rating", "rating")
    for data, model in zip(((str(ratings), *columns, "--on-disk", store), (store,)), models, strict=True):
        assert main(["train", *data, "--explicit", "--seed", "0", "--out", str(model), "--quiet"]) == 0
    one, other = map(fastals.load, models)
    assert other.state_.pairs.on_disk == store
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    assert main(["info", str(models[1])]) == 0
    assert f"\n{'data':12}in {store}\n" in capfd.readouterr().out


def test_a_format_that_nobody_reads(ratings):
    with pytest.raises(fastals.ParameterError, match="format must be 'csv', 'json' or 'parquet', got 'orc'"):
        read_interactions(ratings, format="orc")


def test_train_uses_the_constructors_defaults(ratings, tmp_path):
    columns = ("--user", "userId", "--item", "itemId")
    assert main(["train", str(ratings), *columns, "--implicit", "--out", str(tmp_path / "m"), "--quiet"]) == 0
    model = fastals.load(tmp_path / "m")
    assert model.get_params() == fastals.ImplicitALS().get_params()
    ones = main(
        ["train", str(ratings), *columns, "--implicit", "--alpha", "3", "--out", str(tmp_path / "m"), "--quiet"]
    )
    assert ones == 0
    assert fastals.load(tmp_path / "m").alpha == 3


def test_auto_is_a_value_of_options(ratings, tmp_path, capfd):
    for kind, given in (
        ("--implicit", {"regularization": "auto", "unobserved_weight": "auto", "confidence": "linear", "tol": 0.01}),
        ("--implicit", {"regularization": 0.1, "unobserved_weight": 0.5, "confidence": "auto", "tol": None}),
        ("--explicit", {"regularization_scaling": "auto", "biases": False, "bias_regularization": 2.0}),
        ("--explicit", {"biases": True, "bias_regularization": "auto", "tol": "auto"}),
    ):
        options = [f"--{name.replace('_', '-')}={str(value).lower()}" for name, value in given.items()]
        assert train(ratings, tmp_path / "m", kind, *options) == 0
        model = fastals.load(tmp_path / "m")
        assert {name: model.get_params()[name] for name in given} == given
        settings = f"regularization={model.settings_['regularization']:.6g}, regularization_scaling="
        assert f"settings {settings}" in capfd.readouterr().out
        assert main(["info", str(tmp_path / "m")]) == 0
        assert re.search(f"^settings +{settings}", capfd.readouterr().out, re.MULTILINE)


def test_pairs_and_none(ratings, tmp_path):
    options = ["--regularization", "0.1,0.2", "--bias-regularization", "1, 2.5", "--tol"]
    for none in ("none", "None"):
        assert train(ratings, tmp_path / "m", "--explicit", *options, none) == 0
        model = fastals.load(tmp_path / "m")
        assert (model.regularization, model.bias_regularization, model.tol) == ((0.1, 0.2), (1.0, 2.5), None)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--tol", "null", "must be 'auto', 'none' or a number, got 'null'"),
        ("--biases", "yes", "must be 'auto', 'true' or 'false', got 'yes'"),
        ("--biases", "1", "must be 'auto', 'true' or 'false', got '1'"),
        ("--regularization", "log", "must be 'auto', a number or a pair USERS,ITEMS such as 0.1,0.2, got 'log'"),
        ("--regularization", "1,2,3", "must be 'auto', a number or a pair USERS,ITEMS such as 0.1,0.2, got '1,2,3'"),
        ("--bias-regularization", "1,", "must be 'auto', a number or a pair"),
        ("--regularization-scaling", "1,2", "must be 'auto', 'constant', 'count' or a number, got '1,2'"),
        ("--unobserved-weight", "none", "must be 'auto' or a number, got 'none'"),
    ],
)
def test_options_name_their_rule(ratings, capfd, option, value, rule):
    err = misused(capfd, "train", ratings, "--explicit", option, value, "--out", "m")
    assert f"argument {option}: {rule}" in err


def test_train_compares_with_no_model(tmp_path, capfd):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 2)), rng.normal(size=(40, 2))
    lines = [
        f"u{u},i{i},{min(5, max(1, round(3 + X[u] @ Y[i])))}\n"
        for u, i in zip(*np.nonzero(rng.random((60, 40)) < 0.4), strict=True)
    ]
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "".join(lines))
    options = ("train", str(tmp_path / "r.csv"), "--explicit", "--rating", "rating", "--factors", "3", "--seed", "0")
    for regularization, biases, told in (("0.5", "true", 1), ("1e6", "false", 2)):
        to = ("--regularization", regularization, f"--biases={biases}", "--out", str(tmp_path / "model"))
        assert main([*options, *to]) == 0
        lines = capfd.readouterr().err.splitlines()
        assert all(line.startswith("fastals: note: ") for line in lines)
        err = [line.removeprefix("fastals: note: ") for line in lines]
        assert [line.startswith("! ") for line in err] == [False, True][:told]
        assert err[0].startswith("fitted again without")
        assert err == check(fastals.load(tmp_path / "model")).lines()
        assert main([*options, *to, "--quiet"]) == 0
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--factors", "0"), "factors must be >= 1"),
        (("--confidence", "square"), "confidence must be one of 'auto', 'linear', 'log'"),
        (("--tol", "-1"), "tol must be >= 0"),
        (("--regularization", "-1"), "regularization must be >= 0"),
        (("--regularization", "nan"), "regularization"),
        (("--solver", "magic"), "solver"),
        (("--item", "movieId"), "movieId"),
        (("--threads", "0"), "num_threads"),
    ],
)
def test_train_refuses(ratings, tmp_path, capfd, options, reason):
    before = sorted(os.listdir(tmp_path))
    columns = ["--user", "userId", "--item", "itemId", "--implicit", "--out", str(tmp_path / "model")]
    assert reason in fails(capfd, "train", ratings, *columns, *options)
    assert sorted(os.listdir(tmp_path)) == before


def test_other_files(numbers, number_model, tmp_path):
    """The same data, with another delimiter, and as Parquet."""
    expected = fastals.load(number_model)
    (tmp_path / "other.csv").write_text(numbers.read_text().replace(",", ";"))
    options = ("--implicit", "--factors", "2", "--quiet", "--out", str(tmp_path / "other"))
    assert main(["train", str(tmp_path / "other.csv"), "--delimiter", ";", *options]) == 0
    assert fastals.load(tmp_path / "other").users_.tolist() == expected.users_.tolist()
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow.csv").read_csv(numbers)
    parquet.write_table(table, tmp_path / "other.parquet")
    assert main(["train", str(tmp_path / "other.parquet"), *options]) == 0
    assert fastals.load(tmp_path / "other").items_.tolist() == expected.items_.tolist()


def test_train_refuses_bad_files(ratings, tmp_path, capfd):
    out = tmp_path / "model"
    options = ("--user", "userId", "--item", "itemId", "--rating", "rating", "--explicit", "--out", out)
    assert "absent.csv" in fails(capfd, "train", tmp_path / "absent.csv", *options)
    ratings.write_text("userId,itemId,rating\nann,jazz,5\nann,rock,five\n")
    line = fails(capfd, "train", ratings, *options)
    assert "five" in line
    assert "line 3" in line
    ratings.write_text("userId,itemId,rating\n")
    fails(capfd, "train", ratings, *options)
    assert os.listdir(tmp_path) == ["ratings.csv"]


def test_train_looks_at_the_target_before_the_work(tmp_path, capfd):
    """A missing data file would be told, were it read first."""
    options = ("train", tmp_path / "absent.csv", "--implicit", "--out")
    assert "no such directory" in fails(capfd, *options, tmp_path / "absent" / "model")
    assert "not a regular file" in fails(capfd, *options, tmp_path)


@pytest.mark.parametrize(
    ("problem", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "fastals: interrupted\n"),
        (MemoryError("7 TiB"), 1, "fastals: error: not enough memory: 7 TiB\n"),
        (ImportError("pip install\n'fastals[io]'"), 1, "fastals: error: pip install 'fastals[io]'\n"),
    ],
)
def test_what_ends_training_is_told_in_one_line(ratings, tmp_path, capfd, monkeypatch, problem, code, told):
    def fit(*args, **kwargs):
        raise problem

    monkeypatch.setattr(fastals.ImplicitALS, "fit", fit)
    assert train(ratings, tmp_path / "model", "--implicit") == code
    assert capfd.readouterr() == ("", told)
    assert os.listdir(tmp_path) == ["ratings.csv"]


def test_train_usage(ratings, capfd):
    assert "--explicit" in misused(capfd, "train", ratings, "--out", "m")
    assert "--alpha has no meaning" in misused(
        capfd, "train", ratings, "--explicit", "--rating", "rating", "--alpha", "1", "--out", "m"
    )
    assert "--biases has no meaning with --implicit" in misused(
        capfd, "train", ratings, "--implicit", "--biases", "true", "--out", "m"
    )
    assert "--regularization" in misused(capfd, "train", ratings, "--implicit", "--regularization", "log", "--out", "m")
    assert "needs --rating" in misused(capfd, "train", ratings, "--explicit", "--out", "m")
    assert "invalid int value" in misused(capfd, "train", ratings, "--implicit", "--factors", "x", "--out", "m")
    misused(capfd, "train", ratings, "--implicit", "--explicit", "--out", "m")
    misused(capfd)
    misused(capfd, "sing")


# --- recommend -------------------------------------------------------------------------------------------------------


def test_recommend_matches_the_library(model, capfd):
    assert main(["recommend", str(model), "--user", "ann", "cid", "--n", "2"]) == 0
    out, err = capfd.readouterr()
    rows = list(csv.reader(out.splitlines()))
    assert rows[0] == ["user", "rank", "item", "score"]
    lists = fastals.load(model).recommend(["ann", "cid"], n=2)
    expected = [
        (user, str(rank + 1), lists.items[u, rank], lists.scores[u, rank])
        for u, user in enumerate(("ann", "cid"))
        for rank in range(2)
    ]
    assert [tuple(row[:3]) for row in rows[1:]] == [row[:3] for row in expected]
    assert [float(row[3]) for row in rows[1:]] == pytest.approx([row[3] for row in expected], rel=1e-5)
    assert err == ""


def test_recommend_leaves_padding_out(model, capfd):
    assert main(["recommend", str(model), "--user", "ann", "--n", "100"]) == 0
    items = [row[2] for row in csv.reader(capfd.readouterr().out.splitlines()[1:])]
    assert sorted(items) == ["folk", 'Ä, "q"']
    assert main(["recommend", str(model), "--user", "ann", "--n", "100", "--with-seen"]) == 0
    items = [row[2] for row in csv.reader(capfd.readouterr().out.splitlines()[1:])]
    assert sorted(items) == sorted(ITEMS)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".CSV"])
def test_recommend_all(model, tmp_path, capfd, suffix):
    out = tmp_path / f"recs{suffix}"
    out.write_text("old")
    assert main(["recommend", str(model), "--all", "--n", "2", "--out", str(out)]) == 0
    assert capfd.readouterr() == ("", "")
    lists = fastals.load(model).recommend(USERS, n=2).items.tolist()
    if suffix == ".jsonl":
        records = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        assert [record["user"] for record in records] == list(USERS)
        assert [record["items"] for record in records] == lists
        assert all(len(record["scores"]) == 2 for record in records)
    else:
        rows = list(csv.reader(out.read_text("utf-8").splitlines()))[1:]
        assert [row[0] for row in rows] == [user for user in USERS for _ in range(2)]
        assert [[row[2] for row in rows[i : i + 2]] for i in (0, 2, 4)] == lists
    assert sorted(os.listdir(tmp_path)) == ["model", "ratings.csv", out.name]


def test_numbers_as_labels(number_model, capfd):
    assert main(["recommend", str(number_model), "--user", "42", "-1", "--n", "1"]) == 0
    rows = [line.split(",")[:3] for line in capfd.readouterr().out.splitlines()]
    assert rows[1:] == [["42", "1", "9"], ["-1", "1", "8"]]
    assert main(["recommend", str(number_model), "--user", "42", "--format", "jsonl"]) == 0
    assert json.loads(capfd.readouterr().out)["items"] == [9]
    assert "'ann'" in fails(capfd, "recommend", number_model, "--user", "ann")
    assert "43" in fails(capfd, "recommend", number_model, "--user", "43")
    assert "int64" in fails(capfd, "recommend", number_model, "--user", str(2**70))


def test_users_by_index(tmp_path, capfd):
    from scipy.sparse import csr_array

    path = tmp_path / "model"
    fastals.ImplicitALS(factors=2, random_state=0).fit(csr_array([[1, 1, 0], [0, 0, 1]])).save(path)
    assert main(["recommend", str(path), "--user", "0"]) == 0
    assert capfd.readouterr().out.splitlines()[1].startswith("0,1,2,")
    assert "-1" in fails(capfd, "recommend", path, "--user", "-1")


@pytest.mark.parametrize("kind", ["uuid", "bytes"])
def test_other_labels(tmp_path, capfd, kind):
    from uuid import UUID

    users = [UUID(int=1), UUID(int=2)] if kind == "uuid" else [b"a", b"b\xff"]
    path = tmp_path / "model"
    fastals.ImplicitALS(factors=2, random_state=0).fit((users, users[::-1])).save(path)
    typed = str(users[0]) if kind == "uuid" else "a"
    assert main(["recommend", str(path), "--user", typed]) == 0
    assert capfd.readouterr().out.splitlines()[1].split(",")[:3] == [typed, "1", typed]
    assert main(["recommend", str(path), "--all"]) == 0
    assert main(["info", str(path)]) == 0
    assert typed in capfd.readouterr().out
    fails(capfd, "recommend", path, "--user", "neither")


def test_recommend_refuses(model, tmp_path, capfd):
    out = tmp_path / "recs.csv"
    out.write_text("old")
    assert "'eve'" in fails(capfd, "recommend", model, "--user", "eve", "--out", out)
    assert "n must be >= 1" in fails(capfd, "recommend", model, "--all", "--n", "0", "--out", out)
    assert "absent" in fails(capfd, "recommend", tmp_path / "absent", "--all", "--out", out)
    assert "not a usable model file" in fails(capfd, "recommend", tmp_path / "ratings.csv", "--all", "--out", out)
    assert out.read_text() == "old"
    assert "must end in .csv or .jsonl" in misused(capfd, "recommend", model, "--all", "--out", tmp_path / "recs.txt")
    misused(capfd, "recommend", model)
    misused(capfd, "recommend", model, "--all", "--user", "ann")
    assert sorted(os.listdir(tmp_path)) == ["model", "ratings.csv", "recs.csv"]


def test_an_interrupted_list_leaves_nothing(model, tmp_path, capfd, monkeypatch):
    def interrupted(self, first=0):
        yield self._batch(first)
        raise KeyboardInterrupt

    monkeypatch.setattr("fastals.serving._lists.Lists.batches", interrupted)
    assert main(["recommend", str(model), "--all", "--out", str(tmp_path / "recs.csv")]) == 130
    assert "interrupted" in capfd.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["model", "ratings.csv"]


# --- ids that begin with "-" ------------------------------------------------------------------------------------------

DASHED = ("-5", "-v", "-n", "--n", "-", "--", "-a b", "--with-seen", "-1e3", "ann", "--user=x", "-5 ")


@pytest.fixture
def dashed(tmp_path):
    path = tmp_path / "dashed"
    fastals.ImplicitALS(factors=2, random_state=0).fit((list(DASHED) * 2, [*DASHED, *DASHED[1:], "ann"])).save(path)
    return path


def users_listed(capfd):
    return [row[0] for row in csv.reader(capfd.readouterr().out.splitlines()[1:])]


def test_ids_that_begin_with_a_dash(dashed, capfd):
    plain = [user for user in DASHED if user not in ("-v", "--n", "--", "--with-seen", "--user=x")]
    for words in (
        ["--user", *plain, "--n", "1"],
        ["--n", "1", "--user", *plain],
        ["--n=1", "--user", *plain, "--quiet"],
    ):
        assert main(["recommend", str(dashed), *words]) == 0
        assert users_listed(capfd) == plain
    for user in DASHED:  # also those that are options
        assert main(["recommend", str(dashed), "--n", "1", f"--user={user}"]) == 0
        assert users_listed(capfd) == [user]
    assert main(["recommend", "--user", "-5", "--n", "1", "--quiet", "--", str(dashed)]) == 0
    assert users_listed(capfd) == ["-5"]


def test_options_stay_options(dashed, capfd):
    assert "error: argument --user: expected at least one argument" in misused(
        capfd, "recommend", dashed, "--user", "--n", "1"
    )
    assert "'-x'" in fails(capfd, "recommend", dashed, "--user", "-x")
    assert "'--x'" in fails(capfd, "recommend", dashed, "--user", "ann", "--x")
    assert "unrecognized arguments: --x" in misused(capfd, "recommend", dashed, "--x", "--user", "ann")
    assert main(["recommend", str(dashed), "--user", "ann", "-vv", "--n", "1"]) == 0
    assert users_listed(capfd) == ["ann"]


# --- what all commands take ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_how_much_is_told(command, capfd):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capfd.readouterr().out
    for option in ("--quiet", "-v, --verbose", "--summary FILE", "exit codes: 0 done"):
        assert option in text


def test_the_package_logs_to_nowhere_by_itself(model, capfd, caplog):
    """The handlers of the command line go with it."""
    assert main(["info", str(model), "-vv"]) == 0
    capfd.readouterr()
    before = list(fastals._core.LOGGER.handlers)
    assert [type(handler).__name__ for handler in before] == ["NullHandler"]
    with caplog.at_level("DEBUG", "fastals"):
        fastals.ImplicitALS(factors=2, iterations=2, tol=None).fit((["a", "b"], ["x", "y"]))
    assert [record.message.split(":")[0] for record in caplog.records] == ["iteration 1 of 2", "iteration 2 of 2"]
    assert capfd.readouterr() == ("", "")


# --- evaluate, info --------------------------------------------------------------------------------------------------


def test_evaluate(model, tmp_path, capfd):
    test = tmp_path / "test.csv"
    test.write_text("userId,itemId,rating\nann,folk,5\nbob,jazz,4\neve,jazz,1\n")
    columns = ("--user", "userId", "--item", "itemId", "--rating", "rating")
    assert main(["evaluate", str(model), str(test), *columns, "--k", "2"]) == 0
    out = capfd.readouterr().out
    metrics = fastals.evaluation.evaluate(fastals.load(model), None, (["ann", "bob"], ["folk", "jazz"]), k=2)
    for name, value in metrics.items():
        line = next(line.split() for line in out.splitlines() if line.startswith(name))
        assert float(line[1]) == pytest.approx(value, abs=1e-4)
    test.write_text("userId,itemId,rating\nann,jazz,5\n")
    assert "not in train as well" in fails(capfd, "evaluate", model, test, *columns)


def test_evaluate_explicit(ratings, tmp_path, capfd):
    path = tmp_path / "model"
    assert train(ratings, path, "--explicit", "--quiet") == 0
    test = tmp_path / "test.csv"
    test.write_text("user,item,stars\nann,folk,5\nbob,jazz,4\n")
    assert main(["evaluate", str(path), str(test), "--rating", "stars"]) == 0
    assert "rmse" in capfd.readouterr().out


def test_info(model, tmp_path, capfd):
    assert main(["info", str(model), "--verify"]) == 0
    out = capfd.readouterr().out
    for text in ("ImplicitALS", "factors=2", "3, ann … cid", "5 interactions", "float32", "checksums agree"):
        assert text in out
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert main(["info", str(model)]) == 0
    capfd.readouterr()
    assert "damaged" in fails(capfd, "info", model, "--verify")


# --- the process -----------------------------------------------------------------------------------------------------


def run(*argv, **options):
    return subprocess.run(
        [sys.executable, "-m", "fastals", *map(str, argv)], capture_output=True, text=True, timeout=300, **options
    )


def test_as_a_process(model):
    done = run("recommend", model, "--user", "ann")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("user,rank,item,score\nann,1,")
    done = run("recommend", model, "--user", "eve")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fastals: error: ")
    assert run("--version").stdout == f"fastals {fastals.__version__}\n"
    assert run("recommend").returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="no closed pipes like these on Windows")
def test_a_reader_that_goes_away(tmp_path):
    from scipy.sparse import eye_array

    path = tmp_path / "model"
    fastals.ImplicitALS(factors=2, iterations=1).fit(eye_array(3000, format="csr")).save(path)
    command = f"{sys.executable} -m fastals recommend {path} --all | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert done.stdout == "user,rank,item,score\n"
    assert done.stderr == ""
    assert done.returncode == 141
