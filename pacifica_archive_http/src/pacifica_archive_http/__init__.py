"""
Serve an archive over HTTP.

``make_app`` makes a WSGI application; ``pacifica-archive serve`` runs it.
"""

from __future__ import annotations

from pacifica_archive_http.app import make_app
from pacifica_archive_http.status_table import PROBLEMS, Problem, find_problem

__all__ = ["PROBLEMS", "Problem", "find_problem", "make_app"]
