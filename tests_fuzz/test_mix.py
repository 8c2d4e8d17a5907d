"""64 clients at once, who store, read, ask, delete and leave, over two workers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import attrs
from proving import RECORD, Version, find_version
from watching import busy_bytes, open_at_rest, wait_until, what_is_open

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from pacifica_archive_http.testing import LiveServer

CLIENTS = 64
#: Few, so that they meet.
IDS = range(1, 41)
#: Ones that are answered in one piece, and longer ones, of many blocks.
SIZES = (0, 1, 63, 64, 4096, 65_536, 65_537, 300_000, 2_000_000)
#: For an answer, on a busy machine.
PATIENT_S = 60.0
#: What a worker's memory may still grow by when all of its buffers have been used.
GROWTH_BYTES = 24 << 20


@attrs.define
class Change:
    """A PUT or DELETE: when it was under way, and what it made of the file."""

    began: float
    #: Infinite as long as its answer is not there: it may yet happen.
    ended: float
    version: Version | None


@attrs.define
class History:
    """What was done to each id, and what was seen that must not be."""

    changes: dict[int, list[Change]] = attrs.field(
        factory=lambda: {file_id: [] for file_id in IDS}
    )
    #: Of uploads that were cut, by number: nobody may ever read one.
    cut: set[int] = attrs.field(factory=set)
    wrong: list[str] = attrs.field(factory=list)
    answers: dict[str, int] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))
    sizes: dict[int, int] = attrs.field(factory=dict)

    def new(self, file_id: int, size: int) -> Version:
        """Return a version that nobody has stored."""
        version = Version(file_id, next(self.numbers), size)
        self.sizes[version.number] = size
        return version

    def begin(self, file_id: int, version: Version | None) -> Change:
        """Note that a change is under way."""
        change = Change(time.monotonic(), float("inf"), version)
        with self.lock:
            self.changes[file_id].append(change)
        return change

    def forget(self, file_id: int, change: Change) -> None:
        """Note that a change was refused: it has not happened."""
        with self.lock:
            self.changes[file_id].remove(change)

    def count(self, verb: str, status: int) -> None:
        """Note an answer."""
        with self.lock:
            name = f"{verb} {status}"
            self.answers[name] = self.answers.get(name, 0) + 1

    def look_at(self, file_id: int, body: bytes, first: int, size: int) -> None:
        """Say what is wrong with the bytes of an answer, if anything is."""
        found = find_version(body)
        if found is None:
            # Too short to name its version: some version has them at that place.
            if len(body) >= 2 * RECORD:
                self.wrong.append(f"bytes of nobody in {file_id}")
            return
        of_id, number = found
        version = Version(of_id, number, self.sizes.get(number, -1))
        if of_id != file_id:
            self.wrong.append(f"bytes of {of_id} in {file_id}")
        elif number in self.cut:
            self.wrong.append(f"an upload that was cut is in {file_id}")
        elif version.size != size or body != version.content(first, first + len(body)):
            self.wrong.append(f"wrong bytes in {file_id}")

    def last_of(self, file_id: int) -> list[Version | None]:
        """Return what the file may be in the end: each that none came surely after."""
        changes = self.changes[file_id]
        return [
            change.version
            for change in changes
            if not any(
                other.began > change.ended and other.ended < float("inf")
                for other in changes
            )
        ] + ([] if any(c.ended < float("inf") for c in changes) else [None])


class Client:
    """One of them; its connection is its own, and lives as long as it can."""

    def __init__(self, server: LiveServer, history: History, seed: int) -> None:
        self._address = server.address
        self._history = history
        self._random = random.Random(seed)
        self._connection: http.client.HTTPConnection | None = None

    def run(self, until: float) -> None:
        """Do something, again and again."""
        doings: list[Callable[[int], None]] = [
            self.put, self.put, self.get, self.get, self.get, self.part, self.part,
            self.head, self.head, self.delete, self.leave_put, self.leave_get,
        ]  # fmt: skip
        try:
            while time.monotonic() < until:
                self._random.choice(doings)(self._random.choice(IDS))
        except Exception as exc:  # noqa: BLE001 (told at the end, with what is wrong)
            self._history.wrong.append(repr(exc))
        finally:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def put(self, file_id: int) -> None:
        version = self._history.new(file_id, self._random.choice(SIZES))
        change = self._history.begin(file_id, version)
        answer, _ = self._ask("PUT", file_id, version.content())
        if answer.status == 201:
            change.ended = time.monotonic()
        else:
            self._history.forget(file_id, change)

    def delete(self, file_id: int) -> None:
        change = self._history.begin(file_id, None)
        answer, _ = self._ask("DELETE", file_id)
        if answer.status == 200:
            change.ended = time.monotonic()
        else:
            self._history.forget(file_id, change)

    def get(self, file_id: int) -> None:
        answer, body = self._ask("GET", file_id)
        if answer.status == 200:
            self._history.look_at(file_id, body, 0, len(body))

    def part(self, file_id: int) -> None:
        first = self._random.choice((0, 1, 4000, 65_000, 1_000_000))
        last = first + self._random.choice((1, 200, 70_000, 400_000))
        answer, body = self._ask(
            "GET", file_id, headers={"Range": f"bytes={first}-{last}"}
        )
        if answer.status == 206:
            told = str(answer.getheader("Content-Range"))
            place, _, size = told.removeprefix("bytes ").partition("/")
            begin, _, end = place.partition("-")
            if int(begin) != first or int(end) - first + 1 != len(body):
                self._history.wrong.append(f"{told} for {first}-{last}")
            self._history.look_at(file_id, body, first, int(size))
        elif answer.status == 200:
            self._history.wrong.append("the whole file for a range")

    def head(self, file_id: int) -> None:
        self._ask("HEAD", file_id)

    def leave_put(self, file_id: int) -> None:
        """Cut an upload in its midst."""
        size = self._random.choice(SIZES[3:])
        version = self._history.new(file_id, size)
        self._history.cut.add(version.number)
        with socket.create_connection(self._address, PATIENT_S) as connection:
            connection.sendall(
                b"PUT /%d HTTP/1.1\r\nHost: mix\r\nContent-Length: %d\r\n\r\n"
                % (file_id, size)
            )
            with contextlib.suppress(OSError):
                connection.sendall(version.content(0, self._random.randrange(size)))
            self._cut(connection)

    def leave_get(self, file_id: int) -> None:
        """Take the beginning of a download."""
        with socket.create_connection(self._address, PATIENT_S) as connection:
            connection.sendall(b"GET /files/%d HTTP/1.1\r\nHost: mix\r\n\r\n" % file_id)
            connection.recv(self._random.choice((1, 1000, 100_000)))
            self._cut(connection)

    def _cut(self, connection: socket.socket) -> None:
        if self._random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _ask(
        self,
        verb: str,
        file_id: int,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            host, port = self._address
            self._connection = http.client.HTTPConnection(host, port, timeout=PATIENT_S)
        target = f"/{self._random.choice(('', 'files/'))}{file_id}"
        if verb == "HEAD":
            target = f"/files/{file_id}"
        self._connection.request(verb, target, body, headers or {})
        answer = self._connection.getresponse()
        found = answer.read()
        self._history.count(verb, answer.status)
        return answer, found


#: Every answer that may come; a server of this size is never too busy.
ALLOWED = {
    "PUT 201", "GET 200", "GET 206", "GET 404", "GET 416",
    "HEAD 200", "HEAD 404", "DELETE 200", "DELETE 404",
}  # fmt: skip


def test_64_clients_at_once(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[..., None]
) -> None:
    seconds = pytestconfig.getoption("mix_seconds")
    prefix, log = tmp_path / "archive", tmp_path / "log"
    prefix.mkdir()
    with running_server(
        *("-t", "posix", "--prefix", str(prefix), "-o", "durable=no"),
        *("--workers", "2", "--threads", "128", "--log-file", str(log)),
    ) as server:
        workers = server.workers
        before = open_at_rest(workers)
        history = History()
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [
                pool.submit(Client(server, history, seed).run, began + seconds)
                for seed in range(CLIENTS)
            ]
            # When all buffers were used once, and at the end.
            threading.Event().wait(seconds / 2)
            warm = [busy_bytes(worker) for worker in workers]
            for each in running:
                each.result()
        grown = [
            busy_bytes(worker) - then
            for worker, then in zip(workers, warm, strict=True)
        ]
        left = wait_until(lambda: not what_is_open(workers) - before, seconds=PATIENT_S)
        after = what_is_open(workers)
        reader = Client(server, history, 0)
        wrong_at_the_end = []
        for file_id in IDS:
            answer, body = reader._ask("GET", file_id)  # noqa: SLF001 (of this file)
            possible = [
                None if version is None else version.content()
                for version in history.last_of(file_id)
            ]
            if (body if answer.status == 200 else None) not in possible:
                wrong_at_the_end.append((file_id, answer.status, find_version(body)))
        reader.close()
        alive = server.workers
    record_property("answers", history.answers)

    assert [] == history.wrong
    assert [] == wrong_at_the_end
    assert set() == history.answers.keys() - ALLOWED
    assert ALLOWED == history.answers.keys() & ALLOWED
    assert workers == alive
    assert left, after - before
    assert [] == [path.name for path in (prefix / ".incoming").iterdir()]
    assert max(grown) < GROWTH_BYTES
    assert "internal-error" not in log.read_text()
