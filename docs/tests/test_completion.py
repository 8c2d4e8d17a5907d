"""The line that the documentation has for ``~/.bashrc``, in a bash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import generate
import pytest

#: What bash does when the tab key is pressed: it calls the function that
#: ``complete`` has set for the command, and offers what is in COMPREPLY.
PRESS_TAB = """
read -r -a COMP_WORDS <<< "$LINE"
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
[[ $(complete -p pacifica-archive) =~ -F\\ ([^\\ ]+) ]]
"${BASH_REMATCH[1]}" pacifica-archive
printf '%s\\n' "${COMPREPLY[@]}"
"""


def find_line() -> str:
    """Return the line of the page."""
    page = (generate.DOCS / "install.md").read_text()
    (block,) = re.findall(r"## Shell completion\n.*?```sh\n(.*?)```", page, re.DOTALL)
    return str(block)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pacifica-archive st", ["status", "stage"]),
        ("pacifica-archive ser", ["serve"]),
        ("pacifica-archive serve --wr", ["--write-once"]),
        ("pacifica-archive put -t pos", ["posix"]),
    ],
)
def test_bash_offers_what_the_command_knows(line: str, expected: list[str]) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{find_line()}{PRESS_TAB}"],
        env={
            **os.environ,
            "LINE": line,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert (expected, "") == (done.stdout.splitlines(), done.stderr)
