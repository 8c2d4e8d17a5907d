"""Servers of either release, started for a test, and what they answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Server", "serve_new", "serve_old"]

_HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 30.0
_ANSWER_S = 30.0


@attrs.frozen(kw_only=True)
class Answer:
    """What came back: header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Server:
    """A server that listens on a port of this host."""

    port: int

    def ask(
        self,
        method: str,
        file_id: int | str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own and read all of the answer."""
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=_ANSWER_S)
        with contextlib.closing(connection):
            connection.request(method, f"/{file_id}", body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )

    def put(self, file_id: int | str, body: bytes) -> None:
        """Store a file, which must succeed."""
        answer = self.ask("PUT", file_id, body)
        if answer.status != http.client.CREATED:
            raise RuntimeError(f"PUT {file_id}: {answer}")

    def patch(self, file_id: int, path: Path) -> Answer:
        """Move the file at ``path`` into the archive."""
        return self.ask(
            "PATCH",
            file_id,
            json.dumps({"path": os.fspath(path)}).encode(),
            headers={"Content-Type": "application/json"},
        )


@contextlib.contextmanager
def serve_old(
    release: Path, prefix: Path, work: Path, *, use_id2filename: bool
) -> Iterator[Server]:
    """
    Run the server of release 0.4.2 as a site does, by its own command.

    One thread: with more its answers mix the bytes of several files.

    Args:
        release: the ``bin`` directory of an environment that holds it.
        prefix: its archive.
        work: for its configuration and log.
        use_id2filename: its one option.
    """
    config = work / "config.ini"
    config.write_text(f"[posix]\nuse_id2filename = {str(use_id2filename).lower()}\n")
    cherrypy = work / "cpconfig.ini"
    cherrypy.write_text(
        "[global]\n"
        "engine.autoreload.on = False\n"
        "server.thread_pool = 1\n"
        "server.max_request_body_size = 0\n"
        "[/]\n"
        "request.dispatch = cherrypy.dispatch.MethodDispatcher()\n"
    )
    port = _free_port()
    command = (
        *(str(release / "pacifica-archiveinterface"), "-t", "posix"),
        *("--prefix", str(prefix), "--cherrypy-config", str(cherrypy)),
        *("-a", _HOST, "-p", str(port)),
    )
    # Its --config is ignored; the variable is not.
    settings = {"ARCHIVEINTERFACE_CONFIG": str(config)}
    with _running(command, settings, work / "old.log", port) as server:
        yield server


@contextlib.contextmanager
def serve_new(prefix: Path, work: Path, *, use_id2filename: bool) -> Iterator[Server]:
    """Run `pacifica-archive serve` over a tree."""
    port = _free_port()
    command = (
        *(str(Path(sys.executable).parent / "pacifica-archive"), "serve"),
        *("-t", "posix", "--prefix", str(prefix), "-a", _HOST, "-p", str(port)),
        *("-o", f"use_id2filename={str(use_id2filename).lower()}", "--workers", "1"),
    )
    with _running(command, {}, work / "new.log", port) as server:
        yield server


@contextlib.contextmanager
def _running(
    command: tuple[str, ...], settings: Mapping[str, str], log: Path, port: int
) -> Iterator[Server]:
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **settings},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _wait_for(process, port, log)
            yield Server(port)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Connect until the server accepts."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection((_HOST, port), timeout=1).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise RuntimeError(f"no server on port {port}: {log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
