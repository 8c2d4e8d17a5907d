"""Questions about ten thousand files."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from pacifica_archive_core import (
    FileDamaged,
    FileOffline,
    FileStatus,
    InvalidFileId,
    NoSuchFile,
)
from pacifica_archive_core.testing.base import refusal, store
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from cutting import Proxy
    from remote_kit import Served
    from remote_store import Store

    from pacifica_archive_core import Archive

#: What a server takes at once, and what its client asks for at once.
MOST, BATCH = 10_000, 1000


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1, MOST])
def test_many_are_asked_for_in_batches(
    remote: Archive, proxy: Proxy, count: int
) -> None:
    answers = list(remote.status_many(range(10**9, 10**9 + count)))

    assert (count, math.ceil(count / BATCH)) == (len(answers), proxy.count("POST"))


def test_ten_thousand_answers_are_in_order(direct: Archive, file_id: int) -> None:
    """Those that are there, those that are not, and each as often as it was asked."""
    there = [file_id * 1000 + n for n in range(3)]
    for one in there:
        store(direct, one, b"bytes")
    ids = [n if n % 7 else there[n % 3] for n in range(10**9, 10**9 + MOST)]
    answers = list(direct.status_many(ids))
    kinds = {
        one: {type(answer) for asked, answer in answers if (asked in there) == one}
        for one in (True, False)
    }

    assert (ids, {True: {FileStatus}, False: {NoSuchFile}}) == (
        [asked for asked, _ in answers],
        kinds,
    )


def test_each_answer_is_about_the_id_asked_for(direct: Archive) -> None:
    ids = [5, 10**9, 5, 10**9 + 1]
    answers = [answer for _, answer in direct.status_many(ids)]

    assert ids == [getattr(answer, "file_id", None) for answer in answers]


def test_what_is_no_id_is_answered_in_its_place(direct: Archive) -> None:
    ids = [10**9, -1, 2**63, 10**9 + 1]
    answers = list(direct.status_many(ids))

    assert [
        (ids[0], NoSuchFile),
        (ids[1], InvalidFileId),
        (ids[2], InvalidFileId),
        (ids[3], NoSuchFile),
    ] == [(asked, type(answer)) for asked, answer in answers]


def test_answers_come_before_all_was_asked(remote: Archive, proxy: Proxy) -> None:
    """Of ids that never end, too."""
    answers = remote.status_many(iter(lambda: 10**9, None))
    first = [next(answers)[0] for _ in range(3)]

    assert ([10**9] * 3, 1) == (first, proxy.count("POST"))


def test_the_server_refuses_more_than_it_takes(served: Served) -> None:
    body = b"1\n" * (MOST + 1)
    with pytest.raises(HTTPError) as found:
        urlopen(Request(f"{served.url}/files/status", data=body, method="POST"))  # noqa: S310 (our own server)
    with found.value as answer:
        problem = json.load(answer)

    assert (413, True) == (found.value.code, str(MOST) in problem["detail"])


def test_files_on_tape_are_staged_in_one_request(memory_store: Store) -> None:
    memory_store.reset()
    for one in range(4):
        memory_store.write(one, b"bytes")
        if one % 2:
            memory_store.purge(one)
    with HttpArchive(HttpOptions(prefix=memory_store.url())) as remote:
        answers = [answer for _, answer in remote.stage_many([3, 0, 1, 3])]
        error = refusal(remote.open, 3)

    assert ([False, True, False, False], FileOffline) == (answers, type(error))


def test_a_damaged_file_is_one_answer_of_many(direct: Archive, served: Served) -> None:
    """A directory in the place of a file."""
    ids = [10**9, 10**9 + 1]
    (served.prefix / str(ids[0])).mkdir()
    try:
        answers = [type(answer) for _, answer in direct.status_many(ids)]
    finally:
        (served.prefix / str(ids[0])).rmdir()

    assert [FileDamaged, NoSuchFile] == answers
