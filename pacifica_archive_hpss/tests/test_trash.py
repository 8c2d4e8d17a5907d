"""Deleted files that can be taken back: what of the contract's rules is of HPSS."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pytest
from kit import open_archive
from scenes import (
    DIGESTS,
    FILE_ID,
    NEIGHBOUR,
    NEW,
    OLD,
    Place,
    places,
    session,
    set_clock_forward,
)
from trashing import IDS, store_and_trash_for_ever

from pacifica_archive_core import (
    AccessDenied,
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    FileExists,
    NoSuchFile,
    SourceRefused,
    SupportsTrash,
)
from pacifica_archive_core.testing.base import fetch, refusal, store
from pacifica_archive_core.testing.child import started
from pacifica_archive_hpss import HpssArchive
from pacifica_archive_hpss import trash as trash_module
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(rf"/\.trash/56/{FILE_ID:x}\.[0-9]+\.[0-9a-f]{{32}}")


@pytest.fixture
def place() -> Iterator[Place]:
    with places() as new_place:
        yield new_place()


@pytest.fixture
def archive(place: Place) -> Iterator[HpssArchive]:
    with HpssArchive(place.options()) as archive:
        yield archive


@pytest.fixture
def trashed(archive: HpssArchive) -> HpssArchive:
    """Return an archive that has a file in its trash, and none under its id."""
    store(archive, FILE_ID, OLD, digests=DIGESTS)
    archive.trash(FILE_ID)
    return archive


def names(place: Place) -> list[str]:
    return [name for name in place.files() if name.startswith("/.trash/")]


def test_hpss_has_a_trash() -> None:
    assert issubclass(HpssArchive, SupportsTrash)


def test_a_trashed_file_is_in_one_of_256_directories(
    trashed: HpssArchive, place: Place
) -> None:
    """With its id and its time in its name, which it has none beside."""
    del trashed
    (name,) = names(place)

    assert (True, 1) == (bool(NAME.fullmatch(name)), place.files()[name]["links"])


def test_the_time_of_the_deletion_is_in_the_name(
    trashed: HpssArchive, place: Place
) -> None:
    (name,) = names(place)
    (found,) = trashed.trashed()

    assert str(found.deleted_ns) == name.split(".")[2]


def test_a_file_is_the_same_version_when_it_is_back(trashed: HpssArchive) -> None:
    """With its digests, which are of that."""
    trashed.undelete(FILE_ID)
    before = trashed.status(FILE_ID).version
    trashed.trash(FILE_ID)
    trashed.undelete(FILE_ID)

    assert (before, DIGESTS) == (
        trashed.status(FILE_ID).version,
        trashed.digests(FILE_ID),
    )


def test_a_file_on_tape_is_not_staged_in_the_trash(
    archive: HpssArchive, place: Place
) -> None:
    """Neither there nor back, nor is anything asked of movers."""
    store(archive, FILE_ID, OLD)
    place.simulator.migrate(place.path())
    place.simulator.purge(place.path())
    place.simulator.counters(reset=True)
    archive.trash(FILE_ID)
    list(archive.trashed())
    archive.undelete(FILE_ID)
    found = place.simulator.counters()
    asked = {"hpss_Open", "hpss_Stage", "hpss_StageCallBack"} & found["calls"].keys()

    assert (set(), 0, False) == (asked, found["mover"], archive.status(FILE_ID).online)


# --- what is not ours, and what others may not do -----------------------------------


def test_a_directory_in_the_place_of_a_file_is_not_moved(
    archive: HpssArchive, place: Place
) -> None:
    place.put(f"{place.path()}/within", OLD)
    found = refusal(archive.trash, FILE_ID)

    assert (FileDamaged, OLD) == (type(found), place.content(f"{place.path()}/within"))


def test_a_symlink_in_the_place_of_a_file_is_not_moved(
    archive: HpssArchive, place: Place
) -> None:
    place.put(f"{place.prefix}/elsewhere", OLD)
    store(archive, NEIGHBOUR, NEW)
    place.simulator.symlink(f"{place.prefix}/elsewhere", place.path())
    found = refusal(archive.trash, FILE_ID)

    assert (FileDamaged, []) == (type(found), names(place))


@pytest.mark.parametrize(
    "name",
    [
        "notes",
        "56/notes",
        f"56/{FILE_ID:x}.5",
        f"56/{FILE_ID:x}.5.short",
        # In the directory of other ids, where an undelete does not look.
        f"57/{FILE_ID:x}.5.{'0' * 32}",
        f"other/{FILE_ID:x}.5.{'0' * 32}",
        f"{FILE_ID:x}.5.{'0' * 32}",
    ],
)
def test_what_is_not_of_our_making_is_left_alone(
    trashed: HpssArchive, place: Place, name: str
) -> None:
    place.put(f"{place.prefix}/.trash/{name}", NEW)
    (found,) = trashed.trashed()
    count = trashed.empty_trash(2**63)

    assert (len(OLD), 1, [f"/.trash/{name}"]) == (found.size, count, names(place))


def test_a_directory_with_the_name_of_a_file_is_left_alone(
    trashed: HpssArchive, place: Place
) -> None:
    place.simulator.mkdir(f"{place.prefix}/.trash/56/{FILE_ID:x}.5.{'0' * 32}")

    assert (1, 1, []) == (
        len(list(trashed.trashed())),
        trashed.empty_trash(2**63),
        list(trashed.trashed()),
    )


def test_a_file_in_the_trash_is_not_adopted(trashed: HpssArchive, place: Place) -> None:
    (name,) = names(place)

    with pytest.raises(SourceRefused, match="a deleted file"):
        trashed.adopt(FILE_ID, place.prefix + name)


def test_the_trash_is_not_swept(
    trashed: HpssArchive, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock_forward(monkeypatch, place, 10**8)
    HpssArchive(place.options()).close()
    trashed.undelete(FILE_ID)

    assert OLD == fetch(trashed, FILE_ID)


# --- calls that fail ----------------------------------------------------------------


def test_a_rename_that_the_library_sent_twice_is_done(
    archive: HpssArchive, place: Place
) -> None:
    """The second one finds nothing, by the work of the first."""
    store(archive, FILE_ID, OLD)
    archive.trash(FILE_ID)
    store(archive, FILE_ID, NEW)
    place.simulator.rule("Rename:1:lost-ENOENT")
    archive.trash(FILE_ID)

    assert (None, {OLD, NEW}) == (place.found(), set(place.trashed()))


def test_a_rename_that_is_tried_again_has_another_target(
    archive: HpssArchive, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first may be done late, with a newer file, and would replace this one."""
    store(archive, FILE_ID, OLD)
    place.simulator.rule("Rename:1:-ECONNRESET")
    targets = []
    call = Session.call

    def spy(self: Session, function: object, *args: Any, **options: Any) -> int:  # noqa: ANN401 (as the session's)
        if function is lib.pah_rename:
            targets.append(args[1])
        return call(self, function, *args, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(Session, "call", spy)
    archive.trash(FILE_ID)

    # Once for the directory that is not there.
    assert (3, 3, [OLD]) == (len(targets), len(set(targets)), place.trashed())


@pytest.mark.parametrize("gone", [[".trash/56"], [".trash/56", ".trash"]])
def test_a_trash_that_was_removed_is_made_again(
    trashed: HpssArchive, place: Place, gone: list[str]
) -> None:
    trashed.empty_trash(2**63)
    for name in gone:
        place.simulator.remove(f"{place.prefix}/{name}")
    store(trashed, FILE_ID, NEW)
    trashed.trash(FILE_ID)

    assert [NEW] == place.trashed()


def test_a_file_that_goes_between_the_look_and_the_rename_is_missing(
    trashed: HpssArchive, place: Place
) -> None:
    store(trashed, FILE_ID, NEW)
    place.simulator.rule("Rename:*:-ENOENT")

    with pytest.raises(NoSuchFile):
        trashed.trash(FILE_ID)


def test_a_trash_that_cannot_be_written_to_is_told_and_the_file_stays(
    trashed: HpssArchive, place: Place
) -> None:
    store(trashed, FILE_ID, NEW)
    place.simulator.rule("Rename:1:-EACCES")
    found = refusal(trashed.trash, FILE_ID)

    assert (AccessDenied, NEW) == (type(found), place.found())


def test_a_trash_in_another_fileset_is_told_and_the_file_stays(
    trashed: HpssArchive, place: Place
) -> None:
    """Where HPSS renames across none."""
    store(trashed, FILE_ID, NEW)
    place.simulator.rule("Rename:1:-EXDEV")
    found = refusal(trashed.trash, FILE_ID)

    assert (ArchiveUnavailable, NEW) == (type(found), place.found())


def test_a_trash_that_is_a_file_is_told_and_the_file_stays(
    archive: HpssArchive, place: Place
) -> None:
    """Not as a file that is missing."""
    place.put(f"{place.prefix}/.trash", NEW)
    store(archive, FILE_ID, OLD)
    found = refusal(archive.trash, FILE_ID)

    assert (ArchiveUnavailable, OLD) == (type(found), place.found())


def test_a_trash_of_which_nothing_can_be_learned_says_where_it_may_be(
    trashed: HpssArchive, place: Place
) -> None:
    store(trashed, FILE_ID, NEW)
    place.simulator.rule("Rename:1:lost-ECONNRESET")
    place.simulator.rule("Lstat:2+:-ECONNRESET")

    with pytest.raises(CommitUnclear, match="in the trash, or not"):
        trashed.trash(FILE_ID)


def test_a_list_that_fails_in_the_midst_is_asked_for_again(
    trashed: HpssArchive, place: Place
) -> None:
    """From its beginning, and no directory stays open."""
    before = place.simulator.counters()["open_files"]
    place.simulator.rule("Readdir:7:-EBUSY")
    found = [one.file_id for one in trashed.trashed()]

    assert ([FILE_ID], before) == (found, place.simulator.counters()["open_files"])


def test_a_list_that_is_given_up_leaves_nothing_open(
    trashed: HpssArchive, place: Place
) -> None:
    before = place.simulator.counters()["open_files"]
    next(trashed.trashed())

    assert before == place.simulator.counters()["open_files"]


@pytest.mark.parametrize("rule", ["Opendir:2", "Readdir:2", "Readdir:7", "Lstat:1"])
def test_a_list_that_fails_is_not_a_short_one(
    trashed: HpssArchive, place: Place, rule: str
) -> None:
    place.simulator.rule(f"{rule}:-EIO")

    with pytest.raises(ArchiveUnavailable):
        list(trashed.trashed())


@pytest.mark.parametrize("call", ["Opendir", "Readdir", "Lstat", "Link"])
def test_an_undelete_that_fails_does_not_say_that_nothing_is_there(
    trashed: HpssArchive, place: Place, call: str
) -> None:
    place.simulator.rule(f"{call}:1+:-EIO")
    found = refusal(trashed.undelete, FILE_ID)

    assert (ArchiveUnavailable, [OLD]) == (type(found), place.trashed())


def test_one_file_that_cannot_be_destroyed_does_not_keep_the_others(
    trashed: HpssArchive, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    (name,) = names(place)
    for file_id in (1, NEIGHBOUR):
        store(trashed, file_id, NEW)
        trashed.trash(file_id)
    place.simulator.rule(f"Unlink@{place.prefix}{name}:*:-EBUSY")
    with caplog.at_level(logging.WARNING):
        count = trashed.empty_trash(2**63)

    assert (2, [name], 1) == (count, names(place), len(caplog.records))


def trash_many(archive: HpssArchive, place: Place, *, stuck: int, others: int) -> None:
    """Trash files of the ids from 0, the first of which cannot be destroyed."""
    for file_id in range(stuck + others):
        store(archive, file_id, OLD)
        archive.trash(file_id)
    for name in names(place):
        if int(name.split("/")[-1].split(".")[0], 16) < stuck:
            place.simulator.rule(f"Unlink@{place.prefix}{name}:*:-EBUSY")
    place.simulator.counters(reset=True)


def ids_in_trash(archive: HpssArchive) -> list[int]:
    return sorted(one.file_id for one in archive.trashed())


def test_many_files_that_cannot_be_destroyed_do_not_keep_the_others(
    archive: HpssArchive, place: Place
) -> None:
    """Nor count for the limit."""
    trash_many(archive, place, stuck=12, others=4)
    count = archive.empty_trash(2**63, limit=3)

    assert (3, [*range(12), 15]) == (count, ids_in_trash(archive))


def test_a_store_that_fails_slowly_is_not_asked_for_ever(
    archive: HpssArchive, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash_module, "_PATIENCE_S", 0)
    trash_many(archive, place, stuck=12, others=0)
    found = refusal(lambda: archive.empty_trash(2**63))

    assert (ArchiveUnavailable, 10) == (
        type(found),
        place.simulator.counters()["calls"]["hpss_Unlink"],
    )


def test_files_that_fail_slowly_come_last_the_next_time(
    archive: HpssArchive, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those behind them would stay for ever."""
    monkeypatch.setattr(trash_module, "_PATIENCE_S", 0)
    trash_many(archive, place, stuck=10, others=2)
    refusal(lambda: archive.empty_trash(2**63))
    count = archive.empty_trash(2**63)

    assert (2, [*range(10)]) == (count, ids_in_trash(archive))


def test_a_directory_that_cannot_be_listed_does_not_keep_the_others(
    archive: HpssArchive, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    trash_many(archive, place, stuck=0, others=3)
    place.simulator.rule(f"Opendir@{place.prefix}/.trash/00:*:-EACCES")
    with caplog.at_level(logging.WARNING):
        count = archive.empty_trash(2**63)
    place.simulator.clear_rules()

    assert (2, [0], 1) == (count, ids_in_trash(archive), len(caplog.records))


@pytest.mark.parametrize(
    ("action", "count"), [("lost-ECONNRESET", 1), ("-ENOENT", 0), ("lost-ENOENT", 0)]
)
def test_what_another_destroyed_is_not_counted(
    trashed: HpssArchive, place: Place, action: str, count: int
) -> None:
    """What a lost reply was of is: nobody else is likely to have been as fast."""
    place.simulator.rule(f"Unlink:1:{action}")

    assert count == trashed.empty_trash(2**63)


def test_a_second_thread_waits_until_the_first_has_taken_the_file_back(
    trashed: HpssArchive, place: Place
) -> None:
    """Else the two could give one file two names, with a third that trashes it."""
    place.simulator.counters(reset=True)
    place.simulator.rule("Unlink:1:hang")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(refusal, trashed.undelete, FILE_ID)
        while place.simulator.counters()["calls"].get("hpss_Unlink", 0) == 0:
            time.sleep(0.001)
        second = pool.submit(refusal, trashed.undelete, FILE_ID)
        # What does not wait is done by then.
        wait([second], 0.2)
        place.simulator.clear_rules()
        found = first.result(60), type(second.result(60))

    assert (None, NoSuchFile) == found


# --- who died between the link and the unlink ---------------------------------------


@pytest.fixture
def halfway(trashed: HpssArchive, place: Place) -> HpssArchive:
    """Return an archive with a file that is back and still has its other name."""
    place.simulator.rule("Unlink:1+:-EBUSY")
    trashed.undelete(FILE_ID)
    place.simulator.clear_rules()
    return trashed


def test_a_file_that_is_back_is_back_though_its_other_name_stays(
    halfway: HpssArchive, place: Place
) -> None:
    assert (OLD, 1) == (fetch(halfway, FILE_ID), len(names(place)))


def test_a_file_that_is_back_is_not_told_as_trashed(halfway: HpssArchive) -> None:
    assert [] == list(halfway.trashed())


def test_emptying_takes_the_other_name_and_counts_no_file(
    halfway: HpssArchive, place: Place
) -> None:
    count = halfway.empty_trash(2**63)

    assert (0, [], OLD) == (count, names(place), place.found())


def test_a_second_undelete_takes_the_other_name(
    halfway: HpssArchive, place: Place
) -> None:
    halfway.undelete(FILE_ID)

    assert ([], OLD) == (names(place), place.found())


def test_a_second_trash_leaves_one_name(halfway: HpssArchive, place: Place) -> None:
    """Else the file would be there twice."""
    halfway.trash(FILE_ID)

    assert (1, 1, None) == (
        len(names(place)),
        len(list(halfway.trashed())),
        place.found(),
    )


def test_a_name_that_another_file_has_taken_is_not_its_own(
    halfway: HpssArchive,
) -> None:
    """What was back was replaced: it is in the trash, and is told so."""
    store(halfway, FILE_ID, NEW)
    found = refusal(halfway.undelete, FILE_ID)

    assert ([len(OLD)], FileExists) == (
        [one.size for one in halfway.trashed()],
        type(found),
    )


def test_a_file_with_a_name_elsewhere_is_in_the_trash(
    trashed: HpssArchive, place: Place
) -> None:
    """A commit that could not remove its own name left one, too."""
    (name,) = names(place)
    store(trashed, FILE_ID, NEW)
    session().call(lib.pah_link, place.prefix + name, f"{place.prefix}/.incoming/x")

    assert ([len(OLD)], 1) == (
        [one.size for one in trashed.trashed()],
        trashed.empty_trash(2**63),
    )


# --- several processes --------------------------------------------------------------


def test_processes_that_are_killed_lose_no_file(
    archive: HpssArchive, place: Place
) -> None:
    """
    Each that was stored is at its id or in the trash, and told as in one of them.

    Which several processes store, trash and take back, under the same few ids.
    """
    opener = functools.partial(
        open_archive, str(place.simulator.state), place.options()
    )
    stored: set[bytes] = set()
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started(store_and_trash_for_ever, opener, number))
            for number in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            stored.update(process.stdout.readline() for _ in range(20))
        for process in processes:
            process.kill()
        for process in processes:
            assert process.stdout is not None
            stored.update(line for line in process.stdout if line.endswith(b"\n"))
    bitfiles = {
        entry["bitfile"]: place.content(place.prefix + name)
        for name, entry in place.files().items()
        if not name.startswith("/.incoming/")
    }
    present = [refusal(archive.status, file_id) is None for file_id in IDS]

    assert (set(), len(bitfiles)) == (
        stored - set(bitfiles.values()),
        sum(present) + len(list(archive.trashed())),
    )
