"""The tests can fail: the backend is broken, and they are to see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sabotage import BREAKAGES

SCRIPT = Path(__file__).with_name("sabotage.py")


@pytest.fixture(scope="module")
def failures() -> dict[str, list[str]]:
    """Return which tests failed on each breakage."""
    done = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=SCRIPT.parent.parent,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=400,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("title", BREAKAGES)
def test_a_breakage_is_seen_by_its_tests(
    title: str, failures: dict[str, list[str]]
) -> None:
    assert sorted(BREAKAGES[title].caught_by) == sorted(failures[title])
