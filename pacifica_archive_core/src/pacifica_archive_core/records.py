"""
Answers about files as JSON has them: for the command line and for the wire.

A record is a dict: of a status every field and property of it, of a stage
``online``, of an error its class and its message; each with ``file_id``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_core import errors
from pacifica_archive_core.errors import ArchiveError, FileError
from pacifica_archive_core.status import FileStatus, Media, Residency, StorageLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["answer_of", "make_error", "record_of", "status_of"]

#: What an archive answers of a file; all else is of its own options.
_OF_FILES_AND_STORES = (
    FileError,
    errors.NotSupported,
    errors.ArchiveUnavailable,
    errors.ArchiveFull,
    errors.AccessDenied,
)


def record_of(
    file_id: int,
    answer: FileStatus | bool | ArchiveError,  # noqa: FBT001 (what stage_many yields)
) -> dict[str, Any]:
    """Return an answer as a dict that JSON can hold."""
    if isinstance(answer, FileStatus):
        return {
            **attrs.asdict(
                answer,
                value_serializer=lambda _object, _field, value: (
                    value.value if isinstance(value, Residency) else value
                ),
            ),
            "media": answer.media,
            "online": answer.online,
        }
    if isinstance(answer, ArchiveError):
        error = type(answer).__name__
        return {"file_id": file_id, "error": error, "message": str(answer)}
    return {"file_id": file_id, "online": answer}


def status_of(record: Mapping[str, Any]) -> FileStatus:
    """
    Return the status that a record is of; what else is in it is passed over.

    Raises:
        ValueError: it is the record of no status.
    """
    try:
        fields = {field.name: record[field.name] for field in attrs.fields(FileStatus)}
        fields["levels"] = tuple(
            StorageLevel(Media(level["media"]), level["size"])
            for level in record["levels"]
        )
        fields["residency"] = Residency(record["residency"])
        status = FileStatus(**fields)
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError("it is no record of a status") from exc
    numbers = (status.file_id, status.size, status.mtime_ns, status.ctime_ns)
    sizes = (level.size for level in status.levels)
    # JSON has fractions, and True is an int too.
    if any(type(number) is not int for number in (*numbers, *sizes)) or not isinstance(
        status.path, str
    ):
        raise ValueError("it is no record of a status")
    return status


def answer_of(record: Mapping[str, Any]) -> FileStatus | bool | ArchiveError:
    """
    Return what a record was made of.

    Raises:
        ValueError: it is no record.
    """
    if "error" in record:
        return make_error(
            str(record["error"]), record.get("file_id"), str(record.get("message", ""))
        )
    if "version" in record:
        return status_of(record)
    if isinstance(record.get("online"), bool):
        return bool(record["online"])
    raise ValueError("it is no record of an answer")


def make_error(name: str, file_id: object, message: str) -> ArchiveError:
    """
    Make an error of its class's name and its message.

    ArchiveError of any class that is not about a file or a store: what is wrong
    with the options there is not with those here.
    """
    kind = getattr(errors, name) if name in errors.__all__ else ArchiveError
    if not issubclass(kind, _OF_FILES_AND_STORES):
        kind = ArchiveError
    if issubclass(kind, FileError):
        return kind(file_id, message.removeprefix(f"file {file_id}: ") or None)
    error: ArchiveError = kind(message)
    return error
