"""A reader of what no list can be says so, and what helps; it never answers with something else."""

import json
import tracemalloc

import numpy as np
import pytest
from served import connection, expected, fit, read_all
from servers import Redis

import fastals
from fastals.serving import RedisRecommendations, publish

redis = pytest.importorskip("redis")

USER = "u0007"


def key(kind):
    return lambda version: f"fastals:{kind}:{version}" if kind else "fastals:current"


def the_list(version):
    return f"fastals:{version}:{USER}"


def set_(name, value):
    return lambda client, version: client.set(name(version), value)


def field(kind, name, value):
    def change(client, version):
        client.delete(key(kind)(version)) if client.type(key(kind)(version)) != b"hash" else None
        client.hset(key(kind)(version), name, value)

    return change


def without(kind, name):
    return lambda client, version: client.hdel(key(kind)(version), name)


def another_type(name):
    def change(client, version):
        client.delete(name(version))
        client.rpush(name(version), "x")

    return change


def cut(name, size):
    return lambda client, version: client.set(name(version), client.get(name(version))[:size])


def far_ids(client, version):
    value = client.get(the_list(version))
    client.set(the_list(version), np.full(10, 1_000_000, "<i4").tobytes() + value[40:])


def negative_ids(client, version):
    value = client.get(the_list(version))
    client.set(the_list(version), np.full(10, -1, "<i4").tobytes() + value[40:])


FAULTS = {
    "pointer of another type": another_type(key("")),
    "pointer to nowhere": set_(key(""), "nowhere"),
    "pointer that is no text": set_(key(""), b"\xff\xfe"),
    "list of another type": another_type(the_list),
    "list that ends within a number": cut(the_list, 59),
    "list that ends behind the ids": cut(the_list, 42),
    "half a list": cut(the_list, 30),
    "ids beyond the items": far_ids,
    "negative ids": negative_ids,
    "scores of NaN": set_(the_list, np.arange(10, dtype="<i4").tobytes() + np.full(10, np.nan, "<f2").tobytes()),
    "description of another type": another_type(key("meta")),
    "no description": lambda client, version: client.delete(key("meta")(version)),
    "another format": field("meta", "format", "2"),
    "no format": without("meta", "format"),
    "no kind of scores": without("meta", "scores"),
    "unknown scores": field("meta", "scores", "<f8"),
    "scores that are no dtype": field("meta", "scores", "complicated"),
    "no kind of items": without("meta", "items"),
    "unknown items": field("meta", "items", "complex numbers"),
    "no length of lists": without("meta", "n"),
    "a length of lists that is none": field("meta", "n", "1e1"),
    "a negative length of lists": field("meta", "n", "-1"),
    "a list that is longer": field("meta", "n", "9"),
    "no number of items": without("meta", "n_items"),
    "no items at all": field("meta", "n_items", "0"),
    "more items than there can be": field("meta", "n_items", str(2**31)),
    "another kind of items": field("meta", "items", "UUIDs"),
    "numbers for strings": field("items", "0", json.dumps(list(range(80)))),
    "a number of items that is none": field("meta", "n_items", "many"),
    "popular of another type": another_type(key("popular")),
    "no popular items": lambda client, version: client.delete(key("popular")(version)),
    "no items": lambda client, version: client.delete(key("items")(version)),
    "items of another type": another_type(key("items")),
    "items that are no JSON": field("items", "0", b"[1, 2"),
    "items that are no UTF-8": field("items", "0", b'["\xff"]'),
    "items that are no list": field("items", "0", "7"),
    "items of an object": field("items", "0", json.dumps({f"x{j}": 0 for j in range(80)})),
    "items of a string": field("items", "0", json.dumps("x" * 80)),
    "items that are nested": field("items", "0", "[" * 100_000),
    "fewer items": field("items", "0", '["i1"]'),
    "a block that is none": field("items", "x", "[]"),
    "a block too many": field("items", "1", '["more"]'),
    "titles that are no JSON": field("titles", "0", "nothing"),
    "an empty block": field("items", "0", ""),
    "titles that are no strings": field("titles", "0", json.dumps([0] * 80)),
    "titles of another type": another_type(key("titles")),
}

HUGE = 80_000_000


def stretched(name):
    """A value of many bytes: Redis fills it up with zeros."""
    return lambda client, version: client.setrange(name(version), HUGE, b"x")


def wide(kind, name):
    """A field of many bytes, made where it is."""
    script = "redis.call('HSET', KEYS[1], ARGV[1], string.rep('x', 2^26 + 1))"
    return lambda client, version: client.eval(script, 1, key(kind)(version), name)


def many_blocks(client, version):
    script = "for i = 1, 40000 do redis.call('HSET', KEYS[1], i, '') end"
    client.eval(script, 1, key("items")(version))


def far_lengths(client, version):
    """What is said of lengths is not believed, and what there is must be small."""
    client.hset(key("meta")(version), mapping={"n": 2**31 - 1, "n_items": 2**31 - 1})
    stretched(the_list)(client, version)


LARGE = {
    "pointer": stretched(key("")),
    "list": stretched(the_list),
    "popular": stretched(key("popular")),
    "format": wide("meta", "format"),
    "number of items": wide("meta", "n_items"),
    "block": wide("items", "0"),
    "block of titles": wide("titles", "0"),
    "blocks": many_blocks,
    "lengths": far_lengths,
}


@pytest.fixture
def own_server(tmp_path):
    """One that takes its memory with it."""
    server = Redis(tmp_path / "redis")
    yield server
    server.stop()


@pytest.mark.parametrize("fault", LARGE)
def test_what_is_too_large_is_not_fetched(own_server, model, fault):
    published = publish(model, own_server.url, n=10)
    client = connection(own_server.url)
    LARGE[fault](client, published.version)
    tracemalloc.start()
    try:
        with pytest.raises(fastals.ServingError, match=r"fastals:.*(at most|longer|cut off|cannot be read|not there)"):
            RedisRecommendations(own_server.url).get(USER)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_version_without_labels_has_numbers_of_any_size(url):
    """Which are not indices, though as many as there are items may be the number of all."""
    model = fit(items=np.arange(80) * 20_000_000)
    publish(model, url, n=10)
    wanted = expected(model, 10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_lists_without_items_and_those_that_are_not_there(url, model):
    """An empty list is one; whoever has none gets the popular items."""
    version = publish(model, url, n=10).version
    client = connection(url)
    client.set(f"fastals:{version}:u0001", b"")
    empty, missing, other = RedisRecommendations(url).get_many(["u0001", "nobody", USER])
    assert (empty.items, empty.popular) == ([], False)
    assert missing.popular
    assert other.items == expected(model, 10)[USER]
    assert RedisRecommendations(url).get("u0001").items == []


def test_a_server_without_memory_is_read(own_server, model):
    """It refuses to do several commands in one step, be they reads."""
    publish(model, own_server.url, n=10)
    connection(own_server.url).config_set("maxmemory", 500_000)
    wanted = expected(model, 10)
    reader = RedisRecommendations(own_server.url)
    assert read_all(reader, list(wanted)) == wanted
    assert reader.get("nobody").popular


def test_what_could_not_be_read_is_not_written(url, model, monkeypatch):
    from fastals.serving import _resp

    monkeypatch.setattr(_resp, "LARGEST", 70)
    with pytest.raises(fastals.ParameterError, match="n must be less than 12"):
        publish(model, url, n=12)
    with pytest.raises(fastals.ParameterError, match="the items must be shorter"):
        publish(model, url, n=5)
    assert not connection(url).exists("fastals:current")


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_content_is_told(url, model, fault):
    publish(model, url, n=10)
    good = publish(fit(seed=4), url, n=10)
    client = connection(url)
    FAULTS[fault](client, good.version)
    for read in (lambda reader: reader.get(USER), lambda reader: reader.get_many([USER, "u0001"])):
        with pytest.raises(fastals.ServingError) as caught:
            read(RedisRecommendations(url))
        assert any(word in str(caught.value) for word in ("publish again", "delete it, or publish"))
        assert "fastals:" in str(caught.value)
        assert str(caught.value).startswith("redis://127.0.0.1:")
        assert len(str(caught.value)) < 400
    if fault != "pointer of another type":
        client.delete("fastals:current")
        client.flushall()
        wanted = expected(model, 10)
        publish(model, url, n=10)  # the remedy
        assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_blocks_of_items_in_a_row(url, monkeypatch):
    """A block that is missing would shift all labels behind it."""
    from fastals.serving import _reader, _resp

    for module in (_reader, _resp):
        monkeypatch.setattr(module, "BLOCK", 16)
    model, client = fit(), connection(url)
    version = publish(model, url, n=10).version
    wanted = expected(model, 10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    client.hset(f"fastals:items:{version}", "1", json.dumps(["x"] * 15))
    with pytest.raises(fastals.ServingError, match=r"the key fastals:items:.* cannot be read"):
        RedisRecommendations(url).get(USER)
    client.hdel(f"fastals:items:{version}", "1")
    with pytest.raises(fastals.ServingError, match=r"the key fastals:items:.* cannot be read"):
        RedisRecommendations(url).get(USER)


def test_a_client_that_decodes(url, model):
    publish(model, url)
    client = redis.Redis.from_url(url, decode_responses=True)
    with pytest.raises(fastals.ParameterError, match="decode_responses=False"):
        RedisRecommendations(url, client=client).get(USER)
    client.close()
