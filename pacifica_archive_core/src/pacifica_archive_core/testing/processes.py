"""Archives of one store in several processes: killed, forked and second ones."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.errors import ArchiveUnavailable, NoSuchFile
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    forget,
    refusal,
    store,
)
from pacifica_archive_core.testing.child import fork, in_forked_child, result, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core.archive import Archive

OLD = content("old", 5000)
NEW = content("new", 6000)


def write_and_wait(opener: Callable[[], Archive]) -> None:
    """Write without an end; run in a process that will be killed."""
    archive = opener()
    writer = archive.create(FILE_ID, overwrite=True)
    writer.write(content("big", archive.block_size + 1))
    sys.stdout.buffer.write(b"written\n")
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()


def print_file(opener: Callable[[], Archive]) -> None:
    """Print whether the file has the new bytes."""
    with opener() as archive:
        print("true" if fetch(archive, FILE_ID) == NEW else "false")  # noqa: T201 (read by the test)


def store_file(opener: Callable[[], Archive]) -> None:
    """Store the new bytes."""
    with opener() as archive:
        store(archive, FILE_ID, NEW)
    print("true")  # noqa: T201 (read by the test)


def open_only(opener: Callable[[], Archive]) -> None:
    """Open and close an archive."""
    with opener():
        print("true")  # noqa: T201 (read by the test)


def fork_in_the_middle(opener: Callable[[], Archive]) -> None:
    """Fork a child that exits as programs do, then finish what was begun."""
    with opener() as archive:
        store(archive, 1, OLD)
        with archive.open(1) as reader, archive.create(FILE_ID) as writer:
            writer.write(NEW[:3000])
            reader.read(10)
            pid = fork()
            if pid == 0:
                sys.exit(0)
            _, status = os.waitpid(pid, 0)
            assert status == 0
            writer.write(NEW[3000:])
            rest = reader.readall()
        whole = fetch(archive, FILE_ID) == NEW and rest == OLD[10:]
    print("true" if whole else "false")  # noqa: T201 (read by the test)


class ProcessesContract(Declarations):
    """No process harms what another does."""

    # --- a second archive on the same store

    def test_a_second_archive_sees_the_files(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        """Those stored, replaced and deleted after it was opened, too."""
        self.need("persistent")
        with opener() as second:
            store(archive, FILE_ID, OLD)
            stored = fetch(second, FILE_ID)
            store(archive, FILE_ID, NEW)
            replaced = fetch(second, FILE_ID)
            archive.delete(FILE_ID)
            missing = type(refusal(second.status, FILE_ID))

        assert (OLD, NEW, NoSuchFile) == (stored, replaced, missing)

    def test_a_second_archive_does_no_harm_to_a_writer(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        """It may sweep what is dead, and this is alive."""
        self.need("persistent")
        with archive.create(FILE_ID) as writer:
            writer.write(NEW[:3000])
            with opener():
                pass
            writer.write(NEW[3000:])

        assert NEW == fetch(archive, FILE_ID)

    def test_an_archive_of_another_process_does_no_harm_to_a_writer(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        with archive.create(FILE_ID) as writer:
            writer.write(NEW[:3000])
            result(open_only, opener)
            writer.write(NEW[3000:])

        assert NEW == fetch(archive, FILE_ID)

    def test_another_process_reads_what_was_stored(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        store(archive, FILE_ID, NEW)

        assert result(print_file, opener)

    def test_what_another_process_stored_is_read(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        store(archive, FILE_ID, OLD)
        result(store_file, opener)

        assert NEW == fetch(archive, FILE_ID)

    # --- a killed writer

    def kill_in_the_middle(self, opener: Callable[[], Archive]) -> None:
        """Kill a process that writes (SIGKILL: nothing of it runs any more)."""
        with started(write_and_wait, opener) as process:
            assert process.stdout is not None
            assert b"written\n" == process.stdout.readline()
            process.kill()
            process.wait(timeout=60)

    @pytest.mark.parametrize("old", [None, OLD], ids=["new", "replacing"])
    def test_a_killed_writer_leaves_nothing_visible(
        self, archive: Archive, opener: Callable[[], Archive], old: bytes | None
    ) -> None:
        self.need("persistent")
        if old is not None:
            store(archive, FILE_ID, old)
        self.kill_in_the_middle(opener)

        if old is None:
            with pytest.raises(NoSuchFile):
                archive.status(FILE_ID)
        else:
            assert old == fetch(archive, FILE_ID)

    def test_a_killed_writer_does_not_hold_its_id(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        self.kill_in_the_middle(opener)
        store(archive, FILE_ID, NEW, overwrite=False)

        assert NEW == fetch(archive, FILE_ID)

    def test_what_a_killed_writer_left_is_swept(
        self, opener: Callable[[], Archive]
    ) -> None:
        """By the next archive that is opened, and what is alive is not."""
        self.need("persistent")
        self.need("sweeps")
        with opener() as archive:
            store(archive, 1, OLD)
            before = self.list_raw(archive)
            self.kill_in_the_middle(opener)
            with opener() as second:
                after = self.list_raw(second)

        assert before == after

    # --- a forked child

    def test_a_forked_child_may_not_use_the_archive(self, archive: Archive) -> None:
        """Connections and locks are its parent's."""
        store(archive, FILE_ID, OLD)
        status = archive.status(FILE_ID)
        calls = self.calls(archive)
        calls["check"] = lambda _: archive.check()
        calls["digests_of"] = lambda _: archive.digests_of(status)
        calls["status_many"] = lambda file_id: list(archive.status_many([file_id]))
        calls["stage_many"] = lambda file_id: list(archive.stage_many([file_id]))
        found = in_forked_child(
            lambda: {
                name: type(refusal(call, FILE_ID)).__name__
                for name, call in calls.items()
            }
        )

        assert dict.fromkeys(calls, "RuntimeError") == found

    def test_a_forked_child_may_not_use_a_reader(self, archive: Archive) -> None:
        """The position of a shared descriptor is its parent's too."""
        store(archive, FILE_ID, OLD)
        with archive.open(FILE_ID) as reader:
            first = reader.read(10)
            found = in_forked_child(
                lambda: [
                    type(refusal(reader.read, 10)).__name__,
                    type(refusal(reader.digests)).__name__,
                ]
            )
            rest = reader.readall()

        assert (["RuntimeError"] * 2, OLD) == (found, first + rest)

    def test_a_forked_child_may_not_use_a_writer(self, archive: Archive) -> None:
        with archive.create(FILE_ID) as writer:
            writer.write(NEW)
            found = in_forked_child(lambda: type(refusal(writer.write, OLD)).__name__)

        assert ("RuntimeError", NEW) == (found, fetch(archive, FILE_ID))

    def test_a_forked_child_does_not_commit(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID)
        writer.write(NEW)
        found = in_forked_child(lambda: type(refusal(writer.commit)).__name__)
        seen = type(refusal(archive.status, FILE_ID))
        writer.discard()

        assert ("RuntimeError", NoSuchFile) == (found, seen)

    @pytest.mark.parametrize("end", ["discard", "commit", "forget", "exit"])
    def test_the_end_of_a_writer_in_a_forked_child_harms_nothing(
        self, archive: Archive, end: str
    ) -> None:
        """The parent's upload goes on."""
        writers = [archive.create(FILE_ID)]
        writers[0].write(NEW[:3000])

        def finish() -> bool:
            if end == "forget":
                forget(writers)
            elif end == "exit":
                writers[0].__exit__(None, None, None)
            else:
                getattr(writers[0], end)()
            return True

        in_forked_child(lambda: type(refusal(finish)).__name__)
        writers[0].write(NEW[3000:])
        writers[0].commit()

        assert NEW == fetch(archive, FILE_ID)

    def test_the_end_of_a_reader_in_a_forked_child_harms_nothing(
        self, archive: Archive
    ) -> None:
        store(archive, FILE_ID, OLD)
        with archive.open(FILE_ID) as reader:
            reader.read(10)
            in_forked_child(lambda: refusal(reader.close) is None)
            rest = reader.readall()

        assert OLD[10:] == rest

    def test_an_archive_closed_in_a_forked_child_stays_open(
        self, archive: Archive
    ) -> None:
        store(archive, FILE_ID, OLD)
        found = in_forked_child(lambda: refusal(archive.close) is None)
        store(archive, 1, NEW)

        assert (True, OLD, NEW) == (found, fetch(archive, FILE_ID), fetch(archive, 1))

    def test_a_forked_child_opens_its_own_or_is_told(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        """As a server's workers do; the writers of its parent stay alive."""
        self.need("persistent")

        def use() -> str:
            try:
                with opener() as own:
                    store(own, 1, OLD)
            except ArchiveUnavailable:
                return "told"
            return "opened"

        with archive.create(FILE_ID) as writer:
            writer.write(NEW[:3000])
            found = in_forked_child(use)
            writer.write(NEW[3000:])
        stored = refusal(archive.status, 1) is None

        expected = ("opened", True) if self.opens_after_fork else ("told", False)
        assert (*expected, NEW) == (found, stored, fetch(archive, FILE_ID))

    def test_a_forked_child_that_exits_as_programs_do_harms_nothing(
        self, opener: Callable[[], Archive]
    ) -> None:
        """With its with-blocks left, its objects finalized, and no word of it."""
        assert result(fork_in_the_middle, opener)
