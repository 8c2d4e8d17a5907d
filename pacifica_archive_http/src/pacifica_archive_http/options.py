"""
Options of the server, whichever program runs it: declared once.

Later wins: section ``[server]`` of the INI file, then the environment's
``PACIFICA_ARCHIVE_SERVER_<OPTION>``, then what ``pacifica-archive serve`` is given.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from pacifica_archive_core import (
    DEFAULT_ALGORITHM,
    ConfigError,
    load_options,
    option,
    to_bool,
)
from pacifica_archive_http.digests import checked_algorithms, parse_algorithms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Deletion", "Monitoring", "ServerOptions", "load_server_options"]


class Deletion(enum.StrEnum):
    """What DELETE does."""

    ALLOW = "allow"
    DENY = "deny"
    TRASH = "trash"


class Monitoring(enum.StrEnum):
    """What of ``/healthz``, ``/readyz`` and ``/metrics`` is told without a token."""

    OPEN = "open"
    HEALTH = "health"
    CLOSED = "closed"


def _to_digests(value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        return parse_algorithms(value)
    return checked_algorithms(value)


def _count(least: int) -> Callable[[str | int], int]:
    def convert(value: str | int) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise ValueError(f"allowed is a number from {least}")
        return int(text)

    return convert


def _to_word(words: type[enum.StrEnum]) -> Callable[[str], Any]:
    def convert(value: str) -> Any:  # noqa: ANN401 (a member of words)
        try:
            return words(value)
        except ValueError as exc:
            raise ValueError(f"allowed are {', '.join(words)}") from exc

    return convert


def _to_internal(value: str) -> str:
    if not (value.startswith("/") and value.endswith("/") and value.isascii()):
        raise ValueError("allowed is a path that begins and ends with /")
    return value


_optional = attrs.converters.optional


@attrs.frozen(kw_only=True)
class ServerOptions:
    """Options of the server."""

    digests: tuple[str, ...] = option(
        "digests that are computed of every upload and kept with it, with commas"
        " between them; or none",
        default=(DEFAULT_ALGORITHM,),
        converter=_to_digests,
    )
    write_once: bool = option("never replace a file", default=False, converter=to_bool)
    delete: Deletion = option(
        "what DELETE does: allow it, deny it, or put the file into the trash, out of"
        " which 'pacifica-archive undelete' takes it again",
        default=Deletion.ALLOW,
        converter=_to_word(Deletion),
    )
    trash_days: int = option(
        "days that a file stays in the trash at least",
        default=30,
        converter=_count(1),
    )
    tokens: Path | None = option(
        "file of the tokens, made by 'pacifica-archive token new'; with it, every"
        " request about files needs one",
        default=None,
        converter=_optional(Path),
    )
    jwt: Path | None = option(
        "TOML file of the issuers whose JSON Web Tokens are taken, as in the WLCG",
        default=None,
        converter=_optional(Path),
    )
    monitoring: Monitoring = option(
        "what is told without a token, where tokens are asked for: open is /healthz,"
        " /readyz and /metrics, health all but /metrics, closed none of them",
        default=Monitoring.HEALTH,
        converter=_to_word(Monitoring),
    )
    max_transfers: int | None = option(
        "uploads and downloads at once in a process; 'serve' takes three quarters of"
        " its threads",
        default=None,
        converter=_optional(_count(0)),
    )
    client_transfers: int | None = option(
        "uploads and downloads at once of one token, or of one address where there"
        " is none",
        default=None,
        converter=_optional(_count(0)),
    )
    accel_redirect: str | None = option(
        "internal location of nginx in front, as /files-of-the-archive/, that is"
        " the archive's prefix: nginx, which names it in X-Accel-Internal, sends the"
        " files itself (X-Accel-Redirect); only with write_once",
        default=None,
        converter=_optional(_to_internal),
    )
    log_file: str | None = option(
        "file that the log is appended to, JSON lines; stderr by default",
        default=None,
        converter=_optional(str),
    )

    def __attrs_post_init__(self) -> None:
        """
        Refuse options that do not go together.

        Raises:
            ConfigError: as said.
        """
        if self.accel_redirect is not None and not self.write_once:
            # nginx opens the name later than we do.
            raise ConfigError(
                "accel_redirect needs write_once: a file that is replaced at the"
                " wrong moment would be sent with the ETag of the one before"
            )

    @property
    def is_guarded(self) -> bool:
        """Whether requests need a token."""
        return self.tokens is not None or self.jwt is not None


class _Server:
    """What ``load_options`` wants to know of a kind of options."""

    options_class: ClassVar[type[Any]] = ServerOptions
    config_sections: ClassVar[tuple[str, ...]] = ("server",)


def load_server_options(
    env: Mapping[str, str],
    *,
    file: Path | None = None,
    given: Mapping[str, object] | None = None,
) -> ServerOptions:
    """
    Make the options of a server from every source there is.

    Args:
        env: an environment, as ``os.environ``.
        file: the INI file, if any.
        given: name to value.

    Raises:
        ConfigError: an unknown option, or a wrong value.
    """
    # Empty is not given: how a unit's environment file switches one off.
    env = {name: value for name, value in env.items() if value}
    options: ServerOptions = load_options(_Server, file=file, env=env, given=given)
    return options
