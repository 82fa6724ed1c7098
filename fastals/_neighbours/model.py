"""What all models of this folder are: training cells, and a matrix that was made of them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import check_path, field
from .._data import Interactions, as_interactions, trusted
from .._fitted import Rest, Tensors, without, write_model
from .._models import Estimator, with_values
from .._topn import ItemLists
from .lines import distinct_cells
from .scores import Queries

Self = TypeVar("Self", bound="CellsModel")


class CellsModel(Estimator):
    """What the models share."""

    _state: Any = None

    @property
    def _dtype(self) -> Any:
        """Of values, and of scores."""
        return np.dtype(np.float32)

    @property
    def settings_(self) -> dict[str, Any]:
        """What parameters that are "auto" stood for."""
        return dict(self._fitted(self._state).settings)

    def _training_cells(self, data: Any, y: Any, duplicates: str, threads: int) -> Interactions:
        options: dict[str, Any] = {"duplicates": duplicates, "ratings": self._predicts_ratings, "num_threads": threads}
        given = as_interactions(with_values(data, y), dtype=self._dtype, **options)
        return distinct_cells(given, duplicates, self._dtype)

    def _without(self, state: Any, users: Rest, items: Rest, on_disk: str | None) -> Any:
        return state.without(users, items, without(state.pairs, users, items, on_disk))

    @abstractmethod
    def _entered(self, state: Any, data: Interactions) -> NDArray[Any]:
        """What stands for the values of histories."""

    def _histories(self, state: Any, histories: Any) -> tuple[Queries, ItemLists]:
        dtype = state.dtype
        options: dict[str, Any] = {"duplicates": state.duplicates, "ratings": state.ratings, "items": state.items}
        data = distinct_cells(as_interactions(histories, dtype=dtype, **options), state.duplicates, dtype)
        lists = ItemLists.of_rows(data.indptr, data.indices)
        return Queries(lists, self._entered(state, data), None), lists

    @abstractmethod
    def _content(self, state: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a file of the model says of its own, and its own tensors."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, as :meth:`ImplicitALS.save` does; see :func:`fastals.load`.

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> model = fastals.ItemKNN().fit((["ann", "ann", "bob"], ["x", "y", "x"]))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     model.save(os.path.join(directory, "model"))
        ...     fastals.load(os.path.join(directory, "model")).recommend("bob", n=1).items
        array(['y'], dtype=object)
        """
        state = self._fitted(self._state)
        content, tensors = self._content(state)
        tensors["seen_values"] = state.pairs.arrays(state.dtype)[2]
        shared = {
            "shape": list(state.pairs.shape),
            "settings": dict(state.settings),
            "duplicates": state.duplicates,
        }
        path = check_path("path", path)
        write_model(path, type(self), state.parameters, state.pairs, {**content, **shared}, tensors)


def read_shape(content: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many users and items a file says that there are."""
    shape = field(content, "shape", list)
    if len(shape) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise ValueError(f"shape is {shape!r}")
    return shape[0], shape[1]


def read_cells(tensors: Tensors, shape: tuple[int, int], dtype: str) -> Interactions:
    """Return the training cells of a file."""
    users, items = (tensors.take_labels(side, n) for side, n in zip(("users", "items"), shape, strict=True))
    rows = tensors.take_rows("seen", *shape)
    values = tensors.take("seen_values", dtype, len(rows[1]))
    return trusted((*rows, values), None, users, items, known=tensors.take_known(users, items))
