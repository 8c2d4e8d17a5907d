"""How many transfers one client may have at once, counted across processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import itertools
import os
import threading
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_http.access_log import EXCHANGE
from pacifica_archive_http.status_table import ClientBusy, TransfersBusy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pacifica_archive_http.access import Identity
    from pacifica_archive_http.transfer import Slots

__all__ = ["ClientPlaces", "Place", "Transfers"]

#: Bytes that stand for a client; zeros are a free place.
_KEY_SIZE = 16
#: Places of a process: more than it has threads.
_PLACES = 1024
_ROW = _PLACES * _KEY_SIZE
#: Where locks are, far behind the data: the one of counting, and those of the rows.
_COUNTING = 1 << 40
_FREE = bytes(_KEY_SIZE)


class ClientPlaces:
    """
    Places of each client, which processes that are forked from this one share.

    A file in memory has a row for each of them, in which it writes the client of
    every transfer. A process holds a lock on its row as long as it lives, so that
    the row of one that was killed is known and counts no more.

    Args:
        limit: places of a client, in all processes together; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._file = -1 if limit is None else os.memfd_create("pacifica-archive")
        self._lock = threading.Lock()
        self._pid = 0
        self._row = 0
        self._free: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # For a worker that is no fork, while this process lives.
        return (_opened_again, (self._limit, f"/proc/{os.getpid()}/fd/{self._file}"))

    def take(self, client: str) -> int:
        """
        Take a place, to be given back; never wait for one.

        Raises:
            ClientBusy: the client has as many as it may.
            TransfersBusy: this process has none left.
        """
        if self._limit is None:
            return 0
        key = hashlib.blake2b(client.encode(), digest_size=_KEY_SIZE).digest()
        with self._lock, self._counting():
            if self._pid != os.getpid():
                self._join()
            if self._count(key) >= self._limit:
                self._forget_the_dead()
            if self._count(key) >= self._limit:
                raise ClientBusy(
                    f"{self._limit} transfers of yours are running: try again later"
                )
            if not self._free:
                raise TransfersBusy("too many transfers are running: try again later")
            place = self._free.pop()
            os.pwrite(self._file, key, self._row * _ROW + place * _KEY_SIZE)
            return place

    def give_back(self, place: int) -> None:
        """Let another transfer have the place."""
        if self._limit is None:
            return
        with self._lock:
            os.pwrite(self._file, _FREE, self._row * _ROW + place * _KEY_SIZE)
            self._free.append(place)

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        """Keep other processes from counting; the system frees it if this one dies."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _COUNTING)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _COUNTING)

    def _join(self) -> None:
        """Take the first row that no living process has."""
        self._row = next(row for row in itertools.count() if self._try_to_lock(row))
        os.pwrite(self._file, bytes(_ROW), self._row * _ROW)
        self._free = list(range(_PLACES))
        self._pid = os.getpid()

    def _count(self, key: bytes) -> int:
        size = os.fstat(self._file).st_size
        return os.pread(self._file, size, 0).count(key)

    def _forget_the_dead(self) -> None:
        for row in range(os.fstat(self._file).st_size // _ROW):
            if row != self._row and self._try_to_lock(row):
                os.pwrite(self._file, bytes(_ROW), row * _ROW)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _COUNTING + 1 + row)

    def _try_to_lock(self, row: int) -> bool:
        try:
            fcntl.lockf(
                self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _COUNTING + 1 + row
            )
        except BlockingIOError:
            return False
        return True


def _opened_again(limit: int | None, path: str) -> ClientPlaces:
    places = ClientPlaces(None)
    if limit is not None:
        places._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # noqa: SLF001 (made here)
        places._limit = limit  # noqa: SLF001 (made here)
    return places


@attrs.frozen(kw_only=True)
class Transfers:
    """
    What limits transfers.

    Attributes:
        slots: of this process.
        clients: of each client.
    """

    slots: Slots
    clients: ClientPlaces

    def place(self, env: Mapping[str, Any]) -> Place:
        """Return the place of one request, still to be taken."""
        return Place(self, _client(env[EXCHANGE].who, env.get("REMOTE_ADDR") or ""))


class Place:
    """
    A place for one transfer, of the process and of the client.

    A with-block holds it.
    """

    def __init__(self, transfers: Transfers, client: str) -> None:
        self._transfers = transfers
        self._client = client
        self._place = 0

    def take(self) -> None:
        """
        Take it, to be given back; never wait for one.

        Raises:
            TransfersBusy: the process has none.
            ClientBusy: the client has as many as it may.
        """
        self._transfers.slots.take()
        try:
            self._place = self._transfers.clients.take(self._client)
        except BaseException:
            self._transfers.slots.give_back()
            raise

    def give_back(self) -> None:
        """Let another transfer have it."""
        try:
            self._transfers.clients.give_back(self._place)
        finally:
            self._transfers.slots.give_back()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_exc: object) -> None:
        self.give_back()


def _client(who: Identity | None, address: str) -> str:
    """Return whose a transfer is: of a token, else of an address."""
    if who is not None:
        # No name has a line's end.
        return f"{who.kind} {who.issuer}\n{who.name}"
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        # A socket of the file system, or what a proxy says.
        return f"address {address}"
    if ip.version == 4:  # noqa: PLR2004 (IPv4)
        return f"address {ip}"
    # Of IPv6 a host has as many addresses as it likes, in a network of its own.
    return f"address {ip.ipv4_mapped or ip.packed[:8].hex()}"
