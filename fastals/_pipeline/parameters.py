"""What changes from run to run: ``--set`` on the command line, and ``${…}`` in the text of a pipeline file.

==================  ====================================================================================================
``${name}``         a parameter of the section [parameters], whose values are what holds if ``--set`` says nothing else.
                    Text that is nothing but ``${name}`` becomes the value itself, a number say.
``${date}``         the day of the run, in UTC, as 2025-05-01, if neither [parameters] nor ``--set`` says another
``${date-1}``       a day before; ``+`` and ``-`` any number of days, of any parameter that is a date
``${date:%Y%m%d}``  a date in another form, as strftime has it; ``${date-1:%Y/%m/%d}`` is both
``${env:NAME}``     a variable of the environment, a password say
``$${``             stands for ``${``
==================  ====================================================================================================
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import date, datetime, timedelta, timezone
from typing import Any

from .._core import FastalsError, ParameterError, without_addresses
from .._files import parse_toml

MANUAL = __doc__

DATE = "date"
"""The parameter that is there without being declared."""

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_INSIDE = re.compile(r"(\w+)([+-]\d+)?(?::(.+))?", re.DOTALL)


class Parameters:
    """Named values, and the text that refers to them.

    Attributes
    ----------
    shown : dict
        Names and values, without those that the environment gave: they may be secrets.
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = {DATE: datetime.now(timezone.utc).date()}
        self.shown: dict[str, Any] = {}
        for name, value in declared.items():
            if not re.fullmatch(r"[^\W\d]\w*", str(name)) or name == "env":
                raise ParameterError(f"[parameters] {name!r} must be a name of letters, digits and _, and not env")
            if isinstance(value, (Mapping, list)) or value is None:
                raise ParameterError(f"[parameters] {name} must be a number, text, a date or a boolean, got {value!r}")
            # a parameter may refer to those above it
            self.values[name] = self.filled(value, f"[parameters] {name}")
            if name == DATE:
                _date_of("[parameters]", name, self.values[name])
            if not self._is_secret(value):
                self.shown[name] = _plain(self.values[name])
        self.shown[DATE] = _plain(self.values[DATE])

    def _is_secret(self, value: Any) -> bool:
        """Whether any of a value comes from the environment."""
        names = [inside for _, inside in _REFERENCE.findall(value)] if isinstance(value, str) else []
        known = (DATE, *self.shown)
        return any(name.startswith("env:") or re.split(r"\W", name)[0] not in known for name in names if name)

    def filled(self, value: Any, where: str) -> Any:
        """Return a value of a settings file with all that its text refers to."""
        if isinstance(value, Mapping):
            return {key: self.filled(one, _below(where, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one, where) for one in value]
        if not isinstance(value, str):
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole and whole[2] in self.values:
            return _plain(self.values[whole[2]])
        return _REFERENCE.sub(lambda found: "${" if found[1] else self._text(found[2], where), value)

    def _text(self, inside: str, where: str) -> str:
        """Return what a reference stands for."""
        if inside.startswith("env:"):
            if inside[4:] not in os.environ:
                raise ParameterError(f"{where}: ${{{inside}}}: the environment has no {inside[4:]!r}")
            return os.environ[inside[4:]]
        found = _INSIDE.fullmatch(inside)
        if found is None or found[1] not in self.values:
            known = ", ".join(sorted(self.values))
            raise ParameterError(f"{where}: ${{{inside}}} is no parameter; [parameters], where it belongs, has {known}")
        name, days, form = found.groups()
        value = self.values[name]
        if days or form:
            value = _date_of(where, name, value) + timedelta(int(days or 0))
        return value.strftime(form) if form else str(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value as settings hold it: dates as text."""
    return value.isoformat() if isinstance(value, date) else value


def _date_of(where: str, name: str, value: Any) -> date:
    try:
        if isinstance(value, date):
            return value
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{where}: {name} must be a date as 2025-05-01, got {value!r}") from None


def _below(where: str, key: Any) -> str:
    """Return what messages call a key of a section: [publish] to, [score] signals.liked.weight."""
    if not where:
        return f"[{key}]"
    return f"{where}{' ' if where.endswith(']') else '.'}{key}"


@contextmanager
def named(section: str) -> Iterator[None]:
    """Name the section of a pipeline file in errors."""
    try:
        yield
    except FastalsError as error:
        raise type(error)(f"[{section}] {error}") from None


def resolve(settings: Any, assignments: Sequence[str] = ()) -> tuple[Any, Parameters]:
    """Return settings as they hold for one run, without [parameters], and the parameters.

    Parameters
    ----------
    settings : mapping
        What a pipeline file says.
    assignments : sequence of str
        "section.key=value", or "name=value" of a parameter; values as in TOML, or text without its quotes.

    Raises
    ------
    ParameterError
        An assignment that cannot be read, a parameter that is not declared, a variable that the environment lacks.
    """
    if not isinstance(settings, Mapping):
        return settings, Parameters({})
    settings = dict(deepcopy(settings))
    declared = settings.setdefault("parameters", {})
    if not isinstance(declared, Mapping):
        raise ParameterError(f"[parameters] must be a table, got {declared!r}")
    for text in assignments:
        for name, value in _parsed(text).items():
            if isinstance(value, (Mapping, list)):
                _assign(settings, name, value, text)
            elif name != DATE and name not in declared:
                known = ", ".join(sorted({DATE, *declared}))
                raise ParameterError(
                    f"--set {_shown(text)}: {name} is no parameter; [parameters], where it belongs, has {known}; "
                    "other keys are named with their section, as in train.factors=64"
                )
            else:
                _assign(settings, "parameters", {name: value}, text)
    declared = settings.pop("parameters")
    # the date first: others may refer to it
    parameters = Parameters({name: declared[name] for name in sorted(declared, key=lambda name: name != DATE)})
    return parameters.filled(settings, ""), parameters


def _shown(text: str) -> str:
    """Return an assignment as messages have it: without the secrets of addresses."""
    key, equals, value = text.partition("=")
    return without_addresses(f"{key}{equals}{value}", [part.strip(" \t\n\"'[{,}]") for part in (key, value)])


def _parsed(text: str) -> dict[str, Any]:
    """Return what an assignment says as nested tables."""
    key, equals, value = text.partition("=")
    for one in (text, f"{key} = {json.dumps(value, ensure_ascii=False)}"):
        try:
            if not equals or "\n" in key or (one is not text and value.lstrip()[:1] in ('"', "'", "[", "{")):
                break
            return parse_toml(one)
        except ValueError:
            continue
    raise ParameterError(
        f"--set {_shown(text)}: must be KEY=VALUE, as in train.factors=64 or publish.to='lists.csv'; a part of KEY "
        'that holds more than letters, digits, _ and - stands in quotes, as in evaluate.at_least."ndcg@10"=0.05'
    )


def _assign(settings: Any, name: str, value: Any, text: str) -> None:
    """Put a value into nested tables, and into the number ``name`` of a list of tables."""
    if isinstance(settings, list):
        if not name.isdigit() or int(name) >= len(settings):
            raise ParameterError(
                f"--set {_shown(text)}: {name} is none of the {len(settings)} sections, counted from 0"
            )
        place: Any = int(name)
        old = settings[place]
    else:
        place, old = name, settings.get(name)
    if not isinstance(value, Mapping):
        settings[place] = value
        return
    if not isinstance(old, (Mapping, list)):
        old = {}
    settings[place] = old = dict(old) if isinstance(old, Mapping) else old
    for key, one in value.items():
        _assign(old, key, one, text)
