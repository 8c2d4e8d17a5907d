"""A server over a POSIX file system, and a file system over the server."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import fsspec  # type: ignore[import-untyped]
import pytest
from wire import Wire

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_core.filesystem import PacificaFileSystem

_IDS = itertools.count(1)


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Give the way to a server, which counts the bytes that come."""
    prefix = tmp_path_factory.mktemp("archive")
    with (
        running_server("-t", "posix", "--prefix", str(prefix)) as server,
        Wire(server.address) as wire,
    ):
        thread = threading.Thread(target=wire.serve_forever)
        thread.start()
        yield wire
        wire.shutdown()
        thread.join()
        # The connections in its pool: they end here, not at the end of Python.
        fsspec.get_filesystem_class("pacifica").clear_instance_cache()


@pytest.fixture
def options(wire: Wire) -> dict[str, Any]:
    """Give what is said beside a URL: a remote archive."""
    return {"type": "http", "prefix": wire.url}


@pytest.fixture
def fs(options: dict[str, Any]) -> PacificaFileSystem:
    found: PacificaFileSystem = fsspec.filesystem("pacifica", **options)
    return found


@pytest.fixture
def url() -> str:
    """Give the URL of an id that no other test has."""
    return f"pacifica://{next(_IDS)}"
