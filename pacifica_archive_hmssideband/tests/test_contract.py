from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from kit import Medium, SidebandKit, Site, new_schema, new_sqlite

from pacifica_archive_core import (
    FileExists,
    SupportsAdopt,
    SupportsLocalPath,
    SupportsRecord,
    SupportsTrash,
)
from pacifica_archive_core.testing.base import content, store
from pacifica_archive_core.testing.tape import TapeContract
from pacifica_archive_hmssideband import HmsSidebandArchive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mariadb import MariaDb


DATA = content("data", 5000)
#: So long that a stage is under way when the next call comes.
STAGE_S = 1.0


@pytest.fixture(scope="module")
def mariadb_site(
    mariadb_server: MariaDb, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    url, reader_url = new_schema(mariadb_server, "samcontract")
    mount = tmp_path_factory.mktemp("mount")
    site = Site(mount=mount, url=url, reader_url=reader_url)
    with site.in_step(stage_s=STAGE_S):
        yield site


@pytest.fixture(scope="module")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    url = new_sqlite(tmp_path_factory.mktemp("database"))
    mount = tmp_path_factory.mktemp("mount")
    site = Site(mount=mount, url=url, reader_url=url)
    with site.in_step(stage_s=STAGE_S):
        yield site


class TestMariaDb(SidebandKit):
    @pytest.fixture
    def site(self, mariadb_site: Site) -> Site:
        return mariadb_site


class TestSqlite(SidebandKit):
    @pytest.fixture
    def site(self, sqlite_site: Site) -> Site:
        return sqlite_site

    def test_a_changed_copy_of_a_file_is_another_version(
        self, archive: HmsSidebandArchive
    ) -> None:
        """Made with all attributes, as by ``cp -a``, and adopted in its place."""
        store(archive, 1, DATA)
        before = archive.status(1).version
        source = self.sources(archive) / "copy"
        shutil.copy2(archive.local_path(1), source)
        source.chmod(0o644)
        source.write_bytes(DATA[::-1])
        archive.adopt(1, str(source), overwrite=True)

        assert before != archive.status(1).version

    def test_the_version_of_an_adopted_file_stays_on_the_way_to_tape(
        self, archive: HmsSidebandArchive
    ) -> None:
        source = self.sources(archive) / "source"
        source.write_bytes(DATA)
        archive.adopt(1, str(source))
        before = archive.status(1).version
        self.make_offline(archive, 1)

        assert before == archive.status(1).version

    def test_a_record_of_digests_keeps_the_version(
        self, archive: HmsSidebandArchive
    ) -> None:
        """It is in an attribute beside them, not in the time of the last change."""
        store(archive, 1, DATA)
        before = archive.status(1).version
        done = archive.record_digests(1, {"md5": bytes(16)}, version=before)

        assert (True, before) == (done, archive.status(1).version)

    def test_a_source_that_is_not_taken_keeps_its_attributes(
        self, archive: HmsSidebandArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another was faster, and that was known only when all else was done."""
        source = self.sources(archive) / "source"
        source.write_bytes(DATA)
        os.setxattr(source, "user.pacifica_archive.version", b"its own")
        link = os.link
        # The first is its name among the unfinished.
        answers = iter([None, FileExistsError(errno.EEXIST, "taken")])

        def late(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (as they come)
            if answer := next(answers):
                raise answer
            link(*args, **kwargs)

        monkeypatch.setattr(os, "link", late)
        with pytest.raises(FileExists):
            archive.adopt(1, str(source))

        assert b"its own" == os.getxattr(source, "user.pacifica_archive.version")


class TestRecallsByReading(Medium, TapeContract):
    stages_by_command = False

    @pytest.fixture
    def site(self, sqlite_site: Site) -> Site:
        return sqlite_site


def test_hmssideband_adopts() -> None:
    assert issubclass(HmsSidebandArchive, SupportsAdopt)


def test_hmssideband_records() -> None:
    assert issubclass(HmsSidebandArchive, SupportsRecord)


def test_hmssideband_has_local_paths() -> None:
    assert issubclass(HmsSidebandArchive, SupportsLocalPath)


def test_hmssideband_has_a_trash() -> None:
    assert issubclass(HmsSidebandArchive, SupportsTrash)
