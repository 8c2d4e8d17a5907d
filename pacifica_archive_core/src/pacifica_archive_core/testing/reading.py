"""What a reader promises: a raw, seekable stream of one version's bytes."""

from __future__ import annotations

import array
import io
import os
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    forget,
    lasting,
    store,
)

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.files import ArchiveReader

DATA = content("data", 5000)


def read_all(reader: ArchiveReader, size: int) -> bytes:
    """Read to the end in calls of ``size``: a short read is not the end."""
    return b"".join(iter(lambda: reader.read(size), b""))


class ReadingContract(Declarations):
    """Positions, buffers, ends and closing."""

    def test_a_reader_begins_at_the_start(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            position = reader.tell()

        assert 0 == position

    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_reads_of_any_size_make_the_file(self, archive: Archive, size: int) -> None:
        data = DATA[:100] if size == 1 else content("large", archive.block_size + 9)
        store(archive, FILE_ID, data)
        with archive.open(FILE_ID) as reader:
            blocks = read_all(reader, max(size, len(data) // 500))

        assert data == blocks

    @pytest.mark.parametrize("size", [-1, None])
    def test_a_read_without_size_reads_to_the_end(
        self, archive: Archive, size: int | None
    ) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            reader.seek(10)
            rest = reader.read(size)

        assert DATA[10:] == rest

    def test_readall_reads_from_the_position(self, archive: Archive) -> None:
        data = content("large", 2 * archive.block_size + 9)
        store(archive, FILE_ID, data)
        with archive.open(FILE_ID) as reader:
            reader.seek(10)
            rest = reader.readall()

        assert data[10:] == rest

    def test_a_read_moves_the_position_by_its_bytes(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            block = reader.read(100)
            position = reader.tell()

        assert len(block) == position

    def test_a_read_of_nothing_is_not_the_end(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            nothing = reader.read(0)
            rest = reader.readall()

        assert (b"", DATA) == (nothing, rest)

    def test_the_end_stays_the_end(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            reader.readall()
            ends = [reader.read(1), reader.read(), reader.readall()]
            count = reader.readinto(bytearray(8))

        assert ([b"", b"", b""], 0) == (ends, count)

    @pytest.mark.parametrize(
        ("offset", "whence", "expected"),
        [
            (7, os.SEEK_SET, 7),
            (7, os.SEEK_CUR, 107),
            (-7, os.SEEK_CUR, 93),
            (-7, os.SEEK_END, 4993),
            (0, os.SEEK_END, 5000),
        ],
    )
    def test_seek_moves_to_where_it_says(
        self, archive: Archive, offset: int, whence: int, expected: int
    ) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            reader.seek(100)
            moved = reader.seek(offset, whence)
            told = reader.tell()
            rest = reader.readall()

        assert (expected, expected, DATA[expected:]) == (moved, told, rest)

    def test_behind_the_end_there_is_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            position = reader.seek(2**40)
            found = (reader.read(5), reader.readall(), reader.readinto(bytearray(5)))

        assert (2**40, (b"", b"", 0)) == (position, found)

    @pytest.mark.parametrize(
        ("offset", "whence"),
        [(-1, os.SEEK_SET), (-101, os.SEEK_CUR), (-5001, os.SEEK_END), (0, 17)],
    )
    def test_a_wrong_seek_moves_nothing(
        self, archive: Archive, offset: int, whence: int
    ) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            reader.seek(100)
            with pytest.raises(ValueError, match=r"whence|position"):
                reader.seek(offset, whence)
            position = reader.tell()

        assert 100 == position

    def test_readinto_fills_a_bytearray(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        buffer = bytearray(len(DATA))
        with archive.open(FILE_ID) as reader:
            count = reader.readinto(buffer)

        assert DATA[:count] + bytes(5000 - count) == bytes(buffer)

    def test_readinto_keeps_to_its_slice(self, archive: Archive) -> None:
        """The bytes beside the slice belong to someone else."""
        store(archive, FILE_ID, DATA)
        buffer = bytearray(b"." * 30)
        with archive.open(FILE_ID) as reader:
            count = reader.readinto(memoryview(buffer)[10:20])

        assert b"." * 10 + DATA[:count] + b"." * (20 - count) == bytes(buffer)

    def test_readinto_counts_bytes_not_items(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        numbers = array.array("I", [0] * 100)
        with archive.open(FILE_ID) as reader:
            count = reader.readinto(numbers)
            position = reader.tell()

        assert (position, DATA[:count]) == (count, numbers.tobytes()[:count])

    def test_readinto_of_nothing_does_nothing(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            count = reader.readinto(bytearray())
            position = reader.tell()

        assert (0, 0) == (count, position)

    def test_readinto_stops_at_the_end(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        buffer = bytearray(b"." * 100)
        with archive.open(FILE_ID) as reader:
            reader.seek(-3, os.SEEK_END)
            count = reader.readinto(buffer)

        assert (3, DATA[-3:] + b"." * 97) == (count, bytes(buffer))

    def test_readinto_keeps_no_hold_of_the_buffer(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        buffer = bytearray(100)
        with archive.open(FILE_ID) as reader:
            reader.readinto(buffer)
            buffer.clear()

        assert bytearray() == buffer

    def test_readinto_refuses_a_read_only_buffer(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)

        with archive.open(FILE_ID) as reader, pytest.raises((TypeError, BufferError)):
            reader.readinto(bytes(10))

    def test_a_buffered_reader_may_stand_on_it(self, archive: Archive) -> None:
        data = content("lines", 1000).replace(b"\n", b" ") + b"\nlast line"
        store(archive, FILE_ID, data)
        with io.BufferedReader(archive.open(FILE_ID), 64) as lines:
            first, last = list(lines)
            lines.seek(3)
            some = lines.read(500)

        assert (data, data[3:503]) == (first + last, some)

    def test_two_readers_of_one_file_are_independent(self, archive: Archive) -> None:
        """Release 0.4.2 kept the one open file in the archive itself."""
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as one, archive.open(FILE_ID) as two:
            one.seek(1000)
            two.seek(2000)
            found = (one.read(1), two.read(1))
            one.close()
            rest = two.readall()

        assert ((DATA[1000:1001], DATA[2000:2001]), DATA[2001:]) == (found, rest)

    def test_readers_of_two_files_do_not_mix(self, archive: Archive) -> None:
        store(archive, 1, b"1" * 1000)
        store(archive, 2, b"2" * 1000)
        with archive.open(1) as one, archive.open(2) as two:
            found = [reader.read(10)[:1] for reader in (one, two, one, two)]

        assert [b"1", b"2", b"1", b"2"] == found

    def test_a_reader_reads_seeks_and_does_not_write(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            abilities = (reader.readable(), reader.seekable(), reader.writable())

        assert (True, True, False) == abilities

    def test_fileno_is_a_descriptor_of_the_very_bytes(self, archive: Archive) -> None:
        """Or io.UnsupportedOperation; servers send such files without copying."""
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            try:
                found = os.pread(reader.fileno(), len(DATA) + 1, 0)
            except io.UnsupportedOperation:
                pytest.skip("lacks the ability fileno")

        assert DATA == found

    def test_a_reader_carries_the_status_of_its_file(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            status = reader.status

        assert lasting(archive.status(FILE_ID)) == lasting(status)

    def test_an_empty_file_is_at_its_end(self, archive: Archive) -> None:
        store(archive, FILE_ID, b"")
        with archive.open(FILE_ID) as reader:
            found = (reader.read(10), reader.readinto(bytearray(10)), reader.readall())

        assert (b"", 0, b"") == found

    # --- closing

    @pytest.mark.parametrize("call", ["read", "readall", "tell", "readable", "digests"])
    def test_a_closed_reader_refuses(self, archive: Archive, call: str) -> None:
        store(archive, FILE_ID, DATA)
        reader = archive.open(FILE_ID)
        reader.close()

        with pytest.raises(ValueError, match="closed"):
            getattr(reader, call)()

    @pytest.mark.parametrize("size", [0, 8])
    def test_a_closed_reader_fills_nothing(self, archive: Archive, size: int) -> None:
        store(archive, FILE_ID, DATA)
        reader = archive.open(FILE_ID)
        reader.close()

        with pytest.raises(ValueError, match="closed"):
            reader.readinto(bytearray(size))

    def test_a_closed_reader_does_not_seek(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        reader = archive.open(FILE_ID)
        reader.close()

        with pytest.raises(ValueError, match="closed"):
            reader.seek(0)

    def test_a_reader_may_be_closed_twice(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        reader = archive.open(FILE_ID)
        reader.close()
        reader.close()

        assert reader.closed

    def test_a_forgotten_reader_is_warned_about(self, archive: Archive) -> None:
        store(archive, FILE_ID, DATA)
        readers = [archive.open(FILE_ID)]

        with pytest.warns(ResourceWarning, match="unclosed reader"):
            forget(readers)

    def test_a_reader_reads_from_the_medium(self, archive: Archive) -> None:
        """Not from what the writer of this process may remember."""
        store(archive, FILE_ID, DATA)
        archive.delete(FILE_ID)
        self.write_raw(archive, FILE_ID, DATA[::-1])

        assert DATA[::-1] == fetch(archive, FILE_ID)
