"""Digests that are kept with a file which is stored already."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import stat
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from disk import Disk
from scenes import (
    DIGESTED,
    DIGESTS,
    FILE_ID,
    MTIME_NS,
    NEW,
    attributes,
    digested,
    put,
    set_single,
)
from syscalls import Calls, failing, open_descriptors, recorded
from test_unprivileged import as_nobody

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    NotSupported,
    SupportsRecord,
)
from pacifica_archive_posix import PosixArchive, PosixOptions
from pacifica_archive_posix import record as record_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SHA = {"sha-256": DIGESTS["sha-256"]}
MD5 = {"md5": DIGESTS["md5"]}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[PosixArchive]:
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        yield archive


def record(archive: PosixArchive, digests: Mapping[str, bytes]) -> bool:
    version = archive.status(FILE_ID).version
    return archive.record_digests(FILE_ID, digests, version=version)


def state(path: Path) -> tuple[bytes, int, int, dict[str, bytes]]:
    """Return all that a failed record may not change."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    return path.read_bytes(), mode, found.st_mtime_ns, attributes(path)


def test_posix_records() -> None:
    assert issubclass(PosixArchive, SupportsRecord)


def test_recorded_digests_are_an_extended_attribute(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """As those that came with the bytes, and proven as they are."""
    put(archive, tmp_path)
    record(archive, DIGESTS)

    assert (NEW, 0o444, MTIME_NS, {DIGESTED: digested()}) == state(
        tmp_path / str(FILE_ID)
    )


def test_a_record_is_one_attribute_and_one_sync(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    version = archive.status(FILE_ID).version
    with recorded() as calls:
        archive.record_digests(FILE_ID, SHA, version=version)
    chmods = [] if os.geteuid() == 0 else ["fchmod", "setxattr", "fchmod"]

    assert [
        *("stat", "open", "flock", "fstat", "getxattr", "listxattr", "setxattr"),
        *chmods,
        *("fsync", "close"),
    ] == calls.names


def test_nothing_is_synced_unless_durable(tmp_path: Path) -> None:
    options = PosixOptions(prefix=tmp_path, durable=False)
    with PosixArchive(options) as archive:
        put(archive, tmp_path)
        with recorded() as calls:
            record(archive, SHA)

    assert "fsync" not in calls.names


def test_what_is_kept_already_changes_no_version(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path, digests=DIGESTS)
    before = archive.status(FILE_ID)
    done = record(archive, SHA)

    assert (True, before) == (done, archive.status(FILE_ID))


def test_digests_are_recorded_beside_those_of_before(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    set_single(tmp_path / str(FILE_ID), MD5)
    record(archive, {"md5": b"other", **SHA})

    assert DIGESTS == archive.digests(FILE_ID)


def test_new_digests_do_not_prove_those_of_before(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """Else an adoption would keep what it drops without the new ones."""
    put(archive, tmp_path)
    path = tmp_path / str(FILE_ID)
    set_single(path, MD5)
    record(archive, SHA)
    source = path.rename(tmp_path / "source")
    archive.adopt(1, str(source))

    assert {} == archive.digests(1)


def test_new_digests_do_not_prove_those_of_other_bytes(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """Written into the file past the archive."""
    put(archive, tmp_path, digests=MD5)
    path = tmp_path / str(FILE_ID)
    os.utime(path, ns=(1, 1))
    record(archive, SHA)

    assert {DIGESTED: digested()} == attributes(path)


def test_recorded_digests_outlive_an_adoption(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    record(archive, SHA)
    source = (tmp_path / str(FILE_ID)).rename(tmp_path / "source")
    archive.adopt(1, str(source))

    assert SHA == archive.digests(1)


class SteadyArchive(PosixArchive):
    """A backend over this one, whose versions no attribute changes."""

    def _version_of(self, file_id: int, fd: int, found: os.stat_result) -> str:
        del file_id, fd, found
        return "steady"


def test_of_two_who_record_at_once_none_undoes_the_other(tmp_path: Path) -> None:
    """The second waits, when the first has read what is kept and not set it yet."""
    with (
        SteadyArchive(PosixOptions(prefix=tmp_path)) as archive,
        ThreadPoolExecutor(1) as pool,
    ):
        put(archive, tmp_path)
        add = functools.partial(archive.record_digests, FILE_ID, version="steady")
        seconds = []

        def let_another(_name: str) -> None:
            seconds.append(pool.submit(add, MD5))
            # Without a lock it is done by then, and with one it cannot be.
            wait(seconds, timeout=1)

        with recorded() as good:
            add({**SHA, "adler": bytes(4)})
        number = good.names.index("setxattr")
        put(archive, tmp_path, overwrite=True)
        with recorded(Calls(first=number, last=number, disturb=let_another)):
            add(SHA)
        done = [second.result(60) for second in seconds]

        assert ([True], DIGESTS) == (done, archive.digests(FILE_ID))


def test_who_holds_the_file_for_long_is_not_waited_for(
    archive: PosixArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "_PATIENCE_S", 0.05)
    put(archive, tmp_path)
    with (tmp_path / str(FILE_ID)).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(ArchiveUnavailable):
            record(archive, SHA)

    assert {} == archive.digests(FILE_ID)


def test_where_there_are_no_flocks_digests_are_recorded(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """NFS gives an exclusive one only to descriptors that may write."""
    put(archive, tmp_path)
    calls = failing(errno.EBADF, first=0, last=None)
    calls.only = {"flock"}
    with recorded(calls):
        record(archive, SHA)

    assert SHA == archive.digests(FILE_ID)


def test_a_store_without_attributes_records_nothing(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    calls = failing(errno.EOPNOTSUPP, first=0, last=None)
    calls.only = {"setxattr", "getxattr", "listxattr"}
    with recorded(calls), pytest.raises(NotSupported):
        record(archive, SHA)

    assert {} == archive.digests(FILE_ID)


def test_what_is_no_file_is_not_opened(archive: PosixArchive, tmp_path: Path) -> None:
    """To open a FIFO would wait for ever."""
    os.mkfifo(tmp_path / str(FILE_ID))

    with pytest.raises(FileDamaged):
        archive.record_digests(FILE_ID, SHA, version="any")


@attrs.frozen(kw_only=True)
class Take:
    """What came of a record that was disturbed."""

    error: str | None
    cause: int | None
    as_before: bool
    kept: bool
    mode: int
    leaked: bool


def disturbed(home: Path, calls: Calls) -> Take:
    """Record the second digest of a file, in an archive of its own."""
    home.mkdir()
    path = home / str(FILE_ID)
    with PosixArchive(PosixOptions(prefix=home)) as archive:
        put(archive, home, digests=MD5)
        version = archive.status(FILE_ID).version
        before, descriptors = state(path), open_descriptors()
        error: BaseException | None = None
        with recorded(calls):
            try:
                archive.record_digests(FILE_ID, SHA, version=version)
            except ArchiveError as exc:
                error = exc
        return Take(
            error=None if error is None else type(error).__name__,
            cause=None if error is None else getattr(error.__cause__, "errno", None),
            as_before=before == state(path),
            kept=dict(archive.digests(FILE_ID)) == DIGESTS,
            mode=stat.S_IMODE(path.stat().st_mode),
            leaked=bool(open_descriptors().keys() - descriptors.keys()),
        )


ERRORS = {
    errno.ENOSPC: "ArchiveFull",
    errno.EIO: "ArchiveUnavailable",
    errno.EROFS: "AccessDenied",
    errno.ESTALE: "ArchiveUnavailable",
}


def faults(home: Path) -> list[str]:
    """Return what is wrong after each failure of each call."""
    calls = Calls()
    good = disturbed(home / "good", calls)
    wrong = [] if good.kept and good.error is None else [str(good)]
    for code, expected in ERRORS.items():
        for number, name in enumerate(calls.names):
            take = disturbed(
                home / f"{code}-{number}", failing(code, first=number, last=number)
            )
            if name == "close":
                right = take.kept and take.error is None
            elif take.error == CommitUnclear.__name__:
                # What had been set stands, and the mode where it could be set.
                right = take.kept and take.cause == code
            else:
                right = take.as_before and (take.error, take.cause) == (expected, code)
            if not right or take.leaked:
                wrong.append(f"{errno.errorcode[code]} of {name}: {take}")
    return wrong


def test_a_failing_record_leaves_the_file_as_it_was(folder: Path) -> None:
    """With the error of the errno; or the digests are there, and that is unclear."""
    assert [] == faults(folder)


@pytest.fixture
def home(folder: Path) -> Path:
    """Return a directory that others may walk to, whatever other sessions do."""
    for path in (folder, *folder.parents[:3]):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o011 != 0o011:
            path.chmod(mode | 0o011)
    home = folder / "home"
    home.mkdir()
    return home


def test_a_failing_record_of_a_read_only_file_leaves_it_as_it_was(home: Path) -> None:
    """By its owner, who must let himself write to it meanwhile."""
    assert [] == as_nobody(lambda: faults(home), home)


def test_the_owner_records_digests_of_a_read_only_file(home: Path) -> None:
    def act() -> list[Any]:
        take = disturbed(home / "archive", calls := Calls())
        return [take.error, take.kept, take.mode, calls.names.count("fchmod")]

    assert [None, True, 0o444, 2] == as_nobody(act, home)


def test_the_mode_is_set_back_when_the_attribute_cannot_be_set(home: Path) -> None:
    def act() -> list[Any]:
        calls = failing(errno.ENOSPC, first=0, last=None)
        calls.only = {"setxattr"}
        real = calls.disturb
        assert real is not None
        seen = []

        def fail_the_second(name: str) -> None:
            seen.append(name)
            if len(seen) == 2:
                real(name)

        calls.disturb = fail_the_second
        take = disturbed(home / "archive", calls)
        return [take.error, take.as_before, take.mode]

    assert ["ArchiveFull", True, 0o444] == as_nobody(act, home)


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, to own what is refused")
def test_a_file_of_another_owner_gets_no_digests(home: Path) -> None:
    with PosixArchive(PosixOptions(prefix=home)) as archive:
        put(archive, home)
    path = home / str(FILE_ID)
    before = state(path)

    def act() -> str:
        with PosixArchive(PosixOptions(prefix=home)) as archive:
            try:
                record(archive, SHA)
            except AccessDenied:
                return "denied"
        return "done"

    for other in (home / ".incoming", home / ".pacifica-archive.json"):
        os.chown(other, 65534, 65534)

    assert ("denied", before) == (as_nobody(act, home), state(path))


def test_who_may_only_read_records_nothing(home: Path) -> None:
    with PosixArchive(PosixOptions(prefix=home)) as archive:
        put(archive, home)
        calls = failing(errno.EROFS, first=0, last=None)
        calls.only = {"mkdir"}
        with recorded(calls):
            reading = PosixArchive(PosixOptions(prefix=home))
        with reading, pytest.raises(AccessDenied):
            record(reading, SHA)

        assert {} == archive.digests(FILE_ID)


def test_a_crash_leaves_the_old_digests_or_the_new_ones(folder: Path) -> None:
    """And when the record has returned, the new ones."""
    (folder / "archive").mkdir()
    path = folder / "archive" / str(FILE_ID)
    with PosixArchive(PosixOptions(prefix=folder / "archive")) as archive:
        put(archive, folder)
        version = archive.status(FILE_ID).version
        disk = Disk(folder)
        with recorded() as calls:
            archive.record_digests(FILE_ID, DIGESTS, version=version)
    found = []
    for number in range(len(calls.seen) + 1):
        seen = [disk.find(left, path) for left in disk.crashes()]
        returned = number == len(calls.seen)
        allowed = [{DIGESTED: digested()}] if returned else [{}, {DIGESTED: digested()}]
        found += [
            (number, each)
            for each in seen
            if each is None or each.data != NEW or each.attributes not in allowed
        ]
        if not returned:
            disk.apply(calls.seen[number])

    assert [] == found
