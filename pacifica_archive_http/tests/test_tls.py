"""``pacifica-archive serve`` with TLS, over real connections."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import pytest
from asking import wait_until
from certificates import ENCRYPTED, FORMS, PASSWORD, Pair, make_pair

from pacifica_archive_http.access import Scope
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pacifica_archive_http.testing import LiveServer

AUTHORITY = make_pair(name="authority")
PAIR = make_pair(issuer=AUTHORITY)
DATA = bytes(range(256)) * 400


def trusting(*pairs: Pair, own: Pair | None = None, folder: Path) -> ssl.SSLContext:
    """Return a client's settings: whom it trusts, and its own certificate."""
    context = ssl.create_default_context(
        cadata="".join(pair.certificate.decode() for pair in pairs)
    )
    # As Python 3.13 does by default.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if own:
        context.load_cert_chain(*own.save(folder))
    return context


def ask(
    server: LiveServer, context: ssl.SSLContext, target: str = "/"
) -> tuple[int, bytes]:
    """Return status and body."""
    connection = http.client.HTTPSConnection(
        *server.address, context=context, timeout=60
    )
    with contextlib.closing(connection):
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read()


def certificate_of(server: LiveServer, context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a server shows, in DER."""
    with (
        socket.create_connection(server.address, timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return connection.getpeercert(binary_form=True)


@contextlib.contextmanager
def serving(folder: Path, pair: Pair, *more: str) -> Iterator[LiveServer]:
    """Run a server with a certificate; its log is ``folder/log``."""
    certificate, key = pair.save(folder)
    with running_server(
        *("-t", "memory", "--log-file", str(folder / "log")),
        *("--tls-cert", str(certificate), "--tls-key", str(key), *more),
    ) as server:
        yield server


def entries(folder: Path) -> list[dict[str, object]]:
    """Return the lines of the log."""
    return [json.loads(line) for line in (folder / "log").read_bytes().splitlines()]


@attrs.frozen(kw_only=True)
class Shared:
    """A server for tests that do it no harm, its log, and a client that trusts it."""

    server: LiveServer
    folder: Path
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("tls")
    with serving(folder, PAIR) as server:
        yield Shared(
            server=server, folder=folder, client=trusting(AUTHORITY, folder=folder)
        )


@pytest.mark.parametrize("form", [*FORMS, *ENCRYPTED])
def test_each_form_of_a_key_serves(tmp_path: Path, form: str) -> None:
    password = PASSWORD if form in ENCRYPTED else None
    pair = make_pair({**FORMS, **ENCRYPTED}[form](), password=password)
    (tmp_path / "password").write_text(PASSWORD)
    with serving(
        tmp_path, pair, "--tls-key-password-file", str(tmp_path / "password")
    ) as server:
        assert 200 == ask(server, trusting(pair, folder=tmp_path))[0]


def test_its_address_is_https(shared: Shared) -> None:
    assert shared.server.url.startswith("https://127.0.0.1:")


@pytest.mark.parametrize(
    ("version", "taken"), [("1_1", False), ("1_2", True), ("1_3", True)]
)
def test_tls_before_1_2_is_refused(
    shared: Shared, version: str, *, taken: bool
) -> None:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("lacks the command openssl")
    done = subprocess.run(
        [
            *(openssl, "s_client", f"-tls{version}", "-cipher", "ALL:@SECLEVEL=0"),
            *("-connect", "{}:{}".format(*shared.server.address)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # An alert is of the server: the client alone would not have begun.
    assert (taken, not taken) == (done.returncode == 0, "alert" in done.stderr)


def test_a_certificate_out_of_its_time_is_served_and_told(tmp_path: Path) -> None:
    with serving(tmp_path, make_pair(days=(-3, -1))):
        messages = [entry.get("message") for entry in entries(tmp_path)]

    assert [
        "clients will refuse the certificate of --tls-cert: certificate has expired"
    ] == messages


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pacifica_archive_core"),
            *("serve", "-t", "memory", "-p", "0", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_cannot_be_used_ends_the_server_with_one_line(tmp_path: Path) -> None:
    certificate, _ = PAIR.save(tmp_path)
    done = _run("--tls-cert", str(certificate))

    assert (14, "", "pacifica-archive: --tls-key: there is no private key in it") == (
        done.returncode,
        done.stdout,
        done.stderr.partition(" (PEM)")[0],
    )


@pytest.mark.parametrize("option", ["key", "key-password-file", "client-ca"])
def test_options_of_tls_want_a_certificate(option: str) -> None:
    done = _run(f"--tls-{option}", "file")

    assert 2 == done.returncode
    assert "wants --tls-cert" in done.stderr


# --- certificates of clients -----------------------------------------------------


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Serve only those whose certificate ``AUTHORITY`` signed."""
    folder = tmp_path_factory.mktemp("choosy")
    certificate, _ = AUTHORITY.save(folder)
    with serving(folder, PAIR, "--tls-client-ca", str(certificate)) as server:
        yield server


def test_a_client_with_a_right_certificate_is_served(
    choosy: LiveServer, tmp_path: Path
) -> None:
    own = make_pair(issuer=AUTHORITY, name="client")

    assert 200 == ask(choosy, trusting(AUTHORITY, own=own, folder=tmp_path))[0]


@pytest.mark.parametrize(
    "own",
    [
        None,
        make_pair(name="stranger"),
        # Who calls an authority of its own by the same name.
        make_pair(name="client", issuer=make_pair(name="authority")),
        make_pair(name="client", issuer=AUTHORITY, days=(-3, -1)),
    ],
    ids=["none", "own", "foreign", "expired"],
)
def test_a_client_with_another_is_refused(
    choosy: LiveServer, tmp_path: Path, own: Pair | None
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(choosy, trusting(AUTHORITY, own=own, folder=tmp_path))


# --- a certificate that is renewed -----------------------------------------------


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())


def test_sighup_takes_a_new_certificate_into_use(tmp_path: Path) -> None:
    client = trusting(AUTHORITY, folder=tmp_path)
    renewed = make_pair(issuer=AUTHORITY)
    with serving(tmp_path, PAIR) as server:
        renewed.save(tmp_path)
        server.process.send_signal(signal.SIGHUP)

        # Old and new workers serve side by side for a while.
        wait_until(lambda: certificate_of(server, client) == der(renewed), "no new one")


def test_after_sighup_a_certificate_that_cannot_be_used_is_not(tmp_path: Path) -> None:
    client = trusting(AUTHORITY, folder=tmp_path)
    with serving(tmp_path, PAIR) as server:
        before = server.workers
        (tmp_path / "archive.key").write_text("half of it")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not {*before} & {*server.workers}, "no new workers")

        assert der(PAIR) == certificate_of(server, client)
    assert any(
        "the certificate stays the one in use" in str(entry.get("message"))
        for entry in entries(tmp_path)
    )


def test_a_worker_that_is_started_again_needs_no_file(tmp_path: Path) -> None:
    """Between a new certificate and its key, a file would be half of a pair."""
    client = trusting(AUTHORITY, folder=tmp_path)
    with serving(tmp_path, PAIR) as server:
        for path in tmp_path.glob("archive.*"):
            path.unlink()
        before = server.workers
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: {*server.workers} - {*before} != set(), "no new worker")
        wait_until(lambda: _answers(server, client), "no answer")


def _answers(server: LiveServer, client: ssl.SSLContext) -> bool:
    try:
        return ask(server, client)[0] == http.client.OK
    except OSError:
        return False


# --- tokens without TLS ----------------------------------------------------------


def _messages(folder: Path, *arguments: str) -> list[object]:
    """Run a server that asks for tokens; return what it logs of itself."""
    add_token(folder / "tokens", "all", scopes=(Scope.READ,))
    with running_server(
        *("-t", "memory", "--log-file", str(folder / "log")),
        *("--tokens", str(folder / "tokens"), *arguments),
    ):
        return [entry.get("message") for entry in entries(folder)]


def test_tokens_in_the_clear_are_warned_of(tmp_path: Path) -> None:
    (message,) = _messages(tmp_path, "-a", "0.0.0.0")  # noqa: S104 (to be warned of)

    assert str(message).startswith("tokens go over the network in the clear: ")


def test_tokens_on_a_loopback_address_are_not_warned_of(tmp_path: Path) -> None:
    assert [] == _messages(tmp_path)


def test_tokens_within_tls_are_not_warned_of(tmp_path: Path) -> None:
    certificate, key = PAIR.save(tmp_path)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))

    assert [] == _messages(tmp_path, "-a", "0.0.0.0", *tls)  # noqa: S104 (as above)


# --- those who mean harm ---------------------------------------------------------


def test_http_without_tls_is_not_answered(shared: Shared) -> None:
    with socket.create_connection(shared.server.address, timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(1000)

    # A fatal alert of TLS, as RFC 8446 has it in section 5.1, and nothing else.
    assert (b"\x15\x03", 7) == (answer[:2], len(answer))


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_handshakes_that_stall_stop_nobody(shared: Shared, said: bytes) -> None:
    with contextlib.ExitStack() as stalled:
        for _ in range(200):
            connection = socket.create_connection(shared.server.address, timeout=60)
            stalled.enter_context(connection).sendall(said)

        assert 200 == ask(shared.server, shared.client)[0]


_DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
#: What is cut off, and never was stored: head and body.
_CUT = {
    "length": (f"Content-Length: {len(DATA)}", DATA[:-1]),
    "chunk": (
        f"Repr-Digest: {_DIGEST}\r\nTransfer-Encoding: chunked",
        b"%x\r\n%b" % (len(DATA), DATA[:-1]),
    ),
}


@pytest.mark.parametrize("close_notify", [False, True], ids=["cut", "closed"])
@pytest.mark.parametrize("framing", _CUT)
def test_an_upload_that_is_cut_is_not_stored(
    shared: Shared, framing: str, file_id: int, *, close_notify: bool
) -> None:
    """Whoever is on the way may end a connection, though not within TLS."""
    field, body = _CUT[framing]
    head = f"PUT /{file_id} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode()
    plain = socket.create_connection(shared.server.address, timeout=60)
    connection = shared.client.wrap_socket(plain, server_hostname="127.0.0.1")
    connection.sendall(head + body)
    if close_notify:
        with contextlib.suppress(OSError):
            connection.unwrap()
    else:
        connection.shutdown(socket.SHUT_WR)
    connection.close()
    wait_until(
        lambda: any(
            (entry.get("verb"), entry.get("id")) == ("PUT", file_id)
            for entry in entries(shared.folder)
        ),
        "the upload did not end",
    )

    assert 404 == ask(shared.server, shared.client, f"/{file_id}")[0]
