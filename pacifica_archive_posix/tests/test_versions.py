"""No version comes back, however fast files are replaced."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from clocks import TICK_NS, let_tick, with_ctime
from syscalls import recorded

from pacifica_archive_posix import PosixArchive, PosixOptions, incoming

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FAST = 1000
#: Of a clock that ticks a few times in a test, on however busy a machine.
STOPPED_NS = 10**11


def replace(archive: PosixArchive, file_id: int = 1) -> None:
    with archive.create(file_id, size=4, mtime_ns=1, overwrite=True) as writer:
        writer.write(b"same")


def versions(prefix: Path, count: int) -> list[str]:
    """Return the versions of as many equal files, stored as fast as possible."""
    found = []
    with PosixArchive(PosixOptions(prefix=prefix, durable=False)) as archive:
        for number in range(count):
            # One and two replacements in turn: else two inodes just alternate.
            for _ in range(number % 3 + 1):
                replace(archive)
            if number % 5 == 4:
                archive.delete(1)
                replace(archive)
            found.append(archive.status(1).version)
    return found


def test_thousands_of_equal_files_have_as_many_versions(tmp_path: Path) -> None:
    assert FAST == len(set(versions(tmp_path, FAST)))


def test_thousands_in_memory_have_too(memory: Path) -> None:
    assert FAST == len(set(versions(memory, FAST)))


def test_versions_differ_though_the_clock_ticks_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_tick(monkeypatch, TICK_NS, inode=1)

    assert 100 == len(set(versions(tmp_path, 100)))


def test_a_slow_clock_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the wait: so the test above can fail."""
    let_tick(monkeypatch, STOPPED_NS, inode=1)
    monkeypatch.setattr(incoming, "TICK_S", -1)

    assert len(set(versions(tmp_path, 100))) < 100


def test_a_clock_of_whole_seconds_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is slow for other reasons would not survive it."""
    real = os.fstat

    def whole(fd: int) -> os.stat_result:
        found = real(fd)
        return with_ctime(found, 10**18)

    with PosixArchive(PosixOptions(prefix=tmp_path, durable=False)) as archive:
        monkeypatch.setattr(os, "fstat", whole)
        with recorded() as calls:
            replace(archive)

    assert calls.names.count("fchmod") < 100


def test_a_reader_and_status_agree_on_the_version(tmp_path: Path) -> None:
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        replace(archive)
        with archive.open(1) as reader:
            assert archive.status(1) == reader.status


def test_status_is_one_call(tmp_path: Path) -> None:
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        replace(archive)
        with recorded() as calls:
            archive.status(1)

    assert ["stat"] == calls.names


def test_versions_seen_by_readers_name_their_bytes(memory: Path) -> None:
    """While others replace the file: no version is ever of two contents."""
    seen: dict[str, bytes] = {}
    mixed = []
    stop = threading.Event()
    with PosixArchive(PosixOptions(prefix=memory, durable=False)) as archive:
        replace(archive)

        def write(letter: bytes) -> None:
            while not stop.is_set():
                with archive.create(1, size=4, mtime_ns=1, overwrite=True) as writer:
                    writer.write(letter * 4)

        threads = [
            threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")
        ]
        for thread in threads:
            thread.start()
        try:
            opens = 0
            while len(seen) < 100 and opens < 100_000:
                opens += 1
                with archive.open(1) as reader:
                    data = reader.readall()
                    if seen.setdefault(reader.status.version, data) != data:
                        mixed.append(reader.status.version)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    assert ([], 100) == (mixed, len(seen))
