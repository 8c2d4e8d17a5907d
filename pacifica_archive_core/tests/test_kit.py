"""What the test kit does for those who use it."""

from __future__ import annotations

import inspect
import pkgutil
import sys

import pytest

import pacifica_archive_core.testing
from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_core.testing.sabotage import contract_tests

pytest_plugins = ["pytester"]

MODULES = [
    module.name
    for module in pkgutil.iter_modules(pacifica_archive_core.testing.__path__)
]


STRANGER = """
from functools import partial
import pytest
from pacifica_archive_core import MemoryArchive, MemoryOptions
from pacifica_archive_core.testing import ArchiveContract

class TestMine(ArchiveContract):
    {body}
"""
OPENER = """
    @pytest.fixture
    def opener(self):
        return partial(MemoryArchive, MemoryOptions())
"""


def run(pytester: pytest.Pytester, body: str, keyword: str) -> pytest.RunResult:
    """Run tests of the contract as a stranger's module has them."""
    pytester.makepyfile(STRANGER.format(body=body))
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-W", "error", "-ra", "-k", keyword
    )


def test_every_module_of_the_kit_explains_its_asserts() -> None:
    """Else `assert a == b` fails without a word of a and b."""
    plain = {
        name
        for name in MODULES
        if type(
            sys.modules[f"pacifica_archive_core.testing.{name}"].__loader__
        ).__name__
        != "AssertionRewritingHook"
        and "assert "
        in inspect.getsource(sys.modules[f"pacifica_archive_core.testing.{name}"])
    }

    assert set() == plain


def test_names_of_tests_are_their_own() -> None:
    """One theme must not hide the test of another."""
    themes = [theme for theme in ArchiveContract.__mro__[1:] if theme is not object]
    names = [
        name for theme in themes for name in vars(theme) if name.startswith("test_")
    ]

    assert sorted(names) == sorted(contract_tests(ArchiveContract))


def test_every_test_is_a_claim_in_english() -> None:
    short = [name for name in contract_tests(ArchiveContract) if name.count("_") < 3]

    assert [] == short


def test_a_stranger_gives_an_opener_and_has_tests(pytester: pytest.Pytester) -> None:
    found = run(pytester, OPENER, "byte_comes_back")

    found.assert_outcomes(passed=6)


def test_a_stranger_who_gives_no_opener_is_told(pytester: pytest.Pytester) -> None:
    """And does not have a green run of no tests."""
    found = run(pytester, "pass", "byte_comes_back")

    found.assert_outcomes(errors=6)
    found.stdout.fnmatch_lines("*NotImplementedError: give a fixture `opener`")


def test_a_stranger_who_gives_no_medium_is_told(pytester: pytest.Pytester) -> None:
    found = run(pytester, OPENER, "test_what_lies_on_the_medium_is_read")

    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines("*NotImplementedError: give `write_raw`")


def test_a_skip_says_which_ability_is_missing(pytester: pytest.Pytester) -> None:
    found = run(pytester, OPENER, "4_gib or adopt_itself")

    found.assert_outcomes(skipped=3)
    found.stdout.fnmatch_lines(
        [
            "SKIPPED*lacks the ability SupportsAdopt",
            "SKIPPED*lacks the ability 'sparse'",
        ]
    )


def test_a_failure_shows_what_was_found(pytester: pytest.Pytester) -> None:
    """Strangers need not register the kit's modules themselves."""
    body = OPENER + "    def read_raw(self, archive, file_id): return b'nothing'"
    found = run(pytester, body, "holds_exactly and 0")

    found.stdout.fnmatch_lines("E*b'nothing'*")


def test_the_contract_is_not_collected_by_itself(pytester: pytest.Pytester) -> None:
    """Who imports it into a test module does not run it."""
    pytester.makepyfile("from pacifica_archive_core.testing import ArchiveContract")
    found = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    assert pytest.ExitCode.NO_TESTS_COLLECTED == found.ret
