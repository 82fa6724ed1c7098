"""The real data sets, where they are: beside the repository in ../shared/data, or in $FASTALS_DATA."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

DIRECTORY = Path(os.environ.get("FASTALS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def table(name: str) -> dict[str, Any]:
    """The columns of a data set as arrays; skips the test where it is absent."""
    path = DIRECTORY / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"needs the data set {name}: none in {DIRECTORY}, which FASTALS_DATA can change")
    parquet = pytest.importorskip("pyarrow.parquet")
    return {name: column.to_numpy() for name, column in zip(*_columns(parquet.read_table(path)), strict=True)}


def _columns(arrow: Any) -> tuple[list[str], list[Any]]:
    return arrow.column_names, arrow.columns


def matrix(columns: dict[str, Any], value: str | None, shape: tuple[int, int] | None = None) -> sparse.csr_array:
    """Users x items, float32; ones where there is no value."""
    users, items = columns["user"], columns["item"]
    values = np.ones(len(users), np.float32) if value is None else columns[value].astype(np.float32)
    return sparse.csr_array((values, (users, items)), shape=shape)
