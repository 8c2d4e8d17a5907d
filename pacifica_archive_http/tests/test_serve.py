"""``pacifica-archive serve``: its options and what it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from asking import OverHttp, needs_posix

from pacifica_archive_http.access import Scope
from pacifica_archive_http.testing import running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from pathlib import Path


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a server that shall refuse to begin."""
    return subprocess.run(
        [sys.executable, "-m", "pacifica_archive_core", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 (to be refused)
def test_an_address_that_others_reach_is_refused(address: str) -> None:
    done = _run("-t", "memory", "-p", "0", "-a", address)

    assert 2 == done.returncode
    assert "--anonymous" in done.stderr


def test_a_trusted_network_may_be_served() -> None:
    with running_server("-t", "memory", "-a", "0.0.0.0", "--anonymous") as server:  # noqa: S104
        assert 200 == OverHttp(("127.0.0.1", server.address[1]))("GET", "/").status


def test_an_address_that_others_reach_may_be_served_with_tokens(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tokens"
    add_token(file, "one", scopes=[Scope.READ])
    with running_server(
        *("-t", "memory", "-a", "0.0.0.0", "--tokens", str(file))  # noqa: S104 (with tokens)
    ) as server:
        assert 401 == OverHttp(("127.0.0.1", server.address[1]))("GET", "/5").status


def test_who_asks_for_tokens_is_not_anonymous(tmp_path: Path) -> None:
    done = _run("-t", "memory", "--anonymous", "--tokens", str(tmp_path / "tokens"))

    assert 2 == done.returncode
    assert "--anonymous asks for no token" in done.stderr


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read"), ("{", "is broken")]
)
def test_tokens_that_cannot_be_used_are_said_once(
    tmp_path: Path, content: str | None, told: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    done = _run("-t", "memory", "-p", "0", "--tokens", str(file))

    (line,) = done.stderr.splitlines()
    assert (14, True) == (done.returncode, told in line)


def test_a_name_of_this_host_may_be_served() -> None:
    with running_server("-t", "memory", "-a", "localhost") as server:
        assert 200 == OverHttp(server.address)("GET", "/").status


def test_an_address_that_is_none_is_refused() -> None:
    done = _run("-t", "memory", "-a", "no such host")

    assert 2 == done.returncode
    assert "no address" in done.stderr


def test_a_trash_that_the_backend_lacks_is_refused() -> None:
    """Before a worker begins: of a remote archive the other server decides."""
    done = _run(*("-t", "http", "--prefix", "http://127.0.0.1:9"), "--delete", "trash")

    assert 14 == done.returncode
    assert "no trash" in done.stderr


def test_files_of_other_ids_are_not_taken_past_tokens(tmp_path: Path) -> None:
    pytest.importorskip("pacifica_archive_posix")
    add_token(tmp_path / "tokens", "one", scopes=[Scope.MOVE])
    done = _run(
        *("-t", "posix", "--prefix", str(tmp_path), "-o", "adopt_ids=true"),
        *("-p", "0", "--tokens", str(tmp_path / "tokens")),
    )

    assert 14 == done.returncode
    assert "adopt_ids" in done.stderr


def test_ip_6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with running_server("-t", "memory", "-a", "::1") as server:
        status = OverHttp(server.address)("GET", "/").status

    assert (200, "http://[::1]:") == (status, server.url[:13])


def test_files_in_memory_are_not_divided_among_workers() -> None:
    done = _run("-t", "memory", "-p", "0", "--workers", "2")

    assert 2 == done.returncode
    assert "one worker only" in done.stderr


def test_files_in_memory_have_one_worker() -> None:
    with running_server("-t", "memory") as server:
        assert 1 == len(server.workers)


@needs_posix
def test_as_many_workers_run_as_are_asked_for(tmp_path: Path) -> None:
    with running_server(
        "-t", "posix", "--prefix", str(tmp_path), "--workers", "3"
    ) as server:
        assert 3 == len(server.workers)


def test_a_port_that_is_taken_is_refused() -> None:
    """Granian alone would share it, and get some of the requests."""
    with running_server("-t", "memory") as server:
        done = _run("-t", "memory", "-p", str(server.address[1]))

    assert 1 == done.returncode
    assert "in use" in done.stderr


def test_an_archive_that_cannot_be_opened_is_said_once() -> None:
    done = _run("-t", "memory", "-p", "0", "-o", "no_such=1")

    assert 14 == done.returncode
    assert ["pacifica-archive: options given: memory has no option 'no_such'"] == [
        line.partition(";")[0] for line in done.stderr.splitlines()
    ]


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    done = _run("-t", "memory", "-p", "0", "--log-file", str(tmp_path / "no" / "log"))

    assert 1 == done.returncode
    assert "No such file" in done.stderr


@needs_posix
def test_the_configuration_file_counts(tmp_path: Path) -> None:
    """Release 0.4.2 passed over it, and deleted another file than was meant."""
    (tmp_path / "archive").mkdir()
    config = tmp_path / "config.cfg"
    config.write_text(f"[posix]\nprefix = {tmp_path}/archive\nuse_id2filename = true\n")
    with running_server("-t", "posix", "-c", str(config)) as server:
        OverHttp(server.address)("PUT", "/12345", b"bytes")

    assert b"bytes" == (tmp_path / "archive" / "39" / "3039").read_bytes()


@needs_posix
def test_the_seeds_command_line_is_understood(tmp_path: Path) -> None:
    config = tmp_path / "config.cfg"
    config.write_text("[posix]\nuse_id2filename = false\n")
    with running_server(
        *("-t", "posix", "-p", "0", "-a", "127.0.0.1", "--prefix", str(tmp_path)),
        *("--config", str(config)),
    ) as server:
        assert 201 == OverHttp(server.address)("PUT", "/5", b"bytes").status


def test_the_digests_asked_for_are_computed() -> None:
    with running_server("-t", "memory", "--digests", "md5") as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"hello")

        assert (
            "md5=:XUFAKrxLKna5cZ2REBfFkg==:"
            == (ask("HEAD", "/files/5").headers["repr-digest"])
        )


def test_no_digest_needs_be_computed() -> None:
    with running_server("-t", "memory", "--digests", "none") as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"hello")

        assert "repr-digest" not in ask("HEAD", "/files/5").headers


def test_a_digest_that_cannot_be_computed_is_refused() -> None:
    done = _run("-t", "memory", "-p", "0", "--digests", "sha-256,sha-1")

    assert 14 == done.returncode
    assert "'sha-1': allowed are sha-512, sha-256, md5, adler, none" in done.stderr


def test_without_a_file_the_log_is_stderr_and_nothing_else(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("wb") as stderr:
        with running_server("-t", "memory", log=stderr) as server:
            OverHttp(server.address)("GET", "/5")
        entries = [
            json.loads(line) for line in (tmp_path / "stderr").read_bytes().splitlines()
        ]

    assert ["no-such-file"] == [entry["error"] for entry in entries]


def test_a_server_that_is_stopped_ends_with_0() -> None:
    with running_server("-t", "memory") as server:
        server.process.terminate()

        assert 0 == server.process.wait(20)


def test_an_environment_variable_is_no_header_of_a_request() -> None:
    """Granian mixes the server's environment into that of each request."""
    with running_server(
        "-t", "memory", env={"HTTP_IF_MATCH": '"x"', "HTTP_RANGE": "bytes=0-0"}
    ) as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"bytes")

        assert (200, b"bytes") == ((answer := ask("GET", "/5")).status, answer.body)
