"""An opened file, and one that is being stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacifica_archive_core import ArchiveReader, ArchiveWriter
from pacifica_archive_hpss.errors import READ, HpssError, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pacifica_archive_core import Archive, FileStatus
    from pacifica_archive_hpss.descriptors import OpenFile
    from pacifica_archive_hpss.incoming import IncomingFile, Sealed

__all__ = ["HpssReader", "HpssWriter"]


class HpssReader(ArchiveReader):
    """
    Reads the bytes of one bitfile, at most a block of the archive's at a time.

    It has no ``fileno``: descriptors of HPSS are not those of the operating system.

    Args:
        digests: asks for those of the version that is open.
    """

    def __init__(
        self,
        archive: Archive,
        status: FileStatus,
        file: OpenFile,
        *,
        digests: Callable[[], Mapping[str, bytes]],
    ) -> None:
        super().__init__(archive, status)
        self._file = file
        self._digests = digests
        self._block_size = archive.block_size

    def _readinto_at(self, view: memoryview, position: int) -> int:
        try:
            with view[: self._block_size] as part:
                return self._file.read_into(part, position)
        except HpssError as exc:
            raise error_of(exc, self.status.file_id, READ) from exc

    def _read_at(self, size: int, position: int) -> bytes:
        return super()._read_at(min(size, self._block_size), position)

    def _release(self) -> None:
        self._file.release()

    def digests(self) -> Mapping[str, bytes]:
        """Return the digests kept with the version that is open; empty if none."""
        self._wanted(0)
        return self._digests()


class HpssWriter(ArchiveWriter):
    """
    Writes to ``.incoming`` until the commit.

    Args:
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
        publish: Callable[[Sealed], None],
    ) -> None:
        super().__init__(archive, file_id, size=size)
        self._file = file
        self._mtime_ns = mtime_ns
        self._durable = durable
        self._publish = publish

    def _write(self, data: memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            raise error_of(exc, self.file_id) from exc

    def _commit(self) -> None:
        try:
            sealed = self._file.seal(
                self.file_id,
                mtime_ns=self._mtime_ns,
                digests=self.digests,
                durable=self._durable,
            )
        except OSError as exc:
            raise error_of(exc, self.file_id) from exc
        self._publish(sealed)

    def _discard(self) -> None:
        try:
            self._file.discard()
        except HpssError as exc:
            raise error_of(exc, self.file_id) from exc
