"""What a store with tape promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.errors import FileOffline, NoSuchFile
from pacifica_archive_core.status import Media
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    refusal,
    store,
    true_digests,
)

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive

DATA = content("data", 5000)
NEW = content("new", 6000)


class TapeContract(Declarations):
    """Files whose bytes are on tape, and bringing them back."""

    def store_offline(self, archive: Archive) -> None:
        """Store a file and leave it on tape only, or skip the test."""
        self.need("has_tape")
        store(archive, FILE_ID, DATA, digests=true_digests(DATA, ["md5"]))
        self.make_offline(archive, FILE_ID)

    def test_an_offline_file_is_not_opened(self, archive: Archive) -> None:
        self.store_offline(archive)

        with pytest.raises(FileOffline):
            archive.open(FILE_ID)

    def test_an_offline_file_is_said_to_be_on_tape(self, archive: Archive) -> None:
        self.store_offline(archive)
        status = archive.status(FILE_ID)

        assert (False, Media.TAPE) == (status.online, status.media)

    def test_an_offline_file_keeps_its_size(self, archive: Archive) -> None:
        self.store_offline(archive)

        assert len(DATA) == archive.status(FILE_ID).size

    def test_the_levels_of_an_offline_file_have_it_on_tape(
        self, archive: Archive
    ) -> None:
        self.store_offline(archive)
        levels = archive.status(FILE_ID).levels
        on_tape = max(n.size for n in levels if n.media is Media.TAPE)
        on_disk = max((n.size for n in levels if n.media is Media.DISK), default=0)

        assert on_disk < on_tape == len(DATA)

    def test_an_offline_file_has_its_digests(self, archive: Archive) -> None:
        self.store_offline(archive)

        assert self.kept(DATA, ["md5"]) == dict(archive.digests(FILE_ID))

    def test_a_status_of_an_offline_file_has_its_digests(
        self, archive: Archive
    ) -> None:
        self.store_offline(archive)
        status = archive.status(FILE_ID)

        assert self.kept(DATA, ["md5"]) == dict(archive.digests_of(status))

    def test_digests_outlive_the_way_to_tape_and_back(self, archive: Archive) -> None:
        self.store_offline(archive)
        archive.stage(FILE_ID)
        self.finish_recalls(archive)
        with archive.open(FILE_ID) as reader:
            found = dict(reader.digests())

        expected = self.kept(DATA, ["md5"])
        assert (expected, expected) == (found, dict(archive.digests(FILE_ID)))

    def test_a_reader_with_recall_has_the_digests_of_its_file(
        self, archive: Archive
    ) -> None:
        self.store_offline(archive)
        with archive.open(FILE_ID, recall=True) as reader:
            found = dict(reader.digests())

        assert self.kept(DATA, ["md5"]) == found

    def test_the_version_stays_on_the_way_to_tape_and_back(
        self, archive: Archive
    ) -> None:
        """Else a download that a purge cut could not be resumed by its ETag."""
        self.need("has_tape")
        store(archive, FILE_ID, DATA)
        versions = [archive.status(FILE_ID).version]
        self.make_offline(archive, FILE_ID)
        versions.append(archive.status(FILE_ID).version)
        archive.stage(FILE_ID)
        self.finish_recalls(archive)
        versions.append(archive.status(FILE_ID).version)

        assert [versions[0]] * 3 == versions

    def test_nothing_but_stage_asks_for_a_recall(self, archive: Archive) -> None:
        """A look at a million files must not bring in a million tapes."""
        self.store_offline(archive)
        archive.status(FILE_ID)
        list(archive.status_many([FILE_ID]))
        archive.digests(FILE_ID)
        archive.digests_of(archive.status(FILE_ID))
        refusal(archive.open, FILE_ID)
        archive.create(FILE_ID, overwrite=True).discard()
        archive.check()
        self.finish_recalls(archive)

        assert not archive.status(FILE_ID).online

    def test_stage_of_an_offline_file_says_that_it_is_not_done(
        self, archive: Archive
    ) -> None:
        """However often it is asked for."""
        self.store_offline(archive)
        answers = [archive.stage(FILE_ID), archive.stage(FILE_ID)]

        assert [False, False] == answers

    def test_a_staged_file_comes_back(self, archive: Archive) -> None:
        self.store_offline(archive)
        archive.stage(FILE_ID)
        self.finish_recalls(archive)

        assert (True, True, DATA) == (
            archive.status(FILE_ID).online,
            archive.stage(FILE_ID),
            fetch(archive, FILE_ID),
        )

    def test_stage_many_brings_back_those_asked_for(self, archive: Archive) -> None:
        self.need("has_tape")
        for file_id in range(4):
            store(archive, file_id, DATA)
            self.make_offline(archive, file_id)
        answers = [answer for _, answer in archive.stage_many([0, 2, 0])]
        self.finish_recalls(archive)
        online = [archive.status(file_id).online for file_id in range(4)]

        assert ([False] * 3, [True, False, True, False]) == (answers, online)

    def test_open_with_recall_serves_an_offline_file(self, archive: Archive) -> None:
        self.store_offline(archive)
        with archive.open(FILE_ID, recall=True) as reader:
            found = reader.readall()

        assert DATA == found

    def test_a_reader_with_recall_has_the_status_of_what_it_reads(
        self, archive: Archive
    ) -> None:
        self.store_offline(archive)
        with archive.open(FILE_ID, recall=True) as reader:
            online = reader.status.online

        assert online

    def test_an_offline_file_is_deleted(self, archive: Archive) -> None:
        self.store_offline(archive)
        archive.delete(FILE_ID)

        with pytest.raises(NoSuchFile):
            archive.status(FILE_ID)

    def test_an_offline_file_is_deleted_without_a_recall(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.store_offline(archive)
        asked = []
        for hook in ("_open", "_stage"):

            def spy(*_: object, hook: str = hook, **__: object) -> None:
                asked.append(hook)
                raise FileOffline(FILE_ID)

            monkeypatch.setattr(type(archive), hook, spy)
        refusal(archive.delete, FILE_ID)

        assert [] == asked

    def test_an_offline_file_is_replaced(self, archive: Archive) -> None:
        self.store_offline(archive)
        store(archive, FILE_ID, NEW)

        assert NEW == fetch(archive, FILE_ID)

    def test_a_late_recall_does_not_undo_a_replacement(self, archive: Archive) -> None:
        self.store_offline(archive)
        archive.stage(FILE_ID)
        store(archive, FILE_ID, NEW)
        self.finish_recalls(archive)

        assert NEW == fetch(archive, FILE_ID)

    def test_a_late_recall_does_not_undo_a_delete(self, archive: Archive) -> None:
        self.store_offline(archive)
        archive.stage(FILE_ID)
        archive.delete(FILE_ID)
        self.finish_recalls(archive)

        with pytest.raises(NoSuchFile):
            archive.status(FILE_ID)
