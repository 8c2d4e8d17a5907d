"""File systems whose clocks tick slowly."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

#: Nanoseconds of a clock tick: of a kernel before 6.13, at 250 Hz.
TICK_NS = 4_000_000


def with_ctime(
    found: os.stat_result, ctime_ns: int, inode: int | None = None
) -> os.stat_result:
    fields = {
        name: getattr(found, name)
        for name in dir(found)
        # The others are the ten that can be had by number.
        if name.endswith("_ns") or name in {"st_blksize", "st_blocks", "st_rdev"}
    }
    numbers = list(found)
    if inode is not None:
        numbers[stat.ST_INO] = inode
    return os.stat_result(numbers, fields | {"st_ctime_ns": ctime_ns})


def let_tick(
    monkeypatch: pytest.MonkeyPatch, tick_ns: int, *, inode: int | None = None
) -> None:
    """
    Let the inode times of files be of whole ticks; and their numbers one, if given.

    As where numbers come back at once: ext4 gives the last one again, tmpfs none.
    """

    def cut(real: Any) -> Any:  # noqa: ANN401 (stat or fstat)
        def cut_stat(*args: Any, **kwargs: Any) -> os.stat_result:  # noqa: ANN401
            found: os.stat_result = real(*args, **kwargs)
            if not stat.S_ISREG(found.st_mode):
                return found
            return with_ctime(found, found.st_ctime_ns // tick_ns * tick_ns, inode)

        return cut_stat

    monkeypatch.setattr(os, "stat", cut(os.stat))
    monkeypatch.setattr(os, "fstat", cut(os.fstat))
