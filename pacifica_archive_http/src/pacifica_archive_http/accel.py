"""
Files that nginx in front sends itself: ``X-Accel-Redirect``.

Only what nginx answers as we would is handed over; all else goes through us.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pacifica_archive_core import SupportsLocalPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacifica_archive_core import Archive

__all__ = ["find_location"]

# Of the spellings of a range that we take, those that nginx 1.22 reads alike.
_PLAIN_RANGE = re.compile(r"bytes=[0-9]*-[0-9]*")


def find_location(
    env: Mapping[str, Any],
    archive: Archive,
    file_id: int,
    internal: str,
    *,
    is_part: bool,
) -> str | None:
    """
    Return where nginx finds the file, escaped; None: it is for us to send.

    Args:
        env: the request.
        archive: with an option ``prefix``, as every archive with local paths has.
        file_id: of a file that is on disk.
        internal: nginx's location of the prefix, with a slash at its end. nginx names
            it in each request, in ``X-Accel-Internal``.
        is_part: the answer is of the range that the request has.

    Raises:
        NoSuchFile: it was deleted since it was opened.
    """
    # Who asks us directly, on the same machine, would take it for an empty file.
    if env.get("HTTP_X_ACCEL_INTERNAL") != internal:
        return None
    if not isinstance(archive, SupportsLocalPath):
        return None
    # nginx would hold it against a tag that it knows only later.
    if "HTTP_IF_MATCH" in env:
        return None
    # A range that is passed over: nginx might not.
    if "HTTP_RANGE" in env and not (
        is_part and _PLAIN_RANGE.fullmatch(env["HTTP_RANGE"])
    ):
        return None
    path = archive.local_path(file_id).relative_to(archive.options.prefix)
    # Latin-1 is what a field may hold, so bytes are escaped.
    return internal + quote(bytes(path))
