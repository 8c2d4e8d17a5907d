"""Archives in memory whose readings go wrong, stand still or are counted."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import attrs
from tiny import TinyArchive, TinyOptions

from pacifica_archive_core import FileDamaged, MemoryArchive
from pacifica_archive_core.memory import MemoryReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pacifica_archive_core import Archive, FileStatus

LIMIT_S = 60
#: Several blocks of the archives.
DATA = bytes(range(256)) * 16
BLOCK = 1024


def flipped(data: bytes, position: int) -> bytes:
    """Return bytes with one bit that is another."""
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def store(
    archive: Archive, file_id: int, data: bytes = DATA, **digests: bytes
) -> FileStatus:
    """Store a file with digests, whose names are written with ``_``."""
    with archive.create(file_id, overwrite=True) as writer:
        writer.write(data)
        for name, value in digests.items():
            writer.digests[name.replace("_", "-")] = value
    return archive.status(file_id)


class FlawedArchive(MemoryArchive):
    """
    Every read runs ``before_read``; some readings have a flipped bit.

    Attributes:
        flips: the number of a reading, from 1, to the position of its bit.
        breaks: numbers of readings that fail.
        endless: the id of a file whose bytes never end.
        before_read: called with the id.
        before_record: called with the id.
        opened: the ids that were opened.
    """

    block_size = BLOCK

    def __init__(self) -> None:
        super().__init__()
        self.flips: Mapping[int, int] = {}
        self.breaks: frozenset[int] = frozenset()
        self.endless: int | None = None
        self.before_read: Callable[[int], object] = lambda _: None
        self.before_record: Callable[[int], object] = lambda _: None
        self.opened: list[int] = []
        self.readings = 0

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        with super()._open(file_id, recall=recall) as reader:
            self.opened.append(file_id)
            status, data = reader.status, reader.readall()
        if file_id == self.endless:
            status = attrs.evolve(status, size=1 << 60)
        return FlawedReader(self, status, data)

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """Let a test do something before."""
        self.before_record(file_id)
        return super().record_digests(file_id, digests, version=version)


class FlawedReader(MemoryReader):
    """Counts readings, each of which begins at the start."""

    _archive: FlawedArchive

    def _read_at(self, size: int, position: int) -> bytes:
        archive = self._archive
        archive.before_read(self.status.file_id)
        if self.status.file_id == archive.endless:
            return bytes(size)
        if position == 0:
            archive.readings += 1
        if archive.readings in archive.breaks:
            raise FileDamaged(self.status.file_id, "the tape is torn")
        block = super()._read_at(size, position)
        at = archive.flips.get(archive.readings, -1) - position
        return flipped(block, at) if 0 <= at < len(block) else block


class MuteArchive(MemoryArchive):
    """Cannot record digests."""

    record_digests = None  # type: ignore[assignment]  # what isinstance looks for


class StampedArchive(TinyArchive):
    """
    Recording digests changes the version, and a reader has a descriptor.

    Attributes:
        after_record: called when digests were recorded.
    """

    def __init__(self, options: TinyOptions) -> None:
        super().__init__(options)
        self.after_record: Callable[[], object] = lambda: None

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """Give the bytes another name too, which is their version."""
        recorded = super().record_digests(file_id, digests, version=version)
        with self.locked():
            path = self.current(file_id)
            renamed = path.rename(path.with_name(uuid.uuid4().hex))
            (self.names / str(file_id)).unlink()
            (self.names / str(file_id)).symlink_to(f"../data/{renamed.name}")
        self.after_record()
        return recorded


class Gate:
    """Holds readers back in their reads, until the test lets them go on."""

    def __init__(self, readers: int) -> None:
        self._arrived = threading.Barrier(readers + 1)
        self._open = threading.Event()
        self.inside = 0

    def enter(self, _file_id: int) -> None:
        """Wait for the test, in a reader."""
        if not self._open.is_set():
            self.inside += 1
            self._arrived.wait(LIMIT_S)
            assert self._open.wait(LIMIT_S)

    def wait(self) -> None:
        """Return when all readers are in a read."""
        self._arrived.wait(LIMIT_S)

    def open(self) -> None:
        """Let them go on."""
        self._open.set()


def replace(archive: MemoryArchive) -> Callable[[int], object]:
    """Return what replaces a file by the same bytes."""
    return lambda file_id: store(archive, file_id)
