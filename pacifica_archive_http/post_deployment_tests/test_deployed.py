"""
Tests of a server that is deployed, over HTTP alone; they clean up after themselves.

``ARCHIVE_URL=http://archive:8080 pytest post_deployment_tests/``

They store files under ids that nobody has (a file is never replaced), in this order:
put, stage, status, get, move, delete, a large file, many files. Variables:

``ARCHIVE_URL``
    The server's address; needed. The certificate of https is to be one that this
    machine trusts; ``SSL_CERT_FILE`` names another file of those.
``ARCHIVE_TOKEN_FILE``
    File of a token with all scopes, if the server asks for tokens. Then the tests see,
    too, that it refuses whoever has none.
``ARCHIVE_MOVE_SOURCE``
    Path, on the archive, of a file that the server may take in; it is then gone.
    Without it, what is tried is that the server keeps a stored file where it is.
``LARGE_FILE_SIZE``
    Bytes of the large file; 64 MiB by default.
``MANY_FILES_TEST_COUNT``
    Files of the test with many; 100 by default.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LARGE = int(os.environ.get("LARGE_FILE_SIZE", str(64 << 20)))
MANY = int(os.environ.get("MANY_FILES_TEST_COUNT", "100"))
SOURCE = os.environ.get("ARCHIVE_MOVE_SOURCE")
TOKEN_FILE = os.environ.get("ARCHIVE_TOKEN_FILE")

BLOCK = random.Random(1).randbytes(1 << 20)  # noqa: S311 (content, no secret)
CONTENT = BLOCK[:100_000]
MODIFIED = 1_473_806_059
AT_ONCE = 8
# A tape or a busy server may take its time for an answer.
TIMEOUT_S = 300
#: Seconds at most before it is asked again.
PATIENCE_S = 10


class Reply:
    """An answer: its status, its headers and its whole body or what was made of it."""

    def __init__(self, answer: http.client.HTTPResponse, body: bytes) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = body

    @property
    def json(self) -> Any:  # noqa: ANN401 (whatever it is)
        return json.loads(self.body)


class Server:
    """The deployed server, and the ids that were stored in it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            pytest.exit(f"ARCHIVE_URL is no address: {url!r}", returncode=4)
        self._secure = parts.scheme == "https"
        self._host = (parts.hostname, parts.port)
        self._path = parts.path.rstrip("/")
        self.authorization = (
            {"Authorization": f"Bearer {Path(TOKEN_FILE).read_text().strip()}"}
            if TOKEN_FILE
            else {}
        )
        self._lock = threading.Lock()
        # Far above the ids of any site, and others for each run.
        self._next = random.SystemRandom().randrange(2**61, 2**62) // 10**6 * 10**6
        self.used: list[int] = []

    def new_id(self) -> int:
        """Return an id that has no file, to be cleaned up."""
        with self._lock:
            self._next += 1
            self.used.append(self._next)
            return self._next

    def connect(self) -> http.client.HTTPConnection:
        kind = (
            http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        )
        return kind(*self._host, timeout=TIMEOUT_S)

    def target(self, file_id: int | str) -> str:
        return f"{self._path}/{file_id}"

    def ask(
        self,
        method: str,
        file_id: int | str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        return self.ask_as_nobody(
            method, file_id, body, {**self.authorization, **(headers or {})}
        )

    def ask_as_nobody(
        self,
        method: str,
        file_id: int | str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask without the token."""
        connection = self.connect()
        try:
            connection.request(method, self.target(file_id), body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer, answer.read())
        finally:
            connection.close()

    def put(self, file_id: int, body: bytes, **headers: str) -> Reply:
        """Store a file, and never replace one."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("PUT", file_id, body, {"If-None-Match": "*", **fields})


def until_there_is_room(ask: Callable[[], Reply]) -> Reply:
    """Ask again for as long as too many transfers run, as the answer says."""
    deadline = time.monotonic() + TIMEOUT_S
    while (reply := ask()).status in {429, 503}:
        if time.monotonic() > deadline:
            break
        time.sleep(min(float(reply.headers["Retry-After"]), PATIENCE_S))
    return reply


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not (url := os.environ.get("ARCHIVE_URL")):
        pytest.exit("ARCHIVE_URL is to be the address of the server", returncode=4)
    found = Server(url)
    yield found
    left = {found.ask("DELETE", file_id).status for file_id in found.used} - {200, 404}

    assert not left, f"some files could not be deleted: {left}"


@pytest.fixture(scope="session")
def file_id(server: Server) -> int:
    """Return the id of the file that goes through the first tests, in their order."""
    return server.new_id()


def test_the_server_is_up(server: Server) -> None:
    assert (
        "Pacifica Archive Interface Up and Running"
        == server.ask("GET", "").json["message"]
    )


def test_the_server_lives(server: Server) -> None:
    reply = server.ask("GET", "healthz")

    assert (200, {"status": "ok"}) == (reply.status, reply.json)


def test_the_server_is_ready(server: Server) -> None:
    reply = server.ask("GET", "readyz")

    assert (200, {"status": "ready"}) == (reply.status, reply.json)


def test_the_server_tells_its_numbers(server: Server) -> None:
    reply = server.ask("GET", "metrics")

    assert 200 == reply.status
    assert b"\npacifica_archive_build_info{" in reply.body


def test_the_server_describes_itself(server: Server) -> None:
    assert "3.1" == server.ask("GET", "openapi.json").json["openapi"][:3]


@pytest.mark.skipif(not TOKEN_FILE, reason="no ARCHIVE_TOKEN_FILE")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
def test_nobody_is_served_without_a_token(
    server: Server, file_id: int, method: str
) -> None:
    reply = server.ask_as_nobody(method, file_id, b"{}" if method == "PUT" else None)

    assert (401, "Bearer") == (reply.status, reply.headers["WWW-Authenticate"][:6])


def test_an_id_that_nobody_has_is_missing(server: Server, file_id: int) -> None:
    assert 404 == server.ask("GET", file_id).status


def test_put(server: Server, file_id: int) -> None:
    reply = server.put(
        file_id, CONTENT, Last_Modified=formatdate(MODIFIED, usegmt=True)
    )

    assert (201, len(CONTENT)) == (reply.status, int(reply.json["total_bytes"]))


def test_put_that_may_only_create_is_refused(server: Server, file_id: int) -> None:
    assert 412 == server.put(file_id, b"other").status


def test_stage(server: Server, file_id: int) -> None:
    reply = server.ask("POST", file_id)

    assert reply.status in {200, 202}
    assert f"/{file_id}" == reply.json["file"]


def test_status(server: Server, file_id: int) -> None:
    reply = server.ask("HEAD", file_id)

    assert 204 == reply.status
    assert (str(len(CONTENT)), MODIFIED) == (
        reply.headers["X-Content-Length"],
        int(float(reply.headers["Last-Modified"])),
    )
    assert reply.headers["X-Pacifica-File-Storage-Media"] in {"disk", "tape"}


def test_status_of_the_standard_address(server: Server, file_id: int) -> None:
    reply = server.ask("HEAD", f"files/{file_id}")

    assert (200, str(len(CONTENT)), formatdate(MODIFIED, usegmt=True)) == (
        reply.status,
        reply.headers["Content-Length"],
        reply.headers["Last-Modified"],
    )


def test_get(server: Server, file_id: int) -> None:
    wait_until_on_disk(server, file_id)

    reply = server.ask("GET", file_id)

    assert (200, True) == (reply.status, reply.body == CONTENT)


def test_get_of_a_part(server: Server, file_id: int) -> None:
    wait_until_on_disk(server, file_id)

    reply = server.ask("GET", file_id, headers={"Range": "bytes=1000-1999"})

    assert (206, CONTENT[1000:2000]) == (reply.status, reply.body)


def test_move(server: Server, file_id: int) -> None:
    target = server.new_id()
    source = SOURCE or server.ask("HEAD", file_id).headers["X-Pacifica-File"]

    reply = server.ask("PATCH", target, json.dumps({"path": source}).encode())

    if SOURCE:
        assert (200, "File Moved Successfully") == (
            reply.status,
            reply.json["message"],
        )
        assert 204 == server.ask("HEAD", target).status
    else:
        # Refused, unless the site lets files of ids be moved; or no path at all, or
        # not offered by the backend.
        assert reply.status in {200, 400, 403, 501}
        where = target if reply.status == 200 else file_id
        wait_until_on_disk(server, where)
        assert CONTENT == server.ask("GET", where).body


def test_delete(server: Server) -> None:
    victim = server.new_id()
    server.put(victim, CONTENT)

    assert 200 == server.ask("DELETE", victim).status
    assert 404 == server.ask("HEAD", victim).status


def test_a_large_file(server: Server) -> None:
    large = server.new_id()
    connection = server.connect()
    connection.request(
        "PUT",
        server.target(large),
        blocks(LARGE),
        {**server.authorization, "Content-Length": str(LARGE), "If-None-Match": "*"},
    )
    stored = connection.getresponse()
    stored.read()
    connection.close()
    wait_until_on_disk(server, large)

    connection = server.connect()
    connection.request("GET", server.target(large), headers=server.authorization)
    answer = connection.getresponse()
    came = hashlib.sha256()
    while block := answer.read(1 << 20):
        came.update(block)
    connection.close()

    wanted = hashlib.sha256()
    for block in blocks(LARGE):
        wanted.update(block)
    assert (201, 200, wanted.digest()) == (
        stored.status,
        answer.status,
        came.digest(),
    )


def test_many_files(server: Server) -> None:
    ids = [server.new_id() for _ in range(MANY)]
    contents = {number: f"{number}\n".encode() * 500 for number in ids}

    def put(key: int) -> int:
        return until_there_is_room(lambda: server.put(key, contents[key])).status

    def get(key: int) -> bytes:
        return until_there_is_room(lambda: server.ask("GET", key)).body

    # A server may have fewer places than that.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        stored = list(pool.map(put, ids))
        for number in ids:
            wait_until_on_disk(server, number)
        came = dict(zip(ids, pool.map(get, ids), strict=True))

    assert [201] * MANY == stored
    assert contents == came


def blocks(size: int) -> Iterator[bytes]:
    """Yield the content of the large file."""
    for start in range(0, size, len(BLOCK)):
        yield BLOCK[: size - start]


def wait_until_on_disk(server: Server, file_id: int) -> None:
    """Have a file staged that has gone to tape already."""
    deadline = time.monotonic() + TIMEOUT_S
    while server.ask("POST", file_id).status == 202:
        assert time.monotonic() < deadline, "the file does not come back from tape"
        time.sleep(1)
