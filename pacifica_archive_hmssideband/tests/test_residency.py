"""What a stat and a row say together; where the database does not answer, too."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import attrs
import pytest
from sqlalchemy import make_url

from pacifica_archive_core import Media, Residency, StorageLevel
from pacifica_archive_hmssideband import HmsSidebandOptions
from pacifica_archive_hmssideband.residency import (
    Finding,
    OperatorWarning,
    Residencies,
    decide,
)
from pacifica_archive_hmssideband.sideband import Row, Sideband

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROW = Row(ino=1030, gen=1, type=0, size=1000, online=1)
_OFFLINE = attrs.evolve(_ROW, online=0)


def stat_of(size: int, *, blocks: int = 0) -> os.stat_result:
    values = dict.fromkeys(range(10), 0) | {0: 0o100444, 1: 1030, 6: size}
    return os.stat_result(values.values(), {"st_blocks": blocks})


def on_disk(size: int, *, source: str, reason: str | None = None) -> Finding:
    levels = (StorageLevel(Media.DISK, size),)
    return Finding(
        residency=Residency.DISK, levels=levels, source=source, reason=reason
    )


def on_tape(size: int, *, source: str, reason: str | None = None) -> Finding:
    levels = (StorageLevel(Media.DISK, 0), StorageLevel(Media.TAPE, size))
    return Finding(
        residency=Residency.TAPE, levels=levels, source=source, reason=reason
    )


def test_a_row_that_says_online_is_disk_though_no_block_is_counted() -> None:
    finding = decide(stat_of(1000), _ROW, reason="unused")

    assert on_disk(1000, source="sideband") == finding


def test_a_row_that_says_offline_is_tape_though_all_blocks_are_counted() -> None:
    finding = decide(stat_of(1000, blocks=2), _OFFLINE, reason="unused")

    assert on_tape(1000, source="sideband") == finding


@pytest.mark.parametrize("online", [2, 255])
def test_online_is_whatever_is_not_zero(online: int) -> None:
    row = attrs.evolve(_ROW, online=online)

    assert on_disk(1000, source="sideband") == decide(stat_of(1000), row, reason="")


@pytest.mark.parametrize("row", [_ROW, _OFFLINE, None])
def test_an_empty_file_is_on_disk_whatever_the_row_says(row: Row | None) -> None:
    assert on_disk(0, source="stat") == decide(stat_of(0), row, reason="unused")


@pytest.mark.parametrize("blocks", [2, 3, 1 << 40])
def test_without_a_row_enough_blocks_are_disk(blocks: int) -> None:
    finding = decide(stat_of(1000, blocks=blocks), None, reason="down")

    assert on_disk(1000, source="st_blocks", reason="down") == finding


@pytest.mark.parametrize("blocks", [0, 1])
def test_without_a_row_too_few_blocks_are_tape(blocks: int) -> None:
    finding = decide(stat_of(1000, blocks=blocks), None, reason="down")

    assert on_tape(1000, source="st_blocks", reason="down") == finding


def test_the_last_byte_counts_where_blocks_decide() -> None:
    finding = decide(stat_of(1025, blocks=2), None, reason="down")

    assert on_tape(1025, source="st_blocks", reason="down") == finding


@pytest.mark.parametrize("size", [999, 1001, 0, None])
def test_a_row_of_another_size_is_not_believed(size: int | None) -> None:
    row = attrs.evolve(_OFFLINE, size=size)

    finding = decide(stat_of(1000, blocks=2), row, reason="unused")

    assert (
        on_disk(1000, source="st_blocks", reason=f"its row is of {size} bytes")
        == finding
    )


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_a_row_of_another_type_is_not_believed(kind: int) -> None:
    row = attrs.evolve(_ROW, type=kind)
    reason = f"its row is no regular file's, but of type {kind}"

    finding = decide(stat_of(1000), row, reason="unused")

    assert on_tape(1000, source="st_blocks", reason=reason) == finding


def test_sizes_are_compared_to_the_byte_where_floats_are_not() -> None:
    size = 2**53
    row = attrs.evolve(_ROW, size=size + 1)

    assert decide(stat_of(size), row, reason="unused").source == "st_blocks"


def test_a_fault_is_told_once_for_ten_thousand_files(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warnings = OperatorWarning("sam_inode.online is neither 0 nor 1", clock=lambda: 7.0)

    for number in range(10_000):
        warnings.tell(f"/data/{number}", 2)

    assert [
        (
            "sam_inode.online is neither 0 nor 1 but 2 for /data/0, and for 0 files"
            " before; samdb check mends it"
        )
    ] == caplog.messages


def test_a_fault_is_told_again_a_minute_later_with_those_between(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 7.0
    warnings = OperatorWarning("it", clock=lambda: now)
    warnings.tell("/first", 2)
    warnings.tell("/second", 2)
    now += 60.0

    warnings.tell("/third", 3)

    assert caplog.messages[1:] == [
        "it but 3 for /third, and for 1 files before; samdb check mends it"
    ]


@pytest.mark.parametrize("row", [_ROW, _OFFLINE])
def test_online_is_on_disk(row: Row) -> None:
    finding = decide(stat_of(1000), row, reason="unused")

    assert (finding.residency is Residency.DISK) == finding.online


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Sideband]:
    """Return a sideband on a port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        options = HmsSidebandOptions(
            prefix=tmp_path,
            sam_qfs_prefix="/",
            url=make_url(f"mysql+pymysql://127.0.0.1:{held.getsockname()[1]}/samfs1"),
        )
        with contextlib.closing(Sideband(options)) as sideband:
            yield sideband


@pytest.mark.parametrize("inode_lookup", [True, False], ids=["inode", "path"])
def test_where_the_database_is_dead_the_blocks_decide_on_each_file(
    dead: Sideband, *, inode_lookup: bool
) -> None:
    reason = "the sideband database does not answer"
    residencies = Residencies(dead, inode_lookup=inode_lookup)

    findings = residencies.find(
        [("/a", stat_of(1000)), ("/b", stat_of(1000, blocks=2)), ("/c", stat_of(0))]
    )

    assert [
        on_tape(1000, source="st_blocks", reason=reason),
        on_disk(1000, source="st_blocks", reason=reason),
        on_disk(0, source="stat"),
    ] == findings


def test_no_files_need_no_database(dead: Sideband) -> None:
    assert [] == Residencies(dead, inode_lookup=True).find([])
