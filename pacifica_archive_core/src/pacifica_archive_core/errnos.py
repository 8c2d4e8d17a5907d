"""
The door from an errno to an error of the archive, for stores that speak errno.

A backend adds tables of its own for what an errno says of the file at work.
"""

from __future__ import annotations

import errno
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from pacifica_archive_core.errors import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    FileDamaged,
    FileError,
    FileExists,
    NoSuchFile,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAME", "STORE", "SWITCH", "error_of"]

#: What is about the store. What is not here may be other the next time, and is
#: ArchiveUnavailable: ESTALE, EBUSY, EIO, EMFILE, ENOMEM, ETIMEDOUT, ENOLCK, ...
STORE: Mapping[int, type[ArchiveError]] = MappingProxyType(
    {
        errno.ENOSPC: ArchiveFull,
        errno.EDQUOT: ArchiveFull,
        errno.EFBIG: ArchiveFull,
        errno.EACCES: AccessDenied,
        errno.EPERM: AccessDenied,
        errno.EROFS: AccessDenied,
    }
)
#: What is about the file whose name was asked for.
NAME: Mapping[int, type[FileError]] = MappingProxyType(
    {
        errno.ENOENT: NoSuchFile,
        errno.ENOTDIR: NoSuchFile,
        errno.EISDIR: FileDamaged,
        errno.ELOOP: FileDamaged,
    }
)
#: What is about the name that a new file is to get.
SWITCH: Mapping[int, type[FileError]] = MappingProxyType(
    {errno.EEXIST: FileExists, errno.EISDIR: FileDamaged}
)


def error_of(
    exc: OSError,
    file_id: int | None = None,
    special: Mapping[int, type[FileError]] = MappingProxyType({}),
) -> ArchiveError:
    """
    Return the error to raise from ``exc``.

    Args:
        exc: only its errno counts; its text may hold a path.
        file_id: the file at work, where there is one.
        special: what certain errnos say about this file.
    """
    code = exc.errno or 0
    if code in special:
        return special[code](file_id)
    reason = os.strerror(code)
    subject = "the archive" if file_id is None else f"file {file_id}"
    error = STORE.get(code, ArchiveUnavailable)
    return error(f"{subject}: {reason[:1].lower()}{reason[1:]}")
