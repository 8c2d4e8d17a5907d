"""Heads of requests that are too long, or never end, and who else is served."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from asking import OverHttp, connect

if TYPE_CHECKING:
    from pacifica_archive_http.testing import LiveServer

FIRST = b"GET / HTTP/1.1\r\nHost: test\r\n"


def status_of(server: LiveServer, request: bytes) -> bytes:
    """Return the first words of what is answered."""
    with connect(server.address) as connection:
        # It is answered, and closed, before all of it is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        return connection.recv(12)


@pytest.mark.parametrize(
    "request_",
    [
        FIRST + b"X-Long: %s\r\n\r\n" % (b"x" * (1 << 20)),
        # Twice what is documented: it is read in steps.
        FIRST + b"X-Long: %s\r\n\r\n" % (b"x" * (1 << 18)),
        FIRST + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        # Shorter than what is allowed, and more than a hundred.
        FIRST + b"".join(b"X-%d: y\r\n" % number for number in range(101)) + b"\r\n",
        b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"5" * (1 << 20)),
    ],
    ids=["long field", "256 KiB", "10000 fields", "101 fields", "long address"],
)
def test_a_head_that_is_too_long_is_refused(
    granian: LiveServer, request_: bytes
) -> None:
    assert b"HTTP/1.1 431" == status_of(granian, request_)


@pytest.mark.parametrize("field", [b"No colon", b"Bl ank: x", b": x", b"X: \x00"])
def test_a_head_that_is_none_is_refused(granian: LiveServer, field: bytes) -> None:
    assert b"HTTP/1.1 400" == status_of(granian, FIRST + field + b"\r\n\r\n")


def test_a_token_of_8_kib_is_taken(granian: LiveServer) -> None:
    """As JSON Web Tokens of grids are, with many groups in them."""
    field = b"Authorization: Bearer %s\r\n\r\n" % (b"x" * 8192)

    assert b"HTTP/1.1 200" == status_of(granian, FIRST + field)


@pytest.mark.parametrize("said", [b"", FIRST, b"PUT /5 HTTP/1.1\r\nHost: x\r\nX: "])
def test_connections_that_do_not_go_on_stop_nobody(
    granian: LiveServer, said: bytes
) -> None:
    with contextlib.ExitStack() as idle:
        for _ in range(300):
            connection = socket.create_connection(granian.address, timeout=60)
            idle.enter_context(connection).sendall(said)

        assert 200 == OverHttp(granian.address)("GET", "/").status
