"""
Where a file's bytes are: on disk, or on tape only.

The mount's stat says that a file is there, its size and its times; of these it is
asked nothing here. The sideband database says where the bytes are, and where it
cannot, the blocks that the mount counts do.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import Media, Residency, StorageLevel
from pacifica_archive_hmssideband.sideband import SidebandDown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from pacifica_archive_hmssideband.sideband import Row, Sideband

__all__ = ["ST_BLOCKS", "Finding", "OperatorWarning", "Residencies", "decide"]

_log = logging.getLogger(__name__)

#: The source of what the blocks on disk said.
ST_BLOCKS = "st_blocks"

#: The type of a file, as sam_inode has it; the others are directories, segments,
#: segment indexes, symlinks and the rest.
_REGULAR = 0
#: What sam_inode has as ``online``: 0 on tape only, 1 on disk.
_ONLINE = frozenset({0, 1})
#: Inode numbers of SAM-QFS are of 32 bits; a greater one is another file system's.
_INO_END = 1 << 32
#: stat(2) counts in these, whatever the file system's own are.
_BLOCK = 512
_NO_ROW = "the database has no row of it"
#: Seconds in which a fault of the database is told once, however many files have it.
_WARNING_PAUSE_S = 60.0


@attrs.frozen(kw_only=True)
class Finding:
    """
    Where one file's bytes are, and how that is known.

    Attributes:
        residency: DISK or TAPE. The database does not tell whether a file on disk
            is on tape too, nor whether some bytes of one on tape are on disk.
        levels: fastest level first.
        source: "stat" for an empty file, "sideband", or "st_blocks".
        reason: why the database does not say; None if it does, or is not asked.
    """

    residency: Residency
    levels: tuple[StorageLevel, ...]
    source: str
    reason: str | None

    @property
    def online(self) -> bool:
        """Whether the bytes are on disk."""
        return self.residency is Residency.DISK


def decide(found: os.stat_result, row: Row | None, *, reason: str) -> Finding:
    """
    Say where the bytes of a file are, after its stat and its row.

    Args:
        found: of a regular file.
        row: what the database has of it.
        reason: why there is no row, if there is none.
    """
    size = found.st_size
    if size == 0:
        # SAM-QFS takes no empty file offline, whatever a row says.
        return _finding("stat", 0, online=True)
    fault = reason if row is None else _fault(found, row)
    if row is None or fault is not None:
        # A guess: full while a file is being staged, short where it has holes.
        online = found.st_blocks * _BLOCK >= size
        return _finding(ST_BLOCKS, size, online=online, reason=fault)
    return _finding("sideband", size, online=row.online != 0)


def _finding(
    source: str, size: int, *, online: bool, reason: str | None = None
) -> Finding:
    if online:
        residency = Residency.DISK
        levels: tuple[StorageLevel, ...] = (StorageLevel(Media.DISK, size),)
    else:
        residency = Residency.TAPE
        levels = (StorageLevel(Media.DISK, 0), StorageLevel(Media.TAPE, size))
    return Finding(residency=residency, levels=levels, source=source, reason=reason)


def _fault(found: os.stat_result, row: Row) -> str | None:
    """Return why a row says nothing of the file that was found; None if it does."""
    if row.type != _REGULAR:
        return f"its row is no regular file's, but of type {row.type}"
    # Its modify_time is not compared: utime(2) sends the database no event.
    if row.size != found.st_size:
        return f"its row is of {row.size} bytes"
    return None


class Residencies:
    """
    The residencies of files, many at a time.

    Args:
        sideband: asked for rows; closed by who made it.
        inode_lookup: whether the inode numbers of the mount are those of the
            database: a file is then looked up by it first, and a row found by path
            must have it.
    """

    def __init__(self, sideband: Sideband, *, inode_lookup: bool) -> None:
        self._sideband = sideband
        self._inode_lookup = inode_lookup
        self._odd_online = OperatorWarning("sam_inode.online is neither 0 nor 1")
        self._odd_type = OperatorWarning("sam_inode.type is no regular file's")

    def find(self, files: Sequence[tuple[str, os.stat_result]]) -> list[Finding]:
        """
        Return the residency of each file, in order.

        The database is asked once for all of them, by inode number where it may be:
        by path it reads all names of each directory. And once more by path for those
        without a row of theirs; whatever becomes of it, there is an answer.

        Args:
            files: where the database has each, and its stat.
        """
        rows, reason = self._rows(files)
        return [
            self._finding(path, found, row, reason)
            for (path, found), row in zip(files, rows, strict=True)
        ]

    def agree(self, path: str, found: os.stat_result) -> bool:
        """
        Whether the mount and the database have one number for a directory.

        True if nothing is looked up by such numbers, and if the database does not
        tell: of a mount point it has no name.

        Args:
            path: where the database has it.
            found: its stat.

        Raises:
            SidebandDown
        """
        if not (path and self._has_inode(found)):
            return True
        row = self._sideband.rows([path]).get(path)
        return row is None or row.ino == found.st_ino

    def _finding(
        self, path: str, found: os.stat_result, row: Row | None, reason: str
    ) -> Finding:
        finding = decide(found, row, reason=reason)
        if finding.source == ST_BLOCKS:
            _log.debug("st_blocks decides on %s: %s", path, finding.reason)
        if row is not None:
            if row.type != _REGULAR:
                self._odd_type.tell(path, row.type)
            elif row.online not in _ONLINE:
                self._odd_online.tell(path, row.online)
        return finding

    def _rows(
        self, files: Sequence[tuple[str, os.stat_result]]
    ) -> tuple[list[Row | None], str]:
        """Return each file's row, by inode or by path, and why others have none."""
        rows: list[Row | None] = [None] * len(files)
        # One limit for both look-ups: it is what a status may be late by.
        until_s = time.monotonic() + self._sideband.bound_s
        try:
            numbers = {
                at: found.st_ino
                for at, (_, found) in enumerate(files)
                if found.st_size and self._has_inode(found)
            }
            if numbers:
                by_inode = self._sideband.rows_by_inode(set(numbers.values()))
                for at, ino in numbers.items():
                    row = by_inode.get(ino)
                    # Of another type it is of what had the number until now.
                    if row is not None and row.type == _REGULAR:
                        rows[at] = row
            paths = {
                at: path
                for at, (path, found) in enumerate(files)
                if found.st_size and not _is_of(found, rows[at])
            }
            if paths:
                by_path = self._sideband.rows(set(paths.values()), until_s=until_s)
                for at, path in paths.items():
                    rows[at] = self._of(files[at][1], by_path.get(path)) or rows[at]
        except SidebandDown as exc:
            return rows, str(exc)
        return rows, _NO_ROW

    def _has_inode(self, found: os.stat_result) -> bool:
        return self._inode_lookup and found.st_ino < _INO_END

    def _of(self, found: os.stat_result, row: Row | None) -> Row | None:
        """Drop the row of a file that was replaced by this one a moment ago."""
        if row is not None and self._has_inode(found) and row.ino != found.st_ino:
            return None
        return row


def _is_of(found: os.stat_result, row: Row | None) -> bool:
    return row is not None and _fault(found, row) is None


class OperatorWarning:
    """
    Tell an operator of one kind of fault, once a minute at most.

    Args:
        fault: the words.
        clock: seconds, never turned back.
    """

    def __init__(
        self, fault: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fault = fault
        self._clock = clock
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._untold = 0

    def tell(self, path: str, value: int) -> None:
        """Log the fault of the row at ``path``, or count it for the next line."""
        with self._lock:
            if self._clock() < self._next:
                self._untold += 1
                return
            self._next = self._clock() + _WARNING_PAUSE_S
            untold, self._untold = self._untold, 0
        _log.warning(
            "%s but %d for %s, and for %d files before; samdb check mends it",
            self._fault, value, path, untold,
        )  # fmt: skip
