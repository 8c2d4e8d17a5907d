"""
How the examples of the documentation are run.

A block of ``python`` is run. So is one of ``console``: a line that begins with ``$`` is
a command of bash, which goes on in lines that begin with ``>``. What follows is what
it prints, where an ellipsis stands for anything, as in doctest. A command that fails
is followed by ``$ echo $?``.
A block of ``sh`` is shown only: it installs, or needs a site's own things.

The examples of a page share one empty directory. Where they speak of a server
on 127.0.0.1:8080 there is one, on another port; the one on 127.0.0.1:8081 serves
``/archive`` of the HPSS simulator whose state is in the directory ``hpss``; the one on
127.0.0.1:8082 serves what ``site.cfg`` of the page says, and beside it runs the double
of Oracle HSM that the page has made a command of. The one on 127.0.0.1:8083 asks for
the tokens of the page's file ``tokens``.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from pacifica_archive_core.filesystem import PacificaFileSystem
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sybil import Example

__all__ = ["COMPANIONS", "EXAMPLES", "SERVERS", "Place"]

#: What the examples call a server, and what it is started with.
SERVERS = {
    "127.0.0.1:8080": ("--prefix", "archive"),
    "127.0.0.1:8081": ("-t", "hpss", "--prefix", "/archive", "-o", "auth=keytab"),
    "127.0.0.1:8082": ("-t", "hmssideband", "-c", "site.cfg"),
    "127.0.0.1:8083": ("--prefix", "archive", "--tokens", "tokens"),
}
#: What is started before it, and says a line when it is ready.
COMPANIONS = {"127.0.0.1:8082": ("./double", "run", "--lag", "1")}
_LIMIT_S = 60
_FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF
#: Whoever reads an example may do this; a test keeps to its own directory.
_FORBIDDEN = re.compile(
    r"(?<!\.)\b(?:apt-get|nox|pip|sudo)\b|(?<![\w.:/])/(?:etc|home|opt|root|srv|tmp|usr|var)\b"
)
#: Without these an example is not run; nox installs them.
_TOOLS = ("curl", "openssl")
#: What an example may take as set, and its servers too.
_OWN = {"PACIFICA_HPSS_SIM": "hpss"}
#: Between what a command printed and its exit code; no command prints it.
_MARK = "\x1e"


class Place:
    """
    The directory of one page's examples, and its servers once they are asked.

    Args:
        variables: added to the environment of the examples and their servers.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._env = {**_environment(), **(variables or {})}
        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        self.path = Path(folder)
        (self.path / "archive").mkdir()
        self._stack.enter_context(contextlib.chdir(folder))
        self._servers: dict[str, str] = {}

    def close(self) -> None:
        """Stop the servers and remove the directory."""
        # They would be kept for the next page, which has another "archive".
        PacificaFileSystem.clear_instance_cache()
        self._stack.close()

    def server(self, name: str) -> str:
        """Start a server unless it runs; return its host and port."""
        if name not in self._servers:
            if command := COMPANIONS.get(name):
                self._stack.enter_context(_running(command, self._env))
            arguments = (*SERVERS[name], "--workers", "1")
            running = running_server(*arguments, env=self._env)
            server = self._stack.enter_context(running)
            self._servers[name] = server.url.removeprefix("http://")
        return self._servers[name]

    def run(self, commands: list[str]) -> list[tuple[str, int]]:
        """Return what each command prints, on stderr too, and its exit code."""
        script = "".join(
            f'{command}\n__code=$?; printf "{_MARK}$__code{_MARK}"; (exit $__code)\n'
            for command in commands
        )
        for name in SERVERS:
            if name in script:
                script = script.replace(name, self.server(name))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.path,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=_LIMIT_S,
        )
        printed = done.stdout
        for name, address in self._servers.items():
            printed = printed.replace(address, name)
        parts = printed.split(_MARK)
        if len(parts) != 2 * len(commands) + 1:
            raise AssertionError(f"bash did not come to the end: {printed}")
        return list(zip(parts[:-1:2], map(int, parts[1::2]), strict=True))


@contextlib.contextmanager
def _running(command: tuple[str, ...], env: Mapping[str, str]) -> Iterator[None]:
    """Run a program for a with-block, from the moment when it says to be ready."""
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if not select.select([process.stdout], [], [], _LIMIT_S)[0]:
                raise TimeoutError(f"{command[0]} is not ready")
            if not process.stdout.readline():
                raise RuntimeError(f"{command[0]} has ended")
            yield
        finally:
            process.terminate()
            try:
                process.wait(_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _environment() -> dict[str, str]:
    """Return an environment in which our own programs are found and nothing set."""
    own = ("PACIFICA_ARCHIVE_", "PAI_", "ARCHIVEI")
    return {
        **{key: text for key, text in os.environ.items() if not key.startswith(own)},
        **_OWN,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "80",
    }


def _evaluate_console(example: Example) -> str | None:
    commands, expected = _parse(str(example.parsed))
    for command in commands:
        if found := _FORBIDDEN.search(command):
            raise AssertionError(f"{found[0]} belongs in a block of sh: {command}")
    for tool in _TOOLS:
        if any(tool in command for command in commands) and not shutil.which(tool):
            raise SkipTest(f"no {tool} here")
    results = example.namespace["place"].run(commands)
    checker = doctest.OutputChecker()
    for number, (raw, code) in enumerate(results):
        command = commands[number]
        # HTTP has its own ends of lines, and JSON none at its end.
        printed = _text(raw.replace("\r\n", "\n"))
        if not checker.check_output(expected[number], printed, _FLAGS):
            wanted = doctest.Example(command, expected[number])
            return f"{command}\n{checker.output_difference(wanted, printed, _FLAGS)}"
        follower = commands[number + 1 : number + 2]
        if code and follower != ["echo $?"]:
            return f"{command}\nended with {code}: {printed}"
    return None


def _parse(text: str) -> tuple[list[str], list[str]]:
    """Split a block into its commands and what each of them prints."""
    pattern = re.compile(r"^\$ (.*\n(?:> .*\n)*)", re.MULTILINE)
    before, *parts = pattern.split(f"{text.rstrip()}\n")
    if before.strip():
        raise AssertionError(f"a block begins with a command: {text}")
    commands = [re.sub("^> ", "", part, flags=re.MULTILINE) for part in parts[::2]]
    return [command.rstrip() for command in commands], [_text(p) for p in parts[1::2]]


def _text(printed: str) -> str:
    return f"{printed.rstrip()}\n" if printed.strip() else ""


def _begin(namespace: dict[str, Any]) -> None:
    namespace["place"] = Place()


def _end(namespace: dict[str, Any]) -> None:
    namespace["place"].close()


EXAMPLES = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("console", _evaluate_console),
    ],
    pattern="*.md",
    path=str(Path(__file__).parents[1]),
    # The page of a whole machine is followed by tests_deploy/.
    excludes=["examples/**", "_build/**", "facility.md"],
    setup=_begin,
    teardown=_end,
)
