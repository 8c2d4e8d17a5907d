"""
Digests: their algorithms, and computing them while bytes pass by.

Algorithms have the names of RFC 9530's registry, in lower case. A store keeps
digests of any name; those that can be computed here are in ``ALGORITHMS``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import queue
import threading
import zlib
from typing import TYPE_CHECKING, Protocol, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Buffer

    #: Put among the blocks to be told when all before it is digested.
    _Mark = queue.SimpleQueue[None]

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "Algorithm", "Hash", "Hashes"]

#: What is computed where nothing else is said.
DEFAULT_ALGORITHM = "sha-256"

#: Behind so many bytes it pays to have a thread for the rest.
_LONG = 1 << 20
#: Blocks that the thread may be behind by: more would only hold memory.
_BEHIND = 2


class Hash(Protocol):
    """A digest that is being computed; what ``hashlib`` makes is one."""

    def update(self, data: Buffer, /) -> None:
        """Digest ``data``."""

    def digest(self) -> bytes:
        """Return the digest of all data so far."""


class _Adler32:
    """RFC 1950's checksum, the digest of the grid; four bytes, big-endian."""

    def __init__(self) -> None:
        self._value = zlib.adler32(b"")

    def update(self, data: Buffer, /) -> None:
        self._value = zlib.adler32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


@attrs.frozen(kw_only=True)
class Algorithm:
    """
    One algorithm that can be computed here.

    Attributes:
        name: as in RFC 9530's registry.
        size: bytes of a digest.
        new: begins a digest.
    """

    name: str
    size: int
    new: Callable[[], Hash]


#: Name to algorithm, strongest first.
ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(name="sha-512", size=64, new=hashlib.sha512),
        Algorithm(name="sha-256", size=32, new=hashlib.sha256),
        # Against a broken line, not against an attacker.
        Algorithm(
            name="md5",
            size=16,
            new=functools.partial(hashlib.md5, usedforsecurity=False),
        ),
        Algorithm(name="adler", size=4, new=_Adler32),
    )
}


class Hashes:
    """
    Digests of a stream by several algorithms at once; a Hasher for ``copy``.

    A long stream is digested by a thread of its own where there is a second
    CPU, so that hashing and whatever is done with the bytes overlap. Used by
    one thread, in a with-block, which ends that thread.

    Args:
        algorithms: names of ``ALGORITHMS``; none is allowed.

    Raises:
        ValueError: a name is not among them.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        names = tuple(dict.fromkeys(algorithms))
        if unknown := [name for name in names if name not in ALGORITHMS]:
            raise ValueError(
                f"unknown digest {unknown[0]!r}: allowed are {', '.join(ALGORITHMS)}"
            )
        self._hashes = {name: ALGORITHMS[name].new() for name in names}
        self._inline = 0
        # It is not bounded or joined: what can do that has locks of its own, which
        # cost a long stream a tenth of its CPU.
        self._blocks: queue.SimpleQueue[Buffer | _Mark | None] | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def update(self, data: Buffer, /) -> None:
        """
        Digest ``data``, perhaps later: until ``settle`` it must not change.

        Of ``bytes``, which cannot, nobody has to think of that.
        """
        if self._blocks is not None:
            if self._blocks.qsize() >= _BEHIND:
                self._wait()
            self._blocks.put(data)
            return
        self._digest(data)
        with memoryview(data) as view:
            self._inline += view.nbytes
        if self._inline >= _LONG and self._hashes and len(os.sched_getaffinity(0)) > 1:
            self._begin_thread()

    def settle(self) -> None:
        """
        Return when all the data is digested.

        Raises:
            ValueError: some of it was taken away before, as a released memoryview.
        """
        self._wait()
        if self._failure is not None:
            raise ValueError("the data could not be digested") from self._failure

    def digests(self) -> dict[str, bytes]:
        """Return the digest of all data so far for each algorithm."""
        self.settle()
        return {name: each.digest() for name, each in self._hashes.items()}

    def close(self) -> None:
        """End the thread, if there is one. Idempotent."""
        if self._thread is not None and self._blocks is not None:
            self._blocks.put(None)
            # A signal may have come before it began: it ends by itself then.
            if self._thread.is_alive():
                self._thread.join()
            self._thread = self._blocks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self) -> None:
        """Return when the thread has done what it was given."""
        blocks, thread = self._blocks, self._thread
        if blocks is not None and thread is not None and thread.is_alive():
            # Nothing is counted: an exception out of a signal may come anywhere.
            mark: _Mark = queue.SimpleQueue()
            blocks.put(mark)
            mark.get()

    def _digest(self, data: Buffer) -> None:
        for each in self._hashes.values():
            each.update(data)

    def _begin_thread(self) -> None:
        blocks: queue.SimpleQueue[Buffer | _Mark | None] = queue.SimpleQueue()
        thread = threading.Thread(
            target=self._run,
            args=(blocks,),
            name="pacifica-archive-digest",
            daemon=True,
        )
        # First: whatever a signal does in between, ``close`` ends it.
        self._blocks, self._thread = blocks, thread
        try:
            thread.start()
        except RuntimeError:
            # No more threads can be had: it goes on without, and asks again.
            self._blocks = self._thread = None

    def _run(self, blocks: queue.SimpleQueue[Buffer | _Mark | None]) -> None:
        while (data := blocks.get()) is not None:
            if isinstance(data, queue.SimpleQueue):
                data.put(None)
                continue
            try:
                if self._failure is None:
                    self._digest(data)
            except Exception as exc:  # noqa: BLE001 (who settles is told)
                # The thread goes on, as whoever settles would wait for ever.
                self._failure = exc
            # No block is to live longer than it must.
            del data
