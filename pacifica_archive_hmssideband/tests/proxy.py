"""What stands between a client and its server, and can be slow."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Self

__all__ = ["SlowProxy"]

_MOST = 1 << 16


class SlowProxy:
    """
    A TCP proxy on a free port of 127.0.0.1; fast until it is told otherwise.

    Attributes:
        delay_s: seconds that each piece of an answer waits before it is passed on.
        piece: bytes of a piece.
    """

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.piece = _MOST
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._acceptor = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # This wakes who waits in them, as close would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._clients.add(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        # Either end may have gone, in the middle of anything.
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(self._target) as server,
        ):
            while not self._ended.is_set():
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(_MOST)
                    if not data:
                        return
                    if source is client:
                        server.sendall(data)
                    else:
                        self._answer(client, data)

    def _answer(self, client: socket.socket, data: bytes) -> None:
        while data:
            if self.delay_s:
                self._ended.wait(self.delay_s)
            size = self.piece
            client.sendall(data[:size])
            data = data[size:]
