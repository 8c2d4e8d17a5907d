"""An opened file and a file that is being stored."""

from __future__ import annotations

import enum
import io
import logging
import os
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, final

from pacifica_archive_core.errors import FileDamaged, IncompleteWrite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Buffer

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.status import FileStatus

__all__ = ["ArchiveReader", "ArchiveWriter"]

_log = logging.getLogger(__name__)
_FINISHED = "the writer is finished"


class ArchiveReader(io.RawIOBase):
    """
    One version of a stored file, opened: raw, seekable, read-only.

    It keeps reading the version it opened, whatever becomes of the id.
    Used by one thread at a time, in the process that made it: in a forked
    child it is inert, for what it holds may be its parent's connection.
    A short read is not the end; ``b""`` is, and it comes only behind the last
    byte of ``status.size``: a file that ends before raises FileDamaged.

    A backend gives ``_readinto_at`` and ``_release``, and ``_read_at`` where it
    can make bytes without a copy.

    Attributes:
        status: the status of the very bytes opened.
    """

    status: FileStatus

    def __init__(self, archive: Archive, status: FileStatus) -> None:
        # The constructor of io's C class does not refuse abstract classes.
        if missing := getattr(type(self), "__abstractmethods__", None):
            raise TypeError(f"{type(self).__name__} lacks {sorted(missing)}")
        super().__init__()
        self._archive = archive
        self.status = status
        self._pid = os.getpid()
        self._position = 0

    @abstractmethod
    def _readinto_at(self, view: memoryview, position: int) -> int:
        """
        Read up to ``len(view)`` bytes from ``position``; 0 at the end.

        ``view`` is of bytes, writable, not empty, and ends within the file.
        """

    @abstractmethod
    def _release(self) -> None:
        """Free what the reader holds; called once."""

    def _read_at(self, size: int, position: int) -> bytes:
        """Read up to ``size`` bytes, at least 1, from ``position``."""
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            count = self._readinto_at(view, position)
        del buffer[count:]
        return bytes(buffer)

    def digests(self) -> Mapping[str, bytes]:
        """
        Return the digests kept with the version that is open; empty if none.

        Empty too where another version is there by now, and the store can only
        be asked for that one's.

        Raises:
            ArchiveUnavailable, AccessDenied: the store failed.
        """
        self._wanted(0)
        return self._archive.digests_of(self.status)

    @final
    def readinto(self, buffer: Buffer, /) -> int:
        """
        Read into ``buffer`` and return the number of bytes; 0 at the end.

        Raises:
            FileDamaged: the bytes cannot be read, or are fewer than
                ``status.size``.
            FileOffline, ArchiveUnavailable: the store lost them meanwhile.
        """
        with memoryview(buffer) as whole:
            if whole.nbytes == 0:
                self._wanted(0)
                return 0
            with whole.cast("B") as flat:
                size = self._wanted(len(flat))
                if size == 0:
                    return 0
                with flat[:size] as view:
                    return self._advance(self._readinto_at(view, self._position))

    def read(self, size: int | None = -1, /) -> bytes:
        """
        Read up to ``size`` bytes in one call to the store; all if negative.

        Raises:
            FileDamaged, FileOffline, ArchiveUnavailable: as for ``readinto``.
        """
        if size is None or size < 0:
            return self.readall()
        size = self._wanted(size)
        if size == 0:
            return b""
        block = self._read_at(size, self._position)
        self._advance(len(block))
        return block

    @final
    def readall(self) -> bytes:
        """Read all bytes from the position to the end."""
        blocks = []
        while size := self._wanted(self.status.size):
            block = self._read_at(size, self._position)
            self._advance(len(block))
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    @final
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """
        Set the position; behind the end is allowed and reads ``b""``.

        Raises:
            ValueError: a position before the start, or an unknown ``whence``.
        """
        self._wanted(0)
        bases = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self.status.size,
        }
        if whence not in bases:
            raise ValueError(f"whence is 0, 1 or 2, not {whence!r}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"a position is not negative: {position}")
        self._position = position
        return position

    @final
    def tell(self) -> int:
        """Return the position."""
        self._wanted(0)
        return self._position

    @final
    def readable(self) -> bool:
        """Return True."""
        self._wanted(0)
        return True

    @final
    def seekable(self) -> bool:
        """Return True."""
        self._wanted(0)
        return True

    @final
    def close(self) -> None:
        """Free what is held, even if that fails. Idempotent."""
        if not self.closed:
            super().close()
            if self._pid == os.getpid():
                self._release()

    def __del__(self) -> None:
        # Without _position the constructor failed, and nothing is held.
        if hasattr(self, "_position") and not self.closed:
            # First, for a warning may be made an error.
            self.close()
            if self._pid == os.getpid():
                warnings.warn(
                    f"unclosed reader of file {self.status.file_id}",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )

    def _wanted(self, size: int) -> int:
        """Check that reading is allowed; clip ``size`` to the bytes left."""
        if self.closed:
            raise ValueError("the reader is closed")
        self._archive.ensure_open()
        return max(0, min(size, self.status.size - self._position))

    def _advance(self, count: int) -> int:
        if count == 0:
            status = self.status
            raise FileDamaged(
                status.file_id, f"ends at byte {self._position} of {status.size}"
            )
        self._position += count
        return count


class _State(enum.Enum):
    OPEN = enum.auto()
    FAILED = enum.auto()
    FINISHED = enum.auto()


class ArchiveWriter(ABC):
    """
    A file that is being stored: visible whole at ``commit``, or never.

    In a with-block a clean end commits and an exception discards.
    An early ``return`` is a clean end: promise a ``size`` to ``create`` where
    the end of the data can be missed.
    Used by one thread at a time, in the process that made it: in a forked
    child it is inert, so the child's end cannot harm its parent's file.

    A backend gives ``_write``, ``_commit`` and ``_discard``.

    Attributes:
        file_id: the id.
        digests: algorithm to value, to be kept with this version of the file;
            may be set until the commit.
    """

    file_id: int
    digests: dict[str, bytes]

    def __init__(self, archive: Archive, file_id: int, *, size: int | None) -> None:
        self._archive = archive
        self.file_id = file_id
        self.digests = {}
        self._promised = size
        self._written = 0
        self._pid = os.getpid()
        self._state = _State.OPEN

    @property
    def written(self) -> int:
        """Bytes taken so far."""
        return self._written

    @abstractmethod
    def _write(self, data: memoryview) -> None:
        """Take all of ``data`` (bytes, not empty) or raise; keep no view of it."""

    @abstractmethod
    def _commit(self) -> None:
        """
        Make the file visible and durable.

        Raising anything but CommitUnclear says that the old state stands.
        ``_discard`` is called after it raised, not after it returned.
        """

    @abstractmethod
    def _discard(self) -> None:
        """Free all, leave nothing of the file; nothing visible may change."""

    @final
    def write(self, data: Buffer, /) -> int:
        """
        Take all of ``data`` and return its number of bytes.

        No reference to ``data`` is kept.
        When it raises, whatever it is, ``commit`` will refuse.

        Raises:
            IncompleteWrite: more bytes than promised.
            ArchiveFull, ArchiveUnavailable, AccessDenied: the store failed.
        """
        if self._state is _State.FINISHED:
            raise ValueError(_FINISHED)
        self._archive.ensure_open()
        state, self._state = self._state, _State.FAILED
        with memoryview(data) as whole:
            count = whole.nbytes
            if self._promised is not None and self._written + count > self._promised:
                raise IncompleteWrite(
                    self.file_id, f"more bytes than the {self._promised} promised"
                )
            if count:
                with whole.cast("B") as view:
                    self._write(view)
        self._written += count
        self._state = state
        return count

    @final
    def commit(self) -> None:
        """
        Make the file visible, whole and durable; on a failure, discard it.

        Raises:
            IncompleteWrite: a write failed, or the bytes differ in number
                from those promised.
            FileExists: the id is taken and overwriting was not asked for.
            CommitUnclear: stored, or not: look at its status.
            ArchiveFull, ArchiveUnavailable, AccessDenied: the store failed,
                and the old state stands.
        """
        if self._state is _State.FINISHED:
            raise ValueError(_FINISHED)
        try:
            self._archive.ensure_open()
            self._ensure_complete()
            self._commit()
        except BaseException:
            self._abandon()
            raise
        self._state = _State.FINISHED

    @final
    def discard(self) -> None:
        """
        Leave nothing of the file. No-op when finished, or in another process.

        Raises:
            ArchiveUnavailable, AccessDenied: what was written could not be
                removed; it stays invisible, and the store sweeps it later.
        """
        if self._state is not _State.FINISHED:
            self._state = _State.FINISHED
            if self._pid == os.getpid():
                self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._abandon()
        elif self._state is not _State.FINISHED:
            self.commit()

    def __del__(self) -> None:
        # Without _state the constructor failed; the maker cleans up.
        if getattr(self, "_state", _State.FINISHED) is not _State.FINISHED:
            # First, for a warning may be made an error.
            self._abandon()
            if self._pid == os.getpid():
                warnings.warn(
                    f"writer of file {self.file_id} neither committed nor discarded",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )

    def _abandon(self) -> None:
        """Discard without masking the error that is on its way."""
        try:
            self.discard()
        except Exception:  # noqa: BLE001 (any backend's failure; the first counts)
            _log.warning(
                "what was written of file %d could not be removed",
                self.file_id,
                exc_info=True,
            )

    def _ensure_complete(self) -> None:
        if self._state is _State.FAILED:
            raise IncompleteWrite(self.file_id, "an earlier write failed")
        if self._promised not in (None, self._written):
            raise IncompleteWrite(
                self.file_id, f"{self._written} of {self._promised} bytes came"
            )
