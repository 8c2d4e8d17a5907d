"""
The file of tokens: who has one, what for and until when; never a token itself.

A token is ``pacifica_KEY_SECRET``. The file has the key, by which its entry is
found, and the SHA-256 of the whole: the secret is 256 random bits, of which no one
can try a noticeable share, so that a slow hash as for passwords would add nothing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_core import MAX_FILE_ID, ConfigError
from pacifica_archive_http.access import Grant, Identity, Scope
from pacifica_archive_http.status_table import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "Token",
    "TokenFile",
    "add_token",
    "format_ids",
    "format_time",
    "parse_ids",
    "parse_time",
    "read_tokens",
    "revoke_token",
]

_log = logging.getLogger("pacifica_archive_http")

_VERSION = 1
#: No file of tokens is longer: some hundred thousand of them.
_MAX_BYTES = 1 << 26
#: Seconds between two lines of the log about the same broken file.
_COMPLAIN_S = 60
#: The clock of files stands still for up to a tick of 100 Hz, and some more.
_TICK_NS = 12_000_000

_PREFIX = "pacifica_"
_TOKEN = re.compile(rf"{_PREFIX}([0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KEY = re.compile(r"[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"([0-9]{1,19})(?:(-)([0-9]{1,19})?)?")

#: What a token of an unknown key is compared with; no text has this digest.
_NOBODY = bytes(hashlib.sha256().digest_size)


@attrs.frozen(kw_only=True)
class Token:
    """
    An entry of the file.

    Attributes:
        key: the public part of the token.
        sha256: of the whole token.
        ids: first and last id of each range, both allowed.
        expires: not valid from then on; None: never.
    """

    name: str
    key: str
    sha256: bytes = attrs.field(repr=False)
    scopes: tuple[Scope, ...]
    ids: tuple[tuple[int, int], ...]
    expires: dt.datetime | None
    created: dt.datetime

    @property
    def identity(self) -> Identity:
        """Who has it and what for, as the guard asks."""
        return Identity(
            name=self.name,
            kind="token",
            grants=tuple(Grant(scope=scope, ids=self.ids) for scope in self.scopes),
        )


# --- text ------------------------------------------------------------------------


def parse_ids(text: str) -> tuple[tuple[int, int], ...]:
    """
    Read ranges of ids.

    >>> parse_ids("5,0-999")
    ((5, 5), (0, 999))

    Raises:
        ValueError: it is none, or a range that has no id.
    """
    ranges = []
    for part in text.split(","):
        if not (match := _RANGE.fullmatch(part.strip())):
            raise ValueError("ids are written as in 5,100-199,1000-")
        first = int(match[1])
        last = int(match[3]) if match[3] else MAX_FILE_ID if match[2] else first
        if not first <= last <= MAX_FILE_ID:
            raise ValueError(f"no id is in the range {part.strip()}")
        ranges.append((first, last))
    return tuple(ranges)


def format_ids(ids: Iterable[tuple[int, int]]) -> str:
    """
    Write ranges of ids as ``parse_ids`` reads them.

    >>> format_ids(((5, 5), (0, 999), (1000, 2**63 - 1)))
    '5,0-999,1000-'
    """
    return ",".join(
        str(first)
        if first == last
        else f"{first}-{'' if last == MAX_FILE_ID else last}"
        for first, last in ids
    )


def parse_time(text: str) -> dt.datetime:
    """
    Read a time of ISO 8601 that says its zone.

    >>> parse_time("2030-01-01T01:00+01:00").isoformat()
    '2030-01-01T00:00:00+00:00'

    Raises:
        ValueError: it is none, or one that is not the same everywhere.
    """
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time says its zone, as 2030-01-01T00:00:00Z")
    return moment.astimezone(dt.UTC)


def format_time(moment: dt.datetime) -> str:
    """Write a time of ISO 8601, in whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- reading ---------------------------------------------------------------------


def read_tokens(path: Path) -> tuple[Token, ...]:
    """
    Read the file of tokens.

    Raises:
        ConfigError: it cannot be used.
    """
    return _read(path)[1]


#: What differs when the file does: device, inode, size, times of its change.
_Stamp = tuple[int, ...]


def _stamp(status: os.stat_result) -> _Stamp:
    # ctime too: a file may become readable without being written.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _read(path: Path) -> tuple[os.stat_result, tuple[Token, ...]]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & stat.S_IWOTH:
                raise ConfigError(
                    f"the file of tokens {path} may be written by all, who could make"
                    " themselves a token: chmod o-w"
                )
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(
            f"the file of tokens {path} cannot be read: {exc.strerror}"
        ) from exc
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"the file of tokens {path} is too long")
    try:
        return status, _parse(json.loads(content))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"the file of tokens {path} is broken: {exc}") from exc


def _parse(document: object) -> tuple[Token, ...]:
    fields = _members(document, "the file", {"version", "tokens"}, set())
    if fields["version"] != _VERSION:
        raise ValueError(f"its version is not {_VERSION}")
    if not isinstance(fields["tokens"], list):
        raise ValueError("tokens is no list")  # noqa: TRY004 (as all else)
    tokens = [_parse_token(each) for each in fields["tokens"]]
    for what in ("name", "key"):
        seen = set()
        for token in tokens:
            if (value := getattr(token, what)) in seen:
                raise ValueError(f"the {what} {value} is there twice")
            seen.add(value)
    return tuple(tokens)


def _parse_token(document: object) -> Token:
    fields = _members(
        document,
        "a token",
        {"name", "key", "sha256", "scopes", "created"},
        {"ids", "expires"},
    )
    scopes = fields.pop("scopes")
    if not isinstance(scopes, list):
        raise ValueError("scopes is no list")  # noqa: TRY004 (as all else)
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text")  # noqa: TRY004 (as all else)
    for name, form in (("name", _NAME), ("key", _KEY), ("sha256", _SHA256)):
        if not form.fullmatch(fields[name]):
            raise ValueError(f"a {name} is not as 'pacifica-archive token' writes it")
    expires = fields.get("expires")
    return Token(
        name=fields["name"],
        key=fields["key"],
        sha256=bytes.fromhex(fields["sha256"]),
        scopes=tuple(map(Scope, scopes)),
        ids=parse_ids(fields.get("ids", "0-")),
        expires=None if expires is None else parse_time(expires),
        created=parse_time(fields["created"]),
    )


def _members(
    document: object, what: str, needed: set[str], more: set[str]
) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError(f"{what} is no JSON object")  # noqa: TRY004 (as all else)
    # A misspelt 'expires' would be a token that never does.
    if unknown := document.keys() - needed - more:
        raise ValueError(f"{what} has {min(unknown)!r}, which nobody knows")
    if missing := needed - document.keys():
        raise ValueError(f"{what} has no {min(missing)!r}")
    return dict(document)


class TokenFile:
    """
    Knows the tokens of a file, as it is when a request comes.

    A file that vanishes makes every token invalid. One that becomes broken leaves
    those of the last good one valid, and an error in the log.

    Args:
        path: of the file.

    Raises:
        ConfigError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._complained = float("-inf")
        status, tokens = _read(path)
        if status.st_mode & stat.S_IROTH:
            _log.warning(
                "the file of tokens %s may be read by all: it has the names and"
                " scopes of all tokens, though no token",
                path,
            )
        # Of the file whose tokens are in force, and of one that nobody can have
        # changed since without its stamp telling: that is not read again.
        self._in_force: _Stamp | None = _stamp(status)
        # It may be young as yet: the first look is for the second.
        self._stamp: _Stamp | None = None
        self._broken: tuple[_Stamp, str] | None = None
        self._known = _by_key(tokens)

    def identify(self, token: str) -> Identity | None:
        """
        Return who has this token; None: it is none of this kind.

        Raises:
            Unauthorized: it is not in the file, or has expired.
        """
        if not token.startswith(_PREFIX):
            return None
        known = self._look()
        match = _TOKEN.fullmatch(token)
        entry, identity = known.get(match[1] if match else "", (None, None))
        digest = hashlib.sha256(token.encode()).digest()
        # Compared in any case: how long it takes tells nothing of the keys.
        same = hmac.compare_digest(digest, entry.sha256 if entry else _NOBODY)
        if not (entry and identity and same):
            raise Unauthorized("the token is not valid here")
        if entry.expires is not None and dt.datetime.now(dt.UTC) >= entry.expires:
            raise Unauthorized("the token has expired")
        return identity

    def is_usable(self) -> bool:
        """Whether the tokens in force are those of the file as it is now."""
        try:
            now = _stamp(self._path.stat())
        except OSError:
            return False
        self._look()
        return now == self._in_force

    def _look(self) -> Mapping[str, tuple[Token, Identity]]:
        """Return the tokens, read anew if the file has changed."""
        try:
            now = _stamp(self._path.stat())
        except FileNotFoundError:
            with self._lock:
                self._stamp = self._in_force = None
                self._known = {}
                self._complain("the file of tokens is gone: no token is valid")
                return self._known
        except OSError as exc:
            with self._lock:
                self._complain(f"the file of tokens cannot be found: {exc.strerror}")
                return self._known
        if now == self._stamp:
            return self._known
        with self._lock:
            if now != self._stamp:
                self._read_again(now)
            return self._known

    def _read_again(self, now: _Stamp) -> None:
        if self._broken and self._broken[0] == now:
            self._complain(self._broken[1])
            return
        # Before it is read: what is changed a tick later or more has another stamp.
        settled_ns = time.time_ns() - _TICK_NS
        try:
            status, tokens = _read(self._path)
        except ConfigError as exc:
            text = f"{exc}; the last good one stays in force"
            self._stamp = self._in_force = None
            self._broken = (now, text) if now[-1] < settled_ns else None
            self._complain(text)
        else:
            # In this order: who sees the new stamp takes no lock, and no old token.
            self._known = _by_key(tokens)
            # Of the very file that was read: it may have changed since the look.
            self._in_force = _stamp(status)
            self._stamp = self._in_force if status.st_ctime_ns < settled_ns else None
            self._broken = None
            self._complained = float("-inf")

    def _complain(self, text: str) -> None:
        if time.monotonic() - self._complained >= _COMPLAIN_S:
            self._complained = time.monotonic()
            _log.error("%s", text)


def _by_key(tokens: Iterable[Token]) -> dict[str, tuple[Token, Identity]]:
    return {token.key: (token, token.identity) for token in tokens}


# --- writing ---------------------------------------------------------------------


def add_token(
    path: Path,
    name: str,
    *,
    scopes: Iterable[Scope],
    ids: tuple[tuple[int, int], ...] = ((0, MAX_FILE_ID),),
    expires: dt.datetime | None = None,
) -> str:
    """
    Make a token and return it: this once, for the file has no more than its hash.

    The file is made if it is not there.

    Raises:
        ConfigError: the name is taken or is none, or the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "a token's name has up to 64 letters, digits and . _ @ -, a letter or"
            " digit first"
        )
    with _locked(path) as target:
        tokens = read_tokens(target) if target.exists() else ()
        if any(token.name == name for token in tokens):
            raise ConfigError(f"there is a token {name} already")
        taken = {token.key for token in tokens}
        while (key := secrets.token_hex(4)) in taken:
            pass  # Once in 4 billion for each token that there is.
        text = f"{_PREFIX}{key}_{secrets.token_urlsafe(32)}"
        made = Token(
            name=name,
            key=key,
            sha256=hashlib.sha256(text.encode()).digest(),
            scopes=tuple(dict.fromkeys(scopes)),
            ids=ids,
            expires=expires,
            created=dt.datetime.now(dt.UTC),
        )
        _write(target, (*tokens, made))
    return text


def revoke_token(path: Path, name: str) -> None:
    """
    Take a token out of the file.

    Raises:
        ConfigError: there is none of this name, or the file cannot be used.
    """
    with _locked(path) as target:
        tokens = read_tokens(target)
        left = [token for token in tokens if token.name != name]
        if len(left) == len(tokens):
            raise ConfigError(f"there is no token {name!r} in the file")
        _write(target, left)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Have the file alone, among those that write it; yields where it really is."""
    try:
        # What a symbolic link names is replaced, and not the link.
        target = path.resolve()
        lock = target.with_name(f".{target.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Of the file as opened here: lockf keeps out no thread of this process.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield target
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise ConfigError(
            f"the file of tokens {path} cannot be written: {exc.strerror}"
        ) from exc


def _write(path: Path, tokens: Iterable[Token]) -> None:
    """Replace the file whole, or not at all."""
    document = {"version": _VERSION, "tokens": [_document(token) for token in tokens]}
    content = f"{json.dumps(document, indent=1)}\n".encode()
    # Under the lock: one that is there was left behind by a writer that was killed.
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(fresh, flags, 0o600), "wb") as file:  # noqa: PTH123 (a descriptor)
        file.write(content)
        file.flush()
        if path.exists():
            # The server reads it still, though root writes it.
            status = path.stat()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _document(token: Token) -> dict[str, object]:
    document: dict[str, object] = {
        "name": token.name,
        "key": token.key,
        "sha256": token.sha256.hex(),
        "scopes": list(token.scopes),
    }
    if token.ids != ((0, MAX_FILE_ID),):
        document["ids"] = format_ids(token.ids)
    if token.expires is not None:
        document["expires"] = format_time(token.expires)
    return {**document, "created": format_time(token.created)}
