"""Exit codes and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core import ArchiveError, NoSuchFile, errors
from pacifica_archive_core.cli.exits import EXITS, complain, exit_code

if TYPE_CHECKING:
    from cli_site import Site

pytest_plugins = ("cli_site",)

#: Error to exit code: what scripts rely on.
CODES = {
    "InvalidFileId": 2,
    "NoSuchFile": 3,
    "FileExists": 4,
    "FileOffline": 5,
    "ArchiveUnavailable": 6,
    "ArchiveFull": 7,
    "AccessDenied": 8,
    "FileDamaged": 9,
    "IncompleteWrite": 10,
    "DigestMismatch": 10,
    "CommitUnclear": 11,
    "SourceRefused": 12,
    "NotSupported": 13,
    "ConfigError": 14,
    "BackendError": 14,
    "UnknownBackend": 14,
    "AmbiguousBackend": 14,
    "BackendLoadError": 14,
}
#: What is the base of others has the code of "failed in another way".
BASES = {"ArchiveError": 1, "FileError": 1}


def test_every_error_has_an_exit_code() -> None:
    assert set(errors.__all__) == {*CODES, *BASES}


@pytest.mark.parametrize(("name", "code"), [*CODES.items(), *BASES.items()])
def test_an_error_has_its_exit_code(name: str, code: int) -> None:
    kind: type[ArchiveError] = getattr(errors, name)

    assert code == exit_code(kind(5))


def test_the_exit_code_of_a_subclass_is_that_of_its_base() -> None:
    class Shredded(NoSuchFile):
        pass

    assert 3 == exit_code(Shredded(5))


def test_exit_codes_are_numbered_without_a_gap() -> None:
    assert [*range(len(EXITS))] == [entry.code for entry in EXITS]


def test_the_help_has_every_exit_code(site: Site) -> None:
    output = site.run_bare("--help").output

    table = output.partition("Exit codes:\n")[2]
    expected = [f"{entry.code} {entry.meaning}" for entry in EXITS]
    assert expected == [" ".join(line.split()) for line in table.splitlines()[:-1]]


@pytest.mark.parametrize("name", sorted({*CODES} - {"InvalidFileId"}))
def test_a_command_ends_with_the_code_of_its_error(site: Site, name: str) -> None:
    result = site.run("get", "-o", f"fail={name}", "5", "-")

    assert CODES[name] == result.exit_code


@pytest.mark.parametrize("name", sorted(CODES))
def test_an_error_is_one_line_on_stderr(site: Site, name: str) -> None:
    result = site.run("get", "-o", f"fail={name}", "5", "-")

    lines = result.stderr.splitlines()
    assert (1, True) == (len(lines), lines[0].startswith("pacifica-archive: "))


def test_debug_shows_where_an_error_comes_from(site: Site) -> None:
    result = site.run("--debug", "get", "-o", "fail=ArchiveFull", "5", "-")

    assert "OSError: what lies behind it\n\nThe above" in result.stderr


def test_failures_of_one_kind_end_with_its_code(site: Site) -> None:
    result = site.run("get", "5", "-", "6", "-")

    assert 3 == result.exit_code


def test_failures_of_different_kinds_end_with_1(site: Site) -> None:
    site.store(5, b"x").with_suffix(".tape").touch()

    result = site.run("get", "5", "-", "6", "-")

    assert 1 == result.exit_code


@pytest.mark.parametrize("name", ["ArchiveUnavailable", "ArchiveFull"])
def test_what_fails_the_store_ends_the_command_at_once(site: Site, name: str) -> None:
    result = site.run("delete", "-o", f"fail={name}", "5", "6", "7")

    assert "pacifica-archive: as told\n" == result.stderr


@pytest.mark.parametrize("name", ["AccessDenied", "NotSupported", "FileDamaged"])
def test_what_fails_a_file_does_not_stop_the_others(site: Site, name: str) -> None:
    result = site.run("delete", "-o", f"fail={name}", "5", "6", "7")

    assert 3 == len(result.stderr.splitlines())


def test_a_message_of_many_lines_becomes_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    complain("one\ntwo")

    assert "pacifica-archive: one two\n" == capsys.readouterr().err
