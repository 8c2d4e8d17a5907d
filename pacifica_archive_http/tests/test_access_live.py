"""Tokens before a running server: what it reads, follows and writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import OverHttp, connect, needs_posix, wait_until

from pacifica_archive_http.access import Scope
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens import add_token, revoke_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asking import Answer

    from pacifica_archive_http.testing import LiveServer

pytestmark = needs_posix

#: Requests of one question: that none of them reaches one of two workers happens
#: once in half a million times.
_BOTH = 20


@attrs.frozen(kw_only=True)
class Guarded:
    """
    A running server of two workers.

    Attributes:
        folder: where its tokens are, its archive and all that it writes.
        token: for everything.
        reader: to read only.
    """

    server: LiveServer
    folder: Path
    token: str
    reader: str

    @property
    def file(self) -> Path:
        return self.folder / "tokens"

    def __call__(
        self,
        verb: str,
        target: str,
        token: str | None,
        body: bytes | None = None,
    ) -> Answer:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        return OverHttp(self.server.address)(verb, target, body, fields)

    def statuses(self, token: str) -> set[int]:
        """Return what all workers answer to a token."""
        return {self("HEAD", "/1", token).status for _ in range(_BOTH)}

    def written(self) -> str:
        """Return all that the server has written anywhere, but for the tokens."""
        return "".join((self.folder / name).read_text() for name in ("log", "output"))


def _run(folder: Path) -> Iterator[Guarded]:
    (folder / "archive").mkdir()
    token = add_token(folder / "tokens", "first", scopes=Scope)
    reader = add_token(folder / "tokens", "reader", scopes=[Scope.READ])
    with (
        (folder / "output").open("wb") as output,
        running_server(
            *("-t", "posix", "--prefix", str(folder / "archive")),
            *("-o", "durable=false", "--workers", "2"),
            *("--tokens", str(folder / "tokens"), "--log-file", str(folder / "log")),
            log=output,
        ) as server,
    ):
        yield Guarded(server=server, folder=folder, token=token, reader=reader)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Run a server for tests that add tokens and take away their own."""
    yield from _run(tmp_path_factory.mktemp("guarded"))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Guarded]:
    """Run a server for a test that spoils its file of tokens."""
    yield from _run(tmp_path)


# --- what is read ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "garbage", "read"])
@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"], ids=["", "expect"])
@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("PUT", "/5"),
        ("PUT", "/files/5"),
        ("PATCH", "/5"),
        ("POST", "/files/status"),
        ("POST", "/files/stage"),
    ],
)
@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_refusal_waits_for_no_body(
    guarded: Guarded, verb: str, target: str, more: str, kind: str, length: str
) -> None:
    """Nor does it ask for one."""
    token = {
        "none": "",
        "garbage": "Authorization: Bearer garbage\r\n",
        "read": f"Authorization: Bearer {guarded.reader}\r\n",
    }[kind]
    with connect(guarded.server.address) as connection:
        connection.sendall(
            f"{verb} {target} HTTP/1.1\r\nHost: a\r\n"
            f"{token}{more}{length}\r\n\r\n".encode()
        )
        first = connection.recv(4096)

    wanted = b"403" if kind == "read" else b"401"
    assert wanted == first.split(b" ", 2)[1]


# --- what is followed ------------------------------------------------------------


def test_a_new_token_is_valid_in_all_workers_at_once(guarded: Guarded) -> None:
    guarded.statuses(guarded.token)
    token = add_token(guarded.file, "new", scopes=[Scope.STATUS])

    assert {404} == guarded.statuses(token)


def test_a_revoked_token_is_invalid_in_all_workers_at_once(guarded: Guarded) -> None:
    token = add_token(guarded.file, "to-be-revoked", scopes=[Scope.STATUS])
    before = guarded.statuses(token)
    revoke_token(guarded.file, "to-be-revoked")

    assert ({404}, {401}) == (before, guarded.statuses(token))


def test_a_broken_file_leaves_the_last_good_one_in_force(own: Guarded) -> None:
    own.statuses(own.token)
    own.file.write_text("{")

    assert {404} == own.statuses(own.token)
    wait_until(lambda: "the last good one stays" in own.written(), "nothing is said")


def test_without_the_file_no_token_is_valid(own: Guarded) -> None:
    own.file.unlink()

    assert {401} == own.statuses(own.token)
    wait_until(lambda: "no token is valid" in own.written(), "nothing is said")


# --- what is written -------------------------------------------------------------


def _entry(guarded: Guarded, answer: Answer) -> dict[str, Any]:
    """Return the line of the log about one request."""
    mark = answer.headers["x-request-id"]
    log = guarded.folder / "log"
    wait_until(lambda: mark in log.read_text(), "no line is written")
    (line,) = [line for line in log.read_text().splitlines() if mark in line]
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_the_log_tells_who_did_what(guarded: Guarded) -> None:
    entry = _entry(guarded, guarded("PUT", "/7", guarded.token, b"bytes"))

    assert ("first", "token", "PUT", 7, 201) == tuple(
        entry[name] for name in ("who", "auth", "verb", "id", "status")
    )


def test_the_log_tells_who_was_refused_what(guarded: Guarded) -> None:
    entry = _entry(guarded, guarded("DELETE", "/7", guarded.reader))

    assert ("reader", "token", "DELETE", 7, 403, "forbidden") == tuple(
        entry[name] for name in ("who", "auth", "verb", "id", "status", "error")
    )


@pytest.mark.parametrize("token", [None, "garbage"])
def test_the_log_tells_what_was_refused_to_a_stranger(
    guarded: Guarded, token: str | None
) -> None:
    entry = _entry(guarded, guarded("DELETE", "/7", token))

    assert ("127.0.0.1", "DELETE", 7, 401, "unauthorized", None) == tuple(
        entry.get(name) for name in ("client", "verb", "id", "status", "error", "who")
    )


def test_no_token_is_written_anywhere(own: Guarded) -> None:
    """Not of the good, the refused or the broken, nor with what an operator gets."""
    tokens = [
        own.token,
        own.reader,
        "pacifica_00000000_" + "c2VjcmV0" * 5 + "abc",
        "eyJhbGciOiJub25lIn0.c2VjcmV0.c2VjcmV0",
        "c2VjcmV0OnNlY3JldA==",
    ]
    # A folder in the place of a file: an error with a traceback.
    (own.folder / "archive" / "13").mkdir()
    answers = [
        own(verb, target, token, b"1" if verb in ("PUT", "POST", "PATCH") else None)
        for token in tokens
        for verb in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
        for target in ("/13", "/files/13", "/files/status", "/no")
    ]
    own.file.write_text(own.file.read_text() + "}")
    answers += [own("GET", "/1", token) for token in tokens]
    _entry(own, answers[-1])

    told = own.written() + "".join(f"{a.headers}{a.body!r}" for a in answers)
    assert "Traceback" in own.written()
    assert [] == [token for token in tokens if token.split("_", 2)[-1] in told]
