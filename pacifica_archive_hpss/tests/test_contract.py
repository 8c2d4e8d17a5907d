from __future__ import annotations

from typing import ClassVar

from kit import HpssKit

from pacifica_archive_core import SupportsAdopt
from pacifica_archive_hpss import HpssArchive


class TestHpss(HpssKit):
    pass


class TestTransfersCutShort(HpssKit):
    knobs: ClassVar = {"short_reads": "1", "short_writes": "1"}


class TestModeNotSetAtCreate(HpssKit):
    knobs: ClassVar = {"mode_at_create": "0"}


def test_hpss_adopts() -> None:
    assert issubclass(HpssArchive, SupportsAdopt)
