"""Options of the ``http`` backend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from pacifica_archive_core import option
from pacifica_archive_core.options import FileSecret

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HttpOptions", "to_token", "to_url"]


def to_url(value: str) -> str:
    """
    Check the address of an archive, and take the slash from its end.

    >>> to_url("http://archive:8080/")
    'http://archive:8080'

    Raises:
        ValueError: it is none.
    """
    allowed = ValueError(
        "an address is http://HOST[:PORT][/PATH] or https://..., without user,"
        " query or fragment"
    )
    if not (value.isascii() and value.isprintable()):
        raise allowed
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as exc:
        raise allowed from exc
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or port == 0
        or any(character in value for character in '@?#\\ "<>')
    ):
        raise allowed
    return value.rstrip("/")


def to_token(value: str) -> str:
    """
    Check a token: what a field ``Authorization: Bearer`` can hold.

    Raises:
        ValueError: it is none; the message is not of the token.
    """
    bare = value.strip()
    if not (bare and bare.isascii() and bare.isprintable() and " " not in bare):
        raise ValueError("a token is of visible ASCII characters, without blanks")
    # One of a file stays what it is, blanks of its end and all.
    return value if isinstance(value, FileSecret) else bare


def _seconds(least: float) -> Callable[[Any], float]:
    def convert(value: str | float) -> float:
        seconds = float(value)
        if not least <= seconds < math.inf:
            raise ValueError(f"allowed are seconds from {least:g}")
        return seconds

    return convert


def _count(value: str | int) -> int:
    count = int(value)
    if count < 1:
        raise ValueError("allowed are numbers from 1")
    return count


@attrs.frozen(kw_only=True)
class HttpOptions:
    """Options of the ``http`` backend."""

    prefix: str = option(
        "address of the archive's server, as http://archive:8080; a path in it is"
        " kept before every other",
        converter=to_url,
    )
    connect_timeout_s: float = option(
        "seconds for a connection to be made",
        default=10.0,
        converter=_seconds(0.001),
    )
    timeout_s: float = option(
        "seconds of silence after which a connection is given up",
        default=60.0,
        converter=_seconds(0.001),
    )
    commit_timeout_s: float = option(
        "seconds for the server to have a file on stable storage when all of it was"
        " sent; then CommitUnclear",
        default=600.0,
        converter=_seconds(0.001),
    )
    retry_for_s: float = option(
        "seconds for which what may be asked twice is asked again when the server"
        " does not answer; what changes a file is sent once",
        default=30.0,
        converter=_seconds(0),
    )
    recall_timeout_s: float = option(
        "seconds that opening a file on tape may wait for its recall",
        default=3600.0,
        converter=_seconds(0),
    )
    max_connections: int = option(
        "connections in use at once, but for long reads and uploads over 1 MiB,"
        " which have their own",
        default=32,
        converter=_count,
    )
    token: str | None = option(
        "token that is sent with each request; its file is read again when it changes",
        default=None,
        converter=attrs.converters.optional(to_token),
        secret=True,
        on_command_line=False,
    )
    cert_file: str | None = option(
        "certificate of this client (PEM), its chain behind it, for servers that"
        " ask for one",
        default=None,
        converter=attrs.converters.optional(str),
    )
    key_file: str | None = option(
        "its private key (PEM, without a password); in cert_file by default",
        default=None,
        converter=attrs.converters.optional(str),
    )
    ca_file: str | None = option(
        "file of the certificates (PEM) that the server's may be signed by; those"
        " of the system by default",
        default=None,
        converter=attrs.converters.optional(str),
    )
