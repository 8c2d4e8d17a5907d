"""Certificates and keys, in the forms in which tools write them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PASSWORD = "a secret of the tests"  # noqa: S105 (of nothing)


@attrs.frozen(kw_only=True)
class Pair:
    """
    A certificate and its key.

    Attributes:
        certificate: PEM.
        key: PEM.
        name: of its subject.
    """

    certificate: bytes
    key: bytes
    name: str = "archive"

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write both into files of a folder."""
        files = folder / f"{self.name}.crt", folder / f"{self.name}.key"
        for path, data in zip(files, (self.certificate, self.key), strict=True):
            path.write_bytes(data)
        return files


def make_pair(
    key: bytes | None = None,
    *,
    name: str = "archive",
    issuer: Pair | None = None,
    days: tuple[int, int] = (-1, 2),
    password: str | None = None,
) -> Pair:
    """
    Make a certificate for 127.0.0.1.

    Args:
        key: PEM; a new one by default.
        name: of its subject.
        issuer: who signs it; itself by default.
        days: from today, of its first and last.
        password: of the key.
    """
    key = key or ec_key()
    secret = load_pem_private_key(key, password.encode() if password else None)
    signer = load_pem_private_key(issuer.key, None) if issuer else secret
    assert isinstance(
        secret,
        rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    )
    assert isinstance(
        signer,
        rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    )
    now = dt.datetime.now(dt.UTC)
    first, last = (now + dt.timedelta(days=day) for day in days)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    is_authority = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer.name if issuer else name))
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )
    # Python 3.13 asks for all of them but the first.
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.SubjectAlternativeName([address]), False),
        (x509.BasicConstraints(ca=is_authority, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), False),
        (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            False,
        ),
        (
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = (
        None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )
    made = builder.sign(signer, algorithm)
    return Pair(certificate=made.public_bytes(Encoding.PEM), key=key, name=name)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def ec_key(curve: ec.EllipticCurve | None = None) -> bytes:
    """Return a key in PKCS#8; of P-256 by default."""
    return _pem(ec.generate_private_key(curve or ec.SECP256R1()))


def _pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def openssl(*arguments: str) -> bytes:
    """Run the command, and return what it writes."""
    if (command := shutil.which("openssl")) is None:
        pytest.skip("lacks the command openssl")
    return subprocess.run(
        [command, *arguments], check=True, capture_output=True, timeout=60
    ).stdout


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


#: Each form of a key to what makes it.
FORMS: dict[str, Callable[[], bytes]] = {
    "PKCS#8 of RSA": lambda: openssl("genpkey", "-algorithm", "RSA"),
    "PKCS#1": lambda: _pem(_rsa(), PrivateFormat.TraditionalOpenSSL),
    # With the parameters before it.
    "SEC 1": lambda: openssl("ecparam", "-name", "prime256v1", "-genkey"),
    "P-384": lambda: ec_key(ec.SECP384R1()),
    "Ed25519": lambda: openssl("genpkey", "-algorithm", "ED25519"),
}
#: Forms with ``PASSWORD``.
ENCRYPTED: dict[str, Callable[[], bytes]] = {
    "PKCS#8 encrypted": lambda: openssl(
        *("genpkey", "-algorithm", "RSA", "-aes-256-cbc", "-pass", f"pass:{PASSWORD}")
    ),
    "PKCS#1 encrypted": lambda: _pem(
        _rsa(),
        PrivateFormat.TraditionalOpenSSL,
        BestAvailableEncryption(PASSWORD.encode()),
    ),
}
