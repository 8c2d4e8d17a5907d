"""The page that takes a facility to a running server, followed to its end."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deployed import DEPLOY, NGINX, ROOT, Machine
from facility import Facility

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "facility.md").read_text()
_FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF
#: Between what a command printed and the next; no command prints it.
_MARK = "\x1e"


def blocks() -> list[str]:
    return re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    if NGINX is None:
        pytest.skip("no nginx here")
    with Facility(Machine(tmp_path_factory.mktemp("facility"))) as facility:
        yield facility


def follow(facility: Facility, block: str) -> str:
    """
    Run the commands of a block in one shell; return how it differs, if it does.

    Each of them has to end with 0.
    """
    _, *parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    commands, expected = parts[::2], parts[1::2]
    script = "".join(
        f"{command}\n[ $? = 0 ] || exit 1; printf '{_MARK}'\n" for command in commands
    )
    text, code = facility.run(script)
    if code:
        return f"it ends with {code}: {text}"
    *printed, _ = text.split(_MARK)
    checker = doctest.OutputChecker()
    for command, wanted, found in zip(commands, expected, printed, strict=True):
        ended = f"{found.rstrip()}\n" if found.strip() else ""
        if not checker.check_output(wanted, ended, _FLAGS):
            example = doctest.Example(command, wanted)
            return f"$ {command}\n" + checker.output_difference(example, ended, _FLAGS)
    return ""


# One test: each block needs those before it.
def test_who_follows_the_page_has_a_server(facility: Facility) -> None:
    assert len(blocks()) > 10
    for block in blocks():
        assert not follow(facility, block)


def test_the_page_uses_every_unit() -> None:
    units = {path.name for path in DEPLOY.glob("*.timer")}

    assert [] == [name for name in units if name not in PAGE]


def test_everything_of_deploy_is_named_in_the_docs() -> None:
    text = "".join(path.read_text() for path in Path(ROOT, "docs").glob("*.md"))
    unnamed = [
        path.name
        for path in DEPLOY.iterdir()
        if path.name not in text and not path.name.startswith("pacifica-archive")
    ]

    assert [] == unnamed
