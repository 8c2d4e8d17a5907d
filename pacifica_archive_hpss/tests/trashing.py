"""What processes that are killed do with the trash of one prefix."""

from __future__ import annotations

import os
import random
import sys
from typing import TYPE_CHECKING

from pacifica_archive_core import FileExists, NoSuchFile
from pacifica_archive_core.testing.base import store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_hpss import HpssArchive

__all__ = ["IDS", "store_and_trash_for_ever"]

#: Of one directory of the trash.
IDS = (0x3039, 0x39, 0x3139)


def store_and_trash_for_ever(opener: Callable[[], HpssArchive], number: int) -> None:
    """Store, trash and take back; write what was stored, a version a line."""
    archive = opener()
    chance = random.Random(number)
    serial = 0
    while True:
        file_id = chance.choice(IDS)
        act = chance.choice(["store", "store", "trash", "trash", "undelete"])
        try:
            if act == "store":
                serial += 1
                data = f"{os.getpid()} {serial}\n".encode()
                store(archive, file_id, data, overwrite=False)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif act == "trash":
                archive.trash(file_id)
            else:
                archive.undelete(file_id)
        except (FileExists, NoSuchFile):
            continue
