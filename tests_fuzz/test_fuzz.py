"""
Hostile bytes at the socket: no 500, no wrong byte, no worker lost, others are served.

A fixed number of attempts in CI; ``nox -s fuzz -- --fuzz-seconds 3600`` goes on.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import re
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

import attrs
import pytest
from hostile import CANARY, Attempt, Ending, attempts
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from watching import open_at_rest, wait_until, what_is_open

from pacifica_archive_http.access import Scope
from pacifica_archive_http.testing import LiveServer, running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Attempts of one run in CI.
EXAMPLES = 400
#: For an answer to one who is served; the attempts are many, the machine is busy.
PATIENT_S = 60.0
#: Silence after which a client that waits has heard all.
SILENCE_S = 0.25
_CANARY = bytes(range(256)) * 700
_DONE = {200, 201, 202, 204, 206}
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Watch:
    """Asks for a status again and again, on one connection: others are to be served."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.wrong: list[str] = []
        self.count = 0
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection = self._victim.connect()
        try:
            while not self._ended.wait(0.02):
                began = time.monotonic()
                connection.request(
                    "HEAD", f"/files/{CANARY}", headers=self._victim.fields
                )
                answer = connection.getresponse()
                answer.read()
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.count += 1
                if answer.getheader("Content-Length") != str(len(_CANARY)):
                    self.wrong.append(f"{answer.status} for a status")
        except (OSError, http.client.HTTPException) as exc:
            self.wrong.append(repr(exc))
        finally:
            connection.close()


@attrs.frozen(kw_only=True)
class Victim:
    """
    The server that is tried.

    Attributes:
        token: what those who are served show; whoever tries it has none.
    """

    server: LiveServer
    log: Path
    incoming: Path
    token: str | None
    ids: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1000))

    @property
    def fields(self) -> dict[str, str]:
        """The fields of those who are served."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection of one who is served."""
        return http.client.HTTPConnection(*self.server.address, timeout=PATIENT_S)

    def get(self, file_id: int) -> bytes | None:
        """Return the bytes of a file; None if there is none."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", f"/files/{file_id}", headers=self.fields)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status in {200, 404}
            return body if answer.status == 200 else None

    def put(self, file_id: int, body: bytes) -> None:
        """Store a file."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("PUT", f"/{file_id}", body, self.fields)
            assert connection.getresponse().status == 201

    def suffer(self, attempt: Attempt) -> bytes:
        """Be written to; return all that the server said."""
        said = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self.server.address, PATIENT_S) as connection,
        ):
            for part in attempt.parts:
                connection.sendall(part)
                # That it may be read apart from the next.
                select.select([connection], [], [], 0.001)
            if attempt.ending is Ending.RESET:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if attempt.ending in {Ending.RESET, Ending.CLOSED}:
                return said
            if attempt.ending is Ending.HALF_CLOSED:
                connection.shutdown(socket.SHUT_WR)
            # Of these the end is known: the server closes.
            silence_s = PATIENT_S if attempt.kind == "ranges" else SILENCE_S
            while select.select([connection], [], [], silence_s)[0]:
                if not (block := connection.recv(1 << 20)):
                    break
                said += block
        return said


@pytest.fixture(params=["open", "guarded"])
def victim(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Victim]:
    """Run a server of few threads: one that is lost is missed."""
    (tmp_path / "archive").mkdir()
    more: tuple[str, ...] = ()
    token = None
    if request.param == "guarded":
        tokens = tmp_path / "tokens"
        token = add_token(tokens, "served", scopes=Scope)
        more = ("--tokens", str(tokens), "--write-once", "--delete", "trash")
    with running_server(
        *("-t", "posix", "--prefix", str(tmp_path / "archive"), "-o", "durable=no"),
        *("--workers", "2", "--threads", "8", "--log-file", str(tmp_path / "log")),
        *more,
    ) as server:
        victim = Victim(
            server=server,
            log=tmp_path / "log",
            incoming=tmp_path / "archive" / ".incoming",
            token=token,
        )
        victim.put(CANARY, _CANARY)
        yield victim


def _statuses(said: bytes) -> list[int]:
    """Return the statuses of all answers, no matter what stands between them."""
    return [int(found[1]) for found in _STATUS_LINE.finditer(said)]


class _Said:
    """What was said, as a socket that http.client reads from."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._said)


def _is_of_canary(said: bytes, attempt: Attempt) -> bool:
    """Whether an answer to a request for parts has the bytes that it names."""
    verb = attempt.parts[0].split(b" ")[0].decode()
    answer = http.client.HTTPResponse(_Said(said), method=verb)  # type: ignore[arg-type]  # as much of a socket as it uses
    answer.begin()
    if verb == "HEAD" or answer.status not in {200, 206}:
        return answer.status in {200, 204, 400, 416, 431}
    first, last, size = 0, len(_CANARY) - 1, len(_CANARY)
    if answer.status == 206:
        place, _, size_text = str(answer.getheader("Content-Range"))[6:].partition("/")
        first, last = map(int, place.split("-"))
        size = int(size_text)
    try:
        body = answer.read()
    except http.client.IncompleteRead as exc:
        # To one who says that he writes no more, servers may say no more.
        return attempt.ending is Ending.HALF_CLOSED and _CANARY[
            first : last + 1
        ].startswith(exc.partial)
    return (size, body) == (len(_CANARY), _CANARY[first : last + 1])


def _try_many(victim: Victim, *, seed_: int) -> None:
    @seed(seed_)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        # What is found is shown as it was: a server has a state.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def try_one(data: st.DataObject) -> None:
        file_id = next(victim.ids)
        attempt = data.draw(attempts(file_id))
        said = victim.suffer(attempt)
        wrong = [status for status in _statuses(said) if status in {500, 502, 504}]

        assert [] == wrong, victim.log.read_text()[-4000:]
        if victim.token is not None:
            # Some addresses are open to all: "/" is.
            if attempt.kind not in {"targets", "mutations"}:
                assert _DONE.isdisjoint(_statuses(said)), said[:2000]
            assert _CANARY[:64] not in said
            assert victim.get(file_id) is None
        elif attempt.kind == "ranges" and said:
            assert _is_of_canary(said, attempt)
        elif attempt.may_store:
            assert victim.get(file_id) in attempt.may_store
        assert victim.get(CANARY) == _CANARY

    try_one()


def test_whatever_is_written_to_the_socket(
    victim: Victim, pytestconfig: pytest.Config
) -> None:
    server = victim.server
    workers = server.workers
    before = open_at_rest(workers)
    seconds = pytestconfig.getoption("fuzz_seconds")
    limit = None if seconds is None else time.monotonic() + seconds
    with Watch(victim) as watch:
        for number in itertools.count():
            _try_many(victim, seed_=number)
            if limit is None or time.monotonic() > limit:
                break
    # An upload that waits for its body is ended by its client's leaving, soon.
    freed = wait_until(lambda: not what_is_open(workers) - before, seconds=PATIENT_S)
    after = what_is_open(workers)
    log = victim.log.read_text()

    assert [] == watch.wrong
    assert watch.count > 100
    assert workers == server.workers
    assert freed, after - before
    assert [] == [path.name for path in victim.incoming.iterdir()]
    assert [] == [line for line in log.splitlines() if "internal-error" in line]
