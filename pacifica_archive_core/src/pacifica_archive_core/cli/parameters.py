"""Ids, files and ranges as they are written on the command line."""

from __future__ import annotations

import functools
import re
from typing import IO, TYPE_CHECKING, Any, TypeVar

import attrs
import click

from pacifica_archive_core.errors import InvalidFileId
from pacifica_archive_core.ids import checked_file_id

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ByteRange",
    "byte_range",
    "byte_rate",
    "file_id",
    "file_ids",
    "pairs_argument",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")
_Result = TypeVar("_Result")

# As in a URL: what int() takes beyond, such as +1 or 1_2, is a slip of the pen.
_ID = re.compile(r"0|[1-9][0-9]{0,18}")
_RATE = re.compile(r"([1-9][0-9]{0,11})([kMG]?)")
_ZEROS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19})")


def file_id(text: str) -> int:
    """Return the id that ``text`` is."""
    try:
        return checked_file_id(int(text) if _ID.fullmatch(text) else text)
    except InvalidFileId as exc:
        raise click.BadParameter(f"{text!r}: {exc.reason}") from exc


def file_ids(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a command take ids, also from a file, as the keyword ``ids``."""

    @click.argument("ids", nargs=-1, type=file_id, metavar="[ID]...")
    @click.option(
        "--ids-from",
        type=click.File(errors="replace"),
        metavar="FILE",
        help="Ids, separated by blanks or lines, of a file; - is standard input.",
    )
    @functools.wraps(command)
    def with_ids(
        *args: Any,  # noqa: ANN401 (the command's own)
        ids: tuple[int, ...],
        ids_from: IO[str] | None,
        **kwargs: Any,  # noqa: ANN401 (as above)
    ) -> _Result:
        if ids_from is not None:
            try:
                ids += tuple(map(file_id, ids_from.read().split()))
            except click.BadParameter as exc:
                exc.param_hint = "'--ids-from'"
                raise
        elif not ids:
            raise click.UsageError("give at least one ID, or --ids-from")
        return command(*args, ids=ids, **kwargs)

    return with_ids


def pairs_argument(name: str) -> Callable[[_Decorated], _Decorated]:
    """Let a command take ids, each followed by a file, as ``pairs``."""
    return click.argument(
        "pairs",
        nargs=-1,
        required=True,
        type=click.Path(allow_dash=True),
        metavar=f"ID {name} [ID {name}]...",
        callback=_pairs,
    )


def _pairs(
    ctx: click.Context, param: click.Parameter, words: tuple[str, ...]
) -> tuple[tuple[int, str], ...]:
    if len(words) % 2:
        raise click.BadParameter(f"{words[-1]!r} lacks its other half", ctx, param)
    ids = map(file_id, words[::2])
    return tuple(zip(ids, words[1::2], strict=True))


@attrs.frozen
class ByteRange:
    """
    Bytes of a file, counted from 0 and both ends included, as in HTTP.

    Without ``first`` the last ``last`` bytes; without ``last`` all from ``first``.
    """

    first: int | None
    last: int | None

    def within(self, size: int) -> range | None:
        """Return the positions in a file of ``size`` bytes; None if there are none."""
        if self.first is None:
            found = range(max(0, size - (self.last or 0)), size)
        else:
            end = size if self.last is None else min(self.last + 1, size)
            found = range(self.first, end)
        return found or None


def byte_range(text: str) -> ByteRange:
    """Return the range that ``text`` is: ``0-99``, ``100-`` or ``-100``."""
    match = _RANGE.fullmatch(text)
    if match is not None:
        first, last = match[1], match[2] or match[3]
        found = ByteRange(int(first) if first else None, int(last) if last else None)
        # No file is as long: what is empty here is so everywhere.
        if found.within(10**20):
            return found
    raise click.BadParameter(f"{text!r} is none of FIRST-LAST, FIRST- and -COUNT")


def byte_rate(text: str) -> int:
    """
    Return the bytes a second that ``text`` is.

    >>> byte_rate("250"), byte_rate("20M")
    (250, 20000000)
    """
    if match := _RATE.fullmatch(text):
        return int(match[1]) * _ZEROS[match[2]]
    raise click.BadParameter(f"{text!r} is no number above 0 with k, M, G or nothing")
