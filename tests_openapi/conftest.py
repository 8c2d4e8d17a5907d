from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seconds",
        type=int,
        default=15,
        help="time that each server is tried for (default: %(default)s)",
    )


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> int:
    found: int = request.config.getoption("--seconds")
    return found
