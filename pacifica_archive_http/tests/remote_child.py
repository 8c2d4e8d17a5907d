"""What tests have other processes do."""

from __future__ import annotations

import sys

from pacifica_archive_http.client import HttpArchive, HttpOptions


def store_in_part(url: str, file_id: int, size: int) -> None:
    """Send half of a file, say so, and wait to be killed."""
    archive = HttpArchive(HttpOptions(prefix=url))
    writer = archive.create(file_id, size=size)
    for _ in range(size // 2 >> 20):
        writer.write(bytes(1 << 20))
    sys.stdout.buffer.write(b"sent\n")
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()
