"""
Settings of gunicorn, for gunicorn.conf of pacifica-archive.service.d.

ARCHIVEI_CONFIG names archive.cfg; PACIFICA_ARCHIVE_LISTEN is for another port.
"""

from __future__ import annotations

import os

wsgi_app = "pacifica_archive_http.wsgi:application"
bind = os.environ.get("PACIFICA_ARCHIVE_LISTEN", "127.0.0.1:8080")
# Loaded before the fork: the workers count the transfers of a client together.
preload_app = True
worker_class = "gthread"
workers = 4
threads = 64
# Three quarters of the threads: what is no transfer is always served.
raw_env = ["PACIFICA_ARCHIVE_SERVER_MAX_TRANSFERS=48"]
# For /metrics of all workers. No hooks: a worker takes the place of one that died.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    raw_env += ["PROMETHEUS_MULTIPROC_DIR=/run/pacifica-archive/metrics"]
# A worker that is busy with a long upload is not dead.
timeout = 0
graceful_timeout = 60
# It would be in a home directory, which this user has not.
control_socket_disable = True
# A JSON Web Token is some kilobytes.
limit_request_field_size = 65536
