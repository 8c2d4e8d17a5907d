"""Build the site: ``nox -s docs``; warnings are errors there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Pacifica archive"
author = "The Pacifica archive authors"
copyright = "LGPL-3.0-or-later"  # noqa: A001 (Sphinx's name)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# tests and examples hold Markdown of their own, as pytest's cache does; the tables of
# the benchmark are included by performance.md.
exclude_patterns = [
    "_build",
    ".pytest_cache",
    "examples",
    "tests",
    "performance-table*.md",
]

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# Two hyphens are an option, not a dash.
smartquotes = False

html_theme = "furo"
html_title = "Pacifica archive"

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"

# Every name in the reference is to lead somewhere.
nitpicky = True
nitpick_ignore_regex = [
    # Python's own and the libraries' have their own reference; their inventories are
    # not fetched, so that the site builds without a network.
    (r"py:.*", r"(typing|collections|pathlib|enum|io|types|attrs?|click)\..*"),
    # Names that modules import for type checkers only, and what copy() and
    # load_options() take.
    (
        r"py:class",
        r"Path|Source|Sink|Hasher|Algorithm|Buffer|Configured|TracebackType",
    ),
]


def setup(app: Sphinx) -> None:
    """Let the first line of an attribute's comment be a sentence."""
    app.connect("autodoc-process-docstring", _keep_sentence, priority=400)


def _keep_sentence(
    _app: Sphinx,
    what: str,
    _name: str,
    _obj: object,
    _options: object,
    lines: list[str],
) -> None:
    # Napoleon takes what is before a colon in the first line for the attribute's
    # type; an empty comment has none.
    if what in {"attribute", "property", "data"}:
        lines[:0] = ["..", ""]
