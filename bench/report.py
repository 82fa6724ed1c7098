"""Results as JSON, and the tables of bench/README.md made from them.

    python bench/report.py       # rewrites the tables between the markers of README.md from results/*.json

A result is {"machine": …, "tables": [{"title", "columns", "rows"}, …], "runs": raw measurements}.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("numpy", "scipy", "implicit", "irspack", "cmfrec", "lenskit", "pyspark", "pandas", "pyarrow")
Table = dict[str, Any]


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    return {"title": title, "columns": columns, "rows": rows}


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    import fastals

    cpu = Path("/proc/cpuinfo").read_text()
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return {
        "cpu": re.search(r"model name\s*: (.*)", cpu)[1],
        "family_model": [int(re.search(rf"{name}\s*: (\d+)", cpu)[1]) for name in ("cpu family", "model")],
        "cores": cores,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(load, 2),  # above 0.5: somebody else was running, the times are not to be trusted
        "system": platform.platform(),
        "python": platform.python_version(),
        "isa": fastals.show_config()["isa"],
        "commit": commit(HERE),
        "versions": {p: v for p in PACKAGES if (v := version(p))},
    }


def commit(folder: Path) -> str:
    """What is checked out there."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def save(name: str, machine: dict[str, Any], tables: list[Table], runs: Any, *, quick: bool) -> None:
    """Print the tables and write results/NAME.json, or data/quick/NAME.json: reduced runs are nobody's record."""
    folder = HERE / "data" / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    result = {"machine": machine, "command": command, "tables": tables, "runs": runs}
    text = json.dumps(result, indent=1)
    # one line for each list of plain values
    text = re.sub(r"\[[^][{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]), text)
    (folder / f"{name}.json").write_text(text + "\n")
    print(markdown(result))


def markdown(result: dict[str, Any]) -> str:
    parts = []
    for t in result["tables"]:
        lines = [f"**{t['title']}**", "", row(t["columns"]), "|---" + "|---:" * (len(t["columns"]) - 1) + "|"]
        parts.append("\n".join(lines + [row(cells) for cells in t["rows"]]))
    m = result["machine"]
    parts.append(
        f"{m['cpu']} (family {m['family_model'][0]}, model {m['family_model'][1]}), {m['cores']} cores, {m['isa']}, "
        f"commit {m['commit']}, load average at the start {m['load_at_start']}: `{result['command']}`"
    )
    return "\n\n".join(parts) + "\n"


def row(cells: list[Any]) -> str:
    return "| " + " | ".join("-" if c is None else number(c) if isinstance(c, float) else str(c) for c in cells) + " |"


def number(x: float) -> str:
    """Three significant digits."""
    if x == 0 or not 1e-3 <= abs(x) < 1e6:
        return f"{x:.3g}"
    return f"{x:.{max(0, 2 - math.floor(math.log10(abs(x))))}f}"


def rewrite_readme() -> None:
    readme = HERE / "README.md"
    text = readme.read_text()
    for path in sorted(RESULTS.glob("*.json")):
        start, end = f"<!-- {path.stem} -->", f"<!-- /{path.stem} -->"
        if start not in text:
            raise SystemExit(f"README.md has no place for {path.name}: put {start} and {end} where its tables belong")
        before, rest = text.split(start)
        text = before + start + "\n\n" + markdown(json.loads(path.read_text())) + "\n" + end + rest.split(end)[1]
    readme.write_text(text)


if __name__ == "__main__":
    rewrite_readme()
