"""Tokens and TLS both, from end to end: the command line, and the whole contract."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import attrs
import pytest
from certificates import make_pair
from remote_kit import RETRY_FOR_S, OverMemoryKit

from pacifica_archive_core import AccessDenied, load_options
from pacifica_archive_core.testing.base import content
from pacifica_archive_http.access import Scope
from pacifica_archive_http.client import HttpArchive, HttpOptions
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from remote_store import Store

    from pacifica_archive_core import Archive
    from pacifica_archive_http.testing import LiveServer

AUTHORITY = make_pair(name="authority")
#: The mebibytes of a file whose upload is refused before all of it is sent.
LONG = 64


@attrs.frozen(kw_only=True)
class Secured:
    """
    A server with TLS that asks for tokens.

    Attributes:
        server: granian.
        ca_file: who signed its certificate.
        token_file: a token for everything.
        reader_file: a token to read and to ask with.
    """

    server: LiveServer
    ca_file: Path
    token_file: Path
    reader_file: Path

    def options(self, token_file: Path) -> HttpOptions:
        """Return the options of a client with one of them."""
        given = {
            "prefix": self.server.url,
            "ca_file": str(self.ca_file),
            "token_file": str(token_file),
            "retry_for_s": str(RETRY_FOR_S),
        }
        options: HttpOptions = load_options(HttpArchive, given=given)
        return options


def _command(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pacifica_archive_core", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _new_token(folder: Path, name: str, *scopes: Scope) -> Path:
    """Make a token; return the file that a client has it in."""
    options = [word for scope in scopes for word in ("--scope", scope)]
    made = _command("token", "new", name, "--file", str(folder / "tokens"), *options)
    path = folder / f"{name}.token"
    path.write_text(made.stdout)
    return path


@pytest.fixture(scope="module")
def secured(
    memory_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """Stand before the archive in memory of another server."""
    folder = tmp_path_factory.mktemp("secured")
    token_file = _new_token(folder, "all", *Scope)
    reader_file = _new_token(folder, "reader", Scope.READ, Scope.STATUS)
    ca_file, _ = AUTHORITY.save(folder)
    certificate, key = make_pair(issuer=AUTHORITY).save(folder)
    with running_server(
        *("-t", "http", "--prefix", memory_store.url()),
        *("-o", f"retry_for_s={RETRY_FOR_S}", "-o", "recall_timeout_s=60"),
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
        *("--tokens", str(folder / "tokens")),
    ) as server:
        yield Secured(
            server=server,
            ca_file=ca_file,
            token_file=token_file,
            reader_file=reader_file,
        )


@pytest.fixture
def environment(secured: Secured) -> dict[str, str]:
    """Return what a person sets once."""
    return {
        "PACIFICA_ARCHIVE_TYPE": "http",
        "PACIFICA_ARCHIVE_HTTP_PREFIX": secured.server.url,
        "PACIFICA_ARCHIVE_HTTP_CA_FILE": str(secured.ca_file),
        "PACIFICA_ARCHIVE_HTTP_TOKEN_FILE": str(secured.token_file),
    }


@pytest.mark.parametrize("size", [24, 3 << 20], ids=["held", "streamed"])
def test_a_file_goes_there_and_back(
    environment: dict[str, str], file_id: int, tmp_path: Path, size: int
) -> None:
    data = content("data", size)
    (tmp_path / "there").write_bytes(data)
    words = (
        ("put", str(file_id), str(tmp_path / "there")),
        ("status", str(file_id)),
        ("stage", str(file_id)),
        ("verify", str(file_id)),
        ("get", str(file_id), str(tmp_path / "back")),
        ("delete", str(file_id)),
    )
    done = [_command(*each, env=environment).returncode for each in words]

    assert ([0] * len(words), data) == (done, (tmp_path / "back").read_bytes())


def test_without_a_token_the_command_line_says_so(
    environment: dict[str, str], file_id: int
) -> None:
    del environment["PACIFICA_ARCHIVE_HTTP_TOKEN_FILE"]
    done = _command("get", str(file_id), "-", env=environment)

    assert "this needs a token" in done.stderr


@pytest.mark.parametrize("size", [24, LONG << 20], ids=["held", "streamed"])
def test_a_scope_that_is_missing_is_said(
    secured: Secured, file_id: int, size: int
) -> None:
    """Also where the answer comes while the file is being sent."""
    with (
        HttpArchive(secured.options(secured.reader_file)) as archive,
        pytest.raises(AccessDenied, match="this needs the scope write"),
        archive.create(file_id, size=size) as writer,
    ):
        writer.write(bytes(size))


def test_a_scope_that_is_missing_is_said_of_a_delete(
    secured: Secured, file_id: int
) -> None:
    with (
        HttpArchive(secured.options(secured.reader_file)) as archive,
        pytest.raises(AccessDenied, match="this needs the scope delete"),
    ):
        archive.delete(file_id)


class TestSecured(OverMemoryKit):
    """
    An archive of an archive: a server whose own archive is a remote one.

    The contract knows nothing of tokens and TLS, and sees none of them.
    """

    secured: Secured

    @pytest.fixture
    def url(self, memory_store: Store, secured: Secured) -> str:
        self.store = memory_store
        self.store.reset()
        self.secured = secured
        return secured.server.url

    @pytest.fixture
    def opener(self, url: str) -> Callable[[], Archive]:
        del url
        options = self.secured.options(self.secured.token_file)
        return partial(self.archive_class, options)


# --- certificates of clients -----------------------------------------------------


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Ask for certificates in place of tokens."""
    folder = tmp_path_factory.mktemp("choosy")
    ca_file, _ = AUTHORITY.save(folder)
    certificate, key = make_pair(issuer=AUTHORITY).save(folder)
    with running_server(
        *("-t", "memory", "--tls-cert", str(certificate), "--tls-key", str(key)),
        *("--tls-client-ca", str(ca_file)),
    ) as server:
        yield Secured(
            server=server, ca_file=ca_file, token_file=folder, reader_file=folder
        )


@pytest.mark.parametrize("size", [24, 3 << 20], ids=["held", "streamed"])
def test_a_client_shows_its_certificate(
    choosy: Secured, tmp_path: Path, file_id: int, size: int
) -> None:
    certificate, key = make_pair(name="client", issuer=AUTHORITY).save(tmp_path)
    options = HttpOptions(
        prefix=choosy.server.url,
        ca_file=str(choosy.ca_file),
        cert_file=str(certificate),
        key_file=str(key),
    )
    with HttpArchive(options) as archive:
        with archive.create(file_id, size=size) as writer:
            writer.write(bytes(size))

        assert size == archive.status(file_id).size


def test_a_client_without_one_is_told_so_at_once(choosy: Secured) -> None:
    options = HttpOptions(
        prefix=choosy.server.url, ca_file=str(choosy.ca_file), retry_for_s=10_000
    )
    with (
        HttpArchive(options) as archive,
        pytest.raises(AccessDenied, match="cert_file"),
    ):
        archive.status(5)
