"""What dead writers left: removed by its age, and by nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from scenes import FILE_ID, NEW, OLD, Place, places

from pacifica_archive_core.testing.base import fetch
from pacifica_archive_hpss import HpssArchive
from pacifica_archive_hpss._hpss import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFTOVER = "/.incoming/" + "0" * 31 + "1"
_WEEK_S = 7 * 24 * 3600
_time = time.time


@pytest.fixture
def place() -> Iterator[Place]:
    with places() as new_place:
        place = new_place()
        HpssArchive(place.options()).close()
        yield place


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a week and an hour have passed."""
    monkeypatch.setattr(time, "time", lambda: _time() + _WEEK_S + 3600)


def put(place: Place, name: str, data: bytes = OLD) -> None:
    place.put(place.prefix + name, data)


def test_an_old_leftover_is_swept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place, LEFTOVER)
    later(monkeypatch)
    HpssArchive(place.options()).close()

    assert [] == place.incoming()


def test_a_young_file_is_not_swept(place: Place) -> None:
    """Its writer may live, on any host."""
    put(place, LEFTOVER)
    HpssArchive(place.options()).close()

    assert [LEFTOVER] == place.incoming()


def test_the_age_is_not_that_of_its_content(place: Place) -> None:
    """Which is its sender's, from shortly before the commit on."""
    put(place, LEFTOVER)
    error = ffi.new("pah_error *")
    assert lib.pah_utime((place.prefix + LEFTOVER).encode(), 1, error) == 0
    HpssArchive(place.options()).close()

    assert [LEFTOVER] == place.incoming()


def test_another_age_may_be_given(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place, LEFTOVER)
    later(monkeypatch)
    HpssArchive(place.options(incoming_ttl_s=2 * _WEEK_S)).close()

    assert [LEFTOVER] == place.incoming()


def test_what_is_not_of_ours_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place, "/.incoming/notes")
    later(monkeypatch)
    HpssArchive(place.options()).close()

    assert ["/.incoming/notes"] == place.incoming()


def test_a_leftover_that_cannot_be_removed_hinders_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place, LEFTOVER)
    place.simulator.rule("Unlink:*:-EACCES")
    later(monkeypatch)
    HpssArchive(place.options()).close()

    assert [LEFTOVER] == place.incoming()


def test_an_incoming_that_cannot_be_listed_hinders_nothing(place: Place) -> None:
    place.simulator.rule("Opendir:*:-EIO")
    with HpssArchive(place.options()) as archive, archive.create(FILE_ID) as writer:
        writer.write(NEW)

    assert NEW == place.found()


def test_a_file_that_was_put_aside_gets_its_name_back(place: Place) -> None:
    """Its replacer died where a rename does not replace."""
    put(place, f"{LEFTOVER}.{FILE_ID:x}")
    place.simulator.mkdir(f"{place.prefix}/56/34")
    with HpssArchive(place.options()) as archive:
        found = fetch(archive, FILE_ID)

    assert (OLD, []) == (found, place.incoming())


def test_a_file_that_was_put_aside_does_not_replace_a_newer_one(place: Place) -> None:
    put(place, f"{LEFTOVER}.{FILE_ID:x}")
    put(place, place.name(), NEW)
    with HpssArchive(place.options()) as archive:
        found = fetch(archive, FILE_ID)

    assert (NEW, []) == (found, place.incoming())
