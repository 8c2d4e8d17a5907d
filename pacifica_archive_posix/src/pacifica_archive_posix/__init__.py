"""The ``posix`` backend of ``pacifica_archive_core``: files in a file system."""

from __future__ import annotations

from pacifica_archive_posix.archive import PosixArchive, PosixOptions, TreeOptions
from pacifica_archive_posix.files import PosixReader, PosixWriter

__all__ = ["PosixArchive", "PosixOptions", "PosixReader", "PosixWriter", "TreeOptions"]
