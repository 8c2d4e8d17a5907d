"""
The old spellings, all of them: what only ingest, cartd or release 0.4.2 need.

The consumers are pacifica-ingest 0.4.1, which uploads, pacifica-cartd 0.7.0,
which downloads, and the README of the system being re-made, the seed, which
shows the headers. Nothing new is to be built on what is in this module.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from pacifica_archive_http.conditional import (
    is_asctime,
    parse_fields,
    parse_http_date,
)
from pacifica_archive_http.status_table import BadRequest, RangeUnsatisfiable

if TYPE_CHECKING:
    from pacifica_archive_core import FileStatus

__all__ = [
    "ADOPTED",
    "BYTE_RANGE",
    "DELETED",
    "UP_AND_RUNNING",
    "absent_headers",
    "find_byte_range",
    "parse_last_modified",
    "staged",
    "status_headers",
    "stored",
]

#: Answer of ``GET /``. Needed by whoever follows the seed's "Verify working".
UP_AND_RUNNING = b'{"message": "Pacifica Archive Interface Up and Running"}'

#: Answer of PATCH. Ingest compares the message with this very text.
ADOPTED = b'{"message": "File Moved Successfully"}'

#: Answer of DELETE.
DELETED = b'{"message": "File was deleted"}'

#: What ``byte_range`` is written like.
BYTE_RANGE = "([0-9]{1,20})-([0-9]{1,20})"
_BYTE_RANGE = re.compile(BYTE_RANGE)


def stored(size: int) -> bytes:
    """Answer PUT. Ingest compares ``int(total_bytes)``; the seed has a string."""
    return b'{"message": "File added to archive", "total_bytes": "%d"}' % size


def staged(file_id: int, *, online: bool) -> bytes:
    """Answer POST. The seed shows ``file`` as a slash and the id."""
    message = b"File was staged" if online else b"File is being staged"
    return b'{"file": "/%d", "message": "%s"}' % (file_id, message)


def status_headers(status: FileStatus) -> list[tuple[str, str]]:
    """
    Return the fields of HEAD, which is a 204; cartd dies of a missing one.

    RFC 9110 has no Content-Length on a 204 and a date in Last-Modified.
    """
    size = str(status.size)
    return [
        # The seed's spelling, and cartd's: three s.
        ("X-Pacifica-Messsage", "File was found"),
        # For whoever spells it right.
        ("X-Pacifica-Message", "File was found"),
        # In the seed; nobody is known to read it.
        ("X-Pacifica-File", _field_text(status.path)),
        # In the seed; gunicorn takes it away.
        ("Content-Length", size),
        # Cartd reads the size here.
        ("X-Content-Length", size),
        # Cartd: floor(float(...)).
        ("Last-Modified", repr(status.mtime_ns / 1e9)),
        # Cartd.
        ("X-Pacifica-Ctime", repr(status.ctime_ns / 1e9)),
        # Cartd; a tuple as Python prints it.
        (
            "X-Pacifica-Bytes-Per-Level",
            repr(tuple(level.size for level in status.levels)),
        ),
        # Cartd takes exactly "disk" as ready.
        ("X-Pacifica-File-Storage-Media", status.media),
        # In the seed, though there is no body.
        ("Content-Type", "application/json"),
    ]


def absent_headers(title: str) -> list[tuple[str, str]]:
    """Return the fields of a HEAD that failed; cartd reads them before the status."""
    return [
        (name, title)
        for name in (
            "X-Pacifica-Messsage",
            "X-Pacifica-Message",
            "X-Pacifica-File",
            "X-Content-Length",
            "Last-Modified",
            "X-Pacifica-Ctime",
            "X-Pacifica-Bytes-Per-Level",
            "X-Pacifica-File-Storage-Media",
        )
    ]


def _field_text(path: str) -> str:
    """Keep a path as it is where a header can hold it."""
    if path.isascii() and path.isprintable():
        return path
    return quote(path, safe="/ ", errors="surrogateescape")


def parse_last_modified(text: str) -> int:
    """
    Read ``Last-Modified`` of PUT, which may also be C's asctime.

    Ingest sends ``time.ctime()``: local time, and no zone with it. It is read
    in the server's zone; of an hour that summer time has twice, ``mktime``
    takes the one it takes.

    Returns:
        Nanoseconds since 1970.

    Raises:
        BadRequest: no date in any of the three shapes.
    """
    try:
        if is_asctime(text):
            seconds = int(time.mktime((*parse_fields(text), 0, 1, -1)))
        else:
            seconds = parse_http_date(text)
    except (OverflowError, ValueError) as exc:
        raise BadRequest(f"Last-Modified: {exc}") from exc
    return seconds * 1_000_000_000


def find_byte_range(value: str, size: int) -> tuple[int, int]:
    """
    Read ``?byte_range=a-b`` of GET, where b is behind the last byte wanted.

    Release 0.4.2 has it; it answers 200, also for a part. Use ``Range``.

    Returns:
        The first byte and the number of bytes.

    Raises:
        BadRequest: not two numbers, or in the wrong order.
        RangeUnsatisfiable: it starts behind the end of the file.
    """
    match = _BYTE_RANGE.fullmatch(value)
    if match is None:
        raise BadRequest("byte_range is two numbers, as in byte_range=0-1024")
    first, end = int(match[1]), int(match[2])
    if end < first:
        raise BadRequest("byte_range ends before it starts")
    if first > size:
        raise RangeUnsatisfiable(size)
    return first, min(end, size) - first
