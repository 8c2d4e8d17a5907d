"""Files that lie in HPSS already: what of the contract's rules is of HPSS."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from scenes import FILE_ID, NEW, OLD, Place, places

from pacifica_archive_core import FileExists, SourceRefused
from pacifica_archive_core.testing.base import fetch, refusal, store
from pacifica_archive_hpss import HpssArchive

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Place]:
    with places() as new_place:
        yield new_place()


@pytest.fixture
def archive(place: Place) -> Iterator[HpssArchive]:
    with HpssArchive(place.options()) as archive:
        yield archive


@pytest.fixture
def source(place: Place, archive: HpssArchive) -> str:
    """Return the path of a file that anybody may write to."""
    del archive
    path = f"{place.prefix}/inbox/source"
    place.put(path, NEW)
    place.chmod(path, 0o666)
    return path


def mode(place: Place, path: str) -> int:
    return place.files()[path.removeprefix(place.prefix)]["mode"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_adopted_file_is_for_reading_only(
    archive: HpssArchive, place: Place, source: str, *, overwrite: bool
) -> None:
    archive.adopt(FILE_ID, source, overwrite=overwrite)

    assert 0o444 == mode(place, place.path())


def test_a_source_that_is_not_adopted_keeps_its_mode(
    archive: HpssArchive, place: Place, source: str
) -> None:
    store(archive, FILE_ID, OLD)
    with pytest.raises(FileExists):
        archive.adopt(FILE_ID, source)

    assert 0o666 == mode(place, source)


def test_an_adopted_file_has_one_name(
    archive: HpssArchive, place: Place, source: str
) -> None:
    archive.adopt(FILE_ID, source)

    assert 1 == place.files()[place.name()]["links"]


def test_an_adopted_file_keeps_its_time(
    archive: HpssArchive, place: Place, source: str
) -> None:
    before = place.files()["/inbox/source"]["mtime_s"]
    archive.adopt(FILE_ID, source)

    assert before * 10**9 == archive.status(FILE_ID).mtime_ns


def test_the_loser_of_a_source_gives_its_name_back(
    archive: HpssArchive, place: Place, source: str
) -> None:
    """Another id took the source between the link and the unlink."""
    place.simulator.rule("Unlink:1:-ENOENT")
    found = refusal(archive.adopt, FILE_ID, source)

    assert (SourceRefused, None) == (type(found), place.found())


def test_the_loser_of_a_source_does_not_take_a_newer_file_away(
    archive: HpssArchive, place: Place, source: str
) -> None:
    """That replaced what it had just linked."""
    place.simulator.rule(f"Unlink@{source}:1:hang")
    place.simulator.counters(reset=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(refusal, archive.adopt, FILE_ID, source)
        while place.simulator.counters()["calls"].get("hpss_Unlink", 0) == 0:
            time.sleep(0.001)
        store(archive, FILE_ID, OLD)
        place.simulator.remove(source)
        place.simulator.clear_rules()
        found = type(answer.result(30))

    assert (SourceRefused, OLD) == (found, place.found())


def test_a_file_being_stored_is_not_adopted(archive: HpssArchive, place: Place) -> None:
    writer = archive.create(1)
    writer.write(OLD)
    (name,) = place.incoming()
    found = refusal(archive.adopt, FILE_ID, place.prefix + name)
    writer.commit()

    assert (SourceRefused, OLD) == (type(found), fetch(archive, 1))


def test_the_path_of_an_id_is_refused_by_its_look(
    archive: HpssArchive, place: Place
) -> None:
    """However it is written."""
    store(archive, 12345, OLD)
    spelled = f"{place.prefix}//39/./3039"

    with pytest.raises(SourceRefused, match="file of an id"):
        archive.adopt(1, spelled)


def test_nothing_is_adopted_without_a_root(place: Place, source: str) -> None:
    with HpssArchive(place.options(adopt_roots="")) as archive:
        found = refusal(archive.adopt, FILE_ID, source)

    assert SourceRefused is type(found)


def test_a_source_that_is_gone_behind_its_link_is_adopted(
    archive: HpssArchive, place: Place, source: str
) -> None:
    """By an unlink that the library sent twice, or by a stranger's."""
    place.simulator.rule(f"Unlink@{source}:1:lost-ENOENT")
    archive.adopt(FILE_ID, source)

    assert NEW == fetch(archive, FILE_ID)
