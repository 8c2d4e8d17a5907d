"""
The backend, broken on purpose in one place after the other.

Each of ``BREAKAGES`` has one fault and names tests that must fail on it, so that
they are shown to be able to. Run by test_sabotage.py, in a process of its own.
"""

# What is broken is private, and written as the package writes it.
# ruff: noqa: SLF001, ARG001, ARG005, ANN401

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from mariadb import MariaDb
from sqlalchemy import create_engine, select

from pacifica_archive_hmssideband import archive, residency, sideband
from pacifica_archive_hmssideband.archive import HmsSidebandArchive
from pacifica_archive_hmssideband.residency import Residencies
from pacifica_archive_hmssideband.sideband import Sideband, SidebandDown
from pacifica_archive_hmssideband.staging import ReadTrigger, StageCommand
from pacifica_archive_hmssideband.tables import sam_file, sam_inode, sam_path
from pacifica_archive_posix import PosixArchive
from pacifica_archive_posix.incoming import IncomingFile

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Select

# Their honest selves, to be called by the broken ones.
ROWS = Sideband.rows
FETCH = Sideband._fetch
DOWN = Sideband._down


@attrs.frozen
class Breakage:
    """One attribute replaced, and the tests that must not survive it."""

    where: Any
    name: str
    broken: Any
    caught_by: tuple[str, ...]


def fail_with_the_database(self: Residencies, files: Sequence[Any]) -> list[Any]:
    """Let what the database fails in be a failure of the file."""
    rows = self._sideband.rows({path for path, _ in files})
    return [
        residency.decide(found, rows.get(path), reason="it has no row")
        for path, found in files
    ]


def rows_in_capitals_too(
    self: Sideband, paths: Collection[str]
) -> dict[str, sideband.Row]:
    """Take a name in capitals for the same, as the database does."""
    capitals = {
        path: f"{above}/{name.upper()}"
        for path in paths
        for above, _, name in [path.rpartition("/")]
    }
    found = ROWS(self, [*paths, *capitals.values()])
    return {
        path: row
        for path, twin in capitals.items()
        if (row := found.get(path) or found.get(twin))
    }


def ask_by_number(paths: set[str]) -> tuple[Select[Any], list[dict[str, list[str]]]]:
    """Join without the generation, as release 0.4.2 did."""
    joined = sam_path.join(sam_file, sam_file.c.p_ino == sam_path.c.ino).join(
        sam_inode, sam_inode.c.ino == sam_file.c.ino
    )
    asked = sideband._path_parameters(list(paths))
    return (
        select(sam_path.c.path, sam_file.c.name, *sideband._INODE)
        .select_from(joined)
        .where(
            sam_path.c.path.in_([*asked["with_slash"], *asked["without"]]),
            sam_file.c.name.in_(asked["names"]),
        ),
        [{}],
    )


def seal_as_it_comes(
    self: IncomingFile, *, attributes: Mapping[str, bytes], durable: bool
) -> None:
    os.fchmod(self._held(), 0o444)


def read_at_once(self: ReadTrigger, files: Sequence[tuple[int, str]]) -> list[Any]:
    """Let the request wait for the tape."""
    return [self._read(file_id, path) for file_id, path in files]


def read_the_head(self: ReadTrigger, file_id: int, path: str) -> None:
    """Read what the HSM may have kept on disk, as release 0.4.2 did."""
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, 1, 0)
    os.close(fd)


def fetch_and_keep(
    self: Sideband,
    connection: Connection,
    statement: Any,
    parameters: Any,
    until_s: float,
) -> list[Any]:
    """Leave every tenth connection to nobody."""
    rows = FETCH(self, connection, statement, parameters, until_s)
    if next(_fetches) % 10 == 0:
        LOST.append(self._engine.connect())
    return rows


def tell_everything(self: Sideband, exc: Exception) -> SidebandDown:
    url = self._options.database_url.render_as_string(hide_password=False)
    return SidebandDown(DOWN(self, exc).kind, url)


LOST: list[Connection] = []
_fetches = itertools.count(1)
CONTRACT = "test_contract.py::TestSqlite::"
EDGE = "test_edge_cases.py::test_group_"
ASKING = "test_sideband.py::test_"
OPENED = "test_archive.py::test_"
STAGING = "test_staging.py::test_group_36_"
STORM = "test_storm.py::test_no_answer_is_wrong_or_late_while_the_database_is"
LATE = "test_storm.py::test_a_database_may_come_later"
BREAKAGES = {
    "an offline file is opened": Breakage(
        archive,
        "_is_on_disk",
        lambda *_: True,
        (
            CONTRACT + "test_an_offline_file_is_not_opened",
            EDGE + "02_an_offline_file_is_not_opened[path]",
            STORM + "[slow]",
        ),
    ),
    "blocks are taken for bytes": Breakage(
        archive,
        "has_hole",
        lambda fd, size: False,
        (OPENED + "blocks_that_a_stage_has_only_taken_are_no_bytes",),
    ),
    "the database is believed though its size is another": Breakage(
        residency,
        "_fault",
        lambda found, row: None,
        (EDGE + "17_a_row_of_another_size_leaves_it_to_the_blocks[path-999]",),
    ),
    "the row of the file before is believed": Breakage(
        Residencies,
        "_of",
        lambda self, found, row: row,
        (EDGE + "17_a_replacement_of_equal_size_is_told_by_its_inode",),
    ),
    "what the database takes for equal is the same": Breakage(
        Sideband,
        "rows",
        rows_in_capitals_too,
        (EDGE + "08_a_twin_in_other_case_is_no_stand_in[path-name-in-capitals]",),
    ),
    "rows are joined by number": Breakage(
        sideband,
        "_path_asks",
        ask_by_number,
        (EDGE + "06_a_dead_directory_lends_no_name_to_the_live_one",),
    ),
    "the failure of the database is that of the file": Breakage(
        Residencies,
        "find",
        fail_with_the_database,
        (
            LATE,
            OPENED + "without_a_database_files_are_stored_read_and_deleted",
        ),
    ),
    "the database is not left alone after a failure": Breakage(
        sideband._Gate,
        "_fail",
        lambda self, failure: None,
        (ASKING + "a_database_that_failed_is_not_asked_for_a_pause",),
    ),
    "no connection is asked whether it lives": Breakage(
        sideband,
        "create_engine",
        lambda url, **options: create_engine(
            url, **{**options, "pool_pre_ping": False}
        ),
        (ASKING + "group_28_a_connection_that_was_killed_is_replaced_unseen",),
    ),
    "each round trip has the time that is for all": Breakage(
        Sideband, "_connect", lambda *_: None, (STORM + "[trickling]",)
    ),
    "a connection is lost now and then": Breakage(
        Sideband, "_fetch", fetch_and_keep, (STORM + "[slow]",)
    ),
    "the log tells the password": Breakage(
        Sideband,
        "_down",
        tell_everything,
        (LATE,),
    ),
    "digests are recorded with the version of posix": Breakage(
        HmsSidebandArchive,
        "_version_of",
        PosixArchive._version_of,
        (CONTRACT + "test_a_record_of_digests_keeps_the_version",),
    ),
    "a version is inode, ctime and size": Breakage(
        HmsSidebandArchive,
        "_token",
        lambda self, file_id, file: None,
        (
            CONTRACT + "test_the_version_stays_on_the_way_to_tape_and_back",
            CONTRACT + "test_the_version_of_an_adopted_file_stays_on_the_way_to_tape",
        ),
    ),
    "a file that is adopted brings its version": Breakage(
        IncomingFile,
        "seal_as_is",
        seal_as_it_comes,
        (
            CONTRACT + "test_a_changed_copy_of_a_file_is_another_version",
            CONTRACT + "test_the_version_of_an_adopted_file_stays_on_the_way_to_tape",
        ),
    ),
    "nobody is asked for a recall": Breakage(
        StageCommand,
        "ask",
        lambda self, files: [None] * len(files),
        (CONTRACT + "test_a_staged_file_comes_back",),
    ),
    "a request waits for the tape": Breakage(
        ReadTrigger,
        "ask",
        read_at_once,
        (STAGING + "the_request_does_not_wait_for_the_read",),
    ),
    "the head of a file is read": Breakage(
        ReadTrigger,
        "_read",
        read_the_head,
        (STAGING + "one_byte_behind_the_partial_is_read[16386-16384]",),
    ),
}


def share(server: MariaDb, patch: pytest.MonkeyPatch) -> None:
    """Have each of the runs use a server that is there already."""
    patch.setattr(MariaDb, "__new__", lambda _class: server)
    patch.setattr(MariaDb, "__init__", lambda _self: None)
    patch.setattr(MariaDb, "__enter__", lambda self: self)
    patch.setattr(MariaDb, "__exit__", lambda self, *_: self.mend())


class Failures:
    """The names of the tests that fail."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Of those that would wait for ever; the storm has a limit of its own.
        for item in items:
            limit_s = 60 if "storm" in item.nodeid else 15
            item.add_marker(pytest.mark.timeout(limit_s), append=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # What breaks before the test began says nothing about the test.
        if report.failed and report.when != "setup":
            self.names.add(report.nodeid.removeprefix("tests/"))


def main() -> None:
    """Print, as JSON, which of the tests failed on each breakage."""
    told = {}
    here = Path(__file__).parent
    with MariaDb() as server, pytest.MonkeyPatch.context() as patch:
        share(server, patch)
        for title, breakage in BREAKAGES.items():
            failures = Failures()
            with patch.context() as broken:
                broken.setattr(breakage.where, breakage.name, breakage.broken)
                pytest.main(
                    [
                        *(f"{here}/{test}" for test in breakage.caught_by),
                        *("-q", "--tb=no", "-p", "no:cacheprovider"),
                        # No plugin is loaded by itself, and the tests' limits are its.
                        *("-p", "pytest_timeout"),
                        # Under CI pytest would write out how blocks of bytes differ.
                        "--assert=plain",
                        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
                        f"--rootdir={here.parent}",
                    ],
                    plugins=[failures],
                )
            told[title] = sorted(failures.names)
    sys.stdout.write("\n" + json.dumps(told))


if __name__ == "__main__":
    main()
