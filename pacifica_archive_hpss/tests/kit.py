"""The contract's tests, with the simulator as the medium."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

# First, for it says which extension module the others import.
import binding  # noqa: F401 (as said)
import pytest
from ways import WAY

# isort: split

from pacifica_archive_core.testing import ArchiveContract, SourceKind
from pacifica_archive_core.testing.base import FILE_ID, store
from pacifica_archive_hpss import HpssArchive, HpssOptions
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.digests import get_digests, set_digests
from pacifica_archive_hpss.session import Credentials, Session
from pacifica_archive_hpss.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pacifica_archive_core import Archive

__all__ = ["KEYTAB", "USER", "HpssKit", "open_archive", "process_simulator"]

USER = "hpss.unix"
#: Any file that is there is one to the simulator.
KEYTAB = str(Path(__file__))
_STATE = "PACIFICA_HPSS_SIM"
_prefixes = itertools.count()


@functools.cache
def process_simulator() -> Simulator:
    """
    Return the simulated HPSS of this process: its library looks for one, once.

    Each test has a prefix of its own in it.
    """
    if _STATE not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="pacifica-hpss-")
        atexit.register(folder.cleanup)
        os.environ[_STATE] = folder.name
    simulator = Simulator(os.environ[_STATE])
    simulator.format()
    for name, value in WAY.knobs.items():
        simulator.knob(name, value)
    return simulator


def open_archive(state: str, options: HpssOptions) -> HpssArchive:
    """Open an archive, perhaps in a process that was just started."""
    os.environ[_STATE] = state
    return HpssArchive(options)


class HpssKit(ArchiveContract):
    """The medium is the simulator's namespace, reached past the Client API."""

    buffer_size: ClassVar[int] = 1 << 16
    #: More options.
    more: ClassVar[Mapping[str, object]] = {}
    #: Knobs that are not as they are by default.
    knobs: ClassVar[Mapping[str, str]] = {}

    persistent = True
    sparse = True
    # Only their age tells that the writer of files is dead: HPSS has no locks.
    sweeps = False
    opens_after_fork = False
    keeps_digests = True
    has_tape = True
    can_be_filled = True
    can_be_unreachable = True
    mtime_resolution_ns = 10**9

    @pytest.fixture(autouse=True)
    def simulator(self) -> Iterator[Simulator]:
        """Have no violation, nothing open and nothing unfreed after each test."""
        simulator = process_simulator()
        simulator.clear_rules()
        before = simulator.counters(reset=True)
        shipped = simulator.knobs()
        for name, value in self.knobs.items():
            simulator.knob(name, value)
        yield simulator
        for name in self.knobs:
            simulator.knob(name, shipped[name])
        after = simulator.counters(reset=True)

        assert ([], before["open_files"], before["pvlists"]) == (
            after["violations"],
            after["open_files"],
            after["pvlists"],
        )

    @pytest.fixture
    def opener(self, simulator: Simulator) -> Callable[[], Archive]:
        home = f"/archive-{next(_prefixes)}"
        for name in ("files", "inbox", "elsewhere"):
            simulator.mkdir(f"{home}/{name}")
        options: dict[str, object] = {
            "prefix": f"{home}/files",
            "user": USER,
            "auth": KEYTAB,
            "buffer_size": self.buffer_size,
            "adopt_roots": (f"{home}/files", f"{home}/inbox"),
            **self.more,
        }
        return functools.partial(
            open_archive,
            str(simulator.state),
            HpssOptions(**options),  # type: ignore[arg-type] # each is converted
        )

    def path(self, archive: Archive, file_id: int) -> str:
        # Not by the function under test: the bytes of the id, lowest first.
        digits = f"{file_id:x}"
        parts = [""]
        while len(digits) > 2:
            parts.append(digits[-2:])
            digits = digits[:-2]
        parts.append(f"{file_id:x}" if len(parts) > 1 else f"file.{file_id:x}")
        prefix: str = archive.options.prefix
        return prefix + "/".join(parts)

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "content"
            process_simulator().read(self.path(archive, file_id), target)
            return target.read_bytes()

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        self.put(self.path(archive, file_id), data)

    def put(self, path: str, data: bytes) -> None:
        with tempfile.NamedTemporaryFile() as source:
            source.write(data)
            source.flush()
            process_simulator().write(path, source.name)

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            sources: dict[int, str | os.PathLike[str]] = {}
            for offset, part in parts.items():
                source = Path(folder) / str(offset)
                source.write_bytes(part)
                sources[offset] = source
            process_simulator().sparse(self.path(archive, file_id), size, sources)

    def list_raw(self, archive: Archive) -> set[str]:
        prefix = archive.options.prefix
        return {
            entry["path"].removeprefix(prefix)
            for entry in process_simulator().ls(prefix)
        }

    def make_offline(self, archive: Archive, file_id: int) -> None:
        path = self.path(archive, file_id)
        process_simulator().migrate(path)
        process_simulator().purge(path)

    def finish_recalls(self, archive: Archive) -> None:
        del archive
        process_simulator().settle()

    @contextlib.contextmanager
    def set_to_1(self, knob: str) -> Iterator[None]:
        simulator = process_simulator()
        simulator.knob(knob, 1)
        try:
            yield
        finally:
            simulator.knob(knob, 0)

    def filled(self, archive: Archive) -> contextlib.AbstractContextManager[None]:
        del archive
        return self.set_to_1("full")

    def unreachable(self, archive: Archive) -> contextlib.AbstractContextManager[None]:
        del archive
        return self.set_to_1("down")

    def make_source(
        self, archive: Archive, kind: SourceKind, data: bytes, tmp_path: Path
    ) -> str | None:
        del tmp_path
        simulator = process_simulator()
        home = str(Path(archive.options.prefix).parent)
        inbox = f"{home}/inbox"
        folder = f"{home}/elsewhere" if kind is SourceKind.OUTSIDE else inbox
        source = f"{folder}/source"
        if kind is SourceKind.DIRECTORY:
            simulator.mkdir(source)
            return source
        if kind is SourceKind.MISSING:
            return source
        if kind is SourceKind.BELOW_SYMLINK:
            self.put(f"{inbox}/real/source", data)
            simulator.symlink(f"{inbox}/real", f"{inbox}/way")
            return f"{inbox}/way/source"
        self.put(source, data)
        if kind is SourceKind.SYMLINK:
            simulator.symlink(source, f"{inbox}/link")
            return f"{inbox}/link"
        if kind is SourceKind.HARD_LINK:
            simulator.link(source, f"{inbox}/second")
        return source

    def make_digested_source(
        self,
        archive: Archive,
        data: bytes,
        digests: Mapping[str, bytes],
        tmp_path: Path,
    ) -> str:
        del tmp_path
        store(archive, FILE_ID + 1, data, mtime_ns=10**18, digests=digests)
        source = f"{Path(archive.options.prefix).parent}/inbox/digested"
        self.session().call(lib.pah_rename, self.path(archive, FILE_ID + 1), source)
        return source

    def change_source(self, archive: Archive, source: str, data: bytes) -> None:
        """As if written into the bitfile, of which HPSS keeps the attributes."""
        del archive
        kept = get_digests(self.session(), source)
        assert kept is not None
        self.put(source, data)
        set_digests(self.session(), source, kept.file_id, kept.version, kept.digests)

    def session(self) -> Session:
        """Return the one that the archives of this process share."""
        return Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))

    def source_exists(self, archive: Archive, source: str) -> bool:
        home = str(Path(archive.options.prefix).parent)
        return source in {entry["path"] for entry in process_simulator().ls(home)}
