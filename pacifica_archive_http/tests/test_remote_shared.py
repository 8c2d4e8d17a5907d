"""One remote archive, many threads; its connections, and a server that restarts."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from asking import needs_posix, wait_until

from pacifica_archive_core import NoSuchFile
from pacifica_archive_core.testing.base import content, fetch, refusal, store
from pacifica_archive_core.testing.closing import descriptors
from pacifica_archive_http.client import HttpArchive, HttpOptions
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from cutting import Proxy
    from remote_kit import Served

    from pacifica_archive_core import Archive

THREADS = 32
STEPS = 25
MIB = 1 << 20


def is_right(archive: Archive, file_id: int, there: bytes, first: int) -> bool:
    """Look at a file and read it, from a byte on too."""
    with archive.open(file_id) as reader:
        whole = reader.readall()
        reader.seek(first)
        part = reader.read(1000)
    size = archive.status(file_id).size
    return (whole, part, size) == (there, there[first : first + 1000], len(there))


def work(archive: Archive, thread: int, first_id: int) -> list[str]:
    """Store, read, look at and delete this thread's own files; return faults."""
    chance = random.Random(thread)
    files: dict[int, bytes] = {}
    faults = []
    for step in range(STEPS):
        file_id = first_id + thread * 10 + chance.randrange(5)
        act = chance.choice(["put", "put", "get", "get", "delete"])
        there = files.get(file_id)
        if act == "put":
            size = chance.choice([0, 100, 5000, 70_000, 300_000])
            files[file_id] = content((thread, step), size)
            store(archive, file_id, files[file_id])
        elif there is None:
            if not isinstance(refusal(archive.open, file_id), NoSuchFile):
                faults.append(f"{file_id} is there")
        elif act == "get":
            if not is_right(archive, file_id, there, chance.randrange(len(there) + 1)):
                faults.append(f"{file_id} is another")
        else:
            archive.delete(file_id)
            del files[file_id]
    faults += [f"{i} at the end" for i in files if fetch(archive, i) != files[i]]
    return faults


def all_at_once(archive: Archive, first_id: int) -> list[str]:
    start = threading.Barrier(THREADS, timeout=60)

    def begin(thread: int) -> list[str]:
        start.wait()
        return work(archive, thread, first_id)

    with ThreadPoolExecutor(THREADS) as pool:
        return [fault for each in pool.map(begin, range(THREADS)) for fault in each]


def test_thirty_two_threads_share_one_archive(remote: Archive, file_id: int) -> None:
    assert [] == all_at_once(remote, file_id * 1000)


def test_threads_share_connections(proxy: Proxy, file_id: int) -> None:
    """Instead of making one for each of a thousand requests."""
    limit = 8
    with HttpArchive(HttpOptions(prefix=proxy.url, max_connections=limit)) as remote:
        all_at_once(remote, file_id * 1000)

    # A reader that is closed in the midst of a window breaks its connection.
    parts = sum("if-range" in request.fields for request in proxy.requests)

    assert (True, True) == (
        len(proxy.requests) > THREADS * STEPS,
        proxy.accepted <= limit + parts,
    )


def test_no_more_connections_are_open_than_allowed(proxy: Proxy, file_id: int) -> None:
    limit = 4
    most = []
    with HttpArchive(HttpOptions(prefix=proxy.url, max_connections=limit)) as remote:
        store(remote, file_id, content("data", 5000))
        start = threading.Barrier(THREADS, timeout=60)

        def ask(_: int) -> None:
            start.wait()
            remote.status(file_id)
            most.append(proxy.open_now)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(ask, range(THREADS)))

    assert max(most) <= limit


def test_one_thread_uses_one_connection(
    remote: Archive, proxy: Proxy, file_id: int
) -> None:
    for _ in range(20):
        store(remote, file_id, content("data", 50_000))
        fetch(remote, file_id)
        remote.status(file_id)
        list(remote.status_many([file_id, 1]))
        remote.digests(file_id)
        remote.stage(file_id)
        refusal(store, remote, file_id, b"")
        refusal(lambda: store(remote, file_id, b"", overwrite=False))
        remote.delete(file_id)
        refusal(remote.open, file_id)

    assert 1 == proxy.accepted


def test_no_descriptor_is_left_by_threads(served: Served, file_id: int) -> None:
    def use() -> None:
        with HttpArchive(HttpOptions(prefix=served.url)) as remote:
            all_at_once(remote, file_id * 1000)
            remote.create(file_id, size=2 * MIB).discard()
            store(remote, file_id, bytes(3 * MIB))
            with remote.open(file_id) as reader:
                reader.read(2 * MIB)
            remote.delete(file_id)

    use()
    before = descriptors()
    use()

    assert before == descriptors()


# --- a server that restarts


@needs_posix
@pytest.mark.parametrize("first", ["store", "read", "delete", "status", "long"])
def test_a_server_that_restarted_is_no_matter(tmp_path: Path, first: str) -> None:
    """Connections that were idle meanwhile are dead, and no request is lost to one."""
    prefix = tmp_path / "archive"
    prefix.mkdir()
    options = ("-t", "posix", "--prefix", str(prefix), "-o", "durable=false")
    with running_server(*options) as server:
        port = str(server.address[1])
        remote = HttpArchive(HttpOptions(prefix=server.url))
        for file_id in range(4):
            store(remote, file_id, b"old")
        readers = [remote.open(1) for _ in range(3)]
    with remote, running_server(*options, "-p", port):
        if first == "store":
            store(remote, 1, b"new")
        elif first == "long":
            store(remote, 1, bytes(2 * MIB))
        elif first == "delete":
            remote.delete(2)
        elif first == "status":
            remote.status(1)
        found = fetch(remote, 3)
        for reader in readers:
            reader.close()

    assert b"old" == found


def test_an_idle_connection_that_was_cut_is_not_used(
    remote: Archive, proxy: Proxy, file_id: int
) -> None:
    """Not for what is sent only once either."""
    store(remote, file_id, b"old")
    proxy.refuse()
    wait_until(lambda: not proxy.open_now, "a connection is left")
    proxy.listen()
    store(remote, file_id, b"new")

    assert (b"new", 2) == (fetch(remote, file_id), proxy.count("PUT"))
