"""What is known of a stored file without opening it."""

from __future__ import annotations

import enum

import attrs

__all__ = ["FileStatus", "Media", "Residency", "StorageLevel"]


class Media(enum.StrEnum):
    """The kind of a storage level, in the words of the wire."""

    DISK = "disk"
    TAPE = "tape"
    ERROR = "error"
    #: A level that is not used.
    NONE = "none"


class Residency(enum.Enum):
    """Where the bytes of a file are now. An empty file is DISK."""

    #: On disk only: not migrated yet, or never to be.
    DISK = "disk"
    #: Whole on disk, and on tape too.
    DISK_AND_TAPE = "disk and tape"
    #: Some bytes on disk, all on tape.
    PARTIAL = "partial"
    #: On tape only.
    TAPE = "tape"
    #: No level has the bytes.
    LOST = "lost"
    #: The store cannot say.
    UNKNOWN = "unknown"


_MEDIA = {
    Residency.DISK: Media.DISK,
    Residency.DISK_AND_TAPE: Media.DISK,
    Residency.PARTIAL: Media.TAPE,
    Residency.TAPE: Media.TAPE,
    Residency.LOST: Media.ERROR,
    Residency.UNKNOWN: Media.ERROR,
}


@attrs.frozen
class StorageLevel:
    """One level of the hierarchy, and the bytes of this file on it."""

    media: Media
    size: int = attrs.field(validator=attrs.validators.ge(0))


@attrs.frozen(kw_only=True)
class FileStatus:
    """
    One version of a stored file, as the store knows it.

    Attributes:
        file_id: its id.
        path: where the backend keeps it, whole; for operators, not for opening.
        size: bytes.
        mtime_ns: when the content was last changed, as its sender said it;
            nanoseconds since 1970, cut to what the store can keep.
        ctime_ns: when the store last changed the file, by the store's clock.
        version: opaque; differs for every replacement of the file, also by
            one of equal size and mtime. Visible ASCII without a double quote.
        levels: the storage hierarchy, fastest level first.
        residency: where the bytes are.
        residency_source: how that is known: "stat", "hpss", "sideband", ...
            One word of ASCII letters, digits and ``_.-``. It may change while the
            file stays as it is.
    """

    file_id: int
    path: str
    size: int = attrs.field(validator=attrs.validators.ge(0))
    mtime_ns: int
    ctime_ns: int
    version: str = attrs.field(validator=attrs.validators.matches_re(r"[!#-~]+"))
    levels: tuple[StorageLevel, ...]
    residency: Residency
    # It goes into headers and logs as it is.
    residency_source: str = attrs.field(
        validator=attrs.validators.matches_re(r"[A-Za-z0-9_.-]+")
    )

    @property
    def media(self) -> Media:
        """What the wire calls the residency: DISK, TAPE or ERROR."""
        return _MEDIA[self.residency]

    @property
    def online(self) -> bool:
        """Whether ``open`` will serve the file without a recall."""
        return self.media is Media.DISK
