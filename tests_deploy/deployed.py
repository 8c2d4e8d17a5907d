"""
A machine in a directory, on which the files of deploy/ are started as they are.

They name absolute paths. Here each of them is below the directory of a test, and each
port is a free one; nothing else of the files is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "ALL_SCOPES",
    "DEPLOY",
    "LIMIT_S",
    "NGINX",
    "ROOT",
    "Machine",
    "Unit",
    "free_port",
    "run_post_deployment_tests",
    "running",
    "running_nginx",
]

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
ALL_SCOPES = ("read", "write", "stage", "move", "delete", "status")
#: No test waits longer for anything; CI is slow.
LIMIT_S = 60
# Debian keeps it where only root's PATH looks.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
_BIN = Path(sys.executable).parent
#: What the files name: a path that begins where no other goes on.
_PATH = re.compile(r"(?<![\w./$}-])/(?=(?:etc|opt|root|run|srv|var)/)")
_POST_DEPLOYMENT = ROOT / "pacifica_archive_http" / "post_deployment_tests"
#: Of this machine's owner, and not of the one of a test.
_FOREIGN = ("PACIFICA_ARCHIVE_", "PAI_", "ARCHIVEI", "PROMETHEUS_", "ARCHIVE_")


@attrs.frozen(kw_only=True)
class Unit:
    """
    What a unit of systemd says, as far as it can be done without systemd.

    Attributes:
        commands: what it starts, one after the other.
        is_oneshot: it ends by itself.
    """

    commands: tuple[tuple[str, ...], ...]
    env: dict[str, str]
    is_oneshot: bool

    @property
    def command(self) -> tuple[str, ...]:
        """The first of the commands."""
        return self.commands[0]


@attrs.frozen
class Machine:
    """
    A machine whose ``/`` is a directory.

    Attributes:
        root: the directory.
    """

    root: Path

    def path(self, name: str) -> Path:
        """Return where an absolute path of the machine is."""
        return self.root / name.lstrip("/")

    def placed(self, text: str) -> str:
        """Put every absolute path of a text below the root."""
        return _PATH.sub(f"{self.root}/", text)

    def install(self, name: str, to: str, change: Callable[[str], str] = str) -> Path:
        """Copy a file of deploy/, its paths being of this machine."""
        path = self.path(to)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(change(self.placed((DEPLOY / name).read_text())))
        return path

    def make(self) -> None:
        """Do what docs/facility.md does before a server is started."""
        for name in ("srv/archive", "var/log/pacifica-archive", "var/log/nginx"):
            self.path(name).mkdir(parents=True)
        self.path("etc/pacifica-archive/tokens").mkdir(parents=True)
        self.path("opt/pacifica-archive").mkdir(parents=True)
        self.path("opt/pacifica-archive/bin").symlink_to(_BIN)

    def environment(self, **more: str) -> dict[str, str]:
        """Return this environment without what would configure a server."""
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN)
        }
        return {**env, "PATH": f"{_BIN}:{env['PATH']}", **more}

    def make_certificate(self) -> Path:
        """Make one for 127.0.0.1, signed by itself."""
        folder = self.path("etc/pacifica-archive/tls")
        folder.mkdir(parents=True)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-subj", "/CN=archive.example.org", "-days", "2"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", f"{folder}/server.key", "-out", f"{folder}/server.crt"),
            ],
            check=True,
            capture_output=True,
            timeout=LIMIT_S,
        )
        return folder / "server.crt"

    def new_token(self, *scopes: str, name: str = "test") -> Path:
        """Make a token in the file that archive.cfg names; return where it is."""
        each = [argument for scope in scopes for argument in ("--scope", scope)]
        done = subprocess.run(
            [
                *(str(_BIN / "pacifica-archive"), "token", "new", name, *each),
                *("--config", str(self.path("etc/pacifica-archive/archive.cfg"))),
            ],
            env=self.environment(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=LIMIT_S,
        )
        path = self.root / f"{name}.token"
        path.write_bytes(done.stdout)
        return path

    def read_unit(self, *paths: Path) -> Unit:
        """Read a unit, drop-ins behind it."""
        lines = [
            line
            for path in paths
            for line in path.read_text().splitlines()
            if not line.startswith(("#", ";"))
        ]
        env = self.environment()
        commands: list[str] = []
        credentials = self.root / "run/credentials"
        for line in lines:
            key, _, value = line.partition("=")
            if key == "Environment":
                name, _, text = value.partition("=")
                env[name] = text
            elif key == "EnvironmentFile":
                env |= _read_environment(Path(value.removeprefix("-")))
            elif key == "LoadCredential":
                name, _, source = value.partition(":")
                credentials.mkdir(parents=True, exist_ok=True)
                (credentials / name).write_bytes(Path(source).read_bytes())
                (credentials / name).chmod(0o400)
            elif key in {"ExecStart", "ExecStartPost"}:
                # Empty takes back those before.
                commands = [*commands, value] if value else []
        return Unit(
            commands=tuple(
                tuple(
                    shlex.split(
                        each.replace("${CREDENTIALS_DIRECTORY}", str(credentials))
                    )
                )
                for each in commands
            ),
            env=env,
            is_oneshot="Type=oneshot" in lines,
        )


def _read_environment(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = path.read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;")
    return {name: value for name, _, value in pairs}


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    command: tuple[str, ...], env: Mapping[str, str], *, port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for a with-block, from the moment when it listens."""
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        ) as process,
    ):
        try:
            _await_listener(process, port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
            continue
        return
    raise AssertionError(f"it does not listen: {log.read_text()}")


@contextlib.contextmanager
def running_nginx(
    machine: Machine, server_port: int, change: Callable[[str], str] = str
) -> Iterator[int]:
    """Run nginx with deploy/nginx.conf before a server; give its port."""
    assert NGINX is not None
    port = free_port()

    def with_ports(text: str) -> str:
        for old, new in (
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("server 127.0.0.1:8080", f"server 127.0.0.1:{server_port}"),
        ):
            assert 1 == text.count(old)
            text = text.replace(old, new)
        return change(text)

    site = machine.install("nginx.conf", "etc/nginx/site.conf", with_ports)
    own = machine.path("var/lib/nginx")
    own.mkdir(parents=True, exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {own}/{kind};"
        for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    )
    # What Debian's own nginx.conf has around a site's.
    whole = machine.path("etc/nginx/nginx.conf")
    whole.write_text(
        f"pid {own}/pid; error_log {own}/error.log; worker_processes 1; daemon off;\n"
        f"events {{}} http {{ {temporary} include {site}; }}\n"
    )
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    command = (NGINX, "-e", f"{own}/error.log", "-c", str(whole), *user)
    log = machine.root / "nginx.log"
    with running(command, machine.environment(), port=port, log=log):
        yield port


def run_post_deployment_tests(url: str, env: Mapping[str, str], **more: str) -> str:
    """Return what the tests of a deployed server print if they fail, else nothing."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            str(_POST_DEPLOYMENT),
        ],
        env={
            **env,
            "ARCHIVE_URL": url,
            "LARGE_FILE_SIZE": "3000001",
            "MANY_FILES_TEST_COUNT": "10",
            **more,
        },
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    return done.stdout[-5000:] if done.returncode else ""
