"""The ``posix`` backend of ``pacifica_archive_core``: files in a file system."""

from __future__ import annotations

from pacifica_archive_posix.archive import (
    PosixArchive,
    PosixOptions,
    PosixReader,
    PosixWriter,
)

__all__ = ["PosixArchive", "PosixOptions", "PosixReader", "PosixWriter"]
