"""The commands about names: ``id2filename`` and ``filename2id``."""

from __future__ import annotations

import click

from pacifica_archive_core import ids as naming
from pacifica_archive_core.cli.parameters import file_id

__all__ = ["filename2id", "id2filename"]


@click.command
@click.argument("ids", nargs=-1, required=True, type=file_id, metavar="ID...")
def id2filename(ids: tuple[int, ...]) -> None:
    """Print the name that trees of files give to each ID."""
    for number in ids:
        click.echo(naming.id2filename(number))


def _id_of(name: str) -> int:
    try:
        return naming.filename2id(name)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


@click.command
@click.argument("names", nargs=-1, required=True, type=_id_of, metavar="NAME...")
def filename2id(names: tuple[int, ...]) -> None:
    """Print the ID that each NAME is made of, such as 12345 for /39/3039."""
    for number in names:
        click.echo(number)
