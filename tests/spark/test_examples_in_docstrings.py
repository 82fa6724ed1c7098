"""The examples in the docstrings of ``fastals.spark``, and those of its page: they need a session."""

import doctest
import pkgutil
from importlib import import_module

import pytest
from test_docs import DOCS, check_examples

import fastals.spark

MODULES = ["", *sorted(module.name for module in pkgutil.iter_modules(fastals.spark.__path__))]


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "door")
def test_examples(name, spark, monkeypatch):
    """``spark`` is the session; a relative path means the same to Python and to Java."""
    monkeypatch.chdir(spark._jvm.java.lang.System.getProperty("user.dir"))
    module = import_module(f"fastals.spark.{name}".rstrip("."))
    finder = doctest.DocTestFinder()
    tests = finder.find(module, extraglobs={"spark": spark})
    if not name:  # its names come when they are asked for, and say then that they are of the door
        for each in fastals.spark.__all__:
            tests += finder.find(getattr(module, each), each, module=module, extraglobs={"spark": spark})
    runner, report = doctest.DocTestRunner(verbose=False), list[str]()
    for test in tests:
        runner.run(test, out=report.append)
    assert not report, "".join(report)


def test_the_page(spark):
    check_examples(DOCS / "spark.md", spark=spark)
