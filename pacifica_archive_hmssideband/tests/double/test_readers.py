"""Files that are read all the time while their bytes go and come."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_hmssideband.double import Double

DATA = os.urandom(300_000)
READERS = 2
TURNS = 8
PATIENCE_S = 30.0
ONLINE = "SELECT online FROM sam_inode WHERE type = 0"

pytestmark = pytest.mark.timeout(120)


@contextlib.contextmanager
def reading(url: str, path: Path) -> Iterator[list[tuple[int, ...]]]:
    """Read in processes; the list gets what each counted: read, refused, wrong."""
    counts: list[tuple[int, ...]] = []
    command = (
        sys.executable,
        Path(__file__).with_name("reading.py"),
        *(url, path, path.name, hashlib.sha256(DATA).hexdigest()),
    )
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(READERS)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert "ready\n" == reader.stdout.readline()
        yield counts
        for reader in readers:
            out, _ = reader.communicate("stop\n", PATIENCE_S)
            counts.append(tuple(map(int, out.split())))


@pytest.mark.usefixtures("any_url")
@pytest.mark.parametrize("partial", [0, 16384])
def test_no_reader_sees_what_is_not_the_file_s(
    double: Double,
    url: str,
    prefix: Path,
    partial: int,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    path = prefix / "file"
    path.write_bytes(DATA)
    double.archive([path])
    pause = threading.Event()

    def wait_until(done: Callable[[], bool]) -> None:
        for _ in range(3000):
            double.step()
            if done():
                return
            pause.wait(0.001)
        raise TimeoutError

    with reading(url, path) as counts:
        for _ in range(TURNS):
            double.release([path], partial)
            wait_until(lambda: path.stat().st_blocks * 512 < len(DATA))
            double.stage([path])
            wait_until(lambda: [(1,)] == ask(ONLINE))
    read, refused, wrong = (sum(kinds) for kinds in zip(*counts, strict=True))

    assert (True, True, 0) == (read > 0, refused > 0, wrong)
