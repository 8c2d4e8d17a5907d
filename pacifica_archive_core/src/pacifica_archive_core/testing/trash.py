"""Deleted files that can be taken back."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.errors import (
    ArchiveError,
    ArchiveUnavailable,
    FileExists,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_core.ids import MAX_FILE_ID
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    content,
    fetch,
    refusal,
    store,
)
from pacifica_archive_core.testing.child import in_forked_child, started
from pacifica_archive_core.testing.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core.archive import Archive, SupportsTrash, Trashed

DATA = content("data", 5000)
NEW = content("new", 6000)
MTIME_NS = 1_234_567_890 * 10**9
THREADS = 32
STEPS = 25
IDS = range(4)
KILLS = 4


def version(number: int) -> bytes:
    """Return bytes that say which of many versions they are."""
    return f"{number} ".encode() + content(number, 1000)


def trash_one(archive: Archive, data: bytes, file_id: int = FILE_ID) -> Trashed:
    """Store a file and put it into the trash; return what the trash says of it."""
    trash = can_trash(archive)
    before = set(trash.trashed())
    store(archive, file_id, data)
    trash.trash(file_id)
    (found,) = set(trash.trashed()) - before
    return found


def can_trash(archive: Archive) -> SupportsTrash:
    """Return the archive by its other type."""
    return archive  # type: ignore[return-value]  # the tests have asked


def trash_and_undelete_for_ever(opener: Callable[[], Archive]) -> None:
    """Move a file there and back; run in a process that will be killed."""
    archive = opener()
    trash = can_trash(archive)
    while True:
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)
        sys.stdout.buffer.write(b"once more\n")
        sys.stdout.buffer.flush()


class TrashContract(Declarations):
    """``trash``, ``undelete`` and the rest, where the archive has them."""

    # --- there and back

    def test_a_trashed_file_is_missing(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        trash.trash(FILE_ID)
        calls = self.calls(archive)
        del calls["create"], calls["undelete"]
        found = {name: type(refusal(call, FILE_ID)) for name, call in calls.items()}

        assert dict.fromkeys(calls, NoSuchFile) == found

    def test_the_id_of_a_trashed_file_is_free(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        trash.trash(FILE_ID)
        store(archive, FILE_ID, NEW, overwrite=False)

        assert NEW == fetch(archive, FILE_ID)

    @pytest.mark.parametrize("file_id", [0, 1, 0x39, 0x3039, MAX_FILE_ID])
    def test_a_trashed_file_comes_back_whole(
        self, archive: Archive, file_id: int
    ) -> None:
        trash = self.need_trash(archive)
        data = content(file_id, archive.block_size + 1)
        store(archive, file_id, data)
        trash.trash(file_id)
        trash.undelete(file_id)

        assert (data, data) == (
            fetch(archive, file_id),
            self.read_raw(archive, file_id),
        )

    def test_an_empty_trashed_file_comes_back(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        trash_one(archive, b"")
        trash.undelete(FILE_ID)

        assert b"" == fetch(archive, FILE_ID)

    def test_an_undeleted_file_is_as_it_was(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA, mtime_ns=MTIME_NS)
        before = archive.status(FILE_ID)
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)
        after = archive.status(FILE_ID)

        assert (MTIME_NS, len(DATA), before.path, before.levels, before.residency) == (
            after.mtime_ns,
            after.size,
            after.path,
            after.levels,
            after.residency,
        )

    def test_an_undeleted_file_has_its_digests(self, archive: Archive) -> None:
        self.need("keeps_digests")
        trash = self.need_trash(archive)
        kept = self.kept(DATA, ["md5"])
        store(archive, FILE_ID, DATA, digests=kept)
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)

        assert kept == dict(archive.digests(FILE_ID))

    def test_an_undeleted_file_is_like_any_other(self, archive: Archive) -> None:
        """It is replaced, trashed again and deleted."""
        trash = self.need_trash(archive)
        trash_one(archive, DATA)
        trash.undelete(FILE_ID)
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)
        store(archive, FILE_ID, NEW)
        found = fetch(archive, FILE_ID)
        archive.delete(FILE_ID)

        assert (NEW, []) == (found, list(trash.trashed()))

    def test_a_reader_reads_on_when_its_file_is_trashed(self, archive: Archive) -> None:
        """And when it comes back."""
        self.need("keeps_replaced")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        with archive.open(FILE_ID) as reader:
            parts = [reader.read(10)]
            trash.trash(FILE_ID)
            parts.append(reader.read(10))
            trash.undelete(FILE_ID)
            parts.append(reader.readall())

        assert DATA == b"".join(parts)

    def test_a_writer_of_a_trashed_file_goes_on(self, archive: Archive) -> None:
        """What it was to replace stays in the trash."""
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        with archive.create(FILE_ID, overwrite=True) as writer:
            writer.write(NEW)
            trash.trash(FILE_ID)
        found = fetch(archive, FILE_ID)
        archive.delete(FILE_ID)
        trash.undelete(FILE_ID)

        assert (NEW, DATA) == (found, fetch(archive, FILE_ID))

    def test_other_files_are_not_trashed(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        ids = [0x3039, 0x39, 0x303039, 1, MAX_FILE_ID]
        for file_id in ids:
            store(archive, file_id, content(file_id, 100))
        trash.trash(0x39)
        found = [type(refusal(archive.open, file_id)) for file_id in ids]

        assert [type(None), NoSuchFile, *[type(None)] * 3] == found

    # --- what is refused

    def test_a_taken_id_is_not_undeleted(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        trash_one(archive, DATA)
        store(archive, FILE_ID, NEW)

        with pytest.raises(FileExists):
            trash.undelete(FILE_ID)

    def test_an_undelete_that_is_refused_harms_neither_file(
        self, archive: Archive
    ) -> None:
        trash = self.need_trash(archive)
        trash_one(archive, DATA)
        store(archive, FILE_ID, NEW)
        refusal(trash.undelete, FILE_ID)
        present = fetch(archive, FILE_ID)
        archive.delete(FILE_ID)
        trash.undelete(FILE_ID)

        assert (NEW, DATA) == (present, fetch(archive, FILE_ID))

    def test_a_file_of_another_id_is_not_undeleted(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        for file_id in (1, 12, 0x3039, MAX_FILE_ID):
            trash_one(archive, DATA, file_id)
        others = [0, 2, 123, 0x39, 0x30, 0x303039, MAX_FILE_ID - 1]
        found = [type(refusal(trash.undelete, file_id)) for file_id in others]

        assert [NoSuchFile] * len(others) == found

    # --- several of one id

    def test_files_of_one_id_are_all_kept_in_the_trash(self, archive: Archive) -> None:
        """And come back one after the other, the last one trashed first."""
        trash = self.need_trash(archive)
        for number in range(3):
            trash_one(archive, version(number))
        found = []
        for _ in range(3):
            trash.undelete(FILE_ID)
            found.append(fetch(archive, FILE_ID))
            archive.delete(FILE_ID)

        assert [version(2), version(1), version(0)] == found

    def test_a_file_is_taken_back_by_the_time_of_its_deletion(
        self, archive: Archive
    ) -> None:
        trash = self.need_trash(archive)
        times = [trash_one(archive, version(n)).deleted_ns for n in range(3)]
        found = []
        for number in (1, 2, 0):
            trash.undelete(FILE_ID, deleted_ns=times[number])
            found.append(fetch(archive, FILE_ID))
            archive.delete(FILE_ID)

        assert [version(1), version(2), version(0)] == found

    def test_another_time_takes_no_file_back(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        time_ns = trash_one(archive, DATA).deleted_ns
        others = [0, time_ns - 1, time_ns + 1, time_ns // 10**9, -1]
        found = [
            type(refusal(lambda ns=ns: trash.undelete(FILE_ID, deleted_ns=ns)))
            for ns in others
        ]

        assert ([NoSuchFile] * 5, 1) == (found, len(list(trash.trashed())))

    @pytest.mark.parametrize("step_ns", [0, -(10**9)], ids=["still", "backwards"])
    def test_a_clock_that_does_not_go_on_loses_no_trashed_file(
        self, archive: Archive, step_ns: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is kept, and named by a time of its own."""
        trash = self.need_trash(archive)
        now_ns = time.time_ns()
        times = [now_ns + n * step_ns for n in range(1000)]
        monkeypatch.setattr(time, "time_ns", lambda: times.pop(0) if times else now_ns)
        named = [trash_one(archive, version(n)).deleted_ns for n in range(3)]
        found = []
        for time_ns in named:
            trash.undelete(FILE_ID, deleted_ns=time_ns)
            found.append(fetch(archive, FILE_ID))
            archive.delete(FILE_ID)

        assert [version(0), version(1), version(2)] == found

    # --- the list

    def test_the_trash_says_what_is_in_it(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        before_ns = time.time_ns()
        for file_id, size in ((1, 100), (MAX_FILE_ID, 0), (1, 200)):
            trash_one(archive, content(file_id, size), file_id)
        after_ns = time.time_ns()
        store(archive, 2, DATA)
        found = list(trash.trashed())

        assert ([(1, 100), (1, 200), (MAX_FILE_ID, 0)], True) == (
            sorted((one.file_id, one.size) for one in found),
            all(before_ns <= one.deleted_ns <= after_ns for one in found),
        )

    def test_an_undeleted_file_is_no_longer_in_the_trash(
        self, archive: Archive
    ) -> None:
        trash = self.need_trash(archive)
        first = trash_one(archive, DATA)
        trash_one(archive, NEW)
        trash.undelete(FILE_ID)

        assert [first] == list(trash.trashed())

    def test_a_trash_that_was_never_used_is_empty(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)

        assert ([], 0) == (list(trash.trashed()), trash.empty_trash(2**63))

    # --- destroying

    def test_emptying_destroys_what_is_older(self, archive: Archive) -> None:
        """Nothing of that very time, nor what is later."""
        trash = self.need_trash(archive)
        found = [trash_one(archive, version(n)) for n in range(3)]
        count = trash.empty_trash(found[1].deleted_ns)

        assert (1, set(found[1:])) == (count, set(trash.trashed()))

    def test_emptying_goes_no_further_than_its_limit(self, archive: Archive) -> None:
        """And begins with what is oldest, which no list in the order of ids has."""
        trash = self.need_trash(archive)
        found = [trash_one(archive, DATA, file_id) for file_id in (1, 0, 2, 1, 0)]
        left = []
        for limit in (0, 1, 2, 1):
            count = trash.empty_trash(2**63, limit=limit)
            left.append((count, {*trash.trashed()}))

        assert [
            (0, {*found}),
            (1, {*found[1:]}),
            (2, {*found[3:]}),
            (1, {found[4]}),
        ] == left

    def test_emptying_leaves_what_is_stored(self, archive: Archive) -> None:
        """Also what has been in the trash."""
        trash = self.need_trash(archive)
        trash_one(archive, DATA)
        trash.undelete(FILE_ID)
        trash_one(archive, NEW, 1)
        store(archive, 1, NEW)
        trash.empty_trash(2**63)

        assert (DATA, NEW) == (fetch(archive, FILE_ID), fetch(archive, 1))

    def test_what_was_destroyed_does_not_come_back(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        time_ns = trash_one(archive, DATA).deleted_ns
        trash.empty_trash(2**63)
        found = [
            type(refusal(trash.undelete, FILE_ID)),
            type(refusal(lambda: trash.undelete(FILE_ID, deleted_ns=time_ns))),
        ]

        assert [NoSuchFile] * 2 == found

    def test_destroying_takes_the_bytes_off_the_medium(self, archive: Archive) -> None:
        """Directories may stay; what is destroyed costs no name."""
        trash = self.need_trash(archive)
        trash_one(archive, DATA)
        trash.empty_trash(2**63)
        before = self.list_raw(archive)
        trash_one(archive, DATA)
        trash.empty_trash(2**63)

        assert before == self.list_raw(archive)

    # --- tape

    def test_a_file_on_tape_stays_there_in_the_trash(self, archive: Archive) -> None:
        """Nothing of it asks for a recall."""
        self.need("has_tape")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        self.make_offline(archive, FILE_ID)
        before = archive.status(FILE_ID)
        trash.trash(FILE_ID)
        self.finish_recalls(archive)
        list(trash.trashed())
        trash.undelete(FILE_ID)
        self.finish_recalls(archive)
        after = archive.status(FILE_ID)

        assert (before.residency, before.levels, False) == (
            after.residency,
            after.levels,
            after.online,
        )

    def test_a_file_on_tape_is_trashed_without_opening_it(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.need("has_tape")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        self.make_offline(archive, FILE_ID)
        asked = []
        for hook in ("_open", "_stage"):

            def spy(*_: object, hook: str = hook, **__: object) -> None:
                asked.append(hook)
                raise FileOffline(FILE_ID)

            monkeypatch.setattr(type(archive), hook, spy)
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)

        assert [] == asked

    def test_an_undeleted_file_is_staged_from_tape(self, archive: Archive) -> None:
        self.need("has_tape")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        self.make_offline(archive, FILE_ID)
        trash.trash(FILE_ID)
        trash.undelete(FILE_ID)
        archive.stage(FILE_ID)
        self.finish_recalls(archive)

        assert DATA == fetch(archive, FILE_ID)

    def test_a_late_recall_does_not_undo_a_trash(self, archive: Archive) -> None:
        self.need("has_tape")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        self.make_offline(archive, FILE_ID)
        archive.stage(FILE_ID)
        trash.trash(FILE_ID)
        self.finish_recalls(archive)

        with pytest.raises(NoSuchFile):
            archive.status(FILE_ID)

    # --- many at once

    def test_of_many_trashing_threads_one_trashes(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        rounds = 10
        start = threading.Barrier(4, timeout=60)

        def work(file_id: int) -> bool:
            start.wait()
            error = refusal(trash.trash, file_id)
            assert error is None or isinstance(error, NoSuchFile)
            return error is None

        done = []
        with ThreadPoolExecutor(4) as pool:
            for file_id in range(rounds):
                store(archive, file_id, DATA)
                done.append(sum(pool.map(work, [file_id] * 4)))

        assert ([1] * rounds, rounds) == (done, len(list(trash.trashed())))

    def test_of_many_undeleting_threads_one_undeletes(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        rounds = 10
        start = threading.Barrier(4, timeout=60)

        def work(file_id: int) -> bool:
            start.wait()
            error = refusal(trash.undelete, file_id)
            assert error is None or isinstance(error, (NoSuchFile, FileExists))
            return error is None

        done = []
        with ThreadPoolExecutor(4) as pool:
            for file_id in range(rounds):
                trash_one(archive, DATA, file_id)
                done.append(sum(pool.map(work, [file_id] * 4)))

        assert ([1] * rounds, []) == (done, list(trash.trashed()))

    def test_many_threads_lose_no_file_of_the_trash(self, archive: Archive) -> None:
        """
        Each version that was stored and not deleted is in exactly one place.

        Which are stored, trashed, taken back and deleted, of the same few ids.
        """
        trash = self.need_trash(archive)
        start = threading.Barrier(THREADS, timeout=60)
        stored: list[list[int]] = [[] for _ in range(THREADS)]
        deleted: list[int] = [0] * THREADS

        def step(thread: int, number: int, chance: random.Random) -> None:
            file_id = chance.choice(IDS)
            act = chance.choice(["create", "create", "trash", "undelete", "delete"])
            if act == "create":
                store(archive, file_id, version(number), overwrite=False)
                stored[thread].append(number)
            elif act == "trash":
                trash.trash(file_id)
            elif act == "undelete":
                trash.undelete(file_id)
            elif number % 3 == 0:
                archive.delete(file_id)
                deleted[thread] += 1

        def work(thread: int) -> list[str]:
            chance = random.Random(thread)
            start.wait()
            faults = []
            for number in range(thread * STEPS, (thread + 1) * STEPS):
                try:
                    step(thread, number, chance)
                except (FileExists, NoSuchFile):
                    continue
                except ArchiveError as exc:
                    faults.append(repr(exc))
            return faults

        with ThreadPoolExecutor(THREADS) as pool:
            faults = [one for found in pool.map(work, range(THREADS)) for one in found]
        left = Counter(self.everything(archive))
        known = {version(number) for numbers in stored for number in numbers}

        assert ([], [], set(), len(known) - sum(deleted)) == (
            faults,
            [data[:20] for data, count in left.items() if count > 1],
            left.keys() - known,
            len(left),
        )

    def everything(self, archive: Archive) -> list[bytes]:
        """Return the bytes of every version at its id or in the trash; delete all."""
        trash = self.need_trash(archive)
        found = []
        for file_id in IDS:
            while True:
                try:
                    found.append(fetch(archive, file_id))
                    archive.delete(file_id)
                except NoSuchFile:
                    pass  # Only in the trash.
                try:
                    trash.undelete(file_id)
                except NoSuchFile:
                    break
        return found

    # --- other archives and processes

    def test_a_second_archive_sees_the_trash(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        trash = self.need_trash(archive)
        with opener() as second:
            mine = trash_one(archive, DATA)
            seen = list(can_trash(second).trashed())
            can_trash(second).undelete(FILE_ID)

        assert ([mine], DATA, []) == (
            seen,
            fetch(archive, FILE_ID),
            list(trash.trashed()),
        )

    def test_a_killed_process_leaves_a_file_in_the_trash_or_at_its_id(
        self, archive: Archive, opener: Callable[[], Archive]
    ) -> None:
        """Whole, in one of them, wherever in the midst it was killed."""
        self.need("persistent")
        trash = self.need_trash(archive)
        store(archive, FILE_ID, DATA)
        chance = random.Random(0)
        found = []
        for _ in range(KILLS):
            with started(trash_and_undelete_for_ever, opener) as process:
                assert process.stdout is not None
                for _ in range(chance.randrange(1, 4)):
                    assert b"once more\n" == process.stdout.readline()
                # Anywhere within the next one or two.
                moment = time.perf_counter() + chance.uniform(0, 0.003)
                while time.perf_counter() < moment:
                    os.sched_yield()
                process.kill()
                process.wait(timeout=60)
            there = refusal(archive.status, FILE_ID) is None
            in_trash = len(list(trash.trashed()))
            if not there:
                trash.undelete(FILE_ID)
            found.append((int(there) + in_trash, fetch(archive, FILE_ID)))

        assert [(1, DATA)] * KILLS == found

    def test_a_forked_child_may_not_use_the_trash(self, archive: Archive) -> None:
        trash = self.need_trash(archive)
        mine = trash_one(archive, DATA)
        found = in_forked_child(
            lambda: [
                type(refusal(call)).__name__
                for call in (
                    lambda: trash.undelete(FILE_ID),
                    lambda: list(trash.trashed()),
                    lambda: trash.empty_trash(2**63),
                )
            ]
        )

        assert (["RuntimeError"] * 3, [mine]) == (found, list(trash.trashed()))

    # --- the store and its end

    def test_a_closed_archive_has_no_trash_to_show(
        self, opener: Callable[[], Archive]
    ) -> None:
        with opener() as archive:
            trash = self.need_trash(archive)
            trash_one(archive, DATA)
        found = [
            type(refusal(lambda: trash.undelete(FILE_ID))),
            type(refusal(lambda: list(trash.trashed()))),
            type(refusal(lambda: trash.empty_trash(2**63))),
        ]

        assert [ValueError] * 3 == found

    def test_a_trashed_file_is_not_missing_because_its_archive_is_closed_meanwhile(
        self, opener: Callable[[], Archive]
    ) -> None:
        """By another thread, between the check that it is open and the answer."""
        with opener() as archive:
            trash = self.need_trash(archive)
            trash_one(archive, DATA)
            found = refusal(trash.undelete, Closing(FILE_ID, archive))

        assert not isinstance(found, NoSuchFile)

    def test_the_trash_outlives_the_archive(
        self, opener: Callable[[], Archive]
    ) -> None:
        self.need("persistent")
        with opener() as archive:
            self.need_trash(archive)
            trash_one(archive, DATA)
        with opener() as archive:
            can_trash(archive).undelete(FILE_ID)
            found = fetch(archive, FILE_ID)

        assert DATA == found

    def test_the_trash_of_an_unreachable_store_is_not_empty(
        self, archive: Archive
    ) -> None:
        """It is out of reach: what it holds is not to be given up."""
        self.need("can_be_unreachable")
        trash = self.need_trash(archive)
        mine = trash_one(archive, DATA)
        with self.unreachable(archive):
            found = [
                type(refusal(lambda: trash.undelete(FILE_ID))),
                type(refusal(lambda: list(trash.trashed()))),
                type(refusal(lambda: trash.empty_trash(2**63))),
            ]

        assert ([ArchiveUnavailable] * 3, [mine]) == (found, list(trash.trashed()))
