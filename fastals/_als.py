"""The estimators: explicit ratings and implicit feedback, both as one row equation with different weights."""

from __future__ import annotations

import copy
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ._estimator import Estimator
from ._exceptions import NotFittedError, ParameterError
from ._interactions import DUPLICATES, Interactions, append, as_interactions, has_repeats
from ._persistence import ModelState, Tensors, plain, read_state, save_model
from ._recommend import Recommender
from ._sweep import CellWeights, FactorArray, Rows, Side, relaxation
from ._threads import resolve_num_threads, single_threaded_blas
from ._training import (
    Callback,
    Checkpoint,
    Training,
    Validation,
    check_validation_metric,
    digest,
    digest_of,
    train,
)
from ._validation import (
    check_bool,
    check_bool_or_none,
    check_choice,
    check_finite_factors,
    check_fitted,
    check_initial_factors,
    check_int,
    check_path,
    check_random_state,
    check_real,
)

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="ALS")

CG_PAYS_FROM = 32
"""Factors from which a sweep of conjugate gradients takes less time than an exact one (measured: bench/README.md)."""

MAX_FACTORS, MAX_ITERATIONS = 16_384, 1_000_000
"""Beyond any use; without a bound a slip of the pen would ask for k x k matrices that no machine holds."""


class ALS(Estimator, Recommender):
    """What both estimators share; use :class:`ExplicitALS` or :class:`ImplicitALS`."""

    _initial_scale: ClassVar[float]
    _default_metric: ClassVar[str]
    _merge_policy: ClassVar[str]

    factors: int
    regularization: float
    regularization_scaling: Literal["constant", "count"] | float
    iterations: int
    solver: Literal["auto", "cholesky", "cg", "lapack"]
    dtype: Literal["float32", "float64"]
    num_threads: int | None
    random_state: int | np.random.Generator | np.random.RandomState | None
    _seen_values: FactorArray | None

    # -- parameters ---------------------------------------------------------------------------------------------------

    def _check_params(self) -> None:
        check_int("factors", self.factors, low=1, high=MAX_FACTORS)
        check_real("regularization", self.regularization, low=0)
        if isinstance(self.regularization_scaling, str):
            check_choice("regularization_scaling", self.regularization_scaling, ("constant", "count"), "or a number")
        else:
            check_real("regularization_scaling", self.regularization_scaling, low=0)
        check_int("iterations", self.iterations, low=0, high=MAX_ITERATIONS)
        check_choice("solver", self.solver, ("auto", "cholesky", "cg", "lapack"))
        check_choice("dtype", np.dtype(self.dtype).name, ("float32", "float64"))
        resolve_num_threads(self.num_threads)
        check_random_state(self.random_state)

    # -- the row equation ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _cell_weights(self) -> CellWeights:
        """What this model's stored values add to a row's system."""

    def _row_regularization(self, counts: NDArray[np.int64], n_other: int) -> NDArray[np.float64]:
        """lambda_u for rows of ``counts`` cells."""
        scaling = self.regularization_scaling
        if scaling == "constant":
            size: NDArray[np.float64] = np.ones(len(counts))
        elif scaling == "count":
            size = counts.astype(np.float64)
        else:
            size = np.power(counts + self._cell_weights().unobserved * n_other, float(scaling), dtype=np.float64)
        return float(self.regularization) * size

    @property
    def _exact_solver(self) -> str:
        return "lapack" if self.solver == "lapack" else "cholesky"

    def _sweep_solver(self, last: bool) -> str:
        """The solver of a half-sweep; ``last``: no other follows.

        Without regularization a row's matrix may be singular, where steps along null directions are steps into nowhere.
        """
        if self.solver == "auto":
            return "cholesky" if self.factors < CG_PAYS_FROM or last or not self.regularization else "cg"
        if self.solver == "cg":
            return "cg" if self.regularization else "cholesky"
        return self.solver

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        initial_factors: tuple[Any, Any] | None = None,
        validation: Any = None,
        validation_metric: str | None = None,
        patience: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 5,
        progress: bool | None = None,
    ) -> Self:
        """Train from scratch: every iteration solves all users given the items, then all items given the users.

        Parameters
        ----------
        data : Interactions, sparse matrix, tuple of arrays or data frame
            A scipy.sparse matrix or array of shape (n_users, n_items): rows are users, always. ``(users, items)`` or
            ``(users, items, values)``: arrays of labels. A data frame with user, item and value columns.
        initial_factors : (array of shape (n_users, factors), array of shape (n_items, factors)), optional
            Where to start; drawn from ``random_state`` otherwise. The users' part matters only with ``iterations=0``.
        validation : as ``data``, optional
            Held-out interactions, measured after every iteration; those of users or items that ``data`` does not have
            are passed over. The factors kept are those of the best iteration, ``best_iteration_``.
        validation_metric : {"rmse", "ndcg@k", "recall@k"}, optional
            By what the best is told, k a number: "rmse" by default for ratings, "ndcg@10" for implicit feedback, which
            has no "rmse". Lists leave out the training cells; relevant is what ``validation`` holds with a value above
            0 and ``data`` does not hold; definitions as in :mod:`fastals.evaluation`.
        patience : int, optional
            Stop after so many iterations without a better value.
        callback : callable, optional
            Called as ``callback(iteration, loss, metrics, seconds)`` after each iteration, counted from 1; metrics is a
            dict, empty without ``validation``; seconds are those of the solves alone. Training stops when it returns
            True.
        checkpoint : str or path-like, optional
            A file that the state of training is written to. Where it exists, training goes on from it, and ends with
            the same bits as if it had never been interrupted (on the same instruction set, see
            :func:`fastals.show_config`); when it had ended, that is at once. Delete the file to start afresh.
        checkpoint_every : int, default 5
            Iterations from one writing to the next; the last is always written.
        progress : bool, optional
            Show a progress bar; by default where standard error is a terminal.

        Returns
        -------
        self

        Raises
        ------
        DataError, ParameterError, ArgumentTypeError, FileFormatError
            Before any work; a model that was fitted before stays as it was. Among others: a ``checkpoint`` of other
            data or parameters.

        Warns
        -----
        UserWarning
            Ctrl-C ended training, as soon as the half-sweep under way was done. The model is fitted, ``n_iter_`` tells
            how far: with the factors of the best iteration where there is ``validation``, else those of the last whole
            iteration, or on the way to the next.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.user_factors_.shape, model.item_factors_.shape
        ((2, 2), (3, 2))

        Stop when held-out plays are met no better for three iterations:

        >>> later = csr_array([[0, 1, 0], [1, 0, 0]])
        >>> model = model.fit(plays, validation=later, validation_metric="recall@1", patience=3)
        >>> model.metrics_history_[model.best_iteration_ - 1]["recall@1"]
        1.0
        """
        self._check_params()
        check_bool_or_none("progress", progress)
        interactions = as_interactions(
            data, dtype=np.dtype(self.dtype).name, num_threads=resolve_num_threads(self.num_threads)
        )
        shape = (interactions.n_users, interactions.n_items)
        if initial_factors is None:
            X, Y = self._draw_factors(shape)
        else:
            X, Y = check_initial_factors(initial_factors, shape, self.factors, np.dtype(self.dtype))
        watch = saved = None
        if validation is not None:
            metric = check_validation_metric(validation_metric, self._default_metric)
            watch = Validation(validation, metric, patience, interactions)
        elif patience is not None or validation_metric is not None:
            raise ParameterError("patience and validation_metric need validation=, the interactions to measure")
        training = Training(X, Y)
        if checkpoint is not None:
            identity = self._identity(interactions, training, watch, initial_factors)
            saved = Checkpoint(checkpoint, checkpoint_every, *identity)
            saved.restore(training)
        fitted = copy.copy(self)
        fitted._remember(interactions, self.dtype)
        train(
            self._iteration(interactions, training),
            training,
            iterations=self.iterations,
            validation=watch,
            measured=lambda: fitted._adopt(training),
            callback=callback,
            checkpoint=saved,
            progress=progress,
        )
        self._remember(interactions, self.dtype)
        self._adopt(training)
        self.loss_history_ = [loss for loss, _ in training.history]
        self.metrics_history_ = [dict(metrics) for _, metrics in training.history] if watch else []
        self.n_iter_ = len(training.history)
        self.best_iteration_ = training.best_iteration if watch else None
        return self

    def _adopt(self, training: Training) -> Self:
        """Take what training works on as this model's own."""
        self.user_factors_, self.item_factors_ = training.X, training.Y
        self._forget_derived()
        return self

    def _identity(
        self, data: Interactions, training: Training, validation: Validation | None, initial_factors: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What a checkpoint must have in common with the fit that goes on from it: parameters and fingerprints."""
        parameters = {"class": type(self).__name__}
        parameters |= {name: plain(value) for name, value in self.get_params().items()}
        del parameters["num_threads"], parameters["random_state"]
        digests = {"data": digest_of(data)}
        if initial_factors is not None or self.random_state is not None:
            digests["initial factors or random_state"] = digest(training.X, training.Y)
        digests["validation"] = validation.digest() if validation else ""
        return parameters, digests

    def _draw_factors(self, shape: tuple[int, int]) -> tuple[FactorArray, FactorArray]:
        """Normal, independent entries; the standard deviation makes the expected length of a row ``_initial_scale``."""
        rng = check_random_state(self.random_state)
        scale = self._initial_scale / np.sqrt(self.factors)
        users, items = (rng.standard_normal((n, self.factors), dtype=np.dtype(self.dtype).type) for n in shape)
        users *= scale
        items *= scale
        return users, items

    def _iteration(self, data: Interactions, training: Training) -> Callable[[bool], float]:
        """Set both sides up; one call is one iteration on the factors of ``training``, and returns its objective."""
        X, Y = training.X, training.Y
        threads = resolve_num_threads(self.num_threads)
        weights = self._cell_weights()
        rows = Rows(*data.arrays(self.dtype, num_threads=threads))
        columns = Rows(*data.transpose_arrays(self.dtype, num_threads=threads))
        users = Side(rows, X, Y, weights, self._row_regularization, np.diff(columns.indptr))
        items = Side(columns, Y, X, weights, self._row_regularization, np.diff(rows.indptr))
        constant = weights.constant(users.rows.values)

        def iterate(last: bool) -> float:
            iteration = len(training.history) + 1
            before, training.before = training.before, None
            if before is not None:
                # not in the iteration before: up to here X and Y were a model, Y solved, of the loss reported
                before -= Y
                before *= -relaxation(iteration - 1)
                Y[:] += before
            beyond = relaxation(iteration) if self.solver == "auto" and not last else 0.0
            users.solve(self._sweep_solver(last=False), threads, beyond)
            before = Y.copy() if beyond and self._sweep_solver(last) == "cg" else None
            decrease = items.solve(self._sweep_solver(last), threads)
            training.before = before
            # with Y solved, the cells and Y's penalty amount to -decrease: no pass over the cells is needed
            return constant + users.penalty() - decrease

        return iterate

    # -- rows that were not there -------------------------------------------------------------------------------------

    def fold_in(self, data: Any) -> FactorArray:
        """Factors of new users from their histories, with the items' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            One row per new user. A matrix has the model's items as columns; labelled data may name items that the model
            does not know: they are passed over.

        Returns
        -------
        array of shape (n_new_users, factors)
            In the order of the data's users (a matrix: its rows; labels: ascending). Exact solutions of the row
            equation: the history of a training user gives what one more half-sweep would give that user.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.fold_in(csr_array([[0, 1, 1]])).shape
        (1, 2)
        """
        check_fitted(self)
        histories = as_interactions(data, items=self._items)
        return self._solve_new(Rows(*histories.arrays(self.item_factors_.dtype)), self.item_factors_)

    def fold_in_items(self, data: Any) -> FactorArray:
        """Factors of new items from their histories, with the users' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            Rows are users: a matrix has the model's users as rows and one column per new item.

        Returns
        -------
        array of shape (n_new_items, factors)
            In the order of the data's items.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.fold_in_items(csr_array([[0], [2]])).shape
        (1, 2)
        """
        check_fitted(self)
        histories = as_interactions(data, users=self._users)
        return self._solve_new(Rows(*histories.transpose_arrays(self.user_factors_.dtype)), self.user_factors_)

    def _solve_new(self, rows: Rows, others: FactorArray) -> FactorArray:
        # of the factors' own shape and dtype: set_params may have changed the model's since fit
        out: FactorArray = np.zeros((len(rows.indptr) - 1, others.shape[1]), others.dtype)
        side = Side(rows, out, others, self._cell_weights(), self._row_regularization)
        with single_threaded_blas():
            side.solve(self._exact_solver, resolve_num_threads(self.num_threads))
        return out

    def partial_fit(self, data: Any, *, duplicates: str | None = None, passes: int = 2) -> Self:
        """Take in new events, users and items, and solve the rows they touch again, all others staying as they are.

        The events are merged with the history that the model holds: no need to hand that in again. Then, ``passes``
        times, each user with a new event is solved exactly from all their cells, given the items' factors, and after
        them each item with a new event. New users and items start from zeros, so that in the first pass a user is told
        by the known items alone; users and items that occur with nothing known stay at zero until the next ``fit``.

        Parameters
        ----------
        data : as for :meth:`fit`
            New users and items are appended behind the known ones, whose indices do not change. Without labels: a
            matrix with at least as many rows and columns as the model has users and items, or indices of which new ones
            follow without a gap.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}, optional
            What becomes of several values for one user and item, the stored one coming first. By default "keep" where
            the training data hold such cells; else implicit feedback adds ("sum") and a rating is replaced ("last").
        passes : int, default 2

        Returns
        -------
        self
            ``loss_history_`` and its like stay those of ``fit``.

        Raises
        ------
        NotFittedError
            There is no model yet, or it was saved without its history.
        DataError, UnknownLabelError, ParameterError, ArgumentTypeError
            Before any work; the model stays as it was.

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.partial_fit((["zoe", "zoe", "bob"], ["jazz", "ska", "ska"])).items_
        array(['folk', 'jazz', 'rock', 'ska'], dtype=object)
        >>> model.recommend("zoe", n=1).items
        array(['folk'], dtype=object)
        """
        history = self._history()
        check_int("passes", passes, low=1)
        if duplicates is None:
            duplicates = "keep" if has_repeats(history) else self._merge_policy
        check_choice("duplicates", duplicates, DUPLICATES)
        events = as_interactions(data, duplicates="keep")
        users = self._users.grown("users", events.user_labels)
        items = self._items.grown("items", events.item_labels)
        merged = append(history, events, users, items, duplicates)
        touched_users = users[1][np.flatnonzero(np.diff(events.indptr))]
        touched_items = np.unique(items[1][events.indices])
        X, Y = (
            np.concatenate((factors, np.zeros((len(labels) - len(factors), factors.shape[1]), factors.dtype)))
            for factors, (labels, _) in ((self.user_factors_, users), (self.item_factors_, items))
        )
        weights, threads = self._cell_weights(), self._threads()
        sides = (
            Side(Rows(*merged.arrays()), X, Y, weights, self._row_regularization),
            Side(Rows(*merged.transpose_arrays()), Y, X, weights, self._row_regularization),
        )
        with single_threaded_blas():
            for _ in range(passes):
                for side, touched in zip(sides, (touched_users, touched_items), strict=True):
                    side.solve(self._exact_solver, threads, only=touched)
        check_finite_factors(X, Y)
        self._remember(merged, X.dtype)
        return self._adopt(Training(X, Y))

    def _remember(self, data: Interactions, dtype: Any) -> None:
        """Keep the training cells: for lists where they are, for what works on histories their values too."""
        self._users, self._items = data.user_labels, data.item_labels
        indptr, indices, self._seen_values = data.arrays(dtype)
        self._seen = indptr, indices

    def _history(self) -> Interactions:
        """The training data."""
        check_fitted(self)
        if self._seen_values is None:
            raise NotFittedError("this model was saved without its history, which this needs: save(..., history=True)")
        return Interactions._canonical((*self._seen, self._seen_values), None, self._users, self._items)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, history: bool = True) -> None:
        """Write the model to one safetensors file; see :func:`fastals.load`.

        The file holds factors, labels, parameters, loss history and the training cells that ``exclude_seen`` needs.
        It is written under a temporary name, synced and renamed: ``path`` holds the old model or the whole new one.

        Parameters
        ----------
        path : str or path-like
        history : bool, default True
            Store the values of the training cells too (4 bytes a cell in float32), without which the loaded model has
            neither :meth:`partial_fit` nor :meth:`explain` of its users.

        Raises
        ------
        NotFittedError, OSError

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((["ann", "bob"], ["x", "y"]))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     model.save(os.path.join(directory, "model"), history=False)
        ...     fastals.load(os.path.join(directory, "model")).recommend("ann", n=1).items
        array(['y'], dtype=object)
        """
        save_model(self, check_path("path", path), history=check_bool("history", history))

    def _get_state(self) -> ModelState:
        check_fitted(self)
        return ModelState(
            parameters=self.get_params(),
            user_factors=self.user_factors_,
            item_factors=self.item_factors_,
            users=self._users,
            items=self._items,
            seen_indptr=self._seen[0],
            seen_indices=self._seen[1],
            seen_values=self._seen_values,
            loss_history=self.loss_history_,
            metrics_history=self.metrics_history_,
            n_iter=self.n_iter_,
            best_iteration=self.best_iteration_,
        )

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> Self:
        return cls._from_state(read_state(content, tensors))

    @classmethod
    def _from_state(cls, state: ModelState) -> Self:
        model = cls(**state.parameters)
        model._users, model._items = state.users, state.items
        model._seen, model._seen_values = (state.seen_indptr, state.seen_indices), state.seen_values
        model.loss_history_, model.metrics_history_ = state.loss_history, state.metrics_history
        model.n_iter_, model.best_iteration_ = state.n_iter, state.best_iteration
        return model._adopt(Training(state.user_factors, state.item_factors))


class ExplicitALS(ALS):
    """Ratings: only the observed cells count.

    Minimises ``sum_observed (r_ui - x_u.y_i)^2 + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2``.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float, default 0.1
        lambda.
    regularization_scaling : {"constant", "count"} or float, default "constant"
        lambda_u = lambda ("constant"), lambda n_u ("count": ALS-WR [1]_, Spark) or lambda n_u^v for a number v, where
        n_u counts the user's ratings; likewise for items.
    iterations : int, default 15
        Passes over both sides, users first.
    solver : {"auto", "cholesky", "cg", "lapack"}, default "auto"
        "cholesky" solves every row exactly, "cg" takes a few steps of conjugate gradients from where the row was.
        "auto" is what reaches a given loss soonest: below 32 factors "cholesky"; from there on "cg", each half-sweep
        going somewhat beyond its solutions (over-relaxation: half as many iterations), but for the last, which is
        exact. "lapack" is the slow twin of "cholesky".
    dtype : {"float32", "float64"}, default "float32"
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.
    random_state : int, Generator or RandomState, optional
        Where the initial factors come from.

    Attributes
    ----------
    user_factors_ : array of shape (n_users, factors)
    item_factors_ : array of shape (n_items, factors)
        A score is ``user_factors_[u] @ item_factors_[i]``. A user or an item without ratings has zeros.
    loss_history_ : list of float
        The objective after each iteration.
    metrics_history_ : list of dict
        What ``validation`` measured after each iteration; empty without.
    n_iter_ : int
        Iterations done.
    best_iteration_ : int or None
        The iteration that the factors are of, where ``validation`` chose it.
    users_, items_ : array or None
        Labels in the order of the factors' rows, where the data had labels.

    References
    ----------
    .. [1] Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan. Large-scale parallel collaborative filtering for the Netflix
       prize. AAIM 2008, section 3.1.

    Examples
    --------
    >>> import fastals
    >>> users, items, ratings = ["ann", "ann", "bob"], ["jazz", "rock", "rock"], [5, 1, 4]
    >>> model = fastals.ExplicitALS(factors=2, regularization=0.01, random_state=0).fit((users, items, ratings))
    >>> [round(float(r)) for r in model.predict(["ann", "bob"], ["jazz", "rock"])]
    [5, 4]
    """

    _predicts_ratings = True
    _initial_scale = 1.0
    _default_metric = "rmse"
    _merge_policy = "last"

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: float = 0.1,
        regularization_scaling: Literal["constant", "count"] | float = "constant",
        iterations: int = 15,
        solver: Literal["auto", "cholesky", "cg", "lapack"] = "auto",
        dtype: Literal["float32", "float64"] = "float32",
        num_threads: int | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.regularization_scaling = regularization_scaling
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.num_threads = num_threads
        self.random_state = random_state
        self._check_params()

    def _cell_weights(self) -> CellWeights:
        return CellWeights(unobserved=0.0, a0=1.0, a1=0.0, b0=0.0, b1=1.0, positive_only=False)


class ImplicitALS(ALS):
    """Counts, plays, clicks: every cell counts, the observed ones more.

    Solves, for each user u with the items' factors Y fixed, and then the reverse ([1]_, equation 4),

        ``( w0 Y'Y + sum_i alpha |r_ui| y_i y_i' + lambda_u I ) x_u = sum_{i: r_ui > 0} (1 + alpha r_ui) y_i``

    over the stored cells of the row. With w0 = 1 this minimises ``sum_all c_ui (p_ui - x_u.y_i)^2`` plus the
    penalties, with confidence c = 1 + alpha |r| and preference p = 1 where r > 0, else 0: a stored negative value
    says "not this" with confidence 1 + alpha |r|, a stored zero says as little as a cell that is not stored.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float, default 0.01
        lambda.
    alpha : float, default 1.0
        How fast confidence grows with the stored value.
    regularization_scaling : {"constant", "count"} or float, default "constant"
        lambda_u = lambda ("constant"), lambda n_u ("count", as Spark) or lambda (n_u + w0 n_items)^v for a number v
        ([2]_, equation 13), where n_u counts the user's cells of positive value; likewise for items.
    unobserved_weight : float, default 1.0
        w0, the weight of every cell. Smaller values trust the absence of an event less.
    iterations : int, default 15
        Passes over both sides, users first.
    solver : {"auto", "cholesky", "cg", "lapack"}, default "auto"
        "cholesky" solves every row exactly, "cg" takes a few steps of conjugate gradients from where the row was.
        "auto" is what reaches a given loss soonest: below 32 factors "cholesky"; from there on "cg", each half-sweep
        going somewhat beyond its solutions (over-relaxation: half as many iterations), but for the last, which is
        exact. "lapack" is the slow twin of "cholesky".
    dtype : {"float32", "float64"}, default "float32"
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.
    random_state : int, Generator or RandomState, optional
        Where the initial factors come from.

    Attributes
    ----------
    user_factors_ : array of shape (n_users, factors)
    item_factors_ : array of shape (n_items, factors)
        A score is ``user_factors_[u] @ item_factors_[i]``. A user or an item without cells has zeros.
    loss_history_ : list of float
        The objective after each iteration: ``w0 sum_all s^2 + sum_stored [a s^2 - 2 b s + b^2 / (w0 + a)]`` plus the
        penalties, s the score, a = alpha |r|, b = 1 + alpha r where r > 0.
    metrics_history_ : list of dict
        What ``validation`` measured after each iteration; empty without.
    n_iter_ : int
        Iterations done.
    best_iteration_ : int or None
        The iteration that the factors are of, where ``validation`` chose it.
    users_, items_ : array or None
        Labels in the order of the factors' rows, where the data had labels.

    References
    ----------
    .. [1] Y. Hu, Y. Koren, C. Volinsky. Collaborative filtering for implicit feedback datasets. ICDM 2008.
    .. [2] S. Rendle, W. Krichene, L. Zhang, Y. Koren. Revisiting the performance of iALS on item recommendation
       benchmarks. RecSys 2022.

    Examples
    --------
    >>> import fastals
    >>> from scipy.sparse import csr_array
    >>> plays = csr_array([[9, 4, 0, 0], [8, 0, 0, 0], [0, 0, 7, 5], [0, 0, 6, 0]])
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
    >>> model.recommend(1, n=1).items
    array([1], dtype=int32)
    """

    _initial_scale = 0.1
    _default_metric = "ndcg@10"
    _merge_policy = "sum"

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        regularization_scaling: Literal["constant", "count"] | float = "constant",
        unobserved_weight: float = 1.0,
        iterations: int = 15,
        solver: Literal["auto", "cholesky", "cg", "lapack"] = "auto",
        dtype: Literal["float32", "float64"] = "float32",
        num_threads: int | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.regularization_scaling = regularization_scaling
        self.unobserved_weight = unobserved_weight
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.num_threads = num_threads
        self.random_state = random_state
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        check_real("alpha", self.alpha, low=0)
        check_real("unobserved_weight", self.unobserved_weight, low=0)

    def _cell_weights(self) -> CellWeights:
        w0, alpha = float(self.unobserved_weight), float(self.alpha)
        return CellWeights(unobserved=w0, a0=0.0, a1=alpha, b0=1.0, b1=alpha, positive_only=True)
