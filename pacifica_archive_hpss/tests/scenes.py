"""What is done to an archive while the calls to the simulator are disturbed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from kit import KEYTAB, USER, process_simulator

from pacifica_archive_core import ArchiveError, NoSuchFile, id2filename
from pacifica_archive_hpss import HpssArchive, HpssOptions
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.session import Credentials, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pacifica_archive_hpss.simulator import Entry, Simulator

BUFFER = 4096
OLD = hashlib.shake_128(b"old").digest(3000)
#: Of three buffers, the last one not full.
NEW = hashlib.shake_128(b"new").digest(2 * BUFFER + 1000)
DIGESTS = {"sha-256": hashlib.sha256(NEW).digest(), "md5": bytes(16)}
MTIME_NS = 1_234_567_890 * 10**9
#: In two directories of their own, 56/34.
NEIGHBOUR = 0x113456
FILE_ID = 0x123456
#: Of those that are asked for together.
OTHER_ID = 0x7


@attrs.frozen
class Place:
    """A prefix of its own in the simulator, and what is seen of it past the API."""

    simulator: Simulator
    prefix: str

    def options(self, **changes: object) -> HpssOptions:
        given: dict[str, object] = {
            "prefix": self.prefix,
            "user": USER,
            "auth": KEYTAB,
            "buffer_size": BUFFER,
            "durable": False,
            **changes,
        }
        return HpssOptions(**given)  # type: ignore[arg-type] # each is converted

    def name(self, file_id: int = FILE_ID) -> str:
        return id2filename(file_id)

    def path(self, file_id: int = FILE_ID) -> str:
        return f"{self.prefix}{self.name(file_id)}"

    def put(self, path: str, data: bytes, *, cos: int | None = None) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.simulator.write(path, file.name, cos=cos)

    def content(self, path: str) -> bytes:
        fd, name = tempfile.mkstemp()
        os.close(fd)
        try:
            self.simulator.read(path, name)
            return Path(name).read_bytes()
        finally:
            Path(name).unlink()

    def files(self) -> dict[str, Entry]:
        """Return what is no directory, by its path below the prefix."""
        return {
            entry["path"].removeprefix(self.prefix): entry
            for entry in self.simulator.ls(self.prefix)
            if entry["type"] != "directory"
        }

    def chmod(self, path: str, mode: int) -> None:
        """Change a mode, which needs this process to have logged in."""
        error = ffi.new("pah_error *")
        if lib.pah_chmod(path.encode(), mode, error) < 0:
            raise OSError(error.code, os.strerror(error.code))

    def found(self, file_id: int = FILE_ID) -> bytes | None:
        there = self.name(file_id) in self.files()
        return self.content(self.path(file_id)) if there else None

    def trashed(self) -> list[bytes]:
        """Return the bytes of each file that has a name in the trash, once."""
        files = {
            entry["bitfile"]: f"{self.prefix}{name}"
            for name, entry in self.files().items()
            if name.startswith("/.trash/")
        }
        return [self.content(path) for path in files.values()]

    def incoming(self) -> list[str]:
        """Return the unfinished files."""
        return [name for name in self.files() if name.startswith("/.incoming/")]


_prefixes = itertools.count()
#: Told with the knobs, and none.
_CLOCK = {"speed", "now"}
#: Of the tape world: nothing takes time.
_QUICK = {"mount_s": 0, "seek_s": 0, "rate": 1e15}


@contextlib.contextmanager
def places() -> Iterator[Callable[[], Place]]:
    """
    Give new places in the simulated HPSS of this process.

    Rules, knobs and the clock's speed are as before afterwards.
    """
    simulator = process_simulator()
    knobs = simulator.knobs()
    shipped = {name: knobs[name] for name in knobs if name not in _CLOCK}

    def new_place() -> Place:
        prefix = f"/places/{next(_prefixes)}"
        simulator.mkdir(prefix)
        return Place(simulator, prefix)

    for name, value in _QUICK.items():
        simulator.knob(name, value)
    try:
        yield new_place
    finally:
        simulator.clear_rules()
        simulator.speed(1)
        for name, value in shipped.items():
            simulator.knob(name, value)


@attrs.frozen(kw_only=True)
class Scene:
    """
    An act, what is there before it, and what is to be there after it.

    Attributes:
        answer: what the act returns.
        old, new: the bytes under ``FILE_ID`` before and after.
        source: the bytes to be adopted.
        cos: the class of service of the old file.
        purged: the old file is on tape only.
        queued: its recall has been asked for.
        known: this process has stored in the same directory before.
        kept: the bytes that are at the id or in the trash, whatever happens.
        trashed: a file of those bytes is in the trash before.
        litter: a leftover is in ``.incoming``.
        aside: a rename refuses to replace, so that the old file is put aside first; who
            is stopped then leaves it to the next opening to put it back.
        options: those that differ.
    """

    act: Callable[[HpssArchive, Place], object]
    answer: object = None
    old: bytes | None = None
    new: bytes | None = None
    source: bytes | None = None
    cos: int | None = None
    purged: bool = False
    queued: bool = False
    known: bool = False
    kept: bytes | None = None
    trashed: bool = False
    litter: bool = False
    aside: bool = False
    digests: Mapping[str, bytes] = attrs.field(factory=dict)
    options: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def changes(self) -> bool:
        """Whether the act changes anything that is visible."""
        return self.old != self.new

    @property
    def deletes(self) -> bool:
        """Whether the file is gone after the act."""
        return self.changes and self.new is None

    def prepare(self, place: Place) -> None:
        """Make what is there before."""
        if self.old is not None:
            place.put(place.path(), self.old, cos=self.cos)
        if self.source is not None:
            place.put(f"{place.prefix}/inbox/source", self.source)
        if self.litter:
            place.put(f"{place.prefix}/.incoming/{'0' * 32}", OLD)
        place.simulator.knob("rename_replaces", int(not self.aside))
        # A recall that was asked for is still to be queued when it is looked for.
        place.simulator.speed(0 if self.queued else 1)
        if self.purged:
            place.simulator.migrate(place.path())
            place.simulator.purge(place.path())

    def open(self, place: Place) -> HpssArchive:
        """Open an archive that knows what it is to know before the act."""
        archive = HpssArchive(place.options(**self.options))
        try:
            self._begin(archive)
        except BaseException:
            archive.close()
            raise
        return archive

    def put_back(self, place: Place) -> None:
        """Have the old file put back, if this scene may leave it aside."""
        if self.aside:
            HpssArchive(place.options()).close()

    def _begin(self, archive: HpssArchive) -> None:
        if self.digests and self.old is not None:
            with archive.create(FILE_ID, overwrite=True) as writer:
                writer.digests.update(self.digests)
                writer.write(self.old)
        if self.known:
            with archive.create(NEIGHBOUR) as writer:
                writer.write(OLD)
            # The other one has the same directory there too.
            (archive.trash if self.kept else archive.delete)(NEIGHBOUR)
        if self.trashed and self.kept is not None:
            with archive.create(FILE_ID) as writer:
                writer.write(self.kept)
            archive.trash(FILE_ID)
        if self.queued:
            archive.stage(FILE_ID)
        # As the first one of its process.
        session().mode_sticks = None


def session() -> Session:
    """Return the session that all archives of a process share."""
    return Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))


def put(
    archive: HpssArchive,
    _place: Place,
    *,
    overwrite: bool = False,
    digests: Mapping[str, bytes] | None = None,
) -> None:
    with archive.create(
        FILE_ID, size=len(NEW), mtime_ns=MTIME_NS, overwrite=overwrite
    ) as writer:
        writer.digests.update(digests or {})
        # In two, so that the first buffer is filled in pieces.
        writer.write(NEW[:1000])
        writer.write(NEW[1000:])


def delete(archive: HpssArchive, _place: Place) -> None:
    archive.delete(FILE_ID)


def adopt(archive: HpssArchive, place: Place, *, overwrite: bool = False) -> None:
    archive.adopt(FILE_ID, f"{place.prefix}/inbox/source", overwrite=overwrite)


def get(archive: HpssArchive, _place: Place, *, recall: bool = False) -> bytes:
    with archive.open(FILE_ID, recall=recall) as reader:
        blocks = []
        while block := reader.read(BUFFER):
            blocks.append(block)
    return b"".join(blocks)


def get_range(archive: HpssArchive, _place: Place) -> bytes:
    with archive.open(FILE_ID) as reader:
        reader.seek(BUFFER + 5)
        return reader.read(100) + reader.read(100)


def status(archive: HpssArchive, _place: Place) -> int:
    return archive.status(FILE_ID).size


def status_many(archive: HpssArchive, _place: Place) -> list[tuple[int, bool]]:
    """Ask for a file and for one that is not there."""
    return [
        (file_id, isinstance(answer, NoSuchFile))
        for file_id, answer in archive.status_many([FILE_ID, OTHER_ID])
        if isinstance(answer, NoSuchFile) or raised(answer)
    ]


def stage(archive: HpssArchive, _place: Place) -> bool:
    return archive.stage(FILE_ID)


def stage_many(archive: HpssArchive, _place: Place) -> list[tuple[int, object]]:
    return [
        (file_id, answer)
        for file_id, answer in archive.stage_many([FILE_ID])
        if raised(answer)
    ]


def record(archive: HpssArchive, _place: Place) -> Mapping[str, bytes]:
    version = archive.status(FILE_ID).version
    archive.record_digests(FILE_ID, DIGESTS, version=version)
    return archive.digests(FILE_ID)


def digests(archive: HpssArchive, _place: Place) -> Mapping[str, bytes]:
    return archive.digests(FILE_ID)


def trash(archive: HpssArchive, _place: Place) -> None:
    archive.trash(FILE_ID)


def undelete(archive: HpssArchive, _place: Place) -> None:
    archive.undelete(FILE_ID)


def list_trash(archive: HpssArchive, _place: Place) -> list[tuple[int, int]]:
    return [(found.file_id, found.size) for found in archive.trashed()]


def empty_trash(archive: HpssArchive, _place: Place) -> int:
    return archive.empty_trash(2**63)


def check(archive: HpssArchive, _place: Place) -> None:
    archive.check()


def opening(_archive: HpssArchive, place: Place) -> None:
    reopen(place)


def reopen(place: Place) -> None:
    """Open another archive, by when its leftover is old."""
    with pytest.MonkeyPatch.context() as patch:
        set_clock_forward(patch, place, 8 * 24 * 3600)
        HpssArchive(place.options()).close()


def set_clock_forward(patch: pytest.MonkeyPatch, place: Place, seconds: float) -> None:
    """Set this machine's clock; the store's goes on as it was, which may be ahead."""
    now = time.time
    ahead = max(0.0, float(place.simulator.knobs()["now"]) - now())
    patch.setattr(time, "time", lambda: now() + ahead + seconds)


def raised(answer: object) -> bool:
    """Raise an answer that is an error: it is the outcome."""
    if isinstance(answer, ArchiveError):
        raise answer
    return True


SCENES = {
    "put": Scene(act=put, new=NEW),
    "put into a known directory": Scene(act=put, new=NEW, known=True),
    "put and replace": Scene(
        act=functools.partial(put, overwrite=True), old=OLD, new=NEW
    ),
    "put durably with digests": Scene(
        act=functools.partial(put, overwrite=True, digests=DIGESTS),
        old=OLD,
        new=NEW,
        options={"durable": True},
    ),
    "delete": Scene(act=delete, old=OLD),
    "trash": Scene(act=trash, old=OLD, kept=OLD),
    "trash into a known directory": Scene(act=trash, old=OLD, kept=OLD, known=True),
    "undelete": Scene(act=undelete, new=OLD, kept=OLD, trashed=True),
    "list the trash": Scene(
        act=list_trash, answer=[(FILE_ID, len(OLD))], kept=OLD, trashed=True
    ),
    "adopt": Scene(act=adopt, source=NEW, new=NEW),
    "adopt and replace": Scene(
        act=functools.partial(adopt, overwrite=True), source=NEW, old=OLD, new=NEW
    ),
    "put and replace, by way of aside": Scene(
        act=functools.partial(put, overwrite=True), old=OLD, new=NEW, aside=True
    ),
    "adopt and replace, by way of aside": Scene(
        act=functools.partial(adopt, overwrite=True),
        source=NEW,
        old=OLD,
        new=NEW,
        aside=True,
    ),
    "get": Scene(act=get, answer=NEW, old=NEW, new=NEW),
    "get a range": Scene(
        act=get_range, answer=NEW[BUFFER + 5 : BUFFER + 205], old=NEW, new=NEW
    ),
    "get and recall": Scene(
        act=functools.partial(get, recall=True),
        answer=NEW,
        old=NEW,
        new=NEW,
        purged=True,
    ),
    "get from tape": Scene(
        act=functools.partial(get, recall=True), answer=NEW, old=NEW, new=NEW, cos=4
    ),
    "status": Scene(act=status, answer=len(OLD), old=OLD, new=OLD),
    "status of many": Scene(
        act=status_many,
        answer=[(FILE_ID, False), (OTHER_ID, True)],
        old=OLD,
        new=OLD,
    ),
    "stage": Scene(act=stage, answer=False, old=OLD, new=OLD, purged=True),
    "stage again": Scene(
        act=stage, answer=False, old=OLD, new=OLD, purged=True, queued=True
    ),
    "stage many": Scene(
        act=stage_many, answer=[(FILE_ID, False)], old=OLD, new=OLD, purged=True
    ),
    "digests": Scene(act=digests, answer=DIGESTS, old=NEW, new=NEW, digests=DIGESTS),
    "record digests": Scene(act=record, answer=DIGESTS, old=NEW, new=NEW),
    "check": Scene(act=check),
    "check of a site": Scene(act=check, options={"sitename": "site"}),
    "opening": Scene(act=opening, litter=True),
}
