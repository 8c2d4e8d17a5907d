"""Files that are being stored, and what dead writers left of theirs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import re
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pacifica_archive_posix import libc
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.digests import (
    ATTRIBUTE,
    DIGESTED,
    Digested,
    keep_digests,
    proven_digests,
    stamp_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["INCOMING", "TICK_S", "Incoming", "IncomingFile", "try_flock"]

_log = logging.getLogger(__name__)

#: The directory in the prefix that holds the files that are being stored.
INCOMING = ".incoming"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAME = re.compile(r"[^.]+\.[^.]+\.[0-9]+\.[0-9]+")
#: From this size space is reserved, and every so many bytes are sent to the disk.
_STRIDE = 1 << 25
#: Longer than a tick of any kernel's clock of inode times (100 Hz: 10 ms).
TICK_S = 0.012
#: What says that there is no flock here: Lustre without the mount option flock;
#: NFS, of which an exclusive one wants a descriptor that may write (EBADF).
_NO_FLOCK = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF})


class IncomingFile:
    """
    A file that has a name in ``.incoming`` only, and whose flock we hold.

    Args:
        path: the name.
        fd: open for writing, unless the bytes are there already.
        born: its status before anything was done to it.
    """

    def __init__(self, path: str, fd: int, born: os.stat_result) -> None:
        self._path: str | None = path
        self._fd: int | None = fd
        self._born = born
        self._written = 0
        self._sent = 0
        #: The mode and the attributes that ``seal_as_is`` took away.
        self._taken: tuple[int, dict[str, bytes]] | None = None
        #: The names of those that it gives instead.
        self._given: tuple[str, ...] = ()

    def reserve(self, size: int) -> None:
        """Have space for ``size`` bytes, if that is worth a call."""
        if size >= _STRIDE:
            libc.fallocate(self._held(), size)

    def write(self, data: memoryview | bytes, *, durable: bool = False) -> None:
        """Append all of ``data``."""
        fd = self._held()
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(fd, view[done:])
        self._written += done
        # Else the fsync at the end has to wait for all that memory could hold.
        if durable and self._written - self._sent >= _STRIDE:
            libc.start_writeback(fd, self._sent, self._written - self._sent)
            self._sent = self._written

    def seal(
        self,
        *,
        mtime_ns: int | None,
        attributes: Mapping[str, bytes],
        digests: Mapping[str, bytes],
        durable: bool,
    ) -> None:
        """
        Give the file all that it shall have when it becomes visible.

        Args:
            mtime_ns: now, if None.
            attributes: extended ones, by their full names; not kept where there are
                none.
            digests: of its bytes; kept as attributes are.
            durable: be on stable storage on return, but for the name.
        """
        fd = self._held()
        now_ns = time.time_ns()
        os.utime(fd, ns=(now_ns, now_ns if mtime_ns is None else mtime_ns))
        with _where_supported():
            for name, value in attributes.items():
                os.setxattr(fd, name, value)
            if digests:
                # As the file system keeps it: it may have cut the mtime.
                stamp = stamp_of(os.fstat(fd))
                keep_digests(fd, Digested(digests=digests, stamp=stamp))
        # Last: attributes of a read-only file cannot be set, but by root (xattr(7)).
        os.fchmod(fd, 0o444)
        self._settle(fd, durable=durable)

    def seal_as_is(self, *, attributes: Mapping[str, bytes], durable: bool) -> None:
        """
        Seal a file that brings its bytes and its mtime.

        Attributes of ours that it brings are dropped: digests that are not proven to
        be of its bytes may be of those that it had before, and what else there is may
        be of the file it is a copy of.

        Args:
            attributes: those that it gets, as for ``seal``.
            durable: whether bytes and attributes are to be on stable storage.
        """
        fd = self._held()
        mode = stat.S_IMODE(self._born.st_mode)
        brought: dict[str, bytes] = {}
        self._taken = mode, brought
        self._given = tuple(attributes)
        with _where_supported():
            names = [name for name in os.listxattr(fd) if name.startswith(ATTRIBUTE)]
            if DIGESTED in names and proven_digests(fd, self._born):
                names.remove(DIGESTED)
            if names or attributes:
                os.fchmod(fd, mode | stat.S_IWUSR)
            for name in names:
                brought[name] = os.getxattr(fd, name)
                os.removexattr(fd, name)
            for name, value in attributes.items():
                os.setxattr(fd, name, value)
        os.fchmod(fd, 0o444)
        self._settle(fd, durable=durable)

    def unseal(self) -> None:
        """Undo ``seal_as_is``, if it began, as far as that is possible."""
        if self._taken is not None:
            mode, brought = self._taken
            fd = self._held()
            with contextlib.suppress(OSError):
                os.fchmod(fd, mode | stat.S_IWUSR)
                try:
                    # It may have failed before all were given.
                    for name in os.listxattr(fd) if self._given else ():
                        if name in self._given:
                            os.removexattr(fd, name)
                    for name, value in brought.items():
                        os.setxattr(fd, name, value)
                finally:
                    # Also where there are no attributes.
                    os.fchmod(fd, mode)

    def move(self, name: str, directory: int, *, overwrite: bool) -> None:
        """Make it visible as ``name``: the switch."""
        if self._path is None:
            raise ValueError("the file has no name")
        move = os.replace if overwrite else os.link
        move(self._path, name, dst_dir_fd=directory)

    def is_at(self, name: str, directory: int) -> bool:
        """Whether ``name`` in the directory is this very file."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, self._born)

    def forget_path(self, *, moved: bool) -> None:
        """Give up the name in ``.incoming``, which a move has taken away already."""
        path, self._path = self._path, None
        if not moved and path is not None:
            try:
                os.unlink(path)
            except OSError as exc:
                # The file is stored; a sweep will take this name of it away.
                _log.warning("a name could not be removed: %s", exc.strerror)

    def close(self) -> None:
        """Give up the descriptor and with it the flock; idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def discard(self) -> None:
        """Free all and remove the name, if it is still there; idempotent."""
        fd, self._fd = self._fd, None
        path, self._path = self._path, None
        _drop(path, fd)

    def _held(self) -> int:
        if self._fd is None:
            raise ValueError("the file is closed")
        return self._fd

    def _settle(self, fd: int, *, durable: bool) -> None:
        """
        Wait until the inode's ctime is later than at its birth, and sync it.

        A version is the inode, its ctime and the size, and a file system gives
        the inode of a file just replaced to the next one. Its last ctime was not
        after this one's birth, so a later one makes them differ. Linux keeps
        ctime in ticks of up to 10 ms before 6.13 (multigrain timestamps, which
        end the wait before it begins), so a smaller file may have to wait.
        """
        deadline = time.monotonic() + TICK_S
        while os.fstat(fd).st_ctime_ns <= self._born.st_ctime_ns:
            if time.monotonic() > deadline:
                # Times are of whole seconds here; such stores (Lustre) do not
                # give the number of an inode twice.
                break
            time.sleep(TICK_S / 24)
            os.fchmod(fd, 0o444)
        if durable:
            os.fsync(fd)


class Incoming:
    """
    The directory ``.incoming`` of one prefix.

    A name in it is boot id, host, process and a number; its writer holds an
    flock on the file as long as it lives. Used by any number of threads.

    Args:
        prefix: the archive's directory.
        ttl_s: seconds without change after which what another host, or this
            one before its last boot, left is dead.
    """

    def __init__(self, prefix: str, *, ttl_s: int) -> None:
        self.path = f"{prefix}/{INCOMING}"
        self._ttl_s = ttl_s
        boot = _BOOT_ID.read_text("utf-8").strip()
        host = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname()) or "_"
        self._own = f"{boot}.{host}."
        # From the clock, so that a later process of this pid makes other names.
        self._numbers = itertools.count(time.time_ns())

    def make(self) -> None:
        """Make the directory, unless it is there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)

    def create(self) -> IncomingFile:
        """Begin an empty file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            path = self._new_path()
            fd = os.open(path, flags, 0o600)
            try:
                told = try_flock(fd, fcntl.LOCK_EX)
                born = os.fstat(fd)
            except BaseException:
                _drop(path, fd)
                raise
            if told is not False and born.st_nlink:
                return IncomingFile(path, fd, born)
            # A sweeper was faster than the flock. One of another host does not
            # remove what it has locked: it looks at the age only then.
            _drop(path, fd)

    def link(self, fd: int, directory: int, born: os.stat_result) -> IncomingFile:
        """
        Give an opened file a second name here, whatever its first one is now.

        Args:
            fd: the file, with the flock held; the result owns a duplicate.
            directory: any open directory.
            born: the file's status before anything was done to it.
        """
        path = self._new_path()
        duplicate = os.dup(fd)
        try:
            # With a directory, since only linkat(2) follows the link to the inode.
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=directory)
        except BaseException:
            release(duplicate)
            raise
        return IncomingFile(path, duplicate, born)

    def sweep(self) -> None:
        """Remove what dead writers left; what cannot be removed is left."""
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries]
        except OSError as exc:
            _log.info("leftovers cannot be listed: %s", exc.strerror)
            return
        for name in filter(_NAME.fullmatch, names):
            try:
                self._remove_if_dead(name)
            except FileNotFoundError:
                # Its writer has just committed it, or another has swept it.
                continue
            except OSError as exc:
                _log.info("leftover %s cannot be swept: %s", name, exc.strerror)

    def _new_path(self) -> str:
        # The pid of now: after a fork nothing is shared but the numbers.
        return f"{self.path}/{self._own}{os.getpid()}.{next(self._numbers)}"

    def _remove_if_dead(self, name: str) -> None:
        path = f"{self.path}/{name}"
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Shared: NFS gives an exclusive one only to descriptors that write.
            told = try_flock(fd, fcntl.LOCK_SH)
            if told is False:
                return
            found = os.fstat(fd)
            # Only on our own kernel is an flock that is free a proof of death:
            # it does not cross hosts everywhere, and host names are not unique.
            if (told is None or not name.startswith(self._own)) and (
                time.time() - found.st_ctime < self._ttl_s
            ):
                return
            if found.st_nlink:
                os.unlink(path)
                _log.info("swept leftover %s of %d bytes", name, found.st_size)
        finally:
            release(fd)


def try_flock(fd: int, kind: int) -> bool | None:
    """Take an flock if it is free; False: it is not, None: there are none here."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno in _NO_FLOCK:
            return None
        raise
    return True


def _drop(path: str | None, fd: int | None) -> None:
    """Free a descriptor, then remove the name if it is still there."""
    try:
        if fd is not None:
            os.close(fd)
    finally:
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


@contextlib.contextmanager
def _where_supported() -> Iterator[None]:
    """Leave out what a file system without extended attributes cannot do."""
    try:
        yield
    except OSError as exc:
        if exc.errno != errno.EOPNOTSUPP:
            raise
