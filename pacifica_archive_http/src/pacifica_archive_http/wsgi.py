"""
``pacifica_archive_http.wsgi:application`` for uWSGI, gunicorn and mod_wsgi.

The archive is what the environment says (``ArchiveSpec.from_environment``), and
is opened by the first request: after any fork, whatever the server forks when.
So this module, alone, reads the environment when it is imported.

The server's own options are those of ``ServerOptions``, from section ``[server]`` of
the INI file and from the environment, as ``PACIFICA_ARCHIVE_SERVER_WRITE_ONCE=true``.
With several processes, ``PROMETHEUS_MULTIPROC_DIR`` names a directory of the
server's own, in which ``/metrics`` finds the numbers of all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pacifica_archive_core import ArchiveSpec, ConfigError
from pacifica_archive_http.access_log import open_log
from pacifica_archive_http.app import make_app
from pacifica_archive_http.metrics import DIRECTORY_VARIABLE
from pacifica_archive_http.options import load_server_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIApplication

__all__ = ["application", "make_application"]


def make_application(env: Mapping[str, str]) -> WSGIApplication:
    """
    Make the application that an environment describes.

    Raises:
        ConfigError: a variable has a wrong value, or names a file that is not
            there.
    """
    spec = ArchiveSpec.from_environment(env)
    options = load_server_options(env, file=spec.config)
    try:
        access_log = open_log(options.log_file)
    except OSError as exc:
        raise ConfigError(f"the log_file cannot be written: {exc.strerror}") from exc
    directory = env.get(DIRECTORY_VARIABLE)
    return make_app(
        spec,
        options,
        access_log=access_log,
        metrics_directory=Path(directory) if directory else None,
    )


application = make_application(os.environ)
