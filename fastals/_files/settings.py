"""Settings in files: TOML, YAML or JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from .._core import FastalsError, FileFormatError
from .storage import need, open_file, suffix_of


def parse_toml(text: str) -> dict[str, Any]:
    """Return what TOML says; ValueError if it is none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        need("cli", "tomli", "reading TOML")
        import tomli as tomllib
    return tomllib.loads(text)


def read_settings_file(name: str) -> Any:
    """Return what a TOML, YAML or JSON file says."""
    kind = suffix_of(name)[0]
    if kind not in (".toml", ".yaml", ".yml", ".json"):
        raise FileFormatError(f"{name}: settings are read from .toml, .yaml and .json files")
    try:
        with open_file(name) as file:
            text = file.read().decode("utf-8")
        if kind == ".json":
            return json.loads(text)
        if kind == ".toml":
            return parse_toml(text)
        need("cli", "yaml", "reading YAML")
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:  # whose text repeats the lines, with their passwords
            mark = error.problem_mark or error.context_mark
            place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
            raise ValueError(f"{error.problem or error.context}{place}") from None
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from None
    except ValueError as error:
        if isinstance(error, FastalsError):
            raise
        raise FileFormatError(f"{name}: cannot be read as {kind[1:]}: {error}") from error
    except OSError as error:
        raise FileFormatError(f"{name}: {error.strerror or error}") from error
