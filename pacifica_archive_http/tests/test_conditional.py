from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica_archive_core import FileStatus, Media, Residency, StorageLevel
from pacifica_archive_http.conditional import (
    find_range,
    http_date,
    is_current,
    last_modified,
    parse_fields,
    parse_http_date,
)
from pacifica_archive_http.status_table import (
    BadRequest,
    PreconditionFailed,
    RangeUnsatisfiable,
)
from pacifica_archive_http.wire_v1 import parse_last_modified

if TYPE_CHECKING:
    from collections.abc import Iterator

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
SECONDS = 784111777
STATUS = FileStatus(
    file_id=5,
    path="memory:5",
    size=10,
    mtime_ns=SECONDS * 1_000_000_000 + 5,
    ctime_ns=0,
    version="v1",
    levels=(StorageLevel(Media.DISK, 10),),
    residency=Residency.DISK,
    residency_source="test",
)
EARLIER, LATER = http_date(SECONDS - 1), http_date(SECONDS + 1)


# --- dates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_shapes_of_a_date_are_one_time(text: str) -> None:
    assert SECONDS == parse_http_date(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 30 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_http_date(text)


def test_a_leap_second_is_a_date() -> None:
    assert 1483228800 == parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT")


@pytest.mark.parametrize(("ahead", "century"), [(50, 0), (51, -100)])
def test_two_digits_of_a_year_are_at_most_50_years_ahead(
    ahead: int, century: int
) -> None:
    # The first second of a year is never behind now by less than whole years.
    year = time.gmtime().tm_year + ahead
    text = f"Monday, 01-Jan-{year % 100:02} 00:00:00 GMT"
    this_century = year - year % 100 == time.gmtime().tm_year // 100 * 100

    wanted = year + (century if this_century else -100)
    assert wanted == parse_fields(text)[0]


@given(st.integers(-(10**9), 250_000_000_000))
def test_a_date_that_is_written_is_read_again(seconds: int) -> None:
    assert seconds == parse_http_date(http_date(seconds))


def test_a_date_to_come_is_not_told() -> None:
    status = attrs.evolve(STATUS, mtime_ns=(int(time.time()) + 10**6) * 10**9)

    assert parse_http_date(last_modified(status)) <= time.time()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_asctime_on_put_is_of_the_local_zone() -> None:
    wanted = parse_http_date("Sun, 06 Nov 1994 13:49:37 GMT") * 10**9

    assert wanted == parse_last_modified("Sun Nov  6 08:49:37 1994")


@pytest.mark.usefixtures("new_york")
def test_an_hour_that_is_there_twice_is_what_mktime_takes() -> None:
    wanted = time.mktime((2020, 11, 1, 1, 30, 0, 0, 1, -1)) * 10**9

    assert wanted == parse_last_modified("Sun Nov  1 01:30:00 2020")


@pytest.mark.usefixtures("new_york")
def test_asctime_in_a_condition_is_gmt_as_rfc_9110_has_it() -> None:
    env = {"HTTP_IF_MODIFIED_SINCE": "Sun Nov  6 08:49:37 1994"}

    assert is_current(env, STATUS, reading=True)


# --- preconditions ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "current"),
    [
        ({}, False),
        ({"HTTP_IF_NONE_MATCH": '"v1"'}, True),
        ({"HTTP_IF_NONE_MATCH": 'W/"v1"'}, True),
        ({"HTTP_IF_NONE_MATCH": '"v0", "v1"'}, True),
        ({"HTTP_IF_NONE_MATCH": ',"v0",,"v1",'}, True),
        ({"HTTP_IF_NONE_MATCH": "*"}, True),
        ({"HTTP_IF_NONE_MATCH": '"v0"'}, False),
        ({"HTTP_IF_NONE_MATCH": '"v1,"'}, False),
        ({"HTTP_IF_MODIFIED_SINCE": DATE}, True),
        ({"HTTP_IF_MODIFIED_SINCE": LATER}, True),
        ({"HTTP_IF_MODIFIED_SINCE": EARLIER}, False),
        ({"HTTP_IF_MODIFIED_SINCE": "yesterday"}, False),
        # RFC 9110 13.1.3: the date is not looked at beside If-None-Match.
        ({"HTTP_IF_NONE_MATCH": '"v0"', "HTTP_IF_MODIFIED_SINCE": LATER}, False),
        ({"HTTP_IF_NONE_MATCH": '"v1"', "HTTP_IF_MODIFIED_SINCE": EARLIER}, True),
        ({"HTTP_IF_MATCH": '"v1"', "HTTP_IF_UNMODIFIED_SINCE": EARLIER}, False),
        ({"HTTP_IF_MATCH": "*"}, False),
        ({"HTTP_IF_MATCH": '"v0","v1"'}, False),
        ({"HTTP_IF_UNMODIFIED_SINCE": DATE}, False),
        ({"HTTP_IF_UNMODIFIED_SINCE": "yesterday"}, False),
    ],
)
def test_a_reader_is_told_whether_it_is_current(
    env: dict[str, str], *, current: bool
) -> None:
    assert current is is_current(env, STATUS, reading=True)


@pytest.mark.parametrize(
    "env",
    [
        {"HTTP_IF_MATCH": '"v0"'},
        # Strong comparison: a weak tag is never equal.
        {"HTTP_IF_MATCH": 'W/"v1"'},
        {"HTTP_IF_MATCH": '"v0"', "HTTP_IF_NONE_MATCH": '"v0"'},
        {"HTTP_IF_UNMODIFIED_SINCE": EARLIER},
    ],
)
@pytest.mark.parametrize("reading", [True, False])
def test_a_precondition_that_fails_is_raised(
    env: dict[str, str], *, reading: bool
) -> None:
    with pytest.raises(PreconditionFailed):
        is_current(env, STATUS, reading=reading)


@pytest.mark.parametrize("tags", ["*", '"v1"', 'W/"v1"'])
def test_a_writer_that_has_this_version_is_refused(tags: str) -> None:
    with pytest.raises(PreconditionFailed):
        is_current({"HTTP_IF_NONE_MATCH": tags}, STATUS, reading=False)


@pytest.mark.parametrize("tags", ["*", '"v1"'])
def test_nothing_matches_a_file_that_is_not_there(tags: str) -> None:
    with pytest.raises(PreconditionFailed):
        is_current({"HTTP_IF_MATCH": tags}, None, reading=False)


@pytest.mark.parametrize(
    "env",
    [
        {"HTTP_IF_NONE_MATCH": "*"},
        {"HTTP_IF_UNMODIFIED_SINCE": EARLIER},
        {"HTTP_IF_MODIFIED_SINCE": LATER},
    ],
)
def test_a_file_that_is_not_there_meets_the_other_conditions(
    env: dict[str, str],
) -> None:
    assert not is_current(env, None, reading=False)


def test_modified_since_is_for_readers_only() -> None:
    assert not is_current({"HTTP_IF_MODIFIED_SINCE": LATER}, STATUS, reading=False)


@pytest.mark.parametrize("name", ["HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"])
@pytest.mark.parametrize("tags", ["", "v1", '"v1', '"v 1"', '"v1" "v2"', '*,"v1"'])
@pytest.mark.parametrize("status", [STATUS, None], ids=["there", "absent"])
def test_tags_that_are_none_are_refused(
    name: str, tags: str, status: FileStatus | None
) -> None:
    with pytest.raises(BadRequest):
        is_current({name: tags}, status, reading=True)


# --- ranges ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 4)),
        ("bytes=2-", (2, 8)),
        ("bytes=2-99", (2, 8)),
        ("bytes=9-9", (9, 1)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("Bytes=2-5", (2, 4)),
        ("bytes= 2-5 ,", (2, 4)),
    ],
)
def test_one_range_is_served(field: str, wanted: tuple[int, int]) -> None:
    assert wanted == find_range({"HTTP_RANGE": field}, STATUS)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes 0-1",
        "bytes=\u0661-",
        "bytes=" + "1" * 10_000 + "-",
    ],
)
def test_a_range_that_is_malformed_or_many_is_passed_over(field: str) -> None:
    assert find_range({"HTTP_RANGE": field}, STATUS) is None


@pytest.mark.parametrize("field", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_without_a_byte_of_the_file_is_refused(field: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        find_range({"HTTP_RANGE": field}, STATUS)


def test_the_end_of_an_empty_file_is_the_file() -> None:
    empty = attrs.evolve(STATUS, size=0)

    assert find_range({"HTTP_RANGE": "bytes=-5"}, empty) is None


def test_the_start_of_an_empty_file_is_not_there() -> None:
    with pytest.raises(RangeUnsatisfiable):
        find_range({"HTTP_RANGE": "bytes=0-"}, attrs.evolve(STATUS, size=0))


@given(st.integers(0, 12), st.integers(0, 12))
def test_a_range_is_what_a_slice_is(first: int, last: int) -> None:
    data = bytes(range(10))
    try:
        found = find_range({"HTTP_RANGE": f"bytes={first}-{last}"}, STATUS)
    except RangeUnsatisfiable:
        found = (10, 0)

    begin, count = found or (0, 10)
    wanted = data[first : last + 1] if first <= last else data
    assert wanted == data[begin : begin + count]


@pytest.mark.parametrize(
    ("field", "served"),
    [
        ('"v1"', True),
        ('"v0"', False),
        ('W/"v1"', False),
        # A date is a weak validator here: two versions may share it.
        (DATE, False),
        ("", False),
    ],
)
def test_if_range_compares_strongly(field: str, *, served: bool) -> None:
    env = {"HTTP_RANGE": "bytes=2-5", "HTTP_IF_RANGE": field}

    assert ((2, 4) if served else None) == find_range(env, STATUS)
