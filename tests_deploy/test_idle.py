"""Connections that wait, as nginx in front keeps some, hold no thread."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from test_servers import uwsgi

if TYPE_CHECKING:
    from deployed import Machine

#: More than it has threads.
MANY = 100
#: Less than after what a server gives up one that waits.
LIMIT_S = 20.0


def test_connections_that_wait_hold_no_thread_of_uwsgi(machine: Machine) -> None:
    machine.new_token("read")
    answers = set()

    with uwsgi(machine) as url, contextlib.ExitStack() as connections:
        parts = urlsplit(url)
        for _ in range(MANY):
            connection = connections.enter_context(
                socket.create_connection((parts.hostname, parts.port), LIMIT_S)
            )
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: archive\r\n\r\n")
            answers.add(connection.recv(12))

    assert {b"HTTP/1.1 200"} == answers
