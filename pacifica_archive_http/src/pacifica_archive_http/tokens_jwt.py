"""
JSON Web Tokens of issuers elsewhere, as the WLCG has them; needs the extra ``[jwt]``.

What is asked of a token is in RFC 7519 and in the WLCG Common JWT Profiles 1.3
(https://doi.org/10.5281/zenodo.20734267), section 2.2.1 for the scopes. Checking of
signatures and claims is PyJWT's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import http
import http.client
import io
import ipaddress
import json
import logging
import os
import socket
import ssl
import stat
import threading
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard
from urllib.parse import SplitResult, urlsplit

import attrs
import jwt
from jwt.algorithms import has_crypto

from pacifica_archive_core import ConfigError
from pacifica_archive_http.access import Grant, Identity, Scope
from pacifica_archive_http.ids import find_file_id
from pacifica_archive_http.status_table import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

__all__ = ["STORAGE_SCOPES", "JwtIssuers"]

if not has_crypto:
    raise ImportError("PyJWT is there without cryptography")

_log = logging.getLogger(__name__)

_STATUS = Grant(scope=Scope.STATUS)

#: Scope of the profile to what it allows here. That ``storage.modify`` deletes is the
#: profile's ("deleting or truncating"), that it moves is our reading of "renaming
#: files". ``storage.stage`` read, too, until the profile's version 1.2, which says
#: MUST NOT whatever version a token names.
STORAGE_SCOPES: Mapping[str, tuple[Grant, ...]] = {
    "storage.read": (Grant(scope=Scope.READ), _STATUS),
    "storage.create": (Grant(scope=Scope.WRITE, replaces=False), _STATUS),
    "storage.modify": (
        Grant(scope=Scope.WRITE),
        Grant(scope=Scope.DELETE),
        Grant(scope=Scope.MOVE),
        _STATUS,
    ),
    "storage.stage": (Grant(scope=Scope.STAGE), _STATUS),
    "storage.poll": (_STATUS,),
}

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
#: Type and curve of a key to the algorithms that it may be used with: never what the
#: token alone says (RFC 8725 section 3.1).
_ALGORITHMS: Mapping[tuple[object, object], tuple[str, ...]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
#: RFC 7518 section 3.3.
_MIN_RSA_BITS = 2048

#: Characters of a token; those of grids have one or two thousand.
_MAX_TOKEN = 1 << 14
#: Bytes of a document of keys, and of a file of issuers.
_MAX_DOCUMENT = 1 << 18
#: Of a subject (OpenID Connect Core section 8).
_MAX_SUBJECT = 255
_MAX_LEEWAY_S = 600

#: A token that was verified is not verified again for so long, ...
_REMEMBERED_S = 300.0
#: ... of so many tokens.
_MAX_REMEMBERED = 1024

#: Keys from an address are not asked for again for so long, ...
_FRESH_S = 300.0
#: ... but for a token of another key, or after a failure, so seldom, ...
_PAUSE_S = 30.0
#: ... and are used for so long while they cannot be had.
_USED_S = 86400.0
_FETCH_S = 5.0
#: For each of a host's addresses.
_CONNECT_S = 2.0
#: What another thread's fetch is waited for by who has no key.
_WAIT_S = 2.0
#: Between two lines in the log about the same fault.
_QUIET_S = 60.0


class JwtIssuers:
    """
    Knows the JSON Web Tokens of the issuers in a file; used by many threads.

    Nothing is fetched before the first token of an issuer comes.

    Args:
        path: TOML: ``audience``, ``leeway_s``, ``stage_reads``, tables ``[[issuer]]``.

    Raises:
        ConfigError: the file or one that it names cannot be used.
    """

    def __init__(self, path: Path) -> None:
        settings = _read_settings(path)
        self._audience = settings.audience
        self._leeway_s = settings.leeway_s
        self._scopes = dict(STORAGE_SCOPES)
        if settings.stage_reads:
            self._scopes["storage.stage"] += (Grant(scope=Scope.READ),)
        self._keys = {
            name: _keys_of(name, where) for name, where in settings.issuers.items()
        }
        self._lock = threading.Lock()
        #: SHA-256 of a token to whose it is, and until when that is believed.
        self._remembered: dict[bytes, tuple[Identity, float]] = {}

    def identify(self, token: str) -> Identity | None:
        """
        Return who has this token; None: it is no JSON Web Token.

        Raises:
            Unauthorized: it is one, and not valid, or not of an issuer that is known.
        """
        if token.count(".") != 2:  # noqa: PLR2004 (RFC 7515 section 3.1)
            return None
        if len(token) > _MAX_TOKEN:
            raise Unauthorized(f"the token is longer than {_MAX_TOKEN} characters")
        name = hashlib.sha256(token.encode()).digest()
        with self._lock:
            who, until = self._remembered.get(name, (None, 0.0))
        if who is not None and time.monotonic() < until:
            return who
        who, expires = self._verify(token)
        left = min(_REMEMBERED_S, expires - time.time())
        with self._lock:
            self._remembered.pop(name, None)
            if len(self._remembered) >= _MAX_REMEMBERED:
                # The one that came first.
                del self._remembered[next(iter(self._remembered))]
            self._remembered[name] = (who, time.monotonic() + left)
        return who

    def _verify(self, token: str) -> tuple[Identity, float]:
        """Return who has it, and the second at which it expires."""
        # Not believed before the signature is: they say which key to try.
        header, claims = map(_parse, token.split(".")[:2])
        if "crit" in header:
            raise Unauthorized("the token has an extension that is not known here")
        issuer, kid = claims.get("iss"), header.get("kid")
        keys = self._keys.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise Unauthorized("the token is of an issuer that is not trusted here")
        if not isinstance(kid, str):
            raise Unauthorized("the token does not name its key (kid)")
        key = keys.find(kid)
        if key is None:
            raise Unauthorized("the key of the token (kid) is not known here")
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=key.algorithms,
                audience=self._audience,
                issuer=issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, OverflowError, TypeError, ValueError) as exc:
            # PyJWT 2.10 lets the latter out, of a claim of another type.
            raise Unauthorized(_told(exc)) from exc
        return _identity(claims, self._scopes), _expiry(claims)


# --- what a token says -----------------------------------------------------------


def _told(exc: Exception) -> str:
    """Return what a client may know: PyJWT's own words have parts of the token."""
    said: Sequence[tuple[type[jwt.PyJWTError], str]] = (
        (jwt.ExpiredSignatureError, "the token has expired"),
        (jwt.ImmatureSignatureError, "the token is not valid yet"),
        (jwt.MissingRequiredClaimError, "the token wants exp, iss, aud and sub"),
        (jwt.InvalidAudienceError, "the token is for another audience"),
        (jwt.InvalidSignatureError, "the token's signature is wrong"),
        (jwt.InvalidAlgorithmError, "the token's algorithm is not that of its key"),
    )
    return next(
        (text for kind, text in said if isinstance(exc, kind)),
        "the token is not well formed",
    )


def _parse(segment: str) -> dict[str, Any]:
    """Return the JSON object in a part of a token."""
    try:
        text = base64.b64decode(
            segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True
        )
        return _parse_object(text)
    except (binascii.Error, ValueError, RecursionError) as exc:
        raise Unauthorized("the token is not well formed") from exc


def _parse_object(text: bytes) -> dict[str, Any]:
    """
    Read a JSON object; no member may be there twice (RFC 7519 section 4).

    Raises:
        ValueError: it is none.
        RecursionError: it is too deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member is there twice")
        return members

    found = json.loads(text, object_pairs_hook=unique)
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 (as json has it)
    return found


def _expiry(claims: Mapping[str, Any]) -> float:
    expires = claims["exp"]
    # PyJWT takes "123" and true, too; RFC 7519 section 2 wants a number.
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise Unauthorized("the token is not well formed")
    return float(min(expires, 1 << 53))


def _identity(
    claims: Mapping[str, Any], known: Mapping[str, tuple[Grant, ...]]
) -> Identity:
    subject, scopes = claims["sub"], claims.get("scope", "")
    if not (
        isinstance(subject, str)
        and 0 < len(subject) <= _MAX_SUBJECT
        and subject.isascii()
        and subject.isprintable()
    ):
        raise Unauthorized(f"the token's sub is to be 1 to {_MAX_SUBJECT} characters")
    if not isinstance(scopes, str):
        raise Unauthorized("the token's scope is to be one text, with spaces")
    return Identity(
        name=subject,
        kind="jwt",
        issuer=claims["iss"],
        grants=tuple(
            grant for scope in scopes.split(" ") for grant in _grants(scope, known)
        ),
    )


def _grants(text: str, known: Mapping[str, tuple[Grant, ...]]) -> list[Grant]:
    scope, _, path = text.partition(":")
    if scope.startswith("storage.") and not path:
        raise Unauthorized("the token has a storage scope without a path")
    ids = _ids(path)
    return [attrs.evolve(grant, ids=ids) for grant in known.get(scope, ()) if ids]


def _ids(path: str) -> tuple[tuple[int, int], ...]:
    """
    Return the ids that a path names.

    A file's path is its address. One with a slash at its end is a directory's, of
    which there are two; one that is not normalised names nothing (the profile has the
    issuer do that, and leaves to us what becomes of the others).
    """
    if path in {"/", "/files", "/files/"}:
        return _STATUS.ids
    folder, _, name = path.rpartition("/")
    file_id = find_file_id(name)
    if folder not in {"", "/files"} or not path.startswith("/") or file_id is None:
        return ()
    return ((file_id, file_id),)


# --- keys ------------------------------------------------------------------------


@attrs.frozen
class _Key:
    """A public key, and the algorithms that it may be used with."""

    key: Any
    algorithms: tuple[str, ...]


class _Keys(Protocol):
    """The keys of one issuer."""

    def find(self, kid: str) -> _Key | None:
        """Return the key of this name, if there is one now."""


def _keys_of(issuer: str, where: Path | SplitResult) -> _Keys:
    if isinstance(where, Path):
        return _FileKeys(issuer, where)
    return _FetchedKeys(issuer, where)


def _parse_keys(text: bytes) -> dict[str, _Key]:
    """
    Read a JSON Web Key Set (RFC 7517 section 5); what is of no use is passed over.

    Raises:
        ValueError: there is no key that can be used.
    """
    try:
        listed = _parse_object(text).get("keys")
    except RecursionError as exc:
        raise ValueError("it is too deep") from exc
    found: dict[str, _Key] = {}
    for data in listed if isinstance(listed, list) else ():
        if isinstance(data, dict) and isinstance(kid := data.get("kid"), str):
            key = _parse_key(data)
            if key is not None:
                found.setdefault(kid, key)
    if not found:
        raise ValueError("no key in it can be used")
    return found


def _parse_key(data: Mapping[str, Any]) -> _Key | None:
    kind, curve, only = (data.get(name) for name in ("kty", "crv", "alg"))
    if not all(isinstance(text, str | None) for text in (kind, curve, only)):
        return None
    algorithms = _ALGORITHMS.get((kind, curve), ())
    if only is not None:
        algorithms = tuple(name for name in algorithms if name == only)
    # A private key that somebody published is anybody's.
    if not algorithms or data.get("use", "sig") != "sig" or "d" in data:
        return None
    try:
        key = jwt.PyJWK(dict(data), algorithms[0]).key
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        # One key that is broken is no reason to refuse the others.
        return None
    if kind == "RSA" and key.key_size < _MIN_RSA_BITS:
        return None
    return _Key(key, algorithms)


class _Complaint:
    """Tells the operator of a fault, and not again for a while."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._told_s = -_QUIET_S

    def tell(self, what: str) -> None:
        """Log it; what it says holds nothing of the keys."""
        now = time.monotonic()
        if now - self._told_s >= _QUIET_S:
            self._told_s = now
            _log.error("the keys of the issuer %s %s", self._issuer, what)


class _FileKeys:
    """Keys in a file, which is looked at for each new token."""

    def __init__(self, issuer: str, path: Path) -> None:
        self._path = path
        self._complaint = _Complaint(issuer)
        try:
            self._held = self._stamp(), _parse_keys(_read_some(path))
        except OSError as exc:
            raise ConfigError(f"the keys of {issuer}: {path} cannot be read") from exc
        except ValueError as exc:
            raise ConfigError(f"the keys of {issuer}: {path}: {exc}") from exc

    def find(self, kid: str) -> _Key | None:
        # Kept and taken together, or a thread that was overtaken could leave old keys
        # with a new stamp.
        held, keys = self._held
        try:
            # Before the file is read: one that is replaced meanwhile is read again.
            stamp = self._stamp()
            if stamp != held:
                keys = _parse_keys(_read_some(self._path))
                self._held = stamp, keys
        except FileNotFoundError:
            self._complaint.tell("are gone: no token of it is valid")
            return None
        except (OSError, ValueError):
            self._complaint.tell("cannot be read: the last that could are used")
        return keys.get(kid)

    def _stamp(self) -> tuple[int, ...]:
        about = self._path.stat()
        # Of the status too: who may write it is looked at.
        return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _read_some(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise ValueError("all users may write it: who does makes himself tokens")
        text = file.read(_MAX_DOCUMENT + 1)
    if len(text) > _MAX_DOCUMENT:
        raise ValueError(f"it is longer than {_MAX_DOCUMENT} bytes")
    return text


class _FetchedKeys:
    """
    Keys at an address: fetched when they are wanted, and kept.

    One thread at a time fetches; who has a key that may be used goes on with it.
    """

    def __init__(self, issuer: str, url: SplitResult) -> None:
        self._url = url
        self._complaint = _Complaint(issuer)
        self._fetching = threading.Lock()
        self._keys: dict[str, _Key] = {}
        self._fetched_s = self._tried_s = float("-inf")

    def find(self, kid: str) -> _Key | None:
        # Who lacks a key waits for whoever fetches; there may be nothing left to do.
        if self._wants(kid) and self._fetching.acquire(
            timeout=0 if kid in self._keys else _WAIT_S
        ):
            try:
                paused = time.monotonic() - self._tried_s < _PAUSE_S
                if self._wants(kid) and not paused:
                    self._fetch()
            finally:
                self._fetching.release()
        if time.monotonic() - self._fetched_s > _USED_S:
            return None
        return self._keys.get(kid)

    def _wants(self, kid: str) -> bool:
        stale = time.monotonic() - self._fetched_s >= _FRESH_S
        return stale or kid not in self._keys

    def _fetch(self) -> None:
        self._tried_s = time.monotonic()
        try:
            self._keys = _parse_keys(_fetch(self._url))
        except (OSError, http.client.HTTPException, ValueError) as exc:
            self._complaint.tell(
                f"cannot be fetched ({type(exc).__name__}): those that were fetched"
                " before are used for a day"
            )
        else:
            self._fetched_s = time.monotonic()


def _fetch(url: SplitResult) -> bytes:
    """
    Ask for a document, follow nobody elsewhere, and wait ``_FETCH_S`` at most.

    Raises:
        OSError: no connection, a certificate that is not trusted, or no time left.
        HTTPException: the answer is not HTTP.
        ValueError: it is another than 200, or too long.
    """
    ends_s = time.monotonic() + _FETCH_S
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    with contextlib.ExitStack() as held:
        connection = held.enter_context(
            socket.create_connection((host, port), timeout=_CONNECT_S)
        )
        # For the handshake and the request, each.
        connection.settimeout(_left(ends_s))
        if url.scheme == "https":
            context = ssl.create_default_context()
            connection = held.enter_context(
                context.wrap_socket(connection, server_hostname=host)
            )
        target = url.path or "/"
        if url.query:
            target += f"?{url.query}"
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            "Accept: application/json\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        answer = http.client.HTTPResponse(_Until(connection, ends_s))  # type: ignore[arg-type]  # asks for makefile
        answer.begin()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"the answer is {answer.status}")
        text = answer.read(_MAX_DOCUMENT + 1)
    if len(text) > _MAX_DOCUMENT:
        raise ValueError(f"it is longer than {_MAX_DOCUMENT} bytes")
    return text


def _left(ends_s: float) -> float:
    left = ends_s - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


class _Until(io.RawIOBase):
    """
    What comes over a connection until some second.

    A timeout of the connection is for each read, and a server that sends a byte now
    and then would be waited for without end.
    """

    def __init__(self, connection: socket.socket, ends_s: float) -> None:
        self._connection = connection
        self._ends_s = ends_s

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return itself as ``http.client`` wants it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        self._connection.settimeout(_left(self._ends_s))
        return self._connection.recv_into(buffer)


# --- the file of issuers ---------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Settings:
    """What the file says; issuer to where its keys are."""

    audience: tuple[str, ...]
    leeway_s: int
    stage_reads: bool
    issuers: Mapping[str, Path | SplitResult]


def _read_settings(path: Path) -> _Settings:
    """
    Read the TOML file.

    Raises:
        ConfigError: it cannot be read, or says something that is not allowed.
    """
    try:
        document = tomllib.loads(_read_some(path).decode())
        _check_names(document, ("audience", "leeway_s", "stage_reads", "issuer"))
        audience, leeway_s = document.get("audience"), document.get("leeway_s", 60)
        if not (
            isinstance(audience, list) and audience and all(map(_is_word, audience))
        ):
            raise ValueError("audience is to be a list of texts, one at least")
        if type(leeway_s) is not int or not 0 <= leeway_s <= _MAX_LEEWAY_S:
            raise ValueError(f"leeway_s is to be a number from 0 to {_MAX_LEEWAY_S}")
        stage_reads = document.get("stage_reads", False)
        if not isinstance(stage_reads, bool):
            raise ValueError("stage_reads is to be true or false")  # noqa: TRY004 (as TOML's own errors)
        return _Settings(
            audience=tuple(audience),
            leeway_s=leeway_s,
            stage_reads=stage_reads,
            issuers=_read_issuers(document.get("issuer")),
        )
    except OSError as exc:
        raise ConfigError(f"the file of issuers, {path}, cannot be read") from exc
    except ValueError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _read_issuers(tables: object) -> dict[str, Path | SplitResult]:
    if not isinstance(tables, list) or not tables:
        raise ValueError("there is to be a table [[issuer]], one at least")
    found: dict[str, Path | SplitResult] = {}
    for table in tables:
        if not isinstance(table, dict):
            raise ValueError("issuer is to be tables: [[issuer]]")  # noqa: TRY004 (as TOML's own errors)
        _check_names(table, ("issuer", "keys"))
        name, keys = table.get("issuer"), table.get("keys")
        if not (_is_word(name) and _is_word(keys)):
            raise ValueError("an [[issuer]] is to have the texts issuer and keys")
        if name in found:
            raise ValueError(f"the issuer {name} is there twice")
        found[name] = _parse_place(keys)
    return found


def _parse_place(text: str) -> Path | SplitResult:
    if text.startswith("/"):
        return Path(text)
    url = urlsplit(text)
    # Reading the port may raise as well.
    if not (
        url.hostname
        and (url.port or 0) >= 0
        and "@" not in url.netloc
        and text.isascii()
        and (url.scheme == "https" or (url.scheme == "http" and _is_here(url.hostname)))
    ):
        raise ValueError(
            "keys is to be a path from / on, or an https:// address (http:// only of"
            " the loopback interface)"
        )
    return url


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable() and value.split() == [value]


def _check_names(table: Mapping[str, object], known: tuple[str, ...]) -> None:
    if unknown := sorted(table.keys() - set(known)):
        raise ValueError(f"unknown: {unknown[0]}; known are {', '.join(known)}")
