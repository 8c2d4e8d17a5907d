"""Facts 3 and 8.12: threads."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulated import eventually

from pacifica_archive_hpss.simulator import VERSIONS

if TYPE_CHECKING:
    from simulated import Client, Roots

    from pacifica_archive_hpss.simulator import Simulator

CROWD = Path(__file__).with_name("crowd.c")


def hold(client: Client, simulator: Simulator, *words: str | int) -> int:
    """Begin a call in a thread, and return when it is in the middle of it."""
    simulator.rule(f"{words[0]}:1:hang")
    thread = client.rc("async", *words)
    name = f"hpss_{words[0]}"
    assert eventually(lambda: simulator.counters()["calls"].get(name, 0) > 0)
    return thread


@pytest.mark.parametrize("version", VERSIONS)
def test_one_descriptor_in_two_threads_is_a_violation(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    hold(client, simulator, "Read", fd, 5)
    client("SetFileOffset", fd, 0, "SEEK_SET")

    assert any("thread" in text for text in simulator.counters()["violations"])


def test_one_stream_in_two_threads_is_a_violation(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    stream = client("Fopen", "/f", "r")["stream"]
    hold(client, simulator, "Fread", stream, 2)
    client("Fseek", stream, 0, "SEEK_SET")

    assert any("thread" in text for text in simulator.counters()["violations"])


def test_two_descriptors_in_two_threads_are_fine(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fds = [client.rc("Open", "/f", "O_RDONLY", 0) for _ in range(2)]
    thread = hold(client, simulator, "Read", fds[0], 5)
    other = client("Read", fds[1], 5)
    simulator.clear_rules()
    held = client("join", thread)

    assert (b"hello".hex(), b"hello".hex(), []) == (
        other["data"],
        held["data"],
        simulator.counters()["violations"],
    )


def test_one_descriptor_may_wander_from_thread_to_thread(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    for _ in range(3):
        client("join", client.rc("async", "Read", fd, 1))

    assert [] == simulator.counters()["violations"]


def test_closing_what_another_thread_reads_is_a_violation(
    client: Client, simulator: Simulator
) -> None:
    client.put("/f", b"hello")
    fd = client.rc("Open", "/f", "O_RDONLY", 0)
    hold(client, simulator, "Read", fd, 5)
    client("Close", fd)

    assert [] != simulator.counters()["violations"]


def test_the_umask_is_of_one_thread(client: Client, simulator: Simulator) -> None:
    client("join", client.rc("async", "Umask", 0o777))
    client.rc("Mkdir", "/d", 0o755)

    assert 0o755 == simulator.ls("/d")[0]["mode"]


def test_two_threads_create_a_file_once(client: Client) -> None:
    words = ("Open", "/f", "O_CREAT|O_EXCL|O_WRONLY", 0o644)
    threads = [client.rc("async", *words) for _ in range(8)]
    answers = [client("join", thread)["rc"] for thread in threads]

    assert [-errno.EEXIST] * 7 == sorted(answers)[:7]


@pytest.mark.parametrize("sanitize", [None, "thread", "address"])
def test_sixteen_threads_do_all_there_is_to_do(
    roots: Roots, simulator: Simulator, sanitize: str | None
) -> None:
    simulator.speed(1e6)
    done = subprocess.run(
        [roots.program(CROWD, sanitize=sanitize), "16", "40", CROWD],
        env={**os.environ, "PACIFICA_HPSS_SIM": str(simulator.state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "", []) == (
        done.returncode,
        done.stderr[-3000:],
        simulator.counters()["violations"],
    )
