"""The page of fsspec has the tables that the code has."""

from __future__ import annotations

import errno
import inspect
import re
from pathlib import Path

from pacifica_archive_core import ArchiveError
from pacifica_archive_core.filesystem import ERRORS, PacificaFileSystem

PAGE = (Path(__file__).parents[1] / "fsspec.md").read_text()


def test_every_error_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (E\w+) \|$", PAGE, re.MULTILINE)
    expected = [
        (kind.__name__, error.__name__, errno.errorcode[number])
        for kind, (error, number) in ERRORS.items()
        if kind is not ArchiveError
    ]

    # ENOTSUP and EOPNOTSUPP are one number on Linux.
    assert sorted(expected) == sorted(
        (kind, error, errno.errorcode[getattr(errno, name)])
        for kind, error, name in rows
    )


def test_every_keyword_is_told() -> None:
    names = set(inspect.signature(PacificaFileSystem.__init__).parameters)

    assert [] == [
        name
        for name in names - {"self", "options"}
        if not re.search(rf"`{name}=?`", PAGE)
    ]
