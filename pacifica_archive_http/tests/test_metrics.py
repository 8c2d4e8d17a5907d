from __future__ import annotations

import io
import os
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING

import falcon
import pytest
from asking import (
    Ask,
    ByCall,
    OverHttp,
    close,
    connect,
    environment,
    needs_posix,
    wait_until,
)
from measuring import read_number, read_samples
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from pacifica_archive_core import ConfigError, MemoryArchive
from pacifica_archive_http import make_app
from pacifica_archive_http.access import RULES, Scope
from pacifica_archive_http.metrics import SERIES, Metrics, find_route, new_directory
from pacifica_archive_http.options import Deletion, Monitoring, ServerOptions
from pacifica_archive_http.status_table import PROBLEMS
from pacifica_archive_http.testing import LiveServer, running_server
from pacifica_archive_http.tokens import add_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client.core import Metric

BIG = bytes(1 << 20)


@pytest.fixture(params=["alone", "with others"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "metrics" if request.param == "with others" else None


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what an application sets."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "to be undone")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    with MemoryArchive() as archive:
        with archive.create(5) as writer:
            writer.write(b"x" * 100)
        with archive.create(6) as writer:
            writer.write(BIG)
        yield archive


@pytest.fixture
def ask(archive: MemoryArchive, directory: Path | None) -> ByCall:
    return ByCall(make_app(archive, metrics_directory=directory))


def test_a_request_is_counted_with_what_became_of_it(ask: ByCall) -> None:
    ask("GET", "/files/5")
    ask("GET", "/files/5")
    ask("GET", "/7")

    assert (2, 1) == (
        read_number(
            *(ask, "requests_total"),
            verb="GET",
            route="/files/{file_id}",
            status="200",
            problem="",
        ),
        read_number(
            *(ask, "requests_total"),
            verb="GET",
            route="/{file_id}",
            status="404",
            problem="no-such-file",
        ),
    )


def test_a_problem_is_told_before_there_is_one(ask: ByCall) -> None:
    before = {
        sample.labels["problem"]: sample.value
        for sample in read_samples(ask)
        if sample.name == "pacifica_archive_problems_total"
    }

    assert {
        **{problem.name: 0 for problem in PROBLEMS.values()},
        "client-gone": 0,
    } == before


def test_a_problem_is_counted(ask: ByCall) -> None:
    ask("GET", "/7")

    assert 1 == read_number(ask, "problems_total", problem="no-such-file")


def test_a_request_is_timed(ask: ByCall) -> None:
    ask("PUT", "/9", b"abc")

    assert 1 == read_number(ask, "request_duration_seconds_count", verb="PUT")


def test_no_label_is_made_of_what_a_client_sends(ask: ByCall) -> None:
    for number in range(20):
        ask(f"VERB{number}", f"/{number}")
        ask("GET", f"/nowhere/{number}/at/all")
        ask("GET", f"/files/{number}a")
        ask("GET", f"/{number}", headers={"X-Request-Id": f"id{number}"})
    seen = {
        (sample.labels["verb"], sample.labels["route"])
        for sample in read_samples(ask)
        if sample.name == "pacifica_archive_requests_total"
    }

    assert {
        ("other", "/{file_id}"),
        ("GET", "other"),
        ("GET", "/files/{file_id}"),
        ("GET", "/{file_id}"),
    } == seen


@pytest.mark.parametrize(
    "path",
    [
        *(route.replace("{file_id}", "12") for route in RULES),
        *("/x", "/files", "/files/", "/files/x/y", "/a/b", "//", "/files//", ""),
        *("//5", "//files/5", "///metrics", "/5/", "//files//5"),
        *("/metrics/", "/metrics/x", "/files/status/", "/files/stage/5"),
    ],
)
def test_the_route_is_that_of_the_framework(path: str) -> None:
    found: list[str] = []

    class Resource:
        def on_get(self, req: falcon.Request, _resp: object, **_params: str) -> None:
            found.append(req.uri_template or "")

    app = falcon.App()
    for route in RULES:
        app.add_route(route, Resource())
    ByCall(app)("GET", path)

    assert (found or ["other"]) == [find_route(path)]


def test_the_bytes_of_an_upload_are_counted(ask: ByCall) -> None:
    ask("PUT", "/9", b"abc")

    assert 3 == read_number(ask, "received_bytes_total")


def test_the_bytes_of_a_broken_upload_are_counted_too(ask: ByCall) -> None:
    env = environment("PUT", "/9", b"abc")
    env["CONTENT_LENGTH"] = "10"
    ask.send(env)

    assert 3 == read_number(ask, "received_bytes_total")


def test_the_bytes_of_answers_are_counted(ask: ByCall) -> None:
    ask("GET", "/5")
    ask("GET", "/6")

    assert 100 + len(BIG) == read_number(ask, "sent_bytes_total")


def test_a_download_that_is_aborted_counts_what_was_sent(ask: ByCall) -> None:
    _, _, parts = ask.begin(environment("GET", "/6"))
    sent = len(next(iter(parts)))
    close(parts)

    assert (sent, 1) == (
        read_number(ask, "sent_bytes_total"),
        read_number(ask, "requests_total", problem="client-gone"),
    )


def test_a_file_that_the_server_sends_by_itself_counts_whole(
    tmp_path: Path,
) -> None:
    open_archive = pytest.importorskip("pacifica_archive_posix").PosixArchive
    with open_archive(open_archive.options_class(prefix=tmp_path)) as archive:
        with archive.create(6) as writer:
            writer.write(BIG)
        ask = ByCall(make_app(archive), {"wsgi.file_wrapper": lambda body, _size: body})
        _, _, parts = ask.begin(environment("GET", "/6"))
        close(parts)

        assert len(BIG) == read_number(ask, "sent_bytes_total")


def test_a_download_is_in_flight_until_its_end(ask: ByCall) -> None:
    _, _, parts = ask.begin(environment("GET", "/6"))
    during = read_number(ask, "transfers_in_flight", direction="download")
    close(parts)

    assert (1, 0) == (
        during,
        read_number(ask, "transfers_in_flight", direction="download"),
    )


def test_an_upload_is_in_flight_until_its_end(ask: ByCall) -> None:
    during: list[float] = []

    class Input(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            during.append(read_number(ask, "transfers_in_flight", direction="upload"))
            return super().read(size)

    env = environment("PUT", "/9", b"abc")
    env["wsgi.input"] = Input(b"abc")
    ask.send(env)

    assert (1, 0) == (
        during[0],
        read_number(ask, "transfers_in_flight", direction="upload"),
    )


@pytest.mark.parametrize(
    ("verb", "target", "body", "operation", "outcome"),
    [
        ("GET", "/5", None, "open", "ok"),
        ("GET", "/7", None, "open", "no-such-file"),
        ("HEAD", "/5", None, "status", "ok"),
        ("HEAD", "/7", None, "status", "no-such-file"),
        ("GET", "/files/5", None, "digests", "ok"),
        ("PUT", "/9", b"abc", "create", "ok"),
        ("PUT", "/9", b"abc", "commit", "ok"),
        ("POST", "/5", None, "stage", "ok"),
        ("DELETE", "/5", None, "delete", "ok"),
        ("DELETE", "/7", None, "delete", "no-such-file"),
        ("POST", "/files/status", b"5\n", "status_many", "ok"),
        ("POST", "/files/stage", b"5\n", "stage_many", "ok"),
        ("GET", "/readyz", None, "ready", "ok"),
    ],
)
def test_calls_of_the_backend_are_counted_and_timed(
    ask: ByCall,
    verb: str,
    target: str,
    body: bytes | None,
    operation: str,
    outcome: str,
) -> None:
    ask(verb, target, body)

    assert (1, 1) == (
        read_number(
            ask, "backend_operations_total", operation=operation, outcome=outcome
        ),
        read_number(ask, "backend_operation_seconds_count", operation=operation),
    )


def test_trashing_is_counted(archive: MemoryArchive) -> None:
    ask = ByCall(make_app(archive, ServerOptions(delete=Deletion.TRASH)))
    ask("DELETE", "/5")

    assert 1 == read_number(
        ask, "backend_operations_total", operation="trash", outcome="ok"
    )


def test_an_error_that_is_none_of_ours_is_counted_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with MemoryArchive() as archive:
        ask = ByCall(make_app(archive))
    ask("GET", "/5")
    caplog.clear()

    assert 1 == read_number(
        ask, "backend_operations_total", operation="open", outcome="internal-error"
    )


def test_a_file_on_tape_is_counted(ask: ByCall, archive: MemoryArchive) -> None:
    archive.purge(6)
    ask("GET", "/6")

    assert 1 == read_number(ask, "offline_refusals_total")


@pytest.mark.parametrize(
    ("outcome", "count"), [("online", 2), ("asked", 2), ("no-such-file", 2)]
)
def test_recalls_are_counted_one_by_one_and_of_lists(
    ask: ByCall, archive: MemoryArchive, outcome: str, count: int
) -> None:
    archive.purge(6)
    for file_id in (5, 6, 7):
        ask("POST", f"/{file_id}")
    ask("POST", "/files/stage", b"5\n6\n7\n")

    assert count == read_number(ask, "stage_requests_total", outcome=outcome)


def test_what_is_refused_for_too_many_transfers_is_counted(
    archive: MemoryArchive,
) -> None:
    ask = ByCall(make_app(archive, ServerOptions(max_transfers=0)))
    ask("GET", "/6")

    assert (1, 0) == (
        read_number(ask, "refused_transfers_total", reason="transfers-busy"),
        read_number(ask, "refused_transfers_total", reason="client-busy"),
    )


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def guarded(archive: MemoryArchive, tokens: Path) -> ByCall:
    """Ask with no token; the metrics are open."""
    add_token(tokens, "reader", scopes=[Scope.READ])
    options = ServerOptions(tokens=tokens, monitoring=Monitoring.OPEN)
    return ByCall(make_app(archive, options))


def test_a_refused_login_is_counted(guarded: ByCall) -> None:
    guarded("GET", "/5")

    assert (1, 0) == (
        read_number(guarded, "refused_logins_total", reason="unauthorized"),
        read_number(guarded, "refused_logins_total", reason="forbidden"),
    )


def test_a_token_that_does_not_allow_it_is_counted(
    guarded: ByCall, tokens: Path
) -> None:
    token = add_token(tokens, "writer", scopes=[Scope.WRITE])
    guarded("GET", "/5", headers={"Authorization": f"Bearer {token}"})

    assert 1 == read_number(guarded, "refused_logins_total", reason="forbidden")


def test_a_token_file_is_usable(guarded: ByCall) -> None:
    assert 1 == read_number(guarded, "token_file_usable")


@pytest.mark.parametrize("content", [None, "{broken"])
def test_a_token_file_that_is_not_is_told(
    guarded: ByCall, tokens: Path, content: str | None
) -> None:
    tokens.unlink()
    if content is not None:
        tokens.write_text(content)

    assert [0] == [
        sample.value
        for sample in read_samples(guarded)
        if sample.name == "pacifica_archive_token_file_usable"
    ]


class Away(MemoryArchive):
    def ready(self) -> None:
        raise RuntimeError


class Hung(MemoryArchive):
    let_go = threading.Event()

    def ready(self) -> None:
        self.let_go.wait(60)


def test_a_store_that_answers_is_ready(ask: ByCall) -> None:
    assert 1 == read_number(ask, "ready")


def test_a_store_that_is_away_is_not_ready() -> None:
    assert [0] == [
        sample.value
        for sample in read_samples(ByCall(make_app(Away())))
        if sample.name == "pacifica_archive_ready"
    ]


def test_a_store_that_hangs_hangs_no_metrics() -> None:
    archive = Hung()
    try:
        samples = read_samples(ByCall(make_app(archive)))
    finally:
        archive.let_go.set()

    assert "pacifica_archive_ready" not in {sample.name for sample in samples}


def test_the_version_and_the_backend_are_told(ask: ByCall) -> None:
    assert 1 == read_number(
        *(ask, "build_info"),
        version=metadata.version("pacifica-archive-http"),
        backend="memory",
    )


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/plain; version=none; escaping=none", "application/json"],
)
def test_the_format_is_that_of_prometheus(ask: ByCall, accept: str) -> None:
    answer = ask("GET", "/metrics", headers={"Accept": accept})

    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        answer.status,
        answer.headers["content-type"],
    )


def test_openmetrics_is_told_who_asks_for_it(ask: ByCall) -> None:
    ask("GET", "/6")
    answer = ask(
        "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=x"}
    )
    families = parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]  # prometheus-client
    names = {family.name for family in families}

    assert (
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        True,
    ) == (answer.headers["content-type"], "pacifica_archive_requests" in names)


def test_head_of_the_metrics_has_no_body(ask: ByCall) -> None:
    answer = ask("HEAD", "/metrics")

    assert (200, b"") == (answer.status, answer.body)


def test_what_is_told_is_declared(ask: ByCall) -> None:
    ask("GET", "/6")
    declared = {series.name: {*series.labels} for series in SERIES}
    told: dict[str, set[str]] = {}
    for sample in read_samples(ask):
        name = sample.name
        for end in ("_bucket", "_sum", "_count"):
            if name.removesuffix(end) in declared:
                name = name.removesuffix(end)
        # The library's own, which says since when a number is counted.
        if not name.endswith("_created"):
            told[name] = {*sample.labels} - {"le"}

    assert told == {name: declared[name] for name in told}


def test_two_applications_of_one_process_are_told_together(
    archive: MemoryArchive, tmp_path: Path
) -> None:
    asks = [ByCall(make_app(archive, metrics_directory=tmp_path)) for _ in "ab"]
    for ask in asks:
        ask("GET", "/5")
        ask("GET", "/5")

    assert [4, 4] == [
        read_number(ask, "requests_total", route="/{file_id}") for ask in asks
    ]


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="DIR cannot be used"):
        Metrics(tmp_path / "file")


def test_a_seat_that_is_being_taken_is_not_read(
    archive: MemoryArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are there before what is in them."""
    made, read = threading.Event(), threading.Event()
    allocate = os.posix_fallocate
    collect = MultiProcessCollector.collect

    def allocate_late(descriptor: int, start: int, size: int) -> None:
        made.set()
        read.wait(60)
        allocate(descriptor, start, size)

    def collect_late(collector: MultiProcessCollector) -> Iterable[Metric]:
        threads.submit(Metrics, tmp_path)
        # The other one must not get so far, and is not waited for long.
        made.wait(0.2)
        try:
            return collect(collector)  # type: ignore[no-any-return, no-untyped-call]  # prometheus-client
        finally:
            read.set()

    ask = ByCall(make_app(archive, metrics_directory=tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", allocate_late)
    monkeypatch.setattr(MultiProcessCollector, "collect", collect_late)
    with ThreadPoolExecutor() as threads:
        answer = ask("GET", "/metrics")

    assert answer.status == 200


# --- many processes --------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    """Run three workers, whose numbers are below tmp_path/tmp."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "tmp").mkdir()
    with running_server(
        *("-t", "posix", "--prefix", str(tmp_path / "archive"), "--workers", "3"),
        env={"TMPDIR": str(tmp_path / "tmp")},
    ) as server:
        yield server


def _kill_workers(server: LiveServer, ask: Ask) -> None:
    """Kill all workers, and wait until others are there."""
    killed = set(server.workers)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        if len(set(server.workers) - killed) < len(killed):
            return False
        try:
            return ask("GET", "/healthz").status == 200
        except OSError:
            return False

    wait_until(are_back, "new workers")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("age_s", "is_there"), [(3600, False), (0, True)])
def test_what_a_killed_server_left_is_removed(
    temporary: Path, age_s: int, *, is_there: bool
) -> None:
    """But for what is so new that it may not be locked yet."""
    left = temporary / "pacifica-archive-metrics-left"
    (left / "file").mkdir(parents=True)
    os.utime(left, (time.time() - age_s,) * 2)
    with new_directory():
        found = left.exists()

    assert is_there == found


@pytest.mark.usefixtures("temporary")
def test_the_directory_of_a_running_server_stays() -> None:
    with new_directory() as one:
        os.utime(one, (0, 0))
        with new_directory():
            found = one.exists()

    assert found


@needs_posix
def test_any_worker_tells_the_numbers_of_all(live: LiveServer) -> None:
    ask = OverHttp(live.address)
    for _ in range(300):
        ask("GET", "/files/7")
    told = {
        read_number(ask, "requests_total", route="/files/{file_id}", status="404")
        for _ in range(10)
    }

    assert told == {300}


@pytest.mark.parametrize("name", ["gunicorn", "uwsgi"])
def test_other_servers_tell_the_numbers_of_all_processes(
    request: pytest.FixtureRequest, name: str
) -> None:
    """Of those too that are forked when the application is loaded."""
    ask = OverHttp(request.getfixturevalue(name).address)
    counted = {"route": "/files/stage", "verb": "GET"}
    before = read_number(ask, "requests_total", **counted)
    for _ in range(40):
        ask("GET", "/files/stage")
    told = {read_number(ask, "requests_total", **counted) for _ in range(6)}

    assert told == {before + 40}


@needs_posix
def test_numbers_stay_when_workers_are_killed_and_transfers_go(
    live: LiveServer, tmp_path: Path
) -> None:
    ask = OverHttp(live.address)
    ask("PUT", "/6", bytes(1 << 25))
    with connect(live.address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        connection.sendall(b"GET /6 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(
            lambda: read_number(ask, "transfers_in_flight", direction="download"),
            "a download",
        )
        _kill_workers(live, ask)
    ask("PUT", "/6", b"again")

    assert (2, 0, 3) == (
        read_number(ask, "requests_total", verb="PUT"),
        read_number(ask, "transfers_in_flight"),
        len(list(tmp_path.glob("tmp/*/*.seat"))),
    )


@needs_posix
def test_a_server_that_ends_leaves_no_directory(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with running_server("-t", "memory", env={"TMPDIR": str(tmp_path / "tmp")}):
        during = len(list(tmp_path.glob("tmp/pacifica-archive-metrics-*")))

    assert (1, []) == (during, list((tmp_path / "tmp").iterdir()))
