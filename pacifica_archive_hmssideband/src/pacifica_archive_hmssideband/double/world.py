"""The files: what is in the directory, and how bytes leave it and come back."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import fcntl
import functools
import os
import signal
import stat
import struct
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ROOT",
    "Kind",
    "Tree",
    "allocate",
    "alone",
    "copied",
    "is_told_apart",
    "key_of",
    "kind_of",
    "opened",
    "punch",
    "restore",
    "scan",
]

#: The key of the prefix itself.
ROOT = "root"

_BLOCK = 1 << 22
_PUNCH_HOLE = 2
_KEEP_SIZE = 1
# statx(2), <linux/stat.h>
_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_SIZE = 256
_BTIME_AT = 80


class Kind(enum.IntEnum):
    """The database's types of an inode."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 4
    OTHER = 5


@attrs.frozen(kw_only=True)
class Tree:
    """
    What is in the prefix, by the keys of the inodes.

    A key holds an inode's number and the time of its birth: it is another one when
    the number is used again.

    Attributes:
        names: key of the directory and name, to key.
        stats: key to status.
        paths: key to path: "/a/b", below the prefix; of a hard link one of them.
    """

    names: dict[tuple[str, str], str]
    stats: dict[str, os.stat_result]
    paths: dict[str, str]


def kind_of(found: os.stat_result) -> Kind:
    """Return the database's type."""
    if stat.S_ISREG(found.st_mode):
        return Kind.FILE
    if stat.S_ISDIR(found.st_mode):
        return Kind.DIRECTORY
    return Kind.SYMLINK if stat.S_ISLNK(found.st_mode) else Kind.OTHER


def key_of(found: os.stat_result, target: str | int) -> str:
    """Return the key of what has this status at a path, or in a descriptor."""
    return f"{found.st_ino:x}-{_birth_ns(target):x}"


def is_told_apart(key: str) -> bool:
    """Whether no later file with the number of this one can be taken for it."""
    return not key.endswith("-0")


def scan(prefix: str, known: Mapping[int, tuple[str, int]]) -> Tree:
    """
    Look at everything in the prefix once.

    What is moved meanwhile may be missed. Other file systems are left out.

    Args:
        prefix: the directory.
        known: inode number to key and ctime of what an earlier scan found.

    Raises:
        OSError: the prefix, or a directory in it, cannot be read.
    """
    device = os.stat(prefix).st_dev  # noqa: PTH116 (one call among thousands)
    tree = Tree(names={}, stats={}, paths={})
    todo = [(ROOT, "")]
    while todo:
        parent, directory = todo.pop()
        try:
            entries = os.scandir(f"{prefix}{directory}")
        except (FileNotFoundError, NotADirectoryError):
            if parent == ROOT:
                raise
            continue
        with entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device:
                        continue
                    key, ctime_ns = known.get(found.st_ino, ("", 0))
                    if ctime_ns != found.st_ctime_ns:
                        key = key_of(found, entry.path)
                except FileNotFoundError:
                    continue
                path = f"{directory}/{entry.name}"
                tree.names[parent, entry.name] = key
                tree.stats[key] = found
                tree.paths[key] = path
                if stat.S_ISDIR(found.st_mode):
                    todo.append((key, path))
    return tree


@contextlib.contextmanager
def opened(path: str, key: str, *, write: bool) -> Iterator[int]:
    """
    Open the very file that has this key, whatever its mode says to its owner.

    Raises:
        FileNotFoundError: something else is at the path, or nothing.
        OSError: it cannot be opened.
    """
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode) or key_of(found, place) != key:
            raise FileNotFoundError(errno.ENOENT, "is another file now")
        # By the descriptor: the name may be given to another file at any time.
        fd = _open(f"/proc/self/fd/{place}", stat.S_IMODE(found.st_mode), write=write)
    finally:
        os.close(place)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def alone(fd: int) -> Iterator[bool]:
    """
    Keep everyone from opening the file; say False if anyone has it open.

    An open(2) waits until the end, for at most /proc/sys/fs/lease-break-time (45 s);
    nothing here may wait for anything. ``fd`` is the file's only descriptor of ours.

    Raises:
        OSError: the file system has no leases (fcntl(2), F_SETLEASE), or the file is
            another user's.
    """
    # Of one who waits we are told by a signal; SIGIO would end the process.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        # Broken by the kernel after its time, it is gone already.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def punch(fd: int, *, keep: int, mtime_ns: int) -> None:
    """
    Take the bytes away, but for the first ``keep``; the size stays.

    The mtime is off for the time between two system calls, and the atime is 0 then:
    a read moves it (mount(8), relatime).
    """
    found = os.fstat(fd)
    block = found.st_blksize
    start = -(-keep // block) * block
    end = -(-found.st_size // block) * block
    if start < end:
        _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)
    os.utime(fd, ns=(0, mtime_ns))


def allocate(fd: int, *, mtime_ns: int) -> None:
    """
    Give the file all its blocks, still without bytes, as a stage does at its start.

    They are taken behind its end: where blocks wait for their bytes, a read that was
    early has the kernel show zeros as data from then on (lseek(2), SEEK_HOLE).

    Raises:
        OSError: the disk is full.
    """
    found = os.fstat(fd)
    end = -(-found.st_size // found.st_blksize) * found.st_blksize
    if end:
        _fallocate(fd, _KEEP_SIZE, end, end)
    os.utime(fd, ns=(found.st_atime_ns, mtime_ns))


def restore(fd: int, source: int, *, size: int, mtime_ns: int, now_ns: int) -> None:
    """
    Copy the bytes back in.

    Raises:
        OSError: the copy is not whole, or the disk is full.
    """
    done = 0
    while done < size:
        block = os.pread(source, min(_BLOCK, size - done), done)
        if not block:
            raise OSError(errno.EIO, "the copy on tape is damaged")
        while block:
            count = os.pwrite(fd, block, done)
            os.utime(fd, ns=(now_ns, mtime_ns))
            done += count
            block = block[count:]
    # What was taken behind the end goes.
    os.ftruncate(fd, size)
    os.utime(fd, ns=(now_ns, mtime_ns))


def copied(fd: int, target: str) -> os.stat_result:
    """
    Copy a file's bytes to a new file and return the file's status.

    Raises:
        OSError: the file was changed meanwhile, or the disk is full.
    """
    before = os.fstat(fd)
    with open(target, "wb") as tape:  # noqa: PTH123 (of many strings the one)
        done = 0
        while block := os.pread(fd, _BLOCK, done):
            tape.write(block)
            done += len(block)
        tape.flush()
        os.fsync(tape.fileno())
    after = os.fstat(fd)
    if (before.st_size, before.st_mtime_ns) != (done, after.st_mtime_ns):
        raise OSError(errno.EBUSY, "was changed while it was copied")
    return after


def _open(path: str, mode: int, *, write: bool) -> int:
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except PermissionError:
        # Archived files are 0444, for their owner too, unless that is root.
        os.chmod(path, mode | stat.S_IRUSR | stat.S_IWUSR)  # noqa: PTH101 (a string)
        try:
            return os.open(path, flags)
        finally:
            os.chmod(path, mode)  # noqa: PTH101 (as above)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    # With musl, whose off_t is of 64 bits everywhere, there is no fallocate64.
    libc = _libc()
    function = getattr(libc, "fallocate64", None) or libc.fallocate
    if function(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _birth_ns(target: str | int) -> int:
    """
    Return when the inode was made; 0 if the file system does not know.

    Python's os.stat does not tell it on Linux before 3.15.
    """
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    place, path, flags = (
        (target, b"", _AT_EMPTY_PATH)
        if isinstance(target, int)
        else (_AT_FDCWD, os.fsencode(target), _AT_SYMLINK_NOFOLLOW)
    )
    if _libc().statx(place, path, flags, _STATX_BTIME, buffer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    (mask,) = struct.unpack_from("=I", buffer)
    seconds, rest = struct.unpack_from("=qI", buffer, _BTIME_AT)
    return int(seconds) * 1_000_000_000 + int(rest) if mask & _STATX_BTIME else 0
