"""Archives whose trash is broken on purpose; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, ARG002 (see saboteurs.py)

from __future__ import annotations

import contextlib
import os
import time

import attrs
from kits import CONTRACTS
from saboteurs import Memory, Tiny, with_reader

from pacifica_archive_core import FileDamaged, FileExists, NoSuchFile, Trashed
from pacifica_archive_core.testing.sabotage import caught_by, contracts


def evolving(**changes):
    """Return a base that changes what it trashes."""

    class Evolving(Memory):
        def trash(self, file_id):
            super().trash(file_id)
            key = max(key for key in self._trash if key[0] == file_id)
            made = {name: change(self._trash[key]) for name, change in changes.items()}
            self._trash[key] = attrs.evolve(self._trash[key], **made)

    return Evolving


# --- there and back


@caught_by(
    "test_a_trashed_file_is_missing",
    "test_the_id_of_a_trashed_file_is_free",
    "test_many_threads_lose_no_file_of_the_trash",
)
class CopiesIntoTheTrash(Memory):
    def trash(self, file_id):
        file = self._files.get(int(file_id))
        super().trash(file_id)
        self._files[int(file_id)] = file


@caught_by(
    "test_a_trashed_file_comes_back_whole",
    "test_an_undeleted_file_is_as_it_was",
)
class CutsWhatItTrashes(evolving(data=lambda file: file.data[:100])):
    pass


@caught_by("test_an_empty_trashed_file_comes_back")
class TakesEmptyForNothing(Memory):
    def trash(self, file_id):
        if self._get(self._ready(file_id)).data:
            super().trash(file_id)
        else:
            self.delete(file_id)

    def undelete(self, file_id, *, deleted_ns=None):
        with contextlib.suppress(NoSuchFile):
            super().undelete(file_id, deleted_ns=deleted_ns)


@caught_by("test_an_undeleted_file_is_as_it_was")
class StampsWhatItTrashes(evolving(mtime_ns=lambda _: time.time_ns())):
    pass


@caught_by("test_an_undeleted_file_has_its_digests")
class LosesDigestsInTheTrash(evolving(digests=lambda _: {})):
    pass


@caught_by(
    "test_an_undeleted_file_is_like_any_other",
    "test_an_undeleted_file_is_no_longer_in_the_trash",
    "test_of_many_undeleting_threads_one_undeletes",
)
class KeepsWhatItGivesBack(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        trash = dict(self._trash)
        super().undelete(file_id, deleted_ns=deleted_ns)
        self._trash = trash


def read_stored(self, size, position):
    if self.status.file_id not in self._archive._files:  # noqa: SLF001 (broken)
        raise FileDamaged(self.status.file_id)
    return self._data[position : position + size]


@caught_by("test_a_reader_reads_on_when_its_file_is_trashed")
class EndsReaders(with_reader(Memory, _read_at=read_stored)):
    pass


@caught_by(
    "test_a_writer_of_a_trashed_file_goes_on",
    "test_files_of_one_id_are_all_kept_in_the_trash",
)
class ReplacesWhatIsTrashed(Memory):
    def _store(self, writer, data):
        super()._store(writer, data)
        self._trash = {
            key: file for key, file in self._trash.items() if key[0] != writer.file_id
        }


@caught_by("test_other_files_are_not_trashed")
class TrashesNeighbours(Memory):
    def trash(self, file_id):
        super().trash(file_id)
        for other in list(self._files):
            if f"{other:x}".endswith(f"{file_id:x}"):
                super().trash(other)


# --- what is refused


@caught_by(
    "test_a_taken_id_is_not_undeleted",
    "test_an_undelete_that_is_refused_harms_neither_file",
)
class UndeletesOverOthers(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        try:
            super().undelete(file_id, deleted_ns=deleted_ns)
        except FileExists:
            self.delete(file_id)
            super().undelete(file_id, deleted_ns=deleted_ns)


@caught_by("test_an_undelete_that_is_refused_harms_neither_file")
class LosesWhatItDoesNotGiveBack(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        try:
            super().undelete(file_id, deleted_ns=deleted_ns)
        except FileExists:
            del self._trash[max(key for key in self._trash if key[0] == file_id)]
            raise


@caught_by("test_a_file_of_another_id_is_not_undeleted")
class UndeletesByTheFirstDigits(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        file_id = self._ready(file_id)
        for key in sorted(self._trash, reverse=True):
            if str(key[0]).startswith(str(file_id)):
                self._files[file_id] = self._trash.pop(key)
                return
        raise NoSuchFile(file_id)


# --- several of one id


@caught_by(
    "test_files_of_one_id_are_all_kept_in_the_trash",
    "test_a_file_is_taken_back_by_the_time_of_its_deletion",
)
class KeepsTheLastOnly(Memory):
    def trash(self, file_id):
        super().trash(file_id)
        last = max(key for key in self._trash if key[0] == file_id)
        for key in [key for key in self._trash if key[0] == file_id and key < last]:
            del self._trash[key]


@caught_by("test_files_of_one_id_are_all_kept_in_the_trash")
class GivesBackTheFirst(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        times = self._times(file_id)
        super().undelete(file_id, deleted_ns=deleted_ns or min(times, default=None))


@caught_by(
    "test_a_file_is_taken_back_by_the_time_of_its_deletion",
    "test_another_time_takes_no_file_back",
)
class IgnoresTheTime(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        super().undelete(file_id)


@caught_by("test_a_clock_that_does_not_go_on_loses_no_trashed_file")
class TrustsTheClock(Memory):
    def trash(self, file_id):
        file_id = self._ready(file_id)
        with self._lock:
            self._get(file_id)
            self._trash[file_id, time.time_ns()] = self._files.pop(file_id)


# --- the list


@caught_by("test_the_trash_says_what_is_in_it")
class KnowsNoSizes(Memory):
    def trashed(self):
        return (attrs.evolve(one, size=0) for one in super().trashed())


@caught_by("test_a_trash_that_was_never_used_is_empty")
class ListsWhatIsStored(Memory):
    def trashed(self):
        yield from super().trashed()
        for file_id in self._files:
            yield Trashed(file_id=file_id, deleted_ns=0, size=0)


# --- destroying


@caught_by("test_emptying_destroys_what_is_older")
class DestroysWhatIsOfThatTime(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        return super().empty_trash(before_ns + 1, limit=limit)


@caught_by("test_emptying_destroys_what_is_older")
class DestroysEverything(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        return super().empty_trash(2**63, limit=limit)


@caught_by("test_emptying_goes_no_further_than_its_limit")
class KnowsNoLimit(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        return super().empty_trash(before_ns)


@caught_by("test_emptying_goes_no_further_than_its_limit")
class TakesZeroForNoLimit(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        return super().empty_trash(before_ns, limit=limit or None)


@caught_by("test_emptying_leaves_what_is_stored")
class DestroysByTheId(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        for file_id, _ in self._trash:
            self._files.pop(file_id, None)
        return super().empty_trash(before_ns, limit=limit)


@caught_by("test_what_was_destroyed_does_not_come_back")
class OnlyHidesWhatItDestroys(Memory):
    hidden_ns = 0

    def empty_trash(self, before_ns, *, limit=None):
        self.hidden_ns = before_ns
        return len(self._trash)

    def trashed(self):
        return (one for one in super().trashed() if one.deleted_ns >= self.hidden_ns)


@caught_by("test_destroying_takes_the_bytes_off_the_medium")
class LeavesTheBytes(Tiny):
    def empty_trash(self, before_ns, *, limit=None):
        links = list(self.bin.iterdir())
        for link in links:
            link.unlink()
        return len(links)


@caught_by("test_emptying_goes_no_further_than_its_limit")
class DestroysInTheOrderOfIds(Memory):
    def empty_trash(self, before_ns, *, limit=None):
        old = sorted(key for key in self._trash if key[1] < before_ns)[:limit]
        for key in old:
            del self._trash[key]
        return len(old)


@caught_by("test_emptying_goes_no_further_than_its_limit")
class DestroysDirectoryByDirectory(Memory):
    """The oldest first in each, and of those that of the oldest one first."""

    def empty_trash(self, before_ns, *, limit=None):
        directories = list(dict.fromkeys(file_id for file_id, _ in self._trash))
        old = sorted(
            (key for key in self._trash if key[1] < before_ns),
            key=lambda key: (directories.index(key[0]), key[1]),
        )[:limit]
        for key in old:
            del self._trash[key]
        return len(old)


# --- tape


@caught_by("test_a_file_on_tape_stays_there_in_the_trash")
class HasTrashOnDisk(evolving(on_disk=lambda _: True)):
    pass


@caught_by(
    "test_a_file_on_tape_stays_there_in_the_trash",
    "test_a_file_on_tape_is_trashed_without_opening_it",
)
class RecallsWhatItTrashes(Memory):
    def trash(self, file_id):
        self.open(file_id, recall=True).close()
        super().trash(file_id)


@caught_by("test_an_undeleted_file_is_staged_from_tape")
class LosesTheTape(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.lost = set()

    def undelete(self, file_id, *, deleted_ns=None):
        super().undelete(file_id, deleted_ns=deleted_ns)
        self.lost.add(file_id)

    def _stage(self, file_id):
        return file_id not in self.lost and super()._stage(file_id)


@caught_by("test_a_late_recall_does_not_undo_a_trash")
class RecallsOutOfTheTrash(Memory):
    def trash(self, file_id):
        asked = set(self._asked_for)
        super().trash(file_id)
        self._asked_for = asked

    def finish_recalls(self):
        for file_id in self._asked_for:
            if file_id not in self._files:
                self.undelete(file_id)
        super().finish_recalls()


# --- many at once


@caught_by(
    "test_of_many_trashing_threads_one_trashes",
    "test_a_trashed_file_is_missing",
)
class TrashesWhatIsNotThere(Memory):
    def trash(self, file_id):
        with contextlib.suppress(NoSuchFile):
            super().trash(file_id)


@caught_by(
    "test_of_many_undeleting_threads_one_undeletes",
    "test_a_taken_id_is_not_undeleted",
)
class GivesBackWhatIsNotThere(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        with contextlib.suppress(NoSuchFile, FileExists):
            super().undelete(file_id, deleted_ns=deleted_ns)


# --- other archives and processes


@caught_by(
    "test_a_second_archive_sees_the_trash",
    "test_the_trash_outlives_the_archive",
)
class HasATrashOfItsOwn(Tiny):
    def __init__(self, options):
        super().__init__(options)
        self.bin = options.prefix / f"trash.{time.monotonic_ns()}"
        self.bin.mkdir()


@caught_by("test_a_killed_process_leaves_a_file_in_the_trash_or_at_its_id")
class TrashesInTwoSteps(Tiny):
    def trash(self, file_id):
        with self.locked():
            path = self.current(file_id)
            (self.names / str(file_id)).unlink()
            time.sleep(0.02)
            link = self.bin / f"{file_id}.{time.time_ns()}"
            link.symlink_to(f"../data/{path.name}")


@caught_by("test_a_killed_process_leaves_a_file_in_the_trash_or_at_its_id")
class UndeletesInTwoSteps(Tiny):
    """The second of which comes late."""

    def undelete(self, file_id, *, deleted_ns=None):
        with self.locked():
            link = self.bin / f"{file_id}.{max(self.times(file_id))}"
            (self.names / str(file_id)).symlink_to(f"../data/{link.readlink().name}")

    def trash(self, file_id):
        time.sleep(0.02)
        for link in self.bin.glob(f"{file_id}.*"):
            link.unlink()
        super().trash(file_id)


@caught_by("test_a_forked_child_may_not_use_the_trash")
class DoesNotNoticeAForkInTheTrash(Memory):
    def ensure_open(self):
        if self._closed:
            raise ValueError("the archive is closed")


# --- the store and its end


@caught_by("test_a_closed_archive_has_no_trash_to_show")
class ShowsTheTrashWhenClosed(Memory):
    def ensure_open(self):
        if self._pid != os.getpid():
            raise RuntimeError("another process")


@caught_by(
    "test_a_trashed_file_is_not_missing_because_its_archive_is_closed_meanwhile",
)
class ForgetsItsTrashFirst(Memory):
    def undelete(self, file_id, *, deleted_ns=None):
        file_id = self._ready(file_id)
        if not self._times(file_id):
            raise NoSuchFile(file_id)


@caught_by("test_the_trash_of_an_unreachable_store_is_not_empty")
class TakesOutOfReachForEmpty(Tiny):
    def trashed(self):
        return super().trashed() if self.bin.exists() else iter(())


globals().update(contracts(globals(), CONTRACTS))
