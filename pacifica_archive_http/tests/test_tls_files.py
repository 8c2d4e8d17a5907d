"""Certificate and key as tools write them, and what is said of wrong ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from certificates import ENCRYPTED, FORMS, PASSWORD, ec_key, make_pair
from cryptography.hazmat.primitives.asymmetric import ec

from pacifica_archive_core import ConfigError
from pacifica_archive_http.tls import Credentials, TlsFiles, load_credentials

if TYPE_CHECKING:
    from pathlib import Path

PAIR = make_pair()
#: As openssl before 3.2 makes it where no extension is asked for (x509 -req).
VERSION_1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBHjCBxQIULKeXA5/OoBFVfBephUSo4pMThE0wCgYIKoZIzj0EAwIwEjEQMA4G
A1UEAwwHYXJjaGl2ZTAeFw0yNjExMjMwMzAyMDBaFw0yNjExMjUwMzAyMDBaMBIx
EDAOBgNVBAMMB2FyY2hpdmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQOHriZ
vQZbhhoAgwmWco2taCWqKOpT6LxfkMpY7z4o/M5YSoDlycbLo6N3EufyIaawGnKV
7bhr8d0U/RSIYwc1MAoGCCqGSM49BAMCA0gAMEUCIQDh72xHRhIkoCx7y/vb5Ywf
2IPO9nwY3bN/wMkTjAE7igIgNcr3NUb9LUKu2E2locVgZo9Uh0w4D7RAuqAUM7T4
I6Y=
-----END CERTIFICATE-----
"""


def load(
    folder: Path,
    *,
    certificate: bytes = PAIR.certificate,
    key: bytes | None = PAIR.key,
    password: str | None = None,
    client_ca: bytes | None = None,
) -> Credentials:
    """Load what is written into files; without a key it is in the certificate's."""

    def save(name: str, data: bytes | None) -> Path | None:
        if data is None:
            return None
        (folder / name).write_bytes(data)
        return folder / name

    path = save("certificate", certificate)
    assert path is not None
    return load_credentials(
        TlsFiles(
            certificate=path,
            key=save("key", key) or path,
            password_file=save("password", password.encode() if password else None),
            client_ca=save("client_ca", client_ca),
        )
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_key_stays_as_it_is(tmp_path: Path, form: str) -> None:
    pair = make_pair(FORMS[form]())

    assert load(tmp_path, certificate=pair.certificate, key=pair.key).key in pair.key


@pytest.mark.parametrize("form", ENCRYPTED)
def test_an_encrypted_key_is_decrypted(tmp_path: Path, form: str) -> None:
    pair = make_pair(ENCRYPTED[form](), password=PASSWORD)
    loaded = load(
        tmp_path, certificate=pair.certificate, key=pair.key, password=f"{PASSWORD}\n"
    )

    assert b"-----BEGIN PRIVATE KEY-----" == loaded.key.splitlines()[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("first", ["key", "certificate"])
def test_both_may_be_in_one_file(tmp_path: Path, first: str, end: bytes) -> None:
    parts = [PAIR.key, PAIR.certificate]
    if first == "certificate":
        parts.reverse()
    both = b"what a person wrote above it\n".join([b"", *parts])
    loaded = load(tmp_path, certificate=both.replace(b"\n", end), key=None)

    assert (PAIR.certificate, PAIR.key) == (loaded.certificate, loaded.key)


def test_the_chain_is_kept(tmp_path: Path) -> None:
    authority = make_pair(name="authority")
    pair = make_pair(issuer=authority)
    chain = pair.certificate + authority.certificate

    assert chain == load(tmp_path, certificate=chain, key=pair.key).certificate


def test_nothing_is_known_against_a_good_certificate(tmp_path: Path) -> None:
    assert load(tmp_path).complaint is None


@pytest.mark.parametrize(
    ("days", "complaint"),
    [((-3, -1), "certificate has expired"), ((1, 3), "certificate is not yet valid")],
)
def test_a_certificate_out_of_its_time_is_told(
    tmp_path: Path, days: tuple[int, int], complaint: str
) -> None:
    pair = make_pair(days=days)

    assert (
        complaint
        == load(tmp_path, certificate=pair.certificate, key=pair.key).complaint
    )


def test_authorities_of_clients_are_kept(tmp_path: Path) -> None:
    assert PAIR.certificate == load(tmp_path, client_ca=PAIR.certificate).client_ca


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(load(tmp_path))


_LINES = PAIR.certificate.splitlines()
_BROKEN = b"\n".join([*_LINES[:3], b"AAAA", *_LINES[4:], b""])
#: What is wrong, to what is given (a key: its bytes, or its form) and what is said.
_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no certificate": ({"certificate": PAIR.key}, "no certificate"),
    "no key": ({"key": PAIR.certificate}, "no private key"),
    "two keys": ({"key": PAIR.key + ec_key()}, "2 private keys"),
    "another's key": ({"key": ec_key()}, "not the key of the first certificate"),
    "a key of another kind": ({"key": "PKCS#1"}, "not the key of the first"),
    "damaged": ({"certificate": _BROKEN}, "does not take them"),
    "a damaged key": ({"key": PAIR.key.replace(b"M", b"A")}, "does not take them"),
    "no password": ({"key": "PKCS#8 encrypted"}, "give --tls-key-password-file"),
    "a wrong password": (
        {"key": "PKCS#8 encrypted", "password": "wrong"},
        "not its password",
    ),
    "an empty password": (
        {"key": "PKCS#8 encrypted", "password": "\n"},
        "--tls-key-password-file: is empty",
    ),
    "no authority": ({"client_ca": b"none"}, "--tls-client-ca: there is no certif"),
    "a damaged authority": ({"client_ca": _BROKEN}, "--tls-client-ca: a certificate"),
    "a file too long": ({"certificate": b"x" * (1 << 21)}, "longer than any"),
}


@pytest.mark.parametrize("case", _WRONG)
def test_what_cannot_be_used_is_said(tmp_path: Path, case: str) -> None:
    given, message = _WRONG[case]
    # Made only here: they take time.
    if form := {**FORMS, **ENCRYPTED}.get(given.get("key", "")):
        given = {**given, "key": form()}

    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **given)


def test_a_curve_that_granian_does_not_know_is_said(tmp_path: Path) -> None:
    """Its workers would end in a panic, again and again."""
    pair = make_pair(ec_key(ec.SECP521R1()))

    with pytest.raises(ConfigError, match="P-256 and P-384"):
        load(tmp_path, certificate=pair.certificate, key=pair.key)


def test_a_certificate_of_version_1_is_said(tmp_path: Path) -> None:
    """The same panic."""
    with pytest.raises(ConfigError, match="of version 3"):
        load(tmp_path, certificate=VERSION_1)


@pytest.mark.parametrize("name", ["no such file", "."])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    files = TlsFiles(certificate=tmp_path / name, key=tmp_path / name)

    with pytest.raises(ConfigError, match=r"^--tls-cert: cannot be read: [A-Za-z ]+$"):
        load_credentials(files)


def test_without_the_extra_an_encrypted_key_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ENCRYPTED["PKCS#8 encrypted"]()
    monkeypatch.setitem(sys.modules, "cryptography", None)

    with pytest.raises(ConfigError, match=r"pip install 'pacifica-archive-http\[tls\]"):
        load(tmp_path, key=key, password=PASSWORD)


def test_without_the_extra_other_keys_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)

    assert PAIR.key == load(tmp_path).key
