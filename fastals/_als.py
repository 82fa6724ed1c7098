"""The estimators: explicit ratings and implicit feedback, both as one row equation with different weights."""

from __future__ import annotations

import copy
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._diagnose import describe
from ._estimator import Estimator, with_values
from ._exceptions import DataError, NotFittedError, ParameterError
from ._explain import Explanation, contributions, row_system
from ._interactions import DUPLICATES, Interactions, append, as_observations, has_repeats, ones_like
from ._memory import MemoryEstimate, estimate
from ._persistence import ModelState, Tensors, plain, read_state, save_model
from ._presets import EXPLICIT, IMPLICIT, Preset
from ._recommend import ItemLists
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
    check_callable_or_none,
    check_choice,
    check_finite_factors,
    check_fitted,
    check_initial_factors,
    check_int,
    check_pair_or_real,
    check_path,
    check_query_factors,
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


Axis = Literal["users", "items"]
AXES: tuple[Axis, Axis] = ("users", "items")

Biases: TypeAlias = tuple[FactorArray, FactorArray] | None


class ALS(Estimator):
    """What both estimators share; use :class:`ExplicitALS` or :class:`ImplicitALS`."""

    _presets: ClassVar[Mapping[str | None, Preset]]
    _default_metric: ClassVar[str]
    _merge_policy: ClassVar[str]

    factors: int
    regularization: float | tuple[float, float]
    regularization_scaling: Literal["constant", "count"] | float
    iterations: int
    solver: Literal["auto", "cholesky", "cg", "lapack"]
    nonnegative: bool
    preset: str | None
    dtype: Literal["float32", "float64"]
    num_threads: int | None
    random_state: int | np.random.Generator | np.random.RandomState | None
    _seen_values: FactorArray | None
    _seen_weights: FactorArray | None

    _mean: float
    _biases: Biases

    # -- parameters ---------------------------------------------------------------------------------------------------

    def _check_params(self) -> None:
        check_int("factors", self.factors, low=1, high=MAX_FACTORS)
        check_pair_or_real("regularization", self.regularization, low=0)
        if isinstance(self.regularization_scaling, str):
            check_choice("regularization_scaling", self.regularization_scaling, ("constant", "count"), "or a number")
        else:
            check_real("regularization_scaling", self.regularization_scaling, low=0)
        check_int("iterations", self.iterations, low=0, high=MAX_ITERATIONS)
        check_choice("solver", self.solver, ("auto", "cholesky", "cg", "lapack"))
        if check_bool("nonnegative", self.nonnegative) and self.solver in ("cg", "lapack"):
            raise ParameterError(
                f"solver must be 'auto' or 'cholesky' with nonnegative=True, got {self.solver!r}: "
                "nonnegative rows have one solver, which is exact"
            )
        if self.preset is not None:
            check_choice("preset", self.preset, _preset_names(self), "or None")
        check_choice("dtype", np.dtype(self.dtype).name, ("float32", "float64"))
        resolve_num_threads(self.num_threads)
        check_random_state(self.random_state)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Make a model that computes what another library's ALS computes: the same equation, order and defaults.

        From the same initial factors the library's factors come out, but for rounding; its random numbers do not.

        Parameters
        ----------
        name : str
            ExplicitALS: "spark", "cmfrec", "lenskit". ImplicitALS: "spark", "implicit", "cmfrec", "irspack",
            "irspack-original" (``loss_type="ORIGINAL"``), "lenskit", "lenskit-ratings" (``use_ratings=True``),
            "buffalo".
        **overrides
            Parameters of the constructor, instead of the library's defaults.

        Returns
        -------
        the model, not fitted

        Raises
        ------
        ParameterError, ArgumentTypeError

        Examples
        --------
        >>> import fastals
        >>> fastals.ExplicitALS.from_preset("spark", factors=16)
        ExplicitALS(factors=16, regularization_scaling='count', iterations=10, solver='cholesky', preset='spark')
        """
        check_choice("name", name, _preset_names(cls))
        return cls(**{**cls._presets[name].parameters, "solver": "cholesky", "preset": name, **overrides})

    # -- the row equation ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _cell_weights(self) -> CellWeights:
        """What this model's stored values add to a row's system."""

    @property
    def _preset(self) -> Preset:
        return self._presets[self.preset]

    @property
    def _joint_biases(self) -> bool:
        """Whether biases are solved for with the factors, as one more column."""
        return False

    def _transform(self, values: FactorArray) -> FactorArray:
        """What the row equation takes for r; the sign stays."""
        return values

    def _row_regularization(self, axis: Axis, counts: NDArray[Any], n_other: int) -> NDArray[np.float64]:
        """lambda_u for rows of ``counts`` cells."""
        regularization = check_pair_or_real("regularization", self.regularization, low=0)[axis == "items"]
        scaling = self.regularization_scaling
        if scaling == "constant":
            size: NDArray[np.float64] = np.ones(len(counts))
        elif scaling == "count":
            size = counts.astype(np.float64)
        else:
            size = np.power(counts + self._cell_weights().unobserved * n_other, float(scaling), dtype=np.float64)
        return regularization * size

    def _rows(
        self, axis: Axis, data: Interactions, twin: Interactions | None, dtype: Any, num_threads: int | None
    ) -> Rows:
        """The cells of each user or item, as the sweeps read them; ``twin`` holds their weights."""
        (indptr, indices, values), *scale = (
            part.arrays(dtype, num_threads=num_threads)
            if axis == "users"
            else part.transpose_arrays(dtype, num_threads=num_threads)
            for part in (data, twin)
            if part is not None
        )
        return Rows(indptr, indices, self._transform(values), scale[0][2] if scale else None)

    def _side(
        self, axis: Axis, rows: Rows, factors: FactorArray, others: FactorArray, counts: NDArray[np.int64] | None = None
    ) -> Side:
        regularization = partial(self._row_regularization, axis)
        return Side(rows, factors, others, self._cell_weights(), regularization, counts, biased=self._joint_biases)

    @property
    def _exact_solver(self) -> str:
        return "nnls" if self.nonnegative else "lapack" if self.solver == "lapack" else "cholesky"

    def _sweep_solver(self, last: bool) -> str:
        """The solver of a half-sweep; ``last``: no other follows.

        Without regularization a row's matrix may be singular, where steps along null directions are steps into nowhere.
        """
        if self.nonnegative:
            return "nnls"
        regularized = min(check_pair_or_real("regularization", self.regularization, low=0)) > 0
        if self.solver == "auto":
            return "cholesky" if self.factors < CG_PAYS_FROM or last or not regularized else "cg"
        if self.solver == "cg":
            return "cg" if regularized else "cholesky"
        return self.solver

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
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

        (Some presets solve the items first.)

        Parameters
        ----------
        data : Interactions, sparse matrix, tuple of arrays or data frame
            A scipy.sparse matrix or array of shape (n_users, n_items): rows are users, always. ``(users, items)`` or
            ``(users, items, values)``: arrays of labels. A data frame with user, item and value columns.
        y : array of shape (n,), optional
            Values, where ``data`` is an array of shape (n, 2) with a user and an item in each row: scikit-learn's form.
        sample_weight : array of shape (n,), optional
            A finite weight >= 0 for each observation: each event, row of the frame, element of a CSR, CSC or COO
            matrix' ``data`` or of Interactions' ``values``. What a cell adds to the objective, and to its row's count,
            is multiplied by it: weight 2 is the cell twice, weight 0 a cell that is not stored. Repeated cells stay
            observations of their own (``duplicates="keep"``), since each has a weight.
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
        data = with_values(data, y)
        self._check_params()
        check_bool_or_none("progress", progress)
        check_callable_or_none("callback", callback)
        interactions, twin = as_observations(
            data,
            sample_weight,
            duplicates=self._preset.duplicates,
            dtype=np.dtype(self.dtype).name,
            num_threads=resolve_num_threads(self.num_threads),
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
        if self._joint_biases:
            X, Y = (np.column_stack((factors, np.zeros(len(factors), factors.dtype))) for factors in (X, Y))
        training = Training(X, Y)
        if checkpoint is not None:
            identity = self._identity(interactions, twin, training, watch, initial_factors)
            saved = Checkpoint(checkpoint, checkpoint_every, *identity)
        iterate = self._iteration(interactions, twin, training)
        if saved is not None:
            saved.restore(training)
        fitted = copy.copy(self)
        fitted._remember(interactions, twin, self.dtype)
        train(
            iterate,
            training,
            iterations=self.iterations,
            validation=watch,
            measured=lambda: fitted._adopt(training),
            callback=callback,
            checkpoint=saved,
            progress=progress,
        )
        self._remember(interactions, twin, self.dtype)
        self._adopt(training)
        self.loss_history_ = [loss for loss, _ in training.history]
        self.metrics_history_ = [dict(metrics) for _, metrics in training.history] if watch else []
        self.n_iter_ = len(training.history)
        self.best_iteration_ = training.best_iteration if watch else None
        self.scoring_ = interactions.scoring
        return self

    def _adopt(self, training: Training) -> Self:
        """Take what training works on as this model's own."""
        X, Y, biases = training.X, training.Y, training.biases
        if self._joint_biases:
            biases = X[:, -1].copy(), Y[:, -1].copy()
            X, Y = (np.ascontiguousarray(factors[:, :-1]) for factors in (X, Y))
        return self._set_factors(X, Y, training.mean, biases)

    def _set_factors(self, X: FactorArray, Y: FactorArray, mean: float, biases: Biases) -> Self:
        self.user_factors_, self.item_factors_, self._mean, self._biases = X, Y, mean, biases
        self._forget_derived()
        return self

    def _identity(
        self,
        data: Interactions,
        twin: Interactions | None,
        training: Training,
        validation: Validation | None,
        initial_factors: Any,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What a checkpoint must have in common with the fit that goes on from it: parameters and fingerprints."""
        parameters = {"class": type(self).__name__}
        parameters |= {name: plain(value) for name, value in self.get_params().items()}
        del parameters["num_threads"], parameters["random_state"]
        digests = {"data": digest_of(data), "sample_weight": digest(twin.values) if twin else ""}
        if initial_factors is not None or self.random_state is not None:
            digests["initial factors or random_state"] = digest(training.X, training.Y)
        digests["validation"] = validation.digest() if validation else ""
        return parameters, digests

    def _draw_factors(self, shape: tuple[int, int]) -> tuple[FactorArray, FactorArray]:
        rng, dtype = check_random_state(self.random_state), np.dtype(self.dtype)
        users, items = (self._preset.start(rng, (n, self.factors), dtype) for n in shape)
        return (np.abs(users), np.abs(items)) if self.nonnegative else (users, items)

    def _offsets(self, rows: Rows, columns: Rows) -> tuple[Rows, Rows, float, Biases]:
        """Rows and columns less what is fixed beforehand, the global mean to start from, and the biases if fixed."""
        return rows, columns, 0.0, None

    def _iteration(self, data: Interactions, twin: Interactions | None, training: Training) -> Callable[[bool], float]:
        """Set both sides up; one call is one iteration on the factors of ``training``, and returns its objective."""
        X, Y = training.X, training.Y
        threads = resolve_num_threads(self.num_threads)
        rows, columns = (self._rows(axis, data, twin, self.dtype, threads) for axis in AXES)
        rows, columns, training.mean, training.biases = self._offsets(rows, columns)
        users = self._side("users", rows, X, Y, columns.counts(False))
        items = self._side("items", columns, Y, X, rows.counts(False))
        first, second = (users, items) if self._preset.last == "items" else (items, users)
        fixed = 0.0 if self._joint_biases else second.constant(training.mean)

        def iterate(last: bool) -> float:
            iteration = len(training.history) + 1
            before, training.before = training.before, None
            if before is not None:
                # not in the iteration before: up to here X and Y were a model, one side solved, of the loss reported
                before -= second.factors
                before *= -relaxation(iteration - 1)
                second.factors[:] += before
            relaxed = self.solver == "auto" and not last and self._sweep_solver(last) == "cg"
            beyond = relaxation(iteration) if relaxed else 0.0
            first.solve(self._sweep_solver(last=False), threads, beyond, training.mean)
            if self._joint_biases and not self._preset.center:
                training.mean += first.level()
            before = second.factors.copy() if relaxed else None
            decrease = second.solve(self._sweep_solver(last), threads, mean=training.mean)
            training.before = before
            # with the second side solved, cells and its penalty amount to -decrease: no pass over them is needed
            constant = second.constant(training.mean) if self._joint_biases else fixed
            return constant + first.penalty() - decrease

        return iterate

    # -- rows that were not there -------------------------------------------------------------------------------------

    def fold_in(self, data: Any, *, sample_weight: Any = None) -> FactorArray:
        """Factors of new users from their histories, with the items' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            One row per new user. A matrix has the model's items as columns; labelled data may name items that the model
            does not know: they are passed over.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_new_users, factors), or (n_new_users, factors + 1) from a model with biases
            The last column then holds the users' biases. In the order of the data's users (a matrix: its rows; labels:
            ascending). Exact solutions of the row equation: the history of a training user gives what one more
            half-sweep would give that user.

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
        return self._solve_new("users", data, sample_weight, items=self._items)

    def _fold_in_queries(self, histories: Any) -> tuple[FactorArray, ItemLists]:
        data, _ = as_observations(histories, None, duplicates=self._preset.duplicates, items=self._items)
        return self._query_rows(self.fold_in(data)), ItemLists.of_rows(data.indptr, data.indices)

    def fold_in_items(self, data: Any, *, sample_weight: Any = None) -> FactorArray:
        """Factors of new items from their histories, with the users' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            Rows are users: a matrix has the model's users as rows and one column per new item.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_new_items, factors), or (n_new_items, factors + 1) from a model with biases
            The last column then holds the items' biases. In the order of the data's items.

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
        return self._solve_new("items", data, sample_weight, users=self._users)

    def _solve_new(self, axis: Axis, data: Any, sample_weight: Any, **known: Any) -> FactorArray:
        """Exact rows for new users or items."""
        others = self.item_factors_ if axis == "users" else self.user_factors_
        histories, twin = as_observations(data, sample_weight, duplicates=self._preset.duplicates, **known)
        rows, bias = self._new_offsets(axis, self._rows(axis, histories, twin, others.dtype, None))
        if self._joint_biases and self._biases is not None:
            others = np.column_stack((others, self._biases[axis == "users"]))
        # of the factors' own shape and dtype: set_params may have changed the model's since fit
        out: FactorArray = np.zeros((len(rows.indptr) - 1, others.shape[1]), others.dtype)
        with single_threaded_blas():
            self._side(axis, rows, out, others).solve(self._exact_solver, self._threads(), mean=self._mean)
        return out if bias is None else np.column_stack((out, bias))

    def _new_offsets(self, axis: Axis, rows: Rows) -> tuple[Rows, FactorArray | None]:
        """New rows less what was fixed before the training, and their biases where those are fixed."""
        return rows, None

    def partial_fit(
        self, data: Any, *, sample_weight: Any = None, duplicates: str | None = None, passes: int = 2
    ) -> Self:
        """Take in new events, users and items, and solve the rows they touch again, all others staying as they are.

        The events are merged with the history that the model holds: no need to hand that in again. Then, ``passes``
        times, each user with a new event is solved exactly from all their cells, given the items' factors, and after
        them each item with a new event (or the items first, with a preset whose users are solved last). New users and
        items start from zeros, so that in the first pass a user is told by the known items alone; users and items that
        occur with nothing known stay at zero until the next ``fit``.

        Parameters
        ----------
        data : as for :meth:`fit`
            New users and items are appended behind the known ones, whose indices do not change. Without labels: a
            matrix with at least as many rows and columns as the model has users and items, or indices of which new ones
            follow without a gap.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`. Where either the history or the events have weights, the others weigh 1.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}, optional
            What becomes of several values for one user and item, the stored one coming first. By default "keep" where
            the training data hold such cells or weights; else implicit feedback adds ("sum") and a rating is replaced
            ("last"). Cells with weights can only be kept.
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
        history, weights = self._history()
        check_int("passes", passes, low=1)
        events, event_weights = as_observations(data, sample_weight, duplicates="keep")
        weighted = weights is not None or event_weights is not None
        if duplicates is None:
            duplicates = "keep" if weighted or has_repeats(history) else self._merge_policy
        check_choice("duplicates", duplicates, ("keep",) if weighted else DUPLICATES)
        users = self._users.grown("users", events.user_labels)
        items = self._items.grown("items", events.item_labels)
        merged = append(history, events, users, items, duplicates)
        twin = None
        if weighted:
            twin = append(weights or ones_like(history), event_weights or ones_like(events), users, items, "keep")
        touched_users = users[1][np.flatnonzero(np.diff(events.indptr))]
        touched_items = np.unique(items[1][events.indices])
        X, Y = (
            np.concatenate((factors, np.zeros((len(labels) - len(factors), factors.shape[1]), factors.dtype)))
            for factors, (labels, _) in zip(self._columns(), (users, items), strict=True)
        )
        threads = self._threads()
        rows, columns = (self._rows(axis, merged, twin, X.dtype, threads) for axis in AXES)
        rows, columns, biases = self._grown_offsets(rows, columns, touched_users, touched_items)
        turns = (self._side("users", rows, X, Y), touched_users), (self._side("items", columns, Y, X), touched_items)
        with single_threaded_blas():
            for _ in range(passes):
                for side, touched in turns if self._preset.last == "items" else turns[::-1]:
                    side.solve(self._exact_solver, threads, mean=self._mean, only=touched)
        check_finite_factors(X, Y)
        self._remember(merged, twin, X.dtype)
        return self._adopt(Training(X, Y, mean=self._mean, biases=biases))

    def _columns(self) -> tuple[FactorArray, FactorArray]:
        """Both sides as they are trained: biases that are solved for are a last column."""
        X, Y = self.user_factors_, self.item_factors_
        if self._joint_biases and self._biases is not None:
            X, Y = (np.column_stack(parts) for parts in zip((X, Y), self._biases, strict=True))
        return X, Y

    def _grown_offsets(
        self, rows: Rows, columns: Rows, users: NDArray[Any], items: NDArray[Any]
    ) -> tuple[Rows, Rows, Biases]:
        """Merged cells less what was fixed before the training; fixed biases anew for these users and items."""
        return rows, columns, None

    def _remember(self, data: Interactions, twin: Interactions | None, dtype: Any) -> None:
        """Keep the training cells: for lists where they are, for what works on histories their values too."""
        self._users, self._items = data.user_labels, data.item_labels
        indptr, indices, self._seen_values = data.arrays(dtype)
        self._seen = indptr, indices
        self._seen_weights = None if twin is None else twin.arrays(dtype)[2]

    def _history(self) -> tuple[Interactions, Interactions | None]:
        """The training data, and a twin that holds their weights if they have any."""
        check_fitted(self)
        if self._seen_values is None:
            raise NotFittedError("this model was saved without its history, which this needs: save(..., history=True)")
        data, twin = (
            None if values is None else Interactions._canonical((*self._seen, values), None, self._users, self._items)
            for values in (self._seen_values, self._seen_weights)
        )
        assert data is not None
        return data, twin

    # -- questions ----------------------------------------------------------------------------------------------------

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
            gram = self._derive("gram of items", lambda: _kernels.gram(Y, self._threads()))
        system = row_system(targets, Y, side.weights, float(side.lam[0]), gram)
        parts = contributions(*system, Y[target].astype(np.float64), self._free_entries(side))
        base = self._mean + (0.0 if own is None else float(own[0]))
        if self._biases is not None:
            base += float(self._biases[1][target])
        order = np.argsort(-parts, kind="stable")[:n]
        return Explanation(float(parts.sum() + base), self._items.decode(rows.indices[order]), parts[order], base)

    def diagnose(self) -> str:
        """Say how the model is, in a few lines of text.

        The loss and its parts; how far the rows are from exact solutions, how many systems were singular and fell back
        to the minimum norm, condition numbers of some; rows without cells and rows of zeros; how much of the lists the
        most popular items take up; and lines that begin with "!" where something looks wrong. It costs about an
        iteration.

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
            Held-out cells.

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
        '0.4 GB'
        """
        self._check_params()
        shape = check_int("n_users", n_users, low=1), check_int("n_items", n_items, low=1)
        held_out = check_int("validation", validation, low=0)
        return estimate(
            shape,
            check_int("nnz", nnz, low=1),
            k=self.factors + self._joint_biases,
            biased=self._joint_biases,
            dtype=np.dtype(self.dtype),
            num_threads=self._threads(),
            copies=self._value_copies,
            weighted=check_bool("sample_weight", sample_weight),
            relaxed=self.solver == "auto" and self._sweep_solver(False) == "cg",
            held_out=held_out,
            ranked=self._default_metric != "rmse",
        )

    @property
    def _value_copies(self) -> int:
        """Arrays of values that a fit makes beside the data's own."""
        return 0

    def _trained_sides(self) -> tuple[Side, Side]:
        """Both sides as they were trained."""
        X, Y = self._columns()
        data, twin = self._history()
        rows, columns = (self._rows(axis, data, twin, X.dtype, self._threads()) for axis in AXES)
        nobody = np.empty(0, np.intp)
        rows, columns, _ = self._grown_offsets(rows, columns, nobody, nobody)
        return self._side("users", rows, X, Y), self._side("items", columns, Y, X)

    def _free_entries(self, side: Side) -> NDArray[np.bool_] | slice:
        """Which entries of the solution of a side of one row no bound holds at zero."""
        if not self.nonnegative:
            return slice(None)
        with single_threaded_blas():
            side.solve(self._exact_solver, self._threads(), mean=self._mean)
        free: NDArray[np.bool_] = side.factors[0] > 0
        free[self.user_factors_.shape[1] :] = True  # a bias has any sign
        return free

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
        return self._rows("users", data, twin, self.item_factors_.dtype, None)

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
            mean=self._mean,
            biases=self._biases,
            seen_weights=self._seen_weights,
            scoring=self.scoring_,
        )

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> Self:
        return cls._from_state(read_state(content, tensors))

    @classmethod
    def _from_state(cls, state: ModelState) -> Self:
        model = cls(**state.parameters)
        model._users, model._items = state.users, state.items
        model._seen = state.seen_indptr, state.seen_indices
        model._seen_values, model._seen_weights = state.seen_values, state.seen_weights
        model.loss_history_, model.metrics_history_ = state.loss_history, state.metrics_history
        model.n_iter_, model.best_iteration_ = state.n_iter, state.best_iteration
        model.scoring_ = state.scoring
        return model._set_factors(state.user_factors, state.item_factors, state.mean, state.biases)


def _preset_names(model: type[ALS] | ALS) -> list[str]:
    return sorted(name for name in model._presets if name is not None)


class ExplicitALS(ALS):
    """Ratings: only the observed cells count.

    Minimises ``sum_observed w_ui (r_ui - x_u.y_i)^2 + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2``, w being the
    sample weights, 1 by default. With biases the score is ``mean + b_u + b_i + x_u.y_i`` ([2]_, equation 4), and the
    penalties are ``lambda_u (|x_u|^2 + b_u^2)``, likewise for items: each row is solved together with its bias, as one
    more factor against a column of ones, and the mean, which is free, takes what the biases share.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float or (float, float), default 0.1
        lambda; a pair is one for users, one for items.
    regularization_scaling : {"constant", "count"} or float, default "constant"
        lambda_u = lambda ("constant"), lambda n_u ("count": ALS-WR [1]_, Spark) or lambda n_u^v for a number v, where
        n_u counts the user's ratings, by weight; likewise for items.
    biases : bool, default False
        A global mean and a bias for each user and item.
    iterations : int, default 15
        Passes over both sides, users first.
    solver : {"auto", "cholesky", "cg", "lapack"}, default "auto"
        "cholesky" solves every row exactly, "cg" takes a few steps of conjugate gradients from where the row was.
        "auto" is what reaches a given loss soonest: below 32 factors "cholesky"; from there on "cg", each half-sweep
        going somewhat beyond its solutions (over-relaxation: half as many iterations), but for the last, which is
        exact. "lapack" is the slow twin of "cholesky".
    nonnegative : bool, default False
        No entry of either side's factors below zero: each row is the exact solution of its nonnegative least-squares
        problem, by block principal pivoting ([3]_). Biases may have any sign. Initial factors are drawn without signs.
    preset : str, optional
        What of another library's equation the other parameters cannot say; see :meth:`from_preset`, which sets it.
    dtype : {"float32", "float64"}, default "float32"
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.
    random_state : int, Generator or RandomState, optional
        Where the initial factors come from.

    Attributes
    ----------
    user_factors_ : array of shape (n_users, factors)
    item_factors_ : array of shape (n_items, factors)
        A user or an item without ratings has zeros.
    global_mean_ : float
        0 without biases.
    user_biases_, item_biases_ : array of shape (n_users,), (n_items,), or None
        A score is ``global_mean_ + user_biases_[u] + item_biases_[i] + user_factors_[u] @ item_factors_[i]``; without
        biases they are None.
    loss_history_ : list of float
        The objective after each iteration.
    metrics_history_ : list of dict
        What ``validation`` measured after each iteration; empty without.
    n_iter_ : int
        Iterations done.
    best_iteration_ : int or None
        The iteration that the factors are of, where ``validation`` chose it.
    scoring_ : dict or None
        How the scores that it was fitted on were made: see :mod:`fastals.scoring`.
    users_, items_ : array or None
        Labels in the order of the factors' rows, where the data had labels.

    References
    ----------
    .. [1] Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan. Large-scale parallel collaborative filtering for the Netflix
       prize. AAIM 2008, section 3.1.
    .. [2] Y. Koren, R. Bell, C. Volinsky. Matrix factorization techniques for recommender systems. Computer 42 (8),
       2009.
    .. [3] J. Kim, H. Park. Fast nonnegative matrix factorization: an active-set-like method and comparisons. SIAM J.
       Sci. Comput. 33 (6), 2011.

    Examples
    --------
    >>> import fastals
    >>> users, items, ratings = ["ann", "ann", "bob"], ["jazz", "rock", "rock"], [5, 1, 4]
    >>> model = fastals.ExplicitALS(factors=2, regularization=0.01, random_state=0).fit((users, items, ratings))
    >>> [round(float(r)) for r in model.predict(["ann", "bob"], ["jazz", "rock"])]
    [5, 4]
    """

    _presets = EXPLICIT
    _default_metric = "rmse"
    _merge_policy = "last"

    biases: bool

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.1,
        regularization_scaling: Literal["constant", "count"] | float = "constant",
        biases: bool = False,
        iterations: int = 15,
        solver: Literal["auto", "cholesky", "cg", "lapack"] = "auto",
        nonnegative: bool = False,
        preset: str | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        num_threads: int | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.regularization_scaling = regularization_scaling
        self.biases = biases
        self.iterations = iterations
        self.solver = solver
        self.nonnegative = nonnegative
        self.preset = preset
        self.dtype = dtype
        self.num_threads = num_threads
        self.random_state = random_state
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        check_bool("biases", self.biases)

    @property
    def global_mean_(self) -> float:
        """What every score starts from; 0 without biases."""
        check_fitted(self)
        return self._mean

    @property
    def user_biases_(self) -> FactorArray | None:
        """The bias of each user, or None."""
        check_fitted(self)
        return None if self._biases is None else self._biases[0]

    @property
    def item_biases_(self) -> FactorArray | None:
        """The bias of each item, or None."""
        check_fitted(self)
        return None if self._biases is None else self._biases[1]

    @property
    def _predicts_ratings(self) -> bool:
        return True

    def _cell_weights(self) -> CellWeights:
        return self._preset.cells(0.0, 1.0)

    @property
    def _joint_biases(self) -> bool:
        return self.biases and self._preset.damping is None

    def _offsets(self, rows: Rows, columns: Rows) -> tuple[Rows, Rows, float, Biases]:
        if not (self.biases or self._preset.center):
            return super()._offsets(rows, columns)
        mean, damping = rows.mean(), self._preset.damping
        if self._joint_biases:
            return rows, columns, mean, None
        if not self.biases or damping is None:
            return rows.less(mean), columns.less(mean), mean, None
        items = columns.less(mean).damped_means(damping)
        users = rows.less(mean, others=items).damped_means(damping)
        return rows.less(mean, users, items), columns.less(mean, items, users), mean, (users, items)

    def _new_offsets(self, axis: Axis, rows: Rows) -> tuple[Rows, FactorArray | None]:
        if self._joint_biases:
            return rows, None
        damping = self._preset.damping
        if self._biases is None or damping is None:
            return rows.less(self._mean) if self._mean else rows, None
        # items have their biases of the values alone, users of what the items' leave: so they were made
        others = self._biases[axis == "users"]
        own = rows.less(self._mean, others=others if axis == "users" else None).damped_means(damping)
        return rows.less(self._mean, own, others), own

    def _grown_offsets(
        self, rows: Rows, columns: Rows, users: NDArray[Any], items: NDArray[Any]
    ) -> tuple[Rows, Rows, Biases]:
        mean, damping = self._mean, self._preset.damping
        if self._joint_biases or not mean:
            return rows, columns, None
        if self._biases is None or damping is None:
            return rows.less(mean), columns.less(mean), None
        of_users, of_items = (
            np.concatenate((old, np.zeros(len(part.indptr) - 1 - len(old), old.dtype)))
            for old, part in zip(self._biases, (rows, columns), strict=True)
        )
        of_items[items] = columns.less(mean).damped_means(damping)[items]
        of_users[users] = rows.less(mean, others=of_items).damped_means(damping)[users]
        return rows.less(mean, of_users, of_items), columns.less(mean, of_items, of_users), (of_users, of_items)

    @property
    def _value_copies(self) -> int:
        return 2 * (self.biases or self._preset.center)

    def _make_scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        """[x, mean + b_u, 1] and [y, 1, b_i]."""
        X, Y = super()._make_scoring_factors()
        if self._biases is None and not self._mean:
            return X, Y
        users, items = self._biases or (np.zeros(len(factors), X.dtype) for factors in (X, Y))
        return self._scoring_rows(X, users), np.column_stack((Y, np.ones(len(Y), Y.dtype), items))

    def _scoring_rows(self, X: FactorArray, biases: FactorArray) -> FactorArray:
        return np.column_stack((X, biases + X.dtype.type(self._mean), np.ones(len(X), X.dtype)))

    def _query_rows(self, user_factors: Any) -> FactorArray:
        if self._biases is None and not self._mean:
            return super()._query_rows(user_factors)
        k, dtype = self.user_factors_.shape[1], self.user_factors_.dtype
        rows = check_query_factors(user_factors, k + (self._biases is not None), dtype)
        return self._scoring_rows(rows[:, :k], rows[:, k:].sum(axis=1))


class ImplicitALS(ALS):
    """Counts, plays, clicks: every cell counts, the observed ones more.

    Solves, for each user u with the items' factors Y fixed, and then the reverse ([1]_, equation 4),

        ``( w0 Y'Y + sum_i alpha |r_ui| y_i y_i' + lambda_u I ) x_u = sum_{i: r_ui > 0} (1 + alpha r_ui) y_i``

    over the stored cells of the row; sample weights multiply what a cell adds to either side. With w0 = 1 this
    minimises ``sum_all c_ui (p_ui - x_u.y_i)^2`` plus the penalties, with confidence c = 1 + alpha |r| and preference p
    = 1 where r > 0, else 0: a stored negative value says "not this" with confidence 1 + alpha |r|, a stored zero says
    as little as a cell that is not stored.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float or (float, float), default 0.01
        lambda; a pair is one for users, one for items.
    alpha : float, default 1.0
        How fast confidence grows with the stored value.
    confidence : {"linear", "log"}, default "linear"
        "log": r stands for sign(r) log(1 + |r| / epsilon) in these equations ([1]_, equation 6), which tames counts
        that span orders of magnitude.
    epsilon : float, default 1.0
        With "log": the value from which confidence bends.
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
    nonnegative : bool, default False
        No entry of either side's factors below zero: each row is the exact solution of its nonnegative least-squares
        problem, by block principal pivoting ([3]_). Biases may have any sign. Initial factors are drawn without signs.
    preset : str, optional
        What of another library's equation the other parameters cannot say; see :meth:`from_preset`, which sets it.
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
    scoring_ : dict or None
        How the scores that it was fitted on were made: see :mod:`fastals.scoring`.
    users_, items_ : array or None
        Labels in the order of the factors' rows, where the data had labels.

    References
    ----------
    .. [1] Y. Hu, Y. Koren, C. Volinsky. Collaborative filtering for implicit feedback datasets. ICDM 2008.
    .. [2] S. Rendle, W. Krichene, L. Zhang, Y. Koren. Revisiting the performance of iALS on item recommendation
       benchmarks. RecSys 2022.
    .. [3] J. Kim, H. Park. Fast nonnegative matrix factorization: an active-set-like method and comparisons. SIAM J.
       Sci. Comput. 33 (6), 2011.

    Examples
    --------
    >>> import fastals
    >>> from scipy.sparse import csr_array
    >>> plays = csr_array([[9, 4, 0, 0], [8, 0, 0, 0], [0, 0, 7, 5], [0, 0, 6, 0]])
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
    >>> model.recommend(1, n=1).items
    array([1], dtype=int32)
    """

    _presets = IMPLICIT
    _default_metric = "ndcg@10"
    _merge_policy = "sum"

    alpha: float
    confidence: Literal["linear", "log"]
    epsilon: float
    unobserved_weight: float

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.01,
        alpha: float = 1.0,
        confidence: Literal["linear", "log"] = "linear",
        epsilon: float = 1.0,
        regularization_scaling: Literal["constant", "count"] | float = "constant",
        unobserved_weight: float = 1.0,
        iterations: int = 15,
        solver: Literal["auto", "cholesky", "cg", "lapack"] = "auto",
        nonnegative: bool = False,
        preset: str | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        num_threads: int | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.confidence = confidence
        self.epsilon = epsilon
        self.regularization_scaling = regularization_scaling
        self.unobserved_weight = unobserved_weight
        self.iterations = iterations
        self.solver = solver
        self.nonnegative = nonnegative
        self.preset = preset
        self.dtype = dtype
        self.num_threads = num_threads
        self.random_state = random_state
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        check_real("alpha", self.alpha, low=0)
        check_choice("confidence", self.confidence, ("linear", "log"))
        check_real("epsilon", self.epsilon, low=0, low_open=True)
        check_real("unobserved_weight", self.unobserved_weight, low=0)

    def _cell_weights(self) -> CellWeights:
        return self._preset.cells(float(self.unobserved_weight), float(self.alpha))

    @property
    def _value_copies(self) -> int:
        return 2 * (self.confidence == "log" or self._preset.zeros_count)

    def _transform(self, values: FactorArray) -> FactorArray:
        if self.confidence == "log":
            values = np.copysign(np.log1p(np.abs(values) / values.dtype.type(self.epsilon)), values)
        if self._preset.zeros_count:
            values = np.where(values == 0, np.finfo(values.dtype).tiny, values)
        return values
