"""Waiting for tapes: until the file is there, or for as long as the option says."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest
from kit import KEYTAB, USER
from tapes import DATA, Tapes, eventually, tapes

from pacifica_archive_core import (
    ArchiveUnavailable,
    FileDamaged,
    FileOffline,
    NoSuchFile,
)
from pacifica_archive_hpss import recall
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.session import Credentials, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(60)

TAPE_ONLY = 4
#: More than one look takes, and not long to wait for in vain.
SHORT_S = 0.3
IN_TIME = r"within 0\.3 s"


@pytest.fixture
def store() -> Iterator[Tapes]:
    with tapes() as store:
        store.simulator.speed(20)
        yield store


@pytest.fixture
def impatient() -> Iterator[Tapes]:
    """Return an archive whose tapes stand still, and which soon has enough of it."""
    with tapes(recall_timeout_s=SHORT_S) as store:
        store.simulator.speed(0)
        yield store


# --- a file that can come to disk


def test_a_file_on_tape_is_waited_for(store: Tapes) -> None:
    store.offline(1)
    with store.archive.open(1, recall=True) as reader:
        assert DATA == reader.readall()


def test_a_file_is_asked_for_once_while_it_is_waited_for(store: Tapes) -> None:
    store.offline(1)
    store.archive.open(1, recall=True).close()

    assert 1 == store.submissions()


def test_a_file_that_was_asked_for_is_only_waited_for(store: Tapes) -> None:
    store.offline(1)
    store.archive.stage(1)
    store.archive.open(1, recall=True).close()

    assert 1 == store.submissions()


def test_the_wait_for_a_file_ends_in_time(impatient: Tapes) -> None:
    impatient.offline(1)

    with pytest.raises(FileOffline, match=IN_TIME):
        impatient.archive.open(1, recall=True)


def test_no_file_is_open_while_one_is_waited_for(impatient: Tapes) -> None:
    impatient.offline(1)
    with pytest.raises(FileOffline):
        impatient.archive.open(1, recall=True)

    assert "Open" not in impatient.calls()


def test_the_wait_ends_when_the_file_is_deleted(store: Tapes) -> None:
    store.simulator.speed(0)
    store.offline(1)
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(store.archive.open, 1, recall=True)
        asked = eventually(lambda: store.submissions() == 1)
        store.archive.delete(1)
        error = opening.exception()

    assert (True, NoSuchFile) == (asked, type(error))


def test_the_wait_ends_when_the_file_is_lost(store: Tapes) -> None:
    store.simulator.speed(0)
    store.offline(1)
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(store.archive.open, 1, recall=True)
        asked = eventually(lambda: store.submissions() == 1)
        store.simulator.lose(store.path(1))
        error = opening.exception()

    assert (True, FileDamaged) == (asked, type(error))


def test_a_version_that_takes_its_place_is_read(store: Tapes) -> None:
    store.simulator.speed(0)
    store.offline(1)
    with ThreadPoolExecutor() as pool:
        opening = pool.submit(store.archive.open, 1, recall=True)
        asked = eventually(lambda: store.submissions() == 1)
        with store.archive.create(1, overwrite=True) as writer:
            writer.write(DATA[::-1])
        with opening.result() as reader:
            found = reader.readall()

    assert (True, DATA[::-1]) == (asked, found)


def test_an_offline_version_that_takes_its_place_is_asked_for_too() -> None:
    with tapes() as store, ThreadPoolExecutor(1) as pool:
        store.offline(1, 2)
        store.simulator.speed(0)
        pool.submit(store.archive.open, 1, recall=True)
        first = eventually(lambda: store.submissions() == 1)
        session = Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))
        session.call(lib.pah_rename, store.path(2), store.path(1))
        second = eventually(lambda: store.submissions() == 2)
        store.archive.close()

        assert (True, True) == (first, second)


# --- how many may wait


def test_of_nine_threads_one_does_not_wait() -> None:
    with tapes() as store, ThreadPoolExecutor(9) as pool:
        store.offline(1)
        store.simulator.speed(0)
        openings = [pool.submit(store.archive.open, 1, recall=True) for _ in range(9)]
        done, waiting = wait(openings, return_when=FIRST_COMPLETED)
        store.archive.close()

        assert (8, [ArchiveUnavailable]) == (
            len(waiting),
            [type(opening.exception()) for opening in done],
        )


@pytest.mark.timeout(10)
def test_those_who_wait_are_told_when_the_archive_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else the next look would tell them.
    monkeypatch.setattr(recall, "_FIRST_PAUSE_S", 60.0)
    with tapes() as store, ThreadPoolExecutor(1) as pool:
        store.offline(1)
        store.simulator.speed(0)
        opening = pool.submit(store.archive.open, 1, recall=True)
        eventually(lambda: store.submissions() == 1)
        store.archive.close()

        assert isinstance(opening.exception(), ValueError)


# --- a file that can be read from tape only


def test_a_tape_only_file_is_not_opened_without_recall(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)

    with pytest.raises(FileOffline):
        store.archive.open(1)


def test_a_tape_only_file_is_read_with_recall(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    with store.archive.open(1, recall=True) as reader:
        assert DATA == reader.readall()


def test_a_tape_only_file_is_read_from_anywhere(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    with store.archive.open(1, recall=True) as reader:
        reader.seek(-10, 2)
        end = reader.read(100)
        reader.seek(3)

        assert (DATA[-10:], DATA[3:7]) == (end, reader.read(4))


def test_a_tape_only_file_is_read_into_a_buffer(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    buffer = bytearray(100)
    with store.archive.open(1, recall=True) as reader:
        count = reader.readinto(buffer)

    assert (100, DATA[:100]) == (count, bytes(buffer))


def test_a_closed_reader_of_tape_holds_nothing(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    store.archive.open(1, recall=True).close()

    assert 0 == store.simulator.counters()["open_files"]


def test_one_reader_of_tape_after_another_may_wait(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    sizes = []
    for _ in range(9):
        with store.archive.open(1, recall=True) as reader:
            sizes.append(len(reader.readall()))

    assert [len(DATA)] * 9 == sizes


def test_a_read_from_tape_takes_no_more_than_a_buffer(store: Tapes) -> None:
    """A terabyte is not held in memory because somebody asks for it."""
    store.put(1, cos=TAPE_ONLY)
    with store.archive.open(1, recall=True) as reader:
        assert store.archive.block_size == len(reader.read(len(DATA)))


def test_a_tape_that_cannot_be_read_is_damage(store: Tapes) -> None:
    store.put(1, cos=TAPE_ONLY)
    (label,) = store.cartridges(1)
    store.simulator.damage(label)
    with store.archive.open(1, recall=True) as reader, pytest.raises(FileDamaged):
        reader.readall()


def test_a_read_from_a_tape_that_does_not_come_ends_in_time(impatient: Tapes) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    with (
        impatient.archive.open(1, recall=True) as reader,
        pytest.raises(FileOffline, match=IN_TIME),
    ):
        reader.read(100)


def test_a_reader_that_gave_up_reads_no_more(impatient: Tapes) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    with impatient.archive.open(1, recall=True) as reader:
        with pytest.raises(FileOffline):
            reader.read(100)
        impatient.simulator.speed(100)

        with pytest.raises(FileOffline):
            reader.read(100)


def test_a_read_that_was_given_up_does_not_write_to_the_buffer(
    impatient: Tapes,
) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    buffer = bytearray(100)
    with (
        impatient.archive.open(1, recall=True) as reader,
        pytest.raises(FileOffline),
    ):
        reader.readinto(buffer)
    impatient.simulator.speed(100)
    eventually(lambda: impatient.simulator.counters()["open_files"] == 0)

    assert bytes(100) == bytes(buffer)


def test_a_read_that_was_given_up_closes_its_file_when_the_tape_comes(
    impatient: Tapes,
) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    with (
        impatient.archive.open(1, recall=True) as reader,
        pytest.raises(FileOffline),
    ):
        reader.read(100)
    before = impatient.simulator.counters()["open_files"]
    impatient.simulator.speed(100)

    assert (1, True) == (
        before,
        eventually(lambda: impatient.simulator.counters()["open_files"] == 0),
    )


def test_an_open_that_hangs_ends_in_time(impatient: Tapes) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    impatient.simulator.rule("Open:*:hang")

    with pytest.raises(FileOffline, match=IN_TIME):
        impatient.archive.open(1, recall=True)


def test_those_given_up_count_as_waiting_until_their_tape_comes(
    impatient: Tapes,
) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    for _ in range(8):
        with (
            impatient.archive.open(1, recall=True) as reader,
            pytest.raises(FileOffline),
        ):
            reader.read(100)
    with pytest.raises(ArchiveUnavailable, match="8 others"):
        impatient.archive.open(1, recall=True)
    impatient.simulator.speed(100)

    assert eventually(lambda: impatient.simulator.counters()["open_files"] == 0)


def test_a_read_that_hangs_does_not_block_other_files(impatient: Tapes) -> None:
    impatient.put(1, cos=TAPE_ONLY)
    impatient.put(2)
    with (
        impatient.archive.open(1, recall=True) as stuck,
        ThreadPoolExecutor(1) as pool,
    ):
        reading = pool.submit(stuck.read, 100)
        with impatient.archive.open(2) as reader:
            found = reader.readall()

        assert (DATA, FileOffline) == (found, type(reading.exception()))
