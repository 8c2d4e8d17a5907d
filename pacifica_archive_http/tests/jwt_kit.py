"""Issuers of JSON Web Tokens, and addresses that have their keys, for tests."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import attrs
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

ISSUER = "https://issuer.example.org"
AUDIENCE = "https://archive.example.org"

_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@attrs.frozen
class Signer:
    """A private key of an issuer, by its name."""

    kid: str
    algorithm: str
    private: Any

    def jwk(self, **more: object) -> dict[str, Any]:
        """Return its public half, as an issuer publishes it."""
        kind: Any = RSAAlgorithm
        if self.algorithm == "EdDSA":
            kind = OKPAlgorithm
        elif self.algorithm.startswith("ES"):
            kind = ECAlgorithm
        public = kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", **more}

    def pem(self) -> bytes:
        """Return its public half in the other form that people have."""
        encoded: bytes = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded

    def sign(self, claims: Mapping[str, Any], **header: object) -> str:
        """Return a token."""
        return jwt.encode(
            dict(claims),
            self.private,
            algorithm=self.algorithm,
            headers={"kid": self.kid, **header},
        )

    def sign_text(self, header: str, claims: str) -> str:
        """Return a token of any two texts, be they JSON or not."""
        signed = f"{encoded(header.encode())}.{encoded(claims.encode())}"
        kind = jwt.get_algorithm_by_name(self.algorithm)
        return f"{signed}.{encoded(kind.sign(signed.encode(), self.private))}"


def signer(algorithm: str = "ES256", kid: str = "", *, bits: int = 2048) -> Signer:
    """Return a key, the same for the same arguments: RSA's take their time."""
    return _make_signer(algorithm, kid or algorithm, bits)


@functools.cache
def _make_signer(algorithm: str, kid: str, bits: int) -> Signer:
    private: Any
    if algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm.startswith("ES"):
        private = ec.generate_private_key(_CURVES[algorithm])
    else:
        private = rsa.generate_private_key(65537, bits)
    return Signer(kid, algorithm, private)


def encoded(text: bytes) -> str:
    """Return base64url as RFC 7515 has it."""
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def token_with_mac(claims: Mapping[str, Any], kid: str, secret: bytes) -> str:
    """Return a token with a symmetric algorithm: PyJWT would sign none such."""
    header = json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()
    signed = f"{encoded(header)}.{encoded(json.dumps(claims).encode())}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{encoded(mac)}"


def claims(**changes: object) -> dict[str, Any]:
    """Return what a good token says; a change to None leaves something out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "a1b98335",
        "iat": now,
        "exp": now + 3600,
        "scope": "storage.read:/",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def key_set(*signers: Signer) -> str:
    """Return a document of their public keys."""
    return json.dumps({"keys": [signer.jwk() for signer in signers]})


def issuers_file(folder: Path, keys: object, **more: str) -> Path:
    """Write the file of issuers, of one; ``more`` are values in TOML."""
    path = folder / "issuers.toml"
    settings = {"audience": f'["{AUDIENCE}"]', **more}
    lines = [f"{name} = {value}" for name, value in settings.items()]
    path.write_text(
        "\n".join([*lines, "[[issuer]]", f'issuer = "{ISSUER}"', f'keys = "{keys}"'])
    )
    return path


class Clock:
    """Time for one module, which can be made to pass."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def time(self) -> float:
        return time.time() + self.passed_s

    def monotonic(self) -> float:
        return time.monotonic() + self.passed_s


class KeyServer:
    """
    An address with a document, on a free port of the loopback interface.

    Attributes:
        document: what is answered.
        asked: how often it was.
        answer: does it in another way, given the request.
    """

    def __init__(self, document: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.document = document
        self.asked = 0
        self.answer: Callable[[http.server.BaseHTTPRequestHandler], None] = self._tell
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 60

            def do_GET(self) -> None:  # the name that http.server wants
                outer.asked += 1
                outer.answer(self)

            def log_message(self, *_args: object) -> None:
                """Keep the tests' output clean."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Be away from now on."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def _tell(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = self.document.encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
