"""A proxy that counts what a client is sent, and what child processes do."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: No connection is silent for longer.
PATIENCE_S = 60


class Wire(socketserver.ThreadingTCPServer):
    """
    Passes connections on to a server.

    Attributes:
        came: bytes sent to clients so far, heads of answers too.
    """

    daemon_threads = True
    # Connections that clients keep end with the server behind.
    block_on_close = False

    def __init__(self, behind: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Pump)
        self.behind = behind
        self.came = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[int]]:
        """Put the bytes that came in the block into the list given."""
        before = self.came
        counted: list[int] = []
        yield counted
        counted.append(self.came - before)


class _Pump(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire = self.server
        assert isinstance(wire, Wire)
        client: socket.socket = self.request
        with socket.create_connection(wire.behind, PATIENCE_S) as server:
            for connection in (client, server):
                # Else short messages wait for 40 ms, as they would not without us.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = threading.Thread(target=_pass_on, args=(client, server), daemon=True)
            up.start()
            # Small pieces: what waits in a buffer here nobody was sent.
            with contextlib.suppress(OSError):
                while block := server.recv(1 << 14):
                    with wire.lock:
                        wire.came += len(block)
                    client.sendall(block)
            _end(client)
            _end(server)
            up.join(PATIENCE_S)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            sink.sendall(block)
    _end(sink)
    _end(source)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def sum_of_column(url: str, options: dict[str, Any], column: str) -> float:
    """Add up a column, in a process that has seen nothing of it yet."""
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore] # noqa: PLC0415 (the child only)

    frame = pd.read_parquet(url, columns=[column], storage_options=options)
    return float(frame[column].sum())


def bytes_of(fs: Any, path: str) -> bytes:  # noqa: ANN401 (of a library without types)
    """Read a file with a file system that came as a pickle."""
    content: bytes = fs.cat_file(path)
    return content


def rest_of(file: Any) -> bytes:  # noqa: ANN401 (as above)
    """Read on in a file that came as a pickle."""
    with file:
        content: bytes = file.read()
    return content
