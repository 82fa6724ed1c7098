"""Lists in files and in a real Redis: what is read is what was recommended, whole, whatever happens in between."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pyarrow.parquet
import pytest
from scipy import sparse
from served import connection, everything, expected, fit, read_all
from servers import Redis, free_port

import fastals
from fastals import serving
from fastals.serving import RedisRecommendations, _lists, _redis, publish

redis = pytest.importorskip("redis")


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 100])
def test_files(model, tmp_path, n):
    wanted = expected(model, n)
    for name in ("r.csv", "r.jsonl", "r.parquet"):
        published = publish(model, tmp_path / name, n=n, batch_size=64)
        assert (published.n_users, published.version) == (len(wanted), None)
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        found.setdefault(row["user"], []).append(row["item"])
        assert int(row["rank"]) == len(found[row["user"]])
    assert found == wanted
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {line["user"]: line["items"] for line in lines} == wanted
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert dict(zip(table["user"].to_pylist(), table["items"].to_pylist(), strict=True)) == wanted
    scores = model.recommend("u0000", n).scores
    np.testing.assert_array_equal(table["scores"][0].as_py(), scores[np.isfinite(scores)])


def test_models_without_labels(tmp_path):
    plays = sparse.random_array((30, 20), density=0.2, rng=0)
    model = fastals.ImplicitALS(factors=2, iterations=2, random_state=0).fit(plays)
    publish(model, tmp_path / "r.parquet", n=5)
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert dict(zip(table["user"].to_pylist(), table["items"].to_pylist(), strict=True)) == expected(model, 5)


def test_seen_items_are_left_in_where_asked(model, tmp_path):
    publish(model, tmp_path / "r.parquet", n=5, exclude_seen=False)
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    found = dict(zip(table["user"].to_pylist(), table["items"].to_pylist(), strict=True))
    assert found == expected(model, 5, exclude_seen=False)


def test_targets_that_are_none(model, tmp_path):
    with pytest.raises(fastals.ParameterError, match=r"redis:// address, or a file .*r\.txt"):
        publish(model, tmp_path / "r.txt")
    with pytest.raises(fastals.ParameterError, match=r"\.csv\.gz"):
        publish(model, tmp_path / "r.csv.gz")
    with pytest.raises(FileNotFoundError):
        publish(model, tmp_path / "nowhere" / "r.csv")
    with pytest.raises(fastals.NotFittedError):
        publish(fastals.ImplicitALS(), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


REFUSED = [("n", 0), ("ttl", 0), ("prefix", "a b"), ("prefix", ""), ("n", "3"), ("score_dtype", "f")]


@pytest.mark.parametrize(("option", "value"), REFUSED)
def test_options_that_are_refused(model, tmp_path, option, value):
    with pytest.raises(fastals.FastalsError, match=option):
        publish(model, tmp_path / "r.resp", **{option: value})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(model, tmp_path, monkeypatch):
    (tmp_path / "r.csv").write_text("old")
    real = open

    def full(path, mode="r", *arguments, **options):
        return real("/dev/full" if str(path).endswith(".tmp") and "w" in mode else path, mode, *arguments, **options)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        publish(model, tmp_path / "r.csv")
    monkeypatch.undo()
    assert caught.value.filename == str(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


# --- Redis: what is read is what was published -----------------------------------------------------------------------

UUIDS = np.array([uuid.UUID(int=1000 + i) for i in range(300)], dtype=object)
KINDS = {
    "strings": (None, None),
    "integers": (np.arange(300) * 7 - 5, np.arange(80) * 3 - 2),
    "large integers": (np.arange(300) + 2**40, np.arange(80) + 2**40),
    "uuids": (UUIDS, UUIDS[:80]),
    "bytes": tuple(np.array([b"\xff%d" % i for i in range(n)], dtype=object) for n in (300, 80)),
    "odd": tuple(np.array([f"{'*?[]: é🎵'[i % 8]}{i}" for i in range(n)], dtype=object) for n in (300, 80)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ttl", [None, 1000])
def test_lists_come_back(url, kind, ttl):
    users, items = KINDS[kind]
    model = fit(users=users, items=items)
    wanted = expected(model, 10)
    published = publish(model, url, n=10, ttl=ttl, batch_size=100)
    reader = RedisRecommendations(url)
    assert read_all(reader, list(wanted)) == wanted
    assert reader.version == published.version
    first = next(iter(wanted))
    served = reader.get(first, n=3)
    assert served.items == wanted[first][:3]
    np.testing.assert_allclose(served.scores, model.recommend(first, 3).scores, rtol=1e-3)
    client = connection(url)
    key = f"fastals:{published.version}:".encode() + _lists.text_of(first)
    assert client.strlen(key) == 60
    assert (client.ttl(key) == -1) == (ttl is None)


def test_short_lists_and_float32(url, model):
    wanted = expected(model, 79)
    assert len({len(items) for items in wanted.values()}) > 1
    published = publish(model, url, n=79, score_dtype="float32")
    reader = RedisRecommendations(url)
    assert read_all(reader, list(wanted)) == wanted
    scores = model.recommend("u0000", 79).scores
    np.testing.assert_array_equal(reader.get("u0000").scores, scores[np.isfinite(scores)])
    assert published.n_users == len(wanted)


def test_scores_beyond_float16(url):
    model = fit()
    model.user_factors_ = model.user_factors_ * 1e6
    with pytest.raises(fastals.ParameterError, match="score_dtype='float32'"):
        publish(model, url)
    assert connection(url).get("fastals:current") is None
    publish(model, url, score_dtype="float32")


def test_users_without_a_list_get_the_popular_items(url, model):
    publish(model, url, n=10)
    reader = RedisRecommendations(url)
    counts = np.bincount(model.state_.pairs.indices)
    for user in ("nobody", "", 7, "*"):
        served = reader.get(user, n=5)
        assert served.popular
        assert served.items == model.items_[np.argsort(-counts, kind="stable")[:5]].tolist()
        np.testing.assert_allclose(served.scores, np.sort(counts)[::-1][:5] / 300, rtol=1e-3)
    assert len(reader.get("nobody").items) == 80


def test_what_is_no_id_is_no_stranger(url, model):
    publish(model, url, n=10)
    reader = RedisRecommendations(url)
    for wrong in (None, 3.0, True, ["u0001"], np.float32(3)):
        for call in (reader.get, reader.similar, lambda one: reader.get_many([one])):
            with pytest.raises(fastals.ArgumentTypeError, match=r"must be integers, strings, bytes or UUIDs, got"):
                call(wrong)
    for wrong in ("u0001", 5, None):
        with pytest.raises(fastals.ArgumentTypeError, match="users must be several"):
            reader.get_many(wrong)


def test_expired_lists_give_the_popular_items(url, model):
    publish(model, url, ttl=1)
    reader = RedisRecommendations(url)
    assert not reader.get("u0001").popular
    time.sleep(1.2)
    assert reader.get("u0001").popular


def test_the_protocol_file_is_the_same_publication(url, server, model, tmp_path):
    for ttl in (None, 500):
        connection(url).flushall()
        published = publish(model, tmp_path / "lists.resp", n=10, ttl=ttl)
        with open(tmp_path / "lists.resp", "rb") as file:
            command = ["redis-cli", "-p", str(server.port), "--pipe"]
            told = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True).stdout
        assert "errors: 0" in told
        wanted = expected(model, 10)
        assert read_all(RedisRecommendations(url), list(wanted)) == wanted
        dumped = everything(url)
        connection(url).flushall()
        assert publish(model, url, n=10, ttl=ttl).version == published.version
        assert everything(url) == dumped


def test_nothing_is_there(url):
    reader = RedisRecommendations(url, prefix="other")
    with pytest.raises(fastals.ServingError, match="no lists under the prefix 'other'"):
        reader.get("ann")


def test_neighbourhood_models_are_served_too(url):
    rng = np.random.default_rng(0)
    plays = sparse.random_array((60, 30), density=0.2, rng=rng)
    for model in (cls().fit(plays) for cls in (fastals.EASE, fastals.ItemKNN, fastals.UserKNN)):
        wanted = {user: items for user, items in expected(model, 5).items() if items}
        publish(model, url, n=5)
        assert read_all(RedisRecommendations(url), list(wanted)) == wanted


# --- Redis: versions -------------------------------------------------------------------------------------------------


def test_old_versions_go_but_for_the_last(url):
    models = [fit(seed=seed) for seed in range(4)]
    versions = [publish(model, url, n=5).version for model in models]
    assert len(set(versions)) == 4
    client = connection(url)
    kept = {key.split(b":")[1].decode() for key in client.keys("fastals:*:u*")}
    assert kept == set(versions[2:])
    assert client.smembers("fastals:versions") == {v.encode() for v in versions[2:]}
    client.set("fastals:current", versions[2])  # going back
    wanted = expected(models[2], 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_prefixes_do_not_meddle(url):
    a, b = fit(seed=1), fit(seed=2)
    for prefix, model in (("a", a), ("a*", b), ("a", b), ("a", a), ("a", b)):
        publish(model, url, n=5, prefix=prefix)
    wanted = expected(b, 5)
    assert read_all(RedisRecommendations(url, prefix="a*"), list(wanted)) == wanted


def test_the_same_lists_again_are_the_same_version(url, model):
    first = publish(model, url, n=5)
    assert publish(model, url, n=5).version == first.version
    assert publish(model, url, n=6).version != first.version
    assert publish(model, url, n=5, exclude_seen=False).version != first.version
    assert publish(model, url, n=5, score_dtype="float32").version != first.version
    assert publish(fit(seed=0), url, n=5).version == first.version


def test_a_reader_follows_the_switch(url):
    a, b = fit(seed=1), fit(seed=2)
    publish(a, url, n=5)
    patient, eager = RedisRecommendations(url, pointer_seconds=1000), RedisRecommendations(url, pointer_seconds=0)
    assert patient.get("u0003").items == eager.get("u0003").items == expected(a, 5)["u0003"]
    publish(b, url, n=5)
    assert eager.get("u0003").items == expected(b, 5)["u0003"]
    assert patient.get("u0003").items == expected(a, 5)["u0003"]  # still there
    publish(fit(seed=3), url, n=5)
    assert patient.get("u0003").items == expected(fit(seed=3), 5)["u0003"]  # gone, so it looked again


def test_a_reader_never_sees_a_mixed_state(url):
    """Hammering during switches: every answer is a whole list of the old or of the new version."""
    models = [fit(3000, seed=seed) for seed in (1, 2)]
    whole = [expected(model, 20) for model in models]
    users = sorted(whole[0].keys() & whole[1].keys())
    publish(models[0], url, n=20)
    stop, wrong, answers, seen = threading.Event(), [], [0], set()

    def hammer(seed):
        reader, rng = RedisRecommendations(url, pointer_seconds=0), np.random.default_rng(seed)
        while not stop.is_set():
            some = [users[j] for j in rng.integers(0, len(users), 20)]
            lists = [served.items for served in reader.get_many(some)]
            versions = [v for v in (0, 1) if lists == [whole[v][user] for user in some]]
            answers[0] += 1
            seen.update(versions)
            if not versions:
                wrong.append((some, lists))

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for round_ in range(6):
        publish(models[1 - round_ % 2], url, n=20, batch_size=200)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert seen == {0, 1}
    assert answers[0] > 50


# --- Redis: failures -------------------------------------------------------------------------------------------------


def stop_after(monkeypatch, batches, action):
    """Do something after so many batches were sent."""
    real, sent = _redis._Sender.send, []

    def send(self, batch):
        sent.append(int(batch.rows[0]))
        if len(sent) == batches + 1:
            action()
        return real(self, batch)

    monkeypatch.setattr(_redis._Sender, "send", send)
    return sent


def test_a_server_killed_half_way(tmp_path, monkeypatch):
    server = Redis(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    old, new = fit(2000, seed=1), fit(2000, seed=2)
    try:
        version = publish(old, server.url, n=10).version
        stop_after(monkeypatch, 12, server.kill)
        with pytest.raises(
            fastals.ServingError, match=f"has gone.* of 2,000 .*version {version} is still.*run it again"
        ):
            publish(new, server.url, n=10, batch_size=100)
        monkeypatch.undo()
        server.start()
        reader, wanted = RedisRecommendations(server.url), expected(old, 10)
        assert read_all(reader, list(wanted)) == wanted
        sent = stop_after(monkeypatch, -1, None)
        again = publish(new, server.url, n=10, batch_size=100)
        assert sent[0] >= 600  # it went on where it had stopped
        wanted = expected(new, 10)
        assert read_all(RedisRecommendations(server.url), list(wanted)) == wanted
        assert again.version != version
    finally:
        server.stop()


def test_a_push_that_dies_half_way_goes_on(url, monkeypatch):
    old, new = fit(1000, seed=1), fit(1000, seed=2)
    publish(old, url, n=10)

    def die():
        raise KeyboardInterrupt

    stop_after(monkeypatch, 8, die)
    with pytest.raises(KeyboardInterrupt):
        publish(new, url, n=10, batch_size=100)
    monkeypatch.undo()
    wanted = expected(old, 10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    sent = stop_after(monkeypatch, -1, None)
    publish(new, url, n=10, batch_size=100)
    assert sent[0] >= 400
    wanted = expected(new, 10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_what_another_push_left_is_removed(url, monkeypatch):
    stop_after(monkeypatch, 3, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        publish(fit(seed=1), url, n=10, batch_size=50)
    monkeypatch.undo()
    version = publish(fit(seed=2), url, n=10).version
    assert {key.split(b":")[1] for key in connection(url).keys("fastals:*:u*")} == {version.encode()}


def test_two_publications_at_once(url, monkeypatch):
    old, one, other = (fit(1000, seed=seed) for seed in (1, 2, 3))
    publish(old, url, n=10)
    told = []

    def meanwhile():
        told_by = r"being published by another process.* expires in \d+ s"
        with pytest.raises(fastals.ServingError, match=told_by) as caught:
            publish(other, url, n=10)
        told.append(caught)

    stop_after(monkeypatch, 4, meanwhile)
    publish(one, url, n=10, batch_size=100)
    assert told
    monkeypatch.undo()
    wanted = expected(one, 10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    stop_after(monkeypatch, 4, lambda: connection(url).set("fastals:lock", "somebody"))
    with pytest.raises(fastals.ServingError, match="version somebody are being published"):
        publish(other, url, n=10, batch_size=100)
    assert connection(url).get("fastals:lock") == b"somebody"
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_out_of_memory(tmp_path):
    server = Redis(tmp_path / "redis", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    try:
        old = fit(1000, seed=1)
        version = publish(old, server.url, n=10).version
        with pytest.raises(fastals.ServingError, match=f"out of memory.*maxmemory.*version {version} is still served"):
            publish(fit(20_000, seed=2), server.url, n=10, batch_size=500)
        wanted = expected(old, 10)
        assert read_all(RedisRecommendations(server.url), list(wanted)) == wanted
        kept = {key.split(b":")[1] for key in connection(server.url).keys("fastals:*:u*")}
        assert kept == {version.encode()}
    finally:
        server.stop()


def test_a_server_that_would_evict(tmp_path):
    server = Redis(tmp_path / "redis", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    try:
        publish(fit(1000, seed=1), server.url, n=10)
        with pytest.raises(fastals.ServingError, match="maxmemory-policy allkeys-lru: it would evict"):
            publish(fit(20_000, seed=2), server.url, n=10)
        assert connection(server.url).info("stats")["evicted_keys"] == 0
    finally:
        server.stop()


def test_a_password(tmp_path, model):
    server = Redis(tmp_path / "redis", "--requirepass", "open sesame")
    address = server.url.removeprefix("redis://")
    try:
        for wrong in (server.url, f"redis://:geheim@{address}"):
            with pytest.raises(fastals.ServingError, match="refuses the user and password") as caught:
                publish(model, wrong)
            assert "geheim" not in str(caught.value)
            with pytest.raises(fastals.ServingError, match="refuses"):
                RedisRecommendations(wrong).get("u0001")
        right = f"redis://:open%20sesame@{address}"
        assert "sesame" not in publish(model, right).to
        assert not RedisRecommendations(right).get("u0001").popular
    finally:
        server.stop()


def test_a_server_that_is_not_there(model):
    with pytest.raises(fastals.ServingError, match=r"redis://127\.0\.0\.1:1/0 cannot be reached"):
        publish(model, "redis://127.0.0.1:1/0")
    with pytest.raises(fastals.ServingError, match="cannot be reached"):
        RedisRecommendations("redis://127.0.0.1:1/0").get("ann")
    with pytest.raises(fastals.ParameterError, match="redis://"):
        publish(model, "redis://127.0.0.1:port/0")


def test_tls(tmp_path, model):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(request, check=True, capture_output=True)
    port = free_port()
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    server = Redis(tmp_path / "redis", "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    try:
        with pytest.raises(fastals.ServingError, match="cannot be reached"):  # a stranger's certificate
            publish(model, f"rediss://127.0.0.1:{port}/0")
        address = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
        wanted = expected(model, 10)
        publish(model, address, n=10)
        assert read_all(RedisRecommendations(address), list(wanted)) == wanted
    finally:
        server.stop()


def test_a_cluster(cluster, model):
    address, client = cluster.address, connection(cluster.url)
    wanted = expected(model, 10)
    for ttl in (None, 100):
        publish(model, address, n=10, ttl=ttl, batch_size=100)
        assert read_all(RedisRecommendations(address), list(wanted)) == wanted
    kept = [publish(fit(seed=seed), address, n=10).version for seed in (5, 6)]
    assert {key.split(b":")[1].decode() for key in client.keys("fastals:*:u*")} == set(kept)
    assert client.smembers("{fastals:current}:versions") == {version.encode() for version in kept}
    assert not client.exists("{fastals:current}:lock")
    wanted = expected(fit(seed=6), 10)
    assert read_all(RedisRecommendations(address), list(wanted)) == wanted
    with_tag = publish(model, address, n=10, prefix="{a}b")
    assert client.smembers("{a}b:versions") == {with_tag.version.encode()}


def test_a_missing_client_is_named(model):
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "import fastals\nfrom fastals.serving import publish\n"
        "m = fastals.ImplicitALS(factors=2, iterations=1).fit((['a', 'b'], ['x', 'y']))\n"
        "try: publish(m, 'redis://localhost')\n"
        "except fastals.MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'fastals[redis]'" in done.stdout


def test_the_layout_is_told():
    for name in ("current", "versions", "going", "lock", "publisher", "popular", "items", "titles", "meta"):
        assert f"P:{name}" in serving.__doc__


# --- at size ---------------------------------------------------------------------------------------------------------


def test_a_million_users(tmp_path):
    """Two pushes of 1 M lists of 20: compact, whole, and never mixed for a reader that looks all the time."""
    n_users, n_items = 1_000_000, 2_000
    server = Redis(tmp_path / "redis")
    try:
        client = connection(server.url)
        rng = np.random.default_rng(0)
        users, items = np.repeat(np.arange(n_users), 2), rng.integers(0, n_items, 2 * n_users)
        models = [
            fastals.ImplicitALS(factors=4, iterations=1, random_state=seed).fit((users, items)) for seed in (0, 1)
        ]
        sample = rng.integers(0, n_users, 500).tolist()
        whole = [dict(zip(sample, m.recommend(sample, 20).items.tolist(), strict=True)) for m in models]
        before = client.info("memory")["used_memory"]
        publish(models[0], server.url, n=20)
        assert (client.info("memory")["used_memory"] - before) / n_users < 230
        stop, seen, wrong = threading.Event(), set(), []

        def hammer():
            reader = RedisRecommendations(server.url, pointer_seconds=0)
            while not stop.is_set():
                found = dict(zip(sample, (served.items for served in reader.get_many(sample)), strict=True))
                seen.update(version for version in (0, 1) if found == whole[version])
                if found not in whole:
                    wrong.append(found)
                time.sleep(0.01)

        thread = threading.Thread(target=hammer)
        thread.start()
        publish(models[1], server.url, n=20)
        time.sleep(0.1)
        stop.set()
        thread.join()
        assert not wrong
        assert seen == {0, 1}
        assert client.dbsize() == 2 * n_users + 2 + 2 * 2  # lists; pointer and versions; meta and popular of each
    finally:
        server.stop()
