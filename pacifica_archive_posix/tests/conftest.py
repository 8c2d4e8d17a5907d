from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SHM = Path("/dev/shm")  # noqa: S108 (a file system in memory, in directories of our own)


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return a directory of a file system in memory."""
    if not os.access(SHM, os.W_OK):
        pytest.skip("lacks a file system in memory at /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHM) as name:
        yield Path(name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory, if there is one: for thousands of fsyncs."""
    where = SHM if os.access(SHM, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield Path(name)
