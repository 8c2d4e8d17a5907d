"""What is asked again, what never is, and for how long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cutting import PATIENCE_S, Deed, Fault, Way

from pacifica_archive_core import (
    ArchiveUnavailable,
    CommitUnclear,
    NoSuchFile,
)
from pacifica_archive_core.testing.base import content, refusal, store
from pacifica_archive_http.client import HttpArchive, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutting import Proxy
    from remote_kit import Served

    from pacifica_archive_core import Archive

DATA = content("data", 5000)

BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n"
    b"Content-Length: 6\r\nConnection: close\r\n\r\n<html>"
)
GARBAGE = b"\x16\x03\x01 this is not HTTP at all\r\n\r\n"


def faults() -> dict[str, Fault]:
    """Return new ones: each is done once."""
    return {
        "cut before": Fault(deed=Deed.CUT, way=Way.UP, at=-1),
        "cut after": Fault(deed=Deed.CUT, way=Way.DOWN, at=-1),
        "cut within": Fault(deed=Deed.CUT, way=Way.DOWN, at=1),
        "reset": Fault(deed=Deed.RESET, way=Way.DOWN, at=-1),
        "bad gateway": Fault(deed=Deed.REPLY, reply=BAD_GATEWAY),
        "garbage": Fault(deed=Deed.REPLY, reply=GARBAGE),
    }


def first_bytes(archive: Archive, file_id: int) -> bytes:
    with archive.open(file_id) as reader:
        return reader.read(10)


#: What may be asked twice, with the answer that is right.
QUESTIONS: dict[str, tuple[Callable[[Any, int], object], object]] = {
    "open": (first_bytes, DATA[:10]),
    "status": (lambda archive, file_id: archive.status(file_id).size, len(DATA)),
    "status_many": (
        lambda archive, file_id: [a.size for _, a in archive.status_many([file_id])],
        [len(DATA)],
    ),
    "stage": (lambda archive, file_id: archive.stage(file_id), True),
    "stage_many": (
        lambda archive, file_id: [a for _, a in archive.stage_many([file_id])],
        [True],
    ),
    "digests": (lambda archive, file_id: [*archive.digests(file_id)], ["sha-256"]),
}


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        (question, fault)
        for question in QUESTIONS
        for fault in faults()
        # The answer to a HEAD has no body that could be cut.
        if fault != "cut within" or question not in {"digests", "status"}
    ],
)
def test_what_may_be_asked_twice_is_asked_again(
    *,
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    file_id: int,
    fault: str,
    question: str,
) -> None:
    store(direct, file_id, DATA)
    ask, right = QUESTIONS[question]
    done = proxy.add(faults()[fault])
    found = ask(remote, file_id)

    assert (True, right, 2) == (done.came.wait(PATIENCE_S), found, len(proxy.requests))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_refused_connection_is_tried_again(
    *,
    direct: Archive,
    proxy: Proxy,
    file_id: int,
    question: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(direct, file_id, DATA)
    listen_after_refusal(proxy, monkeypatch)
    ask, right = QUESTIONS[question]
    with HttpArchive(HttpOptions(prefix=proxy.url)) as remote:
        found = ask(remote, file_id)

    assert (right, 1) == (found, len(proxy.requests))


@pytest.mark.parametrize("size", [5000, 2 << 20], ids=["short", "long"])
def test_an_upload_whose_connection_is_refused_is_tried_again(
    *,
    direct: Archive,
    proxy: Proxy,
    file_id: int,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was sent yet."""
    listen_after_refusal(proxy, monkeypatch)
    with HttpArchive(HttpOptions(prefix=proxy.url)) as remote:
        store(remote, file_id, bytes(size))

    assert (size, 1) == (direct.status(file_id).size, proxy.count("PUT"))


def listen_after_refusal(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the proxy refuse one connection."""
    import urllib3.util.connection as theirs  # noqa: PLC0415 (what is replaced)

    honest = theirs.create_connection
    proxy.refuse()

    def connect(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401 (theirs)
        try:
            return honest(*args, **kwargs)
        except ConnectionRefusedError:
            proxy.listen()
            raise

    monkeypatch.setattr(theirs, "create_connection", connect)


# --- what changes a file


def put(archive: Any, file_id: int, _path: Path) -> None:  # noqa: ANN401 (see below)
    store(archive, file_id, DATA)


def delete(archive: Any, file_id: int, _path: Path) -> None:  # noqa: ANN401 (see below)
    archive.delete(file_id)


def adopt(archive: Any, file_id: int, path: Path) -> None:  # noqa: ANN401 (not every archive can)
    archive.adopt(file_id, str(path), overwrite=True)


CHANGES = {"PUT": put, "DELETE": delete, "PATCH": adopt}


@pytest.mark.parametrize("fault", faults())
@pytest.mark.parametrize("method", CHANGES)
def test_what_changes_a_file_is_sent_once(
    *,
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    served: Served,
    file_id: int,
    fault: str,
    method: str,
) -> None:
    """A second DELETE would say that no such file is there, and there was."""
    store(direct, file_id, b"old")
    source = served.inbox / f"source{file_id}"
    source.write_bytes(DATA)
    done = proxy.add(faults()[fault])
    error = refusal(CHANGES[method], remote, file_id, source)

    assert (True, True, 1) == (
        done.came.wait(PATIENCE_S),
        isinstance(error, CommitUnclear | ArchiveUnavailable),
        proxy.count(method),
    )


@pytest.mark.parametrize("fault", ["cut after", "cut within", "reset", "bad gateway"])
@pytest.mark.parametrize("method", CHANGES)
def test_a_change_whose_answer_is_lost_is_unclear(
    *,
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    served: Served,
    file_id: int,
    fault: str,
    method: str,
) -> None:
    store(direct, file_id, b"old")
    source = served.inbox / f"source{file_id}"
    source.write_bytes(DATA)
    proxy.add(faults()[fault])
    error = refusal(CHANGES[method], remote, file_id, source)

    assert CommitUnclear is type(error)


# --- how long


def test_a_stalled_server_is_unavailable_in_time(proxy: Proxy, file_id: int) -> None:
    options = HttpOptions(prefix=proxy.url, timeout_s=0.2, retry_for_s=0.5)
    stall = proxy.add(Fault(deed=Deed.STALL, way=Way.DOWN, at=-1, times=None))
    begin = time.monotonic()
    with HttpArchive(options) as remote:
        error = refusal(remote.status, file_id)

    assert (True, ArchiveUnavailable, True) == (
        stall.came.wait(PATIENCE_S),
        type(error),
        time.monotonic() - begin < PATIENCE_S / 2,
    )


@pytest.mark.parametrize("size", [5000, 2 << 20], ids=["short", "long"])
def test_an_upload_to_a_stalled_server_is_unclear_in_time(
    proxy: Proxy, file_id: int, size: int
) -> None:
    options = HttpOptions(prefix=proxy.url, commit_timeout_s=0.2)
    proxy.add(Fault(deed=Deed.STALL, way=Way.DOWN, at=-1, method="PUT"))
    begin = time.monotonic()
    with HttpArchive(options) as remote:
        error = refusal(store, remote, file_id, bytes(size))

    assert (CommitUnclear, True) == (
        type(error),
        time.monotonic() - begin < PATIENCE_S / 2,
    )


def test_a_reader_of_a_stalled_server_goes_on(
    direct: Archive, proxy: Proxy, file_id: int
) -> None:
    """On another connection, when this one was silent for too long."""
    data = content("long", 3 << 20)
    store(direct, file_id, data)
    options = HttpOptions(prefix=proxy.url, timeout_s=0.3)
    stall = proxy.add(Fault(deed=Deed.STALL, way=Way.DOWN, offset=2 << 20))
    with HttpArchive(options) as remote, remote.open(file_id) as reader:
        found = reader.readall()

    assert (True, True) == (stall.came.wait(PATIENCE_S), found == data)


@pytest.mark.parametrize("reply", [GARBAGE, BAD_GATEWAY], ids=["garbage", "502"])
def test_what_is_no_archive_is_unavailable(
    proxy: Proxy, file_id: int, reply: bytes
) -> None:
    options = HttpOptions(prefix=proxy.url, retry_for_s=0.2)
    proxy.add(Fault(deed=Deed.REPLY, reply=reply, times=None))
    with HttpArchive(options) as remote:
        found = [
            type(refusal(call, file_id))
            for call in (remote.open, remote.status, remote.stage, remote.digests)
        ]

    assert [ArchiveUnavailable] * 4 == found


def test_a_web_page_is_no_file_of_an_archive(proxy: Proxy, file_id: int) -> None:
    """200 says nothing, if something else answers."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    options = HttpOptions(prefix=proxy.url, retry_for_s=0.2)
    proxy.add(Fault(deed=Deed.REPLY, reply=page, times=None))
    with HttpArchive(options) as remote:
        found = [
            isinstance(refusal(call, file_id), ArchiveUnavailable)
            for call in (remote.open, remote.status)
        ]

    assert [True, True] == found


def test_closing_the_archive_ends_a_retry_that_waits(
    proxy: Proxy, file_id: int
) -> None:
    asked = threading.Event()
    proxy.add(Fault(deed=Deed.CUT, way=Way.UP, at=-1, times=None, then=asked.set))
    remote = HttpArchive(HttpOptions(prefix=proxy.url, retry_for_s=10**6))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(refusal, remote.status, file_id)
        assert asked.wait(PATIENCE_S)
        remote.close()
        error = answer.result(PATIENCE_S)

    assert ValueError is type(error)


def test_a_missing_file_is_asked_for_once(
    remote: Archive, proxy: Proxy, file_id: int
) -> None:
    """A refusal is an answer."""
    found = [
        type(refusal(call, file_id))
        for call in (remote.open, remote.status, remote.stage, remote.digests)
    ]

    assert ([NoSuchFile] * 4, 4) == (found, len(proxy.requests))
