"""The post-deployment tests pass against a server that is fine, and clean up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asking import needs_posix

from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from pacifica_archive_http.testing import LiveServer

TESTS = Path(__file__).parents[1] / "post_deployment_tests"


def _run(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)],
        env={**os.environ, "MANY_FILES_TEST_COUNT": "50", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_they_pass_against_the_server_of_the_other_tests(granian: LiveServer) -> None:
    done = _run(ARCHIVE_URL=granian.url, LARGE_FILE_SIZE=str(5_000_001))

    assert (0, "") == (done.returncode, done.stdout[-5000:] * bool(done.returncode))


@needs_posix
def test_they_move_a_file_and_leave_nothing(tmp_path: Path) -> None:
    source = tmp_path / "uploaded"
    source.write_bytes(b"bytes")
    with running_server("-t", "posix", "--prefix", str(tmp_path)) as server:
        done = _run(
            ARCHIVE_URL=f"{server.url}/",
            ARCHIVE_MOVE_SOURCE=str(source),
            LARGE_FILE_SIZE="1000",
        )

    assert (0, "") == (done.returncode, done.stdout[-5000:] * bool(done.returncode))
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_they_wait_where_there_are_few_places() -> None:
    with running_server("-t", "memory", "--client-transfers", "2") as server:
        done = _run(
            ARCHIVE_URL=server.url, LARGE_FILE_SIZE="1000", MANY_FILES_TEST_COUNT="12"
        )

    assert (0, "") == (done.returncode, done.stdout[-5000:] * bool(done.returncode))


def test_they_fail_against_a_server_that_is_none() -> None:
    assert _run(ARCHIVE_URL="http://127.0.0.1:1").returncode == 1


def test_they_want_to_know_the_server() -> None:
    done = _run(ARCHIVE_URL="")

    assert 4 == done.returncode
    assert "ARCHIVE_URL" in done.stdout + done.stderr
