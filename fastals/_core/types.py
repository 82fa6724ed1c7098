"""Names of types that all folders use."""

from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

FactorArray: TypeAlias = NDArray[Any]
"""float32 or float64."""

LabelArray: TypeAlias = NDArray[Any]
"""int64, or objects that are all str, bytes or UUID."""

Axis: TypeAlias = Literal["users", "items"]
"""A side of the matrix."""
