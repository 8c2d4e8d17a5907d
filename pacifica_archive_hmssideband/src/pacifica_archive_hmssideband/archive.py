"""Files in Oracle HSM (SAM-QFS), one for each id."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import secrets
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveUnavailable,
    ConfigError,
    FileError,
    FileOffline,
    FileStatus,
    id2filename,
)
from pacifica_archive_hmssideband.options import HmsSidebandOptions
from pacifica_archive_hmssideband.recall import RecalledReader, Recalls, has_hole
from pacifica_archive_hmssideband.residency import ST_BLOCKS, Residencies, decide
from pacifica_archive_hmssideband.sideband import Failure, Sideband, SidebandDown
from pacifica_archive_hmssideband.staging import make_staging
from pacifica_archive_posix import PosixArchive, PosixReader
from pacifica_archive_posix.archive import version_of
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.errors import NAME, READ, error_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pacifica_archive_core import ArchiveReader
    from pacifica_archive_hmssideband.residency import Finding

__all__ = ["HmsSidebandArchive"]

_log = logging.getLogger(__name__)

#: The extended attribute that a file has its version in.
_VERSION = "user.pacifica_archive.version"
_TOKEN = re.compile(rb"[0-9a-f]{32}")
_NO_TOKEN = frozenset({errno.ENODATA, errno.EOPNOTSUPP})
#: Ids that are asked for at once: a round trip to the database for so many.
_BATCH = 500
_FAILURES: Mapping[Failure, type[ArchiveError]] = MappingProxyType(
    {
        Failure.UNREACHABLE: ArchiveUnavailable,
        Failure.REFUSED: AccessDenied,
        Failure.WRONG: ConfigError,
    }
)


class HmsSidebandArchive(PosixArchive):
    """
    Files of a mounted SAM-QFS file system, spread over directories by id2filename.

    They are read and written through the mount, and whether one is on disk or on
    tape is read from the sideband database. It is never asked for anything else, and
    where it does not answer, the blocks that a file has on disk decide.

    Raises:
        ConfigError: as PosixArchive does; or there is no such stage command.
        AccessDenied, ArchiveUnavailable: as PosixArchive does. A database that does
            not answer is no reason.
    """

    options_class = HmsSidebandOptions
    config_sections: ClassVar[tuple[str, ...]] = ("hms_sideband", "hsm_sideband")

    options: HmsSidebandOptions

    def __init__(self, options: HmsSidebandOptions) -> None:
        super().__init__(options)
        with contextlib.ExitStack() as held:
            self._staging = make_staging(options)
            held.callback(self._staging.close)
            self._recalls = Recalls(self._staging, options.recall_timeout_s)
            held.callback(self._recalls.close)
            self._sideband = Sideband(options)
            held.callback(self._sideband.close)
            self._held = held.pop_all()
        self._residencies = Residencies(
            self._sideband, inode_lookup=options.inode_lookup
        )

    def _close(self) -> None:
        self._held.close()

    # --- reading ---------------------------------------------------------------

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:
        # The descriptor before the database is asked: what is released between the
        # two is then seen by the answer.
        with contextlib.ExitStack() as held:
            fd, found = self._open_file(file_id)
            held.callback(release, fd)
            finding = self._find(file_id, found)
            with self._reading(file_id):
                on_disk = _is_on_disk(finding, fd, found)
            if not on_disk:
                if not recall:
                    raise FileOffline(
                        file_id,
                        f"is on tape, as {finding.source} says: stage it, then try"
                        " again",
                    )
                held.close()
                fd, found, finding = self._recall(file_id)
                held.callback(release, fd)
            status = self._describe(file_id, found, self._token(file_id, fd), finding)
            reader = (
                PosixReader(self, status, fd)
                if status.online
                else RecalledReader(
                    self, status, fd, timeout_s=self.options.recall_timeout_s
                )
            )
            held.pop_all()
            return reader

    def _recall(self, file_id: int) -> tuple[int, os.stat_result, Finding]:
        """Open a file whose bytes have just been waited for."""
        path = self._layout.path(file_id)
        deadline_s = self._recalls.deadline_s()
        # Again if it was replaced by a version that is on tape too.
        while True:
            self._recalls.wait(
                file_id,
                path,
                lambda: self._is_said_online(file_id),
                deadline_s=deadline_s,
            )
            fd, found = self._open_file(file_id)
            try:
                finding = self._find(file_id, found)
                with self._reading(file_id):
                    if _is_on_disk(finding, fd, found):
                        return fd, found, finding
                    if not has_hole(fd, found.st_size):
                        # Its last byte was read: the database lags, or nothing of
                        # it ever comes to disk (stage -n).
                        return fd, found, decide(found, None, reason="it was read")
            except BaseException:
                release(fd)
                raise
            release(fd)

    @contextlib.contextmanager
    def _reading(self, file_id: int) -> Iterator[None]:
        """Translate what the file system says of an open file."""
        try:
            yield
        except OSError as exc:
            raise self._error_of(exc, file_id, READ) from exc

    def _is_said_online(self, file_id: int) -> bool:
        status = self._status(file_id)
        return status.online and status.residency_source != ST_BLOCKS

    def _status(self, file_id: int) -> FileStatus:
        found, token = self._look(file_id)
        return self._describe(file_id, found, token, self._find(file_id, found))

    def status_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, FileStatus | ArchiveError]]:
        """
        Yield each id with its status, or with the error of this very file.

        In input order, duplicates kept; the database is asked once for 500 ids.
        """
        for batch in _batches(file_ids):
            yield from zip(batch, self._statuses(batch), strict=True)

    def _statuses(self, file_ids: list[int]) -> list[FileStatus | ArchiveError]:
        answers: list[int | ArchiveError] = []
        looks: dict[int, tuple[os.stat_result, str | None]] = {}
        for given in file_ids:
            try:
                file_id = self._ready(given)
                if file_id not in looks:
                    looks[file_id] = self._look(file_id)
                answers.append(file_id)
            except (FileError, AccessDenied) as exc:
                answers.append(exc)
        findings = self._residencies.find(
            [(self._name(file_id), found) for file_id, (found, _) in looks.items()]
        )
        statuses = {
            file_id: self._describe(file_id, found, token, finding)
            for (file_id, (found, token)), finding in zip(
                looks.items(), findings, strict=True
            )
        }
        return [statuses[n] if isinstance(n, int) else n for n in answers]

    def _name(self, file_id: int) -> str:
        """Return the path of a file as the database has it."""
        return self.options.sam_qfs_prefix + id2filename(file_id)

    def _find(self, file_id: int, found: os.stat_result) -> Finding:
        (finding,) = self._residencies.find([(self._name(file_id), found)])
        return finding

    def _look(self, file_id: int) -> tuple[os.stat_result, str | None]:
        """Return the status of the present version, and its token."""
        path = self._layout.path(file_id)
        while True:
            found = self._stat(file_id)
            token = self._token(file_id, path)
            if token is None:
                return found, None
            # By the name, since to open a million files costs more; so again if it
            # was given to another version meanwhile.
            now = self._stat(file_id)
            if (now.st_ino, now.st_ctime_ns) == (found.st_ino, found.st_ctime_ns):
                return found, token

    def _describe(
        self,
        file_id: int,
        found: os.stat_result,
        token: str | None,
        finding: Finding,
    ) -> FileStatus:
        return FileStatus(
            file_id=file_id,
            path=self._layout.path(file_id),
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            version=_version(found, token),
            levels=finding.levels,
            residency=finding.residency,
            residency_source=finding.source,
        )

    # --- versions --------------------------------------------------------------

    def _attributes(self) -> Mapping[str, bytes]:
        # A version that is the same again when the file has been on tape, or in a
        # dump of the file system: neither inode nor ctime need be.
        return {_VERSION: secrets.token_hex(16).encode()}

    def _version_of(self, file_id: int, fd: int, found: os.stat_result) -> str:
        return _version(found, self._token(file_id, fd))

    def _token(self, file_id: int, file: str | int) -> str | None:
        """Return a file's token; None if it has none, as release 0.4.2's have none."""
        try:
            value = (
                os.getxattr(file, _VERSION)
                if isinstance(file, int)
                else os.getxattr(file, _VERSION, follow_symlinks=False)
            )
        except OSError as exc:
            if exc.errno in _NO_TOKEN:
                return None
            special = READ if isinstance(file, int) else NAME
            raise self._error_of(exc, file_id, special) from exc
        return value.decode() if _TOKEN.fullmatch(value) else None

    # --- tape ------------------------------------------------------------------

    def _stage(self, file_id: int) -> bool:
        status = self._status(file_id)
        if status.online:
            return True
        (error,) = self._staging.ask([(file_id, status.path)])
        if error is not None:
            raise error
        return False

    def stage_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, bool | ArchiveError]]:
        """Ask for recalls, many at once; yields as ``status_many`` does."""
        for batch in _batches(file_ids):
            statuses = self._statuses(batch)
            asked = {
                status.file_id: status.path
                for status in statuses
                if isinstance(status, FileStatus) and not status.online
            }
            errors = dict(
                zip(asked, self._staging.ask(list(asked.items())), strict=True)
            )
            for file_id, status in zip(batch, statuses, strict=True):
                if isinstance(status, ArchiveError):
                    yield file_id, status
                else:
                    yield file_id, errors.get(status.file_id) or status.online

    # --- the store -------------------------------------------------------------

    def check(self) -> None:
        """
        Ask the file system and the database whether they would serve.

        Without the database the archive serves on; this is where its operator learns
        of it. One that knows no directory of the archive is logged as a warning, and
        so is one with other inode numbers than the mount.

        Raises:
            ArchiveUnavailable, AccessDenied: as PosixArchive does; or the database
                does not answer, or refuses the user.
            ConfigError: it is no sideband database.
        """
        super().check()
        try:
            self._sideband.check()
            known = self._sideband.knows_directory(self.options.sam_qfs_prefix)
            agrees = self._residencies.agree(
                self.options.sam_qfs_prefix, self.options.prefix.stat()
            )
        except OSError as exc:
            raise error_of(exc) from exc
        except SidebandDown as exc:
            raise _FAILURES[exc.kind](
                f"{exc}; meanwhile residency is guessed from the blocks on disk"
            ) from exc
        if not known:
            _log.warning(
                "the sideband database has no directory of the option sam_qfs_prefix:"
                " a file that it does not have either is judged by its blocks on disk"
            )
        if not agrees:
            _log.warning(
                "the inode numbers of the mount are not those of the sideband database:"
                " set the option inode_lookup to false"
            )

    def ready(self) -> None:
        """
        Raise as ``check`` does, but for the database: files are served without it.

        Raises:
            ArchiveUnavailable, AccessDenied: as PosixArchive does.
        """
        super().check()


def _version(found: os.stat_result, token: str | None) -> str:
    # The size tells of a file that an operator has mended in its place.
    return f"{token}-{found.st_size:x}" if token else version_of(found)


def _is_on_disk(finding: Finding, fd: int, found: os.stat_result) -> bool:
    """
    Tell whether the opened file may be read.

    By the blocks alone a file is on disk from the moment when a stage begins, which
    takes all of them at once.
    """
    return finding.online and not (
        finding.source == ST_BLOCKS and has_hole(fd, found.st_size)
    )


def _batches(file_ids: Iterable[int]) -> Iterator[list[int]]:
    ids = iter(file_ids)
    while batch := list(itertools.islice(ids, _BATCH)):
        yield batch
