"""
Everything that an archive may raise because of the world.

::

    ArchiveError
    ├── ConfigError            an option is unknown, missing or wrong
    ├── BackendError
    │   ├── UnknownBackend     no installed backend has this name
    │   ├── AmbiguousBackend   two distributions offer this name
    │   └── BackendLoadError   the backend is there and cannot be imported
    ├── FileError              about one file; carries its ``file_id``
    │   ├── InvalidFileId      no id at all (also a ValueError)
    │   ├── NoSuchFile
    │   ├── FileExists
    │   ├── FileOffline        on tape: stage it, then ask again
    │   ├── FileDamaged        this file cannot be read: bad tape, EIO
    │   ├── IncompleteWrite    fewer or more bytes came than were promised
    │   ├── DigestMismatch     the bytes are not those the sender meant
    │   ├── SourceRefused      adopt may not take this path
    │   └── CommitUnclear      stored, or not: look at its status
    ├── NotSupported           this store can never do it
    ├── ArchiveUnavailable     the store does not answer: try again later
    ├── ArchiveFull            no space or quota left
    └── AccessDenied           the store refuses this process

Messages hold the id and the reason, never a host, a secret or a path of the
server: those are in ``__cause__``.
A caller's bug is a TypeError, ValueError or RuntimeError and none of these.
"""

from __future__ import annotations

import reprlib
from typing import ClassVar

__all__ = [
    "AccessDenied",
    "AmbiguousBackend",
    "ArchiveError",
    "ArchiveFull",
    "ArchiveUnavailable",
    "BackendError",
    "BackendLoadError",
    "CommitUnclear",
    "ConfigError",
    "DigestMismatch",
    "FileDamaged",
    "FileError",
    "FileExists",
    "FileOffline",
    "IncompleteWrite",
    "InvalidFileId",
    "NoSuchFile",
    "NotSupported",
    "SourceRefused",
    "UnknownBackend",
]


class ArchiveError(Exception):
    """Base of all that goes wrong in an archive."""


class ConfigError(ArchiveError):
    """An option is unknown, missing, given twice or has a wrong value."""


class BackendError(ArchiveError):
    """The backend asked for cannot be had."""


class UnknownBackend(BackendError):
    """No installed distribution offers a backend of this name."""


class AmbiguousBackend(BackendError):
    """More than one installed distribution offers a backend of this name."""


class BackendLoadError(BackendError):
    """The backend is installed and its import failed; see ``__cause__``."""


class FileError(ArchiveError):
    """
    Something is wrong with one file.

    Args:
        file_id: the id asked for.
        reason: lower case, no full stop; the class's own reason by default.
    """

    default_reason: ClassVar[str] = "cannot be used"

    def __init__(self, file_id: object, reason: str | None = None) -> None:
        # Both go to args: an exception that crosses processes is rebuilt of them.
        super().__init__(file_id, reason)
        self.file_id = file_id
        self.reason = reason or self.default_reason

    def __str__(self) -> str:
        try:
            subject = reprlib.repr(self.file_id)
        except ValueError:
            # Of an int of so many digits that Python refuses to write them.
            subject = "of an id too long to be written"
        return f"file {subject}: {self.reason}"


class InvalidFileId(FileError, ValueError):
    """The id is not an int from 0 to 2**63 - 1."""

    default_reason = "an id is an integer from 0 to 9223372036854775807"


class NoSuchFile(FileError):
    """No file is stored under this id."""

    default_reason = "not in the archive"


class FileExists(FileError):
    """A file is stored under this id, and overwriting was not asked for."""

    default_reason = "is in the archive already"


class FileOffline(FileError):
    """The bytes are on tape; ``stage`` asks for them."""

    default_reason = "is on tape: stage it, then try again"


class FileDamaged(FileError):
    """This very file cannot be read; others may."""

    default_reason = "cannot be read"


class IncompleteWrite(FileError):
    """The bytes written are not as many as promised, or a write failed."""

    default_reason = "the bytes are not as many as promised"


class DigestMismatch(FileError):
    """The digest of the bytes is not the one the sender gave."""

    default_reason = "the bytes do not have the digest given with them"


class SourceRefused(FileError):
    """The path given to ``adopt`` may not be taken into the archive."""

    default_reason = "this source may not be taken into the archive"


class CommitUnclear(FileError):
    """
    The commit failed after the file may have become visible.

    The whole new file is stored, or the old state is: ``status`` tells.
    What is not sure is that a crash of the machine leaves it so.
    Never retried blindly by this library.
    """

    default_reason = "stored, or not: look at its status"


class NotSupported(ArchiveError):
    """This store can never do what was asked."""


class ArchiveUnavailable(ArchiveError):
    """The store does not answer now; the same call may work later."""


class ArchiveFull(ArchiveError):
    """The store has no space or quota left for these bytes."""


class AccessDenied(ArchiveError):
    """The store refuses this process: permissions, or read-only."""
