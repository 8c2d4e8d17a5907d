"""Threads that may be left alone in a call that never ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pacifica_archive_core import ArchiveUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["started"]


def started(target: Callable[[], None], name: str) -> threading.Thread:
    """
    Start a thread that does not keep the process from ending.

    Raises:
        ArchiveUnavailable: the machine has no more.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:
        raise ArchiveUnavailable("no thread can be started") from exc
    return thread
