"""How fastals comes to executors that have it not: as its wheel alone, or in an environment that is packed."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import venv_pack
from packaging.requirements import Requirement

import fastals

DATA = ([0, 0, 1, 2], [0, 1, 1, 2], [1.0, 2.0, 3.0, 4.0])
FACTS = f"""
import os, time
import pyarrow as pa

def fit(batches):
    import fastals
    list(batches)
    time.sleep(1)
    model = fastals.ImplicitALS(factors=2, iterations=2, random_state=0, num_threads=1).fit({DATA})
    home = os.path.abspath(fastals.__file__)
    yield pa.record_batch([[json.dumps([home, model.user_factors_.tolist()])]], names=["facts"])

rows = spark.range(6, numPartitions=6).mapInArrow(fit, "facts string").collect()
tell([json.loads(row.facts) for row in rows])
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    directory = tmp_path_factory.mktemp("delivery")
    yield directory
    shutil.rmtree(directory)  # some 500 MB


@pytest.fixture(scope="module")
def wheel(room):
    if "FASTALS_WHEEL" in os.environ:
        return Path(os.environ["FASTALS_WHEEL"])
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(room), str(Path(__file__).parents[2])]
    subprocess.run(command, check=True)
    return next(room.glob("fastals-*.whl"))


@pytest.fixture(scope="module")
def bare(room):
    """An environment that has what fastals needs, as executors may."""
    home = room / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    for name in needed("fastals", "pandas", "pyarrow"):
        for file in metadata.files(name):
            if not {"..", "__pycache__", "tests"} & set(file.parts):
                (site(home) / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), site(home) / file)
    return home


def needed(*names):
    """What these distributions need, and they themselves, but not fastals."""
    found = list(names)
    for name in found:  # which grows
        for each in map(Requirement, metadata.requires(name) or []):
            if each.name not in found and (not each.marker or each.marker.evaluate({"extra": ""})):
                found.append(each.name)
    return [name for name in found if name != "fastals"]


def site(home):
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(home)}))


def check(facts):
    """Both executors have fitted with what was delivered to them, and found the same."""
    expected = fastals.ImplicitALS(factors=2, iterations=2, random_state=0, num_threads=1).fit(DATA)
    assert {name for home, _ in facts for name in Path(home).parts if name.startswith("work-")} == {"work-0", "work-1"}
    assert all(factors == expected.user_factors_.tolist() for _, factors in facts)


def archived(wheel, room):
    """As settings of Spark."""
    archive = shutil.copyfile(wheel, room / f"{wheel.stem}.zip")
    return {"spark.archives": f"{archive}#fastals_wheel", "spark.executorEnv.PYTHONPATH": "./fastals_wheel"}


def test_the_wheel_as_an_archive(cluster, room, wheel, bare):
    facts = cluster.run(FACTS, archived(wheel, room), PYSPARK_PYTHON=str(bare / "bin" / "python"))
    check(facts)
    assert all(Path(home).parts[-3] == "fastals_wheel" for home, _ in facts)


def test_a_packed_environment(cluster, room, wheel, bare):
    whole = shutil.copytree(bare, room / "whole", symlinks=True)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site(whole))
    venv_pack.pack(prefix=str(whole), output=str(room / "whole.tar.gz"), compress_level=1)
    settings = {"spark.archives": f"{room / 'whole.tar.gz'}#whole", "spark.executorEnv.PYTHONPATH": ""}
    facts = cluster.run(FACTS, settings, PYSPARK_PYTHON="./whole/bin/python")
    check(facts)
    assert all("whole" in Path(home).parts for home, _ in facts)


FIT = """
import fastals
from fastals.spark import ALS

ratings = spark.createDataFrame([(0, 0, 1.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
try:
    ALS(rank=2, maxIter=1).fit(ratings)
except fastals.MissingDependencyError as error:
    tell(str(error))
"""


def test_executors_without_fastals(cluster, bare):
    settings = {"spark.executorEnv.PYTHONPATH": ""}
    told = cluster.run(FIT, settings, PYSPARK_PYTHON=str(bare / "bin" / "python"))
    assert "executor" in told
    assert fastals.__version__ in told
    assert "docs/spark.md" in told


def test_executors_with_another_version(cluster, room, wheel, bare):
    other = room / "fastals-0.0.7.whl"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "fastals/_core/names.py":
                changed = data.replace(f'"{fastals.__version__}"'.encode(), b'"0.0.7"')
                assert changed != data
                data = changed
            new.writestr(name, data)
    told = cluster.run(FIT, archived(other, room), PYSPARK_PYTHON=str(bare / "bin" / "python"))
    assert "0.0.7" in told
    assert fastals.__version__ in told
    assert "docs/spark.md" in told
