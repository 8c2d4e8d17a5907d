"""Asks each request for a token, before anything else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacifica_archive_core import ConfigError
from pacifica_archive_http.access import RULES, Scope, find_bearer
from pacifica_archive_http.access_log import EXCHANGE
from pacifica_archive_http.ids import find_file_id
from pacifica_archive_http.options import Monitoring
from pacifica_archive_http.status_table import Unauthorized
from pacifica_archive_http.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    import falcon

    from pacifica_archive_http.access import Authenticator, Identity
    from pacifica_archive_http.access_log import Exchange
    from pacifica_archive_http.options import ServerOptions

__all__ = ["Guard", "find_authenticators", "rules_for"]

_HEALTH = ("/healthz", "/readyz")
_MONITORING = (*_HEALTH, "/metrics")


def rules_for(monitoring: Monitoring) -> Mapping[str, Mapping[str, Scope | None]]:
    """Return ``RULES`` with what the operator left open."""
    left_open = {
        Monitoring.OPEN: _MONITORING,
        Monitoring.HEALTH: _HEALTH,
        Monitoring.CLOSED: (),
    }[monitoring]
    return {
        route: dict.fromkeys(verbs) if route in left_open else verbs
        for route, verbs in RULES.items()
    }


def find_authenticators(options: ServerOptions) -> tuple[Authenticator, ...]:
    """
    Return those that the options name.

    Raises:
        ConfigError: a file of theirs cannot be used, or an extra is missing.
    """
    found: list[Authenticator] = []
    if options.tokens is not None:
        found.append(TokenFile(options.tokens))
    if options.jwt is not None:
        try:
            from pacifica_archive_http.tokens_jwt import JwtIssuers  # noqa: PLC0415 (an extra)
        except ImportError as exc:
            raise ConfigError(
                "JSON Web Tokens need PyJWT: pip install 'pacifica-archive-http[jwt]'"
            ) from exc
        found.append(JwtIssuers(options.jwt))
    return tuple(found)


class Guard:
    """
    Middleware of the framework: who asks, and may they.

    Called when the route is known and before a byte of the body is read.

    Args:
        authenticators: asked in turn.
        monitoring: what needs no token.
    """

    def __init__(
        self, authenticators: tuple[Authenticator, ...], monitoring: Monitoring
    ) -> None:
        self._authenticators = authenticators
        self._rules = rules_for(monitoring)

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        _resource: object,
        params: Mapping[str, str],
    ) -> None:
        """
        Let the request pass, or raise.

        Raises:
            Unauthorized: no token that is valid.
            Forbidden: one without the scope, or not for this id.
        """
        # None: an address or a verb that is not there, as the framework tells.
        scope = self._rules.get(req.uri_template or "", {}).get(req.method)
        if scope is None:
            return
        exchange: Exchange = req.env[EXCHANGE]
        # Before it may be refused: an attempt is logged with what it was for.
        exchange.file_id = find_file_id(params.get("file_id", ""))
        who = exchange.who = self._identify(req)
        if req.uri_template in _MONITORING:
            who.require_for_all(scope)
        else:
            who.require(scope, exchange.file_id)

    def _identify(self, req: falcon.Request) -> Identity:
        token = find_bearer(req.env.get("HTTP_AUTHORIZATION"))
        if token is None:
            raise Unauthorized(
                "this needs a token: 'Authorization: Bearer TOKEN'", invalid=False
            )
        for authenticator in self._authenticators:
            if (who := authenticator.identify(token)) is not None:
                return who
        raise Unauthorized("the token is not valid here")
