from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from asking import ByCall, needs_posix, wait_until

from pacifica_archive_core import (
    ArchiveSpec,
    ArchiveUnavailable,
    ConfigError,
    MemoryArchive,
)
from pacifica_archive_http import make_app
from pacifica_archive_http.health import Readiness

if TYPE_CHECKING:
    from pathlib import Path


class Away(MemoryArchive):
    """A store that is not ready, and nobody should ask for the rest."""

    error: Exception | None = ArchiveUnavailable("the store does not answer")
    asked = 0

    def ready(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class Hung(MemoryArchive):
    """A store that answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.let_go = threading.Event()

    def ready(self) -> None:
        self.asked += 1
        self.let_go.wait(60)


@pytest.fixture
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Readiness, "CACHED_S", 0)


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Readiness, "BOUND_S", 0.2)


def test_a_process_lives_whatever_its_store_does() -> None:
    archive = Away()
    answer = ByCall(make_app(archive))("GET", "/healthz")

    assert (200, {"status": "ok"}, 0) == (answer.status, answer.json, archive.asked)


def test_a_store_that_answers_is_ready() -> None:
    answer = ByCall(make_app(MemoryArchive()))("GET", "/readyz")

    assert (200, {"status": "ready"}) == (answer.status, answer.json)


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
def test_head_is_answered_without_a_body(target: str) -> None:
    answer = ByCall(make_app(MemoryArchive()))("HEAD", target)

    assert (200, b"") == (answer.status, answer.body)


def test_a_store_that_is_away_is_told_with_its_reason() -> None:
    answer = ByCall(make_app(Away()))("GET", "/readyz")

    assert (503, "urn:pacifica-archive:not-ready", "the store does not answer") == (
        answer.status,
        answer.json["type"],
        answer.json["detail"],
    )


def test_head_tells_that_the_store_is_away() -> None:
    answer = ByCall(make_app(Away()))("HEAD", "/readyz")

    assert (503, "not-ready") == (answer.status, answer.headers["x-pacifica-problem"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigError("/srv/secret on db.example"), "Server Misconfigured"),
        (RuntimeError("/srv/secret on db.example"), "Internal Server Error"),
    ],
)
def test_a_reason_that_is_not_to_be_told_is_not(error: Exception, reason: str) -> None:
    archive = Away()
    archive.error = error

    assert reason == ByCall(make_app(archive))("GET", "/readyz").json["detail"]


def test_an_answer_counts_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Readiness, "CACHED_S", 1000)
    archive = Away()
    ask = ByCall(make_app(archive))
    for _ in range(5):
        ask("GET", "/readyz")

    assert archive.asked == 1


@pytest.mark.usefixtures("always_asked")
def test_a_store_that_is_back_is_ready_again() -> None:
    archive = Away()
    ask = ByCall(make_app(archive))
    before = ask("GET", "/readyz").status
    archive.error = None

    assert (503, 200) == (before, ask("GET", "/readyz").status)


@pytest.mark.usefixtures("always_asked")
def test_the_log_tells_changes_only(caplog: pytest.LogCaptureFixture) -> None:
    archive = Away()
    ask = ByCall(make_app(archive))
    for _ in range(3):
        ask("GET", "/readyz")
    archive.error = None
    for _ in range(3):
        ask("GET", "/readyz")

    assert [
        (logging.ERROR, "the archive is not ready: the store does not answer"),
        (logging.WARNING, "the archive is ready again"),
    ] == [(record.levelno, record.getMessage()) for record in caplog.records]


@pytest.mark.usefixtures("always_asked", "little_time")
def test_of_a_hundred_who_ask_one_waits_in_a_hung_store() -> None:
    archive = Hung()
    ask = ByCall(make_app(archive))
    try:
        with ThreadPoolExecutor(100) as threads:
            answers = list(threads.map(lambda _: ask("GET", "/readyz"), range(100)))

        assert ({(503, "the archive did not answer within 0.2 s")}, 1) == (
            {(answer.status, answer.json["detail"]) for answer in answers},
            archive.asked,
        )
    finally:
        archive.let_go.set()


@pytest.mark.usefixtures("always_asked", "little_time")
def test_a_store_that_hung_is_ready_when_it_answers() -> None:
    archive = Hung()
    ask = ByCall(make_app(archive))
    ask("GET", "/readyz")
    archive.let_go.set()

    wait_until(lambda: ask("GET", "/readyz").status == 200, "the store is ready")


def test_an_archive_that_is_not_open_yet_is_opened() -> None:
    ask = ByCall(make_app(ArchiveSpec(backend="memory", config=None)))

    assert ask("GET", "/readyz").status == 200


@needs_posix
def test_an_archive_that_cannot_be_opened_is_not_ready(tmp_path: Path) -> None:
    spec = ArchiveSpec(
        backend="posix", config=None, given={"prefix": str(tmp_path / "absent")}
    )
    answer = ByCall(make_app(spec))("GET", "/readyz")

    assert (503, False) == (answer.status, str(tmp_path) in answer.body.decode())
