"""
Digests kept with a file, in one extended attribute, and what proves them.

The attribute is written in one step, so it is whole always: first the size and the
mtime that the file had with these digests, which tell after years elsewhere whether
they are of its bytes; then each as ``algorithm=hex``.
Trees of before have one attribute for each digest, and no such proof.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ATTRIBUTE",
    "DIGESTED",
    "Digested",
    "keep_digests",
    "proven_digests",
    "read_digested",
    "read_digests",
    "read_single",
    "stamp_of",
]

#: All that is kept beside a file's bytes is in extended attributes of such names.
ATTRIBUTE = "user.pacifica_archive."
#: Digests are in this one.
DIGESTED = f"{ATTRIBUTE}digested"

#: What those of before begin with, with the algorithm's name at the end.
_SINGLE = f"{ATTRIBUTE}digest."
_UNPROVEN = "- -"
_VALUE = re.compile(
    r"(?P<stamp>[0-9]+ -?[0-9]+|- -)(?P<digests>(?: [!-<>-~]*=(?:[0-9a-f]{2})*)+)"
)
_NONE = frozenset({errno.ENODATA, errno.EOPNOTSUPP})


@attrs.frozen(kw_only=True)
class Digested:
    """
    Digests, and how the file was that they were made of.

    Attributes:
        digests: algorithm to value.
        stamp: its size and mtime, as ``stamp_of`` writes them; None: not known.
    """

    digests: Mapping[str, bytes]
    stamp: str | None


def stamp_of(found: os.stat_result) -> str:
    """Return what changes with a file's bytes, wherever the file is."""
    return f"{found.st_size} {found.st_mtime_ns}"


def keep_digests(fd: int, kept: Digested) -> None:
    """Set the attribute of an open file: one call."""
    os.setxattr(fd, DIGESTED, _value(kept))


def read_digested(file: str | int) -> Digested | None:
    """
    Return what the attribute says: one call, by a path or a descriptor.

    None where there is none.

    Raises:
        OSError: EBADMSG if it is damaged. That is not none: else bytes that went
            wrong with it would be given a digest that says they are right.
    """
    value = _get(file, DIGESTED)
    if value is None:
        return None
    kept = _parsed(value.decode("ascii", "replace"))
    if kept is None:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
    return kept


def read_single(file: str | int) -> dict[str, bytes]:
    """Return what a file of a tree of before has, digest by digest."""
    try:
        names = (
            os.listxattr(file)
            if isinstance(file, int)
            else os.listxattr(file, follow_symlinks=False)
        )
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:
            return {}
        raise
    return {
        name.removeprefix(_SINGLE): value
        for name in names
        if name.startswith(_SINGLE) and (value := _get(file, name)) is not None
    }


def read_digests(fd: int) -> Digested | None:
    """Return the digests of an open file, of either kind; None if it has none."""
    if (kept := read_digested(fd)) is not None:
        return kept
    found = read_single(fd)
    return Digested(digests=found, stamp=None) if found else None


def proven_digests(fd: int, found: os.stat_result) -> Mapping[str, bytes]:
    """
    Return the digests that are of an open file's bytes, if that is proven.

    Args:
        fd: the file.
        found: its status, before anything was done to it.
    """
    try:
        kept = read_digested(fd)
    except OSError as exc:
        if exc.errno == errno.EBADMSG:
            return {}
        raise
    return kept.digests if kept is not None and kept.stamp == stamp_of(found) else {}


def _get(file: str | int, name: str) -> bytes | None:
    try:
        if isinstance(file, int):
            return os.getxattr(file, name)
        return os.getxattr(file, name, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in _NONE:
            return None
        raise


def _value(kept: Digested) -> bytes:
    """Write the attribute's value; algorithms are quoted as in URLs."""
    pairs = (
        f"{quote(name, safe='')}={value.hex()}"
        for name, value in sorted(kept.digests.items())
    )
    return " ".join([kept.stamp or _UNPROVEN, *pairs]).encode("ascii")


def _parsed(text: str) -> Digested | None:
    match = _VALUE.fullmatch(text)
    if match is None:
        return None
    pairs = (pair.partition("=") for pair in match["digests"].split())
    return Digested(
        digests={unquote(name): bytes.fromhex(value) for name, _, value in pairs},
        stamp=None if match["stamp"] == _UNPROVEN else match["stamp"],
    )
