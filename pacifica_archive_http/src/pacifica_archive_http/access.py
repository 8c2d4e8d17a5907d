"""
Who may do what: one table of routes and scopes, and who a request comes from.

``RULES`` is the only place that says which scope a request wants; the application,
``/openapi.json`` and the table in the docs are made of it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from pacifica_archive_core import MAX_FILE_ID
from pacifica_archive_http.status_table import Forbidden, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RULES", "Authenticator", "Grant", "Identity", "Scope", "find_bearer"]


class Scope(enum.StrEnum):
    """What a token may be allowed to do; each is apart from the others."""

    #: Read the bytes of files.
    READ = "read"
    #: Store files, and replace them.
    WRITE = "write"
    #: Ask for recalls from tape.
    STAGE = "stage"
    #: Take in files by their path: PATCH.
    MOVE = "move"
    DELETE = "delete"
    #: Ask where files are, and for what the server tells of itself.
    STATUS = "status"


#: All verbs of a file's two addresses.
_FILE_VERBS = {
    "GET": Scope.READ,
    "HEAD": Scope.STATUS,
    "PUT": Scope.WRITE,
    "POST": Scope.STAGE,
    "PATCH": Scope.MOVE,
    "DELETE": Scope.DELETE,
}
_OPEN = {"GET": None, "HEAD": None}
_STATUS = {"GET": Scope.STATUS, "HEAD": Scope.STATUS}

#: Route (a template of the framework's) and verb to the scope that it wants; None: no
#: token is asked for. Of those in ``MONITORING``, ``--monitoring`` has the say.
RULES: Mapping[str, Mapping[str, Scope | None]] = {
    "/": _OPEN,
    "/{file_id}": _FILE_VERBS,
    "/files/{file_id}": _FILE_VERBS,
    "/files/status": {"POST": Scope.STATUS},
    "/files/stage": {"POST": Scope.STAGE},
    "/openapi.json": _OPEN,
    "/healthz": _STATUS,
    "/readyz": _STATUS,
    "/metrics": _STATUS,
}


@attrs.frozen(kw_only=True)
class Grant:
    """
    One scope, for some ids.

    Attributes:
        scope: what may be done.
        ids: first and last id of each range, both allowed; None: all ids.
        replaces: of ``WRITE``: whether a file that is there may be replaced.
    """

    scope: Scope
    ids: tuple[tuple[int, int], ...] = ((0, MAX_FILE_ID),)
    replaces: bool = True

    def covers_all(self) -> bool:
        """Whether every id there can be is in a range."""
        next_id = 0
        for first, last in sorted(self.ids):
            if first > next_id:
                return False
            next_id = max(next_id, last + 1)
        return next_id > MAX_FILE_ID

    def covers(self, file_id: int | None) -> bool:
        """Whether the id is in a range; None is any, whichever."""
        return file_id is None or any(
            first <= file_id <= last for first, last in self.ids
        )


@attrs.frozen(kw_only=True)
class Identity:
    """
    Who a request comes from.

    Attributes:
        name: the token's name, or the subject of a JSON Web Token.
        kind: which of them; the same name may be both.
        grants: what it may do.
        issuer: of a JSON Web Token: a subject is its issuer's, and another's may
            have the same name.
    """

    name: str
    kind: Literal["token", "jwt"]
    grants: tuple[Grant, ...]
    issuer: str | None = None

    def require(self, scope: Scope, file_id: int | None = None) -> None:
        """
        Raise unless this may be done.

        Args:
            scope: what is wanted.
            file_id: for which; None: it is still to be seen for which.

        Raises:
            Forbidden: the scope is missing, or is not for this id.
        """
        if self._find(scope, file_id):
            return
        if self._find(scope, None):
            raise Forbidden(
                f"the scope {scope} is not for the id {file_id}", scope=scope
            )
        raise Forbidden(f"this needs the scope {scope}", scope=scope)

    def require_for_all(self, scope: Scope) -> None:
        """
        Raise unless this may be done for all ids: it tells of the whole archive.

        Raises:
            Forbidden: the scope is missing, or is for some ids only.
        """
        self.require(scope)
        if not any(grant.covers_all() for grant in self._find(scope, None)):
            raise Forbidden(f"this needs the scope {scope} for all ids", scope=scope)

    def may_read(self, file_id: int) -> bool:
        """Whether the file's bytes may be read, be it for a digest of them only."""
        return bool(self._find(Scope.READ, file_id))

    def may_replace(self, file_id: int) -> bool:
        """Whether a file that is there may be replaced by another."""
        return any(grant.replaces for grant in self._find(Scope.WRITE, file_id))

    def _find(self, scope: Scope, file_id: int | None) -> list[Grant]:
        return [
            grant
            for grant in self.grants
            if grant.scope is scope and grant.covers(file_id)
        ]


class Authenticator(Protocol):
    """Knows one kind of token."""

    def identify(self, token: str) -> Identity | None:
        """
        Return who has this token; None: it is none of this kind.

        Raises:
            Unauthorized: it is of this kind, and not valid, or no longer.
        """


def find_bearer(authorization: str | None) -> str | None:
    """
    Return the token of an ``Authorization`` field; None: there is none.

    Raises:
        Unauthorized: it is of another scheme, or no token.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.strip(" \t").partition(" ")
    token = token.strip(" \t")
    if scheme.lower() != "bearer" or not token.isascii() or not token.isprintable():
        raise Unauthorized("the Authorization is to be 'Bearer TOKEN'")
    if not token or " " in token:
        raise Unauthorized("the Authorization is to be 'Bearer TOKEN'")
    return token
