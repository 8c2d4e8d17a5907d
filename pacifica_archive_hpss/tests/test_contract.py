from __future__ import annotations

from typing import ClassVar

import pytest
from kit import HpssKit
from ways import WAY

from pacifica_archive_core import SupportsAdopt
from pacifica_archive_hpss import HpssArchive

#: One way at a time.
ordinary = pytest.mark.skipif(not WAY.ordinary, reason="run in the ordinary way")


class TestHpss(HpssKit):
    pass


@ordinary
class TestTransfersCutShort(HpssKit):
    knobs: ClassVar = {"short_reads": "1", "short_writes": "1"}


@ordinary
class TestUnkindNames(HpssKit):
    """Where a rename refuses to replace, and a new file has not the mode asked for."""

    knobs: ClassVar = {"rename_replaces": "0", "mode_at_create": "0"}


@ordinary
class TestTwoCopiesOnTape(HpssKit):
    more: ClassVar = {"class_of_service": 2, "durable": False}


@ordinary
class TestTwoLevelsOfDisk(HpssKit):
    more: ClassVar = {"class_of_service": 3}


def test_hpss_adopts() -> None:
    assert issubclass(HpssArchive, SupportsAdopt)
