"""The container of all files that fastals writes: safetensors (no pickle, memory-mapped, readable elsewhere).

Layout (https://github.com/huggingface/safetensors): 8 bytes length, JSON header, then the tensors. The header's
``__metadata__`` holds ``format``, ``version``, ``content``, a JSON object, and ``content_crc32``; the content holds the
CRC-32 of each tensor, its dtype and shape included.

Reading trusts nothing: sizes, offsets, dtypes and shapes are checked before the first array exists; what the values
mean is for the caller to check. The tensors' checksums are compared where each byte is read anyway (``mmap=False``), so
that mapping a large file stays a matter of milliseconds.
"""

import json
import math
import mmap as mmap_module
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import replacing
from .names import __version__

_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U64": "<u8", "I32": "<i4", "U8": "|u1"}
_MAX_HEADER = 100_000_000  # the limit of the safetensors library


def write_tensors(
    path: str, kind: str, version: str, content: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Write a file of this kind and version, atomically: see `fastals._core.files.replacing`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    text = json.dumps(
        {
            **content,
            "crc32": {name: _crc32(tensor) for name, tensor in arrays.items()},
            "written_by": f"fastals {__version__}",
        }
    )
    metadata = {
        "format": f"fastals-{kind}",
        "version": version,
        "content": text,
        "content_crc32": str(zlib.crc32(text.encode())),
    }
    with replacing(path) as temporary:
        try:
            save_file(arrays, temporary, metadata)
        except SafetensorError as error:  # the library's own wrapping of, for one, a full disk
            raise OSError(f"{path}: {error}") from error


def read_tensors(
    path: str, kind: str, versions: Sequence[str], *, mmap: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Content and tensors of a file of this kind and of one of these versions.

    Errors are those that `files.reading` translates.

    With ``mmap`` the tensors stay in the file, read-only; without it all is read and the checksums are compared.
    """
    metadata, tensors = _read_safetensors(path, mmap=mmap)
    if metadata.get("format") != f"fastals-{kind}":
        raise ValueError(f"a safetensors file, but not a fastals {kind}")
    if metadata.get("version") not in versions:
        read = " and ".join(map(repr, versions))
        raise ValueError(f"format version {metadata.get('version')!r}; this fastals reads version {read}")
    text = metadata.get("content", "")
    content = json.loads(text)
    if metadata.get("content_crc32") != str(zlib.crc32(text.encode())):
        raise ValueError("its metadata are damaged: their checksum differs")
    if not mmap:
        expected = field(content, "crc32", dict)
        for name, tensor in tensors.items():
            if expected.get(name) != _crc32(tensor):
                raise ValueError(f"tensor {name!r} is damaged: its checksum differs")
    return content, tensors


def field(content: Any, name: str, kind: type) -> Any:
    """Return an entry of a JSON object that must be of this very type."""
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{name!r} is missing in the metadata, or not of type {kind.__name__}")
    return value


class Tensors:
    """The tensors of a file, to be taken one by one."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.left = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self.left

    def take(self, name: str, dtypes: str, *shape: int | None) -> NDArray[Any]:
        """Return a tensor of one of these dtypes and of this shape; None: of any length."""
        if name not in self.left:
            raise ValueError(f"tensor {name!r} is missing")
        tensor = self.left.pop(name)
        wanted = len(shape) == tensor.ndim and all(n in (None, m) for n, m in zip(shape, tensor.shape, strict=True))
        if not wanted or tensor.dtype.str not in dtypes.split():
            raise ValueError(f"tensor {name!r} has shape {tensor.shape} and dtype {tensor.dtype}")
        return tensor

    def take_offsets(self, name: str, count: int, end: int) -> NDArray[np.int64]:
        """Return where each of so many begins, and at last where all end: what rises from 0 to ``end``."""
        offsets = self.take(name, "<i8", count + 1)
        if offsets[0] != 0 or offsets[-1] != end or (offsets[1:] < offsets[:-1]).any():
            raise ValueError(f"{name} do not rise from 0 to {end}")
        return offsets

    def check_empty(self) -> None:
        """Refuse what nobody has taken."""
        if self.left:
            raise ValueError(f"unexpected tensor {next(iter(self.left))!r}")


def _crc32(tensor: NDArray[Any]) -> int:
    return zlib.crc32(tensor.data, zlib.crc32(f"{tensor.dtype} {tensor.shape}".encode()))


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
