"""``pacifica-archive token``: make, list and revoke the tokens of a server."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pacifica_archive_core import MAX_FILE_ID
from pacifica_archive_core.cli import archive_options
from pacifica_archive_http.access import Scope
from pacifica_archive_http.options import load_server_options
from pacifica_archive_http.tokens import (
    add_token,
    format_ids,
    format_time,
    parse_ids,
    parse_time,
    read_tokens,
    revoke_token,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pacifica_archive_core import ArchiveSpec
    from pacifica_archive_http.tokens import Token

__all__ = ["token"]


def _by(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """Read an option by a function that raises ValueError."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:  # noqa: ANN401 (of the option's own type)
        try:
            return None if value is None else parse(value)
        except ValueError as exc:
            raise click.BadParameter(str(exc), ctx, param) from exc

    return convert


_file = click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of the tokens  [default: $PACIFICA_ARCHIVE_SERVER_TOKENS, or tokens in"
    " section [server] of the INI file]",
)


@click.group
def token() -> None:
    """Make, list and revoke the tokens of a server."""


@token.command
@click.argument("name")
@_file
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([str(scope) for scope in Scope]),
    multiple=True,
    required=True,
    help="What it is for; repeatable.",
)
@click.option(
    "--ids",
    callback=_by(parse_ids),
    metavar="RANGES",
    help="Ids that it is for, as 5,100-199,1000-  [default: all]",
)
@click.option(
    "--days", type=click.IntRange(1, 36500), help="Days until it expires; else never."
)
@click.option(
    "--expires",
    callback=_by(parse_time),
    metavar="TIME",
    help="The same as a time, as 2030-01-01T00:00:00Z.",
)
@archive_options
def new(
    *,
    spec: ArchiveSpec,
    name: str,
    file: Path | None,
    scopes: tuple[str, ...],
    ids: tuple[tuple[int, int], ...] | None,
    days: int | None,
    expires: dt.datetime | None,
) -> None:
    """
    Make a token and print it: this once, for it is kept nowhere.

    A running server takes it at once.
    """
    if days is not None:
        if expires is not None:
            raise click.UsageError("give --days or --expires, not both")
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    elif expires is not None and expires <= dt.datetime.now(dt.UTC):
        raise click.UsageError(
            f"--expires {format_time(expires)} is in the past: the token would never"
            " be valid"
        )
    click.echo(
        add_token(
            _find_file(file, spec),
            name,
            scopes=map(Scope, scopes),
            ids=((0, MAX_FILE_ID),) if ids is None else ids,
            expires=expires,
        )
    )


@token.command("list")
@_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@archive_options
def list_(*, spec: ArchiveSpec, file: Path | None, as_json: bool) -> None:
    """Show the tokens; of each its name and what it is for, never itself."""
    tokens = read_tokens(_find_file(file, spec))
    if as_json:
        for each in tokens:
            click.echo(json.dumps(_record(each)))
        return
    rows = [("NAME", "SCOPES", "IDS", "EXPIRES", "CREATED"), *map(_row, tokens)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(map(str.ljust, row, widths))
        click.echo(line.rstrip())


@token.command
@click.argument("name")
@_file
@archive_options
def revoke(*, spec: ArchiveSpec, name: str, file: Path | None) -> None:
    """
    Make a token invalid, for good.

    A running server refuses it from its next request on.
    """
    revoke_token(_find_file(file, spec), name)


def _find_file(given: Path | None, spec: ArchiveSpec) -> Path:
    """Return the file that the server reads, unless another is given."""
    if given is not None:
        return given
    found = load_server_options(os.environ, file=spec.config).tokens
    if found is None:
        raise click.UsageError("which file of tokens? give --file")
    return found


def _record(token: Token) -> dict[str, object]:
    expires = token.expires
    return {
        "name": token.name,
        "scopes": list(token.scopes),
        "ids": format_ids(token.ids),
        "expires": None if expires is None else format_time(expires),
        "expired": _has_expired(token),
        "created": format_time(token.created),
    }


def _row(token: Token) -> tuple[str, ...]:
    until = "never" if token.expires is None else format_time(token.expires)
    return (
        token.name,
        ",".join(token.scopes),
        format_ids(token.ids),
        f"{until} (expired)" if _has_expired(token) else until,
        format_time(token.created),
    )


def _has_expired(token: Token) -> bool:
    return token.expires is not None and dt.datetime.now(dt.UTC) >= token.expires
