"""Where files are, local paths and addresses as hdfs://, s3://, gs:// and file://, and their bytes, decompressed.

pyarrow.fs opens s3:// and gs:// (credentials and endpoints from the environment, as their own tools read them); fsspec
opens the others, hdfs:// through hdfs-native. A plain local path needs neither.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from .._core import FastalsError, FileFormatError, MissingDependencyError, ParameterError, check_path, files
from .._core import has_pyarrow as has_pyarrow

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

COMPRESSIONS = (".gz", ".bz2", ".zst", ".xz", ".zip")
"""Suffixes of what is decompressed while it is read; nothing is written so."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: C:\ is a drive


class Location(NamedTuple):
    """A file or a directory as pyarrow addresses it; ``name`` is how it was given."""

    filesystem: Any
    """One of pyarrow.fs; None: a local file, where there is no pyarrow."""
    path: str
    name: str


def is_remote(name: str) -> bool:
    """Whether a name is an address of another file system than the local one."""
    scheme = _SCHEME.match(name)
    return scheme is not None and scheme[1].lower() != "file"


def local_path(name: str) -> str:
    """Return the path that a local name, perhaps a file:// address, stands for."""
    return re.sub(r"^(?i:file)://(localhost)?(?=/)", "", name)


def suffix_of(name: str) -> tuple[str, str]:
    """Return the suffix that tells the format and the one that tells the compression, in lower case, or ""."""
    path = PurePosixPath(name.replace("\\", "/").rstrip("/"))
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    return (suffixes[-1] if suffixes else ""), compression


def is_single_file(path: Any) -> bool:
    """Whether a path is a local one of something that is no directory, of a kind that needs no pyarrow to be read."""
    if isinstance(path, list | tuple):
        return len(path) == 1 and is_single_file(path[0])
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return not (is_remote(name) or name.startswith("file:") or os.path.isdir(name)) and suffix_of(name)[1] != ".zst"


def locate(name: str) -> Location:
    """Return where a path or an address leads.

    Raises
    ------
    MissingDependencyError
        Names the extra that opens such an address.
    FileFormatError
        The address cannot be resolved, or its server does not answer.
    """
    need("io", "pyarrow", "reading Parquet, CSV and JSON lines in batches")
    from pyarrow import fs

    if not is_remote(name):
        return Location(fs.LocalFileSystem(), os.path.abspath(local_path(name)), name)
    scheme = name.split("://")[0].lower()
    try:
        if scheme in ("s3", "gs", "gcs"):
            filesystem, path = fs.FileSystem.from_uri(name)
            return Location(filesystem, path, name)
        need("hdfs" if scheme == "hdfs" else "io", "fsspec", f"{scheme}:// addresses")
        if scheme == "hdfs":
            need("hdfs", "hdfs_native", "hdfs:// addresses")
            from hdfs_native.fsspec import HdfsFileSystem

            address = urlsplit(name)
            return Location(_wrapped(HdfsFileSystem(address.hostname, address.port)), address.path, name)
        import fsspec

        opened, path = fsspec.core.url_to_fs(name)
    except (MissingDependencyError, MemoryError):
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{name}: {error}") from error
    except Exception as error:  # fsspec's file systems raise whatever theirs do
        raise FileFormatError(f"{name}: cannot be reached: {error}") from error
    return Location(_wrapped(opened), path, name)


def _wrapped(filesystem: Any) -> FileSystem:
    """Return a file system of fsspec as one of pyarrow."""
    from pyarrow import fs

    return fs.PyFileSystem(fs.FSSpecHandler(filesystem))


def need(extra: str, module: str, what: str) -> None:
    """Refuse to go on without an optional package."""
    if find_spec(module) is None:
        package = module.replace("_", "-")
        raise MissingDependencyError(f"{what} needs {package}: pip install 'fastals[{extra}]'")


def hive_columns(files: Sequence[str], roots: Sequence[str]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return columns that directories as "day=7" stand for: their Arrow type, and the value of each file."""
    import pyarrow as pa

    columns: dict[str, dict[str, str | None]] = {}
    for file in files:
        root = next((root for root in roots if file.startswith(root)), "")
        for part in file[len(root) :].split("/")[:-1]:
            name, equals, value = part.partition("=")
            if equals and name:
                given = unquote(value)
                columns.setdefault(unquote(name), {})[file] = None if value == "__HIVE_DEFAULT_PARTITION__" else given
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, values in columns.items():
        try:
            numbers = {file: None if value is None else int(value) for file, value in values.items()}
            found[name] = (
                pa.int32() if max(map(abs, filter(None, numbers.values())), default=0) < 2**31 else pa.int64(),
                numbers,
            )
        except ValueError:
            found[name] = pa.string(), dict(values)
    return found


def check_target(name: str) -> None:
    """Refuse what can be known beforehand to be unwritable, before the work and not after it."""
    if is_remote(name):
        locate(name)
    else:
        files.check_target(local_path(name))


@contextmanager
def replacing(name: str) -> Iterator[str]:
    """Give a local path; what was written there takes the place of ``name``, whole or not at all.

    A local file is replaced as :func:`fastals._core.files.replacing` does it. For another file system the file is
    written to local temporary space first and sent there in one go: under a temporary name and then renamed, but for
    object stores, which show a file only when it is complete.
    """
    name = check_path("path", name)
    if not is_remote(name):
        with files.replacing(local_path(name)) as temporary:
            yield temporary
        return
    import tempfile

    place = locate(name)
    with tempfile.TemporaryDirectory(prefix="fastals-") as directory:
        local = os.path.join(directory, os.path.basename(place.path.rstrip("/")) or "file")
        yield local
        try:
            _send(local, place)
        except OSError as error:
            raise FileFormatError(f"{name}: cannot be written: {error}") from error


def _send(local: str, place: Location) -> None:
    import shutil

    filesystem, path = place.filesystem, place.path
    if not path.strip("/"):
        raise ParameterError(f"{place.name}: names no file")
    renames = filesystem.type_name not in ("s3", "gcs")
    target = f"{path}.{os.urandom(4).hex()}.tmp" if renames else path
    try:
        if renames:
            filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        with open(local, "rb") as source, filesystem.open_output_stream(target, compression=None) as sink:
            shutil.copyfileobj(source, sink, 1 << 22)
        if renames:
            _rename(filesystem, target, path)
    except BaseException:
        with suppress(Exception):
            filesystem.delete_file(target)
        raise


def _rename(filesystem: FileSystem, source: str, target: str) -> None:
    opened = filesystem.handler.fs
    if opened.protocol == "hdfs":
        opened.mv(source, target, overwrite=True)  # in one step; pyarrow's move would refuse to replace a file
    else:
        filesystem.move(source, target)


# ---------------------------------------------------------------------------------------------------------------------
# their bytes


def open_raw(filesystem: Any, path: str, *, seeks: bool) -> IO[bytes]:
    """Open a file as it is; ``filesystem`` None: a local one, without pyarrow."""
    if filesystem is None or (seeks and filesystem.type_name == "local"):
        return open(path, "rb")
    stream = filesystem.open_input_file(path) if seeks else filesystem.open_input_stream(path, compression=None)
    return stream  # type: ignore[no-any-return]


@contextmanager
def opened(filesystem: Any, path: str) -> Iterator[IO[bytes]]:
    """Give a file's content, decompressed if its name says that it is compressed.

    Raises
    ------
    FileFormatError
        It cannot be opened.
    """
    compression = suffix_of(path)[1]
    with ExitStack() as stack:
        with naming(path):
            stream = stack.enter_context(open_raw(filesystem, path, seeks=compression == ".zip"))
            if compression:
                stream = stack.enter_context(decompressed(stream, path, compression))
        yield stream


def decompressed(raw: Any, name: str, compression: str) -> IO[bytes]:
    """Return a stream that decompresses another one."""
    if compression == ".zip":
        return _unzipped(raw, name)
    if compression == ".xz":
        import lzma

        return lzma.open(raw)
    codec = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}[compression]
    if compression == ".zst":
        need("io", "pyarrow", "reading .zst")
    if has_pyarrow():
        import pyarrow as pa

        stream: IO[bytes] = pa.CompressedInputStream(raw, codec)
        return stream
    import bz2
    import gzip

    openers: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open}
    return openers[codec](raw)  # type: ignore[no-any-return]


def _unzipped(raw: Any, name: str) -> IO[bytes]:
    """Return the only file of data in an archive."""
    import zipfile

    archive = zipfile.ZipFile(raw)
    hidden = ("__MACOSX", ".")
    files = [
        entry.filename
        for entry in archive.infolist()
        if not entry.is_dir() and not any(part.startswith(hidden) for part in PurePosixPath(entry.filename).parts)
    ]
    if len(files) != 1:
        found = f"{', '.join(files[:5])}{', …' if len(files) > 5 else ''}" if files else "none"
        raise FileFormatError(f"{name}: the archive must hold one file, got {found}: unpack it first")
    return archive.open(files[0])


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Turn what is raised while a file is read into a FileFormatError that names it."""
    import lzma
    import zipfile

    kinds: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
    kinds += (NotImplementedError, RuntimeError)  # of zipfile, for methods that it does not know and for passwords
    if has_pyarrow():
        import pyarrow as pa

        kinds += (pa.ArrowException,)
    try:
        yield
    except FastalsError:
        raise
    except kinds as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: cannot be read: {reason}") from error


def fill(stream: IO[bytes], path: str, size: int) -> bytes:
    """Read so many bytes of a file, fewer only at its end."""
    with naming(path):
        parts = [stream.read(size)]
        missing = size - len(parts[0])
        while parts[-1] and missing:
            parts.append(stream.read(missing))
            missing -= len(parts[-1])
    return b"".join(parts) if len(parts) > 1 else parts[0]


def open_file(name: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file for reading, wherever it is, decompressed if its name says that it is compressed."""
    if not is_remote(name):
        return opened(None, local_path(name))
    place = locate(name)
    return opened(place.filesystem, place.path)


@contextmanager
def fetched(name: str) -> Iterator[str]:
    """Give the local path of a file, wherever it is; of a remote one that of a copy, which goes at the end."""
    name = check_path("path", name)
    if not is_remote(name):
        yield local_path(name)
        return
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fastals-") as directory:
        copy = os.path.join(directory, "file")
        try:
            with open_file(name) as source, open(copy, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 22)
        except OSError as error:
            raise FileFormatError(f"{name}: cannot be read: {error}") from error
        yield copy
