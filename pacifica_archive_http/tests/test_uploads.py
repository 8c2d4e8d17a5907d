"""An upload is stored whole, as it was meant, or not at all."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from typing import TYPE_CHECKING

import pytest
from asking import ByCall, environment
from hypothesis import given
from hypothesis import strategies as st

from pacifica_archive_http import make_app
from pacifica_archive_http.digests import find_claims
from pacifica_archive_http.options import ServerOptions
from pacifica_archive_http.status_table import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from asking import Ask

    from pacifica_archive_core import Archive

DATA = b"bytes that are meant"


def _base64(algorithm: str, data: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


def _adler(data: bytes) -> str:
    return base64.b64encode(zlib.adler32(data).to_bytes(4, "big")).decode()


def _field(data: bytes) -> str:
    return f"sha-256=:{_base64('sha256', data)}:"


SPELLINGS: dict[str, tuple[str, Callable[[bytes], str]]] = {
    "repr": ("Repr-Digest", _field),
    "repr sha-512": (
        "Repr-Digest",
        lambda data: f"sha-512=:{_base64('sha512', data)}:",
    ),
    "repr md5": ("Repr-Digest", lambda data: f"md5=:{_base64('md5', data)}:"),
    "repr among others": (
        "Repr-Digest",
        lambda data: f"crc32c=:AAAAAA==:, {_field(data)};x=1",
    ),
    "content": ("Content-Digest", _field),
    "digest": ("Digest", lambda data: f"SHA-256={_base64('sha256', data)}"),
    "digest among others": (
        "Digest",
        lambda data: f"unixsum=30637,md5={_base64('md5', data)}",
    ),
    "digest adler32": (
        "Digest",
        lambda data: f"ADLER32={zlib.adler32(data):08X}",
    ),
    "repr adler": (
        "Repr-Digest",
        lambda data: f"adler=:{_adler(data)}:",
    ),
    "content-md5": ("Content-MD5", lambda data: _base64("md5", data)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_digest_that_holds_lets_the_file_be_stored(
    call: ByCall, spelling: str, *, chunked: bool
) -> None:
    name, make = SPELLINGS[spelling]

    answer = call("PUT", "/5", DATA, {name: make(DATA)}, chunked=chunked)

    assert (201, str(len(DATA))) == (answer.status, answer.json["total_bytes"])
    assert DATA == call("GET", "/5").body


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_digest_that_does_not_hold_leaves_the_old_file(
    call: ByCall, spelling: str, *, chunked: bool
) -> None:
    name, make = SPELLINGS[spelling]
    call("PUT", "/5", b"old")

    answer = call("PUT", "/5", DATA[:-1], {name: make(DATA)}, chunked=chunked)

    assert (400, "urn:pacifica-archive:digest-mismatch") == (
        answer.status,
        answer.json["type"],
    )
    assert b"old" == call("GET", "/5").body


def test_all_digests_must_hold(call: ByCall) -> None:
    headers = {"Repr-Digest": _field(DATA), "Content-MD5": _base64("md5", b"")}

    assert 400 == call("PUT", "/5", DATA, headers).status


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "sha-256"},
        {"Repr-Digest": "sha-256=abc"},
        {"Repr-Digest": "sha-256=:!:"},
        {"Repr-Digest": "sha-256=:AAAA:"},
        {"Repr-Digest": "sha-256=:AAA:"},
        {"Repr-Digest": "SHA-256=:AAAA:"},
        {"Repr-Digest": "sha-256=AAAA, md5"},
        {"Repr-Digest": "adler=:AAAAAAA=:"},
        {"Content-Digest": ","},
        {"Digest": "SHA-256"},
        {"Digest": "SHA-256=AAAA"},
        {"Digest": "adler32=3da0195"},
        {"Digest": "adler32=03da019g"},
        {"Digest": "adler32=A9oBlQ=="},
        {"Content-MD5": ""},
        {"Content-MD5": "AAAA"},
    ],
)
def test_a_malformed_digest_is_a_400(call: ByCall, headers: dict[str, str]) -> None:
    assert 400 == call("PUT", "/5", DATA, headers).status


@given(
    st.sampled_from(["REPR_DIGEST", "CONTENT_DIGEST", "DIGEST", "CONTENT_MD5"]),
    st.text(st.characters(codec="latin-1"), max_size=60),
)
def test_no_digest_field_is_more_than_a_bad_request(name: str, text: str) -> None:
    try:
        claims = find_claims({f"HTTP_{name}": text})
    except BadRequest:
        claims = []

    assert all(len(claim.digest) in {4, 16, 32, 64} for claim in claims)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Repr-Digest": "crc32c=:AAAAAA==:"},
        {"Digest": "unixsum=30637"},
        {"Content-Length": "3"},
    ],
    ids=["neither", "unknown algorithm", "other unknown", "length beside a coding"],
)
def test_chunks_without_a_digest_are_a_411_that_says_what_to_add(
    call: ByCall, headers: dict[str, str]
) -> None:
    answer = call("PUT", "/5", b"abc", headers, chunked=True)

    assert 411 == answer.status
    assert "Repr-Digest: sha-256" in answer.json["message"]
    assert 404 == call("GET", "/5").status


def test_neither_length_nor_chunks_are_a_411(call: ByCall) -> None:
    assert 411 == call("PUT", "/5").status


def test_chunks_where_the_server_shows_no_end_are_a_411(archive: Archive) -> None:
    call = ByCall(make_app(archive), {"wsgi.input_terminated": False})

    answer = call("PUT", "/5", DATA, {"Repr-Digest": _field(DATA)}, chunked=True)

    assert 411 == answer.status


@pytest.mark.parametrize("length", ["abc", "-1", "+5", "1_0", "9" * 30, "\u0661"])
def test_a_length_that_is_none_is_a_400(call: ByCall, length: str) -> None:
    env = environment("PUT", "/5", b"abc", {"Content-Length": length})

    assert 400 == call.send(env).status


def test_three_of_a_hundred_promised_bytes_are_a_400(call: ByCall) -> None:
    """Release 0.4.2 answered 201 and kept the three."""
    call("PUT", "/5", b"old")
    env = environment("PUT", "/5", b"abc", {"Content-Length": "100"})

    answer = call.send(env)

    assert (400, "urn:pacifica-archive:incomplete-write") == (
        answer.status,
        answer.json["type"],
    )
    assert b"old" == call("GET", "/5").body


def test_a_short_body_is_called_so_though_it_has_a_digest(call: ByCall) -> None:
    headers = {"Content-Length": "100", "Repr-Digest": _field(DATA)}

    answer = call.send(environment("PUT", "/5", DATA, headers))

    assert "urn:pacifica-archive:incomplete-write" == answer.json["type"]


class _Broken(io.BytesIO):
    """A body as gunicorn and uWSGI have it when the client is gone."""

    def read(self, size: int | None = -1) -> bytes:
        if block := super().read(size):
            return block
        raise OSError("client disconnected")


def test_a_connection_that_breaks_is_a_400_and_stores_nothing(
    archive: Archive,
) -> None:
    call = ByCall(make_app(archive), {"wsgi.input": _Broken(b"abc")})

    answer = call("PUT", "/5", b"a" * 100)

    assert 400 == answer.status
    assert 404 == call("GET", "/5").status


def test_an_empty_file_is_a_file(call: ByCall) -> None:
    assert 201 == call("PUT", "/5", b"").status
    assert (200, b"") == ((answer := call("GET", "/5")).status, answer.body)


def test_a_part_is_never_stored_as_the_whole(call: ByCall) -> None:
    headers = {"Content-Range": "bytes 0-2/10"}

    assert 400 == call("PUT", "/5", b"abc", headers).status
    assert 404 == call("GET", "/5").status


def test_a_coding_that_would_be_forgotten_is_a_415(call: ByCall) -> None:
    answer = call("PUT", "/5", b"abc", {"Content-Encoding": "gzip"})

    assert (415, "identity") == (answer.status, answer.headers["accept-encoding"])


def test_the_coding_identity_is_none(call: ByCall) -> None:
    assert 201 == call("PUT", "/5", b"abc", {"Content-Encoding": "identity"}).status


def test_no_more_than_the_length_is_read(archive: Archive) -> None:
    call = ByCall(make_app(archive), {"wsgi.input": io.BytesIO(b"abcGET / HTTP/1.1")})

    call("PUT", "/5", b"abc")

    assert b"abc" == call("GET", "/5").body


@pytest.fixture
def write_once(archive: Archive) -> ByCall:
    return ByCall(make_app(archive, ServerOptions(write_once=True)))


def test_write_once_stores(write_once: ByCall) -> None:
    assert 201 == write_once("PUT", "/5", b"abc").status


def test_write_once_never_replaces(write_once: ByCall) -> None:
    write_once("PUT", "/5", b"abc")

    answer = write_once("PUT", "/5", b"other")

    assert (409, "urn:pacifica-archive:file-exists") == (
        answer.status,
        answer.json["type"],
    )
    assert b"abc" == write_once("GET", "/5").body


def test_write_once_refuses_as_the_client_asked(write_once: ByCall) -> None:
    write_once("PUT", "/5", b"abc")

    assert 412 == write_once("PUT", "/5", b"abc", {"If-None-Match": "*"}).status


def test_write_once_lets_files_be_deleted(write_once: ByCall) -> None:
    write_once("PUT", "/5", b"abc")

    assert 200 == write_once("DELETE", "/5").status


def test_a_short_body_that_is_refused_is_taken_in(call: ByCall) -> None:
    """Who sends all before he looks would see a broken connection instead."""
    body = io.BytesIO(b"a" * 1000)
    env = environment("PUT", "/5", b"a" * 1000, {"Last-Modified": "yesterday"})

    ByCall(call.app, {"wsgi.input": body}).send(env)

    assert 1000 == body.tell()


@pytest.mark.parametrize(
    ("size", "headers"), [(1000, {"Expect": "100-continue"}), (2_000_000, {})]
)
def test_a_long_or_waiting_body_that_is_refused_is_not_taken_in(
    call: ByCall, size: int, headers: dict[str, str]
) -> None:
    body = io.BytesIO(b"a" * size)
    env = environment("PUT", "/5", b"a" * size, {"Last-Modified": "x", **headers})

    ByCall(call.app, {"wsgi.input": body}).send(env)

    assert 0 == body.tell()


def test_head_and_get_of_a_missing_file_make_no_directories(
    request: pytest.FixtureRequest,
) -> None:
    """Release 0.4.2 made them."""
    posix: Archive = request.getfixturevalue("posix")
    call = ByCall(make_app(posix))
    prefix = posix.options.prefix
    before = sorted(prefix.rglob("*"))

    for method in ("GET", "HEAD", "POST", "DELETE"):
        call(method, "/12345")

    assert before == sorted(prefix.rglob("*"))


def test_no_address_leads_out_of_the_archive(
    ask: Ask, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Release 0.4.2 served any file of the host to ``GET /..%2f``."""
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(b"not to be had")
    spelled = str(secret).replace("/", "%2f")

    targets = [
        *(f"{'/..' * depth}{secret}" for depth in (0, 1, 3, 12)),
        *(f"/{'..%2f' * depth}{spelled}" for depth in (0, 1, 3, 12)),
        f"/{spelled}",
        f"/files/{spelled}",
        f"/5%2f..%2f..%2f{spelled}",
        f"/%2e%2e{spelled}",
        f"//{secret}",
    ]
    answers = [ask("GET", target) for target in targets]

    assert {404, 400} >= {answer.status for answer in answers}
    assert not any(b"not to be had" in answer.body for answer in answers)
