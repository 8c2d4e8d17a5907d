"""Unfinished files: whose they are, and which are swept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scenes import NEW, store
from syscalls import Calls, failing, recorded

from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 24 * 3600
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
HOST = "".join(c if c.isalnum() or c == "-" else "_" for c in socket.gethostname())
#: No process has it: the kernel's greatest is 2**22 (proc(5), pid_max).
DEAD_PID = 2**22 + 1


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Return the directory of a store that is there and not open."""
    open_archive(tmp_path).close()
    return tmp_path / ".incoming"


def open_archive(prefix: Path, ttl_s: int = 7 * DAY_S) -> PosixArchive:
    return PosixArchive(
        PosixOptions(prefix=prefix, durable=False, incoming_ttl_s=ttl_s)
    )


def leave(incoming: Path, name: str) -> Path:
    path = incoming / name
    path.write_bytes(NEW)
    return path


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let it be later; the times of inodes cannot be set back."""
    now = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: now)


def test_an_unfinished_file_is_named_for_its_writer(incoming: Path) -> None:
    with open_archive(incoming.parent) as archive:
        writer = archive.create(1)
        (name,) = (path.name for path in incoming.iterdir())
        writer.discard()

    assert [BOOT, HOST, str(os.getpid())] == name.split(".")[:3]


def test_an_unfinished_file_is_private(incoming: Path) -> None:
    with open_archive(incoming.parent) as archive:
        writer = archive.create(1)
        (mode,) = (path.stat().st_mode & 0o777 for path in incoming.iterdir())
        writer.discard()

    assert 0o600 == mode


def test_a_dead_process_of_this_boot_is_swept(incoming: Path) -> None:
    path = leave(incoming, f"{BOOT}.{HOST}.{DEAD_PID}.1")
    open_archive(incoming.parent).close()

    assert not path.exists()


def test_the_pid_of_a_living_process_proves_nothing(incoming: Path) -> None:
    """It may be another process's by now: the flock counts."""
    path = leave(incoming, f"{BOOT}.{HOST}.{os.getpid()}.1")
    open_archive(incoming.parent).close()

    assert not path.exists()


def test_a_file_whose_flock_is_held_is_not_swept(incoming: Path) -> None:
    path = leave(incoming, f"{BOOT}.{HOST}.{DEAD_PID}.1")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        open_archive(incoming.parent).close()

    assert path.exists()


FOREIGN = {
    "another host": f"{BOOT}.elsewhere.{DEAD_PID}.1",
    "another boot": f"0d5e2a1c-0000-4000-8000-000000000000.{HOST}.{DEAD_PID}.1",
    "both": f"0d5e2a1c-0000-4000-8000-000000000000.elsewhere.{DEAD_PID}.1",
}


@pytest.mark.parametrize("name", FOREIGN.values(), ids=FOREIGN)
def test_what_is_foreign_is_left_for_the_time_to_live(
    incoming: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of another boot: two machines may have one name."""
    path = leave(incoming, name)
    later(monkeypatch, 7 * DAY_S - 60)
    open_archive(incoming.parent).close()

    assert path.exists()


@pytest.mark.parametrize("name", FOREIGN.values(), ids=FOREIGN)
def test_what_is_foreign_is_swept_after_the_time_to_live(
    incoming: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(incoming, name)
    later(monkeypatch, 7 * DAY_S + 60)
    open_archive(incoming.parent).close()

    assert not path.exists()


def test_a_foreign_file_whose_flock_is_held_is_never_swept(
    incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where flock crosses hosts, as on NFS, its writer is alive."""
    path = leave(incoming, FOREIGN["both"])
    later(monkeypatch, 8 * DAY_S)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        open_archive(incoming.parent).close()

    assert path.exists()


def test_the_time_to_live_is_an_option(
    incoming: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(incoming, FOREIGN["both"])
    later(monkeypatch, 120)
    open_archive(incoming.parent, ttl_s=60).close()

    assert not path.exists()


def test_an_old_mtime_is_not_age(incoming: Path) -> None:
    """A writer sets the sender's before its commit."""
    path = leave(incoming, FOREIGN["both"])
    os.utime(path, (0, 0))
    open_archive(incoming.parent).close()

    assert path.exists()


@pytest.mark.parametrize("name", ["notes.txt", "README", "a.b.c.d", ".hidden"])
def test_what_no_writer_made_is_left(
    incoming: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(incoming, name)
    later(monkeypatch, 30 * DAY_S)
    open_archive(incoming.parent).close()

    assert path.exists()


def test_a_directory_named_like_a_leftover_fails_no_opening(incoming: Path) -> None:
    path = incoming / f"{BOOT}.{HOST}.{DEAD_PID}.1"
    path.mkdir()
    open_archive(incoming.parent).close()

    assert path.exists()


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE], ids=str)
def test_a_sweep_that_fails_fails_no_opening(incoming: Path, code: int) -> None:
    """At whatever call of it, and the next opening sweeps."""
    wrong = []
    leave(incoming, f"{BOOT}.{HOST}.{DEAD_PID}.1")
    with recorded() as good:
        open_archive(incoming.parent).close()
    for number in range(good.names.index("scandir"), len(good.names)):
        leave(incoming, f"{BOOT}.{HOST}.{DEAD_PID}.1")
        with recorded(failing(code, first=number, last=number)):
            open_archive(incoming.parent).close()
        open_archive(incoming.parent).close()
        wrong += [path.name for path in incoming.iterdir()]

    assert [] == wrong


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP], ids=str)
def test_without_flock_files_are_stored(incoming: Path, code: int) -> None:
    with open_archive(incoming.parent) as archive:
        with recorded() as good:
            store(archive, 1, NEW)
        number = good.names.index("flock")
        with recorded(failing(code, first=number, last=number)):
            store(archive, 2, NEW)

        assert NEW == archive.local_path(2).read_bytes()


def test_without_flock_only_age_is_a_proof(incoming: Path) -> None:
    path = leave(incoming, f"{BOOT}.{HOST}.{DEAD_PID}.1")
    with recorded() as good:
        open_archive(incoming.parent).close()
    path = leave(incoming, path.name)
    number = good.names.index("flock")
    with recorded(failing(errno.ENOSYS, first=number, last=number)):
        open_archive(incoming.parent).close()

    assert path.exists()


# --- a sweeper and a writer at the same moment


@pytest.mark.parametrize(
    ("removed", "still_held"),
    [(True, True), (True, False), (False, True)],
    ids=["removing", "removed", "of another host"],
)
def test_a_writer_swept_before_its_flock_begins_another_file(
    incoming: Path,
    removed: bool,  # noqa: FBT001 (a parameter of pytest's)
    still_held: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """The sweeper comes after the file is made and before it is locked."""
    with contextlib.ExitStack() as sweeper, open_archive(incoming.parent) as archive:

        def sweep(_name: str) -> None:
            (path,) = incoming.iterdir()
            if still_held:
                fcntl.flock(sweeper.enter_context(path.open("rb")), fcntl.LOCK_SH)
            if removed:
                path.unlink()

        with recorded() as good:
            store(archive, 1, NEW)
        number = good.names.index("flock")
        with recorded(Calls(first=number, last=number, disturb=sweep)) as calls:
            store(archive, 2, NEW)
        begun = [c for c in calls.seen if c.name == "open" and c.args[1] & os.O_CREAT]

        assert (NEW, 2, []) == (
            archive.local_path(2).read_bytes(),
            len(begun),
            list(incoming.iterdir()),
        )


def test_a_sweeper_that_is_late_does_not_take_another_file(incoming: Path) -> None:
    """What it opened is gone from the directory, and the name is another's."""
    name = f"{BOOT}.{HOST}.{DEAD_PID}.1"
    path = leave(incoming, name)

    def replace(_name: str) -> None:
        path.unlink()
        path.write_bytes(NEW)

    with recorded() as good:
        open_archive(incoming.parent).close()
    leave(incoming, name)
    number = good.names.index("flock")
    with recorded(Calls(first=number, last=number, disturb=replace)):
        open_archive(incoming.parent).close()

    assert path.exists()


def hold(prefix: str) -> None:
    """Write, and fork a child that outlives this process."""
    archive = open_archive(Path(prefix))
    writer = archive.create(1)
    writer.write(NEW)
    if os.fork() == 0:
        print("forked", flush=True)  # noqa: T201 (read by the test)
        sys.stdin.read()
        os._exit(0)
    os._exit(0)


@pytest.fixture
def orphan(incoming: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, __file__, str(incoming.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "forked\n" == process.stdout.readline()
        process.wait(timeout=60)
        yield process


def test_a_child_of_a_dead_writer_keeps_its_file_from_the_sweep(
    incoming: Path, orphan: subprocess.Popen[str]
) -> None:
    """It has the descriptor too, so the flock is held; that errs on the safe side."""
    open_archive(incoming.parent).close()
    held = len(list(incoming.iterdir()))
    assert orphan.stdin is not None
    assert orphan.stdout is not None
    orphan.stdin.close()
    # The end of the child: it held the other end of the pipe.
    orphan.stdout.read()
    open_archive(incoming.parent).close()

    assert (1, 0) == (held, len(list(incoming.iterdir())))


if __name__ == "__main__":
    hold(sys.argv[1])
