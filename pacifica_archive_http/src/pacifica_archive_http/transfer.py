"""Bodies on their way: how many at once, in from a client, out to one."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from pacifica_archive_http.status_table import (
    BadRequest,
    ClientBusy,
    ContentTooLarge,
    LengthRequired,
    TransfersBusy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_core import ArchiveReader
    from pacifica_archive_http.access_log import Exchange
    from pacifica_archive_http.limits import Place

__all__ = ["Blocks", "Body", "Slots", "WholeFile", "read_document", "read_exactly"]

#: The longest file that any file system has.
_MAX_SIZE = 2**63 - 1


class Slots:
    """
    Places for transfers, which hold a thread for as long as the client likes.

    With fewer places than the server has threads, what needs no transfer is
    always served. A with-block holds one place.

    Args:
        count: of places; None for no limit.
    """

    def __init__(self, count: int | None) -> None:
        self._lock = threading.Lock()
        self._free = sys.maxsize if count is None else count

    def take(self) -> None:
        """
        Take a place, to be given back; never wait for one.

        Raises:
            TransfersBusy: there is none.
        """
        with self._lock:
            if not self._free:
                raise TransfersBusy("too many transfers are running: try again later")
            self._free -= 1

    def give_back(self) -> None:
        """Let another transfer have the place."""
        with self._lock:
            self._free += 1

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_exc: object) -> None:
        self.give_back()


class Body:
    """
    The body of a request; a Source of core's ``copy``.

    Attributes:
        size: bytes of the file or document; None if the body is chunked.
        tail_size: bytes behind it that are its digest tail.
    """

    #: Bytes of a refused body that are taken in before the refusal is sent.
    LINGER = 1 << 20

    def __init__(self, env: Mapping[str, Any]) -> None:
        self._env = env
        self._read = env["wsgi.input"].read
        # A coding wins over a length (RFC 9112 6.3), whatever the server thinks.
        chunked = "HTTP_TRANSFER_ENCODING" in env
        self.size = None if chunked else _length(env)
        self.tail_size = 0
        self._taken = 0

    @property
    def received(self) -> int:
        """Bytes of the file or document that were read so far."""
        return self._taken if self.size is None else min(self._taken, self.size)

    def keep_tail(self, size: int) -> None:
        """
        Take the last ``size`` bytes for the body's digest tail.

        Raises:
            LengthRequired: where the body ends is not known before.
            BadRequest: the body is shorter.
        """
        if self.size is None:
            raise LengthRequired("add a Content-Length: a digest tail needs one")
        if size > self.size:
            raise BadRequest("the digest tail is longer than the body")
        self.size -= size
        self.tail_size = size

    def read_tail(self) -> bytes:
        """Return the digest tail, when all else was read; less if it breaks off."""
        tail = b""
        while len(tail) < self.tail_size and (
            block := self.read(self.tail_size - len(tail))
        ):
            tail += block
        return tail

    @property
    def is_delimited(self) -> bool:
        """Whether reading ends at the body's end; WSGI alone promises nothing."""
        return self.size is not None or bool(self._env.get("wsgi.input_terminated"))

    def read(self, size: int, /) -> bytes:
        """
        Return up to ``size`` bytes.

        Raises:
            BadRequest: the connection broke, as gunicorn and uWSGI tell;
                granian ends the body as if it were whole.
        """
        try:
            block: bytes = self._read(size)
        except OSError as exc:
            raise BadRequest("the connection broke within the body") from exc
        self._taken += len(block)
        return block

    def linger(self, place: Place) -> None:
        """
        Take in and forget what is left of a short body that is not wanted.

        Many clients send all of it before they look for an answer, and would
        see a broken connection instead of the refusal.
        """
        left = (self.size or 0) + self.tail_size - self._taken
        if not 0 < left <= self.LINGER or "HTTP_EXPECT" in self._env:
            return
        # No place, or the client is gone: the refusal goes out as it is.
        with contextlib.suppress(TransfersBusy, ClientBusy, BadRequest), place:
            while left > 0 and (block := self.read(min(left, 1 << 16))):
                left -= len(block)


def _length(env: Mapping[str, Any]) -> int | None:
    text: str = env.get("CONTENT_LENGTH") or ""
    if not text:
        # Neither length nor coding: no body (RFC 9112 6.3), which PUT refuses.
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= _MAX_SIZE):
        raise BadRequest(f"Content-Length is a number of bytes, at most {_MAX_SIZE}")
    return int(text)


def read_document(body: Body, limit: int) -> bytes:
    """
    Read a whole body that is a document and no file.

    Raises:
        ContentTooLarge: it has more than ``limit`` bytes.
        LengthRequired: its end could not be told.
        BadRequest: the connection broke within it.
    """
    if body.size is None and not body.is_delimited:
        raise LengthRequired("add a Content-Length: this server takes no other body")
    data = bytearray()
    wanted = limit + 1 if body.size is None else body.size
    while len(data) < wanted <= limit + 1 and (block := body.read(wanted - len(data))):
        data += block
    if max(len(data), body.size or 0) > limit:
        raise ContentTooLarge(f"the document is longer than {limit} bytes")
    if body.size not in (None, len(data)):
        raise BadRequest("the connection broke within the body")
    return bytes(data)


def read_exactly(reader: ArchiveReader, count: int) -> bytes:
    """Read ``count`` bytes that are in the file; raises as its ``read`` does."""
    block = reader.read(count)
    while len(block) < count:
        block += reader.read(count - len(block))
    return block


class Blocks:
    """
    The bytes of an answer, read while they are sent.

    Owns the reader and a place for a transfer until it is closed, which a WSGI
    server does on every path. The first block is read at once, so that a file
    that cannot be read at all is a proper error and not a broken connection.

    Args:
        reader: stands at the first byte to send.
        count: bytes to send, all of them in the file.
        block_size: bytes per read.
        place: was taken.
        exchange: what the access log shall say.
    """

    def __init__(
        self,
        reader: ArchiveReader,
        count: int,
        *,
        block_size: int,
        place: Place,
        exchange: Exchange,
    ) -> None:
        self._reader = reader
        self._left = count
        self._block_size = block_size
        self._place = place
        self._exchange = exchange
        self._sent = 0
        self._closed = False
        self._first: bytes | None = reader.read(min(block_size, count))
        exchange.stream()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left == 0:
            raise StopIteration
        if (block := self._first) is None:
            try:
                block = self._reader.read(min(self._block_size, self._left))
            except Exception as exc:
                # The status is sent: only breaking the connection says that what
                # came is not the file, so the server must see it too.
                self._exchange.fail(exc)
                raise
        self._first = None
        self._left -= len(block)
        self._sent += len(block)
        return block

    def close(self) -> None:
        """Free the file and the place, and write the line in the log. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._reader.close()
        finally:
            self._place.give_back()
            self._exchange.finish(self._sent, complete=self._left == 0)


class WholeFile:
    """
    A whole file for ``wsgi.file_wrapper``, which sends it by its descriptor.

    Only for whole files: uWSGI's wrapper passes over the bounds of a part.
    Owns what ``Blocks`` owns.
    """

    def __init__(
        self, reader: ArchiveReader, *, place: Place, exchange: Exchange
    ) -> None:
        self._reader = reader
        self._place = place
        self._exchange = exchange
        self._closed = False
        self.fileno = reader.fileno
        self.read = reader.read
        exchange.stream()

    def close(self) -> None:
        """Free the file and the place, and write the line in the log. Idempotent."""
        if self._closed:
            return
        self._closed = True
        # What the server sent by itself is not known here.
        sent = self._reader.tell() or None
        try:
            self._reader.close()
        finally:
            self._place.give_back()
            self._exchange.finish(sent, size=self._reader.status.size)
