"""Files in IBM HPSS, one for each id."""

from __future__ import annotations

import errno
import functools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import (
    AccessDenied,
    Archive,
    ArchiveUnavailable,
    ConfigError,
    FileDamaged,
    FileOffline,
    Media,
    NoSuchFile,
    option,
    to_bool,
)
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.adopt import move, source_at
from pacifica_archive_hpss.descriptors import Descriptors
from pacifica_archive_hpss.digests import (
    NO_RECORD,
    Record,
    get_digests,
    set_digests,
)
from pacifica_archive_hpss.errors import NAME, OPEN, HpssError, error_of
from pacifica_archive_hpss.files import HpssReader, HpssWriter
from pacifica_archive_hpss.incoming import Incoming, IncomingFile
from pacifica_archive_hpss.names import Names
from pacifica_archive_hpss.recall import Recalls, is_tape_only
from pacifica_archive_hpss.residency import status_of
from pacifica_archive_hpss.session import Credentials, Session, build
from pacifica_archive_hpss.staging import Staging
from pacifica_archive_hpss.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pacifica_archive_core import (
        ArchiveError,
        ArchiveReader,
        ArchiveWriter,
        FileStatus,
        Trashed,
    )
    from pacifica_archive_hpss.incoming import Sealed
    from pacifica_archive_hpss.residency import RawStatus

__all__ = ["HpssArchive", "HpssOptions"]

_WEEK_S = 7 * 24 * 3600
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_PORTS = range(1, 1 << 16)


def _to_text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("give some text")
    value.encode()
    return value


def _to_path(value: str) -> str:
    path = _to_text(str(value))
    names = path.split("/")
    if not path.startswith("/") or ".." in names:
        raise ValueError("allowed is an absolute HPSS path without '..'")
    return "".join(f"/{name}" for name in names if name not in {"", "."}) or "/"


def _to_roots(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    roots = value.split(":") if isinstance(value, str) else value
    return tuple(_to_path(root) for root in roots if root)


def _to_class_of_service(value: str | int | None) -> int | None:
    return None if value is None or value == "" else int(value)


def _to_address(value: str | None) -> str | None:
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) not in _PORTS:
        raise ValueError("allowed is HOST:PORT")
    return value


@attrs.frozen(kw_only=True)
class HpssOptions:
    """Options of the ``hpss`` backend."""

    prefix: str = option(
        "the HPSS directory that holds the archive; it must be there",
        converter=_to_path,
    )
    user: str = option(
        "the HPSS user to log in as", default="hpss.unix", converter=_to_text
    )
    auth: str = option(
        "the file with the user's key (keytab)",
        default="/var/hpss/etc/hpss.unix.keytab",
        converter=_to_text,
    )
    mechanism: str = option(
        "how to log in: unix or krb5",
        default="unix",
        validator=attrs.validators.in_(("unix", "krb5")),
    )
    sitename: str = option(
        "the site whose core server a check asks; if empty, it looks at the root"
        " directory instead",
        default="",
        converter=str,
    )
    accept_latency_s: float = option(
        "seconds that a check waits for the core server",
        default=5.0,
        converter=float,
        validator=attrs.validators.gt(0),
        aliases=("accept_latency",),
    )
    class_of_service: int | None = option(
        "the number of the class of service of new files; if none is given, HPSS"
        " chooses one by their size",
        default=None,
        converter=_to_class_of_service,
        validator=attrs.validators.optional(attrs.validators.in_(range(1, 1 << 32))),
    )
    buffer_size: int = option(
        "bytes of one read or write; 32 MiB by default",
        default=32 << 20,
        converter=int,
        validator=attrs.validators.gt(0),
    )
    callback_address: str | None = option(
        "HOST:PORT where HPSS reports finished recalls, to nobody in particular; some"
        " sites' monitors turn red without",
        default=None,
        converter=_to_address,
    )
    max_open_files: int = option(
        "files that one archive may have open at once; those beyond are refused",
        default=64,
        converter=int,
        validator=attrs.validators.gt(0),
    )
    adopt_roots: tuple[str, ...] | None = option(
        "HPSS directories below which files may be adopted, separated by colons; the"
        " prefix by default, none if empty",
        default=None,
        converter=_to_roots,
    )
    durable: bool = option(
        "call hpss_Fsync before a file is reported as stored; what HPSS makes of it"
        " is not public",
        default=True,
        converter=to_bool,
    )
    recall_timeout_s: float = option(
        "seconds that an open waits for a file on tape, if it was told to wait",
        default=3600.0,
        converter=float,
        validator=attrs.validators.and_(
            attrs.validators.gt(0), attrs.validators.le(threading.TIMEOUT_MAX)
        ),
    )
    max_outstanding: int = option(
        "recalls that one archive asks for one by one and that are not done yet;"
        " those beyond are refused",
        default=1000,
        converter=int,
        validator=attrs.validators.gt(0),
    )
    incoming_ttl_s: int = option(
        "seconds without change after which an unfinished file is removed; a week by"
        " default",
        default=_WEEK_S,
        converter=int,
        validator=attrs.validators.gt(0),
    )


class HpssArchive(Archive):
    """
    Files in HPSS, written whole or not at all.

    Any number of processes and hosts may share the prefix. A file is at
    ``prefix/39/3039``; its mode is 0444. Unfinished files are in
    ``prefix/.incoming``; the opening of an archive removes the old ones. Those in the
    trash are in ``prefix/.trash``.
    The first archive of a process logs in, for all that follow; a process that was
    forked after that opens none.

    Raises:
        ConfigError: the prefix is not there, or the process is logged in with other
            credentials.
        AccessDenied, ArchiveUnavailable: the login or the store failed, or HPSS was
            used before this process was forked. A prefix that cannot be written to
            is opened for reading.
    """

    options_class = HpssOptions
    config_sections = ("hpss",)

    options: HpssOptions

    def __init__(self, options: HpssOptions) -> None:
        super().__init__(options)
        self.block_size = options.buffer_size
        self._session = session = Session.shared(
            Credentials(
                user=options.user, auth=options.auth, mechanism=options.mechanism
            )
        )
        self._prefix = prefix = options.prefix.rstrip("/")
        roots = (prefix,) if options.adopt_roots is None else options.adopt_roots
        self._adopt_roots = [root.rstrip("/") for root in roots]
        self._names = Names(session, prefix)
        self._descriptors = Descriptors(session, limit=options.max_open_files)
        self._staging = Staging(session, options)
        self._recalls = Recalls(self._staging, options)
        self._incoming = Incoming(
            session,
            self._descriptors,
            prefix,
            buffer_size=options.buffer_size,
            class_of_service=options.class_of_service,
            ttl_s=options.incoming_ttl_s,
        )
        self._trash = Trash(session, self._descriptors, self._names, prefix)
        #: Why nothing can be written, if so.
        self._refusal: HpssError | None = None
        self._recording = threading.Lock()
        self._asking = threading.Lock()
        #: What a check is waiting for, or the last one waited for.
        self._answer: Future[None] | None = None
        try:
            self._ensure_directory()
            try:
                self._incoming.make()
                self._incoming.sweep(self._names)
            except HpssError as exc:
                if exc.code not in _READ_ONLY:
                    raise
                self._refusal = exc
        except HpssError as exc:
            raise error_of(exc) from exc

    @classmethod
    def remark(cls) -> str | None:
        """Say so if the library is the simulator."""
        return "simulator, not HPSS" if build().simulator else None

    # --- reading ---------------------------------------------------------------

    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:
        deadline_s = self._recalls.deadline_s() if recall else None
        while True:
            path, raw = self._look(file_id)
            reader = self._open_as(file_id, path, raw, deadline_s)
            # HPSS opens by name and does not say what it opened. A name that is of one
            # version before and after was of that one in between, since bitfiles do
            # not come back; else the bytes of one would go out as those of another. And
            # one that was purged meanwhile is open, but reading it waits for a tape.
            try:
                if self._is_still(file_id, reader.status):
                    return reader
            except BaseException:
                reader.close()
                raise
            reader.close()

    def _open_as(
        self, file_id: int, path: str, raw: RawStatus, deadline_s: float | None
    ) -> ArchiveReader:
        """Open what was looked at, after bringing it to disk if there is time."""
        status = status_of(file_id, path, raw)
        if not status.online:
            if status.media is Media.ERROR:
                raise FileDamaged(file_id, "no level is known to have its bytes")
            if deadline_s is None:
                raise FileOffline(file_id)
            if is_tape_only(raw):
                return self._recalls.open_on_tape(self, self._descriptors, status)
            raw = self._recalls.wait(file_id, path, self._look, deadline_s)
            status = status_of(file_id, path, raw)
        try:
            file = self._descriptors.open(path)
        except HpssError as exc:
            raise error_of(exc, file_id, OPEN) from exc
        try:
            return HpssReader(
                self,
                status,
                file,
                # By the name, but what it says is of which bitfile it is.
                digests=lambda: self._record(file_id).of(status.version),
            )
        except BaseException:
            file.release()
            raise

    def _is_still(self, file_id: int, status: FileStatus) -> bool:
        try:
            found = self._status(file_id)
        except NoSuchFile:
            return False
        purged = status.online and not found.online
        return found.version == status.version and not purged

    def _status(self, file_id: int) -> FileStatus:
        path, raw = self._look(file_id)
        return status_of(file_id, path, raw)

    def _look(self, file_id: int) -> tuple[str, RawStatus]:
        """Return a file's path and what HPSS says of it: one call."""
        file_id = self._ready(file_id)
        path = self._names.path(file_id)
        try:
            return path, self._names.look(path)
        except HpssError as exc:
            raise error_of(exc, file_id, NAME) from exc

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        """Return the digests kept with the present version."""
        file_id = self._ready(file_id)
        kept = self._record(file_id)
        # Always: HPSS does not tell a file without attributes from none, and keeps
        # the attributes of a file that is written to.
        return kept.of(self._status(file_id).version)

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """
        Keep digests with the version they were made of; those kept stay.

        The status's ``version`` stays. HPSS sets attributes by name: where another
        version is stored at this very moment, its own digests may get lost by it, but
        none is ever told of bytes that it was not made of.

        Raises:
            NoSuchFile: no file is stored under this id.
            NotSupported: they are longer than HPSS keeps.
        """
        file_id = self._ready(file_id)
        self._ensure_writable(file_id)
        # There are no locks on HPSS; so threads of this archive at least.
        with self._recording:
            had = self._record(file_id).of(version)
            wanted = {**digests, **had}
            if self._status(file_id).version != version:
                return False
            if wanted == had:
                return True
            try:
                path = self._names.path(file_id)
                set_digests(self._session, path, file_id, version, wanted)
            except HpssError as exc:
                raise error_of(exc, file_id, NAME) from exc
        return self._status(file_id).version == version

    def _record(self, file_id: int) -> Record:
        """Return what is kept with whatever has the id: one call."""
        try:
            record = get_digests(self._session, self._names.path(file_id))
        except HpssError as exc:
            raise error_of(exc, file_id, NAME) from exc
        return record or NO_RECORD

    # --- recalls ---------------------------------------------------------------

    def _stage(self, file_id: int) -> bool:
        return self._staging.stage(file_id, *self._look(file_id))

    def stage_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, bool | ArchiveError]]:
        """Ask for recalls, in the order of the tapes; yields as ``status_many``."""
        self.ensure_open()
        return self._staging.stage_many(file_ids, self._look)

    # --- writing ---------------------------------------------------------------

    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        self._ensure_writable(file_id)
        try:
            file = self._incoming.create(size=size)
        except HpssError as exc:
            raise error_of(exc, file_id) from exc
        return HpssWriter(
            self,
            file_id,
            file,
            size=size,
            mtime_ns=mtime_ns,
            durable=self.options.durable,
            publish=functools.partial(
                self._publish, file_id, file, overwrite=overwrite
            ),
        )

    def _publish(
        self, file_id: int, file: IncomingFile, sealed: Sealed, *, overwrite: bool
    ) -> None:
        self._names.give(file_id, sealed, overwrite=overwrite)
        if not overwrite:
            file.forget_path()

    def _delete(self, file_id: int) -> None:
        self._names.take(file_id)

    def _ensure_writable(self, file_id: int) -> None:
        if self._refusal is not None:
            raise AccessDenied(
                f"file {file_id}: the archive was opened for reading only"
            ) from self._refusal

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        """
        Make the file at the absolute HPSS path ``source`` the file of this id.

        It is moved, and keeps its mtime, its class of service, and the digests that an
        archive has kept with its bytes.

        Raises:
            SourceRefused: the path is not absolute, not below ``adopt_roots``, leads
                over a symlink, is not that of a regular file with one name, or is
                the archive's own.
            FileExists: the id is taken, and ``overwrite`` is false.
            CommitUnclear: stored, or not: look at its status; the source may still
                be there too.
        """
        file_id = self._ready(file_id)
        self._ensure_writable(file_id)
        found = source_at(
            self._session,
            file_id,
            source,
            roots=self._adopt_roots,
            prefix=self._prefix,
        )
        move(self._session, self._names, file_id, found, overwrite=overwrite)

    # --- the trash -------------------------------------------------------------

    def trash(self, file_id: int) -> None:
        """
        Put the file into the trash; the id is free when this returns.

        By a rename: that this is done at once, lasts, and that who has the file open
        reads on are guesses. It stays the same version.

        Raises:
            NoSuchFile: no file is stored under this id, or no longer.
            FileDamaged: what has its name is no file.
            CommitUnclear: in the trash, or not: look at its status.
        """
        self._trash.put(self._ready(file_id))

    def undelete(self, file_id: int, *, deleted_ns: int | None = None) -> None:
        """
        Take a file back from the trash: the last one trashed of this id by default.

        By a link, as nothing else in HPSS refuses a name that is taken, and by the
        removal of the name in the trash. Of two processes that do so at the same time
        with one file both may be told that it is back, as it is. Who dies in between
        leaves the file at its id and a second name of it in the trash, which is told
        of no more; but if the file is deleted or replaced then, it is in the trash.

        Raises:
            NoSuchFile: none of this id is in the trash, or none of that time.
            FileExists: the id is taken by now; the trash stays as it is.
            CommitUnclear: it is back, or not: look at its status.
        """
        self._trash.take_back(self._ready(file_id), deleted_ns)

    def trashed(self) -> Iterator[Trashed]:
        """Yield what is in the trash, in no order."""
        self.ensure_open()
        return self._trash.files()

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        """
        Destroy what was trashed before a time; return how many files that were.

        What cannot be destroyed is told in the log only, unless nothing was destroyed.

        Args:
            before_ns: nanoseconds since 1970.
            limit: destroy no more than that now.
        """
        self.ensure_open()
        return self._trash.empty(before_ns, limit)

    # --- the store -------------------------------------------------------------

    def check(self) -> None:
        """
        Ask the core server whether it answers within ``accept_latency_s``.

        A question that is not answered cannot be taken back, so it is asked in a
        thread of its own, and not again while it is open.

        Raises:
            ArchiveUnavailable: it does not, or not in time.
        """
        self.ensure_open()
        with self._asking:
            if self._answer is None or self._answer.done():
                self._answer = Future()
                threading.Thread(
                    target=self._ask,
                    args=(self._answer,),
                    name="pacifica-hpss-check",
                    daemon=True,
                ).start()
            answer = self._answer
        allowed_s = self.options.accept_latency_s
        try:
            answer.result(allowed_s)
        except TimeoutError as exc:
            raise ArchiveUnavailable(
                f"the archive: the core server has not answered in {allowed_s:g} s"
            ) from exc
        except HpssError as exc:
            raise error_of(exc) from exc

    def _ask(self, answer: Future[None]) -> None:
        try:
            if self.options.sitename and self._session.build.has_ping:
                self._session.call(lib.pah_ping, self.options.sitename, retry=True)
            else:
                found = ffi.new("pah_stat *")
                self._session.call(lib.pah_lstat, "/", found, retry=True)
        except BaseException as exc:  # noqa: BLE001 (raised where it is waited for)
            answer.set_exception(exc)
        else:
            answer.set_result(None)

    def _close(self) -> None:
        self._recalls.close()

    def _ensure_directory(self) -> None:
        wrong = ConfigError(
            "option 'prefix' of hpss: there is no such directory in HPSS: make it"
        )
        found = ffi.new("pah_stat *")
        try:
            self._session.call(lib.pah_lstat, self.options.prefix, found, retry=True)
        except HpssError as exc:
            if exc.code in {errno.ENOENT, errno.ENOTDIR}:
                raise wrong from exc
            raise
        # It may well be a symlink, or the junction of a fileset.
        if found.kind == lib.PAH_FILE:
            raise wrong
