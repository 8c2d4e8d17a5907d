"""
A small persistent archive: one directory, one lock, no tape.

The contract's tests of persistent stores are proved on it, without the posix
backend. Honest but slow: every question takes the one lock of the store.

``names/<id>`` is a symbolic link to ``data/<random>``, the bytes of a version; its
name is the version. What no link names, and no writer holds locked, is dead.
``trash/<id>.<time>`` is the link of a deleted file.
``notes/<inode>`` has the digests of a file, and the size and mtime it had with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    Archive,
    ArchiveReader,
    ArchiveUnavailable,
    ArchiveWriter,
    FileExists,
    FileStatus,
    Media,
    NoSuchFile,
    Residency,
    SourceRefused,
    StorageLevel,
    Trashed,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@attrs.frozen
class TinyOptions:
    prefix: Path = option("where its files live", converter=Path)


class TinyArchive(Archive):
    options_class = TinyOptions
    config_sections = ("tiny",)
    options: TinyOptions

    def __init__(self, options: TinyOptions) -> None:
        super().__init__(options)
        self.names, self.data, self.inbox, self.notes = (
            options.prefix / name for name in ("names", "data", "inbox", "notes")
        )
        self.bin = options.prefix / "trash"
        for folder in (self.names, self.data, self.inbox, self.notes, self.bin):
            folder.mkdir(parents=True, exist_ok=True)
        with self.locked():
            self.sweep()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's one lock, against threads and processes alike."""
        try:
            lock = os.open(self.names, os.O_RDONLY)
        except FileNotFoundError as exc:
            raise ArchiveUnavailable("the store is not there") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def sweep(self) -> None:
        """Remove what dead writers left."""
        named = {
            link.readlink().name
            for folder in (self.names, self.bin)
            for link in folder.iterdir()
        }
        for path in self.data.iterdir():
            if path.name not in named:
                fd = os.open(path, os.O_RDONLY)
                with contextlib.suppress(BlockingIOError):  # its writer lives
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.remove(path)
                os.close(fd)

    def remove(self, path: Path) -> None:
        """Remove a version; call it with the lock held."""
        self.note(path.stat()).unlink(missing_ok=True)
        path.unlink()

    def note(self, found: os.stat_result) -> Path:
        return self.notes / str(found.st_ino)

    def keep(self, path: Path, digests: Mapping[str, bytes]) -> None:
        """Note the digests of a version; call it with the lock held."""
        found = path.stat()
        values = {name: value.hex() for name, value in digests.items()}
        text = json.dumps([found.st_size, found.st_mtime_ns, values])
        self.note(found).write_text(text, "utf-8")

    def kept(self, path: Path) -> dict[str, bytes]:
        """Return the digests of a version; call it with the lock held."""
        found = path.stat()
        try:
            size, mtime_ns, values = json.loads(self.note(found).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        if (size, mtime_ns) != (found.st_size, found.st_mtime_ns):
            return {}
        return {name: bytes.fromhex(value) for name, value in values.items()}

    def current(self, file_id: int) -> Path:
        """Return the path of the present version; call it with the lock held."""
        try:
            return self.names / (self.names / str(file_id)).readlink()
        except FileNotFoundError as exc:
            raise NoSuchFile(file_id) from exc

    def switch(self, file_id: int, path: Path, *, overwrite: bool) -> None:
        """Make a path in ``data`` the present version: the one visible step."""
        link = self.names / str(file_id)
        with self.locked():
            old = None
            with contextlib.suppress(NoSuchFile):
                old = self.current(file_id)
            if old and not overwrite:
                raise FileExists(file_id)
            new = path.with_name(f"{path.name}.link")
            new.symlink_to(f"../data/{path.name}")
            new.replace(link)
            if old:
                self.remove(old)

    def status_of(self, file_id: int, path: Path) -> FileStatus:
        found = path.stat()
        return FileStatus(
            file_id=file_id,
            path=str(self.names / str(file_id)),
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            version=path.name,
            levels=(StorageLevel(Media.DISK, found.st_size),),
            residency=Residency.DISK,
            residency_source="stat",
        )

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:
        del recall
        with self.locked():
            path = self.current(file_id)
            return TinyReader(
                self, self.status_of(file_id, path), os.open(path, os.O_RDONLY)
            )

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        with self.locked():  # or a sweep might come between the making and the flock
            path = self.data / uuid.uuid4().hex
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX)
        writer = TinyWriter(self, file_id, size=size)
        writer.store, writer.path, writer.fd = self, path, fd
        writer.mtime_ns, writer.overwrite = mtime_ns, overwrite
        return writer

    def _status(self, file_id: int) -> FileStatus:
        with self.locked():
            return self.status_of(file_id, self.current(file_id))

    def _delete(self, file_id: int) -> None:
        with self.locked():
            path = self.current(file_id)
            (self.names / str(file_id)).unlink()
            self.remove(path)

    def trash(self, file_id: int) -> None:
        file_id = self._ready(file_id)
        with self.locked():
            self.current(file_id)
            deleted_ns = max([time.time_ns(), *(n + 1 for n in self.times(file_id))])
            (self.names / str(file_id)).rename(self.bin / f"{file_id}.{deleted_ns}")

    def undelete(self, file_id: int, *, deleted_ns: int | None = None) -> None:
        file_id = self._ready(file_id)
        with self.locked():
            times = self.times(file_id)
            if deleted_ns is None:
                deleted_ns = max(times, default=None)
            if deleted_ns not in times:
                raise NoSuchFile(file_id)
            link = self.names / str(file_id)
            if link.is_symlink():
                raise FileExists(file_id)
            (self.bin / f"{file_id}.{deleted_ns}").rename(link)

    def trashed(self) -> Iterator[Trashed]:
        self.ensure_open()
        with self.locked():
            return iter([self.trashed_by(link) for link in self.bin.iterdir()])

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        self.ensure_open()
        with self.locked():
            times = {
                link: self.trashed_by(link).deleted_ns for link in self.bin.iterdir()
            }
            old = [link for link, time_ns in times.items() if time_ns < before_ns]
            for link in (gone := sorted(old, key=times.__getitem__)[:limit]):
                path = self.data / link.readlink().name
                link.unlink()
                self.remove(path)
            return len(gone)

    def times(self, file_id: int) -> set[int]:
        """Return when those of an id were trashed; call it with the lock held."""
        found = map(self.trashed_by, self.bin.iterdir())
        return {one.deleted_ns for one in found if one.file_id == file_id}

    def trashed_by(self, link: Path) -> Trashed:
        file_id, _, deleted_ns = link.name.partition(".")
        return Trashed(
            file_id=int(file_id), deleted_ns=int(deleted_ns), size=link.stat().st_size
        )

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        file_id = self._ready(file_id)
        with self.locked():
            return self.kept(self.current(file_id))

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        file_id = self._ready(file_id)
        with self.locked():
            path = self.current(file_id)
            if path.name != version:
                return False
            self.keep(path, {**digests, **self.kept(path)})
            return True

    def check(self) -> None:
        self.ensure_open()
        with self.locked():
            pass

    def local_path(self, file_id: int) -> Path:
        file_id = self._ready(file_id)
        with self.locked():
            return self.current(file_id)

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        file_id = self._ready(file_id)
        path = self.data / uuid.uuid4().hex
        with self.locked():
            self.refuse(file_id, Path(source))
            Path(source).rename(path)
        try:
            self.switch(file_id, path, overwrite=overwrite)
        except FileExists:
            path.rename(source)
            raise

    def refuse(self, file_id: int, source: Path) -> None:
        """Raise SourceRefused unless the source may be adopted."""
        try:
            found = source.lstat()
            real = source.resolve(strict=True)
        except (OSError, ValueError) as exc:
            raise SourceRefused(file_id) from exc
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_nlink != 1
            or source != real
            or real.parent != self.inbox
        ):
            raise SourceRefused(file_id)


class TinyReader(ArchiveReader):
    def __init__(self, archive: Archive, status: FileStatus, fd: int) -> None:
        super().__init__(archive, status)
        self.fd = fd

    def _readinto_at(self, view: memoryview, position: int) -> int:
        return os.preadv(self.fd, [view], position)

    def _release(self) -> None:
        os.close(self.fd)

    def fileno(self) -> int:
        return self.fd


class TinyWriter(ArchiveWriter):
    store: TinyArchive
    path: Path
    fd: int
    mtime_ns: int | None
    overwrite: bool

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def _commit(self) -> None:
        mtime_ns = time.time_ns() if self.mtime_ns is None else self.mtime_ns
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        os.fsync(self.fd)
        if self.digests:
            with self.store.locked():
                self.store.keep(self.path, self.digests)
        self.store.switch(self.file_id, self.path, overwrite=self.overwrite)
        os.close(self.fd)

    def _discard(self) -> None:
        os.close(self.fd)
        with self.store.locked():
            self.store.remove(self.path)
