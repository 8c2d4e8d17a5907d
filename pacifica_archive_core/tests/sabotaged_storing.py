"""Archives whose writers are broken on purpose; see saboteurs.py."""
# mypy: allow-untyped-defs, allow-subclassing-any
# mypy: disable-error-code="has-type,misc,no-untyped-call"
# ruff: noqa: ANN001, ANN003, ANN201, ANN202, ANN204, SLF001 (see saboteurs.py)

from __future__ import annotations

import contextlib
import os
import time

import attrs
from kits import CONTRACTS
from saboteurs import (
    Memory,
    Reader,
    Tiny,
    Writer,
    with_reader,
    with_status,
    with_writer,
)

from pacifica_archive_core import ArchiveFull, FileExists, NoSuchFile
from pacifica_archive_core.testing.sabotage import caught_by, contracts


@caught_by(
    "test_a_level_has_the_whole_file",
    "test_an_offline_file_keeps_its_size",
)
class LosesTheLastByte(
    with_writer(
        Memory, _write=lambda self, data: self._data.extend(bytes(data)[:-1] or data)
    )
):
    pass


@caught_by(
    "test_nothing_is_visible_before_the_commit",
    "test_write_takes_all_and_says_so",
)
class LosesTheByteBehindABlock(
    with_writer(
        Memory, _write=lambda self, data: self._data.extend(bytes(data)[: 1 << 18])
    )
):
    pass


def inverted(data):
    return bytes(byte ^ 255 for byte in data)


@caught_by(
    "test_the_medium_holds_exactly_the_bytes_written",
    "test_what_lies_on_the_medium_is_read",
)
class InvertsOnItsWayInAndOut(
    with_reader(
        with_writer(
            Memory, _write=lambda self, data: self._data.extend(inverted(data))
        ),
        _read_at=lambda self, size, at: inverted(self._data[at : at + size]),
    )
):
    pass


@caught_by(
    "test_a_status_has_the_size",
    "test_an_empty_file_is_a_file",
    "test_an_empty_file_is_at_its_end",
    "test_every_byte_comes_back",
)
class DropsEmptyFiles(Memory):
    def _store(self, writer, data):
        if data:
            super()._store(writer, data)


@caught_by(
    "test_a_file_over_4_gib_is_read_at_its_far_parts",
)
class ReadsAtOffsetsOf32Bits(
    with_reader(
        Tiny,
        _readinto_at=lambda self, view, at: os.preadv(self.fd, [view], at & 0xFFFFFFFF),
    )
):
    pass


@caught_by(
    "test_a_file_over_4_gib_has_its_size",
    "test_a_file_over_4_gib_is_read_at_its_far_parts",
)
class HasSizesOf32Bits(
    with_status(Tiny, lambda _, s: attrs.evolve(s, size=s.size & 0xFFFFFFFF))
):
    pass


class _OtherIds(Memory):
    """Files under other ids than those asked for."""

    def _get(self, file_id):
        return super()._get(self.other(file_id))

    def _store(self, writer, data):
        writer.file_id = self.other(writer.file_id)
        super()._store(writer, data)

    def _delete(self, file_id):
        super()._delete(self.other(file_id))


@caught_by(
    "test_a_neighbour_does_not_stand_in_for_a_missing_file",
    "test_ids_that_look_alike_are_different_files",
)
class CutsIdsTo32Bits(_OtherIds):
    def other(self, file_id):
        return file_id & 0xFFFFFFFF


@caught_by(
    "test_a_neighbour_does_not_stand_in_for_a_missing_file",
    "test_ids_that_look_alike_are_different_files",
)
class CutsIdsTo16Bits(_OtherIds):
    def other(self, file_id):
        return file_id & 0xFFFF


@caught_by(
    "test_many_small_writes_make_one_file",
    "test_sixteen_threads_store_sixteen_files",
)
class KeepsTheLastWrite(
    with_writer(
        Memory, _write=lambda self, data: setattr(self, "_data", bytearray(data))
    )
):
    pass


@caught_by(
    "test_write_takes_all_and_says_so",
)
class SaysThatNothingWasTaken(
    with_writer(Memory, write=lambda self, data: Writer.write(self, data) * 0)
):
    pass


@caught_by(
    "test_an_archive_behaves_as_a_dictionary",
    "test_written_counts_the_bytes",
)
class CountsNothing(with_writer(Memory, written=0)):
    pass


@caught_by(
    "test_a_writer_knows_its_id",
    "test_an_empty_file_is_a_file",
)
class ForgetsItsId(with_writer(Memory, file_id=property(lambda _: 1, lambda *_: None))):
    pass


def keep_the_object(self, data):
    self._data = getattr(self, "kept", [])
    self.kept = [*self._data, data.obj]


@caught_by(
    "test_a_buffer_changed_after_the_write_changes_nothing",
    "test_a_buffer_is_free_after_the_write",
)
class KeepsTheCallersBuffer(
    with_writer(
        Memory,
        _write=keep_the_object,
        _commit=lambda self: self._store(
            self, b"".join(bytes(memoryview(o)) for o in getattr(self, "kept", []))
        ),
    )
):
    pass


def hold(self, data):
    self.held = [*getattr(self, "held", []), memoryview(data.obj)]
    self._data += data


@caught_by(
    "test_a_buffer_is_free_after_the_write",
)
class HoldsTheCallersBuffer(with_writer(Memory, _write=hold)):
    pass


def write_items(self, data):
    Writer.write(self, bytes(memoryview(data).cast("B")[: len(data)]))
    return len(data)


@caught_by(
    "test_a_swallowed_write_error_refuses_the_commit",
    "test_wide_items_are_written_as_their_bytes",
)
class CountsItemsForBytes(with_writer(Memory, write=write_items)):
    pass


@caught_by(
    "test_a_swallowed_write_error_refuses_the_commit",
    "test_any_buffer_is_written_exactly",
)
class TakesOnlyBytes(
    with_writer(
        Memory, write=lambda self, data: Writer.write(self, bytes.__add__(data, b""))
    )
):
    pass


@caught_by(
    "test_a_buffer_with_gaps_is_refused_or_exact",
)
class WritesTheGapsToo(
    with_writer(
        Memory,
        write=lambda self, data: Writer.write(
            self, data.obj if isinstance(data, memoryview) else data
        ),
    )
):
    pass


@caught_by(
    "test_a_swallowed_write_error_refuses_the_commit",
    "test_text_is_refused",
)
class TakesText(
    with_writer(
        Memory,
        write=lambda self, data: Writer.write(
            self, data.encode() if isinstance(data, str) else data
        ),
    )
):
    pass


@caught_by(
    "test_a_given_mtime_is_kept",
    "test_a_replacement_has_its_own_mtime",
)
class IgnoresTheMtime(Memory):
    def _create(self, file_id, **promises):
        return super()._create(file_id, **{**promises, "mtime_ns": None})


@caught_by(
    "test_the_mtime_is_now_by_default",
)
class HasFilesOf1970(Memory):
    def _create(self, file_id, **promises):
        mtime_ns = promises.pop("mtime_ns") or 0
        return super()._create(file_id, mtime_ns=mtime_ns, **promises)


@caught_by(
    "test_a_replacement_has_its_own_mtime",
)
class KeepsTheFirstMtime(Memory):
    def _store(self, writer, data):
        old = self._files.get(writer.file_id)
        super()._store(writer, data)
        if old:
            new = self._files[writer.file_id]
            self._files[writer.file_id] = attrs.evolve(new, mtime_ns=old.mtime_ns)


@caught_by(
    "test_of_racing_writers_one_file_stays_whole",
    "test_overwrite_replaces_the_whole_file",
)
class WritesOverTheOldBytes(Memory):
    def _store(self, writer, data):
        old = self._files.get(writer.file_id)
        super()._store(writer, data + (old.data[len(data) :] if old else b""))


@caught_by(
    "test_a_full_store_is_left_as_it_was",
    "test_a_full_store_raises_archive_full",
)
class OverwritesOnlyWhatIsThere(Memory):
    def _create(self, file_id, **promises):
        if promises["overwrite"]:
            self._get(file_id)
        return super()._create(file_id, **promises)


@caught_by(
    "test_a_taken_id_is_refused",
    "test_an_id_taken_meanwhile_is_refused_at_the_commit",
)
class AlwaysOverwrites(Memory):
    def _create(self, file_id, **promises):
        return super()._create(file_id, **{**promises, "overwrite": True})


@caught_by(
    "test_an_id_taken_meanwhile_is_refused_at_the_commit",
    "test_of_racing_writers_one_file_stays_whole",
)
class LooksOnlyBeforeTheBytes(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        writer.overwrite = True
        return writer


@caught_by(
    "test_a_refused_file_changes_nothing",
    "test_an_id_taken_meanwhile_keeps_its_file",
    "test_of_racing_writers_one_file_stays_whole",
)
class RefusesTooLate(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **{**promises, "overwrite": True})
        writer.wanted = promises["overwrite"]
        return writer

    def _store(self, writer, data):
        taken = writer.file_id in self._files
        super()._store(writer, data)
        if taken and not writer.wanted:
            raise FileExists(writer.file_id)


@caught_by(
    "test_a_refused_commit_leaves_nothing",
    "test_an_id_is_free_after_a_delete",
)
class KeepsIdsForEver(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.used = set()

    def _create(self, file_id, **promises):
        if file_id in self.used and not promises["overwrite"]:
            raise FileExists(file_id)
        return super()._create(file_id, **promises)

    def _store(self, writer, data):
        super()._store(writer, data)
        self.used.add(writer.file_id)


@caught_by(
    "test_a_replacement_outlives_the_delete_of_the_old",
)
class ReplacesOnlyWhatItSaw(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        writer.saw = file_id in self._files
        return writer

    def _store(self, writer, data):
        if writer.saw:
            self._get(writer.file_id)
        super()._store(writer, data)


def the_one_buffer():
    def clear(self, _):
        self._archive.shared = bytearray()

    return property(lambda self: self._archive.shared, clear)


@caught_by(
    "test_readers_of_two_files_do_not_mix",
    "test_sixteen_threads_store_sixteen_files",
    "test_two_writers_of_two_files_do_not_mix",
)
class IsItselfTheOpenFile(with_writer(Memory, _data=the_one_buffer())):
    """As release 0.4.2."""

    def _create(self, file_id, **promises):
        self.shared = bytearray()
        return super()._create(file_id, **promises)

    def _open(self, file_id, *, recall):
        self.reader = super()._open(file_id, recall=recall)
        self.reader.__class__ = _TheOneReader
        return self.reader


class _TheOneReader(Reader):
    def _read_at(self, size, position):
        return self._archive.reader._data[position : position + size]

    def _readinto_at(self, view, position):
        block = self._read_at(len(view), position)
        view[: len(block)] = block
        return len(block)

    def _release(self):
        pass


@caught_by(
    "test_of_racing_writers_one_file_stays_whole",
    "test_two_writers_of_one_file_do_not_mix",
)
class HasOneTemporaryFilePerId(Memory):
    def __init__(self, options):
        super().__init__(options)
        self.temporary = {}

    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **promises)
        writer._data = self.temporary.setdefault(file_id, bytearray())
        return writer

    def _store(self, writer, data):
        super()._store(writer, data)
        self.temporary.pop(writer.file_id, None)


def write_visibly(self, data):
    self._data += data
    self.overwrite = True
    self._store(self, bytes(self._data))


@caught_by(
    "test_a_discard_in_the_with_block_stands",
    "test_a_write_that_fails_in_the_store_stores_nothing",
    "test_discard_may_be_repeated",
)
class WritesToTheFinalName(with_writer(Memory, _write=write_visibly)):
    pass


def commit_later(self):
    self._commit = lambda: None
    self.data_to_store = bytes(self._data)


def store_at_last(self):
    if hasattr(self, "data_to_store"):
        self._store(self, self.data_to_store)
    else:
        Writer.__del__(self)


@caught_by(
    "test_digests_may_be_set_after_the_last_byte",
    "test_digests_set_after_the_commit_are_not_kept",
)
class StoresWhenTheWriterIsGone(
    with_writer(Memory, _commit=commit_later, __del__=store_at_last)
):
    pass


@caught_by(
    "test_a_discard_in_the_with_block_stands",
    "test_a_write_that_fails_in_the_store_stores_nothing",
    "test_discard_may_be_repeated",
)
class CommitsWhateverHappens(
    with_writer(Memory, _discard=lambda self: self._store(self, bytes(self._data)))
):
    pass


@caught_by(
    "test_a_write_that_fails_in_the_store_stores_nothing",
    "test_a_writer_of_a_closed_archive_leaves_nothing",
)
class LeavesItsTemporaryFiles(
    with_writer(Tiny, _discard=lambda self: os.close(self.fd))
):
    pass


@caught_by(
    "test_a_refused_commit_leaves_nothing",
    "test_a_replaced_file_leaves_nothing",
)
class LeavesTheOldBytes(Tiny):
    def switch(self, file_id, path, *, overwrite):
        with contextlib.suppress(NoSuchFile):
            os.link(self.current(file_id), self.data / f"old{time.time_ns()}")
        super().switch(file_id, path, overwrite=overwrite)


@caught_by(
    "test_a_delete_takes_the_bytes_off_the_medium",
    "test_an_unreachable_store_is_not_a_missing_file",
)
class LeavesTheBytesOfDeletedFiles(Tiny):
    def _delete(self, file_id):
        os.link(self.current(file_id), self.data / f"old{time.time_ns()}")
        super()._delete(file_id)


def exit_quietly(self, exc_type, exc, traceback):
    Writer.__exit__(self, exc_type, exc, traceback)
    return True


@caught_by(
    "test_an_error_after_the_commit_does_not_undo_it",
    "test_an_exception_in_the_with_block_goes_on",
)
class SwallowsExceptions(with_writer(Memory, __exit__=exit_quietly)):
    pass


@caught_by(
    "test_fewer_bytes_than_promised_are_refused",
    "test_more_bytes_than_promised_are_refused",
)
class ForgetsThePromise(Memory):
    def _create(self, file_id, **promises):
        return super()._create(file_id, **{**promises, "size": None})


@caught_by(
    "test_a_promise_of_nothing_is_kept",
)
class TakesZeroForNoPromise(Memory):
    def _create(self, file_id, **promises):
        size = promises.pop("size") or None
        return super()._create(file_id, size=size, **promises)


@caught_by(
    "test_a_negative_size_is_refused",
)
class TakesNegativeSizes(Memory):
    def create(self, file_id, *, size=None, **promises):
        return super().create(file_id, size=abs(size) if size else size, **promises)


def forgive(self, data):
    state = self._state
    try:
        return Writer.write(self, data)
    except Exception:
        self._state = state
        raise


@caught_by(
    "test_a_swallowed_write_error_refuses_the_commit",
    "test_a_swallowed_write_error_stores_nothing",
)
class ForgivesFailedWrites(with_writer(Memory, write=forgive)):
    pass


@caught_by(
    "test_a_full_store_is_left_as_it_was",
    "test_a_full_store_raises_archive_full",
)
class IsNeverFull(Memory):
    def _reserve(self, file_id, size):
        pass


@caught_by(
    "test_a_full_store_keeps_the_old_version",
)
class MakesRoom(Memory):
    def _reserve(self, file_id, size):
        try:
            super()._reserve(file_id, size)
        except ArchiveFull:
            self._files.pop(file_id, None)
            raise


@caught_by(
    "test_a_full_store_is_left_as_it_was",
    "test_a_full_store_keeps_the_old_version",
)
class KeepsWhatDidNotFit(Memory):
    def _create(self, file_id, **promises):
        writer = super()._create(file_id, **{**promises, "size": 0})
        writer._promised = promises["size"]
        return writer

    def _store(self, writer, data):
        try:
            super()._store(writer, data)
        except ArchiveFull:
            options, self.options = (
                self.options,
                attrs.evolve(self.options, capacity=None),
            )
            super()._store(writer, data)
            self.options = options
            raise


def discard_strictly(self):
    if self._state is not type(self._state).OPEN and not self._data:
        raise ValueError("the writer is finished")
    Writer.discard(self)


@caught_by(
    "test_a_promise_of_nothing_is_kept",
    "test_discard_may_be_repeated",
    "test_text_is_refused",
)
class DiscardsOnce(with_writer(Memory, discard=discard_strictly)):
    pass


def undo(self):
    if self._state.name == "FINISHED":
        self._store.__self__._files.pop(self.file_id, None)
    Writer.discard(self)


@caught_by(
    "test_an_error_after_the_commit_does_not_undo_it",
    "test_discard_after_the_commit_does_nothing",
)
class DiscardsWhatWasCommitted(with_writer(Memory, discard=undo)):
    pass


def exit_storing(self, exc_type, exc, traceback):
    data = bytes(self._data) or getattr(self, "dropped", b"")
    Writer.__exit__(self, exc_type, exc, traceback)
    if exc_type is None:
        self.overwrite = True
        self._store(self, data)


def drop(self):
    self.dropped = bytes(self._data)


@caught_by(
    "test_a_discard_in_the_with_block_stands",
)
class StoresAtTheEndOfTheBlock(
    with_writer(Memory, __exit__=exit_storing, _discard=drop)
):
    pass


def write_anyway(self, data):
    self._write(memoryview(data).cast("B"))
    return len(data)


@caught_by(
    "test_a_finished_writer_takes_no_more",
    "test_more_bytes_than_promised_are_refused",
)
class WritesWhenFinished(with_writer(Memory, write=write_anyway)):
    pass


@caught_by(
    "test_a_finished_writer_does_not_commit",
    "test_a_finished_writer_takes_no_more",
)
class CommitsTwice(
    with_writer(Memory, commit=lambda self: self._store(self, bytes(self._data)))
):
    pass


globals().update(contracts(globals(), CONTRACTS))
