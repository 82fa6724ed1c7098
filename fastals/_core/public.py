"""What is public speaks of the module that users import it from, not of the room that it is made in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any


def show_as(module: str, names: Iterable[str], namespace: Mapping[str, Any]) -> None:
    """Let the package's public classes and functions say that they are of this module: in pickles, messages, help.

    Methods follow their class, so that doctest finds their examples with it.
    """
    package = module.split(".")[0]
    for name in names:
        value = namespace.get(name)
        if not getattr(value, "__module__", "").startswith(f"{package}."):
            continue
        if isinstance(value, FunctionType):
            value.__module__ = module
        elif isinstance(value, type):
            room, value.__module__ = value.__module__, module
            for member in vars(value).values():
                member = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(member, FunctionType) and member.__module__ == room:
                    member.__module__ = module
