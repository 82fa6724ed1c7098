"""The command line: ``fastals COMMAND …`` or ``python -m fastals COMMAND …``.

Results go to standard output or to a file, progress and errors to standard error. Exit codes: 0 done, 1 an error, told
in one line, 2 wrong usage, 3 a gate is not passed, 130 interrupted by Ctrl-C, 141 the reader of standard output has
gone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .._core import FastalsError, GateError, __version__
from .._equation import interruptible
from . import (
    _compare,
    _demo,
    _evaluate,
    _forget,
    _info,
    _pipeline,
    _publish,
    _recommend,
    _report,
    _score,
    _train,
    _update,
)

COMMANDS = {
    "score": _score,
    "train": _train,
    "recommend": _recommend,
    "evaluate": _evaluate,
    "publish": _publish,
    "run": _pipeline,
    "update": _update,
    "forget": _forget,
    "compare": _compare,
    "report": _report,
    "info": _info,
    "demo": _demo,
}
"""The file of each command: what it is for (``HELP``), what it takes (``add_options``), what it does (``command``)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Wrong usage raises SystemExit(2), as argparse does."""
    arguments = parser().parse_args(argv)
    try:
        with interruptible():
            arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # `fastals recommend … | head`: what is still buffered must not raise again when Python shuts down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as how_far:
        print(f"fastals: interrupted {how_far}".rstrip(), file=sys.stderr)
        return 130
    except GateError as error:
        print(f"fastals: error: {_in_one_line(error)}", file=sys.stderr)
        return 3
    except (FastalsError, OSError, ImportError, MemoryError, UnicodeEncodeError) as error:
        print(f"fastals: error: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = argparse.ArgumentParser(prog="fastals", description="Recommendations by Alternating Least Squares.")
    whole.add_argument("--version", action="version", version=f"fastals {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, room in COMMANDS.items():
        text = room.HELP
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        room.add_options(added)
        added.set_defaults(command=room.command, parser=added)
    return whole


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error)
    return " ".join(text.split())
