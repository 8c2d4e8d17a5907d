from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import generate
import pytest
from click.testing import CliRunner
from runner import EXAMPLES

import pacifica_archive_core
from pacifica_archive_core.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sybil import Document

ROOT = generate.DOCS.parent
#: Those outside of docs/; those within are collected as they are.
READMES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("pacifica_archive_*/README.md")),
    *sorted(ROOT.glob("docs/examples/*/README.md")),
]
TEXTS = [*generate.pages(), ROOT / "CONTRIBUTING.md", *READMES]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def document(request: pytest.FixtureRequest) -> Iterator[Document]:
    document = EXAMPLES.parse(request.param)
    assert EXAMPLES.setup is not None
    assert EXAMPLES.teardown is not None
    EXAMPLES.setup(document.namespace)
    yield document
    EXAMPLES.teardown(document.namespace)


@pytest.mark.parametrize("document", READMES, ids=named, indirect=True)
def test_examples_of_the_readmes_run(document: Document) -> None:
    examples = list(document.examples())
    for example in examples:
        example.evaluate()

    assert examples


def test_every_public_name_is_in_the_reference() -> None:
    text = (generate.DOCS / "python.md").read_text()
    found = re.findall(r"^\.\. auto[a-z]+:: (\w+)$", text, re.MULTILINE)

    assert sorted(pacifica_archive_core.__all__) == sorted(found)


def shown_commands() -> list[str]:
    """Return our own commands in the blocks that are shown and not run."""
    blocks = [
        block
        for path in TEXTS
        for block in re.findall(
            r"^ *```sh\n(.*?)```", path.read_text(), re.MULTILINE | re.DOTALL
        )
    ]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("pacifica-")]


@pytest.mark.parametrize("command", shown_commands())
def test_shown_commands_can_be_parsed(command: str) -> None:
    """An option that is not there is complained of before help is given."""
    words = shlex.split(command, comments=True)[1:]
    result = CliRunner().invoke(main, [*words, "--help"])

    assert (0, "Usage:") == (result.exit_code, result.output[:6])


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_links_lead_to_something(path: Path) -> None:
    """Sphinx checks the pages' links to each other; GitHub's readers need these."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())

    assert [] == [link for link in links if not (path.parent / link).exists()]


@pytest.mark.parametrize(
    "spelling",
    [
        # Commands and their options, the WSGI application.
        "pacifica-archiveinterface",
        "pacifica-archiveinterface-cmd delete",
        "python -m pacifica.archiveinterface",
        "python -m pacifica.archiveinterface.id2filename",
        "pacifica.archiveinterface.wsgi:application",
        *("--cherrypy-config", "--config", "--port", "--address", "--type"),
        *("--prefix", "--stop-after-a-moment"),
        # The environment and the default files.
        *("ARCHIVEINTERFACE_CONFIG", "ARCHIVEINTERFACE_CPCONFIG"),
        *("PAI_BACKEND_TYPE", "PAI_PREFIX"),
        "~/.pacifica-archiveinterface/config.ini",
        # The INI file.
        *("[posix]", "use_id2filename"),
        *("[hpss]", "user", "auth", "sitename", "accept_latency"),
        *("[hsm_sideband]", "sam_qfs_prefix", "schema", "host", "password", "port"),
    ],
)
def test_every_spelling_of_the_old_release_has_its_new_one(spelling: str) -> None:
    """In the first column: what its two scripts and four modules read."""
    rows = (generate.DOCS / "coming-from-0.4.2.md").read_text().splitlines()
    old = [row.split("|")[1] for row in rows if row.startswith("| ")]

    assert any(re.search(rf"[`(]{re.escape(spelling)}[`) ]", cell) for cell in old)
