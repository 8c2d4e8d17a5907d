"""The contract of every archive."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    Self,
    final,
    runtime_checkable,
)

import attrs

from pacifica_archive_core.errors import (
    AccessDenied,
    ArchiveError,
    FileError,
    NoSuchFile,
    NotSupported,
)
from pacifica_archive_core.ids import checked_file_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from pacifica_archive_core.files import ArchiveReader, ArchiveWriter
    from pacifica_archive_core.status import FileStatus

__all__ = [
    "Archive",
    "SupportsAdopt",
    "SupportsLocalPath",
    "SupportsRecord",
    "SupportsTrash",
    "Trashed",
]


class Archive(ABC):
    """
    Files under integer ids, in a store that may have tape behind its disks.

    Shared by any number of threads; opened after a fork, never across one.
    Every method may raise ArchiveUnavailable and AccessDenied, ValueError when
    the archive is closed, RuntimeError in a process that did not open it, and
    InvalidFileId; only what it may raise beyond is listed with it.

    A backend gives the hooks (``_open``, ``_create``, ``_status``,
    ``_delete``; ``_stage`` where there is tape) and may replace the methods
    that are not final.

    Args:
        options: an instance of ``options_class``. The constructor acquires
            everything or raises an ArchiveError, and reads no environment.
    """

    #: An attrs class; see ``pacifica_archive_core.options``.
    options_class: ClassVar[type[Any]]
    #: The sections of the INI file, any one of which may hold the options; the
    #: first, without underscores, is the backend's name in the environment.
    config_sections: ClassVar[tuple[str, ...]]
    #: Bytes per call that are worth making.
    block_size: int = 1 << 18
    #: Whether other processes that open the same store see the same files.
    shared_between_processes: ClassVar[bool] = True

    @classmethod
    def remark(cls) -> str | None:
        """
        Return what an operator should know of this backend as it is installed.

        Such as that the library it is linked with is a simulator. A few words,
        shown by ``pacifica-archive backends`` and ``check``; None: nothing.
        """
        return None

    def __init__(self, options: Any) -> None:  # noqa: ANN401 (each backend's own class)
        self.options = options
        self._pid = os.getpid()
        self._closed = False

    @abstractmethod
    def _open(self, file_id: int, *, recall: bool) -> ArchiveReader:
        """Open the present version; FileOffline if not ``recall``."""

    @abstractmethod
    def _create(
        self, file_id: int, *, size: int | None, mtime_ns: int | None, overwrite: bool
    ) -> ArchiveWriter:
        """Begin a file; may refuse at once what its commit would refuse."""

    @abstractmethod
    def _status(self, file_id: int) -> FileStatus:
        """Never open, recall, or wait for a file that moves between levels."""

    @abstractmethod
    def _delete(self, file_id: int) -> None:
        """Remove the file; never recall it."""

    def _stage(self, file_id: int) -> bool:
        """Ask for a recall and return; the default serves stores without tape."""
        if self._status(file_id).online:
            return True
        raise NotSupported("this backend cannot stage files")

    def _close(self) -> None:
        """Free what the archive holds; called once, in the opening process."""

    @final
    def open(self, file_id: int, *, recall: bool = False) -> ArchiveReader:
        """
        Open the present version of a file for reading.

        Args:
            file_id: the id.
            recall: wait for a file on tape, as long as an option of the
                backend allows, instead of raising FileOffline.

        Raises:
            NoSuchFile, FileOffline, FileDamaged: as they say.
        """
        return self._open(self._ready(file_id), recall=recall)

    @final
    def create(
        self,
        file_id: int,
        *,
        size: int | None = None,
        mtime_ns: int | None = None,
        overwrite: bool = False,
    ) -> ArchiveWriter:
        """
        Begin to store a file, which becomes visible when its writer commits.

        Args:
            file_id: the id.
            size: the number of bytes, if known: the commit then refuses any
                other, and the store may reserve the space.
            mtime_ns: the time of the content, nanoseconds since 1970; the
                time of the commit by default.
            overwrite: replace the file that is stored under this id.

        Raises:
            FileExists: the id is taken, and ``overwrite`` is false. If it is
                taken only later, the commit raises it.
            ArchiveFull: no space for ``size`` bytes.
        """
        file_id = self._ready(file_id)
        if size is not None and size < 0:
            raise ValueError(f"a size is not negative: {size}")
        return self._create(file_id, size=size, mtime_ns=mtime_ns, overwrite=overwrite)

    @final
    def status(self, file_id: int) -> FileStatus:
        """
        Return what is known of a file without touching its bytes.

        Raises:
            NoSuchFile: no file is stored under this id.
        """
        return self._status(self._ready(file_id))

    @final
    def stage(self, file_id: int) -> bool:
        """
        Ask for a recall of the file from tape, and return at once.

        Idempotent. False says "asked for", never "done": look at the status.

        Returns:
            True if it is on disk already.

        Raises:
            NoSuchFile, FileDamaged: as they say.
            NotSupported: the file is not on disk and the store cannot recall.
        """
        return self._stage(self._ready(file_id))

    @final
    def delete(self, file_id: int) -> None:
        """
        Remove the file; who has it open reads on.

        Raises:
            NoSuchFile: no file is stored under this id, or no longer.
        """
        self._delete(self._ready(file_id))

    def digests(self, file_id: int) -> Mapping[str, bytes]:
        """
        Return the digests kept with the present version: algorithm to value.

        Empty if none are kept; never computed, never recalled for.

        Raises:
            NoSuchFile: no file is stored under this id.
        """
        self.status(file_id)
        return {}

    @final
    def digests_of(self, status: FileStatus) -> Mapping[str, bytes]:
        """
        Return the digests kept with this very version: algorithm to value.

        Empty if none are kept, or if another version is there by now.
        """
        try:
            found = self.digests(status.file_id)
            # Again, as ``digests`` does not say of which version they are.
            if found and self.status(status.file_id).version == status.version:
                return found
        except NoSuchFile:
            pass  # Deleted meanwhile: nothing is kept with that version any more.
        return {}

    def status_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, FileStatus | ArchiveError]]:
        """
        Yield each id with its status, or with the error of this very file.

        In input order, duplicates kept; a backend asks its store in batches.
        The store itself failing (ArchiveUnavailable) is raised.
        """
        for file_id in file_ids:
            try:
                answer: FileStatus | ArchiveError = self.status(file_id)
            except (FileError, AccessDenied) as exc:
                answer = exc
            yield file_id, answer

    def stage_many(
        self, file_ids: Iterable[int]
    ) -> Iterator[tuple[int, bool | ArchiveError]]:
        """Ask for recalls; yields as ``status_many`` does, values of ``stage``."""
        for file_id in file_ids:
            try:
                answer: bool | ArchiveError = self.stage(file_id)
            except (FileError, AccessDenied, NotSupported) as exc:
                answer = exc
            yield file_id, answer

    def check(self) -> None:
        """
        Ask the store whether it would serve.

        Raises:
            ArchiveUnavailable: it does not answer.
        """
        self.ensure_open()

    def ready(self) -> None:
        """
        Raise as ``check`` does, if a server is not to be asked for files now.

        Other than ``check`` where the archive serves without a part that failed.
        """
        self.check()

    @final
    def close(self) -> None:
        """
        Free what the archive holds, even if that fails. Idempotent.

        Open readers and writers raise ValueError from then on, and are still
        to be closed or discarded by their users.
        """
        if not self._closed:
            self._closed = True
            # A forked child owns nothing: its end must not end its parent's.
            if self._pid == os.getpid():
                self._close()

    @final
    def ensure_open(self) -> None:
        """
        Raise unless this archive may be used here and now.

        Raises:
            ValueError: it is closed.
            RuntimeError: it was opened by another process.
        """
        if self._closed:
            raise ValueError("the archive is closed")
        if self._pid != os.getpid():
            raise RuntimeError(
                "the archive was opened by another process: open it after fork"
            )

    @final
    def _ready(self, file_id: int) -> int:
        """
        Check the archive and return the id as a plain int.

        First thing in every method with an id, which goes on with the result.
        """
        self.ensure_open()
        return checked_file_id(file_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@runtime_checkable
class SupportsAdopt(Protocol):
    """A store that can take in a file that lies in it already."""

    def adopt(self, file_id: int, source: str, *, overwrite: bool = False) -> None:
        """
        Make the file at the absolute path ``source`` the file of this id.

        It is moved, not copied, where the store can.

        Raises:
            SourceRefused: the path is not absolute, not allowed, not there,
                no regular file, or an archived file itself.
            FileExists: the id is taken, and ``overwrite`` is false.
            CommitUnclear: stored, or not: look at its status.
        """


@runtime_checkable
class SupportsLocalPath(Protocol):
    """A store whose files other programs of this host can open by path."""

    def local_path(self, file_id: int) -> Path:
        """
        Return where the present version is; for reading only.

        Raises:
            NoSuchFile: no file is stored under this id.
        """


@attrs.frozen(kw_only=True)
class Trashed:
    """
    A deleted file that can still be taken back.

    Attributes:
        file_id: the id that it had.
        deleted_ns: when it was put into the trash, nanoseconds since 1970 by the
            clock of who did it, or a little later: with the id it names this very
            file.
        size: in bytes.
    """

    file_id: int
    deleted_ns: int
    size: int


@runtime_checkable
class SupportsTrash(Protocol):
    """
    A store in which a deleted file may be kept for a while.

    The file is at its id or in the trash, whole, at every moment and after every
    crash. Its bytes, time, digests and residency stay; its version may change.
    Nothing of this recalls a file.
    """

    # How files are named there is the backend's own; but ``deleted_ns`` is to differ
    # for files of one id, also of one nanosecond or after a clock was set back: add 1
    # until it does.

    def trash(self, file_id: int) -> None:
        """
        Put the file into the trash; the id is free when this returns.

        Who has it open reads on. Files of one id that are trashed one after the
        other are all kept. Durable on return.

        Raises:
            NoSuchFile: no file is stored under this id, or no longer.
            CommitUnclear: in the trash, or not: look at its status.
        """

    def undelete(self, file_id: int, *, deleted_ns: int | None = None) -> None:
        """
        Take a file back from the trash: that of the latest ``deleted_ns`` by default.

        Durable on return.

        Raises:
            NoSuchFile: none of this id is in the trash, or none of that time.
            FileExists: the id is taken by now; the trash stays as it is.
            CommitUnclear: it is back, or not: look at its status.
        """

    def trashed(self) -> Iterator[Trashed]:
        """Return what is in the trash, in no order."""

    def empty_trash(self, before_ns: int, *, limit: int | None = None) -> int:
        """
        Destroy what was trashed before a time; return how many files that were.

        The oldest first.

        Args:
            before_ns: nanoseconds since 1970.
            limit: destroy no more than that now.
        """


@runtime_checkable
class SupportsRecord(Protocol):
    """A store that can keep digests with a file that is stored already."""

    def record_digests(
        self, file_id: int, digests: Mapping[str, bytes], *, version: str
    ) -> bool:
        """
        Keep digests with the version they were made of; those kept stay.

        The status's ``version`` may change by it, once, while the bytes stay.

        Args:
            file_id: the id.
            digests: algorithm to value.
            version: of the status that the bytes were read with.

        Returns:
            True if they are kept, False if another version is there by now.

        Raises:
            NoSuchFile: no file is stored under this id.
            NotSupported: this store cannot keep them after all.
        """
