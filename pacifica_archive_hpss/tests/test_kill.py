"""Processes killed in the middle of a call, full stores, and what cannot be read."""

from __future__ import annotations

import hashlib
import itertools
import signal
from typing import TYPE_CHECKING

import pytest
from kit import process_simulator
from scenes import (
    BUFFER,
    FILE_ID,
    NEW,
    OLD,
    SCENES,
    Place,
    places,
    set_clock_forward,
)
from victim import UNAVAILABLE, UNCLEAR, Victims

from pacifica_archive_core import (
    ArchiveFull,
    FileDamaged,
    IncompleteWrite,
)
from pacifica_archive_hpss import HpssArchive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLED = -signal.SIGKILL
TTL_S = 1000
MUTATIONS = [name for name, scene in SCENES.items() if scene.changes]


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with Victims(process_simulator()) as victims:
        yield victims


@pytest.fixture
def new_place() -> Iterator[Callable[[], Place]]:
    with places() as new_place:
        yield new_place


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.mark.parametrize("action", ["kill", "lost-kill"])
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_process_killed_at_any_call_leaves_the_old_file_or_the_new_one(
    name: str,
    action: str,
    victims: Victims,
    new_place: Callable[[], Place],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    And what it leaves is in ``.incoming`` only, which is swept when it is old.

    Before or after any call has been done; not sooner than ``incoming_ttl_s``.
    """
    scene = SCENES[name]
    wrong: list[object] = []
    ended, number = KILLED, 0
    for number in itertools.count(1):
        place = new_place()
        scene.prepare(place)
        before = set(place.files())
        ended = victims.play(name, place, f"*:{number}:{action}")
        if ended != KILLED:
            break
        scene.put_back(place)
        found, source = place.found(), "/inbox/source" in place.files()
        litter = place.incoming()
        trash = {name for name in place.files() if name.startswith("/.trash/")}
        others = set(place.files()) - before - set(litter) - {place.name()} - trash
        gone = bool(scene.kept) and scene.kept not in {found, *place.trashed()}
        # Its own leftovers are young, and those of the living look the same.
        with HpssArchive(place.options(incoming_ttl_s=TTL_S)) as archive:
            kept = place.incoming()
            lost = scene.source is not None and found != scene.new and not source
            with monkeypatch.context() as patch:
                set_clock_forward(patch, place, TTL_S + 60)
                HpssArchive(place.options(incoming_ttl_s=TTL_S)).close()
            swept = not place.incoming()
            with archive.create(FILE_ID, overwrite=True) as writer:
                writer.write(OLD[::-1])
            works = place.found() == OLD[::-1]
        if (
            found not in {scene.old, scene.new}
            or others
            or lost
            or gone
            or (trash and not scene.kept)
            or kept != litter
            or not (swept and works)
        ):
            state = {scene.old: "old", scene.new: "new"}.get(found, "neither")
            wrong.append(
                (number, state, others, lost, gone, litter, kept, swept, works)
            )

    assert ([], 0, True) == (wrong, ended, number > 1)


@pytest.mark.parametrize("name", SCENES)
def test_a_connection_that_stays_dead_leaves_the_old_file_or_the_new_one(
    name: str, victims: Victims, new_place: Callable[[], Place]
) -> None:
    """Told as what may work later, or as unclear; never as bytes that are not right."""
    scene = SCENES[name]
    states = {
        0: [scene.new],
        UNAVAILABLE: [scene.old],
        UNCLEAR: [scene.old, scene.new],
    }
    place = new_place()
    scene.prepare(place)
    ended = victims.play(name, place)
    calls = sum(place.simulator.counters()["calls"].values())
    wrong: list[object] = []
    for number in range(1, calls + 1):
        place = new_place()
        scene.prepare(place)
        told = victims.play(name, place, f"*:{number}:drop-ECONNRESET")
        scene.put_back(place)
        if place.found() not in states.get(told, []):
            wrong.append((number, told))

    assert (0, True, []) == (ended, calls > 1, wrong)


@pytest.fixture
def archive(place: Place) -> Iterator[HpssArchive]:
    """Return an archive that holds the old file."""
    SCENES["put and replace"].prepare(place)
    with HpssArchive(place.options()) as archive:
        yield archive


def put(archive: HpssArchive, data: bytes = NEW, *, size: int | None = None) -> None:
    with archive.create(FILE_ID, size=size, overwrite=True) as writer:
        writer.write(data)


# --- writing -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_store_that_is_full_at_any_write_keeps_the_old_file(
    number: int, archive: HpssArchive, place: Place
) -> None:
    place.simulator.rule(f"Write:{number}+:-ENOSPC")

    with pytest.raises(ArchiveFull):
        put(archive)

    assert (OLD, [], 0) == (
        place.found(),
        place.incoming(),
        place.simulator.counters()["open_files"],
    )


@pytest.mark.parametrize("at", [0, 1, BUFFER - 1, BUFFER, 2 * BUFFER + 5])
def test_a_store_that_is_full_in_the_middle_of_a_write_keeps_the_old_file(
    at: int, archive: HpssArchive, place: Place
) -> None:
    """Some bytes of it are taken before."""
    place.simulator.knob("write_error_at", at)

    with pytest.raises(ArchiveFull):
        put(archive)

    assert (OLD, []) == (place.found(), place.incoming())


def test_a_full_store_takes_no_file(archive: HpssArchive, place: Place) -> None:
    place.simulator.knob("full", 1)

    with pytest.raises(ArchiveFull):
        put(archive, size=len(NEW))

    assert (OLD, []) == (place.found(), place.incoming())


def test_a_writer_goes_on_refusing_after_a_full_store(
    archive: HpssArchive, place: Place
) -> None:
    """Also when there is space again: bytes are missing in the middle."""
    writer = archive.create(FILE_ID, overwrite=True)
    place.simulator.rule("Write:1:-ENOSPC")
    with pytest.raises(ArchiveFull):
        writer.write(NEW)

    with pytest.raises(IncompleteWrite):
        writer.commit()

    assert (OLD, []) == (place.found(), place.incoming())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_short_write_is_continued(
    number: int, archive: HpssArchive, place: Place
) -> None:
    place.simulator.rule(f"Write:{number}:short")
    put(archive)

    assert NEW == place.found()


@pytest.mark.parametrize("size", [None, len(NEW)], ids=["unknown", "promised"])
def test_writes_that_are_all_short_are_continued(
    size: int | None, archive: HpssArchive, place: Place
) -> None:
    place.simulator.knob("short_writes", 1)
    put(archive, size=size)

    assert NEW == place.found()


# --- reading -----------------------------------------------------------------------


@pytest.fixture
def stored(archive: HpssArchive) -> HpssArchive:
    """Return an archive that holds the new file."""
    put(archive)
    return archive


def read_all(archive: HpssArchive) -> Iterator[bytes]:
    with archive.open(FILE_ID) as reader:
        while block := reader.read(BUFFER):
            yield block


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_read_error_is_damage_and_never_the_end(
    number: int, stored: HpssArchive, place: Place
) -> None:
    place.simulator.rule(f"Read:{number}+:-EIO")
    blocks: list[bytes] = []

    with pytest.raises(FileDamaged):
        blocks.extend(read_all(stored))

    assert NEW[: (number - 1) * BUFFER] == b"".join(blocks)


@pytest.mark.parametrize("at", [0, 1, BUFFER, len(NEW) - 1])
def test_a_byte_that_cannot_be_read_is_damage_and_never_the_end(
    at: int, stored: HpssArchive, place: Place
) -> None:
    """The bytes before it may be had."""
    place.simulator.knob("read_error_at", at)
    blocks: list[bytes] = []

    with pytest.raises(FileDamaged):
        blocks.extend(read_all(stored))

    assert NEW[:at].startswith(b"".join(blocks))


def test_what_cannot_be_read_leaves_nothing_open(
    stored: HpssArchive, place: Place
) -> None:
    place.simulator.rule("Read:2+:-EIO")
    with pytest.raises(FileDamaged):
        list(read_all(stored))

    assert 0 == place.simulator.counters()["open_files"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_short_read_is_not_the_end(
    number: int, stored: HpssArchive, place: Place
) -> None:
    place.simulator.rule(f"Read:{number}:short")

    assert NEW == b"".join(read_all(stored))


def test_reads_that_are_all_short_give_every_byte(
    stored: HpssArchive, place: Place
) -> None:
    place.simulator.knob("short_reads", 1)
    with stored.open(FILE_ID) as reader:
        assert NEW == reader.readall()


@pytest.mark.parametrize("action", ["-ECONNRESET", "lost-ECONNRESET", "-HPSS_ECONN"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("moves", [0, 1])
def test_a_connection_lost_in_a_read_is_made_anew(
    number: int, action: str, moves: int, stored: HpssArchive, place: Place
) -> None:
    """From the same byte: a reply that is lost may have moved the position."""
    place.simulator.knob("lost_moves", moves)
    place.simulator.rule(f"Read:{number}:{action}")

    assert NEW == b"".join(read_all(stored))


# --- beyond 4 GiB ------------------------------------------------------------------

FOUR_GIB = 1 << 32
MARK = hashlib.shake_128(b"mark").digest(3 * BUFFER)


@pytest.fixture
def sparse(place: Place, tmp_path: Path) -> Iterator[HpssArchive]:
    """Return an archive with a file of 6 GiB, which has bytes at 4 GiB and its end."""
    mark = tmp_path / "mark"
    mark.write_bytes(MARK)
    parts = {FOUR_GIB - BUFFER: mark, 6 * 2**30 - len(MARK): mark}
    with HpssArchive(place.options()) as archive:
        place.simulator.sparse(place.path(), 6 * 2**30, parts)
        yield archive


def test_a_file_beyond_4_gib_has_its_size(sparse: HpssArchive) -> None:
    assert 6 * 2**30 == sparse.status(FILE_ID).size


@pytest.mark.parametrize(
    "offset",
    [FOUR_GIB - BUFFER, FOUR_GIB - 1, FOUR_GIB, FOUR_GIB + 1, 6 * 2**30 - BUFFER],
)
def test_a_seek_around_4_gib_reads_the_bytes_that_are_there(
    offset: int, sparse: HpssArchive
) -> None:
    start = FOUR_GIB - BUFFER if offset < 5 * 2**30 else 6 * 2**30 - len(MARK)
    with sparse.open(FILE_ID) as reader:
        reader.seek(offset)
        found = reader.read(100)

    assert MARK[offset - start : offset - start + 100] == found


def test_a_sequential_read_across_4_gib_reads_on(sparse: HpssArchive) -> None:
    with sparse.open(FILE_ID) as reader:
        reader.seek(FOUR_GIB - BUFFER)
        found = b"".join(reader.read(BUFFER) for _ in range(3))

    assert MARK == found


def test_a_hole_reads_as_zeros(sparse: HpssArchive) -> None:
    with sparse.open(FILE_ID) as reader:
        reader.seek(5 * 2**30)

        assert bytes(100) == reader.read(100)


def test_the_end_beyond_4_gib_is_the_end(sparse: HpssArchive) -> None:
    with sparse.open(FILE_ID) as reader:
        reader.seek(-50, 2)

        assert (MARK[-50:], b"") == (reader.read(100), reader.read(100))
