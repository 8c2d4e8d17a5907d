"""Archives that are broken where others use them too; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204 (see saboteurs.py)

from __future__ import annotations

import contextlib
import os
import time

from kits import CONTRACTS
from saboteurs import Memory, Reader, Tiny, Writer, with_reader, with_writer

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileDamaged,
    FileExists,
    NoSuchFile,
)
from pacifica_archive_core.testing.sabotage import caught_by, contracts

# --- threads


@caught_by(
    "test_a_deleted_file_is_missing",
    "test_of_many_deleting_threads_one_deletes",
)
class DeletesTwice(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.seen = set()

    def _delete(self, file_id):
        if file_id not in self.seen:
            super()._delete(file_id)
        self.seen.add(file_id)

    def _store(self, writer, data):
        super()._store(writer, data)
        self.seen.discard(writer.file_id)


# --- processes


@caught_by(
    "test_a_file_over_4_gib_has_its_size",
    "test_a_file_over_4_gib_is_read_at_its_far_parts",
    "test_a_second_archive_sees_the_files",
)
class ListsTheFilesOnce(Tiny):
    """When it is opened; what others store later is missing."""

    def __init__(self, options):
        super().__init__(options)
        self.mine = {path.name for path in self.names.iterdir()}

    def switch(self, file_id, path, *, overwrite):
        super().switch(file_id, path, overwrite=overwrite)
        self.mine.add(str(file_id))

    def current(self, file_id):
        if str(file_id) not in self.mine:
            raise NoSuchFile(file_id)
        return super().current(file_id)


@caught_by(
    "test_a_killed_writer_leaves_nothing_visible",
    "test_a_local_path_is_absolute",
    "test_another_process_reads_what_was_stored",
)
class WritesWhenClosed(Tiny):
    """A cache that is written back at the end."""

    def __init__(self, options):
        super().__init__(options)
        self.late = []

    def _status(self, file_id):
        self.flush()
        return super()._status(file_id)

    def _open(self, file_id, *, recall):
        self.flush()
        return super()._open(file_id, recall=recall)

    def switch(self, file_id, path, *, overwrite):
        self.late.append((file_id, path, overwrite))

    def flush(self):
        for file_id, path, overwrite in self.late:
            super().switch(file_id, path, overwrite=overwrite)
        self.late.clear()

    def _close(self):
        self.flush()


@caught_by(
    "test_a_forked_child_opens_its_own_or_is_told",
    "test_a_second_archive_does_no_harm_to_a_writer",
    "test_an_archive_of_another_process_does_no_harm_to_a_writer",
)
class SweepsTheLiving(Tiny):
    def sweep(self):
        named = {link.readlink().name for link in self.names.iterdir()}
        for path in self.data.iterdir():
            if path.name not in named:
                path.unlink()


@caught_by(
    "test_what_a_killed_writer_left_is_swept",
)
class NeverSweeps(Tiny):
    def sweep(self):
        pass


@caught_by(
    "test_a_killed_writer_does_not_hold_its_id",
    "test_an_unreachable_store_takes_nothing",
)
class ClaimsIds(Tiny):
    """By a file that only its writer removes."""

    def _create(self, file_id, **promises):
        claim = self.options.prefix / f"{file_id}.claim"
        try:
            claim.touch(exist_ok=False)
        except FileExistsError as exc:
            raise FileExists(file_id) from exc
        writer = super()._create(file_id, **promises)
        writer.claim = claim
        writer.__class__ = _ClaimingWriter
        return writer


class _ClaimingWriter(Writer):
    def _write(self, data):
        os.write(self.fd, data)

    def _commit(self):
        self.store.switch(self.file_id, self.path, overwrite=self.overwrite)
        self.claim.unlink()
        os.close(self.fd)

    def _discard(self):
        self.claim.unlink()
        os.close(self.fd)
        self.path.unlink()


@caught_by(
    "test_a_killed_writer_leaves_nothing_visible",
    "test_an_adopted_file_is_like_any_other",
)
class IsVisibleWhileItIsWritten(Tiny):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        with contextlib.suppress(FileExists):
            self.switch(file_id, writer.path, overwrite=promises["overwrite"])
        writer.overwrite = True
        return writer


@caught_by(
    "test_a_forked_child_does_not_commit",
    "test_a_forked_child_may_not_use_a_reader",
    "test_a_forked_child_may_not_use_a_writer",
    "test_a_forked_child_may_not_use_the_archive",
)
class DoesNotNoticeAFork(Memory):
    def ensure_open(self):
        if self._closed:
            raise ValueError("the archive is closed")


@caught_by(
    "test_a_forked_child_does_not_commit",
    "test_a_forked_child_may_not_use_the_archive",
)
class DoesNotNoticeAForkOnDisk(Tiny):
    def ensure_open(self):
        if self._closed:
            raise ValueError("the archive is closed")


def discard_in_any_process(self):
    if self._state.name != "FINISHED":
        self._state = type(self._state).FINISHED
        self._discard()


@caught_by(
    "test_a_forked_child_does_not_commit",
    "test_a_forked_child_that_exits_as_programs_do_harms_nothing",
    "test_the_end_of_a_writer_in_a_forked_child_harms_nothing",
)
class DiscardsInAForkedChild(with_writer(Tiny, discard=discard_in_any_process)):
    """The child's end destroys its parent's upload."""


class _Leases(Tiny):
    """Each reader holds a lease on the medium, without which it cannot read."""

    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        reader.lease = self.options.prefix / f"{time.time_ns()}.lease"
        reader.lease.touch()
        reader.__class__ = _LeasingReader
        return reader


class _LeasingReader(Reader):
    def _readinto_at(self, view, position):
        if not self.lease.exists():
            raise FileDamaged(self.status.file_id)
        return os.preadv(self.fd, [view], position)

    def _release(self):
        self.lease.unlink(missing_ok=True)
        os.close(self.fd)

    def close(self):
        if not self.closed:
            self._release()
        super(Reader, self).close()


@caught_by(
    "test_a_forked_child_that_exits_as_programs_do_harms_nothing",
    "test_the_end_of_a_reader_in_a_forked_child_harms_nothing",
)
class ReleasesInAForkedChild(_Leases):
    pass


@caught_by(
    "test_an_archive_of_another_process_does_no_harm_to_a_writer",
    "test_files_outlive_the_archive",
    "test_what_another_process_stored_is_read",
)
class ClosesForItsParent(Tiny):
    def close(self):
        if not self._closed:
            self._closed = True
            (self.options.prefix / "closed").touch()

    def ensure_open(self):
        super().ensure_open()
        if (self.options.prefix / "closed").exists():
            raise ValueError("the archive is closed")


# --- closing


@caught_by(
    "test_a_forked_child_that_exits_as_programs_do_harms_nothing",
    "test_an_archive_closed_in_a_forked_child_stays_open",
    "test_an_archive_may_be_closed_twice",
)
class ClosesOnce(Memory):
    def close(self):
        self.ensure_open()
        super().close()


@caught_by(
    "test_a_with_block_closes_the_archive",
    "test_a_writer_of_a_closed_archive_does_not_commit",
)
class StaysOpen(Memory):
    def close(self):
        pass


@caught_by(
    "test_a_file_is_not_missing_because_its_archive_is_closed_meanwhile",
)
class ForgetsItsFilesFirst(Memory):
    def _get(self, file_id):
        try:
            return self._files[file_id]
        except KeyError as exc:
            raise NoSuchFile(file_id) from exc


@caught_by(
    "test_a_with_block_closes_the_archive",
    "test_a_writer_of_a_closed_archive_does_not_commit",
)
class DoesNotNoticeThatItIsClosed(Memory):
    def ensure_open(self):
        if self._pid != os.getpid():
            raise RuntimeError("another process")


@caught_by(
    "test_a_reader_may_be_closed_after_its_archive",
    "test_a_reader_of_a_closed_archive_fills_nothing",
    "test_a_reader_of_a_closed_archive_refuses",
)
class HasClosedReadersThatCannotBeClosed(
    with_reader(Memory, _release=lambda self: self._archive.ensure_open())
):
    pass


@caught_by(
    "test_a_writer_may_be_discarded_after_its_archive",
    "test_a_writer_of_a_closed_archive_takes_nothing",
)
class HasClosedWritersThatCannotBeDiscarded(
    with_writer(Memory, _discard=lambda self: self._archive.ensure_open())
):
    pass


@caught_by(
    "test_an_open_archive_does_not_gather_descriptors",
    "test_no_descriptor_stays_open",
)
class KeepsDescriptors(with_reader(Tiny, _release=lambda _: None)):
    pass


@caught_by(
    "test_no_descriptor_stays_open",
)
class KeepsDescriptorsOfArchives(Tiny):
    def __init__(self, options):
        super().__init__(options)
        os.open(options.prefix, os.O_RDONLY)


@caught_by(
    "test_a_closed_archive_refuses_every_method",
    "test_check_is_content_with_a_store_that_answers",
)
class IsNeverContent(Memory):
    def check(self):
        raise ArchiveUnavailable("the store does not answer")


@caught_by(
    "test_an_unreachable_store_fails_the_check",
)
class IsAlwaysContent(Tiny):
    def check(self):
        self.ensure_open()


@caught_by(
    "test_an_unreachable_store_ends_the_questions_about_many",
    "test_an_unreachable_store_fails_the_check",
    "test_an_unreachable_store_takes_nothing",
)
class TakesOutOfReachForMissing(Tiny):
    @contextlib.contextmanager
    def locked(self):
        if self.names.exists():
            with super().locked():
                yield
        else:
            yield


@caught_by(
    "test_a_file_on_disk_is_staged",
    "test_an_unreachable_store_ends_the_questions_about_many",
    "test_an_unreachable_store_is_not_a_missing_file",
)
class BlamesFilesForTheStore(Tiny):
    def status(self, file_id):
        try:
            return super().status(file_id)
        except ArchiveUnavailable as exc:
            raise FileDamaged(file_id) from exc

    stage = status


@caught_by(
    "test_the_files_are_there_when_the_store_is_back",
)
class GivesUpWhatIsOutOfReach(Tiny):
    gone = False

    @contextlib.contextmanager
    def locked(self):
        if self.gone or not self.names.exists():
            self.gone = True
            raise ArchiveUnavailable("the store is not there")
        with super().locked():
            yield


globals().update(contracts(globals(), CONTRACTS))
