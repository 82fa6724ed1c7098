"""A model as one safetensors file: no pickle, memory-mapped, readable elsewhere, safe to open from strangers.

Layout (https://github.com/huggingface/safetensors): 8 bytes length, JSON header, then the tensors.

    user_factors   (n_users, factors)  F32 or F64         seen_indptr   (n_users + 1,)  I64
    item_factors   (n_items, factors)  the same dtype     seen_indices  (nnz,)          I32
    loss_history   (n,)                F64
    users, items   labels by kind:  "index"  none         "int64"  (n,) I64      "uuid"  (n, 16) U8
                                    "string", "bytes"  the (UTF-8) bytes, U8, and users_offsets, items_offsets
                                                       (n + 1,) I64: label i is bytes offsets[i] to offsets[i + 1]

The header's ``__metadata__`` holds ``format``, ``version`` and ``content``: a JSON object with the class, its
parameters, the kinds of the labels and the CRC-32 of each tensor.

Reading trusts nothing: sizes, offsets, dtypes and shapes are checked before the first array exists, and every value
that compiled code uses as an address (`seen_indptr`, `seen_indices`, the offsets) before the model does. The checksums
are compared where each byte is read anyway (``mmap=False``), so that mapping a large model stays a matter of
milliseconds.
"""

import json
import math
import mmap as mmap_module
import os
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._exceptions import FileFormatError
from ._files import replacing
from ._ids import Labels
from ._threads import resolve_num_threads
from ._version import __version__

__all__ = ["ModelState", "load_model", "save_model"]

FORMAT = "fastals-model"
VERSION = "1"

_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
_MAX_HEADER = 100_000_000  # the limit of the safetensors library


@dataclass(frozen=True)
class ModelState:
    """What a fitted model consists of; arrays as in the table above."""

    parameters: dict[str, Any]
    user_factors: NDArray[Any]
    item_factors: NDArray[Any]
    users: Labels
    items: Labels
    seen_indptr: NDArray[np.int64]
    seen_indices: NDArray[np.int32]
    loss_history: list[float]
    n_iter: int


Model = TypeVar("Model", bound="Persistent")


class Persistent(Protocol):
    """The two hooks by which an estimator is saved and made again."""

    def _get_state(self) -> ModelState: ...

    @classmethod
    def _from_state(cls: type[Model], state: ModelState) -> Model: ...


def save_model(model: Persistent, path: str) -> None:
    """Write `model` to the file `path`, atomically: see `fastals._files.replacing`.

    Raises
    ------
    NotFittedError
        The model has no factors yet.
    OSError
        The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    state = model._get_state()
    tensors = {
        "user_factors": state.user_factors,
        "item_factors": state.item_factors,
        "seen_indptr": state.seen_indptr,
        "seen_indices": state.seen_indices,
        "loss_history": np.array(state.loss_history, dtype=np.float64),
    }
    kinds = {
        "users": _encode_labels("users", state.users, tensors),
        "items": _encode_labels("items", state.items, tensors),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content = {
        "class": type(model).__name__,
        "parameters": {name: _plain(value) for name, value in state.parameters.items()},
        "n_iter": state.n_iter,
        "labels": kinds,
        "crc32": {name: zlib.crc32(tensor.data) for name, tensor in tensors.items()},
        "written_by": f"fastals {__version__}",
    }
    metadata = {"format": FORMAT, "version": VERSION, "content": json.dumps(content)}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # the library's own wrapping of, for one, a full disk
            raise OSError(f"{path}: {error}") from error


def load_model(path: str, classes: Iterable[type[Model]], *, mmap: bool = True) -> Model:
    """Read the model that `save_model` wrote; it must be of one of `classes`.

    With `mmap` the factors stay in the file and are read where they are touched; many processes share them. Without
    it the whole file is read and its checksums are compared.

    Raises
    ------
    FileFormatError
        The file is missing, damaged, or not a fastals model.
    """
    try:
        metadata, tensors = _read_safetensors(path, mmap=mmap)
        if metadata.get("format") != FORMAT:
            raise ValueError("a safetensors file, but not a fastals model")
        if metadata.get("version") != VERSION:
            raise ValueError(f"format version {metadata.get('version')!r}; this fastals reads version {VERSION!r}")
        content = json.loads(metadata.get("content", ""))
        if not mmap:
            _check_crc32(content, tensors)
        known = {cls.__name__: cls for cls in classes}
        name = _field(content, "class", str)
        if name not in known:
            raise ValueError(f"it holds a model of class {name!r}, not {' or '.join(known)}")
        return known[name]._from_state(_read_state(content, tensors))
    except (ValueError, TypeError, RecursionError) as error:  # errors of JSON, UTF-8 and parameters among them
        raise FileFormatError(f"{path} is not a usable model file: {error}") from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}") from error


# --- the container ---------------------------------------------------------------------------------------------------


def _read_safetensors(path: str, *, mmap: bool) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Metadata and tensors of any well-formed safetensors file, the tensors as views of one buffer."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise ValueError(f"{size} bytes are too few for a safetensors header")
        if mmap:
            buffer = np.frombuffer(mmap_module.mmap(file.fileno(), size, access=mmap_module.ACCESS_READ), np.uint8)
        else:
            buffer = np.fromfile(file, np.uint8, size)
            if buffer.size < size:
                raise ValueError("it became shorter while it was read")
    header_size = int.from_bytes(buffer[:8].tobytes(), "little")
    if header_size > min(_MAX_HEADER, size - 8):
        raise ValueError("it is truncated, or not a safetensors file")
    header = json.loads(buffer[8 : 8 + header_size].tobytes().decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    metadata = header.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise ValueError("the header's metadata is not a map of strings")
    data = buffer[8 + header_size :]
    entries = sorted((_parse_entry(name, entry) for name, entry in header.items()), key=lambda entry: entry[3:])
    tensors, end_of_last = {}, 0
    for name, dtype, shape, begin, end in entries:
        if begin != end_of_last:
            raise ValueError(f"tensor {name!r} leaves a gap or overlaps another")
        if end > data.size:
            raise ValueError(f"it is truncated: tensor {name!r} ends at byte {end} of {data.size}")
        if (8 + header_size + begin) % dtype.itemsize:
            raise ValueError(f"tensor {name!r} is not aligned")
        tensors[name] = data[begin:end].view(dtype).reshape(shape)
        end_of_last = end
    if end_of_last != data.size:
        raise ValueError(f"{data.size - end_of_last} bytes follow the last tensor")
    return metadata, tensors


def _parse_entry(name: str, entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
    """One line of the header as (name, dtype, shape, begin, end), consistent in itself."""

    def sizes(key: str) -> list[int]:
        numbers = entry[key]
        if not (isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)):
            raise ValueError(f"{key} of tensor {name!r} is not a list of sizes")
        return numbers

    if not (isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}):
        raise ValueError(f"the header's entry of tensor {name!r} is malformed")
    if not (isinstance(entry["dtype"], str) and entry["dtype"] in _DTYPES):
        raise ValueError(f"tensor {name!r} is of type {entry['dtype']!r}, not one of {', '.join(_DTYPES)}")
    dtype, shape, offsets = np.dtype(_DTYPES[entry["dtype"]]), sizes("shape"), sizes("data_offsets")
    if len(offsets) != 2 or len(shape) > 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"shape and extent of tensor {name!r} disagree")
    return name, dtype, tuple(shape), offsets[0], offsets[1]


# --- the model -------------------------------------------------------------------------------------------------------


def _read_state(content: Any, tensors: dict[str, NDArray[Any]]) -> ModelState:
    """Check each tensor against the table at the head of this module, and what serves as an address by value."""
    tensors = dict(tensors)

    def take(name: str, dtypes: str, *shape: int | None) -> NDArray[Any]:
        if name not in tensors:
            raise ValueError(f"tensor {name!r} is missing")
        tensor = tensors.pop(name)
        wanted = len(shape) == tensor.ndim and all(n in (None, m) for n, m in zip(shape, tensor.shape, strict=True))
        if not wanted or tensor.dtype not in [_DTYPES[dtype] for dtype in dtypes.split()]:
            raise ValueError(f"tensor {name!r} has shape {tensor.shape} and dtype {tensor.dtype}")
        return tensor

    def take_labels(side: str, size: int) -> Labels:
        kind = _field(_field(content, "labels", dict), side, str)
        if kind == "index":
            return Labels(None, size)
        if kind == "int64":
            return Labels(take(side, "I64", size), size)
        if kind == "uuid":
            return Labels(_decode_uuids(take(side, "U8", size, 16)), size)
        if kind in ("string", "bytes"):
            text, offsets = take(side, "U8", None), take(f"{side}_offsets", "I64", size + 1)
            _check_offsets(f"{side}_offsets", offsets, text.size)
            return Labels(_decode_text(text, offsets, kind), size)
        raise ValueError(f"{side} have labels of unknown kind {kind!r}")

    user_factors = take("user_factors", "F32 F64", None, None)
    n_users, factors = user_factors.shape
    item_factors = take("item_factors", "F32" if user_factors.dtype == np.float32 else "F64", None, factors)
    n_items = item_factors.shape[0]
    if not (factors and max(n_users, n_items) < 2**31):
        raise ValueError(f"{n_users} x {n_items} factors of length {factors}")
    seen_indptr, seen_indices = take("seen_indptr", "I64", n_users + 1), take("seen_indices", "I32", None)
    _check_offsets("seen_indptr", seen_indptr, seen_indices.size)
    if _kernels.check_rows(seen_indptr, seen_indices, n_items, None, resolve_num_threads()) & ~_kernels.REPEATED:
        raise ValueError(f"seen_indices are not within 0..{n_items - 1}, or do not ascend within each row")
    state = ModelState(
        parameters=_field(content, "parameters", dict),
        user_factors=user_factors,
        item_factors=item_factors,
        users=take_labels("users", n_users),
        items=take_labels("items", n_items),
        seen_indptr=seen_indptr,
        seen_indices=seen_indices,
        loss_history=take("loss_history", "F64", None).tolist(),
        n_iter=_field(content, "n_iter", int),
    )
    if tensors:
        raise ValueError(f"unexpected tensor {next(iter(tensors))!r}")
    return state


def _field(content: Any, name: str, kind: type) -> Any:
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{name!r} is missing in the metadata, or not of type {kind.__name__}")
    return value


def _check_offsets(name: str, offsets: NDArray[np.int64], end: int) -> None:
    if offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"{name} do not rise from 0 to {end}")


def _check_crc32(content: Any, tensors: dict[str, NDArray[Any]]) -> None:
    expected = _field(content, "crc32", dict)
    for name, tensor in tensors.items():
        if expected.get(name) != zlib.crc32(tensor.data):
            raise ValueError(f"tensor {name!r} is damaged: its checksum differs")


def _plain(value: Any) -> Any:
    """Turn a parameter into what JSON has; a random generator, which is no value, becomes None."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    return None


# --- labels ----------------------------------------------------------------------------------------------------------


def _encode_labels(side: str, labels: Labels, tensors: dict[str, NDArray[Any]]) -> str:
    """Add the tensors of `labels` to `tensors`; returns the kind."""
    if labels.values is None:
        return "index"
    if labels.values.dtype.kind == "i":
        tensors[side] = labels.values.astype(np.int64, copy=False)
        return "int64"
    values = labels.values.tolist()
    if isinstance(values[0], uuid.UUID):
        tensors[side] = np.frombuffer(b"".join(label.bytes for label in values), np.uint8).reshape(-1, 16)
        return "uuid"
    kind = "bytes" if isinstance(values[0], bytes) else "string"
    if kind == "string":
        # surrogatepass: a label may hold half a surrogate pair, as file names with undecodable bytes do
        values = [label.encode("utf-8", "surrogatepass") for label in values]
    tensors[side] = np.frombuffer(b"".join(values), np.uint8)
    tensors[f"{side}_offsets"] = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return kind


def _decode_text(text: NDArray[np.uint8], offsets: NDArray[np.int64], kind: str) -> NDArray[Any]:
    blob = text.tobytes()
    labels: list[Any] = [blob[begin:end] for begin, end in pairwise(offsets.tolist())]
    if kind == "string":
        labels = [label.decode("utf-8", "surrogatepass") for label in labels]
    return np.fromiter(labels, dtype=object, count=len(labels))


def _decode_uuids(rows: NDArray[np.uint8]) -> NDArray[Any]:
    return np.fromiter((uuid.UUID(bytes=row.tobytes()) for row in rows), dtype=object, count=len(rows))
