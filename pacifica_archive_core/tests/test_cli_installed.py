"""The commands check, backends, options, id2filename and filename2id."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli_site import Site

pytest_plugins = ("cli_site",)


def test_check_says_what_it_checked(site: Site) -> None:
    Path("config.cfg").touch()

    result = site.run("check", "-o", "password=geheim")

    expected = f"""\
backend: directory (stranger 1.2)
remark: a toy
configuration: config.cfg
option: prefix = {site.prefix}
option: fail = none
option: loud = false
option: pause_fds = none
option: flips = 0
option: extra = []
ok
"""
    assert (0, expected) == (result.exit_code, result.output)


def test_check_of_an_archive_that_fails_is_not_ok(site: Site) -> None:
    result = site.run("check", "-o", "fail=ArchiveUnavailable")

    assert (6, "pacifica-archive: as told\n", False) == (
        result.exit_code,
        result.stderr,
        "ok" in result.stdout,
    )


def test_check_passes_the_warnings_of_the_backend_on(site: Site) -> None:
    result = site.run("check", "-o", "loud=yes")

    assert "pacifica-archive: this is loud\n" == result.stderr


def test_check_reads_the_configuration(site: Site) -> None:
    Path("site.ini").write_text("[directory]\nloud = maybe\n")

    result = site.run("check", "-c", "site.ini")

    expected = (
        "pacifica-archive: option 'loud' of a_directory is 'maybe':"
        " allowed are true, yes, on, 1, false, no, off, 0\n"
    )
    assert (14, expected) == (result.exit_code, result.stderr)


def test_check_of_a_missing_option_names_it(site: Site) -> None:
    result = site.run_bare("check", "-t", "directory")

    expected = "a_directory needs the option 'prefix': where the files are"
    assert (14, f"pacifica-archive: {expected}\n") == (result.exit_code, result.stderr)


def test_an_unknown_backend_is_answered_with_those_installed(site: Site) -> None:
    result = site.run_bare("check", "-t", "papyrus")

    assert (14, True) == (result.exit_code, "installed are broken, " in result.stderr)


def test_backends_lists_each_with_its_state(site: Site) -> None:
    result = site.run_bare("backends")

    rows = [line.split(maxsplit=3) for line in result.output.splitlines()]
    # What is installed where the tests run, such as posix, is there too.
    strangers = [row for row in rows if row[2] in {"stranger", "other"}]
    missing = "ModuleNotFoundError: No module named 'cli_backend_that_is_not_there'"
    twice = "backend 'twice' is offered by other, stranger: uninstall all but one"
    assert [
        ["broken", "1.2", "stranger", f"broken: {missing}"],
        ["directory", "1.2", "stranger", "ok: a toy"],
        ["twice", "3.4", "other", f"broken: {twice}"],
        ["twice", "1.2", "stranger", f"broken: {twice}"],
    ] == strangers


def test_backends_lists_cores_own(site: Site) -> None:
    result = site.run_bare("backends")

    rows = [line.split() for line in result.output.splitlines()]
    own = version("pacifica-archive-core")
    assert ["memory", own, "pacifica-archive-core", "ok"] in rows


def test_backends_are_aligned(site: Site) -> None:
    result = site.run_bare("backends")

    states = {
        line.index("STATE" if line.startswith("NAME") else line.split()[3])
        for line in result.output.splitlines()
        if not line.startswith("broken")
    }
    assert 1 == len(states)


def test_options_describes_every_way_to_set_each(site: Site) -> None:
    result = site.run_bare("options", "directory")

    expected = """\
prefix (required)
    where the files are
    command line: -o prefix=VALUE or --prefix VALUE
    environment:  PACIFICA_ARCHIVE_ADIRECTORY_PREFIX, PAI_PREFIX
    INI file:     [a_directory] or [directory] prefix
fail (default: none)
    the error that everything raises
    command line: -o fail=VALUE
    environment:  PACIFICA_ARCHIVE_ADIRECTORY_FAIL
    INI file:     [a_directory] or [directory] fail
loud (default: false)
    log a warning
    command line: -o loud=VALUE
    environment:  PACIFICA_ARCHIVE_ADIRECTORY_LOUD
    INI file:     [a_directory] or [directory] loud, noisy
"""
    assert result.output.startswith(expected)


def test_options_marks_a_secret_and_says_that_a_file_may_hold_it(site: Site) -> None:
    result = site.run_bare("options", "directory")

    expected = """\
password (default: none, secret)
    opens nothing
    command line: -o password=VALUE
    environment:  PACIFICA_ARCHIVE_ADIRECTORY_PASSWORD
    INI file:     [a_directory] or [directory] password
    command line: -o password_file=FILE
    environment:  PACIFICA_ARCHIVE_ADIRECTORY_PASSWORD_FILE
    INI file:     [a_directory] or [directory] password_file
"""
    assert expected in result.output


def test_options_says_that_a_default_is_computed(site: Site) -> None:
    result = site.run_bare("options", "directory")

    assert "extra (default: computed)\n" in result.output


def test_options_of_a_broken_backend_says_why(site: Site) -> None:
    result = site.run_bare("options", "broken")

    assert (14, True) == (result.exit_code, "ModuleNotFoundError" in result.stderr)


def test_id2filename_prints_a_name_for_each_id(site: Site) -> None:
    result = site.run_bare("id2filename", "12345", "0")

    assert (0, "/39/3039\n/file.0\n") == (result.exit_code, result.output)


def test_filename2id_prints_an_id_for_each_name(site: Site) -> None:
    result = site.run_bare("filename2id", "/39/3039", "/file.0")

    assert (0, "12345\n0\n") == (result.exit_code, result.output)


@pytest.mark.parametrize(
    "args",
    [
        ("id2filename",),
        ("id2filename", "x"),
        ("filename2id",),
        ("filename2id", "/39/3039", "/39/03039"),
    ],
)
def test_what_has_no_name_or_id_is_a_usage_error(
    site: Site, args: tuple[str, ...]
) -> None:
    result = site.run_bare(*args)

    assert (2, "") == (result.exit_code, result.stdout)


@pytest.mark.parametrize("args", [("--version",), ("-t", "memory", "--version")])
def test_the_version_is_that_of_the_distribution(
    site: Site, args: tuple[str, ...]
) -> None:
    result = site.run_bare(*args)

    expected = f"pacifica-archive, version {version('pacifica-archive-core')}\n"
    assert expected == result.output
