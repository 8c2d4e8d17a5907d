"""As a service runs: not as root, to whom nothing is forbidden."""

from __future__ import annotations

import json
import os
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from scenes import FILE_ID, NEW, OLD, SCENES, get, put, store

from pacifica_archive_core import AccessDenied, ArchiveError
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = 65534


def as_nobody(call: Callable[[], Any], *folders: Path) -> Any:  # noqa: ANN401 (JSON)
    """Return what a call returns, as JSON, in a child that owns the folders only."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads, as those of a timeout plugin.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                for folder in folders:
                    os.chown(folder, NOBODY, NOBODY)
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            answer = call()
        except BaseException:  # noqa: BLE001 (the parent shows it)
            answer = traceback.format_exc()
        with os.fdopen(sending, "w") as stream:
            json.dump(answer, stream)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as stream:
        told = json.load(stream)
    os.waitpid(pid, 0)
    return told


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory that others may walk to."""
    for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        path.chmod(path.stat().st_mode | 0o011)
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.mark.parametrize("name", SCENES)
def test_all_can_be_done_by_the_owner_of_the_prefix(name: str, home: Path) -> None:
    """Among it, attributes are set on what becomes read-only."""
    scene = SCENES[name]

    def act() -> list[object]:
        scene.prepare(home)
        with scene.open(home) as archive:
            scene.act(archive, home)
            found = get(archive)
            kept = dict(archive.digests(FILE_ID)) if found else {}
            return [found == scene.new, kept == scene.digests]

    assert [True, True] == as_nobody(act, home)


def test_a_source_that_could_not_be_removed_is_not_taken(home: Path) -> None:
    """Else one file would have two names, and who writes by one changes the other."""
    scene = SCENES["adopt"]

    def act() -> list[object]:
        scene.prepare(home)
        (home / "inbox").chmod(0o555)
        with scene.open(home) as archive:
            try:
                scene.act(archive, home)
                told = "done"
            except ArchiveError as exc:
                told = type(exc).__name__
            names = (home / "inbox" / "source").stat().st_nlink
            return [told, get(archive) is None, names]

    assert ["AccessDenied", True, 1] == as_nobody(act, home)


@pytest.mark.parametrize("changed", [False, True])
def test_digests_of_a_read_only_source_are_kept_or_dropped(
    home: Path,
    changed: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    scene = SCENES["create with digests"]

    def act() -> list[object]:
        scene.prepare(home)
        with scene.open(home) as archive:
            scene.act(archive, home)
            source = home / "inbox" / "source"
            archive.local_path(FILE_ID).rename(source)
            if changed:
                os.utime(source)
            archive.adopt(1, str(source))
            kept = {} if changed else scene.digests
            return [get(archive, 1) == NEW, dict(archive.digests(1)) == kept]

    assert [True, True] == as_nobody(act, home)


def test_the_owner_of_the_prefix_trashes_and_takes_back(home: Path) -> None:
    """Of a file whose mode lets nobody write: a link to it is refused to others."""
    scene = SCENES["create"]

    def act() -> list[object]:
        scene.prepare(home)
        with scene.open(home) as archive:
            scene.act(archive, home)
            archive.trash(FILE_ID)
            archive.undelete(FILE_ID)
            found = get(archive) == NEW
            archive.trash(FILE_ID)
            return [found, archive.empty_trash(2**63)]

    assert [True, 1] == as_nobody(act, home)


def test_leftovers_of_a_read_only_kind_are_swept(home: Path) -> None:
    """Killed between its seal and its switch."""

    def act() -> list[str]:
        prefix = home / "archive"
        prefix.mkdir()
        with PosixArchive(PosixOptions(prefix=prefix)) as archive:
            writer = archive.create(1)
            (path,) = (prefix / ".incoming").iterdir()
            writer.discard()
        path.write_bytes(OLD)
        path.chmod(0o444)
        PosixArchive(PosixOptions(prefix=prefix)).close()
        return [entry.name for entry in (prefix / ".incoming").iterdir()]

    assert [] == as_nobody(act, home)


def refusals(home: Path, options: PosixOptions) -> list[str]:
    """Return how an archive refuses who may only read; and what it serves."""
    with PosixArchive(options) as archive:
        told = ["served" if get(archive) == NEW else "lost"]
        for act in (
            lambda: archive.create(1),
            lambda: store(archive, FILE_ID, OLD),
            lambda: archive.delete(FILE_ID),
            lambda: archive.trash(FILE_ID),
            lambda: archive.adopt(1, str(home / "inbox" / "source")),
        ):
            try:
                act()
                told.append("done")
            except ArchiveError as exc:
                told.append(type(exc).__name__)
        return told


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, to own what is refused")
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_who_may_only_read_is_served_and_refused(
    home: Path,
    marked: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    scene = SCENES["create"]
    scene.prepare(home)
    (home / "inbox" / "source").write_bytes(NEW)
    with scene.open(home) as archive:
        put(archive, home)
    if not marked:
        (home / "archive" / ".pacifica-archive.json").unlink()
        (home / "archive" / ".incoming").rmdir()
    told = as_nobody(lambda: refusals(home, scene.options(home)))

    assert ["served"] + [AccessDenied.__name__] * 5 == told


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, to own what is refused")
def test_a_source_of_another_owner_is_refused_and_stays(home: Path) -> None:
    """Its mode could not be set; it would be writable in the archive."""
    scene = SCENES["adopt"]
    source = home / "inbox" / "source"

    def act() -> list[object]:
        with scene.open(home) as archive:
            try:
                scene.act(archive, home)
            except AccessDenied:
                return ["refused", get(archive), source.stat().st_nlink]
        return ["done"]

    scene.prepare(home)
    source.chmod(0o666)
    for path in (home / "archive").rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    told = as_nobody(act, home, home / "archive", home / "inbox")

    assert (["refused", None, 1], 0o666) == (told, source.stat().st_mode & 0o777)
