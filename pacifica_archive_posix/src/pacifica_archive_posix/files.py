"""An opened file, and one that is being stored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pacifica_archive_core import ArchiveReader, ArchiveWriter
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.digests import read_digests
from pacifica_archive_posix.errors import READ, damage_of_digests, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pacifica_archive_core import Archive, FileStatus
    from pacifica_archive_posix.incoming import IncomingFile

__all__ = ["PosixReader", "PosixWriter"]


class PosixReader(ArchiveReader):
    """Reads the bytes of one inode."""

    def __init__(self, archive: Archive, status: FileStatus, fd: int) -> None:
        super().__init__(archive, status)
        self._fd = fd

    def _readinto_at(self, view: memoryview, position: int) -> int:
        try:
            return os.preadv(self._fd, [view], position)
        except OSError as exc:
            raise error_of(exc, self.status.file_id, READ) from exc

    def _read_at(self, size: int, position: int) -> bytes:
        try:
            return os.pread(self._fd, size, position)
        except OSError as exc:
            raise error_of(exc, self.status.file_id, READ) from exc

    def _release(self) -> None:
        release(self._fd)

    def digests(self) -> Mapping[str, bytes]:
        """
        Return the digests kept with the version that is open; empty if none.

        Raises:
            FileDamaged: they are damaged.
        """
        self._wanted(0)
        try:
            kept = read_digests(self._fd)
        except OSError as exc:
            file_id = self.status.file_id
            raise damage_of_digests(exc, file_id) or error_of(exc, file_id) from exc
        return {} if kept is None else kept.digests

    def fileno(self) -> int:
        """
        Return the descriptor, its offset set to the position.

        For sendfile(2) and the like; what they read does not move the position.
        """
        os.lseek(self._fd, self.tell(), os.SEEK_SET)
        return self._fd


class PosixWriter(ArchiveWriter):
    """
    Writes to ``.incoming`` until the commit.

    Args:
        attributes: extended attributes to be kept with the file, besides its digests.
        publish: makes the sealed file visible.
    """

    def __init__(
        self,
        archive: Archive,
        file_id: int,
        file: IncomingFile,
        *,
        size: int | None,
        mtime_ns: int | None,
        durable: bool,
        attributes: Mapping[str, bytes],
        publish: Callable[[IncomingFile], None],
    ) -> None:
        super().__init__(archive, file_id, size=size)
        self._file = file
        self._mtime_ns = mtime_ns
        self._durable = durable
        self._attributes = attributes
        self._publish = publish

    def _write(self, data: memoryview) -> None:
        try:
            self._file.write(data, durable=self._durable)
        except OSError as exc:
            raise error_of(exc, self.file_id) from exc

    def _commit(self) -> None:
        try:
            self._file.seal(
                mtime_ns=self._mtime_ns,
                attributes=self._attributes,
                digests=self.digests,
                durable=self._durable,
            )
        except OSError as exc:
            raise error_of(exc, self.file_id) from exc
        self._publish(self._file)

    def _discard(self) -> None:
        try:
            self._file.discard()
        except OSError as exc:
            raise error_of(exc, self.file_id) from exc
