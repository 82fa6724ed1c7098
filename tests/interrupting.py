"""Programs that are interrupted: real SIGINTs, sent to a process of their own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""What a shell starts in the background, as the tests may be, ignores SIGINT, and so do its children."""

COMMAND = (
    LISTEN
    + """
import sys, time
from fastals._equation import Descent

whole, begun = Descent.iterate, []

def iterate(self, last):
    begun.append(1)
    if len(begun) == int(sys.argv[1]):
        print("now", flush=True)
        time.sleep(60)
    return whole(self, last)

Descent.iterate = iterate
from fastals.cli import main
sys.exit(main(sys.argv[2:]))
"""
)
"""The command line, which says "now" and waits in the midst of an iteration: of all fits, the one of this number."""


def interrupted(
    program: str, *arguments: object, group: bool = False, by: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    """Run a program, and press Ctrl-C when it says "now"; ``group``: as in a terminal, its children too.

    Returns the exit code, and what it has written to standard output and to standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = ""
    try:
        for line in process.stdout:
            seen += line
            if line == "now\n":
                (os.killpg if group else os.kill)(process.pid, by)
                break
        out, err = process.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, seen + out, err
