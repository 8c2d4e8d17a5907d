"""The first command of the README: what it prints to try, and its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import noxfile
import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Nox makes an environment first.
LIMIT_S = 300

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="lacks curl")


@attrs.frozen(kw_only=True)
class Served:
    """What came of ``nox -s serve``: all is over."""

    prefix: Path
    port: int
    printed: str
    tried: list[subprocess.CompletedProcess[bytes]]
    left: set[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    home = tmp_path_factory.mktemp("served")
    prefix = home / "archive"
    # An error of the server is to be one of curl.
    (home / ".curlrc").write_text("fail\nsilent\nshow-error\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    options = ("-p", str(port), "--prefix", str(prefix))
    with subprocess.Popen(
        [sys.executable, "-m", "nox", "-s", "serve", "--", *options],
        cwd=noxfile.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed = read_until(process, "serving at")
            tried = [
                try_line(line, home)
                for line in re.findall(
                    r"^  ((?:curl|\S+/bin/\S+) .*)$", printed, re.MULTILINE
                )
            ]
            # Ctrl-C, which every process of a terminal hears.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    left = {path.name for path in prefix.iterdir()}
    return Served(prefix=prefix, port=port, printed=printed, tried=tried, left=left)


def read_until(process: subprocess.Popen[str], beginning: str) -> str:
    printed = ""
    assert process.stdout is not None
    for line in process.stdout:
        printed += line
        if line.startswith(beginning):
            return printed
    raise AssertionError(f"it ended: {printed}")


def try_line(line: str, home: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=noxfile.ROOT,
        env={**os.environ, "CURL_HOME": str(home)},
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_each_line_to_try_is_answered_well(served: Served) -> None:
    assert [(0, b"")] * 7 == [(done.returncode, done.stderr) for done in served.tried]


def test_what_was_stored_comes_back(served: Served) -> None:
    stored = (noxfile.ROOT / "README.md").read_bytes()

    assert [stored] * 2 == [served.tried[number].stdout for number in (1, 5)]


def test_the_file_is_described_in_both_ways(served: Served) -> None:
    statuses = [done.stdout.split()[1] for done in served.tried[2:4]]

    assert [b"200", b"204"] == statuses


def test_the_archive_is_where_it_is_said_to_be(served: Served) -> None:
    assert f"The archive is {served.prefix}," in served.printed
    assert {".incoming", ".pacifica-archive.json"} == served.left


def test_ctrl_c_leaves_nobody_who_serves(served: Served) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port))
