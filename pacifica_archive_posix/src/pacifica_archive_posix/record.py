"""Digests that are kept with a file which is stored already."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

from pacifica_archive_core import CommitUnclear, NotSupported
from pacifica_archive_posix.digests import (
    Digested,
    keep_digests,
    read_digests,
    stamp_of,
)
from pacifica_archive_posix.incoming import try_flock

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["lock", "record"]

#: How long to wait for others who record digests of the file, or move it.
_PATIENCE_S = 10
_PAUSE_S = 0.005


def lock(fd: int) -> None:
    """
    Have no other record digests of an open file until its descriptor is closed.

    Where there are no flocks, of two who do so at once one may undo the other's.

    Raises:
        BlockingIOError: somebody holds it for longer than 10 s.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while try_flock(fd, fcntl.LOCK_EX) is False:
        if time.monotonic() > deadline:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        time.sleep(_PAUSE_S)


def record(
    file_id: int,
    fd: int,
    found: os.stat_result,
    digests: Mapping[str, bytes],
    *,
    durable: bool,
) -> None:
    """
    Keep digests with an open and locked file, besides those that it has.

    Args:
        file_id: for messages.
        fd: it need not be open for writing, nor its mode allow that.
        found: its status now.
        digests: algorithm to value.
        durable: whether they are to be on stable storage.

    Raises:
        OSError: nothing was recorded.
        NotSupported: the file system has no extended attributes.
        CommitUnclear: recorded, or not.
    """
    kept = read_digests(fd)
    # Where nothing proves the digests of before, new ones do not either.
    stamp = stamp_of(found) if kept is None else kept.stamp
    had = {} if kept is None else kept.digests
    wanted = {**digests, **had}
    if wanted == had:
        return
    mode = stat.S_IMODE(found.st_mode)
    try:
        loosened = _set_digests(fd, mode, Digested(digests=wanted, stamp=stamp))
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:
            raise NotSupported(
                f"file {file_id}: the file system keeps no extended attributes"
            ) from exc
        raise
    try:
        if loosened:
            os.fchmod(fd, mode)
        if durable:
            os.fsync(fd)
    except OSError as exc:
        raise CommitUnclear(file_id, "recorded, or not: look at its digests") from exc


def _set_digests(fd: int, mode: int, kept: Digested) -> bool:
    """
    Set the attribute, also of a read-only file that is ours.

    Only who may write to a file may set its attributes (xattr(7)): root always, its
    owner when the mode lets him.

    Returns:
        Whether the mode is to be set back.
    """
    try:
        keep_digests(fd, kept)
    except PermissionError:
        if mode & stat.S_IWUSR:
            raise
    else:
        return False
    os.fchmod(fd, mode | stat.S_IWUSR)
    try:
        keep_digests(fd, kept)
    except BaseException:
        with contextlib.suppress(OSError):
            os.fchmod(fd, mode)
        raise
    return True
