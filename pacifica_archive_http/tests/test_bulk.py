"""Many ids in one request, and what our own client asks for besides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from asking import ByCall

from pacifica_archive_core import ArchiveUnavailable, MemoryArchive
from pacifica_archive_core.records import record_of
from pacifica_archive_core.testing.base import store
from pacifica_archive_http import make_app
from pacifica_archive_http.bulk import MAX_IDS
from pacifica_archive_http.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asking import Ask

    from pacifica_archive_core import Archive, ArchiveError, FileStatus


def lines(body: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in body.splitlines()]


def as_json(file_id: int, answer: FileStatus | ArchiveError) -> dict[str, object]:
    record: dict[str, object] = json.loads(json.dumps(record_of(file_id, answer)))
    return record


def test_statuses_come_in_the_order_of_the_ids_with_duplicates(
    call: ByCall, archive: Archive
) -> None:
    store(archive, 5, b"five")
    store(archive, 7, b"seven!!")

    answer = call("POST", "/files/status", b"7\n6\n5\n7\n")

    expected = [
        as_json(file_id, found) for file_id, found in archive.status_many([7, 6, 5, 7])
    ]
    assert (200, expected) == (answer.status, lines(answer.body))


def test_the_answer_has_its_length_and_type(call: ByCall) -> None:
    answer = call("POST", "/files/status", b"1\n2")

    expected = (str(len(answer.body)), "application/jsonl")
    assert expected == (
        answer.headers["content-length"],
        answer.headers["content-type"],
    )


def test_no_ids_have_no_answers(call: ByCall) -> None:
    answer = call("POST", "/files/status", b"")

    assert (200, b"") == (answer.status, answer.body)


def test_staging_says_of_each_whether_it_is_on_disk(memory: MemoryArchive) -> None:
    call = ByCall(make_app(memory))
    store(memory, 1, b"one")
    store(memory, 2, b"two")
    memory.purge(2)

    answer = call("POST", "/files/stage", b"1\n2\n3\n")

    assert [
        {"file_id": 1, "online": True},
        {"file_id": 2, "online": False},
        {"file_id": 3, "error": "NoSuchFile", "message": "file 3: not in the archive"},
    ] == lines(answer.body)


def test_what_was_staged_is_on_its_way(memory: MemoryArchive) -> None:
    store(memory, 2, b"two")
    memory.purge(2)
    ByCall(make_app(memory))("POST", "/files/stage", b"2")
    memory.finish_recalls()

    assert memory.status(2).online


@pytest.mark.parametrize("number", ["-1", str(2**63), "9" * 31])
def test_a_number_that_is_no_id_is_told_in_its_line(call: ByCall, number: str) -> None:
    answer = call("POST", "/files/status", f"{number}\n".encode())

    assert (200, ["InvalidFileId"]) == (
        answer.status,
        [line["error"] for line in lines(answer.body)],
    )


@pytest.mark.parametrize(
    "line", [b'"5"', b"5.0", b"+5", b"05", b"1e3", b"{}", b"\xff", b"9" * 32, b"null"]
)
def test_a_line_that_is_no_integer_is_refused_with_its_number(
    call: ByCall, line: bytes
) -> None:
    answer = call("POST", "/files/status", b"1\n" + line + b"\n3\n")

    assert (400, "line 2 is no id: the body is one JSON integer a line") == (
        answer.status,
        answer.json["message"],
    )


def test_as_many_as_allowed_are_answered(call: ByCall) -> None:
    body = b"".join(b"%d\n" % number for number in range(MAX_IDS))

    assert MAX_IDS == len(lines(call("POST", "/files/status", body).body))


def test_one_more_than_allowed_is_refused_with_the_number(call: ByCall) -> None:
    answer = call("POST", "/files/status", b"1\n" * (MAX_IDS + 1))

    assert (413, "one request takes at most 10000 ids") == (
        answer.status,
        answer.json["message"],
    )


def test_a_body_longer_than_any_list_is_not_read(call: ByCall) -> None:
    answer = call("POST", "/files/status", b" " * (MAX_IDS * 32 + 1))

    assert (413, "content-too-large") == (
        answer.status,
        answer.json["type"].rpartition(":")[2],
    )


class _FailingInTheMidst(MemoryArchive):
    def status_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, FileStatus | ArchiveError]]:
        yield from super().status_many(list(file_ids)[:1])
        raise ArchiveUnavailable("the store is gone")


def test_a_store_that_fails_in_the_midst_is_no_short_answer() -> None:
    with _FailingInTheMidst() as archive:
        answer = ByCall(make_app(archive))("POST", "/files/status", b"1\n2\n")

    assert (503, "the store is gone") == (answer.status, answer.json["message"])


def test_bulk_takes_a_place_for_a_transfer(memory: MemoryArchive) -> None:
    call = ByCall(make_app(memory, ServerOptions(max_transfers=0)))

    assert 503 == call("POST", "/files/status", b"1").status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_addresses_are_for_post_only(call: ByCall, method: str) -> None:
    answer = call(method, "/files/status", b"")

    assert (405, True) == (answer.status, "POST" in answer.headers["allow"])


def test_a_live_server_answers_in_bulk(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"here")

    answer = ask("POST", "/files/status", b"%d\n" % file_id)

    assert [4] == [line["size"] for line in lines(answer.body)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_status_comes_with_an_answer_that_is_asked_for_it(
    call: ByCall, archive: Archive, method: str
) -> None:
    store(archive, 5, b"five", mtime_ns=-1)

    answer = call(method, "/files/5", headers={"X-Pacifica-Want": "status"})

    assert as_json(5, archive.status(5)) == json.loads(
        answer.headers["x-pacifica-status"]
    )


def test_the_status_comes_with_a_part_too(call: ByCall, archive: Archive) -> None:
    store(archive, 5, b"five")

    answer = call(
        "GET", "/files/5", headers={"X-Pacifica-Want": "status", "Range": "bytes=1-2"}
    )

    assert (206, 4) == (
        answer.status,
        json.loads(answer.headers["x-pacifica-status"])["size"],
    )


def test_no_status_comes_unasked(call: ByCall, archive: Archive) -> None:
    store(archive, 5, b"five")

    assert "x-pacifica-status" not in call("GET", "/files/5").headers


@pytest.mark.parametrize("mtime_ns", [0, -1, 1473806059290000001])
def test_an_upload_may_say_its_time_to_the_nanosecond(
    call: ByCall, archive: Archive, mtime_ns: int
) -> None:
    headers = {
        "X-Pacifica-Mtime-Ns": str(mtime_ns),
        "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    }
    call("PUT", "/5", b"five", headers)

    assert mtime_ns == archive.status(5).mtime_ns


@pytest.mark.parametrize("text", ["", "1.5", "+1", "now", "1" * 21, "9" * 19, "--1"])
def test_a_time_that_is_no_number_is_refused(
    call: ByCall, archive: Archive, text: str
) -> None:
    store(archive, 5, b"old")

    answer = call("PUT", "/5", b"new", {"X-Pacifica-Mtime-Ns": text})

    assert (400, 3, "X-Pacifica-Mtime-Ns is nanoseconds since 1970, in 64 bits") == (
        answer.status,
        archive.status(5).size,
        answer.json["message"],
    )
