from __future__ import annotations

import errno

import pytest

from pacifica_archive_core import (
    AccessDenied,
    ArchiveFull,
    ArchiveUnavailable,
    FileDamaged,
    FileExists,
    FileOffline,
    NoSuchFile,
    SourceRefused,
)
from pacifica_archive_core.errnos import STORE
from pacifica_archive_hpss.errors import (
    NAME,
    OPEN,
    READ,
    SOURCE,
    SWITCH,
    HpssError,
    error_of,
)


@pytest.mark.parametrize(
    ("code", "special", "expected"),
    [
        (errno.ENOSPC, STORE, ArchiveFull),
        (errno.EDQUOT, STORE, ArchiveFull),
        (errno.EACCES, STORE, AccessDenied),
        (errno.EPERM, STORE, AccessDenied),
        (errno.EBUSY, NAME, ArchiveUnavailable),
        (errno.EIO, NAME, ArchiveUnavailable),
        (errno.ESTALE, READ, ArchiveUnavailable),
        (errno.EMFILE, OPEN, ArchiveUnavailable),
        (errno.ENOENT, NAME, NoSuchFile),
        (errno.EINPROGRESS, OPEN, FileOffline),
        (errno.EIO, READ, FileDamaged),
        (errno.EEXIST, SWITCH, FileExists),
        (errno.ENAMETOOLONG, SOURCE, SourceRefused),
    ],
)
def test_a_code_is_told_as_what_it_says(
    code: int, special: dict[int, type[Exception]], expected: type[Exception]
) -> None:
    error = error_of(HpssError(code, "hpss_Open"), 1, special)  # type: ignore[arg-type] # STORE too

    assert expected is type(error)


def test_a_message_has_the_id_and_not_what_hpss_said() -> None:
    error = error_of(HpssError(errno.EBUSY, "hpss_Open: host 1.2.3.4"), 12345)

    assert "file 12345: device or resource busy" == str(error)


@pytest.mark.parametrize(
    ("code", "transient", "unclear"),
    [
        (errno.EBUSY, True, False),
        (errno.ECONNREFUSED, True, False),
        (errno.ECONNRESET, True, True),
        (errno.ETIMEDOUT, True, True),
        (errno.EIO, False, True),
        (errno.ENOENT, False, False),
    ],
)
def test_it_is_known_what_may_come_of_a_code(
    code: int, *, transient: bool, unclear: bool
) -> None:
    error = HpssError(code, "")

    assert (transient, unclear) == (error.transient, error.unclear)
