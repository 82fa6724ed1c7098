"""Models in folders of Spark's ALSModel, read and written by pyarrow alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyarrow import fs, parquet

from .._core import ParameterError, check_bool, check_path, told_address
from .._files import locate, naming, replacing_folder
from .._models import ExplicitALS, ImplicitALS
from ._layout import (
    BATCH_ROWS,
    METADATA,
    NUMBERED,
    OWN,
    SEEN,
    SIDES,
    Side,
    assembled,
    cells_of,
    check_own_line,
    check_sayable,
    check_spark_line,
    content_of_fit,
    content_of_model,
    content_of_unknown,
    factor_batches,
    ids_of,
    kinds_of,
    line_of,
    parsed,
    reading_folder,
    seen_batches,
    side_of,
    spark_line,
    told,
)

LINE_BYTES = 1 << 26
"""More than a line of metadata has."""
UNFOLDED, SMALL = 256, 1 << 28
"""A file of numbers is refused that holds more than so many times its bytes, and more than so many bytes."""

# ---------------------------------------------------------------------------------------------------------------------
# reading


class Folder(NamedTuple):
    """A folder on a file system of Arrow's."""

    filesystem: Any
    path: str

    def files(self, name: str) -> list[Any]:
        """The files of data in a folder in it, none where there is no such folder."""
        found = self.filesystem.get_file_info(fs.FileSelector(f"{self.path}/{name}", allow_not_found=True))
        return [
            each
            for each in sorted(found, key=lambda each: str(each.base_name))
            if each.type == fs.FileType.File and not each.base_name.startswith(("_", "."))
        ]

    def line(self, name: str) -> dict[str, Any] | None:
        """The line of a folder of text; None where there is none."""
        for file in self.files(name):
            with self.filesystem.open_input_stream(file.path) as stream:
                text = stream.read(LINE_BYTES + 1)
            if len(text) > LINE_BYTES:
                raise ValueError(f"{name} holds more than a line of metadata")
            if text.strip():
                return parsed(text.decode())
        return None

    def table(self, name: str, each: int, **kinds: str) -> tuple[int, Iterator[pa.RecordBatch]]:
        """How many rows the Parquet files of a folder in it have, and the rows, some at a time.

        Their columns must be of these types, of which there may be several; and no row may hold more than ``each``
        numbers or texts on average.
        """
        listed = self.files(name)
        files = [parquet.ParquetFile(self.filesystem.open_input_file(file.path)) for file in listed]
        if not files:
            raise ValueError(f"{name} is missing, or holds no files")
        for file in files:
            for column, wanted in kinds.items():
                at = file.schema_arrow.get_field_index(column)
                kind = "missing" if at < 0 else told(file.schema_arrow.field(at).type)
                if kind not in wanted.split():
                    raise ValueError(f"{name}: column {column!r} must be {wanted.replace(' ', ' or ')}, but is {kind}")
        size, n = sum(file.size for file in listed), sum(file.metadata.num_rows for file in files)
        groups = [file.metadata.row_group(at) for file in files for at in range(file.metadata.num_row_groups)]
        values = sum(max(group.column(at).num_values for at in range(group.num_columns)) for group in groups)
        if values > n * each or 4 * values > max(SMALL, UNFOLDED * size):
            raise ValueError(f"{name}: {n} rows of {values} values in all cannot be what {size} bytes hold")
        return n, (batch for file in files for batch in file.iter_batches(BATCH_ROWS, columns=list(kinds)))


def load_model(
    path: str | os.PathLike[str],
    *,
    implicit: bool | None = None,
    regularization: float | None = None,
    alpha: float = 1.0,
    nonnegative: bool = False,
) -> ExplicitALS | ImplicitALS:
    """Read a model that Spark's ALS, :class:`fastals.spark.ALS` or :func:`save_model` has saved; Spark is not needed.

    What only fastals knows of a model is there if fastals has saved it: how it was fitted, text as ids, and which items
    users have seen. Of one that Spark's own ALS has saved the other parameters can tell how it was fitted; if they do
    not, it predicts and recommends, but has no :meth:`~fastals.ImplicitALS.fold_in`, which solves for new users.

    Parameters
    ----------
    path : str or path-like
        The folder: a local path or an address, as hdfs:// and s3://. It may come from strangers.
    implicit : bool, optional
        What Spark calls implicitPrefs. False is taken where nothing tells.
    regularization : float, optional
        What Spark calls regParam.
    alpha : float, default 1.0
        With ``implicit``.
    nonnegative : bool, default False

    Returns
    -------
    ExplicitALS or ImplicitALS
        Without the values of the ratings, as a model that was saved with ``history=False``. Users and items are known
        by their ids, in ascending order.

    Raises
    ------
    FileFormatError
        There is no such model, or a damaged one.
    ParameterError
        A parameter breaks its rule; or the model itself tells how it was fitted.

    Warns
    -----
    UserWarning
        The seen items are not there, so that lists do not leave them out.

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> from fastals.spark import load_model, save_model
    >>> ratings = (["ann", "ann", "bob"], ["jazz", "rock", "rock"], [5, 1, 4])
    >>> model = fastals.ExplicitALS.from_preset("spark", factors=2, random_state=0).fit(ratings)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save_model(model, os.path.join(directory, "model"))
    ...     again = load_model(os.path.join(directory, "model"))
    >>> again.recommend("bob", n=1).items
    array(['jazz'], dtype=object)
    """
    name = check_path("path", path)
    given = _given(implicit, regularization, alpha, nonnegative)
    place = locate(name)
    folder = Folder(place.filesystem, place.path)
    with reading_folder(name), naming(name):
        line = folder.line(METADATA)
        if line is None:
            raise ValueError(f"{METADATA} is missing")
        _, rank, _ = check_spark_line(line)
        own = folder.line(f"{OWN}/{METADATA}")
        if own is not None:
            check_own_line(own)
        users, items = (_side(folder, side, rank, own) for side in SIDES)
        cells = None
        if own is not None and own["seen"]:
            ids, arrays = "int bigint string", "array<int> array<bigint> array<string>"
            cells = cells_of(folder.table(SEEN, len(items.ids), id=ids, items=arrays)[1], users.ids, items.ids)
    if own is not None and implicit is None and regularization is None:
        given = own
    elif own is not None and own.get("settings") != {}:
        raise ParameterError(
            "implicit and regularization must be None for a model that tells itself how it was fitted, got "
            f"{implicit} and {regularization}"
        )
    elif own is not None:
        given["labels"] = own["labels"]
    with reading_folder(name):
        model: ExplicitALS | ImplicitALS = assembled(given, users, items, cells)
    return model


def _given(implicit: bool | None, regularization: float | None, alpha: float, nonnegative: bool) -> dict[str, Any]:
    """What is said of a model by whoever loads it; without regularization, that its equation is not known."""
    kind = ImplicitALS if implicit else ExplicitALS
    if regularization is None:
        return content_of_unknown(kind.__name__)
    if implicit is None:
        raise ParameterError("implicit must be True or False where regularization is given, got None")
    parameters: dict[str, Any] = {"regularization": regularization, "nonnegative": nonnegative}
    if implicit:
        parameters["alpha"] = alpha
    return content_of_fit(kind.from_preset("spark", **parameters))


def _side(folder: Folder, side: str, rank: int, own: Mapping[str, Any] | None) -> Side:
    """Users or items of a folder."""
    labels = None
    if own is not None and own["labels"][f"{side}s"] in NUMBERED:
        labels = pa.Table.from_batches(folder.table(f"{OWN}/{side}Labels", 1, id="int", label="bigint string")[1])
    n, rows = folder.table(f"{side}Factors", rank, id="int", features="array<float>")
    return side_of(rows, n, rank, f"{side}Factors", labels)


# ---------------------------------------------------------------------------------------------------------------------
# writing


def save_model(model: ExplicitALS | ImplicitALS, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a model as Spark's ALSModel is saved; Spark is not needed.

    ``pyspark.ml.recommendation.ALSModel.load`` and :class:`fastals.spark.ALSModel` open it, and predict what the model
    predicts. Ids that are not integers of 32 bits are numbers to Spark's own, from 0 in their order; so are users and
    items of a model without labels. Beside, where Spark does not look, stands what it does not know: ids as they are,
    how the model was fitted, and which items users have seen. The values of the ratings are not written.

    Parameters
    ----------
    model : ExplicitALS or ImplicitALS
        Fitted, without biases. Factors in float64 are rounded to float32.
    path : str or path-like
        The folder: a local path or an address, as hdfs:// and s3://. It holds the whole model or none, also when the
        writer is killed.
    overwrite : bool, default False
        Whether what is at ``path`` is replaced.

    Raises
    ------
    ParameterError
        The model has biases, or something is at ``path``.
    DataError
        The ids are neither integers of 64 bits nor text.
    NotFittedError, ArgumentTypeError, OSError

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> from fastals.spark import save_model
    >>> plays = (["ann", "ann", "bob"], ["jazz", "rock", "rock"])
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save_model(model, os.path.join(directory, "model"))
    ...     sorted(os.listdir(os.path.join(directory, "model")))
    ['fastals', 'itemFactors', 'metadata', 'userFactors']
    """
    name, overwrite = check_path("path", path), check_bool("overwrite", overwrite)
    state = check_sayable(model)
    ids = {side: ids_of(labels, f"{side}s") for side, labels in zip(SIDES, (state.users, state.items), strict=True)}
    _check_free(name, overwrite)
    has_seen = bool(state.pairs.nnz) or state.pairs.known is not None
    with replacing_folder(name, METADATA) as place:
        for side, factors in zip(SIDES, (state.user_factors, state.item_factors), strict=True):
            numbers = ids[side]
            if not pa.types.is_int32(numbers.type):
                numbers = pa.array(np.arange(len(numbers), dtype=np.int32))
                labels = pa.RecordBatch.from_arrays([numbers, ids[side]], names=["id", "label"])
                _write_table(place, f"{OWN}/{side}Labels", [labels])
            _write_table(place, f"{side}Factors", factor_batches(numbers, factors))
        if has_seen:
            _write_table(place, SEEN, seen_batches(state, ids["user"], ids["item"]))
        _write_line(place, f"{OWN}/{METADATA}", line_of(content_of_model(model), kinds_of(state, ids), has_seen))
        _write_line(place, METADATA, spark_line(state.user_factors.shape[1], uid=f"ALS_{uuid4().hex[-12:]}"))


def _check_free(name: str, overwrite: bool) -> None:
    """Refuse a place where something is, unless it may go."""
    place = locate(name)
    there = place.filesystem.get_file_info(place.path)
    if there.type == fs.FileType.NotFound:
        return
    if not overwrite:
        raise ParameterError(
            f"path must be a new folder, got {told_address(name)!r}: overwrite=True replaces what is there"
        )
    found = {there.base_name}
    if there.type == fs.FileType.Directory:
        found = {each.base_name for each in place.filesystem.get_file_info(fs.FileSelector(place.path))}
    others = sorted(each for each in found if each not in PARTS and not each.startswith(("_", ".")))
    if others:
        raise ParameterError(
            f"path must be a new folder or that of a model, got {told_address(name)!r}, which holds {others[0]!r}"
        )


PARTS = {METADATA, OWN, *(f"{side}Factors" for side in SIDES)}


def _write_table(place: Any, name: str, batches: Iterable[pa.RecordBatch]) -> None:
    directory, writer = f"{place.path}/{name}", None
    place.filesystem.create_dir(directory, recursive=True)
    with place.filesystem.open_output_stream(f"{directory}/part-00000.snappy.parquet") as sink:
        for batch in batches:
            writer = writer or parquet.ParquetWriter(sink, batch.schema, store_schema=False)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()


def _write_line(place: Any, name: str, line: str) -> None:
    directory = f"{place.path}/{name}"
    place.filesystem.create_dir(directory, recursive=True)
    with place.filesystem.open_output_stream(f"{directory}/part-00000.txt") as sink:
        sink.write(f"{line}\n".encode())
