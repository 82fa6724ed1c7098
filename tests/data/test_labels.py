from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastals._core import Tensors
from fastals._core.errors import ArgumentTypeError, DataError, UnknownLabelError
from fastals._data import labels
from fastals._data.labels import Coded, Labels, StreamEncoder, Text, decode_labels, factorize
from fastals._data.lines import encode_labels

WORDS = Labels(np.array(["a", "b", "zoë"], object), 3)
NUMBERS = Labels(np.array([-7, 0, 2**40]), 3)
PLAIN = Labels(None, 3)


def text(strings, *, numeric=False, dtype=np.int64):
    """Text in two chunks."""
    chunks = []
    for part in (strings[: len(strings) // 3], strings[len(strings) // 3 :]):
        encoded = [string.encode() for string in part]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=dtype)
        chunks.append((np.frombuffer(b"".join(encoded), np.uint8), offsets))
    return Text(chunks, numeric)


# ----------------------------------------------------------------------------------------------------------------------
# factorize


def check(ids, elements, num_threads=1):
    """What factorize must give, by Python's own sorting of the ``elements``."""
    indices, labels = factorize("ids", ids, num_threads)
    assert indices.dtype == np.int32
    assert len(labels) == len(labels.values)
    assert labels.values.tolist() == sorted(set(elements))
    assert labels.values[indices].tolist() == elements


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize("distinct", [3, 1_000, 90_000])
@pytest.mark.parametrize("kind", ["strings", "U", "S", "bytes", "text", "text32", "wide int", "narrow int", "uuid"])
def test_factorize(kind, distinct, num_threads):
    rng = np.random.default_rng(distinct)
    numbers = rng.integers(-distinct, distinct, 100_000)
    words = [f"{'ü' if x % 7 == 0 else 'u'}{x}" for x in numbers.tolist()]
    if kind in ("strings", "text", "text32"):
        ids = {"strings": words, "text": text(words), "text32": text(words, dtype=np.int32)}[kind]
        return check(ids, words, num_threads)
    ids = {
        "U": np.array(words),
        "S": np.array([word.encode() for word in words]),
        "bytes": np.array([word.encode() for word in words], object),
        "wide int": numbers * 2**40,
        "narrow int": numbers.astype(np.int32),
        "uuid": np.array([UUID(int=(x * 2**100) % 2**128) for x in numbers.tolist()], object),
    }[kind]
    return check(ids, ids.tolist(), num_threads)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=30), st.booleans())
def test_fuzz_strings(strings, as_text):
    strings = [string.encode("utf-8", "replace").decode() for string in strings]
    check(text(strings) if as_text else strings, strings)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=30))
def test_fuzz_bytes(strings):
    check(strings, strings)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_fuzz_integers(numbers):
    check(numbers, numbers)


def test_keys_longer_than_the_table_has_room_for():
    strings = ["x" * 300_000 + str(i) for i in range(5)]
    check(strings * 3, strings * 3)


def test_strings_that_hash_alike_are_told_apart():
    """Keys that differ in one byte, at every length at which the hash takes another way."""
    strings = ["a" * n for n in range(70)] + ["a" * i + "b" + "a" * (n - i - 1) for n in range(70) for i in range(n)]
    check(strings, strings)


def test_lone_surrogates_survive():
    check(["\udc80", "a", "\udc80"], ["\udc80", "a", "\udc80"])


def test_numeric_text_is_integers_if_all_of_it_is():
    check(text(["10", "9", "-3", "10"], numeric=True), [10, 9, -3, 10])
    check(text(["10", "09"], numeric=True), ["10", "09"])
    check(text([], numeric=True), [])


def test_categories():
    check(Coded(np.array([2, 0, 2], np.int8), ["b", "unused", "a"]), ["a", "b", "a"])
    check(Coded(np.array([1, 0, 1]), np.array([7, 7])), [7, 7, 7])


def test_bad_element_among_good_ones():
    ids = np.array(["a"] * 1000, object)
    for bad, error, message in (
        (None, DataError, "ids must not be missing, got None at position 700"),
        (float("nan"), DataError, "ids must not be missing, got nan at position 700"),
        (3, ArgumentTypeError, r"all of one kind, got 3 \(int\) at position 700"),
        (b"a", ArgumentTypeError, r"all of one kind, got b'a' \(bytes\) at position 700"),
    ):
        ids[700] = bad
        with pytest.raises(error, match=message):
            factorize("ids", ids, 1)
    uuids = np.array([UUID(int=1), "a"], object)
    with pytest.raises(ArgumentTypeError, match=r"got 'a' \(str\) at position 1"):
        factorize("ids", uuids, 1)


@pytest.mark.parametrize("offsets", [[0, 3, 2], [0, 4, 9], [-1, 1, 2], [5, 6, 7], [0, 2**62, 2**62]])
def test_offsets_outside_the_data_are_refused(offsets):
    with pytest.raises(DataError, match="ids is a broken Arrow array: its offsets are not within its data"):
        factorize("ids", Text([(np.zeros(4, np.uint8), np.array(offsets))]), 1)


def test_text_that_is_not_utf8():
    with pytest.raises(DataError, match="ids must be UTF-8, got b'\\\\xff'"):
        factorize("ids", Text([(np.array([255], np.uint8), np.array([0, 1]))]), 1)


def test_integers_by_table_and_by_hashing_agree(monkeypatch):
    ids = np.random.default_rng(0).integers(-50, 50, 1000)
    by_table = factorize("ids", ids, 1)
    monkeypatch.setattr(labels, "TABLE_SPREAD", -1_000_000)
    by_hashing = factorize("ids", ids, 1)
    np.testing.assert_array_equal(by_table[0], by_hashing[0])
    np.testing.assert_array_equal(by_table[1].values, by_hashing[1].values)


# ----------------------------------------------------------------------------------------------------------------------
# Labels


@pytest.mark.parametrize(
    ("labels", "ids", "expected"),
    [
        (WORDS, ["zoë", "a", "c", ""], [2, 0, -1, -1]),
        (WORDS, np.array(["zoë", "a"]), [2, 0]),
        (WORDS, [], []),
        (NUMBERS, [2**40, -7, 1, 2**62, -(2**62)], [2, 0, -1, -1, -1]),
        (NUMBERS, [0.0], [1]),
        (NUMBERS, np.array([0], np.uint8), [1]),
        (PLAIN, [2, 0, 3, -1, 2**40], [2, 0, -1, -1, -1]),
        (Labels(np.array([], object), 0), ["a"], [-1]),
        (Labels(np.array([b"a", b"b"], object), 2), np.array([b"b"]), [1]),
        (Labels(np.array([UUID(int=1)], object), 1), [UUID(int=1), UUID(int=2)], [0, -1]),
    ],
)
def test_encode(labels, ids, expected):
    indices = labels.encode(ids)
    assert indices.dtype == np.int32
    assert indices.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        (WORDS, ["a", "c"], "users must be known to the model, got 'c' at position 1"),
        (PLAIN, [0, 3], "users must be indices from 0 to 2, got 3 at position 1"),
        (PLAIN, [-1], "users must be indices from 0 to 2, got -1 at position 0"),
    ],
)
def test_encode_known(labels, ids, message):
    with pytest.raises(UnknownLabelError) as error:
        labels.encode_known("users", ids)
    assert str(error.value) == message


BYTES = Labels(np.array([b"a"], object), 1)
UUIDS = Labels(np.array([UUID(int=1)], object), 1)


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        (WORDS, [0], "strings, as the labels the model knows, got integers: 0 at position 0"),
        (WORDS, [b"a"], "strings, as the labels the model knows, got bytes: b'a' at position 0"),
        (NUMBERS, ["0"], "integers, as the labels the model knows, got strings: '0' at position 0"),
        (
            NUMBERS,
            np.array(["0"]),
            "integers, as the labels the model knows, got strings: '0' at position 0",
        ),
        (BYTES, ["a"], "bytes, as the labels the model knows, got strings: 'a' at position 0"),
        (UUIDS, [1], "UUIDs, as the labels the model knows, got integers: 1 at position 0"),
        (
            PLAIN,
            ["0"],
            "indices from 0 to 2, as the model, which knows no labels, has them, got strings: '0'",
        ),
        (
            WORDS,
            Coded(np.array([1, 0]), [7, 8]),
            "strings, as the labels the model knows, got integers: 8",
        ),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_ids_of_another_kind_cannot_be_known_at_all(labels, ids, message, known):
    with pytest.raises(ArgumentTypeError) as error:
        labels.encode_known("users", ids) if known else labels.encode(ids, "users")
    assert str(error.value).startswith(f"users must be {message}")
    assert labels.encode(ids[:0]).tolist() == []


BIG = 2**63


def test_unsigned_integers_are_labels():
    labels = factorize("ids", np.array([BIG + 1, 3, BIG, 3], np.uint64), 2)[1]
    assert labels.values.dtype == np.uint64
    assert labels.values.tolist() == [3, BIG, BIG + 1]
    assert labels.encode([3, 4, -3]).tolist() == [0, -1, -1]
    assert labels.encode(np.array([BIG, 3, BIG + 2], np.uint64)).tolist() == [1, 0, -1]
    # what a float would hold for it is another number
    assert labels.encode([BIG + 1, BIG + 2]).tolist() == [2, -1]
    assert NUMBERS.encode(np.array([2**64 - 7, 0, 2**40, BIG], np.uint64)).tolist() == [-1, 1, 2, -1]


def test_unsigned_integers_grow_and_are_stored():
    small, big = (factorize("ids", ids, 1)[1] for ids in (np.array([1, 5]), np.array([5, BIG], np.uint64)))
    grown, indices = small.grown("users", big)
    assert (grown.values.dtype, grown.values.tolist(), indices.tolist()) == (np.uint64, [1, 5, BIG], [1, 2])
    grown, indices = big.grown("users", small)
    assert (grown.values.dtype, grown.values.tolist(), indices.tolist()) == (np.uint64, [5, BIG, 1], [2, 0])
    with pytest.raises(DataError, match="users must fit in int64 or, all of them, in uint64: some are below 0"):
        NUMBERS.grown("users", big)
    encoder = StreamEncoder("ids", numeric=False)
    assert encoder.encode([7, 1]).tolist() == [0, 1]
    assert encoder.encode(np.array([BIG, 7], np.uint64)).tolist() == [2, 0]
    assert encoder.ranked()[1].values.tolist() == [1, 7, BIG]
    with pytest.raises(DataError, match="below 0, others beyond int64"):
        encoder.encode([-1])
    tensors = {}
    assert encode_labels("users", grown, tensors) == "uint64"
    assert decode_labels("users", "uint64", 3, Tensors(tensors)).values.tolist() == [5, BIG, 1]


@pytest.mark.parametrize("together", [1, 7, 1 << 18])
@pytest.mark.parametrize("spread", [2, 2**50])
@pytest.mark.parametrize("grown", [False, True])
def test_many_integers_in_any_order(grown, spread, together, monkeypatch):
    """They are sorted a part at a time before they are looked up."""
    monkeypatch.setattr(labels, "SORTED_TOGETHER", together)
    rng = np.random.default_rng(together)
    known = np.unique(rng.integers(-500, 500, 300) * spread)
    if grown:
        known = np.concatenate((known, 10**17 + rng.permutation(20)))
    ids = np.concatenate((rng.choice(known, 1000), rng.integers(-600, 600, 1000)))
    for asked in (ids, np.sort(ids), ids[:0], ids[-100:].astype(np.int32)):
        place = {label: i for i, label in enumerate(known.tolist())}
        expected = [place.get(label, -1) for label in asked.tolist()]
        assert Labels(known, len(known)).encode(asked).tolist() == expected


def test_encode_refuses_what_is_no_id():
    with pytest.raises(DataError, match=r"users must be whole numbers or strings, got 0\.5 at position 0"):
        NUMBERS.encode_known("users", [0.5])
    with pytest.raises(ArgumentTypeError, match="users must be integers, strings, bytes or UUIDs"):
        PLAIN.encode_known("users", [True])
    with pytest.raises(DataError, match="users must be one-dimensional"):
        WORDS.encode_known("users", "a")


def test_decode():
    assert WORDS.decode(np.array([[2, -1], [0, 1]])).tolist() == [["zoë", None], ["a", "b"]]
    assert NUMBERS.decode(np.array([2, 0])).dtype == np.int64
    assert NUMBERS.decode(np.array([2, -1])).tolist() == [2**40, None]
    indices = np.array([2, -1])
    assert PLAIN.decode(indices) is indices


def test_repr_and_length():
    assert [repr(labels) for labels in (WORDS, NUMBERS, PLAIN)] == [
        "Labels(<strings>, 3)",
        "Labels(<integers>, 3)",
        "Labels(<indices>, 3)",
    ]
    assert len(WORDS) == 3
