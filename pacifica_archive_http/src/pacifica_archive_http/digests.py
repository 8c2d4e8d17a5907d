"""
Digests that an upload comes with, by which it proves what it is and its end.

``Repr-Digest`` and ``Content-Digest`` are RFC 9530, ``Digest`` is RFC 3230 and
``Content-MD5`` RFC 1864. An upload is a whole file in no coding, so all four
speak of the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import attrs

from pacifica_archive_http.status_table import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

__all__ = ["ALGORITHMS", "Claim", "find_claims"]

#: The algorithms of RFC 9530's registry that are verified, in hashlib's spelling.
ALGORITHMS = {"sha-512": "sha512", "sha-256": "sha256", "md5": "md5"}

_FIELDS = (
    "HTTP_REPR_DIGEST",
    "HTTP_CONTENT_DIGEST",
    "HTTP_DIGEST",
    "HTTP_CONTENT_MD5",
)

# RFC 8941: a dictionary whose values are byte sequences; parameters are passed over.
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:;[^,]*)?")
# RFC 3230 4.1.1: values of unknown algorithms are not always base64.
_INSTANCE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([^,]*)")


@attrs.define
class Claim:
    """What the sender says the digest is, and what it turns out to be."""

    algorithm: str
    claimed: bytes
    _hash: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # MD5 against a broken line, not against an attacker.
        self._hash = hashlib.new(ALGORITHMS[self.algorithm], usedforsecurity=False)
        if len(self.claimed) != self._hash.digest_size:
            raise BadRequest(f"the {self.algorithm} digest has a wrong length")

    def update(self, data: Buffer, /) -> None:
        """Digest ``data``."""
        self._hash.update(data)

    @property
    def holds(self) -> bool:
        """Whether the bytes digested so far are those that were meant."""
        return bool(self._hash.digest() == self.claimed)


def find_claims(env: Mapping[str, Any]) -> list[Claim]:
    """
    Read every digest of the request; of unknown algorithms none.

    Raises:
        BadRequest: a field is malformed.
    """
    if env.keys().isdisjoint(_FIELDS):
        return []
    return [
        Claim(algorithm, _decode(text))
        for algorithm, text in _members(env)
        if algorithm in ALGORITHMS
    ]


def _members(env: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("HTTP_REPR_DIGEST", "HTTP_CONTENT_DIGEST"):
        yield from _dictionary(env.get(name, ""), _MEMBER)
    for algorithm, text in _dictionary(env.get("HTTP_DIGEST", ""), _INSTANCE):
        yield algorithm.lower(), text
    if "HTTP_CONTENT_MD5" in env:
        yield "md5", env["HTTP_CONTENT_MD5"].strip()


def _dictionary(field: str, member: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    # No value of either kind holds a comma.
    for part in field.split(",") if field.strip() else ():
        match = member.fullmatch(part.strip())
        if match is None:
            raise BadRequest(
                "a digest is written as in 'Repr-Digest: sha-256=:BASE64:'"
            )
        yield match[1], match[2]


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise BadRequest("a digest is not in base64") from exc
