"""The whole contract, past the wire."""

from __future__ import annotations

from asking import needs_posix
from remote_kit import OverMemoryKit, OverPosixKit

from pacifica_archive_core import SupportsAdopt, SupportsLocalPath
from pacifica_archive_http.client import HttpArchive


class TestOverMemory(OverMemoryKit):
    pass


@needs_posix
class TestOverPosix(OverPosixKit):
    pass


def test_a_remote_archive_adopts() -> None:
    assert issubclass(HttpArchive, SupportsAdopt)


def test_a_remote_archive_has_no_local_paths() -> None:
    """They would be of another host."""
    assert not issubclass(HttpArchive, SupportsLocalPath)
