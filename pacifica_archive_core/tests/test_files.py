"""What readers and writers do by themselves, whatever the backend."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from test_status import status

from pacifica_archive_core import (
    Archive,
    ArchiveReader,
    ArchiveUnavailable,
    ArchiveWriter,
    FileDamaged,
    IncompleteWrite,
    MemoryArchive,
)
from pacifica_archive_core.testing.base import forget
from pacifica_archive_core.testing.child import in_forked_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def archive() -> Iterator[Archive]:
    with MemoryArchive() as archive:
        yield archive


class Reader(ArchiveReader):
    """Has ``data``, in reads of 3 bytes at most; remembers what it was asked."""

    def __init__(self, archive: Archive, data: bytes, size: int) -> None:
        super().__init__(archive, status(size=size))
        self.data = data
        self.views: list[tuple[int, int, bool]] = []
        self.released = 0

    def _readinto_at(self, view: memoryview, position: int) -> int:
        self.views.append((len(view), position, view.readonly))
        block = self.data[position : position + min(3, len(view))]
        view[: len(block)] = block
        return len(block)

    def _release(self) -> None:
        self.released += 1


class Writer(ArchiveWriter):
    """Remembers its calls; fails where it is told to."""

    def __init__(
        self, archive: Archive, *, size: int | None = None, fail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(archive, 12345, size=size)
        self.fail = fail
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise ArchiveUnavailable(f"{name} failed")

    def _write(self, data: memoryview) -> None:
        self.call(f"write {bytes(data)!r}")
        self.call("write")

    def _commit(self) -> None:
        self.call("commit")

    def _discard(self) -> None:
        self.call("discard")


# --- abstract classes


@pytest.mark.parametrize("abstract", [Archive, ArchiveWriter])
def test_an_abstract_class_is_not_made(abstract: type) -> None:
    """Release 0.4.2 made them, and failed much later."""
    with pytest.raises(TypeError, match="abstract"):
        abstract(None)


def test_an_abstract_reader_is_not_made(archive: Archive) -> None:
    """Its base is a class of C, which does not look before Python 3.12."""
    with pytest.raises(TypeError, match=r"ArchiveReader.*_readinto_at"):
        ArchiveReader(archive, status())  # type: ignore[abstract]


def test_a_reader_that_lacks_a_hook_is_not_made(archive: Archive) -> None:
    class HalfReader(ArchiveReader):
        def _release(self) -> None:
            """Nothing is held."""

    with pytest.raises(TypeError, match=r"HalfReader.*_readinto_at"):
        HalfReader(archive, status())  # type: ignore[abstract]


# --- readers


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.readall(),
        lambda reader: [reader.read(2) for _ in range(4)],
        lambda reader: [reader.readinto(bytearray(5)) for _ in range(4)],
    ],
)
def test_a_file_that_ends_before_its_size_is_damaged(
    archive: Archive, read: Callable[[Reader], object]
) -> None:
    """Who copies it would take the end for the end."""
    with (
        Reader(archive, b"12345", size=9) as reader,
        pytest.raises(FileDamaged, match="file 1: ends at byte 5 of 9"),
    ):
        read(reader)


def test_a_file_longer_than_its_size_ends_at_its_size(archive: Archive) -> None:
    """The length was promised to a client already."""
    with Reader(archive, b"123456789", size=5) as reader:
        found = reader.readall()

    assert b"12345" == found


def test_a_hook_is_asked_for_what_is_in_the_file_only(archive: Archive) -> None:
    with Reader(archive, b"12345", size=5) as reader:
        reader.readinto(bytearray(100))
        reader.readinto(bytearray(100))
        reader.readinto(bytearray(100))

    assert [(5, 0, False), (2, 3, False)] == reader.views


def test_a_hook_is_given_bytes_whatever_the_buffer_holds(archive: Archive) -> None:
    buffer = memoryview(bytearray(24)).cast("Q", (1, 3))
    with Reader(archive, bytes(100), size=100) as reader:
        reader.readinto(buffer)

    assert [(24, 0, False)] == reader.views


def test_a_short_read_is_not_the_end(archive: Archive) -> None:
    with Reader(archive, b"12345", size=5) as reader:
        found = [reader.read(5), reader.read(5), reader.read(5)]

    assert [b"123", b"45", b""] == found


def test_a_failed_read_moves_nothing(archive: Archive) -> None:
    with Reader(archive, b"", size=5) as reader:
        with pytest.raises(FileDamaged):
            reader.read(5)
        position = reader.tell()

    assert 0 == position


def test_a_reader_is_released_once(archive: Archive) -> None:
    reader = Reader(archive, b"", size=0)
    reader.close()
    reader.close()
    del reader.data

    assert 1 == reader.released


def test_a_reader_is_closed_though_its_release_fails(archive: Archive) -> None:
    class Stubborn(Reader):
        def _release(self) -> None:
            raise ArchiveUnavailable("the connection is gone")

    reader = Stubborn(archive, b"", size=0)
    with pytest.raises(ArchiveUnavailable):
        reader.close()

    assert reader.closed


def test_a_reader_has_no_descriptor_by_itself(archive: Archive) -> None:
    with (
        Reader(archive, b"", size=0) as reader,
        pytest.raises(io.UnsupportedOperation),
    ):
        reader.fileno()


def test_a_reader_is_not_released_in_a_forked_child(archive: Archive) -> None:
    """Its handle may be one of its parent's connection."""
    with Reader(archive, b"", size=0) as reader:

        def close() -> int:
            reader.close()
            return reader.released

        found = in_forked_child(close)

    assert (0, 1) == (found, reader.released)


# --- writers


def test_a_with_block_commits(archive: Archive) -> None:
    with Writer(archive) as writer:
        pass

    assert ["commit"] == writer.calls


def test_an_early_return_commits_what_was_promised(archive: Archive) -> None:
    writer = Writer(archive, size=2)

    def leave_early() -> None:
        with writer:
            writer.write(b"ab")
            if writer.written:
                return
            writer.write(b"cd")

    leave_early()

    assert ["write b'ab'", "write", "commit"] == writer.calls


def test_an_early_return_before_the_promised_end_is_refused(archive: Archive) -> None:
    writer = Writer(archive, size=4)

    def leave_early() -> None:
        with writer:
            writer.write(b"ab")

    with pytest.raises(IncompleteWrite, match="2 of 4 bytes came"):
        leave_early()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_any_exception_discards_and_goes_on(
    archive: Archive, error: type[BaseException]
) -> None:
    writer = Writer(archive)

    with pytest.raises(error), writer:
        raise error

    assert ["discard"] == writer.calls


def test_a_failed_commit_discards(archive: Archive) -> None:
    writer = Writer(archive, fail=("commit",))
    with pytest.raises(ArchiveUnavailable, match="commit failed"):
        writer.commit()

    assert ["commit", "discard"] == writer.calls


def test_an_incomplete_file_is_discarded_without_a_commit(archive: Archive) -> None:
    writer = Writer(archive, size=3)
    with pytest.raises(IncompleteWrite):
        writer.commit()

    assert ["discard"] == writer.calls


def test_a_failing_discard_does_not_hide_the_failed_commit(archive: Archive) -> None:
    writer = Writer(archive, fail=("commit", "discard"))

    with pytest.raises(ArchiveUnavailable, match="commit failed"):
        writer.commit()


def test_a_failing_discard_does_not_hide_the_exception(archive: Archive) -> None:
    with pytest.raises(KeyError), Writer(archive, fail=("discard",)):
        raise KeyError


def test_a_failing_discard_is_logged(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError), Writer(archive, fail=("discard",)):
        raise KeyError

    assert [("pacifica_archive_core.files", logging.WARNING)] == [
        record[:2] for record in caplog.record_tuples
    ]


def test_a_failing_discard_is_raised_to_who_asked_for_it(archive: Archive) -> None:
    writer = Writer(archive, fail=("discard",))

    with pytest.raises(ArchiveUnavailable, match="discard failed"):
        writer.discard()


def test_a_failed_discard_is_not_repeated(archive: Archive) -> None:
    writer = Writer(archive, fail=("discard",))
    with pytest.raises(ArchiveUnavailable):
        writer.discard()
    writer.discard()

    assert ["discard"] == writer.calls


def test_a_failed_write_refuses_the_commit(archive: Archive) -> None:
    writer = Writer(archive, fail=("write",))
    with pytest.raises(ArchiveUnavailable):
        writer.write(b"a")

    with pytest.raises(IncompleteWrite, match="an earlier write failed"):
        writer.commit()


def test_a_failed_write_is_not_counted(archive: Archive) -> None:
    with Writer(archive, fail=("write",)) as writer:
        with pytest.raises(ArchiveUnavailable):
            writer.write(b"a")
        written = writer.written
        writer.discard()

    assert 0 == written


def test_an_empty_write_does_not_reach_the_store(archive: Archive) -> None:
    with Writer(archive) as writer:
        writer.write(b"")

    assert ["commit"] == writer.calls


def test_too_many_bytes_do_not_reach_the_store(archive: Archive) -> None:
    writer = Writer(archive, size=2)
    with pytest.raises(IncompleteWrite, match="more bytes than the 2 promised"):
        writer.write(b"abc")
    writer.discard()

    assert ["discard"] == writer.calls


def test_a_forgotten_writer_is_discarded_and_warned_about(archive: Archive) -> None:
    writers = [Writer(archive)]
    calls = writers[0].calls
    with pytest.warns(ResourceWarning, match="writer of file 12345 neither"):
        forget(writers)

    assert ["discard"] == calls


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_what_is_forgotten_is_freed_though_warnings_are_errors(
    archive: Archive, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in a finalizer is only printed; the temporary file would stay."""
    freed: list[str] = []
    monkeypatch.setattr(Writer, "_discard", lambda _: freed.append("writer"))
    monkeypatch.setattr(Reader, "_release", lambda _: freed.append("reader"))
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    things = [Writer(archive) if kind == "writer" else Reader(archive, b"", size=0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forget(things)

    assert [kind] == freed


@pytest.mark.parametrize("kind", [Reader, Writer])
def test_what_was_never_made_is_forgotten_silently(
    kind: type[Reader | Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its constructor failed, and there is nothing to free."""
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    forget([kind.__new__(kind)])

    assert [] == said


@pytest.mark.parametrize("end", ["commit", "discard", "__del__"])
def test_a_writer_is_inert_in_a_forked_child(archive: Archive, end: str) -> None:
    with Writer(archive) as writer:

        def finish() -> list[str]:
            with contextlib.suppress(RuntimeError):
                getattr(writer, end)()
            return writer.calls

        found = in_forked_child(finish)

    assert ([], ["commit"]) == (found, writer.calls)


# --- archives


class Counting(MemoryArchive):
    """Remembers how often it was closed."""

    closings = 0

    def _close(self) -> None:
        self.closings += 1
        super()._close()


def test_an_archive_is_closed_once() -> None:
    with Counting() as archive:
        archive.close()

    assert 1 == archive.closings


def test_an_archive_is_not_closed_in_a_forked_child() -> None:
    """It may hold its parent's connection."""
    with Counting() as archive:

        def close() -> int:
            archive.close()
            return archive.closings

        found = in_forked_child(close)

    assert (0, 1) == (found, archive.closings)
