"""
Where the bytes of a file are, by what HPSS says of each level of its hierarchy.

By the kind that each level says it is, never by its place: a class of service may
begin with tape, or have two disks or two tapes. Never by comparing with the length of
the file: holes are on no level. (DSI's ``check_xattr_residency``.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from pacifica_archive_core import (
    FileDamaged,
    FileStatus,
    Media,
    Residency,
    StorageLevel,
)
from pacifica_archive_hpss._hpss import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Level",
    "RawStatus",
    "bitfile_id",
    "has_disk",
    "levels_of",
    "residency_of",
    "size_in",
    "status_of",
    "tape_order",
    "version_of",
]

_NS_PER_S = 10**9


class RawBitfile(Protocol):
    """``pah_bitfile``."""

    id: object


class RawLevel(Protocol):
    """``pah_level``."""

    bytes: int
    flags: int
    position: int
    position_offset: int
    cartridge: object


class RawStatus(Protocol):
    """``pah_status``: what one call says of a file."""

    size: int
    mtime_s: int
    ctime_s: int
    kind: int
    class_of_service: int
    bitfile: RawBitfile
    levels: Sequence[RawLevel]


@attrs.frozen(kw_only=True)
class Level:
    """
    What is said of one level.

    Attributes:
        media: NONE where nothing is said; ERROR where what is said cannot be.
        size: bytes of the file, holes not counted.
        claims_data: whether data is said to be there, besides the bytes.
    """

    media: Media
    size: int
    claims_data: bool


def residency_of(size: int, levels: Sequence[Level]) -> Residency:
    """
    Tell where a file of ``size`` bytes is. Fastest level first.

    The bytes of two tapes are two copies, not two parts, so nothing is added up.
    A file of holes only has no bytes anywhere, and HPSS may say the same of it as
    of one whose only cartridge is dead.
    """
    if size == 0:
        return Residency.DISK
    disk = 0
    on_tape = False
    for level in levels:
        if level.media is Media.DISK:
            disk = max(disk, level.size)
        elif level.media is Media.TAPE:
            if level.size > disk:
                return Residency.PARTIAL if disk else Residency.TAPE
            on_tape = on_tape or level.size > 0
    if disk:
        return Residency.DISK_AND_TAPE if on_tape else Residency.DISK
    described = any(level.media in {Media.DISK, Media.TAPE} for level in levels)
    claimed = any(level.claims_data for level in levels)
    return Residency.LOST if described and not claimed else Residency.UNKNOWN


def levels_of(raw: RawStatus) -> tuple[Level, ...]:
    """Return all five levels, used or not."""
    return tuple(
        Level(
            media=_media_of(level.flags),
            size=level.bytes,
            claims_data=bool(level.flags & lib.PAH_DATA),
        )
        for level in raw.levels
    )


def has_disk(raw: RawStatus) -> bool:
    """Whether the file's class of service has a disk to stage it to."""
    return any(level.media is Media.DISK for level in levels_of(raw))


def status_of(file_id: int, path: str, raw: RawStatus) -> FileStatus:
    """
    Return the status that one ``pah_get_status`` tells.

    Raises:
        FileDamaged: what is there is no file.
    """
    if raw.kind != lib.PAH_FILE:
        raise FileDamaged(file_id, "what has its name is no file")
    levels = levels_of(raw)
    return FileStatus(
        file_id=file_id,
        path=path,
        size=raw.size,
        mtime_ns=raw.mtime_s * _NS_PER_S,
        ctime_ns=raw.ctime_s * _NS_PER_S,
        version=version_of(raw),
        levels=tuple(StorageLevel(level.media, level.size) for level in levels),
        residency=residency_of(raw.size, levels),
        residency_source="hpss",
    )


def version_of(raw: RawStatus) -> str:
    """
    Name this version of the file.

    A replacement is a new bitfile. Without the ctime, which may change when a file is
    purged or staged: its bytes do not.
    """
    return f"{bitfile_id(raw)}-{raw.mtime_s:x}-{raw.size:x}"


def size_in(version: str) -> int:
    """Return the size of the file that ``version_of`` named."""
    return int(version.rpartition("-")[2], 16)


def bitfile_id(raw: RawStatus) -> str:
    """Return the bitfile's id, in hex."""
    return _text(raw.bitfile.id)


def tape_order(raw: RawStatus) -> tuple[str, int, int]:
    """Return the place on tape: files sorted by it are recalled without detours."""
    for level in raw.levels:
        if _media_of(level.flags) is Media.TAPE and level.bytes:
            return _text(level.cartridge), level.position, level.position_offset
    return "", -1, 0


def _media_of(flags: int) -> Media:
    if not flags:
        return Media.NONE
    kind = flags & (lib.PAH_DISK | lib.PAH_TAPE)
    return {lib.PAH_DISK: Media.DISK, lib.PAH_TAPE: Media.TAPE}.get(kind, Media.ERROR)


def _text(field: object) -> str:
    text: bytes = ffi.string(field)
    return text.decode("ascii", "backslashreplace")
