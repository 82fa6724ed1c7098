"""One session of Spark for all tests of this folder, which are left out where Spark cannot run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
"""Where workers find the checkout, and what tests define."""

JAVA = shutil.which("java", path=os.path.join(os.environ["JAVA_HOME"], "bin") if "JAVA_HOME" in os.environ else None)
MISSING = [name for name, found in {"pyspark": find_spec("pyspark"), "Java": JAVA}.items() if not found]
if MISSING:
    collect_ignore_glob = ["*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MISSING:
        terminalreporter.write_line(f"tests/spark: not run, there is no {' and no '.join(MISSING)} (see .ci/spark)")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A classic session, local[2]: two tasks at a time, each of them a process that has the checkout."""
    from pyspark.sql import SparkSession

    os.environ |= {"PYTHONPATH": PYTHONPATH, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    room = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.driver.memory": "1500m",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={room}",
        "spark.local.dir": str(room / "local"),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(room / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
