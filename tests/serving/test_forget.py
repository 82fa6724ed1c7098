"""A user's lists leave Redis, whatever version they are in."""

import uuid

import numpy as np
import pytest
from served import connection, expected, fit, read_all

import fastals
from fastals.serving import RedisRecommendations, _redis, forget, publish

redis = pytest.importorskip("redis")


def test_users_are_forgotten_in_all_versions(url, model):
    publish(fit(seed=1), url, n=5)
    publish(model, url, n=5)
    publish(model, url, n=5, prefix="other")
    wanted, client = expected(model, 5), connection(url)
    gone = [user for user in ("u0001", "u0002", "u0003") if user in wanted]
    before = client.dbsize()
    assert forget(url, [*gone, "nobody"]) == 2 * len(gone)
    assert client.dbsize() == before - 2 * len(gone)
    assert not [key for user in gone for key in client.keys(f"fastals:*:{user}")]
    assert len(client.keys("other:*:u000[123]")) == len(gone)
    reader = RedisRecommendations(url)
    assert all(served.popular for served in reader.get_many(gone))
    rest = {user: items for user, items in wanted.items() if user not in gone}
    assert read_all(reader, list(rest)) == rest
    assert forget(url, gone) == forget(url, []) == forget(url, gone, prefix="nothing") == 0
    assert not client.exists("fastals:lock", "fastals:publisher")


def test_what_a_dead_publisher_left_goes_too(url, monkeypatch):
    publish(fit(seed=1), url, n=5)

    def die(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(_redis._Sender, "finish", die)
    with pytest.raises(KeyboardInterrupt):
        publish(fit(seed=2), url, n=5)
    assert len(connection(url).keys("fastals:*:u0001")) == 2
    assert forget(url, ["u0001"]) == 2
    assert connection(url).keys("fastals:*:u0001") == []


@pytest.mark.parametrize("kind", ["integers", "uuids"])
def test_ids_of_any_kind(url, kind):
    users = {"integers": np.arange(300) * 7 - 5, "uuids": np.array([uuid.UUID(int=j) for j in range(300)], object)}
    model = fit(users=users[kind])
    publish(model, url, n=5)
    user = model.users_[3]
    assert not RedisRecommendations(url).get(user).popular
    assert forget(url, [user]) == 1
    assert RedisRecommendations(url).get(user).popular


def test_not_while_somebody_publishes(url, model):
    publish(model, url, n=5)
    connection(url).set("fastals:lock", "abcdefgh:1", ex=60)
    with pytest.raises(fastals.ServingError, match="lists of version abcdefgh are being published"):
        forget(url, ["u0001"])
    assert not RedisRecommendations(url).get("u0001").popular
    with pytest.raises(fastals.ArgumentTypeError, match="users must be several"):
        forget(url, "u0001")


def test_in_a_cluster(cluster, model):
    publish(model, cluster.address, n=5, prefix="f")
    assert forget(cluster.address, ["u0001", "u0002"], prefix="f") == 2
    assert RedisRecommendations(cluster.address, prefix="f").get("u0001").popular
