"""
Serve an archive over HTTP.

``make_app`` makes a WSGI application; ``pacifica-archive serve`` runs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pacifica_archive_http.app import make_app
    from pacifica_archive_http.status_table import PROBLEMS, Problem, find_problem

__all__ = ["PROBLEMS", "Problem", "find_problem", "make_app"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Late, as the client and pytest import this package and need no server.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "app" if name == "make_app" else "status_table"
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
