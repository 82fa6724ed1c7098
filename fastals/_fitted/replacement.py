"""Interactions on disk that take the place of those a model was trained on, without a moment at which it has none.

They are made beside those (:func:`place_for`), and the model's file is written, which names the old place and the new
cells: until these are there it finds them where they were made (:func:`stored_at`). Then they :func:`move_in`.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from .._core import FileFormatError, ParameterError
from .._data import Interactions, is_stored, manifest_digest

STAGED, RETIRED = ".fastals-new", ".fastals-old"
"""What is behind the names of directories on their way in and out."""
OWN = (".indices", ".indptr", ".values", ".safetensors")
"""How files of interactions end."""


def home_of(path: str) -> str:
    """Return the directory that interactions are in, or will have moved to."""
    return path.removesuffix(STAGED)


def stored_at(path: str, digest: str) -> Interactions:
    """Open the interactions of a model; ValueError where there are but others.

    Raises
    ------
    FileFormatError
        There are none.
    """
    for place in (path, path + STAGED):
        if is_stored(place) and manifest_digest(data := Interactions.open(place)) == digest:
            return data
    if is_stored(path):
        raise ValueError(f"{path!r} holds other interactions than those that it was trained on")
    raise FileFormatError(
        f"the model's training cells are in {path!r}, which is not there any more: move them back (the model "
        "refers to them by their absolute path)"
    )


def place_for(data: Interactions) -> str:
    """Return the directory in which to make what will take the place of interactions on disk.

    Raises
    ------
    ParameterError
        Their directory holds files of somebody else, which would go with it.
    """
    home = str(data.on_disk)
    others = sorted(name for name in os.listdir(home) if not name.endswith(OWN))
    if others:
        raise ParameterError(f"{home!r} is to be replaced, but holds other files, as {others[0]!r}: move them away")
    if is_stored(home + STAGED):  # whoever made them never wrote the model's file
        shutil.rmtree(home + STAGED)
    return home + STAGED


def move_in(data: Interactions) -> None:
    """Let interactions that were made in :func:`place_for` move in, and remove those there were."""
    home = home_of(str(data.on_disk))
    if home != data.on_disk:
        if os.path.exists(home):
            os.rename(home, home + RETIRED)
        os.rename(str(data.on_disk), home)
    with suppress(FileNotFoundError):
        shutil.rmtree(home + RETIRED)
