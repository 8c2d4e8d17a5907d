"""What the commands of docs/facility.md find on a machine of a test."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socketserver
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

from deployed import DEPLOY, LIMIT_S, NGINX, Machine, free_port, running

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Facility"]

_UNITS = "etc/systemd/system"
#: They change what only root may, and nothing that the page shows.
_IDLE = ("chown", "useradd")
#: Asks the thread that starts servers, which are then children of the test.
_SYSTEMCTL = """\
#!{python}
import json, socket, sys
with socket.create_connection(("127.0.0.1", {port}), {limit}) as server:
    server.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(server.makefile().readline()))
"""


class Facility:
    """
    A machine on which a person types, and its stand-in for systemd.

    Its server and its nginx listen on free ports, which curl is told of.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._server_port = free_port()
        self._nginx_port = free_port()
        self._started: dict[str, contextlib.ExitStack] = {}
        self._systemd = socketserver.ThreadingTCPServer(
            ("127.0.0.1", 0), self._handler(), bind_and_activate=True
        )
        self._systemd.daemon_threads = True
        self._place_files()
        self._place_programs()

    def __enter__(self) -> Self:
        threading.Thread(target=self._systemd.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._systemd.shutdown()
        self._systemd.server_close()
        for name in [*self._started]:
            self._stop(name)

    def run(self, command: str) -> tuple[str, int]:
        """Return what a command of a shell prints, on stderr too, and its code."""
        machine = self.machine
        stand_ins = machine.path("stand-ins")
        env = machine.environment(CURL_HOME=str(machine.root), LC_ALL="C.UTF-8")
        env["PATH"] = f"{stand_ins}:{env['PATH']}"
        done = subprocess.run(
            ["bash", "-c", machine.placed(command)],
            cwd=machine.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=2 * LIMIT_S,
        )
        return done.stdout.replace(str(machine.root), ""), done.returncode

    def systemctl(self, *arguments: str) -> int:
        """Do what systemd would; return the exit code."""
        verb, *rest = (each for each in arguments if not each.startswith("-"))
        for name in rest:
            if verb == "enable" and "--now" not in arguments:
                continue
            if code := self._change(verb, name.removesuffix(".service")):
                return code
        return 0

    def _change(self, verb: str, name: str) -> int:
        if name.endswith(".timer"):
            # Nothing but a clock; that it is one, systemd-analyze says.
            return 0 if self.machine.path(f"{_UNITS}/{name}").exists() else 1
        if verb in {"restart", "stop"} or name == "nginx":
            self._stop(name)
        if verb == "stop":
            return 0
        return self._start(name)

    def _start(self, name: str) -> int:
        machine = self.machine
        log = machine.root / f"{name}.log"
        if name == "nginx":
            command, env = self._nginx(), machine.environment()
            port = self._nginx_port
        else:
            unit = machine.read_unit(
                machine.path(f"{_UNITS}/{name}.service"),
                *machine.path(f"{_UNITS}/{name}.service.d").glob("*.conf"),
            )
            command, env, port = unit.command, unit.env, self._server_port
            if unit.is_oneshot:
                return self._run_once(unit.commands, env, log)
            command += ("--port", str(port), "--address", "127.0.0.1")
        stack = self._started[name] = contextlib.ExitStack()
        stack.enter_context(running(command, env, port=port, log=log))
        return 0

    def _run_once(
        self, commands: tuple[tuple[str, ...], ...], env: dict[str, str], log: Path
    ) -> int:
        with log.open("ab") as file:
            for command in commands:
                done = subprocess.run(
                    command, env=env, stdout=file, stderr=file, check=False
                )
                if done.returncode:
                    return done.returncode
        return 0

    def _stop(self, name: str) -> None:
        if stack := self._started.pop(name, None):
            stack.close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        systemctl = self.systemctl

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                code = systemctl(*json.loads(self.rfile.readline()))
                self.wfile.write(b"%d\n" % code)

        return Handler

    def _nginx(self) -> tuple[str, ...]:
        assert NGINX is not None
        folder = self.machine.path("etc/nginx")
        user = ("-g", "user root;") if os.geteuid() == 0 else ()
        log = self.machine.path("var/log/nginx/error.log")
        return (NGINX, "-e", str(log), "-c", f"{folder}/nginx.conf", *user)

    def _place_files(self) -> None:
        """Have what is on the machine before the page begins."""
        machine = self.machine
        ports = {
            "listen 443 ssl": f"listen 127.0.0.1:{self._nginx_port} ssl",
            "server 127.0.0.1:8080": f"server 127.0.0.1:{self._server_port}",
        }
        for path in DEPLOY.rglob("*"):
            if path.is_dir():
                continue
            text = machine.placed(path.read_text())
            if path.name == "nginx.conf":
                for old, new in ports.items():
                    text = text.replace(old, new)
            target = machine.path("opt/pacifica-archive/src/deploy")
            target /= path.relative_to(DEPLOY)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for name in ("log/nginx", "log/pacifica-archive", "lib/nginx"):
            machine.path(f"var/{name}").mkdir(parents=True)
        for name in ("nginx/conf.d", "systemd/system", "logrotate.d"):
            machine.path(f"etc/{name}").mkdir(parents=True)
        for name in ("root", "stand-ins"):
            machine.path(name).mkdir()
        machine.path("opt/pacifica-archive/bin").symlink_to(
            os.path.dirname(sys.executable)  # noqa: PTH120 (no link followed)
        )
        own = machine.path("var/lib/nginx")
        temporary = "".join(
            f"{kind}_temp_path {own}/{kind};"
            for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
        )
        machine.path("etc/nginx/nginx.conf").write_text(
            f"pid {own}/pid; worker_processes 1; daemon off; events {{}}\n"
            f"http {{ {temporary} include {machine.root}/etc/nginx/conf.d/*.conf; }}\n"
        )
        (machine.root / ".curlrc").write_text(
            f'connect-to = "archive.example.org:443:127.0.0.1:{self._nginx_port}"\n'
            f'connect-to = "archive.example.org:8443:127.0.0.1:{self._server_port}"\n'
            f'connect-to = "127.0.0.1:8080:127.0.0.1:{self._server_port}"\n'
        )

    def _place_programs(self) -> None:
        scripts = {
            **dict.fromkeys(_IDLE, "#!/bin/sh\n"),
            # runuser -u NAME -- COMMAND
            "runuser": '#!/bin/sh\nshift 3\nexec "$@"\n',
            "nginx": f'#!/bin/sh\nexec {shlex.join(self._nginx())} "$@"\n',
            "systemctl": _SYSTEMCTL.format(
                python=sys.executable,
                port=self._systemd.server_address[1],
                limit=2 * LIMIT_S,
            ),
        }
        for name, text in scripts.items():
            path = self.machine.path(f"stand-ins/{name}")
            path.write_text(text)
            path.chmod(0o755)
