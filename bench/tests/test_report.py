"""What the report makes of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loads import Figures
from places import Load
from report import Report, Results

if TYPE_CHECKING:
    from pathlib import Path

LOAD = Load(seconds=4, connections=16, big_size=1 << 31, parts=4, part_size=1 << 29)


def figures(rate: float, *, peak_mib: float = 100) -> Figures:
    return Figures(
        get=rate,
        head=rate,
        put=rate,
        big_get=rate,
        big_put=rate,
        parts_get=rate,
        parts_put=rate,
        get_us=1,
        head_us=1,
        put_us=1,
        get_cpu=1,
        put_cpu=1,
        peak_mib=peak_mib,
    )


def report(*, ours: list[Figures], judged: bool = True) -> Report:
    rounds = {
        "ours": ours,
        "0.4.2": [figures(1) for _ in ours],
        "nginx": [figures(10) for _ in ours],
    }
    return Report(
        command="nox -s bench",
        busy=0.5,
        load=LOAD,
        versions={"ours": "1.0.0"},
        results=[Results(place="memory", judged=judged, rounds=rounds)],
    )


def test_targets_that_are_reached_are_not_missed() -> None:
    assert [] == report(ours=[figures(10), figures(11), figures(12)]).missed()


def test_a_target_is_missed_by_the_median_round() -> None:
    missed = report(ours=[figures(20), figures(8.5), figures(8.4)]).missed()

    assert [
        "one big GET: 0.85 (0.84 to 2.00), wanted ≥ 1 x nginx",
        "one big PUT: 0.85 (0.84 to 2.00), wanted ≥ 0.9 x nginx",
    ] == missed


def test_memory_is_missed_by_more_than_the_target() -> None:
    (missed,) = report(ours=[figures(10, peak_mib=201)]).missed()

    assert "peak memory of all processes: 201.00, wanted ≤ 200 MiB" == missed


def test_an_unjudged_place_misses_nothing() -> None:
    assert [] == report(ours=[figures(0.1)], judged=False).missed()


def test_ratios_are_taken_within_a_round() -> None:
    """A slow minute of the machine slows both."""
    results = Results(
        place="memory",
        judged=True,
        rounds={"a": [figures(10), figures(2)], "b": [figures(5), figures(1)]},
    )

    assert [2, 2] == results.ratios("a", "b", "get")


def test_writing_again_replaces_the_tables_only(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    report(ours=[figures(10)]).write(tmp_path)
    page.write_text(f"# Before\n\n{page.read_text()}\nAfter.\n")

    report(ours=[figures(123_456)]).write(tmp_path)
    text = page.read_text()

    assert text.startswith("# Before\n")
    assert text.endswith("\nAfter.\n")
    assert 2 == text.count("| memory |")
    assert "123,456" in text


@pytest.mark.parametrize(("size", "words"), [(1 << 31, "2 GiB"), (1 << 29, "512 MiB")])
def test_the_load_is_said_in_words(size: int, words: str) -> None:
    said = report(ours=[figures(10)]).markdown()

    assert size in {LOAD.big_size, LOAD.part_size}
    assert words in said
