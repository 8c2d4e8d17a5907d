"""What is asked twice, what never is, and what the answers mean."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from scripted import (
    Asked,
    Reply,
    Scripted,
    content,
    part_of,
    problem,
    status_of,
    stored,
)

from pacifica_archive_core import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    BackendError,
    CommitUnclear,
    ConfigError,
    DigestMismatch,
    FileDamaged,
    FileExists,
    FileOffline,
    IncompleteWrite,
    NoSuchFile,
    NotSupported,
    SourceRefused,
)
from pacifica_archive_core.records import record_of
from pacifica_archive_http.client import HttpArchive, HttpOptions
from pacifica_archive_http.client.server import Lost, Patience, Server
from pacifica_archive_http.status_table import (
    PROBLEMS,
    DeleteDenied,
    Forbidden,
    PreconditionFailed,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def archive_of(
    url: str, *, retry_for_s: float = 0, max_connections: int = 32
) -> HttpArchive:
    return HttpArchive(
        HttpOptions(
            prefix=url, retry_for_s=retry_for_s, max_connections=max_connections
        )
    )


def answer_many(asked: Asked) -> Reply:
    """Answer a question about many, or about one: each file is there."""
    if asked.method == "HEAD":
        status = status_of(int(asked.target.rpartition("/")[2]), 1)
        record = json.dumps(record_of(status.file_id, status))
        return Reply(
            headers={"X-Pacifica-Status": record, "ETag": f'"{status.version}"'}
        )
    records = (record_of(int(i), status_of(int(i), 1)) for i in asked.body.split())
    return Reply(body=b"".join(json.dumps(each).encode() + b"\n" for each in records))


def found(
    answer: Callable[[Asked], Reply | None],
    call: Callable[[HttpArchive], object],
    *,
    retry_for_s: float = 0,
) -> tuple[object, int]:
    """Return what a call returns or raises, and how many requests it took."""
    with (
        Scripted(answer) as server,
        archive_of(server.url, retry_for_s=retry_for_s) as archive,
    ):
        try:
            result = call(archive)
        except ArchiveError as exc:
            result = exc
        return result, len(server.asked)


def put(archive: HttpArchive) -> None:
    with archive.create(5) as writer:
        writer.write(b"data")


CHANGES = [
    put,
    lambda archive: archive.delete(5),
    lambda archive: archive.adopt(5, "/"),
]


# --- questions


@pytest.mark.parametrize(
    "first",
    [
        None,
        Reply(status=502),
        Reply(status=503, body=b"<html>"),
        Reply(status=504),
        Reply(status=429),
        problem("transfers-busy", 503),
        problem("client-busy", 429),
        Reply(headers={"Content-Length": "9"}, body=b"short", cut=True),
    ],
)
def test_a_question_without_an_answer_is_asked_again(first: Reply | None) -> None:
    count = itertools.count()
    status, requests = found(
        lambda asked: first if next(count) < 2 else answer_many(asked),
        lambda archive: list(archive.status_many([5])),
        retry_for_s=60,
    )

    assert ([(5, status_of(5, 1))], 3) == (status, requests)


@pytest.mark.parametrize("answer", [None, Reply(status=502), problem("transfers-busy")])
def test_a_question_is_given_up(answer: Reply | None) -> None:
    error, _ = found(lambda _: answer, lambda archive: archive.status(5))

    assert ArchiveUnavailable is type(error)


@pytest.mark.parametrize(
    "answer", [problem("archive-unavailable", 503), problem("internal-error")]
)
def test_what_the_server_says_of_its_store_is_taken_at_once(answer: Reply) -> None:
    error, requests = found(
        lambda _: answer, lambda archive: archive.status(5), retry_for_s=60
    )

    assert (ArchiveUnavailable, 1) == (type(error), requests)


def test_a_closed_archive_waits_no_more() -> None:
    """However long the pause before its next try was to be."""
    archive = archive_of("http://archive")
    server = Server(archive.options, archive.ensure_open)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.pause, 10_000)
        archive.close()
        server.close()

        with pytest.raises(ValueError, match="closed"):
            waiting.result(60)


def test_a_closed_archive_asks_no_more() -> None:
    asked = threading.Event()

    def answer(_: Asked) -> None:
        asked.set()

    with Scripted(answer) as server, ThreadPoolExecutor(1) as pool:
        archive = archive_of(server.url, retry_for_s=10_000)
        waiting = pool.submit(archive.status, 5)
        asked.wait(60)
        archive.close()

        with pytest.raises(ValueError, match="closed"):
            waiting.result(60)


def test_no_coding_is_asked_for() -> None:
    """A part of a file is counted in the file's bytes."""
    with Scripted(answer_many) as server, archive_of(server.url) as archive:
        archive.status(5)

        assert "identity" == server.asked[0].headers["Accept-Encoding"]


def test_connections_are_used_again_and_by_other_threads() -> None:
    with Scripted(answer_many) as server, archive_of(server.url) as archive:
        for _ in range(5):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(archive.status, 5).result()

        assert 1 == len(server.clients)


def test_readers_left_in_the_midst_of_a_window_starve_nobody() -> None:
    data = content(3 << 20)
    with (
        Scripted(
            lambda asked: (
                part_of(data, asked) if asked.method == "GET" else answer_many(asked)
            )
        ) as server,
        archive_of(server.url, max_connections=1) as archive,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(5):
            reader = stack.enter_context(archive.open(5))
            reader.read(100_000)
            reader.read(100)

        assert 5 == archive.status(5).file_id


def test_silence_that_outlasts_the_retries_is_followed_by_one() -> None:
    """As of an idle connection that a firewall has forgotten."""
    asked_before = itertools.count()
    over = threading.Event()

    def answer(asked: Asked) -> Reply:
        if next(asked_before) == 0:
            over.wait(60)
        return answer_many(asked)

    with Scripted(answer) as server:
        options = HttpOptions(prefix=server.url, timeout_s=1, retry_for_s=0.5)
        with HttpArchive(options) as archive:
            try:
                status = archive.status(5)
            finally:
                over.set()

    assert 5 == status.file_id


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(status: int) -> None:
    with Scripted(answer_many) as other:
        error, requests = found(
            lambda asked: Reply(
                status=status, headers={"Location": other.url + asked.target}
            ),
            lambda archive: archive.status(5),
            retry_for_s=60,
        )

        assert (ArchiveUnavailable, 1, 0) == (type(error), requests, len(other.asked))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        Reply(body=b"<html>"),
        Reply(body=b"5\n"),
        Reply(body=b'{"file_id": 5}\n'),
        Reply(body=b'{"file_id": 5, "online": true}\n'),
        Reply(body=b'{"file_id": 6, "error": "NoSuchFile", "message": ""}\n'),
        Reply(body=b"[" * 100_000),
        Reply(status=404, body=b"<html>"),
        Reply(status=404, body=b"[1]"),
        problem("no-such-address", 404),
        problem("invalid-file-id", 400),
    ],
)
def test_what_is_no_archive_is_unavailable(reply: Reply) -> None:
    """The last two are servers that know no questions about many."""
    error, _ = found(lambda _: reply, lambda archive: list(archive.status_many([5])))

    assert ArchiveUnavailable is type(error)


def test_what_speaks_no_http_is_unavailable() -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"220 mail.example ESMTP\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with (
            archive_of(f"http://127.0.0.1:{server.server_address[1]}") as archive,
            pytest.raises(ArchiveUnavailable),
        ):
            archive.status(5)
        thread.join()


def test_no_message_says_where_the_server_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (
        archive_of(f"http://127.0.0.1:{port}") as archive,
        pytest.raises(ArchiveUnavailable) as caught,
    ):
        archive.status(5)

    assert (False, False) == (
        str(port) in str(caught.value),
        "127" in str(caught.value),
    )


# --- problems


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("no-such-file", NoSuchFile),
        ("file-offline", FileOffline),
        ("file-damaged", FileDamaged),
        ("file-exists", FileExists),
        ("precondition-failed", FileExists),
        ("digest-mismatch", DigestMismatch),
        ("incomplete-write", IncompleteWrite),
        ("source-refused", SourceRefused),
        ("commit-unclear", CommitUnclear),
        ("not-supported", NotSupported),
        ("archive-full", ArchiveFull),
        ("access-denied", AccessDenied),
        ("archive-unavailable", ArchiveUnavailable),
        ("transfers-busy", ArchiveUnavailable),
        ("client-busy", ArchiveUnavailable),
        ("unauthorized", AccessDenied),
        ("forbidden", AccessDenied),
        ("delete-denied", AccessDenied),
        ("config-error", CommitUnclear),
        ("internal-error", CommitUnclear),
        ("of-a-later-server", CommitUnclear),
    ],
)
def test_a_problem_is_the_error_that_it_was(
    name: str, kind: type[ArchiveError]
) -> None:
    error, _ = found(lambda _: problem(name), put)

    assert kind is type(error)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_problem_of_the_server_is_an_error_of_its_class(
    kind: type[Exception],
) -> None:
    """What is wrong with the server itself, or with what it was sent, is not told."""
    row = PROBLEMS[kind]
    of_ours = issubclass(kind, ArchiveError) and not issubclass(
        kind, ConfigError | BackendError
    )
    expected: type[Exception] = ArchiveUnavailable
    if kind is PreconditionFailed:
        expected = FileExists
    elif kind in {Unauthorized, Forbidden, DeleteDenied}:
        expected = AccessDenied
    elif of_ours and kind is not ArchiveError:
        expected = kind
    error, _ = found(
        lambda _: problem(row.name, row.status), lambda archive: archive.stage(5)
    )

    assert expected is type(error)


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("archive-unavailable", 503, "archive unavailable"),
        ("access-denied", 500, "access denied by the store"),
        ("internal-error", 500, "the server fails: internal server error"),
    ],
)
def test_a_problem_without_a_body_says_its_title(
    name: str, status: int, text: str
) -> None:
    """As that of a HEAD, which a status is."""
    reply = Reply(status=status, headers={"X-Pacifica-Problem": name})
    error, _ = found(lambda _: reply, lambda archive: archive.status(5))

    assert text == str(error)


def test_a_problem_without_a_body_is_known_by_its_field() -> None:
    reply = Reply(status=404, headers={"X-Pacifica-Problem": "no-such-file"})
    error, _ = found(lambda _: reply, lambda archive: archive.digests(5))

    assert (NoSuchFile, "file 5: not in the archive") == (type(error), str(error))


def test_a_problem_without_its_field_is_known_by_its_type() -> None:
    reply = Reply(status=404, body=problem("no-such-file").body)
    error, _ = found(lambda _: reply, put)

    assert NoSuchFile is type(error)


def test_the_reason_is_the_servers_own() -> None:
    detail = "file 5: bad tape"
    error, _ = found(lambda _: problem("file-damaged", detail=detail), put)

    assert "file 5: bad tape" == str(error)


def test_advice_about_requests_is_left_out() -> None:
    detail = "file 5: on tape 7; POST to this address has it staged"
    error, _ = found(
        lambda _: problem("file-offline", detail=detail), lambda each: each.open(5)
    )

    assert "file 5: on tape 7" == str(error)


@pytest.mark.parametrize("name", ["bad-request", "content-too-large"])
def test_what_the_server_takes_for_no_path_is_refused(name: str) -> None:
    error, _ = found(lambda _: problem(name, 400), lambda each: each.adopt(5, "x"))

    assert SourceRefused is type(error)


# --- changes


@pytest.mark.parametrize("change", CHANGES, ids=["put", "delete", "adopt"])
@pytest.mark.parametrize(
    "answer",
    [None, Reply(status=502), Reply(status=500, body=b"<html>"), Reply(status=504)],
)
def test_a_change_without_an_answer_is_not_asked_for_again(
    change: Callable[[HttpArchive], None], answer: Reply | None
) -> None:
    error, requests = found(lambda _: answer, change, retry_for_s=60)

    assert (CommitUnclear, 1) == (type(error), requests)


def test_a_change_that_broke_in_its_midst_is_not_asked_for_again() -> None:
    """A spooled file of which the server took no byte: it is as it was."""

    def put_long(archive: HttpArchive) -> None:
        with archive.create(5) as writer:
            writer.write(bytes(20 << 20))

    with (
        Scripted(lambda _: None, early=True) as server,
        archive_of(server.url, retry_for_s=60) as archive,
    ):
        with pytest.raises(ArchiveUnavailable):
            put_long(archive)

        assert 1 == len(server.asked)


def test_a_taken_id_is_told_without_the_fields_of_the_request() -> None:
    error, _ = found(lambda _: problem("precondition-failed", 412), put)

    assert "file 5: is in the archive already" == str(error)


def test_a_deletion_without_an_answer_says_so() -> None:
    error, _ = found(lambda _: None, lambda archive: archive.delete(5))

    assert "file 5: deleted, or not: look at its status" == str(error)


@pytest.mark.parametrize("change", CHANGES, ids=["put", "delete", "adopt"])
def test_a_busy_server_is_not_asked_for_a_change_again(
    change: Callable[[HttpArchive], None],
) -> None:
    error, requests = found(
        lambda _: problem("transfers-busy", 503), change, retry_for_s=60
    )

    assert (ArchiveUnavailable, 1) == (type(error), requests)


@pytest.mark.parametrize(
    "reply",
    [stored(3), Reply(status=201), Reply(status=201, body=b"[]"), Reply(body=b"{}")],
)
def test_a_server_that_stored_something_else_is_not_believed(reply: Reply) -> None:
    error, _ = found(lambda _: reply, put)

    assert CommitUnclear is type(error)


@pytest.mark.parametrize("size", [4, 2 << 20], ids=["held", "streamed"])
def test_a_server_that_does_not_listen_yet_is_waited_for(size: int) -> None:
    """What is lost before it was sent may be sent again."""
    with Scripted(lambda _: stored(size)) as server:
        target = int(server.url.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        relay = threading.Timer(0.2, relay_once, (port, target))
        relay.start()
        with (
            archive_of(f"http://127.0.0.1:{port}", retry_for_s=60) as archive,
            archive.create(5, size=size) as writer,
        ):
            writer.write(bytes(size))
        relay.join()

        assert ["PUT"] == [asked.method for asked in server.asked]


def relay_once(port: int, target: int) -> None:
    """Listen on a port, and pass one connection on to another."""
    with (
        socket.create_server(("127.0.0.1", port)) as listener,
        listener.accept()[0] as client,
        socket.create_connection(("127.0.0.1", target)) as server,
    ):

        def pump(source: socket.socket, sink: socket.socket) -> None:
            while block := source.recv(1 << 16):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)

        up = threading.Thread(target=pump, args=(client, server))
        up.start()
        pump(server, client)
        up.join()


def test_pauses_between_tries_grow_to_a_bound_and_end_in_time() -> None:
    class Noting(Server):
        def __init__(self) -> None:
            self.pauses: list[float] = []

        def pause(self, seconds: float) -> None:
            self.pauses.append(seconds)

    server = Noting()
    patience = Patience(server, 60)
    for _ in range(12):
        patience.wait(Lost("it does not answer"))
    doubled = [0.05 * 2**n for n in range(12)]
    found = [
        0.5 <= pause / min(expected, 5) <= 1.5
        for pause, expected in zip(server.pauses, doubled, strict=True)
    ]

    assert [True] * 12 == found
