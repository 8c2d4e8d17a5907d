"""
Who may do what: one table of routes and scopes, and who a request comes from.

``RULES`` is the only place that says which scope a request wants; the application,
``/openapi.json`` and the table in the docs are made of it.
"""

from __future__ import annotations

import bisect
import enum
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from pacifica_archive_core import MAX_FILE_ID
from pacifica_archive_http.status_table import Forbidden, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


class _Ids:
    """The ids of some ranges, which may overlap: found in a few steps."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __contains__(self, file_id: int) -> bool:
        place = bisect.bisect_right(self._firsts, file_id) - 1
        return place >= 0 and file_id <= self._lasts[place]

    @property
    def are_all(self) -> bool:
        """Whether every id there can be is among them."""
        return (self._firsts, self._lasts) == ([0], [MAX_FILE_ID])


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
    # Of all grants together: a token may have hundreds, and a list ten thousand ids.
    _allowed: Mapping[Scope, _Ids] = attrs.field(init=False, eq=False, repr=False)
    _replaced: _Ids = attrs.field(init=False, eq=False, repr=False)

    @_allowed.default
    def _find_allowed(self) -> Mapping[Scope, _Ids]:
        ranges: dict[Scope, list[tuple[int, int]]] = {}
        for grant in self.grants:
            ranges.setdefault(grant.scope, []).extend(grant.ids)
        return {scope: _Ids(found) for scope, found in ranges.items()}

    @_replaced.default
    def _find_replaced(self) -> _Ids:
        return _Ids(
            ids
            for grant in self.grants
            if grant.scope is Scope.WRITE and grant.replaces
            for ids in grant.ids
        )

    def require(self, scope: Scope, file_id: int | None = None) -> None:
        """
        Raise unless this may be done.

        Args:
            scope: what is wanted.
            file_id: for which; None: it is still to be seen for which.

        Raises:
            Forbidden: the scope is missing, or is not for this id.
        """
        if (allowed := self._allowed.get(scope)) is None:
            raise Forbidden(f"this needs the scope {scope}", scope=scope)
        if file_id is not None and file_id not in allowed:
            raise Forbidden(
                f"the scope {scope} is not for the id {file_id}", scope=scope
            )

    def require_for_all(self, scope: Scope) -> None:
        """
        Raise unless this may be done for all ids: it tells of the whole archive.

        Raises:
            Forbidden: the scope is missing, or is for some ids only.
        """
        self.require(scope)
        if not self._allowed[scope].are_all:
            raise Forbidden(f"this needs the scope {scope} for all ids", scope=scope)

    def may_read(self, file_id: int) -> bool:
        """Whether the file's bytes may be read, be it for a digest of them only."""
        return file_id in self._allowed.get(Scope.READ, ())

    def may_replace(self, file_id: int) -> bool:
        """Whether a file that is there may be replaced by another."""
        return file_id in self._replaced


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
