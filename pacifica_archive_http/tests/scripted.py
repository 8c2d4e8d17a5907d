"""A server that answers as a test wants it to, and remembers what it was asked."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING, Self

import attrs

from pacifica_archive_core import FileStatus, Media, Residency, StorageLevel
from pacifica_archive_core.records import record_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

VERSION = "v1"


@attrs.frozen(kw_only=True)
class Asked:
    """One request; the body is what came of it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class Reply:
    """An answer; with ``cut`` the connection ends behind it, whatever it says."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    cut: bool = False


def problem(name: str, status: int = 500, detail: str = "why") -> Reply:
    """Answer as our server does."""
    kind = f"urn:pacifica-archive:{name}"
    return Reply(
        status=status,
        headers={"X-Pacifica-Problem": name},
        body=json.dumps({"type": kind, "detail": detail}).encode(),
    )


def stored(size: int) -> Reply:
    """Answer a PUT."""
    return Reply(status=201, body=json.dumps({"total_bytes": str(size)}).encode())


def status_of(file_id: int, size: int) -> FileStatus:
    """Make the status of a file."""
    return FileStatus(
        file_id=file_id,
        path=f"/{file_id}",
        size=size,
        mtime_ns=1,
        ctime_ns=2,
        version=VERSION,
        levels=(StorageLevel(Media.DISK, size),),
        residency=Residency.DISK,
        residency_source="test",
    )


def part_of(data: bytes, asked: Asked) -> Reply:
    """Answer a GET of file 5 with the range that it asks for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
    assert match, "every GET asks for a range"
    first, last = int(match[1]), min(int(match[2]), len(data) - 1)
    return Reply(
        status=206,
        headers={
            "ETag": f'"{VERSION}"',
            "Content-Range": f"bytes {first}-{last}/{len(data)}",
            "X-Pacifica-Status": json.dumps(record_of(5, status_of(5, len(data)))),
        },
        body=data[first : last + 1],
    )


def content(size: int) -> bytes:
    """Make bytes that tell their places apart."""
    return hashlib.shake_128(b"scripted").digest(size)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Pass over clients that went away: some tests are about them."""


def _handler(
    outer: Scripted, answer: Callable[[Asked], Reply | None], *, early: bool
) -> type[http.server.BaseHTTPRequestHandler]:
    """Make the class whose objects are connections."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            outer.clients.add(self.client_address)
            length = 0 if early else int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            outer.asked.append(
                Asked(
                    method=self.command,
                    target=self.path,
                    headers=dict(self.headers.items()),
                    body=body,
                )
            )
            if len(body) < length:
                outer.ended.set()
            reply = answer(outer.asked[-1])
            self.close_connection |= early or reply is None or reply.cut
            if reply is not None:
                self.send_response(reply.status)
                headers = {"Content-Length": str(len(reply.body)), **reply.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

        def __getattr__(self, name: str) -> Callable[[], None]:
            # What http.server calls do_GET, do_PUT, ...
            if name.startswith("do_"):
                return self.serve
            raise AttributeError(name)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler


class Scripted:
    """
    The server; listens in a with-block, on a port of its own.

    Args:
        answer: makes the answer to each request; None ends the connection.
        early: answer before the body is read, and then end the connection.
        tls: speak it.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Reply | None],
        *,
        early: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self.clients: set[tuple[str, int]] = set()
        self._server = Server(("127.0.0.1", 0), _handler(self, answer, early=early))
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ranges(self) -> list[str]:
        """The ranges that were asked for."""
        return [
            asked.headers["Range"].removeprefix("bytes=")
            for asked in self.asked
            if "Range" in asked.headers
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
