"""An archive that keeps each file compressed, in a zip of its own."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import tempfile
import time
import zipfile
import zlib
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs

import pacifica_archive_core as core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

__all__ = ["ZipArchive", "ZipOptions"]

#: Of errno; what is not here makes the store unavailable, not the file.
_ERRORS: dict[int | None, type[core.ArchiveError]] = {
    errno.EACCES: core.AccessDenied,
    errno.EDQUOT: core.ArchiveFull,
    errno.ENOSPC: core.ArchiveFull,
    errno.EPERM: core.AccessDenied,
    errno.EROFS: core.AccessDenied,
}


@contextmanager
def _door(file_id: int) -> Iterator[None]:
    """Turn what the system and zipfile raise into the archive's errors."""
    try:
        yield
    except FileNotFoundError as exc:
        raise core.NoSuchFile(file_id) from exc
    except FileExistsError as exc:
        raise core.FileExists(file_id) from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as exc:
        raise core.FileDamaged(file_id) from exc
    except OSError as exc:
        error = _ERRORS.get(exc.errno, core.ArchiveUnavailable)
        raise error(f"file {file_id}: {exc.strerror}") from exc


@attrs.frozen(kw_only=True)
class ZipOptions:
    """Options of the ``zip`` backend."""

    prefix: Path = core.option("the directory that holds the zips", converter=Path)


class ZipArchive(core.Archive):
    """File 12345 is the only member of ``prefix/12345.zip``."""

    options_class = ZipOptions
    config_sections = ("zip",)

    def __init__(self, options: ZipOptions) -> None:
        super().__init__(options)
        self.incoming = options.prefix / ".incoming"
        try:
            self.incoming.mkdir(exist_ok=True)
            for path in self.incoming.iterdir():
                # The lock is refused as long as the file's writer lives.
                with suppress(BlockingIOError, FileNotFoundError), path.open() as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
        except OSError as exc:
            raise core.ArchiveUnavailable("the prefix cannot be used") from exc

    def path_of(self, file_id: int) -> Path:
        """Return where the zip of a file is."""
        return self.incoming.with_name(f"{file_id}.zip")

    @contextmanager
    def _look(self, file_id: int) -> Iterator[tuple[zipfile.ZipFile, core.FileStatus]]:
        with (
            _door(file_id),
            self.path_of(file_id).open("rb") as file,
            zipfile.ZipFile(file) as opened,
        ):
            stat = os.fstat(file.fileno())
            info = opened.getinfo(str(file_id))
            status = core.FileStatus(
                file_id=file_id,
                path=file.name,
                size=info.file_size,
                mtime_ns=stat.st_mtime_ns,
                ctime_ns=stat.st_ctime_ns,
                version=info.comment.hex() or f"{stat.st_ino}-{stat.st_ctime_ns}",
                levels=(core.StorageLevel(core.Media.DISK, info.file_size),),
                residency=core.Residency.DISK,
                residency_source="stat",
            )
            yield opened, status

    def _open(self, file_id: int, *, recall: bool) -> ZipReader:
        del recall  # nothing is ever on tape
        with ExitStack() as held:
            opened, status = held.enter_context(self._look(file_id))
            member = held.enter_context(opened.open(str(file_id)))
            return ZipReader(self, status, member, held.pop_all())

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ZipWriter:
        if not overwrite and self.path_of(file_id).exists():
            raise core.FileExists(file_id)
        with _door(file_id):
            return ZipWriter(self, file_id, size, mtime_ns, overwrite=overwrite)

    def _status(self, file_id: int) -> core.FileStatus:
        with self._look(file_id) as (_, status):
            return status

    def _delete(self, file_id: int) -> None:
        path = self.path_of(file_id)
        with _door(file_id):
            path.unlink()
            _sync(path.parent)


class ZipReader(core.ArchiveReader):
    """Holds the zip open, so that it reads on when the name is gone."""

    def __init__(
        self,
        archive: ZipArchive,
        status: core.FileStatus,
        member: IO[bytes],
        held: ExitStack,
    ) -> None:
        super().__init__(archive, status)
        self._member = member
        self._held = held

    def _readinto_at(self, view: memoryview, position: int) -> int:
        with _door(self.status.file_id):
            self._member.seek(position)
            block = self._member.read(len(view))
        view[: len(block)] = block
        return len(block)

    def _release(self) -> None:
        self._held.close()


class _Made(io.RawIOBase):
    """
    What zipfile has made and the file has not got yet.

    zipfile writes even when it is thrown away, in a forked child too: into memory.
    """

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Buffer, /) -> int:
        self.data += data
        return memoryview(data).nbytes


class ZipWriter(core.ArchiveWriter):
    """Compresses into a temporary file, to which the commit gives the name."""

    def __init__(
        self,
        archive: ZipArchive,
        file_id: int,
        size: int | None,
        mtime_ns: int | None,
        *,
        overwrite: bool,
    ) -> None:
        self._mtime_ns = mtime_ns
        self._overwrite = overwrite
        self._final = archive.path_of(file_id)
        self._made = _Made()
        self._zip = zipfile.ZipFile(self._made, "w", zipfile.ZIP_DEFLATED)
        self._member = self._zip.open(str(file_id), "w", force_zip64=True)
        self._file = _temporary(archive.incoming)
        super().__init__(archive, file_id, size=size)

    def _write(self, data: memoryview) -> None:
        self._member.write(data)
        self._save()

    def _save(self) -> None:
        with _door(self.file_id):
            while self._made.data:
                del self._made.data[: self._file.write(self._made.data)]

    def _commit(self) -> None:
        mtime_ns = time.time_ns() if self._mtime_ns is None else self._mtime_ns
        self._member.close()
        self._zip.getinfo(str(self.file_id)).comment = secrets.token_hex(8).encode()
        self._zip.close()
        self._save()
        with _door(self.file_id):
            os.utime(self._file.fileno(), ns=(mtime_ns, mtime_ns))
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            if self._overwrite:
                Path(self._file.name).replace(self._final)
            else:
                self._final.hardlink_to(self._file.name)
        # The new file is visible: from here on nothing may say that it is not.
        try:
            with self._file:
                Path(self._file.name).unlink(missing_ok=True)
                _sync(self._final.parent)
        except OSError as exc:
            raise core.CommitUnclear(self.file_id) from exc

    def _discard(self) -> None:
        self._member.close()
        self._zip.close()
        with _door(self.file_id), self._file:
            Path(self._file.name).unlink(missing_ok=True)


def _temporary(directory: Path) -> IO[bytes]:
    """Make a file that no sweep removes as long as it is open."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (the writer closes it)
            dir=directory, buffering=0, delete=False
        )
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # swept before it was locked


def _sync(directory: Path) -> None:
    """Make the names in a directory outlive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
