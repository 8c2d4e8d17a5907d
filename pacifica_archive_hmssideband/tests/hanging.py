"""Processes that end while a read of theirs hangs."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from pacifica_archive_hmssideband.recall import Recalls
from pacifica_archive_hmssideband.staging import ReadTrigger

begun = threading.Event()


def hang(_fd: int, _size: int, _offset: int) -> bytes:
    begun.set()
    threading.Event().wait()
    return b""


def trigger(path: str) -> None:
    ReadTrigger(0).ask([(1, path)])


def recall(path: str) -> None:
    recalls = Recalls(ReadTrigger(0), 3600.0)
    threading.Thread(
        target=recalls.wait, args=(1, path, lambda: False), daemon=True
    ).start()


if __name__ == "__main__":
    way, path = sys.argv[1:]
    Path(path).write_bytes(b"12")
    os.pread = hang
    {"trigger": trigger, "recall": recall}[way](path)
    if not begun.wait(30):
        sys.exit("nothing is read")
