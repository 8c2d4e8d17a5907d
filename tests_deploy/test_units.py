"""The units of systemd: what it says of them, and what they start."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from deployed import (
    ALL_SCOPES,
    DEPLOY,
    LIMIT_S,
    free_port,
    run_post_deployment_tests,
    running,
)

if TYPE_CHECKING:
    from pathlib import Path

    from deployed import Machine

UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
_FOLDER = "pacifica-archive.service.d"
DROP_INS = sorted(path.name for path in (DEPLOY / _FOLDER).iterdir())
TIMERS = sorted(path.name for path in DEPLOY.glob("*.timer"))
#: Tenths of the points of exposure that docs/run.md promises to be below.
EXPOSURE = 15


def can_be_offline() -> bool:
    """Whether systemd is of release 250 or later."""
    if shutil.which("systemd-analyze") is None:
        return False
    found = re.match(r"systemd ([0-9]+)", analyze("--version")[1])
    return found is not None and int(found[1]) >= 250


def analyze(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)
needs_offline = pytest.mark.skipif(
    not can_be_offline(), reason="no systemd-analyze that judges files"
)


@needs_systemd
@pytest.mark.parametrize("name", [*UNITS, *TIMERS])
def test_systemd_finds_nothing_wrong(machine: Machine, name: str) -> None:
    paths = {unit: machine.install(unit, f"units/{unit}") for unit in UNITS + TIMERS}

    assert (0, "") == analyze("verify", str(paths[name]))


@needs_systemd
@pytest.mark.parametrize("name", DROP_INS)
def test_systemd_finds_nothing_wrong_with_a_drop_in(
    machine: Machine, name: str
) -> None:
    unit = machine.install("pacifica-archive.service", "u/pacifica-archive.service")
    machine.install(f"{_FOLDER}/{name}", f"u/{_FOLDER}/{name}")

    assert (0, "") == analyze("verify", str(unit))


@needs_offline
@pytest.mark.parametrize("name", UNITS)
def test_units_are_exposed_less_than_promised(name: str) -> None:
    code, said = analyze(
        "security", "--offline=yes", f"--threshold={EXPOSURE}", str(DEPLOY / name)
    )

    assert 0 == code, said


@needs_offline
def test_a_unit_without_its_sandbox_is_exposed_more(tmp_path: Path) -> None:
    """The question above can be answered with no."""
    text = (DEPLOY / UNITS[0]).read_text()
    bare = tmp_path / UNITS[0]
    bare.write_text(text.replace("ProtectSystem=strict\n", ""))

    code, _ = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", str(bare))

    assert 0 != code


def test_the_server_is_stopped_no_earlier_than_it_stops() -> None:
    unit = (DEPLOY / "pacifica-archive.service").read_text()
    (seconds,) = re.findall("^TimeoutStopSec=([0-9]+)$", unit, re.MULTILINE)

    assert int(seconds) > 60


def test_units_differ_in_no_part_of_the_sandbox() -> None:
    """As they are three files, and there is one sandbox."""
    shared = re.compile(
        "^(?:Protect(?!System)|Private|Restrict|System|Lock|Memory|Capab|Dev|NoNew).*",
        re.MULTILINE,
    )
    found = {tuple(shared.findall((DEPLOY / name).read_text())) for name in UNITS}

    assert 1 == len(found)


def test_the_server_of_the_unit_passes_the_tests_after_deployment(
    machine: Machine,
) -> None:
    unit = machine.read_unit(machine.install("pacifica-archive.service", "unit"))
    token = machine.new_token(*ALL_SCOPES)
    port = free_port()
    server = (*unit.command, "--port", str(port))
    with running(server, unit.env, port=port, log=machine.root / "log"):
        said = run_post_deployment_tests(
            f"http://127.0.0.1:{port}", unit.env, ARCHIVE_TOKEN_FILE=str(token)
        )

    assert not said


def test_the_server_of_the_unit_with_tls_passes_them(machine: Machine) -> None:
    certificate = machine.make_certificate()
    unit = machine.read_unit(
        machine.install("pacifica-archive.service", "unit"),
        machine.install("pacifica-archive.service.d/tls.conf", "tls.conf"),
    )
    token = machine.new_token(*ALL_SCOPES)
    port = free_port()
    server = (*unit.command, "--port", str(port), "--address", "127.0.0.1")
    with running(server, unit.env, port=port, log=machine.root / "log"):
        said = run_post_deployment_tests(
            f"https://127.0.0.1:{port}",
            unit.env,
            ARCHIVE_TOKEN_FILE=str(token),
            SSL_CERT_FILE=str(certificate),
        )

    assert not said


def run_once(machine: Machine, name: str) -> int:
    unit = machine.read_unit(machine.install(name, name))
    machine.path("var/lib/pacifica-archive").mkdir(exist_ok=True, parents=True)
    return subprocess.run(
        unit.command, env=unit.env, check=False, timeout=LIMIT_S
    ).returncode


def command(machine: Machine, *arguments: str) -> None:
    subprocess.run(
        [
            machine.path("opt/pacifica-archive/bin/pacifica-archive"),
            *arguments,
            *("--config", machine.path("etc/pacifica-archive/archive.cfg")),
        ],
        env=machine.environment(),
        check=True,
        timeout=LIMIT_S,
    )


@pytest.fixture
def stored(machine: Machine) -> Machine:
    """Have a file stored under 12345, and say so in the list of ids."""
    command(machine, "put", "12345", __file__)
    ids = machine.path("var/lib/pacifica-archive/ids")
    ids.parent.mkdir(parents=True)
    ids.write_text("12345\n")
    return machine


def test_the_unit_verifies_and_keeps_a_journal(stored: Machine) -> None:
    assert 0 == run_once(stored, "pacifica-archive-verify.service")
    assert stored.path("var/lib/pacifica-archive/verify.jsonl").read_bytes()


def test_the_unit_that_verifies_fails_for_a_file_that_differs(stored: Machine) -> None:
    file = stored.path("srv/archive/39/3039")
    file.chmod(0o600)
    file.write_bytes(b"other")

    assert 0 != run_once(stored, "pacifica-archive-verify.service")


def test_the_unit_empties_the_trash_of_what_is_old(stored: Machine) -> None:
    """And not of what was deleted now."""
    command(stored, "delete", "--trash", "12345")

    assert 0 == run_once(stored, "pacifica-archive-trash.service")
    command(stored, "undelete", "12345")
