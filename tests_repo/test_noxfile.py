from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import noxfile
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import nox

# A program around the real noxfile: one session whose need never is met, one for an
# interpreter that never is there, and one that passes.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(noxfile.ROOT)!r})
import nox, noxfile
noxfile.NEEDS["ghost"] = noxfile.Need(probe=("false",), packages=("ghost-deb",))

@nox.session(venv_backend="none")
def haunted(session):
    noxfile.find_needs(session, ("ghost",))

noxfile.register_absent_tests("tests-3.99", "3.99")
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without remembered absences, package lists or CI."""
    monkeypatch.setattr(noxfile, "NOT_RUN", [])
    monkeypatch.delenv("CI", raising=False)
    noxfile.apt_update.cache_clear()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of programs that comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def make_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run_nox(
    tmp_path: Path, *arguments: str, ci: bool = False
) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "noxfile.py"
    file.write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "CI"}
    if ci:
        environment["CI"] = "true"
    return subprocess.run(
        [sys.executable, "-m", "nox", "-f", str(file), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class _Session:
    """As much of a nox session as `find_needs` uses."""

    name = "tests(core)"

    def error(self, *args: object) -> None:
        raise SystemExit(*args)


@pytest.fixture
def session() -> nox.Session:
    return _Session()  # type: ignore[return-value]


@pytest.fixture
def ghost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Declare a need that is met when the file given exists."""
    file = tmp_path / "installed"
    need = noxfile.Need(probe=("test", "-e", str(file)), packages=("ghost-deb",))
    monkeypatch.setitem(noxfile.NEEDS, "ghost", need)
    return file


def pretend(monkeypatch: pytest.MonkeyPatch, *, uid: int, distribution: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(
        platform,
        "freedesktop_os_release",
        lambda: {"ID": distribution, "ID_LIKE": ""},
    )


def test_missing_need_is_installed_by_apt_as_root_on_debian(
    programs: Path, ghost: Path, session: nox.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, uid=0, distribution="debian")
    log = ghost.with_name("log")
    make_program(
        programs / "apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >> {log}; test "$3" = update || touch {ghost}',
    )

    assert ("ghost",) == noxfile.find_needs(session, ("ghost",))
    assert [
        "noninteractive -y -q update",
        "noninteractive -y -q install --no-install-recommends ghost-deb",
    ] == log.read_text().splitlines()
    assert [] == noxfile.NOT_RUN


def test_package_lists_are_fetched_once(
    programs: Path, ghost: Path, session: nox.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, uid=0, distribution="ubuntu")
    log = ghost.with_name("log")
    make_program(programs / "apt-get", f'echo "$3" >> {log}')
    noxfile.find_needs(session, ("ghost",))
    noxfile.find_needs(session, ("ghost",))

    assert ["update", "install", "install"] == log.read_text().splitlines()


def test_package_has_another_name_in_an_older_release(
    programs: Path, ghost: Path, session: nox.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, uid=0, distribution="ubuntu")
    need = attrs.evolve(noxfile.NEEDS["ghost"], formerly=("ghost-deb-1.0",))
    monkeypatch.setitem(noxfile.NEEDS, "ghost", need)
    make_program(
        programs / "apt-get", f"for p; do :; done; test $p != ghost-deb-1.0 || >{ghost}"
    )

    assert ("ghost",) == noxfile.find_needs(session, ("ghost",))


@pytest.mark.parametrize(("uid", "distribution"), [(1000, "debian"), (0, "fedora")])
def test_nothing_is_installed_for_others(
    uid: int,
    distribution: str,
    programs: Path,
    ghost: Path,
    session: nox.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, uid=uid, distribution=distribution)
    make_program(programs / "apt-get", f"touch {ghost}")

    assert () == noxfile.find_needs(session, ("ghost",))
    assert ["tests(core)"] == [absence.what for absence in noxfile.NOT_RUN]


def test_absent_need_fails_in_ci(
    programs: Path, ghost: Path, session: nox.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, uid=0, distribution="debian")
    make_program(programs / "apt-get", f"test ! -e {ghost}")
    monkeypatch.setenv("CI", "true")

    with pytest.raises(SystemExit, match="absent: ghost"):
        noxfile.find_needs(session, ("ghost",))


def test_not_run_is_printed_last(tmp_path: Path, programs: Path) -> None:
    make_program(programs / "apt-get", "exit 100")
    done = run_nox(tmp_path, "-s", "haunted", "tests-3.99")

    assert done.stdout.endswith(
        """
============================== NOT RUN ==============================
  haunted: no ghost here; Debian: apt-get install ghost-deb
  tests-3.99: no Python 3.99 runs here (it may be absent: no failure)
=====================================================================
"""
    )
    assert 0 == done.returncode


def test_absent_need_turns_the_whole_run_red_in_ci(
    tmp_path: Path, programs: Path
) -> None:
    make_program(programs / "apt-get", "exit 100")
    done = run_nox(tmp_path, "-s", "haunted", ci=True)

    assert 0 != done.returncode
    assert "haunted: no ghost here" in done.stdout


def test_absent_interpreter_is_no_failure_in_ci(tmp_path: Path) -> None:
    done = run_nox(tmp_path, "-s", "tests-3.99", ci=True)

    assert 0 == done.returncode
    assert "tests-3.99: no Python 3.99 runs here" in done.stdout


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty pyenv."""
    root = tmp_path / "pyenv"
    root.mkdir()
    monkeypatch.setenv("PYENV_ROOT", str(root))
    return root


def test_interpreter_that_fails_does_not_count(programs: Path, pyenv: Path) -> None:
    assert pyenv.is_dir()
    make_program(programs / "python3.99", "exit 127")

    assert noxfile.find_python("3.99") is None


def test_interpreter_behind_one_that_fails_is_found(
    programs: Path, pyenv: Path
) -> None:
    make_program(programs / "python3.99", "exit 127")
    make_program(pyenv / "versions/3.99.1/bin/python", "exit 0")

    assert str(pyenv / "versions/3.99.1/bin/python") == noxfile.find_python("3.99")


def test_interpreter_of_another_version_does_not_count(
    programs: Path, pyenv: Path
) -> None:
    assert pyenv.is_dir()
    make_program(programs / "python3.99", f'exec {sys.executable} "$@"')

    assert noxfile.find_python("3.99") is None


def test_running_interpreter_is_found(programs: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    make_program(programs / f"python{version}", f'exec {sys.executable} "$@"')

    assert str(programs / f"python{version}") == noxfile.find_python(version)


def test_needed_rows_come_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "core": noxfile.Distribution(directory="core"),
        "posix": noxfile.Distribution(directory="posix", local=("core",)),
        "hsm": noxfile.Distribution(directory="hsm", local=("posix",)),
    }
    monkeypatch.setattr(noxfile, "DISTRIBUTIONS", rows)

    assert ["core", "posix", "hsm"] == noxfile.with_local("hsm", "core")
