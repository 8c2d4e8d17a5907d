"""
Preconditions, ranges and dates of RFC 9110.

``ETag`` is the version of the file and a strong validator.
``Last-Modified`` is what the file's sender said, so two versions may share it:
it is a weak one, and a date in ``If-Range`` never matches.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import re
import time
from typing import TYPE_CHECKING, Any

from pacifica_archive_http.status_table import (
    BadRequest,
    PreconditionFailed,
    RangeUnsatisfiable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacifica_archive_core import FileStatus

__all__ = [
    "etag",
    "find_range",
    "http_date",
    "is_asctime",
    "is_conditional",
    "is_current",
    "last_modified",
    "matches",
    "parse_fields",
    "parse_http_date",
]

_CONDITIONS = (
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
)

# RFC 9110 8.8.3; a field may be a list of them, with empty elements (5.6.1.2).
_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_EACH_TAG = re.compile(_TAG)

# RFC 9110 14.1.2, one range; 20 digits are more than any file has.
_RANGE = re.compile(
    r"bytes=[ \t,]*(?:([0-9]{1,20})-([0-9]{0,20})|-([0-9]{1,20}))[ \t,]*", re.IGNORECASE
)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
# Own names, not those of strptime: a locale changes what that understands.
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
# Sun, 06 Nov 1994 08:49:37 GMT
_IMF_FIXDATE = re.compile(
    rf"(?:{'|'.join(_DAYS)}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}})"
    rf" {_TIME} GMT"
)
# Sunday, 06-Nov-94 08:49:37 GMT
_RFC_850 = re.compile(
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,"
    rf" (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
)
# Sun Nov  6 08:49:37 1994
_ASCTIME = re.compile(
    rf"(?:{'|'.join(_DAYS)}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9])"
    rf" {_TIME} (?P<year>[0-9]{{4}})"
)
_SHAPES = (_IMF_FIXDATE, _RFC_850, _ASCTIME)


def etag(status: FileStatus) -> str:
    """Return the entity tag of a version."""
    return f'"{status.version}"'


def is_conditional(env: Mapping[str, Any]) -> bool:
    """Whether the request has a precondition."""
    return not env.keys().isdisjoint(_CONDITIONS)


def is_current(
    env: Mapping[str, Any], status: FileStatus | None, *, reading: bool
) -> bool:
    """
    Evaluate the preconditions in the order of RFC 9110 section 13.2.2.

    Args:
        env: the request.
        status: of the present version; None: there is no file.
        reading: the method is GET or HEAD.

    Returns:
        True if the reader has the present version already: 304.

    Raises:
        PreconditionFailed: the request is not to be done: 412.
        BadRequest: a list of entity tags is malformed.
    """
    # What is malformed is so whether there is a file or not.
    tag = None if status is None else etag(status)
    if (wanted := env.get("HTTP_IF_MATCH")) is not None:
        if not matches(wanted, tag, "If-Match"):
            raise PreconditionFailed("If-Match names no present version of the file")
    elif (
        status is not None
        and (since := _seconds(env, "HTTP_IF_UNMODIFIED_SINCE")) is not None
        and _modified_s(status) > since
    ):
        raise PreconditionFailed("the file was modified since")
    if (held := env.get("HTTP_IF_NONE_MATCH")) is not None:
        if not matches(held, tag, "If-None-Match"):
            return False
        if reading:
            return True
        raise PreconditionFailed("If-None-Match names the present version of the file")
    since = _seconds(env, "HTTP_IF_MODIFIED_SINCE") if reading else None
    return since is not None and status is not None and _modified_s(status) <= since


def matches(field: str, tag: str | None, name: str) -> bool:
    """
    Compare strongly for If-Match, weakly for If-None-Match (8.8.3.2).

    Args:
        field: the value, a list of entity tags.
        tag: of what is there; None: nothing is.
        name: of the field.

    Raises:
        BadRequest: it is no such list.
    """
    if field.strip(" \t") == "*":
        return tag is not None
    if not _TAGS.fullmatch(field):
        raise BadRequest(f'{name} is "*" or entity tags in double quotes')
    tags = _EACH_TAG.findall(field)
    if name == "If-None-Match":
        tags = [each.removeprefix("W/") for each in tags]
    return tag in tags


def _seconds(env: Mapping[str, Any], name: str) -> int | None:
    """Read a date; one that is none is passed over (RFC 9110 13.1.3)."""
    try:
        return parse_http_date(env[name]) if name in env else None
    except ValueError:
        return None


def _modified_s(status: FileStatus) -> int:
    return status.mtime_ns // 1_000_000_000


def find_range(env: Mapping[str, Any], status: FileStatus) -> tuple[int, int] | None:
    """
    Return the first byte and the number of bytes that GET shall send.

    None is the whole file. What RFC 9110 lets a server pass over is: a
    malformed ``Range``, an unknown unit, more than one range (14.2).

    Raises:
        RangeUnsatisfiable: no byte of the range is in the file: 416.
    """
    if "HTTP_RANGE" not in env or not (match := _RANGE.fullmatch(env["HTTP_RANGE"])):
        return None
    # A weak tag does not compare strongly, and a date is none: see above.
    if env.get("HTTP_IF_RANGE", etag(status)).strip(" \t") != etag(status):
        return None
    size = status.size
    first_text, last_text, suffix = match.groups()
    if suffix is not None:
        count = min(int(suffix), size)
        if int(suffix) == 0:
            raise RangeUnsatisfiable(size)
        # No Content-Range can say "the last bytes of nothing": the whole file.
        return (size - count, count) if size else None
    first, last = int(first_text), int(last_text or size - 1)
    if last_text and last < first:
        return None
    if first >= size:
        raise RangeUnsatisfiable(size)
    return first, min(last, size - 1) - first + 1


@functools.lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """
    Write seconds since 1970 as an IMF-fixdate, in every locale.

    >>> http_date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return (
        f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
        f" {hour:02}:{minute:02}:{second:02} GMT"
    )


def last_modified(status: FileStatus) -> str:
    """Return the date of a file; never one to come (RFC 9110 8.8.2.1)."""
    return http_date(min(_modified_s(status), int(time.time())))


def parse_http_date(text: str) -> int:
    """
    Read a date in any of the three shapes of RFC 9110 section 5.6.7.

    The name of the weekday is not compared with the date.

    >>> parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT")
    784111777

    Returns:
        Seconds since 1970.

    Raises:
        ValueError: it is none.
    """
    return calendar.timegm((*parse_fields(text), 0, 1, 0))


def parse_fields(text: str) -> tuple[int, int, int, int, int, int]:
    """
    Read year, month, day, hour, minute and second of a date.

    The second may be 60. A year of two digits is of this century, unless that
    is more than 50 years ahead (RFC 9110 5.6.7).

    Raises:
        ValueError: it is no date in any of the three shapes.
    """
    match = next((m for shape in _SHAPES if (m := shape.fullmatch(text))), None)
    if match is None:
        raise ValueError("a date is written as in 'Sun, 06 Nov 1994 08:49:37 GMT'")
    year, day, hour, minute, second = (
        int(match[name]) for name in ("year", "day", "hour", "minute", "second")
    )
    month = _MONTHS.index(match["month"]) + 1
    if match.re is _RFC_850:
        now = time.gmtime()
        year += now.tm_year - now.tm_year % 100
        if (year - 50, month, day, hour, minute, second) > now[:6]:
            year -= 100
    # Refuses the 30th of February and 25 o'clock, which the functions of C roll over.
    dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC)
    if second > 60:  # noqa: PLR2004 (a leap second)
        raise ValueError("a minute has at most 61 seconds")
    return year, month, day, hour, minute, second


def is_asctime(text: str) -> bool:
    """Whether a date has the shape of C's ``asctime``, which names no zone."""
    return _ASCTIME.fullmatch(text) is not None
