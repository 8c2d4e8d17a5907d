"""Digests: computed and verified on the way in, told on the way out."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import (
    PATIENCE_S,
    ByCall,
    OverHttp,
    connect,
    environment,
    log_lines,
    wait_until,
)
from hypothesis import given
from hypothesis import strategies as st

from pacifica_archive_core import Archive, FileDamaged, MemoryArchive
from pacifica_archive_http import make_app
from pacifica_archive_http.digests import find_want, parse_algorithms, parse_tail
from pacifica_archive_http.options import ServerOptions
from pacifica_archive_http.status_table import BadRequest
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asking import Answer, Ask

    from pacifica_archive_core import FileStatus
    from pacifica_archive_core.memory import MemoryReader

DATA = b"bytes that are meant"
#: So long that it is digested by a thread of its own.
LONG = bytes(range(256)) * 6000

MAKE: dict[str, Callable[[bytes], bytes]] = {
    "sha-512": lambda data: hashlib.sha512(data).digest(),
    "sha-256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "adler": lambda data: zlib.adler32(data).to_bytes(4, "big"),
}


def _encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _field(data: bytes, *algorithms: str) -> str:
    return ", ".join(
        f"{name}=:{_encode(MAKE[name](data))}:" for name in algorithms or ["sha-256"]
    )


def _flip(data: bytes, position: int) -> bytes:
    """Flip one bit of one byte."""
    flipped = bytearray(data)
    flipped[position] ^= 1
    return bytes(flipped)


def _digests(data: bytes, *algorithms: str) -> dict[str, bytes]:
    return {name: MAKE[name](data) for name in algorithms or ["sha-256"]}


@attrs.frozen
class Upload:
    """What is sent: a body and its fields."""

    body: bytes
    headers: Mapping[str, str]


def _tailed(data: bytes, tail: bytes | str | None = None, *, size: int = 200) -> Upload:
    """Make an upload that ends with a digest tail: the right one, if none is given."""
    tail = _field(data) if tail is None else tail
    tail = tail.encode() if isinstance(tail, str) else tail
    return Upload(data + tail.ljust(size), {"X-Pacifica-Digest-Tail": str(size)})


# --- what is computed and kept ----------------------------------------------------


@pytest.mark.parametrize("data", [b"", DATA, LONG], ids=["empty", "short", "long"])
def test_sha_256_of_every_upload_is_kept(memory: MemoryArchive, data: bytes) -> None:
    ByCall(make_app(memory))("PUT", "/5", data)

    assert _digests(data) == memory.digests(5)


@pytest.mark.parametrize("algorithms", [(), ("md5",), ("adler", "sha-512", "md5")])
def test_those_that_the_server_is_told_to_compute_are_kept(
    memory: MemoryArchive, algorithms: tuple[str, ...]
) -> None:
    ByCall(make_app(memory, ServerOptions(digests=algorithms)))("PUT", "/5", LONG)

    assert {name: MAKE[name](LONG) for name in algorithms} == memory.digests(5)


@pytest.mark.parametrize("algorithm", MAKE)
def test_one_that_was_claimed_is_computed_and_kept_too(
    memory: MemoryArchive, algorithm: str
) -> None:
    call = ByCall(make_app(memory))

    call("PUT", "/5", DATA, {"Repr-Digest": _field(DATA, algorithm)})

    assert _digests(DATA, "sha-256", algorithm) == memory.digests(5)


def test_one_that_is_unknown_is_not_kept_as_it_was_not_verified(
    memory: MemoryArchive,
) -> None:
    call = ByCall(make_app(memory))

    call("PUT", "/5", DATA, {"Repr-Digest": "crc32c=:AAAAAA==:"})

    assert _digests(DATA) == memory.digests(5)


def test_an_unknown_algorithm_is_refused_when_the_application_is_made(
    memory: MemoryArchive,
) -> None:
    with pytest.raises(ValueError, match="'crc32c': allowed are sha-512, sha-256, md5"):
        make_app(memory, ServerOptions(digests=("sha-256", "crc32c")))


@pytest.mark.parametrize(
    ("text", "algorithms"),
    [
        ("none", ()),
        ("sha-256", ("sha-256",)),
        (" adler ,md5,adler", ("adler", "md5")),
    ],
)
def test_algorithms_are_written_with_commas(
    text: str, algorithms: tuple[str, ...]
) -> None:
    assert algorithms == parse_algorithms(text)


@pytest.mark.parametrize("text", ["", "sha256", "SHA-256", "none,md5", "md5,"])
def test_what_is_no_algorithm_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are"):
        parse_algorithms(text)


# --- what is refused leaves the old file ------------------------------------------


REFUSED: dict[str, Upload] = {
    "body, by a field": Upload(_flip(DATA, 7), {"Repr-Digest": _field(DATA)}),
    "last byte, by a field": Upload(_flip(DATA, -1), {"Digest": "adler32=" + "0" * 8}),
    "long body, by a field": Upload(
        _flip(LONG, 1_100_000), {"Content-Digest": _field(LONG)}
    ),
    "bit of the digest in a field": Upload(
        DATA, {"Repr-Digest": _flip(_field(DATA).encode(), 12).decode()}
    ),
    "last bit of the digest in a field": Upload(
        DATA, {"Repr-Digest": f"sha-256=:{_encode(_flip(MAKE['sha-256'](DATA), -1))}:"}
    ),
    "last bit of the digest in the tail": _tailed(
        DATA, f"sha-256=:{_encode(_flip(MAKE['sha-256'](DATA), -1))}:"
    ),
    "other digest in a field": Upload(DATA, {"Repr-Digest": _field(_flip(DATA, 0))}),
    "fields that disagree": Upload(
        DATA, {"Repr-Digest": _field(DATA), "Content-Digest": _field(LONG)}
    ),
    "fields of two algorithms that disagree": Upload(
        DATA, {"Repr-Digest": _field(DATA), "Digest": "adler32=00000001"}
    ),
    "body, by the tail": Upload(_flip(_tailed(DATA).body, 7), _tailed(DATA).headers),
    "long body, by the tail": Upload(
        _flip(_tailed(LONG).body, 1_100_000), _tailed(LONG).headers
    ),
    "name in the tail": Upload(
        _flip(_tailed(DATA).body, len(DATA)), _tailed(DATA).headers
    ),
    "digest in the tail": Upload(
        _flip(_tailed(DATA).body, len(DATA) + 12), _tailed(DATA).headers
    ),
    "first of the padding": Upload(
        _flip(_tailed(DATA).body, len(DATA) + len(_field(DATA))), _tailed(DATA).headers
    ),
    "last of the padding": Upload(_flip(_tailed(DATA).body, -1), _tailed(DATA).headers),
    "tail and field disagree": Upload(
        _tailed(DATA).body, {**_tailed(DATA).headers, "Repr-Digest": _field(LONG)}
    ),
    "second of the tail, which a field had the server compute": Upload(
        _tailed(DATA, f"{_field(DATA)}, {_field(LONG, 'md5')}").body,
        {**_tailed(DATA).headers, "Repr-Digest": _field(DATA, "md5")},
    ),
    "two in the tail that disagree": _tailed(DATA, f"{_field(LONG)}, {_field(DATA)}"),
    "tail of blanks": _tailed(DATA, ""),
    "tail without sha-256": _tailed(DATA, _field(DATA, "sha-512")),
    "tail with a digest that is too short": _tailed(DATA, "sha-256=:AAAA:"),
    "tail that is not ASCII": _tailed(DATA, _field(DATA).encode() + b" \xa0"),
    "tail with padding before it": _tailed(DATA, "\n" + _field(DATA)),
    "tail with another digest that is too short": _tailed(
        DATA, f"{_field(DATA)}, md5=:AAAA:"
    ),
    "tail with an empty digest": _tailed(DATA, f"{_field(DATA)}, crc32c=::"),
    "tail with a digest that is too long": _tailed(
        DATA, f"{_field(DATA)}, x=:{_encode(bytes(65))}:"
    ),
    "tail with too long a name": _tailed(DATA, f"{_field(DATA)}, {'x' * 65}=:AAAA:"),
    "tail with too many digests": _tailed(
        *(DATA, ", ".join([_field(DATA), *(f"x{n}=:AAAA:" for n in range(16))])),
        size=1000,
    ),
    "tail that is longer than the body": Upload(
        _field(DATA).encode(), {"X-Pacifica-Digest-Tail": "1000"}
    ),
    "tail that is too long": _tailed(DATA, size=65537),
    **{
        f"tail of {size!r} bytes": Upload(
            _tailed(DATA).body, {"X-Pacifica-Digest-Tail": size}
        )
        for size in ("", "0", "-200", "+200", "0200", "2e2", "200 ", "٢")
    },
}


def _look(call: ByCall, archive: Archive) -> tuple[object, ...]:
    """Return all that can be known of file 5, and what else lies in the store."""
    answer = call("GET", "/files/5")
    incoming: list[Any] = []
    if not isinstance(archive, MemoryArchive):
        incoming = list((archive.options.prefix / ".incoming").iterdir())
    return (
        *(answer.status, answer.body, answer.headers["etag"]),
        *(answer.headers.get("repr-digest"), dict(archive.digests(5)), incoming),
    )


@pytest.mark.parametrize("name", REFUSED)
def test_an_upload_that_is_not_as_meant_leaves_the_old_file(
    call: ByCall, archive: Archive, name: str
) -> None:
    call("PUT", "/5", b"old")
    before = _look(call, archive)

    upload = REFUSED[name]
    answer = call("PUT", "/5", upload.body, upload.headers)

    assert (400, before) == (answer.status, _look(call, archive))


@pytest.mark.parametrize("name", ["body, by a field", "body, by the tail"])
def test_a_flipped_bit_is_called_a_mismatch(call: ByCall, name: str) -> None:
    upload = REFUSED[name]
    answer = call("PUT", "/5", upload.body, upload.headers)

    assert "digest-mismatch" == answer.headers["x-pacifica-problem"]


CUT = {
    "nothing but a length": Upload(LONG, {}),
    "a field": Upload(LONG, {"Repr-Digest": _field(LONG)}),
    "a tail": _tailed(LONG),
    "little but a tail": _tailed(DATA, size=2000),
}


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("name", CUT)
def test_an_upload_that_is_cut_leaves_the_old_file(
    call: ByCall, archive: Archive, name: str, tenth: int
) -> None:
    call("PUT", "/5", b"old")
    before = _look(call, archive)

    upload = CUT[name]
    env = environment("PUT", "/5", upload.body, upload.headers)
    env["wsgi.input"] = io.BytesIO(upload.body[: len(upload.body) * tenth // 10])
    answer = call.send(env)

    assert ("incomplete-write", before) == (
        answer.headers["x-pacifica-problem"],
        _look(call, archive),
    )


def test_a_tail_that_lacks_its_last_blank_is_a_cut_one(call: ByCall) -> None:
    upload = _tailed(DATA)
    env = environment("PUT", "/5", upload.body, upload.headers)
    env["wsgi.input"] = io.BytesIO(upload.body[:-1])

    answer = call.send(env)

    assert "file 5: 199 of 200 bytes of the digest tail came" == answer.json["message"]


@pytest.mark.parametrize("way", ["a field", "a tail", "little but a tail"])
def test_an_upload_that_is_cut_on_the_wire_leaves_the_old_file(
    tmp_path: Path, way: str
) -> None:
    log = tmp_path / "log"
    upload = CUT[way]
    fields = {**upload.headers, "Content-Length": str(len(upload.body)), "Host": "x"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with running_server("-t", "memory", "--log-file", str(log)) as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"old")
        for tenth in range(10):
            with connect(server.address) as connection:
                connection.sendall(f"PUT /5 HTTP/1.1\r\n{lines}\r\n".encode())
                connection.sendall(upload.body[: len(upload.body) * tenth // 10])
        wait_until(lambda: len(log_lines(log, "/5")) == 11, "not every upload ended")
        answer = ask("GET", "/files/5")

    assert (b"old", _field(b"old")) == (answer.body, answer.headers["repr-digest"])


# --- the tail ---------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", DATA, LONG], ids=["empty", "short", "long"])
def test_a_tail_is_no_part_of_the_file(ask: Ask, file_id: int, data: bytes) -> None:
    upload = _tailed(data)

    answer = ask("PUT", f"/{file_id}", upload.body, upload.headers)

    assert (201, str(len(data))) == (answer.status, answer.json["total_bytes"])
    assert data == ask("GET", f"/{file_id}").body


@pytest.mark.parametrize("name", ["body, by the tail", "last of the padding"])
def test_a_tail_that_does_not_hold_is_refused_by_every_server(
    ask: Ask, file_id: int, name: str
) -> None:
    upload = REFUSED[name]

    assert 400 == ask("PUT", f"/{file_id}", upload.body, upload.headers).status
    assert 404 == ask("GET", f"/{file_id}").status


@pytest.mark.parametrize("size", [52 + 3, 1 << 16])
def test_a_tail_may_have_any_size_in_which_it_fits(call: ByCall, size: int) -> None:
    assert len(_field(DATA)) == 52 + 3 - 1
    upload = _tailed(DATA, size=size)

    assert 201 == call("PUT", "/5", upload.body, upload.headers).status


def test_a_digest_of_the_tail_that_was_not_computed_is_kept_as_it_is_said(
    memory: MemoryArchive,
) -> None:
    upload = _tailed(DATA, f"md5=:{_encode(bytes(16))}:, x=:AAAA:, {_field(DATA)}")

    ByCall(make_app(memory))("PUT", "/5", upload.body, upload.headers)

    assert memory.digests(5) == _digests(DATA) | {"md5": bytes(16), "x": bytes(3)}


def test_sha_256_of_the_tail_is_verified_by_a_server_that_computes_none(
    memory: MemoryArchive,
) -> None:
    call = ByCall(make_app(memory, ServerOptions(digests=())))
    upload = REFUSED["body, by the tail"]

    assert 400 == call("PUT", "/5", upload.body, upload.headers).status


def test_a_digest_of_the_tail_that_was_computed_is_verified(
    memory: MemoryArchive,
) -> None:
    call = ByCall(make_app(memory, ServerOptions(digests=("md5",))))
    upload = _tailed(DATA, f"{_field(DATA)}, md5=:{_encode(bytes(16))}:")

    assert 400 == call("PUT", "/5", upload.body, upload.headers).status


def test_a_tail_needs_a_length(call: ByCall) -> None:
    upload = _tailed(DATA)
    headers = {**upload.headers, "Repr-Digest": _field(upload.body)}

    answer = call("PUT", "/5", upload.body, headers, chunked=True)

    assert (411, 404) == (answer.status, call("GET", "/5").status)


def test_a_body_with_a_tail_that_is_refused_is_taken_in(call: ByCall) -> None:
    upload = _tailed(DATA)
    body = io.BytesIO(upload.body)
    headers = {**upload.headers, "If-Match": '"other"'}

    ByCall(call.app, {"wsgi.input": body})("PUT", "/5", upload.body, headers)

    assert len(upload.body) == body.tell()


def test_the_bytes_in_the_log_are_those_of_the_file(memory: MemoryArchive) -> None:
    lines: list[bytes] = []
    upload = _tailed(DATA)

    ByCall(make_app(memory, access_log=lines.append))(
        "PUT", "/5", upload.body, upload.headers
    )

    assert f'"bytes":{len(DATA)},'.encode() in lines[0]


@given(st.binary(max_size=80))
def test_no_tail_is_more_than_a_bad_request(tail: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_tail(tail)


# --- what readers are told --------------------------------------------------------


def _told(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name in {"repr-digest", "digest"}
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_digest_is_told_at_the_standard_address(
    call: ByCall, archive: Archive, method: str
) -> None:
    call("PUT", "/5", DATA)
    if not archive.digests(5):
        pytest.skip("no extended attributes here")

    assert {"repr-digest": _field(DATA)} == _told(call(method, "/files/5"))


def test_a_part_has_the_digest_of_the_whole_file(memory: MemoryArchive) -> None:
    data = bytes(range(256)) * (3 << 12)
    call = ByCall(make_app(memory))
    call("PUT", "/5", data)

    answer = call("GET", "/files/5", headers={"Range": "bytes=5-9"})

    assert (206, data[5:10]) == (answer.status, answer.body)
    assert {"repr-digest": _field(data)} == _told(answer)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_all_digests_that_are_kept_are_told(memory: MemoryArchive, method: str) -> None:
    call = ByCall(make_app(memory, ServerOptions(digests=("sha-256", "md5", "adler"))))
    call("PUT", "/5", DATA)

    assert {"repr-digest": _field(DATA, "adler", "md5", "sha-256")} == _told(
        call(method, "/files/5")
    )


def test_one_whose_name_no_field_can_hold_is_left_out(memory: MemoryArchive) -> None:
    with memory.create(5) as writer:
        writer.digests.update({"SHA 1": b"a", "crc32c": b"b", "Über": b"c"})

    answer = ByCall(make_app(memory))("HEAD", "/files/5")

    assert {"repr-digest": "crc32c=:Yg==:"} == _told(answer)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/5", {}),
        ("/5", {"Want-Repr-Digest": "nonsense"}),
        ("/files/5", {"If-None-Match": "*"}),
        ("/files/5", {"If-Match": '"other"'}),
        ("/files/5", {"Want-Repr-Digest": "sha-256=0"}),
        ("/files/5", {"Want-Digest": "sha-256;q=0, md5;q=0.0"}),
        ("/files/5", {"Want-Digest": "unixsum"}),
        ("/files/5", {"Want-Repr-Digest": "unixsum=1"}),
    ],
)
def test_no_digest_is_told(
    memory: MemoryArchive, method: str, target: str, headers: dict[str, str]
) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/5", DATA)

    assert {} == _told(call(method, target, headers=headers))


class _Forgetful(MemoryArchive):
    """Keeps no digests, as a backend that has not thought of them."""

    digests = Archive.digests


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_the_backend_keeps_none_there_is_no_field(method: str) -> None:
    with _Forgetful() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        answer = call(method, "/files/5")

    assert (200, {}) == (answer.status, _told(answer))


# --- what readers want ------------------------------------------------------------

HELLO = b"hello"
MD5, ADLER = "XUFAKrxLKna5cZ2REBfFkg==", "062c0215"

WANTED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "one that is kept": (
        {"Want-Repr-Digest": "sha-256=1"},
        {"repr-digest": _field(HELLO)},
    ),
    "some that are kept, and others": (
        {"Want-Repr-Digest": "adler=10, md5=1, sha-512=9, sha-256=2"},
        {"repr-digest": _field(HELLO, "sha-256", "md5")},
    ),
    "none of those that are kept": (
        {"Want-Repr-Digest": "crc32c=10, adler=3, sha-512=4"},
        {"repr-digest": _field(HELLO, "sha-512")},
    ),
    "the first of what is wanted as much": (
        {"Want-Repr-Digest": "adler=3, sha-512=3"},
        {"repr-digest": _field(HELLO, "adler")},
    ),
    "not all of what it names": (
        {"Want-Repr-Digest": "sha-256=0, md5=1"},
        {"repr-digest": _field(HELLO, "md5")},
    ),
    "what has parameters": (
        {"Want-Repr-Digest": "md5=1;x=2"},
        {"repr-digest": _field(HELLO, "md5")},
    ),
    # The bytes that gfal2 2.21.3 was seen to send and to take.
    "as gfal-sum ADLER32": ({"Want-Digest": "ADLER32"}, {"digest": f"adler32={ADLER}"}),
    "as gfal-sum MD5": ({"Want-Digest": "MD5"}, {"digest": f"md5={MD5}"}),
    "several in the old field": (
        {"Want-Digest": "MD5;q=0.3, sha-256"},
        {"digest": f"sha-256={_encode(MAKE['sha-256'](HELLO))},md5={MD5}"},
    ),
    "weights in the old field": (
        {"Want-Digest": "unixsum, sha-512;q=0.1, adler32 ; q=0.5"},
        {"digest": f"adler32={ADLER}"},
    ),
    "something in each field": (
        {"Want-Digest": "adler32", "Want-Repr-Digest": "md5=1"},
        {"digest": f"adler32={ADLER}", "repr-digest": _field(HELLO, "md5")},
    ),
    "nothing in one field": (
        {"Want-Digest": "adler32", "Want-Repr-Digest": "md5=0"},
        {"digest": f"adler32={ADLER}"},
    ),
    "nonsense in one field": (
        {"Want-Digest": "adler32", "Want-Repr-Digest": "md5"},
        {"digest": f"adler32={ADLER}"},
    ),
}


@pytest.mark.parametrize("target", ["/5", "/files/5"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", WANTED)
def test_who_wants_a_digest_is_told_it_in_the_form_he_knows(
    memory: MemoryArchive, method: str, target: str, name: str
) -> None:
    call = ByCall(make_app(memory, ServerOptions(digests=("sha-256", "md5"))))
    call("PUT", "/5", HELLO)
    headers, told = WANTED[name]

    assert told == _told(call(method, target, headers=headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"Want-Repr-Digest": ""},
        {"Want-Repr-Digest": "md5"},
        {"Want-Repr-Digest": "md5=11"},
        {"Want-Repr-Digest": "md5=-1"},
        {"Want-Repr-Digest": "md5=0.5"},
        {"Want-Repr-Digest": "MD5=1"},
        {"Want-Repr-Digest": "md5=1,"},
        {"Want-Digest": ""},
        {"Want-Digest": "md5;q=2"},
        {"Want-Digest": "md5;q=1.5"},
        {"Want-Digest": "md5;x=1"},
        {"Want-Digest": "md5 adler32"},
    ],
)
def test_a_want_that_is_malformed_is_passed_over(
    memory: MemoryArchive, headers: dict[str, str]
) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/5", DATA)

    assert {"repr-digest": _field(DATA)} == _told(
        call("HEAD", "/files/5", headers=headers)
    )


@given(
    st.sampled_from(["HTTP_WANT_REPR_DIGEST", "HTTP_WANT_DIGEST"]),
    st.text(st.characters(codec="latin-1"), max_size=60),
)
def test_no_want_is_an_error(name: str, text: str) -> None:
    want = find_want({name: text})

    assert want is None or want.missing({}) <= MAKE.keys()


def test_a_digest_that_was_computed_is_not_kept(memory: MemoryArchive) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/5", DATA)

    call("HEAD", "/files/5", headers={"Want-Digest": "MD5"})

    assert _digests(DATA) == memory.digests(5)


@pytest.mark.parametrize("size", [5, 300_000])
@pytest.mark.parametrize(("first", "status"), [(None, 200), (3, 206)])
def test_the_bytes_are_those_wanted_though_a_digest_is_computed(
    ask: Ask, file_id: int, size: int, first: int | None, status: int
) -> None:
    data = LONG[:size]
    ask("PUT", f"/{file_id}", data)
    headers = {"Want-Digest": "md5"} | ({"Range": f"bytes={first}-"} if first else {})

    answer = ask("GET", f"/files/{file_id}", headers=headers)

    assert (status, data[first:]) == (answer.status, answer.body)
    assert {"digest": f"md5={_encode(MAKE['md5'](data))}"} == _told(answer)


def test_of_a_file_on_tape_what_is_kept_is_told(memory: MemoryArchive) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/5", DATA)
    memory.purge(5)

    assert {"repr-digest": _field(DATA)} == _told(call("HEAD", "/files/5"))


def test_a_file_on_tape_is_not_recalled_for_a_digest(memory: MemoryArchive) -> None:
    call = ByCall(make_app(memory))
    call("PUT", "/5", DATA)
    memory.purge(5)

    answer = call("HEAD", "/files/5", headers={"Want-Digest": "adler32"})

    assert (200, {}, False) == (
        answer.status,
        _told(answer),
        memory.stage(5),
    )


def test_without_a_free_place_no_digest_is_computed(memory: MemoryArchive) -> None:
    ByCall(make_app(memory))("PUT", "/5", DATA)
    call = ByCall(make_app(memory, ServerOptions(max_transfers=0)))

    answers = [
        call(method, "/files/5", headers={"Want-Digest": "md5"})
        for method in ("HEAD", "GET")
    ]

    assert [(200, {})] * 2 == [(each.status, _told(each)) for each in answers]


def test_a_place_is_given_back_when_the_digest_is_computed(
    memory: MemoryArchive,
) -> None:
    call = ByCall(make_app(memory, ServerOptions(max_transfers=1)))
    call("PUT", "/5", DATA)

    answers = [
        call("HEAD", "/files/5", headers={"Want-Digest": "md5"}) for _ in range(2)
    ]

    assert [True, True] == ["digest" in answer.headers for answer in answers]


# --- what the store is asked ------------------------------------------------------


class _Counting(MemoryArchive):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        self.asked.append("open")
        return super()._open(file_id, recall=recall)

    def _status(self, file_id: int) -> FileStatus:
        self.asked.append("status")
        return super()._status(file_id)

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        self.asked.append("digests")
        return super().digests(file_id)


@pytest.mark.parametrize(
    ("method", "target", "headers", "asked"),
    [
        ("HEAD", "/5", {}, ["status"]),
        ("GET", "/5", {}, ["open"]),
        ("HEAD", "/5", {"Want-Repr-Digest": "sha-256=0"}, ["status"]),
        ("HEAD", "/files/5", {"Want-Repr-Digest": "sha-256=0"}, ["status"]),
        ("GET", "/files/5", {"Want-Digest": "md5;q=0"}, ["open"]),
        ("HEAD", "/files/5", {}, ["status", "digests", "status"]),
        ("GET", "/files/5", {}, ["open", "digests", "status"]),
        ("HEAD", "/files/5", {"If-None-Match": "*"}, ["status"]),
        ("GET", "/files/5", {"Range": "bytes=99-"}, ["open"]),
    ],
)
def test_the_store_is_asked_no_more_than_is_told(
    method: str, target: str, headers: dict[str, str], asked: list[str]
) -> None:
    with _Counting() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        archive.asked.clear()
        call(method, target, headers=headers)

    assert asked == archive.asked


class _Replaced(_Counting):
    """Has another version as soon as it is asked ``at``, for the second time."""

    at = "digests"

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        self._replace("digests", file_id)
        return super().digests(file_id)

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        self._replace("open", file_id)
        return super()._open(file_id, recall=recall)

    def _replace(self, place: str, file_id: int) -> None:
        if place == self.at:
            self.at = ""
            with self.create(file_id, overwrite=True) as writer:
                writer.write(b"new")
                writer.digests.update(_digests(b"new"))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_digest_of_a_version_to_come_is_never_told(method: str) -> None:
    with _Replaced() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        etag = f'"{archive.status(5).version}"'
        answer = call(method, "/files/5")

    assert (etag, {}) == (answer.headers["etag"], _told(answer))


def test_the_digest_of_a_version_to_come_is_never_computed() -> None:
    with _Replaced() as archive:
        archive.at = "open"
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        etag = f'"{archive.status(5).version}"'
        answer = call("HEAD", "/files/5", headers={"Want-Digest": "md5"})

    assert (etag, {}) == (answer.headers["etag"], _told(answer))


def test_a_file_that_is_deleted_meanwhile_has_no_digest() -> None:
    class Deleted(MemoryArchive):
        def digests(self, file_id: int) -> Mapping[str, bytes]:
            self.delete(file_id)
            return super().digests(file_id)

    with Deleted() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        answer = call("GET", "/files/5")

    assert (DATA, {}) == (answer.body, _told(answer))


class _SlowReading(MemoryArchive):
    """Whose readers wait."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def _open(self, file_id: int, *, recall: bool) -> MemoryReader:
        reader = super()._open(file_id, recall=recall)
        self.reading.set()
        assert self.go_on.wait(PATIENCE_S), "nobody let it go on"
        return reader


def test_digests_that_are_asked_for_leave_places_for_transfers() -> None:
    """Who asked may be gone long before a large file is read."""
    want = {"Want-Repr-Digest": "sha-512=5"}
    with _SlowReading() as archive, ThreadPoolExecutor(1) as pool:
        call = ByCall(make_app(archive, ServerOptions(max_transfers=4)))
        call("PUT", "/5", DATA)
        first = pool.submit(call, "HEAD", "/files/5", None, want)
        try:
            archive.reading.wait(PATIENCE_S)
            second = call("HEAD", "/files/5", None, want)
            stored = call("PUT", "/6", DATA)
        finally:
            archive.go_on.set()
        told = "repr-digest" in first.result(PATIENCE_S).headers

    assert (True, False, 201) == (
        told,
        "repr-digest" in second.headers,
        stored.status,
    )


class _DamagedDigests(MemoryArchive):
    def digests(self, file_id: int) -> Mapping[str, bytes]:
        raise FileDamaged(file_id, "the digests kept with it are damaged")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "want", "status"),
    [
        ("/files/5", None, 500),
        ("/files/5", "sha-256=0", 200),
        ("/5", None, None),
        ("/5", "sha-256=1", 500),
    ],
)
def test_damaged_digests_are_told_where_digests_are(
    method: str, target: str, want: str | None, status: int | None
) -> None:
    with _DamagedDigests() as archive:
        call = ByCall(make_app(archive))
        call("PUT", "/5", DATA)
        answer = call(
            method, target, headers={"Want-Repr-Digest": want} if want else None
        )

    expected = status or {"GET": 200, "HEAD": 204}[method]
    assert (expected, "file-damaged" if expected == 500 else None) == (
        answer.status,
        answer.headers.get("x-pacifica-problem"),
    )
