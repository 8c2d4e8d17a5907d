"""Commands that other distributions add."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli_site import Site

pytest_plugins = ("cli_site",)


def test_a_command_of_another_distribution_runs(site: Site) -> None:
    result = site.run_bare("greet", "--word", "good day")

    assert (0, "good day\n") == (result.exit_code, result.output)


def test_its_help_is_its_own(site: Site) -> None:
    result = site.run_bare("greet", "--help")

    assert "Print a greeting." in result.output


def test_its_usage_names_the_program(site: Site) -> None:
    result = site.run_bare("greet", "--help")

    assert "Usage: pacifica-archive greet [OPTIONS]" in result.output


def test_the_help_of_the_program_says_where_a_command_is_from(site: Site) -> None:
    result = site.run_bare("--help")

    assert "  greet        Added by stranger 1.2.\n" in result.output


def test_the_help_of_the_program_lists_broken_commands_too(site: Site) -> None:
    result = site.run_bare("--help")

    assert "  broken       Added by stranger 1.2.\n" in result.output


def test_core_comes_first_and_each_name_once(site: Site) -> None:
    output = site.run_bare("--help").output
    listing = output.partition("Commands:\n")[2].partition("\n\n")[0]

    names = [line.split()[0] for line in listing.splitlines()]

    own = ["put", "get", "verify", "status", "stage", "adopt", "delete"]
    own += [
        "undelete",
        "trash",
        "check",
        "backends",
        "options",
        "id2filename",
        "filename2id",
    ]
    # What is installed where the tests run, as of the server, may be there too.
    added = [name for name in names[len(own) :] if name not in {"serve", "token"}]
    assert (own, ["broken", "greet", "nonsense", "twice"]) == (names[: len(own)], added)


def test_no_command_of_core_can_be_replaced(site: Site) -> None:
    result = site.run_bare("put", "--help")

    assert "Store each FILE" in result.output


@pytest.mark.parametrize("args", [("--help",), ("some", "-x"), ()])
def test_a_broken_command_says_why(site: Site, args: tuple[str, ...]) -> None:
    result = site.run_bare("broken", *args)

    expected = (
        "pacifica-archive: command 'broken' (cli_backend_that_is_not_there:command"
        " of stranger 1.2) cannot be loaded: ModuleNotFoundError:"
        " No module named 'cli_backend_that_is_not_there'\n"
    )
    assert (14, expected) == (result.exit_code, result.stderr)


def test_what_is_no_command_says_so(site: Site) -> None:
    result = site.run_bare("nonsense")

    expected = (
        "pacifica-archive: command 'nonsense' (cli_backend:NOT_A_COMMAND of"
        " stranger 1.2) cannot be loaded: it is no click command\n"
    )
    assert (14, expected) == (result.exit_code, result.stderr)


def test_a_command_that_two_offer_names_both(site: Site) -> None:
    result = site.run_bare("twice")

    expected = (
        "pacifica-archive: command 'twice' is offered by other 3.4, stranger 1.2:"
        " uninstall all but one\n"
    )
    assert (14, expected) == (result.exit_code, result.stderr)


def test_an_unknown_command_is_a_usage_error(site: Site) -> None:
    result = site.run_bare("no-such-command")

    assert 2 == result.exit_code


# A fresh interpreter: this one has imported cli_backend for other tests.
IMPORTED = """
import sys
from click.testing import CliRunner
from pacifica_archive_core.cli import main
result = CliRunner().invoke(main, sys.argv[1:])
print("cli_backend" in sys.modules)
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--help"], b"False\n"),
        (["id2filename", "5"], b"False\n"),
        (["greet"], b"True\n"),
    ],
)
def test_only_the_command_that_is_used_is_imported(
    site: Site, args: list[str], expected: bytes
) -> None:
    done = subprocess.run(
        (sys.executable, "-c", IMPORTED, *args),
        env=site.environment,
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert expected == done.stdout
