"""Archives whose tape and paths are broken on purpose; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, ARG002 (see saboteurs.py)

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import attrs
from kits import CONTRACTS
from saboteurs import Memory, Tiny, with_status

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileExists,
    FileOffline,
    Media,
    NoSuchFile,
    Residency,
    SourceRefused,
    StorageLevel,
)
from pacifica_archive_core.testing.sabotage import caught_by, contracts

# --- tape


@caught_by(
    "test_an_error_is_of_the_most_exact_class",
    "test_an_offline_file_is_not_opened",
    "test_nothing_but_stage_asks_for_a_recall",
)
class OpensWhatIsOffline(Memory):
    def _open(self, file_id, *, recall):
        return super()._open(file_id, recall=True)


@caught_by(
    "test_an_offline_file_is_said_to_be_on_tape",
    "test_nothing_but_stage_asks_for_a_recall",
)
class TakesTapeForDisk(
    with_status(Memory, lambda _, s: attrs.evolve(s, residency=Residency.DISK))
):
    pass


def size_on_disk(_, status):
    return attrs.evolve(status, size=status.levels[0].size)


@caught_by(
    "test_an_offline_file_keeps_its_size",
)
class HasTheSizeOnDisk(with_status(Memory, size_on_disk)):
    pass


def version_of_residency(_, status):
    return attrs.evolve(status, version=f"{status.version}-{status.residency.name}")


@caught_by(
    "test_the_version_stays_on_the_way_to_tape_and_back",
)
class HasAnotherVersionOnTape(with_status(Memory, version_of_residency)):
    pass


def disk_only(_, status):
    return attrs.evolve(status, levels=(StorageLevel(Media.DISK, status.size),))


@caught_by(
    "test_the_levels_of_an_offline_file_have_it_on_tape",
)
class KnowsNoTape(with_status(Memory, disk_only)):
    pass


@caught_by(
    "test_an_offline_file_has_its_digests",
)
class LosesDigestsOfTape(Memory):
    def digests(self, file_id):
        found = super().digests(file_id)
        return found if self._files[file_id].on_disk else {}


@caught_by(
    "test_nothing_but_stage_asks_for_a_recall",
)
class RecallsOnLooking(Memory):
    def _status(self, file_id):
        status = super()._status(file_id)
        self._asked_for.add(file_id)
        return status


@caught_by(
    "test_nothing_but_stage_asks_for_a_recall",
)
class RecallsOnAFailedOpen(Memory):
    def _open(self, file_id, *, recall):
        try:
            return super()._open(file_id, recall=recall)
        except FileOffline:
            self._asked_for.add(file_id)
            raise


@caught_by(
    "test_stage_many_brings_back_those_asked_for",
    "test_stage_of_an_offline_file_says_that_it_is_not_done",
)
class SaysThatAStageIsDone(Memory):
    def _stage(self, file_id):
        super()._stage(file_id)
        return True


@caught_by(
    "test_stage_many_brings_back_those_asked_for",
    "test_stage_of_an_offline_file_says_that_it_is_not_done",
)
class StagesOnce(Memory):
    def _stage(self, file_id):
        if file_id in self._asked_for:
            raise ArchiveUnavailable("it was asked for already")
        return super()._stage(file_id)


@caught_by(
    "test_a_staged_file_comes_back",
    "test_stage_many_brings_back_those_asked_for",
)
class ForgetsWhatWasAskedFor(Memory):
    def _stage(self, file_id):
        online = super()._stage(file_id)
        self._asked_for.discard(file_id)
        return online


@caught_by(
    "test_many_answer_before_the_last_is_asked",
    "test_stage_many_brings_back_those_asked_for",
)
class StagesAllOfMany(Memory):
    def stage_many(self, file_ids):
        answers = list(super().stage_many(file_ids))
        self._asked_for.update(self._files)
        return iter(answers)


@caught_by(
    "test_a_reader_with_recall_has_the_status_of_what_it_reads",
    "test_open_with_recall_serves_an_offline_file",
)
class NeverRecalls(Memory):
    def _open(self, file_id, *, recall):
        return super()._open(file_id, recall=False)


@caught_by(
    "test_a_reader_with_recall_has_the_status_of_what_it_reads",
)
class HasTheStatusBeforeTheRecall(Memory):
    def _open(self, file_id, *, recall):
        before = self._status(file_id)
        reader = super()._open(file_id, recall=recall)
        reader.status = before
        return reader


@caught_by(
    "test_a_late_recall_does_not_undo_a_delete",
    "test_an_offline_file_is_deleted",
)
class DeletesOnlyWhatIsOnline(Memory):
    def _delete(self, file_id):
        if not self._get(file_id).on_disk:
            raise FileOffline(file_id)
        super()._delete(file_id)


@caught_by(
    "test_an_offline_file_is_deleted_without_a_recall",
    "test_questions_make_no_reader",
)
class RecallsWhatItDeletes(Memory):
    def _delete(self, file_id):
        self.open(file_id, recall=True).close()
        super()._delete(file_id)


@caught_by(
    "test_a_late_recall_does_not_undo_a_replacement",
    "test_an_offline_file_is_replaced",
)
class ReplacesOnlyWhatIsOnline(Memory):
    def _store(self, writer, data):
        file = self._files.get(writer.file_id)
        super()._store(writer, data)
        if file and not file.on_disk:
            new = attrs.evolve(self._files[writer.file_id], on_disk=False)
            self._files[writer.file_id] = new


@caught_by(
    "test_a_late_recall_does_not_undo_a_delete",
    "test_a_late_recall_does_not_undo_a_replacement",
)
class RecallsTheOldBytes(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.on_their_way = {}

    def _stage(self, file_id):
        online = super()._stage(file_id)
        self.on_their_way[file_id] = self._files[file_id]
        return online

    def finish_recalls(self):
        super().finish_recalls()
        for file_id, file in self.on_their_way.items():
            self._files[file_id] = attrs.evolve(file, on_disk=True)


# --- adopting


@caught_by(
    "test_a_source_is_adopted_once",
    "test_an_adopted_file_is_moved",
)
class CopiesWhatItAdopts(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        self._ready(file_id)
        self.refuse(file_id, Path(source))
        with self.create(file_id, overwrite=overwrite) as writer:
            writer.write(Path(source).read_bytes())


@caught_by(
    "test_an_adopted_file_is_in_the_archive",
    "test_an_adopted_file_is_like_any_other",
    "test_an_adopted_file_replaces_another",
)
class CutsWhatItAdopts(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        self._ready(file_id)
        self.refuse(file_id, Path(source))
        os.truncate(source, 100)
        super().adopt(file_id, source, overwrite=overwrite)


@caught_by(
    "test_a_source_that_is_not_adopted_stays",
    "test_a_taken_id_does_not_adopt",
)
class AdoptsOverOthers(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        super().adopt(file_id, source, overwrite=True)


@caught_by(
    "test_a_reader_keeps_its_version_when_another_is_adopted",
    "test_an_adopted_file_is_another_version",
    "test_an_adopted_file_replaces_another",
)
class NeverAdoptsOverOthers(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        super().adopt(file_id, source)


@caught_by(
    "test_a_source_that_is_not_adopted_stays",
)
class LosesWhatItDoesNotAdopt(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        try:
            super().adopt(file_id, source, overwrite=overwrite)
        except FileExists:
            Path(source).unlink()
            raise


@caught_by(
    "test_a_reader_keeps_its_version_when_another_is_adopted",
    "test_a_taken_id_does_not_adopt",
)
class AdoptsIntoThePresentVersion(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        self._ready(file_id)
        self.refuse(file_id, Path(source))
        try:
            present = self.current(file_id)
        except NoSuchFile:
            super().adopt(file_id, source)
        else:
            present.write_bytes(Path(source).read_bytes())


@caught_by(
    "test_a_relative_source_is_refused",
    "test_an_archived_file_is_not_adopted",
    "test_an_empty_source_is_refused",
)
class AdoptsAnything(Tiny):
    """As release 0.4.2."""

    def refuse(self, file_id, source):
        if not source.exists():
            raise SourceRefused(file_id)


@caught_by(
    "test_a_refused_source_replaces_nothing",
    "test_a_source_outside_is_not_reached_by_dots",
    "test_what_is_no_path_at_all_is_refused",
    "test_what_may_not_be_adopted_is_refused",
)
class AdoptsByName(Tiny):
    """The path is compared as text, before dots and links are looked at."""

    def refuse(self, file_id, source):
        if not source.is_file() or not str(source).startswith(str(self.inbox)):
            raise SourceRefused(file_id)


@caught_by(
    "test_a_refused_source_is_not_named",
    "test_an_error_says_no_path_and_no_secret",
)
class SaysWhatItRefuses(Tiny):
    def refuse(self, file_id, source):
        try:
            super().refuse(file_id, source)
        except SourceRefused as exc:
            raise SourceRefused(file_id, f"{source} is refused") from exc


@caught_by(
    "test_a_relative_source_is_refused",
)
class AdoptsRelativePaths(Tiny):
    def refuse(self, file_id, source):
        super().refuse(file_id, source.absolute())


@caught_by(
    "test_what_is_no_path_at_all_is_refused",
    "test_what_may_not_be_adopted_is_refused",
)
class PassesOnWhatSystemCallsRaise(Tiny):
    def refuse(self, file_id, source):
        source.lstat()
        super().refuse(file_id, source)


@caught_by(
    "test_a_file_does_not_adopt_itself",
    "test_a_refused_source_replaces_nothing",
)
class RemovesBeforeItRefuses(Tiny):
    def refuse(self, file_id, source):
        with contextlib.suppress(NoSuchFile):
            self._delete_unlocked(file_id)
        super().refuse(file_id, source)

    def _delete_unlocked(self, file_id):
        self.current(file_id).unlink()
        (self.names / str(file_id)).unlink()


@caught_by(
    "test_a_closed_archive_does_not_adopt",
)
class AdoptsWhenClosed(Tiny):
    def adopt(self, file_id, source, *, overwrite=False):
        closed, self._closed = self._closed, False
        try:
            super().adopt(file_id, source, overwrite=overwrite)
        finally:
            self._closed = closed


# --- local paths


@caught_by(
    "test_a_local_path_is_absolute",
)
class HasRelativePaths(Tiny):
    def local_path(self, file_id):
        return Path(os.path.relpath(super().local_path(file_id)))


@caught_by(
    "test_a_local_path_is_of_the_present_version",
)
class RemembersPaths(Tiny):
    def __init__(self, options):
        super().__init__(options)
        self.paths = {}

    def local_path(self, file_id):
        path = self.paths.setdefault(file_id, super().local_path(file_id))
        if not path.exists():
            path.write_bytes(b"old")
        return path


@caught_by(
    "test_an_unfinished_file_has_no_local_path",
)
class HasPathsBeforeTheCommit(Tiny):
    def local_path(self, file_id):
        try:
            return super().local_path(file_id)
        except NoSuchFile:
            for path in self.data.iterdir():
                return path
            raise


@caught_by(
    "test_a_local_path_holds_the_bytes",
    "test_a_local_path_is_of_the_present_version",
)
class HasPathsOfSomethingElse(Tiny):
    def local_path(self, file_id):
        return super().local_path(file_id).parent / "..//lock"


globals().update(contracts(globals(), CONTRACTS))
