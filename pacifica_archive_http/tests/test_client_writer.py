"""What goes over the wire when a file is stored, and when it is not."""

from __future__ import annotations

import base64
import hashlib
import socket
from typing import TYPE_CHECKING

import pytest
from scripted import Asked, Reply, Scripted, content, problem, stored

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    DigestMismatch,
    FileExists,
    NotSupported,
)
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SHORT = content(1000)
LONG = content(3 * MIB + 1)
KINDS = pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 0), (SHORT, 1000), (SHORT, None), (LONG, None), (LONG, len(LONG))],
    ids=["empty", "short", "short of unknown size", "spooled", "streamed"],
)
LENGTHS = pytest.mark.parametrize("data", [SHORT, LONG], ids=["held", "streamed"])


def archive_of(url: str) -> HttpArchive:
    return HttpArchive(HttpOptions(prefix=url, retry_for_s=0))


def answer(asked: Asked) -> Reply:
    tail = int(asked.headers["X-Pacifica-Digest-Tail"])
    return stored(len(asked.body) - tail)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted(answer) as server:
        yield server


@pytest.fixture
def archive(server: Scripted) -> Iterator[HttpArchive]:
    with archive_of(server.url) as archive:
        yield archive


def store(
    archive: HttpArchive, data: bytes, size: int | None, **digests: bytes
) -> None:
    with archive.create(5, size=size) as writer:
        writer.digests.update(digests)
        for start in range(0, len(data), 100_000):
            writer.write(data[start : start + 100_000])


def store_for_ever(archive: HttpArchive) -> None:
    with archive.create(5, size=1 << 40) as writer:
        while True:
            writer.write(LONG)


def parts(asked: Asked) -> tuple[bytes, bytes]:
    """Return the bytes of the file and the tail behind them."""
    size = len(asked.body) - int(asked.headers["X-Pacifica-Digest-Tail"])
    return asked.body[:size], asked.body[size:]


def sha256(data: bytes) -> bytes:
    digest = base64.b64encode(hashlib.sha256(data).digest())
    return b"sha-256=:" + digest + b":"


@KINDS
def test_the_bytes_are_followed_by_their_digest(
    server: Scripted, archive: HttpArchive, data: bytes, size: int | None
) -> None:
    store(archive, data, size)
    body, tail = parts(server.asked[0])

    assert (data, sha256(data)) == (body, tail.rstrip(b" "))


@KINDS
def test_a_file_is_one_request(
    server: Scripted, archive: HttpArchive, data: bytes, size: int | None
) -> None:
    store(archive, data, size)

    assert [("PUT", "/files/5")] == [
        (each.method, each.target) for each in server.asked
    ]


@KINDS
def test_digests_given_go_with_the_file(
    server: Scripted, archive: HttpArchive, data: bytes, size: int | None
) -> None:
    store(archive, data, size, md5=bytes(16))

    assert b"md5=:AAAAAAAAAAAAAAAAAAAAAA==:" in parts(server.asked[0])[1]


def test_digests_are_taken_until_the_commit(
    server: Scripted, archive: HttpArchive
) -> None:
    with archive.create(5, size=len(LONG)) as writer:
        writer.write(LONG)
        writer.digests["md5"] = bytes(16)

    assert b"md5=:AAAAAAAAAAAAAAAAAAAAAA==:" in parts(server.asked[0])[1]


@LENGTHS
def test_a_wrong_digest_is_found_before_the_commit(
    server: Scripted, archive: HttpArchive, data: bytes
) -> None:
    with pytest.raises(DigestMismatch):
        store(archive, data, len(data), **{"sha-256": bytes(32)})

    assert [] == [asked for asked in server.asked if asked.body[-1:] in b" :"]


@LENGTHS
@pytest.mark.parametrize("name", ["SHA-1", "a b", "1a", "", "\u00e4"])
def test_a_digest_that_cannot_be_named_is_refused(
    archive: HttpArchive, data: bytes, name: str
) -> None:
    with pytest.raises(NotSupported, match="name of a digest"):
        store(archive, data, len(data), **{name: b"x"})


@LENGTHS
def test_digests_that_have_no_room_are_refused(
    archive: HttpArchive, data: bytes
) -> None:
    with pytest.raises(NotSupported, match="keeps 8 digests"):
        store(archive, data, len(data), x=bytes(4096))


@LENGTHS
def test_a_time_is_sent_to_the_nanosecond(
    server: Scripted, archive: HttpArchive, data: bytes
) -> None:
    with archive.create(5, size=len(data), mtime_ns=-1) as writer:
        writer.write(data)

    assert "-1" == server.asked[0].headers["X-Pacifica-Mtime-Ns"]


@LENGTHS
@pytest.mark.parametrize(("overwrite", "sent"), [(False, "*"), (True, None)])
def test_only_who_overwrites_makes_no_condition(
    server: Scripted,
    archive: HttpArchive,
    data: bytes,
    sent: str | None,
    *,
    overwrite: bool,
) -> None:
    with archive.create(5, size=len(data), overwrite=overwrite) as writer:
        writer.write(data)

    assert sent == server.asked[0].headers.get("If-None-Match")


@pytest.mark.parametrize("size", [len(SHORT), None], ids=["held", "spooled"])
def test_what_is_not_committed_is_not_sent(
    server: Scripted, archive: HttpArchive, size: int | None
) -> None:
    writer = archive.create(5, size=size)
    writer.write(SHORT if size else LONG)
    writer.discard()

    assert [] == server.asked


@pytest.mark.parametrize("end", ["discard", "close"])
def test_a_stream_that_is_not_committed_is_never_whole(
    server: Scripted, archive: HttpArchive, end: str
) -> None:
    """All bytes of the file were sent; the last of the body is the tail's."""
    writer = archive.create(5, size=len(LONG))
    writer.write(LONG)
    if end == "discard":
        writer.discard()
    else:
        archive.close()
    ended = server.ended.wait(60)
    writer.discard()

    assert (True, LONG) == (ended, server.asked[0].body)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem("precondition-failed", 412), FileExists),
        (problem("file-exists", 409), FileExists),
        (problem("archive-full", 507), ArchiveFull),
        (problem("archive-unavailable", 503), ArchiveUnavailable),
        (problem("transfers-busy", 503), ArchiveUnavailable),
        (problem("access-denied", 500), AccessDenied),
        (problem("client-busy", 429), ArchiveUnavailable),
        (problem("unauthorized", 401), AccessDenied),
        (problem("forbidden", 403), AccessDenied),
        (Reply(status=401), AccessDenied),
        (Reply(status=413, body=b"<html>"), ArchiveUnavailable),
        (Reply(status=502), ArchiveUnavailable),
    ],
)
def test_a_refusal_in_the_midst_is_its_own_error(
    reply: Reply, kind: type[ArchiveError]
) -> None:
    """While the rest cannot be sent any more."""
    with (
        Scripted(lambda _: reply, early=True) as server,
        archive_of(server.url) as archive,
        pytest.raises(ArchiveError) as caught,
    ):
        store_for_ever(archive)

    assert kind is type(caught.value)


def test_a_connection_that_breaks_in_the_midst_stores_nothing() -> None:
    with (
        Scripted(lambda _: None, early=True) as server,
        archive_of(server.url) as archive,
        pytest.raises(ArchiveUnavailable, match="nothing is stored"),
    ):
        store_for_ever(archive)


def test_a_stream_that_cannot_begin_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    with (
        archive_of(f"http://127.0.0.1:{port}") as archive,
        pytest.raises(ArchiveUnavailable),
    ):
        archive.create(5, size=len(LONG))
