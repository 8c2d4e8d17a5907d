"""
Waiting for tapes, with an end to it: a limited number of threads, for a limited time.

A read that waits for a tape cannot be ended, and to kill it would cancel the stage. So
it is done by a thread of its own, which is left alone with its descriptor and its
memory when the time is over.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import queue
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_core import ArchiveReader, ArchiveUnavailable, FileOffline
from pacifica_archive_hmssideband.threads import started
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.errors import READ, error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core import Archive, FileStatus
    from pacifica_archive_hmssideband.staging import Staging

__all__ = ["RecalledReader", "Recalls", "has_hole"]

#: Threads that may wait for tapes at once; the others are told to come again.
_WAITERS = 8
#: Seconds before the first look at a file that is not whole, and at most between two.
_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 60.0
_GROWTH = 1.5
#: Seconds that a reader's close waits for an idle thread.
_CLOSE_S = 10.0
#: Of a file system that does not know the word (lseek(2)).
_NO_HOLES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def has_hole(fd: int, size: int) -> bool:
    """
    Whether the file system knows of bytes that are not there; False if it cannot say.

    Blocks that were taken and not written to yet are no hole once they were read.
    It sets the offset of the descriptor.

    Args:
        fd: the descriptor.
        size: of its file, bytes.
    """
    try:
        return size > 0 and os.lseek(fd, 0, os.SEEK_HOLE) < size
    except OSError as exc:
        if exc.errno in _NO_HOLES:
            return False
        raise


class Recalls:
    """
    The threads that wait for tapes. Used by any number of threads.

    Args:
        staging: what asks for a recall.
        timeout_s: seconds that a recall may take.
    """

    def __init__(self, staging: Staging, timeout_s: float) -> None:
        self._staging = staging
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(_WAITERS)
        self._closing: futures.Future[None] = futures.Future()

    def close(self) -> None:
        """Have those who wait leave; called once."""
        self._closing.set_result(None)

    def deadline_s(self) -> float:
        """Return until when who begins now may wait, by ``time.monotonic``."""
        return time.monotonic() + self._timeout_s

    def wait(
        self,
        file_id: int,
        path: str,
        is_online: Callable[[], bool],
        *,
        deadline_s: float | None = None,
    ) -> None:
        """
        Ask for a file, once, and wait until its bytes can be read.

        They can when a read of the last one has returned and the file has no hole:
        the HSM lets it return when the whole file is on disk, or reads it from tape
        (a file of ``stage -n``). A hole is of something that cannot have a read wait,
        such as the double; then the file is looked at until it is whole, or online,
        or another version has its place, which the caller is to look at himself.

        Args:
            file_id: its id.
            path: its path.
            is_online: whether the database says so; not by the blocks on disk, all
                of which a file has while it comes. Called in another thread; what it
                raises ends the wait.
            deadline_s: until when; as ``deadline_s()`` says by default.

        Raises:
            FileOffline: it has not come within ``timeout_s``.
            FileDamaged, NoSuchFile: as they say.
            ArchiveUnavailable: too many are waiting, or the store failed.
            ValueError: the archive was closed.
        """
        if deadline_s is None:
            deadline_s = self.deadline_s()
        if not self._slots.acquire(blocking=False):
            raise ArchiveUnavailable(
                f"file {file_id}: {_WAITERS} others wait for tapes already"
            )
        come: futures.Future[bool] = futures.Future()
        with contextlib.ExitStack() as slot:
            slot.callback(self._slots.release)
            (error,) = self._staging.ask([(file_id, path)])
            if error is not None:
                raise error
            started(
                functools.partial(self._run, come, path, is_online, deadline_s),
                "pacifica-hms-recall",
            )
            # The thread gives it back.
            slot.pop_all()
        left_s = max(deadline_s - time.monotonic(), 0)
        either: list[futures.Future[Any]] = [come, self._closing]
        futures.wait(either, left_s, futures.FIRST_COMPLETED)
        try:
            if come.done() and come.result():
                return
        except OSError as exc:
            raise error_of(exc, file_id, READ) from exc
        if self._closing.done():
            raise ValueError("the archive is closed")
        raise _too_late(file_id, self._timeout_s)

    def _run(
        self,
        come: futures.Future[bool],
        path: str,
        is_online: Callable[[], bool],
        deadline_s: float,
    ) -> None:
        try:
            has_come = self._watch(path, is_online, deadline_s)
        except BaseException as exc:  # noqa: BLE001 (it is raised where it is waited for)
            # First: who is answered may come again at once.
            self._slots.release()
            come.set_exception(exc)
        else:
            self._slots.release()
            come.set_result(has_come)

    def _watch(
        self, path: str, is_online: Callable[[], bool], deadline_s: float
    ) -> bool:
        """Return True when the file has come, False when nobody waits any more."""
        fd = os.open(path, _READ)
        try:
            size = os.fstat(fd).st_size
            os.pread(fd, 1, max(size - 1, 0))
            pause_s = _FIRST_PAUSE_S
            while (
                has_hole(fd, size)
                and os.path.samestat(os.fstat(fd), Path(path).lstat())
                and not is_online()
            ):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or self._closing.done():
                    return False
                futures.wait([self._closing], min(pause_s, left_s))
                pause_s = min(pause_s * _GROWTH, _LAST_PAUSE_S)
        finally:
            release(fd)
        return True


@attrs.frozen(kw_only=True)
class _Read:
    """One read, by the thread; the bytes are its own until it answers."""

    size: int
    position: int
    answer: futures.Future[bytes]


class _Worker:
    """
    A thread that owns a descriptor.

    Raises:
        ArchiveUnavailable: there is no thread, and the descriptor is its giver's.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._reads: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self._thread = started(self._run, "pacifica-hms-reader")

    def read(self, size: int, position: int) -> futures.Future[bytes]:
        """Begin a read and return what will be its bytes."""
        read = _Read(size=size, position=position, answer=futures.Future())
        self._reads.put(read)
        return read.answer

    def dismiss(self) -> None:
        """Have the descriptor closed as soon as no read is at it."""
        self._reads.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until the descriptor is closed, or no longer."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while (read := self._reads.get()) is not None:
                try:
                    block = os.pread(self._fd, read.size, read.position)
                except BaseException as exc:  # noqa: BLE001 (as above)
                    read.answer.set_exception(exc)
                else:
                    read.answer.set_result(block)
                    # Not to be held until the next read.
                    del block
                del read
        finally:
            release(self._fd)


class RecalledReader(ArchiveReader):
    """
    Reads a file that has been waited for, and that may be on tape still.

    Each read of a file of ``stage -n`` may wait for its tape again.

    Args:
        archive: the archive.
        status: the status of the file that is open.
        fd: its descriptor; of the reader's thread from now on.
        timeout_s: seconds that a read may take.

    Raises:
        ArchiveUnavailable: there is no thread, and ``fd`` is its giver's.
    """

    def __init__(
        self, archive: Archive, status: FileStatus, fd: int, *, timeout_s: float
    ) -> None:
        super().__init__(archive, status)
        self._timeout_s = timeout_s
        self._block_size = archive.block_size
        self._reading: futures.Future[bytes] | None = None
        self._worker: _Worker | None = None
        try:
            self._worker = _Worker(fd)
        except BaseException:
            # It holds nothing: no warning that it was not closed.
            self.close()
            raise

    def __del__(self) -> None:
        # Not joined: the garbage collector may be in the middle of a call.
        self._leave()
        super().__del__()

    def _readinto_at(self, view: memoryview, position: int) -> int:
        # Never into the caller's memory: the tape may come when he has left.
        block = self._read_at(len(view), position)
        view[: len(block)] = block
        return len(block)

    def _read_at(self, size: int, position: int) -> bytes:
        file_id = self.status.file_id
        if self._worker is None:
            raise _too_late(file_id, self._timeout_s)
        reading = self._reading = self._worker.read(
            min(size, self._block_size), position
        )
        futures.wait([reading], self._timeout_s)
        self._reading = None
        if not reading.done():
            self._leave()
            raise _too_late(file_id, self._timeout_s)
        try:
            return reading.result()
        except OSError as exc:
            raise error_of(exc, file_id, READ) from exc

    def _leave(self) -> _Worker | None:
        # Without it the constructor of a base failed.
        worker, self._worker = getattr(self, "_worker", None), None
        if worker is not None:
            worker.dismiss()
        return worker

    def _release(self) -> None:
        worker = self._leave()
        # A read that hangs, left by an interrupt, is not waited for.
        if worker is not None and self._reading is None:
            worker.join(_CLOSE_S)


def _too_late(file_id: int, timeout_s: float) -> FileOffline:
    return FileOffline(file_id, f"its tape did not come within {timeout_s:g} s")
