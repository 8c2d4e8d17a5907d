"""Two calls of the C library that ``os`` lacks."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from typing import Any

__all__ = ["fallocate", "start_writeback"]

_FALLOC_FL_KEEP_SIZE = 1
_SYNC_FILE_RANGE_WRITE = 2
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@functools.cache
def _function(name: str) -> Any:  # noqa: ANN401 (a C function, or None)
    # musl has no fallocate64; its off_t is of 64 bits everywhere.
    libc = ctypes.CDLL(None, use_errno=True)
    return getattr(libc, f"{name}64", None) or getattr(libc, name, None)


def fallocate(fd: int, size: int) -> None:
    """
    Reserve ``size`` bytes for an empty file, whose length stays 0.

    Does nothing on a file system that cannot.
    ``os.posix_fallocate`` would write into every block there (glibc manual,
    "Storage Allocation"): hours for a large file.

    Raises:
        OSError: no space, no quota, or no file can be so large.
    """
    length = ctypes.c_int64(size)
    if length.value != size:  # ctypes cuts off what does not fit
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    function = _function("fallocate")
    if function is None:
        return
    while function(fd, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), length):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def start_writeback(fd: int, offset: int, count: int) -> None:
    """
    Have the kernel write these bytes to the disk from now on, without waiting.

    A hint: errors are left to the fsync, which reports them (sync_file_range(2)).
    """
    function = _function("sync_file_range")
    if function is not None:
        function(
            fd,
            ctypes.c_int64(offset),
            ctypes.c_int64(count),
            ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
        )
