"""What a digest is: of the bytes it is told of, and of no others."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import attrs
import pytest

from pacifica_archive_core.errors import NoSuchFile
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    lasting,
    refusal,
    store,
    true_digests,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pacifica_archive_core.archive import Archive, SupportsRecord
    from pacifica_archive_core.files import ArchiveReader

OLD = content("old", 5000)
NEW = content("new", 6000)
OTHER = content("other", 5000)
NAMES = ("sha-256", "md5")
THREADS = 16
#: Versions that come under those threads.
ROUNDS = 20


def put(archive: Archive, data: bytes, *names: str) -> None:
    """Store a file with its digests of these names, or of all."""
    store(archive, FILE_ID, data, digests=true_digests(data, names or NAMES))


def replace(archive: Archive, how: str, data: bytes, *names: str) -> None:
    """Put other bytes in the place of a file's, one way or another."""
    if how == "stored anew":
        archive.delete(FILE_ID)
    store(archive, FILE_ID, data, digests=true_digests(data, names))


both_ways = pytest.mark.parametrize("how", ["replaced", "stored anew"])


class DigestsContract(Declarations):
    """Digests kept by writers, adopted, recorded, and told by readers."""

    def test_digests_are_kept(self, archive: Archive) -> None:
        """Or none at all, by a store that does not keep them."""
        put(archive, OLD)

        assert self.kept(OLD, NAMES) == dict(archive.digests(FILE_ID))

    def test_digests_may_be_set_after_the_last_byte(self, archive: Archive) -> None:
        """Only then are they known."""
        with archive.create(FILE_ID) as writer:
            writer.write(OLD)
            writer.digests.update(true_digests(OLD, ["md5"]))

        assert self.kept(OLD, ["md5"]) == dict(archive.digests(FILE_ID))

    def test_a_file_without_digests_has_none(self, archive: Archive) -> None:
        """But those that the store computes."""
        store(archive, FILE_ID, OLD)

        assert self.kept(OLD) == dict(archive.digests(FILE_ID))

    def test_digests_do_not_outlive_their_version(self, archive: Archive) -> None:
        put(archive, OLD)
        store(archive, FILE_ID, NEW)

        assert self.kept(NEW) == dict(archive.digests(FILE_ID))

    def test_a_replacement_brings_only_its_own_digests(self, archive: Archive) -> None:
        put(archive, OLD)
        put(archive, NEW, "md5")

        assert self.kept(NEW, ["md5"]) == dict(archive.digests(FILE_ID))

    def test_digests_do_not_outlive_a_delete(self, archive: Archive) -> None:
        put(archive, OLD)
        archive.delete(FILE_ID)
        store(archive, FILE_ID, NEW)

        assert self.kept(NEW) == dict(archive.digests(FILE_ID))

    def test_digests_of_a_discarded_file_are_not_seen(self, archive: Archive) -> None:
        put(archive, OLD)
        writer = archive.create(FILE_ID, overwrite=True)
        writer.digests.update(true_digests(NEW, ["md5"]))
        writer.write(NEW)
        before = dict(archive.digests(FILE_ID))
        writer.discard()

        assert [self.kept(OLD, NAMES)] * 2 == [before, dict(archive.digests(FILE_ID))]

    def test_digests_set_after_the_commit_are_not_kept(self, archive: Archive) -> None:
        with archive.create(FILE_ID) as writer:
            writer.write(OLD)
        writer.digests.update(true_digests(OLD, ["md5"]))

        assert self.kept(OLD) == dict(archive.digests(FILE_ID))

    def test_digests_returned_are_not_those_stored(self, archive: Archive) -> None:
        """Who changes what was returned changes nothing in the archive."""
        put(archive, OLD)
        with archive.open(FILE_ID) as reader:
            for returned in (archive.digests(FILE_ID), reader.digests()):
                if isinstance(returned, dict):
                    returned["md5"] = b"changed"

        assert self.kept(OLD, NAMES) == dict(archive.digests(FILE_ID))

    def test_digests_outlive_the_archive(self, opener: Callable[[], Archive]) -> None:
        self.need("persistent")
        with opener() as archive:
            put(archive, OLD)
        with opener() as archive:
            found = dict(archive.digests(FILE_ID))

        assert self.kept(OLD, NAMES) == found

    # --- of one version

    def test_a_reader_has_the_digests_of_its_file(self, archive: Archive) -> None:
        """Before a byte is read, as a server wants them, and after the last."""
        put(archive, OLD)
        with archive.open(FILE_ID) as reader:
            first = dict(reader.digests())
            data = reader.readall()
            last = dict(reader.digests())

        assert [self.kept(OLD, NAMES)] * 2 == [first, last]
        assert OLD == data

    def test_a_status_has_the_digests_of_its_file(self, archive: Archive) -> None:
        put(archive, OLD)
        status = archive.status(FILE_ID)

        assert self.kept(OLD, NAMES) == dict(archive.digests_of(status))

    @both_ways
    def test_a_reader_has_no_digests_of_another_version(
        self, archive: Archive, how: str
    ) -> None:
        """Those of its own, or none: its bytes are checked with them."""
        put(archive, OLD)
        with archive.open(FILE_ID) as reader:
            replace(archive, how, NEW, *NAMES)
            found = dict(reader.digests())

        assert found in [{}, self.kept(OLD, NAMES)]

    def test_a_reader_of_a_deleted_file_has_its_own_digests_or_none(
        self, archive: Archive
    ) -> None:
        put(archive, OLD)
        with archive.open(FILE_ID) as reader:
            archive.delete(FILE_ID)
            found = dict(reader.digests())

        assert found in [{}, self.kept(OLD, NAMES)]

    @both_ways
    def test_an_old_status_has_no_digests(self, archive: Archive, how: str) -> None:
        put(archive, OLD)
        status = archive.status(FILE_ID)
        replace(archive, how, NEW, *NAMES)

        assert {} == dict(archive.digests_of(status))

    def test_a_status_of_a_deleted_file_has_no_digests(self, archive: Archive) -> None:
        put(archive, OLD)
        status = archive.status(FILE_ID)
        archive.delete(FILE_ID)

        assert {} == dict(archive.digests_of(status))

    def test_digests_are_of_the_bytes_that_were_read(self, archive: Archive) -> None:
        """By sixteen threads, while another replaces the file."""
        put(archive, OLD)

        def look(reader: ArchiveReader, data: bytes) -> bool:
            told = dict(reader.digests())
            return told == true_digests(data, told)

        found = self.while_replaced(archive, look, *NAMES)

        assert {True} == found

    def while_replaced(
        self,
        archive: Archive,
        act: Callable[[ArchiveReader, bytes], bool],
        *names: str,
    ) -> set[bool]:
        """Return what sixteen threads find when another version comes."""
        start = threading.Barrier(THREADS + 1, timeout=60)

        def work(_: int) -> set[bool]:
            found = set()
            try:
                for _n in range(ROUNDS):
                    with archive.open(FILE_ID) as reader:
                        data = reader.readall()
                        start.wait()
                        # A store may have no file for a moment: then it tells nothing.
                        with contextlib.suppress(NoSuchFile):
                            found.add(act(reader, data))
                    # Nobody opens it while it is replaced.
                    start.wait()
            except BaseException:
                # Else the others would wait for this one.
                start.abort()
                raise
            return found

        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(work, range(THREADS))
            for n in range(ROUNDS):
                start.wait()
                replace(archive, "replaced", content(n, 1000), *names)
                start.wait()
            return set().union(*found)

    # --- adopted

    def digested_source(self, archive: Archive, tmp_path: Path) -> str:
        """Return a source that digests of OLD are kept with, or skip the test."""
        self.need("keeps_digests")
        self.need_adopt(archive)
        digests = true_digests(OLD, NAMES)
        source = self.make_digested_source(archive, OLD, digests, tmp_path)
        if source is None:
            pytest.skip("lacks the ability to have a source with digests")
        return source

    def test_digests_outlive_an_adoption(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        """Where the store can tell that they are of these bytes."""
        source = self.digested_source(archive, tmp_path)
        self.need_adopt(archive).adopt(FILE_ID, source)

        assert (OLD, self.kept(OLD, NAMES)) == (
            fetch(archive, FILE_ID),
            dict(archive.digests(FILE_ID)),
        )

    def test_an_adopted_file_has_no_digests_of_bytes_that_it_had(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        """Other bytes, as many: only the time tells."""
        source = self.digested_source(archive, tmp_path)
        self.change_source(archive, source, OTHER)
        self.need_adopt(archive).adopt(FILE_ID, source)

        assert (OTHER, {}) == (
            fetch(archive, FILE_ID),
            dict(archive.digests(FILE_ID)),
        )

    # --- recorded

    def record(self, archive: Archive, *names: str) -> bool:
        """Record digests of the present version, as one who reads it does."""
        with archive.open(FILE_ID) as reader:
            digests = true_digests(reader.readall(), names)
            return self.need_record(archive).record_digests(
                FILE_ID, digests, version=reader.status.version
            )

    def recorder(self, archive: Archive, *names: str) -> SupportsRecord:
        """Return an archive that can record, with a file of OLD."""
        recorder = self.need_record(archive)
        replace(archive, "replaced", OLD, *names)
        return recorder

    def test_digests_are_recorded(self, archive: Archive) -> None:
        self.recorder(archive)
        done = self.record(archive, *NAMES)

        assert (True, self.kept(OLD, NAMES)) == (done, dict(archive.digests(FILE_ID)))

    def test_recorded_digests_are_told_with_the_status(self, archive: Archive) -> None:
        """Which may be of another version by then, once."""
        self.recorder(archive)
        self.record(archive, *NAMES)
        status = archive.status(FILE_ID)

        assert self.kept(OLD, NAMES) == dict(archive.digests_of(status))

    def test_recorded_digests_outlive_the_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        with opener() as archive:
            self.recorder(archive)
            self.record(archive, *NAMES)
        with opener() as archive:
            found = dict(archive.digests(FILE_ID))

        assert self.kept(OLD, NAMES) == found

    def test_recorded_digests_are_added_to_those_kept(self, archive: Archive) -> None:
        self.recorder(archive, "md5")
        self.record(archive, "sha-256")
        self.record(archive, "sha-512")

        assert self.kept(OLD, ["md5", "sha-256", "sha-512"]) == dict(
            archive.digests(FILE_ID)
        )

    def test_a_record_replaces_no_digest_that_is_kept(self, archive: Archive) -> None:
        """What was sent with the bytes is worth more than what they are now."""
        recorder = self.recorder(archive, "md5")
        version = archive.status(FILE_ID).version
        other = true_digests(OTHER, ["md5"])
        done = recorder.record_digests(FILE_ID, other, version=version)

        assert (True, self.kept(OLD, ["md5"])) == (
            done,
            dict(archive.digests(FILE_ID)),
        )

    def test_recorded_digests_do_not_outlive_their_version(
        self, archive: Archive
    ) -> None:
        self.recorder(archive)
        self.record(archive, *NAMES)
        store(archive, FILE_ID, NEW)

        assert self.kept(NEW) == dict(archive.digests(FILE_ID))

    @both_ways
    def test_nothing_is_recorded_with_another_version(
        self, archive: Archive, how: str
    ) -> None:
        """Though it is of the same size and time."""
        recorder = self.need_record(archive)
        store(archive, FILE_ID, OLD, mtime_ns=10**18)
        version = archive.status(FILE_ID).version
        if how == "stored anew":
            archive.delete(FILE_ID)
        store(archive, FILE_ID, OTHER, mtime_ns=10**18)
        done = recorder.record_digests(
            FILE_ID, true_digests(OLD, NAMES), version=version
        )

        assert (False, self.kept(OTHER)) == (done, dict(archive.digests(FILE_ID)))

    def test_nothing_is_recorded_with_a_missing_file(self, archive: Archive) -> None:
        recorder = self.recorder(archive)
        version = archive.status(FILE_ID).version
        archive.delete(FILE_ID)
        found = refusal(
            lambda: recorder.record_digests(
                FILE_ID, true_digests(OLD, NAMES), version=version
            )
        )

        assert NoSuchFile is type(found)

    def test_a_record_leaves_the_file_as_it_is(self, archive: Archive) -> None:
        """But for its version and the time when the store last changed it."""
        self.recorder(archive)
        before = lasting(archive.status(FILE_ID))
        self.record(archive, *NAMES)
        after = attrs.evolve(
            lasting(archive.status(FILE_ID)),
            ctime_ns=before.ctime_ns,
            version=before.version,
        )

        assert (before, OLD) == (after, fetch(archive, FILE_ID))

    def test_a_record_leaves_nothing_else(self, archive: Archive) -> None:
        self.recorder(archive, "md5")
        before = self.list_raw(archive)
        self.record(archive, "sha-256")

        assert before == self.list_raw(archive)

    def test_a_reader_goes_on_reading_when_digests_are_recorded(
        self, archive: Archive
    ) -> None:
        self.recorder(archive)
        with archive.open(FILE_ID) as reader:
            first = reader.read(10)
            self.record(archive, *NAMES)
            rest = reader.readall()

        assert OLD == first + rest

    def test_threads_record_one_file_at_once(self, archive: Archive) -> None:
        """Each its own digest, and at least one of them is kept."""
        self.recorder(archive)
        start = threading.Barrier(4, timeout=60)

        def work(name: str) -> bool:
            digests = true_digests(OLD, [name])
            recorder, status = self.need_record(archive), archive.status(FILE_ID)
            start.wait()
            return recorder.record_digests(FILE_ID, digests, version=status.version)

        names = ["sha-512", "sha-256", "md5", "adler"]
        with ThreadPoolExecutor(4) as pool:
            done = dict(zip(names, pool.map(work, names), strict=True))
        kept = [name for name in names if done[name]]

        assert (True, self.kept(OLD, kept)) == (
            bool(kept),
            dict(archive.digests(FILE_ID)),
        )

    def test_no_digest_is_recorded_with_bytes_that_it_is_not_of(
        self, archive: Archive
    ) -> None:
        """By sixteen threads, while another replaces the file."""
        recorder = self.recorder(archive)

        def record(reader: ArchiveReader, data: bytes) -> bool:
            digests = true_digests(data, NAMES)
            version = reader.status.version
            recorder.record_digests(FILE_ID, digests, version=version)
            with archive.open(FILE_ID) as now:
                told = dict(now.digests())
                return told == true_digests(now.readall(), told)

        found = self.while_replaced(archive, record)

        assert {True} == found
