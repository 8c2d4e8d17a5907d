"""
The ``hmssideband`` backend of ``pacifica_archive_core``: files in Oracle HSM.

Files are read and written through the mounted SAM-QFS file system; whether one is on
disk or on tape is read from the HSM's "sideband" database.
"""

from __future__ import annotations

from pacifica_archive_hmssideband.archive import HmsSidebandArchive
from pacifica_archive_hmssideband.options import HmsSidebandOptions

__all__ = ["HmsSidebandArchive", "HmsSidebandOptions"]
