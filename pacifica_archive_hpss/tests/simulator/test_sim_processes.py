"""The state: shared by processes, kept, and whole whoever dies in the middle."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest
from simulated import USER, Client, eventually

from pacifica_archive_hpss.simulator import VERSIONS, Simulator, control_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Roots

BUSY_COMMANDS = """
import sys
from pacifica_archive_hpss.simulator import Simulator
simulator = Simulator(sys.argv[1], sys.argv[2])
print(flush=True)
for n in range(100000):
    simulator.mkdir(f"/{sys.argv[3]}/{n}")
    simulator.remove(f"/{sys.argv[3]}/{n}")
"""
CROWD = Path(__file__).with_name("crowd.c")


def check_all(simulator: Simulator) -> None:
    """Demand that every record of the state makes sense and every file can be read."""
    entries = simulator.ls()
    by_path = {entry["path"]: entry for entry in entries}
    names: dict[str, int] = {}
    for entry in entries:
        if entry["path"] != "/":
            parent = str(PurePosixPath(entry["path"]).parent)
            assert by_path[parent]["type"] == "directory"
        if entry["type"] == "file":
            names[entry["bitfile"]] = names.get(entry["bitfile"], 0) + 1
            for level in entry["levels"]:
                assert level["bytes"] <= entry["size"]
    for entry in entries:
        if entry["type"] == "file":
            assert names[entry["bitfile"]] == entry["links"]


def test_processes_see_each_others_files(
    client: Client, new_client: Callable[[], Client]
) -> None:
    client.put("/f", b"hello")

    assert b"hello" == new_client().login().get("/f")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_state_is_the_same_for_every_release(
    client: Client, simulator: Simulator, roots: Roots
) -> None:
    client.put("/f", b"hello", "cos=2")
    simulator.migrate("/f")
    with Client(roots.driver("8.3"), simulator.state) as other:
        read = other.login().get("/f")

    assert b"hello" == read


def test_a_state_survives_its_users(new_client: Callable[[], Client]) -> None:
    with new_client() as first:
        first.login().put("/f", b"hello")

    assert b"hello" == new_client().login().get("/f")


def test_knobs_and_rules_survive_their_setter(
    simulator: Simulator, new_client: Callable[[], Client], roots: Roots
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pacifica_archive_hpss.simulator"),
            *("--state", simulator.state, "rule", "Stat:2:-EBUSY"),
        ],
        env={**os.environ, "PACIFICA_HPSS_ROOT": str(roots.root())},
        check=True,
    )
    client = new_client().login()

    assert [0, -errno.EBUSY] == [client.rc("Stat", "/") for _ in range(2)]


def test_an_orderly_end_leaves_nothing_open(
    client: Client, simulator: Simulator
) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    client("Close", fd)
    client("PurgeLoginCred")

    assert (0, 0) == (client.close(), simulator.counters()["open_files"])


def test_what_a_killed_process_had_open_is_closed(
    client: Client, simulator: Simulator
) -> None:
    client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    client.kill()

    assert 0 == simulator.counters()["open_files"]


def test_what_a_killed_process_had_unlinked_and_open_is_gone(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    client.put("/f", b"x" * 1000)
    client.rc("Open", "/f", "O_RDONLY", 0)
    client("Unlink", "/f")
    client.kill()
    simulator.counters()
    new_client().login().put("/g", b"")
    kept = [p for p in (simulator.state / "data").rglob("*") if p.is_file()]

    assert 0 == sum(path.stat().st_size for path in kept)


@pytest.mark.parametrize(
    "words",
    [
        ("Mkdir", "/x", 0o755),
        ("Rename", "/d/f", "/d/g"),
        ("Unlink", "/d/f"),
        ("Link", "/d/f", "/d/g"),
        ("Open", "/d/n", "O_CREAT|O_WRONLY", 0o644),
        ("UserAttrSetAttrs", "/d/f", "/hpss/k", "v"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("action", ["kill", "lost-kill"])
def test_a_killed_call_was_done_or_not(
    client: Client, simulator: Simulator, words: tuple[str | int, ...], action: str
) -> None:
    client("Mkdir", "/d", 0o755)
    client.put("/d/f", b"hello")
    simulator.rule(f"{words[0]}:1:{action}")
    client.send(*words)
    with pytest.raises(EOFError):
        client.answer()
    check_all(simulator)

    assert "/d" in [entry["path"] for entry in simulator.ls()]


def test_a_hanging_call_may_be_killed(
    client: Client, simulator: Simulator, new_client: Callable[[], Client]
) -> None:
    simulator.rule("Mkdir:1:hang")
    client.send("Mkdir", "/d", 0o755)
    assert client.blocks()
    client.kill()
    simulator.clear_rules()

    assert 0 == new_client().login().rc("Mkdir", "/d", 0o755)


def test_processes_killed_at_any_time_leave_a_state_that_works(
    roots: Roots, simulator: Simulator
) -> None:
    """Twenty processes, each in the middle of thousands of calls."""
    program = roots.program(CROWD)
    simulator.speed(1e6)
    rng = random.Random(3)
    for _ in range(20):
        process = subprocess.Popen(
            [program, "4", "100000", CROWD],
            env={**os.environ, "PACIFICA_HPSS_SIM": str(simulator.state)},
            stderr=subprocess.DEVNULL,
        )
        enough = simulator.counters()["core"] + 20
        assert eventually(lambda: simulator.counters()["core"] > enough)  # noqa: B023 (called at once)
        time.sleep(rng.random() * 0.02)  # anywhere: that is the claim
        process.send_signal(signal.SIGKILL)
        process.wait()
        check_all(simulator)
        simulator.settle()

    assert 0 == simulator.counters()["open_files"]


def test_a_killed_command_leaves_a_state_that_works(simulator: Simulator) -> None:
    rng = random.Random(4)
    for number in range(10):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                BUSY_COMMANDS,
                simulator.state,
                simulator.library,
                str(number),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.random() * 0.02)  # anywhere: that is the claim
        process.kill()
        process.wait()
        process.stdout.close()
        check_all(simulator)

    assert "/" == simulator.ls()[0]["path"]


def test_two_copies_of_the_library_in_one_process_agree(
    roots: Roots, simulator: Simulator, tmp_path: Path
) -> None:
    """The one that an extension module is linked with, and the one that controls."""
    keytab = tmp_path / "keytab"
    keytab.touch()
    program = (
        "import ctypes, sys\n"
        "from pacifica_archive_hpss.simulator import Simulator\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "simulator = Simulator(sys.argv[2], sys.argv[3])\n"
        f"print(library.hpss_SetLoginCred(b'{USER}', 2, 2, 2, sys.argv[4].encode()))\n"
        "simulator.mkdir('/by-control')\n"
        "print(library.hpss_Mkdir(b'/by-api', 0o755))\n"
        "print(library.hpss_Rmdir(b'/by-control'))\n"
        "print(*[entry['path'] for entry in simulator.ls()])\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", program),
            roots.root("8.3") / "lib" / "libhpss.so",
            simulator.state,
            control_library(roots.root("9.3")),
            keytab,
        ],
        env={**os.environ, "PACIFICA_HPSS_SIM": str(simulator.state)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("0\n0\n0\n/ /by-api\n", "") == (done.stdout, done.stderr)


def test_the_library_of_control_is_not_taken_for_that_of_a_program(
    roots: Roots,
) -> None:
    """A loader that is asked for libhpss.so takes any in memory of that soname."""
    program = (
        "import ctypes, sys\n"
        "ctypes.CDLL(sys.argv[1])\n"
        "try:\n    ctypes.CDLL('libhpss.so')\n"
        "except OSError:\n    print('not found')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, control_library(roots.root())],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "not found\n" == done.stdout


def test_threads_may_share_a_simulator(simulator: Simulator) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: simulator.mkdir(f"/{n}"), range(100)))

    assert 101 == len(simulator.ls())


def test_two_states_in_one_process_are_two(
    simulator: Simulator, tmp_path: Path
) -> None:
    other = Simulator(tmp_path / "other", simulator.library)
    other.format()
    other.mkdir("/d")

    assert ["/"] == [entry["path"] for entry in simulator.ls()]


def test_a_new_format_ends_what_was_open(client: Client, simulator: Simulator) -> None:
    fd = client.rc("Open", "/f", "O_CREAT|O_WRONLY", 0o644)
    simulator.format()

    assert -errno.ESTALE == client.rc("Write", fd, "00")


def test_a_state_of_thousands_of_files_is_listed(
    simulator: Simulator, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    for number in range(2000):
        simulator.write(f"/d/{number % 10}/{number}", source)

    assert 2012 == len(simulator.ls())


def test_ctypes_sees_the_simulator_in_the_library(roots: Roots) -> None:
    library = ctypes.CDLL(str(control_library(roots.root("7.5"))))
    library.hpss_sim_version.restype = ctypes.c_char_p

    assert (1, b"7.5") == (library.hpss_sim_is_simulator(), library.hpss_sim_version())
