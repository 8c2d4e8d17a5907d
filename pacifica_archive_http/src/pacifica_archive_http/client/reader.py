"""Reading a remote file, window by window."""

from __future__ import annotations

import contextlib
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from pacifica_archive_core import (
    ArchiveReader,
    ArchiveUnavailable,
    FileDamaged,
    FileStatus,
    NoSuchFile,
)
from pacifica_archive_core.records import status_of
from pacifica_archive_http.client.server import (
    Answer,
    Lost,
    is_success,
    no_archive,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacifica_archive_core import Archive
    from pacifica_archive_http.client.server import Server

__all__ = ["HttpReader", "open_reader", "status_in"]

#: Windows up to this size are held whole, and their connection is free at once:
#: as much as the server sends in one piece. What is behind a position of a longer
#: one up to this size is read on; it costs less than a new connection.
_SMALL = 1 << 16
#: Bytes of the windows that follow one another, the last one goes to the end:
#: who reads on gets more, who jumps pays for little.
_GROWING = (_SMALL, 1 << 20, 1 << 24)
#: Bytes of one read from a connection.
_PIECE = 1 << 20
#: No part of an empty file can be asked for.
_NO_SUCH_PART = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


def open_reader(archive: Archive, server: Server, file_id: int) -> HttpReader:
    """Open a file with one request; raises as ``Archive.open``."""
    patience = server.patience()
    headers = {"X-Pacifica-Want": "status", "Range": f"bytes=0-{_SMALL - 1}"}
    while True:
        try:
            with contextlib.ExitStack() as stack:
                answer = stack.enter_context(
                    server.fetch("GET", f"/files/{file_id}", headers=headers)
                )
                if not is_success(answer):
                    data = answer.read_all()
                    if answer.status == _NO_SUCH_PART and headers.pop("Range", ""):
                        continue
                    raise refusal_of(answer, data, file_id)
                status = status_in(answer, file_id)
                first, count = _extent(answer, status)
                if first:
                    raise no_archive("it sends another part of the file")
                reader = HttpReader(archive, server, status, answer.digests())
                with contextlib.ExitStack() as on_error:
                    on_error.callback(reader.close)
                    reader.take(answer, 0, count)
                    on_error.pop_all()
                stack.pop_all()
                return reader
        except Lost as exc:
            patience.wait(exc)


class HttpReader(ArchiveReader):
    """
    One version of a remote file.

    The server keeps nothing for it: when the file is replaced or deleted, what
    has come or is on its way can be read, and then FileDamaged says what
    happened. Bytes of two versions never mix.
    """

    def __init__(
        self,
        archive: Archive,
        server: Server,
        status: FileStatus,
        digests: Mapping[str, bytes],
    ) -> None:
        super().__init__(archive, status)
        self._server = server
        self._digests = dict(digests)
        # The last small window.
        self._held = b""
        self._held_at = 0
        # The longer window that is on its way: its next byte, and how many come.
        self._answer: Answer | None = None
        self._at = 0
        self._left = 0
        # Where the last window ends, and which of _GROWING it was.
        self._end = 0
        self._step = 0

    def digests(self) -> Mapping[str, bytes]:
        """Return the digests that came with the first bytes."""
        self._wanted(0)
        return dict(self._digests)

    def take(self, answer: Answer, first: int, count: int) -> None:
        """Have a window come from an answer, which this reader owns from now."""
        self._end = first + count
        if count <= _SMALL:
            with answer:
                self._held, self._held_at = answer.read_exactly(count), first
            return
        self._server.hold(answer)
        self._answer, self._at, self._left = answer, first, count

    def _readinto_at(self, view: memoryview, position: int) -> int:
        filled = 0
        while filled < len(view):
            block = self._some(len(view) - filled, position + filled)
            view[filled : filled + len(block)] = block
            filled += len(block)
        return filled

    def _read_at(self, size: int, position: int) -> bytes:
        blocks = []
        # All of it: many a library takes a short read for the end.
        while size:
            blocks.append(self._some(size, position))
            size -= len(blocks[-1])
            position += len(blocks[-1])
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _some(self, size: int, position: int) -> bytes:
        """Read from 1 to ``size`` bytes, through broken connections."""
        patience = None
        while True:
            skip = position - self._held_at
            if 0 <= skip < len(self._held):
                return self._held[skip : skip + size]
            try:
                if self._reaches(position):
                    return self._piece(size)
                self._begin(position, size)
            except Lost as exc:
                self._archive.ensure_open()
                # Anew after every byte that came.
                patience = patience or self._server.patience()
                patience.wait(exc)

    def _reaches(self, position: int) -> bool:
        """Read on to ``position`` if it is near enough in the present window."""
        if self._answer is None or not 0 <= position - self._at < self._left:
            return False
        if position - self._at > _SMALL:
            return False
        while self._at < position:
            self._piece(position - self._at)
        return True

    def _piece(self, size: int) -> bytes:
        assert self._answer is not None  # noqa: S101 (its callers looked)
        try:
            block = self._answer.read(min(size, self._left, _PIECE))
            if not block:
                raise Lost("the connection to the archive broke")
        except BaseException:
            # Bytes may have come and gone: those behind them are not to be taken
            # for them, also after a KeyboardInterrupt.
            self._left = 0
            self._drop()
            raise
        self._at += len(block)
        self._left -= len(block)
        if not self._left:
            self._answer.expect_end()
            self._drop()
        return block

    def _begin(self, position: int, size: int) -> None:
        """Ask for the window at ``position``, of ``size`` bytes at least."""
        sequential = position == self._end
        self._drop()
        step = self._step + 1 if sequential else 0
        last = self.status.size - 1
        if step < len(_GROWING):
            last = min(last, position + max(_GROWING[step], size) - 1)
        answer = self._server.fetch(
            "GET",
            f"/files/{self.status.file_id}",
            headers={
                "Range": f"bytes={position}-{last}",
                "If-Range": f'"{self.status.version}"',
            },
            long=last - position >= _SMALL,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(answer.close)
            self._check(answer, position, last)
            self._step = step
            self.take(answer, position, last - position + 1)
            stack.pop_all()

    def _check(self, answer: Answer, first: int, last: int) -> None:
        """Raise unless the answer is this part of the version that is open."""
        status = self.status
        if not is_success(answer):
            refusal = refusal_of(answer, answer.read_all(), status.file_id)
            if isinstance(refusal, NoSuchFile):
                raise FileDamaged(status.file_id, "was deleted while it was read")
            raise refusal
        if (
            answer.status != HTTPStatus.PARTIAL_CONTENT
            or answer.headers.get("ETag") != f'"{status.version}"'
        ):
            raise FileDamaged(
                status.file_id,
                "was replaced, or its digests recorded, while it was read",
            )
        if _extent(answer, status) != (first, last - first + 1):
            raise no_archive("it sends another part of the file")

    def _drop(self) -> None:
        """Have no window on its way."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if 0 < self._left <= _SMALL:
            # A broken connection is what is left of it then.
            with contextlib.suppress(Lost, ArchiveUnavailable):
                answer.read_exactly(self._left)
        self._server.let_go(answer)
        answer.close()

    def _release(self) -> None:
        self._held = b""
        self._drop()


def status_in(answer: Answer, file_id: int) -> FileStatus:
    """Read the status of the very version that the answer is of."""
    try:
        status = status_of(json.loads(answer.headers.get("X-Pacifica-Status", "")))
    except (TypeError, ValueError, RecursionError) as exc:
        raise no_archive("it gives no status") from exc
    if status.file_id != file_id or answer.headers.get("ETag") != f'"{status.version}"':
        raise no_archive("it gives the status of another file")
    return status


def _extent(answer: Answer, status: FileStatus) -> tuple[int, int]:
    """Return the first byte and the number of bytes in an answer."""
    first, count = 0, status.size
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[3]) != status.size or int(match[2]) >= count:
            raise no_archive("it does not say which part of the file it sends")
        first, count = int(match[1]), int(match[2]) - int(match[1]) + 1
    if (
        answer.headers.get("Content-Length", str(count)) != str(count)
        or answer.headers.get("Content-Encoding", "identity") != "identity"
    ):
        raise no_archive("it does not send the bytes of the file")
    return first, count
