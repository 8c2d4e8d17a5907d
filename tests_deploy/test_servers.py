"""Each program that serves, with its settings of deploy/, after deployment."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from deployed import (
    ALL_SCOPES,
    LIMIT_S,
    NGINX,
    free_port,
    run_post_deployment_tests,
    running,
    running_nginx,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from deployed import Machine

    Starter = Callable[[Machine], AbstractContextManager[str]]

CONFIG = "etc/pacifica-archive/archive.cfg"


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@contextlib.contextmanager
def dropped_in(
    machine: Machine, name: str, settings: str, change: Callable[[str], str] = str
) -> Iterator[str]:
    """Run what a drop-in has the unit start instead; give its address."""
    machine.install(settings, f"etc/pacifica-archive/{settings}", change)
    unit = machine.read_unit(
        machine.install("pacifica-archive.service", "unit"),
        machine.install(f"pacifica-archive.service.d/{name}.conf", "drop-in"),
    )
    port = free_port()
    env = {**unit.env, "PACIFICA_ARCHIVE_LISTEN": f"127.0.0.1:{port}"}
    with running(unit.command, env, port=port, log=machine.root / "log"):
        yield f"http://127.0.0.1:{port}"


def uwsgi(
    machine: Machine, change: Callable[[str], str] = str
) -> AbstractContextManager[str]:
    if not installed("uwsgi"):
        pytest.skip("uwsgi is not installed: it wants a compiler")
    return dropped_in(machine, "uwsgi", "uwsgi.ini", change)


def gunicorn(
    machine: Machine, change: Callable[[str], str] = str
) -> AbstractContextManager[str]:
    return dropped_in(machine, "gunicorn", "gunicorn.conf.py", change)


@contextlib.contextmanager
def nginx(machine: Machine) -> Iterator[str]:
    """Run the server of the unit, and nginx before it that sends the files."""
    if NGINX is None:
        pytest.skip("no nginx here")
    unit = machine.read_unit(machine.install("pacifica-archive.service", "unit"))
    machine.make_certificate()
    port = free_port()
    command = (
        *(*unit.command, "--port", str(port)),
        *("--accel-redirect", "/files-of-the-archive/"),
    )
    with (
        running(command, unit.env, port=port, log=machine.root / "log"),
        running_nginx(machine, port) as outer,
    ):
        yield f"https://127.0.0.1:{outer}"


def begin_upload(url: str, file_id: int) -> socket.socket:
    """Send a part of a body, and no more."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), LIMIT_S)
    head = f"PUT /{file_id} HTTP/1.1\r\nHost: archive\r\nContent-Length: 9\r\n\r\n"
    connection.sendall(f"{head}12".encode())
    return connection


@pytest.mark.parametrize("start", [uwsgi, gunicorn])
def test_transfers_of_a_client_are_counted_in_all_workers(
    machine: Machine,
    start: Callable[[Machine, Callable[[str], str]], AbstractContextManager[str]],
) -> None:
    """A worker alone never says 429: it has fewer places than the client."""
    machine.install(
        "archive.cfg",
        CONFIG,
        lambda text: re.sub(
            "^tokens = .*\n", "client_transfers = 3\n", text, flags=re.MULTILINE
        ),
    )
    answers: list[bytes] = []
    deadline = time.monotonic() + LIMIT_S

    with (
        start(
            machine,
            lambda text: re.sub("MAX_TRANSFERS=[0-9]+", "MAX_TRANSFERS=2", text),
        ) as url,
        contextlib.ExitStack() as uploads,
    ):
        running = [uploads.enter_context(begin_upload(url, 1 + n)) for n in range(4)]
        while b"429" not in answers and time.monotonic() < deadline:
            for each in select.select(running, [], [], 1)[0]:
                answers.append(each.recv(12)[9:])
                # Most often refused by a worker that has two already: ask another.
                running.remove(each)
                running.append(uploads.enter_context(begin_upload(url, 9)))

    assert [b"429"] == answers[-1:]


@pytest.mark.parametrize("guarded", [True, False], ids=["tokens", "open"])
@pytest.mark.parametrize("start", [uwsgi, gunicorn, nginx])
def test_a_server_passes_the_tests_after_deployment(
    machine: Machine,
    start: Starter,
    guarded: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    more = {}
    if guarded:
        more["ARCHIVE_TOKEN_FILE"] = str(machine.new_token(*ALL_SCOPES))
    else:
        machine.install(
            "archive.cfg",
            CONFIG,
            lambda text: re.sub("^tokens = .*\n", "", text, flags=re.MULTILINE),
        )
    with start(machine) as url:
        if url.startswith("https"):
            more["SSL_CERT_FILE"] = str(
                machine.path("etc/pacifica-archive/tls/server.crt")
            )
        said = run_post_deployment_tests(url, machine.environment(), **more)

    assert not said
