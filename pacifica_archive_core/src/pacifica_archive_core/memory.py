"""An archive in memory: the reference, and for tests of other people's code."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core.archive import Archive, Trashed
from pacifica_archive_core.errors import (
    ArchiveFull,
    FileExists,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_core.files import ArchiveReader, ArchiveWriter
from pacifica_archive_core.options import option
from pacifica_archive_core.status import FileStatus, Media, Residency, StorageLevel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MemoryArchive", "MemoryOptions"]


@attrs.frozen(kw_only=True)
class MemoryOptions:
    """Options of the ``memory`` backend."""

    capacity: int | None = option(
        "bytes it may hold, so that a full archive can be tried; unlimited by default",
        default=None,
        converter=attrs.converters.optional(int),
    )


@attrs.frozen(kw_only=True)
class _File:
    """One version: what is on tape stays, ``on_disk`` says whether disk has it."""

    data: bytes
    mtime_ns: int
    ctime_ns: int
    version: str
    digests: Mapping[str, bytes]
    on_disk: bool = True
    on_tape: bool = False


class MemoryArchive(Archive):
    """
    Files in the memory of one process, gone with it.

    It plays a tape too: ``purge`` puts a file on it, ``stage`` asks for it,
    and ``finish_recalls`` brings back all that was asked for, so that code
    which must cope with tape is tested without one and without waiting.
    """

    options_class = MemoryOptions
    config_sections = ("memory",)
    shared_between_processes = False

    options: MemoryOptions

    def __init__(self, options: MemoryOptions | None = None) -> None:
        super().__init__(options or MemoryOptions())
        self._lock = threading.Lock()
        self._files: dict[int, _File] = {}
        #: By id and ``deleted_ns``.
        self._trash: dict[tuple[int, int], _File] = {}
        self._versions = itertools.count(1)
        self._asked_for: set[int] = set()

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        with self._lock:
            file = self._get(file_id)
            if not file.on_disk:
                if not recall:
                    raise FileOffline(file_id)
                file = self._recall(file_id)
        return MemoryReader(self, _status_of(file_id, file), file.data)

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> MemoryWriter:
        with self._lock:
            if not overwrite and file_id in self._files:
                raise FileExists(file_id)
            self._reserve(file_id, size or 0)
        return MemoryWriter(
            self, file_id, size=size, mtime_ns=mtime_ns, overwrite=overwrite
        )

    def _status(self, file_id: int) -> FileStatus:
        with self._lock:
            return _status_of(file_id, self._get(file_id))

    def _stage(self, file_id: int) -> bool:
        with self._lock:
            online = self._get(file_id).on_disk
            if not online:
                self._asked_for.add(file_id)
            return online

    def _delete(self, file_id: int) -> None:
        with self._lock:
            self._get(file_id)
            del self._files[file_id]
            self._asked_for.discard(file_id)

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        """Return the digests kept with the present version."""
        file_id = self._ready(file_id)
        with self._lock:
            return dict(self._get(file_id).digests)

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """Keep digests with the version they were made of; those kept stay."""
        file_id = self._ready(file_id)
        with self._lock:
            file = self._get(file_id)
            if file.version != version:
                return False
            self._files[file_id] = attrs.evolve(
                file, digests={**digests, **file.digests}
            )
            return True

    def trash(self, file_id: int) -> None:
        """Put the file into the trash; who has it open reads on."""
        file_id = self._ready(file_id)
        with self._lock:
            self._get(file_id)
            # Later than the others of this id, though the clock was set back.
            deleted_ns = max(
                (before_ns + 1 for before_ns in self._times(file_id)), default=0
            )
            deleted_ns = max(deleted_ns, time.time_ns())
            self._trash[file_id, deleted_ns] = self._files.pop(file_id)
            self._asked_for.discard(file_id)

    def undelete(self, file_id: int, *, deleted_ns: int | None = None) -> None:
        """Take a file back: the one trashed last by default."""
        file_id = self._ready(file_id)
        with self._lock:
            # Again, with the lock held: the trash is not empty because it was freed.
            self.ensure_open()
            times = self._times(file_id)
            if deleted_ns is None:
                deleted_ns = max(times, default=None)
            if deleted_ns not in times:
                raise NoSuchFile(file_id, "not in the trash")
            if file_id in self._files:
                raise FileExists(file_id)
            self._files[file_id] = self._trash.pop((file_id, deleted_ns))

    def trashed(self) -> Iterator[Trashed]:
        """Return what is in the trash."""
        with self._lock:
            self.ensure_open()
            return iter(
                [
                    Trashed(file_id=file_id, deleted_ns=deleted_ns, size=len(file.data))
                    for (file_id, deleted_ns), file in self._trash.items()
                ]
            )

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        """Destroy what was trashed before a time; return how many files that were."""
        with self._lock:
            self.ensure_open()
            times = sorted((key[1], key) for key in self._trash if key[1] < before_ns)
            for _, key in times[:limit]:
                del self._trash[key]
            return len(times[:limit])

    def purge(self, file_id: int) -> None:
        """Leave the file on the pretended tape only; an empty one stays."""
        file_id = self._ready(file_id)
        with self._lock:
            file = self._get(file_id)
            if file.data:
                self._files[file_id] = attrs.evolve(file, on_disk=False, on_tape=True)

    def finish_recalls(self) -> None:
        """Bring to disk all files that ``stage`` asked for."""
        self.ensure_open()
        with self._lock:
            for file_id in tuple(self._asked_for):
                self._recall(file_id)

    def _close(self) -> None:
        with self._lock:
            self._files.clear()
            self._trash.clear()
            self._asked_for.clear()

    def _recall(self, file_id: int) -> _File:
        file = self._files[file_id] = attrs.evolve(self._files[file_id], on_disk=True)
        self._asked_for.discard(file_id)
        return file

    def _get(self, file_id: int) -> _File:
        # Again, with the lock held: a file is not missing because it was freed.
        self.ensure_open()
        try:
            return self._files[file_id]
        except KeyError as exc:
            raise NoSuchFile(file_id) from exc

    def _times(self, file_id: int) -> set[int]:
        """Return when those of this id were trashed that are in the trash."""
        return {deleted_ns for key, deleted_ns in self._trash if key == file_id}

    def _reserve(self, file_id: int, size: int) -> None:
        capacity = self.options.capacity
        if capacity is not None:
            held = sum(
                len(file.data) for key, file in self._files.items() if key != file_id
            ) + sum(len(file.data) for file in self._trash.values())
            if held + size > capacity:
                raise ArchiveFull(f"file {file_id}: no space left in {capacity} bytes")

    def _store(self, writer: MemoryWriter, data: bytes) -> None:
        """Make a writer's file visible: the one step behind its commit."""
        file_id = writer.file_id
        now_ns = time.time_ns()
        with self._lock:
            self.ensure_open()
            if not writer.overwrite and file_id in self._files:
                raise FileExists(file_id)
            self._reserve(file_id, len(data))
            self._files[file_id] = _File(
                data=data,
                mtime_ns=now_ns if writer.mtime_ns is None else writer.mtime_ns,
                ctime_ns=now_ns,
                version=str(next(self._versions)),
                digests=dict(writer.digests),
            )
            self._asked_for.discard(file_id)


class MemoryReader(ArchiveReader):
    """Reads the bytes of one version."""

    def __init__(self, archive: MemoryArchive, status: FileStatus, data: bytes) -> None:
        super().__init__(archive, status)
        self._data = data

    def _readinto_at(self, view: memoryview, position: int) -> int:
        block = self._read_at(len(view), position)
        view[: len(block)] = block
        return len(block)

    def _read_at(self, size: int, position: int) -> bytes:
        return self._data[position : position + size]

    def _release(self) -> None:
        self._data = b""


class MemoryWriter(ArchiveWriter):
    """Gathers bytes until the commit."""

    def __init__(
        self,
        archive: MemoryArchive,
        file_id: int,
        *,
        size: int | None,
        mtime_ns: int | None,
        overwrite: bool,
    ) -> None:
        super().__init__(archive, file_id, size=size)
        self.mtime_ns = mtime_ns
        self.overwrite = overwrite
        self._store = archive._store  # noqa: SLF001 (one module, two classes)
        self._data = bytearray()

    def _write(self, data: memoryview) -> None:
        self._data += data

    def _commit(self) -> None:
        self._store(self, bytes(self._data))

    def _discard(self) -> None:
        self._data.clear()


def _status_of(file_id: int, file: _File) -> FileStatus:
    size = len(file.data)
    levels = [StorageLevel(Media.DISK, size if file.on_disk else 0)]
    if file.on_tape:
        levels.append(StorageLevel(Media.TAPE, size))
    if not file.on_disk:
        residency = Residency.TAPE
    else:
        residency = Residency.DISK_AND_TAPE if file.on_tape else Residency.DISK
    return FileStatus(
        file_id=file_id,
        path=f"memory:{file_id}",
        size=size,
        mtime_ns=file.mtime_ns,
        ctime_ns=file.ctime_ns,
        version=file.version,
        levels=tuple(levels),
        residency=residency,
        residency_source="memory",
    )
