"""DELETE by way of the trash, and what is destroyed of it in time."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from pacifica_archive_core import ArchiveError, ConfigError, SupportsTrash
from pacifica_archive_http.options import Deletion

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core import Archive
    from pacifica_archive_http.metrics import Metrics
    from pacifica_archive_http.options import ServerOptions

__all__ = ["EMPTIED_AT_ONCE", "TrashBin", "check_deletion"]

_log = logging.getLogger(__name__)

_DAY_NS = 24 * 3600 * 10**9
_PAUSE_S = 3600
#: So that the DELETE which does it answers soon, also in front of a tape robot.
EMPTIED_AT_ONCE = 100


def check_deletion(archive: Archive, options: ServerOptions) -> None:
    """
    Refuse an archive that cannot do what the server shall do with a DELETE.

    Raises:
        ConfigError: it has no trash.
    """
    if options.delete is Deletion.TRASH:
        _trash_of(archive)


class TrashBin:
    """
    Where a server puts what is deleted, and which it empties at most once an hour.

    Used by any number of threads.

    Args:
        days: that a file stays there at least.
        now_ns: the time of day, nanoseconds since 1970.
        elapsed_s: seconds since whenever.
    """

    def __init__(
        self,
        days: int,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._days = days
        self._now_ns = now_ns
        self._elapsed_s = elapsed_s
        self._lock = threading.Lock()
        self._next_s: float | None = None

    def put(self, archive: Archive, file_id: int, metrics: Metrics) -> None:
        """
        Put a file into the trash; then destroy old ones there, if it is time.

        Raises:
            ArchiveError: of the file itself. What is wrong with the others is logged.
        """
        trash = _trash_of(archive)
        with metrics.operation("trash"):
            trash.trash(file_id)
        if not self._is_time():
            return
        try:
            with metrics.operation("empty_trash"):
                destroyed = trash.empty_trash(
                    self._now_ns() - self._days * _DAY_NS, limit=EMPTIED_AT_ONCE
                )
        except ArchiveError as exc:
            _log.error("the trash could not be emptied: %s", exc, exc_info=exc)
            return
        if destroyed:
            # No request asked for it, so no line of the access log tells of it.
            _log.warning(
                "%d files that were in the trash for more than %d days were destroyed",
                destroyed,
                self._days,
            )

    def _is_time(self) -> bool:
        now_s = self._elapsed_s()
        with self._lock:
            if self._next_s is not None and now_s < self._next_s:
                return False
            # Also after a failure: the next DELETEs are not to wait for it too.
            self._next_s = now_s + _PAUSE_S
            return True


def _trash_of(archive: Archive) -> SupportsTrash:
    if not isinstance(archive, SupportsTrash):
        raise ConfigError(
            "option 'delete': this backend has no trash: allowed are allow and deny"
        )
    return archive
