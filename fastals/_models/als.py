"""The base of both estimators: training on the row equation, and the model file."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core import (
    ArgumentTypeError,
    ParameterError,
    check_bool,
    check_bool_or_none,
    check_callable_or_none,
    check_factors,
    check_path,
    check_random_state,
    resolve_num_threads,
)
from .._data import Interactions, as_observations
from .._equation import (
    Callback,
    Checkpoint,
    Descent,
    FactorArray,
    Settings,
    Training,
    digest,
    digest_of,
    read_settings,
    train,
)
from .._topn import check_fitted
from .estimator import with_values
from .file import ModelState, Tensors, plain, read_state, save_model
from .fold_in import FoldIn
from .inspection import Inspection
from .row_equation import AXES
from .validation import Validation, check_validation_metric

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="ALS")


class ALS(FoldIn, Inspection):
    """What both estimators share; use :class:`ExplicitALS` or :class:`ImplicitALS`."""

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
            Where biases are trained, these may be one more column of both.
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
            iteration.

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
        fitted = copy.copy(self)  # this model stays as it was until all is well
        fitted.settings_ = self._chosen()[0]
        if initial_factors is None:
            X, Y = self._draw_factors(shape)
        else:
            biased = fitted._joint_biases
            X, Y = check_initial_factors(initial_factors, shape, self.factors, np.dtype(self.dtype), biased=biased)
        watch = saved = None
        if validation is not None:
            metric = check_validation_metric(validation_metric, self._default_metric)
            watch = Validation(
                validation,
                metric,
                patience,
                interactions,
                lambda training: copy.copy(fitted)._adopt(training),  # what measuring needs is not to outlive it
            )
        elif patience is not None or validation_metric is not None:
            raise ParameterError("patience and validation_metric need validation=, the interactions to measure")
        if fitted._joint_biases and X.shape[1] == self.factors:
            X, Y = (np.column_stack((factors, np.zeros(len(factors), factors.dtype))) for factors in (X, Y))
        training = Training(X, Y)
        if checkpoint is not None:
            identity = self._identity(interactions, twin, training, watch, initial_factors)
            saved = Checkpoint(checkpoint, checkpoint_every, *identity)
        descent = fitted._descent(interactions, twin, training)
        if saved is not None:
            saved.restore(training)
        fitted._remember(interactions, twin, self.dtype)
        train(
            descent,
            training,
            iterations=self.iterations,
            tol=fitted.settings_["tol"],
            validation=watch,
            callback=callback,
            checkpoint=saved,
            progress=progress,
        )
        self.settings_ = fitted.settings_
        self._remember(interactions, twin, self.dtype)
        self._adopt(training)
        self.loss_history_ = [loss for loss, _ in training.history]
        self.metrics_history_ = [dict(metrics) for _, metrics in training.history] if watch else []
        self.n_iter_ = len(training.history)
        self.n_repeated_ = training.n_repeated
        self.best_iteration_ = training.best_iteration or None
        self.scoring_ = interactions.scoring
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

    def _descent(self, data: Interactions, twin: Interactions | None, training: Training) -> Descent:
        """Set both sides and ``settings_`` up, for iterations on the factors of ``training``."""
        X, Y = training.X, training.Y
        threads = resolve_num_threads(self.num_threads)
        rows, columns = (self._rows(axis, data, twin, self.dtype, threads) for axis in AXES)
        self.settings_ = self._resolve(rows, columns)
        self._check_minimum("users", rows, data)
        rows, columns, training.mean, training.biases = self._offsets(rows, columns)
        return Descent(
            training,
            self._side("users", rows, X, Y, columns.counts(False)),
            self._side("items", columns, Y, X, rows.counts(False)),
            users_last=self._preset.last == "users",
            sweep=self._sweep_solver,
            exact=self._exact_solver,
            automatic=self.solver == "auto",
            signed=not self.nonnegative,
            leveled=self._joint_biases and not self._preset.center,
            num_threads=threads,
        )

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
            n_repeated=self.n_repeated_,
            best_iteration=self.best_iteration_,
            mean=self._mean,
            biases=self._biases,
            seen_weights=self._seen_weights,
            scoring=self.scoring_,
            settings=self.settings_,
        )

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> Self:
        return cls._from_state(read_state(content, tensors))

    @classmethod
    def _from_state(cls, state: ModelState) -> Self:
        # versions that had no settings had no tol, and did all iterations
        model = cls(**({"tol": None} if state.settings is None else {}) | state.parameters)
        model._users, model._items = state.users, state.items
        model._seen = state.seen_indptr, state.seen_indices
        model._seen_values, model._seen_weights = state.seen_values, state.seen_weights
        model.loss_history_, model.metrics_history_ = state.loss_history, state.metrics_history
        model.n_iter_, model.n_repeated_, model.best_iteration_ = state.n_iter, state.n_repeated, state.best_iteration
        model.scoring_ = state.scoring
        model.settings_ = model._settings_of(state)
        return model._set_factors(state.user_factors, state.item_factors, state.mean, state.biases)

    def _settings_of(self, state: ModelState) -> Settings:
        """The settings that a file holds; one of an older version has them as parameters, which are numbers there."""
        biased = state.biases is not None
        if state.settings is not None:
            settings = read_settings(state.settings, self._setting_names)
            if settings.get("biases", False) != biased:
                raise ValueError("settings and tensors disagree about biases")
            return settings
        settings, of_data = self._chosen()
        if of_data:
            raise ValueError("'settings' is missing in the metadata")
        return {**settings, "biases": biased} if "biases" in settings else settings

    # -- settings -----------------------------------------------------------------------------------------------------

    def _settled(self, data: Interactions) -> Self:
        """A new model like this one, with the numbers that the rule gives for these data, where it asks the rule."""
        model = type(self)(**self.get_params())
        if model._chosen()[1]:
            threads = resolve_num_threads(self.num_threads)
            rows, columns = (model._rows(axis, data, None, self.dtype, threads) for axis in AXES)
            model.set_params(**{name: value for name, value in model._resolve(rows, columns).items() if name != "tol"})
        return model


def check_initial_factors(
    factors: Any, shape: tuple[int, int], k: int, dtype: np.dtype[Any], *, biased: bool = False
) -> tuple[FactorArray, FactorArray]:
    """Return copies of (user_factors, item_factors) in ``dtype``, C-contiguous, to be trained in place.

    With ``biased`` both may have one more column.
    """
    if not isinstance(factors, tuple | list) or len(factors) != 2:
        raise ArgumentTypeError("initial_factors must be a pair (user_factors, item_factors)")
    if biased and all(np.shape(array) == (n, k + 1) for array, n in zip(factors, shape, strict=True)):
        k += 1
    X, Y = (
        check_factors(f"initial {axis} factors", array, (n, k), dtype)
        for axis, array, n in zip(("user", "item"), factors, shape, strict=True)
    )
    return X, Y
