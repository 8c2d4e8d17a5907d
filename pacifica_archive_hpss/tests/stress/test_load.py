"""One archive in a process of its own: threads, forks, and calls that never return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import binding
import loads
import pytest
from ways import WAY

from pacifica_archive_hpss import _build
from pacifica_archive_hpss.simulator import control_library

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from simulated import Roots


def load(
    roots: Roots,
    tmp_path: Path,
    name: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 (JSON)
    """Do one of the loads; return what it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", loads.__file__, name),
            *map(str, (control_library(roots.root()), *arguments)),
        ],
        env={
            **os.environ,
            **(environment or {}),
            "PACIFICA_HPSS_SIM": str(tmp_path / "state"),
        },
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=WAY.stress_s + 120,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


def check(found: dict[str, Any]) -> None:
    done = found.pop("done")
    expected = {
        "faults": [],
        "violations": [],
        "open_files": 0,
        "pvlists": 0,
        "incoming": [],
    }

    assert expected == found

    # What was to be tried has happened.
    assert {
        *("get done", "get FileOffline", "recall done", "put done", "stage done"),
        *("delete done", "digests done", "get_part done", "stage_many done"),
    } <= done.keys()


def test_threads_of_one_archive_find_every_byte_right(
    roots: Roots, tmp_path: Path
) -> None:
    check(load(roots, tmp_path, "mixed", WAY.stress_s))


@pytest.mark.skipif(
    WAY.sanitizer != "address", reason="Python itself is slow under the sanitizer"
)
def test_no_fault_of_memory_is_found_in_the_extension_module(
    roots: Roots, tmp_path: Path
) -> None:
    """
    The same with the module and the simulator instrumented.

    Leaks are not looked for: Python leaves much to its end. stress.c does.
    """
    root = roots.root(sanitize="address")
    _build.build(tmp_path, root, sanitize="address", strict=True)
    runtime = subprocess.check_output(
        ["cc", "-print-file-name=libasan.so"], encoding="utf-8"
    ).strip()
    environment = {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        binding.VARIABLE: str(tmp_path),
    }

    check(load(roots, tmp_path, "mixed", WAY.stress_s, environment=environment))


def test_a_call_that_never_answers_keeps_nobody_else_waiting(
    roots: Roots, tmp_path: Path
) -> None:
    """The interpreter's lock is given up round it."""
    expected = {name: [loads.STEPS, "ended"] for name in loads.BLOCKING}

    assert expected == load(roots, tmp_path, "blocked")


def test_a_forked_child_never_calls_c(roots: Roots, tmp_path: Path) -> None:
    """Whatever it tries, and when it ends."""
    expected = {"status": 0, "calls": {}, "violations": []}

    assert expected == load(roots, tmp_path, "forked")


def test_a_forked_child_that_calls_c_is_seen(roots: Roots, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    assert {"seen": True} == load(roots, tmp_path, "forked and wrong")
