"""The model file: what was saved comes back, and no file, however broken, does harm."""

import errno
import gc
import json
import mmap as mmap_module
import os
import stat
import struct
import time
import uuid
import zlib
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file
from scipy import sparse

import fastals
from fastals._core.errors import FileFormatError
from fastals._core.files import remove_leftovers, replacing, replacing_folder
from fastals._data.interactions import Interactions
from fastals._data.labels import Labels
from fastals._equation import IMPLICIT, RowEquation
from fastals._fitted import FittedState, load_model, read_state, save_state
from fastals._fitted.file import KINDS

EQUATION = RowEquation(IMPLICIT[None].cells(1.0, 1.0), 5, (0.1, 0.1), "constant")


class Model:
    """The least that can be saved."""

    def __init__(self, state):
        self.state = state

    @classmethod
    def _read(cls, content, tensors):
        parts = read_state(content, tensors)
        if "alpha" not in parts["parameters"]:
            raise TypeError("unexpected parameters")
        return cls(FittedState(**parts, equation=EQUATION, ratings=False))


class Other(Model):
    pass


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    for kind in (Other, Model):
        monkeypatch.setitem(KINDS, kind.__name__, kind)


def save(state, path):
    save_state(str(path), Model, state)


def load(path, mmap=True):
    return load_model(str(path), mmap=mmap).state


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


LABELS = {
    "index": None,
    "int64": np.array([-5, 3, 2**62], dtype=np.int64),
    "string": objects(["", "a", "naïve 漢字 🎵"]),
    "odd strings": objects(["", "\udc80half a pair", "x" * 10_000]),
    "bytes": objects([b"", b"\0\xff", b"a\0"]),
    "uuid": objects([uuid.UUID(int=n) for n in (0, 7, 2**127)]),
}


def make_state(dtype=np.float32, users=None, items=None, biases=None):
    rng = np.random.default_rng(0)
    n_users, n_items, factors = 3, 4, 5
    users, items = Labels(users, n_users), Labels(items, n_items)
    indptr, indices = np.array([0, 2, 2, 5], dtype=np.int64), np.array([1, 3, 0, 2, 2], dtype=np.int32)
    return FittedState(
        equation=EQUATION,
        ratings=False,
        parameters={"alpha": 2.5, "factors": factors, "dtype": np.dtype(dtype).name, "random_state": None},
        settings={"tol": None},
        user_factors=rng.standard_normal((n_users, factors)).astype(dtype),
        item_factors=rng.standard_normal((n_items, factors)).astype(dtype),
        users=users,
        items=items,
        pairs=Interactions._canonical((indptr, indices, np.ones(5, dtype)), None, users, items),
        has_history=False,
        loss_history=(3.0, 1.0 / 3.0, float("inf")),
        n_iter=3,
        mean=1.0 / 3.0,
        biases=biases,
    )


def assert_same(state, expected):
    for name in ("user_factors", "item_factors", "pairs.indptr", "pairs.indices", "pairs.values"):
        got, wanted = (attrgetter(name)(each) for each in (state, expected))
        assert got.dtype == wanted.dtype
        assert_array_equal(got, wanted)
    for name in ("users", "items"):
        got, wanted = getattr(state, name), getattr(expected, name)
        assert len(got) == len(wanted)
        if wanted.values is None:
            assert got.values is None
        else:
            assert got.values.tolist() == wanted.values.tolist()
    # no file tells how many threads there are
    assert state.parameters == {**expected.parameters, "num_threads": None}
    for name in ("settings", "loss_history", "n_iter", "mean", "has_history"):
        assert getattr(state, name) == getattr(expected, name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def saved(path):
    save(make_state(users=LABELS["string"], items=np.arange(4) * 10), path)
    return path


def edit(path, *, tensors=None, metadata=None, content=None):
    """Rewrite a model file with some of its parts exchanged (None: left out)."""
    arrays = {**load_file(path), **(tensors or {})}
    header = read_header(path)["__metadata__"]
    if content:
        header["content"] = json.dumps({**json.loads(header["content"]), **content})
        header["content_crc32"] = str(zlib.crc32(header["content"].encode()))
    header |= metadata or {}
    for part in (arrays, header):
        for name in [name for name, value in part.items() if value is None]:
            del part[name]
    save_file(arrays, path, header)


def read_header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])


def write_raw(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(path, dtype, kind, mmap):
    state = make_state(dtype, users=LABELS[kind])
    save(state, path)
    assert_same(load(path, mmap), state)


def test_other_programs_can_read_it(saved):
    tensors = load_file(saved)
    assert_array_equal(tensors["user_factors"], make_state().user_factors)
    assert tensors["users"].tobytes().decode() == "anaïve 漢字 🎵"


def test_mapped_factors_stay_in_the_file(saved):
    def owner(array):
        while isinstance(array, np.ndarray):
            array = array.base
        return array.obj if isinstance(array, memoryview) else array

    for mmap in (True, False):
        factors = load(saved, mmap).user_factors
        assert not factors.flags.writeable
        assert isinstance(owner(factors), mmap_module.mmap) == mmap


def test_a_loaded_model_outlives_its_file(saved):
    state = load(saved)
    saved.unlink()
    gc.collect()
    assert_same(state, make_state(users=LABELS["string"], items=np.arange(4) * 10))


def test_a_loaded_model_can_be_saved_over_its_own_file(saved):
    state = load(saved)
    save(state, saved)
    assert_same(load(saved), state)


def test_parameters_become_plain(path):
    parameters = {
        "alpha": np.float32(0.5),
        "factors": np.int64(5),
        "dtype": np.float32,
        "random_state": np.random.default_rng(0),
        "regularization_scaling": "count",
        "flag": np.bool_(True),
    }
    save(replace(make_state(), parameters=parameters), path)
    assert load(path).parameters == {
        "alpha": 0.5,
        "factors": 5,
        "dtype": "float32",
        "random_state": None,
        "regularization_scaling": "count",
        "flag": True,
        "num_threads": None,
    }


# --- writing ---------------------------------------------------------------------------------------------------------


def test_replacing_is_all_or_nothing(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def interrupted():
        with replacing(target) as temporary, open(temporary, "w") as file:
            file.write("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    with replacing(target) as temporary, open(temporary, "w") as file:
        file.write("new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_replacing_names_the_file_and_not_the_temporary_one(tmp_path):
    target = str(tmp_path / "file")

    def full():
        with replacing(target):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        full()
    assert caught.value.filename == target


def test_leftovers_of_one_file_are_removed_and_no_others(tmp_path):
    target, other = tmp_path / "a[b]*.model", tmp_path / "other"
    for path in (target, other):
        with replacing(path) as temporary:
            kept = path.parent / (os.path.basename(temporary)[:-20] + "0" * 16 + ".tmp")
            kept.write_text("half")
    target.write_text("whole")
    remove_leftovers(str(target))
    assert sorted(os.listdir(tmp_path)) == sorted([target.name, other.name, ".other.0000000000000000.tmp"])


def test_what_a_killed_writer_left_goes_when_it_is_nobodys(tmp_path):
    target = tmp_path / "model"
    old, new = (tmp_path / f".model.{digit * 16}.tmp" for digit in "01")
    for path, hours in ((old, 13), (new, 11)):
        path.write_text("half")
        os.utime(path, (time.time() - hours * 3600,) * 2)
    with replacing(target) as temporary, open(temporary, "w") as file:
        file.write("whole")
    assert sorted(os.listdir(tmp_path)) == [new.name, target.name]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "folder"

    def fill(name, fail=False):
        with replacing_folder(str(target)) as temporary:
            os.mkdir(f"{temporary}/{name}")
            with open(f"{temporary}/{name}/file", "w") as file:
                file.write(name)
            if fail:
                raise KeyboardInterrupt

    fill("one")
    with pytest.raises(KeyboardInterrupt):
        fill("two", fail=True)
    assert os.listdir(target) == ["one"]
    fill("three")
    assert (target / "three" / "file").read_text() == "three"
    assert os.listdir(target) == ["three"]
    left = target.parent / f".folder.{'0' * 16}.tmp"
    (left / "half").mkdir(parents=True)
    fill("four")
    assert left.exists()
    os.utime(left, (0, 0))
    fill("five")
    assert os.listdir(target.parent) == ["folder"]


def test_a_folder_that_cannot_be_put_there_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    (target / "old").mkdir(parents=True)
    rename = os.rename

    def stubborn(source, goal):
        if goal == str(target) and os.path.exists(f"{source}/new"):
            raise PermissionError(errno.EACCES, "no", goal)
        rename(source, goal)

    monkeypatch.setattr(os, "rename", stubborn)
    with pytest.raises(PermissionError), replacing_folder(str(target)) as temporary:
        os.mkdir(f"{temporary}/new")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(target) == ["old"]


def test_replacing_follows_links(tmp_path):
    target, link = tmp_path / "file", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as temporary, open(temporary, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_who_may_read_a_model_is_the_umasks_affair(path):
    old = os.umask(0o027)
    try:
        save(make_state(), path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_replacing_refuses_what_is_no_file(tmp_path):
    with pytest.raises(OSError, match="not a regular file"), replacing(tmp_path):
        pass
    with pytest.raises(OSError, match="not a regular file"), replacing(os.devnull):
        pass
    with pytest.raises(FileNotFoundError, match="no such directory"), replacing(tmp_path / "absent" / "file"):
        pass


def test_a_read_only_directory(path, monkeypatch):
    monkeypatch.setattr(
        os, "access", lambda *_: False
    )  # the superuser, whom a container makes of all, may write anywhere
    with pytest.raises(PermissionError, match="read-only"):
        save(make_state(), path)


def test_a_full_disk_leaves_the_old_model(saved):
    resource = pytest.importorskip("resource")
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="model"):
            save(make_state(), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


# --- files that are not what they should be --------------------------------------------------------------------------


def refuse(path, reason="not a usable model file", mmap=True):
    with pytest.raises(FileFormatError, match=reason) as caught:
        load(path, mmap)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mmap", [True, False])
def test_missing_and_foreign_files(tmp_path, path, mmap):
    refuse(path, "No such file", mmap)
    refuse(tmp_path, "cannot be read", mmap)
    for content in (b"", b"\0" * 7, b"\0" * 8, b"PK\x03\x04" * 100, b"user,item\n1,2\n" * 50, b"\xff" * 200):
        path.write_bytes(content)
        refuse(path, "not a usable model file", mmap)


def test_safetensors_of_something_else(path):
    save_file({"weight": np.zeros((2, 2))}, path)
    refuse(path, "not a fastals model")


def test_every_truncation_is_refused(saved):
    data = saved.read_bytes()
    header = struct.unpack("<Q", data[:8])[0]
    ends = {8 + header + entry["data_offsets"][1] for name, entry in read_header(saved).items() if name[0] != "_"}
    cuts = {0, 1, 7, 8, 9, 8 + header - 1, 8 + header, 8 + header + 1} | {e + d for e in ends for d in (-1, 0, 1)}
    cuts |= set(np.random.default_rng(0).integers(0, len(data), 100).tolist())
    for cut in sorted(cut for cut in cuts if cut < len(data)):
        saved.write_bytes(data[:cut])
        for mmap in (True, False):
            refuse(saved, "not a usable model file", mmap)
    saved.write_bytes(data + b"\0")
    refuse(saved, "follow the last tensor")


def test_no_flipped_bit_goes_unnoticed(saved):
    """Parameters and shapes have their checksum as the data have: an error, or the model that was saved."""
    expected = load(saved, mmap=False)
    data = saved.read_bytes()
    header = struct.unpack("<Q", data[:8])[0]
    rng = np.random.default_rng(0)
    for position in rng.permutation(8 + header)[:300]:
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(broken)
        try:
            state = load(saved, mmap=False)
        except FileFormatError:
            continue
        assert_same(state, expected)
    for position in rng.integers(8 + header, len(data), 100):
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(broken)
        refuse(saved, "damaged", mmap=False)


def test_hostile_headers(path):
    def entry(dtype="F32", shape=(2, 2), offsets=(0, 16)):
        return {"user_factors": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}

    data = bytes(16)
    good = entry()
    for header, reason in [
        (b"", "Expecting value"),
        (b"[]", "not an object"),
        (b"[" * 100_000, "recursion"),
        (b'{"a":' * 100_000, "recursion"),
        (b"\xff\xfe{}", "utf-8"),
        ({"user_factors": 3}, "malformed"),
        ({"user_factors": {**good["user_factors"], "more": 1}}, "malformed"),
        ({"__metadata__": {"format": 1}, **good}, "metadata"),
        ({"__metadata__": [], **good}, "metadata"),
        (entry(dtype="F8"), "type"),
        (entry(dtype=["F32"]), "type"),
        (entry(shape=(-2, -2)), "shape"),
        (entry(shape=(2.0, 2)), "shape"),
        (entry(shape=(True, 4)), "shape"),
        (entry(shape=(2**62, 2**62)), "disagree"),
        (b'{"user_factors":{"dtype":"F32","shape":[' + b"9" * 4000 + b',1],"data_offsets":[0,16]}}', "disagree"),
        (b'{"user_factors":{"dtype":"F32","shape":[' + b"9" * 9000 + b',1],"data_offsets":[0,16]}}', "digits"),
        (entry(shape=(1, 2, 2)), "disagree"),
        (entry(offsets=(0, 16, 32)), "disagree"),
        (entry(offsets=(0, 12)), "disagree"),
        (entry(offsets=(16, 0)), "disagree"),
        (entry(offsets=(16, 32)), "gap or overlaps"),
        (entry(shape=(2, 4), offsets=(0, 32)), "truncated"),
        ({**good, "item_factors": good["user_factors"]}, "gap or overlaps"),
        (entry(shape=(1, 2), offsets=(0, 8)), "follow the last tensor"),
    ]:
        write_raw(path, header, data)
        refuse(path, reason)
    halves = {"text": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, **entry(shape=(3, 1), offsets=(2, 14))}
    write_raw(path, halves, data[:14])
    refuse(path, "not aligned")


def test_tensors_are_checked(saved):
    original = saved.read_bytes()
    good = load_file(saved)

    def refuse_with(reason, **changes):
        saved.write_bytes(original)
        edit(saved, **changes)
        refuse(saved, reason)

    for name, array in good.items():
        refuse_with(f"'{name}' is missing", tensors={name: None})
        if name != "loss_history":
            refuse_with("has shape|do not rise|not within", tensors={name: array[:-1]})
        other = np.int16 if name == "loss_history" else np.int32 if array.dtype.kind == "f" else np.float32
        refuse_with(f"'{name}' (has|is of type)", tensors={name: np.zeros(array.shape, other)})
        refuse_with(f"'{name}' has|disagree", tensors={name: array[None]})
    refuse_with("'seen_values' has shape", tensors={"seen_values": np.zeros(4, np.float32)})
    refuse_with("'seen_values' has shape", tensors={"seen_values": np.zeros(5, np.float64)})
    refuse_with("unexpected tensor 'more'", tensors={"more": np.zeros(1)})
    refuse_with("factors of length 0", tensors={"user_factors": np.zeros((3, 0)), "item_factors": np.zeros((4, 0))})
    refuse_with("not within 0..3", tensors={"seen_indices": np.array([1, 3, 0, 2, 4], np.int32)})
    refuse_with("not within 0..3", tensors={"seen_indices": np.array([-1, 3, 0, 2, 2], np.int32)})
    refuse_with("do not ascend", tensors={"seen_indices": np.array([3, 1, 0, 2, 2], np.int32)})
    for indptr in ([1, 2, 2, 5], [0, 2, 2, 4], [0, 2, 2, 2**60], [0, 6, 2, 5], [0, -1, 2, 5]):
        refuse_with("seen_indptr do not rise", tensors={"seen_indptr": np.array(indptr)})
    refuse_with("users_offsets do not rise", tensors={"users_offsets": np.array([0, 5, 1, good["users"].size])})
    refuse_with("utf-8", tensors={"users": np.full_like(good["users"], 0xFF)})


def test_metadata_is_checked(saved):
    original = saved.read_bytes()

    def refuse_with(reason, **changes):
        saved.write_bytes(original)
        edit(saved, **changes)
        refuse(saved, reason)

    refuse_with("format version '4'", metadata={"version": "4"})
    refuse_with("format version None", metadata={"version": None})
    refuse_with("not a fastals model", metadata={"format": "pt"})
    refuse_with("Expecting value", metadata={"content": None})
    refuse_with("metadata are damaged", metadata={"content": "[]"})
    refuse_with("metadata are damaged", metadata={"content_crc32": None})
    refuse_with("class 'Else', not EASE or .* or Model", content={"class": "Else"})
    refuse_with("'class'", content={"class": 3})
    refuse_with("'parameters'", content={"parameters": []})
    refuse_with("unexpected parameters", content={"parameters": {}})
    refuse_with("'n_iter'", content={"n_iter": True})
    refuse_with("'users'", content={"labels": {}})
    refuse_with("unknown kind 'pickle'", content={"labels": {"users": "pickle", "items": "int64"}})
    saved.write_bytes(original)
    edit(saved, content={"crc32": {}})
    refuse(saved, "damaged", mmap=False)


# --- estimators ------------------------------------------------------------------------------------------------------


def fitted(cls=fastals.ImplicitALS, **parameters):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 200), rng.integers(0, 20, 200)
    names = np.array([f"item {i}" for i in range(20)])
    values = rng.integers(1, 6, 200)
    return cls(factors=4, iterations=3, **{"random_state": 0, **parameters}).fit((users * 10**12, names[items], values))


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls", [fastals.ExplicitALS, fastals.ImplicitALS])
def test_a_loaded_model_is_the_saved_one(path, cls, dtype, mmap):
    model = fitted(cls, dtype=dtype, regularization_scaling=0.5)
    model.save(str(path))
    loaded = fastals.load(path, mmap=mmap)
    assert type(loaded) is cls
    assert loaded.get_params() == model.get_params()
    assert (loaded.loss_history_, loaded.n_iter_) == (model.loss_history_, model.n_iter_)
    for name in ("user_factors_", "item_factors_", "users_", "items_"):
        assert_array_equal(getattr(loaded, name), getattr(model, name))
    for exclude_seen in (True, False):
        for got, wanted in zip(
            *(m.recommend(model.users_, exclude_seen=exclude_seen) for m in (loaded, model)), strict=True
        ):
            assert_array_equal(got, wanted)
    assert_array_equal(loaded.predict([0], ["item 1"]), model.predict([0], ["item 1"]))
    history = ([5, 5], ["item 3", "item 7"])
    assert_array_equal(loaded.fold_in(history), model.fold_in(history))


def test_a_loaded_model_can_be_trained_again(path):
    model = fitted()
    model.save(path)
    data = sparse.random_array((9, 8), density=0.5, rng=np.random.default_rng(0), format="csr")
    assert_array_equal(fastals.load(path).fit(data).user_factors_, model.fit(data).user_factors_)


@pytest.mark.parametrize("random_state", [np.random.default_rng(3), np.random.RandomState(3), np.int64(3), None])
def test_any_random_state_can_be_saved(path, random_state):
    fitted(random_state=random_state).save(path)
    assert fastals.load(path).random_state == (3 if isinstance(random_state, np.integer) else None)


def test_only_fitted_models_are_saved(path):
    with pytest.raises(fastals.NotFittedError):
        fastals.ImplicitALS().save(path)
    assert not path.exists()


def test_parameters_changed_after_fit_do_no_harm(path):
    model = fitted()
    history = ([5, 5], ["item 3", "item 7"])
    expected = model.fold_in(history)
    model.set_params(factors=1).save(path)
    assert_array_equal(fastals.load(path).fold_in(history), expected)
    # the file is of what was fitted, the parameter of what will be
    assert (fastals.load(path).factors, model.factors) == (4, 1)


@pytest.mark.parametrize("parameters", [{"factors": 0}, {"factors": "4"}, {"magic": 1}, {"alpha": None}, {"self": 1}])
def test_parameters_are_checked(path, parameters):
    fitted().save(path)
    edit(path, content={"parameters": parameters})
    with pytest.raises(FileFormatError, match=str(path)):
        fastals.load(path)


def test_a_model_without_settings_answers_but_solves_nothing(path):
    """Such come from folders of Spark, which do not tell by which equation a model was fitted."""
    model = fitted()
    model.save(path)
    edit(path, content={"settings": {}})
    loaded = fastals.load(path)
    assert_array_equal(loaded.recommend(model.users_, n=3).items, model.recommend(model.users_, n=3).items)
    assert loaded.settings_ == {}
    history = ([5, 5], ["item 3", "item 7"])
    asks = [
        lambda: loaded.fold_in(history),
        lambda: loaded.fold_in_items(([5, 6], ["new", "new"])),
        lambda: loaded.partial_fit(history),
        lambda: loaded.recommend(histories=history),
        lambda: loaded.explain(None, "item 3", history=history),
        lambda: loaded.explain(model.users_[0], "item 3"),
        loaded.diagnose,
    ]
    for ask in asks:
        with pytest.raises(fastals.NotFittedError, match="does not say by which equation"):
            ask()
    loaded.save(path)
    with pytest.raises(fastals.NotFittedError, match="does not say by which equation"):
        fastals.load(path).fold_in(history)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["user_factors", "item_factors"])
def test_factors_that_are_not_finite_do_no_harm(path, name, bad):
    """Loading does not read them all, so a damaged file can hold them: lists are then senseless, but lists."""
    model = fitted()
    model.save(path)
    factors = getattr(model, name + "_").copy()
    factors[::2, 1] = bad
    edit(path, tensors={name: factors})
    loaded = fastals.load(path)
    assert loaded.recommend(loaded.users_, n=5).items.shape == (len(loaded.users_), 5)


@pytest.mark.parametrize("path", [3, None, ["model"]])
def test_a_path_is_a_path(path):
    with pytest.raises(fastals.ArgumentTypeError, match="path must be"):
        fastals.load(path)
    with pytest.raises(fastals.ArgumentTypeError, match="path must be"):
        fitted().save(path)
