"""The program as a process: streams, signals, terminals, shells."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from programs import LIMIT_S, STOPS, ended, on_terminal, paused

from pacifica_archive_core.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli_site import Site

pytest_plugins = ("cli_site",)

#: Several blocks of the backend.
DATA = bytes(range(256)) * 1024
#: More than a pipe holds.
LONG = DATA * 8


@pytest.mark.parametrize("number", STOPS)
def test_put_that_is_stopped_stores_nothing_and_dies_of_the_signal(
    site: Site, number: signal.Signals
) -> None:
    Path("source").write_bytes(DATA)

    with paused(site, "put", "5", "source") as (program, pause):
        pause.stop(program, number)

        assert (-number, b"") == ended(program)
    assert {} == site.stored()


def test_put_that_is_stopped_keeps_the_old_file(site: Site) -> None:
    site.store(5, b"old")
    Path("source").write_bytes(DATA)

    with paused(site, "put", "--overwrite", "5", "source") as (program, pause):
        pause.stop(program, signal.SIGTERM)
        ended(program)

    assert {"5": b"old"} == site.stored()


@pytest.mark.parametrize("number", STOPS)
def test_put_in_a_pipeline_that_is_stopped_stores_nothing(
    site: Site, number: signal.Signals
) -> None:
    """The end of the producer, which the signal ends too, is no end of the data."""
    source, feed = os.pipe()
    os.write(feed, bytes(1 << 16))

    with paused(site, "put", "5", "-", stdin=source) as (program, pause):
        os.close(source)
        pause.go_on()
        program.send_signal(number)
        os.close(feed)

        assert (-number, b"") == ended(program)
    assert {} == site.stored()


@pytest.mark.parametrize("number", STOPS)
def test_get_that_is_stopped_leaves_the_old_target_alone(
    site: Site, number: signal.Signals
) -> None:
    site.store(5, DATA)
    Path("target").write_bytes(b"old")

    with paused(site, "get", "5", "target") as (program, pause):
        pause.stop(program, number)

        assert (-number, b"") == ended(program)
    assert {"target": b"old"} == contents()


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path.cwd().iterdir()}


def test_get_writes_beside_the_target_until_it_is_whole(site: Site) -> None:
    site.store(5, DATA)

    with paused(site, "get", "5", "target") as (program, pause):
        half_way = [path.name for path in Path.cwd().iterdir()]
        pause.go_on()
        ended(program)

    assert (1, True) == (len(half_way), half_way[0].startswith(".pacifica-archive-"))
    assert {"target": DATA} == contents()


def test_a_signal_that_is_to_be_ignored_is_ignored(site: Site) -> None:
    Path("source").write_bytes(DATA)

    def as_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with paused(site, "put", "5", "source", preexec_fn=as_nohup) as (program, pause):
        program.send_signal(signal.SIGHUP)
        pause.go_on()

        assert (0, b"") == ended(program)
    assert {"5": DATA} == site.stored()


def rewrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"new")


def shorten(path: Path) -> None:
    os.truncate(path, len(DATA) // 2)


def lengthen(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


@pytest.mark.parametrize("change", [rewrite, shorten, lengthen])
def test_a_source_that_changes_while_it_is_read_is_not_stored(
    site: Site, change: Callable[[Path], None]
) -> None:
    source = Path("source")
    source.write_bytes(DATA)

    with paused(site, "put", "5", "source") as (program, pause):
        change(source)
        pause.go_on()
        code, _ = ended(program)

    assert (10, {}) == (code, site.stored())


def test_a_reader_that_has_enough_ends_get_without_a_word(site: Site) -> None:
    site.store(5, LONG)
    with site.start(
        "get", "5", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.read(1)
        program.stdout.close()
        program.stdout = None

        assert (-signal.SIGPIPE, b"") == ended(program)


@pytest.mark.parametrize(
    "args", [("status", "5"), ("stage", "5"), ("id2filename", "5"), ("get", "5", "-")]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_ends_every_command_without_a_word(
    site: Site, args: tuple[str, ...], unbuffered: str
) -> None:
    site.store(5, b"x")
    environment = {"PYTHONUNBUFFERED": unbuffered}
    unread, stdout = os.pipe()
    os.close(unread)
    with site.start(
        *args, environment=environment, stdout=stdout, stderr=subprocess.PIPE
    ) as program:
        os.close(stdout)

        assert (-signal.SIGPIPE, b"") == ended(program)


@pytest.mark.parametrize("data", [b"x", LONG])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_is_full_is_a_failure(
    site: Site, data: bytes, unbuffered: str
) -> None:
    site.store(5, data)
    with (
        Path("/dev/full").open("wb") as full,
        site.start(
            *("get", "5", "-"),
            environment={"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
        ) as program,
    ):
        expected = b"pacifica-archive: file 5: -: No space left on device\n"
        assert (15, expected) == ended(program)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_ends_within_a_block_is_a_failure(
    site: Site, unbuffered: str
) -> None:
    """Where the space ends, write(2) takes a part and says so without an error."""
    site.store(5, DATA)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) - 1, len(DATA)))

    with (
        Path("target").open("wb") as target,
        site.start(
            *("get", "5", "-"),
            environment={"PYTHONUNBUFFERED": unbuffered},
            preexec_fn=limit,
            stdout=target,
            stderr=subprocess.PIPE,
        ) as program,
    ):
        expected = b"pacifica-archive: file 5: -: File too large\n"
        assert (15, expected) == ended(program)


def test_standard_output_that_would_block_is_a_failure(site: Site) -> None:
    """Another program may have set the stream, which is shared, so."""
    site.store(5, LONG)
    unread, stdout = os.pipe()
    os.set_blocking(stdout, False)
    with site.start("get", "5", "-", stdout=stdout, stderr=subprocess.PIPE) as program:
        expected = b"pacifica-archive: file 5: -: Resource temporarily unavailable\n"
        assert (15, expected) == ended(program)
    os.close(unread)
    os.close(stdout)


def test_standard_input_that_would_block_is_not_its_end(site: Site) -> None:
    source, feed = os.pipe()
    os.set_blocking(source, False)
    os.write(feed, b"beginning")
    with site.start("put", "5", "-", stdin=source, stderr=subprocess.PIPE) as program:
        expected = b"pacifica-archive: file 5: -: Resource temporarily unavailable\n"
        assert (15, expected) == ended(program)
    os.close(source)
    os.close(feed)
    assert {} == site.stored()


def test_bytes_go_from_stream_to_stream_as_they_are(site: Site) -> None:
    with site.start("put", "5", "-", stdin=subprocess.PIPE) as program:
        program.communicate(LONG, timeout=LIMIT_S)
    with site.start("get", "5", "-", stdout=subprocess.PIPE) as program:
        stdout, _ = program.communicate(timeout=LIMIT_S)

    assert LONG == stdout


def test_put_reads_a_named_pipe_to_its_end(site: Site) -> None:
    os.mkfifo("pipe")
    with site.start("put", "5", "pipe") as program:
        Path("pipe").write_bytes(LONG)

        assert 0 == program.wait(LIMIT_S)
    assert {"5": LONG} == site.stored()


def test_get_writes_into_a_named_pipe(site: Site) -> None:
    site.store(5, LONG)
    os.mkfifo("pipe")
    with site.start("get", "5", "pipe") as program:
        came = Path("pipe").read_bytes()

        assert 0 == program.wait(LIMIT_S)
    assert LONG == came


def test_get_does_not_replace_a_named_pipe(site: Site) -> None:
    site.store(5, b"x")
    os.mkfifo("pipe")
    with site.start("get", "5", "pipe") as program:
        Path("pipe").read_bytes()
        program.wait(LIMIT_S)

    assert Path("pipe").is_fifo()


def test_get_writes_into_the_pipe_that_a_shell_offers(site: Site) -> None:
    site.store(5, b"bytes")
    came, offered = os.pipe()
    with site.start("get", "5", f"/dev/fd/{offered}", pass_fds=(offered,)) as program:
        os.close(offered)
        with os.fdopen(came, "rb") as stream:
            assert b"bytes" == stream.read()
        assert 0 == program.wait(LIMIT_S)


def test_put_shows_the_progress_of_a_big_file_on_a_terminal(site: Site) -> None:
    Path("source").touch()
    os.truncate("source", 1 << 24)

    drawn = on_terminal(site, "put", "5", "source")

    assert (True, True) == ("put 5" in drawn, "100%" in drawn)


def test_get_shows_the_progress_of_a_big_file_on_a_terminal(site: Site) -> None:
    os.truncate(site.store(5, b""), 1 << 24)

    drawn = on_terminal(site, "get", "5", "target")

    assert (True, True) == ("get 5" in drawn, "100%" in drawn)


def test_a_small_file_draws_nothing(site: Site) -> None:
    Path("source").write_bytes(DATA)

    assert "" == on_terminal(site, "put", "5", "source")


def test_many_files_show_how_many_are_done(site: Site) -> None:
    for number in range(100):
        site.store(number, b"x")

    drawn = on_terminal(site, "delete", *map(str, range(100)))

    assert (True, True) == ("delete" in drawn, "100%" in drawn)


def test_an_error_wipes_the_bar_from_its_line(site: Site) -> None:
    drawn = on_terminal(site, "delete", *map(str, range(100)))

    assert "\r\x1b[Kpacifica-archive: file 7: not in the archive\r\n" in drawn


def test_no_progress_is_written_to_a_file(site: Site) -> None:
    Path("source").touch()
    os.truncate("source", 1 << 24)
    with site.start("put", "5", "source", stderr=subprocess.PIPE) as program:
        assert (0, b"") == ended(program)


def completed(site: Site, line: str) -> list[str]:
    """Return what bash is offered for the last word of a command line."""
    with site.start(
        environment={
            "_PACIFICA_ARCHIVE_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        stdout, stderr = program.communicate(timeout=LIMIT_S)

    assert b"" == stderr
    # Each line: the kind of completion, and the word.
    return [text.partition(",")[2] for text in stdout.decode().splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pacifica-archive st", ["status", "stage"]),
        ("pacifica-archive gr", ["greet"]),
        ("pacifica-archive -t dir", ["directory"]),
        ("pacifica-archive -t me", ["memory"]),
        ("pacifica-archive put -t dir", ["directory"]),
        ("pacifica-archive put --type dir", ["directory"]),
        ("pacifica-archive options dir", ["directory"]),
        ("pacifica-archive greet --wo", ["--word"]),
        ("pacifica-archive broken --h", ["--help"]),
        ("pacifica-archive get --ra", ["--range"]),
    ],
)
def test_bash_completes(site: Site, line: str, expected: list[str]) -> None:
    assert expected == completed(site, line)


def test_a_shell_is_told_to_complete_files(site: Site) -> None:
    with site.start(
        environment={
            "_PACIFICA_ARCHIVE_COMPLETE": "bash_complete",
            "COMP_WORDS": "pacifica-archive put 5 so",
            "COMP_CWORD": "3",
        },
        stdout=subprocess.PIPE,
    ) as program:
        stdout, _ = program.communicate(timeout=LIMIT_S)

    assert b"file,so\n" == stdout


def test_the_script_is_the_group_of_commands() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="pacifica-archive")

    assert main is script.load()
