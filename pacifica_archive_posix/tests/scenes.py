"""What is done to an archive while its system calls are watched."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import NoSuchFile, id2filename
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MTIME_NS = 1_234_567_890_123_456_789
OLD = hashlib.shake_128(b"old").digest(3000)
NEW = hashlib.shake_128(b"new").digest(5000)
LARGE = NEW * (40 * 2**20 // len(NEW))
DIGESTS = {"sha-256": hashlib.sha256(NEW).digest(), "md5": bytes(16)}
#: The extended attribute that has them, and those that a tree of before has.
DIGESTED = "user.pacifica_archive.digested"
SINGLE = "user.pacifica_archive.digest."
# Nested, they are in two directories of their own: 56/34.
NEIGHBOUR = 0x113456
FILE_ID = 0x123456


@attrs.frozen(kw_only=True)
class Scene:
    """
    An act, what is there before it, and what is to be there after it.

    Attributes:
        old, new: the bytes under ``FILE_ID`` before and after.
        known: this process has stored in the same directory before.
    """

    act: Callable[[PosixArchive, Path], None]
    old: bytes | None = None
    new: bytes | None = NEW
    digests: Mapping[str, bytes] = attrs.field(factory=dict)
    source: bytes | None = None
    known: bool = False
    nested: bool = False

    def options(self, home: Path, *, durable: bool = True) -> PosixOptions:
        return PosixOptions(
            prefix=home / "archive",
            use_id2filename=self.nested,
            durable=durable,
            adopt_roots=(home / "inbox",),
        )

    def path(self, home: Path, file_id: int = FILE_ID) -> Path:
        name = id2filename(file_id) if self.nested else str(file_id)
        return home / "archive" / name.strip("/")

    def prepare(self, home: Path) -> None:
        """Make what is there before, by other archives than the one that acts."""
        (home / "archive").mkdir()
        (home / "inbox").mkdir()
        with PosixArchive(self.options(home, durable=False)) as archive:
            if self.old is not None:
                store(archive, FILE_ID, self.old)
        if self.source is not None:
            (home / "inbox" / "source").write_bytes(self.source)

    def open(self, home: Path) -> PosixArchive:
        archive = PosixArchive(self.options(home))
        if self.known:
            # Its last directory is that of FILE_ID, in either layout.
            store(archive, NEIGHBOUR, OLD)
            archive.delete(NEIGHBOUR)
        return archive


def store(
    archive: PosixArchive,
    file_id: int,
    data: bytes,
    digests: Mapping[str, bytes] | None = None,
) -> None:
    with archive.create(file_id, overwrite=True) as writer:
        writer.digests.update(digests or {})
        writer.write(data)


def put(
    archive: PosixArchive,
    _home: Path,
    *,
    data: bytes = NEW,
    overwrite: bool = False,
    digests: Mapping[str, bytes] | None = None,
) -> None:
    with archive.create(
        FILE_ID, size=len(data), mtime_ns=MTIME_NS, overwrite=overwrite
    ) as writer:
        writer.digests.update(digests or {})
        writer.write(data[:1000])
        writer.write(data[1000:])


def digested(
    size: int = len(NEW),
    mtime_ns: int = MTIME_NS,
    digests: Mapping[str, bytes] = MappingProxyType(DIGESTS),
) -> bytes:
    """Return the value that an attribute of digests is to have."""
    pairs = [f"{name}={digests[name].hex()}" for name in sorted(digests)]
    return " ".join([f"{size} {mtime_ns}", *pairs]).encode()


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def set_single(path: Path, digests: Mapping[str, bytes]) -> None:
    """Give a file digests as a tree of before has them."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | stat.S_IWUSR)
    for name, value in digests.items():
        os.setxattr(path, SINGLE + name, value)
    path.chmod(mode)


def delete(archive: PosixArchive, _home: Path) -> None:
    archive.delete(FILE_ID)


def adopt(archive: PosixArchive, home: Path, *, overwrite: bool = False) -> None:
    archive.adopt(FILE_ID, str(home / "inbox" / "source"), overwrite=overwrite)


def get(archive: PosixArchive, file_id: int = FILE_ID) -> bytes | None:
    try:
        with archive.open(file_id) as reader:
            return reader.readall()
    except NoSuchFile:
        return None


SCENES = {
    "create": Scene(act=put),
    "create, nested": Scene(act=put, nested=True),
    "create, known directory": Scene(act=put, nested=True, known=True),
    "create with digests": Scene(
        act=functools.partial(put, digests=DIGESTS), digests=DIGESTS
    ),
    "overwrite": Scene(act=functools.partial(put, overwrite=True), old=OLD),
    "overwrite, nested": Scene(
        act=functools.partial(put, overwrite=True), old=OLD, nested=True
    ),
    "overwrite nothing": Scene(act=functools.partial(put, overwrite=True)),
    "overwrite nothing, nested": Scene(
        act=functools.partial(put, overwrite=True), nested=True
    ),
    "delete": Scene(act=delete, old=OLD, new=None),
    "delete, nested": Scene(act=delete, old=OLD, new=None, nested=True),
    "adopt": Scene(act=adopt, source=NEW),
    "adopt, nested": Scene(act=adopt, source=NEW, nested=True),
    "adopt and overwrite": Scene(
        act=functools.partial(adopt, overwrite=True), source=NEW, old=OLD
    ),
}
