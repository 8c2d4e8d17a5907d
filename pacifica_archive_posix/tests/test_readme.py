"""The README tells what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from scenes import NEW, store
from syscalls import recorded

from pacifica_archive_core import NoSuchFile
from pacifica_archive_posix import PosixArchive, PosixOptions

if TYPE_CHECKING:
    from collections.abc import Callable

README = (Path(__file__).parent.parent / "README.md").read_text()
#: As strace names them, by the names that Python has for them.
KERNEL = {"utime": "utimensat"}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    # The rule below the head has no spaces.
    return [line.split(" | ") for line in lines[1:]]


def test_every_option_is_in_the_readme() -> None:
    assert [field.name for field in attrs.fields(PosixOptions)] == [
        cells[0].strip("`") for cells in rows("Options")
    ]


def test_the_defaults_are_those_of_the_readme(tmp_path: Path) -> None:
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("Options")}
    options = attrs.asdict(PosixOptions(prefix=tmp_path))
    others = {"prefix": "", "adopt_roots": "the prefix"}

    assert told == {
        name: others.get(name, str(value).lower()) for name, value in options.items()
    }


def missing(archive: PosixArchive) -> None:
    with pytest.raises(NoSuchFile):
        archive.status(3)


def create(archive: PosixArchive) -> None:
    with archive.create(2, size=len(NEW)) as writer:
        writer.write(NEW)


def read(archive: PosixArchive) -> None:
    with archive.open(1) as reader:
        reader.read(archive.block_size)


ACTS: dict[str, Callable[[PosixArchive], object]] = {
    "store a new file": create,
    "replace a file": lambda archive: store(archive, 1, NEW),
    "read": read,
    "status": lambda archive: archive.status(1),
    "status of a missing file": missing,
    "delete": lambda archive: archive.delete(1),
}


@pytest.mark.parametrize("name", ACTS)
def test_system_calls_are_those_of_the_readme(name: str, tmp_path: Path) -> None:
    told = {cells[0]: cells[1:] for cells in rows("What it costs")}
    count, listed = told[name]
    with PosixArchive(PosixOptions(prefix=tmp_path)) as archive:
        store(archive, 1, NEW)
        with recorded() as calls:
            ACTS[name](archive)
    made = [KERNEL.get(call, call) for call in calls.names]

    assert (int(count), listed.split(", ")) == (len(made), made)


def test_every_act_of_the_readme_is_tested() -> None:
    assert set(ACTS) == {cells[0] for cells in rows("What it costs")}
