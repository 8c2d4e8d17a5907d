"""Facts 8.14: the calls like those of stdio, which release 0.4.2 made."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from simulated import Client

    from pacifica_archive_hpss.simulator import Simulator


def fopen(client: Client, path: str, mode: str) -> int:
    stream: int = client("Fopen", path, mode)["stream"]
    assert stream >= 0
    return stream


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_written_is_read(client: Client) -> None:
    stream = fopen(client, "/f", "w")
    written = client.rc("Fwrite", stream, b"hello".hex())
    closed = client.rc("Fclose", stream)
    stream = fopen(client, "/f", "r")

    assert (5, 0, b"hello".hex()) == (
        written,
        closed,
        client("Fread", stream, 100)["data"],
    )


def test_a_stream_that_was_not_closed_well_leaves_nothing_open(
    client: Client, simulator: Simulator
) -> None:
    stream = fopen(client, "/f", "w")
    simulator.rule("Fclose:1:-EIO")
    rc = client.rc("Fclose", stream)

    assert (-errno.EIO, 0) == (rc, simulator.counters()["open_files"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_fopen_tells_by_errno(client: Client) -> None:
    answer = client("Fopen", "/absent", "r")

    assert (-1, errno.ENOENT) == (answer["stream"], answer["stdio_errno"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_fread_is_0_and_tells_by_errno(
    client: Client, simulator: Simulator
) -> None:
    """Taken for the end of the file, it cut what was served."""
    client.put("/f", b"x" * 100)
    stream = fopen(client, "/f", "r")
    simulator.rule("Fread:1:-EIO")
    answer = client("Fread", stream, 100)

    assert (0, errno.EIO) == (answer["rc"], answer["errno"])


def test_a_failed_fwrite_is_0_and_tells_by_errno(
    client: Client, simulator: Simulator
) -> None:
    stream = fopen(client, "/f", "w")
    simulator.rule("Fwrite:1:-ENOSPC")
    answer = client("Fwrite", stream, "00")

    assert (0, errno.ENOSPC) == (answer["rc"], answer["errno"])


def test_at_the_end_fread_is_0(client: Client) -> None:
    client.put("/f", b"x")
    stream = fopen(client, "/f", "r")
    client("Fread", stream, 10)

    assert 0 == client.rc("Fread", stream, 10)


def test_seeking_and_telling_agree(client: Client) -> None:
    client.put("/f", b"abcdef")
    stream = fopen(client, "/f", "r")

    assert (0, 4, b"ef".hex()) == (
        client.rc("Fseek", stream, 4, "SEEK_SET"),
        client.rc("Ftell", stream),
        client("Fread", stream, 10)["data"],
    )


def test_a_failed_fseek_returns_the_code(client: Client) -> None:
    client.put("/f", b"abcdef")
    stream = fopen(client, "/f", "r")

    assert -errno.EINVAL == client.rc("Fseek", stream, 0, 1000)


def test_opening_for_writing_empties_the_file(
    client: Client, simulator: Simulator
) -> None:
    """As release 0.4.2 did to the target before its rename."""
    client.put("/f", b"hello")
    client("Fclose", fopen(client, "/f", "w"))

    assert 0 == simulator.ls("/f")[0]["size"]


def test_flushing_shows_what_was_written(client: Client) -> None:
    stream = fopen(client, "/f", "w")
    client("Fwrite", stream, b"hello".hex())

    assert (0, b"hello") == (client.rc("Fflush", stream), client.get("/f"))


def test_opening_for_reading_stages(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.speed(0)
    client.send("Fopen", "/f", "r")

    assert client.blocks()


def test_opening_for_reading_reads_ahead(client: Client) -> None:
    """What changes between the opening and the reading is not seen."""
    client.put("/f", b"hello")
    stream = fopen(client, "/f", "r")
    fd = client.rc("Open", "/f", "O_WRONLY", 0)
    client("Write", fd, b"HELLO".hex())

    assert b"hello".hex() == client("Fread", stream, 5)["data"]


# --- the clock of the core server --------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_core_server_tells_its_time(client: Client) -> None:
    answer = client("PingCore", "site")

    assert (0, 0, True) == (answer["found"], answer["rc"], answer["s"] > 1_600_000_000)


def test_the_clock_of_the_core_server_may_be_wrong(
    client: Client, simulator: Simulator
) -> None:
    """Release 0.4.2 took the difference of two clocks for a latency."""
    before = client("PingCore", "site")["s"]
    simulator.knob("ping_skew_s", 1000)

    assert 1000 <= client("PingCore", "site")["s"] - before


@pytest.mark.parametrize("version", VERSIONS)
def test_the_level_of_the_library_begins_with_its_release(
    client: Client, version: str
) -> None:
    text = client("BuildLevelString")["text"]

    assert version in text
