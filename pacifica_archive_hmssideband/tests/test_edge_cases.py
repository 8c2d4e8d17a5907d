"""
What a sideband database may hold, and what is told of a file then.

The groups are those that were listed for it before anything was built. Each test
writes the tree and the rows that it is about: the row says what the blocks on disk do
not, so that an answer shows which of the two was believed.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from typing import TYPE_CHECKING

import attrs
import pytest
from mariadb import ROOT, VARIANTS, Database, Identity, MariaDb

from pacifica_archive_core import (
    ConfigError,
    FileOffline,
    FileStatus,
    Media,
    NoSuchFile,
    StorageLevel,
    id2filename,
    open_archive,
)
from pacifica_archive_hmssideband import HmsSidebandArchive, HmsSidebandOptions
from pacifica_archive_hmssideband.residency import Residencies
from pacifica_archive_hmssideband.sideband import Sideband

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pacifica_archive_core import ArchiveError
    from pacifica_archive_hmssideband.residency import Finding

#: Kept at /39/3039.
ID = 12345
#: Kept at /bc/abc.
LETTERS = 0xABC
SIZE = 1000
SITE = "/data/site"
READER = "sideband"
#: SAM-QFS has inode numbers of 32 bits.
INO_END = 1 << 32

DISK = ("disk", "sideband")
TAPE = ("tape", "sideband")
GUESSED_DISK = ("disk", "st_blocks")
GUESSED_TAPE = ("tape", "st_blocks")


@attrs.frozen
class Site:
    """A tree, and the database that tells of it."""

    prefix: Path
    database: Database

    def local(self, file_id: int) -> Path:
        """Return where a file of the tree is, its directory made."""
        path = self.prefix / id2filename(file_id).removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def whole(self, file_id: int, *, size: int = SIZE) -> os.stat_result:
        """Make a file that has all its blocks on disk."""
        path = self.local(file_id)
        with path.open("wb") as file:
            file.write(os.urandom(size))
            # Some file systems count no block before.
            os.fsync(file.fileno())
        return path.stat()

    def hollow(self, file_id: int, *, size: int = SIZE) -> os.stat_result:
        """Make a file that has no block on disk, as a released one."""
        path = self.local(file_id)
        with path.open("wb") as file:
            file.truncate(size)
        return path.stat()

    def row(
        self,
        path: str,
        identity: Identity,
        *,
        type: int = 0,  # noqa: A002 (the column's name)
        size: int | None = SIZE,
        online: int,
        modify_time: int | None = 0,
    ) -> None:
        """Write the rows of one file, ``path`` from the mount point on."""
        self.database.directories({f"{path.rpartition('/')[0]}/"})
        self.database.file(
            path,
            identity,
            type=type,
            size=size,
            online=online,
            modify_time=modify_time,
        )

    def options(
        self, *, inode_lookup: bool, sam_qfs_prefix: str = SITE
    ) -> HmsSidebandOptions:
        """Return the options of who looks at both."""
        return HmsSidebandOptions(
            prefix=self.prefix,
            sam_qfs_prefix=sam_qfs_prefix,
            # To make ready for TLS takes the driver longer than all the rest.
            url=self.database.url(READER).update_query_dict({"ssl_disabled": "yes"}),
            inode_lookup=inode_lookup,
            durable=False,
            stage_command=(),
        )


def inode_of(found: os.stat_result, *, gen: int = 7) -> Identity:
    """Return what SAM-QFS knows a file by, were the tree's file system one."""
    # Cut where this one has longer numbers: the archive then goes by path alone.
    # A greater generation than the kit gives to directories, whose numbers are its
    # own and may be those of files here.
    return Identity(found.st_ino % INO_END, gen)


def same_inode_of(found: os.stat_result, *, gen: int = 7) -> Identity:
    """Return it for a test that goes by inode."""
    if found.st_ino >= INO_END:
        pytest.skip("inode numbers of this file system are of more than 32 bits")
    return inode_of(found, gen=gen)


def fake(found: os.stat_result, **fields: int) -> os.stat_result:
    """Return a stat result that no file system here would give."""
    values = {"st_mode": found.st_mode, "st_ino": found.st_ino} | fields
    names = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size")
    return os.stat_result(
        [*(values.get(name, 0) for name in names), 0, 0, 0],
        {"st_blocks": values.get("st_blocks", 0)},
    )


def told(answer: FileStatus | Finding | ArchiveError) -> tuple[str, str]:
    """Return the medium and how it is known."""
    if isinstance(answer, FileStatus):
        return answer.media.value, answer.residency_source
    if isinstance(answer, Exception):
        return type(answer).__name__, ""
    return "disk" if answer.online else "tape", answer.source


@pytest.fixture(params=[True, False], ids=["inode", "path"])
def inode_lookup(request: pytest.FixtureRequest) -> bool:
    """Return whether files are looked up by inode number too; both, in turn."""
    return bool(request.param)


def database_of(server: MariaDb, variant: str) -> Database:
    database = Database(server, VARIANTS[variant])
    database.name = f"samfs_{variant}"
    return database


def emptied(server: MariaDb, variant: str) -> Database:
    """Return a database with its seed rows only, as ``samdb create`` leaves it."""
    database = database_of(server, variant)
    # To make the tables anew costs forty times as much.
    database.execute(
        "DELETE FROM sam_inode",
        "DELETE FROM sam_path",
        "DELETE FROM sam_file",
        "DELETE FROM sam_archive",
        "INSERT INTO sam_inode (ino, gen, type, uid, gid, online)"
        " VALUES (2, 2, 1, 0, 0, 1)",
        "INSERT INTO sam_path (ino, gen, path) VALUES (2, 2, '/')",
    )
    return database


@pytest.fixture(scope="module")
def schemas(mariadb_server: MariaDb) -> MariaDb:
    """Return a server with a schema of each variant."""
    for variant in VARIANTS:
        database_of(mariadb_server, variant).create()
    # Not the kit's reader, who loses his grants whenever a schema is made.
    mariadb_server.execute(
        f"CREATE OR REPLACE USER {READER}@'%'",
        *(f"GRANT SELECT ON samfs_{name}.* TO {READER}@'%'" for name in VARIANTS),
    )
    return mariadb_server


@pytest.fixture
def site(schemas: MariaDb, tmp_path: Path) -> Site:
    return Site(tmp_path, emptied(schemas, "oracle"))


@pytest.fixture(params=VARIANTS)
def any_site(schemas: MariaDb, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    """Return one on each variant of the schema, in turn."""
    return Site(tmp_path, emptied(schemas, request.param))


@pytest.fixture
def archive(site: Site, *, inode_lookup: bool) -> Iterator[HmsSidebandArchive]:
    with HmsSidebandArchive(site.options(inode_lookup=inode_lookup)) as opened:
        yield opened


@pytest.fixture
def by_path(site: Site) -> Iterator[HmsSidebandArchive]:
    with HmsSidebandArchive(site.options(inode_lookup=False)) as opened:
        yield opened


@pytest.fixture
def by_inode(site: Site) -> Iterator[HmsSidebandArchive]:
    with HmsSidebandArchive(site.options(inode_lookup=True)) as opened:
        yield opened


@pytest.fixture
def sideband(site: Site) -> Iterator[Sideband]:
    with contextlib.closing(Sideband(site.options(inode_lookup=True))) as opened:
        yield opened


@pytest.fixture
def residencies(sideband: Sideband, *, inode_lookup: bool) -> Residencies:
    return Residencies(sideband, inode_lookup=inode_lookup)


# --- 1, 2, 3: the three states -------------------------------------------------


def test_group_01_online_is_disk_though_no_block_is_there(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=1)

    assert DISK == told(archive.status(ID))


def test_group_01_all_bytes_of_an_online_file_are_at_one_level(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=1)

    assert (StorageLevel(Media.DISK, SIZE),) == archive.status(ID).levels


def test_group_02_offline_is_tape_though_all_blocks_are_there(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


def test_group_02_all_bytes_of_an_offline_file_are_at_the_second_level(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    levels = (StorageLevel(Media.DISK, 0), StorageLevel(Media.TAPE, SIZE))

    assert levels == archive.status(ID).levels


def test_group_02_an_offline_file_is_not_opened(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    with pytest.raises(FileOffline):
        archive.open(ID)


@pytest.mark.parametrize("online", [0, 1])
def test_group_03_an_empty_file_is_on_disk(
    site: Site, archive: HmsSidebandArchive, online: int
) -> None:
    found = site.whole(ID, size=0)
    site.row(f"{SITE}/39/3039", inode_of(found), size=0, online=online)

    assert ("disk", "stat") == told(archive.status(ID))


@pytest.mark.parametrize("online", [0, 1])
def test_group_03_an_empty_file_has_no_byte_at_one_level(
    site: Site, archive: HmsSidebandArchive, online: int
) -> None:
    found = site.whole(ID, size=0)
    site.row(f"{SITE}/39/3039", inode_of(found), size=0, online=online)

    assert (StorageLevel(Media.DISK, 0),) == archive.status(ID).levels


def test_group_03_the_database_is_not_asked_about_an_empty_file(
    site: Site, archive: HmsSidebandArchive
) -> None:
    site.whole(ID, size=0)
    before = site.database.server.count()

    archive.status(ID)

    assert before == site.database.server.count()


# --- 4: great numbers ----------------------------------------------------------


@pytest.mark.parametrize(("online", "expected"), [(1, DISK), (0, TAPE)])
def test_group_04_a_file_of_five_gibibytes_has_its_row(
    site: Site, archive: HmsSidebandArchive, online: int, expected: tuple[str, str]
) -> None:
    found = site.hollow(ID, size=5 << 30)
    site.row(f"{SITE}/39/3039", inode_of(found), size=5 << 30, online=online)

    assert expected == told(archive.status(ID))


def test_group_04_sizes_are_not_compared_in_32_bits(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.hollow(ID, size=SIZE + (1 << 32))
    site.row(f"{SITE}/39/3039", inode_of(found), size=SIZE, online=1)

    assert GUESSED_TAPE == told(archive.status(ID))


@pytest.mark.parametrize("size", [2**53 + 1, 2**63 - 1])
def test_group_04_sizes_beyond_a_double_are_equal_to_the_byte(
    site: Site, residencies: Residencies, size: int
) -> None:
    found = fake(site.hollow(ID), st_size=size)
    site.row(f"{SITE}/39/3039", inode_of(found), size=size, online=1)

    (finding,) = residencies.find([(f"{SITE}/39/3039", found)])

    assert DISK == told(finding)


@pytest.mark.parametrize("size", [2**53 + 1, 2**63 - 1])
def test_group_04_sizes_beyond_a_double_differ_by_a_byte(
    site: Site, residencies: Residencies, size: int
) -> None:
    found = fake(site.hollow(ID), st_size=size)
    site.row(f"{SITE}/39/3039", inode_of(found), size=size - 1, online=1)

    (finding,) = residencies.find([(f"{SITE}/39/3039", found)])

    assert GUESSED_TAPE == told(finding)


@pytest.mark.parametrize("number", [2**31, 4_000_000_000, 2**32 - 1])
def test_group_04_numbers_of_inodes_and_generations_have_no_sign(
    site: Site, residencies: Residencies, number: int
) -> None:
    found = fake(site.whole(ID), st_ino=number, st_size=SIZE, st_blocks=8)
    site.database.directory(f"{SITE}/39/", Identity(number, number - 1))
    site.row(f"{SITE}/39/3039", Identity(number, number), online=0)

    (finding,) = residencies.find([(f"{SITE}/39/3039", found)])

    assert TAPE == told(finding)


def test_group_04_a_great_inode_number_is_found_by_itself(
    site: Site, sideband: Sideband
) -> None:
    number = 2**32 - 1
    found = fake(site.whole(ID), st_ino=number, st_size=SIZE, st_blocks=8)
    site.database.inode(Identity(number, number), size=SIZE, online=0)

    (finding,) = Residencies(sideband, inode_lookup=True).find([("/no", found)])

    assert TAPE == told(finding)


def test_group_04_an_inode_number_of_64_bits_is_not_cut_to_one_of_sam(
    site: Site, sideband: Sideband
) -> None:
    found = fake(site.whole(ID), st_ino=2**32 + 5000, st_size=SIZE, st_blocks=8)
    site.database.inode(Identity(5000, 7), size=SIZE, online=0)

    (finding,) = Residencies(sideband, inode_lookup=True).find([("/no", found)])

    assert GUESSED_DISK == told(finding)


def test_group_04_a_mount_with_inode_numbers_of_64_bits_is_asked_by_path(
    site: Site, residencies: Residencies
) -> None:
    found = fake(site.whole(ID), st_ino=2**32 + 5000, st_size=SIZE, st_blocks=8)
    site.row(f"{SITE}/39/3039", Identity(5000, 7), online=0)

    (finding,) = residencies.find([(f"{SITE}/39/3039", found)])

    assert TAPE == told(finding)


# --- 5, 6: numbers used again --------------------------------------------------


@pytest.mark.parametrize(
    ("old", "live", "expected"), [(0, 1, DISK), (1, 0, TAPE)], ids=["disk", "tape"]
)
def test_group_05_of_a_reused_inode_the_live_generation_tells(
    site: Site,
    archive: HmsSidebandArchive,
    old: int,
    live: int,
    expected: tuple[str, str],
) -> None:
    found = site.hollow(ID) if live else site.whole(ID)
    site.database.inode(inode_of(found, gen=7), size=SIZE, online=old)
    site.row(f"{SITE}/39/3039", inode_of(found, gen=8), online=live)

    assert expected == told(archive.status(ID))


@pytest.mark.parametrize(
    ("old", "live", "expected"), [(0, 1, DISK), (1, 0, TAPE)], ids=["disk", "tape"]
)
def test_group_05_by_inode_alone_the_greatest_generation_tells(
    site: Site,
    by_inode: HmsSidebandArchive,
    old: int,
    live: int,
    expected: tuple[str, str],
) -> None:
    found = site.hollow(ID) if live else site.whole(ID)
    site.database.inode(same_inode_of(found, gen=8), size=SIZE, online=live)
    site.database.inode(same_inode_of(found, gen=7), size=SIZE, online=old)

    assert expected == told(by_inode.status(ID))


def test_group_05_a_name_is_of_the_generation_that_it_names(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found, gen=7), online=0)
    site.row(f"{SITE}/elsewhere", inode_of(found, gen=8), online=1)

    assert TAPE == told(by_path.status(ID))


def test_group_05_behind_a_name_of_the_old_generation_the_inode_tells(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", same_inode_of(found, gen=7), size=SIZE + 1, online=1)
    site.database.inode(same_inode_of(found, gen=8), size=SIZE, online=0)

    assert TAPE == told(by_inode.status(ID))


@pytest.mark.parametrize("there_gen", [6, 8])
def test_group_06_a_reused_directory_keeps_its_files_apart(
    site: Site, archive: HmsSidebandArchive, there_gen: int
) -> None:
    found = site.whole(ID)
    site.database.directory(f"{SITE}/39/", Identity(3000, 1))
    site.database.directory("/other/", Identity(3000, 2))
    site.row("/other/3039", Identity(4000, there_gen), online=1)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


def test_group_06_a_dead_directory_lends_no_name_to_the_live_one(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    site.whole(ID)
    site.database.directory("/dead/", Identity(3000, 1))
    site.database.directory(f"{SITE}/39/", Identity(3000, 2))
    site.row("/dead/3039", Identity(4000, 1), online=0)

    assert GUESSED_DISK == told(by_path.status(ID))


# --- 7, 8, 9: names that are alike ---------------------------------------------


@pytest.mark.parametrize(
    "there", ["/data/other/39/3039", f"{SITE}/3039", "/39/3039", f"{SITE}/39/39/3039"]
)
def test_group_07_the_same_name_in_another_directory_is_another_file(
    site: Site, archive: HmsSidebandArchive, there: str
) -> None:
    found = site.whole(ID)
    site.row(there, Identity(4000, 9), online=1)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


@pytest.mark.parametrize(
    "there", ["/data/other/39/3039", f"{SITE}/3039", "/39/3039", f"{SITE}/39/39/3039"]
)
def test_group_07_the_same_name_in_another_directory_is_no_stand_in(
    site: Site, archive: HmsSidebandArchive, there: str
) -> None:
    site.whole(ID)
    site.row(there, Identity(4000, 9), online=0)

    assert GUESSED_DISK == told(archive.status(ID))


def test_group_07_names_and_directories_of_one_call_are_not_crossed(
    site: Site, archive: HmsSidebandArchive
) -> None:
    one, other = site.whole(ID), site.hollow(LETTERS)
    site.row(f"{SITE}/39/3039", inode_of(one), online=0)
    site.row(f"{SITE}/bc/abc", inode_of(other), online=1)
    site.row(f"{SITE}/39/abc", Identity(4000, 9), online=0)
    site.row(f"{SITE}/bc/3039", Identity(4001, 9), online=1)

    answers = [told(answer) for _, answer in archive.status_many([ID, LETTERS])]

    assert [TAPE, DISK] == answers


TWINS = [
    pytest.param(f"{SITE}/bc/ABC", id="name-in-capitals"),
    pytest.param(f"{SITE}/BC/abc", id="directory-in-capitals"),
    pytest.param("/data/Site/bc/abc", id="capital-above"),
    # No different letter either, in latin1_swedish_ci.
    pytest.param(f"{SITE}/bc/\N{LATIN SMALL LETTER A WITH ACUTE}bc", id="accent"),
]
PADDED = [
    pytest.param(f"{SITE}/bc/abc ", id="name-with-space"),
    pytest.param(f"{SITE}/bc/abc  ", id="name-with-spaces"),
]


@pytest.mark.parametrize("twin", TWINS)
def test_group_08_a_twin_in_other_case_does_not_speak_for_the_file(
    site: Site, archive: HmsSidebandArchive, twin: str
) -> None:
    found = site.whole(LETTERS)
    site.row(twin, Identity(4000, 9), online=1)
    site.row(f"{SITE}/bc/abc", inode_of(found), online=0)

    assert TAPE == told(archive.status(LETTERS))


@pytest.mark.parametrize("twin", TWINS)
def test_group_08_a_twin_in_other_case_is_no_stand_in(
    site: Site, archive: HmsSidebandArchive, twin: str
) -> None:
    site.whole(LETTERS)
    site.row(twin, Identity(4000, 9), online=0)

    assert GUESSED_DISK == told(archive.status(LETTERS))


@pytest.mark.parametrize(
    ("prefix", "expected"), [("/case", DISK), ("/Case", TAPE)], ids=["case", "Case"]
)
def test_group_08_two_archives_whose_directories_differ_in_case_are_two(
    site: Site, prefix: str, expected: tuple[str, str]
) -> None:
    site.whole(LETTERS)
    site.row("/case/bc/abc", Identity(4000, 7), online=1)
    site.row("/Case/bc/abc", Identity(4001, 7), online=0)
    options = site.options(inode_lookup=False, sam_qfs_prefix=prefix)

    with HmsSidebandArchive(options) as archive:
        assert expected == told(archive.status(LETTERS))


@pytest.mark.parametrize("twin", PADDED)
def test_group_09_a_twin_with_a_trailing_space_does_not_speak_for_the_file(
    site: Site, archive: HmsSidebandArchive, twin: str
) -> None:
    found = site.whole(LETTERS)
    site.row(twin, Identity(4000, 9), online=1)
    site.row(f"{SITE}/bc/abc", inode_of(found), online=0)

    assert TAPE == told(archive.status(LETTERS))


@pytest.mark.parametrize("twin", PADDED)
def test_group_09_a_twin_with_a_trailing_space_is_no_stand_in(
    site: Site, archive: HmsSidebandArchive, twin: str
) -> None:
    site.whole(LETTERS)
    site.row(twin, Identity(4000, 9), online=0)

    assert GUESSED_DISK == told(archive.status(LETTERS))


@pytest.mark.parametrize("path", [f"{SITE}/bc ", f"{SITE}/bc/ "])
def test_group_09_a_directory_with_a_trailing_space_is_another(
    site: Site, archive: HmsSidebandArchive, path: str
) -> None:
    site.whole(LETTERS)
    padded = site.database.inode(type=1)
    site.database.path(padded, path)
    twin = site.database.inode(Identity(4000, 9), size=SIZE, online=0)
    site.database.link(padded, "abc", twin)

    assert GUESSED_DISK == told(archive.status(LETTERS))


# --- 10, 11: where the archive is ----------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/", "//"])
def test_group_10_a_file_at_the_mount_point_is_found(
    site: Site, prefix: str, *, inode_lookup: bool
) -> None:
    found = site.whole(1)
    site.row("/file.1", inode_of(found), online=0)
    options = site.options(inode_lookup=inode_lookup, sam_qfs_prefix=prefix)

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(1))


@pytest.mark.parametrize("prefix", ["", "/", "//"])
def test_group_10_a_file_in_a_directory_of_the_mount_point_is_found(
    site: Site, prefix: str, *, inode_lookup: bool
) -> None:
    found = site.whole(ID)
    site.row("/39/3039", inode_of(found), online=0)
    options = site.options(inode_lookup=inode_lookup, sam_qfs_prefix=prefix)

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(ID))


@pytest.mark.parametrize(
    "prefix",
    ["data/site", "/data/site", "data/site/", "/data/site/", "//data///site//"],
)
@pytest.mark.parametrize("file_id", [1, ID], ids=["top", "below"])
def test_group_11_the_prefix_may_have_slashes_as_it_likes(
    site: Site, prefix: str, file_id: int
) -> None:
    found = site.whole(file_id)
    site.row(f"{SITE}{id2filename(file_id)}", inode_of(found), online=0)
    options = site.options(inode_lookup=False, sam_qfs_prefix=prefix)

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(file_id))


# --- 12, 13, 14: what the daemon writes of directories and links ---------------


@pytest.mark.parametrize("path", [f"{SITE}/39/", f"{SITE}/39"])
def test_group_12_a_directory_is_found_with_its_last_slash_and_without(
    site: Site, archive: HmsSidebandArchive, path: str
) -> None:
    found = site.whole(ID)
    directory = site.database.inode(type=1)
    site.database.path(directory, path)
    file = site.database.inode(inode_of(found), size=SIZE, online=0)
    site.database.link(directory, "3039", file)

    assert TAPE == told(archive.status(ID))


def test_group_12_the_archives_own_directory_is_found_without_its_last_slash(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(1)
    directory = site.database.inode(type=1)
    site.database.path(directory, SITE)
    file = site.database.inode(inode_of(found), size=SIZE, online=0)
    site.database.link(directory, "file.1", file)

    assert TAPE == told(archive.status(1))


@pytest.mark.parametrize(
    ("slashed", "bare"), [(7, 9), (9, 7)], ids=["bare-live", "slashed-live"]
)
def test_group_12_of_a_directory_that_is_there_twice_the_live_row_tells(
    site: Site, by_path: HmsSidebandArchive, slashed: int, bare: int
) -> None:
    site.whole(ID)
    for path, gen in ((f"{SITE}/39/", slashed), (f"{SITE}/39", bare)):
        directory = site.database.inode(type=1)
        site.database.path(directory, path)
        online = 0 if gen == 9 else 1
        file = site.database.inode(Identity(4000, gen), size=SIZE, online=online)
        site.database.link(directory, "3039", file)

    assert TAPE == told(by_path.status(ID))


def test_group_12_of_a_directory_that_is_there_twice_the_inode_tells(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    for path, identity, online in (
        (f"{SITE}/39/", same_inode_of(found), 0),
        (f"{SITE}/39", Identity(4000, 9), 1),
    ):
        directory = site.database.inode(type=1)
        site.database.path(directory, path)
        file = site.database.inode(identity, size=SIZE, online=online)
        site.database.link(directory, "3039", file)

    assert TAPE == told(by_inode.status(ID))


def test_group_13_a_symlink_whose_target_is_the_directory_hides_no_file(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    for gen in (0, 9):
        symlink = site.database.inode(Identity(4000, gen), type=4)
        site.database.path(symlink, f"{SITE}/39/")
        site.database.link(ROOT, f"shortcut{gen}", symlink)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


def test_group_13_a_symlink_whose_target_is_the_file_is_not_the_file(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    site.whole(ID)
    symlink = site.database.inode(Identity(4000, 9), type=4, size=SIZE, online=0)
    site.database.path(symlink, f"{SITE}/39/3039")
    site.database.link(site.database.directory(f"{SITE}/39/"), "short", symlink)

    assert GUESSED_DISK == told(by_path.status(ID))


def test_group_14_both_names_of_one_inode_are_found(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    os.link(site.local(ID), site.local(LETTERS))
    identity = inode_of(found)
    site.row(f"{SITE}/39/3039", identity, online=0)
    site.database.link(site.database.directory(f"{SITE}/bc/"), "abc", identity)

    answers = [told(answer) for _, answer in archive.status_many([ID, LETTERS])]

    assert [TAPE, TAPE] == answers


def test_group_14_an_inode_with_two_names_is_one_row_by_its_number(
    site: Site, sideband: Sideband
) -> None:
    identity = Identity(4000, 7)
    site.row(f"{SITE}/39/3039", identity, online=0)
    site.database.link(site.database.directory(f"{SITE}/bc/"), "abc", identity)

    rows = sideband.rows_by_inode([4000, 4000])

    assert [(4000, 7)] == [(row.ino, row.gen) for row in rows.values()]


def test_group_14_both_names_are_found_by_the_inode_alone(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    os.link(site.local(ID), site.local(LETTERS))
    site.database.inode(same_inode_of(found), size=SIZE, online=0)

    answers = [told(answer) for _, answer in by_inode.status_many([ID, LETTERS])]

    assert [TAPE, TAPE] == answers


# --- 15, 16, 17, 18, 19, 20: rows that are late, old, or lack something ---------


def test_group_15_without_a_row_a_file_with_all_blocks_is_on_disk(
    site: Site, archive: HmsSidebandArchive
) -> None:
    site.whole(ID)

    assert GUESSED_DISK == told(archive.status(ID))


def test_group_15_without_a_row_a_file_without_blocks_is_on_tape(
    site: Site, archive: HmsSidebandArchive
) -> None:
    site.hollow(ID)

    assert GUESSED_TAPE == told(archive.status(ID))


def test_group_15_without_a_row_a_file_with_some_blocks_is_on_tape(
    site: Site, archive: HmsSidebandArchive
) -> None:
    site.whole(ID)
    os.truncate(site.local(ID), 1 << 20)

    assert GUESSED_TAPE == told(archive.status(ID))


def test_group_15_the_row_tells_as_soon_as_it_is_there(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    archive.status(ID)

    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


def test_group_15_a_new_file_is_readable_before_its_row_is_there(
    archive: HmsSidebandArchive,
) -> None:
    with archive.create(ID) as writer:
        writer.write(b"new")

    with archive.open(ID) as reader:
        assert b"new" == reader.read()


@pytest.mark.parametrize("action", ["status", "open", "stage", "delete"])
def test_group_16_a_row_does_not_make_a_file(
    site: Site, archive: HmsSidebandArchive, action: str
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=1)
    site.local(ID).unlink()

    with pytest.raises(NoSuchFile):
        getattr(archive, action)(ID)


def test_group_16_a_file_that_is_gone_is_missing_among_others(
    site: Site, archive: HmsSidebandArchive
) -> None:
    gone, kept = site.whole(ID), site.whole(LETTERS)
    site.row(f"{SITE}/39/3039", inode_of(gone), online=1)
    site.row(f"{SITE}/bc/abc", inode_of(kept), online=0)
    site.local(ID).unlink()

    answers = [told(answer) for _, answer in archive.status_many([ID, LETTERS])]

    assert [("NoSuchFile", ""), TAPE] == answers


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0, SIZE << 32])
def test_group_17_a_row_of_another_size_leaves_it_to_the_blocks(
    site: Site, archive: HmsSidebandArchive, size: int
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), size=size, online=0)

    assert GUESSED_DISK == told(archive.status(ID))


def test_group_17_a_rewritten_file_is_not_on_tape_as_the_old_one_was(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)
    with archive.create(ID, overwrite=True) as writer:
        writer.write(os.urandom(SIZE + 1))

    assert GUESSED_DISK == told(archive.status(ID))


def test_group_17_a_replacement_of_equal_size_is_told_by_its_inode(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", same_inode_of(found), online=0)
    with by_inode.create(ID, overwrite=True) as writer:
        writer.write(os.urandom(SIZE))

    assert GUESSED_DISK == told(by_inode.status(ID))


def test_group_17_the_row_of_the_replacement_is_found_before_its_name(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    old = site.whole(LETTERS)
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", same_inode_of(old), online=1)
    site.database.inode(same_inode_of(found), size=SIZE, online=0)

    assert TAPE == told(by_inode.status(ID))


@pytest.mark.parametrize("modify_time", [0, 1, 2**32 - 1])
def test_group_18_a_row_of_another_mtime_is_good(
    site: Site, archive: HmsSidebandArchive, modify_time: int
) -> None:
    found = site.whole(ID)
    identity = inode_of(found)
    site.row(f"{SITE}/39/3039", identity, online=0, modify_time=modify_time)

    assert TAPE == told(archive.status(ID))


def test_group_18_the_mtime_told_is_that_of_the_mount(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0, modify_time=1)

    assert found.st_mtime_ns == archive.status(ID).mtime_ns


def test_group_19_a_row_without_a_size_leaves_it_to_the_blocks(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), size=None, online=0)

    assert GUESSED_DISK == told(archive.status(ID))


def test_group_19_a_row_without_a_modify_time_is_good(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0, modify_time=None)

    assert TAPE == told(archive.status(ID))


def test_group_20_a_directory_without_a_path_leaves_it_to_the_blocks(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    directory = site.database.inode(type=1)
    site.database.path(directory, None)
    site.database.link(directory, "3039", inode_of(found))
    site.database.inode(inode_of(found), size=SIZE, online=0)

    assert GUESSED_DISK == told(by_path.status(ID))


def test_group_20_in_a_directory_without_a_path_the_inode_tells(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    directory = site.database.inode(type=1)
    site.database.path(directory, None)
    site.database.link(directory, "3039", same_inode_of(found))
    site.database.inode(same_inode_of(found), size=SIZE, online=0)

    assert TAPE == told(by_inode.status(ID))


def test_group_20_a_directory_without_a_path_disturbs_no_other(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    nowhere = site.database.inode(type=1)
    site.database.path(nowhere, None)
    other = site.database.inode(Identity(4000, 9), size=SIZE, online=1)
    site.database.link(nowhere, "3039", other)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)

    assert TAPE == told(archive.status(ID))


# --- 21, 22: odd values --------------------------------------------------------


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_group_21_a_row_that_is_no_regular_files_leaves_it_to_the_blocks(
    site: Site, archive: HmsSidebandArchive, kind: int
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), type=kind, online=0)

    assert GUESSED_DISK == told(archive.status(ID))


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_group_21_of_several_rows_the_regular_files_tells(
    site: Site, by_path: HmsSidebandArchive, kind: int
) -> None:
    site.whole(ID)
    # The name twice, as of a directory that was removed and one that is there.
    for path, ino, gen, type_ in (
        (f"{SITE}/39", 4000, 9, kind),
        (f"{SITE}/39/", 4001, 7, 0),
    ):
        directory = site.database.inode(type=1)
        site.database.path(directory, path)
        file = site.database.inode(
            Identity(ino, gen), type=type_, size=SIZE, online=0 if type_ == 0 else 1
        )
        site.database.link(directory, "3039", file)

    assert TAPE == told(by_path.status(ID))


@pytest.mark.parametrize("online", [2, 255])
def test_group_22_online_is_whatever_is_not_zero(
    site: Site, archive: HmsSidebandArchive, online: int
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=online)

    assert DISK == told(archive.status(ID))


def test_group_22_an_odd_online_is_logged_once_for_ten_thousand_files(
    site: Site, residencies: Residencies, caplog: pytest.LogCaptureFixture
) -> None:
    found = site.hollow(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=2)

    residencies.find([(f"{SITE}/39/3039", found)] * 10_000)

    assert ["WARNING"] == [record.levelname for record in caplog.records]


# --- 23: copies ----------------------------------------------------------------


def write_copies(site: Site, identity: Identity, *, stale: int) -> None:
    """Write four copies of one inode, each over three volumes."""
    for copy in range(4):
        for seq in range(3):
            site.database.copy(identity, copy=copy, seq=seq, size=SIZE, stale=stale)


@pytest.mark.parametrize("stale", [0, 1])
@pytest.mark.parametrize(("online", "expected"), [(1, DISK), (0, TAPE)])
def test_group_23_copies_change_nothing(
    site: Site,
    archive: HmsSidebandArchive,
    online: int,
    expected: tuple[str, str],
    stale: int,
) -> None:
    found = site.hollow(ID) if online else site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=online)
    write_copies(site, inode_of(found), stale=stale)
    # A ghost, of a copy that was taken back (copy + 1), and of another generation.
    write_copies(site, inode_of(found, gen=8), stale=stale)

    answers = [told(answer) for _, answer in archive.status_many([ID])]

    assert [expected] == answers


def test_group_23_copies_are_not_asked_for(site: Site, sideband: Sideband) -> None:
    site.row(f"{SITE}/39/3039", Identity(4000, 7), online=0)

    with site.database.server.heard(READER) as statements:
        sideband.rows([f"{SITE}/39/3039"])
        sideband.rows_by_inode([4000])
    tables = set(re.findall(r"\bsam_\w+\b", " ".join(statements)))

    assert {"sam_path", "sam_file", "sam_inode"} == tables


# --- 24: characters that mean something to SQL ---------------------------------

#: A name, and one that it would match if it were a pattern of LIKE, or unquoted.
ODD = [
    pytest.param("100%", "100 and more", id="percent"),
    pytest.param("a_b", "axb", id="underscore"),
    pytest.param("it's", "its", id="quote"),
    pytest.param("back\\slash", "backslash", id="backslash"),
    pytest.param('dou"ble', "double", id="double-quote"),
    pytest.param("%s %(x)s", "x x", id="format"),
    pytest.param(":name", "name", id="parameter"),
    pytest.param("'; DROP TABLE sam_inode; -- ", "drop", id="statement"),
]


@pytest.mark.parametrize(("name", "decoy"), ODD)
def test_group_24_a_prefix_is_a_value_and_no_pattern(
    site: Site, name: str, decoy: str, *, inode_lookup: bool
) -> None:
    found = site.whole(ID)
    site.row(f"/{decoy}/39/3039", Identity(4000, 9), online=1)
    site.row(f"/{name}/39/3039", inode_of(found), online=0)
    options = site.options(inode_lookup=inode_lookup, sam_qfs_prefix=f"/{name}")

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(ID))


@pytest.mark.parametrize(("name", "decoy"), ODD)
def test_group_24_a_prefix_that_is_not_there_matches_no_other(
    site: Site, name: str, decoy: str
) -> None:
    site.whole(ID)
    site.row(f"/{decoy}/39/3039", Identity(4000, 9), online=0)
    options = site.options(inode_lookup=False, sam_qfs_prefix=f"/{name}")

    with HmsSidebandArchive(options) as archive:
        assert GUESSED_DISK == told(archive.status(ID))


@pytest.mark.parametrize(("name", "decoy"), ODD)
def test_group_24_a_name_is_a_value_and_no_pattern(
    site: Site, sideband: Sideband, name: str, decoy: str
) -> None:
    site.row(f"/39/{decoy}", Identity(4000, 9), online=1)
    site.row(f"/39/{name}", Identity(4001, 7), online=0)

    rows = sideband.rows([f"/39/{name}"])

    assert {f"/39/{name}": 4001} == {path: row.ino for path, row in rows.items()}


# --- 25: many at a time --------------------------------------------------------


def ids_of(count: int, *, apart: bool) -> list[int]:
    """Return ids: 255 to a directory at most, or each in a directory of its own."""
    if apart:
        return [0x10000 + number for number in range(count)]
    return [
        (number // 255) + ((number % 255 + 1) << 8) + 0x10 for number in range(count)
    ]


def write_rows(site: Site, stats: dict[str, os.stat_result]) -> None:
    """Write a row for each path: of these, every second file is on tape."""
    database = site.database
    parents = {path: f"{path.rpartition('/')[0]}/" for path in stats}
    database.directories(set(parents.values()))
    inodes, links = [], []
    for number, (path, found) in enumerate(stats.items()):
        identity = inode_of(found)
        key = (identity.ino, identity.gen)
        inodes.append((*key, 0, found.st_size, None, 0, 0, 0, 0, (number + 1) % 2))
        name = path.rpartition("/")[2]
        parent = database.directory(parents[path])
        name_hash = zlib.crc32(name.encode()) & 0xFFFF
        links.append((parent.ino, parent.gen, name_hash, name, *key))
    database.insert("sam_inode", *inodes)
    database.insert("sam_file", *links)


def write_many(site: Site, ids: Sequence[int]) -> None:
    stats = {f"{SITE}{id2filename(n)}": site.hollow(n) for n in ids}
    write_rows(site, stats)


@pytest.mark.parametrize(
    ("count", "apart", "statements"),
    [
        (0, False, 0),
        (1, False, 1),
        (500, False, 1),
        (501, False, 2),
        (1200, False, 3),
        (1200, True, 3),
    ],
)
def test_group_25_each_has_its_row_by_one_statement_for_500(
    site: Site, archive: HmsSidebandArchive, count: int, statements: int, *, apart: bool
) -> None:
    ids = ids_of(count, apart=apart)
    write_many(site, ids)
    site.hollow(LETTERS)
    # The first connection asks the server what it is.
    archive.status(LETTERS)
    before = site.database.server.count()

    answers = [(file_id, told(answer)) for file_id, answer in archive.status_many(ids)]
    asked = site.database.server.count() - before
    expected = [(n, TAPE if i % 2 else DISK) for i, n in enumerate(ids)]

    assert (expected, statements) == (answers, asked)


def test_group_25_many_files_of_one_directory_cost_no_more(
    site: Site, sideband: Sideband, *, inode_lookup: bool
) -> None:
    template = site.hollow(ID)
    stats = {
        f"{SITE}/39/{number:x}": fake(template, st_ino=5000 + number, st_size=SIZE)
        for number in range(1200)
    }
    write_rows(site, stats)
    residencies = Residencies(sideband, inode_lookup=inode_lookup)
    sideband.check()
    before = site.database.server.count()

    found = [told(finding) for finding in residencies.find(list(stats.items()))]
    statements = site.database.server.count() - before

    assert ([DISK, TAPE] * 600, 3) == (found, statements)


def statements_of(site: Site, archive: HmsSidebandArchive, ids: list[int]) -> int:
    """Count what the answers that are half on tape cost the server."""
    archive.status(ids[0])
    before = site.database.server.count()
    answers = [told(answer) for _, answer in archive.status_many(ids)]
    assert [TAPE if i % 2 else DISK for i in range(len(ids))] == answers
    return site.database.server.count() - before


@pytest.mark.parametrize(("count", "statements"), [(1, 1), (500, 1), (501, 2)])
def test_group_25_what_has_its_inode_number_is_not_asked_for_by_path(
    site: Site, by_inode: HmsSidebandArchive, count: int, statements: int
) -> None:
    ids = ids_of(count, apart=False)
    same_inode_of(site.hollow(ids[0]))
    write_many(site, ids)
    site.database.execute("UPDATE sam_path SET path = CONCAT('/wrong', path)")

    assert statements == statements_of(site, by_inode, ids)


@pytest.mark.parametrize(("count", "statements"), [(1, 2), (500, 2), (501, 4)])
def test_group_25_the_look_up_by_path_is_one_statement_more(
    site: Site, sideband: Sideband, count: int, statements: int
) -> None:
    """Of files whose inode numbers the database has for others."""
    template = site.hollow(ID)
    stats = {
        f"{SITE}/39/{number:x}": fake(template, st_ino=5000 + number, st_size=SIZE)
        for number in range(count)
    }
    write_rows(site, stats)
    site.database.execute("UPDATE sam_inode SET size = size + 1 WHERE type = 0")
    sideband.check()
    before = site.database.server.count()
    for start in range(0, count, 500):
        Residencies(sideband, inode_lookup=True).find(
            list(stats.items())[start : start + 500]
        )

    assert statements == site.database.server.count() - before


def test_group_25_order_duplicates_and_unknown_ones_are_kept(
    site: Site, archive: HmsSidebandArchive
) -> None:
    first, second = ids_of(2, apart=False)
    write_many(site, [first, second])
    site.hollow(ID)

    answers = [
        (file_id, told(answer))
        for file_id, answer in archive.status_many(
            [second, LETTERS, first, ID, second, first, LETTERS]
        )
    ]

    expected = [
        (second, TAPE),
        (LETTERS, ("NoSuchFile", "")),
        (first, DISK),
        (ID, GUESSED_TAPE),
        (second, TAPE),
        (first, DISK),
        (LETTERS, ("NoSuchFile", "")),
    ]

    assert expected == answers


def test_group_25_one_file_asked_for_1200_times_is_answered_1200_times(
    site: Site, archive: HmsSidebandArchive
) -> None:
    write_many(site, [ID])

    answers = [told(answer) for _, answer in archive.status_many([ID] * 1200)]

    assert [DISK] * 1200 == answers


# --- 26: renames ---------------------------------------------------------------


def test_group_26_a_renamed_directory_is_found_when_its_path_is_told(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row("/data/before/39/3039", inode_of(found), online=0)
    before = told(by_path.status(ID))

    site.database.execute(
        "UPDATE sam_path SET path = REPLACE(path, '/data/before/', '/data/site/')"
    )

    assert (before, told(by_path.status(ID))) == (GUESSED_DISK, TAPE)


def test_group_26_a_directory_that_was_renamed_away_tells_no_more(
    site: Site, by_path: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", inode_of(found), online=0)
    before = told(by_path.status(ID))

    site.database.execute(
        "UPDATE sam_path SET path = REPLACE(path, '/data/site/', '/data/after/')"
    )

    assert (before, told(by_path.status(ID))) == (TAPE, GUESSED_DISK)


def test_group_26_the_inode_tells_all_through_a_rename(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    site.row("/data/before/39/3039", same_inode_of(found), online=0)
    before = told(by_inode.status(ID))

    site.database.execute(
        "UPDATE sam_path SET path = REPLACE(path, '/data/before/', '/data/site/')"
    )

    assert (before, told(by_inode.status(ID))) == (TAPE, TAPE)


def rename_as_the_daemon(site: Site, old: str, new: str) -> None:
    """Rename a directory's subtree as SAM-QFS does: by a pattern, from the end."""
    site.database.execute(
        f"UPDATE sam_path SET path = CONCAT('{new}',"  # noqa: S608 (paths of this module)
        f" SUBSTRING_INDEX(path, '{old}', -1)) WHERE path LIKE '{old}%'"
    )


def test_group_26_a_path_that_a_rename_broke_leaves_it_to_the_blocks(
    site: Site,
) -> None:
    found = site.whole(ID)
    site.row("/axb/39/3039", inode_of(found), online=0)
    site.database.directory("/a_b/")
    rename_as_the_daemon(site, "/a_b/", "/new/")
    options = site.options(inode_lookup=False, sam_qfs_prefix="/axb")

    with HmsSidebandArchive(options) as archive:
        assert GUESSED_DISK == told(archive.status(ID))


def test_group_26_the_rename_of_the_daemon_breaks_the_path_of_another(
    site: Site,
) -> None:
    directory = site.database.directory("/axb/39/")
    rename_as_the_daemon(site, "/a_b/", "/new/")

    rows = site.database.execute(
        f"SELECT path FROM sam_path WHERE ino = {directory.ino}"  # noqa: S608 (a number)
    )

    assert [("/new//axb/39/",)] == rows


def test_group_26_behind_a_path_that_a_rename_broke_the_inode_tells(
    site: Site,
) -> None:
    found = site.whole(ID)
    site.row("/axb/39/3039", same_inode_of(found), online=0)
    site.database.directory("/a_b/")
    rename_as_the_daemon(site, "/a_b/", "/new/")
    options = site.options(inode_lookup=True, sam_qfs_prefix="/axb")

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(ID))


def test_group_26_a_path_that_a_rename_gave_to_another_is_not_believed(
    site: Site,
) -> None:
    found = site.whole(ID)
    other = site.whole(LETTERS)
    site.row("/new/39/3039", same_inode_of(found), online=0)
    site.row("/a_b/y/a_b/39/3039", same_inode_of(other), online=1)
    rename_as_the_daemon(site, "/a_b/", "/new/")
    options = site.options(inode_lookup=True, sam_qfs_prefix="/new")

    with HmsSidebandArchive(options) as archive:
        assert TAPE == told(archive.status(ID))


def test_group_26_the_inode_tells_of_a_file_that_was_in_the_trash(
    site: Site, by_path: HmsSidebandArchive, by_inode: HmsSidebandArchive
) -> None:
    """Though the database has its path in the trash still."""
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", same_inode_of(found), online=0)
    by_inode.trash(ID)
    (path,) = (site.prefix / ".trash").iterdir()
    site.database.execute(
        f"UPDATE sam_path SET path = '{SITE}/.trash/'"  # noqa: S608 (paths of this module)
        f" WHERE path = '{SITE}/39/'",
        f"UPDATE sam_file SET name = '{path.name}' WHERE name = '3039'",  # noqa: S608 (as above)
    )
    by_inode.undelete(ID)

    assert (GUESSED_DISK, TAPE) == (told(by_path.status(ID)), told(by_inode.status(ID)))


def test_group_26_the_row_of_a_trashed_file_is_not_that_of_the_next_one(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    """Which has the path that the database has not renamed yet."""
    found = site.whole(ID)
    site.row(f"{SITE}/39/3039", same_inode_of(found), online=0)
    before = told(by_inode.status(ID))
    by_inode.trash(ID)
    site.whole(ID)

    assert (TAPE, GUESSED_DISK) == (before, told(by_inode.status(ID)))


# --- 29: polling ---------------------------------------------------------------


def test_group_29_a_poll_sees_the_file_come_and_go(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    identity = inode_of(found)
    site.row(f"{SITE}/39/3039", identity, online=0)

    seen = []
    for online in (0, 1, 0, 1):
        site.database.set_online(identity, online)
        seen.append(told(archive.status(ID)))

    assert [TAPE, DISK, TAPE, DISK] == seen


def test_group_29_a_poll_of_many_sees_one_come(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    identity = inode_of(found)
    site.row(f"{SITE}/39/3039", identity, online=0)

    seen = []
    for online in (0, 1):
        site.database.set_online(identity, online)
        seen += [told(answer) for _, answer in archive.status_many([ID])]

    assert [TAPE, DISK] == seen


def test_group_29_a_poll_by_inode_sees_the_file_come(
    site: Site, by_inode: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    identity = site.database.inode(same_inode_of(found), size=SIZE, online=0)

    seen = []
    for online in (0, 1):
        site.database.set_online(identity, online)
        seen.append(told(by_inode.status(ID)))

    assert [TAPE, DISK] == seen


def test_group_29_a_file_that_has_come_is_opened(
    site: Site, archive: HmsSidebandArchive
) -> None:
    found = site.whole(ID)
    identity = inode_of(found)
    site.row(f"{SITE}/39/3039", identity, online=0)
    with pytest.raises(FileOffline):
        archive.open(ID)

    site.database.set_online(identity, 1)

    with archive.open(ID) as reader:
        assert site.local(ID).read_bytes() == reader.read()


# --- 32, 33: sites -------------------------------------------------------------


def test_group_32_every_variant_of_the_schema_is_read_by_path(any_site: Site) -> None:
    online, offline = any_site.hollow(ID), any_site.whole(LETTERS)
    any_site.row(f"{SITE}/39/3039", inode_of(online), online=1)
    any_site.row(f"{SITE}/bc/abc", inode_of(offline), online=0)

    with HmsSidebandArchive(any_site.options(inode_lookup=False)) as archive:
        answers = [told(answer) for _, answer in archive.status_many([ID, LETTERS])]

    assert [DISK, TAPE] == answers


def test_group_32_every_variant_of_the_schema_is_read_by_inode(any_site: Site) -> None:
    online, offline = any_site.hollow(ID), any_site.whole(LETTERS)
    any_site.database.inode(same_inode_of(online), size=SIZE, online=1)
    any_site.database.inode(same_inode_of(offline), size=SIZE, online=0)

    with HmsSidebandArchive(any_site.options(inode_lookup=True)) as archive:
        answers = [told(answer) for _, answer in archive.status_many([ID, LETTERS])]

    assert [DISK, TAPE] == answers


def test_group_32_every_variant_of_the_schema_passes_the_check(any_site: Site) -> None:
    with HmsSidebandArchive(any_site.options(inode_lookup=True)) as archive:
        archive.check()


@pytest.mark.parametrize("twin", [TWINS[0], TWINS[1], TWINS[-1], PADDED[0]])
def test_group_32_a_twin_is_told_apart_in_every_variant(
    any_site: Site, twin: str
) -> None:
    found = any_site.whole(LETTERS)
    any_site.row(twin, Identity(4000, 9), online=1)
    any_site.row(f"{SITE}/bc/abc", inode_of(found), online=0)

    with HmsSidebandArchive(any_site.options(inode_lookup=False)) as archive:
        assert TAPE == told(archive.status(LETTERS))


@pytest.mark.parametrize("prefix", ["/datä", "/データ", "/data/\N{KELVIN SIGN}"])
def test_group_33_a_prefix_that_is_not_ascii_is_refused(
    tmp_path: Path, prefix: str
) -> None:
    with pytest.raises(ConfigError, match="ASCII"):
        open_archive(
            "hmssideband", prefix=tmp_path, sam_qfs_prefix=prefix, url="sqlite://"
        )
