"""
Digests on the wire: what a sender claims, and what a reader wants to be told.

``Repr-Digest``, ``Content-Digest`` and ``Want-Repr-Digest`` are RFC 9530,
``Digest`` and ``Want-Digest`` RFC 3230, ``Content-MD5`` RFC 1864. An upload is a
whole file in no coding, so all that it comes with speak of the same bytes.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_core import ALGORITHMS, DEFAULT_ALGORITHM
from pacifica_archive_http.status_table import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "MAX_KEPT",
    "MAX_KEPT_SIZE",
    "Claim",
    "Want",
    "checked_algorithms",
    "find_claims",
    "find_tail_size",
    "find_want",
    "parse_algorithms",
    "parse_tail",
    "repr_digest",
]

#: Bytes of the longest digest tail.
MAX_TAIL = 1 << 16
#: Of digests that a tail has: more, or longer ones, no store is sure to keep; a
#: file system's attributes may end at 4 KiB, in which a name may count threefold.
MAX_KEPT, MAX_KEPT_SIZE = 8, 64

_CLAIMS = (
    "HTTP_REPR_DIGEST",
    "HTTP_CONTENT_DIGEST",
    "HTTP_DIGEST",
    "HTTP_CONTENT_MD5",
)
#: The names that RFC 3230's fields have for what can be computed.
_INSTANCE_NAMES = {
    "sha-512": "sha-512",
    "sha-256": "sha-256",
    "md5": "md5",
    "adler32": "adler",
}
_INSTANCE_NAMES_OF = {ours: theirs for theirs, ours in _INSTANCE_NAMES.items()}

# RFC 8941 3.1.2 and 4.2: keys and parameters, which are passed over.
_KEY = r"[a-z*][a-z0-9_.*-]*"
_PARAMETERS = rf"(?:; *{_KEY}(?:=[!-+\--:<-~]*)?)*"
# A dictionary of byte sequences, and one of integers from 0 to 10 (RFC 9530 4).
_MEMBER = re.compile(rf"({_KEY})=:([A-Za-z0-9+/=]*):{_PARAMETERS}")
_PREFERENCE = re.compile(rf"({_KEY})=(10|[0-9]){_PARAMETERS}")
_IS_KEY = re.compile(_KEY).fullmatch
# RFC 3230 4.1.1: values of unknown algorithms are not always base64.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (a token of RFC 9110)
_INSTANCE = re.compile(rf"({_TOKEN})=([^,]*)")
_WEIGHT = re.compile(
    rf"({_TOKEN})(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{{0,3}})?|1(?:\.0{{0,3}})?))?"
)
_HEX8 = re.compile(r"[0-9A-Fa-f]{8}")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")


@attrs.frozen
class Claim:
    """What a sender says that a digest is; ``algorithm`` as in ``ALGORITHMS``."""

    algorithm: str
    digest: bytes


def find_claims(env: Mapping[str, Any]) -> list[Claim]:
    """
    Read every digest in the fields of the request; of unknown algorithms none.

    Raises:
        BadRequest: a field is malformed.
    """
    if env.keys().isdisjoint(_CLAIMS):
        return []
    claims = []
    for name in ("HTTP_REPR_DIGEST", "HTTP_CONTENT_DIGEST"):
        for algorithm, text in _members(env.get(name, ""), _MEMBER):
            if algorithm in ALGORITHMS:
                claims.append(_claim(algorithm, _decode(text)))
    for theirs, text in _members(env.get("HTTP_DIGEST", ""), _INSTANCE):
        ours = _INSTANCE_NAMES.get(theirs.lower())
        if ours == "adler":
            claims.append(_claim(ours, _unhex(text)))
        elif ours is not None:
            claims.append(_claim(ours, _decode(text)))
    if "HTTP_CONTENT_MD5" in env:
        claims.append(_claim("md5", _decode(env["HTTP_CONTENT_MD5"].strip(" \t"))))
    return claims


def find_tail_size(env: Mapping[str, Any]) -> int:
    """
    Return how many bytes at the body's end are its digest tail; mostly 0.

    A tail is our own extension, for a sender that knows the digest only when all
    is sent, since WSGI servers give no trailers.

    Raises:
        BadRequest: the field is malformed.
    """
    text = env.get("HTTP_X_PACIFICA_DIGEST_TAIL")
    if text is None:
        return 0
    if not _NUMBER.fullmatch(text) or int(text) > MAX_TAIL:
        raise BadRequest(f"X-Pacifica-Digest-Tail is a number from 1 to {MAX_TAIL}")
    return int(text)


def parse_tail(tail: bytes) -> list[Claim]:
    """
    Read a digest tail: the value of a Repr-Digest field, and spaces behind it.

    Digests of unknown algorithms are among those returned.

    Raises:
        BadRequest: it is malformed, has no sha-256, or more than is kept.
    """
    try:
        text = tail.decode("ascii")
    except UnicodeDecodeError as exc:
        raise BadRequest("a digest tail is ASCII") from exc
    claims = [
        _claim(algorithm, _decode(value))
        for algorithm, value in _members(text, _MEMBER)
    ]
    if all(claim.algorithm != DEFAULT_ALGORITHM for claim in claims):
        raise BadRequest(f"a digest tail has {DEFAULT_ALGORITHM} in it")
    if len(claims) > MAX_KEPT or any(
        len(claim.algorithm) > MAX_KEPT_SIZE
        or not 0 < len(claim.digest) <= MAX_KEPT_SIZE
        for claim in claims
    ):
        raise BadRequest(
            f"a digest tail has up to {MAX_KEPT} digests, their names and values of"
            f" up to {MAX_KEPT_SIZE} bytes"
        )
    return claims


@attrs.frozen(kw_only=True)
class Want:
    """
    Which digests a reader wants to be told; the most wanted algorithm first.

    Attributes:
        in_repr_digest: algorithms for ``Repr-Digest``; unknown ones may be there.
        in_digest: algorithms for ``Digest``, all of them in ``ALGORITHMS``.
    """

    in_repr_digest: tuple[str, ...]
    in_digest: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is wanted that could be told."""
        return not (self.in_repr_digest or self.in_digest)

    def missing(self, kept: Mapping[str, bytes]) -> set[str]:
        """Return what is to be computed: for each field one, if none is kept."""
        known = (
            next((name for name in wanted if name in ALGORITHMS), None)
            for wanted in (self.in_repr_digest, self.in_digest)
            if kept.keys().isdisjoint(wanted)
        )
        return {name for name in known if name is not None}

    def fields(self, digests: Mapping[str, bytes]) -> list[tuple[str, str]]:
        """Return the fields that tell those of the digests that are wanted."""
        fields = []
        if told := [name for name in self.in_repr_digest if name in digests]:
            fields.append(("Repr-Digest", _structured(digests, told)))
        if told := [name for name in self.in_digest if name in digests]:
            # gfal2 2.21.3 finds nothing behind a space, and wants adler32 in hex.
            text = ",".join(
                f"{_INSTANCE_NAMES_OF[name]}={_instance(name, digests[name])}"
                for name in told
            )
            fields.append(("Digest", text))
        return fields


def find_want(env: Mapping[str, Any]) -> Want | None:
    """Read the ``Want-`` fields; None if there is none, or none that is sound."""
    in_repr_digest = env.get("HTTP_WANT_REPR_DIGEST")
    in_digest = env.get("HTTP_WANT_DIGEST")
    if in_repr_digest is None and in_digest is None:
        return None
    return _parse_want(in_repr_digest or "", in_digest or "")


@functools.lru_cache(maxsize=64)
def _parse_want(in_repr_digest: str, in_digest: str) -> Want | None:
    structured = _preferences(in_repr_digest, _PREFERENCE)
    instance = _preferences(in_digest, _WEIGHT)
    if structured is None and instance is None:
        return None
    return Want(
        in_repr_digest=structured or (),
        in_digest=tuple(
            _INSTANCE_NAMES[name]
            for name in dict.fromkeys(map(str.lower, instance or ()))
            if name in _INSTANCE_NAMES
        ),
    )


def _preferences(field: str, member: re.Pattern[str]) -> tuple[str, ...] | None:
    """Return what is wanted at all, the most wanted first; None if malformed."""
    try:
        weights = {name: float(weight or 1) for name, weight in _members(field, member)}
    except BadRequest:
        return None
    # Of those that are wanted as much the order of the field stays.
    ordered = sorted(weights, key=weights.__getitem__, reverse=True)
    return tuple(name for name in ordered if weights[name]) if weights else None


def repr_digest(digests: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return ``Repr-Digest`` of all digests; no field where there are none."""
    names = [name for name in digests if name in ALGORITHMS or _IS_KEY(name)]
    return [("Repr-Digest", _structured(digests, sorted(names)))] if names else []


def checked_algorithms(names: Iterable[str]) -> tuple[str, ...]:
    """
    Return the algorithms that a server shall compute, each once.

    Raises:
        ValueError: one cannot be computed.
    """
    for name in (names := tuple(dict.fromkeys(names))):
        if name not in ALGORITHMS:
            raise ValueError(
                f"unknown digest {name!r}: allowed are {', '.join(ALGORITHMS)}, none"
            )
    return names


def parse_algorithms(text: str) -> tuple[str, ...]:
    """
    Read algorithms with commas between them; ``none`` is none of them.

    >>> parse_algorithms("sha-256, md5")
    ('sha-256', 'md5')

    Raises:
        ValueError: one cannot be computed.
    """
    if text.strip() == "none":
        return ()
    return checked_algorithms(name.strip() for name in text.split(","))


def _members(field: str, member: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    # No value of any kind holds a comma.
    for part in field.split(",") if field.strip(" \t") else ():
        match = member.fullmatch(part.strip(" \t"))
        if match is None:
            raise BadRequest(
                "a digest is written as in 'Repr-Digest: sha-256=:BASE64:'"
            )
        yield match[1], match[2]


def _claim(algorithm: str, digest: bytes) -> Claim:
    known = ALGORITHMS.get(algorithm)
    if known is not None and len(digest) != known.size:
        raise BadRequest(f"the {algorithm} digest has a wrong length")
    return Claim(algorithm, digest)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise BadRequest("a digest is not in base64") from exc


def _unhex(text: str) -> bytes:
    if not _HEX8.fullmatch(text):
        raise BadRequest("an adler32 is written as in 'Digest: adler32=03da0195'")
    return bytes.fromhex(text)


def _structured(digests: Mapping[str, bytes], names: Iterable[str]) -> str:
    return ", ".join(f"{name}=:{_encode(digests[name])}:" for name in names)


def _instance(algorithm: str, digest: bytes) -> str:
    return digest.hex() if algorithm == "adler" else _encode(digest)


def _encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
