"""Digests in user-defined attributes: what is written, and what is believed."""

from __future__ import annotations

import hashlib

import pytest

from pacifica_archive_hpss.digests import (
    Record,
    hpsssum_fields,
    parsed_record,
    record_text,
)

VERSION = "00ff-59682f00-64"
SHA = hashlib.sha256(b"data").digest()
MD5 = hashlib.md5(b"data", usedforsecurity=False).digest()


def record(**digests: bytes) -> Record:
    return Record(
        file_id=12345,
        version=VERSION,
        digests={name.replace("_", "-"): value for name, value in digests.items()},
    )


def test_a_record_is_written_in_words() -> None:
    expected = f"1 12345 {VERSION} md5:{MD5.hex()} sha-256:{SHA.hex()}"

    assert expected == record_text(record(sha_256=SHA, md5=MD5))


@pytest.mark.parametrize(
    "digests",
    [
        {"sha-256": SHA},
        {"sha-256": SHA, "md5": MD5},
        {"empty": b""},
        {"with space:and colon%": b"\0", "é": b"\xff"},
        {"": b"x"},
    ],
)
def test_what_is_written_is_read_back(digests: dict[str, bytes]) -> None:
    written = Record(file_id=0, version=VERSION, digests=digests)

    assert written == parsed_record(record_text(written))


def test_a_record_holds_no_character_of_xml() -> None:
    text = record_text(
        Record(file_id=0, version=VERSION, digests={'<a href="&\'">': b"x"})
    )

    assert not set("<>&\"'") & set(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        f"1 12345 {VERSION}",
        f"2 12345 {VERSION} md5:00",
        f"1 012345 {VERSION} md5:00",
        f"1 -1 {VERSION} md5:00",
        f"1 12345 {VERSION} md5:0",
        f"1 12345 {VERSION} md5:zz",
        f"1 12345 {VERSION} md5:00 ",
        f"1 12345 {VERSION} md5:00\n",
        f"1 12345 {VERSION} md5",
        f"1 12345 {VERSION} md5:00 sha-256",
        f"1 \N{ARABIC-INDIC DIGIT ONE} {VERSION} md5:00",
    ],
)
def test_what_we_did_not_write_is_no_record(text: str) -> None:
    assert parsed_record(text) is None


def test_the_strongest_digest_is_spelled_as_hpsssum_does() -> None:
    fields = hpsssum_fields(VERSION, {"md5": MD5, "sha-256": SHA})

    assert ("sha256", SHA.hex(), "100", "Valid", "0") == tuple(
        fields[name]
        for name in ("algorithm", "checksum", "filesize", "state", "errors")
    )


def test_all_fields_of_hpsssum_are_written() -> None:
    expected = {
        "algorithm",
        "checksum",
        "lastupdate",
        "errors",
        "state",
        "app",
        "filesize",
    }

    assert expected == set(hpsssum_fields(VERSION, {"md5": MD5}))


def test_a_digest_that_hpsssum_does_not_know_is_not_written_as_its_own() -> None:
    assert {} == hpsssum_fields(VERSION, {"crc32c": b"1234"})
