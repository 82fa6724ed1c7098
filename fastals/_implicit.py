"""ALS for implicit feedback: every cell counts, the observed ones more."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ._als import ALS
from ._presets import IMPLICIT
from ._sweep import CellWeights, FactorArray
from ._validation import check_choice, check_real


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
