"""How long to go on: little in CI, as long as one likes by ``nox -s fuzz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mix-seconds", type=float, default=60.0)
    parser.addoption("--fuzz-seconds", type=float, default=None)
