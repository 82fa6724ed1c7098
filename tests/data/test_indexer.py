"""Ids: Spark's StringIndexer re-expressed (its semantics, not its code), stable from one training to the next."""

import uuid

import numpy as np
import pytest

import fastals
from fastals import Ids, with_ids

# Spark 4.3, StringIndexer's documentation and tests: ties of frequency are broken by the alphabet, ascending.
WORDS = ["b", "b", "c", "d", "a", "a", "b", "e", "e"]
ORDERS = {
    "frequency_desc": ["b", "a", "e", "c", "d"],
    "frequency_asc": ["c", "d", "a", "e", "b"],
    "alphabet_desc": ["e", "d", "c", "b", "a"],
    "alphabet_asc": ["a", "b", "c", "d", "e"],
}
UUIDS = [uuid.UUID(int=i) for i in (2**100, 5, 9)]


@pytest.mark.parametrize("order", ORDERS)
def test_orders(order):
    ids = Ids.fit(WORDS, order=order)
    assert ids.labels.tolist() == ORDERS[order]
    assert ids.encode(WORDS).tolist() == [ORDERS[order].index(word) for word in WORDS]
    assert ids.decode(ids.encode(WORDS)).tolist() == WORDS


@pytest.mark.parametrize("labels", [[3, -1, 2**40], ["Ä", " ", "007"], UUIDS, [b"\xff", b""]])
def test_any_kind_of_label(labels):
    labels = [label for label in labels if label != b""] + [labels[0]] * 2
    ids = Ids.fit(labels)
    assert ids.labels[0] == labels[0]
    assert ids.decode(ids.encode(labels)).tolist() == labels


def test_unseen():
    labels = ["a", "b"]
    with pytest.raises(fastals.UnknownLabelError, match="'z' at position 1"):
        Ids(labels).encode(["a", "z"])
    assert Ids(labels, unseen="skip").encode(["b", "z", "a"]).tolist() == [1, 0]
    keep = Ids(labels, unseen="keep")
    assert keep.encode(["b", "z", "y"]).tolist() == [1, 2, 2]
    assert keep.decode([2, 0]).tolist() == [None, "a"]
    with pytest.raises(fastals.DataError, match="from 0 to 1"):
        Ids(labels).decode([2])


def test_interactions_in_an_order_of_ones_own():
    users, items = ["ann", "bob", "bob", "cid"], ["x", "x", "y", "z"]
    data = fastals.Interactions.from_arrays(users, items, [1, 2, 3, 4])
    numbered = with_ids(data, Ids.fit(users), Ids(["z", "y", "x"]))
    assert numbered.users.tolist() == ["bob", "ann", "cid"]
    assert numbered.matrix.toarray().tolist() == [[0, 3, 2], [0, 0, 1], [4, 0, 0]]
    model = fastals.ImplicitALS(factors=2, regularization=0.01, random_state=0).fit(numbered)
    assert model.users_.tolist() == ["bob", "ann", "cid"]
    assert model.recommend("cid", 3, exclude_seen=False).items.tolist()[0] == "z"


def test_what_the_data_have_beyond_the_ids():
    data = fastals.Interactions.from_arrays(["ann", "bob", "eve"], ["x", "y", "x"])
    with pytest.raises(fastals.UnknownLabelError, match=r"users .*'eve'"):
        with_ids(data, Ids(["bob", "ann"]))
    skipped = with_ids(data, Ids(["bob", "ann"], unseen="skip"))
    assert (skipped.users.tolist(), skipped.nnz) == (["bob", "ann"], 2)
    kept = with_ids(data, Ids(["bob", "ann"], unseen="keep"))
    assert (kept.users.tolist(), kept.nnz) == (["bob", "ann", "eve"], 3)
    absent = with_ids(data, Ids(["zoe", "ann", "bob", "eve"]))
    assert np.diff(absent.indptr).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("kind", ["strings", "integers"])
def test_stable_through_retraining_and_the_file(tmp_path, kind):
    name = (lambda i: f"u{i}") if kind == "strings" else (lambda i: 1000 - 7 * i)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 50, 400), rng.integers(20, 80, 400)
    ids = Ids.fit([name(i) for i in first])
    train = with_ids(([name(i) for i in first], rng.integers(0, 20, 400)), ids)
    fastals.ImplicitALS(factors=4, random_state=0).fit(train).save(tmp_path / "model")
    old = fastals.load(tmp_path / "model")
    assert old.users_.tolist() == ids.labels.tolist()
    grown = Ids(old.users_).extend([name(i) for i in second])
    assert grown.labels[: len(ids)].tolist() == ids.labels.tolist()
    again = with_ids(([name(i) for i in second], rng.integers(0, 20, 400)), grown)
    fastals.ImplicitALS(factors=4, random_state=0).fit(again).save(tmp_path / "model")
    new = fastals.load(tmp_path / "model")
    assert new.users_[: len(ids)].tolist() == ids.labels.tolist()
    assert len(new.users_) == 80
    row = grown.encode([name(60)])[0]
    assert new.users_[row] == name(60)
    np.testing.assert_array_equal(new.recommend(name(60), 3).scores, np.sort(new.recommend(name(60), 3).scores)[::-1])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: Ids(["a", "a"]), "distinct, got 1 different"),
        (lambda: Ids.fit([]), "ids"),
        (lambda: Ids.fit(["a"], order="random"), "order must be one of"),
        (lambda: Ids(["a"], unseen="ignore"), "unseen must be one of"),
        (lambda: Ids([1, 2]).extend(["a"]), "integers"),
        (lambda: Ids([0.5]), "labels"),
        (lambda: with_ids(fastals.Interactions.from_matrix(np_matrix()), Ids([1])), "indices only"),
    ],
)
def test_what_is_refused(call, reason):
    with pytest.raises(fastals.FastalsError, match=reason):
        call()


def np_matrix():
    from scipy import sparse

    return sparse.csr_array([[1, 0], [0, 1]])
