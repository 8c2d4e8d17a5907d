"""Windows: what is asked for, and what is made of the answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs
import pytest
from scripted import Asked, Reply, Scripted, content, part_of, problem

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileDamaged,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_core import ArchiveReader

KIB, MIB = 1 << 10, 1 << 20
DATA = content(20 * MIB)


def archive_of(url: str, retry_for_s: float = 0) -> HttpArchive:
    return HttpArchive(HttpOptions(prefix=url, retry_for_s=retry_for_s))


def serve(asked: Asked) -> Reply:
    return part_of(DATA, asked)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted(serve) as server:
        yield server


@pytest.fixture
def reader(server: Scripted) -> Iterator[ArchiveReader]:
    with archive_of(server.url) as archive, archive.open(5) as reader:
        yield reader


def sizes(server: Scripted) -> list[int]:
    """Return how many bytes each window has that was asked for."""
    bounds = [each.split("-") for each in server.ranges]
    return [min(int(last), len(DATA) - 1) - int(first) + 1 for first, last in bounds]


# --- windows


def test_windows_grow_while_a_file_is_read_in_order(
    server: Scripted, reader: ArchiveReader
) -> None:
    while reader.read(10_000):
        pass

    rest = len(DATA) - 16 * MIB - MIB - 64 * KIB
    assert [64 * KIB, MIB, 16 * MIB, rest] == sizes(server)


def test_a_file_read_in_small_pieces_is_exact(reader: ArchiveReader) -> None:
    found = b"".join(iter(lambda: reader.read(100_001), b""))

    assert DATA == found


def test_a_file_read_at_once_is_exact(reader: ArchiveReader) -> None:
    assert DATA == reader.readall()


def test_a_buffer_is_filled_whole(reader: ArchiveReader) -> None:
    buffer = bytearray(3 * MIB)
    filled = reader.readinto(buffer)

    assert (3 * MIB, DATA[: 3 * MIB]) == (filled, bytes(buffer))


def test_a_read_is_filled_whole(reader: ArchiveReader) -> None:
    """Many a library takes fewer bytes for the end of the file."""
    assert DATA[: 3 * MIB] == reader.read(3 * MIB)


def test_reading_at_once_takes_two_requests(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.readall()

    assert [64 * KIB, len(DATA) - 64 * KIB] == sizes(server)


def test_a_jump_begins_small_again(server: Scripted, reader: ArchiveReader) -> None:
    for position in (10 * MIB, 5 * MIB, 15 * MIB):
        reader.seek(position)
        reader.read(10)

    assert [64 * KIB] * 4 == sizes(server)


def test_a_jump_asks_for_no_byte_behind_the_end(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.seek(-22, 2)

    assert (DATA[-22:], [64 * KIB, 22]) == (reader.read(), sizes(server))


def test_a_read_after_a_jump_fetches_what_it_needs(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.seek(10 * MIB)
    found = reader.read(5 * MIB)

    assert (DATA[10 * MIB : 15 * MIB], [64 * KIB, 5 * MIB]) == (found, sizes(server))


def test_a_step_back_in_a_small_window_asks_for_nothing(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.seek(60_000)
    reader.read(100)
    reader.seek(100)
    found = reader.read(100)

    assert (DATA[100:200], 1) == (found, len(server.asked))


def test_a_small_step_on_in_a_long_window_asks_for_nothing(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.read(100_000)
    reader.seek(50_000, 1)
    found = reader.read(10)

    assert (DATA[150_000:150_010], 2) == (found, len(server.asked))


def test_a_long_step_on_is_a_jump(server: Scripted, reader: ArchiveReader) -> None:
    reader.read(100_000)
    reader.seek(500_000)
    found = reader.read(10)

    assert (DATA[500_000:500_010], 64 * KIB) == (found, sizes(server)[-1])


def test_a_connection_is_kept_where_little_was_left(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.read(64 * KIB)
    reader.read(MIB - 1)
    reader.seek(5 * MIB)
    reader.read(1)

    # One for short answers, and one for long windows.
    assert (3, 2) == (len(server.asked), len(server.clients))


def test_later_windows_are_of_the_version_that_is_open(
    server: Scripted, reader: ArchiveReader
) -> None:
    reader.readall()

    assert [None, '"v1"'] == [asked.headers.get("If-Range") for asked in server.asked]


def test_an_empty_file_is_read() -> None:
    def answer(asked: Asked) -> Reply:
        if "Range" in asked.headers:
            return problem("range-unsatisfiable", 416)
        whole = part_of(b"", attrs.evolve(asked, headers={"Range": "bytes=0-0"}))
        return attrs.evolve(whole, status=200)

    with (
        Scripted(answer) as server,
        archive_of(server.url) as archive,
        archive.open(5) as reader,
    ):
        assert b"" == reader.read()


def test_the_digests_come_with_the_first_bytes() -> None:
    def answer(asked: Asked) -> Reply:
        reply = serve(asked)
        reply.headers["Repr-Digest"] = (
            "md5=:AAECAwQFBgcICQoLDA0ODw==:, adler=:AAAAAQ==:"
        )
        return reply

    with (
        Scripted(answer) as server,
        archive_of(server.url) as archive,
        archive.open(5) as reader,
    ):
        found = dict(reader.digests())

        assert ({"md5": bytes(range(16)), "adler": b"\0\0\0\1"}, 1) == (
            found,
            len(server.asked),
        )


# --- answers that are not as they should be


def opening(reply: Callable[[Asked], Reply]) -> object:
    """Return what is read of a file whose first answer is this one."""
    with (
        Scripted(reply) as server,
        archive_of(server.url) as archive,
        archive.open(5) as reader,
    ):
        return reader.read(10)


def changed(**headers: str) -> Callable[[Asked], Reply]:
    """Answer with the right bytes and other fields."""

    def answer(asked: Asked) -> Reply:
        reply = serve(asked)
        return attrs.evolve(reply, headers={**reply.headers, **headers})

    return answer


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Pacifica-Status": ""},
        {"X-Pacifica-Status": "nonsense"},
        {"X-Pacifica-Status": "[]"},
        {"X-Pacifica-Status": "{}"},
        {"X-Pacifica-Status": "[" * 50_000},
        {"ETag": '"v2"'},
        {"ETag": 'W/"v1"'},
        {"Content-Range": "bytes 1-65536/20971520"},
        {"Content-Range": "bytes 0-65535/20971521"},
        {"Content-Range": "bytes 0-65535/*"},
        {"Content-Range": "bytes 0-99999999/20971520"},
        {"Content-Range": ""},
        {"Content-Length": "65537"},
        {"Content-Encoding": "gzip"},
        {"Repr-Digest": "md5=:A:"},
    ],
    ids=str,
)
def test_an_opening_answer_of_no_archive_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ArchiveUnavailable, match="no archive"):
        opening(changed(**headers))


def test_a_status_of_another_file_is_refused() -> None:
    def answer(asked: Asked) -> Reply:
        reply = serve(asked)
        status = reply.headers["X-Pacifica-Status"].replace(
            '"file_id": 5', '"file_id": 6'
        )
        return attrs.evolve(
            reply, headers={**reply.headers, "X-Pacifica-Status": status}
        )

    with pytest.raises(ArchiveUnavailable, match="another file"):
        opening(answer)


def test_a_server_that_knows_no_ranges_is_read() -> None:
    """As a proxy may answer."""

    def answer(asked: Asked) -> Reply:
        reply = part_of(
            DATA, attrs.evolve(asked, headers={"Range": "bytes=0-99999999"})
        )
        del reply.headers["Content-Range"]
        return attrs.evolve(reply, status=200)

    with (
        Scripted(answer) as server,
        archive_of(server.url) as archive,
        archive.open(5) as reader,
    ):
        assert DATA == reader.readall()


def reading_on(
    second: Callable[[Asked], Reply | None], retry_for_s: float = 0
) -> tuple[bytes, int]:
    """Read a file whose second answer is this one; return it, and the requests."""
    count = itertools.count()
    with (
        Scripted(
            lambda asked: second(asked) if next(count) == 1 else serve(asked)
        ) as server,
        archive_of(server.url, retry_for_s) as archive,
        archive.open(5) as reader,
    ):
        return reader.readall(), len(server.asked)


@pytest.mark.parametrize(
    "second",
    [
        lambda _: Reply(body=b"new", headers={"ETag": '"v2"'}),
        changed(ETag='"v2"'),
        changed(ETag=""),
    ],
    ids=["whole", "part", "nameless"],
)
def test_another_version_is_not_mixed_in(second: Callable[[Asked], Reply]) -> None:
    with pytest.raises(FileDamaged, match="was replaced, or its digests"):
        reading_on(second)


def test_a_file_deleted_meanwhile_is_said_to_be() -> None:
    with pytest.raises(FileDamaged, match="was deleted while it was read"):
        reading_on(lambda _: problem("no-such-file", 404))


def test_a_file_that_went_to_tape_meanwhile_is_offline() -> None:
    with pytest.raises(FileOffline):
        reading_on(lambda _: problem("file-offline", 503))


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-20905983/20971520"},
        {"Content-Range": "bytes 65536-20971519/20971521"},
        {"Content-Range": "nonsense"},
        {"Content-Length": "20905985"},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_a_later_answer_of_no_archive_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ArchiveUnavailable, match="no archive"):
        reading_on(changed(**headers))


def cut(asked: Asked) -> Reply:
    """Answer with the first 3,000,000 bytes of the window, and break off."""
    whole = serve(asked)
    return Reply(
        status=whole.status,
        headers={**whole.headers, "Content-Length": str(len(whole.body))},
        body=whole.body[:3_000_000],
        cut=True,
    )


def test_a_broken_connection_is_resumed_where_it_broke() -> None:
    found, requests = reading_on(cut, retry_for_s=60)

    # From there on the windows are those after a jump.
    assert (DATA, True) == (found, requests > 2)


def test_no_byte_comes_twice_over_a_broken_connection() -> None:
    count = itertools.count()
    with (
        Scripted(
            lambda asked: cut(asked) if next(count) == 1 else serve(asked)
        ) as server,
        archive_of(server.url, 60) as archive,
        archive.open(5) as reader,
    ):
        reader.readall()

        assert f"{64 * KIB + 3_000_000}" == server.ranges[2].split("-")[0]


@pytest.mark.parametrize(
    "second",
    [lambda _: None, lambda _: Reply(status=502), lambda _: problem("transfers-busy")],
)
def test_a_window_without_an_answer_is_asked_for_again(
    second: Callable[[Asked], Reply | None],
) -> None:
    found, _ = reading_on(second, retry_for_s=60)

    assert DATA == found


def test_a_connection_that_stays_broken_is_an_error() -> None:
    def answer(asked: Asked) -> Reply | None:
        return serve(asked) if asked.headers["Range"].startswith("bytes=0-") else None

    with (
        Scripted(answer) as server,
        archive_of(server.url, 0.2) as archive,
        archive.open(5) as reader,
        pytest.raises(ArchiveUnavailable),
    ):
        reader.readall()


def test_a_missing_file_is_missing() -> None:
    with pytest.raises(NoSuchFile):
        opening(lambda _: problem("no-such-file", 404))


def test_a_stream_ends_with_its_archive(server: Scripted) -> None:
    archive = archive_of(server.url)
    with archive.open(5) as reader:
        reader.read(MIB)
        archive.close()

        with pytest.raises(ValueError, match="closed"):
            reader.read(1)
