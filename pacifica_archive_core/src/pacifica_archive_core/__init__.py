"""
Put files into a hierarchical archive under integer ids, and get them back.

Backends are distributions of their own; see ``backend_names``.
"""

from __future__ import annotations

from pacifica_archive_core.archive import (
    Archive,
    SupportsAdopt,
    SupportsLocalPath,
    SupportsRecord,
    SupportsTrash,
    Trashed,
)
from pacifica_archive_core.backends import (
    ArchiveSpec,
    backend_names,
    load_backend,
    open_archive,
)
from pacifica_archive_core.copying import copy
from pacifica_archive_core.digests import ALGORITHMS, DEFAULT_ALGORITHM, Hashes
from pacifica_archive_core.errors import (
    AccessDenied,
    AmbiguousBackend,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    BackendError,
    BackendLoadError,
    CommitUnclear,
    ConfigError,
    DigestMismatch,
    FileDamaged,
    FileError,
    FileExists,
    FileOffline,
    IncompleteWrite,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
    SourceRefused,
    UnknownBackend,
)
from pacifica_archive_core.files import ArchiveReader, ArchiveWriter
from pacifica_archive_core.ids import MAX_FILE_ID, filename2id, id2filename
from pacifica_archive_core.memory import MemoryArchive, MemoryOptions
from pacifica_archive_core.options import find_config, load_options, option, to_bool
from pacifica_archive_core.status import FileStatus, Media, Residency, StorageLevel

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "MAX_FILE_ID",
    "AccessDenied",
    "AmbiguousBackend",
    "Archive",
    "ArchiveError",
    "ArchiveFull",
    "ArchiveReader",
    "ArchiveSpec",
    "ArchiveUnavailable",
    "ArchiveWriter",
    "BackendError",
    "BackendLoadError",
    "CommitUnclear",
    "ConfigError",
    "DigestMismatch",
    "FileDamaged",
    "FileError",
    "FileExists",
    "FileOffline",
    "FileStatus",
    "Hashes",
    "IncompleteWrite",
    "InvalidFileId",
    "Media",
    "MemoryArchive",
    "MemoryOptions",
    "NoSuchFile",
    "NotSupported",
    "Residency",
    "SourceRefused",
    "StorageLevel",
    "SupportsAdopt",
    "SupportsLocalPath",
    "SupportsRecord",
    "SupportsTrash",
    "Trashed",
    "UnknownBackend",
    "backend_names",
    "copy",
    "filename2id",
    "find_config",
    "id2filename",
    "load_backend",
    "load_options",
    "open_archive",
    "option",
    "to_bool",
]
