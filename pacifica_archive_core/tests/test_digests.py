"""Digests that are computed while bytes pass by."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
import zlib

import pytest

from pacifica_archive_core import ALGORITHMS, Hashes, copy
from pacifica_archive_core.testing.base import content

DATA = content("digests", 3 << 20)
BLOCK = 1 << 18
EXPECTED = {
    "sha-512": hashlib.sha512(DATA).digest(),
    "sha-256": hashlib.sha256(DATA).digest(),
    "md5": hashlib.md5(DATA, usedforsecurity=False).digest(),
    "adler": zlib.adler32(DATA).to_bytes(4, "big"),
}


class _Sink:
    def write(self, data: object) -> None:
        """Take all of ``data``."""


class _Source:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        block, self._data = self._data[:size], self._data[size:]
        return block


@pytest.fixture(params=[1, 2], ids=["one CPU", "two CPUs"])
def cpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(count)))
    return count


@pytest.mark.usefixtures("cpus")
def test_a_copied_stream_has_the_digests_of_its_bytes() -> None:
    with Hashes(ALGORITHMS) as hashes:
        copy(_Source(DATA), _Sink(), block_size=BLOCK, hashers=[hashes])

        assert EXPECTED == hashes.digests()


@pytest.mark.usefixtures("cpus")
def test_digests_of_a_part_can_be_had_before_the_rest() -> None:
    with Hashes(["md5"]) as hashes:
        hashes.update(DATA[: 2 << 20])
        part = hashes.digests()
        hashes.update(DATA[2 << 20 :])
        whole = hashes.digests()

    expected = hashlib.md5(DATA[: 2 << 20], usedforsecurity=False).digest()
    assert [{"md5": expected}, {"md5": EXPECTED["md5"]}] == [part, whole]


@pytest.mark.usefixtures("cpus")
def test_a_buffer_may_be_used_again_once_it_has_settled() -> None:
    buffer = bytearray(BLOCK)
    with Hashes(["sha-256"]) as hashes:
        for start in range(0, len(DATA), BLOCK):
            buffer[:] = DATA[start : start + BLOCK]
            hashes.update(buffer)
            hashes.settle()

        assert EXPECTED["sha-256"] == hashes.digests()["sha-256"]


def test_digests_of_nothing_are_those_of_no_bytes() -> None:
    with Hashes(["sha-256", "adler"]) as hashes:
        found = hashes.digests()

    assert {
        "sha-256": hashlib.sha256().digest(),
        "adler": b"\0\0\0\1",
    } == found


@pytest.mark.usefixtures("cpus")
def test_no_thread_is_left_when_the_stream_breaks() -> None:
    before = threading.active_count()
    with contextlib.suppress(ConnectionError), Hashes(["sha-256"]) as hashes:
        hashes.update(DATA)
        hashes.update(DATA)
        raise ConnectionError

    assert before == threading.active_count()


def test_a_long_stream_is_digested_by_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    before = threading.active_count()
    with Hashes(["sha-256"]) as hashes:
        hashes.update(DATA[:BLOCK])
        short = threading.active_count()
        hashes.update(DATA)
        hashes.update(DATA)
        long = threading.active_count()

    assert (before, before + 1) == (short, long)


def test_a_block_that_was_taken_away_is_told_of_to_all_who_settle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an interrupted writer does; nobody waits for ever."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    taken = memoryview(b"taken away")
    taken.release()
    with Hashes(["sha-256"]) as hashes:
        hashes.update(DATA)
        for _ in range(20):
            hashes.update(taken)
        for settle in (hashes.settle, hashes.digests):
            with pytest.raises(ValueError, match="could not be digested"):
                settle()


def test_a_stream_is_digested_where_no_thread_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Hashes(["sha-256"]) as hashes:
        copy(_Source(DATA), _Sink(), block_size=BLOCK, hashers=[hashes])
        found = hashes.digests()

    assert {"sha-256": EXPECTED["sha-256"]} == found


class _Alarm(Exception):
    """Raised out of a signal's handler."""


def test_a_signal_in_the_midst_leaves_nothing_to_wait_for() -> None:
    def interrupt(_signal: int, _frame: object) -> None:
        raise _Alarm

    threads = threading.active_count()
    before = signal.signal(signal.SIGALRM, interrupt)
    ended = 0
    try:
        for number in range(40):
            with contextlib.suppress(_Alarm), Hashes(["sha-256"]) as hashes:
                # Before: Python's own start of a thread does not stand a signal.
                hashes.update(DATA)
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.001 + number / 4000)
                    while True:
                        hashes.update(DATA)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    hashes.settle()
            ended += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert (40, threads) == (ended, threading.active_count())


def test_an_unknown_algorithm_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="'sha3': allowed are sha-512, sha-256"):
        Hashes(["md5", "sha3"])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_tells_its_size(name: str) -> None:
    algorithm = ALGORITHMS[name]

    assert (name, algorithm.size) == (algorithm.name, len(algorithm.new().digest()))
