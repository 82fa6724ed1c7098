"""The examples in the docstrings of ``fastals.spark``, which pytest leaves to this file: they need a session."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import fastals.spark

MODULES = ["", *sorted(module.name for module in pkgutil.iter_modules(fastals.spark.__path__))]


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "door")
def test_examples(name, spark, tmp_path, monkeypatch):
    """``spark`` is the session; files are written where nobody minds."""
    monkeypatch.chdir(tmp_path)
    module = import_module(f"fastals.spark.{name}".rstrip("."))
    finder = doctest.DocTestFinder()
    tests = finder.find(module, extraglobs={"spark": spark})
    runner, report = doctest.DocTestRunner(verbose=False), list[str]()
    for test in tests:
        runner.run(test, out=report.append)
    assert not report, "".join(report)
