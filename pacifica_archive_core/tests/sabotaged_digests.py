"""Archives that tell digests of other bytes; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, SLF001 (see saboteurs.py)

from __future__ import annotations

import threading

import attrs
from kits import CONTRACTS
from saboteurs import Memory, Tiny, with_reader

from pacifica_archive_core import Archive, NoSuchFile, SourceRefused
from pacifica_archive_core.testing.sabotage import caught_by, contracts

# --- of one version


def digests_of_the_id(self):
    """Return the digests of whatever has the id by now."""
    self._wanted(0)
    return self._archive.digests(self.status.file_id)


@caught_by(
    "test_a_reader_has_no_digests_of_another_version",
    "test_a_reader_of_a_deleted_file_has_its_own_digests_or_none",
    "test_digests_are_of_the_bytes_that_were_read",
)
class TellsReadersOfThePresentVersion(with_reader(Memory, digests=digests_of_the_id)):
    pass


def none_or_closed(self):
    self._wanted(0)
    return {}


@caught_by(
    "test_a_reader_has_the_digests_of_its_file",
    "test_a_reader_with_recall_has_the_digests_of_its_file",
    "test_digests_outlive_the_way_to_tape_and_back",
)
class TellsReadersNothing(with_reader(Memory, digests=none_or_closed)):
    pass


def digests_as_opened(self):
    return self.kept


@caught_by(
    "test_a_closed_reader_refuses",
    "test_a_forked_child_may_not_use_a_reader",
    "test_a_reader_of_a_closed_archive_refuses",
)
class TellsDigestsOfClosedReaders(with_reader(Memory, digests=digests_as_opened)):
    kept = ()

    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        reader.kept = dict(self._files[file_id].digests)
        return reader


@caught_by(
    "test_a_status_has_the_digests_of_its_file",
    "test_a_status_of_an_offline_file_has_its_digests",
    "test_recorded_digests_are_told_with_the_status",
)
class TellsStatusesNothing(Memory):
    def digests_of(self, status):
        self._ready(status.file_id)
        return {}


@caught_by(
    "test_a_reader_has_no_digests_of_another_version",
    "test_an_old_status_has_no_digests",
)
class TellsOldStatusesOfThePresentVersion(Memory):
    def digests_of(self, status):
        try:
            return self.digests(status.file_id)
        except NoSuchFile:
            return {}


@caught_by(
    "test_a_reader_of_a_deleted_file_has_its_own_digests_or_none",
    "test_a_status_of_a_deleted_file_has_no_digests",
)
class TellsStatusesThatAFileIsMissing(Memory):
    def digests_of(self, status):
        if self.status(status.file_id).version != status.version:
            return {}
        return self.digests(status.file_id)


@caught_by(
    "test_a_closed_archive_refuses_every_method",
    "test_a_forked_child_may_not_use_the_archive",
)
class TellsStatusesWhenClosed(Memory):
    def digests_of(self, status):
        file = self._files.get(status.file_id)
        return {} if file is None or file.version != status.version else file.digests


@caught_by("test_nothing_but_stage_asks_for_a_recall")
class RecallsToTellDigests(Memory):
    def digests_of(self, status):
        with self.open(status.file_id, recall=True):
            return super().digests_of(status)


def digests_stored(self):
    self._wanted(0)
    return self._archive._files[self.status.file_id].digests


@caught_by("test_digests_returned_are_not_those_stored")
class GivesItsReadersDigestsAway(with_reader(Memory, digests=digests_stored)):
    pass


@caught_by("test_digests_outlive_the_way_to_tape_and_back")
class LosesDigestsWithARecall(Memory):
    def _recall(self, file_id):
        file = super()._recall(file_id)
        self._files[file_id] = attrs.evolve(file, digests={})
        return file


# --- adopted


@caught_by("test_digests_outlive_an_adoption")
class DropsDigestsOfWhatItAdopts(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        super().adopt(file_id, source, overwrite=overwrite)
        with self.locked():
            self.note(self.current(file_id).stat()).unlink(missing_ok=True)


@caught_by("test_an_adopted_file_has_no_digests_of_bytes_that_it_had")
class TrustsDigestsOfWhatItAdopts(Tiny):
    def refuse(self, file_id, source):
        super().refuse(file_id, source)
        note = self.note(source.stat())
        if note.exists():
            # As an attribute of the file that says nothing of its time.
            digests = note.read_text("utf-8").partition("{")[2]
            found = source.stat()
            note.write_text(f"[{found.st_size}, {found.st_mtime_ns}, {{{digests}")


@caught_by("test_digests_outlive_an_adoption")
class RefusesWhatHasDigests(Tiny):
    def refuse(self, file_id, source):
        super().refuse(file_id, source)
        if self.note(source.stat()).exists():
            raise SourceRefused(file_id)


# --- recorded


@caught_by(
    "test_digests_are_recorded",
    "test_recorded_digests_are_told_with_the_status",
)
class RecordsNothing(Memory):
    def record_digests(self, file_id, digests, *, version):
        del digests
        return self.status(file_id).version == version


@caught_by("test_recorded_digests_outlive_the_archive")
class RecordsInMemory(Tiny):
    def __init__(self, options):
        super().__init__(options)
        self.recorded = {}

    def record_digests(self, file_id, digests, *, version):
        if self.status(file_id).version != version:
            return False
        self.recorded[version] = {**digests, **self.recorded.get(version, {})}
        return True

    def digests(self, file_id):
        kept = super().digests(file_id)
        return {**self.recorded.get(self.status(file_id).version, {}), **kept}


@caught_by(
    "test_no_digest_is_recorded_with_bytes_that_it_is_not_of",
    "test_nothing_is_recorded_with_another_version",
)
class RecordsWithAnyVersion(Memory):
    def record_digests(self, file_id, digests, *, version):
        del version
        present = self.status(file_id).version
        return super().record_digests(file_id, digests, version=present)


@caught_by("test_nothing_is_recorded_with_another_version")
class RecordsBySizeAndMtime(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.seen = {}

    def _status(self, file_id):
        status = super()._status(file_id)
        self.seen[status.version] = status
        return status

    def record_digests(self, file_id, digests, *, version):
        present = self.status(file_id)
        meant = self.seen.get(version)
        if meant and (meant.size, meant.mtime_ns) == (present.size, present.mtime_ns):
            version = present.version
        return super().record_digests(file_id, digests, version=version)


@caught_by(
    "test_a_record_replaces_no_digest_that_is_kept",
)
class RecordsOverWhatIsKept(Memory):
    def record_digests(self, file_id, digests, *, version):
        done = super().record_digests(file_id, digests, version=version)
        if done:
            file = self._files[file_id]
            new = attrs.evolve(file, digests={**file.digests, **digests})
            self._files[file_id] = new
        return done


@caught_by(
    "test_recorded_digests_are_added_to_those_kept",
    "test_threads_record_one_file_at_once",
)
class RecordsInsteadOfWhatIsKept(Memory):
    def record_digests(self, file_id, digests, *, version):
        done = super().record_digests(file_id, digests, version=version)
        if done:
            new = attrs.evolve(self._files[file_id], digests=dict(digests))
            self._files[file_id] = new
        return done


@caught_by("test_threads_record_one_file_at_once")
class ForgetsWhatOthersRecord(Memory):
    """What is kept is read, and written, and others do both in between."""

    def __init__(self, options):
        super().__init__(options)
        self.together = threading.Barrier(4, timeout=5)

    def record_digests(self, file_id, digests, *, version):
        kept = self.digests(file_id)
        self.together.wait()
        super().record_digests(file_id, digests, version=version)
        new = attrs.evolve(self._files[file_id], digests={**digests, **kept})
        self._files[file_id] = new
        return True


@caught_by("test_recorded_digests_do_not_outlive_their_version")
class RecordsWithTheId(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.recorded = {}

    def record_digests(self, file_id, digests, *, version):
        if self.status(file_id).version != version:
            return False
        self.recorded[file_id] = dict(digests)
        return True

    def digests(self, file_id):
        return {**self.recorded.get(file_id, {}), **super().digests(file_id)}


@caught_by("test_nothing_is_recorded_with_a_missing_file")
class RecordsNothingWithMissingFiles(Memory):
    def record_digests(self, file_id, digests, *, version):
        try:
            return super().record_digests(file_id, digests, version=version)
        except NoSuchFile:
            return False


@caught_by("test_a_record_leaves_the_file_as_it_is")
class TouchesWhatItRecords(Memory):
    def record_digests(self, file_id, digests, *, version):
        done = super().record_digests(file_id, digests, version=version)
        if done:
            self._files[file_id] = attrs.evolve(self._files[file_id], mtime_ns=7)
        return done


@caught_by(
    "test_a_reader_goes_on_reading_when_digests_are_recorded",
    "test_a_record_leaves_the_file_as_it_is",
)
class StoresAnewWhatItRecords(Tiny):
    """In the place of the bytes, and not whole."""

    def record_digests(self, file_id, digests, *, version):
        done = super().record_digests(file_id, digests, version=version)
        if done:
            with self.locked():
                self.current(file_id).write_bytes(b"")
        return done


@caught_by("test_a_record_leaves_nothing_else")
class RecordsBesideTheFile(Tiny):
    def record_digests(self, file_id, digests, *, version):
        done = super().record_digests(file_id, digests, version=version)
        (self.data / f"{file_id}.recorded").touch()
        return done


@caught_by(
    "test_a_closed_archive_refuses_every_method",
    "test_a_forked_child_may_not_use_the_archive",
    "test_what_is_no_id_is_refused_by_every_method",
)
class RecordsWhenClosed(Memory):
    def record_digests(self, file_id, digests, *, version):
        file = self._files.get(file_id)
        if file is None:
            raise NoSuchFile(file_id)
        return file.version == version and bool(digests)


@caught_by("test_a_file_without_digests_has_none")
class AddsDigestsUnasked(Memory):
    """Which only a store may that says so."""

    def digests(self, file_id):
        return {"adler": bytes(4), **super().digests(file_id)}


@caught_by("test_digests_are_kept")
class KeepsOneDigest(Memory):
    def digests(self, file_id):
        return dict(list(super().digests(file_id).items())[:1])


@caught_by("test_digests_are_recorded")
class HidesWhatItRecords(Memory):
    digests = Archive.digests


globals().update(contracts(globals(), CONTRACTS))
