"""What lies on the disk, and what else may lie there."""

from __future__ import annotations

import errno
import functools
import logging
import os
import socket
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from scenes import (
    DIGESTED,
    DIGESTS,
    FILE_ID,
    MTIME_NS,
    NEW,
    OLD,
    attributes,
    digested,
    put,
    set_single,
    store,
)
from syscalls import Calls, failing, recorded

from pacifica_archive_core import (
    AccessDenied,
    ArchiveFull,
    ArchiveUnavailable,
    ConfigError,
    FileDamaged,
    FileExists,
    Media,
    NoSuchFile,
    Residency,
    StorageLevel,
    id2filename,
    open_archive,
)
from pacifica_archive_posix import PosixArchive, PosixOptions, TreeOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLAIN_ID, DIGESTED_ID = 7, 8


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[PosixArchive]:
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        yield archive


@pytest.mark.parametrize("size", [2**63, 2**64, 2**64 + 2**26, 2**70])
def test_a_size_that_no_file_has_is_refused_before_the_first_byte(
    archive: PosixArchive, size: int
) -> None:
    with pytest.raises(ArchiveFull):
        archive.create(1, size=size)


# --- the layout, past the API


def test_a_file_is_read_only_and_has_its_mtime(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    status = (tmp_path / str(FILE_ID)).stat()

    assert (0o100444, MTIME_NS, 1) == (
        status.st_mode,
        status.st_mtime_ns,
        status.st_nlink,
    )


def test_a_file_is_read_only_whatever_the_umask(
    archive: PosixArchive, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        put(archive, tmp_path)
    finally:
        os.umask(before)

    assert 0o444 == stat.S_IMODE((tmp_path / str(FILE_ID)).stat().st_mode)


def test_digests_are_an_extended_attribute(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """In words, with the size and the mtime that prove them."""
    put(archive, tmp_path, digests=DIGESTS)

    assert {DIGESTED: digested()} == attributes(tmp_path / str(FILE_ID))


def test_digests_are_stamped_with_the_mtime_that_the_file_system_keeps(
    archive: PosixArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may be of whole seconds."""
    real = os.utime

    def cut(fd: int, *, ns: tuple[int, int]) -> None:
        real(fd, ns=(ns[0], ns[1] // 10**9 * 10**9))

    monkeypatch.setattr(os, "utime", cut)
    put(archive, tmp_path, digests=DIGESTS)

    assert {DIGESTED: digested(mtime_ns=MTIME_NS // 10**9 * 10**9)} == attributes(
        tmp_path / str(FILE_ID)
    )


@pytest.mark.parametrize(
    "digests",
    [{"with space=and %": b"\0", "\N{GREEK SMALL LETTER PI}": b"\xff"}, {"": b""}],
)
def test_digests_of_any_name_are_kept(
    archive: PosixArchive, tmp_path: Path, digests: dict[str, bytes]
) -> None:
    put(archive, tmp_path, digests=digests)

    assert digests == archive.digests(FILE_ID)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"5000 1",
        b"5000 1 ",
        b"5000 sha-256=00",
        b"5000 1 sha-256=0",
        b"5000 1 sha-256=zz",
        b"5000 1 sha-256",
        b"5000 1  sha-256=00",
        b"5000 1 sha-256=00\n",
        b"- 1 sha-256=00",
        b"5000 1 \xff=00",
    ],
)
@pytest.mark.parametrize("way", ["digests", "reader", "record"])
def test_damaged_digests_are_not_none(
    archive: PosixArchive, tmp_path: Path, value: bytes, way: str
) -> None:
    """Else bytes that went wrong with them would be given a digest of their own."""
    put(archive, tmp_path)
    (tmp_path / str(FILE_ID)).chmod(0o644)
    os.setxattr(tmp_path / str(FILE_ID), DIGESTED, value)
    version = archive.status(FILE_ID).version
    with archive.open(FILE_ID) as reader:
        calls: dict[str, Callable[[], object]] = {
            "digests": lambda: archive.digests(FILE_ID),
            "reader": reader.digests,
            "record": lambda: archive.record_digests(FILE_ID, DIGESTS, version=version),
        }
        with pytest.raises(FileDamaged, match="the digests kept with it are damaged"):
            calls[way]()


def test_a_file_with_damaged_digests_can_be_read(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path)
    (tmp_path / str(FILE_ID)).chmod(0o644)
    os.setxattr(tmp_path / str(FILE_ID), DIGESTED, b"5000 1")
    with archive.open(FILE_ID) as reader:
        found = reader.readall()

    assert archive.status(FILE_ID).size == len(found)


def test_digests_of_a_tree_of_before_are_told(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """It has an attribute for each."""
    put(archive, tmp_path)
    set_single(tmp_path / str(FILE_ID), DIGESTS)
    with archive.open(FILE_ID) as reader:
        found = reader.digests()

    assert (DIGESTS, DIGESTS) == (found, archive.digests(FILE_ID))


def test_digests_of_a_tree_of_before_are_of_one_version(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """Though the file is replaced while they are read one by one."""
    others = {name: value[::-1] + b"!" for name, value in DIGESTS.items()}
    put(archive, tmp_path)
    set_single(tmp_path / str(FILE_ID), DIGESTS)
    with recorded() as good:
        archive.digests(FILE_ID)
    number = good.names.index("listxattr") + 2

    def replace(_name: str) -> None:
        put(archive, tmp_path, overwrite=True)
        set_single(tmp_path / str(FILE_ID), others)

    with recorded(Calls(first=number, last=number, disturb=replace)) as calls:
        found = archive.digests(FILE_ID)

    assert ("getxattr", others) == (calls.seen[number].name, found)


def test_a_reader_has_the_digests_of_its_own_version(
    archive: PosixArchive, tmp_path: Path
) -> None:
    """They hang on the inode, whatever the name is by now."""
    put(archive, tmp_path, digests=DIGESTS)
    with archive.open(FILE_ID) as reader:
        put(archive, tmp_path, data=OLD, overwrite=True)
        replaced = reader.digests()
        archive.delete(FILE_ID)
        deleted = reader.digests()

    assert (DIGESTS, DIGESTS) == (replaced, deleted)


CALLS: dict[str, tuple[Callable[[PosixArchive, Path], object], dict[str, int]]] = {
    "put without digests": (put, {}),
    "put with digests": (functools.partial(put, digests=DIGESTS), {"setxattr": 1}),
    "digests": (lambda archive, _: archive.digests(DIGESTED_ID), {"getxattr": 1}),
    "digests of none": (
        lambda archive, _: archive.digests(PLAIN_ID),
        {"getxattr": 1, "listxattr": 1},
    ),
    "digests of a reader": (
        lambda archive, _: told(archive, DIGESTED_ID),
        {"getxattr": 1},
    ),
    "digests of a status": (
        lambda archive, _: archive.digests_of(archive.status(DIGESTED_ID)),
        {"getxattr": 1},
    ),
    "get": (lambda archive, _: fetched(archive, DIGESTED_ID), {}),
}


def told(archive: PosixArchive, file_id: int) -> object:
    with archive.open(file_id) as reader:
        return reader.digests()


def fetched(archive: PosixArchive, file_id: int) -> bytes:
    with archive.open(file_id) as reader:
        return reader.readall()


@pytest.mark.parametrize("name", CALLS)
def test_digests_are_few_calls(
    archive: PosixArchive, tmp_path: Path, name: str
) -> None:
    call, expected = CALLS[name]
    store(archive, PLAIN_ID, OLD)
    store(archive, DIGESTED_ID, OLD, DIGESTS)
    with recorded() as calls:
        call(archive, tmp_path)
    found = Counter(each for each in calls.names if "xattr" in each)

    assert expected == found


def test_digests_of_the_present_version_are_one_call(
    archive: PosixArchive,
) -> None:
    store(archive, DIGESTED_ID, OLD, DIGESTS)
    with recorded() as calls:
        archive.digests(DIGESTED_ID)

    assert ["getxattr"] == calls.names


def test_attributes_of_others_are_no_digests(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path, digests=DIGESTS)
    (tmp_path / str(FILE_ID)).chmod(0o644)
    os.setxattr(tmp_path / str(FILE_ID), "user.checksum", b"1")

    assert DIGESTS == archive.digests(FILE_ID)


class MarkingArchive(PosixArchive):
    """A backend over this one, which marks what it stores."""

    def _attributes(self) -> dict[str, bytes]:
        return {"user.mark": b"x"}


def test_attributes_of_a_backend_over_this_one_are_kept_beside_the_digests(
    tmp_path: Path,
) -> None:
    with MarkingArchive(PosixOptions(prefix=tmp_path)) as archive:
        put(archive, tmp_path, digests=DIGESTS)
    path = tmp_path / str(FILE_ID)

    assert {"user.mark", DIGESTED} == set(os.listxattr(path))


def test_a_backend_over_this_one_spreads_its_files_over_directories(
    tmp_path: Path,
) -> None:
    with PosixArchive(TreeOptions(prefix=tmp_path)) as archive:
        store(archive, FILE_ID, NEW)

        assert str(tmp_path / id2filename(FILE_ID)[1:]) == str(
            archive.local_path(FILE_ID)
        )


@pytest.mark.parametrize(
    ("file_id", "name"),
    [
        (0, "file.0"),
        (255, "file.ff"),
        (256, "00/100"),
        (12345, "39/3039"),
        (2**63 - 1, "ff/ff/ff/ff/ff/ff/ff/7fffffffffffffff"),
    ],
)
def test_nested_files_are_where_release_0_4_2_has_them(
    tmp_path: Path, file_id: int, name: str
) -> None:
    options = PosixOptions(prefix=tmp_path, use_id2filename=True)
    with PosixArchive(options) as archive:
        store(archive, file_id, NEW)
        path = archive.status(file_id).path

    assert (NEW, str(tmp_path / name)) == ((tmp_path / name).read_bytes(), path)


def test_a_status_has_the_words_of_the_disk(archive: PosixArchive) -> None:
    store(archive, 1, NEW)
    status = archive.status(1)

    assert (Residency.DISK, "stat", (StorageLevel(Media.DISK, len(NEW)),)) == (
        status.residency,
        status.residency_source,
        status.levels,
    )


def test_directories_stay_when_their_files_are_deleted(tmp_path: Path) -> None:
    """Others may be about to use them."""
    options = PosixOptions(prefix=tmp_path, use_id2filename=True)
    with PosixArchive(options) as archive:
        store(archive, 0x3039, NEW)
        archive.delete(0x3039)

    assert [] == list((tmp_path / "39").iterdir())


def test_directories_may_be_symlinks(tmp_path: Path) -> None:
    """Operators move parts of a tree to other places of the same file system."""
    prefix, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    prefix.mkdir()
    elsewhere.mkdir()
    (prefix / "39").symlink_to(elsewhere)
    options = PosixOptions(prefix=prefix, use_id2filename=True)
    with PosixArchive(options) as archive:
        store(archive, 0x3039, NEW)

    assert NEW == (elsewhere / "3039").read_bytes()


def test_a_directory_on_another_file_system_is_told(
    tmp_path: Path, memory: Path
) -> None:
    """No file can be moved there at once; nothing is left of it."""
    (tmp_path / "39").symlink_to(memory)
    options = PosixOptions(prefix=tmp_path, use_id2filename=True)
    with PosixArchive(options) as archive, pytest.raises(ArchiveUnavailable):
        store(archive, 0x3039, NEW)

    assert ([], []) == (
        list(memory.iterdir()),
        list((tmp_path / ".incoming").iterdir()),
    )


# --- what is no stored file


def make_directory(path: Path) -> None:
    path.mkdir()


def make_symlink(path: Path) -> None:
    target = path.parent / "target"
    target.write_bytes(OLD)
    path.symlink_to(target)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    # The name of a socket may have 107 bytes only; by this one it is short.
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


STRANGE = [make_directory, make_symlink, make_fifo, make_socket]
by_kind = pytest.mark.parametrize("make", STRANGE, ids=lambda f: f.__name__[5:])


@by_kind
@pytest.mark.parametrize("call", ["open", "status", "stage", "digests", "local_path"])
def test_what_is_no_regular_file_is_damage(
    archive: PosixArchive, make: Callable[[Path], None], call: str, tmp_path: Path
) -> None:
    """Not a missing file: its id cannot be stored anew, so somebody has to look."""
    make(tmp_path / "1")

    with pytest.raises(FileDamaged):
        getattr(archive, call)(1)


def test_a_symlink_put_there_at_the_last_moment_is_not_read(
    archive: PosixArchive, tmp_path: Path
) -> None:
    def swap(_name: str) -> None:
        (tmp_path / "1").unlink()
        make_symlink(tmp_path / "1")

    store(archive, 1, NEW)
    with recorded() as good:
        archive.open(1).close()
    number = good.names.index("open")

    with (
        recorded(Calls(first=number, last=number, disturb=swap)),
        pytest.raises(FileDamaged),
    ):
        archive.open(1)


@by_kind
def test_what_is_no_regular_file_holds_its_id(
    archive: PosixArchive, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "1")

    with pytest.raises(FileExists):
        archive.create(1)


@pytest.mark.parametrize("make", STRANGE[1:], ids=lambda f: f.__name__[5:])
def test_what_is_no_regular_file_can_be_replaced(
    archive: PosixArchive, make: Callable[[Path], None], tmp_path: Path
) -> None:
    """The name, not what a symlink leads to."""
    make(tmp_path / "1")
    store(archive, 1, NEW)

    assert (NEW, OLD if make is make_symlink else None) == (
        (tmp_path / "1").read_bytes(),
        (tmp_path / "target").read_bytes() if make is make_symlink else None,
    )


@pytest.mark.parametrize("make", STRANGE[1:], ids=lambda f: f.__name__[5:])
def test_what_is_no_regular_file_can_be_deleted(
    archive: PosixArchive, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "1")
    archive.delete(1)

    assert not os.path.lexists(tmp_path / "1")


@pytest.mark.parametrize(
    "act",
    [lambda archive: store(archive, 1, NEW), lambda archive: archive.delete(1)],
    ids=["replace", "delete"],
)
def test_a_directory_is_neither_replaced_nor_deleted(
    archive: PosixArchive, act: Callable[[PosixArchive], None], tmp_path: Path
) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(FileDamaged):
        act(archive)

    assert ([], True) == (
        list((tmp_path / ".incoming").iterdir()),
        (tmp_path / "1").is_dir(),
    )


def test_a_file_in_the_place_of_a_directory_holds_no_files(tmp_path: Path) -> None:
    (tmp_path / "39").write_bytes(OLD)
    options = PosixOptions(prefix=tmp_path, use_id2filename=True)
    # It looks flat, so there has to be a marker.
    (tmp_path / ".pacifica-archive.json").write_text(
        '{"format": 1, "use_id2filename": true}'
    )
    with PosixArchive(options) as archive:
        with pytest.raises(NoSuchFile):
            archive.status(0x3039)

        with pytest.raises(ArchiveUnavailable):
            store(archive, 0x3039, NEW)


# --- readers


def test_a_descriptor_stands_at_the_position(archive: PosixArchive) -> None:
    store(archive, 1, NEW)
    with archive.open(1) as reader:
        reader.read(100)
        first = os.read(reader.fileno(), 10)
        second = os.read(reader.fileno(), 10)

    assert [NEW[100:110]] * 2 == [first, second]


def test_a_descriptor_is_not_inherited(archive: PosixArchive) -> None:
    store(archive, 1, NEW)
    with archive.open(1) as reader:
        assert not os.get_inheritable(reader.fileno())


def test_a_descriptor_of_a_closed_reader_is_refused(archive: PosixArchive) -> None:
    """Its number may be another file's by now."""
    store(archive, 1, NEW)
    reader = archive.open(1)
    reader.close()

    with pytest.raises(ValueError, match="closed"):
        reader.fileno()


# --- check, and stores without extended attributes


def without_attributes(call: Callable[[], object]) -> None:
    """Let the file system have no extended attributes."""
    calls = failing(errno.EOPNOTSUPP, first=0, last=None)
    calls.only = {"setxattr", "getxattr", "listxattr", "removexattr"}
    with recorded(calls):
        call()


def test_a_store_without_attributes_keeps_no_digests(
    archive: PosixArchive, tmp_path: Path
) -> None:
    without_attributes(lambda: put(archive, tmp_path, digests=DIGESTS))

    assert (NEW, {}) == (
        archive.local_path(FILE_ID).read_bytes(),
        archive.digests(FILE_ID),
    )


def test_digests_of_a_store_without_attributes_are_none(
    archive: PosixArchive, tmp_path: Path
) -> None:
    put(archive, tmp_path, digests=DIGESTS)
    found: list[object] = []
    without_attributes(lambda: found.append(archive.digests(FILE_ID)))

    assert [{}] == found


def test_check_says_once_that_no_digests_are_kept(
    archive: PosixArchive, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every beat of a health check."""
    for _ in range(3):
        without_attributes(archive.check)

    assert [(logging.WARNING, True)] == [
        (record.levelno, "digests" in record.message) for record in caplog.records
    ]


def test_check_says_nothing_where_digests_are_kept(
    archive: PosixArchive, caplog: pytest.LogCaptureFixture
) -> None:
    archive.check()

    assert [] == caplog.records


def test_check_leaves_nothing(archive: PosixArchive, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    archive.check()

    assert before == sorted(tmp_path.rglob("*"))


def test_check_tells_of_a_store_that_became_read_only(
    archive: PosixArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ext4 does after an error, when it is mounted so."""
    real = os.statvfs

    def statvfs(path: str) -> os.statvfs_result:
        fields = list(real(path))
        fields[8] |= os.ST_RDONLY
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", statvfs)

    with pytest.raises(AccessDenied):
        archive.check()


# --- options


def test_posix_is_found_by_its_name(tmp_path: Path) -> None:
    with open_archive("posix", prefix=str(tmp_path)) as archive:
        assert PosixArchive is type(archive)


def test_the_section_of_the_seed_is_read(tmp_path: Path) -> None:
    config = tmp_path / "config.cfg"
    config.write_text("[posix]\nuse_id2filename = true\n")
    with open_archive("posix", config=config, prefix=str(tmp_path)) as archive:
        assert archive.options.use_id2filename


def test_options_are_converted(tmp_path: Path) -> None:
    with open_archive(
        "posix",
        env={
            "PAI_PREFIX": str(tmp_path),
            "PACIFICA_ARCHIVE_POSIX_ADOPT_ROOTS": "/srv/a:/srv/b:",
            "PACIFICA_ARCHIVE_POSIX_ADOPT_IDS": "yes",
            "PACIFICA_ARCHIVE_POSIX_DURABLE": "no",
            "PACIFICA_ARCHIVE_POSIX_INCOMING_TTL_S": "60",
        },
    ) as archive:
        options = attrs.asdict(archive.options)

    assert {
        "prefix": str(tmp_path),
        "use_id2filename": False,
        "adopt_roots": ["/srv/a", "/srv/b"],
        "adopt_ids": True,
        "durable": False,
        "incoming_ttl_s": 60,
    } == options | {
        "prefix": str(options["prefix"]),
        "adopt_roots": [str(root) for root in options["adopt_roots"]],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", ""),
        ("durable", "maybe"),
        ("adopt_roots", "here:/there"),
        ("adopt_roots", "/srv/../etc"),
        ("incoming_ttl_s", "0"),
        ("incoming_ttl_s", "week"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, name: str, value: str) -> None:
    options: dict[str, Any] = {"prefix": str(tmp_path), name: value}

    with pytest.raises(ConfigError, match=name):
        open_archive("posix", **options)


def test_the_prefix_is_needed() -> None:
    with pytest.raises(ConfigError, match="prefix"):
        open_archive("posix")


def test_a_relative_prefix_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_archive("posix", prefix="store") as archive:
        monkeypatch.chdir("/")
        with archive.create(1) as writer:
            writer.write(NEW)

    assert NEW == (tmp_path / "store" / "1").read_bytes()
