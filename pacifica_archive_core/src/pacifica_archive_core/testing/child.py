"""Other processes: forked from the test's own, or started afresh."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Test modules are imported by their names in the child, so it needs the path.
_PROGRAM = """\
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
function, args = pickle.load(sys.stdin.buffer)
function(*args)
"""


@contextlib.contextmanager
def started(
    function: Callable[..., None], *args: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Call a function in a new process, which is killed at the end if need be."""
    with subprocess.Popen(  # noqa: S603 (this very interpreter)
        [sys.executable, "-W", "error", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(pickle.dumps(sys.path))
            process.stdin.write(pickle.dumps((function, args)))
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def result(function: Callable[..., None], *args: object) -> Any:  # noqa: ANN401 (JSON)
    """Call a function in a new process; return what it printed, as JSON."""
    with started(function, *args) as process:
        out, err = process.communicate(timeout=60)

    assert (0, b"") == (process.returncode, err)

    return json.loads(out)


def fork() -> int:
    """Fork, as users of a library do who know nothing of its threads."""
    with warnings.catch_warnings():
        # Python 3.12 warns when there are threads, as those of a timeout plugin;
        # what the children here do takes no lock that one of them may hold.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        return os.fork()


def in_forked_child(call: Callable[[], object]) -> Any:  # noqa: ANN401 (JSON)
    """Return what a call returns, as JSON, in a forked child that ends at once."""
    receiving, sending = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.write(sending, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as stream:
        answer = stream.read()
    os.waitpid(pid, 0)

    assert answer, "the child failed"

    return json.loads(answer)
