"""
Waiting for tapes, with an end to it: a limited number of threads, for a limited time.

A call of C that waits for a tape cannot be ended. So what can be asked for is polled
for instead, and what can only be read from tape is read by a thread of its own, which
is left alone with its buffer and its descriptor when the time is over.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    ArchiveReader,
    ArchiveUnavailable,
    FileOffline,
    Residency,
)
from pacifica_archive_hpss.errors import OPEN, READ, HpssError, error_of
from pacifica_archive_hpss.residency import (
    RawStatus,
    bitfile_id,
    has_disk,
    levels_of,
    residency_of,
)
from pacifica_archive_hpss.staging import needs_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pacifica_archive_core import Archive, FileError, FileStatus
    from pacifica_archive_hpss.archive import HpssOptions
    from pacifica_archive_hpss.descriptors import Descriptors, OpenFile
    from pacifica_archive_hpss.staging import Staging

__all__ = ["Recalls", "TapeReader", "is_tape_only"]

#: Threads that may wait for tapes at once; the others are told to come again.
_WAITERS = 8
#: Seconds before the first look at a file that was asked for, and at most between two:
#: recalls take minutes to hours.
_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 60.0
_GROWTH = 1.5
#: Seconds that a reader's close waits for its thread.
_CLOSE_S = 10.0


def is_tape_only(raw: RawStatus) -> bool:
    """Whether the file is on tape and has no disk to come to: a tape-only class."""
    on_tape = residency_of(raw.size, levels_of(raw)) is Residency.TAPE
    return on_tape and not has_disk(raw)


class Recalls:
    """
    The threads that wait for tapes. Used by any number of threads.

    Args:
        staging: what asks for a recall.
        options: ``recall_timeout_s`` and ``buffer_size`` count.
    """

    def __init__(self, staging: Staging, options: HpssOptions) -> None:
        self._staging = staging
        self._timeout_s = options.recall_timeout_s
        self._block_size = options.buffer_size
        self._slots = threading.BoundedSemaphore(_WAITERS)
        self._closed = threading.Event()

    def close(self) -> None:
        """Have those who wait look at once, and so see that the archive is closed."""
        self._closed.set()

    def deadline_s(self) -> float:
        """Return until when who begins now may wait, by ``time.monotonic``."""
        return time.monotonic() + self._timeout_s

    def wait(
        self,
        file_id: int,
        path: str,
        look: Callable[[int], tuple[str, RawStatus]],
        deadline_s: float,
    ) -> RawStatus:
        """
        Ask for a file, once, and wait until it is on disk.

        Args:
            file_id: its id.
            path: its path.
            look: returns path and status of an id, or raises ArchiveErrors; and
                ValueError once the archive is closed.
            deadline_s: until when.

        Returns:
            The status that ``look`` returned last.

        Raises:
            FileOffline: it has not come within ``recall_timeout_s``.
            FileDamaged: no level has it any more.
            NotSupported: it is of a tape-only class.
            ArchiveUnavailable: too many are waiting, or the store failed.
        """
        pause_s = _FIRST_PAUSE_S
        asked_for = ""
        with self._slot(file_id):
            while True:
                _, raw = look(file_id)
                if not needs_stage(file_id, raw):
                    return raw
                # Not again for the same version: what failed would mount its tape for
                # ever, and who wants that may ask himself.
                if asked_for != (asked_for := bitfile_id(raw)):
                    self._staging.stage(file_id, path, raw)
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise _too_late(file_id, self._timeout_s)
                self._closed.wait(min(pause_s, left_s))
                pause_s = min(pause_s * _GROWTH, _LAST_PAUSE_S)

    def open_on_tape(
        self, archive: Archive, descriptors: Descriptors, status: FileStatus
    ) -> TapeReader:
        """
        Open a file of a tape-only class, at ``status.path``.

        Raises:
            FileOffline: its tape has not come within ``recall_timeout_s``.
            FileDamaged, NoSuchFile: as they say.
            ArchiveUnavailable: too many are waiting, or the store failed.
        """
        with self._slot(status.file_id) as slot:
            worker = _Worker(
                lambda: descriptors.open(status.path, recall=True), self._slots.release
            )
            # The thread gives it back.
            slot.pop_all()
        reader = TapeReader(
            archive,
            status,
            worker,
            timeout_s=self._timeout_s,
            block_size=self._block_size,
        )
        try:
            reader.wait_for(worker.opened, OPEN)
        except BaseException:
            reader.close()
            raise
        return reader

    @contextlib.contextmanager
    def _slot(self, file_id: int) -> Iterator[contextlib.ExitStack]:
        """Take one of the places to wait in, which its user may keep for longer."""
        if not self._slots.acquire(blocking=False):
            raise ArchiveUnavailable(
                f"file {file_id}: {_WAITERS} others wait for tapes already"
            )
        with contextlib.ExitStack() as slot:
            slot.callback(self._slots.release)
            yield slot


@attrs.frozen(kw_only=True)
class _Read:
    """One read: its buffer belongs to the thread until the future is done."""

    view: memoryview
    position: int
    count: Future[int]


class _Worker:
    """
    A thread that owns one descriptor, and what is given to it until it answers.

    Args:
        open_file: opens the file; called in the thread.
        ended: called in the thread when nothing is held any more.
    """

    def __init__(
        self, open_file: Callable[[], OpenFile], ended: Callable[[], None]
    ) -> None:
        self._open_file = open_file
        self._ended = ended
        self._reads: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self.opened: Future[int] = Future()
        # Daemon: a call that never ends must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, name="pacifica-hpss-tape", daemon=True
        )
        self._thread.start()

    def read(self, view: memoryview, position: int) -> Future[int]:
        """Begin a read and return what will be its count."""
        read = _Read(view=view, position=position, count=Future())
        self._reads.put(read)
        return read.count

    def dismiss(self) -> None:
        """Have the descriptor closed as soon as C returns it."""
        self._reads.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until the descriptor is closed, or no longer."""
        # The garbage collector may close a reader in its own thread.
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._ended()

    def _serve(self) -> None:
        try:
            file = self._open_file()
        except BaseException as exc:  # noqa: BLE001 (it is raised where it is waited for)
            self.opened.set_exception(exc)
            return
        try:
            self.opened.set_result(0)
            while (read := self._reads.get()) is not None:
                try:
                    count = file.read_into(read.view, read.position)
                except BaseException as exc:  # noqa: BLE001 (as above)
                    read.count.set_exception(exc)
                else:
                    read.count.set_result(count)
                # A buffer is not to be held until the next read.
                del read
        finally:
            file.release()


class TapeReader(ArchiveReader):
    """Reads a file that no disk has; each read may wait for its tape."""

    def __init__(
        self,
        archive: Archive,
        status: FileStatus,
        worker: _Worker,
        *,
        timeout_s: float,
        block_size: int,
    ) -> None:
        super().__init__(archive, status)
        self._worker: _Worker | None = worker
        self._timeout_s = timeout_s
        self._block_size = block_size

    def __del__(self) -> None:
        # Not joined: the garbage collector may be in the middle of a call.
        if hasattr(self, "_worker"):
            self._leave()
        super().__del__()

    def wait_for(
        self, answer: Future[int], special: Mapping[int, type[FileError]]
    ) -> int:
        """
        Wait for what the thread answers, as long as the option allows.

        Raises:
            FileOffline: it has not answered, and is left alone from now on.
            FileDamaged, ArchiveUnavailable: as HPSS says.
        """
        file_id = self.status.file_id
        try:
            return answer.result(self._timeout_s)
        except TimeoutError as exc:
            self._leave()
            raise _too_late(file_id, self._timeout_s) from exc
        except HpssError as exc:
            raise error_of(exc, file_id, special) from exc

    def _readinto_at(self, view: memoryview, position: int) -> int:
        block = self._read_at(len(view), position)
        view[: len(block)] = block
        return len(block)

    def _read_at(self, size: int, position: int) -> bytes:
        if self._worker is None:
            raise _too_late(self.status.file_id, self._timeout_s)
        # Never the caller's memory: it is written to whenever the tape comes.
        buffer = bytearray(min(size, self._block_size))
        count = self.wait_for(self._worker.read(memoryview(buffer), position), READ)
        with memoryview(buffer) as view:
            return bytes(view[:count])

    def _leave(self) -> _Worker | None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.dismiss()
        return worker

    def _release(self) -> None:
        if worker := self._leave():
            worker.join(_CLOSE_S)


def _too_late(file_id: int, timeout_s: float) -> FileOffline:
    return FileOffline(file_id, f"its tape did not come within {timeout_s:g} s")
