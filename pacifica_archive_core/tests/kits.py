"""How the contract reaches the two archives that core is tested with."""

# ruff: noqa: SLF001 (the raw medium is what is private)
from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest
from tiny import TinyArchive, TinyOptions

from pacifica_archive_core import Archive, MemoryArchive, MemoryOptions
from pacifica_archive_core.memory import _File
from pacifica_archive_core.testing import ArchiveContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class MemoryKit(ArchiveContract):
    """The medium is the dictionary inside."""

    archive_class: ClassVar[type[MemoryArchive]] = MemoryArchive
    keeps_digests = True
    has_tape = True
    can_be_filled = True

    @pytest.fixture
    def opener(self) -> Callable[[], Archive]:
        return partial(self.archive_class, MemoryOptions())

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        assert isinstance(archive, MemoryArchive)
        return archive._files[file_id].data

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        assert isinstance(archive, MemoryArchive)
        archive._files[file_id] = _File(
            data=data, mtime_ns=1, ctime_ns=1, version="raw", digests={}
        )

    def list_raw(self, archive: Archive) -> set[str]:
        assert isinstance(archive, MemoryArchive)
        trash = {f"{file_id}.{time_ns}" for file_id, time_ns in archive._trash}
        return {str(file_id) for file_id in archive._files} | trash

    def make_offline(self, archive: Archive, file_id: int) -> None:
        assert isinstance(archive, MemoryArchive)
        archive.purge(file_id)

    def finish_recalls(self, archive: Archive) -> None:
        assert isinstance(archive, MemoryArchive)
        archive.finish_recalls()

    @contextlib.contextmanager
    def filled(self, archive: Archive) -> Iterator[None]:
        assert isinstance(archive, MemoryArchive)
        before = archive.options
        files = (*archive._files.values(), *archive._trash.values())
        held = sum(len(file.data) for file in files)
        archive.options = attrs.evolve(before, capacity=held)
        yield
        archive.options = before


class TinyKit(ArchiveContract):
    """The medium is a directory."""

    archive_class: ClassVar[type[TinyArchive]] = TinyArchive
    persistent = True
    sparse = True
    keeps_digests = True
    can_be_unreachable = True

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Callable[[], Archive]:
        return partial(self.archive_class, TinyOptions(tmp_path / "store"))

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        assert isinstance(archive, TinyArchive)
        return (archive.names / str(file_id)).read_bytes()

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        self.write_raw_sparse(archive, file_id, len(data), {0: data})

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        assert isinstance(archive, TinyArchive)
        with (archive.data / "raw").open("wb") as file:
            file.truncate(size)
            for offset, part in parts.items():
                file.seek(offset)
                file.write(part)
        (archive.names / str(file_id)).symlink_to("../data/raw")

    def list_raw(self, archive: Archive) -> set[str]:
        prefix = archive.options.prefix
        return {str(path.relative_to(prefix)) for path in prefix.rglob("*")}

    def sources(self, archive: Archive) -> Path:
        assert isinstance(archive, TinyArchive)
        return archive.inbox

    @contextlib.contextmanager
    def unreachable(self, archive: Archive) -> Iterator[None]:
        away = archive.options.prefix.rename(archive.options.prefix.parent / "away")
        yield
        away.rename(archive.options.prefix)


#: The contract of each honest archive, for the broken ones made of it.
CONTRACTS: dict[type[Archive], type[ArchiveContract]] = {
    MemoryArchive: MemoryKit,
    TinyArchive: TinyKit,
}
