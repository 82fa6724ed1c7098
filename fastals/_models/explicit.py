"""ALS for ratings: only the observed cells count."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .._core import FactorArray
from .._equation import EXPLICIT, EXPLICIT_SCALING, RowEquation, RowSource, Settings, explicit_regularization, pair
from .._fitted import stored
from .als import ALS


@stored
class ExplicitALS(ALS):
    """Ratings: only the observed cells count.

    Minimises ``sum_observed w_ui (r_ui - x_u.y_i)^2 + sum_u lambda_u |x_u|^2 + sum_i lambda_i |y_i|^2``, w being the
    sample weights times those of user and item, 1 by default; a ``prior=`` of :meth:`fit` adds ``mu_u |x_u - m_u|^2``,
    likewise for items. With biases the score is ``mean + b_u + b_i + x_u.y_i`` ([2]_, equation 4), and the
    penalties are ``lambda_u |x_u|^2 + lambda_b b_u^2``, likewise for items: each row is solved together with its bias,
    as one more factor against a column of ones, and the mean, which is free, takes what the biases share.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float, (float, float) or "auto", default "auto"
        lambda; a pair is one for users, one for items. "auto" fits it to the data at ``fit``: 1.2 standard deviations
        of the ratings, by weight (1.2 where they are all the same; without biases the root mean square is what the
        factors have to explain), for the scaling 0.5. Factors that explain ratings of another unit have squares of that
        unit, and so has lambda. The numbers are fastals' own, made with four public data sets and met by eight. With
        another scaling that you give, the lambda of an average user and an average item is as with 0.5.
    regularization_scaling : {"auto", "constant", "count"} or float, default "auto"
        lambda_u = lambda ("constant"), lambda n_u ("count": ALS-WR [1]_, Spark) or lambda n_u^v for a number v, where
        n_u counts the user's ratings, by weight; likewise for items. "auto": 0.5, but "constant" where
        ``regularization`` is a number.
    biases : bool or "auto", default "auto"
        A global mean and a bias for each user and item. "auto": True, but with a preset False.
    bias_regularization : float, (float, float) or "auto", default "auto"
        The biases' lambda, a number of ratings: not scaled. "auto": 3, but ``regularization`` where that is a number.
        It needs no fitting to the data, since what a bias explains and what it costs are of the same unit.
    iterations : int, default 15
        Passes over both sides, users first, at most.
    tol : float, "auto" or None, default "auto"
        The first iteration that lowers the objective by less than this share is the last; None, 0: all are done.
        "auto": 0.0002 with ``solver="auto"`` and no preset, else None.
    solver : {"auto", "cholesky", "cg", "lapack"}, default "auto"
        "cholesky" solves every row exactly, "cg" takes a few steps of conjugate gradients from where the row was.
        "auto" is what reaches a given loss soonest: below 32 factors "cholesky"; from there on "cg", each half-sweep
        going somewhat beyond its solutions (over-relaxation: half as many iterations), but for the last, which is
        exact; in iterations 2 to 5 the sides are balanced, which changes no prediction and lowers the penalties.
        "lapack" is the slow twin of "cholesky".
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
    settings_ : dict
        What was meant by the parameters that may be "auto": ``regularization``, ``regularization_scaling``, ``biases``,
        ``bias_regularization``, ``tol``. The model keeps to these until the next ``fit``.
    prior_strength_ : (float, float) or None
        How strongly ``fit`` drew users and items to ``prior``.
    loss_history_ : list of float
        The objective after each iteration; the last is that of the model.
    metrics_history_ : list of dict
        What ``validation`` measured after each iteration; empty without.
    n_iter_ : int
        Iterations done.
    n_repeated_ : int
        Those that rounding had led up, and that were made once more, exactly, or taken back.
    best_iteration_ : int or None
        The iteration that the factors are of, where ``validation`` chose it.
    scoring_ : dict or None
        How the scores that it was fitted on were made: see :mod:`fastals.scoring`.
    users_, items_ : array or None
        Labels in the order of the factors' rows, where the data had labels.
    state_ : FittedState
        All that the last ``fit`` made, one immutable object: another one with each fit.

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

    _setting_names = ("regularization", "regularization_scaling", "biases", "bias_regularization", "tol")
    _rule_scaling = EXPLICIT_SCALING

    biases: Literal["auto"] | bool
    bias_regularization: Literal["auto"] | float | tuple[float, float]

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: Literal["auto"] | float | tuple[float, float] = "auto",
        regularization_scaling: Literal["auto", "constant", "count"] | float = "auto",
        biases: Literal["auto"] | bool = "auto",
        bias_regularization: Literal["auto"] | float | tuple[float, float] = "auto",
        iterations: int = 15,
        tol: Literal["auto"] | float | None = "auto",
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
        self.bias_regularization = bias_regularization
        self.iterations = iterations
        self.tol = tol
        self.solver = solver
        self.nonnegative = nonnegative
        self.preset = preset
        self.dtype = dtype
        self.num_threads = num_threads
        self.random_state = random_state
        self._check_params()

    def _resolve(self, rows: RowSource, columns: RowSource) -> Settings:
        settings, of_data = self._chosen()
        if "regularization" in of_data:
            scaling, centered = settings["regularization_scaling"], settings["biases"] or self._preset.center
            settings["regularization"] = explicit_regularization(rows, columns, scaling, centered=centered)
        return settings

    def _equation(self, settings: Settings) -> RowEquation:
        preset, biased = self._preset, bool(settings["biases"])
        joint = biased and preset.damping is None
        return RowEquation(
            weights=preset.cells(0.0, 1.0),
            factors=self.factors,
            regularization=pair(settings["regularization"]),
            scaling=settings["regularization_scaling"],
            solver=self.solver,
            nonnegative=self.nonnegative,
            last=preset.last,
            duplicates=preset.duplicates,
            centered=biased or preset.center,
            bias_regularization=pair(settings["bias_regularization"]) if joint else None,
            mean_is_free=joint and not preset.center,
            damping=preset.damping if biased else None,
        )

    @property
    def global_mean_(self) -> float:
        """What every score starts from; 0 without biases."""
        return self.state_.mean

    @property
    def user_biases_(self) -> FactorArray | None:
        """The bias of each user, or None."""
        biases = self.state_.biases
        return None if biases is None else biases[0]

    @property
    def item_biases_(self) -> FactorArray | None:
        """The bias of each item, or None."""
        biases = self.state_.biases
        return None if biases is None else biases[1]

    @property
    def _predicts_ratings(self) -> bool:
        return True
