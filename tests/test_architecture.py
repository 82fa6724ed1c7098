"""The shape of the package: who may import whom, what is public, what it costs to import, what the C code may use."""

import ast
import difflib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import fastals
from fastals._core import kernels, tables

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastals"

# A folder is a story. Each may import from the doors (``__init__``) of those before it only.
FOLDERS = [
    *("_core", "_data", "_equation", "_topn", "evaluation", "_inspect", "_models", "_neighbours"),
    *("scoring", "serving", "report", "cli"),
]
LEVELS, CHAIN, FILES, LINES = 9, 14, 12, 500
"""The most levels of folders, modules in a chain of imports, files in a folder, lines in a file."""

# What must not come with `import fastals`: it would take longer than all the rest.
HEAVY = {
    *("asyncio", "concurrent.futures", "importlib.metadata", "multiprocessing", "unittest"),
    *("numpy.testing", "scipy.linalg", "scipy.sparse.linalg", "scipy.stats"),
    *("pandas", "polars", "pyarrow", "safetensors", "sklearn", "threadpoolctl", "tqdm"),
}
OPTIONAL = ["pandas", "polars", "pyarrow", "pytest", "redis", "pyspark", "sklearn", "matplotlib", "fsspec", "yaml"]

RECORD = Path(__file__).with_name("public_api.txt")


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


# ---------------------------------------------------------------------------------------------------------------------
# folders


def folder_of(path: Path) -> str:
    """The folder that a file of the package is in; "" for the face."""
    return "" if path.parent == PACKAGE else path.parent.name


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Folder and module ("" for the door) of all that a file of the package imports, at any depth of its code."""
    here = folder_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "fastals" for alias in node.names), f"{path}: import relatively"
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            assert module[0] != "fastals" or node.level, f"{path}: import relatively"
            if not node.level:
                continue
            if here and node.level == 1:
                module = [here, *module]
            parts = [part for part in module if part]
            for alias in node.names:
                whole = [*parts, alias.name]
                room = PACKAGE.joinpath(*whole)
                names = whole if room.is_dir() or any(room.parent.glob(f"{room.name}.py*")) else parts
                yield names[0] if names else "", names[1] if len(names) > 1 else ""


# what points up as yet
DEBTS = {("_models/load", "_neighbours")}

PATHS = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


@cache
def doors() -> dict[str, set[str]]:
    """What each folder's door names."""
    names = {}
    for folder in FOLDERS:
        tree = ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))
        lists = [node.value for node in tree.body if isinstance(node, ast.Assign)]
        names[folder] = {name for found in lists for name in ast.literal_eval(found)}
    return names


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    here = folder_of(path)
    for folder, module in imports_of(path):
        if here and folder != here and (name_of(path), folder) not in DEBTS:
            assert FOLDERS.index(folder) < FOLDERS.index(here), f"{name_of(path)} may not import {folder}"
        if folder not in (here, ""):
            assert not module or module in doors()[folder], (
                f"{name_of(path)} may import {folder}, not {folder}.{module}"
            )


# ---------------------------------------------------------------------------------------------------------------------
# the public face


MODULES = [fastals, fastals.evaluation, fastals.report, fastals.scoring, fastals.serving]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_complete(module: ModuleType) -> None:
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name


def test_everything_importable_is_public_or_underscored() -> None:
    for name in fastals.__all__:  # some modules come when they are asked for
        getattr(fastals, name)
    names = {name for name in vars(fastals) if not name.startswith("_")}
    assert names == set(fastals.__all__) - {"__version__"}


def signature(function: object) -> str:
    """Names, kinds and defaults; annotations are mypy's business, and print differently from one Python to the next."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def public_api() -> Iterator[str]:
    """One line for each public name, method, property and signature."""
    for module in MODULES:
        for name in module.__all__:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(value, type) and issubclass(value, BaseException):
                yield f"{path}({', '.join(base.__name__ for base in value.__bases__)})"
            elif isinstance(value, type):
                yield path + signature(value)
                builtin = [base for base in value.__mro__ if base.__module__ == "builtins"]
                for member in sorted(dir(value)):
                    if member.startswith("_") or any(hasattr(base, member) for base in builtin):
                        continue
                    attribute = inspect.getattr_static(value, member)
                    if isinstance(attribute, (FunctionType, classmethod, staticmethod)):
                        yield f"{path}.{member}" + signature(getattr(value, member))
                    else:
                        yield f"{path}.{member}"
            elif callable(value):
                yield path + signature(value)
            else:
                yield path


def test_public_signatures_are_the_recorded_ones() -> None:
    recorded, present = RECORD.read_text(encoding="utf-8").splitlines(), list(public_api())
    difference = "\n".join(difflib.unified_diff(recorded, present, "recorded", "present", lineterm="", n=0))
    assert not difference, (
        f"the public interface has changed:\n{difference}\n"
        "If that is meant, say so in CHANGELOG.md and run: python tests/test_architecture.py"
    )


NEED_A_SERVER = {f"fastals.serving.RedisRecommendations.{name}" for name in ("get", "get_many")}


def public_callables() -> Iterator[tuple[str, object]]:
    """Functions, classes that are neither errors nor plain tuples, and their methods."""
    for module in MODULES:
        for name in module.__all__:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(value, type) and issubclass(value, BaseException | tuple):
                continue
            if isinstance(value, type):
                for member in dir(value):
                    attribute = inspect.getattr_static(value, member)
                    if not member.startswith("_") and isinstance(attribute, (FunctionType, classmethod, staticmethod)):
                        yield f"{path}.{member}", getattr(value, member)
            if callable(value):
                yield path, value


def test_every_public_function_has_an_example() -> None:
    """Which pytest runs: ``--doctest-modules``."""
    lacking = {path for path, value in public_callables() if ">>>" not in (inspect.getdoc(value) or "")}
    assert lacking == NEED_A_SERVER  # which tests/test_serving.py starts


# ---------------------------------------------------------------------------------------------------------------------
# what an import costs and needs


def test_import_loads_nothing_heavy() -> None:
    result = run(
        "import sys, numpy, scipy.sparse\n"
        "before = set(sys.modules)\n"
        "import fastals\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert {"fastals._core.kernels", "fastals._core.tables"} <= loaded
    assert not loaded & HEAVY


def test_works_without_optional_packages() -> None:
    result = run(
        "import sys\n"
        f"for name in {OPTIONAL!r}: sys.modules[name] = None\n"
        "import fastals\n"
        "data = (['ann', 'bob', 'ann', 'cid'], [1, 1, 2, 3], [3.0, 1.0, 2.0, 5.0])\n"
        "model = fastals.ImplicitALS(factors=2, iterations=2, solver='lapack', random_state=0).fit(data)\n"
        "assert model.recommend('bob', n=1).items.tolist() == [2]\n"
        "from fastals.__main__ import main\n"
    )
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------------------------------------------------------------
# the compiled side


SOURCES = sorted((ROOT / "src_c").glob("*/*"))


def test_c_code_is_serial_and_knows_no_python() -> None:
    allowed = {"arm_neon", "cpuid", "emmintrin", "float", "immintrin", "intrin", "math", "stddef", "stdint", "string"}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"#include <(\w+)\.h>", text)) <= allowed, path.name
        assert not re.search(r"\b(malloc|calloc|realloc|free|printf|exit|abort)\s*\(|#pragma omp", text), path.name


def test_no_build_is_for_this_machine_only() -> None:
    for path in [ROOT / "setup.py", *SOURCES]:
        assert not re.search(r"-m(arch|cpu|tune)\b|target_clones|arch=", path.read_text(encoding="utf-8")), path.name


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF symbol tables")
@pytest.mark.parametrize("extension", [kernels, tables], ids=lambda extension: extension.__name__)
def test_extensions_export_their_init_function_alone(extension: ModuleType) -> None:
    result = subprocess.run(
        ["nm", "-D", "--defined-only", str(extension.__file__)], capture_output=True, text=True, check=True
    )
    name = extension.__name__.split(".")[-1]
    assert [line.split()[-1] for line in result.stdout.splitlines()] == [f"PyInit_{name}"]


if __name__ == "__main__":
    RECORD.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
