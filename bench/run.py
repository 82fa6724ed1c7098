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

NEED_REAL_DATA = (
    "bits.py",
    "fit.py --feedback explicit",
    "stopping.py",
    "defaults.py",
    "steady.py",
    "quality.py",
    "ranking.py",
    "neighbours.py",
    "ease.py",
)
COMMANDS = [
    "kernels.py",
    "parity.py",
    "fit.py",
    "fit.py --solver auto",
    "topn.py",
    "live.py",
    "serial.py",
    "scale.py",
    "ingest.py",
    "pipeline.py",
    *NEED_REAL_DATA,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    failed = 0
    for line in COMMANDS:
        if line in NEED_REAL_DATA and not peers.REAL_DATA.is_dir():
            print(f"{line}: skipped, there is no {peers.REAL_DATA}; $FASTALS_DATA says where the data sets are")
            continue
        script, *arguments = line.split() + ["--quick"] * options.quick
        print(f"\n$ python bench/{script}", *arguments, flush=True)
        start = time.perf_counter()
        status = subprocess.run([sys.executable, str(report.HERE / script), *arguments]).returncode
        failed += status != 0
        print(f"{line}: exit code {status}, {time.perf_counter() - start:.0f} s", flush=True)
    if not options.quick:
        report.rewrite_readme()
    return failed


if __name__ == "__main__":
    sys.exit(main())
