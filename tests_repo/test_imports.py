"""What a distribution imports is what it says that it depends on."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import noxfile
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = noxfile.DISTRIBUTIONS
#: Those that are imported by another name than they are installed by.
IMPORTED_AS = {"pyjwt": "jwt"}


def read_imports(node: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported when the code runs."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module or ""
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from read_imports(statement)
    else:
        for child in ast.iter_child_nodes(node):
            yield from read_imports(child)


def find_imported(source: Path) -> set[str]:
    modules = {
        name.partition(".")[0]
        for path in source.rglob("*.py")
        for name in read_imports(ast.parse(path.read_text()))
    }
    return {
        name.lower().replace("_", "-") for name in modules - sys.stdlib_module_names
    }


@pytest.mark.parametrize("name", ROWS)
def test_what_is_imported_is_a_dependency(name: str) -> None:
    """Extras count: what needs one is imported by who installed it."""
    root = noxfile.ROOT / ROWS[name].directory
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    named = {
        match[0].lower().replace("_", "-")
        for text in (
            *project["dependencies"],
            *(text for each in extras for text in each),
        )
        if (match := re.match(r"[A-Za-z0-9._-]+", text))
    }
    named = {IMPORTED_AS.get(each, each) for each in named}

    assert set() == find_imported(root / "src") - named - {project["name"]}
