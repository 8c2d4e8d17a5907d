"""Progress of long work, drawn on stderr when that is a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from click._termui_impl import ProgressBar
    from typing_extensions import Buffer

    from pacifica_archive_core.copying import Hasher

__all__ = ["LONG_FILES", "byte_progress", "file_progress", "step_progress"]

#: Shorter work is done before anyone has read the bar.
_LONG_BYTES = 1 << 24
LONG_FILES = 100

_Item = TypeVar("_Item")


class _Blocks:
    """Moves a bar by the blocks that copies hand to their hashers, in any thread."""

    def __init__(self, bar: ProgressBar[int]) -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def update(self, data: Buffer) -> None:
        with memoryview(data) as view, self._lock:
            self._bar.update(view.nbytes)


@contextlib.contextmanager
def byte_progress(label: str, size: int | None) -> Iterator[Sequence[Hasher]]:
    """Yield the hashers for ``copy`` that show how far ``size`` bytes have come."""
    if size is None or size < _LONG_BYTES or not sys.stderr.isatty():
        yield ()
        return
    with click.progressbar(
        length=size,
        label=label,
        file=sys.stderr,
        # Drawn a thousand times at most: a terabyte is 4 million blocks.
        update_min_steps=size // 1000,
    ) as bar:
        yield (_Blocks(bar),)


@contextlib.contextmanager
def file_progress(label: str, files: Sequence[_Item]) -> Iterator[Iterable[_Item]]:
    """Yield the files, showing how many of them are done."""
    if len(files) < LONG_FILES or not sys.stderr.isatty():
        yield files
        return
    with click.progressbar(files, label=label, file=sys.stderr) as bar:
        yield bar


@contextlib.contextmanager
def step_progress(label: str, count: int) -> Iterator[Callable[[], object]]:
    """Yield what tells that one more of ``count`` files is done."""
    if count < LONG_FILES or not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=count, label=label, file=sys.stderr) as bar:
        yield lambda: bar.update(1)
