"""``pacifica-archive serve``: the application on granian."""

from __future__ import annotations

import ctypes
import functools
import ipaddress
import logging
import multiprocessing
import multiprocessing.util
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from pacifica_archive_core import ArchiveError, ConfigError
from pacifica_archive_core.cli import archive_options
from pacifica_archive_core.options import option_help
from pacifica_archive_http.access_log import JsonLines, LineBuffer, open_log
from pacifica_archive_http.app import make_app
from pacifica_archive_http.fitting import check_archive
from pacifica_archive_http.guard import find_authenticators
from pacifica_archive_http.limits import ClientPlaces
from pacifica_archive_http.metrics import new_directory
from pacifica_archive_http.options import ServerOptions, load_server_options
from pacifica_archive_http.tls import (
    Credentials,
    MemoryFile,
    TlsFiles,
    load_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from wsgiref.types import WSGIApplication

    from pacifica_archive_core import ArchiveSpec

__all__ = ["serve"]

_log = logging.getLogger(__name__)

#: Seconds for a request's head to come, and for an idle connection to live.
HEAD_TIMEOUT_S = 30
#: Bytes of a request's head; more is a 431. A JSON Web Token of a grid is up to 8 KiB.
#: Of uploads too: with half of it a PUT costs a third more CPU.
MAX_HEAD = 1 << 17
#: Connections of a worker, idle ones included; more wait for one of them to end.
MAX_CONNECTIONS = 1024
#: Of a worker's threads, those that transfers may hold.
TRANSFER_SHARE = 0.75
#: More workers gain little: a disk or a network is the limit before.
_MAX_DEFAULT_WORKERS = 4
#: Of linux/prctl.h.
_PR_SET_PDEATHSIG = 1


@attrs.frozen(kw_only=True)
class _Settings:
    """What a worker needs to know; picklable."""

    spec: ArchiveSpec
    options: ServerOptions
    clients: ClientPlaces
    metrics_directory: Path


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--write-once`` and all other options of ``ServerOptions`` to a command."""
    for field in reversed(attrs.fields(ServerOptions)):
        flag = f"--{field.name.replace('_', '-')}"
        text = option_help(field)
        add = (
            click.option(flag, field.name, flag_value=True, default=None, help=text)
            if isinstance(field.default, bool)
            else click.option(flag, field.name, metavar="VALUE", help=text)
        )
        command = add(command)
    return command


def tls_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--tls-cert`` and what belongs to it to a command."""
    helps = {
        "--tls-cert": "Serve HTTPS with this certificate, its chain behind it (PEM).",
        "--tls-key": "Its private key (PEM).  [default: the file of --tls-cert]",
        "--tls-key-password-file": "File with the password of the key.",
        "--tls-client-ca": "Serve only clients with a certificate that one of these"
        " signed (PEM).",
    }
    for flag, text in reversed(helps.items()):
        add = click.option(
            flag, metavar="FILE", type=click.Path(path_type=Path), help=text
        )
        command = add(command)
    return command


@click.command()
@archive_options
@click.option(
    *("-p", "--port"),
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    *("-a", "--address"),
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes.  [default: the CPUs, at most 4; memory: 1]",
)
@click.option(
    "--threads",
    type=click.IntRange(2),
    default=64,
    show_default=True,
    help="Threads of each worker; transfers take up to three quarters of them.",
)
@click.option(
    "--stop-timeout",
    type=click.IntRange(1, 1800),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Time that running transfers have to finish when the server is stopped.",
)
@tls_options
@server_options
@click.option(
    "--anonymous",
    is_flag=True,
    help="Ask for no token on an address that others reach: whoever reaches it reads,"
    " writes and deletes.",
)
def serve(
    *,
    spec: ArchiveSpec,
    port: int,
    address: str,
    workers: int | None,
    threads: int,
    stop_timeout: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_key_password_file: Path | None,
    tls_client_ca: Path | None,
    anonymous: bool,
    **given: object,
) -> None:
    """
    Serve the archive over HTTP until SIGTERM or Ctrl-C.

    SIGHUP starts the workers anew, one by one, with the certificate read again.
    """
    tls = _find_tls(tls_cert, tls_key, tls_key_password_file, tls_client_ca)
    credentials = load_credentials(tls) if tls else None
    options = _find_options(spec, given, threads)
    if anonymous and options.is_guarded:
        raise click.UsageError(
            "--anonymous asks for no token: give no --tokens or --jwt"
        )
    # Here first: a worker that cannot begin is started again and again.
    find_authenticators(options)
    ip = _resolve(address)
    if not (ip.is_loopback or anonymous or options.is_guarded):
        raise click.BadParameter(
            f"{address} can be reached by others: give --tokens or --jwt, or"
            " --anonymous, which says that the network is trusted",
            param_hint="'--address'",
        )
    workers = _choose_workers(workers, shared=_try_to_open(spec, options))
    try:
        port = _find_port(ip, port)
        open_log(options.log_file)
    except OSError as exc:
        raise click.ClickException(str(exc)) from exc
    server = _Server(
        # Only a name: the loader below makes the application.
        "pacifica-archive",
        address=str(ip),
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEAD_TIMEOUT_S * 1000, max_buffer_size=MAX_HEAD
        ),
        workers=workers,
        blocking_threads=threads,
        backlog=MAX_CONNECTIONS,
        backpressure=MAX_CONNECTIONS,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=stop_timeout,
        log_level=LogLevels.warning,
        log_dictconfig=_log_config(options.log_file),
    )
    if tls and credentials:
        server.use(credentials)
        server.on_reload(functools.partial(_renew, server, tls))
    elif options.is_guarded and not ip.is_loopback:
        _log.warning(
            "tokens go over the network in the clear: give --tls-cert, or have a"
            " proxy with TLS in front and listen on a loopback address"
        )
    # A worker begins with this process's handlers, which do nothing in it: told to
    # stop before granian sets its own, it would run until it is killed.
    os.register_at_fork(after_in_child=_end_by_signals)
    server.on_startup(functools.partial(_announce_soon, ip, port, tls=tls is not None))
    with new_directory() as directory:
        settings = _Settings(
            spec=spec,
            options=options,
            # Before the fork: the workers share it.
            clients=ClientPlaces(options.client_transfers),
            metrics_directory=directory,
        )
        load = functools.partial(_load, settings)
        server.serve(target_loader=load, wrap_loader=False)


class _Server(MPServer):
    """Granian, which tells its workers to stop until they do."""

    _kept: tuple[MemoryFile, ...] = ()

    def use(self, credentials: Credentials) -> None:
        """Let the workers that begin from now on have this certificate."""
        if credentials.complaint:
            _log.warning(
                "clients will refuse the certificate of --tls-cert: %s",
                credentials.complaint,
            )
        for file in self._kept:
            file.close()
        certificate = MemoryFile(credentials.certificate)
        key = MemoryFile(credentials.key)
        # Empty where there is none, and not given to granian.
        client_ca = MemoryFile(credentials.client_ca or b"")
        self._kept = (certificate, key, client_ca)
        # As granian makes it of its arguments, but for its resolving of paths, which
        # would make one that is not there of a descriptor's.
        asks = credentials.client_ca is not None
        self.ssl_ctx = (
            *(True, certificate.path, key.path, None, SSLProtocols.tls12.value),
            *(client_ca.path if asks else None, [], asks),
        )  # type: ignore[assignment]  # granian has no type for it

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (as granian has it)
        super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]  # granian
        threading.Thread(target=self._tell_again, daemon=True).start()

    def _tell_again(self) -> None:
        # One that is told between setting its handlers and listening to them has
        # forgotten it (granian 2.8), and would run until it is killed.
        ended = threading.main_thread().join
        while self.wrks:
            ended(0.5)
            for worker in tuple(self.wrks):
                worker.terminate()  # type: ignore[no-untyped-call]  # granian


def _renew(server: _Server, tls: TlsFiles) -> None:
    """Read the certificate again; one that cannot be used changes nothing."""
    try:
        server.use(load_credentials(tls))
    except ConfigError as exc:
        _log.error("the certificate stays the one in use: %s", exc)


def _find_tls(
    certificate: Path | None,
    key: Path | None,
    password_file: Path | None,
    client_ca: Path | None,
) -> TlsFiles | None:
    if certificate is not None:
        return TlsFiles(
            certificate=certificate,
            key=key or certificate,
            password_file=password_file,
            client_ca=client_ca,
        )
    if key or password_file or client_ca:
        raise click.UsageError("TLS wants --tls-cert")
    return None


def _load(settings: _Settings) -> WSGIApplication:
    """Open the archive and make the application; runs in each worker."""
    if sys.platform == "linux":
        # When the main process is killed: it would serve on, with nobody to stop it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Granian puts the environment of the process under that of each request, where
    # HTTP_RANGE, say, would be a field of every request that has none.
    for name in os.environ:
        if name.startswith(("HTTP_", "CONTENT_")):
            del os.environ[name]
    archive = settings.spec.open()
    log = LineBuffer(open_log(settings.options.log_file))
    # Workers leave through multiprocessing, which passes over atexit.
    multiprocessing.util.Finalize(None, archive.close, exitpriority=0)
    multiprocessing.util.Finalize(None, log.close, exitpriority=0)
    return make_app(
        archive,
        settings.options,
        access_log=log.put,
        metrics_directory=settings.metrics_directory,
        clients=settings.clients,
    )


def _end_by_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _find_options(
    spec: ArchiveSpec, given: Mapping[str, object], threads: int
) -> ServerOptions:
    """Return the options of the file, the environment and the command line."""
    options = load_server_options(
        os.environ,
        file=spec.config,
        given={name: value for name, value in given.items() if value is not None},
    )
    if options.max_transfers is not None:
        return options
    return attrs.evolve(options, max_transfers=int(threads * TRANSFER_SHARE))


def _resolve(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise click.BadParameter(
            f"{address!r} is no address of this host", param_hint="'--address'"
        ) from exc
    return ipaddress.ip_address(found[0][4][0])


def _try_to_open(spec: ArchiveSpec, options: ServerOptions) -> bool:
    """
    Open the archive once, and tell whether processes can share it.

    In a process of its own: the workers are forked from this one, and what a
    backend's C library leaves behind must not be in them.

    Raises:
        ArchiveError: it cannot be opened, so no worker could; or has no trash and is
            to have one.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    probe = multiprocessing.Process(
        target=_open_and_close, args=(spec, options, sender)
    )
    probe.start()
    sender.close()
    try:
        answer: bool | ArchiveError = receiver.recv()
    except EOFError as exc:
        raise ArchiveError("opening the archive ended the process") from exc
    finally:
        probe.join()
    if isinstance(answer, ArchiveError):
        raise answer
    return answer


def _open_and_close(
    spec: ArchiveSpec, options: ServerOptions, sender: Connection
) -> None:
    try:
        with spec.open() as archive:
            check_archive(archive, options)
            sender.send(archive.shared_between_processes)
    except ArchiveError as exc:
        sender.send(exc)


def _choose_workers(workers: int | None, *, shared: bool) -> int:
    if shared:
        cpus = len(os.sched_getaffinity(0))
        return workers or min(cpus, _MAX_DEFAULT_WORKERS)
    if workers not in (None, 1):
        raise click.BadParameter(
            "this backend keeps its files in one process: one worker only",
            param_hint="'--workers'",
        )
    return 1


def _find_port(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> int:
    """
    Return the port if it is free, or a free one for 0.

    Granian's sockets share a port with whoever else wants to, so another server
    on it would silently get a part of the requests.
    """
    with _new_socket(ip) as probe:
        # Connections of a server that has just ended are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((str(ip), port))
        return int(probe.getsockname()[1])


def _new_socket(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> socket.socket:
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET  # noqa: PLR2004 (IPv6)
    return socket.socket(family, socket.SOCK_STREAM)


def _announce_soon(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, tls: bool
) -> None:
    """Say where the server is, as soon as it is there."""
    host = f"[{ip}]" if ip.version == 6 else str(ip)  # noqa: PLR2004 (IPv6)
    scheme = "https" if tls else "http"

    def announce() -> None:
        ended = threading.main_thread().join
        while True:
            try:
                # Not create_connection: a worker must not be forked while the
                # resolver holds its lock.
                with _new_socket(ip) as connection:
                    connection.settimeout(1)
                    connection.connect((str(ip), port))
                break
            except OSError:
                ended(0.02)
        # One call, no lock: a worker may be forked in the midst of it.
        os.write(1, f"serving at {scheme}://{host}:{port}\n".encode())

    threading.Thread(target=announce, daemon=True).start()


class _NotAboutThreads(logging.Filter):
    """Drops granian's advice to have fewer threads: ours wait for slow clients."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Python threads" not in record.getMessage()


def _log_config(log_file: str | None) -> dict[str, Any]:
    """Return the logging of the server and its workers: all of it JSON lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {},
        "filters": {"threads": {"()": _NotAboutThreads}},
        "handlers": {
            "lines": {"()": JsonLines, "path": log_file, "filters": ["threads"]}
        },
        "loggers": {"_granian": {"level": "WARNING", "propagate": True}},
        "root": {"handlers": ["lines"], "level": "WARNING"},
    }
