"""How the contract reaches the two archives that core is tested with."""

# ruff: noqa: SLF001 (the raw medium is what is private)
from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest

from pacifica_archive_core import Archive, MemoryArchive, MemoryOptions
from pacifica_archive_core.memory import _File
from pacifica_archive_core.testing import ArchiveContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
        return {str(file_id) for file_id in archive._files}

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
        held = sum(len(file.data) for file in archive._files.values())
        archive.options = attrs.evolve(before, capacity=held)
        yield
        archive.options = before
