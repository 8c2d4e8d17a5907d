from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from pacifica_archive_core import errors
from pacifica_archive_core.errors import ArchiveError, FileError, InvalidFileId


def drawn_tree() -> dict[str, str]:
    """Return class and base, of the tree in the docstring of the module."""
    assert errors.__doc__ is not None
    bases: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.split("::\n", 1)[1].splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            bases[match[2]] = above[depth - 1] if depth else "Exception"
    return bases


CLASSES = [
    found
    for found in vars(errors).values()
    if inspect.isclass(found) and found.__module__ == errors.__name__
]
FILE_ERRORS = [found for found in CLASSES if issubclass(found, FileError)]


def test_the_drawn_tree_is_the_tree() -> None:
    assert {found.__name__: found.__bases__[0].__name__ for found in CLASSES} == (
        drawn_tree()
    )


def test_every_error_is_exported() -> None:
    assert sorted(found.__name__ for found in CLASSES) == sorted(errors.__all__)


def test_an_invalid_id_is_a_value_error() -> None:
    """As Python's own functions raise, for callers who know nothing of this."""
    assert issubclass(InvalidFileId, ValueError)


def test_an_id_that_python_does_not_write_has_a_message() -> None:
    """Above 4300 digits `repr` of an int raises ValueError."""
    assert InvalidFileId.default_reason in str(InvalidFileId(10**5000))


@pytest.mark.parametrize("error", FILE_ERRORS)
@pytest.mark.parametrize("reason", [None, "because"])
def test_a_file_error_crosses_processes(
    error: type[FileError], reason: str | None
) -> None:
    before = error(12345, reason)
    after = pickle.loads(pickle.dumps(before))  # noqa: S301 (its own)

    assert (error, 12345, str(before), before.reason) == (
        type(after),
        after.file_id,
        str(after),
        after.reason,
    )


@pytest.mark.parametrize("error", FILE_ERRORS)
def test_a_file_error_can_be_copied(error: type[FileError]) -> None:
    assert 12345 == copy.copy(error(12345)).file_id


@pytest.mark.parametrize(
    "error", [found for found in CLASSES if found not in FILE_ERRORS]
)
def test_an_error_of_no_file_crosses_processes(error: type[ArchiveError]) -> None:
    after = pickle.loads(pickle.dumps(error("because")))  # noqa: S301 (its own)

    assert (error, "because") == (type(after), str(after))


@pytest.mark.parametrize("error", FILE_ERRORS)
def test_a_file_error_says_its_id_and_its_own_reason(error: type[FileError]) -> None:
    assert f"file 12345: {error.default_reason}" == str(error(12345))


def test_a_file_error_says_the_reason_given() -> None:
    assert "file 1: no more" == str(FileError(1, "no more"))


@pytest.mark.parametrize("error", FILE_ERRORS)
def test_a_reason_is_a_lower_case_clause(error: type[FileError]) -> None:
    reason = error.default_reason

    assert (True, False) == (reason[0].islower(), reason.endswith("."))


def test_a_file_error_does_not_repeat_a_huge_id() -> None:
    """What is no id may be a megabyte of what a client sent."""
    assert len(str(InvalidFileId("x" * 10**6))) < 200


def test_reasons_differ() -> None:
    reasons = [error.default_reason for error in FILE_ERRORS]

    assert len(reasons) == len(set(reasons))
