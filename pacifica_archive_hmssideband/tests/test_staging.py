"""Asking for recalls: by the stage command, or by the read of one byte."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tape import (
    PATIENCE_S,
    Recorder,
    Tape,
    archive_in,
    descriptors,
    ended,
    path_of,
    released,
    tape_in_a_drive,
    threads,
)

from pacifica_archive_core import (
    ArchiveUnavailable,
    ConfigError,
    FileDamaged,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_hmssideband import staging
from pacifica_archive_hmssideband.staging import ReadTrigger, StageCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pacifica_archive_hmssideband import HmsSidebandArchive

pytestmark = pytest.mark.timeout(60)

#: More than a small file's partial, less than the big one's size.
MAX_PARTIAL = 16384
TRIGGER = "trigger"


def files(count: int) -> list[tuple[int, str]]:
    return [(file_id, f"/mount/{file_id}") for file_id in range(count)]


def kinds(answers: Sequence[Exception | None]) -> list[type]:
    return [type(answer) for answer in answers]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


# --- 35: the command


def test_group_35_the_command_gets_the_paths_as_its_last_arguments(
    recorder: Recorder,
) -> None:
    StageCommand((*recorder.words, "-f", "a b"), 30.0).ask(files(2))

    assert [[str(recorder.script), "-f", "a b", "/mount/0", "/mount/1"]] == (
        recorder.calls()
    )


@pytest.mark.parametrize(
    "name",
    ["a b", "it's", '"', "; touch made", "$(touch made)", "`touch made`", "a\nb", "*"],
)
def test_group_35_no_shell_sees_a_path(
    name: str, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with archive_in(tmp_path / name, stage_command=recorder.words) as archive:
        released(archive, 1)
        archive.stage(1)

    assert ([[str(recorder.script), f"{tmp_path}/{name}/file.1"]], False) == (
        recorder.calls(),
        Path("made").exists(),
    )


def test_group_35_a_path_is_absolute_and_no_option(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with archive_in(Path("-w"), stage_command=recorder.words) as archive:
        released(archive, 1)
        archive.stage(1)

    assert [[str(recorder.script), f"{tmp_path}/-w/file.1"]] == recorder.calls()


def test_group_35_the_command_does_not_read_the_input_of_the_server(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, then="read -r line && exit 1; exit 0")
    (tmp_path / "input").write_text("a line\n", "utf-8")
    own = os.dup(0)
    try:
        with (tmp_path / "input").open("rb") as file:
            os.dup2(file.fileno(), 0)
        answers = StageCommand(recorder.words, 30.0).ask(files(1))
    finally:
        os.dup2(own, 0)
        os.close(own)

    assert [None] == answers


def test_group_35_the_command_does_not_have_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which an operator may have given by the environment."""
    recorder = Recorder(tmp_path, then=f"env > '{tmp_path}/variables'")
    monkeypatch.setenv("PACIFICA_ARCHIVE_HMSSIDEBAND_PASSWORD", "hush")
    monkeypatch.setenv("NEEDED_BY_THE_COMMAND", "kept")
    StageCommand(recorder.words, 30.0).ask(files(1))
    variables = (tmp_path / "variables").read_text("utf-8")

    assert (False, True) == ("hush" in variables, "kept" in variables)


def test_group_35_too_many_commands_at_once_are_not_begun(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_COMMANDS", 0)
    (answer,) = StageCommand(recorder.words, 0.1).ask(files(1))

    assert ("file 0: the stage command had no turn within 0.1 s", []) == (
        str(answer),
        recorder.calls(),
    )


def test_group_35_a_command_gives_its_turn_to_the_next(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_COMMANDS", 1)
    command = StageCommand(recorder.words, 30.0)

    assert [None] * 3 == [answer for _ in range(3) for answer in command.ask(files(1))]


def test_group_35_a_missing_program_is_told_when_the_archive_is_opened(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="stage_command"):
        archive_in(tmp_path, stage_command=(f"{tmp_path}/missing",))


def test_group_35_a_program_that_cannot_be_executed_is_told_too(
    tmp_path: Path, recorder: Recorder
) -> None:
    recorder.script.chmod(0o644)

    with pytest.raises(ConfigError, match="cannot be executed"):
        archive_in(tmp_path, stage_command=recorder.words)


def test_group_35_a_program_that_is_gone_later_is_asked_again_later(
    recorder: Recorder,
) -> None:
    command = StageCommand(recorder.words, 30.0)
    recorder.script.unlink()
    (error,) = command.ask(files(1))

    assert (
        "file 0: the stage command could not be started: No such file or directory"
        == (str(error))
    )


def test_group_35_a_command_that_fails_is_asked_again_later(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, then="exit 1")

    with archive_in(tmp_path / "mount", stage_command=recorder.words) as archive:
        released(archive, 1)

        with pytest.raises(
            ArchiveUnavailable,
            match=r"^file 1: the stage command ended with status 1$",
        ):
            archive.stage(1)


def test_group_35_what_a_failing_command_says_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path, then="echo to out; echo no copy >&2; exit 3")
    StageCommand(recorder.words, 30.0).ask([(7, "/mount/7")])

    assert [
        (
            "the stage command failed for 1 of 1 files, file 7 among them: it ended"
            " with status 3, and said 'to out\\nno copy\\n'"
        )
    ] == caplog.messages


def test_group_35_a_working_command_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    StageCommand(Recorder(tmp_path, then="echo hello").words, 30.0).ask(files(1))

    assert [] == caplog.messages


def test_group_35_megabytes_of_output_are_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = "head -c 8000000 /dev/zero | tr '\\0' x; echo the end; exit 1"
    StageCommand(Recorder(tmp_path, then=many).words, 30.0).ask(files(1))
    (message,) = caplog.messages

    assert (True, True) == (len(message) < 5000, message.endswith("xthe end\\n'"))


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[int]:
    """Return what hangs up when the last process that holds ``alive`` has ended."""
    os.mkfifo(tmp_path / "alive")
    fd = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def test_group_35_a_late_command_is_gone_with_its_children(
    tmp_path: Path, lifeline: int
) -> None:
    recorder = Recorder(
        tmp_path,
        then=f"exec 9>'{tmp_path}/alive'; (printf child >&9; sleep 999) &\n"
        "printf parent >&9; sleep 999",
    )
    answers = StageCommand(recorder.words, 2.0).ask(files(1))
    poller = select.poll()
    # Nothing is asked for: only its end is told.
    poller.register(lifeline, 0)
    ((_, event),) = poller.poll(PATIENCE_S * 1000)

    assert (
        ["file 0: the stage command was not done within 2 s"],
        True,
        select.POLLHUP,
    ) == (
        [str(answer) for answer in answers],
        os.read(lifeline, 100) in {b"childparent", b"parentchild"},
        event,
    )


def test_group_35_a_late_command_is_not_called_again_for_its_files(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, then="exec sleep 999")
    answers = StageCommand(recorder.words, 1.0).ask(files(500))

    assert (1, {ArchiveUnavailable}) == (len(recorder.calls()), set(kinds(answers)))


def test_group_35_a_late_command_that_cannot_be_killed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is that hangs in the kernel, in a call that no signal ends."""
    kept = tmp_path / "kept"
    os.mkfifo(kept)
    recorder = Recorder(tmp_path, then=f"read -r line <'{kept}'")
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(staging, "_GONE_S", 0.1)
    before = time.monotonic()
    with pytest.warns(ResourceWarning, match="still running"):
        StageCommand(recorder.words, 1.0).ask(files(1))
    took_s = time.monotonic() - before
    (pid,) = killed
    os.kill(pid, signal.SIGKILL)

    assert took_s < PATIENCE_S


def test_group_35_a_child_that_the_command_leaves_behind_is_not_waited_for(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    os.mkfifo(kept)
    # It keeps the output open until the test lets it go.
    recorder = Recorder(tmp_path, then=f"(read -r line <'{kept}') &\nexit 0")
    before = time.monotonic()
    answers = StageCommand(recorder.words, 50.0).ask(files(1))
    took_s = time.monotonic() - before
    kept.write_text("go\n", "utf-8")

    assert ([None], True) == (answers, took_s < PATIENCE_S)


def test_group_35_a_command_that_closes_its_output_is_waited_for(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, then=f"exec >&- 2>&-; sleep 0.2; >'{tmp_path}/done'")
    StageCommand(recorder.words, 30.0).ask(files(1))

    assert (tmp_path / "done").exists()


def test_group_35_no_file_no_call(recorder: Recorder) -> None:
    answers = StageCommand(recorder.words, 30.0).ask([])

    assert ([], []) == (answers, recorder.calls())


def test_group_35_a_file_on_disk_is_not_asked_for(
    tmp_path: Path, recorder: Recorder
) -> None:
    with archive_in(tmp_path / "mount", stage_command=recorder.words) as archive:
        with archive.create(1) as writer:
            writer.write(b"12345")

        assert (True, []) == (archive.stage(1), recorder.calls())


def test_group_35_a_thousand_paths_are_two_calls(recorder: Recorder) -> None:
    answers = StageCommand(recorder.words, 30.0).ask(files(1000))
    paths = [path for _, path in files(1000)]

    assert ([None] * 1000, [paths[:500], paths[500:]]) == (
        answers,
        [call[1:] for call in recorder.calls()],
    )


def test_group_35_a_thousand_ids_are_two_calls(
    tmp_path: Path, recorder: Recorder
) -> None:
    with archive_in(tmp_path / "mount", stage_command=recorder.words) as archive:
        released(archive, *range(1000))
        answers = [answer for _, answer in archive.stage_many(range(1000))]

    assert ([False] * 1000, [501, 501]) == (
        answers,
        [len(call) for call in recorder.calls()],
    )


REFUSES_BAD = "for path do case $path in */bad*) exit 1;; esac; done"


@pytest.mark.parametrize("at", [0, 250, 321, 499])
def test_group_35_one_bad_path_of_500_is_found(at: int, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, then=REFUSES_BAD)
    wanted = files(500)
    wanted[at] = (at, "/mount/bad")
    answers = StageCommand(recorder.words, 30.0).ask(wanted)

    assert [at] == [n for n, answer in enumerate(answers) if answer]


def test_group_35_one_bad_path_of_500_is_found_with_19_calls(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, then=REFUSES_BAD)
    wanted = files(500)
    wanted[321] = (321, "/mount/bad")
    StageCommand(recorder.words, 30.0).ask(wanted)

    assert len(recorder.calls()) <= 19


def test_group_35_the_neighbours_of_a_bad_path_are_asked_for(tmp_path: Path) -> None:
    """By a call that did not fail."""
    recorder = Recorder(tmp_path, then=REFUSES_BAD)
    wanted = files(500)
    wanted[321] = (321, "/mount/bad")
    StageCommand(recorder.words, 30.0).ask(wanted)
    accepted = {
        path
        for call in recorder.calls()
        if "/mount/bad" not in call
        for path in call[1:]
    }

    assert {path for _, path in wanted} - {"/mount/bad"} == accepted


def test_group_35_of_500_bad_paths_no_more_than_40_calls_are_made(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, then="exit 1")
    answers = StageCommand(recorder.words, 30.0).ask(files(500))

    assert (40, {ArchiveUnavailable}) == (len(recorder.calls()), set(kinds(answers)))


def test_group_35_the_search_for_bad_paths_ends_in_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, then="sleep 0.4; exit 1")
    answers = StageCommand(recorder.words, 1.0).ask(files(500))

    assert (True, {ArchiveUnavailable}) == (
        len(recorder.calls()) <= 3,
        set(kinds(answers)),
    )


def test_group_35_a_bad_chunk_does_no_harm_to_the_next(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, then=REFUSES_BAD)
    wanted = [(n, f"/mount/bad-{n}") for n in range(500)] + files(10)
    answers = StageCommand(recorder.words, 30.0).ask(wanted)

    assert [ArchiveUnavailable] * 500 + [type(None)] * 10 == kinds(answers)


# --- 36: the read


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    with tape_in_a_drive(monkeypatch) as tape:
        yield tape


@pytest.fixture
def trigger() -> Iterator[ReadTrigger]:
    trigger = ReadTrigger(MAX_PARTIAL)
    yield trigger
    trigger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 100_000)
    return path


def test_group_36_no_command_means_a_read(tmp_path: Path, tape: Tape) -> None:
    with archive_in(tmp_path, stage_command=()) as archive:
        released(archive, 1)

        assert (False, True) == (archive.stage(1), tape.begun(1))


@pytest.mark.parametrize(
    ("size", "offset"),
    [(1, 0), (100, 99), (16384, 16383), (16385, 16384), (16386, 16384), (9**9, 16384)],
)
def test_group_36_one_byte_behind_the_partial_is_read(
    size: int, offset: int, path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    os.truncate(path, size)
    trigger.ask([(1, str(path))])
    tape.begun(1)

    assert [(1, offset)] == [(read.size, read.offset) for read in tape.reads]


def test_group_36_a_caller_keeps_his_position(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    with path.open("rb", buffering=0) as caller:
        caller.seek(7)
        tape.come()
        trigger.ask([(1, str(path))])
        tape.begun(1)
        ended(TRIGGER)

        assert (7, False) == (caller.tell(), tape.reads[0].fd == caller.fileno())


def test_group_36_the_request_does_not_wait_for_the_read(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    answers = trigger.ask([(1, str(path))])

    assert ([None], True, 1) == (answers, tape.begun(1), len(threads(TRIGGER)))


def test_group_36_a_file_is_read_once_at_a_time(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    answers = trigger.ask([(1, str(path))] * 3) + trigger.ask([(1, str(path))])
    tape.begun(1)
    tape.come()
    ended(TRIGGER)

    assert ([None] * 4, 1) == (answers, len(tape.reads))


def test_group_36_a_file_is_read_again_when_it_was_read(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    tape.come()
    for _ in range(2):
        trigger.ask([(1, str(path))])
        ended(TRIGGER)

    assert 2 == len(tape.reads)


@pytest.fixture
def many(tmp_path: Path) -> Callable[[int], list[tuple[int, str]]]:
    """Return what makes many files quickly."""
    first = tmp_path / "0"
    first.write_bytes(b"12")

    def make(count: int) -> list[tuple[int, str]]:
        # A file may have 65,000 names (ext4).
        for n in range(1, count):
            (tmp_path / str(n)).hardlink_to(first)
        return [(n, str(tmp_path / str(n))) for n in range(count)]

    return make


def test_group_36_no_more_than_eight_threads_read(
    many: Callable[[int], list[tuple[int, str]]], trigger: ReadTrigger, tape: Tape
) -> None:
    trigger.ask(many(20))
    begun = tape.begun(8)

    assert (True, 8, 8) == (begun, len(threads(TRIGGER)), len(tape.reads))


def test_group_36_files_wait_for_their_turn(
    many: Callable[[int], list[tuple[int, str]]], trigger: ReadTrigger, tape: Tape
) -> None:
    trigger.ask(many(20))
    tape.begun(8)
    tape.come()
    ended(TRIGGER)

    assert 20 == len(tape.reads)


def test_group_36_no_more_than_ten_thousand_wait(
    many: Callable[[int], list[tuple[int, str]]], trigger: ReadTrigger, tape: Tape
) -> None:
    wanted = many(10_009)
    trigger.ask(wanted[:8])
    tape.begun(8)
    answers = trigger.ask(wanted[8:])
    trigger.close()

    assert [type(None)] * 10_000 + [ArchiveUnavailable] == kinds(answers)


def test_group_36_a_failed_read_is_told_to_who_asks_next(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    first = trigger.ask([(1, str(path))])
    ended(TRIGGER)
    (error,) = trigger.ask([(1, str(path))])

    assert ([None], FileDamaged, OSError, "file 1: cannot be read") == (
        first,
        type(error),
        type(error.__cause__ if error else None),
        str(error),
    )


def test_group_36_a_failed_read_is_told_once(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    for _ in range(2):
        trigger.ask([(1, str(path))])
        ended(TRIGGER)
    tape.failure = None

    assert [None] == trigger.ask([(1, str(path))])


def test_group_36_a_file_is_read_again_after_its_failure_was_told(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    for _ in range(3):
        trigger.ask([(1, str(path))])
        ended(TRIGGER)

    assert 2 == len(tape.reads)


def test_group_36_a_failed_read_is_not_told_of_another_version(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    trigger.ask([(1, str(path))])
    ended(TRIGGER)
    other = path.with_name("other")
    other.write_bytes(b"12")
    other.replace(path)

    assert [None] == trigger.ask([(1, str(path))])


def test_group_36_a_failed_read_is_logged_without_its_path(
    path: Path, trigger: ReadTrigger, tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    tape.failure = errno.ENODATA
    tape.come()
    trigger.ask([(1, str(path))])
    ended(TRIGGER)

    assert ["file 1 was not recalled by reading it: No data available"] == (
        caplog.messages
    )


def test_group_36_a_read_that_fails_in_another_way_is_told_too(
    path: Path, trigger: ReadTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the file would be said to be asked for as long as the process lives."""

    def pread(_fd: int, _size: int, _position: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr(os, "pread", pread)
    trigger.ask([(1, str(path))])
    ended(TRIGGER)
    (error,) = trigger.ask([(1, str(path))])

    assert (ArchiveUnavailable, MemoryError) == (
        type(error),
        type(error.__cause__ if error else None),
    )


def test_group_36_a_failed_read_fails_the_next_request(
    tmp_path: Path, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    with archive_in(tmp_path, stage_command=()) as archive:
        released(archive, 1)
        archive.stage(1)
        ended(TRIGGER)

        with pytest.raises(FileDamaged):
            archive.stage(1)


def test_group_36_of_failed_reads_the_last_thousand_are_told(
    many: Callable[[int], list[tuple[int, str]]], trigger: ReadTrigger, tape: Tape
) -> None:
    tape.failure = errno.EIO
    tape.come()
    wanted = many(1010)
    trigger.ask(wanted)
    ended(TRIGGER)
    # The forgotten ones last: each is read anew, and its error would take the place of
    # another that is not told yet.
    answers = trigger.ask(wanted[::-1])

    assert 1000 == kinds(answers).count(FileDamaged)


def test_group_36_without_a_thread_a_file_is_asked_for_again_later(
    path: Path, trigger: ReadTrigger, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        first = trigger.ask([(1, str(path))])
    second = trigger.ask([(1, str(path))])

    assert ([ArchiveUnavailable], [None], True) == (
        kinds(first),
        second,
        tape.begun(1),
    )


def test_group_36_a_file_that_is_not_there_is_no_such_file(
    tmp_path: Path, trigger: ReadTrigger
) -> None:
    assert [NoSuchFile] == kinds(trigger.ask([(1, f"{tmp_path}/missing")]))


def test_group_36_a_read_keeps_no_descriptor(
    path: Path, trigger: ReadTrigger, tape: Tape
) -> None:
    trigger.ask([(1, str(path))])
    tape.begun(1)
    before = descriptors(path)
    tape.come()
    ended(TRIGGER)

    assert (1, 0) == (before, descriptors(path))


def test_group_36_nothing_is_read_for_a_closed_archive(
    many: Callable[[int], list[tuple[int, str]]], trigger: ReadTrigger, tape: Tape
) -> None:
    trigger.ask(many(20))
    tape.begun(8)
    trigger.close()
    tape.come()
    ended(TRIGGER)

    assert 8 == len(tape.reads)


def test_group_36_what_a_close_gives_up_is_said(
    many: Callable[[int], list[tuple[int, str]]],
    trigger: ReadTrigger,
    tape: Tape,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The HSM drops what nobody waits for, and the command stage ends at once."""
    trigger.ask(many(20))
    tape.begun(8)
    trigger.close()

    assert ["20 recalls by reading have not come"] == [
        message.partition(",")[0] for message in caplog.messages
    ]


def test_group_36_reads_that_are_done_are_waited_for_and_not_said_to_be_lost(
    many: Callable[[int], list[tuple[int, str]]],
    trigger: ReadTrigger,
    tape: Tape,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine is no tape.
    monkeypatch.setattr(staging, "_CLOSE_S", PATIENCE_S)
    tape.come()
    trigger.ask(many(20))
    trigger.close()

    assert ([], 20) == (caplog.messages, len(tape.reads))


@pytest.mark.parametrize("way", ["trigger", "recall"])
def test_group_36_a_read_that_hangs_does_not_keep_the_process(
    way: str, tmp_path: Path
) -> None:
    child = Path(__file__).with_name("hanging.py")
    done = subprocess.run(
        [sys.executable, str(child), way, f"{tmp_path}/file"],
        timeout=PATIENCE_S,
        check=False,
        capture_output=True,
    )

    assert (0, b"") == (done.returncode, done.stderr)


# --- 37: what never reads


@pytest.fixture
def archive(tmp_path: Path, recorder: Recorder) -> Iterator[HmsSidebandArchive]:
    with archive_in(tmp_path / "mount", stage_command=recorder.words) as archive:
        released(archive, 1)
        # Older than its mtime, so that a mount with relatime tells of a read.
        os.utime(path_of(archive, 1), ns=(0, 10**18))
        yield archive


def refused(archive: HmsSidebandArchive) -> None:
    with pytest.raises(FileOffline):
        archive.open(1)


NEVER_READ: dict[str, Callable[[HmsSidebandArchive], object]] = {
    "status": lambda archive: archive.status(1),
    "status_many": lambda archive: list(archive.status_many([1, 1])),
    "stage": lambda archive: archive.stage(1),
    "stage_many": lambda archive: list(archive.stage_many([1, 1])),
    "digests": lambda archive: archive.digests(1),
    "open": refused,
    "delete": lambda archive: archive.delete(1),
}


@pytest.mark.parametrize("name", NEVER_READ)
def test_group_37_no_byte_is_read(
    name: str, archive: HmsSidebandArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def counting(call: str) -> Callable[..., object]:
        real = getattr(os, call)

        def count(fd: int, *args: object) -> object:
            # The pipe of the command is read too.
            if stat.S_ISREG(os.fstat(fd).st_mode):
                counted.append(call)
            return real(fd, *args)

        return count

    for call in ("read", "readv", "pread", "preadv"):
        monkeypatch.setattr(os, call, counting(call))
    NEVER_READ[name](archive)

    assert [] == counted


@pytest.mark.parametrize("name", NEVER_READ)
def test_group_37_the_access_time_stays(
    name: str, archive: HmsSidebandArchive, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.hardlink_to(path_of(archive, 1))
    NEVER_READ[name](archive)
    after = kept.stat().st_atime_ns
    with kept.open("rb") as file:
        file.read(1)
    if kept.stat().st_atime_ns == after:
        pytest.skip("this file system does not tell of reads by the access time")

    assert 0 == after


def test_group_37_the_command_is_all_that_stage_does(
    archive: HmsSidebandArchive, recorder: Recorder
) -> None:
    archive.stage(1)

    assert [[str(recorder.script), str(path_of(archive, 1))]] == recorder.calls()
