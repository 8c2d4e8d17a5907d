"""One archive in a process of its own: threads, forks, and calls that never return."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import binding
import loads
import pytest
from seeds import overrun
from ways import WAY

from pacifica_archive_hpss import _build
from pacifica_archive_hpss.simulator import control_library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulated import Roots

PACKAGE = Path(_build.__file__).parent


def run(
    roots: Roots,
    tmp_path: Path,
    name: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Do one of the loads."""
    return subprocess.run(
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


def answer(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401 (JSON)
    """Return what a load that went well says."""
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


def instrumented(
    folder: Path, root: Path, seed: Callable[[str], str] = str
) -> dict[str, str]:
    """
    Build the extension module with AddressSanitizer; return how it is used.

    Leaks are not looked for: Python leaves much to its end. stress.c does.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("_build.py", "_cdef.h", "_shim.c"):
        shutil.copyfile(PACKAGE / name, source / name)
    shim = source / "_shim.c"
    shim.write_text(seed(shim.read_text(encoding="utf-8")), encoding="utf-8")
    subprocess.run(
        [
            *(sys.executable, source / "_build.py", "--strict"),
            *("--root", root, "--output", folder, "--sanitize", "address"),
        ],
        check=True,
    )
    runtime = subprocess.check_output(
        ["cc", "-print-file-name=libasan.so"], encoding="utf-8"
    ).strip()
    return {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        binding.VARIABLE: str(folder),
    }


def test_threads_of_one_archive_find_every_byte_right(
    roots: Roots, tmp_path: Path
) -> None:
    """With AddressSanitizer, where that is what is asked for."""
    environment = (
        instrumented(tmp_path, roots.root(sanitize="address"))
        if WAY.sanitizer == "address"
        else {}
    )
    found = answer(run(roots, tmp_path, "mixed", WAY.stress_s, environment=environment))
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
        *("trash done", "undelete done", "empty done"),
    } <= done.keys()


@pytest.mark.skipif(
    WAY.sanitizer != "address", reason="the module is not instrumented here"
)
def test_a_seeded_fault_is_found_in_the_extension_module(
    roots: Roots, tmp_path: Path
) -> None:
    root = roots.root(sanitize="address")
    environment = instrumented(tmp_path, root, overrun)
    done = run(roots, tmp_path, "forked", environment=environment)

    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr


def test_a_call_that_never_answers_keeps_nobody_else_waiting(
    roots: Roots, tmp_path: Path
) -> None:
    """The interpreter's lock is given up round it."""
    expected = {name: [loads.STEPS, "ended"] for name in loads.BLOCKING}

    assert expected == answer(run(roots, tmp_path, "blocked"))


def test_a_forked_child_never_calls_c(roots: Roots, tmp_path: Path) -> None:
    """Whatever it tries, and when it ends."""
    expected = {"status": 0, "calls": {}, "violations": []}

    assert expected == answer(run(roots, tmp_path, "forked"))


def test_a_forked_child_that_calls_c_is_seen(roots: Roots, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    found = answer(run(roots, tmp_path, "forked and wrong"))

    assert {"seen": True} == found
