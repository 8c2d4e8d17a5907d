"""Digests in user-defined attributes: what is written, and what is believed."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pytest
from kit import KEYTAB, USER
from tapes import DATA, Tapes, tapes

from pacifica_archive_core import ArchiveUnavailable, NoSuchFile, NotSupported
from pacifica_archive_hpss import archive as archive_module
from pacifica_archive_hpss._hpss import lib
from pacifica_archive_hpss.digests import (
    Record,
    hpsssum_fields,
    parsed_record,
    record_text,
    set_digests,
)
from pacifica_archive_hpss.session import Credentials, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# --- in the simulator


OURS = "/hpss/user/cksum/pacifica"


@pytest.fixture
def store() -> Iterator[Tapes]:
    with tapes() as store:
        yield store


def put(
    store: Tapes, digests: dict[str, bytes], *, data: bytes = DATA, file_id: int = 1
) -> None:
    with store.archive.create(file_id, overwrite=True) as writer:
        writer.digests.update(digests)
        writer.write(data)


def attributes(store: Tapes, file_id: int = 1) -> dict[str, str]:
    (entry,) = store.entries(file_id)
    return entry["attributes"]


def test_digests_are_kept(store: Tapes) -> None:
    put(store, {"sha-256": SHA, "md5": MD5})

    assert {"sha-256": SHA, "md5": MD5} == store.archive.digests(1)


def test_the_raw_attributes_are_those_of_hpsssum_and_ours(store: Tapes) -> None:
    put(store, {"sha-256": SHA, "md5": MD5})
    found = attributes(store)
    version = store.archive.status(1).version

    assert (
        f"1 1 {version} md5:{MD5.hex()} sha-256:{SHA.hex()}",
        SHA.hex(),
        str(len(DATA)),
    ) == (
        found[OURS],
        found["/hpss/user/cksum/checksum"],
        found["/hpss/user/cksum/filesize"],
    )


def test_all_attributes_are_set_by_one_call(store: Tapes) -> None:
    put(store, {"sha-256": SHA, "md5": MD5})

    assert 1 == store.calls()["UserAttrSetAttrs"]


def test_without_digests_no_attribute_is_set(store: Tapes) -> None:
    put(store, {})

    assert {} == attributes(store)


def test_digests_of_another_version_are_none(store: Tapes) -> None:
    """As after somebody wrote to the file: HPSS keeps its attributes."""
    put(store, {"md5": MD5})
    session = Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))
    session.call(lib.pah_utime, store.path(1), 1)

    assert {} == store.archive.digests(1)


def test_digests_are_of_the_bitfile_whatever_its_id(store: Tapes) -> None:
    """So an adoption need not write them anew."""
    put(store, {"md5": MD5})
    store.simulator.link(store.path(1), store.path(2))

    assert {"md5": MD5} == store.archive.digests(2)


def test_a_file_without_attributes_has_no_digests(store: Tapes) -> None:
    store.put(1)

    assert {} == store.archive.digests(1)


def test_a_missing_file_has_no_digests_but_an_error(store: Tapes) -> None:
    with pytest.raises(NoSuchFile):
        store.archive.digests(1)


def test_digests_of_a_file_on_tape_recall_nothing(store: Tapes) -> None:
    put(store, {"md5": MD5})
    store.simulator.migrate(store.path(1))
    store.simulator.purge(store.path(1))
    found = store.archive.digests(1)

    assert ({"md5": MD5}, 0, False) == (
        found,
        store.submissions(),
        store.archive.status(1).online,
    )


def test_a_store_that_does_not_answer_does_not_pass_for_no_digests(
    store: Tapes,
) -> None:
    put(store, {"md5": MD5})
    store.simulator.rule("UserAttrGetAttrs:*:-EBUSY")

    with pytest.raises(ArchiveUnavailable):
        store.archive.digests(1)


def test_a_busy_store_is_asked_again(store: Tapes) -> None:
    put(store, {"md5": MD5})
    store.simulator.rule("UserAttrGetAttrs:1-2:-EBUSY")

    assert {"md5": MD5} == store.archive.digests(1)


def test_all_digests_that_are_in_use_fit(store: Tapes) -> None:
    names = ("md5", "sha1", "sha256", "sha512", "blake2b", "sha3_512")
    digests = {name: hashlib.new(name, b"data").digest() for name in names}
    put(store, digests)

    assert digests == store.archive.digests(1)


def test_digests_that_are_too_long_are_refused_and_nothing_is_stored(
    store: Tapes,
) -> None:
    with pytest.raises(NotSupported):
        put(store, {"long": bytes(1000)})

    entries = store.simulator.ls(store.archive.options.prefix)

    assert [] == [entry["path"] for entry in entries if entry["type"] == "file"]


def record_digests(store: Tapes, digests: dict[str, bytes]) -> bool:
    version = store.archive.status(1).version
    return store.archive.record_digests(1, digests, version=version)


def test_a_record_keeps_the_version(store: Tapes) -> None:
    """Attributes are no part of the bitfile."""
    put(store, {})
    before = store.archive.status(1).version
    record_digests(store, {"md5": MD5})

    assert before == store.archive.status(1).version


def test_recorded_digests_are_written_as_those_that_came_with_the_bytes(
    store: Tapes,
) -> None:
    """Those of hpsssum too, of the strongest of all."""
    put(store, {"md5": MD5})
    record_digests(store, {"sha-256": SHA})
    found = attributes(store)
    version = store.archive.status(1).version

    assert (f"1 1 {version} md5:{MD5.hex()} sha-256:{SHA.hex()}", SHA.hex()) == (
        found[OURS],
        found["/hpss/user/cksum/checksum"],
    )


def test_what_is_kept_already_is_not_set_again(store: Tapes) -> None:
    put(store, {"md5": MD5})
    store.simulator.counters(reset=True)
    done = record_digests(store, {"md5": MD5})

    assert (True, None) == (done, store.calls().get("UserAttrSetAttrs"))


def test_a_record_of_what_was_written_to_in_its_place_brings_only_its_own(
    store: Tapes,
) -> None:
    """The attributes are those of before, and of another version."""
    put(store, {"md5": MD5})
    session = Session.shared(Credentials(user=USER, auth=KEYTAB, mechanism="unix"))
    session.call(lib.pah_utime, store.path(1), 1)
    record_digests(store, {"sha-256": SHA})

    assert {"sha-256": SHA} == store.archive.digests(1)


def test_a_version_that_comes_while_digests_are_set_is_told_of_none(
    store: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HPSS sets them by name, so they come to a bitfile that they are not of."""
    put(store, {})

    def set_late(*args: Any) -> None:  # noqa: ANN401 (passed on)
        put(store, {"md5": MD5}, data=b"other")
        set_digests(*args)

    monkeypatch.setattr(archive_module, "set_digests", set_late)
    done = record_digests(store, {"sha-256": SHA})

    assert (False, {}) == (done, store.archive.digests(1))


def test_of_two_who_record_at_once_none_undoes_the_other(
    store: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits, when the first has read what is kept and not set it yet."""
    put(store, {})
    seconds: list[Future[bool]] = []
    with ThreadPoolExecutor(1) as pool:

        def set_late(*args: Any) -> None:  # noqa: ANN401 (passed on)
            if not seconds:
                seconds.append(pool.submit(record_digests, store, {"md5": MD5}))
                # Without a lock it is done by then, and with one it cannot be.
                wait(seconds, timeout=1)
            set_digests(*args)

        monkeypatch.setattr(archive_module, "set_digests", set_late)
        record_digests(store, {"sha-256": SHA})
        done = [second.result(60) for second in seconds]

    assert ([True], {"sha-256": SHA, "md5": MD5}) == (done, store.archive.digests(1))


def test_digests_that_are_too_long_are_not_recorded(store: Tapes) -> None:
    put(store, {"md5": MD5})

    with pytest.raises(NotSupported):
        record_digests(store, {"long": bytes(1000)})

    assert {"md5": MD5} == store.archive.digests(1)


def test_a_store_that_does_not_answer_records_nothing(store: Tapes) -> None:
    put(store, {"md5": MD5})
    store.simulator.rule("UserAttrSetAttrs:*:-EBUSY")

    with pytest.raises(ArchiveUnavailable):
        record_digests(store, {"sha-256": SHA})

    assert {"md5": MD5} == store.archive.digests(1)
