"""Threads on one state, with sanitizers that see what no answer shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from seeds import kept, overrun, unlocked
from ways import WAY

from pacifica_archive_hpss import _build

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulated import Roots

THREADS = 32
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
}
#: Beside it, where the two go together.
UNDEFINED = {
    "thread": (),
    "address": ("-fsanitize=undefined", "-fno-sanitize-recover=undefined"),
}
HERE = Path(__file__).parent
PACKAGE = Path(_build.__file__).parent
#: Beyond the time asked for: what is under way is finished, slowed by the sanitizer.
PATIENCE_S = 180


def compiled(
    roots: Roots, sanitizer: str, made: Path, shim: Path = PACKAGE / "_shim.c"
) -> Path:
    """Compile the program with a shim against the simulator, all instrumented."""
    root = roots.root(WAY.headers or "9.3", sanitize=sanitizer)
    tools = _build.find_toolchain(root, sanitize=sanitizer)
    subprocess.run(
        [
            *(*tools.compiler, *tools.compile_flags, "-fno-omit-frame-pointer"),
            *("-Wall", "-Wextra", "-Werror", "-include", "stdint.h"),
            *UNDEFINED[sanitizer],
            *(f"-D{feature}" for feature in tools.features),
            *(f"-I{PACKAGE}", str(HERE / "stress.c"), str(shim)),
            *(*tools.link_flags, "-o", str(made)),
        ],
        check=True,
    )
    return made


def unshuffled() -> tuple[str, ...]:
    """
    Return what to put before a command, so that addresses are not random.

    ThreadSanitizer of gcc 12 and before refuses to run where a kernel makes them as
    random as Linux 6.5 and later do.
    """
    tried = ("setarch", "--addr-no-randomize")
    if shutil.which(tried[0]) is None:
        return ()
    works = subprocess.run([*tried, "true"], check=False).returncode == 0
    return tried if works else ()


def run(program: Path, state: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*unshuffled(), program, state, str(seconds), str(THREADS)],
        env={**os.environ, **OPTIONS},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds + PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("sanitizer", WAY.sanitizers)
def test_no_fault_is_found_in_the_shim_and_the_simulator(
    roots: Roots, tmp_path: Path, sanitizer: str
) -> None:
    """By the sanitizer, in a byte, an answer, a counter, or what is left over."""
    program = compiled(roots, sanitizer, tmp_path / "stress")
    done = run(program, tmp_path / "state", WAY.stress_s)

    assert 0 == done.returncode, done.stderr


@pytest.mark.skipif(
    not WAY.sanitizer, reason="shown where sanitizers are what is asked for"
)
@pytest.mark.parametrize(
    ("sanitizer", "seed", "said"),
    [
        pytest.param(sanitizer, seed, said, id=seed.__name__)
        for sanitizer, seed, said in (
            ("thread", unlocked, "ThreadSanitizer: data race"),
            ("address", kept, "LeakSanitizer: detected memory leaks"),
            ("address", overrun, "AddressSanitizer: heap-buffer-overflow"),
        )
        if sanitizer in WAY.sanitizers
    ],
)
def test_a_seeded_fault_is_found(
    roots: Roots,
    tmp_path: Path,
    sanitizer: str,
    seed: Callable[[str], str],
    said: str,
) -> None:
    shim = tmp_path / "_shim.c"
    source = (PACKAGE / "_shim.c").read_text(encoding="utf-8")
    shim.write_text(seed(source), encoding="utf-8")
    program = compiled(roots, sanitizer, tmp_path / "stress", shim)
    done = run(program, tmp_path / "state", 2)

    assert (True, True) == (done.returncode != 0, said in done.stderr)
