"""The build of the simulator: what it makes, what it spares, what it refuses."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pacifica_archive_hpss.simulator as simulator_package
from pacifica_archive_hpss.simulator import (
    VERSIONS,
    BuildError,
    Simulator,
    build,
    control_library,
)

if TYPE_CHECKING:
    from simulated import Roots

SOURCE = Path(simulator_package.__file__).parents[2]
EVERY_HEADER = (
    "hpss_Getenv.h",
    "hpss_String.h",
    "hpss_api.h",
    "hpss_errno.h",
    "hpss_hash.h",
    "hpss_limits.h",
    "hpss_mech.h",
    "hpss_net.h",
    "hpss_stat.h",
    "hpss_types.h",
    "hpss_version.h",
    "hpss_xml.h",
    "u_signed64.h",
)


def symbol_table(library: Path) -> str:
    done = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--dyn-syms", library],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def control_version(root: Path) -> str:
    library = ctypes.CDLL(str(control_library(root)))
    library.hpss_sim_version.restype = ctypes.c_char_p
    version: bytes = library.hpss_sim_version()
    return version.decode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O0 -g0")


@pytest.fixture
def logged_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have every run of the compiler leave a line in the file returned."""
    log = tmp_path / "log"
    compiler = tmp_path / "logged-cc"
    compiler.write_text(f'#!/bin/sh\necho "$*" >> "{log}"\nexec cc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    return log


@pytest.mark.parametrize("version", VERSIONS)
def test_every_header_that_callers_include_can_be_compiled_alone(
    roots: Roots, version: str, tmp_path: Path
) -> None:
    for name in EVERY_HEADER:
        source = tmp_path / f"{name}.c"
        source.write_text(f'#include "{name}"\n#include "{name}"\nint nothing;\n')
        flags = ["-Wall", "-Wextra", "-Werror", "-DLINUX", "-DLITTLEEND"]
        done = subprocess.run(
            ["cc", *flags, f"-I{roots.root(version)}/include", "-c", source],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

        assert (name, "") == (name, done.stderr)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sources_compile_without_a_warning(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFLAGS", "-Werror")

    assert build(tmp_path / "root", version).is_dir()


@pytest.mark.parametrize("name", ["libhpss.so", "libhpsscs.so", "libhpss_control.so"])
def test_each_library_has_its_soname(roots: Roots, name: str) -> None:
    table = symbol_table(roots.root() / "lib" / name)

    assert f"soname: [{name}]" in table


def test_only_the_api_is_exported(roots: Roots) -> None:
    table = symbol_table(roots.root() / "lib" / "libhpss.so")
    exported = {
        line.split()[-1].partition("@")[0]
        for line in table.splitlines()
        if " GLOBAL " in line and " UND " not in line
    }

    assert {n for n in exported if not n.startswith(("hpss_", "API_"))} == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_pkg_config_knows_hpss_from_7_5_on(roots: Roots, version: str) -> None:
    there = (roots.root(version) / "lib" / "hpss.pc").exists()

    assert (version != "7.4") == there


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="lacks pkg-config")
def test_pkg_config_gives_the_flags_that_programs_need(
    tmp_path: Path, roots: Roots
) -> None:
    root = roots.root("8.3")
    done = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "hpss"],
        env={**os.environ, "PKG_CONFIG_PATH": str(root / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    source = tmp_path / "program.c"
    source.write_text('#include "hpss_api.h"\nint main(void) { return 0; }\n')

    command = ["cc", str(source), "-o", str(tmp_path / "o"), *done.stdout.split()]

    assert 0 == subprocess.run(command, check=False).returncode


def test_a_second_build_compiles_nothing(logged_compiler: Path, tmp_path: Path) -> None:
    build(tmp_path / "root")
    before = logged_compiler.read_text()
    build(tmp_path / "root")

    assert before == logged_compiler.read_text()


def test_a_build_makes_again_what_was_lost(tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    lost = [root / "include" / "hpss_api.h", root / "lib" / "libhpss.so"]
    for path in lost:
        path.unlink()
    build(root)

    assert [True, True] == [path.is_file() for path in lost]


def test_another_version_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    root = build(tmp_path / "root", "9.3")
    build(root, "7.4")

    assert ("7.4", False) == (
        control_version(root),
        (root / "lib" / "hpss.pc").exists(),
    )


def test_builds_of_one_directory_at_once_are_made_once(
    logged_compiler: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: build(root), range(4)))
    links = [
        line for line in logged_compiler.read_text().splitlines() if "-shared" in line
    ]

    assert 3 == len(links)


def test_a_failed_build_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(BuildError):
        build(tmp_path / "root")

    assert [] == list((tmp_path / "root").rglob("*.so"))


def test_a_build_goes_on_where_another_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(BuildError):
        build(tmp_path / "root")
    monkeypatch.delenv("CC")

    assert (build(tmp_path / "root") / "lib" / "libhpss.so").is_file()


def test_a_directory_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    """It may be the real /opt/hpss."""
    real = tmp_path / "lib" / "libhpss.so"
    real.parent.mkdir()
    real.write_bytes(b"the real thing")
    with pytest.raises(BuildError, match="neither empty nor a simulator"):
        build(tmp_path)

    assert [(tmp_path / "lib"), real] == sorted(tmp_path.rglob("*"))


def test_an_unknown_version_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"7\.4, 7\.5, 8\.3, 9\.3, 10\.3"):
        build(tmp_path, "6.2")


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BuildError, match=r"no C compiler: .* apt-get install gcc"):
        build(tmp_path / "root")


def test_a_compiler_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-cc")

    with pytest.raises(BuildError, match="no-such-cc"):
        build(tmp_path / "root")


def test_the_root_of_something_else_does_not_drive_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACIFICA_HPSS_ROOT", str(tmp_path))

    with pytest.raises(BuildError, match="no simulator"):
        Simulator(tmp_path / "state").format()


def test_the_root_of_the_environment_drives_a_state(
    roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACIFICA_HPSS_ROOT", str(roots.root("7.4")))

    assert control_library(roots.root("7.4")) == Simulator(tmp_path / "state").library


def test_a_state_without_a_root_brings_its_own_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACIFICA_HPSS_ROOT", raising=False)
    Simulator(tmp_path / "state").format()

    assert control_library(tmp_path / "state" / "control").is_file()


def test_it_builds_with_a_bare_python(tmp_path: Path) -> None:
    """No core, no attrs, no cffi, no compiled binding: -S hides what is installed."""
    command = [sys.executable, "-S", "-m", "pacifica_archive_hpss.simulator"]
    done = subprocess.run(
        [*command, "build", tmp_path / "root", "--version", "10.3"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"PACIFICA_HPSS_ROOT={tmp_path / 'root'} pip install" in done.stdout


@pytest.mark.parametrize("sanitize", ["address", "thread"])
def test_an_instrumented_library_serves_an_instrumented_program(
    roots: Roots, sanitize: str, tmp_path: Path
) -> None:
    source = tmp_path / f"probe_{sanitize}.c"
    source.write_text(
        '#include "hpss_sim.h"\n'
        "int main(void) { return hpss_sim_is_simulator() == 1 ? 0 : 1; }\n"
    )
    program = roots.program(source, sanitize=sanitize)

    assert 0 == subprocess.run([program], check=False).returncode
