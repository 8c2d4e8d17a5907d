"""What the tests of the login have other processes do, which import it by name."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from kit import open_archive

from pacifica_archive_core import ArchiveError
from pacifica_archive_hpss.simulator import Simulator

if TYPE_CHECKING:
    from pacifica_archive_hpss import HpssOptions


_STATUS = "hpss_FileGetXAttributes"


def log_in(state: str, given: HpssOptions) -> None:
    """Open an archive and print what comes of it."""
    try:
        open_archive(state, given).close()
        print('"logged in"')  # noqa: T201 (read by the test)
    except ArchiveError as exc:
        print(f'"{type(exc).__name__}: {exc}"'.replace("\n", " "))  # noqa: T201 (as above)


def end_with_a_child(state: str, given: HpssOptions) -> None:
    """Fork a child that ends as programs do."""
    with open_archive(state, given):
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
    print("true")  # noqa: T201 (as above)


def end_in_a_call(state: str, given: HpssOptions) -> None:
    """End while a thread is in a call that never ends."""
    archive = open_archive(state, given)
    threading.Thread(target=archive.status, args=(7,), daemon=True).start()
    while Simulator(state).counters()["calls"].get(_STATUS, 0) == 0:
        time.sleep(0.001)
    print("true")  # noqa: T201 (as above)
