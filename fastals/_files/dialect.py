"""How text files are written, and what becomes of rows that are not as they should be: names, defaults and checks."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from .._core import ArgumentTypeError, ParameterError, check_choice, check_real
from .bad_rows import MAX_BAD_ROWS, BadRows

if TYPE_CHECKING:
    from typing_extensions import Self

QUOTE = '"'

IDS = ("auto", "text", "integer")
"""Kinds of ids that can be declared; "auto": integers or text as the first id of a column is."""


class Reading(TypedDict, total=False):
    """How files are to be read, as keywords of everything that reads them."""

    delimiter: str | None
    """Between the columns of CSV, one character or several, as "::"; a tab may be spelled out. None: a tab in .tsv
    files, else a comma."""
    columns: Sequence[str] | None
    """Names of all columns of CSV without a header line."""
    quoting: bool | None
    """Whether values of CSV may stand in double quotes; None: not in .tsv files, where a quote is text."""
    escape: str | None
    """The character that makes the next one text."""
    encoding: str | None
    """Of text; None: UTF-8, with or without a byte order mark."""
    decimal: str | None
    """The decimal point of numbers in CSV: "." or ","; None: "."."""
    nulls: str | Sequence[str] | None
    """Words that mean a missing value in CSV, as "NULL"; nothing at all always does."""
    comment: str | None
    """What the lines of CSV begin with that are passed over."""
    ids: str
    """Kind of the ids: "auto", "text" or "integer"."""
    on_bad_rows: str
    """"error", or "skip": pass over rows that cannot be read."""
    max_bad_rows: float
    """Rows that are passed over, at most: a number, or a share of all (below 1)."""


READING = tuple(Reading.__annotations__)
"""Names of what is said about reading."""

OF_ALL_EVENTS = ("ids", "on_bad_rows", "max_bad_rows")
"""What has a meaning for events that are in no files, too."""

ONLY_CSV = ("delimiter", "columns", "quoting", "escape", "decimal", "nulls", "comment")
"""What has a meaning in CSV alone."""


@dataclass(frozen=True)
class Dialect:
    """How text files are written; parameters as in Reading."""

    delimiter: str | None = None
    columns: tuple[str, ...] | None = None
    quoting: bool | None = None
    escape: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    nulls: tuple[str, ...] = ()
    comment: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Make a dialect of what is said about reading; None is as if it were not said."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in names and value is not None})

    def __post_init__(self) -> None:
        if self.quoting not in (None, True, False):
            raise ArgumentTypeError(f"quoting must be true or false, got {self.quoting!r}")
        check_choice("decimal", self.decimal, (".", ","))
        for name in ("delimiter", "escape", "comment"):
            self._set(name, _checked_text(name, getattr(self, name)))
        self._set("encoding", _checked_encoding(self.encoding))
        nulls = (self.nulls,) if isinstance(self.nulls, str) else self.nulls
        self._set("nulls", _checked_words("nulls", nulls))
        if self.columns is not None:
            self._set("columns", _checked_words("columns", self.columns))
            if not self.columns:
                raise ParameterError("columns must name at least one column, got none")
        if self.delimiter is not None:
            self._check()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check(self) -> None:
        """Refuse characters that mean two things."""
        roles = {"delimiter": self.delimiter, "escape": self.escape, "comment": self.comment}
        if self.quoting is not False:
            roles["quote"] = QUOTE
        for name, text in roles.items():
            for other, character in roles.items():
                # a comment is looked for where a line begins, and may hold what it likes behind its first character
                if name != other and text and character and character in (text if name != "comment" else text[0]):
                    raise ParameterError(f"{name} {text!r} must not hold the {other} {character!r}")
        if self.escape is not None and (len(self.escape) != 1 or not self.escape.isascii()):
            raise ParameterError(f"escape must be one ASCII character, got {self.escape!r}")

    @property
    def quote(self) -> str | None:
        """What values may stand in."""
        return QUOTE if self.quoting else None

    def for_files(self, suffix: str) -> Self:
        """Return the dialect of files with such a suffix, in which the delimiter and quoting are definite."""
        is_tsv = suffix == ".tsv"
        delimiter = ("\t" if is_tsv else ",") if self.delimiter is None else self.delimiter
        return replace(self, delimiter=delimiter, quoting=not is_tsv if self.quoting is None else self.quoting)


def _checked_text(name: str, text: object) -> str | None:
    r"""Return a piece of text without line ends; ``\t`` spelled out is a tab."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise ArgumentTypeError(f"{name} must be a string, got {text!r}")
    text = text.replace("\\t", "\t")
    if not text or re.search(r"[\r\n\0]", text):
        raise ParameterError(f"{name} must be one or more characters and no line end, got {text!r}")
    return text


def _checked_words(name: str, words: Any) -> tuple[str, ...]:
    if isinstance(words, str) or not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise ArgumentTypeError(f"{name} must be a list of strings, got {words!r}")
    return tuple(words)


def _checked_encoding(encoding: Any) -> str:
    """Return the usual name of an encoding of text."""
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, TypeError, ValueError):
        raise ParameterError(
            f"encoding must be one that Python knows, as 'latin-1' or 'utf-16', got {encoding!r}"
        ) from None
    return "utf-8" if name == "utf-8-sig" else name


def bad_rows_of(given: Mapping[str, Any]) -> BadRows:
    """Return the counter of bad rows that is wanted by what is said about reading; None is as if it were not said."""
    said = {name: value for name, value in given.items() if value is not None}
    skip = check_choice("on_bad_rows", said.get("on_bad_rows", "error"), ("error", "skip")) == "skip"
    most = said.get("max_bad_rows", MAX_BAD_ROWS)
    limit = check_real("max_bad_rows", most, low=0)
    if limit >= 1 and limit != int(limit):
        raise ParameterError(f"max_bad_rows must be a whole number, or a share below 1, got {most!r}")
    return BadRows(skip, limit)
