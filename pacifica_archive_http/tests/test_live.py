"""What only a real server shows: broken connections, waiting clients, signals."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asking import (
    PATIENCE_S,
    OverHttp,
    connect,
    log_lines,
    needs_posix,
    read_all,
    read_answer,
    wait_until,
)

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_http.testing import LiveServer


@pytest.fixture
def ask(granian: LiveServer) -> OverHttp:
    return OverHttp(granian.address)


def _head(method: str, target: str, **fields: object) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _reset(connection: socket.socket) -> None:
    """Cut the connection, as a crash of the client does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[tuple[LiveServer, Path]]:
    """Run a server of one worker; return it and its log."""
    log = tmp_path / "log"
    with running_server("-t", "memory", "--log-file", str(log)) as server:
        yield server, log


# --- uploads that break ----------------------------------------------------------


@pytest.mark.parametrize("cut", ["reset", "closed", "half closed"])
@pytest.mark.parametrize(
    "fields",
    [
        {"Content_Length": 100_000},
        {
            "Transfer_Encoding": "chunked",
            # Of other bytes than those that come.
            "Repr_Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
        },
    ],
    ids=["length", "digest"],
)
def test_an_upload_that_breaks_leaves_the_old_file(
    logged: tuple[LiveServer, Path], fields: dict[str, object], cut: str
) -> None:
    server, log = logged
    ask = OverHttp(server.address)
    ask("PUT", "/5", b"old")
    begun = b"a" * 3000
    with connect(server.address) as connection:
        chunked = "Transfer_Encoding" in fields
        connection.sendall(
            _head("PUT", "/5", **fields) + (_chunk(begun) if chunked else begun)
        )
        if cut == "reset":
            _reset(connection)
        elif cut == "half closed":
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    wait_until(lambda: len(log_lines(log, "/5")) == 2, "the upload did not end")
    assert 400 == log_lines(log, "/5")[1]["status"]
    assert b"old" == ask("GET", "/5").body


def test_an_upload_that_breaks_frees_its_thread(tmp_path: Path) -> None:
    # One place: three quarters of two threads.
    with running_server(
        *("-t", "memory", "--threads", "2", "--log-file", str(tmp_path / "log"))
    ) as server:
        ask = OverHttp(server.address)
        for number in range(5):
            with connect(server.address) as connection:
                connection.sendall(_head("PUT", f"/{number}", Content_Length=100))
            wait_until(
                functools.partial(log_lines, tmp_path / "log", f"/{number}"),
                "the upload did not end",
            )

        assert 201 == ask("PUT", "/9", b"bytes").status


# --- clients that wait for a word before they send --------------------------------


def _expecting(target: str, **fields: object) -> bytes:
    return _head("PUT", target, Expect="100-continue", **fields)


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/no-id", {"Content_Length": 10}, 400),
        ("/1", {"Content_Length": 10, "Last_Modified": "yesterday"}, 400),
        ("/1", {"Transfer_Encoding": "chunked"}, 411),
        ("/1", {"Content_Length": 10, "If_Match": '"other"'}, 412),
        ("/1", {"Content_Length": 10, "Content_Encoding": "gzip"}, 415),
        ("/a/b", {"Content_Length": 10}, 404),
    ],
)
def test_a_refusal_comes_before_the_body(
    granian: LiveServer, target: str, fields: dict[str, object], status: int
) -> None:
    with connect(granian.address) as connection:
        connection.sendall(_expecting(target, **fields))
        first_line = read_all(connection).split(b"\r\n")[0]

    assert str(status).encode() == first_line.split()[1]


def test_a_full_archive_says_so_before_the_body() -> None:
    with (
        running_server("-t", "memory", "-o", "capacity=1000") as server,
        connect(server.address) as connection,
    ):
        connection.sendall(_expecting("/1", Content_Length=1001))
        first_line = read_all(connection).split(b"\r\n")[0]

    assert b"507" == first_line.split()[1]


def test_write_once_says_so_before_the_body() -> None:
    with running_server("-t", "memory", "--write-once") as server:
        OverHttp(server.address)("PUT", "/1", b"old")
        with connect(server.address) as connection:
            connection.sendall(_expecting("/1", Content_Length=10))
            first_line = read_all(connection).split(b"\r\n")[0]

    assert b"409" == first_line.split()[1]


def test_who_may_send_is_told_so(granian: LiveServer, file_id: int) -> None:
    with connect(granian.address) as connection:
        connection.sendall(_expecting(f"/{file_id}", Content_Length=5))
        word = connection.recv(1000)
        connection.sendall(b"bytes")
        answer = read_answer(connection)

    assert word.startswith(b"HTTP/1.1 100 ")
    assert 201 == answer.status


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_who_sends_all_before_he_looks_sees_the_refusal(
    ask: OverHttp, size: int
) -> None:
    answers = [ask("PUT", "/no-id", b"a" * size).status for _ in range(20)]

    assert [400] * 20 == answers


# --- downloads that break ---------------------------------------------------------


@needs_posix
def test_a_file_that_turns_out_short_breaks_the_connection(tmp_path: Path) -> None:
    prefix = tmp_path / "archive"
    prefix.mkdir()
    size = 64 << 20
    with running_server(
        *("-t", "posix", "--prefix", str(prefix), "--log-file", str(tmp_path / "log"))
    ) as server:
        OverHttp(server.address)("PUT", "/5", bytes(size))
        with connect(server.address) as connection:
            connection.sendall(_head("GET", "/5"))
            came = connection.recv(1000)
            os.truncate(prefix / "5", 1 << 20)
            came += read_all(connection)

    head, _, body = came.partition(b"\r\n\r\n")
    assert f"content-length: {size}".encode() in head.lower()
    assert len(body) < size


def test_a_download_that_the_client_leaves_is_logged_and_freed(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with running_server(
        *("-t", "memory", "--threads", "2", "--log-file", str(log))
    ) as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", bytes(64 << 20))
        for _ in range(3):
            with connect(server.address) as connection:
                connection.sendall(_head("GET", "/5"))
                connection.recv(1000)
            lines = len(log_lines(log, "/5"))
            wait_until(lambda: ask("GET", "/5").status == 200, f"no place {lines}")

        wait_until(
            lambda: (
                3
                == sum(
                    entry.get("error") == "client-gone"
                    for entry in log_lines(log, "/5")
                )
            ),
            "not every download has its line",
        )


# --- many at once -----------------------------------------------------------------


def test_stalled_uploads_leave_room_for_all_else(tmp_path: Path) -> None:
    with (
        running_server("-t", "memory", "--log-file", str(tmp_path / "log")) as server,
        contextlib.ExitStack() as stack,
    ):
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"bytes")
        stalled = []
        for number in range(100):
            connection = stack.enter_context(connect(server.address))
            connection.sendall(_head("PUT", f"/{number + 100}", Content_Length=100))
            stalled.append(connection)
        # 48 of 64 threads: as many refusals as there are uploads more.
        wait_until(
            lambda: (
                sum(
                    entry["status"] == 503
                    for number in range(100)
                    for entry in log_lines(tmp_path / "log", f"/{number + 100}")
                )
                == 52
            ),
            "not every place was taken",
        )

        began = time.monotonic()
        statuses = [
            ask("HEAD", "/5").status,
            ask("GET", "/").status,
            ask("GET", "/5").status,
            ask("PUT", "/6", b"bytes").status,
        ]
        took = time.monotonic() - began

    assert [204, 200, 200, 503] == statuses
    assert took < 2


@needs_posix
def test_lines_of_all_workers_are_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_server(
        *(*_archive(tmp_path), "--workers", "2", "--log-file", str(log))
    ) as server:
        ask = OverHttp(server.address)
        together = threading.Barrier(8)

        def work(worker: int) -> None:
            together.wait(PATIENCE_S)
            for number in range(50):
                ask("PUT", f"/{worker * 100 + number}", b"bytes")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    entries = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert 400 == len({entry["id"] for entry in entries if entry["verb"] == "PUT"})


def _archive(folder: Path) -> list[str]:
    """Return the options of an archive that several workers may share."""
    prefix = folder / "archive"
    prefix.mkdir()
    return ["-t", "posix", "--prefix", str(prefix), "-o", "durable=false"]


# --- the end ----------------------------------------------------------------------


def test_a_running_upload_finishes_when_the_server_is_stopped() -> None:
    with (
        running_server("-t", "memory") as server,
        connect(server.address) as connection,
    ):
        connection.sendall(_head("PUT", "/5", Content_Length=10, Expect="100-continue"))
        connection.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _refuses(server), "new connections are still taken")
        connection.sendall(b"ten bytes.")
        answer = read_answer(connection)
        ended = server.process.wait(PATIENCE_S)

    assert (201, 0) == (answer.status, ended)


def test_a_running_download_finishes_when_the_server_is_stopped() -> None:
    size = 64 << 20
    with running_server("-t", "memory") as server:
        OverHttp(server.address)("PUT", "/5", bytes(size))
        with connect(server.address) as connection:
            connection.sendall(_head("GET", "/5"))
            came = len(connection.recv(1000))
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(server), "new connections are still taken")
            came += len(read_all(connection))

    assert came > size


def test_a_transfer_that_never_ends_is_cut_in_time() -> None:
    with (
        running_server("-t", "memory", "--stop-timeout", "1") as server,
        connect(server.address) as connection,
    ):
        connection.sendall(_head("PUT", "/5", Content_Length=10, Expect="100-continue"))
        connection.recv(1000)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        ended = server.process.wait(PATIENCE_S)

    assert 0 == ended
    assert 0.9 < time.monotonic() - began < 10


def _refuses(server: LiveServer) -> bool:
    try:
        connect(server.address).close()
    except ConnectionError:
        return True
    return False


def test_no_line_is_lost_when_the_server_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_server("-t", "memory", "--log-file", str(log)) as server:
        ask = OverHttp(server.address)
        for number in range(50):
            ask("PUT", f"/{number}", b"bytes")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE_S)

    assert 50 == len(log.read_bytes().splitlines())


@needs_posix
def test_a_server_that_is_stopped_as_it_starts_ends_soon(tmp_path: Path) -> None:
    """Its workers are told to stop before they can know how."""
    archive = _archive(tmp_path)
    began = time.monotonic()
    for _ in range(5):
        with running_server(*archive, "--workers", "3"):
            pass

    assert time.monotonic() - began < PATIENCE_S


@needs_posix
def test_workers_end_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    with running_server(*_archive(tmp_path), "--workers", "2") as server:
        wait_until(lambda: len(server.workers) == 2, "no two workers")
        workers = server.workers
        server.process.kill()
        server.process.wait()

        wait_until(lambda: not any(map(_is_running, workers)), "workers serve on")


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie only waits for whoever is its parent now.
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@needs_posix
def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with running_server(*_archive(tmp_path), "--workers", "1") as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"bytes")
        (worker,) = server.workers
        os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda: server.workers not in ([], [worker]) and not _refuses(server),
            "no new worker",
        )

        assert b"bytes" == ask("GET", "/5").body


@needs_posix
def test_a_log_that_is_moved_away_is_begun_anew_at_sighup(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_server(
        *(*_archive(tmp_path), "--workers", "1", "--log-file", str(log))
    ) as server:
        ask = OverHttp(server.address)
        ask("PUT", "/5", b"bytes")
        log.rename(tmp_path / "log.1")
        old = server.workers
        server.process.send_signal(signal.SIGHUP)
        # The new worker begins before the old one ends.
        wait_until(
            lambda: server.workers and not set(old) & set(server.workers),
            "the old worker stays",
        )
        ask("PUT", "/6", b"bytes")

        wait_until(lambda: log_lines(log, "/6"), "no line in the new log")


# --- what is bounded -------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Run a server that waits a second where it waits half a minute."""
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "sitecustomize.py").write_text(
        "import pacifica_archive_http.serve as serve\nserve.HEAD_TIMEOUT_S = 1\n"
    )
    with running_server("-t", "memory", env={"PYTHONPATH": str(folder)}) as server:
        yield server


@pytest.mark.parametrize(
    ("head", "begins"),
    [
        (b"", b""),
        (b"GET /5 HTTP/1.1\r\nHost: t", b""),
        (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"HTTP/1.1 200"),
    ],
    ids=["silent", "half a head", "idle after an answer"],
)
def test_a_connection_without_a_request_is_ended(
    impatient: LiveServer, head: bytes, begins: bytes
) -> None:
    """Else reading would end by PATIENCE_S, which is less than half a minute."""
    with connect(impatient.address) as connection:
        connection.sendall(head)
        said = read_all(connection)

    assert begins == said[:12]


def test_a_head_that_drips_is_ended(impatient: LiveServer) -> None:
    """However much of it comes, and in time: a second is for all of it."""
    with connect(impatient.address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n")
        connection.settimeout(0.1)
        deadline = time.monotonic() + PATIENCE_S
        said: bytes | None = None
        while said is None and time.monotonic() < deadline:
            try:
                connection.sendall(b"X: y\r\n")
                said = connection.recv(1)
            except TimeoutError:
                continue
            except ConnectionError:
                # Ended, while a drop was on its way.
                said = b""

    assert b"" == said


@needs_posix
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Not by a quarter of it, on its way in and out."""
    size, block = 1 << 28, bytes(1 << 20)
    options = ("-t", "posix", "--prefix", str(tmp_path), "-o", "durable=false")
    with running_server(*options, "--workers", "1") as server:
        ask = OverHttp(server.address)
        ask("PUT", "/4", block)
        ask("GET", "/4")
        (worker,) = server.workers
        before = _peak_bytes(worker)
        with contextlib.closing(http.client.HTTPConnection(*server.address)) as sender:
            length = {"Content-Length": str(size)}
            sender.request("PUT", "/5", (block for _ in range(size >> 20)), length)
            assert 201 == sender.getresponse().status
        with contextlib.closing(http.client.HTTPConnection(*server.address)) as taker:
            taker.request("GET", "/5")
            answer = taker.getresponse()
            came = sum(iter(lambda: len(answer.read(1 << 20)), 0))

        assert size == came
        assert _peak_bytes(worker) - before < size // 4


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
