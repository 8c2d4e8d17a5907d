"""Connections cut at every tenth of a transfer, both ways."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from asking import wait_until
from cutting import PATIENCE_S, Deed, Fault, Proxy, Way
from remote_child import store_in_part

from pacifica_archive_core import (
    ArchiveUnavailable,
    CommitUnclear,
    FileDamaged,
    FileExists,
    NoSuchFile,
)
from pacifica_archive_core.testing.base import (
    content,
    fetch,
    forget,
    refusal,
    store,
)
from pacifica_archive_core.testing.child import in_forked_child, started
from pacifica_archive_http.client import HttpArchive, HttpOptions
from pacifica_archive_http.digests import MAX_KEPT, MAX_KEPT_SIZE
from pacifica_archive_http.testing import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remote_kit import Served

    from pacifica_archive_core import Archive, ArchiveReader

KIB, MIB = 1 << 10, 1 << 20
#: More than the windows of 64 KiB, 1 MiB and 16 MiB: there is one to the end.
OLD = content("old", 20 * MIB)
NEW = OLD[::-1]
#: The borders of these windows.
BORDERS = (64 * KIB, 64 * KIB + MIB, 64 * KIB + 17 * MIB)
#: Of an upload: no kernel holds so much between a client and a server.
BIG = content("big", 24 * MIB)
#: Bytes of digests behind it.
TAIL = MAX_KEPT * 3 * MAX_KEPT_SIZE


@pytest.fixture(autouse=True)
def _clean(served: Served) -> Iterator[None]:
    """Whatever was cut, the server is left with nothing unfinished."""
    yield
    wait_until(lambda: not served.unfinished(), "something is left in .incoming")


def is_same(one: bytes, other: bytes) -> bool:
    """Compare; pytest would write out how megabytes differ."""
    return hashlib.sha256(one).digest() == hashlib.sha256(other).digest()


# --- down: readers


def blocks_of(reader: ArchiveReader, size: int = 256 * KIB) -> Iterator[bytes]:
    return iter(lambda: reader.read(size), b"")


def read_while(reader: ArchiveReader, found: bytearray, size: int) -> None:
    """Gather what is read, also where that ends in an error."""
    for block in blocks_of(reader, size):
        found += block


@pytest.mark.parametrize("tenth", range(11))
def test_a_reader_goes_on_exactly_where_it_was_cut(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int, tenth: int
) -> None:
    store(direct, file_id, OLD)
    cut = len(OLD) * tenth // 10
    fault = proxy.add(Fault(deed=Deed.CUT, way=Way.DOWN, offset=cut))
    with remote.open(file_id) as reader:
        found = b"".join(blocks_of(reader))
    resumed = {cut} if 0 < tenth < 10 else set()

    assert (True, True, True, len(OLD)) == (
        fault.came.wait(PATIENCE_S),
        is_same(OLD, found),
        resumed <= set(proxy.starts()),
        proxy.passed,
    )


@pytest.mark.parametrize("tenth", range(11))
def test_a_reader_goes_on_when_its_connection_was_broken_off(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int, tenth: int
) -> None:
    store(direct, file_id, OLD)
    cut = len(OLD) * tenth // 10
    fault = proxy.add(Fault(deed=Deed.RESET, way=Way.DOWN, offset=cut))
    with remote.open(file_id) as reader:
        found = b"".join(blocks_of(reader))

    assert (True, True) == (fault.came.wait(PATIENCE_S), is_same(OLD, found))


@pytest.mark.parametrize("border", BORDERS)
def test_a_reader_goes_on_when_a_window_does_not_begin(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int, border: int
) -> None:
    store(direct, file_id, OLD)
    with remote.open(file_id) as reader:
        first = b"".join(next(blocks_of(reader, 64 * KIB)) for _ in range(1))
        while len(first) < border:
            first += reader.read(min(256 * KIB, border - len(first)))
        fault = proxy.add(Fault(deed=Deed.CUT, way=Way.DOWN, at=-1, method="GET"))
        rest = reader.readall()

    assert (True, True) == (fault.came.wait(PATIENCE_S), is_same(OLD, first + rest))


def test_a_reader_that_is_cut_every_mebibyte_reads_the_file(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    store(direct, file_id, OLD)
    fault = Fault(deed=Deed.CUT, way=Way.DOWN, at=MIB, method="GET", times=None)
    proxy.add(fault)
    found = fetch(remote, file_id)

    assert (True, True, len(OLD)) == (
        fault.came.wait(PATIENCE_S),
        is_same(OLD, found),
        proxy.passed,
    )


def test_a_reader_seeks_and_reads_through_cuts(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    store(direct, file_id, OLD)
    offsets = [19 * MIB, 5, 3 * MIB, 64 * KIB - 1, len(OLD) - 3, MIB]
    found = []
    with remote.open(file_id) as reader:
        for offset in offsets:
            proxy.add(Fault(deed=Deed.CUT, way=Way.DOWN, at=1, method="GET"))
            reader.seek(offset)
            found.append(reader.read(5000))

    assert [OLD[offset : offset + 5000] for offset in offsets] == found


def test_a_server_that_stays_away_ends_the_reading(
    direct: Archive, proxy: Proxy, file_id: int
) -> None:
    """With the bytes that came before exact."""
    store(direct, file_id, OLD)
    options = HttpOptions(prefix=proxy.url, retry_for_s=0.3)
    found = bytearray()
    with HttpArchive(options) as remote, remote.open(file_id) as reader:
        proxy.add(Fault(deed=Deed.CUT, way=Way.DOWN, offset=5 * MIB, then=proxy.refuse))
        with pytest.raises(ArchiveUnavailable):
            read_while(reader, found, 256 * KIB)

    assert (True, True) == (len(found) > 4 * MIB, OLD.startswith(found))


# --- down: another version comes between


@pytest.mark.parametrize("deed", [Deed.CUT, Deed.RESET])
@pytest.mark.parametrize(
    "offset",
    [*BORDERS, *(b + 1 for b in BORDERS), *(b - 1 for b in BORDERS[1:])],
)
def test_a_file_replaced_when_a_connection_drops_is_never_mixed(
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    file_id: int,
    offset: int,
    deed: Deed,
) -> None:
    """Of the same size, so that only its version tells."""
    store(direct, file_id, OLD)
    fault = proxy.add(
        Fault(
            deed=deed,
            way=Way.DOWN,
            offset=offset,
            then=lambda: store(direct, file_id, NEW),
        )
    )
    found = bytearray()
    with remote.open(file_id) as reader:
        error = refusal(read_while, reader, found, 100_000)
    # Who has a whole window may have begun the next one before the replacement.
    allowed = {FileDamaged} | ({type(None)} if offset in BORDERS else set())

    assert (True, True, True) == (
        fault.came.wait(PATIENCE_S),
        type(error) in allowed,
        OLD.startswith(found) if error else is_same(OLD, bytes(found)),
    )


def test_a_file_replaced_while_it_is_opened_is_the_new_one(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    """From its first byte: nobody has seen one of the old."""
    store(direct, file_id, OLD)
    fault = proxy.add(
        Fault(
            deed=Deed.CUT,
            way=Way.DOWN,
            at=1000,
            method="GET",
            then=lambda: store(direct, file_id, NEW),
        )
    )
    found = fetch(remote, file_id)

    assert (True, True) == (fault.came.wait(PATIENCE_S), is_same(NEW, found))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_file_changed_at_a_window_s_border_is_never_mixed(
    direct: Archive, remote: Archive, file_id: int, border: int, change: str
) -> None:
    store(direct, file_id, OLD)
    found = bytearray()
    with remote.open(file_id) as reader:
        while len(found) < border:
            found += reader.read(min(100_000, border - len(found)))
        if change == "replaced":
            store(direct, file_id, NEW)
        else:
            direct.delete(file_id)
        with pytest.raises(FileDamaged, match=f"was {change}"):
            read_while(reader, found, 100_000)

    assert OLD[:border] == found


# --- up: writers


def whole_at_once(archive: Archive, file_id: int, data: bytes) -> None:
    store(archive, file_id, data)


def of_unknown_size(archive: Archive, file_id: int, data: bytes) -> None:
    with archive.create(file_id, overwrite=True) as writer:
        for start in range(0, len(data), MIB):
            writer.write(data[start : start + MIB])


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("send", [whole_at_once, of_unknown_size])
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replacing"])
def test_an_upload_that_is_cut_stores_nothing(
    *,
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    file_id: int,
    send: Callable[[Archive, int, bytes], None],
    tenth: int,
    old: bytes | None,
) -> None:
    """CommitUnclear only where the client cannot know that bytes are missing."""
    if old is not None:
        store(direct, file_id, old)
    cut = (len(BIG) + TAIL) * tenth // 10
    fault = proxy.add(Fault(deed=Deed.CUT, way=Way.UP, at=cut, method="PUT"))
    error = type(refusal(send, remote, file_id, BIG))
    missing = refusal(direct.status, file_id) is not None
    # The kernels between hold some MiB, which were sent as far as a client knows.
    allowed = {ArchiveUnavailable} | ({CommitUnclear} if tenth > 4 else set())

    assert (True, True, 1, None if old is None else old) == (
        fault.came.wait(PATIENCE_S),
        error in allowed,
        proxy.count("PUT"),
        None if missing else fetch(direct, file_id),
    )


@pytest.mark.parametrize("deed", [Deed.CUT, Deed.RESET])
@pytest.mark.parametrize("size", [0, 5000, len(BIG)], ids=["empty", "short", "long"])
@pytest.mark.parametrize(
    ("way", "at"),
    [(Way.UP, "end"), (Way.DOWN, "head"), (Way.DOWN, "body")],
    ids=["last byte", "no answer", "half an answer"],
)
def test_an_upload_whose_answer_is_lost_is_unclear(
    *,
    direct: Archive,
    remote: Archive,
    proxy: Proxy,
    file_id: int,
    deed: Deed,
    size: int,
    way: Way,
    at: str,
) -> None:
    """And the store has the old version, or the whole new one."""
    data = BIG[:size]
    store(direct, file_id, b"old")
    # The digests of a short file are as long as they are: 10 + 44 bytes.
    tail = TAIL if size > MIB else len("sha-256=::") + 44
    place = {"end": size + tail, "head": -1, "body": 10}[at]
    fault = proxy.add(Fault(deed=deed, way=way, at=place, method="PUT"))
    error = type(refusal(store, remote, file_id, data))
    stored = fetch(direct, file_id)

    assert (True, CommitUnclear, 1, True) == (
        fault.came.wait(PATIENCE_S),
        error,
        proxy.count("PUT"),
        stored == data if way is Way.DOWN else stored in (data, b"old"),
    )


def test_an_upload_whose_head_is_cut_stores_nothing(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    store(direct, file_id, b"old")
    fault = proxy.add(Fault(deed=Deed.CUT, way=Way.UP, at=-1, method="PUT"))
    error = refusal(store, remote, file_id, BIG)

    assert (True, ArchiveUnavailable, 1, b"old") == (
        fault.came.wait(PATIENCE_S),
        type(error),
        proxy.count("PUT"),
        fetch(direct, file_id),
    )


def test_a_cut_upload_may_be_repeated_by_its_caller(
    direct: Archive, remote: Archive, proxy: Proxy, file_id: int
) -> None:
    proxy.add(Fault(deed=Deed.CUT, way=Way.UP, at=5 * MIB, method="PUT"))
    refusal(store, remote, file_id, BIG)
    store(remote, file_id, BIG)

    assert is_same(BIG, fetch(direct, file_id))


@pytest.mark.parametrize("part", [len(BIG) // 2, len(BIG)], ids=["half", "all"])
def test_an_upload_that_is_discarded_stores_nothing(
    direct: Archive, served: Served, file_id: int, part: int
) -> None:
    """Not even when all bytes of the file were sent."""
    store(direct, file_id, b"old")
    writer = direct.create(file_id, size=len(BIG), overwrite=True)
    writer.write(BIG[:part])
    writer.discard()
    wait_until(lambda: not served.unfinished(), "something is left in .incoming")

    assert b"old" == fetch(direct, file_id)


@pytest.mark.parametrize("size", [2 * MIB, len(BIG)])
def test_who_is_still_sending_hears_a_refusal(
    direct: Archive, file_id: int, size: int
) -> None:
    """Instead of a connection that broke."""
    store(direct, file_id, b"old")
    with pytest.raises(FileExists):
        store(direct, file_id, BIG[:size], overwrite=False)

    assert b"old" == fetch(direct, file_id)


@pytest.mark.parametrize("way", Way)
def test_a_transfer_that_was_cut_holds_no_place(way: Way) -> None:
    """In a server that has one for a single transfer."""
    with (
        running_server("-t", "memory", "--threads", "2") as server,
        Proxy(server.address) as proxy,
        HttpArchive(HttpOptions(prefix=server.url)) as direct,
    ):
        store(direct, 1, OLD)
        for _ in range(3):
            with HttpArchive(HttpOptions(prefix=proxy.url, retry_for_s=0)) as remote:
                method = "GET" if way is Way.DOWN else "PUT"
                proxy.add(Fault(deed=Deed.CUT, way=way, at=100_000, method=method))
                proxy.add(Fault(deed=Deed.CUT, way=way, at=100_000, method=method))
                refusal(fetch, remote, 1) if way is Way.DOWN else refusal(
                    store, remote, 1, BIG
                )
        wait_until(
            lambda: refusal(store, direct, 2, NEW) is None, "no place is free again"
        )
        found = fetch(direct, 1)

    assert is_same(OLD, found)


@pytest.mark.parametrize("end", ["forget", "discard", "exit"])
def test_a_forked_child_harms_no_upload(
    direct: Archive, file_id: int, end: str
) -> None:
    """Its copy of the connection is its parent's."""
    writers = [direct.create(file_id, size=len(BIG))]
    writers[0].write(BIG[: 5 * MIB])

    def finish() -> bool:
        if end == "forget":
            forget(writers)
        elif end == "discard":
            writers[0].discard()
        else:
            direct.close()
        return True

    in_forked_child(finish)
    writers[0].write(BIG[5 * MIB :])
    writers[0].commit()

    assert is_same(BIG, fetch(direct, file_id))


@pytest.mark.parametrize("end", ["forget", "close", "exit"])
def test_a_forked_child_harms_no_download(
    direct: Archive, file_id: int, end: str
) -> None:
    store(direct, file_id, OLD)
    readers = [direct.open(file_id)]
    first = readers[0].read(3 * MIB)

    def finish() -> bool:
        if end == "forget":
            forget(readers)
        elif end == "close":
            readers[0].close()
        else:
            direct.close()
        return True

    in_forked_child(finish)
    with readers[0] as reader:
        rest = reader.readall()

    assert is_same(OLD, first + rest)


def test_a_client_that_is_killed_leaves_nothing(
    direct: Archive, served: Served, file_id: int
) -> None:
    """SIGKILL in the midst of an upload: nothing of it runs any more."""
    with started(store_in_part, served.url, file_id, len(BIG)) as client:
        assert client.stdout is not None
        assert b"sent\n" == client.stdout.readline()
        wait_until(served.unfinished, "nothing has come")
        client.kill()
        client.wait(timeout=60)
    wait_until(lambda: not served.unfinished(), "something is left in .incoming")

    with pytest.raises(NoSuchFile):
        direct.status(file_id)


def test_a_client_that_is_killed_does_not_hold_its_id(
    direct: Archive, served: Served, file_id: int
) -> None:
    with started(store_in_part, served.url, file_id, len(BIG)) as client:
        assert client.stdout is not None
        assert b"sent\n" == client.stdout.readline()
        client.kill()
        client.wait(timeout=60)
    store(direct, file_id, b"new", overwrite=False)

    assert b"new" == fetch(direct, file_id)
