"""Ids in addresses."""

from __future__ import annotations

import re

from pacifica_archive_core import MAX_FILE_ID

__all__ = ["find_file_id"]

_FILE_ID = re.compile(r"0|[1-9][0-9]{0,18}")


def find_file_id(text: str) -> int | None:
    """Read an id: what ``str`` makes of it, and nothing else that ``int`` takes."""
    if not _FILE_ID.fullmatch(text) or int(text) > MAX_FILE_ID:
        return None
    return int(text)
