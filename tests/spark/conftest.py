"""One session of Spark for all tests of this folder; those that need it are left out where Spark cannot run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

JAVA = shutil.which("java", path=os.path.join(os.environ["JAVA_HOME"], "bin") if "JAVA_HOME" in os.environ else None)
MISSING = [name for name, found in {"pyspark": find_spec("pyspark"), "Java": JAVA}.items() if not found]
if MISSING:
    # doctest looks into all files, not only those of tests
    without = {"test_local.py", "folders.py"}
    collect_ignore = [path.name for path in Path(__file__).parent.glob("*.py") if path.name not in without]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MISSING:
        terminalreporter.write_line(f"tests/spark: not run as Spark needs {' and '.join(MISSING)}: see .ci/spark")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A classic session, local[2]: two tasks at a time, each of them a process that has the code under test.

    Java has a directory of its own: Python's workers look there first for what they import, and relative paths are
    meant from there.
    """
    from pyspark.sql import SparkSession

    from .cluster import CODE, SETTINGS

    os.environ |= {"PYTHONPATH": CODE, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    room = tmp_path_factory.mktemp("spark")
    settings = {
        **SETTINGS,
        "spark.driver.memory": "1500m",
        "spark.local.dir": str(room / "local"),
        "spark.sql.warehouse.dir": str(room / "warehouse"),
    }
    here = os.getcwd()
    os.chdir(room)
    try:
        session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    finally:
        os.chdir(here)
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real one: two workers, two executors of one core each."""
    from .cluster import Cluster

    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
