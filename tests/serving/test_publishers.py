"""Several publishers at once, some of which are killed or stand still: what is served is whole, and never gone.

``python tests/serving/test_publishers.py --seconds 60`` does it for longer; ``--cluster`` in a cluster.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np
import pytest
from served import connection, expected, fit, read_all
from servers import Cluster, Redis

import fastals
from fastals.serving import RedisRecommendations, _redis, _versions, forget, publish

redis = pytest.importorskip("redis")

SEEDS = range(4)
LOCK_SECONDS = 1
"""Of the publishers here: so that locks expire often."""


def publish_for_ever(url):
    """Publish one model after the other, until somebody ends it."""
    _versions.LOCK_SECONDS = LOCK_SECONDS
    models = [fit(seed=seed) for seed in SEEDS]
    rng = random.Random(os.getpid())
    print("ready", flush=True)
    while True:
        try:
            publish(models[rng.choice(SEEDS)], url, n=10, batch_size=rng.choice([10, 50, 300]), progress=False)
            print("published", flush=True)
        except fastals.ServingError as error:
            print("refused", str(error).split(": ", 1)[1][:60], flush=True)
            time.sleep(0.01)


class Publisher:
    """A process that publishes for ever."""

    def __init__(self, url, told):
        command = [sys.executable, __file__, "--publish", url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        self.listener = threading.Thread(target=self._listen, args=(told,))
        self.listener.start()

    def _listen(self, told):
        for line in self.process.stdout:
            told[line.split()[0]] += 1

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Kill it, and see that it had not died of itself."""
        assert self.process.poll() is None, self.process.stderr.read()
        self.process.kill()
        self.process.wait()
        self.listener.join()
        self.process.stdout.close()
        self.process.stderr.close()


def storm(url, seconds, *, n_publishers=2, seed=0):
    """Return what happened while publishers were killed and stopped; a wrong answer to a reader is an error."""
    whole = [expected(fit(seed=seed), 10) for seed in SEEDS]
    users = sorted(set.intersection(*map(set, whole)))
    publish(fit(seed=0), url, n=10)
    told, stop, wrong, rng = Counter(), threading.Event(), [], random.Random(seed)

    def read(seed, trust):
        reader, rng = RedisRecommendations(url, pointer_seconds=trust), np.random.default_rng(seed)
        while not stop.is_set():
            some = [users[j] for j in rng.integers(0, len(users), 20)]
            try:
                lists = [served.items for served in reader.get_many(some)]
            except fastals.FastalsError as error:
                wrong.append(repr(error))
                continue
            told["read"] += 1
            if not any(lists == [one[user] for user in some] for one in whole):
                wrong.append((some, lists))

    readers = [threading.Thread(target=read, args=(j, trust)) for j, trust in enumerate((0, 0.05))]
    publishers = [Publisher(url, told) for _ in range(n_publishers)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not wrong:
            time.sleep(rng.random() / 2)
            which = rng.randrange(n_publishers)
            if rng.random() < 0.5:
                publishers[which].end()
                publishers[which] = Publisher(url, told)
                told["killed"] += 1
            else:  # as a machine that swaps: it wakes up when others have its lock
                publishers[which].signal(signal.SIGSTOP)
                time.sleep(LOCK_SECONDS * (0.5 + rng.random()))
                publishers[which].signal(signal.SIGCONT)
                told["stopped"] += 1
    finally:
        for publisher in publishers:
            publisher.signal(signal.SIGCONT)
            publisher.end()
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong[:3]
    time.sleep(LOCK_SECONDS + 0.2)
    wanted = expected(fit(seed=9), 10)
    publish(fit(seed=9), url, n=10)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    assert "+cluster" in url or not left_behind(url)  # there, one may die in the batch that it wakes up in
    return told


def left_behind(url, prefix="fastals"):
    """Keys of no version that is known, and known ones that are neither served nor the one before."""
    client, control = connection(url), {}
    for head in (prefix, f"{{{prefix}:current}}"):
        control |= {kind: f"{head}:{kind}".encode() for kind in ("versions", "going", "lock", "publisher")}
        if client.exists(control["versions"]):
            break
    versions = client.smembers(control["versions"])
    known = {control["versions"], f"{prefix}:current".encode()}
    strays = [
        key for key in client.keys("*") if key not in known and not any(b":%b" % version in key for version in versions)
    ]
    client.close()
    return strays + ([versions] if len(versions) > 2 else [])


class Killed:
    """A connection whose process dies at the given command, when this is sent in part or not at all."""

    def __init__(self, number, part):
        self.left, self.part = number, part

    def __enter__(self):
        self.real = redis.connection.AbstractConnection.send_packed_command

        def send(connection, command, check_health=True):
            self.left -= 1
            if self.left:
                return self.real(connection, command, check_health)
            whole = command if isinstance(command, bytes) else b"".join(command)
            self.real(connection, [whole[: int(len(whole) * self.part)]], check_health)
            os.kill(os.getpid(), signal.SIGKILL)

        redis.connection.AbstractConnection.send_packed_command = send

    def __exit__(self, *exception):
        redis.connection.AbstractConnection.send_packed_command = self.real


def kill_everywhere(url):
    """Kill publishers at each command that they send; what is served stays whole, and the next one leaves nothing."""
    models = [fit(seed=seed) for seed in SEEDS]
    whole = [expected(model, 10) for model in models]
    client, kills = connection(url), 0
    for part in (0, 0.5, 0.99):
        for number in range(1, 1000):
            client.flushall()
            for model in models[:2]:
                publish(model, url, n=10, batch_size=150)
            child = os.fork()
            if not child:
                with Killed(number, part):
                    publish(models[2], url, n=10, batch_size=150)
                os._exit(0)
            ended = os.waitpid(child, 0)[1]
            served = [shown.items for shown in RedisRecommendations(url).get_many(whole[0])]
            assert any(served == [one.get(user) for user in whole[0]] for one in whole[1:3]), number
            client.delete("fastals:lock")  # it expires
            which = 3 if number % 2 else 2  # other lists, or the same ones
            publish(models[which], url, n=10, batch_size=150)
            assert read_all(RedisRecommendations(url), list(whole[which])) == whole[which], number
            assert not left_behind(url), number
            if not ended:
                break
            assert os.WTERMSIG(ended) == signal.SIGKILL
            kills += 1
    return kills


def test_publishers_that_are_killed_and_stopped(url):
    told = storm(url, 6)
    assert told["read"] > 20
    assert told["published"]
    assert told["killed"] + told["stopped"]


def test_publishers_of_a_cluster(cluster):
    told = storm(cluster.address, 4)
    assert told["read"] > 20
    assert told["published"]


def test_a_publisher_that_is_killed_at_each_command(url):
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no threads where a process is forked
    command = [sys.executable, __file__, "--kill", url]
    told = subprocess.run(command, env={**os.environ, **one}, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert int(told.stdout.split()[0]) > 50


# --- step by step ----------------------------------------------------------------------------------------------------


def at_batch(monkeypatch, number, action):
    """Do something before a batch is sent."""
    real, sent = _redis._Sender.send, []

    def send(self, batch):
        sent.append(batch.done)
        if len(sent) == number:
            action()
        return real(self, batch)

    monkeypatch.setattr(_redis._Sender, "send", send)


def test_what_is_served_is_looked_up_under_the_lock(url, monkeypatch):
    """The fault that was: another publisher switches between the look at what is served and the taking of the lock."""
    versions = [publish(fit(seed=seed), url, n=5).version for seed in (1, 2)]
    real = _versions.Versions.lock

    def lock(self):
        connection(url).set("fastals:current", versions[0])  # another has been served since
        real(self)

    monkeypatch.setattr(_versions.Versions, "lock", lock)
    publish(fit(seed=3), url, n=5)
    assert connection(url).exists(f"fastals:meta:{versions[0]}")
    assert not connection(url).exists(f"fastals:meta:{versions[1]}")


def test_a_version_that_is_served_by_now_is_not_removed(url, monkeypatch):
    versions = [publish(fit(seed=seed), url, n=5).version for seed in (1, 2)]
    real = _versions.Versions.drop

    def drop(self, name):
        connection(url).set("fastals:current", name)  # somebody goes back
        real(self, name)

    monkeypatch.setattr(_versions.Versions, "drop", drop)
    at_batch(monkeypatch, 1, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        publish(fit(seed=3), url, n=5)
    wanted = expected(fit(seed=1), 5)
    assert RedisRecommendations(url).version == versions[0]
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


@pytest.mark.parametrize("seed", [2, 3])
def test_a_lock_that_was_lost_is_noticed(url, monkeypatch, seed):
    """While one stands still, its lock expires and another publishes, the same lists or others."""
    publish(fit(seed=1), url, n=5)
    other = []

    def meanwhile():
        monkeypatch.undo()
        connection(url).delete("fastals:lock")
        other.append(publish(fit(seed=seed), url, n=5).version)

    at_batch(monkeypatch, 2, meanwhile)
    with pytest.raises(fastals.ServingError, match="lock of this publication has expired; run it again"):
        publish(fit(seed=2), url, n=5, batch_size=50)
    wanted = expected(fit(seed=seed), 5)
    assert RedisRecommendations(url).version == other[0]
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    assert not connection(url).exists("fastals:lock", "fastals:publisher")


def test_a_lock_that_expired_and_nobody_took_is_no_harm(url, monkeypatch):
    at_batch(monkeypatch, 2, lambda: connection(url).delete("fastals:lock"))
    publish(fit(seed=2), url, n=5, batch_size=50)
    wanted = expected(fit(seed=2), 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


@pytest.mark.parametrize("fresh", [False, True], ids=["lists", "description"])
def test_a_version_that_goes_and_comes_back_while_it_is_read(url, monkeypatch, fresh):
    models = [fit(seed=seed) for seed in (1, 2, 3)]
    wanted, reader = expected(models[0], 5), RedisRecommendations(url, pointer_seconds=1000)
    publish(models[0], url, n=5)
    if not fresh:
        assert reader.get("u0001").items == wanted["u0001"]
    inner = reader._users
    name, client = ("_load", inner) if fresh else ("_read", inner)
    real, went = getattr(client, name), []

    def go_and_come_back(*arguments):
        if went:
            return real(*arguments)
        went.append(True)
        for model in models[1:]:
            publish(model, url, n=5)
        found = real(*arguments)
        publish(models[0], url, n=5)
        return found

    monkeypatch.setattr(inner, name, go_and_come_back)
    assert read_all(reader, list(wanted)) == wanted


def test_the_same_lists_of_two_at_once(url, monkeypatch):
    """A second run goes on where the first one is; the first says so and stops."""
    taken = []

    def meanwhile():
        monkeypatch.undo()
        taken.append(publish(fit(seed=2), url, n=5).version)
        connection(url).set("fastals:lock", b"%b:other" % taken[0].encode())

    at_batch(monkeypatch, 4, meanwhile)
    with pytest.raises(fastals.ServingError, match="another process has begun to publish the same lists"):
        publish(fit(seed=2), url, n=5, batch_size=50)
    wanted = expected(fit(seed=2), 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_what_was_half_removed_is_not_taken_up_again(url, monkeypatch):
    """A version that was condemned has no progress to go on from, whatever its last publisher says."""
    first = publish(fit(seed=1), url, n=5).version
    publish(fit(seed=2), url, n=5)
    real = _versions.Versions.unlink
    monkeypatch.setattr(_versions.Versions, "unlink", lambda self, keys: real(self, keys[:100]))
    monkeypatch.setattr(_versions.Versions, "begin", lambda self, real=_versions.Versions.begin: (real(self), stop()))

    def stop():
        raise KeyboardInterrupt

    for seed in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            publish(fit(seed=seed), url, n=5)
    monkeypatch.undo()
    left = connection(url).keys(f"fastals:{first}:*")
    assert 0 < len(left) < 300
    assert publish(fit(seed=1), url, n=5).version == first
    wanted = expected(fit(seed=1), 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_what_a_killed_publisher_was_removing_goes_with_the_next(url, monkeypatch):
    first = publish(fit(seed=1), url, n=5).version
    publish(fit(seed=2), url, n=5)

    def die(self, keys):
        raise KeyboardInterrupt

    monkeypatch.setattr(_versions.Versions, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        publish(fit(seed=3), url, n=5)
    monkeypatch.undo()
    client = connection(url)
    assert client.smembers("fastals:going") == {first.encode()}
    publish(fit(seed=3), url, n=5)
    assert not client.exists("fastals:going")
    assert not client.keys(f"fastals:*{first}*")


def test_a_publisher_that_wakes_up_too_late_writes_nothing(url, monkeypatch):
    """The fault that was: lists were written without a look at the lock, and nobody removed them."""
    publish(fit(seed=1), url, n=5)

    def meanwhile():
        monkeypatch.undo()
        connection(url).delete("fastals:lock")
        publish(fit(seed=3), url, n=5)

    at_batch(monkeypatch, 2, meanwhile)
    with pytest.raises(fastals.ServingError, match="run it again"):
        publish(fit(seed=2), url, n=5, batch_size=50)
    assert not left_behind(url)


def test_a_publisher_of_a_cluster_that_wakes_up_too_late(cluster, monkeypatch):
    """What it has written goes with the next."""
    publish(fit(seed=1), cluster.address, n=5)
    real, woken = _versions.Versions.renew, []

    def renew(self, **options):
        real(self, **options)
        if not woken:
            woken.append(True)
            connection(cluster.url).delete("{fastals:current}:lock")
            publish(fit(seed=3), cluster.address, n=5)

    monkeypatch.setattr(_versions.Versions, "renew", renew)
    with pytest.raises(fastals.ServingError, match="run it again"):
        publish(fit(seed=2), cluster.address, n=5, batch_size=50)
    publish(fit(seed=4), cluster.address, n=5)
    assert len(connection(cluster.url).smembers("{fastals:current}:versions")) == 2
    assert left_behind(cluster.url) == []


@pytest.mark.parametrize("name", ["current", "similar", "popular", "meta", "lock", "", "*", "fastals"])
def test_what_is_no_version_is_not_removed(url, name):
    """The fault that was: the keys of whatever stood among the versions were removed, those of others too."""
    models, client = [fit(seed=seed) for seed in (1, 2, 3)], connection(url)
    publish(models[0], url, n=5, what="similar_items")
    publish(models[0], url, n=5)
    for kind in ("versions", "going"):
        client.sadd(f"fastals:{kind}", name)
    publish(models[1], url, n=5)
    before = {key for key in client.keys("*")}
    at = before - {key for key in before if client.get("fastals:current") in key}
    client.set("fastals:current", "nothing") if name == "current" else None
    publish(models[2], url, n=5)
    first = [key for key in at if b"similar" in key or key.endswith((b"versions", b"going", b"current"))]
    assert client.exists(*first) == len(first)
    wanted = expected(models[2], 5)
    reader = RedisRecommendations(url)
    assert read_all(reader, list(wanted)) == wanted
    assert reader.similar("i3").items


def test_lists_that_were_to_expire_and_now_are_to_stay(url, model):
    publish(model, url, n=5, ttl=1)
    publish(model, url, n=5)
    time.sleep(1.2)
    wanted = expected(model, 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


@pytest.mark.parametrize("noted", ["many", "-5", "1e2", "300000", "07", ""])
def test_progress_that_is_none_begins_anew(url, model, noted):
    version = publish(model, url, n=5).version
    client = connection(url)
    client.hset(f"fastals:meta:{version}", "done", noted)
    client.delete(f"fastals:{version}:u0001")
    publish(model, url, n=5)
    wanted = expected(model, 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted


def test_what_was_evicted_is_pushed_again(tmp_path, monkeypatch):
    server, model = Redis(tmp_path / "redis"), fit(3000)
    client = connection(server.url)

    def fill():
        monkeypatch.undo()
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 20_000)

    try:
        at_batch(monkeypatch, 40, fill)
        with pytest.raises(fastals.ServingError, match=r"has evicted keys during the push|run it again"):
            publish(model, server.url, n=5, batch_size=50)
        client.config_set("maxmemory", 0)
        publish(model, server.url, n=5)
        wanted = expected(model, 5)
        assert read_all(RedisRecommendations(server.url), list(wanted)) == wanted
    finally:
        server.stop()


def test_what_somebody_removes_during_a_push_is_not_served(url, monkeypatch):
    publish(fit(seed=1), url, n=5)
    version = publish(fit(seed=2), url, n=5).version
    at_batch(monkeypatch, 3, lambda: connection(url).delete(*connection(url).keys("fastals:meta:*")))
    with pytest.raises(fastals.ServingError, match="what was written before is not there"):
        publish(fit(seed=3), url, n=5, batch_size=50)
    assert connection(url).get("fastals:current") == version.encode()


def test_two_who_forget_at_once(url, model, monkeypatch):
    """The fault that was: the second took the lock of the first, whose users stayed."""
    publish(model, url, n=5)
    real, refused = _versions.Versions.unlink, []

    def unlink(self, keys):
        monkeypatch.undo()
        with pytest.raises(fastals.ServingError, match="lists are being removed by another process; if it has died"):
            forget(url, ["u0002"])
        refused.append(True)
        return real(self, keys)

    monkeypatch.setattr(_versions.Versions, "unlink", unlink)
    assert forget(url, ["u0001"]) == 1
    assert refused
    assert forget(url, ["u0002"]) == 1


def test_a_lock_that_never_expires(url, model):
    connection(url).set("fastals:lock", b"abcdefgh:\xff\r\nx")
    with pytest.raises(fastals.ServingError, match="if it has died, delete its lock, the key 'fastals:lock'"):
        publish(model, url)


# --- protocol files --------------------------------------------------------------------------------------------------


def pipe(url, *parts, between=lambda: None):
    """Return what redis-cli says to a protocol file, in the middle of which something else is done."""
    command = ["redis-cli", "-u", url, "--pipe"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **streams) as process:
        for number, part in enumerate(parts):
            if number:
                between()
            process.stdin.write(part)
            process.stdin.flush()
            time.sleep(0.3)
        return process.communicate()[0].decode()


def test_a_protocol_file_takes_the_lock(url, tmp_path):
    """The fault that was: it knew none, and what a publisher had removed of it was served."""
    publish(fit(seed=1), url, n=5)
    publish(fit(seed=2), tmp_path / "lists.resp", n=5, batch_size=50)
    data, wanted = (tmp_path / "lists.resp").read_bytes(), expected(fit(seed=2), 5)

    def refused():
        with pytest.raises(fastals.ServingError, match="being published by another process"):
            publish(fit(seed=3), url, n=5)

    assert "errors: 0" in pipe(url, data[: len(data) // 2], data[len(data) // 2 :], between=refused)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted

    def overtaken():
        connection(url).delete("fastals:lock")
        publish(fit(seed=3), url, n=5)

    connection(url).flushall()
    told = pipe(url, data[: len(data) // 2], data[len(data) // 2 :], between=overtaken)
    assert "LOST" in told
    assert "errors: 0" not in told
    wanted = expected(fit(seed=3), 5)
    assert read_all(RedisRecommendations(url), list(wanted)) == wanted
    assert not left_behind(url)


def test_a_protocol_file_that_does_not_fit_is_not_served(tmp_path, model):
    server = Redis(tmp_path / "redis", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    try:
        version = publish(model, server.url, n=5).version
        publish(fit(20_000), tmp_path / "lists.resp", n=20)
        assert "OOM" in pipe(server.url, (tmp_path / "lists.resp").read_bytes())
        assert RedisRecommendations(server.url).version == version
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--publish", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--kill", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish_for_ever(options.publish)
    if options.kill:
        print(kill_everywhere(options.kill), "kills")
        return
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        server = Cluster(directory) if options.cluster else Redis(directory)
        stack.callback(server.stop)
        url = server.address if options.cluster else server.url
        told = storm(url, options.seconds, n_publishers=options.publishers, seed=options.seed)
        print(", ".join(f"{count:,} {name}" for name, count in sorted(told.items())))
        print("no wrong read")


if __name__ == "__main__":
    main()
