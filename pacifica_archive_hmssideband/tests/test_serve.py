"""A file's whole way over HTTP, with the double beside the server."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest
from kit import Site, new_schema, new_sqlite, tells_the_password, text, wait_until

from pacifica_archive_core import id2filename
from pacifica_archive_core.testing.base import content

# Where it is not installed there is no server to try; in this project's CI it is.
running_server = pytest.importorskip("pacifica_archive_http.testing").running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mariadb import MariaDb

FILE_ID = 12345
DATA = content("data", 50_000)
PLACE = f"archive{id2filename(FILE_ID)}"


@attrs.frozen
class Answer:
    """What a server says; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def residency(self) -> tuple[str | None, str | None]:
        """Where the bytes are, and who says so."""
        return (
            self.headers.get("x-pacifica-file-storage-media"),
            self.headers.get("x-pacifica-residency-source"),
        )


@contextlib.contextmanager
def served(site: Site) -> Iterator[Callable[..., Answer]]:
    """Serve the archive of a site; return what sends a request about the file."""
    with running_server(
        *("-t", "hmssideband", "--prefix", str(site.mount / "archive")),
        *("-o", "sam_qfs_prefix=/archive", "-o", "stage_command="),
        *("-o", "connect_timeout_s=0.5", "-o", "query_timeout_s=0.5"),
        *("-o", "durable=false", "--workers", "2"),
        *("--log-file", str(site.mount.with_name("log"))),
        # Not an argument, which everyone on the host may read.
        env={"PACIFICA_ARCHIVE_HMSSIDEBAND_URL": text(site.reader_url)},
    ) as server:

        def ask(method: str, body: bytes | None = None) -> Answer:
            host, port = server.address
            connection = http.client.HTTPConnection(host, port, timeout=20)
            with contextlib.closing(connection):
                connection.request(method, f"/{FILE_ID}", body)
                answer = connection.getresponse()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, headers, answer.read())

        yield ask


@pytest.fixture(params=["sqlite", "mariadb"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    (tmp_path / "mount" / "archive").mkdir(parents=True)
    if request.param == "sqlite":
        url = reader_url = new_sqlite(tmp_path)
    else:
        url, reader_url = new_schema(request.getfixturevalue("server"), "samserve")
    return Site(mount=tmp_path / "mount", url=url, reader_url=reader_url)


def tell(site: Site, *command: str) -> None:
    """Give the double a command, as an operator does."""
    subprocess.run([*site.command, *command], check=True, timeout=30)


def test_a_file_goes_to_tape_and_comes_back(site: Site) -> None:
    with site.in_step(), served(site) as ask:

        def residency() -> tuple[str | None, str | None]:
            return ask("HEAD").residency

        told = [ask("PUT", DATA).status]
        wait_until(lambda: residency() == ("disk", "sideband"), "never in step")
        tell(site, "archive", PLACE)
        tell(site, "release", PLACE)
        wait_until(lambda: residency() == ("tape", "sideband"), "never released")
        refused = ask("GET")
        told += [refused.status, ask("POST").status]
        # Asked again and again, as a client does: a read that comes while the double
        # is taking the bytes away is not one of a file on tape yet.
        wait_until(lambda: ask("POST").status == 200, "never staged")
        told_by = residency()
        answer = ask("GET")
        told += [answer.status, ask("POST").status]

    assert ([201, 503, 202, 200, 200], True, ("disk", "sideband"), DATA) == (
        told,
        int(refused.headers["retry-after"]) > 0,
        told_by,
        answer.body,
    )


@pytest.mark.parametrize("site", ["mariadb"], indirect=True)
def test_a_dead_database_stops_no_request(site: Site, server: MariaDb) -> None:
    with site.in_step(), served(site) as ask:
        ask("PUT", DATA)
        wait_until(lambda: ask("HEAD").residency == ("disk", "sideband"), "no step")
        server.kill()
        first, looked = ask("GET"), ask("HEAD")
        stored = ask("PUT", DATA[::-1])
        second = ask("GET")
        removed = ask("DELETE")

    assert [
        (200, DATA),
        (204, "disk", "st_blocks"),
        201,
        (200, DATA[::-1]),
        200,
    ] == [
        (first.status, first.body),
        (looked.status, *looked.residency),
        stored.status,
        (second.status, second.body),
        removed.status,
    ]


@pytest.mark.parametrize("site", ["mariadb"], indirect=True)
def test_a_dead_database_lets_no_request_wait_for_a_tape(
    site: Site, server: MariaDb
) -> None:
    with site.in_step(), served(site) as ask:
        ask("PUT", DATA)
        site.release(site.mount / PLACE)
        server.kill()
        looked, refused = ask("HEAD"), ask("GET")

    assert ((204, "tape", "st_blocks"), 503) == (
        (looked.status, *looked.residency),
        refused.status,
    )


@pytest.mark.parametrize("site", ["mariadb"], indirect=True)
def test_the_log_tells_of_a_dead_database_without_its_password(
    site: Site, server: MariaDb
) -> None:
    with site.in_step(), served(site) as ask:
        ask("PUT", DATA)
        server.kill()
        ask("HEAD")
    log = site.mount.with_name("log").read_text()

    assert (True, False) == ("does not answer" in log, tells_the_password(log))


@pytest.mark.parametrize("site", ["mariadb"], indirect=True)
def test_a_server_begins_without_its_database(site: Site, server: MariaDb) -> None:
    with site.in_step():
        server.kill()
        with served(site) as ask:
            stored = ask("PUT", DATA)
            without = ask("HEAD").residency
            server.start()
            wait_until(lambda: ask("HEAD").residency == ("disk", "sideband"), "silence")

    assert (201, ("disk", "st_blocks")) == (stored.status, without)
