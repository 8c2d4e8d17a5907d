"""What HPSS says of a call that failed, as an errno, and of the file at work."""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import TYPE_CHECKING

from pacifica_archive_core import FileDamaged, FileError, FileOffline, SourceRefused
from pacifica_archive_core.errnos import NAME, SWITCH, error_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NAME",
    "OPEN",
    "READ",
    "SOURCE",
    "SWITCH",
    "TRANSIENT",
    "HpssError",
    "error_of",
]

#: What may be other a moment later: busy, or a connection that is made anew.
TRANSIENT = frozenset(
    {
        errno.EINTR,
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
#: is said of a server out of reach and of a file that is locked; and EREMOTEIO, which
#: stands for numbers that nobody has published.
_UNCLEAR = frozenset(
    {
        errno.EINTR,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EIO,
        errno.EREMOTEIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIME,
        errno.EPROTO,
        errno.EBADMSG,
        errno.ENOLINK,
        errno.ECANCELED,
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


#: What is about a file's name, and what an open says of one that is being staged.
OPEN: Mapping[int, type[FileError]] = MappingProxyType(
    {**NAME, errno.EINPROGRESS: FileOffline}
)
#: What is about its bytes: a tape that cannot be read.
READ: Mapping[int, type[FileError]] = MappingProxyType(
    {**OPEN, errno.EIO: FileDamaged, errno.ENODATA: FileDamaged}
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
