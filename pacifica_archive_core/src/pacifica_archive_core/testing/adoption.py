"""Files that lie in the store already, and paths that others may open."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pacifica_archive_core.errors import FileExists, NoSuchFile, SourceRefused
from pacifica_archive_core.testing.base import (
    FILE_ID,
    Declarations,
    SourceKind,
    content,
    fetch,
    refusal,
    store,
    true_digests,
)

if TYPE_CHECKING:
    from pacifica_archive_core.archive import Archive, SupportsAdopt

OLD = content("old", 5000)
NEW = content("new", 6000)
REFUSED = [kind for kind in SourceKind if kind is not SourceKind.FILE]


class AdoptionContract(Declarations):
    """``adopt`` and ``local_path``, where the archive has them."""

    def source(
        self, archive: Archive, kind: SourceKind, tmp_path: Path
    ) -> tuple[SupportsAdopt, str]:
        """Return the archive and a path for it to adopt, or skip the test."""
        adopter = self.need_adopt(archive)
        source = self.make_source(archive, kind, NEW, tmp_path)
        if source is None:
            pytest.skip(f"lacks the ability to have {kind.value}")
        return adopter, source

    def test_an_adopted_file_is_in_the_archive(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        adopter.adopt(FILE_ID, source)

        assert (NEW, NEW) == (fetch(archive, FILE_ID), self.read_raw(archive, FILE_ID))

    def test_an_adopted_file_is_moved(self, archive: Archive, tmp_path: Path) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        adopter.adopt(FILE_ID, source)

        assert not self.source_exists(archive, source)

    def test_an_adopted_file_is_like_any_other(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        adopter.adopt(FILE_ID, source)
        status = archive.status(FILE_ID)
        store(archive, FILE_ID, OLD)
        archive.delete(FILE_ID)

        assert (FILE_ID, len(NEW), True) == (status.file_id, status.size, status.online)

    def test_a_taken_id_does_not_adopt(self, archive: Archive, tmp_path: Path) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        store(archive, FILE_ID, OLD)

        with pytest.raises(FileExists):
            adopter.adopt(FILE_ID, source)

    def test_a_source_that_is_not_adopted_stays(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        store(archive, FILE_ID, OLD)
        refusal(adopter.adopt, FILE_ID, source)

        assert (OLD, True) == (
            fetch(archive, FILE_ID),
            self.source_exists(archive, source),
        )

    def test_an_adopted_file_replaces_another(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        store(archive, FILE_ID, OLD)
        adopter.adopt(FILE_ID, source, overwrite=True)

        assert NEW == fetch(archive, FILE_ID)

    def test_an_adopted_file_is_another_version(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        store(archive, FILE_ID, NEW, digests=true_digests(NEW, ["md5"]))
        before = archive.status(FILE_ID).version
        adopter.adopt(FILE_ID, source, overwrite=True)

        assert (True, {}) == (
            archive.status(FILE_ID).version != before,
            dict(archive.digests(FILE_ID)),
        )

    def test_a_reader_keeps_its_version_when_another_is_adopted(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        store(archive, FILE_ID, OLD)
        with archive.open(FILE_ID) as reader:
            adopter.adopt(FILE_ID, source, overwrite=True)
            found = reader.readall()

        assert OLD == found

    @pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name.lower())
    def test_what_may_not_be_adopted_is_refused(
        self, archive: Archive, kind: SourceKind, tmp_path: Path
    ) -> None:
        """And stays where it is."""
        adopter, source = self.source(archive, kind, tmp_path)
        before = self.source_exists(archive, source)
        found = refusal(adopter.adopt, FILE_ID, source)

        assert (SourceRefused, before) == (
            type(found),
            self.source_exists(archive, source),
        )

    @pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name.lower())
    def test_a_refused_source_replaces_nothing(
        self, archive: Archive, kind: SourceKind, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, kind, tmp_path)
        store(archive, FILE_ID, OLD)
        with pytest.raises(SourceRefused):
            adopter.adopt(FILE_ID, source, overwrite=True)

        assert OLD == fetch(archive, FILE_ID)

    def test_a_refused_source_is_not_named(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, source = self.source(archive, SourceKind.DIRECTORY, tmp_path)
        found = refusal(adopter.adopt, FILE_ID, source)

        assert source not in str(found)

    def test_a_relative_source_is_refused(
        self, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Relative to what: the server's working directory is nobody's business."""
        adopter, source = self.source(archive, SourceKind.FILE, tmp_path)
        if Path(source).exists():
            monkeypatch.chdir(Path(source).parent)
        found = refusal(adopter.adopt, FILE_ID, Path(source).name)

        assert (SourceRefused, True) == (
            type(found),
            self.source_exists(archive, source),
        )

    def test_a_source_outside_is_not_reached_by_dots(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        adopter, outside = self.source(archive, SourceKind.OUTSIDE, tmp_path)
        inside = self.make_source(archive, SourceKind.FILE, OLD, tmp_path)
        assert inside is not None
        folder = Path(inside).parent
        dotted = f"{folder}/{os.path.relpath(outside, folder)}"
        found = refusal(adopter.adopt, FILE_ID, dotted)

        assert (SourceRefused, True) == (
            type(found),
            self.source_exists(archive, outside),
        )

    @pytest.mark.parametrize(
        "name",
        ["nul\0", "surrogate\ud800", "long" * 1000, "a/" * 3000 + "a"],
        ids=["nul", "surrogate", "name", "path"],
    )
    def test_what_is_no_path_at_all_is_refused(
        self, archive: Archive, name: str, tmp_path: Path
    ) -> None:
        """Servers pass on what they are sent."""
        adopter, source = self.source(archive, SourceKind.MISSING, tmp_path)

        with pytest.raises(SourceRefused):
            adopter.adopt(FILE_ID, f"{Path(source).parent}/{name}")

    def test_an_empty_source_is_refused(
        self, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the working directory, if it is taken for a path."""
        adopter = self.need_adopt(archive)
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        found = refusal(adopter.adopt, FILE_ID, "")

        assert (SourceRefused, True) == (type(found), here.exists())

    def test_an_archived_file_is_not_adopted(self, archive: Archive) -> None:
        """Else anyone could take it from its id."""
        adopter = self.need_adopt(archive)
        store(archive, 1, OLD)
        found = refusal(adopter.adopt, FILE_ID, archive.status(1).path)

        assert (SourceRefused, OLD) == (type(found), fetch(archive, 1))

    def test_a_file_does_not_adopt_itself(self, archive: Archive) -> None:
        adopter = self.need_adopt(archive)
        store(archive, 1, OLD)
        path = archive.status(1).path
        found = refusal(lambda: adopter.adopt(1, path, overwrite=True))

        assert (SourceRefused, OLD) == (type(found), fetch(archive, 1))

    def test_a_source_is_adopted_once(self, archive: Archive, tmp_path: Path) -> None:
        """By one of two ids that ask for it at the same time."""
        rounds, found = 10, []
        start = threading.Barrier(2, timeout=60)

        with ThreadPoolExecutor(2) as pool:
            for n in range(rounds):
                adopter, source = self.source(archive, SourceKind.FILE, tmp_path)

                def work(
                    file_id: int, adopter: SupportsAdopt = adopter, path: str = source
                ) -> bool:
                    start.wait()
                    return refusal(adopter.adopt, file_id, path) is None

                ids = [2 * n, 2 * n + 1]
                wins = list(pool.map(work, ids))
                there = [refusal(archive.status, file_id) is None for file_id in ids]
                found.append((sorted(wins), there == wins))

        assert [([False, True], True)] * rounds == found

    # --- local paths

    def test_a_local_path_holds_the_bytes(self, archive: Archive) -> None:
        paths = self.need_local_path(archive)
        store(archive, FILE_ID, OLD)

        assert OLD == paths.local_path(FILE_ID).read_bytes()

    def test_a_local_path_is_absolute(self, archive: Archive) -> None:
        """Another program has another working directory."""
        paths = self.need_local_path(archive)
        store(archive, FILE_ID, OLD)
        path = paths.local_path(FILE_ID)

        assert (True, True) == (isinstance(path, Path), path.is_absolute())

    def test_a_local_path_is_of_the_present_version(self, archive: Archive) -> None:
        paths = self.need_local_path(archive)
        store(archive, FILE_ID, OLD)
        paths.local_path(FILE_ID)
        store(archive, FILE_ID, NEW)

        assert NEW == paths.local_path(FILE_ID).read_bytes()

    def test_an_unfinished_file_has_no_local_path(self, archive: Archive) -> None:
        paths = self.need_local_path(archive)
        writer = archive.create(FILE_ID)
        writer.write(NEW)
        found = refusal(paths.local_path, FILE_ID)
        writer.discard()

        assert NoSuchFile is type(found)
