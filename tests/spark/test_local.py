"""Models in folders of Spark's ALSModel, without Spark: what was saved comes back, whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

import fastals
from fastals import ArgumentTypeError, DataError, FileFormatError, NotFittedError, ParameterError
from fastals.spark import _local, load_model, save_model

from .folders import CASES, RANK, broken, edit_table, fitted


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


@pytest.mark.parametrize("name", CASES)
def test_bad_folders(name, tmp_path):
    path, message = broken(name, tmp_path)
    with pytest.raises(FileFormatError, match=message) as error:
        load_model(path)
    assert path in str(error.value)


def test_a_file_that_tells_of_more_than_it_can_hold(tmp_path, monkeypatch):
    """Before any of it is unfolded."""
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
