"""Descriptors that nothing is written to."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["opened", "release", "synced"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def release(fd: int) -> None:
    """Close it, whatever close(2) says: no byte depends on that."""
    with contextlib.suppress(OSError):
        os.close(fd)


@contextlib.contextmanager
def opened(directory: str) -> Iterator[int]:
    """Open a directory, following symlinks: operators make them."""
    fd = os.open(directory, _DIRECTORY)
    try:
        yield fd
    finally:
        release(fd)


def synced(directory: str) -> None:
    """Have the names in a directory on stable storage."""
    with opened(directory) as fd:
        os.fsync(fd)
