"""The shape of the package: who may import whom, how large a thing may be, what is public, what it costs to import,
what the C code may use.
"""

import ast
import difflib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import fastals
from fastals._core import kernels, tables

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastals"

# A folder is a story. Each may import from the doors (``__init__``) of those before it only.
FOLDERS = [
    *("_core", "_files", "_data", "_equation", "_topn", "evaluation", "_fitted", "_inspect", "_models", "_neighbours"),
    *("scoring", "serving", "_engines", "spark", "report", "_pipeline", "cli"),
]
LEVELS, CHAIN, FILES, LINES, PRIVATE = 9, 14, 12, 500, 15
"""The most levels of folders, modules in a chain of imports, files in a folder, lines in a file, private methods."""

DEBTS: dict[str, set[str]] = {
    "upward": set(),
    "chain": set(),
    "files": set(),
    "lines": set(),
    "methods": set(),
    "unknown": set(),
    "private": set(),
}
"""What is not yet as it should be. Nothing is added; what has become right is struck, or the tests fail."""

# What must not come with `import fastals`: it would take longer than all the rest.
HEAVY = {
    *("asyncio", "concurrent.futures", "importlib.metadata", "multiprocessing", "unittest"),
    *("numpy.testing", "scipy.linalg", "scipy.sparse.linalg", "scipy.stats"),
    *("pandas", "polars", "pyarrow", "safetensors", "sklearn", "threadpoolctl", "tqdm"),
    *("fastals._data.store", "fastals._inspect", "fastals._neighbours", "fastals.evaluation"),
}
OPTIONAL = [
    "pandas",
    "polars",
    "pyarrow",
    "duckdb",
    "pytest",
    "redis",
    "pyspark",
    "sklearn",
    "matplotlib",
    "fsspec",
    "yaml",
]

RECORD = Path(__file__).with_name("public_api.txt")


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def judge(kind: str, found: set[str], rule: str) -> None:
    """Fail unless what breaks a rule is what is known to."""
    assert not found - DEBTS[kind], f"{rule}: {sorted(found - DEBTS[kind])}"
    assert not DEBTS[kind] - found, f"no debt any more, strike it: {sorted(DEBTS[kind] - found)}"


# ---------------------------------------------------------------------------------------------------------------------
# folders and modules


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def folder_of(path: Path) -> str:
    """The folder that a file of the package is in; "" for the face."""
    return "" if path.parent == PACKAGE else path.parent.name


def is_module(*names: str) -> bool:
    room = PACKAGE.joinpath(*names)
    return room.is_dir() or any(room.parent.glob(f"{room.name}.py*"))


def imports_of(path: Path, *, running: bool = False) -> Iterator[tuple[str, str, str]]:
    """Folder, module ("" for the door) and name ("" for the module) of all that a file imports, at any depth of it.

    ``running``: without what is imported for its types alone.
    """
    here = folder_of(path)
    blocks = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.If)] if running else []
    for_types = {id(each) for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test) for each in block.body}
    for node in ast.walk(tree_of(path)):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "fastals" for alias in node.names), f"{path}: import relatively"
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            assert parts[0] != "fastals" or node.level, f"{path}: import relatively"
            if not node.level:
                continue
            parts = [part for part in ([here, *parts] if node.level == 1 else parts) if part]
            for alias in node.names:
                whole = [*parts, alias.name]
                names, name = (whole, "") if is_module(*whole) else (parts, alias.name)
                yield names[0] if names else "", names[1] if len(names) > 1 else "", name


PATHS = sorted(PACKAGE.rglob("*.py"))


@cache
def door(folder: str) -> dict[str, str]:
    """The names that a folder's door gives to others, each with the module that it comes from."""
    imports = imports_of(PACKAGE / folder / "__init__.py")
    return {name or module: module for within, module, name in imports if within == folder}


def test_imports_point_down_and_go_through_doors() -> None:
    upward, around = set(), set()
    for path in PATHS:
        here = folder_of(path)
        for folder, module, _ in imports_of(path):
            if here and folder and FOLDERS.index(folder) > FOLDERS.index(here):
                upward.add(f"{name_of(path)} imports {folder}")
            if folder not in (here, "") and module and module not in door(folder):
                around.add(f"{name_of(path)} imports {folder}/{module}")
    judge("upward", upward, "a folder imports those before it only")
    assert not around, "of another folder, only what its door lists"


def test_private_doors_list_what_others_use() -> None:
    """Public ones also list what users do."""
    unused = {folder: set(door(folder)) for folder in FOLDERS if is_private(folder)}
    for path in PATHS:
        for folder, module, name in imports_of(path):
            if folder in unused and folder != folder_of(path):
                unused[folder] -= {name or module}
    assert not any(unused.values()), f"at a door, only what another folder imports: {unused}"


def test_the_map_shows_every_folder_and_what_is_there_alone() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^      (\w+)/ ", text, re.MULTILINE) == FOLDERS
    for path in re.findall(r"`([\w*]+/[\w*./]*)`", text):
        assert any(list(root.glob(path.rstrip("/"))) for root in (ROOT, PACKAGE)), path


def longest(graph: Mapping[str, set[str]]) -> list[str]:
    """The longest path of a graph without cycles."""

    @cache
    def below(node: str) -> list[str]:
        return [node, *max((below(other) for other in sorted(graph[node])), key=len, default=[])]

    return max((below(node) for node in sorted(graph)), key=len)


def test_folders_are_on_few_levels() -> None:
    graph: dict[str, set[str]] = {folder: set() for folder in FOLDERS}
    for path in PATHS:
        here = folder_of(path)
        for folder, _, _ in imports_of(path):
            if here and folder not in (here, "") and f"{name_of(path)} imports {folder}" not in DEBTS["upward"]:
                graph[here].add(folder)
    chain = longest(graph)
    assert len(chain) <= LEVELS, f"{len(chain)} levels: {' > '.join(chain)}"


def test_chains_of_modules_are_short() -> None:
    """A door is no link of a chain, nor the face: what comes through it leads to the module that it is written in.

    Nor is what is imported for its types alone, which nothing waits for.
    """
    graph: dict[str, set[str]] = {}
    for path in PATHS:
        if path.name == "__init__.py" or not folder_of(path):
            continue
        links = graph.setdefault(name_of(path), set())
        for folder, module, name in imports_of(path, running=True):
            if not folder:
                continue
            modules = [module] if module else [door(folder)[name]] if name else list(door(folder).values())
            links |= {f"{folder}/{module}" for module in modules} - {name_of(path)}
    for links in list(graph.values()):
        for module in links:
            graph.setdefault(module, set())  # a compiled one
    chain = longest(graph)
    found = {f"{len(chain)} modules"} if len(chain) > CHAIN else set()
    judge("chain", found, f"at most {CHAIN} modules in a chain, not {' > '.join(chain)}")


# ---------------------------------------------------------------------------------------------------------------------
# sizes


SUFFIXES = {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".c", ".h"}


def test_folders_are_not_crowded() -> None:
    """A stub stands beside what it describes: both are one."""
    files: dict[str, set[str]] = {}
    for path in [*PACKAGE.rglob("*"), *(ROOT / "src_c").rglob("*")]:
        if path.suffix in SUFFIXES and path.stem != "__init__" and "Generated by Cython" not in head(path):
            files.setdefault(path.parent.relative_to(ROOT).as_posix(), set()).add(path.stem)
    crowded = {folder for folder, stems in files.items() if len(stems) > FILES}
    judge("files", crowded, f"at most {FILES} files in a folder")


def head(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline()


def test_files_are_not_long() -> None:
    """But tests, and kernels."""
    paths = [path for folder in ("fastals", "bench", "examples") for path in (ROOT / folder).rglob("*.py")]
    long = {p.relative_to(ROOT).as_posix() for p in paths if len(p.read_text(encoding="utf-8").splitlines()) > LINES}
    judge("lines", long, f"at most {LINES} lines in a file")


# ---------------------------------------------------------------------------------------------------------------------
# classes


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


CLASSES = {
    (path, node.name): node for path in PATHS for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)
}


def methods_of(cls: ast.ClassDef) -> list[ast.FunctionDef]:
    return [node for node in cls.body if isinstance(node, ast.FunctionDef)]


def test_classes_have_few_private_methods() -> None:
    counts = {name: sum(is_private(method.name) for method in methods_of(cls)) for (_, name), cls in CLASSES.items()}
    judge("methods", {name for name in counts if counts[name] > PRIVATE}, f"at most {PRIVATE} private methods a class")


def asked(cls: ast.ClassDef) -> Iterator[ast.Attribute]:
    """Each ``self._name`` and ``cls._name`` in a class."""
    for node in ast.walk(cls):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in ("self", "cls"):
            yield node


FOREIGN = {
    "NamedTuple": {"_asdict", "_fields", "_make", "_replace"},
    **{name: {"_copyValues", "_resetUid", "_set", "_setDefault"} for name in ("Estimator", "Model", "_ALSModelParams")},
}
"""What classes of other libraries give to ours."""


@cache
def declared(path: Path, name: str) -> frozenset[str]:
    """What a class and its bases have: methods, what stands in their bodies, what is assigned to self."""
    if (path, name) not in CLASSES:
        path = next((other for other, known in CLASSES if known == name), path)
    cls = CLASSES.get((path, name))
    if cls is None:
        return frozenset(FOREIGN.get(name, ()))
    names = {node.attr for node in asked(cls) if isinstance(node.ctx, ast.Store)}
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {ast.unparse(target) for target in targets}
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in cls.bases]
    return frozenset(names).union(*(declared(path, ast.unparse(base).split(".")[-1]) for base in bases))


def test_no_class_asks_itself_for_what_only_a_subclass_has() -> None:
    unknown = {
        f"{name}.{node.attr}"
        for (path, name), cls in CLASSES.items()
        for node in asked(cls)
        if node.attr not in declared(path, name)
    }
    judge("unknown", unknown, "a class or its bases declare what it asks itself for")


OUTSIDE = ("evaluation", "scoring", "serving", "spark", "report", "_pipeline", "cli")
"""Folders that ask models and data as users do, by what is public."""


def test_what_is_private_is_left_alone() -> None:
    """A name with an underscore is its class's, or its module's."""
    reached = {
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in PATHS
        for node in ast.walk(tree_of(path))
        if folder_of(path) in OUTSIDE and isinstance(node, ast.Attribute) and is_private(node.attr)
        if ast.unparse(node.value) not in ("self", "cls")
    }
    judge(
        "private", {line.split(":")[0] for line in reached}, f"outside nothing private is asked for: {sorted(reached)}"
    )


# ---------------------------------------------------------------------------------------------------------------------
# the public face


MODULES = [fastals, fastals.evaluation, fastals.report, fastals.scoring, fastals.serving]
if find_spec("pyspark"):  # .ci/spark runs this file where it is
    MODULES.append(fastals.spark)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_complete(module: ModuleType) -> None:
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name


def test_everything_importable_is_public_or_underscored() -> None:
    for name in fastals.__all__:  # some modules come when they are asked for
        getattr(fastals, name)
    names = {name for name in vars(fastals) if not name.startswith("_")}
    assert names - {"cli"} == set(fastals.__all__) - {"__version__"}  # which is there once the program has run


def signature(function: object) -> str:
    """Names, kinds and defaults; annotations are mypy's business, and print differently from one Python to the next."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


def members_of(cls: type) -> Iterator[str]:
    """What is public in a class, and neither Python's nor Spark's."""
    foreign = [base for base in cls.__mro__ if base.__module__.split(".")[0] in ("builtins", "pyspark")]
    for member in dir(cls):
        if not member.startswith("_") and not any(hasattr(base, member) for base in foreign):
            yield member


def public_api() -> Iterator[str]:
    """One line for each public name, method, property and signature."""
    for module in MODULES:
        for name in module.__all__:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(value, type) and issubclass(value, BaseException):
                yield f"{path}({', '.join(base.__name__ for base in value.__bases__)})"
            elif isinstance(value, type):
                yield path + signature(value)
                for member in members_of(value):
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
    if fastals.spark not in MODULES:
        recorded = [line for line in recorded if not line.startswith("fastals.spark.")]
    difference = "\n".join(difflib.unified_diff(recorded, present, "recorded", "present", lineterm="", n=0))
    assert not difference, (
        f"the public interface has changed:\n{difference}\n"
        "If that is meant, say so in CHANGELOG.md and run: python tests/test_architecture.py"
    )


NEED_A_SERVER = {
    f"fastals.serving.RedisRecommendations.{name}" for name in ("get", "get_many", "similar", "similar_many")
}


def public_callables() -> Iterator[tuple[str, object]]:
    """Functions, classes that are neither errors nor plain tuples, and their methods."""
    for module in MODULES:
        for name in module.__all__:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(value, type) and issubclass(value, BaseException | tuple):
                continue
            if isinstance(value, type):
                for member in members_of(value):
                    attribute = inspect.getattr_static(value, member)
                    if isinstance(attribute, (FunctionType, classmethod, staticmethod)):
                        yield f"{path}.{member}", getattr(value, member)
            if callable(value):
                yield path, value


def test_every_public_function_has_an_example() -> None:
    """Which pytest runs: ``--doctest-modules``."""
    lacking = {path for path, value in public_callables() if ">>>" not in (inspect.getdoc(value) or "")}
    lacking = {path for path in lacking if not re.match(r"fastals\.spark\..*\.[gs]et[A-Z]", path)}  # of parameters
    assert lacking == NEED_A_SERVER  # which tests/serving starts


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
        "import fastals.spark\n"
        "try: fastals.spark.ALS\n"
        "except fastals.MissingDependencyError as error: assert \"pip install 'fastals[spark]'\" in str(error)\n"
        "else: raise AssertionError\n"
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
    assert fastals.spark in MODULES, "fastals.spark is recorded, too: pip install 'fastals[spark]'"
    RECORD.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
