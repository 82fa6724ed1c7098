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
from fastals.serving import RedisRecommendations, _redis, _versions, publish

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
    return told


def test_publishers_that_are_killed_and_stopped(url):
    told = storm(url, 6)
    assert told["read"] > 20
    assert told["published"]
    assert told["killed"] + told["stopped"]


def test_publishers_of_a_cluster(cluster):
    told = storm(cluster.address, 4)
    assert told["read"] > 20
    assert told["published"]


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--publishers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--publish", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish_for_ever(options.publish)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        server = Cluster(directory) if options.cluster else Redis(directory)
        stack.callback(server.stop)
        url = server.address if options.cluster else server.url
        told = storm(url, options.seconds, n_publishers=options.publishers, seed=options.seed)
        print(", ".join(f"{count:,} {name}" for name, count in sorted(told.items())))
        print("no wrong read")


if __name__ == "__main__":
    main()
