"""A child of this process, to be killed."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def fork_and_wait(work: Callable[[], None]) -> int:
    """Run something in a forked child; return what ended it."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads, as those of a timeout plugin.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
