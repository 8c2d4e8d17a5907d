"""What DELETE does where it is denied, and where there is a trash."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from asking import ByCall

from pacifica_archive_core import (
    Archive,
    ArchiveSpec,
    ArchiveUnavailable,
    ConfigError,
    FileExists,
    MemoryArchive,
)
from pacifica_archive_http import make_app
from pacifica_archive_http.access import Scope
from pacifica_archive_http.metrics import Metrics
from pacifica_archive_http.options import Deletion, ServerOptions
from pacifica_archive_http.tokens import add_token
from pacifica_archive_http.trash import EMPTIED_AT_ONCE, TrashBin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_NS = 24 * 3600 * 10**9
TRASH = ServerOptions(delete=Deletion.TRASH)


class NoTrash(MemoryArchive):
    """An archive that has none."""

    trash = None  # type: ignore[assignment]  # as it is missing

    closed = False

    def _close(self) -> None:
        type(self).closed = True
        super()._close()


class Broken(MemoryArchive):
    """An archive whose trash cannot be emptied."""

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        del before_ns, limit
        raise ArchiveUnavailable("the trash is jammed")


@attrs.define
class Clock:
    """The time of day and what has gone by, as the test says."""

    elapsed_s: float = 0
    start_ns: int = attrs.field(factory=time.time_ns)

    def now_ns(self) -> int:
        return self.start_ns + int(self.elapsed_s * 10**9)

    def bin(self, days: int) -> TrashBin:
        return TrashBin(days, now_ns=self.now_ns, elapsed_s=lambda: self.elapsed_s)


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    with MemoryArchive() as archive:
        yield archive


@pytest.fixture
def ask(archive: MemoryArchive) -> ByCall:
    return ByCall(make_app(archive, TRASH))


def fill(archive: Archive, *file_ids: int) -> None:
    for file_id in file_ids:
        with archive.create(file_id) as writer:
            writer.write(b"data")


def in_trash(archive: MemoryArchive) -> list[int]:
    return sorted(one.file_id for one in archive.trashed())


# --- the trash


@pytest.mark.parametrize("at", ["", "/files"])
def test_a_delete_puts_the_file_into_the_trash(
    ask: ByCall, archive: MemoryArchive, at: str
) -> None:
    fill(archive, 5)
    deleted = ask("DELETE", f"{at}/5").status

    assert (200, 404, [5]) == (
        deleted,
        ask("GET", f"{at}/5").status,
        in_trash(archive),
    )


def test_what_is_not_there_is_not_deleted(ask: ByCall) -> None:
    assert 404 == ask("DELETE", "/5").status


def test_a_deleted_file_comes_back_by_undelete(
    ask: ByCall, archive: MemoryArchive
) -> None:
    ask("PUT", "/5", b"abc")
    before = ask("HEAD", "/files/5").headers
    ask("DELETE", "/5")
    archive.undelete(5)
    after = ask("HEAD", "/files/5").headers

    assert (before["last-modified"], before["repr-digest"], b"abc") == (
        after["last-modified"],
        after["repr-digest"],
        ask("GET", "/5").body,
    )


def test_an_id_that_was_put_again_is_not_undeleted(
    ask: ByCall, archive: MemoryArchive
) -> None:
    ask("PUT", "/5", b"old")
    ask("DELETE", "/5")
    ask("PUT", "/5", b"new")

    with pytest.raises(FileExists):
        archive.undelete(5)

    assert (b"new", [5]) == (ask("GET", "/5").body, in_trash(archive))


def test_a_put_that_replaces_puts_nothing_into_the_trash(
    ask: ByCall, archive: MemoryArchive
) -> None:
    """Against that there is --write-once."""
    ask("PUT", "/5", b"old")
    ask("PUT", "/5", b"new")

    assert [] == in_trash(archive)


def test_write_once_with_a_trash_loses_nothing(archive: MemoryArchive) -> None:
    ask = ByCall(make_app(archive, attrs.evolve(TRASH, write_once=True)))
    ask("PUT", "/5", b"first")
    replaced = ask("PUT", "/5", b"second").status
    ask("DELETE", "/5")
    stored = ask("PUT", "/5", b"third").status
    archive.delete(5)
    archive.undelete(5)

    assert (409, 201, b"first") == (replaced, stored, ask("GET", "/5").body)


def test_a_delete_of_another_version_puts_nothing_into_the_trash(
    ask: ByCall, archive: MemoryArchive
) -> None:
    fill(archive, 5)
    status = ask("DELETE", "/5", None, {"If-Match": '"of-another"'}).status

    assert (412, []) == (status, in_trash(archive))


def test_a_delete_of_the_very_version_does(ask: ByCall, archive: MemoryArchive) -> None:
    fill(archive, 5)
    etag = ask("HEAD", "/files/5").headers["etag"]
    status = ask("DELETE", "/5", None, {"If-Match": etag}).status

    assert (200, [5]) == (status, in_trash(archive))


# --- emptying


def test_what_has_been_in_the_trash_for_long_is_destroyed_by_the_next_delete(
    archive: MemoryArchive,
) -> None:
    clock = Clock()
    fill(archive, 5)
    archive.trash(5)
    clock.elapsed_s = 31 * 24 * 3600
    fill(archive, 6)
    clock.bin(30).put(archive, 6, Metrics())

    # The archive's clock has not gone on: to it the second is as old.
    assert [] == in_trash(archive)


def test_what_has_not_been_there_for_as_long_stays(archive: MemoryArchive) -> None:
    clock = Clock()
    fill(archive, 5, 6)
    archive.trash(5)
    clock.elapsed_s = 29 * 24 * 3600
    clock.bin(30).put(archive, 6, Metrics())

    assert [5, 6] == in_trash(archive)


def test_the_trash_is_emptied_once_an_hour(archive: MemoryArchive) -> None:
    clock = Clock(start_ns=time.time_ns() + 31 * DAY_NS)
    emptied = clock.bin(30)
    counts = []
    for elapsed_s in (0, 1, 3599, 3600):
        clock.elapsed_s = elapsed_s
        fill(archive, 5)
        emptied.put(archive, 5, Metrics())
        counts.append(len(in_trash(archive)))

    assert [0, 1, 2, 0] == counts


def test_so_many_are_destroyed_at_once(archive: MemoryArchive) -> None:
    clock = Clock(start_ns=time.time_ns() + 31 * DAY_NS)
    for file_id in range(EMPTIED_AT_ONCE + 5):
        fill(archive, file_id)
        archive.trash(file_id)
    fill(archive, 1000)
    clock.bin(30).put(archive, 1000, Metrics())

    assert 6 == len(in_trash(archive))


def test_a_trash_that_cannot_be_emptied_fails_no_delete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Broken() as archive:
        fill(archive, 5)
        status = ByCall(make_app(archive, TRASH))("DELETE", "/5").status

        assert (200, [5], 1) == (status, in_trash(archive), len(caplog.messages))


def test_the_log_tells_why_a_trash_cannot_be_emptied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By what the archive says, and with the traceback: the causes are in it."""
    with Broken() as archive:
        fill(archive, 5)
        ByCall(make_app(archive, TRASH))("DELETE", "/5")

    (record,) = caplog.records
    assert (
        logging.ERROR,
        "the trash could not be emptied: the trash is jammed",
        ArchiveUnavailable,
    ) == (record.levelno, record.getMessage(), (record.exc_info or (None,))[0])


def test_the_log_tells_how_many_were_destroyed(
    archive: MemoryArchive, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(start_ns=time.time_ns() + 31 * DAY_NS)
    fill(archive, 5, 6)
    archive.trash(5)
    clock.bin(30).put(archive, 6, Metrics())

    assert [
        (
            logging.WARNING,
            "2 files that were in the trash for more than 30 days were destroyed",
        )
    ] == [(record.levelno, record.getMessage()) for record in caplog.records]


def test_the_log_tells_nothing_of_a_trash_where_nothing_is_old(
    archive: MemoryArchive, caplog: pytest.LogCaptureFixture
) -> None:
    fill(archive, 5)
    Clock().bin(30).put(archive, 5, Metrics())

    assert [] == caplog.messages


def test_a_trash_that_cannot_be_emptied_is_tried_an_hour_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lest each DELETE waits for a store that is in trouble."""
    clock = Clock()
    emptied = clock.bin(30)
    with Broken() as archive:
        for elapsed_s in (0, 1, 3600):
            clock.elapsed_s = elapsed_s
            fill(archive, 5)
            emptied.put(archive, 5, Metrics())

    assert 2 == len(caplog.messages)


def test_emptying_is_counted(ask: ByCall, archive: MemoryArchive) -> None:
    fill(archive, 5)
    ask("DELETE", "/5")
    told = ask("GET", "/metrics").body.decode()

    assert (
        'pacifica_archive_backend_operations_total{operation="empty_trash",outcome="ok"}'
        " 1.0" in told
    )


# --- denied


@pytest.mark.parametrize("at", ["", "/files"])
def test_a_server_that_deletes_nothing_refuses(archive: MemoryArchive, at: str) -> None:
    ask = ByCall(make_app(archive, ServerOptions(delete=Deletion.DENY)))
    fill(archive, 5)
    answer = ask("DELETE", f"{at}/5")

    assert (403, "urn:pacifica-archive:delete-denied", b"data") == (
        answer.status,
        answer.json["type"],
        ask("GET", "/5").body,
    )


def test_a_token_that_may_delete_does_not_change_that(
    archive: MemoryArchive, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    token = add_token(file, "all", scopes=Scope)
    options = ServerOptions(delete=Deletion.DENY, tokens=file)
    ask = ByCall(make_app(archive, options))
    fill(archive, 5)
    answer = ask("DELETE", "/5", None, {"Authorization": f"Bearer {token}"})

    assert (403, "urn:pacifica-archive:delete-denied") == (
        answer.status,
        answer.json["type"],
    )


def test_a_token_that_may_not_delete_puts_nothing_into_the_trash(
    archive: MemoryArchive, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    token = add_token(file, "writer", scopes=[Scope.READ, Scope.WRITE])
    ask = ByCall(make_app(archive, attrs.evolve(TRASH, tokens=file)))
    fill(archive, 5)
    answer = ask("DELETE", "/5", None, {"Authorization": f"Bearer {token}"})

    assert (403, "urn:pacifica-archive:forbidden", []) == (
        answer.status,
        answer.json["type"],
        in_trash(archive),
    )


# --- archives that have none


def test_an_archive_without_a_trash_is_refused() -> None:
    with NoTrash() as archive, pytest.raises(ConfigError, match="no trash"):
        make_app(archive, TRASH)


def test_an_archive_without_a_trash_serves_all_the_same() -> None:
    with NoTrash() as archive:
        fill(archive, 5)

        assert 200 == ByCall(make_app(archive))("DELETE", "/5").status


def test_one_that_is_opened_later_is_refused_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And closed again."""
    monkeypatch.setattr(ArchiveSpec, "open", lambda _: NoTrash())
    monkeypatch.setattr(NoTrash, "closed", False)
    ask = ByCall(make_app(ArchiveSpec(backend="memory", config=None), TRASH))
    answer = ask("GET", "/5")

    assert (500, True) == (answer.status, NoTrash.closed)
