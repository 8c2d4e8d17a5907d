"""The server as its client sees it: connections, patience, errors."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import json
import logging
import random
import re
import socket
import ssl
import threading
import time
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import EmptyPoolError, HTTPError, SSLError

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    CommitUnclear,
    ConfigError,
    FileError,
    FileExists,
    NotSupported,
)
from pacifica_archive_core.records import make_error
from pacifica_archive_http.client.token import TokenSource
from pacifica_archive_http.status_table import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from urllib3 import BaseHTTPResponse

    from pacifica_archive_http.client.options import HttpOptions

__all__ = [
    "FAILURES",
    "Answer",
    "Lost",
    "Patience",
    "Server",
    "Upload",
    "is_done",
    "is_success",
    "no_archive",
    "refusal_of",
    "settled",
]

_log = logging.getLogger(__name__)

#: What a connection of urllib3's raises when it fails.
FAILURES = (HTTPError, http.client.HTTPException, OSError)

#: What is of no file, and may leave an archive's methods.
_OF_STORES = (NotSupported, ArchiveUnavailable, ArchiveFull, AccessDenied)
_KINDS: Mapping[str, type[Exception]] = {
    problem.name: kind for kind, problem in PROBLEMS.items()
} | {
    # No other precondition is ever sent than If-None-Match: *.
    "precondition-failed": FileExists,
    # Who asks may not, whoever it is that says so.
    **dict.fromkeys(("unauthorized", "forbidden", "delete-denied"), AccessDenied),
}
#: Problems that go away: there are too many transfers.
_BUSY = {"transfers-busy", "client-busy"}
#: Problems of a change that was not made, or of which it is said what is unclear.
_SETTLED = _BUSY | {
    name for name, kind in _KINDS.items() if issubclass(kind, (FileError, *_OF_STORES))
}
#: What is said otherwise here than by the server.
_REASONS = {
    # Of fields of the request the caller knows nothing.
    "precondition-failed": "",
    # The digest sent was computed of what was sent.
    "digest-mismatch": "on the way: what arrived is not what was digested here;"
    " nothing is stored",
}
_NOTHING_SPECIAL: Mapping[str, type[FileError]] = MappingProxyType({})
_BY_NAME = {problem.name: problem for problem in PROBLEMS.values()}
_URN = "urn:pacifica-archive:"
#: What a proxy answers whose server is away or busy.
_PASSING = frozenset({429, 502, 503, 504})
#: What a proxy answers who may not pass.
_REFUSING = frozenset({401, 403, 407})
#: What a server says of the certificate of a client, as openssl tells it.
_ABOUT_CERTIFICATES = re.compile(
    "ALERT_(CERTIFICATE_|BAD_CERTIFICATE|UNSUPPORTED_CERT|UNKNOWN_CA|ACCESS_DENIED)"
)
#: RFC 6750 section 3.
_SCOPE = re.compile(r'scope="([a-z ]+)"')
#: Bytes of the longest answer that is no file: a thousand statuses are 1 MB.
_LONGEST = 1 << 26
#: Seconds of the first and of the longest pause between two tries.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
#: Connections kept of those that long reads had.
_KEPT_STREAMS = 256
#: A connection that a firewall has forgotten is known as dead after a minute, before
#: a change is sent over it: it is looked at for 3 times 10 s after 30 s of silence.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
#: Seconds to wait for a free connection before looking whether all is closed.
_POOL_WAIT_S = 1

# RFC 9530: a dictionary of RFC 8941 whose values are byte sequences.
_DIGEST = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):")


class Lost(Exception):
    """No answer, or one that says "later": what may be asked twice is tried again."""


class Upload:
    """
    The body of a request that must not be sent twice, and how far it came.

    Attributes:
        begun: all before the body was sent.
        sent: all of it was.
    """

    def __init__(self, blocks: Iterable[bytes] = ()) -> None:
        self._blocks = blocks
        self.begun = False
        self.sent = False

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        yield from self._blocks
        self.sent = True


class Answer:
    """An answer whose body is still to be read; has a connection until closed."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self, size: int) -> bytes:
        """
        Read ``size`` bytes; fewer at the end, and where a connection broke.

        Raises:
            Lost: the connection broke.
        """
        try:
            return self._response.read(size)
        except HTTPError as exc:
            raise Lost("the connection to the archive broke") from exc

    def read_exactly(self, size: int) -> bytes:
        """Read ``size`` bytes, the last of the answer; raises as ``read``."""
        data = self.read(size)
        while len(data) < size:
            if not (block := self.read(size - len(data))):
                raise Lost("the answer of the archive is too short")
            data += block
        self.expect_end()
        return data

    def expect_end(self) -> None:
        """Have the connection free for others; ArchiveUnavailable if there is more."""
        if self.read(1):
            raise no_archive("it sends more than it was asked for")

    def read_all(self) -> bytes:
        """Read an answer that is no file; raises as ``read``."""
        data = b""
        while block := self.read(_LONGEST):
            data += block
            if len(data) > _LONGEST:
                raise no_archive("it does not come to an end")
        return data

    def digests(self) -> dict[str, bytes]:
        """Return the digests of the whole file."""
        found = _DIGEST.findall(self.headers.get("Repr-Digest", ""))
        try:
            return {name: base64.b64decode(text, validate=True) for name, text in found}
        except ValueError as exc:
            raise no_archive("its digests are not in base64") from exc

    def cut(self) -> None:
        """Break the connection, if there is one, whoever is reading from it."""
        if isinstance(connection := self._response.connection, HTTPConnection):
            _cut(connection)

    def close(self) -> None:
        """Give the connection back if all is read, else break it. Idempotent."""
        # urllib3 takes it from an answer that was read to its end.
        if self._response.connection is not None:
            self.cut()
            self._response.close()
            # Closed as it is: it keeps its place among those allowed at once.
            self._response.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Patience:
    """Pauses between the tries of one request, until they have been enough."""

    def __init__(self, server: Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._deadline: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def wait(self, lost: Lost) -> None:
        """
        Wait before the next try.

        Raises:
            ArchiveUnavailable: there shall be no other.
            ValueError: the archive was closed.
        """
        now = time.monotonic()
        # From the first failure on: silence is noticed only after a while, and a
        # connection that has died in it says nothing of the next one.
        self._deadline = self._deadline or now + self._seconds
        # Not all at once: a thousand clients wait for a server that starts anew.
        pause_s = self._pause_s * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
        if now + pause_s > self._deadline:
            raise ArchiveUnavailable(str(lost)) from lost
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._server.pause(pause_s)


class Server:
    """
    One archive's server; shared by threads.

    Args:
        options: of the backend.
        ensure_open: raises what is to be raised when the archive is closed.

    Raises:
        ConfigError: ``ca_file`` or ``cert_file`` cannot be used.
    """

    def __init__(self, options: HttpOptions, ensure_open: Callable[[], None]) -> None:
        self._options = options
        self._ensure_open = ensure_open
        self._base = urlsplit(options.prefix).path
        self._tls: dict[str, Any] = {}
        self._token = TokenSource(options.token)
        if options.key_file is not None and options.cert_file is None:
            raise ConfigError("key_file wants cert_file")
        parts = urlsplit(options.prefix)
        if parts.scheme == "https":
            self._tls["ssl_context"] = _tls_context(options)
        elif self._token and not _is_loopback(parts.hostname or ""):
            _log.warning(
                "the token goes to the archive in the clear: give an address with"
                " https://"
            )
        self._pool = self._new_pool(maxsize=options.max_connections, block=True)
        # Else readers that are left in the midst of a window would starve all others.
        self._streams = self._new_pool(maxsize=_KEPT_STREAMS, block=False)
        # Of a change: until it is sent, and until it is on stable storage.
        self._patient = urllib3.Timeout(
            connect=options.timeout_s, read=options.commit_timeout_s
        )
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._held: set[Answer | HTTPConnection] = set()

    def _new_pool(self, *, maxsize: int, block: bool) -> urllib3.HTTPConnectionPool:
        return urllib3.connection_from_url(
            self._options.prefix,
            timeout=urllib3.Timeout(
                connect=self._options.connect_timeout_s, read=self._options.timeout_s
            ),
            maxsize=maxsize,
            block=block,
            socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE],
            **self._tls,
        )

    @property
    def commit_timeout_s(self) -> float:
        """Seconds for a file that was sent to be on stable storage."""
        return self._options.commit_timeout_s

    def patience(self) -> Patience:
        """Begin to try."""
        return Patience(self, self._options.retry_for_s)

    def pause(self, seconds: float) -> None:
        """Wait; ValueError as soon as the archive is closed."""
        if self._closing.wait(seconds):
            self._ensure_open()

    def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Upload | None = None,
        long: bool = False,
    ) -> Answer:
        """
        Ask once, and return what is answered, whatever it is.

        Args:
            method: of the request.
            path: of the archive's own.
            headers: of the request.
            body: of the request; an Upload may wait long for its answer.
            long: the answer will be read for as long as its reader likes.

        Raises:
            Lost: nothing is.
        """
        # No coding: a part of a file is counted in the file's bytes.
        fields = {"Accept-Encoding": "identity", **(headers or {})}
        pool = self._streams if long else self._pool
        token = self._token.headers()
        answer = self._fetch(pool, method, path, {**fields, **token}, body)
        if (
            answer.status == HTTPStatus.UNAUTHORIZED
            # What is sent once is not begun anew.
            and not isinstance(body, Upload)
            and self._token.renew(token.get("Authorization"))
        ):
            answer.close()
            token = self._token.headers()
            answer = self._fetch(pool, method, path, {**fields, **token}, body)
        return answer

    def _fetch(
        self,
        pool: urllib3.HTTPConnectionPool,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | Upload | None,
    ) -> Answer:
        try:
            return Answer(
                pool.urlopen(
                    method,
                    self._base + path,
                    body=body,
                    headers=headers,
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    pool_timeout=_POOL_WAIT_S,
                    timeout=self._patient if isinstance(body, Upload) else pool.timeout,
                    preload_content=False,
                    decode_content=False,
                )
            )
        except EmptyPoolError as exc:
            self._ensure_open()
            raise Lost("all connections to the archive are in use") from exc
        except HTTPError as exc:
            self._ensure_open()
            raise _lost(exc) from exc

    def ask(
        self,
        method: str,
        path: str,
        *,
        file_id: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[Answer, bytes]:
        """
        Ask what may be asked twice, and return the answer and all it says.

        Raises:
            ArchiveError: what the server says, or that it does not answer.
        """
        patience = self.patience()
        while True:
            try:
                with self.fetch(method, path, headers=headers, body=body) as answer:
                    data = answer.read_all()
                    if not is_success(answer):
                        raise refusal_of(answer, data, file_id)
                    return answer, data
            except Lost as exc:
                patience.wait(exc)

    def change(
        self,
        method: str,
        file_id: int,
        *,
        upload: Upload,
        headers: Mapping[str, str],
        unclear: str | None = None,
        special: Mapping[str, type[FileError]] = _NOTHING_SPECIAL,
    ) -> bytes:
        """
        Have a file changed, and return what the server says of it.

        What the server may have received is not sent again.

        Args:
            method: PUT, PATCH or DELETE.
            file_id: the id.
            upload: the body.
            headers: of the request, ``Content-Length`` among them.
            unclear: the reason of CommitUnclear; its own by default.
            special: as for ``refusal_of``.

        Raises:
            CommitUnclear: all was sent, and no answer of the archive came.
            ArchiveError: what the server says, or that it does not answer; the
                file is as it was.
        """
        patience = self.patience()
        while True:
            try:
                with self.fetch(
                    method, f"/files/{file_id}", headers=headers, body=upload
                ) as answer:
                    return settled(answer, file_id, unclear=unclear, special=special)
            except Lost as exc:
                if upload.sent:
                    raise CommitUnclear(file_id, unclear) from exc
                if upload.begun:
                    raise ArchiveUnavailable(str(exc)) from exc
                patience.wait(exc)

    def begin_upload(self, file_id: int, headers: Mapping[str, str]) -> HTTPConnection:
        """
        Send the head of a PUT on a connection of its own; ``drop`` ends it.

        Raises:
            ArchiveUnavailable: that failed.
        """
        kind = HTTPSConnection if self._tls else HTTPConnection
        patience = self.patience()
        while True:
            connection = kind(
                self._pool.host,
                self._pool.port,
                timeout=self._options.connect_timeout_s,
                socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE],
                **self._tls,
            )
            try:
                connection.connect()
                connection.timeout = self._options.timeout_s
                connection.request(
                    "PUT",
                    self._base + f"/files/{file_id}",
                    headers={**headers, **self._token.headers()},
                    preload_content=False,
                    decode_content=False,
                )
                self.hold(connection)
            except BaseException as exc:
                connection.close()
                if not isinstance(exc, FAILURES):
                    raise
                # Nothing of the body was sent: it may be tried again.
                patience.wait(_lost(exc))
            else:
                return connection

    def hold(self, connection: Answer | HTTPConnection) -> None:
        """Have a connection broken when the archive is closed."""
        with self._lock:
            self._ensure_open()
            self._held.add(connection)

    def let_go(self, connection: Answer | HTTPConnection) -> None:
        """End what ``hold`` began."""
        with self._lock:
            self._held.discard(connection)

    def drop(self, connection: HTTPConnection) -> None:
        """Break a connection made by ``begin_upload``. Idempotent."""
        self.let_go(connection)
        _cut(connection)
        connection.close()

    def close(self) -> None:
        """Break what is held; who waits is told."""
        self._closing.set()
        self._pool.close()
        self._streams.close()
        with self._lock:
            for connection in self._held:
                # Not closed: its user may be at work with it.
                if isinstance(connection, Answer):
                    connection.cut()
                else:
                    _cut(connection)
            self._held.clear()


def is_success(answer: Answer) -> bool:
    """Whether the answer is no refusal: a redirection is one here."""
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def is_done(data: bytes) -> bool:
    """Whether a success is our server's: a portal's page is one for each request."""
    try:
        return "message" in json.loads(data)
    except (TypeError, ValueError, RecursionError):
        return False


def no_archive(detail: str) -> ArchiveUnavailable:
    """Return what to raise for answers that are not those of our server."""
    return ArchiveUnavailable(f"what answers is no archive: {detail}")


def refusal_of(
    answer: Answer,
    data: bytes,
    file_id: int | None,
    special: Mapping[str, type[FileError]] = _NOTHING_SPECIAL,
) -> ArchiveError | Lost:
    """
    Return what to raise for an answer that is no success.

    Args:
        answer: its body is read.
        data: the body.
        file_id: the file asked for, where it was one.
        special: what certain problems are for this request: name to error.
    """
    name, text = _read_problem(answer, data)
    if name is None:
        return _refusal_of_another(answer.status)
    problem = _BY_NAME.get(name)
    if problem is not None:
        text = text.removesuffix(problem.advice).removesuffix("; ")
    if name in _BUSY:
        return Lost(text or name)
    kind = {**_KINDS, **special}.get(name, ArchiveError)
    if issubclass(kind, FileError) and file_id is not None:
        return make_error(kind.__name__, file_id, _REASONS.get(name, text))
    # The answer to a HEAD has no text.
    text = text or _scope_in(answer) or (problem.title.lower() if problem else name)
    if issubclass(kind, _OF_STORES):
        return kind(text)
    return ArchiveUnavailable(f"the server fails: {text}")


def _refusal_of_another(status: int) -> ArchiveError | Lost:
    """Return what to raise for what a proxy says."""
    if status in _PASSING:
        return Lost(f"the archive is not there: status {status}")
    if status in _REFUSING:
        return AccessDenied(f"what is before the archive refuses: status {status}")
    return no_archive(f"status {status}")


def settled(
    answer: Answer,
    file_id: int,
    *,
    unclear: str | None = None,
    special: Mapping[str, type[FileError]] = _NOTHING_SPECIAL,
) -> bytes:
    """
    Return what a server says that was sent all of a change.

    Raises:
        CommitUnclear: it may or may not have changed the file.
        ArchiveError: it did not.
    """
    try:
        data = answer.read_all()
    except Lost as exc:
        raise CommitUnclear(file_id, unclear) from exc
    if is_success(answer):
        return data
    name, _ = _read_problem(answer, data)
    # A proxy that lost its server, or a server that lost itself.
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and name not in _SETTLED:
        raise CommitUnclear(file_id, unclear)
    refusal = refusal_of(answer, data, file_id, special)
    if isinstance(refusal, Lost):
        raise ArchiveUnavailable(str(refusal))
    raise refusal


def _read_problem(answer: Answer, data: bytes) -> tuple[str | None, str]:
    """Return the name of a problem of ours and its text; None if it is another's."""
    name = answer.headers.get("X-Pacifica-Problem")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return name, ""
    kind = str(document.get("type", ""))
    if name is None and kind.startswith(_URN):
        name = kind.removeprefix(_URN)
    return name, str(document.get("detail", ""))


def _scope_in(answer: Answer) -> str:
    """Return what the answer to a HEAD says of the scope that is missing."""
    found = _SCOPE.search(answer.headers.get("WWW-Authenticate", ""))
    return f"this needs the scope {found[1]}" if found else ""


def _lost(exc: Exception) -> Lost:
    """Return what a failed connection is; raise ArchiveError if it stays so."""
    if isinstance(exc, SSLError) and exc.args:
        exc = exc.args[0]
    if isinstance(exc, ssl.SSLCertVerificationError):
        raise ArchiveUnavailable(
            "the certificate of the archive's server is not one of those accepted"
        ) from exc
    if isinstance(exc, ssl.SSLError) and _ABOUT_CERTIFICATES.search(exc.reason or ""):
        raise AccessDenied(
            "the archive's server asks for another certificate of this client:"
            " cert_file"
        ) from exc
    lost = Lost("the archive does not answer")
    lost.__cause__ = exc
    return lost


def _cut(connection: HTTPConnection) -> None:
    """Break a connection for every process that has it: a forked child may."""
    if (sock := connection.sock) is not None:
        # It is broken already.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _tls_context(options: HttpOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        raise ConfigError("ca_file is no file of certificates") from exc
    if options.cert_file is not None:
        try:
            context.load_cert_chain(
                options.cert_file,
                options.key_file,
                # Else openssl would ask the terminal.
                password=lambda: b"",
            )
        except OSError as exc:
            raise ConfigError(
                "cert_file, key_file: are no certificate and its key, without a"
                " password"
            ) from exc
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
