"""The commands status, stage, adopt and delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli_site import Site

pytest_plugins = ("cli_site",)


def test_status_is_an_aligned_table_in_the_order_of_the_ids(site: Site) -> None:
    site.store(123, b"", mtime=10**9)
    site.store(4, b"four", mtime=0).with_suffix(".tape").touch()

    result = site.run("status", "123", "4")

    expected = f"""\
 ID             SIZE  MODIFIED              MEDIA  RESIDENCY      PATH
123                0  2001-09-09T01:46:40Z  disk   disk           {site.prefix}/123
  4                4  1970-01-01T00:00:00Z  tape   tape           {site.prefix}/4
"""
    assert expected == result.output


def test_status_reports_a_missing_id_and_goes_on(site: Site) -> None:
    site.store(6, b"six")

    result = site.run("status", "5", "6")

    assert (3, "pacifica-archive: file 5: not in the archive\n", 2) == (
        result.exit_code,
        result.stderr,
        len(result.stdout.splitlines()),
    )


def test_status_as_json_has_every_field(site: Site) -> None:
    path = site.store(5, b"five")
    found = path.stat()

    result = site.run("status", "--json", "5")

    expected = {
        "file_id": 5,
        "path": str(path),
        "size": 4,
        "mtime_ns": 10**18,
        "ctime_ns": found.st_ctime_ns,
        "version": str(found.st_ino),
        "levels": [{"media": "disk", "size": 4}],
        "residency": "disk",
        "residency_source": "stat",
        "media": "disk",
        "online": True,
    }
    assert expected == json.loads(result.stdout)


def test_status_as_json_has_a_line_for_what_fails(site: Site) -> None:
    site.store(6, b"six")

    result = site.run("status", "--json", "5", "6")

    first, second = map(json.loads, result.stdout.splitlines())
    expected = {
        "file_id": 5,
        "error": "NoSuchFile",
        "message": "file 5: not in the archive",
    }
    assert (expected, 6) == (first, second["file_id"])


def test_status_as_json_of_what_fails_ends_with_its_code(site: Site) -> None:
    result = site.run("status", "--json", "5")

    assert (3, "") == (result.exit_code, result.stderr)


def test_duplicates_are_answered_as_often_as_asked(site: Site) -> None:
    site.store(5, b"five")

    result = site.run("status", "--json", "5", "5")

    assert 2 == len(result.stdout.splitlines())


@pytest.mark.parametrize("source", ["ids", "-"])
def test_ids_come_from_a_file_behind_those_given(site: Site, source: str) -> None:
    text = "7 8\n\n  9\n"
    Path("ids").write_text(text)

    result = site.run("status", "--json", "--ids-from", source, "6", stdin=text)

    ids = [json.loads(line)["file_id"] for line in result.stdout.splitlines()]
    assert [6, 7, 8, 9] == ids


def test_a_file_without_ids_is_nothing_to_do(site: Site) -> None:
    result = site.run("delete", "--ids-from", "-", stdin="\n")

    assert 0 == result.exit_code


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        ((), None),
        (("x",), None),
        (("5", "-1"), None),
        (("--ids-from", "-"), "5\nx\n"),
        (("--ids-from", "-"), b"5\n\xff\n"),
        (("--ids-from", "none"), None),
    ],
)
@pytest.mark.parametrize("command", ["status", "stage", "delete"])
def test_what_is_no_id_is_a_usage_error_and_nothing_is_done(
    site: Site, command: str, args: tuple[str, ...], stdin: str | bytes | None
) -> None:
    site.store(5, b"five")

    result = site.run(command, *args, stdin=stdin)

    assert (2, {"5": b"five"}) == (result.exit_code, site.stored())


def test_stage_says_of_each_file_whether_it_is_on_disk(site: Site) -> None:
    site.store(5, b"five")
    site.store(6, b"six").with_suffix(".tape").touch()

    result = site.run("stage", "5", "6")

    assert (0, "5 staged\n6 being staged\n") == (result.exit_code, result.output)


def test_stage_reports_a_missing_id_and_goes_on(site: Site) -> None:
    site.store(6, b"six")

    result = site.run("stage", "5", "6")

    assert (3, "6 staged\n") == (result.exit_code, result.stdout)


def test_delete_removes_the_files_and_says_nothing(site: Site) -> None:
    for number in (5, 6, 7):
        site.store(number, b"x")

    result = site.run("delete", "5", "6")

    assert (0, "", {"7": b"x"}) == (result.exit_code, result.output, site.stored())


def test_delete_reports_a_missing_id_and_goes_on(site: Site) -> None:
    site.store(6, b"six")

    result = site.run("delete", "5", "6")

    assert (3, {}) == (result.exit_code, site.stored())


def test_adopt_takes_the_files_that_lie_in_the_store(site: Site) -> None:
    for name in ("one", "two"):
        (site.prefix / name).write_text(name)

    site.run("adopt", "5", f"{site.prefix}/one", "6", f"{site.prefix}/two")

    assert {"5": b"one", "6": b"two"} == site.stored()


def test_adopt_refuses_an_id_that_is_taken(site: Site) -> None:
    site.store(5, b"old")
    (site.prefix / "new").write_text("new")

    result = site.run("adopt", "5", f"{site.prefix}/new")

    assert (4, {"5": b"old", "new": b"new"}) == (result.exit_code, site.stored())


def test_adopt_overwrites_when_told_to(site: Site) -> None:
    site.store(5, b"old")
    (site.prefix / "new").write_text("new")

    site.run("adopt", "--overwrite", "5", f"{site.prefix}/new")

    assert {"5": b"new"} == site.stored()


def test_adopt_hands_the_path_on_as_it_is(site: Site) -> None:
    Path("source").touch()

    result = site.run("adopt", "5", "source")

    assert 12 == result.exit_code


def test_adopt_says_what_a_backend_cannot_do(site: Site) -> None:
    result = site.run_bare("-t", "memory", "adopt", "5", "/source")

    expected = (13, "pacifica-archive: this backend cannot adopt files\n")
    assert expected == (result.exit_code, result.stderr)
