from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import ByCall, close, environment

from pacifica_archive_core import FileDamaged, MemoryArchive
from pacifica_archive_core.memory import MemoryReader
from pacifica_archive_http import make_app
from pacifica_archive_http.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_core import Archive

LONG = bytes(range(250)) * 4000


class _Held:
    """A body that does not come before it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self._blocks = [b"bytes", b""]

    def read(self, _size: int) -> bytes:
        self.asked.set()
        assert self.let_go.wait(20)
        return self._blocks.pop(0)


@attrs.define
class _Upload:
    """A PUT that goes on in a thread of its own."""

    body: _Held
    thread: threading.Thread
    status: list[int]


def _begin_upload(call: ByCall, target: str) -> _Upload:
    body = _Held()
    status: list[int] = []
    slow = ByCall(call.app, {"wsgi.input": body})
    thread = threading.Thread(
        target=lambda: status.append(slow("PUT", target, b"bytes").status)
    )
    thread.start()
    assert body.asked.wait(20)
    return _Upload(body, thread, status)


@pytest.fixture
def busy(archive: Archive) -> Iterator[tuple[ByCall, _Upload]]:
    """Make an application with two places, and take both by uploads."""
    call = ByCall(make_app(archive, ServerOptions(max_transfers=2)))
    call("PUT", "/5", LONG)
    uploads = [_begin_upload(call, f"/{number}") for number in (1, 2)]
    yield call, uploads[0]
    for upload in uploads:
        upload.body.let_go.set()
        upload.thread.join(20)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_transfer_too_many_is_a_503(
    busy: tuple[ByCall, _Upload], method: str
) -> None:
    body = b"bytes" if method == "PUT" else None

    answer = busy[0](method, "/5", body)

    assert (503, "5", "urn:pacifica-archive:transfers-busy") == (
        answer.status,
        answer.headers["retry-after"],
        answer.json["type"],
    )


def test_a_transfer_too_many_is_refused_before_its_body_is_read(
    busy: tuple[ByCall, _Upload],
) -> None:
    body = _Held()

    ByCall(busy[0].app, {"wsgi.input": body})("PUT", "/5", b"bytes")

    assert not body.asked.is_set()


def test_what_is_refused_otherwise_does_not_wait_for_its_body_then(
    busy: tuple[ByCall, _Upload],
) -> None:
    body = _Held()

    ByCall(busy[0].app, {"wsgi.input": body})("PUT", "/no-id", b"bytes")

    assert not body.asked.is_set()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/5", 204),
        ("HEAD", "/files/5", 200),
        ("POST", "/5", 200),
        ("DELETE", "/5", 200),
    ],
)
def test_what_is_no_transfer_is_served_meanwhile(
    busy: tuple[ByCall, _Upload], method: str, target: str, status: int
) -> None:
    assert status == busy[0](method, target).status


def test_the_place_of_an_upload_that_ended_is_free(
    busy: tuple[ByCall, _Upload],
) -> None:
    call, upload = busy
    upload.body.let_go.set()
    upload.thread.join(20)

    assert [201] == upload.status
    assert LONG == call("GET", "/5").body


@pytest.fixture
def narrow(archive: Archive) -> ByCall:
    """Make an application with one place, and store file 5."""
    call = ByCall(make_app(archive, ServerOptions(max_transfers=1)))
    call("PUT", "/5", LONG)
    return call


def test_a_download_holds_a_place_until_it_is_closed(narrow: ByCall) -> None:
    _, _, parts = narrow.begin(environment("GET", "/5"))

    assert 503 == narrow("GET", "/5").status
    close(parts)
    assert 200 == narrow("GET", "/5").status


def test_closing_twice_frees_one_place(narrow: ByCall) -> None:
    _, _, parts = narrow.begin(environment("GET", "/5"))
    close(parts)
    close(parts)

    _, _, other = narrow.begin(environment("GET", "/5"))
    status = narrow("GET", "/5").status
    close(other)

    assert 503 == status


@pytest.mark.parametrize("request_", ["PUT short", "PUT digest", "GET", "PATCH"])
def test_a_transfer_that_fails_frees_its_place(narrow: ByCall, request_: str) -> None:
    match request_:
        case "PUT short":
            narrow.send(environment("PUT", "/6", b"a", {"Content-Length": "9"}))
        case "PUT digest":
            narrow("PUT", "/6", b"a", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
        case "GET":
            narrow("GET", "/6")
        case _:
            narrow("PATCH", "/6", b"{")

    assert LONG == narrow("GET", "/5").body


class _DamagedReader(MemoryReader):
    """Fails behind ``good`` bytes."""

    good = 0

    def _read_at(self, size: int, position: int) -> bytes:
        if position + size > self.good:
            raise FileDamaged(self.status.file_id)
        return super()._read_at(size, position)


class _Damaged(MemoryArchive):
    """An archive whose files are unreadable from some byte on."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self._good = good

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        with super()._open(file_id, recall=recall) as reader:
            data = reader.readall()
            damaged = _DamagedReader(self, reader.status, data)
        damaged.good = self._good
        return damaged


class _SlowReader(MemoryReader):
    """Gives a thousand bytes at a time: a short read is not the end."""

    def _read_at(self, size: int, position: int) -> bytes:
        return super()._read_at(min(size, 1000), position)


class _Slow(MemoryArchive):
    """An archive whose reads are short."""

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        with super()._open(file_id, recall=recall) as reader:
            return _SlowReader(self, reader.status, reader.readall())


@pytest.mark.parametrize("size", [5000, 100_000])
def test_a_file_is_sent_whole_though_reads_are_short(size: int) -> None:
    with _Slow() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", LONG[:size])

        assert LONG[:size] == call("GET", "/5").body


def test_a_file_that_cannot_be_read_at_all_is_a_500() -> None:
    with _Damaged(0) as archive:
        call = ByCall(make_app(archive, ServerOptions(max_transfers=1)))
        call("PUT", "/5", LONG)
        answers = [call("GET", "/5") for _ in range(2)]

    assert ["urn:pacifica-archive:file-damaged"] * 2 == [
        answer.json["type"] for answer in answers
    ]


def test_an_error_has_no_field_of_the_file() -> None:
    with _Damaged(0) as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", LONG)
        answer = call("GET", "/5", headers={"Range": "bytes=5-"})

    assert {
        *("content-type", "content-length", "x-request-id", "x-pacifica-problem")
    } == set(answer.headers)


def test_a_file_that_fails_on_the_way_breaks_the_answer() -> None:
    """The server then breaks the connection: see test_live."""
    with _Damaged(600_000) as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", LONG)
        status, headers, parts = call.begin(environment("GET", "/5"))
        came: list[bytes] = []
        with pytest.raises(FileDamaged):
            came.extend(parts)
        close(parts)

    assert (200, str(len(LONG))) == (status, headers["content-length"])
    assert LONG[: 2 << 18] == b"".join(came)


@attrs.define
class _Wrapper:
    """What gunicorn puts in ``wsgi.file_wrapper``, and what it was given."""

    file: Any
    block_size: int

    def __iter__(self) -> Iterator[bytes]:
        # By the descriptor, as sendfile does it.
        size = os.fstat(self.file.fileno()).st_size
        yield os.pread(self.file.fileno(), size, 0)

    def close(self) -> None:
        self.file.close()


def test_a_whole_file_goes_through_the_servers_wrapper(posix: Archive) -> None:
    call = ByCall(make_app(posix), {"wsgi.file_wrapper": _Wrapper})
    call("PUT", "/5", LONG)

    _, headers, parts = call.begin(environment("GET", "/5"))
    body = b"".join(parts)
    close(parts)

    assert isinstance(parts, _Wrapper)
    assert (LONG, str(len(LONG))) == (body, headers["content-length"])


@pytest.mark.parametrize(
    ("backend", "headers"),
    [("posix", {"Range": "bytes=5-"}), ("memory", {})],
    ids=["a range", "no descriptor"],
)
def test_what_the_wrapper_cannot_do_goes_in_blocks(
    request: pytest.FixtureRequest, backend: str, headers: dict[str, str]
) -> None:
    call = ByCall(
        make_app(request.getfixturevalue(backend)), {"wsgi.file_wrapper": _Wrapper}
    )
    call("PUT", "/5", LONG)

    answer = call("GET", "/5", headers=headers)

    assert LONG[5:] == answer.body[-len(LONG) + 5 :]


def test_the_wrapper_frees_the_place(posix: Archive) -> None:
    call = ByCall(
        make_app(posix, ServerOptions(max_transfers=1)), {"wsgi.file_wrapper": _Wrapper}
    )
    call("PUT", "/5", LONG)

    assert [200, 200] == [call("GET", "/5").status for _ in range(2)]


def test_a_reader_keeps_the_version_it_described(archive: Archive) -> None:
    call = ByCall(make_app(archive))
    call("PUT", "/5", LONG)
    _, headers, parts = call.begin(environment("GET", "/5"))
    call("PUT", "/5", b"other")

    body = b"".join(parts)
    close(parts)

    assert (str(len(LONG)), LONG) == (headers["content-length"], body)


def test_two_downloads_do_not_share_a_file(archive: Archive) -> None:
    """In release 0.4.2 one of two got the other's bytes."""
    call = ByCall(make_app(archive))
    contents = {"/5": LONG, "/6": LONG[::-1]}
    for target, data in contents.items():
        call("PUT", target, data)
    bodies = {key: call.begin(environment("GET", key))[2] for key in contents}

    got: dict[str, bytes] = dict.fromkeys(contents, b"")
    turns = [(key, iter(parts)) for key, parts in bodies.items()]
    for _ in range(len(LONG) >> 17):
        for key, blocks in turns:
            got[key] += next(blocks, b"")
    for parts in bodies.values():
        close(parts)

    assert contents == got
