"""That what the environment asks for is what is tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import binding
import pytest
from kit import process_simulator
from ways import WAY, Way

from pacifica_archive_hpss.session import build

CONTRACT = "tests/test_contract.py::TestHpss::test_of_something"
STRESS = "tests/stress/test_stress.py::test_a_seeded_fault_is_found"
_PROGRAM = """\
import binding
from pacifica_archive_hpss.session import build
print(f"{build().major}.{build().minor}")
"""


@pytest.mark.skipif(not WAY.headers, reason="whatever is installed")
def test_the_module_is_of_the_headers_asked_for() -> None:
    assert WAY.headers == f"{build().major}.{build().minor}"


@pytest.mark.skipif(not WAY.headers, reason="whatever is installed")
def test_the_module_of_other_processes_is_of_the_headers_asked_for() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-c", _PROGRAM],
        cwd=Path(binding.__file__).parent,
        encoding="utf-8",
    )

    assert WAY.headers == printed.strip()


def test_the_knobs_asked_for_are_set() -> None:
    knobs = process_simulator().knobs()
    found = {name: float(knobs[name]) for name in WAY.knobs}

    assert {name: float(value) for name, value in WAY.knobs.items()} == found


def test_nothing_asked_for_is_the_ordinary_way() -> None:
    assert Way.from_environment({"PATH": "/bin"}).ordinary


def test_knobs_are_words() -> None:
    way = Way.from_environment({"HPSS_TEST_KNOBS": "short_reads=1 delay_ms=5"})

    assert {"short_reads": "1", "delay_ms": "5"} == way.knobs


@pytest.mark.parametrize(
    ("way", "contract", "stress"),
    [
        (Way(), True, True),
        (Way(headers="7.4"), True, False),
        (Way(knobs={"delay_ms": "5"}), True, False),
        (Way(sanitizer="thread"), False, True),
    ],
    ids=["ordinary", "headers", "knobs", "sanitizer"],
)
def test_each_way_keeps_what_it_is_for(
    way: Way,
    contract: bool,  # noqa: FBT001 (a parameter of the tests)
    stress: bool,  # noqa: FBT001 (as above)
) -> None:
    assert (contract, stress) == (way.keeps(CONTRACT), way.keeps(STRESS))
