"""Versions, recalls, and what an operator is told; the states are in edge cases."""

from __future__ import annotations

import errno
import logging
import os
import re
from typing import TYPE_CHECKING

import attrs
import pytest
from mariadb import READER, Identity

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveUnavailable,
    ConfigError,
    FileOffline,
    FileStatus,
    InvalidFileId,
    NoSuchFile,
    Residency,
    id2filename,
)
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions
from pacifica_archive_hmssideband.double import world
from pacifica_archive_hmssideband.recall import Recalls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mariadb import Database, MariaDb

FILE_ID = 12345
OLD = b"old" * 1000
NEW = b"new!" * 1000
VERSION = "user.pacifica_archive.version"


@pytest.fixture
def options(database: Database, tmp_path: Path) -> HmsSidebandOptions:
    (tmp_path / "data").mkdir()
    command = tmp_path / "recall"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    command.chmod(0o755)
    return HmsSidebandOptions(
        prefix=tmp_path / "data",
        sam_qfs_prefix="/data",
        url=database.url(),
        stage_command=(str(command),),
        recall_timeout_s=20,
        connect_timeout_s=1,
        query_timeout_s=1,
    )


@pytest.fixture
def archive(options: HmsSidebandOptions) -> Iterator[HmsSidebandArchive]:
    with HmsSidebandArchive(options) as archive:
        yield archive


def store(archive: HmsSidebandArchive, data: bytes, file_id: int = FILE_ID) -> None:
    with archive.create(file_id, size=len(data), mtime_ns=1, overwrite=True) as writer:
        writer.write(data)


def path_of(archive: HmsSidebandArchive, file_id: int = FILE_ID) -> Path:
    return archive.options.prefix / id2filename(file_id)[1:]


def take_offline(
    database: Database, archive: HmsSidebandArchive, file_id: int = FILE_ID
) -> None:
    """Have the database say that a file is on tape; its bytes stay."""
    size = path_of(archive, file_id).stat().st_size
    database.file(f"/data{id2filename(file_id)}", size=size, online=0)


def plain(options: HmsSidebandOptions) -> HmsSidebandOptions:
    """Do not compare inode numbers: a test's database has its own."""
    return attrs.evolve(options, inode_lookup=False)


# --- versions


def test_a_version_outlives_what_changes_the_ctime(
    archive: HmsSidebandArchive,
) -> None:
    """As a release, a stage or a restore may."""
    store(archive, OLD)
    version = archive.status(FILE_ID).version
    path_of(archive).chmod(0o400)

    assert version == archive.status(FILE_ID).version


def test_a_version_is_of_one_storing(archive: HmsSidebandArchive) -> None:
    versions = set()
    for _ in range(5):
        store(archive, OLD)
        versions.add(archive.status(FILE_ID).version)

    assert 5 == len(versions)


def test_a_file_mended_in_its_place_has_another_version(
    archive: HmsSidebandArchive,
) -> None:
    store(archive, OLD)
    version = archive.status(FILE_ID).version
    path_of(archive).chmod(0o600)
    path_of(archive).write_bytes(OLD + b"mended")

    assert version != archive.status(FILE_ID).version


def test_a_reader_has_the_version_of_the_status(archive: HmsSidebandArchive) -> None:
    store(archive, OLD)
    with archive.open(FILE_ID) as reader:
        version = reader.status.version

    assert archive.status(FILE_ID).version == version


@pytest.mark.parametrize("token", [None, b'"\r\nX: y', b"f" * 31, b"\xff" * 32])
def test_a_file_without_a_version_has_that_of_its_inode(
    archive: HmsSidebandArchive, token: bytes | None
) -> None:
    """So have those of release 0.4.2."""
    store(archive, OLD)
    path = path_of(archive)
    path.chmod(0o600)
    os.removexattr(path, VERSION)
    if token is not None:
        os.setxattr(path, VERSION, token)
    found = path.stat()
    expected = f"{found.st_ino:x}-{found.st_ctime_ns:x}-{found.st_size:x}"

    assert expected == archive.status(FILE_ID).version


def test_a_status_is_of_one_version(
    archive: HmsSidebandArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though size and version are two calls to the system."""
    store(archive, OLD)
    getxattr = os.getxattr
    replaced: list[str] = []

    def replace(path: str, name: str, *, follow_symlinks: bool = True) -> bytes:
        if not replaced:
            replaced.append(path)
            store(archive, NEW)
        return getxattr(path, name, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "getxattr", replace)
    status = archive.status(FILE_ID)
    monkeypatch.undo()
    now = archive.status(FILE_ID)

    assert (now.size, now.version) == (status.size, status.version)


def test_a_store_without_attributes_keeps_files(
    archive: HmsSidebandArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether mounts of SAM-QFS have them is not known."""

    def refuse(*_: object, **__: object) -> bytes:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for call in ("setxattr", "getxattr", "listxattr"):
        monkeypatch.setattr(os, call, refuse)
    store(archive, OLD)
    with archive.open(FILE_ID) as reader:
        found = reader.readall()

    assert OLD == found


# --- many at once


def test_many_statuses_are_those_of_one_each(
    options: HmsSidebandOptions, database: Database
) -> None:
    with HmsSidebandArchive(plain(options)) as archive:
        for file_id in (1, 2, 3):
            store(archive, OLD, file_id)
        store(archive, b"", 4)
        take_offline(database, archive, 2)
        ids = [3, 2, 1, 4, 2]

        assert [(n, archive.status(n)) for n in ids] == list(archive.status_many(ids))


def test_each_wrong_id_has_its_own_error(archive: HmsSidebandArchive) -> None:
    """And a bool is not the id that it is equal to."""
    store(archive, OLD, 1)
    answers = [type(answer) for _, answer in archive.status_many([1, True, 9, -1, 1])]

    assert [FileStatus, InvalidFileId, NoSuchFile, InvalidFileId, FileStatus] == answers


def test_only_what_is_on_tape_is_asked_for(
    options: HmsSidebandOptions, database: Database, tmp_path: Path
) -> None:
    with HmsSidebandArchive(plain(options)) as archive:
        for file_id in (1, 2, 3):
            store(archive, OLD, file_id)
        take_offline(database, archive, 2)
        take_offline(database, archive, 3)
        answers = [answer for _, answer in archive.stage_many([3, 1, 2, 3])]
        asked = (tmp_path / "asked").read_text().splitlines()
        paths = f"{path_of(archive, 3)} {path_of(archive, 2)}"

    assert ([False, True, False, False], [paths]) == (answers, asked)


def test_a_recall_that_cannot_be_asked_for_is_told(
    options: HmsSidebandOptions, database: Database
) -> None:
    options = attrs.evolve(plain(options), stage_command=("/bin/false",))
    with HmsSidebandArchive(options) as archive:
        store(archive, OLD)
        take_offline(database, archive)

        with pytest.raises(ArchiveUnavailable, match=f"file {FILE_ID}"):
            archive.stage(FILE_ID)


def test_one_of_many_recalls_that_cannot_be_asked_for_is_told(
    options: HmsSidebandOptions, database: Database, tmp_path: Path
) -> None:
    command = tmp_path / "picky"
    command.write_text('#!/bin/sh\ncase "$*" in *file.2*) exit 1;; esac\n')
    command.chmod(0o755)
    options = attrs.evolve(plain(options), stage_command=(str(command),))
    with HmsSidebandArchive(options) as archive:
        for file_id in (1, 2, 3):
            store(archive, OLD, file_id)
            take_offline(database, archive, file_id)
        answers = dict(archive.stage_many([1, 2, 3]))

    assert [False, True, False] == [
        isinstance(answers[n], ArchiveError) for n in (1, 2, 3)
    ]


def test_a_stage_command_that_is_not_there_is_told_at_once(
    options: HmsSidebandOptions,
) -> None:
    with pytest.raises(ConfigError, match="stage_command"):
        HmsSidebandArchive(attrs.evolve(options, stage_command=("/nowhere/stage",)))


# --- opening


def test_blocks_that_a_stage_has_only_taken_are_no_bytes(
    archive: HmsSidebandArchive,
) -> None:
    """Where the database has no word of it, and all blocks are counted already."""
    path = path_of(archive)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(1 << 20)
        world.allocate(file.fileno(), mtime_ns=1)

    with pytest.raises(FileOffline):
        archive.open(FILE_ID)


@pytest.mark.parametrize("offline", [False, True])
def test_a_file_system_that_fails_when_asked_for_holes_is_not_available(
    options: HmsSidebandOptions,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    offline: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """Also at the end of a recall; the errno leaves no method as it is."""

    def lseek(_fd: int, _offset: int, _whence: int) -> int:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with HmsSidebandArchive(plain(options)) as archive:
        store(archive, OLD)
        if offline:
            take_offline(database, archive)
        monkeypatch.setattr(Recalls, "wait", lambda *_, **__: None)
        monkeypatch.setattr(os, "lseek", lseek)

        with pytest.raises(ArchiveUnavailable):
            archive.open(FILE_ID, recall=True)


@pytest.mark.parametrize("source", ["sideband", "st_blocks"])
def test_a_refusal_says_how_it_is_known(
    options: HmsSidebandOptions, database: Database, server: MariaDb, source: str
) -> None:
    with HmsSidebandArchive(plain(options)) as archive:
        path = path_of(archive)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(1 << 20)
        take_offline(database, archive)
        if source == "st_blocks":
            server.stop()

        with pytest.raises(FileOffline, match=f"on tape, as {source} says"):
            archive.open(FILE_ID)


def test_a_file_that_never_comes_to_disk_is_read(
    options: HmsSidebandOptions, database: Database
) -> None:
    """One of ``stage -n``: the database never says that it is online."""
    with HmsSidebandArchive(plain(options)) as archive:
        store(archive, OLD)
        take_offline(database, archive)
        with archive.open(FILE_ID, recall=True) as reader:
            found = reader.readall()

    assert OLD == found


def test_a_reader_after_a_recall_says_how_it_is_known(
    options: HmsSidebandOptions, database: Database
) -> None:
    with HmsSidebandArchive(plain(options)) as archive:
        store(archive, OLD)
        take_offline(database, archive)
        with archive.open(FILE_ID, recall=True) as reader:
            status = reader.status

    assert (Residency.DISK, "st_blocks") == (status.residency, status.residency_source)


def test_a_recall_that_does_not_come_has_an_end(
    options: HmsSidebandOptions, database: Database
) -> None:
    options = attrs.evolve(plain(options), recall_timeout_s=0.2)
    with HmsSidebandArchive(options) as archive:
        path = path_of(archive)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(100_000)
        take_offline(database, archive)

        with pytest.raises(FileOffline):
            archive.open(FILE_ID, recall=True)


def test_a_recall_waits_for_the_bytes_and_not_for_their_blocks(
    options: HmsSidebandOptions,
    server: MariaDb,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of which a stage takes all at its beginning; and no database says more."""
    server.stop()
    with HmsSidebandArchive(options) as archive:
        path = path_of(archive)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(len(OLD))
            world.allocate(file.fileno(), mtime_ns=1)
        lseek = os.lseek
        looks: list[int] = []

        def look(fd: int, position: int, whence: int) -> int:
            looks.append(whence)
            if looks.count(os.SEEK_HOLE) == 5:
                with path.open("r+b") as file:
                    file.write(OLD)
            return lseek(fd, position, whence)

        monkeypatch.setattr(os, "lseek", look)
        with archive.open(FILE_ID, recall=True) as reader:
            found = reader.readall()
        asked = (tmp_path / "asked").read_text().splitlines()

    assert (OLD, [str(path)]) == (found, asked)


def test_what_replaces_a_file_that_is_waited_for_is_served(
    options: HmsSidebandOptions, database: Database, tmp_path: Path
) -> None:
    """It replaces it when the recall is asked for."""
    (tmp_path / "fresh").write_bytes(NEW)
    command = tmp_path / "replace"
    command.write_text(f'#!/bin/sh\nmv {tmp_path}/fresh "$1"\n')
    command.chmod(0o755)
    options = attrs.evolve(plain(options), stage_command=(str(command),))
    with HmsSidebandArchive(options) as archive:
        store(archive, OLD)
        take_offline(database, archive)
        with archive.open(FILE_ID, recall=True) as reader:
            found = reader.readall()

    assert NEW == found


# --- what an operator is told


def test_check_has_nothing_to_say_of_a_good_site(
    archive: HmsSidebandArchive, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ino = archive.options.prefix.stat().st_ino
    database.directory("/data/", Identity(ino % (1 << 32), 7))
    archive.check()

    assert [] == [n for n in caplog.records if n.levelno >= logging.WARNING]


def test_check_warns_of_a_prefix_that_the_database_does_not_have(
    archive: HmsSidebandArchive, caplog: pytest.LogCaptureFixture
) -> None:
    archive.check()

    assert ["sam_qfs_prefix"] == re.findall("sam_qfs_prefix", caplog.text)


@pytest.mark.parametrize(
    ("shift", "inode_lookup", "warnings"),
    [(0, True, 0), (1, True, 1), (1, False, 0)],
    ids=["same", "other", "other-unused"],
)
def test_check_warns_of_a_mount_with_inode_numbers_of_its_own(
    options: HmsSidebandOptions,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    shift: int,
    warnings: int,
    *,
    inode_lookup: bool,
) -> None:
    """As one by NFS, or a copy: what is found by number is of other files."""
    ino = options.prefix.stat().st_ino
    if ino >= 1 << 32:
        pytest.skip("inode numbers of this file system are of more than 32 bits")
    database.directory("/data/", Identity(ino + shift, 7))
    with HmsSidebandArchive(attrs.evolve(options, inode_lookup=inode_lookup)) as opened:
        opened.check()

    assert warnings == caplog.text.count("inode numbers of the mount are not those")


def break_by_stopping(server: MariaDb, _database: Database) -> None:
    server.stop()


def break_by_revoking(_server: MariaDb, database: Database) -> None:
    user = READER[0]
    database.execute(f"REVOKE ALL ON {database.name}.* FROM {user}@'%'")


def break_by_dropping(_server: MariaDb, database: Database) -> None:
    database.execute("DROP TABLE sam_inode")


@pytest.mark.parametrize(
    ("breaks", "error"),
    [
        (break_by_stopping, ArchiveUnavailable),
        (break_by_revoking, AccessDenied),
        (break_by_dropping, ConfigError),
    ],
)
def test_check_tells_of_the_database(
    archive: HmsSidebandArchive,
    server: MariaDb,
    database: Database,
    breaks: object,
    error: type[ArchiveError],
) -> None:
    assert callable(breaks)
    breaks(server, database)

    with pytest.raises(error, match="sideband database"):
        archive.check()


def test_check_gives_nothing_away(archive: HmsSidebandArchive, server: MariaDb) -> None:
    server.stop()
    with pytest.raises(ArchiveUnavailable) as info:
        archive.check()

    assert [] == [
        word
        for word in (*READER, "127.0.0.1", str(server.port), "samfs1")
        if word in str(info.value)
    ]


def test_check_sees_a_database_that_is_mended_at_once(
    archive: HmsSidebandArchive, server: MariaDb
) -> None:
    """Though others leave it alone for a while after it failed."""
    store(archive, OLD)
    server.stop()
    archive.status(FILE_ID)
    server.start()
    archive.check()

    assert archive.status(FILE_ID).online


def test_without_a_database_files_are_stored_read_and_deleted(
    options: HmsSidebandOptions, server: MariaDb
) -> None:
    server.stop()
    with HmsSidebandArchive(options) as archive:
        store(archive, OLD)
        with archive.open(FILE_ID) as reader:
            found = reader.readall()
        source = archive.status(FILE_ID).residency_source
        archive.delete(FILE_ID)

    assert (OLD, "st_blocks") == (found, source)


def test_without_a_database_an_archive_is_ready(
    archive: HmsSidebandArchive, server: MariaDb
) -> None:
    """It serves, so it is not to be taken out of a balancer."""
    server.stop()
    archive.ready()

    with pytest.raises(ArchiveUnavailable):
        archive.check()


def test_an_archive_that_is_not_mounted_is_not_ready(
    archive: HmsSidebandArchive,
) -> None:
    prefix = archive.options.prefix
    away = prefix.rename(prefix.parent / "away")
    prefix.mkdir()
    with pytest.raises(ArchiveUnavailable):
        archive.ready()
    prefix.rmdir()
    away.rename(prefix)


def test_without_a_database_files_go_into_the_trash_and_come_back(
    options: HmsSidebandOptions, server: MariaDb
) -> None:
    server.stop()
    with HmsSidebandArchive(options) as archive:
        store(archive, OLD)
        before = archive.status(FILE_ID).version
        archive.trash(FILE_ID)
        listed = [one.file_id for one in archive.trashed()]
        archive.undelete(FILE_ID)
        after = archive.status(FILE_ID).version

    assert ([FILE_ID], before) == (listed, after)


def test_a_closed_archive_has_no_connections(
    options: HmsSidebandOptions, server: MariaDb
) -> None:
    with HmsSidebandArchive(options) as archive:
        store(archive, OLD)
        archive.status(FILE_ID)
    # The server takes notice in its own time.
    for _ in range(1000):
        if not (connections := server.connections()):
            break

    assert [] == connections
