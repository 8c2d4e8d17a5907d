"""
Digests kept with a file, in its user-defined attributes.

The strongest one is written as hpsssum writes its own, so that a site's tools verify
it (keys and spelling: a comment in DSI's ``cksm.c``). All of them, and what they are
digests of, stand in one attribute of ours: hpsssum's keys do not say for which version
they were made, and HPSS keeps them when a file is written to.
"""

from __future__ import annotations

import errno
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import attrs

from pacifica_archive_core import NotSupported
from pacifica_archive_hpss._hpss import ffi, lib
from pacifica_archive_hpss.errors import HpssError
from pacifica_archive_hpss.residency import size_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pacifica_archive_hpss.session import Session

__all__ = ["NO_RECORD", "Record", "get_digests", "set_digests"]

_KEYS = "/hpss/user/cksum/"
_OURS = f"{_KEYS}pacifica"
#: Bytes of a value with its NUL: all digests in use take some 700. The shim sets none
#: that is longer than the site's HPSS_XML_SIZE, of which the number is not public.
_VALUE_SIZE = 1 << 16
_STRONGEST_FIRST = ("sha-512", "sha-384", "sha-256", "sha-224", "sha-1", "sha", "md5")
_RECORD = re.compile(
    r"1 (?P<file_id>0|[1-9][0-9]{0,18}) (?P<version>[!#-~]+)"
    r"(?P<digests>(?: [!-9;-~]*:(?:[0-9a-f]{2})*)+)"
)


@attrs.frozen(kw_only=True)
class Record:
    """
    Digests, and the file and version that they were made for.

    The version names the bitfile: what it says is so under every id, and stays so when
    the file is adopted by another.
    """

    file_id: int
    version: str
    digests: Mapping[str, bytes]

    def of(self, version: str) -> dict[str, bytes]:
        """Return the digests if they are of this version, else none."""
        return dict(self.digests) if version == self.version else {}


#: In the place of what is not there; no version is empty.
NO_RECORD = Record(file_id=0, version="", digests={})


def set_digests(
    session: Session,
    path: str,
    file_id: int,
    version: str,
    digests: Mapping[str, bytes],
) -> None:
    """
    Keep digests, at least one, with the file at ``path``: one call.

    Raises:
        HpssError: as the session says.
        NotSupported: they are longer than HPSS keeps.
    """
    record = record_text(
        Record(file_id=file_id, version=version, digests=digests)
    ).encode("ascii")
    attributes = {_OURS: record} | {
        f"{_KEYS}{name}": value.encode("ascii")
        for name, value in hpsssum_fields(version, digests).items()
    }
    # Kept here until the call is over: C has but their addresses.
    keys = [ffi.new("char[]", key.encode("ascii")) for key in attributes]
    values = [ffi.new("char[]", value) for value in attributes.values()]
    try:
        session.call(
            lib.pah_set_attributes,
            path,
            len(keys),
            ffi.new("char *[]", keys),
            ffi.new("char *[]", values),
            retry=True,
        )
    except HpssError as exc:
        if exc.code == errno.EMSGSIZE:
            raise NotSupported(
                f"file {file_id}: its digests are too long for HPSS to keep"
            ) from exc
        raise


def get_digests(session: Session, path: str) -> Record | None:
    """
    Return what is kept with the file at ``path``: one call.

    None too where there is no file, which HPSS does not tell from a file without
    attributes; what is not of our writing is none of ours.

    Raises:
        HpssError: as the session says.
    """
    key = ffi.new("char[]", _OURS.encode("ascii"))
    value = ffi.new("char[]", _VALUE_SIZE)
    try:
        session.call(
            lib.pah_get_attributes,
            path,
            1,
            ffi.new("char *[]", [key]),
            value,
            _VALUE_SIZE,
            retry=True,
        )
    except HpssError as exc:
        if exc.code == errno.ENOENT:
            return None
        raise
    return parsed_record(ffi.string(value).decode("ascii", "replace"))


def hpsssum_fields(version: str, digests: Mapping[str, bytes]) -> dict[str, str]:
    """Write the strongest digest as hpsssum would; one it does not know, none."""
    for algorithm in _STRONGEST_FIRST:
        if algorithm in digests:
            return {
                "algorithm": algorithm.replace("-", ""),
                "checksum": digests[algorithm].hex(),
                "lastupdate": str(int(time.time())),
                "errors": "0",
                "state": "Valid",
                "app": "pacifica-archive",
                "filesize": str(size_in(version)),
            }
    return {}


def record_text(record: Record) -> str:
    """Write a record; algorithms are quoted as in URLs where they must be."""
    return " ".join(
        [
            f"1 {record.file_id} {record.version}",
            *(
                f"{quote(algorithm, safe='')}:{value.hex()}"
                for algorithm, value in sorted(record.digests.items())
            ),
        ]
    )


def parsed_record(text: str) -> Record | None:
    """Read what ``record_text`` wrote; None if it did not write it."""
    match = _RECORD.fullmatch(text)
    if match is None:
        return None
    pairs: Sequence[tuple[str, str, str]] = [
        pair.partition(":") for pair in match["digests"].split()
    ]
    return Record(
        file_id=int(match["file_id"]),
        version=match["version"],
        digests={unquote(name): bytes.fromhex(value) for name, _, value in pairs},
    )
