"""Answers about files, there and back through JSON."""

from __future__ import annotations

import json

import pytest

from pacifica_archive_core import (
    ArchiveError,
    ArchiveUnavailable,
    FileOffline,
    FileStatus,
    InvalidFileId,
    Media,
    NoSuchFile,
    Residency,
    StorageLevel,
)
from pacifica_archive_core.records import answer_of, record_of, status_of

STATUS = FileStatus(
    file_id=2**63 - 1,
    # As Python has a name that is no UTF-8.
    path="/srv/\udcff",
    size=2**62,
    mtime_ns=-1,
    ctime_ns=10**18 + 1,
    version="!#~",
    levels=(StorageLevel(Media.DISK, 0), StorageLevel(Media.TAPE, 2**62)),
    residency=Residency.DISK_AND_TAPE,
    residency_source="stat",
)


def through_json(answer: FileStatus | bool | ArchiveError) -> object:  # noqa: FBT001 (as record_of)
    return answer_of(json.loads(json.dumps(record_of(5, answer))))


@pytest.mark.parametrize("answer", [STATUS, True, False])
def test_an_answer_is_the_same_behind_json(answer: FileStatus | bool) -> None:  # noqa: FBT001 (as above)
    assert answer == through_json(answer)


@pytest.mark.parametrize(
    "error",
    [
        NoSuchFile(5),
        FileOffline(5, "on a tape that is abroad"),
        ArchiveUnavailable("it does not answer"),
    ],
)
def test_an_error_is_the_same_behind_json(error: ArchiveError) -> None:
    found = through_json(error)

    assert (type(error), str(error)) == (type(found), str(found))


def test_the_default_reason_is_not_said_twice() -> None:
    found = through_json(NoSuchFile(5))

    assert "file 5: not in the archive" == str(found)


@pytest.mark.parametrize(
    "name",
    ["Strange", "FileError.__init__", "", "reprlib", "ConfigError", "BackendError"],
)
def test_an_error_of_an_unknown_class_is_an_archive_error(name: str) -> None:
    found = answer_of({"file_id": 5, "error": name, "message": "odd"})

    assert (ArchiveError, "odd") == (type(found), str(found))


def test_an_error_of_no_id_at_all_is_made() -> None:
    found = answer_of({"file_id": "x", "error": "InvalidFileId", "message": "bad"})

    assert (InvalidFileId, "x") == (type(found), getattr(found, "file_id", None))


def test_what_else_is_in_a_record_is_passed_over() -> None:
    assert STATUS == status_of({**record_of(5, STATUS), "colour": "red"})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"version": "1"},
        {**record_of(5, STATUS), "levels": [{"media": "paper", "size": 1}]},
        {**record_of(5, STATUS), "residency": "nowhere"},
        {**record_of(5, STATUS), "size": -1},
        {**record_of(5, STATUS), "size": 1.5},
        {**record_of(5, STATUS), "file_id": True},
        {**record_of(5, STATUS), "mtime_ns": "now"},
        {**record_of(5, STATUS), "levels": [{"media": "disk", "size": 1.5}]},
        {**record_of(5, STATUS), "path": None},
        {**record_of(5, STATUS), "residency_source": "two words"},
        {"file_id": 5, "online": "yes"},
    ],
)
def test_what_is_no_record_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="it is no record"):
        answer_of(record)
