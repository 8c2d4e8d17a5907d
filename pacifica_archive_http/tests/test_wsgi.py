"""The application that other servers load; they serve it in ``ask`` too."""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from asking import (
    ByCall,
    OverHttp,
    connect,
    log_lines,
    read_answer,
    wait_until,
)

from pacifica_archive_core import ArchiveSpec, ConfigError, MemoryArchive
from pacifica_archive_http import make_app
from pacifica_archive_http.access import Scope
from pacifica_archive_http.tokens import add_token
from pacifica_archive_http.wsgi import make_application

if TYPE_CHECKING:
    from pathlib import Path

    from asking import OtherServer

MEMORY = {"PACIFICA_ARCHIVE_TYPE": "memory"}


@pytest.fixture
def spec() -> ArchiveSpec:
    return ArchiveSpec(backend="memory", config=None)


def test_the_archive_is_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pacifica_archive_posix")
    monkeypatch.setenv("PACIFICA_ARCHIVE_POSIX_PREFIX", str(tmp_path))

    ByCall(make_application(os.environ))("PUT", "/5", b"bytes")

    assert b"bytes" == (tmp_path / "5").read_bytes()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("md5", "md5=:XUFAKrxLKna5cZ2REBfFkg==:"),
        ("none", None),
        ("", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"),
    ],
)
def test_the_digests_are_read_from_the_environment(
    value: str, told: str | None
) -> None:
    call = ByCall(
        make_application({**MEMORY, "PACIFICA_ARCHIVE_SERVER_DIGESTS": value})
    )
    call("PUT", "/5", b"hello")

    assert told == call("HEAD", "/files/5").headers.get("repr-digest")


def test_write_once_is_read_from_the_environment() -> None:
    call = ByCall(
        make_application({**MEMORY, "PACIFICA_ARCHIVE_SERVER_WRITE_ONCE": "yes"})
    )
    call("PUT", "/5", b"bytes")

    assert 409 == call("PUT", "/5", b"other").status


def test_files_may_be_replaced_by_default() -> None:
    call = ByCall(make_application(MEMORY))
    call("PUT", "/5", b"bytes")

    assert 201 == call("PUT", "/5", b"other").status


def test_the_limit_of_transfers_is_read_from_the_environment() -> None:
    call = ByCall(
        make_application({**MEMORY, "PACIFICA_ARCHIVE_SERVER_MAX_TRANSFERS": "1"})
    )

    class Nested:
        """A body in whose midst another upload begins."""

        def read(self, _size: int) -> bytes:
            return b"%d" % call("PUT", "/6", b"bytes").status

    ByCall(call.app, {"wsgi.input": Nested()})("PUT", "/5", b"503")

    assert b"503" == call("GET", "/5").body


def test_the_log_is_where_the_environment_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    call = ByCall(
        make_application({**MEMORY, "PACIFICA_ARCHIVE_SERVER_LOG_FILE": str(log)})
    )
    call("GET", "/")

    assert "/" == json.loads(log.read_bytes())["path"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIGESTS", "sha-1"),
        ("WRITE_ONCE", "perhaps"),
        ("MAX_TRANSFERS", "-1"),
        ("MAX_TRANSFERS", "many"),
        ("LOG_FILE", "/dev/null/log"),
    ],
)
def test_a_wrong_value_is_said_when_the_server_loads_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name.lower()):
        make_application({**MEMORY, f"PACIFICA_ARCHIVE_SERVER_{name}": value})


def test_tokens_are_asked_for_where_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    add_token(file, "one", scopes=[Scope.READ])
    call = ByCall(
        make_application({**MEMORY, "PACIFICA_ARCHIVE_SERVER_TOKENS": str(file)})
    )

    assert 401 == call("GET", "/5").status


def test_tokens_that_cannot_be_read_are_said_when_the_server_loads_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        make_application(
            {**MEMORY, "PACIFICA_ARCHIVE_SERVER_TOKENS": str(tmp_path / "tokens")}
        )


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("DELETE", "allow", 200),
        ("DELETE", "deny", 500),
        ("DELETE", "trash", 500),
        ("WRITE_ONCE", "yes", 500),
    ],
)
def test_files_of_other_ids_are_not_taken_past_what_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, status: int
) -> None:
    """By no request that opens the archive."""
    pytest.importorskip("pacifica_archive_posix")
    other = tmp_path / "50"
    monkeypatch.setenv("PACIFICA_ARCHIVE_POSIX_PREFIX", str(tmp_path))
    monkeypatch.setenv("PACIFICA_ARCHIVE_POSIX_ADOPT_IDS", "true")
    monkeypatch.setenv(f"PACIFICA_ARCHIVE_SERVER_{name}", value)
    call = ByCall(make_application(os.environ))
    other.write_bytes(b"bytes of 50")
    answer = call("PATCH", "/5", json.dumps({"path": str(other)}).encode())

    assert (status, status == 500) == (answer.status, other.exists())


def test_nothing_is_opened_before_the_first_request() -> None:
    """A server may fork in between, and an archive is not for two processes."""
    make_application({"PACIFICA_ARCHIVE_TYPE": "not_installed"})


def test_an_archive_that_cannot_be_opened_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("pacifica_archive_posix")
    monkeypatch.setenv("PACIFICA_ARCHIVE_POSIX_PREFIX", str(tmp_path / "not mounted"))
    call = ByCall(make_app(ArchiveSpec(backend="posix", config=None)))
    first = call("HEAD", "/files/5").status
    (tmp_path / "not mounted").mkdir()

    assert (500, 404) == (first, call("HEAD", "/files/5").status)


def test_all_requests_share_one_archive(spec: ArchiveSpec) -> None:
    call = ByCall(make_app(spec))
    call("PUT", "/5", b"bytes")

    assert b"bytes" == call("GET", "/5").body


def test_the_health_of_the_server_needs_no_archive() -> None:
    call = ByCall(make_app(ArchiveSpec(backend="not_installed", config=None)))

    assert 200 == call("GET", "/").status


def test_a_forked_child_is_told_that_the_archive_is_not_its_own() -> None:
    with MemoryArchive() as archive:
        call = ByCall(make_app(archive))
        child = os.fork()
        if not child:
            # No exit handlers of pytest's in here.
            gc.disable()
            os._exit(call("HEAD", "/files/5").status == 500)
        _, status = os.waitpid(child, 0)

    assert 1 == os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
def test_a_broken_upload_stores_nothing_on_other_servers(
    request: pytest.FixtureRequest, name: str, file_id: int
) -> None:
    server: OtherServer = request.getfixturevalue(name)
    target = f"/{file_id}"
    head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
    with connect(server.address) as connection:
        connection.sendall(f"{head}abc".encode())
    wait_until(lambda: log_lines(server.log, target), "the upload did not end")

    assert [400] == [entry["status"] for entry in log_lines(server.log, target)]
    assert 404 == OverHttp(server.address)("GET", target).status


@pytest.mark.parametrize("name", ["granian", "gunicorn"])
def test_chunks_with_a_digest_are_stored(
    request: pytest.FixtureRequest, name: str, file_id: int
) -> None:
    data = b"bytes" * 100_000
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    ask = OverHttp(request.getfixturevalue(name).address)

    answer = ask(
        *("PUT", f"/{file_id}", data),
        {"Repr-Digest": f"sha-256=:{digest}:"},
        chunked=True,
    )

    assert 201 == answer.status
    assert data == ask("GET", f"/{file_id}").body


@pytest.mark.parametrize("name", ["granian", "gunicorn", "uwsgi"])
@pytest.mark.parametrize("refused", ["a length", "chunks"])
def test_a_refused_body_is_never_taken_for_a_request(
    request: pytest.FixtureRequest, name: str, refused: str, file_id: int
) -> None:
    address = request.getfixturevalue(name).address
    ask = OverHttp(address)
    ask("PUT", f"/{file_id}", b"bytes")
    evil = f"DELETE /{file_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    fields = {
        "a length": f"Expect: 100-continue\r\nContent-Length: {len(evil)}",
        "chunks": "Transfer-Encoding: chunked",
    }
    with connect(address) as connection:
        head = f"PUT /no-id HTTP/1.1\r\nHost: x\r\n{fields[refused]}\r\n\r\n"
        connection.sendall(head.encode() + evil)
        status = read_answer(connection).status

    assert 400 == status
    assert b"bytes" == ask("GET", f"/{file_id}").body


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
def test_files_that_other_servers_send_by_themselves_are_logged(
    request: pytest.FixtureRequest, name: str, file_id: int
) -> None:
    server: OtherServer = request.getfixturevalue(name)
    ask = OverHttp(server.address)
    ask("PUT", f"/{file_id}", b"bytes" * 100_000)
    ask("GET", f"/{file_id}")

    wait_until(
        lambda: len(log_lines(server.log, f"/{file_id}")) == 2, "no line of the GET"
    )
