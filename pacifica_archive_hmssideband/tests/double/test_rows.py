"""What the double writes to the database, and what it leaves out."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, inspect

from pacifica_archive_core import id2filename
from pacifica_archive_hmssideband.double import DatabaseDown, Double, DoubleError
from pacifica_archive_hmssideband.double.rows import fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mariadb import MariaDb

NAMES = (
    "SELECT p.path, f.name FROM sam_path p"
    " JOIN sam_file f ON f.p_ino = p.ino AND f.p_gen = p.gen"
    " JOIN sam_inode i ON i.ino = f.ino AND i.gen = f.gen"
)
PATHS = "SELECT path FROM sam_path WHERE ino <> 2"
SECOND_NS = 10**9

pytestmark = pytest.mark.timeout(60)


@pytest.mark.usefixtures("any_url")
class TestEvents:
    def test_the_root_has_its_seed_rows(
        self, double: Double, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        double.format()

        assert [(2, 2, "/", 1, 1)] == ask(
            "SELECT i.ino, i.gen, p.path, i.type, i.online"
            " FROM sam_inode i JOIN sam_path p ON p.ino = i.ino AND p.gen = i.gen"
        )

    def test_a_file_is_found_by_its_path(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        prefix.joinpath("a/b").mkdir(parents=True)
        prefix.joinpath("a/b/c").write_bytes(b"data")
        double.step()

        assert [("/a/b/", "c")] == [row for row in ask(NAMES) if row[1] == "c"]

    def test_a_row_holds_what_stat_says(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        path = prefix / "file"
        path.write_bytes(b"data")
        os.utime(path, (1, 1234567890))
        double.step()
        found = path.stat()

        assert [
            (found.st_ino, 1, 0, 4, 1234567890, found.st_uid, found.st_gid, 1)
        ] == ask(
            "SELECT ino, gen, type, size, modify_time, uid, gid, online"
            " FROM sam_inode WHERE type = 0"
        )

    def test_a_symlink_has_its_target_for_a_path(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "link").symlink_to("/some/where/")
        double.step()

        assert [("/some/where/",)] == ask(PATHS)

    def test_a_hard_link_has_two_names_and_one_inode(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "one").write_bytes(b"data")
        (prefix / "two").hardlink_to(prefix / "one")
        double.step()

        assert [("one", "two"), 1] == [
            tuple(sorted(name for _, name in ask(NAMES))),
            len(ask("SELECT ino FROM sam_inode WHERE type = 0")),
        ]

    def test_a_name_keeps_its_bytes_which_nobody_decodes(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "é").write_bytes(b"data")
        double.step()

        assert [("é".encode().decode("latin1"),)] == ask("SELECT name FROM sam_file")

    def test_names_that_differ_by_case_have_rows_of_their_own(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        for name in ("abc", "ABC"):
            (prefix / name).write_bytes(b"data")
        double.step()

        assert {("/", "abc"), ("/", "ABC")} == set(ask(NAMES))

    def test_what_is_deleted_leaves_no_row(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "a").mkdir()
        (prefix / "a" / "b").write_bytes(b"data")
        double.archive(["a/b"])
        shutil.rmtree(prefix / "a")
        double.step()

        assert [[], [], [], 1] == [
            ask(PATHS),
            ask("SELECT * FROM sam_file"),
            ask("SELECT * FROM sam_archive"),
            len(ask("SELECT * FROM sam_inode")),
        ]

    def test_a_file_that_is_written_to_gets_its_size_and_time(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        path = prefix / "file"
        path.write_bytes(b"data")
        os.utime(path, (1, 1))
        double.step()
        path.write_bytes(b"other")
        double.step()

        assert [(5, path.stat().st_mtime_ns // SECOND_NS)] == ask(
            "SELECT size, modify_time FROM sam_inode WHERE type = 0"
        )

    def test_utime_and_chmod_are_no_events(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        path = prefix / "file"
        path.write_bytes(b"data")
        double.step()
        before = ask("SELECT modify_time FROM sam_inode WHERE type = 0")
        os.utime(path, (1, 1))
        path.chmod(0o444)
        double.step()

        assert before == ask("SELECT modify_time FROM sam_inode WHERE type = 0")

    def test_a_file_that_is_replaced_is_another_inode(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "file").write_bytes(b"data")
        double.step()
        (prefix / "new").write_bytes(b"data")
        (prefix / "new").rename(prefix / "file")
        double.step()

        assert [("file", (prefix / "file").stat().st_ino)] == ask(
            "SELECT f.name, i.ino FROM sam_inode i JOIN sam_file f ON f.ino = i.ino"
        )

    def test_a_copy_has_a_row_that_is_never_stale(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "file").write_bytes(b"data")
        double.archive(["file"])
        (prefix / "file").write_bytes(b"other data")
        double.step()

        assert [(0, 0, 4, 0)] == ask("SELECT copy, seq, size, stale FROM sam_archive")

    def test_a_file_that_is_moved_keeps_its_row(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "a").mkdir()
        (prefix / "file").write_bytes(b"data")
        double.step()
        before = ask("SELECT ino, gen FROM sam_inode WHERE type = 0")
        double.rename("file", "a/moved")

        assert [before, [("/a/", "moved")]] == [
            ask("SELECT ino, gen FROM sam_inode WHERE type = 0"),
            [row for row in ask(NAMES) if row[1] != "a"],
        ]

    def test_a_renamed_directory_corrupts_paths_as_the_real_one_does(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        for path in ("a_b/y/a_b/z", "axb/x", "other"):
            (prefix / path).mkdir(parents=True)
        double.rename("a_b", "new")

        assert {
            ("/new/",),
            ("/new/y/",),
            ("/new/",),  # /new/y/a_b/
            ("/new/z/",),  # /new/y/a_b/z/
            ("/new//axb/",),
            ("/new//axb/x/",),
            ("/other/",),
        } == set(ask(PATHS))

    def test_directories_renamed_between_two_looks_are_renamed_from_the_top(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "a" / "b").mkdir(parents=True)
        double.step()
        (prefix / "a" / "b").rename(prefix / "a" / "c")
        (prefix / "a").rename(prefix / "d")
        double.step()

        assert {("/d/",), ("/d/c/",)} == set(ask(PATHS))

    def test_lost_events_do_not_reach_the_database(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        for name in ("lost", "kept"):
            (prefix / name).write_bytes(b"data")
        double.lose_events(["lost"])
        double.step()

        assert [("kept",)] == ask("SELECT name FROM sam_file")

    def test_a_check_finds_what_was_lost(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "new").write_bytes(b"data")
        (prefix / "gone").write_bytes(b"data")
        double.lose_events(["new"])
        double.step()
        double.lose_events(["gone"])
        (prefix / "gone").unlink()
        double.check()

        assert [("/", "new")] == ask(NAMES)

    def test_a_check_writes_a_wrong_path_without_its_slash(
        self, double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        (prefix / "a").mkdir()
        double.step()
        ask("UPDATE sam_path SET path = '/wrong/' WHERE ino <> 2")
        seen = []
        for fast in (False, True, False):
            double.check(fast=fast)
            seen += ask(PATHS)

        assert [("/a",), ("/a",), ("/a/",)] == seen

    def test_a_check_of_what_is_right_mends_nothing(
        self, double: Double, prefix: Path
    ) -> None:
        (prefix / "é").mkdir()
        (prefix / "é" / "file").write_bytes(b"data")
        (prefix / "link").symlink_to("é")
        double.step()

        assert 0 == double.check()

    def test_a_fill_has_files_where_the_archive_looks_for_them(
        self, url: str, ask: Callable[[str], list[tuple[Any, ...]]]
    ) -> None:
        fill(url, files=300, directories=7, prefix="/data")
        found = {f"{path}{name}" for path, name in ask(NAMES)}

        assert [{f"/data{id2filename(number)}" for number in range(300)}, (7,)] == [
            {path for path in found if path.startswith("/data/")}
            & {f"/data{id2filename(number)}" for number in range(300)},
            *ask("SELECT COUNT(*) FROM sam_path WHERE path LIKE '/others/_%'"),
        ]


def test_a_number_that_is_used_again_has_the_next_generation(
    double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    path = prefix / "file"
    seen, expected = [], []
    uses: Counter[int] = Counter()
    for _ in range(3):
        path.write_bytes(b"data")
        number = path.stat().st_ino
        uses[number] += 1
        expected.append((number, uses[number]))
        double.step()
        seen += ask("SELECT ino, gen FROM sam_inode WHERE type = 0")
        path.unlink()
        double.step()

    assert expected == seen


def test_a_number_that_is_used_again_between_two_looks_is_another_inode(
    double: Double, prefix: Path, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    path = prefix / "file"
    path.write_bytes(b"data")
    number = path.stat().st_ino
    double.step()
    for turn in range(50):
        path.unlink()
        path.write_bytes(b"data")
        if path.stat().st_ino == number:
            break
        # Keeps the number that was given instead from being given again.
        path.rename(prefix / f"other{turn}")
        path.write_bytes(b"data")
    else:
        pytest.skip("the file system does not use numbers again")
    double.step()

    assert [(number, 2)] == ask(
        "SELECT i.ino, i.gen FROM sam_inode i JOIN sam_file f"
        " ON f.ino = i.ino AND f.gen = i.gen WHERE f.name = 'file'"
    )


@pytest.mark.parametrize("column", ["offset", "off_set"])
def test_either_fork_of_the_schema_is_made_and_used(
    column: str, prefix: Path, mariadb_url: str
) -> None:
    double = Double(prefix, mariadb_url)
    double.format(off_set=column == "off_set")
    (prefix / "file").write_bytes(b"data")
    double.archive(["file"])
    engine = create_engine(mariadb_url)
    try:
        columns = inspect(engine).get_columns("sam_archive")
    finally:
        engine.dispose()

    assert column in {found["name"] for found in columns}


def test_the_numbers_of_mariadb_have_no_sign(
    prefix: Path, mariadb_server: MariaDb, mariadb_url: str
) -> None:
    Double(prefix, mariadb_url).format()
    schema = mariadb_url.rpartition("/")[2].partition("?")[0]
    signed = mariadb_server.execute(
        "SELECT table_name, column_name FROM information_schema.columns"  # noqa: S608 (our own)
        f" WHERE table_schema = '{schema}' AND data_type LIKE '%int'"
        " AND column_type NOT LIKE '%unsigned'"
    )

    assert [] == signed


def test_text_is_compared_as_a_site_s_database_does(
    prefix: Path, mariadb_server: MariaDb, mariadb_url: str
) -> None:
    Double(prefix, mariadb_url).format()
    schema = mariadb_url.rpartition("/")[2].partition("?")[0]
    collations = mariadb_server.execute(
        "SELECT DISTINCT collation_name FROM information_schema.columns"  # noqa: S608 (our own)
        f" WHERE table_schema = '{schema}' AND collation_name IS NOT NULL"
    )

    assert [("latin1_swedish_ci",)] == collations


def test_a_database_that_is_down_loses_no_event(
    double: Double,
    prefix: Path,
    sqlite_url: str,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    del sqlite_url
    ask("ALTER TABLE sam_file RENAME TO away")
    (prefix / "file").write_bytes(b"data")
    with pytest.raises(DatabaseDown):
        double.step()
    ask("ALTER TABLE away RENAME TO sam_file")
    double.step()

    assert [("/", "file")] == ask(NAMES)


@pytest.mark.parametrize(
    "url", ["postgresql://host/db", "no URL", "sqlite://", "oracle://u:s3cret@h/db"]
)
def test_a_url_of_another_database_is_refused(prefix: Path, url: str) -> None:
    with pytest.raises(DoubleError) as caught:
        Double(prefix, url)

    assert "s3cret" not in str(caught.value)


def test_the_password_is_not_in_an_error(prefix: Path, mariadb_server: MariaDb) -> None:
    url = mariadb_server.url("root", password="s3cret", schema="none")  # noqa: S106 (a wrong one)
    double = Double(prefix, url)
    with pytest.raises(DatabaseDown, match="Access denied") as caught:
        double.format()

    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__}"
