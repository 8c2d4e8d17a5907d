"""Which layout a tree has, and who remembers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from scenes import NEW, store
from syscalls import Calls, failing, recorded

from pacifica_archive_core import AccessDenied, ArchiveUnavailable, ConfigError
from pacifica_archive_posix import PosixArchive, PosixOptions, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARKER = ".pacifica-archive.json"


def begin(prefix: Path, *, use_id2filename: bool) -> None:
    with PosixArchive(
        PosixOptions(prefix=prefix, use_id2filename=use_id2filename)
    ) as archive:
        store(archive, 0x3039, NEW)


def opens(prefix: Path, *, use_id2filename: bool) -> bool:
    try:
        PosixArchive(
            PosixOptions(prefix=prefix, use_id2filename=use_id2filename)
        ).close()
    except ConfigError:
        return False
    return True


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(NEW)
        path.chmod(0o444)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_tree_is_opened_as_it_was_begun(
    tmp_path: Path,
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    begin(tmp_path, use_id2filename=nested)
    # What could be looked at is gone, the marker counts.
    if nested:
        (tmp_path / "39" / "3039").rename(tmp_path / "12345")

    assert (True, False) == (
        opens(tmp_path, use_id2filename=nested),
        opens(tmp_path, use_id2filename=not nested),
    )


def test_the_marker_is_json(tmp_path: Path) -> None:
    begin(tmp_path, use_id2filename=True)
    text = (tmp_path / MARKER).read_text()

    assert {"format": 1, "use_id2filename": True} == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2, "use_id2filename": false}', "{}", "\xff"]
)
def test_a_marker_that_is_not_understood_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigError, match=MARKER):
        PosixArchive(PosixOptions(prefix=tmp_path))


def test_the_error_says_what_to_set(tmp_path: Path) -> None:
    begin(tmp_path, use_id2filename=True)

    with pytest.raises(ConfigError, match=r"use_id2filename = true"):
        PosixArchive(PosixOptions(prefix=tmp_path))


# --- trees of release 0.4.2


def test_an_unmarked_flat_tree_is_recognised(tmp_path: Path) -> None:
    write(tmp_path / "12345", tmp_path / "0")

    assert (False, True) == (
        opens(tmp_path, use_id2filename=True),
        opens(tmp_path, use_id2filename=False),
    )


@pytest.mark.parametrize("name", ["39/3039", "file.1", "file.ff"])
def test_an_unmarked_nested_tree_is_recognised(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)

    assert (False, True) == (
        opens(tmp_path, use_id2filename=False),
        opens(tmp_path, use_id2filename=True),
    )


def test_a_flat_file_with_the_name_of_a_nested_directory_is_flat(
    tmp_path: Path,
) -> None:
    write(tmp_path / "12", tmp_path / "39")

    assert not opens(tmp_path, use_id2filename=True)


def test_an_empty_directory_for_a_nested_file_is_nested(tmp_path: Path) -> None:
    """Release 0.4.2 made some for ids that were only asked for."""
    (tmp_path / "39").mkdir()

    assert not opens(tmp_path, use_id2filename=False)


@pytest.mark.parametrize(
    "names",
    [(), ("README", "file.zz", "012", "data/1"), ("12345", "39/3039")],
    ids=["empty", "strange", "both"],
)
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_a_tree_that_shows_neither_takes_the_option(
    tmp_path: Path,
    names: tuple[str, ...],
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    write(*(tmp_path / name for name in names))
    opened = opens(tmp_path, use_id2filename=nested)

    assert (True, nested) == (
        opened,
        json.loads((tmp_path / MARKER).read_text())["use_id2filename"],
    )


def test_a_tree_that_is_refused_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path / "12345")
    opens(tmp_path, use_id2filename=True)

    assert ["12345"] == [path.name for path in tmp_path.iterdir()]


def test_a_tree_of_millions_is_only_glanced_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "12345")
    monkeypatch.setattr(layout, "_GLANCE", 0)

    assert opens(tmp_path, use_id2filename=True)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_files_of_an_unmarked_tree_are_served(
    tmp_path: Path,
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    path = tmp_path / ("39/3039" if nested else "12345")
    write(path)
    os.utime(path, ns=(0, 123_456_789))
    with (
        PosixArchive(PosixOptions(prefix=tmp_path, use_id2filename=nested)) as archive,
        archive.open(12345) as reader,
    ):
        found = reader.readall(), reader.status.mtime_ns

    assert (NEW, 123_456_789) == found


# --- beginning at the same time


RACE = """\
import sys
from pacifica_archive_core import ConfigError, open_archive
sys.stdin.readline()
try:
    open_archive("posix", prefix=sys.argv[1], use_id2filename=sys.argv[2]).close()
except ConfigError:
    print("refused")
else:
    print("opened")
"""


def test_of_two_that_begin_one_tree_the_first_decides(tmp_path: Path) -> None:
    """Four at once, two of each mind: those who agree with the marker open it."""
    wrong = []
    for number in range(2):
        prefix = tmp_path / str(number)
        prefix.mkdir()
        minds = ["true", "false"] * 2
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(prefix), mind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for mind in minds
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60)[0].strip() for process in processes]
        marker = json.loads((prefix / MARKER).read_text())["use_id2filename"]
        expected = [
            "opened" if (mind == "true") == marker else "refused" for mind in minds
        ]
        if said != expected or list((prefix / ".incoming").iterdir()):
            wrong.append((said, marker))

    assert [] == wrong


@pytest.mark.parametrize("nested", [False, True], ids=["the same", "another"])
def test_a_marker_written_meanwhile_counts(
    tmp_path: Path,
    nested: bool,  # noqa: FBT001 (a parameter of pytest's)
) -> None:
    """Between our look at the tree and our marker."""
    marker = json.dumps({"format": 1, "use_id2filename": nested})
    with recorded() as good:
        first = tmp_path / "first"
        first.mkdir()
        opens(first, use_id2filename=False)
    prefix = tmp_path / "second"
    prefix.mkdir()
    number = good.switch
    disturb = Calls(
        first=number,
        last=number,
        disturb=lambda _: (prefix / MARKER).write_text(marker),
    )
    with recorded(disturb):
        opened = opens(prefix, use_id2filename=False)

    assert (not nested, []) == (opened, list((prefix / ".incoming").iterdir()))


# --- stores that cannot be written to, or are not there


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[PosixArchive]:
    """Return an archive on an unmarked tree where nothing can be made."""
    write(tmp_path / "1")
    with recorded(failing(errno.EROFS, first=0, last=None)) as calls:
        calls.only = {"mkdir", "open"}
        archive = PosixArchive(PosixOptions(prefix=tmp_path))
    with archive:
        yield archive


def test_a_tree_that_cannot_be_written_to_is_read(reading: PosixArchive) -> None:
    with reading.open(1) as reader:
        assert NEW == reader.readall()


def test_a_tree_that_cannot_be_written_to_is_in_order(reading: PosixArchive) -> None:
    assert reading.check() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "act",
    [
        lambda archive: archive.create(2),
        lambda archive: archive.create(1, overwrite=True),
        lambda archive: archive.adopt(2, f"{archive.options.prefix}/1"),
    ],
    ids=["create", "overwrite", "adopt"],
)
def test_a_tree_that_cannot_be_written_to_says_so(
    reading: PosixArchive, act: Callable[[PosixArchive], object]
) -> None:
    with pytest.raises(AccessDenied):
        act(reading)


def test_nothing_is_made_in_a_tree_that_cannot_be_written_to(
    reading: PosixArchive,
) -> None:
    assert ["1"] == [path.name for path in reading.options.prefix.iterdir()]


def test_an_unmarked_tree_that_is_not_there_misses_no_file(
    reading: PosixArchive,
) -> None:
    prefix = reading.options.prefix
    prefix.rename(prefix.parent / "away")

    with pytest.raises(ArchiveUnavailable):
        reading.status(1)


@pytest.fixture
def unmounted(tmp_path: Path) -> Iterator[PosixArchive]:
    """Return an archive whose mount point is bare now."""
    prefix = tmp_path / "mount"
    prefix.mkdir()
    with PosixArchive(PosixOptions(prefix=prefix, use_id2filename=True)) as archive:
        store(archive, 0x3039, NEW)
        prefix.rename(tmp_path / "away")
        prefix.mkdir()
        yield archive


@pytest.mark.parametrize(
    "act",
    [
        lambda archive: archive.status(0x3039),
        lambda archive: archive.open(0x3039),
        lambda archive: archive.digests(0x3039),
        lambda archive: archive.delete(0x3039),
        lambda archive: archive.create(0x3039),
        lambda archive: archive.create(0x3039, overwrite=True),
        lambda archive: archive.check(),
    ],
    ids=["status", "open", "digests", "delete", "create", "overwrite", "check"],
)
def test_what_is_not_mounted_is_unavailable(
    unmounted: PosixArchive, act: Callable[[PosixArchive], object]
) -> None:
    """Not missing: nobody is to store his files again, and on another disk."""
    with pytest.raises(ArchiveUnavailable):
        act(unmounted)


def test_nothing_is_made_below_a_bare_mount_point(tmp_path: Path) -> None:
    """Not even by a file that was begun before."""
    prefix = tmp_path / "mount"
    prefix.mkdir()
    with PosixArchive(PosixOptions(prefix=prefix, use_id2filename=True)) as archive:
        writer = archive.create(0x3039)
        prefix.rename(tmp_path / "away")
        prefix.mkdir()
        with pytest.raises(ArchiveUnavailable):
            writer.commit()

    assert [] == list(prefix.iterdir())


def test_incoming_is_not_made_again(tmp_path: Path) -> None:
    """Who removed it, or what is mounted there now, is for the operator to see."""
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        (tmp_path / ".incoming").rmdir()
        with pytest.raises(ArchiveUnavailable):
            archive.create(1)
        with pytest.raises(ArchiveUnavailable):
            archive.check()

    assert not (tmp_path / ".incoming").exists()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_prefix_that_is_no_directory_is_an_error(tmp_path: Path, name: str) -> None:
    """It is not made: on a disk that is not mounted it would be another's."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="prefix"):
        PosixArchive(PosixOptions(prefix=tmp_path / name))
