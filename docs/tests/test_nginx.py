"""The configuration of nginx that the documentation gives, with a server behind it."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

import generate
import pytest

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
    from pathlib import Path

# Debian keeps it where only root's PATH looks.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
_LIMIT_S = 30

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def adapt(text: str, *, port: int, server: str, folder: Path) -> str:
    """Put in what is this test's own; without TLS, and with less patience."""
    for pattern, own in (
        (r"^ +ssl_.*\n", ""),
        (r"listen 443 ssl", f"listen 127.0.0.1:{port}"),
        (r"server 127\.0\.0\.1:8080", f"server {server}"),
        (r"/srv/nginx-incoming", f"{folder}/incoming"),
        (r"client_body_timeout 30s", "client_body_timeout 1s"),
    ):
        text, count = re.subn(pattern, own, text, flags=re.MULTILINE)
        assert count
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("fastcgi", "proxy", "scgi", "uwsgi")
    )
    return (
        f"pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        "daemon off; events {}\n"
        f"http {{ access_log off; {temporary}\n{text} }}\n"
    )


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Run the server and nginx before it; give nginx's port."""
    port = free_port()
    assert NGINX is not None
    # Its worker is of another user, who has to reach the bodies it has written.
    tmp_path.chmod(0o755)
    with running_server("-t", "memory") as server:
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(
            adapt(
                (generate.DOCS / "nginx.conf").read_text(),
                port=port,
                server=server.url.removeprefix("http://"),
                folder=tmp_path,
            )
        )
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        nginx = subprocess.Popen(
            [NGINX, "-e", str(tmp_path / "error.log"), "-c", str(configuration), *user]
        )
        try:
            await_listener(nginx, port)
            yield port
        finally:
            nginx.terminate()
            nginx.wait(_LIMIT_S)


def await_listener(nginx: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline and nginx.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            continue
        return
    raise AssertionError("nginx does not listen")


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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
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
    with socket.create_connection(("127.0.0.1", port), timeout=_LIMIT_S) as client:
        head = (
            "PUT /1 HTTP/1.1\r\nHost: archive.example.org\r\nContent-Length: 9\r\n\r\n"
        )
        client.sendall(head.encode() + b"only")
        answer = b""
        while block := client.recv(4096):
            answer += block

    # Nothing, or 408: whatever comes, the connection ends.
    assert answer[:12] in {b"", b"HTTP/1.1 408"}
