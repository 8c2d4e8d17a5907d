"""Servers that are no database, for who expects one."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from typing import TYPE_CHECKING, Self

from sqlalchemy import URL

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Listener", "Manner", "refusing_url"]

_LIMIT_S = 10.0


class Manner(enum.Enum):
    """What a listener does with who connects."""

    #: It says nothing.
    SILENT = "silent"
    #: It hangs up.
    CLOSING = "closing"
    #: It speaks another protocol.
    CHATTING = "chatting"
    #: It sends a byte of its greeting now and then.
    DRIPPING = "dripping"
    #: It takes no connection, nor refuses one: what a firewall does.
    DEAF = "deaf"


class Listener:
    """A port of our own on 127.0.0.1; counts who connects."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._held = contextlib.ExitStack()
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._socket = self._held.enter_context(socket.socket())
        self._socket.bind(("127.0.0.1", 0))
        # Linux keeps one connection more than asked to, and is silent to the next.
        self._socket.listen(0 if manner is Manner.DEAF else 100)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        if self._manner is Manner.DEAF:
            filler = self._held.enter_context(socket.socket())
            filler.connect(self._socket.getsockname())
        else:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            # Wakes accept(2), which a close does not.
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(_LIMIT_S)
        for connection in self._connections:
            connection.close()
        self._held.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                # It is over.
                return
            with self._lock:
                self._connections.append(connection)
            with contextlib.suppress(OSError):
                if self._manner is Manner.CHATTING:
                    connection.sendall(b"220 mail.example.org ESMTP\r\n" * 100)
                if self._manner is Manner.CLOSING:
                    connection.close()
                if self._manner is Manner.DRIPPING:
                    self._drip(connection)

    def _drip(self, connection: socket.socket) -> None:
        # A packet of 80 bytes, the first, of protocol 10.
        for byte in [80, 0, 0, 0, 10] + [32] * 79:
            connection.sendall(bytes([byte]))
            if self._ended.wait(0.1):
                return

    @property
    def url(self) -> URL:
        """Where somebody might think that a database is."""
        return _url(self._socket.getsockname()[1])

    @property
    def count(self) -> int:
        """How many have connected."""
        with self._lock:
            return len(self._connections)


def refusing_url() -> URL:
    """Return where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return _url(taken.getsockname()[1])


def _url(port: int) -> URL:
    return URL.create(
        "mysql+pymysql",
        username="reader",
        host="127.0.0.1",
        port=port,
        database="samfs1",
    )
