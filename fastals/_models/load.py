"""Any model from its file."""

from __future__ import annotations

import os
from typing import Any

from .._core import check_bool, check_path
from .._fitted import load_model


def load(path: str | os.PathLike[str], *, mmap: bool = True) -> Any:
    """Read a model that ``save`` wrote.

    Parameters
    ----------
    path : str or path-like
    mmap : bool, default True
        Leave the factors in the file and read them where they are touched: a large model opens at once, and processes
        share its memory. The file must not be changed in place meanwhile (``save`` replaces it, which does no harm).
        False: read all of it, and compare the checksums.

    Returns
    -------
    ExplicitALS, ImplicitALS, EASE, ItemKNN or UserKNN
        As it was saved, but for a ``random_state`` that was a generator: it becomes None.

    Raises
    ------
    FileFormatError
        The file is missing, damaged, or not a fastals model. Nothing in it is executed: it may come from strangers.

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> model = fastals.ImplicitALS(factors=2).fit((["ann", "bob"], ["x", "y"]))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     model.save(os.path.join(directory, "model"))
    ...     fastals.load(os.path.join(directory, "model")).users_
    array(['ann', 'bob'], dtype=object)
    """
    return load_model(check_path("path", path), mmap=check_bool("mmap", mmap))
