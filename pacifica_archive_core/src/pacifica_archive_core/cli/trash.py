"""The commands about deleted files: ``undelete`` and ``trash``."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from typing import TYPE_CHECKING

import attrs
import click

from pacifica_archive_core.archive import SupportsTrash
from pacifica_archive_core.cli.parameters import file_ids
from pacifica_archive_core.cli.progress import file_progress
from pacifica_archive_core.cli.selection import archive_options, opened
from pacifica_archive_core.errors import NotSupported

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.backends import ArchiveSpec

__all__ = ["trash", "trash_of", "undelete"]

_SECOND_NS = 10**9
_DAY_NS = 24 * 3600 * _SECOND_NS
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


def trash_of(archive: Archive) -> SupportsTrash:
    """
    Return an archive that has a trash.

    Raises:
        NotSupported: it has none.
    """
    if not isinstance(archive, SupportsTrash):
        raise NotSupported(
            "this backend has no trash; behind 'http' the server decides what its"
            " DELETE does, and files are taken back there"
        )
    return archive


def parse_time(text: str) -> int:
    """
    Return nanoseconds since 1970, of what ``format_time`` returns.

    >>> parse_time("2001-09-09T01:46:40.000000001Z")
    1000000000000000001
    """
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        seconds = int(dt.datetime.fromisoformat(f"{match[1]}+00:00").timestamp())
    except ValueError as exc:
        raise click.BadParameter(
            f"{text!r} is no time as 'trash list' shows it"
        ) from exc
    return seconds * _SECOND_NS + int((match[2] or "").ljust(9, "0"))


def format_time(time_ns: int) -> str:
    """
    Return a time to the nanosecond, which with the id names a file of the trash.

    >>> format_time(10**18 + 1)
    '2001-09-09T01:46:40.000000001Z'
    """
    seconds, rest = divmod(time_ns, _SECOND_NS)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


@click.command
@file_ids
@click.option(
    "--deleted",
    "deleted_ns",
    type=parse_time,
    metavar="TIME",
    help="Of several of this ID the one deleted then, as 'trash list' shows it"
    "  [default: the last one deleted]",
)
@archive_options
def undelete(
    *, spec: ArchiveSpec, ids: tuple[int, ...], deleted_ns: int | None
) -> None:
    """
    Take files back from the trash to their IDs.

    What is stored under an ID by now is not replaced: that ID fails.
    """
    if deleted_ns is not None and len(ids) != 1:
        raise click.UsageError("--deleted is of one ID")
    with opened(spec) as (archive, failures), file_progress("undelete", ids) as files:
        source = trash_of(archive)
        for file_id in files:
            with failures.one():
                source.undelete(file_id, deleted_ns=deleted_ns)


@click.group
def trash() -> None:
    """List the deleted files that can be taken back, and destroy old ones."""


@trash.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@archive_options
def list_(*, spec: ArchiveSpec, as_json: bool) -> None:
    """
    Show the deleted files that 'undelete' takes back, the oldest first.

    Sizes are in bytes, times in UTC; with --json in nanoseconds since 1970.
    """
    with opened(spec) as (archive, _):
        found = sorted(
            trash_of(archive).trashed(), key=lambda one: (one.deleted_ns, one.file_id)
        )
        if not as_json:
            click.echo(f"{'ID':>19}  {'SIZE':>15}  DELETED")
        for one in found:
            click.echo(
                json.dumps(attrs.asdict(one))
                if as_json
                else f"{one.file_id:>19}  {one.size:>15}  {format_time(one.deleted_ns)}"
            )


@trash.command
@click.option(
    "--days",
    type=click.IntRange(0),
    required=True,
    help="Destroy what was deleted more days ago than that; 0 is everything.",
)
@archive_options
def empty(*, spec: ArchiveSpec, days: int) -> None:
    """Destroy what has been in the trash for long, for good, and say how many."""
    with opened(spec) as (archive, _):
        count = trash_of(archive).empty_trash(time.time_ns() - days * _DAY_NS)
        click.echo(f"{count} destroyed")
