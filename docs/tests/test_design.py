"""The page about the design names what is there."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING, Any

import generate
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = generate.DOCS.parent
DESIGN = (generate.DOCS / "design.md").read_text()
#: Directory and entries of each tree.
TREES = re.findall(r"^```text\n(\S+/)\n((?:  .*\n)+)```", DESIGN, re.MULTILINE)
#: What noxfile.py installs beside what the distributions ask for.
_INSTALLED = {"DOCS_REQUIREMENTS", "FORMATS", "HADOLINT", "MYPY", "OPENAPI", "RUFF"}


def is_named(path: Path) -> bool:
    """Whether a tree has to name it."""
    if path.is_dir():
        return (path / "__init__.py").exists()
    return path.suffix == ".py" and not path.stem.startswith("__")


@pytest.mark.parametrize(("directory", "entries"), TREES)
def test_a_tree_has_every_module(directory: str, entries: str) -> None:
    there = [
        path.name + "/" * path.is_dir()
        for path in (ROOT / directory).iterdir()
        if is_named(path)
    ]

    assert sorted(there) == sorted(line.split()[0] for line in entries.splitlines())


def requirements(value: Any) -> Iterator[str]:  # noqa: ANN401 (of TOML)
    """Yield each text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from requirements(each)
    else:
        for each in value:
            yield from requirements(each)


def required() -> Iterator[str]:
    """Yield what the distributions, their tests and the sessions ask for."""
    for path in ROOT.glob("pacifica_archive_*/pyproject.toml"):
        document = tomllib.loads(path.read_text())
        yield from requirements(document["build-system"]["requires"])
        yield from requirements(document["project"]["dependencies"])
        yield from requirements(document["project"].get("optional-dependencies", {}))
        yield from requirements(document.get("dependency-groups", {}))
    for node in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in _INSTALLED:
            yield from requirements(ast.literal_eval(node.value))


def test_each_dependency_has_its_reason() -> None:
    table = DESIGN.split("\n## Dependencies\n")[1].split("\n## ")[0]
    named = {
        name.lower()
        for first in re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)
        for name in first.split(", ")
    }
    asked = {re.split(r"[^\w.-]", text)[0].lower() for text in required()}
    ours = {name for name in asked if name.startswith("pacifica-archive-")}

    assert [] == sorted(asked - named - ours)
