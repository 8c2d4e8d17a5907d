"""The commands that move bytes: ``put`` and ``get``."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs
import click

from pacifica_archive_core.cli.exits import PROGRAM, LocalFileError, RangeOutside
from pacifica_archive_core.cli.parameters import (
    ByteRange,
    byte_range,
    pairs_argument,
)
from pacifica_archive_core.cli.progress import byte_progress
from pacifica_archive_core.cli.selection import archive_options, opened
from pacifica_archive_core.copying import copy
from pacifica_archive_core.digests import ALGORITHMS, DEFAULT_ALGORITHM, Hashes
from pacifica_archive_core.errors import DigestMismatch, IncompleteWrite
from pacifica_archive_core.verify import find_difference, known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.backends import ArchiveSpec
    from pacifica_archive_core.copying import Sink

__all__ = ["get", "put"]

_STANDARD = "-"
_NO_DIGEST = "none"


@click.command
@pairs_argument("FILE")
@click.option("--overwrite", is_flag=True, help="Replace what is stored already.")
@click.option(
    "--size",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Store nothing unless exactly so many come: for a pipe, whose breaking"
    " looks like its end. With one FILE only.",
)
@click.option(
    "--digest",
    "algorithms",
    type=click.Choice([*ALGORITHMS, _NO_DIGEST]),
    multiple=True,
    metavar="NAME",
    help="Keep this digest with the file, computed while it is read:"
    f" {', '.join(ALGORITHMS)} or {_NO_DIGEST}; repeatable"
    f"  [default: {DEFAULT_ALGORITHM}]",
)
@archive_options
def put(
    *,
    spec: ArchiveSpec,
    pairs: tuple[tuple[int, str], ...],
    overwrite: bool,
    size: int | None,
    algorithms: tuple[str, ...],
) -> None:
    """
    Store each FILE under its ID, whole or not at all.

    A FILE - is standard input. The time of a file is kept with it; what comes
    from a pipe has the time it was stored. An ID that is taken is refused, and
    so is a file that changes while it is read.
    """
    if size is not None and len(pairs) > 1:
        raise click.UsageError("--size goes with one FILE")
    if sum(name == _STANDARD for _, name in pairs) > 1:
        raise click.UsageError("standard input can be stored once")
    if _NO_DIGEST in algorithms:
        if {*algorithms} != {_NO_DIGEST}:
            raise click.UsageError(f"--digest {_NO_DIGEST} stands alone")
        algorithms = ()
    elif not algorithms:
        algorithms = (DEFAULT_ALGORITHM,)
    with opened(spec) as (archive, failures):
        for file_id, name in pairs:
            with failures.one():
                _put(
                    *(archive, file_id, name),
                    size=size,
                    overwrite=overwrite,
                    algorithms=algorithms,
                )


@click.command
@pairs_argument("FILE")
@click.option(
    "--range",
    "wanted",
    type=byte_range,
    metavar="RANGE",
    help="Only these bytes, counted from 0 and both ends included, as in HTTP:"
    " 0-99 the first hundred, 100- all behind them, -100 the last hundred.",
)
@click.option(
    "--recall",
    is_flag=True,
    help="Wait for files on tape, as long as the backend's options allow.",
)
@click.option(
    "--no-check",
    is_flag=True,
    help="Do not compare the bytes with the digests kept with them.",
)
@archive_options
def get(
    *,
    spec: ArchiveSpec,
    pairs: tuple[tuple[int, str], ...],
    wanted: ByteRange | None,
    recall: bool,
    no_check: bool,
) -> None:
    """
    Fetch the file of each ID into FILE, whole or not at all.

    A FILE - is standard output. A FILE that exists is replaced, when all the
    bytes are there. It gets the time that is kept in the archive.
    Bytes that do not have the digests kept with the file are an error, which
    says where they went wrong; a --range of them cannot be checked.
    """
    with opened(spec) as (archive, failures):
        for file_id, name in pairs:
            with failures.one():
                _get(
                    *(archive, file_id, name),
                    wanted=wanted,
                    recall=recall,
                    check=not no_check and wanted is None,
                )


def _put(
    archive: Archive,
    file_id: int,
    name: str,
    *,
    size: int | None,
    overwrite: bool,
    algorithms: tuple[str, ...],
) -> None:
    with _local(file_id, name), _source(name) as source:
        found = source.state()
        if size is None and found is not None:
            size = found.size
        with (
            archive.create(
                file_id,
                size=size,
                mtime_ns=None if found is None else found.mtime_ns,
                overwrite=overwrite,
            ) as writer,
            byte_progress(f"put {file_id}", size) as shown,
            Hashes(algorithms) as hashes,
        ):
            copy(
                source,
                writer,
                block_size=archive.block_size,
                hashers=(hashes, *shown),
            )
            writer.digests.update(hashes.digests())
            if source.state() != found:
                raise IncompleteWrite(file_id, f"{name} changed while it was read")


def _get(
    archive: Archive,
    file_id: int,
    name: str,
    *,
    wanted: ByteRange | None,
    recall: bool,
    check: bool,
) -> None:
    with archive.open(file_id, recall=recall) as reader:
        size = reader.status.size
        span = range(size) if wanted is None else wanted.within(size)
        if span is None:
            raise RangeOutside(file_id, f"none of its {size} bytes is in the range")
        kept = known(reader.digests()) if check else {}
        with (
            _local(file_id, name),
            _target(name, reader.status.mtime_ns) as target,
            byte_progress(f"get {file_id}", len(span)) as shown,
            Hashes(kept) as hashes,
        ):
            reader.seek(span.start)
            copy(
                reader,
                target,
                block_size=archive.block_size,
                size=len(span),
                hashers=(hashes, *shown),
            )
            # Before the target appears.
            if difference := find_difference(
                archive,
                reader,
                kept=kept,
                found=hashes.digests(),
                block_size=archive.block_size,
            ):
                raise DigestMismatch(file_id, difference.reason)


@contextlib.contextmanager
def _local(file_id: int, name: str) -> Iterator[None]:
    """Tell failures of files outside the archive from its own."""
    try:
        yield
    except BrokenPipeError:
        # The reader of the output has enough: no failure, but the end.
        raise
    except OSError as exc:
        raise LocalFileError(file_id, f"{name}: {exc.strerror or exc}") from exc


@attrs.frozen
class _State:
    """What tells a regular file from the same file changed."""

    size: int
    mtime_ns: int


class _Source:
    """What is to be stored."""

    def __init__(self, stream: IO[bytes], *, regular: bool) -> None:
        self._stream = stream
        self._regular = regular

    def read(self, size: int) -> bytes:
        """Read as ``copy`` wants it: of a stream set not to block, None comes."""
        block: bytes | None = self._stream.read(size)
        if block is None:
            raise _would_block()
        return block

    def state(self) -> _State | None:
        """Return the state of now; None of what is no regular file."""
        if not self._regular:
            return None
        found = os.fstat(self._stream.fileno())
        return _State(found.st_size, found.st_mtime_ns)


@contextlib.contextmanager
def _source(name: str) -> Iterator[_Source]:
    if name == _STANDARD:
        yield _Source(sys.stdin.buffer, regular=False)
        return
    with Path(name).open("rb") as stream:
        # Of a pipe, as of <(...), size and time say nothing.
        regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        yield _Source(stream, regular=regular)


class _StandardOutput:
    """
    Takes all or raises, and holds nothing back.

    Python's own buffer would try once more at the end, and spoil the exit code;
    without it (PYTHONUNBUFFERED) a write may take less, as where a disk ends.
    """

    def __init__(self) -> None:
        buffer = sys.stdout.buffer
        self._raw = getattr(buffer, "raw", buffer)

    def write(self, data: Buffer) -> None:
        """Take all of ``data``."""
        with memoryview(data) as view:
            taken = 0
            while taken < view.nbytes:
                count = self._raw.write(view[taken:])
                if count is None:
                    raise _would_block()
                taken += count


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@contextlib.contextmanager
def _target(name: str, mtime_ns: int) -> Iterator[Sink]:
    """Open a target that appears, or replaces the old file, when all went well."""
    if name == _STANDARD:
        yield _StandardOutput()
        return
    path = Path(name)
    if path.exists() and not path.is_file():
        # A device or a pipe is written to, never replaced; a directory refuses.
        with path.open("wb") as target:
            yield target
        return
    # Through a symbolic link, as cp does, instead of replacing the link.
    path = path.resolve()
    part = path.with_name(f".{PROGRAM}-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as target:
            if path.exists():
                # What was private stays private.
                os.fchmod(target.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield target
            target.flush()
            os.utime(target.fileno(), ns=(mtime_ns, mtime_ns))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
