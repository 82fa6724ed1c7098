"""Factors for an index of neighbours: what is nearest there is what the model recommends."""

import numpy as np
import pyarrow.parquet
import pytest
from scipy import sparse
from served import connection, expected, fit, read_all
from servers import with_search, with_vector_sets

import fastals
from fastals.serving import RedisRecommendations, item_vectors, publish, user_vectors

redis = pytest.importorskip("redis")


@pytest.fixture
def newer(tmp_path):
    """Starts another kind of server than Debian's."""
    started = []

    def start(kind):
        started.append(kind(tmp_path / "redis"))
        return started[-1].url

    yield start
    for server in started:
        server.stop()


METRICS = ["inner_product", "l2", "cosine"]
USERS = ["u0007", "u0003", "u0100"]


def nearest(vectors, query, metric):
    """Places of the vectors by what an index of this metric goes by."""
    if metric == "l2":
        return np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable")
    norms = np.linalg.norm(vectors, axis=1) if metric == "cosine" else 1
    # no BLAS: some warn of what stands in lanes that they do not use
    return np.argsort(-(vectors * query).sum(axis=1) / norms, kind="stable")


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_find_what_the_model_recommends(model, metric):
    vectors, labels = item_vectors(model, metric=metric)
    queries = user_vectors(model, USERS, metric=metric)
    assert vectors.dtype == queries.dtype == np.float32
    for query, user in zip(queries, USERS, strict=True):
        found = labels[nearest(vectors, query, metric)[:5]].tolist()
        assert found == model.recommend(user, 5, exclude_seen=False).items.tolist()
    norms = np.linalg.norm(vectors, axis=1)
    if metric == "l2":
        np.testing.assert_allclose(norms, norms[0], rtol=1e-5)
    if metric == "cosine":
        np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_models_of_biases_and_of_zeros():
    rng = np.random.default_rng(0)
    ratings = (rng.integers(0, 40, 500), rng.integers(0, 25, 500), rng.integers(1, 6, 500).astype(float))
    model = fastals.ExplicitALS(factors=3, iterations=3, random_state=0).fit(
        fastals.Interactions.from_arrays(*ratings, duplicates="last")
    )
    for metric in METRICS:
        vectors, labels = item_vectors(model, metric=metric)
        found = labels[nearest(vectors, user_vectors(model, [5], metric=metric)[0], metric)[:5]]
        assert found.tolist() == model.recommend(5, 5, exclude_seen=False).items.tolist()
    model.item_factors_ = np.zeros_like(model.item_factors_)
    zeros = fit()
    zeros.item_factors_ = np.zeros_like(zeros.item_factors_)
    assert not item_vectors(zeros, metric="cosine")[0].any()


def test_models_without_factors(tmp_path):
    plays = sparse.random_array((60, 30), density=0.2, rng=0)
    for model in (cls().fit(plays) for cls in (fastals.EASE, fastals.ItemKNN, fastals.UserKNN)):
        for call in (
            lambda model=model: item_vectors(model),
            lambda model=model: user_vectors(model, [0]),
            lambda model=model: publish(model, tmp_path / "v.parquet", what="item_vectors"),
        ):
            with pytest.raises(fastals.ParameterError, match="has no factors"):
                call()
    with pytest.raises(fastals.ParameterError, match="metric must be"):
        item_vectors(fit(), metric="dot")


@pytest.mark.parametrize("metric", [None, *METRICS])
def test_a_file(model, tmp_path, metric):
    some = [f"i{j}" for j in range(0, 80, 3)]
    options = {} if metric is None else {"metric": metric}
    published = publish(model, tmp_path / "v.parquet", what="item_vectors", batch_size=7, catalogue=some, **options)
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet")
    assert str(table.schema.field("vector").type) == "list<element: float>"
    assert table.schema.metadata[b"fastals.metric"] == (metric or "inner_product").encode()
    assert (published.n_users, published.n_items) == (0, len(some))
    found = np.array(table["vector"].to_pylist(), np.float32)
    assert sorted(table["item"].to_pylist()) == sorted(some)
    query = user_vectors(model, ["u0007"], **options)[0]
    best = np.array(table["item"].to_pylist())[nearest(found, query, metric or "inner_product")[:5]]
    assert best.tolist() == model.recommend("u0007", 5, exclude_seen=False, items=some).items.tolist()
    with pytest.raises(fastals.ParameterError, match=r"ends in \.parquet"):
        publish(model, tmp_path / "v.csv", what="item_vectors")


def knows(client, name):
    return client.command_list(pattern=name) != []


def hashes(client, version):
    return {key.decode().split(":", 3)[3]: client.hgetall(key) for key in client.keys(f"fastals:vectors:{version}:*")}


@pytest.mark.parametrize("metric", METRICS)
def test_hashes_in_redis(url, model, metric):
    """As Redis search indexes them."""
    client = connection(url)
    if metric == "cosine" and knows(client, "vadd"):
        pytest.skip("a vector set takes their place")
    lists = publish(model, url, n=5).version
    published = publish(model, url, what="item_vectors", metric=metric, batch_size=30)
    version = published.version
    assert client.get("fastals:vectors:current") == version.encode()
    found = hashes(client, version)
    vectors, labels = item_vectors(model, metric=metric)
    assert found.keys() == set(labels)
    for vector, label in zip(vectors, labels, strict=True):
        assert found[label] == {b"vector": vector.astype("<f4").tobytes()}
    meta = client.hgetall(f"fastals:vectors:meta:{version}")
    assert (meta[b"form"], meta[b"metric"], int(meta[b"dim"])) == (b"hash", metric.encode(), vectors.shape[1])
    assert int(meta[b"done"]) == int(meta[b"n_items"]) == 80
    assert RedisRecommendations(url).version == lists
    wanted = expected(model, 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_versions_of_vectors(url):
    client, versions = connection(url), []
    for seed in range(4):
        versions.append(publish(fit(seed=seed), url, what="item_vectors", metric="l2").version)
    again = publish(fit(seed=3), url, what="item_vectors", metric="l2").version
    assert again != versions[-1]  # never the same name twice
    assert client.smembers("fastals:vectors:versions") == {versions[-1].encode(), again.encode()}
    assert {key.split(b":")[2].decode() for key in client.keys("fastals:vectors:*:*")} - {"meta"} == {
        versions[-1],
        again,
    }


def test_a_vector_set(newer, model):
    url = newer(with_vector_sets)
    client = connection(url)
    versions = [publish(fit(seed=seed), url, what="item_vectors", batch_size=30).version for seed in (1, 2, 0)]
    version = client.get("fastals:vectors:current").decode()
    assert version == versions[-1]
    assert client.hget(f"fastals:vectors:meta:{version}", "form") == b"vectorset"
    assert client.execute_command("VCARD", f"fastals:vectors:{version}") == 80
    for user in USERS:
        query = user_vectors(model, [user], metric="cosine")[0]
        command = ["VSIM", f"fastals:vectors:{version}", "FP32", query.astype("<f4").tobytes(), "COUNT", 5, "TRUTH"]
        found = [item.decode() for item in client.execute_command(*command)]
        assert found == model.recommend(user, 5, exclude_seen=False).items.tolist()
    assert not client.exists(f"fastals:vectors:{versions[0]}")
    assert client.exists(f"fastals:vectors:{versions[1]}")


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
def test_an_index_of_redis_search(newer, model, metric):
    url = newer(with_search)
    client = connection(url)
    versions = [publish(fit(seed=s), url, what="item_vectors", metric=metric).version for s in (1, 2, 0)]
    index = f"fastals:vectors:{versions[-1]}"
    for user in USERS:
        query = user_vectors(model, [user], metric=metric)[0].astype("<f4").tobytes()
        command = ["FT.SEARCH", index, "*=>[KNN 5 @vector $q AS d]", "PARAMS", "2", "q", query, "SORTBY", "d"]
        found = client.execute_command(*command, "RETURN", "1", "d", "DIALECT", "2")
        keys = [each[b"id"] for each in found[b"results"]] if isinstance(found, dict) else found[1::2]
        assert [key.decode().split(":", 3)[3] for key in keys] == model.recommend(
            user, 5, exclude_seen=False
        ).items.tolist()
    indices = {name.decode() for name in client.execute_command("FT._LIST")}
    assert indices == {f"fastals:vectors:{version}" for version in versions[1:]}


def test_a_cluster(cluster, model):
    publish(model, cluster.address, what="item_vectors", prefix="v")
    client = connection(cluster.url)
    version = client.get("v:vectors:current").decode()
    vectors, labels = item_vectors(model, metric="cosine")
    assert client.hget(f"v:vectors:{version}:{labels[7]}", "vector") == vectors[7].astype("<f4").tobytes()


def test_a_push_of_vectors_that_dies(url, monkeypatch):
    from fastals.serving import _redis

    old = publish(fit(seed=1), url, what="item_vectors", metric="l2").version

    def die(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(_redis._Sender, "finish", die)
    with pytest.raises(KeyboardInterrupt):
        publish(fit(seed=2), url, what="item_vectors", metric="l2")
    monkeypatch.undo()
    client = connection(url)
    assert client.get("fastals:vectors:current") == old.encode()
    new = publish(fit(seed=2), url, what="item_vectors", metric="l2").version
    kept = {key.split(b":")[2].decode() for key in client.keys("fastals:vectors:*:i*")}
    assert kept == {old, new}
