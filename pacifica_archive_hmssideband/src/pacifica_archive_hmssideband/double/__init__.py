"""
A stand-in for Oracle HSM (SAM-QFS), for tests and trials.

It keeps a sideband database in step with a directory, with the lag, the lost events
and the defects of the real daemon, and takes the bytes of files to "tape" and back.
``python -m pacifica_archive_hmssideband.double`` is its command.
"""

from __future__ import annotations

from pacifica_archive_hmssideband.double.errors import DatabaseDown, DoubleError
from pacifica_archive_hmssideband.double.hsm import Double

__all__ = ["DatabaseDown", "Double", "DoubleError"]
