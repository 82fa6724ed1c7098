"""The command line: ``fastals COMMAND …`` or ``python -m fastals COMMAND …``.

Results go to standard output or to a file; progress, notes and errors to standard error, a line each that begins with
``fastals: ``. ``-v`` tells more there, ``-vv`` all, ``--quiet`` nothing but warnings and errors.

Exit codes, for what starts it by the clock:

===  ===================================================================================================================
0    done
1    an error, told in one line: nothing half-written is left, what was there before still is
2    wrong usage
3    a gate is not passed: a measure is worse than what was demanded of it, and nothing is published
130  interrupted by Ctrl-C, or stopped by SIGTERM
141  the reader of standard output has gone
===  ===================================================================================================================
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .._core import LOGGER, NOTE, FastalsError, GateError, __version__, without_addresses
from .._equation import interruptible
from .._pipeline import Summary, command, demo
from . import _compare, _evaluate, _forget, _info, _publish, _recommend, _report, _score, _train, _update
from ._common import Parser, words

COMMANDS: dict[str, Any] = {
    "score": _score,
    "train": _train,
    "recommend": _recommend,
    "evaluate": _evaluate,
    "publish": _publish,
    "run": command,
    "update": _update,
    "forget": _forget,
    "compare": _compare,
    "report": _report,
    "info": _info,
    "demo": demo,
}
"""The file of each command: what it is for (``HELP``), what it takes (``add_options``), what it does (``command``).

A command gets its options; besides, ``facts`` takes what --summary is to tell, and ``parser`` tells wrong usage.
"""

PRINTED = ("recommend", "evaluate", "info", "demo", "compare")
"""Commands whose result is printed."""

CODES = "exit codes: 0 done, 1 error, 2 wrong usage, 3 a gate is not passed, 130 interrupted, 141 closed pipe"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Wrong usage raises SystemExit(2), as argparse does."""
    arguments = parser().parse_args(argv)
    if arguments.summary == "-" and arguments.name in PRINTED:
        arguments.parser.error(f"--summary must be a file: the result of {arguments.name} goes to standard output")
    summary = Summary(arguments.name, arguments.summary)
    arguments.facts = summary.facts
    arguments.quiet |= summary.path == "-"  # which is all that standard output then is to hold
    with _telling(arguments), _stoppable():
        given = words(sys.argv[1:] if argv is None else argv)
        code = _done(summary.check, given)[0]
        if code:
            return code
        code, error, message = _done(lambda: arguments.command(arguments), given)
        if code != 141:
            # a summary that cannot be written is an error of its own
            code = _done(lambda: summary.write(code, error, message), given)[0] or code
    return code


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM, by which schedulers stop what they started, do what Ctrl-C does: nothing half-written is left."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt("by SIGTERM")

    alone = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not alone:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _done(work: Callable[[], None], given: list[str]) -> tuple[int, BaseException | None, str]:
    """Do some work; returns the exit code, the error and its text, which is told; ``given``: words of the command."""
    try:
        with interruptible():
            work()
        sys.stdout.flush()
    except BrokenPipeError as error:
        # `fastals recommend … | head`: what is still buffered must not raise again when Python shuts down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141, error, ""
    except KeyboardInterrupt as error:
        text = f"interrupted {error}".rstrip()
        LOGGER.critical("%s", text)
        return 130, error, text
    except GateError as error:
        LOGGER.error("%s", _in_one_line(error, given))
        return 3, error, _in_one_line(error, given)
    except (FastalsError, OSError, ImportError, MemoryError, UnicodeEncodeError) as error:
        LOGGER.error("%s", _in_one_line(error, given))
        return 1, error, _in_one_line(error, given)
    return 0, None, ""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = Parser(prog="fastals", description="Recommendations by Alternating Least Squares.", epilog=CODES)
    whole.add_argument("--version", action="version", version=f"fastals {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, room in COMMANDS.items():
        text = room.HELP
        added = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=getattr(room, "EPILOG", "") + CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        room.add_options(added)
        _add_telling(added)
        added.set_defaults(command=room.command, parser=added, name=name)
    return whole


# --- what is told besides the result ---------------------------------------------------------------------------------


def _add_telling(added: argparse.ArgumentParser) -> None:
    """Take how much is told, which all commands do."""
    group = added.add_argument_group("what is told")
    how_much = group.add_mutually_exclusive_group()
    how_much.add_argument("--quiet", action="store_true", help="no progress and no notes, nothing but the result")
    how_much.add_argument("-v", "--verbose", action="count", default=0, help="more on standard error; -vv: all")
    group.add_argument("--summary", metavar="FILE", help="write what was done as JSON, also of a failure; -: to stdout")


WORDS = {logging.ERROR: "error: ", logging.WARNING: "warning: ", NOTE: "note: "}
"""What a line on standard error begins with."""


class _ToStandardError(logging.Handler):
    """One look for all that is told; a progress bar on its way is not torn."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"fastals: {WORDS.get(record.levelno, '')}{record.getMessage()}"
        if (tqdm := getattr(sys.modules.get("tqdm"), "tqdm", None)) is not None:
            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)
        sys.stderr.flush()


@contextmanager
def _telling(arguments: argparse.Namespace) -> Iterator[None]:
    """Show what the package logs, as far as it is wanted, and Python's warnings in the same look."""
    levels = {0: NOTE, 1: logging.INFO}
    handler, before, show = _ToStandardError(), LOGGER.level, warnings.showwarning

    def showwarning(message: Warning | str, *_: Any, **__: Any) -> None:
        LOGGER.warning("%s", " ".join(str(message).split()))

    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.WARNING if arguments.quiet else levels.get(arguments.verbose, logging.DEBUG))
    warnings.showwarning = showwarning
    try:
        yield
    finally:
        warnings.showwarning = show
        LOGGER.setLevel(before)
        LOGGER.removeHandler(handler)


def _in_one_line(error: BaseException, given: list[str]) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error)
    return without_addresses(" ".join(text.split()), given)
