"""What the double cannot do."""

from __future__ import annotations

__all__ = ["DatabaseDown", "DoubleError"]


class DoubleError(Exception):
    """What was asked cannot be done; the text says why, for a person."""


class DatabaseDown(DoubleError):
    """The database does not answer, or refuses; no event is lost by that."""
