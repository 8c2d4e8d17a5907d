"""The servers that are compared: how each is run at its best."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from places import Place

__all__ = [
    "HOST",
    "WORKERS",
    "Contender",
    "Running",
    "clean_environment",
    "contenders",
    "nginx",
    "nginx_version",
    "our_version",
    "ours",
    "output",
    "run",
]

HOST = "127.0.0.1"
#: Worker processes of each server.
WORKERS = 2
_START_S = 30.0
_STOP_S = 90.0
_TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class Contender:
    """
    One server to measure.

    Attributes:
        name: what the report calls it.
        command: makes the command that serves a place's store on a port.
        version: its version and those of what it stands on.
        head_status: what it answers to HEAD of a file.
        digests: whether it keeps a digest with each file; None: it has none to keep.
        remote: whether the remote backend is measured on it.
        closes: whether it closes the connection after each answer; wrk then
            counts an answer without a length as a read error too.
        headers: fields of every request to it.
        tokens: a file of values for ``Authorization``, one a line, each used for one
            small request in turn; in the place of that field in ``headers``.
        certificate: of the server, which is asked by TLS then; None: by HTTP.
    """

    name: str
    command: Callable[[Place, int], tuple[str, ...]]
    version: Callable[[], str]
    head_status: int
    digests: bool | None = None
    remote: bool = False
    closes: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict)
    tokens: Path | None = None
    certificate: Path | None = None
    environment: Callable[[Place], Mapping[str, str]] = lambda _: {}


@attrs.frozen(kw_only=True)
class Usage:
    """What the processes of a server have used so far."""

    cpu_s: float
    #: Sum of the largest resident sizes; pages that they share count in each.
    peak_bytes: int


@attrs.frozen
class Running:
    """A server that has answered."""

    contender: Contender
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        scheme = "http" if self.contender.certificate is None else "https"
        return f"{scheme}://{HOST}:{self.port}"

    def ask(self, method: str, target: str) -> tuple[http.client.HTTPMessage, bytes]:
        """Return headers and body; an answer other than 2xx is an HTTPException."""
        with contextlib.closing(self._connect()) as connection:
            connection.request(method, target, headers=dict(self.contender.headers))
            with connection.getresponse() as response:
                if response.status // 100 != 2:
                    raise http.client.HTTPException(f"{target}: {response.status}")
                return response.headers, response.read()

    def _connect(self) -> http.client.HTTPConnection:
        if (certificate := self.contender.certificate) is None:
            return http.client.HTTPConnection(HOST, self.port, timeout=5)
        context = ssl.create_default_context(cafile=certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return http.client.HTTPSConnection(HOST, self.port, timeout=5, context=context)

    def fetch(self, file_id: int) -> bytes:
        """Get a small file."""
        return self.ask("GET", f"/{file_id}")[1]

    def usage(self) -> Usage:
        """Sum over the server's processes, its dead children included."""
        pids = process_tree(self.pid)
        return Usage(
            cpu_s=sum(map(_cpu_s, pids)), peak_bytes=sum(map(_peak_bytes, pids))
        )


@contextlib.contextmanager
def run(contender: Contender, place: Place) -> Iterator[Running]:
    """Run a server over a place's store until the end of the block."""
    port = _free_port()
    with (place.directory / "output").open("wb") as output:
        process = subprocess.Popen(
            contender.command(place, port),
            env={**clean_environment(), **contender.environment(place)},
            cwd=place.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        running = Running(contender, port, process.pid)
        try:
            _wait_until_it_serves(running, process, place)
            yield running
        finally:
            _stop(process)


def contenders(release_042: Path | None) -> list[Contender]:
    """
    Return all servers, the ones of release 0.4.2 only where it is installed.

    Args:
        release_042: the ``bin`` directory of its environment, with uWSGI in it.
    """
    found = [
        Contender(
            name=name,
            command=functools.partial(ours, durable=durable, digests=digests),
            version=our_version,
            head_status=204,
            digests=digests,
            remote=not durable,
        )
        for name, durable, digests in (
            ("ours", False, True),
            ("ours, no digests", False, False),
            ("ours, durable", True, True),
        )
    ]
    found.append(
        Contender(
            name="nginx",
            command=nginx,
            version=nginx_version,
            head_status=200,
        )
    )
    if release_042 is not None:
        found.append(
            Contender(
                name="0.4.2",
                command=lambda _, port: _uwsgi(release_042, port),
                version=lambda: _version_042(release_042),
                head_status=204,
                closes=True,
                environment=_environment_042,
            )
        )
    return found


def ours(place: Place, port: int, *, durable: bool, digests: bool) -> tuple[str, ...]:
    """Return the command of ours."""
    return (
        *(str(Path(sys.executable).parent / "pacifica-archive"), "serve"),
        *("-t", "posix", "--prefix", str(place.store)),
        *("-o", f"durable={str(durable).lower()}"),
        *(() if digests else ("--digests", "none")),
        *("-a", HOST, "-p", str(port), "--workers", str(WORKERS)),
        *("--log-file", str(place.log)),
    )


def nginx(
    place: Place, port: int, *, tls: tuple[Path, Path] | None = None
) -> tuple[str, ...]:
    """
    Write the configuration: dav, 1 MiB buffers, bodies moved by a rename.

    Args:
        place: what it serves.
        port: where it listens.
        tls: its certificate and key.
    """
    (place.directory / "bodies").mkdir(exist_ok=True)
    config = place.directory / "nginx.conf"
    # As root its workers would be another user, who may not write to the store.
    user = "user root;" if os.geteuid() == 0 else ""
    secured = ""
    if tls is not None:
        secured = (
            f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};"
            " ssl_protocols TLSv1.3;"
        )
    config.write_text(
        f"""
        load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
        daemon off;
        {user}
        worker_processes {WORKERS};
        pid {place.directory}/nginx.pid;
        error_log {place.directory}/nginx-error.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log {place.log} combined;
            client_body_temp_path {place.directory}/bodies;
            proxy_temp_path {place.directory}/bodies;
            fastcgi_temp_path {place.directory}/bodies;
            uwsgi_temp_path {place.directory}/bodies;
            scgi_temp_path {place.directory}/bodies;
            client_max_body_size 0;
            client_body_buffer_size 1m;
            output_buffers 2 1m;
            sendfile on;
            sendfile_max_chunk 1m;
            keepalive_requests 1000000000;
            default_type application/octet-stream;
            server {{
                listen {HOST}:{port}{" ssl" if tls else ""};
                {secured}
                location / {{
                    root {place.store};
                    dav_methods PUT DELETE;
                }}
            }}
        }}
        """
    )
    return (
        *("nginx", "-c", str(config), "-p", str(place.directory)),
        *("-e", str(place.directory / "nginx-error.log")),
    )


def nginx_version() -> str:
    """Return the version of nginx."""
    return output("nginx", "-v").removeprefix("nginx version: ")


def _uwsgi(release_042: Path, port: int) -> tuple[str, ...]:
    """
    Run 0.4.2 as fast as uWSGI can while its answers stay right.

    One thread a process: threads share one open file. ``--http-socket``: its GET
    has no Content-Length, so a connection that stays open never ends it
    (``--http11-socket`` hangs), and chunked by uWSGI's router it takes 40 ms a
    request; the router without that is slower than none. Its own access log is
    on, so uWSGI's second line for each request is off.
    """
    return (
        *(str(release_042 / "uwsgi"), "--http-socket", f"{HOST}:{port}"),
        *("--master", "--processes", str(WORKERS), "--die-on-term", "--need-app"),
        *("--disable-logging", "--add-header", "Connection: close"),
        *("--module", "pacifica.archiveinterface.wsgi:application"),
    )


def _environment_042(place: Place) -> dict[str, str]:
    config = place.directory / "cherrypy.ini"
    config.write_text("[/]\nrequest.dispatch = cherrypy.dispatch.MethodDispatcher()\n")
    return {
        "PAI_BACKEND_TYPE": "posix",
        "PAI_PREFIX": str(place.store),
        "ARCHIVEINTERFACE_CPCONFIG": str(config),
        "ARCHIVEINTERFACE_CONFIG": str(place.directory / "none.ini"),
    }


def our_version() -> str:
    """Return our version and that of what it stands on."""
    program = (
        "from importlib.metadata import version as v;"
        "print(f\"{v('pacifica-archive-http')} on granian {v('granian')},"
        " falcon {v('falcon')}\")"
    )
    return output(sys.executable, "-c", program)


def _version_042(release_042: Path) -> str:
    program = (
        "from importlib.metadata import version as v;"
        "print(f\"pacifica-archiveinterface {v('pacifica-archiveinterface')} on"
        " uWSGI {v('uwsgi')}, CherryPy {v('cherrypy')}\")"
    )
    return output(str(release_042 / "python"), "-c", program)


def output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def clean_environment() -> dict[str, str]:
    """Return this environment without what would configure an archive."""
    ours = re.compile(r"PACIFICA_ARCHIVE|ARCHIVEI|PAI_")
    # Debian keeps nginx where only root's PATH looks.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    kept = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {**kept, "PATH": path}


def _wait_until_it_serves(
    running: Running, process: subprocess.Popen[bytes], place: Place
) -> None:
    """Ask for a stored file until its bytes come."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if running.fetch(1) == place.small_content(1):
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    output = (place.directory / "output").read_text(errors="replace")
    raise RuntimeError(f"{running.contender.name} does not serve: {output}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and, if it does not, everything that it started."""
    pids = process_tree(process.pid)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def process_tree(root: int) -> list[int]:
    """Return a process and all its descendants that live."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def _stat(pid: int) -> list[str]:
    """Return the fields of proc(5)'s stat from ``state`` on."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The name before them may hold spaces and parentheses.
    return text[text.rindex(")") + 2 :].split()


def _cpu_s(pid: int) -> float:
    """Return the seconds that a process and its reaped children have computed."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def _peak_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(match[1]) * 1024 if match else 0
