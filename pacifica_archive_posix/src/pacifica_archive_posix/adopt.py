"""A file that lies in the store already and is to become an archived one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import AccessDenied, SourceRefused
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.errors import SOURCE, error_of
from pacifica_archive_posix.incoming import TICK_S, try_flock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Source", "opened_source"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a FIFO put there at the last moment would hang us.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.frozen(kw_only=True)
class Source:
    """
    An opened file and the opened directory that it was found in.

    Attributes:
        status: the file's status, before anything was done to it.
    """

    fd: int
    directory: int
    name: str
    status: os.stat_result

    def is_in_place(self, *, names: int) -> bool:
        """Whether it still is at its name, and has this many names in all."""
        try:
            found = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, self.status) and found.st_nlink == names

    def settle(self) -> None:
        """
        Wait until whoever writes to it from now on changes its ctime.

        Before Linux 6.13 one that has just been written to could be written to
        again within the tick of its ctime.
        """
        age_s = (time.time_ns() - self.status.st_ctime_ns) / 10**9
        # Not longer, though the clock of its file system is ahead.
        time.sleep(min(max(TICK_S - age_s, 0), TICK_S))

    def remove(self, *, durable: bool) -> None:
        """Remove its name, unless that is another file's by now."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
            if os.path.samestat(found, self.status):
                os.unlink(self.name, dir_fd=self.directory)
        if durable:
            os.fsync(self.directory)


@contextlib.contextmanager
def opened_source(
    file_id: int, path: str, *, roots: Sequence[str], forbidden: Sequence[str]
) -> Iterator[Source]:
    """
    Open the file at ``path`` without following any symlink below its root.

    What is checked is what was opened, so nobody can put another file in its
    place afterwards.

    Args:
        file_id: for messages.
        path: absolute, below one of ``roots``.
        roots: absolute paths of directories.
        forbidden: paths that it may neither be nor lie directly in.

    Raises:
        SourceRefused: it is not such a path, or no regular file with one link.
        AccessDenied, ArchiveUnavailable: the store failed.
    """
    with contextlib.ExitStack() as stack:
        try:
            root, names = _split(file_id, path, roots)
            avoided = {(s.st_dev, s.st_ino) for s in map(_stat, forbidden) if s}
            directory = _walk(file_id, root, names[:-1], avoided)
            stack.callback(release, directory)
            # Before the move: afterwards there would be two names to one file.
            if not os.access(".", os.W_OK, dir_fd=directory, effective_ids=True):
                raise AccessDenied(
                    f"file {file_id}: the source's directory is not writable"
                )
            fd = _open(file_id, names[-1], directory)
            stack.callback(release, fd)
            found = os.fstat(fd)
            _ensure_ordinary(file_id, found, avoided)
            if try_flock(fd, fcntl.LOCK_EX) is False:
                raise SourceRefused(file_id, "the source is locked by another process")
        except OSError as exc:
            raise error_of(exc, file_id, SOURCE) from exc
        yield Source(fd=fd, directory=directory, name=names[-1], status=found)


def _split(file_id: int, path: str, roots: Sequence[str]) -> tuple[str, list[str]]:
    """Return the root that the path lies below, and the names from there on."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError as exc:
        raise SourceRefused(file_id, "the source's path is no name of a file") from exc
    if not path.startswith("/") or "\0" in path:
        raise SourceRefused(file_id, "the source's path is not absolute")
    names = [name for name in path.split("/") if name not in {"", "."}]
    for root in roots:
        above = [name for name in root.split("/") if name]
        below = names[len(above) :]
        if below and names[: len(above)] == above and ".." not in below:
            return root, below
    raise SourceRefused(file_id, "the source is not below a directory to adopt from")


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _walk(
    file_id: int, root: str, names: Sequence[str], avoided: set[tuple[int, int]]
) -> int:
    """Open the directory that ``names`` lead to from ``root``."""
    # The root is the operator's own word: it may be a symlink.
    directory = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for name in (*names, None):
            found = os.fstat(directory)
            if (found.st_dev, found.st_ino) in avoided:
                raise SourceRefused(
                    file_id, "the source is a file being stored or deleted"
                )
            if name is not None:
                above = directory
                directory = os.open(name, _DIRECTORY, dir_fd=above)
                release(above)
    except BaseException:
        release(directory)
        raise
    return directory


def _open(file_id: int, name: str, directory: int) -> int:
    # To open a device may be to act on it, so look first.
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise SourceRefused(file_id, "the source is no regular file")
    return os.open(name, _FILE, dir_fd=directory)


def _ensure_ordinary(
    file_id: int, found: os.stat_result, avoided: set[tuple[int, int]]
) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceRefused(file_id, "the source is no regular file")
    if found.st_nlink != 1:
        raise SourceRefused(file_id, "the source has more names than one")
    if (found.st_dev, found.st_ino) in avoided:
        raise SourceRefused(file_id, "the source is the archive's own")
