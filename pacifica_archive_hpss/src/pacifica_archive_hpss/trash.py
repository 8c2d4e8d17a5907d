"""Deleted files that can still be taken back."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import time
import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_core import CommitUnclear, FileDamaged, NoSuchFile, Trashed
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.errors import NAME, SWITCH, HpssError, error_of
from pacifica_archive_hpss.incoming import Sealed
from pacifica_archive_hpss.names import TRASH, lstat
from pacifica_archive_hpss.residency import bitfile_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_core import FileError
    from pacifica_archive_hpss.descriptors import Descriptors
    from pacifica_archive_hpss.names import Names
    from pacifica_archive_hpss.session import Session

__all__ = ["Trash"]

_log = logging.getLogger(__name__)

#: The id in hex, nanoseconds since 1970, and what tells it from all others.
_NAME = re.compile(r"(0|[1-9a-f][0-9a-f]{0,15})\.(0|[1-9][0-9]{0,18})\.[0-9a-f]{32}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR})
#: After so many failures, that took so long, it is the store that fails.
_PATIENCE = 10
_PATIENCE_S = 10.0
_RETURN: Mapping[int, type[FileError]] = MappingProxyType(
    {**SWITCH, errno.ENOENT: NoSuchFile}
)


@attrs.frozen(kw_only=True)
class _Entry:
    """A name in the trash."""

    path: str
    file_id: int
    deleted_ns: int


class _Failures:
    """What failed in one emptying: quick ones end it never, slow ones after some."""

    def __init__(self) -> None:
        self.errors: list[HpssError] = []
        self._took_s = 0.0

    @property
    def too_many(self) -> bool:
        return len(self.errors) >= _PATIENCE and self._took_s >= _PATIENCE_S

    @contextlib.contextmanager
    def passed_over(self) -> Iterator[None]:
        began_s = time.monotonic()
        try:
            yield
        except HpssError as exc:
            self.errors.append(exc)
            self._took_s += time.monotonic() - began_s


class Trash:
    """
    The directory ``.trash`` of one prefix. Used by any number of threads.

    File 0x3039 is there as ``39/3039.NANOSECONDS.UUID``: a take-back lists but the
    256th part that has its id, an emptying needs to ask nothing of what is young, and
    no rename meets a name that is taken (what it would do to that is a guess).

    Args:
        session: the login.
        descriptors: the archive's open files.
        names: the archive's names.
        prefix: the archive's directory.
    """

    def __init__(
        self, session: Session, descriptors: Descriptors, names: Names, prefix: str
    ) -> None:
        self.path = f"{prefix}/{TRASH}"
        self._session = session
        self._descriptors = descriptors
        self._names = names
        self._returning = threading.Lock()
        self._clock = threading.Lock()
        self._last_ns = 0
        self._failed: set[str] = set()

    def put(self, file_id: int) -> None:
        """
        Move the file of an id into the trash, by a rename.

        Raises:
            NoSuchFile: there is none.
            FileDamaged: what has its name is no file.
            CommitUnclear: done, or not.
            ArchiveError: the store failed, and nothing was done.
        """
        path = self._names.path(file_id)
        try:
            found = lstat(self._session, path)
            # A directory would be moved with all that is in it.
            if found.kind != lib.PAH_FILE:
                raise FileDamaged(file_id, "what has its name is no file")
            if found.links > 1:
                self._forget_others(file_id)
        except HpssError as exc:
            raise error_of(exc, file_id, NAME) from exc
        try:
            self._move(file_id, path)
        except HpssError as exc:
            raise error_of(exc, file_id) from exc

    def take_back(self, file_id: int, deleted_ns: int | None) -> None:
        """
        Give a file its name back, as a commit does that replaces nothing.

        By a link and the removal of the other name; who dies in between leaves a name
        in the trash that is told of no more, and goes when the file is trashed again.

        Args:
            file_id: the id.
            deleted_ns: which one; None: the last one.

        Raises:
            NoSuchFile: there is none.
            FileExists: the id is taken.
            CommitUnclear: done, or not.
            ArchiveError: the store failed, and nothing was done.
        """
        # Or a second thread, which has chosen the same file, would link it anew after a
        # third one has trashed it: then it were at its id and in the trash.
        with self._returning:
            try:
                sealed = self._last(file_id, deleted_ns)
            except HpssError as exc:
                raise error_of(exc, file_id) from exc
            if sealed is None:
                raise NoSuchFile(file_id, "not in the trash")
            self._names.give(file_id, sealed, overwrite=False, special=_RETURN)
            self._forget(sealed.path)

    def files(self) -> Iterator[Trashed]:
        """
        Yield what is in the trash: a call for each, and one for each name.

        Raises:
            ArchiveError: the store failed.
        """
        try:
            for entry in self._entries():
                found = self._found(entry)
                if found is not None and not (found.links > 1 and self._is_back(entry)):
                    yield Trashed(
                        file_id=entry.file_id,
                        deleted_ns=entry.deleted_ns,
                        size=found.size,
                    )
        except HpssError as exc:
            raise error_of(exc) from exc

    def empty(self, before_ns: int, limit: int | None) -> int:
        """
        Destroy what was trashed before a time; return how many files that were.

        The oldest first. What cannot be destroyed is left and does not keep the others,
        and is tried after them the next time.

        Raises:
            ArchiveError: the store failed, and nothing was destroyed.
        """
        destroyed = 0
        failures = _Failures()
        for entry in self._old(before_ns, failures):
            if destroyed == limit or failures.too_many:
                break
            failed = True
            with failures.passed_over():
                destroyed += self._destroy(entry)
                failed = False
            (self._failed.add if failed else self._failed.discard)(entry.path)
        errors = failures.errors
        if errors and not destroyed:
            raise error_of(errors[0]) from errors[0]
        if errors:
            _log.warning(
                "%d of what is in %s could not be destroyed, the first: %s",
                len(errors),
                TRASH,
                errors[0],
            )
        return destroyed

    def _old(self, before_ns: int, failures: _Failures) -> list[_Entry]:
        """Return what is old enough by its name, in the order to destroy it."""
        old: list[_Entry] = []
        with failures.passed_over():
            for directory in self._shards():
                if failures.too_many:
                    break
                with failures.passed_over():
                    old += (
                        entry
                        for entry in self._entries_in(directory)
                        if entry.deleted_ns < before_ns
                    )
        return sorted(
            old, key=lambda entry: (entry.path in self._failed, entry.deleted_ns)
        )

    # --- names -----------------------------------------------------------------

    def _move(self, file_id: int, path: str) -> None:
        directory = self._shard(file_id)
        targets: list[str] = []
        made = tried = False
        while True:
            # Another one each time: if a request that seemed lost is done late, it may
            # be with a file that was stored since, and must not replace this one.
            name = f"{file_id:x}.{self._now_ns()}.{uuid.uuid4().hex}"
            targets.append(f"{directory}/{name}")
            try:
                self._session.call(lib.pah_rename, path, targets[-1])
            except HpssError as exc:
                missing = exc.code == errno.ENOENT
                if not (missing or exc.unclear):
                    raise
                # Nobody but us makes these names. The library may have asked again
                # when a reply was lost, and found the file gone by its own work.
                if any(self._is_there(file_id, target) for target in targets):
                    return
                if missing and made:
                    raise NoSuchFile(file_id) from exc
                if missing:
                    made = True
                    self._names.make(directory)
                elif tried:
                    raise
                else:
                    tried = True
            else:
                return

    def _is_there(self, file_id: int, path: str) -> bool:
        try:
            lstat(self._session, path)
        except HpssError as exc:
            if exc.code in _NOWHERE:
                return False
            raise CommitUnclear(
                file_id, "in the trash, or not: look at its status"
            ) from exc
        return True

    def _forget_others(self, file_id: int) -> None:
        """Remove those names of a file which a take-back that died has left."""
        for entry in self._entries_in(self._shard(file_id)):
            if entry.file_id == file_id and self._is_back(entry):
                self._forget(entry.path)

    def _forget(self, path: str) -> None:
        """Remove the name of a file that has its old one again."""
        try:
            self._session.call(lib.pah_unlink, path, retry=True)
        except HpssError as exc:
            if exc.code not in _NOWHERE:
                # It counts no more.
                _log.warning("a name in %s was not removed: %s", TRASH, exc)

    def _now_ns(self) -> int:
        """Return the time, later than any before, though the clock be set back."""
        with self._clock:
            self._last_ns = max(time.time_ns(), self._last_ns + 1)
            return self._last_ns

    def _last(self, file_id: int, deleted_ns: int | None) -> Sealed | None:
        """Return the file to take back, None if there is none."""
        entries = [
            entry
            for entry in self._entries_in(self._shard(file_id))
            if entry.file_id == file_id and deleted_ns in {None, entry.deleted_ns}
        ]
        for entry in sorted(entries, key=lambda entry: entry.deleted_ns, reverse=True):
            found = self._found(entry)
            if found is not None:
                return Sealed(
                    path=entry.path,
                    private=False,
                    size=found.size,
                    mtime_s=found.mtime_s,
                )
        return None

    def _shard(self, file_id: int) -> str:
        return f"{self.path}/{file_id & 0xFF:02x}"

    def _shards(self) -> Iterator[str]:
        for shard in self._listed(self.path):
            if _SHARD.fullmatch(shard):
                yield f"{self.path}/{shard}"

    def _entries(self) -> Iterator[_Entry]:
        for directory in self._shards():
            yield from self._entries_in(directory)

    def _entries_in(self, directory: str) -> Iterator[_Entry]:
        for name in self._listed(directory):
            match = _NAME.fullmatch(name)
            # What is not of our making is left alone.
            if match and self._shard(int(match[1], 16)) == directory:
                yield _Entry(
                    path=f"{directory}/{name}",
                    file_id=int(match[1], 16),
                    deleted_ns=int(match[2]),
                )

    def _listed(self, directory: str) -> list[str]:
        """Return all names in a directory: nothing is open when they are gone over."""
        try:
            return self._session.retrying(lambda: self._names_in(directory))
        except HpssError as exc:
            if exc.code == errno.ENOENT:
                return []
            raise

    def _names_in(self, directory: str) -> list[str]:
        opened = self._descriptors.open_directory(directory)
        try:
            return list(opened.names())
        finally:
            opened.release()

    # --- files -----------------------------------------------------------------

    def _found(self, entry: _Entry) -> Any | None:  # noqa: ANN401 (pah_stat)
        """Return what HPSS says of a file; None if it is none, or is gone by now."""
        try:
            found = lstat(self._session, entry.path)
        except HpssError as exc:
            if exc.code in _NOWHERE:
                return None
            raise
        return found if found.kind == lib.PAH_FILE else None

    def _is_back(self, entry: _Entry) -> bool:
        """Whether the file has its old name again, so that this one counts no more."""
        try:
            here = self._names.look(entry.path)
            there = self._names.look(self._names.path(entry.file_id))
        except HpssError as exc:
            if exc.code in _NOWHERE:
                return False
            raise
        return bitfile_id(here) == bitfile_id(there)

    def _destroy(self, entry: _Entry) -> bool:
        """Remove a name; tell whether that was the end of a file, and our doing."""
        found = self._found(entry)
        if found is None:
            return False
        back = found.links > 1 and self._is_back(entry)
        try:
            self._session.call(lib.pah_unlink, entry.path)
        except HpssError as exc:
            if exc.code in _NOWHERE:
                return False
            if not exc.unclear or self._found(entry) is not None:
                raise
        return not back
