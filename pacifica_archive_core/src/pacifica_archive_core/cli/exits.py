"""How a command ends: exit codes, messages and signals."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import attrs
import click

from pacifica_archive_core.errors import (
    AccessDenied,
    ArchiveError,
    ArchiveFull,
    ArchiveUnavailable,
    BackendError,
    CommitUnclear,
    ConfigError,
    DigestMismatch,
    FileDamaged,
    FileError,
    FileExists,
    FileOffline,
    IncompleteWrite,
    InvalidFileId,
    NoSuchFile,
    NotSupported,
    SourceRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = [
    "DEBUG",
    "EXITS",
    "PROGRAM",
    "BrokenCommand",
    "Exit",
    "Failures",
    "JournalError",
    "LocalFileError",
    "NoDigest",
    "RangeOutside",
    "complain",
    "epilog",
    "exit_code",
    "quiet_ends",
    "say",
    "stoppable",
    "warnings_said",
]

PROGRAM = "pacifica-archive"
#: Where the context keeps whether tracebacks are wanted.
DEBUG = f"{__name__}.debug"
_FAILED = 1


class LocalFileError(FileError):
    """A file outside the archive cannot be read or written."""


class RangeOutside(FileError):
    """The file has no byte in the range that was asked for."""


class NoDigest(FileError):
    """No digest is kept with the file, so there is nothing to compare with."""


class JournalError(ArchiveError):
    """The journal of a verification cannot be read or written."""


class BrokenCommand(ArchiveError):
    """A command that a distribution adds cannot be imported."""


@attrs.frozen(kw_only=True)
class Exit:
    """One exit code, and the errors that end in it."""

    code: int
    meaning: str
    errors: tuple[type[Exception], ...] = ()


#: Every exit code but those of signals; an error takes that of its nearest class.
EXITS = (
    Exit(code=0, meaning="all done"),
    Exit(code=_FAILED, meaning="failed in another way, or files in different ways"),
    Exit(
        code=2,
        meaning="wrong command line, or no byte in --range",
        errors=(InvalidFileId, RangeOutside),
    ),
    Exit(code=3, meaning="no such file in the archive", errors=(NoSuchFile,)),
    Exit(code=4, meaning="in the archive already", errors=(FileExists,)),
    Exit(code=5, meaning="on tape: stage it", errors=(FileOffline,)),
    Exit(code=6, meaning="archive unavailable", errors=(ArchiveUnavailable,)),
    Exit(code=7, meaning="archive full", errors=(ArchiveFull,)),
    Exit(code=8, meaning="no permission in the archive", errors=(AccessDenied,)),
    Exit(code=9, meaning="file damaged", errors=(FileDamaged,)),
    Exit(
        code=10,
        meaning="the bytes are not those promised, or not those kept",
        errors=(IncompleteWrite, DigestMismatch),
    ),
    Exit(code=11, meaning="stored, or not: see its status", errors=(CommitUnclear,)),
    Exit(code=12, meaning="source may not be adopted", errors=(SourceRefused,)),
    Exit(code=13, meaning="this backend cannot do it", errors=(NotSupported,)),
    Exit(
        code=14,
        meaning="wrong configuration, backend or added command",
        errors=(ConfigError, BackendError, BrokenCommand),
    ),
    Exit(
        code=15,
        meaning="a file outside the archive cannot be read or written",
        errors=(LocalFileError, JournalError),
    ),
    Exit(code=16, meaning="no digest is kept: not verified", errors=(NoDigest,)),
)  # fmt: skip


def exit_code(exc: BaseException) -> int:
    """Return the exit code of an error."""
    codes = {error: entry.code for entry in EXITS for error in entry.errors}
    return next((codes[kind] for kind in type(exc).__mro__ if kind in codes), _FAILED)


def epilog() -> str:
    """Return the table of exit codes for ``--help``."""
    rows = "\n".join(f"{entry.code:5}  {entry.meaning}" for entry in EXITS)
    # \b: click then keeps the lines as they are.
    return f"\b\nExit codes:\n{rows}\n  128+  ended by a signal, as 130 by Ctrl-C"


def complain(problem: BaseException | str) -> None:
    """Say on stderr, in one line, what is wrong; with ``--debug``, where too."""
    ctx = click.get_current_context(silent=True)
    if isinstance(problem, BaseException) and ctx and ctx.meta.get(DEBUG):
        click.echo("".join(traceback.format_exception(problem)), err=True, nl=False)
    text = " ".join(str(problem).splitlines())
    say(f"{PROGRAM}: {text}", err=True)


def say(text: str, *, err: bool = False) -> None:
    """Print a line where a progress bar may have been drawn."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    click.echo(text, err=err)


class Failures:
    """What went wrong with single files while the others went on."""

    def __init__(self) -> None:
        self._codes: set[int] = set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Report a failure of one file; what fails the store goes through."""
        try:
            yield
        except (FileError, AccessDenied, NotSupported) as exc:
            self.report(exc)

    def report(self, exc: Exception) -> None:
        """Say what is wrong and remember it."""
        complain(exc)
        self.count(exc)

    def count(self, exc: Exception) -> None:
        """Remember a failure that was said otherwise."""
        self._codes.add(exit_code(exc))

    def finish(self) -> None:
        """End the command with the code of the failures, if there are any."""
        if self._codes:
            code = self._codes.pop() if len(self._codes) == 1 else _FAILED
            click.get_current_context().exit(code)


class _Stopped(BaseException):
    """A signal asks for the end; as KeyboardInterrupt, never to be caught."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """
    Let SIGTERM and SIGHUP unwind the stack, so that writers discard.

    A second one ends the process at once. One that the parent wants ignored
    (``nohup``) stays ignored.
    """

    def stop(signal_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal_number, signal.SIG_DFL)
        raise _Stopped(signal_number)

    before = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(number)) is signal.SIG_DFL
    }
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


@contextlib.contextmanager
def warnings_said() -> Iterator[None]:
    """Say what the library logs as a warning as a command says its own errors."""
    handler = _Warnings(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def quiet_ends() -> Iterator[None]:
    """
    Turn a broken pipe and signals into the end of the process, without a word.

    What a signal ends dies of that signal: a shell's loop then stops too, which
    it does not for an exit code.
    """
    try:
        yield
    except BrokenPipeError:
        # Python ignores the signal and gets the error instead.
        _die_of(signal.SIGPIPE)
    except KeyboardInterrupt:
        _die_of(signal.SIGINT)
    except _Stopped as exc:
        _die_of(exc.signal_number)


def _die_of(signal_number: int) -> NoReturn:
    signal.signal(signal_number, signal.SIG_DFL)
    signal.raise_signal(signal_number)
    # Reached where the parent has blocked the signal.
    sys.exit(128 + signal_number)
