"""A file that lies in HPSS already and is to become an archived one."""

from __future__ import annotations

import contextlib
import errno
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    ArchiveError,
    CommitUnclear,
    SourceRefused,
    filename2id,
)
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.descriptors import MODE
from pacifica_archive_hpss.errors import SOURCE, SWITCH, HpssError, error_of
from pacifica_archive_hpss.incoming import Sealed
from pacifica_archive_hpss.names import INCOMING, TRASH, lstat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pacifica_archive_core import FileError
    from pacifica_archive_hpss.names import Names
    from pacifica_archive_hpss.session import Session

__all__ = ["Source", "move", "source_at"]

_ADOPTION: Mapping[int, type[FileError]] = MappingProxyType(
    {**SWITCH, errno.ENOENT: SourceRefused, errno.EXDEV: SourceRefused}
)


@attrs.frozen(kw_only=True)
class Source:
    """A regular file with one name, and the mode that it had."""

    sealed: Sealed
    mode: int


def source_at(
    session: Session,
    file_id: int,
    path: str,
    *,
    roots: Sequence[str],
    prefix: str,
) -> Source:
    """
    Look at the file at ``path`` and at each directory between it and its root.

    Somebody who may rename those can still put another in the place of one of them
    afterwards: HPSS has no calls relative to an opened directory.

    Args:
        session: the login.
        file_id: for messages.
        path: absolute, below one of ``roots``.
        roots: absolute HPSS paths.
        prefix: the archive's own directory.

    Raises:
        SourceRefused: it is not such a path, leads over a symlink, is no regular
            file with one name, or is the archive's own.
        AccessDenied, ArchiveUnavailable: the store failed.
    """
    root, below = _split(file_id, path, roots)
    whole = f"{root}/{'/'.join(below)}"
    _ensure_foreign(file_id, whole, prefix)
    try:
        for n in range(1, len(below)):
            above = lstat(session, f"{root}/{'/'.join(below[:n])}")
            if above.kind == lib.PAH_SYMLINK:
                raise SourceRefused(file_id, "the source is behind a symlink")
        found = lstat(session, whole)
    except HpssError as exc:
        raise error_of(exc, file_id, SOURCE) from exc
    if found.kind != lib.PAH_FILE:
        raise SourceRefused(file_id, "the source is no regular file")
    if found.links != 1:
        raise SourceRefused(file_id, "the source has more names than one")
    return Source(
        sealed=Sealed(
            path=whole,
            private=False,
            size=found.size,
            mtime_s=found.mtime_s,
        ),
        mode=found.mode,
    )


def move(
    session: Session, names: Names, file_id: int, source: Source, *, overwrite: bool
) -> None:
    """
    Make the source the file of an id.

    Raises:
        SourceRefused: another has moved it meanwhile.
        FileExists: the id is taken, and ``overwrite`` is false.
        CommitUnclear: done, or not; the source may still be there too.
        AccessDenied, ArchiveUnavailable: the store failed.
    """
    path = source.sealed.path
    try:
        if source.mode != MODE:
            session.call(lib.pah_chmod, path, MODE, retry=True)
    except HpssError as exc:
        raise error_of(exc, file_id, SOURCE) from exc
    try:
        names.give(file_id, source.sealed, overwrite=overwrite, special=_ADOPTION)
    except ArchiveError as exc:
        if source.mode != MODE and not isinstance(exc, CommitUnclear):
            with contextlib.suppress(HpssError):
                session.call(lib.pah_chmod, path, source.mode, retry=True)
        raise
    if not overwrite:
        _forget_source(session, names, file_id, source)


def _forget_source(
    session: Session, names: Names, file_id: int, source: Source
) -> None:
    """
    Remove the source's own name, now that the file has that of the id too.

    Of two ids that adopt one source at the same time both get here; the one that
    removes the name has it, and the other gives its new name back.
    """
    try:
        session.call(lib.pah_unlink, source.sealed.path)
    except HpssError as exc:
        if exc.code != errno.ENOENT:
            raise CommitUnclear(file_id) from exc
        try:
            if not names.give_back(file_id, source.sealed):
                # It was our own removal that was done before, or a stranger's.
                return
        except HpssError as failure:
            raise CommitUnclear(file_id) from failure
        raise SourceRefused(file_id, "the source is being moved by another") from exc


def _split(file_id: int, path: str, roots: Sequence[str]) -> tuple[str, list[str]]:
    """Return the root that the path lies below, and the names from there on."""
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        raise SourceRefused(file_id, "the source's path is no name of a file") from exc
    if not path.startswith("/") or "\0" in path:
        raise SourceRefused(file_id, "the source's path is not absolute")
    names = [name for name in path.split("/") if name not in {"", "."}]
    for root in roots:
        above = [name for name in root.split("/") if name]
        below = names[len(above) :]
        if below and names[: len(above)] == above and ".." not in below:
            return root, below
    raise SourceRefused(file_id, "the source is not below a directory to adopt from")


def _ensure_foreign(file_id: int, path: str, prefix: str) -> None:
    """Refuse what is the archive's own, by its name: a file has but one."""
    if not path.startswith(f"{prefix}/"):
        return
    name = path.removeprefix(prefix)
    top = name.split("/")[1]
    if top == INCOMING:
        raise SourceRefused(file_id, "the source is a file being stored")
    if top == TRASH:
        raise SourceRefused(file_id, "the source is a deleted file: undelete it")
    try:
        filename2id(name)
    except ValueError:
        return
    raise SourceRefused(file_id, "the source is the file of an id")
