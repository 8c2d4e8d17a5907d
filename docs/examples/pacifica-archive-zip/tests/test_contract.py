from __future__ import annotations

import functools
import zipfile
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.testing import ArchiveContract
from pacifica_archive_zip import ZipArchive, ZipOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pacifica_archive_core import Archive


class TestZipContract(ArchiveContract):
    persistent = True

    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Path:
        prefix = tmp_path / "zips"
        prefix.mkdir()
        return prefix

    @pytest.fixture
    def opener(self, prefix: Path) -> Callable[[], Archive]:
        return functools.partial(ZipArchive, ZipOptions(prefix=prefix))

    def read_raw(self, archive: Archive, file_id: int) -> bytes:
        with zipfile.ZipFile(archive.options.prefix / f"{file_id}.zip") as stored:
            return stored.read(str(file_id))

    def write_raw(self, archive: Archive, file_id: int, data: bytes) -> None:
        with zipfile.ZipFile(archive.options.prefix / f"{file_id}.zip", "w") as stored:
            stored.writestr(str(file_id), data)

    def list_raw(self, archive: Archive) -> set[str]:
        prefix = archive.options.prefix
        return {str(path.relative_to(prefix)) for path in prefix.rglob("*")}
