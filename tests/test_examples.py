"""The examples run, and show what they say."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Redis

from fastals.serving import RedisRecommendations

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_nearest_neighbours():
    pytest.importorskip("faiss")
    command = [sys.executable, str(EXAMPLES / "nearest_neighbours.py")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    flat, graph = map(float, re.findall(r" (0\.\d+|1\.0+)", out))
    assert flat > 0.99  # but for ties of rounding
    assert graph > 0.9


# --- a shop ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path):
    subprocess.run([sys.executable, str(EXAMPLES / "shop" / "make_log.py"), str(tmp_path / "shop")], check=True)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "fastals"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastals "$@"\n')
    command.chmod(0o755)
    return tmp_path / "shop"


def run_days(shop, *target):
    path = f"{shop.parent / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PATH": path}
    command = ["sh", str(EXAMPLES / "shop" / "days.sh"), str(shop), *target]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ids(path):
    return [row["sku"] for row in csv.DictReader(path.read_text("utf-8").splitlines())]


def allowed(shop):
    return set(ids(shop / "catalogue.csv")) - set((shop / "blocklist.txt").read_text().split())


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_a_shop_with_files(shop):
    out = run_days(shop)
    summary = json.loads((shop / "first.json").read_text())
    assert summary["status"] == "done"
    assert summary["metrics"]["ndcg@10"] > 1.5 * summary["baseline"]["ndcg@10"]
    assert summary["events"]["users_above_max_user_events"] == 1  # the robot
    lists = [json.loads(line) for line in (shop / "recommendations.jsonl").read_text("utf-8").splitlines()]
    listed = {row["user"]: set(row["items"]) for row in lists}
    assert set().union(*listed.values()) <= allowed(shop)
    assert "-crawler-1" not in listed
    assert "v-0001" not in listed
    assert "v-0002" in listed
    returned = 0
    for path in (shop / "log").glob("dt=*/events.csv"):
        for row in csv.DictReader(path.read_text("utf-8").splitlines()):
            assert row["visitor"] != "v-0001"
            if row["visitor"] in listed:
                assert row["sku"] not in listed[row["visitor"]], row  # nothing they know, nor what they sent back
                returned += row["event"] == "return"
    assert returned > 100
    assert b"v-0001" not in (shop / "model").read_bytes()
    similar = [json.loads(line) for line in (shop / "similar.jsonl").read_text("utf-8").splitlines()]
    assert set().union(*(row["items"] for row in similar)) <= allowed(shop)
    assert re.search(r"^v-0002,1,\d{5},.*[A-Z][a-z]+ [A-Z][a-z]+", out, re.MULTILINE)
    assert re.search(r"^updates .*since the last whole fit", out, re.MULTILINE)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_a_shop_with_redis(shop):
    server = Redis(shop.parent / "redis")
    try:
        run_days(shop, server.url)
        reader = RedisRecommendations(server.url)
        assert set(reader.get("v-0002").items) <= allowed(shop)
        assert not reader.get("v-0002").popular
        assert reader.get("v-0001").popular
        assert set(reader.get("v-0001").items) <= allowed(shop)
    finally:
        server.stop()
