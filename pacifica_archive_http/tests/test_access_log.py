from __future__ import annotations

import io
import json
import logging
import os
import queue
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from asking import ByCall, close, environment

from pacifica_archive_core import MAX_FILE_ID, MemoryArchive
from pacifica_archive_http import make_app
from pacifica_archive_http.access import Identity
from pacifica_archive_http.access_log import (
    EXCHANGE,
    AccessLog,
    JsonLines,
    LineBuffer,
    open_log,
)
from pacifica_archive_http.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from asking import Answer

    from pacifica_archive_core import Archive

LONG = b"a" * 1_000_000


class _Logged(ByCall):
    """An application whose log is at hand."""

    def __init__(self, archive: Archive) -> None:
        self.lines: list[bytes] = []
        super().__init__(make_app(archive, access_log=self.lines.append))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def last(self) -> dict[str, Any]:
        return self.entries[-1]


@pytest.fixture
def logged(archive: Archive) -> _Logged:
    call = _Logged(archive)
    call("PUT", "/5", LONG)
    return call


def test_a_line_tells_the_request(logged: _Logged, archive: Archive) -> None:
    source = archive.status(5).residency_source
    answer = logged("GET", "/files/5", headers={"Range": "bytes=0-9"})

    entry = logged.last()
    seconds, moment = entry.pop("seconds"), entry.pop("time")
    assert {
        "request_id": answer.headers["x-request-id"],
        "client": "127.0.0.1",
        "verb": "GET",
        "path": "/files/5",
        "id": 5,
        "status": 206,
        "bytes": 10,
        "residency_source": source,
    } == entry
    assert 0 < seconds < 20
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)


@pytest.mark.parametrize(
    ("method", "target", "body", "wanted"),
    [
        ("PUT", "/6", b"seven b", (201, 7, None)),
        ("PUT", "/6", b"", (201, 0, None)),
        ("PUT", "/no", b"abc", (400, 3, "invalid-file-id")),
        ("GET", "/5", None, (200, 1_000_000, None)),
        ("HEAD", "/5", None, (204, 0, None)),
        ("HEAD", "/7", None, (404, 0, "no-such-file")),
        ("POST", "/5", None, (200, 44, None)),
        ("DELETE", "/no", None, (400, None, "invalid-file-id")),
        ("GET", "/a/b", None, (404, None, "no-such-address")),
        ("FOO", "/5", None, (501, None, "unknown-method")),
    ],
)
def test_every_request_has_one_line(
    logged: _Logged,
    method: str,
    target: str,
    body: bytes | None,
    wanted: tuple[int, int | None, str | None],
) -> None:
    before = len(logged.lines)
    answer = logged(method, target, body)

    (entry,) = logged.entries[before:]
    status, count, error = wanted
    size = len(answer.body) if count is None else count
    assert (status, size, error) == (
        entry["status"],
        entry["bytes"],
        entry.get("error"),
    )


@pytest.mark.parametrize("target", ["/5", "/files/5"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "*"}], ids=["new", "304"])
def test_a_line_tells_how_the_residency_is_known(
    logged: _Logged,
    archive: Archive,
    method: str,
    target: str,
    headers: dict[str, str],
) -> None:
    source = archive.status(5).residency_source
    logged(method, target, headers=headers)

    assert source == logged.last()["residency_source"]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "/6", b"bytes"),
        ("POST", "/5", None),
        ("DELETE", "/5", None),
        ("GET", "/7", None),
        ("HEAD", "/7", None),
        ("GET", "/", None),
    ],
)
def test_what_answers_from_no_status_has_no_residency_in_its_line(
    logged: _Logged, method: str, target: str, body: bytes | None
) -> None:
    logged(method, target, body)

    assert "residency_source" not in logged.last()


@pytest.mark.parametrize("target", ["/files/status", "/files/stage"])
def test_the_line_of_a_list_tells_how_many_ids_it_has(
    logged: _Logged, target: str
) -> None:
    logged("POST", target, b"5\n6\n7\n")
    entry = logged.last()

    assert (None, 3) == (entry["id"], entry["ids"])


def test_a_download_has_its_line_when_it_is_over(logged: _Logged) -> None:
    before = len(logged.lines)
    _, _, parts = logged.begin(environment("GET", "/5"))
    early = len(logged.lines)
    close(parts)

    assert (before, before + 1) == (early, len(logged.lines))


def test_a_download_that_the_client_left_has_the_bytes_it_took(
    logged: _Logged,
) -> None:
    _, _, parts = logged.begin(environment("GET", "/5"))
    taken = len(next(iter(parts)))
    close(parts)

    entry = logged.last()
    assert (200, taken, "client-gone") == (
        entry["status"],
        entry["bytes"],
        entry["error"],
    )


def test_bytes_that_the_server_sent_by_itself_are_not_made_up(
    posix: Archive,
) -> None:
    logged = _Logged(posix)
    logged("PUT", "/5", LONG)
    logged.more["wsgi.file_wrapper"] = lambda file, _size: file
    _, _, parts = logged.begin(environment("GET", "/5"))
    close(parts)

    assert logged.last()["bytes"] is None


@pytest.mark.parametrize(
    "given",
    ["", "a b", "a\nb", 'a"b', "a,b", "\u00e9", "a" * 129, "{}"],
)
def test_a_request_id_that_could_do_harm_is_replaced(
    logged: _Logged, given: str
) -> None:
    answer = logged("HEAD", "/5", headers={"X-Request-Id": given})

    assert re.fullmatch("[0-9a-f]{24}", answer.headers["x-request-id"])


def test_ids_of_our_own_differ(logged: _Logged) -> None:
    answers: list[Answer] = [logged("HEAD", "/5") for _ in range(100)]

    assert 100 == len({answer.headers["x-request-id"] for answer in answers})


@pytest.mark.parametrize(
    "name",
    ['a"b', "a\nb", "\u00e9\U0001f40c", "\ud800", "\x00" * 999, "\U0001f40c" * 999],
    ids=ascii,
)
def test_no_name_breaks_a_line(name: str) -> None:
    """The subject of a JSON Web Token is whatever its issuer likes, and who that is."""
    lines: list[bytes] = []

    def app(env: dict[str, Any], _start: object) -> list[bytes]:
        env[EXCHANGE].who = Identity(name=name, kind="jwt", grants=(), issuer=name)
        env[EXCHANGE].file_id = MAX_FILE_ID
        env[EXCHANGE].ids = 10_000
        env[EXCHANGE].error = "x" * 32
        return []

    logged = AccessLog(app, lines.append, Metrics(None))
    env = {
        **environment("A" * 5000, "/" + "%E9" * 5000, b"", {"X-Request-Id": "a" * 128}),
        "REMOTE_ADDR": "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
    }
    logged(env, lambda *_args: bytearray().extend)

    (line,) = lines
    assert line.endswith(b"}\n")
    assert len(line) <= 4096
    assert name.startswith(json.loads(line)["who"])
    assert name.startswith(json.loads(line)["issuer"])


@pytest.mark.parametrize("text", ['/"quoted"', "/a%0Ab", "/%ff%00", "/" + "%E9" * 5000])
def test_no_address_breaks_a_line(logged: _Logged, text: str) -> None:
    logged("GET", text, headers={"X-Request-Id": "a" * 128})

    line = logged.lines[-1]
    assert line.endswith(b"}\n")
    assert 1 == line.count(b"\n")
    # Longer ones may be mixed with those of other workers in a pipe (PIPE_BUF).
    assert len(line) <= 4096
    assert json.loads(line)["path"].startswith("/")


def test_a_request_that_raises_an_error_of_the_store_has_the_same_id_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class _Away(MemoryArchive):
        def _status(self, _file_id: int) -> Any:  # noqa: ANN401 (never returns)
            raise KeyError("bug")

    with _Away() as archive:
        logged = _Logged(archive)
        logged("HEAD", "/5")

    (record,) = caplog.records
    assert logged.last()["request_id"] == getattr(record, "request_id", None)


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")

    open_log(path)(b"new\n")

    assert b"old\nnew\n" == path.read_bytes()


def test_a_log_that_cannot_be_written_is_no_reason_to_refuse(
    archive: Archive,
) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110 (a device)
        pytest.skip("no /dev/full here")
    call = ByCall(make_app(archive, access_log=open_log("/dev/full")))

    assert 201 == call("PUT", "/5", b"bytes").status


def test_lines_are_written_soon_though_no_other_comes() -> None:
    written = queue.SimpleQueue[bytes]()
    lines = LineBuffer(written.put)
    lines.put(b"line\n")

    assert b"line\n" == written.get(timeout=20)
    lines.close()


def test_what_was_put_is_written_when_the_buffer_is_closed() -> None:
    written: list[bytes] = []
    lines = LineBuffer(written.append)
    whole = [b"%d %s\n" % (number, b"a" * 150) for number in range(1000)]
    for line in whole:
        lines.put(line)
    lines.close()

    assert b"".join(whole) == b"".join(written)


def test_lines_are_never_cut_and_fit_into_a_pipe() -> None:
    written: list[bytes] = []
    lines = LineBuffer(written.append)
    for number in range(1000):
        lines.put(b"%d %s\n" % (number, b"a" * (number % 400)))
    lines.close()

    assert all(part.endswith(b"\n") and len(part) <= 4096 for part in written)
    assert len(written) < 1000 / 10


def test_a_line_that_is_too_long_for_a_pipe_is_written_all_the_same() -> None:
    written: list[bytes] = []
    lines = LineBuffer(written.append)
    lines.put(b"a" * 5000 + b"\n")
    lines.close()

    assert [b"a" * 5000 + b"\n"] == written


def test_a_buffer_that_nothing_was_put_into_is_closed() -> None:
    written: list[bytes] = []
    LineBuffer(written.append).close()

    assert not written


def _record(message: str, error: Exception | None = None) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord(
        "test",
        logging.ERROR,
        __file__,
        1,
        message,
        (),
        (type(error), error, None) if error else None,
        extra={"request_id": "r1"},
    )


def test_an_error_is_one_line_with_its_traceback(tmp_path: Path) -> None:
    handler = JsonLines(str(tmp_path / "log"))
    handler.handle(_record("two\nlines", ValueError("bad")))

    (line,) = (tmp_path / "log").read_bytes().splitlines()
    entry = json.loads(line)
    assert ("r1", "ERROR", "two\nlines", "ValueError: bad\n") == (
        entry["request_id"],
        entry["level"],
        entry["message"],
        entry["traceback"],
    )


def test_errors_without_a_file_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    JsonLines().handle(_record("here"))

    assert "here" == json.loads(capfd.readouterr().err)["message"]


def test_a_stderr_without_a_descriptor_is_no_hindrance(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is under mod_wsgi, where nothing could be served otherwise."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    open_log(None)(b"line\n")
    JsonLines().handle(_record("here"))
    line, entry = capfd.readouterr().err.splitlines()

    assert ("line", "here") == (line, json.loads(entry)["message"])


def test_errors_follow_a_log_that_is_moved_away(tmp_path: Path) -> None:
    handler = JsonLines(str(tmp_path / "log"))
    handler.handle(_record("first"))
    (tmp_path / "log").rename(tmp_path / "log.1")
    handler.handle(_record("second"))

    assert "second" == json.loads((tmp_path / "log").read_bytes())["message"]
