import os

import pytest

from fastals._core import threads
from fastals._core.errors import ArgumentTypeError, ParameterError
from fastals._core.threads import resolve_num_threads, single_threaded_blas


def test_a_number_is_taken(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert resolve_num_threads(7) == 7


@pytest.mark.parametrize(("environment", "expected"), [("3", 3), ("5,2", 5), (" 2 ", 2), ("99999", 1024)])
def test_environment(monkeypatch, environment, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert resolve_num_threads() == expected


@pytest.mark.parametrize("environment", ["", "0", "-1", "many", "²"])
def test_environment_that_is_no_number_is_ignored(monkeypatch, environment):
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    monkeypatch.setattr(threads, "_processors", lambda: 6)
    monkeypatch.setattr(threads, "_quota", lambda: 5)
    assert resolve_num_threads() == 5


def test_default_is_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= resolve_num_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 1024),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1024),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, 1024),
        ({"cpu.max": "ünïcode"}, 1024),
        ({}, 1024),
    ],
)
def test_quota_of_a_control_group(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert threads._quota(tmp_path) == expected


@pytest.mark.parametrize("number", [0, -1, 1025])
def test_out_of_range(number):
    with pytest.raises(ParameterError, match=rf"num_threads must be (>= 1|<= 1024), got {number}"):
        resolve_num_threads(number)


@pytest.mark.parametrize("number", [1.0, True, "2"])
def test_no_integer(number):
    with pytest.raises(ArgumentTypeError, match="num_threads must be an integer, got"):
        resolve_num_threads(number)


def test_blas_is_single_threaded_for_a_while():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with single_threaded_blas():
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    assert all(pool["num_threads"] == 1 for pool in pools)
