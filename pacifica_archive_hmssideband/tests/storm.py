"""A mixed load of many threads on one archive, each of whose answers is checked."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import random
import threading
import time
import traceback
from typing import TYPE_CHECKING, Self

import attrs

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileExists,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_core.testing.base import content
from pacifica_archive_core.testing.threads import is_whole, labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pacifica_archive_core import FileStatus
    from pacifica_archive_posix import PosixArchive

__all__ = ["IDS", "Load", "may_be_released"]

THREADS = 32
#: Files of each thread, which alone writes them and so knows what they hold.
OWN = 8
SHARED = range(1 << 20, (1 << 20) + 64)
IDS = (*range(THREADS * OWN), *SHARED)
SIZES = (0, 2, 100, 5000, 70_000)
#: No wait for the load's progress lasts longer.
_LIMIT_S = 30.0


def may_be_released(file_id: int) -> bool:
    """Tell whether an operator may send this file to tape; every other never goes."""
    return file_id % 2 == 0


@attrs.define
class _File:
    """What a thread knows of a file of its own."""

    data: bytes
    digests: dict[str, bytes] = attrs.field(factory=dict)
    #: As a status first said.
    version: str | None = None


class Load:
    """
    Threads that store, replace, read, look at, stage, adopt and delete files.

    To be used in a with-block, at whose end all threads have ended.

    Args:
        archive: what they share.
        inbox: a directory of its own, from which files are adopted.
    """

    def __init__(self, archive: PosixArchive, inbox: Path) -> None:
        self.archive = archive
        self.inbox = inbox
        #: What was wrong; the load stops at the first.
        self.faults: list[str] = []
        #: How often each act ended in which way.
        self.done: collections.Counter[str] = collections.Counter()
        #: How often each source told a residency.
        self.sources: collections.Counter[str] = collections.Counter()
        #: Seconds that the longest act without a recall took, and which it was.
        self.slowest: tuple[float, str] = (0.0, "")
        self._changed = threading.Condition()
        self._ended = False
        self._workers = [_Worker(self, number) for number in range(THREADS)]

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        threads = [worker.thread for worker in self._workers]
        end = time.monotonic() + _LIMIT_S
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            self.fault(f"never came back: {stuck}")

    @property
    def running(self) -> bool:
        return not (self._ended or self.faults)

    def go_on(self, *, rounds: int, seconds: float = 0.0) -> None:
        """Return when each thread has done so much more, and this time is over."""
        goals = [(worker, worker.steps + rounds) for worker in self._workers]
        end = time.monotonic() + seconds
        self.until(
            lambda: (
                time.monotonic() >= end
                and all(worker.steps >= goal for worker, goal in goals)
            )
        )

    def until_told_by(self, source: str) -> None:
        """Return when a residency has been told by this source, from now on."""
        before = self.sources[source]
        self.until(lambda: self.sources[source] > before)

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when it is so, or something was wrong."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: condition() or not self.running, _LIMIT_S
            ):
                raise TimeoutError(f"no progress within {_LIMIT_S} s: {self.done}")

    def fault(self, text: str) -> None:
        with self._changed:
            self.faults.append(text)
            self._changed.notify_all()

    def did(self, act: str, outcome: str, seconds: float | None) -> None:
        """Count an act; seconds: None if it may take as long as it likes."""
        with self._changed:
            self.done[f"{act} {outcome}"] += 1
            if seconds is not None:
                self.slowest = max(self.slowest, (seconds, act))
            self._changed.notify_all()

    def saw(self, status: FileStatus) -> None:
        with self._changed:
            self.sources[status.residency_source] += 1


class _Worker:
    """One thread's work."""

    def __init__(self, load: Load, number: int) -> None:
        self.thread = threading.Thread(
            target=self._run, name=f"storm-{number}", daemon=True
        )
        self._load = load
        self._archive = load.archive
        self._chance = random.Random(number)
        self._serial = number << 20
        self._files: dict[int, _File | None] = dict.fromkeys(
            range(number * OWN, (number + 1) * OWN)
        )
        #: Acts done.
        self.steps = 0

    def _run(self) -> None:
        acts = {
            self._put: 4,
            self._create: 2,
            self._adopt: 2,
            self._delete: 1,
            self._get: 6,
            self._recall: 1,
            self._digests: 2,
            self._status: 6,
            self._status_many: 1,
            self._stage: 2,
            self._stage_many: 1,
        }
        while self._load.running:
            act = self._chance.choices([*acts], [*acts.values()])[0]
            own = self._chance.random() < 0.7
            file_id = self._chance.choice([*self._files] if own else SHARED)
            self._serial += 1
            self._do(act, file_id)
            self.steps += 1

    def _do(self, act: Callable[[int], None], file_id: int) -> None:
        name = act.__name__.strip("_")
        begin = time.monotonic()
        outcome = "done"
        try:
            act(file_id)
        except (NoSuchFile, FileExists, FileOffline, ArchiveUnavailable) as exc:
            outcome = type(exc).__name__
            if not self._is_right(exc, name, file_id):
                self._load.fault(f"{name} {file_id}: {traceback.format_exc()}")
        except Exception:  # noqa: BLE001 (all else is what is looked for)
            outcome = "fault"
            self._load.fault(f"{name} {file_id}: {traceback.format_exc()}")
        seconds = time.monotonic() - begin
        self._load.did(name, outcome, None if name == "recall" else seconds)

    def _is_right(self, exc: Exception, act: str, file_id: int) -> bool:
        """Tell whether an act on a file may end so."""
        if isinstance(exc, ArchiveUnavailable):
            # Too many recalls at once, for which there is a limit.
            return act in {"stage", "recall"}
        if isinstance(exc, FileOffline):
            return act in {"get", "recall", "digests"} and may_be_released(file_id)
        if file_id in SHARED:
            return True
        missing = self._files[file_id] is None
        return missing if isinstance(exc, NoSuchFile) else not missing

    def _check(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self._load.fault(
                f"{what}: {str(expected)[:80]} expected, {str(actual)[:80]} found"
            )

    # --- acts

    def _content(self, file_id: int) -> bytes:
        """
        Return bytes that only this version of this file has.

        Files that never go to tape have sizes of their own: till the database has
        caught up, a new file is taken for an old one of the same inode and size.
        """
        size = self._chance.choice(SIZES)
        if file_id in self._files:
            return content((file_id, self._serial), size + file_id % 2)
        data = labelled(file_id, self._serial, size)
        if (len(data) - file_id) % 2:
            data = labelled(file_id, self._serial, size + 1)
        return data

    def _store(self, file_id: int, *, overwrite: bool) -> None:
        data = self._content(file_id)
        digests = {}
        if self._chance.random() < 0.5:
            digests["sha-256"] = hashlib.sha256(data).digest()
        size = self._chance.choice((None, len(data)))
        with self._archive.create(file_id, size=size, overwrite=overwrite) as writer:
            writer.digests.update(digests)
            for start in range(0, len(data), 30_000):
                writer.write(data[start : start + 30_000])
        if file_id in self._files:
            self._files[file_id] = _File(data, digests)

    def _put(self, file_id: int) -> None:
        self._store(file_id, overwrite=True)

    def _create(self, file_id: int) -> None:
        self._store(file_id, overwrite=False)

    def _adopt(self, file_id: int) -> None:
        data = self._content(file_id)
        source = self._load.inbox / f"{file_id} {self._serial}"
        source.write_bytes(data)
        self._archive.adopt(file_id, os.fspath(source), overwrite=True)
        if file_id in self._files:
            self._files[file_id] = _File(data)

    def _delete(self, file_id: int) -> None:
        self._archive.delete(file_id)
        if file_id in self._files:
            self._files[file_id] = None

    def _get(self, file_id: int, *, recall: bool = False) -> None:
        with self._archive.open(file_id, recall=recall) as reader:
            status = reader.status
            data = reader.readall()
        self._check(f"{file_id}: length", status.size, len(data))
        self._check_bytes(file_id, data)

    def _check_bytes(self, file_id: int, data: bytes) -> None:
        own = self._files.get(file_id)
        if own is not None:
            self._check(f"{file_id}: bytes", own.data, data)
        elif file_id in self._files:
            self._load.fault(f"{file_id}: there, though it was deleted")
        elif not is_whole(file_id, data):
            self._load.fault(f"{file_id}: {len(data)} bytes, {data[:40]!r}")

    def _recall(self, file_id: int) -> None:
        self._get(file_id, recall=True)

    def _digests(self, file_id: int) -> None:
        kept = dict(self._archive.digests(file_id))
        own = self._files.get(file_id)
        if own is not None:
            self._check(f"{file_id}: digests", own.digests, kept)
            return
        with self._archive.open(file_id) as reader:
            version = reader.status.version
            found = {"sha-256": hashlib.sha256(reader.readall()).digest()}
        kept = dict(self._archive.digests(file_id))
        if kept and self._archive.status(file_id).version == version:
            self._check(f"{file_id}: digests", found, kept)

    def _status(self, file_id: int) -> None:
        self._check_status(self._archive.status(file_id))

    def _check_status(self, status: FileStatus) -> None:
        self._load.saw(status)
        file_id = status.file_id
        if not (status.online or may_be_released(file_id)):
            self._load.fault(f"{file_id}: never released, but {status}")
        own = self._files.get(file_id)
        if own is not None:
            self._check(f"{file_id}: size", len(own.data), status.size)
            own.version = own.version or status.version
            self._check(f"{file_id}: version", own.version, status.version)

    def _status_many(self, _file_id: int) -> None:
        answers = list(self._archive.status_many(IDS))
        self._check("ids asked for", IDS, tuple(asked for asked, _ in answers))
        for asked, answer in answers:
            missing = isinstance(answer, NoSuchFile)
            if asked in self._files:
                self._check(f"{asked}: missing", self._files[asked] is None, missing)
            if not missing:
                self._check("answer about", asked, getattr(answer, "file_id", answer))
                self._check_status(answer)  # type: ignore[arg-type] # no error has an id else

    def _stage(self, file_id: int) -> None:
        if not self._archive.stage(file_id) and not may_be_released(file_id):
            self._load.fault(f"{file_id}: never released, but to be staged")

    def _stage_many(self, _file_id: int) -> None:
        chosen = self._chance.sample(IDS, 20)
        for asked, answer in self._archive.stage_many(chosen):
            if not isinstance(answer, (bool, NoSuchFile, ArchiveUnavailable)):
                self._load.fault(f"stage of {asked}: {answer!r}")


@contextlib.contextmanager
def operating(act: Callable[[int], None]) -> Iterator[None]:
    """Do something to one file after the other, of those that may be released."""
    chance = random.Random(-1)
    ended = threading.Event()
    chosen = [file_id for file_id in IDS if may_be_released(file_id)]

    def run() -> None:
        while not ended.wait(0.005):
            act(chance.choice(chosen))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
