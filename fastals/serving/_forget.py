"""Users who want to be forgotten."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from ._address import Address
from ._lists import asked_keys
from ._resp import check_prefix
from ._versions import SCAN, Versions


def forget(url: str, users: Iterable[Any], *, prefix: str = "fastals") -> int:
    """Remove users' lists from Redis, those of all versions that are held there.

    Readers then give them the popular items. The model that the lists came from must have forgotten them too, or the
    next publication brings them back.

    Parameters
    ----------
    url : str
        As for :func:`publish`.
    users : iterable of labels, or of indices where the model had no labels
        Whoever has no list is passed over.
    prefix : str
        As published.

    Returns
    -------
    int
        How many lists were removed; of one user there may be one in each version.

    Raises
    ------
    ServingError
        The server does not answer, or somebody is publishing under this prefix, perhaps these users' lists.

    Examples
    --------
    >>> from fastals.serving import forget
    >>> try:
    ...     removed = forget("redis://localhost:1/0", ["ann"])
    ... except OSError as error:
    ...     print(type(error).__name__)
    ServingError
    """
    address, check = Address(url), check_prefix(prefix)
    names = asked_keys("users", users)
    client = address.connect()
    # another one's are other users: its lock is nobody's to take over
    versions = Versions(client, address, check, f"forget{secrets.token_hex(4)}")
    try:
        with address.told(alone=True):
            versions.lock()
            heads = [versions.key(f"{name}:") for name in versions.names()]
            keys = [head + name for head in heads for name in names]
            return sum(versions.unlink(keys[at : at + SCAN]) for at in range(0, len(keys), SCAN))
    finally:
        versions.release()
        client.close()
