"""The client past TLS: which servers it takes, and that both ways go through it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from scripted import Asked, Reply, Scripted, content, part_of, stored

from pacifica_archive_core import ArchiveUnavailable
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = content(3 << 20)


def answer(asked: Asked) -> Reply:
    if asked.method == "PUT":
        return stored(len(asked.body) - int(asked.headers["X-Pacifica-Digest-Tail"]))
    return part_of(DATA, asked)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate of it, signed by itself."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("lacks the command openssl")
    folder = tmp_path_factory.mktemp("tls")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=archive", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(
        [openssl, "req", "-x509", "-days", "2", *kind, *names, *files],
        check=True,
        capture_output=True,
        timeout=60,
    )
    both = folder / "both"
    both.write_bytes((folder / "key").read_bytes())
    with both.open("ab") as file:
        file.write((folder / "certificate").read_bytes())
    return both


@pytest.fixture
def server(certificate: Path) -> Iterator[Scripted]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Scripted(answer, tls=context) as server:
        yield server


@pytest.fixture
def archive(server: Scripted, certificate: Path) -> Iterator[HttpArchive]:
    options = HttpOptions(prefix=server.url, ca_file=str(certificate))
    with HttpArchive(options) as archive:
        yield archive


def test_a_file_is_read(archive: HttpArchive) -> None:
    with archive.open(5) as reader:
        assert DATA == reader.readall()


@pytest.mark.parametrize("size", [1000, len(DATA)], ids=["held", "streamed"])
def test_a_file_is_stored(server: Scripted, archive: HttpArchive, size: int) -> None:
    with archive.create(5, size=size) as writer:
        writer.write(DATA[:size])

    assert DATA[:size] == server.asked[0].body[:size]


@pytest.mark.parametrize("size", [1000, len(DATA)], ids=["held", "streamed"])
def test_a_certificate_of_somebody_is_refused(server: Scripted, size: int) -> None:
    """At once: it will be no better in a minute."""
    options = HttpOptions(prefix=server.url, retry_for_s=10_000)

    with (
        HttpArchive(options) as archive,
        pytest.raises(ArchiveUnavailable, match="certificate"),
        archive.create(5, size=size) as writer,
    ):
        writer.write(DATA[:size])


def test_a_server_of_another_name_is_refused(
    server: Scripted, certificate: Path
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    options = HttpOptions(prefix=url, ca_file=str(certificate), retry_for_s=10_000)

    with (
        HttpArchive(options) as archive,
        pytest.raises(ArchiveUnavailable, match="certificate"),
    ):
        archive.open(5)


@pytest.mark.parametrize("size", [1000, len(DATA)], ids=["held", "streamed"])
def test_a_server_without_tls_is_refused(certificate: Path, size: int) -> None:
    with Scripted(answer) as server:
        url = server.url.replace("http:", "https:")
        options = HttpOptions(prefix=url, ca_file=str(certificate), retry_for_s=0)

        with (
            HttpArchive(options) as archive,
            pytest.raises(ArchiveUnavailable),
            archive.create(5, size=size) as writer,
        ):
            writer.write(DATA[:size])
