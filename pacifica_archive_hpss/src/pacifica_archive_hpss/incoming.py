"""Files that are being stored, and what dead writers left of theirs."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import re
import time
import uuid
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import CommitUnclear
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.descriptors import MODE
from pacifica_archive_hpss.digests import set_digests
from pacifica_archive_hpss.errors import HpssError
from pacifica_archive_hpss.names import INCOMING
from pacifica_archive_hpss.residency import version_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacifica_archive_hpss.descriptors import Descriptors
    from pacifica_archive_hpss.names import Names
    from pacifica_archive_hpss.session import Session

__all__ = ["Incoming", "IncomingFile", "Sealed"]

_log = logging.getLogger(__name__)

_DIRECTORY_MODE = 0o755
_NAME = re.compile(r"[0-9a-f]{32}")
_NS_PER_S = 10**9
#: HPSS keeps times in 32 bits without a sign (its timestamp_sec_t).
_LAST_SECOND = 2**32 - 1


@attrs.frozen(kw_only=True)
class Sealed:
    """
    A file that has everything but its name.

    Attributes:
        path: the name that it has.
        private: whether nobody but us takes that name away.
    """

    path: str
    private: bool
    size: int
    mtime_s: int


class IncomingFile:
    """
    A file that has a name in ``.incoming`` only. Used by one thread at a time.

    Args:
        session: the login.
        descriptors: the archive's open files.
        path: the name, which nothing has.
        size: bytes, if known.
        class_of_service: None to let HPSS choose one for the size.
        buffer_size: bytes of a write, but for the last one.
    """

    def __init__(
        self,
        session: Session,
        descriptors: Descriptors,
        path: str,
        *,
        size: int | None,
        class_of_service: int | None,
        buffer_size: int,
    ) -> None:
        self.path = path
        self._session = session
        self._size = 0
        self._block_size = buffer_size if size is None else min(buffer_size, size)
        self._buffer: mmap.mmap | None = None
        self._buffered = 0
        try:
            self._file = descriptors.create(
                path, size=size, class_of_service=class_of_service
            )
        except BaseException as exc:
            # It may be there though the reply was lost.
            if not isinstance(exc, HpssError) or exc.unclear:
                with contextlib.suppress(HpssError):
                    _remove(session, path)
            raise

    def write(self, data: memoryview) -> None:
        """Append all of ``data``."""
        done = 0
        while done < len(data):
            if not self._buffered and len(data) - done >= self._block_size:
                end = done + self._block_size
                with data[done:end] as block:
                    self._file.write(block)
            else:
                end = min(len(data), done + self._block_size - self._buffered)
                self._fill(data, done, end)
            done = end
        self._size += done

    def seal(
        self,
        file_id: int,
        *,
        mtime_ns: int | None,
        digests: Mapping[str, bytes],
        durable: bool,
    ) -> Sealed:
        """
        Give the file all that it shall have when it becomes visible.

        Args:
            file_id: whose file it will be.
            mtime_ns: now, if None; cut to whole seconds of 32 bits.
            digests: to be kept with it.
            durable: call ``hpss_Fsync``; that it makes the bytes safe is a guess.

        Raises:
            HpssError: a call failed.
            NotSupported: the digests are longer than HPSS keeps.
        """
        self._flush()
        self._free()
        if durable:
            self._file.sync()
        self._file.close()
        wanted_ns = time.time_ns() if mtime_ns is None else mtime_ns
        mtime_s = min(max(wanted_ns // _NS_PER_S, 0), _LAST_SECOND)
        call = self._session.call
        # After the close, which may set it to the time of the last write.
        call(lib.pah_utime, self.path, mtime_s, retry=True)
        if digests:
            status = ffi.new("pah_status *")
            call(lib.pah_get_status, self.path, status, retry=True)
            set_digests(self._session, self.path, file_id, version_of(status), digests)
        if not self._mode_sticks():
            call(lib.pah_chmod, self.path, MODE, retry=True)
        return Sealed(
            path=self.path,
            private=True,
            size=self._size,
            mtime_s=mtime_s,
        )

    def discard(self) -> None:
        """
        Free all and remove the name, if it is still there; idempotent.

        Raises:
            HpssError: it could not be removed.
        """
        self._free()
        self._file.release()
        if self._session.usable:
            _remove(self._session, self.path)

    def forget_path(self) -> None:
        """Remove the name of a file that has another one by now."""
        try:
            _remove(self._session, self.path)
        except HpssError as exc:
            # The file is stored; a sweep will take this name of it away.
            _log.warning("a name in %s was not removed: %s", INCOMING, exc)

    def _fill(self, data: memoryview, start: int, end: int) -> None:
        if self._buffer is None:
            # Pages that nothing is written to cost nothing; and private, for else
            # a forked child would share them.
            self._buffer = mmap.mmap(
                -1, self._block_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            )
        begin, self._buffered = self._buffered, self._buffered + end - start
        self._buffer[begin : self._buffered] = data[start:end]
        if self._buffered == self._block_size:
            self._flush()

    def _flush(self) -> None:
        if self._buffered and self._buffer is not None:
            with memoryview(self._buffer) as whole, whole[: self._buffered] as block:
                self._file.write(block)
            self._buffered = 0

    def _free(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.close()

    def _mode_sticks(self) -> bool:
        """
        Whether HPSS gave the file the mode that it was created with.

        POSIX says so; that HPSS does is a guess, so one file of each process is
        looked at.
        """
        if self._session.mode_sticks is None:
            found = ffi.new("pah_stat *")
            self._session.call(lib.pah_lstat, self.path, found, retry=True)
            self._session.mode_sticks = found.mode == MODE
        return self._session.mode_sticks


class Incoming:
    """
    The directory ``.incoming`` of one prefix. Used by any number of threads.

    There are no locks on HPSS, so nothing but its age tells that a file's writer is
    dead.

    Args:
        session: the login.
        descriptors: the archive's open files.
        prefix: the archive's directory.
        buffer_size: bytes of a write.
        class_of_service: of new files; None to let HPSS choose.
        ttl_s: seconds without change after which a file is dead.
    """

    def __init__(
        self,
        session: Session,
        descriptors: Descriptors,
        prefix: str,
        *,
        buffer_size: int,
        class_of_service: int | None,
        ttl_s: int,
    ) -> None:
        self.path = f"{prefix}/{INCOMING}"
        self._session = session
        self._descriptors = descriptors
        self._buffer_size = buffer_size
        self._class_of_service = class_of_service
        self._ttl_s = ttl_s

    def make(self) -> None:
        """
        Make the directory, unless it is there.

        Raises:
            HpssError: it cannot be made.
        """
        try:
            self._session.call(lib.pah_mkdir, self.path, _DIRECTORY_MODE, retry=True)
        except HpssError as exc:
            if exc.code != errno.EEXIST:
                raise

    def new_path(self) -> str:
        """Return a name in the directory that nothing has."""
        return f"{self.path}/{uuid.uuid4().hex}"

    def create(self, *, size: int | None) -> IncomingFile:
        """
        Begin an empty file.

        Raises:
            HpssError: it cannot be created.
        """
        try:
            return self._create(size)
        except HpssError as exc:
            if exc.code != errno.ENOENT:
                raise
        # Somebody tidied up.
        self.make()
        return self._create(size)

    def sweep(self, names: Names) -> None:
        """Remove what dead writers left; what cannot be removed is left."""
        try:
            found = self._names()
        except HpssError as exc:
            _log.info("leftovers cannot be listed: %s", exc)
            return
        for name in found:
            try:
                if _NAME.fullmatch(name):
                    self._remove_if_dead(name)
                else:
                    names.restore(name)
            except CommitUnclear as exc:
                _log.warning("%s was not put back: %s", name, exc.__cause__)
            except HpssError as exc:
                if exc.code != errno.ENOENT:
                    _log.info("leftover %s cannot be swept: %s", name, exc)

    def _create(self, size: int | None) -> IncomingFile:
        return IncomingFile(
            self._session,
            self._descriptors,
            self.new_path(),
            size=size,
            class_of_service=self._class_of_service,
            buffer_size=self._buffer_size,
        )

    def _names(self) -> list[str]:
        directory = self._descriptors.open_directory(self.path)
        try:
            return list(directory.names())
        finally:
            directory.release()

    def _remove_if_dead(self, name: str) -> None:
        path = f"{self.path}/{name}"
        status = ffi.new("pah_status *")
        self._session.call(lib.pah_get_status, path, status, retry=True)
        # Not its mtime, which is its sender's from the seal on.
        if time.time() - status.ctime_s > self._ttl_s:
            _remove(self._session, path)
            _log.info("swept leftover %s of %d bytes", name, status.size)


def _remove(session: Session, path: str) -> None:
    """Remove a name that is ours alone, unless it is gone already."""
    try:
        session.call(lib.pah_unlink, path, retry=True)
    except HpssError as exc:
        if exc.code != errno.ENOENT:
            raise
