from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from asking import BACKENDS, ByCall, OtherServer, OverHttp, connect, wait_until
from cutting import Proxy
from remote_kit import Served
from remote_store import running_store

from pacifica_archive_core import MemoryArchive, open_archive
from pacifica_archive_http import make_app
from pacifica_archive_http.client import HttpArchive, HttpOptions
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asking import Ask
    from remote_store import Store

    from pacifica_archive_core import Archive
    from pacifica_archive_http.testing import LiveServer

_IDS = itertools.count(1000)


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture
def file_id() -> int:
    """Return an id that no other test uses: servers live longer than a test."""
    return next(_IDS)


@pytest.fixture
def memory() -> Iterator[MemoryArchive]:
    with MemoryArchive() as archive:
        yield archive


@pytest.fixture
def posix(tmp_path: Path) -> Iterator[Archive]:
    with _posix(tmp_path) as archive:
        yield archive


def _posix(folder: Path) -> Archive:
    if "posix" not in BACKENDS:
        pytest.skip("the backend posix is not installed")
    prefix = folder / "archive"
    prefix.mkdir()
    return open_archive("posix", prefix=prefix, durable=False)


@pytest.fixture(params=["memory", "posix"])
def archive(request: pytest.FixtureRequest) -> Archive:
    """Each archive that the application is tried with."""
    found: Archive = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def call(archive: Archive) -> ByCall:
    """Make the application, to be called."""
    return ByCall(make_app(archive))


def _served_archive(folder: Path) -> list[str]:
    """Return the options of an archive that a live server has."""
    if "posix" not in BACKENDS:
        return ["-t", "memory"]
    prefix = folder / "archive"
    prefix.mkdir()
    return ["-t", "posix", "--prefix", str(prefix), "-o", "durable=false"]


@pytest.fixture(scope="session")
def granian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """``pacifica-archive serve``, for tests that do it no harm."""
    folder = tmp_path_factory.mktemp("granian")
    with running_server(
        *_served_archive(folder), "--log-file", str(folder / "log")
    ) as server:
        yield server


@contextlib.contextmanager
def _other_server(
    folder: Path, command: Callable[[str, int], list[str]]
) -> Iterator[OtherServer]:
    """Run another WSGI server on a free port, until it is told to end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PACIFICA_ARCHIVE_TYPE": "memory",
        "PACIFICA_ARCHIVE_SERVER_LOG_FILE": str(folder / "access"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
    }
    if "posix" in BACKENDS:
        (folder / "archive").mkdir()
        environment |= {
            "PACIFICA_ARCHIVE_TYPE": "posix",
            "PACIFICA_ARCHIVE_POSIX_PREFIX": str(folder / "archive"),
            "PACIFICA_ARCHIVE_POSIX_DURABLE": "false",
        }
    workers = 2 if "posix" in BACKENDS else 1
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command(f"127.0.0.1:{port}", workers),
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            wait_until(lambda: _listens(("127.0.0.1", port), process), "no server")
            yield OtherServer(address=("127.0.0.1", port), log=folder / "access")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def _listens(address: tuple[str, int], process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the server ended"
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="session")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherServer]:
    """Gunicorn that loads the application before it forks."""
    if not _installed("gunicorn"):
        pytest.skip("gunicorn is not installed")
    with _other_server(
        tmp_path_factory.mktemp("gunicorn"),
        lambda address, workers: [
            *(sys.executable, "-m", "gunicorn", "--preload", "--no-control-socket"),
            *("-k", "gthread", "--threads", "8", "-w", str(workers), "-b", address),
            "pacifica_archive_http.wsgi:application",
        ],
    ) as server:
        yield server


@pytest.fixture(scope="session")
def uwsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherServer]:
    """UWSGI that loads the application before it forks, as it does by itself."""
    if not _installed("uwsgi"):
        pytest.skip("uwsgi is not installed: it wants a compiler")
    with _other_server(
        tmp_path_factory.mktemp("uwsgi"),
        lambda address, workers: [
            os.path.join(os.path.dirname(sys.executable), "uwsgi"),  # noqa: PTH118, PTH120
            *("--http11-socket", address, "--master", "--processes", str(workers)),
            *("--threads", "8", "--http-timeout", "30", "--socket-timeout", "30"),
            *("--module", "pacifica_archive_http.wsgi:application"),
        ],
    ) as server:
        yield server


@pytest.fixture(params=["memory", "posix", "granian", "gunicorn", "uwsgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Every way in which the application is reached."""
    found = request.getfixturevalue(request.param)
    if request.param in {"memory", "posix"}:
        return ByCall(make_app(found))
    return OverHttp(found.address)


@pytest.fixture(scope="session")
def memory_store() -> Iterator[Store]:
    """Run an archive in memory with another WSGI server before it; to be reset."""
    with running_store() as store:
        yield store


@pytest.fixture(scope="session")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if "posix" not in BACKENDS:
        pytest.skip("the backend posix is not installed")
    home = tmp_path_factory.mktemp("served")
    prefix, inbox = home / "archive", home / "inbox"
    for folder in (prefix, inbox):
        folder.mkdir()
    with running_server(
        *("-t", "posix", "--prefix", str(prefix), "--workers", "2"),
        *("-o", "durable=false", "-o", f"adopt_roots={prefix}:{inbox}"),
    ) as server:
        yield Served(server=server, prefix=prefix, inbox=inbox)


@pytest.fixture
def served(_served: Served) -> Iterator[Served]:
    """Return the server of a directory, whose files are this test's own."""
    yield _served
    _served.clear()


@pytest.fixture
def proxy(served: Served) -> Iterator[Proxy]:
    """Stand between a client and the server of a directory."""
    with Proxy(served.server.address) as proxy:
        yield proxy


@pytest.fixture
def direct(served: Served) -> Iterator[HttpArchive]:
    """Open the remote archive without anything between."""
    with HttpArchive(HttpOptions(prefix=served.url)) as archive:
        yield archive


@pytest.fixture
def remote(proxy: Proxy) -> Iterator[HttpArchive]:
    """Open the remote archive through the proxy."""
    with HttpArchive(HttpOptions(prefix=proxy.url)) as archive:
        yield archive
