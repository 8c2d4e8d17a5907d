"""The names of an archive's files: given to them, and taken away."""

from __future__ import annotations

import contextlib
import enum
import errno
import re
import uuid
from typing import TYPE_CHECKING, Any

from pacifica_archive_core import CommitUnclear, FileExists, id2filename
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.errors import NAME, SWITCH, HpssError, error_of
from pacifica_archive_hpss.residency import RawStatus, bitfile_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacifica_archive_core import FileError
    from pacifica_archive_hpss.incoming import Sealed
    from pacifica_archive_hpss.session import Session

__all__ = ["INCOMING", "TRASH", "Names", "lstat"]

#: The directory in the prefix that holds the files that are being stored.
INCOMING = ".incoming"
#: And the one that holds those that were deleted and can still be taken back.
TRASH = ".trash"

#: How many directories to remember: some 10 MB of them.
_LIMIT = 1 << 16
_DIRECTORY_MODE = 0o755
#: A file that was put aside: its new name has the id of its old one.
_ASIDE = re.compile(r"[0-9a-f]{32}\.(0|[1-9a-f][0-9a-f]{0,15})")
#: How often a file is put aside for the sake of one commit.
_ROUNDS = 10


class _Outcome(enum.Enum):
    """What a look tells of a switch that failed."""

    DONE = enum.auto()
    NOT_DONE = enum.auto()
    #: The name is another file's.
    TAKEN = enum.auto()
    #: What should get the name is gone, and has not got it.
    GONE = enum.auto()


class Names:
    """
    The names below one prefix. Used by any number of threads.

    Directories are made when a file needs them, and never removed: others may be
    about to use them.

    Args:
        session: the login.
        prefix: an HPSS path without a slash at its end; it must be there.
    """

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._prefix = prefix
        #: Directories that this process has made or found.
        self._known: set[str] = set()

    def path(self, file_id: int) -> str:
        """Return where the file of this id is or would be."""
        return self._prefix + id2filename(file_id)

    def look(self, path: str) -> RawStatus:
        """
        Return what HPSS says of a file: one call.

        Raises:
            HpssError: it failed.
        """
        status: RawStatus = ffi.new("pah_status *")
        self._session.call(lib.pah_get_status, path, status, retry=True)
        return status

    def give(
        self,
        file_id: int,
        file: Sealed,
        *,
        overwrite: bool,
        special: Mapping[int, type[FileError]] = SWITCH,
    ) -> None:
        """
        Make a sealed file the file of an id: the switch.

        By a rename, which takes its old name away; or, if it may replace nothing, by
        a link, whose EEXIST is the refusal (what a rename does to a target is not
        public), and which leaves the old name to be removed.

        Raises:
            CommitUnclear: done, or not.
            ArchiveError: any other says that the old state stands.
        """
        path = self.path(file_id)
        try:
            self._switch(file_id, file, path, overwrite=overwrite)
        except HpssError as exc:
            raise error_of(exc, file_id, special) from exc

    def restore(self, name: str) -> None:
        """
        Give a file that was put aside its name back, unless there is a newer one.

        Args:
            name: the last part of its name.

        Raises:
            CommitUnclear: it may still be aside.
        """
        if match := _ASIDE.fullmatch(name):
            file_id = int(match[1], 16)
            aside = f"{self._prefix}/{INCOMING}/{name}"
            self._put_back(file_id, aside, self.path(file_id))

    def take(self, file_id: int) -> None:
        """
        Remove the name of an id: one call.

        Raises:
            NoSuchFile: there is none.
            CommitUnclear: done, or not.
            ArchiveError: the store failed.
        """
        path = self.path(file_id)
        try:
            self._session.call(lib.pah_unlink, path)
        except HpssError as exc:
            # Not tried again: by now it might be another's new file.
            if exc.unclear and self._is_gone(file_id, path, exc):
                return
            raise error_of(exc, file_id, NAME) from exc

    def give_back(self, file_id: int, file: Sealed) -> bool:
        """
        Remove the name of an id, unless it is the only one of this very file.

        Returns:
            Whether another name has the file.

        Raises:
            HpssError: it could not be seen or removed.
        """
        path = self.path(file_id)
        found = lstat(self._session, path)
        if _is(file, found):
            if found.links == 1:
                return False
            self._session.call(lib.pah_unlink, path)
        return True

    def make(self, directory: str) -> None:
        """
        Make a directory, and those above it that are not known.

        Raises:
            HpssError: it cannot be made.
        """
        self._known.discard(directory)
        names = directory.removeprefix(self._prefix).strip("/").split("/")
        paths = [
            self._prefix + "".join(f"/{name}" for name in names[: n + 1])
            for n in range(len(names))
            if names[n]
        ]
        try:
            self._make_unknown(paths)
        except HpssError as exc:
            if exc.code != errno.ENOENT:
                raise
            # Somebody removed one that was known.
            self._known.difference_update(paths)
            self._make_unknown(paths)

    def _switch(
        self, file_id: int, file: Sealed, path: str, *, overwrite: bool
    ) -> None:
        function = lib.pah_rename if overwrite else lib.pah_link
        made = tried = False
        while True:
            try:
                self._session.call(function, file.path, path)
            except HpssError as exc:
                if exc.code == errno.ENOENT and not made:
                    made = True
                    self.make(path.rpartition("/")[0])
                    continue
                if not (exc.unclear or exc.code in {errno.ENOENT, errno.EEXIST}):
                    raise
                outcome = self._outcome(file_id, file, path, exc, overwrite=overwrite)
                if outcome is _Outcome.DONE:
                    return
                if outcome is _Outcome.TAKEN:
                    raise FileExists(file_id) from exc
                if overwrite and exc.code == errno.EEXIST:
                    self._replace(file_id, file, path)
                    return
                # Surely not done, so that it may be done now; but not for ever.
                if outcome is _Outcome.GONE or not exc.unclear or tried:
                    raise
                tried = True
            else:
                return

    def _replace(self, file_id: int, file: Sealed, path: str) -> None:
        """
        Put a file in the place of another where a rename refuses to.

        For a moment the id has none; who dies then leaves the old one to ``restore``,
        which cannot know of a delete in between.
        """
        aside = f"{self._prefix}/{INCOMING}/{uuid.uuid4().hex}.{file_id:x}"
        for _ in range(_ROUNDS):
            try:
                with contextlib.suppress(HpssError):
                    # If it did not work, what follows will not either.
                    self._session.call(lib.pah_rename, path, aside)
                done = self._takes_place(file_id, file, path)
            except BaseException:
                self._put_back(file_id, aside, path)
                raise
            if done:
                self._forget(aside)
                return
            # Others were faster: theirs is newer than what is aside.
            self._put_back(file_id, aside, path)
        raise HpssError(errno.EBUSY, "others replace the same file")

    def _forget(self, aside: str) -> None:
        """Remove what was replaced, or have it never put back."""
        try:
            self._session.call(lib.pah_unlink, aside, retry=True)
        except HpssError:
            with contextlib.suppress(HpssError):
                # As a leftover without an id it is swept when it is old.
                self._session.call(lib.pah_rename, aside, aside.rpartition(".")[0])

    def _takes_place(self, file_id: int, file: Sealed, path: str) -> bool:
        try:
            self._session.call(lib.pah_rename, file.path, path)
        except HpssError as exc:
            if exc.code == errno.EEXIST:
                return False
            if not exc.unclear:
                raise
            outcome = self._outcome(file_id, file, path, exc, overwrite=True)
            if outcome is not _Outcome.DONE:
                raise
        return True

    def _put_back(self, file_id: int, aside: str, path: str) -> None:
        """Give a name back to the file that was put aside, or remove that."""
        try:
            try:
                self._session.call(lib.pah_link, aside, path, retry=True)
            except HpssError as exc:
                if exc.code != errno.EEXIST:
                    raise
            self._session.call(lib.pah_unlink, aside, retry=True)
        except HpssError as exc:
            if exc.code != errno.ENOENT:
                raise CommitUnclear(file_id) from exc

    def _outcome(
        self,
        file_id: int,
        file: Sealed,
        path: str,
        failure: HpssError,
        *,
        overwrite: bool,
    ) -> _Outcome:
        """
        Look whether a switch that failed has been done all the same.

        So it is when its reply was lost, also to the library, which then asks again
        and finds its own work.
        """
        try:
            source = self._found(file.path)
            target = self._found(path)
        except HpssError as exc:
            raise CommitUnclear(file_id) from exc
        if overwrite:
            if source is not None:
                return _Outcome.NOT_DONE
            # Only the rename takes that name away, and a sweeper after a week.
            if (failure.unclear and file.private) or _is(file, target):
                return _Outcome.DONE
            if failure.unclear:
                raise CommitUnclear(file_id) from failure
            return _Outcome.GONE
        if target is None:
            return _Outcome.NOT_DONE if source is not None else _Outcome.GONE
        if source is not None and bitfile_id(source) == bitfile_id(target):
            return _Outcome.DONE
        return _Outcome.TAKEN

    def _found(self, path: str) -> RawStatus | None:
        try:
            return self.look(path)
        except HpssError as exc:
            if exc.code not in {errno.ENOENT, errno.ENOTDIR}:
                raise
            return None

    def _is_gone(self, file_id: int, path: str, failure: HpssError) -> bool:
        try:
            return self._found(path) is None
        except HpssError:
            raise CommitUnclear(
                file_id, "deleted, or not: look at its status"
            ) from failure

    def _make_unknown(self, paths: list[str]) -> None:
        for path in paths:
            if path in self._known:
                continue
            try:
                self._session.call(lib.pah_mkdir, path, _DIRECTORY_MODE, retry=True)
            except HpssError as exc:
                if exc.code != errno.EEXIST:
                    raise
            if len(self._known) >= _LIMIT:
                self._known.clear()
            self._known.add(path)


def lstat(session: Session, path: str) -> Any:  # noqa: ANN401 (pah_stat)
    """
    Return what HPSS says of a name, which may be a symlink: one call.

    Raises:
        HpssError: it failed.
    """
    found = ffi.new("pah_stat *")
    session.call(lib.pah_lstat, path, found, retry=True)
    return found


def _is(file: Sealed, found: Any) -> bool:  # noqa: ANN401 (pah_stat or pah_status)
    """Whether what was found is like this file, which got its time from us."""
    return found is not None and (
        (found.size, found.mtime_s) == (file.size, file.mtime_s)
    )
