"""Deleted files that can still be taken back, each under a second name of its own."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import threading
import time
from typing import TYPE_CHECKING

from pacifica_archive_core import CommitUnclear, FileExists, NoSuchFile, Trashed
from pacifica_archive_posix.descriptors import opened
from pacifica_archive_posix.record import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_posix.directories import Directories

__all__ = ["TRASH", "Trash"]

_log = logging.getLogger(__name__)

#: The directory in the prefix that holds what was deleted.
TRASH = ".trash"

#: After so many failures, that took so long, it is the store that fails.
_PATIENCE = 10
_PATIENCE_S = 10.0

_MISSING = "not in the trash"
_TRASHED = "in the trash, or not: look at its status"
_BACK = "back, or in the trash: look at its status"
_NAME = re.compile(r"(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})")


class Trash:
    """
    The directory ``.trash`` of one prefix, made when it is first needed.

    A name in it is the id and the time of the deletion: ``12345.1763865000123456789``.
    A file comes there by rename(2), so it is at one of the two names always; and goes
    back by link(2), which replaces nothing, and unlink(2). Who is killed between these
    leaves a second name, which is not looked at: it is the file of its id that counts.
    Used by any number of threads.

    Args:
        prefix: the archive's directory.
        landmark: a path that is there as long as the prefix's file system is.
        directories: those of the tree.
        durable: whether what is done is to be on stable storage.
    """

    def __init__(
        self, prefix: str, *, landmark: str, directories: Directories, durable: bool
    ) -> None:
        self.path = f"{prefix}/{TRASH}"
        self._landmark = landmark
        self._directories = directories
        self._durable = durable
        self._lock = threading.Lock()
        self._last_ns = 0
        self._failed: set[tuple[int, int]] = set()

    def put(self, file_id: int, name: str, directory: int) -> None:
        """
        Move the file at a name in an opened directory into the trash.

        Raises:
            OSError: it is where it was.
            CommitUnclear: it is in the trash; whether for good is not known.
        """
        with self._directories.ready(self.path) as trash:
            new = self._free_name(file_id, trash)
            try:
                os.rename(name, new, src_dir_fd=directory, dst_dir_fd=trash)
            except OSError:
                # NFS sends a request again whose reply is lost, and finds its own work.
                with _unclear(file_id, _TRASHED):
                    done = _stat(new, trash) is not None
                if not done:
                    raise
            if self._durable:
                with _unclear(file_id, _TRASHED):
                    os.fsync(trash)
                    os.fsync(directory)

    def take_back(self, file_id: int, deleted_ns: int | None, path: str) -> None:
        """
        Give a file of the trash the name ``path`` again, its id's.

        Raises:
            NoSuchFile, FileExists: as ``undelete`` has them.
            OSError: it is in the trash.
            CommitUnclear: it has its name; whether for good is not known.
        """
        folder, _, name = path.rpartition("/")
        with contextlib.ExitStack() as held:
            try:
                trash = held.enter_context(opened(self.path))
            except FileNotFoundError as exc:
                os.stat(self._landmark)
                raise NoSuchFile(file_id, _MISSING) from exc
            # Else two might take one file back, with a third trashing it in between:
            # it would be at both names.
            lock(trash)
            old, found = self._find(file_id, deleted_ns, path, trash)
            directory = held.enter_context(self._directories.ready(folder))
            try:
                os.link(
                    old,
                    name,
                    src_dir_fd=trash,
                    dst_dir_fd=directory,
                    follow_symlinks=False,
                )
            except OSError as exc:
                # As above; but others have files of this name too.
                with _unclear(file_id, _BACK):
                    present = _stat(path)
                if present is None or not os.path.samestat(present, found):
                    if exc.errno == errno.EEXIST:
                        raise FileExists(file_id) from exc
                    if exc.errno == errno.ENOENT:
                        # Emptied meanwhile.
                        raise NoSuchFile(file_id, _MISSING) from exc
                    raise
            with _unclear(file_id, _BACK):
                if self._durable:
                    os.fsync(directory)
                _remove(old, trash)
                if self._durable:
                    os.fsync(trash)

    def files(self, path_of: Callable[[int], str]) -> Iterator[Trashed]:
        """
        Yield what is in the trash, as it is then.

        Args:
            path_of: where the file of an id is.
        """
        seen: set[tuple[int, int]] = set()
        # The latest first: of two names of one file it is the one that counts.
        for deleted_ns, file_id in sorted(self._names(), reverse=True):
            found = _stat(f"{self.path}/{file_id}.{deleted_ns}")
            if found is None or not stat.S_ISREG(found.st_mode):
                continue
            if found.st_nlink > 1:
                present = _stat(path_of(file_id))
                key = found.st_dev, found.st_ino
                if key in seen or (present and os.path.samestat(present, found)):
                    continue
                seen.add(key)
            yield Trashed(file_id=file_id, deleted_ns=deleted_ns, size=found.st_size)

    def empty(self, before_ns: int, limit: int | None) -> int:
        """
        Remove what was deleted before a time; return how many files that were.

        The oldest first. What cannot be removed is left and does not keep the others,
        and is tried after them the next time.

        Raises:
            OSError: as system calls do; no file was removed, or whether for good is
                not known.
        """
        old = [each for each in self._names() if each[0] < before_ns]
        if not old:
            return 0
        count = 0
        failures: list[OSError] = []
        took_s = 0.0
        with opened(self.path) as trash:
            for each in sorted(old, key=lambda each: (each in self._failed, each)):
                slow = took_s >= _PATIENCE_S
                if count == limit or (slow and len(failures) >= _PATIENCE):
                    break
                began_s = time.monotonic()
                try:
                    count += _destroy("{1}.{0}".format(*each), trash)
                    self._failed.discard(each)
                except OSError as exc:
                    self._failed.add(each)
                    failures.append(exc)
                    took_s += time.monotonic() - began_s
            if self._durable:
                os.fsync(trash)
        if failures and not count:
            raise failures[0]
        if failures:
            _log.warning(
                "%d of what is in %s could not be destroyed, the first: %s",
                len(failures),
                TRASH,
                failures[0],
            )
        return count

    def _free_name(self, file_id: int, trash: int) -> str:
        """Return a name that no file in the trash has or gets."""
        with self._lock:
            deleted_ns = max(time.time_ns(), self._last_ns + 1)
            # A clock that was set back comes to the same times again.
            while _stat(f"{file_id}.{deleted_ns}", trash) is not None:
                deleted_ns += 1
            self._last_ns = deleted_ns
        return f"{file_id}.{deleted_ns}"

    def _find(
        self, file_id: int, deleted_ns: int | None, path: str, trash: int
    ) -> tuple[str, os.stat_result]:
        """Return the name of a file to be taken back, and its status."""
        times = sorted(time_ns for time_ns, found in self._names() if found == file_id)
        for time_ns in reversed(times):
            if deleted_ns not in {None, time_ns}:
                continue
            name = f"{file_id}.{time_ns}"
            found = _stat(name, trash)
            if found is None or not stat.S_ISREG(found.st_mode):
                continue
            present = _stat(path) if found.st_nlink > 1 else None
            if present is None or not os.path.samestat(present, found):
                return name, found
            # Taken back already, by who was killed then.
            _remove(name, trash)
        raise NoSuchFile(file_id, _MISSING)

    def _names(self) -> list[tuple[int, int]]:
        """Return time of deletion and id of all that may be in the trash."""
        try:
            with os.scandir(self.path) as entries:
                names = [_NAME.fullmatch(entry.name) for entry in entries]
        except FileNotFoundError:
            # It is empty, if the file system is there.
            os.stat(self._landmark)
            return []
        return [(int(name[2]), int(name[1])) for name in names if name]


def _stat(name: str, directory: int | None = None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _destroy(name: str, directory: int) -> bool:
    """Remove a name in the trash; tell whether that was the end of a file."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            os.unlink(name, dir_fd=directory)
            # Another name: the file is at its id, or later in the trash.
            return found.st_nlink == 1
    return False


def _remove(name: str, directory: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


@contextlib.contextmanager
def _unclear(file_id: int, reason: str) -> Iterator[None]:
    """Say of what fails after the switch that it is not known."""
    try:
        yield
    except OSError as exc:
        raise CommitUnclear(file_id, reason) from exc
