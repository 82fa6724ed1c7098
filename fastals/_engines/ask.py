"""What is asked of an engine, and what it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Columns(NamedTuple):
    """The columns that hold ratings; without one of ratings, "", all are 1."""

    user: str
    item: str
    rating: str


@dataclass(frozen=True)
class Ask:
    """A fit, in plain numbers: parameters as Spark's ALS has them, and what is fastals' own.

    Attributes
    ----------
    solver : {"auto", "cholesky", "cg", "lapack"}
    engine : {"auto", "task", "blocks"}
    seed : int
        Initial factors are a function of it, the side and the id.
    user_blocks, item_blocks : int, optional
        None: one for each task that runs at a time.
    checkpoint_interval : int
        Iterations from one checkpoint to the next; -1: none.
    initial : (DataFrame, DataFrame), optional
        Factors of users and items to start from, (id, features); ids that these have not are drawn.
    """

    rank: int = 10
    iterations: int = 10
    regularization: float = 0.1
    implicit: bool = False
    alpha: float = 1.0
    nonnegative: bool = False
    solver: str = "auto"
    engine: str = "auto"
    seed: int = 0
    user_blocks: int | None = None
    item_blocks: int | None = None
    checkpoint_interval: int = 10
    initial: tuple[Any, Any] | None = None


class Outcome(NamedTuple):
    """What a fit leaves.

    Attributes
    ----------
    user_factors, item_factors : DataFrame
        ``id int, features array<float>``, stored; the ids are strings where those of the ratings are.
    seen : DataFrame
        ``id int, items array<int>``, or strings: the items of each user in the ratings, ascending, each once. They are
        listed when they are asked for, from ratings that stay persisted as long as this very object is there.
    losses : tuple of float
        The objective after each iteration.
    engine : {"task", "blocks"}
    pairs : DataFrame, optional
        What ``seen`` is made of: pieces of the kind "chunk", where all ids are numbers.
    """

    user_factors: DataFrame
    item_factors: DataFrame
    seen: DataFrame
    losses: tuple[float, ...]
    engine: str
    pairs: DataFrame | None = None
