"""
What a hostile or broken client may write to a socket, and what may come of it.

Each attempt is for an id of its own. Beside them is a file that none of them names but
inside of a body: whoever takes a part of a body for a request changes it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANARY", "Attempt", "Ending", "attempts"]

#: The id of the file that nobody may change: no mutation of another id is this one.
CANARY = 9_007_199_254_740_993
_SMUGGLED = (
    b"DELETE /%d HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
    b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nevil" % CANARY,
    b"0\r\n\r\nDELETE /%d HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
    b"\r\n\r\nDELETE /files/%d HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
)


class Ending(enum.Enum):
    """How the client leaves."""

    #: It waits until the server has nothing more to say.
    WAITS = enum.auto()
    #: It says that it will write no more, and waits.
    HALF_CLOSED = enum.auto()
    CLOSED = enum.auto()
    RESET = enum.auto()


@attrs.frozen(kw_only=True)
class Attempt:
    """
    One connection.

    Attributes:
        parts: what is written, a piece at a time.
        ending: how it ends.
        may_store: what may be the file of the id afterwards; None: no file.
        kind: for the report.
    """

    parts: tuple[bytes, ...]
    ending: Ending
    may_store: tuple[bytes | None, ...]
    kind: str


_endings = st.sampled_from(Ending)
_bodies = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(_SMUGGLED),
    st.binary(min_size=70_000, max_size=70_000),
)
#: Bytes that a header's value may not hold, or only strangely.
_odd = st.sampled_from([b"\0", b"\x7f", b"\r", b"\n", b"\xff", b"\t", b"\x0b", b"  "])
_words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20
).map(str.encode)


def _request(
    verb: bytes, target: bytes, fields: list[tuple[bytes, bytes]], end: bytes = b"\r\n"
) -> bytes:
    lines = [
        verb + b" " + target + b" HTTP/1.1",
        b"Host: fuzz",
        *(name + b": " + value for name, value in fields),
    ]
    return end.join(lines) + 2 * end


def _split(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """Cut what is written into pieces, so that the server reads it so."""
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=3)))
    return tuple(
        data[begin:end]
        for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True)
        if begin < end
    )


@st.composite
def _wrong_lengths(draw: st.DrawFn, file_id: int) -> Attempt:
    """Write other lengths than there are bytes, or several of them."""
    body = draw(_bodies)
    size = len(body)
    lengths = draw(
        st.lists(
            st.sampled_from(
                [
                    b"%d" % size,
                    b"%d" % (size + 1),
                    b"%d" % max(0, size - 1),
                    b"-1",
                    b"+%d" % size,
                    b"0x10",
                    b"1e3",
                    b"",
                    b" ",
                    b"%d,%d" % (size, size),
                    b"%d" % 2**63,
                    b"%d" % 2**64,
                    b"9" * 400,
                    b"\xd9\xa1",
                    b"0%d" % size,
                ]
            ),
            min_size=1,
            max_size=2,
        )
    )
    # What is written beyond a length is another request: none that means anything.
    head = _request(
        b"PUT", b"/%d" % file_id, [(b"Content-Length", each) for each in lengths]
    )
    told = {int(each) for each in lengths if each.isdigit() and int(each) <= size}
    return Attempt(
        parts=_split(draw, head + body),
        ending=draw(_endings),
        may_store=(None, *(body[:length] for length in told)),
        kind="lengths",
    )


@st.composite
def _both(draw: st.DrawFn, file_id: int) -> Attempt:
    """Write a length and a coding: the old way to smuggle."""
    inner = draw(st.sampled_from(_SMUGGLED))
    coding = draw(
        st.sampled_from(
            [
                b"chunked",
                b"Chunked",
                b" chunked",
                b"chunked ",
                b"\tchunked",
                b"xchunked",
                b"identity",
                b"chunked, identity",
                b"gzip, chunked",
                b"chunked,chunked",
                b"'chunked'",
                b"chunked;q=1",
                b"\x0bchunked",
                b"",
                b"identity, chunked",
            ]
        )
    )
    name = draw(
        st.sampled_from(
            [b"Transfer-Encoding", b"transfer-encoding", b"Transfer-Encoding ",
             b"Transfer_Encoding", b" Transfer-Encoding", b"X: y\nTransfer-Encoding"]
        )
    )  # fmt: skip
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    body = draw(st.sampled_from([chunked, b"0\r\n\r\n" + inner, inner]))
    # A field of another name is no coding, and what is behind the length no body.
    lengths = [len(body), len(body) + 10, *([] if b"_" in name else [4, 0])]
    length = draw(st.sampled_from(lengths))
    fields = [(b"Content-Length", b"%d" % length), (name, coding)]
    if draw(st.booleans()):
        fields.reverse()
    # What stands behind a whole body of chunks is a request of its own, to whom takes
    # the chunks: RFC 9112 6.1 has such a connection closed.
    return Attempt(
        parts=_split(draw, _request(b"PUT", b"/%d" % file_id, fields) + body),
        ending=draw(_endings),
        may_store=(None, body[:length], body[:4], inner, b""),
        kind="length and coding",
    )


@st.composite
def _broken_chunks(draw: st.DrawFn, file_id: int) -> Attempt:
    """Write chunks that are none, with a digest that those meant do not have."""
    body = draw(_bodies)
    size = draw(
        st.sampled_from(
            [
                b"%x" % len(body),
                b"%X" % len(body),
                b"0%x" % len(body),
                b"-1",
                b"",
                b"g",
                b"%x;a=b" % len(body),
                b"%x;" % len(body) + b"a" * 20000,
                b"0x10",
                b"f" * 16,
                b"f" * 400,
                b"%x" % (len(body) + 1),
                b" %x" % len(body),
            ]
        )
    )
    between = draw(st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n", b"xx"]))
    last = draw(
        st.sampled_from(
            [
                b"0\r\n\r\n",
                b"0\r\n",
                b"",
                b"0\n\n",
                b"00\r\n\r\n",
                b"0\r\nA: b\r\n\r\n",
                b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
                b"0\r\nContent-Length: 9\r\n\r\n",
            ]
        )
    )
    digest = b"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    fields = [(b"Transfer-Encoding", b"chunked")]
    if draw(st.booleans()):
        # That of no bytes: whatever else is stored was not meant.
        fields.append((b"Repr-Digest", digest))
    head = _request(b"PUT", b"/%d" % file_id, fields)
    return Attempt(
        parts=_split(draw, head + size + b"\r\n" + body + between + last),
        ending=draw(_endings),
        may_store=(None, b""),
        kind="chunks",
    )


@st.composite
def _odd_headers(draw: st.DrawFn, file_id: int) -> Attempt:
    """Write a request of any verb whose headers are too many, too long, or odd."""
    verb = draw(
        st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"])
    )
    name = draw(
        st.sampled_from(
            [
                b"Range",
                b"If-Range",
                b"If-Match",
                b"If-None-Match",
                b"If-Modified-Since",
                b"Last-Modified",
                b"Repr-Digest",
                b"Content-MD5",
                b"Digest",
                b"Expect",
                b"Content-Encoding",
                b"Content-Type",
                b"Connection",
                b"Authorization",
                b"X-Request-Id",
                b"Want-Digest",
                b"Want-Repr-Digest",
                b"Content-Range",
                b"X-Pacifica-Digest-Tail",
                b"X-Pacifica-Mtime-Ns",
                b"X-Pacifica-Want",
                b"Host",
                b"Upgrade",
                b"HTTP2-Settings",
                b"Content-Digest",
                b"Accept",
            ]
        )
    )
    value = draw(
        st.one_of(
            _words,
            st.binary(max_size=40),
            st.tuples(_words, _odd, _words).map(b"".join),
            st.sampled_from([b"a" * 9_000, b"a" * 70_000, b"a" * 600_000, b"", b"*"]),
            st.sampled_from([b"bytes=0-0", b"100-continue", b"close", b"h2c", b'"a"']),
        )
    )
    copies = draw(st.sampled_from([1, 1, 1, 2, 90, 2000]))
    target = draw(st.sampled_from([b"/%d", b"/files/%d"])) % file_id
    head = _request(verb, target, [(name, value)] * copies)
    return Attempt(
        parts=_split(draw, head),
        ending=draw(_endings),
        may_store=(None,),
        kind="headers",
    )


@st.composite
def _ranges(draw: st.DrawFn, _file_id: int) -> Attempt:
    """Ask for parts of the file that nobody may change."""
    numbers = st.one_of(
        st.integers(0, 200_000).map(str),
        st.sampled_from(["", "-", "-1", "1" * 30, "0x1", "+1", "1_0", "\xb2", "1.5"]),
    )
    units = st.sampled_from(["bytes", "Bytes", "bytes ", "items", "", "none"])
    spans = st.lists(st.tuples(numbers, numbers).map("-".join), min_size=1, max_size=4)
    many = st.sampled_from([["0-"] * 3000, [f"{n}-{n}" for n in range(4000)]])
    text = f"{draw(units)}={','.join(draw(st.one_of(spans, spans, many)))}"
    head = _request(
        draw(st.sampled_from([b"GET", b"HEAD"])),
        draw(st.sampled_from([b"/%d", b"/files/%d"])) % CANARY,
        [(b"Range", text.encode("latin1")), (b"Connection", b"close")],
    )
    return Attempt(
        parts=(head,), ending=draw(_endings), may_store=(None,), kind="ranges"
    )


@st.composite
def _targets(draw: st.DrawFn, _file_id: int) -> Attempt:
    """Ask for what is no address."""
    target = draw(
        st.one_of(
            st.binary(min_size=1, max_size=60),
            _words.map(lambda word: b"/" + word),
            st.sampled_from(
                [
                    b"*",
                    b"//",
                    b"/..%2f..%2fetc%2fpasswd",
                    b"/%00",
                    b"/" + b"1" * 9000,
                    b"http://other/1",
                    b"/1?byte_range=5-1",
                    b"/1?byte_range=\xff-",
                    b"/files/1#x",
                    b"/files/%31",
                    b"/\xd9\xa1",
                    b"/+1",
                    b"/files/status/1",
                    b"/1;x",
                    b"?",
                    b"/?" + b"a=b&" * 3000,
                    b"/files//1",
                    b"/./1",
                ]
            ),
        )
    )
    verb = draw(
        st.one_of(_words, st.sampled_from([b"GET", b"OPTIONS", b"TRACE", b"get"]))
    )
    version = draw(
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b""])
    )
    head = verb + b" " + target + b" " + version + b"\r\nHost: fuzz\r\n\r\n"
    # Whatever this is, its body has to be empty, and it names no file that is there.
    return Attempt(
        parts=_split(draw, head),
        ending=draw(_endings),
        may_store=(None,),
        kind="targets",
    )


@st.composite
def _mutations(draw: st.DrawFn, file_id: int) -> Attempt:
    """Write a good request, some bytes of which were changed on the way."""
    body = draw(st.binary(min_size=1, max_size=100))
    good = draw(
        st.sampled_from(
            [
                _request(
                    b"PUT", b"/%d" % file_id, [(b"Content-Length", b"%d" % len(body))]
                )
                + body,
                _request(b"GET", b"/files/%d" % CANARY, [(b"Range", b"bytes=5-90")]),
                _request(b"POST", b"/files/status", [(b"Content-Length", b"3")])
                + b"1\n2",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
            ]
        )
    )
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        # The ids stay: what is done to others is done by right.
        if data[place : place + 1].isdigit():
            continue
        change: Callable[[], None] = draw(
            st.sampled_from(
                [
                    lambda: data.__delitem__(place),  # noqa: B023 (called here)
                    lambda: data.insert(place, draw(st.integers(0, 255))),  # noqa: B023 (as above)
                    lambda: data.__setitem__(place, draw(st.integers(0, 255))),  # noqa: B023 (as above)
                ]
            )
        )
        change()
    return Attempt(
        parts=_split(draw, bytes(data)),
        ending=draw(_endings),
        # Any bytes: the length of the body and the digits around it may be others.
        may_store=(),
        kind="mutations",
    )


def attempts(file_id: int) -> st.SearchStrategy[Attempt]:
    """Return what may be tried with an id."""
    kinds = [
        _wrong_lengths(file_id),
        _both(file_id),
        _broken_chunks(file_id),
        _odd_headers(file_id),
        _ranges(file_id),
        _targets(file_id),
        _mutations(file_id),
    ]
    return st.one_of(kinds)
