from __future__ import annotations

from kits import MemoryKit


class TestMemoryArchive(MemoryKit):
    pass
