"""Where files are: local paths, and addresses as hdfs://, s3://, gs:// and file://.

pyarrow.fs opens s3:// and gs:// (credentials and endpoints from the environment, as their own tools read them); fsspec
opens the others, hdfs:// through hdfs-native. A plain local path needs neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from .._core import FileFormatError, MissingDependencyError, ParameterError, check_path, files
from .._core import has_pyarrow as has_pyarrow

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2"}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: C:\ is a drive


class Location(NamedTuple):
    """A file or a directory as pyarrow addresses it; ``name`` is how it was given."""

    filesystem: FileSystem
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
        return False
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return not (is_remote(name) or name.startswith("file:") or os.path.isdir(name)) and suffix_of(name)[1] in (
        "",
        ".gz",
    )


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


def open_file(name: str) -> IO[bytes]:
    """Open a file for reading, wherever it is, decompressed if its name says that it is compressed."""
    _, compression = suffix_of(name)
    if not is_remote(name):
        import bz2
        import gzip

        openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
        return openers.get(compression, open)(local_path(name), "rb")  # type: ignore[no-any-return]
    place = locate(name)
    stream = place.filesystem.open_input_stream(place.path, compression=COMPRESSIONS.get(compression))
    return stream  # type: ignore[no-any-return]


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
