from __future__ import annotations

from typing import ClassVar

from kit import HpssKit

from pacifica_archive_core import SupportsAdopt
from pacifica_archive_hpss import HpssArchive


class TestHpss(HpssKit):
    pass


class TestTransfersCutShort(HpssKit):
    knobs: ClassVar = {"short_reads": "1", "short_writes": "1"}


class TestUnkindNames(HpssKit):
    """Where a rename refuses to replace, and a new file has not the mode asked for."""

    knobs: ClassVar = {"rename_replaces": "0", "mode_at_create": "0"}


class TestTwoCopiesOnTape(HpssKit):
    more: ClassVar = {"class_of_service": 2, "durable": False}


class TestTwoLevelsOfDisk(HpssKit):
    more: ClassVar = {"class_of_service": 3}


def test_hpss_adopts() -> None:
    assert issubclass(HpssArchive, SupportsAdopt)
