"""What the report makes of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from loads import Figures
from places import Load
from remote import Remote
from report import Report, Results

if TYPE_CHECKING:
    from pathlib import Path

LOAD = Load(
    seconds=4,
    connections=16,
    big_size=1 << 31,
    parts=4,
    part_size=1 << 29,
    remote_gets=2,
    remote_puts=2,
    remote_reads=10,
)


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


def remote(read: float) -> Remote:
    return Remote(
        curl_get=10,
        get=read,
        digest=1,
        curl_put=10,
        put=1,
        reads=1,
        get_cpu=1,
        put_cpu=1,
    )


def report(
    *,
    ours: list[Figures],
    digests: list[Figures] | None = None,
    judged: bool = True,
    read: float = 10,
) -> Report:
    """Return a report of ours without digests, and with them; all reach by default."""
    rounds = {
        "ours, no digests": ours,
        "ours": digests or [figures(10) for _ in ours],
        "0.4.2": [figures(1) for _ in ours],
        "nginx": [figures(10) for _ in ours],
    }
    return Report(
        command="nox -s bench",
        busy=0.5,
        load=LOAD,
        versions={"ours": "1.0.0"},
        results=[
            Results(
                place="memory",
                judged=judged,
                rounds=rounds,
                remote={"ours": [remote(read)]},
            )
        ],
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


def test_a_put_with_sha256_has_a_target_of_its_own() -> None:
    missed = report(ours=[figures(10)], digests=[figures(4.9)]).missed()

    assert ["one big PUT with SHA-256: 0.49, wanted ≥ 0.5 x nginx"] == missed


def test_a_remote_read_is_judged_beside_curl() -> None:
    missed = report(ours=[figures(10)], read=6.9).missed()

    assert ["remote read through the backend: 0.69, wanted ≥ 0.7 x curl"] == missed


def test_a_target_shows_both_with_and_without_digests() -> None:
    said = report(ours=[figures(12)], digests=[figures(6)]).markdown()

    assert (
        "| one big PUT with SHA-256 | ≥ 0.5 x nginx | 1.20 | 0.60 | ours | reached |"
        in said
    )


def test_what_was_not_run_is_not_judged() -> None:
    """A run of ``--part remote`` has no servers to compare."""
    alone = attrs.evolve(
        report(ours=[]),
        results=[
            Results(
                place="memory", judged=True, rounds={}, remote={"ours": [remote(6)]}
            )
        ],
    )

    assert ["remote read through the backend: 0.60, wanted ≥ 0.7 x curl"] == (
        alone.missed()
    )


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
    assert 1 == text.count("| target |")
    assert "123,456" in text


@pytest.mark.parametrize(("size", "words"), [(1 << 31, "2 GiB"), (1 << 29, "512 MiB")])
def test_the_load_is_said_in_words(size: int, words: str) -> None:
    said = report(ours=[figures(10)]).markdown()

    assert size in {LOAD.big_size, LOAD.part_size}
    assert words in said
