from __future__ import annotations

import os
from typing import TYPE_CHECKING

import mariadb
import pytest
from mariadb import Database, MariaDb, Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDb]:
    """Return a server that all tests share."""
    if reason := mariadb.missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with MariaDb() as server:
        yield server


@pytest.fixture
def server(mariadb_server: MariaDb) -> Iterator[MariaDb]:
    """Return the server for a test to stop, freeze and kill as it likes."""
    yield mariadb_server
    mariadb_server.mend()


@pytest.fixture
def database(server: MariaDb, request: pytest.FixtureRequest) -> Database:
    """Return a sideband database with its seed rows; a Variant may be its param."""
    database = Database(server, getattr(request, "param", Variant()))
    database.create()
    return database


@pytest.fixture(params=mariadb.VARIANTS.values(), ids=list(mariadb.VARIANTS))
def any_database(server: MariaDb, request: pytest.FixtureRequest) -> Database:
    """Return a sideband database, each variant in turn."""
    database = Database(server, request.param)
    database.create()
    return database


@pytest.fixture
def reader_url(database: Database) -> URL:
    """Return where the user with SELECT only finds the database."""
    return database.url()
