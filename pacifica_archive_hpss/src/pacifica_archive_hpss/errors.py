"""What HPSS says of a call that failed, and the one door to the archive's errors."""

from __future__ import annotations

import errno
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    FileDamaged,
    FileError,
    FileExists,
    FileOffline,
    NoSuchFile,
    SourceRefused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NAME",
    "OPEN",
    "READ",
    "SOURCE",
    "STORE",
    "SWITCH",
    "TRANSIENT",
    "HpssError",
    "error_of",
]

#: What may be other a moment later: busy, or a connection that is made anew.
TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ESTALE,
        errno.EINPROGRESS,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)
#: After these the call may have been done, and only the reply be lost. EIO too: it
#: is said of a server out of reach and of a file that is locked.
_UNCLEAR = frozenset(
    {
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EIO,
    }
)


class HpssError(OSError):
    """
    A call of the Client API that failed.

    Its text is for logs and causes: names and numbers, no path and no secret.

    Args:
        code: the Linux errno that was meant.
        text: which call, and all that it said.
    """

    @property
    def code(self) -> int:
        """The Linux errno, or ``PAH_NOT_ALL_MOVED``."""
        return self.errno or 0

    @property
    def transient(self) -> bool:
        """Whether the same call may work a moment later."""
        return self.code in TRANSIENT

    @property
    def unclear(self) -> bool:
        """Whether what was asked for may have been done all the same."""
        return self.code in _UNCLEAR


#: What is about the store. What is not here may be other the next time, and is
#: ArchiveUnavailable: EBUSY, ESTALE, EIO, EMFILE, ENOMEM, ETIMEDOUT, ...
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
#: As above, and what an open says of a file that is being staged.
OPEN: Mapping[int, type[FileError]] = MappingProxyType(
    {**NAME, errno.EINPROGRESS: FileOffline}
)
#: What is about its bytes: a tape that cannot be read.
READ: Mapping[int, type[FileError]] = MappingProxyType(
    {**OPEN, errno.EIO: FileDamaged, errno.ENODATA: FileDamaged}
)
#: What is about the name that a new file is to get.
SWITCH: Mapping[int, type[FileError]] = MappingProxyType(
    {errno.EEXIST: FileExists, errno.EISDIR: FileDamaged}
)
#: What is about the path that ``adopt`` was given.
SOURCE: Mapping[int, type[FileError]] = MappingProxyType(
    {
        errno.ENOENT: SourceRefused,
        errno.ENOTDIR: SourceRefused,
        errno.ELOOP: SourceRefused,
        errno.ENAMETOOLONG: SourceRefused,
        errno.EINVAL: SourceRefused,
    }
)


def error_of(
    exc: HpssError,
    file_id: int | None = None,
    special: Mapping[int, type[FileError]] = MappingProxyType({}),
) -> ArchiveError:
    """
    Return the error to raise from ``exc``.

    Args:
        exc: only its code counts.
        file_id: the file at work, where there is one.
        special: what certain codes say about this file.
    """
    if exc.code in special:
        return special[exc.code](file_id)
    reason = os.strerror(exc.code)
    subject = "the archive" if file_id is None else f"file {file_id}"
    error = STORE.get(exc.code, ArchiveUnavailable)
    return error(f"{subject}: {reason[:1].lower()}{reason[1:]}")
