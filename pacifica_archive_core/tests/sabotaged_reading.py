"""Archives whose readers and versions are broken on purpose; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, SLF001 (see saboteurs.py)

from __future__ import annotations

import itertools
import os

import attrs
from kits import CONTRACTS
from saboteurs import (
    Memory,
    Reader,
    Tiny,
    with_reader,
    with_status,
    with_writer,
)

from pacifica_archive_core import FileDamaged
from pacifica_archive_core.testing.sabotage import caught_by, contracts

# --- reading


@caught_by(
    "test_a_read_moves_the_position_by_its_bytes",
    "test_a_reader_begins_at_the_start",
)
class BeginsAtTheSecondByte(Memory):
    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        reader._position = 1
        return reader


def read_and_slip(self, size=-1):
    block = Reader.read(self, size)
    self._position += 1 if 0 < len(block) < self.status.size else 0
    return block


@caught_by(
    "test_a_read_moves_the_position_by_its_bytes",
    "test_reads_of_any_size_make_the_file",
    "test_sixteen_threads_read_one_file",
)
class SlipsAByteBetweenReads(with_reader(Memory, read=read_and_slip)):
    pass


@caught_by(
    "test_an_error_after_the_commit_does_not_undo_it",
    "test_overwrite_needs_no_file",
    "test_what_lies_on_the_medium_is_read",
)
class ReadsAllAsOneBlock(
    with_reader(Memory, readall=lambda self: Reader.read(self, 4096))
):
    pass


@caught_by(
    "test_behind_the_end_there_is_nothing",
    "test_the_end_stays_the_end",
)
class ReadsAllFromTheStart(
    with_reader(Memory, readall=lambda self: self.seek(0) or Reader.readall(self))
):
    pass


def read_zero_to_the_end(self, size=-1):
    if size == 0:
        self._position = self.status.size
    return Reader.read(self, size)


@caught_by(
    "test_a_read_of_nothing_is_not_the_end",
)
class EndsAfterAReadOfNothing(with_reader(Memory, read=read_zero_to_the_end)):
    pass


def rewind(self, size):
    if self._position == self.status.size > 0 and size:
        self._position = 0
        return 0
    return Reader._wanted(self, size)


@caught_by(
    "test_the_end_stays_the_end",
)
class BeginsAgainAfterTheEnd(with_reader(Memory, _wanted=rewind)):
    pass


@caught_by(
    "test_a_read_without_size_reads_to_the_end",
    "test_a_wrong_seek_moves_nothing",
    "test_behind_the_end_there_is_nothing",
    "test_readall_reads_from_the_position",
)
class SwapsTheArgumentsOfSeek(
    with_reader(
        Memory, seek=lambda self, offset, whence=0: Reader.seek(self, whence, offset)
    )
):
    """As release 0.4.2 did on HPSS."""


@caught_by(
    "test_a_wrong_seek_moves_nothing",
    "test_readinto_stops_at_the_end",
    "test_seek_moves_to_where_it_says",
)
class SeeksAlwaysFromTheStart(
    with_reader(
        Memory, seek=lambda self, offset, _=0: Reader.seek(self, max(0, offset))
    )
):
    pass


@caught_by(
    "test_behind_the_end_there_is_nothing",
)
class StopsSeeksAtTheEnd(
    with_reader(
        Memory,
        seek=lambda self, offset, whence=0: Reader.seek(
            self, min(offset, self.status.size), whence
        ),
    )
):
    pass


def seek_then_check(self, offset, whence=0):
    try:
        return Reader.seek(self, offset, whence)
    except ValueError:
        self._position = 0
        raise


@caught_by(
    "test_a_wrong_seek_moves_nothing",
)
class MovesOnAWrongSeek(with_reader(Memory, seek=seek_then_check)):
    pass


def say_only(self, view, position):
    return min(len(view), len(self._data) - position)


@caught_by(
    "test_readinto_fills_a_bytearray",
    "test_readinto_refuses_a_read_only_buffer",
)
class FillsNothing(with_reader(Memory, _readinto_at=say_only)):
    pass


def fill_the_object(self, buffer):
    whole = buffer.obj if isinstance(buffer, memoryview) else buffer
    return Reader.readinto(self, whole)


@caught_by(
    "test_a_buffered_reader_may_stand_on_it",
    "test_readinto_keeps_to_its_slice",
)
class FillsBesideTheSlice(with_reader(Memory, readinto=fill_the_object)):
    pass


def count_items(self, buffer):
    count = Reader.readinto(self, buffer)
    return min(count, len(buffer))


@caught_by(
    "test_readinto_counts_bytes_not_items",
)
class CountsItemsOfTheBuffer(with_reader(Memory, readinto=count_items)):
    pass


def fill_nothing_to_the_end(self, buffer):
    if not memoryview(buffer).nbytes:
        self._position = self.status.size
    return Reader.readinto(self, buffer)


@caught_by(
    "test_readinto_of_nothing_does_nothing",
)
class EndsAfterFillingNothing(with_reader(Memory, readinto=fill_nothing_to_the_end)):
    pass


def fill_up(self, buffer):
    count = Reader.readinto(self, buffer)
    if 0 < count < memoryview(buffer).nbytes:
        memoryview(buffer).cast("B")[count:] = bytes(memoryview(buffer).nbytes - count)
    return count


@caught_by(
    "test_readinto_stops_at_the_end",
)
class FillsUpWithZeros(with_reader(Memory, readinto=fill_up)):
    pass


def fill_and_hold(self, buffer):
    self.held = memoryview(buffer)
    return Reader.readinto(self, buffer)


@caught_by(
    "test_readinto_keeps_no_hold_of_the_buffer",
)
class HoldsTheReadersBuffer(with_reader(Memory, readinto=fill_and_hold)):
    pass


def fill_if_allowed(self, buffer):
    return 0 if memoryview(buffer).readonly else Reader.readinto(self, buffer)


@caught_by(
    "test_readinto_refuses_a_read_only_buffer",
)
class PassesOverReadOnlyBuffers(with_reader(Memory, readinto=fill_if_allowed)):
    pass


@caught_by(
    "test_a_closed_reader_refuses",
    "test_a_reader_reads_seeks_and_does_not_write",
)
class SaysThatItIsNotReadable(with_reader(Memory, readable=lambda _: False)):
    pass


@caught_by(
    "test_a_reader_reads_seeks_and_does_not_write",
)
class SaysThatItIsWritable(with_reader(Memory, writable=lambda _: True)):
    pass


_positions: dict[tuple[int, int], int] = {}


def shared_position():
    def key(self):
        return id(self._archive), self.status.file_id

    return property(
        lambda self: _positions.get(key(self), 0),
        lambda self, value: _positions.__setitem__(key(self), value),
    )


@caught_by(
    "test_sixteen_threads_read_one_file",
    "test_the_file_is_there_when_commit_returns",
    "test_the_old_version_stands_until_the_commit",
)
class SharesThePosition(with_reader(Memory, _position=shared_position())):
    pass


def fileno_of_nothing(self):
    if not hasattr(self, "nothing"):
        self.nothing = open(os.devnull)  # noqa: PTH123, SIM115 (closed with the reader)
    return self.nothing.fileno()


def release_nothing(self):
    if hasattr(self, "nothing"):
        self.nothing.close()
    os.close(self.fd)


@caught_by(
    "test_fileno_is_a_descriptor_of_the_very_bytes",
)
class HasTheWrongDescriptor(
    with_reader(Tiny, fileno=fileno_of_nothing, _release=release_nothing)
):
    pass


@caught_by(
    "test_a_reader_carries_the_status_of_its_file",
    "test_a_reader_keeps_its_status",
)
class HasAnOldStatusInItsReaders(Memory):
    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        reader.status = attrs.evolve(reader.status, version="old")
        return reader


def damaged_if_empty(self, size):
    if size and not self.status.size:
        raise FileDamaged(self.status.file_id)
    return Reader._wanted(self, size)


@caught_by(
    "test_an_empty_file_is_at_its_end",
)
class TakesEmptyForDamaged(with_reader(Memory, _wanted=damaged_if_empty)):
    pass


def wanted_though_closed(self, size):
    return max(0, min(size, self.status.size - self._position))


@caught_by(
    "test_a_closed_reader_does_not_seek",
    "test_a_closed_reader_fills_nothing",
)
class ReadsWhenClosed(
    with_reader(Memory, _wanted=wanted_though_closed, _release=lambda _: None)
):
    pass


def close_once(self):
    if self.closed:
        raise ValueError("the reader is closed")
    Reader.close(self)


@caught_by(
    "test_a_reader_may_be_closed_twice",
    "test_two_readers_of_one_file_are_independent",
)
class ClosesReadersOnce(with_reader(Memory, close=close_once)):
    pass


@caught_by(
    "test_a_forgotten_reader_is_warned_about",
)
class ForgetsReadersSilently(with_reader(Memory, __del__=lambda self: self.close())):
    pass


@caught_by(
    "test_an_unfinished_file_is_never_seen",
    "test_an_unfinished_file_leaves_nothing",
)
class ForgetsWritersSilently(with_writer(Memory, __del__=lambda self: self.discard())):
    pass


@caught_by(
    "test_a_reader_reads_from_the_medium",
)
class RemembersWhatItWrote(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.cache = {}

    def _store(self, writer, data):
        super()._store(writer, data)
        self.cache[writer.file_id] = data

    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        reader._data = self.cache.get(file_id, reader._data)
        return reader


# --- versions and digests


def read_live(self, size, position):
    return self._archive._files[self.status.file_id].data[position : position + size]


@caught_by(
    "test_a_reader_keeps_its_version_when_it_is_deleted",
    "test_a_reader_keeps_its_version_when_it_is_replaced",
    "test_readers_of_three_versions_read_three_files",
)
class ReadsThePresentVersion(with_reader(Memory, _read_at=read_live)):
    pass


def live_status():
    return property(
        lambda self: self._archive.status(self._status.file_id),
        lambda self, status: setattr(self, "_status", status),
    )


@caught_by(
    "test_a_reader_keeps_its_status",
    "test_a_reader_keeps_its_version_when_it_is_deleted",
)
class AsksAgainForTheStatus(Memory):
    def _open(self, file_id, *, recall):
        reader = super()._open(file_id, recall=recall)
        status = reader.status
        del reader.status
        reader.__class__ = type("Reader", (type(reader),), {"status": live_status()})
        reader.status = status
        return reader


@caught_by(
    "test_a_file_stored_anew_is_another_version",
    "test_a_replacement_of_equal_size_and_mtime_is_another_version",
    "test_versions_do_not_come_back",
)
class HasOneVersion(with_status(Memory, lambda _, s: attrs.evolve(s, version="1"))):
    pass


@caught_by(
    "test_an_adopted_file_is_another_version",
    "test_versions_do_not_come_back_in_another_archive",
)
class HasOneVersionOnDisk(with_status(Tiny, lambda _, s: attrs.evolve(s, version="1"))):
    pass


@caught_by(
    "test_a_file_stored_anew_is_another_version",
    "test_a_replacement_of_equal_size_and_mtime_is_another_version",
)
class MakesVersionsOfSizeAndMtime(
    with_status(Memory, lambda _, s: attrs.evolve(s, version=f"{s.size}-{s.mtime_ns}"))
):
    pass


@caught_by(
    "test_a_file_stored_anew_is_another_version",
    "test_versions_do_not_come_back",
)
class UsesVersionsAgain(
    with_status(Memory, lambda _, s: attrs.evolve(s, version=s.version[-1]))
):
    pass


_clock = itertools.count()


@caught_by(
    "test_a_reader_carries_the_status_of_its_file",
    "test_the_version_stays_while_the_file_stays",
)
class HasAnotherVersionEachTime(
    with_status(Memory, lambda _, s: attrs.evolve(s, version=str(next(_clock))))
):
    pass


@caught_by(
    "test_an_adopted_file_is_another_version",
    "test_the_version_outlives_the_archive",
)
class HasVersionsOfThisArchive(
    with_status(Tiny, lambda self, s: attrs.evolve(s, version=str(id(self))))
):
    pass


def counted(archive, status):
    numbers = archive.__dict__.setdefault("numbers", {})
    number = numbers.setdefault(status.version, len(numbers))
    return attrs.evolve(status, version=str(number))


@caught_by(
    "test_versions_do_not_come_back_in_another_archive",
)
class CountsVersionsAnew(with_status(Tiny, counted)):
    """In each archive on the same store."""


@caught_by(
    "test_a_writer_may_be_discarded_after_its_archive",
    "test_digests_outlive_the_archive",
    "test_files_outlive_the_archive",
)
class IsGoneWhenClosed(Tiny):
    def _close(self):
        for path in (*self.names.iterdir(), *self.data.iterdir()):
            path.unlink()


@caught_by(
    "test_an_offline_file_has_its_digests",
    "test_digests_are_kept",
    "test_digests_may_be_set_after_the_last_byte",
)
class KeepsNoDigests(Memory):
    def digests(self, file_id):
        self.status(file_id)
        return {}


@caught_by(
    "test_a_file_without_digests_has_none",
    "test_digests_outlive_the_archive",
)
class InventsDigests(Tiny):
    def digests(self, file_id):
        self.status(file_id)
        return {"md5": bytes(16)}


@caught_by(
    "test_an_offline_file_has_its_digests",
    "test_digests_may_be_set_after_the_last_byte",
)
class TakesDigestsTooEarly(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        writer.__class__ = type(
            "Writer",
            (type(writer),),
            {"digests": property(lambda _: {}, lambda *_: None)},
        )
        return writer


@caught_by(
    "test_a_replacement_brings_only_its_own_digests",
    "test_digests_do_not_outlive_a_delete",
    "test_digests_do_not_outlive_their_version",
)
class KeepsDigestsById(Memory):
    def _store(self, writer, data):
        self.kept = getattr(self, "kept", {})
        self.kept[writer.file_id] = {
            **self.kept.get(writer.file_id, {}),
            **writer.digests,
        }
        writer.digests = self.kept[writer.file_id]
        super()._store(writer, data)


@caught_by(
    "test_a_replacement_brings_only_its_own_digests",
    "test_digests_do_not_outlive_their_version",
    "test_digests_of_a_discarded_file_are_not_seen",
)
class ShowsDigestsBeforeTheCommit(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        if file_id in self._files:
            writer.digests = self._files[file_id].digests
        return writer


@caught_by(
    "test_digests_set_after_the_commit_are_not_kept",
)
class KeepsTheWritersDigests(Memory):
    def _store(self, writer, data):
        super()._store(writer, data)
        new = attrs.evolve(self._files[writer.file_id], digests=writer.digests)
        self._files[writer.file_id] = new


@caught_by(
    "test_digests_returned_are_not_those_stored",
)
class GivesItsDigestsAway(Memory):
    def digests(self, file_id):
        self._ready(file_id)
        return self._get(file_id).digests


globals().update(contracts(globals(), CONTRACTS))
