"""
A backend of a stranger for the tests of the command line.

It keeps files in a directory and their digests in another, plays a tape, fails
when it is told to, and stops in the middle of a transfer until its test lets it
go on.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from pacifica_archive_core import (
    Archive,
    ArchiveError,
    ArchiveReader,
    ArchiveWriter,
    FileError,
    FileExists,
    FileOffline,
    FileStatus,
    Media,
    NoSuchFile,
    Residency,
    SourceRefused,
    StorageLevel,
    errors,
    option,
    to_bool,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO


@attrs.frozen(kw_only=True)
class DirectoryOptions:
    """Options of the ``directory`` backend."""

    prefix: Path = option("where the files are", converter=Path)
    fail: str | None = option("the error that everything raises", default=None)
    loud: bool = option(
        "log a warning", default=False, converter=to_bool, aliases=("noisy",)
    )
    pause_fds: str | None = option("says a block came; waits to go on", default=None)
    flips: int = option("readings that have a flipped bit", default=0, converter=int)
    password: str | None = option("opens nothing", default=None, secret=True)
    extra: list[str] = option("nothing", default=attrs.Factory(list))


class DirectoryArchive(Archive):
    """A file is ``<id>``; ``<id>.tape`` beside it says that it is on tape only."""

    options_class = DirectoryOptions
    config_sections = ("a_directory", "directory")
    block_size = 1 << 16

    options: DirectoryOptions

    @classmethod
    def remark(cls) -> str:
        return "a toy"

    def __init__(self, options: DirectoryOptions) -> None:
        super().__init__(options)
        (options.prefix / ".incoming").mkdir(parents=True, exist_ok=True)
        self.readings = 0

    def _path(self, file_id: int) -> Path:
        self._fail(file_id)
        path = self.options.prefix / str(file_id)
        if not path.exists():
            raise NoSuchFile(file_id)
        return path

    def _fail(self, file_id: int) -> None:
        if name := self.options.fail:
            kind: type[ArchiveError] = getattr(errors, name)
            if issubclass(kind, FileError):
                raise kind(file_id) from OSError("what lies behind it")
            raise kind("as told") from OSError("what lies behind it")

    def pause(self) -> None:
        """Say that a block came, and wait until the test has read it."""
        if self.options.pause_fds:
            tell, wait = map(int, self.options.pause_fds.split())
            os.write(tell, b".")
            os.read(wait, 1)

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:
        path = self._path(file_id)
        tape = path.with_suffix(".tape")
        if recall:
            tape.unlink(missing_ok=True)
        if tape.exists():
            raise FileOffline(file_id)
        return DirectoryReader(self, self._status(file_id), path.open("rb"))

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        self._fail(file_id)
        if not overwrite and (self.options.prefix / str(file_id)).exists():
            raise FileExists(file_id)
        return DirectoryWriter(self, file_id, size=size, mtime_ns=mtime_ns)

    def _status(self, file_id: int) -> FileStatus:
        path = self._path(file_id)
        found = path.stat()
        on_tape = path.with_suffix(".tape").exists()
        media = Media.TAPE if on_tape else Media.DISK
        return FileStatus(
            file_id=file_id,
            path=str(path),
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            version=str(found.st_ino),
            levels=(StorageLevel(media, found.st_size),),
            residency=Residency.TAPE if on_tape else Residency.DISK,
            residency_source="stat",
        )

    def _stage(self, file_id: int) -> bool:
        return self._status(file_id).online

    def _delete(self, file_id: int) -> None:
        self._path(file_id).unlink()

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        """Take a file of the prefix."""
        self._fail(file_id)
        target = self.options.prefix / str(file_id)
        if self.options.prefix not in Path(source).parents:
            raise SourceRefused(file_id)
        if target.exists() and not overwrite:
            raise FileExists(file_id)
        Path(source).rename(target)

    def keep(self, file_id: int, version: str, digests: Mapping[str, bytes]) -> None:
        """Keep digests beside the directory, where no test counts files."""
        path = self.options.prefix.with_name("digests")
        path.mkdir(exist_ok=True)
        texts = {name: value.hex() for name, value in digests.items()}
        (path / str(file_id)).write_text(json.dumps([version, texts]))

    def digests(self, file_id: int) -> dict[str, bytes]:
        """Return what was kept with the present version."""
        path = self.options.prefix.with_name("digests") / str(file_id)
        if not path.exists():
            return {}
        version, texts = json.loads(path.read_text())
        if version != self._status(file_id).version:
            return {}
        return {name: bytes.fromhex(text) for name, text in texts.items()}

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """Keep digests with a version that is stored."""
        if version != self._status(file_id).version:
            return False
        self.keep(file_id, version, {**digests, **self.digests(file_id)})
        return True

    def check(self) -> None:
        """Fail or warn when told to."""
        self._fail(0)
        if self.options.loud:
            logging.getLogger(__name__).warning("this is %s", "loud")


class DirectoryReader(ArchiveReader):
    """Reads an open file."""

    _archive: DirectoryArchive

    def __init__(
        self, archive: DirectoryArchive, status: FileStatus, stream: BinaryIO
    ) -> None:
        super().__init__(archive, status)
        self._stream = stream

    def _readinto_at(self, view: memoryview, position: int) -> int:
        self._stream.seek(position)
        block = self._stream.read(len(view))
        view[: len(block)] = block
        if position:
            self._archive.pause()
            return len(block)
        self._archive.readings += 1
        if self._archive.readings <= self._archive.options.flips:
            view[0] ^= 1
        return len(block)

    def _release(self) -> None:
        self._stream.close()


class DirectoryWriter(ArchiveWriter):
    """Writes a file of ``.incoming``."""

    _archive: DirectoryArchive

    def __init__(
        self,
        archive: DirectoryArchive,
        file_id: int,
        *,
        size: int | None,
        mtime_ns: int | None,
    ) -> None:
        super().__init__(archive, file_id, size=size)
        self._mtime_ns = mtime_ns
        self._path = archive.options.prefix / ".incoming" / str(file_id)
        self._stream = self._path.open("xb")

    def _write(self, data: memoryview) -> None:
        self._stream.write(data)
        self._archive.pause()

    def _commit(self) -> None:
        self._stream.close()
        if self._mtime_ns is not None:
            os.utime(self._path, ns=(self._mtime_ns, self._mtime_ns))
        version = str(self._path.stat().st_ino)
        self._path.rename(self._archive.options.prefix / str(self.file_id))
        self._archive.keep(self.file_id, version, self.digests)

    def _discard(self) -> None:
        self._stream.close()
        self._path.unlink()


@click.command
@click.option("--word", default="hello")
def greet(word: str) -> None:
    """Print a greeting."""
    click.echo(word)


NOT_A_COMMAND = "a string"
