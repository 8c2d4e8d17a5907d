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
class TestUnkindCalls(HpssKit):
    """Calls that hang, processes that are aborted, other policies of a site."""

    knobs: ClassVar = {
        "prelogin": "hang",
        "strict": "1",
        "stage_code:1": "background",
        "open_sets_umask": "0",
        "close_frees": "0",
        "library_retries": "1",
        "ping_skew_s": "3600",
        "default_cos": "6",
        "stage_code:6": "background",
        "drives": "1",
        "tor": "1",
    }


@ordinary
class TestTwoCopiesOnTape(HpssKit):
    more: ClassVar = {"class_of_service": 2, "durable": False}


@ordinary
class TestTwoLevelsOfDisk(HpssKit):
    more: ClassVar = {"class_of_service": 3}


def test_hpss_adopts() -> None:
    assert issubclass(HpssArchive, SupportsAdopt)
