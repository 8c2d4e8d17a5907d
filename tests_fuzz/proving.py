"""Bytes that prove by themselves whose they are and where they belong."""

from __future__ import annotations

import hashlib
import re

import attrs

__all__ = ["RECORD", "Version", "find_version"]

#: Bytes of one record.
RECORD = 64
_HEAD = re.compile(rb"<(\d{12}) (\d{12}) (\d{12})>")
#: Bytes of a record's head; the rest is of a digest of it.
_HEAD_SIZE = 40


@attrs.frozen
class Version:
    """
    One upload: records, each of which names it and its own place.

    Attributes:
        file_id: the id that it is for.
        number: no other upload has it.
        size: bytes.
    """

    file_id: int
    number: int
    size: int

    def content(self, first: int = 0, last: int | None = None) -> bytes:
        """Return the bytes from ``first`` up to ``last``, which is not included."""
        last = self.size if last is None else last
        begin = first // RECORD
        records = b"".join(
            _record(self.file_id, self.number, place)
            for place in range(begin, -(-last // RECORD))
        )
        return records[first - begin * RECORD : last - begin * RECORD]


def _record(file_id: int, number: int, place: int) -> bytes:
    head = b"<%012d %012d %012d>" % (file_id, number, place)
    return head + hashlib.sha256(head).digest()[: RECORD - _HEAD_SIZE]


def find_version(part: bytes) -> tuple[int, int] | None:
    """Return the id and the number that a part of a version names, if it is long."""
    found = _HEAD.search(part)
    return (int(found[1]), int(found[2])) if found else None
