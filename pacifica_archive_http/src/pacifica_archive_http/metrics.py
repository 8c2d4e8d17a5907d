"""
``/metrics``: what the server did, for Prometheus, right across its workers.

Every series is declared once, in ``SERIES``; the docs' table is made of it.

With a directory, each process keeps its numbers in files there that all of them
read, so that any of them answers for all. The files belong to seats, not to
processes: who takes the place of a worker that died takes its seat and counts on
from its numbers. So they never fall, and the files are as many as there were
processes at one time.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics

from pacifica_archive_core import ArchiveError, ConfigError
from pacifica_archive_http.access import RULES
from pacifica_archive_http.status_table import CLIENT_GONE, PROBLEMS, find_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    import falcon
    from prometheus_client.core import Metric

    from pacifica_archive_http.tokens import TokenFile

__all__ = [
    "DIRECTORY_VARIABLE",
    "SERIES",
    "Metrics",
    "MetricsPage",
    "Series",
    "find_route",
    "new_directory",
]

#: As every user of prometheus-client calls it; its values look at no other name.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text"
#: Bytes of each file of a seat: some hundred series, ten times what there are.
_FILE_SIZE = 1 << 18
_FILES = ("counter", "histogram", "gauge_livesum")
#: Seconds that a request takes: of a status, and of terabytes.
_REQUEST_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200)
#: Of one call of the backend: of a disk, and of a tape library that is asked.
_OPERATION_BUCKETS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300)
_PREFIX = "pacifica-archive-metrics-"
#: Seconds after which a directory that nobody has locked was left by a server.
_SWEPT_S = 60
_OTHER = "other"
_VERBS = frozenset(verb for verbs in RULES.values() for verb in verbs)
_PLAIN = frozenset(route for route in RULES if "{" not in route)
#: What is before the last slash to the route that ends with an id.
_WITH_ID = {route.rpartition("/")[0]: route for route in RULES if "{" in route}


@attrs.frozen(kw_only=True)
class Series:
    """
    What is told, under one name.

    Attributes:
        name: as Prometheus shows it, its unit within.
        text: its meaning.
        labels: names of its labels; each has few values, and none is made of what
            a client sends.
        buckets: of a histogram: its upper bounds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUESTS = Series(
    name="pacifica_archive_requests_total",
    kind="counter",
    text="requests that were answered, downloads when they ended; problem is the"
    " last word of the problem type, or client-gone, or empty",
    labels=("verb", "route", "status", "problem"),
)
FAILURES = Series(
    name="pacifica_archive_problems_total",
    kind="counter",
    text="requests that ended in a problem; each is told from the start, so that an"
    " alarm sees the first one too",
    labels=("problem",),
)
SECONDS = Series(
    name="pacifica_archive_request_duration_seconds",
    kind="histogram",
    text="time from a request's head to the end of its answer, bodies included",
    labels=("verb",),
    buckets=_REQUEST_BUCKETS,
)
RECEIVED = Series(
    name="pacifica_archive_received_bytes_total",
    kind="counter",
    text="bytes of uploads that were read, those of refused or broken ones too",
)
SENT = Series(
    name="pacifica_archive_sent_bytes_total",
    kind="counter",
    text="bytes of answers that were handed to the network, those of aborted"
    " downloads too; whole files where uWSGI or gunicorn send them by themselves,"
    " none of what nginx sends",
)
IN_FLIGHT = Series(
    name="pacifica_archive_transfers_in_flight",
    kind="gauge",
    text="transfers that run now; direction is upload or download",
    labels=("direction",),
)
BUSY = Series(
    name="pacifica_archive_refused_transfers_total",
    kind="counter",
    text="requests refused because too many transfers ran; reason is"
    " transfers-busy (of all) or client-busy (of one client)",
    labels=("reason",),
)
LOGINS = Series(
    name="pacifica_archive_refused_logins_total",
    kind="counter",
    text="requests refused for their token; reason is unauthorized (none, or none"
    " that is valid) or forbidden (not allowed this)",
    labels=("reason",),
)
OFFLINE = Series(
    name="pacifica_archive_offline_refusals_total",
    kind="counter",
    text="requests refused because the file is on tape only",
)
STAGES = Series(
    name="pacifica_archive_stage_requests_total",
    kind="counter",
    text="files whose recall was asked for; outcome is online (on disk already),"
    " asked, or the problem",
    labels=("outcome",),
)
OPERATIONS = Series(
    name="pacifica_archive_backend_operations_total",
    kind="counter",
    text="calls of the backend; outcome is ok or the problem",
    labels=("operation", "outcome"),
)
OPERATION_SECONDS = Series(
    name="pacifica_archive_backend_operation_seconds",
    kind="histogram",
    text="time that calls of the backend took; of create and open without the bytes",
    labels=("operation",),
    buckets=_OPERATION_BUCKETS,
)
READY = Series(
    name="pacifica_archive_ready",
    kind="gauge",
    text="1 if the backend answered when it was last asked, as /readyz asks, else 0",
)
TOKENS = Series(
    name="pacifica_archive_token_file_usable",
    kind="gauge",
    text="1 if the token file is in force as it is, 0 if it is gone or broken; of"
    " servers with a token file",
)
INFO = Series(
    name="pacifica_archive_build_info",
    kind="gauge",
    text="1; version is that of pacifica-archive-http",
    labels=("version", "backend"),
)

#: All that there is, in the order of the docs.
SERIES = (
    *(REQUESTS, FAILURES, SECONDS, RECEIVED, SENT, IN_FLIGHT, BUSY, LOGINS),
    *(OFFLINE, STAGES, OPERATIONS, OPERATION_SECONDS, READY, TOKENS, INFO),
)
#: Counted by a name of a problem, each in a series of its own.
_COUNTED = {
    "transfers-busy": BUSY,
    "client-busy": BUSY,
    "unauthorized": LOGINS,
    "forbidden": LOGINS,
    "file-offline": OFFLINE,
}


def find_route(path: str) -> str:
    """Return the route of an address, as the framework would: a key of ``RULES``."""
    # Falcon passes over what slashes are before the rest.
    path = f"/{path.lstrip('/')}"
    if path in _PLAIN:
        return path
    return _WITH_ID.get(path.rpartition("/")[0], _OTHER)


class Metrics:
    """
    Counts what one application does.

    Args:
        directory: where all processes that are told of together keep their
            numbers; made if it is not there. None: this process alone.

    Raises:
        ConfigError: the directory cannot be used.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._seats = None if directory is None else _Seats(directory)
        self._values: Any = (
            values.MutexValue
            if self._seats is None
            else values.MultiProcessValue(self._seats)  # type: ignore[no-untyped-call]  # prometheus-client
        )
        self._metrics: dict[str, Any] = {}
        self._found: dict[tuple[str, ...], Any] = {}
        for series in SERIES:
            if series not in (READY, TOKENS, INFO):
                with self._own_values():
                    self._metrics[series.name] = self._make(series)
        # There from the start: of what appears with a 1, no rate can be told.
        for name in {problem.name for problem in PROBLEMS.values()} | {CLIENT_GONE}:
            self.child(FAILURES, name)
        for direction in ("upload", "download"):
            self.child(IN_FLIGHT, direction)
        for problem, series in _COUNTED.items():
            self._count(problem, series, 0)

    def finish(
        self,
        *,
        verb: str,
        path: str,
        status: str,
        problem: str | None,
        seconds: float,
        received: int | None,
        sent: int | None,
    ) -> None:
        """Count a request that has ended."""
        verb = verb if verb in _VERBS else _OTHER
        problem = problem or ""
        self.child(REQUESTS, verb, find_route(path), status, problem).inc()
        self.child(SECONDS, verb).observe(seconds)
        if received:
            self.child(RECEIVED).inc(received)
        if sent:
            self.child(SENT).inc(sent)
        if problem:
            self.child(FAILURES, problem).inc()
        if (counted := _COUNTED.get(problem)) is not None:
            self._count(problem, counted, 1)

    def operation(self, name: str) -> _Operation:
        """Count and time the call of the backend in the with-block."""
        return _Operation(self, name)

    def staged(self, answer: bool | ArchiveError) -> None:  # noqa: FBT001 (an answer of stage_many)
        """Count a file whose recall was asked for."""
        if isinstance(answer, ArchiveError):
            outcome = find_problem(type(answer)).name
        else:
            outcome = "online" if answer else "asked"
        self.child(STAGES, outcome).inc()

    def moving(self, direction: Literal["upload", "download"], by: int) -> None:
        """Count a transfer that begins (1) or ends (-1)."""
        self.child(IN_FLIGHT, direction).inc(by)

    def child(self, series: Series, *labels: str) -> Any:  # noqa: ANN401 (of three classes)
        """Return what counts the series with these labels."""
        key = (series.name, *labels)
        try:
            return self._found[key]
        except KeyError:
            with self._own_values():
                metric = self._metrics[series.name]
                found = metric.labels(*labels) if labels else metric
                return self._found.setdefault(key, found)

    def collect(self, *, others: Iterable[Metric] = ()) -> CollectorRegistry:
        """
        Return all numbers as they are now, of all processes.

        Args:
            others: told with them.
        """
        if self._seats is None:
            numbers = tuple(self._registry.collect())
        else:
            collector = MultiProcessCollector(None, str(self._seats.directory))  # type: ignore[no-untyped-call]  # prometheus-client
            with self._seats.guard():
                self._seats.clear()
                # A file that is being made has not what the library looks for.
                numbers = tuple(collector.collect())  # type: ignore[no-untyped-call]  # as above
        told = CollectorRegistry(auto_describe=False)
        told.register(_Told((*numbers, *others)))
        return told

    def _count(self, problem: str, series: Series, by: int) -> None:
        self.child(series, *([problem] if series.labels else [])).inc(by)

    def _make(self, series: Series) -> Counter | Gauge | Histogram:
        more: dict[str, Any] = {"registry": self._registry}
        kind: Any = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}[
            series.kind
        ]
        if series.kind == "gauge":
            more["multiprocess_mode"] = "livesum"
        if series.buckets:
            more["buckets"] = series.buckets
        made: Counter | Gauge | Histogram = kind(
            series.name, series.text, series.labels, **more
        )
        return made

    @contextlib.contextmanager
    def _own_values(self) -> Iterator[None]:
        """Have the library make values of ours; those of others stay as they are."""
        with self._lock:
            others = values.ValueClass
            values.ValueClass = self._values
            try:
                yield
            finally:
                values.ValueClass = others


class _Operation:
    """One call of the backend."""

    __slots__ = ("_began", "_metrics", "_name")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._began
        outcome = "ok"
        if kind is not None:
            error = kind if issubclass(kind, Exception) else Exception
            outcome = find_problem(error).name
        self._metrics.child(OPERATIONS, self._name, outcome).inc()
        self._metrics.child(OPERATION_SECONDS, self._name).observe(seconds)


class _Told:
    """A collector of what was collected."""

    def __init__(self, metrics: tuple[Metric, ...]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Seats:
    """
    The seats of a directory; called, the name of the one of this process.

    A seat is held by a lock that ends with its process, however that ends. Of a
    seat that nobody holds the counters stay, and what is in flight goes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pid = 0
        self._held = -1
        self._name = ""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Where the values of the library look for it, and nowhere else.
            os.environ[DIRECTORY_VARIABLE] = str(directory)
            self()
        except OSError as exc:
            raise ConfigError(
                f"{DIRECTORY_VARIABLE} cannot be used: {exc.strerror}"
            ) from exc

    def __call__(self) -> str:
        # After a fork it is another process, which takes a seat of its own.
        if self._pid != (pid := os.getpid()):
            self._name = self._take()
            self._pid = pid
        return self._name

    def clear(self) -> None:
        """Forget what was in flight in processes that are gone; in the guard."""
        for path in self.directory.glob("*.seat"):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if _try_lock(descriptor):
                    self._forget(path.stem)
            finally:
                os.close(descriptor)

    def _take(self) -> str:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with self.guard():
            for number in itertools.count():
                path = self.directory / f"{number}.seat"
                descriptor = os.open(path, flags, 0o600)
                if _try_lock(descriptor):
                    self._held = descriptor
                    self._forget(path.stem)
                    for kind in _FILES:
                        self._allocate(f"{kind}_{path.stem}.db")
                    return path.stem
                os.close(descriptor)
        raise AssertionError  # There is no last number.

    def _forget(self, name: str) -> None:
        (self.directory / f"gauge_livesum_{name}.db").unlink(missing_ok=True)

    def _allocate(self, name: str) -> None:
        """Have the space at once: writing to a map without it ends the process."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.directory / name, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_SIZE)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Let one process at a time take seats or look at them."""
        descriptor = os.open(
            self.directory / "guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    # Not lockf: it is of a process, which may have two applications.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def new_directory() -> Iterator[Path]:
    """
    Make a directory for the processes of one server, and remove it at the end.

    Those of servers that were killed are removed first.
    """
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # systemd-tmpfiles leaves alone what is locked, however old (tmpfiles.d).
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(descriptor)


def _sweep() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another's, or one that is not even a directory, is none of our business.
        with contextlib.suppress(OSError):
            status = path.lstat()
            is_new = time.time() - status.st_mtime < _SWEPT_S
            if is_new or status.st_uid != os.geteuid():
                continue
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # The workers have the lock too, as long as one of them lives.
                if _try_lock(descriptor):
                    shutil.rmtree(path)
            finally:
                os.close(descriptor)


@attrs.frozen(kw_only=True)
class MetricsPage:
    """
    The resource ``/metrics``.

    Attributes:
        backend: its name.
        is_ready: whether the backend answered last; None: not known yet.
        tokens: the token file; None: there is none.
    """

    metrics: Metrics
    backend: str
    is_ready: Callable[[], bool | None]
    tokens: TokenFile | None

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in the format that is asked for."""
        told = self.metrics.collect(others=self._of_now())
        # Not the library's choose_encoder: it fails on a version that is none.
        if _OPENMETRICS in (req.get_header("Accept") or ""):
            resp.content_type = f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"
            resp.data = openmetrics.generate_latest(told)  # type: ignore[no-untyped-call]  # prometheus-client
        else:
            resp.content_type = _TEXT
            resp.data = generate_latest(told)

    on_head = on_get

    def _of_now(self) -> Iterator[Metric]:
        """Yield what is the same in every worker, and is looked at only here."""
        found: Mapping[Series, bool | None] = {
            READY: self.is_ready(),
            TOKENS: None if self.tokens is None else self.tokens.is_usable(),
        }
        for series, value in found.items():
            if value is not None:
                yield GaugeMetricFamily(series.name, series.text, value=int(value))
        info = GaugeMetricFamily(INFO.name, INFO.text, labels=INFO.labels)
        info.add_metric((metadata.version("pacifica-archive-http"), self.backend), 1)
        yield info
