"""
What ``/openapi.json`` says is so: schemathesis makes requests of it, right and wrong.

What it takes for right beyond its defaults is in ``schemathesis.toml``, with reasons.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
#: The scopes that a token may have.
ALL = ("read", "write", "stage", "move", "delete", "status")


def make_token(file: Path, *scopes: str) -> str:
    command = [sys.executable, "-m", "pacifica_archive_core", "token", "new", "tester"]
    options = [f"--scope={scope}" for scope in scopes]
    return subprocess.run(
        [*command, "--file", str(file), *options],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()


@pytest.fixture
def posix(tmp_path: Path) -> list[str]:
    prefix = tmp_path / "archive"
    prefix.mkdir()
    return ["-t", "posix", "--prefix", str(prefix), "-o", "durable=false"]


@pytest.fixture
def run(tmp_path: Path, seconds: int) -> Callable[..., tuple[int, str]]:
    """Return what has schemathesis try a server, and its exit code and words."""

    def run(*serve: str, token: str | None = None) -> tuple[int, str]:
        header = [] if token is None else ["-H", f"Authorization: Bearer {token}"]
        with running_server(*serve, "--log-file", str(tmp_path / "log")) as server:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "schemathesis.cli", "run", *header),
                    *(f"{server.url}/openapi.json", "--checks=all", "--no-color"),
                    *("--seed=6", f"--max-time={seconds}", "--continue-on-failure"),
                ],
                check=False,
                # Where its settings are; it keeps what it learns in the directory.
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONPATH": str(HERE),
                    "SCHEMATHESIS_HOOKS": "hooks",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return done.returncode, done.stdout

    (tmp_path / "schemathesis.toml").write_bytes(
        (HERE / "schemathesis.toml").read_bytes()
    )
    return run


def test_memory(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run("-t", "memory")

    assert code == 0, said


def test_posix(run: Callable[..., tuple[int, str]], posix: list[str]) -> None:
    code, said = run(*posix)

    assert code == 0, said


@pytest.mark.parametrize("scopes", [ALL, ("read",)], ids=["all", "read"])
def test_tokens(
    run: Callable[..., tuple[int, str]],
    posix: list[str],
    tmp_path: Path,
    scopes: tuple[str, ...],
) -> None:
    tokens = tmp_path / "tokens.json"
    token = make_token(tokens, *scopes)
    code, said = run(*posix, "--tokens", str(tokens), token=token)

    assert code == 0, said
