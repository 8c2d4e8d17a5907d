from __future__ import annotations

import pytest

from pacifica_archive_hpss.switches import Switches


def test_a_name_that_nothing_happened_to_is_quiet() -> None:
    switches = Switches()
    mark = switches.mark("/a")

    assert switches.quiet_since("/a", mark)


def test_a_change_that_is_over_is_seen() -> None:
    switches = Switches()
    mark = switches.mark("/a")
    with switches.under_way("/a"):
        pass

    assert not switches.quiet_since("/a", mark)


def test_a_change_that_goes_on_is_seen() -> None:
    switches = Switches()
    mark = switches.mark("/a")
    with switches.under_way("/a"):
        assert not switches.quiet_since("/a", mark)


def test_a_change_that_had_begun_before_is_seen() -> None:
    """Its call may have been done at any time until its end."""
    switches = Switches()
    with switches.under_way("/a"):
        mark = switches.mark("/a")

    assert not switches.quiet_since("/a", mark)


def test_a_change_that_fails_is_over() -> None:
    switches = Switches()
    with pytest.raises(OSError, match="broken"), switches.under_way("/a"):
        raise OSError("broken")
    mark = switches.mark("/a")

    assert switches.quiet_since("/a", mark)
