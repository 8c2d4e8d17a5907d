"""Reading, writing, and files on tape, through the file system."""

from __future__ import annotations

import errno
import gc
import io
import pickle
import random
import threading
import zipfile
from typing import TYPE_CHECKING

import fsspec  # type: ignore[import-untyped]
import pytest

from pacifica_archive_core import ArchiveReader, MemoryArchive, Residency
from pacifica_archive_core.errors import FileDamaged, FileOffline
from pacifica_archive_core.filesystem import PacificaFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIGITS = b"0123456789"
MTIME_NS = 1_000_000_000_123_456_789
MIB = 1 << 20
WAIT_S = 60


class CountedReader(ArchiveReader):
    """Counts the bytes that are asked of a reader, and may damage its file."""

    def __init__(self, archive: CountingArchive, inner: ArchiveReader) -> None:
        super().__init__(archive, inner.status)
        self._counts = archive
        self._inner = inner

    def _readinto_at(self, view: memoryview, position: int) -> int:
        if self._counts.damaged:
            raise FileDamaged(self.status.file_id)
        self._inner.seek(position)
        count = self._inner.readinto(view)
        self._counts.moved += count
        return count

    def _release(self) -> None:
        self._inner.close()


class CountingArchive(MemoryArchive):
    moved = 0
    opened = 0
    damaged = False

    def __init__(self) -> None:
        super().__init__()
        self.staged = threading.Event()

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:  # type: ignore[override] # a counting one
        inner = super()._open(file_id, recall=recall)
        self.opened += 1
        return CountedReader(self, inner)

    def _stage(self, file_id: int) -> bool:
        online = super()._stage(file_id)
        self.staged.set()
        return online


@pytest.fixture
def archive() -> Iterator[CountingArchive]:
    with CountingArchive() as archive:
        yield archive


@pytest.fixture
def fs(archive: CountingArchive) -> PacificaFileSystem:
    """Give a file system with 0123456789 under 5."""
    fs = PacificaFileSystem(archive=archive, skip_instance_cache=True)
    fs.pipe_file("5", DIGITS, mtime_ns=MTIME_NS)
    return fs


# --- reading ---


@pytest.mark.parametrize("end", [None, 0, 3, 10, 11, -1, -10, -11])
@pytest.mark.parametrize("start", [None, 0, 4, 10, 11, -1, -10, -11])
def test_range_is_a_slice(
    fs: PacificaFileSystem, start: int | None, end: int | None
) -> None:
    assert DIGITS[start:end] == fs.cat_file("5", start, end)


def test_range_moves_its_own_bytes(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    fs.cat_file("5", 2, 5)

    assert 3 == archive.moved


def test_ranges_come_in_the_order_asked_for(fs: PacificaFileSystem) -> None:
    fs.pipe_file(6, b"abcdef")

    assert [b"45", b"ab", b"9", b"0123"] == fs.cat_ranges(
        ["5", "6", "pacifica://5", "5"], [4, 0, -1, None], [6, 2, None, 4]
    )


def test_ranges_of_a_file_take_one_reader(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    fs.cat_ranges(["5"] * 10, list(range(10)), list(range(1, 11)))

    assert 1 == archive.opened


def test_one_start_and_end_are_of_all_ranges(fs: PacificaFileSystem) -> None:
    assert [b"12", b"12"] == fs.cat_ranges(["5", "5"], 1, 3)


def test_error_takes_the_place_of_its_range(fs: PacificaFileSystem) -> None:
    found = fs.cat_ranges(["6", "5", "x"], 0, 2)

    assert [FileNotFoundError, bytes, "InvalidFileId"] == [
        type(found[0]),
        type(found[1]),
        type(found[2]).__name__,
    ]


def test_error_of_a_range_is_raised_when_asked_for(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match="file 6"):
        fs.cat_ranges(["5", "6"], 0, 2, on_error="raise")


def test_fewer_starts_than_paths_is_a_value_error(fs: PacificaFileSystem) -> None:
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges(["5", "5"], [0], [1])


def test_file_is_read_and_sought(fs: PacificaFileSystem) -> None:
    with fs.open("5") as file:
        assert [b"01", 8, b"89", b"", 10] == [
            file.read(2),
            file.seek(-2, io.SEEK_END),
            file.read(),
            file.read(1),
            file.tell(),
        ]


def test_file_says_what_it_is(fs: PacificaFileSystem) -> None:
    with fs.open("5") as file:
        assert ("5", 10, "rb", fs.info(5)) == (
            file.path,
            file.size,
            file.mode,
            file.info(),
        )


def test_text_is_read_by_lines(fs: PacificaFileSystem) -> None:
    fs.pipe_file(6, "eins\nzwölf\n".encode())

    with fs.open("6", "r", encoding="utf-8") as file:
        assert ["eins\n", "zwölf\n"] == list(file)


def test_few_bytes_here_and_there_move_a_block_each(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    fs.pipe_file(6, bytes(4 * MIB))
    with fs.open("6") as file:
        for position in (0, MIB, 3 * MIB, 4 * MIB - 8):
            file.seek(position)
            file.read(8)

    assert archive.moved <= 4 * 65536


def test_block_size_is_what_is_moved_at_least(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    fs.pipe_file(6, bytes(4 * MIB))
    with fs.open("6", block_size=512) as file:
        file.read(8)

    assert 512 == archive.moved


def test_long_piece_moves_as_it_is(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    content = random.Random(42).randbytes(4 * MIB)
    fs.pipe_file(6, content)
    with fs.open("6") as file:
        file.seek(1000)
        found = file.read(MIB + 1)

    assert (content[1000 : MIB + 1001], MIB + 1) == (found, archive.moved)


def test_long_piece_begins_with_what_is_held(fs: PacificaFileSystem) -> None:
    content = random.Random(42).randbytes(MIB)
    fs.pipe_file(6, content)
    with fs.open("6", block_size=1000) as file:
        found = [file.read(10), file.read(5000), file.read(10), file.read(2 * MIB)]

    assert content == b"".join(found)


def test_open_file_reads_on_when_it_is_replaced(fs: PacificaFileSystem) -> None:
    before, after = b"a" * (3 * MIB), b"b" * (3 * MIB)
    fs.pipe_file(6, before)
    with fs.open("6") as file:
        begin = file.read(MIB)
        fs.pipe_file(6, after)

        assert before == begin + file.read()


def test_damage_is_an_os_error(
    archive: CountingArchive, fs: PacificaFileSystem
) -> None:
    with fs.open("5") as file:
        archive.damaged = True
        with pytest.raises(OSError, match="cannot be read") as caught:
            file.read(1)

    assert errno.EIO == caught.value.errno


def test_open_file_is_pickled_with_its_position() -> None:
    fs = PacificaFileSystem("memory", skip_instance_cache=True)
    fs.pipe_file(5, DIGITS)
    with fs.open("5", block_size=4) as file:
        file.seek(3)
        with pickle.loads(pickle.dumps(file)) as copy:  # noqa: S301 (our own)
            assert (b"3456789", 4) == (copy.read(), copy.blocksize)


def test_pickled_file_is_not_opened_in_another_version() -> None:
    fs = PacificaFileSystem("memory", skip_instance_cache=True)
    fs.pipe_file(5, DIGITS)
    with fs.open("5") as file:
        pickled = pickle.dumps(file)
    fs.pipe_file(5, DIGITS)
    with pytest.raises(OSError, match="was replaced") as caught:
        pickle.loads(pickled)  # noqa: S301 (our own)

    assert errno.ESTALE == caught.value.errno


def test_file_is_fetched_to_a_path(fs: PacificaFileSystem, tmp_path: Path) -> None:
    fs.get("pacifica://5", str(tmp_path / "five"))

    assert DIGITS == (tmp_path / "five").read_bytes()


def test_file_is_cached_by_fsspec(tmp_path: Path) -> None:
    fs = PacificaFileSystem("memory")
    fs.pipe_file(5, DIGITS)
    with fsspec.open(
        "simplecache::pacifica://5",
        pacifica={"type": "memory"},
        simplecache={"cache_storage": str(tmp_path)},
    ) as file:
        assert DIGITS == file.read()


# --- writing ---


def test_file_is_visible_when_it_is_closed(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb") as file:
        file.write(b"six")
        before = fs.exists("6")

    assert (False, b"six") == (before, fs.cat_file("6"))


def test_many_small_writes_are_one_file(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb", block_size=1000) as file:
        for number in range(10_000):
            file.write(b"%d," % number)

    assert b"".join(b"%d," % number for number in range(10_000)) == fs.cat_file("6")


def test_upload_tells_how_many_bytes_it_took(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb", block_size=8) as file:
        taken = [file.write(DIGITS), file.tell(), file.write(b"ab"), file.tell()]

    assert [10, 10, 2, 12] == taken


def test_promised_size_is_kept(fs: PacificaFileSystem) -> None:
    with (
        pytest.raises(OSError, match="3 of 4 bytes came"),
        fs.open("6", "wb", size=4) as file,
    ):
        file.write(b"six")

    assert not fs.exists("6")


def test_more_than_promised_is_refused_and_discarded(fs: PacificaFileSystem) -> None:
    file = fs.open("5", "wb", size=4)
    file.write(b"seven")
    with pytest.raises(OSError, match="more bytes than the 4 promised"):
        file.close()

    assert (True, DIGITS) == (file.closed, fs.cat_file("5"))


def test_time_is_stored(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb", mtime_ns=MTIME_NS):
        pass

    assert MTIME_NS == fs.info("6")["mtime_ns"]


def test_exclusive_mode_refuses_at_once(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileExistsError, match="file 5"):
        fs.open("5", "xb")


def test_exclusive_mode_refuses_at_the_end_too(fs: PacificaFileSystem) -> None:
    file = fs.open("6", "xb")
    file.write(b"late")
    fs.pipe_file("6", b"early")
    with pytest.raises(FileExistsError, match="file 6"):
        file.close()

    assert (True, b"early") == (file.closed, fs.cat_file("6"))


def test_pipe_to_create_replaces_nothing(fs: PacificaFileSystem) -> None:
    with pytest.raises(FileExistsError):
        fs.pipe_file("5", b"new", mode="create")

    assert DIGITS == fs.cat_file("5")


def test_pipe_takes_known_modes_only(fs: PacificaFileSystem) -> None:
    with pytest.raises(ValueError, match="create or overwrite"):
        fs.pipe_file("5", b"new", mode="append")


def test_pipe_takes_any_buffer(fs: PacificaFileSystem) -> None:
    fs.pipe_file("6", memoryview(b"abcdefgh").cast("I"))

    assert b"abcdefgh" == fs.cat_file("6")


def test_local_file_is_stored_with_its_time(
    fs: PacificaFileSystem, tmp_path: Path
) -> None:
    local = tmp_path / "six"
    local.write_bytes(b"six")
    fs.put(str(local), "pacifica://6")

    assert (b"six", local.stat().st_mtime_ns) == (
        fs.cat_file("6"),
        fs.info("6")["mtime_ns"],
    )


def test_local_file_replaces_nothing_to_create(
    fs: PacificaFileSystem, tmp_path: Path
) -> None:
    (tmp_path / "six").write_bytes(b"six")
    with pytest.raises(FileExistsError):
        fs.put_file(tmp_path / "six", "5", mode="create")

    assert DIGITS == fs.cat_file("5")


def test_zip_file_is_written_as_a_stream(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb") as file, zipfile.ZipFile(file, "w") as packed:
        packed.writestr("digits", DIGITS)

    with fs.open("6") as file, zipfile.ZipFile(file) as packed:
        assert DIGITS == packed.read("digits")


# --- what is not finished ---


class Broken(Exception):
    """What a writer dies of."""


def break_in_block(fs: PacificaFileSystem, mode: str) -> None:
    with fs.open("5", mode) as file:
        file.write("part" if mode == "w" else b"part")
        raise Broken


def break_in_fsspec_open(mode: str) -> None:
    with fsspec.open("pacifica://5", mode, type="memory") as file:
        file.write("part" if mode == "w" else b"part")
        raise Broken


def break_before_finally(fs: PacificaFileSystem) -> None:
    file = fs.open("5", "wb")
    try:
        file.write(b"part")
        raise Broken
    finally:
        file.close()


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_exception_discards(fs: PacificaFileSystem, mode: str) -> None:
    with pytest.raises(Broken):
        break_in_block(fs, mode)

    assert DIGITS == fs.cat_file("5")


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_exception_discards_under_fsspec_open(mode: str) -> None:
    fs = fsspec.filesystem("pacifica", type="memory")
    fs.pipe_file(5, DIGITS)
    with pytest.raises(Broken):
        break_in_fsspec_open(mode)

    assert DIGITS == fs.cat_file("5")


def test_exception_discards_where_the_file_is_closed_finally(
    fs: PacificaFileSystem,
) -> None:
    with pytest.raises(Broken):
        break_before_finally(fs)

    assert DIGITS == fs.cat_file("5")


def test_what_is_discarded_on_closing_is_noted_on_the_exception(
    fs: PacificaFileSystem,
) -> None:
    with pytest.raises(Broken) as caught:
        break_before_finally(fs)

    assert ["file 5 was discarded, not stored: it was closed upon this"] == (
        caught.value.__notes__
    )


def test_who_closes_while_handling_an_exception_is_told_that_nothing_is_stored(
    fs: PacificaFileSystem,
) -> None:
    file = fs.open("6", "wb")
    file.write(b"six")
    try:
        raise Broken
    except Broken:
        with pytest.raises(Broken):
            file.close()

    assert not fs.exists("6")


def test_exception_handled_before_does_not_discard(fs: PacificaFileSystem) -> None:
    try:
        raise Broken
    except Broken:
        with fs.open("6", "wb") as file:
            file.write(b"six")

    assert b"six" == fs.cat_file("6")


def raise_again_in_block(fs: PacificaFileSystem) -> None:
    try:
        raise Broken
    except Broken as exc:
        with fs.open("5", "wb") as file:
            file.write(b"part")
            raise exc  # noqa: TRY201 (the very one that is being handled)


def test_exception_handled_before_discards_when_raised_again(
    fs: PacificaFileSystem,
) -> None:
    with pytest.raises(Broken):
        raise_again_in_block(fs)

    assert DIGITS == fs.cat_file("5")


def test_exception_in_the_block_gets_no_note(fs: PacificaFileSystem) -> None:
    with pytest.raises(Broken) as caught:
        break_in_block(fs, "wb")

    assert [] == getattr(caught.value, "__notes__", [])


def test_commit_stores_in_spite_of_an_exception(fs: PacificaFileSystem) -> None:
    file = fs.open("6", "wb")
    try:
        raise Broken
    except Broken:
        file.write(b"six")
        file.commit()
        file.close()

    assert b"six" == fs.cat_file("6")


def lose_upload(fs: PacificaFileSystem, mode: str) -> None:
    fs.open("5", mode).write("part" if mode == "w" else b"part")
    gc.collect()


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_lost_upload_is_discarded(fs: PacificaFileSystem, mode: str) -> None:
    with pytest.warns(ResourceWarning, match="file 5 neither closed nor discarded"):
        lose_upload(fs, mode)

    assert DIGITS == fs.cat_file("5")


def test_closed_upload_takes_no_more(fs: PacificaFileSystem) -> None:
    with fs.open("6", "wb") as file:
        pass

    with pytest.raises(ValueError, match="closed"):
        file.write(b"more")


def test_compressing_upload_that_would_not_be_closed_is_refused(
    fs: PacificaFileSystem,
) -> None:
    with pytest.raises(ValueError, match=r"fsspec\.open"):
        fs.open("6", "wb", compression="gzip")


def test_compressed_file_is_stored_and_read() -> None:
    options = {"type": "memory", "compression": "gzip"}
    with fsspec.open("pacifica://6", "wb", **options) as file:
        file.write(DIGITS)
    with fsspec.open("pacifica://6", **options) as file:
        assert DIGITS == file.read()


# --- transactions ---


def test_transaction_stores_at_its_end(fs: PacificaFileSystem) -> None:
    with fs.transaction:
        with fs.open("6", "wb") as file:
            file.write(b"six")
        before = fs.exists("6")

    assert (False, b"six") == (before, fs.cat_file("6"))


def fail_in_transaction(fs: PacificaFileSystem) -> None:
    with fs.transaction:
        with fs.open("5", "wb") as file:
            file.write(b"part")
        raise Broken


def test_failed_transaction_stores_nothing(fs: PacificaFileSystem) -> None:
    with pytest.raises(Broken):
        fail_in_transaction(fs)

    assert DIGITS == fs.cat_file("5")


def test_transaction_passes_over_what_an_exception_discarded(
    fs: PacificaFileSystem,
) -> None:
    with fs.transaction:
        with pytest.raises(Broken):
            break_in_block(fs, "wb")
        with fs.open("6", "wb") as file:
            file.write(b"six")

    assert [DIGITS, b"six"] == [fs.cat_file("5"), fs.cat_file("6")]


# --- files on tape ---


@pytest.fixture
def taped(archive: CountingArchive, fs: PacificaFileSystem) -> PacificaFileSystem:
    """Give the file system, its file on tape only."""
    archive.purge(5)
    return fs


def test_file_on_tape_says_so(taped: PacificaFileSystem) -> None:
    assert ("tape", False) == (taped.info(5)["residency"], taped.info(5)["online"])


@pytest.mark.parametrize("read", [lambda fs: fs.open("5"), lambda fs: fs.cat_file(5)])
def test_file_on_tape_would_block(
    taped: PacificaFileSystem, read: Callable[[PacificaFileSystem], object]
) -> None:
    with pytest.raises(BlockingIOError, match="on_offline='wait'") as caught:
        read(taped)

    assert errno.EAGAIN == caught.value.errno
    assert isinstance(caught.value.__cause__, FileOffline)


def test_nothing_is_staged_unasked(
    archive: CountingArchive, taped: PacificaFileSystem
) -> None:
    with pytest.raises(BlockingIOError):
        taped.open("5")

    assert not archive.staged.is_set()


def test_recall_is_asked_for(
    archive: CountingArchive, taped: PacificaFileSystem
) -> None:
    with pytest.raises(BlockingIOError, match="its recall is asked for"):
        taped.open("5", on_offline="stage")
    archive.finish_recalls()

    assert DIGITS == taped.cat_file("5")


def test_wait_ends_when_the_file_has_come(
    archive: CountingArchive, taped: PacificaFileSystem
) -> None:
    def recall() -> None:
        if archive.staged.wait(WAIT_S):
            archive.finish_recalls()

    tape = threading.Thread(target=recall)
    tape.start()
    try:
        found = taped.cat_file("5", 2, 4, on_offline="wait", offline_timeout_s=WAIT_S)
    finally:
        tape.join()

    assert b"23" == found


def test_wait_ends_at_its_deadline(
    archive: CountingArchive, taped: PacificaFileSystem
) -> None:
    with pytest.raises(TimeoutError, match="on tape still, after 0 s") as caught:
        taped.open("5", on_offline="wait", offline_timeout_s=0)

    assert (errno.ETIMEDOUT, True) == (caught.value.errno, archive.staged.is_set())


def test_deadline_may_be_an_option_in_words(archive: CountingArchive) -> None:
    fs = PacificaFileSystem(
        archive=archive, on_offline="wait", offline_timeout_s="0", use_listings_cache=0
    )
    fs.pipe_file(5, DIGITS)
    archive.purge(5)

    with pytest.raises(TimeoutError, match="after 0 s"):
        fs.open("5")


def test_residency_of_one_is_a_value(taped: PacificaFileSystem) -> None:
    assert Residency.TAPE is taped.residency("pacifica://5")


def test_residencies_of_many_are_a_dict(taped: PacificaFileSystem) -> None:
    taped.pipe_file(6, b"six")

    assert {"5": Residency.TAPE, "6": Residency.DISK} == taped.residency([5, "6"])


def test_stage_says_what_is_on_disk(taped: PacificaFileSystem) -> None:
    taped.pipe_file(6, b"six")

    assert {"5": False, "6": True} == taped.stage(["5", "6"])


def test_stage_of_one_is_a_value(taped: PacificaFileSystem) -> None:
    assert False is taped.stage(5)


@pytest.mark.parametrize("call", ["residency", "stage"])
def test_error_of_one_is_raised(taped: PacificaFileSystem, call: str) -> None:
    with pytest.raises(FileNotFoundError, match="file 6"):
        getattr(taped, call)(["6", "5"])


def test_all_are_staged_before_an_error_is_raised(
    archive: CountingArchive, taped: PacificaFileSystem
) -> None:
    with pytest.raises(FileNotFoundError):
        taped.stage([6, 5])

    assert archive.staged.is_set()


def test_error_of_one_is_returned_when_asked_for(taped: PacificaFileSystem) -> None:
    found = taped.residency([5, 6], on_error="return")

    assert isinstance(found, dict)
    assert [Residency, FileNotFoundError] == [type(found["5"]), type(found["6"])]


def test_error_of_one_is_omitted_when_asked_for(taped: PacificaFileSystem) -> None:
    assert {"5": False} == taped.stage([6, 5], on_error="omit")


def test_on_error_takes_known_words_only(taped: PacificaFileSystem) -> None:
    with pytest.raises(ValueError, match="raise, return or omit"):
        taped.stage([5], on_error="pass")
