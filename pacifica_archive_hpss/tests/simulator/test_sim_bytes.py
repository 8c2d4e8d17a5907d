"""Facts 8.9: reading and writing."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator

GIB = 1 << 30


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_written_is_read(client: Client) -> None:
    data = os.urandom(3000)
    client.put("/f", data)

    assert data == client.get("/f")


@pytest.mark.parametrize("version", VERSIONS)
def test_at_the_end_nothing_is_read(client: Client) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    client("Read", fd, 5)

    assert 0 == client.rc("Read", fd, 5)


def test_reads_follow_each_other(client: Client) -> None:
    client.put("/f", b"abcdef")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert ["6162", "6364", "6566"] == [client("Read", fd, 2)["data"] for _ in range(3)]


@pytest.mark.parametrize("version", VERSIONS)
def test_offsets_beyond_4_gib_are_kept(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_RDWR", 0o644)
    assert client.rc("SetFileOffset", fd, 5 * GIB, "SEEK_SET") >= 0
    client("Write", fd, b"far".hex())
    client("SetFileOffset", fd, 5 * GIB + 1, "SEEK_SET")

    assert b"ar".hex() == client("Read", fd, 10)["data"]


def test_holes_read_as_zeros(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_RDWR", 0o644)
    client("SetFileOffset", fd, 4, "SEEK_SET")
    client("Write", fd, "ff")
    client("SetFileOffset", fd, 0, "SEEK_SET")

    assert "00000000ff" == client("Read", fd, 5)["data"]


def test_an_offset_may_be_counted_from_the_end(client: Client) -> None:
    client.put("/f", b"abcdef")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)

    assert (6, 0) == (client.rc("Lseek", fd, 0, "SEEK_END"), client.rc("Read", fd, 1))


def test_seeking_is_no_call_to_a_server(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"abcdef")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    simulator.counters(reset=True)
    client("SetFileOffset", fd, 3, "SEEK_SET")
    counters = simulator.counters()

    assert (0, 0, 1) == (counters["core"], counters["mover"], counters["local"])


def test_short_reads_are_short_and_lose_nothing(
    client: Client, simulator: Simulator
) -> None:
    data = os.urandom(5000)
    client.put("/f", data)
    simulator.knob("short_reads", 1)
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    parts: list[bytes] = []
    while part := bytes.fromhex(
        client("Read", fd, 5000 - len(b"".join(parts)))["data"]
    ):
        parts.append(part)

    assert (True, data) == (len(parts) > 1, b"".join(parts))


def test_short_writes_are_short_and_lose_nothing(
    client: Client, simulator: Simulator
) -> None:
    data = os.urandom(5000)
    simulator.knob("short_writes", 1)
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    written, calls = 0, 0
    while written < len(data):
        done = client.rc("Write", fd, data[written:].hex())
        assert done > 0
        written += done
        calls += 1

    assert (True, data) == (calls > 1, client.get("/f"))


def test_a_read_error_comes_where_it_was_put(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"x" * 100)
    simulator.knob("read_error_at", 50)
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    answers = [client.rc("Read", fd, 25) for _ in range(3)]

    assert [25, 25, -errno.EIO] == answers


def test_the_space_may_end_where_it_was_put(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("write_error_at", 50)
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    answers = [client.rc("Write", fd, (b"x" * 25).hex()) for _ in range(3)]

    assert [25, 25, -errno.ENOSPC] == answers


def test_there_may_be_no_space_at_all(client: Client, simulator: Simulator) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    simulator.knob("full", 1)

    assert -errno.ENOSPC == client.rc("Write", fd, "00")


@pytest.mark.parametrize("version", VERSIONS)
def test_truncation_cuts_and_grows(client: Client) -> None:
    client.put("/f", b"hello")
    cut = client.rc("Truncate", "/f", 2)
    fd = client.rc("Open", "/f", "O_RDWR", 0)
    grown = client.rc("Ftruncate", fd, 4)

    assert (0, 0, "68650000") == (cut, grown, client("Read", fd, 10)["data"])


def test_fsync_is_answered(client: Client) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)

    assert 0 == client.rc("Fsync", fd)


def test_appending_writes_at_the_end(client: Client) -> None:
    client.put("/f", b"abc")
    fd = client.rc("Open", "/f", "O_WRONLY|O_APPEND", 0)
    client("Write", fd, b"def".hex())

    assert b"abcdef" == client.get("/f")


def test_writing_moves_the_time_of_the_content(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"abc")
    client("Utime", "/f", 1)
    fd = client.rc("Open", "/f", "O_WRONLY", 0)
    client("Write", fd, "00")
    client("Close", fd)

    assert 1 < simulator.ls("/f")[0]["mtime_s"]


def test_one_byte_of_a_file_may_be_unreadable(
    client: Client, simulator: Simulator
) -> None:
    """In the middle of a read, what stands before it is had."""
    client.put("/f", b"x" * 100)
    client.put("/g", b"x" * 100)
    simulator.rule("Read@/f:*:-EIO@60")
    answers = []
    for path in ("/f", "/g"):
        fd = client.rc("Open", path, "O_RDONLY", 0)
        answers += [client.rc("Read", fd, 100), client.rc("Read", fd, 100)]

    assert [60, -errno.EIO, 100, 0] == answers


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_connection_stays_lost_until_the_next_login(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    simulator.rule("Read:1:drop-ECONNRESET")
    answers = [
        client.rc("Read", fd, 5),
        client.rc("Read", fd, 5),
        client.rc("Stat", "/"),
    ]
    client("PurgeLoginCred")
    client.login()

    assert ([-errno.ECONNRESET, -errno.ECONNREFUSED, -errno.ECONNREFUSED], 0) == (
        answers,
        client.rc("Stat", "/"),
    )


def test_the_connection_of_one_process_is_not_that_of_another(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    simulator.rule("Stat:1:drop-ECONNRESET")
    client.rc("Stat", "/")

    assert 0 == new_client().login().rc("Stat", "/")


def test_each_transfer_may_take_its_time(client: Client, simulator: Simulator) -> None:
    simulator.knob("io_ms", 20)
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    begin = time.monotonic()
    for _ in range(5):
        client.rc("Write", fd, "00")

    assert 0.1 <= time.monotonic() - begin


def test_bytes_may_take_their_time(client: Client, simulator: Simulator) -> None:
    simulator.knob("io_rate", 10_000)
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    begin = time.monotonic()
    client.rc("Write", fd, "00" * 1000)

    assert 0.1 <= time.monotonic() - begin


@pytest.mark.parametrize(("frees", "code"), [(1, -errno.EBADF), (0, 0)])
def test_a_close_that_failed_may_leave_the_file_open(
    client: Client, simulator: Simulator, frees: int, code: int
) -> None:
    simulator.knob("close_frees", frees)
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    simulator.rule("Close:1:-EIO")
    client.rc("Close", fd)

    assert code == client.rc("Close", fd)
