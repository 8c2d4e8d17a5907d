"""No test of the contract is unable to fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_core.testing.sabotage import contract_tests, pinned, run

MODULES = sorted(Path(__file__).parent.glob("sabotaged_*.py"))
PINNED = [
    pair for module in MODULES for pair in pinned(vars(import_module(module.stem)))
]


@pytest.fixture(scope="module")
def caught() -> dict[tuple[str, str], list[str]]:
    """Run every pinned test on its broken archive, the modules two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return {
            key: why for found in pool.map(run, MODULES) for key, why in found.items()
        }


@pytest.mark.parametrize(("archive", "test"), PINNED)
def test_a_broken_archive_is_caught(
    archive: str, test: str, caught: dict[tuple[str, str], list[str]]
) -> None:
    assert (archive, test) in caught


def test_every_test_of_the_contract_has_caught_something(
    caught: dict[tuple[str, str], list[str]],
) -> None:
    assert contract_tests(ArchiveContract) == {test for _, test in caught}


def test_every_broken_archive_is_its_own() -> None:
    """Two of one name would stand for each other in what was caught."""
    names = [
        name
        for module in MODULES
        for name in vars(import_module(module.stem))
        if name.startswith("Test")
    ]

    assert len(names) == len(set(names))
