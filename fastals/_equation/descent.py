"""The iterations of a fit: half-sweep by half-sweep, none of which is kept unless it helps, and the loss of each."""

from __future__ import annotations

import numpy as np

from .._core import FactorArray, NumericalError, kernels
from .balance import balance, weighted_gram
from .sweep import Side, relaxation
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


class Descent:
    """One iteration after the other on the factors of ``training``.

    Nothing that ``training`` holds is written to: an iteration goes to other arrays, which take the place of the old
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
        num_threads: int,
    ) -> None:
        self.training, self.users_last = training, users_last
        self.first, self.second = (items, users) if users_last else (users, items)
        self.sweep, self.exact, self.automatic = sweep, exact, automatic
        self.signed, self.leveled, self.num_threads = signed, leveled, num_threads
        self.zero = self.second.at_zero(training.mean, num_threads)
        """The objective where all factors are zero; biases, too."""
        self._spare: list[FactorArray] = []

    # -- the state ----------------------------------------------------------------------------------------------------

    def _factors(self) -> tuple[FactorArray, FactorArray]:
        """Of the side solved first, and of the other."""
        X, Y = self.training.X, self.training.Y
        return (Y, X) if self.users_last else (X, Y)

    def _restore(self) -> None:
        """Point both sides at what ``training`` holds."""
        self.first.factors, self.second.factors = self._factors()
        self.first.others, self.second.others = self.second.factors, self.first.factors

    def _keep(self, mean: float, before: FactorArray | None) -> None:
        """Make the sides' factors those of ``training``."""
        old = [*self._factors(), self.training.before]
        X, Y = self.first.factors, self.second.factors
        if self.users_last:
            X, Y = Y, X
        self.training.X, self.training.Y, self.training.mean, self.training.before = X, Y, mean, before
        held = (X, Y, before)
        self._spare += [array for array in old if array is not None and all(array is not other for other in held)]

    def _room(self, like: FactorArray, *taken: FactorArray) -> FactorArray:
        """An array of this shape that nobody else holds."""
        for at, array in enumerate(self._spare):
            if array.shape == like.shape and all(array is not other for other in taken):
                return self._spare.pop(at)
        return np.empty_like(like)

    # -- an iteration -------------------------------------------------------------------------------------------------

    def iterate(self, last: bool) -> float | None:
        """One iteration; ``last``: no other follows. Returns the loss, or None where not even exact solves lower it."""
        self._restore()
        relaxed = self.automatic and not last and self.sweep == "cg"
        try:
            last_sweep = self.exact if self.automatic and last else self.sweep
            loss = self._attempt(self.sweep, last_sweep, relaxed, self.automatic)
        except NumericalError:
            loss = np.nan
        if self._risen(loss):
            # arithmetic has failed somewhere: back, and once more by the shortest way
            self.training.before = None
            self._restore()
            self.training.n_repeated += 1
            loss = self._attempt(self.exact, self.exact, False, False)
            if self._risen(loss):
                self._restore()
                if not self.training.history:
                    raise NumericalError(
                        f"the first iteration does not lower the objective: {self._factors()[0].dtype} is too narrow "
                        "for these data and this regularization; use dtype='float64', or more regularization"
                    )
                return None
        self._keep(self._mean, self._before)
        return loss

    def finish(self, loss: float) -> float:
        """Solve the side that is solved last exactly, once more; takes and returns the loss of the factors."""
        if not self.automatic or self.sweep == self.exact:
            return loss
        self._restore()
        mean = self.training.mean
        decrease = self.second.solve(self.exact, self.num_threads, mean=mean, out=self._room(self.second.factors))
        after = self._loss(mean, decrease)
        if self._beyond(after, loss):
            self._restore()
            return loss
        self._keep(mean, None)
        return after

    def _attempt(self, sweep: str, last: str, relaxed: bool, balanced: bool) -> float:
        """An iteration into other arrays than ``training`` holds; the sides point at them afterwards."""
        iteration, threads = len(self.training.history) + 1, self.num_threads
        start, carried = self._factors()
        mean, before = self.training.mean, self.training.before
        if before is not None:
            # not in the iteration before: up to here X and Y were a model, one side solved, of the loss reported
            before -= carried
            before *= -relaxation(iteration - 1)
            before += carried
            carried = before
            self.training.before = None
        room = self._room(self.first.factors)
        if balanced and iteration in BALANCED:
            start, carried = self._balanced(start, carried, room)
        self.first.others = carried
        self.first.solve(sweep, threads, relaxation(iteration) if relaxed else 0.0, mean, start=start, out=room)
        if self.leveled:
            mean += self.first.level()
        self.second.others = self.first.factors
        room = self._room(self.second.factors, carried)
        decrease = self.second.solve(last, threads, mean=mean, start=carried, out=room)
        self._mean, self._before = mean, carried if relaxed else None
        return self._loss(mean, decrease, last == "cg")

    def _balanced(self, start: FactorArray, carried: FactorArray, room: FactorArray) -> tuple[FactorArray, FactorArray]:
        """Both sides balanced, into other arrays than ``training`` holds; as they are where that gains nothing."""
        lam = self.first.lam, self.second.lam
        if not (all(side_lam.any() for side_lam in lam)):
            return start, carried
        k, threads = self.first.n_ridged, self.num_threads
        grams = (weighted_gram(f, side_lam, k, threads) for f, side_lam in zip((start, carried), lam, strict=True))
        turn = balance(*grams, signed=self.signed)
        if turn is None or not turn.gain > BALANCE_PAYS * self.training.history[-1][0]:
            return start, carried
        kept = self._factors()[1]
        other = self._room(kept) if carried is kept else carried
        turn.turned(start, carried, (room, other), threads)
        return room, other

    # -- the objective ------------------------------------------------------------------------------------------------

    def _loss(self, mean: float, decrease: float, inexact: bool = False) -> float:
        """The objective after the second side was solved, whose rows tell by how much they lower it beside zeros.

        Computed anew from the cells, in float64, where rounding could show in that difference.
        """
        threads = self.num_threads
        constant = self.second.constant(mean, threads) if self.second.biased else self.zero
        loss = constant + self.first.penalty(threads) - decrease
        dtype = self.second.factors.dtype
        doubt = ROWS_ARE_OFF[dtype.itemsize] * float(np.finfo(dtype).eps) * self.second.spread
        sound = loss >= RECOMPUTED_BELOW * self.zero and doubt <= self._rounding(loss) and not len(self.second.rescued)
        # steps from a bad start are differences of numbers as large as that start is bad; the rounding of many rows
        # averages out
        losses = [past for past, _ in self.training.history[-1:]]
        bad_start = max(loss, *losses) > self.zero if losses else len(self.second.factors) <= kernels.PART_ROWS
        if not sound or (inexact and bad_start):
            loss = self._objective(mean)
        return loss

    def _objective(self, mean: float) -> float:
        """The objective of the sides' factors, in float64."""
        penalties = self.first.penalty(self.num_threads) + self.second.penalty(self.num_threads)
        return self.second.loss(mean, self.num_threads) + penalties

    def _rounding(self, loss: float) -> float:
        """What a loss may be off by."""
        size = self.second.factors.dtype.itemsize
        return RELATIVE[size] * abs(loss) + OF_ZERO[size] * self.zero

    def _beyond(self, loss: float, reference: float) -> bool:
        """Whether a loss lies above another by more than rounding, or is no number."""
        return not loss <= reference + self._rounding(reference)

    def _risen(self, loss: float) -> bool:
        """Whether an iteration has led up: from the one before, or from the start."""
        if self.training.history:
            return self._beyond(loss, self.training.history[-1][0])
        # rows solved exactly lie below zeros; other starts than zeros may lie higher
        sides = self.first, self.second
        factors = [side.factors for side in sides]
        self.first.factors, self.second.factors = self._factors()
        zeros = self.zero + self.second.penalty(self.num_threads)
        risen = self._beyond(loss, zeros)
        if risen:
            self._restore()
            risen = self._beyond(loss, self._objective(self.training.mean))
        for side, kept in zip(sides, factors, strict=True):
            side.factors = kept
        self.first.others, self.second.others = self.second.factors, self.first.factors
        return risen
