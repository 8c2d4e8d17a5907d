"""The ``hpss`` backend of ``pacifica_archive_core``: files in IBM HPSS."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pacifica_archive_hpss.archive import HpssArchive, HpssOptions

__all__ = ["HpssArchive", "HpssOptions"]


def __getattr__(name: str) -> object:
    # Lazy (PEP 562): pacifica_archive_hpss.simulator has to run before the
    # extension module is built, and with nothing else installed.
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}.archive"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
