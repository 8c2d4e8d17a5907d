"""The examples' runner sees what is wrong with an example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from runner import EXAMPLES
from sybil.example import SybilFailure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], None]:
    """Return a function that runs one block of console."""

    def run(block: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(f"```console\n{block}\n```\n")
        document = EXAMPLES.parse(page)
        assert EXAMPLES.setup is not None
        assert EXAMPLES.teardown is not None
        EXAMPLES.setup(document.namespace)
        try:
            for example in document.examples():
                example.evaluate()
        finally:
            EXAMPLES.teardown(document.namespace)

    return run


def test_what_is_right_passes(run: Callable[[str], None]) -> None:
    run("$ cat <<END\n> one\n> END\none\n$ false\n$ echo $?\n1\n$ echo a b c\na ... c")


@pytest.mark.parametrize(
    "block",
    ["$ echo one\ntwo", "$ echo one", "$ true\nprinted", "$ false", "$ false\n$ true"],
)
def test_what_is_wrong_fails(run: Callable[[str], None], block: str) -> None:
    with pytest.raises(SybilFailure):
        run(block)


@pytest.mark.parametrize("command", ["ls /srv", "pip list", "echo x > /tmp/x"])
def test_what_leaves_the_directory_is_not_run(
    run: Callable[[str], None], command: str
) -> None:
    with pytest.raises(AssertionError, match="belongs in a block of sh"):
        run(f"$ touch ran\n$ {command}")
