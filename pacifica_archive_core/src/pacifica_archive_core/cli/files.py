"""The commands about stored files: ``status``, ``stage``, ``adopt``, ``delete``."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import click

from pacifica_archive_core.archive import SupportsAdopt
from pacifica_archive_core.cli.parameters import file_ids, pairs_argument
from pacifica_archive_core.cli.progress import file_progress
from pacifica_archive_core.cli.selection import archive_options, opened
from pacifica_archive_core.cli.trash import trash_of
from pacifica_archive_core.errors import NotSupported
from pacifica_archive_core.records import record_of
from pacifica_archive_core.status import FileStatus

if TYPE_CHECKING:
    from pacifica_archive_core.backends import ArchiveSpec

__all__ = ["adopt", "delete", "stage", "status"]


@click.command
@file_ids
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, in input order."
)
@archive_options
def status(*, spec: ArchiveSpec, ids: tuple[int, ...], as_json: bool) -> None:
    """
    Show what is known of files, without touching their bytes.

    Sizes are in bytes, times in UTC. With --json every field is there, times
    in nanoseconds since 1970; an ID that fails has "error" and "message".
    """
    width = max(map(len, map(str, ids)), default=0)
    with opened(spec) as (archive, failures):
        if not as_json:
            click.echo(
                _row(width, "ID", "SIZE", "MODIFIED", "MEDIA", "RESIDENCY", "PATH")
            )
        for file_id, answer in archive.status_many(ids):
            if as_json:
                click.echo(json.dumps(record_of(file_id, answer)))
            if isinstance(answer, FileStatus):
                if not as_json:
                    click.echo(_status_row(width, answer))
            elif as_json:
                failures.count(answer)
            else:
                failures.report(answer)


@click.command
@file_ids
@archive_options
def stage(*, spec: ArchiveSpec, ids: tuple[int, ...]) -> None:
    """
    Ask for files to be brought from tape to disk, and return at once.

    Prints "ID staged" for what is on disk, "ID being staged" for what is on
    its way.
    """
    with opened(spec) as (archive, failures):
        for file_id, answer in archive.stage_many(ids):
            if isinstance(answer, bool):
                click.echo(f"{file_id} {'staged' if answer else 'being staged'}")
            else:
                failures.report(answer)


@click.command
@pairs_argument("PATH")
@click.option("--overwrite", is_flag=True, help="Replace what is stored already.")
@archive_options
def adopt(
    *, spec: ArchiveSpec, pairs: tuple[tuple[int, str], ...], overwrite: bool
) -> None:
    """
    Make files that lie in the store already the files of IDs.

    PATH is absolute and one of the store's own; the file is moved from there.
    """
    with opened(spec) as (archive, failures), file_progress("adopt", pairs) as files:
        if not isinstance(archive, SupportsAdopt):
            raise NotSupported("this backend cannot adopt files")
        for file_id, source in files:
            with failures.one():
                archive.adopt(file_id, source, overwrite=overwrite)


@click.command
@file_ids
@click.option(
    "--trash",
    "to_trash",
    is_flag=True,
    help="Put them into the trash, out of which 'undelete' takes them back.",
)
@archive_options
def delete(*, spec: ArchiveSpec, ids: tuple[int, ...], to_trash: bool) -> None:
    """Remove files from the archive: at once and for good, unless --trash."""
    with opened(spec) as (archive, failures), file_progress("delete", ids) as files:
        remove = trash_of(archive).trash if to_trash else archive.delete
        for file_id in files:
            with failures.one():
                remove(file_id)


def _status_row(width: int, found: FileStatus) -> str:
    return _row(
        width,
        str(found.file_id),
        str(found.size),
        _utc(found.mtime_ns),
        found.media,
        found.residency.value,
        click.format_filename(found.path),
    )


def _row(width: int, file_id: str, *cells: str) -> str:
    # Widths are fixed, but for the ids: rows appear as they become known.
    return f"{file_id:>{width}}  " + "{:>15}  {:20}  {:5}  {:13}  {}".format(*cells)


def _utc(time_ns: int) -> str:
    """
    Return a time as ISO 8601, or as date(1) has it where the calendar ends.

    >>> _utc(10**18 + 1), _utc(10**21)
    ('2001-09-09T01:46:40Z', '@1000000000000')
    """
    seconds = time_ns // 10**9
    try:
        time = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OSError, OverflowError, ValueError):
        return f"@{seconds}"
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
