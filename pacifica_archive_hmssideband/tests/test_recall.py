"""Waiting for tapes: until the bytes are there, or for as long as the option says."""

from __future__ import annotations

import errno
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
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
    ArchiveFull,
    ArchiveUnavailable,
    FileDamaged,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_hmssideband import recall
from pacifica_archive_hmssideband.recall import RecalledReader, Recalls, has_hole
from pacifica_archive_hmssideband.staging import StageCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pacifica_archive_hmssideband import HmsSidebandArchive

    Opener = Callable[[float], RecalledReader]

pytestmark = pytest.mark.timeout(60)

DATA = bytes(range(256)) * 20
#: Not long to wait for in vain.
SHORT_S = 0.3
#: Longer than what is told at once takes, and shorter than a test may.
LONG_S = 40.0
AT_ONCE_S = 20.0
IN_TIME = r"within 0\.3 s"
RECALL = "recall"
READER = "reader"


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    with tape_in_a_drive(monkeypatch) as tape:
        yield tape


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


@pytest.fixture
def recalls(recorder: Recorder) -> Recalls:
    """Return what waits patiently."""
    return Recalls(StageCommand(recorder.words, PATIENCE_S), LONG_S)


@pytest.fixture
def impatient(recorder: Recorder) -> Recalls:
    """Return what soon has enough of it."""
    return Recalls(StageCommand(recorder.words, PATIENCE_S), SHORT_S)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Return a file without a hole."""
    path = tmp_path / "whole"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def hollow(tmp_path: Path) -> Path:
    """Return a file that is a hole."""
    path = tmp_path / "hollow"
    path.touch()
    os.truncate(path, len(DATA))
    return path


def never() -> bool:
    return False


def gone() -> bool:
    raise NoSuchFile(1)


class Looks:
    """What is asked whether a file is online; it says no."""

    def __init__(self) -> None:
        self.first = threading.Event()

    def __call__(self) -> bool:
        self.first.set()
        return False


# --- holes


def test_a_file_without_its_bytes_has_a_hole(hollow: Path) -> None:
    with hollow.open("rb") as file:
        assert has_hole(file.fileno(), len(DATA))


def test_a_file_with_its_bytes_has_no_hole(whole: Path) -> None:
    with whole.open("rb") as file:
        assert not has_hole(file.fileno(), len(DATA))


def test_an_empty_file_has_no_hole(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        assert not has_hole(file.fileno(), 0)


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.EINVAL, None), (errno.EOPNOTSUPP, None), (errno.ESTALE, OSError)],
)
def test_a_file_system_that_knows_no_holes_has_none(
    code: int, error: type | None, hollow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lseek(_fd: int, _offset: int, _whence: int) -> int:
        raise OSError(code, os.strerror(code))

    with hollow.open("rb") as file, monkeypatch.context() as patch:
        patch.setattr(os, "lseek", lseek)
        if error is None:
            found = has_hole(file.fileno(), len(DATA))
        else:
            with pytest.raises(error):
                has_hole(file.fileno(), len(DATA))
            found = False

    assert not found


# --- waiting


def test_a_file_is_asked_for_once(
    recalls: Recalls, recorder: Recorder, whole: Path
) -> None:
    recalls.wait(1, str(whole), never)

    assert [[str(recorder.script), str(whole)]] == recorder.calls()


def test_the_last_byte_is_read(recalls: Recalls, whole: Path, tape: Tape) -> None:
    tape.come()
    recalls.wait(1, str(whole), never)

    assert [(1, len(DATA) - 1)] == [(read.size, read.offset) for read in tape.reads]


def test_the_wait_ends_when_the_read_does(
    recalls: Recalls, whole: Path, tape: Tape
) -> None:
    """Without regard to a database that lags."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(whole), never)
        begun = tape.begun(1)
        before = waiting.done()
        tape.come()

        assert (True, False, None) == (begun, before, waiting.result())


def test_an_empty_file_is_not_waited_for(recalls: Recalls, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    looks = Looks()
    recalls.wait(1, f"{tmp_path}/empty", looks)

    assert not looks.first.is_set()


def test_a_hole_is_waited_for(recalls: Recalls, hollow: Path) -> None:
    looks = Looks()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(hollow), looks)
        looked = looks.first.wait(PATIENCE_S)
        with hollow.open("r+b") as file:
            file.write(DATA)

        assert (True, None) == (looked, waiting.result())


def test_a_file_that_is_online_may_have_holes(recalls: Recalls, hollow: Path) -> None:
    answers = iter([False, False, True])
    recalls.wait(1, str(hollow), lambda: next(answers))

    assert [] == list(answers)


def test_the_wait_for_a_hole_ends_when_the_file_is_replaced(
    recalls: Recalls, hollow: Path, whole: Path
) -> None:
    looks = Looks()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(hollow), looks)
        looked = looks.first.wait(PATIENCE_S)
        whole.replace(hollow)

        assert (True, None) == (looked, waiting.result())


def test_the_wait_for_a_hole_ends_when_the_file_is_deleted(
    recalls: Recalls, hollow: Path
) -> None:
    looks = Looks()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(hollow), looks)
        looks.first.wait(PATIENCE_S)
        hollow.unlink()

        assert NoSuchFile is type(waiting.exception())


def test_the_wait_for_a_hole_ends_in_time(impatient: Recalls, hollow: Path) -> None:
    with pytest.raises(FileOffline, match=IN_TIME):
        impatient.wait(1, str(hollow), never)


def test_the_wait_for_a_read_ends_in_time(
    impatient: Recalls, whole: Path, tape: Tape
) -> None:
    with pytest.raises(FileOffline, match=IN_TIME):
        impatient.wait(1, str(whole), never)

    assert tape.begun(1)


def test_a_read_that_was_given_up_has_its_descriptor(
    impatient: Recalls, whole: Path, tape: Tape
) -> None:
    with pytest.raises(FileOffline):
        impatient.wait(1, str(whole), never)
    tape.begun(1)
    before = descriptors(whole)
    tape.come()
    ended(RECALL)

    assert (1, 0) == (before, descriptors(whole))


def test_a_wait_leaves_no_descriptor(recalls: Recalls, whole: Path) -> None:
    recalls.wait(1, str(whole), never)

    assert 0 == descriptors(whole)


def test_what_the_look_raises_ends_the_wait(recalls: Recalls, hollow: Path) -> None:
    with pytest.raises(NoSuchFile):
        recalls.wait(1, str(hollow), gone)


def test_a_file_that_is_not_there_is_not_waited_for(
    recalls: Recalls, tmp_path: Path
) -> None:
    with pytest.raises(NoSuchFile):
        recalls.wait(1, f"{tmp_path}/missing", never)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.EIO, FileDamaged),
        (errno.ENODATA, FileDamaged),
        # Which Python calls a TimeoutError, as it does the end of a wait.
        (errno.ETIMEDOUT, ArchiveUnavailable),
        (errno.ENOSPC, ArchiveFull),
    ],
)
def test_a_read_that_fails_says_why(
    code: int, error: type[Exception], recalls: Recalls, whole: Path, tape: Tape
) -> None:
    tape.failure = code
    tape.come()

    with pytest.raises(error, match=r"^file 1: "):
        recalls.wait(1, str(whole), never)


def test_a_file_that_cannot_be_asked_for_is_not_waited_for(
    tmp_path: Path, whole: Path, tape: Tape
) -> None:
    refusing = StageCommand(Recorder(tmp_path, then="exit 1").words, PATIENCE_S)
    with pytest.raises(ArchiveUnavailable, match="status 1"):
        Recalls(refusing, PATIENCE_S).wait(1, str(whole), never)

    assert [] == tape.reads


# --- how many may wait


def test_of_nine_one_does_not_wait(recalls: Recalls, whole: Path, tape: Tape) -> None:
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(recalls.wait, 1, str(whole), never) for _ in range(8)]
        begun = tape.begun(8)
        with pytest.raises(ArchiveUnavailable, match="8 others"):
            recalls.wait(1, str(whole), never)
        tape.come()

    assert (True, [None] * 8) == (begun, [each.result() for each in waiting])


@pytest.mark.usefixtures("tape")
def test_those_given_up_count_until_their_read_returns(
    impatient: Recalls, whole: Path
) -> None:
    for n in range(8):
        with pytest.raises(FileOffline):
            impatient.wait(n, str(whole), never)

    with pytest.raises(ArchiveUnavailable, match="8 others"):
        impatient.wait(8, str(whole), never)


def test_those_given_up_count_no_more_when_their_read_has_returned(
    impatient: Recalls, whole: Path, tape: Tape
) -> None:
    for n in range(8):
        with pytest.raises(FileOffline):
            impatient.wait(n, str(whole), never)
    tape.begun(8)
    tape.come()
    ended(RECALL)
    impatient.wait(8, str(whole), never)

    assert 9 == len(tape.reads)


@pytest.mark.parametrize("ending", ["whole", "failing", "gone", "refused"])
def test_who_waits_in_vain_leaves_his_place(
    ending: str, whole: Path, hollow: Path, tmp_path: Path, tape: Tape
) -> None:
    tape.come()
    tape.failure = errno.EIO if ending == "failing" else None
    then = "exit 1" if ending == "refused" else "exit 0"
    recalls = Recalls(
        StageCommand(Recorder(tmp_path, then=then).words, PATIENCE_S), PATIENCE_S
    )
    path = hollow if ending == "gone" else whole
    errors = set()
    for _ in range(9):
        try:
            recalls.wait(1, str(path), gone)
        except (FileDamaged, NoSuchFile, ArchiveUnavailable) as exc:
            errors.add(str(exc))

    assert not any("others" in error for error in errors)


def test_those_who_wait_for_a_read_are_told_when_the_archive_is_closed(
    recalls: Recalls, whole: Path, tape: Tape
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(whole), never)
        tape.begun(1)
        recalls.close()

        assert isinstance(waiting.exception(AT_ONCE_S), ValueError)


def test_those_who_wait_for_a_hole_are_told_when_the_archive_is_closed(
    recalls: Recalls, hollow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the next look would end the thread.
    monkeypatch.setattr(recall, "_FIRST_PAUSE_S", LONG_S)
    looks = Looks()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(recalls.wait, 1, str(hollow), looks)
        looks.first.wait(PATIENCE_S)
        recalls.close()
        error = waiting.exception(AT_ONCE_S)

    assert (ValueError, True) == (type(error), ended(RECALL))


# --- a reader of what may be on tape still


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[HmsSidebandArchive]:
    with archive_in(tmp_path / "mount") as archive:
        with archive.create(1) as writer:
            writer.write(DATA)
        yield archive


@pytest.fixture
def path(archive: HmsSidebandArchive) -> Path:
    return path_of(archive, 1)


@pytest.fixture
def read_again(archive: HmsSidebandArchive, path: Path) -> Opener:
    """Return what opens the file with a limit to its reads."""

    def read_again(timeout_s: float) -> RecalledReader:
        fd = os.open(path, os.O_RDONLY)
        return RecalledReader(archive, archive.status(1), fd, timeout_s=timeout_s)

    return read_again


def test_a_recalled_file_is_read(
    read_again: Opener,
) -> None:
    with read_again(PATIENCE_S) as reader:
        assert DATA == reader.readall()


def test_a_recalled_file_is_read_from_anywhere(
    read_again: Opener,
) -> None:
    with read_again(PATIENCE_S) as reader:
        reader.seek(-10, os.SEEK_END)
        end = reader.read(100)
        reader.seek(3)

        assert (DATA[-10:], DATA[3:7], b"") == (
            end,
            reader.read(4),
            (reader.seek(9999), reader.read(1))[1],
        )


def test_a_recalled_file_is_read_into_a_buffer(
    read_again: Opener,
) -> None:
    buffer = bytearray(100)
    with read_again(PATIENCE_S) as reader:
        count = reader.readinto(buffer)

    assert (100, DATA[:100]) == (count, bytes(buffer))


def test_a_read_takes_no_more_than_a_block(
    read_again: Opener, archive: HmsSidebandArchive
) -> None:
    """A terabyte is not held in memory because somebody asks for it."""
    archive.block_size = 1000
    with read_again(PATIENCE_S) as reader:
        assert 1000 == len(reader.read(len(DATA)))


def test_a_recalled_file_is_read_by_a_thread(
    read_again: Opener,
) -> None:
    with read_again(PATIENCE_S) as reader:
        reader.read(1)

        assert 1 == len(threads(READER))


def test_a_recalled_file_has_no_descriptor_to_be_read_by_others(
    read_again: Opener,
) -> None:
    """A sendfile(2) would wait for a tape without an end."""
    with read_again(PATIENCE_S) as reader, pytest.raises(io.UnsupportedOperation):
        reader.fileno()


def test_a_closed_reader_holds_nothing(read_again: Opener, path: Path) -> None:
    with read_again(PATIENCE_S) as reader:
        reader.read(1)
        before = descriptors(path)

    assert (1, 0, []) == (before, descriptors(path), threads(READER))


def test_a_forgotten_reader_closes_its_file(read_again: Opener, path: Path) -> None:
    with pytest.warns(ResourceWarning, match="unclosed reader of file 1"):
        # Nothing but its name holds it.
        read_again(PATIENCE_S)

    assert (True, 0) == (ended(READER), descriptors(path))


@pytest.mark.usefixtures("tape")
def test_a_read_that_does_not_come_ends_in_time(read_again: Opener) -> None:
    with (
        read_again(SHORT_S) as reader,
        pytest.raises(FileOffline, match=IN_TIME),
    ):
        reader.read(100)


def test_a_reader_that_gave_up_reads_no_more(read_again: Opener, tape: Tape) -> None:
    with read_again(SHORT_S) as reader:
        with pytest.raises(FileOffline):
            reader.read(100)
        tape.come()

        with pytest.raises(FileOffline):
            reader.read(100)


def test_a_read_that_was_given_up_does_not_write_to_the_buffer(
    read_again: Opener, tape: Tape
) -> None:
    buffer = bytearray(100)
    with read_again(SHORT_S) as reader, pytest.raises(FileOffline):
        reader.readinto(buffer)
    tape.begun(1)
    tape.come()
    ended(READER)

    assert bytes(100) == bytes(buffer)


def test_a_read_that_was_given_up_closes_its_file_when_the_tape_comes(
    read_again: Opener, path: Path, tape: Tape
) -> None:
    with read_again(SHORT_S) as reader, pytest.raises(FileOffline):
        reader.read(100)
    tape.begun(1)
    before = descriptors(path)
    tape.come()
    ended(READER)

    assert (1, 0) == (before, descriptors(path))


def test_a_reader_that_is_closed_while_its_thread_reads_leaves_that_alone(
    read_again: Opener, path: Path, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does one whose caller was interrupted."""
    monkeypatch.setattr(recall, "_CLOSE_S", LONG_S)
    reader = read_again(LONG_S)
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(reader.read, 100)
        tape.begun(1)
        pool.submit(reader.close).result(AT_ONCE_S)
        held = (descriptors(path), len(threads(READER)))
        tape.come()
        ended(READER)

        assert ((1, 1), DATA[:100], 0) == (held, reading.result(), descriptors(path))


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.EIO, FileDamaged), (errno.ETIMEDOUT, ArchiveUnavailable)],
)
def test_a_read_of_a_recalled_file_that_fails_says_why(
    code: int,
    error: type[Exception],
    read_again: Opener,
    tape: Tape,
) -> None:
    tape.failure = code
    tape.come()

    with read_again(PATIENCE_S) as reader, pytest.raises(error, match=r"^file 1: "):
        reader.read(100)


def test_a_recalled_file_that_was_cut_is_damaged(
    read_again: Opener, path: Path
) -> None:
    with read_again(PATIENCE_S) as reader:
        os.truncate(path, 0)

        with pytest.raises(FileDamaged, match="ends at byte 0"):
            reader.read(100)


def test_a_reader_of_a_closed_archive_reads_no_more(
    read_again: Opener, archive: HmsSidebandArchive
) -> None:
    with read_again(PATIENCE_S) as reader:
        archive.close()

        with pytest.raises(ValueError, match="the archive is closed"):
            reader.read(1)


def test_a_reader_without_a_thread_leaves_the_descriptor(
    archive: HmsSidebandArchive, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    status = archive.status(1)
    with path.open("rb") as file:
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(ArchiveUnavailable, match="no thread"):
            RecalledReader(archive, status, file.fileno(), timeout_s=PATIENCE_S)

        assert DATA == file.read()


# --- the archive


@pytest.fixture
def never_online(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HmsSidebandArchive]:
    """
    Return an archive with a file of ``stage -n``: no blocks, and yet bytes.

    A SAM-QFS mount knows of no holes, it is guessed.
    """
    lseek = os.lseek

    def knows_no_holes(fd: int, offset: int, whence: int) -> int:
        return (
            lseek(fd, offset, whence)
            if whence != os.SEEK_HOLE
            else os.fstat(fd).st_size
        )

    monkeypatch.setattr(os, "lseek", knows_no_holes)
    with archive_in(tmp_path / "mount", recall_timeout_s=SHORT_S) as archive:
        released(archive, 1, size=len(DATA))
        yield archive


def test_a_file_that_never_comes_to_disk_is_not_opened_without_recall(
    never_online: HmsSidebandArchive, tape: Tape
) -> None:
    with pytest.raises(FileOffline):
        never_online.open(1)

    assert [] == tape.reads


def test_a_file_that_never_comes_to_disk_is_read_with_recall(
    never_online: HmsSidebandArchive,
) -> None:
    with never_online.open(1, recall=True) as reader:
        assert (RecalledReader, bytes(len(DATA))) == (type(reader), reader.readall())


@pytest.mark.usefixtures("tape")
def test_an_opening_with_recall_ends_in_time(
    never_online: HmsSidebandArchive,
) -> None:
    with pytest.raises(FileOffline, match=IN_TIME):
        never_online.open(1, recall=True)


def test_a_read_after_the_recall_ends_in_time(
    never_online: HmsSidebandArchive, tape: Tape
) -> None:
    tape.come()
    with never_online.open(1, recall=True) as reader:
        ended(RECALL)
        tape.go()

        with pytest.raises(FileOffline, match=IN_TIME):
            reader.read(1)


def test_a_recall_that_hangs_does_not_block_other_files(
    never_online: HmsSidebandArchive, tape: Tape
) -> None:
    with never_online.create(2) as writer:
        writer.write(DATA)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(never_online.open, 1, recall=True)
        tape.begun(1)

        assert (len(DATA), FileOffline) == (
            never_online.status(2).size,
            type(opening.exception()),
        )


def test_who_waits_is_told_when_the_archive_is_closed(
    tmp_path: Path, tape: Tape
) -> None:
    archive = archive_in(tmp_path / "mount", recall_timeout_s=LONG_S)
    released(archive, 1)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(archive.open, 1, recall=True)
        tape.begun(1)
        archive.close()

        assert isinstance(opening.exception(AT_ONCE_S), ValueError)
