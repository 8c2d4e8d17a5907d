"""Where the benchmark works: a directory with the files to send and a store."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SMALL_IDS", "SMALL_SIZE", "Load", "Place"]

#: Bytes of a small file.
SMALL_SIZE = 4096
#: Small files that are stored before a server starts, under ids from 1.
SMALL_IDS = 1000
_BLOCK = 1 << 22


@attrs.frozen(kw_only=True)
class Load:
    """
    How much is asked of each server in each round.

    Attributes:
        seconds: of each kind of small requests; whole, as wrk wants.
        connections: at once, for small requests.
        big_size: bytes of the one big file.
        parts: big files at once.
        part_size: bytes of each of them.
        remote_gets: of the big file through the remote backend; an even number.
        remote_puts: likewise.
        remote_reads: of small files through the remote backend.
    """

    seconds: int
    connections: int
    big_size: int
    parts: int
    part_size: int
    remote_gets: int
    remote_puts: int
    remote_reads: int

    @property
    def space(self) -> int:
        """Bytes to be free: of files to send, of files stored, of small ones."""
        return 5 * max(self.big_size, self.parts * self.part_size) // 2 + (1 << 30)

    @property
    def moved(self) -> int:
        """Bytes of big files that go through a server each way."""
        return self.big_size + self.parts * self.part_size


@attrs.frozen(kw_only=True)
class Place:
    """
    A directory on one file system, of the benchmark alone.

    Attributes:
        name: what the report calls the file system.
        directory: empty at first.
        judged: whether the targets are for this file system.
    """

    name: str
    directory: Path
    judged: bool

    @property
    def store(self) -> Path:
        """The tree that is served: file 12345 is ``store/12345``."""
        return self.directory / "store"

    @property
    def big(self) -> Path:
        """The one big file to send."""
        return self.directory / "big"

    @property
    def part(self) -> Path:
        """The file that is sent several times at once."""
        return self.directory / "part"

    @property
    def small(self) -> Path:
        """The small file to send."""
        return self.directory / "small"

    @property
    def log(self) -> Path:
        """The access log of the server that runs."""
        return self.directory / "access.log"

    @property
    def big_digest(self) -> bytes:
        """The SHA-256 of the one big file."""
        return self._big_digest.read_bytes()

    @property
    def _big_digest(self) -> Path:
        return self.directory / "big.sha-256"

    def small_content(self, file_id: int) -> bytes:
        """Return what is stored under a small id; each is different."""
        return random.Random(file_id).randbytes(SMALL_SIZE)

    def warm(self, size: int) -> None:
        """
        Have ``size`` bytes of memory used once, where files are in memory.

        A machine that is virtual gets its pages at their first use, for a second or
        two of CPU each GiB; without this whoever is measured first pays for all.
        """
        if self.judged:
            path = self.store / "warm"
            block = bytes(_BLOCK)
            with path.open("wb") as file:
                for _ in range(0, size, _BLOCK):
                    file.write(block)
            path.unlink()

    def make_sources(self, load: Load) -> None:
        """Write the files to send, random bytes: no file system makes holes of them."""
        _write_random(self.big, load.big_size)
        _write_random(self.part, load.part_size)
        _write_random(self.small, SMALL_SIZE)
        with self.big.open("rb") as file:
            self._big_digest.write_bytes(hashlib.file_digest(file, "sha256").digest())

    def make_store(self) -> None:
        """Begin anew, with small files stored as release 0.4.2 would."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self.store.mkdir()
        for file_id in range(1, SMALL_IDS + 1):
            path = self.store / str(file_id)
            path.write_bytes(self.small_content(file_id))
            path.chmod(0o444)
        # What others left to be written must not slow this one.
        os.sync()


def _write_random(path: Path, size: int) -> None:
    block = os.urandom(min(size, _BLOCK))
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            # No two blocks alike, at the cost of a copy.
            file.write(start.to_bytes(8, "big") + block[8 : size - start])
