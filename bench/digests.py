"""The same bits as before a change: digests of some two thousand cases, recorded and compared.

    python bench/digests.py --record bench/results/digests.json --real     # before the change
    python bench/digests.py --against bench/results/digests.json           # after it: a minute on one core
    python bench/digests.py --against … --real                             # and the public data sets: minutes
    python bench/digests.py --against … --only 'knn|weighted' --isa generic

A case is a model of generated data: of both kinds of feedback, for each shape of data, preset, solver, dtype, setting
and way to train it (`fit`); what such a model answers, also after it was saved, loaded and given new events (`ask`);
neighbours (`knn`); a search (`tune`). With --real also fits and neighbours of the sets of sets.py, from $FASTALS_DATA.
The file holds eight digits for each part of a case, or its error. The fastest instruction set goes through all cases,
each other through one in SHARE. Only public names are used, so that any commit can be asked:

    PYTHONPATH=PATH python bench/digests.py …                              # another checkout's fastals

Bits belong to an instruction set, a processor (by which BLAS and libm choose, too) and versions: where these are others
than the file's, the exit code is 2 and nothing is compared, unless with --force. It is 1 where a case differs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import report
from digest_cases import SHARE, Case, asks, fits, neighbours, number, searches

import fastals

# ---------------------------------------------------------------------------------------------------------------------
# running, recording, comparing


def cases(options: argparse.Namespace, isa: str) -> Iterator[Case]:
    """What this instruction set goes through."""
    whole = isa == fastals.show_config()["isa_available"][-1]
    for name, run in chain(fits(), asks(), neighbours(), searches()):
        if wanted(name, options) and (whole or number(name) // 2 % SHARE == 0):
            yield name, run


def wanted(name: str, options: argparse.Namespace) -> bool:
    return (options.real or "real:" not in name) and re.search(options.only, name) is not None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All cases on the instruction set that FASTALS_ISA names: the parts of each kind, and their digests by case."""
    parts: dict[str, str] = {}
    found: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name, run in cases(options, fastals.show_config()["isa"]):
        if name in found:
            raise AssertionError(f"two cases are called {name!r}")
        kind, begin = name.split()[0], time.perf_counter()
        try:
            digests = run()
            parts.setdefault(kind, ", ".join(digests))
            found[name] = " ".join(digests.values())
        except Exception as error:  # a change may break anything; what is no FastalsError is not recorded
            found[name] = "" if isinstance(error, fastals.FastalsError) else "not recorded: "
            found[name] += repr(error)
        seconds[kind] = seconds.get(kind, 0) + time.perf_counter() - begin
    return {"parts": parts, "cases": found, "seconds": seconds}


def on_each(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """A process for each instruction set: the parts of each kind, and digests by set and case."""
    print(f"fastals of {Path(fastals.__file__).parent}", flush=True)
    parts: dict[str, str] = {}
    found = {}
    for isa in options.isa:
        flags = ["--measure", "--only", options.only, *["--real"] * options.real]
        environment = {**os.environ, "FASTALS_ISA": isa, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, __file__, *flags]
        result = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
        parts |= result["parts"]
        found[isa] = result["cases"]
        times = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in result["seconds"].items())
        print(f"{isa}: {len(found[isa])} cases; {times}", flush=True)
    return parts, found


def environment(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What bits may depend on besides the sources."""
    import scipy.linalg  # noqa: F401 (it brings its own BLAS, which show_config then sees)

    config = fastals.show_config()
    libraries = {(each["internal_api"], each["version"], each["architecture"]) for each in config["blas"]}
    return {
        "isa_available": " ".join(config["isa_available"]),
        "cpu": machine["cpu"],
        "family and model": " ".join(map(str, machine["family_model"])),
        "libc": " ".join(platform.libc_ver()),
        "numpy": config["numpy"],
        "scipy": config["scipy"],
        "blas": ", ".join(" ".join(map(str, library)) for library in sorted(libraries)),
    }


def record(options: argparse.Namespace, machine: dict[str, Any]) -> int:
    parts, found = on_each(options)
    for isa, digests in found.items():
        for name, is_now in digests.items():
            if is_now.startswith("not recorded: "):
                raise SystemExit(f"{isa} {name}: {is_now}")
    columns = ["instruction set", *parts, "of these errors"]
    rows = []
    for isa, digests in found.items():
        counts = [sum(name.split()[0] == kind for name in digests) for kind in parts]
        rows.append([isa, *counts, sum("(" in each for each in digests.values())])
    total = sum(map(len, found.values()))
    result = {
        "machine": machine,
        "environment": environment(machine),
        "command": " ".join(["python", "bench/digests.py", *sys.argv[1:]]),
        "tables": [report.table(f"Cases whose digests are recorded: {total}", columns, rows)],
        "parts": parts,
        "cases": found,
    }
    options.record.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))
    return 0


def compare(options: argparse.Namespace, machine: dict[str, Any]) -> int:
    recorded = json.loads(options.against.read_text())
    here = environment(machine)
    others = [key for key in here if here[key] != recorded["environment"].get(key)]
    for key in others:
        print(f"{key} is {here[key]!r} here, was {recorded['environment'].get(key)!r}")
    if others and not options.force:
        print("bits may be others for that alone: not compared without --force")
        return 2
    _, found = on_each(options)
    n_cases = n_differ = 0
    for isa, digests in found.items():
        before = {name: was for name, was in recorded["cases"].get(isa, {}).items() if wanted(name, options)}
        for name in {**before, **digests}:
            how = difference(before.get(name), digests.get(name), recorded["parts"].get(name.split()[0], ""))
            n_cases, n_differ = n_cases + 1, n_differ + bool(how)
            if how:
                print(f"{isa} {name}: {how}")
    print(f"{n_cases} cases, {n_differ} differ")
    return int(n_differ > 0 or not n_cases)


def difference(was: str | None, now: str | None, parts: str) -> str:
    """What differs, in words; empty where nothing does."""
    if was is None or now is None:
        return "was not recorded" if was is None else "is no case any more"
    if was == now:
        return ""
    each = list(zip(parts.split(", "), was.split(), now.split(), strict=False))
    if "(" in was + now or len(each) != len(was.split()) or len(each) != len(now.split()):
        return f"was {was}, is {now}"
    return "other " + ", ".join(part for part, a, b in each if a != b)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--record", type=Path, metavar="PATH")
    task.add_argument("--against", type=Path, metavar="PATH")
    task.add_argument("--measure", action="store_true", help="JSON to standard output, on the one set of FASTALS_ISA")
    available = fastals.show_config()["isa_available"]
    parser.add_argument("--isa", nargs="+", choices=available, default=available[::-1], help="all by default")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose names hold this regular expression")
    parser.add_argument("--real", action="store_true", help="the public data sets as well")
    parser.add_argument("--force", action="store_true", help="compare even where something else explains other bits")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return 0
    machine = report.machine() | {"commit": report.commit(Path(fastals.__file__).parent)}
    return record(options, machine) if options.record else compare(options, machine)


if __name__ == "__main__":
    sys.exit(main())
