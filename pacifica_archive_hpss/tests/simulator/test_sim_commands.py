"""The commands, by the command line and by the class."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_hpss.simulator import Simulator, SimulatorError
from pacifica_archive_hpss.simulator.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = [
    *("build", "format", "ls", "read", "write", "sparse", "mkdir", "link", "symlink"),
    *("remove", "migrate", "purge", "stage", "partial", "lose", "damage", "dead"),
    *("counters", "rule", "knob", "cos", "queue", "speed", "advance", "settle"),
]


@pytest.fixture
def command(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what runs a command line on the simulator and returns its output."""

    def run(*words: str) -> str:
        assert 0 == main(["--state", str(simulator.state), *words])

        return capsys.readouterr().out

    return run


@pytest.fixture(autouse=True)
def _root(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACIFICA_HPSS_ROOT", str(simulator.library.parents[1]))


def put(
    simulator: Simulator,
    tmp_path: Path,
    path: str,
    data: bytes,
    cos: int | None = None,
) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    simulator.write(path, source, cos=cos)


# --- the command line --------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    assert (0, True) == (ended.value.code, len(capsys.readouterr().out) > 80)


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.MULTILINE)

    assert COMMANDS == listed


def test_the_help_of_knob_tells_of_every_knob(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["knob", "--help"])
    told = re.findall(r"^  ([a-z_]+)[ :]", capsys.readouterr().out, re.MULTILINE)
    there = {name.partition(":")[0] for name in simulator.knobs()}

    # The clock is shown with the knobs, and is turned by other commands.
    assert there - {"now", "speed"} == set(told)


def test_an_error_is_one_line_and_exit_1(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--state", str(simulator.state), "remove", "/absent"])
    said = capsys.readouterr().err

    assert (1, 1) == (code, said.count("\n"))


def test_without_a_state_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PACIFICA_HPSS_SIM", raising=False)

    assert (1, True) == (main(["ls"]), "PACIFICA_HPSS_SIM" in capsys.readouterr().err)


def test_the_state_may_come_from_the_environment(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator.mkdir("/here")
    monkeypatch.setenv("PACIFICA_HPSS_SIM", str(simulator.state))
    main(["ls"])

    assert "/here" in capsys.readouterr().out


def test_a_state_that_was_not_formatted_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (1, True) == (
        main(["--state", str(tmp_path / "none"), "ls"]),
        "format" in capsys.readouterr().err,
    )


def test_ls_prints_a_table_of_names_and_levels(
    command: Callable[..., str], simulator: Simulator, tmp_path: Path
) -> None:
    put(simulator, tmp_path, "/archive/39/3039", b"x" * 3072)
    command("migrate", "/archive")
    (line,) = (line for line in command("ls").splitlines() if "3039" in line)

    assert re.fullmatch(
        r"-rw-r--r-- +1 +3072  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +1"
        r"  disk 3072, tape 3072 \(\w+\)  /archive/39/3039",
        line,
    )


def test_ls_json_is_all_there_is_to_know(
    command: Callable[..., str], simulator: Simulator, tmp_path: Path
) -> None:
    put(simulator, tmp_path, "/f", b"abc")

    assert simulator.ls("/f") == json.loads(command("ls", "--json", "/f"))


def test_counters_are_json(command: Callable[..., str]) -> None:
    assert 0 == json.loads(command("counters"))["core"]


def test_commands_without_an_answer_print_nothing(command: Callable[..., str]) -> None:
    assert "" == command("mkdir", "/d")


def test_the_module_runs(simulator: Simulator) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pacifica_archive_hpss.simulator", "ls"],
        env={**os.environ, "PACIFICA_HPSS_SIM": str(simulator.state)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("MODE")


def test_a_reader_that_goes_away_is_no_traceback(simulator: Simulator) -> None:
    for number in range(3):
        simulator.mkdir(f"/{'d' * 200}/{number}")
    pipe_in, pipe_out = os.pipe()
    os.close(pipe_in)
    done = subprocess.run(
        [sys.executable, "-m", "pacifica_archive_hpss.simulator", "ls"],
        env={**os.environ, "PACIFICA_HPSS_SIM": str(simulator.state)},
        stdout=pipe_out,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(pipe_out)

    assert (1, b"") == (done.returncode, done.stderr)


# --- the commands ------------------------------------------------------------------


def test_format_forgets_everything(simulator: Simulator) -> None:
    simulator.mkdir("/d")
    simulator.rule("Open:1:-EBUSY")
    simulator.knob("drives", 7)
    simulator.format()

    assert (["/"], 2) == (
        [entry["path"] for entry in simulator.ls()],
        simulator.knobs()["drives"],
    )


def test_format_may_shrink_the_table_of_open_files(simulator: Simulator) -> None:
    simulator.format(fds=5)

    assert 5 == simulator.knobs()["fds"]


def test_write_and_read_are_inverse(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/a/b/c", b"hello")
    simulator.read("/a/b/c", tmp_path / "copy")

    assert b"hello" == (tmp_path / "copy").read_bytes()


def test_read_needs_no_recall(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    simulator.migrate("/f")
    simulator.purge("/f")
    simulator.read("/f", tmp_path / "copy")

    assert b"hello" == (tmp_path / "copy").read_bytes()


def test_write_takes_a_class_of_service(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello", cos=4)

    assert 4 == simulator.ls("/f")[0]["cos"]


def test_sparse_files_have_holes_on_no_level(
    simulator: Simulator, tmp_path: Path
) -> None:
    source = tmp_path / "part"
    source.write_bytes(b"x" * 4096)
    simulator.sparse("/f", 1 << 33, {0: source, 1 << 32: source})
    (entry,) = simulator.ls("/f")

    assert (1 << 33, 8192) == (entry["size"], entry["levels"][0]["bytes"])


def test_the_content_of_a_sparse_file_is_where_it_was_put(
    simulator: Simulator, tmp_path: Path
) -> None:
    source = tmp_path / "part"
    source.write_bytes(b"x" * 10)
    simulator.sparse("/f", 30, {10: source})
    simulator.read("/f", tmp_path / "copy")

    assert bytes(10) + b"x" * 10 + bytes(10) == (tmp_path / "copy").read_bytes()


def test_link_gives_a_second_name(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    simulator.link("/f", "/g")
    (entry,) = simulator.ls("/g")

    assert (2, simulator.ls("/f")[0]["bitfile"]) == (entry["links"], entry["bitfile"])


def test_symlink_is_listed_as_one(simulator: Simulator) -> None:
    simulator.symlink("/target", "/s")

    assert "symlink" == simulator.ls("/s")[0]["type"]


def test_remove_removes_a_name(simulator: Simulator) -> None:
    simulator.mkdir("/d")
    simulator.remove("/d")

    assert ["/"] == [entry["path"] for entry in simulator.ls()]


def test_a_refused_command_has_an_errno(simulator: Simulator) -> None:
    with pytest.raises(SimulatorError) as refused:
        simulator.remove("/absent")

    assert errno.ENOENT == refused.value.errno


@pytest.mark.parametrize(
    "words",
    [
        ("dance",),
        ("knob", "no_such_knob", "1"),
        ("knob", "drives", "many"),
        ("speed", "-1"),
        ("rule", "Open"),
        ("rule", "Dance:1:-EBUSY"),
        ("rule", "Open:0:-EBUSY"),
        ("rule", "Open:1:-EWHAT"),
        ("rule", "Open:1:dance"),
        ("partial", "/"),
        ("damage", "NOSUCH"),
        ("write", "relative", "/dev/null"),
    ],
    ids=" ".join,
)
def test_nonsense_is_refused(simulator: Simulator, words: tuple[str, ...]) -> None:
    with pytest.raises(SimulatorError):
        simulator.run(*words)


def test_commands_are_not_counted(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    simulator.migrate("/")
    counters = simulator.counters()

    assert (0, 0, 0) == (counters["core"], counters["mover"], counters["local"])


def test_commands_do_not_obey_rules(simulator: Simulator) -> None:
    simulator.rule("Mkdir:*:-EIO")
    simulator.mkdir("/d")

    assert "/d" in [entry["path"] for entry in simulator.ls()]


def test_a_state_is_kept(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    again = Simulator(simulator.state, simulator.library)

    assert simulator.ls() == again.ls()


def test_migration_may_name_the_cartridge(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    simulator.migrate("/f", cartridges=["MINE01"])

    assert "MINE01" == simulator.ls("/f")[0]["levels"][1]["cartridge"]


def test_migration_may_spread_a_file_over_cartridges(
    simulator: Simulator, tmp_path: Path
) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    simulator.migrate("/f", cartridges=["A", "B"])

    assert 2 == simulator.ls("/f")[0]["levels"][1]["volumes"]


def test_migration_may_put_files_behind_each_other(
    simulator: Simulator, tmp_path: Path
) -> None:
    for path in ("/f", "/g"):
        put(simulator, tmp_path, path, b"hello")
    simulator.migrate("/", aggregate=10)
    tapes = [simulator.ls(path)[0]["levels"][1] for path in ("/f", "/g")]

    assert (1, {0, 5}) == (
        len({tape["position"] for tape in tapes}),
        {tape["offset"] for tape in tapes},
    )


def test_a_purge_may_be_of_one_level(simulator: Simulator, tmp_path: Path) -> None:
    put(simulator, tmp_path, "/f", b"hello", cos=3)
    simulator.migrate("/f")
    simulator.purge("/f", level=0)

    assert [0, 5, 5] == [lv["bytes"] for lv in simulator.ls("/f")[0]["levels"]]


def test_options_stand_before_paths(
    command: Callable[..., str], simulator: Simulator, tmp_path: Path
) -> None:
    put(simulator, tmp_path, "/f", b"hello")
    command("migrate", "/f", "--cartridge", "MINE01")

    assert "MINE01" in command("ls")


def test_a_class_of_service_may_be_made(
    command: Callable[..., str], simulator: Simulator, tmp_path: Path
) -> None:
    command("cos", "77", "--levels", "disk,tape,tape", "--name", "mine")
    put(simulator, tmp_path, "/f", b"hello", cos=77)

    assert 3 == len(simulator.ls("/f")[0]["levels"])


def test_a_class_of_service_may_be_changed(simulator: Simulator) -> None:
    classes = simulator.cos(1, stage="background", max=4096)

    assert [("background", 4096)] == [
        (each["stage"], each["max"]) for each in classes if each["id"] == 1
    ]


def test_rules_are_shown_with_what_they_have_seen(
    command: Callable[..., str], simulator: Simulator
) -> None:
    simulator.rule("Stat:*:-EBUSY")

    assert [{"rule": "Stat:*:-EBUSY", "seen": 0}] == json.loads(command("rule"))


def test_the_queue_is_shown(command: Callable[..., str]) -> None:
    assert [] == json.loads(command("queue"))["requests"]
