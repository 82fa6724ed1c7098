"""Files: written so that they are either whole or not there, read so that an error names them."""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .errors import FileFormatError


def check_target(path: str) -> str:
    """Return the real path of a file that is to be written, after what can be known beforehand has been checked.

    Raises
    ------
    OSError
        `path` is a directory or a device, or its directory is missing or read-only.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "not a regular file", path)
    if not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
    if not os.access(directory, os.W_OK):
        raise PermissionError(errno.EACCES, "the directory is read-only", directory)
    return target


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give a temporary name beside `path`; what was written there takes the place of `path` in one step.

    The data is on the disk before the name changes, so that a reader, and a crash of the machine, finds the old file or
    the new one, whole. After an error (Ctrl-C too) nothing is left behind and `path` is as it was. What a killed writer
    has left goes with a later one, when it is old enough to be nobody's. A symbolic link is followed: its target is
    replaced, not the link.

    Raises
    ------
    OSError
        As :func:`check_target`, or the file cannot be written.
    """
    target = check_target(path)
    directory = os.path.dirname(target)
    remove_leftovers(target, ABANDONED)
    temporary = _prefix(target) + secrets.token_hex(8) + _SUFFIX
    try:
        with open(temporary, "xb") as file:
            mode = os.stat(file.fileno()).st_mode
        yield temporary
        os.chmod(temporary, mode)  # safetensors puts a private file of its own in its place
        sync(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            error.filename = path
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_names(directory)


@contextmanager
def replacing_folder(path: str) -> Iterator[str]:
    """Give the name of an empty folder beside `path`, which takes the place of `path` when it has been filled.

    As :func:`replacing`: `path` is what it was or the whole new folder, but that no file system exchanges two folders
    in one step: a machine that stops between two names leaves none there, and the old one under a hidden name.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    os.makedirs(directory, exist_ok=True)
    remove_leftovers(target, ABANDONED)
    temporary, old = (_prefix(target) + secrets.token_hex(8) + _SUFFIX for _ in range(2))
    try:
        os.mkdir(temporary)
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                sync(os.path.join(folder, name))
            _sync_names(folder)
        with suppress(FileNotFoundError):
            os.rename(target, old)
        try:
            os.rename(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.rename(old, target)
            raise
    except BaseException:
        _remove(temporary)
        raise
    _sync_names(directory)
    _remove(old)


def _sync_names(directory: str) -> None:
    if os.name != "nt":  # Windows cannot open a directory
        sync(directory)


def _remove(path: str) -> None:
    """Remove a file or a folder, if it is there and can be."""
    import shutil  # which few programs need

    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


def leftovers(path: str) -> list[str]:
    """Return the files and folders that killed writers of `path` have left, or that one is writing just now."""
    import glob  # which few programs need

    return glob.glob(glob.escape(_prefix(os.path.realpath(path))) + "?" * 16 + _SUFFIX)


def remove_leftovers(path: str, age: float = 0) -> None:
    """Remove what writers of `path` have left that were killed, and what was not written to for ``age`` seconds.

    Not to be called while another may be writing, but for an age that no writer pauses for.
    """
    for leftover in leftovers(path):
        with suppress(OSError):
            if not age or time.time() - os.stat(leftover).st_mtime > age:
                _remove(leftover)


@contextmanager
def reading(path: str, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read and understood into an error that names it.

    Raises
    ------
    FileFormatError
        The file is missing, damaged, or not of this kind.
    """
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:  # errors of JSON, UTF-8 and parameters among them
        raise FileFormatError(f"{path} is not a usable {kind} file: {error}") from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}") from error


_SUFFIX = ".tmp"
ABANDONED = 43_200.0
"""Seconds after which a file that nobody has written to is no longer somebody's."""


def _prefix(target: str) -> str:
    """Begin the name of a temporary file of `target`, within what a file system allows for names."""
    directory, name = os.path.split(target)
    return os.path.join(directory, f".{name[:40]}.")


def sync(path: str) -> None:
    """Wait until a file, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
