"""The one loop that moves bytes between a stream and an archive."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

__all__ = ["Hasher", "Sink", "Source", "copy"]


class Source(Protocol):
    """Where bytes come from; ``b""`` is the end."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes."""


class Sink(Protocol):
    """Where bytes go; takes all or raises."""

    def write(self, data: Buffer, /) -> object:
        """Take all of ``data``."""


class Hasher(Protocol):
    """What ``hashlib`` makes."""

    def update(self, data: Buffer, /) -> None:
        """Digest ``data``."""


def copy(
    source: Source,
    sink: Sink,
    *,
    block_size: int,
    size: int | None = None,
    hashers: Sequence[Hasher] = (),
) -> int:
    """
    Copy up to ``size`` bytes, or all there are, and return how many came.

    A source that ends early is not an error here: the writer that was
    promised a size is what refuses, at its commit.

    Args:
        source: read in blocks, and never past ``size``.
        sink: an ArchiveWriter or a buffered file.
        block_size: bytes per read.
        size: bytes wanted; None for all.
        hashers: each is given every block.

    Raises:
        BlockingIOError: the source has nothing yet, which is not the end.
    """
    copied = 0
    while size is None or copied < size:
        wanted = block_size if size is None else min(block_size, size - copied)
        block = source.read(wanted)
        if block is None:
            # So streams that do not block say it; a part would pass for the whole.
            raise BlockingIOError(errno.EAGAIN, "the source must be one that waits")
        if not block:
            break
        for hasher in hashers:
            hasher.update(block)
        sink.write(block)
        copied += len(block)
    return copied
