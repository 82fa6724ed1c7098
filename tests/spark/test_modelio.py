"""Models go from Spark to fastals and back in Spark's own layout, whoever writes it, and predict what they did."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import parquet
from scipy import sparse

import fastals
from fastals import ArgumentTypeError, DataError, FileFormatError, NotFittedError, ParameterError
from fastals.spark import load_model, save_model

RANK = 4
CLASSES = {"explicit": fastals.ExplicitALS, "implicit": fastals.ImplicitALS}
UNSEEN = "ignore:nothing tells which items"


def ratings():
    """Of users -7 to 32 and items -3 to 24, each pair once."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(40 * 28, 400, replace=False)
    return pairs // 28 - 7, pairs % 28 - 3, rng.integers(1, 6, 400).astype(float)


def fitted(kind, ids=np.asarray, **parameters):
    users, items, values = ratings()
    model = CLASSES[kind].from_preset("spark", factors=RANK, iterations=2, random_state=0, **parameters)
    return model.fit((ids(users), ids(items), values))


def as_text(ids):
    return np.array([f"#{each}" for each in ids], dtype=object)


@pytest.fixture(scope="module")
def frame(spark):
    users, items, values = (column.tolist() for column in ratings())
    return spark.createDataFrame(list(zip(users, items, values, strict=True)), ["user", "item", "rating"]).cache()


@pytest.fixture(scope="module")
def of_spark(spark, frame, tmp_path_factory):
    """What Spark's own ALS has fitted and saved: models and paths."""
    from pyspark.ml.recommendation import ALS

    found = {}
    for kind in CLASSES:
        als = ALS(rank=RANK, maxIter=2, seed=1, implicitPrefs=kind == "implicit", coldStartStrategy="drop", alpha=2.0)
        path = str(tmp_path_factory.mktemp("of_spark") / kind)
        model = als.fit(frame)
        model.save(path)
        found[kind] = model, path
    return found


def predictions(model, frame):
    """Of a model of Spark, by user and item."""
    return {(row.user, row.item): row.prediction for row in model.transform(frame).collect()}


def assert_same_predictions(model, expected):
    """A model of one machine predicts what one of Spark has predicted."""
    users, items = np.array(list(expected)).T
    assert_allclose(model.predict(users, items), list(expected.values()), atol=1e-6, rtol=0)


def edit_line(path, **changes):
    """Change the line of a folder of metadata; None: leave out."""
    [file] = Path(path).glob("part-*")
    line = {**json.loads(file.read_text()), **changes}
    write_line(path, json.dumps({name: value for name, value in line.items() if value is not None}))


def write_line(path, line):
    [file] = Path(path).glob("part-*")
    file.write_text(line)
    (file.parent / f".{file.name}.crc").unlink(missing_ok=True)


def edit_table(path, change):
    """Replace the table in a folder by what a function makes of it."""
    table = change(parquet.read_table(path))
    shutil.rmtree(path)
    os.mkdir(path)
    parquet.write_table(table, f"{path}/part-0.parquet")


# ---------------------------------------------------------------------------------------------------------------------
# between Spark's ALSModel and ours


@pytest.mark.parametrize("kind", CLASSES)
def test_what_spark_has_saved_opens_here(kind, spark, of_spark, frame):
    from fastals.spark import ALSModel

    theirs, path = of_spark[kind]
    expected = predictions(theirs, frame)
    model = ALSModel.load(path)
    assert (model.uid, model.rank, model.seen) == (theirs.uid, RANK, None)
    assert model.getColdStartStrategy() == "drop"
    assert model.userFactors.schema.simpleString() == "struct<id:int,features:array<float>>"
    assert predictions(model, frame) == pytest.approx(expected, abs=1e-6, rel=0)
    with pytest.warns(UserWarning, match="nothing tells which items"):
        local = load_model(path)
    assert type(local) is fastals.ExplicitALS
    assert_same_predictions(local, expected)
    lists = {row.user: [each.item for each in row.recommendations] for row in theirs.recommendForAllUsers(5).collect()}
    assert {user: local.recommend(user, n=5).items.tolist() for user in lists} == lists
    with pytest.warns(UserWarning, match="nothing tells which items"):
        again = model.toLocal()
    assert_array_equal(again.users_, local.users_)
    assert_array_equal(again.user_factors_, local.user_factors_)


@pytest.mark.filterwarnings(UNSEEN)
@pytest.mark.parametrize("kind", CLASSES)
def test_what_spark_does_not_tell_can_be_told(kind, of_spark):
    """With it users are folded in: Spark has solved its users last, so that they come out again."""
    path = of_spark[kind][1]
    users, items, values = ratings()
    silent = load_model(path)
    for solve in (lambda: silent.fold_in((users, items, values)), lambda: silent.explain(None, 1, history=([1], [2]))):
        with pytest.raises(NotFittedError, match="does not say by which equation"):
            solve()
    assert silent.settings_ == {}
    implicit = kind == "implicit"
    local = load_model(path, implicit=implicit, regularization=0.1, alpha=2.0)
    assert type(local) is CLASSES[kind]
    assert_array_equal(local.fold_in((users, items, values)).shape, (40, RANK))
    assert_allclose(local.fold_in((users, items, values)), local.user_factors_, atol=1e-4)
    with pytest.raises(ParameterError, match="implicit must be True or False"):
        load_model(path, regularization=0.1)
    with pytest.raises(ParameterError, match="regularization must be"):
        load_model(path, implicit=True, regularization=-1.0)


@pytest.mark.filterwarnings(UNSEEN)
def test_an_unknown_equation_stays_unknown_in_a_file(of_spark, tmp_path):
    local = load_model(of_spark["implicit"][1])
    local.save(tmp_path / "model")
    again = fastals.load(tmp_path / "model")
    assert_array_equal(again.user_factors_, local.user_factors_)
    with pytest.raises(NotFittedError, match="does not say by which equation"):
        again.fold_in(([1], [2]))
    save_model(local, tmp_path / "folder")
    assert load_model(tmp_path / "folder").settings_ == {}
    assert load_model(tmp_path / "folder", implicit=True, regularization=0.1).settings_["regularization"] == 0.1


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("way", ["by Spark", "by pyarrow"])
def test_what_is_saved_here_opens_in_spark(kind, way, spark, frame, tmp_path):
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALS, ALSModel

    path = str(tmp_path / "model")
    if way == "by Spark":
        als = ALS(rank=RANK, maxIter=2, implicitPrefs=kind == "implicit", alpha=2.0, regParam=0.2, excludeSeen=True)
        model = als.setPredictionCol("guess").setPredictionCol("prediction").setBlockSize(512).fit(frame)
        model.save(path)
        local = model.toLocal()
    else:
        local = fitted(kind, regularization=0.2, **({"alpha": 2.0} if kind == "implicit" else {}))
        save_model(local, path)
    theirs = Theirs.load(path)
    assert theirs.rank == RANK
    expected = predictions(theirs, frame)
    assert len(expected) == 400
    assert_same_predictions(local, expected)
    again = ALSModel.load(path)
    assert predictions(again, frame) == pytest.approx(expected, abs=1e-6, rel=0)
    if way == "by Spark":
        assert (theirs.uid, again.uid, again.losses, again.engine) == (model.uid, model.uid, model.losses, "task")
        assert (theirs.getBlockSize(), again.getBlockSize(), again.getExcludeSeen()) == (512, 512, True)
        lists = {row.user: row.recommendations for row in again.recommendForAllUsers(28).collect()}
        assert sum(len(each) for each in lists.values()) == 40 * 28 - 400
    for other in (load_model(path), again.toLocal()):
        assert type(other) is CLASSES[kind]
        assert_array_equal(other.users_, local.users_)
        assert_array_equal(other.user_factors_, local.user_factors_)
        assert_array_equal(other.item_factors_, local.item_factors_)
        assert (other.settings_, other.loss_history_) == (local.settings_, local.loss_history_)
        assert_array_equal(other.recommend(local.users_, n=5).items, local.recommend(local.users_, n=5).items)
        history = (["x", "x"], [1, 2], [4.0, 2.0])
        assert_array_equal(other.fold_in(history), local.fold_in(history))
        assert other.explain(None, 5, history=history).items.tolist() == [1, 2] or kind
        with pytest.raises(NotFittedError, match="without its history"):
            other.partial_fit(history)
    with pytest.raises(ParameterError, match="tells itself how it was fitted"):
        load_model(path, implicit=True, regularization=1.0)


@pytest.mark.parametrize("ids", [as_text, lambda ids: ids + (1 << 40)], ids=["text", "of 64 bits"])
def test_other_ids_are_numbers_to_spark(ids, spark, tmp_path):
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALSModel

    local = fitted("implicit", ids)
    save_model(local, tmp_path / "by_pyarrow")
    model = ALSModel.fromLocal(local, spark)
    model.save(str(tmp_path / "by_spark"))
    kind = "string" if ids is as_text else "bigint"
    for path in (str(tmp_path / "by_pyarrow"), str(tmp_path / "by_spark")):
        theirs = Theirs.load(path)
        rows = sorted(theirs.userFactors.collect())
        assert [row.id for row in rows] == list(range(40))
        assert_array_equal([row.features for row in rows], local.user_factors_)
        again = ALSModel.load(path)
        assert again.itemFactors.schema.simpleString() == f"struct<id:{kind},features:array<float>>"
        assert again.seen.schema.simpleString() == f"struct<id:{kind},items:array<{kind}>>"
        seen = {row.id: row.items for row in again.seen.collect()}
        history = local.state_.pairs
        assert seen == {
            user: local.items_[history.indices[begin:end]].tolist()
            for user, begin, end in zip(local.users_, history.indptr[:-1], history.indptr[1:], strict=True)
        }
        for other in (load_model(path), again.toLocal()):
            assert_array_equal(other.items_, local.items_)
            assert_array_equal(other.item_factors_, local.item_factors_)
            assert_array_equal(other.recommend(local.users_, n=5).items, local.recommend(local.users_, n=5).items)
            assert_array_equal(other.state_.pairs.indices, history.indices)


def test_a_pipeline_is_loaded_with_sparks_model(spark, frame, tmp_path):
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALS

    stages = [StringIndexer(inputCol=name, outputCol=f"{name}_index") for name in ("user", "item")]
    als = ALS(rank=RANK, maxIter=1, userCol="user_index", itemCol="item_index")
    model = Pipeline(stages=[*stages, als]).fit(frame)
    path = str(tmp_path / "pipeline")
    model.save(path)
    model.write().overwrite().save(path)
    again = PipelineModel.load(path)
    assert type(again.stages[-1]) is Theirs
    assert again.stages[-1].getUserCol() == "user_index"
    assert predictions(again, frame) == pytest.approx(predictions(model, frame), abs=1e-6, rel=0)


def test_what_is_at_a_path_is_kept_unless_it_may_go(spark, tmp_path):
    from fastals.spark import ALSModel

    path = str(tmp_path / "model")
    model, other = (ALSModel.fromLocal(fitted("explicit", ids), spark) for ids in (as_text, np.asarray))
    model.save(path)
    (tmp_path / "empty").mkdir()
    for there in (path, str(tmp_path / "empty")):
        with pytest.raises(ParameterError, match="path must be a new folder"):
            other.save(there)
    with pytest.raises(ParameterError, match="where the model itself is read from"):
        ALSModel.load(path).write().overwrite().save(path)
    assert ALSModel.load(path).rank == RANK
    other.write().overwrite().save(path)
    assert not os.path.exists(f"{path}/fastals/userLabels")
    assert ALSModel.read().load(path).userFactors.schema["id"].dataType.simpleString() == "int"


def test_over_connect(tmp_path):
    """The same where there is neither py4j nor an RDD."""
    from .cluster import run_connected

    save_model(fitted("implicit", as_text), tmp_path / "one")
    found = run_connected(
        f"""
        from fastals.spark import ALSModel
        from pyspark.ml.recommendation import ALSModel as Theirs
        model = ALSModel.load({str(tmp_path / "one")!r})
        model.save({str(tmp_path / "two")!r})
        model.write().overwrite().save({str(tmp_path / "two")!r})
        errors = []
        for writer in (model.write(), ALSModel.load({str(tmp_path / "two")!r}).write().overwrite()):
            try:
                writer.save({str(tmp_path / "two")!r})
            except ValueError as error:
                errors.append(type(error).__name__)
        try:
            ALSModel.load({str(tmp_path / "three")!r})
        except OSError as error:
            errors.append(type(error).__name__)
        theirs = Theirs.load({str(tmp_path / "two")!r})
        again = ALSModel.fromLocal(ALSModel.load({str(tmp_path / "two")!r}).toLocal(), spark)
        tell([errors, theirs.userFactors.count(), sorted(row.id for row in again.userFactors.collect())])
        """,
        tmp_path,
    )
    assert found == [["ParameterError", "ParameterError", "FileFormatError"], 40, sorted(as_text(range(-7, 33)))]
    assert_array_equal(load_model(tmp_path / "two").user_factors_, load_model(tmp_path / "one").user_factors_)


# ---------------------------------------------------------------------------------------------------------------------
# without Spark


def test_no_spark_is_needed(tmp_path):
    program = (
        "import sys\n"
        "sys.modules['pyspark'] = None\n"
        "import fastals\n"
        "from fastals.spark import load_model, save_model\n"
        "model = fastals.ImplicitALS(factors=2).fit((['a', 'b'], ['x', 'y']))\n"
        f"save_model(model, {str(tmp_path / 'model')!r})\n"
        f"print(load_model({str(tmp_path / 'model')!r}).users_)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "['a' 'b']\n"), done.stderr


factor = st.floats(-(2.0**127), 2.0**127, width=32)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_all_factors_and_ids_survive(tmp_path_factory, data):
    n, m, rank = (data.draw(st.integers(1, 6)) for _ in range(3))
    X, Y = (
        np.array(data.draw(st.lists(factor, min_size=size * rank, max_size=size * rank)), np.float32).reshape(
            size, rank
        )
        for size in (n, m)
    )
    kind = data.draw(
        st.sampled_from([st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.text(max_size=4)])
    )
    users, items = (sorted(data.draw(st.sets(kind, min_size=size, max_size=size))) for size in (n, m))
    cells = data.draw(st.sets(st.integers(0, n * m - 1), min_size=1))
    matrix = sparse.coo_array((np.ones(len(cells)), divmod(np.array(sorted(cells)), m)), shape=(n, m)).tocsr()
    labels = [np.array(each, dtype=object if isinstance(each[0], str) else np.int64) for each in (users, items)]
    interactions = fastals.Interactions.from_matrix(matrix, users=labels[0], items=labels[1])
    parameters = {"factors": rank, "biases": False, "regularization": 1.0, "iterations": 0}
    model = fastals.ExplicitALS(**parameters).fit(interactions, initial_factors=(X, Y))
    path = tmp_path_factory.mktemp("factors") / "model"
    save_model(model, path)
    again = load_model(path)
    assert_array_equal(again.user_factors_, X)
    assert_array_equal(again.item_factors_, Y)
    assert (again.users_.tolist(), again.items_.tolist()) == (users, items)
    assert_array_equal(again.state_.pairs.indptr, matrix.indptr)
    assert_array_equal(again.state_.pairs.indices, matrix.indices)


def test_indices_stay_indices(tmp_path):
    """With zeros for users and items without cells, and what is known beside."""
    matrix, known = (
        sparse.csr_array(np.array(rows)) for rows in ([[5, 0, 1], [0] * 3, [0, 4, 0]], [[0, 1, 0], [0] * 3, [0] * 3])
    )
    data = fastals.Interactions.from_matrix(matrix, known=known)
    model = fastals.ImplicitALS(factors=2, random_state=0).fit(data)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.users_ is None
    assert again.items_ is None
    assert_array_equal(again.user_factors_, model.user_factors_)
    assert again.settings_ == model.settings_
    assert_array_equal(again.recommend([0, 2]).items, model.recommend([0, 2]).items)


def test_repeats_and_float64(tmp_path):
    users, items, values = ([1, 1, 2], [3, 3, 4], [5.0, 4.0, 2.0])
    model = fastals.ExplicitALS.from_preset("spark", factors=2, dtype="float64").fit((users, items, values))
    assert model.state_.pairs.nnz == 3
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert (again.state_.pairs.nnz, again.dtype) == (2, "float32")
    assert_array_equal(again.user_factors_, model.user_factors_.astype(np.float32))


def test_what_spark_has_no_place_for_is_refused(tmp_path):
    plays = (["a", "b"], ["x", "y"], [1.0, 2.0])
    refused = [
        (fastals.ExplicitALS(factors=2).fit(plays), ParameterError, "neither biases nor a mean"),
        (fastals.ExplicitALS.from_preset("cmfrec", factors=2, biases=False).fit(plays), ParameterError, "nor a mean"),
        (
            fastals.ImplicitALS(factors=2).fit(([b"a", b"b"], *plays[1:])),
            DataError,
            "users must be integers of 64 bits",
        ),
        (
            fastals.ImplicitALS(factors=2).fit((plays[0], [1, 1 << 63], plays[2])),
            DataError,
            "items must be integers of 64",
        ),
        (
            fastals.ImplicitALS(factors=2).fit((plays[0], ["x", "\udc80"], plays[2])),
            DataError,
            "items must be integers",
        ),
        (fastals.ImplicitALS(factors=2), NotFittedError, "not fitted yet"),
        (fastals.ItemKNN().fit(plays), ArgumentTypeError, "model must be an ExplicitALS"),
    ]
    for model, error, message in refused:
        with pytest.raises(error, match=message):
            save_model(model, tmp_path / "model")
    large = fastals.ImplicitALS(factors=2, dtype="float64").fit(plays)
    large.user_factors_ = np.full((2, 2), 1e39)
    with pytest.raises(DataError, match="within float32's range"):
        save_model(large, tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_places(tmp_path, monkeypatch):
    model = fitted("explicit")
    save_model(model, "memory://models/one")
    with pytest.raises(ParameterError, match="path must be a new folder"):
        save_model(model, "memory://models/one")
    save_model(model, "memory://models/one", overwrite=True)
    assert_array_equal(load_model("memory://models/one").users_, model.users_)
    monkeypatch.chdir(tmp_path)
    save_model(model, Path("new") / "one")
    for path in ("new/one", f"file:{tmp_path}/new/one", f"file://{tmp_path}/new/one/"):
        assert_array_equal(load_model(path).users_, model.users_)
    os.symlink("new/one", "link")
    save_model(fitted("implicit"), "link", overwrite=True)
    assert os.path.islink("link")
    assert type(load_model("new/one")) is fastals.ImplicitALS
    (tmp_path / "new" / "one" / "letter").write_text("dear")
    with pytest.raises(ParameterError, match="holds 'letter'"):
        save_model(model, "new/one", overwrite=True)
    with pytest.raises(ParameterError, match="holds 'letter'"):
        save_model(model, "new/one/letter", overwrite=True)
    with pytest.raises(ArgumentTypeError):
        load_model(3)
    assert sorted(os.listdir("new")) == ["one"]


KILLED = """
import os, signal, sys
import fastals
from fastals.spark import _local, save_model
from fastals._core import files

def dying(function, left):
    def work(*arguments, **options):
        global calls
        calls += 1
        if calls > left:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return work

calls = 0
where, left, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
home = {"tables": (_local, "_write_table"), "lines": (_local, "_write_line"), "sync": (files, "sync")}[where]
setattr(*home, dying(getattr(*home), left))
model = fastals.ImplicitALS(factors=3).fit((["a", "b"], ["x", "y"]))
save_model(model, path, overwrite=True)
"""


@pytest.mark.parametrize(("where", "left"), [("tables", 0), ("tables", 2), ("lines", 0), ("lines", 1), ("sync", 3)])
def test_a_killed_writer_leaves_no_half_model(where, left, tmp_path):
    path, old = tmp_path / "new", tmp_path / "old"
    save_model(fitted("explicit"), old)
    for each in (path, old):
        arguments = [sys.executable, "-c", KILLED, where, str(left), str(each)]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert not path.exists()
    assert load_model(old).factors == RANK


def test_a_writer_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    from fastals.spark import _local

    save_model(fitted("explicit"), tmp_path / "model")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(_local, "_write_line", full)
    with pytest.raises(OSError, match="no space left"):
        save_model(fitted("implicit"), tmp_path / "model", overwrite=True)
    assert os.listdir(tmp_path) == ["model"]
    assert type(load_model(tmp_path / "model")) is fastals.ExplicitALS
    with pytest.raises(OSError, match="no space left"):
        save_model(fitted("implicit"), "memory://models/broken")
    with pytest.raises(FileFormatError, match="metadata is missing"):
        load_model("memory://models/broken")


# ---------------------------------------------------------------------------------------------------------------------
# folders that are none


def with_rows(change):
    """What edits a table's rows, as Python's dictionaries."""

    def edit(table):
        rows = table.to_pylist()
        change(rows)
        return pa.Table.from_pylist(rows, table.schema)

    return edit


def with_type(column, kind):
    def edit(table):
        at = table.schema.get_field_index(column)
        return table.set_column(at, column, table.column(column).cast(kind))

    return edit


FACTORS = {
    "a factor too few": (with_rows(lambda rows: rows[3]["features"].pop()), "id .* has"),
    "a factor too many": (with_rows(lambda rows: rows[3]["features"].append(1.0)), "id .* has|cannot be"),
    "NaN": (
        with_rows(lambda rows: rows[5].update(features=[1.0, float("nan"), 2.0, 3.0])),
        "id -?[0-9]+ are not finite",
    ),
    "infinity": (with_rows(lambda rows: rows[5].update(features=[1.0, float("-inf"), 2.0, 3.0])), "are not finite"),
    "no factor": (with_rows(lambda rows: rows[5].update(features=[1.0, None, 2.0, 3.0])), "are not finite"),
    "no factors": (with_rows(lambda rows: rows[5].update(features=None)), "id .* has"),
    "no id": (with_rows(lambda rows: rows[5].update(id=None)), "id"),
    "an id twice": (with_rows(lambda rows: rows[5].update(id=rows[4]["id"])), "more than once|no label"),
    "no rows": (with_rows(list.clear), "no rows|are 0"),
    "ids of 64 bits": (with_type("id", pa.int64()), "column 'id' must be int, but is bigint"),
    "factors of 64 bits": (with_type("features", pa.list_(pa.float64())), "must be array<float>, but is array<double>"),
    "no column": (lambda table: table.drop_columns("features"), "column 'features' must be .* missing"),
}


def break_line(path):
    write_line(path, "{not JSON")


def truncate(path):
    for file in Path(path).glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-50])


def empty(path):
    for file in Path(path).glob("*.parquet"):
        file.unlink()


FOLDERS = {
    "nothing": (shutil.rmtree, "", "usable ALSModel"),
    "no metadata": (shutil.rmtree, "metadata", "usable ALSModel"),
    "no JSON": (break_line, "metadata", "usable ALSModel"),
    "a list": (lambda path: write_line(path, "[1]"), "metadata", "not an object"),
    "an empty line": (lambda path: write_line(path, "\n"), "metadata", "usable ALSModel"),
    "of another class": (
        lambda path: edit_line(path, **{"class": "org.apache.spark.ml.recommendation.ALS"}),
        "metadata",
        "not a 'org.apache.spark.ml.recommendation.ALSModel'",
    ),
    "no class": (lambda path: edit_line(path, **{"class": None}), "metadata", "it holds a None"),
    "no rank": (lambda path: edit_line(path, rank=None), "metadata", "'rank' is missing"),
    "rank 0": (lambda path: edit_line(path, rank=0), "metadata", "rank is 0"),
    "another rank": (lambda path: edit_line(path, rank=RANK + 1), "metadata", "rank"),
    "a lower rank": (lambda path: edit_line(path, rank=RANK - 1), "metadata", "rank|cannot be"),
    "no factors": (shutil.rmtree, "itemFactors", "usable ALSModel"),
    "no files of factors": (empty, "itemFactors", "usable ALSModel"),
    "half a file": (truncate, "userFactors", "usable ALSModel"),
    "of a later version": (lambda path: edit_line(path, version="99"), "fastals/metadata", "version '99'"),
    "no labels": (shutil.rmtree, "fastals/userLabels", "usable ALSModel"),
    "no seen items": (shutil.rmtree, "fastals/seen", "usable ALSModel"),
    "another class of ours": (lambda path: edit_line(path, **{"class": "Popen"}), "fastals/metadata", "class 'Popen'"),
    "parameters of ours": (
        lambda path: edit_line(path, parameters={"factors": -1, "x": 1}),
        "fastals/metadata",
        "usable ALSModel",
    ),
    "a label too few": (
        lambda path: edit_table(path, lambda table: table.slice(1)),
        "fastals/userLabels",
        "label",
    ),
    "a label twice": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(label=rows[0]["label"]))),
        "fastals/userLabels",
        "more than once",
    ),
    "labels of others": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(id=1000))),
        "fastals/userLabels",
        "label",
    ),
    "seen by nobody": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1].update(id="nobody"))),
        "fastals/seen",
        "user nobody has no factors",
    ),
    "seen nothing that is": (
        lambda path: edit_table(path, with_rows(lambda rows: rows[1]["items"].append("nothing"))),
        "fastals/seen",
        "item nothing has no factors",
    ),
}

LOCAL_ONLY = {"another class of ours", "parameters of ours", "seen by nobody", "seen nothing that is"}
"""What a model of Spark has no need of before it is asked for it."""

CASES = {
    name: (lambda path, change=change: edit_table(path, change), "userFactors", message)
    for name, (change, message) in FACTORS.items()
}
CASES |= {name if name not in CASES else f"{name} at all": case for name, case in FOLDERS.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with all that one may have."""
    path = tmp_path_factory.mktemp("whole") / "model"
    save_model(fitted("implicit", as_text), path)
    return path


def broken(whole, tmp_path, name):
    change, part, message = CASES[name]
    path = tmp_path / "model"
    shutil.copytree(whole, path)
    change(str(path / part).rstrip("/"))
    return str(path), message


@pytest.mark.parametrize("name", CASES)
def test_bad_folders(name, whole, tmp_path):
    path, message = broken(whole, tmp_path, name)
    with pytest.raises(FileFormatError, match=message) as error:
        load_model(path)
    assert path in str(error.value)


@pytest.mark.parametrize("name", CASES.keys() - LOCAL_ONLY)
def test_bad_folders_by_spark(name, spark, whole, tmp_path):
    from fastals.spark import ALSModel

    path, message = broken(whole, tmp_path, name)
    with pytest.raises(FileFormatError, match=message.split("|")[0] if "id .* has" in message else message) as error:
        ALSModel.load(path)
    assert path in str(error.value)


def test_a_file_that_tells_of_more_than_it_can_hold(tmp_path, monkeypatch):
    """Before any of it is unfolded."""
    from fastals.spark import _local

    model = fitted("explicit")
    save_model(model, tmp_path / "model")
    n = 300_000
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * RANK, np.float32)), RANK)
    table = pa.table([pa.array(np.zeros(n, np.int32)), lists], names=["id", "features"])
    edit_table(tmp_path / "model" / "userFactors", lambda _: table)
    with pytest.raises(FileFormatError, match="id 0 is there more than once"):
        load_model(tmp_path / "model")
    monkeypatch.setattr(_local, "SMALL", 0)
    with pytest.raises(FileFormatError, match=r"cannot be what .* bytes hold"):
        load_model(tmp_path / "model")
