"""
Asking the HSM for recalls from tape, without waiting for one.

By its ``stage`` command, which can sort many files by tape; where that cannot be run,
by the read of one byte of each file, for which the HSM stages the whole file (facts
of SAM-QFS in its kernel's ``sam_proc_offline``).
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from pacifica_archive_core import ArchiveError, ArchiveUnavailable, ConfigError
from pacifica_archive_hmssideband.threads import started
from pacifica_archive_posix.descriptors import release
from pacifica_archive_posix.errors import NAME, READ, error_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pacifica_archive_hmssideband.options import HmsSidebandOptions

__all__ = ["ReadTrigger", "StageCommand", "Staging", "make_staging"]

_log = logging.getLogger(__name__)

#: Paths for one call of the command, far from what the kernel takes (execve(2)).
_CHUNK = 500
#: Calls for one chunk, so that two bad files of 500 are found; of more, their
#: neighbours are told to come again too.
_CALLS = 40
#: Commands that run at once; who comes then waits for his turn.
_COMMANDS = 8
#: Variables that hold our own options, a password among them.
_OWN_VARIABLES = "PACIFICA_ARCHIVE_"
#: Bytes kept of what the command says, for the log.
_OUTPUT = 4096
_BLOCK = 1 << 16
#: Seconds between two looks at a command whose child keeps its output open.
_LOOK_S = 0.05
#: Seconds for a killed command to be gone: in the kernel it may hang on.
_GONE_S = 5.0

#: Threads that may hang in a read at once.
_THREADS = 8
#: Files that may wait for one of them.
_QUEUE = 10_000
#: Seconds that a close gives to reads that are as good as done.
_CLOSE_S = 0.5
#: Errors kept for those who ask again.
_ERRORS = 1000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging(Protocol):
    """What asks for recalls. Used by any number of threads."""

    def ask(self, files: Sequence[tuple[int, str]]) -> list[ArchiveError | None]:
        """
        Ask for the files, each an id and its absolute path.

        Returns:
            For each file, in order: None if it was asked for, or what went wrong.
        """

    def close(self) -> None:
        """Begin nothing more; called once."""


def make_staging(options: HmsSidebandOptions) -> Staging:
    """
    Choose by the option ``stage_command``.

    Raises:
        ConfigError: there is no such program.
    """
    command = options.effective_stage_command
    if command:
        return StageCommand(command, options.stage_timeout_s)
    return ReadTrigger(options.max_partial)


@attrs.frozen
class _Failure:
    """What became of one call: why, and whether fewer files may fare better."""

    reason: str
    of_files: bool = False
    output: bytes = b""


class StageCommand:
    """
    Asks by a command that gets the paths as its last arguments.

    No shell sees them. It has no input, a session of its own, and none of our
    variables in its environment; a command that is not done in time is killed with
    its children. What it says is logged if it fails.

    Args:
        command: the program and its first arguments.
        timeout_s: seconds for 500 files, the search for the bad ones included.

    Raises:
        ConfigError: there is no such program.
    """

    def __init__(self, command: tuple[str, ...], timeout_s: float) -> None:
        if shutil.which(command[0]) is None:
            raise ConfigError(
                "option 'stage_command': there is no such program, or it cannot be"
                " executed"
            )
        self._command = command
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(_COMMANDS)

    def ask(self, files: Sequence[tuple[int, str]]) -> list[ArchiveError | None]:
        """
        Ask for the files, 500 with each call.

        If a call fails, each half is asked for again: which file was at fault is not
        said by its exit status, and to ask twice does no harm.
        """
        answers: list[ArchiveError | None] = []
        for start in range(0, len(files), _CHUNK):
            answers += self._ask(files[start : start + _CHUNK])
        return answers

    def close(self) -> None:
        """Leave what runs to its time: the HSM has its wishes already, or soon."""

    def _ask(self, files: Sequence[tuple[int, str]]) -> list[ArchiveError | None]:
        deadline_s = time.monotonic() + self._timeout_s
        answers: list[ArchiveError | None] = [None] * len(files)
        parts = collections.deque([range(len(files))])
        last = _Failure("")
        calls = 0
        while parts:
            part = parts.popleft()
            if calls < _CALLS:
                calls += 1
                failure = self._call([files[at][1] for at in part], deadline_s)
                if failure is None:
                    continue
                last = failure
                if failure.of_files and len(part) > 1:
                    half = len(part) // 2
                    parts += [part[:half], part[half:]]
                    continue
            for at in part:
                answers[at] = ArchiveUnavailable(
                    f"file {files[at][0]}: the stage command {last.reason}"
                )
        failed = [
            file_id for (file_id, _), at in zip(files, answers, strict=True) if at
        ]
        if failed:
            _log.warning(
                "the stage command failed for %d of %d files, file %d among them: it"
                " %s, and said %r",
                len(failed),
                len(files),
                failed[0],
                last.reason,
                last.output.decode(errors="replace"),
            )
        return answers

    def _call(self, paths: list[str], deadline_s: float) -> _Failure | None:
        if not self._turns.acquire(timeout=max(deadline_s - time.monotonic(), 0)):
            return _Failure(f"had no turn within {self._timeout_s:g} s")
        try:
            return self._run(paths, deadline_s)
        finally:
            self._turns.release()

    def _run(self, paths: list[str], deadline_s: float) -> _Failure | None:
        if time.monotonic() >= deadline_s:
            return self._too_late()
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OWN_VARIABLES)
        }
        try:
            child = subprocess.Popen(  # noqa: S603 (an operator's command; no shell)
                [*self._command, *paths],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            return _Failure(f"could not be started: {exc.strerror}")
        try:
            output = _watch(child, deadline_s)
        except subprocess.TimeoutExpired:
            return self._too_late()
        finally:
            _end(child)
        if child.returncode == 0:
            return None
        return _Failure(
            f"ended with status {child.returncode}", of_files=True, output=output
        )

    def _too_late(self) -> _Failure:
        return _Failure(f"was not done within {self._timeout_s:g} s")


def _watch(child: subprocess.Popen[bytes], deadline_s: float) -> bytes:
    """
    Wait until the command has ended, and return the end of what it said.

    Raises:
        subprocess.TimeoutExpired: it has not ended.
    """
    assert child.stdout is not None  # noqa: S101 (for mypy: it was made with a pipe)
    pipe = child.stdout.fileno()
    # Not select(2): a server has more than 1024 descriptors.
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    said = b""
    while (left_s := deadline_s - time.monotonic()) > 0:
        # Its end is not awaited by the pipe alone: a child of its own may keep that.
        ended = child.poll() is not None
        if poller.poll(0 if ended else 1000 * min(left_s, _LOOK_S)):
            block = os.read(pipe, _BLOCK)
            if not block:
                break
            said = (said + block)[-_OUTPUT:]
        elif ended:
            break
    child.wait(max(left_s, 0))
    return said


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the command and its children if it runs, and forget it."""
    if child.poll() is None:
        # Not ours to kill, if it runs as somebody else.
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        # Else in a call that no signal ends; Popen looks after it later.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GONE_S)
    if child.stdout is not None:
        child.stdout.close()


@attrs.frozen(kw_only=True)
class _Version:
    """One version of a file. Not its ctime: a release may change that."""

    path: str
    ino: int
    size: int
    mtime_ns: int


class ReadTrigger:
    """
    Asks by reading one byte of each file, in threads of its own.

    The byte is behind what the HSM may have kept on disk of a released file, for a
    read of that recalls nothing; and no further behind, for the read returns when
    what is before it has come too.

    Args:
        max_partial: bytes that may have been kept.
    """

    def __init__(self, max_partial: int) -> None:
        self._max_partial = max_partial
        self._lock = threading.Condition()
        self._queue: collections.deque[tuple[int, _Version]] = collections.deque()
        #: Those in the queue, and those that are being read.
        self._pending: set[_Version] = set()
        #: What became of reads that failed, oldest first.
        self._errors: dict[_Version, ArchiveError] = {}
        self._threads = 0

    def ask(self, files: Sequence[tuple[int, str]]) -> list[ArchiveError | None]:
        """
        Have the files read, each once at a time.

        What went wrong with a read is told to who asks next for the same version,
        who may then ask again.
        """
        return [self._ask(file_id, path) for file_id, path in files]

    def close(self) -> None:
        """
        Begin no more reads; those that hang are left alone.

        When the process ends they do, and the HSM drops a recall that nobody waits
        for any more, so that is said.
        """
        with self._lock:
            self._lock.wait_for(lambda: not self._pending, _CLOSE_S)
            self._queue.clear()
            lost = len(self._pending)
        if lost:
            _log.warning(
                "%d recalls by reading have not come, and are lost when this process"
                " ends: ask again then, or set stage_command",
                lost,
            )

    def _ask(self, file_id: int, path: str) -> ArchiveError | None:
        try:
            found = Path(path).lstat()
        except OSError as exc:
            return error_of(exc, file_id, NAME)
        version = _Version(
            path=path, ino=found.st_ino, size=found.st_size, mtime_ns=found.st_mtime_ns
        )
        with self._lock:
            if error := self._errors.pop(version, None):
                return error
            if version in self._pending:
                return None
            if len(self._queue) >= _QUEUE:
                return ArchiveUnavailable(
                    f"file {file_id}: {_QUEUE} others are to be read first"
                )
            if self._threads < _THREADS:
                try:
                    started(self._run, "pacifica-hms-trigger")
                except ArchiveUnavailable as exc:
                    if not self._threads:
                        return exc
                else:
                    self._threads += 1
            self._pending.add(version)
            self._queue.append((file_id, version))
        return None

    def _run(self) -> None:
        """Read until nothing is left to be read."""
        while True:
            with self._lock:
                if not self._queue:
                    self._threads -= 1
                    return
                file_id, version = self._queue.popleft()
            try:
                error = self._read(file_id, version.path)
            # No memory, or a log that fails: else the file would be said to be asked
            # for, and the thread to be there, as long as this process lives.
            except Exception as exc:  # noqa: BLE001 (it is told to who asks next)
                error = ArchiveUnavailable(f"file {file_id} could not be read")
                error.__cause__ = exc
            with self._lock:
                self._pending.discard(version)
                self._lock.notify_all()
                if error is not None:
                    self._errors[version] = error
                    if len(self._errors) > _ERRORS:
                        del self._errors[next(iter(self._errors))]

    def _read(self, file_id: int, path: str) -> ArchiveError | None:
        try:
            fd = os.open(path, _READ)
            try:
                last = max(os.fstat(fd).st_size - 1, 0)
                os.pread(fd, 1, min(last, self._max_partial))
            finally:
                release(fd)
        except OSError as exc:
            _log.warning(
                "file %d was not recalled by reading it: %s", file_id, exc.strerror
            )
            error = error_of(exc, file_id, READ)
            error.__cause__ = exc
            return error
        return None
