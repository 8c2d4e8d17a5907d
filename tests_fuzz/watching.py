"""What a process holds, as the kernel tells it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["busy_bytes", "open_at_rest", "wait_until", "what_is_open"]


def what_is_open(pids: Iterable[int]) -> Counter[str]:
    """
    Return what the descriptors of processes are of.

    But for the files of metrics, which each worker opens when it first counts a thing.
    """
    found = []
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            # One may be closed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                found.append(str(path.readlink()))
    # Of sockets it is the number that counts.
    return Counter(
        re.sub(r"[0-9]+", "", name) for name in found if "-metrics-" not in name
    )


def open_at_rest(pids: list[int]) -> Counter[str]:
    """Return the same when all workers have begun to serve, one as the other."""

    def loops() -> set[int]:
        return {what_is_open([pid])["anon_inode:[eventpoll]"] for pid in pids}

    if not wait_until(lambda: len(loops() - {0}) == len(loops()) == 1, seconds=60):
        raise AssertionError(f"no equal event loops in {pids}: {loops()}")
    return what_is_open(pids)


def busy_bytes(pid: int) -> int:
    """Return the memory of a process that is its own (RssAnon)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"process {pid} has no RssAnon")


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for what another process does in its own time; return whether it did."""
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        threading.Event().wait(0.02)
    return condition()
