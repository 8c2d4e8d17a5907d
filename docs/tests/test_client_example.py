"""The example of remote.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core import ArchiveFull, open_archive

if TYPE_CHECKING:
    from pacifica_archive_http.pytest_plugin import ServerFactory
    from pacifica_archive_http.testing import LiveServer


def test_what_is_stored_can_be_fetched(pacifica_server: LiveServer) -> None:
    with open_archive("http", prefix=pacifica_server.url) as archive:
        with archive.create(1, size=5) as writer:
            writer.write(b"hello")
        with archive.open(1) as reader:
            found = reader.readall()

    assert found == b"hello"


def test_a_full_archive_is_told(pacifica_server_factory: ServerFactory) -> None:
    server = pacifica_server_factory("-t", "memory", "-o", "capacity=3")
    with (
        open_archive("http", prefix=server.url) as archive,
        pytest.raises(ArchiveFull),
        archive.create(1, size=5) as writer,
    ):
        writer.write(b"hello")
