"""What `import pacifica_archive_core` gives and does."""

from __future__ import annotations

import json
import subprocess
import sys

import pacifica_archive_core

EXPORTED = [
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

# Top-level modules that the import may bring in besides the standard library's.
ALLOWED = {"attr", "attrs", "pacifica_archive_core", "stevedore"}

IMPORT = """
import json, sys, warnings
seen = []
sys.addaudithook(lambda event, args: seen.append([event, str(args[:2])]))
before = set(sys.modules)
threads = __import__("threading").active_count()
environment = dict(__import__("os").environ)
filters = list(warnings.filters)
import pacifica_archive_core
import logging, os, signal, threading
print(json.dumps({
    "modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
    "events": sorted({event for event, _ in seen}),
    "written": [args for event, args in seen if event == "open" and "'w" in args],
    "threads": threading.active_count() - threads,
    "environment": environment == dict(os.environ),
    "filters": filters == list(warnings.filters),
    "handlers": len(logging.getLogger().handlers)
        + len(logging.getLogger("pacifica_archive_core").handlers),
    "signals": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
}))
"""


def what_the_import_does() -> dict[str, object]:
    """Import the package in a new process and return what changed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", IMPORT],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert "" == done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_what_is_exported_is_pinned() -> None:
    assert sorted(EXPORTED) == sorted(pacifica_archive_core.__all__)


def test_what_is_exported_is_there() -> None:
    missing = [
        name
        for name in pacifica_archive_core.__all__
        if not hasattr(pacifica_archive_core, name)
    ]

    assert [] == missing


def test_the_import_brings_in_only_what_is_pinned() -> None:
    """No click and no pytest: a server needs neither."""
    modules = what_the_import_does()["modules"]
    assert isinstance(modules, list)
    ours = set(modules) - set(sys.stdlib_module_names)

    assert ALLOWED == ours


def test_the_import_has_no_side_effect() -> None:
    found = what_the_import_does()
    done = {
        "written": found["written"],
        "threads": found["threads"],
        "environment": found["environment"],
        "filters": found["filters"],
        "handlers": found["handlers"],
        "signals": found["signals"],
    }

    assert {
        "written": [],
        "threads": 0,
        "environment": True,
        "filters": True,
        "handlers": 0,
        "signals": True,
    } == done


def test_the_import_starts_and_connects_nothing() -> None:
    events = what_the_import_does()["events"]
    assert isinstance(events, list)
    forbidden = (
        "socket.",
        "subprocess.",
        "os.system",
        "os.fork",
        "os.mkdir",
        "os.exec",
    )

    assert [] == [event for event in events if event.startswith(forbidden)]
