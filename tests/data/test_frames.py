"""Ids and frames in every container that people have them in: each gives what plain lists give, or an error."""

import datetime
import pickle
import re
from collections import deque
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import fastals
from fastals import DataError, Interactions, evaluation
from fastals._core.errors import ArgumentTypeError, FastalsError, ParameterError, UnknownLabelError
from fastals._data import frames
from fastals._data.frames import choose_columns, pair_columns
from fastals._data.labels import factorize

# ----------------------------------------------------------------------------------------------------------------------
# ids

BIG = 2**63


def dictionary(values):
    return pa.array(values).dictionary_encode()


STRINGS = {
    "tuple": tuple,
    "deque": deque,
    "dict values": lambda ids: dict(enumerate(ids)).values(),
    "numpy U": np.array,
    "numpy objects": lambda ids: np.array(ids, object),
    "numpy T": lambda ids: np.array(ids, np.dtypes.StringDType()),
    "pandas": pd.Series,
    "pandas objects": lambda ids: pd.Series(ids, dtype=object),
    "pandas string": lambda ids: pd.Series(ids, dtype="string"),
    "pandas pyarrow": lambda ids: pd.Series(ids, dtype="string[pyarrow]"),
    "pandas arrow": lambda ids: pd.Series(ids, dtype=pd.ArrowDtype(pa.string())),
    "pandas category": lambda ids: pd.Series(ids, dtype="category"),
    "pandas Index": pd.Index,
    "pandas CategoricalIndex": lambda ids: pd.CategoricalIndex(ids),
    "pandas Categorical": lambda ids: pd.Categorical(ids, categories=["unused", *ids[::-1]][: len(set(ids)) + 1]),
    "pandas array": pd.array,
    "pandas part": lambda ids: pd.Series(["before", *ids])[1:],
    "polars": pl.Series,
    "polars Categorical": lambda ids: pl.Series(ids, dtype=pl.Categorical),
    "polars Enum": lambda ids: pl.Series(ids, dtype=pl.Enum([*dict.fromkeys(ids), "unused"])),
    "polars Object": lambda ids: pl.Series(ids, dtype=pl.Object),
    "Arrow": pa.array,
    "Arrow chunks": lambda ids: pa.chunked_array([ids[:1], ids[1:]]),
    "Arrow large_string": lambda ids: pa.array(ids, pa.large_string()),
    "Arrow string_view": lambda ids: pa.array(ids, pa.string_view()),
    "Arrow dictionary": dictionary,
    "Arrow slice": lambda ids: pa.array(["before", *ids]).slice(1),
}
INTEGERS = {
    "tuple": tuple,
    "range": lambda ids: range(ids[0], ids[0] + 3) if ids[-1] - ids[0] == 2 else ids,
    "whole floats": lambda ids: list(map(float, ids)),
    "Decimals": lambda ids: list(map(Decimal, ids)),
    "Decimals with a point": lambda ids: [Decimal(f"{i}.00") for i in ids],
    "numpy int16": np.int16,
    "numpy uint8": lambda ids: np.array(ids, np.uint8),
    "numpy float32": np.float32,
    "numpy big-endian": lambda ids: np.array(ids, ">i4"),
    "pandas": pd.Series,
    "pandas Int64": lambda ids: pd.Series(ids, dtype="Int64"),
    "pandas Float64": lambda ids: pd.Series(ids, dtype="Float64"),
    "pandas arrow": lambda ids: pd.Series(ids, dtype=pd.ArrowDtype(pa.int32())),
    "pandas category": lambda ids: pd.Series(ids, dtype="category"),
    "pandas Sparse": lambda ids: pd.Series(pd.arrays.SparseArray(ids)),
    "pandas Index": pd.Index,
    "polars": pl.Series,
    "polars Int8": lambda ids: pl.Series(ids, dtype=pl.Int8),
    "polars UInt64": lambda ids: pl.Series(ids, dtype=pl.UInt64),
    "polars Int128": lambda ids: pl.Series(ids, dtype=pl.Int128),
    "polars UInt128": lambda ids: pl.Series(ids, dtype=pl.UInt128),
    "polars Decimal": lambda ids: pl.Series(ids).cast(pl.Decimal(20, 0)),
    "polars Object": lambda ids: pl.Series(ids, dtype=pl.Object),
    "Arrow": pa.array,
    "Arrow uint16": lambda ids: pa.array(ids, pa.uint16()),
    "Arrow double": lambda ids: pa.array(ids, pa.float64()),
    "Arrow decimal": lambda ids: pa.array(ids).cast(pa.decimal128(22, 3)),
    "Arrow dictionary": dictionary,
}
BYTES = {
    "numpy S": np.array,
    "polars": pl.Series,
    "Arrow binary": pa.array,
    "Arrow large_binary": lambda ids: pa.array(ids, pa.large_binary()),
    "Arrow binary(2)": lambda ids: pa.array(ids, pa.binary(2)),
    "Arrow binary_view": lambda ids: pa.array(ids, pa.binary_view()),
    "Arrow dictionary": dictionary,
    "pandas": lambda ids: pd.Series(ids, dtype=object),
}
UUIDS = {
    "numpy": lambda ids: np.array(ids, object),
    "pandas": pd.Series,
    "polars Object": pl.Series,
    "Arrow uuid": lambda ids: pa.array([each.bytes for each in ids], pa.uuid()),
    "Arrow chunks": lambda ids: pa.chunked_array([pa.array([each.bytes for each in ids], pa.uuid())]),
}
WIDE = {
    "list": list,
    "Decimals": lambda ids: list(map(Decimal, ids)),
    "numpy": lambda ids: np.array(ids, np.uint64),
    "pandas": lambda ids: pd.Series(ids, dtype="uint64"),
    "pandas UInt64": lambda ids: pd.Series(ids, dtype="UInt64"),
    "polars": lambda ids: pl.Series(ids, dtype=pl.UInt64),
    "polars UInt128": lambda ids: pl.Series(ids, dtype=pl.UInt128),
    "polars Decimal": lambda ids: pl.Series(ids).cast(pl.Decimal(20, 0)),
    "Arrow": lambda ids: pa.array(ids, pa.uint64()),
    "Arrow dictionary": lambda ids: pa.array(ids, pa.uint64()).dictionary_encode(),
}
KINDS = [
    (["b", "zoë", "a", "b"], STRINGS),
    ([7, 5, 6, 7], INTEGERS),
    ([5, 6, 7], {"range": INTEGERS["range"]}),
    ([b"b\0", b"\0a", b"b\0"], {name: make for name, make in BYTES.items() if name != "numpy S"}),
    ([b"bb", b"aa", b"bb"], BYTES),
    ([UUID(int=2), UUID(int=1 << 127), UUID(int=2)], UUIDS),
    ([BIG + 1, 3, BIG, 3], WIDE),
]


@pytest.fixture(params=[True, False], ids=["pyarrow", "no pyarrow"])
def arrow(request, monkeypatch):
    """With pyarrow, and as if it were not there."""
    monkeypatch.setattr(frames, "has_pyarrow", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("ids", "make"),
    [pytest.param(ids, make, id=f"{ids[0]} {name}") for ids, made in KINDS for name, make in made.items()],
)
def test_ids_in_every_container(ids, make, arrow):
    if not arrow and isinstance(make(ids), pa.Array | pa.ChunkedArray):
        return
    column, distinct = make(ids), sorted(set(ids))
    indices, labels = factorize("ids", column, 2)
    assert labels.values.tolist() == distinct
    assert list(map(type, labels.values.tolist())) == list(map(type, distinct))
    assert labels.values[indices].tolist() == ids
    assert labels.encode(column).tolist() == indices.tolist()
    assert fastals.Ids(distinct).encode(column).tolist() == indices.tolist()
    data = Interactions.from_frame({"user": column, "item": ids})
    assert data.users.tolist() == data.items.tolist() == distinct


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("name", WIDE)
def test_unsigned_ids_from_data_to_files_and_back(name, on_disk, tmp_path):
    users = [BIG + 1, 3, BIG, 3]
    path = tmp_path / "data" if on_disk else None
    data = Interactions.from_arrays(WIDE[name](users), ["x", "y", "x", "x"], on_disk=path)
    assert data.users.tolist() == [3, BIG, BIG + 1]
    model = fastals.ImplicitALS(factors=2, random_state=0).fit(data)
    model.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    assert loaded.users_.tolist() == [3, BIG, BIG + 1]
    assert loaded.recommend(BIG, n=1).items.tolist() == ["y"]
    with pytest.raises(UnknownLabelError, match=f"got {BIG + 2} at position 0"):
        loaded.recommend(BIG + 2)


NOW = datetime.datetime(2024, 1, 31, tzinfo=datetime.timezone.utc)
REFUSED = {
    "pandas Period": (pd.Series(pd.period_range("2024", periods=2, freq="M")), "integers, strings, bytes or UUIDs"),
    "pandas PeriodIndex": (pd.period_range("2024", periods=2, freq="M"), "integers, strings, bytes or UUIDs"),
    "pandas Interval": (pd.Series(pd.interval_range(0, 2)), "integers, strings, bytes or UUIDs"),
    "pandas category of Period": (
        pd.Series(pd.period_range("2024", periods=2, freq="M")).astype("category"),
        "integers, strings, bytes or UUIDs",
    ),
    "pandas datetime": (pd.Series(pd.date_range("2024", periods=2)), "integers, strings, bytes or UUIDs"),
    "pandas zone": (pd.Series(pd.date_range("2024", periods=2, tz="UTC")), "integers, strings, bytes or UUIDs"),
    "pandas timedelta": (pd.Series(pd.to_timedelta([1, 2])), "integers, strings, bytes or UUIDs"),
    "pandas bool": (pd.Series([True, False]), "integers, strings, bytes or UUIDs"),
    "pandas boolean": (pd.Series([True, False], dtype="boolean"), "integers, strings, bytes or UUIDs"),
    "pandas lists": (pd.Series([[1], [2]]), r"got \[1\] \(list\) at position 0"),
    "pandas arrays": (pd.Series([np.ones(2), np.ones(3)]), r"\(ndarray\) at position 0"),
    "pandas mixed": (pd.Series([1, "a"], dtype=object), r"got 'a' \(str\) at position 1"),
    "polars Object mixed": (pl.Series(["a", 1], dtype=pl.Object), r"got 1 \(int\) at position 1"),
    "polars Object of objects": (
        pl.Series([object(), object()], dtype=pl.Object),
        r"got <object object.*at position 0",
    ),
    "polars List": (pl.Series([[1], [2]]), "integers, strings, bytes or UUIDs"),
    "polars Array": (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)), "integers, strings, bytes or UUIDs"),
    "polars Struct": (pl.Series([{"a": 1}, {"a": 2}]), "integers, strings, bytes or UUIDs"),
    "polars Date": (pl.Series([NOW.date(), NOW.date()]), "integers, strings, bytes or UUIDs"),
    "polars Datetime": (pl.Series([NOW, NOW]), "integers, strings, bytes or UUIDs"),
    "polars Boolean": (pl.Series([True, False]), "integers, strings, bytes or UUIDs"),
    "polars Int128": (pl.Series([1, 2**100], dtype=pl.Int128), r"must fit in int64 .* at position 1"),
    "polars Decimal": (
        pl.Series([Decimal("1.50"), Decimal(2)]),
        r"must be whole numbers or strings, got 1\.50 at position 0",
    ),
    "Arrow list": (pa.array([[1], [2]]), r"got list<"),
    "Arrow map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "integers, strings, bytes or UUIDs"),
    "Arrow timestamp": (pa.array([NOW]), r"got timestamp\["),
    "Arrow decimal": (pa.array([Decimal("1.5")] * 2), r"got 1\.5 at position 0"),
    "numpy 2-d": (np.ones((2, 2)), "one-dimensional"),
    "pandas frame": (pd.DataFrame({"a": [1, 2], "b": [1, 2]}), "one-dimensional|integers, strings, bytes or UUIDs"),
    "dict": ({1: 2, 3: 4}, r"must be one-dimensional, an array or a list of ids, got \{1: 2, 3: 4\}"),
    "string": ("ab", "must be one-dimensional, an array or a list of ids, got 'ab'"),
    "frozenset": (frozenset({1, 2}), "must be in an order, as in an array or a list, got a frozenset"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_id_is_refused(case, arrow):
    column, message = REFUSED[case]
    for ask in (
        lambda: factorize("ids", column, 1),
        lambda: fastals.Ids([1, 2]).encode(column),
        lambda: Interactions.from_arrays(column, [1, 2]),
    ):
        with pytest.raises(FastalsError, match=message if arrow else None) as error:
            ask()
        assert str(error.value).count("\n") <= 1


MISSING = {
    "list": ["a", None],
    "list of NaN": ["a", float("nan")],
    "list of NA": [1, pd.NA],
    "list of NaT": [1, pd.NaT],
    "floats": [1.0, float("nan")],
    "numpy": np.array([1.0, np.nan]),
    "pandas": pd.Series(["a", None]),
    "pandas objects": pd.Series(["a", None], dtype=object),
    "pandas string": pd.Series(["a", pd.NA], dtype="string"),
    "pandas Int64": pd.Series([1, pd.NA], dtype="Int64"),
    "pandas floats": pd.Series([1, None]),
    "pandas category": pd.Series(["a", None], dtype="category"),
    "pandas arrow": pd.Series(["a", None], dtype=pd.ArrowDtype(pa.string())),
    "polars": pl.Series(["a", None]),
    "polars integers": pl.Series([1, None]),
    "polars Categorical": pl.Series(["a", None], dtype=pl.Categorical),
    "polars Object": pl.Series(["a", None], dtype=pl.Object),
    "polars Decimal": pl.Series([Decimal(1), None]),
    "Arrow": pa.array(["a", None]),
    "Arrow chunks": pa.chunked_array([["a"], [None]]),
    "Arrow integers": pa.array([1, None]),
    "Arrow dictionary": dictionary(["a", None]),
    "Arrow null in the dictionary": pa.DictionaryArray.from_arrays([0, 1], ["a", None]),
    "Arrow binary": pa.array([b"a", None]),
    "Arrow uuid": pa.array([UUID(int=1).bytes, None], pa.uuid()),
}


@pytest.mark.parametrize("case", MISSING)
def test_missing_ids_are_named(case, arrow):
    if not arrow and case.startswith("Arrow"):
        return
    with pytest.raises(DataError, match=r"ids must not be missing, got \S+ at position 1"):
        factorize("ids", MISSING[case], 1)


def test_messages_are_short():
    with pytest.raises(ArgumentTypeError) as error:
        Interactions.from_arrays([np.arange(1000)], ["x"])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


# ----------------------------------------------------------------------------------------------------------------------
# what ids are declared to be


@pytest.mark.parametrize("make", [list, np.array, pd.Series, pl.Series, pa.array, dictionary])
@pytest.mark.parametrize("on_disk", [False, True])
def test_declared_ids(make, on_disk, tmp_path):
    def users(ids, kind):
        path = tmp_path / str(len(list(tmp_path.iterdir()))) if on_disk else None
        frame = Interactions.from_frame({"user": make(ids), "item": make(["x"] * len(ids))}, ids="text")
        arrays = Interactions.from_arrays(make(ids), make(ids), ids=kind, on_disk=path)
        assert kind != "text" or frame.users.tolist() == arrays.users.tolist()
        assert arrays.items.tolist() == arrays.users.tolist()
        return arrays.users.tolist()

    assert users([10, 9, -1], "text") == ["-1", "10", "9"]
    assert users(["10", "9", "-1", "9"], "integer") == [-1, 9, 10]
    assert users(["007", "7"], "text") == ["007", "7"]
    assert users([10, 9], "integer") == [9, 10]
    assert users([str(BIG), "1"], "integer") == [1, BIG]
    assert users(["10", "9"], "auto") == ["10", "9"]
    for bad in ("guest-7", "007", "+7", " 7", "7.0", "", "7_0", "-0", "٣"):
        message = f"users must be integers with ids='integer', got {bad!r} at position 2"
        with pytest.raises(DataError, match=re.escape(message)):
            Interactions.from_arrays(make(["9", "10", bad, "9", bad]), make(list("abcde")), ids="integer")


def test_kinds_that_cannot_be_declared():
    with pytest.raises(ParameterError, match="ids must be one of 'auto', 'text', 'integer', got 'str'"):
        Interactions.from_arrays([1], [2], ids="str")
    for kind in ("text", "integer"):
        with pytest.raises(
            ArgumentTypeError, match=f"users must be strings or whole numbers with ids='{kind}', got UUIDs"
        ):
            Interactions.from_arrays([UUID(int=1)], [2], ids=kind)


# ----------------------------------------------------------------------------------------------------------------------
# frames

TRAIN = {"user": list("aabbccd"), "item": list("xyyzxwx"), "value": [5.0, 1.0, 4.0, 2.0, 3.0, 5.0, 4.0]}
TEST = {"user": list("abcd"), "item": list("zxyw"), "value": [2.0, 3.0, 1.0, 4.0]}
ONE = {"user": ["q", "q"], "item": ["x", "w"], "value": [1.0, 2.0]}


def plain(frame):
    return tuple(list(column) for column in frame.values())


FRAMES = {
    "dict": dict,
    "dict of Arrow": lambda d: {name: pa.array(column) for name, column in d.items()},
    "dict of polars": lambda d: {name: pl.Series(column) for name, column in d.items()},
    "pandas": pd.DataFrame,
    "pandas objects": lambda d: pd.DataFrame(d).astype({"user": object, "item": object}),
    "pandas categories": lambda d: pd.DataFrame(d).astype({"user": "category", "item": "category"}),
    "pandas string": lambda d: pd.DataFrame(d).convert_dtypes(),
    "pandas arrow": lambda d: pd.DataFrame(d).convert_dtypes(dtype_backend="pyarrow"),
    "pandas with another index": lambda d: pd.DataFrame(d, index=range(7, 7 + len(d["user"]))),
    "polars": pl.DataFrame,
    "polars Categorical": lambda d: pl.DataFrame(d).with_columns(pl.col("user", "item").cast(pl.Categorical)),
    "polars Object": lambda d: pl.DataFrame(
        {k: pl.Series(v, dtype=pl.Object if k == "user" else None) for k, v in d.items()}
    ),
    "Arrow table": pa.table,
    "Arrow chunks": lambda d: pa.concat_tables([pa.table(d).slice(0, 1), pa.table(d).slice(1)]),
    "Arrow record batch": pa.record_batch,
    "Arrow dictionaries": lambda d: pa.table({k: dictionary(v) if k != "value" else v for k, v in d.items()}),
    "structured array": lambda d: np.rec.fromarrays(list(d.values()), names=list(d)),
    "tuple of Series": lambda d: tuple(pd.Series(column) for column in d.values()),
    "tuple of Arrow": lambda d: tuple(pa.array(column) for column in d.values()),
    "list of tuples": lambda d: list(zip(*d.values(), strict=True)),
    "array of objects": lambda d: np.array(list(zip(*d.values(), strict=True)), object),
}
NOT_PAIRS = ("tuple of Series", "tuple of Arrow", "list of tuples", "array of objects")


def implicit():
    return fastals.ImplicitALS(factors=2, iterations=3, random_state=0)


def explicit():
    return fastals.ExplicitALS(factors=2, iterations=3, random_state=0)


def tuned(train, test):
    return fastals.tune(
        implicit(), train, {"factors": [1, 2]}, validation=test, warm_start=False, random_state=0
    ).best_score


LISTS = [["z", "w"], ["x"], ["y", "z"], ["w", "y"]]
CALLS = {
    "fit": lambda m, e, k, train, test, one: implicit().fit(train).user_factors_,
    "fit ratings": lambda m, e, k, train, test, one: explicit().fit(train).user_factors_,
    "fit with weights": lambda m, e, k, train, test, one: (
        implicit().fit(train, sample_weight=np.arange(1, 8)).item_factors_
    ),
    "ItemKNN": lambda m, e, k, train, test, one: fastals.ItemKNN().fit(train).similarity_.toarray(),
    "validation": lambda m, e, k, train, test, one: implicit().fit(train, validation=test).metrics_history_,
    "validation of ratings": lambda m, e, k, train, test, one: explicit().fit(train, validation=test).metrics_history_,
    "evaluate": lambda m, e, k, train, test, one: evaluation.evaluate(m, train, test),
    "evaluate ratings": lambda m, e, k, train, test, one: evaluation.evaluate(e, None, test),
    "popularity_baseline": lambda m, e, k, train, test, one: evaluation.popularity_baseline(m, train, test),
    "auc": lambda m, e, k, train, test, one: evaluation.auc(m, train, test),
    "most_popular": lambda m, e, k, train, test, one: evaluation.most_popular(train, 2).tolist(),
    "ndcg_at_k": lambda m, e, k, train, test, one: evaluation.ndcg_at_k(LISTS, test),
    "novelty_at_k": lambda m, e, k, train, test, one: evaluation.novelty_at_k(LISTS, train),
    "train_test_split": lambda m, e, k, train, test, one: (
        evaluation.train_test_split(train, 0.3, random_state=0)[0].indices
    ),
    "score": lambda m, e, k, train, test, one: m.score(test),
    "score of ratings": lambda m, e, k, train, test, one: e.score(test),
    "tune": lambda m, e, k, train, test, one: tuned(train, test),
    "with_ids": lambda m, e, k, train, test, one: fastals.with_ids(train, items=fastals.Ids(list("wzyx"))).indices,
    "fold_in": lambda m, e, k, train, test, one: m.fold_in(test),
    "fold_in with weights": lambda m, e, k, train, test, one: m.fold_in(test, sample_weight=[1, 2, 3, 4]),
    "fold_in_items": lambda m, e, k, train, test, one: m.fold_in_items(test),
    "histories": lambda m, e, k, train, test, one: m.recommend(histories=test, n=2).items.tolist(),
    "histories of ratings": lambda m, e, k, train, test, one: e.recommend(histories=test, n=2).items.tolist(),
    "ItemKNN histories": lambda m, e, k, train, test, one: k.recommend(histories=test, n=2).items.tolist(),
    "explain": lambda m, e, k, train, test, one: m.explain(None, "y", history=one).contributions,
    "partial_fit": lambda m, e, k, train, test, one: implicit().fit(plain(TRAIN)).partial_fit(test).user_factors_,
}


@pytest.fixture(scope="module")
def models():
    train = plain(TRAIN)
    return implicit().fit(train), explicit().fit(train), fastals.ItemKNN().fit(train)


@pytest.fixture(scope="module")
def expected(models):
    return {name: call(*models, plain(TRAIN), plain(TEST), plain(ONE)) for name, call in CALLS.items()}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("call", CALLS)
def test_every_frame_in_every_call(models, expected, frame, call):
    np.testing.assert_equal(CALLS[call](*models, *map(FRAMES[frame], (TRAIN, TEST, ONE))), expected[call])


@pytest.mark.parametrize("frame", FRAMES)
def test_frames_on_disk_are_those_in_memory(frame, tmp_path):
    data = FRAMES[frame](TRAIN)
    if frame in NOT_PAIRS:
        return
    made = Interactions.from_frame(data, on_disk=tmp_path / "data").in_memory()
    assert made.users.tolist() == list("abcd")
    np.testing.assert_array_equal(made.matrix.toarray(), Interactions.from_arrays(*plain(TRAIN)).matrix.toarray())


@pytest.mark.parametrize("frame", FRAMES)
def test_pairs_go_by_name(models, frame):
    """Whatever the order of the columns, and whatever else there is."""
    model = models[1]
    expected = model.predict(TEST["user"], TEST["item"])
    if frame in NOT_PAIRS:
        pairs = FRAMES[frame]({name: TEST[name] for name in ("user", "item")})
        if frame.startswith("tuple"):
            return
    else:
        pairs = FRAMES[frame]({name: TEST[name] for name in ("value", "item", "user")})
    np.testing.assert_array_equal(model.predict(pairs), expected)
    assert model.score(pairs, TEST["value"]) == model.score(plain(TEST))
    fitted = explicit().fit(
        FRAMES[frame]({k: TRAIN[k] for k in ("item", "user")})
        if frame not in NOT_PAIRS
        else FRAMES[frame]({k: TRAIN[k] for k in ("user", "item")}),
        TRAIN["value"],
    )
    np.testing.assert_array_equal(fitted.user_factors_, model.user_factors_)


def test_pairs_keep_their_kinds():
    model = implicit().fit(([1, 2, 3], ["x", "y", "x"]))
    expected = model.predict([1, 2], ["x", "y"])
    for pairs in (
        [(1, "x"), (2, "y")],
        [[1, "x"], [2, "y"]],
        ((1, "x"), (2, "y")),
        np.array([[1, "x"], [2, "y"]], object),
    ):
        np.testing.assert_array_equal(model.predict(pairs), expected)
    with pytest.raises(
        ArgumentTypeError, match="users must be integers, as the labels the model knows, got strings: '1'"
    ):
        model.predict(np.array([[1, "x"], [2, "y"]]))
    unnamed = pd.DataFrame([[1, "x"], [2, "y"]])
    np.testing.assert_array_equal(model.predict(unnamed), expected)
    with pytest.raises(DataError, match="user column not recognised"):
        model.predict(unnamed.rename(columns={0: "who", 1: "what"}))
    for bad in ([], [1, 2], [(1, "x", 3)], np.ones(3), np.ones((2, 3)), "ab", 5):
        with pytest.raises(DataError, match=r"must have shape|one length"):
            pair_columns("pairs", bad)
    with pytest.raises(DataError, match=r"pairs must have rows of one length, got \(1,\) at position 1"):
        pair_columns("pairs", [(1, "x"), (1,)])


def test_triples():
    """Rows of a user, an item and a value: what a loop over them would enter."""
    rows = [[1, 10, 5.0], [1, 11, 3.0], [-2, 10, 4.0], [3, 12, 1.0]]
    expected = Interactions.from_arrays([1, 1, -2, 3], [10, 11, 10, 12], [5, 3, 4, 1]).matrix.toarray()
    for data in (np.array(rows), np.array(rows, int), [(int(u), int(i), v) for u, i, v in rows]):
        split = evaluation.train_test_split(data, 0.25, random_state=0)
        np.testing.assert_array_equal((split[0].matrix + split[1].matrix).toarray(), expected)
        np.testing.assert_array_equal(
            implicit().fit(data).user_factors_, implicit().fit(tuple(zip(*rows, strict=True))).user_factors_
        )
    rows[2][2] = 0
    with pytest.raises(ArgumentTypeError, match=r"got a dense array of shape \(4, 3\)"):
        implicit().fit(np.array(rows))
    pairs = implicit().fit([("a", "x"), ("b", "y")])
    assert (pairs.users_.tolist(), pairs.items_.tolist()) == (["a", "b"], ["x", "y"])
    with pytest.raises(ArgumentTypeError, match="values must be real numbers, got <U"):
        implicit().fit(np.array([("a", "x", 5.0)]))


def test_what_is_not_computed_yet_is_refused():
    """But where events are read in parts."""
    lazy = pl.LazyFrame({"user": [1], "item": [1]})
    with pytest.raises(ArgumentTypeError, match=r"a LazyFrame is not computed yet: pass what its collect\(\) gives"):
        implicit().fit(lazy)
    assert fastals.scoring.score(lazy, {"signals": {"*": {}}}).n_events == 1


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS, UUIDS, WIDE], ids=["strings", "integers", "UUIDs", "wide"])
def test_scores_take_ids_of_frames(ids):
    """Also in columns that Arrow has not, or has as addresses."""
    values = next(values for values, makers in KINDS if makers is ids)
    for name, make in ids.items():
        for library, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("Arrow", pa.table)):
            if name.startswith(library) and "Index" not in name:
                scores = fastals.scoring.score(
                    frame({"user": make(values), "item": range(len(values))}), {"signals": {"*": {}}}
                )
                assert scores.interactions().users.tolist() == sorted(set(values)), name


# ----------------------------------------------------------------------------------------------------------------------
# matrices for models with labels


def test_a_matrix_is_in_the_order_of_the_model():
    rng = np.random.default_rng(0)
    users, items = (
        np.r_[rng.integers(1, 31, 600), np.arange(1, 31)],
        np.r_[rng.integers(5, 25, 600), rng.integers(5, 25, 30)],
    )
    values = rng.integers(1, 6, len(users)).astype(float)
    whole = Interactions.from_arrays(users, items, values, duplicates="last")
    train, test = evaluation.train_test_split(whole, 0.3, random_state=0)
    for model in (implicit(), explicit()):
        check_matrices(model.fit(train), train, test)


def check_matrices(model, train, test):
    def fitted(given):
        return type(model)(**model.get_params()).fit(train, validation=given).metrics_history_

    asks = {
        "evaluate": lambda given: evaluation.evaluate(model, None, given),
        "popularity_baseline": lambda given: evaluation.popularity_baseline(model, None, given),
        "auc": lambda given: evaluation.auc(model, None, given),
        "score": model.score,
        "validation": fitted,
    }
    for name, ask in asks.items():
        for given in (test.matrix, test.matrix.tocsc(), Interactions.from_matrix(test.matrix)):
            np.testing.assert_equal(ask(given), ask(test), err_msg=name)
        with pytest.raises(DataError, match=r"the matrix has .* columns but the model knows .* items"):
            ask(test.matrix[:, :-1])
        with pytest.raises(DataError, match=r"the matrix has .* rows but the model knows .* users"):
            ask(test.matrix[:-1])
    np.testing.assert_array_equal(model.fold_in(test.matrix), model.fold_in(test))
    with pytest.raises(DataError, match="columns"):
        model.recommend(histories=test.matrix[:, :-1])


# ----------------------------------------------------------------------------------------------------------------------
# ids of another kind


def test_another_kind_is_an_error_everywhere():
    users, items = [1, 1, 2, 2, 3, 3, 4], [10, 11, 11, 12, 10, 13, 13]
    model, knn = implicit().fit((users, items)), fastals.ItemKNN().fit((users, items))
    test = ([1, 2, 3], ["12", "13", "11"])
    own = fastals.Interactions.from_arrays(*test)
    for ask in (
        lambda: model.recommend(["1"], unknown="popular"),
        lambda: model.recommend("1", unknown="empty"),
        lambda: model.recommend(1, items=["10"]),
        lambda: model.recommend(1, exclude=[["10"]]),
        lambda: model.recommend(1, boost={"10": 2.0}),
        lambda: model.recommend(histories=test),
        lambda: knn.recommend(histories=test),
        lambda: list(model.recommend_all(items={"10"})),
        lambda: model.similar_items(10, candidates=["11"]),
        lambda: model.recommend_users(10, users=["1"]),
        lambda: model.predict(["1"], [10]),
        lambda: model.predict([1], ["10"], unknown="mean"),
        lambda: evaluation.evaluate(model, None, test),
        lambda: evaluation.evaluate(model, own, ([1], [10])),
        lambda: evaluation.popularity_baseline(model, None, own),
        lambda: evaluation.auc(model, None, test),
        lambda: evaluation.recall_at_k([["10"]], ([1], [10])),
        lambda: evaluation.novelty_at_k([["10"]], ([1], [10])),
        lambda: model.score(test),
        lambda: model.fold_in(test),
        lambda: model.fold_in_items((["1"], ["new"])),
        lambda: model.explain(1, "10"),
        lambda: model.explain(None, 10, history=(["q"], ["10"])),
        lambda: implicit().fit((users, items)).partial_fit(test),
        lambda: implicit().fit((users, items), validation=test),
        lambda: fastals.tune(implicit(), (users, items), {"factors": [1]}, validation=test),
        lambda: fastals.mmr(model, model.recommend(1, n=1)._replace(items=np.array(["10"], object))),
        lambda: fastals.serving.user_vectors(model, ["1"]),
        lambda: fastals.Ids([1, 2], unseen="keep").encode(["1"]),
        lambda: fastals.Ids([1, 2], unseen="skip").encode(["1"]),
        lambda: fastals.Ids([1, 2]).extend(["1"]),
        lambda: fastals.with_ids(own, items=fastals.Ids([1, 2], unseen="skip")),
        lambda: fastals.with_ids(own, items=fastals.Ids([1, 2], unseen="keep")),
    ):
        with pytest.raises(
            ArgumentTypeError, match=r"must be integers, as the labels the model knows, got strings: '1"
        ):
            ask()
    plain_model = implicit().fit(sparse.csr_array(np.eye(3)))
    with pytest.raises(
        ArgumentTypeError, match="users must be indices from 0 to 2, as the model, which knows no labels"
    ):
        plain_model.recommend("ann", unknown="popular")


# ----------------------------------------------------------------------------------------------------------------------
# which columns are read

UNREAD = {
    ("user", "item", "stars"): "'stars' may be it",
    ("plays", "user", "item"): "'plays' may be it",
    ("user", "item", "plays", "timestamp"): "'plays' may be it",
    ("", "user", "item", "plays", "session_id"): "'plays' may be it",
    ("user", "item"): None,
    ("user", "item", "timestamp"): None,
    ("user", "item", "event_time", "date", "ts", "created_at", "sessionId", "Unnamed: 0"): None,
    ("user", "item", "stars", "plays"): None,
    ("user", "item", "rating", "plays"): None,
}


@pytest.mark.parametrize("names", UNREAD)
def test_a_column_that_may_be_the_value_must_be_named(names):
    message = UNREAD[names]
    if message is None:
        assert choose_columns(names, None, None, None)[2] == ("rating" if "rating" in names else None)
    else:
        with pytest.raises(DataError, match=f"value column not recognised, {message}: name it with value="):
            choose_columns(names, None, None, None)
    assert choose_columns(names, None, None, "")[2] is None


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table, pa.record_batch])
def test_only_numbers_may_be_values(make):
    ids = {"user": ["a", "b"], "item": ["x", "y"]}
    for numbers in ([1, 2], [1.5, 2.5], [Decimal(1), Decimal(2)]):
        with pytest.raises(DataError, match="'stars' may be it"):
            implicit().fit(make({**ids, "stars": numbers}))
        named = Interactions.from_frame(make({**ids, "stars": numbers}), value="stars")
        assert named.values.tolist() == list(map(float, numbers))
        assert Interactions.from_frame(make({**ids, "stars": numbers}), value="").values.tolist() == [1, 1]
    for others in (["de", "fr"], [True, False], [NOW, NOW], [[1], [2]]):
        assert Interactions.from_frame(make({**ids, "stars": others})).values.tolist() == [1, 1]


def test_ratings_are_never_all_one_in_silence(tmp_path):
    """Two columns may both be no values; but ratings that have none while there are columns that nobody has read …"""
    ids = {"user": ["a", "a", "b"], "item": ["x", "y", "y"]}
    frame = pd.DataFrame({**ids, "stars": [5, 1, 4], "helpful": [0, 0, 1]})
    assert implicit().fit(frame).state_.pairs.values.tolist() == [1, 1, 1]
    unread = Interactions.from_frame(frame)
    model, knn = explicit().fit({**ids, "rating": [5, 1, 4]}), fastals.ItemKNN(feedback="explicit")
    frame.to_parquet(tmp_path / "ratings.parquet")
    on_disk = Interactions.from_frame(frame, on_disk=tmp_path / "data")
    for ask in (
        lambda: explicit().fit(frame),
        lambda: explicit().fit(Interactions.from_parquet(tmp_path / "ratings.parquet")),
        lambda: explicit().fit(on_disk),
        lambda: explicit().fit(on_disk.in_memory()),
        lambda: explicit().fit(unread),
        lambda: explicit().fit(pickle.loads(pickle.dumps(unread))),
        lambda: explicit().fit({**ids, "timestamp": [1, 2, 3]}),
        lambda: model.partial_fit(frame),
        lambda: model.fold_in(frame),
        lambda: knn.fit(frame),
    ):
        with pytest.raises(
            DataError, match=r"ratings need a column of values, but none was recognised, and '(stars|time)"
        ):
            ask()
    assert explicit().fit(Interactions.from_frame(frame, value="")).predict("a", "x") == pytest.approx(1)
    assert explicit().fit(ids).predict("a", "x") == pytest.approx(1)


def test_files_follow_the_same_rule(tmp_path):
    """Of CSV nobody knows which columns are numbers; of Parquet and JSON it is known."""
    ids = {"user": ["a", "b"], "item": ["x", "y"]}
    tables = {
        "plays": pd.DataFrame({**ids, "plays": [3, 4]}),
        "country": pd.DataFrame({**ids, "country": ["de", "fr"]}),
        "timestamp": pd.DataFrame({**ids, "timestamp": [3, 4]}),
    }
    for name, frame in tables.items():
        paths = [tmp_path / f"{name}{suffix}" for suffix in (".csv", ".parquet", ".jsonl")]
        frame.to_csv(paths[0], index=False)
        frame.to_parquet(paths[1])
        frame.to_json(paths[2], orient="records", lines=True)
        for path, read in zip(
            paths, (Interactions.from_csv, Interactions.from_parquet, Interactions.from_json), strict=True
        ):
            assert read(path, value="").values.tolist() == [1, 1]
            if name == "plays" or (name == "country" and path.suffix == ".csv"):
                with pytest.raises(DataError, match=f"{path.name}: value column not recognised, '{name}' may be it"):
                    read(path)
            else:
                assert read(path).values.tolist() == [1, 1]
            if name == "plays":
                assert read(path, value="plays").values.tolist() == [3, 4]
