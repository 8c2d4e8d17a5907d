"""An archive that keeps each file compressed, in a zip of its own."""

from __future__ import annotations

import errno
import os
import secrets
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs

import pacifica_archive_core as core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ZipArchive", "ZipOptions"]


@contextmanager
def _door(file_id: int) -> Iterator[None]:
    """Turn what the system and zipfile raise into the archive's errors."""
    try:
        yield
    except FileNotFoundError as exc:
        raise core.NoSuchFile(file_id) from exc
    except FileExistsError as exc:
        raise core.FileExists(file_id) from exc
    except PermissionError as exc:
        raise core.AccessDenied(f"file {file_id}: no permission") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as exc:
        raise core.FileDamaged(file_id) from exc
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
        error = core.ArchiveFull if full else core.ArchiveUnavailable
        raise error(f"file {file_id}: {exc.strerror}") from exc


@attrs.frozen
class ZipOptions:
    """Options of the ``zip`` backend."""

    prefix: Path = core.option("the directory that holds the zips", converter=Path)


class ZipArchive(core.Archive):
    """File 12345 is the only member of ``prefix/12345.zip``."""

    options_class = ZipOptions
    config_sections = ("zip",)

    def __init__(self, options: ZipOptions) -> None:
        super().__init__(options)
        if not options.prefix.is_dir():
            raise core.ConfigError("option 'prefix' of zip: no such directory")

    def path_of(self, file_id: int) -> Path:
        """Return where the zip of a file is."""
        return Path(self.options.prefix, f"{file_id}.zip")

    @contextmanager
    def _look(self, file_id: int) -> Iterator[tuple[zipfile.ZipFile, core.FileStatus]]:
        path = self.path_of(file_id)
        with _door(file_id), path.open("rb") as file, zipfile.ZipFile(file) as opened:
            stat = os.fstat(file.fileno())
            size = opened.getinfo(str(file_id)).file_size
            status = core.FileStatus(
                file_id=file_id,
                path=str(path),
                size=size,
                mtime_ns=stat.st_mtime_ns,
                ctime_ns=stat.st_ctime_ns,
                version=opened.comment.hex() or str(stat.st_ctime_ns),
                levels=(core.StorageLevel(core.Media.DISK, size),),
                residency=core.Residency.DISK,
                residency_source="stat",
            )
            yield opened, status

    def _open(self, file_id: int, *, recall: bool) -> ZipReader:  # noqa: ARG002 (no tape)
        with ExitStack() as held:
            opened, status = held.enter_context(self._look(file_id))
            member = held.enter_context(opened.open(str(file_id)))
            reader = ZipReader(self, status)
            reader.member, reader.held = member, held.pop_all()
            return reader

    def _status(self, file_id: int) -> core.FileStatus:
        with self._look(file_id) as (_, status):
            return status

    def _delete(self, file_id: int) -> None:
        with _door(file_id):
            self.path_of(file_id).unlink()

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ZipWriter:
        if not overwrite and self.path_of(file_id).exists():
            raise core.FileExists(file_id)
        with _door(file_id):
            data = self._nameless()
        writer = ZipWriter(self, file_id, size=size)
        writer.data = data
        writer.store = partial(
            self._store, file_id, data, mtime_ns, overwrite=overwrite
        )
        return writer

    def _nameless(self) -> int:
        """Open a file without a name, of which a writer that dies leaves nothing."""
        return os.open(self.options.prefix, os.O_TMPFILE | os.O_RDWR, 0o444)

    def _store(
        self, file_id: int, data: int, mtime_ns: int | None, *, overwrite: bool
    ) -> None:
        with _door(file_id), os.fdopen(self._nameless(), "r+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
                made.comment = secrets.token_bytes(8)  # the version
                made.write(f"/proc/self/fd/{data}", str(file_id))
            file.flush()
            if mtime_ns is not None:
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(file.fileno())
            self._publish(file_id, file.fileno(), overwrite=overwrite)

    def _publish(self, file_id: int, descriptor: int, *, overwrite: bool) -> None:
        """Give a finished zip its name, which replaces another or is refused."""
        final = self.path_of(file_id)
        name = final.with_name(f".{secrets.token_hex(8)}") if overwrite else final
        directory = os.open(final.parent, os.O_RDONLY)
        try:
            # With a directory, for only then it links what stands behind the path.
            os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=directory)
            name.replace(final)
            try:
                os.fsync(directory)
            except OSError as exc:
                raise core.CommitUnclear(file_id) from exc
        finally:
            os.close(directory)


class ZipReader(core.ArchiveReader):
    """Holds the zip open, so that it reads on when the name is gone."""

    member: IO[bytes]
    held: ExitStack

    def _readinto_at(self, view: memoryview, position: int) -> int:
        with _door(self.status.file_id):
            self.member.seek(position)
            block = self.member.read(len(view))
        view[: len(block)] = block
        return len(block)

    def _release(self) -> None:
        self.held.close()


class ZipWriter(core.ArchiveWriter):
    """Gathers the bytes; the commit has the archive make a zip of them."""

    # A descriptor, not a file object: in a forked child that would flush, or warn.
    data: int
    store: Callable[[], None]

    def _write(self, data: memoryview) -> None:
        with _door(self.file_id):
            while data:
                data = data[os.write(self.data, data) :]

    def _commit(self) -> None:
        self.store()
        os.close(self.data)

    def _discard(self) -> None:
        os.close(self.data)
