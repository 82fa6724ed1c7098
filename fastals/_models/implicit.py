"""ALS for implicit feedback: every cell counts, the observed ones more."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .._core import check_real
from .._equation import (
    IMPLICIT,
    IMPLICIT_SCALING,
    Cells,
    RowEquation,
    RowSource,
    Settings,
    implicit_regularization,
    pair,
    refuse_without_positive,
    unobserved_weight,
)
from .._fitted import stored
from .als import ALS


@stored
class ImplicitALS(ALS):
    """Counts, plays, clicks: every cell counts, the observed ones more.

    Solves, for each user u with the items' factors Y fixed, and then the reverse ([1]_, equation 4),

        ``( w0 Y'Y + sum_i alpha |r_ui| y_i y_i' + lambda_u I ) x_u = sum_{i: r_ui > 0} (1 + alpha r_ui) y_i``

    over the stored cells of the row; sample weights multiply what a cell adds to either side. (With weights p of users
    and q, c of items w0 p_u Y' diag(q c) Y stands for w0 Y'Y, and p_u q_i before what a cell adds; drawn to m_u by a
    ``prior=``, mu_u I comes to the left and mu_u m_u to the right.) With w0 = 1 this
    minimises ``sum_all c_ui (p_ui - x_u.y_i)^2`` plus the penalties, with confidence c = 1 + alpha |r| and preference p
    = 1 where r > 0, else 0: a stored negative value says "not this" with confidence 1 + alpha |r|, a stored zero says
    as little as a cell that is not stored.

    Parameters
    ----------
    factors : int, default 64
        k, the length of a user's and an item's vector.
    regularization : float, (float, float) or "auto", default "auto"
        lambda; a pair is one for users, one for items. "auto" fits it to the data at ``fit``: half of what singular
        values noise alone would have. With z pairs that have a cell of positive value, of m users and n items, b the
        root mean square of what a pair's cells add to the right-hand side, s (1 + alpha r) of weight s, this is
        ``b (sqrt(z/m) + sqrt(z/n)) / 2`` ([4]_; at most half the largest singular value that there is, so that toy data
        are not all noise), and lambda is what makes ``sqrt(lambda_u lambda_i)`` that for an average user and an average
        item: a direction that explains less than this is not learnt, others are shrunk by it ([5]_). The half is
        fastals' own, made with nine public data sets and met by nineteen; with ml-1m's ones it gives the .007 that
        [2]_ found by search.
    alpha : float, default 1.0
        How fast confidence grows with the stored value.
    confidence : {"auto", "linear", "log"}, default "auto"
        "log": r stands for sign(r) log(1 + |r| / epsilon) in these equations ([1]_, equation 6), which tames counts
        that span orders of magnitude. "auto": "log", but "linear" where ``regularization`` is a number.
    epsilon : float, default 1.0
        With "log": the value from which confidence bends.
    regularization_scaling : {"auto", "constant", "count"} or float, default "auto"
        lambda_u = lambda ("constant"), lambda n_u ("count", as Spark) or lambda (n_u + w0 n_items)^v for a number v
        ([2]_, equation 13), where n_u counts the user's cells of positive value; likewise for items. "auto": 1.0, but
        "constant" where ``regularization`` is a number.
    unobserved_weight : float or "auto", default "auto"
        w0, the weight of every cell. Smaller values trust the absence of an event less. "auto": five times the share of
        the users who have the item of a typical event, ``5 sum_i d_i^2 / (z m)`` with d_i the pairs of item i, at most
        1: the fewer know even what is popular, the less does absence mean. But 1 where ``regularization`` is a number.
    unobserved_exponent : float, default 0
        Above 0, an item weighs ``w0 c_i`` where there is no event, c_i growing with a power of its popularity, its f_i
        events: ``c_i = n_items f_i^e / sum_j f_j^e``, so that w0 is the mean. Who has not met what everybody knows has
        passed it over, who has not met what nobody knows has not seen it ([6]_, equation 8: 0.5 there). The common term
        is w0 Y' diag(c) Y then, and an item's own w0 c_i X'X; cells with events stay as they are.
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
        A score is ``user_factors_[u] @ item_factors_[i]``. A user or an item without cells has zeros.
    settings_ : dict
        What was meant by the parameters that may be "auto": ``regularization``, ``regularization_scaling``,
        ``unobserved_weight``, ``confidence``, ``tol``. The model keeps to these until the next ``fit``.
    prior_strength_ : (float, float) or None
        How strongly ``fit`` drew users and items to ``prior``.
    loss_history_ : list of float
        The objective after each iteration: ``w0 sum_all s^2 + sum_stored [a s^2 - 2 b s + b^2 / (w0 + a)]`` plus the
        penalties, s the score, a = alpha |r|, b = 1 + alpha r where r > 0. With weights of users p and items q and c_i
        for what is not observed, w0 p_u q_i c_i stands for w0, p_u q_i a for a and p_u q_i b for b; a ``prior=`` adds
        mu |x - m|^2 to the penalties.
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
    .. [1] Y. Hu, Y. Koren, C. Volinsky. Collaborative filtering for implicit feedback datasets. ICDM 2008.
    .. [2] S. Rendle, W. Krichene, L. Zhang, Y. Koren. Revisiting the performance of iALS on item recommendation
       benchmarks. RecSys 2022.
    .. [3] J. Kim, H. Park. Fast nonnegative matrix factorization: an active-set-like method and comparisons. SIAM J.
       Sci. Comput. 33 (6), 2011.
    .. [4] A. Bandeira, R. van Handel. Sharp nonasymptotic bounds on the norm of random matrices with independent
       entries. Annals of Probability 44 (4), 2016.
    .. [5] N. Srebro, J. Rennie, T. Jaakkola. Maximum-margin matrix factorization. NIPS 2004, lemma 1.
    .. [6] X. He, H. Zhang, M.-Y. Kan, T.-S. Chua. Fast matrix factorization for online recommendation with implicit
       feedback. SIGIR 2016.

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

    _setting_names = ("regularization", "regularization_scaling", "unobserved_weight", "confidence", "tol")
    _rule_scaling = IMPLICIT_SCALING

    alpha: float
    confidence: Literal["auto", "linear", "log"]
    epsilon: float
    unobserved_weight: Literal["auto"] | float
    unobserved_exponent: float

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: Literal["auto"] | float | tuple[float, float] = "auto",
        alpha: float = 1.0,
        confidence: Literal["auto", "linear", "log"] = "auto",
        epsilon: float = 1.0,
        regularization_scaling: Literal["auto", "constant", "count"] | float = "auto",
        unobserved_weight: Literal["auto"] | float = "auto",
        unobserved_exponent: float = 0.0,
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
        self.alpha = alpha
        self.confidence = confidence
        self.epsilon = epsilon
        self.regularization_scaling = regularization_scaling
        self.unobserved_weight = unobserved_weight
        self.unobserved_exponent = unobserved_exponent
        self.iterations = iterations
        self.tol = tol
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
        check_real("epsilon", self.epsilon, low=0, low_open=True)
        check_real("unobserved_exponent", self.unobserved_exponent, low=0)

    def _resolve(self, rows: RowSource, columns: RowSource) -> Settings:
        settings, of_data = self._chosen()
        cells = Cells.of(rows, columns, positive_only=True)
        if not cells.z:
            refuse_without_positive(rows.n_cells)
        if "unobserved_weight" in of_data:
            settings["unobserved_weight"] = unobserved_weight(cells)
        if "regularization" in of_data:
            weights = self._preset.cells(settings["unobserved_weight"], float(self.alpha))
            scaling = settings["regularization_scaling"]
            settings["regularization"] = implicit_regularization(rows, columns, cells, weights, scaling)
        return settings

    def _equation(self, settings: Settings) -> RowEquation:
        preset = self._preset
        return RowEquation(
            weights=preset.cells(settings["unobserved_weight"], float(self.alpha)),
            factors=self.factors,
            regularization=pair(settings["regularization"]),
            scaling=settings["regularization_scaling"],
            solver=self.solver,
            nonnegative=self.nonnegative,
            last=preset.last,
            duplicates=preset.duplicates,
            bend=float(self.epsilon) if settings["confidence"] == "log" else None,
            zeros_count=preset.zeros_count,
        )
