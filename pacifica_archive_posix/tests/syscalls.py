"""The system calls that the backend makes: recorded, and made to fail."""

from __future__ import annotations

import contextlib
import fcntl
import os
import posix
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from pacifica_archive_posix import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = "pacifica_archive_posix"
#: What cannot fail by the world, or makes no call.
PURE = {"getpid", "strerror", "fspath", "stat_result"}


@attrs.frozen
class Call:
    """One call and what it returned; ``done`` unless it was made to fail."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    done: bool = True


@attrs.define
class Calls:
    """What was called, in order, and what is to happen at one of the calls."""

    seen: list[Call] = attrs.field(factory=list)
    #: From 0; the calls from this one to ``last`` are disturbed.
    first: int | None = None
    last: int | None = None
    disturb: Callable[[str], object] | None = None
    #: Whether a disturbed call is made all the same: its reply is lost.
    lose_reply: bool = False
    #: The names of the calls that are disturbed; all if empty.
    only: set[str] = attrs.field(factory=set)

    @property
    def names(self) -> list[str]:
        return [call.name for call in self.seen]

    @property
    def switch(self) -> int | None:
        """The number of the call that makes a file visible."""
        for number, call in enumerate(self.seen):
            if call.name in {"link", "replace"} and "dst_dir_fd" in call.kwargs:
                return number
        return None

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (any system call)
            # Others, as pytest, call too; a name is looked up when it is called.
            if sys._getframe(1).f_globals["__name__"].split(".")[0] != PACKAGE:  # noqa: SLF001 (documented, CPython)
                return real(*args, **kwargs)
            number = len(self.seen)
            if (
                self.disturb is not None
                and self.first is not None
                and self.first <= number
                and (self.last is None or number <= self.last)
                and (not self.only or name in self.only)
            ):
                # Linux frees a descriptor also when close(2) fails.
                if self.lose_reply or name == "close":
                    real(*args, **kwargs)
                self.seen.append(Call(name, args, kwargs, done=False))
                self.disturb(name)
            try:
                result = real(*args, **kwargs)
            except OSError:
                self.seen.append(Call(name, args, kwargs, done=False))
                raise
            self.seen.append(Call(name, args, kwargs, result))
            return result

        return call


@contextlib.contextmanager
def recorded(calls: Calls | None = None) -> Iterator[Calls]:
    """Record every call that the package makes, also those it learns to make."""
    calls = calls or Calls()
    with pytest.MonkeyPatch.context() as patch:
        for name in dir(posix):
            real: Any = getattr(posix, name)
            if (
                callable(real)
                and not isinstance(real, type)
                and not name.startswith("_")
                and name not in PURE
                and getattr(os, name, None) is real
            ):
                patch.setattr(os, name, calls.wrap(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", calls.wrap("flock", fcntl.flock))
        for name in ("fallocate", "start_writeback"):
            patch.setattr(libc, name, calls.wrap(name, getattr(libc, name)))
        yield calls


def failing(
    code: int, *, first: int, last: int | None, lose_reply: bool = False
) -> Calls:
    """Let the calls from one number to another fail with an errno."""

    def fail(_name: str) -> None:
        raise OSError(code, os.strerror(code))

    return Calls(first=first, last=last, disturb=fail, lose_reply=lose_reply)


def killing(number: int) -> Calls:
    """Kill this process instead of the call of this number."""

    def kill(_name: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return Calls(first=number, last=number, disturb=kill)


def open_descriptors() -> dict[str, str]:
    """Return what this process has open, by number."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        # That of the listing itself is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found[link.name] = str(link.readlink())
    return found
