"""Names that all folders use: of types, of the sides of the matrix, of the version, of the logger."""

import logging
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

__version__ = "0.1.0"
"""Read by the build, too."""

FactorArray: TypeAlias = NDArray[Any]
"""float32 or float64."""

LabelArray: TypeAlias = NDArray[Any]
"""int64, uint64 where that does not do, or objects that are all str, bytes or UUID."""

Axis: TypeAlias = Literal["users", "items"]
"""A side of the matrix."""

AXES: tuple[Axis, Axis] = ("users", "items")

LOGGER = logging.getLogger("fastals")
"""For what is not the result; silent unless the program that imports fastals asks for it."""
LOGGER.addHandler(logging.NullHandler())

NOTE = 25
"""Level of what a user should know though nothing is wrong: above INFO, below WARNING."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: C:\ is a drive

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*)(:[0-9]{1,5})?", re.ASCII)
_MISSPELT = re.compile(r"\s*((rediss?|unix)(\+\w+)?)(:|//)", re.IGNORECASE)


def is_remote(name: str) -> bool:
    """Whether a name is an address of another file system than the local one."""
    scheme = _SCHEME.match(name)
    return scheme is not None and scheme[1].lower() != "file"


def told_address(name: str) -> str:
    """Return a path or an address as messages have it: a path whole, an address without what may be secret."""
    return without_secrets(name) if is_remote(name) else name


def without_secrets(address: str) -> str:
    """Return an address made anew of its scheme, host and path; where these cannot be told from a password, of less."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        if found := _MISSPELT.match(address):
            return f"{found[1]}…"
        scheme, rest = "", address
    user, at, place = rest.rpartition("@")
    place = place.partition("?")[0]
    if separator:
        place = place.partition("#")[0]
    if "?" in user or "#" in user or (separator and not _HOST.fullmatch(place.partition("/")[0])):
        return f"{scheme}{separator}…"
    return f"{scheme}{separator}{'***@' if at else ''}{place}"


def without_addresses(text: str, given: Iterable[str]) -> str:
    """Return a text with what was given as messages have it, wherever it is one of the addresses in ``given``."""
    for one in sorted(given, key=len, reverse=True):
        told = without_secrets(one)
        if told != one and ("://" in one or told.endswith("…")):
            for written in (one, repr(one)[1:-1], " ".join(one.split())):
                text = text.replace(written, told)
    return text
