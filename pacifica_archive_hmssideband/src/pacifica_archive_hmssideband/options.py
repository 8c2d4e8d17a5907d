"""Options of the ``hmssideband`` backend."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import attrs
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pacifica_archive_core import ConfigError, option, to_bool
from pacifica_archive_posix import TreeOptions

__all__ = ["HmsSidebandOptions"]

#: Where Oracle HSM has its ``stage`` command (stage(1)).
STAGE_COMMAND = Path("/opt/SUNWsamfs/bin/stage")
_PORTS = range(1, 1 << 16)
#: More than a year is a mistake, and more than drivers take.
_SECONDS = attrs.validators.and_(
    attrs.validators.gt(0), attrs.validators.le(366 * 24 * 3600)
)


def _to_database_path(value: str) -> str:
    # The database is latin1, the names that SAM's C client writes into it are not
    # decoded: only ASCII compares for sure.
    if not value.isascii() or "\0" in value:
        raise ValueError("allowed are ASCII paths")
    names = [name for name in value.split("/") if name]
    if {".", ".."} & set(names):
        raise ValueError("allowed are paths without '.' and '..'")
    return "".join(f"/{name}" for name in names)


def _to_port(value: str | int) -> int:
    port = int(value)
    if port not in _PORTS:
        raise ValueError("allowed are 1 to 65535")
    return port


def _to_url(value: str | URL | None) -> URL | None:
    if value is None or value == "":
        return None
    try:
        url = make_url(value)
    except ArgumentError as exc:
        raise ValueError("allowed are URLs of SQLAlchemy") from exc
    if {"passwd", "password"} & set(url.query):
        # There it would be shown wherever the URL is.
        raise ValueError("the password's place is before the host")
    return url


def _to_command(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    words = tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)
    if any("\0" in word for word in words):
        raise ValueError("allowed are words without NUL")
    return words


@attrs.frozen(kw_only=True)
class HmsSidebandOptions(TreeOptions):
    """
    Options of the ``hmssideband`` backend.

    Raises:
        ConfigError: neither ``url`` nor the five that make one, or both.
    """

    sam_qfs_prefix: str = option(
        "the directory of the archive as the sideband database has it: from the mount"
        " point of the file system on, '/' for the mount point itself",
        converter=_to_database_path,
    )
    host: str | None = option("the host of the sideband database", default=None)
    port: int = option(
        "the port of the sideband database", default=3306, converter=_to_port
    )
    user: str | None = option(
        "the user of the sideband database; SELECT is all it needs", default=None
    )
    password: str = option("the password of that user", default="", secret=True)
    schema: str | None = option(
        "the schema of the sideband database, one for each file system", default=None
    )
    url: URL | None = option(
        "a URL of SQLAlchemy instead of host, port, user, password and schema",
        default=None,
        converter=_to_url,
        secret=True,
    )
    pool_size: int = option(
        "connections to the database that are kept; at most twice as many are opened",
        default=5,
        converter=int,
        validator=attrs.validators.gt(0),
    )
    connect_timeout_s: float = option(
        "seconds that a connection to the database may take",
        default=2.0,
        converter=float,
        validator=_SECONDS,
    )
    query_timeout_s: float = option(
        "seconds that each answer of the database may take",
        default=3.0,
        converter=float,
        validator=_SECONDS,
    )
    inode_lookup: bool = option(
        "look a file up by its inode number first, which is SAM-QFS's own where the"
        " prefix is mounted from it",
        default=True,
        converter=to_bool,
    )
    stage_command: tuple[str, ...] | None = option(
        "the command that recalls files, paths are added to it; by default"
        f" {STAGE_COMMAND} if that is there; empty: a byte of each file is read"
        " instead",
        default=None,
        converter=_to_command,
    )
    stage_timeout_s: float = option(
        "seconds that the stage command may take",
        default=60.0,
        converter=float,
        validator=_SECONDS,
    )
    max_partial: int = option(
        "bytes that the file system may keep of a file on tape (its maxpartial); the"
        " byte that is read to recall a file is behind them",
        default=16384,
        converter=int,
        validator=attrs.validators.ge(0),
    )
    recall_timeout_s: float = option(
        "seconds that an opening with recall, and a read from tape, may take",
        default=3600.0,
        converter=float,
        validator=_SECONDS,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse two ways to name the database, and none."""
        named = (self.host, self.user, self.schema)
        if self.url is None and None in named:
            raise ConfigError(
                "hms_sideband needs the options host, user and schema, or url"
            )
        if self.url is not None and (named != (None,) * 3 or self.password):
            raise ConfigError(
                "hms_sideband takes url, or host, user, password and schema, not both"
            )

    @property
    def database_url(self) -> URL:
        """The database; its text hides the password."""
        if self.url is not None:
            return self.url
        return URL.create(
            "mysql+pymysql",
            username=self.user,
            password=self.password or None,
            host=self.host,
            port=self.port,
            database=self.schema,
        )

    @property
    def effective_stage_command(self) -> tuple[str, ...]:
        """The command that recalls files; empty: a read does."""
        if self.stage_command is not None:
            return self.stage_command
        # Not Path.exists(), which raises where a directory may not be searched.
        there = os.access(STAGE_COMMAND, os.F_OK)
        return (str(STAGE_COMMAND),) if there else ()
