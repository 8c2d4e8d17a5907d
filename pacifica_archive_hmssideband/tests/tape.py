"""What stands for the tapes of an HSM: reads that wait, and a command that is told."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import make_url

from pacifica_archive_core import id2filename
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

__all__ = [
    "PATIENCE_S",
    "Recorder",
    "Tape",
    "archive_in",
    "descriptors",
    "ended",
    "path_of",
    "released",
    "tape_in_a_drive",
    "threads",
]

#: Seconds after which something that is waited for will not come.
PATIENCE_S = 30.0


@attrs.frozen(kw_only=True)
class Read:
    """One call of os.pread."""

    fd: int
    size: int
    offset: int


class Tape:
    """
    Every os.pread of the process: it waits until the tape is there.

    So does one of a SAM-QFS mount, in the kernel.

    Attributes:
        reads: those that have begun, in order.
        failure: the errno that a read ends with, if it is to fail.
    """

    def __init__(self, pread: Callable[[int, int, int], bytes]) -> None:
        self._pread = pread
        self._changed = threading.Condition()
        self._is_there = False
        self.reads: list[Read] = []
        self.failure: int | None = None

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        with self._changed:
            self.reads.append(Read(fd=fd, size=size, offset=offset))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_there)
        if self.failure is not None:
            raise OSError(self.failure, os.strerror(self.failure), "/server/path")
        return self._pread(fd, size, offset)

    def come(self) -> None:
        """Let all reads go on, those to come too."""
        with self._changed:
            self._is_there = True
            self._changed.notify_all()

    def go(self) -> None:
        """Have the reads to come wait again."""
        with self._changed:
            self._is_there = False

    def begun(self, count: int) -> bool:
        """Wait until so many reads have begun."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.reads) >= count, PATIENCE_S)


@contextlib.contextmanager
def tape_in_a_drive(patch: pytest.MonkeyPatch) -> Iterator[Tape]:
    """Have reads wait, until the end at most."""
    tape = Tape(os.pread)
    patch.setattr(os, "pread", tape.pread)
    yield tape
    tape.come()
    ended()


def threads(name: str = "") -> list[threading.Thread]:
    """Return the backend's own threads; all, or those of one kind."""
    prefix = f"pacifica-hms-{name}"
    return [
        thread for thread in threading.enumerate() if thread.name.startswith(prefix)
    ]


def ended(name: str = "") -> bool:
    """Wait until the backend's threads have ended."""
    for thread in threads(name):
        thread.join(PATIENCE_S)
    return not threads(name)


def descriptors(path: Path) -> int:
    """Return how many descriptors of this process are of this file."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        # It may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            count += link.readlink() == path
    return count


class Recorder:
    """
    A stage command that writes down how it was called.

    Args:
        folder: a directory for what it needs.
        then: what it does after that, in the words of sh(1).
    """

    def __init__(self, folder: Path, then: str = "exit 0") -> None:
        self._log = folder / "calls"
        self.script = folder / "stage-command"
        self.script.write_text(
            "#!/bin/sh\n"
            f'printf \'%s\\0\' "$#" "$0" "$@" >>{shlex.quote(str(self._log))}\n'
            f"{then}\n",
            "utf-8",
        )
        self.script.chmod(0o755)

    @property
    def words(self) -> tuple[str, ...]:
        return (str(self.script),)

    def calls(self) -> list[list[str]]:
        """Return the words of each call, the program's name first."""
        if not self._log.exists():
            return []
        words = iter(self._log.read_text("utf-8").split("\0")[:-1])
        return [[next(words) for _ in range(int(count) + 1)] for count in words]


def archive_in(
    prefix: Path,
    *,
    stage_command: tuple[str, ...] = (),
    recall_timeout_s: float = PATIENCE_S,
    url: str = "sqlite://",
) -> HmsSidebandArchive:
    """Open an archive; by default its database is empty, and the blocks decide."""
    prefix.mkdir(exist_ok=True)
    options = HmsSidebandOptions(
        prefix=prefix,
        sam_qfs_prefix="/",
        url=make_url(url),
        stage_command=stage_command,
        recall_timeout_s=recall_timeout_s,
    )
    return HmsSidebandArchive(options)


def path_of(archive: HmsSidebandArchive, file_id: int) -> Path:
    return Path(f"{archive.options.prefix}{id2filename(file_id)}")


def released(archive: HmsSidebandArchive, *file_ids: int, size: int = 100_000) -> None:
    """Make files that have no bytes on disk."""
    for file_id in file_ids:
        path = path_of(archive, file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
        if path.stat().st_blocks:
            raise OSError(errno.ENOTSUP, "this file system has no sparse files")
