"""
A proxy that breaks connections where a test wants it, and counts.

It understands as much of HTTP/1.1 as it takes to tell requests apart: heads,
and bodies with a Content-Length.
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

#: No thread waits longer for anything.
PATIENCE_S = 60
_RANGE = re.compile("bytes=([0-9]+)-([0-9]+)")
#: With SO_LINGER, a close sends RST at once.
_AT_ONCE = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """Where bytes go."""

    UP = "to the server"
    DOWN = "to the client"


class Deed(enum.Enum):
    """What is done where a fault is."""

    CUT = "close both connections"
    RESET = "break both connections off"
    STALL = "pass nothing more until `release` or the end"
    FLIP = "invert one bit of the byte there, and go on"
    REPLY = "take in the whole request, pass none of it on, and answer `reply`"
    NOTHING = "only call `then`, and go on"


@attrs.define(kw_only=True, eq=False)
class Fault:
    """
    What is done to a request.

    Attributes:
        deed: see there.
        way: which of its two messages has it; REPLY has none.
        at: bytes of the body that pass before; -1: not even the head does.
        offset: instead of ``at``, a byte of the file: only for a request whose
            Range has it, or ends before it, and counted in the file.
        method: of the requests that it is for; None for all.
        times: how many of them; None for all from now on.
        then: called when it has come so far, by the proxy's thread, before the
            deed.
        reply: for REPLY.
        came: set when it was done.
    """

    deed: Deed
    way: Way = Way.UP
    at: int = -1
    offset: int | None = None
    method: str | None = None
    times: int | None = 1
    then: Callable[[], object] = attrs.field(default=lambda: None)
    reply: bytes = b""
    came: threading.Event = attrs.field(factory=threading.Event)


@attrs.frozen(kw_only=True)
class Request:
    """The head of a request; the names of its fields are in lower case."""

    method: str
    target: str
    fields: Mapping[str, str]


class Proxy:
    """
    Stands before a server on a port of its own; used in a with-block.

    Attributes:
        requests: all that came, in their order of arrival.
        accepted: connections that came.
        passed: bytes of answers' bodies that went to clients.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.requests: list[Request] = []
        self.accepted = 0
        self.passed = 0
        self.released = threading.Event()
        self.lock = threading.Lock()
        self._faults: list[Fault] = []
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.address = ("127.0.0.1", 0)
        self.listen()

    @property
    def url(self) -> str:
        """The address that clients are given."""
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def open_now(self) -> int:
        """Connections that have not ended."""
        with self.lock:
            return len(self._links)

    def count(self, method: str) -> int:
        """Return how many requests with this method came."""
        with self.lock:
            return sum(request.method == method for request in self.requests)

    def starts(self) -> list[int]:
        """Return the first byte of each part of a file that was asked for."""
        with self.lock:
            ranges = [request.fields.get("range", "") for request in self.requests]
        return [int(found[1]) for found in map(_RANGE.fullmatch, ranges) if found]

    def add(self, fault: Fault) -> Fault:
        """Do this to the next request that it is for."""
        with self.lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Do nothing any more to requests that are still to come."""
        with self.lock:
            self._faults.clear()

    def release(self) -> None:
        """Let what is stalled go on, now and from now on."""
        self.released.set()

    def listen(self) -> None:
        """Take connections, again on the same port."""
        listener = socket.create_server(self.address)
        self.address = ("127.0.0.1", int(listener.getsockname()[1]))
        self._listener = listener
        thread = threading.Thread(target=self._accept, args=(listener,))
        self._threads.append(thread)
        thread.start()

    def refuse(self) -> None:
        """Take no connections, and cut those that are there."""
        if self._listener is not None:
            # Else the thread that accepts would not wake up.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self.lock:
            links = tuple(self._links)
        for link in links:
            link.wake()

    def take(self, request: Request) -> Fault | None:
        """Note a request, and return what is to be done to it."""
        with self.lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.method in (None, request.method) and _aims(fault, request):
                    if fault.times is not None:
                        fault.times -= 1
                        if not fault.times:
                            self._faults.remove(fault)
                    return fault
        return None

    def forget(self, link: _Link) -> None:
        """Drop a connection that has ended."""
        with self.lock:
            self._links.remove(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
        self.refuse()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # `refuse` closed it.
            try:
                server = socket.create_connection(self.target, PATIENCE_S)
            except OSError:
                client.close()
                continue
            client.settimeout(PATIENCE_S)
            for end in (client, server):
                # Else a head would wait for its body, or the other way round.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(self, client, server)
            thread = threading.Thread(target=link.run)
            with self.lock:
                self.accepted += 1
                self._links.append(link)
                self._threads.append(thread)
            thread.start()


def _aims(fault: Fault, request: Request) -> bool:
    """Whether the offset is in the part asked for; if so, set where in its body."""
    if fault.offset is None:
        return True
    found = _RANGE.fullmatch(request.fields.get("range", ""))
    if found is None or not int(found[1]) <= fault.offset <= int(found[2]) + 1:
        return False
    fault.at = fault.offset - int(found[1])
    return True


class _Ended(Exception):
    """The connection is over."""


class _Link:
    """One connection of a client, and that to the server which goes with it."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, server: socket.socket
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._fault: Fault | None = None
        self._request = b""  # Of a head that has come in part.
        self._answer: bytes | None = None  # Likewise; None behind the head.
        self._left = 0  # Bytes of the request's body that are still to come.
        self._at = {Way.UP: -1, Way.DOWN: -1}

    def wake(self) -> None:
        """End it from another thread."""
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Pass bytes both ways until one side or a fault ends it."""
        try:
            while True:
                ready, _, _ = select.select([self._client, self._server], [], [])
                if self._client in ready:
                    self._upward(self._receive(self._client))
                if self._server in ready:
                    self._downward(self._receive(self._server))
        except (OSError, _Ended):
            pass  # As all connections do, one way or the other.
        finally:
            self._proxy.forget(self)
            self._client.close()
            self._server.close()

    def _receive(self, end: socket.socket) -> bytes:
        data = end.recv(1 << 16)
        if not data:
            raise _Ended
        return data

    def _upward(self, data: bytes) -> None:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._pass(Way.UP, piece)
            else:
                head, end, data = (self._request + data).partition(b"\r\n\r\n")
                if not end:
                    self._request = head
                    return
                self._request = b""
                self._begin(head)
                self._pass_head(Way.UP, head + end)
            fault = self._fault
            if not self._left and fault is not None and fault.deed is Deed.REPLY:
                self._reply(fault)

    def _begin(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self._left = int(fields.get("content-length", "0"))
        self._answer = b""
        self._at = {Way.UP: -1, Way.DOWN: -1}
        self._fault = self._proxy.take(
            Request(method=method, target=target, fields=fields)
        )

    def _reply(self, fault: Fault) -> None:
        fault.then()
        fault.came.set()
        self._client.sendall(fault.reply)
        self._client.shutdown(socket.SHUT_WR)
        while self._client.recv(1 << 16):
            pass  # A close before the client has read it would take it away.
        raise _Ended

    def _downward(self, data: bytes) -> None:
        if self._answer is not None:
            head, end, data = (self._answer + data).partition(b"\r\n\r\n")
            if not end:
                self._answer = head
                return
            self._answer = None
            self._pass_head(Way.DOWN, head + end)
        if data:
            self._pass(Way.DOWN, data)

    def _pass_head(self, way: Way, head: bytes) -> None:
        self._strike(way)
        self._send(way, head)
        self._at[way] = 0
        self._strike(way)

    def _pass(self, way: Way, data: bytes) -> None:
        fault, begin = self._fault, self._at[way]
        if fault is not None and fault.way is way and fault.deed is not Deed.REPLY:
            before = fault.at - begin
            if fault.deed is Deed.FLIP and 0 <= before < len(data):
                byte = bytes([data[before] ^ 1])
                data = data[:before] + byte + data[before + 1 :]
                fault.then()
                fault.came.set()
            elif 0 < before <= len(data):
                self._count(way, data[:before])
                data = data[before:]
                self._strike(way)
        self._count(way, data)

    def _count(self, way: Way, data: bytes) -> None:
        if way is Way.DOWN:
            # First: who has got it all may look at once.
            with self._proxy.lock:
                self._proxy.passed += len(data)
        self._send(way, data)
        self._at[way] += len(data)

    def _send(self, way: Way, data: bytes) -> None:
        if way is Way.DOWN:
            self._client.sendall(data)
        elif self._fault is None or self._fault.deed is not Deed.REPLY:
            self._server.sendall(data)

    def _strike(self, way: Way) -> None:
        """Do the fault's deed, if it is here."""
        fault = self._fault
        if fault is None or fault.way is not way or fault.at != self._at[way]:
            return
        if fault.deed in {Deed.FLIP, Deed.REPLY}:
            return
        fault.then()
        fault.came.set()
        if fault.deed is Deed.NOTHING:
            return
        if fault.deed is Deed.STALL:
            self._proxy.released.wait(PATIENCE_S)
            return
        if fault.deed is Deed.RESET:
            for end in (self._client, self._server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        raise _Ended
