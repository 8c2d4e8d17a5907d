from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import click
import generate
import pytest

import pacifica_archive_core
from pacifica_archive_core import load_backend
from pacifica_archive_core.cli.exits import EXITS
from pacifica_archive_core.testing.base import Declarations

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [page for page in generate.pages() if generate.names(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_generated_parts_are_what_the_code_says(page: Path) -> None:
    """On failure run ``python docs/generate.py``."""
    assert generate.written_anew(page) == page.read_text()


def test_every_generated_part_is_in_one_page() -> None:
    used = Counter(name for page in PAGES for name in generate.names(page))

    assert used == dict.fromkeys(generate.BLOCKS, 1)


def test_options_of_every_installed_backend_are_generated() -> None:
    """
    One name of each is enough.

    The example's backend is described where it is taught.
    """
    blocks = {
        load_backend(name): f"options {name}"
        for name in sorted(pacifica_archive_core.backend_names(), reverse=True)
        if name != "zip"
    }

    assert {*blocks.values()} == {
        name for name in generate.BLOCKS if re.match("options (?!that)", name)
    }


def test_every_error_is_in_the_table() -> None:
    rows = {
        name
        for name in pacifica_archive_core.__all__
        if f"`{name}`" in generate.BLOCKS["errors"]()
    }

    assert rows == {
        name
        for name in pacifica_archive_core.__all__
        if isinstance(kind := getattr(pacifica_archive_core, name), type)
        and issubclass(kind, pacifica_archive_core.ArchiveError)
    }


def test_every_ability_is_in_the_table() -> None:
    declared = [
        name
        for name, kind in Declarations.__annotations__.items()
        if kind.startswith("ClassVar[")
    ]

    assert declared == re.findall(
        r"^\| `([a-z_]+)` \|", generate.BLOCKS["abilities"](), re.MULTILINE
    )


def test_every_exit_code_is_in_the_table() -> None:
    table = generate.BLOCKS["exit codes"]()

    assert [entry.code for entry in EXITS] == [
        int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
    ]


def test_every_command_is_described() -> None:
    text = generate.BLOCKS["commands"]()

    assert [name for name, _ in generate.commands()] == re.findall(
        r"^### (.+)$", text, re.MULTILINE
    )


def test_every_option_of_every_command_is_described() -> None:
    text = generate.BLOCKS["commands"]() + generate.BLOCKS["options that select"]()
    options = [
        name
        for _, command in generate.commands()
        for param in command.params
        if isinstance(param, click.Option)
        for name in param.opts
    ]

    assert [] == [
        name for name in options if not re.search(rf"{re.escape(name)}[`, ]", text)
    ]
