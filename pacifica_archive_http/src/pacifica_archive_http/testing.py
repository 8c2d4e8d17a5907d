"""A server as its users run it, for tests, examples and measurements."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LiveServer", "running_server"]


@attrs.frozen(kw_only=True)
class LiveServer:
    """
    A running server.

    Attributes:
        url: where it listens, without a slash at the end.
        process: the main process; its workers are its children.
    """

    url: str
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a socket."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 (one call)
            return [int(child) for child in file.read().split()]


@contextlib.contextmanager
def running_server(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    log: IO[bytes] | int | None = None,
    timeout_s: float = 30,
) -> Iterator[LiveServer]:
    """
    Run ``pacifica-archive serve`` on a free port of 127.0.0.1 for a with-block.

    Args:
        arguments: of ``serve``, as ``-t memory``.
        env: added to the environment.
        log: a file for the server's log; stderr by default.
        timeout_s: time for it to begin to listen, and to end afterwards.

    Raises:
        TimeoutError: it did not begin to listen.
        RuntimeError: it ended instead.
    """
    command = [sys.executable, "-m", "pacifica_archive_core", "serve", "-p", "0"]
    process = subprocess.Popen(  # noqa: S603 (our own command)
        [*command, *arguments],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        yield LiveServer(url=_read_url(process, timeout_s), process=process)
    finally:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _read_url(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    said = b""
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if not select.select([process.stdout], [], [], max(left, 0))[0]:
            raise TimeoutError(f"no server within {timeout_s} s")
        block = os.read(process.stdout.fileno(), 4096)
        if not block:
            raise RuntimeError(f"the server ended with {process.wait()}")
        said += block
    return said.decode().split()[-1]
