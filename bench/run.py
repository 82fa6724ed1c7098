"""All benchmarks in turn; with --quick reduced to less than ten minutes on two cores.

    python bench/run.py --quick          # does everything still run, and roughly as it should? Nothing is recorded
    python bench/run.py                  # hours; writes results/*.json and the tables of README.md

A benchmark that fails does not stop the others; the exit code counts the failures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import peers
import report

COMMANDS = [["kernels.py"], ["fit.py"], ["fit.py", "--solver", "cg"], ["quality.py"]]
NEEDS_REAL_DATA = ("quality.py",)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    failed = 0
    for script, *arguments in COMMANDS:
        if script in NEEDS_REAL_DATA and not peers.REAL_DATA.is_dir():
            print(f"{script}: skipped, there is no {peers.REAL_DATA}; $FASTALS_DATA says where the data sets are")
            continue
        command = [sys.executable, str(report.HERE / script), *arguments, *(["--quick"] if options.quick else [])]
        print(f"\n$ python bench/{script}", *command[2:], flush=True)
        start = time.perf_counter()
        status = subprocess.run(command).returncode
        failed += status != 0
        print(f"{script}: exit code {status}, {time.perf_counter() - start:.0f} s", flush=True)
    if not options.quick:
        report.rewrite_readme()
    return failed


if __name__ == "__main__":
    sys.exit(main())
