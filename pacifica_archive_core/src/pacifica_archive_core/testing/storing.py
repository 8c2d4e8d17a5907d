"""What a writer promises: whole, exact, or not at all."""

from __future__ import annotations

import array
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.errors import (
    ArchiveFull,
    ArchiveUnavailable,
    FileExists,
    IncompleteWrite,
    NoSuchFile,
)
from pacifica_archive_core.ids import MAX_FILE_ID
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    forget,
    refusal,
    store,
)

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.files import ArchiveWriter

OLD = content("old", 5000)
NEW = content("new", 6000)


class Stop(Exception):
    """Raised by a test in the middle of its writing."""


def stop_midway(writer: ArchiveWriter) -> None:
    """Leave the with-block of a writer by an exception."""
    with writer:
        writer.write(NEW)
        raise Stop


def stop_after_commit(writer: ArchiveWriter) -> None:
    """Leave the with-block of a writer by an exception, too late."""
    with writer:
        writer.write(NEW)
        writer.commit()
        raise Stop


class StoringContract(Declarations):
    """Bytes in, bytes out; commits, promises and failures."""

    @pytest.mark.parametrize("blocks", [0, 1])
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_every_byte_comes_back(
        self, archive: Archive, blocks: int, more: int
    ) -> None:
        size = max(0, blocks * archive.block_size + more)
        data = content(size, size)
        store(archive, FILE_ID, data)

        assert data == fetch(archive, FILE_ID)

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_the_medium_holds_exactly_the_bytes_written(
        self, archive: Archive, more: int
    ) -> None:
        data = content(more, archive.block_size + more)
        store(archive, FILE_ID, data)

        assert data == self.read_raw(archive, FILE_ID)

    def test_an_empty_file_is_a_file(self, archive: Archive) -> None:
        store(archive, FILE_ID, b"")

        assert (0, b"") == (archive.status(FILE_ID).size, fetch(archive, FILE_ID))

    def test_what_lies_on_the_medium_is_read(self, archive: Archive) -> None:
        data = content("raw", archive.block_size + 1)
        self.write_raw(archive, FILE_ID, data)

        assert data == fetch(archive, FILE_ID)

    def test_a_file_over_4_gib_is_read_at_its_far_parts(self, archive: Archive) -> None:
        """Offsets of 32 bits, anywhere on the way, would read other bytes."""
        self.need("sparse")
        edge, size = 2**32, 2**32 + 2 * archive.block_size + 5
        parts = {edge - 8: content("edge", 16), size - 8: content("end", 8)}
        self.write_raw_sparse(archive, FILE_ID, size, parts)
        with archive.open(FILE_ID) as reader:
            found = {}
            for offset, part in parts.items():
                reader.seek(offset)
                found[offset] = reader.read(len(part))
            at_the_end = reader.read(1)

        assert (parts, b"") == (found, at_the_end)

    def test_a_file_over_4_gib_has_its_size(self, archive: Archive) -> None:
        self.need("sparse")
        size = 2**32 + 5
        self.write_raw_sparse(archive, FILE_ID, size, {0: b"begin"})

        assert size == archive.status(FILE_ID).size

    def test_ids_that_look_alike_are_different_files(self, archive: Archive) -> None:
        """Names made of ids, or cut to 32 bits, must not meet."""
        ids = [0, 1, 0x39, 0x100, 0x3039, 0x303039, 2**31, 2**32, 2**32 + 1]
        ids.append(MAX_FILE_ID)
        for file_id in ids:
            store(archive, file_id, content(file_id, 50))

        assert [content(i, 50) for i in ids] == [fetch(archive, i) for i in ids]

    def test_many_small_writes_make_one_file(self, archive: Archive) -> None:
        data = content("pieces", 3000)
        with archive.create(FILE_ID) as writer:
            for start in range(0, len(data), 7):
                writer.write(data[start : start + 7])

        assert data == fetch(archive, FILE_ID)

    def test_write_takes_all_and_says_so(self, archive: Archive) -> None:
        data = content("big", 3 * archive.block_size + 1)
        with archive.create(FILE_ID) as writer:
            taken = writer.write(data)

        assert (len(data), data) == (taken, fetch(archive, FILE_ID))

    def test_written_counts_the_bytes(self, archive: Archive) -> None:
        counts = []
        with archive.create(FILE_ID) as writer:
            for piece in (b"", b"abc", b"", b"de"):
                writer.write(piece)
                counts.append(writer.written)

        assert [0, 3, 3, 5] == counts

    def test_a_writer_knows_its_id(self, archive: Archive) -> None:
        with archive.create(FILE_ID) as writer:
            file_id = writer.file_id

        assert FILE_ID == file_id

    @pytest.mark.parametrize(
        "kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)]
    )
    def test_any_buffer_is_written_exactly(self, archive: Archive, kind: type) -> None:
        with archive.create(FILE_ID) as writer:
            writer.write(kind(OLD))

        assert OLD == fetch(archive, FILE_ID)

    def test_wide_items_are_written_as_their_bytes(self, archive: Archive) -> None:
        """The length of such a buffer is not its number of bytes."""
        numbers = array.array("I", range(1000))
        with archive.create(FILE_ID, size=numbers.itemsize * 1000) as writer:
            writer.write(numbers)

        assert numbers.tobytes() == fetch(archive, FILE_ID)

    def test_a_buffer_with_gaps_is_refused_or_exact(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID)
        refused = refusal(writer.write, memoryview(OLD)[::2])
        refusal(writer.commit)
        stored = None if refused else fetch(archive, FILE_ID)

        assert (type(refused), stored) in {
            (TypeError, None),
            (BufferError, None),
            (type(None), OLD[::2]),
        }

    def test_text_is_refused(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID)

        with pytest.raises(TypeError):
            writer.write("text")  # type: ignore[arg-type]

        writer.discard()

    def test_a_buffer_changed_after_the_write_changes_nothing(
        self, archive: Archive
    ) -> None:
        """Callers use one buffer for every block."""
        buffer = bytearray(OLD)
        with archive.create(FILE_ID) as writer:
            writer.write(buffer)
            buffer[:] = bytes(len(buffer))

        assert OLD == fetch(archive, FILE_ID)

    def test_a_buffer_is_free_after_the_write(self, archive: Archive) -> None:
        """A view that is kept would forbid the owner to resize its buffer."""
        buffer = bytearray(OLD)
        with archive.create(FILE_ID) as writer:
            writer.write(buffer)
            buffer.clear()

        assert OLD == fetch(archive, FILE_ID)

    # --- times

    @pytest.mark.parametrize(
        "mtime_ns",
        [1, 10**9, 1_473_806_059_290_000_001, (2**31 + 1) * 10**9 + 123_456_789],
    )
    def test_a_given_mtime_is_kept(self, archive: Archive, mtime_ns: int) -> None:
        """To the store's resolution; the last one is after 2038."""
        store(archive, FILE_ID, OLD, mtime_ns=mtime_ns)
        cut = mtime_ns // self.mtime_resolution_ns * self.mtime_resolution_ns

        assert cut == archive.status(FILE_ID).mtime_ns

    def test_the_mtime_is_now_by_default(self, archive: Archive) -> None:
        """Within a minute: it may be the clock of another machine."""
        store(archive, FILE_ID, OLD)

        assert abs(time.time_ns() - archive.status(FILE_ID).mtime_ns) < 60 * 10**9

    def test_a_replacement_has_its_own_mtime(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD, mtime_ns=5 * 10**9)
        store(archive, FILE_ID, OLD, mtime_ns=7 * 10**9)

        assert 7 * 10**9 == archive.status(FILE_ID).mtime_ns

    # --- replacing

    @pytest.mark.parametrize("new", [b"", b"short", NEW])
    def test_overwrite_replaces_the_whole_file(
        self, archive: Archive, new: bytes
    ) -> None:
        store(archive, FILE_ID, OLD)
        store(archive, FILE_ID, new)

        assert new == fetch(archive, FILE_ID)

    def test_overwrite_needs_no_file(self, archive: Archive) -> None:
        store(archive, FILE_ID, NEW, overwrite=True)

        assert NEW == fetch(archive, FILE_ID)

    def test_a_taken_id_is_refused(self, archive: Archive) -> None:
        """At once, or at the commit."""
        store(archive, FILE_ID, OLD)

        with pytest.raises(FileExists):
            store(archive, FILE_ID, NEW, overwrite=False)

    def test_a_refused_file_changes_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        version = archive.status(FILE_ID).version
        with pytest.raises(FileExists):
            store(archive, FILE_ID, NEW, overwrite=False)

        assert (OLD, version) == (
            fetch(archive, FILE_ID),
            archive.status(FILE_ID).version,
        )

    def test_an_id_taken_meanwhile_is_refused_at_the_commit(
        self, archive: Archive
    ) -> None:
        late = archive.create(FILE_ID)
        late.write(NEW)
        store(archive, FILE_ID, OLD, overwrite=False)

        with pytest.raises(FileExists):
            late.commit()

    def test_an_id_taken_meanwhile_keeps_its_file(self, archive: Archive) -> None:
        late = archive.create(FILE_ID)
        late.write(NEW)
        store(archive, FILE_ID, OLD, overwrite=False)
        with pytest.raises(FileExists):
            late.commit()

        assert OLD == fetch(archive, FILE_ID)

    def test_an_id_is_free_after_a_delete(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        archive.delete(FILE_ID)
        store(archive, FILE_ID, NEW, overwrite=False)

        assert NEW == fetch(archive, FILE_ID)

    def test_a_replacement_outlives_the_delete_of_the_old(
        self, archive: Archive
    ) -> None:
        store(archive, FILE_ID, OLD)
        with archive.create(FILE_ID, overwrite=True) as writer:
            writer.write(NEW)
            archive.delete(FILE_ID)

        assert NEW == fetch(archive, FILE_ID)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_of_racing_writers_one_file_stays_whole(
        self, archive: Archive, *, overwrite: bool
    ) -> None:
        """Without overwrite exactly one wins; the file is the winner's."""
        racers, lost, left, won = 4, [], [], []
        with ThreadPoolExecutor(racers) as pool:
            for file_id in range(10):
                start = threading.Barrier(racers, timeout=30)
                data = [content((file_id, n), 1000 + n) for n in range(racers)]

                def race(
                    n: int,
                    file_id: int = file_id,
                    start: threading.Barrier = start,
                    data: list[bytes] = data,
                ) -> bool:
                    writer = archive.create(file_id, overwrite=overwrite)
                    writer.write(data[n])
                    start.wait()
                    try:
                        writer.commit()
                    except FileExists:
                        return False
                    return True

                wins = list(pool.map(race, range(racers)))
                lost.append(wins.count(False))
                left.append(fetch(archive, file_id))
                won.append([data[n] for n, win in enumerate(wins) if win])

        assert [0 if overwrite else racers - 1] * 10 == lost
        assert all(file in winners for file, winners in zip(left, won, strict=True))

    def test_two_writers_of_two_files_do_not_mix(self, archive: Archive) -> None:
        """Release 0.4.2 kept the one open file in the archive itself."""
        with archive.create(1) as one, archive.create(2) as two:
            for _ in range(3):
                one.write(b"1" * 1000)
                two.write(b"2" * 1000)

        assert (b"1" * 3000, b"2" * 3000) == (fetch(archive, 1), fetch(archive, 2))

    def test_two_writers_of_one_file_do_not_mix(self, archive: Archive) -> None:
        one = archive.create(FILE_ID, overwrite=True)
        two = archive.create(FILE_ID, overwrite=True)
        for _ in range(3):
            one.write(b"1" * 1000)
            two.write(b"2" * 1000)
        one.commit()
        two.commit()

        assert b"2" * 3000 == fetch(archive, FILE_ID)

    # --- before the commit, and without one

    def test_nothing_is_visible_before_the_commit(self, archive: Archive) -> None:
        with archive.create(FILE_ID) as writer:
            writer.write(content("big", archive.block_size + 1))
            with pytest.raises(NoSuchFile):
                archive.status(FILE_ID)
            with pytest.raises(NoSuchFile):
                archive.open(FILE_ID)

        assert archive.block_size + 1 == archive.status(FILE_ID).size

    def test_the_old_version_stands_until_the_commit(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        with archive.create(FILE_ID, overwrite=True) as writer:
            writer.write(NEW)
            before = fetch(archive, FILE_ID)

        assert (OLD, NEW) == (before, fetch(archive, FILE_ID))

    def test_the_file_is_there_when_commit_returns(self, archive: Archive) -> None:
        """And not only when the writer is gone."""
        writer = archive.create(FILE_ID)
        writer.write(NEW)
        writer.commit()
        stored = fetch(archive, FILE_ID)
        del writer

        assert (NEW, NEW) == (stored, fetch(archive, FILE_ID))

    @pytest.mark.parametrize("old", [None, OLD], ids=["new", "replacing"])
    @pytest.mark.parametrize("end", ["discard", "raise", "short", "long", "forget"])
    def test_an_unfinished_file_is_never_seen(
        self, archive: Archive, end: str, old: bytes | None
    ) -> None:
        """However it ends: the old version stays, or none is there."""
        if old is not None:
            store(archive, FILE_ID, old)
        self._end_unfinished(archive, FILE_ID, end)

        if old is None:
            with pytest.raises(NoSuchFile):
                archive.status(FILE_ID)
        else:
            assert old == fetch(archive, FILE_ID)

    @pytest.mark.parametrize("end", ["discard", "raise", "short", "long", "forget"])
    def test_an_unfinished_file_leaves_nothing(
        self, archive: Archive, end: str
    ) -> None:
        store(archive, 1, OLD)
        before = self.list_raw(archive)
        self._end_unfinished(archive, FILE_ID, end)

        assert before == self.list_raw(archive)

    def test_a_refused_commit_leaves_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        clean = len(self.list_raw(archive))
        archive.delete(FILE_ID)
        late = archive.create(FILE_ID)
        late.write(NEW)
        store(archive, FILE_ID, OLD)
        with pytest.raises(FileExists):
            late.commit()

        assert clean == len(self.list_raw(archive))

    def test_a_replaced_file_leaves_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        before = len(self.list_raw(archive))
        store(archive, FILE_ID, NEW)

        assert before == len(self.list_raw(archive))

    def _end_unfinished(self, archive: Archive, file_id: int, end: str) -> None:
        size = {"short": 6001, "long": 6500}.get(end)
        writers = [archive.create(file_id, size=size, overwrite=True)]
        if end == "raise":
            with pytest.raises(Stop):
                stop_midway(writers[0])
            return
        writers[0].write(NEW)
        if end == "discard":
            writers[0].discard()
        elif end == "short":
            with pytest.raises(IncompleteWrite):
                writers[0].commit()
        elif end == "long":
            with pytest.raises(IncompleteWrite), writers[0]:
                writers[0].write(NEW)
        else:
            with pytest.warns(ResourceWarning, match="neither committed nor"):
                forget(writers)

    def test_an_exception_in_the_with_block_goes_on(self, archive: Archive) -> None:
        with pytest.raises(Stop):
            stop_midway(archive.create(FILE_ID))

    def test_fewer_bytes_than_promised_are_refused(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID, size=100)
        writer.write(b"abc")

        with pytest.raises(IncompleteWrite):
            writer.commit()

    def test_more_bytes_than_promised_are_refused(self, archive: Archive) -> None:
        """At once: a client that goes on for ever must not fill the store."""
        writer = archive.create(FILE_ID, size=3)
        writer.write(b"abc")

        with pytest.raises(IncompleteWrite):
            writer.write(b"d")

        writer.discard()

    def test_a_promise_of_nothing_is_kept(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID, size=0)

        with pytest.raises(IncompleteWrite):
            writer.write(b"a")

        writer.discard()

    def test_a_negative_size_is_refused(self, archive: Archive) -> None:
        with pytest.raises(ValueError, match="negative"):
            archive.create(FILE_ID, size=-1)

    @pytest.mark.parametrize("size", [None, 3], ids=["type", "size"])
    def test_a_swallowed_write_error_refuses_the_commit(
        self, archive: Archive, size: int | None
    ) -> None:
        """A copy loop that ignores one failed block must not store the rest."""
        writer = archive.create(FILE_ID, size=size)
        with pytest.raises((TypeError, IncompleteWrite)):
            writer.write("text" if size is None else b"more")  # type: ignore[arg-type]
        writer.write(b"abc")

        with pytest.raises(IncompleteWrite):
            writer.commit()

    def test_a_swallowed_write_error_stores_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, OLD)
        writer = archive.create(FILE_ID, overwrite=True)
        with pytest.raises(TypeError):
            writer.write("text")  # type: ignore[arg-type]
        with pytest.raises(IncompleteWrite):
            writer.commit()

        assert OLD == fetch(archive, FILE_ID)

    @pytest.mark.parametrize("old", [None, OLD], ids=["new", "replacing"])
    def test_a_write_that_fails_in_the_store_stores_nothing(
        self, archive: Archive, old: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After half of a block, as a disk may."""
        if old is not None:
            store(archive, FILE_ID, old)
        before = self.list_raw(archive)
        writer = archive.create(FILE_ID, overwrite=True)
        honest = type(writer)._write  # noqa: SLF001 (a hook of the contract)

        def fail(self: ArchiveWriter, data: memoryview) -> None:
            honest(self, data[:3000])
            raise ArchiveUnavailable("the store failed")

        monkeypatch.setattr(type(writer), "_write", fail)
        with pytest.raises(ArchiveUnavailable), writer:
            writer.write(NEW)
        stored = None
        if refusal(archive.status, FILE_ID) is None:
            stored = fetch(archive, FILE_ID)

        assert (old, before) == (stored, self.list_raw(archive))

    def test_a_full_store_raises_archive_full(self, archive: Archive) -> None:
        self.need("can_be_filled")

        with self.filled(archive), pytest.raises(ArchiveFull):
            store(archive, FILE_ID, NEW)

    def test_a_full_store_keeps_the_old_version(self, archive: Archive) -> None:
        self.need("can_be_filled")
        store(archive, FILE_ID, OLD)
        with self.filled(archive), pytest.raises(ArchiveFull):
            store(archive, FILE_ID, content("large", 2 * archive.block_size))

        assert OLD == fetch(archive, FILE_ID)

    def test_a_full_store_is_left_as_it_was(self, archive: Archive) -> None:
        self.need("can_be_filled")
        store(archive, 1, OLD)
        before = self.list_raw(archive)
        with self.filled(archive), pytest.raises(ArchiveFull):
            store(archive, FILE_ID, NEW)

        assert before == self.list_raw(archive)

    # --- after the end

    def test_discard_may_be_repeated(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID)
        writer.write(NEW)
        writer.discard()
        writer.discard()

        with pytest.raises(NoSuchFile):
            archive.status(FILE_ID)

    def test_discard_after_the_commit_does_nothing(self, archive: Archive) -> None:
        writer = archive.create(FILE_ID)
        writer.write(NEW)
        writer.commit()
        writer.discard()

        assert NEW == fetch(archive, FILE_ID)

    def test_an_error_after_the_commit_does_not_undo_it(self, archive: Archive) -> None:
        with pytest.raises(Stop):
            stop_after_commit(archive.create(FILE_ID))

        assert NEW == fetch(archive, FILE_ID)

    def test_a_discard_in_the_with_block_stands(self, archive: Archive) -> None:
        with archive.create(FILE_ID) as writer:
            writer.write(NEW)
            writer.discard()

        with pytest.raises(NoSuchFile):
            archive.status(FILE_ID)

    @pytest.mark.parametrize("end", ["commit", "discard"])
    def test_a_finished_writer_takes_no_more(self, archive: Archive, end: str) -> None:
        writer = archive.create(FILE_ID)
        getattr(writer, end)()

        with pytest.raises(ValueError, match="finished"):
            writer.write(NEW)

    @pytest.mark.parametrize("end", ["commit", "discard"])
    def test_a_finished_writer_does_not_commit(
        self, archive: Archive, end: str
    ) -> None:
        """A second commit might replace what another stored meanwhile."""
        writer = archive.create(FILE_ID)
        getattr(writer, end)()

        with pytest.raises(ValueError, match="finished"):
            writer.commit()
