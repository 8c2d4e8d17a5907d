"""The command that reads stored files again: ``verify``."""

from __future__ import annotations

import collections
import contextlib
import json
import sys
from typing import TYPE_CHECKING

import attrs
import click

from pacifica_archive_core import verify as verification
from pacifica_archive_core.cli.exits import JournalError, NoDigest, say
from pacifica_archive_core.cli.journal import Journal
from pacifica_archive_core.cli.parameters import byte_rate, file_ids
from pacifica_archive_core.cli.progress import (
    LONG_FILES,
    byte_progress,
    step_progress,
)
from pacifica_archive_core.cli.selection import archive_options, opened
from pacifica_archive_core.errors import (
    DigestMismatch,
    FileDamaged,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_core.status import FileStatus
from pacifica_archive_core.verify import RateLimit, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.backends import ArchiveSpec
    from pacifica_archive_core.errors import FileError

__all__ = ["verify"]

#: What results other than those that are well end the command with.
_ERRORS: dict[Result, type[FileError]] = {
    Result.DIFFERS: DigestMismatch,
    Result.UNREADABLE: FileDamaged,
    Result.OFFLINE: FileOffline,
    Result.NO_DIGEST: NoDigest,
    Result.MISSING: NoSuchFile,
}


@click.command
@file_ids
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, as they come."
)
@click.option(
    "--readers",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    metavar="N",
    help="Files that are read at the same time.",
)
@click.option(
    "--bytes-per-second",
    type=byte_rate,
    metavar="N",
    help="Read no faster, all readers together; a k, M or G behind the number"
    " stands for 3, 6 or 9 zeros.",
)
@click.option(
    "--journal",
    type=click.Path(),
    metavar="FILE",
    help="Append each result to FILE, and pass over what FILE says is ok already:"
    " so a run that was ended goes on where it was.",
)
@click.option(
    "--recall",
    is_flag=True,
    help="Wait for files on tape, as long as the backend's options allow.",
)
@click.option(
    "--record", is_flag=True, help="Keep a SHA-256 with files that have no digest."
)
@archive_options
def verify(
    *,
    spec: ArchiveSpec,
    ids: tuple[int, ...],
    as_json: bool,
    readers: int,
    bytes_per_second: int | None,
    journal: str | None,
    recall: bool,
    record: bool,
) -> None:
    """
    Read files again, and compare them with the digests kept with them.

    Results are printed as they come, their numbers at the end on standard
    error. They are ok, recorded, differs, unreadable, offline (on tape, where
    it is left), "no digest" (none is kept, so it is not read) and missing.
    """
    limit = None if bytes_per_second is None else RateLimit(bytes_per_second)
    width = max(map(len, map(str, ids)), default=0)
    found: collections.Counter[Result] = collections.Counter()
    with opened(spec) as (archive, failures), _journal(journal) as notes:
        if not as_json:
            click.echo(_row(width, "ID", "SIZE", "RESULT", "DIGESTS", "REASON"))
        with (
            byte_progress("verify", _size(archive, ids, notes)) as hashers,
            step_progress("verify", len(ids)) as step,
            contextlib.closing(
                verification.verify(
                    archive,
                    _pending(archive, ids, notes, pass_over=step),
                    readers=readers,
                    recall=recall,
                    record=record,
                    limit=limit,
                    hashers=hashers,
                )
            ) as verdicts,
        ):
            for verdict in verdicts:
                line = json.dumps(attrs.asdict(verdict))
                # Before the journal: what it holds is never said again.
                say(line if as_json else _verdict_row(width, verdict))
                if notes is not None:
                    with _journal_errors(str(journal)):
                        notes.add(line)
                found[verdict.result] += 1
                if error := _ERRORS.get(verdict.result):
                    failures.count(error(verdict.file_id))
                step()
        counts = [f"{found[result]} {result}" for result in Result if found[result]]
        if before := len(ids) - found.total():
            counts.append(f"{before} ok before")
        files = "1 file" if len(ids) == 1 else f"{len(ids)} files"
        say(": ".join(filter(None, (files, ", ".join(counts)))), err=True)


@contextlib.contextmanager
def _journal(name: str | None) -> Iterator[Journal | None]:
    if name is None:
        yield None
        return
    with _journal_errors(name):
        journal = Journal(name)
    with journal:
        yield journal


@contextlib.contextmanager
def _journal_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BlockingIOError as exc:
        raise JournalError(f"journal {name}: another run writes it") from exc
    except OSError as exc:
        raise JournalError(f"journal {name}: {exc.strerror}") from exc
    except ValueError as exc:
        raise JournalError(f"journal {name}: {exc}") from exc


def _pending(
    archive: Archive,
    ids: tuple[int, ...],
    journal: Journal | None,
    *,
    pass_over: Callable[[], object],
) -> Iterator[int]:
    """Yield the ids whose present version was not found well before."""
    if not journal:
        yield from ids
        return
    for file_id, answer in archive.status_many(ids):
        if isinstance(answer, FileStatus) and journal.holds(answer):
            pass_over()
        else:
            yield file_id


def _size(
    archive: Archive, ids: tuple[int, ...], journal: Journal | None
) -> int | None:
    """Return the bytes to read, where they are the progress; else None."""
    if len(ids) >= LONG_FILES or not sys.stderr.isatty():
        return None
    return sum(
        answer.size
        for _, answer in archive.status_many(ids)
        if isinstance(answer, FileStatus)
        and answer.online
        and not (journal and journal.holds(answer))
    )


def _verdict_row(width: int, verdict: Verdict) -> str:
    return _row(
        width,
        str(verdict.file_id),
        "" if verdict.size is None else str(verdict.size),
        verdict.result,
        ",".join(verdict.algorithms),
        verdict.message or "",
    )


def _row(width: int, file_id: str, *cells: str) -> str:
    # Widths are fixed, but for the ids: rows appear as they become known.
    return f"{file_id:>{width}}  " + "{:>15}  {:10}  {:12}  {}".format(*cells).rstrip()
