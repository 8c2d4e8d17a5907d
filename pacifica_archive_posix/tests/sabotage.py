"""
The backend, broken on purpose in one place after the other.

Each of ``BREAKAGES`` has one fault and names tests that must fail on it, so that
they are shown to be able to. Run by test_sabotage.py, in a process of its own.
"""

# What is broken is private, and written as the package writes it.
# ruff: noqa: SLF001, ARG005, ANN401, PTH108, PTH112

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from pacifica_archive_core import errnos
from pacifica_archive_posix import (
    adopt,
    archive,
    errors,
    files,
    incoming,
    record,
    trash,
)
from pacifica_archive_posix.archive import PosixArchive
from pacifica_archive_posix.digests import (
    Digested,
    read_digested,
    read_digests,
    stamp_of,
)
from pacifica_archive_posix.directories import Directories
from pacifica_archive_posix.incoming import Incoming, IncomingFile

if TYPE_CHECKING:
    from collections.abc import Callable

# Their honest selves, to be called by the broken ones.
SETTLE = IncomingFile._settle
READY = Directories.ready
MOVE = IncomingFile.move
SEAL = IncomingFile.seal
STAT = trash._stat


@attrs.frozen
class Breakage:
    """One attribute replaced, and the tests that must not survive it."""

    where: Any
    name: str
    broken: Any
    caught_by: tuple[str, ...]


def ready_if_it_exists(self: Directories, path: str) -> Any:
    if os.path.isdir(path):
        self._known.add(path)
    return READY(self, path)


def move_over(self: IncomingFile, name: str, fd: int, *, overwrite: bool) -> None:
    """Replace whatever is there."""
    del overwrite
    MOVE(self, name, fd, overwrite=True)


def seal_mode_first(
    self: IncomingFile,
    *,
    mtime_ns: int | None,
    **more: Any,
) -> None:
    os.fchmod(self._held(), 0o444)
    SEAL(self, mtime_ns=mtime_ns, **more)


class AnyVersion:
    """It is equal to every other."""

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment] # of no dictionary


def read_and_prove(fd: int) -> Digested | None:
    kept = read_digests(fd)
    return kept and attrs.evolve(kept, stamp=stamp_of(os.fstat(fd)))


def remove_by_name(self: Incoming, name: str) -> None:
    """Trust that the name is still that of the file that was locked."""
    path = f"{self.path}/{name}"
    fd = os.open(path, os.O_RDONLY)
    incoming.try_flock(fd, 1)
    os.unlink(path)
    os.close(fd)


def shared_descriptors() -> Callable[..., tuple[int, os.stat_result]]:
    """Open a file once, for all readers of its id, as release 0.4.2 did."""
    opened: dict[int, tuple[int, os.stat_result]] = {}
    honest = PosixArchive._open_file

    def open_file(self: PosixArchive, file_id: int) -> tuple[int, os.stat_result]:
        if file_id not in opened:
            opened[file_id] = honest(self, file_id)
        fd, found = opened[file_id]
        return os.dup(fd), found

    return open_file


CRASH = "test_durability.py::test_a_crash_leaves_the_old_file_or_the_new_one"
UNKNOWN = (
    "test_durability.py::test_directories_that_others_made_are_not_known_to_be_durable"
)
FAULT = "test_faults.py::test_one_failing_call_leaves_the_old_file_or_the_new_one"
KILL = (
    "test_kill.py::test_a_writer_killed_at_any_system_call_leaves_the_old_file_or"
    "_the_new_one"
)
BACK = (
    "test_trash.py::test_a_clock_that_was_set_back_between_two_archives_loses_nothing"
)
KILLED = (
    "test_trash.py::test_who_is_killed_at_any_system_call_leaves_the_file_in_one_place"
)
NOBODY = "test_unprivileged.py::test_all_can_be_done_by_the_owner_of_the_prefix"
WAY = "test_adopt.py::test_a_way_of_no_files_is_refused_at_once"
COPIED = "test_adopt.py::test_digests_are_copied_across_file_systems_if_they_are_proven"
CONTRACT = "test_contract.py::TestFlat::"
BREAKAGES = {
    "the bytes are not synced": Breakage(
        IncomingFile,
        "_settle",
        lambda self, fd, *, durable: SETTLE(self, fd, durable=False),
        (
            CRASH + "[create]",
            CRASH + "[adopt]",
        ),
    ),
    "directories made are not synced": Breakage(
        Directories,
        "_sync_name",
        lambda self, path: None,
        (CRASH + "[create, nested]",),
    ),
    "directories that exist are taken for durable": Breakage(
        Directories,
        "ready",
        ready_if_it_exists,
        (UNKNOWN + "[create, nested]",),
    ),
    "what is there is replaced": Breakage(
        IncomingFile,
        "move",
        move_over,
        (
            "test_faults.py::test_a_race_lost_at_the_commit_is_told",
            CONTRACT + "test_an_id_taken_meanwhile_keeps_its_file",
        ),
    ),
    "what is written is not made visible": Breakage(
        IncomingFile,
        "move",
        lambda self, name, fd, *, overwrite: None,
        (
            CRASH + "[create]",
            FAULT + "[ENOSPC-create]",
            CONTRACT + "test_the_file_is_there_when_commit_returns",
            CONTRACT + "test_an_id_taken_meanwhile_is_refused_at_the_commit",
        ),
    ),
    "a lost reply is a failure": Breakage(
        archive,
        "_has_moved",
        lambda *_: False,
        ("test_faults.py::test_a_move_whose_reply_is_lost_is_a_move[5-create]",),
    ),
    "what is written is not removed": Breakage(
        incoming,
        "_drop",
        lambda _path, fd: None if fd is None else os.close(fd),
        (
            FAULT + "[ENOSPC-create]",
            CONTRACT + "test_a_refused_commit_leaves_nothing",
        ),
    ),
    "descriptors are not freed": Breakage(
        incoming,
        "_drop",
        lambda path, _fd: None if path is None else os.unlink(path),
        (FAULT + "[ENOSPC-create]",),
    ),
    "no space is no answer": Breakage(
        errnos,
        "STORE",
        {},
        (
            FAULT + "[ENOSPC-overwrite]",
            FAULT + "[EROFS-delete]",
        ),
    ),
    "all that is unfinished is swept": Breakage(
        incoming,
        "try_flock",
        lambda _fd, _kind: True,
        (
            "test_incoming.py::test_a_file_whose_flock_is_held_is_not_swept",
            CONTRACT + "test_a_second_archive_does_no_harm_to_a_writer",
        ),
    ),
    "nothing is swept": Breakage(
        Incoming,
        "sweep",
        lambda self: None,
        (
            "test_incoming.py::test_a_dead_process_of_this_boot_is_swept",
            KILL + "[create]",
        ),
    ),
    "a sweeper trusts the name": Breakage(
        Incoming,
        "_remove_if_dead",
        remove_by_name,
        ("test_incoming.py::test_a_sweeper_that_is_late_does_not_take_another_file",),
    ),
    "a version is inode and size": Breakage(
        archive,
        "version_of",
        lambda found: f"{found.st_ino}-{found.st_size}",
        (
            "test_versions.py::test_thousands_of_equal_files_have_as_many_versions",
            "test_contract.py::TestFlat::test_versions_do_not_come_back",
        ),
    ),
    "the mode is set before the attributes": Breakage(
        IncomingFile,
        "seal",
        seal_mode_first,
        (NOBODY + "[create with digests]",),
    ),
    "a source keeps its digests": Breakage(
        incoming,
        "ATTRIBUTE",
        "user.other.",
        (
            "test_adopt.py::test_digests_that_may_be_of_other_bytes_are_dropped[flat-size]",
        ),
    ),
    "a source loses its digests": Breakage(
        incoming,
        "proven_digests",
        lambda _fd, _found: {},
        (
            "test_adopt.py::test_digests_that_are_proven_are_kept[flat]",
            CONTRACT + "test_digests_outlive_an_adoption",
        ),
    ),
    "a source is trusted with its digests": Breakage(
        incoming,
        "proven_digests",
        lambda fd, _found: {} if (kept := read_digested(fd)) is None else kept.digests,
        (
            "test_adopt.py::test_digests_that_may_be_of_other_bytes_are_dropped[flat-mtime]",
            CONTRACT + "test_an_adopted_file_has_no_digests_of_bytes_that_it_had",
        ),
    ),
    "a copy is trusted with its digests": Breakage(
        archive,
        "proven_digests",
        lambda fd, _found: {} if (kept := read_digested(fd)) is None else kept.digests,
        (COPIED + "[flat-unproven]",),
    ),
    "readers tell digests of the name": Breakage(
        files.PosixReader,
        "digests",
        lambda self: self._archive.digests(self.status.file_id),
        (
            # Not the test with threads: it needs luck to see this.
            CONTRACT + "test_a_reader_has_no_digests_of_another_version[replaced]",
            "test_archive.py::test_a_reader_has_the_digests_of_its_own_version",
        ),
    ),
    "digests are recorded with any version": Breakage(
        PosixArchive,
        "_version_of",
        lambda self, file_id, _fd, _found: AnyVersion(),
        # Not the test with threads: it needs luck to see this.
        (CONTRACT + "test_nothing_is_recorded_with_another_version[replaced]",),
    ),
    "digests are recorded without a lock": Breakage(
        archive,
        "lock",
        lambda _fd: None,
        ("test_record.py::test_of_two_who_record_at_once_none_undoes_the_other",),
    ),
    "new digests prove those of before": Breakage(
        record,
        "read_digests",
        read_and_prove,
        ("test_record.py::test_new_digests_do_not_prove_those_of_before",),
    ),
    "the clock is trusted": Breakage(
        trash.Trash,
        "_free_name",
        lambda self, file_id, _trash: f"{file_id}.{time.time_ns()}",
        (
            BACK,
            CONTRACT + "test_a_clock_that_does_not_go_on_loses_no_trashed_file[still]",
        ),
    ),
    "a second name is a second file": Breakage(
        trash,
        "_stat",
        lambda name, fd=None: STAT(name, fd) if ".trash" in name or fd else None,
        (
            "test_trash.py::test_a_second_name_of_a_stored_file_is_not_in_the_trash",
            KILLED + "[undelete, flat]",
        ),
    ),
    "a source is not looked at again": Breakage(
        adopt.Source,
        "is_in_place",
        lambda self, *, names: True,
        ("test_adopt.py::test_a_source_swapped_after_the_checks_is_not_taken[flat]",),
    ),
    "a source is reached over symlinks": Breakage(
        adopt,
        "_DIRECTORY",
        os.O_RDONLY | os.O_DIRECTORY,
        (WAY + "[flat-symlinked directory]",),
    ),
    "an archived file may be taken": Breakage(
        PosixArchive,
        "_refuse_archived",
        lambda self, file_id, source: None,
        (
            CONTRACT + "test_an_archived_file_is_not_adopted",
            "test_adopt.py::test_no_file_adopts_itself_though_ids_are_allowed[flat]",
        ),
    ),
    "what is not mounted is missing": Breakage(
        PosixArchive,
        "_error_of",
        lambda _self, exc, file_id, special: errors.error_of(exc, file_id, special),
        ("test_layout.py::test_what_is_not_mounted_is_unavailable[status]",),
    ),
    "readers share a descriptor": Breakage(
        PosixArchive,
        "_open_file",
        shared_descriptors(),
        (CONTRACT + "test_readers_of_three_versions_read_three_files",),
    ),
    "readers share an offset": Breakage(
        files.PosixReader,
        "_read_at",
        lambda self, size, position: os.read(self._fd, size),
        (CONTRACT + "test_readall_reads_from_the_position",),
    ),
}


def main() -> None:
    """Print, as JSON, which of the tests failed on each breakage."""

    class Failures:
        def __init__(self) -> None:
            self.names: list[str] = []

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            # What breaks before the test began says nothing about the test.
            if report.failed and report.when != "setup":
                self.names.append(report.nodeid.removeprefix("tests/"))

    told = {}
    here = Path(__file__).parent
    for title, breakage in BREAKAGES.items():
        failures = Failures()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(breakage.where, breakage.name, breakage.broken)
            pytest.main(
                [
                    *(f"{here}/{test}" for test in breakage.caught_by),
                    *("-q", "--tb=no", "-p", "no:cacheprovider"),
                    # Under CI pytest would write out how blocks of bytes differ.
                    "--assert=plain",
                    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
                    f"--rootdir={here.parent}",
                ],
                plugins=[failures],
            )
        told[title] = failures.names
    sys.stdout.write("\n" + json.dumps(told))


if __name__ == "__main__":
    main()
