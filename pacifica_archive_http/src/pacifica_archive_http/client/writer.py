"""Storing a remote file: held back until the commit, or sent as it comes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from pacifica_archive_core import (
    ArchiveUnavailable,
    ArchiveWriter,
    CommitUnclear,
    DigestMismatch,
    NotSupported,
)
from pacifica_archive_core.digests import DEFAULT_ALGORITHM, Hashes
from pacifica_archive_http.client.server import (
    FAILURES,
    Answer,
    Lost,
    Upload,
    is_success,
    refusal_of,
    settled,
)
from pacifica_archive_http.digests import MAX_KEPT, MAX_KEPT_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_core import Archive
    from pacifica_archive_http.client.server import Server

__all__ = ["HELD", "HeldWriter", "StreamingWriter"]

#: Bytes that are held in memory; longer files are sent as they come, or spooled.
HELD = 1 << 20
#: Bytes behind a streamed file that its digests have: room for all that are kept,
#: in base64.
_TAIL = MAX_KEPT * 3 * MAX_KEPT_SIZE
#: Bytes per call to a socket, whose timeout is for the whole call.
_PIECE = 1 << 20

# RFC 8941 3.1.2: what can be a key of Repr-Digest.
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")


class _HttpWriter(ArchiveWriter):
    """
    What both kinds have in common: framing, digests, and the server's word.

    The digest of what was written goes behind the bytes, and the server compares
    it with that of what it received before it stores the file.

    Args:
        archive: that the file is for.
        server: of the archive.
        file_id: the id.
        size: bytes, if known.
        headers: of the request, but for its framing.
    """

    def __init__(
        self,
        archive: Archive,
        server: Server,
        file_id: int,
        *,
        size: int | None,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(archive, file_id, size=size)
        self._server = server
        self._headers = headers
        self._hashes = Hashes((DEFAULT_ALGORITHM,))

    @abstractmethod
    def _pass_on(self, block: memoryview) -> None:
        """Take at most ``_PIECE`` bytes."""

    def _write(self, data: memoryview) -> None:
        try:
            for start in range(0, len(data), _PIECE):
                block = data[start : start + _PIECE]
                self._hashes.update(block)
                self._pass_on(block)
        finally:
            # The caller may change the bytes when this has returned.
            self._hashes.settle()

    def _digests(self) -> bytes:
        """
        Return the field value for all digests.

        Raises:
            DigestMismatch: the caller's is not that of what was written.
            NotSupported: they cannot be sent.
        """
        computed = self._hashes.digests()
        for name, digest in computed.items():
            if self.digests.get(name, digest) != digest:
                raise DigestMismatch(
                    self.file_id,
                    "in this process: the digest given is not that of the bytes"
                    " written; nothing is stored",
                )
        digests = {**self.digests, **computed}
        if any(not _KEY.fullmatch(name) for name in digests):
            raise NotSupported(
                f"file {self.file_id}: the name of a digest is of small letters,"
                " digits and _.*- here"
            )
        if len(digests) > MAX_KEPT or any(
            len(name) > MAX_KEPT_SIZE or not 0 < len(digest) <= MAX_KEPT_SIZE
            for name, digest in digests.items()
        ):
            raise NotSupported(
                f"file {self.file_id}: a server keeps {MAX_KEPT} digests, their names"
                f" and values of up to {MAX_KEPT_SIZE} bytes"
            )
        field = ", ".join(
            f"{name}=:{base64.b64encode(digest).decode()}:"
            for name, digest in digests.items()
        )
        return field.encode()

    def _compare(self, data: bytes) -> None:
        """Raise unless the server says that it stored as many bytes as were sent."""
        try:
            stored = int(json.loads(data)["total_bytes"])
        except (
            *(KeyError, TypeError, ValueError),
            *(OverflowError, RecursionError),
        ) as exc:
            raise CommitUnclear(self.file_id) from exc
        if stored != self.written:
            raise CommitUnclear(
                self.file_id,
                f"{stored} bytes are stored where {self.written} were sent",
            )


class HeldWriter(_HttpWriter):
    """
    A file that is short, or whose size is not known: sent at the commit.

    Beyond ``HELD`` bytes it is kept in a temporary file of this host.
    """

    def __init__(
        self,
        archive: Archive,
        server: Server,
        file_id: int,
        *,
        size: int | None,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(archive, server, file_id, size=size, headers=headers)
        self._held = bytearray()
        # Not a file object: a forked child would flush it, and tell of its end.
        self._spool: int | None = None

    def _pass_on(self, block: memoryview) -> None:
        if self._spool is None and len(self._held) + len(block) <= HELD:
            self._held += block
            return
        try:
            if self._spool is None:
                self._spool, name = tempfile.mkstemp(prefix="pacifica-archive-")
                Path(name).unlink()
                _write_all(self._spool, memoryview(self._held))
            _write_all(self._spool, block)
        except OSError as exc:
            raise ArchiveUnavailable(
                f"file {self.file_id}: no temporary file can hold it here:"
                f" {os.strerror(exc.errno or 0)}"
            ) from exc

    def _commit(self) -> None:
        tail = self._digests()
        data = self._server.change(
            "PUT",
            self.file_id,
            upload=Upload(self._blocks(tail)),
            headers=_framing(self._headers, size=self.written, tail=len(tail)),
        )
        self._compare(data)
        self._discard()

    def _blocks(self, tail: bytes) -> Iterator[bytes]:
        if self._spool is None:
            # One packet, where both are short.
            yield bytes(self._held) + tail
            return
        position = 0
        while block := os.pread(self._spool, _PIECE, position):
            yield block
            position += len(block)
        yield tail

    def _discard(self) -> None:
        self._hashes.close()
        self._held.clear()
        spool, self._spool = self._spool, None
        if spool is not None:
            os.close(spool)


class StreamingWriter(_HttpWriter):
    """A longer file of known size: on a connection of its own."""

    def __init__(
        self,
        archive: Archive,
        server: Server,
        file_id: int,
        *,
        size: int,
        headers: Mapping[str, str],
    ) -> None:
        # First: of a writer that was not made, nothing is discarded.
        self._connection = server.begin_upload(
            file_id, _framing(headers, size=size, tail=_TAIL)
        )
        super().__init__(archive, server, file_id, size=size, headers=headers)

    def _pass_on(self, block: memoryview | bytes) -> None:
        try:
            self._connection.send(block)
        except OSError as exc:
            self._archive.ensure_open()
            self._raise_refusal(exc)

    def _raise_refusal(self, cause: OSError) -> None:
        """Tell why the server takes no more: perhaps it has said so."""
        lost = ArchiveUnavailable(
            "the connection to the archive broke before all was sent: nothing is stored"
        )
        if isinstance(cause, TimeoutError):
            raise lost from cause
        try:
            with Answer(self._connection.getresponse()) as answer:
                data = answer.read_all()
        except (*FAILURES, Lost) as exc:
            raise lost from exc
        if is_success(answer):
            raise lost from cause
        refusal = refusal_of(answer, data, self.file_id)
        if isinstance(refusal, Lost):
            raise ArchiveUnavailable(str(refusal)) from cause
        raise refusal from cause

    def _commit(self) -> None:
        self._pass_on(self._digests().ljust(_TAIL))
        self._connection.timeout = self._server.commit_timeout_s
        try:
            answer = Answer(self._connection.getresponse())
        except FAILURES as exc:
            raise CommitUnclear(self.file_id) from exc
        with answer:
            data = settled(answer, self.file_id)
        self._compare(data)
        self._discard()

    def _discard(self) -> None:
        # The last byte is the digests', so the server has no whole body before.
        with contextlib.closing(self._hashes):
            self._server.drop(self._connection)


def _framing(headers: Mapping[str, str], *, size: int, tail: int) -> dict[str, str]:
    return {
        **headers,
        "Content-Length": str(size + tail),
        "X-Pacifica-Digest-Tail": str(tail),
    }


def _write_all(descriptor: int, data: memoryview) -> None:
    position = 0
    while position < len(data):
        position += os.write(descriptor, data[position:])
