"""
The archive as an fsspec file system: ``pacifica://12345`` over any backend.

Needs the extra ``pacifica-archive-core[fsspec]``; nothing else of the core does.
There is one flat name space of ids, and no listing: an archive cannot tell what
it holds.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import operator
import os
import re
import sys
import threading
import time
import warnings
import weakref
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

# It has no types.
from fsspec.callbacks import DEFAULT_CALLBACK  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.utils import stringify_path, tokenize  # type: ignore[import-untyped]

from pacifica_archive_core.backends import open_archive
from pacifica_archive_core.errors import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    BackendError,
    ConfigError,
    DigestMismatch,
    FileExists,
    FileOffline,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
)
from pacifica_archive_core.ids import checked_file_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Buffer

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.files import ArchiveReader, ArchiveWriter
    from pacifica_archive_core.status import FileStatus, Residency

    #: ``pacifica://12345``, ``pacifica:12345``, ``12345`` or the int.
    FilePath = str | int | os.PathLike[str]
    OneOrMore = FilePath | Iterable[FilePath]
    _Bounds = int | Sequence[int | None] | None

__all__ = [
    "ERRORS",
    "PacificaFile",
    "PacificaFileSystem",
    "PacificaUpload",
    "os_error_of",
]

_ID = re.compile(r"0|[1-9][0-9]{0,18}")
#: Bytes that a reader asks for at least: what a server sends in one piece.
_BLOCK = 1 << 16
_OFFLINE = ("raise", "stage", "wait")
#: Seconds between two looks at a file that is being recalled.
_FIRST_DELAY_S, _LAST_DELAY_S = 0.5, 30.0
#: What fsspec's own constructor may be given, and no backend is.
_OF_FSSPEC = ("use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous",
              "loop")  # fmt: skip

#: What the users of file systems know; the most exact class counts. What is wrong
#: with options and ids is theirs to mend, and stays as it is.
ERRORS: Mapping[type[ArchiveError], tuple[type[OSError], int]] = MappingProxyType(
    {
        ArchiveError: (OSError, errno.EIO),
        NoSuchFile: (FileNotFoundError, errno.ENOENT),
        FileExists: (FileExistsError, errno.EEXIST),
        FileOffline: (BlockingIOError, errno.EAGAIN),
        DigestMismatch: (OSError, errno.EBADMSG),
        NotSupported: (OSError, errno.ENOTSUP),
        # No subclass of it: whether it refused, broke off or was silent is unknown.
        ArchiveUnavailable: (ConnectionError, errno.ENOTCONN),
        ArchiveFull: (OSError, errno.ENOSPC),
        AccessDenied: (PermissionError, errno.EACCES),
    }
)
_AS_THEY_ARE = (ConfigError, BackendError, InvalidFileId)


def os_error_of(exc: ArchiveError) -> OSError:
    """Return the OSError to raise from an archive's error."""
    kind, number = next(ERRORS[base] for base in type(exc).__mro__ if base in ERRORS)
    text = str(exc)
    if isinstance(exc, FileOffline):
        text += ": stage() of the file system asks for it, on_offline='wait' waits"
    return kind(number, text)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Translate what an archive raises."""
    try:
        yield
    except _AS_THEY_ARE:
        raise
    except ArchiveError as exc:
        raise os_error_of(exc) from exc


# --- archives ------------------------------------------------------------------------


class _Opened:
    """
    An archive of this process, opened when it is first asked for.

    File systems with equal options hold the same one, and their files hold them;
    it is closed when the last is gone, or with the process.
    """

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        self.pid = os.getpid()
        self._backend = backend
        self._options = options
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    def get(self) -> Archive:
        with self._lock:
            if self._archive is None:
                self._archive = open_archive(self._backend, **self._options)
                weakref.finalize(self, self._archive.close)
            return self._archive


class _Table:
    """What is opened in this process, by backend and options."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        # The lock too: in a fork another thread may have held it.
        self._lock = threading.Lock()
        self._opened: weakref.WeakValueDictionary[str, _Opened] = (
            weakref.WeakValueDictionary()
        )

    def clear(self) -> None:
        with self._lock:
            self._opened.clear()

    def get(self, backend: str, options: Mapping[str, Any]) -> _Opened:
        # A digest: options may be a password, and a dict.
        key = tokenize(backend, sorted(options.items()))
        with self._lock:
            opened = self._opened.get(key)
            if opened is None:
                opened = self._opened[key] = _Opened(backend, options)
            return opened


_opened = _Table()
# An archive is never used across a fork; fsspec forgets its file systems likewise.
os.register_at_fork(after_in_child=_opened.forget)


# --- files ---------------------------------------------------------------------------


class _Raw(io.RawIOBase):
    """A reader whose errors are OSErrors."""

    mode = "rb"

    def __init__(self, reader: ArchiveReader) -> None:
        super().__init__()
        self._reader = reader

    def readinto(self, buffer: Buffer, /) -> int:
        with _os_errors():
            return self._reader.readinto(buffer)

    def readall(self) -> bytes:
        with _os_errors():
            return self._reader.readall()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            with _os_errors():
                self._reader.close()


class PacificaFile(io.BufferedReader):
    """
    A stored file, opened: one version, read by blocks of ``block_size`` and more.

    It may be pickled, and is then opened anew at its position; if another version
    is there by then, this is an OSError (ESTALE).

    Attributes:
        fs: the file system.
        path: the id, as text.
        size: bytes.
        details: what ``info`` says of the very version that is open.
    """

    def __init__(
        self, fs: PacificaFileSystem, reader: ArchiveReader, block_size: int
    ) -> None:
        super().__init__(_Raw(reader), block_size)
        self.fs = fs
        self.path = str(reader.status.file_id)
        self.size = reader.status.size
        self.details = _info(reader.status)
        self.blocksize = block_size

    def info(self) -> dict[str, Any]:
        """Return ``details``."""
        return self.details

    def read(self, size: int | None = -1, /) -> bytes:
        """
        Read ``size`` bytes, fewer at the end only; all if negative.

        Long pieces are asked for as they are: io's own reads the last part of them
        with a whole block, which a remote archive takes for reading on.
        """
        if size is None or size < self.blocksize:
            return super().read(size)
        blocks = []
        while size and (block := self.read1(size)):
            blocks.append(block)
            size -= len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def __reduce_ex__(self, _protocol: object) -> tuple[Any, ...]:
        where = (self.path, self.blocksize, self.tell(), self.details["version"])
        return _open_again, (self.fs, *where)


def _open_again(
    fs: PacificaFileSystem, path: str, block_size: int, position: int, version: str
) -> PacificaFile:
    file = fs.open(path, block_size=block_size)
    assert isinstance(file, PacificaFile)  # noqa: S101 (of mode "rb")
    if file.details["version"] != version:
        file.close()
        raise OSError(errno.ESTALE, f"file {path}: was replaced since it was opened")
    file.seek(position)
    return file


class PacificaUpload(io.BufferedIOBase):
    """
    A file that is being stored, visible whole when it is closed, or never.

    An exception in its with-block discards it, and so does one that is on its way
    when it is closed: else who wraps it (a text file, ``fsspec.open``, pandas)
    would store the part that was written. Without ``autocommit`` only ``commit``
    stores it, as at the end of a transaction. One that is lost unclosed is discarded.

    Attributes:
        fs: the file system.
        path: the id, as text.
    """

    mode = "wb"

    def __init__(
        self,
        fs: PacificaFileSystem,
        writer: ArchiveWriter,
        block_size: int,
        *,
        autocommit: bool,
    ) -> None:
        super().__init__()
        self.fs = fs
        self.path = str(writer.file_id)
        self.autocommit = autocommit
        self._writer = writer
        self._block_size = block_size
        self._held = bytearray()
        self._finished = False
        self._lost = False
        # Being handled already: none of ours.
        self._outer = sys.exc_info()[1]

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes taken."""
        return self._writer.written + len(self._held)

    def write(self, data: Buffer, /) -> int:
        """Take all of ``data`` and return its number of bytes."""
        if self.closed:
            raise ValueError("the file is closed")
        with memoryview(data) as whole, whole.cast("B") as view:
            if self._lost:
                # Of a text file, which hands on its last part when it is lost.
                return len(view)
            if len(self._held) + len(view) < self._block_size:
                self._held += view
            else:
                self.flush()
                with _os_errors():
                    self._writer.write(view)
            return len(view)

    def flush(self) -> None:
        """Hand what is held to the archive, which shows nothing of it yet."""
        if self._held:
            held, self._held = self._held, bytearray()
            with _os_errors():
                self._writer.write(held)

    def commit(self) -> None:
        """
        Make the file visible, whole and durable; nothing if it was discarded.

        Raises:
            FileExistsError: the id is taken, and the mode is "xb".
            OSError: as of the archive's writer.
        """
        if not self._finished:
            try:
                self.flush()
            except BaseException:
                self.discard()
                raise
            self._finished = True
            with _os_errors():
                self._writer.commit()

    def discard(self) -> None:
        """Leave nothing of the file. Nothing if it is committed."""
        self._finished = True
        self._held.clear()
        with _os_errors():
            self._writer.discard()

    def close(self) -> None:
        """
        Commit, unless a transaction is to do it.

        While an exception is on its way or being handled, discard, and raise that
        exception: which of the two it is cannot be told.
        """
        if self.closed:
            return
        try:
            coming = sys.exc_info()[1]
            if coming is not None and coming is not self._outer and not self._finished:
                self.discard()
                coming.add_note(
                    f"file {self.path} was discarded, not stored: it was closed upon"
                    " this"
                )
                # Where it was on its way it goes on; where it was being handled
                # nobody shall take the file for stored.
                raise coming
            if self.autocommit:
                self.commit()
            else:
                self.flush()
        finally:
            self._held.clear()
            super().close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is not None:
                self.discard()
        finally:
            self.close()

    def __del__(self) -> None:
        # In place of io's own, which closes, and would store the part written.
        if not self.closed and hasattr(self, "_outer"):
            self._dealloc_warn(self)
            super().close()

    def _dealloc_warn(self, source: object) -> None:
        """Discard; a text file says so that it is lost, before it closes this."""
        finished, self._lost = self._finished, True
        self.discard()
        if not finished:
            warnings.warn(
                f"upload of file {self.path} neither closed nor discarded",
                ResourceWarning,
                stacklevel=2,
                source=source,
            )


def _info(status: FileStatus) -> dict[str, Any]:
    return {
        "name": str(status.file_id),
        "size": status.size,
        "type": "file",
        "mtime": status.mtime_ns / 1e9,
        "mtime_ns": status.mtime_ns,
        "created": status.ctime_ns / 1e9,
        "version": status.version,
        "ETag": f'"{status.version}"',
        "residency": status.residency.value,
        "online": status.online,
    }


def _datetime_of(time_ns: int) -> datetime:
    # In whole microseconds: a float of the seconds would be one beside it.
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=time_ns // 1000)


def _file_id(path: object) -> int:
    """Return the id that a stripped path is."""
    text = str(path)
    if not _ID.fullmatch(text):
        raise InvalidFileId(path)
    return checked_file_id(int(text))


def _read_range(reader: ArchiveReader, start: int | None, end: int | None) -> bytes:
    """Read what the slice ``[start:end]`` of the file is."""
    first, last, _ = slice(start, end).indices(reader.status.size)
    reader.seek(first)
    blocks = []
    while (left := last - reader.tell()) > 0:
        blocks.append(reader.read(left))
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


# --- the file system -----------------------------------------------------------------


class PacificaFileSystem(AbstractFileSystem):  # type: ignore[misc] # it has no types
    """
    Files of an archive by their ids, for everything that speaks fsspec.

    ::

        fsspec.open("pacifica://12345", type="http", prefix="http://archive:8080")
        pandas.read_parquet("pacifica://12345", storage_options={"type": ...})

    The archive is opened when it is first used, in each process anew, never
    across a fork. File systems of equal ``type`` and options share one, whatever
    thread made them. Paths are ids: ``pacifica://12345``, ``"12345"`` or 12345.
    All else that is asked for is a ValueError. Errors of the archive are raised
    as the OSErrors that ``ERRORS`` says, from the archive's own.

    Args:
        type: the backend's name.
        archive: an open archive in place of ``type`` and options; the file system
            can then not be pickled, and does not close it.
        on_offline: what is done when a file to be read is on tape only: "raise"
            (BlockingIOError), "stage" (ask for its recall, then raise), or "wait"
            for it. Also a keyword of ``open`` and ``cat_file``.
        offline_timeout_s: the longest wait, seconds; then TimeoutError.
        options: as ``open_archive`` takes them, ``config`` and ``env`` too.

    Raises:
        ValueError: neither ``type`` nor ``archive`` is given, or both are.
    """

    protocol: ClassVar[str] = "pacifica"

    def __init__(
        self,
        type: str | None = None,  # noqa: A002 (the name on the command line too)
        *,
        archive: Archive | None = None,
        on_offline: str = "raise",
        offline_timeout_s: float | str = 3600,
        **options: Any,  # noqa: ANN401 (each backend's own)
    ) -> None:
        super().__init__()
        for name in _OF_FSSPEC:
            options.pop(name, None)
        if (type is None) == (archive is None):
            raise ValueError("give type (a backend's name) or archive (an open one)")
        if archive is not None and options:
            raise ValueError(f"an open archive takes no options: {sorted(options)}")
        self._type = type
        self._options = options
        self._given = archive
        self._opened: _Opened | None = None
        self._on_offline = _checked_on_offline(on_offline)
        self._offline_timeout_s = float(offline_timeout_s)

    @property
    def archive(self) -> Archive:
        """
        The archive, opened by now.

        Raises:
            ConfigError, BackendError: the options are wrong, as of ``open_archive``.
            OSError: the store cannot be opened.
        """
        if self._type is None:
            assert self._given is not None  # noqa: S101 (the constructor saw to it)
            return self._given
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            opened = self._opened = _opened.get(self._type, self._options)
        with _os_errors():
            return opened.get()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._given is not None:
            raise TypeError(
                "a file system with archive= cannot be pickled: give type= and options"
            )
        reduced: tuple[Any, ...] = super().__reduce__()
        return reduced

    @classmethod
    def clear_instance_cache(cls) -> None:
        """Let go of all file systems; new ones open their archives anew."""
        super().clear_instance_cache()
        _opened.clear()

    # --- paths ---

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 (as fsspec's: one or a list)
        if isinstance(path, (list, tuple)):
            return [cls._strip_protocol(each) for each in path]
        if hasattr(path, "__index__") and not isinstance(path, bool):
            # Of numpy too, as ids come out of tables.
            return str(operator.index(path))
        return str(stringify_path(path)).removeprefix(f"{cls.protocol}:").strip("/")

    def _id(self, path: FilePath) -> int:
        return _file_id(self._strip_protocol(path))

    def _names(self, paths: OneOrMore) -> tuple[list[str], bool]:
        """Return the ids as text, and whether it was one path, not a list."""
        one = isinstance(paths, (str, os.PathLike)) or hasattr(paths, "__index__")
        names = [paths] if one else list(paths)  # type: ignore[arg-type] # just seen
        return [str(self._id(name)) for name in names], one  # type: ignore[arg-type]

    def expand_path(self, path: Any, *args: Any, **kwargs: Any) -> list[str]:  # noqa: ANN401 (as fsspec's)
        """Return the paths, as fsspec does; an int is one too."""
        if hasattr(path, "__index__"):
            path = self._strip_protocol(path)
        expanded: list[str] = super().expand_path(path, *args, **kwargs)
        return expanded

    # --- what is known ---

    def _status(self, path: FilePath) -> FileStatus:
        file_id = self._id(path)
        with _os_errors():
            return self.archive.status(file_id)

    def info(self, path: FilePath, **_kwargs: object) -> dict[str, Any]:
        """
        Return what is known of a file without touching its bytes.

        ``name``, ``size`` (bytes), ``type`` ("file"), ``mtime`` and ``created``
        (seconds since 1970; the store's clock for the second), ``mtime_ns``,
        ``version``, ``ETag``, ``residency`` (as of ``Residency``), ``online``.
        The root is a directory, and all that is known of it.
        """
        if self._strip_protocol(path) == "":
            return {"name": "", "size": 0, "type": "directory"}
        return _info(self._status(path))

    def exists(self, path: FilePath, **_kwargs: object) -> bool:
        """Tell whether a file is stored; what is no id is not. May raise OSError."""
        try:
            self.info(path)
        except (FileNotFoundError, InvalidFileId):
            return False
        return True

    def isfile(self, path: FilePath) -> bool:
        """Tell as ``exists`` does; the root is no file."""
        return self._strip_protocol(path) != "" and self.exists(path)

    def isdir(self, path: FilePath) -> bool:
        """Tell whether it is the root, the only directory."""
        return bool(self._strip_protocol(path) == "")

    def sizes(self, paths: Iterable[FilePath]) -> list[int]:
        """Return the size of each file, bytes, in input order, asked for in bulk."""
        names, _ = self._names(list(paths))
        with _os_errors():
            found = []
            for _, answer in self.archive.status_many(map(int, names)):
                if isinstance(answer, ArchiveError):
                    raise answer
                found.append(answer.size)
        return found

    def modified(self, path: FilePath) -> datetime:
        """Return the time of the content, as its sender said it."""
        return _datetime_of(self._status(path).mtime_ns)

    def created(self, path: FilePath) -> datetime:
        """Return when the store last changed the file, by the store's clock."""
        return _datetime_of(self._status(path).ctime_ns)

    def ukey(self, path: FilePath) -> str:
        """Return the version, which differs for every replacement of the file."""
        return self._status(path).version

    def checksum(self, path: FilePath) -> int:
        """Return a number made of ``ukey``."""
        return int(hashlib.sha256(self.ukey(path).encode()).hexdigest()[:32], 16)

    # --- files on tape ---

    def residency(
        self, paths: OneOrMore, on_error: str = "raise"
    ) -> Residency | dict[str, Residency | OSError]:
        """
        Return where the bytes are, asked for in bulk: of a list a dict by id.

        Args:
            paths: one, or many.
            on_error: "raise" the first error of a file, "return" it in place of the
                answer, or "omit" the file.
        """
        names, one = self._names(paths)
        answer: Residency | dict[str, Residency | OSError] = self._each(
            names,
            lambda ids: (
                (i, a if isinstance(a, ArchiveError) else a.residency)
                for i, a in self.archive.status_many(ids)
            ),
            one=one,
            on_error=on_error,
        )
        return answer

    def stage(
        self, paths: OneOrMore, on_error: str = "raise"
    ) -> bool | dict[str, bool | OSError]:
        """
        Ask for recalls from tape in bulk and return at once: of a list a dict by id.

        True: it is on disk already. False: asked for; look at ``residency``.

        Args:
            paths: one, or many.
            on_error: as of ``residency``; with "raise" all are asked for first.
        """
        names, one = self._names(paths)
        answer: bool | dict[str, bool | OSError] = self._each(
            names, self.archive.stage_many, one=one, on_error=on_error
        )
        return answer

    def _each(
        self,
        names: list[str],
        ask: Callable[[list[int]], Iterable[tuple[int, Any]]],
        *,
        one: bool,
        on_error: str,
    ) -> Any:  # noqa: ANN401 (what is asked for)
        if on_error not in {"raise", "return", "omit"}:
            raise ValueError(f"on_error is raise, return or omit, not {on_error!r}")
        with _os_errors():
            found = dict(ask([int(name) for name in names]))
        wrong = [a for a in found.values() if isinstance(a, ArchiveError)]
        if wrong and (one or on_error == "raise"):
            raise os_error_of(wrong[0]) from wrong[0]
        if one:
            (answer,) = found.values()
            return answer
        return {
            str(file_id): (os_error_of(a) if isinstance(a, ArchiveError) else a)
            for file_id, a in found.items()
            if on_error != "omit" or not isinstance(a, ArchiveError)
        }

    def _reader(
        self,
        path: FilePath,
        on_offline: str | None = None,
        offline_timeout_s: float | str | None = None,
    ) -> ArchiveReader:
        """Open a reader; for a file on tape do what was asked for."""
        file_id = self._id(path)
        what = _checked_on_offline(on_offline or self._on_offline)
        with _os_errors():
            archive = self.archive
            try:
                return archive.open(file_id)
            except FileOffline as exc:
                if what == "raise":
                    raise
                archive.stage(file_id)
                if what == "stage":
                    raise BlockingIOError(
                        errno.EAGAIN,
                        f"file {file_id}: is on tape, its recall is asked for:"
                        " try again later",
                    ) from exc
            limit = self._offline_timeout_s
            if offline_timeout_s is not None:
                limit = float(offline_timeout_s)
            return _open_when_recalled(archive, file_id, limit)

    # --- reading ---

    def _open(
        self,
        path: FilePath,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002 (as fsspec's)
        cache_options: object = None,  # noqa: ARG002 (as fsspec's)
        *,
        cache_type: object = None,  # noqa: ARG002 (there is one cache: the block)
        size: int | None = None,
        mtime_ns: int | None = None,
        on_offline: str | None = None,
        offline_timeout_s: float | str | None = None,
    ) -> PacificaFile | PacificaUpload:
        """
        Open a file in binary.

        Args:
            path: the id.
            mode: "rb"; "wb" replaces a file, "xb" never does: it looks first, and
                the commit makes sure.
            block_size: bytes that are read, or sent, at least.
            autocommit: False: ``commit`` of the file stores it, not ``close``.
            cache_options: passed over.
            cache_type: passed over.
            size: of a file to be stored, where it is known.
            mtime_ns: of a file to be stored: nanoseconds since 1970.
            on_offline: as of the file system, for this file.
            offline_timeout_s: as of the file system, for this file.
        """
        if mode == "rb":
            reader = self._reader(path, on_offline, offline_timeout_s)
            return PacificaFile(self, reader, block_size or _BLOCK)
        if mode not in {"wb", "xb"}:
            raise NotImplementedError(
                f"an archive stores whole files: modes are rb, wb and xb, not {mode}"
            )
        if mode == "xb" and self.exists(path):
            raise os_error_of(FileExists(self._id(path)))
        writer = self._create(path, size, mtime_ns, overwrite=mode == "wb")
        return PacificaUpload(
            self, writer, block_size or self.archive.block_size, autocommit=autocommit
        )

    def open(self, path: Any, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (as fsspec's)
        """
        Open a file, text too, as fsspec does.

        Raises:
            ValueError: to be compressed while it is stored. The compressing file of
                fsspec does not close what is under it: say ``fsspec.open``.
        """
        if "r" not in mode and (kwargs.get("compression") or args[2:]):
            raise ValueError("to compress what is stored, use fsspec.open")
        return super().open(path, mode, *args, **kwargs)

    def cat_file(
        self,
        path: FilePath,
        start: int | None = None,
        end: int | None = None,
        **kwargs: Any,  # noqa: ANN401 (those of _reader)
    ) -> bytes:
        """Return the bytes ``[start:end]`` of one version, as of a Python slice."""
        with _os_errors(), self._reader(path, **kwargs) as reader:
            return _read_range(reader, start, end)

    def cat_ranges(
        self,
        paths: list[FilePath],
        starts: _Bounds,
        ends: _Bounds,
        max_gap: int | None = None,  # noqa: ARG002 (leave to bridge gaps, not taken)
        on_error: str = "return",
        **kwargs: Any,  # noqa: ANN401 (those of _reader)
    ) -> list[bytes | Exception]:
        """
        Return ranges of files, in input order; all of one file are of one version.

        Args:
            paths: one for each range.
            starts: as of ``cat_file``; one for all ranges, or a list.
            ends: as ``starts``.
            max_gap: passed over.
            on_error: "return" an error in the place of its range, or "raise" it.
            kwargs: as of ``cat_file``.
        """
        first = _one_each(starts, len(paths))
        last = _one_each(ends, len(paths))
        if not len(paths) == len(first) == len(last):
            raise ValueError("as many starts and ends as paths are wanted")
        found: list[bytes | Exception] = [b""] * len(paths)
        of_file: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            of_file.setdefault(self._strip_protocol(path), []).append(number)
        for path, numbers in of_file.items():
            try:
                with _os_errors(), self._reader(path, **kwargs) as reader:
                    for n in numbers:
                        found[n] = _read_range(reader, first[n], last[n])
            except (OSError, ArchiveError) as exc:
                if on_error != "return":
                    raise
                for n in numbers:
                    found[n] = exc
        return found

    # --- writing ---

    def _create(
        self,
        path: FilePath,
        size: int | None,
        mtime_ns: int | None,
        *,
        overwrite: bool,
    ) -> ArchiveWriter:
        file_id = self._id(path)
        with _os_errors():
            return self.archive.create(
                file_id, size=size, mtime_ns=mtime_ns, overwrite=overwrite
            )

    def pipe_file(
        self,
        path: FilePath,
        value: Buffer,
        mode: str = "overwrite",
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Store ``value``; mode "create" never replaces a file, "overwrite" does."""
        overwrite = _checked_overwrite(mode)
        with memoryview(value) as view:
            writer = self._create(path, view.nbytes, mtime_ns, overwrite=overwrite)
            with _os_errors(), writer:
                writer.write(view)

    def put_file(
        self,
        lpath: str | os.PathLike[str],
        rpath: FilePath,
        callback: Any = DEFAULT_CALLBACK,  # noqa: ANN401 (fsspec has no types)
        mode: str = "overwrite",
    ) -> None:
        """Store a local file, with its time; ``mode`` as of ``pipe_file``."""
        overwrite = _checked_overwrite(mode)
        if os.path.isdir(lpath):  # noqa: PTH112 (text of fsspec)
            _refuse_directories()
        with open(lpath, "rb") as stream:  # noqa: PTH123 (as above)
            found = os.fstat(stream.fileno())
            callback.set_size(found.st_size)
            writer = self._create(
                rpath, found.st_size, found.st_mtime_ns, overwrite=overwrite
            )
            with _os_errors(), writer:
                while block := stream.read(self.archive.block_size):
                    writer.write(block)
                    callback.relative_update(len(block))

    def rm_file(self, path: FilePath) -> None:
        """Delete one file."""
        file_id = self._id(path)
        with _os_errors():
            self.archive.delete(file_id)

    # --- what an archive has not ---

    def ls(
        self,
        path: FilePath = "",
        detail: bool = True,  # noqa: FBT001, FBT002 (as fsspec's)
        **_kwargs: object,
    ) -> list[Any]:
        """
        Return the one entry of a file.

        Raises:
            NotImplementedError: of the root, which cannot be listed. No OSError:
                ``find``, ``walk`` and ``glob`` would pass it over, and find nothing.
        """
        if self.isdir(path):
            raise NotImplementedError(
                "an archive has no listing: keep the ids elsewhere, and ask by id"
            )
        info = self.info(path)
        return [info if detail else info["name"]]

    def mkdir(self, path: FilePath, create_parents: bool = True, **_: object) -> None:  # noqa: ARG002, FBT001, FBT002 (as fsspec's)
        """Refuse: there are no directories, and the root is there."""
        if self.isdir(path):
            raise os_error_of(FileExists(path, "the root is there"))
        _refuse_directories()

    def makedirs(self, path: FilePath, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 (as fsspec's)
        """Do nothing for the root with ``exist_ok``; refuse all else."""
        if not (exist_ok and self.isdir(path)):
            self.mkdir(path)

    def rmdir(self, path: FilePath) -> None:  # noqa: ARG002 (there are none)
        """Refuse: there are no directories."""
        _refuse_directories()


def _refuse_directories() -> NoReturn:
    raise NotImplementedError("an archive has no directories, only files under ids")


def _one_each(bounds: _Bounds, count: int) -> Sequence[int | None]:
    if bounds is None or isinstance(bounds, int):
        return [bounds] * count
    return bounds


def _checked_on_offline(on_offline: str) -> str:
    if on_offline not in _OFFLINE:
        raise ValueError(
            f"on_offline is one of {', '.join(_OFFLINE)}, not {on_offline!r}"
        )
    return on_offline


def _checked_overwrite(mode: str) -> bool:
    if mode not in {"create", "overwrite"}:
        raise ValueError(f"mode is create or overwrite, not {mode!r}")
    return mode == "overwrite"


def _open_when_recalled(
    archive: Archive, file_id: int, timeout_s: float
) -> ArchiveReader:
    """Open a file whose recall was asked for, as soon as that is possible."""
    deadline = time.monotonic() + timeout_s
    delay_s = _FIRST_DELAY_S
    while True:
        try:
            return archive.open(file_id)
        except FileOffline as exc:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"file {file_id}: is on tape still, after {timeout_s:g} s",
                ) from exc
        time.sleep(min(delay_s, left))
        delay_s = min(delay_s * 2, _LAST_DELAY_S)
