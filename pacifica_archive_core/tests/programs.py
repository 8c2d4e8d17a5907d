"""Programs that are stopped within their work, and watched on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli_site import Program, Site

LIMIT_S = 30
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Pause:
    """Stops a program within a transfer; the test sees it, then lets it go on."""

    def __init__(self) -> None:
        self._seen, self._tell = os.pipe()
        self._wait, self._go = os.pipe()
        self._open = {self._seen, self._tell, self._wait, self._go}

    @property
    def fds(self) -> tuple[int, int]:
        return self._tell, self._wait

    @property
    def selection(self) -> tuple[str, str]:
        return "-o", f"pause_fds={self._tell} {self._wait}"

    def wait(self) -> None:
        """Return when the program has moved a block, and stands still."""
        self._close(self._tell, self._wait)
        ready, _, _ = select.select([self._seen], [], [], LIMIT_S)

        assert [self._seen] == ready
        assert b"." == os.read(self._seen, 1)

    def go_on(self) -> None:
        """Let the program run to its end."""
        self._close(self._go)

    def stop(self, program: Program, number: signal.Signals) -> None:
        """Send a signal, which the program cannot sleep through."""
        program.send_signal(number)
        # Python hears a signal late that comes just before a system call.
        self.go_on()

    def _close(self, *fds: int) -> None:
        for fd in self._open.intersection(fds):
            os.close(fd)
        self._open.difference_update(fds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close(*self._open)


def heed_signals() -> None:
    """Have the signals do what they do by default, however the tests were started."""
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def paused(
    site: Site,
    *args: str,
    **popen: Any,  # noqa: ANN401 (as subprocess has it)
) -> Iterator[tuple[Program, Pause]]:
    """Start a transfer and yield it when it has come half way."""
    with (
        Pause() as pause,
        site.start(
            *(*args, *pause.selection),
            pass_fds=pause.fds,
            stderr=subprocess.PIPE,
            **{"preexec_fn": heed_signals, **popen},
        ) as program,
    ):
        pause.wait()
        yield program, pause


def ended(program: Program) -> tuple[int, bytes]:
    """Return the code and the complaints of a program that comes to its end."""
    _, stderr = program.communicate(timeout=LIMIT_S)
    return program.returncode, stderr


def on_terminal(site: Site, *args: str) -> str:
    """Return what a command draws on a terminal."""
    terminal, stderr = pty.openpty()
    with (
        site.start(*args, stderr=stderr, environment={"TERM": "xterm"}) as program,
        os.fdopen(terminal, "rb", buffering=0) as screen,
    ):
        os.close(stderr)
        drawn = bytearray()
        # Linux: EIO when the last writer of a terminal is gone.
        with contextlib.suppress(OSError):
            while block := screen.read(1 << 16):
                drawn += block
        program.wait(LIMIT_S)
    return drawn.decode()
