"""Every system call fails once, with each errno that a file system answers."""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import shutil
from typing import TYPE_CHECKING

import attrs
import pytest
from scenes import FILE_ID, LARGE, NEW, OLD, SCENES, Scene, get, put, store
from syscalls import Calls, failing, open_descriptors, recorded

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    FileExists,
    NoSuchFile,
)
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ERRORS = {
    errno.ENOSPC: ArchiveFull,
    errno.EDQUOT: ArchiveFull,
    errno.EACCES: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.EIO: ArchiveUnavailable,
    errno.EMFILE: ArchiveUnavailable,
    errno.ESTALE: ArchiveUnavailable,
}
PASSED_OVER = {"unlink", "close"}
by_errno = pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)


class Stage:
    """A scene in a directory of its own, again and again."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.takes = 0

    def play(self, calls: Calls) -> Take:
        """Let the scene run with its calls recorded or disturbed."""
        self.takes += 1
        home = self.folder / str(self.takes)
        home.mkdir()
        self.scene.prepare(home)
        with self.scene.open(home) as archive:
            before = tree(home)
            descriptors = open_descriptors()
            error = None
            with recorded(calls):
                try:
                    self.scene.act(archive, home)
                except ArchiveError as exc:
                    error = exc
            leaked = open_descriptors().items() - descriptors.items()
            after = tree(home)
            found = get(archive)
            kept = dict(archive.digests(FILE_ID)) if found is not None else {}
            store(archive, FILE_ID, NEW[::-1])
            works = get(archive) == NEW[::-1]
        with self.scene.open(home):
            swept = list((home / "archive" / ".incoming").iterdir())
        shutil.rmtree(home)
        return Take(
            calls=calls,
            error=error,
            leaked=dict(leaked),
            before=before,
            after=after,
            found=found,
            digests=kept,
            works=works,
            swept=not swept,
        )


@attrs.frozen(kw_only=True)
class Take:
    """What came of it."""

    calls: Calls
    error: ArchiveError | None
    leaked: dict[str, str]
    before: dict[str, bytes]
    after: dict[str, bytes]
    found: bytes | None
    digests: dict[str, bytes]
    works: bool
    swept: bool


def tree(home: Path) -> dict[str, bytes]:
    """Return every file with its bytes; directories that were made may stay."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", SCENES)
@by_errno
def test_one_failing_call_leaves_the_old_file_or_the_new_one(
    name: str, code: int, folder: Path
) -> None:
    """
    With the error that the errno means and has for its cause.

    No litter is left, and the archive works on.

    Two failures are passed over: of the removal of a name in ``.incoming`` when the
    file is stored already, which a sweep then removes, and of the closing of
    descriptors that nothing was written to.
    """
    scene = SCENES[name]
    stage = Stage(scene, folder)
    good = stage.play(Calls())

    assert (None, scene.new, scene.digests) == (good.error, good.found, good.digests)

    wrong = {}
    for number, call in enumerate(good.calls.names):
        take = stage.play(failing(code, first=number, last=number))
        if take.error is None:
            right = call in PASSED_OVER and take.found == scene.new
        elif isinstance(take.error, CommitUnclear):
            right = take.found == scene.new
        else:
            right = (type(take.error), take.before) == (ERRORS[code], take.after)
        # The errno is for the log: a message may not tell it all.
        right &= take.error is None or getattr(take.error.__cause__, "errno", 0) == code
        if not (right and take.works and not take.leaked and take.swept):
            wrong[number, call] = take

    assert {} == wrong


@pytest.mark.parametrize("name", SCENES)
def test_the_first_failure_is_reported_when_all_calls_fail(
    name: str, folder: Path
) -> None:
    """Also those that should clean up after it."""
    stage = Stage(SCENES[name], folder)
    good = stage.play(Calls())
    wrong = {}
    for number, call in enumerate(good.calls.names):
        take = stage.play(failing(errno.ENOSPC, first=number, last=None))
        # Whether a failed move has been done is asked, and that fails too.
        unclear = take.found == SCENES[name].new or number == good.calls.switch
        expected = CommitUnclear if unclear else ArchiveFull
        if type(take.error) is not expected and call not in PASSED_OVER:
            wrong[number, call] = take.error
        if take.leaked or not take.works:
            wrong[number, call] = take.error

    assert {} == wrong


@pytest.mark.parametrize("name", [name for name in SCENES if "delete" not in name])
@pytest.mark.parametrize("code", [errno.EIO, errno.EEXIST, errno.ENOENT], ids=str)
def test_a_move_whose_reply_is_lost_is_a_move(
    name: str, code: int, folder: Path
) -> None:
    """NFS answers a request that was sent twice with what the first one did."""
    scene = SCENES[name]
    stage = Stage(scene, folder)
    good = stage.play(Calls())
    number = good.calls.switch
    assert number is not None
    take = stage.play(failing(code, first=number, last=number, lose_reply=True))

    assert (None, scene.new, True) == (take.error, take.found, take.swept)


@pytest.mark.parametrize("name", ["create", "overwrite"])
def test_a_move_of_which_nothing_can_be_learned_is_unclear(
    name: str, folder: Path
) -> None:
    """Its reply is lost, and then the store does not answer at all."""
    stage = Stage(SCENES[name], folder)
    good = stage.play(Calls())
    number = good.calls.switch
    assert number is not None
    take = stage.play(
        failing(errno.EIO, first=number, last=number + 1, lose_reply=True)
    )

    assert (CommitUnclear, NEW) == (type(take.error), take.found)


@by_errno
def test_no_space_to_reserve_is_told_before_the_first_byte(
    code: int, folder: Path
) -> None:
    scene = Scene(act=functools.partial(put, data=LARGE), new=LARGE)
    take = Stage(scene, folder).play(Calls())
    number = take.calls.names.index("fallocate")
    failed = Stage(scene, folder).play(failing(code, first=number, last=number))

    assert (LARGE, ERRORS[code], False, {}, failed.before) == (
        take.found,
        type(failed.error),
        "write" in failed.calls.names,
        failed.leaked,
        failed.after,
    )


@by_errno
def test_a_copy_that_fails_leaves_the_source(
    code: int, memory: Path, tmp_path: Path
) -> None:
    """Across file systems, the source goes when its copy is committed."""
    source = tmp_path / "source"

    def act(archive: PosixArchive, _home: Path) -> None:
        archive.adopt(FILE_ID, str(source))

    @attrs.frozen(kw_only=True)
    class Copying(Scene):
        def options(self, home: Path, *, durable: bool = True) -> PosixOptions:
            options = super().options(home, durable=durable)
            return attrs.evolve(options, adopt_roots=(tmp_path,))

        def prepare(self, home: Path) -> None:
            super().prepare(home)
            source.write_bytes(NEW)

    stage = Stage(Copying(act=act), memory)
    good = stage.play(Calls())
    gone = not source.exists()
    wrong = {}
    for number, call in enumerate(good.calls.names):
        take = stage.play(failing(code, first=number, last=number))
        if take.error is None:
            right = call in PASSED_OVER and take.found == NEW
        elif isinstance(take.error, CommitUnclear):
            right = take.found == NEW
        else:
            right = type(take.error) is ERRORS[code] and source.exists()
        if not (right and take.works and not take.leaked and take.swept):
            wrong[number, call] = take

    assert (None, NEW, True, {}) == (good.error, good.found, gone, wrong)


READS: dict[str, Callable[[PosixArchive], object]] = {
    "open": get,
    "status": lambda archive: archive.status(FILE_ID),
    "stage": lambda archive: archive.stage(FILE_ID),
    "digests": lambda archive: archive.digests(FILE_ID),
    "local_path": lambda archive: archive.local_path(FILE_ID),
    "check": lambda archive: archive.check(),
}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[PosixArchive]:
    scene = SCENES["overwrite"]
    scene.prepare(tmp_path)
    with scene.open(tmp_path) as archive:
        yield archive


def outcomes(
    archive: PosixArchive, read: Callable[[PosixArchive], object], code: int
) -> dict[tuple[int, str], type[Exception] | None]:
    """Return what each call's failure is told as."""
    with recorded() as good:
        read(archive)
    found: dict[tuple[int, str], type[Exception] | None] = {}
    for number, name in enumerate(good.names):
        with recorded(failing(code, first=number, last=number)):
            try:
                read(archive)
                found[number, name] = None
            except ArchiveError as exc:
                found[number, name] = type(exc)
    return found


@pytest.mark.parametrize("name", READS)
@by_errno
def test_a_failing_question_is_answered_by_its_error(
    archive: PosixArchive, name: str, code: int
) -> None:
    bytes_lost = {"open", "fstat", "pread"} if code == errno.EIO else set()
    descriptors = open_descriptors()
    found = outcomes(archive, READS[name], code)
    expected = {
        (number, call): FileDamaged if call in bytes_lost else ERRORS[code]
        for number, call in found
        # What was read is right, whatever close(2) says.
        if call != "close"
    }
    told = {key: error for key, error in found.items() if key[1] != "close"}

    assert (expected, descriptors) == (told, open_descriptors())


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA], ids=str)
def test_bytes_that_cannot_be_read_are_damage(archive: PosixArchive, code: int) -> None:
    """A bad sector; a managed file system whose tape is bad."""
    with (
        archive.open(FILE_ID) as reader,
        recorded(failing(code, first=0, last=None)),
        pytest.raises(FileDamaged),
    ):
        reader.readinto(bytearray(10))


def test_a_file_that_ends_early_is_damage(archive: PosixArchive) -> None:
    path = archive.local_path(FILE_ID)
    with archive.open(FILE_ID) as reader:
        os.truncate(path, 100)

        with pytest.raises(FileDamaged):
            reader.readall()


@pytest.mark.parametrize("begun", [False, True], ids=["fresh", "begun"])
@by_errno
def test_an_opening_that_fails_says_why_and_can_be_repeated(
    code: int,
    begun: bool,  # noqa: FBT001 (a parameter of pytest's)
    folder: Path,
) -> None:
    """Or, where nothing can be written, it is for reading only; a sweep may fail."""
    prefixes = map(folder.joinpath, map(str, itertools.count()))

    def options() -> PosixOptions:
        prefix = next(prefixes)
        prefix.mkdir()
        if begun:
            PosixArchive(PosixOptions(prefix=prefix)).close()
        return PosixOptions(prefix=prefix)

    given = options()
    with recorded() as good:
        PosixArchive(given).close()
    sweep = len(good.names) - 1 - good.names[::-1].index("scandir")
    descriptors = open_descriptors()
    wrong = {}
    for number, call in enumerate(good.names):
        given = options()
        with recorded(failing(code, first=number, last=number)):
            try:
                PosixArchive(given).close()
                right = (
                    call in PASSED_OVER
                    or number >= sweep
                    or code in {errno.EACCES, errno.EROFS}
                )
            except ArchiveError as exc:
                right = type(exc) is ERRORS[code]
        with PosixArchive(given) as archive:
            store(archive, 1, NEW)
            left = list((given.prefix / ".incoming").iterdir())
        if not right or left or open_descriptors() != descriptors:
            wrong[number, call] = left

    assert {} == wrong


def test_a_missing_file_is_asked_for_twice_at_most(archive: PosixArchive) -> None:
    """Its own name, and the marker, which tells that the store is there."""
    with recorded() as calls, pytest.raises(NoSuchFile):
        archive.status(1)

    assert ["stat", "stat"] == calls.names


def test_a_race_lost_at_the_commit_is_told(archive: PosixArchive) -> None:
    writer = archive.create(1)
    writer.write(NEW)
    store(archive, 1, OLD)

    with pytest.raises(FileExists):
        writer.commit()
