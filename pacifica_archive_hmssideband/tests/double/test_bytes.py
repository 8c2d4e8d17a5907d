"""Bytes that go to tape and come back, and when they do not."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pacifica_archive_hmssideband.double import Double, DoubleError, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = os.urandom(100_000)
MTIME_NS = 1_234_567_890_123_456_789
ONLINE = "SELECT online FROM sam_inode WHERE type = 0"
PATIENCE_S = 20.0

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def path(double: Double, prefix: Path) -> Path:
    """Return a file as the archive makes it, with a copy on tape."""
    path = prefix / "file"
    path.write_bytes(DATA)
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    path.chmod(0o444)
    double.archive([path])
    return path


def hole(path: Path) -> int:
    """Return where the first bytes are missing."""
    with path.open("rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE)


@pytest.mark.usefixtures("any_url")
class TestWays:
    def test_a_released_file_has_its_size_and_no_blocks(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        put_off = double.release([path])
        found = path.stat()

        assert ([], [(0,)], len(DATA), 0) == (
            put_off,
            ask(ONLINE),
            found.st_size,
            found.st_blocks,
        )

    def test_a_staged_file_has_its_bytes_again(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.release([path])
        double.stage([path])

        assert (DATA, [(1,)]) == (path.read_bytes(), ask(ONLINE))

    def test_a_partial_release_keeps_the_first_bytes_and_is_offline(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.release([path], partial=8192)
        with path.open("rb") as file:
            head = file.read(8192)

        assert (DATA[:8192], 8192, [(0,)]) == (head, hole(path), ask(ONLINE))

    def test_a_read_recalls_a_released_file(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.release([path])
        with path.open("rb") as file:
            os.pread(file.fileno(), 1, len(DATA) - 1)
        double.step()

        assert (DATA, [(1,)]) == (path.read_bytes(), ask(ONLINE))

    def test_a_release_whose_event_is_lost_takes_no_bytes(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.lose_events([path])
        put_off = double.release([path])
        double.step()

        assert ([str(path)], DATA, [(1,)]) == (put_off, path.read_bytes(), ask(ONLINE))

    def test_a_check_ends_a_release_whose_event_was_lost(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.lose_events([path])
        double.release([path])
        double.check()

        assert (0, [(0,)]) == (path.stat().st_blocks, ask(ONLINE))


class TestTapes:
    """What is on tape only is kept, whatever the double is shown."""

    def test_tapes_outlive_a_prefix_that_is_not_mounted(
        self, double: Double, path: Path, prefix: Path
    ) -> None:
        """All its files seem to be gone then."""
        double.release([path])
        prefix.rename(prefix.with_name("mounted"))
        prefix.mkdir()
        for _ in range(3):
            with contextlib.suppress(DoubleError):
                double.step()
        prefix.rmdir()
        prefix.with_name("mounted").rename(prefix)
        double.stage([path])

        assert DATA == path.read_bytes()

    def test_a_state_of_another_directory_is_refused(
        self, double: Double, url: str, prefix: Path, tmp_path: Path
    ) -> None:
        """Such as a copy of the prefix, whose inodes are others."""
        double.step()
        (tmp_path / "other").mkdir()
        other = Double(tmp_path / "other", url, prefix.with_name("mount.tape"))

        with pytest.raises(DoubleError, match="another directory"):
            other.step()

    @pytest.mark.parametrize("damage", ["gone", "short"])
    def test_no_bytes_are_taken_away_without_a_whole_copy(
        self, double: Double, path: Path, prefix: Path, damage: str
    ) -> None:
        (tape,) = prefix.with_name("mount.tape").joinpath("copies").iterdir()
        if damage == "gone":
            tape.unlink()
        else:
            tape.write_bytes(DATA[:-1])
        with pytest.raises(DoubleError, match="archive it first"):
            double.release([path])

        assert DATA == path.read_bytes()

    def test_a_copy_that_is_not_whole_is_made_again(
        self, double: Double, path: Path, prefix: Path
    ) -> None:
        (tape,) = prefix.with_name("mount.tape").joinpath("copies").iterdir()
        tape.write_bytes(b"")
        double.archive([path])

        assert DATA == tape.read_bytes()

    def test_no_bytes_are_taken_away_of_a_file_without_a_time_of_birth(
        self, double: Double, prefix: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its number is given to the next file, whose copy would be this one's."""
        monkeypatch.setattr(world, "_birth_ns", lambda _: 0)
        path = prefix / "file"
        path.write_bytes(DATA)
        double.archive([path])

        with pytest.raises(DoubleError, match="birth"):
            double.release([path])


def test_blocks_that_wait_for_bytes_are_holes_though_they_were_read(
    tmp_path: Path,
) -> None:
    """Else who looks for holes would take zeros for the bytes."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("r+b", buffering=0) as file:
        world.punch(file.fileno(), keep=0, mtime_ns=1)
        world.allocate(file.fileno(), mtime_ns=1)
        file.readall()
        taken = path.stat().st_blocks * 512

    assert (True, 0) == (taken >= len(DATA), hole(path))


def test_blocks_that_a_stage_took_are_given_back(tmp_path: Path) -> None:
    path, tape = tmp_path / "file", tmp_path / "tape"
    path.write_bytes(DATA)
    tape.write_bytes(DATA)
    with path.open("r+b") as file, tape.open("rb") as source:
        before = os.fstat(file.fileno()).st_blocks
        world.punch(file.fileno(), keep=0, mtime_ns=1)
        world.allocate(file.fileno(), mtime_ns=1)
        world.restore(
            file.fileno(), source.fileno(), size=len(DATA), mtime_ns=1, now_ns=1
        )
        os.fsync(file.fileno())
        after = os.fstat(file.fileno()).st_blocks

    assert (before, DATA) == (after, path.read_bytes())


@pytest.mark.parametrize("partial", [0, 16384])
def test_a_way_to_tape_and_back_keeps_mtime_and_mode(
    double: Double, path: Path, partial: int
) -> None:
    seen = []
    for turn in (lambda: double.release([path], partial), lambda: double.stage([path])):
        turn()
        found = path.stat()
        seen.append((found.st_mtime_ns, stat.S_IMODE(found.st_mode), found.st_ino))

    assert [(MTIME_NS, 0o444, path.stat().st_ino)] * 2 == seen


def test_the_owner_needs_no_rights_of_root(double: Double, path: Path) -> None:
    """Releases and stages a file of mode 0444 by a process without capabilities."""
    plain = [] if os.geteuid() else ["setpriv", "--bounding-set=-all"]
    command = (*plain, sys.executable, "-m", "pacifica_archive_hmssideband.double")
    double.close()
    blocks = []
    for verb in ("release", "stage"):
        subprocess.run(
            [*command, "--prefix", path.parent, "--url", url_of(path), verb, path],
            check=True,
            timeout=PATIENCE_S,
        )
        blocks.append(path.stat().st_blocks > 0)

    assert ([False, True], DATA, 0o444) == (
        blocks,
        path.read_bytes(),
        stat.S_IMODE(path.stat().st_mode),
    )


def url_of(path: Path) -> str:
    """Return the database beside the mount point that the file is in."""
    return f"sqlite:///{path.parents[1] / 'sideband.db'}"


def test_a_file_without_a_copy_is_not_released(double: Double, prefix: Path) -> None:
    (prefix / "file").write_bytes(DATA)
    with pytest.raises(DoubleError, match="archive it first"):
        double.release(["file"])

    assert DATA == (prefix / "file").read_bytes()


def test_a_file_that_was_written_to_since_is_not_released(
    double: Double, path: Path
) -> None:
    path.chmod(0o644)
    path.write_bytes(DATA[::-1])
    with pytest.raises(DoubleError, match="archive it first"):
        double.release([path])

    assert DATA[::-1] == path.read_bytes()


def test_an_empty_file_is_never_offline(
    double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    (prefix / "file").touch()
    double.archive(["file"])
    double.release(["file"])
    double.step()

    assert [(1,)] == ask(ONLINE)


def test_files_that_can_be_released_are_whatever_the_others(
    double: Double, path: Path
) -> None:
    with pytest.raises(DoubleError, match="missing: No such file"):
        double.release(["missing", path])

    assert 0 == path.stat().st_blocks


def test_a_release_waits_until_nobody_has_the_file_open(
    double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    seen: list[Any] = []
    with path.open("rb") as file:
        seen += double.release([path])
        double.step()
        seen += [file.read() == DATA, ask(ONLINE)]
    double.step()

    assert [str(path), True, [(1,)], 0, [(0,)]] == [
        *seen,
        path.stat().st_blocks,
        ask(ONLINE),
    ]


def test_a_file_that_is_opened_after_its_row_is_offline_keeps_its_bytes(
    double: Double, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened between what the row is told and the bytes' way out."""
    opened: list[Any] = []
    honest = Double._take_away  # noqa: SLF001 (the moment that is looked for)

    def open_before(*args: Any) -> None:  # noqa: ANN401 (as it is)
        if not opened:
            opened.append(path.open("rb"))
        honest(*args)

    monkeypatch.setattr(Double, "_take_away", open_before)
    double.release([path])
    with opened[0] as file:
        seen = file.read()
    double.step()

    assert (DATA, 0) == (seen, path.stat().st_blocks)


def test_no_bytes_go_while_another_row_of_the_path_is_online(
    double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    double.step()
    ask(
        "INSERT INTO sam_inode SELECT ino, gen + 7, type, size, csum, create_time,"
        " modify_time, uid, gid, online FROM sam_inode WHERE type = 0"
    )
    double.release([path])

    assert DATA == path.read_bytes()


def test_no_bytes_go_while_the_database_is_down(
    double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    ask("ALTER TABLE sam_inode RENAME TO away")
    with pytest.raises(DoubleError, match="no such table"):
        double.release([path])
    seen = path.read_bytes()
    ask("ALTER TABLE away RENAME TO sam_inode")
    double.step()

    assert (DATA, 0) == (seen, path.stat().st_blocks)


def test_a_stage_needs_no_database(
    double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    double.release([path])
    ask("ALTER TABLE sam_inode RENAME TO away")
    with pytest.raises(DoubleError, match="no such table"):
        double.stage([path])

    assert DATA == path.read_bytes()


def test_a_file_that_is_moved_while_it_is_on_tape_comes_back(
    double: Double, path: Path, prefix: Path
) -> None:
    double.release([path])
    (prefix / "a").mkdir()
    double.rename(path, "a/b")
    double.stage(["a/b"])

    assert DATA == (prefix / "a" / "b").read_bytes()


def test_what_a_look_missed_is_on_tape_still(
    double: Double, path: Path, prefix: Path
) -> None:
    """A file that is being moved may be in no directory that is looked at."""
    double.release([path])
    away = path.rename(prefix.parent / "away")
    double.step()
    away.rename(path)
    double.stage([path])

    assert DATA == path.read_bytes()


def test_copies_of_files_that_are_gone_are_removed(
    double: Double, path: Path, prefix: Path
) -> None:
    path.unlink()
    for _ in range(2):
        double.step()

    assert [] == list((prefix.parent / "mount.tape" / "copies").iterdir())


class TestStaging:
    """What happens while a stage is under way, which takes an hour here."""

    @pytest.fixture(autouse=True)
    def staging(self, double: Double, path: Path) -> Iterator[threading.Event]:
        """Begin it, and leave off."""
        double.release([path])
        stop = threading.Event()
        begun = threading.Event()
        runner = threading.Thread(
            target=double.run, args=(0.01, 3600.0, stop), kwargs={"ready": begun.set}
        )
        runner.start()
        try:
            assert begun.wait(PATIENCE_S)
            double.stage([path])
            deadline = threading.Event()
            for _ in range(2000):
                if path.stat().st_blocks:
                    break
                deadline.wait(0.01)
            yield stop
        finally:
            stop.set()
            runner.join(PATIENCE_S)

    def test_all_blocks_are_there_and_the_row_is_offline(
        self, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        found = path.stat()

        assert (True, True, 0, [(0,)]) == (
            found.st_blocks * 512 >= len(DATA),
            found.st_mtime_ns == MTIME_NS,
            hole(path),
            ask(ONLINE),
        )

    def test_a_file_that_replaces_it_is_not_touched(
        self, double: Double, path: Path, prefix: Path
    ) -> None:
        new = prefix / "new"
        new.write_bytes(DATA[::-1])
        before = new.stat()
        new.rename(path)
        double.step()
        after = path.stat()

        assert (DATA[::-1], before.st_mtime_ns, before.st_blocks) == (
            path.read_bytes(),
            after.st_mtime_ns,
            after.st_blocks,
        )

    def test_a_deleted_one_comes_not_back(
        self, double: Double, path: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        path.unlink()
        double.step()

        assert (False, []) == (path.exists(), ask(ONLINE))

    def test_who_follows_a_double_that_was_stopped_ends_it(
        self, double: Double, path: Path, staging: threading.Event
    ) -> None:
        staging.set()
        double.step()

        assert DATA == path.read_bytes()


def test_a_mount_without_leases_releases_nothing(
    double: Double, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("pacifica_archive_hmssideband.double.world.alone", refuse)
    with pytest.raises(DoubleError, match="Invalid argument"):
        double.release([path])

    assert DATA == path.read_bytes()


@pytest.mark.parametrize("step", ["punch", "allocate", "restore", "utime"])
@pytest.mark.parametrize("verb", ["release", "stage"])
def test_what_is_left_by_one_who_was_killed_is_mended(
    double: Double, path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, step: str
) -> None:
    """Whatever it was about to do with the bytes; utime is behind each of them."""
    if verb == "stage":
        double.release([path])

    def die(*_args: object, **_names: object) -> None:
        raise KeyboardInterrupt

    where = "os" if step == "utime" else "pacifica_archive_hmssideband.double.world"
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(f"{where}.{step}", die)
        getattr(double, verb)([path])
    after = Double(path.parent, url_of(path))
    after.stage([path])
    after.close()
    found = path.stat()

    assert (DATA, MTIME_NS, 0o444) == (
        path.read_bytes(),
        found.st_mtime_ns,
        stat.S_IMODE(found.st_mode),
    )
