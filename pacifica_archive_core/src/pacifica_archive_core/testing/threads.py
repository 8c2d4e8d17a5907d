"""One archive and many threads."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pacifica_archive_core.errors import FileDamaged, FileExists, NoSuchFile
from pacifica_archive_core.testing.base import (
    Declarations,
    content,
    fetch,
    store,
)

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.status import FileStatus

THREADS = 16
IDS = range(6)


def labelled(file_id: int, serial: int, size: int) -> bytes:
    """Return bytes that say whose they are and how they go on."""
    label = f"{file_id} {serial} {size} ".encode()
    return label + content((file_id, serial), size)


def is_whole(file_id: int, data: bytes) -> bool:
    """Whether data are the bytes of one version of this very file."""
    found, serial, size, _ = data.split(b" ", 3)
    return data == labelled(int(found), int(serial), int(size)) and (
        int(found) == file_id
    )


def is_gone(archive: Archive, status: FileStatus) -> bool:
    """Whether this version is no longer the file of its id."""
    try:
        return archive.status(status.file_id).version != status.version
    except NoSuchFile:
        return True


def one_step(
    archive: Archive, random_: random.Random, serial: int, *, keeps_replaced: bool
) -> list[str]:
    """Do one thing with one of the files, and return what was wrong."""
    file_id = random_.choice(IDS)
    act = random_.choice(["replace", "create", "read", "look", "delete"])
    if act in {"replace", "create"}:
        size = random_.choice([0, 100, 5000, archive.block_size + 1])
        data = labelled(file_id, serial, size)
        store(archive, file_id, data, overwrite=act == "replace")
    elif act == "delete":
        archive.delete(file_id)
    elif act == "look":
        answers = archive.status_many(IDS)
        return [
            f"{asked}: {answer}"
            for asked, answer in answers
            if getattr(answer, "file_id", None) != asked
        ]
    else:
        with archive.open(file_id) as reader:
            try:
                data = reader.readall()
            except FileDamaged:
                if keeps_replaced or not is_gone(archive, reader.status):
                    raise
                return []
            if reader.status.size != len(data) or not is_whole(file_id, data):
                return [f"{file_id}: {len(data)} bytes {data[:30]!r}"]
    return []


class ThreadsContract(Declarations):
    """An archive is shared by any number of threads."""

    def test_sixteen_threads_find_every_byte_right(self, archive: Archive) -> None:
        """Storing, replacing, reading, looking and deleting the same few files."""
        start = threading.Barrier(THREADS, timeout=60)

        def work(thread: int) -> list[str]:
            random_ = random.Random(thread)
            start.wait()
            faults = []
            for step in range(40):
                try:
                    faults += one_step(
                        archive,
                        random_,
                        thread * 1000 + step,
                        keeps_replaced=self.keeps_replaced,
                    )
                except (FileExists, NoSuchFile):
                    continue
            return faults

        with ThreadPoolExecutor(THREADS) as pool:
            faults = [
                fault for found in pool.map(work, range(THREADS)) for fault in found
            ]

        assert [] == faults

    def test_sixteen_threads_store_sixteen_files(self, archive: Archive) -> None:
        """Block by block at the same time, each into its own."""
        start = threading.Barrier(THREADS, timeout=60)

        def work(thread: int) -> None:
            data = content(thread, 4000)
            with archive.create(thread) as writer:
                for begin in range(0, 4000, 100):
                    if begin % 1000 == 0:
                        start.wait()
                    writer.write(data[begin : begin + 100])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        whole = [fetch(archive, n) == content(n, 4000) for n in range(THREADS)]

        assert [True] * THREADS == whole

    def test_sixteen_threads_read_one_file(self, archive: Archive) -> None:
        """Each with its own reader and its own position."""
        data = content("data", 4000)
        store(archive, 1, data)
        start = threading.Barrier(THREADS, timeout=60)

        def work(thread: int) -> bytes:
            blocks = []
            with archive.open(1) as reader:
                reader.seek(thread)
                start.wait()
                while block := reader.read(50):
                    blocks.append(block)
            return b"".join(blocks)

        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(work, range(THREADS)))

        assert [data[n:] for n in range(THREADS)] == found

    def test_of_many_deleting_threads_one_deletes(self, archive: Archive) -> None:
        rounds = 10
        start = threading.Barrier(4, timeout=60)

        def work(file_id: int) -> bool:
            start.wait()
            try:
                archive.delete(file_id)
            except NoSuchFile:
                return False
            return True

        deleted = []
        with ThreadPoolExecutor(4) as pool:
            for file_id in range(rounds):
                store(archive, file_id, b"data")
                deleted.append(sum(pool.map(work, [file_id] * 4)))

        assert [1] * rounds == deleted
