"""
One JSON line for every request, and the request's id on its way in and out.

The line is written when the answer is complete, so the one of a long download
comes at its end. Errors that an operator must see go to this package's logger,
with the same id.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import queue
import random
import re
import threading
import time
import traceback
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Literal

from pacifica_archive_http.status_table import CLIENT_GONE, Problem, find_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from pacifica_archive_http.access import Identity
    from pacifica_archive_http.metrics import Metrics

__all__ = ["EXCHANGE", "AccessLog", "Exchange", "JsonLines", "LineBuffer", "open_log"]

_log = logging.getLogger("pacifica_archive_http")

#: Where the environment of a request keeps its Exchange.
EXCHANGE = "pacifica_archive_http.exchange"

#: What an id from outside may be: it goes into logs and a header.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")

#: Not sys.stderr: what mod_wsgi puts there has no descriptor.
_STDERR = 2
#: Bytes that a pipe takes whole, so that the lines of workers never mix in it.
_PIPE_BUF = 4096
#: These keep a line below that, with each character as an escape of six, or of twelve
#: where it is not ASCII. No address that is one of ours is as long.
_MAX_PATH = 256
#: A subject has 255 characters of ASCII at most (OpenID Connect Core 1.0 section 8).
_MAX_NAME = 255
#: Bytes of an issuer, as they are written: what the others leave of a line.
_ISSUER_ROOM = 256


class Exchange:
    """
    One request and its answer, as the access log and the metrics tell them.

    Attributes:
        request_id: the client's if it sent a good one, else our own.
        file_id: of the file it is about, once known; of a list, the one that
            was refused.
        ids: how many a list has, once it is read; None: it is about no list.
        received: bytes read of an upload; None if it is none. An upload is
            logged with them, all else with the bytes of the answer.
        residency_source: how it is known where the file is, once its status is.
        who: whose token it has, once that is known; None: nobody's.
        error: name of the problem it ended in.
        metrics: count it, and what the backend does for it.
    """

    __slots__ = (
        "_began",
        "_env",
        "_moving",
        "_streams",
        "_write",
        "error",
        "file_id",
        "ids",
        "metrics",
        "received",
        "request_id",
        "residency_source",
        "status",
        "who",
    )

    def __init__(
        self,
        env: WSGIEnvironment,
        write: Callable[[bytes], None] | None,
        metrics: Metrics,
    ) -> None:
        self._began = time.perf_counter()
        self._env = env
        self._write = write
        self.metrics = metrics
        self._moving: Literal["upload", "download"] | None = None
        self._streams = False
        given = env.get("HTTP_X_REQUEST_ID")
        self.request_id: str = (
            given
            if given is not None and _REQUEST_ID.fullmatch(given)
            # No secret; os.urandom would have all threads take turns once more.
            else f"{random.getrandbits(96):024x}"
        )
        self.status = "500"
        self.file_id: int | None = None
        self.ids: int | None = None
        self.received: int | None = None
        self.residency_source: str | None = None
        self.error: str | None = None
        self.who: Identity | None = None

    def stream(self) -> None:
        """Say that the answer's body will call ``finish`` when it is closed."""
        self._streams = True
        self.move("download")

    def move(self, direction: Literal["upload", "download"]) -> None:
        """Count this as a transfer in flight until it is finished."""
        self._moving = direction
        self.metrics.moving(direction, 1)

    def fail(self, exc: Exception) -> Problem:
        """Note an error, tell the operator what he must know, return its row."""
        problem = find_problem(type(exc))
        self.error = problem.name
        if problem.logged:
            _log.error(
                "%s %s: %s",
                self._env["REQUEST_METHOD"],
                problem.name,
                exc,
                exc_info=exc,
                extra={"request_id": self.request_id},
            )
        return problem

    def answered(self, body: Iterable[bytes]) -> None:
        """Write the line, unless the body is still to be sent."""
        if not self._streams:
            self.finish(sum(map(len, body)) if isinstance(body, list) else None)

    def finish(
        self, sent: int | None, *, complete: bool = True, size: int | None = None
    ) -> None:
        """
        Count the request, and write the line.

        Args:
            sent: bytes of the body handed to the server; None: not known.
            complete: all were; else the client went away, if nothing failed.
            size: bytes to count where it is not known how many were sent.
        """
        seconds = time.perf_counter() - self._began
        env = self._env
        error = self.error or (None if complete else CLIENT_GONE)
        if self._moving:
            self.metrics.moving(self._moving, -1)
        self.metrics.finish(
            verb=env["REQUEST_METHOD"],
            path=env.get("PATH_INFO", ""),
            status=self.status,
            problem=error,
            seconds=seconds,
            received=self.received,
            sent=size if sent is None else sent,
        )
        if self._write is None:
            return
        now = time.time()
        moved = sent if self.received is None else self.received
        source = self.residency_source
        self._write(
            (
                f'{{"time":"{_second(int(now))}.{int(now % 1 * 1000):03}Z"'
                f',"request_id":"{self.request_id}"'
                f',"client":{quoted(env.get("REMOTE_ADDR") or "")}'
                + (
                    f',"who":{quoted(_shortened(who.name))},"auth":"{who.kind}"'
                    + ("" if who.issuer is None else f',"issuer":{_issuer(who.issuer)}')
                    if (who := self.who)
                    else ""
                )
                + f',"verb":{quoted(env["REQUEST_METHOD"][:32])}'
                f',"path":{quoted(env.get("PATH_INFO", "")[:_MAX_PATH])}'
                f',"id":{"null" if self.file_id is None else self.file_id}'
                + ("" if self.ids is None else f',"ids":{self.ids}')
                + f',"status":{self.status}'
                f',"bytes":{"null" if moved is None else moved}'
                f',"seconds":{seconds:.6f}'
                + (f',"residency_source":"{source}"' if source else "")
                + (f',"error":"{error}"}}\n' if error else "}\n")
            ).encode("ascii")
        )


class AccessLog:
    """
    Wrap an application: give each request an id, count it and write its line.

    Args:
        app: the application; it finds the Exchange in the environment.
        write: takes one line, ended, of at most 4096 bytes; None for no log.
        metrics: count it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        write: Callable[[bytes], None] | None,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._write = write
        self._metrics = metrics

    def __call__(
        self, env: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        exchange = env[EXCHANGE] = Exchange(env, self._write, self._metrics)

        def start(
            status: str,
            headers: list[tuple[str, str]],
            *exc_info: Any,  # noqa: ANN401 (passed through)
        ) -> Callable[[bytes], object]:
            exchange.status = status[:3]
            headers.append(("X-Request-Id", exchange.request_id))
            return start_response(status, headers, *exc_info)

        body = self._app(env, start)
        exchange.answered(body)
        return body


def _issuer(name: str) -> str:
    """Return as much of a name as has room, quoted."""
    name = name[:_ISSUER_ROOM]
    while len(text := quoted(name)) > _ISSUER_ROOM:
        name = name[:-1]
    return text


def _shortened(name: str) -> str:
    return name[: _MAX_NAME if name.isascii() else _MAX_NAME // 2]


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def open_log(path: str | Path | None) -> Callable[[bytes], None]:
    """
    Open a file to append lines to, or stderr if there is no path.

    One system call for what is written at once: lines of threads and processes
    do not mix.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = _STDERR if path is None else os.open(path, flags, 0o640)

    def write(line: bytes) -> None:
        # A full disk under the log is no reason to refuse files.
        with contextlib.suppress(OSError):
            os.write(descriptor, line)

    return write


class LineBuffer:
    """
    Writes lines some at a time, in a thread of its own.

    A call to the system for each line has all threads of a worker take turns
    once more for each request, which a request feels.

    Attributes:
        put: takes one line; it is written within 50 ms, or by ``close``.

    Args:
        write: takes some lines, at most 4096 bytes or one line.
    """

    _DELAY_S = 0.05

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._write = write
        self.put: Callable[[bytes], None] = self._lines.put
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what was put until now, and end."""
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            time.sleep(self._DELAY_S)
            lines = [line]
            ended = False
            # No other thread takes lines out.
            while not (ended or self._lines.empty()):
                if (line := self._lines.get()) is None:
                    ended = True
                else:
                    lines.append(line)
            text = b"".join(lines)
            start = 0
            while start < len(text):
                # Of a line that is longer than a pipe takes at once: all the rest.
                end = text.rfind(b"\n", start, start + _PIPE_BUF) + 1 or len(text)
                self._write(text[start:end])
                start = end
            if ended:
                return


class JsonLines(logging.Handler):
    """
    Log handler: one JSON line for a record, its traceback within.

    Args:
        path: the file to append to, opened for each record, so that it may be
            moved away at any time; None is stderr.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        seconds = int(record.created)
        entry = {
            "time": f"{_second(seconds)}.{int(record.msecs):03}Z",
            "request_id": getattr(record, "request_id", None),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        line = f"{json.dumps(entry)}\n".encode()
        try:
            if self._path is None:
                os.write(_STDERR, line)
            else:
                with open(self._path, "ab", buffering=0) as file:  # noqa: PTH123 (one call)
                    file.write(line)
        except OSError:
            self.handleError(record)
