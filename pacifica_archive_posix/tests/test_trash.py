"""The trash past the API: names, system calls, crashes and other file systems."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from disk import Disk
from forked import fork_and_wait
from scenes import DIGESTED, FILE_ID, MTIME_NS, NEW, OLD, attributes, get, put, store
from scenes import Scene as AnyScene
from syscalls import Calls, failing, killing, open_descriptors, recorded

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    FileExists,
    NoSuchFile,
    NotSupported,
    SourceRefused,
)
from pacifica_archive_posix import PosixArchive, PosixOptions
from pacifica_archive_posix import trash as trash_module

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

LAYOUTS = {"flat": False, "nested": True}
by_layout = pytest.mark.parametrize("nested", LAYOUTS.values(), ids=LAYOUTS)
ERRORS = {
    errno.ENOSPC: ArchiveFull,
    errno.EROFS: AccessDenied,
    errno.EIO: ArchiveUnavailable,
}


@attrs.frozen(kw_only=True)
class Scene(AnyScene):
    """An act on a file that is stored, or in the trash."""

    trashed: bool = False

    def prepare(self, home: Path) -> None:
        super().prepare(home)
        with PosixArchive(self.options(home, durable=False)) as archive:
            put(archive, home)
            if self.trashed:
                archive.trash(FILE_ID)

    def names(self, home: Path) -> list[Path]:
        """Return where the file is: at its id's name, in the trash, or both."""
        found = [self.path(home), *(home / "archive" / ".trash").glob("*")]
        return [path for path in found if path.exists()]


SCENES = {
    f"{act}, {layout}": Scene(
        act=lambda archive, _home, act=act: getattr(archive, act)(FILE_ID),  # type: ignore[misc]  # of lambdas
        nested=nested,
        trashed=act == "undelete",
    )
    for act in ("trash", "undelete")
    for layout, nested in LAYOUTS.items()
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path


def open_archive(prefix: Path, *, nested: bool = False) -> PosixArchive:
    return PosixArchive(PosixOptions(prefix=prefix, use_id2filename=nested))


def trash_one(archive: PosixArchive, data: bytes = NEW) -> Path:
    """Store a file and trash it; return where it is then."""
    store(archive, FILE_ID, data)
    archive.trash(FILE_ID)
    folder = archive.options.prefix / ".trash"
    return max(folder.glob(f"{FILE_ID}.*"), key=lambda path: int(path.suffix[1:]))


# --- what lies there


@by_layout
def test_a_trashed_file_is_named_by_its_id_and_the_time(
    prefix: Path,
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    before_ns = time.time_ns()
    with open_archive(prefix, nested=nested) as archive:
        store(archive, FILE_ID, NEW)
        archive.trash(FILE_ID)
    (path,) = (prefix / ".trash").iterdir()
    name, _, time_ns = path.name.partition(".")

    assert (str(FILE_ID), True, NEW) == (
        name,
        before_ns <= int(time_ns) <= time.time_ns(),
        path.read_bytes(),
    )


def test_a_trashed_file_keeps_its_inode_mode_and_attributes(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        store(archive, FILE_ID, NEW, {"md5": bytes(16)})
        path = archive.local_path(FILE_ID)
        before = path.stat(), attributes(path)
        archive.trash(FILE_ID)
        (trashed,) = (prefix / ".trash").iterdir()
        found = trashed.stat(), attributes(trashed)

    assert (before[0].st_ino, before[0].st_mode, before[1], True) == (
        found[0].st_ino,
        found[0].st_mode,
        found[1],
        DIGESTED in found[1],
    )


def test_a_file_comes_back_to_directories_that_were_removed(prefix: Path) -> None:
    """Operators remove empty ones."""
    with open_archive(prefix, nested=True) as archive:
        trash_one(archive)
        (prefix / "56" / "34").rmdir()
        (prefix / "56").rmdir()
        archive.undelete(FILE_ID)

        assert NEW == get(archive)


def test_what_else_lies_in_the_trash_is_left(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        names = ["README", f"0{FILE_ID}.1", f"{FILE_ID}.-1", "1.2.3", "-1.5"]
        others = [path.parent / name for name in names]
        for other in others:
            other.write_bytes(b"else")
        (path.parent / "7.7").mkdir()
        found = len(list(archive.trashed())), archive.empty_trash(2**63)

    assert (1, 1, {*others, path.parent / "7.7"}) == (
        *found,
        set(path.parent.iterdir()),
    )


def test_a_directory_at_the_name_of_an_id_is_not_trashed(prefix: Path) -> None:
    (prefix / str(FILE_ID)).mkdir()
    with open_archive(prefix) as archive, pytest.raises(FileDamaged):
        archive.trash(FILE_ID)

    assert (prefix / str(FILE_ID)).is_dir()


def test_a_trashed_file_is_not_adopted(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        with pytest.raises(SourceRefused):
            archive.adopt(1, str(path))

        assert [FILE_ID] == [one.file_id for one in archive.trashed()]


def test_a_clock_that_was_set_back_between_two_archives_loses_nothing(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    for data in (OLD, NEW):
        with open_archive(prefix) as archive:
            trash_one(archive, data)

    assert {f"{FILE_ID}.{10**18}": OLD, f"{FILE_ID}.{10**18 + 1}": NEW} == {
        path.name: path.read_bytes() for path in (prefix / ".trash").iterdir()
    }


# --- a second name, left by an undelete that was killed


def test_a_second_name_of_a_stored_file_is_not_in_the_trash(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        (prefix / str(FILE_ID)).hardlink_to(path)

        assert [] == list(archive.trashed())


def test_a_second_name_is_removed_by_the_next_undelete(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        (prefix / str(FILE_ID)).hardlink_to(path)
        with pytest.raises(NoSuchFile):
            archive.undelete(FILE_ID)

    assert ([], NEW) == (
        list((prefix / ".trash").iterdir()),
        (prefix / str(FILE_ID)).read_bytes(),
    )


def test_a_second_name_in_the_trash_is_no_second_file(prefix: Path) -> None:
    """Of a file that was trashed again after an undelete that was killed."""
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        (prefix / str(FILE_ID)).hardlink_to(path)
        archive.trash(FILE_ID)
        listed = len(list(archive.trashed()))
        count = archive.empty_trash(2**63)

    assert (1, 1) == (listed, count)


def test_emptying_a_second_name_leaves_the_file(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        (prefix / str(FILE_ID)).hardlink_to(path)
        count = archive.empty_trash(2**63)

        assert (0, NEW) == (count, get(archive))


# --- system calls


def test_a_trashing_makes_these_calls(prefix: Path) -> None:
    """A delete makes four: the rest is that nothing is lost."""
    with open_archive(prefix) as archive:
        trash_one(archive)
        store(archive, FILE_ID, NEW)
        with recorded() as calls:
            archive.trash(FILE_ID)

    expected = ["stat", "open", "open", "stat", "rename", "fsync", "fsync"]
    assert [*expected, "close", "close"] == calls.names


def test_nothing_is_synced_unless_durable(prefix: Path) -> None:
    with PosixArchive(PosixOptions(prefix=prefix, durable=False)) as archive:
        store(archive, FILE_ID, NEW)
        with recorded() as calls:
            archive.trash(FILE_ID)
            archive.undelete(FILE_ID)
            archive.trash(FILE_ID)
            archive.empty_trash(2**63)

    assert 0 == calls.names.count("fsync")


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_one_failing_call_leaves_the_file_at_one_of_its_names(
    name: str, code: int, folder: Path
) -> None:
    """With the error that the errno means, and the archive works on."""
    scene = SCENES[name]
    wrong, number, ended = {}, 0, False
    while not ended:
        home = folder / str(number)
        home.mkdir()
        scene.prepare(home)
        before = scene.names(home)
        with scene.open(home) as archive:
            descriptors = open_descriptors()
            error: ArchiveError | None = None
            with recorded(failing(code, first=number, last=number)) as calls:
                try:
                    scene.act(archive, home)
                except ArchiveError as exc:
                    error = exc
            leaked = open_descriptors().items() - descriptors.items()
            moved = scene.names(home)
            places = len(list(archive.trashed())) + (get(archive) is not None)
            store(archive, FILE_ID, OLD)
            works = get(archive) == OLD
        ended = number >= len(calls.seen)
        if error is None:
            right = ended or calls.names[number] == "close"
        elif isinstance(error, CommitUnclear):
            # An undelete may have left its old name, which does not count.
            right = moved[0] != before[0]
        else:
            right = (type(error), before) == (ERRORS[code], moved)
        if not (right and places == 1 and works and not leaked):
            wrong[number] = (calls.names[number:][:1], error, moved, places, leaked)
        number += 1

    assert (True, {}) == (number > 8, wrong)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("code", [errno.EIO, errno.EEXIST, errno.ENOENT], ids=str)
def test_a_move_whose_reply_is_lost_is_a_move(
    name: str, code: int, folder: Path
) -> None:
    """NFS answers a request that was sent twice with what the first one did."""
    scene = SCENES[name]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        calls = failing(code, first=0, last=None, lose_reply=True)
        calls.only = {"rename", "link"}
        with recorded(calls):
            scene.act(archive, folder)
        found = get(archive)

    assert (NEW if scene.trashed else None, 1) == (found, len(scene.names(folder)))


@pytest.mark.parametrize("name", SCENES)
def test_a_move_of_which_nothing_can_be_learned_is_unclear(
    name: str, folder: Path
) -> None:
    scene = SCENES[name]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        with recorded() as calls:
            scene.act(archive, folder)
        number = max(calls.names.index(n) for n in {"rename", "link"} & {*calls.names})
    other = folder / "other"
    other.mkdir()
    scene.prepare(other)
    calls = failing(errno.EIO, first=number, last=number + 1, lose_reply=True)
    with scene.open(other) as archive, recorded(calls), pytest.raises(CommitUnclear):
        scene.act(archive, other)


# --- what cannot be destroyed


def trash_many(archive: PosixArchive, count: int) -> list[int]:
    """Trash files of the ids from 0; return these, the oldest first."""
    for file_id in range(count):
        store(archive, file_id, NEW)
        archive.trash(file_id)
    return list(range(count))


def ids_in_trash(archive: PosixArchive) -> list[int]:
    return sorted(one.file_id for one in archive.trashed())


def stick(monkeypatch: pytest.MonkeyPatch, stuck: Container[int]) -> list[int]:
    """Let files of some ids not go from the trash; return whose went or were tried."""
    tried: list[int] = []
    real = os.unlink

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        tried.append(int(name.partition(".")[0]))
        if tried[-1] in stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    return tried


def test_one_file_that_cannot_be_destroyed_does_not_keep_the_others(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    with open_archive(prefix) as archive, caplog.at_level(logging.WARNING):
        trash_many(archive, 3)
        stick(monkeypatch, {0})
        count = archive.empty_trash(2**63)
        left = ids_in_trash(archive)

    assert (2, [0], 1) == (count, left, len(caplog.records))


def test_many_files_that_cannot_be_destroyed_do_not_keep_the_others(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor count for the limit, of which the first ones would take all."""
    with open_archive(prefix) as archive:
        ids = trash_many(archive, 24)
        stick(monkeypatch, ids[:20])
        count = archive.empty_trash(2**63, limit=3)
        left = ids_in_trash(archive)

    assert (3, [*ids[:20], 23]) == (count, left)


def test_a_trash_of_which_nothing_can_be_destroyed_is_an_error(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_archive(prefix) as archive:
        ids = trash_many(archive, 3)
        stick(monkeypatch, ids)

        with pytest.raises(ArchiveUnavailable):
            archive.empty_trash(2**63)


def test_a_store_that_fails_slowly_is_not_asked_for_ever(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash_module, "_PATIENCE_S", 0)
    with open_archive(prefix) as archive:
        ids = trash_many(archive, 20)
        tried = stick(monkeypatch, ids)
        with pytest.raises(ArchiveUnavailable):
            archive.empty_trash(2**63)

    assert ids[:10] == tried


def test_files_that_fail_slowly_come_last_the_next_time(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those behind them would stay for ever."""
    monkeypatch.setattr(trash_module, "_PATIENCE_S", 0)
    with open_archive(prefix) as archive:
        ids = trash_many(archive, 12)
        stick(monkeypatch, ids[:10])
        with pytest.raises(ArchiveUnavailable):
            archive.empty_trash(2**63)
        count = archive.empty_trash(2**63)

        assert (2, ids[:10]) == (count, ids_in_trash(archive))


# --- crashes


@pytest.mark.parametrize("name", SCENES)
def test_who_is_killed_at_any_system_call_leaves_the_file_in_one_place(
    name: str, folder: Path
) -> None:
    scene = SCENES[name]
    wrong, number, ended = [], 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        home = folder / str(number)
        home.mkdir()
        scene.prepare(home)

        def work(number: int = number, home: Path = home) -> None:
            with scene.open(home) as archive, recorded(killing(number)):
                scene.act(archive, home)

        ended = fork_and_wait(work)
        with scene.open(home) as archive:
            stored = get(archive)
            in_trash = [one.size for one in archive.trashed()]
            if stored is None:
                archive.undelete(FILE_ID)
            again = get(archive)
        places = (stored is not None) + len(in_trash)
        if (1, NEW) != (places, again) or stored not in {None, NEW}:
            wrong.append((number, stored, in_trash, again))
        number += 1

    assert (0, True, []) == (ended, number > 8, wrong)


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_of_the_machine_loses_no_trashed_file(name: str, folder: Path) -> None:
    """
    It is at one of its names at least, whatever part of what was not synced is lost.

    And where it is to be when the last call has returned.
    """
    scene = SCENES[name]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        disk = Disk(folder)
        before = scene.names(folder)
        with recorded() as calls:
            scene.act(archive, folder)
        after = scene.names(folder)
    lost = losses(disk, calls, before, after)

    assert [] == lost


@pytest.mark.parametrize("name", SCENES)
def test_the_model_sees_what_is_not_synced(name: str, folder: Path) -> None:
    scene = SCENES[name]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        disk = Disk(folder)
        before = scene.names(folder)
        with recorded() as calls:
            scene.act(archive, folder)
        after = scene.names(folder)
    calls.seen = [call for call in calls.seen if call.name != "fsync"]

    assert [] != losses(disk, calls, before, after)


def losses(
    disk: Disk, calls: Calls, before: list[Path], after: list[Path]
) -> list[tuple[int, list[bool]]]:
    """Return after how many calls a crash may leave what it must not."""
    found = []
    paths = [*before, *after]
    for number in range(len(calls.seen) + 1):
        returned = number == len(calls.seen)
        for left in disk.crashes():
            there = [disk.find(left, path) is not None for path in paths]
            expected = [False] * len(before) + [True] * len(after)
            if (returned and there != expected) or not any(there):
                found.append((number, there))
        if not returned:
            disk.apply(calls.seen[number])
    return found


# --- other file systems, and none


@pytest.mark.parametrize("act", ["trash", "undelete"])
def test_an_id_in_another_file_system_than_the_trash_is_not_supported(
    act: str, prefix: Path, memory: Path
) -> None:
    """Operators mount or link a directory of the tree elsewhere."""
    with open_archive(prefix, nested=True) as archive:
        if act == "undelete":
            trash_one(archive)
            (prefix / "56" / "34").rmdir()
            (prefix / "56").rmdir()
        (prefix / "56").symlink_to(memory, target_is_directory=True)
        if act == "trash":
            store_beside(archive, memory)
        with pytest.raises(NotSupported, match="another file system"):
            getattr(archive, act)(FILE_ID)
        in_trash = [one.file_id for one in archive.trashed()]
        found = get(archive)

    assert ([], NEW) if act == "trash" else ([FILE_ID], None) == (in_trash, found)


def store_beside(archive: PosixArchive, memory: Path) -> None:
    """Put a file where a commit cannot: by a link it would cross file systems."""
    path = archive._layout.path(FILE_ID)  # noqa: SLF001 (the raw medium)
    (memory / "34").mkdir()
    with open(path, "wb") as file:  # noqa: PTH123 (a path of the layout's)
        file.write(NEW)


def test_a_trash_that_is_not_mounted_is_out_of_reach(tmp_path: Path) -> None:
    prefix = tmp_path / "archive"
    prefix.mkdir()
    with open_archive(prefix) as archive:
        trash_one(archive)
        away = prefix.rename(tmp_path / "away")
        prefix.mkdir()
        calls: list[Callable[[], object]] = [
            lambda: archive.undelete(FILE_ID),
            lambda: list(archive.trashed()),
            lambda: archive.empty_trash(2**63),
        ]
        for call in calls:
            with pytest.raises(ArchiveUnavailable):
                call()
        prefix.rmdir()
        away.rename(prefix)

        assert 1 == len(list(archive.trashed()))


def test_an_id_taken_at_the_last_moment_is_not_overwritten(prefix: Path) -> None:
    """Between the look and the link."""
    with open_archive(prefix) as archive:
        trash_one(archive, OLD)
        calls = Calls(first=0, last=None, only={"link"})

        def take(_name: str) -> None:
            (prefix / str(FILE_ID)).write_bytes(NEW)

        calls.disturb = take
        with recorded(calls), pytest.raises(FileExists):
            archive.undelete(FILE_ID)

        assert (NEW, 1) == (get(archive), len(list(archive.trashed())))


def test_what_is_emptied_at_the_last_moment_is_not_in_the_trash(prefix: Path) -> None:
    with open_archive(prefix) as archive:
        path = trash_one(archive)
        calls = Calls(
            first=0, last=None, only={"link"}, disturb=lambda _: path.unlink()
        )
        with recorded(calls), pytest.raises(NoSuchFile, match="not in the trash"):
            archive.undelete(FILE_ID)


def test_an_undeleted_file_has_the_mtime_that_it_had(folder: Path) -> None:
    scene = SCENES["undelete, flat"]
    scene.prepare(folder)
    with scene.open(folder) as archive:
        archive.undelete(FILE_ID)

        assert MTIME_NS == scene.path(folder).stat().st_mtime_ns
