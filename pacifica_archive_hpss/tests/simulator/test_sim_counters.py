"""Facts 6 and 8.10: what is counted, and what a call costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Client, Roots

    from pacifica_archive_hpss.simulator import Simulator

# One of each: set-up, then the call that is counted and what it costs.
CORE = (
    ("Stat", "/f"),
    ("Lstat", "/f"),
    ("FileGetAttributes", "/f"),
    ("FileGetXAttributes", "/f", 0, 0),
    ("Open", "/f", "O_RDONLY", 0),
    ("Chmod", "/f", 0o444),
    ("Utime", "/f", 1),
    ("Rename", "/f", "/g"),
    ("Link", "/f", "/g"),
    ("Unlink", "/f"),
    ("Mkdir", "/d", 0o755),
    ("Opendir", "/"),
    ("UserAttrSetAttrs", "/f", "/hpss/k", "v"),
    ("UserAttrDeleteAttrs", "/f", "/hpss/k"),
    ("StageCallBack", "/f", "01", "9"),
)
LOCAL = (("ErrnoName", -2), ("BuildLevelString",))


def calls(simulator: Simulator) -> dict[str, int]:
    return {name: n for name, n in simulator.counters()["calls"].items() if n}


@pytest.mark.parametrize("words", CORE, ids=lambda words: words[0])
def test_a_call_to_the_core_server_is_one(
    client: Client, simulator: Simulator, words: tuple[str | int, ...]
) -> None:
    client.put("/f", b"hello")
    simulator.counters(reset=True)
    client(*words)

    assert (1, 0) == (simulator.counters()["core"], simulator.counters()["mover"])


@pytest.mark.parametrize("words", LOCAL, ids=lambda words: words[0])
def test_what_is_computed_here_asks_no_server(
    client: Client, simulator: Simulator, words: tuple[str | int, ...]
) -> None:
    simulator.counters(reset=True)
    client(*words)
    counters = simulator.counters()

    assert (0, 0) == (counters["core"], counters["mover"])


def test_reads_and_writes_are_of_movers(client: Client, simulator: Simulator) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_RDWR", 0o644)
    simulator.counters(reset=True)
    client("Write", fd, "00")
    client("Read", fd, 1)
    counters = simulator.counters()

    assert (0, 2) == (counters["core"], counters["mover"])


def test_calls_are_counted_by_name(client: Client, simulator: Simulator) -> None:
    simulator.counters(reset=True)
    client.put("/f", b"hello")

    assert {"hpss_Open": 1, "hpss_Write": 1, "hpss_Close": 1} == calls(simulator)


def test_a_reset_begins_at_0(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")
    simulator.counters(reset=True)

    assert ({}, 0) == (calls(simulator), simulator.counters()["core"])


def test_a_reset_returns_what_was(client: Client, simulator: Simulator) -> None:
    client.put("/f", b"hello")

    assert 1 == simulator.counters(reset=True)["calls"]["hpss_Open"]


def test_a_reset_does_not_close_files(client: Client, simulator: Simulator) -> None:
    client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    simulator.counters(reset=True)

    assert 1 == simulator.counters()["open_files"]


def test_calls_of_all_processes_are_counted(
    simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    for _ in range(3):
        new_client().login().rc("Stat", "/")

    assert 3 == calls(simulator)["hpss_Stat"]


def test_each_call_to_the_core_server_may_take_its_time(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("delay_ms", 20)
    begin = time.monotonic()
    for _ in range(5):
        client.rc("Stat", "/")

    assert 0.1 <= time.monotonic() - begin


def test_slow_calls_do_not_wait_for_each_other(
    client: Client, simulator: Simulator
) -> None:
    simulator.knob("delay_ms", 500)
    begin = time.monotonic()
    threads = [client.rc("async", "Stat", "/") for _ in range(16)]
    for thread in threads:
        client("join", thread)

    assert 16 * 0.5 / 2 > time.monotonic() - begin


def test_counters_are_printed_as_json(
    client: Client, simulator: Simulator, roots: Roots
) -> None:
    client.rc("Stat", "/")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pacifica_archive_hpss.simulator"),
            *("--state", simulator.state, "counters", "--reset"),
        ],
        env={**os.environ, "PACIFICA_HPSS_ROOT": str(roots.root())},
        capture_output=True,
        text=True,
        check=True,
    )

    assert 1 == json.loads(done.stdout)["calls"]["hpss_Stat"]
