"""A reader of what no list can be says so, and what helps; it never answers with something else."""

import json

import numpy as np
import pytest
from served import connection, expected, fit, read_all

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
    "items that are nested": field("items", "0", "[" * 100_000),
    "fewer items": field("items", "0", '["i1"]'),
    "a block that is none": field("items", "x", "[]"),
    "a block too many": field("items", "1", '["more"]'),
    "titles that are no JSON": field("titles", "0", "nothing"),
    "titles that are no strings": field("titles", "0", json.dumps([0] * 80)),
}


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
    with pytest.raises(fastals.ServingError, match="the items of version"):
        RedisRecommendations(url).get(USER)
    client.hdel(f"fastals:items:{version}", "1")
    with pytest.raises(fastals.ServingError, match="the items of version"):
        RedisRecommendations(url).get(USER)


def test_a_client_that_decodes(url, model):
    publish(model, url)
    client = redis.Redis.from_url(url, decode_responses=True)
    with pytest.raises(fastals.ParameterError, match="decode_responses=False"):
        RedisRecommendations(url, client=client).get(USER)
    client.close()
