"""A small file system of our own: full, read-only, and not mounted."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from scenes import DIGESTS, FILE_ID, LARGE, NEW, OLD, get, put, store

from pacifica_archive_core import AccessDenied, ArchiveFull, ArchiveUnavailable
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BIG = NEW * (2 * 2**20 // len(NEW))


def mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"lacks the right to mount, or mount(8): {exc}")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Return the mount point of a tmpfs of 1 MiB."""
    point = tmp_path / "mounted"
    point.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point))
    try:
        yield point
    finally:
        # Lazily: a test that failed may have files open there.
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


@pytest.fixture
def archive(mounted: Path) -> Iterator[PosixArchive]:
    with PosixArchive(PosixOptions(prefix=mounted)) as archive:
        store(archive, FILE_ID, OLD)
        yield archive


def names(mounted: Path) -> list[str]:
    return sorted(str(path.relative_to(mounted)) for path in mounted.rglob("*"))


def test_a_full_disk_is_told_and_nothing_is_left(
    archive: PosixArchive, mounted: Path
) -> None:
    before = names(mounted)
    with pytest.raises(ArchiveFull):
        store(archive, FILE_ID, BIG)

    assert (OLD, before) == (get(archive), names(mounted))


def test_a_disk_that_was_full_is_written_to_again(archive: PosixArchive) -> None:
    with pytest.raises(ArchiveFull):
        store(archive, FILE_ID, BIG)
    store(archive, FILE_ID, NEW)

    assert NEW == get(archive)


def test_a_large_file_that_will_not_fit_is_refused_before_its_first_byte(
    archive: PosixArchive, mounted: Path
) -> None:
    before = names(mounted)
    with pytest.raises(ArchiveFull):
        archive.create(1, size=len(LARGE))

    assert before == names(mounted)


def test_a_full_disk_refuses_to_adopt_by_copy_and_the_source_stays(
    archive: PosixArchive, mounted: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(BIG)
    with (
        PosixArchive(PosixOptions(prefix=mounted, adopt_roots=(tmp_path,))) as own,
        pytest.raises(ArchiveFull),
    ):
        own.adopt(1, str(source))

    assert (BIG, None) == (source.read_bytes(), get(archive, 1))


def test_digests_are_kept_or_the_lack_of_them_is_told(
    archive: PosixArchive, mounted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tmpfs has attributes since Linux 6.6."""
    put(archive, mounted.parent, overwrite=True, digests=DIGESTS)
    archive.check()
    told = any("digests" in record.message for record in caplog.records)

    assert ({} if told else DIGESTS) == archive.digests(FILE_ID)


@pytest.mark.parametrize(
    "act",
    [
        lambda archive: archive.create(1),
        lambda archive: archive.create(FILE_ID, overwrite=True),
        lambda archive: archive.delete(FILE_ID),
        lambda archive: archive.check(),
    ],
    ids=["create", "overwrite", "delete", "check"],
)
def test_a_disk_that_becomes_read_only_denies(
    archive: PosixArchive, mounted: Path, act: Callable[[PosixArchive], None]
) -> None:
    mount("-o", "remount,ro", str(mounted))
    with pytest.raises(AccessDenied):
        act(archive)

    assert OLD == get(archive)


def test_a_read_only_disk_is_read_and_in_order(
    archive: PosixArchive, mounted: Path
) -> None:
    mount("-o", "remount,ro", str(mounted))
    with PosixArchive(PosixOptions(prefix=archive.options.prefix)) as second:
        second.check()

        assert OLD == get(second)


@pytest.mark.parametrize(
    "act",
    [
        lambda archive: archive.status(FILE_ID),
        lambda archive: archive.open(FILE_ID),
        lambda archive: archive.create(1),
        lambda archive: archive.delete(FILE_ID),
        lambda archive: archive.check(),
    ],
    ids=["status", "open", "create", "delete", "check"],
)
def test_a_disk_that_is_not_mounted_is_unavailable(
    archive: PosixArchive, mounted: Path, act: Callable[[PosixArchive], None]
) -> None:
    subprocess.run(["umount", mounted], check=True)
    with pytest.raises(ArchiveUnavailable):
        act(archive)

    assert [] == list(mounted.iterdir())


def test_an_archive_holds_no_file_system(archive: PosixArchive, mounted: Path) -> None:
    """An operator may unmount it while a server is idle."""
    get(archive)
    done = subprocess.run(["umount", mounted], check=False, capture_output=True)

    assert (0, b"") == (done.returncode, done.stderr)
