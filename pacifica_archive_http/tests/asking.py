"""Ways to ask a server: by calling the application, and over a connection."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from wsgiref.types import WSGIApplication

BACKENDS = metadata.entry_points(group="pacifica_archive.backends").names

needs_posix = pytest.mark.skipif(
    "posix" not in BACKENDS, reason="the backend posix is not installed"
)

#: No test waits longer for anything.
PATIENCE_S = 20


@attrs.frozen(kw_only=True)
class Answer:
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 (whatever it is)
        return json.loads(self.body)


class Ask(Protocol):
    """Sends a request and returns the answer."""

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        """Send ``body`` with its length, or without one if ``chunked``."""


@attrs.define
class ByCall:
    """Calls a WSGI application as a server would that dechunks bodies."""

    app: WSGIApplication
    more: dict[str, Any] = attrs.field(factory=dict)

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        return self.send(environment(method, target, body, headers, chunked=chunked))

    def send(self, env: dict[str, Any]) -> Answer:
        status, fields, parts = self.begin(env)
        try:
            content = b"".join(parts)
        finally:
            close(parts)
        return Answer(status=status, headers=fields, body=content)

    def begin(self, env: dict[str, Any]) -> tuple[int, dict[str, str], Iterable[bytes]]:
        """Return status, headers and the body, still to be read and closed."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str,
            headers: list[tuple[str, str]],
            _exc_info: object = None,
            /,
        ) -> Callable[[bytes], object]:
            started.append((status, headers))
            return io.BytesIO().write

        parts = self.app({**env, **self.more}, start_response)
        ((status, headers),) = started
        names = [name.lower() for name, _ in headers]
        assert len(set(names)) == len(names), "a header is there twice"
        return (
            int(status[:3]),
            dict(zip(names, dict(headers).values(), strict=True)),
            parts,
        )


def close(parts: Iterable[bytes]) -> None:
    """Close a body as WSGI demands."""
    if hasattr(parts, "close"):
        parts.close()


def environment(
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> dict[str, Any]:
    """Make the environment of a request, as granian makes it."""
    path, _, query = target.partition("?")
    env: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body or b""),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
    }
    if chunked:
        env["HTTP_TRANSFER_ENCODING"] = "chunked"
    elif body is not None:
        env["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        bare = key in {"CONTENT_LENGTH", "CONTENT_TYPE"}
        env[key if bare else f"HTTP_{key}"] = value
    return env


@attrs.frozen(kw_only=True)
class OtherServer:
    """A server that is not granian: where it listens, and its access log."""

    address: tuple[str, int]
    log: Path


@attrs.frozen
class OverHttp:
    """Sends each request over a connection of its own."""

    address: tuple[str, int]

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE_S)
        try:
            connection.request(
                method,
                target,
                iter([body or b""]) if chunked else body,
                dict(headers or {}),
                encode_chunked=chunked,
            )
            answer = connection.getresponse()
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.getheaders()},
                body=answer.read(),
            )
        finally:
            connection.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that the server does in its own time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def log_lines(path: Path, target: str) -> list[dict[str, Any]]:
    """Return what an access log says of one address, whole lines only."""
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    entries = [json.loads(line) for line in whole.splitlines()]
    return [entry for entry in entries if entry.get("path") == target]


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection whose operations end in time."""
    return socket.create_connection(address, timeout=PATIENCE_S)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection, or resets it."""
    blocks = []
    try:
        while block := connection.recv(1 << 16):
            blocks.append(block)
    except ConnectionResetError:
        pass  # As good an end as any: what came before it counts.
    return b"".join(blocks)


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer and leave the connection open."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    try:
        return Answer(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
    finally:
        answer.close()
