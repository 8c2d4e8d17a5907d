"""Reading files again, and comparing them with their digests."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaws import (
    BLOCK,
    DATA,
    LIMIT_S,
    FlawedArchive,
    Gate,
    MuteArchive,
    StampedArchive,
    flipped,
    replace,
    store,
)
from tiny import TinyOptions

from pacifica_archive_core import (
    AccessDenied,
    ArchiveFull,
    ArchiveUnavailable,
    CommitUnclear,
    MemoryArchive,
    NotSupported,
)
from pacifica_archive_core.verify import (
    RateLimit,
    Result,
    Verdict,
    Where,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHA = hashlib.sha256(DATA).digest()
MD5 = hashlib.md5(DATA, usedforsecurity=False).digest()


@pytest.fixture
def archive() -> Iterator[FlawedArchive]:
    with FlawedArchive() as archive:
        yield archive


def verdict_of(
    archive: FlawedArchive,
    file_id: int = 5,
    **options: Any,  # noqa: ANN401 (as verify has them)
) -> Verdict:
    (verdict,) = verify(archive, [file_id], **options)
    return verdict


def test_a_file_that_is_as_it_was_stored_is_ok(archive: FlawedArchive) -> None:
    status = store(archive, 5, sha_256=SHA)

    expected = Verdict(
        file_id=5,
        result=Result.OK,
        size=len(DATA),
        version=status.version,
        algorithms=("sha-256",),
    )
    assert expected == verdict_of(archive)


@pytest.mark.parametrize("position", [0, BLOCK, len(DATA) - 1])
def test_one_flipped_bit_differs(archive: FlawedArchive, position: int) -> None:
    store(archive, 5, flipped(DATA, position), sha_256=SHA)

    assert Result.DIFFERS == verdict_of(archive).result


def test_every_digest_that_is_kept_and_known_is_compared(
    archive: FlawedArchive,
) -> None:
    store(archive, 5, md5=MD5, sha_256=SHA, crc32c=b"four")

    assert ("sha-256", "md5") == verdict_of(archive).algorithms


def test_an_empty_file_is_verified(archive: FlawedArchive) -> None:
    store(archive, 5, b"", sha_256=hashlib.sha256().digest())

    assert Result.OK == verdict_of(archive).result


@pytest.mark.parametrize(
    ("flips", "where", "words"),
    [
        ({1: 7}, Where.WAY, "sha-256 not as kept: on the way: a second reading was"),
        ({1: 7, 2: 7}, Where.MEDIUM, "sha-256 not as kept: on the medium: two readi"),
        ({1: 7, 2: 8}, Where.UNKNOWN, "sha-256 not as kept: two readings differ: on"),
    ],
)
def test_a_second_reading_tells_where_a_bit_was_flipped(
    archive: FlawedArchive, flips: Mapping[int, int], where: Where, words: str
) -> None:
    store(archive, 5, sha_256=SHA)
    archive.flips = flips

    verdict = verdict_of(archive)

    assert (Result.DIFFERS, where, words) == (
        verdict.result,
        verdict.where,
        (verdict.message or "")[: len(words)],
    )


def test_what_was_stored_wrong_is_on_the_medium(archive: FlawedArchive) -> None:
    store(archive, 5, flipped(DATA, 9), sha_256=SHA, md5=MD5)

    assert Where.MEDIUM == verdict_of(archive).where


def test_a_second_reading_that_fails_tells_nothing(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)
    archive.flips, archive.breaks = {1: 7}, frozenset({2})

    verdict = verdict_of(archive)

    expected = "sha-256 not as kept: a second reading failed: file 5: the tape is torn"
    assert (Where.UNKNOWN, expected) == (verdict.where, verdict.message)


def test_a_digest_that_was_kept_wrong_is_told_from_bytes(
    archive: FlawedArchive,
) -> None:
    store(archive, 5, sha_256=SHA, md5=bytes(16))

    verdict = verdict_of(archive)

    expected = "md5 not as kept: kept wrong, as the bytes are right by sha-256"
    assert (Where.DIGESTS, expected) == (verdict.where, verdict.message)


def test_what_agrees_is_read_once(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)

    verdict_of(archive)

    assert 1 == archive.readings


def test_a_file_without_a_digest_is_not_read(archive: FlawedArchive) -> None:
    store(archive, 5)

    verdict = verdict_of(archive)

    assert (Result.NO_DIGEST, "none is kept", 0) == (
        verdict.result,
        verdict.message,
        archive.readings,
    )


def test_a_digest_of_an_unknown_algorithm_is_none(archive: FlawedArchive) -> None:
    store(archive, 5, crc32c=b"four")

    verdict = verdict_of(archive)

    expected = (Result.NO_DIGEST, "kept, but unknown: crc32c")
    assert expected == (verdict.result, verdict.message)


def test_a_file_that_cannot_be_read_is_unreadable_and_has_its_size(
    archive: FlawedArchive,
) -> None:
    store(archive, 5, sha_256=SHA)
    archive.breaks = frozenset({1})

    verdict = verdict_of(archive)

    expected = (Result.UNREADABLE, "the tape is torn", len(DATA))
    assert expected == (verdict.result, verdict.message, verdict.size)


def test_a_missing_file_is_missing(archive: FlawedArchive) -> None:
    verdict = verdict_of(archive)

    assert Verdict(file_id=5, result=Result.MISSING, message="not in the archive") == (
        verdict
    )


def test_a_file_on_tape_is_offline_and_has_its_size(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)
    archive.purge(5)

    verdict = verdict_of(archive)

    assert (Result.OFFLINE, len(DATA)) == (verdict.result, verdict.size)


def test_a_file_on_tape_is_never_recalled(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)
    archive.purge(5)

    verdict_of(archive, record=True)
    archive.finish_recalls()

    assert not archive.status(5).online


def test_a_file_on_tape_is_recalled_when_it_is_asked_for(
    archive: FlawedArchive,
) -> None:
    store(archive, 5, sha_256=SHA)
    archive.purge(5)

    assert Result.OK == verdict_of(archive, recall=True).result


def test_one_bad_file_does_not_stop_the_others(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)
    store(archive, 7, flipped(DATA, 1), sha_256=SHA)

    results = {v.file_id: v.result for v in verify(archive, [5, 6, 7])}

    assert {5: Result.OK, 6: Result.MISSING, 7: Result.DIFFERS} == results


def test_what_fails_the_store_ends_the_run(archive: FlawedArchive) -> None:
    store(archive, 5, sha_256=SHA)

    def fail(_file_id: int) -> None:
        raise ArchiveUnavailable("the robot is on strike")

    archive.before_read = fail

    with pytest.raises(ArchiveUnavailable, match="strike"):
        list(verify(archive, [5, 6]))


# --- recording


def test_a_digest_is_recorded_where_none_was(archive: FlawedArchive) -> None:
    store(archive, 5)

    verdict = verdict_of(archive, record=True)

    assert (Result.RECORDED, ("sha-256",), {"sha-256": SHA}) == (
        verdict.result,
        verdict.algorithms,
        archive.digests(5),
    )


def test_what_was_recorded_is_ok_the_next_time(archive: FlawedArchive) -> None:
    store(archive, 5)
    verdict_of(archive, record=True)

    assert Result.OK == verdict_of(archive).result


def test_nothing_is_recorded_where_a_digest_is_kept(archive: FlawedArchive) -> None:
    store(archive, 5, md5=MD5)

    verdict = verdict_of(archive, record=True)

    assert (Result.OK, {"md5": MD5}) == (verdict.result, archive.digests(5))


def test_a_digest_of_what_was_replaced_meanwhile_is_not_recorded(
    archive: FlawedArchive,
) -> None:
    store(archive, 5)
    archive.before_record = replace(archive)

    verdict = verdict_of(archive, record=True)

    assert (Result.NO_DIGEST, {}) == (verdict.result, archive.digests(5))
    assert "replaced while it was read: nothing recorded" == verdict.message


def test_a_file_whose_digest_another_records_meanwhile_is_compared_with_it(
    archive: FlawedArchive,
) -> None:
    """Such as the run's own other reader, where an id is given twice."""
    store(archive, 5)

    def store_digested(_file_id: int) -> None:
        archive.before_record = lambda _: None
        store(archive, 5, sha_256=SHA)

    archive.before_record = store_digested

    assert Result.OK == verdict_of(archive, record=True).result


def test_what_was_deleted_meanwhile_is_missing(archive: FlawedArchive) -> None:
    store(archive, 5)
    archive.before_record = archive.delete

    assert Result.MISSING == verdict_of(archive, record=True).result


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CommitUnclear(5, "ask for its digests"), "ask for its digests"),
        (AccessDenied("it is another's"), "it is another's"),
    ],
)
def test_a_digest_that_cannot_be_kept_is_none(
    archive: FlawedArchive, error: Exception, reason: str
) -> None:
    """The file was read, and nothing is wrong with it."""
    store(archive, 5)

    def fail(_file_id: int) -> None:
        raise error

    archive.before_record = fail

    verdict = verdict_of(archive, record=True)

    assert (Result.NO_DIGEST, f"not recorded: {reason}") == (
        verdict.result,
        verdict.message,
    )


def test_a_store_that_is_full_of_digests_ends_the_run(archive: FlawedArchive) -> None:
    store(archive, 5)

    def fail(_file_id: int) -> None:
        raise ArchiveFull("no attribute fits in")

    archive.before_record = fail

    with pytest.raises(ArchiveFull):
        list(verify(archive, [5, 6], record=True))


def test_a_store_that_cannot_record_refuses_before_it_is_read() -> None:
    with (
        MuteArchive() as archive,
        pytest.raises(NotSupported, match="cannot record"),
    ):
        verify(archive, [5], record=True)


# --- readers


@pytest.mark.parametrize("readers", [1, 32])
def test_so_many_files_are_read_at_the_same_time(
    archive: FlawedArchive, readers: int
) -> None:
    for file_id in range(40):
        store(archive, file_id, sha_256=SHA)
    gate = Gate(readers)
    archive.before_read = gate.enter
    verdicts = verify(archive, range(40), readers=readers)
    results: list[Verdict] = []
    run = threading.Thread(target=lambda: results.extend(verdicts))
    run.start()

    gate.wait()
    inside, opened = gate.inside, len(archive.opened)
    gate.open()
    run.join(LIMIT_S)

    assert (readers, readers) == (inside, opened)
    assert [Result.OK] * 40 == [verdict.result for verdict in results]


def test_ids_are_taken_only_as_readers_become_free(archive: FlawedArchive) -> None:
    for file_id in range(100):
        store(archive, file_id, sha_256=SHA)
    ids = iter(range(100))
    verdicts = verify(archive, ids, readers=3)

    next(verdicts)
    verdicts.close()

    assert 4 == next(ids)


def test_results_come_as_files_are_done(archive: FlawedArchive) -> None:
    """One that takes long holds up neither the others nor their results."""
    store(archive, 1, sha_256=SHA)
    store(archive, 2, sha_256=SHA)
    second_done = threading.Event()
    archive.before_read = lambda file_id: (
        file_id == 2 or second_done.wait(LIMIT_S)  # the first waits for it
    )
    verdicts = verify(archive, [1, 2], readers=2)

    order = [next(verdicts).file_id]
    second_done.set()
    order += [verdict.file_id for verdict in verdicts]

    assert [2, 1] == order


def threads() -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("pacifica-archive")
    ]


def test_no_thread_and_no_reader_is_left_at_the_end(archive: FlawedArchive) -> None:
    for file_id in range(40):
        store(archive, file_id, sha_256=SHA)

    list(verify(archive, range(50), readers=8))

    assert [] == threads()


def test_no_thread_is_left_when_the_run_is_left(archive: FlawedArchive) -> None:
    """As by Ctrl-C: the readers stop within a block."""
    for file_id in range(40):
        store(archive, file_id, sha_256=SHA)
    verdicts = verify(archive, range(40), readers=8)
    next(verdicts)

    verdicts.close()

    assert [] == threads()


def test_no_thread_is_left_where_not_all_can_be_had(
    archive: FlawedArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def start_three(thread: threading.Thread) -> None:
        if len(threads()) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_three)

    with pytest.raises(RuntimeError, match="new thread"):
        list(verify(archive, [5], readers=4))
    assert [] == threads()


def test_a_reader_stops_within_its_file_when_the_run_is_left(
    archive: FlawedArchive,
) -> None:
    store(archive, 1)
    store(archive, 2, sha_256=SHA)
    archive.endless = 2
    verdicts = verify(archive, [1, 2], readers=2)
    next(verdicts)

    verdicts.close()

    assert [] == threads()


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    with StampedArchive(TinyOptions(tmp_path)) as archive:
        for file_id in range(20):
            store(archive, file_id, sha_256=SHA)
        descriptors = Path("/proc/self/fd")
        before = len(list(descriptors.iterdir()))

        list(verify(archive, range(30), readers=8))

        assert before == len(list(descriptors.iterdir()))


# --- the rate


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_bytes_are_paid_for_in_time() -> None:
    limit = RateLimit(100, clock=Clock())

    assert [0.5, 1.5] == [limit.take(50), limit.take(100)]


def test_who_was_slower_than_the_rate_does_not_wait() -> None:
    clock = Clock()
    limit = RateLimit(100, clock=clock)
    limit.take(100)
    clock.now_s += 1.5

    assert 0.5 == limit.take(50)


def test_idle_time_is_no_credit() -> None:
    clock = Clock()
    limit = RateLimit(100, clock=clock)
    clock.now_s += 3600

    assert 1 == limit.take(100)


def test_a_rate_is_more_than_nothing() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        RateLimit(0)


class Counted(RateLimit):
    """Counts, and lets all pass."""

    def __init__(self) -> None:
        super().__init__(1)
        self.taken: list[int] = []

    def take(self, count: int) -> float:
        self.taken.append(count)
        return 0


def test_every_block_of_every_reader_is_taken_from_the_one_limit(
    archive: FlawedArchive,
) -> None:
    for file_id in range(8):
        store(archive, file_id, sha_256=SHA)
    limit = Counted()

    list(verify(archive, range(8), readers=4, limit=limit))

    assert [BLOCK] * (8 * len(DATA) // BLOCK) == limit.taken


def test_a_second_reading_is_taken_from_the_limit_too(archive: FlawedArchive) -> None:
    store(archive, 5, flipped(DATA, 3), sha_256=SHA)
    limit = Counted()

    verdict_of(archive, limit=limit)

    assert 2 * len(DATA) == sum(limit.taken)


class Endless(RateLimit):
    """Tells that someone has to wait, for longer than any test lasts."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = threading.Event()

    def take(self, count: int) -> float:
        self.asked.set()
        return 10**6 + count


def test_who_waits_for_the_rate_can_be_stopped() -> None:
    with FlawedArchive() as archive:
        store(archive, 1)
        store(archive, 2, sha_256=SHA)
        limit = Endless()
        verdicts = verify(archive, [1, 2], readers=2, limit=limit)
        next(verdicts)
        limit.asked.wait(LIMIT_S)

        verdicts.close()

        assert [] == threads()


def test_a_version_that_recording_changes_is_that_of_the_verdict(
    tmp_path: Path,
) -> None:
    with StampedArchive(TinyOptions(tmp_path)) as archive:
        store(archive, 5)

        (verdict,) = verify(archive, [5], record=True)

        assert archive.status(5).version == verdict.version


def test_a_version_that_replaced_what_was_recorded_is_not_that_of_the_verdict(
    tmp_path: Path,
) -> None:
    """Nobody has read it."""
    with StampedArchive(TinyOptions(tmp_path)) as archive:
        before = store(archive, 5)
        archive.after_record = lambda: store(archive, 5)

        (verdict,) = verify(archive, [5], record=True)

        assert before.version == verdict.version


def test_readers_may_be_more_than_files() -> None:
    with MemoryArchive() as archive:
        assert [] == list(verify(archive, [], readers=16))
