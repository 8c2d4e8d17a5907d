"""Descriptors of HPSS: numbers of a table that this process has one of."""

from __future__ import annotations

import collections
import errno
import functools
import logging
from typing import TYPE_CHECKING

from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.errors import HpssError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_hpss.session import Session

__all__ = ["MODE", "Descriptors", "OpenDirectory", "OpenFile"]

_log = logging.getLogger(__name__)

#: The mode of every file of the archive.
MODE = 0o444
#: Longer than any name: HPSS_MAX_FILE_NAME is not public.
_NAME_SIZE = 4096


class Descriptor:
    """
    A number of the table. Used by one thread at a time, which may change.

    Dropped without a close, it closes itself. After a new login its number is not
    given to C any more, for it may be that of another file; in a forked child
    nothing is.

    Args:
        session: the login.
        slots: one is taken, and put back by the close.
        function: what opens it.
        args: of the function.
    """

    _closing: Callable[..., int]

    def __init__(
        self,
        session: Session,
        slots: collections.deque[None],
        function: Callable[..., int],
        *args: object,
    ) -> None:
        #: The generation of the login and the number, while it is open.
        self._opened: list[int] = []
        self._slots: collections.deque[None] | None = None
        self._session = session
        try:
            slots.pop()
        except IndexError as exc:
            raise HpssError(
                errno.EMFILE, "as many files are open as max_open_files allows"
            ) from exc
        self._slots = slots
        try:
            session.call_into(self._opened, function, *args)
        except BaseException:
            self.release()
            raise

    def close(self) -> None:
        """
        Give the descriptor back. Idempotent.

        Never tried again: whether a close that failed gave the number back is not
        public, and it may be the file of another thread by then.

        Raises:
            HpssError: it failed.
        """
        try:
            # One that was interrupted may have no number, or that of an error.
            if self._opened[1:] > [-1] and self._session.usable:
                self._close()
        finally:
            self._opened.clear()
            slots, self._slots = self._slots, None
            if slots is not None:
                slots.append(None)

    def release(self) -> None:
        """Give the descriptor back, whatever is said: no byte depends on that."""
        try:
            self.close()
        except HpssError as exc:
            _log.info("a file was not closed: %s", exc)

    def __del__(self) -> None:
        self.release()

    def _close(self) -> None:
        try:
            self._call(self._closing)
        except HpssError as exc:
            if self._opened[0] == self._session.generation:
                raise
            # It went with its login.
            _log.info("a file was not closed: %s", exc)

    def _call(self, function: Callable[..., int], *args: object) -> int:
        if not self._opened:
            raise ValueError("the file is closed")
        generation, fd = self._opened
        result: list[int] = []
        self._session.call_into(result, function, fd, *args, generation=generation)
        return result[1]


_LARGEST = 2**63 - 1


class OpenFile(Descriptor):
    """An opened file, to read from or to write to."""

    _closing = staticmethod(lib.pah_close)
    #: Where the next byte is read; None if that is not known.
    _position: int | None = 0

    def read_into(self, view: memoryview, position: int) -> int:
        """
        Fill ``view`` from ``position``; fewer bytes at the end, or before a failure.

        Tried again after a transient failure.

        Raises:
            HpssError: no byte could be read.
        """
        done = 0
        while done < len(view):
            try:
                with view[done:] as rest:
                    count = self._session.retrying(
                        functools.partial(self._read_once, rest, position + done)
                    )
            except HpssError:
                # What has come is good, and the next read says the rest.
                if done:
                    break
                raise
            if count == 0:
                break
            done += count
        return done

    def write(self, view: memoryview) -> None:
        """
        Append all of ``view``; never tried again, for it may have been done.

        Raises:
            HpssError: it failed, and how much was written is not known.
        """
        done = 0
        while done < len(view):
            with view[done:] as rest, ffi.from_buffer(rest) as buffer:
                count = self._call(lib.pah_write, buffer, len(rest))
            if count == 0:
                raise HpssError(errno.EIO, "hpss_Write: took nothing")
            done += count

    def sync(self) -> None:
        """
        Have what was written on stable storage; what HPSS makes of it is a guess.

        Raises:
            HpssError: it failed.
        """
        self._call(lib.pah_fsync)

    def _read_once(self, view: memoryview, position: int) -> int:
        self._seek(position)
        # Not known until it returned.
        self._position = None
        with ffi.from_buffer(view, require_writable=True) as buffer:
            count = self._call(lib.pah_read, buffer, len(view))
        self._position = position + count
        return count

    def _seek(self, position: int) -> None:
        if position != self._position:
            self._position = None
            self._call(lib.pah_seek, position)
            self._position = position


class OpenDirectory(Descriptor):
    """An opened directory."""

    _closing = staticmethod(lib.pah_closedir)

    def names(self) -> Iterator[str]:
        """
        Yield what is in it, once.

        Raises:
            HpssError: it failed.
        """
        name = ffi.new("char[]", _NAME_SIZE)
        while self._call(lib.pah_readdir, name, _NAME_SIZE):
            yield ffi.string(name).decode("utf-8", "replace")


class Descriptors:
    """
    The files that one archive has open. Used by any number of threads.

    Args:
        session: the login.
        limit: how many there may be: the table is small, and for the whole process.
    """

    def __init__(self, session: Session, *, limit: int) -> None:
        self._session = session
        # One for each that may still be opened. Not a semaphore, whose lock the
        # garbage collector may meet when it closes a file.
        self._slots: collections.deque[None] = collections.deque([None] * limit)

    def open_directory(self, path: str) -> OpenDirectory:
        """
        Open a directory.

        Raises:
            HpssError: it failed, or too much is open.
        """
        return OpenDirectory(self._session, self._slots, lib.pah_opendir, path)

    def open(self, path: str, *, recall: bool = False) -> OpenFile:
        """
        Open a file for reading.

        Args:
            path: its name.
            recall: let HPSS wait for a tape, for as long as it likes.

        Raises:
            HpssError: it failed, or too many are open.
        """
        return self._session.retrying(
            lambda: OpenFile(
                self._session, self._slots, lib.pah_open, path, int(recall)
            )
        )

    def create(
        self, path: str, *, size: int | None, class_of_service: int | None
    ) -> OpenFile:
        """
        Create a file, of mode 0444, for writing.

        Args:
            path: its name, which nothing has yet.
            size: bytes, if known.
            class_of_service: None to let HPSS choose one for the size.

        Raises:
            HpssError: it failed, or too many are open.
        """
        return OpenFile(
            self._session,
            self._slots,
            lib.pah_create,
            path,
            MODE,
            # What is more does not fit into the hint, nor into HPSS.
            -1 if size is None else min(size, _LARGEST),
            class_of_service or 0,
        )
