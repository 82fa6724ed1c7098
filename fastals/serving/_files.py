"""Lists and vectors in files: CSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray
from ._lists import Batch, Lists

if TYPE_CHECKING:
    from ._vectors import Vectors

Row: TypeAlias = tuple[Any, list[Any], list[float], list[Any]]
"""One list: (owner, items, scores, titles); an owner of None: that of all who have none; titles: empty where none are
told."""


def rows(lists: Lists, batches: Iterable[Batch]) -> Iterator[Row]:
    """Yield one list at a time."""
    for batch in batches:
        yield from _rows(lists, lists.labels(batch.rows).tolist(), batch)


def popular_row(lists: Lists) -> Iterator[Row]:
    """Yield the list of those who have none, if there is one: the most popular items."""
    if (popular := popular_batch(lists)) is not None:
        yield from _rows(lists, [None], popular)


def popular_batch(lists: Lists) -> Batch | None:
    """Return the n most popular items as a list of nobody's."""
    if (popular := lists.popular()) is None:
        return None
    items, scores = popular
    return Batch(np.full(1, -1, np.int32), items[None, : lists.n], scores[None, : lists.n], 0)


def _rows(lists: Lists, owners: list[Any], batch: Batch) -> Iterator[Row]:
    titles = None if lists.titles is None else lists.titles[batch.items]
    scores = np.where(batch.items >= 0, batch.scores, -np.inf)
    return labelled(owners, lists.items.decode(batch.items), scores, titles)


def labelled(
    owners: Iterable[Any], items: LabelArray, scores: NDArray[Any], titles: NDArray[Any] | None = None
) -> Iterator[Row]:
    """Yield lists, labels as numbers or text, without the padding of short ones."""
    for place, (owner, row, row_scores) in enumerate(zip(owners, items, scores, strict=True)):
        listed = np.isfinite(row_scores)
        names = [text(label) for label in row[listed].tolist()]
        called = [] if titles is None else titles[place][listed].tolist()
        yield text(owner), names, [float(f"{score:.6g}") for score in row_scores[listed].tolist()], called


def text(label: Any) -> Any:
    """Return a label as a number or text."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return label if isinstance(label, int | str | None) else str(label)


def write_csv(lists: Iterable[Row], file: Any, names: tuple[str, str] = ("user", "item"), titled: bool = False) -> None:
    """Write one line for each owner and item: user, rank, item, score, and the item's title if there are any."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((names[0], "rank", names[1], "score", *["title"] * titled))
    for owner, items, scores, titles in lists:
        columns = (items, scores, titles) if titled else (items, scores)
        writer.writerows((owner, rank, *line) for rank, line in enumerate(zip(*columns, strict=True), 1))


def write_jsonl(
    lists: Iterable[Row], file: Any, names: tuple[str, str] = ("user", "item"), titled: bool = False
) -> None:
    """Write one JSON object for each owner."""
    for owner, items, scores, titles in lists:
        line = {names[0]: owner, "items": items, "scores": scores} | ({"titles": titles} if titled else {})
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_lists(kind: str, lists: Lists, batches: Iterable[Batch], path: str, *, popular: bool) -> None:
    """Write lists to a local file; ``popular``: first that of those who have none, whose owner is null, or empty."""
    if kind == "parquet":
        _write_parquet(lists, batches, path, popular)
        return
    with open_text(path) as file:
        every = (each for some in (popular_row(lists) if popular else (), rows(lists, batches)) for each in some)
        TEXT[kind](every, file, (lists.whose, lists.listed), lists.titles is not None)


def open_text(path: str) -> Any:
    """Open a file to write; a label may hold what UTF-8 cannot, half a surrogate pair."""
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")


TEXT: dict[str, Any] = {"csv": write_csv, "jsonl": write_jsonl}
"""Lists as text."""


def _write_parquet(lists: Lists, batches: Iterable[Batch], path: str, popular: bool) -> None:
    """Write one row for each owner: user, items (list), scores (list), titles (list) where there are any."""
    import pyarrow as pa
    from pyarrow import parquet

    items = None if lists.items.values is None else column(lists.items.values)
    titles = None if lists.titles is None else pa.array(lists.titles, pa.string())
    types = {
        lists.whose: pa.int64() if lists.owners.values is None else column(lists.owners.values[:1]).type,
        "items": pa.list_(pa.int32() if items is None else items.type),
        "scores": pa.list_(pa.float32()),
    }
    schema = pa.schema([*types.items(), *([] if titles is None else [("titles", pa.list_(pa.string()))])])
    with parquet.ParquetWriter(path, schema) as writer:

        def write(owners: Any, batch: Batch) -> None:
            listed = batch.items >= 0
            offsets = pa.array(np.concatenate([[0], listed.sum(axis=1).cumsum()]).astype(np.int32))
            places = pa.array(batch.items[listed])
            parts = [places if items is None else items.take(places), pa.array(batch.scores[listed].astype(np.float32))]
            if titles is not None:
                parts.append(titles.take(places))
            lists_of = [pa.ListArray.from_arrays(offsets, values) for values in parts]
            writer.write_table(pa.table([owners, *lists_of], schema=schema))

        if popular and (most := popular_batch(lists)) is not None:
            write(pa.nulls(1, schema.types[0]), most)
        for batch in batches:
            if len(batch.rows):
                write(column(lists.labels(batch.rows)), batch)


def write_vectors(vectors: Vectors, batches: Iterable[Any], path: str) -> None:
    """Write one row for each item to Parquet: its label, its vector (list of float32)."""
    import pyarrow as pa
    from pyarrow import parquet

    label_type = pa.int64() if vectors.items.values is None else column(vectors.items.values[:1]).type
    kind = pa.list_(pa.float32())
    schema = pa.schema([("item", label_type), ("vector", kind)], {b"fastals.metric": vectors.metric.encode()})
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            offsets = pa.array(np.arange(len(batch.rows) + 1, dtype=np.int32) * vectors.dim)
            each = pa.ListArray.from_arrays(offsets, pa.array(batch.vectors.reshape(-1)))
            writer.write_table(pa.table([column(vectors.labels(batch.rows)), each], schema=schema))


def column(labels: LabelArray) -> Any:
    """Return labels as an Arrow array: numbers or text."""
    import pyarrow as pa

    return pa.array(labels if labels.dtype.kind in "iu" else [text(label) for label in labels.tolist()])
