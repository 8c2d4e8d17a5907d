"""
``pacifica_archive_http.wsgi:application`` for uWSGI, gunicorn and mod_wsgi.

The archive is what the environment says (``ArchiveSpec.from_environment``), and
is opened by the first request: after any fork, whatever the server forks when.
So this module, alone, reads the environment when it is imported.

``PACIFICA_ARCHIVE_SERVER_DIGESTS``
    Digests that are computed of every upload and kept with it, with commas between
    them, or ``none``; sha-256 by default.
``PACIFICA_ARCHIVE_SERVER_WRITE_ONCE``
    true: PUT and PATCH refuse to replace a file.
``PACIFICA_ARCHIVE_SERVER_MAX_TRANSFERS``
    Uploads and downloads at once in a process; give three quarters of its
    threads. No limit by default: this module cannot know the threads.
``PACIFICA_ARCHIVE_SERVER_LOG_FILE``
    Where the access log goes; stderr by default.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pacifica_archive_core import DEFAULT_ALGORITHM, ArchiveSpec, ConfigError, to_bool
from pacifica_archive_http.access_log import open_log
from pacifica_archive_http.app import make_app
from pacifica_archive_http.digests import parse_algorithms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar
    from wsgiref.types import WSGIApplication

    _Value = TypeVar("_Value")

__all__ = ["application", "make_application"]

_PREFIX = "PACIFICA_ARCHIVE_SERVER_"


def make_application(env: Mapping[str, str]) -> WSGIApplication:
    """
    Make the application that an environment describes.

    Raises:
        ConfigError: a variable has a wrong value, or names a file that is not
            there.
    """
    digests = _read(env, "DIGESTS", parse_algorithms)
    return make_app(
        ArchiveSpec.from_environment(env),
        digests=(DEFAULT_ALGORITHM,) if digests is None else digests,
        write_once=_read(env, "WRITE_ONCE", to_bool) or False,
        max_transfers=_read(env, "MAX_TRANSFERS", _positive),
        access_log=_read(env, "LOG_FILE", open_log) or open_log(None),
    )


def _read(
    env: Mapping[str, str], name: str, convert: Callable[[str], _Value]
) -> _Value | None:
    variable = f"{_PREFIX}{name}"
    try:
        return convert(env[variable]) if env.get(variable) else None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{variable} is {env[variable]!r}: {exc}") from exc


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("allowed is a number from 1")
    return int(text)


application = make_application(os.environ)
