"""A remote archive as an Archive: the backend ``http``, over our own server."""

from __future__ import annotations

try:
    import urllib3 as _urllib3
except ImportError as exc:
    raise ImportError(
        "the backend http needs urllib3: pip install 'pacifica-archive-http[client]'"
    ) from exc

from pacifica_archive_http.client.archive import HttpArchive
from pacifica_archive_http.client.options import HttpOptions

__all__ = ["HttpArchive", "HttpOptions"]

# It was only asked for.
del _urllib3
