"""
What is done with one archive by a process of its own; prints what it found as JSON.

    python loads.py LOAD CONTROL [ARGUMENT ...]

A program rather than a function, for it may have to be started with a sanitizer's
library loaded before all others.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import os
import random
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

# First, for it says which extension module the others import.
import binding  # noqa: F401 (as said)

# isort: split

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileExists,
    FileOffline,
    NoSuchFile,
    id2filename,
)
from pacifica_archive_core.testing.base import refusal
from pacifica_archive_core.testing.child import fork
from pacifica_archive_core.testing.threads import is_whole, labelled
from pacifica_archive_hpss import HpssArchive, HpssOptions
from pacifica_archive_hpss.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 32
IDS = range(24)
BUFFER = 1 << 16
#: What a thread counts to while another is blocked.
STEPS = 100_000
_LIMIT_S = 30.0


class Mixed:
    """
    Threads that store, replace, read, look at, stage and delete the same few files.

    They put them into the trash too, take them back and empty it.

    Every byte that is read is checked: it says whose it is, of which version, and
    how it goes on. Meanwhile files go to tape and come back, and transfers are cut.
    """

    def __init__(
        self, archive: HpssArchive, simulator: Simulator, seconds: float
    ) -> None:
        self._archive = archive
        self._simulator = simulator
        self._end = time.monotonic() + seconds
        self.faults: list[str] = []
        self.done: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Return when the time is over and all threads have ended."""
        threads = [
            threading.Thread(target=self._work, args=(number,))
            for number in range(THREADS)
        ]
        threads.append(threading.Thread(target=self._operate))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _running(self) -> bool:
        return time.monotonic() < self._end and not self.faults

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        serial = number << 20
        acts = (
            *(self._put, self._put, self._get, self._get, self._get, self._get_part),
            *(self._look, self._digests, self._stage, self._stage_many),
            *(self._recall, self._delete, self._trash, self._undelete, self._empty),
        )
        while self._running():
            act = chance.choice(acts)
            serial += 1
            try:
                act(chance, chance.choice(IDS), serial)
                outcome = "done"
            except (NoSuchFile, FileExists, FileOffline, ArchiveUnavailable) as exc:
                # Others replace and delete, an operator purges; too many may wait.
                outcome = type(exc).__name__
            except Exception:  # noqa: BLE001 (all else is what is looked for)
                outcome = "fault"
                self._fault(f"{act.__name__}: {traceback.format_exc()}")
            key = f"{act.__name__.strip('_')} {outcome}"
            with self._lock:
                self.done[key] = self.done.get(key, 0) + 1

    def _operate(self) -> None:
        """Do what an operator does, and the policies of HPSS."""
        chance = random.Random(-1)
        knobs = ("short_reads", "short_writes", "tor")
        prefix = self._archive.options.prefix
        pause = threading.Event()
        while self._running():
            path = f"{prefix}{id2filename(chance.choice(IDS))}"
            # A file may be gone, or just be written.
            with contextlib.suppress(OSError):
                if chance.random() < 0.1:
                    self._simulator.knob(chance.choice(knobs), chance.randrange(2))
                elif chance.random() < 0.2:
                    self._simulator.stage(path)
                else:
                    self._simulator.migrate(path)
                    self._simulator.purge(path)
            pause.wait(0.002)
        for knob in knobs:
            self._simulator.knob(knob, 0)

    def _fault(self, text: str) -> None:
        self.faults.append(text)

    def _check(self, file_id: int, data: bytes, size: int, where: str) -> None:
        if len(data) != size or not is_whole(file_id, data):
            self._fault(f"{where} {file_id}: {len(data)} of {size}, {data[:40]!r}")

    def _put(self, chance: random.Random, file_id: int, serial: int) -> None:
        data = labelled(file_id, serial, chance.choice((0, 100, 5000, 2 * BUFFER + 1)))
        overwrite = chance.random() < 0.8
        size = chance.choice((None, len(data)))
        with self._archive.create(file_id, size=size, overwrite=overwrite) as writer:
            if chance.random() < 0.5:
                writer.digests["sha-256"] = hashlib.sha256(data).digest()
            for start in range(0, len(data), 50_000):
                writer.write(data[start : start + 50_000])
            if chance.random() < 0.1:
                writer.discard()

    def _get(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        with self._archive.open(file_id) as reader:
            self._check(file_id, reader.readall(), reader.status.size, "get")

    def _recall(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        with self._archive.open(file_id, recall=True) as reader:
            self._check(file_id, reader.readall(), reader.status.size, "recall")

    def _get_part(self, chance: random.Random, file_id: int, _serial: int) -> None:
        with self._archive.open(file_id) as reader:
            size = reader.status.size
            whole = bytearray(size)
            cuts = sorted(chance.sample(range(size), min(size, 4)))
            pieces = list(zip([0, *cuts], [*cuts, size], strict=True))
            chance.shuffle(pieces)
            for start, end in pieces:
                reader.seek(start)
                while start < end:
                    with memoryview(whole)[start:end] as view:
                        start += reader.readinto(view)  # noqa: PLW2901 (how far it is)
            self._check(file_id, bytes(whole), size, "get a part of")

    def _look(self, _chance: random.Random, _file_id: int, _serial: int) -> None:
        for asked, answer in self._archive.status_many(IDS):
            if getattr(answer, "file_id", None) != asked:
                self._fault(f"status of {asked}: {answer}")

    def _digests(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        with self._archive.open(file_id) as reader:
            version = reader.status.version
            digest = hashlib.sha256(reader.readall()).digest()
        kept = self._archive.digests(file_id)
        if self._archive.status(file_id).version == version and kept not in (
            {},
            {"sha-256": digest},
        ):
            self._fault(f"digests of {file_id}: {kept}")

    def _stage(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        self._archive.stage(file_id)

    def _stage_many(self, _chance: random.Random, _file_id: int, _serial: int) -> None:
        for asked, answer in self._archive.stage_many(IDS):
            if not isinstance(answer, (bool, NoSuchFile, ArchiveUnavailable)):
                self._fault(f"stage of {asked}: {answer!r}")

    def _delete(self, chance: random.Random, file_id: int, _serial: int) -> None:
        if chance.random() < 0.3:
            self._archive.delete(file_id)

    def _trash(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        self._archive.trash(file_id)

    def _undelete(self, _chance: random.Random, file_id: int, _serial: int) -> None:
        self._archive.undelete(file_id)

    def _empty(self, chance: random.Random, _file_id: int, _serial: int) -> None:
        # Of a few, lest each thread but waits for listings.
        for trashed in itertools.islice(self._archive.trashed(), 5):
            if trashed.file_id not in IDS or trashed.size < 0:
                self._fault(f"in the trash: {trashed}")
            self._archive.empty_trash(trashed.deleted_ns, limit=chance.randrange(3))


def mixed(archive: HpssArchive, simulator: Simulator, seconds: str) -> object:
    """Run the mixed load; return what was wrong, and what was done."""
    simulator.speed(1000)
    load = Mixed(archive, simulator, float(seconds))
    load.run()
    archive.close()
    gc.collect()
    counters = simulator.counters()
    incoming = f"{archive.options.prefix}/.incoming/"
    return {
        "faults": load.faults[:3],
        "violations": counters["violations"],
        "open_files": counters["open_files"],
        "pvlists": counters["pvlists"],
        "incoming": [
            entry["path"]
            for entry in simulator.ls()
            if entry["path"].startswith(incoming)
        ],
        "done": load.done,
    }


def blocked(archive: HpssArchive, simulator: Simulator) -> object:
    """
    Have one thread blocked in C; tell how far another came meanwhile.

    If the interpreter's lock were held, this process would not end by itself.
    """
    path = f"{archive.options.prefix}{id2filename(1)}"
    found: dict[str, object] = {}
    for function, act in BLOCKING.items():
        _put(archive, 1)
        if function == "StageCallBack":
            simulator.migrate(path)
            simulator.purge(path)
        simulator.counters(reset=True)
        simulator.rule(f"{function}:1:hang")
        thread = threading.Thread(target=act, args=(archive,))
        thread.start()
        end = time.monotonic() + _LIMIT_S
        while not simulator.counters()["calls"].get(f"hpss_{function}"):
            if time.monotonic() > end:
                return f"{function} was never called"
        steps = 0
        while steps < STEPS and thread.is_alive():
            steps += 1
        simulator.clear_rules()
        thread.join(_LIMIT_S)
        found[function] = [steps, "hangs" if thread.is_alive() else "ended"]
    return found


def _get(archive: HpssArchive) -> bytes:
    with archive.open(1) as reader:
        data: bytes = reader.readall()
        return data


def _put(archive: HpssArchive, file_id: int = 2) -> None:
    with archive.create(file_id, overwrite=True) as writer:
        writer.write(b"data")


#: A call of the Client API that never answers, and what makes it.
BLOCKING: dict[str, Callable[[HpssArchive], object]] = {
    "FileGetXAttributes": lambda archive: archive.status(1),
    "Open": _get,
    "Read": _get,
    "Write": _put,
    "Close": _put,
    "Utime": _put,
    "Fsync": _put,
    "Rename": _put,
    "Unlink": lambda archive: archive.delete(1),
    "StageCallBack": lambda archive: archive.stage(1),
    "UserAttrGetAttrs": lambda archive: archive.digests(1),
    "Lstat": lambda archive: archive.check(),
}


def forked(archive: HpssArchive, simulator: Simulator) -> object:
    """Fork while a file is read and one is written; the child tries it all."""
    _put(archive, 1)
    with archive.open(1) as reader, archive.create(2) as writer:
        writer.write(b"data")
        reader.read(1)
        before = simulator.counters(reset=True)
        pid = fork()
        if pid == 0:
            _try_all(archive, reader, writer)
            # As programs end: objects are finalized, and what is registered is called.
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        during = simulator.counters()
    return {
        "status": os.waitstatus_to_exitcode(status),
        "calls": during["calls"],
        "violations": before["violations"] + during["violations"],
    }


def forked_and_wrong(_archive: HpssArchive, simulator: Simulator) -> object:
    """Call C in a forked child, as must not be: the simulator has to see it."""
    from pacifica_archive_hpss._hpss import ffi, lib  # noqa: PLC0415 (the one wrong use)

    simulator.counters(reset=True)
    pid = fork()
    if pid == 0:
        lib.pah_lstat(b"/", ffi.new("pah_stat *"), ffi.new("pah_error *"))
        os._exit(0)
    os.waitpid(pid, 0)
    return {"seen": simulator.counters()["violations"] != []}


def _try_all(archive: HpssArchive, reader: Any, writer: Any) -> None:  # noqa: ANN401 (what is in use)
    for call in (
        *(archive.open, archive.create, archive.status, archive.stage, archive.delete),
        archive.digests,
    ):
        refusal(call, 1)
    for use in (
        *(archive.check, archive.close, reader.read, reader.close),
        *(writer.commit, writer.discard),
    ):
        refusal(use)
    refusal(lambda: list(archive.stage_many(IDS)))
    refusal(HpssArchive, archive.options)
    gc.collect()


LOADS: dict[str, Callable[..., object]] = {
    "mixed": mixed,
    "blocked": blocked,
    "forked": forked,
    "forked and wrong": forked_and_wrong,
}


def main(load: str, control: str, *arguments: str) -> None:
    """Open an archive in a fresh simulator, and do one of the loads."""
    simulator = Simulator(os.environ["PACIFICA_HPSS_SIM"], control)
    simulator.format(fds=256)
    simulator.mkdir("/archive")
    with HpssArchive(
        HpssOptions(
            prefix="/archive",
            user="hpss.unix",
            auth=__file__,
            buffer_size=BUFFER,
            max_open_files=3 * THREADS,
        )
    ) as archive:
        answer = LOADS[load](archive, simulator, *arguments)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
