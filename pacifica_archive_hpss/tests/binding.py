"""
Another extension module than the installed one, if the environment names it.

Built against other headers, or with a sanitizer. Import this before anything that
imports ``pacifica_archive_hpss._hpss``; child processes do it as their parent did.
"""

from __future__ import annotations

import os
import sys

import pacifica_archive_hpss

#: The directory that holds the module.
VARIABLE = "HPSS_TEST_BINDING"

_MODULE = "pacifica_archive_hpss._hpss"


def use() -> None:
    """Let the package find the module that the environment names, if it does."""
    folder = os.environ.get(VARIABLE)
    if folder is None or folder in pacifica_archive_hpss.__path__:
        return
    if _MODULE in sys.modules:
        raise RuntimeError("the installed extension module was imported before")
    # A package's own list of places, asked in this order for each of its modules.
    pacifica_archive_hpss.__path__.insert(0, folder)


use()
