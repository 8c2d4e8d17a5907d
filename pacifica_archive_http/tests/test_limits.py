"""How many transfers one client may have at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Never

import limit_child
import pytest
from asking import (
    ByCall,
    OverHttp,
    close,
    connect,
    environment,
    needs_posix,
    read_answer,
    wait_until,
)
from jwt_kit import ISSUER, claims, issuers_file, key_set, signer

from pacifica_archive_http import make_app
from pacifica_archive_http.access import Scope
from pacifica_archive_http.limits import ClientPlaces
from pacifica_archive_http.options import ServerOptions
from pacifica_archive_http.status_table import ClientBusy
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from pacifica_archive_core import MemoryArchive
    from pacifica_archive_http.testing import LiveServer

LONG = b"a" * 200_000
_SOON_S = 60


# --- by call ---------------------------------------------------------------------


class _Unreadable:
    """A body of which nothing may be read."""

    def read(self, *_args: object) -> Never:
        raise AssertionError("the body was read")


@pytest.fixture
def call(memory: MemoryArchive) -> ByCall:
    """Make an application where each client has one transfer; the file 5 is long."""
    with memory.create(5) as writer:
        writer.write(LONG)
    return ByCall(make_app(memory, ServerOptions(client_transfers=1)))


@contextlib.contextmanager
def _download(call: ByCall, address: str = "127.0.0.1") -> Iterator[int]:
    status, _, parts = call.begin(_request("GET", "/5", address=address))
    try:
        yield status
    finally:
        close(parts)


def _request(
    verb: str, target: str, body: bytes | None = None, *, address: str = "127.0.0.1"
) -> dict[str, Any]:
    return {**environment(verb, target, body), "REMOTE_ADDR": address}


@pytest.mark.parametrize(
    ("verb", "target", "body"),
    [
        ("GET", "/5", None),
        ("GET", "/files/5", None),
        ("PUT", "/6", b"bytes"),
        ("PUT", "/files/6", b"bytes"),
        ("POST", "/files/status", b"5"),
        ("POST", "/files/stage", b"5"),
    ],
)
def test_a_client_has_as_many_transfers_as_it_may(
    call: ByCall, verb: str, target: str, body: bytes | None
) -> None:
    env = _request(verb, target, body)
    env["wsgi.input"] = _Unreadable()
    with _download(call):
        answer = call.send(env)

    assert (429, "client-busy", "5") == (
        answer.status,
        answer.headers["x-pacifica-problem"],
        answer.headers["retry-after"],
    )


@pytest.mark.parametrize("target", ["/5", "/files/5"])
def test_what_is_no_transfer_is_answered(call: ByCall, target: str) -> None:
    with _download(call):
        assert call("HEAD", target).status in (200, 204)


def test_no_digest_is_computed_over_the_limit(call: ByCall) -> None:
    with _download(call):
        answer = call("HEAD", "/files/5", headers={"Want-Repr-Digest": "md5=1"})

    assert (200, None) == (answer.status, answer.headers.get("repr-digest"))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "", True),
    ],
)
def test_clients_are_told_apart_by_their_addresses(
    call: ByCall, one: str, other: str, *, shared: bool
) -> None:
    with _download(call, one), _download(call, other) as status:
        assert (429 if shared else 200) == status


def test_a_transfer_that_is_over_counts_no_more(call: ByCall) -> None:
    with _download(call):
        pass

    assert 200 == call("GET", "/5").status


def test_a_transfer_that_was_refused_counts_not(call: ByCall) -> None:
    with _download(call):
        for _ in range(3):
            call("GET", "/5")

    assert 200 == call("GET", "/5").status


def test_a_refused_upload_may_linger(call: ByCall) -> None:
    env = _request("PUT", "/no", b"bytes")
    call.send(env)

    assert b"" == env["wsgi.input"].read()


def test_a_token_counts_wherever_it_comes_from(
    memory: MemoryArchive, tmp_path: Path
) -> None:
    tokens = [add_token(tmp_path / "tokens", each, scopes=Scope) for each in "ab"]
    with memory.create(5) as writer:
        writer.write(LONG)
    options = ServerOptions(tokens=tmp_path / "tokens", client_transfers=1)
    call = ByCall(make_app(memory, options))

    def begin(token: str, address: str) -> tuple[int, Any]:
        env = _request("GET", "/5", address=address)
        status, _, parts = call.begin({**env, "HTTP_AUTHORIZATION": f"Bearer {token}"})
        return status, parts

    one, two = tokens
    answers = [
        begin(one, "127.0.0.1"),
        begin(one, "127.0.0.2"),
        begin(two, "127.0.0.1"),
    ]
    for _, parts in answers:
        close(parts)

    assert [200, 429, 200] == [status for status, _ in answers]


# --- processes -------------------------------------------------------------------


def test_a_subject_of_another_issuer_is_another_client(
    memory: MemoryArchive, tmp_path: Path
) -> None:
    with memory.create(5) as writer:
        writer.write(LONG)
    (tmp_path / "keys").write_text(key_set(signer()))
    file = issuers_file(tmp_path, tmp_path / "keys")
    other = "https://other.example.org"
    keys = tmp_path / "keys"
    file.write_text(
        f'{file.read_text()}\n[[issuer]]\nissuer = "{other}"\nkeys = "{keys}"\n'
    )
    call = ByCall(make_app(memory, ServerOptions(jwt=file, client_transfers=1)))

    def begin(issuer: str) -> tuple[int, Any]:
        token = signer().sign(claims(iss=issuer))
        fields = {"Authorization": f"Bearer {token}"}
        status, _, parts = call.begin(environment("GET", "/5", None, fields))
        return status, parts

    begun = [begin(issuer) for issuer in (ISSUER, other, ISSUER)]
    for _, parts in begun:
        close(parts)

    assert [200, 200, 429] == [status for status, _ in begun]


def test_places_are_counted_in_all_processes() -> None:
    places = ClientPlaces(2)
    with _holding(places, "a", 2), pytest.raises(ClientBusy, match="2 transfers of"):
        places.take("a")


def test_another_client_has_places_of_its_own() -> None:
    places = ClientPlaces(2)
    with _holding(places, "a", 2):
        taken = [places.take("b") for _ in range(2)]

    assert 2 == len({*taken})


def test_the_places_of_a_killed_process_are_free() -> None:
    places = ClientPlaces(2)
    with _holding(places, "a", 2) as process:
        process.kill()
        process.join(_SOON_S)
        taken = [places.take("a") for _ in range(2)]

    assert 2 == len({*taken})


def test_a_new_process_has_the_row_of_a_killed_one() -> None:
    places = ClientPlaces(2)
    first = places.take("b")
    with _holding(places, "a", 2) as process:
        process.kill()
        process.join(_SOON_S)
    with _holding(places, "a", 1):
        places.give_back(first)
        places.take("a")
        size = os.stat(f"/proc/self/fd/{places._file}").st_size  # noqa: PTH116, SLF001 (follows the link; no answer tells it)

    assert 2 * 1024 * 16 == size


def test_forks_share_what_was_made_before() -> None:
    """As workers of serve do, and of gunicorn and uWSGI that load before they fork."""
    done = subprocess.run(
        [sys.executable, limit_child.__file__],
        capture_output=True,
        text=True,
        timeout=_SOON_S,
        check=True,
    )

    assert ["busy", "free"] == done.stdout.split()


@contextlib.contextmanager
def _holding(
    places: ClientPlaces, client: str, count: int
) -> Iterator[multiprocessing.process.BaseProcess]:
    """Run a process that has places, which it gives back at the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=limit_child.hold, args=(places, client, count, theirs)
    )
    process.start()
    theirs.close()
    try:
        assert ours.poll(_SOON_S), "the process took no places"
        ours.recv()
        yield process
    finally:
        ours.close()
        process.join(_SOON_S)


# --- live ------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path: Path) -> list[str]:
    file = tmp_path / "tokens"
    return [add_token(file, each, scopes=Scope) for each in ("hostile", "other")]


@pytest.fixture
def server(tmp_path: Path, tokens: list[str]) -> Iterator[LiveServer]:
    """Two workers; each token may have two transfers."""
    (tmp_path / "archive").mkdir()
    assert tokens
    with running_server(
        *("-t", "posix", "--prefix", str(tmp_path / "archive"), "-o", "durable=false"),
        *("--workers", "2", "--tokens", str(tmp_path / "tokens")),
        *("--client-transfers", "2", "--log-file", str(tmp_path / "log")),
    ) as running:
        yield running


def _begin_upload(server: LiveServer, token: str, number: int) -> socket.socket:
    connection = connect(server.address)
    connection.sendall(
        f"PUT /{number} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    return connection


def _first_status(connection: socket.socket) -> bytes:
    """Return the status that came first: of a refusal, or 100 to go on."""
    head = b""
    while b"\r\n" not in head:
        block = connection.recv(4096)
        assert block, "the server closed the connection"
        head += block
    return head.split(b" ", 2)[1]


@needs_posix
def test_slow_uploads_of_one_token_leave_the_others_alone(
    server: LiveServer, tokens: list[str]
) -> None:
    hostile, other = tokens
    with contextlib.ExitStack() as stack:
        uploads = [
            stack.enter_context(_begin_upload(server, hostile, number))
            for number in range(12)
        ]
        statuses = [_first_status(upload) for upload in uploads]
        fields = {"Authorization": f"Bearer {other}"}
        ask = OverHttp(server.address)
        stored = ask("PUT", "/100", LONG, fields)
        fetched = ask("GET", "/100", headers=fields)

    assert [b"100"] * 2 + [b"429"] * 10 == sorted(statuses)
    assert (201, LONG) == (stored.status, fetched.body)


@needs_posix
def test_slow_downloads_of_one_token_leave_the_others_alone(
    server: LiveServer, tokens: list[str]
) -> None:
    hostile, other = tokens
    ask = OverHttp(server.address)
    # More than lies in all buffers between the server and a client that reads nothing.
    ask("PUT", "/100", bytes(48 << 20), {"Authorization": f"Bearer {other}"})
    with contextlib.ExitStack() as stack:
        statuses = []
        for _ in range(6):
            connection = stack.enter_context(connect(server.address))
            connection.sendall(
                "GET /100 HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: Bearer {hostile}\r\n\r\n".encode()
            )
            statuses.append(_first_status(connection))
        fields = {"Authorization": f"Bearer {other}", "Range": "bytes=0-199999"}
        fetched = ask("GET", "/100", headers=fields)

    assert [b"200"] * 2 + [b"429"] * 4 == statuses
    assert (206, 200_000) == (fetched.status, len(fetched.body))


@needs_posix
def test_the_transfers_of_a_killed_worker_count_no_more(
    server: LiveServer, tokens: list[str]
) -> None:
    hostile, _ = tokens
    with contextlib.ExitStack() as stack:
        for number in range(2):
            upload = stack.enter_context(_begin_upload(server, hostile, number))
            assert b"100" == _first_status(upload)
        before = server.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: len({*server.workers} - {*before}) == 2, "no new workers began"
        )
        wait_until(lambda: _is_up(server), "the new workers do not answer")
        again = [
            _first_status(stack.enter_context(_begin_upload(server, hostile, number)))
            for number in range(3)
        ]

    assert [b"100", b"100", b"429"] == again


def _is_up(server: LiveServer) -> bool:
    try:
        with connect(server.address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return read_answer(connection).status == 200
    except OSError:
        return False
