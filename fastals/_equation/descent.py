"""The iterations of a fit: half-sweep by half-sweep, none of which is kept unless it helps, and the loss of each."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._core import NumericalError, kernels
from .balance import balance
from .sweep import relaxation
from .training import Training

BALANCED = range(2, 6)
"""Iterations at whose start the sides are balanced: later ones gain next to nothing."""
BALANCE_PAYS = 1e-5
"""Of the loss: what balancing must gain to be worth the turn."""

RELATIVE, OF_ZERO = {4: 1e-5, 8: 1e-12}, {4: 1e-7, 8: 1e-14}
"""How far a loss may be off, by the bytes of the dtype: a part of itself, and of the objective at zero factors."""
ROWS_ARE_OFF = {4: 16, 8: 1000}
"""By so many eps, at random, is what a row says it takes off the objective: the sums, and the condition of the row."""
RECOMPUTED_BELOW = 0.01
"""Of the objective at zero factors: a smaller loss is a difference of numbers too large for it."""


class Side(Protocol):
    """One side of the training, wherever its rows are: what a descent asks of it.

    Attributes
    ----------
    factors, before : opaque
        What its rows are, and what they were before the last solve where that was to be kept, else None. They are given
        back by :meth:`take`; nobody looks into them.
    rescued : sized
        The rows of the last solve that were solved in float64.
    spread : float
        Root of the sum of squares of what each row took off the objective, in the last solve.
    """

    factors: Any
    before: Any
    rescued: Sized
    spread: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the factors."""

    @property
    def n_rows(self) -> int:
        """How many rows it has."""

    @property
    def biased(self) -> bool:
        """Whether the last column holds biases."""

    def take(self, factors: Any, before: Any, held: Sequence[Any]) -> None:
        """Go on from these; what is written from now on goes nowhere where one of ``held`` is."""

    def look_at(self, other: Any) -> None:
        """Solve for the other side as it is now, and compute the loss with that."""

    def check(self) -> None:
        """Refuse factors that are no numbers."""

    def solve(
        self,
        solver: str,
        relaxation: float = 0.0,
        mean: float = 0.0,
        *,
        keep: float | None = None,
        constant: bool = False,
        weighted: bool = False,
    ) -> float:
        """One half-sweep; returns by how much the rows lower the objective, compared with zeros.

        With "cg", what is written goes beyond the solutions by ``relaxation`` times the step from the rows before.

        What is known to come next, so that it can be made while the rows are there: with ``keep``, what the rows were
        becomes ``before``, and :meth:`go_beyond` will be called with that number; ``constant`` of the same mean will be
        asked for; the ``weighted`` Gram matrix of what then are the rows, too.
        """

    def go_beyond(self, relaxation: float) -> None:
        """Go beyond the last solve by ``relaxation`` times the step from ``before``, which is used up."""

    def weighted_gram(self) -> NDArray[np.float64] | None:
        """F' diag(lambda) F of the factors without biases, in float64.

        None where nothing is regularized, or rows are drawn to means: these say how the axes lie.
        """

    def turn(self, matrix: NDArray[np.float64]) -> None:
        """Turn the rows; biases stay as they are."""

    def level(self) -> float:
        """Move what the biases share to the global mean, which is free, and return it.

        No prediction changes, and the penalty falls as far as it can. Where the share is zero, so are the sums of
        residuals, since a row's equation for its bias says: sum of weighted residuals = lambda bias. So ALS with
        this step has the minimum in the mean, too, as its fixed point. Of biases that are drawn to others the share is
        the mean of lambda bias + mu (bias - m), beside that of lambda + mu.
        """

    def penalty(self) -> float:
        """Sum of lambda_u |x_u|^2, of lambda b_u^2 for biases, and of mu_u |x_u - m_u|^2 for what rows are drawn to."""

    def prior_at_zero(self) -> float:
        """Sum of mu_u |m_u|^2: that of the penalty which rows of zeros have."""

    def constant(self, mean: float) -> float:
        """The objective at zero rows, but for penalties: sum of b^2 / (w0 + a) over the cells."""

    def at_zero(self, mean: float) -> float:
        """The objective where all is zero but the mean, but for penalties."""

    def loss(self, mean: float) -> float:
        """The objective without this side's and the other's penalties: one pass over the cells, in float64.

        Slower than what a half-sweep tells by the way, and as exact as float64 is.
        """


class Descent:
    """One iteration after the other on the factors of ``training``.

    Nothing that ``training`` holds is written to: an iteration goes to other rooms, which take the place of the old
    ones when it is done and has lowered the objective. So Ctrl-C leaves the last whole iteration, and no copy is made.

    Parameters
    ----------
    users, items : Side
        Of the factors of ``training``.
    users_last : bool
        The items are solved first.
    sweep, exact : str
        The solver of half-sweeps, and the exact one.
    automatic : bool
        Half-sweeps go beyond their solutions where ``sweep`` is "cg"; the sides are balanced; the last half-sweep is
        exact.
    signed : bool
        Factors may be negative.
    leveled : bool
        The global mean is free: what biases share is moved to it.
    """

    def __init__(
        self,
        training: Training,
        users: Side,
        items: Side,
        *,
        users_last: bool,
        sweep: str,
        exact: str,
        automatic: bool,
        signed: bool,
        leveled: bool,
    ) -> None:
        self.training, self.users, self.items, self.users_last = training, users, items, users_last
        self.first, self.second = (items, users) if users_last else (users, items)
        self.sweep, self.exact, self.automatic = sweep, exact, automatic
        self.signed, self.leveled = signed, leveled
        self.cells = self.second.at_zero(training.mean)
        """The objective where all factors are zero, biases too, but for the penalties of priors."""
        self.zero = self.cells + users.prior_at_zero() + items.prior_at_zero()
        """With these."""

    # -- the state ----------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Let both sides go on from what ``training`` holds."""
        X, Y = self.training.X, self.training.Y
        self._take((Y, X) if self.users_last else (X, Y), self.training.before)

    def _take(self, factors: tuple[Any, Any], before: Any) -> None:
        held = self.training.held()
        self.first.take(factors[0], None, held)
        self.second.take(factors[1], before, held)

    def _keep(self, mean: float) -> None:
        """Make the sides' factors those of ``training``."""
        training = self.training
        X, Y, before = self.users.factors, self.items.factors, self.second.before
        training.X, training.Y, training.mean, training.before = X, Y, mean, before

    def check(self) -> None:
        """Refuse factors of ``training`` that are no numbers."""
        self._restore()
        self.users.check()
        self.items.check()

    # -- an iteration -------------------------------------------------------------------------------------------------

    def iterate(self, last: bool) -> float | None:
        """One iteration; ``last``: no other follows. Returns the loss, or None where not even exact solves lower it."""
        self._restore()
        relaxed = self.automatic and not last and self.sweep == "cg"
        try:
            last_sweep = self.exact if self.automatic and last else self.sweep
            loss, mean = self._attempt(self.sweep, last_sweep, relaxed, self.automatic)
        except NumericalError:
            loss = mean = np.nan
        if self._risen(loss):
            # arithmetic has failed somewhere: back, and once more by the shortest way
            self.training.before = None
            self._restore()
            self.training.n_repeated += 1
            loss, mean = self._attempt(self.exact, self.exact, False, False)
            if self._risen(loss):
                if not self.training.history:
                    raise NumericalError(
                        f"the first iteration does not lower the objective: {self.first.dtype} is too narrow for these "
                        "data and this regularization; use dtype='float64', or more regularization"
                    )
                return None
        self._keep(mean)
        return loss

    def finish(self, loss: float) -> float:
        """Solve the side that is solved last exactly, once more; takes and returns the loss of the factors."""
        if not self.automatic or self.sweep == self.exact:
            return loss
        self._restore()
        mean = self.training.mean
        self.second.look_at(self.first)
        decrease = self.second.solve(self.exact, mean=mean, constant=True)
        after = self._loss(mean, decrease)
        if self._beyond(after, loss):
            return loss
        self._keep(mean)
        return after

    def _attempt(self, sweep: str, last: str, relaxed: bool, balanced: bool) -> tuple[float, float]:
        """An iteration of the sides; returns the loss and the mean."""
        iteration, mean = len(self.training.history) + 1, self.training.mean
        first, second = self.first, self.second
        if self.training.before is not None:
            # not in the iteration before: up to here X and Y were a model, one side solved, of the loss reported
            self.training.before = None
            second.go_beyond(relaxation(iteration - 1))
        if balanced and iteration in BALANCED:
            self._balance()
        first.look_at(second)
        beyond, weighted = relaxation(iteration) if relaxed else 0.0, self.automatic and iteration + 1 in BALANCED
        first.solve(sweep, beyond, mean, weighted=weighted)
        if self.leveled:
            mean += first.level()
        second.look_at(first)
        decrease = second.solve(last, mean=mean, keep=beyond if relaxed else None, constant=True, weighted=weighted)
        return self._loss(mean, decrease, last == "cg"), mean

    def _balance(self) -> None:
        """Balance both sides; they stay as they are where that gains nothing."""
        grams = self.first.weighted_gram(), self.second.weighted_gram()
        if grams[0] is None or grams[1] is None:
            return
        turn = balance(grams[0], grams[1], signed=self.signed)
        if turn is not None and turn.gain > BALANCE_PAYS * self.training.history[-1][0]:
            self.first.turn(turn.forth)
            self.second.turn(turn.back)

    # -- the objective ------------------------------------------------------------------------------------------------

    def _loss(self, mean: float, decrease: float, inexact: bool = False) -> float:
        """The objective after the second side was solved, whose rows tell by how much they lower it beside zeros.

        Computed anew from the cells, in float64, where rounding could show in that difference.
        """
        second = self.second
        constant = second.constant(mean) if second.biased else self.cells
        loss = constant + second.prior_at_zero() + self.first.penalty() - decrease
        doubt = ROWS_ARE_OFF[second.dtype.itemsize] * float(np.finfo(second.dtype).eps) * second.spread
        sound = loss >= RECOMPUTED_BELOW * self.zero and doubt <= self._rounding(loss) and not len(second.rescued)
        # steps from a bad start are differences of numbers as large as that start is bad; the rounding of many rows
        # averages out
        losses = [past for past, _ in self.training.history[-1:]]
        bad_start = max(loss, *losses) > self.zero if losses else second.n_rows <= kernels.PART_ROWS
        if not sound or (inexact and bad_start):
            loss = self._objective(mean)
        return loss

    def _objective(self, mean: float) -> float:
        """The objective of the sides' factors, in float64; the second side looks at the first."""
        penalties = self.first.penalty() + self.second.penalty()
        return self.second.loss(mean) + penalties

    def _rounding(self, loss: float) -> float:
        """What a loss may be off by."""
        size = self.second.dtype.itemsize
        return RELATIVE[size] * abs(loss) + OF_ZERO[size] * self.zero

    def _beyond(self, loss: float, reference: float) -> bool:
        """Whether a loss lies above another by more than rounding, or is no number."""
        return not loss <= reference + self._rounding(reference)

    def _risen(self, loss: float) -> bool:
        """Whether an iteration has led up: from the one before, or from the start."""
        if self.training.history:
            return self._beyond(loss, self.training.history[-1][0])
        # rows solved exactly lie below zeros; other starts than zeros may lie higher
        tried = (self.first.factors, self.second.factors), self.second.before
        self._restore()
        risen = self._beyond(loss, self.cells + self.first.prior_at_zero() + self.second.penalty())
        if risen:
            self.second.look_at(self.first)
            risen = self._beyond(loss, self._objective(self.training.mean))
        self._take(*tried)
        return risen
