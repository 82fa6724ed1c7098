"""Where files are, local paths and addresses as hdfs://, s3://, gs:// and file://, and their bytes, decompressed.

pyarrow.fs opens s3:// and gs:// (credentials and endpoints from the environment, as their own tools read them); fsspec
opens the others, hdfs:// through hdfs-native. A plain local path needs neither.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from .._core import FastalsError, FileFormatError, MissingDependencyError, ParameterError, check_path, files
from .._core import has_pyarrow as has_pyarrow
from .._core import is_remote as is_remote
from .._core import told_address as told_address

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

COMPRESSIONS = (".gz", ".bz2", ".zst", ".xz", ".zip")
"""Suffixes of what is decompressed while it is read; nothing is written so."""

MEMBER_BYTES = 1 << 20
"""Compressed bytes that are read at once."""

HIDDEN = ("_", ".")
"""How names of files in a directory begin that are no data: _SUCCESS, .crc."""

TABLES = {
    "Delta Lake": (re.compile(r"/_delta_log/"), "delta_scan"),
    "Iceberg": (re.compile(r"/metadata/[^/]+\.metadata\.json$"), "iceberg_scan"),
    "Hudi": (re.compile(r"/\.hoodie/"), ""),
}
"""Tables whose files hold deleted and replaced rows, too: by what they are known, and what DuckDB reads them by."""


class Location(NamedTuple):
    """A file or a directory as pyarrow addresses it; ``name`` is how it was given."""

    filesystem: Any
    """One of pyarrow.fs; None: a local file, where there is no pyarrow."""
    path: str
    name: str


def _reason(error: BaseException, name: str) -> str:
    """Say in one line why a place cannot be reached, without what is secret in its address."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    address, secrets = name.partition("://")[2], {name}
    user, at, _ = address.rpartition("@")
    if at:
        secrets |= {f"{user}@", *filter(None, (user, user.partition(":")[2], unquote(user.partition(":")[2])))}
    if "?" in address:
        secrets |= {part.partition("=")[2] or part for part in address.partition("?")[2].split("&")} - {""}
    for secret in sorted(secrets, key=len, reverse=True) if is_remote(name) else ():
        text = text.replace(secret, told_address(name) if secret == name else "***")
    return text


def local_path(name: str) -> str:
    """Return the path that a local name, perhaps an address as file:///tmp or file:/tmp, stands for."""
    return re.sub(r"^(?i:file):(//(localhost)?)?(?=/(?!/))", "", name)


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
        raise MissingDependencyError(f"{told_address(name)}: {_reason(error, name)}") from None
    except Exception as error:  # fsspec's file systems raise whatever theirs do
        raise FileFormatError(f"{told_address(name)}: cannot be reached: {_reason(error, name)}") from None
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
        there = [value for value in values.values() if value is not None]
        if all(re.fullmatch(r"-?[0-9]{1,18}", value) for value in there):  # as pyarrow reads those of Parquet
            kind = pa.int32() if max((abs(int(value)) for value in there), default=0) < 2**31 else pa.int64()
            found[name] = kind, {file: None if value is None else int(value) for file, value in values.items()}
        else:
            found[name] = pa.string(), dict(values)
    return found


def data_files(place: Location) -> list[tuple[str, int | None]]:
    """Return the paths of the data files at a place, in the order of their names, and their sizes where told.

    Raises
    ------
    FileFormatError
        There are none; or a directory holds what is no file, a file twice by links, or a table of files some rows of
        which are deleted.
    """
    name = told_address(place.name)
    if place.filesystem is None:
        try:
            about = os.stat(place.path)
        except OSError as error:
            raise FileFormatError(f"{name}: cannot be read: {_reason(error, place.name)}") from error
        if not stat.S_ISREG(about.st_mode):
            raise FileFormatError(f"{name}: is no file")
        return [(place.path, about.st_size)]
    from pyarrow import fs

    try:
        info = place.filesystem.get_file_info(place.path)
        if info.type == fs.FileType.File:
            return [(place.path, info.size)]
        if info.type == fs.FileType.NotFound:
            raise FileFormatError(f"{name}: cannot be read: No such file or directory")
        if info.type != fs.FileType.Directory:
            raise FileFormatError(f"{name}: is neither a file nor a directory")
        infos = place.filesystem.get_file_info(fs.FileSelector(place.path, recursive=True))
    except OSError as error:
        if isinstance(error, FastalsError):
            raise
        raise FileFormatError(f"{name}: cannot be read: {_reason(error, place.name)}") from error
    inside = len(place.path.rstrip("/"))
    _check_no_table(name, [info.path[inside:] for info in infos])
    infos = [info for info in infos if not any(part.startswith(HIDDEN) for part in info.path[inside + 1 :].split("/"))]
    for info in infos:
        if info.type not in (fs.FileType.File, fs.FileType.Directory):
            raise FileFormatError(f"{told_address(info.path)}: is neither a file nor a directory")
    files = sorted((info.path, info.size) for info in infos if info.type == fs.FileType.File)
    if not files:
        raise FileFormatError(f"{name}: the directory holds no data files")
    if place.filesystem.type_name == "local":
        directories = [place.path, *(info.path for info in infos if info.type == fs.FileType.Directory)]
        _check_links(directories, [path for path, _ in files])
    return files


def _check_no_table(name: str, paths: Sequence[str]) -> None:
    for table, (mark, scan) in TABLES.items():
        if any(mark.search(path) for path in paths):
            how = (
                f"as [events] query = \"SELECT * FROM {scan}('…')\" or fastals.scoring.SQL" if scan else "by its tools"
            )
            raise FileFormatError(f"{name}: is a table of {table}, whose files hold deleted rows too: read it {how}")


def _check_links(directories: Sequence[str], files: Sequence[str]) -> None:
    """Refuse links to nothing, which pyarrow passes over, and such as lead to a file that is read anyway."""
    entries = (entry for directory in directories for entry in os.scandir(directory))
    links = [entry for entry in entries if entry.is_symlink() and not entry.name.startswith(HIDDEN)]
    for link in links:
        if not os.path.exists(link.path):
            raise FileFormatError(f"{link.path}: is a link to nothing")
    seen: dict[str, str] = {}
    for file in files if links else ():
        other = seen.setdefault(os.path.realpath(file), file)
        if other != file:
            raise FileFormatError(f"{file}: is {other} once more, by a link: name the files or directories to be read")


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
            raise FileFormatError(f"{told_address(name)}: cannot be written: {_reason(error, name)}") from error


@contextmanager
def replacing_folder(name: str, mark: str) -> Iterator[Location]:
    """Give a place for a folder; what was written there takes the place of ``name``.

    A local one is replaced as :func:`fastals._core.files.replacing_folder` does it. Elsewhere folders are not renamed
    in one step: the place is the folder's own, and only with ``mark``, a folder in it, is it whole. That goes before
    the rest of an old one, and is to be written last.
    """
    place = locate(check_path("path", name))
    if not is_remote(name):
        with files.replacing_folder(place.path) as temporary:
            yield place._replace(path=temporary)
        return
    from pyarrow import fs

    try:
        for old in (f"{place.path}/{mark}", place.path):
            if place.filesystem.get_file_info(old).type == fs.FileType.Directory:
                place.filesystem.delete_dir(old)
        yield place
    except OSError as error:
        raise FileFormatError(f"{told_address(name)}: cannot be written: {_reason(error, name)}") from error


def _send(local: str, place: Location) -> None:
    import shutil

    filesystem, path = place.filesystem, place.path
    if not path.strip("/"):
        raise ParameterError(f"{told_address(place.name)}: names no file")
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
    if compression in (".bz2", ".xz"):
        import bz2
        import lzma

        new = bz2.BZ2Decompressor if compression == ".bz2" else lzma.LZMADecompressor
        return io.BufferedReader(_Members(raw, new), MEMBER_BYTES)
    if compression == ".zst":
        need("io", "pyarrow", "reading .zst")
    if has_pyarrow():
        import pyarrow as pa

        stream: IO[bytes] = pa.CompressedInputStream(raw, "gzip" if compression == ".gz" else "zstd")
        return stream
    import gzip

    unzipped: Any = gzip.GzipFile(fileobj=raw)
    return unzipped  # type: ignore[no-any-return]


class _Members(io.RawIOBase):
    """What one or several members hold, one behind the other, and nothing else: Python's readers pass over the rest."""

    def __init__(self, raw: IO[bytes], new: Callable[[], Any]) -> None:
        self.raw, self.new = raw, new
        self.member: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        while True:
            data = b""
            if self.member is None or self.member.eof or self.member.needs_input:
                ended = self.member is None or self.member.eof
                data = (self.member.unused_data if self.member is not None and ended else b"") or self.raw.read(
                    MEMBER_BYTES
                )
                if not data and ended:
                    return 0
                if not data:
                    raise EOFError("the file ends before what is compressed in it does")
                if ended:
                    self.member = self.new()
            found = self.member.decompress(data, len(room))
            if found:
                room[: len(found)] = found
                return len(found)


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
        raise FileFormatError(f"{told_address(path)}: cannot be read: {_reason(error, path)}") from error


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
            raise FileFormatError(f"{told_address(name)}: cannot be read: {_reason(error, name)}") from error
        yield copy
