from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from pacifica_archive_core import Archive, SupportsLocalPath
from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class PosixKit(ArchiveContract):
    """The medium is a directory."""

    archive_class: ClassVar[type[PosixArchive]] = PosixArchive
    durable: ClassVar[bool] = True
    use_id2filename: ClassVar[bool] = False
    persistent = True
    sparse = True
    keeps_digests = True
    can_be_unreachable = True

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        """Return where the archive and what it adopts from are."""
        return tmp_path

    @pytest.fixture
    def opener(self, home: Path) -> Callable[[], Archive]:
        for name in ("archive", "inbox"):
            (home / name).mkdir()
        return partial(
            self.archive_class,
            PosixOptions(
                prefix=home / "archive",
                use_id2filename=self.use_id2filename,
                durable=self.durable,
                adopt_roots=(home / "archive", home / "inbox"),
            ),
        )

    def path(self, archive: Archive, file_id: int) -> Path:
        prefix: Path = archive.options.prefix
        if not self.use_id2filename:
            return prefix / str(file_id)
        # Not by the function under test: the bytes of the id, lowest first.
        digits = f"{file_id:x}"
        parts = []
        while len(digits) > 2:
            parts.append(digits[-2:])
            digits = digits[:-2]
        name = f"{file_id:x}" if parts else f"file.{file_id:x}"
        return prefix.joinpath(*parts, name)

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        return self.path(archive, file_id).read_bytes()

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        self.write_raw_sparse(archive, file_id, len(data), {0: data})

    def write_raw_sparse(
        self, archive: Archive, file_id: int, size: int, parts: dict[int, bytes]
    ) -> None:
        path = self.path(archive, file_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)
            for offset, part in parts.items():
                file.seek(offset)
                file.write(part)

    def list_raw(self, archive: Archive) -> set[str]:
        prefix: Path = archive.options.prefix
        return {str(path.relative_to(prefix)) for path in prefix.rglob("*")}

    def sources(self, archive: Archive) -> Path:
        folder: Path = archive.options.adopt_roots[1]
        return folder

    @contextlib.contextmanager
    def unreachable(self, archive: Archive) -> Iterator[None]:
        """Let the mount point be bare."""
        prefix: Path = archive.options.prefix
        away = prefix.rename(prefix.parent / "away")
        prefix.mkdir()
        yield
        prefix.rmdir()
        away.rename(prefix)


class TestFlat(PosixKit):
    pass


class TestNested(PosixKit):
    use_id2filename = True


class InMemoryKit(PosixKit):
    """On another kind of file system, and without waiting for disks."""

    durable = False

    @pytest.fixture
    def home(self, memory: Path) -> Path:
        return memory


class TestFlatNotDurable(InMemoryKit):
    pass


class TestNestedNotDurable(InMemoryKit):
    use_id2filename = True


def test_posix_has_local_paths() -> None:
    assert issubclass(PosixArchive, SupportsLocalPath)
