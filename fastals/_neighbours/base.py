"""Neighbourhood models, the baselines of collaborative filtering: items like those one had, what similar users had.

Everything is a product of two sparse matrices, of which the kernels make one row at a time and keep the best columns:
the similarities (lines of one side times lines of the other), and the scores (histories times similarities).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    Axis,
    DataError,
    ParameterError,
    check_choice,
    check_int,
    check_real,
    field,
    resolve_num_threads,
)
from .._data import Interactions
from .._fitted import Tensors, duplicates_of
from .lines import WEIGHTINGS, both_ways, centred, line_means, played, weighted
from .model import CellsModel, read_cells, read_shape
from .similarity import nearest
from .state import NeighbourState

Self = TypeVar("Self", bound="Neighbours")

MAX_NEIGHBORS = 100_000


class Neighbours(CellsModel):
    """What both models share; use :class:`ItemKNN` or :class:`UserKNN`."""

    _axis: ClassVar[Axis]

    _state: NeighbourState | None = None

    def __init__(
        self,
        *,
        neighbors: int = 50,
        feedback: Literal["implicit", "explicit"] = "implicit",
        similarity: Literal["cosine", "dot"] = "cosine",
        shrinkage: float = 0.0,
        weighting: Literal["auto", "logidf", "tfidf", "bm25"] | None = "auto",
        num_threads: int | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.feedback = feedback
        self.similarity = similarity
        self.shrinkage = shrinkage
        self.weighting = weighting
        self.num_threads = num_threads
        self._check_params()

    def _check_params(self) -> None:
        check_int("neighbors", self.neighbors, low=1, high=MAX_NEIGHBORS)
        check_choice("feedback", self.feedback, ("implicit", "explicit"))
        check_choice("similarity", self.similarity, ("cosine", "dot"))
        check_real("shrinkage", self.shrinkage, low=0)
        if self.similarity == "dot" and self.shrinkage:
            raise ParameterError(f"shrinkage must be 0 with similarity='dot', which has no norms, got {self.shrinkage}")
        if self.weighting is not None:
            check_choice("weighting", self.weighting, ("auto", *WEIGHTINGS), "or None")
            if self.feedback == "explicit" and self.weighting != "auto":
                raise ParameterError(
                    f"weighting must be 'auto' or None with feedback='explicit', got {self.weighting!r}"
                )
        resolve_num_threads(self.num_threads)

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(self: Self, data: Any, y: Any = None, *, duplicates: str | None = None) -> Self:
        """Find each line's neighbours.

        Costs one multiplication for each pair of cells that share a user (:class:`ItemKNN`) or an item
        (:class:`UserKNN`); memory for the neighbours, and one row of sums a thread.

        Parameters
        ----------
        data : Interactions, sparse matrix, tuple of arrays or data frame
            As for :meth:`ImplicitALS.fit`; rows are users.
        y : array of shape (n,), optional
            Values, where ``data`` is an array of shape (n, 2) with a user and an item in each row: scikit-learn's form.
        duplicates : {"sum", "last", "max", "mean", "error"}, optional
            What becomes of several values for one user and item, in the order of the data. By default counts are added
            ("sum"), and the last of several ratings counts ("last"). Interactions were merged when they were made;
            those that hold each by itself ("keep") are merged by default, and with ``feedback="explicit"`` those that
            were added up are refused.

        Returns
        -------
        self

        Raises
        ------
        DataError, ParameterError, ArgumentTypeError
            Among others: values below 0 with "tfidf" or "bm25", which are made of counts.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
        >>> fastals.ItemKNN(neighbors=1, weighting=None).fit(plays).similarity_.toarray().round(2)
        array([[0.  , 0.82, 0.  ],
               [0.82, 0.  , 0.  ],
               [0.  , 0.82, 0.  ]], dtype=float32)
        """
        self._check_params()
        threads = resolve_num_threads(self.num_threads)
        duplicates = self._merging(duplicates, data, ("sum", "last", "max", "mean", "error"))
        interactions = self._training_cells(data, y, duplicates, threads)
        lines, others = both_ways(interactions, self._axis)
        means, weighting = None, self.weighting
        if weighting == "auto":
            weighting = "logidf" if self.feedback == "implicit" else None
        if self.feedback == "explicit":
            means = line_means(lines)
            lines, others = centred(lines, others, means)
        elif weighting:
            if weighting != "logidf" and interactions.values.min() < 0:
                raise DataError(f"values must be >= 0 with weighting={weighting!r}, got {interactions.values.min()}")
            lines, others = weighted(lines, others, weighting)
        similarity = nearest(lines, others, self.neighbors, self.similarity, self.shrinkage, threads)
        self._state = self._made(interactions, similarity, means, weighting, duplicates)
        return self

    def _made(
        self,
        data: Interactions,
        similarity: sparse.csr_array[Any],
        means: NDArray[np.float64] | None,
        weighting: str | None,
        duplicates: str,
    ) -> NeighbourState:
        return NeighbourState(
            name=type(self).__name__,
            axis=self._axis,
            users=data.user_labels,
            items=data.item_labels,
            pairs=data,
            similarity=similarity,
            means=means,
            parameters=self.get_params(),
            settings={"weighting": weighting},
            duplicates=duplicates,
        )

    @classmethod
    def _means_of(cls, data: Interactions) -> NDArray[np.float64]:
        return line_means(both_ways(data, cls._axis)[0])

    # -- the fitted state ---------------------------------------------------------------------------------------------

    @property
    def state_(self) -> NeighbourState:
        """What ``fit`` has made: one immutable object, from which all questions are answered."""
        return self._fitted(self._state)

    @property
    def similarity_(self) -> sparse.csr_array[Any]:
        """Row i holds the neighbours of line i; read-only."""
        # a matrix of its own: what it consists of can be exchanged, even where no number can be changed
        return copy(self.state_.similarity)

    @property
    def _predicts_ratings(self) -> bool:
        return self.feedback == "explicit"

    @property
    def _duplicates(self) -> str:
        return "last" if self._predicts_ratings else "sum"

    def _entered(self, state: NeighbourState, data: Interactions) -> NDArray[Any]:
        if state.means is None:
            return played(data.values, state.settings["weighting"])
        return (data.values - state.means[data.indices]).astype(np.float32)

    # -- files --------------------------------------------------------------------------------------------------------

    def _content(self, state: NeighbourState) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        S = state.similarity
        tensors: dict[str, NDArray[Any]] = {
            "similarity_indptr": S.indptr.astype(np.int64),
            "similarity_indices": S.indices.astype(np.int32),
            "similarity": S.data,
        }
        if state.means is not None and not np.array_equal(state.means, self._means_of(state.pairs)):
            tensors["means"] = state.means  # those of cells that were forgotten, too
        return {"fitted_feedback": "explicit" if state.ratings else "implicit"}, tensors

    @classmethod
    def _read(cls: type[Self], content: Mapping[str, Any], tensors: Tensors) -> Self:
        shape = read_shape(content)
        m = shape[cls._axis == "items"]
        model = cls(**{**field(content, "parameters", dict), "num_threads": None})
        # files of versions that had no settings hold what the constructor was given
        weighting = field(content, "settings" if "settings" in content else "parameters", dict).get("weighting")
        if weighting not in (None, *WEIGHTINGS):
            raise ValueError(f"weighting is {weighting!r}")
        indptr, indices = tensors.take_rows("similarity", m, m)
        values = tensors.take("similarity", "<f4", len(indices))
        similarity = sparse.csr_array((values, indices, indptr), shape=(m, m))
        data = read_cells(tensors, shape, "<f4")
        explicit = field(content, "fitted_feedback", str) == "explicit"
        means = cls._means_of(data) if explicit else None
        if explicit and "means" in tensors:
            means = tensors.take("means", "<f8", m)
            if not np.isfinite(means).all():
                raise ValueError("means are not finite")
        duplicates = duplicates_of(content, "last" if explicit else "sum")
        model._state = model._made(data, similarity, means, weighting, duplicates)
        return model
