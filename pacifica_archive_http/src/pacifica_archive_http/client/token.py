"""The token that a client sends, also one that is renewed in its file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pacifica_archive_core.options import FileSecret
from pacifica_archive_http.client.options import to_token

if TYPE_CHECKING:
    import os

__all__ = ["TokenSource"]


class TokenSource:
    """
    Knows the token of the moment; shared by threads.

    JSON Web Tokens last for minutes, and who renews one replaces its file: that is
    looked at (one ``stat``) before each request. A file that is away or broken
    changes nothing: the server says what it thinks of the token that was there.

    Args:
        token: as the options have it.
    """

    def __init__(self, token: str | None) -> None:
        self._path = token.path if isinstance(token, FileSecret) else None
        self._token = token.strip() if token else None
        self._lock = threading.Lock()
        # Not of the file as it is now: it may have been replaced since it was read.
        self._stamp: tuple[int, ...] | None = None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._token is not None

    def headers(self) -> dict[str, str]:
        """Return the field of a request that is sent now."""
        if self._token is None:
            return {}
        if self._path is not None:
            with self._lock:
                self._look()
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self, used: str | None) -> bool:
        """
        Read the file again whatever ``stat`` says, as NFS may tell of the past.

        Args:
            used: the field that was refused.

        Returns:
            Whether there is another token than that.
        """
        if self._path is None:
            return False
        with self._lock:
            self._stamp = None
            self._look()
        return used != f"Bearer {self._token}"

    def _look(self) -> None:
        assert self._path is not None  # noqa: S101 (who calls sees to it)
        try:
            stamp = _stamp_of(self._path.stat())
            if stamp != self._stamp:
                self._token = to_token(FileSecret(self._path)).strip()
                self._stamp = stamp
        except (OSError, ValueError):
            # See above: the one that was there is sent.
            return


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
