"""Which archive a command works on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pacifica_archive_core import ArchiveSpec, ConfigError
from pacifica_archive_core.cli import archive_options
from pacifica_archive_core.cli.group import CommandGroup
from pacifica_archive_core.cli.selection import selecting_options

Select = Callable[..., ArchiveSpec]


@click.group(cls=CommandGroup)
@selecting_options
def group() -> None:
    pass


@group.command("show")
@archive_options
@click.pass_obj
def show(specs: list[ArchiveSpec], *, spec: ArchiveSpec) -> None:
    specs.append(spec)


def run(*args: str, specs: list[ArchiveSpec] | None = None) -> Result:
    return CliRunner().invoke(group, args, obj=specs if specs is not None else [])


@pytest.fixture
def select(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Select:
    """Return the spec that a command line makes in an empty environment."""
    monkeypatch.chdir(tmp_path)
    for variable in (*ArchiveSpec.TYPE_VARIABLES, "ARCHIVEI_CONFIG"):
        monkeypatch.delenv(variable, raising=False)

    def of(*args: str) -> ArchiveSpec:
        specs: list[ArchiveSpec] = []
        result = run(*args, specs=specs)

        assert "" == result.stderr
        return specs[0]

    return of


def test_nothing_given_is_posix(select: Select) -> None:
    spec = select("show")

    assert ArchiveSpec(backend="posix", config=None) == spec


@pytest.mark.parametrize(
    "args",
    [
        ("show", "-t", "tape", "--prefix", "/a", "-c", "a.ini", "-o", "b=c"),
        ("-t", "tape", "--prefix", "/a", "-c", "a.ini", "-o", "b=c", "show"),
        ("--type", "tape", "-o", "b=c", "show", "--prefix", "/a", "--config", "a.ini"),
        ("show", "-t", "tape", "-o", "prefix=/a", "--option", "b=c", "-c", "a.ini"),
    ],
)
def test_options_stand_before_or_after_the_command(
    select: Select, args: tuple[str, ...]
) -> None:
    Path("a.ini").touch()

    spec = select(*args)

    expected = ArchiveSpec(
        backend="tape", config=Path("a.ini"), given={"prefix": "/a", "b": "c"}
    )
    assert expected == spec


def test_an_options_value_may_hold_an_equals_sign(select: Select) -> None:
    spec = select("show", "-o", "key=a=b")

    assert {"key": "a=b"} == spec.given


def test_an_options_value_may_be_empty(select: Select) -> None:
    spec = select("show", "-o", "key=")

    assert {"key": ""} == spec.given


def test_the_environment_names_the_backend(
    select: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACIFICA_ARCHIVE_TYPE", "tape")

    assert "tape" == select("show").backend


@pytest.mark.parametrize(
    "args",
    [
        ("show", "-o", "key"),
        ("show", "-o", "=value"),
        ("show", "-o", "key=1", "-o", "key=2"),
        ("-o", "key=1", "show", "-o", "key=2"),
        ("show", "--prefix", "/a", "-o", "prefix=/b"),
        ("--prefix", "/a", "show", "--prefix", "/b"),
        ("-t", "a", "show", "-t", "b"),
        ("-c", "a", "show", "-c", "b"),
    ],
)
def test_what_is_no_pair_or_given_twice_is_a_usage_error(args: tuple[str, ...]) -> None:
    result = run(*args)

    assert 2 == result.exit_code, result.output


def test_a_configuration_file_that_is_not_there_is_a_configuration_error(
    tmp_path: Path,
) -> None:
    result = run("show", "-c", str(tmp_path / "none.ini"))

    assert 14 == result.exit_code


@pytest.mark.parametrize("key", ["config", "env"])
def test_an_unknown_option_named_as_a_keyword_of_open_archive_is_refused(
    key: str,
) -> None:
    spec = ArchiveSpec(backend="memory", config=None, given={key: "value"})

    with pytest.raises(ConfigError, match=f"no option '{key}'"):
        spec.open()
