from __future__ import annotations

import contextlib
import gc
import logging
import math
import socket
import sqlite3
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from listeners import Listener, Manner, refusing_url
from mariadb import READER, Database, Identity, MariaDb
from sqlalchemy import URL, make_url
from tls import DrippingTls

from pacifica_archive_core import ConfigError
from pacifica_archive_core.testing.child import in_forked_child
from pacifica_archive_hmssideband.options import HmsSidebandOptions
from pacifica_archive_hmssideband.sideband import (
    Failure,
    Row,
    Sideband,
    SidebandDown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = "/data/x/39/3039"
#: Of an answer that does not come, in tests that wait for it.
QUERY_S = 0.3
CONNECT_S = 0.3
#: Of an answer that comes, on a busy machine.
PATIENT_S = 30.0
#: What a busy machine may add to a bound.
SLACK_S = 5.0
LOGGER = "pacifica_archive_hmssideband.sideband"


class Opens(Protocol):
    def __call__(
        self, url: URL, *, query_timeout_s: float = ..., pool_size: int = ...
    ) -> Sideband: ...


class Clock:
    """The time of the pauses, which passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_pause(self) -> None:
        self.now_s += 5.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Opens]:
    """Return what opens a sideband, to be closed at the end."""
    with contextlib.ExitStack() as held:

        def open_(
            url: URL, *, query_timeout_s: float = QUERY_S, pool_size: int = 5
        ) -> Sideband:
            options = HmsSidebandOptions(
                prefix=tmp_path,
                sam_qfs_prefix="/data/x",
                url=url,
                pool_size=pool_size,
                connect_timeout_s=CONNECT_S,
                query_timeout_s=query_timeout_s,
            )
            sideband = Sideband(options, clock=clock)
            held.callback(sideband.close)
            return sideband

        yield open_


@pytest.fixture
def sideband(opened: Opens, reader_url: URL) -> Sideband:
    """Return one that is patient."""
    return opened(reader_url, query_timeout_s=PATIENT_S)


def failure(ask: Callable[[], object]) -> Failure:
    with pytest.raises(SidebandDown) as caught:
        ask()
    return caught.value.kind


def outcome(sideband: Sideband) -> Failure | None:
    """Return how a question ends: None with an answer."""
    try:
        sideband.rows([FILE])
    except SidebandDown as exc:
        return exc.kind
    return None


def in_threads(count: int, do: Callable[[], Failure | None]) -> list[Failure | None]:
    """Do something in so many threads at once; return what each returned."""
    barrier = threading.Barrier(count)

    def started() -> Failure | None:
        barrier.wait(PATIENT_S)
        return do()

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(started) for _ in range(count)]
        return [future.result(PATIENT_S) for future in futures]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of what was logged."""
    return [each.levelname for each in caplog.records if each.name == LOGGER]


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait for what the server does in its own time; return whether it did."""
    limit = time.monotonic() + PATIENT_S
    while not condition() and time.monotonic() < limit:
        threading.Event().wait(0.005)
    return condition()


def wait_for_statement(server: MariaDb) -> None:
    """Wait until the reader has a statement under way."""

    def running() -> bool:
        rows = server.execute("SHOW PROCESSLIST")
        return any(row[1] == READER[0] and row[4] == "Query" for row in rows)

    assert wait_for(running), server.execute("SHOW FULL PROCESSLIST")


def wait_until_busy(sideband: Sideband) -> None:
    """Wait until as many threads ask as may; what the server shows of them varies."""
    gate = sideband._gate  # noqa: SLF001 (no answer tells it)

    assert wait_for(lambda: gate._free == 0)  # noqa: SLF001 (as above)


# --- rows ----------------------------------------------------------------------


def test_a_row_is_found_by_its_path(database: Database, sideband: Sideband) -> None:
    who = database.file(FILE, size=7, online=0)

    expected = Row(ino=who.ino, gen=1, type=0, size=7, online=0)

    assert {FILE: expected} == sideband.rows([FILE])


def test_what_has_no_row_is_left_out(sideband: Sideband) -> None:
    rows = sideband.rows([FILE])

    assert {} == rows


def test_paths_are_told_apart_by_case_and_by_spaces(
    database: Database, sideband: Sideband
) -> None:
    for number, path in enumerate(("/d/abc", "/d/ABC", "/d/abc ", "/D/abc")):
        database.file(path, size=number)

    rows = sideband.rows(["/d/abc", "/d/ABC", "/D/abc"])

    assert {"/d/abc": 0, "/d/ABC": 1, "/D/abc": 3} == {
        path: row.size for path, row in rows.items()
    }


def test_of_several_rows_a_regular_file_comes_first(
    database: Database, sideband: Sideband
) -> None:
    live = database.file("/d/a", Identity(2000, 1))
    again = database.inode(Identity(3000, 1), type=1)
    database.path(again, "/d")
    database.link(again, "a", database.inode(Identity(2000, 9), type=1))

    rows = sideband.rows(["/d/a"])

    assert live == Identity(rows["/d/a"].ino, rows["/d/a"].gen)


def test_of_several_files_the_greatest_generation_comes_first(
    database: Database, sideband: Sideband
) -> None:
    database.file("/d/a", Identity(2000, 1))
    again = database.inode(Identity(3000, 1), type=1)
    database.path(again, "/d")
    database.link(again, "a", database.inode(Identity(2000, 9)))

    rows = sideband.rows(["/d/a"])

    assert 9 == rows["/d/a"].gen


def test_several_rows_are_told_once(
    database: Database, sideband: Sideband, caplog: pytest.LogCaptureFixture
) -> None:
    database.file("/d/a", Identity(2000, 1))
    again = database.inode(Identity(3000, 1), type=1)
    database.path(again, "/d")
    database.link(again, "a", database.inode(Identity(2000, 9)))

    for _ in range(3):
        sideband.rows(["/d/a"])

    assert ["WARNING"] == lines(caplog)


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("online", "TINYINT UNSIGNED", "NULL"),
        ("online", "BIT(1)", "0"),
        ("online", "VARCHAR(9)", "'unknown'"),
        ("type", "TINYINT UNSIGNED", "NULL"),
        ("size", "VARCHAR(9)", "'many'"),
    ],
)
@pytest.mark.parametrize("by", ["path", "inode"])
def test_a_row_without_its_numbers_is_none(
    database: Database, sideband: Sideband, column: str, kind: str, value: str, by: str
) -> None:
    """What is not 0 is not online for that."""
    found = database.file(FILE, size=5, online=0)
    database.execute(
        f"ALTER TABLE sam_inode MODIFY {column} {kind}",
        f"UPDATE sam_inode SET {column} = {value} WHERE ino = {found.ino}",  # noqa: S608 (of this test's own words)
    )
    rows = (
        sideband.rows([FILE]) if by == "path" else sideband.rows_by_inode([found.ino])
    )

    assert {} == rows


def test_numbers_that_are_written_as_words_are_numbers(
    database: Database, sideband: Sideband
) -> None:
    database.execute("ALTER TABLE sam_inode MODIFY online VARCHAR(9)")
    found = database.file(FILE, size=5, online=0)

    assert {
        FILE: Row(ino=found.ino, gen=found.gen, type=0, size=5, online=0)
    } == sideband.rows([FILE])


def test_rows_without_their_numbers_are_told_once(
    database: Database, sideband: Sideband, caplog: pytest.LogCaptureFixture
) -> None:
    database.execute("ALTER TABLE sam_inode MODIFY online TINYINT UNSIGNED")
    database.file(FILE)
    database.execute("UPDATE sam_inode SET online = NULL")
    for _ in range(3):
        sideband.rows([FILE])

    assert ["WARNING"] == lines(caplog)


@pytest.mark.parametrize("column", ["sam_path.path", "sam_file.name"])
def test_a_column_of_bytes_is_compared_too(
    database: Database, sideband: Sideband, column: str
) -> None:
    table, name = column.split(".")
    database.execute(f"ALTER TABLE {table} MODIFY {name} VARBINARY(256)")
    database.file(FILE)

    assert [FILE] == list(sideband.rows([FILE]))


def test_a_directory_in_a_column_of_bytes_is_known(
    database: Database, sideband: Sideband
) -> None:
    database.execute("ALTER TABLE sam_path MODIFY path VARBINARY(256)")
    database.directory("/data/x/")

    assert sideband.knows_directory("/data/x")


def test_an_inode_row_is_that_of_the_last_file(
    database: Database, sideband: Sideband
) -> None:
    for gen in (2, 7, 3):
        database.inode(Identity(2000, gen), size=gen)

    rows = sideband.rows_by_inode([2000, 2001])

    assert {2000: 7} == {ino: row.size for ino, row in rows.items()}


@pytest.mark.parametrize("path", ["", "/data/x", "/mended"])
def test_a_directory_is_known(
    database: Database, sideband: Sideband, path: str
) -> None:
    database.directory("/data/x/")
    database.path(database.inode(type=1), "/mended")

    assert sideband.knows_directory(path)


@pytest.mark.parametrize("path", ["/data/X", "/data", "/data/x/39", "/link"])
def test_a_directory_is_not_known(
    database: Database, sideband: Sideband, path: str
) -> None:
    """Nor one of other case, nor the target of a symlink."""
    database.path(database.inode(type=1), "/data/x/")
    database.path(database.inode(type=4), "/link")

    assert not sideband.knows_directory(path)


# --- statements ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "statements"), [(0, 0), (1, 1), (500, 1), (501, 2), (1200, 3)]
)
def test_500_paths_are_one_statement(
    database: Database, sideband: Sideband, paths: int, statements: int
) -> None:
    asked = [f"/data/x/{number % 256:02x}/{number:x}" for number in range(paths)]
    database.files(asked)
    sideband.check()
    before = database.server.count()

    found = sideband.rows(asked)

    assert (paths, statements) == (len(found), database.server.count() - before)


@pytest.mark.parametrize(
    ("inos", "statements"), [(0, 0), (1, 1), (500, 1), (501, 2), (1200, 3)]
)
def test_500_inodes_are_one_statement(
    database: Database, sideband: Sideband, inos: int, statements: int
) -> None:
    sideband.check()
    before = database.server.count()

    sideband.rows_by_inode(range(5000, 5000 + inos))

    assert statements == database.server.count() - before


def test_directories_of_both_forms_are_found_in_one_statement(
    database: Database, sideband: Sideband
) -> None:
    """500 in both forms are 1000 values, of which MariaDB would make a subquery."""
    asked = [f"/{number:x}/name{number:x}" for number in range(500)]
    database.files(asked)
    database.execute("UPDATE sam_path SET path = TRIM('/' FROM path) WHERE ino % 2")
    database.execute("UPDATE sam_path SET path = CONCAT('/', path) WHERE ino % 2")
    sideband.check()
    before = database.server.count()

    found = sideband.rows(asked)

    assert (set(asked), 1) == (set(found), database.server.count() - before)


def test_nothing_but_select_reaches_the_server(
    database: Database, opened: Opens, reader_url: URL
) -> None:
    """But for what the driver says of its own session."""
    database.file(FILE)
    with database.server.heard() as statements:
        sideband = opened(reader_url, query_timeout_s=PATIENT_S)
        sideband.check()
        sideband.rows([FILE])
        sideband.rows_by_inode([5])
        sideband.knows_directory("/data/x")
        sideband.close()

    session = ["SET NAMES latin1", "SET AUTOCOMMIT"]
    others = [
        statement
        for statement in statements
        if not statement.startswith(("SELECT ", *session))
    ]

    assert (True, []) == (len(statements) > 4, others)


def test_what_changes_is_seen_by_the_same_connection(
    database: Database, opened: Opens, reader_url: URL
) -> None:
    sideband = opened(reader_url, query_timeout_s=PATIENT_S, pool_size=1)
    who = database.file(FILE, online=0)
    sideband.rows([FILE])
    database.set_online(who, 1)

    row = sideband.rows([FILE])[FILE]

    assert 1 == row.online


# --- group 27: no database, or not for us ---------------------------------------


def test_group_27_a_sideband_is_opened_though_the_server_is_down(
    database: Database, opened: Opens
) -> None:
    url = database.url()
    database.server.stop()

    sideband = opened(url)

    assert Failure.UNREACHABLE is failure(lambda: sideband.rows([FILE]))


def test_group_27_a_server_that_was_down_at_the_start_is_asked_later(
    database: Database, opened: Opens, clock: Clock
) -> None:
    database.file(FILE)
    database.server.stop()
    sideband = opened(database.url(), query_timeout_s=PATIENT_S)
    failure(lambda: sideband.rows([FILE]))
    database.server.start()
    clock.pass_pause()

    rows = sideband.rows([FILE])

    assert [FILE] == list(rows)


def test_group_27_a_port_where_nobody_listens_is_unreachable(opened: Opens) -> None:
    sideband = opened(refusing_url())

    assert Failure.UNREACHABLE is failure(lambda: sideband.rows([FILE]))


@pytest.mark.parametrize("manner", Manner)
def test_group_27_a_server_of_another_kind_is_unreachable(
    opened: Opens, manner: Manner
) -> None:
    with Listener(manner) as listener:
        sideband = opened(listener.url)

        assert Failure.UNREACHABLE is failure(lambda: sideband.rows([FILE]))


@pytest.mark.parametrize(("user", "password"), [(READER[0], "wrong"), ("nobody", "")])
def test_group_27_a_wrong_password_or_user_is_refused(
    database: Database, opened: Opens, user: str, password: str
) -> None:
    sideband = opened(
        database.server.url(user, password=password), query_timeout_s=PATIENT_S
    )

    assert Failure.REFUSED is failure(lambda: sideband.rows([FILE]))


def test_group_27_a_locked_account_is_refused(
    database: Database, sideband: Sideband
) -> None:
    database.execute(f"ALTER USER {READER[0]}@'%' ACCOUNT LOCK")

    assert Failure.REFUSED is failure(sideband.check)


def test_group_27_a_user_without_any_grant_is_refused(
    database: Database, sideband: Sideband
) -> None:
    database.revoke()

    assert Failure.REFUSED is failure(sideband.check)


@pytest.mark.parametrize("denied", ["sam_path", "sam_file", "sam_inode"])
def test_group_27_select_denied_on_one_table_is_refused(
    database: Database, sideband: Sideband, denied: str
) -> None:
    tables = {"sam_path", "sam_file", "sam_inode"} - {denied}
    database.revoke()
    database.execute(
        *(f"GRANT SELECT ON {table} TO {READER[0]}@'%'" for table in tables)
    )

    assert Failure.REFUSED is failure(sideband.check)


def test_group_27_a_missing_schema_is_wrong(
    database: Database, sideband: Sideband
) -> None:
    database.execute(f"DROP DATABASE {database.name}")

    assert Failure.WRONG is failure(sideband.check)


@pytest.mark.parametrize("table", ["sam_path", "sam_file", "sam_inode"])
def test_group_27_a_missing_table_is_wrong(
    database: Database, sideband: Sideband, table: str
) -> None:
    database.execute(f"DROP TABLE {table}")

    assert Failure.WRONG is failure(sideband.check)


def test_group_27_a_missing_column_is_wrong(
    database: Database, sideband: Sideband
) -> None:
    database.execute("ALTER TABLE sam_inode DROP COLUMN online")

    assert Failure.WRONG is failure(sideband.check)


def test_group_27_tables_that_are_not_read_may_be_missing(
    database: Database, sideband: Sideband
) -> None:
    database.file(FILE)
    database.execute("DROP TABLE sam_archive, sam_version")

    rows = sideband.rows([FILE])

    assert [FILE] == list(rows)


# --- group 28: connections that end, or hang -------------------------------------


def test_group_28_a_connection_that_was_killed_is_replaced_unseen(
    database: Database, sideband: Sideband, caplog: pytest.LogCaptureFixture
) -> None:
    database.file(FILE)
    sideband.rows([FILE])
    database.server.kill_connections()

    rows = sideband.rows([FILE])

    assert ([FILE], []) == (list(rows), lines(caplog))


def test_group_28_a_server_that_was_restarted_is_asked_at_once(
    database: Database, sideband: Sideband, caplog: pytest.LogCaptureFixture
) -> None:
    database.file(FILE)
    sideband.rows([FILE])
    database.server.stop()
    database.server.start()

    rows = sideband.rows([FILE])

    assert ([FILE], []) == (list(rows), lines(caplog))


def freeze(database: Database) -> None:
    database.server.freeze()


def sleep(database: Database) -> None:
    database.slow(60)


def stop(database: Database) -> None:
    database.server.stop()


def crash(database: Database) -> None:
    database.server.kill()


def deny(database: Database) -> None:
    database.revoke()


def drop(database: Database) -> None:
    database.execute("DROP TABLE sam_file")


def cut(database: Database) -> None:
    """End the connections, and let nobody connect."""
    database.execute(f"ALTER USER {READER[0]}@'%' ACCOUNT LOCK")
    database.server.kill_connections()


def ask_rows(sideband: Sideband) -> object:
    return sideband.rows([FILE])


def ask_check(sideband: Sideband) -> object:
    sideband.check()
    return None


@pytest.mark.parametrize("known", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("ask", [ask_rows, ask_check])
@pytest.mark.parametrize("fail", [freeze, sleep, stop, crash, deny, drop, cut])
def test_group_28_every_question_ends_within_the_bound(
    database: Database,
    opened: Opens,
    fail: Callable[[Database], None],
    ask: Callable[[Sideband], object],
    known: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """Answered or not: not every question is about every table."""
    database.file(FILE)
    sideband = opened(database.url())
    if known:
        sideband.check()
    fail(database)
    began = time.monotonic()

    with contextlib.suppress(SidebandDown):
        ask(sideband)

    assert time.monotonic() - began < sideband.bound_s + SLACK_S


@pytest.mark.parametrize("manner", Manner)
def test_group_28_a_server_of_another_kind_is_left_within_the_bound(
    opened: Opens, manner: Manner
) -> None:
    """Also one that is never silent for as long as an answer may take."""
    with Listener(manner) as listener:
        sideband = opened(listener.url)
        began = time.monotonic()

        failure(sideband.check)

        assert time.monotonic() - began < sideband.bound_s + 2.0


def test_group_28_a_server_that_drips_through_tls_is_left_within_the_bound(
    opened: Opens,
) -> None:
    """Which every server of today has, and the driver takes without being told."""
    with DrippingTls() as server:
        sideband = opened(server.url)
        began = time.monotonic()
        failure(sideband.check)
        took_s = time.monotonic() - began

        assert (True, True) == (server.encrypted, took_s < sideband.bound_s + 2.0)


@pytest.mark.parametrize("fail", [freeze, sleep], ids=["SIGSTOP", "SLEEP"])
def test_group_28_an_answer_that_does_not_come_is_not_waited_for(
    database: Database, opened: Opens, fail: Callable[[Database], None]
) -> None:
    database.file(FILE)
    sideband = opened(database.url())
    sideband.check()
    fail(database)

    assert Failure.UNREACHABLE is failure(lambda: sideband.rows([FILE]))


def test_group_28_a_server_that_was_frozen_is_asked_again(
    database: Database, opened: Opens, clock: Clock
) -> None:
    database.file(FILE)
    sideband = opened(database.url(), query_timeout_s=2.0)
    sideband.check()
    database.server.freeze()
    failure(lambda: sideband.rows([FILE]))
    database.server.thaw()
    clock.pass_pause()

    rows = sideband.rows([FILE])

    assert [FILE] == list(rows)


def test_group_28_a_second_look_up_has_what_the_first_left_of_the_time(
    database: Database, opened: Opens
) -> None:
    sideband = opened(database.url(), query_timeout_s=30.0)
    sideband.check()
    database.server.freeze()
    begin = time.monotonic()
    failure(lambda: sideband.rows([FILE], until_s=begin + 0.2))

    assert time.monotonic() - begin < 15.0


def test_group_28_who_finds_all_connections_busy_waits_no_longer_than_it_may(
    database: Database, opened: Opens
) -> None:
    """And that is no outage: the next has its answer."""
    for directory in ("a", "b", "c"):
        database.file(f"/{directory}/0")
    sideband = opened(database.url(), query_timeout_s=2.0, pool_size=1)
    sideband.check()
    database.slow(1.2)
    # Three statements, and a file in the answer to each.
    many = [f"/{each}/{number:x}" for each in ("a", "b", "c") for number in range(500)]
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(sideband.rows, many) for _ in range(2)]
        wait_until_busy(sideband)

        kind = failure(lambda: sideband.rows([FILE]))
        for each in busy:
            each.result(PATIENT_S)

    assert (Failure.UNREACHABLE, None) == (kind, outcome(sideband))


# --- group 30: many threads -------------------------------------------------------


def test_group_30_threads_share_twice_the_pool_at_most(
    database: Database, opened: Opens
) -> None:
    """The server lets no more of them in."""
    database.file(FILE)
    database.execute(f"ALTER USER {READER[0]}@'%' WITH MAX_USER_CONNECTIONS 6")
    sideband = opened(database.url(), query_timeout_s=PATIENT_S, pool_size=3)

    def ask() -> Failure | None:
        outcomes = [outcome(sideband) for _ in range(5)]
        return next((each for each in outcomes if each), None)

    assert [None] * 100 == in_threads(100, ask)


def test_group_30_connections_that_are_kept_are_those_of_the_pool(
    database: Database, opened: Opens
) -> None:
    sideband = opened(database.url(), query_timeout_s=PATIENT_S, pool_size=2)
    in_threads(50, lambda: outcome(sideband))

    assert wait_for(lambda: len(database.server.connections()) <= 2)


@pytest.mark.parametrize("fail", [freeze, sleep, crash, deny, drop, cut])
def test_group_30_an_error_leaves_no_connection_checked_out(
    database: Database, opened: Opens, clock: Clock, fail: Callable[[Database], None]
) -> None:
    """With two connections, more errors than that leave both to be had."""
    database.file(FILE)
    sideband = opened(database.url(), query_timeout_s=1.0, pool_size=1)
    sideband.check()
    fail(database)
    for _ in range(3):
        failure(lambda: sideband.rows([FILE]))
        clock.pass_pause()
    database.server.mend()
    database.create()
    sideband.check()

    assert [None] * 2 == in_threads(2, lambda: outcome(sideband))


# --- the breaker -------------------------------------------------------------------


def test_a_database_that_failed_is_not_asked_for_a_pause(opened: Opens) -> None:
    with Listener(Manner.CLOSING) as listener:
        sideband = opened(listener.url)
        failure(lambda: sideband.rows([FILE]))
        asked = listener.count

        for _ in range(100):
            failure(lambda: sideband.rows([FILE]))

        assert asked == listener.count


def test_who_is_not_let_to_ask_is_told_what_the_outage_is(
    database: Database, sideband: Sideband
) -> None:
    database.execute("DROP TABLE sam_file")
    failure(sideband.check)

    assert Failure.WRONG is failure(lambda: sideband.rows([FILE]))


def test_after_the_pause_one_thread_at_a_time_asks(opened: Opens, clock: Clock) -> None:
    with Listener(Manner.SILENT) as listener:
        sideband = opened(listener.url, query_timeout_s=2.0)
        failure(lambda: sideband.rows([FILE]))
        clock.pass_pause()
        asked = listener.count

        in_threads(20, lambda: outcome(sideband))

        assert 1 == listener.count - asked


def test_a_question_that_fails_again_begins_another_pause(
    opened: Opens, clock: Clock
) -> None:
    with Listener(Manner.CLOSING) as listener:
        sideband = opened(listener.url)
        failure(lambda: sideband.rows([FILE]))
        clock.pass_pause()
        failure(lambda: sideband.rows([FILE]))
        asked = listener.count

        failure(lambda: sideband.rows([FILE]))

        assert asked == listener.count


def test_those_that_wait_ask_no_dead_server_in_their_turn(opened: Opens) -> None:
    with Listener(Manner.SILENT) as listener:
        sideband = opened(listener.url, query_timeout_s=1.0, pool_size=1)

        in_threads(20, lambda: outcome(sideband))

        assert 2 == listener.count


def test_those_that_wait_are_told_of_an_outage_at_once(
    database: Database, opened: Opens
) -> None:
    database.file(FILE)
    sideband = opened(database.url(), query_timeout_s=PATIENT_S, pool_size=1)
    sideband.check()
    database.slow(2 * PATIENT_S)
    with ThreadPoolExecutor(10) as pool:
        asking = [pool.submit(outcome, sideband) for _ in range(10)]
        wait_until_busy(sideband)
        wait_for_statement(database.server)
        began = time.monotonic()
        database.server.kill_connections()
        # One of the two that ask may have been on its way to the server.
        told = wait_for(lambda: sum(each.done() for each in asking) >= 9)
        took_s = time.monotonic() - began
        while not all(each.done() for each in asking):
            database.server.kill_connections()

    assert (True, True) == (told, took_s < PATIENT_S / 2)


def test_a_database_that_answers_again_is_asked_by_all(
    database: Database, opened: Opens, clock: Clock
) -> None:
    database.file(FILE)
    database.server.stop()
    sideband = opened(database.url(), query_timeout_s=PATIENT_S)
    failure(lambda: sideband.rows([FILE]))
    database.server.start()
    clock.pass_pause()
    sideband.rows([FILE])

    assert [None] * 20 == in_threads(20, lambda: outcome(sideband))


def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    database: Database,
    opened: Opens,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    database.server.stop()
    sideband = opened(database.url(), query_timeout_s=PATIENT_S)
    for _ in range(5):
        failure(lambda: sideband.rows([FILE]))
        clock.pass_pause()
    database.server.start()
    for _ in range(5):
        sideband.rows([FILE])

    assert ["WARNING", "WARNING"] == lines(caplog)


def test_a_check_asks_though_there_is_a_pause(
    database: Database, opened: Opens
) -> None:
    database.server.stop()
    sideband = opened(database.url(), query_timeout_s=PATIENT_S)
    failure(lambda: sideband.rows([FILE]))
    database.server.start()

    sideband.check()

    assert {} == sideband.rows([FILE])


def test_what_hung_before_an_outage_ended_begins_no_other(
    database: Database, opened: Opens
) -> None:
    """It says nothing about a server that answers others since."""
    database.file("/slow/a")
    sideband = opened(database.url(), query_timeout_s=6.0)
    sideband.check()
    database.slow(60)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(sideband.rows, ["/slow/a"])
        wait_for_statement(database.server)
        database.execute(f"ALTER USER {READER[0]}@'%' ACCOUNT LOCK")
        failure(sideband.check)
        database.execute(f"ALTER USER {READER[0]}@'%' ACCOUNT UNLOCK")
        sideband.check()

        assert Failure.UNREACHABLE is failure(lambda: hanging.result(PATIENT_S))

    assert {} == sideband.rows([FILE])


# --- group 31: another process -----------------------------------------------------


def test_group_31_a_forked_child_may_not_ask(sideband: Sideband) -> None:
    sideband.check()

    def ask() -> str:
        try:
            sideband.check()
        except RuntimeError as exc:
            return str(exc)
        return "asked"

    found = in_forked_child(ask)

    assert "the sideband was opened in another process" == found


def test_group_31_a_child_that_closes_leaves_the_connections_alone(
    database: Database, sideband: Sideband
) -> None:
    sideband.check()
    before = database.server.connections()

    in_forked_child(sideband.close)
    sideband.check()

    assert before == database.server.connections()


def test_group_31_a_child_forgets_the_connections_without_a_word(
    sideband: Sideband, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the garbage collector comes to the socket before its connection."""
    connect = socket.create_connection

    def age_and_connect(*args: Any, **options: Any) -> socket.socket:  # noqa: ANN401 (passed on)
        gc.collect(0)
        return connect(*args, **options)

    def forget() -> list[str]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            sideband.close()
            gc.collect()
        return [str(warning.message) for warning in said]

    gc.disable()
    try:
        monkeypatch.setattr(socket, "create_connection", age_and_connect)
        sideband.check()
        said = in_forked_child(forget)
    finally:
        gc.enable()

    assert [] == said


# --- group 34: the password --------------------------------------------------------

PASSWORD = "p@ss:w/ord%40?#'\""  # noqa: S105 (nobody's)


def new_user(database: Database) -> str:
    """Make a user with an awkward password."""
    quoted = PASSWORD.replace("'", "''")
    database.execute(
        f"CREATE OR REPLACE USER awkward@'%' IDENTIFIED BY '{quoted}'",
        f"GRANT SELECT ON {database.name}.* TO awkward@'%'",
    )
    return "awkward"


def of_five(
    database: Database, tmp_path: Path, password: str = PASSWORD
) -> HmsSidebandOptions:
    return HmsSidebandOptions(
        prefix=tmp_path,
        sam_qfs_prefix="/",
        host="127.0.0.1",
        port=database.server.port,
        user=new_user(database),
        password=password,
        schema=database.name,
    )


def test_group_34_a_password_of_any_characters_opens(
    database: Database, tmp_path: Path
) -> None:
    sideband = Sideband(of_five(database, tmp_path))
    with contextlib.closing(sideband):
        rows = sideband.rows([FILE])

        assert {} == rows


def test_group_34_a_password_in_a_url_opens(database: Database, opened: Opens) -> None:
    new_user(database)
    url = database.server.url("awkward", password=PASSWORD)
    sideband = opened(url, query_timeout_s=PATIENT_S)

    assert {} == sideband.rows([FILE])


def test_group_34_what_a_file_of_the_client_says_is_followed(
    database: Database, opened: Opens, tmp_path: Path
) -> None:
    """The host too: a URL that names one has no secret in it."""
    url = database.url()
    file = tmp_path / "my.cnf"
    file.write_text(
        f"[client]\nuser={url.username}\npassword={url.password}\n"
        f"host={url.host}\nport={url.port}\nbind-address=127.0.0.1\n"
    )
    sideband = opened(
        URL.create(
            "mysql+pymysql",
            database=url.database,
            query={"read_default_file": str(file)},
        ),
        query_timeout_s=PATIENT_S,
    )

    assert {} == sideband.rows([FILE])


@pytest.mark.parametrize("fail", [None, stop, drop])
def test_group_34_the_password_is_in_no_log_error_or_repr(
    database: Database,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fail: Callable[[Database], None] | None,
) -> None:
    """None: it is wrong."""
    password = PASSWORD if fail else f"{PASSWORD}, not"
    options = of_five(database, tmp_path, password)
    sideband = Sideband(options)
    if fail:
        sideband.check()
        fail(database)
    with (
        caplog.at_level(logging.DEBUG),
        contextlib.closing(sideband),
        pytest.raises(SidebandDown) as caught,
    ):
        sideband.check()
    seen = [
        *traceback.format_exception(caught.value),
        repr(caught.value),
        repr(options),
        repr(sideband),
        caplog.text,
    ]

    assert PASSWORD not in "\n".join(seen)


# --- opening and closing -------------------------------------------------------------


def test_a_sideband_that_is_closed_has_no_connections(
    database: Database, sideband: Sideband
) -> None:
    sideband.check()

    sideband.close()

    assert wait_for(lambda: [] == database.server.connections())


def test_closing_twice_is_closing_once(sideband: Sideband) -> None:
    sideband.close()
    sideband.close()

    assert Failure.UNREACHABLE is failure(sideband.check)


def test_what_is_under_way_when_it_is_closed_leaves_no_connection(
    database: Database, opened: Opens
) -> None:
    database.file("/slow/a")
    sideband = opened(database.url(), query_timeout_s=PATIENT_S)
    sideband.check()
    database.slow(1)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(sideband.rows, ["/slow/a"])
        wait_for_statement(database.server)
        sideband.close()
        asking.result(PATIENT_S)

    assert wait_for(lambda: [] == database.server.connections())


def test_a_driver_that_is_not_there_is_an_error_of_configuration(
    opened: Opens,
) -> None:
    with pytest.raises(ConfigError, match=r"no driver for mysql\+nothing"):
        opened(URL.create("mysql+nothing", password=PASSWORD, host="localhost"))


@pytest.mark.parametrize(
    "url", ["nothing://host", "mysql+pymysql://host/d?connect_timeout=soon"]
)
def test_a_url_that_sqlalchemy_does_not_take_is_an_error_of_configuration(
    opened: Opens, url: str
) -> None:
    with pytest.raises(ConfigError):
        opened(make_url(url))


def test_the_five_options_speak_latin1(database: Database, tmp_path: Path) -> None:
    """As the database was made, whatever the driver speaks by itself."""
    sideband = Sideband(of_five(database, tmp_path))
    with database.server.heard("awkward") as statements, contextlib.closing(sideband):
        sideband.check()

    assert {"SET NAMES latin1"} == {
        each for each in statements if each.startswith("SET NAMES")
    }


def test_mysqlclient_is_told_its_limits_in_whole_seconds(
    monkeypatch: pytest.MonkeyPatch, opened: Opens
) -> None:
    """It takes no others; of the driver there is only what tells of this."""
    told: list[dict[str, object]] = []

    class Nobody(Exception):
        pass

    def connect(**given: object) -> None:
        told.append(given)
        raise Nobody

    driver: Any = ModuleType("MySQLdb")
    driver.constants = ModuleType("MySQLdb.constants")
    driver.constants.CLIENT = ModuleType("MySQLdb.constants.CLIENT")
    driver.constants.CLIENT.FOUND_ROWS = 2
    driver.cursors = ModuleType("MySQLdb.cursors")
    driver.cursors.SSCursor = None
    driver.paramstyle, driver.__version__ = "format", "2.2.0"
    driver.Error = driver.OperationalError = Nobody
    driver.connect = connect
    for module in (driver, driver.constants, driver.constants.CLIENT, driver.cursors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    sideband = opened(URL.create("mysql", host="db.example"), query_timeout_s=2.5)
    failure(sideband.check)

    assert ("latin1", math.ceil(CONNECT_S), 3, 3) == tuple(
        told[0][name]
        for name in ("charset", "connect_timeout", "read_timeout", "write_timeout")
    )


# --- SQLite --------------------------------------------------------------------------


@pytest.fixture
def sqlite_url(tmp_path: Path) -> URL:
    """Return a database in a file, with one file in it."""
    path = tmp_path / "sideband.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE sam_path (ino, gen, path);
            CREATE TABLE sam_file (p_ino, p_gen, name, ino, gen);
            CREATE TABLE sam_inode (ino, gen, type, size, online);
            INSERT INTO sam_path VALUES (2, 2, '/');
            INSERT INTO sam_inode VALUES (1025, 1, 0, 7, 0);
            INSERT INTO sam_file VALUES (2, 2, 'file.a', 1025, 1);
            """
        )
    return URL.create("sqlite", database=str(path))


def test_sqlite_is_asked_too(opened: Opens, sqlite_url: URL) -> None:
    rows = opened(sqlite_url).rows(["/file.a"])

    expected = Row(ino=1025, gen=1, type=0, size=7, online=0)

    assert {"/file.a": expected} == rows


def test_sqlite_s_file_is_open_for_a_question_only(
    opened: Opens, sqlite_url: URL
) -> None:
    """A connection that a forked child has too may damage the file."""
    opened(sqlite_url).check()
    links = list(Path("/proc/self/fd").iterdir())
    targets = [str(link.readlink()) for link in links if link.is_symlink()]

    assert sqlite_url.database not in targets


def test_sqlite_without_the_tables_is_wrong(opened: Opens, tmp_path: Path) -> None:
    sideband = opened(URL.create("sqlite", database=str(tmp_path / "empty")))

    assert Failure.WRONG is failure(sideband.check)


def test_sqlite_that_another_writes_to_is_waited_for_no_longer_than_it_may(
    opened: Opens, sqlite_url: URL
) -> None:
    sideband = opened(sqlite_url)
    with contextlib.closing(
        sqlite3.connect(str(sqlite_url.database), isolation_level=None)
    ) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        assert Failure.UNREACHABLE is failure(sideband.check)
