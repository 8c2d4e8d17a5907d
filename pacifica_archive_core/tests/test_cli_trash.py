"""The commands undelete and trash, and delete --trash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tiny import TinyArchive, TinyOptions

from pacifica_archive_core.cli.trash import format_time
from pacifica_archive_core.testing.base import fetch, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli_site import Site
    from click.testing import Result

pytest_plugins = ("cli_site",)

DAY_NS = 24 * 3600 * 10**9


class Bin:
    """The command line on a store that has a trash."""

    def __init__(self, site: Site, archive: TinyArchive) -> None:
        self.site = site
        self.archive = archive

    def run(self, *args: str) -> Result:
        prefix = str(self.archive.options.prefix)
        return self.site.run_bare("-t", "tiny", "--prefix", prefix, *args)

    def trash(self, file_id: int, data: bytes, *, days_ago: int = 0) -> int:
        """Put a file into the trash as it was done then, and return the time."""
        store(self.archive, file_id, data)
        before = set(self.archive.bin.iterdir())
        self.archive.trash(file_id)
        (path,) = set(self.archive.bin.iterdir()) - before
        then_ns = int(path.suffix[1:]) - days_ago * DAY_NS
        path.rename(path.with_suffix(f".{then_ns}"))
        return then_ns


@pytest.fixture
def bin_(site: Site) -> Iterator[Bin]:
    info = site.packages / "tiny-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pacifica_archive.backends]\ntiny = tiny:TinyArchive\n"
    )
    with TinyArchive(TinyOptions(site.prefix)) as archive:
        yield Bin(site, archive)


def test_what_is_deleted_into_the_trash_is_undeleted(bin_: Bin) -> None:
    for file_id in (5, 6):
        store(bin_.archive, file_id, b"data")

    first = bin_.run("delete", "--trash", "5", "6")
    gone = bin_.run("status", "5").exit_code
    second = bin_.run("undelete", "5", "6")

    assert ((0, ""), 3, (0, ""), b"data") == (
        (first.exit_code, first.output),
        gone,
        (second.exit_code, second.output),
        fetch(bin_.archive, 6),
    )


def test_delete_alone_leaves_nothing_in_the_trash(bin_: Bin) -> None:
    store(bin_.archive, 5, b"data")
    bin_.run("delete", "5")

    assert [] == list(bin_.archive.trashed())


def test_an_undelete_that_fails_goes_on_and_says_so(bin_: Bin) -> None:
    bin_.trash(6, b"data")

    result = bin_.run("undelete", "5", "6")

    assert (3, "pacifica-archive: file 5: not in the archive\n", b"data") == (
        result.exit_code,
        result.stderr,
        fetch(bin_.archive, 6),
    )


def test_an_undelete_replaces_nothing(bin_: Bin) -> None:
    bin_.trash(5, b"old")
    store(bin_.archive, 5, b"new")

    assert (4, b"new") == (bin_.run("undelete", "5").exit_code, fetch(bin_.archive, 5))


def test_the_last_one_deleted_is_undeleted(bin_: Bin) -> None:
    bin_.trash(5, b"old", days_ago=2)
    bin_.trash(5, b"new", days_ago=1)
    bin_.run("undelete", "5")

    assert b"new" == fetch(bin_.archive, 5)


def test_the_one_deleted_at_a_time_is_undeleted_as_it_is_listed(bin_: Bin) -> None:
    bin_.trash(5, b"old", days_ago=2)
    bin_.trash(5, b"new", days_ago=1)
    first = bin_.run("trash", "list").stdout.splitlines()[1].split()[2]
    result = bin_.run("undelete", "5", "--deleted", first)

    assert (0, b"old") == (result.exit_code, fetch(bin_.archive, 5))


def test_a_time_is_of_one_id(bin_: Bin) -> None:
    result = bin_.run("undelete", "5", "6", "--deleted", format_time(1))

    assert (2, True) == (result.exit_code, "of one ID" in result.stderr)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-01-01", "2026-13-01T00:00:00Z", "1", ""]
)
def test_what_is_no_time_is_refused(bin_: Bin, text: str) -> None:
    result = bin_.run("undelete", "5", "--deleted", text)

    assert (2, True) == (result.exit_code, "trash list" in result.stderr)


def test_the_trash_is_listed_as_a_table_the_oldest_first(bin_: Bin) -> None:
    later = format_time(bin_.trash(2**63 - 1, b"later"))
    earlier = format_time(bin_.trash(5, b"", days_ago=1))

    expected = f"""\
                 ID             SIZE  DELETED
                  5                0  {earlier}
9223372036854775807                5  {later}
"""
    assert expected == bin_.run("trash", "list").output


def test_the_trash_is_listed_as_json(bin_: Bin) -> None:
    deleted_ns = bin_.trash(5, b"data")

    found = json.loads(bin_.run("trash", "list", "--json").output)
    assert {"file_id": 5, "deleted_ns": deleted_ns, "size": 4} == found


def test_emptying_destroys_what_is_older_than_some_days(bin_: Bin) -> None:
    bin_.trash(5, b"old", days_ago=31)
    bin_.trash(6, b"new", days_ago=29)
    result = bin_.run("trash", "empty", "--days", "30")

    assert ("1 destroyed\n", [6]) == (
        result.output,
        [one.file_id for one in bin_.archive.trashed()],
    )


def test_emptying_wants_to_know_of_how_many_days(bin_: Bin) -> None:
    """All at once is a thing to be asked for."""
    bin_.trash(5, b"data")
    result = bin_.run("trash", "empty")

    assert (2, 1) == (result.exit_code, len(list(bin_.archive.trashed())))


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "--trash", "5"),
        ("undelete", "5"),
        ("trash", "list"),
        ("trash", "empty", "--days", "0"),
    ],
    ids=" ".join,
)
def test_a_backend_without_a_trash_is_told(
    site: Site, command: tuple[str, ...]
) -> None:
    site.store(5, b"data")
    result = site.run(*command)

    assert (13, True, {"5": b"data"}) == (
        result.exit_code,
        "this backend has no trash" in result.stderr,
        site.stored(),
    )
