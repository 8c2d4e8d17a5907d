from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from pacifica_archive_core import FileStatus, Media, Residency, StorageLevel


def status(**changes: Any) -> FileStatus:  # noqa: ANN401 (any field's type)
    values: dict[str, Any] = {
        "file_id": 1,
        "path": "/1",
        "size": 5,
        "mtime_ns": 1,
        "ctime_ns": 2,
        "version": "a-1",
        "levels": (StorageLevel(Media.DISK, 5),),
        "residency": Residency.DISK,
        "residency_source": "stat",
    }
    return FileStatus(**{**values, **changes})


@pytest.mark.parametrize(
    ("residency", "media"),
    [
        (Residency.DISK, Media.DISK),
        (Residency.DISK_AND_TAPE, Media.DISK),
        (Residency.PARTIAL, Media.TAPE),
        (Residency.TAPE, Media.TAPE),
        (Residency.LOST, Media.ERROR),
        (Residency.UNKNOWN, Media.ERROR),
    ],
)
def test_media_follows_from_residency(residency: Residency, media: Media) -> None:
    assert media is status(residency=residency).media


@pytest.mark.parametrize("residency", Residency)
def test_only_what_is_whole_on_disk_is_online(residency: Residency) -> None:
    on_disk = residency in {Residency.DISK, Residency.DISK_AND_TAPE}

    assert on_disk == status(residency=residency).online


def test_media_are_the_words_of_the_wire() -> None:
    assert ["disk", "tape", "error", "none"] == [str(media) for media in Media]


@pytest.mark.parametrize("version", ["", 'a"b', "a b", "a\n", "é", "a\x7f"])
def test_a_version_can_stand_in_an_etag(version: str) -> None:
    """RFC 9110, 8.8.3; checked where it is made and not where it is sent."""
    with pytest.raises(ValueError, match="version"):
        status(version=version)


@pytest.mark.parametrize("source", ["", "a b", "a\r\nb", 'a"b', "a\\", "é"])
def test_a_source_is_a_word_that_headers_and_logs_can_hold(source: str) -> None:
    with pytest.raises(ValueError, match="residency_source"):
        status(residency_source=source)


@pytest.mark.parametrize(
    "make", [lambda: status(size=-1), lambda: StorageLevel(Media.DISK, -1)]
)
def test_a_size_is_not_negative(make: Any) -> None:  # noqa: ANN401 (a lambda)
    with pytest.raises(ValueError, match="size"):
        make()


def test_a_status_is_not_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        status().size = 6  # type: ignore[misc]


def test_equal_statuses_are_equal_and_hash_alike() -> None:
    assert {status()} == {status()}


def test_a_status_crosses_processes() -> None:
    assert status() == pickle.loads(pickle.dumps(status()))  # noqa: S301 (its own)
