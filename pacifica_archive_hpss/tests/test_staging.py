"""Asking for recalls: once each, in the order of the tapes, without waiting."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from kit import KEYTAB, USER, process_simulator
from tapes import DATA, Tapes, tapes

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveUnavailable,
    FileDamaged,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
)
from pacifica_archive_hpss.session import Credentials, Session, build
from pacifica_archive_hpss.staging import TooManyRecalls, request_id

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(60)

TAPE_ONLY, TAPE_COS = 7, 4
HAS_BATCH = build().has_batch
needs_batch = pytest.mark.skipif(not HAS_BATCH, reason="lacks batches of stages")
#: Where a listener would be; HPSS would speak to it, the simulator does not.
ADDRESS = "127.0.0.1:9"


@pytest.fixture
def store() -> Iterator[Tapes]:
    with tapes() as store:
        yield store


@pytest.fixture(scope="module")
def many() -> Iterator[tuple[Tapes, list[int], list[Any]]]:
    """Ask for 500 files, scattered over 10 cartridges; return them and the answers."""
    with tapes(callback_address=ADDRESS) as store:
        ids = store.scattered(500, cartridges=10)
        store.simulator.counters(reset=True)
        yield store, ids, list(store.archive.stage_many(ids))


# --- 500 files on 10 cartridges, in this order


def test_500_files_are_on_10_cartridges(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, ids, _ = many

    assert 10 == len(store.cartridges(*ids))


def test_neighbours_among_them_are_on_different_cartridges(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    """Else the order of the ids would be that of the tapes."""
    store, ids, _ = many
    labels = [next(iter(store.cartridges(file_id))) for file_id in ids]
    changes = sum(one != other for one, other in itertools.pairwise(labels))

    assert changes > 400


def test_500_files_are_asked_for(many: tuple[Tapes, list[int], list[Any]]) -> None:
    _, ids, answers = many

    assert [(file_id, False) for file_id in ids] == answers


@needs_batch
def test_500_files_are_asked_for_in_a_batch_for_each_cartridge(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, _, _ = many

    assert [50] * 10 == store.simulator.counters()["batches"]


def test_500_files_asked_for_again_are_not_submitted_again(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, ids, answers = many
    before = store.submissions()
    again = list(store.archive.stage_many(ids))

    assert (before, answers) == (store.submissions(), again)


def test_one_of_500_files_asked_for_alone_is_not_submitted_again(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, ids, _ = many
    before = store.submissions()

    assert (False, before) == (store.archive.stage(ids[17]), store.submissions())


def test_500_files_have_no_request_id_in_common(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    """One constant id lets HPSS stage one file at a time."""
    store, _, _ = many
    counters = store.simulator.counters()

    assert (0, 0) == (counters["gated"], counters["duplicate_stages"])


def test_no_callback_is_null_when_an_address_is_given(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, _, _ = many

    assert 0 == store.simulator.counters()["monitor_red"]


def test_each_of_10_cartridges_is_mounted_once(
    many: tuple[Tapes, list[int], list[Any]],
) -> None:
    store, ids, _ = many
    store.simulator.settle()
    mounts = store.simulator.counters()["mounts"]

    assert dict.fromkeys(store.cartridges(*ids), 1) == mounts


def test_500_files_come_to_disk(many: tuple[Tapes, list[int], list[Any]]) -> None:
    store, ids, _ = many
    store.simulator.settle()

    assert [(file_id, True) for file_id in ids] == list(store.archive.stage_many(ids))


# --- one file


def test_the_first_stage_says_that_it_was_asked_for(store: Tapes) -> None:
    store.offline(1)

    assert (False, 1) == (store.archive.stage(1), store.submissions())


def test_a_second_stage_submits_nothing(store: Tapes) -> None:
    store.offline(1)
    store.simulator.speed(0)
    store.archive.stage(1)
    answer = store.archive.stage(1)

    assert (False, 1) == (answer, store.submissions())


def test_files_asked_for_alone_are_not_submitted_again_among_many(store: Tapes) -> None:
    ids = [1, 2, 3]
    store.offline(*ids)
    store.simulator.speed(0)
    for file_id in ids:
        store.archive.stage(file_id)
    before = store.submissions()
    list(store.archive.stage_many(ids))

    assert before == store.submissions()


def test_only_what_is_not_asked_for_is_submitted(store: Tapes) -> None:
    store.offline(1, 2, 3)
    store.simulator.speed(0)
    store.archive.stage(2)
    before = store.submissions()
    list(store.archive.stage_many([1, 2, 3]))
    expected = 1 if HAS_BATCH else 2
    duplicates = store.simulator.counters()["duplicate_stages"]

    assert (expected, 0) == (store.submissions() - before, duplicates)


def test_another_archive_submits_nothing_again(store: Tapes) -> None:
    store.offline(1)
    store.simulator.speed(0)
    store.archive.stage(1)
    with store.another() as archive:
        archive.stage(1)

    assert 1 == store.submissions()


def test_a_file_that_was_purged_again_is_asked_for_again(store: Tapes) -> None:
    store.offline(1)
    store.archive.stage(1)
    store.simulator.settle()
    store.simulator.purge(store.path(1))
    store.archive.stage(1)

    assert 2 == store.submissions()


def test_stage_opens_no_file(store: Tapes) -> None:
    """A close of a file that is being staged may wait for that."""
    store.offline(1)
    store.archive.stage(1)
    list(store.archive.stage_many([1]))

    assert "Open" not in store.calls()


def test_who_comes_while_another_asks_in_vain_asks_itself(store: Tapes) -> None:
    """Else it is told of a request that nobody made, and waits for it."""
    store.offline(1)
    store.simulator.knob("delay_ms", 50)
    store.simulator.rule("StageCallBack:1:-EBUSY")
    start = threading.Barrier(2, timeout=30)

    def ask() -> str:
        start.wait()
        try:
            return str(store.archive.stage(1))
        except ArchiveUnavailable:
            return "unavailable"

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask) for _ in range(2)]
        found = sorted(answer.result(30) for answer in answers)

    assert (["False", "unavailable"], 2) == (found, store.submissions())


def test_threads_that_ask_for_one_file_submit_it_once(store: Tapes) -> None:
    store.offline(1)
    store.simulator.speed(0)
    # So that all ask after its state before one has asked for it.
    store.simulator.knob("delay_ms", 50)
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        store.archive.stage(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == store.submissions()


def test_a_failed_submission_is_not_sent_again(store: Tapes) -> None:
    store.offline(1)
    store.simulator.rule("StageCallBack:*:-EBUSY")
    with pytest.raises(ArchiveUnavailable):
        store.archive.stage(1)

    assert 1 == store.submissions()


@needs_batch
def test_a_failed_batch_is_not_sent_again(store: Tapes) -> None:
    store.offline(1, 2)
    store.simulator.rule("StageBatchCallBack:*:-EBUSY")
    with pytest.raises(ArchiveUnavailable):
        list(store.archive.stage_many([1, 2]))

    assert 1 == store.submissions()


@needs_batch
@pytest.mark.parametrize("by_id", [0, 1], ids=["by bitfile", "by id too"])
def test_some_of_many_asked_for_again_are_not_submitted_again(
    store: Tapes, by_id: int
) -> None:
    """Whichever of them, in whichever order, however HPSS looks for them."""
    store.simulator.knob("batch_by_id", by_id)
    store.apart(*range(1, 8))
    store.simulator.speed(0)
    list(store.archive.stage_many(range(1, 7)))
    before = store.submissions()
    list(store.archive.stage_many([6, 1]))
    list(store.archive.stage_many([5, 7, 4, 3]))

    assert (before + 1, 0) == (
        store.submissions(),
        store.simulator.counters()["duplicate_stages"],
    )


@needs_batch
@pytest.mark.parametrize("by_id", [0, 1], ids=["by bitfile", "by id too"])
def test_one_asked_for_again_is_not_submitted_again(store: Tapes, by_id: int) -> None:
    store.simulator.knob("batch_by_id", by_id)
    store.offline(1, 2)
    store.simulator.speed(0)
    for file_id in (1, 2, 1, 2):
        store.archive.stage(file_id)

    assert 2 == store.submissions()


@needs_batch
def test_one_of_many_is_submitted_again_where_hpss_looks_by_id(store: Tapes) -> None:
    """What it costs if a guess is wrong: a request too many, and nothing else."""
    store.simulator.knob("batch_by_id", 1)
    store.offline(1, 2)
    list(store.archive.stage_many([1, 2]))
    store.archive.stage(1)
    duplicates = store.simulator.counters()["duplicate_stages"]
    store.simulator.settle()

    assert (1, True) == (duplicates, store.archive.stage(1))


@needs_batch
def test_what_a_batch_says_of_one_file_is_that_files_answer(store: Tapes) -> None:
    store.simulator.knob("cartridge_files", 1)
    store.offline(1, 2, 3)
    (label,) = store.cartridges(2)
    store.simulator.damage(label)
    answers = [type(answer) for _, answer in store.archive.stage_many([1, 2, 3])]

    assert ([bool, ArchiveUnavailable, bool], [1] * 3) == (
        answers,
        store.simulator.counters()["batches"],
    )


@needs_batch
def test_a_batch_that_is_refused_keeps_no_other_from_being_asked_for(
    store: Tapes,
) -> None:
    store.apart(1, 2)
    store.simulator.rule("StageBatchCallBack:1:-EACCES")
    answers = [type(answer) for _, answer in store.archive.stage_many([1, 2])]

    assert [AccessDenied, bool] == answers


def test_without_an_address_monitors_turn_red(store: Tapes) -> None:
    """So that the test above does not hold for nothing."""
    store.offline(1)
    store.archive.stage(1)

    assert 1 == store.simulator.counters()["monitor_red"]


def test_one_file_is_asked_for_with_the_address() -> None:
    with tapes(callback_address=ADDRESS) as store:
        store.offline(1)
        store.archive.stage(1)
        counters = store.simulator.counters()

    assert (1, 0) == (counters["calls"]["hpss_StageCallBack"], counters["monitor_red"])


# --- what cannot be recalled


def test_a_tape_only_class_is_not_staged(store: Tapes) -> None:
    store.put(TAPE_ONLY, cos=TAPE_COS)
    with pytest.raises(NotSupported, match="recall"):
        store.archive.stage(TAPE_ONLY)

    assert 0 == store.submissions()


def test_a_lost_file_is_not_staged(store: Tapes) -> None:
    store.offline(1)
    store.simulator.lose(store.path(1))
    with pytest.raises(FileDamaged):
        store.archive.stage(1)

    assert 0 == store.submissions()


def test_a_file_on_a_dead_cartridge_is_not_staged(store: Tapes) -> None:
    store.offline(1)
    (label,) = store.cartridges(1)
    store.simulator.dead(label)

    with pytest.raises(FileDamaged):
        store.archive.stage(1)


def test_more_ids_than_are_looked_at_together_are_answered_in_order(
    store: Tapes,
) -> None:
    ids = [*range(1, 1003), 1]
    store.apart(1, 1001, 1002)
    answers = list(store.archive.stage_many(iter(ids)))
    kinds = [type(answer) for _, answer in answers]

    assert (ids, {0, 1000, 1001, 1002}) == (
        [file_id for file_id, _ in answers],
        {n for n, kind in enumerate(kinds) if kind is bool},
    )


def test_many_are_answered_one_by_one(store: Tapes) -> None:
    store.offline(1, 2, 3)
    store.put(4)
    store.put(TAPE_ONLY, cos=TAPE_COS)
    store.simulator.lose(store.path(3))
    ids: list[Any] = [2, 99, 3, True, 1, 4, TAPE_ONLY, 2, -1]
    expected = [
        (2, False),
        (99, NoSuchFile),
        (3, FileDamaged),
        (True, InvalidFileId),
        (1, False),
        (4, True),
        (TAPE_ONLY, NotSupported),
        (2, False),
        (-1, InvalidFileId),
    ]
    answers = [
        (file_id, type(answer) if isinstance(answer, ArchiveError) else answer)
        for file_id, answer in store.archive.stage_many(ids)
    ]

    assert expected == answers


# --- a stage that never ends


@pytest.fixture
def endless(store: Tapes) -> Tapes:
    """Ask for file 1, which will not come."""
    store.offline(1, 2)
    store.put(3)
    store.simulator.speed(0)
    store.archive.stage(1)
    return store


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_its_status(endless: Tapes) -> None:
    assert not endless.archive.status(1).online


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_another(endless: Tapes) -> None:
    assert (False, 2) == (endless.archive.stage(2), endless.submissions())


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_many(endless: Tapes) -> None:
    assert [(1, False), (2, False), (3, True)] == list(
        endless.archive.stage_many([1, 2, 3])
    )


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_a_put(endless: Tapes) -> None:
    with endless.archive.create(1, overwrite=True) as writer:
        writer.write(DATA[::-1])

    assert endless.archive.status(1).online


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_a_delete(endless: Tapes) -> None:
    endless.archive.delete(1)

    with pytest.raises(NoSuchFile):
        endless.archive.status(1)


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_a_read(endless: Tapes) -> None:
    with endless.archive.open(3) as reader:
        assert DATA == reader.readall()


@pytest.mark.timeout(10)
def test_a_stage_that_never_ends_does_not_block_the_close(endless: Tapes) -> None:
    with endless.another() as archive:
        archive.stage(1)
        archive.close()
        with pytest.raises(ValueError, match="closed"):
            archive.status(1)


# --- no more than the option allows


def test_more_than_max_outstanding_is_refused() -> None:
    with tapes(max_outstanding=2) as store:
        store.offline(1, 2, 3)
        store.simulator.speed(0)
        store.archive.stage(1)
        store.archive.stage(2)
        with pytest.raises(ArchiveUnavailable, match="under way"):
            store.archive.stage(3)

        assert 2 == store.submissions()


def test_what_is_done_makes_room() -> None:
    with tapes(max_outstanding=2) as store:
        store.offline(1, 2, 3)
        store.archive.stage(1)
        store.archive.stage(2)
        store.simulator.settle()
        store.archive.stage(3)

        assert 3 == store.submissions()


def test_what_is_done_makes_room_for_no_more_than_it_took() -> None:
    with tapes(max_outstanding=2) as store:
        store.offline(*range(1, 6))
        store.archive.stage(1)
        store.archive.stage(2)
        store.simulator.settle()
        store.simulator.speed(0)
        store.archive.stage(3)
        store.archive.stage(4)

        with pytest.raises(TooManyRecalls):
            store.archive.stage(5)


def test_what_is_asked_for_takes_no_room_a_second_time() -> None:
    with tapes(max_outstanding=1) as store:
        store.offline(1)
        store.simulator.speed(0)

        assert [False, False] == [store.archive.stage(1), store.archive.stage(1)]


# --- releases with fewer calls


def take_away(monkeypatch: pytest.MonkeyPatch, **features: bool) -> None:
    """Be as on a release that lacks them."""
    process_simulator()
    session = Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))
    monkeypatch.setattr(session, "build", attrs.evolve(session.build, **features))


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be as before 9.3."""
    take_away(monkeypatch, has_batch=False)


@pytest.fixture
def stateless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be as where no call tells the state of a stage."""
    take_away(monkeypatch, has_batch=False, has_stage_status=False)


@pytest.mark.usefixtures("one_by_one")
def test_without_batches_each_cartridge_is_mounted_once(store: Tapes) -> None:
    ids = store.scattered(100, cartridges=10)
    store.simulator.counters(reset=True)
    answers = list(store.archive.stage_many(ids))
    store.simulator.settle()
    mounts = store.simulator.counters()["mounts"]

    assert (dict.fromkeys(store.cartridges(*ids), 1), 10, [False] * 100) == (
        mounts,
        len(mounts),
        [answer for _, answer in answers],
    )


@pytest.mark.usefixtures("one_by_one")
def test_without_batches_nothing_is_submitted_again(store: Tapes) -> None:
    store.offline(1, 2)
    store.simulator.speed(0)
    store.archive.stage(1)
    list(store.archive.stage_many([1, 2]))
    list(store.archive.stage_many([1, 2]))
    duplicates = store.simulator.counters()["duplicate_stages"]

    assert (2, 0) == (store.submissions(), duplicates)


@pytest.mark.usefixtures("one_by_one")
def test_without_batches_many_have_no_request_id_in_common(store: Tapes) -> None:
    store.offline(1, 2, 3)
    list(store.archive.stage_many([1, 2, 3]))

    assert 0 == store.simulator.counters()["gated"]


@pytest.mark.usefixtures("one_by_one")
def test_without_batches_a_refusal_is_of_one_file(store: Tapes) -> None:
    store.offline(1, 2, 3)
    store.simulator.rule(f"StageCallBack@{store.path(2)}:*:-EACCES")
    answers = [type(answer) for _, answer in store.archive.stage_many([1, 2, 3])]

    assert [bool, AccessDenied, bool] == answers


@pytest.mark.usefixtures("one_by_one")
def test_without_batches_a_store_that_fails_is_raised(store: Tapes) -> None:
    store.offline(1, 2, 3)
    store.simulator.rule(f"StageCallBack@{store.path(2)}:*:-EBUSY")

    with pytest.raises(ArchiveUnavailable):
        list(store.archive.stage_many([1, 2, 3]))


def test_those_beyond_max_outstanding_are_refused_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tapes(max_outstanding=2) as store:
        take_away(monkeypatch, has_batch=False)
        store.offline(1, 2, 3)
        store.simulator.speed(0)
        answers = [type(answer) for _, answer in store.archive.stage_many([1, 2, 3])]

        assert [bool, bool, TooManyRecalls] == answers


@pytest.mark.usefixtures("stateless")
def test_without_states_this_process_remembers_what_it_asked_for(store: Tapes) -> None:
    store.offline(1)
    store.simulator.speed(0)
    store.archive.stage(1)

    assert (False, 1) == (store.archive.stage(1), store.submissions())


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.usefixtures("stateless")
def test_without_states_a_file_that_came_and_went_is_asked_for_again(
    store: Tapes,
    many: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    store.offline(1)
    store.archive.stage(1)
    store.simulator.settle()
    came = dict(store.archive.stage_many([1]))[1] if many else store.archive.stage(1)
    store.simulator.purge(store.path(1))
    store.archive.stage(1)

    assert (True, 2) == (came, store.submissions())


# --- request ids


def test_a_request_id_can_be_computed_again() -> None:
    assert request_id("site", "00ff") == request_id("site", "00ff")


@pytest.mark.parametrize(("site", "subject"), [("site", "00fe"), ("other", "00ff")])
def test_a_request_id_differs_with(site: str, subject: str) -> None:
    assert request_id("site", "00ff") != request_id(site, subject)


def test_request_ids_differ_in_the_bytes_that_old_releases_take() -> None:
    ids = {request_id("", f"{n:032x}")[:4] for n in range(1000)}

    assert 1000 == len(ids)
