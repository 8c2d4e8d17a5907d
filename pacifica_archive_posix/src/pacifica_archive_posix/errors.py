"""What the errno of a system call says of the file at work."""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import TYPE_CHECKING

from pacifica_archive_core import FileDamaged, FileError, SourceRefused
from pacifica_archive_core.errnos import NAME, SWITCH, error_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAME", "READ", "SOURCE", "SWITCH", "damage_of_digests", "error_of"]

#: What is about its bytes: a bad sector, or a tape that cannot be read.
READ: Mapping[int, type[FileError]] = MappingProxyType(
    {**NAME, errno.EIO: FileDamaged, errno.ENODATA: FileDamaged}
)
#: What is about the path that ``adopt`` was given.
SOURCE: Mapping[int, type[FileError]] = MappingProxyType(
    {
        errno.ENOENT: SourceRefused,
        errno.ENOTDIR: SourceRefused,
        errno.ELOOP: SourceRefused,
        errno.ENAMETOOLONG: SourceRefused,
    }
)


def damage_of_digests(exc: OSError, file_id: int) -> FileDamaged | None:
    """Return what to raise where digests were read and are damaged; else None."""
    if exc.errno != errno.EBADMSG:
        return None
    return FileDamaged(file_id, "the digests kept with it are damaged")
