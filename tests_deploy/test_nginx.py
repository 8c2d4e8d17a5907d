"""The configuration of nginx, with a server behind it."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest
from deployed import LIMIT_S, NGINX, running_nginx

from pacifica_archive_core import (
    Archive,
    CommitUnclear,
    FileExists,
    FileStatus,
    NoSuchFile,
    open_archive,
)
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployed import Machine

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")


def adapt(text: str) -> str:
    """Leave TLS out, which test_servers.py tries, and have less patience."""
    for pattern, own in (
        (r"^ +ssl_.*\n", ""),
        (r"(listen .*) ssl;", r"\1;"),
        (r"client_body_timeout 30s", "client_body_timeout 1s"),
    ):
        text, count = re.subn(pattern, own, text, flags=re.MULTILINE)
        assert count
    return text


@pytest.fixture
def port(machine: Machine) -> Iterator[int]:
    """Run the server and nginx before it; give nginx's port."""
    with (
        running_server("-t", "memory") as server,
        running_nginx(machine, server.address[1], adapt) as port,
    ):
        yield port


def test_files_pass_through_nginx(port: int) -> None:
    address = f"http://127.0.0.1:{port}/12345"
    data = os.urandom(3_000_000)
    request = urllib.request.Request(address, data=data, method="PUT")
    with urllib.request.urlopen(request) as answer:  # noqa: S310 (of this test)
        stored = answer.status
    with urllib.request.urlopen(address) as answer:
        fetched = answer.read()

    assert (201, data) == (stored, fetched)


def test_head_of_the_wire_passes_through_nginx(port: int) -> None:
    """A 204 with the length of the file, on a connection that goes on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    found = []
    for method in ("PUT", "HEAD", "HEAD", "GET"):
        connection.request(method, "/5", b"bytes" if method == "PUT" else None)
        answer = connection.getresponse()
        body = answer.read()
        if method == "HEAD":
            names = ("Content-Length", "X-Content-Length", "X-Pacifica-Messsage")
            found.append((answer.status, *map(answer.headers.get, names)))
    connection.close()

    assert [(204, "5", "5", "File was found")] * 2 == found
    assert b"bytes" == body


@pytest.fixture
def archive(port: int) -> Iterator[Archive]:
    """Open the archive that is behind nginx."""
    with open_archive("http", prefix=f"http://127.0.0.1:{port}") as archive:
        yield archive


def store(archive: Archive, file_id: int, data: bytes) -> None:
    with archive.create(file_id, size=len(data), mtime_ns=1) as writer:
        writer.write(data)


@pytest.mark.parametrize("size", [0, 5, 30_000_000])
def test_a_remote_archive_is_exact_through_nginx(archive: Archive, size: int) -> None:
    """Its statuses and digests too, by which it knows what it reads."""
    data = os.urandom(size)
    store(archive, 5, data)
    with archive.open(5) as reader:
        found = (reader.readall(), reader.status.mtime_ns, reader.digests())

    assert (data, 1, {"sha-256": hashlib.sha256(data).digest()}) == found


def test_a_refusal_of_few_bytes_comes_through_nginx_as_it_is(archive: Archive) -> None:
    store(archive, 5, b"old")

    with pytest.raises(FileExists):
        store(archive, 5, bytes(1_000_000))


def test_a_refusal_of_many_bytes_leaves_the_old_file_behind_nginx(
    archive: Archive,
) -> None:
    """The server does not take them all, which nginx may answer with a 502."""
    store(archive, 5, b"old")
    with pytest.raises((FileExists, CommitUnclear)):
        store(archive, 5, bytes(3_000_000))
    with archive.open(5) as reader:
        found = reader.readall()

    assert found == b"old"


def test_statuses_of_many_come_through_nginx(archive: Archive) -> None:
    store(archive, 5, b"old")
    found = [type(answer) for _, answer in archive.status_many([5, 6] * 1000)]

    assert [FileStatus, NoSuchFile] * 1000 == found


def test_body_that_does_not_come_is_given_up(port: int) -> None:
    """What the server behind it cannot bound."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        head = (
            "PUT /1 HTTP/1.1\r\nHost: archive.example.org\r\nContent-Length: 9\r\n\r\n"
        )
        client.sendall(head.encode() + b"only")
        answer = b""
        while block := client.recv(4096):
            answer += block

    # Nothing, or 408: whatever comes, the connection ends.
    assert answer[:12] in {b"", b"HTTP/1.1 408"}
