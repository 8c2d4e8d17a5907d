"""
The server's certificate and key: read, tried, and kept in memory for the workers.

Whatever is wrong with them is said before the server listens; a worker would say it
in Rust, and again with each try. What the workers read stays as it was when it was
tried, though the files are replaced meanwhile, one after the other.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from typing import TYPE_CHECKING

import attrs

from pacifica_archive_core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Credentials", "MemoryFile", "TlsFiles", "load_credentials"]

# RFC 7468 section 2, and the fields that openssl writes into its older forms.
_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----\s.*?-----END (?P=label)-----", re.DOTALL
)
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE")
#: Labels of keys: PKCS#8, PKCS#8 encrypted, PKCS#1, SEC 1.
_KEYS = (
    *(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"),
    *(b"RSA PRIVATE KEY", b"EC PRIVATE KEY"),
)
#: What the library below granian (rustls with ring) signs with, as the certificate
#: has it: AlgorithmIdentifier of RFC 5280 section 4.1.1.2 in DER.
_KINDS = tuple(
    map(
        bytes.fromhex,
        (
            "300d06092a864886f70d0101010500",  # RSA
            "301306072a8648ce3d020106082a8648ce3d030107",  # P-256
            "301006072a8648ce3d020106052b81040022",  # P-384
            "300506032b6570",  # Ed25519
        ),
    )
)
#: How the version of a certificate is written: 3, RFC 5280 section 4.1.
_VERSION_3 = bytes.fromhex("a003020102")
#: The longest file that is taken for one of these.
_LONGEST = 1 << 20


@attrs.frozen(kw_only=True)
class TlsFiles:
    """
    Where the server's certificate and its key are: all PEM.

    Attributes:
        certificate: with its chain, the server's own first.
        key: may be the same file.
        password_file: holds the password of the key, if it has one.
        client_ca: authorities that the clients' certificates are signed by; None:
            clients need none.
    """

    certificate: Path
    key: Path
    password_file: Path | None = None
    client_ca: Path | None = None


@attrs.frozen(kw_only=True)
class Credentials:
    """
    What the files hold, without what is not needed.

    Attributes:
        certificate: PEM, with its chain.
        key: PEM, not encrypted.
        client_ca: PEM.
        complaint: why clients will not take the certificate, as that it has
            expired; None: nothing is known against it.
    """

    certificate: bytes
    key: bytes = attrs.field(repr=False)
    client_ca: bytes | None = None
    complaint: str | None = None


class MemoryFile:
    """
    Bytes under a path that this process and those forked from it can open.

    Never on a disk. Until ``close``, which a fork's copy survives.
    """

    def __init__(self, data: bytes) -> None:
        self._descriptor = os.memfd_create("pacifica-archive", os.MFD_CLOEXEC)
        with open(self._descriptor, "wb", closefd=False) as file:
            file.write(data)

    @property
    def path(self) -> str:
        """Of this process: another's must be a fork of it."""
        return f"/proc/self/fd/{self._descriptor}"

    def close(self) -> None:
        """Forget the bytes."""
        os.close(self._descriptor)


def load_credentials(files: TlsFiles) -> Credentials:
    """
    Read certificate and key, and try them.

    Raises:
        ConfigError: they cannot be used; the message names the option and no path.
    """
    certificates = _blocks(files.certificate, "--tls-cert", _CERTIFICATES)
    if not certificates:
        raise ConfigError("--tls-cert: there is no certificate in it (PEM)")
    keys = _blocks(files.key, "--tls-key", _KEYS)
    if len(keys) != 1:
        count = "no private key" if not keys else f"{len(keys)} private keys"
        raise ConfigError(f"--tls-key: there is {count} in it (PEM); allowed is one")
    der = _der(certificates[0])
    # Behind the beginnings of two sequences, of up to 4 bytes each.
    if _VERSION_3 not in der[:16]:
        raise ConfigError(
            "--tls-cert: granian takes certificates of version 3, which is one with"
            " extensions, as a subjectAltName"
        )
    certificate = b"\n".join([*certificates, b""])
    key = _decrypted(keys[0], files.password_file) + b"\n"
    context = _paired(certificate, key)
    if not any(kind in der for kind in _KINDS):
        raise ConfigError(
            "--tls-key: granian knows keys of RSA (2048 to 8192 bits), ECDSA P-256"
            " and P-384, and Ed25519"
        )
    return Credentials(
        certificate=certificate,
        key=key,
        client_ca=_authorities(files.client_ca),
        complaint=_find_complaint(context, certificates[0]),
    )


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as exc:
        reason = os.strerror(exc.errno or 0)
        raise ConfigError(f"{option}: cannot be read: {reason}") from exc
    if len(data) > _LONGEST:
        raise ConfigError(f"{option}: is longer than any certificate")
    # As Windows writes lines.
    return data.replace(b"\r\n", b"\n")


def _blocks(path: Path, option: str, labels: tuple[bytes, ...]) -> list[bytes]:
    return [
        found[0]
        for found in _BLOCK.finditer(_read(path, option))
        if found["label"] in labels
    ]


def _der(certificate: bytes) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(
            certificate.replace(b" X509 ", b" ").decode("ascii")
        )
    except ValueError as exc:
        raise ConfigError("--tls-cert: the certificate is damaged") from exc


def _decrypted(key: bytes, password_file: Path | None) -> bytes:
    """Return the key as granian reads it: it has its troubles with passwords."""
    # Neither has a place in base64.
    if not any(sign in key for sign in (b"ENCRYPTED PRIVATE", b"4,ENCRYPTED")):
        return key
    if password_file is None:
        raise ConfigError("--tls-key: is encrypted: give --tls-key-password-file")
    password = _read(password_file, "--tls-key-password-file").rstrip(b"\n")
    if not password:
        raise ConfigError("--tls-key-password-file: is empty")
    try:
        # Of an extra.
        from cryptography import exceptions  # noqa: PLC0415 (see above)
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 (an extra)
    except ImportError as exc:
        raise ConfigError(
            "--tls-key: is encrypted, which wants pip install"
            " 'pacifica-archive-http[tls]'; or decrypt it for good:"
            " openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW"
        ) from exc
    try:
        return serialization.load_pem_private_key(key, password).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    except (TypeError, ValueError, exceptions.UnsupportedAlgorithm) as exc:
        raise ConfigError(
            "--tls-key: this is not its password, or it is damaged"
        ) from exc


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Have bytes under a path: Python's ssl takes no others."""
    with contextlib.closing(MemoryFile(data)) as file:
        yield file.path


def _paired(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return a context with both; ConfigError if they do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _in_memory(certificate) as chain, _in_memory(key) as secret:
            # Else openssl would ask the terminal.
            context.load_cert_chain(chain, secret, password=lambda: b"")
    except ssl.SSLError as exc:
        if exc.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}:
            raise ConfigError(
                "--tls-key: is not the key of the first certificate of --tls-cert"
            ) from exc
        reason = (exc.reason or "damaged").lower().replace("_", " ")
        raise ConfigError(
            f"--tls-cert, --tls-key: openssl does not take them: {reason}"
        ) from exc
    return context


def _authorities(path: Path | None) -> bytes | None:
    if path is None:
        return None
    found = _blocks(path, "--tls-client-ca", _CERTIFICATES)
    if not found:
        raise ConfigError("--tls-client-ca: there is no certificate in it (PEM)")
    data = b"\n".join([*found, b""])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(
            cadata=data.decode("ascii")
        )
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError("--tls-client-ca: a certificate is damaged") from exc
    return data


def _find_complaint(server: ssl.SSLContext, certificate: bytes) -> str | None:
    """
    Return what a client finds that trusts this very certificate.

    By a handshake in memory, as Python's ssl does not tell a certificate's dates.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What it is called by is not known here.
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=_der(certificate))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True))
    try:
        # The client begins, and in its second turn has the certificate.
        for side in (*sides, sides[0]):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as exc:
        return str(exc.verify_message)
    return None
