"""Where a file is said to be, for each thing that HPSS may say of its levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pacifica_archive_core import FileDamaged, Media, Residency, StorageLevel
from pacifica_archive_hpss import residency
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.residency import Level, residency_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def disk(size: int, *, claims_data: bool = False) -> Level:
    return Level(media=Media.DISK, size=size, claims_data=claims_data or size > 0)


def tape(size: int, *, claims_data: bool = False) -> Level:
    return Level(media=Media.TAPE, size=size, claims_data=claims_data or size > 0)


def unused(size: int = 0, *, claims_data: bool = False) -> Level:
    return Level(media=Media.NONE, size=size, claims_data=claims_data)


#: What is told of a file of 100 bytes, and where it is.
ROWS: dict[str, tuple[Sequence[Level], Residency]] = {
    "not migrated": ([disk(100), tape(0)], Residency.DISK),
    "disk only": ([disk(100)], Residency.DISK),
    "dual": ([disk(100), tape(100)], Residency.DISK_AND_TAPE),
    "partly migrated": ([disk(100), tape(40)], Residency.DISK_AND_TAPE),
    "partial": ([disk(40), tape(100)], Residency.PARTIAL),
    "tape": ([disk(0), tape(100)], Residency.TAPE),
    "tape-only class": ([tape(100)], Residency.TAPE),
    "tape-only class, 2 copies": ([tape(100), tape(100)], Residency.TAPE),
    "first level tape, then disk": ([tape(100), disk(100)], Residency.TAPE),
    "first level tape, empty": ([tape(0), disk(100)], Residency.DISK),
    "second disk": ([disk(0), disk(100), tape(100)], Residency.DISK_AND_TAPE),
    "second disk, not migrated": ([disk(0), disk(100), tape(0)], Residency.DISK),
    "two disks, the first whole": (
        [disk(100), disk(10), tape(100)],
        Residency.DISK_AND_TAPE,
    ),
    "two disks, partial": ([disk(10), disk(40), tape(100)], Residency.PARTIAL),
    "2 tape copies": ([disk(0), tape(100), tape(100)], Residency.TAPE),
    # Were copies added up, this one would be PARTIAL.
    "2 tape copies, dual": ([disk(100), tape(100), tape(100)], Residency.DISK_AND_TAPE),
    "one of 2 tape copies dead": ([disk(0), tape(0), tape(100)], Residency.TAPE),
    "one of 2 copies longer": ([disk(60), tape(60), tape(100)], Residency.PARTIAL),
    # Were bytes compared with the length, these would be PARTIAL, or on no level.
    "holes, dual": ([disk(30), tape(30)], Residency.DISK_AND_TAPE),
    "holes, not migrated": ([disk(30), tape(0)], Residency.DISK),
    "holes, tape": ([disk(0), tape(30)], Residency.TAPE),
    "holes, partial": ([disk(10), tape(30)], Residency.PARTIAL),
    "unused levels between": (
        [unused(), disk(100), unused(), tape(100), unused()],
        Residency.DISK_AND_TAPE,
    ),
    "more than a 32-bit number": (
        [disk(2**32 + 1), tape(2**33)],
        Residency.PARTIAL,
    ),
    "lost": ([disk(0), tape(0)], Residency.LOST),
    "dead cartridge": ([disk(0), tape(0), unused()], Residency.LOST),
    "dead cartridge of a tape-only class": ([tape(0)], Residency.LOST),
    "data claimed, no bytes": (
        [disk(0), tape(0, claims_data=True)],
        Residency.UNKNOWN,
    ),
    "nothing told": ([unused()] * 5, Residency.UNKNOWN),
    "no level": ([], Residency.UNKNOWN),
    "bytes at a level of no kind": ([unused(100)], Residency.UNKNOWN),
    "bytes at a level of both kinds": (
        [Level(media=Media.ERROR, size=100, claims_data=True), tape(0)],
        Residency.UNKNOWN,
    ),
}


@pytest.mark.parametrize(("levels", "expected"), ROWS.values(), ids=list(ROWS))
def test_the_levels_tell_the_residency(
    levels: Sequence[Level], expected: Residency
) -> None:
    assert expected is residency_of(100, levels)


@pytest.mark.parametrize("levels", [[], [unused()], [disk(0), tape(0)], [tape(0)]])
def test_an_empty_file_is_on_disk_whatever_is_said(levels: Sequence[Level]) -> None:
    assert Residency.DISK is residency_of(0, levels)


def raw_status(*levels: dict[str, Any], kind: int | None = None) -> Any:  # noqa: ANN401 (cffi has no types)
    """Return what the shim would have filled."""
    return ffi.new(
        "pah_status *",
        {
            "size": 100,
            "mtime_s": 1_500_000_000,
            "ctime_s": 1_600_000_000,
            "kind": lib.PAH_FILE if kind is None else kind,
            "bitfile": {"id": b"00ff"},
            "levels": list(levels),
        },
    )


ON_DISK = {"bytes": 100, "flags": lib.PAH_DISK | lib.PAH_DATA}
ON_TAPE = {
    "bytes": 100,
    "flags": lib.PAH_TAPE | lib.PAH_DATA,
    "cartridge": b"A00001",
    "position": 7,
    "position_offset": 9,
}
EMPTY_DISK = {"flags": lib.PAH_DISK}
EMPTY_TAPE = {"flags": lib.PAH_TAPE, "cartridge": b"", "position": -1}


def test_the_levels_of_a_status_are_five() -> None:
    status = residency.status_of(1, "/a/file.1", raw_status(EMPTY_DISK, ON_TAPE))
    unused_level = StorageLevel(Media.NONE, 0)

    assert (
        StorageLevel(Media.DISK, 0),
        StorageLevel(Media.TAPE, 100),
        *[unused_level] * 3,
    ) == status.levels


def test_a_level_of_both_kinds_is_an_error() -> None:
    both = {"flags": lib.PAH_DISK | lib.PAH_TAPE, "bytes": 100}
    status = residency.status_of(1, "/a/file.1", raw_status(both))

    assert Media.ERROR is status.levels[0].media


def test_times_are_in_nanoseconds() -> None:
    status = residency.status_of(1, "/a/file.1", raw_status(ON_DISK))

    assert (1_500_000_000 * 10**9, 1_600_000_000 * 10**9) == (
        status.mtime_ns,
        status.ctime_ns,
    )


def test_the_source_of_a_status_is_said() -> None:
    status = residency.status_of(1, "/a/file.1", raw_status(ON_DISK))

    assert ("hpss", "/a/file.1") == (status.residency_source, status.path)


def test_a_version_does_not_change_with_the_levels_or_the_ctime() -> None:
    before, after = raw_status(ON_DISK, EMPTY_TAPE), raw_status(EMPTY_DISK, ON_TAPE)
    after.ctime_s += 1

    assert residency.version_of(before) == residency.version_of(after)


@pytest.mark.parametrize("part", ["size", "mtime_s", "bitfile"])
def test_a_version_changes_with(part: str) -> None:
    before, after = raw_status(ON_DISK), raw_status(ON_DISK)
    if part == "bitfile":
        after.bitfile.id = b"00fe"
    else:
        setattr(after, part, 99)

    assert residency.version_of(before) != residency.version_of(after)


def test_a_version_tells_the_size() -> None:
    assert 100 == residency.size_in(residency.version_of(raw_status(ON_DISK)))


@pytest.mark.parametrize("kind", ["PAH_DIRECTORY", "PAH_SYMLINK", "PAH_OTHER"])
def test_what_is_no_file_is_damaged(kind: str) -> None:
    raw = raw_status(kind=getattr(lib, kind))

    with pytest.raises(FileDamaged):
        residency.status_of(1, "/a/file.1", raw)


def test_the_place_on_tape_is_that_of_the_first_copy_with_bytes() -> None:
    raw = raw_status(ON_DISK, EMPTY_TAPE, ON_TAPE)

    assert ("A00001", 7, 9) == residency.tape_order(raw)


def test_what_is_on_no_tape_is_recalled_first() -> None:
    assert residency.tape_order(raw_status(ON_DISK)) < residency.tape_order(
        raw_status(ON_TAPE)
    )


@pytest.mark.parametrize(
    ("levels", "expected"),
    [([EMPTY_TAPE], False), ([EMPTY_TAPE, EMPTY_DISK], True), ([ON_DISK], True)],
)
def test_a_class_has_a_disk_if_a_level_says_so(
    levels: Sequence[dict[str, Any]],
    expected: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    assert expected is residency.has_disk(raw_status(*levels))
