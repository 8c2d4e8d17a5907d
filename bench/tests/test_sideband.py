"""The benchmark of statuses runs, and is not taken in by a side that errs."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sideband import FULL, OLDER, OURS, RELEASE, Asked, Figures, Report, Side, medium

RUN = Path(__file__).parent.parent / "sideband.py"
#: Options that say where release 0.4.2 and its driver are; `nox -s bench_tests`.
PEERS = "PACIFICA_SIDEBAND_PEERS"


def figures(seconds: float) -> Figures:
    return Figures(one_us=seconds, threads_us=seconds, many_s=seconds)


def report(*, ours: list[float], release: float, older: float) -> Report:
    return Report(
        command="nox -s bench_sideband",
        busy=0.5,
        load=FULL,
        versions={OURS: "1.0.0"},
        rounds={
            OURS: [figures(seconds) for seconds in ours],
            RELEASE: [figures(release) for _ in ours],
            OLDER: [figures(older) for _ in ours],
        },
        asked={OURS: Asked(connections=0, selects=1, others=0, pings=1)},
    )


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a quick run has written to."""
    if PEERS not in os.environ:
        pytest.fail(f"{PEERS} does not name the old release: use nox -s bench_tests")
    out = tmp_path_factory.mktemp("out")
    peers = shlex.split(os.environ[PEERS])
    subprocess.run(
        (sys.executable, str(RUN), "--quick", *peers, "--out", str(out)), check=True
    )
    return out


@pytest.fixture(scope="module")
def measured(quick: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        (quick / "performance-sideband.json").read_text()
    )
    return report


def test_a_quick_run_measures_all_sides(measured: dict[str, Any]) -> None:
    nothing = [
        (side, figure)
        for side, (round_figures,) in measured["rounds"].items()
        for figure, value in round_figures.items()
        if not value > 0
    ]

    assert {OURS, RELEASE, OLDER} == measured["rounds"].keys()
    assert [] == nothing


@pytest.mark.parametrize("side", [RELEASE, OLDER])
def test_release_042_connects_and_selects_for_each_status(
    measured: dict[str, Any], side: str
) -> None:
    asked = measured["asked"][f"{side}, one by one"]

    assert (1, 1) == (asked["connections"], asked["selects"])


def test_ours_selects_once_for_each_status_on_a_connection_that_it_has(
    measured: dict[str, Any],
) -> None:
    asked = measured["asked"][f"{OURS}, one by one"]

    assert (0, 1) == (asked["connections"], asked["selects"])


def test_ours_selects_once_for_many(measured: dict[str, Any]) -> None:
    asked = measured["asked"][f"{OURS}, status_many"]

    assert 1 == asked["selects"] * measured["load"]["files"]


def test_the_tables_are_whole(quick: Path) -> None:
    page = (quick / "performance.md").read_text()

    assert 4 == page.count(" x 0.4.2")
    for side in (OURS, RELEASE, OLDER):
        assert f"\n| {side} |" in page
        assert f"\n| {side}, one by one |" in page


def test_an_answer_that_is_wrong_is_no_figure() -> None:
    wrong = {"media": ["tape", "tape"], "seconds": 0.1}
    side = Side("liar", io.StringIO(), io.StringIO(json.dumps(wrong)))

    with pytest.raises(RuntimeError, match="liar"):
        side.ask("many", [1, 2])


def test_an_answer_that_is_right_is_its_seconds() -> None:
    right = {"media": [medium(1), medium(2)], "seconds": 0.1}
    side = Side("honest", io.StringIO(), io.StringIO(json.dumps(right)))

    assert 0.1 == side.ask("many", [1, 2])


def test_each_target_is_judged_beside_both_drivers() -> None:
    judged = report(ours=[1, 10, 1], release=60, older=4).judged()

    assert [True, True, True, False] == [reached for *_, reached in judged]


def test_a_target_is_missed_by_the_median_round() -> None:
    judged = report(ours=[1, 2, 2], release=60, older=4).judged()

    assert [True, False, False, False] == [reached for *_, reached in judged]


def test_a_quick_run_does_not_go_into_the_documents() -> None:
    done = subprocess.run(
        (
            *(sys.executable, str(RUN), "--quick"),
            *("--release-042", "bin", "--older-driver", "driver"),
        ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert "give --out" in done.stderr
