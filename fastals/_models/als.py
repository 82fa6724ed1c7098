"""The base of both estimators: parameters, ``fit``, and methods that hand on to what answers from a fitted state."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from .._core import (
    AXES,
    ParameterError,
    check_bool,
    check_bool_or_none,
    check_callable_or_none,
    check_choice,
    check_int,
    check_random_state,
    resolve_num_threads,
)
from .._data import DUPLICATES, Interactions, as_observations
from .._equation import (
    Callback,
    Checkpoint,
    Preset,
    RowEquation,
    RowSource,
    Settings,
    check_setting,
    chosen,
    read_settings,
    train,
    unknown_equation,
)
from .._fitted import (
    FittedState,
    Tensors,
    duplicates_of,
    in_dtype,
    parts_of,
    read_row_weights,
    read_state,
)
from .estimator import Estimator, with_values
from .factor_model import FactorModel
from .fitting import Beginning, history_of, identity, prepare, row_weights_of
from .steady import Steady, steady_of
from .validation import Validation, check_validation_metric

if TYPE_CHECKING:
    from .._inspect import MemoryEstimate

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="ALS")

MAX_FACTORS, MAX_ITERATIONS = 16_384, 1_000_000
"""Beyond any use; without a bound a slip of the pen would ask for k x k matrices that no machine holds."""


class ALS(FactorModel, Estimator):
    """What both estimators share; use :class:`ExplicitALS` or :class:`ImplicitALS`."""

    _default_metric: ClassVar[str]
    _setting_names: ClassVar[tuple[str, ...]]
    """Parameters that may be "auto"."""
    _rule_scaling: ClassVar[float]

    factors: int
    regularization: Literal["auto"] | float | tuple[float, float]
    regularization_scaling: Literal["auto", "constant", "count"] | float
    iterations: int
    tol: Literal["auto"] | float | None
    solver: Literal["auto", "cholesky", "cg", "lapack"]
    nonnegative: bool
    preset: str | None
    dtype: Literal["float32", "float64"]
    random_state: int | np.random.Generator | np.random.RandomState | None

    # -- parameters ---------------------------------------------------------------------------------------------------

    def _check_params(self) -> None:
        check_int("factors", self.factors, low=1, high=MAX_FACTORS)
        for name in self._setting_names:
            check_setting(name, getattr(self, name))
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
        >>> model = fastals.ExplicitALS.from_preset("spark", factors=16)
        >>> model.regularization, model.regularization_scaling, model.solver
        (0.1, 'count', 'cholesky')
        """
        check_choice("name", name, _preset_names(cls))
        return cls(**{**cls._presets[name].parameters, "solver": "cholesky", "preset": name, **overrides})

    @property
    def _preset(self) -> Preset:
        return self._presets[self.preset]

    @property
    def _duplicates(self) -> str:
        return self._preset.duplicates

    def _chosen(self) -> tuple[Settings, set[str]]:
        """The settings of a fit as far as they do not depend on the data, and those that do."""
        given = {name: getattr(self, name) for name in self._setting_names}
        return chosen(given, scaling=self._rule_scaling, preset=self.preset, solver=self.solver)

    @abstractmethod
    def _resolve(self, rows: RowSource, columns: RowSource) -> Settings:
        """The settings of a fit on these cells."""

    @abstractmethod
    def _equation(self, settings: Settings) -> RowEquation:
        """The row equation of these parameters, with all settings resolved."""

    def _settled(self, data: Interactions) -> Self:
        """A new model like this one, with the numbers that the rule gives for these data, where it asks the rule."""
        model = type(self)(**self.get_params())
        settings, of_data = model._chosen()
        if of_data:
            equation, threads = model._equation(settings), self._threads()
            rows, columns = (equation.rows(axis, data, None, self.dtype, threads) for axis in AXES)
            model.set_params(**{name: value for name, value in model._resolve(rows, columns).items() if name != "tol"})
        return model

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        user_weight: Any = None,
        item_weight: Any = None,
        item_unobserved_weight: Any = None,
        duplicates: str | None = None,
        initial_factors: tuple[Any, Any] | None = None,
        prior: Self | None = None,
        prior_strength: float | tuple[float, float] | None = None,
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
        data : Interactions, sparse matrix, tuple of arrays, data frame or rows
            A scipy.sparse matrix or array of shape (n_users, n_items): rows are users, always. ``(users, items)`` or
            ``(users, items, values)``: arrays of labels; or rows of these, a list of tuples or an array of no value 0.
            A data frame: see :meth:`Interactions.from_frame`. :attr:`Interactions.known` is not trained on.
        y : array of shape (n,), optional
            Values, where ``data`` is scikit-learn's form, a user and an item in each row: an array, a list or a frame.
        sample_weight : array of shape (n,), optional
            A finite weight >= 0 for each observation: each event, row of the frame, element of a CSR, CSC or COO
            matrix' ``data`` or of Interactions' ``values``. What a cell adds to the objective, and to its row's count,
            is multiplied by it: weight 2 is the cell twice, weight 0 a cell that is not stored. Repeated cells stay
            observations of their own (``duplicates="keep"``), since each has a weight.
        user_weight, item_weight : mapping of labels to numbers, or array of shape (n_users,), (n_items,), optional
            A finite weight >= 0 of all that a user or an item adds to the objective, whether an event or the absence of
            one; where nothing is said, and for who comes later, 1. A cell weighs ``sample_weight`` times its user's
            times its item's, also in its rows' counts. An array is in the order of the factors' rows.
        item_unobserved_weight : likewise, optional
            Of implicit feedback: by what ``unobserved_weight`` is multiplied for each item; events weigh what they did.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}, optional
            What becomes of several values for one user and item, in the order of the data (of a matrix: as it stores
            them). By default implicit feedback is added ("sum") and the last of several ratings counts ("last"); with a
            preset as its library does. Cells with weights can only be kept. Interactions were merged when they were
            made; a model of ratings refuses those that were added up.
        initial_factors : (array of shape (n_users, factors), array of shape (n_items, factors)), optional
            Where to start; drawn from ``random_state`` otherwise. The users' part matters only with ``iterations=0``.
            Where biases are trained, these may be one more column of both.
        prior : model, optional
            A fitted model of the same class, number of factors and dtype, as that of the day before: the fit starts
            from it, and users and items that it knows, by label, are drawn to the vectors m that they have there. The
            objective has mu_u |x_u - m_u|^2 beside the ridge, likewise of items, and biases that are trained to biases.
            So vectors move as far as new events ask for, and what reads them (a search index, a model downstream) can
            keep what it has made of yesterday's; without it every fit finds axes of its own, which are as good. The
            sides are not balanced then. :meth:`partial_fit` keeps drawing the rows of this fit; rows that come later,
            and those of :meth:`fold_in`, are drawn to nothing.
        prior_strength : float or (float, float), optional
            mu_u / lambda_u; a pair is one for users, one for items. 1 by default: the pull to yesterday's vector is as
            strong as the ridge's to zero. 0: that side starts from there, and is drawn nowhere.
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
            True, and goes on when it returns False or None.
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
        KeyboardInterrupt
            Ctrl-C, but not as below: before the first iteration was whole; a second time; or in a fit that is a step of
            something larger, which then ends as a whole: the command line, :func:`fastals.tune`, a search or a
            cross-validation of scikit-learn. The model stays as it was.

        Warns
        -----
        UserWarning
            Ctrl-C ended training, as soon as the half-sweep under way was done. The model is fitted, ``n_iter_`` tells
            how far: with the factors of the best iteration where there is ``validation``, else those of the last whole
            iteration. Python interrupts the main thread alone: a fit in another one is stopped by its ``callback``.

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
        threads, dtype, ratings = self._threads(), np.dtype(self.dtype), self._predicts_ratings
        allowed = DUPLICATES if sample_weight is None else ("keep", "error")
        duplicates = self._merging(duplicates, data, allowed)
        interactions, twin = as_observations(
            data, sample_weight, duplicates=duplicates, ratings=ratings, dtype=dtype.name, num_threads=threads
        )
        weights = row_weights_of(interactions, dtype, ratings, user_weight, item_weight, item_unobserved_weight)
        steady, drawn_to = None, steady_of(self, prior, prior_strength)
        if drawn_to is not None:
            steady = Steady.of(drawn_to, self._equation(self._chosen()[0]), dtype, prior_strength, interactions)
        begins = steady is not None and initial_factors is None
        training = steady.begun() if steady and begins else self._beginning().of(interactions.shape, initial_factors)
        watch = saved = None
        if validation is not None:
            metric = check_validation_metric(validation_metric, self._default_metric)
            # what measuring needs is not to outlive it
            merging = ratings, duplicates
            watch = Validation(validation, metric, patience, interactions, lambda: state(), *merging, threads)
        elif patience is not None or validation_metric is not None:
            raise ParameterError("patience and validation_metric need validation=, the interactions to measure")
        if checkpoint is not None:
            told = initial_factors is not None or self.random_state is not None
            what = identity(self, interactions, twin, training if told else None, watch, steady, weights)
            saved = Checkpoint(checkpoint, checkpoint_every, *what)
        bare = replace(self._equation(self._chosen()[0]), row_weights=weights)
        more = steady, getattr(self, "unobserved_exponent", 0.0)
        settings, equation, priors, descent = prepare(
            bare, self._resolve, self._equation, interactions, twin, training, threads, *more
        )
        base: dict[str, Any] = {
            "equation": replace(equation, duplicates=duplicates),
            "users": interactions.user_labels,
            "items": interactions.item_labels,
            "pairs": in_dtype(interactions, dtype),
            "weights": None if twin is None else in_dtype(twin, dtype),
            "ratings": ratings,
            "parameters": self.get_params(),
            "settings": settings if steady is None else {**settings, "prior_strength": steady.strength},
            "scoring": interactions.scoring,
            "priors": priors,
        }

        def state(**outcome: Any) -> FittedState:
            return FittedState(**base, **parts_of(training, equation), **outcome)

        if saved is not None:
            saved.restore(training)
        train(
            descent,
            training,
            iterations=self.iterations,
            tol=settings["tol"],
            validation=watch,
            callback=callback,
            checkpoint=saved,
            progress=progress,
            keep=not self._cloned,
        )
        self._state = state(**history_of(training, measured=watch is not None)).sealed()
        self._cloned = False
        return self

    def _beginning(self) -> Beginning:
        """Where a fit begins."""
        biased, draw = self._equation(self._chosen()[0]).joint_biases, self._preset.start
        return Beginning(self.factors, np.dtype(self.dtype), biased, self.nonnegative, self.random_state, draw)

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
        from .._inspect import check, describe  # not every program asks

        model = copy(self)  # which keeps to its state, whatever is fitted meanwhile
        state = model.state_
        return describe(model, state, self._threads(), check(model))

    def estimate_memory(
        self,
        n_users: int,
        n_items: int,
        nnz: int,
        *,
        sample_weight: bool = False,
        validation: int = 0,
        known: int = 0,
        prior: bool = False,
    ) -> MemoryEstimate:
        """Say what :meth:`fit` will need at its peak, beside the data that the caller holds.

        Parameters
        ----------
        n_users, n_items, nnz : int
            Size of the data: users, items and stored cells.
        sample_weight : bool, default False
            Each cell has a weight, which ``user_weight`` and ``item_weight`` give it, too.
        validation : int, default 0
            Held-out cells, measured by the default metric.
        known : int, default 0
            Pairs that are known beside the cells, see :attr:`Interactions.known`.
        prior : bool, default False
            The fit is drawn to another model, which itself is counted with what the caller holds.

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
        from .._inspect import estimate

        self._check_params()
        equation = self._equation(self._chosen()[0])
        return estimate(
            equation,
            (check_int("n_users", n_users, low=1), check_int("n_items", n_items, low=1)),
            check_int("nnz", nnz, low=1),
            dtype=np.dtype(self.dtype),
            num_threads=self._threads(),
            weighted=check_bool("sample_weight", sample_weight),
            centered=self._predicts_ratings and (equation.joint_biases or equation.value_copies > 0),
            held_out=check_int("validation", validation, low=0),
            ranked=self._default_metric != "rmse",
            known=check_int("known", known, low=0),
            prior=check_bool("prior", prior),
        )

    # -- files --------------------------------------------------------------------------------------------------------

    @classmethod
    def _read(cls, content: Mapping[str, Any], tensors: Tensors) -> Self:
        """The model of a file; one of which it gives no settings can solve no row."""
        parts = read_state(content, tensors)
        found = parts.pop("settings")
        # versions that had no settings had no tol, and did all iterations
        model = cls(**({"tol": None} if found is None else {}) | parts["parameters"])
        settings = {} if found == {} else model._settings_of(found, parts["biases"] is not None)
        parts["parameters"] = model.get_params()
        equation = model._equation(settings) if settings else unknown_equation(model.factors)
        equation = replace(equation, duplicates=duplicates_of(content, equation.duplicates))
        X, Y = parts["user_factors"], parts["item_factors"]
        equation = replace(equation, row_weights=read_row_weights(tensors, len(X), len(Y), X.dtype))
        if any(prior and prior.means.shape[1] != equation.factors + equation.joint_biases for prior in parts["priors"]):
            raise ValueError("settings and tensors disagree about the columns of what rows are drawn to")
        model._state = FittedState(**parts, settings=settings, equation=equation, ratings=model._predicts_ratings)
        return model

    def _settings_of(self, found: Mapping[str, Any] | None, biased: bool) -> Settings:
        """The settings that a file holds; one of an older version has them as parameters, which are numbers there."""
        if found is not None:
            settings = read_settings(found, self._setting_names)
            if settings.get("biases", False) != biased:
                raise ValueError("settings and tensors disagree about biases")
            return settings
        settings, of_data = self._chosen()
        if of_data:
            raise ValueError("'settings' is missing in the metadata")
        return {**settings, "biases": biased} if "biases" in settings else settings


def _preset_names(model: type[ALS] | ALS) -> list[str]:
    return sorted(name for name in model._presets if name is not None)
