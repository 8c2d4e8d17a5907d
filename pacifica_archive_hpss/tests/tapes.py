"""An archive, and the tapes behind it, in the simulator of this process."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import tempfile
import time
from typing import TYPE_CHECKING, Any

import attrs
from kit import KEYTAB, USER, process_simulator

from pacifica_archive_core import id2filename
from pacifica_archive_hpss import HpssArchive, HpssOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_hpss.simulator import Entry, Simulator

__all__ = ["DATA", "Tapes", "eventually", "tapes"]

DATA = bytes(range(256)) * 20
_prefixes = itertools.count()
_labels = itertools.count()


@attrs.frozen
class Tapes:
    """The simulated HPSS past its API, and an archive in a prefix of its own."""

    simulator: Simulator
    archive: HpssArchive

    def path(self, file_id: int) -> str:
        return f"{self.archive.options.prefix}{id2filename(file_id)}"

    def put(self, *file_ids: int, cos: int = 1) -> None:
        """Make files past the API."""
        with tempfile.NamedTemporaryFile() as source:
            source.write(DATA)
            source.flush()
            for file_id in file_ids:
                self.simulator.write(self.path(file_id), source.name, cos=cos)

    def offline(self, *file_ids: int) -> None:
        """Make files that are on tape only, in this order."""
        self.put(*file_ids)
        paths = [self.path(file_id) for file_id in file_ids]
        self.simulator.migrate(*paths)
        self.simulator.purge(*paths)

    def apart(self, *file_ids: int) -> None:
        """Make files that are on tape only, each on a cartridge of its own."""
        self.put(*file_ids)
        for file_id in file_ids:
            path = self.path(file_id)
            self.simulator.migrate(path, cartridges=[f"APART{next(_labels)}"])
            self.simulator.purge(path)

    def scattered(self, count: int, *, cartridges: int) -> list[int]:
        """Return ids, ascending, of files in no order on cartridges of their own."""
        each = count // cartridges
        self.simulator.knob("cartridge_files", each)
        filler = itertools.count(1 << 40)
        # Those of other tests are not full perhaps, and are filled up first.
        at = 0
        while at != each:
            file_id = next(filler)
            self.offline(file_id)
            (found,) = self.entries(file_id)
            at = found["levels"][-1]["position"]
        ids = list(range(1, count + 1))
        self.offline(*random.Random(count).sample(ids, count))
        return ids

    def entries(self, *file_ids: int) -> list[Entry]:
        return [self.simulator.ls(self.path(file_id))[0] for file_id in file_ids]

    def cartridges(self, *file_ids: int) -> set[str]:
        return {entry["levels"][-1]["cartridge"] for entry in self.entries(*file_ids)}

    def calls(self) -> dict[str, int]:
        """Return what was called since the last reset; without what was not."""
        calls = self.simulator.counters()["calls"]
        return {name.removeprefix("hpss_"): n for name, n in calls.items() if n}

    def submissions(self) -> int:
        """Return how many requests were sent, of one file or of many."""
        calls = self.calls()
        return calls.get("StageCallBack", 0) + calls.get("StageBatchCallBack", 0)

    @contextlib.contextmanager
    def another(self) -> Iterator[HpssArchive]:
        """Open the same files a second time."""
        with HpssArchive(self.archive.options) as archive:
            yield archive


@contextlib.contextmanager
def tapes(**options: object) -> Iterator[Tapes]:
    """Have an archive in an empty prefix; undo what is done to the tapes."""
    simulator = process_simulator()
    prefix = f"/tapes-{next(_prefixes)}"
    simulator.mkdir(prefix)
    given: dict[str, Any] = {
        "prefix": prefix,
        "user": USER,
        "auth": KEYTAB,
        "buffer_size": 1 << 12,
        "durable": False,
        **options,
    }
    shipped = simulator.knobs()
    simulator.settle()
    simulator.counters(reset=True)
    try:
        with HpssArchive(HpssOptions(**given)) as archive:
            yield Tapes(simulator, archive)
    finally:
        simulator.clear_rules()
        simulator.speed(1)
        simulator.settle()
        for name in ("cartridge_files", "delay_ms", "batch_by_id"):
            simulator.knob(name, shipped[name])
    left = simulator.counters(reset=True)

    assert eventually(lambda: simulator.counters()["open_files"] == 0)
    assert ([], 0, 0) == (left["violations"], left["pvlists"], left["gated"])


def eventually(claim: Callable[[], bool], limit_s: float = 20.0) -> bool:
    """Return whether the claim comes true in time, looking again and again."""
    end_s = time.monotonic() + limit_s
    while not claim():
        if time.monotonic() > end_s:
            return False
        os.sched_yield()
    return True
