"""The fixtures for other people's tests, in test runs as theirs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from asking import needs_posix

USES_A_SERVER = """\
    from urllib.request import Request, urlopen

    def test_it_stores(pacifica_server):
        put = Request(pacifica_server.url + "/1", data=b"bytes", method="PUT")
        urlopen(put).close()
        with urlopen(pacifica_server.url + "/1") as answer:
            assert b"bytes" == answer.read()
"""


def run(
    folder: Path, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest on a module, with warnings for errors."""
    (folder / "test_theirs.py").write_text(textwrap.dedent(program))
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def ran(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Return the exit code and the last line without the time."""
    return done.returncode, done.stdout.splitlines()[-1].partition(" in ")[0]


def test_a_test_has_a_server(tmp_path: Path) -> None:
    assert (0, "1 passed") == ran(run(tmp_path, USES_A_SERVER))


def test_each_test_has_a_server_of_its_own(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """\
    import urllib.error
    from urllib.request import Request, urlopen

    import pytest

    @pytest.mark.parametrize("n", [1, 2])
    def test_it_is_empty(pacifica_server, n):
        with pytest.raises(urllib.error.HTTPError) as found:
            urlopen(pacifica_server.url + "/1")
        found.value.close()
        put = Request(pacifica_server.url + "/1", data=b"bytes", method="PUT")
        urlopen(put).close()
""",
    )

    assert (0, "2 passed") == ran(done)


def test_the_factory_starts_servers_with_what_it_is_given(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """\
    from urllib.request import Request, urlopen

    def test_they_share_no_files(pacifica_server_factory):
        one = pacifica_server_factory(
            "-t", "memory", env={"PACIFICA_ARCHIVE_MEMORY_CAPACITY": "0"}
        )
        other = pacifica_server_factory("-t", "memory", "-o", "capacity=5")
        assert one.url != other.url
        put = Request(other.url + "/1", data=b"bytes", method="PUT")
        with urlopen(put) as answer:
            assert 201 == answer.status
""",
    )

    assert (0, "1 passed") == ran(done)


def test_servers_end_with_their_test(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """\
    servers = []

    def test_one(pacifica_server_factory):
        servers.append(pacifica_server_factory("-t", "memory"))
        servers.append(pacifica_server_factory("-t", "memory"))
        assert [None, None] == [server.process.poll() for server in servers]

    def test_two():
        assert None not in [server.process.poll() for server in servers]
""",
    )

    assert (0, "2 passed") == ran(done)


def test_a_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """\
    import pytest

    def test_it(pacifica_server_factory):
        with pytest.raises(RuntimeError):
            pacifica_server_factory("-t", "nonesuch")
""",
    )

    assert (0, "1 passed") == ran(done)


def test_the_plugin_may_be_left_out(tmp_path: Path) -> None:
    done = run(tmp_path, USES_A_SERVER, "-p", "no:pacifica_archive_http")

    assert "fixture 'pacifica_server' not found" in done.stdout


def test_a_run_that_uses_no_server_loads_nothing_more(tmp_path: Path) -> None:
    """The plugin is loaded in every run on the machine, and before coverage."""
    done = run(
        tmp_path,
        """\
    import sys

    def test_it():
        ours = {"pacifica_archive_http", "pacifica_archive_http.pytest_plugin"}
        more = ("pacifica_archive", "falcon", "granian", "click", "urllib3")
        assert ours == {name for name in sys.modules if name.startswith(more)}
""",
    )

    assert (0, "1 passed") == ran(done)


@needs_posix
def test_what_the_readme_shows_runs(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    program = next(text for text in examples if "pacifica_server" in text)

    assert (0, "2 passed") == ran(run(tmp_path, program))
