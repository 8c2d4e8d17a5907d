"""The command, and the double that runs beside it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pacifica_archive_hmssideband.double import Double, DoubleError
from pacifica_archive_hmssideband.double.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mariadb import MariaDb

DATA = os.urandom(50_000)
PATIENCE_S = 20.0
HOUR_S = 3600.0

pytestmark = pytest.mark.timeout(60)


def wait_until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        pause.wait(0.01)


@contextlib.contextmanager
def running(double: Double, lag_s: float) -> Iterator[None]:
    """Have a double run in a thread, from its first look on."""
    stop, begun = threading.Event(), threading.Event()
    runner = threading.Thread(
        target=double.run, args=(lag_s, 0.0, stop), kwargs={"ready": begun.set}
    )
    runner.start()
    try:
        assert begun.wait(PATIENCE_S)
        yield
    finally:
        stop.set()
        runner.join(PATIENCE_S)


@pytest.fixture
def path(prefix: Path) -> Path:
    path = prefix / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def tell(prefix: Path, url: str) -> Callable[..., Result]:
    """Return what runs the command in this process."""

    def tell(*words: str) -> Result:
        return CliRunner().invoke(main, ["--prefix", str(prefix), "--url", url, *words])

    return tell


def test_a_file_goes_to_tape_and_comes_back(
    tell: Callable[..., Result], path: Path
) -> None:
    codes, blocks = [], []
    for verb in ("archive", "release", "stage"):
        codes.append(tell(verb, "file").exit_code)
        blocks.append(path.stat().st_blocks > 0)

    assert ([0, 0, 0], [True, False, True], DATA) == (codes, blocks, path.read_bytes())


def test_a_partial_release_keeps_what_it_is_told(
    tell: Callable[..., Result], path: Path
) -> None:
    tell("archive", str(path))
    tell("release", "--partial", "8192", str(path))

    assert 16 == path.stat().st_blocks


@pytest.mark.usefixtures("path")
def test_events_are_lost_until_a_check(
    tell: Callable[..., Result],
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    tell("lose-events", "file")
    tell("archive", "file")
    before = ask("SELECT name FROM sam_file")
    said = tell("check").output

    assert ([], "2 rows mended\n", [("file",)]) == (
        before,
        said,
        ask("SELECT name FROM sam_file"),
    )


def test_a_directory_is_renamed(
    tell: Callable[..., Result],
    prefix: Path,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    (prefix / "old").mkdir()
    tell("rename", "old", "new")

    assert [("/new/",)] == ask("SELECT path FROM sam_path WHERE ino <> 2")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["release", "file"], "file: archive it first"),
        (["release", "none"], "none: No such file or directory"),
        (["archive", "folder"], "folder: is no regular file"),
        (["stage", "../mount.tape/state.db"], "is not in"),
        (["archive", "/etc/hostname"], "/etc/hostname: is not in"),
        (["rename", "none", "other"], "No such file or directory"),
        (["lose-events", ".."], "is not in"),
    ],
)
@pytest.mark.usefixtures("path")
def test_what_cannot_be_done_is_said_in_a_line(
    tell: Callable[..., Result], prefix: Path, words: list[str], reason: str
) -> None:
    (prefix / "folder").mkdir()
    result = tell(*words)

    assert (1, 1, True, True) == (
        result.exit_code,
        result.output.count("\n"),
        result.output.startswith("Error: "),
        reason in result.output,
    )


def test_a_release_that_is_put_off_is_said(
    tell: Callable[..., Result], path: Path
) -> None:
    tell("archive", "file")
    with path.open("rb"):
        result = tell("release", "file")

    assert (0, True) == (result.exit_code, "put off: it is open" in result.stderr)


def test_without_a_url_the_database_is_beside_the_prefix(
    prefix: Path, path: Path
) -> None:
    CliRunner().invoke(main, ["--prefix", str(prefix), "archive", path.name])

    assert (prefix.parent / "mount.tape" / "sideband.db").exists()


@pytest.mark.parametrize("verb", main.commands)
def test_the_help_of_a_command_wants_no_prefix(verb: str) -> None:
    result = CliRunner().invoke(main, [verb, "--help"])

    assert (0, True) == (
        result.exit_code,
        str(main.commands[verb].help) in result.output,
    )


def test_a_command_wants_a_prefix() -> None:
    result = CliRunner().invoke(main, ["check"])

    assert (2, True) == (result.exit_code, "Missing option '--prefix'" in result.output)


def test_a_state_in_the_prefix_is_refused(prefix: Path, url: str) -> None:
    with pytest.raises(DoubleError, match="inside of the prefix"):
        Double(prefix, url, prefix / "state")


def test_a_prefix_that_is_not_there_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DoubleError, match="there is no directory"):
        Double(tmp_path / "none", url)


def test_the_password_is_not_said(
    prefix: Path, path: Path, mariadb_server: MariaDb
) -> None:
    url = mariadb_server.url("root", password="s3cret", schema="none")  # noqa: S106 (a wrong one)
    text = url.render_as_string(hide_password=False)
    result = CliRunner().invoke(
        main, ["--prefix", str(prefix), "--url", text, "archive", path.name]
    )

    assert (1, True, False) == (
        result.exit_code,
        "Access denied" in result.output,
        "s3cret" in result.output,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_says_when_it_is_ready_and_ends_by_a_signal(
    prefix: Path, url: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "pacifica_archive_hmssideband.double"),
            *("--prefix", prefix, "--url", url, "run", "--lag", str(HOUR_S)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], PATIENCE_S)[0]
        line = process.stdout.readline()
        process.send_signal(number)
        rest = process.communicate(timeout=PATIENCE_S)

    assert ("ready\n", ("", ""), 0) == (line, rest, process.returncode)


def test_a_run_keeps_the_database_in_step(
    double: Double,
    prefix: Path,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    with running(double, 0.01):
        (prefix / "new").write_bytes(DATA)
        wait_until(lambda: ask("SELECT * FROM sam_file"), "no row")

    assert [("new",)] == ask("SELECT name FROM sam_file")


def test_what_is_asked_is_left_to_a_run_and_its_lag(
    double: Double,
    tell: Callable[..., Result],
    path: Path,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    with running(double, HOUR_S):
        codes = [tell(verb, "file").exit_code for verb in ("archive", "release")]
        seen = path.stat().st_blocks > 0, ask("SELECT * FROM sam_archive")
    double.step()

    assert ([0, 0], (True, []), 0, 1) == (
        codes,
        seen,
        path.stat().st_blocks,
        len(ask("SELECT * FROM sam_archive")),
    )


def test_a_run_does_what_it_is_asked(
    double: Double,
    tell: Callable[..., Result],
    path: Path,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    with running(double, 0.01):
        tell("archive", "file")
        tell("release", "file")
        wait_until(lambda: not path.stat().st_blocks, "not released")
        tell("stage", "file")
        wait_until(
            lambda: [(1,)] == ask("SELECT online FROM sam_inode WHERE type = 0"),
            "not staged",
        )

    assert DATA == path.read_bytes()


def test_there_is_one_run_at_a_time(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacifica_archive_hmssideband.double.hsm._TRIES", 2)
    with (
        running(double, HOUR_S),
        pytest.raises(DoubleError, match="another run"),
    ):
        double.run(HOUR_S, 0.0, threading.Event())


def test_a_run_outlives_its_database(
    double: Double,
    prefix: Path,
    ask: Callable[[str], list[tuple[Any, ...]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(double, 0.01):
        ask("ALTER TABLE sam_inode RENAME TO away")
        (prefix / "new").write_bytes(DATA)
        wait_until(lambda: "its events are kept" in caplog.text, "not noticed")
        ask("ALTER TABLE away RENAME TO sam_inode")
        wait_until(lambda: ask("SELECT * FROM sam_file"), "no row")
        wait_until(lambda: "in step" in caplog.text, "not said")

    assert 2 == len(caplog.records)


def test_a_run_begins_without_its_database(
    prefix: Path, path: Path, mariadb_server: MariaDb
) -> None:
    url = mariadb_server.url("root", schema="later")
    double = Double(prefix, url)
    stop, begun = threading.Event(), threading.Event()
    runner = threading.Thread(
        target=double.run, args=(0.01, 0.0, stop), kwargs={"ready": begun.set}
    )
    runner.start()
    try:
        early = begun.wait(0.2)
        mariadb_server.execute("CREATE DATABASE later CHARACTER SET latin1")
        late = begun.wait(PATIENCE_S)
    finally:
        stop.set()
        runner.join(PATIENCE_S)
    found = mariadb_server.execute("SELECT name FROM later.sam_file")

    assert (False, True, [(path.name,)]) == (early, late, found)


def test_a_look_costs_some_microseconds_a_file(double: Double, prefix: Path) -> None:
    files = 2000
    for number in range(files):
        os.mknod(prefix / f"{number}")
    double.step()
    best = min(_seconds(double.step) for _ in range(3))

    # 11 on the machine it was written on: 0.1 s for 10,000 files.
    assert best / files < 60e-6


def _seconds(act: Callable[[], None]) -> float:
    # The process's own: others share the machine.
    begun = time.process_time()
    act()
    return time.process_time() - begun
