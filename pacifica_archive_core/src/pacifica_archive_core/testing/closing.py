"""What is left when an archive is closed, and what its store failing looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from pacifica_archive_core.errors import (
    ArchiveError,
    ArchiveUnavailable,
    FileExists,
    NoSuchFile,
)
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    SourceKind,
    content,
    fetch,
    refusal,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core.archive import Archive

DATA = content("data", 5000)


def descriptors() -> int:
    """Return the number of this process's open file descriptors."""
    return len(list(Path("/dev/fd").iterdir()))


class Closing(int):
    """An id that closes the archive which checks it."""

    archive: Archive

    def __new__(cls, number: int, archive: Archive) -> Self:
        self = super().__new__(cls, number)
        self.archive = archive
        return self

    def __ge__(self, other: int) -> bool:
        self.archive.close()
        return super().__ge__(other)


class ClosingContract(Declarations):
    """Closing archives, readers and writers in every order."""

    def test_an_archive_may_be_closed_twice(
        self, opener: Callable[[], Archive]
    ) -> None:
        archive = opener()
        archive.close()

        assert refusal(archive.close) is None

    def test_a_with_block_closes_the_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            pass

        with pytest.raises(ValueError, match="closed"):
            archive.status(FILE_ID)

    def test_a_closed_archive_refuses_every_method(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            store(archive, FILE_ID, DATA)
            status = archive.status(FILE_ID)
            calls = self.calls(archive)
        calls["check"] = lambda _: archive.check()
        calls["digests_of"] = lambda _: archive.digests_of(status)
        calls["status_many"] = lambda file_id: list(archive.status_many([file_id]))
        calls["stage_many"] = lambda file_id: list(archive.stage_many([file_id]))
        found = {name: type(refusal(call, FILE_ID)) for name, call in calls.items()}

        assert dict.fromkeys(calls, ValueError) == found

    def test_a_file_is_not_missing_because_its_archive_is_closed_meanwhile(
        self, opener: Callable[[], Archive]
    ) -> None:
        """By another thread, between the check that it is open and the answer."""
        found = {}
        with opener() as archive:
            # Nor undelete, as none is in the trash: TrashContract asks it.
            names = self.calls(archive).keys() - {"create", "undelete"}
        for name in sorted(names):
            with opener() as archive:
                store(archive, FILE_ID, DATA)
                call = self.calls(archive)[name]
                found[name] = type(refusal(call, Closing(FILE_ID, archive)))

        assert NoSuchFile not in found.values()

    def test_a_closed_archive_does_not_adopt(
        self, opener: Callable[[], Archive], tmp_path: Path
    ) -> None:
        with opener() as archive:
            adopter = self.need_adopt(archive)
            source = self.make_source(archive, SourceKind.FILE, DATA, tmp_path)
            assert source is not None
        found = refusal(adopter.adopt, FILE_ID, source)

        assert (ValueError, True) == (type(found), self.source_exists(archive, source))

    @pytest.mark.parametrize("call", ["read", "readall", "tell", "digests"])
    def test_a_reader_of_a_closed_archive_refuses(
        self, opener: Callable[[], Archive], call: str
    ) -> None:
        with opener() as archive:
            store(archive, FILE_ID, DATA)
            reader = archive.open(FILE_ID)
        found = refusal(getattr(reader, call))
        reader.close()

        assert ValueError is type(found)

    def test_a_reader_of_a_closed_archive_fills_nothing(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            store(archive, FILE_ID, DATA)
            reader = archive.open(FILE_ID)
        found = refusal(reader.readinto, bytearray(10))
        reader.close()

        assert ValueError is type(found)

    def test_a_reader_may_be_closed_after_its_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            store(archive, FILE_ID, DATA)
            reader = archive.open(FILE_ID)

        assert (None, True) == (refusal(reader.close), reader.closed)

    def test_a_writer_of_a_closed_archive_takes_nothing(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            writer = archive.create(FILE_ID)
        found = refusal(writer.write, DATA)
        writer.discard()

        assert ValueError is type(found)

    def test_a_writer_of_a_closed_archive_does_not_commit(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            writer = archive.create(FILE_ID)
            writer.write(DATA)

        with pytest.raises(ValueError, match="closed"):
            writer.commit()

    def test_a_writer_may_be_discarded_after_its_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            writer = archive.create(FILE_ID)
            writer.write(DATA)

        assert refusal(writer.discard) is None

    @pytest.mark.parametrize("end", ["commit", "discard"])
    def test_a_writer_of_a_closed_archive_leaves_nothing(
        self, opener: Callable[[], Archive], end: str
    ) -> None:
        """Looked at past the API: opening the archive again might sweep it."""
        self.need("persistent")
        with opener() as archive:
            store(archive, 1, DATA)
            before = self.list_raw(archive)
            writer = archive.create(FILE_ID)
            writer.write(DATA)
        refusal(getattr(writer, end))

        assert before == self.list_raw(archive)

    def test_no_descriptor_stays_open(self, opener: Callable[[], Archive]) -> None:
        """Of archives, readers, writers, nor of calls that failed."""

        def use() -> None:
            with opener() as archive:
                store(archive, FILE_ID, DATA)
                fetch(archive, FILE_ID)
                archive.create(FILE_ID, overwrite=True).discard()
                with pytest.raises(FileExists):
                    store(archive, FILE_ID, DATA, overwrite=False)
                for name, call in self.calls(archive).items():
                    if name != "create":
                        refusal(call, 1)
                archive.delete(FILE_ID)

        use()
        before = descriptors()
        use()

        assert before == descriptors()

    def test_an_open_archive_does_not_gather_descriptors(
        self, archive: Archive
    ) -> None:
        def use() -> None:
            store(archive, FILE_ID, DATA)
            fetch(archive, FILE_ID)
            archive.create(FILE_ID, overwrite=True).discard()
            with pytest.raises(NoSuchFile):
                archive.open(1)

        use()
        before = descriptors()
        for _ in range(20):
            use()

        assert before >= descriptors()

    # --- the store itself

    def test_check_is_content_with_a_store_that_answers(self, archive: Archive) -> None:
        assert refusal(archive.check) is None

    def test_an_unreachable_store_fails_the_check(self, archive: Archive) -> None:
        self.need("can_be_unreachable")

        with self.unreachable(archive), pytest.raises(ArchiveUnavailable):
            archive.check()

    def test_an_unreachable_store_is_not_a_missing_file(self, archive: Archive) -> None:
        """Else a file that is only out of reach would be given up."""
        self.need("can_be_unreachable")
        store(archive, FILE_ID, DATA)
        calls = self.calls(archive)
        with self.unreachable(archive):
            found = {
                name: type(refusal(call, FILE_ID))
                for name, call in calls.items()
                if name != "create"
            }

        assert dict.fromkeys(found, ArchiveUnavailable) == found

    def test_an_unreachable_store_ends_the_questions_about_many(
        self, archive: Archive
    ) -> None:
        """It is the fault of no file, so it is raised and not yielded."""
        self.need("can_be_unreachable")
        store(archive, FILE_ID, DATA)
        with self.unreachable(archive):
            found = [
                type(refusal(lambda: list(archive.status_many([FILE_ID, 1])))),
                type(refusal(lambda: list(archive.stage_many([FILE_ID, 1])))),
            ]

        assert [ArchiveUnavailable] * 2 == found

    def test_an_unreachable_store_takes_nothing(self, archive: Archive) -> None:
        self.need("can_be_unreachable")
        with self.unreachable(archive):
            found = refusal(lambda: store(archive, FILE_ID, DATA))

        assert isinstance(found, ArchiveError)

    def test_the_files_are_there_when_the_store_is_back(self, archive: Archive) -> None:
        self.need("can_be_unreachable")
        store(archive, FILE_ID, DATA)
        with self.unreachable(archive):
            refusal(archive.open, FILE_ID)

        assert DATA == fetch(archive, FILE_ID)
