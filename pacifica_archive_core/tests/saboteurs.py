"""
What the archives that are broken on purpose are made of.

Each class of ``sabotaged_*.py`` has one fault, which someone made or might make,
and says by ``caught_by`` which tests of the contract must fail on it; so every
test is shown to be able to. Run by test_sabotage.py.
They replace what is final, take what is private and say nothing of types, since
nobody calls them: hence the settings of the linters at the top of each.
"""
# mypy: allow-subclassing-any
# ruff: noqa: ANN401 (see above)

from __future__ import annotations

from typing import Any

from tiny import TinyArchive

from pacifica_archive_core import ArchiveReader, ArchiveWriter, MemoryArchive

# Any: what follows from them is broken, and the type checker would say so.
Memory: Any = MemoryArchive
Tiny: Any = TinyArchive
Reader: Any = ArchiveReader
Writer: Any = ArchiveWriter


def with_reader(base: Any, **methods: Any) -> Any:
    """Return a base whose readers have other methods."""

    class WithReader(base):
        def _open(self, file_id: Any, *, recall: Any) -> Any:
            reader = super()._open(file_id, recall=recall)
            reader.__class__ = type("Reader", (type(reader),), methods)
            return reader

    return WithReader


def with_writer(base: Any, **methods: Any) -> Any:
    """Return a base whose writers have other methods."""

    class WithWriter(base):
        def _create(self, file_id: Any, **promises: Any) -> Any:
            writer = super()._create(file_id, **promises)
            writer.__class__ = type("Writer", (type(writer),), methods)
            return writer

    return WithWriter


def with_status(base: Any, change: Any) -> Any:
    """Return a base whose statuses are changed, also those of its readers."""

    class WithStatus(base):
        def _open(self, file_id: Any, *, recall: Any) -> Any:
            reader = super()._open(file_id, recall=recall)
            reader.status = change(self, reader.status)
            return reader

        def _status(self, file_id: Any) -> Any:
            return change(self, super()._status(file_id))

    return WithStatus
