"""The command line on a remote archive."""

from __future__ import annotations

import subprocess
import sys


def command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``pacifica-archive`` as its users do."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pacifica_archive_core"),
            *("-t", "http", "--prefix", url, *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
