"""Names that all folders use: of types, of the sides of the matrix, of the version."""

from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

__version__ = "0.1.0"
"""Read by the build, too."""

FactorArray: TypeAlias = NDArray[Any]
"""float32 or float64."""

LabelArray: TypeAlias = NDArray[Any]
"""int64, or objects that are all str, bytes or UUID."""

Axis: TypeAlias = Literal["users", "items"]
"""A side of the matrix."""

AXES: tuple[Axis, Axis] = ("users", "items")
