"""Spark's ALSModel in a folder: what stands in it, and what is made of that; whoever reads and writes it.

    metadata/                  text, a JSON line: class, uid, parameters, rank, as Spark has them
    userFactors/, itemFactors/ Parquet: id int, features array<float>
    fastals/metadata/          text, a JSON line: what the model's own file would say (fastals._fitted.file), kinds of
                               ids, whether there are seen items, and what else one of fastals.spark has
    fastals/userLabels/,       Parquet: id int, label string or bigint; where ids are no integers of 32 bits. To Spark
    fastals/itemLabels/        they are numbers then, from 0
    fastals/seen/              Parquet: id, items array: what each user has in the ratings, by the ids themselves

Spark does not look into the folder ``fastals``, and one that Spark's own ALS has written has none.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, FileFormatError, ParameterError, __version__, field, told_address
from .._data import Labels
from .._fitted import FittedState, content_of, identity_of, model_of

SPARK_CLASS = "org.apache.spark.ml.recommendation.ALSModel"
SPARK_VERSION = "4.1.0"
"""What a folder that Spark has not written says: the least that it is opened by."""
SPARK_DEFAULTS = {
    "blockSize": 4096,
    "coldStartStrategy": "nan",
    "itemCol": "item",
    "predictionCol": "prediction",
    "userCol": "user",
}

SIDES = ("user", "item")
OWN = "fastals"
FORMAT, VERSION = "fastals-spark-model", "1"
METADATA, SEEN = "metadata", f"{OWN}/seen"

NUMBERED = ("bigint", "string")
"""Kinds of ids that are numbers to Spark; others are "int" and, of a model that knows no ids, "index"."""

BATCH_ROWS = 1 << 16

FEATURES = pa.list_(pa.field("element", pa.float32()))

# ---------------------------------------------------------------------------------------------------------------------
# what is said of a model


def content_of_fit(model: Any, losses: Iterable[float] = ()) -> dict[str, Any]:
    """What is said of a model that was fitted elsewhere, with the parameters of this one, which are a preset's."""
    return {**identity_of(type(model), model.get_params()), **_of_losses(list(losses))}


def content_of_unknown(name: str = "ExplicitALS") -> dict[str, Any]:
    """What is said of a model of which nothing tells how it was fitted; Spark's ALS is explicit by default."""
    return {"class": name, "parameters": {}, "settings": {}, **_of_losses([])}


def _of_losses(losses: list[float]) -> dict[str, Any]:
    history = {"n_iter": len(losses), "loss_history": losses, "metrics_history": [], "best_iteration": 0}
    return {**history, "mean": 0.0, "scoring": {}, "duplicates": "keep"}


def content_of_model(model: Any) -> dict[str, Any]:
    """What is said of a fitted model, as in its own file."""
    state = model.state_
    about = {**identity_of(type(model), state.parameters), **content_of(state)}
    return {**about, "loss_history": list(state.loss_history)}


def line_of(content: Mapping[str, Any], kinds: Mapping[str, str], seen: bool, **own: Any) -> str:
    """The line of the folder ``fastals``."""
    about = {"format": FORMAT, "version": VERSION, "written_by": f"fastals {__version__}"}
    return json.dumps({**content, **about, "labels": dict(kinds), "seen": seen, **own})


def spark_line(rank: int, *, uid: str, version: str = SPARK_VERSION, params: Mapping[str, Any] | None = None) -> str:
    """The line that Spark reads."""
    line = {
        "class": SPARK_CLASS,
        "timestamp": round(time.time() * 1000),
        "sparkVersion": version,
        "uid": uid,
        "paramMap": dict(params or {}),
        "defaultParamMap": SPARK_DEFAULTS,
        "rank": rank,
    }
    return json.dumps(line, separators=(",", ":"))


def parsed(line: str) -> dict[str, Any]:
    """A line of metadata; ValueError where it is none."""
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError(f"the metadata are {content!r:.40}, not an object")
    return content


def check_spark_line(content: Mapping[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """Return uid, rank and what parameters are set to in Spark's line; ValueError where it is none of a model."""
    if content.get("class") != SPARK_CLASS:
        raise ValueError(f"it holds a {content.get('class')!r}, not a {SPARK_CLASS!r}")
    rank = field(content, "rank", int)
    if rank < 1:
        raise ValueError(f"rank is {rank}")
    params = field(content, "defaultParamMap", dict) | field(content, "paramMap", dict)
    return field(content, "uid", str), rank, {name: v for name, v in params.items() if v != SPARK_DEFAULTS.get(name)}


def check_own_line(content: Mapping[str, Any]) -> None:
    """ValueError where the line of the folder ``fastals`` is not of this version."""
    if (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"{OWN}/{METADATA} is of format {content.get('format')!r}, version {content.get('version')!r}")
    for side in SIDES:
        field(field(content, "labels", dict), f"{side}s", str)
    field(content, "seen", bool)


@contextmanager
def reading_folder(path: str) -> Iterator[None]:
    """Turn whatever is wrong with a folder into an error that names it."""
    try:
        yield
    except FileFormatError:
        raise
    except (ValueError, TypeError, RecursionError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{told_address(path)} is not a usable ALSModel of Spark: {reason}") from error


# ---------------------------------------------------------------------------------------------------------------------
# from tables to a model


class Side(NamedTuple):
    """Users or items: ids, ascending, and their factors."""

    ids: pa.Array
    factors: NDArray[np.float32]


def told(kind: pa.DataType) -> str:
    """What a type is, however Parquet has it."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"array<{told(kind.value_type)}>"
    return {"int32": "int", "int64": "bigint", "large_string": "string"}.get(str(kind), str(kind))


def side_of(batches: Iterable[pa.RecordBatch], n: int, rank: int, what: str, labels: pa.Table | None = None) -> Side:
    """Users or items of batches (id, features) of ``n`` rows in all; ``labels`` (id, label): what the ids stand for."""
    factors, found, at = np.empty((n, rank), np.float32), list[pa.Array](), 0
    for batch in batches:
        ids, rows = batch.column("id"), batch.column("features")
        lengths = pc.list_value_length(rows)
        odd = pc.index(pc.fill_null(pc.equal(lengths, rank), False), False).as_py()
        if ids.null_count:
            raise DataError(f"{what}: an id is null")
        if odd >= 0:
            raise DataError(f"{what}: id {ids[odd]} has {lengths[odd]} factors, the rank is {rank}")
        block = rows.flatten().to_numpy(zero_copy_only=False).reshape(-1, rank)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise DataError(f"{what}: the factors of id {ids[bad]} are not finite")
        if at + len(block) > n:
            raise DataError(f"{what}: there are more rows than the {n} that the file tells of")
        factors[at : at + len(block)] = block
        at += len(block)
        found.append(ids)
    if not at or at != n:
        raise DataError(f"{what}: {n} rows were told of, there are {at}")
    ids = _one(found)
    if labels is not None:
        if len(labels) != n:
            raise DataError(f"{what}: {n} rows have {len(labels)} labels")
        places = pc.index_in(ids, value_set=_one(labels.column("id").chunks))
        if places.null_count:
            raise DataError(f"{what}: id {ids[pc.index(places.is_null(), True).as_py()]} has no label")
        ids = _one(labels.column("label").chunks).take(places)
        if ids.null_count:
            raise DataError(f"{what}: a label is null")
    order = pc.sort_indices(ids)
    ids = ids.take(order)
    again = pc.index(pc.equal(ids[1:], ids[:-1]), True).as_py()
    if again >= 0:
        raise DataError(f"{what}: id {ids[again]} is there more than once")
    places = order.to_numpy()
    return Side(ids, factors if (np.diff(places) == 1).all() else factors[places])


def _one(chunks: list[pa.Array]) -> pa.Array:
    """One array; of text, one that has room for more than 2 GB."""
    kind = chunks[0].type if chunks else pa.int32()
    kind = pa.large_string() if pa.types.is_string(kind) else kind
    return pa.chunked_array([chunk.cast(kind) for chunk in chunks], kind).combine_chunks()


def cells_of(batches: Iterable[pa.RecordBatch], users: pa.Array, items: pa.Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """The seen items of batches (id, items), as compressed rows: where each user's begin, and the items' places."""
    keys = [np.empty(0, np.int64)]
    for batch in batches:
        lists = batch.column("items")
        rows, others = (
            _places(name, part, known)
            for name, part, known in (("user", batch.column("id"), users), ("item", lists.flatten(), items))
        )
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        keys.append(np.repeat(rows.astype(np.int64), lengths) * len(items) + others)
    cells = np.unique(np.concatenate(keys))
    owners, places = np.divmod(cells, len(items))
    indptr = np.append(0, np.cumsum(np.bincount(owners, minlength=len(users)), dtype=np.int64))
    return indptr, places.astype(np.int32)


def _places(side: str, ids: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    places = pc.index_in(ids.cast(known.type), value_set=known)
    if places.null_count:
        raise DataError(f"{SEEN}: {side} {ids[pc.index(places.is_null(), True).as_py()]} has no factors")
    found: NDArray[np.int32] = places.to_numpy(zero_copy_only=False)
    return found


def assembled(
    content: Mapping[str, Any], users: Side, items: Side, cells: tuple[NDArray[Any], NDArray[Any]] | None
) -> Any:
    """The model of what is said of it, of factors, and of seen items where they are known."""
    if cells is None:
        warnings.warn(
            "nothing tells which items the users of this model have seen: recommend(exclude_seen=True) leaves out none",
            stacklevel=3,
        )
        cells = np.zeros(len(users.ids) + 1, np.int64), np.empty(0, np.int32)
    tensors: dict[str, NDArray[Any]] = {
        "user_factors": users.factors,
        "item_factors": items.factors,
        "loss_history": np.array(field(content, "loss_history", list), np.float64),
        "seen_indptr": cells[0],
        "seen_indices": cells[1],
    }
    said, kinds = content.get("labels", {}), dict[str, str]()
    for name, side in (("users", users), ("items", items)):
        if said.get(name) == "index":
            if not np.array_equal(side.ids, np.arange(len(side.ids))):
                raise DataError(f"{name} are told to be numbers from 0 to {len(side.ids) - 1}, and are not")
            kinds[name] = "index"
        elif pa.types.is_large_string(side.ids.type):
            kinds[name] = "string"
            _, offsets, data = side.ids.buffers()
            tensors[f"{name}_offsets"] = np.frombuffer(offsets, np.int64)[: len(side.ids) + 1]
            tensors[name] = np.frombuffer(data or b"", np.uint8)[: tensors[f"{name}_offsets"][-1]]
        else:
            kinds[name] = "int64"
            tensors[name] = side.ids.to_numpy().astype(np.int64)
    parameters = {**field(content, "parameters", dict), "factors": users.factors.shape[1], "dtype": "float32"}
    return model_of({**content, "labels": kinds, "parameters": parameters}, tensors)


# ---------------------------------------------------------------------------------------------------------------------
# from a model to tables


def ids_of(labels: Labels, name: str) -> pa.Array:
    """The labels of users or items as ids of Spark: integers of 32 bits if they fit, of 64 bits, or text."""
    if labels.values is None:
        return pa.array(np.arange(len(labels), dtype=np.int32))
    if labels.values.dtype.kind in "iu":
        low, high = int(labels.values.min()), int(labels.values.max())
        for bits in (32, 64):
            if -(1 << bits - 1) <= low and high < 1 << bits - 1:
                return pa.array(labels.values.astype(f"i{bits // 8}"))
    if isinstance(labels.values[0], str):
        try:
            return pa.array(labels.values, pa.large_string())
        except (UnicodeEncodeError, pa.ArrowException):
            pass
    raise DataError(
        f"{name} must be integers of 64 bits or text to be ids of Spark, got {labels.kind}, as {labels.values[0]!r}: "
        "fit on ids as text"
    )


def kinds_of(state: FittedState, ids: Mapping[str, pa.Array]) -> dict[str, str]:
    """What the ids of each side are."""
    sides = zip(SIDES, (state.users, state.items), strict=True)
    return {f"{side}s": "index" if own.values is None else told(ids[side].type) for side, own in sides}


def check_sayable(model: Any) -> FittedState:
    """The state of a model that Spark's layout can hold."""
    state = model.state_ if hasattr(type(model), "state_") else None
    if not isinstance(state, FittedState):
        raise ArgumentTypeError(f"model must be an ExplicitALS or an ImplicitALS, got {type(model).__name__}")
    if state.biases is not None or state.mean:
        raise ParameterError(
            "model must have neither biases nor a mean, which Spark's ALSModel has no place for: fit it with "
            "biases=False, or ExplicitALS.from_preset('spark')"
        )
    for axis, factors in (("users", state.user_factors), ("items", state.item_factors)):
        with np.errstate(over="ignore"):
            if not np.isfinite(factors.astype(np.float32, copy=False)).all():
                raise DataError(f"the factors of {axis} must be within float32's range, 3.4e38, as Spark has them")
    return state


def factor_batches(ids: pa.Array, factors: NDArray[Any]) -> Iterator[pa.RecordBatch]:
    """Rows (id, features)."""
    n, rank = factors.shape
    for first in range(0, n, BATCH_ROWS):
        some = np.ascontiguousarray(factors[first : first + BATCH_ROWS], np.float32)
        ends = pa.array(np.arange(0, some.size + 1, rank, dtype=np.int32))
        lists = pa.ListArray.from_arrays(ends, pa.array(some.reshape(-1)), type=FEATURES)
        yield pa.record_batch([ids.slice(first, BATCH_ROWS), lists], names=["id", "features"])


def seen_batches(state: FittedState, users: pa.Array, items: pa.Array) -> Iterator[pa.RecordBatch]:
    """Rows (id, items) of the users who have any: their training cells, and what is known beside, ascending."""
    for first in range(0, len(users), BATCH_ROWS):
        rows = slice(first, min(first + BATCH_ROWS, len(users)))
        seen, known = state.seen(rows), state.known(rows)
        owners, others = (seen if known is None else seen.joined(known)).pairs()
        owners, places = np.divmod(np.unique(owners * len(items) + others), len(items))
        begins = np.flatnonzero(np.diff(owners, prepend=-1))
        ends = pa.array(np.append(begins, len(owners)).astype(np.int32))
        lists = pa.ListArray.from_arrays(ends, items.take(pa.array(places)))
        yield pa.record_batch([users.take(pa.array(first + owners[begins])), lists], names=["id", "items"])
