"""``/files/{id}``: what RFC 9110 wants of a resource, by whole requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asking import ByCall

from pacifica_archive_core import MemoryArchive, NoSuchFile
from pacifica_archive_http import make_app

if TYPE_CHECKING:
    from asking import Ask

    from pacifica_archive_core import Archive, FileStatus

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
DATA = bytes(range(256)) * 1000
ADDRESSES = pytest.mark.parametrize("at", ["/{}", "/files/{}"])


def test_head_is_get_without_the_body(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/files/{file_id}", DATA, {"Last-Modified": DATE})

    got, head = (ask(verb, f"/files/{file_id}") for verb in ("GET", "HEAD"))

    passing = {"x-request-id", "date"}
    assert (200, b"") == (head.status, head.body)
    assert {k: v for k, v in got.headers.items() if k not in passing} == {
        k: v for k, v in head.headers.items() if k not in passing
    }


def test_head_of_a_missing_file_is_a_404(ask: Ask, file_id: int) -> None:
    answer = ask("HEAD", f"/files/{file_id}")

    assert (404, b"") == (answer.status, answer.body)


def test_a_new_version_has_a_new_tag(ask: Ask, file_id: int) -> None:
    tags = set()
    for _ in range(3):
        ask("PUT", f"/{file_id}", b"bytes", {"Last-Modified": DATE})
        tags.add(ask("HEAD", f"/files/{file_id}").headers["etag"])

    assert 3 == len(tags)


@ADDRESSES
@pytest.mark.parametrize(
    ("field", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-70000", 100, 70000),
        ("bytes=200000-", 200000, 255999),
        ("bytes=-70000", 186000, 255999),
        ("bytes=-5", 255995, 255999),
    ],
)
def test_a_range_is_a_206(
    ask: Ask, file_id: int, at: str, field: str, first: int, last: int
) -> None:
    ask("PUT", at.format(file_id), DATA)

    answer = ask("GET", at.format(file_id), headers={"Range": field})

    assert (206, f"bytes {first}-{last}/{len(DATA)}", str(last - first + 1)) == (
        answer.status,
        answer.headers["content-range"],
        answer.headers["content-length"],
    )
    assert DATA[first : last + 1] == answer.body


@ADDRESSES
def test_a_range_behind_the_end_is_a_416_with_the_size(
    ask: Ask, file_id: int, at: str
) -> None:
    ask("PUT", at.format(file_id), b"abc")

    answer = ask("GET", at.format(file_id), headers={"Range": "bytes=3-"})

    assert (416, "bytes */3") == (answer.status, answer.headers["content-range"])


def test_several_ranges_are_answered_by_the_whole_file(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/files/{file_id}", b"abcdef")

    answer = ask("GET", f"/files/{file_id}", headers={"Range": "bytes=0-0,2-2"})

    assert (200, b"abcdef") == (answer.status, answer.body)


def test_a_range_of_another_version_is_answered_by_the_whole_file(
    ask: Ask, file_id: int
) -> None:
    ask("PUT", f"/files/{file_id}", b"abcdef")
    tag = ask("HEAD", f"/files/{file_id}").headers["etag"]
    ask("PUT", f"/files/{file_id}", b"ABCDEF")

    answer = ask(
        "GET", f"/files/{file_id}", headers={"Range": "bytes=2-", "If-Range": tag}
    )

    assert (200, b"ABCDEF") == (answer.status, answer.body)


def test_head_passes_over_a_range(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/files/{file_id}", b"abcdef")

    answer = ask("HEAD", f"/files/{file_id}", headers={"Range": "bytes=2-3"})

    assert (200, "6") == (answer.status, answer.headers["content-length"])


@ADDRESSES
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_reader_that_is_current_is_told_so(
    ask: Ask, file_id: int, at: str, method: str
) -> None:
    ask("PUT", at.format(file_id), b"bytes", {"Last-Modified": DATE})
    tag = ask("GET", at.format(file_id)).headers["etag"]

    answer = ask(method, at.format(file_id), headers={"If-None-Match": tag})

    assert (304, b"", tag) == (answer.status, answer.body, answer.headers["etag"])


@ADDRESSES
@pytest.mark.parametrize(
    ("method", "headers"), [("GET", {}), ("GET", {"Range": "bytes=1-2"}), ("HEAD", {})]
)
def test_an_answer_tells_how_the_residency_is_known(
    archive: Archive, at: str, method: str, headers: dict[str, str]
) -> None:
    call = ByCall(make_app(archive))
    call("PUT", "/5", b"bytes")

    answer = call(method, at.format(5), headers=headers)

    assert (
        archive.status(5).residency_source
        == answer.headers["x-pacifica-residency-source"]
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_reader_keeps_is_not_told_where_the_file_is_now(
    call: ByCall, method: str
) -> None:
    """A cache would add it to the answer that it keeps (RFC 9111, 4.3.4)."""
    call("PUT", "/5", b"bytes")
    tag = call("GET", "/5").headers["etag"]

    answer = call(method, "/5", headers={"If-None-Match": tag})

    assert "x-pacifica-residency-source" not in answer.headers


@ADDRESSES
def test_a_reader_of_that_time_is_told_so(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"bytes", {"Last-Modified": DATE})

    answer = ask("GET", at.format(file_id), headers={"If-Modified-Since": DATE})

    assert 304 == answer.status


@ADDRESSES
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_another_version_than_was_meant_is_a_412(
    ask: Ask, file_id: int, at: str, method: str
) -> None:
    ask("PUT", at.format(file_id), b"bytes")
    body = b"other" if method == "PUT" else None

    answer = ask(method, at.format(file_id), body, {"If-Match": '"another"'})

    assert 412 == answer.status
    assert b"bytes" == ask("GET", at.format(file_id)).body


def test_the_version_that_was_meant_is_replaced(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/files/{file_id}", b"bytes")
    tag = ask("HEAD", f"/files/{file_id}").headers["etag"]

    answer = ask("PUT", f"/files/{file_id}", b"other", {"If-Match": tag})

    assert 201 == answer.status
    assert b"other" == ask("GET", f"/files/{file_id}").body


def test_if_match_never_creates_a_file(ask: Ask, file_id: int) -> None:
    assert 412 == ask("PUT", f"/{file_id}", b"bytes", {"If-Match": "*"}).status
    assert 404 == ask("GET", f"/{file_id}").status


def test_create_only_creates(ask: Ask, file_id: int) -> None:
    assert 201 == ask("PUT", f"/{file_id}", b"bytes", {"If-None-Match": "*"}).status


def test_create_only_never_replaces(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"bytes")

    answer = ask("PUT", f"/{file_id}", b"other", {"If-None-Match": "*"})

    assert (412, "urn:pacifica-archive:precondition-failed") == (
        answer.status,
        answer.json["type"],
    )
    assert b"bytes" == ask("GET", f"/{file_id}").body


class _Rival:
    """A body that takes its time: meanwhile another client stores a file."""

    def __init__(self, ask: Ask, target: str) -> None:
        self._ask = ask
        self._target = target
        self._blocks = [b"late", b""]

    def read(self, _size: int) -> bytes:
        if len(self._blocks) == 2:
            self._ask("PUT", self._target, b"rival")
        return self._blocks.pop(0)


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_a_file_stored_meanwhile_is_not_replaced_unseen(
    archive: Archive, condition: str
) -> None:
    """Create-only is enforced by the commit, If-Match looked at again before it."""
    call = ByCall(make_app(archive))
    value = "*"
    if condition == "If-Match":
        call("PUT", "/5", b"first")
        value = call("GET", "/5").headers["etag"]
    slow = ByCall(make_app(archive), {"wsgi.input": _Rival(call, "/5")})

    answer = slow("PUT", "/5", b"late", {condition: value})

    assert 412 == answer.status
    assert b"rival" == call("GET", "/5").body


class _Blind(MemoryArchive):
    """Knows of no file before its commit: as when a rival stores just then."""

    def _status(self, file_id: int) -> FileStatus:
        raise NoSuchFile(file_id)


def test_create_only_is_enforced_by_the_store() -> None:
    with _Blind() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", b"rival")
        answer = call("PUT", "/5", b"other", {"If-None-Match": "*"})

    assert (412, "precondition-failed") == (
        answer.status,
        answer.json["type"].rpartition(":")[2],
    )


@ADDRESSES
def test_the_version_that_was_meant_is_sent(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"bytes")
    tag = ask("GET", at.format(file_id)).headers["etag"]

    answer = ask("GET", at.format(file_id), headers={"If-Match": tag})

    assert (200, b"bytes") == (answer.status, answer.body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_bytes_needs_none_from_tape(
    memory: MemoryArchive, method: str
) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/files/5", b"bytes")
    tag = call("GET", "/files/5").headers["etag"]
    memory.purge(5)

    assert 304 == call(method, "/files/5", headers={"If-None-Match": tag}).status
