"""The commands about what is installed: ``check``, ``backends`` and ``options``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from pacifica_archive_core import backends as registry
from pacifica_archive_core.cli.selection import (
    archive_options,
    complete_backend,
    opened,
)
from pacifica_archive_core.errors import BackendError
from pacifica_archive_core.options import (
    environment_prefix,
    is_for_command_line,
    is_secret,
    option_aliases,
    option_help,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pacifica_archive_core.archive import Archive

__all__ = ["backends", "check", "options"]


@click.command
@archive_options
def check(*, spec: registry.ArchiveSpec) -> None:
    """Open the archive and ask its store whether it would serve."""
    remark = registry.load_backend(spec.backend).remark()
    (found,) = (
        backend
        for backend in registry.installed_backends()
        if backend.name == spec.backend
    )
    click.echo(f"backend: {found.name} ({found.distribution} {found.version})")
    if remark:
        click.echo(f"remark: {remark}")
    click.echo(f"configuration: {spec.config or 'no file'}")
    with opened(spec) as (archive, _):
        for field in attrs.fields(archive.options_class):
            if not is_secret(field):
                value = getattr(archive.options, field.name)
                click.echo(f"option: {field.name} = {_text(value)}")
        archive.check()
    click.echo("ok")


@click.command
def backends() -> None:
    """List the installed backends, trying to import each."""
    rows = [("NAME", "VERSION", "DISTRIBUTION", "STATE")]
    rows += [
        (backend.name, backend.version, backend.distribution, _state(backend.name))
        for backend in registry.installed_backends()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@click.command
@click.argument("backend", shell_complete=complete_backend)
def options(backend: str) -> None:
    """
    Describe the options of BACKEND.

    Later wins: the INI file, the environment, the command line.
    """
    archive_class = registry.load_backend(backend)
    for field in attrs.fields(archive_class.options_class):
        marks = ["required" if field.default is attrs.NOTHING else _default(field)]
        if is_secret(field):
            marks.append("secret")
        click.echo(f"{field.name} ({', '.join(marks)})")
        click.echo(f"    {option_help(field)}")
        for line in _ways(archive_class, field):
            click.echo(f"    {line}")


def _state(name: str) -> str:
    try:
        remark = registry.load_backend(name).remark()
    except BackendError as exc:
        cause = exc.__cause__
        reason = f"{type(cause).__name__}: {cause}" if cause else str(exc)
        return f"broken: {' '.join(reason.split())}"
    return f"ok: {remark}" if remark else "ok"


def _ways(archive_class: type[Archive], field: attrs.Attribute[Any]) -> Iterator[str]:
    """Yield each way to set an option; a secret is better kept in a file."""
    names = [field.name, *([f"{field.name}_file"] if is_secret(field) else [])]
    sections = "] or [".join(archive_class.config_sections)
    for name in names:
        value = "FILE" if name != field.name else "VALUE"
        flag, old = (
            (" or --prefix VALUE", ", PAI_PREFIX") if name == "prefix" else ("", "")
        )
        if is_for_command_line(field) or name != field.name:
            yield f"command line: -o {name}={value}{flag}"
        yield f"environment:  {environment_prefix(archive_class)}{name.upper()}{old}"
        aliases = "".join(f", {alias}" for alias in option_aliases(field))
        yield f"INI file:     [{sections}] {name}{aliases}"


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # stubs: a function
        return "default: computed"
    return f"default: {_text(default)}"


def _text(value: object) -> str:
    """Return a value as one would write it in an INI file."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
