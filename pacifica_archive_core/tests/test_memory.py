from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core import (
    Archive,
    ArchiveFull,
    ConfigError,
    FileOffline,
    InvalidFileId,
    Media,
    MemoryArchive,
    MemoryOptions,
    NoSuchFile,
    NotSupported,
    Residency,
    StorageLevel,
    load_options,
)
from pacifica_archive_core.testing.base import fetch, store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    with MemoryArchive() as archive:
        yield archive


@pytest.fixture
def small() -> Iterator[MemoryArchive]:
    """Return an archive that may hold ten bytes."""
    with MemoryArchive(MemoryOptions(capacity=10)) as archive:
        yield archive


def test_it_needs_no_options() -> None:
    with MemoryArchive() as archive:
        capacity = archive.options.capacity

    assert capacity is None


def test_two_archives_have_nothing_in_common(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")

    with MemoryArchive() as other, pytest.raises(NoSuchFile):
        other.status(1)


def test_it_is_not_shared_between_processes() -> None:
    """Servers then refuse a second worker."""
    assert (False, True) == (
        MemoryArchive.shared_between_processes,
        Archive.shared_between_processes,
    )


# --- capacity


def test_what_just_fits_is_stored(small: MemoryArchive) -> None:
    store(small, 1, b"1234567890")

    assert b"1234567890" == fetch(small, 1)


def test_one_byte_more_does_not_fit(small: MemoryArchive) -> None:
    store(small, 1, b"12345")

    with pytest.raises(ArchiveFull, match="file 2: no space left in 10 bytes"):
        store(small, 2, b"123456")


def test_a_promise_that_does_not_fit_is_refused_before_the_bytes(
    small: MemoryArchive,
) -> None:
    with pytest.raises(ArchiveFull):
        small.create(1, size=11)


def test_without_a_promise_the_commit_refuses(small: MemoryArchive) -> None:
    writer = small.create(1)
    writer.write(b"12345678901")

    with pytest.raises(ArchiveFull):
        writer.commit()


def test_a_replacement_takes_the_place_of_the_old(small: MemoryArchive) -> None:
    store(small, 1, b"12345678")
    store(small, 1, b"1234567890")

    assert b"1234567890" == fetch(small, 1)


def test_a_delete_makes_room(small: MemoryArchive) -> None:
    store(small, 1, b"12345678")
    small.delete(1)
    store(small, 2, b"1234567890")

    assert b"1234567890" == fetch(small, 2)


@pytest.mark.parametrize("capacity", [0, "0"])
def test_an_archive_may_be_full_from_the_start(capacity: object) -> None:
    options = load_options(MemoryArchive, given={"capacity": capacity})
    with MemoryArchive(options) as archive, pytest.raises(ArchiveFull):
        store(archive, 1, b"1")


def test_a_capacity_is_a_number() -> None:
    with pytest.raises(ConfigError, match="option 'capacity' of memory is 'much'"):
        load_options(MemoryArchive, given={"capacity": "much"})


# --- the pretended tape


def test_a_purged_file_is_on_tape_only(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")
    archive.purge(1)
    status = archive.status(1)

    assert (
        Residency.TAPE,
        (StorageLevel(Media.DISK, 0), StorageLevel(Media.TAPE, 5)),
    ) == (status.residency, status.levels)


def test_a_recalled_file_is_on_both(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")
    archive.purge(1)
    archive.stage(1)
    archive.finish_recalls()
    status = archive.status(1)

    assert (
        Residency.DISK_AND_TAPE,
        (StorageLevel(Media.DISK, 5), StorageLevel(Media.TAPE, 5)),
    ) == (status.residency, status.levels)


def test_a_new_file_is_on_disk_only(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")

    assert (StorageLevel(Media.DISK, 5),) == archive.status(1).levels


def test_a_replacement_of_a_purged_file_is_on_disk_only(
    archive: MemoryArchive,
) -> None:
    store(archive, 1, b"bytes")
    archive.purge(1)
    store(archive, 1, b"other")

    assert Residency.DISK is archive.status(1).residency


def test_an_empty_file_is_not_purged(archive: MemoryArchive) -> None:
    store(archive, 1, b"")
    archive.purge(1)

    assert archive.status(1).online


def test_recalls_finish_only_when_told_to(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")
    archive.purge(1)
    archive.stage(1)

    with pytest.raises(FileOffline):
        archive.open(1)


def test_a_purge_does_not_change_the_version(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")
    before = archive.status(1).version
    archive.purge(1)

    assert before == archive.status(1).version


@pytest.mark.parametrize(
    ("file_id", "error"), [(1, NoSuchFile), (-1, InvalidFileId), (True, InvalidFileId)]
)
def test_only_files_are_purged(
    archive: MemoryArchive, file_id: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        archive.purge(file_id)


def test_a_closed_archive_finishes_no_recalls() -> None:
    with MemoryArchive() as archive:
        pass

    with pytest.raises(ValueError, match="closed"):
        archive.finish_recalls()


def test_purges_and_recalls_may_come_from_other_threads(
    archive: MemoryArchive,
) -> None:
    """As the clock of a test might make them come."""
    store(archive, 1, b"bytes")

    def recall() -> None:
        archive.stage(1)
        archive.finish_recalls()

    for _ in range(50):
        threads = [
            threading.Thread(target=lambda: archive.purge(1)),
            threading.Thread(target=recall),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
    with archive.open(1, recall=True) as reader:
        found = reader.readall()

    assert b"bytes" == found


# --- digests


def test_digests_are_recorded_beside_those_kept(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes", digests={"md5": bytes(16)})
    version = archive.status(1).version
    archive.record_digests(1, {"md5": b"1" * 16, "adler": bytes(4)}, version=version)

    assert {"md5": bytes(16), "adler": bytes(4)} == archive.digests(1)


def test_a_record_changes_no_version(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes")
    version = archive.status(1).version
    archive.record_digests(1, {"adler": bytes(4)}, version=version)

    assert version == archive.status(1).version


# --- what a backend without tape inherits


class Tapeless(MemoryArchive):
    """Has files on tape and does not say how to stage them."""

    _stage = Archive._stage  # noqa: SLF001 (the default that is tried)


def test_a_backend_that_cannot_stage_says_so_for_what_is_offline() -> None:
    with Tapeless() as archive:
        store(archive, 1, b"bytes")
        archive.purge(1)

        with pytest.raises(NotSupported):
            archive.stage(1)


def test_a_backend_that_cannot_stage_goes_on_with_the_others() -> None:
    with Tapeless() as archive:
        store(archive, 1, b"bytes")
        store(archive, 2, b"bytes")
        archive.purge(1)
        found = [type(answer) for _, answer in archive.stage_many([1, 2, 3])]

    assert [NotSupported, bool, NoSuchFile] == found


def test_a_backend_that_keeps_no_digests_has_none(archive: MemoryArchive) -> None:
    store(archive, 1, b"bytes", digests={"md5": bytes(16)})

    assert {} == Archive.digests(archive, 1)


def test_a_backend_that_keeps_no_digests_knows_its_files(
    archive: MemoryArchive,
) -> None:
    with pytest.raises(NoSuchFile):
        Archive.digests(archive, 1)
