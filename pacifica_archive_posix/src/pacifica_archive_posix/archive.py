"""Files in a POSIX file system, one for each id."""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from pacifica_archive_core import (
    AccessDenied,
    Archive,
    ArchiveError,
    CommitUnclear,
    ConfigError,
    FileDamaged,
    FileExists,
    FileStatus,
    Media,
    NoSuchFile,
    NotSupported,
    Residency,
    SourceRefused,
    StorageLevel,
    option,
    to_bool,
)
from pacifica_archive_posix.adopt import Source, opened_source
from pacifica_archive_posix.descriptors import opened, release, synced
from pacifica_archive_posix.digests import (
    DIGESTED,
    proven_digests,
    read_digested,
    read_single,
)
from pacifica_archive_posix.directories import Directories
from pacifica_archive_posix.errors import (
    NAME,
    READ,
    SWITCH,
    damage_of_digests,
    error_of,
)
from pacifica_archive_posix.files import PosixReader, PosixWriter
from pacifica_archive_posix.incoming import Incoming, IncomingFile
from pacifica_archive_posix.layout import Layout
from pacifica_archive_posix.record import lock, record
from pacifica_archive_posix.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_core import ArchiveReader, ArchiveWriter, FileError, Trashed

__all__ = ["PosixArchive", "PosixOptions", "TreeOptions", "version_of"]

_log = logging.getLogger(__name__)

_WEEK_S = 7 * 24 * 3600
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def _to_directory(value: str | os.PathLike[str]) -> Path:
    if not os.fspath(value):
        raise ValueError("name a directory")
    # A later chdir must not move the archive.
    return Path(os.path.abspath(value))


def _to_roots(
    value: str | tuple[str | os.PathLike[str], ...] | None,
) -> tuple[Path, ...] | None:
    if value is None:
        return None
    roots = value.split(os.pathsep) if isinstance(value, str) else value
    paths = tuple(Path(root) for root in roots if os.fspath(root))
    if not all(path.is_absolute() and ".." not in path.parts for path in paths):
        raise ValueError("allowed are absolute paths without '..'")
    return paths


@attrs.frozen(kw_only=True)
class TreeOptions:
    """Options of every backend that keeps files in a mounted file system."""

    prefix: Path = option(
        "the directory that holds the archive; it must be there",
        converter=_to_directory,
    )
    adopt_roots: tuple[Path, ...] | None = option(
        "directories below which files may be adopted, separated by colons; the"
        " prefix by default, none if empty",
        default=None,
        converter=_to_roots,
    )
    adopt_ids: bool = option(
        "let adopt take the file of another id; refused by a server with tokens, jwt,"
        " write_once or any delete but allow, which PATCH would get around",
        default=False,
        converter=to_bool,
    )
    durable: bool = option(
        "have every file, and every deletion, on stable storage before it is reported",
        default=True,
        converter=to_bool,
    )
    incoming_ttl_s: int = option(
        "seconds without change after which an unfinished file of another host, or of"
        " this one before its last boot, is removed; a week by default",
        default=_WEEK_S,
        converter=int,
        validator=attrs.validators.gt(0),
    )


@attrs.frozen(kw_only=True)
class PosixOptions(TreeOptions):
    """Options of the ``posix`` backend."""

    use_id2filename: bool = option(
        "spread the files over directories (12345 is 39/3039) instead of keeping all"
        " in one; the archive remembers what it was begun with",
        default=False,
        converter=to_bool,
    )


class PosixArchive(Archive):
    """
    Files in a directory, written whole or not at all, and durable.

    Any number of processes and hosts may share it.
    A file is at ``prefix/12345`` or, with ``use_id2filename``, ``prefix/39/3039``;
    its mode is 0444. Unfinished files are in ``prefix/.incoming``; the opening of an
    archive removes those whose writer is dead. Trashed ones are in ``prefix/.trash``.

    A backend for a file system with tape behind it replaces ``_open`` and ``_status``.

    Args:
        options: a PosixOptions; or another backend's TreeOptions, for a tree that is
            spread over directories always.

    Raises:
        ConfigError: the prefix is no directory, or has the other layout.
        AccessDenied, ArchiveUnavailable: the store failed. A prefix that cannot be
            written to is opened for reading.
    """

    options_class: ClassVar[type[TreeOptions]] = PosixOptions
    config_sections: ClassVar[tuple[str, ...]] = ("posix",)

    options: TreeOptions

    def __init__(self, options: TreeOptions) -> None:
        super().__init__(options)
        self._prefix = prefix = os.fspath(options.prefix)
        roots = (
            (options.prefix,) if options.adopt_roots is None else options.adopt_roots
        )
        self._adopt_roots = [os.fspath(root) for root in roots]
        self._durable = options.durable
        nested = not isinstance(options, PosixOptions) or options.use_id2filename
        self._layout = Layout(prefix, use_id2filename=nested)
        #: Why nothing can be written, if so.
        self._refusal: OSError | None = None
        self._missed_digests = False
        try:
            _ensure_directory(prefix)
            self._incoming = Incoming(prefix, ttl_s=options.incoming_ttl_s)
            marked = self._layout.ensure_kept()
            try:
                self._begin(marked=marked)
            except OSError as exc:
                if exc.errno not in _READ_ONLY:
                    raise
                self._refusal = exc
        except OSError as exc:
            raise error_of(exc) from exc
        #: What is gone when the prefix's file system is not mounted.
        self._landmark = prefix if self._refusal and not marked else self._layout.marker
        self._directories = Directories(
            prefix, landmark=self._landmark, durable=self._durable
        )
        self._trash = Trash(
            prefix,
            landmark=self._landmark,
            directories=self._directories,
            durable=self._durable,
        )

    def _begin(self, *, marked: bool) -> None:
        """Have what writers need, and what dead ones left removed."""
        if os.statvfs(self._prefix).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        self._incoming.make()
        if not marked:
            self._layout.mark(self._incoming)
        if self._durable:
            synced(self._prefix)
        self._incoming.sweep()

    # --- reading ---------------------------------------------------------------

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:  # noqa: ARG002 (no tape)
        fd, found = self._open_file(file_id)
        try:
            return PosixReader(self, self._status_of(file_id, found), fd)
        except BaseException:
            release(fd)
            raise

    def _status(self, file_id: int) -> FileStatus:
        return self._status_of(file_id, self._stat(file_id))

    def _attributes(self) -> Mapping[str, bytes]:
        """Return the extended attributes that a new file gets besides its digests."""
        return {}

    def _status_of(self, file_id: int, found: os.stat_result) -> FileStatus:
        """Say what a file's stat says."""
        size = found.st_size
        return FileStatus(
            file_id=file_id,
            path=self._layout.path(file_id),
            size=size,
            mtime_ns=found.st_mtime_ns,
            ctime_ns=found.st_ctime_ns,
            version=version_of(found),
            levels=(StorageLevel(Media.DISK, size),),
            residency=Residency.DISK,
            residency_source="stat",
        )

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        """
        Return the digests kept with the present version.

        Raises:
            NoSuchFile: no file is stored under this id.
            FileDamaged: the digests are damaged.
        """
        file_id = self._ready(file_id)
        path = self._layout.path(file_id)
        try:
            # By the name, since to open a file may be to recall it from tape. It is one
            # call, and so of one version.
            if (kept := read_digested(path)) is not None:
                return kept.digests
            # Of a tree of before they are read one by one; so again if the name was
            # given to another version meanwhile.
            while True:
                version = version_of(self._stat(file_id))
                found, failure = _read_single(path)
                if version == version_of(self._stat(file_id)):
                    if failure is not None:
                        raise failure
                    return found
        except OSError as exc:
            damage = damage_of_digests(exc, file_id)
            raise damage or self._error_of(exc, file_id, NAME) from exc

    def local_path(self, file_id: int) -> Path:
        """
        Return where the present version is; for reading only.

        Raises:
            NoSuchFile: no file is stored under this id.
        """
        file_id = self._ready(file_id)
        self._stat(file_id)
        return Path(self._layout.path(file_id))

    def _stat(self, file_id: int) -> os.stat_result:
        try:
            found = os.stat(self._layout.path(file_id), follow_symlinks=False)
        except OSError as exc:
            raise self._error_of(exc, file_id, NAME) from exc
        if not stat.S_ISREG(found.st_mode):
            raise FileDamaged(file_id, "what is at its name is no regular file")
        return found

    def _open_file(self, file_id: int) -> tuple[int, os.stat_result]:
        # To open a FIFO would hang, and O_NONBLOCK may change what tape does.
        self._stat(file_id)
        try:
            fd = os.open(self._layout.path(file_id), _READ)
            try:
                return fd, os.fstat(fd)
            except BaseException:
                release(fd)
                raise
        except OSError as exc:
            raise self._error_of(exc, file_id, READ) from exc

    def _error_of(
        self, exc: OSError, file_id: int, special: Mapping[int, type[FileError]]
    ) -> ArchiveError:
        """Translate, and do not call missing what is not mounted."""
        error = error_of(exc, file_id, special)
        if isinstance(error, NoSuchFile):
            try:
                os.stat(self._landmark)
            except OSError as gone:
                return error_of(gone, file_id)
        return error

    # --- writing ---------------------------------------------------------------

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        self._ensure_writable(file_id)
        if not overwrite:
            self._refuse_taken(file_id)
        try:
            file = self._incoming.create()
            try:
                file.reserve(size or 0)
            except BaseException:
                file.discard()
                raise
        except OSError as exc:
            raise error_of(exc, file_id) from exc
        return PosixWriter(
            self,
            file_id,
            file,
            size=size,
            mtime_ns=mtime_ns,
            durable=self._durable,
            attributes=self._attributes(),
            publish=functools.partial(self._publish, file_id, overwrite=overwrite),
        )

    def _delete(self, file_id: int) -> None:
        directory, _, name = self._layout.path(file_id).rpartition("/")
        removed = False
        try:
            with opened(directory) as fd:
                os.unlink(name, dir_fd=fd)
                removed = True
                if self._durable:
                    os.fsync(fd)
        except OSError as exc:
            if removed:
                raise CommitUnclear(
                    file_id, "deleted, or not: look at its status"
                ) from exc
            raise self._error_of(exc, file_id, NAME) from exc

    def _publish(self, file_id: int, file: IncomingFile, *, overwrite: bool) -> None:
        """
        Make a sealed file visible, and its name durable.

        Raises:
            CommitUnclear: it is visible; whether for good is not known.
            ArchiveError: any other says that the old state stands.
        """
        path, _, name = self._layout.path(file_id).rpartition("/")
        visible = False
        try:
            with self._directories.ready(path) as directory:
                try:
                    file.move(name, directory, overwrite=overwrite)
                except OSError as exc:
                    if not _has_moved(file_id, file, name, directory, exc):
                        raise
                visible = True
                file.forget_path(moved=overwrite)
                if self._durable:
                    os.fsync(directory)
            file.close()
        except OSError as exc:
            if visible:
                raise CommitUnclear(file_id) from exc
            raise error_of(exc, file_id, SWITCH) from exc

    def _refuse_taken(self, file_id: int) -> None:
        try:
            os.stat(self._layout.path(file_id), follow_symlinks=False)
        except OSError as exc:
            if exc.errno in _ABSENT:
                return
            raise error_of(exc, file_id) from exc
        raise FileExists(file_id)

    def _ensure_writable(self, file_id: int) -> None:
        if self._refusal is not None:
            raise AccessDenied(
                f"file {file_id}: the archive was opened for reading only"
            ) from self._refusal

    # --- the trash -------------------------------------------------------------

    def trash(self, file_id: int) -> None:
        """
        Put the file into the trash: one rename.

        Raises:
            NoSuchFile: no file is stored under this id, or no longer.
            FileDamaged: what is at its name is no regular file.
            NotSupported: it is in another file system than the trash.
            CommitUnclear: in the trash, or not: look at its status.
        """
        file_id = self._ready(file_id)
        # A directory would be moved too.
        self._stat(file_id)
        directory, _, name = self._layout.path(file_id).rpartition("/")
        try:
            with opened(directory) as fd:
                self._trash.put(file_id, name, fd)
        except OSError as exc:
            _refuse_other_file_system(file_id, exc)
            raise self._error_of(exc, file_id, NAME) from exc

    def undelete(self, file_id: int, *, deleted_ns: int | None = None) -> None:
        """
        Take a file back from the trash: that of the latest ``deleted_ns`` by default.

        Raises:
            NoSuchFile: none of this id is in the trash, or none of that time.
            FileExists: the id is taken by now; the trash stays as it is.
            NotSupported: the id's directory is in another file system than the trash.
            CommitUnclear: back, or in the trash: look at its status.
        """
        file_id = self._ready(file_id)
        try:
            self._trash.take_back(file_id, deleted_ns, self._layout.path(file_id))
        except OSError as exc:
            _refuse_other_file_system(file_id, exc)
            raise error_of(exc, file_id) from exc

    def trashed(self) -> Iterator[Trashed]:
        """Return what is in the trash, in no order."""
        self.ensure_open()
        return self._trashed()

    def _trashed(self) -> Iterator[Trashed]:
        try:
            yield from self._trash.files(self._layout.path)
        except OSError as exc:
            raise error_of(exc) from exc

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        """
        Destroy what was trashed before a time; return how many files that were.

        What cannot be destroyed is told in the log only, unless nothing was destroyed.

        Args:
            before_ns: nanoseconds since 1970.
            limit: destroy no more than that now.
        """
        self.ensure_open()
        try:
            return self._trash.empty(before_ns, limit)
        except OSError as exc:
            raise error_of(exc) from exc

    # --- adopting --------------------------------------------------------------

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        """
        Make the file at the absolute path ``source`` the file of this id.

        It keeps its mtime, and digests that an archive has kept with it, if it has
        the size and the mtime that it had then; others may be of other bytes. Across
        file systems it is copied, else moved.

        Raises:
            SourceRefused: the path is not absolute, not below ``adopt_roots``, leads
                over a symlink, is not that of a regular file with one name, or is
                an archived file's (but see ``adopt_ids``).
            FileExists: the id is taken, and ``overwrite`` is false.
            CommitUnclear: stored, or not: look at its status; the source may still
                be there too.
        """
        file_id = self._ready(file_id)
        self._ensure_writable(file_id)
        forbidden = (self._incoming.path, self._trash.path, self._layout.marker)
        with opened_source(
            file_id, source, roots=self._adopt_roots, forbidden=forbidden
        ) as found:
            self._refuse_archived(file_id, found)
            if not overwrite:
                self._refuse_taken(file_id)
            try:
                file = self._incoming.link(found.fd, found.directory, found.status)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise error_of(exc, file_id) from exc
                self._copy(file_id, found, overwrite=overwrite)
            else:
                self._move(file_id, found, file, overwrite=overwrite)
            try:
                found.remove(durable=self._durable)
            except OSError as exc:
                raise CommitUnclear(file_id) from exc

    def _refuse_archived(self, file_id: int, source: Source) -> None:
        """Refuse the file of an id, whatever path led to it."""
        candidate = self._layout.candidate(source.name)
        if candidate is None:
            return
        try:
            found = os.stat(self._layout.path(candidate), follow_symlinks=False)
        except OSError as exc:
            if exc.errno in _ABSENT:
                return
            raise error_of(exc, file_id) from exc
        if not os.path.samestat(found, source.status):
            return
        if candidate == file_id:
            raise SourceRefused(file_id, "the source is this very file")
        if not self.options.adopt_ids:
            raise SourceRefused(file_id, "the source is the file of another id")

    def _move(
        self, file_id: int, source: Source, file: IncomingFile, *, overwrite: bool
    ) -> None:
        try:
            try:
                # Of two adoptions of one source at most one may go on.
                if not source.is_in_place(names=2):
                    raise SourceRefused(file_id, "the source is being moved by another")
                file.seal_as_is(attributes=self._attributes(), durable=self._durable)
            except OSError as exc:
                raise error_of(exc, file_id) from exc
            self._publish(file_id, file, overwrite=overwrite)
        except BaseException as exc:
            # Else it may be visible, and must not have old digests there.
            if isinstance(exc, ArchiveError) and not isinstance(exc, CommitUnclear):
                file.unseal()
            _abandon(file)
            raise

    def _copy(self, file_id: int, source: Source, *, overwrite: bool) -> None:
        status = source.status
        source.settle()
        with self.create(
            file_id,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            overwrite=overwrite,
        ) as writer:
            try:
                writer.digests.update(proven_digests(source.fd, status))
                while block := os.pread(source.fd, self.block_size, writer.written):
                    writer.write(block)
                now = os.fstat(source.fd)
            except OSError as exc:
                raise error_of(exc, file_id) from exc
            if (now.st_size, now.st_ctime_ns) != (status.st_size, status.st_ctime_ns):
                raise SourceRefused(file_id, "the source is being written to")

    # --- recording -------------------------------------------------------------

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """
        Keep digests with the version they were made of; those kept stay.

        The status's ``version`` changes by it, unless all of them are kept already.

        Raises:
            NoSuchFile: no file is stored under this id.
            FileDamaged: the digests that it has are damaged.
            NotSupported: the file system has no extended attributes.
            CommitUnclear: recorded, or not: look at its digests.
        """
        file_id = self._ready(file_id)
        self._ensure_writable(file_id)
        # To open a FIFO would hang.
        self._stat(file_id)
        fd = None
        try:
            fd = os.open(self._layout.path(file_id), _READ)
            lock(fd)
            found = os.fstat(fd)
            if self._version_of(file_id, fd, found) != version:
                return False
            record(file_id, fd, found, digests, durable=self._durable)
        except OSError as exc:
            damage = damage_of_digests(exc, file_id)
            raise damage or self._error_of(exc, file_id, NAME) from exc
        finally:
            if fd is not None:
                release(fd)
        return True

    def _version_of(self, file_id: int, fd: int, found: os.stat_result) -> str:  # noqa: ARG002 (for those over this one)
        """Return the version of an open file, as its status has it."""
        return version_of(found)

    # --- the store -------------------------------------------------------------

    def check(self) -> None:
        """
        Ask the file system whether it would serve.

        Where it keeps no extended attributes, and so no digests, that is logged as
        a warning, once.

        Raises:
            ArchiveUnavailable: it does not answer, or is not mounted.
            AccessDenied: it has become read-only since the archive was opened.
        """
        self.ensure_open()
        try:
            os.stat(self._landmark)
            if self._refusal is None:
                os.stat(self._incoming.path)
                if os.statvfs(self._prefix).f_flag & os.ST_RDONLY:
                    raise AccessDenied("the archive has become read-only")
            self._look_for_digests()
        except OSError as exc:
            raise error_of(exc) from exc

    def _look_for_digests(self) -> None:
        try:
            os.getxattr(self._prefix, DIGESTED)
        except OSError as exc:
            if exc.errno == errno.EOPNOTSUPP:
                if not self._missed_digests:
                    _log.warning(
                        "the file system keeps no extended attributes: no digests"
                        " are kept with files"
                    )
                self._missed_digests = True
            elif exc.errno != errno.ENODATA:
                raise


def _refuse_other_file_system(file_id: int, exc: OSError) -> None:
    if exc.errno == errno.EXDEV:
        raise NotSupported(
            f"file {file_id}: its directory is in another file system than the trash"
        ) from exc


def _ensure_directory(prefix: str) -> None:
    # Made by us, it would be on the wrong disk when its own is not mounted.
    wrong = ConfigError(
        "option 'prefix': there is no such directory: make it, or mount its file system"
    )
    try:
        if not stat.S_ISDIR(os.stat(prefix).st_mode):
            raise wrong
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise wrong from exc


def version_of(found: os.stat_result) -> str:
    """Return what differs for every file that is or was at a name."""
    # An inode's number comes back with its next file; IncomingFile sees to it that
    # the ctime does not.
    return f"{found.st_ino:x}-{found.st_ctime_ns:x}-{found.st_size:x}"


def _read_single(path: str) -> tuple[Mapping[str, bytes], OSError | None]:
    try:
        return read_single(path), None
    except OSError as exc:
        return {}, exc


def _has_moved(
    file_id: int, file: IncomingFile, name: str, directory: int, exc: OSError
) -> bool:
    """
    Tell whether the move that failed has been done all the same.

    So it is on NFS when a reply is lost: the request that is sent again finds its
    own work (open(2), under O_EXCL).
    """
    try:
        return file.is_at(name, directory)
    except OSError:
        raise CommitUnclear(file_id) from exc


def _abandon(file: IncomingFile) -> None:
    """Discard without masking the error that is on its way."""
    try:
        file.discard()
    except OSError as exc:
        _log.warning("an unfinished file could not be removed: %s", exc.strerror)
