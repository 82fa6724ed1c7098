"""The linear item model EASE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import DTypeLike, NDArray

from .._core import (
    FactorArray,
    check_choice,
    check_dtype,
    check_int,
    check_real,
    field,
    resolve_num_threads,
)
from .._data import Interactions
from .._fitted import Tensors, duplicates_of, stored
from .._topn import ItemLists
from .closed_form import item_weights, needed, usual_regularization
from .linear import LinearState, entered
from .lines import both_ways
from .model import CellsModel, read_cells, read_shape

if TYPE_CHECKING:
    from .._inspect import MemoryEstimate

ENTRIES = ("binary", "log")


@stored
class EASE(CellsModel):
    """Linear item model in closed form: what each item in a history adds to the score of each other [1]_.

    The score of an item is ``sum_j x_uj B_ji`` over the user's items j. B, of shape (n_items, n_items), minimizes
    ``|X - X B|^2 + lambda |B|^2`` with a diagonal of zeros, so that no item explains itself. The solution is
    ``B = I - P diag(1 / diag P)`` with ``P = (X'X + lambda I)^-1``: no iterations, no random start, one number to
    choose.

    It takes ``n_items^2`` numbers of memory, of ``dtype``, and about ``n_items^3`` floating-point operations: a minute
    of two cores at 20,000 items, eight times that at 40,000. With fewer users than items it inverts a matrix of users:
    then ``n_users^3``, and ``n_users^2`` numbers more while it does. :meth:`estimate_memory` says how much before, and
    ``fit`` refuses what the machine has not free.

    Parameters
    ----------
    regularization : "auto" or float, default "auto"
        lambda, >= 0, in the unit of squares of X. "auto": ``b^2 (sqrt(z/m) + sqrt(z/n))^2`` for z cells of root mean
        square b, m users and n items: beyond that X'X of independent cells has no eigenvalue.
    weighting : {"auto", "binary", "log"} or None, default "auto"
        What stands in X for a value r. "binary": 1, as in the article; -1 for a value below 0, and 0 for 0. "log":
        ``log2(1 + r)``, a value below 0 keeping its sign: 1 is 1, and a hundred plays are more, but not a hundred times
        as much. None: r itself, of which a few large ones outweigh all others. "auto" is "log".
    dtype : {"float32", "float64"}, default "float32"
        Of the weights, of the arithmetic and of scores.
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.

    Attributes
    ----------
    weights_ : array of shape (n_items, n_items)
        B; read-only.
    settings_ : dict
        The ``regularization`` and ``weighting`` that "auto" stood for.
    users_, items_ : array or None
        Labels, where the data had labels.
    state_ : LinearState
        All that the last ``fit`` made, one immutable object: another one with each fit.

    References
    ----------
    .. [1] H. Steck. Embarrassingly shallow autoencoders for sparse data. WWW 2019.

    Examples
    --------
    >>> import fastals
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.EASE().fit((users, items))
    >>> model.recommend("eve", n=2).items
    array(['jazz', 'folk'], dtype=object)
    >>> model.similar_items("folk", n=1).items
    array(['jazz'], dtype=object)
    """

    _state: LinearState | None = None

    def __init__(
        self,
        *,
        regularization: Literal["auto"] | float = "auto",
        weighting: Literal["auto", "binary", "log"] | None = "auto",
        dtype: DTypeLike = "float32",
        num_threads: int | None = None,
    ) -> None:
        self.regularization = regularization
        self.weighting = weighting
        self.dtype = dtype
        self.num_threads = num_threads
        self._check_params()

    def _check_params(self) -> None:
        if self.regularization != "auto":
            check_real("regularization", self.regularization, low=0)
        if self.weighting is not None:
            check_choice("weighting", self.weighting, ("auto", *ENTRIES), "or None")
        check_dtype("dtype", self.dtype)
        resolve_num_threads(self.num_threads)

    def fit(self, data: Any, y: Any = None, *, duplicates: str | None = None) -> EASE:
        """Solve for the weights.

        Parameters
        ----------
        data : Interactions, sparse matrix, tuple of arrays or data frame
            As for :meth:`ImplicitALS.fit`; rows are users.
        y : array of shape (n,), optional
            Values, where ``data`` is an array of shape (n, 2) with a user and an item in each row: scikit-learn's form.
        duplicates : {"sum", "last", "max", "mean", "error"}, optional
            What becomes of several values for one user and item, in the order of the data; default "sum". Interactions
            were merged when they were made; those that hold each by itself ("keep") are merged by default.

        Returns
        -------
        self

        Raises
        ------
        DataError
            Among others: more items than the machine has memory for.
        NumericalError
            ``regularization`` is so small that the dtype cannot tell X'X + lambda I from a singular matrix.
        ParameterError, ArgumentTypeError

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
        >>> fastals.EASE(regularization=0.5).fit(plays).weights_.round(2)
        array([[ 0.  ,  0.57, -0.11],
               [ 0.63,  0.  ,  0.63],
               [-0.11,  0.57,  0.  ]], dtype=float32)
        """
        self._check_params()
        threads = resolve_num_threads(self.num_threads)
        duplicates = self._merging(duplicates, data, ("sum", "last", "max", "mean", "error"))
        cells = self._training_cells(data, y, duplicates, threads)
        need = needed(cells.shape, cells.nnz, self._dtype, threads)
        need.check(f"n_items must be less than {cells.n_items:,}, of which the weights of all for all")
        weighting = "log" if self.weighting == "auto" else self.weighting
        rows, columns = (
            (indptr, indices, entered(values.astype(self._dtype, copy=False), weighting))
            for indptr, indices, values in both_ways(cells, "users", self._dtype)
        )
        regularization = self.regularization
        if regularization == "auto":
            regularization = usual_regularization(rows, cells.n_items)
        solved = item_weights(rows, columns, float(regularization), threads)
        settings = {"regularization": float(regularization), "weighting": weighting}
        self._state = self._made(cells, solved.matrix, solved.error, settings, duplicates)
        return self

    def _made(
        self, data: Interactions, weights: FactorArray, error: float, settings: dict[str, Any], duplicates: str
    ) -> LinearState:
        return LinearState(
            name=type(self).__name__,
            users=data.user_labels,
            items=data.item_labels,
            pairs=data,
            weights=weights,
            error=error,
            parameters=self.get_params(),
            settings=settings,
            duplicates=duplicates,
        )

    def estimate_memory(self, n_users: int, n_items: int, nnz: int) -> MemoryEstimate:
        """Say what :meth:`fit` will need at its peak, beside the data that the caller holds.

        Parameters
        ----------
        n_users, n_items, nnz : int
            Size of the data: users, items and stored cells.

        Returns
        -------
        MemoryEstimate
            Bytes: ``cells``, ``factors`` (the weights), ``work`` and their sum, ``total``; as
            :meth:`ImplicitALS.estimate_memory`.

        Raises
        ------
        ParameterError, ArgumentTypeError

        Examples
        --------
        >>> import fastals
        >>> need = fastals.EASE(num_threads=2).estimate_memory(138_493, 26_744, 20_000_263)
        >>> f"{need.factors / 1e9:.1f} of {need.total / 1e9:.1f} GB"
        '2.9 of 3.7 GB'
        """
        self._check_params()
        shape = check_int("n_users", n_users, low=1), check_int("n_items", n_items, low=1)
        return needed(shape, check_int("nnz", nnz, low=1), self._dtype, self._threads())

    # -- the fitted state ---------------------------------------------------------------------------------------------

    @property
    def state_(self) -> LinearState:
        """What ``fit`` has made: one immutable object, from which all questions are answered."""
        return self._fitted(self._state)

    @property
    def weights_(self) -> FactorArray:
        """What item i in a history adds to the score of item j, in row i, column j; read-only."""
        return self.state_.weights

    @property
    def _dtype(self) -> Any:
        return check_dtype("dtype", self.dtype)

    @property
    def _duplicates(self) -> str:
        return "sum"

    def _entered(self, state: LinearState, data: Interactions) -> NDArray[Any]:
        return entered(data.arrays(state.dtype)[2], state.settings["weighting"])

    def _queries_of_histories(self, state: Any, histories: Any, threads: int) -> tuple[Any, ItemLists]:
        return self._histories(state, histories)

    # -- files --------------------------------------------------------------------------------------------------------

    def _content(self, state: LinearState) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {"error": state.error}, {"weights": state.weights}

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> EASE:
        shape = read_shape(content)
        model = cls(**{**field(content, "parameters", dict), "num_threads": None})
        settings = field(content, "settings", dict)
        weighting, regularization = settings.get("weighting"), field(settings, "regularization", float)
        if weighting not in (None, *ENTRIES) or not regularization >= 0:
            raise ValueError(f"settings are {settings!r}")
        dtype = model._dtype.newbyteorder("<").str
        weights = tensors.take("weights", dtype, shape[1], shape[1])
        data = read_cells(tensors, shape, dtype)
        settings = {"regularization": regularization, "weighting": weighting}
        error, duplicates = field(content, "error", float), duplicates_of(content, "sum")
        model._state = model._made(data, weights, error, settings, duplicates)
        return model
