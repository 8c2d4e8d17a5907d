from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from pacifica_archive_hmssideband.double import Double

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mariadb import MariaDb

_numbers = itertools.count()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Return the directory that plays the mount point."""
    prefix = tmp_path / "mount"
    prefix.mkdir()
    return prefix


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return a database that is a file."""
    return f"sqlite:///{tmp_path / 'sideband.db'}"


@pytest.fixture
def mariadb_url(mariadb_server: MariaDb) -> str:
    """Return an empty database of the kind that a site has."""
    schema = f"double{next(_numbers)}"
    mariadb_server.execute(f"CREATE DATABASE {schema} CHARACTER SET latin1")
    url = mariadb_server.url("root", schema=schema)
    return url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "mariadb"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Return a database of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """Return the database of this test: a file, unless it asks for each kind."""
    name = "any_url" if "any_url" in request.fixturenames else "sqlite_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def double(prefix: Path, url: str) -> Iterator[Double]:
    """Return a double that nobody runs."""
    double = Double(prefix, url)
    double.format()
    yield double
    double.close()


@pytest.fixture
def ask(url: str) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Return what sends a statement to the database and returns the rows."""
    engine = create_engine(
        make_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            result = connection.exec_driver_sql(
                statement, execution_options={"no_parameters": True}
            )
            return [tuple(row) for row in result] if result.returns_rows else []

    yield ask
    engine.dispose()
