"""The Pacifica wire (wire.md) through every server; one resource, two addresses."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core import FileStatus, Media, Residency, StorageLevel
from pacifica_archive_http.wire_v1 import status_headers

if TYPE_CHECKING:
    from asking import Ask

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
SECONDS = 784111777.0

ADDRESSES = pytest.mark.parametrize("at", ["/{}", "/files/{}"])
HEAD_NAMES = (
    "x-pacifica-messsage",
    "x-pacifica-message",
    "x-pacifica-file",
    "x-content-length",
    "last-modified",
    "x-pacifica-ctime",
    "x-pacifica-bytes-per-level",
    "x-pacifica-file-storage-media",
)


def test_the_root_says_that_the_server_is_up(ask: Ask) -> None:
    answer = ask("GET", "/")

    assert {"message": "Pacifica Archive Interface Up and Running"} == answer.json


def test_the_root_has_a_head(ask: Ask) -> None:
    assert (200, b"") == ((answer := ask("HEAD", "/")).status, answer.body)


@ADDRESSES
def test_put_answers_201_with_the_size_as_a_string(
    ask: Ask, file_id: int, at: str
) -> None:
    answer = ask("PUT", at.format(file_id), b"Document Contents 24 byt")

    assert (201, {"message": "File added to archive", "total_bytes": "24"}) == (
        answer.status,
        answer.json,
    )


@ADDRESSES
@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 262144, 1_000_003])
def test_get_returns_what_was_put(ask: Ask, file_id: int, at: str, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    ask("PUT", at.format(file_id), data[:size])

    answer = ask("GET", at.format(file_id))

    assert (200, str(size)) == (answer.status, answer.headers["content-length"])
    assert data[:size] == answer.body


@ADDRESSES
def test_put_over_a_file_replaces_it(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"the old and longer one")

    answer = ask("PUT", at.format(file_id), b"the new one")

    assert 201 == answer.status
    assert b"the new one" == ask("GET", at.format(file_id)).body


@ADDRESSES
def test_get_describes_the_file(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"bytes", {"Last-Modified": DATE})

    headers = ask("GET", at.format(file_id)).headers

    assert ("application/octet-stream", "bytes", DATE) == (
        headers["content-type"],
        headers["accept-ranges"],
        headers["last-modified"],
    )
    assert headers["etag"].startswith('"')
    assert headers["etag"].endswith('"')


@ADDRESSES
def test_get_never_has_a_content_encoding(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"a" * 100_000)

    answer = ask("GET", at.format(file_id), headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in answer.headers


def test_head_is_a_204_in_the_words_of_pacifica(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"eighteen bytes are", {"Last-Modified": DATE})

    answer = ask("HEAD", f"/{file_id}")

    assert 204 == answer.status
    assert {
        "x-pacifica-messsage": "File was found",
        "x-pacifica-message": "File was found",
        "x-content-length": "18",
        "last-modified": "784111777.0",
        "x-pacifica-bytes-per-level": "(18,)",
        "x-pacifica-file-storage-media": "disk",
        "content-type": "application/json",
    }.items() <= answer.headers.items()


def test_head_tells_where_the_backend_keeps_the_file(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"bytes")

    assert str(file_id) in ask("HEAD", f"/{file_id}").headers["x-pacifica-file"]


def test_head_has_the_length_of_the_file_where_the_server_lets_it(
    ask: Ask, file_id: int, request: pytest.FixtureRequest
) -> None:
    ask("PUT", f"/{file_id}", b"eighteen bytes are")

    length = ask("HEAD", f"/{file_id}").headers.get("content-length")

    # Gunicorn knows that a 204 has none.
    wanted = None if request.node.callspec.params["ask"] == "gunicorn" else "18"
    assert wanted == length


def test_head_has_the_time_of_storing_as_a_float(ask: Ask, file_id: int) -> None:
    before = time.time()
    ask("PUT", f"/{file_id}", b"bytes", {"Last-Modified": DATE})

    ctime = float(ask("HEAD", f"/{file_id}").headers["x-pacifica-ctime"])

    # The clock of a file system ticks less often than that of Python.
    assert before - 0.1 <= ctime <= time.time()


def test_head_of_a_missing_file_has_the_same_fields(ask: Ask, file_id: int) -> None:
    answer = ask("HEAD", f"/{file_id}")

    assert 404 == answer.status
    assert ["File Not Found"] * 8 == [answer.headers[name] for name in HEAD_NAMES]


@ADDRESSES
def test_post_says_that_the_file_was_staged(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"bytes")

    answer = ask("POST", at.format(file_id))

    assert (200, {"file": f"/{file_id}", "message": "File was staged"}) == (
        answer.status,
        answer.json,
    )


@ADDRESSES
def test_delete_removes_the_file(ask: Ask, file_id: int, at: str) -> None:
    ask("PUT", at.format(file_id), b"bytes")

    assert 200 == ask("DELETE", at.format(file_id)).status
    assert 404 == ask("GET", at.format(file_id)).status


@ADDRESSES
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_missing_file_is_a_404_with_a_message(
    ask: Ask, file_id: int, at: str, method: str
) -> None:
    answer = ask(method, at.format(file_id))

    assert (404, f"file {file_id}: not in the archive") == (
        answer.status,
        answer.json["message"],
    )


def test_both_addresses_are_one_resource(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"bytes")

    assert b"bytes" == ask("GET", f"/files/{file_id}").body


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        time.ctime(SECONDS),
    ],
    ids=["rfc9110", "rfc850", "asctime in local time"],
)
def test_last_modified_counts_in_each_of_its_three_shapes(
    ask: Ask, file_id: int, date: str
) -> None:
    ask("PUT", f"/{file_id}", b"bytes", {"Last-Modified": date})

    modified = ask("HEAD", f"/{file_id}").headers["last-modified"]

    assert SECONDS == float(modified)


def test_without_last_modified_the_time_is_now(ask: Ask, file_id: int) -> None:
    before = time.time()
    ask("PUT", f"/{file_id}", b"bytes")

    modified = float(ask("HEAD", f"/{file_id}").headers["last-modified"])

    assert before - 0.1 <= modified <= time.time()


def test_a_date_that_is_none_is_a_400_and_stores_nothing(
    ask: Ask, file_id: int
) -> None:
    answer = ask("PUT", f"/{file_id}", b"bytes", {"Last-Modified": "yesterday"})

    assert 400 == answer.status
    assert 404 == ask("GET", f"/{file_id}").status


@pytest.mark.parametrize(
    ("part", "wanted"), [("2-5", b"cde"), ("0-0", b""), ("20-99", b"uvwxyz")]
)
def test_byte_range_is_half_open_and_a_200(
    ask: Ask, file_id: int, part: str, wanted: bytes
) -> None:
    ask("PUT", f"/{file_id}", b"abcdefghijklmnopqrstuvwxyz")

    answer = ask("GET", f"/{file_id}?byte_range={part}")

    assert (200, wanted) == (answer.status, answer.body)


@pytest.mark.parametrize("part", ["", "5", "5-2", "-5", "a-b", "1-2-3"])
def test_a_byte_range_that_is_none_is_a_400(ask: Ask, file_id: int, part: str) -> None:
    ask("PUT", f"/{file_id}", b"abcdef")

    assert 400 == ask("GET", f"/{file_id}?byte_range={part}").status


def test_a_byte_range_behind_the_end_is_a_416(ask: Ask, file_id: int) -> None:
    ask("PUT", f"/{file_id}", b"abcdef")

    assert 416 == ask("GET", f"/{file_id}?byte_range=7-8").status


def test_byte_range_is_no_spelling_of_the_standard_address(
    ask: Ask, file_id: int
) -> None:
    ask("PUT", f"/{file_id}", b"abcdef")

    assert b"abcdef" == ask("GET", f"/files/{file_id}?byte_range=2-5").body


@pytest.mark.parametrize(
    "text",
    [
        "abc", "+1", "-1", "1_2", "01", "1.0", "%20", "1%20", "%D9%A1", "1%0A",
        "9223372036854775808", "0x10", "%00", "%31%C3%A9", "1" * 300,
    ],
)  # fmt: skip
@ADDRESSES
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_what_is_no_id_is_a_400(ask: Ask, at: str, method: str, text: str) -> None:
    body = b"bytes" if method == "PUT" else None

    assert 400 == ask(method, at.format(text), body).status


def test_nothing_is_no_id(ask: Ask) -> None:
    assert 400 == ask("GET", "/files/").status


@pytest.mark.parametrize("number", [0, 2**63 - 1])
def test_the_first_and_the_last_id_are_ids(ask: Ask, number: int) -> None:
    ask("PUT", f"/{number}", b"bytes")

    assert b"bytes" == ask("GET", f"/{number}").body


@pytest.mark.parametrize("target", ["/a/b", "/1/2", "/files/1/2", "/1/"])
def test_an_unknown_address_is_a_404(ask: Ask, target: str) -> None:
    assert 404 == ask("GET", target).status


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/", "POST", {"GET", "HEAD", "OPTIONS"}),
        ("/5", "TRACE", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}),
    ],
)
def test_a_method_that_is_not_there_is_a_405_with_allow(
    ask: Ask, target: str, method: str, allowed: set[str]
) -> None:
    answer = ask(method, target)

    assert 405 == answer.status
    assert allowed == set(answer.headers["allow"].split(", "))


def test_errors_are_rfc_9457_and_have_a_message(ask: Ask, file_id: int) -> None:
    answer = ask("GET", f"/{file_id}")

    assert "application/problem+json" == answer.headers["content-type"]
    assert {
        "type": "urn:pacifica-archive:no-such-file",
        "title": "File Not Found",
        "status": 404,
        "detail": f"file {file_id}: not in the archive",
        "message": f"file {file_id}: not in the archive",
    } == answer.json


def test_files_of_concurrent_requests_are_exact(ask: Ask, file_id: int) -> None:
    """Release 0.4.2 stored 70 of 200 corrupt: all requests shared one file."""
    ids = [file_id * 1_000_000 + number for number in range(200)]
    contents = {number: f"{number} ".encode() * 3000 for number in ids}
    together = threading.Barrier(8)

    def store_and_fetch(numbers: list[int]) -> dict[int, bytes]:
        together.wait(20)
        for number in numbers:
            ask("PUT", f"/{number}", contents[number])
        return {number: ask("GET", f"/{number}").body for number in numbers}

    with ThreadPoolExecutor(8) as pool:
        found = pool.map(store_and_fetch, (ids[start::8] for start in range(8)))

        assert contents == {key: data for part in found for key, data in part.items()}


def test_a_body_sent_as_a_form_is_stored_as_it_is(ask: Ask, file_id: int) -> None:
    """Release 0.4.2 took what ``curl --data-binary`` sends for parameters."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    ask("PUT", f"/{file_id}", b"a=1&b=2", form)

    assert b"a=1&b=2" == ask("GET", f"/{file_id}").body


def test_the_request_id_comes_back(ask: Ask) -> None:
    answer = ask("GET", "/", headers={"X-Request-Id": "cart-17/retry.2"})

    assert "cart-17/retry.2" == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/srv/the archive/5", "/srv/the archive/5"),
        ("/srv/\u00e4rchive/5", "/srv/%C3%A4rchive/5"),
        ("/srv/a\r\nX-Evil: 1/5", "/srv/a%0D%0AX-Evil%3A 1/5"),
        ("/srv/\udcff/5", "/srv/%FF/5"),
    ],
)
def test_no_path_breaks_the_head(path: str, wanted: str) -> None:
    status = FileStatus(
        file_id=5,
        path=path,
        size=1,
        mtime_ns=1,
        ctime_ns=1,
        version="1",
        levels=(StorageLevel(Media.DISK, 1),),
        residency=Residency.DISK,
        residency_source="test",
    )

    assert wanted == dict(status_headers(status))["X-Pacifica-File"]
