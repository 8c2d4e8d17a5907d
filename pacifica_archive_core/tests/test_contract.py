from __future__ import annotations

from kits import MemoryKit, TinyKit


class TestMemoryArchive(MemoryKit):
    pass


class TestTinyArchive(TinyKit):
    pass
