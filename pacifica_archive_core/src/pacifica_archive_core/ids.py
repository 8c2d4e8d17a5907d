"""File ids, and the names under which trees of files keep them."""

from __future__ import annotations

import operator
import re

from pacifica_archive_core.errors import InvalidFileId

__all__ = ["MAX_FILE_ID", "checked_file_id", "filename2id", "id2filename"]

#: The largest file id: what a signed 64-bit column of a database holds.
MAX_FILE_ID = 2**63 - 1

_LAST_PART = re.compile(r"(?:file\.)?(-?[0-9a-f]+)")


def checked_file_id(file_id: object) -> int:
    """
    Return ``file_id`` as a plain int if it is one from 0 to ``MAX_FILE_ID``.

    Plain, since an int of a subclass may write itself as anything, and ids are
    written into paths.

    Raises:
        InvalidFileId: it is not; a bool, a float or a string never is.
    """
    if (
        not isinstance(file_id, int)
        or isinstance(file_id, bool)
        or not 0 <= file_id <= MAX_FILE_ID
    ):
        raise InvalidFileId(file_id)
    return operator.index(file_id)


def id2filename(file_id: int) -> str:
    """
    Spread ids over directories of at most 256 directories each.

    The bytes of the id, lowest first and without the highest, are the
    directories; the whole id in hex is the name.
    The results are those of release 0.4.2, also for negative numbers, which
    no archive takes as an id.

    >>> id2filename(12345), id2filename(1234), id2filename(32768)
    ('/39/3039', '/d2/4d2', '/00/8000')
    >>> id2filename(1), id2filename(0), id2filename(-1)
    ('/file.1', '/file.0', '/file.-1')
    """
    name = rest = f"{file_id:x}"
    directories = ""
    while len(rest) > 2:  # noqa: PLR2004 (two hex digits are a byte)
        directories += "/" + rest[-2:]
        rest = rest[:-2]
    return f"{directories}/{name}" if directories else f"/file.{name}"


def filename2id(filename: str) -> int:
    """
    Return the id whose ``id2filename`` is ``filename``.

    Raises:
        ValueError: ``id2filename`` never makes this name.

    >>> filename2id("/39/3039")
    12345
    >>> filename2id("/39/03039")
    Traceback (most recent call last):
        ...
    ValueError: '/39/03039' is not a name that id2filename makes
    """
    match = _LAST_PART.fullmatch(filename.rpartition("/")[2])
    if match is not None:
        file_id = int(match[1], 16)
        if id2filename(file_id) == filename:
            return file_id
    raise ValueError(f"{filename!r} is not a name that id2filename makes")
