"""The directories of the tree: made when a file needs them, and durable then."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pacifica_archive_posix.descriptors import opened, synced

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Directories"]

#: How many names to remember: some 10 MB of them.
_LIMIT = 1 << 16


class Directories:
    """
    The directories below a prefix. Used by any number of threads.

    None is ever removed: others may be about to use it.

    Args:
        prefix: it must be there.
        landmark: a path that is there as long as the prefix's file system is.
        durable: whether a directory's name is to be durable before its use.
    """

    def __init__(self, prefix: str, *, landmark: str, durable: bool) -> None:
        self._landmark = landmark
        self._durable = durable
        self._prefix = prefix
        #: Those whose names this process has synced, up to the prefix. That one
        #: is there says nothing: its maker may not have come to its fsync yet.
        self._known: set[str] = set()

    @contextlib.contextmanager
    def ready(self, path: str) -> Iterator[int]:
        """
        Open a directory of the tree, after making it if it is missing.

        Raises:
            OSError: as system calls do.
        """
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(opened(path))
            except FileNotFoundError:
                self._make(path)
                fd = stack.enter_context(opened(path))
            if self._durable:
                self._sync_name(path)
            yield fd

    def _make(self, path: str) -> None:
        # Without its file system the prefix is a directory of another disk.
        os.stat(self._landmark)
        made = self._prefix
        for name in path.removeprefix(self._prefix).strip("/").split("/"):
            made = f"{made}/{name}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(made)
                self._known.discard(made)

    def _sync_name(self, path: str) -> None:
        if path == self._prefix or path in self._known:
            return
        parent = path.rpartition("/")[0]
        self._sync_name(parent)
        synced(parent)
        if len(self._known) >= _LIMIT:
            self._known.clear()
        self._known.add(path)
