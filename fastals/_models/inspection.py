"""What one asks a model about itself: why a score is what it is, how healthy a fit is, what memory it will need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, ParameterError, check_bool, check_int, kernels, single_threaded_blas
from .._data import as_observations
from .._equation import Rows, Side
from .._inspect import Explanation, MemoryEstimate, contributions, describe, estimate, row_system
from .._topn import check_fitted
from .row_equation import AXES, RowEquation


class Inspection(RowEquation):
    """Answers questions, and changes nothing."""

    # -- explain ------------------------------------------------------------------------------------------------------

    def explain(self, user: Any, item: Any, n: int = 10, *, history: Any = None) -> Explanation:
        """Take a score apart: how much of it comes from each item of the user's history ([1]_, section 5).

        A user's factors are linear in what their cells say, and so is the score. It is that of the exact solution given
        the items' factors, as :meth:`fold_in` has it; :meth:`predict`, whose users were solved before the items were
        for the last time, may differ a little.

        Parameters
        ----------
        user : label, or index; None with ``history``
        item : label, or index
            Any item, known to the user or not.
        n : int, default 10
            The items of the largest contributions.
        history : as for :meth:`fold_in`, optional
            The history of one user, instead of the training cells of ``user``.

        Returns
        -------
        Explanation
            ``score``, ``items``, ``contributions`` and ``base``: ``base`` and the contributions of the whole history,
            not only of the n items, sum to the score.

        Raises
        ------
        UnknownLabelError, NotFittedError, DataError, ParameterError, ArgumentTypeError

        References
        ----------
        .. [1] Y. Hu, Y. Koren, C. Volinsky. Collaborative filtering for implicit feedback datasets. ICDM 2008.

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> why = model.explain("ann", "folk")
        >>> why.items
        array(['jazz', 'rock'], dtype=object)
        >>> bool(abs(why.contributions.sum() - why.score) < 1e-12)
        True
        """
        check_fitted(self)
        n = check_int("n", n, low=1)
        target = int(self._items.encode_known("item", [item])[0])
        if (user is None) == (history is None):
            raise ParameterError("one of user and history must be given, the other one being None")
        rows = self._one_row(user) if history is None else self._one_history(history)
        rows, own = self._new_offsets("users", rows)
        others = self._columns()[1]
        side = self._side("users", rows, np.zeros((1, others.shape[1]), others.dtype), others)
        targets, Y = side.targets(self._mean), side.inputs()
        gram = np.zeros((Y.shape[1], Y.shape[1]))
        if side.weights.unobserved:
            gram = self._derive("gram of items", lambda: kernels.gram(Y, self._threads()))
        system = row_system(targets, Y, side.weights, side.ridge(0), gram)
        parts = contributions(*system, Y[target].astype(np.float64), self._free_entries(side))
        base = self._mean + (0.0 if own is None else float(own[0]))
        if self._biases is not None:
            base += float(self._biases[1][target])
        order = np.argsort(-parts, kind="stable")[:n]
        return Explanation(float(parts.sum() + base), self._items.decode(rows.indices[order]), parts[order], base)

    def _one_row(self, user: Any) -> Rows:
        """The training cells of a user."""
        data, twin = self._history()
        row = int(self._users.encode_known("user", [user])[0])
        cells = slice(data.indptr[row], data.indptr[row + 1])
        indptr = np.array([0, cells.stop - cells.start])
        scale = None if twin is None else twin.values[cells]
        return Rows(indptr, data.indices[cells], self._transform(data.values[cells]), scale)

    def _one_history(self, history: Any) -> Rows:
        """The cells of one user who is not in the model."""
        data, twin = as_observations(history, None, duplicates=self._preset.duplicates, items=self._items)
        if data.n_users != 1:
            raise DataError(f"history must be of one user, got {data.n_users}")
        rows = self._rows("users", data, twin, self.item_factors_.dtype, None)
        self._check_minimum("users", rows, data)
        return rows

    def _free_entries(self, side: Side) -> NDArray[np.bool_] | slice:
        """Which entries of the solution of a side of one row no bound holds at zero."""
        if not self.nonnegative:
            return slice(None)
        with single_threaded_blas():
            side.solve(self._exact_solver, self._threads(), mean=self._mean)
        free: NDArray[np.bool_] = side.factors[0] > 0
        free[self.user_factors_.shape[1] :] = True  # a bias has any sign
        return free

    # -- diagnose -----------------------------------------------------------------------------------------------------

    def diagnose(self) -> str:
        """Say how the model is, in a few lines of text.

        The loss and its parts; how far the rows are from exact solutions, how many systems were singular and fell back
        to the minimum norm, condition numbers of some; rows without cells and rows of zeros; how much of the lists the
        most popular items take up. A model of the same settings is fitted to the data without some cells, of a million
        at most, and asked for these, beside lists of what is popular or, of ratings, the damped means of users and
        items; that it wins is no proof of quality. Lines that begin with "!" say where something looks wrong: such a
        model loses, scores are far outside the data's range. It costs about an iteration and that fit.

        Returns
        -------
        str

        Raises
        ------
        NotFittedError

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[9, 4, 0, 0], [8, 0, 0, 0], [0, 0, 7, 5], [0, 0, 6, 0]])
        >>> model = fastals.ImplicitALS(factors=2, regularization=1e6, random_state=0).fit(plays)
        >>> print(model.diagnose().splitlines()[-1])
        ! the factors explain next to nothing: regularization outweighs the data, try much less of it
        """
        check_fitted(self)
        return describe(self)

    def _trained_sides(self) -> tuple[Side, Side]:
        """Both sides as they were trained."""
        X, Y = self._columns()
        data, twin = self._history()
        rows, columns = (self._rows(axis, data, twin, X.dtype, self._threads()) for axis in AXES)
        nobody = np.empty(0, np.intp)
        rows, columns, _ = self._grown_offsets(rows, columns, nobody, nobody)
        return self._side("users", rows, X, Y), self._side("items", columns, Y, X)

    # -- memory -------------------------------------------------------------------------------------------------------

    def estimate_memory(
        self, n_users: int, n_items: int, nnz: int, *, sample_weight: bool = False, validation: int = 0
    ) -> MemoryEstimate:
        """Say what :meth:`fit` will need at its peak, beside the data that the caller holds.

        Parameters
        ----------
        n_users, n_items, nnz : int
            Size of the data: users, items and stored cells.
        sample_weight : bool, default False
            Each cell has a weight.
        validation : int, default 0
            Held-out cells, measured by the default metric.

        Returns
        -------
        MemoryEstimate
            Bytes: ``cells``, ``factors``, ``work`` and their sum, ``total``. For a scipy.sparse CSR matrix of float32;
            other forms need up to 16 bytes a cell more while they are read, text its labels.

        Raises
        ------
        ParameterError, ArgumentTypeError

        Examples
        --------
        >>> import fastals
        >>> need = fastals.ImplicitALS(factors=64, num_threads=2).estimate_memory(138_493, 26_744, 20_000_263)
        >>> f"{need.total / 1e9:.1f} GB"
        '0.6 GB'
        """
        self._check_params()
        shape = check_int("n_users", n_users, low=1), check_int("n_items", n_items, low=1)
        held_out = check_int("validation", validation, low=0)
        model = type(self)(**self.get_params())  # what a fit will need, whatever the last one had for settings
        return estimate(
            shape,
            check_int("nnz", nnz, low=1),
            k=model.factors + model._joint_biases,
            biased=model._joint_biases,
            centered=model._predicts_ratings and (model._joint_biases or model._value_copies > 0),
            dtype=np.dtype(model.dtype),
            num_threads=model._threads(),
            copies=model._value_copies,
            weighted=check_bool("sample_weight", sample_weight),
            relaxed=model.solver == "auto" and model._sweep_solver == "cg",
            users_last=model._preset.last == "users",
            held_out=held_out,
            ranked=model._default_metric != "rmse",
        )

    @property
    def _value_copies(self) -> int:
        """Arrays of values that a fit makes beside the data's own."""
        return 0
