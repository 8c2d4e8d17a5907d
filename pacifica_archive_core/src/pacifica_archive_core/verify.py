"""
Reading files again, and comparing them with the digests kept with them.

``find_difference`` says where bytes went wrong; ``verify`` reads many files.
"""

from __future__ import annotations

import contextlib
import enum
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Self

import attrs

from pacifica_archive_core.archive import SupportsRecord
from pacifica_archive_core.copying import copy
from pacifica_archive_core.digests import ALGORITHMS, DEFAULT_ALGORITHM, Hashes
from pacifica_archive_core.errors import (
    AccessDenied,
    ArchiveError,
    FileError,
    FileOffline,
    NoSuchFile,
    NotSupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Buffer

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.copying import Hasher
    from pacifica_archive_core.files import ArchiveReader
    from pacifica_archive_core.status import FileStatus

__all__ = [
    "Difference",
    "RateLimit",
    "Result",
    "Verdict",
    "Where",
    "find_difference",
    "known",
    "verify",
]

#: How long readers that were told to stop are waited for: one may sit in a call
#: to the store, such as a recall, that takes hours.
_PATIENCE_S = 10
#: Python hears a signal late that comes just before a wait; a limit heals that.
_LISTEN_S = 1
_REPLACED = "replaced while it was read: nothing recorded"


class Where(enum.StrEnum):
    """Where bytes became others than those stored."""

    MEDIUM = "medium"
    #: Between the medium and here: a second reading was right.
    WAY = "way"
    #: Nowhere: the digests contradict each other, so one was kept wrong.
    DIGESTS = "digests"
    #: A second reading tells nothing.
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Difference:
    """What a file's bytes and the digests kept with them do not agree in."""

    where: Where
    reason: str


class Result(enum.StrEnum):
    """What became of the verification of one file."""

    OK = "ok"
    #: No digest was kept, and now one is.
    RECORDED = "recorded"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    OFFLINE = "offline"
    NO_DIGEST = "no digest"
    MISSING = "missing"


@attrs.frozen(kw_only=True)
class Verdict:
    """
    The result of the verification of one file.

    Attributes:
        file_id: its id.
        result: what became of it.
        size: bytes; None of a file whose status is not known.
        version: the version that the result is of; None as for ``size``.
        algorithms: those of the digests that were compared or recorded.
        where: of what differs.
        message: why it is neither ok nor recorded.
    """

    file_id: int
    result: Result
    size: int | None = None
    version: str | None = None
    algorithms: tuple[str, ...] = ()
    where: Where | None = None
    message: str | None = None


def known(digests: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those digests that can be computed here, strongest first."""
    return {name: digests[name] for name in ALGORITHMS if name in digests}


def find_difference(
    archive: Archive,
    reader: ArchiveReader,
    *,
    kept: Mapping[str, bytes],
    found: Mapping[str, bytes],
    block_size: int,
    hashers: Sequence[Hasher] = (),
) -> Difference | None:
    """
    Compare digests; where they differ, read again and say where that came about.

    Args:
        archive: of the reader.
        reader: of the version that all is about; it is read from the start, if
            that version can no longer be opened.
        kept: with the file, each of a known algorithm.
        found: of the bytes as they were read, by the same algorithms.
        block_size: bytes per read.
        hashers: as for ``copy``, for the second reading.
    """
    wrong = [name for name in kept if kept[name] != found[name]]
    if not wrong:
        return None
    what = f"{' and '.join(wrong)} not as kept: "
    if right := [name for name in kept if name not in wrong]:
        # Bytes that went wrong would not have any digest of before.
        reason = f"{what}kept wrong, as the bytes are right by {' and '.join(right)}"
        return Difference(where=Where.DIGESTS, reason=reason)
    status = reader.status
    try:
        # By another reader: a remote one has in memory what it was sent.
        with archive.open(status.file_id) as other:
            if other.status.version == status.version:
                reader = other
            again = _digests_read(reader, kept, block_size=block_size, hashers=hashers)
    except ArchiveError as exc:
        reason = f"{what}a second reading failed: {exc}"
        return Difference(where=Where.UNKNOWN, reason=reason)
    if again == kept:
        where, why = Where.WAY, "on the way: a second reading was right"
    elif again == found:
        where = Where.MEDIUM
        why = "on the medium: two readings agree, and neither is what was stored"
    else:
        where, why = Where.UNKNOWN, "two readings differ: on the medium or on the way"
    return Difference(where=where, reason=what + why)


class RateLimit:
    """
    So many bytes a second, for all together who take from it; no bursts.

    Args:
        bytes_per_second: more than 0.
        clock: returns seconds.
    """

    def __init__(
        self, bytes_per_second: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if bytes_per_second <= 0:
            raise ValueError(f"a rate is more than 0: {bytes_per_second}")
        self._rate = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        #: When all that was taken is paid for.
        self._even_s = clock()

    def take(self, count: int) -> float:
        """Take ``count`` bytes; return the seconds to wait until that was right."""
        with self._lock:
            now_s = self._clock()
            self._even_s = max(self._even_s, now_s) + count / self._rate
            return self._even_s - now_s


def verify(
    archive: Archive,
    file_ids: Iterable[int],
    *,
    readers: int = 4,
    recall: bool = False,
    record: bool = False,
    limit: RateLimit | None = None,
    hashers: Sequence[Hasher] = (),
) -> Generator[Verdict, None, None]:
    """
    Read files again and yield how they compare with their digests.

    In the order in which they are done. Of ``file_ids`` one more is taken than
    are under way. A file without a digest of a known algorithm is not
    read, unless one is to be recorded. Close the iterator where it may be left
    before its end: that stops the readers, within a block each.

    Args:
        archive: shared by the readers.
        file_ids: taken by the thread that iterates.
        readers: files read at the same time, each by a thread.
        recall: wait for files on tape, instead of the result OFFLINE.
        record: keep a digest with files that have none.
        limit: for all readers together.
        hashers: given every block that is read, by several threads.

    Raises:
        NotSupported: the store cannot ``record``; at once, where it says so.
        ArchiveUnavailable, ArchiveFull: the store failed, which ends the run.
    """
    if record and not isinstance(archive, SupportsRecord):
        raise NotSupported("this backend cannot record digests")
    return _results(
        _Reading(archive=archive, recall=recall, record=record),
        file_ids,
        readers=readers,
        limit=limit,
        hashers=hashers,
    )


class _Stopped(Exception):
    """The readers are to end."""


class _Brake:
    """Lets no byte pass faster than the limit, or after the stop."""

    def __init__(self, stop: threading.Event, limit: RateLimit | None) -> None:
        self._stop = stop
        self._limit = limit

    def update(self, data: Buffer) -> None:
        with memoryview(data) as view:
            delay_s = self._limit.take(view.nbytes) if self._limit else 0
        if self._stop.wait(delay_s):
            raise _Stopped


def _results(
    reading: _Reading,
    file_ids: Iterable[int],
    *,
    readers: int,
    limit: RateLimit | None,
    hashers: Sequence[Hasher],
) -> Generator[Verdict, None, None]:
    under_way = 0
    with _Readers(reading, readers, limit=limit, hashers=hashers) as crew:
        for file_id in file_ids:
            if under_way == readers:
                yield crew.next()
                under_way -= 1
            crew.begin(file_id)
            under_way += 1
        for _ in range(under_way):
            yield crew.next()


class _Readers:
    """The threads that read, each one file at a time, until the with-block ends."""

    def __init__(
        self,
        reading: _Reading,
        count: int,
        *,
        limit: RateLimit | None,
        hashers: Sequence[Hasher],
    ) -> None:
        self._reading = reading
        self._stop = threading.Event()
        self._hashers = (_Brake(self._stop, limit), *hashers)
        self._todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Verdict | BaseException] = queue.SimpleQueue()
        self._count = count
        self._threads: list[threading.Thread] = []

    def begin(self, file_id: int) -> None:
        """Have the next free reader verify a file."""
        self._todo.put(file_id)

    def next(self) -> Verdict:
        """Wait for the next file to be done; what its reader raised is raised here."""
        while True:
            with contextlib.suppress(queue.Empty):
                found = self._done.get(timeout=_LISTEN_S)
                if isinstance(found, BaseException):
                    raise found
                return found

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                # A daemon: one that sits in a call to the store holds up no exit.
                thread = threading.Thread(
                    target=self._run, name="pacifica-archive-verify", daemon=True
                )
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        for _ in self._threads:
            self._todo.put(None)
        deadline_s = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(max(0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        while (file_id := self._todo.get()) is not None:
            try:
                self._done.put(self._reading.verdict(file_id, self._hashers))
            except BaseException as exc:  # noqa: BLE001 (raised again by next)
                self._done.put(exc)


@attrs.frozen(kw_only=True)
class _Reading:
    """How each file is verified."""

    archive: Archive
    recall: bool
    record: bool

    def verdict(self, file_id: int, hashers: Sequence[Hasher]) -> Verdict:
        """
        Verify one file.

        Raises:
            ArchiveUnavailable, ArchiveFull, NotSupported: the store failed.
        """
        try:
            verdict = self._opened(file_id, hashers)
            if verdict.message != _REPLACED:
                return verdict
            # Perhaps another has recorded its digest: then it can be compared now.
            return self._opened(file_id, hashers)
        except NoSuchFile as exc:
            return Verdict(file_id=file_id, result=Result.MISSING, message=exc.reason)
        except (FileError, AccessDenied) as exc:
            offline = isinstance(exc, FileOffline)
            status = self._status(file_id)
            return Verdict(
                file_id=file_id,
                result=Result.OFFLINE if offline else Result.UNREADABLE,
                size=None if status is None else status.size,
                version=None if status is None else status.version,
                message=_reason(exc),
            )

    def _opened(self, file_id: int, hashers: Sequence[Hasher]) -> Verdict:
        with self.archive.open(file_id, recall=self.recall) as reader:
            return self._compared(reader, hashers)

    def _compared(self, reader: ArchiveReader, hashers: Sequence[Hasher]) -> Verdict:
        digests = reader.digests()
        kept = known(digests)
        verdict = Verdict(
            file_id=reader.status.file_id,
            result=Result.OK,
            size=reader.status.size,
            version=reader.status.version,
            algorithms=tuple(kept),
        )
        if not kept and not self.record:
            unknown = ", ".join(sorted(digests))
            return attrs.evolve(
                verdict,
                result=Result.NO_DIGEST,
                message=f"kept, but unknown: {unknown}" if unknown else "none is kept",
            )
        block_size = self.archive.block_size
        found = _digests_read(
            reader,
            kept or (DEFAULT_ALGORITHM,),
            block_size=block_size,
            hashers=hashers,
        )
        if not kept:
            return self._recorded(reader, found, verdict)
        difference = find_difference(
            self.archive,
            reader,
            kept=kept,
            found=found,
            block_size=block_size,
            hashers=hashers,
        )
        if difference is None:
            return verdict
        return attrs.evolve(
            verdict,
            result=Result.DIFFERS,
            where=difference.where,
            message=difference.reason,
        )

    def _recorded(
        self, reader: ArchiveReader, found: Mapping[str, bytes], verdict: Verdict
    ) -> Verdict:
        status, archive = reader.status, self.archive
        # For the type checker: verify() has refused what is not.
        assert isinstance(archive, SupportsRecord)  # noqa: S101 (as said)
        try:
            recorded = archive.record_digests(
                status.file_id, found, version=status.version
            )
        except NoSuchFile:
            raise
        except (FileError, AccessDenied) as exc:
            why = f"not recorded: {_reason(exc)}"
        else:
            if recorded:
                return attrs.evolve(
                    verdict,
                    result=Result.RECORDED,
                    version=self._version_after(reader),
                    algorithms=tuple(found),
                )
            why = _REPLACED
        return attrs.evolve(verdict, result=Result.NO_DIGEST, message=why)

    def _version_after(self, reader: ArchiveReader) -> str:
        """
        Return the version that recording may have changed.

        Only what is surely the same file: a replacement's would claim that
        bytes were verified which nobody has read.
        """
        with (
            contextlib.suppress(OSError, FileError, AccessDenied),
            self.archive.open(reader.status.file_id) as again,
        ):
            if os.path.sameopenfile(reader.fileno(), again.fileno()):
                return again.status.version
        return reader.status.version

    def _status(self, file_id: int) -> FileStatus | None:
        try:
            return self.archive.status(file_id)
        except (FileError, AccessDenied):
            # What is wrong with the file was said by the one who asks.
            return None


def _reason(exc: FileError | AccessDenied) -> str:
    """Return what is wrong; which file it is, its verdict says."""
    return exc.reason if isinstance(exc, FileError) else str(exc)


class _Nowhere:
    def write(self, data: Buffer) -> None:
        """Take all of ``data``."""


def _digests_read(
    reader: ArchiveReader,
    algorithms: Iterable[str],
    *,
    block_size: int,
    hashers: Sequence[Hasher],
) -> dict[str, bytes]:
    """Return the digests of the whole file, read anew from the medium if it can be."""
    with contextlib.suppress(OSError):
        # What the kernel remembers of the file says nothing of the disk. No
        # fileno, or a file system without memory: nothing to forget.
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader.seek(0)
    with Hashes(algorithms) as hashes:
        copy(reader, _Nowhere(), block_size=block_size, hashers=(*hashers, hashes))
        return hashes.digests()
