"""The engine for data that no executor holds: the descent of one machine, whose sides lie in blocks on executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import AXES, LOGGER, Axis
from .._equation import (
    EXPLICIT,
    IMPLICIT,
    Common,
    Descent,
    RowEquation,
    Side,
    Summary,
    Training,
    WideSumsNeeded,
    check_finite_factors,
    pair,
    train,
)
from .ask import Ask
from .block import Described, HalfSweep, Solved, in_order
from .build import MISSING, Blocks, Cuts, blocks, cuts
from .pack import Packed
from .pieces import ARROW, SCHEMA, batches, discarded, persisted, stored, told, unpersist
from .steps import (
    CARGO,
    OWN,
    PASSED,
    SENT,
    Turns,
    losing,
    moving,
    rows_in,
    rows_out,
    solving,
    summing,
    task_of,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# ---------------------------------------------------------------------------------------------------------------------
# what the rows of a side are


class Made:
    """A frame that a job has made, persisted.

    Parameters
    ----------
    carries : object
        The ``label`` of the frame whose own rows it carries as cargo.
    """

    def __init__(self, frame: DataFrame, carries: object = None) -> None:
        self.frame, self.carries, self.label = frame, carries, object()


class Held:
    """The factors of a side, wherever they are: what a descent hands about.

    Parameters
    ----------
    made : Made, optional
        Holds the rows, before ``turns``; None: they are drawn, or made ``anew``.
    sent : Made, optional
        Holds them as they were sent to the blocks of the other side.
    about : sequence of Described, optional
        Of each block.
    anew : callable, optional
        Makes what holds the rows: those of an iteration that the next one has gone beyond are not stored, for they are
        asked for only if that fails. It ``needs`` other frames.
    """

    def __init__(
        self,
        made: Made | None,
        turns: Turns = (),
        *,
        sent: Made | None = None,
        about: Sequence[Described] | None = None,
        anew: Callable[[], Made] | None = None,
        needs: Sequence[Made | None] = (),
    ) -> None:
        self.made, self.turns, self.sent, self.about, self.anew, self.needs = made, turns, sent, about, anew, needs

    @property
    def known(self) -> bool:
        """Some frame holds the rows, or can be made anew; else they are drawn."""
        if self.made is None and self.anew is not None:
            self.made, self.anew, self.needs = self.anew(), None, ()
        return self.made is not None

    @property
    def all_made(self) -> list[Made]:
        """All frames that it is in, or needs."""
        return [made for made in (self.made, self.sent, *self.needs) if made is not None]


class SparkSide(Side):
    """One side of the training; each of its methods that needs rows is a job.

    Parameters
    ----------
    blocks : Blocks
    start : Held
    sweep : str
        The solver of half-sweeps: what the other side's will ask for.
    """

    def __init__(self, blocks: Blocks, start: Held, sweep: str) -> None:
        self.blocks, self.lot, self.equation = blocks, blocks.lot, blocks.lot.equation
        self.factors: Held = start
        self.before: Held | None = None
        self.rescued: range = range(0)
        self.spread = 0.0
        self._gram = self.equation.weights.unobserved > 0 or sweep == "cg"
        self._carries = sweep in ("cg", "nnls")
        self._taken: list[Held] = []
        self._all: list[Made] = []
        self._other: SparkSide | None = None
        self._others: Held | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def n_rows(self) -> int:
        return self.lot.n_rows

    @property
    def biased(self) -> bool:
        return False

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def _run(self, work: Callable[..., Any], sent: Sequence[DataFrame], *, keep: bool = True) -> tuple[DataFrame, Any]:
        """Have every block worked on, with what is sent to it; returns what that makes, and what it tells."""
        from pyspark.errors import PythonException

        while True:
            frame = self._planned(work, sent)
            if keep:
                frame = persisted(frame)
            with discarded(frame):
                try:
                    answers = [piece.content for piece in told(frame)]
                except PythonException as error:
                    if MISSING not in str(error) or not self.blocks.found:
                        raise
                    unpersist([frame])
                    LOGGER.warning(
                        "tasks were placed where their in-blocks are not, which go with the tasks from now on"
                    )
                    self.blocks.found = False
                    continue
                for answer in answers:
                    if isinstance(answer, Exception):
                        raise answer
            return frame, answers

    def _planned(self, work: Callable[..., Any], sent: Sequence[DataFrame]) -> DataFrame:
        task, left = task_of(self.lot, self.blocks.others_from, work), self.blocks.left.groupBy("key")
        if not sent:
            nothing = ARROW.empty_table()
            return left.applyInArrow(lambda rows: task(rows, nothing), SCHEMA)
        right = reduce(type(sent[0]).union, sent).repartitionById(self.blocks.n_blocks, "key")
        return left.cogroup(right.groupBy("key")).applyInArrow(task, SCHEMA)

    def _made(self, work: Callable[..., Any], sent: Sequence[DataFrame], carries: object) -> tuple[Made, Any]:
        frame, answers = self._run(work, sent)
        made = Made(frame, carries)
        self._all.append(made)
        return made, answers

    def _pieces(self, made: Made, *, of: str = "", passed: str = "") -> DataFrame:
        """Pieces of kinds that are for this side's blocks, and those that only pass through its tasks."""
        from pyspark.sql import functions

        frame = made.frame
        kind, whole = frame["kind"], frame.filter(frame["kind"].isin([each for each in (*of.split(), passed) if each]))
        if not passed:
            return whole
        passes, key = kind == passed, functions.pmod(frame["src"], functions.lit(self.blocks.n_blocks))
        return whole.select(
            functions.when(passes, key).otherwise(frame["key"]).cast("int").alias("key"),
            functions.when(passes, functions.lit(PASSED)).otherwise(kind).alias("kind"),
            *("src", "seq", "data", "told"),
        )

    def _own(self, held: Held) -> list[DataFrame]:
        """What a job is sent to find the rows of this side."""
        return [self._pieces(held.made, of=OWN)] if held.known and held.made else []

    def offered(self, held: Held, *, weighted: bool = False) -> Held:
        """Rows of this side, sent and described."""
        if held.sent is None or held.about is None or weighted:
            work = moving(self.lot, held.turns, gram=self._gram, weighted=weighted)
            before = held.made if held.known else None
            sent = [] if before is None else [self._pieces(before, of=OWN, passed=CARGO if self._carries else "")]
            held.made, held.about = self._made(work, sent, before and before.carries)
            held.sent, held.turns = held.made, ()
        return held

    def _received(self, *, start: Held | None = None, passing: bool = False) -> list[DataFrame]:
        """What the other side sends: rows that cells name; what rows start from; rows to pass on."""
        assert self._other is not None
        assert self._others is not None
        sent = self._other.offered(self._others).sent
        assert sent is not None
        carried = start is not None and start.known and start.made is not None and sent.carries is start.made.label
        kinds = f"{SENT} {CARGO}" if carried else SENT
        frames = [self._pieces(sent, of=kinds, passed=OWN if passing else "")]
        return frames if start is None or carried else frames + self._own(start)

    def release(self, *held: Held | None) -> None:
        """Let go of all frames but those of these rows."""
        used = {id(made) for each in held if each is not None for made in each.all_made}
        for made in self._all:
            if id(made) not in used:
                made.frame.unpersist()
        self._all = [made for made in self._all if id(made) in used]

    def cut(self, *held: Held | None) -> None:
        """Store what these rows are in, so that it need not be computed again whatever is lost."""
        used = {id(made) for each in held if each is not None for made in each.all_made}
        for made in self._all:
            if id(made) in used:
                before, made.frame = made.frame, stored(made.frame)
                before.unpersist()

    def rows_of(self, held: Held) -> DataFrame:
        """``id, features``, persisted."""
        made = held.made if held.known else self.offered(held).made
        assert made is not None
        own, turns = self._pieces(made, of=OWN), held.turns
        rows = persisted(own.mapInArrow(lambda batches: rows_out(batches, turns), "id int, features array<float>"))
        with discarded(rows):
            rows.count()
        return rows

    # -- its factors --------------------------------------------------------------------------------------------------

    def take(self, factors: Held, before: Held | None, held: Sequence[Held]) -> None:
        self.factors, self.before, self._taken = factors, before, list(held)

    def look_at(self, other: SparkSide) -> None:
        self._other, self._others = other, other.factors

    def check(self) -> None:
        if not all(each.finite for each in self.factors.about or ()):
            check_finite_factors(np.array([np.nan], self.dtype))

    def go_beyond(self, relaxation: float) -> None:
        assert self.before is not None
        self.factors, self.before = self.before, None  # which was made for this

    def turn(self, matrix: NDArray[np.float64]) -> None:
        held = self.factors
        self.factors = Held(held.made, (*held.turns, matrix), anew=held.anew, needs=held.needs)

    def level(self) -> float:
        return 0.0

    def weighted_gram(self) -> NDArray[np.float64] | None:
        if not self.blocks.lot.lam_limit:
            return None
        if self.factors.about is None or any(each.weighted is None for each in self.factors.about):
            self.offered(self.factors, weighted=True)
        return self._sum(self.factors, "weighted").gram

    def _sum(self, held: Held, name: str) -> Summary:
        k = self.equation.factors
        return Summary(np.zeros((k, k))).followed_by(
            np.concatenate([getattr(each, name) for each in held.about or () if getattr(each, name) is not None])
        )

    # -- a half-sweep -------------------------------------------------------------------------------------------------

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
        self.release(self.factors, self.before, *self._taken)
        start = self.factors
        sweep = HalfSweep(self._common(solver), solver, relaxation, keep, self._gram, weighted)
        sent = self._received(start=start if sweep.starts else None, passing=self._carries)
        assert self._others is not None
        assert self._others.sent is not None
        carries, known = self._others.sent.label if self._carries else None, start.known

        def solved(sweep: HalfSweep) -> tuple[Made, list[Solved]]:
            return self._made(solving(self.lot, sweep, start.turns, known), sent, carries)

        try:
            made, answers = solved(sweep)
        except WideSumsNeeded:
            sweep = sweep._replace(common=sweep.common._replace(wide=self._common(solver, wide=True).wide))
            made, answers = solved(sweep)
        about = [answer.described for answer in answers]
        latest = Held(made, sent=made, about=about)
        self.factors, self.before = latest, None
        if keep is not None:
            # what is made, and described but for the penalty, is what the next iteration goes on from
            self.before, once_more = latest, sweep._replace(keep=None)
            self.factors = Held(
                None,
                about=[each._replace(gram=None, weighted=None) for each in about],
                anew=lambda: solved(once_more)[0],
                needs=(self._others.sent, start.made),
            )
        return self._told(answers)

    def _told(self, answers: list[Solved]) -> float:
        self.rescued = range(sum(answer.rescued for answer in answers))
        self.spread = in_order([answer.squares for answer in answers]) ** 0.5
        return in_order([answer.decrease for answer in answers])

    def _common(self, solver: str, wide: bool = False) -> Common:
        """What a half-sweep needs of all the others: as :meth:`ArraySide.common`."""
        other, held, unobserved = self._other, self._others, self.equation.weights.unobserved
        assert other is not None
        assert held is not None
        summary = None
        if unobserved and wide:
            summary = other._wide(held)
        elif unobserved or solver == "cg":
            summary = other._sum(other.offered(held), "gram")
        k = self.equation.factors
        common = Common.of(summary, unobserved, self.dtype, k, turned=solver != "nnls")
        if not wide and not common.bears(self.blocks.lam_least):
            return self._common(solver, wide=True)
        return common

    def _wide(self, held: Held) -> Summary:
        """The Gram matrix of rows of this side, of sums in float64."""
        _, answers = self._run(summing(self.lot, held.turns), self._own(held), keep=False)
        k = self.equation.factors
        return Summary(np.zeros((k, k)), True).followed_by(np.concatenate([answer.gram for answer in answers]))

    # -- the objective ------------------------------------------------------------------------------------------------

    def penalty(self) -> float:
        about = self.factors.about or self.offered(self.factors).about or ()
        return in_order([each.penalty for each in about])

    def prior_at_zero(self) -> float:
        return 0.0

    def constant(self, mean: float) -> float:
        return in_order(self.blocks.constants)

    def at_zero(self, mean: float) -> float:
        return in_order(self.blocks.constants)

    def loss(self, mean: float) -> float:
        other, held, unobserved = self._other, self._others, self.equation.weights.unobserved
        assert other is not None
        assert held is not None
        sent = self._received(start=self.factors)
        _, answers = self._run(losing(self.lot, self.factors.turns), sent, keep=False)
        common = 0.0
        if unobserved:
            common = unobserved * float(np.sum(self._wide(self.factors).gram * other._wide(held).gram))
        constants = in_order([answer.constants for answer in answers])
        return constants + common - in_order([answer.fits for answer in answers])


# ---------------------------------------------------------------------------------------------------------------------
# a fit


GONE = "CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND"


def equation_of(ask: Ask) -> RowEquation:
    """The row equation of Spark's ALS."""
    preset = (IMPLICIT if ask.implicit else EXPLICIT)["spark"]
    return RowEquation(
        weights=preset.cells(1.0 if ask.implicit else 0.0, ask.alpha),
        factors=ask.rank,
        regularization=pair(ask.regularization),
        scaling="count",
        solver=ask.solver,
        nonnegative=ask.nonnegative,
        last=preset.last,
        duplicates=preset.duplicates,
    )


def _start(ask: Ask, axis: Axis, both: tuple[Cuts, Cuts]) -> Held:
    """What a side starts from."""
    if ask.initial is None:
        return Held(None)
    at, k = AXES.index(axis), ask.rank
    given, own = ask.initial[at].select("id", "features"), both[at]

    def pack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(rows_in(rows, axis, own, k))

    return Held(Made(given.mapInArrow(pack, SCHEMA)))


Fit = tuple["DataFrame", "DataFrame", tuple[float, ...]]


def fit_in_blocks(packed: Packed, ask: Ask, slots: int) -> Fit:
    """Fit ratings that are cut into blocks; by default there is one for each of ``slots``, tasks that run at a time.

    Returns
    -------
    user_factors, item_factors : DataFrame
        ``id int, features array<float>``, persisted.
    losses : tuple of float
    """
    try:
        return _fit(packed, ask, slots)
    except Exception as error:
        if GONE not in str(error):
            raise
    LOGGER.warning(
        "both executors that held a checkpoint are gone, and the fit begins anew: a checkpoint directory would hold it"
    )
    return _fit(packed, replace(ask, checkpoint_interval=-1), slots)


def _fit(packed: Packed, ask: Ask, slots: int) -> Fit:
    equation = equation_of(ask)
    both = cuts(packed, slots, (ask.user_blocks or slots, ask.item_blocks or slots))
    sides = list[SparkSide]()
    try:
        for axis in AXES:
            built = blocks(packed, axis, both, equation, ask.seed)
            sides.append(SparkSide(built, _start(ask, axis, both), equation.sweep_solver))
        training = _trained(sides[0], sides[1], ask)
        held: Any = training.X, training.Y
        users = sides[0].rows_of(held[0])
        with discarded(users):
            items = sides[1].rows_of(held[1])
        return users, items, tuple(loss for loss, _ in training.history)
    finally:
        for side in sides:
            side.release()
            with suppress(Exception):  # of a fit that has failed, executors may be gone, and with them all this
                side.blocks.remove()


def _trained(users: SparkSide, items: SparkSide, ask: Ask) -> Training:
    """Train on both sides, from what they are."""
    equation, start = users.equation, (users.factors, items.factors)
    training = Training(*start)  # type: ignore[arg-type]
    descent = Descent(
        training,
        users,
        items,
        users_last=equation.last == "users",
        sweep=equation.sweep_solver,
        exact=equation.exact_solver,
        automatic=equation.solver == "auto",
        signed=not equation.nonnegative,
        leveled=False,
    )

    def after(done: int, loss: float, metrics: Mapping[str, float], seconds: float) -> None:
        LOGGER.info("iteration %d of %d: loss %.6g, %.3g s", done, ask.iterations, loss, seconds)
        if ask.checkpoint_interval > 0 and done % ask.checkpoint_interval == 0 and done < ask.iterations:
            held: Any = training.X, training.Y, training.before
            users.cut(*held)
            items.cut(*held)

    train(descent, training, iterations=ask.iterations, callback=after, progress=False, keep=False)
    return training
