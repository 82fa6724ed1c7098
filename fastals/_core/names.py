"""Names that all folders use: of types, of the sides of the matrix, of the version, of the logger."""

import logging
import re
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


def is_remote(name: str) -> bool:
    """Whether a name is an address of another file system than the local one."""
    scheme = _SCHEME.match(name)
    return scheme is not None and scheme[1].lower() != "file"


def told_address(name: str) -> str:
    """Return a path or an address as messages have it: a path whole, an address without what may be secret."""
    return without_secrets(name) if is_remote(name) else name


def without_secrets(address: str) -> str:
    """Return an address without what stands before an @ or behind a ?."""
    scheme, separator, rest = address.partition("://") if "://" in address else ("", "", address)
    _, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if at else ''}{place.partition('?')[0]}"
