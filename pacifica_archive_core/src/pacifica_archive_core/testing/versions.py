"""What a version is: bytes and times that stay together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    lasting,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core.archive import Archive

OLD = content("old", 5000)
NEW = content("new", 6000)
SAME = 10**18


class VersionsContract(Declarations):
    """Replacing and deleting under readers, and version strings."""

    @pytest.mark.parametrize("new", [b"", b"short", NEW])
    def test_a_reader_keeps_its_version_when_it_is_replaced(
        self, archive: Archive, new: bytes
    ) -> None:
        store(archive, FILE_ID, OLD)
        with archive.open(FILE_ID) as reader:
            first = reader.read(10)
            store(archive, FILE_ID, new)
            rest = reader.readall()

        assert (OLD, new) == (first + rest, fetch(archive, FILE_ID))

    def test_a_reader_keeps_its_version_when_it_is_deleted(
        self, archive: Archive
    ) -> None:
        store(archive, FILE_ID, OLD)
        with archive.open(FILE_ID) as reader:
            archive.delete(FILE_ID)
            found = reader.readall()

        assert OLD == found

    def test_a_reader_keeps_its_status(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        before = archive.status(FILE_ID)
        with archive.open(FILE_ID) as reader:
            store(archive, FILE_ID, NEW)
            reader.readall()
            after = reader.status

        assert lasting(before) == lasting(after)

    def test_readers_of_three_versions_read_three_files(self, archive: Archive) -> None:
        readers = []
        for n in range(3):
            store(archive, FILE_ID, content(n, 100))
            readers.append(archive.open(FILE_ID))
        archive.delete(FILE_ID)
        found = []
        for reader in readers:
            with reader:
                found.append(reader.readall())

        assert [content(n, 100) for n in range(3)] == found

    # --- the version

    def test_the_version_stays_while_the_file_stays(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        before = archive.status(FILE_ID).version
        fetch(archive, FILE_ID)
        archive.stage(FILE_ID)

        assert before == archive.status(FILE_ID).version

    def test_a_replacement_of_equal_size_and_mtime_is_another_version(
        self, archive: Archive
    ) -> None:
        store(archive, FILE_ID, OLD, mtime_ns=SAME)
        before = archive.status(FILE_ID).version
        store(archive, FILE_ID, OLD[::-1], mtime_ns=SAME)

        assert before != archive.status(FILE_ID).version

    def test_versions_do_not_come_back(self, archive: Archive) -> None:
        """Clocks tick slower than this, and file systems use inodes again."""
        versions = []
        for n in range(60):
            for _ in range(n % 3 + 1):
                store(archive, FILE_ID, OLD, mtime_ns=SAME)
            versions.append(archive.status(FILE_ID).version)

        assert 60 == len(set(versions))

    def test_a_file_stored_anew_is_another_version(self, archive: Archive) -> None:
        versions = []
        for _ in range(20):
            store(archive, FILE_ID, OLD, mtime_ns=SAME)
            versions.append(archive.status(FILE_ID).version)
            archive.delete(FILE_ID)

        assert 20 == len(set(versions))

    def test_the_version_outlives_the_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        with opener() as archive:
            store(archive, FILE_ID, OLD)
            before = archive.status(FILE_ID)
        with opener() as archive:
            after = archive.status(FILE_ID)

        assert lasting(before) == lasting(after)

    def test_versions_do_not_come_back_in_another_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        """A counter that starts anew would be no version."""
        self.need("persistent")
        versions = []
        for _ in range(5):
            with opener() as archive:
                store(archive, FILE_ID, OLD, mtime_ns=SAME)
                versions.append(archive.status(FILE_ID).version)

        assert 5 == len(set(versions))

    def test_files_outlive_the_archive(self, opener: Callable[[], Archive]) -> None:
        self.need("persistent")
        with opener() as archive:
            store(archive, FILE_ID, OLD)
        with opener() as archive:
            found = fetch(archive, FILE_ID)

        assert OLD == found
