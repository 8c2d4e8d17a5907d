from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deployed import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with all directories, and the server's settings."""
    machine = Machine(tmp_path / "machine")
    machine.root.mkdir()
    machine.make()
    machine.install("archive.cfg", "etc/pacifica-archive/archive.cfg")
    machine.install("server.env", "etc/pacifica-archive/server.env")
    return machine
