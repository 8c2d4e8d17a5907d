"""Trees of the simulator, and processes that call its Client API as they are told."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pacifica_archive_hpss.simulator import VERSIONS, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

#: A user and a mechanism that the simulator accepts; any file is a keytab.
USER = "hpss.unix"
LIMIT_S = 30.0
_DRIVER = Path(__file__).parent / "simulator" / "driver.c"


class Roots:
    """Trees like /opt/hpss, one for each release, built when they are first wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Path] = {}

    def root(self, version: str = "9.3", *, sanitize: str | None = None) -> Path:
        """Return a tree of that release."""
        name = version if sanitize is None else f"{version}-{sanitize}"
        if name not in self._built:
            where = self._folder / name
            self._built[name] = build(where, version, sanitize=sanitize)
        return self._built[name]

    def build_all(self) -> None:
        """Build the trees of all releases at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.root, VERSIONS))

    def program(
        self,
        source: Path,
        version: str = "9.3",
        *,
        sanitize: str | None = None,
    ) -> Path:
        """Return a program, compiled and linked with the simulator of a release."""
        root = self.root(version, sanitize=sanitize)
        made = root.with_name(f"{root.name}-{source.stem}")
        if not made.exists():
            flags = ["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
            defines = ["-D_GNU_SOURCE", "-DLINUX", "-DLITTLEEND"]
            where = [f"-I{root}/include", f"-L{root}/lib", f"-Wl,-rpath,{root}/lib"]
            if sanitize is not None:
                flags += [f"-fsanitize={sanitize}"]
            subprocess.run(
                ["cc", *flags, *defines, *where, source, "-o", made, "-lhpss"],
                check=True,
            )
        return made

    def driver(self, version: str = "9.3", *, sanitize: str | None = None) -> Path:
        """Return the program that a Client talks to."""
        return self.program(_DRIVER, version, sanitize=sanitize)


class Client:
    """
    A process that uses the simulated HPSS.

    Each call is one of the Client API, by its name without hpss_, and returns what it
    answered: "rc", "errno" and what it put where. Numbers may be given by name.
    """

    def __init__(
        self, program: Path, state: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "PACIFICA_HPSS_SIM": str(state),
                **(environment or {}),
            },
        )
        self._keytab = str(program)
        self._buffer = b""

    def send(self, *words: str | int) -> None:
        """Begin a call, without waiting for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(("\t".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def answer(self, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Return the answer of a call that was begun; TimeoutError if it is late."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        end = time.monotonic() + limit_s
        while b"\n" not in self._buffer:
            if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError
            data = os.read(fd, 1 << 16)
            if not data:
                raise EOFError(self.stderr())
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        parsed: dict[str, Any] = json.loads(line)
        return parsed

    def __call__(self, *words: str | int) -> dict[str, Any]:
        """Make a call and return its answer."""
        self.send(*words)
        return self.answer()

    def rc(self, *words: str | int) -> int:
        """Make a call and return what it returned."""
        rc: int = self(*words)["rc"]
        return rc

    def blocks(self, limit_s: float = 0.1) -> bool:
        """Tell whether the call that was begun is still not answered by then."""
        try:
            answer = self.answer(limit_s)
        except TimeoutError:
            return True
        raise AssertionError(f"it did not block: {answer}")

    def login(self) -> Self:
        """Log in, and return itself."""
        assert self.rc("SetLoginCred", USER, self._keytab) == 0
        return self

    def last(self) -> dict[str, Any]:
        """Return the thread's last error, as HPSS numbers it."""
        return self("GetLastHPSSErrno")

    def put(self, path: str, data: bytes, *hints: str) -> None:
        """Store a file through the API."""
        fd = self.rc("Open", path, "O_CREAT|O_WRONLY|O_TRUNC", 0o644, *hints)
        assert fd >= 0, fd
        if data:
            assert self.rc("Write", fd, data.hex()) == len(data)
        assert self.rc("Close", fd) == 0

    def get(self, path: str, flags: str = "O_RDONLY", size: int = 1 << 16) -> bytes:
        """Read a file through the API."""
        fd = self.rc("Open", path, flags, 0)
        assert fd >= 0, fd
        data = bytes.fromhex(self("Read", fd, size)["data"])
        assert self.rc("Close", fd) == 0
        return data

    def kill(self) -> None:
        """End the process as kill -9 does."""
        self.process.kill()
        self.process.wait()

    def stderr(self) -> str:
        """Return what the process said on stderr, after its end."""
        assert self.process.stderr is not None
        self.process.wait(LIMIT_S)
        if self.process.stderr.closed:
            return ""
        return self.process.stderr.read().decode(errors="replace")

    def close(self) -> int:
        """End the process in an orderly way; return its exit status."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        try:
            return self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A call may hang for good: whoever wants an orderly end asks for it.
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def eventually(claim: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
    """Return whether the claim comes true in time, looking again and again."""
    end = time.monotonic() + limit_s
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
