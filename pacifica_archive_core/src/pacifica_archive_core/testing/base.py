"""What a backend's author declares and gives to the contract's tests."""

from __future__ import annotations

import enum
import gc
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from pacifica_archive_core.archive import (
    SupportsAdopt,
    SupportsLocalPath,
    SupportsRecord,
    SupportsTrash,
)
from pacifica_archive_core.digests import Hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pacifica_archive_core.archive import Archive
    from pacifica_archive_core.status import FileStatus

__all__ = [
    "FILE_ID",
    "Declarations",
    "SourceKind",
    "content",
    "fetch",
    "forget",
    "lasting",
    "refusal",
    "store",
    "true_digests",
]

FILE_ID = 12345


class SourceKind(enum.Enum):
    """What lies at a path that a test gives to ``adopt``."""

    FILE = "a file that may be adopted"
    MISSING = "nothing"
    DIRECTORY = "a directory"
    SYMLINK = "a symbolic link to a file that may be adopted"
    BELOW_SYMLINK = "such a file, by way of a symbolic link to its directory"
    HARD_LINK = "a file with a second name"
    OUTSIDE = "a file where nothing may be adopted from"


class Declarations:
    """
    What a backend can do, declared once, and how its medium is reached.

    Every attribute's default is the one that promises least; a test of an
    ability that is not declared is skipped and says so.
    ``opener``, ``read_raw``, ``write_raw`` and ``list_raw`` are needed; each
    other method belongs to the ability that its docstring names.
    """

    # No ABC: pytest passes over an abstract test class without a word, where
    # NotImplementedError is an error of every test that needs what is not given.

    #: Files outlive the archive that stored them: another archive opened on the
    #: same store, also by another process, sees them.
    persistent: ClassVar[bool] = False
    #: What a dead writer left is gone when the next archive has been opened.
    #: Meant for persistent stores; false for one that cleans up in another way.
    sweeps: ClassVar[bool] = True
    #: A child of a process that opened archives may open its own after the fork;
    #: false for a client library that only a fresh process can log in with.
    opens_after_fork: ClassVar[bool] = True
    #: A reader reads its version to the end, whatever becomes of the id; false for
    #: a remote store that holds nothing for its readers, of which one of a file over
    #: 64 KiB may raise FileDamaged when that was replaced or deleted.
    keeps_replaced: ClassVar[bool] = True
    #: The medium has files with holes; then give ``write_raw_sparse``.
    sparse: ClassVar[bool] = False
    #: What mtimes are cut to: 1 for nanoseconds, 10**9 for seconds.
    mtime_resolution_ns: ClassVar[int] = 1
    #: ``digests`` returns what was set on the writer.
    keeps_digests: ClassVar[bool] = False
    #: Algorithms of the digests that the store adds to those of a writer, if it
    #: keeps any; not to those of a file that it adopts.
    computes_digests: ClassVar[frozenset[str]] = frozenset()
    #: There is tape, or a pretence; then give ``make_offline``, ``finish_recalls``.
    has_tape: ClassVar[bool] = False
    #: The store can be filled up; then give ``filled``.
    can_be_filled: ClassVar[bool] = False
    #: The store can stop to answer; then give ``unreachable``.
    can_be_unreachable: ClassVar[bool] = False
    #: Runs of the comparison with a dictionary; fewer for a slow store.
    model_examples: ClassVar[int] = 20

    @pytest.fixture(autouse=True)
    def _short_reasons(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Keep pytest from writing out how two blocks of bytes differ.

        Under CI it does, and takes minutes for 20 kB of random ones.
        """
        for variable in ("CI", "BUILD_NUMBER"):
            monkeypatch.delenv(variable, raising=False)

    @pytest.fixture
    def opener(self) -> Callable[[], Archive]:
        """
        Return a function that opens an archive on this test's own empty store.

        Called more than once it opens the same store, if that is persistent.
        It is pickled and called in other processes: a ``functools.partial`` of
        the archive's class and its options will do, a lambda will not.
        """
        raise NotImplementedError("give a fixture `opener`")

    @pytest.fixture
    def archive(self, opener: Callable[[], Archive]) -> Iterator[Archive]:
        """Open the archive that a test works on."""
        with opener() as archive:
            yield archive

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        """
        Return the bytes of a file from the medium, not by way of the archive.

        Else reading and writing might agree on a mistake.
        """
        raise NotImplementedError("give `read_raw`")

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        """Put a file on the medium, not by way of the archive."""
        raise NotImplementedError("give `write_raw`")

    def list_raw(self, archive: Archive) -> set[str]:
        """
        Return the names of all that lies on the medium, not only of files.

        Directories and what unfinished writers keep there belong to it: the
        tests compare the names before and after, also of a closed archive.
        """
        raise NotImplementedError("give `list_raw`")

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        """
        Put a file on the medium of zeros but for ``parts``: offset to bytes.

        For ``sparse``.
        """
        raise NotImplementedError("give `write_raw_sparse`")

    def make_offline(self, archive: Archive, file_id: int) -> None:
        """Leave a file on tape only; for ``has_tape``."""
        raise NotImplementedError("give `make_offline`")

    def finish_recalls(self, archive: Archive) -> None:
        """Return when all that was asked for is on disk; for ``has_tape``."""
        raise NotImplementedError("give `finish_recalls`")

    def filled(self, archive: Archive) -> AbstractContextManager[None]:
        """Let the store have no space left in a with-block; for ``can_be_filled``."""
        raise NotImplementedError("give `filled`")

    def unreachable(self, archive: Archive) -> AbstractContextManager[None]:
        """
        Let the store not answer in a with-block, and answer again after it.

        For ``can_be_unreachable``.
        """
        raise NotImplementedError("give `unreachable`")

    def sources(self, archive: Archive) -> Path:
        """
        Return a directory of this host that ``adopt`` takes files from.

        For a backend with ``adopt``, unless it gives ``make_source``.
        """
        raise NotImplementedError("give `sources` or `make_source`")

    def make_source(
        self, archive: Archive, kind: SourceKind, data: bytes, tmp_path: Path
    ) -> str | None:
        """
        Make what ``kind`` says and return its path; None: there is no such thing.

        For a backend with ``adopt`` whose paths are not those of this host.
        """
        folder = self.sources(archive)
        file = (tmp_path if kind is SourceKind.OUTSIDE else folder) / "source"
        if kind is SourceKind.DIRECTORY:
            file.mkdir()
            return str(file)
        if kind is SourceKind.MISSING:
            return str(file)
        if kind is SourceKind.BELOW_SYMLINK:
            real = folder / "real"
            real.mkdir()
            (folder / "way").symlink_to(real, target_is_directory=True)
            (real / "source").write_bytes(data)
            return str(folder / "way" / "source")
        file.write_bytes(data)
        if kind is SourceKind.SYMLINK:
            (folder / "link").symlink_to(file)
            return str(folder / "link")
        if kind is SourceKind.HARD_LINK:
            (folder / "second").hardlink_to(file)
        return str(file)

    def make_digested_source(
        self,
        archive: Archive,
        data: bytes,
        digests: Mapping[str, bytes],
        tmp_path: Path,
    ) -> str | None:
        """
        Make a file to adopt that the store has kept digests with, return its path.

        None: there is no such thing. By default it is the file of another id,
        moved by its local path; for ``keeps_digests`` and ``adopt``.
        """
        del tmp_path
        if not isinstance(archive, SupportsLocalPath):
            return None
        store(archive, FILE_ID + 1, data, mtime_ns=10**18, digests=digests)
        source = self.sources(archive) / "digested"
        archive.local_path(FILE_ID + 1).rename(source)
        return str(source)

    def change_source(self, archive: Archive, source: str, data: bytes) -> None:
        """Write other bytes into a file that ``make_digested_source`` has made."""
        del archive
        Path(source).chmod(0o644)
        Path(source).write_bytes(data)

    def source_exists(self, archive: Archive, source: str) -> bool:
        """Whether a path made by ``make_source`` is still there."""
        del archive
        return os.path.lexists(source)

    def need(self, ability: str) -> None:
        """Skip the test unless the ability is declared."""
        if not getattr(self, ability):
            pytest.skip(f"lacks the ability {ability!r}")

    def need_adopt(self, archive: Archive) -> SupportsAdopt:
        """Skip the test unless the archive can adopt."""
        if not isinstance(archive, SupportsAdopt):
            pytest.skip("lacks the ability SupportsAdopt")
        return archive

    def need_local_path(self, archive: Archive) -> SupportsLocalPath:
        """Skip the test unless the archive has local paths."""
        if not isinstance(archive, SupportsLocalPath):
            pytest.skip("lacks the ability SupportsLocalPath")
        return archive

    def need_record(self, archive: Archive) -> SupportsRecord:
        """Skip the test unless digests can be kept with a stored file."""
        self.need("keeps_digests")
        if not isinstance(archive, SupportsRecord):
            pytest.skip("lacks the ability SupportsRecord")
        return archive

    def need_trash(self, archive: Archive) -> SupportsTrash:
        """Skip the test unless the archive has a trash."""
        if not isinstance(archive, SupportsTrash):
            pytest.skip("lacks the ability SupportsTrash")
        return archive

    def kept(self, data: bytes, names: Iterable[str] = ()) -> dict[str, bytes]:
        """Return the digests of a file that was stored with those of ``names``."""
        if not self.keeps_digests:
            return {}
        return true_digests(data, {*names, *self.computes_digests})

    def calls(self, archive: Archive) -> dict[str, Callable[[Any], object]]:
        """Return each method that takes an id and raises, as a call with the id."""
        calls: dict[str, Callable[[Any], object]] = {
            "open": archive.open,
            "create": archive.create,
            "status": archive.status,
            "stage": archive.stage,
            "delete": archive.delete,
            "digests": archive.digests,
        }
        if isinstance(archive, SupportsLocalPath):
            calls["local_path"] = archive.local_path
        if isinstance(archive, SupportsRecord):
            calls["record_digests"] = lambda file_id: archive.record_digests(
                file_id, {"md5": bytes(16)}, version="of-no-file"
            )
        if isinstance(archive, SupportsTrash):
            # Last and in this order: what is stored before both is so after them.
            calls["trash"] = archive.trash
            calls["undelete"] = archive.undelete
        return calls

    def private_words(self, archive: Archive) -> set[str]:
        """
        Return what no message may hold: by default every option that is text.

        Prefixes, hosts, users and passwords are; words under 4 letters are
        left out, since they may be part of an honest message.
        """
        words: set[str] = set()
        if attrs.has(type(archive.options)):
            for value in attrs.asdict(archive.options, recurse=False).values():
                values = value if isinstance(value, (tuple, list)) else (value,)
                words.update(str(v) for v in values if isinstance(v, (str, Path)))
        return {word for word in words if len(word) >= 4}


def content(name: object, size: int) -> bytes:
    """Return ``size`` bytes that only this name has."""
    return hashlib.shake_128(repr(name).encode()).digest(size)


def true_digests(data: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """Return the digests of bytes, by algorithm."""
    with Hashes(names) as hashes:
        hashes.update(data)
        return hashes.digests()


def store(
    archive: Archive,
    file_id: int,
    data: bytes,
    *,
    mtime_ns: int | None = None,
    overwrite: bool = True,
    digests: Mapping[str, bytes] | None = None,
) -> None:
    """Store a file, in blocks."""
    with archive.create(
        file_id, size=len(data), mtime_ns=mtime_ns, overwrite=overwrite
    ) as writer:
        writer.digests.update(digests or {})
        for start in range(0, len(data), archive.block_size):
            writer.write(data[start : start + archive.block_size])


def fetch(archive: Archive, file_id: int) -> bytes:
    """Return the bytes of a file."""
    with archive.open(file_id) as reader:
        return reader.readall()


def lasting(status: FileStatus) -> FileStatus:
    """Leave out how the residency is known, which a store may hear of later."""
    return attrs.evolve(status, residency_source="any")


def forget(things: list[Any]) -> None:
    """Drop the last references to things, and have them finalized."""
    things.clear()
    gc.collect()


def refusal(call: Callable[..., object], *args: object) -> Exception | None:
    """Return what a call raises; close or discard what it returns instead."""
    try:
        result = call(*args)
    except Exception as exc:  # noqa: BLE001 (which one it is, the test will say)
        return exc
    for end in ("discard", "close"):
        if hasattr(result, end):
            getattr(result, end)()
    return None
